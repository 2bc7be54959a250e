"""The methods of a rotation: each chooses its settings on pseudo-unseen findings, then scores test films."""

from __future__ import annotations

import itertools
import json
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

from cmdml import closed_form
from cmdml.config import TrainConfig, effective
from cmdml.evaluation.controls import random_scores, source_only
from cmdml.evaluation.metrics import age_bands
from cmdml.radiographs import Partition
from cmdml.study.design import pseudo_unseen
from cmdml.training import fit

if TYPE_CHECKING:
    from cmdml.study.rotation import Cell, Rotation

CLOSED = ("eszsl", "eszsl_signs", "eszsl_description", "dap", "cosine", "nearest", "nearest_description",
          "mean_of_seen", "normality", "ceiling", "ceiling_same_size", "random_weights")  # fmt: skip
# Told the labels of all training films, unseen findings too: the most that the property could tell.
PROPERTY = {"view": "view", "age": "age_band", "sex": "sex", "source": "source_repo"}
PIXELLESS = (*PROPERTY, "label_count", "random")


def methods(plan: dict) -> list[str]:
    """All methods of a profile's ``rotation``: the trained ones it lists, closed forms, scorers without pixels.

    But for those that it is ``without``: a set that names no source has no scorer by source.
    """
    every = [*plan["trained"]["methods"], *CLOSED, *PIXELLESS]
    return [method for method in every if method not in plan.get("without", ())]


def mean_auroc(labels, scores) -> float:
    """Mean AUROC over the columns that have both classes; NaN where none has."""
    defined = [c for c in range(labels.shape[1]) if 0 < labels[:, c].sum() < len(labels)]
    return float(np.mean([roc_auc_score(labels[:, c], scores[:, c]) for c in defined])) if defined else np.nan


