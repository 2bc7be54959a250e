"""Which runs a profile's sweep consists of, what each is given, and where it lies."""

from __future__ import annotations

from pathlib import Path

from cmdml.names import unknown
from cmdml.study import run

SPLITS = ("default", "random")


def plan(profile: dict, methods=None) -> list[tuple[str, str, int]]:
    """Every (method, split, seed) of a profile's sweep, or those of some ``methods``.

    A split is ``default`` or ``random``, the latter drawn with the run's seed: five seeds are five splits. A method
    with ``only: random`` (or ``default``) runs on that one. ``tuning``, at the end or among ``methods``, stands for the
    runs of the learning rates to choose from, whose split is ``default@<rate>``: validation only, see `train`.
    """
    sweep, tuning = profile["sweep"], profile["sweep"].get("tuning", {"methods": []})
    for name in [*(methods or ()), *tuning["methods"]]:
        if name not in [*sweep["methods"], "tuning"]:
            raise unknown(name, [*sweep["methods"], "tuning"], "method")
    chosen = methods or [*sweep["methods"], "tuning"]
    for split in [*sweep["splits"], *(m["only"] for m in sweep["methods"].values() if "only" in m)]:
        if split not in SPLITS:
            raise unknown(split, SPLITS, "split")
    runs = [(method, split, seed) for method in chosen if method != "tuning" for split in sweep["splits"]
            for seed in sweep["seeds"] if sweep["methods"][method].get("only", split) == split]  # fmt: skip
    tried = [(m, f"default@{rate:g}", tuning["seed"]) for m in tuning["methods"] for rate in tuning["lr"]]
    return runs + (tried if "tuning" in chosen else [])


def settings(profile: dict, method: str, seed: int, split: str = "default") -> dict:
    """What chapter 3 would be given: the profile's parameters of a training, the method's changes, this seed.

    A split ``default@0.003`` sets the learning rate.
    """
    if method not in profile["sweep"]["methods"]:
        raise unknown(method, profile["sweep"]["methods"], "method")
    rate = {"lr": float(split.partition("@")[2])} if "@" in split else {}
    changed = {**profile["parameters"], **profile["sweep"]["methods"][method], **rate, "seed": seed}
    return run.notebook_parameters("notebooks/03_training.ipynb", {"parameters": changed})


def folder(profile: dict, method: str, split: str, seed: int) -> Path:
    """Where one run lies."""
    return run.resolve(profile["parameters"]["run_dir"]) / f"sweep/{method}/{split}-{seed}"


def radiographs_of(profile: dict) -> Path:
    """The set that every run of a profile shares."""
    return run.resolve(profile["parameters"]["run_dir"]) / "radiographs"
