"""What the variants of the study's head came to, in words: the ranking, the parameters of the loss, the one test."""

from __future__ import annotations

import json

import pandas as pd

from cmdml.study.report import NAMES, cell, pick, verdict
from cmdml.study.results import manifest_of
from cmdml.study.run import resolve
from cmdml.study.wording import listed, signed

TABLES = ("ranking", "cells", "effects", "test")
GREEK = {"gamma": "γ", "alpha": "α", "tau": "τ"}
FIRST = {"hidden": 0, "direction": 1}  # what a reader wants to know first
WAYS = {"joint": "joint space", "visual_to_semantic": "visual to semantic", "semantic_to_visual": "semantic to visual"}


def load(folder) -> dict | None:
    """{table: DataFrame} of the variants and their ``manifest``, hashes compared; None where none were tried."""
    folder = resolve(folder)
    if not (folder / "manifest.json").is_file():
        return None
    about = manifest_of(folder, [f"{name}.csv" for name in TABLES])
    return {"manifest": about} | {name: pd.read_csv(folder / f"{name}.csv") for name in TABLES}


def called(changes: dict) -> str:
    """A variant in words, from what it changes: ``τ 2``, ``linear, visual to semantic, sees ridge scores``."""
    if not changes:
        return "the study's own"
    words = []
    for name, value in sorted(changes.items(), key=lambda change: FIRST.get(change[0], len(FIRST))):
        if name == "hidden" and value == 0:
            words.append("linear")
        elif name == "direction":
            words.append(WAYS[value])
        elif name == "start":
            words.append(f"starts from {'ESZSL' if value == 'eszsl' else 'a ridge'}")
        elif name == "see":
            words.append("sees ridge scores" if value == "ridge" else "sees a cross-entropy head")
        else:
            words.append(f"{GREEK.get(name, name.replace('_', ' '))} {value:g}")
    return ", ".join(words)


def names(variants: dict) -> dict[str, str]:
    """{variant: what it is called}, in the order of the ranking."""
    ranking = variants["ranking"].sort_values("rank")
    return {row.variant: called(json.loads(row.changes)) for row in ranking.itertuples()}


def ranked(variants: dict) -> str:
    """Which variant came first, by how much, and where the study's own head stands."""
    ranking, words = variants["ranking"].sort_values("rank"), names(variants)
    first, own = ranking.iloc[0], ranking[ranking.variant == "base"].iloc[0]
    cells = int(first["cells"])
    return (
        f"* Of {len(ranking)} heads, the study's own is number {own['rank']} with {own.pseudo_unseen:.3f}. First is "
        f"*{words[first.variant]}* with {first.pseudo_unseen:.3f}: {signed(first.difference)} over the same {cells} "
        f"cells, better in {first.cells_better}. A difference varies by ± {first.sd:.3f} from cell to cell."
    )


def parameters(variants: dict) -> str:
    """What γ, α, τ and the direction do when one of them changes and nothing else."""
    lines = []
    for name, rows in variants["effects"].groupby("parameter", sort=False):
        others = rows[rows.variant != "base"]
        said = [f"{_plain(row.value)} gives {signed(row.difference)} (± {row.sd:.3f}, better in "
                f"{row.cells_better} of {row.cells})" for row in others.itertuples()]  # fmt: skip
        own = rows[rows.variant == "base"].iloc[0].value
        lines.append(f"* **{GREEK.get(name, name)}** instead of {_plain(own)}: {listed(said)}.")
    return "\n".join(lines)


def _plain(value) -> str:
    """``2`` for 2.0, a direction in words."""
    return WAYS[value] if value in WAYS else f"{float(value):g}"


def in_one_line(variants: dict) -> str:
    """For the README: how many variants, what came first, and what it made of the test films."""
    first, about = variants["manifest"]["first"], variants["manifest"]
    rows = pick(variants["test"], protocol="abnormal", metric="U", stratum="none")
    own, illness = pick(rows, method=first).iloc[0], pick(rows, method="mean_of_seen").iloc[0]
    less = {"difference": illness.variant_minus, "low": illness.minus_low, "high": illness.minus_high}
    return (
        f"Of {len(variants['ranking'])} variants of the model, ranked without test films or unseen labels, "
        f"*{names(variants)[first]}* came first; on the test films of design {about['seed']} its U is {cell(own)}, "
        f"{cell(less, sign='+')} over illness alone; the interval {verdict(less)}."
    )


def tested(variants: dict) -> str:
    """U of the first variant on test films, beside the closed form and illness alone, over all pairs and strata."""
    first = variants["manifest"]["first"]
    rows = pick(variants["test"], protocol="abnormal", metric="U")
    own = pick(rows, method=first, stratum="none").iloc[0]
    lines = [f"* *{names(variants)[first].capitalize()}* on the test films of design {variants['manifest']['seed']}, "
             f"scored once: U {cell(own)}."]  # fmt: skip
    for method in ("mean_of_seen", "eszsl", "nearest", "ceiling"):
        said = []
        for stratum, where in (("none", ""), ("source_view", "within source × view ")):
            row = pick(rows, method=method, stratum=stratum).iloc[0]
            less = {"difference": row.variant_minus, "low": row.minus_low, "high": row.minus_high}
            said.append(f"{where}{cell(less, sign='+')}; the interval {verdict(less)}")
        lines.append(f"* Less {NAMES[method]}: {said[0]}. {said[1].capitalize()}.")
    return "\n".join(lines)
