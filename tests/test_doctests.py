"""The examples in docstrings run, and every objective has one."""

import doctest
import inspect
from importlib import import_module
from pathlib import Path

import pytest
import torch

from cmdml import closed_form, loss, model, objectives, ranking
from cmdml.config import TrainConfig
from cmdml.objectives import OBJECTIVES

ROOT = Path(__file__).resolve().parents[1]
SHOWING = [path for path in sorted((ROOT / "cmdml").rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
TAUGHT = (loss, model, objectives, ranking, closed_form)  # what a student reads


def examples(module):
    """(name, doctest) of all that a module defines and shows."""
    return {test.name: test for test in doctest.DocTestFinder().find(module) if test.examples}


@pytest.mark.parametrize("path", SHOWING, ids=lambda path: path.stem)
def test_examples_run(path):
    module = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    shown = examples(module)
    assert shown, f"{path.name} holds an example that no doctest finds"
    for name, test in shown.items():
        said = []
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
        assert result.failed == 0, f"{name}\n{''.join(said)}"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_has_an_example_of_its_own(name):
    """Some share a class: the example names the entry."""
    cls = type(OBJECTIVES[name](TrainConfig(), torch.eye(10)))
    shown = examples(import_module(cls.__module__)).get(f"{cls.__module__}.{cls.__name__}")
    assert shown and any(f'OBJECTIVES["{name}"]' in example.source for example in shown.examples), name


@pytest.mark.parametrize("module", TAUGHT, ids=lambda module: module.__name__)
def test_public_functions_and_classes_show_how_they_are_called(module):
    shown = examples(module)
    for name, one in vars(module).items():
        mine = getattr(one, "__module__", "") == module.__name__ and not name.startswith("_")
        if mine and (inspect.isclass(one) or inspect.isfunction(one)) and name not in ("check_pairs", "surprisals"):
            assert f"{module.__name__}.{name}" in shown, f"{name} has no example"
