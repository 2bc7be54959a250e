"""What stands beside the rotation: another truth, other children, the peers' split; small tables for chapter 7."""

from __future__ import annotations

import pandas as pd

from cmdml.study.report import cell, pick, verdict
from cmdml.study.results import manifest_of
from cmdml.study.run import load_profile, resolve

SCORERS = {"focused": "CM-DML, told signs", "focused_description": "CM-DML, told descriptions",
           "focused_shuffled": "CM-DML, told another finding's signs", "eszsl": "closed form, told signs",
           "mean_of_seen": "illness alone", "ceiling": "ceiling (shown the labels)"}  # fmt: skip


def load(folder: str, *names: str) -> tuple[dict, ...]:
    """The manifest of a folder of results and its tables, compared with the manifest's hashes."""
    path = resolve(folder)
    about = manifest_of(path)
    return about, *(pd.read_csv(path / f"{name}.csv") for name in names)


def default_split(values: pd.DataFrame, protocol: str = "abnormal") -> pd.DataFrame:
    """S, U and H of the default four unseen findings, a row per set of films and scorer."""
    rows = {}
    for (films, sources), part in pick(values, protocol=protocol).groupby(["set", "sources"], sort=False):
        left = {"all": "all sources", "without two": "without the two one-sided sources"}[sources]
        for method, name in SCORERS.items():
            found = pick(part, method=method).set_index("metric")
            if len(found):
                rows[f"{films}, {left}", name] = {
                    metric: cell(found.loc[metric], 2) for metric in "SUH" if metric in found.index
                }
    table = pd.DataFrame.from_dict(rows, orient="index").fillna("–")
    table.index = pd.MultiIndex.from_tuples(table.index, names=["films", "scorer"])
    return table


def transfer(table: pd.DataFrame, size: str = "224 px", films: str = "within pairs") -> pd.DataFrame:
    """AUROC of pneumonia among children of another hospital, from adults: Pneumonia unseen, and seen, in training."""
    rows = {}
    for method, name in {**SCORERS, "normality": "normal against abnormal"}.items():
        for pneumonia in ("unseen", "seen"):
            found = pick(table, size=size, method=method, pneumonia=pneumonia, films=films)
            if len(found):
                rows.setdefault(name, {})[f"Pneumonia {pneumonia}"] = cell(found.iloc[0], 2)
    for method, name in (("bytes", "size of the file in bytes *"), ("sharp", "sharpness of the film *")):
        found = pick(table, size="file", method=method, films=films)
        if len(found):
            rows[name] = {"Pneumonia unseen": cell(found.iloc[0], 2)}
    return pd.DataFrame.from_dict(rows, orient="index").fillna("–").rename_axis("scorer")


def truths(emphysema: pd.DataFrame, radiologists: pd.DataFrame, never: pd.DataFrame) -> str:
    """Three bullets: Emphysema with and without subcutaneous films, radiologists' labels, findings never labelled."""
    lines, where = [], {"protocol": "abnormal", "stratum": "none"}
    for films, name in (("all", "all its films"), ("not subcutaneous", "those that are not subcutaneous")):
        part = pick(emphysema, films=films, finding="Emphysema", **where).set_index("method")
        if "focused" in part.index:
            shown = "; ".join(f"{SCORERS[m]} {cell(part.loc[m], 2)}" for m in ("focused", "mean_of_seen", "ceiling"))
            lines.append(f"* **Emphysema**, {name} ({part.positives.iloc[0]:.0f} positives): {shown}.")
    for truth, name in (("mined", "labels mined from reports"), ("radiologists", "radiologists' labels")):
        part = pick(radiologists, truth=truth, finding="mean", method="focused", **where)
        if len(part):
            row = part.iloc[0]
            gain = {"difference": row["gain"], "low": row["gain_low"], "high": row["gain_high"]}
            lines.append(f"* **By {name}**, {row['films']:.0f} PA films: signs minus illness {cell(gain, sign='+')}; "
                         f"the interval {verdict(gain)}.")  # fmt: skip
    for finding in dict.fromkeys(never.finding):
        part = pick(never, finding=finding, protocol="all", stratum="none").set_index("method")
        if "focused" in part.index:
            shown = "; ".join(f"{name} {cell(part.loc[method], 2)}" for method, name in (
                ("focused", "told signs"), ("mean_of_seen", "illness alone"), ("age in years", "age alone"))
                if method in part.index)  # fmt: skip
            lines.append(f"* **{finding}**, never labelled ({part.positives.iloc[0]:.0f} films, all films): {shown}.")
    return "\n".join(lines)


def own_networks(tables: dict, stratum: str = "view") -> pd.DataFrame:
    """Where each quadruple trained a network: U, overall and within ``stratum``, its gain over illness alone, and S."""
    rows, gains = {}, pick(tables["paired"], reference="mean_of_seen", protocol="abnormal", metric="U", stratum="none")
    for method, name in SCORERS.items():
        found = pick(tables["methods"], method=method, protocol="abnormal").set_index(["metric", "stratum"])
        gain = pick(gains, method=method)
        rows[name] = {
            "U": cell(found.loc["U", "none"], 2), "over illness": cell(gain.iloc[0], 2, "+") if len(gain) else "–",
            f"U within {stratum.replace('_', ' × ')}": cell(found.loc["U", stratum], 2),
            "S": cell(found.loc["S", "none"], 2),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("scorer")


def seeds(about: dict) -> str:
    """Which seeds a rotation with networks of its own has, of those that its profile plans."""
    planned = load_profile(about["profile"])["rotation"]["designs"]
    missing = ", ".join(str(seed) for seed in planned if seed not in about["designs"])
    left = f" (planned, and without tables yet: {missing})." if missing else ", all that were planned."
    return f"Seeds of network and heads: {', '.join(map(str, about['designs']))}{left}"


def beside_frozen(trained: dict, frozen: dict) -> str:
    """One bullet: S and U of the study's own head and U of the ceiling, on a trained network and on frozen features."""
    lines = []
    for tables, name in ((trained, "on networks that were trained"), (frozen, "on frozen features")):
        values = pick(tables["methods"], protocol="abnormal", stratum="none").set_index(["method", "metric"])
        u, s, top = (cell(values.loc[one]) for one in (("focused", "U"), ("focused", "S"), ("ceiling", "U")))
        lines.append(f"{name} U {u}, S {s}, ceiling {top} ({tables['manifest']['abnormal']:,} abnormal test films)")
    return f"* CM-DML, told signs, {'; '.join(lines)}. The test films differ, so this is no paired comparison."


def retrained(table: pd.DataFrame) -> str:
    """One bullet: U told own signs, told permuted ones, and p with what it can reach."""
    row = table.iloc[0]
    return (
        f"* The study's own head, trained anew each time (design {row.design}, one setting for all): own signs "
        f"{row.real:.3f}, permuted {row['mean']:.3f} ± {row.sd:.3f}, largest {row.largest:.3f}, p = {row.p:.3f} "
        f"({row.permutations} permutations, so p is {1 / (1 + row.permutations):.3f} at least)."
    )
