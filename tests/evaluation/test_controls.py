"""Controls that train nothing, against scikit-learn and planted texts."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cmdml.evaluation.bootstrap import patient_multiplicities
from cmdml.evaluation.controls import illness_alone, nearest_seen, random_scores, source_only, swapped_text
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


def test_illness_alone_is_the_mean_standard_score_and_a_constant_column_counts_as_it_is():
    """A seen score that never varies in the reference has no spread to divide by: its difference stays."""
    rng = np.random.default_rng(0)
    scores, reference = rng.normal(2, 3, (5, 14)), rng.normal(1, 2, (40, 14))
    constant = FINDINGS.seen_index[2]
    reference[:, constant] = 0.25
    got = illness_alone(scores, reference, FINDINGS)
    for i, row in enumerate(scores):
        z = []
        for c in FINDINGS.seen_index:
            column = reference[:, c].tolist()
            mean = sum(column) / len(column)
            spread = (sum((x - mean) ** 2 for x in column) / len(column)) ** 0.5
            z.append((row[c] - mean) / (1 if c == constant else spread))
        np.testing.assert_allclose(got[i], [sum(z) / len(z)] * 14, rtol=1e-12)
    other, base = scores.copy(), reference.copy()
    other[:, FINDINGS.unseen_index] = base[:, FINDINGS.unseen_index] = np.nan  # not read
    np.testing.assert_array_equal(illness_alone(other, base, FINDINGS), got)


def test_nearest_seen_is_the_loop_over_cosines_and_a_tie_goes_to_the_first():
    rng = np.random.default_rng(1)
    scores, vectors = rng.normal(size=(6, 14)), rng.normal(size=(14, 5)) * rng.uniform(0.1, 9, (14, 1))
    seen = FINDINGS.seen_index
    vectors[seen[4]] = 2 * vectors[seen[1]]  # the same direction
    vectors[FINDINGS.unseen_index[0]] = vectors[seen[1]]
    before = scores.copy()
    got = nearest_seen(scores, vectors, FINDINGS)
    np.testing.assert_array_equal(scores, before)  # what was given stays as it was
    for c in range(14):
        cosine = [v @ vectors[c] / np.linalg.norm(v) for v in vectors[seen]]
        source = c if c in seen else seen[cosine.index(max(cosine))]
        np.testing.assert_array_equal(got[:, c], scores[:, source])
    np.testing.assert_array_equal(got[:, FINDINGS.unseen_index[0]], scores[:, seen[1]])
    for bad in ((scores[0], vectors), (scores[:, 1:], vectors), (scores, vectors[1:])):
        with pytest.raises(ValueError, match=r"need scores \(M, C\) and vectors \(C, E\) of 14 findings"):
            nearest_seen(*bad, FINDINGS)


def test_random_scores_follow_the_seed():
    one = random_scores((300, 14), 3)
    assert one.shape == (300, 14) and 0 <= one.min() and one.max() < 1 and abs(one.mean() - 0.5) < 0.02
    np.testing.assert_array_equal(one, random_scores((300, 14), 3))
    assert not np.array_equal(one, random_scores((300, 14), 4))
    np.testing.assert_array_equal(random_scores((2, 2)), random_scores((2, 2), 0))


def test_rates_of_a_source_are_drawn_to_the_prevalence_as_far_as_the_prior_weighs():
    table = pd.DataFrame(0, index=range(7), columns=list(KEYS))
    table["Mass"] = [1, 1, 0, 0, 1, 0, 1]
    table["source_repo"], table["view"] = list("aabbbac"), ["PA", "AP", "PA", None, None, "AP", "PA"]
    train = [0, 1, 2, 3, 4]  # prevalence 3/5; 2 of 2 in a, 1 of 3 in b, none of c
    for smoothing in (1.0, 4.0):
        got = source_only(table, ["Mass"], train, [5, 4, 6], smoothing=smoothing)
        wanted = [(2 + smoothing * 0.6) / (2 + smoothing), (1 + smoothing * 0.6) / (3 + smoothing), 0.6]
        np.testing.assert_allclose(got[:, 0], wanted)
    got = source_only(table, ["Mass"], train, [1, 3, 5], columns=("source_repo", "view"))
    np.testing.assert_allclose(got[:, 0], [(1 + 0.6) / 2, (1 + 0.6) / 3, (1 + 0.6) / 2])  # unknown is a view


def test_the_interval_of_the_contrast_is_that_of_drawn_patients():
    labels, scores, patients = cohort(0.5, n=160)
    value, low, high = swapped_text(labels, scores, patients, FINDINGS, replicates=15, seed=6)[1]
    rows, unseen, own = labels.any(1), FINDINGS.unseen_index, np.eye(4, dtype=bool)
    drawn, unit = patient_multiplicities(patients[rows], 15, np.random.default_rng(6))
    contrasts = []
    for w in [np.ones(drawn.shape[1]), *drawn]:
        matrix = np.array([[roc_auc_score(labels[rows, a], scores[rows, b], sample_weight=w[unit]) for b in unseen]
                           for a in unseen])  # fmt: skip
        contrasts.append(matrix[own].mean() - matrix[~own].mean())
    wanted = [contrasts[0], *np.quantile(contrasts[1:], [0.025, 0.975])]
    np.testing.assert_allclose([value, low, high], wanted, atol=1e-9)


def test_swapped_texts_are_drawn_a_thousand_times_from_seed_0_unless_another_number_is_asked_for():
    labels, scores, patients = cohort(0.5, n=160)
    found = [swapped_text(labels, scores, patients, FINDINGS, **told)[1]
             for told in ({}, {"replicates": 1000, "seed": 0}, {"seed": 1}, {"replicates": 100})]  # fmt: skip
    assert found[0] == found[1] and found[2] != found[0] != found[3]


def test_a_missing_column_is_told_with_those_that_are_there_and_no_label():
    table = pd.DataFrame(0, index=range(2), columns=["view", *KEYS])
    with pytest.raises(ValueError, match="^the table has no column 'source_repo'; it has view$"):
        source_only(table, FINDINGS.keys, [0], [1])
