"""A network per quadruple: what it is shown, what is kept of it, and that everything after works on that."""

from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from cmdml.config import TrainConfig
from cmdml.feature_set import FeatureSet
from cmdml.findings import KEYS
from cmdml.radiographs import RadiographSet, write_radiographs
from cmdml.study import rotation_extractors
from cmdml.study.anatomy import Scores, counted
from cmdml.study.rotation import Rotation, features_folder, folder, score
from cmdml.study.rotation_extractors import config_of, extract_features, headless
from cmdml.study.scorers import Scorer, methods
from cmdml.training import build_model

HIDDEN = 12


@pytest.fixture(scope="module")
def drawn(tiny, rotation_profile, tmp_path_factory):
    """A profile whose rotation trains an extractor on the tiny radiographs; nothing of it was run."""
    folder = tmp_path_factory.mktemp("drawn")
    write_again(tiny, folder / "runs/radiographs")
    parameters = rotation_profile["parameters"] | {
        "run_dir": str(folder / "runs"), "backbone": "small_cnn", "tune": "all", "hidden": HIDDEN,
        "precision": "32-true", "semantics": "description", "augment": True}  # fmt: skip
    given = rotation_profile["rotation"]
    plan = {name: given[name] for name in ("replicates", "permutations", "pseudo", "closed", "comparisons")} | {
        "features": "", "random_features": "", "designs": [3], "folds": 1, "without": ["source"],
        "extractor": {"quadruples": 7, "parameters": {"objective": "bce", "semantics": "one_hot", "epochs": 1}},
        "trained": given["trained"] | {"parameters": {"tune": "frozen", "semantics": "signs_text", "epochs": 1}},
    }  # fmt: skip
    return {"name": "drawn", "parameters": parameters, "rotation": plan}


def write_again(radiographs, folder, labels=None):
    """The same films in another folder, perhaps with other labels."""
    table = radiographs.table if labels is None else radiographs.table.assign(**dict(zip(KEYS, labels.T, strict=True)))

    def fill(pixels):
        pixels[:] = radiographs.pixels

    card = {key: radiographs.card[key] for key in ("name", "title", "source", "licence", "citation", "findings")}
    return write_radiographs(folder, table=table, size=radiographs.size, fill=fill, card=card | {"made_with": {}})


def test_one_cell_of_the_set_s_own_split(drawn, tiny):
    rotation, other = Rotation.of(drawn, 3), Rotation.of(drawn, 4)
    assert rotation.sets == other.sets and len(rotation.sets) == 14  # seeds share the quadruples
    cell, split = rotation.cell(2, 0), tiny.table["split"].to_numpy()
    for part, rows in (("test", cell.test), ("val", cell.val), ("train", cell.pool)):
        assert (rows == np.flatnonzero(split == part)).all()
    assert (rotation.tested == (split == "test")).all()


def test_what_is_kept_is_the_layer_before_the_last(vectors, tiny):
    torch.manual_seed(0)
    config = TrainConfig(backbone="small_cnn", hidden=HIDDEN, dropout=0.5)
    model = build_model(config, vectors).eval()
    images = torch.from_numpy(np.array(tiny.pixels[:5]))[:, None]
    with torch.inference_mode():
        linear, act, _, _ = model.visual_regression
        wanted = act(linear(model.visual_extractor(images)))
        made = headless(model.train())  # in evaluation mode, whatever the model was in
        np.testing.assert_allclose(made(images), wanted, atol=1e-6)
    assert made.features == HIDDEN
    for without in ({"hidden": 0}, {"direction": "semantic_to_visual"}):
        with pytest.raises(ValueError, match="needs a hidden layer"):
            headless(build_model(TrainConfig(backbone="small_cnn", **without), vectors))


@pytest.mark.parametrize("without", [{"hidden": 0}, {"direction": "semantic_to_visual"}])
def test_an_extractor_without_a_layer_to_freeze_is_refused_before_it_is_trained(drawn, without):
    plan = drawn["rotation"]
    own = plan["extractor"] | {"parameters": plan["extractor"]["parameters"] | without}
    with pytest.raises(ValueError, match="needs a hidden layer before its visual head: set hidden to 1 or more, and"):
        config_of(drawn | {"rotation": plan | {"extractor": own}}, 3)


