"""Children of another hospital: pairs are compared, pairs are drawn, and no label of theirs is read."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cmdml.feature_set import FeatureSet
from cmdml.findings import KEYS, split_findings
from cmdml.study import transfer
from cmdml.study.transfer import FILE, MODELS, compared, file_scores, measured, pneumonia_scores, rotation_of, together


@pytest.fixture(scope="module")
def children(rotation):
    """Forty films: fifteen pairs, ten without a partner."""
    rng, n = np.random.default_rng(5), 40
    ill = np.tile([0, 1], n // 2)
    table = pd.DataFrame({
        "image": [f"c{i:02d}.png" for i in range(n)], "patient": [f"c{i:02d}" for i in range(n)], "split": "test",
        "view": "AP", "age": np.nan, "sex": "", "source_repo": "other",
        "matched_pair": [f"a{i // 2:02d}" if i < 30 else "" for i in range(n)],
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


def test_the_interval_within_pairs_is_that_of_the_mean_of_drawn_pairs(children):
    """A pair that is drawn twice counts twice, so the interval is the plain bootstrap of a mean."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(1, 40)) + 0.3 * children.table["Pneumonia"].to_numpy()
    row = compared(children.table, scores, 2000)[0]
    wins = (scores[0, 1:30:2] > scores[0, 0:30:2]).astype(float)
    means = wins[np.random.default_rng(5).integers(0, 15, (20000, 15))].mean(1)
    assert [row["low"], row["high"]] == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.04)


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


def test_properties_are_signed_as_the_warning_says_them(children):
    made, table = file_scores(children.table), children.table
    area = table["original_width"] * table["original_height"]
    wanted = {"bytes": -table["original_bytes"], "width": -table["original_width"], "mean_grey": -table["mean_grey"],
              "aspect": table["original_width"] / table["original_height"], "sharp": -table["sharp"],
              "bytes_per_pixel": -table["original_bytes"] / area}  # fmt: skip
    for name, values in wanted.items():
        np.testing.assert_allclose(made[name], values, err_msg=name)


def test_intervals_are_those_of_drawing_pairs_and_films_without_a_partner(children):
    """By hand, with the draws of seed 0: 15 pairs of 15, then 25 units of all 25."""
    scores, ill = np.random.default_rng(1).normal(size=(2, 40)), children.table["Pneumonia"].to_numpy() == 1
    pair = children.table["matched_pair"]
    unit = np.where(pair == "", children.table["image"], pair)
    names = sorted(set(unit))
    kept = {True: [name for name in names if name in set(pair)], False: names}
    table = pd.DataFrame(compared(children.table, scores, 60)).set_index("films")
    for films, paired in (("of pairs", True), ("all", False)):
        rng, draws = np.random.default_rng(0), []
        for times in rng.multinomial(len(kept[paired]), np.full(len(kept[paired]), 1 / len(kept[paired])), size=60):
            weight = dict(zip(kept[paired], times))
            w = np.array([weight.get(one, 0) for one in unit])
            draws.append(np.mean([roc_auc_score(ill, s, sample_weight=w) for s in scores]))
        row = table.loc[films]
        np.testing.assert_allclose([row.low, row.high], np.quantile(draws, [0.025, 0.975]), atol=1e-9, err_msg=films)


def test_adults_come_first_and_columns_are_those_of_both(adults, children):
    films = together(adults, children)
    assert list(films.table["image"]) == [*adults.table["image"], *children.table["image"]]
    assert list(films.table.index) == list(range(len(adults) + 40)) and "matched_pair" not in films.table
    np.testing.assert_array_equal(films.pixels[len(adults):], children.pixels)
    assert films.card == adults.card
    other = FeatureSet(children.pixels, children.table, children.card | {"layers": {"other": 3}}, "children")
    with pytest.raises(ValueError, match="children and adults are of two backbones"):
        together(adults, other)


def test_every_film_that_is_no_child_takes_part_with_the_seed_and_findings_it_was_told(profile, adults, children):
    films = together(adults, children)
    rotation = rotation_of(profile, films, len(adults), ("Mass",), 7)
    assert rotation.design == 7 and rotation.sets == ((KEYS.index("Mass"),),)
    assert rotation.profile["rotation"]["folds"] == 1 and profile["rotation"]["folds"] == 3
    assert (rotation.tested == (np.arange(len(films)) >= len(adults))).all()


def test_three_seeds_score_pneumonia_seen_and_unseen(profile, adults, children, monkeypatch):
    asked = []

    def scored_by(rotations, method):
        findings = rotations[0].cell(0, 0).findings
        asked.append((method, [one.design for one in rotations], findings.unseen))
        return np.tile(np.arange(len(KEYS)), (3, 40, 1)), {}

    monkeypatch.setattr(transfer, "scored_by", scored_by)
    five = profile | {"rotation": profile["rotation"] | {"designs": [5, 1, 4, 2, 3]}}
    made = pneumonia_scores(five, adults, children)
    assert all((scores == KEYS.index("Pneumonia")).all() and scores.shape == (3, 40) for scores in made.values())
    default = split_findings(KEYS, "default").unseen
    rest = tuple(key for key in default if key != "Pneumonia")
    assert asked == [*((m, [5, 1, 4], default) for m in MODELS),
                     *((m, [5, 1, 4], rest) for m in MODELS if m != "ceiling")]  # fmt: skip


