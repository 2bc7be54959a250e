"""Heads: a trained run as a folder that can be handed on, with all that scoring one film needs.

``config.json``
    the run's: configuration, findings, which are unseen, hashes of data and words
``weights.safetensors``
    the run's: the model, without the backbone where that was frozen
``reference.safetensors``
    what a score is set beside: ``normal_visual`` (n, D), the normal validation films in the joint space; ``attributes``
    (A, E), the vector of every sign, and ``centre`` (E), for words of one's own; ``normal_film`` (size, size), the mean
    of normal training films; ``film_mean``, ``film_scale`` (F), ``film_components`` (K, F), ``film_variances`` (K),
    ``film_noise`` (1), ``film_validation`` (V), the films it knows (``cmdml.familiar``)
``card.json``
    size, backbone by hash, semantics, data, licence, thresholds, what was measured
``README.md``
    the same for people
``seal.json``
    SHA-256 of all of them
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cmdml.config import TrainConfig
from cmdml.efficientnet import WEIGHTS_SHA256, state_sha256
from cmdml.extractors import VisualExtractor
from cmdml.familiar import Familiar
from cmdml.files import SEAL, check_seal, seal, write_json, write_text, write_whole
from cmdml.findings import FINDINGS_FILE, SeenUnseen, load_attributes
from cmdml.model import CMDML
from cmdml.network import FilmNetwork
from cmdml.run_folder import build_model, load_run
from cmdml.semantics import attribute_sentences, text_vectors

HEADS = FINDINGS_FILE.parent / "heads"
FORMAT = "head 1"
FILES = ("config.json", "weights.safetensors", "reference.safetensors", "card.json", "README.md")
NORMALS = 1000  # normal validation films that are kept at most: a percentile needs no more
WAY_OUT = "fetch the folder again, or make it again (python data/make_heads.py for the two of this repository)"
NOTICE = "not a medical device"


@dataclass(frozen=True, eq=False)
class Head:
    """A trained run, ready for films: what :func:`load_head` opens.

    Parameters
    ----------
    folder : Path
    card : dict
    config : TrainConfig
    findings : SeenUnseen
    model : CMDML
    reference : dict of Tensor, see the module.
    """

    folder: Path
    card: dict
    config: TrainConfig
    findings: SeenUnseen
    model: CMDML
    reference: dict[str, Tensor]

    @property
    def size(self) -> int:
        """Height and width in pixels of the films it reads."""
        return int(self.card["size"])

    @cached_property
    def familiar(self) -> Familiar:
        """The distance of a film from those of the training."""
        return Familiar.of(self.reference)

    @cached_property
    def network(self) -> FilmNetwork:
        """From pixels to scores. A frozen backbone is built, and compared with the hash that the card names."""
        about = self.card["features"]
        if about is None:
            return FilmNetwork(self.model, self.config)
        backbone = VisualExtractor(about["backbone"], about["weights"] or None)
        pinned = about["weights"] == "imagenet" and about["backbone"] == "efficientnet_lite0"
        found = WEIGHTS_SHA256 if pinned else state_sha256(backbone.state_dict())
        if found != about["weights_sha256"]:
            raise ValueError(
                f"{self.folder} needs the backbone {about['backbone']} with the weights "
                f"{about['weights_sha256'][:12]}…, this one has {found[:12]}…: install the version that the card names"
            )
        return FilmNetwork(self.model, self.config, backbone, about["layers"])


def load_head(folder: str | Path) -> Head:
    """Open the folder of a head; the model is on the CPU, in evaluation mode.

    Raises
    ------
    FileNotFoundError
        There is none, or a file of it is gone.
    ValueError
        A file was damaged or edited since, or is of another version.
    """
    folder = Path(folder)
    check_seal(folder, FORMAT, FILES, way_out=WAY_OUT)
    held = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    config, weights = TrainConfig.from_dict(held["config"]), load_file(folder / "weights.safetensors")
    features = len(weights["visual_extractor.mean"]) if config.tune == "frozen" else None
    model = build_model(replace(config, weights=""), weights["semantic_vectors"], features)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{folder} holds another version of the model: {WAY_OUT}") from error
    findings = SeenUnseen(tuple(held["findings"]), tuple(held["unseen"]))
    return Head(folder, card, config, findings, model.eval(), load_file(folder / "reference.safetensors"))


def make_head(run, data, folder, *, semantics: str, semantic_model: str, name: str, about=None, readme=None,
              normal_film=None) -> Head:  # fmt: skip
    """Make a head of a finished training and the films that it was trained on.

    Parameters
    ----------
    run : path
        Folder of the training, as :func:`cmdml.training.fit` leaves it.
    data : RadiographSet or FeatureSet
        What it was trained on: normal validation films, and the films that it knows, are taken from there.
    folder : path
        Where to write; replaced whole if it is there.
    semantics, semantic_model : str
        What the run was told (:func:`cmdml.semantics.semantic_vectors`).
    name : str
    about : dict, optional
        Plain values that go into the card: the command, what was measured.
    readme : callable, optional
        ``readme(card)`` gives the page for people; by default a short one.
    normal_film : (size, size) uint8, optional
        The mean of normal films, where ``data`` holds features and no films.

    Raises
    ------
    ValueError
        The films are not those of the training, or no validation film is normal.
    """
    run, folder, trained = Path(run), Path(folder), load_run(run)
    held = json.loads((run / "config.json").read_text(encoding="utf-8"))
    if held.get("features_sha256", held["data_sha256"]) != data.card["sha256"]:
        raise ValueError(f"{run} was trained on other films than {data.folder} holds: give those, or train again")
    config = TrainConfig.from_dict(held["config"])
    if (config.tune == "frozen") != (data.pixels.ndim == 2):
        raise ValueError(f"{run} and {data.folder} do not fit: one is of images, the other of extracted features")
    split, labels = data.table["split"].to_numpy(), data.labels
    findings = SeenUnseen(tuple(held["findings"]), tuple(held["unseen"]))
    learnt = np.flatnonzero((split == "train") & ~labels[:, findings.unseen_mask].any(1))
    val = np.flatnonzero(split == "val")
    place = {row: i for i, row in enumerate(trained.embeddings["index"].tolist())}
    normal = val[~labels[val].any(1)]
    if not len(normal):
        raise ValueError(f"{data.folder}: no validation film is without a finding, so no score has a percentile")
    kept = normal[np.linspace(0, len(normal) - 1, min(NORMALS, len(normal))).round().astype(int)]
    visual = torch.from_numpy(trained.embeddings["visual"][[place[row] for row in kept.tolist()]])
    familiar = Familiar.fit(_features(trained.model, data, learnt), _features(trained.model, data, val))
    reference = {"normal_visual": visual, **words_reference(semantics, semantic_model), **familiar.tensors()}
    reference |= _normal_film(data, learnt[~labels[learnt].any(1)], normal_film)
    card = {
        "name": name, "notice": NOTICE, "size": data.size, "semantics": semantics, "semantic_model": semantic_model,
        "attributes": load_attributes(), "features": _backbone(data), "normal_films": len(kept),
        "films": {"learnt": len(learnt), "validation": len(val)}, "familiar": familiar.about,
        "data": {k: data.card.get(k) for k in ("name", "title", "source", "licence", "citation", "note", "sha256")},
        "created_by": f"cmdml {version('cmdml')}", **(about or {}),
    }  # fmt: skip
    _write(folder, run, reference, card, (readme or _readme)(card | {"unseen": findings.unseen}))
    return load_head(folder)


def _write(folder: Path, run: Path, reference: dict, card: dict, readme: str) -> None:
    """The files of a head; the seal is the last, so that a folder is whole or has none."""
    (folder / SEAL).unlink(missing_ok=True)
    for file in ("config.json", "weights.safetensors"):
        write_whole(folder / file, lambda path, file=file: shutil.copyfile(run / file, path))
    write_whole(folder / "reference.safetensors", lambda path: save_file(reference, path))
    write_json(folder / "card.json", card)
    write_text(folder / "README.md", readme)
    seal(folder, FILES, FORMAT)


def _normal_film(data, normal: np.ndarray, given) -> dict[str, Tensor]:
    """The mean of normal training films; that which was given, where the data are features."""
    if given is None and data.pixels.ndim == 3:
        given = data.pixels[normal[:NORMALS]].mean(0).round()
    return {} if given is None else {"normal_film": torch.from_numpy(np.array(given, np.uint8))}


@torch.inference_mode()
def _features(model: CMDML, data, rows: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """What the regression module reads of these films, (M, F)."""
    parts = []
    for start in range(0, len(rows), batch_size):
        films = torch.from_numpy(np.array(data.pixels[rows[start : start + batch_size]]))
        parts.append(model.visual_extractor(films if films.ndim == 2 else films.unsqueeze(1)).float())
    return torch.cat(parts).numpy()


def words_reference(semantics: str, model: str) -> dict[str, Tensor]:
    """The vectors of which words of one's own are made, for runs that were told words."""
    if semantics == "signs_text":
        told = text_vectors(list(attribute_sentences().values()), model).double()
        centre = told.mean(dim=0)
        return {"attributes": (told - centre).float(), "centre": centre.float()}
    return {"attributes": torch.eye(len(load_attributes()))} if semantics == "signs" else {}


def _backbone(data) -> dict | None:
    """What extracted the features; None for images."""
    if data.pixels.ndim > 2:
        return None
    return {name: data.card[name] for name in ("backbone", "weights", "weights_sha256", "layers")}


def _readme(card: dict) -> str:
    data = card["data"]
    about = f"A trained head of cmdml, {NOTICE}. Trained on {data['title']}. Licence of the films: {data['licence']}."
    unseen = ", ".join(card["unseen"]) or "none"
    return f"# {card['name']}\n\n{about} {data['citation']}.\n\nFindings that it never saw: {unseen}.\n"
