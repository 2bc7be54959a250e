"""The bias towards seen findings, and how well scores read as probabilities.

`calibrated_stacking` answers: how much of a low unseen result is mere favouring of seen findings, which one constant
would undo? `reliability` answers: of the images called 70 % likely, do 70 % carry the finding?
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cmdml.evaluation.metrics import harmonic_mean
from cmdml.findings import SeenUnseen


@dataclass(frozen=True)
class StackingCurve:
    """What `calibrated_stacking` returns.

    Attributes
    ----------
    offset
        (T,), rising constants at which the curve changes, ending with +inf. Entry t holds for every constant above
        ``offset[t - 1]`` and up to ``offset[t]``.
    seen, unseen
        (T,), accuracies; seen falls from its best to 0, unseen rises from 0 to its best.
    ausuc
        Area under unseen as a function of seen, in [0, 1].
    k, images_seen, images_unseen
        The k, and how many images the two accuracies count.
    """

    offset: np.ndarray
    seen: np.ndarray
    unseen: np.ndarray
    ausuc: float
    k: int
    images_seen: int
    images_unseen: int

    def at(self, offset: float = 0.0) -> tuple[float, float, float]:
        """(seen, unseen, harmonic mean) with this constant; 0 is the uncalibrated method."""
        entry = np.searchsorted(self.offset, offset)
        seen, unseen = self.seen[entry], self.unseen[entry]
        return float(seen), float(unseen), float(harmonic_mean(seen, unseen))


def calibrated_stacking(labels, scores, findings: SeenUnseen, *, k: int = 1) -> StackingCurve:
    """Trade seen against unseen accuracy by a constant taken from every seen score (Chao et al. 2016).

    Findings are ranked by ``score - offset * 1[seen]``. Our multi-label reading of their accuracies, both in the mixed
    label space of all findings: among the images with a positive seen (unseen) finding, the share where one of these is
    among the k highest. With one label per image and k = 1 it is their ``A_{S -> T}`` and ``A_{U -> T}``, averaged
    over images. An image with both kinds counts in both, and with k = 1 can only be right for one of them, so the
    area stays below 1 even for perfect scores.

    The curve is exact: the j-th best seen finding is among the k highest up to the constant at which it meets the
    (k - j + 1)-th best unseen one. At that constant itself the seen finding wins. A constant picked on test images is
    an oracle: compare AUSUC, or choose the constant on validation images by a rule that needs no unseen label.

    Parameters
    ----------
    labels : (N, C) 0/1, columns in the order of ``findings.keys``.
    scores : (N, C) finite, higher = more likely, comparable within an image.
    k : 1 to the smaller of the numbers of seen and unseen findings.

    Raises
    ------
    ValueError : shapes or k that do not fit, scores that are not finite, no image with a seen or an unseen finding.
    """
    labels, scores = np.asarray(labels) != 0, np.asarray(scores, dtype=np.float64)
    if labels.ndim != 2 or labels.shape != scores.shape or labels.shape[1] != len(findings.keys):
        raise ValueError(f"labels {labels.shape} and scores {scores.shape} must be (images, {len(findings.keys)})")
    if not np.isfinite(scores).all():
        raise ValueError(f"scores of image row {np.argwhere(~np.isfinite(scores))[0, 0]} are not all finite")
    if not 1 <= k <= min(len(findings.seen), len(findings.unseen)):
        raise ValueError(
            f"k = {k} must lie between 1 and min({len(findings.seen)} seen, {len(findings.unseen)} unseen)"
        )
    ranked = {}
    for kind, mask in (("seen", findings.seen_mask), ("unseen", findings.unseen_mask)):
        order = np.argsort(-scores[:, mask], axis=1, kind="stable")
        positive = np.take_along_axis(labels[:, mask], order, axis=1)
        if not positive.any():
            raise ValueError(f"no image carries a positive {kind} finding, so its accuracy is undefined")
        ranked[kind] = np.take_along_axis(scores[:, mask], order, axis=1), positive

    # The constant up to which (seen), or above which (unseen), each image is a hit.
    until, above = _meeting(*ranked["seen"], ranked["unseen"][0], k), -_meeting(*ranked["unseen"], ranked["seen"][0], k)
    offset = np.unique(np.concatenate([until, above]))
    offset = np.append(offset[np.isfinite(offset)], np.inf)
    seen = 1 - np.searchsorted(np.sort(until), offset) / len(until)  # share with until >= offset
    unseen = np.searchsorted(np.sort(above), offset) / len(above)  # share with above < offset
    area = float(np.sum((seen[:-1] - seen[1:]) * (unseen[:-1] + unseen[1:]) / 2))
    return StackingCurve(offset, seen, unseen, area, k, len(until), len(above))


def _meeting(own, positive, other, k):
    """Own score minus the rival's it must beat, for the best positive of each image that has one; -inf: never a hit."""
    rows = np.flatnonzero(positive.any(axis=1))
    rank = positive[rows].argmax(axis=1)  # 0-based, among its own kind
    rival = np.maximum(k - 1 - rank, 0)
    return np.where(rank < k, own[rows, rank] - other[rows, rival], -np.inf)


def reliability(labels, probabilities, *, bins: int = 10) -> pd.DataFrame:
    """Observed frequency against predicted probability, in bins of equally many predictions.

    Scores need a monotone map to [0, 1] first: for ours, ``-d^2``, the closeness ``exp(score / tau)`` of the loss. Bins
    hold equal counts because rare findings leave the upper equal-width bins empty; tied predictions share a bin.

    Parameters
    ----------
    labels : 0/1, any shape: one finding, or all of them pooled.
    probabilities : in [0, 1], same shape.

    Returns
    -------
    DataFrame, one row per bin: predictions, predicted (mean), observed (share of positives), low, high (95 % Wilson
    interval, which takes predictions as independent: a patient's films are not, so read it as a lower bound of width).
    The expected calibration error is the mean of ``|observed - predicted|`` weighted by ``predictions``.
    """
    y, p = np.asarray(labels).ravel() != 0, np.asarray(probabilities, dtype=np.float64).ravel()
    if y.shape != p.shape or len(p) == 0:
        raise ValueError(f"labels ({y.size}) and probabilities ({p.size}) must have the same, non-zero, size")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1]; map scores first, for instance exp(score / tau)")
    edges = np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1])
    table = pd.DataFrame({"bin": np.searchsorted(edges, p), "predicted": p, "observed": y}).groupby("bin")
    out = table.agg(predictions=("observed", "size"), predicted=("predicted", "mean"), observed=("observed", "mean"))
    z2, n = 1.959963984540054**2, out.predictions
    centre = (out.observed + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 / n * (out.observed * (1 - out.observed) + z2 / (4 * n))) / (1 + z2 / n)
    return out.assign(low=centre - half, high=centre + half).reset_index(drop=True)
