"""A made feature set in which signs can be read off the features: what a rotation must find there is known."""

import runpy
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from cmdml import store
from cmdml.feature_set import FeatureSet, csv_text, write_card
from cmdml.findings import KEYS, findings_of
from cmdml.semantics import semantic_vectors
from cmdml.study.never_labelled import SIGNS
from cmdml.study.rotation import Rotation, score
from cmdml.study.scorers import methods

FILMS, FEATURES = 300, 20


def write_features(stem, features, table):
    features_file, rows = stem.with_suffix(".safetensors"), stem.with_suffix(".csv")
    stem.parent.mkdir(parents=True, exist_ok=True)
    save_file({"features": features.astype(np.float16)}, features_file)
    rows.write_text(csv_text(table), encoding="utf-8")
    card = {"name": stem.name, "findings": list(KEYS), "size": 64, "layers": {"last": features.shape[1]}}
    write_card(stem.with_suffix(".json"), card | {"columns": store.column_kinds(table)}, features_file, rows)
    return FeatureSet.load(stem)


@pytest.fixture(scope="session")
def rotation_profile(tmp_path_factory):
    """A profile with a small rotation over 300 made films, one to three per patient; nothing of it was run."""
    folder, rng = tmp_path_factory.mktemp("rotation"), np.random.default_rng(0)
    labels = (rng.random((FILMS, len(KEYS))) < 0.12).astype(np.uint8)
    patient = np.sort(rng.choice(150, FILMS))
    signs = semantic_vectors(findings_of(KEYS), "signs").numpy() > 0
    seen_in_film = (labels.astype(float) @ signs > 0).astype(float)  # (N, A): the film shows a sign or not
    table = pd.DataFrame({
        "image": [f"{i:05d}.png" for i in range(FILMS)], "patient": [f"p{p:03d}" for p in patient], "split": "train",
        "view": rng.choice(["PA", "AP", ""], FILMS), "age": rng.integers(20, 90, FILMS).astype(float),
        "sex": rng.choice(["F", "M"], FILMS), "source_repo": rng.choice(["a", "b", "c"], FILMS),
    }).join(pd.DataFrame(labels, columns=list(KEYS)))  # fmt: skip
    shown = seen_in_film @ rng.normal(size=(signs.shape[1], FEATURES)) + 0.3 * rng.normal(size=(FILMS, FEATURES))
    write_features(folder / "seeing", shown, table)
    write_features(folder / "blind", rng.normal(size=(FILMS, FEATURES)), table)
    parameters = {"objective": "focused", "semantics": "signs_text", "tune": "frozen", "backbone": "efficientnet_lite0",
                  "epochs": 3, "batch_size": 32, "lr": 0.01, "dim": 8, "hidden": 8, "weight_decay": 0.05,
                  "run_dir": str(folder / "runs")}  # fmt: skip
    plan = {
        "features": str(folder / "seeing"), "random_features": str(folder / "blind"), "designs": [1], "folds": 3,
        "replicates": 20, "permutations": 9, "pseudo": {"draws": 1, "unseen": 2},
        "trained": {"settings": {"hidden": [0, 8]}, "methods": {"focused": {}}},
        "closed": {"ridge": [1.0, 100.0], "semantic_ridge": [0.1, 1.0]},
        "comparisons": {"primary": [["focused", "mean_of_seen"]],
                        "secondary": [["focused", "eszsl"], ["eszsl", "ceiling"]], "strata": ["none", "source_view"]},
    }  # fmt: skip
    return {"name": "made", "parameters": parameters, "rotation": plan}


@pytest.fixture(scope="session")
def rotation(rotation_profile):
    return Rotation.of(rotation_profile, 1)


@pytest.fixture(scope="session")
def scored(rotation_profile):
    """The files of every method: {method: path}."""
    return {method: score(rotation_profile, 1, method) for method in methods(rotation_profile["rotation"])}


@pytest.fixture(scope="session")
def altered():
    """``altered(rotation, labels=…, pixels=…)``: the same quadruples and folds, other labels or features."""

    def change(rotation, labels=None, pixels=None):
        def films(one):
            table = one.table if labels is None else one.table.assign(**dict(zip(KEYS, labels.T, strict=True)))
            return replace(one, table=table, pixels=one.pixels if pixels is None else pixels(one.pixels))

        changed = replace(rotation, films=films(rotation.films))
        changed.__dict__["random"] = films(rotation.random)  # else it would be read from its file
        return changed

    return change


@pytest.fixture
def as_command(monkeypatch):
    """``as_command("cmdml.study.rotate", "run", …)``: what the module ends with as a command; None: it just ends."""

    def start(module, *words):
        monkeypatch.setattr(sys, "argv", [module, *map(str, words)])
        monkeypatch.delitem(sys.modules, module, raising=False)
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit as ended:
            return ended.code

    return start


@pytest.fixture
def at_once():
    """Takes the place of ``workers``: a pool whose work is done here, where what was replaced is replaced."""

    class Pool:
        map = staticmethod(map)

    @contextmanager
    def workers():
        yield Pool

    return workers


@pytest.fixture(scope="session")
def root(rotation, tmp_path_factory):
    """A download's label tables for the made films: some films, other labels."""
    folder, rng, images = tmp_path_factory.mktemp("tables"), np.random.default_rng(2), rotation.films.table["image"]
    n = len(images)
    cxr = pd.DataFrame({"image": images, "Subcutaneous Emphysema": rng.integers(0, 2, n)})
    cxr = cxr.assign(**{name: (rng.random(n) < 0.2).astype(int) for name in SIGNS if name != "Fracture"})
    cxr.to_csv(folder / "labels_cxr_lt.csv", index=False)
    read = rng.random(n) < 0.7
    labels = rotation.films.labels ^ (rng.random((n, len(KEYS))) < 0.1)
    theirs = pd.DataFrame(labels, columns=[key.replace("_", " ") for key in KEYS])
    theirs.insert(0, "image", images)
    theirs[read].to_csv(folder / "labels_radiologists_14.csv", index=False)
    fracture = (rng.random(n) < 0.3).astype(int)
    broken = pd.DataFrame({"image": images, "Fracture": fracture, "in_810_PA_set": read.astype(int)})
    broken.to_csv(folder / "labels_radiologists_4.csv", index=False)
    return folder


@pytest.fixture
def told(monkeypatch):
    """Which semantics a rotation is asked for, in order."""
    asked, real = [], Rotation.vectors
    monkeypatch.setattr(Rotation, "vectors", lambda self, semantics: asked.append(semantics) or real(self, semantics))
    return asked
