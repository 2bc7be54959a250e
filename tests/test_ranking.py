"""Ranking losses of an image's own findings, against loops over pairs; how each is degenerate, what it refuses."""

import math

import pytest
import torch

from cmdml.ranking import LabelEmbeddingLoss, RankingLoss, ranking_hinges

B, C, D, E = 5, 6, 3, 4


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    labels = torch.tensor([[1, 0, 0, 1, 0, 0], [0] * C, [1] * C, [0, 1, 1, 0, 1, 0], [0, 0, 0, 0, 0, 1]])
    return normal(B, D), normal(C, D), normal(C, E), labels


def dot(a, b):
    return sum(x * y for x, y in zip(a.tolist(), b.tolist()))


def cosine(a, b):
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def naive_hinges(scores, labels, margin):
    out = [[[0.0] * labels.shape[1] for _ in range(labels.shape[1])] for _ in range(len(labels))]
    for i in range(len(labels)):
        for p in range(labels.shape[1]):
            for n in range(labels.shape[1]):
                if labels[i, p] == 1 and labels[i, n] == 0:
                    out[i][p][n] = max(0.0, margin - scores[i, p].item() + scores[i, n].item())
    return torch.tensor(out, dtype=torch.float64)


@pytest.mark.parametrize("margin", [0.0, 0.2, 3.0])
def test_hinges_equal_the_loop(batch, margin):
    visual, semantic, _, labels = batch
    scores = visual @ semantic.T
    torch.testing.assert_close(ranking_hinges(scores, labels, margin), naive_hinges(scores, labels, margin))


def test_hinges_refuse_a_negative_margin_and_other_shapes(batch):
    visual, semantic, _, labels = batch
    with pytest.raises(ValueError, match="margin must not be negative, got -0.1"):
        ranking_hinges(visual @ semantic.T, labels, -0.1)
    with pytest.raises(ValueError):
        ranking_hinges(visual @ semantic.T, labels[:, :-1], 0.1)


@pytest.mark.parametrize("weights", [{}, {"margin": 0.7, "alignment": 0.3, "consistency": 2.0}])
def test_ranking_equals_the_loop_term_by_term(batch, weights):
    visual, semantic, vectors, labels = batch
    margin, weight_a, weight_c = weights.values() if weights else (0.2, 0.01, 0.01)
    scores = torch.tensor([[cosine(v, s) for s in semantic] for v in visual], dtype=torch.float64)
    ranking = naive_hinges(scores, labels, margin).sum().item() / B
    away = []
    for i in range(B):
        positive = [semantic[c] for c in range(C) if labels[i, c]]
        if positive:
            away.append(1 - cosine(visual[i], sum(positive) / len(positive)))
    apart = [abs(cosine(semantic[a], semantic[b]) - cosine(vectors[a], vectors[b])) for a in range(C) for b in range(C)]
    found = RankingLoss(vectors, **weights)(visual, semantic, labels)
    expected = {"ranking": ranking, "alignment": weight_a * sum(away) / len(away),
                "consistency": weight_c * sum(apart) / len(apart)}  # fmt: skip
    assert {name: found[name].item() for name in expected} == pytest.approx(expected)
    assert found["total"].item() == pytest.approx(sum(expected.values()))


def test_ranking_scores_are_cosines_and_keep_no_gradient_of_the_vectors(batch):
    visual, semantic, vectors, labels = batch
    loss = RankingLoss(vectors.requires_grad_())
    assert loss.score(visual, semantic)[1, 2].item() == pytest.approx(cosine(visual[1], semantic[2]))
    assert not loss.similarity.requires_grad and not loss.state_dict()
    with pytest.raises(ValueError, match=rf"built for {C} findings, got semantic \({C - 1}, {D}\)"):
        loss(visual, semantic[1:], labels[:, 1:])


def naive_ale(scores, labels, margin):
    total = 0.0
    for i in range(len(labels)):
        for p in range(C):
            if labels[i, p]:
                hinges = [max(0.0, margin - scores[i, p].item() + scores[i, n].item())
                          for n in range(C) if not labels[i, n]]  # fmt: skip
                rank = sum(h > 0 for h in hinges)
                if rank:
                    total += sum(1 / j for j in range(1, rank + 1)) / rank * sum(hinges)
    return total / len(labels)


@pytest.mark.parametrize("margin", [None, 0.1, 4.0])
def test_label_embedding_equals_the_loop(batch, margin):
    visual, semantic, _, labels = batch
    loss = LabelEmbeddingLoss() if margin is None else LabelEmbeddingLoss(margin)
    found = loss(visual, semantic, labels)
    scores = visual @ semantic.T
    torch.testing.assert_close(loss.score(visual, semantic), scores)
    assert list(found) == ["total"]
    assert found["total"].item() == pytest.approx(naive_ale(scores, labels, 1.0 if margin is None else margin))


def test_the_weight_of_a_rank_carries_no_gradient(batch):
    visual, semantic, _, labels = batch
    visual.requires_grad_()
    LabelEmbeddingLoss()(visual, semantic, labels)["total"].backward()
    step, scores = 1e-6, []
    for sign in (1, -1):
        moved = visual.detach().clone()
        moved[0, 0] += sign * step
        scores.append(naive_ale(moved @ semantic.T, labels, 1.0))
    assert visual.grad[0, 0].item() == pytest.approx((scores[0] - scores[1]) / (2 * step), rel=1e-4)


@pytest.mark.parametrize("value", [0, 1])
def test_without_positives_or_negatives_there_is_nothing_to_rank(batch, value):
    visual, semantic, vectors, labels = batch
    labels = torch.full_like(labels, value)
    assert LabelEmbeddingLoss()(visual, semantic, labels)["total"].item() == 0.0
    found = RankingLoss(vectors)(visual, semantic, labels)
    assert found["ranking"].item() == 0.0 and (found["alignment"].item() == 0.0) == (value == 0)