def test_a_network_is_trained_on_training_films_and_its_epoch_chosen_on_validation(drawn, monkeypatch):
    asked = []
    monkeypatch.setattr(rotation_extractors, "fit", lambda parts, *given, **named: asked.append(parts) or Mock())
    rotation = Rotation.of(drawn, 3)
    rotation_extractors.trained(rotation, 2)
    split, (parts,) = rotation.films.table["split"].to_numpy(), asked
    assert parts.findings == rotation.cell(2, 0).findings and parts.radiographs is rotation.films
    np.testing.assert_array_equal(parts.val, np.flatnonzero(split == "val"))
    np.testing.assert_array_equal(parts.test, np.flatnonzero(split == "test"))
    unseen = rotation.films.labels[:, list(rotation.sets[2])].any(1)
    np.testing.assert_array_equal(parts.train, np.flatnonzero((split == "train") & ~unseen))


def test_a_network_is_shown_no_label_of_its_unseen_findings_and_no_test_label(drawn, tiny, tmp_path, monkeypatch):
    rotation = Rotation.of(drawn, 3)
    cell, labels = rotation.cell(0, 0), tiny.labels.copy()
    labels[np.ix_(np.concatenate([cell.val, cell.test]), list(rotation.sets[0]))] ^= 1
    labels[cell.test] = labels[np.random.default_rng(0).permutation(cell.test)]
    elsewhere = drawn | {"parameters": drawn["parameters"] | {"run_dir": str(tmp_path)}}
    write_again(tiny, tmp_path / "radiographs", labels)
    one, other = (FeatureSet.load(extract_features(profile, 3, "0")) for profile in (drawn, elsewhere))
    trained = [load_file(folder(profile, 3) / "training/0/weights.safetensors") for profile in (drawn, elsewhere)]
    for name, weights in trained[0].items():
        np.testing.assert_array_equal(weights, trained[1][name], err_msg=name)
    np.testing.assert_array_equal(one.pixels, other.pixels)
    assert one.pixels.shape == (len(tiny), HIDDEN) and one.card["radiographs_sha256"] == tiny.card["sha256"]


def test_networks_differ_by_quadruple_and_seed_and_are_made_once(drawn, monkeypatch):
    made = {one: FeatureSet.load(extract_features(drawn, *one)).pixels for one in ((3, "0"), (3, "1"), (4, "0"))}
    assert not np.allclose(made[3, "0"], made[3, "1"]) and not np.allclose(made[3, "0"], made[4, "0"])
    monkeypatch.setattr("cmdml.feature_writing._append", None)  # nothing is extracted again
    extract_features(drawn, 3, "0")
    for which in ("14", "-1", "one"):
        with pytest.raises(ValueError, match=f"quadruple '{which}': the design has 0 to 13, or random"):
            extract_features(drawn, 3, which)


def test_methods_see_the_network_of_their_quadruple(drawn):
    for which in ("0", "1", "random"):
        extract_features(drawn, 3, which)
    rotation = Rotation.of(drawn, 3)
    for quadruple in (0, 1):
        scorer = Scorer(rotation, "eszsl", quadruple)
        stored = FeatureSet.load(features_folder(drawn, 3, quadruple)).pixels
        assert (scorer.films.pixels == stored).all()
    cell = rotation.cell(1, 0)
    for method in ("focused", "eszsl", "ceiling", "random_weights", "view"):
        scorer = Scorer(rotation, method, 1)
        assert np.isfinite(scorer(cell, scorer.settings()[0], cell.test)).all(), method
    values, _ = config_of(drawn, 3)
    assert (values.objective, values.tune, values.epochs, values.seed) == ("bce", "all", 1, 3)
    assert "source" not in methods(drawn["rotation"])


def test_tables_count_the_test_films_alone(drawn, tiny, monkeypatch):
    """All quadruples get the features of two networks: what is counted is asked here, not what is scored."""
    for which in ("0", "1", "random"):
        extract_features(drawn, 3, which)

    def of_two(profile, seed, which):
        return features_folder(profile, seed, which if which == "random" else int(which) % 2)

    monkeypatch.setattr("cmdml.study.rotation.features_folder", of_two)
    only = ["eszsl", "mean_of_seen"]
    for method in only:
        with safe_open(score(drawn, 3, method), framework="np") as file:
            scores = file.get_tensor("scores")
        test = (tiny.table["split"] == "test").to_numpy()
        assert np.isfinite(scores[:, test]).all() and np.isnan(scores[:, ~test]).all()
    scores = Scores(drawn, only)
    assert scores.strata == ["none", "view"]
    values, counts = scores.cells("all", "none")
    c = scores.finding[0, 0]
    assert counts[0, 0] == tiny.labels[test, c].sum() and np.isfinite(values).all()
    assert scores.weights.shape[1] == tiny.table["patient"][test].nunique()  # nobody else is drawn
    ill = int(tiny.labels[test].any(1).sum())
    assert counted(scores) == {"films": len(tiny), "tested": int(test.sum()), "abnormal": ill}


