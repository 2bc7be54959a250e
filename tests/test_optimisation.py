"""One epoch: which parameters move and decay, how fast, and in which order the radiographs come."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from cmdml import optimisation
from cmdml.batches import Batches, augment
from cmdml.config import TrainConfig
from cmdml.distributed import Team
from cmdml.objectives import OBJECTIVES
from cmdml.optimisation import learning_rate, optimizer_of, train_epoch, trained_parts
from cmdml.run_folder import build_model

CONFIG = TrainConfig(backbone="small_cnn", dim=8, hidden=8, batch_size=32, epochs=3, lr=1e-2, augment=False)


def made(vectors, **changed):
    config = dataclasses.replace(CONFIG, **changed)
    torch.manual_seed(0)
    model = build_model(config, vectors)
    return config, model, OBJECTIVES[config.objective](config, vectors[:10])


def test_matrices_decay_and_biases_and_norms_do_not(vectors):
    config, model, objective = made(vectors, objective="bce", weight_decay=0.3, semantic_decay=0.7)
    decay = {id(p): g["weight_decay"] for g in optimizer_of(model, objective, config).param_groups for p in g["params"]}
    for name, p in [*model.named_parameters(), *objective.named_parameters()]:
        expected = 0.0 if p.ndim <= 1 else 0.7 if name.startswith("semantic_regression") else 0.3
        assert decay.pop(id(p)) == expected, name
    assert not decay  # and nothing else is optimised


def test_without_a_semantic_decay_both_streams_decay_alike(vectors):
    config, model, objective = made(vectors, weight_decay=0.3)
    groups = optimizer_of(model, objective, config).param_groups
    assert {g["weight_decay"] for g in groups if any(p.ndim > 1 for p in g["params"])} == {0.3}


def test_a_semantic_decay_of_nothing_is_none_at_all(vectors):
    config, model, objective = made(vectors, weight_decay=0.3, semantic_decay=0.0)
    decay = {id(p): g["weight_decay"] for g in optimizer_of(model, objective, config).param_groups for p in g["params"]}
    assert {decay[id(p)] for p in model.semantic_regression.parameters()} == {0.0}
    assert {decay[id(p)] for p in model.visual_regression.parameters() if p.ndim > 1} == {0.3}


@pytest.mark.parametrize(("objective", "names"), [("bce", ["log_scale", "bias"]), ("focused_tau", ["log_tau"])])
def test_an_objective_learns_its_own_parameters(objective, names, vectors, tiny_partition):
    before, after = epoch(vectors, tiny_partition, objective=objective)[1:]
    for name in names:
        assert not torch.equal(before[name], after[name]), name


@pytest.mark.parametrize("warmup", [0.0, 0.5, 2.0])
def test_learning_rate_rises_linearly_and_falls_as_a_cosine(warmup):
    config = dataclasses.replace(CONFIG, warmup_epochs=warmup, lr=0.2, epochs=4)
    steps, total = 10, 40
    rise = max(1, round(10 * warmup))
    for t in range(total):
        if t < rise:
            expected = 0.2 * (t + 1) / rise
        else:
            expected = 0.2 * (1 + math.cos(math.pi * (t - rise) / (total - rise))) / 2
        assert learning_rate(t, steps, config) == pytest.approx(expected)


def epoch(vectors, partition, number=0, rows=None, **changed):
    """Train one epoch; (terms, the objective's parameters before, after, the model)."""
    config, model, objective = made(vectors, **changed)
    trained_parts(model, config.tune)
    seen = partition.findings.seen_index
    objective = OBJECTIVES[config.objective](config, vectors[seen])
    rows = partition.train if rows is None else rows
    labels = torch.from_numpy(partition.radiographs.labels[rows][:, seen].astype(np.float32))
    before = {k: v.clone() for k, v in objective.state_dict().items()}
    batches = Batches(partition.radiographs.pixels, rows, torch.device("cpu"))
    optimizer = optimizer_of(model, objective, config)
    terms = train_epoch(model, objective, optimizer, batches, labels, seen, number, config)
    return (terms, model), before, {k: v.clone() for k, v in objective.state_dict().items()}


def test_the_rate_of_a_step_reaches_the_optimizer(vectors, tiny_partition):
    (terms, _), *_ = epoch(vectors, tiny_partition, number=2)
    steps = math.ceil(len(tiny_partition.train) / CONFIG.batch_size)
    assert terms["lr"] == pytest.approx(learning_rate(3 * steps - 1, steps, CONFIG)) != CONFIG.lr


def test_every_epoch_has_an_order_of_its_own_that_follows_from_the_seed(vectors, tiny_partition, monkeypatch):
    orders = []
    original = Batches.iterate

    def watched(self, positions, batch_size):
        orders.append(positions.tolist())
        return original(self, positions, batch_size)

    monkeypatch.setattr(Batches, "iterate", watched)
    for number, seed in ((0, 0), (1, 0), (0, 1), (0, 0)):
        epoch(vectors, tiny_partition, number, seed=seed)
    first, second, other, again = orders
    assert first == again and sorted(first) == sorted(second) == list(range(len(tiny_partition.train)))
    assert first != second and first != other and first != sorted(first)
    for order, seed in ((first, 1), (second, 2), (other, 100_004)):  # as every committed training drew them
        assert order == torch.randperm(len(order), generator=torch.Generator().manual_seed(seed)).tolist()


def test_radiographs_are_augmented_where_asked_and_nowhere_else(vectors, tiny_partition, monkeypatch):
    seen = []
    monkeypatch.setattr(optimisation, "augment", lambda images: seen.append(len(images)) or augment(images))
    epoch(vectors, tiny_partition, augment=False)
    assert not seen
    epoch(vectors, tiny_partition, augment=True)
    assert sum(seen) == len(tiny_partition.train)


def test_last_trains_the_last_block_and_the_heads_and_leaves_the_statistics(vectors, tiny_partition):
    config, fresh, _ = made(vectors, tune="last")
    (_, model), *_ = epoch(vectors, tiny_partition, tune="last")
    last = {id(t) for block in model.visual_extractor.last_block() for t in block.state_dict(keep_vars=True).values()}
    for (name, new), old in zip(model.state_dict(keep_vars=True).items(), fresh.state_dict().values(), strict=True):
        heads = "regression" in name
        moved = not torch.equal(new, old)
        assert moved == (heads or id(new) in last), name


class Scripted(torch.nn.Module):
    """An objective whose terms are those of the script, a step each; ``w`` is a parameter without effect."""

    def __init__(self, totals):
        super().__init__()
        self.totals, self.films, self.w = iter(totals), [], torch.nn.Parameter(torch.ones(()))

    def forward(self, visual, semantic, labels):
        self.films.append(len(visual))
        assert len(labels) == len(visual)
        return {"total": next(self.totals) + 0 * self.w + 0 * visual.sum(), "positive": torch.tensor(7.0)}


class Half(Team):
    """The second of two processes, whose partner does the same; it notes what would have been averaged."""

    def __init__(self):
        super().__init__(1, 2)
        object.__setattr__(self, "averaged", [])

    def mean(self, values):
        self.averaged.append("values")
        return values

    def average_gradients(self, module):
        self.averaged.append(module)


def scripted(vectors, totals, number=0, **told):
    """One epoch on as many features as steps of four need; what it returned."""
    config, model, _ = made(vectors, batch_size=4)
    objective, rows = Scripted(totals), np.arange(4 * len(totals))
    pixels = np.random.default_rng(0).integers(0, 256, (len(rows), 8, 8), dtype=np.uint8)
    batches, labels = Batches(pixels, rows, torch.device("cpu")), torch.zeros(len(rows), 10)
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.0)
    return train_epoch(model, objective, optimizer, batches, labels, np.arange(10), number, config, **told)


