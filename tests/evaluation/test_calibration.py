"""What calibration promises beyond the loops of test_metrics: ties, ends, the interval and the bins."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from cmdml.evaluation.calibration import calibrated_stacking, reliability
from cmdml.evaluation.metrics import harmonic_mean
from cmdml.findings import KEYS, split_findings

FINDINGS = split_findings(KEYS)
SEEN, UNSEEN = FINDINGS.seen_index, FINDINGS.unseen_index


def films(*shown):
    """(labels, scores) of films that each show some findings; every score is 0, the shown ones as given."""
    labels, scores = np.zeros((len(shown), len(KEYS)), int), np.zeros((len(shown), len(KEYS)))
    for row, findings in enumerate(shown):
        for finding, score in findings.items():
            labels[row, finding], scores[row, finding] = 1, score
    return labels, scores


def test_at_a_tie_the_seen_finding_wins():
    labels, scores = films({SEEN[0]: 2.0}, {UNSEEN[0]: 3.0})
    curve = calibrated_stacking(labels, scores, FINDINGS)
    assert curve.offset.tolist() == [-3.0, 2.0, np.inf]
    assert curve.at(2.0) == (1.0, 1.0, 1.0)  # 2 - 2 against 0: a tie
    assert curve.at(np.nextafter(2.0, 3)) == (0.0, 1.0, 0.0)
    assert curve.at(-3.0) == (1.0, 0.0, 0.0)  # 0 + 3 against 3: a tie again
    assert curve.at(np.nextafter(-3.0, 0)) == (1.0, 1.0, 1.0) and curve.at() == (1.0, 1.0, 1.0)
    assert curve.seen.tolist() == [1, 1, 0] and curve.unseen.tolist() == [0, 1, 1] and curve.ausuc == 1
    assert (curve.k, curve.images_seen, curve.images_unseen) == (1, 1, 1)


def test_the_best_positive_of_an_image_counts_and_others_of_its_kind_take_places():
    labels, scores = films({SEEN[0]: 1.0, SEEN[1]: 5.0}, {SEEN[0]: 2.0}, {UNSEEN[0]: 4.0}, {UNSEEN[1]: 1.0})
    scores[1, SEEN[2]] = 3.0  # a wrong seen finding before the right one
    curve = calibrated_stacking(labels, scores, FINDINGS)
    assert curve.at(4.9)[0] == 0.5 and curve.at(-99)[0] == 0.5  # the second film is never right with k = 1
    two = calibrated_stacking(labels, scores, FINDINGS, k=2)
    assert two.at(-99)[0] == 1.0 and two.at(2.0)[0] == 1.0 and two.at(2.1)[0] == 0.5  # at 2 it meets an unseen one
    assert (two.images_seen, two.images_unseen, two.k) == (2, 2, 2)
    seen, unseen, both = curve.at(0.0)
    assert both == pytest.approx(harmonic_mean(seen, unseen)) and (seen, unseen) == (0.5, 1.0)


def test_the_area_is_that_of_the_polygon():
    labels, scores = films(*({SEEN[0]: float(i)} for i in range(1, 5)), *({UNSEEN[0]: 6.0 - i} for i in range(1, 4)))
    scores[4:, SEEN[0]] = [5.5, 6.0, 0.0]
    curve = calibrated_stacking(labels, scores, FINDINGS)
    points = sorted(zip(curve.seen, curve.unseen), key=lambda point: (point[0], -point[1]))
    assert curve.ausuc == pytest.approx(np.trapezoid([u for _, u in points], [s for s, _ in points]))
    assert 0 < curve.ausuc < 1 and (curve.seen[-1], curve.unseen[0]) == (0, 0)
    assert (np.diff(curve.offset) > 0).all() and curve.offset[-1] == np.inf


@pytest.mark.parametrize("k", [0, 5])
def test_what_does_not_fit_is_refused(k):
    labels, scores = films({SEEN[0]: 2.0}, {UNSEEN[0]: 3.0})
    with pytest.raises(ValueError, match=rf"k = {k} must lie between 1 and min\(10 seen, 4 unseen\)"):
        calibrated_stacking(labels, scores, FINDINGS, k=k)
    calibrated_stacking(labels, scores, FINDINGS, k=4)
    for odd in (scores[:1], scores[:, :5], scores[0]):
        with pytest.raises(ValueError, match="must be "):
            calibrated_stacking(labels, odd, FINDINGS)
    with pytest.raises(ValueError, match=r"must be \(images, 14\)"):
        calibrated_stacking(labels[:, :5], scores[:, :5], FINDINGS)
    with pytest.raises(ValueError, match="positive seen finding"):
        calibrated_stacking(labels[1:], scores[1:], FINDINGS)
    with pytest.raises(ValueError, match="image row 1 are not all finite"):
        calibrated_stacking(labels, scores + [[0.0], [np.inf]], FINDINGS)


def test_the_interval_is_wilson_s():
    rng = np.random.default_rng(3)
    p = rng.random(240)
    y = rng.random(240) < p
    table = reliability(y, p, bins=6)
    assert len(table) == 6 and table.predictions.tolist() == [40] * 6 and list(table.index) == list(range(6))
    order = np.argsort(p).reshape(6, 40)
    np.testing.assert_allclose(table.predicted, p[order].mean(1))
    np.testing.assert_allclose(table.observed, y[order].mean(1))
    for row, rows in zip(table.itertuples(), order):
        wilson = binomtest(int(y[rows].sum()), 40).proportion_ci(0.95, "wilson")
        assert (row.low, row.high) == pytest.approx((wilson.low, wilson.high), abs=1e-12)


def test_bins_hold_equal_counts_from_low_to_high():
    p = np.array([0.0, 0.1, 0.2, 0.3, 0.9, 1.0])
    table = reliability(np.array([0, 0, 1, 0, 1, 1]), p, bins=3)
    expected = {"predictions": [2, 2, 2], "predicted": [0.05, 0.25, 0.95], "observed": [0.0, 0.5, 1.0]}
    pd.testing.assert_frame_equal(table[list(expected)], pd.DataFrame(expected), check_index_type=False)
    assert reliability(np.eye(3), np.full((3, 3), 0.2)).predictions.tolist() == [9]  # any shape
    assert len(reliability(np.arange(50) % 2, np.linspace(0, 1, 50))) == 10
    for labels, given in (([0, 1], [0.5]), ([], [])):
        with pytest.raises(ValueError, match="same, non-zero, size"):
            reliability(labels, given)
    for odd in (1.01, float("nan"), -0.01):
        with pytest.raises(ValueError, match="lie in"):
            reliability([0, 1], [0.2, odd])


@pytest.mark.parametrize(("own", "right"), [(0, 1.0), (1, 0.0)])
def test_of_two_equal_scores_of_a_kind_the_first_finding_is_named(own, right):
    labels, scores = films({SEEN[own]: 2.0}, {UNSEEN[own]: 2.0})
    scores[0, SEEN[:2]] = scores[1, UNSEEN[:2]] = 2.0
    assert calibrated_stacking(labels, scores, FINDINGS).at(0)[:2] == (right, right)


def test_predictions_at_an_edge_belong_to_the_bin_below():
    p = np.array([0.1, 0.4, 0.4, 0.4, 0.9])
    table = reliability(np.array([0, 1, 0, 1, 1]), p, bins=2)
    assert table.predictions.tolist() == [4, 1] and table.observed.tolist() == [0.5, 1.0]
