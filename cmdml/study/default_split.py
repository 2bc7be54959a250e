"""The peers' split on frozen features, with and without the two sources that it turns one-sided.

``python -m cmdml.study.default_split PROFILE NIH_ROOT`` writes ``data/results/default-<profile>/``: S, U and H of some
methods of the profile's rotation, heads as the profile's parameters say, on the set's own split of patients with the
unseen findings of ``default``. Once with all sources, once without ``exclude_sources``: as soon as training films with
an unseen finding are dropped, all that is left of those two is normal, while they hold most of the test pneumonias. At
the profile's size, without films that were smaller where they came from, and at 64 px with them. With ``64`` as a
third argument, the films of the two sources are not extracted at the profile's size; all others are there already.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from cmdml.evaluation.anatomy import estimate
from cmdml.evaluation.metrics import bootstrap_weights, harmonic_mean
from cmdml.evaluation.strata import PROTOCOLS3, protocol_rows, stratified_auroc
from cmdml.feature_set import FeatureSet
from cmdml.features import extract
from cmdml.findings import split_findings
from cmdml.partitioning import one_sided_sources
from cmdml.sources import nih
from cmdml.study import run
from cmdml.study.pool import workers
from cmdml.study.rotation import Rotation, films_of
from cmdml.study.scorers import Scorer

METHODS = ("focused", "focused_description", "focused_shuffled", "eszsl", "nearest", "mean_of_seen", "normality",
           "source", "source_illness", "ceiling")  # fmt: skip
SMALL = 64  # pixels at which the films that exist only at that size take part
SEEDS = 3  # heads of each trained method, averaged
FOLDS = {"test": 0, "val": 1, "train": 2}


def films_at(profile: dict, root, size: int) -> FeatureSet:
    """Features of all films of a download, of every source, that are at least ``size`` px where they come from."""
    values, folder = profile["parameters"], run.resolve(profile["parameters"]["run_dir"]) / "default"
    radiographs = nih.prepare(folder / f"radiographs-{size}", root=run.resolve(root), size=size,
                              splits=values["splits"], min_source_pixels=size, seed=values["seed"])  # fmt: skip
    return extract(radiographs, folder / f"features-{size}", backbone=values["backbone"], weights=values["weights"])


def without(films: FeatureSet, sources) -> FeatureSet:
    """The same set less the films of some ``sources``."""
    kept = (~films.table["source_repo"].isin(list(sources))).to_numpy()
    return replace(films, table=films.table[kept].reset_index(drop=True), pixels=films.pixels[kept])


def rotation_of(profile: dict, films: FeatureSet, seed: int) -> Rotation:
    """The default split as a rotation of one quadruple and one fold: the set's own test, validation, training."""
    unseen = split_findings(films.findings, profile["parameters"]["unseen"]).unseen_index
    fold = films.table["split"].map(FOLDS).to_numpy()
    plan = profile["rotation"] | {"folds": 1}
    return Rotation(profile | {"rotation": plan}, seed, films, (tuple(int(c) for c in unseen),), fold)


def source_illness(films: FeatureSet, train, rows) -> np.ndarray:
    """(M, C) the share of a source's training films that show a finding, for every finding: the trap on its own.

    What a model learns that learns nothing but the source. A source without training films scores the overall share.
    """
    ill, source = films.labels.any(1)[train], films.table["source_repo"].to_numpy()
    share = pd.Series(ill).groupby(source[train]).mean()
    scores = pd.Series(source[rows]).map(share).fillna(ill.mean()).to_numpy()
    return np.repeat(scores[:, None], len(films.findings), axis=1)


def scored_by(rotations: list[Rotation], method: str) -> tuple[np.ndarray, dict]:
    """(D, M, C) scores of the test films of a rotation of one cell, under D seeds.

    Heads are trained as the profile's parameters say, without a choice; closed forms choose their ridge on
    pseudo-unseen findings, as in the rotation, and have one seed.
    """
    trained = method in rotations[0].profile["rotation"]["trained"]["methods"]
    out, chosen = [], {} if trained else Scorer(rotations[0], method, 0).choose()[0]
    for rotation in rotations if trained else rotations[:1]:
        scorer, cell = Scorer(rotation, method, 0), rotation.cell(0, 0)
        out.append(scorer(cell, chosen, cell.test))
    return np.stack(out), chosen


