"""What a sweep's runs add up to: tables of means, differences and intervals (see `cmdml.study.sweep`)."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from cmdml.evaluation.bootstrap import percentile_interval
from cmdml.evaluation.calibration import calibrated_stacking
from cmdml.evaluation.controls import nearest_seen, random_scores, source_only
from cmdml.evaluation.metrics import PROTOCOLS
from cmdml.evaluation.testset import TestSet
from cmdml.findings import findings_of, split_findings
from cmdml.semantics import DEFAULT_MODEL, semantic_vectors
from cmdml.study import run
from cmdml.study.plan import counted_unseen, folder, plan, radiographs_of, results_folder, settings
from cmdml.study.results import manifest_of, publish, read_manifest

TUNING = ["method", "lr", "seed", "val_seen_auroc", "used"]  # columns of tuning.csv
PAIRED = ["method", "reference", "split", "protocol", "metric", "difference", "low", "high", "seeds"]  # of paired.csv
RUN = ["method", "split", "seed"]
KEYS = {"runs": [*RUN, "protocol", "finding"], "metrics": [*RUN, "protocol", "metric"],
        "methods": ["method", "split", "protocol", "metric"], "stacking": ["method", "split", "seen"],
        "paired": ["method", "reference", "split", "protocol", "metric"], "tuning": TUNING[:3]}  # fmt: skip
# Scorers that train nothing, and the method whose runs they stand on.
UNTRAINED = {"focused_centred": "focused", "nearest_seen": "bce", "source_only": "focused",
             "source_only_informed": "focused", "random": "focused"}  # fmt: skip
# The study's own method, with descriptions and with signs, is set beside all others; then all others beside the rest.
OWN, REFERENCES = ("focused", "signs"), ("ranking", "euclidean")


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Mean over training runs, with the 95 % interval of a bootstrap that draws runs and, within, patients.

    Parameters
    ----------
    values : (n, 1 + R), a row per run (seed): its value, then its value under each of R draws of patients, the same
        draws in every row. Replicate r draws n of the runs with replacement and averages their r-th values.
    """
    n, replicates = len(values), values.shape[1] - 1
    drawn = np.random.default_rng(seed).integers(n, size=(n, replicates))
    low, high, _ = percentile_interval(values[drawn, 1 + np.arange(replicates)].mean(axis=0))
    return float(values[:, 0].mean()), float(low), float(high)


def collect(profile: dict, out=None, *, replicates: int = 1000) -> Path:
    """Gather the runs that are there into six tables and a manifest, which names the missing ones. Returns ``out``.

    runs.csv
        A row per run, finding and protocol.
    metrics.csv
        A row per run, protocol and metric; ``val_seen_auroc``, of the best epoch, under the protocol ``validation``.
    methods.csv
        A row per method, split, protocol and metric: mean over seeds, 95 % interval (`interval`; none for stacking),
        lowest and highest seed, number of seeds.
    paired.csv
        Differences method - reference on the seeds that both have, the study's own (``focused``, ``signs``) first, with
        the same draws of seeds and patients on both sides.
    stacking.csv
        Unseen accuracy at steps of seen accuracy (calibrated stacking, k = 1), mean over seeds.
    tuning.csv
        A row per method and learning rate that was tried: its seen validation AUROC, and whether the profile uses it.

    Scorers that train nothing stand on these runs: ``focused_centred``, the study's own scores less each image's mean,
    so that *how ill* an image looks helps no finding; ``nearest_seen`` on the runs of ``bce``; ``source_only`` (the
    same, from the source of an image instead of its pixels; ``source_only_informed`` looks at unseen training labels,
    too) where the radiographs name sources; ``random``.

    Tables that lie in ``out`` already grow: a method that is not among the runs keeps its rows, so long as the profile
    would train it the same today, on the same radiographs. A new method is paired with the references among the runs.
    """
    started, test = datetime.now(UTC), TestSet(radiographs_of(profile), replicates)
    planned, out = plan(profile), run.resolve(out or results_folder(profile))
    found = [one for one in planned if (folder(profile, *one) / "manifest.json").is_file()]
    if not found:
        where = run.resolve(profile["parameters"]["run_dir"]) / "sweep"
        raise FileNotFoundError(f"no run in {where}: make sweep PROFILE={profile['name']}")
    before, kept = _kept(out, profile, test.radiographs.card["sha256"])
    if "methods" in kept:
        had, has = kept["methods"].groupby(["method", "split"]).seeds.max(), Counter(one[:2] for one in found)
        fewer = {one for one in has if has[one] < had.get(one, 0)}
        if fewer:
            print(f"fewer runs than in {out}, so the rows there stay: {', '.join(map('/'.join, sorted(fewer)))}")
        found = [one for one in found if one[:2] not in fewer]
        if not found:
            return out
    manifests = {one: _of_these_films(folder(profile, *one), test.radiographs) for one in found}
    tuning = [{"method": each["method"], "lr": each["parameters"]["lr"], "seed": each["seed"],
               "val_seen_auroc": each["val_seen_auroc"]}
              for one, each in manifests.items() if "@" in one[1]]  # fmt: skip
    present = [one for one in found if "@" not in one[1]]
    tables = {"tuning": pd.DataFrame(tuning, columns=TUNING)}
    if present:
        tables |= _tables(profile, test, {one: manifests[one]["val_seen_auroc"] for one in present})
    order = {method: i for i, method in enumerate([*profile["sweep"]["methods"], *UNTRAINED])}
    for name in KEYS.keys() & (tables.keys() | kept.keys()):
        parts = [part[name] for part in (tables, kept) if len(part.get(name, ()))] or [tables[name]]
        by = [column for column in ("method", "reference") if column in parts[0]]
        table = pd.concat(parts).drop_duplicates(KEYS[name])
        tables[name] = table.sort_values(by, key=lambda column: column.map(order), kind="stable")
    tables["tuning"]["used"] = [settings(profile, t.method, 0)["lr"] == t.lr for t in tables["tuning"].itertuples()]

    about = _about(profile, test, tables, planned, manifests.values(), before)
    manifest = partial(run.manifest, started=started, replicates=replicates, **about)
    return publish(out, tables, manifest, float_format="%.5g")


