"""The AUROC within strata against a loop over pairs."""

import numpy as np
import pytest
from evaluation import reference_anatomy as loops
from sklearn.metrics import roc_auc_score

from cmdml.evaluation import strata as module
from cmdml.evaluation.bootstrap import patient_multiplicities, weighted_auroc_ap
from cmdml.evaluation.metrics import evaluate
from cmdml.evaluation.strata import PROTOCOLS3, protocol_rows, stratified_auroc, stratum_numbers
from cmdml.findings import KEYS, split_findings


def films(seed=0, n=70, levels=3, groups=4, share=0.3):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < share
    strata = rng.integers(0, groups, n)
    scores = np.round(levels * (rng.normal(size=(n, 2)) + positive[:, None])) + 5 * strata[:, None]
    drawn, unit = patient_multiplicities(rng.integers(0, n // 2, n), 7, rng)
    return positive, scores, strata * 3 - 2, drawn, unit


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [0.5, 2, 1000])
@pytest.mark.parametrize("weight", [np.int32, np.float64])
def test_equals_a_loop_over_the_pairs_of_a_stratum(seed, levels, weight):
    positive, scores, strata, drawn, unit = films(seed, levels=levels, share=(0.05, 0.3)[seed % 2])
    drawn = drawn.astype(weight) if weight is np.int32 else drawn * 0.37 + np.arange(drawn.shape[1]) / 9
    got, pairs, positives = stratified_auroc(positive, scores, strata, drawn, unit)
    want = [[loops.stratified_auroc(positive, s, strata, w[unit]) for s in scores.T] for w in drawn]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)
    groups = [positive[strata == g] for g in set(strata)]
    assert pairs == sum(int(g.sum() * (~g).sum()) for g in groups)
    assert positives == sum(int(g.sum()) for g in groups if not g.all())


def test_one_stratum_is_the_plain_auroc_and_chunks_change_nothing(monkeypatch):
    positive, scores, _, drawn, unit = films(1, n=300)
    one = np.zeros(300, int)
    got, pairs, positives = stratified_auroc(positive, scores, one, drawn, unit)
    want, _ = weighted_auroc_ap(np.column_stack([positive, positive]), scores, drawn, unit)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)
    assert (pairs, positives) == (positive.sum() * (~positive).sum(), positive.sum())
    monkeypatch.setattr(module, "_CHUNK", 3)
    np.testing.assert_array_equal(got, stratified_auroc(positive, scores, one, drawn, unit)[0])


def test_a_shift_between_folds_counts_only_when_folds_are_not_strata():
    rng = np.random.default_rng(0)
    fold = np.arange(400) % 2
    positive = rng.random(400) < np.where(fold, 0.6, 0.1)
    scores = (rng.normal(size=400) + 10 * fold)[:, None]
    ones, unit = np.ones((1, 400), int), np.arange(400)
    assert roc_auc_score(positive, scores[:, 0]) > 0.7  # the shift alone
    assert abs(stratified_auroc(positive, scores, fold, ones, unit)[0][0, 0] - 0.5) < 0.08


def test_no_pair_is_nan_and_counted():
    scores, ones = np.arange(4.0)[:, None], np.ones((1, 4), int)
    for strata, pairs in (([0, 0, 1, 1], 0), ([0, 1, 1, 2], 1)):
        got, counted, positives = stratified_auroc([True, True, False, False], scores, strata, ones, np.arange(4))
        assert (counted, positives) == (pairs, pairs)  # the other positive has no rival in its stratum
        assert np.isnan(got[0, 0]) == (pairs == 0)
    weights = np.array([[0, 1, 1, 1], [1, 0, 1, 1]])  # the one positive that has a rival is not drawn
    got = stratified_auroc([True, True, False, False], scores, [0, 1, 1, 2], weights, np.arange(4))[0]
    np.testing.assert_array_equal(got[:, 0], [0.0, np.nan])


def test_bad_input_is_refused_by_name():
    positive, scores, strata, drawn, unit = films()
    with pytest.raises(ValueError, match="must agree"):
        stratified_auroc(positive, scores, strata[1:], drawn, unit)
    with pytest.raises(ValueError, match="cover"):
        stratified_auroc(positive, scores, strata, drawn[:, :3], unit)
    scores[4, 1] = np.nan
    with pytest.raises(ValueError, match="film row 4, method 1"):
        stratified_auroc(positive, scores, strata, drawn, unit)


def test_protocols_keep_their_films_and_the_default_ones_are_two():
    labels = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]], np.uint8)
    kept = {p: np.flatnonzero(protocol_rows(labels, p)).tolist() for p in PROTOCOLS3}
    assert kept == {"abnormal": [1, 2, 3], "single": [1, 3], "all": [0, 1, 2, 3]}
    with pytest.raises(ValueError, match="did you mean 'single'"):
        protocol_rows(labels, "singel")
    rng = np.random.default_rng(0)
    result = evaluate(rng.random((40, 14)) < 0.2, rng.random((40, 14)), np.arange(40), split_findings(KEYS),
                      replicates=0)  # fmt: skip
    assert result.summary["protocol"].unique().tolist() == ["abnormal", "all"]


def test_stratum_numbers_separate_every_combination():
    fold, view, source = [0, 0, 1, 1, 0], ["PA", "AP", "PA", None, "PA"], ["a", "a", "b", "b", "c"]
    np.testing.assert_array_equal(stratum_numbers(fold, view)[[0, 4]], stratum_numbers(fold, view)[0])
    assert len(set(stratum_numbers(fold, view))) == 4
    assert len(set(stratum_numbers(fold, view, source))) == 5


@pytest.mark.parametrize("weight", [np.int32, np.float64])
def test_no_weighting_and_no_film_give_tables_without_numbers(weight):
    positive, scores, strata, drawn, unit = films()
    got, pairs, positives = stratified_auroc(positive, scores, strata, drawn[:0].astype(weight), unit)
    assert got.shape == (0, 2)
    assert (pairs, positives) == stratified_auroc(positive, scores, strata, drawn, unit)[1:]
    nothing = np.zeros(0, int)
    got, pairs, positives = stratified_auroc(nothing, np.zeros((0, 2)), nothing, drawn.astype(weight), nothing)
    assert got.shape == (7, 2)
    assert np.isnan(got).all()
    assert (pairs, positives) == (0, 0)
    assert stratum_numbers(nothing, nothing).shape == (0,)


def test_every_combination_of_many_values_has_a_number_of_its_own():
    rng = np.random.default_rng(0)
    columns = [rng.choice([f"place/{k}" for k in range(n)], 300) for n in (2, 5, 3)]
    numbers = stratum_numbers(*columns)
    assert len({*zip(*columns)}) == len({*zip(numbers, *columns)}) == len(set(numbers)) == 30


def test_many_whole_pairs_are_counted_exactly():
    rng = np.random.default_rng(0)
    n = 30_000
    positive, scores = rng.random(n) < 0.5, rng.normal(size=(n, 1))
    drawn, unit = patient_multiplicities(np.arange(n), 1, rng)
    got = stratified_auroc(positive, scores, np.zeros(n, int), drawn, unit)[0]
    assert got.item() == pytest.approx(roc_auc_score(positive, scores[:, 0], sample_weight=drawn[0][unit]), abs=1e-13)


def test_weights_for_one_patient_too_few_are_refused():
    positive, scores, strata, drawn, unit = films()
    with pytest.raises(ValueError, match="cover every film's patient"):
        stratified_auroc(positive, scores, strata, drawn[:, : unit.max()], unit)
