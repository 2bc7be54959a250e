"""Figures of the chapter on a finding of one's own: whom its words lean on, films drawn with it, who finds it."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmdml.findings import SeenUnseen
from cmdml.plots.evidence import OWN, nothing
from cmdml.plots.figures import OTHER, SEEN, UNSEEN, WIDTH, radiograph_grid, words


def leaning(table: pd.DataFrame, ax: Axes) -> Axes:
    """Cosines of own words with the seen findings, nearest on top: filled in the joint space, hollow before it."""
    y = np.arange(len(table))[::-1]
    ax.hlines(y, np.minimum(table.joint, table.words), np.maximum(table.joint, table.words), color=OTHER, lw=0.8)
    ax.scatter(table.joint, y, s=34, color=SEEN, zorder=3, label="in the joint space")
    ax.scatter(table.words, y, s=34, facecolors="white", edgecolors=SEEN, zorder=3, label="of the words")
    ax.axvline(0, color="black", lw=0.8, ls=":")
    ax.set_yticks(y, [words(key) for key in table.finding])
    ax.set(xlabel="cosine with the own words", ylim=(-0.6, len(table) - 0.4))
    ax.grid(axis="x", lw=0.4, alpha=0.6)
    ax.legend(loc="lower right")
    return ax


def dots(table: pd.DataFrame, names: Sequence[str], colours: Sequence[str], ax: Axes, *, filled=True, shift=0.0):
    """One line per row of ``table`` (value, low, high), first on top: a dot on its interval, and 0.5 dotted."""
    y = np.arange(len(table))[::-1] + shift
    ax.hlines(y, table.low, table.high, color=colours, lw=1.6 if filled else 1)
    face = list(colours) if filled else "white"
    ax.scatter(table.value, y, s=32, facecolors=face, edgecolors=list(colours), zorder=3)
    ax.axvline(0.5, color="black", lw=0.8, ls=":")
    ax.set_yticks(np.arange(len(table))[::-1], names)
    ax.set_ylim(-0.7, len(table) - 0.3)
    ax.grid(axis="x", lw=0.4, alpha=0.6)
    return ax


def whom(table: pd.DataFrame, findings: SeenUnseen, ax: Axes) -> Axes:
    """Which findings' films the own words put first: table of :func:`cmdml.study.own_finding.found_by`."""
    tones = [UNSEEN if key in findings.unseen else SEEN for key in table.finding]
    names = [f"{words(row.finding)} ({row.positives:,})" for row in table.itertuples()]
    dots(table, names, tones, ax).set_xlabel("AUROC of the own words for that finding")
    for text, tone in zip(ax.get_yticklabels(), tones):
        text.set_color(tone)
    for name, tone in (("seen", SEEN), ("unseen", UNSEEN)):
        ax.plot([], [], "o", color=tone, label=name)
    ax.legend(loc="lower right")
    return ax


def pairs(without, within, place, percentiles, name: str) -> Figure:
    """A few pairs, without above with, a circle around what was drawn.

    Parameters
    ----------
    without, within : (k, H, W) uint8
    place : (k, H, W) bool
    percentiles : (k, 2), of the own words' score without and with, among the normal films.
    name : of the set, which the title says.
    """
    top, bottom = ([(film, f"{p:.0f} %", "black") for film, p in zip(part, percentiles[:, i])]
                   for i, part in enumerate((without, within)))  # fmt: skip
    title = f"{name} radiographs, each without and with a drawn lung abscess"
    fig = radiograph_grid([("without", top), ("with", bottom)], title, columns=len(without))
    for ax, here in zip(fig.axes[len(without) :], place):
        rows, columns = np.nonzero(here)
        ring = plt.Circle((columns.mean(), rows.mean()), 0.85 * np.ptp(rows), fill=False, color=UNSEEN, lw=1.2)
        ax.add_patch(ring)
    return fig


def finders(table: pd.DataFrame, findings: SeenUnseen, own: str, ax: Axes) -> Axes:
    """How well each finding's words, the own ones, illness and the ceiling find the drawn films; highest on top."""
    table = table.sort_values("value", ascending=False, kind="stable")
    known = dict.fromkeys(findings.seen, SEEN) | dict.fromkeys(findings.unseen, UNSEEN) | {own: OWN}
    tones = [known.get(name, OTHER) for name in table.scorer]
    names = [f"words of {words(name).lower()}" if name in known else name for name in table.scorer]
    dots(table, names, tones, ax).set_xlabel("AUROC, films with the drawn finding against films without")
    for text, name, tone in zip(ax.get_yticklabels(), table.scorer, tones):
        text.set(color=tone if name in known else "black", weight="bold" if name == own else "normal")
    for name, tone in (("own words", OWN), ("seen", SEEN), ("unseen", UNSEEN), ("no words", OTHER)):
        ax.plot([], [], "o", color=tone, label=name)
    ax.legend(loc="lower right")
    return ax


def never(table: pd.DataFrame, ax: Axes) -> Axes:
    """A finding of real films that no training label named: every scorer, filled ``abnormal``, hollow ``all``."""
    for protocol, shift, filled in (("abnormal", 0.13, True), ("all", -0.17, False)):
        part = table[table.protocol == protocol]
        tones = [OWN if "told" in name else OTHER for name in part.finding]
        dots(part, list(part.finding), tones, ax, filled=filled, shift=shift)
        ax.plot([], [], "o", color="black", mfc="black" if filled else "white", label=protocol)
    ax.set_xlabel("AUROC with 95 % interval")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return ax


def needs_the_phantom() -> Figure:
    """A figure that says that nothing could be drawn into these films."""
    fig, ax = plt.subplots(figsize=(WIDTH, 0.8))
    nothing(ax, "these films are not drawn: nothing can be drawn into them")
    return fig
