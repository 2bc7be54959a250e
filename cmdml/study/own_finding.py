"""The chapter on a finding of one's own: what its words lean on, and films drawn to see whether they find it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cmdml.config import TrainConfig
from cmdml.evaluation.bootstrap import percentile_interval, weighted_auroc_ap
from cmdml.evaluation.controls import illness_alone
from cmdml.evaluation.metrics import bootstrap_weights
from cmdml.evaluation.testset import embedded
from cmdml.features import place
from cmdml.files import read_json
from cmdml.findings import Finding, SeenUnseen, load_attributes
from cmdml.heads import Head, words_reference
from cmdml.prediction import own_words
from cmdml.radiographs import RadiographSet
from cmdml.run_folder import load_run
from cmdml.sources.abscess import AbscessPairs, abscess_pairs
from cmdml.words import OwnWords

BATCH = 256
ILLNESS, CEILING = "illness alone", "shown the labels"
PROTOCOLS = ("single", "abnormal", "all", "same film")  # the last compares each film with itself
# Scorers of a finding that no training film was labelled with, in the committed table of real films.
NEVER = {"focused": "CM-DML, told its signs", "eszsl": "closed form, told its signs", "mean_of_seen": ILLNESS,
         "view": "view *", "age": "age *", "sex": "sex *", "source": "source *"}  # fmt: skip


def head_of(training: Path, radiographs: RadiographSet) -> Head:
    """A finished training as :func:`cmdml.words.own_signs` and the functions below read it; nothing is written.

    Raises
    ------
    ValueError : it was trained on other radiographs.
    """
    trained, held = load_run(training), read_json(training / "config.json", "train again")
    if held["data_sha256"] != radiographs.card["sha256"]:
        raise ValueError(f"{training} was trained on other radiographs than {radiographs.folder}'s: repeat chapter 3")
    told = read_json(training / "manifest.json", "train again")["parameters"]
    config, backbone = TrainConfig.from_dict(held["config"]), None
    if config.tune == "frozen":
        at = place(radiographs.folder.with_name("features"), config.backbone, config.weights)
        backbone = read_json(at / "card.json", "repeat chapter 3")
    card = {"semantics": told["semantics"], "semantic_model": told["semantic_model"], "size": radiographs.size,
            "attributes": load_attributes(), "features": backbone}  # fmt: skip
    normal = np.flatnonzero((radiographs.table["split"] == "val").to_numpy() & ~radiographs.labels.any(1))
    reference = {"normal_visual": torch.from_numpy(embedded(training, normal)["visual"]),
                 **words_reference(told["semantics"], told["semantic_model"])}  # fmt: skip
    findings = SeenUnseen(tuple(held["findings"]), tuple(held["unseen"]))
    return Head(training, card, config, findings, trained.model, reference)


def words_of(head: Head, finding: Finding) -> OwnWords:
    """A finding as a run reads it: its signs, or the text that the run was told of the others.

    A run that was told no words (``one_hot``, ``shuffled``) gets the mean vector of its seen findings: to it, any new
    finding is any finding.
    """
    told = head.card["semantics"]
    if told in ("signs_text", "signs"):
        return own_words(head, [f"{finding.name}: {', '.join(finding.signs)}"])[0]
    if told in ("description", "name"):
        return own_words(head, texts=[getattr(finding, told)])[0]
    mean = F.normalize(head.model.semantic_vectors[head.findings.seen_index].mean(0), dim=0)
    return OwnWords(finding.name, (), "", mean, (), ())


@torch.inference_mode()
def leaning(head: Head, own: OwnWords) -> pd.DataFrame:
    """Cosines of own words with each seen finding: ``joint`` in the joint space, ``words`` before it; nearest first."""
    network, vectors = head.network, head.model.semantic_vectors[head.findings.seen_index]
    mine, theirs = (F.normalize(network.semantic(v), dim=1) for v in (own.vector[None], vectors))
    joint, words = (theirs @ mine.T)[:, 0].numpy(), F.cosine_similarity(vectors, own.vector[None]).numpy()
    table = pd.DataFrame({"finding": head.findings.seen, "joint": joint, "words": words})
    return table.sort_values("joint", ascending=False, kind="stable", ignore_index=True)


@torch.inference_mode()
def places_of(head: Head, films: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Films (N, size, size) uint8 -> features (N, F), and places in the joint space (N, D)."""
    network, found = head.network, []
    for start in range(0, len(films), BATCH):
        features = network.features(torch.from_numpy(films[start : start + BATCH]).unsqueeze(1))
        found.append((features.numpy(), network.visual(features).numpy()))
    return tuple(np.concatenate(parts) for parts in zip(*found))


@torch.inference_mode()
def word_scores(head: Head, visual, own: OwnWords) -> np.ndarray:
    """Places of films (N, D) -> scores (N, C + 2): of the run's C findings, of own words, of illness alone.

    Illness alone is the mean score of the seen findings, each in standard deviations of the normal validation films.
    """
    network = head.network
    semantic = network.semantic(torch.stack([*head.model.semantic_vectors, own.vector]))
    scores, normal = (network.score(torch.as_tensor(v), semantic).double().numpy()
                      for v in (visual, head.reference["normal_visual"]))  # fmt: skip
    return np.column_stack([scores, illness_alone(scores, normal, head.findings)[:, 0]])


