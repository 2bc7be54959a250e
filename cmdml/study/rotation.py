"""A rotation: every finding takes its turn at being unseen, under one plan (``book/plan.md``).

``python -m cmdml.study.rotate run PROFILE DESIGN METHOD`` scores every film by one method under one design (the
Snakefile's rule ``rotation_run``); ``python -m cmdml.study.rotate collect PROFILE`` makes the tables
(``cmdml.study.anatomy``). A design's scores lie in ``<run_dir>/rotation/<design>/<method>.safetensors``.

Two kinds. With ``features``, films come as features of a backbone that saw none of their labels; each design draws its
own quadruples and folds of patients. With ``extractor``, a network is trained for every quadruple
(``cmdml.study.rotation_extractors``), on the set's own split of patients; a "design" is then a seed, and all seeds
share one draw of quadruples.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cmdml.feature_set import FeatureSet
from cmdml.files import write_whole
from cmdml.findings import SeenUnseen, findings_of
from cmdml.names import check
from cmdml.radiographs import RadiographSet
from cmdml.semantics import DEFAULT_MODEL, semantic_vectors
from cmdml.study import run
from cmdml.study.design import patient_folds, quadruples
from cmdml.study.plan import radiographs_of
from cmdml.study.scorers import Scorer, methods


@dataclass(frozen=True)
class Cell:
    """One quadruple and one fold: rows to train, validate and test on, and which findings are seen."""

    findings: SeenUnseen
    fold: np.ndarray  # (N,) the fold of each film
    at: int  # which fold is tested
    labels: np.ndarray  # (N, C)

    @cached_property
    def test(self) -> np.ndarray:
        return np.flatnonzero(self.fold == self.at)

    @cached_property
    def val(self) -> np.ndarray:
        return np.flatnonzero(self.fold == (self.at + 1) % (self.fold.max() + 1))

    @cached_property
    def pool(self) -> np.ndarray:
        """Training films before those with an unseen finding are dropped: the ceiling's."""
        held = np.union1d(self.test, self.val)
        return np.setdiff1d(np.arange(len(self.fold)), held)

    @cached_property
    def train(self) -> np.ndarray:
        return self.pool[~self.labels[self.pool][:, self.findings.unseen_mask].any(1)]


@dataclass(frozen=True)
class Rotation:
    """What all methods of one design share: films, quadruples, folds."""

    profile: dict
    design: int
    films: FeatureSet | RadiographSet
    sets: tuple[tuple[int, ...], ...]
    fold: np.ndarray  # (N,)

    @cached_property
    def random(self) -> FeatureSet:
        """The same films, seen by a backbone of random weights."""
        if self.profile["rotation"].get("extractor"):
            return FeatureSet.load(features_folder(self.profile, self.design, "random"))
        return FeatureSet.load(run.resolve(self.profile["rotation"]["random_features"]))

    def features(self, quadruple: int) -> FeatureSet:
        """What methods see of the films: the same for all quadruples, unless each has an extractor of its own."""
        if not self.profile["rotation"].get("extractor"):
            return self.films
        found = FeatureSet.load(features_folder(self.profile, self.design, quadruple))
        if found.card["radiographs_sha256"] != self.films.card["sha256"]:
            raise ValueError(f"{found.folder} holds features of other radiographs: delete it and run again")
        return found

    def vectors(self, semantics: str) -> torch.Tensor:
        """(C, E) what methods are told of the findings, in words as the profile's ``semantic_model`` reads them."""
        model = self.profile["parameters"].get("semantic_model", DEFAULT_MODEL)
        return semantic_vectors(findings_of(self.films.findings), semantics, model=model, seed=self.design)

    @property
    def tested(self) -> np.ndarray:
        """(N,) bool, the films that are tested in some fold; all of them where the folds take turns."""
        return self.fold < self.profile["rotation"]["folds"]

    @classmethod
    def of(cls, profile: dict, design: int) -> Rotation:
        plan, films = profile["rotation"], films_of(profile)
        signs = semantic_vectors(findings_of(films.findings), "signs").numpy()
        if plan.get("extractor"):  # one fold: the set's own test films; then validation, then training
            fold = films.table["split"].map({"test": 0, "val": 1, "train": 2}).to_numpy()
            drawn = plan["extractor"]["quadruples"]
        else:
            fold = patient_folds(films.table["patient"].to_numpy(), films.labels, plan["folds"], design)
            drawn = design
        return cls(profile, design, films, tuple(quadruples(signs @ signs.T, drawn)), fold)

    def cell(self, quadruple: int, at: int) -> Cell:
        keys = self.films.findings
        unseen = tuple(keys[c] for c in self.sets[quadruple])
        return Cell(SeenUnseen(keys, unseen), self.fold, at, self.films.labels)

    def without(self, cell: Cell, pseudo: tuple[int, ...]) -> Cell:
        """The same cell, in which some seen findings play unseen, too."""
        keys, real = self.films.findings, cell.findings.unseen
        unseen = tuple(key for c, key in enumerate(keys) if key in real or c in pseudo)
        return replace(cell, findings=SeenUnseen(keys, unseen))

    def scores(self, method: str) -> tuple[np.ndarray, list[dict]]:
        """(Q, N, C) scores of every film by the model of its fold, and a row per setting that was tried."""
        check(method, methods(self.profile["rotation"]), "method")
        out = np.full((len(self.sets), len(self.films), len(self.films.findings)), np.nan, np.float32)
        tried = []
        for quadruple in range(len(self.sets)):
            scorer = Scorer(self, method, quadruple)
            chosen, rows = scorer.choose()
            tried += rows
            for at in range(self.profile["rotation"]["folds"]):
                cell = self.cell(quadruple, at)
                out[quadruple, cell.test] = scorer(cell, chosen, cell.test)
        return out, tried


