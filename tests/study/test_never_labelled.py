"""Findings that no film was labelled with: by which model and which signs, on which films, beside what controls."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cmdml.findings import KEYS, load_attributes
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
