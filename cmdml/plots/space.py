"""Figures of the chapter on the joint space: projections side by side, nearest radiographs, hubs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from cmdml.findings import SeenUnseen
from cmdml.plots import figures
from cmdml.plots.evidence import nothing
from cmdml.plots.figures import SEEN, UNSEEN, WIDTH, words

PALE = "#c3cad3"
KINDS = (("no finding", PALE), ("seen findings only", SEEN), ("an unseen finding", UNSEEN))


def projections(visual, semantic, *, perplexity=30.0, neighbours=15, seed=0) -> dict[str, np.ndarray]:
    """Radiographs (M, D) and anchors (C, D) flattened in three ways: {title: (M + C, 2)}.

    PCA is fitted to the radiographs and carries the anchors along. t-SNE and UMAP arrange the radiographs alone; an
    anchor is put on the most central of the ``neighbours`` radiographs nearest to it, as a few anchors among many
    radiographs would end in a corner of their own.
    """
    visual, semantic = np.asarray(visual), np.asarray(semantic)
    near = np.argsort(((visual[:, None] - semantic[None]) ** 2).sum(-1), axis=0)[:neighbours]  # (k, C)
    pca = PCA(2, random_state=seed).fit(visual)
    found = {"PCA": np.concatenate([pca.transform(visual), pca.transform(semantic)])}
    perplexity = min(perplexity, (len(visual) - 1) / 3)
    flat = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(visual)
    found["t-SNE"] = np.concatenate([flat, amid(flat, near)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fixed seed means one thread, which is what we want
        from umap import UMAP

        flat = UMAP(n_neighbors=min(neighbours, len(visual) - 1), random_state=seed).fit_transform(visual)
    found["UMAP"] = np.concatenate([flat, amid(flat, near)])
    return found


def amid(dots: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Of the radiographs ``near`` (k, C) to each anchor, the place (C, 2) of the most central one among ``dots``."""
    around = dots[near]  # (k, C, 2)
    spread = np.linalg.norm(around[:, None] - around[None], axis=-1).sum(1)  # (k, C)
    return around[spread.argmin(0), np.arange(near.shape[1])]


def kinds(labels, findings: SeenUnseen) -> np.ndarray:
    """(M,) 0 without a finding, 1 with seen ones only, 2 with an unseen one."""
    labels = np.asarray(labels)
    return np.where(labels[:, findings.unseen_index].any(1), 2, labels.any(1).astype(int))


def three_projections(flat: dict[str, np.ndarray], kind: np.ndarray, findings: SeenUnseen) -> Figure:
    """Every projection as one small panel: dots by what the radiograph carries, anchors as stars.

    ``flat`` as :func:`projections` returns it; ``kind`` (M,) as :func:`kinds` does.
    """
    fig, axes = plt.subplots(1, len(flat), figsize=(WIDTH, 3.0), squeeze=False)
    order = np.argsort(kind, kind="stable")  # rare colours on top
    tones = np.array([tone for _, tone in KINDS])[kind]
    for ax, (title, points) in zip(axes[0], flat.items(), strict=True):
        dots, anchors = points[: len(kind)], points[len(kind) :]
        ax.scatter(*dots[order].T, c=tones[order], s=6, alpha=0.6, lw=0, rasterized=True)
        ax.scatter(*anchors.T, marker="*", s=110, c=figures.colours(findings), edgecolors="black", lw=0.7, zorder=4)
        ax.set(title=title, xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for text, tone in KINDS:
        axes[0, 0].scatter([], [], color=tone, s=30, label=text)
    axes[0, 0].scatter([], [], marker="*", color="white", edgecolors="black", s=110, label="anchor of a finding")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9,
               columnspacing=1, handletextpad=0.2)  # fmt: skip
    return fig


def separation(visual, kind) -> float:
    """AUROC of *has a finding* along the first principal axis of the radiographs (either direction): 0.5 to 1."""
    from cmdml.evaluation.texts import auroc

    axis = PCA(1).fit_transform(np.asarray(visual))
    value = float(auroc((np.asarray(kind) > 0)[:, None], axis)[0, 0])
    return max(value, 1 - value)