def found_by(score, labels, patients, findings: SeenUnseen, *, replicates=1000, seed=0) -> pd.DataFrame:
    """AUROC of one score for each finding among films with at least one, highest first, with patient intervals.

    Returns
    -------
    DataFrame : finding, value, low, high, positives; findings that no film, or every film, shows are left out.
    """
    ill = labels.any(1)
    labels, score = labels[ill], np.repeat(np.asarray(score, float)[ill, None], labels.shape[1], axis=1)
    weights, unit = bootstrap_weights(np.asarray(patients)[ill], replicates, seed)
    auroc, _ = weighted_auroc_ap(labels, score, weights, unit)
    low, high, _ = percentile_interval(auroc[1:])
    table = pd.DataFrame({"finding": findings.keys, "value": auroc[0], "low": low, "high": high,
                          "positives": labels.sum(0)})  # fmt: skip
    return table.dropna(subset="value").sort_values("value", ascending=False, kind="stable", ignore_index=True)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Drawn pairs and what a run scores them.

    Parameters
    ----------
    pairs : AbscessPairs of N patients.
    names : of the columns of scores: the C findings, the own words, illness alone, the ceiling.
    without, within : (N, C + 3) scores of the films without and with an abscess.
    """

    pairs: AbscessPairs
    names: tuple[str, ...]
    without: np.ndarray
    within: np.ndarray


def draw_and_score(head: Head, own: OwnWords, pairs: int, *, seed: int = 0) -> Drawn:
    """Draw twice as many pairs: the first half shows a ceiling the labels, the second half is scored.

    The ceiling is a logistic regression on the features of the run's own network: what could be read from them by
    somebody who is shown which films have an abscess.
    """
    films = abscess_pairs(2 * pairs, size=head.size, seed=seed)
    (flat, place), (flat_with, place_with) = (places_of(head, part) for part in (films.without, films.within))
    shown = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    shown.fit(np.concatenate([flat[:pairs], flat_with[:pairs]]), np.repeat([0, 1], pairs))
    without, within = (np.column_stack([word_scores(head, where[pairs:], own), shown.decision_function(x[pairs:])])
                       for where, x in ((place, flat), (place_with, flat_with)))  # fmt: skip
    kept = AbscessPairs(films.without[pairs:], films.within[pairs:], films.place[pairs:],
                        films.table.iloc[pairs:].reset_index(drop=True))  # fmt: skip
    return Drawn(kept, (*head.findings.keys, own.name, ILLNESS, CEILING), without, within)


def measured(drawn: Drawn, *, replicates: int = 1000, seed: int = 0) -> pd.DataFrame:
    """How well every column of scores tells films with an abscess from films without, by protocol.

    ``single``: positives show nothing but the abscess, negatives exactly one other finding. ``abnormal``: negatives
    show at least one finding. ``all``: all films. ``same film``: the share of pairs whose film with the abscess scores
    higher; ties count half.

    Returns
    -------
    DataFrame : protocol, scorer, value, low, high, positives, negatives, and ``gain``, ``gain_low``, ``gain_high``:
        AUROC of the own words minus that of the scorer, by the same draws of patients.
    """
    others = drawn.pairs.table[[name for name in drawn.names if name in drawn.pairs.table]].to_numpy().sum(1)
    weights, unit = bootstrap_weights(drawn.pairs.table["patient"].to_numpy(), replicates, seed)
    own, every, rows = drawn.names.index(ILLNESS) - 1, np.ones(len(others), bool), []
    for protocol in PROTOCOLS:
        negative = {"single": others == 1, "abnormal": others > 0}.get(protocol, every)
        positive = others == 0 if protocol == "single" else every
        if protocol == "same film":
            higher = (drawn.within > drawn.without) + 0.5 * (drawn.within == drawn.without)
            auroc = weights @ higher[np.argsort(unit)] / weights.sum(1, keepdims=True)
        else:
            scores = np.concatenate([drawn.within[positive], drawn.without[negative]])
            truth = np.repeat([1, 0], [positive.sum(), negative.sum()])[:, None].repeat(scores.shape[1], 1)
            auroc = weighted_auroc_ap(truth, scores, weights, np.concatenate([unit[positive], unit[negative]]))[0]
        gain = auroc[:, [own]] - auroc
        (low, high, _), (gain_low, gain_high, _) = percentile_interval(auroc[1:]), percentile_interval(gain[1:])
        rows.append(pd.DataFrame({
            "protocol": protocol, "scorer": drawn.names, "value": auroc[0], "low": low, "high": high,
            "positives": int(positive.sum()), "negatives": int(negative.sum()),
            "gain": gain[0], "gain_low": gain_low, "gain_high": gain_high}))  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def never(table: pd.DataFrame, finding: str) -> pd.DataFrame:
    """The rows of a finding of ``never.csv`` among all pairs, as ``finding`` they are called in :data:`NEVER`."""
    part = table[(table.finding == finding) & (table.stratum == "none") & table.method.isin(NEVER)]
    return part.assign(finding=part.method.map(NEVER)).sort_values("method", key=lambda m: m.map(list(NEVER).index))
