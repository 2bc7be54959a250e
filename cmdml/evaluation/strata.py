"""Protocols and strata: which films are compared with which, and the AUROC that counts only those pairs."""

import numpy as np
from scipy import sparse

from cmdml.names import check

PROTOCOLS3 = ("abnormal", "single", "all")
STRATA = ("none", "view", "source", "source_view")

_CHUNK = 256  # replicates at once: 900 patients in float32 are then 0.9 MB, which stays in a core's own cache


def protocol_rows(labels, protocol):
    """(N,) bool, the films a protocol keeps: ``abnormal`` at least one finding, ``single`` exactly one, ``all``."""
    check(protocol, PROTOCOLS3, "protocol")
    count = np.asarray(labels).astype(bool).sum(axis=1)
    return {"abnormal": count > 0, "single": count == 1, "all": count >= 0}[protocol]


def stratum_numbers(*columns) -> np.ndarray:
    """(N,) int, one number for each combination of values of the columns (N,): fold, source, view.

    A missing value is a value of its own: films of unknown view are compared with each other only.
    """
    numbers = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        _, code = np.unique(np.asarray(column, dtype=object).astype(str), return_inverse=True)
        _, numbers = np.unique(numbers * (code.max(initial=0) + 1) + code, return_inverse=True)
    return numbers


def stratified_auroc(positive, scores, strata, weights, unit):
    """AUROC over the pairs (positive film, negative film) of the same stratum, under many weightings of the patients.

    ``sum_{i pos, j neg, g_i = g_j} w_i w_j (1[s_i > s_j] + 1[s_i = s_j] / 2) / sum_{i pos, j neg, g_i = g_j} w_i w_j``

    which is the mean of the strata's AUROCs, each weighted by its number of pairs. With one stratum it is the plain
    AUROC. With the fold in the stratum, scores of different folds' models are never compared.

    Parameters
    ----------
    positive : (N,) bool.
    scores : (N, M) finite scores of M methods, higher = more likely.
    strata : (N,) int.
    weights : (R, P) how often each patient counts; non-negative.
    unit : (N,) int, column of ``weights`` of each film.

    Returns
    -------
    auroc : (R, M) float64; NaN where the weights leave no pair.
    pairs, positives : int, the pairs and the positive films that took part, every patient counted once.

    Raises
    ------
    ValueError : shapes that do not fit, scores that are not finite.
    """
    positive, scores, strata, weights, unit = _checked(positive, scores, strata, weights, unit)
    films = np.zeros((strata.max(initial=-1) + 1, 2), dtype=np.int64)
    np.add.at(films, (strata, positive.astype(int)), 1)
    both = films.min(axis=1) > 0  # strata that hold a pair; the others cannot matter
    pairs, positives = int(films[both].prod(axis=1).sum()), int(films[both, 1].sum())
    auroc = np.full((len(weights), scores.shape[1]), np.nan)
    if not pairs:
        return auroc, 0, 0
    rows = both[strata]
    positive, scores, unit = positive[rows], scores[rows], unit[rows]
    strata = np.unique(strata[rows], return_inverse=True)[1]
    dtype, units, count = _exact_type(positive, weights, unit), weights.shape[1], int(both.sum())
    totals = [_summing(strata[p], unit[p], count, units, dtype) for p in (positive, ~positive)]
    orders = [_sums(positive, column, strata, unit, units, dtype) for column in scores.T]
    for start in range(0, len(weights), _CHUNK):
        part = slice(start, start + _CHUNK)
        columns = np.ascontiguousarray(weights[part].T, dtype=dtype)  # (P, r)
        w_pos, w_neg = (total @ columns for total in totals)  # (strata, r)
        possible = np.einsum("sr,sr->r", w_pos, w_neg)
        for m, (at, above, last) in enumerate(orders):
            higher = np.cumsum(above @ columns, axis=0, dtype=dtype)  # (G, r): over earlier strata too, undone below
            wrong = np.einsum("gr,gr->r", at @ columns, higher) - np.einsum("sr,sr->r", w_pos[1:], higher[last[:-1]])
            with np.errstate(invalid="ignore", divide="ignore"):
                auroc[part, m] = np.where(possible > 0, 1 - wrong.astype(float) / possible, np.nan)
    return auroc, pairs, positives


def _sums(positive, score, strata, unit, units, dtype):
    """The order of one method as sparse sums over patients, by the G thresholds (stratum, score) with a positive.

    Returns
    -------
    at : (G, P), the positives at each threshold.
    above : (G, P), the negatives that its cumulative sum has above each threshold, tied ones half, plus those of
        earlier strata that lie above their own stratum's last threshold.
    last : (strata,) each stratum's last threshold.
    """
    order = np.lexsort((-score, strata))
    positive, score, strata, unit = positive[order], score[order], strata[order], unit[order]
    new = np.ones(len(score), dtype=bool)
    new[1:] = (score[1:] != score[:-1]) | (strata[1:] != strata[:-1])
    threshold = np.cumsum(new) - 1
    holds, of_pos = np.unique(threshold[positive], return_inverse=True)
    last = np.searchsorted(strata[new][holds], np.arange(strata[-1] + 1), side="right") - 1
    group = np.searchsorted(holds, threshold[~positive])  # first threshold with a positive at or below the negative
    unit_neg, own = unit[~positive], last[strata[~positive]]
    tied = holds[np.minimum(group, len(holds) - 1)] == threshold[~positive]
    inside, after = group <= own, tied & (group < own)  # a tied negative counts half here, the other half one further
    share = np.concatenate([np.where(tied, 0.5, 1.0)[inside], np.full(after.sum(), 0.5)])
    places = np.concatenate([group[inside], group[after] + 1])
    above = _summing(places, np.concatenate([unit_neg[inside], unit_neg[after]]), len(holds), units, dtype, share)
    return _summing(of_pos, unit[positive], len(holds), units, dtype), above, last


def _summing(rows, columns, height, width, dtype, share=None):
    share = np.ones(len(rows)) if share is None else share
    return sparse.csr_array((share.astype(dtype), (rows, columns)), shape=(height, width))


def _exact_type(positive, weights, unit):
    """float32 where every sum is a whole or half number that it holds exactly (below 2**23), else float64."""
    if not np.issubdtype(weights.dtype, np.integer):
        return np.float64
    n_pos, n_neg = (np.bincount(unit[p], minlength=weights.shape[1]) for p in (positive, ~positive))
    most = (weights @ n_pos).max(initial=0).astype(float) * (weights @ n_neg).max(initial=0)
    return np.float32 if most < 2**23 else np.float64


def _checked(positive, scores, strata, weights, unit):
    positive, strata, unit = np.asarray(positive).astype(bool), np.asarray(strata), np.asarray(unit)
    scores, weights = np.asarray(scores, dtype=np.float64), np.asarray(weights)
    n = len(positive)
    if scores.ndim != 2 or not len(scores) == len(strata) == len(unit) == n:
        raise ValueError(f"{n} labels, scores {scores.shape}, {len(strata)} strata and {len(unit)} units must agree")
    if weights.ndim != 2 or (n and unit.max() >= weights.shape[1]):
        raise ValueError(f"weights {weights.shape} must be (replicates, patients) and cover every film's patient")
    if not np.isfinite(scores).all():
        row, column = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(f"score of film row {row}, method {column}, is {scores[row, column]}, not a finite number")
    return positive, scores, np.unique(strata, return_inverse=True)[1], weights, unit
