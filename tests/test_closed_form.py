"""Closed-form zero-shot methods against naive references and on films whose signs are planted."""

import time

import numpy as np
import pytest
import reference_closed_form as naive
from sklearn.metrics import roc_auc_score

from cmdml import closed_form as cf

RNG = np.random.default_rng(0)
TRAIN, TEST = RNG.normal(3, 2, (120, 15)), RNG.normal(4, 3, (40, 15))
LABELS = (RNG.random((120, 5)) < 0.25).astype(int)
SEEN, EVERY = RNG.normal(size=(5, 8)), RNG.normal(size=(9, 8))
SEEN_SIGNS = (RNG.random((5, 7)) < 0.4).astype(int)
SEEN_SIGNS[:, 6] = 0
SEEN_SIGNS[0, :6] = 1
ALL_SIGNS = np.vstack([(RNG.random((7, 7)) < 0.5), np.eye(7)[6], np.ones(7)]).astype(int)
RIDGE = cf.Ridge(TRAIN)


@pytest.mark.parametrize("gamma", [0.3, 50.0])
def test_ridge_is_sklearns(gamma):
    expected = naive.ridge(TRAIN, LABELS, TEST, gamma)[1]
    np.testing.assert_allclose(RIDGE.predict(LABELS, TEST, gamma), expected, atol=1e-9)
    np.testing.assert_allclose(
        RIDGE.z_scores(LABELS, TEST, gamma), naive.z_scores(TRAIN, LABELS, TEST, gamma), atol=1e-9
    )


def test_ridge_with_more_features_than_films_and_a_constant_one():
    wide = np.hstack([TRAIN[:10], np.full((10, 1), 7.3)])
    other = np.hstack([TEST, np.full((40, 1), 9.0)])
    mine = cf.Ridge(wide).predict(LABELS[:10], other, 2.0)
    np.testing.assert_allclose(mine, naive.ridge(TRAIN[:10], LABELS[:10], TEST, 2.0)[1], atol=1e-9)


@pytest.mark.parametrize(("gamma", "lam"), [(0.5, 20.0), (200.0, 0.1)])
def test_eszsl_is_the_normal_equations(gamma, lam):
    mine = cf.eszsl(RIDGE, LABELS, TEST, SEEN, EVERY, gamma, lam)
    np.testing.assert_allclose(mine, naive.eszsl(TRAIN, LABELS, TEST, SEEN, EVERY, gamma, lam), atol=1e-9)


def test_dap_is_the_loops():
    scores, skipped = cf.dap(RIDGE, LABELS, TEST, SEEN_SIGNS, ALL_SIGNS, 5.0)
    expected, left_out = naive.dap(TRAIN, LABELS, TEST, SEEN_SIGNS, ALL_SIGNS, 5.0)
    np.testing.assert_allclose(scores, expected, atol=1e-9)
    assert skipped.tolist() == left_out and skipped[8] == 1
    assert np.isnan(scores[:, 7]).all() and np.isfinite(scores[:, 8]).all()


def test_cosine_is_the_loops():
    mine = cf.cosine(RIDGE, LABELS, TEST, SEEN, EVERY, 3.0)
    np.testing.assert_allclose(mine, naive.cosine(TRAIN, LABELS, TEST, SEEN, EVERY, 3.0), atol=1e-9)


def test_nearest_takes_the_column_of_the_most_similar_seen_finding():
    every = np.vstack([9 * SEEN[3] + 0.01, 0.1 * SEEN[1]])
    every[0] += 0.1 * SEEN[0]
    expected = naive.ridge(TRAIN, LABELS, TEST, 3.0)[1][:, [3, 1]]
    np.testing.assert_allclose(cf.nearest(RIDGE, LABELS, TEST, SEEN * [[50], [1], [1], [1], [1]], every, 3.0), expected)


