"""Zero-shot methods with a closed form: what a few matrix products reach on fixed visual features.

n training films, m test films, F features, S seen findings, C findings to score, E dimensions of a semantic vector,
A signs. Everything is float64; every method returns scores (m, C), higher = more likely, to be compared between the
films of one finding (offsets between findings are not calibrated).

Labels are not weighted by class: a ridge regression with an intercept ranks films by the same direction for any
coding of a two-valued target, and leaving out the weights keeps one decomposition for all labels.
"""

import numpy as np


class Ridge:
    """Ridge regressions of any targets on the same standardised features.

    With X (n, F) = (features - mean) / standard deviation, both of the *training* films, and targets T (n, K) less
    their mean: W = (XᵀX + γI)⁻¹ XᵀT, prediction = X W + mean(T). Centring stands in for a constant column, so the
    intercept is not shrunk. XᵀX is decomposed once; another γ or T costs a few products (F, F) x (F, K).

    Parameters
    ----------
    features : array, shape (n, F)
        Of the training films. A feature that never changes is left at zero.

    Examples
    --------
    >>> ridge = Ridge([[0.0], [1.0], [2.0], [3.0]])  # four films, one feature
    >>> ridge.predict([[0.0], [0.0], [1.0], [1.0]], [[1.5], [9.0]], gamma=1e-9).round(2).tolist()
    [[0.5], [3.5]]
    """

    def __init__(self, features: np.ndarray):
        features = _matrix(features, "features")
        self.mean_, self.scale_ = features.mean(axis=0), features.std(axis=0)
        self.scale_[self.scale_ <= 1e-12 * (1 + np.abs(self.mean_))] = np.inf
        self.train_ = self.transform(features)
        eigenvalues, self._basis = np.linalg.eigh(self.train_.T @ self.train_)
        self._eigenvalues = np.clip(eigenvalues, 0, None)  # rounding makes a singular matrix slightly negative

    def transform(self, features: np.ndarray) -> np.ndarray:
        """(m, F), scaled by the training films."""
        features = _matrix(features, "features")
        if features.shape[1] != len(self.mean_):
            raise ValueError(f"features have {features.shape[1]} columns, those of the training have {len(self.mean_)}")
        return (features - self.mean_) / self.scale_

    def solve(self, targets: np.ndarray, gamma: float) -> np.ndarray:
        """W (F, K) of targets (n, K); ``gamma`` > 0 is in units of XᵀX, that is of n."""
        targets = _matrix(targets, "targets")
        if len(targets) != len(self.train_):
            raise ValueError(f"{len(targets)} rows of targets for {len(self.train_)} training films")
        _positive(gamma, "gamma")
        rotated = self._basis.T @ (self.train_.T @ (targets - targets.mean(axis=0)))
        return self._basis @ (rotated / (self._eigenvalues + gamma)[:, None])

    def predict(self, targets: np.ndarray, test: np.ndarray, gamma: float) -> np.ndarray:
        """Regression of targets (n, K), evaluated on test films: (m, K)."""
        return self.transform(test) @ self.solve(targets, gamma) + _matrix(targets, "targets").mean(axis=0)

    def z_scores(self, targets: np.ndarray, test: np.ndarray, gamma: float) -> np.ndarray:
        """Predictions less their mean, over their standard deviation, both on the training films: (m, K)."""
        weights = self.solve(targets, gamma)
        spread = (self.train_ @ weights).std(axis=0)  # the mean is 0, because the features are centred
        return self.transform(test) @ weights / np.where(spread > 0, spread, 1)


