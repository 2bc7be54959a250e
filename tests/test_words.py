"""Words of one's own: how they are read, which vector they make, on what they lean, what a run refuses."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from cmdml import words
from cmdml.findings import KEYS, findings_of, load_attributes, split_findings

FINDINGS = split_findings(KEYS)
SIGNS, SEEN = tuple(load_attributes()), FINDINGS.seen
E, D = 12, 5


def a_head(semantics="signs_text"):
    """What words need of a head: random vectors, and a linear map into the joint space."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(len(FINDINGS.keys), E, generator=generator)
    into, told = torch.randn(E, D, generator=generator), torch.randn(len(SIGNS), E, generator=generator)
    centre = torch.randn(E, generator=generator)
    return SimpleNamespace(
        folder="runs/made", card={"semantics": semantics, "attributes": list(SIGNS), "semantic_model": "a model"},
        findings=FINDINGS, reference={"attributes": told, "centre": centre},
        network=SimpleNamespace(semantic=lambda v: v @ into), model=SimpleNamespace(semantic_vectors=vectors),
    )  # fmt: skip


@pytest.mark.parametrize("text, name, signs", [
    ("Lung abscess: opacity, round", "Lung abscess", ["opacity", "round"]),
    (" a b :round", "a b", ["round"]),
    ("a: , round,, Air-fluid level ,", "a", ["round", "Air-fluid level"]),
    ("a: b: c, d", "a", ["b: c", "d"]),
])  # fmt: skip
def test_a_finding_is_a_name_and_signs(text, name, signs):
    assert words.parse_finding(text) == (name, signs)


@pytest.mark.parametrize("text", ["", "round", ": round", "  : round", "a:", "a: , ,", ":"])
def test_a_finding_without_name_colon_or_signs_is_refused(text):
    with pytest.raises(ValueError) as caught:
        words.parse_finding(text)
    wanted = "must be a name, a colon and signs, such as 'Lung abscess: opacity, round'"
    assert str(caught.value) == f"finding {text!r} {wanted}"


def test_signs_are_meant_however_they_are_spelt():
    names = ["opacity", "air_fluid_level"]
    assert words.sign_names(["Air-fluid  LEVEL", " opacity"], names) == ("air_fluid_level", "opacity")
    assert words.sign_names(["air_fluid-level"], names) == ("air_fluid_level",)
    assert words.sign_names([], names) == ()
    with pytest.raises(ValueError, match="^unknown sign 'opaciti': did you mean 'opacity'"):
        words.sign_names(["opaciti"], names)
    with pytest.raises(ValueError, match="^the sign 'Opacity' is given twice; name each sign once$"):
        words.sign_names(["opacity", "Opacity"], names)


@pytest.mark.parametrize("semantics", ["signs", "signs_text"])
def test_signs_make_the_unit_mean_of_their_vectors(semantics):
    head, typed = a_head(semantics), [SIGNS[7], SIGNS[2].upper(), SIGNS[4]]
    made = words.own_signs(head, "Mine", typed)
    told = head.reference["attributes"]
    expected = normalize(((told[2] + told[4] + told[7]) / 3).double(), dim=0).float()
    torch.testing.assert_close(made.vector, expected)
    assert made.vector.norm().item() == pytest.approx(1) and made.vector.dtype == torch.float32
    assert (made.name, made.signs, made.text) == ("Mine", (SIGNS[7], SIGNS[2], SIGNS[4]), "")
    assert torch.equal(made.vector, words.own_signs(head, "Mine", typed[::-1]).vector)  # in whatever order


def test_untaught_signs_are_those_of_no_seen_finding():
    taught = {sign for finding in findings_of(SEEN) for sign in finding.signs}
    made = words.own_signs(a_head(), "all", SIGNS)
    assert set(made.untaught) == set(SIGNS) - taught != set()


def test_it_leans_on_the_three_nearest_seen_findings():
    head = a_head()
    made = words.own_signs(head, "Mine", [SIGNS[0], SIGNS[5]])
    own, place = head.model.semantic_vectors, head.network.semantic
    near = []
    for key in SEEN:
        v = own[FINDINGS.keys.index(key)]
        joint = cosine_similarity(place(v[None]), place(made.vector[None])).item()
        near.append((joint, key, cosine_similarity(v, made.vector, dim=0).item()))
    near.sort(reverse=True)
    assert [finding for finding, _, _ in made.leans_on] == [key for _, key, _ in near[:3]]
    assert [n for _, joint, told in made.leans_on for n in (joint, told)] == pytest.approx(
        [n for joint, _, told in near[:3] for n in (joint, told)], abs=1e-5
    )


@pytest.mark.parametrize("semantics, way_out", [
    ("description", "give a text"), ("name", "give a text"), ("random", "no words of yours mean anything to it"),
])  # fmt: skip
def test_signs_are_refused_by_a_run_that_was_told_something_else(semantics, way_out):
    with pytest.raises(ValueError) as caught:
        words.own_signs(a_head(semantics), "Mine", ["round"])
    assert str(caught.value) == f"runs/made was told {semantics}, not signs: {way_out}"


@pytest.fixture
def told(monkeypatch):
    """A stand-in for the encoder; returns what it was asked."""
    asked = []

    def encode(texts, model):
        asked.append((texts, model))
        return torch.full((len(texts), E), 2.0).index_fill(1, torch.tensor([0]), -3.0)

    monkeypatch.setattr(words, "text_vectors", encode)
    return asked


@pytest.mark.parametrize("semantics", ["signs_text", "description", "name"])
def test_a_text_is_centred_only_where_signs_are(told, semantics):
    head = a_head(semantics)
    made = words.own_text(head, "  a round\n shadow ")
    assert told == [(["a round shadow"], "a model")]
    raw = torch.tensor([-3.0] + [2.0] * (E - 1))
    if semantics == "signs_text":
        raw = raw - head.reference["centre"]
    torch.testing.assert_close(made.vector, normalize(raw.double(), dim=0).float())
    assert (made.name, made.text, made.signs, made.untaught) == ("a round shadow", "a round shadow", (), ())
    assert len(made.leans_on) == 3


@pytest.mark.parametrize("length, name", [(40, "x" * 40), (41, "x" * 39 + "…")])
def test_a_long_text_is_named_by_its_beginning(told, length, name):
    made = words.own_text(a_head(), "x" * length)
    assert made.name == name and made.text == "x" * length


@pytest.mark.parametrize("semantics, way_out", [("signs", "give signs"), ("random", "no words of yours mean anything")])
def test_a_text_is_refused_by_a_run_that_was_told_none(told, semantics, way_out):
    with pytest.raises(ValueError, match=f"runs/made was told {semantics}, not texts: {way_out}"):
        words.own_text(a_head(semantics), "a text")
    with pytest.raises(ValueError, match="the text is empty: describe what the finding looks like"):
        words.own_text(a_head(), " \n ")
    assert not told
