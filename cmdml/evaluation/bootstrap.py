"""Patient bootstrap of AUROC and average precision: sort each finding once, weigh it many times.

A bootstrap replicate draws patients with replacement, so it is nothing but a vector of how often each patient was
drawn. Both metrics depend on the images only through their order and their weights. We therefore sort once per finding
and sum the weights between consecutive positives for all replicates at once, as one sparse matrix times one dense one.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

# Rows times replicates held at once: 2**20 float64 values are 8 MB, which stays near the last-level cache.
_CHUNK_VALUES = 1 << 20


def patient_multiplicities(patients, replicates: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """How often each patient is drawn in each bootstrap replicate.

    Patients, not images, are the independent units: a patient's films resemble one another, and resampling
    images would make the intervals too narrow (Field and Welsh 2007, the cluster bootstrap).

    Parameters
    ----------
    patients : (N,) patient id of each image.
    replicates : R, number of replicates.
    rng : np.random.Generator.

    Returns
    -------
    multiplicities : (R, P) int32; each row sums to P, the number of patients.
    unit : (N,) int; column of ``multiplicities`` that belongs to each image.
    """
    names, unit = np.unique(np.asarray(patients), return_inverse=True)
    count = len(names)
    if count == 0:
        return np.zeros((replicates, 0), np.int32), unit
    drawn = rng.multinomial(count, np.full(count, 1.0 / count), size=replicates)
    return drawn.astype(np.int32), unit


def weighted_auroc_ap(labels, scores, weights, unit=None) -> tuple[np.ndarray, np.ndarray]:
    """Exact AUROC and average precision of every finding under many weightings of the images.

    With weights w, and images i in the order of falling score,

    * ``AUROC = sum_{i pos, j neg} w_i w_j (1[s_i > s_j] + 1[s_i = s_j] / 2) / (W_pos W_neg)``
    * ``AP = sum_t (TP_t - TP_{t-1}) / W_pos * TP_t / (TP_t + FP_t)`` over the distinct scores t.

    Tied scores form one threshold. Both equal scikit-learn's ``roc_auc_score`` and ``average_precision_score`` with
    ``sample_weight=w``, and, for whole-number weights, the same functions on the images repeated w times.

    Parameters
    ----------
    labels : (N, C) 0/1.
    scores : (N, C) finite, higher = more likely.
    weights : (R, U) non-negative weights of the units (patients), or of the images when ``unit`` is None.
    unit : (N,) int, the unit of each image; None: every image is its own.

    Returns
    -------
    auroc, ap : (R, C) float64; NaN where the weights leave no positive or no negative.
    """
    labels, scores, weights = np.asarray(labels) != 0, np.asarray(scores, dtype=np.float64), np.asarray(weights)
    if labels.shape != scores.shape or labels.ndim != 2:
        raise ValueError(f"labels {labels.shape} and scores {scores.shape} must both be (images, findings)")
    unit = np.arange(len(labels)) if unit is None else np.asarray(unit)
    if weights.ndim != 2 or unit.shape != (len(labels),) or (len(unit) and unit.max() >= weights.shape[1]):
        raise ValueError(f"weights {weights.shape} must be (replicates, units) and cover the {unit.shape} image units")
    auroc = np.full((len(weights), labels.shape[1]), np.nan)
    ap = auroc.copy()
    sums = {c: _sums(labels[:, c], scores[:, c], unit, weights.shape[1]) for c in range(labels.shape[1])
            if labels[:, c].any() and not labels[:, c].all()}  # fmt: skip
    tallest = max((positives.shape[0] for positives, *_ in sums.values()), default=0)
    step = max(1, _CHUNK_VALUES // (tallest + 1))
    for start in range(0, len(weights), step):
        part = slice(start, start + step)
        columns = np.ascontiguousarray(weights[part].T, dtype=np.float64)  # (U, r): replicates side by side
        for c, matrices in sums.items():
            auroc[part, c], ap[part, c] = _weigh(columns, *matrices)
    return auroc, ap


def _sums(positive, score, unit, units):
    """What a finding's order comes to: sparse matrices that sum unit weights (U, r) over runs of the sorted images.

    Only the G thresholds that hold a positive move either metric; they are numbered from the highest score down.

    Returns
    -------
    at : (G, U), positives at each of these thresholds.
    down_to : (G + 1, U), negatives below the one before and down to this one; the last row: below them all.
    tied : (T, U), negatives exactly at a threshold, for the T thresholds that have any.
    tied_rows : (T,) which ones.
    """
    order = np.argsort(-score, kind="stable")
    positive, score, unit = positive[order], score[order], unit[order]
    threshold = np.cumsum(np.concatenate([[0], score[1:] != score[:-1]]))  # tied images share one number
    holds = np.unique(threshold[positive])
    group = np.searchsorted(holds, threshold)  # first such threshold at or below each image; G: below the last
    tied = ~positive & (group < len(holds)) & (holds[np.minimum(group, len(holds) - 1)] == threshold)
    tied_rows, tied_row = np.unique(group[tied], return_inverse=True)

    def summing(rows, columns, height):
        return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(height, units))

    at = summing(group[positive], unit[positive], len(holds))
    down_to = summing(group[~positive], unit[~positive], len(holds) + 1)
    return at, down_to, summing(tied_row, unit[tied], len(tied_rows)), tied_rows


def _weigh(columns, at, down_to, tied, tied_rows):
    """AUROC and AP (r,) of one finding under the unit weights ``columns`` (U, r)."""
    pos = at @ columns  # (G, r)
    true_positive = np.cumsum(pos, axis=0)  # (G, r)
    false_positive = np.cumsum(down_to @ columns, axis=0)  # (G + 1, r)
    w_pos, w_neg = true_positive[-1].copy(), false_positive[-1]  # (r,); the division below writes in place
    false_positive = false_positive[:-1]  # (G, r)
    # Negatives above each positive, those tied with it counted half: the complement of the AUROC.
    wrong = np.einsum("gr,gr->r", pos, false_positive) - 0.5 * np.einsum("tr,tr->r", pos[tied_rows], tied @ columns)
    called = true_positive + false_positive
    precision = np.divide(true_positive, called, out=true_positive, where=called > 0)
    defined = (w_pos > 0) & (w_neg > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = 1.0 - wrong / (w_pos * w_neg)
        ap = np.einsum("gr,gr->r", pos, precision) / w_pos
    return np.where(defined, auroc, np.nan), np.where(defined, ap, np.nan)


def percentile_interval(values, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Percentile bootstrap interval along the first axis, over the defined replicates only.

    Parameters
    ----------
    values : (R, ...) replicates of a metric, NaN where it is undefined.

    Returns
    -------
    low, high : (...) the ``(1 ± confidence) / 2`` quantiles; NaN where no replicate is defined.
    undefined : (...) int, how many replicates were left out.
    """
    values = np.asarray(values, dtype=np.float64)
    flat = values.reshape(len(values), int(np.prod(values.shape[1:])))  # (R, everything else)
    undefined = np.isnan(flat).sum(axis=0)
    some = undefined < len(flat)
    bounds = np.full((2, flat.shape[1]), np.nan)
    if some.any():
        bounds[:, some] = np.nanquantile(flat[:, some], [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    low, high, undefined = (row.reshape(values.shape[1:]) for row in (*bounds, undefined))
    return low, high, undefined
