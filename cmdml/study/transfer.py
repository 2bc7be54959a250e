"""Children of another hospital, with pneumonia or without: what a model of adults makes of them.

``python -m cmdml.study.transfer PROFILE KERMANY_ROOT`` writes ``data/results/transfer-kermany/``. The heads are those
of ``cmdml.study.default_split``, trained on the profile's adults: told signs, with Pneumonia among the
four unseen of ``default``, and with Pneumonia seen; illness alone; classifiers that were shown the labels of all
findings; and scorers that see the file and no lung: its size in bytes, width, aspect, mean brightness, sharpness. The
comparison that counts is within ``matched_pair``, a normal and a pneumonia film whose files are alike in width and
aspect; the bootstrap draws pairs. With NIH_ROOT as a third argument once more at 64 px, where sharpness is gone from
the pixels.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from cmdml.evaluation.bootstrap import percentile_interval
from cmdml.evaluation.strata import stratified_auroc
from cmdml.feature_set import FeatureSet
from cmdml.features import extract
from cmdml.findings import split_findings
from cmdml.sources import kermany
from cmdml.study import run
from cmdml.study.default_split import SEEDS, films_at, scored_by, without
from cmdml.study.pool import workers
from cmdml.study.rotation import Rotation, films_of

FINDING = "Pneumonia"
MODELS = ("focused", "focused_description", "focused_shuffled", "eszsl", "nearest", "mean_of_seen", "normality",
          "ceiling")  # fmt: skip
FILE = ("bytes", "width", "aspect", "mean_grey", "sharp", "bytes_per_pixel")
SMALL = 64


def file_scores(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """{property: (M,)} of the files as they were published; the sign is what the README of the set warns of.

    Pneumonias are smaller, narrower, less sharp; a property that says the opposite here has an AUROC below 0.5.
    """
    width, height = table["original_width"].astype(float), table["original_height"].astype(float)
    size = table["original_bytes"].astype(float)
    made = {"bytes": -size, "width": -width, "aspect": width / height, "mean_grey": -table["mean_grey"],
            "sharp": -table["sharp"], "bytes_per_pixel": -size / (width * height)}  # fmt: skip
    return {name: made[name].to_numpy(float) for name in FILE}


def together(adults: FeatureSet, children: FeatureSet) -> FeatureSet:
    """One set, adults first; of the children's table only what adults have, too."""
    if any(adults.card[name] != children.card[name] for name in ("layers", "weights_sha256")):
        raise ValueError(f"{children.folder} and {adults.folder} are of two backbones: extract one of them again")
    table = pd.concat([adults.table, children.table], join="inner", ignore_index=True)
    return FeatureSet(np.concatenate([adults.pixels, children.pixels]), table, adults.card, adults.folder)


def rotation_of(profile: dict, films: FeatureSet, adults: int, unseen, seed: int) -> Rotation:
    """One quadruple and one fold: children are tested, adults of the validation split validate, all others train."""
    fold = np.where(films.table["split"] == "val", 1, 2)
    fold[adults:] = 0
    columns = tuple(films.findings.index(key) for key in unseen)
    return Rotation(profile | {"rotation": profile["rotation"] | {"folds": 1}}, seed, films, (columns,), fold)


def pneumonia_scores(profile: dict, adults: FeatureSet, children: FeatureSet) -> dict[tuple[str, str], np.ndarray]:
    """{(method, Pneumonia in training: unseen or seen): (seeds, M)} scores of the children for Pneumonia."""
    films, out = together(adults, children), {}
    default = split_findings(films.findings, profile["parameters"]["unseen"]).unseen
    for told, unseen in (("unseen", default), ("seen", tuple(key for key in default if key != FINDING))):
        for method in MODELS:
            if told == "seen" and method == "ceiling":  # it is shown all labels anyway
                continue
            seeds = profile["rotation"]["designs"][:SEEDS]
            made = [rotation_of(profile, films, len(adults), unseen, seed) for seed in seeds]
            scores, _ = scored_by(made, method)
            out[method, "seen" if method == "ceiling" else told] = scores[:, :, films.findings.index(FINDING)]
    return out


