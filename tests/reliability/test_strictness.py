"""What is typed is what is meant, or one sentence; what was refused stands in nobody's way."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from reliability import made

from cmdml import training, writing
from cmdml.files import check_seal, seal
from cmdml.findings import load_findings
from cmdml.sources import nih
from cmdml.strict_yaml import read_yaml
from cmdml.study import command, profiles, run

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi"))  # fmt: skip
DEEP = "a: " + "[" * 3000 + "]" * 3000


@pytest.mark.parametrize("patient", ["", "nan", "NaN", "None", "1.0", "-1", "1e3", "NULL", " "])
def test_an_id_that_is_none_is_refused_and_merges_no_patients(tmp_path, patient):
    made.nih_folder(tmp_path / "films")
    table = tmp_path / "films/Data_Entry_2017_v2020.csv"
    first, *rows = table.read_text().splitlines()
    rows[2] = ",".join([*rows[2].split(",")[:3], patient, *rows[2].split(",")[4:]])
    table.write_text("\n".join([first, *rows]) + "\n")
    with pytest.raises(ValueError, match="00000002_000.png") as error:
        nih.prepare(tmp_path / "set", root=tmp_path / "films", size=8, workers=1, progress=False)
    assert "\n" not in str(error.value) and not (tmp_path / "set").exists()


@pytest.mark.parametrize("content", [BOMB, DEEP, "a: 1\na: 2", "1: 2", "[a, b]: c", "a: 010", "a: 1:30", "a: &x [*x]",
                                     "a: 2020-99-99", "? {a: b}\n: c", "a: !!python/object:os.system {}", "a: [",
                                     "\tb: 1"])  # fmt: skip
def test_yaml_that_explodes_or_says_two_things_is_one_sentence(tmp_path, content):
    import yaml

    with pytest.raises(yaml.YAMLError):
        read_yaml(content)
    for name, read in (("findings.yaml", load_findings), ("mine.yaml", profiles.load_profile)):
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=name) as error:
            read(tmp_path / name)
        assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize(
    "text", ["seed=010", "gamma=[", "gama=3", "epochs=2.5", "gamma=.nan", "gamma=-1", "hidden=[0]", "lr=1e-3"]
)
def test_a_set_that_is_refused_is_one_sentence(text):
    with pytest.raises(ValueError) as error:
        command.main("check", {"PROFILE": "smoke", "SET": text})
    assert "\n" not in str(error.value)


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path):
    made.nih_folder(tmp_path / "films")
    os.truncate(tmp_path / "films/Data_Entry_2017_v2020.csv", 1 << 40)  # a sparse file: it takes no space
    with pytest.raises(ValueError, match="Data_Entry_2017_v2020.csv holds 1,099,511,627,776 bytes"):
        nih.prepare(tmp_path / "set", root=tmp_path / "films", size=8, workers=1, progress=False)
    (tmp_path / "a").write_text("a")
    seal(tmp_path, ["a"], "thing 1")
    os.truncate(tmp_path / "a", 1 << 40)
    with pytest.raises(ValueError, match="a is damaged or was edited"):
        check_seal(tmp_path, "thing 1")


def parts(tmp_path):
    made.a_set(tmp_path / "set")
    return made.parts_of(tmp_path / "set")


def test_a_training_that_diverged_stands_in_no_one_s_way(tmp_path):
    films = parts(tmp_path)
    mad = dataclasses.replace(made.CONFIG, normalize=False, augment=False, lr=1e12)
    with pytest.raises(ValueError, match="lower lr"):
        made.quiet_fit(films, made.VECTORS, mad, tmp_path / "training")
    assert len(made.quiet_fit(films, made.VECTORS, made.CONFIG, tmp_path / "training").history) == 2


def test_a_configuration_that_was_refused_as_it_began_stands_in_no_one_s_way(tmp_path, monkeypatch):
    films = parts(tmp_path)

    def refuse(*_):
        raise ValueError("no such weights")

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="no such weights"):
        patch.setattr(training, "build_model", refuse)
        made.quiet_fit(films, made.VECTORS, dataclasses.replace(made.CONFIG, gamma=3.0), tmp_path / "training")
    assert len(made.quiet_fit(films, made.VECTORS, made.CONFIG, tmp_path / "training").history) == 2


def test_one_that_has_a_checkpoint_still_does(tmp_path):
    made.interrupted(tmp_path)
    other = dataclasses.replace(made.CONFIG, gamma=3.0)
    with pytest.raises(ValueError, match="another configuration"):
        made.quiet_fit(made.parts_of(tmp_path / "radiographs"), made.VECTORS, other, tmp_path / "training")


def test_rows_are_believed_one_by_one(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (6, 4, 4), dtype=np.uint8)
    path = tmp_path / "pixels.npy"

    def some(start):
        yield rows[start:5]
        raise made.Killed

    with pytest.raises(made.Killed):
        writing.append_rows(path, rows.shape, some)
    header = len(path.read_bytes()) - 5 * 16
    assert writing.intact_rows(path, header, 16, 6) == 5 and writing.intact_rows(path, header, 16, 2) == 2
    content = bytearray(path.read_bytes())
    content[header + 3 * 16] ^= 1
    path.write_bytes(content)
    assert writing.intact_rows(path, header, 16, 6) == 3
    writing.append_rows(path, rows.shape, lambda start: iter([rows[start:]]))
    np.testing.assert_array_equal(np.load(path), rows)


def test_no_space_is_one_sentence_whoever_writes(tmp_path):
    """Libraries say it in words of their own; a limit on file sizes stands for the full disk."""
    code = """
