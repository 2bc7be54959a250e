"""Why a text finds the films that it finds: illness that lifts every text, and the seen findings that a text points at.

Both are computed from one trained model's scores of the test images. Nothing is trained, and no text is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from cmdml.findings import SeenUnseen


def auroc(labels, scores) -> np.ndarray:
    """AUROC of every label (N, A) by every score (N, B): (A, B), NaN where a label has one value only.

    By ranks (Mann and Whitney), ties counted half.
    """
    labels, ranks = np.asarray(labels, dtype=np.float64), rankdata(scores, axis=0)
    positives = labels.sum(0)[:, None]  # (A, 1)
    pairs = positives * (len(labels) - positives)
    above = labels.T @ ranks - positives * (positives + 1) / 2
    return np.divide(above, pairs, out=np.full(above.shape, np.nan), where=pairs > 0)


def illness_of_texts(labels, scores) -> np.ndarray:
    """How well each finding's score tells images with any finding from normal ones: AUROC, (C,)."""
    return auroc(np.asarray(labels).any(1)[:, None], scores)[0]


def lift_of_texts(labels, scores, findings: SeenUnseen) -> np.ndarray:
    """How much better than the average text each text finds *other* unseen findings, (C,), in AUROC.

    Of every unseen label other than the text's own: AUROC by this text less the mean AUROC by all texts, among images
    with a finding; then the mean over these labels. A text that only says *ill* lifts all of them alike.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    abnormal, unseen = labels.any(1), findings.unseen_index
    found = auroc(labels[abnormal][:, unseen], scores[abnormal])  # (U, C)
    found -= found.mean(1, keepdims=True)
    found[np.arange(len(unseen)), unseen] = np.nan  # its own text
    counted = (~np.isnan(found)).sum(0)
    return np.divide(np.nansum(found, axis=0), counted, out=np.full(found.shape[1], np.nan), where=counted > 0)


@dataclass(frozen=True)
class Pointing:
    """Whom the text of an unseen finding points at, and whom its films look like; see :func:`pointing`.

    Attributes
    ----------
    text
        (U, S) cosine, in the joint space, of each unseen finding's anchor with each seen one's.
    films
        (U, S) AUROC of each unseen finding ranked by each seen finding's score, among images with a finding.
    matrix, predicted
        (U, U) AUROC of label a by text b, and what text and films together say of it,
        both less their row and column means.
    r
        Correlation of the two over all cells, NaN where one of them does not vary.
    """

    text: np.ndarray
    films: np.ndarray
    matrix: np.ndarray
    predicted: np.ndarray
    r: float


def pointing(labels, scores, semantic, findings: SeenUnseen) -> Pointing:
    """Does a text find films because the seen findings that it points at look like them?

    A model that never saw a finding knows its text only by the seen ones near it. If that is all there is, the AUROC
    label a by text b follows ``predicted[a, b] = Σ_c films[a, c] · text[b, c]`` over the seen findings c. Row and
    column means are taken out of both sides: what a label gains from every text, or a text gives to every label, is
    illness or luck and no meaning. Ours.

    Parameters
    ----------
    labels, scores : (N, C), all test images.
    semantic : (C, D), where the regression module carried the texts; they are seen from the mean of the seen ones.
    findings : SeenUnseen, with at least two unseen findings.

    Returns
    -------
    Pointing
    """
    labels, scores, semantic = np.asarray(labels), np.asarray(scores), np.asarray(semantic, dtype=np.float64)
    seen, unseen, abnormal = findings.seen_index, findings.unseen_index, labels.any(1)
    if len(unseen) < 2:
        raise ValueError(f"comparing texts needs at least two unseen findings, got {len(unseen)}")
    centred = semantic - semantic[seen].mean(0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    text = unit[unseen] @ unit[seen].T
    films = auroc(labels[abnormal][:, unseen], scores[abnormal][:, seen])
    matrix = without_margins(auroc(labels[abnormal][:, unseen], scores[abnormal][:, unseen]))
    predicted = without_margins(films @ text.T)
    return Pointing(text, films, matrix, predicted, correlation(matrix.ravel(), predicted.ravel()))


def without_margins(matrix) -> np.ndarray:
    """A matrix less its row and column means: what is left belongs to the pair. NaN rows stay NaN."""
    matrix = np.asarray(matrix, dtype=np.float64)
    rows = ~np.isnan(matrix).any(1)
    left, full = matrix[rows], np.full(matrix.shape, np.nan)
    full[rows] = left - left.mean(1, keepdims=True) - left.mean(0) + left.mean() if len(left) else left
    return full


def correlation(a, b) -> float:
    """Pearson's r of two vectors over the entries that both have; NaN for fewer than three, or if one is constant."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    known = ~np.isnan(a) & ~np.isnan(b)
    a, b = a[known], b[known]
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 2 and a.std() > 1e-12 and b.std() > 1e-12 else float("nan")
