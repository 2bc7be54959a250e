"""Objectives and controls against plain loops (values, gradients), and the properties that their docstrings state."""

import math

import numpy as np
import pandas as pd
import pytest
import reference_objectives as naive
import torch
import torch.nn.functional as F

from cmdml import WeightedFocusedEuclideanLoss, partition, split_findings
from cmdml.evaluation.controls import nearest_seen, random_scores, source_only
from cmdml.findings import KEYS
from cmdml.model import DeepRegressionModule
from cmdml.objectives import OBJECTIVES, CrossEntropyLoss, FocusedReading, LabelEmbeddingLoss, RankingLoss
from cmdml.training import TrainConfig

B, C, D = 5, 6, 4
VECTORS = torch.randn(C, 7, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
READING = {"gamma": 1.7, "alpha": 0.6, "tau": 0.8}

# name: (the objective, its naive reference as a function of visual, semantic, labels)
CASES = {
    "focused": (FocusedReading(**READING), lambda *b: naive.focused(*b, **READING)),
    "distance": (
        FocusedReading(**READING, on_distance=True, margin=2.5),
        lambda *b: naive.focused(*b, **READING, on_distance=True, margin=2.5),
    ),
    "balanced": (FocusedReading(**READING, balanced=True), lambda *b: naive.focused(*b, **READING, balanced=True)),
    "tau": (FocusedReading(**READING, learn_tau=True), lambda *b: naive.focused(*b, **READING)),
    "ranking": (
        RankingLoss(VECTORS, margin=0.3, alignment=0.7, consistency=0.4),
        lambda *b: naive.ranking(*b, VECTORS.tolist(), 0.3, 0.7, 0.4),
    ),
    "ale": (LabelEmbeddingLoss(margin=0.9), lambda *b: naive.label_embedding(*b, 0.9)),
    "bce": (CrossEntropyLoss(scale=2.5, bias=-0.7), lambda *b: naive.cross_entropy(*b, 2.5, -0.7)),
}
for objective, _ in CASES.values():
    objective.double()


def batch(seed=0, unit=True):
    generator = torch.Generator().manual_seed(seed)
    visual, semantic = (torch.randn(n, D, generator=generator, dtype=torch.float64) for n in (B, C))
    labels = (torch.rand(B, C, generator=generator) < 0.35).double()
    labels[0] = 0  # No Finding
    if unit:
        visual, semantic = F.normalize(visual, dim=1), F.normalize(semantic, dim=1)
    return visual, semantic, labels


def build(name, **config):
    return OBJECTIVES[name](TrainConfig(objective=name, **config), VECTORS).double()


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_values_equal_the_naive_loop(name, unit):
    objective, loop = CASES[name]
    values = batch(unit=unit)
    ours, theirs = objective(*values), loop(*(value.tolist() for value in values))
    assert list(ours) == list(theirs) and next(iter(ours)) == "total"
    for term in ours:
        # τ, scale and bias are float32 parameters, so their references differ by that much
        assert ours[term].item() == pytest.approx(theirs[term], rel=1e-6, abs=1e-12)
        assert theirs[term] != 0


@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_differences_of_the_naive_loop(name):
    objective, loop = CASES[name]
    visual, semantic, labels = batch(seed=3)
    inputs = [visual.requires_grad_(), semantic.requires_grad_()]
    gradients = torch.autograd.grad(objective(visual, semantic, labels)["total"], inputs)
    h = 1e-6
    for which, gradient in enumerate(gradients):
        assert gradient.abs().sum() > 0
        for index in np.ndindex(*gradient.shape):
            sides = []
            for step in (h, -h):
                moved = [x.detach().clone() for x in inputs]
                moved[which][index] += step
                sides.append(loop(moved[0].tolist(), moved[1].tolist(), labels.tolist())["total"])
            assert gradient[index].item() == pytest.approx((sides[0] - sides[1]) / (2 * h), rel=1e-4, abs=1e-6)


def test_learnt_parameters_get_the_slope_of_the_loss():
    values = batch(seed=4)
    lists = [value.tolist() for value in values]
    h = 1e-5
    tau = FocusedReading(**READING, learn_tau=True).double()
    tau(*values)["total"].backward()
    ends = [naive.focused(*lists, **READING | {"tau": 0.8 * math.exp(step)})["total"] for step in (h, -h)]
    assert tau.log_tau.grad.item() == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-4)
    bce = CrossEntropyLoss(scale=2.5, bias=-0.7).double()
    bce(*values)["total"].backward()
    ends = [naive.cross_entropy(*lists, 2.5 * math.exp(step), -0.7)["total"] for step in (h, -h)]
    assert bce.log_scale.grad.item() == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-4)
    ends = [naive.cross_entropy(*lists, 2.5, -0.7 + step)["total"] for step in (h, -h)]
    assert bce.bias.grad.item() == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-4)
    assert not list(FocusedReading().parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["none", "all", "coincident"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_degenerate_batches_are_finite(name, kind, dtype):
    visual, semantic, labels = (value.to(dtype) for value in batch())
    labels = torch.full_like(labels, float(kind == "all")) if kind != "coincident" else labels
    if kind == "coincident":  # d = 0 exactly: the logarithm and the root are at their edge
        visual, semantic, labels = torch.eye(B, C).to(dtype), torch.eye(C).to(dtype), 1 - torch.eye(B, C).to(dtype)
    visual, semantic = visual.requires_grad_(), semantic.clone().requires_grad_()
    terms = build(name).to(dtype)(visual, semantic, labels)
    terms["total"].backward()
    assert all(torch.isfinite(value) for value in [*terms.values(), *visual.grad.flatten(), *semantic.grad.flatten()])
    missing = {"none": ("positive", "ranking", "alignment"), "all": ("negative", "ranking")}.get(kind, ())
    assert all(terms[term] == 0 for term in missing if term in terms)
    if name == "ale" and kind != "coincident":
        assert terms["total"] == 0


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_image_on_its_finding_costs_less_and_scores_higher_there(name):
    visual = semantic = torch.eye(C, dtype=torch.float64)
    right = torch.eye(C, dtype=torch.float64)
    objective = build(name)
    assert objective(visual, semantic, right)["total"] < objective(visual, semantic, 1 - right)["total"]
    scores = objective.score(visual, semantic)
    assert scores.shape == (C, C) and (scores.argmax(1) == torch.arange(C)).all()
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter += 1
    assert (objective.score(visual, semantic) == scores).all()  # a learnt parameter never enters a score


@pytest.mark.parametrize("name", OBJECTIVES)
def test_descending_the_loss_ranks_the_positives_first(name):
    visual, semantic, _ = batch(seed=5)
    visual, labels = visual.requires_grad_(), torch.eye(B, C, dtype=torch.float64)
    objective = build(name)
    assert (objective.score(visual, semantic)[:, :B].argmax(1) != torch.arange(B)).any()
    optimizer = torch.optim.Adam([visual], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        objective(visual, semantic, labels)["total"].backward()
        optimizer.step()
    assert (objective.score(visual, semantic).argmax(1) == torch.arange(B)).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_labels_of_another_shape_or_an_empty_batch_are_refused(name):
    visual, semantic, labels = batch()
    with pytest.raises(ValueError, match="shape"):
        build(name)(visual, semantic, labels[:, :-1])
    with pytest.raises(ValueError, match="B > 0"):
        build(name)(visual[:0], semantic, labels[:0])


def test_the_reading_without_options_is_the_studys_loss():
    values = batch()
    ours, study = FocusedReading(**READING).double()(*values), WeightedFocusedEuclideanLoss(**READING)(*values)
    for term in study:
        assert ours[term].item() == pytest.approx(study[term].item(), rel=1e-6)


def test_beyond_the_margin_a_negative_costs_nothing():
    far = torch.eye(2, dtype=torch.float64) * 3
    none = torch.zeros(2, 2)
    none[0, 0] = none[1, 1] = 1
    assert FocusedReading(on_distance=True, margin=1.0).double()(far, far, none)["total"] == 0
    assert FocusedReading().double()(far, far, none)["negative"] > 0


def test_balanced_weighs_an_image_alike_however_many_labels_it_has():
    semantic = torch.zeros(4, 2, dtype=torch.float64)
    visual = torch.tensor([[0.6, 0.8]], dtype=torch.float64)  # as far from every finding
    labels = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 0]], dtype=torch.float64)
    one, three = (FocusedReading(balanced=True).double()(visual, semantic, row[None]) for row in labels)
    assert one["positive"] == pytest.approx(three["positive"].item())
    assert one["negative"] == pytest.approx(three["negative"].item())


