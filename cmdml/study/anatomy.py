"""The tables of a rotation: what every method scores, finding by finding, and what that score is made of."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from cmdml.evaluation import anatomy
from cmdml.evaluation.metrics import bootstrap_weights, harmonic_mean
from cmdml.evaluation.strata import PROTOCOLS3, STRATA, protocol_rows, stratified_auroc, stratum_numbers
from cmdml.findings import findings_of
from cmdml.names import check
from cmdml.semantics import semantic_vectors
from cmdml.study import permutations, run
from cmdml.study.design import nearest_neighbours
from cmdml.study.pool import workers
from cmdml.study.rotation import Rotation, about_scores, films_of, folder, load_scores
from cmdml.study.rotation_plan import made_by, results_folder
from cmdml.study.scorers import methods

COLUMNS = {"none": (), "view": ("view",), "source": ("source_repo",), "source_view": ("source_repo", "view")}
ILLNESS, CEILING, RARE = "mean_of_seen", "ceiling", 20
REFERENCES = (ILLNESS, "eszsl", "focused_description", "focused", CEILING)


class Scores:
    """The scores of every method under every design that is there, and the draws of patients that all share.

    ``only`` names the methods to read, where not all are asked for.
    """

    def __init__(self, profile: dict, only=None):
        self.profile, plan = profile, profile["rotation"]
        self.films = films_of(profile)
        self.labels, self.table = self.films.labels, self.films.table
        self.methods, self.designs = list(only or methods(plan)), []
        for method, reference in [] if only else [*plan["comparisons"]["primary"], *plan["comparisons"]["secondary"]]:
            check(method, self.methods, "method of a planned comparison")
            check(reference, [m for m in REFERENCES if m in self.methods], "reference of a planned comparison")
        self.files, self.about = {}, []
        for design in plan["designs"]:
            files = [folder(profile, design) / f"{method}.safetensors" for method in self.methods]
            if all(file.is_file() for file in files):
                self.designs.append(design)
                self.files[design] = dict(zip(self.methods, files, strict=True))
        if not self.designs:
            where, name = folder(profile, "").parent, profile["name"]
            raise FileNotFoundError(f"{where}: no design is complete: make rotation PROFILE={name}")
        for design, method in product(self.designs, self.methods):
            file = self.files[design][method]
            about = about_scores(file)
            if about["films_sha256"] != self.films.card["sha256"]:
                raise ValueError(f"{file} is not of the features {self.films.folder}: delete it and run again")
            made = made_by(about["plan"], about["parameters"], method)
            asked = made_by(plan, profile["parameters"], method)
            if made != asked:
                odd = " and ".join(name for name in asked if made[name] != asked[name])
                raise ValueError(f"{file} was made with another {odd} than the profile has: delete it and run again")
            self.about.append(about)
        self.rotations = {design: Rotation.of(profile, design) for design in self.designs}
        self.tested = self.rotations[self.designs[0]].tested  # the same in all designs
        self.unit = np.zeros(len(self.films), int)  # patients of which no film is tested are not drawn
        patients = self.table["patient"].to_numpy()[self.tested]
        self.weights, self.unit[self.tested] = bootstrap_weights(patients, plan["replicates"], 0)
        self.strata = [name for name in STRATA if set(COLUMNS[name]) <= set(self.table)]
        self.finding = np.array([np.ravel(self.rotations[design].sets) for design in self.designs])  # (D, K)

    def of(self, design: int) -> np.ndarray:
        """(Q, N, C, M) scores of all methods."""
        return np.stack([load_scores(self.files[design][method]) for method in self.methods], axis=-1)

    def cells(self, protocol: str, stratum: str, seen: bool = False):
        """AUROCs (M, D, K, 1 + R) of the unseen findings, or (M, D, 1 + R) of each design's mean over the seen ones.

        Also the number of positive films that were compared, (D, K).
        """
        keep = protocol_rows(self.labels, protocol) & self.tested
        origin = [self.table[column].to_numpy()[keep] for column in COLUMNS[stratum]]
        weights, out, counts = self.weights.astype(np.int32), [], []
        for design in self.designs:
            rotation, scores = self.rotations[design], self.of(design)
            strata = stratum_numbers(rotation.fold[keep], *origin)
            values, positives = [], []
            for quadruple, unseen in enumerate(rotation.sets):
                asked = [c for c in range(self.labels.shape[1]) if (c not in unseen) == seen]
                for c in asked:
                    positive, mine = self.labels[keep, c], scores[quadruple, keep, c]
                    auroc, _, n = stratified_auroc(positive, mine, strata, weights, self.unit[keep])
                    values.append(auroc.T.astype(np.float32))
                    positives.append(n)
            values = np.stack(values, axis=1)  # (M, K, 1 + R)
            defined = ~np.isnan(values[0, :, 0])  # labels and folds decide, so the same for all methods
            out.append(values[:, defined].mean(1) if seen else values)
            counts.append(positives)
        return np.stack(out, axis=1), np.array(counts)


def _part(given):
    profile, protocol, stratum = given
    scores = Scores(profile)
    return tables_of(scores, protocol, stratum)


def tables_of(scores: Scores, protocol: str, stratum: str) -> dict[str, list[dict]]:
    """Rows of ``methods``, ``findings`` and ``paired`` for one protocol and stratum."""
    where = {"protocol": protocol, "stratum": stratum}
    values, counts = scores.cells(protocol, stratum)
    finding, keys = scores.finding, scores.films.findings
    at = {m: i for i, m in enumerate(scores.methods)}
    films = int((protocol_rows(scores.labels, protocol) & scores.tested).sum())
    positives = {c: int(counts[finding == c].mean().round()) for c in range(len(keys))}
    rare = tuple(c for c, n in positives.items() if n < RARE)
    seen = scores.cells(protocol, stratum, seen=True)[0] if stratum == "none" else None
    rows = {"methods": [], "findings": [], "paired": []}
    ill, top = values[at[ILLNESS]], values[at[CEILING]]
    for method, i in at.items():
        mine = values[i]
        found = {"U": anatomy.unseen(mine, finding), "U20": anatomy.unseen(mine, finding, rare),
                 "share": anatomy.share_of_ceiling(mine, ill, top, finding)}  # fmt: skip
        if seen is not None:
            out = anatomy.undefined_findings(mine, finding=finding)  # of the seen cells, too: their labels are the same
            both = harmonic_mean(seen[i], anatomy.mean_unseen(mine, finding, out))
            found |= {"S": anatomy.estimate(seen[i], out), "H": anatomy.estimate(both, out)}
        for metric, estimate in found.items():
            row = {"method": method, **where, "metric": metric, **_numbers(estimate, keys), "films": films}
            rows["methods"].append(row)
        for c, estimate in enumerate(anatomy.finding_estimates(mine, finding, len(keys))):
            row = {"method": method, **where, "finding": keys[c], **_numbers(estimate, keys), "positives": positives[c]}
            rows["findings"].append(row)
    for method, reference in product(at, [m for m in REFERENCES if m in at]):
        if method != reference:
            a, b = values[at[method]], values[at[reference]]
            row = {"method": method, "reference": reference, **where, "metric": "U"}
            row |= _numbers(anatomy.difference(a, b, finding), keys, "difference")
            each = anatomy.by_finding(a[..., :1] - b[..., :1], finding, len(keys))[..., 0].mean(0)
            row |= {f"findings_{k}": v for k, v in anatomy.over_findings(each).items() if k != "value"}
            rows["paired"].append(row)
    return rows


def _numbers(estimate, keys, name="value") -> dict:
    """An estimate as columns: value, low, high, sd_designs, p (of differences), findings left out by name."""
    row = asdict(estimate)
    out = {name: row["value"], "low": row["low"], "high": row["high"], "sd_designs": row["sd_designs"]}
    out |= {"p": row["p"]} if name == "difference" else {}
    return out | {"left_out": " ".join(keys[c] for c in row["left_out"])}


def planned(paired: pd.DataFrame, plan: dict) -> pd.DataFrame:
    """Mark the planned comparisons (``primary``, ``secondary``), and correct the secondary ones after Holm."""
    paired = paired.assign(planned="", p_holm=np.nan)
    for kind in ("primary", "secondary"):
        for method, reference in plan["comparisons"][kind]:
            here = (paired.method == method) & (paired.reference == reference) & (paired.protocol == "abnormal")
            paired.loc[here & paired.stratum.isin(plan["comparisons"]["strata"]), "planned"] = kind
    second = paired.planned == "secondary"
    paired.loc[second, "p_holm"] = anatomy.holm(paired.loc[second, "p"].to_numpy())
    return paired


def coverage(scores: Scores, values: np.ndarray) -> pd.DataFrame:
    """Does a finding gain where its signs were taught? One row per (design, quadruple, unseen finding).

    ``coverage`` is the share of a finding's signs that some seen finding has; ``neighbour_seen``, whether the finding
    nearest to it in signs was seen; ``gain``, AUROC of the method of the primary comparison (``focused``) minus illness
    alone (``abnormal``, no strata).
    """
    signs = semantic_vectors(findings_of(scores.films.findings), "signs").numpy()
    near, has = nearest_neighbours(signs @ signs.T), signs > 0
    at = {m: i for i, m in enumerate(scores.methods)}
    told = scores.profile["rotation"]["comparisons"]["primary"][0][0]
    gain = values[at[told], ..., 0] - values[at[ILLNESS], ..., 0]
    rows = []
    for d, design in enumerate(scores.designs):
        for k, c in enumerate(scores.finding[d]):
            quadruple = k // len(scores.rotations[design].sets[0])
            unseen = scores.rotations[design].sets[quadruple]
            taught = has[[s for s in range(len(has)) if s not in unseen]].any(0)
            rows.append({"design": design, "quadruple": quadruple, "finding": scores.films.findings[c],
                         "coverage": float(taught[has[c]].mean()), "neighbour_seen": bool(near[c] not in unseen),
                         "gain": float(gain[d, k])})  # fmt: skip
    return pd.DataFrame(rows)


def counted(scores: Scores) -> dict[str, int]:
    """How many films there are, how many are tested in some fold, and how many of those have a finding."""
    tested = scores.labels[scores.tested]
    return {"films": len(scores.films), "tested": len(tested), "abnormal": int(tested.any(1).sum())}


def collect(profile: dict, out=None) -> Path:
    """Write the tables of the designs that are complete, whole or not at all, the manifest last. Returns the folder.

    Without ``out`` they go where ``cmdml.study.rotation_plan.results_folder`` says: never over those of more designs.
    """
    started, scores = datetime.now(UTC), Scores(profile)
    plan, views = profile["rotation"], list(product(PROTOCOLS3, scores.strata))
    with workers() as pool:
        chance = pool.map(permutations.row, permutations.jobs(scores.rotations, plan))  # the longest first
        parts = list(pool.map(_part, [(profile, *view) for view in views]))
        chance = pd.DataFrame(list(chance))
    tables = {name: pd.DataFrame([row for part in parts for row in part[name]]) for name in parts[0]}
    tables["paired"] = planned(tables["paired"], plan)
    scores.weights = scores.weights[:1]  # the gains are shown without intervals
    values, _ = scores.cells("abnormal", "none")
    tables["coverage"] = coverage(scores, values)
    tables["permutation"] = chance
    tables["tuning"] = pd.DataFrame([row for about in scores.about for row in about["tried"]])
    out = out or results_folder(profile, scores.designs)
    about = {
        "profile": profile["name"], "parameters": profile["parameters"], "seed": plan["designs"], "rotation": plan,
        "radiographs": scores.films, "started": started, "designs": scores.designs, **counted(scores),
        "missing_designs": [d for d in plan["designs"] if d not in scores.designs],
        "run_commits": sorted({str(one["commit"]) for one in scores.about}),
        "run_dirty": any(one["dirty"] for one in scores.about),
        "seconds": {m: round(sum(a["seconds"] for a in scores.about if a["method"] == m), 1) for m in scores.methods},
    }  # fmt: skip
    return run.publish(out, tables, **about)
