"""Scorers that train nothing: what a trained method must beat, and how much the choice of images alone gives away."""

from collections.abc import Sequence

import numpy as np

from cmdml.evaluation.bootstrap import patient_multiplicities, percentile_interval, weighted_auroc_ap


def nearest_seen(scores, vectors, findings) -> np.ndarray:
    """Give every unseen finding the scores of the seen one whose semantic vector has the largest cosine with its own.

    What zero-shot knowledge must beat: a classifier of the seen findings and a look at the texts. Ours, in the spirit
    of the simplest baselines of the zero-shot literature. A seen finding keeps its scores; a tie goes to the first.

    Parameters
    ----------
    scores : (M, C) of any trained method; the unseen columns are not read.
    vectors : (C, E) semantic vectors of all findings.
    findings : SeenUnseen

    Returns
    -------
    ndarray, (M, C)
    """
    scores, unit = np.array(scores), np.asarray(vectors, dtype=np.float64)
    if scores.ndim != 2 or not scores.shape[1] == len(unit) == len(findings.keys):
        expected = f"scores (M, C) and vectors (C, E) of {len(findings.keys)} findings"
        raise ValueError(f"need {expected}, got {scores.shape} and {unit.shape}")
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    seen, unseen = findings.seen_index, findings.unseen_index
    scores[:, unseen] = scores[:, seen[(unit[unseen] @ unit[seen].T).argmax(1)]]
    return scores


def random_scores(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Uniform scores in [0, 1), (M, C): what chance gives."""
    return np.random.default_rng(seed).random(shape)


def illness_alone(scores, reference, findings) -> np.ndarray:
    """One score for every finding: how ill an image looks, (M, C) equal columns.

    Mean over the seen findings of ``(score - mean) / standard deviation``, both taken over ``reference``, images that
    are not tested. It cannot know which finding is asked, so what a method reaches above it is not mere illness. The
    same idea on ridge scores is :func:`cmdml.closed_form.mean_of_seen`.

    Parameters
    ----------
    scores, reference : (M, C), (R, C) of one trained method; the unseen columns are not read.
    findings : SeenUnseen
    """
    seen = findings.seen_index
    scores, reference = np.asarray(scores, float)[:, seen], np.asarray(reference, float)[:, seen]
    spread = reference.std(0)
    mean = ((scores - reference.mean(0)) / np.where(spread > 0, spread, 1)).mean(1, keepdims=True)
    return np.repeat(mean, len(findings.keys), axis=1)


def source_only(table, findings: Sequence[str], train, rows, columns: Sequence[str] = ("source_repo",), smoothing=1.0):
    """Scores of a control that sees no pixel: how often a label occurs among training images from the same source.

    ``(k + smoothing · π) / (n + smoothing)`` for ``k`` positives among the ``n`` training rows that agree in all
    ``columns`` (π = the training prevalence; Laplace's idea with π as the prior, so that a source never met scores π).
    Ours.

    Parameters
    ----------
    table : DataFrame of a RadiographSet.
    findings : keys of the C label columns.
    train, rows : row numbers to count on, and the M rows to score. With a GZSL partition's ``train`` the unseen labels
        never occur and score a constant 0 (AUROC ½; or pass the result to :func:`nearest_seen`); with every row of the
        train split, unseen labels included, it bounds what the source alone could tell.
    columns : table columns, taken as categories, that name the source: ``source_repo``, ``source_pixels``, ``view``.
    smoothing : weight of the prior, in images; > 0.

    Returns
    -------
    ndarray, (M, C) in [0, 1]

    Raises
    ------
    ValueError
        If the table lacks a column, e.g. because its images come from one place.
    """
    missing = [name for name in [*columns, *findings] if name not in table]
    if missing:
        present = ", ".join(name for name in table if name not in findings)
        raise ValueError(f"the table has no column {missing[0]!r}; it has {present}")
    source = table.groupby(list(columns), dropna=False).ngroup().to_numpy()  # (N,) category number
    labels = table[list(findings)].to_numpy(float)[train]  # (n, C)
    n = np.bincount(source[train], minlength=source.max() + 1)[:, None]  # (G, 1)
    k = np.zeros((len(n), labels.shape[1]))
    np.add.at(k, source[train], labels)
    return ((k + smoothing * labels.mean(0)) / (n + smoothing))[source[rows]]


def swapped_text(labels, scores, patients, findings, *, replicates: int = 1000, seed: int = 0):
    """Does an unseen finding's own text find it better than the texts of the other unseen findings do?

    The U × U matrix ``A[a, b]`` is the AUROC of label a ranked by the score of text b, among images with at least one
    finding. Its diagonal is what U averages; the rest is what swapped texts reach with the same images and
    the same model, so it holds all that a score of mere illness can. ``contrast = mean diagonal − mean of the rest``,
    which is 0 in expectation if the texts mean nothing to the model. It needs no second training. Ours.

    Parameters
    ----------
    labels, scores : (N, C), as for :func:`cmdml.evaluation.metrics.evaluate`.
    patients : (N,)
    findings : SeenUnseen, with at least two unseen findings.
    replicates, seed : of the patient bootstrap.

    Returns
    -------
    matrix : (U, U) ndarray; NaN in the row of a finding without positives or negatives.
    contrast : (value, low, high), with the 95 % patient-bootstrap interval, over the defined rows.
    """
    labels, scores, unseen = np.asarray(labels), np.asarray(scores), findings.unseen_index
    n = len(unseen)
    if n < 2:
        raise ValueError(f"swapping texts needs at least two unseen findings, got {n}")
    abnormal = labels.any(1)
    drawn, unit = patient_multiplicities(np.asarray(patients)[abnormal], replicates, np.random.default_rng(seed))
    weights = np.concatenate([np.ones((1, drawn.shape[1])), drawn])  # row 0: every patient once
    label, text = np.repeat(unseen, n), np.tile(unseen, n)  # all pairs
    auroc, _ = weighted_auroc_ap(labels[abnormal][:, label], scores[abnormal][:, text], weights, unit)
    auroc = auroc.reshape(-1, n, n)  # (1 + R, label, text)
    own = np.eye(n, dtype=bool)
    rows = ~np.isnan(auroc[0, :, 0])
    contrast = (auroc[:, own][:, rows] - auroc[:, ~own].reshape(-1, n, n - 1)[:, rows].mean(2)).mean(1)
    low, high, _ = percentile_interval(contrast[1:])
    return auroc[0], (float(contrast[0]), float(low), float(high))