def _of_these_films(place: Path, radiographs) -> dict:
    """The manifest of a run, if its films are these."""
    about = read_manifest(place / "manifest.json")
    if about.get("data_sha256") != radiographs.card["sha256"]:
        raise ValueError(f"{place} was trained on other radiographs than {radiographs.folder}: delete it, run it again")
    return about


def _about(profile, test, tables, planned, manifests, before) -> dict:
    """Fields of the manifest of a sweep's tables."""
    have = set(tables["metrics"][RUN].itertuples(index=False, name=None)) if "metrics" in tables else set()
    have |= {(t.method, f"default@{t.lr:g}", t.seed) for t in tables["tuning"].itertuples()}
    # where the files lie on someone's machine is nobody else's business
    parameters = {key: value for key, value in profile["parameters"].items() if key not in ("nih_root", "npz")}
    return {
        "profile": profile["name"], "parameters": parameters, "radiographs": test.radiographs,
        "name": test.radiographs.card["name"], "methods": profile["sweep"]["methods"],
        "runs": len(have.intersection(planned)),
        "missing": ["{}/{}-{}".format(*one) for one in planned if one not in have],
        "run_commits": sorted({str(one["commit"]) for one in manifests} | set(before.get("run_commits", []))),
        "run_dirty": any(one["dirty"] for one in manifests) or before.get("run_dirty", False),
        "seconds_per_run": round(float(np.mean([one["wall_seconds"] for one in manifests])), 1),
        "images_test": len(test.rows), "images_test_abnormal": int(test.labels.any(1).sum()),
    }  # fmt: skip


def _kept(out: Path, profile: dict, sha256: str) -> tuple[dict, dict[str, pd.DataFrame]]:
    """The manifest in ``out``, and of the tables the rows of what today would be trained the same, on the same data."""
    if not any((out / name).is_file() for name in ("manifest.json", ".new.manifest.json")):
        return {}, {}
    before = manifest_of(out)
    then = before | {"sweep": before}

    @cache  # asked for every row
    def same(method, split, *but):
        method = UNTRAINED.get(method, method)
        if before["data_sha256"] != sha256 or method not in before["methods"].keys() & profile["sweep"]["methods"]:
            return False
        if counted_unseen(then, split) != counted_unseen(profile, split):
            return False
        old, new = settings(then, method, 0, split), settings(profile, method, 0, split)
        return all(old.get(key) == new[key] for key in new if key not in ("profile", "run_dir", *but))

    tables = {name: pd.read_csv(out / f"{name}.csv") for name in KEYS if f"{name}.csv" in before["files"]}
    for name, table in tables.items():
        # the learning rate is what tuning tries, and what it may have changed since
        but = ["lr"] if name == "tuning" else []
        pairs, splits = table.get("reference", table["method"]), table.get("split", ["default"] * len(table))
        good = [same(method, split, *but) and same(other, split, *but)
                for method, other, split in zip(table["method"], pairs, splits, strict=True)]  # fmt: skip
        tables[name] = table[np.array(good, dtype=bool)]
        gone = sorted(set(table["method"]) - set(tables[name]["method"]))
        if gone:
            print(f"{name}.csv: trained otherwise, or on other radiographs, so not kept: {', '.join(gone)}")
    return before if any(map(len, tables.values())) else {}, tables


