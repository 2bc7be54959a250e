"""The folder of a training: whose it is, what is in it once it is finished, and what is refused."""

import dataclasses
import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from cmdml import run_folder
from cmdml.config import TrainConfig
from cmdml.files import SEAL, check_seal, seal
from cmdml.findings import KEYS, split_findings
from cmdml.run_folder import FORMAT, OBJECTIVE, PARTS, build_model, claim, load_run, save_run

CONFIG = TrainConfig(tune="frozen", dim=6, hidden=0, dropout=0.0, epochs=2, seed=3)
FINDINGS = split_findings(KEYS)
F = 9


def a_partition(**card):
    """Three, two and one films of a set with this card."""
    card = {"sha256": "of the films"} | card
    return SimpleNamespace(radiographs=SimpleNamespace(card=card), findings=FINDINGS, train=[1, 2, 3], val=[4, 5],
                           test=[6])  # fmt: skip


def test_a_claim_says_what_the_run_is_trained_on(tmp_path, vectors):
    digest = claim(tmp_path, a_partition(), vectors, CONFIG)
    held = json.loads((tmp_path / "config.json").read_text())
    assert held == {
        "config": json.loads(json.dumps(dataclasses.asdict(CONFIG))), "unseen": list(FINDINGS.unseen),
        "findings": list(KEYS), "data_sha256": "of the films", "images": {"train": 3, "val": 2, "test": 1},
        "semantic_sha256": hashlib.sha256(vectors.float().numpy().tobytes()).hexdigest(),
    }  # fmt: skip
    assert digest == hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()
    assert claim(tmp_path, a_partition(), vectors, CONFIG) == digest


def test_features_are_named_beside_their_films(tmp_path, vectors):
    claim(tmp_path, a_partition(radiographs_sha256="of the radiographs"), vectors, CONFIG)
    held = json.loads((tmp_path / "config.json").read_text())
    assert held["data_sha256"] == "of the radiographs" and held["features_sha256"] == "of the films"


@pytest.mark.parametrize("begun", [SEAL, "checkpoint.safetensors", "weights.safetensors"])
def test_a_begun_run_is_not_given_away(tmp_path, vectors, begun):
    claim(tmp_path, a_partition(), vectors, CONFIG)
    (tmp_path / begun).write_text("")
    before = (tmp_path / "config.json").read_bytes()
    other = dataclasses.replace(CONFIG, seed=4, epochs=7)
    with pytest.raises(ValueError) as caught:
        claim(tmp_path, a_partition(), vectors, other)
    assert str(caught.value) == (f"{tmp_path} holds a run of another configuration (epochs = 2 there, 7 now, "
                                 "seed = 3 there, 4 now): choose another `out` or delete that folder")  # fmt: skip
    with pytest.raises(ValueError, match=r"\(semantic_sha256 = '"):
        claim(tmp_path, a_partition(), vectors.flip(0), CONFIG)
    with pytest.raises(ValueError, match=r"\(data_sha256 = 'of the films' there, 'other' now\)"):
        claim(tmp_path, a_partition(sha256="other"), vectors, CONFIG)
    with pytest.raises(ValueError, match=r"features_sha256 = None there, 'x' now"):
        claim(tmp_path, a_partition(sha256="x", radiographs_sha256="of the films"), vectors, CONFIG)
    assert (tmp_path / "config.json").read_bytes() == before
    claim(tmp_path, a_partition(), vectors, CONFIG)


def test_three_differences_are_named_at_most(tmp_path, vectors):
    claim(tmp_path, a_partition(), vectors, CONFIG)
    (tmp_path / SEAL).write_text("")
    with pytest.raises(ValueError) as caught:
        claim(tmp_path, a_partition(), vectors, dataclasses.replace(CONFIG, dim=7, epochs=3, seed=9, lr=0.5))
    assert str(caught.value).count(" there, ") == 3


def test_a_configuration_that_trained_nothing_gives_way(tmp_path, vectors):
    first = claim(tmp_path, a_partition(), vectors, CONFIG)
    second = claim(tmp_path, a_partition(), vectors, dataclasses.replace(CONFIG, seed=4))
    assert first != second and json.loads((tmp_path / "config.json").read_text())["config"]["seed"] == 4


@pytest.mark.parametrize("text", ["[]", "{}", '{"config": 3}', "{"])
def test_a_damaged_configuration_is_refused(tmp_path, vectors, text):
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "weights.safetensors").write_text("")
    with pytest.raises(ValueError, match=r"config\.json is damaged.*: delete that folder and train again"):
        claim(tmp_path, a_partition(), vectors, CONFIG)


def saved(folder, vectors, learnt=None, config=CONFIG):
    """A finished training in ``folder``, and what went into it."""
    claim(folder, a_partition(), vectors, config)
    torch.manual_seed(0)
    model = build_model(config, vectors, F)
    weights = {name: value + 0.5 if value.is_floating_point() else value for name, value in model.state_dict().items()}
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.1 + 0.2, 1 / 3]})
    embeddings = {"index": np.array([4, 5, 6]), "scores": np.random.default_rng(0).normal(size=(3, 14))}
    save_run(folder, weights, history, embeddings, learnt or {})
    return weights, history, embeddings