def test_rows_of_models_are_of_what_was_told(profile, adults, children, monkeypatch):
    monkeypatch.setattr(transfer, "pneumonia_scores", lambda *given: {
        ("eszsl", "seen"): np.arange(40.0)[None] if given == (profile, adults, children) else None})  # fmt: skip
    rows = measured(profile, "64 px", adults, children)
    assert [(r["size"], r["method"], r["pneumonia"], r["films"]) for r in rows] == [
        ("64 px", "eszsl", "seen", films) for films in ("within pairs", "of pairs", "all")]  # fmt: skip


def test_the_auroc_of_several_heads_is_the_mean_of_theirs_not_that_of_their_mean(
    profile, adults, children, monkeypatch
):
    heads = np.random.default_rng(0).normal(size=(3, len(children)))
    monkeypatch.setattr(transfer, "pneumonia_scores", lambda *_: {("focused", "unseen"): heads})
    found = {row["films"]: row["value"] for row in measured(profile, "64 px", adults, children)}
    ill = children.table["Pneumonia"] == 1
    mean = np.mean([roc_auc_score(ill, scores) for scores in heads])
    assert found["all"] == pytest.approx(mean) and abs(mean - roc_auc_score(ill, heads.mean(0))) > 1e-3


@pytest.mark.parametrize("nih_root", ["", "/nih"])
def test_children_are_prepared_at_each_size_and_compared_with_adults_of_that_size(
        profile, adults, children, monkeypatch, at_once, tmp_path, nih_root):  # fmt: skip
    values = profile["parameters"] | {"run_dir": str(tmp_path), "size": 224, "backbone": "b", "weights": "w",
                                      "exclude_sources": ["c"], "npz": "/secret"}  # fmt: skip
    own = profile | {"parameters": values, "rotation": profile["rotation"] | {"designs": [5, 1, 4, 2]}}
    asked, published, folder = [], [], tmp_path / "transfer"
    small = adults.table["source_repo"].ne("c").to_numpy()
    monkeypatch.setattr(transfer.run, "load_profile", lambda name: own)
    monkeypatch.setattr(transfer.kermany, "prepare",
                        lambda out, root, size: asked.append((out, str(root), size)) or "x")  # fmt: skip
    monkeypatch.setattr(transfer, "extract", lambda films, out, **how: asked.append((films, out, how)) or children)
    monkeypatch.setattr(transfer, "films_of", lambda given: adults if given is own else None)
    monkeypatch.setattr(transfer, "films_at", lambda given, root, size: asked.append((root, size)) or adults)
    monkeypatch.setattr(transfer, "workers", at_once)
    monkeypatch.setattr(transfer, "measured", lambda given, size, of, them: [{"size": size, "adults": of and len(of)}])
    monkeypatch.setattr(transfer.run, "publish", lambda out, tables, **about: published.append((out, tables, about)))
    transfer.main("made", "/kermany", *([nih_root] if nih_root else []))
    how = {"backbone": "b", "weights": "w"}
    at_64 = [(folder / "radiographs-64", "/kermany", 64), ("x", folder / "features-64", how), ("/nih", 64)]
    assert asked == [(folder / "radiographs-224", "/kermany", 224), ("x", folder / "features-224", how),
                     *(at_64 if nih_root else [])]  # fmt: skip
    ((out, tables, about),) = published
    sizes = {"224 px": len(adults)} | ({"64 px": int(small.sum())} if nih_root else {})
    assert out == "data/results/transfer-kermany" and about["adults"] == sizes and about["seed"] == [5, 1, 4]
    rows = tables["transfer"].astype(object).where(tables["transfer"].notna(), None)
    assert list(rows.itertuples(index=False, name=None)) == [("file", None), *sizes.items()]
    ill = {"224 px": adults.table["Pneumonia"].sum(), "64 px": adults.table["Pneumonia"][small].sum()}
    assert about["adults_with_pneumonia"] == {size: ill[size] for size in sizes} and ill["64 px"] < ill["224 px"]
    assert about["data_sha256"] == dict.fromkeys(sizes, "children") and about["profile"] == "made"
    assert about["adults_sha256"] == dict.fromkeys(sizes, adults.card["sha256"])
    assert about["command"].endswith("made KERMANY_ROOT NIH_ROOT" if nih_root else "made KERMANY_ROOT")
    assert "npz" not in about["parameters"] and about["warnings"] == list(transfer.kermany.WARNINGS)


def test_the_command_ends_in_one_sentence(as_command):
    assert as_command("cmdml.study.transfer", "fantom", "/r").startswith("transfer stopped. unknown profile 'fantom'")