def eszsl_mix(seen_vectors: np.ndarray, all_vectors: np.ndarray, lam: float) -> np.ndarray:
    """The semantic side of ESZSL: M (S, C) = (S Sᵀ + λI)⁻¹ S Aᵀ, with S (S, E) the seen, A (C, E) all vectors.

    Equal to S (SᵀS + λI)⁻¹ Aᵀ, with the smaller inverse. Told other signs, only this changes (microseconds).

    >>> seen, third = np.eye(2), [[1.0, 1.0]]  # an unseen finding with the signs of both
    >>> eszsl_mix(seen, np.vstack([seen, third]), lam=1.0).tolist()
    [[0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]
    """
    seen_vectors, all_vectors = _matrix(seen_vectors, "seen_vectors"), _matrix(all_vectors, "all_vectors")
    _positive(lam, "lam")
    return np.linalg.solve(
        seen_vectors @ seen_vectors.T + lam * np.eye(len(seen_vectors)), seen_vectors @ all_vectors.T
    )


def eszsl(ridge: Ridge, labels, test, seen_vectors, all_vectors, gamma: float, lam: float) -> np.ndarray:
    """Embarrassingly simple zero-shot learning (Romera-Paredes & Torr, ICML 2015): (m, C).

    scores = X_test V Aᵀ with V = (XᵀX + γI)⁻¹ Xᵀ Y S (SᵀS + λI)⁻¹, Y = ±1 (n, S). The centred features make the
    result the same for Y less its mean. For many sets of vectors on the same films, keep
    ``base = ridge.transform(test) @ ridge.solve(2 * labels - 1, gamma)`` (m, S): the scores are
    ``base @ eszsl_mix(seen_vectors, all_vectors, lam)``.

    >>> features, labels = np.eye(3), np.eye(3)[:, :2]  # films of finding 0, of finding 1, of none
    >>> vectors = [[1, 0], [0, 1], [1, 1]]              # the third finding is unseen, and has both signs
    >>> scores = eszsl(Ridge(features), labels, features, vectors[:2], vectors, gamma=1.0, lam=1.0)
    >>> scores[:, 2].argsort().tolist()[0]              # the film of none comes last for it
    2
    """
    signed = 2 * _matrix(labels, "labels") - 1
    return ridge.transform(test) @ ridge.solve(signed, gamma) @ eszsl_mix(seen_vectors, all_vectors, lam)