def compared(table: pd.DataFrame, scores: np.ndarray, replicates: int) -> list[dict]:
    """AUROC of Pneumonia within pairs, among the films of pairs, and among all films; (D, M) scores of D seeds.

    Units of the bootstrap are pairs; a film without a partner is a unit of its own. Within pairs, a pair that is drawn
    k times is compared k times, not k²: only its films with the finding carry k.
    """
    pair, ill = table["matched_pair"].to_numpy(), table[FINDING].to_numpy() == 1
    names, unit = np.unique(np.where(pair == "", table["image"], pair), return_inverse=True)
    drawn = {}
    for paired in (True, False):
        kept = np.flatnonzero(np.bincount(unit[pair != ""], minlength=len(names))) if paired else np.arange(len(names))
        weights = np.zeros((1 + replicates, len(names)), np.int32)
        weights[0, kept] = 1
        rng = np.random.default_rng(0)
        weights[1:, kept] = rng.multinomial(len(kept), np.full(len(kept), 1 / len(kept)), size=replicates)
        drawn[paired] = weights
    rows = []
    for films, paired, strata in (("within pairs", True, unit), ("of pairs", True, 0 * unit), ("all", False, 0 * unit)):
        keep = pair != "" if paired else np.ones(len(pair), bool)
        weights, of = drawn[paired], unit
        if strata is unit:
            weights, of = np.hstack([weights, np.minimum(weights, 1)]), unit + len(names) * ~ill
        auroc, _, n = stratified_auroc(ill[keep], scores[:, keep].T, strata[keep], weights, of[keep])
        mean = auroc.mean(1)
        low, high, _ = percentile_interval(mean[1:])
        rows.append({"films": films, "value": mean[0], "low": float(low), "high": float(high), "positives": n,
                     "negatives": int((~ill[keep]).sum())})  # fmt: skip
    return rows


def measured(profile: dict, size: str, adults: FeatureSet | None, children: FeatureSet) -> list[dict]:
    """A row per method and which films are compared; of the files' properties where there are no ``adults``."""
    if adults is None:
        made = {(name, "not told"): scores[None] for name, scores in file_scores(children.table).items()}
    else:
        made = pneumonia_scores(profile, adults, children)
    return [{"size": size, "method": method, "pneumonia": told} | row for (method, told), scores in made.items()
            for row in compared(children.table, scores, profile["rotation"]["replicates"])]  # fmt: skip


def main(name: str, root: str, nih_root: str = "") -> Path:
    """Prepare and extract the children, score and compare them; returns the folder of the table."""
    started, profile, sets = datetime.now(UTC), run.load_profile(name), {}
    values = profile["parameters"]
    folder = run.resolve(values["run_dir"]) / "transfer"
    for size in (values["size"], SMALL) if nih_root else (values["size"],):
        films = kermany.prepare(folder / f"radiographs-{size}", root=run.resolve(root), size=size)
        children = extract(films, folder / f"features-{size}", backbone=values["backbone"], weights=values["weights"])
        adults = films_of(profile)
        if size == SMALL:
            adults = without(films_at(profile, nih_root, size), values["exclude_sources"])
        sets[f"{size} px"] = adults, children
    about = {
        "profile": name, "started": started, "seed": profile["rotation"]["designs"][:SEEDS],
        "command": f"python -m cmdml.study.transfer {name} KERMANY_ROOT" + (" NIH_ROOT" if nih_root else ""),
        "parameters": run.settings(profile),
        "data_sha256": {size: children.card["sha256"] for size, (_, children) in sets.items()},
        "adults_sha256": {size: adults.card["sha256"] for size, (adults, _) in sets.items()},
        "adults": {size: len(adults) for size, (adults, _) in sets.items()},
        "adults_with_pneumonia": {size: int(adults.table[FINDING].sum()) for size, (adults, _) in sets.items()},
        "warnings": list(kermany.WARNINGS),
    }  # fmt: skip
    jobs = [("file", None, children), *((size, *both) for size, both in sets.items())]
    with workers() as pool:
        parts = pool.map(measured, *zip(*[(profile, *job) for job in jobs], strict=True))
        tables = {"transfer": pd.DataFrame([row for part in parts for row in part])}
    return run.publish("data/results/transfer-kermany", tables, **about)


if __name__ == "__main__":
    try:
        print(f"{main(*sys.argv[1:])} done")
    except (ValueError, OSError) as error:
        sys.exit(f"transfer stopped. {error}")
