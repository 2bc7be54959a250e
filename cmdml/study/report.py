"""What a rotation's tables say, in words and small tables, for the chapter, the front page and the README alike."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cmdml.study.results import manifest_of
from cmdml.study.run import resolve
from cmdml.study.wording import difference, interval, signed

TABLES = ("methods", "findings", "paired", "permutation", "coverage", "tuning")
NAMES = {
    "focused": "CM-DML, told signs", "focused_signs": "CM-DML, bare signs", "focused_name": "CM-DML, told names",
    "focused_description": "CM-DML, told descriptions", "focused_shuffled": "CM-DML, told another finding's signs",
    "eszsl": "ESZSL (closed form), told signs", "eszsl_signs": "ESZSL, bare signs",
    "eszsl_description": "ESZSL, told descriptions", "dap": "direct attribute prediction", "cosine": "ridge and cosine",
    "nearest": "nearest seen finding, by signs", "nearest_description": "nearest seen finding, by description",
    "ranking": "CXR-ML-GZSL ranking loss", "ale": "ALE", "bce": "cross-entropy", "euclidean": "plain Euclidean",
    "mean_of_seen": "illness alone", "normality": "normal against abnormal", "view": "view *", "age": "age *",
    "sex": "sex *", "source": "source *", "label_count": "number of other labels *", "random": "chance",
    "random_weights": "ESZSL on random features", "ceiling": "ceiling (shown the labels)",
    "ceiling_same_size": "ceiling on as few films",
}  # fmt: skip
# Shown labels of the findings that they are asked for: no zero-shot scorers.
TOLD_LABELS = ("view", "age", "sex", "source", "label_count", "ceiling", "ceiling_same_size")
SHORT = ("mean_of_seen", "focused_shuffled", "focused_description", "focused", "eszsl", "ceiling")


def load(folder) -> dict:
    """{table: DataFrame} of a rotation and its ``manifest``; every table is compared with the manifest's hash."""
    folder = resolve(folder)
    if not (folder / "manifest.json").is_file():
        raise FileNotFoundError(f"{folder} holds no rotation: make rotation PROFILE=nih-mini")
    about = manifest_of(folder, [f"{name}.csv" for name in TABLES])
    return {"manifest": about} | {name: pd.read_csv(Path(folder) / f"{name}.csv") for name in TABLES}


def cell(row, digits: int = 3, sign: str = "") -> str:
    """``0.561 (0.540–0.583)``, ``+0.011 (−0.009 to +0.025)``; ``–`` where there is no value."""
    value = row["difference"] if "difference" in row else row["value"]
    return (difference if sign else interval)(value, row["low"], row["high"], digits)


def pick(table: pd.DataFrame, **where) -> pd.DataFrame:
    """The rows of a table in which every named column has that value."""
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def headline(tables: dict, methods=SHORT) -> pd.DataFrame:
    """One row a method: U under ``abnormal`` and within source × view, S, what is gained over illness, the share."""
    rows = {}
    for method in methods:
        values = pick(tables["methods"], method=method, protocol="abnormal")
        gains = pick(tables["paired"], method=method, reference="mean_of_seen", protocol="abnormal", metric="U")
        row = {}
        for stratum, name in (("none", "U"), ("source_view", "U within source × view")):
            here = pick(values, stratum=stratum, metric="U")
            row[name] = cell(here.iloc[0]) if len(here) else "–"
            gain = pick(gains, stratum=stratum)
            row[f"{name}, gain over illness"] = cell(gain.iloc[0], sign="+") if len(gain) else "–"
        for metric, name in (("S", "S"), ("share", "share of the ceiling")):
            here = pick(values, stratum="none", metric=metric)
            row[name] = cell(here.iloc[0], 2 if metric == "share" else 3) if len(here) else "–"
        rows[NAMES.get(method, method)] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("scorer")


def verdict(row) -> str:
    """What an interval of a difference says."""
    if pd.isna(row["low"]):
        return "has no interval"
    return "is above 0" if row["low"] > 0 else "is below 0" if row["high"] < 0 else "includes 0, so this may be nothing"


