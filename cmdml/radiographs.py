"""Radiographs on disk and in memory, and the generalized zero-shot partition of them.

A set is a folder of three files: ``pixels.npy`` (N, H, W) uint8, read as a memory map; ``table.csv``, one row per
radiograph; ``card.json``, what it is, where it comes from and the SHA-256 of the other two.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cmdml import store

if TYPE_CHECKING:
    from cmdml.findings import SeenUnseen

SPLITS = store.SPLITS


@dataclass(frozen=True, eq=False)
class RadiographSet:
    """Pixels, table and card of a set of radiographs.

    Parameters
    ----------
    pixels : (N, H, W) uint8, a read-only memory map; H = W = ``size``.
    table : one row per radiograph: image, patient, split (train/val/test), view (PA/AP/""), age (years, NaN = unknown),
        sex (M/F/""), then a source's own columns if it has any, then one uint8 0/1 column per finding.
    card : name, title, source, licence, citation, size, counts, findings, sha256, made_with, created_by.
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
        """Open a set without reading its pixels.

        Raises
        ------
        FileNotFoundError : there is no set in the folder.
        ValueError : table, pixels and card do not agree.
        """
        folder = Path(folder)
        for file in ("card.json", "table.csv", "pixels.npy"):
            if not (folder / file).is_file():
                raise FileNotFoundError(
                    f"no radiographs in {folder}: {file} is missing; prepare a source first "
                    "(notebook 01_data, or cmdml.sources.prepare)"
                )
        try:
            card = json.loads((folder / "card.json").read_text())
            columns, findings, size = dict(card["columns"]), list(card["findings"]), int(card["size"])
            _ = card["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{folder / 'card.json'} is not the card of a radiograph set ({error!r}); prepare the set again"
            ) from error
        table = store.read_table(folder / "table.csv", columns)
        store.check_table(table, findings, where=folder / "table.csv")
        pixels = store.read_pixels(folder / "pixels.npy", (len(table), size, size))
        return cls(pixels, table, card, folder)

    def verify(self) -> None:
        """Recompute the SHA-256 of pixels and table; ValueError if the content is not what the card says."""
        found = store.content_sha256(self.folder)
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
) -> RadiographSet:
    """Write a set whole or not at all: into ``<folder>.partial``, which is renamed when all three files are done.

    Parameters
    ----------
    table : as in :class:`RadiographSet`.
    size : height and width in pixels.
    card : name, title, source, licence, citation, findings, made_with (the request, plain JSON values) and counts of
        the source's own; size, counts of images and patients, sha256 and created_by are added here.
    fill : writes every row of the (N, size, size) uint8 memory map it is given; an interrupted run starts again.
    blocks : ``blocks(start)`` yields (n, size, size) uint8 arrays, the rows from ``start`` on, in order. For sets
        larger than memory: an interrupted run continues after the last whole row if table, size and made_with are the
        same.

    Returns
    -------
    The loaded set. If the folder already holds this very request (made_with, table, size), it is loaded, not written.
    """
    if (fill is None) == (blocks is None):
        raise ValueError("write_radiographs needs either fill or blocks")
    folder, findings = Path(folder), list(card["findings"])
    store.check_table(table, findings, where=card["name"])
    text = table.to_csv(index=False, lineterminator="\n")
    request = hashlib.sha256(json.dumps([card["made_with"], size, findings, text], sort_keys=True).encode()).hexdigest()
    try:
        present = RadiographSet.load(folder)
        if present.card.get("request") == request:
            return present
    except (FileNotFoundError, ValueError):
        pass  # nothing there, or nothing of use

    partial = folder.with_name(folder.name + ".partial")
    if not ((partial / "request").is_file() and (partial / "request").read_text() == request):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / "request").write_text(request)
    shape = (len(table), size, size)
    if blocks is not None:
        store.append_rows(partial / "pixels.npy", shape, blocks)
    else:
        pixels = np.lib.format.open_memmap(partial / "pixels.npy", "w+", np.uint8, shape, version=(1, 0))
        fill(pixels)
        pixels.flush()
        del pixels
    (partial / "table.csv").write_bytes(text.encode())
    counts = {"images": len(table), "patients": int(table["patient"].nunique())}
    for split in SPLITS:
        rows = table[table["split"] == split]
        counts[split] = {"images": len(rows), "patients": int(rows["patient"].nunique())}
    card = card | {
        "size": size,
        "counts": counts | card.get("counts", {}),
        "findings": findings,
        "columns": store.column_kinds(table),
        "sha256": store.content_sha256(partial),
        "request": request,
        "created_by": f"cmdml {version('cmdml')}",
    }
    (partial / "card.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (partial / "request").unlink()
    store.publish(partial, folder)
    return RadiographSet.load(folder)


@dataclass(frozen=True, eq=False)
class Partition:
    """Rows of a set for generalized zero-shot learning.

    ``train``, ``val`` and ``test`` are int64 row numbers. ``counts`` has one row per split and step (``in the set``,
    ``dropped: …``, ``kept``) with images and patients; a patient is dropped by the step that takes their last image, so
    dropped and kept add up.

    However it is made, it refuses the two leaks that would spoil every number behind it: a patient in two splits, and a
    training image with an unseen finding.
    """

    radiographs: RadiographSet
    findings: SeenUnseen
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    counts: pd.DataFrame

    def __post_init__(self):
        table, where = self.radiographs.table, self.radiographs.folder
        rows = {name: getattr(self, name) for name in SPLITS}
        used = pd.concat([table.iloc[chosen].assign(split=name) for name, chosen in rows.items()])
        store.assert_patient_disjoint(used, where)
        store.assert_unseen_left_out(table.iloc[self.train], self.findings.unseen, where)


def partition(radiographs: RadiographSet, findings: SeenUnseen, *, keep_no_finding: bool = True) -> Partition:
    """Drop the training images that carry an unseen finding; keep validation and test whole; print the counts.

    ``keep_no_finding=False`` also drops training images without any finding.

    Raises
    ------
    ValueError : the findings are not the set's; a patient is in two splits; a split is empty; a seen finding has no
        training image.
    """
    table, labels, where = radiographs.table, radiographs.labels, radiographs.folder
    if tuple(findings.keys) != radiographs.findings:
        odd = sorted(set(findings.keys) ^ set(radiographs.findings)) or ["their order"]
        raise ValueError(f"{where}: the findings to split are not the set's ({', '.join(odd)}); prepare it again")
    store.assert_patient_disjoint(table, where)

    split, patient = table["split"].to_numpy(), table["patient"].to_numpy()
    train = split == "train"
    drops = {"dropped: unseen finding": train & labels[:, findings.unseen_mask].any(1)}
    if not keep_no_finding:
        drops["dropped: no finding"] = train & ~labels.any(1)
    left, rows = np.ones(len(table), bool), []
    for step, drop in {"in the set": None, **drops, "kept": None}.items():
        after = left if drop is None else left & ~drop
        for name in SPLITS:
            before_here, after_here = left & (split == name), after & (split == name)
            images, patients = after_here.sum(), len(set(patient[after_here]))
            if drop is not None:
                images, patients = before_here.sum() - images, len(set(patient[before_here])) - patients
            rows.append((name, step, int(images), int(patients)))
        left = after
    counts = pd.DataFrame(rows, columns=["split", "step", "images", "patients"])

    index = {name: np.flatnonzero(left & (split == name)) for name in SPLITS}
    for name, chosen in index.items():
        if not len(chosen):
            raise ValueError(f"{where}: the {name} split is empty ({(split == name).sum()} images before the filters)")
    positives = labels[index["train"]].sum(0)
    bare = [key for key, n, seen in zip(findings.keys, positives, findings.seen_mask, strict=True) if seen and not n]
    if bare:
        raise ValueError(
            f"{where}: no training image shows {', '.join(bare)} once images with unseen findings are dropped; "
            "make it an unseen finding or use more images"
        )
    print(counts.pivot_table(["images", "patients"], "step", "split", sort=False).astype(int).to_string())
    return Partition(radiographs, findings, index["train"], index["val"], index["test"], counts)
