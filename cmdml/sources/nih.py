"""NIH ChestX-ray14 as the official download unpacks, or any part of it in the same layout.

Reads ``images*/**/*.png``, ``Data_Entry_2017*.csv`` (2017 or 2020 column names), the split lists, and, for sets
assembled from several places, ``sources.csv`` (image, source_repo, source_pixels).

Source: Wang et al., *ChestX-ray8*, CVPR 2017; https://nihcc.app.box.com/v/ChestXray-NIHCC.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cmdml import store
from cmdml.findings import KEYS
from cmdml.names import check
from cmdml.radiographs import RadiographSet, write_radiographs
from cmdml.sources import nih_tables, reading
from cmdml.sources.decoding import NON_SQUARE, cores, decode_blocks, headers
from cmdml.sources.nih_tables import SPLIT_RULES

IMAGES = 112_120  # radiographs in the full release
COLUMNS = [*store.COLUMNS, "source_repo", "source_pixels", *KEYS]


def prepare(
    folder, *, root, size=64, splits="auto", min_source_pixels=0, exclude_sources=(), non_square="refuse", seed=0,
    workers=0, progress=True,
) -> RadiographSet:  # fmt: skip
    """Decode the PNGs under ``root``, reduce them to ``size`` x ``size`` with a box (area) filter and write the set.

    Parameters
    ----------
    root : folder of the download.
    size : pixels; never larger than an image, nothing is enlarged.
    splits : ``auto`` (root/splits if it holds a list, else as ``official``), ``official`` (test_list.txt; a seeded
        hash takes 1/8 of the patients of train_val_list.txt for validation), ``hash`` (70/10/20 % of the patients), or
        a folder with train_list.txt, val_list.txt, test_list.txt, whose lines begin with a path to the image.
    min_source_pixels : leave out images that were smaller than this where they came from (sources.csv, else the file).
    exclude_sources : list of names of sources.csv (``source_repo``) whose images are left out.
    non_square : what becomes of a film that is not square: ``refuse``, or ``pad`` with black to a square
        (``cmdml.sources.decoding`` states this and the other rules for films).
    workers : decoding threads, 0 = one per core. Pillow releases the GIL while it decodes and resizes.

    Returns
    -------
    The set; ``card["counts"]`` says what was left out and why. An interrupted run continues where it stopped. A set
    that is there is made anew if the label table, a list, sources.csv or an image is another file now.

    Raises
    ------
    FileNotFoundError, ValueError : naming the file, the value and the way out.
    """
    if not root or not (root := Path(root)).is_dir():
        raise FileNotFoundError(
            f"no folder of NIH radiographs at {str(root)!r}; pass root (nih_root, make … NIH_ROOT=…)"
        )
    _check_options(size, min_source_pixels, exclude_sources, non_square, workers)
    files, workers, entries = _find_images(root), workers or cores(), nih_tables.latest_entries(root).name
    inputs = {path.name: reading.sha256(path) for path in nih_tables.input_files(root, splits)}
    table, counts = _labelled(root, files, splits, seed)
    table = table.assign(header=headers([files[name] for name in table["image"]], workers))
    table = _with_sources(table, root / "sources.csv", exclude_sources)
    left_out = {name: int((table["source_repo"] == name).sum()) for name in exclude_sources}
    table, filtered = filter_films(table, min_source_pixels, exclude_sources)
    counts |= filtered | {"non_square": _check_shapes(table, files, size, non_square)} | unknown_counts(table)
    print(f"nih: {len(table):,} radiographs of {len(files):,} files, labels of {entries}; {notable(counts)}")
    paths = [files[name] for name in table["image"]]
    made_with = {
        "source": "nih", "size": size, "splits": splits if splits in SPLIT_RULES else "lists", "seed": seed,
        "min_source_pixels": min_source_pixels, "exclude_sources": list(exclude_sources), "non_square": non_square,
        "labels": entries, "inputs": inputs,
    }  # fmt: skip
    return write_radiographs(
        folder,
        table=table[COLUMNS],
        size=size,
        card=_card(table, counts, made_with, left_out),
        blocks=lambda start: decode_blocks(paths, start, size, workers, progress, non_square),
        rows=[header.line for header in table["header"]],
    )


def _check_options(size, min_source_pixels, exclude_sources, non_square, workers) -> None:
    check(non_square, NON_SQUARE, "non_square")
    for name, value, least in (("size", size, 1), ("min_source_pixels", min_source_pixels, 0), ("workers", workers, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"nih: {name} must be a whole number from {least} on, got {value!r}")
    if not isinstance(exclude_sources, (list, tuple)) or not all(isinstance(name, str) for name in exclude_sources):
        raise ValueError(f"nih: exclude_sources must be a list of names such as [a/b, c/d], got {exclude_sources!r}")


def _find_images(root: Path) -> dict[str, Path]:
    """File name -> path."""
    files: dict[str, Path] = {}
    for path in sorted(p for top in root.glob("images*") if top.is_dir() for p in top.rglob("*.png")):
        if files.setdefault(path.name, path) is not path:
            raise ValueError(f"{path.name} lies in {files[path.name].parent} and in {path.parent}; keep one of them")
    if not files:
        dicom = next((p for top in root.glob("images*") for p in top.rglob("*.dcm")), None)
        if dicom:
            raise FileNotFoundError(f"{dicom} is a DICOM file; a set is made of PNG files: save it as 8-bit grey")
        raise FileNotFoundError(f"{root}: no images*/**/*.png; unpack the NIH archives there (images_001.tar.gz, …)")
    return files


def _labelled(root: Path, files: dict[str, Path], splits, seed: int) -> tuple[pd.DataFrame, dict]:
    """The rows that have an image, labels and a split, by name, and the counts of what has not."""
    table = nih_tables.read_entries(nih_tables.latest_entries(root))
    counts = {"without_label": len(set(files) - set(table["image"]))}
    present = table["image"].isin(files)
    counts["without_image"] = int((~present).sum())
    table = table[present]
    split, listed = nih_tables.assign(table, root, splits, seed)
    table = table.assign(split=split)
    counts["listed_without_image"] = len(listed - set(files))
    counts["without_split"] = int((table["split"] == "").sum())
    table = table[table["split"] != ""].sort_values("image", ignore_index=True)
    store.assert_patient_disjoint(table, root)
    return table, counts


def _with_sources(table: pd.DataFrame, path: Path, exclude_sources) -> pd.DataFrame:
    """Add source_repo ("" = unknown) and source_pixels (the file's own where unknown)."""
    sides = pd.Series([header.side for header in table["header"]], table.index, dtype=np.int64)
    if not path.exists():
        if exclude_sources:
            raise ValueError(
                f"exclude_sources names {exclude_sources[0]!r}, but there is no {path}; add it or name none"
            )
        return table.assign(source_repo="", source_pixels=sides)
    sources = nih_tables.read_sources(path)
    for name in exclude_sources:
        check(name, sorted(set(sources["source_repo"])), f"source of {path}")
    repo = table["image"].map(sources["source_repo"]).fillna("")
    known = table["image"].map(sources["source_pixels"])
    return table.assign(source_repo=repo, source_pixels=known.fillna(sides).astype(np.int64))


def filter_films(table: pd.DataFrame, min_source_pixels: int, exclude_sources) -> tuple[pd.DataFrame, dict[str, int]]:
    """The films that are kept, rows counted anew, and how many each filter took; one in both counts as excluded."""
    excluded = table["source_repo"].isin(list(exclude_sources)).to_numpy()
    small = ~excluded & (table["source_pixels"] < min_source_pixels).to_numpy()
    counts = {"in_excluded_sources": int(excluded.sum()), "below_min_source_pixels": int(small.sum())}
    return table[~small & ~excluded].reset_index(drop=True), counts


def unknown_counts(table: pd.DataFrame) -> dict[str, int]:
    """How many films have no view, no age, no sex."""
    names = ("view", "age", "sex")
    return {f"{name}_unknown": int((table[name].isna() | (table[name] == "")).sum()) for name in names}


def notable(counts: dict[str, int]) -> str:
    """The counts that are not 0, in words."""
    return ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in counts.items() if n) or "nothing left out"


