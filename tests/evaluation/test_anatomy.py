"""The study's numbers against loops, and the rules that keep NaN and noise out of them."""

import numpy as np
import pytest
from evaluation import reference_anatomy as loops
from scipy.stats import spearmanr

from cmdml.evaluation import anatomy

D, C, R = 3, 6, 400


def cells(seed=0, shift=0.0, noise=0.01):
    """Values (D, 2C, 1 + R): each finding unseen twice per design, in another order in each."""
    rng = np.random.default_rng(seed)
    finding = np.stack([rng.permutation(np.repeat(np.arange(C), 2)) for _ in range(D)])
    values = 0.5 + 0.02 * finding[:, :, None] + shift + noise * rng.normal(size=(D, 2 * C, 1 + R))
    return (values + 0.01 * np.arange(D)[:, None, None]).astype(np.float32), finding


def test_unseen_mean_is_the_loop_in_every_draw_and_its_bounds_are_quantiles():
    values, finding = cells()
    got = anatomy.unseen(values, finding)
    loop = [loops.mean_unseen(values[:, :, r].tolist(), finding.tolist()) for r in range(1 + R)]
    want = [loop[0], *np.quantile(loop[1:], [0.025, 0.975])]
    np.testing.assert_allclose([got.value, got.low, got.high], want, atol=1e-9)
    assert got.low < got.high
    assert got.sd_designs == pytest.approx(values[:, :, 0].astype(float).mean(1).std(ddof=1))
    assert np.isnan(anatomy.unseen(values[:1], finding[:1]).sd_designs)


def test_rare_findings_stay_out_of_the_second_mean_only():
    values, finding = cells()
    got = anatomy.unseen(values, finding, rare=(1, 4))
    assert got.left_out == (1, 4)
    assert got.value == pytest.approx(loops.mean_unseen(values[:, :, 0].tolist(), finding.tolist(), (1, 4)), abs=1e-9)
    for c, row in enumerate(anatomy.finding_estimates(values, finding, C)):
        assert row.value == pytest.approx(loops.by_finding(values[:, :, 0].tolist(), finding.tolist(), c), abs=1e-9)


def test_an_undefined_finding_leaves_all_designs_and_is_named():
    values, finding = cells()
    values[1, np.flatnonzero(finding[1] == 5)[0]] = np.nan
    got = anatomy.unseen(values, finding)
    assert got.left_out == (5,)
    assert got.value == pytest.approx(loops.mean_unseen(values[:, :, 0].tolist(), finding.tolist(), (5,)), abs=1e-9)
    assert np.isnan(anatomy.finding_estimates(values, finding, C)[5].value)  # not the mean of the cells that are left
    paired = anatomy.difference(cells(2)[0], values, finding)
    assert paired.left_out == (5,)  # a reference's gap counts too


def test_a_draw_that_loses_a_cell_is_left_out_and_counted():
    values, finding = cells()
    values[0, 0, 1:11] = np.nan
    got = anatomy.unseen(values, finding)
    assert (got.left_out, got.undefined_replicates) == ((), 10)
    same = anatomy.unseen(np.delete(values, np.arange(1, 11), axis=2), finding)
    assert (got.low, got.high) == (same.low, same.high)
    values[:] = np.nan
    assert np.isnan(anatomy.unseen(values, finding).value)


def test_differences_are_paired():
    values, finding = cells(noise=0.2)
    better = values + 0.01 + 0.001 * np.random.default_rng(5).normal(size=values.shape)
    got = anatomy.difference(better, values, finding)
    assert got.value == pytest.approx(0.01, abs=1e-3)
    assert 0.009 < got.low < got.high < 0.011  # each U alone varies by .03
    assert got.p == pytest.approx(2 / (R + 1))
    back = anatomy.difference(values, better, finding)
    np.testing.assert_allclose([back.value, back.low, back.high], [-got.value, -got.high, -got.low], atol=1e-12)
    assert back.p == got.p
    assert anatomy.difference(values, values, finding).p == 1.0
    with pytest.raises(ValueError, match="same cells and draws"):
        anatomy.difference(values, values[:, :, :-1], finding)
    far = values / 7
    exact = [float(v) - float(r) for v, r in zip(values[:, :, 0].ravel(), far[:, :, 0].ravel())]
    assert anatomy.difference(values, far, finding).value == pytest.approx(np.mean(exact), abs=1e-14)


