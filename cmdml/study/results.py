"""Tables and the manifest that vouches for them: all new or all old, whenever the writer is killed.

New files are written beside the old ones under the name ``.new.<name>``; the manifest, with the SHA-256 of every
table, is the last of them. From then on the new state holds: whoever comes next finishes the renaming
(:func:`settle`). Before, the old one does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from cmdml.files import is_sealed, naming, read_json, sha256, write_whole
from cmdml.writing import only_writer

NEW = ".new."
MANIFEST = "manifest.json"


def settle(folder) -> None:
    """Finish what a killed :func:`publish` began, or clear away what it did not get to vouch for; in its lock."""
    folder = Path(folder)
    try:
        names = [*read_manifest(folder / (NEW + MANIFEST))["files"], MANIFEST]  # the manifest is the last
        for name in names:
            if (folder / (NEW + name)).is_file():
                os.replace(folder / (NEW + name), folder / name)
    except (ValueError, KeyError, FileNotFoundError):
        pass  # it vouches for nothing
    for left in folder.glob(f"{NEW}*"):
        left.unlink(missing_ok=True)


def publish(out, tables: dict[str, pd.DataFrame], write_manifest: Callable, *, float_format: str = "%.6g") -> Path:
    """Write ``<name>.csv`` of every table and then the manifest: all of them or none.

    Parameters
    ----------
    out : path
    tables : dict
    write_manifest : callable
        ``write_manifest(folder, file=..., files=...)`` writes the manifest, with the field ``files``, under that name
        (:func:`cmdml.study.run.manifest` does).

    Raises
    ------
    OSError
        No space, no permission, or another process is writing the folder; the old tables are there then.
    """
    out = Path(out)
    with naming(out), only_writer(out):
        out.mkdir(parents=True, exist_ok=True)
        settle(out)
        files = {}
        for name, table in tables.items():
            new = out / f"{NEW}{name}.csv"
            write_whole(new, lambda p, t=table: t.to_csv(p, index=False, float_format=float_format))
            files[f"{name}.csv"] = sha256(new)
        write_manifest(out, file=NEW + MANIFEST, files=files)
        settle(out)
    return out


def read_manifest(file) -> dict:
    """A manifest that is what was written; ValueError or FileNotFoundError in one sentence where it is not."""
    way_out = "restore it, or delete the folder and run again what wrote it"
    content = read_json(file, way_out)
    if not is_sealed(content):
        raise ValueError(f"{file} is damaged or was edited since it was written: {way_out}")
    return content


def manifest_of(folder, tables: Iterable[str] = ()) -> dict:
    """The manifest of a folder of results, whose tables are those that it vouches for.

    Parameters
    ----------
    tables : names of files, such as ``methods.csv``, that must be among them.
    """
    folder = Path(folder)
    if (folder / (NEW + MANIFEST)).is_file():
        with naming(folder), only_writer(folder):
            settle(folder)
    content = read_manifest(folder / MANIFEST)
    way_out = "restore it, or delete the folder and run again what wrote it"
    files = content.get("files")
    if not isinstance(files, dict):
        raise ValueError(f"{folder / MANIFEST} vouches for no table: {way_out}.")
    for name in {**files, **dict.fromkeys(tables)}:
        if not (folder / name).is_file() or sha256(folder / name) != files.get(name):
            raise ValueError(f"{folder / name} is not the table that {MANIFEST} beside it vouches for: {way_out}.")
    return content


def read_tables(folder, names: Iterable[str]) -> dict[str, pd.DataFrame]:
    """{name: table} of a folder of results, all checked by its manifest."""
    names = list(names)
    manifest_of(folder, [f"{name}.csv" for name in names])
    return {name: pd.read_csv(Path(folder) / f"{name}.csv") for name in names}
