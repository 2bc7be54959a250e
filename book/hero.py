"""The front page's figure: one drawn and one real film, each asked three times, told different words.

``python book/hero.py runs/phantom`` reads the run's test films and its trainings told signs, descriptions and another
finding's signs; for the real film it trains the same head three times on the features that come with the study (seed 0,
the default split; seconds). It writes ``book/figures/hero.png`` and ``data/results/hero/``: the places of all findings
and a manifest. The films are chosen by a rule, not by what the models say: the first test film, by name, that is
labelled with exactly one finding, an unseen one.
"""

import sys
from dataclasses import fields
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from cmdml.config import TrainConfig
from cmdml.evaluation.testset import TestSet, embedded
from cmdml.feature_set import FeatureSet
from cmdml.findings import KEYS, findings_of, split_findings
from cmdml.partitioning import partition
from cmdml.plots import figures, hero
from cmdml.semantics import semantic_vectors
from cmdml.study import run
from cmdml.study.results import publish
from cmdml.training import fit

TOLD = {"description": "told a description", "signs_text": "told its signs", "shuffled": "told another's signs"}
FEATURES = "data/features/nih-mini-efficientnet_lite0"


def chosen(labels: np.ndarray, findings, rows) -> int:
    """The first of ``rows`` that carries exactly one finding, an unseen one."""
    for row in rows:
        if labels[row].sum() == 1 and labels[row][findings.unseen_index].any():
            return row
    raise ValueError("no test film carries exactly one finding, an unseen one: draw more films")


def drawn(folder: Path, findings):
    """Pixels, labels and scores by what was told, of one phantom."""
    trained = {"signs_text": "training"} | {told: f"variants/{told}/training" for told in ("description", "shuffled")}
    test = TestSet(folder / "radiographs")
    at = chosen(test.labels, findings, np.argsort(test.radiographs.table.image.to_numpy()[test.rows], kind="stable"))
    scores = {told: embedded(folder / place, test.rows[[at]])["scores"][0] for told, place in trained.items()}
    return test.radiographs.pixels[test.rows[at]], test.labels[at], scores, test.radiographs.table.image[test.rows[at]]


def real(findings):
    """The same of a real film, from frozen features."""
    films = FeatureSet.load(run.resolve(FEATURES))
    shown = pd.read_csv(run.resolve("data/films/films.csv"), dtype={"image": str}).image
    rows = np.flatnonzero(films.table.image.isin(shown) & (films.table.split == "test"))
    at = chosen(films.labels, findings, rows[np.argsort(films.table.image.to_numpy()[rows], kind="stable")])
    given = run.load_profile("nih-mini")["parameters"]
    scores = {}
    for told in TOLD:
        values = {f.name: given[f.name] for f in fields(TrainConfig) if f.name in given}
        vectors = semantic_vectors(findings_of(films.findings), told, seed=0)
        config = TrainConfig.from_dict(values | {"seed": 0})
        done = fit(partition(films, findings), vectors, config, None, progress=False)
        scores[told] = done.embeddings["scores"][list(done.embeddings["index"]).index(at)]
    name = films.table.image[at]
    return np.asarray(Image.open(run.resolve("data/films") / name).convert("L")), films.labels[at], scores, name


def main(folder: str = "runs/phantom") -> None:
    """Draw the figure of a run's front page."""
    figures.style()
    lines, asked = [], {}
    fig, axes = plt.subplots(2, 4, figsize=(figures.WIDTH, 4.4), width_ratios=[1.1, 1, 1, 1])
    findings = split_findings(KEYS, "default")
    found = {"phantom": drawn(run.resolve(folder), findings), "real film": real(findings)}
    for row, (kind, (pixels, labels, scores, name)) in zip(axes, found.items()):
        present = [findings.keys[c] for c in np.flatnonzero(labels)]
        hero.film(pixels, f"{kind}: {figures.words(present[0]).lower()},\nnever shown in training", row[0])
        for ax, (told, title) in zip(row[1:], TOLD.items()):
            hero.answer(scores[told], present, findings, ax)
            ax.set_title(title, fontsize=9.5)
            places = hero.places(scores[told])
            lines += [
                {"film": name, "kind": kind, "told": told, "finding": key, "place": int(place), "score": float(score)}
                | {"labelled": key in present, "unseen": key in findings.unseen}
                for key, place, score in zip(findings.keys, places, scores[told])
            ]
        asked[kind] = {"film": str(name), "finding": present[0]}
    for ax in axes[-1, 1:]:
        ax.set_xlabel("closeness", fontsize=8)
    out = run.resolve("book/figures")
    fig.savefig(out / "hero.png", dpi=200)
    about = {"title": "Front page: one film, three sets of words", "asked": asked, "trained_in": folder}
    own = {"profile": "phantom", "parameters": {"folder": folder}, "seed": 0}
    publish(run.resolve("data/results/hero"), {"places": pd.DataFrame(lines)},
            lambda place, **hashes: run.manifest(place, **own, **about, **hashes))  # fmt: skip


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"no figure was drawn. {error}")
