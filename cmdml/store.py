"""How a set of radiographs lies on disk: reading and checking the table, appending rows, hashing, publishing.

Low-level half of :mod:`cmdml.radiographs`, which is what the rest of the package imports.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

SPLITS = ("train", "val", "test")
COLUMNS = ("image", "patient", "split", "view", "age", "sex")
VIEWS = ("PA", "AP", "")
SEXES = ("M", "F", "")
_CHUNK = 1 << 22  # bytes read at a time when hashing


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
            raise ValueError(f"{where}: image {row['image']} has {name} {str(row[name])!r}; expected one of {words}")
    if table["age"].dtype.kind != "f":
        raise ValueError(f"{where}: age must be float years, NaN where unknown, got {table['age'].dtype}")
    if table["image"].duplicated().any():
        raise ValueError(f"{where}: image {table['image'][table['image'].duplicated()].iloc[0]} is listed twice")
    if (table["patient"] == "").any():
        raise ValueError(f"{where}: image {table['image'][table['patient'] == ''].iloc[0]} has no patient")


def read_table(path: Path, columns: dict[str, str]) -> pd.DataFrame:
    """Read table.csv with the dtypes of the card (``str``, ``int64``, ``float64``, ``uint8``).

    Everything is read as text first: pandas' guesses would turn patient 00000013 into 13 and sex "" into NaN.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(table.columns) != list(columns):
        odd = sorted(set(table.columns) ^ set(columns)) or ["the order of columns"]
        raise ValueError(f"{path}: {', '.join(odd)} differs from card.json; prepare the set again")
    for name, kind in columns.items():
        if kind != "str":
            try:
                table[name] = table[name].replace("", "nan").astype(kind if kind == "float64" else "int64").astype(kind)
            except ValueError as error:
                raise ValueError(f"{path}: column {name} must hold {kind} numbers ({error})") from error
    return table


def read_pixels(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Open the pixels as a read-only memory map and check what the header says; no pixel is read."""
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}); prepare the set again") from error
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise ValueError(
            f"{path}: expected {shape} uint8 (rows of table.csv, size of card.json), "
            f"got {pixels.shape} {pixels.dtype}; prepare the set again"
        )
    return pixels


def column_kinds(table: pd.DataFrame) -> dict[str, str]:
    """Column name -> dtype as the card records it."""
    kinds = {"i": "int64", "u": "uint8", "f": "float64"}
    return {name: kinds.get(table[name].dtype.kind, "str") for name in table.columns}


def content_sha256(folder) -> str:
    """SHA-256 of the pixels (row-major, without the npy header), then of the bytes of table.csv; bounded memory."""
    digest = hashlib.sha256()
    with open(Path(folder) / "pixels.npy", "rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    digest.update((Path(folder) / "table.csv").read_bytes())
    return digest.hexdigest()


def append_rows(path: Path, shape: tuple[int, int, int], blocks: Callable[[int], Iterable[np.ndarray]]) -> None:
    """Write an npy file row by row, from where an earlier, interrupted run stopped: its length says where.

    Plain appends rather than a memory map: mapped pages count as ours until the kernel writes them back.
    """
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    offset, row = header.tell(), shape[1] * shape[2]
    with open(path, "r+b" if path.exists() else "w+b") as file:
        done = min(max(0, os.fstat(file.fileno()).st_size - offset) // row, shape[0])
        file.write(header.getvalue())
        file.truncate(offset + done * row)  # a killed run may have left half a row
        file.seek(offset + done * row)
        for block in blocks(done) if done < shape[0] else ():
            if block.dtype != np.uint8 or block.shape[1:] != shape[1:] or done + len(block) > shape[0]:
                expected = f"at most {shape[0] - done} x {shape[1]} x {shape[2]} uint8"
                raise ValueError(f"{path}: row {done}: expected {expected}, got {block.shape} {block.dtype}")
            file.write(np.ascontiguousarray(block).data)
            file.flush()
            os.fsync(file.fileno())  # so that the length never runs ahead of the pixels, even if the power fails
            done += len(block)
    if done != shape[0]:
        raise ValueError(f"{path}: the source ended after {done} of {shape[0]} radiographs")


def publish(partial: Path, folder: Path) -> None:
    """Give the finished folder its name."""
    if not folder.exists() or not any(folder.iterdir()):
        os.replace(partial, folder)
        return
    # The folder has files (an older set, a figure): only ours are replaced, the card last, since it makes the set.
    (folder / "card.json").unlink(missing_ok=True)
    for file in ("pixels.npy", "table.csv", "card.json"):
        os.replace(partial / file, folder / file)
    partial.rmdir()


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
