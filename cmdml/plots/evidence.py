"""Figures of the chapter on evidence: they take the tables that ``cmdml.study.tables`` writes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from cmdml.plots.figures import OTHER, SEEN, UNSEEN, readable

OWN = "#6b46c1"  # the study's own method; blue and orange are taken
LABELS = {
    "focused": "CM-DML (focused)", "euclidean": "plain Euclidean", "bce": "cross-entropy", "ale": "ALE",
    "ranking": "CXR-ML-GZSL ranking", "nearest_seen": "nearest seen finding", "random": "random",
    "supervised": "supervised (ceiling)",
    "shuffled": "shuffled texts", "one_hot": "one-hot", "source_only": "source only", "name": "names", "signs": "signs",
    "source_only_informed": "source only, informed", "ranking_with_normals": "ranking, normals kept",
    "focused_without_normals": "CM-DML, no normals", "focused_balanced": "balanced counts",
    "focused_distance": "weights on the distance", "focused_tau": "τ learnt", "tau_half": "τ halved",
    "tau_double": "τ doubled", "focused_centred": "CM-DML, centred per image",
    "signs_visual_to_semantic": "signs, visual to semantic", "ranking_signs": "CXR-ML-GZSL ranking told signs",
    "euclidean_signs": "plain Euclidean told signs", "bce_signs": "cross-entropy told signs",
}  # fmt: skip


def label(method: str) -> str:
    """How a method is called in tables and figures."""
    grid = method.removeprefix("gamma").split("_alpha")
    if len(grid) == 2:
        return f"γ = {grid[0]}, α = {int(grid[1]) / 100:g}"
    return LABELS.get(method, method.replace("_", " "))


def nothing(ax: Axes, text: str = "no results yet") -> Axes:
    """An empty panel that says so."""
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, color=OTHER)
    # hidden, not removed: a neighbour that shares the axis keeps its labels
    ax.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    return ax


def forest(rows: pd.DataFrame, methods: Sequence[str], ax: Axes) -> Axes:
    """Differences with their intervals, first method on top; filled where the interval excludes 0.

    ``rows``: method, difference, low, high. A method without a row keeps its line, and the line stays empty.
    """
    if rows.empty:
        return nothing(ax)
    rows = rows.set_index("method").reindex(methods)
    y = np.arange(len(rows))[::-1]
    clear = (rows.low > 0) | (rows.high < 0)
    tones = np.where(rows.index == "focused", OWN, "black")
    ax.hlines(y, rows.low, rows.high, color=tones, lw=1.4)
    ax.scatter(rows.difference, y, s=30, edgecolors=tones, facecolors=np.where(clear, tones, "white"), zorder=3)
    ax.axvline(0, color="black", lw=0.8, ls=":")
    ax.set_yticks(y, [label(m) for m in methods])
    ax.set_ylim(-0.7, len(rows) - 0.3)
    ax.locator_params(axis="x", nbins=5)
    ax.grid(axis="x", lw=0.4, alpha=0.6)
    return ax


def seen_unseen(rows: pd.DataFrame, methods: Sequence[str], ax: Axes) -> Axes:
    """S (blue) and U (orange) of some methods, first on top; ``rows``: method, metric, value, low, high."""
    methods = [m for m in methods if m in set(rows.method)]
    if not methods:
        return nothing(ax)
    for metric, colour, shift, name in (("auroc_S", SEEN, 0.12, "seen"), ("auroc_U", UNSEEN, -0.12, "unseen")):
        part = rows[rows.metric == metric].set_index("method").reindex(methods)
        y = np.arange(len(methods))[::-1] + shift
        ax.hlines(y, part.low, part.high, color=colour, lw=1.6)
        ax.scatter(part.value, y, s=30, color=colour, zorder=3, label=name)
    ax.axvline(0.5, color="black", lw=0.8, ls=":")
    ax.set_yticks(np.arange(len(methods))[::-1], [label(m) for m in methods])
    ax.set(ylim=(-0.6, len(methods) - 0.4), xlabel="AUROC")
    ax.grid(axis="x", lw=0.4, alpha=0.6)
    return ax


def reliability_diagram(table: pd.DataFrame, ax: Axes, *, colour: str) -> Axes:
    """Observed against predicted, from `cmdml.evaluation.calibration.reliability`; the diagonal is perfect."""
    ax.plot([0, 1], [0, 1], color="black", lw=0.8, ls=":")
    # with one positive or none, rounding may put the end of a Wilson interval beyond the share itself
    error = np.abs(table[["low", "high"]].to_numpy().T - table["observed"].to_numpy())
    ax.errorbar(table["predicted"], table["observed"], error, color=colour, marker="o", ms=4, lw=1.2)
    ax.set(xlabel="closeness $e^{-d^2/τ}$", ylabel="share of positives", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    return ax


def loss_grid(points: pd.DataFrame, ax: Axes) -> Axes:
    """A value for each γ and α, the numbers in the cells; ``points``: gamma, alpha, value."""
    if points.empty:
        return nothing(ax, "no grid was run")
    table = points.pivot_table("value", "gamma", "alpha")
    look = {"cmap": "Blues", "cbar": False, "linewidths": 0.5, "annot_kws": {"size": 9}}
    readable(sns.heatmap(table, annot=True, fmt=".3f", ax=ax, **look))
    ax.set(xlabel="α (weight of positives)", ylabel="γ (focusing)")
    ax.set_yticklabels([f"{value:g}" for value in table.index], rotation=0)
    ax.tick_params(length=0)
    return ax


def tradeoff(curves: pd.DataFrame, methods: Sequence[str], ax: Axes) -> Axes:
    """Unseen against seen accuracy as a constant is taken from every seen score; ``curves``: method, seen, unseen."""
    methods = [m for m in methods if m in set(curves.method)]
    if not methods:
        return nothing(ax)
    shades = [OWN, "black", "#2f855a", "#b7791f", "#97266d", OTHER]
    for i, method in enumerate(methods):
        part = curves[(curves.method == method) & (curves.unseen > 0)]
        ax.plot(part.seen, part.unseen, color=shades[i % 6], ls=("-", "--", "-.", ":")[i % 4], label=label(method))
    ax.set(xlabel="seen accuracy", ylabel="unseen accuracy", xlim=(0, None), ylim=(0, None))
    return ax
