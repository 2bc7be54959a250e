"""The three questions of chapter 6, answered in sentences from the tables of a rotation."""

from __future__ import annotations

import pandas as pd

from cmdml.study.report import cell, pick, verdict

MADE_OF = {
    "random": "chance", "label_count": "number of other labels *", "sex": "sex *", "age": "age *", "view": "view *",
    "source": "source *", "mean_of_seen": "illness alone", "focused_shuffled": "told another's signs",
    "focused_description": "told descriptions", "focused": "told signs", "ceiling": "ceiling (labels)",
}  # fmt: skip
WORDS = {
    "mean_of_seen": "illness alone (no words)", "focused_shuffled": "another finding's signs", "focused_name": "names",
    "focused_description": "descriptions", "focused_signs": "bare signs",
}  # fmt: skip
LOSSES = {
    "euclidean": "plain Euclidean", "bce": "cross-entropy", "ranking": "CXR-ML-GZSL ranking", "ale": "ALE",
    "eszsl": "closed form (ESZSL)", "nearest": "nearest seen finding",
}  # fmt: skip


def gap(tables: dict, method: str, reference: str, stratum: str = "none", protocol: str = "abnormal"):
    """``difference``, ``low``, ``high`` of U, method minus reference, turned round where need be; None if not there."""
    where = {"protocol": protocol, "stratum": stratum, "metric": "U"}
    for a, b, sign in ((method, reference, 1), (reference, method, -1)):
        found = pick(tables["paired"], method=a, reference=b, **where)
        if len(found):
            low, high = sorted(sign * found.iloc[0][["low", "high"]].astype(float))
            return pd.Series({"difference": sign * float(found.iloc[0]["difference"]), "low": low, "high": high})
    return None


def made_of(tables: dict) -> str:
    """What a score is made of: the properties of a film beside illness, words and ceiling."""
    values = pick(tables["methods"], protocol="abnormal", stratum="none", metric="U").set_index("method")
    known = [method for method in ("view", "source", "age", "sex") if method in values.index]
    lines = [f"{MADE_OF[method].removesuffix(' *')} {cell(values.loc[method])}" for method in known]
    best = max(known, key=lambda method: values.value[method])
    words = gap(tables, "focused", best)
    text = f"* Without a pixel, but told the labels of all training films: {', '.join(lines)}."
    if words is not None:
        name = MADE_OF[best].removesuffix(" *")
        text += f" Told signs minus {name}: {cell(words, sign='+')}; the interval {verdict(words)}."
    more = {"mean_of_seen": "illness alone", "ceiling": "the ceiling"}
    return f"{text}\n{against(tables, 'focused', more, 'Told signs')}"


def against(tables: dict, method: str, others: dict, called: str) -> str:
    """A line for each of some others: the method minus it, among all pairs and within source × view."""
    lines = []
    for other, name in others.items():
        found = {stratum: gap(tables, method, other, stratum) for stratum in ("none", "source_view")}
        if found["none"] is None:
            continue
        line = f"* {called} minus {name}: {cell(found['none'], sign='+')}; the interval {verdict(found['none'])}."
        if found["source_view"] is not None and pd.notna(found["source_view"]["difference"]):
            line += f" Within source × view {cell(found['source_view'], sign='+')}."
        lines.append(line)
    return "\n".join(lines)
