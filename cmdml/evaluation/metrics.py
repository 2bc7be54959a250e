"""Generalized zero-shot metrics with patient-bootstrap intervals, under both protocols.

``abnormal`` keeps the test images with at least one of the findings and is the headline; ``all`` keeps every test
image, where telling normal from abnormal alone lifts every unseen AUROC. See `evaluate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from cmdml.evaluation.bootstrap import patient_multiplicities, percentile_interval, weighted_auroc_ap
from cmdml.evaluation.strata import protocol_rows
from cmdml.findings import SeenUnseen

PROTOCOLS = ("abnormal", "all")


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` returns.

    Attributes
    ----------
    per_finding
        DataFrame, one row per protocol and finding: protocol, finding, seen, images, positives, prevalence, auroc,
        auroc_low, auroc_high, ap, ap_low, ap_high, undefined_replicates.
    summary
        DataFrame, one row per protocol and metric: protocol, metric, value, low, high, undefined_replicates, undefined
        (names of the findings that the value leaves out, separated by spaces).
    undefined
        dict, protocol -> names of the findings without a positive or without a negative.
    """

    per_finding: pd.DataFrame
    summary: pd.DataFrame
    undefined: dict[str, tuple[str, ...]]
    ks: tuple[int, ...]
    replicates: int
    seed: int


def evaluate(labels, scores, patients, findings: SeenUnseen, *, ks=(2, 3), replicates=1000, seed=0) -> Evaluation:
    """Generalized zero-shot evaluation of a score matrix.

    * AUROC and average precision of every finding, with its prevalence (the AP of a random score).
    * ``S``, ``U``: means over the seen and the unseen findings; ``H = 2 S U / (S + U)`` (Xian et al. 2018).
    * Precision, recall and F1 at k, *overall* (micro) as in LESA (Huynh and Elhamifar 2020): with ``h_i`` positives
      among the k highest of all findings of image i, ``P = sum h_i / (k N)``, ``R = sum h_i / number of positive
      labels``, ``F1 = 2 P R / (P + R)``. Images without a finding count in P.
    * 95 % percentile intervals from resampling patients; one resample serves every metric.

    A finding without a positive or without a negative image is NaN, stands in ``undefined`` and is left out of S and U,
    which say so by name. A replicate in which any finding that belongs to a mean is undefined has no value for that
    mean: it is left out of the interval and counted in ``undefined_replicates``. With few positives the resampled AP
    sits above the point estimate (a positive drawn twice is found twice): by about a third at 4, a tenth at 25.

    Parameters
    ----------
    labels : (N, C) 0/1, columns in the order of ``findings.keys``.
    scores : (N, C) finite, higher = more likely; scores of one image must be comparable for the metrics at k.
    patients : (N,) patient id of each image.
    findings : which findings were seen in training.
    ks : the k of precision, recall and F1 at k.
    replicates : bootstrap replicates; 0 leaves the intervals NaN.
    seed : of the resampling.

    Raises
    ------
    ValueError : shapes that do not fit, labels other than 0/1, scores that are not finite, images without a patient.
    """
    labels, scores, patients = _checked(labels, scores, patients, findings)
    per_finding, summary, undefined = [], [], {}
    for protocol in PROTOCOLS:
        keep = protocol_rows(labels, protocol)
        y = labels[keep]
        weights, unit = bootstrap_weights(patients[keep], replicates, seed)
        metrics, auroc, ap = summary_metrics(y, scores[keep], weights, unit, findings, ks)
        defined = ~np.isnan(auroc[0])
        undefined[protocol] = tuple(key for key, ok in zip(findings.keys, defined, strict=True) if not ok)

        auroc_low, auroc_high, lost = percentile_interval(auroc[1:])
        ap_low, ap_high, _ = percentile_interval(ap[1:])
        positives = y.sum(axis=0)
        table = {"protocol": protocol, "finding": findings.keys, "seen": findings.seen_mask, "images": len(y)}
        table |= {"positives": positives, "prevalence": positives / len(y) if len(y) else np.nan}
        table |= {"auroc": auroc[0], "auroc_low": auroc_low, "auroc_high": auroc_high}
        table |= {"ap": ap[0], "ap_low": ap_low, "ap_high": ap_high, "undefined_replicates": lost}
        per_finding.append(pd.DataFrame(table))
        summary += _summary_rows(protocol, metrics, findings, undefined[protocol])
    return Evaluation(pd.concat(per_finding, ignore_index=True), pd.DataFrame(summary), undefined,
                      tuple(ks), replicates, seed)  # fmt: skip


