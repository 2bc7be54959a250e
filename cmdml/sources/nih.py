"""NIH ChestX-ray14 as the official download unpacks, or any part of it in the same layout.

Reads ``images*/**/*.png``, ``Data_Entry_2017*.csv`` (2017 or 2020 column names), the split lists, and, for sets
assembled from several places, ``sources.csv`` (image, source_repo, source_pixels).

Source: Wang et al., *ChestX-ray8*, CVPR 2017; https://nihcc.app.box.com/v/ChestXray-NIHCC.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from cmdml import store
from cmdml.findings import KEYS
from cmdml.names import nearest
from cmdml.radiographs import SPLITS, RadiographSet, write_radiographs
from cmdml.sources.decoding import cores, decode_blocks, png_pixels

IMAGES = 112_120  # radiographs in the full release
SPLIT_RULES = ("auto", "official", "hash")


def prepare(
    folder, *, root, size=64, splits="auto", min_source_pixels=0, seed=0, workers=0, progress=True
) -> RadiographSet:
    """Decode the PNGs under ``root``, reduce them to ``size`` x ``size`` with a box (area) filter and write the set.

    Parameters
    ----------
    root : folder of the download.
    size : pixels; never larger than an image, nothing is enlarged.
    splits : ``auto`` (root/splits if it holds three lists, else as ``official``), ``official`` (test_list.txt; a seeded
        hash takes 1/8 of the patients of train_val_list.txt for validation), ``hash`` (70/10/20 % of the patients), or
        a folder with train_list.txt, val_list.txt, test_list.txt, whose lines begin with a path to the image.
    min_source_pixels : leave out images that were smaller than this where they came from (sources.csv, else the file).
    workers : decoding threads, 0 = one per core. Pillow releases the GIL while it decodes and resizes.

    Returns
    -------
    The set; ``card["counts"]`` says what was left out and why. An interrupted run continues where it stopped.

    Raises
    ------
    FileNotFoundError, ValueError : naming the file, the value and the way out.
    """
    if not root or not (root := Path(root)).is_dir():
        raise FileNotFoundError(
            f"no folder of NIH radiographs at {str(root)!r}; pass root (nih_root, make … NIH_ROOT=…)"
        )
    files = _find_images(root)
    entries = _latest(root)
    table = _read_entries(entries)
    counts = {"without_label": len(set(files) - set(table["image"]))}
    present = table["image"].isin(files)
    counts["without_image"] = int((~present).sum())
    table = table[present]

    split, listed = _assign(table, root, splits, seed)
    table = table.assign(split=split)
    counts["listed_without_image"] = len(listed - set(files))
    counts["without_split"] = int((table["split"] == "").sum())
    table = table[table["split"] != ""].sort_values("image", ignore_index=True)
    store.assert_patient_disjoint(table, root)

    workers, paths = workers or cores(), [files[name] for name in table["image"]]
    with ThreadPoolExecutor(workers) as pool:
        some = [paths[i : i + 256] for i in range(0, len(paths), 256)]  # a future per image would be most of the memory
        found = pool.map(lambda part: [png_pixels(path) for path in part], some)
        pixels = np.array([side for part in found for side in part], dtype=np.int64)
    table = _with_sources(table, root / "sources.csv", pixels)
    small = (table["source_pixels"] < min_source_pixels).to_numpy()
    counts["below_min_source_pixels"] = int(small.sum())
    table, pixels = table[~small].reset_index(drop=True), np.minimum(pixels, table["source_pixels"])[~small]
    if (pixels < size).any():
        first = int(np.flatnonzero(pixels < size)[0])
        raise ValueError(
            f"{files[table['image'][first]]} was {pixels.iloc[first]} px, smaller than size={size}, and so were "
            f"{(pixels < size).sum() - 1} more; choose a smaller size or leave them out with min_source_pixels={size}"
        )
    table = table[["image", "patient", "split", "view", "age", "sex", "source_repo", "source_pixels", *KEYS]]
    for name in ("view", "age", "sex"):
        counts[f"{name}_unknown"] = int((table[name].isna() | (table[name] == "")).sum())
    paths = [files[name] for name in table["image"]]
    notable = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in counts.items() if n) or "nothing left out"
    print(f"nih: {len(table):,} radiographs of {len(files):,} files, labels of {entries.name}; {notable}")

    card = {
        "name": "nih",
        "title": f"NIH ChestX-ray14, {len(table):,} of {IMAGES:,} radiographs",
        "source": "https://nihcc.app.box.com/v/ChestXray-NIHCC (NIH Clinical Center)",
        "licence": "no restriction on use; cite the paper, link the download site, acknowledge the NIH Clinical Center",
        "citation": "Wang et al., ChestX-ray8, CVPR 2017, doi 10.1109/CVPR.2017.369",
        "note": _note(table),
        "findings": list(KEYS),
        "counts": counts,
        "made_with": {
            "source": "nih",
            "size": size,
            "splits": splits if splits in SPLIT_RULES else "lists",
            "min_source_pixels": min_source_pixels,
            "seed": seed,
            "labels": entries.name,
            "inputs": _digest(paths),
        },
    }
    return write_radiographs(
        folder,
        table=table,
        size=size,
        card=card,
        blocks=lambda start: decode_blocks(paths, start, size, workers, progress),
    )


def _find_images(root: Path) -> dict[str, Path]:
    """File name -> path."""
    files: dict[str, Path] = {}
    for path in sorted(p for top in root.glob("images*") if top.is_dir() for p in top.rglob("*.png")):
        if files.setdefault(path.name, path) is not path:
            raise ValueError(f"{path.name} lies in {files[path.name].parent} and in {path.parent}; keep one of them")
    if not files:
        raise FileNotFoundError(f"{root}: no images*/**/*.png; unpack the NIH archives there (images_001.tar.gz, …)")
    return files


def _latest(root: Path) -> Path:
    entries = sorted(root.glob("Data_Entry_2017*.csv"))
    if not entries:
        raise FileNotFoundError(f"{root}: no Data_Entry_2017*.csv; download it from the same place as the images")
    return entries[-1]  # _v2020 sorts last


def _read_entries(path: Path) -> pd.DataFrame:
    raw = pd.read_csv(path, dtype=str, keep_default_na=False)
    if not isinstance(raw.index, pd.RangeIndex):  # rows end in a comma that the header lacks: pandas shifts the columns
        raw = raw.reset_index().set_axis([*raw.columns, ""], axis=1)
    raw.columns = raw.columns.str.strip()
    column = {}
    for wanted in ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender", "View Position"):
        found = [name for name in (wanted, wanted.replace("Gender", "Sex")) if name in raw.columns]
        if not found:
            raise ValueError(f"{path}: no column {wanted!r}; found {', '.join(raw.columns)}")
        column[wanted] = raw[found[0]].str.strip()
    age = column["Patient Age"].str.extract(r"^0*(\d+)([YMD]?)$")
    age = age[0].astype(float) / age[1].map({"Y": 1, "": 1, "M": 12, "D": 365.25}).astype(float)
    age = age.where(age <= 120)  # a few ages in the release are typing errors such as 414
    table = pd.DataFrame({"image": column["Image Index"], "patient": column["Patient ID"].str.zfill(8), "age": age})
    table["view"] = column["View Position"].where(column["View Position"].isin(["PA", "AP"]), "")
    table["sex"] = column["Patient Gender"].where(column["Patient Gender"].isin(["M", "F"]), "")
    labels = column["Finding Labels"].str.split("|").map(lambda names: {name.strip() for name in names})
    known = {*KEYS, "No Finding"}
    for image, names in zip(table["image"], labels, strict=True):
        if not names <= known or ("No Finding" in names and len(names) > 1):
            odd = min(names - known, default="No Finding")
            raise ValueError(f"{path}: image {image} has the label {odd!r} among {sorted(names)}; {nearest(odd, KEYS)}")
    for key in KEYS:
        table[key] = labels.map(lambda names, key=key: key in names).astype(np.uint8)
    return table


def _assign(table: pd.DataFrame, root: Path, splits, seed: int) -> tuple[list[str], set[str]]:
    """The split of each row ("" = none) and every name the lists hold."""
    place = root / "splits" if splits == "auto" else Path(splits)
    if splits == "hash":
        return [_hash_split(p, seed, {"test": 0.2, "val": 0.3}) for p in table["patient"]], set()
    if splits == "official" or (splits == "auto" and not (place / "train_list.txt").is_file()):
        lists = {"train": root / "train_val_list.txt", "test": root / "test_list.txt"}
    elif splits == "auto" or place.is_dir():
        lists = {name: place / f"{name}_list.txt" for name in SPLITS}
    else:
        hint = nearest(splits, SPLIT_RULES)
        raise ValueError(f"splits={splits!r} is neither a folder with three lists nor a rule; {hint}")
    split: dict[str, str] = {}
    for name, path in lists.items():
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; add it, or use splits='hash' to split by patient")
        for line in filter(str.strip, path.read_text().splitlines()):
            image = line.split()[0].rsplit("/", 1)[-1]
            if split.setdefault(image, name) != name:
                raise ValueError(f"{path}: {image} is also in the {split[image]} list; an image has one split")
    found = [split.get(image, "") for image in table["image"]]
    if "val" not in lists:
        rule = {"val": 1 / 8, "train": 1.0}
        found = [
            _hash_split(p, seed, rule) if s == "train" else s for p, s in zip(table["patient"], found, strict=True)
        ]
    return found, set(split)


def _hash_split(patient: str, seed: int, upto: dict[str, float]) -> str:
    """The split of a patient: independent of every other patient, so more images never move anyone."""
    u = int.from_bytes(hashlib.sha256(f"{seed}:{patient}".encode()).digest()[:8], "big") / 2**64
    return next((name for name, bound in upto.items() if u < bound), "train")


def _with_sources(table: pd.DataFrame, path: Path, pixels: np.ndarray) -> pd.DataFrame:
    if not path.is_file():
        return table.assign(source_repo="", source_pixels=pixels)
    sources = pd.read_csv(path, dtype=str, keep_default_na=False).set_index("image")
    repo = table["image"].map(sources["source_repo"]).fillna("")
    known = pd.to_numeric(table["image"].map(sources["source_pixels"]))
    return table.assign(source_repo=repo, source_pixels=known.fillna(pd.Series(pixels)).astype(np.int64))


def _note(table: pd.DataFrame) -> str:
    repos = table["source_repo"].nunique()
    if repos < 2:
        return "Labels were mined from reports and are often wrong."
    return f"Assembled from {repos} places; the place predicts labels, so compare with a source-only control."


def _digest(paths: list[Path]) -> str:
    text = "\n".join(f"{path.name} {path.stat().st_size}" for path in paths)
    return hashlib.sha256(text.encode()).hexdigest()
