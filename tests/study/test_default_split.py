"""The peers' split on frozen features: which films, which numbers, and the trap of a source that turns one-sided."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cmdml.evaluation.metrics import bootstrap_weights
from cmdml.feature_set import FeatureSet
from cmdml.findings import KEYS, split_findings
from cmdml.study.default_split import measured, rotation_of, rows_of, scored_by, source_illness, without


@pytest.fixture(scope="module")
def profile(rotation_profile):
    return rotation_profile | {"parameters": rotation_profile["parameters"] | {"unseen": "default", "epochs": 1}}


@pytest.fixture(scope="module")
def films(rotation):
    """The made films with a split by patient; source "c" holds Pneumonia or nothing: one-sided once that is gone."""
    table, keys = rotation.films.table.copy(), list(KEYS)
    of = np.unique(table["patient"], return_inverse=True)[1] % 5
    table["split"] = np.array(["train", "train", "train", "val", "test"])[of]
    here = (table["source_repo"] == "c").to_numpy()
    table.loc[here, keys] = 0
    table.loc[here & (np.arange(len(table)) % 2 == 0), "Pneumonia"] = 1
    return FeatureSet(rotation.films.pixels, table, rotation.films.card, rotation.films.folder)


def test_one_cell_with_the_default_findings_and_the_set_s_own_split(profile, films):
    rotation = rotation_of(profile, films, 5)
    cell, split = rotation.cell(0, 0), films.table["split"].to_numpy()
    assert cell.findings.unseen == split_findings(KEYS, "default").unseen and len(rotation.sets) == 1
    assert (cell.test == np.flatnonzero(split == "test")).all() and (cell.val == np.flatnonzero(split == "val")).all()
    assert (split[cell.train] == "train").all() and not films.labels[cell.train][:, cell.findings.unseen_mask].any()


def test_heads_have_seeds_and_closed_forms_have_one(profile, films):
    rotations = [rotation_of(profile, films, seed) for seed in (1, 2)]
    scores, setting = scored_by(rotations, "focused")
    test = (films.table["split"] == "test").sum()
    assert scores.shape == (2, test, len(KEYS)) and setting == {} and not np.allclose(scores[0], scores[1])
    scores, setting = scored_by(rotations, "eszsl")
    assert len(scores) == 1 and set(setting) == {"ridge", "semantic_ridge"}


def test_a_source_that_turns_one_sided_turns_the_finding_upside_down(profile, films):
    cell = rotation_of(profile, films, 1).cell(0, 0)
    scores = source_illness(films, cell.train, cell.test)
    source, ill = films.table["source_repo"].to_numpy(), films.labels.any(1)
    for row, value in zip(cell.test[:30], scores[:30, 0], strict=True):
        assert value == pytest.approx(ill[cell.train][source[cell.train] == source[row]].mean())
    c, rows = KEYS.index("Pneumonia"), ill[cell.test]
    assert roc_auc_score(films.labels[cell.test][rows, c], scores[rows, c]) < 0.35
    tables = measured(profile, films, {"set": "made"}, methods=("source_illness", "mean_of_seen"), seeds=[1])
    assert list(tables["sources"]["source"]) == ["c"] and set(tables["sources"]["kind"]) == {"normal"}
    less = without(films, ["c"])
    assert len(less) == (source != "c").sum() == len(less.pixels) and "c" not in set(less.table["source_repo"])
    assert (less.pixels == films.pixels[source != "c"]).all()
    assert not len(measured(profile, less, {}, methods=("mean_of_seen",), seeds=[1])["sources"])


def test_a_source_without_training_films_scores_the_overall_share(films):
    scores = source_illness(films, np.flatnonzero(films.table["source_repo"] == "a"), np.arange(len(films)))
    assert len(np.unique(scores)) == 1


def test_s_u_and_h_are_means_of_auroc_with_patient_intervals():
    rng, n = np.random.default_rng(0), 800
    labels = (rng.random((n, len(KEYS))) < 0.2).astype(np.uint8)
    labels[:, KEYS.index("Hernia")] = 0
    scores, patients = rng.normal(size=(2, n, len(KEYS))) + labels, np.arange(n) // 2
    findings = split_findings(KEYS, "default")
    table = pd.DataFrame(rows_of(labels, scores, patients, findings, 50)).set_index(["protocol", "metric"])
    for protocol, keep in (("abnormal", labels.any(1)), ("single", labels.sum(1) == 1), ("all", labels.sum(1) >= 0)):
        each = {key: np.mean([roc_auc_score(labels[keep, c], one[keep, c]) for one in scores])
                for c, key in enumerate(KEYS) if key != "Hernia"}  # fmt: skip
        s, u = (np.mean([v for k, v in each.items() if k in names]) for names in (findings.seen, findings.unseen))
        found = table.loc[protocol]["value"]
        assert found["S"] == pytest.approx(s) and found["U"] == pytest.approx(u)
        assert found["Mass"] == pytest.approx(each["Mass"]) and np.isnan(found["Hernia"])
        halves = [tuple(np.mean([roc_auc_score(labels[keep, c], one[keep, c]) for c, k in enumerate(KEYS)
                                 if k in names])
                   for names in (set(findings.seen) - {"Hernia"}, findings.unseen)) for one in scores]  # fmt: skip
        assert found["H"] == pytest.approx(np.mean([2 * a * b / (a + b) for a, b in halves]))
    row = table.loc["all", "Edema"]
    weights, unit = bootstrap_weights(patients, 50, 0)
    c = KEYS.index("Edema")
    draws = [np.mean([roc_auc_score(labels[:, c], one[:, c], sample_weight=w[unit]) for one in scores])
             for w in weights[1:]]  # fmt: skip
    np.testing.assert_allclose([row["low"], row["high"]], np.quantile(draws, [0.025, 0.975]), atol=1e-9)
    assert row["positives"] == labels[:, c].sum() and set(table.loc["all"]["left_out"]) == {"Hernia"}
