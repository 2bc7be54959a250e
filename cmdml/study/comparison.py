"""The tables of the chapter on evaluation: one run beside its rivals, its controls and other results."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cmdml.evaluation.controls import illness_alone, swapped_text
from cmdml.evaluation.metrics import PROTOCOLS, evaluate, paired_difference
from cmdml.evaluation.testset import embedded
from cmdml.evaluation.texts import Pointing, correlation, illness_of_texts, lift_of_texts, pointing
from cmdml.findings import SeenUnseen
from cmdml.study.places import resolve
from cmdml.study.results import manifest_of
from cmdml.study.wording import difference, interval

FILES = ("summary.csv", "per_finding.csv", "manifest.json")
MEANS = {"S": "S, seen", "U": "U, unseen", "H": "H, harmonic mean"}


def cell(row) -> str:
    """A row of a summary (value, low, high) as ``0.57 (0.53–0.61)``."""
    return interval(row.value, row.low, row.high)


def headline(evaluations: dict) -> pd.DataFrame:
    """S, U and H of several scorers on the same radiographs, a block for each protocol.

    ``evaluations``: {scorer: Evaluation}.
    """
    rows = {}
    for protocol in PROTOCOLS:
        for name, evaluation in evaluations.items():
            summary = evaluation.summary.set_index(["protocol", "metric"])
            rows[protocol, name] = {text: cell(summary.loc[(protocol, f"auroc_{mean}")])
                                    for mean, text in MEANS.items()}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["protocol", "scorer"])


def first_places(evaluations: dict, ks=(2, 3), protocol: str = "abnormal") -> pd.DataFrame:
    """Precision, recall and F1 of the first k findings that each scorer names, one row a scorer."""
    rows = {}
    for name, evaluation in evaluations.items():
        summary = evaluation.summary.set_index(["protocol", "metric"])
        rows[name] = {f"{label} at {k}": cell(summary.loc[(protocol, f"{label.lower()}@{k}")])
                      for k in ks for label in ("precision", "recall", "F1")}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("scorer")


def always_the_most_frequent(labels, train_labels, findings: SeenUnseen, patients, **options):
    """The evaluation of a reader who names the most frequent seen findings for every film, without looking.

    ``train_labels`` (n, C): what training was allowed to see. Unseen findings are never named.
    """
    train_labels = train_labels[~train_labels[:, findings.unseen_index].any(1)]
    frequency = train_labels.mean(0) - findings.unseen_mask  # -1 for the unseen ones, which no film is left of
    return evaluate(labels, np.tile(frequency, (len(labels), 1)), patients, findings, **options)


@dataclass(frozen=True)
class Told:
    """How one training uses its texts: see :func:`told`."""

    name: str
    matrix: np.ndarray
    contrast: tuple[float, float, float]
    illness: np.ndarray
    lift: np.ndarray
    pointing: Pointing
    ill: float  # mean correlation of the unseen findings' scores with illness alone, among images with a finding


def told(name: str, training, testset, findings: SeenUnseen, **options) -> Told:
    """Swapped texts of one training with at least two unseen findings, and what explains them.

    Parameters
    ----------
    training : folder of a run.
    testset : :class:`~cmdml.evaluation.testset.TestSet`
    options : ``replicates`` and ``seed`` of the bootstrap.
    """
    space = embedded(training, testset.rows)
    labels, scores = testset.labels, space["scores"]
    matrix, contrast = swapped_text(labels, scores, testset.patients, findings, **options)
    alone, abnormal = illness(training, testset, findings)[:, 0], labels.any(1)
    ill = [correlation(alone[abnormal], scores[abnormal, column]) for column in findings.unseen_index]
    return Told(name, matrix, contrast, illness_of_texts(labels, scores), lift_of_texts(labels, scores, findings),
                pointing(labels, scores, space["semantic"], findings), float(np.nanmean(ill)))  # fmt: skip


def illness(training, testset, findings: SeenUnseen) -> np.ndarray:
    """Illness alone of the test images (N, C): the seen scores of a training, z-scored on its validation images."""
    val = np.flatnonzero(testset.radiographs.table["split"] == "val")
    reference = embedded(training, val)["scores"]
    return illness_alone(embedded(training, testset.rows)["scores"], reference, findings)


def contrasts(all_told: list[Told]) -> pd.DataFrame:
    """Own text minus swapped texts of every training, and what goes with it, one row a training."""
    rows = {}
    for one in all_told:
        own = np.eye(len(one.matrix), dtype=bool)
        rows[one.name] = {
            "own text": f"{np.nanmean(one.matrix[own]):.2f}",
            "swapped texts": f"{np.nanmean(one.matrix[~own]):.2f}",
            "own minus swapped": difference(*one.contrast),
            "r of the scores with illness alone": correlated(one.ill),
            "r of a text's illness with its lift": correlated(correlation(one.illness, one.lift)),
            "r of look-alikes with the pairs": correlated(one.pointing.r),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("told")


def correlated(r: float) -> str:
    """A correlation as ``+0.91``; a dash where there is none."""
    return difference(r, np.nan, np.nan)


def agrees(one: Told) -> np.ndarray:
    """(U,) whether an unseen finding's text points at the seen finding that its films look like most."""
    return one.pointing.text.argmax(1) == np.nan_to_num(one.pointing.films).argmax(1)