class Scorer:
    """One method in one quadruple: tries its settings on pseudo-unseen findings, then scores test films.

    No label of the quadruple's findings reaches it but through ``ceiling``, which is told so by its name.
    """

    def __init__(self, rotation: Rotation, method: str, quadruple: int):
        self.rotation, self.method, self.quadruple = rotation, method, quadruple
        self.plan, self.keys = rotation.profile["rotation"], rotation.films.findings
        self.films = rotation.features(quadruple)
        self._last = None, None

    def settings(self) -> list[dict]:
        """What may be chosen: nothing for scorers without settings."""
        if self.method in self.plan["trained"]["methods"]:
            grid = self.plan["trained"]["settings"]
        elif self.method in PIXELLESS:
            return [{}]
        else:
            grid = {"ridge": self.plan["closed"]["ridge"]}
            if self.method.startswith(("eszsl", "random_weights")):
                grid["semantic_ridge"] = self.plan["closed"]["semantic_ridge"]
        return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]

    def choose(self) -> tuple[dict, list[dict]]:
        """The setting with the best mean AUROC of pseudo-unseen findings on validation films, in the cell of fold 0.

        Validation films are those with one of the ten seen findings: labels of the four unseen ones are not read. The
        ceiling, which has no unseen finding, chooses by the AUROC of the seen ones.
        """
        settings, cell = self.settings(), self.rotation.cell(self.quadruple, 0)
        if len(settings) == 1:
            return settings[0], []
        seen, labels = cell.findings.seen_index, self.films.labels
        val = cell.val[labels[cell.val][:, seen].any(1)]
        seed = 1000 * self.rotation.design + self.quadruple
        draws = [()] if self.method.startswith("ceiling") else pseudo_unseen(seen, seed, **self.plan["pseudo"])
        reached = np.zeros((len(draws), len(settings)))
        for i, pseudo in enumerate(draws):  # settings inside: they share what is fitted to the same films
            inner, asked = self.rotation.without(cell, pseudo), list(pseudo) or list(seen)
            for j, setting in enumerate(settings):
                reached[i, j] = mean_auroc(labels[val][:, asked], self(inner, setting, val)[:, asked])
        about = {"method": self.method, "design": self.rotation.design, "quadruple": self.quadruple}
        rows = [{**about, "setting": json.dumps(setting), "auroc": float(mean), "used": False}
                for setting, mean in zip(settings, reached.mean(0), strict=True)]  # fmt: skip
        best = int(np.argmax([row["auroc"] for row in rows]))
        rows[best]["used"] = True
        return settings[best], rows

    def __call__(self, cell: Cell, setting: dict, rows: np.ndarray) -> np.ndarray:
        """Scores (M, C) of the films ``rows`` of the cell."""
        if self.method in self.plan["trained"]["methods"]:
            return self._trained(cell, setting, rows)
        return self._pixelless(cell, rows) if self.method in PIXELLESS else self._closed(cell, setting, rows)

    def _vectors(self, semantics: str) -> torch.Tensor:
        return self.rotation.vectors(semantics)

    def _trained(self, cell: Cell, setting: dict, rows: np.ndarray) -> np.ndarray:
        parameters = self.rotation.profile["parameters"] | self.plan["trained"].get("parameters", {})
        own, films = self.plan["trained"]["methods"][self.method], self.films
        values = {**parameters, **own, **setting, "seed": self.rotation.design}
        values, _ = effective(values, own)
        config = TrainConfig.from_dict({f.name: values[f.name] for f in fields(TrainConfig) if f.name in values})
        parts = Partition(films, cell.findings, cell.train, cell.val, cell.test, pd.DataFrame())
        done = fit(parts, self._vectors(values["semantics"]), config, None, progress=False, accelerator="cpu")
        place = np.full(len(films), -1)
        place[done.embeddings["index"]] = np.arange(len(done.embeddings["index"]))
        return done.embeddings["scores"][place[rows]]

    def _closed(self, cell: Cell, setting: dict, rows: np.ndarray) -> np.ndarray:
        films = self.rotation.random if self.method == "random_weights" else self.films
        seen, count, gamma = cell.findings.seen_index, len(self.keys), setting["ridge"]
        train = cell.train
        if self.method == "ceiling":
            train = cell.pool
        elif self.method == "ceiling_same_size":
            seed = 10_000 * self.rotation.design + 100 * self.quadruple + cell.at
            train = cell.pool[closed_form.same_size(len(cell.pool), len(cell.train), seed)]
        ridge = self._ridge(films, train)
        labels, test = films.labels[train].astype(float), films.pixels[rows].astype(float)
        if self.method.startswith("ceiling"):
            return closed_form.ceiling(ridge, labels, test, gamma)
        labels = labels[:, seen]
        if self.method == "mean_of_seen":
            return closed_form.mean_of_seen(ridge, labels, test, count, gamma)
        if self.method == "normality":
            return closed_form.normality(ridge, labels, test, count, gamma)
        if self.method == "dap":
            signs = self._vectors("signs").numpy() > 0
            scores, _ = closed_form.dap(ridge, labels, test, signs[seen], signs, gamma)
            return np.nan_to_num(scores, nan=0.0)  # a finding without a taught sign: the same score for all films
        told = self.method.rpartition("_")[2]
        vectors = self._vectors(told if told in ("signs", "description") else "signs_text").numpy().astype(float)
        if self.method.startswith("nearest"):
            return closed_form.nearest(ridge, labels, test, vectors[seen], vectors, gamma)
        if self.method == "cosine":
            return closed_form.cosine(ridge, labels, test, vectors[seen], vectors, gamma)
        return closed_form.eszsl(ridge, labels, test, vectors[seen], vectors, gamma, setting["semantic_ridge"])

    def _ridge(self, films, train: np.ndarray) -> closed_form.Ridge:
        """One decomposition for all settings that train on the same films."""
        key = (id(films), train.tobytes())
        if key != self._last[0]:
            self._last = key, closed_form.Ridge(films.pixels[train].astype(float))
        return self._last[1]

    def _pixelless(self, cell: Cell, rows: np.ndarray) -> np.ndarray:
        films = self.films
        if self.method == "random":
            return random_scores((len(rows), len(self.keys)), [self.rotation.design, self.quadruple, cell.at])
        if self.method == "label_count":
            labels = films.labels[rows].astype(float)
            return labels.sum(1, keepdims=True) - labels  # the film's other findings
        table = films.table.assign(age_band=age_bands(films.table["age"]))
        return source_only(table, self.keys, cell.pool, rows, (PROPERTY[self.method],))
