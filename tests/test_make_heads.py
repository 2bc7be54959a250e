"""The command that model cards print is the one that makes the heads, and what goes into them and onto their pages."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scripts import load

from cmdml.findings import DEFAULT_UNSEEN, KEYS, findings_of, split_findings
from cmdml.heads import HEADS
from cmdml.semantics import semantic_vectors
from cmdml.study import run

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script():
    return load("data/make_heads.py")


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


@pytest.mark.parametrize("name", ["phantom", "nih-mini"])
def test_a_page_says_what_its_card_says(script, name):
    card = json.loads((HEADS / name / "card.json").read_text())
    made = script.readme(card | {"unseen": split_findings(KEYS, "default").unseen})
    assert made.rstrip("\n") == (HEADS / name / "README.md").read_text(encoding="utf-8").rstrip("\n")


def test_the_mean_normal_film_is_of_the_committed_films_without_a_finding(script):
    table = pd.read_csv(ROOT / "data/films/films.csv")
    names = [row.image for row in table.itertuples() if not any(getattr(row, key) for key in KEYS)]
    films = np.stack([np.asarray(Image.open(ROOT / "data/films" / name), float) for name in names])
    assert len(names) == 12 and np.abs(script.normal_film() - films.mean(0)).max() <= 0.5


def test_phantoms_of_a_head_are_those_of_the_profile(script, monkeypatch, tmp_path):
    monkeypatch.setattr(script, "prepare", lambda *given, **named: (given, named))
    asked = {"size": 64, "images": 8000, "prevalence": 1.5, "gamma": 2.0}
    given, named = script.radiographs("phantom", asked, tmp_path)
    assert given == ("phantom", tmp_path / "radiographs")
    assert named == {"seed": 0, "size": 64, "images": 8000, "prevalence": 1.5}


def test_a_head_is_measured_on_its_test_films(script, monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"split": ["train", "test", "val", "test"], "patient": ["a", "b", "c", "d"]})
    data, asked = SimpleNamespace(table=table, labels=rng.integers(0, 2, (4, 3))), []

    def evaluate(*given, **named):
        asked.append((*given, named))
        return SimpleNamespace(
            summary=pd.DataFrame({"value": [0.5, np.nan]}), per_finding=pd.DataFrame({"auroc": [1.0]})
        )

    monkeypatch.setattr(script, "embedded", lambda folder, rows: {"scores": (folder, rows.tolist())})
    monkeypatch.setattr(script, "evaluate", evaluate)
    found = script.measured(tmp_path, data, "findings")
    ((labels, scores, patients, findings, named),) = asked
    assert labels.tolist() == data.labels[[1, 3]].tolist() and scores == (tmp_path, [1, 3])
    assert patients.tolist() == ["b", "d"] and findings == "findings" and named == {"replicates": 1000, "seed": 0}
    assert found == {"test_films": 2, "summary": [{"value": 0.5}, {"value": None}], "per_finding": [{"auroc": 1.0}]}


@pytest.mark.parametrize("name", ["phantom", "nih-mini"])
def test_a_head_is_trained_as_its_profile_says_and_told_signs_in_words(script, monkeypatch, name):
    data, asked = SimpleNamespace(findings=KEYS), {}
    done = SimpleNamespace(out=Path("out"), history=pd.DataFrame({"val_seen_auroc": [0.6, 0.8, 0.7]}))

    def fit(parts, vectors, config, folder, accelerator):
        asked.update(parts=parts, vectors=vectors, config=config, folder=folder)
        return done

    def make_head(*given, **named):
        asked.update(given=given, named=named)
        return SimpleNamespace(folder=HEADS / name)

    for what, instead in {"radiographs": lambda *_: data, "partition": lambda *given: given, "fit": fit,
                          "make_head": make_head, "measured": lambda *given: given,
                          "normal_film": lambda: "a film"}.items():  # fmt: skip
        monkeypatch.setattr(script, what, instead)
    script.make(name)
    profile, (films, findings) = run.load_profile(name)["parameters"], asked["parts"]
    assert films is data and set(findings.unseen) == set(DEFAULT_UNSEEN)
    assert torch.equal(asked["vectors"], semantic_vectors(findings_of(KEYS), "signs_text"))
    for key in ("epochs", "lr", "gamma", "alpha", "dim", "hidden", "batch_size", "tune", "augment", "backbone"):
        assert getattr(asked["config"], key) == profile[key], key
    assert asked["config"].precision == "32-true" and asked["config"].seed == 0
    assert asked["folder"] == run.resolve("runs/heads") / name / "training"
    assert asked["given"] == (Path("out"), data, HEADS / name) and asked["named"]["name"] == name
    assert asked["named"]["semantics"] == "signs_text" and asked["named"]["readme"] is script.readme
    assert asked["named"]["normal_film"] == ("a film" if name == "nih-mini" else None)
    about = asked["named"]["about"]
    assert about == {"command": script.command(name), "measured": (Path("out"), data, findings), "val_seen_auroc": 0.8}
