"""From what a user calls a run to its head: by name, by folder, made once, made again, and where nothing is found."""

import json
import shutil
from types import SimpleNamespace

import pytest
from conftest import make_tiny, make_training

from cmdml import runs
from cmdml.files import SEAL, sha256
from cmdml.heads import HEADS
from cmdml.runs import open_run


@pytest.fixture(scope="module")
def whole(tmp_path_factory, vectors):
    """A run of the study: radiographs, a training, and what it was told."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    make_training(folder / "training", make_tiny(folder / "radiographs", n=160, size=32), vectors)
    told = {"semantics": "signs", "semantic_model": "", "profile": "tiny", "run_dir": "runs/none"}
    (folder / "training/manifest.json").write_text(json.dumps({"parameters": told}))
    return folder


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "mine")


@pytest.fixture
def opened(monkeypatch):
    """Which folder would be loaded."""
    monkeypatch.setattr(runs, "load_head", lambda folder: folder)


@pytest.mark.usefixtures("opened")
def test_heads_by_name_and_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_run() == HEADS / "nih-mini" and open_run("phantom") == HEADS / "phantom"
    assert open_run(HEADS / "phantom") == HEADS / "phantom"
    (tmp_path / "phantom").mkdir()  # a folder that is there comes before a name
    with pytest.raises(FileNotFoundError, match="no finished training in phantom: run chapter 3"):
        open_run("phantom")
    with pytest.raises(FileNotFoundError, match=r"no run 'phantm': give a folder such as .*did you mean 'phantom"):
        open_run("phantm")


@pytest.mark.usefixtures("opened")
def test_what_looks_like_a_head_is_loaded_as_one(tmp_path):
    (tmp_path / "card.json").write_text("{}")  # without its seal: the sentence is that of a damaged head
    assert open_run(tmp_path) == tmp_path
    (tmp_path / "radiographs").mkdir()  # of a run that holds a card
    with pytest.raises(FileNotFoundError, match="no finished training"):
        open_run(tmp_path)
    (tmp_path / SEAL).write_text('{"format": "head 1"}')
    assert open_run(tmp_path) == tmp_path


@pytest.mark.parametrize("text, format", [('{"format": "x"}', "x"), ("{", None), ("[]", None), ("{}", None),
                                          (None, None)])  # fmt: skip
def test_the_format_of_a_folder(tmp_path, text, format):
    if text is not None:
        (tmp_path / SEAL).write_text(text)
    assert runs._format(tmp_path) == format


def test_a_run_becomes_a_head_once_and_again_when_it_was_trained_again(run):
    head = open_run(run)
    training = run / "training"
    assert head.folder == training / "head" and head.card["name"] == "tiny" and head.card["semantics"] == "signs"
    assert head.card["training_seal"] == sha256(training / SEAL)
    assert head.card["command"] == f"cmdml predict --run {training}"
    written = (head.folder / SEAL).stat().st_mtime_ns
    assert open_run(training).folder == head.folder and (head.folder / SEAL).stat().st_mtime_ns == written
    (training / SEAL).write_text((training / SEAL).read_text() + "\n")
    assert open_run(str(run)).card["training_seal"] == sha256(training / SEAL) != head.card["training_seal"]
    (head.folder / "card.json").write_text("damaged")
    assert open_run(run).card["name"] == "tiny"


def test_a_head_is_named_after_its_folder_where_no_profile_is_said(run):
    file = run / "training/manifest.json"
    told = json.loads(file.read_text())["parameters"]
    del told["profile"]
    file.write_text(json.dumps({"parameters": told}))
    assert open_run(run).card["name"] == "training"


def test_a_folder_that_cannot_be_written_gets_a_head_elsewhere(run, monkeypatch):
    made, make = [], runs.make_head

    def refuse(training, data, folder, **told):
        made.append(folder)
        if len(made) == 1:
            raise PermissionError
        return make(training, data, folder, **told)

    monkeypatch.setattr(runs, "make_head", refuse)
    head = open_run(run)
    assert made[0] == run / "training/head" and head.folder == made[1] and run not in made[1].parents
    assert head.card["training_seal"] == sha256(run / "training" / SEAL)
    shutil.rmtree(made[1].parent)


def test_without_manifest_or_films_there_is_no_head(run, tmp_path):
    shutil.move(run / "radiographs", tmp_path / "films")
    with pytest.raises(FileNotFoundError, match=r"films of .* are gone \(radiographs in .*: prepare them"):
        open_run(run)
    make_tiny(run / "radiographs", n=160, size=32, seed=1)  # others
    with pytest.raises(FileNotFoundError, match="are gone"):
        open_run(run)
    (run / "training/manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no manifest\.json, which says what it was told .*make_head"):
        open_run(run)
    (run / "training" / SEAL).unlink()
    with pytest.raises(FileNotFoundError, match="no finished training in .*training: run chapter 3"):
        open_run(run)


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_films_are_looked_for_in_the_folders_above_and_where_the_manifest_says(run, tmp_path, depth, monkeypatch):
    training = tmp_path / "a/b/c/d/training"
    shutil.copytree(run / "training", training)
    shutil.copytree(run / "radiographs", training.parents[depth] / "radiographs")
    asked = {"run_dir": "runs/none"}
    if depth < 3:
        assert runs._films_of(training, asked).folder == training.parents[depth] / "radiographs"
        return
    with pytest.raises(FileNotFoundError):
        runs._films_of(training, asked)
    monkeypatch.setattr(runs, "HEADS", tmp_path / "a/data/heads")
    assert runs._films_of(training, {"run_dir": "."}).folder == tmp_path / "a/radiographs"
    with pytest.raises(FileNotFoundError):
        runs._films_of(training, asked)


def test_a_head_is_made_of_what_the_manifest_says_and_the_films_beside_it(run, monkeypatch):
    file, asked = run / "training/manifest.json", []
    told = {"semantics": "description", "semantic_model": "some/model", "profile": "mine", "run_dir": "runs/none"}
    file.write_text(json.dumps({"parameters": told}))
    monkeypatch.setattr(runs, "make_head", lambda *given, **about: asked.append((given, about)))
    open_run(run)
    (((training, data, folder), about),) = asked
    assert (training, folder) == (run / "training", run / "training/head") and data.folder == run / "radiographs"
    mark = {"training_seal": sha256(run / "training" / SEAL), "command": f"cmdml predict --run {run / 'training'}"}
    assert about == {"semantics": "description", "semantic_model": "some/model", "name": "mine", "about": mark}


@pytest.mark.parametrize(("weights", "at"), [("imagenet", "resnet18-imagenet"), ("", "resnet18-random"),
                                             ("imagenet", "")])  # fmt: skip
def test_features_are_looked_for_under_their_backbone_and_weights(tmp_path, monkeypatch, weights, at):
    place = tmp_path / "features" / at
    held = {"data_sha256": "films", "features_sha256": "mine", "config": {"tune": "frozen", "backbone": "resnet18",
                                                                          "weights": weights}}  # fmt: skip
    (tmp_path / "training").mkdir()
    (tmp_path / "training/config.json").write_text(json.dumps(held))
    cards = {place: "mine", tmp_path / "features/resnet18-other": "mine", tmp_path / "training/features": "films"}

    def load(folder):
        if folder not in cards:
            raise FileNotFoundError
        return SimpleNamespace(folder=folder, card={"sha256": cards[folder]})

    monkeypatch.setattr(runs.FeatureSet, "load", load)
    assert runs._films_of(tmp_path / "training", {}).folder == place
