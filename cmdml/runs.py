"""From what a user calls a run to a head that scores films."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from cmdml.feature_set import FeatureSet
from cmdml.features import place
from cmdml.files import SEAL, sha256
from cmdml.heads import FORMAT, HEADS, Head, load_head, make_head
from cmdml.names import nearest
from cmdml.radiographs import RadiographSet

DEFAULT = "nih-mini"


def open_run(run: str | Path | None = None) -> Head:
    """A head by its folder or its name in ``data/heads``, or that of a run or training, made where it is first asked.

    Parameters
    ----------
    run : path or str, optional
        ``runs/phantom``, ``runs/phantom/training``, ``data/heads/phantom``, ``phantom``; by default ``nih-mini``. The
        head of a training is kept in its folder ``head``; made from the run's radiographs, which must still be there.

    Raises
    ------
    FileNotFoundError : there is no such run, or its training has not ended, or its radiographs are gone.
    ValueError : a file was damaged or edited.
    """
    if run is None or (not Path(run).exists() and (HEADS / str(run)).is_dir()):
        return load_head(HEADS / str(run or DEFAULT))
    run = Path(run)
    if not run.is_dir():
        known = sorted(path.parent.name for path in HEADS.glob("*/card.json"))
        raise FileNotFoundError(f"no run {str(run)!r}: give a folder such as runs/phantom, or a head of {HEADS} "
                                f"({nearest(run.name, known)})")  # fmt: skip
    if _format(run) == FORMAT or (run / "card.json").is_file() and not (run / "radiographs").exists():
        return load_head(run)
    training = run / "training" if (run / "training").is_dir() else run
    if not (training / SEAL).is_file():
        raise FileNotFoundError(f"no finished training in {training}: run chapter 3 (make study), or give another run")
    return _head_of(training)


def _head_of(training: Path) -> Head:
    """The head in the training's folder, if it is of this very training; else a new one."""
    folder, mark = training / "head", sha256(training / SEAL)
    try:
        head = load_head(folder)
        if head.card.get("training_seal") == mark:
            return head
    except (FileNotFoundError, ValueError):
        pass  # none, or of no use
    file = training / "manifest.json"
    if not file.is_file():
        raise FileNotFoundError(f"{training} has no manifest.json, which says what it was told and on which films: run "
                                "chapter 3 again, or make a head with cmdml.heads.make_head")  # fmt: skip
    asked = json.loads(file.read_text(encoding="utf-8"))["parameters"]
    about = {"training_seal": mark, "command": f"cmdml predict --run {training}"}
    told = {name: asked[name] for name in ("semantics", "semantic_model")}
    told["name"] = asked.get("profile", training.name)
    data = _films_of(training, asked)
    try:
        return make_head(training, data, folder, **told, about=about)
    except PermissionError:
        return make_head(training, data, Path(tempfile.mkdtemp()) / "head", **told, about=about)


def _films_of(training: Path, asked: dict):
    """The films of a training: features, or radiographs; where its manifest says, or beside it."""
    root = HEADS.parents[1] / asked.get("run_dir", "")
    held = json.loads((training / "config.json").read_text(encoding="utf-8"))
    config, kind = held["config"], RadiographSet
    names = ["radiographs"]
    if config["tune"] == "frozen":
        kind, names = FeatureSet, [place("features", config["backbone"], config["weights"]), "features"]
    for folder in (run_dir / name for run_dir in (*training.parents[:3], root) for name in names):
        try:
            found = kind.load(folder)
        except (FileNotFoundError, ValueError):
            continue
        if found.card["sha256"] == held.get("features_sha256", held["data_sha256"]):
            return found
    raise FileNotFoundError(f"the films of {training} are gone ({names[0]} in {root}): prepare them again")


def _format(folder: Path) -> str | None:
    try:
        return json.loads((folder / SEAL).read_text(encoding="utf-8"))["format"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
