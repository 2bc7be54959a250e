"""The figure of the front page: one film, and what the model names when it is told different words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from cmdml.findings import SeenUnseen
from cmdml.plots.figures import OTHER, SEEN, UNSEEN, words


def percentiles(scores: np.ndarray, at: int) -> np.ndarray:
    """For each finding, the share of films that score lower than one of them; ties count half.

    Were the others only films without the finding, its mean over the films that have it would be the AUROC. Unlike the
    score, it can be compared between findings.

    Parameters
    ----------
    scores : (N, C), higher = more likely.
    at : row of the film.

    Returns
    -------
    (C,), in [0, 1].
    """
    others = np.delete(scores, at, axis=0)
    return ((others < scores[at]).mean(0) + (others <= scores[at]).mean(0)) / 2


def places(scores: np.ndarray) -> np.ndarray:
    """Place of every finding when the film's scores are sorted, 1 = named first; ties in the order of the findings.

    Parameters
    ----------
    scores : (C,), higher = more likely.
    """
    place = np.empty(len(scores), int)
    place[np.argsort(-np.asarray(scores), kind="stable")] = np.arange(1, len(scores) + 1)
    return place


def film(pixels: np.ndarray, title: str, ax: Axes) -> Axes:
    """A radiograph without axes; ``pixels`` (H, W), 8 bit."""
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    ax.set_title(title, fontsize=9.5)
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ax.spines.values():
        side.set_visible(False)
    return ax


def answer(scores: np.ndarray, present: Sequence[str], findings: SeenUnseen, ax: Axes, *, first: int = 5) -> Axes:
    """The findings that are named first, with bars; the film's own are ticked, wherever they come.

    Parameters
    ----------
    scores : (C,) of one film, in [0, 1], e.g. :func:`percentiles`.
    present : keys of the findings that the film is labelled with.
    findings : which are seen, which unseen.
    first : so many are listed, and below them those of ``present`` that come later.
    """
    place = places(scores)
    order = list(np.argsort(place))
    shown = order[:first] + [i for i in order[first:] if findings.keys[i] in present]
    y = first - 1 - np.arange(len(shown)) - np.where(np.arange(len(shown)) < first, 0.0, 0.5)
    for i, line in zip(shown, y):
        key = findings.keys[i]
        right, colour = key in present, UNSEEN if key in findings.unseen else SEEN
        ax.barh(line, scores[i], height=0.72, color=colour if right else OTHER, alpha=0.95 if right else 0.4)
        mark = "✓" if right else "✗"
        ax.text(0.02, line, f"{place[i]}. {words(key)} {mark}", transform=ax.get_yaxis_transform(), va="center",
                fontsize=8, weight="bold" if right else "normal", color="black")  # fmt: skip
    ax.set(xlim=(0, 1), ylim=(-2.1, first - 0.4), yticks=[], xticks=[0, 0.5, 1], xticklabels=["0", "50", "100"])
    ax.tick_params(axis="x", labelsize=7)
    return ax
