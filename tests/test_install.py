"""``make install``: by the lock file that lies there now, and where pip stops, what it would have needed."""

import shlex
import shutil
import subprocess
import sys

import pytest
from scripts import PLAIN

from cmdml.study.places import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
PIP = """#!/bin/sh
echo "$@" >> calls
test ! -e full || case "$*" in *requirements*) echo "No space left" >&2; exit 1;; esac
"""


@pytest.fixture
def make(tmp_path):
    """``make install`` of a copy of the Makefile, whose environment's python only notes what it was asked."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv/bin/python").write_text(PIP)
    (tmp_path / ".venv/bin/python").chmod(0o755)

    def install(*words):
        asked = ["make", "-s", "install", *words]
        done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, env=PLAIN)
        calls = tmp_path / "calls"
        asked = calls.read_text().splitlines() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return done, asked

    return install


def test_it_installs_once_and_again_whenever_the_lock_is_another(make, tmp_path):
    lock = tmp_path / "requirements.lock"
    before = lock.read_text()
    done, asked = make()
    assert done.returncode == 0
    assert ["-r requirements.lock" in call for call in asked] == [True, False]
    assert ["-e ." in call for call in asked] == [False, True]
    assert all("--no-deps" in call for call in asked)
    assert make()[1] == []
    for text in (before + "another==1\n", before):  # and back: what lies in .venv is the other's
        lock.write_text(text)
        assert len(make()[1]) == 2
        assert len(list((tmp_path / ".venv").glob("ready-*"))) == 1
        assert make()[1] == []


def test_where_pip_stops_it_says_what_room_is_needed_and_goes_on_next_time(make, tmp_path):
    (tmp_path / "full").touch()
    done, asked = make()
    assert done.returncode and len(asked) == 1
    assert "No space left" in done.stderr
    assert "It needs 7 GB here" in done.stderr and "Run make again" in done.stderr
    assert not list((tmp_path / ".venv").glob("ready-*"))
    (tmp_path / "full").unlink()
    done, asked = make()
    assert done.returncode == 0 and len(asked) == 2


@pytest.mark.parametrize(("version", "taken"), [((3, 10, 13), False), ((3, 11, 0), True), ((3, 14, 0), True)])
def test_an_old_python_is_told_before_anything_is_installed(make, tmp_path, version, taken):
    shown, python = ".".join(map(str, version)), tmp_path / "some python"
    code = f"import sys; sys.version_info, sys.version = {version}, '{shown} (main)'; exec(sys.argv[2])"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$@"\n')
    python.chmod(0o755)
    done, asked = make(f"PYTHON='{python}'")
    assert (done.returncode == 0) == taken and len(asked) == 2 * taken
    said = f"Python 3.11 or newer is needed, this is {shown}: make PYTHON=python3.12 ..."
    assert (said in done.stderr) != taken