import resource, sys, torch, numpy as np, pandas as pd
from safetensors.torch import save_file
from cmdml.files import write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
big = torch.zeros(40000)
for name, write in (("a.safetensors", lambda p: save_file({"a": big}, p)),
                    ("a.npz", lambda p: np.savez(p, big.numpy())),
                    ("a.csv", lambda p: pd.DataFrame({"a": np.random.rand(9000)}).to_csv(p))):
    try:
        write_whole(sys.argv[1] + "/" + name, write)
    except OSError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=run.ROOT)
    said = done.stdout.splitlines()
    assert done.returncode == 0 and len(said) == 3, done.stderr
    for name, sentence in zip(("a.safetensors", "a.npz", "a.csv"), said):
        assert str(tmp_path / name) in sentence and sentence.endswith("mend that and run again")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_writer_left_beside_is_cleared_away_and_a_living_one_s_is_not(tmp_path):
    from cmdml.files import write_text

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = os.uname().nodename
    for pid in (dead.pid, os.getppid()):
        (tmp_path / f".a.{host}-{pid}.partial.txt").write_text("half")
    write_text(tmp_path / "a.txt", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", f".a.{host}-{os.getppid()}.partial.txt"}


def test_ctrl_c_is_answered_in_one_line_even_while_it_loads():
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.argv = ['command', 'sweep'];"
                                "import runpy; runpy.run_module('cmdml.study.command', run_name='__main__')"],
                               cwd=run.ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
                               env=os.environ | {"PROFILE": "smoke", "METHODS": "x"})  # fmt: skip
    for _ in range(600):  # until it listens
        masks = open(f"/proc/{process.pid}/status").read().partition("SigCgt:")[2].split()[0]
        if int(masks, 16) >> (signal.SIGTERM - 1) & 1:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.strip() == "Stopped. `make sweep` with the same options goes on where it was."


def test_ending_snakemake_ends_its_jobs_and_says_nothing(tmp_path):
    (tmp_path / "job.py").write_text(f"import time; open({str(tmp_path / 'on')!r}, 'w'); time.sleep(600)")
    (tmp_path / "snake.py").write_text("import subprocess, sys; subprocess.run([sys.executable, sys.argv[1]])")
    process = subprocess.Popen([sys.executable, tmp_path / "snake.py", tmp_path / "job.py"], start_new_session=True,
                               stderr=subprocess.PIPE)  # fmt: skip
    for _ in range(600):
        if (tmp_path / "on").exists():
            break
        time.sleep(0.05)
    command.end(process)
    assert process.stderr.read() == b""
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
