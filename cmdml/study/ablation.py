"""What sweeps show, as small tables: each function takes sweeps as :func:`load` reads them and picks rows of theirs.

A *sweep* is a dict: ``about``, its manifest; ``split``, the one that most methods ran on; and the tables of
`cmdml.study.tables`. The sentences about them are in `cmdml.study.ablation_text`.
"""

from __future__ import annotations

import pandas as pd

from cmdml.evaluation.metrics import PROTOCOLS
from cmdml.plots.evidence import label
from cmdml.study import wording
from cmdml.study.places import resolve
from cmdml.study.results import manifest_of

MAIN = (
    "focused", "euclidean", "bce", "ranking", "ranking_with_normals", "ale", "nearest_seen", "shuffled", "one_hot",
    "focused_centred", "source_only", "source_only_informed", "random", "supervised",
)  # fmt: skip
REFERENCES = {"ranking": "the ranking loss", "euclidean": "plain Euclidean"}
TOLD = ("focused", "name", "signs", "signs_visual_to_semantic", "shuffled", "one_hot")
WAYS = ("focused", "semantic_to_visual", "visual_to_semantic", "unnormalized")
RIVALS = ("ranking_signs", "euclidean_signs", "bce_signs")  # a loss can only use what the text says
CURVES = ("focused", "ranking", "euclidean", "bce", "ale", "random")
TABLES = ("methods", "metrics", "paired", "stacking", "tuning")


def load(folders) -> tuple[dict[str, dict], list[str]]:
    """Sweeps by the profile's name, in the order of their folders, and the folders (as given) that hold none yet."""
    sweeps, absent = {}, []
    for given in folders:
        path = resolve(given)
        tables = {name: pd.read_csv(path / f"{name}.csv") for name in TABLES if (path / f"{name}.csv").is_file()}
        if "methods" not in tables or not (path / "manifest.json").is_file():
            absent.append(str(given))
            continue
        about = manifest_of(path, [f"{name}.csv" for name in tables])
        ran = tables["methods"].groupby("split").method.nunique()
        sweeps[about["profile"]] = {"about": about, "split": ran.idxmax(), **tables}
    return sweeps, absent


def rows(sweep: dict, split=None, protocol="abnormal", metric=None) -> pd.DataFrame:
    """Rows of ``methods.csv`` of a split (the sweep's own by default), a protocol and, if asked for, a metric."""
    table = sweep["methods"]
    table = table[(table.split == (split or sweep["split"])) & (table.protocol == protocol)]
    return table if metric is None else table[table.metric == metric]


def difference(sweep: dict, method, reference, metric="auroc_H", split=None, protocol="abnormal") -> pd.Series | None:
    """The row of ``paired.csv`` of method - reference; None where they have no seed in common."""
    table = sweep["paired"]
    here = (table.split == (split or sweep["split"])) & (table.protocol == protocol) & (table.metric == metric)
    row = table[here & (table.method == method) & (table.reference == reference)]
    return None if row.empty else row.iloc[0]


def differences(sweep: dict, reference: str) -> tuple[pd.DataFrame, list[str]]:
    """Every main method minus ``reference``, and the methods that the sweep has, in their order; chance is left out."""
    shown = [method for method in MAIN if method in set(rows(sweep).method) - {"random"}]
    return pd.DataFrame([row for m in shown if (row := difference(sweep, m, reference)) is not None]), shown


def gap(row, more: str = "") -> str:
    """``+0.047 (+0.025 to +0.076)`` of a row with difference, low and high; ``more`` goes inside the brackets."""
    text = wording.difference(row.difference, row.low, row.high, 3)
    return f"{text[:-1]}{more})" if text.endswith(")") else text


def headline(sweeps: dict) -> pd.DataFrame:
    """A row per protocol, main method and sweep: S, U, H with intervals, AP, F1 and the number of seeds."""
    lines = {
        (protocol, label(method), name): line
        for protocol in PROTOCOLS
        for method in MAIN
        for name, sweep in sweeps.items()
        if (line := _headline_row(sweep, method, protocol))
    }
    table = pd.DataFrame.from_dict(lines, orient="index")
    if len(table):
        table.index = pd.MultiIndex.from_tuples(table.index, names=["protocol", "method", "set"])
    return table


