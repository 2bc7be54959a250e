"""Profiles: ``profiles/<name>.yaml`` read strictly, every key and value checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import yaml
from pydantic import ValidationError

from cmdml.names import check, unknown
from cmdml.strict_yaml import problem, read_yaml
from cmdml.study.parameters import checked, declared_parameters
from cmdml.study.places import ROOT, resolve
from cmdml.study.schema import SPLITS, Named, Profile, Rotation, Strict, Sweep

NAME = re.compile(r"[A-Za-z0-9_-]+")


def _lines(node, path=(), seen=None) -> Iterator[tuple[tuple, int]]:
    """(path of keys and positions, line) of everything below a YAML node; what is repeated by `*name` counts once."""
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        pairs = [(key.value, key.start_mark.line + 1, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        pairs = [(i, value.start_mark.line + 1, value) for i, value in enumerate(node.value)]
    else:
        pairs = []
    for key, line, value in pairs:
        yield (*path, key), line
        yield from _lines(value, (*path, key), seen)


def _read(path: Path) -> tuple[dict, dict]:
    """The content of a profile's file, and the line of each of its keys."""
    try:
        text = path.read_text(encoding="utf-8")
        content, lines = read_yaml(text), dict(_lines(yaml.compose(text, Loader=yaml.SafeLoader)))
    except UnicodeDecodeError as error:
        raise ValueError(f"profile {path.name} is no UTF-8 text (byte {error.start}): save it as UTF-8.") from None
    except yaml.YAMLError as error:
        what = problem(error)
        at = ", " if what.startswith("line ") else ": "
        raise ValueError(f"profile {path.name}{at}{what}.") from None
    if content is None:
        raise ValueError(f"profile {path.name} is empty: it needs at least `parameters`, see profiles/phantom.yaml.")
    if not isinstance(content, dict):
        keys = ", ".join(Profile.model_fields)
        raise ValueError(f"profile {path.name} must hold keys ({keys}), got {str(content):.60}.")
    return content, lines


def _sentence(error: dict) -> str:
    """One of pydantic's errors in the words of this study."""
    *above, last = [part for part in error["loc"] if part != "[key]"]
    if error["type"] == "extra_forbidden":
        kind = Profile
        for name in above:
            hint = kind.model_fields[name].annotation
            parts = (part for part in (hint, *get_args(hint)) if isinstance(part, type))
            kind = next(part for part in parts if issubclass(part, Strict))
        return str(unknown(last, kind.model_fields, "key"))
    if error["type"] == "missing":
        return f"{'.'.join(map(str, error['loc']))} is missing."
    where = ".".join(map(str, error["loc"]))
    return f"{where}: {error['msg'].lower().replace('input should be', 'must be')}, got {error['input']!r}."


