"""The full evaluation for a method of your own: a file of scores for the study's real films, whatever made it.

``python -m cmdml.study.compare films --unseen default`` lists the films with their part and the labels that training
may see; ``… compare scores MY.csv --unseen default`` prints S, U and H with intervals, U within view and source, all
beside illness alone, the closed form told signs and the ceiling, on the same films and the same draws of patients.
``--design 101 --quadruple 3`` asks for one turn of the rotation instead, ``--fold 2`` for one fold of it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from cmdml.evaluation.anatomy import estimate
from cmdml.evaluation.metrics import bootstrap_weights, harmonic_mean
from cmdml.evaluation.strata import PROTOCOLS3, STRATA, protocol_rows, stratified_auroc, stratum_numbers
from cmdml.feature_set import FeatureSet
from cmdml.files import write_text
from cmdml.findings import SeenUnseen, split_findings
from cmdml.names import check, nearest
from cmdml.study import report, run
from cmdml.study.anatomy import COLUMNS
from cmdml.study.rotation import Cell, Rotation
from cmdml.study.scorers import Scorer

PROFILE = "nih-mini"
PARTS = ("test", "val", "train")  # as folds of the published split
REFERENCES = {"mean_of_seen": "illness alone", "eszsl": "ESZSL, told signs", "ceiling": "ceiling, shown the labels"}
OWN = "your scores"


@dataclass(frozen=True)
class Question:
    """Which films are scored, by models that were trained on which others, with which findings unseen."""

    rotation: Rotation
    quadruple: int
    folds: tuple[int, ...]  # those that are tested

    @property
    def films(self) -> FeatureSet:
        return self.rotation.films

    @property
    def findings(self) -> SeenUnseen:
        return self.cell(self.folds[0]).findings

    @property
    def rows(self) -> np.ndarray:
        """(M,) films that must have a score, in the order of the table."""
        return np.flatnonzero(np.isin(self.rotation.fold, self.folds))

    def __str__(self) -> str:
        where = f"design {self.rotation.design}, quadruple {self.quadruple}, folds {', '.join(map(str, self.folds))}"
        where = where if self.rotation.design else "published split"
        return f"{where}; unseen: {', '.join(self.findings.unseen)}; {len(self.rows):,} films"

    def cell(self, fold: int) -> Cell:
        return self.rotation.cell(self.quadruple, fold)

    def part(self, fold: int) -> pd.DataFrame:
        """The films of one fold's cell: image, patient, part, and what training may read: seen labels, not of tests."""
        cell, films = self.cell(fold), self.films
        part = np.full(len(films), "left out", dtype=object)  # training films that carry an unseen finding
        for name in PARTS:
            part[getattr(cell, name)] = name
        labels = films.table[list(cell.findings.seen)].astype("Int8")
        labels[~np.isin(part, ["train", "val"])] = pd.NA
        return films.table[["image", "patient"]].assign(fold=fold, part=part).join(labels)

    def reference(self, method: str) -> np.ndarray:
        """(M, C) scores of one of the study's own scorers, each film by the model of its fold."""
        scorer = Scorer(self.rotation, method, self.quadruple)
        setting, _ = scorer.choose()
        out = np.full((len(self.films), len(self.films.findings)), np.nan)
        for fold in self.folds:
            cell = self.cell(fold)
            out[cell.test] = scorer(cell, setting, cell.test)
        return out[self.rows]


def question(unseen: str = "default", design: int | None = None, quadruple: int = 0, fold: int | None = None):
    """The published split with some findings unseen, or one quadruple of a design, all folds or one.

    Raises
    ------
    ValueError
        A design that the profile does not plan, a quadruple or fold out of range, an unknown finding.
    """
    profile = run.load_profile(PROFILE)
    plan = profile["rotation"]
    if design is None:
        films = FeatureSet.load(run.resolve(plan["features"]))
        chosen = tuple(map(int, split_findings(films.findings, unseen).unseen_index))
        if not chosen or fold is not None or quadruple:
            raise ValueError("some finding must be unseen; --fold and --quadruple belong to a --design.")
        at = films.table["split"].map({part: i for i, part in enumerate(PARTS)}).to_numpy()
        return Question(Rotation(profile, 0, films, (chosen,), at), 0, (0,))
    check(design, plan["designs"], "design")
    rotation = Rotation.of(profile, design)
    for what, value, count in (("quadruple", quadruple, len(rotation.sets)), ("fold", fold, plan["folds"])):
        if value is not None and not 0 <= value < count:
            raise ValueError(f"--{what} must lie between 0 and {count - 1}, got {value}.")
    return Question(rotation, quadruple, tuple(range(plan["folds"])) if fold is None else (fold,))


