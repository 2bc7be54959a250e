"""What the scores of a rotation's methods depend on, and that tables of more designs are not lost."""

import copy
import json
from dataclasses import fields

import pytest

from cmdml.config import TrainConfig
from cmdml.files import sealed
from cmdml.study import rotation_plan, run
from cmdml.study.rotation_plan import ONLY_COUNTED, made_by, profile_of, results_folder

PLAN = {
    "features": "data/f", "random_features": "data/r", "designs": [1], "folds": 3, "replicates": 9, "permutations": 9,
    "pseudo": {"draws": 1, "unseen": 2}, "closed": {"ridge": [1.0], "semantic_ridge": [0.1]},
    "trained": {"settings": {"hidden": [0, 8]}, "methods": {"focused": {}, "told": {"semantics": "signs"}}},
    "comparisons": {"primary": []}, "improvements": {"design": 1},
}  # fmt: skip
PARAMETERS = {"lr": 0.01, "dim": 8, "backbone": "small_cnn", "hidden": 8, "dropout": 0.1, "batch_size": 4,
              "augment": False, "semantics": "signs", "semantic_model": "m", "run_dir": "x", "points": 5}  # fmt: skip
KEPT = {"features": "data/f", "random_features": "data/r", "folds": 3, "pseudo": {"draws": 1, "unseen": 2}}


def test_a_closed_form_depends_on_films_folds_and_strengths():
    closed = {"plan": KEPT | {"closed": PLAN["closed"]}, "parameters": {}}
    for usual in ({}, {"semantic_model": "all-MiniLM-L6-v2"}):
        assert made_by(PLAN, {"lr": 0.01} | usual, "eszsl") == closed


def test_another_reader_of_words_counts_for_a_closed_form():
    assert made_by(PLAN, PARAMETERS, "eszsl")["parameters"] == {"semantic_model": "m"}


def test_a_trained_method_depends_on_its_grid_its_changes_and_the_training_s_parameters():
    trains = {k: v for k, v in PARAMETERS.items() if k not in ("run_dir", "points")}
    settings = {"settings": {"hidden": [0, 8]}}
    assert made_by(PLAN, PARAMETERS, "focused") == {"plan": KEPT | settings | {"method": {}}, "parameters": trains}
    plan = copy.deepcopy(PLAN)
    plan["trained"]["parameters"] = {"lr": 0.5, "epochs": 2}
    found = made_by(plan, PARAMETERS, "told")
    assert found["plan"]["method"] == {"semantics": "signs"}
    assert found["parameters"] == trains | {"lr": 0.5, "epochs": 2}
    assert made_by(plan, PARAMETERS, "eszsl")["parameters"] == {"semantic_model": "m"}


@pytest.mark.parametrize("method", ["focused", "eszsl"])
def test_a_network_of_its_own_counts_for_every_method(method):
    plan = PLAN | {"features": "", "random_features": "", "extractor": {"quadruples": 0}}
    found = made_by(plan, PARAMETERS, method)
    assert found["plan"]["extractor"] == {"quadruples": 0} and "features" not in found["plan"]
    network = found["parameters"]["extractor"]
    assert network.keys() == {field.name for field in fields(TrainConfig)} - {"seed"}
    assert {name: value for name, value in network.items() if value is not None} == {
        "backbone": "small_cnn", "hidden": 8, "dropout": 0.1, "batch_size": 4, "augment": False, "lr": 0.01, "dim": 8}
    told = PLAN | {"extractor": {"quadruples": 0, "parameters": {"lr": 0.5}}}  # what stands there counts in the plan
    assert "lr" not in made_by(told, PARAMETERS, method)["parameters"]["extractor"]
    assert "extractor" not in made_by(PLAN, PARAMETERS, method)["parameters"]


@pytest.mark.parametrize("method", ["focused", "eszsl"])
def test_what_only_counts_and_compares_plays_no_part(method):
    assert set(ONLY_COUNTED) == {"designs", "replicates", "permutations", "comparisons", "improvements"}
    before = made_by(PLAN, PARAMETERS, method)
    for name in ONLY_COUNTED:
        assert made_by(PLAN | {name: "other"}, PARAMETERS, method) == before
    for name in ("features", "random_features", "folds", "pseudo"):
        assert made_by(PLAN | {name: "other"}, PARAMETERS, method) != before


@pytest.fixture
def profile(tmp_path, monkeypatch):
    monkeypatch.setattr(rotation_plan, "ROOT", tmp_path)
    return {"name": "made", "parameters": {"run_dir": str(tmp_path / "runs/made")}}


@pytest.mark.parametrize("held, designs, lost", [
    ([], [1], ""), ([1, 2], [1, 2], ""), ([1, 2], [2, 1, 3], ""), ([1, 2, 3], [2], "1, 3"), ([1], [], "1"),
])  # fmt: skip
def test_tables_of_more_designs_stay(profile, tmp_path, capsys, held, designs, lost):
    committed = tmp_path / "data/results/rotation-made"
    assert results_folder(profile, designs) == committed
    committed.mkdir(parents=True)
    (committed / "manifest.json").write_text(json.dumps(sealed({"designs": held, "files": {}})))
    assert results_folder(profile, designs) == (tmp_path / "runs/made/rotation/tables" if lost else committed)
    said = capsys.readouterr().out
    assert (f"holds designs {lost}, too, and stays as it is. Tables: " in said) if lost else not said


def test_tables_of_another_run_folder_stay_with_it(profile, tmp_path):
    profile["parameters"]["run_dir"] = str(tmp_path / "runs/aside")
    assert results_folder(profile, [1]) == tmp_path / "runs/aside/rotation/tables"


def test_a_run_folder_elsewhere_that_is_called_like_the_profile_is_one_s_own(profile, tmp_path):
    profile["parameters"]["run_dir"] = str(tmp_path / f"scratch/{profile['name']}")
    assert results_folder(profile, [1]) == tmp_path / f"scratch/{profile['name']}/rotation/tables"


def test_other_parameters_need_a_run_folder_of_their_own(tmp_path):
    own = {"run_dir": str(tmp_path), "gamma": 3.0}
    assert profile_of("nih-mini", json.dumps(own)) == run.load_profile("nih-mini", own)
    assert profile_of("nih-mini") == profile_of("nih-mini", "{}") == run.load_profile("nih-mini")
    with pytest.raises(ValueError, match="a rotation with another gamma needs a run_dir of its own: give one, too"):
        profile_of("nih-mini", '{"gamma": 3.0}')
