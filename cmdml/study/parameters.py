"""Values that somebody typed: a notebook's parameters and a profile's, against the types that the notebooks declare."""

from __future__ import annotations

import ast
import json
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from cmdml.names import unknown
from cmdml.study.places import resolve

FLOAT = Annotated[float, Field(allow_inf_nan=False)]
KINDS = {"int": int, "float": FLOAT, "bool": bool, "str": str, "list": list[Any], "None": type(None)}
# What a type cannot say. The ranges of a training are TrainConfig's own, those of a set its source's.
AT_LEAST = {"seed": 0, "size": 1, "images": 1, "min_source_pixels": 0, "replicates": 1, "points": 2, "neighbours": 2,
            "nearest": 1}  # fmt: skip
ABOVE = {"prevalence": 0, "perplexity": 0}


def _kind(node: ast.expr):
    """The type that an annotation stands for: int, float, bool, str, list, list[...], None and unions of these.

    A union is written ``int or list[int]``: papermill leaves a parameter with a ``|`` out of ``--help-notebook``.
    """
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        return reduce(or_, map(_kind, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return reduce(or_, (_kind(node.left), _kind(node.right)))
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "list":
        return list[_kind(node.slice)]
    name = "None" if isinstance(node, ast.Constant) and node.value is None else getattr(node, "id", None)
    if name not in KINDS:
        raise ValueError(f"the annotation {ast.unparse(node)!r} is none of {', '.join(KINDS)}, list[...] and unions.")
    return KINDS[name]


@cache
def _adapter(annotation: str) -> TypeAdapter:
    return TypeAdapter(_kind(ast.parse(annotation, mode="eval").body))


def checked(name: str, value, annotation: str):
    """``value`` as the annotation asks for it: strictly, but for an int where a float is meant.

    Parameters
    ----------
    name : str
        Of the parameter; some have a range.
    annotation : str
        As it stands in a parameters cell, e.g. ``"int or list[int]"``. It is read, never run.

    Raises
    ------
    ValueError
        Another type (``True`` is no int, ``"3"`` is no 3), no finite number, or out of range.
    """
    try:
        value = _adapter(annotation).validate_python(value, strict=True)
    except ValidationError as error:
        if all(each["type"] == "finite_number" for each in error.errors()):
            raise ValueError(f"parameter {name} must be finite, got {value!r}.") from None
        text = f"parameter {name} must be {annotation}, got {value!r} ({type(value).__name__})."
        if isinstance(value, str) and "float" in annotation and "e" in value.lower() and _number(value):
            text += f" YAML reads {value} as text: write {float(value):#.3e} or {float(value)!r}."
        raise ValueError(text) from None
    if name in AT_LEAST and value < AT_LEAST[name]:
        raise ValueError(f"parameter {name} must be at least {AT_LEAST[name]}, got {value!r}.")
    if name in ABOVE and not value > ABOVE[name]:
        raise ValueError(f"parameter {name} must be above {ABOVE[name]}, got {value!r}.")
    return value


def _number(text: str) -> bool:
    try:
        return bool(float(text)) or True
    except ValueError:
        return False


def declarations(source: str) -> dict[str, str]:
    """{name: annotation} if a cell holds nothing but `name: type = value` lines, else {}."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return {}
    if not all(isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) for node in body):
        return {}
    return {node.target.id: ast.unparse(node.annotation) for node in body}


def declared_parameters(notebook) -> dict[str, str]:
    """{name: annotation} of a notebook's parameters cell (papermill's own reader stops at a second ``=`` in a line)."""
    cells = json.loads(resolve(notebook).read_text(encoding="utf-8"))["cells"]
    tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", ())]
    if len(tagged) != 1:
        raise ValueError(f"{notebook}: one cell must be tagged 'parameters', found {len(tagged)}.")
    return declarations("".join(tagged[0]["source"]))


def default_parameters(notebook) -> dict:
    """{name: value} of a notebook's parameters cell."""
    cells = json.loads(resolve(notebook).read_text(encoding="utf-8"))["cells"]
    (source,) = ["".join(c["source"]) for c in cells if "parameters" in c["metadata"].get("tags", ())]
    return {node.target.id: ast.literal_eval(node.value) for node in ast.parse(source).body}


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
        A name that the notebook does not declare (the nearest declared one is offered), or a value that ``checked``
        refuses.
    """
    history = list(namespace.get("In", ()))[:-1]  # the last entry is the cell that calls us
    at = next((i for i in reversed(range(len(history))) if declarations(history[i])), None)
    if at is None:
        raise ValueError("the parameters cell has not run: run the notebook's first code cell, then this one.")
    declared = declarations(history[at])
    for name in (name for cell in history[at + 1 :] for name in _injected(cell)):
        if name not in declared and not name.startswith("PAPERMILL_"):
            raise unknown(name, declared, "parameter")
    values = {name: checked(name, namespace[name], kind) for name, kind in declared.items()}
    namespace.update(values)
    return values
