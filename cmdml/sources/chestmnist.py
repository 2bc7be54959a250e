"""ChestMNIST: the full ChestX-ray14, reduced by the MedMNIST authors, as an ``.npz`` of 28, 64, 128 or 224 pixels.

It carries no patient ids. Every image counts as its own patient here, so intervals that resample patients are too
narrow, and that the splits share no patient is the publishers' word, not something we can check.

Source: Yang et al., *MedMNIST v2*, Scientific Data 10:41, 2023, doi 10.1038/s41597-022-01721-8; Wang et al., CVPR 2017.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from cmdml import store
from cmdml.findings import KEYS
from cmdml.radiographs import SPLITS, RadiographSet, write_radiographs

SIZES = (28, 64, 128, 224)
NOTE = (
    "ChestMNIST carries no patient ids: every image counts as its own patient, that the splits share no patient is the "
    "publishers' word, and intervals over patients are too narrow."
)
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, struct.error, NotImplementedError, RuntimeError)
_ROWS = 1024  # images held at a time


def prepare(folder, *, size=64, npz=None, root=None, limit=0, progress=True) -> RadiographSet:
    """Write ChestMNIST as a set, streamed from the archive (never held whole).

    Parameters
    ----------
    size : pixels. The file's own, or a whole fraction of it (box filter).
    npz : a local file of the MedMNIST format (train_images (N, S, S) uint8, train_labels (N, 14), val_…, test_…); with
        it nothing touches the network. Without it medmnist's file of this size is downloaded and its MD5 checked.
    root : where the download goes; ``~/.medmnist`` by default, as in medmnist.
    limit : 0 = all; else at most about this many images, the first of each split in the proportion of the splits.

    Raises
    ------
    FileNotFoundError, ModuleNotFoundError, ValueError : naming the file, the value and the way out.
    """
    path = Path(npz) if npz else download(size, root)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a regular file; pass npz= with a file of the MedMNIST format")
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; pass npz= with a file of the MedMNIST format, or none to download"
        )
    shapes, labels = _held(path)
    pixels = shapes["train"][1]
    if not 0 < size <= pixels or pixels % size:
        fits = ", ".join(str(s) for s in range(16, pixels + 1) if pixels % s == 0)
        way_out = f'write SET="size={pixels}", or any of these: {fits}'
        raise ValueError(f"{path} holds {pixels} px images, which size={size} does not divide; {way_out}")
    total = sum(shape[0] for shape in shapes.values())
    keep = rows_kept({split: shape[0] for split, shape in shapes.items()}, limit)
    table = _table(labels, keep)
    print(f"chestmnist: {len(table):,} of {total:,} radiographs. {NOTE}")
    card = {
        "name": "chestmnist",
        "title": f"ChestMNIST, {len(table):,} radiographs",
        "source": "https://medmnist.com (doi 10.5281/zenodo.10519652)",
        "licence": "CC BY 4.0",
        "citation": "Yang et al., MedMNIST v2, Sci Data 10:41, 2023, doi 10.1038/s41597-022-01721-8; Wang et al., 2017",
        "note": NOTE,
        "findings": list(KEYS),
        "counts": {"left_out_by_limit": total - len(table)},
        "made_with": {"source": "chestmnist", "size": size, "limit": limit, "inputs": _digest(path)},
    }
    return write_radiographs(
        folder, table=table, size=size, card=card, blocks=lambda start: _blocks(path, keep, start, size, progress)
    )


def _held(path: Path) -> tuple[dict[str, tuple], dict[str, np.ndarray]]:
    """Shape of the images (N, S, S) and labels (N, 14) of every split; all images must be of one size."""
    shapes, labels = {}, {}
    for split in SPLITS:
        with _array(path, f"{split}_images") as (shape, dtype, _):
            if len(shape) != 3 or shape[1] != shape[2] or dtype != np.uint8:
                raise ValueError(f"{path}: {split}_images must be (N, S, S) uint8, got {shape} {dtype}")
            shapes[split] = shape
        labels[split] = _labels(path, split, shape[0])
    if len({shape[1] for shape in shapes.values()}) > 1:
        raise ValueError(f"{path}: the splits differ in size: {shapes}")
    return shapes, labels


def rows_kept(images: dict[str, int], limit: int) -> dict[str, int]:
    """How many images of each split are kept under a ``limit`` on all of them: the same share of each, rounded up."""
    total = sum(images.values())
    share = min(1.0, limit / total) if limit else 1.0
    return {split: int(np.ceil(n * share)) for split, n in images.items()}


def _table(labels: dict[str, np.ndarray], keep: dict[str, int]) -> pd.DataFrame:
    """The first ``keep`` images of each split, each its own patient."""
    frames = []
    for split in SPLITS:
        names = [f"{split}_{i:06d}" for i in range(keep[split])]
        unknown = {"image": names, "patient": names, "split": split, "view": "", "age": np.nan, "sex": ""}
        found = pd.DataFrame(labels[split][: keep[split]], columns=list(KEYS))
        frames.append(pd.concat([pd.DataFrame(unknown), found], axis=1))
    return pd.concat(frames, ignore_index=True)


def download(size: int, root=None) -> Path:
    """Fetch medmnist's file of this size, MD5 checked, into ``root``; it is fetched once."""
    if size not in SIZES:
        raise ValueError(f"ChestMNIST is published at {', '.join(map(str, SIZES))} px, not size={size}")
    from torchvision.datasets.utils import download_url  # here, so that a local file needs neither

    info = published_info()
    suffix = "" if size == 28 else f"_{size}"
    root = Path(root) if root else Path.home() / ".medmnist"
    download_url(info[f"url{suffix}"], str(root), f"chestmnist{suffix}.npz", info[f"MD5{suffix}"])
    return root / f"chestmnist{suffix}.npz"


