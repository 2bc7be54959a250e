"""Many trainings, one set of tables: methods x seeds x splits, as a profile's ``sweep`` section lists them.

``python -m cmdml.study.sweep run PROFILE METHOD SPLIT SEED`` trains and evaluates one of them (the Snakefile's rule
``sweep_run``); ``python -m cmdml.study.sweep collect PROFILE`` gathers whichever are there into
``data/results/sweep-PROFILE``. Both take a last argument of JSON, parameters that replace the profile's.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

from cmdml.evaluation.testset import TestSet
from cmdml.files import write_whole
from cmdml.findings import findings_of, split_findings
from cmdml.names import unknown
from cmdml.radiographs import partition
from cmdml.semantics import semantic_vectors
from cmdml.study import run
from cmdml.study.plan import counted_unseen, folder, plan, radiographs_of, settings, training_config
from cmdml.study.results import manifest_of
from cmdml.study.tables import collect
from cmdml.training import fit


def train(profile: dict, method: str, split: str, seed: int) -> Path:
    """Train and evaluate one run; a finished training is loaded, an interrupted one goes on. Returns its folder.

    Writes ``training/``, ``run.csv`` (a row per finding and protocol), ``summary.csv`` (a row per protocol and metric)
    and, last, ``manifest.json``. Seen labels only train and select; with ``unseen: none`` (the supervised ceiling) all
    are seen in training, and the split says only which of them count as unseen in the tables. A split
    ``default@<learning rate>`` is for choosing that rate: it has no tables, only the manifest's ``val_seen_auroc``.
    """
    started, values = datetime.now(UTC), settings(profile, method, seed, split)
    config, dropped = training_config(values, {*profile["given"], *profile["sweep"]["methods"][method]})
    test, out = TestSet(radiographs_of(profile)), folder(profile, method, split, seed)
    keys, unseen, tuning = test.radiographs.findings, counted_unseen(profile, split), "@" in split
    trained_on = split_findings(keys, values["unseen"], seed=seed)
    with redirect_stdout(StringIO()):  # the counts, which chapter 3 shows
        parts = partition(test.radiographs, trained_on, keep_no_finding=values["keep_no_finding"])
    vectors = semantic_vectors(findings_of(keys), values["semantics"], model=values["semantic_model"], seed=seed)
    history = fit(parts, vectors, config, out / "training", progress=False).history

    findings = split_findings(keys, unseen, seed=seed)
    about = {"profile": profile["name"], "method": method, "split": split, "seed": seed}
    if not tuning:
        tables = test.tables(test.scores(out / "training"), findings, about)
        for name, table in zip(("run", "summary"), tables, strict=True):
            write_whole(out / f"{name}.csv", lambda path, t=table: t.to_csv(path, index=False, float_format="%.6g"))
    run.manifest(
        out, parameters=values, radiographs=test.radiographs, started=started, **about, unseen=list(findings.unseen),
        images_train=len(parts.train), train_seconds=float(history.seconds.sum()),
        val_seen_auroc=float(history.val_seen_auroc.max()), dropped=dropped,
    )  # fmt: skip
    return out


if __name__ == "__main__":
    task, name, *given = sys.argv[1:]
    try:
        overrides = json.loads(given.pop()) if given and given[-1].startswith("{") else {}
        chosen = run.load_profile(name, overrides)
        if task == "run":
            done = train(chosen, *given[:2], int(given[2]))
        elif task == "collect":
            done = collect(chosen)
            absent = manifest_of(done)["missing"]
            if absent:
                print(f"{len(absent)} of {len(plan(chosen))} runs are missing: {', '.join(absent)}")
        else:
            raise unknown(task, ("run", "collect"), "task")
        print(f"{done} done, {(datetime.now(UTC) - run.IMPORTED).total_seconds():.0f} s", flush=True)
    except (ValueError, OSError) as error:
        sys.exit(f"sweep stopped. {error}")
