"""The published counts that the phantom follows, and what its films depend on."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from cmdml.findings import KEYS
from cmdml.sources import reading
from cmdml.store import brief

COUNTS = Path(__file__).resolve().parents[3] / "data" / "label_sets.csv"


def read_counts() -> tuple[pd.DataFrame, dict]:
    """The label sets (view, findings, images) and the patient counts; ValueError naming the file that is damaged."""
    path = COUNTS
    sets = reading.read_csv(path, ["view", "findings", "images"])
    sets["images"] = reading.numbers(sets[["findings", "view", "images"]], "images", path, whole=True)
    known = {*KEYS, "No Finding"}
    named = np.array([set(names.split("|")) <= known for names in sets["findings"]], bool)
    odd = sets[~sets["view"].isin(["PA", "AP"]) | ~named]
    if len(odd) or not sets["images"].sum():
        found = f"{odd['view'].iloc[0]},{odd['findings'].iloc[0]}" if len(odd) else "no images"
        raise ValueError(f"{path} holds {found!r}, no label set; make it again with data/make_label_sets.py")
    path = path.with_suffix(".json")
    try:
        about = json.loads(reading.read_text(path))
        tables = [about["patients_by_images"], *(about["patients_by_sex_and_age"][sex] for sex in "FM")]
        counts = {int(key): int(n) for table in tables for key, n in table.items()}
        if min(counts) < 0 or min(counts.values()) < 0 or not all(sum(table.values()) for table in tables):
            raise ValueError("counts must not be negative, nor all zero")
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(
            f"{path} holds no patient counts ({brief(error)}); make it again with data/make_label_sets.py"
        ) from error
    return sets, about


def drawing_sha256() -> str:
    """SHA-256 of all that decides what is drawn: this package's source files and the two tables of counts."""
    files = [*sorted(Path(__file__).parent.glob("*.py")), COUNTS, COUNTS.with_suffix(".json")]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {reading.sha256(file)}\n".encode())
    return digest.hexdigest()