class _Reader:
    """Checks of one file, whose sentences name the file and, where the value stands there, the line."""

    def __init__(self, path: Path, lines: dict, declared: dict[str, str]):
        self.path, self.lines, self.declared = path, lines, declared

    def refuse(self, where: tuple, sentence: str) -> ValueError:
        while where and where not in self.lines:
            where = where[:-1]
        return ValueError(f"profile {self.path.name}{f', line {self.lines[where]}' if where else ''}: {sentence}")

    def fit(self, given: dict, where: tuple, also=()) -> dict:
        """Values as the notebooks declare them; with no ``where`` they are no part of the file."""
        values = {}
        for name, value in given.items():
            try:
                if name in also:  # the one split that a method runs on
                    check(value, SPLITS, "split")
                elif name == "profile":
                    raise ValueError(f"`profile` is the name of the file: copy this one to profiles/{value}.yaml.")
                else:
                    check(name, self.declared, "parameter")
                    value = checked(name, value, self.declared[name])
                if name == "run_dir" and (not value or set(value) & set("{}\n")):  # Snakemake fills in braces
                    raise ValueError(f"run_dir must name a folder without {{ }} and line breaks, got {value!r}.")
                if where[:1] in (("variants",), ("sweep",)) and name == "run_dir":
                    raise ValueError("`run_dir` is the whole study's: set it under `parameters`.")
            except ValueError as error:
                raise (self.refuse((*where, name), str(error)) if where else error) from None
            values[name] = value
        return values

    def named(self, given: Named, where: tuple, also=()) -> dict:
        """The same for {name: values}; the names become folders."""
        for name in given:
            if not NAME.fullmatch(name):
                raise self.refuse((*where, name), f"the name {name!r} may hold letters, digits, _ and - only.")
        return {name: self.fit(values, (*where, name), also) for name, values in given.items()}

    def sweep(self, given: Sweep) -> dict:
        values = given.model_dump(exclude_none=True)
        values["methods"] = self.named(given.methods, ("sweep", "methods"), ("only",))
        for key in ("seeds", "splits"):
            if len(set(values[key])) < len(values[key]):
                raise self.refuse(("sweep", key), f"sweep.{key} names one twice: {values[key]}.")
        for name, changed in values["methods"].items():
            if changed.get("unseen", "none") != "none":
                sentence = "a method's `unseen` may only be none (the ceiling): the splits say which are unseen."
                raise self.refuse(("sweep", "methods", name, "unseen"), sentence)
        for i, name in enumerate(values.get("tuning", {}).get("methods", ())):
            if name not in values["methods"]:
                raise self.refuse(("sweep", "tuning", "methods", i), str(unknown(name, values["methods"], "method")))
        return values

    def rotation(self, given: Rotation | None) -> dict | None:
        if given is None:
            return None
        values, where = given.model_dump(), ("rotation", "trained")
        for name in ("extractor", "without", "improvements"):
            if not values[name]:
                del values[name]  # what a rotation does not have is no part of its plan
        if not values["trained"]["parameters"]:
            del values["trained"]["parameters"]
        if given.extractor:
            own = self.fit(given.extractor.parameters, ("rotation", "extractor", "parameters"))
            values["extractor"]["parameters"] = own
            if given.extractor.device == "cpu":
                del values["extractor"]["device"]
        for key in ("features", "random_features"):
            if bool(values[key]) == bool(given.extractor):
                what = "of no use beside" if given.extractor else "missing without"
                sentence = f"rotation.{key} is {what} an extractor."
                raise self.refuse(("rotation", key), sentence)
        if (given.folds != 1) if given.extractor else (given.folds < 3):
            sentence = "rotation.folds must be 1 with an extractor (the set's own split), and from 3 on without."
            raise self.refuse(("rotation", "folds"), sentence)
        if "parameters" in values["trained"]:
            values["trained"]["parameters"] = self.fit(given.trained.parameters, (*where, "parameters"))
        values["trained"]["methods"] = self.named(given.trained.methods, (*where, "methods"))
        for name, choices in given.trained.settings.items():
            values["trained"]["settings"][name] = [
                self.fit({name: value}, (*where, "settings"))[name] for value in choices
            ]
        if len(set(values["designs"])) < len(values["designs"]):
            raise self.refuse(("rotation", "designs"), f"rotation.designs names one twice: {values['designs']}.")
        return values


def load_profile(name_or_path, overrides: dict | None = None, *, notebooks=ROOT / "notebooks") -> dict:
    """Read ``profiles/<name>.yaml`` and check every key, name, type and range in it.

    Parameters
    ----------
    name_or_path : str or path
        A profile's name, or a file that ends in ``.yaml``.
    overrides : dict, optional
        Parameters that replace the profile's, e.g. from ``make study SET="gamma=3"``; ``run_dir`` among them.

    Returns
    -------
    dict
        ``name``, ``title``, ``description``, ``parameters`` (flat; overridden; with ``profile`` and ``run_dir``),
        ``given`` (names of the overrides), ``variants`` ({variant: {parameter: value}}), ``sweep`` (``seeds``,
        ``splits``, ``methods``, ``tuning`` if there is one; see ``cmdml.study.plan``), ``rotation`` (or None).

    Raises
    ------
    FileNotFoundError, ValueError
        No such profile; broken YAML, a key or parameter that nobody declares, or a value that does not fit. The
        sentence names file and line.
    """
    path = resolve(name_or_path) if str(name_or_path).endswith(".yaml") else ROOT / f"profiles/{name_or_path}.yaml"
    if not path.is_file():
        raise FileNotFoundError(str(unknown(name_or_path, [p.stem for p in path.parent.glob("*.yaml")], "profile")))
    if not NAME.fullmatch(path.stem):
        raise ValueError(f"profile {path.name}: the name {path.stem!r} may hold letters, digits, _ and - only.")
    content, lines = _read(path)
    declared = {}
    for notebook in sorted(Path(notebooks).glob("*.ipynb")):
        declared |= declared_parameters(notebook)
    reader = _Reader(path, lines, declared)
    try:
        profile = Profile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise reader.refuse(tuple(first["loc"]), _sentence(first)) from None
    own, given = {"profile": path.stem, "run_dir": f"runs/{path.stem}"}, reader.fit(overrides or {}, ())
    return {
        "name": path.stem,
        "title": profile.title or path.stem,
        "description": profile.description,
        "parameters": own | reader.fit(profile.parameters, ("parameters",)) | given,
        "given": sorted(given),
        "variants": reader.named(profile.variants, ("variants",)),
        "sweep": reader.sweep(profile.sweep),
        "rotation": reader.rotation(profile.rotation),
    }
