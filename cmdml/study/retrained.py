"""Is it the signs, for the study's own head? It is trained anew with the signs of other findings (``book/plan.md``).

``python -m cmdml.study.retrained PROFILE`` trains ``focused`` in all cells of the plan's first design, told the real
signs, then twenty permutations of them. One setting for all, the profile's own: what is chosen with the real signs
would favour them. Each order's U is kept in ``<run_dir>/rotation/<design>/retrained``, so that an interrupted run goes
on; the tables go to ``data/results/retrained-PROFILE``. What a permutation costs is measured there, too.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cmdml.evaluation.anatomy import permutation_p
from cmdml.evaluation.strata import protocol_rows
from cmdml.files import is_sealed, read_json, sealed, write_json
from cmdml.study import run
from cmdml.study.permutations import orders, pooled_auroc
from cmdml.study.pool import workers
from cmdml.study.rotation import Rotation, folder
from cmdml.study.scorers import Scorer

METHOD, PERMUTATIONS = "focused", 20


class Told(Scorer):
    """The study's own head, told the signs of finding ``order[c]`` where finding c is meant."""

    def __init__(self, rotation: Rotation, order, quadruple: int):
        super().__init__(rotation, METHOD, quadruple)
        self.order = torch.as_tensor(np.asarray(order))

    def _vectors(self, semantics: str) -> torch.Tensor:
        return super()._vectors(semantics)[self.order]


def reached(rotation: Rotation, order) -> float:
    """Mean U under ``abnormal`` of the head trained with permuted signs: pairs of one fold, pooled by their number."""
    labels, means = rotation.films.labels, []
    abnormal = protocol_rows(labels, "abnormal")
    for quadruple, unseen in enumerate(rotation.sets):
        scorer, above, pairs = Told(rotation, order, quadruple), np.zeros(len(unseen)), np.zeros(len(unseen))
        for at in range(rotation.profile["rotation"]["folds"]):
            cell = rotation.cell(quadruple, at)
            rows = cell.test[abnormal[cell.test]]
            scores = scorer(cell, {}, rows)
            for k, c in enumerate(unseen):
                some, count = pooled_auroc(labels[rows, c], scores[:, [c]])
                above[k] += some[0]
                pairs[k] += count
        means.append((above / pairs).mean())
    return float(np.mean(means))


def kept(profile: dict, at: int) -> dict:
    """Order number ``at`` (0 is the real one), trained or read: its U, and the seconds that it took."""
    started, rotation = datetime.now(UTC), Rotation.of(profile, profile["rotation"]["designs"][0])
    order = orders(rotation.films.findings, PERMUTATIONS, "free", rotation.design)[at]
    about = {
        "films_sha256": rotation.films.card["sha256"], "order": order.tolist(), "folds": profile["rotation"]["folds"],
        "trained": profile["rotation"]["trained"], "parameters": run.settings(profile),
    }  # fmt: skip
    file = folder(profile, rotation.design) / "retrained" / f"{at}.json"
    if file.is_file():
        found = read_json(file, "delete it and run again")
        if not is_sealed(found):
            raise ValueError(f"{file} is damaged or was edited: delete it and run again")
        if found["about"] == about:
            return found
    value = reached(rotation, order)
    seconds = (datetime.now(UTC) - started).total_seconds()
    write_json(file, sealed({"about": about, "U": value, "seconds": seconds, **run.CODE}))
    return read_json(file, "delete it and run again")


def main(name: str) -> Path:
    """Train what is missing, then write the tables; returns their folder."""
    started, profile = datetime.now(UTC), run.load_profile(name)
    if profile["rotation"] is None:
        raise ValueError(f"profile {name} has no section `rotation`: see profiles/nih-mini.yaml.")
    rotation = Rotation.of(profile, profile["rotation"]["designs"][0])
    found = []
    with workers() as pool:
        for one in pool.map(kept, repeat(profile), range(1 + PERMUTATIONS)):
            found.append(one)
            print(f"{len(found)} of {1 + PERMUTATIONS} orders of the signs, {one['seconds']:.0f} s", flush=True)
    u = np.array([one["U"] for one in found])
    row = {"method": METHOD, "design": rotation.design, "kind": "free", "real": u[0], "mean": u[1:].mean(),
           "sd": u[1:].std(ddof=1), "largest": u[1:].max(), "permutations": PERMUTATIONS,
           "p": permutation_p(u[0], u[1:])}  # fmt: skip
    each = [{"order": k, "U": one["U"], "seconds": round(one["seconds"], 1),
             "signs_of": " ".join(rotation.films.findings[c] for c in one["about"]["order"])}
            for k, one in enumerate(found)]  # fmt: skip
    about = {
        "profile": name, "started": started, "seed": rotation.design, "parameters": run.settings(profile),
        "command": f"python -m cmdml.study.retrained {name}", "radiographs": rotation.films,
        "run_commits": sorted({str(one["commit"]) for one in found}), "run_dirty": any(one["dirty"] for one in found),
    }  # fmt: skip
    tables = {"permutation": pd.DataFrame([row]), "each": pd.DataFrame(each)}
    return run.publish(f"data/results/retrained-{name}", tables, **about)


if __name__ == "__main__":
    try:
        print(f"{main(*sys.argv[1:])} done")
    except (ValueError, OSError) as error:
        sys.exit(f"retrained stopped. {error}")