def paired_difference(
    labels, scores_a, scores_b, patients, findings: SeenUnseen, *, ks=(2, 3), replicates=1000, seed=0
) -> pd.DataFrame:
    """Differences ``a - b`` of the summary metrics, both methods scored on the same resampled patients.

    The pairing removes the variation that both methods share (some patients are hard for either), which two separate
    intervals would count twice. It says nothing of the variation between training runs: compare several seeds too.

    Parameters are those of `evaluate`, with the scores of two methods.

    Returns
    -------
    DataFrame, one row per protocol and metric: protocol, metric, a, b, difference, low, high (95 %), share_positive
    (share of the defined replicates in which a is better, ties counted half), undefined_replicates.
    """
    y, scores_a, patients = _checked(labels, scores_a, patients, findings, "scores_a")
    _, scores_b, _ = _checked(labels, scores_b, patients, findings, "scores_b")
    rows = []
    for protocol in PROTOCOLS:
        keep = protocol_rows(y, protocol)
        weights, unit = bootstrap_weights(patients[keep], replicates, seed)
        a, b = (summary_metrics(y[keep], s[keep], weights, unit, findings, ks)[0] for s in (scores_a, scores_b))
        for metric in a:
            difference = a[metric] - b[metric]  # (1 + R,)
            low, high, lost = percentile_interval(difference[1:])
            known = difference[1:][~np.isnan(difference[1:])]
            share = ((known > 0) + 0.5 * (known == 0)).mean() if len(known) else np.nan
            rows.append({"protocol": protocol, "metric": metric, "a": a[metric][0], "b": b[metric][0],
                         "difference": difference[0], "low": float(low), "high": float(high),
                         "share_positive": float(share), "undefined_replicates": int(lost)})  # fmt: skip
    return pd.DataFrame(rows)


def evaluate_subgroups(labels, scores, patients, findings: SeenUnseen, groups, **options) -> pd.DataFrame:
    """`evaluate` within each group of images: sex, `age_bands`, view, `image_kinds`.

    Parameters
    ----------
    groups : (N,) group of each image; a missing or empty one becomes ``unknown``.
    options : as for `evaluate`.

    Returns
    -------
    DataFrame: group, images, patients, then the columns of ``Evaluation.summary``. Groups in sorted order.
    """
    labels, scores, patients = _checked(labels, scores, patients, findings)
    groups = np.asarray(groups, dtype=object)
    if groups.shape != (len(labels),):
        raise ValueError(f"groups {groups.shape} must name one group for each of {len(labels)} images")
    groups = np.where(pd.isna(groups) | (groups == ""), "unknown", groups).astype(str)
    tables = []
    for group in sorted(set(groups)):
        rows = groups == group
        table = evaluate(labels[rows], scores[rows], patients[rows], findings, **options).summary
        table.insert(0, "group", group)
        table.insert(1, "images", int(rows.sum()))
        table.insert(2, "patients", len(set(patients[rows])))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def age_bands(age, edges=(40, 60)) -> np.ndarray:
    """Age in years (N,) -> band names such as ``<40``, ``40-59``, ``60+``; ``unknown`` where it is NaN."""
    age = np.asarray(age, dtype=np.float64)
    names = np.array([f"<{edges[0]}", *(f"{a}-{b - 1}" for a, b in pairwise(edges)),
                      f"{edges[-1]}+"], dtype=object)  # fmt: skip
    return np.where(np.isnan(age), "unknown", names[np.digitize(age, edges)])


def image_kinds(labels, findings: SeenUnseen) -> np.ndarray:
    """(N,) which findings an image carries: ``none``, ``seen only``, ``unseen only`` or ``mixed``."""
    labels = np.asarray(labels) != 0
    seen, unseen = labels[:, findings.seen_mask].any(axis=1), labels[:, findings.unseen_mask].any(axis=1)
    return np.array(["none", "seen only", "unseen only", "mixed"], dtype=object)[seen + 2 * unseen]


