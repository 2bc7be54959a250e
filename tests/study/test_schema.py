"""What each level of a profile's file must hold, may hold, and may not."""

import pytest
from pydantic import ValidationError

from cmdml.study.schema import Profile

ROTATION = {
    "designs": [0], "folds": 1, "replicates": 0, "permutations": 0, "pseudo": {"draws": 1, "unseen": 1},
    "trained": {"settings": {"hidden": [0]}, "methods": {"focused": {}}},
    "closed": {"ridge": [1.0], "semantic_ridge": [0.5]},
    "comparisons": {"primary": [["a", "b"]], "secondary": [], "strata": ["none", "view", "source", "source_view"]},
}  # fmt: skip
WHOLE = {
    "sweep": {"tuning": {"lr": [0.1], "methods": []}},
    "rotation": ROTATION | {"extractor": {"quadruples": 0},
                            "improvements": {"design": 0, "quadruples": [0], "variants": {"base": {}}}},
}  # fmt: skip


def changed(path, value):
    """WHOLE with one value replaced."""

    def put(level, names):
        name, *rest = names
        return {**level, name: put(level.get(name, {}), rest) if rest else value}

    return put(WHOLE, path.split("."))


def test_what_is_left_out_has_its_default():
    made = Profile.model_validate({})
    assert made.model_dump() == {
        "title": "", "description": "", "parameters": {}, "variants": {}, "rotation": None,
        "sweep": {"seeds": [0], "splits": ["default"], "methods": {}, "tuning": None},
    }  # fmt: skip
    made = Profile.model_validate(WHOLE)
    assert made.sweep.tuning.seed == 0
    rotation = made.rotation.model_dump()
    assert {name: rotation[name] for name in ("features", "random_features", "without")} == {
        "features": "", "random_features": "", "without": []}  # fmt: skip
    assert rotation["extractor"] == {"quadruples": 0, "device": "cpu", "parameters": {}}
    assert rotation["trained"]["parameters"] == {}
    assert Profile.model_validate({"rotation": ROTATION}).rotation.improvements is None


@pytest.mark.parametrize("path, least", [
    ("rotation.folds", 1), ("rotation.replicates", 0), ("rotation.permutations", 0), ("rotation.pseudo.draws", 1),
    ("rotation.pseudo.unseen", 1), ("rotation.extractor.quadruples", 0), ("rotation.improvements.design", 0),
    ("sweep.tuning.seed", 0),
])  # fmt: skip
def test_counts_have_a_least_value_and_are_integers(path, least):
    Profile.model_validate(changed(path, least))
    for wrong in (least - 1, float(least), str(least), True, None):
        with pytest.raises(ValidationError):
            Profile.model_validate(changed(path, wrong))


@pytest.mark.parametrize("path", ["sweep.seeds", "rotation.designs", "rotation.improvements.quadruples"])
def test_lists_of_counts_hold_at_least_one(path):
    Profile.model_validate(changed(path, [0, 3]))
    for wrong in ([], [-1], [0.5], ["1"], 1):
        with pytest.raises(ValidationError):
            Profile.model_validate(changed(path, wrong))


@pytest.mark.parametrize("path", ["sweep.tuning.lr", "rotation.closed.ridge", "rotation.closed.semantic_ridge"])
def test_lists_of_rates_hold_positive_finite_numbers(path):
    Profile.model_validate(changed(path, [1e-9, 1.0, 2]))
    for wrong in ([], [0.0], [0], [-1.0], [float("inf")], [float("nan")], ["1"], 1.0):
        with pytest.raises(ValidationError):
            Profile.model_validate(changed(path, wrong))


@pytest.mark.parametrize("path, good, wrong", [
    ("sweep.splits", [["default"], ["default", "random"]], [[], ["other"], "default"]),
    ("rotation.comparisons.primary", [[], [["a", "b"]]], [[["a"]], [["a", "b", "c"]], [[]], ["ab"], None]),
    ("rotation.comparisons.secondary", [[], [["a", "b"]]], [[["a"]], [["a", "b", "c"]], [[]], ["ab"], None]),
    ("rotation.comparisons.strata", [[], ["view"]], [["sex"], "view"]),
    ("rotation.trained.settings", [{}, {"lr": [0.1, "x"]}], [{"lr": []}, {"lr": 0.1}, []]),
    ("rotation.improvements.variants", [{"a": {}}, {str(i): {} for i in range(30)}],
     [{}, {str(i): {} for i in range(31)}, {"a": 1}]),
    ("rotation.without", [[], ["source"]], ["source", [1]]),
    ("sweep.methods", [{}, {"a": {"gamma": 1}}], [{"a": 1}, {"a": None}, []]),
    ("variants", [{}, {"a": {}}], [{"a": 1}, []]), ("title", ["a"], [3, None]),
])  # fmt: skip
def test_shapes(path, good, wrong):
    for value in good:
        Profile.model_validate(changed(path, value))
    for value in wrong:
        with pytest.raises(ValidationError):
            Profile.model_validate(changed(path, value))


@pytest.mark.parametrize("level", [
    "", "sweep.", "sweep.tuning.", "rotation.", "rotation.pseudo.", "rotation.trained.", "rotation.closed.",
    "rotation.comparisons.", "rotation.extractor.", "rotation.improvements.",
])  # fmt: skip
def test_no_level_holds_a_key_of_another_name(level):
    with pytest.raises(ValidationError, match="[Ee]xtra"):
        Profile.model_validate(changed(f"{level}odd", 1))


@pytest.mark.parametrize("path", [
    "sweep.tuning.lr", "sweep.tuning.methods", *(f"rotation.{name}" for name in ROTATION), "rotation.pseudo.draws",
    "rotation.pseudo.unseen", "rotation.trained.settings", "rotation.trained.methods", "rotation.closed.ridge",
    "rotation.closed.semantic_ridge", "rotation.comparisons.strata", "rotation.extractor.quadruples",
    "rotation.improvements.design", "rotation.improvements.quadruples", "rotation.improvements.variants",
])  # fmt: skip
def test_what_must_be_said(path):
    above, _, name = path.rpartition(".")
    level = WHOLE
    for step in above.split("."):
        level = level[step]
    with pytest.raises(ValidationError, match="Field required"):
        Profile.model_validate(changed(above, {k: v for k, v in level.items() if k != name}))
