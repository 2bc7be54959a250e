"""The tables of the page on one film, from ``data/results/ood`` and ``data/results/pointing``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cmdml.study.results import manifest_of


def _where(folder: Path) -> str:
    about = manifest_of(folder)
    code = (about["commit"] or "unknown")[:12] + (", with changes" if about["dirty"] else "")
    return f"*`python {about['script']}`; code `{code}`.*"


def _interval(row) -> str:
    return "" if pd.isna(row["low"]) else f" ({row['low']:.2f}–{row['high']:.2f})"


def warnings_table(folder: Path) -> str:
    """How often the warning came, by network and kind of picture."""
    rates = pd.read_csv(folder / "rates.csv")
    shown = pd.DataFrame({
        "network": rates["head"], "what it was shown": rates["kind"], "pictures": rates["films"],
        "warned of (95 %)": [f"{row['rate']:.2f}{_interval(row)}" for _, row in rates.iterrows()],
    })  # fmt: skip
    return shown.to_markdown(index=False, disable_numparse=True) + f"\n\n{_where(folder)}"


def pointing_table(folder: Path) -> str:
    """The share of hits of every method, by finding, and the mean over findings."""
    found = pd.read_csv(folder / "findings.csv")
    found["cell"] = [f"{row['accuracy']:.2f}{_interval(row)}" for _, row in found.iterrows()]
    methods = list(dict.fromkeys(found["method"]))
    table = found.pivot(index="finding", columns="method", values="cell").reindex(found["finding"].unique())[methods]
    films, seen = (found.groupby("finding", sort=False)[name].first() for name in ("films", "seen"))
    table.insert(0, "films", films.astype(str))
    table.insert(0, "kind", seen.map({True: "seen", False: "unseen"}))
    means = found.groupby("method", sort=False)["accuracy"].mean()
    table.loc["mean"] = ["", str(int(films.sum())), *(f"{means[method]:.2f}" for method in methods)]
    table.index = [name.replace("_", " ") for name in table.index]
    return table.to_markdown(disable_numparse=True) + f"\n\n{_where(folder)}"


def texts(results: Path) -> dict[str, str]:
    """Marked place of the page -> what stands there; those that were measured."""
    made = {"ood": warnings_table, "pointing": pointing_table}
    return {name: make(results / name) for name, make in made.items() if (results / name / "manifest.json").is_file()}
