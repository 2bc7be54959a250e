"""Two processes on the CPU train what one does: same order, same losses, same weights; killed, they go on."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_tiny
from safetensors.numpy import load_file
from torch import nn

from cmdml import distributed, launch
from cmdml.config import TrainConfig
from cmdml.distributed import Team
from cmdml.findings import KEYS, findings_of, split_findings
from cmdml.radiographs import partition
from cmdml.semantics import semantic_vectors
from cmdml.training import fit

# Without dropout, of which every process draws its own masks. 25 does not divide the films: batches are uneven. AdamW
# divides by the gradient's size, so rounding reaches the weights in proportion to the learning rate.
CONFIG = TrainConfig(backbone="small_cnn", dim=8, hidden=8, dropout=0.0, epochs=2, batch_size=25, lr=3e-4, seed=3,
                     objective="focused_tau")  # fmt: skip


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("films") / "radiographs", n=240)


@pytest.fixture(scope="module")
def alone(films, tmp_path_factory):
    findings = split_findings(KEYS, "default")
    vectors = semantic_vectors(findings_of(KEYS), "signs")
    out = tmp_path_factory.mktemp("alone") / "training"
    return fit(partition(films, findings), vectors, CONFIG, out, progress=False, accelerator="cpu")


def job(films, out, config=CONFIG):
    return {"radiographs": str(films.folder), "unseen": list(split_findings(KEYS, "default").unseen),
            "semantics": "signs", "config": config, "out": str(out), "accelerator": "cpu"}  # fmt: skip


@pytest.fixture(scope="module")
def two(films, tmp_path_factory):
    return launch.launch(job(films, tmp_path_factory.mktemp("two") / "training"), devices=2)


def test_trainings_alone_share_a_fabric_but_for_one_that_scales_gradients():
    asked = ("32-true", "32-true", "bf16-mixed", "16-mixed", "16-mixed")
    with pytest.warns(UserWarning, match="fp16 is not supported on CPU"):
        of = [distributed.fabric_of("cpu", precision, distributed.ALONE) for precision in asked]
    assert of[0] is of[1] and len({id(one) for one in of}) == 4
    assert [one.strategy.precision.precision for one in of[:3]] == ["32-true", "32-true", "bf16-mixed"]
    assert {str(one.device) for one in of} == {"cpu"}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_several_processes_train_on_what_was_asked_for(monkeypatch, precision):
    made, launched = [], []
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "Fabric", lambda **given: made.append(given) or SimpleNamespace(
        launch=lambda: launched.append(True)))  # fmt: skip
    distributed.fabric_of("cpu", precision, Team(3, 6))
    assert made == [{"accelerator": "cpu", "strategy": "ddp", "precision": precision, "devices": 2, "num_nodes": 3}]
    assert launched == [True]


def test_the_parts_of_a_batch_are_the_batch():
    for n in (1, 2, 7, 64, 65):
        for size in (1, 2, 3):
            teams = [Team(rank, size) for rank in range(size)]
            rows = np.concatenate([np.arange(n)[team.part(n)] for team in teams])
            assert rows.tolist() == list(range(n))
            values = np.arange(n) ** 2.0
            means = [values[t.part(n)].mean() * t.weight(n) for t in teams if values[t.part(n)].size]
            assert sum(means) / size == pytest.approx(values.mean())


def test_alone_nothing_changes():
    assert distributed.join("cpu") == Team() and Team().weight(5) == 1.0 and Team().part(5) == slice(0, 5)
    norm, images = nn.BatchNorm2d(3), torch.randn(4, 3, 5, 5)
    whole = distributed.over_the_whole_batch(nn.Sequential(nn.BatchNorm2d(3)))
    assert isinstance(whole[0], distributed.WholeBatchNorm2d)
    torch.testing.assert_close(whole(images), norm(images), rtol=0, atol=0)


@pytest.mark.parametrize("accelerator, gpu, kind", [("cpu", True, "gloo"), ("auto", True, "nccl"),
                                                    ("auto", False, "gloo")])  # fmt: skip
def test_one_of_several_waits_for_the_others_as_long_as_it_was_told(monkeypatch, accelerator, gpu, kind):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setattr(distributed.dist, "is_initialized", lambda: False)
    monkeypatch.setattr(distributed.dist, "init_process_group", lambda kind, **given: asked.append((kind, given)))
    monkeypatch.setattr(distributed.dist, "get_rank", lambda: 2)
    assert distributed.join(accelerator, timedelta(days=7)) == Team(2, 3)
    assert asked == [(kind, {"timeout": timedelta(days=7)})]


@pytest.mark.parametrize("rank, order", [(0, ["block", "wait"]), (1, ["wait", "block"])])
def test_the_first_process_runs_a_block_before_the_others(monkeypatch, rank, order):
    done = []
    monkeypatch.setattr(distributed.dist, "barrier", lambda: done.append("wait"))
    with Team(rank, 2).first():
        done.append("block")
    assert done == order


def test_a_mean_over_processes_leaves_the_values_that_it_is_of(monkeypatch):
    mine, theirs = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0])
    monkeypatch.setattr(distributed.dist, "all_reduce", lambda values: values.add_(theirs))
    assert Team(0, 2).mean(mine).tolist() == [2.0, 4.0]
    assert mine.tolist() == [1.0, 2.0]


def test_two_processes_train_what_one_does(alone, two):
    one, other = load_file(alone.out / "weights.safetensors"), load_file(two / "weights.safetensors")
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value, atol=1e-5, err_msg=name)
    import pandas as pd

    history = [pd.read_csv(folder / "history.csv").drop(columns="seconds") for folder in (alone.out, two)]
    np.testing.assert_allclose(history[1], history[0], atol=1e-5)
    assert json.loads((two / "config.json").read_text()) == json.loads((alone.out / "config.json").read_text())


def test_killed_and_started_again_they_end_as_if_never_killed(films, two, tmp_path):
    """Killed after the first epoch's checkpoint."""
    out = tmp_path / "training"
    stop = "import sys, os; from cmdml import training, launch; save = training.save_checkpoint\n" \
           "def once(*a): save(*a); os._exit(9)\n" \
           "training.save_checkpoint = once; launch.main(sys.argv[1])"  # fmt: skip
    text = json.dumps(job(films, out, asdict(CONFIG)))
    script = tmp_path / "stop.py"
    script.write_text(stop)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script), text]
    killed = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert killed.returncode and (out / "checkpoint.safetensors").exists() and not (out / "seal.json").exists()
    launch.launch(job(films, out), devices=2)
    assert not (out / "checkpoint.safetensors").exists()
    for name, value in load_file(two / "weights.safetensors").items():
        np.testing.assert_array_equal(load_file(out / "weights.safetensors")[name], value, err_msg=name)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word for it is Linux's")
def test_a_process_does_not_outlive_the_one_that_started_it(films, tmp_path):
    out = tmp_path / "training"
    text = json.dumps(job(films, out, asdict(CONFIG) | {"epochs": 100_000}))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
    starter = subprocess.Popen([*command, "-m", "cmdml.launch", text], env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        assert within(120, (out / "checkpoint.safetensors").exists)
        (worker,) = Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text().split()
    finally:
        starter.kill()
        starter.wait()
    ended = within(30, lambda: not Path(f"/proc/{worker}").exists())
    if not ended:
        os.kill(int(worker), signal.SIGKILL)
    assert ended


def within(seconds, true):
    """Whether something comes true in that time."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    return true()


def test_what_stops_a_process_arrives_in_one_sentence(films, tmp_path):
    with pytest.raises(ValueError, match="training stopped.*gama"):
        launch.launch(job(films, tmp_path / "out", {"gama": 1.0}), devices=2)
    assert not (tmp_path / "out").exists()