def test_bootstrap_p_counts_the_far_side_twice_and_never_says_zero():
    assert anatomy.bootstrap_p([-1.0] * 3 + [1.0] * 96) == pytest.approx(2 * 4 / 100)
    assert anatomy.bootstrap_p([1.0] * 3 + [-1.0] * 96) == pytest.approx(2 * 4 / 100)
    assert anatomy.bootstrap_p([1.0] * 99 + [np.nan]) == pytest.approx(0.02)
    assert np.isnan(anatomy.bootstrap_p([np.nan]))


@pytest.mark.parametrize("seed", range(5))
def test_holm_equals_the_loop(seed):
    p = np.random.default_rng(seed).random(6) ** 3
    np.testing.assert_allclose(anatomy.holm(p), loops.holm(p.tolist()), atol=1e-15)


def test_holm_by_hand_with_a_comparison_that_has_no_p():
    np.testing.assert_allclose(anatomy.holm([0.04, 0.01, 0.03]), [0.06, 0.03, 0.06])
    np.testing.assert_allclose(anatomy.holm([0.04, np.nan, 0.01]), [0.08, np.nan, 0.03])


def test_over_findings_counts_gains_and_leaves_one_out():
    gains = np.array([0.1, 0.0, -0.1, 0.2, np.nan])
    got = anatomy.over_findings(gains, 20_000)
    assert (got["gaining"], got["findings"], got["undefined"]) == (2, 4, 1)
    assert got["value"] == pytest.approx(0.05)
    assert got["leave_one_low"] == pytest.approx(0.0)
    assert got["leave_one_high"] == pytest.approx(0.1)
    sd = np.std([0.1, 0, -0.1, 0.2]) / 2
    assert got["low"] == pytest.approx(0.05 - 1.96 * sd, abs=0.02)
    assert got["high"] == pytest.approx(0.05 + 1.96 * sd, abs=0.02)
    assert np.isnan(anatomy.over_findings([0.1, np.nan])["low"])
    two = anatomy.over_findings([0.1, 0.3], 100)
    assert (two["value"], two["leave_one_low"], two["leave_one_high"]) == pytest.approx((0.2, 0.1, 0.3))
    assert (two["low"], two["high"]) == pytest.approx((0.1, 0.3))  # each alone is a quarter of the draws


def test_share_of_the_ceiling_is_a_ratio_of_means_in_every_draw():
    illness, finding = cells(1, noise=0.02)
    method, ceiling = cells(2, 0.05, 0.02)[0], cells(3, 0.2, 0.02)[0]
    ceiling[2] += 0.1  # designs differ: the mean of ratios is another number
    got = anatomy.share_of_ceiling(method, illness, ceiling, finding)
    f = finding.tolist()
    u, i, c = (np.array([loops.mean_unseen(v[:, :, r].tolist(), f) for r in range(1 + R)])
               for v in (method, illness, ceiling))  # fmt: skip
    ratio = (u - i) / (c - i)
    want = [ratio[0], *np.quantile(ratio[1:], [0.025, 0.975])]
    np.testing.assert_allclose([got.value, got.low, got.high], want, atol=1e-6)


def test_share_of_the_ceiling_is_blank_where_there_is_no_room():
    illness, finding = cells(1, noise=0.1)
    got = anatomy.share_of_ceiling(illness + 0.02, illness, cells(3, noise=0.1)[0], finding)
    assert np.isnan([got.value, got.low, got.high]).all()


def test_permutation_p_counts_ties_and_the_real_one():
    assert anatomy.permutation_p(0.5, [0.4, 0.5, 0.6, 0.1]) == pytest.approx(3 / 5)
    assert anatomy.permutation_p(0.9, np.zeros(999)) == pytest.approx(0.001)
    assert np.isnan(anatomy.permutation_p(0.9, [0.1, np.nan]))


