"""Scorers that read a property of the film and no pixel, against counts by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cmdml.evaluation.controls_tables import label_count, property_column, property_scores
from cmdml.findings import KEYS, split_findings

FINDINGS = split_findings(KEYS)


def films(n=300, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((n, 14)) < 0.2).astype(int), rng.choice(["PA", "AP"], n).astype(object)


def test_property_scores_count_by_hand_and_never_read_an_unseen_label():
    labels, view = films()
    view[:40] = None  # unknown is a category of its own
    train, rows = np.arange(0, 200), np.arange(150, 300)
    got = property_scores(view, labels, train, rows, FINDINGS)
    rate = {}
    for value in ("PA", "AP", None):
        same = [i for i in train if view[i] is value or view[i] == value]
        rate[value] = (labels[same].sum(0) + labels[train].mean(0)) / (len(same) + 1)
    informed = np.array([rate[view[i]] for i in rows])
    expected = informed.copy()
    expected[:, FINDINGS.unseen_index] = informed[:, FINDINGS.seen_index].mean(1, keepdims=True)
    np.testing.assert_allclose(got, expected, atol=1e-12)
    np.testing.assert_allclose(property_scores(view, labels, train, rows, FINDINGS, informed=True), informed)
    changed = labels.copy()
    changed[:, FINDINGS.unseen_index] = 1 - changed[:, FINDINGS.unseen_index]
    np.testing.assert_array_equal(got, property_scores(view, changed, train, rows, FINDINGS))
    changed = labels.copy()
    changed[200:] = 1 - changed[200:]  # films that were not trained on
    np.testing.assert_array_equal(got, property_scores(view, changed, train, rows, FINDINGS))


def test_property_columns_and_label_count():
    table = pd.DataFrame({"view": ["PA", None], "age": [30.0, np.nan], "sex": ["F", "M"]})
    assert property_column(table, "age").tolist() == ["<40", "unknown"]
    assert property_column(table, "view")[0] == "PA"
    with pytest.raises(ValueError, match="source_repo"):
        property_column(table, "source")
    labels = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 0]], np.uint8)
    np.testing.assert_array_equal(label_count(labels), [[1, 2, 1], [1, 1, 0], [0, 0, 0]])
    many, _ = films(4000)
    ill = many[many.any(1)]
    assert roc_auc_score(ill[:, 0], label_count(ill)[:, 0]) < 0.48


@pytest.mark.parametrize("informed", [False, True])
@pytest.mark.parametrize("smoothing", [0.5, 3.0])
def test_the_prior_weighs_as_many_films_as_it_is_told(informed, smoothing):
    labels, sex = films(60)
    train, rows = np.arange(40), np.arange(40, 60)
    got = property_scores(sex, labels, train, rows, FINDINGS, informed=informed, smoothing=smoothing)
    for score, i in zip(got, rows, strict=True):
        same = [j for j in train if sex[j] == sex[i]]
        own = (labels[same].sum(0) + smoothing * labels[train].mean(0)) / (len(same) + smoothing)
        if not informed:
            own[FINDINGS.unseen_index] = own[FINDINGS.seen_index].mean()
        np.testing.assert_allclose(score, own, atol=1e-12)


def test_every_property_names_its_column():
    table = pd.DataFrame({"view": ["PA", None, "AP"], "age": [39.0, 40.0, 60.0], "sex": ["F", "M", ""],
                          "source_repo": ["a", "b", "a"]})  # fmt: skip
    view = property_column(table, "view")
    assert view[[0, 2]].tolist() == ["PA", "AP"] and pd.isna(view[1])
    assert property_column(table, "sex").tolist() == ["F", "M", ""]
    assert property_column(table, "source").tolist() == ["a", "b", "a"]
    assert len(set(property_column(table, "age"))) == 3  # below 40, from 40 on, from 60 on
    assert property_column(table, "view").dtype == object


def test_label_counts_of_bytes_do_not_run_over():
    labels = np.ones((2, 300), np.uint8)
    np.testing.assert_array_equal(label_count(labels), np.full((2, 300), 299))
    assert label_count(labels).min() >= 0 and label_count(np.zeros((1, 3), np.uint8)).tolist() == [[0, 0, 0]]
