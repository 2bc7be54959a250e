"""What starts a training in several processes, and what each of them is told, without starting any."""

import json
import re
import runpy
import signal
import subprocess
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import make_tiny

from cmdml import launch
from cmdml.config import TrainConfig
from cmdml.findings import KEYS, findings_of, split_findings
from cmdml.semantics import semantic_vectors

CONFIG = TrainConfig(backbone="small_cnn", dim=8, hidden=8)


@pytest.fixture
def started(monkeypatch):
    """What was to be started: commands and options, and how the process answers."""
    answer = SimpleNamespace(calls=[], lines=[], code=0, ends=True, terminated=0)

    class Process:
        def __init__(self, command, **options):
            answer.calls.append((command, options))
            self.stdout, self.returncode = iter(answer.lines), None

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.returncode = answer.code

        def poll(self):
            return answer.code if answer.ends else None

        def terminate(self):
            answer.terminated += 1

    monkeypatch.setattr(launch.subprocess, "Popen", Process)
    return answer


def job(**given):
    return {"radiographs": "films", "unseen": ["Mass"], "semantics": "signs", "config": CONFIG, "out": "run"} | given


def test_one_node_needs_no_address(started, monkeypatch):
    for name in ("NODE_RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    assert launch.launch(job(), devices=3) == Path("run")
    ((command, _),) = started.calls
    assert command[:-1] == [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3",
                            "-m", "cmdml.launch"]  # fmt: skip
    assert json.loads(command[-1]) == job(config=asdict(CONFIG))
    launch.launch(job())
    assert "--nproc-per-node=2" in started.calls[1][0] and "--standalone" in started.calls[1][0]


def test_two_nodes_meet_at_the_master(started, monkeypatch):
    monkeypatch.setenv("NODE_RANK", "1")
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.7")
    launch.launch(job(config={"dim": 4}), devices=4, nodes=2)
    ((command, _),) = started.calls
    assert command[3:-3] == ["--nnodes=2", "--node-rank=1", "--master-addr=10.0.0.7", "--nproc-per-node=4"]
    assert json.loads(command[-1])["config"] == {"dim": 4}
    monkeypatch.delenv("NODE_RANK")
    with pytest.raises(KeyError, match="NODE_RANK"):
        launch.launch(job(), nodes=2)


@pytest.mark.parametrize(("own", "threads"), [(None, "1"), ("6", "6")])
def test_a_process_has_one_thread_unless_the_user_says_otherwise(started, monkeypatch, own, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if own:
        monkeypatch.setenv("OMP_NUM_THREADS", own)
    monkeypatch.setenv("OF_THE_USER", "kept")
    launch.launch(job())
    options = started.calls[0][1]
    assert options["env"]["OMP_NUM_THREADS"] == threads and options["env"]["OF_THE_USER"] == "kept"
    assert options["text"] and options["stdout"] == subprocess.PIPE and options["stderr"] == subprocess.STDOUT
    assert options["preexec_fn"] is launch._die_with_parent


def test_lines_of_epochs_are_shown_and_others_are_not(started, capsys):
    started.lines = ["warning: slow\n", "epoch 1: loss 2\n", "epoch 2: loss 1\n", "bye\n"]
    launch.launch(job())
    assert capsys.readouterr().out == "epoch 1: loss 2\nepoch 2: loss 1\n" and not started.terminated


def test_the_first_process_that_stopped_says_why(started):
    started.lines, started.code = ["noise\n", "training stopped. gama\n", "training stopped. later\n"], 1
    with pytest.raises(ValueError, match=r"^training stopped\. gama$"):
        launch.launch(job())
    started.lines = ["a\n", "b\n", "c\n", "d\n"]
    with pytest.raises(ValueError, match="^a process of the training ended: b / c / d$"):
        launch.launch(job())


def test_a_notebook_that_is_interrupted_ends_the_processes(started):
    def lines():
        yield "epoch 1\n"
        raise KeyboardInterrupt

    started.lines, started.ends = lines(), False
    with pytest.raises(KeyboardInterrupt):
        launch.launch(job())
    assert started.terminated == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word for it is Linux's")
def test_the_kernel_ends_a_process_whose_parent_is_gone():
    asks = "import ctypes; n = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(n)); print(n.value)"
    said = [subprocess.run([sys.executable, "-c", asks], stdout=subprocess.PIPE, text=True, preexec_fn=first).stdout
            for first in (None, launch._die_with_parent)]  # fmt: skip
    assert said == ["0\n", f"{int(signal.SIGTERM)}\n"]  # PR_GET_PDEATHSIG


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("films") / "radiographs", n=240, size=16)


@pytest.fixture
def fitted(monkeypatch):
    """What was to be trained."""
    calls = []

    def fit(parts, vectors, config, out, **options):
        calls.append(SimpleNamespace(parts=parts, vectors=vectors, config=config, out=out, options=options))
        history = pd.DataFrame({"epoch": [1, 2], "loss": [0.51239, 0.4], "val_seen_auroc": [0.6, 0.70006]})
        return SimpleNamespace(history=history)

    monkeypatch.setattr(launch, "fit", fit)
    monkeypatch.delenv("RANK", raising=False)
    return calls


def epochs(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]


def a_job(films, **given):
    told = job(radiographs=str(films.folder), unseen=list(split_findings(KEYS).unseen), config=asdict(CONFIG))
    return json.dumps(told | given)


def test_a_process_trains_what_the_job_says(films, fitted, capsys):
    launch.main(a_job(films))
    launch.main(a_job(films, keep_no_finding=False, semantics="one_hot", accelerator="cpu", config={"dim": 4}))
    one, other = fitted
    findings = split_findings(KEYS)
    none, unseen = films.labels.sum(1) == 0, films.labels[:, findings.unseen_index].any(1)
    split = films.table["split"].to_numpy()
    assert one.parts.train.tolist() == np.flatnonzero((split == "train") & ~unseen).tolist()
    assert other.parts.train.tolist() == np.flatnonzero((split == "train") & ~unseen & ~none).tolist()
    assert one.parts.findings.unseen == findings.unseen
    np.testing.assert_array_equal(one.vectors, semantic_vectors(findings_of(KEYS), "signs"))
    np.testing.assert_array_equal(other.vectors, semantic_vectors(findings_of(KEYS), "one_hot"))
    assert (one.config, other.config, one.out) == (CONFIG, TrainConfig(dim=4), "run")
    assert one.options == {"progress": False, "accelerator": "auto"} and other.options["accelerator"] == "cpu"
    lines = epochs(capsys)
    assert lines[0] == "epoch 1: loss 0.5124, seen validation AUROC 0.6000"
    assert lines[1] == "epoch 2: loss 0.4000, seen validation AUROC 0.7001"


def test_seed_and_semantic_model_reach_the_vectors(films, fitted, monkeypatch):
    asked = []

    def vectors(findings, kind, **options):
        asked.append((tuple(finding.key for finding in findings), kind, options))

    monkeypatch.setattr(launch, "semantic_vectors", vectors)
    launch.main(a_job(films))
    launch.main(a_job(films, seed=5, semantic_model="some/model"))
    assert asked == [(KEYS, "signs", {"seed": 0}), (KEYS, "signs", {"seed": 5, "model": "some/model"})]


@pytest.mark.parametrize(("rank", "lines"), [("0", 2), ("1", 0)])
def test_the_first_process_alone_speaks(films, fitted, monkeypatch, capsys, rank, lines):
    monkeypatch.setenv("RANK", rank)
    launch.main(a_job(films))
    assert len(epochs(capsys)) == lines


@pytest.mark.filterwarnings("ignore:'cmdml.launch' found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize(
    ("told", "message"),
    [({"radiographs": "no/such/place"}, "no/such/place"), ({"config": {"gama": 1.0}}, "gama.*did you mean 'gamma'")],
)
def test_a_process_that_cannot_train_fails_in_one_sentence(films, monkeypatch, capsys, told, message):
    monkeypatch.setattr(sys, "argv", ["launch", a_job(films, **told)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("cmdml.launch", run_name="__main__")
    assert stopped.value.code == 1
    (sentence,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("training stopped. "))
    assert re.search(message, sentence)


def test_an_extraction_is_handed_to_all_processes_and_its_features_returned(monkeypatch):
    told = []
    monkeypatch.setattr(launch, "_run", lambda *given: told.append(given))
    monkeypatch.setattr(launch.FeatureSet, "load", lambda folder: ("features of", folder))
    assert launch.extract("films", "features", devices=2, nodes=3, backbone="b") == ("features of", "features")
    ((job_, devices, nodes),) = told
    assert job_ == {"radiographs": "films", "features": "features", "options": {"backbone": "b"}}
    assert (devices, nodes) == (2, 3)


@pytest.mark.parametrize(("device", "local", "wanted"), [("cuda", "3", "cuda:3"), ("cuda", None, "cuda:0"),
                                                         ("cpu", "3", "cpu")])  # fmt: skip
def test_a_process_extracts_its_own_part_on_its_own_device(films, monkeypatch, capsys, device, local, wanted):
    done, places = [], []
    team = SimpleNamespace(rank=2, size=4, wait=lambda: done.append("waited"))
    monkeypatch.setattr(launch, "join", lambda *given: places.append(given) or team)
    monkeypatch.setattr(launch.features, "extract", lambda radiographs, folder, **options: done.append(
        (radiographs.folder, folder, options)))  # fmt: skip
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local:
        monkeypatch.setenv("LOCAL_RANK", local)
    told = {"radiographs": str(films.folder), "features": "there", "options": {"device": device, "seed": 5}}
    launch.main(json.dumps(told))
    options = {"progress": False, "device": wanted, "seed": 5, "shard": (2, 4)}
    assert done == [(films.folder, "there", options), "waited"] and places == [("cpu", timedelta(days=7))]
    assert capsys.readouterr().out == "part 2 of 4 is done\n"


def test_an_extraction_that_stopped_says_why_and_two_processes_are_usual(started):
    started.lines, started.code = ["training stopped. not this\n", "extraction stopped. no room\n"], 1
    with pytest.raises(ValueError, match=r"^extraction stopped\. no room$"):
        launch.extract("films", "features")
    assert "--nproc-per-node=2" in started.calls[0][0]
