"""The tables of an NIH download: labels, split lists, and where films came from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from cmdml.findings import KEYS
from cmdml.names import nearest
from cmdml.radiographs import SPLITS
from cmdml.sources import reading

SPLIT_RULES = ("auto", "official", "hash")
VALIDATION = 1 / 8  # of the patients of the official train_val list


def input_files(root: Path, splits="auto") -> list[Path]:
    """Every text file that a set depends on: the label table, the lists, and sources.csv if there is one."""
    sources = root / "sources.csv"
    return [latest_entries(root), *split_lists(root, splits).values(), *([sources] if sources.exists() else [])]


def latest_entries(root: Path) -> Path:
    """The label table; _v2020 sorts last."""
    entries = sorted(root.glob("Data_Entry_2017*.csv"))
    if not entries:
        raise FileNotFoundError(f"{root}: no Data_Entry_2017*.csv; download it from the same place as the images")
    return entries[-1]


def split_lists(root: Path, splits) -> dict[str, Path]:
    """Split -> list. The official ones are ``train`` (training and validation) and ``test``; ``hash`` has none."""
    place = root / "splits" if splits == "auto" else Path(splits)
    three = {name: place / f"{name}_list.txt" for name in SPLITS}
    if splits == "hash":
        return {}
    if splits == "official" or (splits == "auto" and not any(path.exists() for path in three.values())):
        lists = {"train": root / "train_val_list.txt", "test": root / "test_list.txt"}
    elif splits == "auto" or place.is_dir():
        lists = three
    else:
        hint = nearest(splits, SPLIT_RULES)
        raise ValueError(f"splits={str(splits)!r} is neither a folder with three lists nor a rule; {hint}")
    for path in lists.values():
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing; add it, or use splits='hash' to split by patient")
    return lists


def read_entries(path: Path) -> pd.DataFrame:
    """image, patient, age, view, sex and one 0/1 column per finding."""
    wanted = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position")
    column = reading.read_csv(path, [*wanted, ("Patient Gender", "Patient Sex")])
    for name, rule in (("Patient ID", r"0*[1-9][0-9]{0,7}"), ("Image Index", r"[^/\\]+")):
        odd = column[~column[name].str.fullmatch(rule)]
        if len(odd):
            image, value = odd["Image Index"].iloc[0], odd[name].iloc[0]
            found = f"image {image!r:.60} has the {name} {value!r:.60}"
            raise ValueError(f"{path}: {found}, which is none; mend or fetch it")
    twice = column["Image Index"][column["Image Index"].duplicated()]
    if len(twice):
        raise ValueError(f"{path}: image {twice.iloc[0]} is listed twice; keep one of its rows")
    age = column["Patient Age"].str.extract(r"^0*(\d+)([YMD]?)$")
    age = age[0].astype(float) / age[1].map({"Y": 1, "": 1, "M": 12, "D": 365.25}).astype(float)
    age = age.where(age <= 120)  # a few ages in the release are typing errors such as 414
    patient = column["Patient ID"].str.lstrip("0").str.zfill(8)
    table = pd.DataFrame({"image": column["Image Index"], "patient": patient, "age": age})
    named = table["image"].str.fullmatch(r"[0-9]{8}_[0-9]{3}\.png") & (table["image"].str[:8] != patient)
    if named.any():  # NIH names films after patients, so one of the two was changed
        row = table[named].iloc[0]
        found = f"image {row['image']:.60} has the Patient ID {row['patient']:.60}"
        raise ValueError(f"{path}: {found}; one of the two is wrong")
    table["view"] = column["View Position"].where(column["View Position"].isin(["PA", "AP"]), "")
    table["sex"] = column["Patient Gender"].where(column["Patient Gender"].isin(["M", "F"]), "")
    labels = column["Finding Labels"].str.split("|").map(lambda names: {name.strip() for name in names})
    known = {*KEYS, "No Finding"}
    for image, names in zip(table["image"], labels, strict=True):
        if not names <= known or ("No Finding" in names and len(names) > 1):
            odd = min(names - known, default="No Finding")
            among = f"{odd!r:.60} among {str(sorted(names)):.90}; {nearest(odd[:60], KEYS)}"
            raise ValueError(f"{path}: image {image:.60} has the label {among}")
    for key in KEYS:
        table[key] = labels.map(lambda names, key=key: key in names).astype(np.uint8)
    return table


def assign(table: pd.DataFrame, root: Path, splits, seed: int) -> tuple[list[str], set[str]]:
    """The split of each row ("" = none) and every name the lists hold."""
    lists = split_lists(root, splits)
    if not lists:
        return [hash_split(p, seed, {"test": 0.2, "val": 0.3}) for p in table["patient"]], set()
    split: dict[str, str] = {}
    for name, path in lists.items():
        lines = [line for line in reading.read_text(path).splitlines() if line.strip()]
        if not lines:
            raise ValueError(f"{path} names no image; fetch it again, or use splits='hash' to split by patient")
        for line in lines:
            image = line.split()[0].rsplit("/", 1)[-1]
            if split.setdefault(image, name) != name:
                raise ValueError(f"{path}: {image} is also in the {split[image]} list; an image has one split")
    found = [split.get(image, "") for image in table["image"]]
    if "val" not in lists:
        rule = {"val": VALIDATION, "train": 1.0}
        found = [hash_split(p, seed, rule) if s == "train" else s for p, s in zip(table["patient"], found, strict=True)]
    return found, set(split)


def hash_split(patient: str, seed: int, upto: dict[str, float]) -> str:
    """The split of a patient: independent of every other patient, so more images never move anyone."""
    u = int.from_bytes(hashlib.sha256(f"{seed}:{patient}".encode()).digest()[:8], "big") / 2**64
    return next((name for name, bound in upto.items() if u < bound), "train")


def read_sources(path: Path) -> pd.DataFrame:
    """source_repo and source_pixels by image."""
    sources = reading.read_csv(path, ["image", "source_repo", "source_pixels"])
    twice = sources["image"][sources["image"].duplicated()]
    if len(twice):
        raise ValueError(f"{path}: image {twice.iloc[0]} is listed twice; keep one of its rows")
    sources["source_pixels"] = reading.numbers(sources, "source_pixels", path, whole=True)
    return sources.set_index("image")
