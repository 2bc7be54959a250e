"""Many trainings, one set of tables: methods x seeds x splits, as a profile's ``sweep`` section lists them.

``python -m cmdml.sweep run PROFILE METHOD SPLIT SEED`` trains and evaluates one of them (the Snakefile's rule
``sweep_run``); ``python -m cmdml.sweep collect PROFILE`` gathers whichever are there into
``data/results/sweep-PROFILE``. Both take a last argument of JSON, parameters that replace the profile's.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from dataclasses import fields
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from cmdml import run
from cmdml.parameters import unknown

SPLITS = ("default", "random")


def plan(profile: dict, methods=None) -> list[tuple[str, str, int]]:
    """Every (method, split, seed) of a profile's sweep, or those of some ``methods``.

    A split is ``default`` or ``random``, the latter drawn with the run's seed: five seeds are five splits. A method
    with ``only: random`` (or ``default``) runs on that one. ``tuning``, at the end or among ``methods``, stands for the
    runs of the learning rates to choose from, whose split is ``default@<rate>``: validation only, see `train`.
    """
    sweep, tuning = profile["sweep"], profile["sweep"].get("tuning", {"methods": []})
    for name in [*(methods or ()), *tuning["methods"]]:
        if name not in [*sweep["methods"], "tuning"]:
            raise unknown(name, [*sweep["methods"], "tuning"], "method")
    chosen = methods or [*sweep["methods"], "tuning"]
    for split in [*sweep["splits"], *(m["only"] for m in sweep["methods"].values() if "only" in m)]:
        if split not in SPLITS:
            raise unknown(split, SPLITS, "split")
    runs = [(method, split, seed) for method in chosen if method != "tuning" for split in sweep["splits"]
            for seed in sweep["seeds"] if sweep["methods"][method].get("only", split) == split]  # fmt: skip
    tried = [(m, f"default@{rate:g}", tuning["seed"]) for m in tuning["methods"] for rate in tuning["lr"]]
    return runs + (tried if "tuning" in chosen else [])


def settings(profile: dict, method: str, seed: int, split: str = "default") -> dict:
    """What chapter 3 would be given: the profile's parameters of a training, the method's changes, this seed.

    A split ``default@0.003`` sets the learning rate.
    """
    if method not in profile["sweep"]["methods"]:
        raise unknown(method, profile["sweep"]["methods"], "method")
    rate = {"lr": float(split.partition("@")[2])} if "@" in split else {}
    changed = {**profile["parameters"], **profile["sweep"]["methods"][method], **rate, "seed": seed}
    return run.notebook_parameters("notebooks/03_training.ipynb", {"parameters": changed})


def folder(profile: dict, method: str, split: str, seed: int) -> Path:
    """Where one run lies."""
    return run.resolve(profile["parameters"]["run_dir"]) / f"sweep/{method}/{split}-{seed}"


def train(profile: dict, method: str, split: str, seed: int) -> Path:
    """Train and evaluate one run; a finished training is loaded, an interrupted one goes on. Returns its folder.

    Writes ``training/``, ``run.csv`` (a row per finding and protocol), ``summary.csv`` (a row per protocol and metric)
    and, last, ``manifest.json``. Seen labels only train and select; with ``unseen: none`` (the supervised ceiling) all
    are seen in training, and the split says only which of them count as unseen in the tables. A split
    ``default@<learning rate>`` is for choosing that rate: it has no tables, only the manifest's ``val_seen_auroc``.
    """
    from cmdml.config import TrainConfig
    from cmdml.findings import findings_of, split_findings
    from cmdml.radiographs import partition
    from cmdml.semantics import semantic_vectors
    from cmdml.training import fit

    started, values = datetime.now(UTC), settings(profile, method, seed, split)
    test, out = TestSet(profile), folder(profile, method, split, seed)
    keys = test.radiographs.findings
    unseen, _, tuning = split.partition("@")
    trained_on = split_findings(keys, "none" if values["unseen"] == "none" else unseen, seed=seed)
    with redirect_stdout(StringIO()):  # the counts, which chapter 3 shows
        parts = partition(test.radiographs, trained_on, keep_no_finding=values["keep_no_finding"])
    vectors = semantic_vectors(findings_of(keys), values["semantics"], model=values["semantic_model"], seed=seed)
    config = TrainConfig.from_dict({field.name: values[field.name] for field in fields(TrainConfig)})
    history = fit(parts, vectors, config, out / "training", progress=False).history

    findings = split_findings(keys, unseen, seed=seed)
    about = {"profile": profile["name"], "method": method, "split": split, "seed": seed}
    if not tuning:
        for name, table in zip(("run", "summary"), test.tables(test.scores(out), findings, about), strict=True):
            table.to_csv(out / f"{name}.csv", index=False, float_format="%.6g")
    run.manifest(
        out, parameters=values, radiographs=test.radiographs, started=started, **about, unseen=list(findings.unseen),
        images_train=len(parts.train), train_seconds=float(history.seconds.sum()),
        val_seen_auroc=float(history.val_seen_auroc.max()),
    )  # fmt: skip
    return out


class TestSet:
    """The test radiographs of a profile, the same for every run, and what a score matrix of them comes to."""

    def __init__(self, profile: dict, replicates: int = 0, seed: int = 0):
        from cmdml.evaluation import PROTOCOLS, bootstrap_weights, protocol_rows
        from cmdml.radiographs import RadiographSet

        self.radiographs = RadiographSet.load(run.resolve(profile["parameters"]["run_dir"]) / "radiographs")
        self.rows = np.flatnonzero(self.radiographs.table["split"] == "test")
        self.labels = self.radiographs.labels[self.rows]
        self.patients = self.radiographs.table["patient"].to_numpy()[self.rows]
        keep = {protocol: protocol_rows(self.labels, protocol) for protocol in PROTOCOLS}
        # Drawn once: every run is weighed by the same patients, so that differences are paired.
        self.draws = {p: (k, *bootstrap_weights(self.patients[k], replicates, seed)) for p, k in keep.items()}

    def scores(self, out: Path) -> np.ndarray:
        """A run's scores of the test radiographs, (N, C)."""
        with np.load(out / "training/embeddings.npz", allow_pickle=False) as file:
            index, scores = file["index"], file["scores"]
        scores = scores[np.isin(index, self.rows)]
        if len(scores) != len(self.rows) or not np.array_equal(index[np.isin(index, self.rows)], self.rows):
            raise ValueError(f"{out} was trained on other radiographs: delete it and run the sweep again")
        return scores

    def tables(self, scores, findings, about) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(a row per finding and protocol, a row per metric and protocol), ``about`` in their first columns."""
        from cmdml.calibration import calibrated_stacking
        from cmdml.controls import swapped_text
        from cmdml.evaluation import evaluate

        result = evaluate(self.labels, scores, self.patients, findings, replicates=0)
        per_finding = result.per_finding[["protocol", "finding", "seen", "images", "positives", "auroc", "ap"]]
        curve = calibrated_stacking(self.labels, scores, findings)
        seen, unseen, mean = curve.at(0)
        # Only images with a finding can be hits: these belong to the abnormal ones.
        extra = {"ausuc": curve.ausuc, "accuracy_S": seen, "accuracy_U": unseen, "accuracy_H": mean}
        extra["own_text"] = swapped_text(self.labels, scores, self.patients, findings, replicates=0)[1][0]
        extra = pd.DataFrame({"protocol": "abnormal", "metric": extra.keys(), "value": extra.values()})
        summary = pd.concat([result.summary[["protocol", "metric", "value"]], extra])
        return tuple(table.assign(**about)[[*about, *table.columns]] for table in (per_finding, summary))

    def replicates(self, scores, findings, protocol) -> dict[str, np.ndarray]:
        """{metric: (1 + R,)}: the point estimate, then one value per draw of patients."""
        from cmdml.evaluation import summary_metrics

        keep, weights, unit = self.draws[protocol]
        scores = np.asarray(scores, dtype=np.float64)
        return summary_metrics(self.labels[keep], scores[keep], weights, unit, findings, (2, 3))[0]


if __name__ == "__main__":
    task, name, *given = sys.argv[1:]
    try:
        overrides = json.loads(given.pop()) if given and given[-1].startswith("{") else {}
        chosen = run.load_profile(name, overrides)
        if task == "run":
            done = train(chosen, *given[:2], int(given[2]))
        elif task == "collect":
            from cmdml.sweep_tables import collect

            done = collect(chosen)
            absent = json.loads((done / "manifest.json").read_text())["missing"]
            if absent:
                print(f"{len(absent)} of {len(plan(chosen))} runs are missing: {', '.join(absent)}")
        else:
            raise unknown(task, ("run", "collect"), "task")
        print(f"{done} done, {(datetime.now(UTC) - run.IMPORTED).total_seconds():.0f} s", flush=True)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"sweep stopped. {error}")
