"""How a set of radiographs lies on disk: reading and checking card, table and pixels, hashing.

Low-level half of ``cmdml.radiographs``, which is what the rest of the package imports.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

SPLITS = ("train", "val", "test")
COLUMNS = ("image", "patient", "split", "view", "age", "sex")
VIEWS = ("PA", "AP", "")
SEXES = ("M", "F", "")
FORMAT = 2  # of the folder; 1 had neither a seal on the card nor a hash of the table alone
FILES = ("pixels.npy", "table.csv", "card.json")
_CHUNK = 1 << 18  # bytes read at a time when hashing: what fits a core's cache
# What a spreadsheet or pandas makes of a missing or numeric id; many patients would become one.
_NO_PATIENT = re.compile(r"\s*(nan|none|null|na|n/a|<na>|nat|[+-].*|\d*\.\d*|\d+(\.\d*)?e[+-]?\d+)?\s*", re.IGNORECASE)


def brief(error) -> str:
    """What an error of another library says, on one line of at most 160 characters."""
    text = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"[:1000]
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= 160 else text[:159] + "…"


def check_table(table: pd.DataFrame, findings: Sequence[str], *, where="the table") -> None:
    """ValueError naming the first column, image and value that a table of radiographs must not have."""
    findings = list(findings)
    missing = [name for name in (*COLUMNS, *findings) if name not in table.columns]
    if missing:
        raise ValueError(f"{where}: missing column {', '.join(missing)}; found {', '.join(table.columns)}")
    names = list(table.columns)
    if not findings or names[: len(COLUMNS)] != list(COLUMNS) or names[-len(findings) :] != findings:
        expected = ", ".join((*COLUMNS, "(a source's own)", *findings))
        raise ValueError(f"{where}: columns must come in the order {expected}")
    if not len(table):
        raise ValueError(f"{where}: no radiographs are left; check the folder and the filters asked for")
    for name, allowed in (("split", SPLITS), ("view", VIEWS), ("sex", SEXES), *((key, (0, 1)) for key in findings)):
        wrong = ~table[name].isin(allowed)
        if wrong.any():
            row, words = table[wrong].iloc[0], ", ".join(repr(str(word)) for word in allowed)
            found = f"{str(row['image']):.60} has {name} {str(row[name])!r:.60}"
            raise ValueError(f"{where}: image {found}; expected one of {words}")
    if table["age"].dtype.kind != "f":
        raise ValueError(f"{where}: age must be float years, NaN where unknown, got {table['age'].dtype}")
    for key in findings:
        if table[key].dtype.kind not in "iu":
            raise ValueError(f"{where}: column {key} must hold the integers 0 and 1, got {table[key].dtype}")
    for name in ("image", "patient"):
        odd = table[name][~table[name].map(lambda text: isinstance(text, str) and text.isprintable())]
        if len(odd):
            raise ValueError(f"{where}: {name} {odd.iloc[0]!r:.60} must be text without control characters")
    if (table["image"] == "").any():
        raise ValueError(f"{where}: row {(table['image'] == '').argmax()} has no image name")
    if table["image"].duplicated().any():
        raise ValueError(f"{where}: image {table['image'][table['image'].duplicated()].iloc[0]} is listed twice")
    for patient in table["patient"].unique():
        if _NO_PATIENT.fullmatch(patient):
            image = table["image"][table["patient"] == patient].iloc[0]
            what = f"the patient {patient!r:.60}, which is no id" if patient.strip() else "no patient"
            raise ValueError(f"{where}: image {image:.60} has {what}; give every patient an id of their own")


def read_card(path: Path) -> dict:
    """The card, if its format is ours and its content is what was sealed."""
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        version, _ = card.get("format", 1), card["findings"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise ValueError(
            f"{path} is not the card of a radiograph set ({brief(error)}); prepare the set again"
        ) from error
    if version != FORMAT:
        raise ValueError(f"{path} has format {version!r:.60}, this cmdml reads format {FORMAT}; prepare the set again")
    kinds = {"columns": dict, "findings": list, "size": int, "sha256": str, "table_sha256": str}
    whole = all(isinstance(card.get(key), kind) for key, kind in kinds.items())
    if not whole or card.get("seal") != seal(card):
        raise ValueError(f"{path} is not what was written when the set was prepared; prepare the set again")
    return card


def seal(card: dict) -> str:
    """SHA-256 of a card's content, whatever the order and the white space."""
    content = {key: value for key, value in card.items() if key != "seal"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def read_table(path: Path, columns: dict[str, str], sha256: str) -> pd.DataFrame:
    """Read table.csv, whose hash must be ``sha256``, with the dtypes of the card: str, int64, float64 or uint8.

    Everything is read as text first: pandas' guesses would turn patient 00000013 into 13 and sex "" into NaN.
    """
    try:
        content = path.read_bytes()
        reason = "its SHA-256 is not what card.json says: it changed after the set was prepared"
        if hashlib.sha256(content).hexdigest() == sha256:
            table, reason = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False), ""
    except (ValueError, OSError) as error:
        reason = brief(error)
    if reason:
        raise ValueError(f"{path} cannot be used ({reason}); delete the folder and prepare it again")
    if list(table.columns) != list(columns):
        odd = sorted(set(table.columns) ^ set(columns)) or ["the order of columns"]
        raise ValueError(f"{path}: {', '.join(odd)} differs from card.json; prepare the set again")
    for name, kind in columns.items():
        if kind != "str":
            try:
                values = table[name].replace("", "nan").astype("float64" if kind == "float64" else "int64")
            except (ValueError, OverflowError) as error:
                raise ValueError(f"{path}: column {name} must hold {kind} numbers ({brief(error)})") from error
            if kind == "uint8" and not values.between(0, 255).all():  # before the cast, which would wrap 256 to 0
                odd = values[~values.between(0, 255)].iloc[0]
                raise ValueError(f"{path}: column {name} must hold uint8 numbers, found {odd}")
            table[name] = values.astype(kind)
    return table


