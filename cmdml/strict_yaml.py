"""YAML as people write it, read strictly: a key stands once, a number says what it looks like, nothing explodes."""

from __future__ import annotations

import re

import yaml

MOST = 100_000  # values of a file once its aliases are written out


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                raise yaml.MarkedYAMLError(problem=f"the key {str(name):.60} must be text", problem_mark=key.start_mark)
            if name in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {name!r} stands there twice", problem_mark=key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)

    def construct_int(self, node):
        if not re.fullmatch(r"[-+]?(0|[1-9][0-9_]*)", node.value):  # YAML 1.1 reads 010 as 8 and 1:30 as 90
            read = self.construct_yaml_int(node)
            problem = f"YAML reads {node.value} as the number {read}: write {read}, or \"{node.value}\" for a text"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return self.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_int)


def read_yaml(text: str):
    """One YAML document.

    Raises
    ------
    yaml.YAMLError
        It is none; a key is given twice or is no text; a number looks like another one; it is nested too deeply, or its
        aliases make more of it than anyone would write. The error knows the line.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None and _size(node, {}) > MOST:
            raise yaml.YAMLError(f"with its aliases written out it has more than {MOST:,} values")
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, TypeError) as error:  # 2020-99-99 as a date, a key of two values
        raise yaml.YAMLError(str(error)) from None


def _size(node, known: dict) -> int:
    """How many values are below a node; one that holds itself has no end."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = MOST + 1
    inside = node.value if isinstance(node, (yaml.SequenceNode, yaml.MappingNode)) else ()
    parts = (part for one in inside for part in (one if isinstance(one, tuple) else (one,)))
    known[id(node)] = min(MOST + 1, 1 + sum(_size(part, known) for part in parts))
    return known[id(node)]


def problem(error: yaml.YAMLError) -> str:
    """What a YAML error says, with its line, on one line."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = " ".join(str(getattr(error, "problem", None) or error).split())
    return f"line {mark.line + 1}: {what}" if mark else what
