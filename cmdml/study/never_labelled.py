"""Findings that no training film was labelled with, scored from their signs by models that know the fourteen.

Fracture, by radiologists, on PA films; the two findings of the aorta, text-mined, on all films. Their signs were
written down before any score was made with them, later than those of the fourteen: exploratory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cmdml.evaluation.bootstrap import percentile_interval
from cmdml.evaluation.controls import source_only
from cmdml.evaluation.metrics import age_bands, bootstrap_weights
from cmdml.evaluation.strata import stratified_auroc, stratum_numbers
from cmdml.findings import KEYS
from cmdml.semantics import DEFAULT_MODEL, signs_vector
from cmdml.sources.label_tables import label_table
from cmdml.study.rotation import Rotation
from cmdml.study.scorers import Scorer

# A break in a rib: a sharp, dark line at the chest wall. A winding aorta: a wide band of the mediastinum with a sharp
# edge. A calcified one: a dense, sharp line in it.
SIGNS = {
    "Fracture": ("lucency", "focal", "linear", "peripheral", "sharp_margin"),
    "Tortuous Aorta": ("opacity", "homogeneous", "large", "cardiomediastinal", "sharp_margin"),
    "Calcification of the Aorta": ("opacity", "linear", "cardiomediastinal", "sharp_margin"),
}
METHODS = ("focused", "eszsl", "nearest", "mean_of_seen", "normality")
PROPERTIES = {"view": "view", "age": "age_band", "sex": "sex", "source": "source_repo"}


class NeverScorer(Scorer):
    """A method that was shown all fourteen findings, and that is told the signs of further ones."""

    def _vectors(self, semantics: str) -> torch.Tensor:
        model = self.rotation.profile["parameters"].get("semantic_model", DEFAULT_MODEL)
        further = [signs_vector(signs, semantics, model=model) for signs in SIGNS.values()]
        return torch.cat([super()._vectors(semantics), torch.stack(further)])

    def scores(self) -> np.ndarray:
        """(N, number of SIGNS): every film by the model of its fold; heads as the profile's parameters say."""
        chosen = {} if self.method in self.plan["trained"]["methods"] else self.choose()[0]
        out = np.full((len(self.films), len(SIGNS)), np.nan)
        for at in range(self.plan["folds"]):
            cell = self.rotation.cell(0, at)
            made = self(cell, chosen, cell.test)
            one_for_all = made.shape[1] == len(KEYS)  # illness does not ask which finding
            out[cell.test] = made[:, :1] if one_for_all else made[:, len(KEYS) :]
        return out


def truth_of(name: str, images, root: Path) -> np.ndarray:
    """(N,) 1, 0, or NaN where nobody looked, or where the table is not there."""
    if name != "Fracture":
        return label_table(root / "labels_cxr_lt.csv", images, [name])[name].to_numpy()
    if not (root / "labels_radiologists_4.csv").is_file():
        return np.full(len(images), np.nan)
    table = label_table(root / "labels_radiologists_4.csv", images, [name, "in_810_PA_set"])
    return np.where(table["in_810_PA_set"] == 1, table[name], np.nan)


def property_scores(rotation: Rotation, positive: np.ndarray) -> dict[str, np.ndarray]:
    """{property: (N,)}: how often training films of the other folds that share it show the finding; age as it is, too.

    They are told the labels: the most that the property could tell.
    """
    table, known = rotation.films.table.assign(age_band=age_bands(rotation.films.table["age"])), ~np.isnan(positive)
    table, out = table.assign(asked=np.where(known, positive, 0)), {}
    for name, column in PROPERTIES.items():
        scores = np.zeros(len(table))
        for at in range(rotation.profile["rotation"]["folds"]):
            test = rotation.fold == at
            train = np.flatnonzero(~test & known)
            scores[test] = source_only(table, ["asked"], train, np.flatnonzero(test), (column,))[:, 0]
        out[name] = scores
    return out | {"age in years": table["age"].fillna(table["age"].median()).to_numpy(float)}


def never_labelled(profile: dict, root: Path, methods=METHODS) -> pd.DataFrame:
    """AUROC of each finding by each scorer, within folds, overall and within source; intervals over patients."""
    rotation = Rotation.of(profile, profile["rotation"]["designs"][0])
    rotation = Rotation(profile, rotation.design, rotation.films, ((),), rotation.fold)
    films, rows = rotation.films, []
    made = {method: NeverScorer(rotation, method, 0).scores() for method in methods}
    for c, name in enumerate(SIGNS):
        positive = truth_of(name, films.table["image"], root)
        if np.isnan(positive).all():
            continue
        mine = {method: scores[:, c] for method, scores in made.items()} | property_scores(rotation, positive)
        for protocol in ("abnormal", "all"):
            ill = films.labels.any(1) | (positive == 1)
            keep = ~np.isnan(positive) & (ill if protocol == "abnormal" else True)
            patients = films.table["patient"].to_numpy()[keep]
            weights, unit = bootstrap_weights(patients, profile["rotation"]["replicates"], 0)
            for stratum, column in (("none", ()), ("source", ("source_repo",))):
                strata = stratum_numbers(rotation.fold[keep], *(films.table[one].to_numpy()[keep] for one in column))
                scores = np.stack([one[keep] for one in mine.values()], axis=1)
                auroc, _, n = stratified_auroc(positive[keep] == 1, scores, strata, weights.astype(np.int32), unit)
                low, high, _ = percentile_interval(auroc[1:])
                rows += [{"finding": name, "protocol": protocol, "stratum": stratum, "method": method,
                          "value": auroc[0, i], "low": low[i], "high": high[i], "positives": n,
                          "films": int(keep.sum())} for i, method in enumerate(mine)]  # fmt: skip
    return pd.DataFrame(rows)