def test_a_rotation_with_features_trains_no_extractor(rotation_profile):
    with pytest.raises(ValueError, match="trains no extractor"):
        extract_features(rotation_profile, 1, "0")


def test_features_of_other_radiographs_are_refused(drawn, tiny, tmp_path):
    extract_features(drawn, 3, "0")
    rotation = Rotation.of(drawn, 3)
    other = RadiographSet(tiny.pixels, tiny.table, tiny.card | {"sha256": "another"}, tiny.folder)
    changed = Rotation(drawn, 3, other, rotation.sets, rotation.fold)
    with pytest.raises(ValueError, match="of other radiographs: delete it"):
        changed.features(0)


def test_trainings_run_on_the_cpu_in_the_folder_of_their_seed_and_quadruple(drawn, told, monkeypatch):
    asked = []
    monkeypatch.setattr(rotation_extractors, "fit", lambda parts, vectors, config, out, **how: asked.append(
        (parts, vectors, config, out, how)) or SimpleNamespace(model="model"))  # fmt: skip
    rotation = Rotation.of(drawn, 3)
    assert rotation_extractors.trained(rotation, 5) == "model"
    ((parts, vectors, config, out, how),) = asked
    assert out == folder(drawn, 3) / "training/5" and how == {"progress": False, "accelerator": "cpu"}
    assert parts.findings.unseen == tuple(KEYS[c] for c in rotation.sets[5]) and config.seed == 3
    assert told == ["one_hot"] and vectors.shape == (14, 14)  # one_hot, of the extractor's own parameters


def test_an_extractor_is_trained_and_read_on_the_device_of_its_profile(drawn, monkeypatch):
    plan = drawn["rotation"]
    on_gpu = drawn | {"rotation": plan | {"extractor": plan["extractor"] | {"device": "cuda"}}}
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(rotation_extractors, "headless", lambda model: model)
    monkeypatch.setattr(rotation_extractors, "fit", lambda *_, accelerator, **__: asked.append(accelerator) or Mock())
    monkeypatch.setattr(rotation_extractors, "extract", lambda *_, device, **__: asked.append(device))
    for profile in (drawn, on_gpu):
        extract_features(profile, 3, "1")
    assert asked == ["cpu", "cpu", "cuda", "cuda"]


def test_a_device_that_is_not_there_is_said_before_anything_is_trained(drawn, monkeypatch):
    plan = drawn["rotation"]
    on_gpu = drawn | {"rotation": plan | {"extractor": plan["extractor"] | {"device": "cuda"}}}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(rotation_extractors, "extract", Mock(side_effect=AssertionError))
    said = "profile drawn: rotation.extractor.device is cuda, and torch finds no GPU here"
    for which in ("0", "random"):
        with pytest.raises(ValueError, match=said):
            extract_features(on_gpu, 3, which)


def test_an_untrained_network_follows_from_the_seed_and_leaves_other_draws_alone(drawn, tmp_path):
    elsewhere = drawn | {"parameters": drawn["parameters"] | {"run_dir": str(tmp_path)}}
    (tmp_path / "radiographs").symlink_to(folder(drawn, 3).parents[1] / "radiographs")
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    one, other = (FeatureSet.load(extract_features(elsewhere, seed, "random")).pixels for seed in (3, 4))
    assert (torch.rand(3) == wanted).all() and not np.allclose(one, other)
    assert features_folder(elsewhere, 3, "random") == tmp_path / "rotation/3/features/random"
    torch.manual_seed(7)
    again = FeatureSet.load(extract_features(drawn, 3, "random")).pixels
    np.testing.assert_array_equal(one, again)


def test_a_single_linear_map_has_no_layer_before_its_last_and_two_hidden_layers_have(vectors):
    model = build_model(TrainConfig(backbone="small_cnn", hidden=[5, 7]), vectors)
    layers = [*model.visual_regression]
    assert headless(model).features == 7 and [*model.visual_extractor.net][1:] == layers[:-1]


def test_what_a_network_is_told_without_effect_is_refused_and_what_it_inherits_is_not(drawn):
    inherits = drawn | {"parameters": drawn["parameters"] | {"gamma": 3.0}}
    assert config_of(inherits, 3)[0].objective == "bce"
    plan = drawn["rotation"]
    own = plan["extractor"] | {"parameters": plan["extractor"]["parameters"] | {"gamma": 3.0}}
    with pytest.raises(ValueError, match="objective bce does not use gamma"):
        config_of(drawn | {"rotation": plan | {"extractor": own}}, 3)