def test_illness_alone():
    mean = naive.z_scores(TRAIN, LABELS, TEST, 3.0).mean(1)
    ill = naive.ridge(TRAIN, LABELS.any(1, keepdims=True), TEST, 3.0)[1][:, 0]
    for mine, expected in (
        (cf.mean_of_seen(RIDGE, LABELS, TEST, 4, 3.0), mean),
        (cf.normality(RIDGE, LABELS, TEST, 4, 3.0), ill),
    ):
        np.testing.assert_allclose(mine, np.repeat(expected[:, None], 4, 1), atol=1e-9)
    with pytest.raises(ValueError, match="with and without a finding"):
        cf.normality(RIDGE, np.ones_like(LABELS), TEST, 4, 3.0)


def test_test_films_do_not_scale_one_another():
    one_by_one = np.vstack([cf.eszsl(RIDGE, LABELS, row[None], SEEN, EVERY, 1.0, 1.0) for row in TEST])
    np.testing.assert_allclose(one_by_one, cf.eszsl(RIDGE, LABELS, TEST, SEEN, EVERY, 1.0, 1.0), atol=1e-12)


def test_same_size_is_seeded_and_without_repeats():
    rows = cf.same_size(100, 30, 1)
    assert len(set(rows)) == 30 and (np.diff(rows) > 0).all() and rows.max() < 100
    assert rows.tolist() == cf.same_size(100, 30, 1).tolist() != cf.same_size(100, 30, 2).tolist()
    with pytest.raises(ValueError, match="between 1 and 100"):
        cf.same_size(100, 101, 0)


def planted(seed=1):
    """Films whose features are the signs of their findings, mixed, with noise."""
    rng = np.random.default_rng(seed)
    signs = (rng.random((24, 10)) < 0.4).astype(float)
    signs[:, 0] = 1 - signs[:, 1]
    labels = (rng.random((1500, 24)) < 0.06).astype(int)
    mix = rng.normal(size=(10, 40))
    features = (labels @ (signs - signs.mean(0))) @ mix + 0.3 * rng.normal(size=(1500, 40))
    return features, labels, signs


def unseen_auroc(scores, labels):
    return np.mean([roc_auc_score(labels[:, c], scores[:, c]) for c in range(labels.shape[1])])


def test_true_signs_find_unseen_findings_and_permuted_ones_do_not():
    features, labels, signs = planted()
    seen, unseen = np.arange(18), np.arange(18, 24)
    train = np.flatnonzero(~labels[:, unseen].any(1))[:700]
    test = np.setdiff1d(np.arange(1500), train)
    ridge = cf.Ridge(features[train])
    vectors = signs - signs.mean(0)

    def u(told):
        scores = cf.eszsl(ridge, labels[train][:, seen], features[test], told[seen], told[unseen], 10.0, 0.1)
        return unseen_auroc(scores, labels[test][:, unseen])

    rng = np.random.default_rng(5)
    wrong = np.mean([u(vectors[rng.permutation(24)]) for _ in range(200)])
    top = cf.ceiling(ridge, labels[train], features[test], 10.0)
    assert u(vectors) > 0.85 and abs(wrong - 0.5) < 0.05, (u(vectors), wrong)
    assert top.shape == (len(test), 24)
    scores, _ = cf.dap(ridge, labels[train][:, seen], features[test], signs[seen], signs[unseen], 10.0)
    assert unseen_auroc(scores, labels[test][:, unseen]) > 0.6


def test_a_permutation_costs_far_less_than_a_millisecond_or_so():
    base = RIDGE.transform(TEST) @ RIDGE.solve(2 * LABELS - 1, 1.0)
    start = time.perf_counter()
    for _ in range(200):
        base @ cf.eszsl_mix(SEEN, EVERY, 1.0)
    assert (time.perf_counter() - start) / 200 < 0.02
    np.testing.assert_allclose(
        base @ cf.eszsl_mix(SEEN, EVERY, 1.0), cf.eszsl(RIDGE, LABELS, TEST, SEEN, EVERY, 1.0, 1.0), atol=1e-12
    )


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: cf.Ridge(TRAIN[0]), "features must be a finite matrix"),
        (lambda: RIDGE.transform(TEST[:, :3]), "3 columns"),
        (lambda: RIDGE.solve(LABELS[:5], 1.0), "5 rows of targets for 120"),
        (lambda: RIDGE.solve(LABELS, 0.0), "gamma must be a positive"),
        (lambda: cf.eszsl_mix(SEEN, EVERY, -1), "lam must be a positive"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()
