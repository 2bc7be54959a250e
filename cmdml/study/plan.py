"""Which runs a profile's sweep consists of, what each is given, and where it lies."""

from __future__ import annotations

from pathlib import Path

from cmdml.names import unknown
from cmdml.study import run
from cmdml.study.parameters import default_parameters
from cmdml.study.profiles import SPLITS

TRAINING = "notebooks/03_training.ipynb"


def plan(profile: dict, methods=None) -> list[tuple[str, str, int]]:
    """Every (method, split, seed) of a profile's sweep, or those of some ``methods``.

    A split is ``default``, the profile's own ``unseen``, or ``random``, drawn with the run's seed: five seeds are five
    splits. A method with ``only: random`` (or ``default``) runs on that one. ``tuning``, at the end or among
    ``methods``, stands for the runs of the learning rates to choose from, whose split is ``default@<rate>``: validation
    only, see `train`.
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


def counted_unseen(profile: dict, split: str) -> str:
    """Which findings the tables of a split count as unseen, as `split_findings` takes it.

    ``random``, or for ``default`` (and ``default@<rate>``) the profile's own choice.
    """
    chosen = "random" if split == "random" else profile["parameters"].get("unseen", "default")
    if chosen == "none":
        raise ValueError("unseen = none leaves a sweep nothing to count as unseen: say `unseen: none` for a method.")
    return chosen


def settings(profile: dict, method: str, seed: int, split: str = "default") -> dict:
    """What chapter 3 would be given: the profile's parameters of a training, the method's changes, split and seed.

    ``unseen`` is the split's, unless the method is shown all (``none``). A split ``default@0.003`` sets the learning
    rate.
    """
    if method not in profile["sweep"]["methods"]:
        raise unknown(method, profile["sweep"]["methods"], "method")
    changes = {name: value for name, value in profile["sweep"]["methods"][method].items() if name != "only"}
    rate = {"lr": float(split.partition("@")[2])} if "@" in split else {}
    return _given(profile, {"unseen": counted_unseen(profile, split), **changes, **rate, "seed": seed})


def _given(profile: dict, changes: dict) -> dict:
    """All parameters of a training: the notebook's defaults, the profile's values, the changes to them."""
    changed = {**default_parameters(TRAINING), **profile["parameters"], **changes}
    return {name: value for name, value in run.notebook_parameters(TRAINING, {"parameters": changed}).items()
            if name != "out"}  # fmt: skip


def training_config(values: dict, given=()):
    """The configuration of a training, and the hyper-parameters that its objective ignores.

    Parameters
    ----------
    values : dict
        As :func:`settings` returns them.
    given : names of parameters that a person or a method set, rather than the profile for all.

    Returns
    -------
    config : TrainConfig
    dropped : list of str
        Inherited ones without effect, for the manifest.
    """
    from dataclasses import fields

    from cmdml.config import TrainConfig, effective

    values = {field.name: values[field.name] for field in fields(TrainConfig) if field.name in values}
    values, dropped = effective(values, given)
    return TrainConfig.from_dict(values), dropped


def changed(parameters: dict) -> set[str]:
    """Names of a training's parameters that are not at the notebook's default."""
    defaults = default_parameters(TRAINING)
    return {name for name, value in parameters.items() if name in defaults and value != defaults[name]}


def trainings(profile: dict, sweep: bool = True) -> dict[str, tuple[dict, set[str]]]:
    """{what it is called: (its parameters, which of them were given)} of the study, its variants and its sweep."""
    given = set(profile["given"])
    found = {"parameters": (_given(profile, {}), given)}
    for name, changes in profile["variants"].items():
        found[f"variant {name}"] = _given(profile, changes), given | set(changes)
    for name, changes in profile["sweep"]["methods"].items() if sweep else ():
        found[f"method {name}"] = settings(profile, name, 0), given | set(changes)
    return found


def check(profile: dict, sweep: bool = True) -> None:
    """Refuse a profile whose trainings would be refused, before anything runs: one sentence that says which."""
    from cmdml.findings import KEYS, split_findings
    from cmdml.names import check as known
    from cmdml.semantics import SEMANTICS
    from cmdml.sources import SOURCES

    if "source" in profile["parameters"]:
        known(profile["parameters"]["source"], SOURCES, "source")
    for name, (values, given) in trainings(profile, sweep).items():
        try:
            split_findings(KEYS, values["unseen"], seed=values["seed"])
            known(values["semantics"], SEMANTICS, "semantics")
            training_config(values, given)
        except (ValueError, TypeError) as error:
            raise ValueError(f"profile {profile['name']}, {name}: {error}") from None


def folder(profile: dict, method: str, split: str, seed: int) -> Path:
    """Where one run lies."""
    return run.resolve(profile["parameters"]["run_dir"]) / f"sweep/{method}/{split}-{seed}"


def radiographs_of(profile: dict) -> Path:
    """The set that every run of a profile shares."""
    return run.resolve(profile["parameters"]["run_dir"]) / "radiographs"


def results_folder(profile: dict) -> Path:
    """Where a sweep's tables go: to be committed, or, if ``run_dir`` is not the profile's own, into that."""
    own, name = run.resolve(profile["parameters"]["run_dir"]), profile["name"]
    return run.resolve(f"data/results/sweep-{name}") if own == run.resolve(f"runs/{name}") else own / "results"
