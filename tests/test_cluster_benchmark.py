"""The rotation on Slurm, without Slurm: what is asked of it, how it is disturbed, and what is said of the files."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file
from scripts import load

from cmdml.study.places import ROOT


@pytest.fixture
def cluster():
    return load("benchmarks/cluster/rotation.py")


def test_the_scores_of_one_design_are_asked_for(cluster):
    words = cluster.snakemake("runs/my folder", 103, "--cores", "2")
    assert words[:6] == [sys.executable, "-m", "snakemake", "--nolock", "--cores", "2"]
    at = words.index("--config")
    assert words[at + 1 : at + 4] == ["profile=nih-mini", 'run_dir="runs/my folder"', "--"]
    methods = ("mean_of_seen", "normality", "nearest", "eszsl", "dap", "view")
    assert words[at + 4 :] == [f"runs/my folder/rotation/103/{name}.safetensors" for name in methods]


def test_the_queue_is_read(cluster, monkeypatch):
    def run(words, **how):
        assert words == ["squeue", "-h", "-o", "%i %T"]
        return SimpleNamespace(stdout="7 RUNNING\n12 PENDING\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert cluster.queue() == {"7": "RUNNING", "12": "PENDING"}


@pytest.mark.parametrize(
    ("queues", "done", "happened"),
    [
        ([{"5": "PENDING"}, {"5": "RUNNING", "6": "RUNNING"}, {"5": "RUNNING"}, {"5": "RUNNING", "7": "RUNNING"}],
         ["scancel 5", "sleep 15", "kill-controller", "sleep 2", "start-controller"],
         [("cancelled", "5"), ("controller killed", ""), ("controller started", "")]),
        ([{"5": "RUNNING"}, {"5": "RUNNING"}, {"6": "PENDING"}], ["scancel 5"], [("cancelled", "5")]),
        ([{}, {}], [], []),
    ],
)  # fmt: skip
def test_one_job_is_cancelled_and_once_another_runs_the_controller_is_killed(cluster, monkeypatch, queues, done,
                                                                            happened):  # fmt: skip
    told, left = [], list(queues)
    process = SimpleNamespace(poll=lambda: None if left else 0)
    monkeypatch.setattr(cluster, "queue", lambda: left.pop(0))
    monkeypatch.setattr(cluster.time, "sleep", lambda seconds: seconds > 1 and told.append(f"sleep {seconds}"))

    def run(words, check):
        assert check and words[0] in ("scancel", cluster.SLURM)
        told.append(" ".join(words if words[0] == "scancel" else words[1:]))

    monkeypatch.setattr(subprocess, "run", run)
    events = cluster.disturb(process)
    assert told == done and [(event["event"], event["job"]) for event in events] == happened
    assert cluster.SLURM == ROOT / "benchmarks/cluster/slurm.sh" and cluster.SLURM.is_file()
    for word in ("kill-controller", "start-controller", "start", "stop"):
        assert f"\n{word})" in cluster.SLURM.read_text()


def scores(folder, method, **tensors):
    path = folder / f"rotation/103/{method}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


def test_files_are_the_same_if_every_number_is(cluster, tmp_path):
    numbers = np.array([1.0, np.nan, 3.0])
    one = scores(tmp_path / "a", "dap", x=numbers, y=numbers)
    assert cluster.same(one, scores(tmp_path / "b", "dap", x=numbers, y=numbers))
    assert not cluster.same(one, scores(tmp_path / "b", "dap", x=numbers, y=numbers + 1e-15))
    assert not cluster.same(one, scores(tmp_path / "b", "dap", x=numbers))
    assert not cluster.same(scores(tmp_path / "c", "dap", x=numbers), one)


@pytest.fixture
def study(cluster, monkeypatch, tmp_path):
    """The whole of it with commands that only write files, the last of the local ones with another number."""
    told = SimpleNamespace(started=[], published=[], code=0)

    def write(place):
        for method in cluster.METHODS:
            scores(tmp_path / "runs" / f"cluster-{place}", method, x=np.array([float(
                method == cluster.METHODS[-1] and place == "local")]))  # fmt: skip

    class Process:
        def __init__(self, words, stdout, stderr, cwd):
            told.started.append((words, cwd))
            assert stderr == subprocess.STDOUT
            stdout.write("Job 1 has been submitted with SLURM jobid 5\n" * 7)

        def wait(self):
            write("slurm")
            return told.code

    def run(words, check, cwd):
        assert check
        told.started.append((words, cwd))
        write("local")

    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(cluster, "disturb", lambda process: ["event"] if isinstance(process, Process) else None)
    monkeypatch.setattr(cluster.run, "resolve", lambda path: tmp_path / path)
    monkeypatch.setattr(cluster.run, "publish", lambda *given, **about: told.published.append((*given, about)))
    monkeypatch.setattr(sys, "argv", ["rotation.py", "--out", "there", "--design", "103"])
    return told


def test_jobs_on_slurm_are_compared_with_the_same_jobs_here(cluster, study, capsys):
    cluster.main()
    (on_slurm, root), (here, also) = study.started
    assert root == also == ROOT
    assert on_slurm[4:-6] == [
        "--workflow-profile", "profiles/cluster/slurm", "--slurm-status-command", "squeue", "--default-resources",
        "slurm_account=study", "slurm_partition=debug", "mem_mb=1500", "runtime=20", "--config", "profile=nih-mini",
        'run_dir="runs/cluster-slurm"', "--"]  # fmt: skip
    assert (ROOT / "profiles/cluster/slurm").is_dir()
    assert here[4:-6] == ["--cores", "2", "--config", "profile=nih-mini", 'run_dir="runs/cluster-local"', "--"]
    assert all("/rotation/103/" in target for target in on_slurm[-6:] + here[-6:])
    ((out, tables, about),) = study.published
    assert out == "there" and about["seed"] == 103 and about["parameters"] == {"design": 103}
    assert (about["jobs"], about["submitted"], about["events"], about["profile"]) == (6, 7, ["event"], "nih-mini")
    jobs = tables["jobs"]
    assert jobs.method.tolist() == list(cluster.METHODS) and jobs.arrived.all()
    assert jobs.same.tolist() == [True] * 5 + [False]
    assert "7 submissions of 6 jobs" in capsys.readouterr().out


def test_jobs_that_do_not_arrive_are_not_compared(cluster, study):
    study.code = 1
    with pytest.raises(SystemExit, match="the jobs did not all arrive: see .*cluster-slurm.log"):
        cluster.main()
    assert not study.published and len(study.started) == 1
