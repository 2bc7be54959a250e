"""YAML read strictly: which keys and numbers are refused, with their line, and how much an alias may make."""

import pytest
import yaml

from cmdml.strict_yaml import MOST, problem, read_yaml


@pytest.mark.parametrize("text, value", [
    ("", None), ("a: 1", {"a": 1}), ("a: [0, -3, +4, 1_000]", {"a": [0, -3, 4, 1000]}), ("a: '010'", {"a": "010"}),
    ("a: {b: 1, c: 1}\nb: {b: 2}", {"a": {"b": 1, "c": 1}, "b": {"b": 2}}), ("3", 3), ("- a\n- 1.5", ["a", 1.5]),
    ("a: &x {b: 1}\nc: *x\nd: *x", {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1}}), ("a: 1e-3", {"a": "1e-3"}),
])  # fmt: skip
def test_what_is_read(text, value):
    found = read_yaml(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("text, said", [
    ("a: 1\nb: 2\na: 3", "line 3: the key 'a' stands there twice"),
    ("a:\n  b: {c: 1,\n  c: 2}", "line 3: the key 'c' stands there twice"),
    ("1: 2", "line 1: the key 1 must be text"), ("a: 1\ntrue: 2", "line 2: the key True must be text"),
    ("null: 2", "line 1: the key None must be text"), ("? [a, b]\n: 1", "line 1: the key ['a', 'b'] must be text"),
    ("a: 010", 'line 1: YAML reads 010 as the number 8: write 8, or "010" for a text'),
    ("a: 1:30", 'line 1: YAML reads 1:30 as the number 90: write 90, or "1:30" for a text'),
    ("a:\n- 0x10", 'line 2: YAML reads 0x10 as the number 16: write 16, or "0x10" for a text'),
    ("a: -0b11", 'YAML reads -0b11 as the number -3'), ("a: 00", "YAML reads 00 as the number 0"),
    ("a: 2020-99-99", "month must be in 1..12"), ("a: [", "line 1: "), ("a: !!python/object:os.x {}", "line 1: "),
    ("[" * 1000, "it is nested too deeply"),
])  # fmt: skip
def test_what_is_refused_and_where(text, said):
    with pytest.raises(yaml.YAMLError) as caught:
        read_yaml(text)
    assert said in problem(caught.value) and "\n" not in problem(caught.value)


def test_a_long_key_is_cut():
    with pytest.raises(yaml.YAMLError) as caught:
        read_yaml("? [" + "a, " * 100 + "]\n: 1")
    assert len(problem(caught.value)) < 120


def values(count):
    """A list of so many values, itself among them."""
    return "[" + "a, " * (count - 1) + "]"


def test_values_are_counted_with_their_aliases():
    lists = ", ".join(["&x " + values(1000), *["*x"] * 98])  # 99 000, and the list that holds them
    read_yaml(f"[{lists}]")
    read_yaml(f"[{lists}, {values(MOST - 99_001)}]")
    with pytest.raises(yaml.YAMLError, match="with its aliases written out it has more than 100,000 values"):
        read_yaml(f"[{lists}, {values(MOST - 99_000)}]")


def test_keys_and_values_count_and_what_holds_itself_has_no_end():
    big = "{" + ", ".join(f"k{i}: v" for i in range(500)) + "}"  # 1001 values
    read_yaml("[&x " + big + ", *x" * 98 + "]")
    with pytest.raises(yaml.YAMLError, match="more than 100,000 values"):
        read_yaml("[&x " + big + ", *x" * 99 + "]")
    for text in ("&a [*a]", "&a {b: *a}"):
        with pytest.raises(yaml.YAMLError, match="more than 100,000 values"):
            read_yaml(text)
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
    with pytest.raises(yaml.YAMLError, match="more than 100,000 values"):
        read_yaml(bomb)


def test_an_error_without_a_line_is_its_own_words():
    assert problem(yaml.YAMLError("one\n  two")) == "one two"
    mark = yaml.Mark("", 0, 4, 0, "", 0)
    assert problem(yaml.MarkedYAMLError(problem="odd", context_mark=mark)) == "line 5: odd"
    assert problem(yaml.MarkedYAMLError(context="while", context_mark=mark)).startswith("line 5: while")
