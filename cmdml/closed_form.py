"""Zero-shot methods without training: one ridge regression, then algebra.

All take features that were scaled on training films and return scores, higher = more likely. A ridge regression onto
``T`` (n, K) with an intercept is ``W = (XᵀX + γ I)⁻¹ Xᵀ T`` of centred X and T; scikit-learn solves it.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import Ridge


def ridge_scores(train, targets, test, ridge: float) -> np.ndarray:
    """Predictions (m, K) for ``test`` (m, F) of a ridge regression of ``targets`` (n, K) on ``train`` (n, F).

    Films are not weighted: a rare finding keeps its small share of the squared error, and only the order of its scores
    counts here.
    """
    targets = np.asarray(targets, dtype=np.float64)
    return Ridge(alpha=ridge, solver="cholesky").fit(train, targets).predict(test).reshape(len(test), -1)


def eszsl(seen_scores, similarity, seen, semantic_ridge: float) -> np.ndarray:
    r"""Embarrassingly simple zero-shot learning (Romera-Paredes and Torr 2015) on top of ridge scores.

    Their map :math:`V = (X^\top X + γI)^{-1} X^\top Y S^\top (S S^\top + λI)^{-1}` gives a film x and a finding with
    vector s the score :math:`x V s`. With the ridge scores :math:`P = x (X^\top X + γI)^{-1} X^\top Y` of the seen
    findings and the similarities :math:`K = S_{all}^\top S_{all}` this is
    :math:`P\,(K_{seen,seen} + λI)^{-1} K_{seen,all}` (the push-through identity), so that vectors enter through their
    dot products alone.

    Parameters
    ----------
    seen_scores : (m, S) from :func:`ridge_scores` on labels of -1 and 1.
    similarity : (C, C) dot products of all findings' semantic vectors.
    seen : (S,) columns of the seen findings.
    semantic_ridge : λ > 0.

    Returns
    -------
    ndarray, (m, C)
    """
    similarity, seen = np.asarray(similarity, dtype=np.float64), np.asarray(seen)
    inner = similarity[np.ix_(seen, seen)] + semantic_ridge * np.eye(len(seen))
    return np.asarray(seen_scores) @ np.linalg.solve(inner, similarity[seen])


def sign_labels(labels, signs, seen) -> np.ndarray:
    """(n, A) 1 where a film shows a seen finding that has the sign; ``labels`` (n, C), ``signs`` (C, A) of 0 and 1."""
    return (np.asarray(labels)[:, seen] @ np.asarray(signs)[seen] > 0).astype(np.float64)


def dap(sign_scores, signs, seen) -> tuple[np.ndarray, np.ndarray]:
    """Direct attribute prediction (Lampert et al. 2014), as a mean over a finding's signs.

    Theirs multiplies the probabilities of attributes that are present or absent; ridge scores are no probabilities, and
    a film with several findings has the signs of all, so that absence says little: we average the z-scored scores of
    the signs that a finding *has*.

    Parameters
    ----------
    sign_scores : (m, A) score of every sign, z-scored on training films.
    signs : (C, A) of 0 and 1.
    seen : (S,) columns of the seen findings. A sign that none of them has was never taught: it is skipped.

    Returns
    -------
    scores : (m, C); 0 for a finding without a taught sign.
    untaught : (C,) int, how many of a finding's signs were skipped.
    """
    signs = np.asarray(signs, dtype=np.float64)
    taught = signs[seen].any(0)
    used = signs * taught
    return np.asarray(sign_scores) @ used.T / np.maximum(used.sum(1), 1), (signs * ~taught).sum(1).astype(int)


def semantic_targets(labels, vectors, seen) -> np.ndarray:
    """(n, E) mean of the vectors of a film's seen findings; zeros for a film without one."""
    labels = np.asarray(labels, dtype=np.float64)[:, seen]
    return labels @ np.asarray(vectors)[seen] / np.maximum(labels.sum(1, keepdims=True), 1)


def cosine(predicted, vectors) -> np.ndarray:
    """(m, C) cosine of predicted semantic vectors (m, E) with every finding's (C, E); 0 for a predicted zero."""
    predicted, vectors = np.asarray(predicted), np.asarray(vectors)
    length = np.maximum(np.linalg.norm(predicted, axis=1, keepdims=True), 1e-12)
    return predicted / length @ (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T


def illness(train_scores, scores) -> np.ndarray:
    """(m,) mean over findings of ``scores`` (m, S), z-scored by the mean and spread of ``train_scores`` (n, S).

    What a model knows of *ill* without knowing *which*: one number a film, the same for every unseen finding.
    """
    mean, spread = np.mean(train_scores, axis=0), np.maximum(np.std(train_scores, axis=0), 1e-12)
    return ((np.asarray(scores) - mean) / spread).mean(1)