def test_ale_weighs_a_low_positive_less_than_ranking_by_pairs():
    scores = torch.tensor([[0.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    loss = LabelEmbeddingLoss(margin=1.0)(scores, torch.eye(4, dtype=torch.float64), torch.tensor([[1, 0, 0, 0]]))
    assert loss["total"].item() == pytest.approx((1 + 1 / 2 + 1 / 3) / 3 * 6)


def test_objectives_take_their_parameters_from_the_configuration():
    focused = build("focused", gamma=3.0, alpha=0.4, tau=0.5)
    assert (focused.gamma, focused.alpha, focused.tau) == (3.0, 0.4, 0.5)
    euclidean = build("euclidean", gamma=3.0, alpha=0.4, tau=0.5)
    assert (euclidean.gamma, euclidean.alpha, euclidean.tau) == (0.0, 0.5, 0.5)
    assert [build(n).margin for n in ("ranking", "ale", "focused_distance")] == [0.2, 1.0, 1.0]
    assert [build(n, margin=0.5).margin for n in ("ranking", "ale", "focused_distance")] == [0.5] * 3
    assert build("focused_distance").on_distance and build("focused_balanced").balanced
    assert build("focused_tau", tau=0.5).log_tau.exp().item() == pytest.approx(0.5)


def test_bad_choices_are_refused():
    with pytest.raises(ValueError, match="did you mean 'ranking'"):
        TrainConfig(objective="rankin")
    for name in ("ranking", "ale", "focused_distance"):
        with pytest.raises(ValueError, match="margin must be greater than or equal to 0, got -1"):
            build(name, margin=-1.0)
    assert [build(n, margin=0.0).margin for n in ("ranking", "ale", "focused_distance")] == [0.0] * 3
    with pytest.raises(ValueError, match="gamma must be greater than or equal to 0, got -1"):
        build("focused_balanced", gamma=-1)
    with pytest.raises(ValueError, match="built for 6 findings"):
        build("ranking")(batch()[0], batch()[1][:-1], batch()[2][:, :-1])


def test_hidden_layers_by_number_or_by_list():
    def widths(hidden):
        layers = DeepRegressionModule(1024, 128, hidden)
        return [layer.out_features for layer in layers if isinstance(layer, torch.nn.Linear)]

    assert widths([512, 256]) == [512, 256, 128]  # the heads of CXR-ML-GZSL
    assert widths(256) == widths([256]) == [256, 128] and widths(0) == widths([]) == [128]
    assert TrainConfig(hidden=(512, 256)).hidden == [512, 256] and TrainConfig().hidden == 256


# --- controls --------------------------------------------------------------------------------------------------


def test_nearest_seen_equals_the_loop_and_leaves_seen_findings_alone():
    rng = np.random.default_rng(0)
    scores, vectors = rng.random((7, len(KEYS))), torch.from_numpy(rng.normal(size=(len(KEYS), 5)))
    findings, before = split_findings(KEYS), scores.copy()
    got = nearest_seen(scores, vectors, findings)
    assert got.tolist() == naive.nearest_seen(scores.tolist(), vectors.tolist(), findings.seen_index.tolist())
    assert (scores == before).all() and (got[:, findings.seen_index] == scores[:, findings.seen_index]).all()
    # scaling a vector changes no cosine, and unseen scores are never read
    scores[:, findings.unseen_index] = np.nan
    assert (nearest_seen(scores, 3 * vectors, findings) == got).all()
    supervised = split_findings(KEYS, "none")
    assert (nearest_seen(before, vectors, supervised) == before).all()
    with pytest.raises(ValueError, match="of 14 findings"):
        nearest_seen(scores[:, :5], vectors, findings)


def test_random_scores_follow_the_seed():
    assert (random_scores((4, 3), 1) == random_scores((4, 3), 1)).all()
    assert (random_scores((4, 3), 1) != random_scores((4, 3), 2)).any()
    assert abs(random_scores((1000, 14)).mean() - 0.5) < 0.02


def test_source_only_equals_the_loop():
    rng = np.random.default_rng(1)
    n, findings = 60, ["Mass", "Nodule", "Edema"]
    table = pd.DataFrame({"source_repo": rng.choice(["a", "b", "c"], n), "view": rng.choice(["PA", "AP", ""], n)})
    table["source_pixels"] = rng.choice([64.0, 224.0, np.nan], n)
    table[findings] = rng.integers(0, 2, (n, 3), dtype=np.uint8)
    table.loc[:39, "Edema"] = 0  # never among the training images
    table.loc[59, "source_repo"] = "met only in the test"
    columns = ["source_repo", "source_pixels", "view"]
    sources = [tuple(str(x) for x in row) for row in table[columns].to_numpy()]
    train, rows = np.arange(40), np.arange(40, 60)
    got = source_only(table, findings, train, rows, columns, smoothing=2.0)
    labels = table[findings].to_numpy()
    assert got == pytest.approx(np.array(naive.source_only(sources, labels.tolist(), train, rows, 2.0)))
    assert (got[:, 2] == 0).all() and got[-1] == pytest.approx(labels[train].mean(0))
    with pytest.raises(ValueError, match="no column 'source_repo'; it has view"):
        source_only(table.drop(columns="source_repo"), findings, train, rows)


def test_source_only_finds_labels_that_follow_the_source():
    table = pd.DataFrame({"source_repo": list("ab") * 20, "Mass": [1, 0] * 20})
    scores = source_only(table, ["Mass"], np.arange(20), np.arange(20, 40))[:, 0]
    assert (scores[::2] > 0.9).all() and (scores[1::2] < 0.1).all()


def test_the_supervised_ceiling_sees_every_finding(tiny):
    part = partition(tiny, split_findings(KEYS, "none"))
    assert part.findings.seen == KEYS and len(part.findings.unseen_index) == 0
    assert len(part.train) == (tiny.table["split"] == "train").sum()  # nothing dropped
