"""Where radiographs come from: one ``prepare()`` per source, each returning a
:class:`~cmdml.radiographs.RadiographSet`.

A set that the folder already holds is loaded, not rebuilt, if it was made with the same request.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from difflib import get_close_matches

from cmdml.sources import chestmnist, nih, phantom

SOURCES: dict[str, Callable] = {
    "phantom": phantom.prepare,
    "chestmnist": chestmnist.prepare,
    "nih": nih.prepare,
}


def prepare(source: str, folder, **options):
    """Prepare ``source`` (phantom, chestmnist or nih) in ``folder``; the options are those of its own ``prepare``.

    Raises
    ------
    ValueError : no such source, or the source has no such option; the nearest valid name is offered.
    """
    if source not in SOURCES:
        raise ValueError(f"unknown source {source!r}{_nearest(source, SOURCES)}; known: {', '.join(SOURCES)}")
    known = [name for name in inspect.signature(SOURCES[source]).parameters if name != "folder"]
    for name in options:
        if name not in known:
            raise ValueError(
                f"source {source} has no option {name!r}{_nearest(name, known)}; its options: {', '.join(known)}"
            )
    return SOURCES[source](folder, **options)


def _nearest(word, words) -> str:
    close = get_close_matches(str(word), list(words), n=1, cutoff=0.4)
    return f" (did you mean {close[0]!r}?)" if close else ""
