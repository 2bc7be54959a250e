"""A notebook's parameters: which it declares, which it was given, and whether the two agree."""

from __future__ import annotations

import ast
import types
import typing

from cmdml.names import unknown


def _fits(value, kind) -> bool:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in typing.get_args(kind))
    kind = typing.get_origin(kind) or kind
    if kind in (int, float):  # True is an int to Python and never meant as one here
        return isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    return value is None if kind is None else isinstance(value, kind)


def checked(name: str, value, annotation: str, namespace: dict):
    """`value`, as a float where a float is asked for and an int was given; ValueError if the type is another."""
    kind = eval(annotation, namespace)  # the text of the notebook's own parameters cell
    if not _fits(value, kind):
        raise ValueError(f"parameter {name} must be {annotation}, got {value!r} ({type(value).__name__}).")
    return float(value) if kind is float else value


def declarations(source: str) -> dict[str, str]:
    """{name: annotation} if a cell holds nothing but `name: type = value` lines, else {}."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return {}
    if not all(isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) for node in body):
        return {}
    return {node.target.id: ast.unparse(node.annotation) for node in body}


def _injected(source: str) -> list[str]:
    """Names assigned by the cell that papermill puts after the parameters cell; [] for any other cell."""
    if not source.lstrip().startswith("# Parameters"):
        return []
    return [t.id for node in ast.parse(source).body if isinstance(node, ast.Assign) for t in node.targets]


def parameters(namespace: dict) -> dict:
    """Check a notebook's parameters and return the values in effect.

    Call it as ``parameters = run.parameters(globals())`` in the cell after the parameters cell. papermill only warns
    about a misspelt name and never looks at types; the history of the kernel (``In``) tells both: the parameters cell
    is the last one run that holds only ``name: type = value`` lines, papermill's cell follows it.

    Parameters
    ----------
    namespace : dict
        The notebook's ``globals()``. An int given for a float is turned into a float there too.

    Returns
    -------
    dict
        ``{name: value}`` in the order of the parameters cell.

    Raises
    ------
    ValueError
        A name that the notebook does not declare (the nearest declared one is offered), or a value of another type.
    """
    history = list(namespace.get("In", ()))[:-1]  # the last entry is the cell that calls us
    at = next((i for i in reversed(range(len(history))) if declarations(history[i])), None)
    if at is None:
        raise ValueError("the parameters cell has not run: run the notebook's first code cell, then this one.")
    declared = declarations(history[at])
    for name in (name for cell in history[at + 1 :] for name in _injected(cell)):
        if name not in declared and not name.startswith("PAPERMILL_"):
            raise unknown(name, declared, "parameter")
    values = {name: checked(name, namespace[name], kind, namespace) for name, kind in declared.items()}
    namespace.update(values)
    return values
