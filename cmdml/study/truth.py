"""The scores of a rotation against other labels of the same films than those that were mined from reports.

``python -m cmdml.study.truth PROFILE NIH_ROOT`` reads the scores that ``make rotation`` left, and the label tables
beside an NIH download (each by image; one that is missing is left out and named): ``labels_cxr_lt.csv``,
``labels_radiologists_14.csv``, ``labels_radiologists_4.csv``. It writes ``data/results/truth-<profile>/``:

* ``emphysema``: all films that are called Emphysema, those without subcutaneous emphysema, those with it;
* ``radiologists``: on the films that radiologists read, their majority beside the mined labels, for every finding with
  ten positives or more in both;
* ``never``: findings outside the fourteen that no film was labelled with in training, scored from their signs by models
  that were shown all fourteen (``cmdml.study.never_labelled``).

The radiologists' tables are not the study's to hand out: they are read where the user has them, and none of their rows
is written.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from cmdml.evaluation import anatomy
from cmdml.findings import KEYS
from cmdml.sources.label_tables import label_table
from cmdml.study import run
from cmdml.study.anatomy import ILLNESS, Scores
from cmdml.study.never_labelled import never_labelled
from cmdml.study.pool import workers

METHODS = ("focused", "focused_description", "eszsl", "eszsl_description", "nearest", "mean_of_seen", "normality",
           "view", "age", "ceiling")  # fmt: skip
LEAST = 10  # positives by either truth
TABLES = ("labels_cxr_lt", "labels_radiologists_14", "labels_radiologists_4")


def judged(scores: Scores, labels: np.ndarray, rows: np.ndarray, findings, protocols=("abnormal", "all"),
           strata=("none", "source_view")) -> list[dict]:  # fmt: skip
    """AUROC of unseen ``findings`` (columns), and their mean, by ``labels`` (N, C) on the films ``rows`` (N,) bool.

    A row per method, protocol, stratum and finding (or ``mean``), with the difference to illness alone.
    """
    out, mined, tested = [], scores.labels, scores.tested
    scores.labels, scores.tested = labels, tested & rows
    try:
        for protocol in protocols:
            for stratum in strata:
                values, counts = scores.cells(protocol, stratum)
                out += _rows(scores, values, counts, findings, {"protocol": protocol, "stratum": stratum})
    finally:
        scores.labels, scores.tested = mined, tested
    return out


def _rows(scores: Scores, values, counts, findings, where) -> list[dict]:
    out, finding, ill = [], scores.finding, values[scores.methods.index(ILLNESS)]
    asked = {KEYS[c]: {c} for c in findings} | {"mean": set(findings)}
    for method, mine in zip(scores.methods, values, strict=True):
        for name, kept in asked.items():
            rest = tuple(c for c in range(len(KEYS)) if c not in kept)
            one, gain = anatomy.unseen(mine, finding, rest), anatomy.difference(mine, ill, finding, rest)
            films = float(counts[~np.isin(finding, rest)].mean()) if name != "mean" else np.nan
            out.append({**where, "method": method, "finding": name, "value": one.value, "low": one.low,
                        "high": one.high, "gain": gain.value, "gain_low": gain.low, "gain_high": gain.high,
                        "positives": films})  # fmt: skip
    return out


def emphysema(scores: Scores, root: Path) -> pd.DataFrame:
    """With and without the films that carry subcutaneous emphysema; those left out are no negatives either."""
    under_skin = label_table(root / "labels_cxr_lt.csv", scores.table["image"], ["Subcutaneous Emphysema"])
    c, rows = KEYS.index("Emphysema"), []
    shows = scores.labels[:, c] == 1
    skin = under_skin["Subcutaneous Emphysema"].to_numpy()
    for films, left_out in (("all", shows & False), ("not subcutaneous", shows & (skin != 0)),
                            ("subcutaneous", shows & (skin != 1))):  # fmt: skip
        rows += [{"films": films} | row for row in judged(scores, scores.labels, ~left_out, [c])]
    return pd.DataFrame(rows)


def radiologists(scores: Scores, root: Path) -> pd.DataFrame:
    """Both truths on the films that radiologists read; findings with ten positives or more by both."""
    names = [key.replace("_", " ") for key in KEYS]
    theirs = label_table(root / "labels_radiologists_14.csv", scores.table["image"], names)
    read = theirs.notna().all(axis=1).to_numpy()
    labels = np.where(read[:, None], theirs.to_numpy(), 0).astype(np.uint8)
    counts = [(scores.labels[read, c].sum(), labels[read, c].sum()) for c in range(len(KEYS))]
    asked = [c for c, both in enumerate(counts) if min(both) >= LEAST]
    rows = []
    for truth, one in (("mined", scores.labels), ("radiologists", labels)):
        rows += [{"truth": truth} | row for row in judged(scores, one, read, asked, strata=("none", "source"))]
    agree = {KEYS[c]: int((scores.labels[read, c] & labels[read, c]).sum()) for c in range(len(KEYS))}
    table = pd.DataFrame(rows)
    return table.assign(both=table["finding"].map(agree), films=int(read.sum()))


def _part(given) -> pd.DataFrame:
    profile, folder, table = given
    if table == "never":
        return never_labelled(profile, folder)
    return {"emphysema": emphysema, "radiologists": radiologists}[table](Scores(profile, METHODS), folder)


def main(name: str, root: str) -> Path:
    """Read, judge, write; returns the folder."""
    started, profile, folder = datetime.now(UTC), run.load_profile(name), run.resolve(root)
    scores = Scores(profile, METHODS)
    made_from = {"emphysema": TABLES[0], "radiologists": TABLES[1], "never": TABLES[0]}
    asked = [table for table, needed in made_from.items() if (folder / f"{needed}.csv").is_file()]
    if not asked:
        raise FileNotFoundError(f"{folder} holds none of {', '.join(TABLES)}: nothing to compare with")
    with workers() as pool:
        tables = dict(zip(asked, pool.map(_part, [(profile, folder, table) for table in asked]), strict=True))
    about = {
        "profile": name, "started": started, "command": f"python -m cmdml.study.truth {name} NIH_ROOT",
        "parameters": run.settings(profile),
        "radiographs": scores.films, "seed": scores.designs, "designs": scores.designs, "methods": scores.methods,
        "run_commits": sorted({str(one["commit"]) for one in scores.about}),
        "missing_tables": [one for one in TABLES if not (folder / f"{one}.csv").is_file()],
    }  # fmt: skip
    return run.publish(f"data/results/truth-{name}", tables, **about)


if __name__ == "__main__":
    try:
        print(f"{main(*sys.argv[1:])} done")
    except (ValueError, OSError) as error:
        sys.exit(f"truth stopped. {error}")
