"""Kermany: chest radiographs of children from another hospital, pneumonia or normal, to test on and never to train.

Reads ``labels.csv`` and ``images/*.png`` of a folder. Two of the columns of ChestX-ray14 are known, Pneumonia and No
Finding; a film is one or the other. **The other thirteen columns are 0 because nobody looked, not because the finding
is absent**: they are there so that a model of fourteen findings can be run on the set, and must not be evaluated
(``card["known_findings"]``).

What misleads: children of one to five, not adults; the properties of the *files* tell the classes apart (they are kept
as columns, as scorers without pixels). ``matched_pair`` names pairs of a normal and a pneumonia film whose files are
alike in width and aspect; "" = no partner. Compare within pairs, and draw bootstrap samples of pairs.

Source: Kermany, Zhang, Goldbaum, *Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for
Classification*, Mendeley Data v2, 2018, doi 10.17632/rscbjbr9sj.2 (Kermany et al., Cell 172:1122–1131, 2018).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cmdml import store
from cmdml.findings import KEYS
from cmdml.names import check
from cmdml.radiographs import RadiographSet, write_radiographs
from cmdml.sources import reading
from cmdml.sources.decoding import NON_SQUARE, PngHeader, cores, decode_blocks, headers

KNOWN = ("Pneumonia",)  # and whether there is any finding
FLAGS = ("Pneumonia", "No Finding", "bacterial_pneumonia", "viral_pneumonia")
WHOLE = ("original_width", "original_height", "original_bytes")
REAL = ("sharp", "mean_grey")
OWN = ("bacterial_pneumonia", "viral_pneumonia", "source_repo", *WHOLE, *REAL, "matched_pair")
WARNINGS = (
    "Children of one to five years, another hospital: what fails here need not fail abroad in general.",
    "Only Pneumonia (and No Finding) is known; the other thirteen columns are 0 and must not be evaluated.",
    "File size, width and sharpness tell the classes apart without any lung: use matched_pair, and a control at 64 px.",
)


def prepare(folder, *, root, size=64, non_square="refuse", workers=0, progress=True) -> RadiographSet:
    """Write the films under ``root`` as a set whose films are all of the split ``test``.

    Parameters
    ----------
    root : folder with labels.csv and images/.
    size : pixels; never larger than an image, nothing is enlarged.
    non_square, workers : as in :func:`cmdml.sources.nih.prepare`.

    Returns
    -------
    The set. Its own columns: bacterial_pneumonia, viral_pneumonia (0/1), source_repo, original_width, original_height
    (pixels), original_bytes, sharp (standard deviation of the Laplacian), mean_grey, matched_pair.

    Raises
    ------
    FileNotFoundError, ValueError : naming the file, the value and the way out.
    """
    check(non_square, NON_SQUARE, "non_square")
    if not root or not (root := Path(root)).is_dir():
        raise FileNotFoundError(f"no folder of Kermany's radiographs at {str(root)!r}; pass root")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"kermany: size must be a whole number from 1 on, got {size!r}")
    table, workers = _read_labels(root / "labels.csv"), workers or cores()
    paths, about = _films(root, table, size, workers)
    counts = _counts(root, table, about)
    print(f"kermany: {len(table):,} radiographs, {counts['pneumonia']} of them pneumonia. {WARNINGS[1]}")
    made_with = {"source": "kermany", "size": size, "non_square": non_square}
    made_with |= {"inputs": {"labels.csv": reading.sha256(root / "labels.csv")}}
    return write_radiographs(
        folder,
        table=table,
        size=size,
        card=_card(table, counts, made_with),
        blocks=lambda start: decode_blocks(paths, start, size, workers, progress, non_square),
        rows=[header.line for header in about],
    )


def _films(root: Path, table: pd.DataFrame, size: int, workers: int) -> tuple[list[Path], list[PngHeader]]:
    """Path and header of every listed film; one that is missing or would be enlarged is refused."""
    paths = [root / "images" / name for name in table["image"]]
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise FileNotFoundError(f"{missing[0]} is listed in labels.csv and missing; add it or take its row out")
    about = headers(paths, workers)
    small = [path for path, header in zip(paths, about) if header.side < size]
    if small:
        raise ValueError(
            f"{small[0]} is smaller than size={size}, and so are {len(small) - 1} more; choose a smaller size"
        )
    return paths, about


def _counts(root: Path, table: pd.DataFrame, about: list[PngHeader]) -> dict[str, int]:
    pairs = table["matched_pair"][table["matched_pair"] != ""]
    return {
        "pneumonia": int(table["Pneumonia"].sum()),
        "normal": int((table["Pneumonia"] == 0).sum()),
        "matched_pairs": int(pairs.nunique()),
        "unlisted_images": len({path.name for path in (root / "images").glob("*.png")} - set(table["image"])),
        "non_square": sum(header.width != header.height for header in about),
    }


def _card(table: pd.DataFrame, counts: dict, made_with: dict) -> dict:
    return {
        "name": "kermany",
        "title": f"Kermany, {len(table):,} radiographs of children, pneumonia or normal",
        "source": "https://doi.org/10.17632/rscbjbr9sj.2 (Guangzhou Women and Children's Medical Center)",
        "licence": "CC BY 4.0",
        "citation": "Kermany, Zhang, Goldbaum, Mendeley Data v2, 2018, doi 10.17632/rscbjbr9sj.2",
        "note": " ".join(WARNINGS),
        "warnings": list(WARNINGS),
        "known_findings": list(KNOWN),
        "findings": list(KEYS),
        "counts": counts,
        "made_with": made_with,
    }


def _read_labels(path: Path) -> pd.DataFrame:
    raw = reading.read_csv(path, ["image", "patient", "view", "sex", *FLAGS, *OWN[2:]])
    odd = raw[~raw["image"].str.fullmatch(r"[^/\\]+\.png")]
    if len(odd):
        raise ValueError(f"{path}: {odd['image'].iloc[0]!r:.60} is not the name of a PNG image; mend it")
    for name in FLAGS:
        odd = raw[~raw[name].isin(["0", "1"])]
        if len(odd):
            image, value = odd["image"].iloc[0], odd[name].iloc[0]
            raise ValueError(f"{path}: {image:.60} has {name} {value!r:.60}; expected 0 or 1")
        raw[name] = raw[name].astype(np.uint8)
    for name in (*WHOLE, *REAL):
        raw[name] = reading.numbers(raw, name, path, whole=name in WHOLE)
    odd = raw[(raw["Pneumonia"] + raw["No Finding"] != 1)
              | (raw["bacterial_pneumonia"] + raw["viral_pneumonia"] != raw["Pneumonia"])]  # fmt: skip
    if len(odd):
        raise ValueError(
            f"{path}: {odd['image'].iloc[0]} must be either normal or a bacterial or viral pneumonia; mend it"
        )
    for pair, films in raw[raw["matched_pair"] != ""].groupby("matched_pair"):
        if sorted(films["Pneumonia"]) != [0, 1]:
            held = f"{(films['Pneumonia'] == 0).sum()} and {films['Pneumonia'].sum()}"
            raise ValueError(f"{path}: pair {pair} must hold one normal and one pneumonia film, not {held}; mend it")
    # The publishers give one age range for the whole set, so no film has an age of its own.
    table = raw[["image", "patient"]].assign(split="test", view=raw["view"], age=np.nan, sex=raw["sex"])
    table = pd.concat([table, raw[list(OWN)]], axis=1)
    for key in KEYS:
        table[key] = raw[key] if key in KNOWN else np.uint8(0)
    table = table.sort_values("image", ignore_index=True)
    store.check_table(table, KEYS, where=path)
    return table
