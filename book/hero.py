"""The front page's figure: one drawn and one real film, each asked three times, told different words.

``python book/hero.py runs/phantom`` reads the run's test films and its trainings told signs, descriptions and another
finding's signs; for the real film it trains the same head three times on the features that come with the study (seed 0,
the default split; seconds). It writes ``book/figures/hero.png`` and ``data/results/hero/``: the places of all findings
and a manifest. Each row shows the median of its kind: of the films with exactly one finding, an unseen one, that whose
percentile, told signs, lies in the middle of theirs. The real one is of the forty whose pixels come with the study.
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
from cmdml.training import fit

TOLD = {"description": "told a description", "signs_text": "told its signs", "shuffled": "told another's signs"}
FEATURES = "data/features/nih-mini-efficientnet_lite0"


def typical(labels: np.ndarray, findings, scores: np.ndarray, shown: np.ndarray) -> int:
    """Of the films with exactly one finding, an unseen one: where its percentile, told signs, is the median of theirs.

    Parameters
    ----------
    labels, scores : (N, C) of the ill test films, scores told signs.
    shown : (N,) bool, which of them may be chosen.
    """
    able = np.flatnonzero(shown & (labels.sum(1) == 1) & labels[:, findings.unseen_index].any(1))
    if not len(able):
        raise ValueError("no test film carries exactly one finding, an unseen one: draw more films")
    reached = [hero.percentiles(scores, row)[labels[row].argmax()] for row in able]
    return int(able[np.argsort(reached, kind="stable")[(len(able) - 1) // 2]])


def drawn(folder: Path, findings):
    """Pixels, labels, percentiles among the ill test films by what was told, and name of one phantom."""
    trained = {"signs_text": "training"} | {told: f"variants/{told}/training" for told in ("description", "shuffled")}
    test = TestSet(folder / "radiographs")
    ill = np.flatnonzero(test.labels.any(1))
    scores = {told: embedded(folder / where, test.rows[ill])["scores"] for told, where in trained.items()}
    at = typical(test.labels[ill], findings, scores["signs_text"], np.ones(len(ill), bool))
    row = test.rows[ill[at]]
    told = {told: hero.percentiles(scores[told], at) for told in TOLD}
    return test.radiographs.pixels[row], test.labels[ill[at]], told, test.radiographs.table.image[row]


def real(findings):
    """The same of a real film, from frozen features: one of those whose pixels come with the study."""
    films = FeatureSet.load(run.resolve(FEATURES))
    given = run.load_profile("nih-mini")["parameters"]
    scores = {}
    for told in TOLD:
        values = {f.name: given[f.name] for f in fields(TrainConfig) if f.name in given}
        vectors = semantic_vectors(findings_of(films.findings), told, seed=0)
        config = TrainConfig.from_dict(values | {"seed": 0})
        done = fit(partition(films, findings), vectors, config, None, progress=False)
        index = done.embeddings["index"]
        ill = (films.table.split.to_numpy()[index] == "test") & films.labels[index].any(1)
        scores[told], rows = done.embeddings["scores"][ill], index[ill]
    held = pd.read_csv(run.resolve("data/films/films.csv"), dtype={"image": str}).image
    at = typical(films.labels[rows], findings, scores["signs_text"], films.table.image[rows].isin(held).to_numpy())
    name = films.table.image[rows[at]]
    pixels = np.asarray(Image.open(run.resolve("data/films") / name).convert("L"))
    return pixels, films.labels[rows[at]], {told: hero.percentiles(scores[told], at) for told in TOLD}, name


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
                {"film": name, "kind": kind, "told": told, "finding": key, "place": int(place)}
                | {"percentile": float(score), "labelled": key in present, "unseen": key in findings.unseen}
                for key, place, score in zip(findings.keys, places, scores[told])
            ]
        asked[kind] = {"film": str(name), "finding": present[0]}
    for ax in axes[-1, 1:]:
        ax.set_xlabel("percentile", fontsize=8)
    out = run.resolve("book/figures")
    fig.savefig(out / "hero.png", dpi=200)
    about = {"title": "Front page: one film, three sets of words", "asked": asked, "trained_in": folder}
    own = {"profile": "phantom", "parameters": {"folder": folder}, "seed": 0}
    run.publish("data/results/hero", {"places": pd.DataFrame(lines)}, **own, **about)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"no figure was drawn. {error}")