def read_scores(path, asked: Question) -> np.ndarray:
    """(M, C) of the question's films, from a csv with ``image`` and one column per finding; higher = more likely.

    Films beyond the question and columns beyond the findings are left out.

    Raises
    ------
    ValueError
        In one sentence: no csv, a column or a film missing, an image that is unknown or given twice, no finite number.
    """
    keys = list(asked.films.findings)
    if not Path(path).is_file():
        raise ValueError(f"{path} is no file: give a csv of scores.")
    try:
        table = pd.read_csv(path, dtype={"image": str})
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path} cannot be read as csv ({' '.join(str(error).split())}).") from None
    for column in ("image", *keys):
        if column not in table:
            found = nearest(column, [name for name in table if name not in keys])
            raise ValueError(f"{path} needs the columns image and the 14 findings, and has no {column!r}: {found}")
    known, twice = asked.films.table["image"], table.loc[table["image"].duplicated(), "image"]
    if len(twice):
        raise ValueError(f"{path}: image {twice.iloc[0]} is given twice; every film needs one row.")
    strange = table.loc[~table["image"].isin(known), "image"]
    if len(strange):
        offer = nearest(strange.iloc[0], known)
        raise ValueError(f"{path}: {len(strange)} images are none of the films, first {strange.iloc[0]}: {offer}")
    wanted = known.iloc[asked.rows]
    missing = wanted[~wanted.isin(table["image"])]
    if len(missing):
        raise ValueError(f"{path}: {len(missing)} of {len(wanted)} films have no score, first {missing.iloc[0]}.")
    mine = table.set_index("image").loc[wanted, keys]
    scores = mine.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    if not np.isfinite(scores).all():
        row, column = np.argwhere(~np.isfinite(scores))[0]
        given = mine.iloc[row, column]
        raise ValueError(f"{path}: the score of {mine.index[row]}, {keys[column]}, is {given}, not a finite number.")
    return scores


def compare(scores: np.ndarray, asked: Question, replicates: int = 1000) -> pd.DataFrame:
    """S, U, H of the scores and of the study's own scorers, under every protocol and stratum, and the gain over each.

    AUROC counts pairs of films of one fold; intervals are 95 % over patients, the same draws for all scorers.

    Parameters
    ----------
    scores : (M, C), rows as ``asked.rows``.

    Returns a DataFrame: protocol, stratum, metric (S, U, H; "U minus <scorer>"), scorer, value, low, high, p, left_out.
    """
    films, rows, findings = asked.films, asked.rows, asked.findings
    names = [OWN, *REFERENCES.values()]
    stack = np.stack([scores, *map(asked.reference, REFERENCES)], axis=-1)  # (M, C, scorers)
    labels, table, out = films.labels[rows], films.table.iloc[rows], []
    for protocol in PROTOCOLS3:
        keep = protocol_rows(labels, protocol)
        weights, unit = bootstrap_weights(table["patient"].to_numpy()[keep], replicates, 0)
        for stratum in STRATA:
            origin = [table[column].to_numpy()[keep] for column in COLUMNS[stratum]]
            strata = stratum_numbers(asked.rotation.fold[rows][keep], *origin)
            each = [stratified_auroc(labels[keep, c], stack[keep, c], strata, weights, unit)[0].T
                    for c in range(labels.shape[1])]  # fmt: skip
            out += _rows(np.stack(each), names, findings, {"protocol": protocol, "stratum": stratum})
    return pd.DataFrame(out)


