"""The loss against plain loops (values), autograd in float64 (gradients) and its stated properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import weighted_focused_euclidean as naive

from cmdml import WeightedFocusedEuclideanLoss, weighted_focused_euclidean
from cmdml.loss import COINCIDENT, log1mexp, squared_distance

TERMS = ("total", "positive", "negative")


def batch(seed=0, b=6, c=10, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    d2 = 4 * torch.rand(b, c, generator=generator, dtype=dtype)
    return d2, (torch.rand(b, c, generator=generator) < 0.2).to(dtype)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.7])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("tau", [0.25, 1.0, 2.0])
def test_values_equal_the_naive_loop(gamma, alpha, tau):
    d2, labels = batch()
    ours = weighted_focused_euclidean(d2, labels, gamma=gamma, alpha=alpha, tau=tau)
    loop = naive(d2.tolist(), labels.tolist(), gamma, alpha, tau)
    for term in TERMS:
        assert ours[term].item() == pytest.approx(loop[term], rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [0.25, 0.75])
def test_gradients_equal_differences_of_the_naive_loop(gamma, alpha):
    d2, labels = batch(seed=1, b=3, c=4)
    d2 = d2.clamp(0.05).requires_grad_()
    weighted_focused_euclidean(d2, labels, gamma=gamma, alpha=alpha, tau=0.7)["total"].backward()
    h = 1e-6
    for i in range(3):
        for c in range(4):
            up, down = d2.detach().clone(), d2.detach().clone()
            up[i, c] += h
            down[i, c] -= h
            values = [naive(x.tolist(), labels.tolist(), gamma, alpha, 0.7)["total"] for x in (up, down)]
            assert d2.grad[i, c].item() == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradcheck_through_the_embeddings(gamma):
    generator = torch.Generator().manual_seed(3)
    visual = torch.randn(4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    semantic = torch.randn(6, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = (torch.rand(4, 6, generator=generator) < 0.3).double()
    loss = WeightedFocusedEuclideanLoss(gamma=gamma, alpha=0.7, tau=4.0)
    assert torch.autograd.gradcheck(lambda v, s: loss(v, s, labels)["total"], (visual, semantic))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("present", [0.0, 1.0])
@pytest.mark.parametrize("distance", [0.0, 2.0])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_finite_at_the_ends(dtype, present, distance, gamma):
    d2 = torch.full((3, 4), distance**2, dtype=dtype, requires_grad=True)
    loss = weighted_focused_euclidean(d2, torch.full((3, 4), present), gamma=gamma)
    loss["total"].backward()
    assert all(torch.isfinite(loss[term]) for term in TERMS)
    assert torch.isfinite(d2.grad).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_coincident_embeddings_have_finite_gradients(dtype):
    visual = torch.nn.functional.normalize(torch.ones(2, 8, dtype=dtype)).requires_grad_()
    terms = WeightedFocusedEuclideanLoss(gamma=0.5)(visual, visual.detach().clone(), torch.eye(2))
    terms["total"].backward()
    assert torch.isfinite(terms["total"]) and torch.isfinite(visual.grad).all()


def test_an_image_without_findings_has_only_negative_pairs():
    d2, _ = batch()
    loss = weighted_focused_euclidean(d2, torch.zeros_like(d2))
    assert loss["positive"] == 0 and loss["negative"] > 0 and loss["total"] == loss["negative"]
    loss = weighted_focused_euclidean(d2, torch.ones_like(d2))
    assert loss["negative"] == 0 and loss["total"] == loss["positive"] > 0


def test_gamma_0_alpha_half_is_half_the_plain_metric_loss():
    d2, labels = batch()
    plain = torch.where(labels == 1, d2, -torch.log(1 - torch.exp(-d2))).sum(1).mean()
    assert weighted_focused_euclidean(d2, labels, gamma=0, alpha=0.5)["total"].item() == pytest.approx(plain.item() / 2)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 3.9), st.floats(0.0, 4.0), st.floats(0.2, 3.0))
def test_focusing_lowers_every_pair_and_easy_pairs_most(d2, gamma, tau):
    def pair(label, distance, g):
        return weighted_focused_euclidean(
            torch.tensor([[distance]], dtype=torch.float64), torch.tensor([[label]]), gamma=g, tau=tau
        )["total"].item()

    for label, easy, hard in ((1.0, 0.5 * d2, d2), (0.0, d2, 0.5 * d2)):
        kept_easy, kept_hard = (pair(label, x, gamma) / pair(label, x, 0.0) for x in (easy, hard))
        assert kept_easy <= kept_hard * (1 + 1e-9) and kept_hard <= 1 + 1e-9


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 0.6), st.floats(1.5, 4.0), st.floats(0.0, 3.0))
def test_swapping_positives_and_negatives_raises_the_loss(near, far, gamma):
    d2 = torch.tensor([[near, far]], dtype=torch.float64)
    right = weighted_focused_euclidean(d2, torch.tensor([[1.0, 0.0]]), gamma=gamma, alpha=0.5)
    wrong = weighted_focused_euclidean(d2, torch.tensor([[0.0, 1.0]]), gamma=gamma, alpha=0.5)
    assert right["total"] < wrong["total"]


def test_squared_distance_equals_cdist_and_is_never_negative():
    generator = torch.Generator().manual_seed(0)
    visual, semantic = torch.randn(7, 5, generator=generator), torch.randn(3, 5, generator=generator)
    torch.testing.assert_close(
        squared_distance(visual, semantic), torch.cdist(visual, semantic) ** 2, atol=1e-5, rtol=1e-5
    )
    assert squared_distance(visual * 100, visual * 100).min() >= 0


@pytest.mark.parametrize("x", [1e-12, 1e-6, 0.1, math.log(2), 1.0, 30.0])
def test_log1mexp_is_accurate(x):
    from decimal import Decimal, getcontext

    getcontext().prec = 50
    exact = -(1 - (-Decimal(x)).exp()).ln()
    assert log1mexp(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(float(exact), rel=1e-12)


def test_pairs_nearer_than_coincident_count_as_that_near():
    d2 = torch.tensor([[0.0], [COINCIDENT]], dtype=torch.float64)
    values = [weighted_focused_euclidean(x[None], torch.zeros(1, 1), gamma=0)["total"].item() for x in d2]
    assert values[0] == values[1] == pytest.approx(-0.25 * math.log(COINCIDENT), rel=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": -1}, "gamma=-1"),
        ({"alpha": 1.5}, "alpha=1.5"),
        ({"tau": 0}, "tau=0"),
        ({"labels": torch.zeros(2, 3)}, r"one shape \(B, C\)"),
        ({"squared_distance": torch.zeros(0, 2), "labels": torch.zeros(0, 2)}, "B > 0"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        weighted_focused_euclidean(**{"squared_distance": torch.ones(2, 2), "labels": torch.ones(2, 2), **change})


def test_streams_of_different_width_are_refused():
    with pytest.raises(ValueError, match="must share D"):
        squared_distance(torch.ones(2, 3), torch.ones(2, 4))


def test_log1mexp_is_accurate_in_float32_from_end_to_end():
    """A switch at 20 loses the far end, one at 1e-3 the near one."""
    x = torch.cat([torch.logspace(-6, 0, 400), torch.linspace(1, 30, 600)])
    exact = -np.log(-np.expm1(-x.double().numpy()))
    exact = np.where(x.numpy() > 1, -np.log1p(-np.exp(-x.double().numpy())), exact)
    np.testing.assert_allclose(log1mexp(x).double().numpy(), exact, rtol=1e-6)


def test_distances_keep_their_digits_under_autocast():
    generator = torch.Generator().manual_seed(0)
    v, s = (torch.nn.functional.normalize(torch.randn(n, 64, generator=generator), dim=1) for n in (20, 9))
    exact = (v[:, None] - s[None]).square().sum(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = squared_distance(v, s)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, atol=2e-6, rtol=1e-5)