def planned(tables: dict, tested: bool = True) -> list[str]:
    """One sentence for each planned comparison; one that the plan describes and does not test has no p."""
    lines = []
    for kind in ("primary", "secondary"):
        for _, row in pick(tables["paired"], planned=kind).iterrows():
            where = {"none": "overall", "view": "within view", "source": "within source",
                     "source_view": "within source × view"}[row["stratum"]]  # fmt: skip
            over = "Over" if pd.isna(row["sd_designs"]) else f"Over designs ± {row['sd_designs']:.3f}; over"
            p = f"p after Holm {row['p_holm']:.3f}" if kind == "secondary" else f"p {row['p']:.3f}"
            lines.append(
                f"**{kind}**, {NAMES[row['method']]} minus {NAMES[row['reference']]}, {where}: "
                f"{cell(row, sign='+')}{', ' + p if tested else ''}; the interval {verdict(row)}. "
                f"{over} findings "
                f"{signed(row['findings_low'])} to {signed(row['findings_high'])}, {row['findings_gaining']:.0f} of "
                f"{row['findings_findings']:.0f} gain."
            )
    return lines


def answer(tables: dict) -> list[str]:
    """The study's answer in five lines, whatever the tables say."""
    values = pick(tables["methods"], protocol="abnormal", metric="U").set_index(["method", "stratum"])
    gains = pick(tables["paired"], method="focused", reference="mean_of_seen", protocol="abnormal").set_index("stratum")
    other = pick(tables["paired"], method="focused_shuffled", reference="focused", protocol="abnormal", stratum="none")
    other = other.iloc[0]
    own_minus_other = {"difference": -other["difference"], "low": -other["high"], "high": -other["low"]}
    each = pick(tables["findings"], protocol="abnormal", stratum="none").pivot(index="finding", columns="method")
    each = (each["value"]["focused"] - each["value"]["mean_of_seen"]).sort_values()
    most, least = each.index[-1].replace("_", " ").lower(), each.index[0].replace("_", " ").lower()
    share = pick(tables["methods"], method="focused", protocol="abnormal", stratum="none", metric="share").iloc[0]
    return [
        f"Told a finding's signs and never its labels, the model ranks films by it with a mean AUROC of "
        f"{cell(values.loc['focused', 'none'])}. 0.5 is guessing; shown the labels, the same features reach "
        f"{cell(values.loc['ceiling', 'none'])}.",
        f"*Illness alone*, a score that cannot know which finding is asked, reaches "
        f"{cell(values.loc['mean_of_seen', 'none'])}. The signs add {cell(gains.loc['none'], sign='+')}; the interval "
        f"{verdict(gains.loc['none'])}. The share of the way from illness to the ceiling: {cell(share, 2)}.",
        f"Among films of one source and one view the signs add {cell(gains.loc['source_view'], sign='+')}; the "
        f"interval {verdict(gains.loc['source_view'])}.",
        f"Told its own signs rather than another finding's, the model gains {cell(own_minus_other, sign='+')}; the "
        f"interval {verdict(own_minus_other)}.",
        f"The mean hides the findings: {(each > 0).sum()} of {len(each)} gain over illness alone, most {most} "
        f"({signed(each.iloc[-1])}), least {least} ({signed(each.iloc[0])}).",
    ]


def protocols(tables: dict, method: str = "focused", reference: str = "mean_of_seen") -> pd.DataFrame:
    """A method minus a reference under every protocol (rows) and stratum (columns)."""
    table = pick(tables["paired"], method=method, reference=reference, metric="U")
    shown = {(r["protocol"], r["stratum"]): cell(r, sign="+") for _, r in table.iterrows()}
    return pd.Series(shown).unstack().reindex(["abnormal", "single", "all"]).reindex(
        columns=[one for one in ("none", "view", "source", "source_view") if one in set(table["stratum"])])


def all_methods(tables: dict, protocol: str = "abnormal") -> pd.DataFrame:
    """U of every method in every stratum, best first, with S where there is one."""
    table = pick(tables["methods"], protocol=protocol)
    unseen, out = pick(table, metric="U"), {}
    order = pick(unseen, stratum="none").sort_values("value", ascending=False).method
    for method in order:
        row = {r["stratum"]: cell(r) for _, r in pick(unseen, method=method).iterrows()}
        seen = pick(table, method=method, metric="S")
        out[NAMES.get(method, method)] = row | {"S": cell(seen.iloc[0]) if len(seen) else "–"}
    return pd.DataFrame.from_dict(out, orient="index").rename_axis("scorer")