def test_spearman_is_scipys_with_ties_and_its_interval_holds_the_truth():
    rng = np.random.default_rng(0)
    x = np.round(rng.random(14), 1)
    y = x + 0.3 * rng.normal(size=14)
    y[3] = np.nan
    got = anatomy.spearman(x, y, 2000)
    known = ~np.isnan(y)
    assert got["value"] == pytest.approx(spearmanr(x[known], y[known]).statistic)
    assert got["low"] < got["value"] < got["high"]
    assert (got["findings"], got["undefined"]) == (13, 1)
    constant = anatomy.spearman(np.ones(5), np.arange(5.0), 100)
    assert np.isnan(constant["value"])
    assert constant["undefined_replicates"] == 100


def test_abstention_keeps_the_findings_at_or_above_the_threshold():
    curve = anatomy.abstention_curve([0.2, 0.5, 0.5, 0.9, 0.7], [0.0, 0.1, 0.3, 0.5, np.nan])
    assert [(c["threshold"], c["findings"], round(c["gain"], 6)) for c in curve] == [
        (0.2, 4, 0.225), (0.5, 3, 0.3), (0.9, 1, 0.5)]  # fmt: skip


def test_none_in_a_list_is_unknown():
    coverage, gains = [0.2, None, 0.5, 0.9, 0.7], [0.0, 0.1, 0.3, 0.5, None]
    unknown = [[np.nan if value is None else value for value in values] for values in (coverage, gains)]
    curve = anatomy.abstention_curve(coverage, gains)
    assert [(c["threshold"], c["findings"]) for c in curve] == [(0.2, 3), (0.5, 2), (0.9, 1)]
    assert [c["gain"] for c in curve] == pytest.approx([0.8 / 3, 0.4, 0.5])
    assert anatomy.spearman(coverage, gains, 50) == anatomy.spearman(*unknown, 50)
    assert anatomy.over_findings(gains, 50) == anatomy.over_findings(unknown[1], 50)
    assert np.isnan(anatomy.permutation_p(0.9, [0.1, None]))
    np.testing.assert_allclose(anatomy.holm([0.04, None, 0.01]), [0.08, np.nan, 0.03])


@pytest.mark.filterwarnings("error")
def test_a_single_design_has_no_spread_and_raises_no_warning():
    values, finding = cells()
    one = anatomy.unseen(values[:1], finding[:1])
    assert np.isnan(one.sd_designs) and one.low < one.value < one.high
    illness, ceiling = values - np.float32(0.1), values + np.float32(0.2)
    share = anatomy.share_of_ceiling(values[:1], illness[:1], ceiling[:1], finding[:1])
    assert np.isnan(share.sd_designs) and share.value == pytest.approx(1 / 3, abs=1e-4)
    both = anatomy.share_of_ceiling(values[:2], illness[:2], ceiling[:2], finding[:2])
    assert both.sd_designs == pytest.approx(0, abs=1e-4)


def test_means_of_small_floats_are_taken_in_double_precision():
    by_design = (np.random.default_rng(0).random((3, 1 + R)) / 3).astype(np.float32)
    got = anatomy.estimate(by_design)
    exact = [sum(map(float, column)) / 3 for column in by_design.T]
    assert got.value == pytest.approx(exact[0], abs=1e-15)
    np.testing.assert_allclose([got.low, got.high], np.quantile(exact[1:], [0.025, 0.975]), rtol=0, atol=1e-15)
    assert got.sd_designs == pytest.approx(np.std([float(v) for v in by_design[:, 0]], ddof=1), abs=1e-15)


def test_no_test_is_made_unless_it_is_asked_for():
    by_design = 1 + np.random.default_rng(0).random((2, 1 + R))
    assert np.isnan(anatomy.estimate(by_design).p)
    assert anatomy.estimate(by_design, (3, 1), test=True).p == pytest.approx(2 / (R + 1))
    assert anatomy.estimate(by_design, (3, 1)).left_out == (3, 1)


@pytest.mark.filterwarnings("error")
def test_where_one_design_has_no_cell_left_no_design_has_a_mean():
    values, finding = np.ones((2, 2, 3)), np.array([[0, 1], [1, 1]])
    assert np.isnan(anatomy.mean_unseen(values, finding, (1,))).all()
    np.testing.assert_array_equal(anatomy.mean_unseen(values, finding, (0,)), np.ones((2, 3)))