def films_of(profile: dict) -> FeatureSet | RadiographSet:
    """The films of a rotation: its features, or the radiographs that its extractors are trained on."""
    plan = profile["rotation"]
    if plan.get("extractor"):
        return RadiographSet.load(radiographs_of(profile))
    return FeatureSet.load(run.resolve(plan["features"]))


def features_folder(profile: dict, seed: int, which) -> Path:
    """Where the features of a quadruple's own extractor lie, or those of an untrained one (``random``)."""
    return folder(profile, seed) / "features" / str(which)


def folder(profile: dict, design: int) -> Path:
    """Where the scores of a design lie."""
    return run.resolve(profile["parameters"]["run_dir"]) / "rotation" / str(design)


def score(profile: dict, design: int, method: str) -> Path:
    """Score all films by one method under one design; returns the file, whose metadata says how it was made."""
    started, rotation = datetime.now(UTC), Rotation.of(profile, design)
    scores, tried = rotation.scores(method)
    about = {
        "method": method, "design": design, "films_sha256": rotation.films.card["sha256"], "tried": tried,
        "plan": profile["rotation"], "parameters": profile["parameters"], "commit": run.CODE["commit"],
        "dirty": run.CODE["dirty"], "seconds": (datetime.now(UTC) - started).total_seconds(),
    }  # fmt: skip
    text = json.dumps(about)
    meta = {"about": text, "sha256": _digest(text, scores), "sha256_about": _digest(text)}
    out = folder(profile, design) / f"{method}.safetensors"
    return write_whole(out, lambda beside: save_file({"scores": scores}, beside, metadata=meta))


def _digest(about: str, scores: np.ndarray | None = None) -> str:
    digest = hashlib.sha256(about.encode())
    if scores is not None:
        digest.update(f"{scores.dtype} {scores.shape}".encode() + np.ascontiguousarray(scores).tobytes())
    return digest.hexdigest()


def about_scores(file: Path) -> dict:
    """How the scores in a file of :func:`score` were made; they are not read."""
    return json.loads(_read(file, scores=False)[0])


def load_scores(file: Path) -> np.ndarray:
    """(Q, N, C) scores that :func:`score` wrote.

    Raises
    ------
    ValueError
        The file is damaged or was edited; one of before there were hashes is read, and a warning names it.
    """
    return _read(file, scores=True)[1]


def _read(file: Path, scores: bool) -> tuple[str, np.ndarray | None]:
    if not file.is_file():  # a pipe would be waited for
        raise FileNotFoundError(f"{file} is missing or no regular file: delete it and run again")
    try:
        with safe_open(file, framework="np") as opened:
            meta, found = opened.metadata(), opened.get_tensor("scores") if scores else None
        if meta.keys() == {"about"}:
            warnings.warn(f"{file} is of a version that noted no hash, so it cannot be checked", stacklevel=3)
            return meta["about"], found
        if meta["sha256_about"] == _digest(meta["about"]):
            if not scores or meta["sha256"] == _digest(meta["about"], found):
                return meta["about"], found
    except (SafetensorError, KeyError, AttributeError):
        pass
    raise ValueError(f"{file} is damaged or was edited: delete it and run again")
