"""The tables of the variants: every one of them ranked, what one parameter does, and the test of the first.

``python -m cmdml.study.variants_tables rank PROFILE [VARIANT …]`` tries those that were not tried yet (or some of them,
so that several processes can share the work) and writes the tables once all are there; ``… test PROFILE`` tests the
first. See ``cmdml.study.variants``.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from cmdml.evaluation import anatomy
from cmdml.evaluation.metrics import bootstrap_weights
from cmdml.evaluation.strata import PROTOCOLS3, protocol_rows, stratified_auroc, stratum_numbers
from cmdml.files import write_json
from cmdml.names import check
from cmdml.study import run
from cmdml.study.places import resolve
from cmdml.study.rotation import Rotation
from cmdml.study.rotation_plan import made_by
from cmdml.study.scorers import Scorer
from cmdml.study.variants import VariantScorer, cells_of, validated

BASE = "base"
RIVALS = ("mean_of_seen", "eszsl", "nearest", "ceiling")


def tried(profile: dict, name: str) -> list[dict]:
    """A row per cell of one variant, from its file if it was tried by the same plan and parameters before."""
    plan, (rotation, cells) = profile["rotation"]["improvements"], cells_of(profile)
    file = resolve(profile["parameters"]["run_dir"]) / f"variants/{name}.json"
    asked = {"changes": plan["variants"][name], "design": plan["design"], "films": rotation.films.card["sha256"],
             "cells": [[q, list(pseudo)] for q, pseudo in cells],
             "parameters": made_by(profile["rotation"], profile["parameters"], "focused")["parameters"]}  # fmt: skip
    if file.is_file() and (held := json.loads(file.read_text(encoding="utf-8")))["asked"] == asked:
        return held["rows"]
    rows = []
    for quadruple, pseudo in cells:
        began = datetime.now(UTC)
        row = validated(rotation, plan["variants"][name], quadruple, pseudo)
        left = " ".join(rotation.films.findings[c] for c in pseudo)
        rows.append({"variant": name, "quadruple": quadruple, "pseudo": left, **row,
                     "seconds": (datetime.now(UTC) - began).total_seconds()})  # fmt: skip
    write_json(file, {"asked": asked, "rows": rows, "commit": run.CODE["commit"], "dirty": run.CODE["dirty"]})
    return rows


def ranked(cells: pd.DataFrame, changes: dict) -> pd.DataFrame:
    """A row per variant, best mean pseudo-unseen AUROC first; differences to ``base`` are over the same cells."""
    wide = cells.pivot(index=["quadruple", "pseudo"], columns="variant", values=["pseudo_unseen", "seen"])
    rows = []
    for name in changes:
        mine, less = wide["pseudo_unseen"][name], wide["pseudo_unseen"][name] - wide["pseudo_unseen"][BASE]
        rows.append({"variant": name, "changes": json.dumps(changes[name]), "pseudo_unseen": mine.mean(),
                     "seen": wide["seen"][name].mean(), "difference": less.mean(), "sd": less.std(ddof=1),
                     "cells_better": int((less > 0).sum()), "cells": len(mine),
                     "seconds": cells[cells.variant == name].seconds.mean()})  # fmt: skip
    table = pd.DataFrame(rows).sort_values("pseudo_unseen", ascending=False, kind="stable", ignore_index=True)
    return table.assign(rank=np.arange(1, len(table) + 1))


def effects(ranking: pd.DataFrame, changes: dict, parameters: dict) -> pd.DataFrame:
    """Variants that change one parameter of the loss, or the direction, and nothing else; and the base's value."""
    rows = []
    for name in ("gamma", "alpha", "tau", "direction"):
        alone = {one: changed[name] for one, changed in changes.items() if set(changed) == {name}}
        for one, value in {BASE: parameters[name], **alone}.items():
            row = ranking[ranking.variant == one].iloc[0]
            rows.append({"parameter": name, "value": value, **row[["variant", "pseudo_unseen", "seen", "difference",
                                                                   "sd", "cells_better", "cells"]]})  # fmt: skip
    return pd.DataFrame(rows)


