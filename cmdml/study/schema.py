"""What a profile's file may hold, level by level."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cmdml.study.parameters import FLOAT

SPLITS = ("default", "random")
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[FLOAT, Field(gt=0)]
Named = dict[str, dict[str, Any]]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Tuning(Strict):
    """Learning rates to choose from: ``seed``, ``lr`` and ``methods``."""

    seed: Count = 0
    lr: Annotated[list[Rate], Field(min_length=1)]
    methods: list[str]


class Sweep(Strict):
    """Methods x seeds x splits; see ``cmdml.study.plan``."""

    seeds: Annotated[list[Count], Field(min_length=1)] = [0]
    splits: Annotated[list[Literal[SPLITS]], Field(min_length=1)] = ["default"]
    methods: Named = {}
    tuning: Tuning | None = None


class Pseudo(Strict):
    """How many draws of how many seen findings play unseen when settings are chosen."""

    draws: Annotated[int, Field(ge=1)]
    unseen: Annotated[int, Field(ge=1)]


class Trained(Strict):
    """Trained methods of a rotation, and the grid of settings that each may choose from."""

    settings: dict[str, Annotated[list[Any], Field(min_length=1)]]
    methods: Named
    parameters: dict[str, Any] = {}  # of the heads, where they are not the profile's


class Closed(Strict):
    """Strengths of the two ridges that closed forms may choose from."""

    ridge: Annotated[list[Rate], Field(min_length=1)]
    semantic_ridge: Annotated[list[Rate], Field(min_length=1)]


class Comparisons(Strict):
    """The planned ones: pairs of a method and its reference, and the strata they are made in."""

    primary: list[Annotated[list[str], Field(min_length=2, max_length=2)]]
    secondary: list[Annotated[list[str], Field(min_length=2, max_length=2)]]
    strata: list[Literal["none", "view", "source", "source_view"]]


class Extractor(Strict):
    """A network per quadruple: the seed of the quadruples, which all seeds share, and what is not the profile's."""

    quadruples: Count
    device: Literal["cpu", "cuda"] = "cpu"  # that it is trained on
    parameters: dict[str, Any] = {}


class Improvements(Strict):
    """Variants of the study's own head: ranked on pseudo-unseen findings in some quadruples of one design."""

    design: Count
    quadruples: Annotated[list[Count], Field(min_length=1)]
    variants: Annotated[Named, Field(min_length=1, max_length=30)]


class Rotation(Strict):
    """Every finding takes its turn; see ``book/plan.md`` and ``cmdml.study.rotation``."""

    features: str = ""
    random_features: str = ""
    extractor: Extractor | None = None
    without: list[str] = []  # methods that the set cannot have
    designs: Annotated[list[Count], Field(min_length=1)]
    folds: Annotated[int, Field(ge=1)]
    replicates: Count
    permutations: Count
    pseudo: Pseudo
    trained: Trained
    closed: Closed
    comparisons: Comparisons
    improvements: Improvements | None = None


class Profile(Strict):
    """What a profile's file may hold. Values of parameters are checked against the notebooks that declare them."""

    title: str = ""
    description: str = ""
    parameters: dict[str, Any] = {}
    variants: Named = {}
    sweep: Sweep = Sweep()
    rotation: Rotation | None = None