def npy_header(shape: tuple[int, int, int]) -> bytes:
    """The bytes before the pixels: an npy file of version 1.0 holding uint8 in C order."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def read_pixels(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Open the pixels as a read-only memory map and check header and length; no pixel is read."""
    header = npy_header(shape)
    try:
        with open(path, "rb") as file:
            found, length = file.read(len(header)), os.fstat(file.fileno()).st_size
        if found != header:
            raise ValueError("its header says something else")
        if length != len(header) + int(np.prod(shape, dtype=np.int64)):
            raise ValueError(f"it has {length:,} bytes")
        return np.memmap(path, np.uint8, "r", len(header), shape)
    except (ValueError, OSError) as error:
        expected = f"expected {shape} uint8 (rows of table.csv, size of card.json)"
        raise ValueError(f"{path}: {expected}, but {error}; prepare the set again") from error


def digest(*parts) -> str:
    """SHA-256 of plain JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def column_kinds(table: pd.DataFrame) -> dict[str, str]:
    """Column name -> dtype as the card records it."""
    kinds = {"i": "int64", "u": "uint8", "f": "float64"}
    return {name: kinds.get(table[name].dtype.kind, "str") for name in table.columns}


def content_sha256(folder, shape: tuple[int, int, int]) -> str:
    """SHA-256 of the pixels (row-major, without the npy header), then of the bytes of table.csv; bounded memory."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(_CHUNK))
    with open(Path(folder) / "pixels.npy", "rb", buffering=0) as file:
        file.seek(len(npy_header(shape)))
        while n := file.readinto(buffer):
            digest.update(buffer[:n])
    digest.update((Path(folder) / "table.csv").read_bytes())
    return digest.hexdigest()


def assert_unseen_left_out(train: pd.DataFrame, unseen, where) -> None:
    """ValueError naming a training image that carries an unseen finding."""
    leaked = train[train[list(unseen)].to_numpy().any(axis=1)]
    if len(leaked):
        image, key = leaked["image"].iloc[0], next(key for key in unseen if leaked[key].iloc[0])
        raise ValueError(
            f"{where}: {len(leaked)} training images carry an unseen finding ({image}: {key}); leave them out of train"
        )


def assert_patient_disjoint(table: pd.DataFrame, where) -> None:
    """ValueError naming patients (five at most) whose images lie in more than one split."""
    n_splits = table.groupby("patient")["split"].nunique()
    shared = n_splits.index[n_splits > 1]
    if len(shared):
        splits = {p: " and ".join(table["split"][table["patient"] == p].unique()) for p in shared[:5]}
        named = "; ".join(f"patient {patient} is in {found}" for patient, found in splits.items())
        more = f"; and {len(shared) - 5} more" if len(shared) > 5 else ""
        raise ValueError(f"{where}: splits must not share patients, but {named}{more}; split by patient, prepare again")
