"""Scorers without pixels: what a film's view, age, sex, source or number of labels alone tells of its findings."""

import numpy as np
import pandas as pd

from cmdml.evaluation.controls import source_only
from cmdml.evaluation.metrics import age_bands

PROPERTIES = {"view": "view", "age": "age", "sex": "sex", "source": "source_repo"}  # method -> table column


def property_scores(values, labels, train, rows, findings, *, informed: bool = False, smoothing: float = 1.0):
    """How often each label occurs among the training films that share one property of the film. Ours.

    Two scorers, and a table must say which it shows:

    * zero-shot (default): a seen finding scores its smoothed rate (`source_only`), an unseen one **the mean of the
      seen rates**: illness as far as the property tells it. The unseen columns of ``labels`` are not read.
    * ``informed=True``: every finding scores its own rate. It looks at unseen labels, so it is no zero-shot method but
      bounds what the property tells. ``train`` must then hold the training films *with* unseen findings too.

    Parameters
    ----------
    values : (N,) the property as categories; a missing value is a category of its own. Ages: `property_column`.
    labels : (N, C) 0/1, columns in the order of ``findings.keys``.
    train, rows : row numbers to count on, and the M rows to score.
    findings : SeenUnseen
    smoothing : weight of the training prevalence, in films; > 0.

    Returns
    -------
    ndarray, (M, C) in [0, 1]
    """
    labels, keys = np.asarray(labels), np.asarray(findings.keys)
    counted = np.arange(len(keys)) if informed else findings.seen_index
    table = pd.DataFrame(labels[:, counted], columns=keys[counted]).assign(property=np.asarray(values))
    rates = source_only(table, list(keys[counted]), train, rows, ("property",), smoothing)  # (M, counted)
    scores = np.repeat(rates.mean(axis=1, keepdims=True), len(keys), axis=1)
    scores[:, counted] = rates
    return scores


def property_column(table, name: str) -> np.ndarray:
    """(N,) categories of a property of `PROPERTIES`; ages in bands. ValueError where the table lacks the column."""
    column = PROPERTIES[name]
    if column not in table:
        raise ValueError(f"the table has no column {column!r}, which the scorer {name!r} reads")
    return age_bands(table[column]) if name == "age" else table[column].to_numpy(dtype=object)


def label_count(labels) -> np.ndarray:
    """(N, C) number of *other* labels of each film.

    It reads the test labels, so it is no method: it shows the bias of the protocol. Under ``abnormal`` its AUROC lies
    below 0.5, since every negative carries another finding and a positive need not; under ``single`` each positive
    scores 0 and each negative 1, an AUROC of 0.
    """
    labels = np.asarray(labels).astype(np.int64)
    return labels.sum(axis=1, keepdims=True) - labels