def test_the_steps_are_told_every_twentieth_time_and_at_the_end_with_the_mean_until_then(vectors):
    ticks, totals = [], [float(k) for k in range(43)]
    terms = scripted(vectors, totals, number=2, tick=lambda *told: ticks.append(told))
    assert [done for done, _ in ticks] == [86 + 20, 86 + 40, 86 + 43]  # after two epochs
    assert [loss for _, loss in ticks] == pytest.approx([9.5, 19.5, 21.0])
    assert terms["total"] == pytest.approx(21.0) and terms["positive"] == 7.0


def test_gradients_go_back_by_the_way_that_is_given(vectors):
    backwards = []
    scripted(vectors, [1.0, 3.0], backward=lambda loss: backwards.append(loss.item()) or loss.backward())
    assert backwards == [1.0, 3.0]


def test_one_of_two_processes_takes_its_part_weighs_it_and_averages(vectors):
    team, backwards = Half(), []
    config, model, _ = made(vectors, batch_size=5)
    objective = Scripted([1.0, 2.0])
    pixels = np.zeros((10, 8, 8), np.uint8)
    terms = train_epoch(model, objective, torch.optim.SGD(objective.parameters(), lr=0.0),
                        Batches(pixels, np.arange(10), torch.device("cpu")), torch.zeros(10, 10), np.arange(10), 0,
                        config, backward=lambda loss: backwards.append(loss.item()), team=team)  # fmt: skip
    assert objective.films == [3, 3]  # of five, the first process has two
    assert backwards == pytest.approx([1.2, 2.4])  # 3 of 5 films, by two processes
    assert team.averaged == [objective, objective, "values"] and terms["total"] == pytest.approx(1.8)


@pytest.mark.parametrize(("device", "own"), [("cpu", True), ("cuda", False)])
def test_chance_is_seeded_on_the_device_that_draws(monkeypatch, device, own):
    seeded = []
    monkeypatch.setattr(torch, "manual_seed", lambda number: seeded.append(number))
    torch.default_generator.manual_seed(1)
    before = torch.default_generator.initial_seed()
    optimisation._seed(5, torch.device(device))
    assert (torch.default_generator.initial_seed() == 5, seeded) == (own, [] if own else [5]) and before == 1
