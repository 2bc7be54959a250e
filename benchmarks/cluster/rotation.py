"""A part of the rotation on Slurm: do all jobs arrive, does a cancelled one come back, are scores equal?

    benchmarks/cluster/slurm.sh start
    python benchmarks/cluster/rotation.py --out data/results/cluster
    benchmarks/cluster/slurm.sh stop

Runs six closed forms of one design through ``profiles/cluster/slurm``. While they run, one job is cancelled with
``scancel`` and the controller is killed and started again. Then the same jobs run here, and their files are compared.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from cmdml.study import run

METHODS = ("mean_of_seen", "normality", "nearest", "eszsl", "dap", "view")
SLURM = Path(__file__).with_name("slurm.sh")


def snakemake(folder: str, design: int, *more: str) -> list[str]:
    """The command that scores the methods of one design into a run folder."""
    targets = [f"{folder}/rotation/{design}/{method}.safetensors" for method in METHODS]
    config = ["profile=nih-mini", f"run_dir={json.dumps(folder)}"]
    return [sys.executable, "-m", "snakemake", "--nolock", *more, "--config", *config, "--", *targets]


def queue() -> dict[str, str]:
    """{job id: state} of what Slurm has."""
    told = subprocess.run(["squeue", "-h", "-o", "%i %T"], capture_output=True, text=True).stdout
    return dict(line.split() for line in told.splitlines())


def disturb(process) -> list[dict]:
    """Cancel the first running job, then kill the controller and start it again; what happened, in order."""
    events = []
    while process.poll() is None and len(events) < 3:
        running = [job for job, state in queue().items() if state == "RUNNING"]
        if not events and running:
            subprocess.run(["scancel", running[0]], check=True)
            events.append({"event": "cancelled", "job": running[0]})
        elif len(events) == 1 and set(running) - {events[0]["job"]}:
            time.sleep(15)  # the controller saves its state every few seconds; what was younger would be lost
            subprocess.run([SLURM, "kill-controller"], check=True)
            time.sleep(2)
            subprocess.run([SLURM, "start-controller"], check=True)
            events += [{"event": "controller killed", "job": ""}, {"event": "controller started", "job": ""}]
        time.sleep(0.2)
    return events


def same(one: Path, other: Path) -> bool:
    """Whether two files of scores hold the same numbers, bit by bit."""
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key], equal_nan=True) for key in a)


def main() -> None:
    """Run, disturb, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="runs/cluster")
    parser.add_argument("--design", type=int, default=101)
    given = parser.parse_args()
    started = time.time()
    profile = ["--workflow-profile", "profiles/cluster/slurm", "--slurm-status-command", "squeue"]
    profile += ["--default-resources", "slurm_account=study", "slurm_partition=debug", "mem_mb=1500", "runtime=20"]
    log = run.resolve("runs/cluster-slurm.log")
    log.parent.mkdir(exist_ok=True)
    with open(log, "w") as file:
        process = subprocess.Popen(snakemake("runs/cluster-slurm", given.design, *profile), stdout=file,
                                   stderr=subprocess.STDOUT, cwd=run.ROOT)  # fmt: skip
        events = disturb(process)
        if process.wait():
            sys.exit(f"the jobs did not all arrive: see {log}")
    seconds = time.time() - started
    subprocess.run(snakemake("runs/cluster-local", given.design, "--cores", "2"), check=True, cwd=run.ROOT)
    submitted = log.read_text().count("has been submitted with SLURM jobid")
    rows = []
    for method in METHODS:
        files = [run.resolve(f"runs/cluster-{where}/rotation/{given.design}/{method}.safetensors")
                 for where in ("slurm", "local")]  # fmt: skip
        rows.append({"method": method, "arrived": files[0].is_file(), "same": same(*files)})
    about = {"title": "A part of the rotation on Slurm", "jobs": len(METHODS), "submitted": submitted, "events": events,
             "seconds": round(seconds)}  # fmt: skip
    own = {"profile": "nih-mini", "parameters": {"design": given.design}, "seed": given.design}
    run.publish(given.out, {"jobs": pd.DataFrame(rows)}, **own, **about, started=started)
    print(pd.DataFrame(rows).to_string(index=False), f"\n{submitted} submissions of {len(METHODS)} jobs; {events}")


if __name__ == "__main__":
    main()
