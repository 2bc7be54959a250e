"""Tables and the manifest that vouches for them: all new or all old, whenever the writer is killed.

New files are written beside the old ones under the name ``.new.<name>``; the manifest, with the SHA-256 of every
table, is the last of them. From then on the new state holds: whoever comes next finishes the renaming
(:func:`settle`). Before, the old one does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from cmdml.files import sha256, write_whole

NEW = ".new."
MANIFEST = "manifest.json"


def settle(folder) -> None:
    """Finish what a killed :func:`publish` began, or clear away what it did not get to vouch for."""
    folder = Path(folder)
    waiting = folder / (NEW + MANIFEST)
    if waiting.is_file():
        names = [*json.loads(waiting.read_text(encoding="utf-8"))["files"], MANIFEST]  # the manifest is the last
        for name in names:
            if (folder / (NEW + name)).is_file():
                os.replace(folder / (NEW + name), folder / name)
    else:
        for left in folder.glob(f"{NEW}*"):
            left.unlink(missing_ok=True)


def publish(out, tables: dict[str, pd.DataFrame], write_manifest: Callable, *, float_format: str = "%.6g") -> Path:
    """Write ``<name>.csv`` of every table and then the manifest: all of them or none.

    Parameters
    ----------
    out : path
    tables : dict
    write_manifest : callable
        ``write_manifest(folder, file=..., files=...)`` writes the manifest, with the field ``files``, under that name.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    settle(out)
    for name, table in tables.items():
        write_whole(out / f"{NEW}{name}.csv", lambda p, t=table: t.to_csv(p, index=False, float_format=float_format))
    files = {f"{name}.csv": sha256(out / f"{NEW}{name}.csv") for name in tables}
    write_manifest(out, file=NEW + MANIFEST, files=files)
    settle(out)
    return out


def manifest_of(folder) -> dict:
    """The manifest of a folder of results, whose tables were looked at; manifests from before hashes hold none."""
    folder = Path(folder)
    settle(folder)
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{folder / MANIFEST} is no JSON ({error}): run again what wrote it.") from None
    for name, expected in content.get("files", {}).items():
        if not (folder / name).is_file() or sha256(folder / name) != expected:
            way_out = "restore it, or delete the folder and run again what wrote it"
            raise ValueError(f"{folder / name} is not the table that {MANIFEST} beside it vouches for: {way_out}.")
    return content