def dap(ridge: Ridge, labels, test, seen_signs, all_signs, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Direct attribute prediction (Lampert, Nickisch & Harmeling, TPAMI 2014), read for several labels per film.

    A training film has a sign if one of its seen findings has it (seen_signs (S, A), 0/1). One ridge per sign,
    z-scored on the training films; a finding's score is the mean over its signs (all_signs (C, A), 0/1).

    Returns
    -------
    scores : array, shape (m, C)
        NaN for a finding without a single sign that a seen finding has.
    skipped : array of int, shape (C,)
        How many of its signs no seen finding has; they are left out of the mean.

    Examples
    --------
    >>> features, labels = np.eye(3), np.eye(3)[:, :2]
    >>> scores, skipped = dap(Ridge(features), labels, features, [[1, 0, 0], [0, 1, 0]], [[1, 0, 1], [0, 0, 1]], 1.0)
    >>> skipped.tolist(), np.isnan(scores).all(axis=0).tolist()  # nobody taught the third sign
    ([1, 1], [False, True])
    """
    seen_signs, all_signs = _matrix(seen_signs, "seen_signs") > 0, _matrix(all_signs, "all_signs") > 0
    taught = seen_signs.any(axis=0)
    has_sign = (_matrix(labels, "labels") @ seen_signs) > 0  # (n, A)
    per_sign = ridge.z_scores(has_sign.astype(float), test, gamma)  # (m, A)
    used = (all_signs & taught).astype(float)
    count = used.sum(axis=1)
    scores = per_sign @ used.T / np.where(count > 0, count, np.nan)
    return scores, (all_signs & ~taught).sum(axis=1)


def cosine(ridge: Ridge, labels, test, seen_vectors, all_vectors, gamma: float) -> np.ndarray:
    """Ridge into the semantic space, then the cosine with each finding's vector: (m, C).

    The target of a film is the mean vector of its seen findings; zero where it has none.

    >>> features, labels = np.eye(3), np.eye(3)[:, :2]
    >>> cosine(Ridge(features), labels, features, np.eye(2), np.eye(2), gamma=1e-6).argmax(axis=1)[:2].tolist()
    [0, 1]
    """
    labels, seen_vectors = _matrix(labels, "labels"), _matrix(seen_vectors, "seen_vectors")
    targets = labels @ seen_vectors / np.maximum(labels.sum(axis=1, keepdims=True), 1)
    return _unit(ridge.predict(targets, test, gamma)) @ _unit(_matrix(all_vectors, "all_vectors")).T


def nearest(ridge: Ridge, labels, test, seen_vectors, all_vectors, gamma: float) -> np.ndarray:
    """Every finding takes the ridge scores of the seen finding whose vector has the largest cosine with its own.

    >>> features, labels = np.eye(3), np.eye(3)[:, :2]
    >>> scores = nearest(Ridge(features), labels, features, np.eye(2), [[1, 0], [0, 1], [0.9, 0.1]], gamma=1.0)
    >>> bool((scores[:, 2] == scores[:, 0]).all())
    True
    """
    similar = _unit(_matrix(all_vectors, "all_vectors")) @ _unit(_matrix(seen_vectors, "seen_vectors")).T  # (C, S)
    return ridge.predict(labels, test, gamma)[:, similar.argmax(axis=1)]


def mean_of_seen(ridge: Ridge, labels, test, n_findings: int, gamma: float) -> np.ndarray:
    """Illness alone: mean of the seen findings' ridge scores, z-scored on training films; C equal columns.

    >>> features, labels = np.eye(3), np.eye(3)[:, :2]  # two ill films and a healthy one
    >>> mean_of_seen(Ridge(features), labels, features, 2, gamma=1.0).argmin(axis=0).tolist()
    [2, 2]
    """
    return np.repeat(ridge.z_scores(labels, test, gamma).mean(axis=1, keepdims=True), n_findings, axis=1)


def normality(ridge: Ridge, labels, test, n_findings: int, gamma: float) -> np.ndarray:
    """Illness alone, asked directly: ridge of any seen finding against none; C equal columns.

    The ridge's films must include some without a finding.

    >>> features, labels = np.eye(3), np.eye(3)[:, :2]
    >>> normality(Ridge(features), labels, features, 1, gamma=1e-9).round(2).tolist()
    [[1.0], [1.0], [0.0]]
    """
    ill = _matrix(labels, "labels").any(axis=1, keepdims=True).astype(float)
    if ill.all() or not ill.any():
        raise ValueError("normality needs training films with and without a finding; keep the films without one")
    return np.repeat(ridge.predict(ill, test, gamma), n_findings, axis=1)


def ceiling(ridge: Ridge, all_labels, test, gamma: float) -> np.ndarray:
    """Supervised: one ridge per finding, trained on the labels (n, C) of *all* findings, the unseen ones included.

    >>> ceiling(Ridge(np.eye(3)), np.eye(3), np.eye(3), gamma=1e-9).argmax(axis=1).tolist()
    [0, 1, 2]
    """
    return ridge.predict(all_labels, test, gamma)


def same_size(n_films: int, n_kept: int, seed: int) -> np.ndarray:
    """Rows of ``n_kept`` films out of ``n_films``, sorted: a ceiling with as many films as the zero-shot model had.

    >>> same_size(10, 3, seed=0).tolist()
    [5, 6, 9]
    """
    if not 0 < n_kept <= n_films:
        raise ValueError(f"n_kept must lie between 1 and {n_films}, got {n_kept}")
    return np.sort(np.random.default_rng(seed).choice(n_films, n_kept, replace=False))


def _matrix(values, what: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"{what} must be a finite matrix with at least one row, got shape {values.shape}")
    return values


def _positive(value: float, what: str) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{what} must be a positive number, got {value}")


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)
