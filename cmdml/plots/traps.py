"""Figures of the chapter on traps. They take the tables of ``cmdml.study.traps``."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cmdml.plots.evidence import OWN, nothing
from cmdml.plots.figures import OTHER, words


def alone(table: pd.DataFrame, ax: Axes, xlabel: str) -> Axes:
    """AUROC of a number that no pixel went into, a line per finding with its interval; highest on top.

    ``table``: index finding, with value, low, high, positives.
    """
    if table.empty:
        return nothing(ax)
    y = np.arange(len(table))[::-1]
    clear = ((table.low > 0.5) | (table.high < 0.5)).to_numpy()
    colours = np.where(clear, OWN, OTHER)
    ax.hlines(y, table.low, table.high, color=colours, lw=1.2)
    ax.scatter(table.value, y, s=28, c=colours, zorder=3)
    ax.axvline(0.5, color="black", lw=0.8, ls=":")
    ax.set_yticks(y, [f"{words(name)} ({count:,})" for name, count in table.positives.items()])
    ax.set(xlabel=xlabel, ylim=(-0.7, len(table) - 0.3))
    ax.grid(axis="x", lw=0.4, alpha=0.6)
    return ax


def quadruples(gains: pd.DataFrame, ax: Axes) -> Axes:
    """One dot per unseen quadruple, in the order of its gain over illness alone, and the mean of all of them."""
    if gains.empty:
        return nothing(ax)
    rank = np.arange(1, len(gains) + 1)
    ax.scatter(rank, gains.gain, s=24, color=OWN, zorder=3, label="one choice of four unseen findings")
    ax.axhline(gains.gain.mean(), color=OTHER, lw=1.4, label="mean of all choices")
    ax.axhline(0, color="black", lw=0.8, ls=":")
    ax.set(xlabel="choices of unseen findings, from the least to the most favourable",
           ylabel="gain over illness alone, AUROC")  # fmt: skip
    ax.legend(fontsize=8.5, loc="upper left")
    return ax