def rows_of(labels, scores, patients, findings, replicates: int) -> list[dict]:
    """S, U, H and each finding's AUROC under three protocols, with patient intervals.

    Parameters
    ----------
    labels : (M, C) of the test films; scores : (D, M, C) of D seeds, averaged replicate by replicate.
    """
    weights, unit = bootstrap_weights(patients, replicates, 0)
    rows, weights = [], weights.astype(np.int32)
    for protocol in PROTOCOLS3:
        keep, values, positives = protocol_rows(labels, protocol), [], []
        for c in range(labels.shape[1]):
            auroc, _, n = stratified_auroc(labels[keep, c], scores[:, keep, c].T, np.zeros(keep.sum(), int), weights,
                                           unit[keep])  # fmt: skip
            values.append(auroc.T)
            positives.append(n)
        values = np.stack(values, axis=1)  # (D, C, 1 + R)
        defined = ~np.isnan(values[0, :, 0])
        means = {name: values[:, mask & defined].mean(1) for name, mask in
                 (("S", findings.seen_mask), ("U", findings.unseen_mask))}  # fmt: skip
        means["H"] = harmonic_mean(means["S"], means["U"])
        left_out = " ".join(key for key, ok in zip(findings.keys, defined, strict=True) if not ok)
        named = means | {key: values[:, c] for c, key in enumerate(findings.keys)}
        for metric, draws in named.items():
            one, found = estimate(draws), positives[findings.keys.index(metric)] if metric in findings.keys else None
            rows.append({"protocol": protocol, "metric": metric, "value": one.value, "low": one.low, "high": one.high,
                         "sd_seeds": one.sd_designs, "films": int(keep.sum()), "positives": found,
                         "left_out": left_out})  # fmt: skip
    return rows


def measured(profile: dict, films: FeatureSet, about: dict, methods=METHODS, seeds=None) -> dict[str, pd.DataFrame]:
    """``values``: a row per method, protocol and metric; ``sources`` that the filters leave one-sided; ``settings``.

    ``about`` stands in every row.
    """
    plan, values, settings = profile["rotation"], [], []
    rotations = [rotation_of(profile, films, seed) for seed in seeds or plan["designs"][:SEEDS]]
    cell, kept = rotations[0].cell(0, 0), np.zeros(len(films), bool)
    kept[cell.train] = True
    for method in methods:
        if method == "source_illness":
            scores, chosen = source_illness(films, cell.train, cell.test)[None], {}
        else:
            scores, chosen = scored_by(rotations, method)
        patients = films.table["patient"].to_numpy()[cell.test]
        rows = rows_of(films.labels[cell.test], scores, patients, cell.findings, plan["replicates"])
        values += [about | {"method": method} | row for row in rows]
        settings.append(about | {"method": method, "seeds": len(scores), "setting": str(chosen),
                                 "train": len(cell.train), "test": len(cell.test)})  # fmt: skip
    sides = one_sided_sources(films.table, films.findings, kept).assign(**about)
    return {"values": pd.DataFrame(values), "sources": sides, "settings": pd.DataFrame(settings)}


def jobs(profile: dict, sizes) -> list[tuple[int, str]]:
    """(size, sources) of every part: both at each of ``sizes``, and what needs no film at the profile's own size."""
    own = profile["parameters"]["size"]
    return [(size, sources) for size in (own, SMALL) for sources in ("all", "without two")
            if size in sizes or (size, sources) == (own, "without two")]  # fmt: skip


def _part(given) -> tuple[dict[str, pd.DataFrame], str]:
    profile, root, size, sources = given
    if sources == "without two" and size == profile["parameters"]["size"]:
        films = films_of(profile)
    else:
        films = films_at(profile, root, size)
        films = without(films, profile["parameters"]["exclude_sources"]) if sources == "without two" else films
    return measured(profile, films, {"set": f"{size} px", "sources": sources}), films.card["sha256"]


def main(name: str, root: str, *sizes: str) -> Path:
    """Extract, score, write; returns the folder."""
    started, profile = datetime.now(UTC), run.load_profile(name)
    parts = jobs(profile, [int(size) for size in sizes] or (profile["parameters"]["size"], SMALL))
    for size in {size for size, sources in parts if sources == "all"}:
        films_at(profile, root, size)  # before, so that no two processes extract the same films
    with workers() as pool:
        done = list(pool.map(_part, [(profile, root, *part) for part in parts]))
    return write(profile, name, parts, done, started, " ".join(["", *sizes]))


def write(profile: dict, name: str, parts, done, started, sizes: str = "") -> Path:
    """Tables and manifest of all parts."""
    tables = {table: pd.concat([one[table] for one, _ in done]) for table in done[0][0]}
    about = {
        "profile": name, "started": started, "command": f"python -m cmdml.study.default_split {name} NIH_ROOT{sizes}",
        "parameters": run.settings(profile),
        "features_sha256": {f"{size} px, {which}": one for (size, which), (_, one) in zip(parts, done, strict=True)},
        "methods": list(METHODS), "seeds": profile["rotation"]["designs"][:SEEDS],
    }  # fmt: skip
    return run.publish(f"data/results/default-{name}", tables, **about)


if __name__ == "__main__":
    try:
        print(f"{main(*sys.argv[1:])} done")
    except (ValueError, OSError) as error:
        sys.exit(f"default split stopped. {error}")
