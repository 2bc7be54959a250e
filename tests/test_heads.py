"""Heads: which films go into one, what its card says of them, what is refused; on a training that learnt nothing."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_tiny, make_training
from safetensors.torch import load_file, save_file

from cmdml import heads
from cmdml.efficientnet import state_sha256
from cmdml.extractors import VisualExtractor
from cmdml.familiar import Familiar
from cmdml.files import SEAL, seal
from cmdml.findings import KEYS, load_attributes, split_findings
from cmdml.heads import FILES, FORMAT, load_head, make_head
from cmdml.semantics import attribute_sentences
from cmdml.sources.phantom import sample_table

FINDINGS = split_findings(KEYS)
TOLD = {"semantics": "signs", "semantic_model": "", "name": "mine"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny") / "radiographs", n=160, size=32)


@pytest.fixture(scope="module")
def run(tiny, vectors, tmp_path_factory):
    return make_training(tmp_path_factory.mktemp("run") / "training", tiny, vectors)


@pytest.fixture(scope="module")
def head(run, tiny, tmp_path_factory):
    return make_head(run, tiny, tmp_path_factory.mktemp("head") / "head", about={"command": "a command"}, **TOLD)


def rows(data, split):
    return [i for i in range(len(data.table)) if data.table["split"][i] == split]


def normal(data, split):
    return [i for i in rows(data, split) if not any(data.labels[i])]


def learnt(data):
    return [i for i in rows(data, "train") if not any(data.labels[i][FINDINGS.unseen_index])]


def features_of(head, data, which):
    with torch.inference_mode():
        films = torch.from_numpy(np.array(data.pixels[which]))[:, None]
        return head.model.visual_extractor(films).float()


def test_normal_validation_films_are_what_scores_are_set_beside(head, run, tiny):
    with np.load(run / "embeddings.npz") as held:
        place = {row: i for i, row in enumerate(held["index"].tolist())}
        expected = held["visual"][[place[row] for row in normal(tiny, "val")]]
    assert np.array_equal(head.reference["normal_visual"].numpy(), expected)
    assert head.card["normal_films"] == len(expected) > 5


def test_no_normal_film_of_the_shipped_phantoms_is_left_out():
    made, table = load_head(heads.HEADS / "phantom"), sample_table(8000, 0)
    without = int(((table["split"] == "val") & ~table[list(KEYS)].any(axis=1)).sum())
    assert len(made.reference["normal_visual"]) == made.card["normal_films"] == without <= heads.NORMALS


def test_at_most_so_many_normal_films_are_kept_from_end_to_end(run, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(heads, "NORMALS", 4)
    made = make_head(run, tiny, tmp_path, **TOLD)
    all_of_them = normal(tiny, "val")
    kept = [all_of_them[round(i * (len(all_of_them) - 1) / 3)] for i in range(4)]
    with np.load(run / "embeddings.npz") as held:
        place = {row: i for i, row in enumerate(held["index"].tolist())}
        expected = held["visual"][[place[row] for row in kept]]
    assert np.array_equal(made.reference["normal_visual"].numpy(), expected) and made.card["normal_films"] == 4
    first = tiny.pixels[[i for i in learnt(tiny) if not any(tiny.labels[i])][:4]].mean(0).round()
    assert np.array_equal(made.reference["normal_film"].numpy(), first)


def test_the_films_it_knows_are_those_it_learnt_from(head, tiny):
    expected = Familiar.fit(features_of(head, tiny, learnt(tiny)).numpy(),
                            features_of(head, tiny, rows(tiny, "val")).numpy())  # fmt: skip
    for name, tensor in expected.tensors().items():
        torch.testing.assert_close(head.reference[name].abs(), tensor.abs(), rtol=1e-3, atol=1e-4)
    assert head.card["films"] == {"learnt": len(learnt(tiny)), "validation": len(rows(tiny, "val"))}
    assert head.card["familiar"]["validation_films"] == len(rows(tiny, "val"))
    assert head.familiar.threshold == pytest.approx(head.card["familiar"]["threshold"])


def test_features_are_read_in_batches(head, tiny):
    which = np.arange(0, 150)
    found = heads._features(head.model, tiny, which, batch_size=64)
    np.testing.assert_allclose(found, features_of(head, tiny, which).numpy(), rtol=1e-4, atol=1e-5)


def test_the_mean_normal_film_is_of_training_films(head, run, tiny, tmp_path):
    which = [i for i in learnt(tiny) if not any(tiny.labels[i])]
    expected = np.array(tiny.pixels[which], float).mean(0).round().astype(np.uint8)
    assert np.array_equal(head.reference["normal_film"].numpy(), expected)
    given = np.full((32, 32), 7, np.uint8)
    made = make_head(run, tiny, tmp_path, normal_film=given, **TOLD)
    assert np.array_equal(made.reference["normal_film"].numpy(), given)


def test_the_card_and_the_page_say_what_it_is(head, tiny):
    card = json.loads((head.folder / "card.json").read_text())
    assert card == head.card
    assert {name: card[name] for name in ("name", "notice", "size", "semantics", "semantic_model", "features",
                                          "command")} == {
        "name": "mine", "notice": "not a medical device", "size": 32, "semantics": "signs", "semantic_model": "",
        "features": None, "command": "a command"}  # fmt: skip
    assert list(card["attributes"]) == list(load_attributes()) and head.size == 32
    told = ("name", "title", "source", "licence", "citation", "note", "sha256")
    assert card["data"] == {name: tiny.card.get(name) for name in told}  # the note is empty where there is none
    page = (head.folder / "README.md").read_text()
    assert page.startswith("# mine\n") and "not a medical device" in page
    assert f"Findings that it never saw: {', '.join(FINDINGS.unseen)}." in page


def test_a_page_of_one_s_own(run, tiny, tmp_path):
    make_head(run, tiny, tmp_path, readme=lambda card: f"{card['name']} {len(card['unseen'])}", **TOLD)
    assert (tmp_path / "README.md").read_text() == "mine 4"


def test_a_head_that_is_made_anew_leaves_nothing_of_the_one_before(run, tiny, tmp_path):
    for file in FILES:
        (tmp_path / file).write_text("of the one before")
    made = make_head(run, tiny, tmp_path, **TOLD)
    assert made.card["name"] == "mine" and (tmp_path / "README.md").read_text().startswith("# mine\n")


def test_a_head_is_the_run_s_model_and_is_evaluated(head, run):
    assert sorted(path.name for path in head.folder.iterdir()) == sorted([*FILES, SEAL])
    weights = load_file(run / "weights.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in head.model.state_dict().items())
    assert not head.model.training and head.findings == FINDINGS and head.config.dim == 6
    assert (head.folder / "config.json").read_bytes() == (run / "config.json").read_bytes()


def test_words_of_one_s_own_have_the_vectors_of_the_run(head, monkeypatch):
    assert torch.equal(head.reference["attributes"], torch.eye(len(load_attributes())))
    assert "centre" not in head.reference
    told = torch.randn(len(load_attributes()), 5, generator=torch.Generator().manual_seed(0))
    asked = []
    monkeypatch.setattr(heads, "text_vectors", lambda *given: asked.append(given) or told)
    made = heads.words_reference("signs_text", "a model")
    torch.testing.assert_close(made["centre"], told.mean(0))
    torch.testing.assert_close(made["attributes"], told - told.mean(0))
    assert asked == [(list(attribute_sentences().values()), "a model")]
    assert heads.words_reference("description", "a model") == {}


def test_what_the_run_was_told_goes_into_its_head(run, tiny, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(heads, "words_reference", lambda *given: asked.append(given) or {"attributes": torch.eye(3)})
    made = make_head(run, tiny, tmp_path, semantics="signs_text", semantic_model="some/model", name="other")
    assert asked == [("signs_text", "some/model")] and torch.equal(made.reference["attributes"], torch.eye(3))
    assert (made.card["semantics"], made.card["semantic_model"], made.card["name"]) == (
        "signs_text", "some/model", "other")  # fmt: skip


def test_what_does_not_fit_is_refused(run, tiny, tmp_path):
    def data(**changed):
        given = {"card": tiny.card, "folder": tiny.folder, "pixels": tiny.pixels, "table": tiny.table,
                 "labels": tiny.labels, "size": tiny.size}  # fmt: skip
        return SimpleNamespace(**given | changed)

    with pytest.raises(ValueError, match=r"was trained on other films than .* holds: give those, or train again"):
        make_head(run, data(card=tiny.card | {"sha256": "other"}), tmp_path / "h", **TOLD)
    with pytest.raises(ValueError, match="do not fit: one is of images, the other of extracted features"):
        make_head(run, data(pixels=tiny.pixels[:, 0]), tmp_path / "h", **TOLD)
    with pytest.raises(ValueError, match="no validation film is without a finding, so no score has a percentile"):
        make_head(run, data(labels=np.ones_like(tiny.labels)), tmp_path / "h", **TOLD)
    assert not (tmp_path / "h").exists()


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_or_missing_file_is_refused(head, tmp_path, name):
    shutil.copytree(head.folder, tmp_path / "h")
    content = bytearray((tmp_path / "h" / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / "h" / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is damaged .*: fetch the folder again, or make it again \(python"):
        load_head(tmp_path / "h")
    (tmp_path / "h" / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing: fetch the folder again"):
        load_head(str(tmp_path / "h"))


def test_another_version_of_the_model_is_refused(head, tmp_path):
    shutil.copytree(head.folder, tmp_path / "h")
    weights = load_file(tmp_path / "h/weights.safetensors")
    save_file(weights | {"more": torch.ones(1)}, tmp_path / "h/weights.safetensors")
    seal(tmp_path / "h", FILES, FORMAT)
    with pytest.raises(ValueError, match="holds another version of the model: fetch the folder again"):
        load_head(tmp_path / "h")


def test_a_folder_that_is_being_replaced_has_no_seal(run, tiny, tmp_path, monkeypatch):
    make_head(run, tiny, tmp_path, **TOLD)
    monkeypatch.setattr(heads, "write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_head(run, tiny, tmp_path, **TOLD | {"name": "other"})
    assert not (tmp_path / SEAL).exists()


def test_another_backbone_than_the_card_names_is_refused(head):
    torch.manual_seed(0)
    backbone = VisualExtractor("small_cnn", None)
    sha = state_sha256(backbone.state_dict())
    about = {"backbone": "small_cnn", "weights": "", "weights_sha256": "0" * 64, "layers": {"last": 128}}
    with pytest.raises(ValueError) as caught:
        _ = replace(head, card=head.card | {"features": about}).network
    assert f"needs the backbone small_cnn with the weights {'0' * 12}…, this one has " in str(caught.value)
    assert sha and head.network.backbone is None


def test_what_extracted_features_is_named(tiny):
    card = {"backbone": "b", "weights": "w", "weights_sha256": "s", "layers": {}, "size": 32}
    about = heads._backbone(SimpleNamespace(pixels=np.zeros((3, 5)), card=card))
    assert about == {name: card[name] for name in ("backbone", "weights", "weights_sha256", "layers")}
    assert heads._backbone(tiny) is None
    assert heads._normal_film(SimpleNamespace(pixels=np.zeros((3, 5))), np.array([0]), None) == {}


def test_a_head_on_features_is_built_for_their_number_and_fetches_no_weights(monkeypatch):
    given, build = [], heads.build_model
    held = heads.TrainConfig.from_dict
    monkeypatch.setattr(heads.TrainConfig, "from_dict", lambda values: replace(held(values), weights="imagenet"))
    monkeypatch.setattr(heads, "build_model", lambda config, vectors, features: given.append(
        (config.weights, features)) or build(config, vectors, features))  # fmt: skip
    made = load_head(heads.HEADS / "nih-mini")
    assert given == [("", len(made.reference["film_mean"]))] and made.config.weights == "imagenet"
