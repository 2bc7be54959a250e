"""The study's own head with permuted signs: against the rotation's scorer, told other vectors, and sklearn's AUROC."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reference import pooled_u

from cmdml.findings import KEYS
from cmdml.study import retrained, run
from cmdml.study.permutations import orders
from cmdml.study.results import manifest_of
from cmdml.study.scorers import Scorer


def by_hand(rotation, order, monkeypatch):
    """The rotation's own ``focused`` without a choice, where the rotation's vectors are those of other findings."""
    own = type(rotation).vectors
    monkeypatch.setattr(type(rotation), "vectors", lambda self, semantics: own(self, semantics)[list(order)])
    scores = np.zeros((len(rotation.sets), len(rotation.films), len(KEYS)))
    for q in range(len(rotation.sets)):
        for at in range(3):
            cell = rotation.cell(q, at)
            scores[q, cell.test] = Scorer(rotation, "focused", q)(cell, {}, cell.test)
    monkeypatch.setattr(type(rotation), "vectors", own)
    return pooled_u(rotation, scores)


@pytest.fixture(scope="module")
def few(rotation):
    """Three quadruples instead of fourteen: a minute less."""
    return replace(rotation, sets=rotation.sets[:3])


@pytest.mark.parametrize("at", [0, 1])
def test_u_is_that_of_the_head_told_these_signs(few, at, monkeypatch):
    order = orders(KEYS, 2, "free", few.design)[at]
    wanted = by_hand(few, order, monkeypatch)
    assert retrained.reached(few, order) == pytest.approx(wanted, abs=1e-6)
    if at:
        assert abs(wanted - retrained.reached(few, range(14))) > 1e-3


def test_signs_are_the_profile_s_and_no_other_label_or_word_is_asked(few, told):
    retrained.reached(few, range(14))
    assert told == ["signs_text"] * 9


@pytest.fixture
def profile(rotation_profile, tmp_path, monkeypatch, at_once):
    """The made profile in a folder of its own; training an order costs nothing and is counted."""
    made = rotation_profile | {"parameters": rotation_profile["parameters"] | {"run_dir": str(tmp_path / "runs")}}
    asked = []

    def reached(rotation, order):
        asked.append(list(order))
        return 0.6 if list(order) == [*range(14)] else 0.5 + 0.01 * len(asked)

    monkeypatch.setattr(retrained, "reached", reached)
    monkeypatch.setattr(retrained, "workers", at_once)
    monkeypatch.setattr(retrained, "PERMUTATIONS", 4)
    monkeypatch.setattr(run, "load_profile", lambda name: made)
    monkeypatch.setattr(run, "resolve", lambda path: tmp_path / path)
    return made, asked, tmp_path


def test_tables_say_what_was_reached_and_a_second_call_trains_nothing(profile):
    made, asked, at = profile
    folder = retrained.main("made")
    assert folder == at / "data/results/retrained-made"
    about = manifest_of(folder, ["permutation.csv", "each.csv"])
    assert about["seed"] == 1 and about["profile"] == "made" and about["data_sha256"]
    assert about["run_commits"] == [str(run.CODE["commit"])] and about["run_dirty"] == run.CODE["dirty"]
    assert about["command"] == "python -m cmdml.study.retrained made" and about["commit"] == run.CODE["commit"]
    each, (row,) = pd.read_csv(folder / "each.csv"), pd.read_csv(folder / "permutation.csv").to_dict("records")
    assert asked == orders(KEYS, 4, "free", 1).tolist()  # the first of those that the closed form is told
    assert each["U"].tolist() == pytest.approx([0.6, 0.52, 0.53, 0.54, 0.55]) and each["order"].tolist() == [*range(5)]
    assert each["signs_of"][0].split() == list(KEYS) and each["signs_of"][1].split() == [KEYS[c] for c in asked[1]]
    assert (row["method"], row["design"], row["kind"], row["permutations"]) == ("focused", 1, "free", 4)
    assert (row["real"], row["largest"], row["p"]) == pytest.approx((0.6, 0.55, 0.2))
    assert (row["mean"], row["sd"]) == pytest.approx((0.535, np.std([0.52, 0.53, 0.54, 0.55], ddof=1)), rel=1e-5)
    retrained.main("made")
    assert len(asked) == 5
    made["parameters"]["epochs"] = 4  # another training: nothing of the old one is taken for it
    retrained.main("made")
    assert len(asked) == 10
    trained = made["rotation"]["trained"] | {"parameters": {"lr": 0.5}}
    for number, change in enumerate(({"folds": 4}, {"trained": trained})):
        made["rotation"] = made["rotation"] | change
        retrained.main("made")
        assert len(asked) == 15 + 5 * number


def test_the_first_design_of_several_and_the_seconds_of_each_order(profile, monkeypatch):
    made, asked, at = profile
    plan = made["rotation"] | {"designs": [2, 1]}
    monkeypatch.setattr(run, "load_profile", lambda name: made | {"rotation": plan})
    kept = retrained.kept
    monkeypatch.setattr(retrained, "kept", lambda given, k: kept(given, k) | {
        "seconds": 1.26 * k, "commit": f"c{k % 2}", "dirty": k == 3})  # fmt: skip
    folder = retrained.main("made")
    about, each = manifest_of(folder), pd.read_csv(folder / "each.csv")
    assert asked == orders(KEYS, 4, "free", 2).tolist() and about["seed"] == 2
    assert (at / "runs/rotation/2/retrained/0.json").is_file()
    assert pd.read_csv(folder / "permutation.csv").design.tolist() == [2]
    assert each["seconds"].tolist() == [0, 1.3, 2.5, 3.8, 5.0]
    assert about["run_commits"] == ["c0", "c1"] and about["run_dirty"] is True


def test_other_films_are_trained_on_anew(profile, rotation, monkeypatch):
    _, asked, _ = profile
    for times, sha256 in enumerate(("one", "one", "another"), 1):
        films = replace(rotation.films, card=rotation.films.card | {"sha256": sha256})
        monkeypatch.setattr(retrained.Rotation, "of", lambda *_, films=films: replace(rotation, films=films))
        retrained.main("made")
        assert len(asked) == (5 if times < 3 else 10)


def test_one_that_was_edited_is_refused(profile):
    made, asked, at = profile
    retrained.main("made")
    file = at / "runs/rotation/1/retrained/2.json"
    file.write_text(file.read_text().replace('"U": 0.53', '"U": 0.93'))
    with pytest.raises(ValueError, match=r"2\.json is damaged or was edited: delete it and run again"):
        retrained.main("made")
    file.unlink()
    retrained.main("made")
    assert len(asked) == 6 and asked[-1] == asked[2]
    assert json.loads(file.read_text())["commit"] == run.CODE["commit"]


def test_a_profile_without_a_rotation_is_refused(as_command):
    sentence = "retrained stopped. profile smoke has no section `rotation`: see profiles/nih-mini.yaml."
    assert as_command("cmdml.study.retrained", "smoke") == sentence
    assert as_command("cmdml.study.retrained", "fantom").startswith("retrained stopped. unknown profile 'fantom'")