def test_what_is_saved_is_what_is_loaded(tmp_path, vectors):
    weights, history, embeddings = saved(tmp_path, vectors)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*PARTS, SEAL])
    run = load_run(str(tmp_path))
    assert run.out == tmp_path and not run.model.training
    found = run.model.state_dict()
    assert found.keys() == weights.keys() and all(torch.equal(found[name], weights[name]) for name in weights)
    pd.testing.assert_frame_equal(run.history, history, check_exact=True)
    assert run.embeddings.keys() == embeddings.keys()
    assert all(np.array_equal(run.embeddings[name], embeddings[name]) for name in embeddings)


def test_a_saved_training_is_opened_without_the_weights_it_started_from(tmp_path, vectors, monkeypatch):
    saved(tmp_path, vectors)
    held = json.loads((tmp_path / "config.json").read_text())
    held["config"] |= {"backbone": "resnet18", "weights": "imagenet"}
    (tmp_path / "config.json").write_text(json.dumps(held))
    seal(tmp_path, PARTS, FORMAT)
    asked = []

    def building(config, *given):
        asked.append(config)
        return build_model(CONFIG, *given)

    monkeypatch.setattr(run_folder, "build_model", building)
    load_run(tmp_path)
    assert [(config.backbone, config.weights) for config in asked] == [("resnet18", "")]


def test_the_seal_covers_what_an_objective_learnt(tmp_path, vectors):
    saved(tmp_path, vectors, {"tau": 0.25})
    assert json.loads((tmp_path / OBJECTIVE).read_text()) == {"tau": 0.25}
    assert set(check_seal(tmp_path, FORMAT)["sha256"]) == {*PARTS, OBJECTIVE}
    load_run(tmp_path)
    (tmp_path / OBJECTIVE).write_text('{"tau": 9.0}')
    with pytest.raises(ValueError, match=r"objective\.json is damaged or was edited .*: delete that folder and train"):
        load_run(tmp_path)
    (tmp_path / OBJECTIVE).unlink()
    with pytest.raises(FileNotFoundError, match=r"objective\.json is missing"):
        load_run(tmp_path)


def test_a_temperature_that_nobody_sealed_is_refused(tmp_path, vectors):
    saved(tmp_path, vectors)
    (tmp_path / OBJECTIVE).write_text('{"tau": 9.0}')
    with pytest.raises(ValueError, match=r"does not cover objective\.json: delete that folder and train again"):
        load_run(tmp_path)


@pytest.mark.parametrize("name", PARTS)
def test_a_damaged_or_missing_part_is_refused(tmp_path, vectors, name):
    saved(tmp_path, vectors)
    content = bytearray((tmp_path / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is damaged or was edited .*: delete that folder and train again"):
        load_run(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing: delete that folder and train again"):
        load_run(tmp_path)


def test_an_unfinished_training_says_how_to_go_on(tmp_path, vectors):
    saved(tmp_path, vectors)
    (tmp_path / SEAL).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_run(tmp_path)
    assert str(caught.value) == (f"no finished training in {tmp_path}: run notebooks/03_training.ipynb "
                                 "(it continues an interrupted run)")  # fmt: skip


def test_another_version_of_the_model_is_refused(tmp_path, vectors):
    weights, history, embeddings = saved(tmp_path, vectors)
    for spoilt in ({**weights, "more": torch.ones(1)}, {k: v for k, v in weights.items() if k != "semantic_vectors"}):
        save_run(tmp_path, spoilt, history, embeddings, {})
        with pytest.raises(ValueError, match="was trained by another version of the model: delete that folder and"):
            load_run(tmp_path)
    save_run(tmp_path, weights, history, embeddings, {})
    held = json.loads((tmp_path / "config.json").read_text())
    held["config"]["gamme"] = 2.0
    (tmp_path / "config.json").write_text(json.dumps(held))
    seal(tmp_path, PARTS, FORMAT)
    with pytest.raises(ValueError, match=r"another version of the model \(.*'gamme'.*\): delete that folder"):
        load_run(tmp_path)


def test_a_model_is_built_as_its_configuration_says(vectors, monkeypatch):
    made = []
    monkeypatch.setattr(run_folder, "CMDML", lambda vectors, **given: made.append((vectors, given)))
    build_model(CONFIG, vectors, F)
    build_model(dataclasses.replace(CONFIG, direction="visual_to_semantic"), vectors)
    names = ("backbone", "weights", "direction", "dim", "hidden", "dropout", "normalize")
    assert made[0] == (vectors, {"features": F} | {name: getattr(CONFIG, name) for name in names})
    assert made[1][1]["features"] is None and made[1][1]["direction"] == "visual_to_semantic"


def test_embeddings_that_would_run_code_are_not_opened(tmp_path, vectors):
    weights, history, _ = saved(tmp_path, vectors)
    save_run(tmp_path, weights, history, {"scores": np.array([{}], dtype=object)}, {})
    with pytest.raises(ValueError, match="allow_pickle"):
        load_run(tmp_path)
