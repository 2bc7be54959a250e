"""The configuration of a training run: every choice by name, checked when it is made."""

import dataclasses
from dataclasses import dataclass

from cmdml.names import check
from cmdml.objectives import OBJECTIVES

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class TrainConfig:
    """Every choice of a training run.

    ``objective`` names a loss of :data:`cmdml.objectives.OBJECTIVES`; ``gamma``, ``alpha``, ``tau`` are its parameters
    (see :func:`~cmdml.loss.weighted_focused_euclidean`) and so is ``margin`` (0 = the objective's own); ``backbone`` …
    ``normalize`` are the model's (:class:`~cmdml.model.CMDML`). The learning rate warms up linearly over
    ``warmup_epochs`` and falls to zero as a cosine. Training ends early after ``patience`` epochs without a better seen
    validation AUROC (0 = never). ``precision`` ``auto`` is bfloat16 on CUDA and float32 on the CPU.
    """

    objective: str = "focused"
    gamma: float = 2.0
    alpha: float = 0.75
    tau: float = 1.0
    margin: float = 0.0
    direction: str = "joint"
    backbone: str = "densenet121"
    weights: str = ""
    dim: int = 128
    hidden: int | list[int] = 256
    dropout: float = 0.0
    normalize: bool = True
    epochs: int = 20
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup_epochs: float = 1.0
    patience: int = 0
    augment: bool = True
    precision: str = "auto"
    compile: bool = False
    seed: int = 0

    def __post_init__(self):
        if not isinstance(self.hidden, int):
            object.__setattr__(self, "hidden", list(self.hidden))  # as JSON reads it back: a tuple would not equal it
        check(self.objective, OBJECTIVES, "objective")
        check(self.precision, PRECISIONS, "precision")
        for name in ("epochs", "batch_size", "lr", "tau", "dim"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    @classmethod
    def from_dict(cls, values: dict) -> "TrainConfig":
        """Build from a mapping; an unknown key is an error that offers the nearest valid one."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            check(name, names, "training parameter")
        return cls(**values)
