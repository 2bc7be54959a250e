"""Damaged inputs of every kind, drawn with a fixed seed: each ends in one sentence, or in what the whole input gives.

``python tests/reliability/test_sets.py 500`` draws 500 cases per source instead and prints what became of them.
"""

import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cmdml.findings import KEYS
from cmdml.radiographs import RadiographSet, write_radiographs
from cmdml.sources import chestmnist, kermany, nih

FILMS, SIZE = 12, 16
REFUSED, HARMLESS, OTHER_INPUT, SILENT = "refused", "harmless", "another input, noticed", "ACCEPTED IN SILENCE"


# What is damaged: each makes a small folder, and says what reads it.


def films(folder):
    folder.mkdir(parents=True)
    names = [f"{i // 2 + 1:08d}_{i % 2:03d}.png" for i in range(FILMS)]
    for i, name in enumerate(names):
        pixels = np.random.default_rng(i).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return names


def a_set(root):
    table = pd.DataFrame({"image": [f"{i:02d}.png" for i in range(FILMS)], "patient": [f"p{i}" for i in range(FILMS)]})
    table = table.assign(split=["train", "val", "test"] * (FILMS // 3), view="PA", age=50.5, sex="F")
    for c, key in enumerate(KEYS):
        table[key] = (np.arange(FILMS) == c).astype(np.uint8)
    pixels = np.random.default_rng(0).integers(0, 256, (FILMS, SIZE, SIZE), dtype=np.uint8)
    card = {"name": "toy", "findings": KEYS, "made_with": {"source": "toy"}}
    write_radiographs(root, table=table, size=SIZE, card=card, fill=lambda out: np.copyto(out, pixels))


def read_set(root, folder):
    radiographs = RadiographSet.load(root)
    radiographs.verify()
    return radiographs


def an_nih_folder(root):
    names = films(root / "images")
    rows = ["Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,Width,Height"]
    labels = ("No Finding", "Mass|Hernia", "Edema")
    rows += [f"{n},{labels[i % 3]},0,{i // 2 + 1},05{i % 9}Y,{'MF'[i % 2]},PA,9,9" for i, n in enumerate(names)]
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join(rows) + "\n")
    (root / "splits").mkdir()
    for name, part in zip(("train", "val", "test"), (names[:6], names[6:8], names[8:])):
        (root / "splits" / f"{name}_list.txt").write_text("\n".join(part) + "\n")
    sources = [f"{name},a/{i % 2},{64 + i}" for i, name in enumerate(names)]
    (root / "sources.csv").write_text("\n".join(["image,source_repo,source_pixels", *sources]) + "\n")


def a_kermany_folder(root):
    names, rows = films(root / "images"), []
    rows.append("image,patient,view,sex,Pneumonia,No Finding,bacterial_pneumonia,viral_pneumonia,source_repo,"
                "original_width,original_height,original_bytes,sharp,mean_grey,matched_pair")  # fmt: skip
    for i, name in enumerate(names):
        rows.append(f"{name},P{i},AP,,{i % 2},{1 - i % 2},{i % 2},0,a/b,{900 + i},800,77,1.5,90.25,p{i // 2}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")


def an_archive(root):
    rng, arrays = np.random.default_rng(0), {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = rng.integers(0, 256, (4, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 2, (4, 14))
    root.mkdir()
    np.savez(root / "c.npz", **arrays)


KINDS = {
    "set": (a_set, read_set),
    "nih": (an_nih_folder, lambda root, out: nih.prepare(out, root=root, size=8, workers=1, progress=False)),
    "kermany": (a_kermany_folder, lambda root, out: kermany.prepare(out, root=root, size=8, workers=1, progress=False)),
    "npz": (an_archive, lambda root, out: chestmnist.prepare(out, npz=root / "c.npz", size=14, progress=False)),
}


# How it is damaged.


OTHERS = ["zeros", "cut", "delete", "repeat", "insert", "noise", "letter", "digit", "swap lines", "latin", "mark"]
OTHERS += ["gone", "empty", "pipe", "folder"]


def damage(path: Path, rng: np.random.Generator) -> str:
    data, n = bytearray(path.read_bytes()), path.stat().st_size
    at, length = int(rng.integers(n)), int(rng.integers(1, 40))
    how = str(rng.choice(["flip"] * 6 + OTHERS))
    lines = bytes(data).splitlines(keepends=True)
    if how == "flip":
        data[at] ^= 1 << int(rng.integers(8))
    elif how == "swap lines" and len(lines) > 2:
        i, j = rng.integers(len(lines), size=2)
        lines[i], lines[j] = lines[j], lines[i]
        data = bytearray(b"".join(lines))
    elif how in ("gone", "pipe", "folder"):
        path.unlink()
        if how != "gone":
            os.mkfifo(path) if how == "pipe" else path.mkdir()
        return how
    else:
        new = {"zeros": bytes(length), "noise": rng.bytes(length), "letter": b"A", "digit": b"7", "latin": b"\xe9"}
        new |= {"cut": b"", "delete": b"", "insert": bytes(data[at : at + length]) + rng.bytes(length), "empty": b""}
        new |= {"repeat": bytes(data[at : at + length]) * 2, "mark": b"\xef\xbb\xbf"}
        piece = new.get(how, b"")
        stop = {"cut": n, "letter": at + 1, "digit": at + 1, "latin": at + 1, "mark": 0}.get(how, at + length)
        at, stop = (0, n) if how == "empty" else (0, 0) if how == "mark" else (at, stop)
        data[at:stop] = piece
    path.write_bytes(data)
    return how


@contextmanager
def at_most(seconds: int):
    def late(*_):
        raise TimeoutError("hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def content(radiographs):
    return radiographs.table.to_csv(), radiographs.pixels.tobytes(), radiographs.card["findings"]


def verdict(kind: str, root: Path, path: Path, out: Path, whole) -> str:
    """What became of the damaged folder; whatever is none of these, a foreign error or a hang, comes through."""
    try:
        with at_most(20):
            found = KINDS[kind][1](root, out)
    except (ValueError, FileNotFoundError) as error:
        text = str(error)
        assert type(error) in (ValueError, FileNotFoundError), repr(error)  # UnicodeDecodeError is a ValueError, too
        # The path, or at least the folder, where it is gone; "splits" and "images" lie beside it.
        assert "\n" not in text and str(root) in text and len(text) < 600, text
        return REFUSED
    if content(found) == content(whole) and kind == "set":
        return HARMLESS
    if content(found)[1] != content(whole)[1] and len(found) == len(whole) and path.suffix == ".png":
        return SILENT
    if content(found) == content(whole):
        return HARMLESS
    # A table that says something else is another input. It must be seen as one, and no film may vanish uncounted.
    left_out = [n for name, n in found.card["counts"].items() if name.startswith(("without", "listed", "unlisted"))]
    noticed = found.card["request"] != whole.card["request"] and (len(found) == len(whole) or sum(left_out))
    return OTHER_INPUT if noticed and kind in ("nih", "kermany") else SILENT


def cases(kind: str, place: Path, n: int, seed: int):
    """Draw n damaged copies; yields (file, how, verdict)."""
    make, read = KINDS[kind]
    make(place / "whole")
    whole, rng = read(place / "whole", place / "whole_set"), np.random.default_rng(seed)
    files = sorted(path.relative_to(place / "whole") for path in (place / "whole").rglob("*") if path.is_file())
    texts = [file for file in files if file.suffix != ".png"]
    for _ in range(n):
        shutil.copytree(place / "whole", place / "copy")
        file = files[rng.integers(len(files))] if rng.random() < 0.4 else texts[rng.integers(len(texts))]
        how = damage(place / "copy" / file, rng)
        yield file, how, verdict(kind, place / "copy", place / "copy" / file, place / "out", whole)
        for folder in ("copy", "out", "out.partial"):
            shutil.rmtree(place / folder, ignore_errors=True)


@pytest.mark.parametrize("kind, n", [("set", 150), ("nih", 60), ("kermany", 40), ("npz", 50)])
def test_no_damage_is_accepted_in_silence(tmp_path, kind, n):
    found = list(cases(kind, tmp_path, n, seed=1))
    assert not [case for case in found if case[2] == SILENT]
    assert Counter(case[2] for case in found)[REFUSED] > n / 4


def test_the_oracle_sees_what_is_accepted(tmp_path, monkeypatch):
    """Without the seals the same cases are accepted, and these tests say so."""
    monkeypatch.setattr(RadiographSet, "verify", lambda self: None)
    assert SILENT in {case[2] for case in cases("set", tmp_path, 150, seed=1)}


if __name__ == "__main__":
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as place:
            seen = Counter(f"{how}: {end}" for _, how, end in cases(kind, Path(place), int(sys.argv[1]), seed=7))
        print(kind, dict(sorted(seen.items())), file=sys.stderr)
