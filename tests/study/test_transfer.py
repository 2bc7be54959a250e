"""Children of another hospital: pairs are compared, pairs are drawn, and no label of theirs is read."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cmdml.feature_set import FeatureSet
from cmdml.findings import KEYS
from cmdml.study.transfer import FILE, MODELS, compared, file_scores, measured, pneumonia_scores, rotation_of, together


@pytest.fixture(scope="module")
def children(rotation):
    """Forty films: fifteen pairs, ten without a partner."""
    rng, n = np.random.default_rng(5), 40
    ill = np.tile([0, 1], n // 2)
    table = pd.DataFrame({
        "image": [f"c{i:02d}.png" for i in range(n)], "patient": [f"c{i:02d}" for i in range(n)], "split": "test",
        "view": "AP", "age": np.nan, "sex": "", "source_repo": "other",
        "matched_pair": [f"p{i // 2:02d}" if i < 30 else "" for i in range(n)],
        "original_width": 1000 - 200 * ill + rng.integers(0, 300, n), "original_height": 1000,
        "original_bytes": 400_000 - 100_000 * ill, "sharp": 20 - 3.0 * ill + rng.normal(size=n), "mean_grey": 100.0,
    }).assign(**dict.fromkeys(KEYS, 0) | {"Pneumonia": ill})  # fmt: skip
    pixels = rng.normal(size=(n, rotation.films.pixels.shape[1])).astype(np.float16)
    return FeatureSet(pixels, table, rotation.films.card | {"sha256": "children", "weights_sha256": "w"}, "children")


@pytest.fixture(scope="module")
def adults(rotation):
    table = rotation.films.table.copy()
    of = np.unique(table["patient"], return_inverse=True)[1] % 5
    table["split"] = np.array(["train", "train", "test", "val", "train"])[of]
    return FeatureSet(rotation.films.pixels, table, rotation.films.card | {"weights_sha256": "w"}, "adults")


@pytest.fixture(scope="module")
def profile(rotation_profile):
    plan, told = rotation_profile["rotation"], ("description", "shuffled")
    heads = {"focused": {}} | {f"focused_{semantics}": {"semantics": semantics} for semantics in told}
    return rotation_profile | {"parameters": rotation_profile["parameters"] | {"unseen": "default", "epochs": 1},
                               "rotation": plan | {"trained": plan["trained"] | {"methods": heads}}}  # fmt: skip


def test_within_pairs_a_film_is_compared_with_its_partner_alone(children):
    scores = np.random.default_rng(1).normal(size=(2, 40)) + children.table["Pneumonia"].to_numpy()
    scores[:, 4] = scores[:, 5]  # a tie counts half
    table = pd.DataFrame(compared(children.table, scores, 200)).set_index("films")
    wins = [np.mean([(one[2 * i + 1] > one[2 * i]) + 0.5 * (one[2 * i + 1] == one[2 * i]) for i in range(15)])
            for one in scores]  # fmt: skip
    assert table.loc["within pairs", "value"] == pytest.approx(np.mean(wins))
    ill = children.table["Pneumonia"].to_numpy()
    for films, n in (("of pairs", 30), ("all", 40)):
        assert table.loc[films, "value"] == pytest.approx(np.mean([roc_auc_score(ill[:n], one[:n]) for one in scores]))
    assert list(table["positives"]) == [15, 15, 20] and list(table["negatives"]) == [15, 15, 20]
    assert (table["low"] < table["value"]).all() and (table["value"] < table["high"]).all()


def test_pairs_are_drawn_not_films(children):
    """In every pair both films have the pair's own score and a half: no draw of pairs can change the comparison."""
    pair = np.arange(40) // 2
    scores = (10.0 * (pair % 2) + children.table["Pneumonia"]).to_numpy()[None]
    row = compared(children.table, scores, 100)[0]
    assert (row["value"], row["low"], row["high"]) == (1.0, 1.0, 1.0)
    of_pairs = compared(children.table, scores, 100)[1]
    assert of_pairs["low"] > 0.5  # a bootstrap of films would now and then draw high pairs' normals alone


def test_properties_of_the_file_say_pneumonia_where_the_warning_says_so(children):
    made, ill = file_scores(children.table), children.table["Pneumonia"]
    assert set(made) == set(FILE)
    for name in ("bytes", "width", "sharp", "bytes_per_pixel"):
        assert roc_auc_score(ill, made[name]) > 0.6, name
    np.testing.assert_allclose(made["aspect"], children.table["original_width"] / 1000)


def test_children_are_tested_and_never_train_or_validate(profile, adults, children):
    films = together(adults, children)
    rotation = rotation_of(profile, films, len(adults), ("Edema", "Pneumonia"), 1)
    cell, split = rotation.cell(0, 0), adults.table["split"].to_numpy()
    assert (cell.test == np.arange(len(adults), len(films))).all()
    assert (cell.val == np.flatnonzero(split == "val")).all() and set(cell.pool) == set(np.flatnonzero(split != "val"))
    assert set(cell.findings.unseen) == {"Pneumonia", "Edema"}


def test_no_label_of_a_child_is_read(profile, adults, children):
    flipped = FeatureSet(children.pixels, children.table.assign(Pneumonia=1 - children.table["Pneumonia"]),
                         children.card, "children")  # fmt: skip
    one, other = (pneumonia_scores(profile, adults, films) for films in (children, flipped))
    blind = [method for method in MODELS if method != "ceiling"]
    assert set(one) == {*product(blind, ("seen", "unseen")), ("ceiling", "seen")}
    for key in one:
        np.testing.assert_array_equal(one[key], other[key])
    assert not np.allclose(one["eszsl", "seen"], one["eszsl", "unseen"])


def test_features_of_two_backbones_do_not_mix(adults, children):
    other = FeatureSet(children.pixels, children.table, children.card | {"weights_sha256": "x"}, "children")
    with pytest.raises(ValueError, match="of two backbones: extract one of them again"):
        together(adults, other)


def test_rows_of_the_files_alone(profile, children):
    rows = measured(profile, "file", None, children)
    assert {row["method"] for row in rows} == set(FILE) and {row["pneumonia"] for row in rows} == {"not told"}
