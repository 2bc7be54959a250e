"""How extracted features come to lie on disk: batch by batch, by one process or in parts by several.

Low-level half of :mod:`cmdml.features`. A part is a folder ``<folder>.parts/2-of-4``: the rows of some whole batches
and a seal that says of what, so that the parts put together are, byte for byte, what one process would have written.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tqdm import tqdm

from cmdml import store
from cmdml.feature_set import FeatureSet, csv_text, write_card
from cmdml.files import SEAL, check_seal, naming, seal, write_text
from cmdml.writing import clear_unless_files, intact_rows, note_rows, only_writer

FILE = "features.safetensors"
PART = "part of features 1"  # the format of a part's seal
_MERGED = 256  # batches that a merge copies at a time
_FROM_RADIOGRAPHS = ("name", "title", "source", "licence", "citation", "note", "counts", "made_with", "findings")

Read = Callable[[slice], np.ndarray]


def write_features(
    radiographs, folder: Path, about: dict, batch: int, device: str, read: Read, progress: bool, step: int = 0
) -> None:
    """The whole set, from the last whole batch of an interrupted run of the same request on.

    Parameters
    ----------
    about : what is extracted, with its ``key``; it goes into the card.
    batch, device : on which the last bit of a feature may depend.
    read : rows of the set -> (B, F) float16.
    step : films written at a time, a multiple of ``batch``; 0 = ``batch``.
    """
    shape = (len(radiographs), sum(about["layers"].values()))
    with naming(folder), only_writer(folder):
        partial = _continued(folder, _request(about, batch, device))
        _append(partial / FILE, shape, read, step or batch, progress)
        card = {name: radiographs.card[name] for name in _FROM_RADIOGRAPHS if name in radiographs.card}
        card |= {"columns": store.column_kinds(radiographs.table), **about}
        _publish(partial, folder, csv_text(radiographs.table), card)


def part_rows(films: int, batch: int, shard: tuple[int, int]) -> slice:
    """The films of part ``shard[0]`` (from 0) of ``shard[1]``: whole batches, as one process would make them."""
    part, parts = shard
    batches = -(-films // batch)
    if not 0 <= part < parts:
        raise ValueError(f"shard ({part}, {parts}): the parts are numbered from 0 to {parts - 1}")
    if parts > batches:
        raise ValueError(f"{films} films are {batches} batches of {batch}, too few for {parts} parts: ask for fewer")
    return slice(*(min(batches * k // parts * batch, films) for k in (part, part + 1)))


def write_part(
    radiographs, folder: Path, shard: tuple[int, int], about: dict, batch: int, device: str, read: Read, progress: bool
) -> Path:
    """One part of the set; it is left alone if it is there, and goes on where it was stopped. Returns its folder."""
    rows, place = part_rows(len(radiographs), batch, shard), part_place(folder, *shard)
    shape, request = (rows.stop - rows.start, sum(about["layers"].values())), _request(about, batch, device)
    with naming(place), only_writer(place):
        if _is_part(place, request):
            return place
        partial = _continued(place, request)
        _append(partial / FILE, shape, lambda part: read(slice(rows.start + part.start, rows.start + part.stop)), batch,
                progress)  # fmt: skip
        seal(partial, [FILE], PART, about=about, batch=batch, device=device, rows=[rows.start, rows.stop])
        for note in partial.glob("*"):
            if note.name not in (FILE, SEAL):
                note.unlink()
        shutil.rmtree(place, ignore_errors=True)
        os.replace(partial, place)
    return place


def merge(radiographs, folder, parts: int) -> FeatureSet:
    """Put the parts of :func:`cmdml.features.extract` with ``shard`` together, and remove them.

    It needs no backbone. A merge that was killed is done again.

    Raises
    ------
    FileNotFoundError
        A part is missing: the sentence names it, and how to make it.
    ValueError
        A part was changed, or is of another backbone, other radiographs or other batches than the first.
    BlockingIOError
        Another process is writing the folder.
    """
    folder = Path(folder)
    seals = [_seal_of(folder, part, parts) for part in range(parts)]
    _agree(radiographs, folder, seals)
    # As much memory as whoever loads the set needs.
    held = np.concatenate([load_file(part_place(folder, k, parts) / FILE)["features"] for k in range(parts)])
    about, batch, device = (seals[0][name] for name in ("about", "batch", "device"))
    step = batch * _MERGED
    write_features(radiographs, folder, about, batch, device, held.__getitem__, False, step)
    shutil.rmtree(folder.with_name(folder.name + ".parts"), ignore_errors=True)
    return FeatureSet.load(folder)


def _agree(radiographs, folder: Path, seals: list[dict]) -> None:
    """ValueError naming the first part that does not belong to these radiographs, or not to part 0."""
    first, parts = seals[0], len(seals)
    for part, found in enumerate(seals):
        where = f"part {part} of {parts} in {part_place(folder, part, parts)}"
        if found["about"]["radiographs_sha256"] != radiographs.card["sha256"]:
            raise ValueError(f"{where} is of other radiographs than {radiographs.folder}: delete it, extract it again")
        mine, theirs = ({**it["about"], "batch": it["batch"], "device": it["device"]} for it in (found, first))
        for name in mine:
            if mine[name] != theirs.get(name):
                what = f"{name} {mine[name]!r}, part 0 {theirs.get(name)!r}"
                raise ValueError(f"{where} has {what}: delete the one that is wrong, extract it again")
        rows = part_rows(len(radiographs), first["batch"], (part, parts))
        if found["rows"] != [rows.start, rows.stop]:
            raise ValueError(f"{where} holds the films {found['rows']}, not {[rows.start, rows.stop]}: delete it")


def all_there(folder: Path, parts: int) -> bool:
    """Whether every part has been given its name."""
    return all((part_place(folder, part, parts) / SEAL).is_file() for part in range(parts))


def part_place(folder: Path, part: int, parts: int) -> Path:
    """``<folder>.parts/2-of-4``; parts are numbered from 0."""
    return folder.with_name(folder.name + ".parts") / f"{part}-of-{parts}"


def _seal_of(folder: Path, part: int, parts: int) -> dict:
    """What a part says of itself, once it is found unchanged."""
    place = part_place(folder, part, parts)
    if not (place / SEAL).is_file():
        raise FileNotFoundError(f"part {part} of {parts} is missing, {place}: extract it with shard=({part}, {parts})")
    return check_seal(place, PART, way_out=f"delete it and extract it again with shard=({part}, {parts})")


def _is_part(place: Path, request: str) -> bool:
    try:
        found = check_seal(place, PART)
    except (OSError, ValueError):
        return False
    return _request(found["about"], found["batch"], found["device"]) == request


def _request(about: dict, batch: int, device: str) -> str:
    return f"{about['key']} {batch} {device}"


def _continued(folder: Path, request: str) -> Path:
    """``<folder>.partial``: what an interrupted run of the same request left there, or emptied."""
    partial = folder.with_name(folder.name + ".partial")
    clear_unless_files(partial)
    if not ((partial / "request").is_file() and (partial / "request").read_bytes() == request.encode()):
        shutil.rmtree(partial, ignore_errors=True)
        write_text(partial / "request", request)
    return partial


def _append(path: Path, shape: tuple[int, int], read: Read, batch_size: int, progress: bool) -> None:
    """Write a safetensors file batch by batch, from the last whole batch of an interrupted run on."""
    header = {"features": {"dtype": "F16", "shape": shape, "data_offsets": [0, 2 * shape[0] * shape[1]]}}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    start, row = 8 + len(text), 2 * shape[1]
    done = intact_rows(path, start, row, shape[0])
    with open(path, "r+b" if path.exists() else "w+b") as file:
        done -= done % batch_size if done < shape[0] else 0  # the same batches as without interruption
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(start + done * row)
        file.seek(start + done * row)
        with tqdm(total=shape[0], initial=done, unit=" films", desc="features", disable=not progress) as bar:
            for first in range(done, shape[0], batch_size):
                features = read(slice(first, first + batch_size))
                if not np.isfinite(features).all():
                    raise ValueError(f"{path}: a feature of films {first} to {first + batch_size} is not finite")
                note_rows(path, first, features)
                file.write(features.tobytes())
                file.flush()
                os.fsync(file.fileno())  # so that the length never runs ahead of the features
                bar.update(len(features))


def _publish(partial: Path, folder: Path, table: str, card: dict) -> None:
    """Finish the set and give it its name; files of an older one are replaced, the card, which makes the set, last."""
    write_text(partial / "table.csv", table)
    write_card(partial / "card.json", card, partial / FILE, partial / "table.csv")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").unlink(missing_ok=True)
    for name in (FILE, "table.csv", "card.json"):
        os.replace(partial / name, folder / name)
    shutil.rmtree(partial)
