"""The configuration of a training run: every choice by name, checked when it is made."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import torchvision
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from torchvision.models import list_models

from cmdml.model import DIRECTIONS
from cmdml.names import check
from cmdml.objectives import HYPERPARAMETERS, OBJECTIVES, USES

CHOICES = {
    "objective": tuple(OBJECTIVES),
    "direction": DIRECTIONS,
    "precision": ("auto", "32-true", "bf16-mixed", "16-mixed"),
    "tune": ("all", "last", "frozen"),
}
BACKBONES = ("small_cnn", "efficientnet_lite0")

Count = Annotated[int, Field(ge=0)]
Some = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class TrainConfig:
    """Every choice of a training run; one that exists is valid.

    ``objective`` names a loss of :data:`cmdml.objectives.OBJECTIVES`; ``gamma``, ``alpha``, ``tau`` are its parameters
    (see :func:`~cmdml.loss.weighted_focused_euclidean`) and so is ``margin`` (None = the objective's own). ``backbone``
    … ``normalize`` are the model's (:class:`~cmdml.model.CMDML`). ``tune`` says which part of the visual extractor is
    trained: all of it, its last block, or nothing (``frozen``: features were extracted before). The learning rate warms
    up linearly over ``warmup_epochs`` and falls to zero as a cosine. ``semantic_decay`` is the weight decay of the
    semantic regression module (None = ``weight_decay``). Training ends early after ``patience`` epochs without a better
    seen validation AUROC (0 = never). ``precision`` ``auto`` is bfloat16 on CUDA and float32 on the CPU.

    Raises
    ------
    ValueError
        A value of another type, out of its range, or not among the choices; the sentence names it and the way out.
    """

    objective: str = "focused"
    gamma: NotNegative = 2.0
    alpha: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.75
    tau: Positive = 1.0
    margin: NotNegative | None = None
    direction: str = "joint"
    backbone: str = "densenet121"
    weights: str = ""
    tune: str = "all"
    dim: Some = 128
    hidden: Count | list[Some] = 256
    dropout: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    normalize: bool = True
    epochs: Some = 20
    batch_size: Some = 64
    lr: Positive = 1e-3
    weight_decay: NotNegative = 0.05
    semantic_decay: NotNegative | None = None
    warmup_epochs: NotNegative = 1.0
    patience: Count = 0
    augment: bool = True
    precision: str = "auto"
    compile: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**40)] = 0

    def __post_init__(self):
        if isinstance(self.hidden, tuple):
            object.__setattr__(self, "hidden", list(self.hidden))  # as JSON reads it back: a tuple would not equal it
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            try:
                object.__setattr__(self, field.name, _ADAPTERS[field.name].validate_python(value))
            except ValidationError as error:
                wanted = error.errors()[0]["msg"].lower().replace("input should be", "must be")
                if field.name == "hidden":
                    wanted = "must be a whole number from 0 on, or a list of numbers from 1 on"
                raise ValueError(f"{field.name} {wanted}, got {value!r}") from None
        for name, choices in CHOICES.items():
            check(getattr(self, name), choices, name)
        check(self.backbone, [*BACKBONES, *list_models(module=torchvision.models)], "backbone")
        if self.weights not in ("", "none", "imagenet"):
            raise ValueError(f"weights {self.weights!r} are refused: use none or 'imagenet'")
        if self.weights == "imagenet" and self.backbone == "small_cnn":
            raise ValueError("small_cnn has no ImageNet weights: use weights none, or another backbone")

    @classmethod
    def from_dict(cls, values: dict) -> "TrainConfig":
        """Build from a mapping; an unknown key is an error that offers the nearest valid one."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            check(name, names, "training parameter")
        return cls(**values)


_STRICT = ConfigDict(strict=True)
_ADAPTERS = {field.name: TypeAdapter(field.type, config=_STRICT) for field in dataclasses.fields(TrainConfig)}


def effective(values: dict, given=()) -> tuple[dict, list[str]]:
    """Values without the hyper-parameters that their objective does not read, and the names of those.

    Parameters
    ----------
    values : dict
        Training parameters; names that are no hyper-parameter of an objective pass through.
    given : iterable of str
        Names that somebody set on purpose, for this run or this method; the others were inherited.

    Raises
    ------
    ValueError
        If one of ``given`` would have no effect: what was asked for is not what would be trained.
    """
    objective = values.get("objective", TrainConfig.objective)
    check(objective, OBJECTIVES, "objective")
    set_ = [name for name in HYPERPARAMETERS if values.get(name) is not None]
    ignored = [name for name in set_ if name not in USES[objective]]
    for name in ignored:
        if name in given:
            used = ", ".join(USES[objective]) or "no hyper-parameter"
            raise ValueError(f"objective {objective} does not use {name} (given: {values[name]}): leave it out; "
                             f"{objective} reads {used}")  # fmt: skip
    if values.get("tune") == "frozen" and values.get("augment"):
        if "augment" in given:
            raise ValueError("tune=frozen trains on features that were extracted before, so augment would change "
                             "nothing (given: True): leave it out")  # fmt: skip
        ignored = [*ignored, "augment"]
    return {name: value for name, value in values.items() if name not in ignored}, ignored
