"""Controls that train nothing, against scikit-learn and planted texts."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cmdml.evaluation.controls import source_only, swapped_text
from cmdml.evaluation.controls_tables import label_count, property_column, property_scores
from cmdml.findings import KEYS, split_findings

FINDINGS = split_findings(KEYS)


def cohort(own_text, n=600, seed=0):
    """Scores that know illness, and know the finding only as far as ``own_text``."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, 14)) < 0.1).astype(int)
    scores = labels.any(1)[:, None] + rng.normal(size=(n, 14)) + own_text * labels
    return labels, scores, np.arange(n) // 2


def test_matrix_is_scikit_learns_among_abnormal_images():
    labels, scores, patients = cohort(1.0)
    matrix, (contrast, _, _) = swapped_text(labels, scores, patients, FINDINGS, replicates=5)
    rows, unseen = labels.any(1), FINDINGS.unseen_index
    expected = np.array([[roc_auc_score(labels[rows, a], scores[rows, b]) for b in unseen] for a in unseen])
    np.testing.assert_allclose(matrix, expected, atol=1e-12)
    own = np.eye(4, dtype=bool)
    assert contrast == pytest.approx(expected[own].mean() - expected[~own].mean(), abs=1e-12)


def test_texts_that_mean_nothing_have_no_contrast_and_texts_that_do_have():
    nothing = swapped_text(*cohort(0.0), FINDINGS, replicates=200)[1]
    assert nothing[1] < 0 < nothing[2]  # though every score tells ill from well
    something = swapped_text(*cohort(1.5), FINDINGS, replicates=200)[1]
    assert 0.15 < something[1] < something[0] < something[2]


def test_a_finding_without_positives_is_nan_and_left_out():
    labels, scores, patients = cohort(1.0)
    labels[:, FINDINGS.unseen_index[0]] = 0
    matrix, contrast = swapped_text(labels, scores, patients, FINDINGS, replicates=50)
    assert np.isnan(matrix[0]).all() and np.isfinite(matrix[1:]).all() and np.isfinite(contrast).all()


def test_one_unseen_finding_cannot_swap():
    with pytest.raises(ValueError, match="at least two unseen"):
        swapped_text(*cohort(1.0), split_findings(KEYS, "Hernia"))


def seen_and_unseen(n=300, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((n, 14)) < 0.2).astype(int), rng.choice(["PA", "AP"], n).astype(object)


def test_property_scores_count_by_hand_and_never_read_an_unseen_label():
    labels, view = seen_and_unseen()
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


def test_source_only_counts_the_training_rows_it_is_given_and_no_others():
    labels, source = seen_and_unseen(60)
    table = pd.DataFrame(labels, columns=FINDINGS.keys).assign(source_repo=source)
    train = np.flatnonzero(labels[:, FINDINGS.unseen_mask].sum(1) == 0)  # a partition's: no film with an unseen one
    got = source_only(table, FINDINGS.keys, train, np.arange(60))
    assert (got[:, FINDINGS.unseen_index] == 0).all()
    for i in (0, 7):
        same = [j for j in train if source[j] == source[i]]
        want = (labels[same].sum(0) + labels[train].mean(0)) / (len(same) + 1)
        np.testing.assert_allclose(got[i], want, atol=1e-12)
    with pytest.raises(ValueError, match="no column 'maker'"):
        source_only(table, FINDINGS.keys, train, train, ("maker",))


def test_property_columns_and_label_count():
    table = pd.DataFrame({"view": ["PA", None], "age": [30.0, np.nan], "sex": ["F", "M"]})
    assert property_column(table, "age").tolist() == ["<40", "unknown"]
    assert property_column(table, "view")[0] == "PA"
    with pytest.raises(ValueError, match="source_repo"):
        property_column(table, "source")
    labels = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 0]], np.uint8)
    np.testing.assert_array_equal(label_count(labels), [[1, 2, 1], [1, 1, 0], [0, 0, 0]])
    many, _ = seen_and_unseen(4000)
    ill = many[many.any(1)]
    assert roc_auc_score(ill[:, 0], label_count(ill)[:, 0]) < 0.48
