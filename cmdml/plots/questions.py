"""Three questions, three figures: what a score is made of, what a text must say, whether the loss matters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cmdml.plots.evidence import OWN, nothing
from cmdml.plots.figures import OTHER, SEEN

STRATA = {"none": ("all pairs", True), "source_view": ("within source × view", False)}
COLOURS = {"focused": OWN, "ceiling": SEEN}


def levels(methods: pd.DataFrame, shown: Mapping[str, str], ax: Axes, protocol: str = "abnormal") -> Axes:
    """U of some scorers, first one on top, with intervals: filled among all pairs, hollow within source × view.

    Parameters
    ----------
    methods : the table of a rotation: method, protocol, stratum, metric, value, low, high.
    shown : {method: what it is called}; those that the table lacks are left out.
    """
    table = methods[(methods.protocol == protocol) & (methods.metric == "U")]
    kept = [method for method in shown if method in set(table.method)]
    if not kept:
        return nothing(ax)
    y = np.arange(len(kept))[::-1]
    for stratum, (name, filled) in STRATA.items():
        rows = table[table.stratum == stratum].set_index("method").reindex(kept)
        if rows.value.isna().all():  # drawn films have one source and no view
            continue
        at = y + (0.14 if filled else -0.14)
        colours = [COLOURS.get(method, OTHER) for method in kept]
        ax.hlines(at, rows.low, rows.high, colors=colours, lw=1.2)
        face = colours if filled else "white"
        ax.scatter(rows.value, at, s=30, facecolors=face, edgecolors=colours, zorder=3, label=name)
    ax.axvline(0.5, color="black", lw=0.8, ls=":")
    ax.set_yticks(y, [shown[method] for method in kept])
    ax.set(ylim=(-0.6, len(kept) - 0.4), xlabel="U, AUROC of unseen findings")
    ax.grid(axis="x", lw=0.4, alpha=0.6)
    return ax


def against(paired: pd.DataFrame, method: str, shown: Mapping[str, str], ax: Axes, protocol: str = "abnormal") -> Axes:
    """How much better one method's U is than each of some others: 0 in the middle, right is better.

    Parameters
    ----------
    paired : the table of a rotation; rows that hold ``method`` as the reference are turned round.
    shown : {other: what it is called}.
    """
    table = paired[(paired.protocol == protocol) & (paired.metric == "U")]
    lines = np.arange(len(shown))[::-1]
    drawn = 0
    for stratum, (name, filled) in STRATA.items():
        for line, other in zip(lines, shown):
            here = table[table.stratum == stratum]
            own = here[(here.method == method) & (here.reference == other)]
            turned = here[(here.method == other) & (here.reference == method)]
            if len(own):
                value, low, high = own.iloc[0][["difference", "low", "high"]]
            elif len(turned):
                value, high, low = -turned.iloc[0][["difference", "low", "high"]]
            else:
                continue
            if pd.isna(value):
                continue
            at, colour = line + (0.14 if filled else -0.14), OWN if low > 0 or high < 0 else OTHER
            ax.hlines(at, low, high, color=colour, lw=1.2)
            face = colour if filled else "white"
            ax.scatter([value], [at], s=30, facecolors=face, edgecolors=colour, zorder=3, label=name)
            drawn, name = drawn + 1, None  # a stratum is named once
    if not drawn:
        return nothing(ax)
    ax.axvline(0, color="black", lw=0.8, ls=":")
    ax.set_yticks(lines, list(shown.values()))
    ax.set(ylim=(-0.6, len(shown) - 0.4), xlabel="difference of U")
    ax.grid(axis="x", lw=0.4, alpha=0.6)
    return ax


def variants(cells: pd.DataFrame, names: Mapping[str, str], marked, ax: Axes, reference: str = "base") -> Axes:
    """Each variant less the reference on the same cells: a small dot per cell, a bar for the mean, in the order given.

    Parameters
    ----------
    cells : variant, quadruple, pseudo, pseudo_unseen: a row per variant and cell.
    names : {variant: what it is called}, first one on top.
    marked : variants in the study's colour.
    """
    wide = cells.pivot(index=["quadruple", "pseudo"], columns="variant", values="pseudo_unseen")
    kept = [name for name in names if name != reference and name in wide]
    if reference not in wide or not kept:
        return nothing(ax)
    for y, name in zip(np.arange(len(kept))[::-1], kept, strict=True):
        less, colour = wide[name] - wide[reference], OWN if name in marked else OTHER
        ax.scatter(less, np.full(len(less), y), s=9, color=colour, alpha=0.5, lw=0)
        ax.plot([less.mean()] * 2, [y - 0.36, y + 0.36], color=colour, lw=2.2)
    ax.axvline(0, color="black", lw=0.8, ls=":")
    ax.set_yticks(np.arange(len(kept))[::-1], [names[name] for name in kept], fontsize=8)
    ax.set(ylim=(-0.6, len(kept) - 0.4), xlabel="pseudo-unseen AUROC, less the study's own")
    ax.grid(axis="x", lw=0.4, alpha=0.6)
    return ax
