"""The command that model cards print is the one that makes the heads, and `make heads` runs it."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cmdml.heads import HEADS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_heads", ROOT / "data/make_heads.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recipe() -> list[str]:
    """What `make heads` would run."""
    if not shutil.which("make"):
        pytest.skip("there is no make")
    command = ["make", "--no-print-directory", "-n", "heads", "BIN=bin", "READY="]  # make test runs it inside make
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


def test_make_heads_runs_the_printed_command(script):
    assert recipe() == ["bin/python data/make_heads.py"]
    assert (ROOT / "data/make_heads.py").is_file()
    assert "\n    python data/make_heads.py [phantom] [nih-mini]\n    make heads\n" in script.__doc__
    assert {path.parent.name for path in HEADS.glob("*/card.json")} == set(script.NAMES)
    for name in script.NAMES:  # the command of one of them is that of all, and its name
        command = json.loads((HEADS / name / "card.json").read_text())["command"]
        assert command == f"python data/make_heads.py {name}" == script.command(name)
        assert f"`{command}`" in (HEADS / name / "README.md").read_text()


def test_the_pages_tell_it():
    assert "`make heads`" in (ROOT / "CONTRIBUTING.md").read_text()
    assert "`make heads`" in (ROOT / "book/one-film.md").read_text()


def test_without_names_both_are_made_and_with_one_only_that(script, monkeypatch):
    made = []
    monkeypatch.setattr(script, "make", made.append)
    for given in ([], ["phantom"], ["nih-mini"]):
        monkeypatch.setattr(sys, "argv", ["make_heads.py", *given])
        script.main()
    assert made == [*script.NAMES, "phantom", "nih-mini"]


def test_no_other_name_is_taken(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["make_heads.py", "nih"])
    with pytest.raises(SystemExit):
        script.main()
    assert "invalid choice" in capsys.readouterr().err
