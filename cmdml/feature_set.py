"""Features on disk: what a frozen backbone saw in a set of radiographs.

A feature set is three files: ``features.safetensors``, one float16 tensor (N, F); ``table.csv``, the table of the
radiographs; ``card.json``, what was extracted from what, sealed by SHA-256. They lie in a folder, or side by side under
one stem (``nih.safetensors``, ``nih.csv``, ``nih.json``). The raw output is kept: scaling is fitted on training films.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file

from cmdml import store
from cmdml.files import read_json, sha256, write_json, write_text, write_whole

FORMAT = 1


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features, table and card: a :class:`~cmdml.radiographs.RadiographSet` whose "pixels" are vectors.

    Parameters
    ----------
    pixels : (N, F) float16, read-only; the layers side by side, see `layers`.
    table : as that of the radiographs, row by row.
    card : what it is, its layers, and the SHA-256 of everything.
    folder : where it lies: a folder, or the stem of three files.
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
        """Height and width in pixels at which the radiographs were shown to the backbone."""
        return int(self.card["size"])

    @property
    def layers(self) -> dict[str, slice]:
        """Columns of ``pixels`` that each layer fills; the backbone's last one comes first."""
        ends = np.cumsum(list(self.card["layers"].values())).tolist()
        return {name: slice(end - n, end) for (name, n), end in zip(self.card["layers"].items(), ends)}

    def __len__(self) -> int:
        return len(self.table)

    @classmethod
    def load(cls, folder) -> FeatureSet:
        """Open a folder or a stem; every byte is compared with the seal.

        Raises
        ------
        FileNotFoundError : a file is missing.
        ValueError : card, features or table were changed, or do not agree.
        """
        folder = Path(folder)
        place = folder if folder.is_dir() else folder.parent
        path = folder / "card.json" if folder.is_dir() else place / f"{folder.name}.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"no features in {folder}: {path.name} is missing; extract them first (cmdml.features.extract)"
            )
        card = _read_card(path)
        files = {kind: place / file["name"] for kind, file in card["files"].items()}
        for kind, file in files.items():
            if not file.is_file():
                raise FileNotFoundError(f"no features in {folder}: {file.name} is missing; extract them again")
            _same(file, sha256(file), card["files"][kind]["sha256"])
        table = store.read_table(files["table"], card["columns"], card["files"]["table"]["sha256"])
        store.check_table(table, card["findings"], where=files["table"])
        try:
            features = load_file(files["features"])["features"]
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{files['features']} holds no features ({error}); extract them again") from error
        shape = (len(table), sum(card["layers"].values()))
        if features.shape != shape or features.dtype != np.float16:
            found = f"{features.shape} {features.dtype}"
            raise ValueError(f"{files['features']}: expected {shape} float16, got {found}; extract them again")
        features.flags.writeable = False
        return cls(features, table, card, folder)

    def verify(self) -> None:
        """Read and compare everything once more; ValueError if a file is not what the card says."""
        FeatureSet.load(self.folder)

    def save(self, stem, *, table: str | None = None, **about) -> FeatureSet:
        """Write ``<stem>.safetensors``, ``.csv``, ``.json``: what a repository can carry.

        ``table`` names a table in the same folder to be shared instead of a csv of its own; ``about`` goes into the
        card.
        """
        stem = Path(stem)
        features = stem.parent / f"{stem.name}.safetensors"
        rows = stem.parent / (table or f"{stem.name}.csv")
        source = self.folder / "features.safetensors" if self.folder.is_dir() else _beside(self.folder, "safetensors")
        write_whole(features, lambda path: shutil.copyfile(source, path))
        text = csv_text(self.table)
        if not table:
            write_text(rows, text)
        elif rows.read_bytes() != text.encode():
            raise ValueError(f"{rows} is not the table of these features: give them one of their own")
        write_card(stem.parent / f"{stem.name}.json", self.card | about, features, rows)
        return FeatureSet.load(stem)


def csv_text(table: pd.DataFrame) -> str:
    """The table as it is written."""
    return table.to_csv(index=False, lineterminator="\n")


def _beside(stem: Path, suffix: str) -> Path:
    return stem.parent / f"{stem.name}.{suffix}"


def _seal(card: dict) -> str:
    rest = {name: value for name, value in card.items() if name != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def write_card(path: Path, card: dict, features: Path, table: Path) -> None:
    """Seal the two files and the card itself; whoever writes a set writes this last."""
    files = {kind: {"name": f.name, "sha256": sha256(f)} for kind, f in (("features", features), ("table", table))}
    both = "".join(file["sha256"] for file in files.values())
    card = {name: value for name, value in card.items() if name != "seal"}
    card |= {"format": FORMAT, "files": files, "sha256": hashlib.sha256(both.encode()).hexdigest()}
    card |= {"created_by": f"cmdml {version('cmdml')}"}
    write_json(path, card | {"seal": _seal(card)})


def _read_card(path: Path) -> dict:
    card = read_json(path, "extract the features again")
    try:
        number, seal = card["format"], card["seal"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the card of extracted features ({error!r}); extract them again") from error
    if number != FORMAT:
        raise ValueError(f"{path} has format {number}, this version reads {FORMAT}; extract the features again")
    _same(path, _seal(card), seal)
    return card


def _same(path: Path, found: str, expected: str) -> None:
    if found != expected:
        hashes = f"sha256 {found[:12]}…, the card says {expected[:12]}…"
        raise ValueError(f"{path} changed after the features were extracted ({hashes}); extract them again")