def _rows(each, names, findings: SeenUnseen, where: dict) -> list[dict]:
    """Means over findings of AUROCs (C, scorers, 1 + R), and differences of U; what is undefined is named."""
    defined = ~np.isnan(each[:, 0, 0])
    lost = [key for key, ok in zip(findings.keys, defined, strict=True) if not ok]
    means = {}
    for short, mask in (("S", findings.seen_mask), ("U", findings.unseen_mask)):
        kept = each[mask & defined]
        means[short] = kept.mean(axis=0) if len(kept) else np.full(each.shape[1:], np.nan)  # (scorers, 1 + R)
    means["H"] = harmonic_mean(means["S"], means["U"])
    found = [(metric, name, estimate(value[None]))
             for metric, values in means.items() for name, value in zip(names, values, strict=True)]  # fmt: skip
    found += [(f"U minus {name}", OWN, estimate((means["U"][0] - value)[None], test=True))
              for name, value in zip(names[1:], means["U"][1:], strict=True)]  # fmt: skip
    return [where | {"metric": metric, "scorer": name, "value": one.value, "low": one.low, "high": one.high, "p": one.p,
                     "left_out": " ".join(lost)} for metric, name, one in found]  # fmt: skip


def shown(table: pd.DataFrame) -> str:
    """The short answer as a table in plain text: a row per scorer, and what is gained over illness alone."""

    def cells(metric, scorer, view, sign=""):
        rows = report.pick(table, metric=metric, scorer=scorer, protocol=view[0], stratum=view[1])
        return report.cell(rows.iloc[0], sign=sign)

    views = {"abnormal": ("abnormal", "none"), "within source × view": ("abnormal", "source_view"),
             "single": ("single", "none"), "all": ("all", "none")}  # fmt: skip
    lines = {}
    for scorer in table.loc[table.metric == "U", "scorer"].unique():
        lines[scorer] = {m: cells(m, scorer, ("abnormal", "none")) for m in ("S", "H")}
        lines[scorer] |= {f"U, {name}": cells("U", scorer, view) for name, view in views.items()}
    for metric in table.metric[table.metric.str.startswith("U minus")].unique():
        lines[metric] = {f"U, {name}": cells(metric, OWN, view, sign="+") for name, view in views.items()}
    text = pd.DataFrame(lines).fillna("").rename_axis("95 % over patients").to_markdown()
    lost = sorted({key for keys in table.left_out for key in keys.split()})
    return text + (f"\n\nLeft out where no two films can be compared: {', '.join(lost)}" if lost else "")


Unseen = Annotated[str, typer.Option(help="findings unseen in the published split: default, or keys with commas")]
Design = Annotated[int | None, typer.Option(help="a design of the rotation, 101 to 105")]
Quadruple = Annotated[int, typer.Option(help="which unseen quadruple of the design, from 0")]
Fold = Annotated[int | None, typer.Option(help="which fold of the design; all of them if left out")]
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


@app.command("films")
def films_command(unseen: Unseen = "default", design: Design = None, quadruple: Quadruple = 0, fold: Fold = None):
    """Print a csv: image, patient, fold, part (train, val, test, left out), and the labels that training may read."""
    asked = question(unseen, design, quadruple, fold)
    pd.concat([asked.part(at) for at in asked.folds]).to_csv(sys.stdout, index=False)


@app.command("scores")
def scores_command(file: Path, unseen: Unseen = "default", design: Design = None, quadruple: Quadruple = 0,
                   fold: Fold = None, out: Annotated[Path | None, typer.Option(help="csv with every number")] = None,
                   replicates: Annotated[int, typer.Option(min=1, help="draws of patients")] = 1000):  # fmt: skip
    """Evaluate a csv of scores: image, and one column per finding."""
    asked = question(unseen, design, quadruple, fold)
    table = compare(read_scores(file, asked), asked, replicates)
    print(f"{asked}\n\n{shown(table)}")
    if out:
        write_text(out, table.to_csv(index=False, float_format="%.6g"))
        print(f"\nEvery protocol and stratum: {out}")


if __name__ == "__main__":
    try:
        app()
    except (ValueError, OSError) as error:
        sys.exit(f"Nothing was evaluated. {error}")
