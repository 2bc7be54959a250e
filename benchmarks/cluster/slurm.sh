#!/bin/bash
# A Slurm of one node on this machine (Debian, root; packages slurm-wlm and munge), without systemd and without accounting.
#   benchmarks/cluster/slurm.sh start | stop | kill-controller | start-controller
# The pids that it starts stand in /run/cmdml-slurm; stop ends those and no others.
set -euo pipefail
STATE=/run/cmdml-slurm
mkdir -p "$STATE" /etc/slurm /var/spool/slurmctld /var/spool/slurmd /var/log/slurm /run/munge

controller() {
    slurmctld -D > "$STATE/slurmctld.log" 2>&1 &
    echo $! > "$STATE/slurmctld.pid"
}

case "${1:-}" in
start)
    chown munge: /run/munge /etc/munge /var/lib/munge /var/log/munge
    test -f /etc/munge/munge.key || (umask 077; head -c 1024 /dev/urandom > /etc/munge/munge.key; chown munge: /etc/munge/munge.key)
    runuser -u munge -- munged --force --pid-file=/run/munge/munged.pid
    cp /run/munge/munged.pid "$STATE/munged.pid"
    cat > /etc/slurm/slurm.conf <<CONF
ClusterName=study
SlurmctldHost=$(hostname)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
ReturnToService=2
NodeName=$(hostname) CPUs=$(nproc) RealMemory=${MEMORY_MB:-20000} State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    controller
    slurmd -D > "$STATE/slurmd.log" 2>&1 &
    echo $! > "$STATE/slurmd.pid"
    for _ in $(seq 60); do sinfo -h -o %T 2>/dev/null | grep -q idle && break; sleep 0.5; done
    sinfo
    ;;
kill-controller) kill -9 "$(cat "$STATE/slurmctld.pid")" ;;
start-controller) controller ;;
stop)
    for name in slurmd slurmctld munged; do
        test -f "$STATE/$name.pid" && kill "$(cat "$STATE/$name.pid")" 2>/dev/null || true
    done
    rm -rf "$STATE"
    ;;
*) sed -n 2,4p "$0"; exit 2 ;;
esac
