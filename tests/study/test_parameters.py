"""Values that somebody typed, against the types that a notebook declares: each type, each range, each sentence."""

import json
import math

import pytest

from cmdml.study import parameters
from cmdml.study.parameters import checked, declarations, declared_parameters, default_parameters


@pytest.mark.parametrize("value, annotation", [
    (3, "int"), (0, "int"), (-3, "int"), (0.5, "float"), (True, "bool"), (False, "bool"), ("", "str"), ("3", "str"),
    ([1, "a", None], "list"), ([], "list[int]"), ([1, 2], "list[int]"), ([[1], []], "list[list[int]]"),
    (None, "float or None"), (0.5, "float or None"), (None, "float | None"), (3, "int or list[int]"),
    ([3], "int or list[int]"), ("a", "int | str | None"), (None, "int | str | None"),
    ([None, 1.5], "list[float or None]"),
])  # fmt: skip
def test_what_fits_comes_back_as_it_is(value, annotation):
    found = checked("gamma", value, annotation)
    assert found == value and type(found) is type(value)


def test_an_int_is_a_float_where_one_is_meant():
    for annotation in ("float", "float or None"):
        found = checked("gamma", 2, annotation)
        assert found == 2.0 and type(found) is float


@pytest.mark.parametrize("value, annotation", [
    (True, "int"), (3.0, "int"), ("3", "int"), (None, "int"), (True, "float"), ("0.5", "float"), (None, "float"),
    (1, "bool"), ("true", "bool"), (3, "str"), (None, "str"), ((1, 2), "list"), ([1, True], "list[int]"),
    (["a"], "list[int]"), ([3.0], "int or list[int]"), ("None", "float or None"), (3, "list[int]"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_type(value, annotation):
    with pytest.raises(ValueError) as caught:
        checked("beta", value, annotation)
    assert str(caught.value) == f"parameter beta must be {annotation}, got {value!r} ({type(value).__name__})."


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_is_finite(value):
    for annotation, given in (("float", value), ("list[float]", [1.0, value])):
        with pytest.raises(ValueError) as caught:
            checked("beta", given, annotation)
        assert str(caught.value) == f"parameter beta must be finite, got {given!r}."


def test_a_text_that_yaml_should_have_read_as_a_number():
    with pytest.raises(ValueError, match=r"got '1e-3' \(str\)\. YAML reads 1e-3 as text: write 1.000e-03 or 0.001\.$"):
        checked("lr", "1e-3", "float")
    with pytest.raises(ValueError, match=r"YAML reads 0E0 as text: write 0.000e\+00 or 0.0\.$"):
        checked("lr", "0E0", "float or None")
    for value, annotation in (("1e-3", "int"), ("even", "float"), ("0.5", "float"), ("", "float")):
        with pytest.raises(ValueError, match=r"\(str\)\.$"):
            checked("lr", value, annotation)


@pytest.mark.parametrize("name, least", sorted({
    "seed": 0, "size": 1, "images": 1, "min_source_pixels": 0, "replicates": 1, "points": 2, "neighbours": 2,
    "nearest": 1,
}.items()))  # fmt: skip
def test_some_have_a_least_value(name, least):
    assert checked(name, least, "int") == least and checked(name, least + 1, "int") == least + 1
    with pytest.raises(ValueError) as caught:
        checked(name, least - 1, "int")
    assert str(caught.value) == f"parameter {name} must be at least {least}, got {least - 1}."


@pytest.mark.parametrize("name", ["prevalence", "perplexity"])
def test_some_are_above_a_value(name):
    assert checked(name, 1e-9, "float") == 1e-9
    for value in (0.0, -1.0):
        with pytest.raises(ValueError) as caught:
            checked(name, value, "float")
        assert str(caught.value) == f"parameter {name} must be above 0, got {value}."


@pytest.mark.parametrize("annotation", ["os", "dict", "list[os]", "set[int]", "int or b", "int | b", "int()", "None()",
                                        "int and str", "int + str", "a.list[int]", "3", "(list)[0]"])  # fmt: skip
def test_other_annotations_are_none(annotation):
    with pytest.raises(ValueError, match=r"annotation .* is none of int, float, bool, str, list, None, list\[\.\.\."):
        checked("gamma", 1, annotation)


def test_a_cell_of_declarations_and_nothing_else():
    assert declarations("a: int = 3  # what\nb: int or list[int] = [1]\nc: str") == {
        "a": "int", "b": "int or list[int]", "c": "str"}  # fmt: skip
    for source in ("", "a: int = 3\nprint(a)", "a = 3", "a.b: int = 3", "a: int = ", "%matplotlib", "# only words"):
        assert declarations(source) == {}, source


def notebook(tmp_path, *cells):
    file = tmp_path / "one.ipynb"
    made = [{"cell_type": "code", "metadata": {"tags": tags} if tags else {}, "source": source.splitlines(True)}
            for tags, source in cells]  # fmt: skip
    file.write_text(json.dumps({"cells": made}))
    return file


def test_a_notebook_s_declared_and_default_parameters(tmp_path):
    cell = 'a: float = 0.5  # a = b\nb: list = [1, "c"]'
    file = notebook(tmp_path, ([], "x: int = 9"), (["hide", "parameters"], cell))
    assert declared_parameters(file) == {"a": "float", "b": "list"}
    assert default_parameters(file) == {"a": 0.5, "b": [1, "c"]}


@pytest.mark.parametrize("cells", [[], [([], "x: int = 9")], [(["parameters"], "a: int = 1")] * 2])
def test_a_notebook_has_one_cell_of_parameters(tmp_path, cells):
    file = notebook(tmp_path, *cells)
    count = sum("parameters" in tags for tags, _ in cells)
    with pytest.raises(ValueError) as caught:
        declared_parameters(file)
    assert str(caught.value) == f"{file}: one cell must be tagged 'parameters', found {count}."


CELL = "gamma: float = 2.0  # focus\nseed: int = 0\nhidden: int or list[int] = 3"


def namespace(*cells, **values):
    return {"In": ["", *cells, "parameters = run.parameters(globals())"], "gamma": 2.0, "seed": 0, "hidden": 3} | values


def test_parameters_in_effect():
    here = namespace("import os", CELL, gamma=1, hidden=[4, 5], other=6)
    found = parameters.parameters(here)
    assert list(found.items()) == [("gamma", 1.0), ("seed", 0), ("hidden", [4, 5])]
    assert type(found["gamma"]) is float and type(here["gamma"]) is float and here["other"] == 6


def test_the_last_parameters_cell_that_ran_counts():
    assert list(parameters.parameters(namespace("old: int = 3", CELL, "seed: int = 1"))) == ["seed"]
    for cells in ((), ("import os",)):
        with pytest.raises(ValueError) as caught:
            parameters.parameters(namespace(*cells))
        said = "the parameters cell has not run: run the notebook's first code cell, then this one."
        assert str(caught.value) == said
    with pytest.raises(ValueError, match="the parameters cell has not run"):
        parameters.parameters({"In": ["", CELL]})  # the cell that calls is not one that ran before
    with pytest.raises(ValueError, match="the parameters cell has not run"):
        parameters.parameters({})


def test_injected_names_must_be_declared():
    parameters.parameters(namespace(CELL, "# Parameters\ngamma = 1\nPAPERMILL_X = 2\n"))
    parameters.parameters(namespace(CELL, "gama = 1"))  # a cell of the reader's own
    parameters.parameters(namespace("# Parameters\ngama = 1\n", CELL))  # of another run
    with pytest.raises(ValueError, match="^unknown parameter 'gama': did you mean 'gamma'"):
        parameters.parameters(namespace(CELL, "\n# Parameters\nseed = 1\ngama = 1\n"))
    with pytest.raises(ValueError, match="^parameter gamma must be float, got 'a'"):
        parameters.parameters(namespace(CELL, "# Parameters\ngamma = 'a'\n", gamma="a"))
