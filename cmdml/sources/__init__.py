"""Where radiographs come from: one ``prepare()`` per source, each returning a
:class:`~cmdml.radiographs.RadiographSet`.

A set that the folder already holds is loaded, not rebuilt, if it was made with the same request.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from cmdml.names import check
from cmdml.sources import chestmnist, kermany, nih, phantom

SOURCES: dict[str, Callable] = {
    "phantom": phantom.prepare,
    "chestmnist": chestmnist.prepare,
    "nih": nih.prepare,
    "kermany": kermany.prepare,
}


def prepare(source: str, folder, **options):
    """Prepare ``source`` (a key of ``SOURCES``) in ``folder``; the options are those of its own ``prepare``.

    Raises
    ------
    ValueError : no such source, or the source has no such option; the nearest valid name is offered.
    """
    check(source, SOURCES, "source")
    known = [name for name in inspect.signature(SOURCES[source]).parameters if name != "folder"]
    for name in options:
        check(name, known, f"option of source {source}")
    return SOURCES[source](folder, **options)
