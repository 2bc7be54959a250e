"""What the live page says of its networks: of test films that carry a finding, told words of one's own."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from cmdml.findings import SeenUnseen
from cmdml.semantics import signs_vector
from cmdml.study.places import ROOT

FINDINGS = SeenUnseen(("Mass", "Nodule", "Edema", "Hernia"), ("Hernia",))


@pytest.fixture(scope="module")
def streams():
    spec = importlib.util.spec_from_file_location("streams", ROOT / "book/live/streams.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stream(streams):
    """Forty films anywhere in a joint space of 6 dimensions, ten of them without a finding."""
    rng = np.random.default_rng(1)
    made = object.__new__(streams.Stream)
    made.labels = np.zeros((40, 4), np.uint8)
    made.labels[:30] = rng.integers(0, 2, (30, 4))
    made.labels[:30, 0] |= ~made.labels[:30].any(1)
    made.visual = rng.normal(size=(40, 6)).astype(np.float32)
    weight = torch.from_numpy(rng.normal(size=(6, len(signs_vector(["opacity"])))).astype(np.float32))
    made.model = SimpleNamespace(semantic_regression=lambda vectors: vectors @ weight.T)
    made.anchors = made.anchor(torch.stack([signs_vector(s) for s in (["opacity"], ["focal"], ["round"], ["lucency"])]))
    return made


def test_words_are_judged_among_films_with_a_finding(stream):
    anchor, ill = stream.anchor(signs_vector(["opacity", "round"])[None])[0], stream.labels.any(1)
    far = ((stream.visual - anchor) ** 2).sum(1)
    wanted, among_all = (roc_auc_score(stream.labels[rows, 3], -far[rows]) for rows in (ill, ill | True))
    assert stream.words(["opacity", "round"], FINDINGS, "Hernia") == round(wanted, 3) != round(among_all, 3)


def test_words_lean_on_seen_findings_alone_nearest_first(stream):
    anchor = stream.anchor(signs_vector(["lucency"])[None])[0]  # Hernia's own sign here, which is unseen
    cosine = dict(zip(FINDINGS.keys, stream.anchors @ anchor, strict=True))
    first, second = stream.leans(["lucency"], FINDINGS)
    seen = sorted((value, key) for key, value in cosine.items() if key != "Hernia")
    assert [first[0], second[0]] == [seen[-1][1], seen[-2][1]] and first[1] == pytest.approx(seen[-1][0], abs=1e-5)
