"""A configuration that exists is valid, and says in one sentence why one does not."""

import dataclasses
import math

import pytest

from cmdml.config import TrainConfig, effective
from cmdml.objectives import HYPERPARAMETERS, OBJECTIVES, USES

NUMBERS = ("gamma", "alpha", "tau", "dropout", "lr", "weight_decay", "warmup_epochs", "margin", "semantic_decay")
WHOLE = ("dim", "epochs", "batch_size", "patience", "seed")


@pytest.mark.parametrize("name", [*NUMBERS, *WHOLE])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, "1", True, [1.0]], ids=repr)
def test_numbers_are_numbers_in_range(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be .*, got ") as caught:
        TrainConfig(**{name: value})
    assert "\n" not in str(caught.value) and "lr (" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"alpha": 1.01}, "alpha must be less than or equal to 1"),
        ({"dropout": 1.0}, "dropout must be less than 1"),
        ({"tau": 0.0}, "tau must be greater than 0"),
        ({"lr": 0.0}, "lr must be greater than 0"),
        ({"epochs": 2.0}, "epochs must be a valid integer"),
        ({"hidden": [8, 0]}, "hidden must be a whole number from 0 on, or a list"),
        ({"hidden": True}, "hidden must be a whole number"),
        ({"normalize": 1}, "normalize must be a valid boolean"),
        ({"direction": "jiont"}, "did you mean 'joint'"),
        ({"tune": "frozne"}, "did you mean 'frozen'"),
        ({"backbone": "resnet81"}, "did you mean 'resnet18'"),
        ({"backbone": "fcn_resnet50"}, "unknown backbone"),
        ({"weights": "chexpert"}, "weights 'chexpert' are refused"),
        ({"backbone": "small_cnn", "weights": "imagenet"}, "small_cnn has no ImageNet weights"),
    ],
)
def test_the_sentence_says_what_is_wrong(values, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**values)


def test_the_defaults_are_those_of_every_committed_run():
    """A default that moved would change every run that does not name it."""
    assert dataclasses.asdict(TrainConfig()) == {
        "objective": "focused", "gamma": 2.0, "alpha": 0.75, "tau": 1.0, "margin": None, "direction": "joint",
        "backbone": "densenet121", "weights": "", "tune": "all", "dim": 128, "hidden": 256, "dropout": 0.0,
        "normalize": True, "epochs": 20, "batch_size": 64, "lr": 1e-3, "weight_decay": 0.05, "semantic_decay": None,
        "warmup_epochs": 1.0, "patience": 0, "augment": True, "precision": "auto", "compile": False, "seed": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "lowest", "below", "highest", "above"),
    [
        ("gamma", 0.0, -1e-9, 1e6, None), ("alpha", 0.0, -1e-9, 1.0, 1 + 1e-9), ("tau", 1e-9, 0.0, 1e6, None),
        ("margin", 0.0, -1e-9, 1e6, None), ("dropout", 0.0, -1e-9, 1 - 1e-9, 1.0), ("dim", 1, 0, 10**6, None),
        ("hidden", 0, -1, 10**6, None), ("epochs", 1, 0, 10**6, None), ("batch_size", 1, 0, 10**6, None),
        ("lr", 1e-9, 0.0, 1e6, None), ("weight_decay", 0.0, -1e-9, 1e6, None), ("patience", 0, -1, 10**6, None),
        ("semantic_decay", 0.0, -1e-9, 1e6, None), ("warmup_epochs", 0.0, -1e-9, 1e6, None),
        ("seed", 0, -1, 2**40 - 1, 2**40),
    ],
)  # fmt: skip
def test_ranges_end_where_they_say(name, lowest, below, highest, above):
    for value in (lowest, highest):
        assert getattr(TrainConfig(**{name: value}), name) == value
    for value in (below, above):
        if value is not None:
            with pytest.raises(ValueError, match=f"^{name} must be"):
                TrainConfig(**{name: value})


def test_whole_numbers_become_numbers_and_tuples_lists():
    config = TrainConfig(gamma=3, hidden=(4, 2))
    assert isinstance(config.gamma, float) and config.hidden == [4, 2]
    assert TrainConfig.from_dict(dataclasses.asdict(config)) == config


def test_what_an_objective_reads_is_what_it_uses():
    """Each hyper-parameter that it is said to read changes it, and no other does."""
    import torch

    vectors = torch.eye(4)
    v = torch.nn.functional.normalize(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    labels = (torch.rand(5, 4, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    other = {"gamma": 0.5, "alpha": 0.2, "tau": 3.0, "margin": 2.5}
    for name in OBJECTIVES:
        own = OBJECTIVES[name](TrainConfig(objective=name), vectors)(v, vectors, labels)["total"]
        for hyper in HYPERPARAMETERS:
            changed = TrainConfig(objective=name, **{hyper: other[hyper]})
            differs = bool((OBJECTIVES[name](changed, vectors)(v, vectors, labels)["total"] - own).abs() > 1e-6)
            assert differs == (hyper in USES[name]), (name, hyper)


def test_what_has_no_effect_is_refused_where_given_and_dropped_where_inherited():
    values = {"objective": "euclidean", "gamma": 4.0, "tau": 2.0, "margin": None, "lr": 0.1}
    with pytest.raises(ValueError, match=r"objective euclidean does not use gamma \(given: 4.0\).*reads tau"):
        effective(values, {"objective", "gamma"})
    for name in ("gamma", "margin"):  # 0 is a value that somebody asked for, too
        with pytest.raises(ValueError, match=rf"objective euclidean does not use {name} \(given: 0\.0\)"):
            effective({"objective": "euclidean", name: 0.0}, {name})
        assert effective({"objective": "euclidean", name: 0.0}) == ({"objective": "euclidean"}, [name])
    kept, dropped = effective(values, {"objective"})
    assert dropped == ["gamma"] and kept == {"objective": "euclidean", "tau": 2.0, "margin": None, "lr": 0.1}
    assert effective({"tune": "frozen", "augment": True}, {"tune"}) == ({"tune": "frozen"}, ["augment"])
    with pytest.raises(ValueError, match=r"tune=frozen trains on features .* augment .*given: True.*leave it out"):
        effective({"tune": "frozen", "augment": True}, {"tune", "augment"})
    assert effective({"tune": "frozen", "augment": False}, {"augment"})[1] == []
    assert effective({"tune": "all", "augment": True}, {"augment"}) == ({"tune": "all", "augment": True}, [])
    with pytest.raises(ValueError, match="did you mean 'focused'"):
        effective({"objective": "focussed"})
