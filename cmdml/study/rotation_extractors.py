"""A rotation whose visual extractor is trained, too: one network per quadruple and seed, on what is seen there.

Where a profile's ``rotation`` has a section ``extractor``, there are no features that all quadruples could share: the
network that made them was shown labels. ``python -m cmdml.study.rotate extract PROFILE SEED QUADRUPLE`` trains one on
the seen findings of a quadruple and keeps what its last layer before the head makes of all films; with ``random`` for
the quadruple, what an untrained one makes of them. They lie in ``<run_dir>/rotation/<seed>/features/``.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from cmdml.config import TrainConfig, effective
from cmdml.extractors import VisualExtractor
from cmdml.features import extract
from cmdml.model import CMDML
from cmdml.radiographs import Partition
from cmdml.study.rotation import Rotation, features_folder, folder
from cmdml.training import build_model, fit

NO_LAYER = (
    "rotation.extractor needs a hidden layer before its visual head: set hidden to 1 or more, and direction to joint "
    "or visual_to_semantic"
)
BATCH = 256  # films that a forward pass takes at once


def config_of(profile: dict, seed: int) -> tuple[TrainConfig, str]:
    """The configuration of the networks of one seed, and their semantics (of the head that is thrown away)."""
    own = profile["rotation"]["extractor"]["parameters"]
    values = {**profile["parameters"], **own, "tune": "all", "seed": seed}
    values, _ = effective(values, own)
    config = TrainConfig.from_dict({f.name: values[f.name] for f in fields(TrainConfig) if f.name in values})
    if not config.hidden or config.direction == "semantic_to_visual":  # said before the hours of training
        raise ValueError(NO_LAYER)
    return config, values["semantics"]


def device_of(profile: dict) -> str:
    """Where the networks are trained: ``cpu``, whose digits another processor repeats, or ``cuda``."""
    device = profile["rotation"]["extractor"].get("device", "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"profile {profile['name']}: rotation.extractor.device is cuda, and torch finds no GPU here: "
                         "run it where there is one, or say `device: cpu`, which takes hours")  # fmt: skip
    return device


def headless(model: CMDML) -> VisualExtractor:
    """The visual stream of a model up to the layer before its last: what is frozen, without the head.

    Raises
    ------
    ValueError
        The visual regression module is a single linear map (``hidden: 0``), or there is none
        (``direction: semantic_to_visual``), so that there is no such layer.
    """
    layers, extractor = [*model.visual_regression.children()], model.visual_extractor
    if len(layers) < 2:
        raise ValueError(NO_LAYER)
    extractor.net, extractor.features = nn.Sequential(extractor.net, *layers[:-1]), layers[-1].in_features
    return extractor.eval()  # without its dropout


def trained(rotation: Rotation, quadruple: int) -> CMDML:
    """Train the network of a quadruple on the films and labels of its cell; an interrupted training goes on."""
    cell, films = rotation.cell(quadruple, 0), rotation.films
    config, semantics = config_of(rotation.profile, rotation.design)
    parts = Partition(films, cell.findings, cell.train, cell.val, cell.test, pd.DataFrame())
    out = folder(rotation.profile, rotation.design) / f"training/{quadruple}"
    vectors, device = rotation.vectors(semantics), device_of(rotation.profile)
    return fit(parts, vectors, config, out, progress=False, accelerator=device).model


def extract_features(profile: dict, seed: int, which: str) -> Path:
    """Make the features of one quadruple (its number) or of the untrained network (``random``); returns the folder.

    Raises
    ------
    ValueError
        The profile trains no extractor, or has no such quadruple.
    """
    if not profile["rotation"].get("extractor"):
        raise ValueError(f"profile {profile['name']}: its rotation has features and trains no extractor.")
    rotation = Rotation.of(profile, seed)
    names, device = [*map(str, range(len(rotation.sets))), "random"], device_of(profile)
    if which not in names:
        raise ValueError(f"quadruple {which!r}: the design has 0 to {len(rotation.sets) - 1}, or random")
    config, semantics = config_of(profile, seed)
    if which == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build_model(config, rotation.vectors(semantics))
    else:
        model = trained(rotation, int(which))
    out = features_folder(profile, seed, which)
    extract(rotation.films, out, backbone=config.backbone, extractor=headless(model), batch_size=BATCH, progress=False,
            device=device)  # fmt: skip
    return out
