"""Which training a chapter reads, and where its results go: a trial never touches the study's."""

import json
import os

import pytest

from cmdml.study import places


def training(folder, run_dir=None, when=0):
    folder.mkdir(parents=True)
    (folder / "embeddings.npz").write_bytes(b"")
    os.utime(folder / "embeddings.npz", (when, when))
    if run_dir is not None:
        (folder / "manifest.json").write_text(json.dumps({"parameters": {"run_dir": str(run_dir)}}))
    return folder


def test_the_training_asked_for_wins(tmp_path):
    training(tmp_path / "run/training")
    folder, sentence = places.training_of(tmp_path / "run", str(tmp_path / "mine"), trials=tmp_path / "trials")
    assert folder == tmp_path / "mine" and "asked for" in sentence and str(folder) in sentence


def test_the_study_s_own_comes_before_any_trial(tmp_path):
    own = training(tmp_path / "run/training", when=1)
    training(tmp_path / "trials/new", tmp_path / "run", when=9)
    folder, sentence = places.training_of(tmp_path / "run", trials=tmp_path / "trials")
    assert folder == own and "the study's training" in sentence


def test_else_the_newest_finished_trial_of_this_run(tmp_path):
    training(tmp_path / "trials/old", tmp_path / "run", when=5)
    newest = training(tmp_path / "trials/a-new", tmp_path / "run", when=7)
    training(tmp_path / "trials/of-another", tmp_path / "other", when=9)
    unfinished = training(tmp_path / "trials/unfinished", tmp_path / "run", when=9)
    (unfinished / "embeddings.npz").unlink()
    folder, sentence = places.training_of(tmp_path / "run", trials=tmp_path / "trials")
    assert folder == newest and "newest trial" in sentence and str(newest) in sentence


def test_without_any_it_says_what_to_run(tmp_path):
    training(tmp_path / "trials/of-another", tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="run chapter 3 first"):
        places.training_of(tmp_path / "run", trials=tmp_path / "trials")


def test_results_of_a_trial_stay_with_the_trial(tmp_path):
    run_dir, trial = tmp_path / "run", tmp_path / "trials/x"
    assert places.results_of(run_dir, run_dir / "training", "evaluation") == run_dir / "evaluation"
    assert places.results_of(run_dir, trial, "evaluation") == trial / "evaluation"
    assert places.results_of(run_dir, trial, "embeddings") == trial / "embeddings"
    variant = run_dir / "variants/x/training"
    assert places.results_of(run_dir, variant, "evaluation") == variant / "evaluation"
    assert places.results_of(run_dir, trial, "evaluation", str(tmp_path / "out")) == tmp_path / "out"
    assert places.results_of("runs/a", "runs/a/training", "embeddings") == places.ROOT / "runs/a/embeddings"


def test_shown_is_relative_inside_the_repository_only(tmp_path):
    assert places.shown(places.ROOT / "runs/x") == "runs/x" and places.shown(tmp_path) == str(tmp_path)


@pytest.mark.parametrize(
    ("kept", "objective", "expected"),
    [({"tau": 0.3}, "focused_tau", 0.3), (None, "focused", 0.7), (None, "focused_tau", None), ({}, "focused", 0.7)],
)
def test_the_temperature_is_the_learnt_one(tmp_path, kept, objective, expected):
    if kept is not None:
        (tmp_path / "objective.json").write_text(json.dumps(kept))
    assert places.tau_of(tmp_path, {"tau": 0.7, "objective": objective}) == expected


def test_a_training_of_any_other_place_is_no_study_s_and_manifests_that_tell_nothing_are_passed_by(tmp_path):
    for name, told in (("list", []), ("without", {"seed": 1}), ("empty", {"parameters": {}})):
        folder = training(tmp_path / "trials" / name, when=9)
        (folder / "manifest.json").write_text(json.dumps(told))
    good = training(tmp_path / "trials/good", tmp_path / "run", when=1)
    folder, sentence = places.training_of(tmp_path / "run", trials=tmp_path / "trials")
    assert folder == good and "has no training in" in sentence
    (tmp_path / "run/training").mkdir(parents=True)  # begun, and not finished
    assert places.training_of(tmp_path / "run", trials=tmp_path / "trials")[0] == good
    (tmp_path / "trials/list/manifest.json").write_text("{")
    with pytest.raises(ValueError, match="delete that trial"):
        places.training_of(tmp_path / "run", trials=tmp_path / "trials")
    with pytest.raises(FileNotFoundError, match="no training in .*run/training, no trial of .*run in .*none"):
        places.training_of(tmp_path / "run", trials=tmp_path / "none")


def test_paths_count_from_the_repository_and_know_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places.resolve("~/films") == tmp_path / "films" and places.resolve("a/../b") == places.ROOT / "b"
    assert places.shown("a/../b") == "b" and (places.ROOT / "pyproject.toml").is_file()
