"""What the scores of a rotation were made by, and where its tables go."""

from __future__ import annotations

import json
from pathlib import Path

from cmdml.study.places import ROOT, resolve, shown
from cmdml.study.profiles import load_profile
from cmdml.study.results import manifest_of

# Of a plan: what no score depends on.
ONLY_COUNTED = ("designs", "replicates", "permutations", "comparisons", "improvements")


def made_by(plan: dict, parameters: dict, method: str) -> dict:
    """What the scores of a method depend on, of a rotation's plan and a profile's parameters.

    Scores are good for a profile if this is the same; what only counts and compares (`ONLY_COUNTED`), other methods and
    parameters of no training play no part.
    """
    from dataclasses import fields

    from cmdml.config import TrainConfig
    from cmdml.semantics import DEFAULT_MODEL

    kept = ("features", "random_features", "extractor", "folds", "pseudo")
    out = {"plan": {name: plan[name] for name in kept if plan.get(name)}}
    trained = plan["trained"]
    if method in trained["methods"]:
        names = {"semantics", "semantic_model", *(field.name for field in fields(TrainConfig))}
        out["plan"] |= {"settings": trained["settings"], "method": trained["methods"][method]}
        out["parameters"] = {name: value for name, value in parameters.items() if name in names}
        out["parameters"] |= trained.get("parameters", {})
    else:
        out["plan"]["closed"] = plan["closed"]
        model = parameters.get("semantic_model", DEFAULT_MODEL)
        out["parameters"] = {} if model == DEFAULT_MODEL else {"semantic_model": model}
    if plan.get("extractor"):
        own = {"seed", *plan["extractor"].get("parameters", {})}  # those stand in the plan
        network = {field.name: parameters.get(field.name) for field in fields(TrainConfig) if field.name not in own}
        out["parameters"] |= {"extractor": network}
    return out


def profile_of(name: str, changes: str = "{}") -> dict:
    """The profile of a rotation, with parameters of one's own (JSON), if they have a ``run_dir`` of their own.

    Raises
    ------
    ValueError
        Without one, other scores would take the place of the profile's.
    """
    changed = json.loads(changes)
    if changed and "run_dir" not in changed:
        raise ValueError(f"a rotation with another {', '.join(changed)} needs a run_dir of its own: give one, too.")
    return load_profile(name, changed)


def results_folder(profile: dict, designs) -> Path:
    """Where the tables of these designs go: to the committed ones, or, aside, into ``<run_dir>/rotation/tables``.

    Aside, if ``run_dir`` is not the profile's own; or, with a sentence, if designs of the committed ones would be lost.
    """
    out, run_dir = ROOT / f"data/results/rotation-{profile['name']}", resolve(profile["parameters"]["run_dir"])
    aside = run_dir / "rotation/tables"
    if run_dir != ROOT / f"runs/{profile['name']}":
        return aside
    held = manifest_of(out)["designs"] if (out / "manifest.json").is_file() else []
    lost = [str(design) for design in held if design not in designs]
    if not lost:
        return out
    print(f"{shown(out)} holds designs {', '.join(lost)}, too, and stays as it is. Tables: {shown(aside)}")
    return aside
