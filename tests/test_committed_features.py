"""The features and films that the repository carries are what their pages say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cmdml.features import FeatureSet
from cmdml.findings import KEYS, split_findings
from cmdml.radiographs import partition

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def real():
    return FeatureSet.load(DATA / "features" / "nih-mini-efficientnet_lite0")


def test_the_committed_features_are_those_of_the_plan(real):
    assert real.pixels.shape == (2591, 432) and real.size == 224 and real.findings == KEYS
    assert int(real.labels.any(1).sum()) == 1667
    assert list(real.layers) == ["blocks.6", "blocks.4"]
    assert real.table["image"].is_monotonic_increasing
    assert (real.table["source_pixels"] >= 224).all()
    assert not real.table["source_repo"].isin(["muhammedtalo/COVID-19", "austinauyeung/covid-classifier"]).any()
    assert real.table.groupby("patient")["split"].nunique().max() == 1
    assert real.table["split"].value_counts().to_dict() == {"train": 1800, "test": 559, "val": 232}
    assert "download site" in real.card["terms"] and "ChestX-ray8" in real.card["citation"]


def test_they_are_partitioned_as_radiographs_are(real):
    split = partition(real, split_findings(KEYS))
    assert split.radiographs is real
    assert np.array_equal(split.test, np.flatnonzero(real.table["split"] == "test"))
    assert not real.labels[split.train][:, split.findings.unseen_mask].any()


def test_the_control_shares_the_rows_and_not_the_features(real):
    control = FeatureSet.load(DATA / "features" / "nih-mini-random")
    assert control.table.equals(real.table) and control.layers == real.layers
    assert control.card["weights"] == "" and real.card["weights"] == "imagenet"
    assert control.card["radiographs_sha256"] == real.card["radiographs_sha256"]
    assert not np.array_equal(control.pixels, real.pixels)


def test_the_folders_stay_small():
    for folder, limit in (("features", 5.5e6), ("films", 2e6)):
        assert sum(path.stat().st_size for path in (DATA / folder).iterdir()) < limit
    assert (DATA / "features" / "nih-mini-efficientnet_lite0.safetensors").stat().st_size < 3e6


def test_forty_films_by_the_rule_of_their_page(real):
    films = pd.read_csv(DATA / "films" / "films.csv", dtype={"patient": str})
    assert len(films) == 40 and sorted(films["image"]) == sorted(p.name for p in (DATA / "films").glob("*.png"))
    rows = real.table.set_index("image").loc[films["image"]].reset_index()
    assert rows.drop(columns=["age"]).astype(str).equals(films[rows.columns].drop(columns=["age"]).astype(str))
    for key in KEYS:
        chosen = films[films["chosen_for"] == key]
        assert sorted(chosen["view"]) == ["AP", "PA"] and (chosen[key] == 1).all()
    normal = films[films["chosen_for"] == "none"]
    assert normal["view"].value_counts().to_dict() == {"PA": 6, "AP": 6} and not normal[list(KEYS)].any(axis=None)
    for name in films["image"]:
        with Image.open(DATA / "films" / name) as image:
            assert image.size == (224, 224) and image.mode == "L"


def test_a_film_gives_its_features(real, tmp_path, monkeypatch):
    """The committed film through the committed way: the features of its row, within float16."""
    import torch

    from cmdml.extractors import VisualExtractor

    monkeypatch.setenv("CMDML_CACHE", str(tmp_path))
    name = pd.read_csv(DATA / "films" / "films.csv")["image"][0]
    with Image.open(DATA / "films" / name) as image:
        pixels = torch.from_numpy(np.asarray(image).copy())[None, None]
    with torch.inference_mode():
        found = VisualExtractor("efficientnet_lite0", "imagenet").eval()(pixels)[0].numpy()
    row = int(np.flatnonzero(real.table["image"] == name)[0])
    np.testing.assert_allclose(found, real.pixels[row, :320].astype(float), atol=5e-3, rtol=2e-3)
