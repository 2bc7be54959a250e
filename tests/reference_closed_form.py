"""Naive references: normal equations by np.linalg.solve, loops over films, findings and signs. Imports no cmdml."""

import numpy as np
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.preprocessing import StandardScaler


def scaled(train, test):
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def ridge(train, targets, test, gamma):
    """One sklearn Ridge per column, predictions on train and test."""
    x, z = scaled(train, test)
    models = [SklearnRidge(alpha=gamma, solver="cholesky").fit(x, column) for column in np.asarray(targets, float).T]
    return np.stack([m.predict(x) for m in models], 1), np.stack([m.predict(z) for m in models], 1)


def z_scores(train, targets, test, gamma):
    on_train, on_test = ridge(train, targets, test, gamma)
    return (on_test - on_train.mean(0)) / on_train.std(0)


def eszsl(train, labels, test, seen, every, gamma, lam):
    x, z = scaled(train, test)
    y = np.where(labels > 0, 1.0, -1.0)
    left = np.linalg.solve(x.T @ x + gamma * np.eye(x.shape[1]), x.T @ y @ seen)
    v = np.linalg.solve(seen.T @ seen + lam * np.eye(seen.shape[1]), left.T).T
    return z @ v @ every.T


def dap(train, labels, test, seen_signs, all_signs, gamma):
    n_signs = seen_signs.shape[1]
    has = np.zeros((len(train), n_signs))
    for i, film in enumerate(labels):
        for s, positive in enumerate(film):
            for a in range(n_signs):
                if positive and seen_signs[s, a]:
                    has[i, a] = 1
    taught = [a for a in range(n_signs) if seen_signs[:, a].any()]
    per_sign = dict(zip(taught, z_scores(train, has[:, taught], test, gamma).T, strict=True))
    scores, skipped = [], []
    for row in all_signs:
        own = [a for a in range(n_signs) if row[a]]
        known = [per_sign[a] for a in own if a in per_sign]
        scores.append(np.mean(known, axis=0) if known else np.full(len(test), np.nan))
        skipped.append(len(own) - len(known))
    return np.stack(scores, 1), skipped


def cosine(train, labels, test, seen, every, gamma):
    targets = np.zeros((len(train), seen.shape[1]))
    for i, film in enumerate(labels):
        if film.any():
            targets[i] = seen[film > 0].mean(0)
    _, mapped = ridge(train, targets, test, gamma)
    return np.array([[p @ v / np.linalg.norm(p) / np.linalg.norm(v) for v in every] for p in mapped])
