"""Naive references: plain loops over images, findings and pairs that import nothing of the package.

They are slow and obvious on purpose. A metric or loss of ours is right when it agrees with the loop that spells out
its definition.
"""

import math
from itertools import pairwise

# --- the loss --------------------------------------------------------------------------------------------------


def minus_log_one_minus_exp_minus(x):
    """-log(1 - exp(-x)) for x >= 0 without cancellation; infinite at 0."""
    if x == 0:
        return math.inf
    if x < math.log(2):
        return -math.log(-math.expm1(-x))
    return -math.log1p(-math.exp(-x))


def weighted_focused_euclidean(squared_distance, labels, gamma, alpha, tau):
    """Sum over findings, mean over images; nested lists in, plain floats out."""
    positive_sum = negative_sum = 0.0
    for distances, targets in zip(squared_distance, labels, strict=True):
        for d2, target in zip(distances, targets, strict=True):
            x = float(d2) / tau
            p = math.exp(-x)
            if target:
                positive_sum += alpha * (-math.expm1(-x)) ** gamma * x  # 1 - p, exact near p = 1
            elif alpha != 1:
                negative_sum += (1 - alpha) * p**gamma * minus_log_one_minus_exp_minus(x)
    images = len(squared_distance)
    positive, negative = positive_sum / images, negative_sum / images
    return {"total": positive + negative, "positive": positive, "negative": negative}


# --- ranking metrics of one finding ----------------------------------------------------------------------------


def auroc(labels, scores, weights=None):
    """Share of positive-negative pairs in the right order, ties one half; NaN without both kinds."""
    weights = [1.0] * len(labels) if weights is None else weights
    right = pairs = 0.0
    for label_i, score_i, weight_i in zip(labels, scores, weights, strict=True):
        for label_j, score_j, weight_j in zip(labels, scores, weights, strict=True):
            if label_i and not label_j:
                pairs += weight_i * weight_j
                right += weight_i * weight_j * (1.0 if score_i > score_j else 0.5 if score_i == score_j else 0.0)
    return right / pairs if pairs else math.nan


def average_precision(labels, scores, weights=None):
    """Sum over distinct thresholds of the gain in recall times the precision there; NaN without both kinds."""
    weights = [1.0] * len(labels) if weights is None else weights
    positives = sum(w for y, w in zip(labels, weights, strict=True) if y)
    negatives = sum(w for y, w in zip(labels, weights, strict=True) if not y)
    if not positives or not negatives:
        return math.nan
    total = last_recall = 0.0
    for threshold in sorted(set(scores), reverse=True):
        hits = sum(w for y, s, w in zip(labels, scores, weights, strict=True) if y and s >= threshold)
        called = sum(w for s, w in zip(scores, weights, strict=True) if s >= threshold)
        if called:
            total += (hits / positives - last_recall) * hits / called
            last_recall = hits / positives
    return total


def harmonic_mean(a, b):
    return 0.0 if a + b == 0 else 2 * a * b / (a + b)


# --- top-k, over all findings of an image ----------------------------------------------------------------------


def top_k(scores, k):
    """Indices of the k highest scores of one image; of equal scores the first finding wins."""
    return sorted(range(len(scores)), key=lambda c: (-scores[c], c))[:k]


def precision_recall_f1_at_k(labels, scores, k):
    """Overall (micro) precision, recall and F1 of the k highest findings of every image."""
    hits = positives = 0
    for row, values in zip(labels, scores, strict=True):
        hits += sum(bool(row[c]) for c in top_k(values, k))
        positives += sum(bool(y) for y in row)
    precision = hits / (k * len(labels))
    recall = hits / positives if positives else math.nan
    return precision, recall, harmonic_mean(precision, recall)


# --- patient bootstrap -----------------------------------------------------------------------------------------


def resample(patients, names, multiplicities):
    """Row numbers of one replicate: all images of a patient, as often as the patient was drawn."""
    rows = []
    for name, times in zip(names, multiplicities, strict=True):
        rows += [i for i, patient in enumerate(patients) if patient == name] * int(times)
    return rows


def bootstrap(labels, scores, patients, names, multiplicities, metric):
    """metric of every replicate (outer list) and finding (inner list), on really resampled images."""
    out = []
    for drawn in multiplicities:
        rows = resample(patients, names, drawn)
        out.append([metric([labels[i][c] for i in rows], [scores[i][c] for i in rows]) for c in range(len(labels[0]))])
    return out


# --- calibrated stacking ---------------------------------------------------------------------------------------


def stacking_accuracy(labels, scores, seen, offset, k):
    """(seen, unseen) hit rate among the k highest findings once the offset is subtracted from seen scores.

    An image counts for seen (unseen) when it has a positive seen (unseen) finding, and is a hit when one of these is
    among its k highest.
    """
    hits, images = {True: 0, False: 0}, {True: 0, False: 0}
    for row, values in zip(labels, scores, strict=True):
        chosen = top_k([s - offset if is_seen else s for s, is_seen in zip(values, seen, strict=True)], k)
        for kind in (True, False):
            relevant = {c for c in range(len(row)) if row[c] and bool(seen[c]) is kind}
            images[kind] += bool(relevant)
            hits[kind] += bool(relevant & set(chosen))
    return hits[True] / images[True], hits[False] / images[False]


def ausuc(labels, scores, seen, k):
    """Area under the seen-unseen curve: every distinct ranking is visited, trapezoids between neighbours."""
    gaps = {a - b for row in scores for a, s in zip(row, seen, strict=True) if s
            for b, t in zip(row, seen, strict=True) if not t}  # fmt: skip
    gaps = sorted(gaps)
    offsets = [gaps[0] - 1, *((a + b) / 2 for a, b in pairwise(gaps)), gaps[-1] + 1]
    curve = [stacking_accuracy(labels, scores, seen, offset, k) for offset in offsets]
    return sum((a[0] - b[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(curve))


def pooled_u(rotation, scores):
    """U under ``abnormal``: pairs of one fold only, pooled by their number; then the mean over all cells."""
    labels = rotation.films.labels
    abnormal, values = labels.any(1), []
    for q, unseen in enumerate(rotation.sets):
        for c in unseen:
            above, pairs = 0.0, 0
            for at in range(3):
                rows = abnormal & (rotation.fold == at)
                n = int(labels[rows, c].sum())
                n *= int(rows.sum()) - n
                above, pairs = above + n * auroc(labels[rows, c], scores[q, rows, c]), pairs + n
            values.append(above / pairs)
    return sum(values) / len(values)