def top_k(scores, k: int) -> np.ndarray:
    """(N, k) columns of the k highest scores of each image, best first; of equal scores the first finding wins."""
    scores = np.asarray(scores, dtype=np.float64)
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k = {k} must lie between 1 and the {scores.shape[1]} findings")
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def harmonic_mean(a, b):
    """``2 a b / (a + b)``, 0 where both are 0, NaN where either is."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    total = a + b
    return np.where(total == 0, 0.0, 2 * a * b / np.where(total == 0, 1.0, total))


def summary_metrics(labels, scores, weights, unit, findings, ks):
    """({metric: (1 + R,)}, auroc (1 + R, C), ap (1 + R, C)); row 0 weighs every patient once: the point estimate."""
    auroc, ap = weighted_auroc_ap(labels, scores, weights, unit)
    metrics = {}
    for name, values in (("auroc", auroc), ("ap", ap)):
        for short, mask in (("S", findings.seen_mask), ("U", findings.unseen_mask)):
            chosen = values[:, mask & ~np.isnan(values[0])]  # a replicate without one of these has no mean: NaN
            metrics[f"{name}_{short}"] = chosen.mean(axis=1) if chosen.shape[1] else np.full(len(values), np.nan)
        metrics[f"{name}_H"] = harmonic_mean(metrics[f"{name}_S"], metrics[f"{name}_U"])
    units = weights.shape[1]
    images, positives = (weights @ np.bincount(unit, values, units) for values in (None, labels.sum(axis=1)))
    for k in ks:
        hits = weights @ np.bincount(unit, np.take_along_axis(labels, top_k(scores, k), axis=1).sum(axis=1), units)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision, recall = hits / (k * images), hits / positives
        metrics |= {f"precision@{k}": precision, f"recall@{k}": recall, f"f1@{k}": harmonic_mean(precision, recall)}
    return metrics, auroc, ap


def _summary_rows(protocol, metrics, findings, undefined):
    members = {"S": findings.seen, "U": findings.unseen, "H": findings.keys}

    def row(metric, value, low, high, lost, left_out):
        return {"protocol": protocol, "metric": metric, "value": float(value), "low": float(low), "high": float(high),
                "undefined_replicates": int(lost), "undefined": " ".join(left_out)}  # fmt: skip

    rows = []
    for metric, values in metrics.items():
        low, high, lost = percentile_interval(values[1:])
        left_out = [key for key in undefined if key in members.get(metric.partition("_")[2], ())]
        rows.append(row(metric, values[0], low, high, lost, left_out))
    return [*rows, row("n_findings_undefined", len(undefined), np.nan, np.nan, 0, undefined)]


def bootstrap_weights(patients, replicates, seed):
    """(1 + R, P) patient weights, the first row all ones, and each image's patient (N,)."""
    drawn, unit = patient_multiplicities(patients, replicates, np.random.default_rng(seed))
    return np.concatenate([np.ones((1, drawn.shape[1]), drawn.dtype), drawn]), unit


def _checked(labels, scores, patients, findings, name="scores"):
    labels, scores, patients = np.asarray(labels), np.asarray(scores, dtype=np.float64), np.asarray(patients)
    count = len(findings.keys)
    if labels.ndim != 2 or labels.shape[1] != count:
        raise ValueError(f"labels {labels.shape} must be (images, {count}), one column per finding")
    if scores.shape != labels.shape:
        raise ValueError(f"{name} {scores.shape} must have the shape of labels {labels.shape}")
    if patients.shape != (len(labels),):
        raise ValueError(f"patients {patients.shape} must name one patient for each of {len(labels)} images")
    if len(labels) == 0:
        raise ValueError("no images to evaluate")
    for what, table, bad in (("label", labels, ~np.isin(labels, (0, 1))), (name, scores, ~np.isfinite(scores))):
        if bad.any():
            row, column = np.argwhere(bad)[0]
            wanted = "0 or 1" if what == "label" else "a finite number"
            raise ValueError(
                f"{what} of image row {row}, {findings.keys[column]}, is {table[row, column]}, not {wanted}"
            )
    missing = pd.isna(patients) | (patients.astype(str) == "")
    if missing.any():
        raise ValueError(f"image row {np.flatnonzero(missing)[0]} has no patient")
    return labels.astype(np.uint8), scores, patients
