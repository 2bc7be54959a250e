"""Is it the signs? The closed form told the signs of other findings: what chance assignments reach.

Vectors enter ESZSL through their similarities alone (``cmdml.closed_form.eszsl_mix``), so that a permutation costs
milliseconds. Each permutation chooses its settings anew, by the same rule and on the same films as the real signs.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.stats import rankdata

from cmdml.closed_form import Ridge
from cmdml.evaluation.anatomy import permutation_p
from cmdml.evaluation.strata import protocol_rows
from cmdml.findings import findings_of
from cmdml.study.design import pseudo_unseen

KINDS = ("free", "opacities")


def orders(keys, n: int, kind: str, seed: int) -> np.ndarray:
    """(1 + n, C) the real order and n permutations of the findings; ``opacities`` moves those among themselves."""
    moved = np.arange(len(keys))
    if kind == "opacities":
        moved = np.array([c for c, finding in enumerate(findings_of(keys)) if "opacity" in finding.signs])
    rng, out = np.random.default_rng(seed), np.tile(np.arange(len(keys)), (1 + n, 1))
    for row in out[1:]:
        row[moved] = moved[rng.permutation(len(moved))]
    return out


def pooled_auroc(positive, scores) -> tuple[np.ndarray, int]:
    """AUROC of each column of ``scores`` (N, M) times the number of pairs, and that number; ties count half."""
    positive = np.asarray(positive, bool)
    pairs = int(positive.sum() * (~positive).sum())
    if not pairs:
        return np.zeros(scores.shape[1]), 0
    above = rankdata(scores, axis=0)[positive].sum(0) - positive.sum() * (positive.sum() + 1) / 2
    return above, pairs


def _bases(films, cell, rows, ridges) -> dict[float, np.ndarray]:
    """{γ: (M, S)} ridge scores of the cell's seen findings, for the films ``rows``."""
    ridge = Ridge(films.pixels[cell.train].astype(float))
    signed = 2.0 * films.labels[cell.train][:, cell.findings.seen_index] - 1
    asked = ridge.transform(films.pixels[rows].astype(float))
    return {gamma: asked @ ridge.solve(signed, gamma) for gamma in ridges}


def _asked(base, similarity, order, seen, lam, asked) -> np.ndarray:
    """(K, M, permutations) scores of the K findings ``asked``: `eszsl_mix` for all permutations at once."""
    at = order[:, seen]  # (n, S)
    inner = similarity[at[:, :, None], at[:, None, :]] + lam * np.eye(len(seen))  # (n, S, S)
    mix = np.linalg.solve(inner, similarity[at[:, :, None], order[:, None, asked]])  # (n, S, K)
    return np.einsum("ms,nsk->kmn", base, mix, optimize=True)


def permuted(rotation, kind: str, n: int) -> np.ndarray:
    """(1 + n,) mean U under ``abnormal`` of ESZSL: told the real signs, then told n permutations of them."""
    films, plan, sets = rotation.films, rotation.profile["rotation"], rotation.sets  # labels; what is seen: below
    vectors = rotation.vectors("signs_text").numpy().astype(float)
    similarity, order = vectors @ vectors.T, orders(films.findings, n, kind, rotation.design)
    settings = list(itertools.product(plan["closed"]["ridge"], plan["closed"]["semantic_ridge"]))
    abnormal, means = protocol_rows(films.labels, "abnormal"), []
    for quadruple, unseen in enumerate(sets):
        reached = np.zeros((len(settings), len(order)))
        cell, shown = rotation.cell(quadruple, 0), rotation.features(quadruple)
        val = cell.val[films.labels[cell.val][:, cell.findings.seen_index].any(1)]
        draws = pseudo_unseen(cell.findings.seen_index, 1000 * rotation.design + quadruple, **plan["pseudo"])
        for pseudo in draws:
            inner = rotation.without(cell, pseudo)
            base, seen = _bases(shown, inner, val, plan["closed"]["ridge"]), inner.findings.seen_index
            for i, (ridge, lam) in enumerate(settings):
                asked = _asked(base[ridge], similarity, order, seen, lam, list(pseudo))
                for c, columns in zip(pseudo, asked, strict=True):
                    above, pairs = pooled_auroc(films.labels[val, c], columns)
                    reached[i] += above / max(pairs, 1)
        best = reached.argmax(0)  # (1 + n,) each permutation's own choice
        above, pairs = np.zeros((len(unseen), len(order))), np.zeros(len(unseen))
        for at in range(plan["folds"]):
            cell = rotation.cell(quadruple, at)
            rows = cell.test[abnormal[cell.test]]
            base, seen = _bases(shown, cell, rows, plan["closed"]["ridge"]), cell.findings.seen_index
            for i, (ridge, lam) in enumerate(settings):
                mine = np.flatnonzero(best == i)
                if len(mine):
                    asked = _asked(base[ridge], similarity, order[mine], seen, lam, list(unseen))
                    for k, (c, columns) in enumerate(zip(unseen, asked, strict=True)):
                        some, n_pairs = pooled_auroc(films.labels[rows, c], columns)
                        above[k, mine] += some
                        pairs[k] += n_pairs * (i == best[0])
        means.append((above / pairs[:, None]).mean(0))
    return np.mean(means, axis=0)


def jobs(rotations: dict, plan: dict) -> list[tuple]:
    """What :func:`row` is to be asked, for each design and each kind."""
    return [(rotation, kind, plan["permutations"]) for rotation in rotations.values() for kind in KINDS]


def row(job: tuple) -> dict:
    """For one design and kind: the real U, the permutations' mean, spread and largest, and p."""
    rotation, kind, n = job
    values = permuted(rotation, kind, n)
    return {"method": "eszsl", "design": rotation.design, "kind": kind, "real": values[0], "mean": values[1:].mean(),
            "sd": values[1:].std(ddof=1), "largest": values[1:].max(), "permutations": n,
            "p": permutation_p(values[0], values[1:])}  # fmt: skip
