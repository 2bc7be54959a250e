"""Jobs of a rotation, some of its designs alone, and what the same plan would take on the full set.

``python -m cmdml.study.rotation_jobs collect PROFILE N`` makes the tables of the first N designs, and takes changed
parameters as ``cmdml.study.rotate`` does;
``… plan`` prints what ``make plan-nih`` shows.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pandas as pd

from cmdml.names import check
from cmdml.study.places import ROOT, resolve, shown
from cmdml.study.results import manifest_of
from cmdml.study.rotation_plan import ONLY_COUNTED, profile_of

__all__ = ["ONLY_COUNTED", "first_designs", "jobs", "plan_nih"]
FILMS = 112_120  # of ChestX-ray14
TARGETS = (0.01, 0.005)  # half-widths of the interval of the primary comparison
RESULTS = ROOT / "data/results/rotation-nih-mini"
FULL = r"""sed -e 's#data/features/nih-mini-#runs/nih-full/features/#' -e '/exclude_sources/d' \
    profiles/nih-mini.yaml > profiles/nih-full.yaml
.venv/bin/python -m cmdml.study.rotation_jobs extract nih-full NIH_ROOT
make rotation PROFILE=nih-full"""


def first_designs(profile: dict, count: str | int = "") -> dict:
    """The same profile with no more than the first ``count`` designs of its rotation; "" means all of them.

    Raises
    ------
    ValueError
        The profile has no rotation, or not so many designs.
    """
    if profile["rotation"] is None:
        raise ValueError(f"profile {profile['name']} has no section `rotation`: see profiles/nih-mini.yaml.")
    designs = profile["rotation"]["designs"]
    if count == "":
        return profile
    if not str(count).isascii() or not str(count).isdigit() or not 1 <= int(count) <= len(designs):
        raise ValueError(f"DESIGNS={count}: profile {profile['name']} has {len(designs)}, so 1 to {len(designs)}.")
    return profile | {"rotation": profile["rotation"] | {"designs": designs[: int(count)]}}


def jobs(profile: dict, methods=()) -> list[tuple[int, str]]:
    """(design, method) of every run of a rotation, or of those of some ``methods``."""
    from cmdml.study.scorers import methods as all_of  # loads torch, which the order of other profiles needs not

    every = all_of(profile["rotation"])
    for method in methods:
        check(method, every, "method")
    return [(design, method) for design in profile["rotation"]["designs"] for method in methods or every]


def films_needed(paired: pd.DataFrame, films: int, target: float, comparison, stratum: str = "none") -> int:
    """Films with a finding that the interval of a comparison needs to reach half of a width.

    A half-width falls with the root of the number of films: n · (half-width now / ``target``)².

    Parameters
    ----------
    paired : a row per comparison; ``low`` and ``high`` of U under ``abnormal`` are read.
    films : n, behind that table.
    target : half-width to reach.
    comparison : method and reference.
    """
    method, reference = comparison
    here = (paired.method == method) & (paired.reference == reference) & (paired.protocol == "abnormal")
    row = paired[here & (paired.stratum == stratum) & (paired.metric == "U")]
    if len(row) != 1:
        raise ValueError(f"paired.csv holds {len(row)} rows of {method} − {reference}, {stratum}: collect it again.")
    return math.ceil(films * ((row.high.item() - row.low.item()) / 2 / target) ** 2 - 1e-9)


def plan_nih(results: Path = RESULTS) -> str:
    """The command for the full set, its time, and the sample size of the primary comparison."""
    lines = ["The same plan on all of ChestX-ray14. NIH_ROOT is the official download with a sources.csv (columns",
             "image, source_repo, source_pixels; NIH and 1024 for every film), since the plan has strata by source:",
             "", FULL, ""]  # fmt: skip
    if not (results / "paired.csv").is_file():
        missing = f"{shown(results)}/paired.csv is not there yet, so time and sample size are unknown"
        return "\n".join([*lines, f"{missing}: make rotation PROFILE=nih-mini writes it."])
    about, paired = manifest_of(results, ["methods.csv", "paired.csv"]), pd.read_csv(results / "paired.csv")
    counted = pd.read_csv(results / "methods.csv").groupby("protocol").films.max()
    films, mine = int(counted["abnormal"]), int(counted["all"])
    hours = sum(about["seconds"].values()) * FILMS / mine / 3600
    lines += [f"Time: about {hours:,.0f} hours of one core, the time of {mine:,} films in proportion.", ""]
    for comparison in about["rotation"]["comparisons"]["primary"]:
        for stratum in about["rotation"]["comparisons"]["strata"]:
            needed = [f"±{t:g}: {films_needed(paired, films, t, comparison, stratum):,}" for t in TARGETS]
            where = "" if stratum == "none" else f", within {stratum.replace('_', ' and ')}"
            lines.append(f"Films with a finding for {' − '.join(comparison)}{where}: {'; '.join(needed)}"
                         f" (now {films:,}).")  # fmt: skip
    return "\n".join(lines)


def extract_features(profile: dict, root: str) -> None:
    """Prepare the films of an NIH download and write the features that the profile's rotation names."""
    from cmdml.features import extract
    from cmdml.sources import nih
    plan, values = profile["rotation"], profile["parameters"]
    run_dir = resolve(values["run_dir"])
    radiographs = nih.prepare(run_dir / "radiographs", root=resolve(root), size=values["size"])
    for stem, weights in ((plan["features"], "imagenet"), (plan["random_features"], "")):
        made = extract(radiographs, run_dir / f"features-{weights or 'random'}", weights=weights)
        resolve(stem).parent.mkdir(parents=True, exist_ok=True)
        made.save(resolve(stem))


def main(task: str, *given: str) -> None:
    """Do one task; ValueError in one sentence where it cannot be done."""
    check(task, ("collect", "extract", "plan"), "task")
    if task == "plan":
        print(plan_nih())
        return
    profile = first_designs(profile_of(given[0], *given[2:]), given[1] if task == "collect" else "")
    if task == "extract":
        extract_features(profile, given[1])
    else:
        from cmdml.study.anatomy import collect

        print(f"{collect(profile)} done", flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"rotation stopped. {error}")
