"""Variants of CM-DML, ranked by pseudo-unseen findings alone; the first of the list is then tested, once.

``python -m cmdml.study.variants_tables rank PROFILE`` trains every variant of the profile's ``rotation.improvements``
on some quadruples of one design, as the rotation does when it chooses settings: in the cell of fold 0, some seen
findings play unseen, and their AUROC on validation films ranks the variants. No label of an unseen finding and no test
film is read. ``… test PROFILE`` scores all films of that design by the first variant, beside illness alone and closed
forms.

A variant changes parameters of a training. Four more words say what no parameter says: ``start`` (``ridge`` or
``eszsl``: the visual map starts from that closed form; needs ``visual_to_semantic`` and ``hidden: 0``), ``ridge`` (its
strength), ``see`` (``ridge``: the head sees the ridge scores of the seen findings, a map of rank ten, instead of the
features; ``bce``: the hidden layer of a head that was trained with cross-entropy) and ``seeds`` (so many trainings,
their scores averaged).
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import torch
from torch import nn

from cmdml.closed_form import Ridge
from cmdml.config import TrainConfig, effective
from cmdml.names import check
from cmdml.radiographs import Partition
from cmdml.study.design import pseudo_unseen
from cmdml.study.rotation import Cell, Rotation
from cmdml.study.scorers import Scorer, mean_auroc
from cmdml.training import fit

WORDS = ("start", "ridge", "see", "seeds")
RIDGE, LAMBDA = 1000.0, 0.1  # strengths where a variant names none


class VariantScorer(Scorer):
    """`Scorer` of one variant: ``changes`` to the parameters of ``focused`` and the four words."""

    def __init__(self, rotation: Rotation, changes: dict, quadruple: int):
        super().__init__(rotation, "focused", quadruple)
        for word in changes:
            check(word, [*WORDS, "semantics", *(f.name for f in fields(TrainConfig))], "change of a variant")
        self.words = {word: changes[word] for word in WORDS if word in changes}
        self.changes = {name: value for name, value in changes.items() if name not in WORDS}

    def __call__(self, cell: Cell, setting: dict, rows: np.ndarray) -> np.ndarray:
        """(M, C) scores of the films ``rows``, which lie in the validation or test part of the cell."""
        films = self.films if "see" not in self.words else self._seen_by(cell)
        seeds = range(self.rotation.design, self.rotation.design + self.words.get("seeds", 1))
        scores = [self._fit(films, cell, self.changes | {"seed": seed}).embeddings for seed in seeds]
        place = np.full(len(films), -1)
        place[scores[0]["index"]] = np.arange(len(scores[0]["index"]))
        return np.mean([one["scores"] for one in scores], axis=0)[place[rows]]

    def _fit(self, films, cell: Cell, changes: dict):
        parameters = self.rotation.profile["parameters"] | self.plan["trained"].get("parameters", {})
        values, _ = effective({**parameters, **changes}, changes)
        config = TrainConfig.from_dict({f.name: values[f.name] for f in fields(TrainConfig) if f.name in values})
        parts = Partition(films, cell.findings, cell.train, cell.val, cell.test, pd.DataFrame())
        vectors = self._vectors(values["semantics"])
        start = self._start(films, cell, vectors) if "start" in self.words else None
        return fit(parts, vectors, config, None, progress=False, accelerator="cpu", start=start)

    def _start(self, films, cell: Cell, vectors):
        """A function that sets the only linear map of a model to a closed form, fitted on the same training films."""
        check(self.words["start"], ("ridge", "eszsl"), "start")
        ridge, strength = Ridge(films.pixels[cell.train].astype(float)), self.words.get("ridge", RIDGE)
        labels = films.labels[cell.train][:, cell.findings.seen_index].astype(float)
        seen = vectors[cell.findings.seen_index].numpy().astype(float)
        if self.words["start"] == "ridge":  # as in `closed_form.cosine`
            targets = labels @ seen / np.maximum(labels.sum(axis=1, keepdims=True), 1)
            weight, bias = ridge.solve(targets, strength), targets.mean(axis=0)
        else:  # X V of `closed_form.eszsl`
            inner = np.linalg.solve(seen @ seen.T + LAMBDA * np.eye(len(seen)), seen)
            weight = ridge.solve(2 * labels - 1, strength) @ inner
            bias = np.zeros(weight.shape[1])

        def start(model) -> None:
            layers = [*model.visual_regression.children()]
            if len(layers) != 1 or model.semantic_regression.state_dict():
                raise ValueError("start needs direction visual_to_semantic and hidden 0: one linear map")
            with torch.no_grad():
                layers[0].weight.copy_(torch.from_numpy(weight.T))
                layers[0].bias.copy_(torch.from_numpy(bias))

        return start

    def _seen_by(self, cell: Cell):
        """The same films, of which the head sees what another model made of them, fitted on the cell's training."""
        check(self.words["see"], ("ridge", "bce"), "see")
        if self.words["see"] == "ridge":
            ridge = Ridge(self.films.pixels[cell.train].astype(float))
            labels = self.films.labels[cell.train][:, cell.findings.seen_index].astype(float)
            made = ridge.predict(labels, self.films.pixels.astype(float), self.words.get("ridge", RIDGE))
            return replace(self.films, pixels=made.astype(np.float32))
        changes = {"objective": "bce", "seed": self.rotation.design}
        plain = VariantScorer(self.rotation, {}, self.quadruple)
        model = plain._fit(self.films, cell, changes).model
        with torch.inference_mode():
            shown = model.visual_extractor(torch.from_numpy(np.array(self.films.pixels)))
            made = nn.Sequential(*[*model.visual_regression][:-1])(shown).numpy()  # the layer before the last
        return replace(self.films, pixels=made)


def cells_of(profile: dict):
    """The rotation of the plan, and (quadruple, pseudo-unseen findings) of every cell that ranks."""
    plan = profile["rotation"]["improvements"]
    rotation, cells = Rotation.of(profile, plan["design"]), []
    for quadruple in plan["quadruples"]:
        seen = rotation.cell(quadruple, 0).findings.seen_index
        drawn = pseudo_unseen(seen, 1000 * rotation.design + quadruple, **profile["rotation"]["pseudo"])
        cells += [(quadruple, pseudo) for pseudo in drawn]
    return rotation, cells


def validated(rotation: Rotation, changes: dict, quadruple: int, pseudo) -> dict:
    """AUROC of the pseudo-unseen and of the seen findings on validation films that show one of the ten."""
    cell, labels = rotation.cell(quadruple, 0), rotation.films.labels
    rows = cell.val[labels[cell.val][:, cell.findings.seen_index].any(1)]
    inner = rotation.without(cell, pseudo)
    scores = VariantScorer(rotation, changes, quadruple)(inner, {}, rows)
    seen = list(inner.findings.seen_index)
    return {"pseudo_unseen": mean_auroc(labels[rows][:, list(pseudo)], scores[:, list(pseudo)]),
            "seen": mean_auroc(labels[rows][:, seen], scores[:, seen])}  # fmt: skip
