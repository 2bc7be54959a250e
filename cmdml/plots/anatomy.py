"""Figures of the rotation: what a zero-shot score is made of. They take the tables of ``cmdml.study.anatomy``."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmdml.plots.evidence import OWN, nothing
from cmdml.plots.figures import OTHER, SEEN, WIDTH, words

# method: name, marker, colour, filled. Illness first, the ceiling last, the study's own in between.
PARTS = {
    "view": ("view, told all labels", "|", OTHER, True),
    "source": ("source, told all labels", "x", OTHER, True),
    "mean_of_seen": ("illness alone", "o", "black", False),
    "eszsl": ("closed form, told signs", "D", OWN, False),
    "focused": ("CM-DML, told signs", "o", OWN, True),
    "ceiling": ("ceiling, shown labels", "s", SEEN, True),
}
INTERVALS = ("mean_of_seen", "focused", "ceiling")


def anatomy(table: pd.DataFrame, mean: pd.DataFrame, ax: Axes, *, order: Sequence[str] | None = None,
            named: bool = True) -> list[str]:  # fmt: skip
    """AUROC of every unseen finding by what the scorer knew, the mean on top; returns the findings' order.

    Parameters
    ----------
    table : ``findings`` of one protocol and stratum: method, finding, value, low, high, positives.
    mean : ``methods`` of the same, metric U: method, value, low, high.
    order : findings from top to bottom; by default the one that gains most over illness alone comes first.
    named : write the findings beside the axis, each with its number of films.
    """
    if table.empty or mean.empty:
        nothing(ax)
        return list(order or ())
    values = table.pivot(index="finding", columns="method", values="value")
    if order is None:
        order = list((values["focused"] - values["mean_of_seen"]).sort_values(ascending=False).index)
    lines = np.arange(len(order))[::-1]
    for method, (name, marker, colour, filled) in PARTS.items():
        rows = table[table.method == method].set_index("finding").reindex(order)
        top = mean[mean.method == method].iloc[0]
        x, y = np.append(rows.value, top.value), np.append(lines, len(order) + 0.6)
        if method in INTERVALS:
            shift = {"mean_of_seen": -0.17, "focused": 0.0, "ceiling": 0.17}[method]
            low, high = np.append(rows.low, top.low), np.append(rows.high, top.high)
            ax.hlines(y + shift, low, high, color=colour, lw=1.0, alpha=0.7)
            y = y + shift
        face = colour if filled else "white"
        look = {"c": colour} if marker in "|x" else {"facecolors": face, "edgecolors": colour}
        ax.scatter(x, y, marker=marker, s=26, label=name, zorder=3, linewidths=1.0, **look)
    ax.axvline(0.5, color="black", lw=0.8, ls=":")
    ax.axhline(len(order) - 0.2, color=OTHER, lw=0.6)
    if named:  # else another panel of the same axis has named its findings, and counted its own films
        counts = table.groupby("finding").positives.first()
        ax.set_yticks([*lines, len(order) + 0.6], [*(f"{words(f)} ({counts[f]})" for f in order), "mean of all"])
        for label in ax.get_yticklabels()[-1:]:
            label.set_weight("bold")
    ax.set(ylim=(-0.6, len(order) + 1.3), xlabel="AUROC")
    ax.grid(axis="x", lw=0.4, alpha=0.6)
    return list(order)


def both(findings: pd.DataFrame, methods: pd.DataFrame, protocol: str = "abnormal") -> Figure:
    """Every finding among all pairs of films, and among pairs of one source and one view: :func:`anatomy` twice.

    ``findings``, ``methods``: the tables of a rotation. The findings stand in one order, that of the left panel.
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 6.2), sharey=True, sharex=True)
    order = None
    for ax, stratum, title in zip(axes, ("none", "source_view"), ("all pairs", "within source × view")):
        found = findings[(findings.protocol == protocol) & (findings.stratum == stratum)]
        mean = methods[(methods.protocol == protocol) & (methods.stratum == stratum) & (methods.metric == "U")]
        order = anatomy(found, mean, ax, order=order, named=order is None)
        ax.set_title(title, fontsize=10.5)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=8.5)
    return fig


def gain_by_coverage(coverage: pd.DataFrame, ax: Axes) -> Axes:
    """Gain over illness alone against the share of a finding's signs that seen findings taught; filled: neighbour seen.

    ``coverage``: a row per design, quadruple and unseen finding, with coverage, gain, neighbour_seen.
    """
    if coverage.empty:
        return nothing(ax)
    groups = coverage.groupby(["finding", "neighbour_seen"])[["coverage", "gain"]].mean().reset_index()
    for seen, face, name in ((True, OWN, "nearest neighbour seen"), (False, "white", "nearest neighbour unseen, too")):
        part = groups[groups.neighbour_seen == seen]
        ax.scatter(part.coverage, part.gain, s=30, facecolors=face, edgecolors=OWN, label=name, zorder=3)
    ax.axhline(0, color="black", lw=0.8, ls=":")
    ax.set(xlabel="share of the finding's signs that a seen finding has", ylabel="gain over illness alone, AUROC")
    ax.legend(fontsize=8.5)
    return ax


def permutation(table: pd.DataFrame, ax: Axes) -> Axes:
    """Real signs (dot) against permuted ones (mean, two standard deviations, largest), a line per design and kind."""
    if table.empty:
        return nothing(ax)
    rows = table.sort_values(["kind", "design"], ascending=[False, False]).reset_index(drop=True)
    y = np.arange(len(rows))
    ax.hlines(y, rows["mean"] - 2 * rows["sd"], rows["mean"] + 2 * rows["sd"], color=OTHER, lw=2)
    ax.scatter(rows["largest"], y, marker="|", s=60, color=OTHER, label="largest of the permutations")
    ax.scatter(rows["real"], y, s=30, color=OWN, zorder=3, label="the findings' own signs")
    names = {"free": "all findings", "opacities": "opacities only"}
    ax.set_yticks(y, [f"{names[row.kind]}, design {row.design}" for row in rows.itertuples()])
    ax.set(xlabel="U of the closed form, abnormal", ylim=(-0.7, len(rows) - 0.3))
    ax.legend(fontsize=8.5, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return ax
