"""Trials set side by side: every training made by hand, by what it changes, with its AUROC where one was evaluated.

``python -m cmdml.study.trials [FOLDER]`` prints the table (``make trials``).
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from cmdml.study.parameters import default_parameters
from cmdml.study.places import resolve, shown
from cmdml.study.results import read_manifest, read_tables
from cmdml.study.wording import interval

TRAINING = "notebooks/03_training.ipynb"
NOT_A_CHOICE = ("profile", "out")  # where a trial lies and what it is called


def trials(folder="runs/trials") -> pd.DataFrame:
    """A row for each finished trial, the newest first.

    Parameters
    ----------
    folder : path
        Holds one folder a trial, as chapter 3 writes them.

    Returns
    -------
    DataFrame
        Index ``trial`` (the folder's name). ``changed`` (what differs from the chapter's defaults, ``name=value``),
        ``val`` (best seen validation AUROC), ``S``, ``U``, ``H`` (protocol ``abnormal``, with 95 % intervals; ``–``
        until chapter 4 has evaluated the trial), ``minutes`` (of training), ``started``.

    Raises
    ------
    ValueError
        A manifest or a table that is damaged or was edited, by name.
    """
    defaults, rows = default_parameters(TRAINING), {}
    for path in sorted(resolve(folder).glob("*/manifest.json")):
        about = read_manifest(path)
        changed = {name: value for name, value in about["parameters"].items()
                   if name not in NOT_A_CHOICE and (name not in defaults or value != defaults[name])}  # fmt: skip
        rows[path.parent.name] = {
            "changed": " ".join(f"{name}={value}" for name, value in changed.items()) or "nothing",
            "val": f"{about['val_seen_auroc']:.3f}" if "val_seen_auroc" in about else "–",
            **evaluated(path.parent),
            "minutes": f"{about['train_seconds'] / 60:.1f}" if "train_seconds" in about else "–",
            "started": about["started"][:16].replace("T", " "),
        }
    columns = ["changed", "val", "S", "U", "H", "minutes", "started"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("trial")
    return table.sort_values("started", ascending=False, kind="stable")


def evaluated(trial: Path) -> dict[str, str]:
    """S, U and H of a trial with their intervals, from the tables that chapter 4 wrote beside it."""
    file = trial / "evaluation/summary.csv"
    if not file.is_file():
        return dict.fromkeys("SUH", "–")
    table = read_tables(file.parent, ["summary"])["summary"].set_index(["protocol", "metric"])
    rows = {mean: table.loc[("abnormal", f"auroc_{mean}")] for mean in "SUH"}
    return {mean: interval(row.value, row.low, row.high) for mean, row in rows.items()}


def main(folder="runs/trials") -> str:
    """The table as text, or how to make a trial."""
    table = trials(folder)
    if table.empty:
        return (f"No trial in {shown(folder)} yet. Make one: papermill {TRAINING} out.ipynb -p gamma 3, "
                "then the same with notebooks/04_evaluation.ipynb.")  # fmt: skip
    return table.reset_index().to_markdown(index=False, disable_numparse=True)


if __name__ == "__main__":
    try:
        print(main(*sys.argv[1:2]))
    except (ValueError, OSError) as error:
        sys.exit(str(error))
