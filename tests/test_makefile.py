"""Targets of more than one line: what is measured and where it goes, what is fetched, and what is never removed."""

import shutil
import subprocess

import pytest
from scripts import PLAIN

from cmdml.study.places import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
NOTE = '#!/bin/sh\nprintf "%s|" "$@" >> calls; echo >> calls\n'


@pytest.fixture
def make(tmp_path):
    """A copy of the Makefile whose python only notes, argument by argument, what it was asked."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text(NOTE)
    (tmp_path / "bin/python").chmod(0o755)
    (tmp_path / "requirements.lock").touch()
    (tmp_path / "pyproject.toml").touch()

    def run(*words, code=0):
        done = subprocess.run(["make", "-s", *words, "BIN=bin", "READY="], cwd=tmp_path, capture_output=True, text=True,
                              env=PLAIN)  # fmt: skip
        assert done.returncode == code, done.stderr
        calls = tmp_path / "calls"
        return [line.rstrip("|").split("|") for line in calls.read_text().splitlines()] if calls.exists() else []

    return run


@pytest.mark.parametrize("folder", ["", "my films"])
def test_every_benchmark_is_run_beside_the_tree_and_then_copied_into_it(make, tmp_path, folder):
    (tmp_path / "runs/benchmarks").mkdir(parents=True)
    (tmp_path / "runs/benchmarks/a.json").write_text("measured")
    called = make("bench", f"NIH_1024={folder}")
    out = ["--out", "runs/benchmarks"]
    names = ("train_step", "loss", "bootstrap", "sealing", "features", "scale")
    wanted = [["benchmarks/input_pipeline.py", "--source-size", "1024", "--root", folder, *out],
              ["benchmarks/input_pipeline.py", "--source-size", "224", *out],
              *([f"benchmarks/{name}.py", *out] for name in names)]  # fmt: skip
    assert called == wanted + ([["benchmarks/prepare.py", folder, *out]] if folder else [])
    assert all((ROOT / words[0]).is_file() for words in called)
    assert (tmp_path / "data/results/benchmarks/a.json").read_text() == "measured"


def test_a_benchmark_that_fails_copies_nothing(make, tmp_path):
    (tmp_path / "runs/benchmarks").mkdir(parents=True)
    (tmp_path / "runs/benchmarks/a.json").touch()
    (tmp_path / "bin/python").write_text(NOTE + 'case "$*" in *loss*) exit 1;; esac\n')
    assert len(make("bench", code=2)) == 4 and not (tmp_path / "data").exists()


def test_wheels_are_those_of_the_lock_with_their_hashes(make, tmp_path):
    (tmp_path / "_build/wheels").mkdir(parents=True)
    (words,) = make("wheels")
    assert words[:3] == ["-m", "pip", "download"] and {"--no-deps", "--require-hashes"} <= set(words)
    assert words[words.index("-r") + 1] == "requirements.lock" and words[words.index("-d") + 1] == "_build/wheels"


def test_what_costs_time_or_is_committed_is_not_cleaned_away(make, tmp_path):
    kept = ("runs/a", ".venv/lib/__pycache__/a.pyc", "data/results/a.json", "book/a.md", "notebooks/a.ipynb")
    gone = ("_build/html/a.html", ".pytest_cache/a", ".ruff_cache/a", ".hypothesis/a", "cmdml/__pycache__/a.pyc",
            "book/live/__pycache__/a.pyc")  # fmt: skip
    for name in (*kept, *gone):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert make("clean") == []
    assert all((tmp_path / name).exists() for name in kept)
    assert not any((tmp_path / name).parent.exists() for name in gone)


def test_without_an_option_it_is_phantoms_on_all_cores(make, tmp_path):
    (tmp_path / "bin/python").write_text('#!/bin/sh\necho "$PROFILE|$CORES|$SET|$METHODS|$DESIGNS|" >> calls\n')
    assert make("study") == [["phantom", "all"]]
    assert make("study", "PROFILE=nih", "CORES=3", "SET=a=1", "METHODS=bce", "DESIGNS=4")[-1] == [
        "nih", "3", "a=1", "bce", "4"]  # fmt: skip


def test_without_a_target_it_lists_them_all_with_their_words_and_the_profiles(make, tmp_path):
    (tmp_path / "profiles").mkdir()
    for name in ("phantom", "my-own"):
        (tmp_path / f"profiles/{name}.yaml").touch()
    done = subprocess.run(["make", "-s", "PROFILE=my-own"], cwd=tmp_path, capture_output=True, text=True, env=PLAIN)
    assert done.returncode == 0
    text = (ROOT / "Makefile").read_text()
    (phony,) = [line.split()[1:] for line in text.splitlines() if line.startswith(".PHONY:")]
    listed = [line.split()[1] for line in done.stdout.splitlines() if line.strip().startswith("make ")]
    assert sorted(listed) == sorted(phony)
    last = done.stdout.rpartition("PROFILE is one of:")[2]
    assert "(now my-own)" in last and sorted(last.partition("(")[0].split()) == ["my-own", "phantom"]
