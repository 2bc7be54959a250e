"""AUROC within strata: only films that share a stratum are compared.

In a rotation a stratum always includes the fold, because scores of two folds come from two models. Further strata hold
the view, the source or both, so that what a film's origin tells of its findings cannot help.
"""

from __future__ import annotations

import numpy as np

STRATA = {"none": (), "view": ("view",), "source": ("source_repo",), "source_view": ("source_repo", "view")}


def strata_of(table, fold, stratum: str) -> np.ndarray:
    """(N,) int stratum of each film: its fold, and what ``stratum`` adds (columns of the table)."""
    keys = table[list(STRATA[stratum])].assign(fold=np.asarray(fold))
    return keys.groupby(list(keys.columns), dropna=False, sort=True).ngroup().to_numpy()


def stratified_auroc(positive, scores, strata, weights, unit) -> tuple[np.ndarray, int, int]:
    """AUROC over the pairs of a positive and a negative film that share a stratum, pooled by their weight.

    ``sum_{i pos, j neg, same stratum} w_i w_j (1[s_i > s_j] + ½ 1[s_i = s_j]) / sum_{same pairs} w_i w_j``

    Parameters
    ----------
    positive : (N,) bool.
    scores : (N, M) of M methods, higher = more likely.
    strata : (N,) int.
    weights : (R, P) of patients; row 0 is usually all ones.
    unit : (N,) int, column of ``weights`` for each film.

    Returns
    -------
    auroc : (R, M); NaN where no weighted pair is left, or where a method has no score (NaN) for one of the films.
    positives : how many positive films have a negative one to be compared with.
    pairs : how many pairs were compared.
    """
    positive, scores = np.asarray(positive, bool), np.asarray(scores, dtype=np.float64)
    strata, unit, weights = np.asarray(strata), np.asarray(unit), np.asarray(weights, dtype=np.float32)
    if scores.ndim != 2 or not len(positive) == len(scores) == len(strata) == len(unit):
        shapes = f"positive {positive.shape}, scores {scores.shape}, strata {strata.shape} and unit {unit.shape}"
        raise ValueError(f"{shapes} must have one row for each film")
    order = np.argsort(strata, kind="stable")
    blocks = np.split(order, np.flatnonzero(np.diff(strata[order])) + 1) if len(order) else []
    won, total = np.zeros((len(weights), scores.shape[1])), np.zeros(len(weights))
    positives = pairs = 0
    for rows in blocks:
        pos, neg = rows[positive[rows]], rows[~positive[rows]]
        if not len(pos) or not len(neg):
            continue
        w_pos, w_neg = weights[:, unit[pos]], weights[:, unit[neg]]  # (R, p), (R, n)
        total += w_pos.sum(1, dtype=np.float64) * w_neg.sum(1, dtype=np.float64)
        a, b = scores[pos].T[:, :, None], scores[neg].T[:, None, :]  # (M, p, 1), (M, 1, n)
        above = ((a > b) + np.float32(0.5) * (a == b)).astype(np.float32)  # (M, p, n)
        beaten = np.tensordot(above, w_neg, axes=(2, 1))  # (M, p, R)
        won += np.einsum("mpr,rp->rm", beaten, w_pos, optimize=True)
        positives, pairs = positives + len(pos), pairs + len(pos) * len(neg)
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = np.where(total[:, None] > 0, won / total[:, None], np.nan)
    auroc[:, np.isnan(scores).any(0)] = np.nan
    return auroc, positives, pairs
