"""What `make` starts: options as they were typed, one sentence where they do not fit."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from scripts import PLAIN

from cmdml.study import command, run

ODD = """/data/it's "mine" $(touch x) `y` ;{z}"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("gamma=3 epochs=5", {"gamma": 3, "epochs": 5}),
        ("'nih_root=my films' gamma=.5", {"nih_root": "my films", "gamma": 0.5}),
        ("weights= margin=null augment=false", {"weights": "", "margin": None, "augment": False}),
        ("hidden=[3,4] unseen=Edema,Mass", {"hidden": [3, 4], "unseen": "Edema,Mass"}),
        ("nih_root=a=b", {"nih_root": "a=b"}),
    ],
)
def test_set_is_read_as_a_profile_is(text, expected):
    found = command.overrides(text)
    assert found == expected and [type(v) for v in found.values()] == [type(v) for v in expected.values()]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gamma", "'gamma' is no parameter: write SET='gamma=3 epochs=5'"),
        ("=3", "'=3' is no parameter"),
        ("gamma=3 gamma=4", "gamma is given twice"),
        ("gamma='3", "cannot be split into words"),
        ("seed=010", "YAML reads 010 as the number 8"),
        ("gamma=[", "SET: 'gamma=\\['"),
    ],
)
def test_a_set_that_is_none(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        command.overrides(text)


def test_nih_root_is_taken_as_it_is():
    assert command.overrides("", ODD) == {"nih_root": ODD} and command.overrides("", "007") == {"nih_root": "007"}
    assert command.overrides("nih_root=/a", "/a") == {"nih_root": "/a"}
    with pytest.raises(ValueError, match="NIH_ROOT and SET name two folders"):
        command.overrides("nih_root=/b", "/a")


def started(monkeypatch, target, **options):
    """The target and the configuration that Snakemake would be given."""
    found = []
    monkeypatch.setattr(command, "snakemake", lambda *given: found.append(given) or 0)
    assert command.main(target, options) == 0
    return found


def test_what_snakemake_is_given(monkeypatch):
    given = {"profile": "nih", "methods": "bce ale", "dim": 3, "nih_root": ODD}
    options = {"PROFILE": "nih", "METHODS": "bce,ale", "SET": "dim=3", "NIH_ROOT": ODD}
    assert started(monkeypatch, "sweep", CORES="2", **options) == [("sweep", given, "2")]
    assert started(monkeypatch, "study") == [("study", {"profile": "phantom", "methods": ""}, "all")]
    assert started(monkeypatch, "check", PROFILE="smoke") == []


@pytest.mark.parametrize("target", ["study", "book", "sweep", "check"])
def test_what_no_training_would_take_is_refused_before_snakemake_starts(monkeypatch, target):
    monkeypatch.setattr(command, "snakemake", lambda *_: pytest.fail("Snakemake was started"))
    monkeypatch.setattr(command.plan, "plan", lambda *_: [])  # what else would notice
    refused = {"objective=euclidean gamma=4": "does not use gamma", "source=fantom": "unknown source",
               "semantics=sings": "did you mean 'signs'", "tune=frozen augment=true": "leave it out"}  # fmt: skip
    for text, sentence in refused.items():
        with pytest.raises(ValueError, match=sentence):
            command.main(target, {"PROFILE": "phantom", "SET": text})


def test_the_methods_of_a_sweep_are_checked_where_they_would_be_run(monkeypatch):
    profile = run.load_profile("phantom", {})
    profile["sweep"]["methods"]["odd"] = {"objective": "bce", "gamma": 3.0}
    monkeypatch.setattr(command.profiles, "load_profile", lambda *_: profile)
    monkeypatch.setattr(command, "snakemake", lambda *_: 0)
    with pytest.raises(ValueError, match="profile phantom, method odd: objective bce does not use gamma"):
        command.main("sweep", {})
    assert command.main("study", {}) == 0


def test_a_study_says_how_long_it_took(monkeypatch, capsys):
    monkeypatch.setattr(command, "time", SimpleNamespace(monotonic=iter([0.0, 400.0]).__next__))
    started(monkeypatch, "study", PROFILE="smoke")
    assert capsys.readouterr().out == (
        "Executed notebooks: runs/smoke/notebooks   Numbers: runs/smoke/evaluation   Time: 7 minutes\n"
    )


def test_a_rotation_is_of_some_designs_and_of_some_methods_alone(monkeypatch):
    given = {"profile": "nih-mini", "rotation_methods": "", "designs": "2"}
    assert started(monkeypatch, "rotation", PROFILE="nih-mini", DESIGNS="2") == [("rotation", given, "all")]
    given |= {"rotation_methods": "eszsl", "designs": ""}
    assert started(monkeypatch, "rotation", PROFILE="nih-mini", METHODS="eszsl") == [("rotation_runs", given, "all")]
    with pytest.raises(ValueError, match="without SET"):
        command.main("rotation", {"PROFILE": "nih-mini", "SET": "gamma=3"})


@pytest.mark.parametrize("gpu", [True, False])
def test_a_rotation_that_trains_its_networks_is_told_the_films_and_needs_its_device(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    asked = {"PROFILE": "nih-trained", "NIH_ROOT": "my films"}
    if gpu:
        given = {"profile": "nih-trained", "rotation_methods": "", "designs": "", "nih_root": "my films"}
        assert started(monkeypatch, "rotation", **asked) == [("rotation", given, "all")]
    else:
        with pytest.raises(ValueError, match="profile nih-trained: rotation.extractor.device is cuda, and torch finds"):
            started(monkeypatch, "rotation", **asked)
    assert started(monkeypatch, "rotation", PROFILE="phantom")  # which is trained on a CPU


def test_values_keep_their_types_on_the_way(monkeypatch):
    """The configuration file holds them as JSON, whatever they hold."""
    seen = []

    class Process:
        def __init__(self, words, **_):
            with open(words[words.index("--configfile") + 1], encoding="utf-8") as file:
                seen.append((json.load(file), words))

        def wait(self):
            return 3

    monkeypatch.setattr(subprocess, "Popen", Process)
    given = {"profile": "nih", "nih_root": ODD, "margin": None, "hidden": [3, 4], "gamma": 0.5}
    assert command.snakemake("sweep", given, "2") == 3
    (found, words), = seen
    assert found == given and words[words.index("--cores") + 1] == "2" and words[-2:] == ["--", "sweep"]
    assert {"--nolock", "--rerun-incomplete"} <= set(words)


@pytest.mark.parametrize("target", ["study", "book", "sweep", "rotation", "rotation_runs"])
def test_of_many_runs_one_that_fails_stops_no_other_and_a_book_is_laid_out_anew(monkeypatch, target):
    seen = []
    monkeypatch.setattr(subprocess, "Popen", lambda words, **_: seen.append(words) or SimpleNamespace(wait=lambda: 0))
    assert command.snakemake(target, {}, "all") == 0
    (words,) = seen
    assert ("--keep-going" in words) == (target in ("sweep", "rotation", "rotation_runs"))
    asked = "stage" if target == "book" else target
    assert words[-2:] == ["--", asked] and ("--forcerun" in words) == (target == "book")
    assert target != "book" or words[words.index("--forcerun") + 1] == "stage"


@pytest.mark.parametrize(
    ("target", "options", "sentence"),
    [
        ("study", {"PROFILE": "fantom"}, "unknown profile 'fantom': did you mean 'phantom'?"),
        ("study", {"SET": "gama=3"}, "unknown parameter 'gama': did you mean 'gamma'?"),
        ("study", {"SET": "gamma=high"}, "parameter gamma must be float, got 'high'"),
        ("study", {"SET": "epochs=0"}, "profile phantom, parameters:"),
        ("sweep", {"METHODS": "focussed"}, "unknown method 'focussed': did you mean 'focused'?"),
        ("rotation", {"PROFILE": "smoke"}, "profile smoke has no section `rotation`"),
        ("rotation", {"PROFILE": "nih-mini", "DESIGNS": "9"}, "DESIGNS=9: profile nih-mini has 5, so 1 to 5."),
        ("rotation", {"PROFILE": "nih-mini", "METHODS": "eszls"}, "did you mean 'eszsl'?"),
        ("stduy", {}, "unknown target 'stduy': did you mean 'study'?"),
    ],
)
def test_a_refused_configuration_is_one_sentence_and_exit_code_1(target, options, sentence):
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("PROFILE", "SET", "METHODS", "DESIGNS", "NIH_ROOT")}  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "cmdml.study.command", target], cwd=run.ROOT, text=True,
                          env=environment | options, capture_output=True)  # fmt: skip
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("Nothing was run. ") and len(done.stderr.splitlines()) == 1
    assert sentence in done.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_make_hands_options_over_as_they_were_typed(tmp_path):
    """No shell and no make reads them: the command that make starts tells what it was given."""
    (tmp_path / "bin").mkdir()
    told = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
    (tmp_path / "bin/python").write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c '{told}' \"$@\"\n")
    (tmp_path / "bin/python").chmod(0o755)
    given = {"NIH_ROOT": ODD, "SET": "gamma=3 'unseen=Edema'", "METHODS": "focused bce", "DESIGNS": "1"}
    for target, words in {"study": ["-m", "cmdml.study.command", "study"],
                          "rotation": ["-m", "cmdml.study.command", "rotation"],
                          "plan-nih": ["-m", "cmdml.study.rotation_jobs", "plan"],
                          "mutants": ["tests/mutants.py", "--count", "200"]}.items():  # fmt: skip
        done = subprocess.run(["make", "-s", target, f"BIN={tmp_path}/bin", "READY=", "PROFILE=nih-mini",
                               *(f"{name}={value}" for name, value in given.items())],
                              cwd=run.ROOT, capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
        found, environment = json.loads(done.stdout)
        assert found == words and environment["PROFILE"] == "nih-mini"
        assert {name: environment[name] for name in given} == given
    assert not (run.ROOT / "x").exists()


COMMANDS = {  # what each target runs, as the shell reads it
    "study": "bin/python -m cmdml.study.command study",
    "book": "bin/python -m cmdml.study.command book",
    "sweep": "bin/python -m cmdml.study.command sweep",
    "rotation": "bin/python -m cmdml.study.command rotation",
    "plan-nih": "bin/python -m cmdml.study.rotation_jobs plan",
    "check-book": "bin/python book/check.py",
    "check-book SCREENSHOTS=x": 'bin/python book/check.py --screenshots "$SCREENSHOTS"',
    "pdf": 'bin/python book/pdf.py "$PROFILE"',
    "results": 'bin/python book/stage.py results "$PROFILE"',
    "readme": "bin/python book/stage.py readme",
    "heads": "bin/python data/make_heads.py",
    "trials": "bin/python -m cmdml.study.trials",
    "test": "bin/python -m pytest",
    "torture": "bin/python tests/reliability/torture.py",
    "mutants": "bin/python tests/mutants.py --count 200",
    "lint": "bin/ruff check .",
    "lab": "bin/jupyter lab notebooks",
    "check-install": "bin/python teaching/check_install.py",
    "slides": "bin/python teaching/make_slides.py",
}


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
@pytest.mark.parametrize("target", COMMANDS)
def test_a_target_runs_its_command(target):
    asked = ["make", "-n", "--no-print-directory", "BIN=bin", "READY=", *target.split()]
    done = subprocess.run(asked, cwd=run.ROOT, capture_output=True, text=True, check=True, env=PLAIN)
    assert done.stdout.strip() == COMMANDS[target]


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_help_lists_every_target():
    done = subprocess.run(["make", "-s", "help"], cwd=run.ROOT, capture_output=True, text=True, check=True)
    for target in ("study", "book", "sweep", "rotation", "plan-nih", "mutants", "results", "test"):
        assert f"make {target} " in done.stdout, target


class Group:
    """Jobs that are gone once ``checks`` signals were sent to them; what was done is noted."""

    pid = 7

    def __init__(self, monkeypatch, checks):
        self.sent, self.slept, self.done, self.checks = [], [], [], checks
        monkeypatch.setattr(command, "os", SimpleNamespace(killpg=self.killpg))
        monkeypatch.setattr(command, "time", SimpleNamespace(sleep=self.slept.append))

    def killpg(self, pid, sign):
        assert pid == 7
        self.sent.append(sign)
        if len(self.sent) > self.checks:
            raise ProcessLookupError

    def kill(self):
        self.done.append("killed")

    def wait(self):
        self.done.append("waited")


def test_jobs_are_asked_to_end_before_they_are_killed(monkeypatch):
    gone, asked, stubborn = (Group(monkeypatch, checks) for checks in (0, 3, 10_000))
    for jobs in (gone, asked, stubborn):
        monkeypatch.setattr(command, "os", SimpleNamespace(killpg=jobs.killpg))
        monkeypatch.setattr(command, "time", SimpleNamespace(sleep=jobs.slept.append))
        command.end(jobs)
        assert jobs.done == ["killed", "waited"]
    assert gone.sent == [signal.SIGTERM] and not gone.slept
    assert asked.sent == [signal.SIGTERM, 0, 0, 0] and asked.slept == [0.1] * 3
    assert stubborn.sent == [signal.SIGTERM, *[0] * 50, signal.SIGKILL, *[0] * 50]  # five seconds each


def test_ctrl_c_ends_snakemake_and_its_jobs(monkeypatch, tmp_path):
    ended, before = [], signal.getsignal(signal.SIGINT)

    class Process:
        def __init__(self, words, **how):
            assert how == {"cwd": tmp_path, "start_new_session": True}
            assert [words[i] for i in (0, 1, 2)] == [sys.executable, "-m", "snakemake"] and "--quiet" in words

        def wait(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(command, "end", ended.append)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests without one
    try:
        with pytest.raises(KeyboardInterrupt):
            command.snakemake("study", {}, "1")
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # a second one disturbs nobody
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(ended) == 1 and list((tmp_path / "runs").iterdir()) == []


def test_whoever_stops_it_is_told_how_it_goes_on(monkeypatch, capsys):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    for words, target in ((["command"], "study"), (["command", "sweep"], "sweep")):
        monkeypatch.setattr(sys, "argv", words)
        command.stopped(signal.SIGINT, None)
        said = f"\nStopped. `make {target}` with the same options goes on where it was.\n"
        assert capsys.readouterr().err == said
    assert codes == [130, 130]


def test_a_book_is_built_once_its_parts_are_there(monkeypatch, capsys):
    found = []
    monkeypatch.setattr(command, "snakemake", lambda *_: codes[0])
    monkeypatch.setattr(subprocess, "run", lambda words, cwd: found.append((words, cwd)) or
                        SimpleNamespace(returncode=codes[1]))  # fmt: skip
    for codes, built, told in (((0, 0), True, True), ((0, 2), True, False), ((3, 0), False, False)):
        found.clear()
        assert command.main("book", {"PROFILE": "smoke"}) == max(codes)
        assert bool(found) == built and ("Read it: _build/html/index.html" in capsys.readouterr().out) == told
    codes = (0, 0)
    command.main("book", {"PROFILE": "smoke"})
    ((words, cwd),) = found
    assert cwd == run.ROOT and words[0].endswith("jupyter-book") and words[1] == "build"
    assert words[-1] == str(run.ROOT / "runs/smoke/book") and {"-n", "-W", "--keep-going"} <= set(words)
    assert words[words.index("--path-output") + 1] == str(run.ROOT)
    found.clear()
    command.main("study", {"PROFILE": "smoke"})
    assert not found  # a study builds no book


def test_where_things_are_is_said_only_if_they_are_there(monkeypatch, capsys):
    for code in (0, 3):
        monkeypatch.setattr(command, "snakemake", lambda *_, code=code: code)
        for target, options, said in (
            ("sweep", {"PROFILE": "phantom"}, "Tables: data/results/sweep-phantom   Runs: runs/phantom/sweep   Time: "),
            ("rotation", {"PROFILE": "nih-mini"}, "Tables: data/results/rotation-nih-mini, or where the job above said"
             "   Scores: runs/nih-mini/rotation\n"),
            ("rotation", {"PROFILE": "nih-mini", "METHODS": "eszsl view"}, "Scores: runs/nih-mini/rotation\n"),
        ):  # fmt: skip
            assert command.main(target, options) == code
            out = capsys.readouterr().out
            assert out.startswith(said) if code == 0 else out == ""


def test_a_sweep_of_some_methods_and_a_study_that_is_unknown(monkeypatch):
    monkeypatch.setattr(command, "snakemake", lambda *_: pytest.fail("Snakemake was started"))
    for target in ("study", "sweep", "check"):
        with pytest.raises(ValueError, match="unknown method 'focussed'"):
            command.main(target, {"PROFILE": "phantom", "METHODS": "bce, focussed"})


@pytest.fixture
def signals():
    """The module as a command sets handlers; afterwards they are as they were."""
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
    yield
    for sign, handler in before.items():
        signal.signal(sign, handler)


@pytest.mark.usefixtures("signals")
def test_the_command_checks_its_target_and_ends_with_the_code(monkeypatch, as_command):
    monkeypatch.setenv("PROFILE", "smoke")
    assert as_command("cmdml.study.command", "check") == 0
    for sign in (signal.SIGINT, signal.SIGTERM):
        assert signal.getsignal(sign) == signal.default_int_handler
    monkeypatch.setenv("PROFILE", "fantom")
    assert as_command("cmdml.study.command", "check") == (
        "Nothing was run. unknown profile 'fantom': did you mean 'phantom'?")  # fmt: skip
    sentence = "Nothing was run. unknown target '': choose from study, book, sweep, rotation, check"
    assert as_command("cmdml.study.command").startswith(sentence)
