"""The folder of a training: what it was trained on, and, once it is finished, sealed results."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.torch import load_file, save_file
from torch import Tensor

from cmdml.config import TrainConfig
from cmdml.files import SEAL, check_seal, read_json, seal, write_json, write_whole
from cmdml.model import CMDML
from cmdml.radiographs import Partition

FORMAT = "training 1"
PARTS = ("config.json", "weights.safetensors", "history.csv", "embeddings.npz")
OBJECTIVE = "objective.json"  # what an objective learnt for itself, where it learns something that scores depend on


@dataclass(frozen=True)
class TrainedRun:
    """What a training leaves behind: the best model, the history per epoch and the embeddings of val and test.

    ``out`` is the folder, or None for a training in memory.
    """

    model: CMDML
    history: pd.DataFrame
    embeddings: dict[str, np.ndarray]
    out: Path | None


def build_model(config: TrainConfig, vectors: Tensor, features: int | None = None) -> CMDML:
    """The untrained model of a configuration; ``features`` is their number F where ``config.tune`` is ``frozen``."""
    names = ("backbone", "weights", "direction", "dim", "hidden", "dropout", "normalize")
    return CMDML(vectors, features=features, **{name: getattr(config, name) for name in names})


def claim(out: Path, partition: Partition, vectors: Tensor, config: TrainConfig) -> str:
    """Write what this run is trained on, or refuse a folder that holds another run; returns the SHA-256 of it.

    A configuration that never came to its first checkpoint is no run: the next one takes its place.
    """
    card = partition.radiographs.card
    content = {
        "config": dataclasses.asdict(config),
        "unseen": list(partition.findings.unseen),
        "findings": list(partition.findings.keys),
        "data_sha256": card.get("radiographs_sha256", card["sha256"]),
        "images": {name: len(getattr(partition, name)) for name in ("train", "val", "test")},
        "semantic_sha256": hashlib.sha256(vectors.float().numpy().tobytes()).hexdigest(),
    }
    if "radiographs_sha256" in card:  # features of these radiographs
        content["features_sha256"] = card["sha256"]
    file = out / "config.json"
    begun = any((out / name).exists() for name in (SEAL, "checkpoint.safetensors", "weights.safetensors"))
    if not (file.exists() and begun):
        write_json(file, content)
    held = _held(file)
    if held != content:
        flat = {**held, **held["config"]}, {**content, **content["config"]}
        differs = [k for k in flat[1] if k != "config" and flat[0].get(k) != flat[1][k]]
        what = ", ".join(f"{k} = {flat[0].get(k)!r} there, {flat[1][k]!r} now" for k in differs[:3])
        raise ValueError(
            f"{out} holds a run of another configuration ({what}): choose another `out` or delete that folder"
        )
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def save_run(
    out: Path, weights: dict[str, Tensor], history: pd.DataFrame, embeddings: dict[str, np.ndarray], learnt: dict
) -> None:
    """Write a finished training beside its ``config.json``; the seal, written last, marks it as whole.

    ``learnt`` (``{"tau": τ}`` of the epoch whose weights these are) goes to ``objective.json``, if there is any.
    """
    write_whole(out / "weights.safetensors", lambda path: save_file(weights, path))
    write_whole(out / "history.csv", lambda path: history.to_csv(path, index=False))
    write_whole(out / "embeddings.npz", lambda path: np.savez(path, **embeddings))
    if learnt:
        write_json(out / OBJECTIVE, learnt)
    seal(out, [*PARTS, OBJECTIVE] if learnt else PARTS, FORMAT)


def load_run(out: str | Path) -> TrainedRun:
    """Read a finished training; the model is on the CPU, in evaluation mode.

    Raises
    ------
    FileNotFoundError
        If there is no finished training, or a file of it is gone.
    ValueError
        If a file was damaged or edited since, or is of another version.
    """
    out = Path(out)
    if not (out / SEAL).exists():
        raise FileNotFoundError(
            f"no finished training in {out}: run notebooks/03_training.ipynb (it continues an interrupted run)"
        )
    way_out = "delete that folder and train again"
    sealed = check_seal(out, FORMAT, PARTS, way_out=way_out)["sha256"]
    if OBJECTIVE in sealed or (out / OBJECTIVE).exists():
        check_seal(out, FORMAT, [OBJECTIVE], way_out=way_out)
    weights = load_file(out / "weights.safetensors")
    try:
        config = TrainConfig.from_dict(_held(out / "config.json")["config"])
        features = len(weights["visual_extractor.mean"]) if config.tune == "frozen" else None
        model = build_model(dataclasses.replace(config, weights=""), weights["semantic_vectors"], features)
        model.load_state_dict(weights)
    except (RuntimeError, KeyError, ValueError) as error:
        why = f" ({error})" if isinstance(error, ValueError) else ""
        raise ValueError(f"{out} was trained by another version of the model{why}: {way_out}") from error
    with np.load(out / "embeddings.npz", allow_pickle=False) as file:
        embeddings = dict(file)
    return TrainedRun(model.eval(), pd.read_csv(out / "history.csv"), embeddings, out)


def _held(file: Path) -> dict:
    content = read_json(file, "delete that folder and train again")
    if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
        raise ValueError(f"{file} is damaged: delete that folder and train again")
    return content