def _tables(profile: dict, test: TestSet, present: dict) -> dict[str, pd.DataFrame]:
    """All tables but one, of the runs in ``present``: {(method, split, seed): seen validation AUROC}."""
    model = profile["parameters"].get("semantic_model", DEFAULT_MODEL)
    per_finding, per_metric, draws, curves, grid = [], [], {}, {}, np.linspace(0, 1, 41).round(3)
    for split, seed in dict.fromkeys(one[1:] for one in present):
        findings = split_findings(test.radiographs.findings, counted_unseen(profile, split), seed=seed)
        here = [method for method, *which in present if which == [split, seed]]
        trained = {method: test.scores(folder(profile, method, split, seed) / "training") for method in here}
        for method, scores in {**trained, **_untrained(test, findings, trained, seed, model)}.items():
            about = {"profile": profile["name"], "method": method, "split": split, "seed": seed}
            for tables, table in zip((per_finding, per_metric), test.tables(scores, findings, about), strict=True):
                tables.append(table)
            if (method, split, seed) in present:
                seen = {"protocol": "validation", "metric": "val_seen_auroc", "value": present[method, split, seed]}
                per_metric.append(pd.DataFrame([about | seen]))
            for protocol in PROTOCOLS:
                values = test.replicates(scores, findings, protocol)
                draws.setdefault((split, protocol), {}).setdefault(method, {})[seed] = values
            curve = calibrated_stacking(test.labels, scores, findings)
            curves.setdefault((method, split), []).append(
                np.interp(grid, curve.seen[::-1], curve.unseen[::-1], right=0.0)
            )
    keys = ["method", "split", "protocol", "metric"]
    spread = pd.concat(per_metric).groupby(keys, sort=False)["value"].agg(["mean", "min", "max", "count"])
    intervals, paired = {}, []
    for (split, protocol), methods in draws.items():
        for method, seeds in methods.items():
            for metric in seeds[min(seeds)]:
                values = np.stack([seeds[seed][metric] for seed in sorted(seeds)])
                intervals[(method, split, protocol, metric)] = interval(values)[1:]
        for method, reference in _pairs(methods):
            both = sorted(methods[method].keys() & methods[reference].keys())
            for metric in methods[method][both[0]] if both else ():
                values = np.stack([methods[method][s][metric] - methods[reference][s][metric] for s in both])
                row = dict(zip(("difference", "low", "high"), interval(values), strict=True))
                about = {"method": method, "reference": reference, "split": split, "protocol": protocol}
                paired.append(about | {"metric": metric, **row, "seeds": len(both)})
    bounds = pd.DataFrame([intervals.get(key, (np.nan, np.nan)) for key in spread.index], spread.index, ["low", "high"])
    spread = spread.rename(columns={"mean": "value", "count": "seeds"}).join(bounds).reset_index()
    stacking = [{"method": m, "split": s, "seen": x, "unseen": y}
                for (m, s), many in curves.items() for x, y in zip(grid, np.mean(many, axis=0))]  # fmt: skip
    return {"runs": pd.concat(per_finding), "metrics": pd.concat(per_metric), "methods": spread,
            "paired": pd.DataFrame(paired, columns=PAIRED), "stacking": pd.DataFrame(stacking)}  # fmt: skip


def _pairs(methods) -> list[tuple[str, str]]:
    """(method, reference): each pair once, but both ways between two references."""
    pairs = [
        (own, other) for own in OWN if own in methods for other in methods if other not in OWN[: OWN.index(own) + 1]
    ]
    return pairs + [(m, r) for r in REFERENCES if r in methods for m in methods if m not in (r, *OWN)]


def _untrained(test: TestSet, findings, trained, seed: int, model: str = DEFAULT_MODEL) -> dict[str, np.ndarray]:
    """Scores of the methods that train nothing."""
    table, keys = test.radiographs.table, list(findings.keys)
    vectors, scores = semantic_vectors(findings_of(keys), "description", model=model), {}
    if "bce" in trained:
        scores["nearest_seen"] = nearest_seen(trained["bce"], vectors, findings)
    if "focused" not in trained:
        return scores
    scores["focused_centred"] = trained["focused"] - trained["focused"].mean(axis=1, keepdims=True)
    if "source_repo" in table and table["source_repo"].nunique() > 1:
        train = (table["split"] == "train").to_numpy()
        allowed = train & ~test.radiographs.labels[:, findings.unseen_mask].any(axis=1)
        for name, rows in (("source_only", allowed), ("source_only_informed", train)):
            columns = ["source_repo", "source_pixels"]
            scores[name] = source_only(table, keys, np.flatnonzero(rows), test.rows, columns)
        scores["source_only"] = nearest_seen(scores["source_only"], vectors, findings)
    return scores | {"random": random_scores(test.labels.shape, seed)}