def _check_shapes(table: pd.DataFrame, files: dict[str, Path], size: int, non_square: str) -> int:
    """Refuse films that would be enlarged or, unless padded, are not square; the number of those that are not."""
    pixels = np.minimum([header.side for header in table["header"]], table["source_pixels"])
    if (pixels < size).any():
        first = int(np.flatnonzero(pixels < size)[0])
        raise ValueError(
            f"{files[table['image'][first]]} was {pixels.iloc[first]} px, smaller than size={size}, and so were "
            f"{(pixels < size).sum() - 1} more; choose a smaller size or leave them out with min_source_pixels={size}"
        )
    odd = [i for i, header in enumerate(table["header"]) if header.width != header.height]
    if odd and non_square == "refuse":
        header = table["header"][odd[0]]
        raise ValueError(
            f"{files[table['image'][odd[0]]]} is {header.width} x {header.height} px, not square, and so are "
            f"{len(odd) - 1} more; take them away or use non_square='pad'"
        )
    return len(odd)


def _card(table: pd.DataFrame, counts: dict, made_with: dict, left_out: dict) -> dict:
    return {
        "name": "nih",
        "title": f"NIH ChestX-ray14, {len(table):,} of {IMAGES:,} radiographs",
        "source": "https://nihcc.app.box.com/v/ChestXray-NIHCC (NIH Clinical Center)",
        "licence": "no restriction on use; cite the paper, link the download site, acknowledge the NIH Clinical Center",
        "citation": "Wang et al., ChestX-ray8, CVPR 2017, doi 10.1109/CVPR.2017.369",
        "note": _note(table),
        "findings": list(KEYS),
        "counts": counts,
        "excluded_sources": left_out,
        "made_with": made_with,
    }


def _note(table: pd.DataFrame) -> str:
    repos = table["source_repo"].nunique()
    if repos < 2:
        return "Labels were mined from reports and are often wrong."
    return f"Assembled from {repos} places; the place predicts labels, so compare with a source-only control."