def published_info() -> dict:
    """medmnist's description of ChestMNIST, whose label order must be ours: the arrays carry no names."""
    try:
        from medmnist import INFO
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "ChestMNIST is fetched through medmnist: pip install medmnist, or pass npz="
        ) from error
    info = INFO["chestmnist"]
    found = tuple(info["label"][str(i)] for i in range(len(info["label"])))
    expected = tuple({"Pleural_Thickening": "pleural"}.get(key, key.lower()) for key in KEYS)
    if found != expected:
        raise ValueError(f"this medmnist orders the labels {found}, expected {expected}; install medmnist 3.0.2")
    return info


@contextmanager
def _array(path: Path, name: str):
    """Open one array of the archive as (shape, dtype, stream positioned at its first byte)."""
    with _readable(path), zipfile.ZipFile(path) as archive:
        found = archive.namelist().count(f"{name}.npy")
        if found != 1:
            raise ValueError(f"{path}: {'no' if not found else 'more than one'} array {name}; found {_names(archive)}")
        with archive.open(f"{name}.npy") as stream:
            shape, fortran, dtype = _npy_header(path, name, stream)
            if dtype.hasobject or fortran:
                raise ValueError(f"{path}: {name} must be plain numbers in C order")
            yield shape, dtype, stream


@contextmanager
def _readable(path: Path):
    """Whatever zip and deflate say of a damaged archive, in one sentence."""
    try:
        yield
    except _DAMAGE as error:
        raise ValueError(
            f"{path} is not an npz archive, or a damaged one ({store.brief(error)}); fetch it again"
        ) from error


def _names(archive: zipfile.ZipFile) -> str:
    return ", ".join(archive.namelist()[:20])


def _npy_header(path: Path, name: str, stream) -> tuple[tuple[int, ...], bool, np.dtype]:
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        return read[np.lib.format.read_magic(stream)](stream)
    except (ValueError, KeyError, SyntaxError, TypeError) as error:
        raise ValueError(f"{path}: {name} is no array ({store.brief(error)}); fetch it again") from error


def _labels(path: Path, split: str, images: int) -> np.ndarray:
    with _array(path, f"{split}_labels") as (shape, dtype, stream):
        if shape != (images, len(KEYS)):
            raise ValueError(f"{path}: {split}_labels must be {(images, len(KEYS))}, got {shape}")
        content = stream.read()
    if dtype.kind not in "iuf" or len(content) != shape[0] * shape[1] * dtype.itemsize:
        raise ValueError(f"{path}: {split}_labels must be {shape} numbers, got {len(content)} bytes of {dtype}")
    labels = np.frombuffer(content, dtype).reshape(shape)
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{path}: {split}_labels must be 0 or 1, found {np.setdiff1d(labels, (0, 1))[:3]}")
    return labels.astype(np.uint8)


def _blocks(path: Path, keep: dict[str, int], start: int, size: int, progress: bool) -> Iterator[np.ndarray]:
    """Yield (n, size, size) uint8 from row ``start`` of the kept rows on, if the checksums of all images are right."""
    for split in SPLITS:
        with _array(path, f"{split}_images") as (shape, _, stream):
            length = sum(len(part) for part in iter(lambda stream=stream: stream.read(1 << 20), b""))  # checks the CRC
        if length != shape[0] * shape[1] * shape[2]:
            raise ValueError(f"{path}: {split}_images holds {length:,} bytes, not {shape}; fetch it again")
    with tqdm(total=sum(keep.values()), initial=start, unit=" images", desc="reduce", disable=not progress) as bar:
        for split in SPLITS:
            with _array(path, f"{split}_images") as (shape, _, stream):
                side = shape[1]
                stream.seek(min(start, keep[split]) * side * side, 1)  # rows that an interrupted run has written
                for row in range(min(start, keep[split]), keep[split], _ROWS):
                    n = min(_ROWS, keep[split] - row)
                    block = np.frombuffer(stream.read(n * side * side), np.uint8).reshape(n, side, side)
                    yield _reduce(block, size)
                    bar.update(n)
                start = max(0, start - keep[split])


def _reduce(block: np.ndarray, size: int) -> np.ndarray:
    """Box filter by a whole factor, rounded half up."""
    factor = block.shape[1] // size
    if factor == 1:
        return block
    sums = block.reshape(len(block), size, factor, size, factor).sum((2, 4), dtype=np.uint32)
    return ((sums + factor * factor // 2) // (factor * factor)).astype(np.uint8)


def _digest(path: Path) -> str:
    """Name-free fingerprint of the archive: the checksums that the zip directory keeps of each array."""
    with _readable(path), zipfile.ZipFile(path) as archive:
        text = "\n".join(
            f"{m.filename} {m.file_size} {m.CRC:08x}" for m in sorted(archive.infolist(), key=lambda m: m.filename)
        )
    return hashlib.sha256(text.encode()).hexdigest()
