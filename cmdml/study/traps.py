"""The measurements of the chapter on traps: small tables from committed results and from the table of the films."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cmdml.evaluation.bootstrap import percentile_interval, weighted_auroc_ap
from cmdml.evaluation.metrics import bootstrap_weights
from cmdml.study import report
from cmdml.study.results import manifest_of
from cmdml.study.run import resolve

CONTROLS = ("random", "shuffled", "one_hot")
SHOWN_LABELS = ("supervised", "source_only", "source_only_informed")  # no zero-shot trainings
WORDS = {"none": "all pairs", "view": "within view", "source": "within source", "source_view": "within source × view"}


def load_sweep(folder) -> dict:
    """{table: DataFrame} of a sweep and its ``manifest``, whose hashes were compared."""
    folder = resolve(folder)
    if not (folder / "manifest.json").is_file():
        raise FileNotFoundError(f"{folder} holds no sweep: make sweep PROFILE={folder.name.partition('-')[2]}")
    names = ("metrics", "methods", "tuning")
    about = manifest_of(folder, [f"{name}.csv" for name in names])
    return {"manifest": about} | {name: pd.read_csv(Path(folder) / f"{name}.csv") for name in names}


def shown(table: pd.DataFrame, digits: int = 3, percent=()) -> pd.DataFrame:
    """The table as text: floats with so many digits, the columns ``percent`` as whole percentages."""
    out = table.copy().astype(object)
    for column in table.columns[[pd.api.types.is_float_dtype(kind) for kind in table.dtypes]]:
        out[column] = table[column].map(("{:.0%}" if column in percent else f"{{:.{digits}f}}").format)
    return out


def by_protocol(methods: pd.DataFrame, scorers=("mean_of_seen", "focused_description", "focused", "ceiling")):
    """U of some scorers (rows) under every protocol (columns), as cells with intervals. Trap 1."""
    rows = {}
    for scorer in scorers:
        found = report.pick(methods, method=scorer, stratum="none", metric="U").set_index("protocol")
        cells = {protocol: report.cell(found.loc[protocol]) for protocol in ("single", "abnormal", "all")}
        rows[report.NAMES[scorer]] = cells
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("scorer")


def above_chance(methods: pd.DataFrame, scorer: str = "focused", protocol: str = "all") -> dict[str, float]:
    """How much of U - 0.5 illness alone has already: ``scorer``, ``illness`` and their ratio ``share``. Trap 2.

    ``share`` is NaN where the scorer is not above chance: a part of nothing has no size.
    """
    table = report.pick(methods, protocol=protocol, stratum="none", metric="U").set_index("method").value - 0.5
    mine, illness = float(table[scorer]), float(table["mean_of_seen"])
    return {"scorer": mine, "illness": illness, "share": illness / mine if mine > 0 else np.nan}


def alone(table: pd.DataFrame, findings, values, *, replicates: int = 1000, seed: int = 0) -> pd.DataFrame:
    """AUROC of one number per film that no pixel went into, finding by finding, among films with a finding.

    Parameters
    ----------
    table : of the films, with ``patient`` and the 0/1 columns ``findings``.
    values : (N,) the number: 1 for a bedside film, the patient's age, …; higher = more likely.

    Returns
    -------
    DataFrame, index finding, sorted by value: value, low, high (95 % over patients), positives.
    """
    findings = list(findings)
    labels, values = table[findings].to_numpy(), np.asarray(values, dtype=np.float64)
    keep = labels.any(axis=1) & ~np.isnan(values)
    weights, unit = bootstrap_weights(table["patient"].to_numpy()[keep], replicates, seed)
    same = np.repeat(values[keep, None], len(findings), axis=1)
    auroc, _ = weighted_auroc_ap(labels[keep], same, weights, unit)
    low, high, _ = percentile_interval(auroc[1:])
    found = {"value": auroc[0], "low": low, "high": high, "positives": labels[keep].sum(axis=0)}
    return pd.DataFrame(found, index=pd.Index(findings, name="finding")).sort_values("value", ascending=False)


def follow_up(images) -> np.ndarray:
    """(N,) number of the film in the patient's series, from NIH's file name: ``00000013_005.png`` is number 5."""
    return pd.Series(images).str.extract(r"_(\d+)\.png$")[0].astype(float).to_numpy()


def sources(table: pd.DataFrame, findings, least: int = 40) -> pd.DataFrame:
    """Films, share with a finding and share of bedside (AP) films of every source with at least ``least``. Trap 4."""
    told = table.assign(ill=table[list(findings)].any(axis=1), bedside=table["view"] == "AP")
    grouped = told.groupby("source_repo").agg(films=("ill", "size"), ill=("ill", "mean"), bedside=("bedside", "mean"))
    return grouped[grouped.films >= least].sort_values("films", ascending=False)


def together(table: pd.DataFrame, findings, finding: str) -> pd.DataFrame:
    """How often every other finding occurs on films with ``finding`` and on the other films with a finding. Trap 5."""
    others = [key for key in findings if key != finding]
    with_it, ill = table[finding] == 1, table[list(findings)].any(axis=1)
    shares = {"with": table.loc[with_it, others].mean(), "without": table.loc[ill & ~with_it, others].mean()}
    return pd.DataFrame(shares).assign(ratio=lambda t: t["with"] / t["without"]).sort_values("ratio", ascending=False)


def quadruple_gains(coverage: pd.DataFrame) -> pd.DataFrame:
    """Mean gain over illness of each unseen quadruple, rising: what a study with that one split would print. Trap 7."""
    grouped = coverage.groupby(["design", "quadruple"])
    gains = grouped.agg(gain=("gain", "mean"), unseen=("finding", lambda names: ", ".join(sorted(names))))
    return gains.sort_values("gain").reset_index()


def by_seed(metrics: pd.DataFrame, metric: str = "auroc_U", protocol: str = "abnormal", controls=True) -> pd.DataFrame:
    """A metric of the zero-shot trainings: a row per method, a column per seed; one split only. Traps 8 and 10."""
    table = report.pick(metrics, metric=metric, protocol=protocol)
    left_out = [*SHOWN_LABELS, "random", *(() if controls else CONTROLS)]
    table = table[~table.method.isin(left_out)]
    if table.split.nunique() != 1:
        raise ValueError(f"metrics of {table.split.nunique()} splits: give those of one.")
    return table.pivot(index="method", columns="seed", values="value").dropna()


def winners(seeds: pd.DataFrame) -> pd.DataFrame:
    """Whoever wins a seed: its value there (``printed``), and its mean over the other seeds (``again``). Trap 10."""
    rows = []
    for seed in seeds:
        best = seeds[seed].idxmax()
        rest = seeds.loc[best].drop(seed).mean()
        rows.append({"seed": seed, "winner": best, "printed": seeds.loc[best, seed], "again": rest})
    return pd.DataFrame(rows).set_index("seed")


def budgets(tuning: pd.DataFrame) -> pd.DataFrame:
    """The seen validation AUROC that every method reaches with its best and its worst learning rate. Trap 9."""
    grouped = tuning.groupby("method").val_seen_auroc
    table = pd.DataFrame({"best": grouped.max(), "worst": grouped.min(), "rates": grouped.size()})
    return table.assign(width=table.best - table.worst).sort_values("best", ascending=False)


def reversed_pairs(table: pd.DataFrame) -> tuple[int, int]:
    """Pairs of methods whose order turns round if only the better one is left untuned, and all pairs. Trap 9."""
    best, worst = (table.sort_values("best", ascending=False)[column].to_numpy() for column in ("best", "worst"))
    n = len(best)
    return int(sum((worst[i] < best[i + 1 :]).sum() for i in range(n))), n * (n - 1) // 2
