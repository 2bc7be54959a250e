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