def tested(profile: dict, name: str) -> list[dict]:
    """U and S of the chosen variant on the test films of its design, beside closed forms, patient intervals."""
    plan, keys = profile["rotation"]["improvements"], None
    rotation = Rotation.of(profile, plan["design"])
    films, keys = rotation.films, rotation.films.findings
    made = {method: np.full((len(rotation.sets), len(films), len(keys)), np.nan) for method in (name, *RIVALS)}
    for quadruple in range(len(rotation.sets)):
        for method, out in made.items():
            own = method == name
            scorer = (VariantScorer(rotation, plan["variants"][name], quadruple) if own
                      else Scorer(rotation, method, quadruple))  # fmt: skip
            setting = {} if own else scorer.choose()[0]
            for at in range(profile["rotation"]["folds"]):
                cell = rotation.cell(quadruple, at)
                out[quadruple, cell.test] = scorer(cell, setting, cell.test)
    return compared(rotation, made, name, profile["rotation"]["replicates"])


def compared(rotation: Rotation, made: dict, name: str, replicates: int) -> list[dict]:
    """Rows of U and S of each method, and of the variant's U less each other's, within folds (and source × view)."""
    films, rows = rotation.films, []
    weights, unit = bootstrap_weights(films.table["patient"].to_numpy(), replicates, 0)
    for protocol in PROTOCOLS3:
        keep = protocol_rows(films.labels, protocol)
        for stratum, columns in (("none", ()), ("source_view", ("source_repo", "view"))):
            strata = stratum_numbers(rotation.fold[keep], *(films.table[c].to_numpy()[keep] for c in columns))
            cells = {"U": [], "S": []}
            for quadruple, unseen in enumerate(rotation.sets):
                for c in range(len(films.findings)):
                    scores = np.stack([one[quadruple, keep, c] for one in made.values()], axis=1)
                    auroc, _, _ = stratified_auroc(films.labels[keep, c], scores, strata, weights, unit[keep])
                    cells["U" if c in unseen else "S"].append((c, auroc.T))
            where = {"protocol": protocol, "stratum": stratum}
            for metric, pairs in cells.items():
                finding, values = np.array([c for c, _ in pairs]), np.stack([v for _, v in pairs], axis=1)
                for i, method in enumerate(made):
                    one = anatomy.unseen(values[i][None], finding)
                    less = anatomy.difference(values[0][None], values[i][None], finding)
                    rows.append({"method": method, **where, "metric": metric, "value": one.value, "low": one.low,
                                 "high": one.high, "variant_minus": less.value, "minus_low": less.low,
                                 "minus_high": less.high})  # fmt: skip
    return rows


def main(task: str, profile_name: str, *only: str) -> Path | None:
    """Try, rank, write; or test the first and write all again. None where some variants are not tried yet."""
    check(task, ("rank", "test"), "task")
    started, profile = datetime.now(UTC), run.load_profile(profile_name)
    if "improvements" not in (profile["rotation"] or {}):
        raise ValueError(f"profile {profile_name} has no rotation.improvements: see profiles/nih-mini.yaml.")
    plan, folder = profile["rotation"]["improvements"], resolve(profile["parameters"]["run_dir"]) / "variants"
    for name in only:
        check(name, plan["variants"], "variant")
        tried(profile, name)
    missing = [name for name in plan["variants"] if not (folder / f"{name}.json").is_file()]
    if only and missing:
        print(f"{len(missing)} variants are not tried yet: {', '.join(missing)}")
        return None
    cells = pd.DataFrame([row for name in plan["variants"] for row in tried(profile, name)])
    tables = {"ranking": ranked(cells, plan["variants"]), "cells": cells}
    tables["effects"] = effects(tables["ranking"], plan["variants"], profile["parameters"])
    first = tables["ranking"].variant[0]
    if task == "test":
        tables["test"] = pd.DataFrame(tested(profile, first))
    about = {
        "profile": profile_name, "started": started, "first": first, "improvements": plan, "seed": plan["design"],
        "command": f"python -m cmdml.study.variants_tables {task} {profile_name}",
        "parameters": run.settings(profile),
        "radiographs": cells_of(profile)[0].films, "seconds": float(cells.seconds.sum()),
    }  # fmt: skip
    return run.publish(f"data/results/variants-{profile_name}", tables, **about)


if __name__ == "__main__":
    try:
        done = main(*sys.argv[1:])
        print(f"{done} done" if done else "go on with the others")
    except (ValueError, OSError) as error:
        sys.exit(f"variants stopped. {error}")
