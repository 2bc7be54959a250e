"""The design of a rotation: which findings are unseen together, and which patients are tested together.

Both are drawn from seeds that stand in the profile, before any score exists.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import StratifiedKFold

TRIES = 200_000  # a design with neighbours both seen and unseen turns up once in a few thousand draws


def nearest_neighbours(similarity: np.ndarray) -> np.ndarray:
    """(C,) column of each finding's nearest other finding in a (C, C) similarity; the first of equals."""
    similarity = np.array(similarity, dtype=np.float64)
    np.fill_diagonal(similarity, -np.inf)
    return similarity.argmax(1)


def quadruples(similarity: np.ndarray, seed: int, *, size: int = 4) -> list[tuple[int, ...]]:
    """A design: C sets of ``size`` unseen findings, every finding in ``size`` of them.

    Each finding is unseen at least once together with its nearest neighbour and at least once without it, so that the
    same finding can be compared with its neighbour seen and unseen. Drawn by rejection.

    Parameters
    ----------
    similarity : (C, C) of the findings, symmetric; only the order of its off-diagonal entries counts.
    seed : of the draw.
    size : unseen findings a set.

    Returns
    -------
    list of C tuples of rising columns, all different, in sorted order.

    Raises
    ------
    ValueError
        No design was found.
    """
    count, rng = len(similarity), np.random.default_rng(seed)
    if not 0 < size < count:
        raise ValueError(f"a design of {count} findings needs 1 to {count - 1} unseen at a time, got {size}")
    near = nearest_neighbours(similarity)
    for _ in range(TRIES):
        drawn = np.concatenate([rng.permutation(count) for _ in range(size)]).reshape(count, size)
        sets = {tuple(sorted(map(int, row))) for row in drawn}
        if len(sets) < count or any(len(set(row)) < size for row in sets):
            continue
        unseen = np.zeros((count, count), bool)  # (set, finding)
        for row, chosen in zip(unseen, sets, strict=True):
            row[list(chosen)] = True
        together = (unseen & unseen[:, near]).sum(0)
        if ((together > 0) & (together < size)).all():
            return sorted(sets)
    raise ValueError(f"no design of {count} findings was found in {TRIES:,} draws of seed {seed}: use another seed")


def patient_folds(patients: Sequence, labels: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """(N,) fold of each film, 0 … n_folds - 1: patients stay whole, stratified by each patient's rarest finding.

    A patient without any finding forms a stratum with all others like them.
    """
    labels, names = np.asarray(labels) != 0, np.asarray(patients)
    _, first, of = np.unique(names, return_index=True, return_inverse=True)
    shows = np.zeros((len(first), labels.shape[1]), bool)
    np.logical_or.at(shows, of, labels)  # (P, C) what any film of a patient shows
    rarity = np.argsort(labels.sum(0), kind="stable")  # rarest first
    rank = np.where(shows.any(1), shows[:, rarity].argmax(1), labels.shape[1])
    folds = np.empty(len(first), int)
    split = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    for fold, (_, held) in enumerate(split.split(np.zeros(len(first)), rank)):
        folds[held] = fold
    return folds[of]


def pseudo_unseen(seen: Sequence[int], seed: int, *, draws: int, unseen: int) -> list[tuple[int, ...]]:
    """``draws`` sets of ``unseen`` seen findings, which play unseen when settings are chosen; disjoint if they fit."""
    order = np.random.default_rng(seed).permutation(np.asarray(seen))
    rows = [np.take(order, range(i * unseen, (i + 1) * unseen), mode="wrap") for i in range(draws)]
    return [tuple(sorted(map(int, row))) for row in rows]