def company(visual, kind, neighbours: int = 15) -> float:
    """Of the ill neighbours of films with an unseen finding, the share that has one, too; NaN without such films.

    ``kind`` (M,) as :func:`kinds` returns it; films without a finding are no neighbours.
    """
    ill = np.flatnonzero(np.asarray(kind) > 0)
    points, has = np.asarray(visual)[ill], np.asarray(kind)[ill] == 2
    apart = cdist(points[has], points)
    apart[np.arange(has.sum()), np.flatnonzero(has)] = np.inf  # itself
    near = np.argsort(apart, axis=1, kind="stable")[:, : min(neighbours, len(ill) - 1)]
    return float(has[near].mean()) if near.size else float("nan")


def nearest(distance, labels, pixels, findings: SeenUnseen, keys: Sequence[str], *, columns=6, title="") -> Figure:
    """The radiographs nearest to the anchors of some findings, nearest first, a row a finding.

    ``distance`` and ``labels`` (N, C), ``pixels`` (N, H, W). An orange tick: it has the finding; in grey: what it has.
    """
    lines = []
    for key in keys:
        column, cells = findings.keys.index(key), []
        for i in np.argsort(distance[:, column], kind="stable")[:columns]:
            own = [words(findings.keys[c]) for c in np.flatnonzero(labels[i])]
            right = labels[i, column] == 1
            others = f" +{len(own) - 1}" if len(own) > 1 else ""
            text = "✓" if right else f"{own[0]}{others}" if own else "no finding"
            cells.append((pixels[i], text, UNSEEN if right else "#5a6573"))
        lines.append((words(key), cells))
    return figures.radiograph_grid(lines, title, columns=columns)


def hits(distances: dict[str, np.ndarray], labels, findings: SeenUnseen, keys: Sequence[str], k=20) -> pd.DataFrame:
    """Share of the k radiographs nearest to an anchor that have its finding, a column a training, and by chance."""
    rows = {}
    for key in keys:
        column = findings.keys.index(key)
        shares = {name: labels[np.argsort(d[:, column], kind="stable")[:k], column].mean()
                  for name, d in distances.items()}  # fmt: skip
        rows[words(key)] = {n: f"{v:.0%}" for n, v in (shares | {"by chance": labels[:, column].mean()}).items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(f"of the {k} nearest films, right")


def hubs(table: pd.DataFrame, findings: SeenUnseen, total: int, ax: Axes) -> Axes:
    """How often each anchor is among the three nearest (bar) and how often its finding occurs (stroke), of ``total``.

    ``table``: finding, among_3_nearest, positives.
    """
    table = table.sort_values("among_3_nearest", ignore_index=True)
    tones = figures.colours(findings, table.finding)
    ax.barh(table.finding.map(words), table.among_3_nearest, color=tones, alpha=0.8)
    ax.plot(table.positives, range(len(table)), "|", ms=13, mew=2.5, color="black", label="films that have the finding")
    ax.set(xlabel=f"test radiographs, of {total:,}")
    figures.colour_ticks(ax.get_yticklabels(), table.finding, findings)
    ax.legend(loc="lower right")
    return ax


def mean_hits(distance, labels, findings: SeenUnseen, keys: Sequence[str], k=20) -> float:
    """The mean of :func:`hits` over findings, of one training."""
    columns = [findings.keys.index(key) for key in keys]
    near = np.argsort(distance[:, columns], axis=0, kind="stable")[:k]  # (k, K)
    return float(np.take_along_axis(labels[:, columns], near, axis=0).mean())


def no_second_training() -> Figure:
    """A figure that says that there is nothing to compare with."""
    fig, ax = plt.subplots(figsize=(WIDTH, 0.8))
    nothing(ax, "this run has no second training to compare with")
    return fig
