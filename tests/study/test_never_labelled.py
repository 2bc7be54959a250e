"""Findings that no film was labelled with: by which model and which signs, on which films, beside what controls."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from cmdml import closed_form
from cmdml.evaluation.metrics import bootstrap_weights
from cmdml.findings import KEYS, load_attributes
from cmdml.semantics import signs_vector
from cmdml.study import never_labelled
from cmdml.study.never_labelled import PROPERTIES, SIGNS, NeverScorer, truth_of
from cmdml.study.never_labelled import never_labelled as never
from cmdml.study.rotation import Rotation


def test_never_labelled_findings_are_judged_on_films_that_somebody_looked_at(rotation_profile, rotation, root):
    table = never(rotation_profile, root, methods=("eszsl", "mean_of_seen"))
    broken = pd.read_csv(root / "labels_radiologists_4.csv")
    known, positive = broken["in_810_PA_set"] == 1, (broken["Fracture"] == 1).to_numpy()
    fold, ages = rotation.fold, rotation.films.table["age"].to_numpy()
    rows = table[(table.finding == "Fracture") & (table.protocol == "all") & (table.stratum == "none")]
    rows = rows.set_index("method")
    above = pairs = 0
    for at in range(3):
        here = known.to_numpy() & (fold == at)
        n = positive[here].sum() * (~positive[here]).sum()
        above, pairs = above + n * roc_auc_score(positive[here], ages[here]), pairs + n
    assert rows.loc["age in years", "value"] == pytest.approx(above / pairs)
    assert set(rows["films"]) == {known.sum()} and set(rows.index) >= {"eszsl", "mean_of_seen", "view", "source"}
    assert set(table["finding"]) == set(SIGNS)
    assert set(table[table.finding == "Tortuous Aorta"].query("protocol == 'all'")["films"]) == {len(fold)}


def test_a_never_labelled_finding_has_a_column_of_its_own_and_illness_has_one_for_all(rotation_profile, rotation):
    one = Rotation(rotation_profile, 1, rotation.films, ((),), rotation.fold)
    signs = NeverScorer(one, "eszsl", 0).scores()
    assert signs.shape == (len(rotation.films), len(SIGNS)) and np.isfinite(signs).all()
    assert not np.allclose(signs[:, 0], signs[:, 1])
    ill = NeverScorer(one, "mean_of_seen", 0).scores()
    assert (ill == ill[:, :1]).all() and np.isfinite(NeverScorer(one, "focused", 0).scores()).all()
    assert all(set(given) <= set(load_attributes()) for given in SIGNS.values())
    assert not set(SIGNS) & set(KEYS)


def test_a_further_finding_scores_as_the_closed_form_that_is_told_its_signs(rotation_profile, rotation):
    """Not as one of the fourteen: by the model of its fold, from the vector of its own signs."""
    one = Rotation(rotation_profile, 1, rotation.films, ((),), rotation.fold)
    scorer, pixels = NeverScorer(one, "eszsl", 0), rotation.films.pixels.astype(float)
    setting, _ = scorer.choose()
    known = one.vectors("signs_text").numpy().astype(float)
    further = np.stack([signs_vector(signs, "signs_text").numpy() for signs in SIGNS.values()]).astype(float)
    found = scorer.scores()
    for at in range(3):
        cell = one.cell(0, at)
        labels = rotation.films.labels[cell.train].astype(float)
        wanted = closed_form.eszsl(closed_form.Ridge(pixels[cell.train]), labels, pixels[cell.test], known, further,
                                   setting["ridge"], setting["semantic_ridge"])  # fmt: skip
        np.testing.assert_allclose(found[cell.test], wanted, atol=1e-9)


def test_a_property_is_told_labels_of_other_folds_alone(rotation_profile, rotation):
    positive = (np.arange(len(rotation.films)) % 3 == 0).astype(float)
    one = never_labelled.property_scores(rotation, positive)
    changed = positive.copy()
    test = rotation.fold == 0
    changed[test] = 1 - changed[test]
    other = never_labelled.property_scores(rotation, changed)
    for name in never_labelled.PROPERTIES:
        np.testing.assert_array_equal(one[name][test], other[name][test])
    assert not np.allclose(one["source"][~test], other["source"][~test])


def test_the_truth_is_that_of_the_table_and_unknown_elsewhere(tmp_path):
    images = pd.Series(["c.png", "a.png", "b.png", "d.png"])
    assert np.isnan(truth_of("Fracture", images, tmp_path)).all()
    rows = "image,Fracture,in_810_PA_set\na.png,1,1\nb.png,1,0\nc.png,0,1\n"
    (tmp_path / "labels_radiologists_4.csv").write_text(rows)
    np.testing.assert_array_equal(truth_of("Fracture", images, tmp_path), [0, 1, np.nan, np.nan])
    (tmp_path / "labels_cxr_lt.csv").write_text("image,Tortuous Aorta\na.png,1\nb.png,0\n")
    np.testing.assert_array_equal(truth_of("Tortuous Aorta", images, tmp_path), [np.nan, 1, 0, np.nan])


def test_a_property_scores_as_the_share_of_known_films_of_other_folds(rotation):
    rng, n = np.random.default_rng(1), len(rotation.films)
    positive = np.where(rng.random(n) < 0.3, np.nan, (rng.random(n) < 0.4).astype(float))
    found, table = never_labelled.property_scores(rotation, positive), rotation.films.table
    assert list(found) == [*PROPERTIES, "age in years"]
    for at in range(3):
        share = {}
        for sex in ("F", "M"):
            here = (rotation.fold != at) & ~np.isnan(positive) & (table["sex"] == sex).to_numpy()
            share[sex] = positive[here].mean()
        test = rotation.fold == at
        higher = max(share, key=share.get)
        scores = found["sex"][test]
        assert ((scores == scores.max()) == (table["sex"][test] == higher).to_numpy()).all()
        assert scores.max() == pytest.approx(share[higher], abs=0.02)  # shares are drawn towards the mean
    np.testing.assert_array_equal(found["age in years"], table["age"])


def test_rows_say_how_many_films_and_positives_they_are_of(rotation_profile, rotation, root, monkeypatch):
    noise = np.random.default_rng(0).normal(size=(len(rotation.films), len(SIGNS)))
    monkeypatch.setattr(NeverScorer, "scores", lambda self: noise)
    table = never(rotation_profile, root, methods=("eszsl",)).set_index(["finding", "protocol", "stratum", "method"])
    ill, source = rotation.films.labels.any(1), rotation.films.table["source_repo"].to_numpy()
    for c, name in enumerate(SIGNS):
        positive = truth_of(name, rotation.films.table["image"], root)
        for protocol in ("abnormal", "all"):
            keep = ~np.isnan(positive) & ((ill | (positive == 1)) if protocol == "abnormal" else True)
            for stratum in ("none", "source"):
                above = pairs = 0
                for at in range(3):
                    for one in set(source) if stratum == "source" else ("",):
                        here = keep & (rotation.fold == at) & ((source == one) | (stratum == "none"))
                        order = noise[here & (positive == 1), c][:, None] > noise[here & (positive == 0), c]
                        above, pairs = above + order.sum(), pairs + order.size
                row = table.loc[(name, protocol, stratum, "eszsl")]
                assert row.value == pytest.approx(above / pairs) and row.low < row.value < row.high
                assert row.films == keep.sum() and row.positives == (positive[keep] == 1).sum()


def test_a_finding_that_nobody_looked_for_has_no_rows(rotation_profile, root, tmp_path, monkeypatch, rotation):
    monkeypatch.setattr(NeverScorer, "scores", lambda self: np.zeros((len(rotation.films), len(SIGNS))))
    (tmp_path / "labels_cxr_lt.csv").write_bytes((root / "labels_cxr_lt.csv").read_bytes())
    table = never(rotation_profile, tmp_path, methods=("eszsl",))
    assert set(table["finding"]) == set(SIGNS) - {"Fracture"}


@pytest.mark.parametrize("semantics", ["signs_text", "signs"])
def test_further_findings_are_told_as_the_fourteen_are(rotation, semantics):
    vectors = NeverScorer(rotation, "eszsl", 0)._vectors(semantics)
    assert torch.equal(vectors[: len(KEYS)], rotation.vectors(semantics))
    for signs, vector in zip(SIGNS.values(), vectors[len(KEYS) :], strict=True):
        assert torch.equal(vector, signs_vector(signs, semantics))


def test_the_words_of_further_findings_are_read_by_the_profile_s_model(rotation, monkeypatch):
    asked = []
    monkeypatch.setattr(never_labelled, "signs_vector", lambda signs, semantics, *, model: asked.append(
        (semantics, model)) or torch.zeros(3))  # fmt: skip
    monkeypatch.setattr(Rotation, "vectors", lambda *_: torch.zeros(14, 3))
    parameters = rotation.profile["parameters"] | {"semantic_model": "another"}
    other = replace(rotation, profile=rotation.profile | {"parameters": parameters})
    for one, model in ((rotation, "all-MiniLM-L6-v2"), (other, "another")):
        assert NeverScorer(one, "eszsl", 0)._vectors("signs").shape == (17, 3)
        assert asked[-3:] == [("signs", model)] * 3


def test_models_are_shown_all_fourteen_findings(rotation_profile, rotation, root, monkeypatch):
    seen = []

    def scores(self):
        seen.append((self.method, self.quadruple, self.rotation.design, self.rotation.cell(0, 0).findings.seen))
        return np.zeros((len(rotation.films), len(SIGNS)))

    monkeypatch.setattr(NeverScorer, "scores", scores)
    two = rotation_profile | {"rotation": rotation_profile["rotation"] | {"designs": [1, 2]}}
    table = never(two, root)
    assert seen == [(method, 0, 1, KEYS) for method in never_labelled.METHODS]
    assert list(table.method.unique()) == [*never_labelled.METHODS, *PROPERTIES, "age in years"]


def test_an_unknown_age_scores_as_the_middle_one_and_properties_are_their_columns(rotation):
    table = rotation.films.table.copy()
    table.loc[::7, "age"] = np.nan
    other = replace(rotation, films=replace(rotation.films, table=table))
    found = never_labelled.property_scores(other, np.arange(len(table)) % 2.0)
    known = table["age"].dropna()
    np.testing.assert_array_equal(found["age in years"], np.where(table["age"].isna(), known.median(), table["age"]))
    for name, groups in (("view", 3), ("age", 4), ("sex", 2), ("source", 3)):
        assert len(np.unique(found[name][rotation.fold == 1])) == groups, name  # three bands of age and unknown
    same = pd.DataFrame({"source": table["source_repo"], "score": found["source"]})[rotation.fold == 2]
    assert (same.groupby("source").score.nunique() == 1).all()


def test_intervals_draw_patients_as_often_as_the_profile_says(rotation_profile, rotation, root, monkeypatch):
    asked = []
    monkeypatch.setattr(never_labelled, "bootstrap_weights", lambda *given: asked.append(given) or
                        bootstrap_weights(*given))  # fmt: skip
    monkeypatch.setattr(NeverScorer, "scores", lambda self: np.zeros((len(rotation.films), len(SIGNS))))
    never(rotation_profile, root, methods=("eszsl",))
    patients, known = rotation.films.table["patient"].to_numpy(), pd.read_csv(root / "labels_radiologists_4.csv")
    known = (known["in_810_PA_set"] == 1).to_numpy()
    assert len(asked) == 2 * len(SIGNS) and {given[1:] for given in asked} == {(20, 0)}
    assert (asked[1][0] == patients[known]).all() and (asked[3][0] == patients).all()
