"""The figures of the study: functions that take data and an ``Axes``, draw, and return it (or the ``Figure``).

Blue is *seen*, orange is *unseen*, grey is everything else, in every figure. The pair is safe for the common forms of
colour blindness and differs in lightness, so it survives a black-and-white print.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from seaborn.utils import relative_luminance

from cmdml.findings import SeenUnseen
from cmdml.loss import WeightedFocusedEuclideanLoss

SEEN, UNSEEN, OTHER = "#2b6cb0", "#dd6b20", "#8a94a3"
WIDTH = 7.2  # inches; about the text column of the book, so 10 pt in a figure is 10 pt on the page
ALIKE = 0.179  # the relative luminance against which black and white have the same contrast, 4.6 : 1
_LINES = ("-", "--", "-.", ":")


def style() -> None:
    """Set the look of every figure of the study; call it once, in a notebook's first code cell."""
    sns.set_theme(style="ticks", context="notebook")
    plt.rcParams.update({
        "figure.dpi": 150, "savefig.dpi": 150, "figure.figsize": (WIDTH, 3.6), "figure.constrained_layout.use": True,
        "font.size": 10.5, "axes.titlesize": 11.5, "axes.labelsize": 10.5, "legend.fontsize": 9.5,
        "xtick.labelsize": 9.5, "ytick.labelsize": 9.5, "axes.titlelocation": "left", "legend.frameon": False,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False, "lines.linewidth": 1.8,
    })  # fmt: skip


def words(key: str) -> str:
    """``Pleural_Thickening`` as a reader expects it: ``Pleural thickening``."""
    return key.replace("_", " ").capitalize()


def colours(findings: SeenUnseen, keys: Sequence[str] | None = None) -> list[str]:
    """One colour per finding key: blue where it is seen, orange where it is not."""
    return [UNSEEN if key in findings.unseen else SEEN for key in (findings.keys if keys is None else keys)]


def colour_ticks(labels, keys: Sequence[str], findings: SeenUnseen) -> None:
    """Give the tick labels of these keys the colours of seen and unseen."""
    for text, colour in zip(labels, colours(findings, keys), strict=False):  # inner panels hide theirs
        text.set_color(colour)


def radiograph(ax: Axes, pixels: np.ndarray, title: str = "", *, colour: str = "black") -> Axes:
    """One radiograph, (H, W) uint8, on its full grey scale; a coloured title says what it is."""
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
    ax.set_title(title, color=colour, fontsize=9, pad=3, loc="center")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def radiograph_grid(rows: Sequence[tuple[str, list]], title: str = "", *, columns: int = 6) -> Figure:
    """Rows of radiographs: ``[(row name, [(pixels, title, colour), ...]), ...]``."""
    fig, axes = plt.subplots(len(rows), columns, figsize=(WIDTH, (WIDTH / columns + 0.2) * len(rows) + 0.3))
    for line, (name, cells) in zip(np.reshape(axes, (len(rows), columns)), rows, strict=True):
        for ax, (pixels, text, colour) in zip(line, cells, strict=False):
            radiograph(ax, pixels, text, colour=colour)
        for ax in line[len(cells) :]:
            ax.axis("off")
        line[0].set_ylabel(name, fontsize=10)
    fig.suptitle(title, fontsize=11.5)
    return fig