def test_findings_are_drawn_ten_thousand_times_from_seed_0_unless_told_otherwise():
    gains, coverage = np.random.default_rng(3).normal(size=(2, 9))
    for told in (lambda **given: anatomy.over_findings(gains, **given),
                 lambda **given: anatomy.spearman(coverage, gains, **given)):  # fmt: skip
        plain, other, fewer = told(), told(seed=1), told(replicates=1000)
        assert plain == told(replicates=10_000, seed=0)
        assert plain["low"] != other["low"] and plain["low"] != fewer["low"] and plain["value"] == other["value"]


def test_the_interval_over_findings_is_that_of_the_drawn_ones():
    gains = np.array([0.3, np.nan, -0.1, 0.05, 0.2, 0.0])
    known = gains[~np.isnan(gains)]
    drawn = np.random.default_rng(7).integers(0, 5, (50, 5))
    got = anatomy.over_findings(gains, 50, 7)
    assert (got["low"], got["high"]) == pytest.approx(np.quantile(known[drawn].mean(1), [0.025, 0.975]))
    assert got["gaining"] == 3  # 0 is no gain


def test_the_interval_of_a_rank_correlation_is_that_of_the_drawn_findings():
    coverage, gains = np.array([0.1, 0.1, 0.5, 0.7, 0.9, np.nan]), np.array([0.0, 0.2, 0.1, 0.3, 0.3, 0.4])
    drawn = np.random.default_rng(7).integers(0, 5, (60, 5))
    pairs = [(coverage[:5][rows], gains[:5][rows]) for rows in drawn]
    each = [spearmanr(x, y).statistic for x, y in pairs if len(set(x)) > 1 and len(set(y)) > 1]
    got = anatomy.spearman(coverage, gains, 60, 7)
    assert (got["low"], got["high"]) == pytest.approx(np.quantile(each, [0.025, 0.975]))
    assert (got["findings"], got["undefined"], got["undefined_replicates"]) == (5, 1, 60 - len(each))
    assert np.isnan(anatomy.spearman([0.1, 0.2, np.nan], [0.1, 0.3, 0.2])["value"])  # two points always agree
    assert anatomy.spearman([0.1, 0.2, 0.3], [0.1, 0.3, 0.2], 10)["value"] == pytest.approx(0.5)


def test_the_share_of_the_ceiling_leaves_out_and_counts_like_any_other_number():
    illness, finding = cells(1, noise=0.02)
    method, ceiling = cells(2, 0.05, 0.02)[0], cells(3, 0.2, 0.02)[0]
    plain = anatomy.share_of_ceiling(method, illness, ceiling, finding, rare=(2,))
    assert plain.left_out == (2,) and plain.undefined_replicates == 0
    kept = [np.stack([v[finding[d] != 2] for d, v in enumerate(table)]) for table in (method, illness, ceiling)]
    fewer = np.stack([numbers[numbers != 2] for numbers in finding])
    same = anatomy.share_of_ceiling(*kept, fewer)
    np.testing.assert_allclose([plain.value, plain.low, plain.high], [same.value, same.low, same.high])
    u, i, c = (table[:, :, 0].astype(float).mean(1) for table in kept)
    assert plain.sd_designs == pytest.approx(np.std((u - i) / (c - i), ddof=1))
    ceiling[0, 0, 1:9] = np.nan
    assert anatomy.share_of_ceiling(method, illness, ceiling, finding).undefined_replicates == 8
    ceiling[:, :, 20] = illness[:, :, 20]  # a draw without room has no share
    assert anatomy.share_of_ceiling(method, illness, ceiling, finding).undefined_replicates == 9
    ceiling[1, finding[1] == 4, 0] = np.nan
    assert anatomy.share_of_ceiling(method, illness, ceiling, finding).left_out == (4,)
    below = anatomy.share_of_ceiling(illness - 0.1, illness, illness - 0.2, finding)  # a ceiling below has a share, too
    assert below.value == pytest.approx(0.5, abs=1e-4)
    blank = anatomy.share_of_ceiling(method, illness, illness, finding, rare=(1,))
    assert np.isnan(blank.value) and blank.left_out == (1,)