def _headline_row(sweep: dict, method: str, protocol: str) -> dict | None:
    table = rows(sweep, protocol=protocol)
    table = table[table.method == method].set_index("metric")
    if table.empty:
        return None
    line = {mean: wording.interval(*table.loc[f"auroc_{mean}", ["value", "low", "high"]]) for mean in "SUH"}
    line |= {"AP S": f"{table.value['ap_S']:.2f}", "AP U": f"{table.value['ap_U']:.2f}"}
    line |= {f"F1@{k}": f"{table.value[f'f1@{k}']:.2f}" for k in (2, 3)}
    return line | {"seeds": f"{table.seeds['auroc_H']:.0f}"}


def learning_rates(sweeps: dict) -> pd.DataFrame | None:
    """Seen validation AUROC of every learning rate that was tried, ✓ at the one that is used; None where none was."""
    tables = {}
    for name, sweep in sweeps.items():
        tried = sweep.get("tuning")
        if tried is None or tried.empty:
            continue
        table = tried.pivot(index="method", columns="lr", values="val_seen_auroc")
        table = table.map("{:.3f}".format, na_action="ignore").astype(object)
        for row in tried[tried.used].itertuples():
            table.loc[row.method, row.lr] += " ✓"
        table = table.reindex(tried.method.unique()).rename(index=label, columns="{:g}".format)
        tables[f"{name}: learning rate"] = table
    return pd.concat(tables, axis=1).fillna("–").rename_axis("method") if tables else None


def grid(sweep: dict) -> pd.DataFrame:
    """H of every method that differs from the study's own in γ and α alone: method, split, gamma, alpha, value."""
    points, own = [], sweep["about"]["parameters"]
    values = rows(sweep, metric="auroc_H").set_index("method").value
    for method, changed in sweep["about"]["methods"].items():
        given = {key: value for key, value in changed.items() if key not in ("only", "lr")}
        given = {"gamma": 0.0, "alpha": 0.5} if given == {"objective": "euclidean"} else given
        if method in values.index and not given.keys() - {"gamma", "alpha"}:
            point = {"gamma": own["gamma"], "alpha": own["alpha"], **given}
            points.append({"method": method, "split": sweep["split"], **point, "value": values[method]})
    return pd.DataFrame(points, columns=["method", "split", "gamma", "alpha", "value"])


def grids(sweeps: dict) -> dict[str, pd.DataFrame]:
    """The grids that have more than two points."""
    found = {name: grid(sweep) for name, sweep in sweeps.items()}
    return {name: points for name, points in found.items() if len(points) > 2}


def validation(sweep: dict) -> pd.Series:
    """Seen validation AUROC by method: the only number that may choose."""
    return rows(sweep, protocol="validation").set_index("method").value


def others(sweeps: dict) -> pd.DataFrame | None:
    """The study's own method minus everything else that was run, by S, U and H; and the gap in validation."""
    lines = []
    for name, sweep in sweeps.items():
        chosen_by, table = validation(sweep), sweep["paired"]
        table = table[(table.split == sweep["split"]) & (table.method == "focused") & (table.protocol == "abnormal")]
        for reference, part in table[~table.reference.isin([*MAIN, *RIVALS])].groupby("reference", sort=False):
            part = part.set_index("metric")
            line = {f"{mean}: own minus this": gap(part.loc[f"auroc_{mean}"]) for mean in "SUH"}
            more = chosen_by.get(reference, float("nan")) - chosen_by.get("focused", float("nan"))
            line["validation: this minus own"] = "–" if pd.isna(more) else f"{more:+.3f}"
            lines.append({"set": name, "variant": label(reference)} | line)
    return pd.DataFrame(lines).set_index(["set", "variant"]) if lines else None


def stacking(sweep: dict) -> pd.DataFrame:
    """The curves of calibrated stacking on the sweep's own split."""
    return sweep["stacking"][sweep["stacking"].split == sweep["split"]]


def ausuc(sweeps: dict) -> pd.DataFrame:
    """Area under the stacking curve of every main method and sweep, with the range of the seeds."""
    lines = {}
    for method in MAIN:
        for name, sweep in sweeps.items():
            for _, row in rows(sweep, metric="ausuc").iterrows():
                if row.method == method:
                    text = f"{row.value:.3f} ({row['min']:.3f}–{row['max']:.3f})"
                    lines.setdefault(label(method), {})[name] = text
    return pd.DataFrame.from_dict(lines, orient="index").fillna("–").rename_axis("AUSUC (lowest–highest seed)")