def finding_counts(labels: np.ndarray, findings: SeenUnseen, ax: Axes) -> Axes:
    """How many of the (N, C) labels are positive per finding, on a log axis, most frequent on top, with the number."""
    counts = np.asarray(labels).sum(0)
    order = np.argsort(counts, kind="stable")
    keys = [findings.keys[i] for i in order]
    ax.barh([words(k) for k in keys], counts[order], color=colours(findings, keys))
    for y, n in enumerate(counts[order]):
        ax.annotate(f"{n:,}", (max(n, 1), y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=9)
    ax.set(xscale="log", xlabel="radiographs (log scale)", xlim=(1, max(counts.max(), 10) * 1.8))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    colour_ticks(ax.get_yticklabels(), keys, findings)
    ax.plot([], [], "s", color=SEEN, label="seen")
    ax.plot([], [], "s", color=UNSEEN, label="unseen")
    ax.legend(loc="lower right")
    return ax


def heatmap(matrix: np.ndarray, findings: SeenUnseen, ax: Axes, *, numbers: bool = True, **options) -> Axes:
    """A (C, C) matrix over the findings, its numbers in the cells, tick labels in the colours of seen and unseen."""
    names = [words(key) for key in findings.keys]
    look = {"cmap": "Blues", "fmt": ".2f", "square": True, "linewidths": 0.5, "cbar": False, "annot_kws": {"size": 8.5}}
    readable(sns.heatmap(matrix, annot=numbers, xticklabels=names, yticklabels=names, ax=ax, **(look | options)))
    for ticks in (ax.get_xticklabels(), ax.get_yticklabels()):
        colour_ticks(ticks, findings.keys, findings)
    ax.tick_params(length=0)
    return ax


def readable(ax: Axes) -> Axes:
    """Each number of a heat map in black or white, whichever has more contrast with its cell (WCAG's measure)."""
    if ax.texts:
        cells = ax.collections[0]
        shown = ~np.ma.getmaskarray(cells.get_array()).ravel()  # seaborn writes no number where there is none
        for text, colour in zip(ax.texts, cells.get_facecolors()[shown], strict=True):
            text.set_color("black" if relative_luminance(colour) > ALIKE else "white")
    return ax


def counts_bar(values: np.ndarray, ax: Axes, *, xlabel: str, ylabel: str, most: int = 8) -> Axes:
    """How often each small whole number occurs; everything from ``most`` on shares the last bar."""
    n = np.bincount(np.minimum(np.asarray(values, int), most), minlength=1)
    shown = range(int(np.flatnonzero(n)[0]) if n.any() else 0, len(n))
    bars = ax.bar([f"{i}" if i < most else f"{most}+" for i in shown], n[shown], color=OTHER)
    ax.bar_label(bars, [f"{n[i]:,}" for i in shown], fontsize=9, padding=2)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.margins(y=0.12)
    return ax


def loss_figure(gammas: Sequence[float] = (0, 1, 2, 4), *, alpha: float = 0.75, tau: float = 1.0) -> Figure:
    """The loss of one pair against its distance d ∈ [0, 2], positive pairs left, negative right, a line per γ."""
    distance = torch.linspace(0.02, 2, 120)
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    shades = sns.color_palette("viridis", len(gammas) + 1)
    for ax, term, sign in zip(axes, ("positive", "negative"), (1.0, 0.0), strict=True):
        for gamma, shade, line in zip(gammas, shades, _LINES * 3, strict=False):
            loss = WeightedFocusedEuclideanLoss(gamma, alpha, tau)
            cost = [float(loss(torch.zeros(1, 1), d.view(1, 1), torch.full((1, 1), sign))[term]) for d in distance]
            ax.plot(distance, cost, color=shade, ls=line, label=f"γ = {gamma:g}")
        highest = 4.1 * alpha / tau if sign else 3.6 * (1 - alpha)  # a negative pair's loss has no upper end
        ax.set(title=f"{term} pair", xlabel="distance d", ylim=(0, highest or 1), xlim=(0, 2))
    axes[0].set_ylabel(f"loss of the pair (α = {alpha:g}, τ = {tau:g})")
    axes[0].legend(loc="upper left")
    return fig


def history(table: pd.DataFrame) -> Figure:
    """A training's history: the terms of the loss, and the seen validation AUROC with its best epoch."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    terms = [c for c in table.columns if c.startswith("loss_") and table[c].notna().any()]
    left.plot(table.epoch, table.loss, color="black", label="total")
    for term, colour, line in zip(terms, (SEEN, OTHER, "#6b46c1", "#2f855a"), _LINES[1:] + _LINES, strict=False):
        left.plot(table.epoch, table[term], color=colour, ls=line, label=words(term.removeprefix("loss_")).lower())
    left.set(title="training loss", xlabel="epoch", ylim=(0, None))
    left.legend()
    right.plot(table.epoch, table.val_seen_auroc, color=SEEN, marker="o", ms=3)
    best = table.loc[table.val_seen_auroc.idxmax()]
    label = f"kept: epoch {best.epoch:.0f}, {best.val_seen_auroc:.3f}"
    right.plot(best.epoch, best.val_seen_auroc, "o", ms=9, mfc="none", color="black", label=label)
    right.legend(loc="lower right")
    for ax in (left, right):
        ax.xaxis.get_major_locator().set_params(integer=True)
    right.set(title="validation AUROC, seen findings", xlabel="epoch")
    return fig


def per_finding(table: pd.DataFrame, findings: SeenUnseen, ax: Axes, *, metric: str = "auroc") -> Axes:
    """Dot and interval per finding: filled for protocol ``abnormal``, hollow for ``all``; seen above, unseen below.

    ``table`` is ``Evaluation.per_finding``. A finding without a value keeps its line, and the line stays empty.
    """
    main = table[table.protocol == "abnormal"].sort_values(["seen", metric], na_position="first")
    tones = colours(findings, main.finding)
    for protocol, shift, filled in (("abnormal", 0.14, True), ("all", -0.18, False)):
        rows, y = table[table.protocol == protocol].set_index("finding").loc[main.finding], np.arange(len(main)) + shift
        ax.hlines(y, rows[f"{metric}_low"], rows[f"{metric}_high"], color=tones, lw=2 if filled else 1)
        ax.scatter(rows[metric], y, s=34, edgecolors=tones, facecolors=tones if filled else "white", zorder=3)
        ax.plot([], [], "o", color="black", mfc="black" if filled else "white", label=protocol)
    ax.set_yticks(range(len(main)), [f"{words(r.finding)} ({r.positives:,})" for r in main.itertuples()])
    colour_ticks(ax.get_yticklabels(), main.finding, findings)
    if metric == "auroc":
        ax.axvline(0.5, color="black", lw=0.8, ls=":")
        ax.annotate("chance", (0.5, len(main) - 0.4), xytext=(3, 0), textcoords="offset points", fontsize=9)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    ax.set(xlabel=f"{metric.upper()} with 95 % interval", ylim=(-0.6, len(main)))
    ax.grid(axis="x", lw=0.4, alpha=0.6)
    return ax


def protocol_scores(positive: np.ndarray, abnormal: np.ndarray, normal: np.ndarray, ax: Axes, *, colour: str) -> Axes:
    """The scores of three groups as boxes (quartiles; whiskers at 5 and 95 %), the group with the finding on top."""
    look = {"patch_artist": True, "showfliers": False, "widths": 0.62, "medianprops": {"color": "black"}}
    boxes = ax.boxplot([normal, abnormal, positive], orientation="horizontal", whis=(5, 95), manage_ticks=False, **look)
    for box, shade in zip(boxes["boxes"], ("#e2e6eb", OTHER, colour), strict=True):
        box.set(facecolor=shade, edgecolor="black", lw=0.8)
    ax.set_yticks([1, 2, 3], ["no finding at all", "other findings only", "has the finding"])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return ax


def ranking(ax: Axes, scores: np.ndarray, truth: np.ndarray, findings: SeenUnseen, *, k: int = 5) -> Axes:
    """The k findings that score highest for one radiograph, (C,) scores and labels; a tick marks the true ones."""
    top = np.argsort(-scores, kind="stable")[:k]
    lengths = (scores[top] - scores.min()) / max(float(np.ptp(scores)), 1e-12)
    keys = [findings.keys[i] for i in top]
    ax.barh(range(len(top)), lengths, color=colours(findings, keys), alpha=0.35)
    for y, (i, key) in enumerate(zip(top, keys, strict=True)):
        text, weight = (f"{words(key)}  ✓", "bold") if truth[i] else (words(key), "normal")
        ax.text(0.03, y, text, va="center", fontsize=9, weight=weight)
    missed = [words(findings.keys[i]) for i in np.flatnonzero(truth) if i not in top]
    ax.set_xlabel(fill(f"missed: {', '.join(missed)}", 34) if missed else "", fontsize=8, loc="left")
    ax.set(xlim=(0, 1), ylim=(k - 0.5, -0.5), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def distances(distance: np.ndarray, positive: np.ndarray, ax: Axes, *, colour: str) -> Axes:
    """The distances of positive and negative pairs, each as its own density, with their medians dotted."""
    bins = np.linspace(distance.min(), distance.max(), 45)
    groups = [(~positive, "negative", OTHER), (positive, "positive", colour)]
    for mask, name, shade in groups:
        look = {"color": shade, "alpha": 0.5, "lw": 0, "label": f"{name} pairs ({mask.sum():,})"}
        ax.hist(distance[mask], bins, density=mask.any(), **look)
    top = ax.get_ylim()[1]
    for mask, _, shade in groups:
        ax.vlines(np.median(distance[mask]) if mask.any() else [], 0, top, color=shade, ls=":")
    ax.set(xlabel="distance d", yticks=[], ylim=(0, 1.35 * top))
    ax.legend(loc="upper left")
    ax.spines["left"].set_visible(False)
    return ax
