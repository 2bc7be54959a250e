"""Extract the features of real films that this repository carries, and pick the films for figures.

    python data/make_features.py NIH_ROOT

NIH_ROOT holds NIH radiographs in the layout of the official download, with ``sources.csv``. Two sources are left out:
once training films with an unseen finding are dropped, all of their training films are normal. Writes
``data/features/`` and ``data/films/``.
"""

import argparse
import tempfile
from pathlib import Path

import pandas as pd
from PIL import Image

from cmdml.features import extract
from cmdml.radiographs import RadiographSet, write_radiographs
from cmdml.sources import nih

DATA = Path(__file__).resolve().parent
EXCLUDED = ("muhammedtalo/COVID-19", "austinauyeung/covid-classifier")
SIZE, FILMS = 224, 40
TERMS = "NIH puts no restriction on use and asks to cite the paper, link its download site and acknowledge it."


def prepare(folder: Path, root: Path) -> RadiographSet:
    """Films of at least 224 px at their source, without the excluded sources, sorted by image."""
    every = nih.prepare(folder / "every", root=root, size=SIZE, min_source_pixels=SIZE)
    kept = (~every.table["source_repo"].isin(EXCLUDED)).to_numpy()
    table = every.table[kept].reset_index(drop=True)
    card = {name: every.card[name] for name in ("name", "source", "licence", "citation", "findings")}
    card["title"] = f"NIH ChestX-ray14, {len(table):,} of {nih.IMAGES:,} radiographs"
    places = f"Assembled from {table['source_repo'].nunique()} places; the place predicts labels"
    card["note"] = f"{places}, so compare with a source-only control."
    left_out = every.table["source_repo"].value_counts()
    card["counts"] = {name: n for name, n in every.card["counts"].items() if isinstance(n, int)}
    card["counts"] |= {"excluded": {name: int(left_out[name]) for name in EXCLUDED}}
    for name in ("images", "patients"):
        del card["counts"][name]
    card["made_with"] = every.card["made_with"] | {"exclude_sources": list(EXCLUDED)}

    def fill(pixels):
        pixels[:] = every.pixels[kept]

    return write_radiographs(folder / "nih", table=table, size=SIZE, card=card, fill=fill)


def pick(table: pd.DataFrame, findings) -> pd.DataFrame:
    """Two films of each finding and twelve without any, half of them PA and half AP.

    The first by name, test films before others, films with this finding alone before others; a film is taken once.
    """
    number = table[list(findings)].sum(axis=1)
    order = table.assign(other=table["split"] != "test", several=number > 1).sort_values(["other", "several", "image"])
    chosen: dict[str, str] = {}
    for finding in findings:
        for view in ("PA", "AP"):
            films = order[(order[finding] == 1) & (order["view"] == view) & ~order["image"].isin(chosen)]
            chosen |= {image: finding for image in films["image"][:1]}
    normal, left = order[order[list(findings)].sum(axis=1) == 0], FILMS - len(chosen)
    for view, many in (("PA", left - left // 2), ("AP", left // 2)):
        chosen |= dict.fromkeys(normal["image"][normal["view"] == view][:many], "none")
    rows = table[table["image"].isin(chosen)]
    return rows.assign(chosen_for=rows["image"].map(chosen))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder of NIH radiographs")
    root = parser.parse_args().root
    with tempfile.TemporaryDirectory() as scratch:
        radiographs = prepare(Path(scratch), root)
        about = {"terms": TERMS, "command": "python data/make_features.py NIH_ROOT"}
        about["attribution"] = "Films: NIH Clinical Center. Weights: EfficientNet-Lite0 by ML Illustrated, Apache 2.0."
        stem = "nih-mini-efficientnet_lite0"
        features = extract(radiographs, Path(scratch) / "imagenet")
        features.save(DATA / "features" / stem, **about)
        control = extract(radiographs, Path(scratch) / "random", weights="")
        control.save(DATA / "features" / "nih-mini-random", table=f"{stem}.csv", **about)

        films = pick(radiographs.table, radiographs.findings)
        (DATA / "films").mkdir(exist_ok=True)
        for old in (DATA / "films").glob("*.png"):
            old.unlink()
        for row, image in films["image"].items():
            Image.fromarray(radiographs.pixels[row]).save(DATA / "films" / image, optimize=True)
        films.to_csv(DATA / "films" / "films.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
