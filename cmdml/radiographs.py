"""Radiographs on disk and in memory, and the generalized zero-shot partition of them.

A set is a folder of three files: ``pixels.npy`` (N, H, W) uint8, read as a memory map; ``table.csv``, one row per
radiograph; ``card.json``, what it is, where it comes from, the SHA-256 of the other two and its own seal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from cmdml import files, store, writing
from cmdml.partitioning import Partition, one_sided_sources, partition

__all__ = ["SPLITS", "Partition", "RadiographSet", "one_sided_sources", "partition", "write_radiographs"]

SPLITS = store.SPLITS


@dataclass(frozen=True, eq=False)
class RadiographSet:
    """Pixels, table and card of a set of radiographs.

    Parameters
    ----------
    pixels : (N, H, W) uint8, a read-only memory map; H = W = ``size``.
    table : one row per radiograph: image, patient, split (train/val/test), view (PA/AP/""), age (years, NaN = unknown),
        sex (M/F/""), then a source's own columns if it has any, then one uint8 0/1 column per finding.
    card : name, title, source, licence, citation, size, counts, findings, made_with, created_by; format, sha256 (of
        pixels and table), table_sha256, and seal, the SHA-256 of the card's own content.
    folder : where it lies.
    """

    pixels: np.ndarray
    table: pd.DataFrame
    card: dict
    folder: Path

    @property
    def findings(self) -> tuple[str, ...]:
        """The finding keys, in the order of the label columns."""
        return tuple(self.card["findings"])

    @property
    def labels(self) -> np.ndarray:
        """(N, C) uint8, 1 = the finding is present."""
        return self.table[list(self.findings)].to_numpy(np.uint8)

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        return int(self.card["size"])

    def __len__(self) -> int:
        return len(self.table)

    @classmethod
    def load(cls, folder) -> RadiographSet:
        """Open a set without reading its pixels: card, table, and the header and length of the pixels are checked.

        Raises
        ------
        FileNotFoundError : there is no set in the folder.
        ValueError : a file is not what was written, or of another format.
        """
        folder = Path(folder)
        for file in ("card.json", "table.csv", "pixels.npy"):
            if not (folder / file).is_file():
                raise FileNotFoundError(
                    f"no radiographs in {folder}: {file} is missing; prepare a source first "
                    "(notebook 01_data, or cmdml.sources.prepare)"
                )
        card = store.read_card(folder / "card.json")
        table = store.read_table(folder / "table.csv", card["columns"], card["table_sha256"])
        store.check_table(table, card["findings"], where=folder / "table.csv")
        pixels = store.read_pixels(folder / "pixels.npy", (len(table), card["size"], card["size"]))
        return cls(pixels, table, card, folder)

    def verify(self) -> None:
        """Recompute the SHA-256 of pixels and table; call it before all pixels are used.

        Raises
        ------
        ValueError : the content is not what the card says, or cannot be read.
        """
        try:
            found = store.content_sha256(self.folder, self.pixels.shape)
        except OSError as error:
            raise ValueError(f"{self.folder} cannot be read ({store.brief(error)}); prepare it again") from error
        if found != self.card["sha256"]:
            raise ValueError(
                f"{self.folder}: the content changed after it was prepared (sha256 {found[:12]}…, the card says "
                f"{self.card['sha256'][:12]}…); delete the folder and prepare it again"
            )


def write_radiographs(
    folder,
    *,
    table: pd.DataFrame,
    size: int,
    card: dict,
    fill: Callable[[np.ndarray], object] | None = None,
    blocks: Callable[[int], Iterable[np.ndarray]] | None = None,
    rows: Sequence[str] | None = None,
) -> RadiographSet:
    """Write a set whole or not at all: into ``<folder>.partial``, which is renamed when all three files are done.

    Parameters
    ----------
    table : as in :class:`RadiographSet`.
    size : height and width in pixels.
    card : name, title, source, licence, citation, findings, made_with (the request, plain JSON values) and counts of
        the source's own; size, counts of images and patients, format, hashes and created_by are added here.
    fill : writes every row of the (N, size, size) uint8 memory map it is given; an interrupted run starts again.
    blocks : ``blocks(start)`` yields (n, size, size) uint8 arrays, the rows from ``start`` on, in order. For sets
        larger than memory: an interrupted run continues after the last whole row if table, size and made_with are the
        same.
    rows : with ``blocks``, one line per row that names all that its pixels depend on, without line breaks. An
        interrupted run then continues after the last whole row whose line is the same, whatever else changed.

    Returns
    -------
    The loaded set; if the folder already holds this very request (made_with, table, size, rows), nothing is written.

    Raises
    ------
    ValueError : the table is none, or the blocks do not fit it.
    BlockingIOError : another process is writing this folder; the sentence names it.
    OSError : no space or no permission; the sentence names the folder.
    """
    if (fill is None) == (blocks is None):
        raise ValueError("write_radiographs needs either fill or blocks")
    folder, findings = Path(folder), list(card["findings"])
    store.check_table(table, findings, where=card["name"])
    text = table.to_csv(index=False, lineterminator="\n")
    lines = [store.digest(card["made_with"], size, findings, text)] * len(table) if rows is None else list(rows)
    request = store.digest(card["made_with"], size, findings, text, lines)
    if (present := _present(folder, request)) is not None:
        return present
    with files.naming(folder), writing.only_writer(folder):
        if (present := _present(folder, request)) is not None:  # finished by another since we looked
            return present
        partial, shape = folder.with_name(folder.name + ".partial"), (len(table), size, size)
        same = writing.rows_to_keep(partial, lines, size)
        if blocks is not None:
            writing.append_rows(partial / "pixels.npy", shape, blocks, same)
        else:
            writing.fill_rows(partial / "pixels.npy", shape, fill)
        (partial / "table.csv").write_bytes(text.encode())
        made = whole_card(card | {"request": request}, table, size, partial)
        (partial / "card.json").write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for note in ("request", "pixels.npy" + writing.ROWS):
            (partial / note).unlink(missing_ok=True)
        writing.publish(partial, folder)
    return RadiographSet.load(folder)


def split_counts(table: pd.DataFrame) -> dict:
    """``images`` and ``patients`` of a table, and the same of every split under its name."""

    def of(films):
        return {"images": len(films), "patients": int(films["patient"].nunique())}

    return of(table) | {split: of(table[table["split"] == split]) for split in SPLITS}


def whole_card(card: dict, table: pd.DataFrame, size: int, folder: Path) -> dict:
    """A source's card, completed from what was written to ``folder``: counts, columns, hashes, its own seal."""
    made = card | {
        "format": store.FORMAT,
        "size": int(size),
        "counts": split_counts(table) | card.get("counts", {}),
        "findings": list(card["findings"]),
        "columns": store.column_kinds(table),
        "sha256": store.content_sha256(folder, (len(table), size, size)),
        "table_sha256": hashlib.sha256((folder / "table.csv").read_bytes()).hexdigest(),
        "created_by": f"cmdml {version('cmdml')}",
    }
    made = json.loads(json.dumps(made))  # as it will be read
    return made | {"seal": store.seal(made)}


def _present(folder: Path, request: str) -> RadiographSet | None:
    """The set that the folder holds, if it answers this very request."""
    try:
        present = RadiographSet.load(folder)
    except (FileNotFoundError, ValueError):
        return None  # nothing there, or nothing of use
    return present if present.card.get("request") == request else None