def leaning(one: Told, findings: SeenUnseen, words: Callable[[str], str]) -> pd.DataFrame:
    """Of each unseen finding: the seen finding that its text points at, and the one that its films look like."""
    rows = {}
    for i, key in enumerate(findings.unseen):
        said, looks = one.pointing.text[i].argmax(), np.nan_to_num(one.pointing.films[i]).argmax()
        rows[words(key)] = {
            "its text points at": words(findings.seen[said]),
            "its films look like": words(findings.seen[looks]),
            "AUROC with its own text": f"{one.matrix[i, i]:.2f}",
            "with the best wrong text": f"{np.nanmax(np.delete(one.matrix[i], i)):.2f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(f"unseen finding ({one.name})")


def gathered(compare) -> tuple[list[dict], dict[str, Path], list[str]]:
    """Other results to set beside a run.

    Parameters
    ----------
    compare : folders of runs, of trials, or of results themselves.

    Returns
    -------
    lines : rows of :func:`results_lines`.
    rivals : {name: folder of the training} of those that have one, to be compared radiograph by radiograph.
    missing : those of ``compare`` without results.
    """
    lines, rivals, missing = [], {}, []
    for given in compare:
        path = resolve(given)
        path = path / "evaluation" if (path / "evaluation").is_dir() else path
        if not all((path / file).is_file() for file in FILES):
            missing.append(str(given))
            continue
        about = manifest_of(path, ["summary.csv", "per_finding.csv"])
        for place in (path.parent / "training", path.parent):  # of a run, of a trial
            if (place / "embeddings.npz").is_file():
                rivals[path.parent.name] = place
                break
        name = path.parent.name if path.name == "evaluation" else about.get("semantics", path.name)
        summary = pd.read_csv(path / "summary.csv")
        lines += result_lines(f"{about['profile']}: {name}", pd.read_csv(path / "per_finding.csv"), summary,
                              about["images_total"])  # fmt: skip
    return lines, rivals, missing


def result_lines(label: str, per_finding: pd.DataFrame, summary: pd.DataFrame, total: int) -> list[dict]:
    """S, U and H of one set of results, a row for each protocol; ``total`` radiographs are in the set."""
    images, summary = per_finding.groupby("protocol").images.max(), summary.set_index(["protocol", "metric"])
    return [
        {"results": label, "protocol": protocol, "radiographs": f"{total:,}", "tested": f"{images[protocol]:,}"}
        | {mean: cell(summary.loc[(protocol, f"auroc_{mean}")]) for mean in "SUH"}
        for protocol in PROTOCOLS
    ]


def same_radiographs(rivals: dict[str, Path], data_sha256: str) -> dict[str, Path]:
    """Those trainings whose radiographs are these very ones."""
    def of(folder):
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))["data_sha256"]

    return {name: folder for name, folder in rivals.items() if of(folder) == data_sha256}


def paired(scores, others: dict[str, np.ndarray], labels, patients, findings, **options) -> pd.DataFrame:
    """This run minus each of the others, on the same resampled patients: a row a rival and protocol.

    ``scores`` (N, C) of this run, ``others`` {name: (N, C)}.
    """
    rows = []
    for name, theirs in others.items():
        table = paired_difference(labels, scores, theirs, patients, findings, **options)
        table = table.set_index(["protocol", "metric"])
        for protocol in PROTOCOLS:
            row = {"this run minus": name, "protocol": protocol}
            for mean, text in MEANS.items():
                value = table.loc[(protocol, f"auroc_{mean}")]
                row[text] = difference(value.difference, value.low, value.high)
            rows.append(row)
    return pd.DataFrame(rows)
