"""The fast weighted metrics against naive loops, scikit-learn and real resampling."""

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from cmdml.evaluation import bootstrap
from cmdml.evaluation.bootstrap import patient_multiplicities, percentile_interval, weighted_auroc_ap

EXACT = 1e-12


def cohort(seed=0, images=120, findings=3, levels=None):
    """Labels, scores (rounded to ``levels`` distinct values: ties) and patients with one to several images."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((images, findings)) < [0.3, 0.1, 0.5][:findings]).astype(np.uint8)
    scores = rng.normal(size=labels.shape) + labels
    if levels:
        scores = np.round(scores * levels / 4)
    return labels, scores, rng.integers(0, images // 3, images).astype(str)


@pytest.mark.parametrize("levels", [None, 12, 2])
def test_equals_naive_loops_on_resampled_images(levels):
    labels, scores, patients = cohort(images=60, levels=levels)
    drawn, unit = patient_multiplicities(patients, 6, np.random.default_rng(3))
    auroc, ap = weighted_auroc_ap(labels, scores, drawn, unit)
    loop = (labels.tolist(), scores.tolist(), patients.tolist(), np.unique(patients).tolist(), drawn.tolist())
    np.testing.assert_allclose(auroc, reference.bootstrap(*loop, reference.auroc), rtol=0, atol=EXACT)
    np.testing.assert_allclose(ap, reference.bootstrap(*loop, reference.average_precision), rtol=0, atol=EXACT)


@pytest.mark.parametrize("levels", [None, 12, 2])
def test_equals_scikit_learn_loop(levels):
    labels, scores, patients = cohort(1, images=900, levels=levels)
    drawn, unit = patient_multiplicities(patients, 20, np.random.default_rng(4))
    auroc, ap = weighted_auroc_ap(labels, scores, drawn, unit)
    for r in range(len(drawn)):
        rows = np.repeat(np.arange(len(labels)), drawn[r, unit])
        for c in range(labels.shape[1]):
            y, s = labels[rows, c], scores[rows, c]
            assert abs(auroc[r, c] - roc_auc_score(y, s)) < EXACT
            assert abs(ap[r, c] - average_precision_score(y, s)) < EXACT


@pytest.mark.parametrize("values", [1, 100, 1000])
def test_chunks_change_nothing(monkeypatch, values):
    labels, scores, patients = cohort(2, levels=20)
    drawn, unit = patient_multiplicities(patients, 50, np.random.default_rng(0))
    whole = weighted_auroc_ap(labels, scores, drawn, unit)
    monkeypatch.setattr(bootstrap, "_CHUNK_VALUES", values)
    np.testing.assert_allclose(whole, weighted_auroc_ap(labels, scores, drawn, unit), rtol=0, atol=1e-14)


column = st.lists(st.tuples(st.booleans(), st.integers(-3, 3), st.integers(0, 4)), min_size=1, max_size=25)


@settings(max_examples=150, deadline=None)
@given(column)
def test_any_small_column_with_any_weights(rows):
    y, s, w = (np.array(values) for values in zip(*rows, strict=True))
    auroc, ap = weighted_auroc_ap(y[:, None], s[:, None], w[None])
    want = reference.auroc(y.tolist(), s.tolist(), w.tolist())
    np.testing.assert_allclose(auroc[0, 0], want, rtol=0, atol=EXACT)
    want = reference.average_precision(y.tolist(), s.tolist(), w.tolist())
    np.testing.assert_allclose(ap[0, 0], want, rtol=0, atol=EXACT)


@settings(max_examples=50, deadline=None)
@given(column)
def test_weights_are_duplicates(rows):
    y, s, w = (np.array(values) for values in zip(*rows, strict=True))
    weighted = weighted_auroc_ap(y[:, None], s[:, None], w[None])
    repeated = np.repeat(np.arange(len(y)), w)
    plain = weighted_auroc_ap(y[repeated, None], s[repeated, None], np.ones((1, len(repeated))))
    np.testing.assert_allclose(weighted, plain, rtol=0, atol=EXACT)


@settings(max_examples=50, deadline=None)
@given(column)
def test_monotone_map_changes_nothing_and_swapping_mirrors(rows):
    y, s, w = (np.array(values) for values in zip(*rows, strict=True))
    y, s, w = y[:, None], s[:, None].astype(float), w[None] + 1
    plain = weighted_auroc_ap(y, s, w)
    np.testing.assert_array_equal(plain, weighted_auroc_ap(y, np.exp(s / 3) - 7, w))
    np.testing.assert_allclose(weighted_auroc_ap(~y, s, w)[0], 1 - plain[0], rtol=0, atol=EXACT)
    np.testing.assert_allclose(weighted_auroc_ap(~y, -s, w)[0], plain[0], rtol=0, atol=EXACT)


def test_undefined_where_the_weights_leave_one_kind_only():
    labels, scores = np.array([[1], [0], [0]]), np.array([[2.0], [1.0], [3.0]])
    auroc, ap = weighted_auroc_ap(labels, scores, [[0, 1, 1], [1, 0, 0], [1, 1, 0]])
    np.testing.assert_array_equal(auroc[:, 0], [np.nan, np.nan, 1.0])
    np.testing.assert_array_equal(ap[:, 0], [np.nan, np.nan, 1.0])


def test_multiplicities_draw_whole_patients():
    patients = np.array(["b", "a", "b", "c"])
    drawn, unit = patient_multiplicities(patients, 4000, np.random.default_rng(0))
    assert drawn.shape == (4000, 3)
    assert (drawn.sum(axis=1) == 3).all()
    assert np.unique(patients)[unit].tolist() == patients.tolist()
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(drawn.var(axis=0), 2 / 3, atol=0.06)  # multinomial: P * 1/P * (1 - 1/P)
    again, _ = patient_multiplicities(patients, 4000, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn, again)


def test_weights_that_do_not_cover_the_units_are_refused():
    with pytest.raises(ValueError, match="cover"):
        weighted_auroc_ap(np.eye(3), np.eye(3), np.ones((2, 2)), [0, 1, 2])
    with pytest.raises(ValueError, match="images, findings"):
        weighted_auroc_ap(np.eye(3), np.eye(2), np.ones((1, 3)))


def test_percentile_interval_counts_what_it_leaves_out():
    values = np.column_stack([np.arange(101.0), np.full(101, np.nan)])
    values[:1, 0] = np.nan
    low, high, undefined = percentile_interval(values)
    assert undefined.tolist() == [1, 101]
    np.testing.assert_allclose([low[0], high[0]], np.quantile(np.arange(1.0, 101.0), [0.025, 0.975]))
    assert np.isnan(low[1])
    assert np.isnan(high[1])
    low, high, undefined = percentile_interval(np.arange(101.0))
    assert (float(low), float(high), int(undefined)) == (pytest.approx(2.5), pytest.approx(97.5), 0)


def test_patients_whose_names_differ_at_the_end_only_are_two():
    drawn, unit = patient_multiplicities(["00000013", "00000014", "00000013"], 50, np.random.default_rng(0))
    assert drawn.shape == (50, 2) and unit.tolist() == [0, 1, 0]


def test_one_patient_is_drawn_once_every_time():
    drawn, unit = patient_multiplicities(["a", "a"], 3, np.random.default_rng(0))
    assert drawn.tolist() == [[1], [1], [1]] and unit.tolist() == [0, 0]


def test_scores_that_differ_in_their_last_digits_are_no_tie():
    scores = 1 + np.array([[3e-12], [2e-12], [1e-12]])
    auroc, ap = weighted_auroc_ap(np.array([[1], [0], [0]]), scores, np.ones((1, 3)))
    assert (auroc.item(), ap.item()) == (1, 1)


def test_one_defined_replicate_is_an_interval_of_its_own():
    low, high, undefined = percentile_interval(np.array([[np.nan], [0.25], [np.nan]]))
    assert (low.tolist(), high.tolist(), undefined.tolist()) == ([0.25], [0.25], [2])
