"""Controls that train nothing, against scikit-learn and planted texts."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cmdml.evaluation.controls import swapped_text
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
