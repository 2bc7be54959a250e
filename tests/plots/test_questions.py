"""Figures of the three questions: the values, the order, and which way round a difference is."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from cmdml.plots import questions

METHODS = pd.DataFrame(
    [("focused", "none", 0.6), ("focused", "source_view", 0.58), ("mean_of_seen", "none", 0.52),
     ("ceiling", "none", 0.7)],
    columns=["method", "stratum", "value"],
).assign(protocol="abnormal", metric="U", low=lambda t: t.value - 0.02, high=lambda t: t.value + 0.02)  # fmt: skip
METHODS = pd.concat([METHODS, METHODS.assign(protocol="all", value=0.9), METHODS.assign(metric="S", value=0.8)])
PAIRED = pd.DataFrame(
    [("focused", "mean_of_seen", 0.08, 0.05, 0.1), ("bce", "focused", 0.01, -0.02, 0.03)],
    columns=["method", "reference", "difference", "low", "high"],
).assign(protocol="abnormal", metric="U", stratum="none")
SHOWN = {"mean_of_seen": "illness alone", "absent": "not there", "focused": "told signs"}


def dots(ax):
    return np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections if len(c.get_offsets())
                           and type(c).__name__ == "PathCollection"])  # fmt: skip


def test_levels_are_the_table_s_in_the_order_asked_for(ax):
    questions.levels(METHODS, SHOWN, ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["illness alone", "told signs"]
    x = dots(ax)[:, 0]
    assert sorted(x[~np.isnan(x)]) == pytest.approx([0.52, 0.58, 0.6])
    first = dots(ax)[np.isclose(dots(ax)[:, 0], 0.52)][0, 1]
    assert first > dots(ax)[np.isclose(dots(ax)[:, 0], 0.6)][0, 1]  # the first stands on top
    assert "all pairs" in [text for text in ax.get_legend_handles_labels()[1]]


def test_a_difference_is_that_of_the_method_whichever_side_it_stands_on(ax):
    questions.against(PAIRED, "focused", {"mean_of_seen": "illness", "bce": "cross-entropy"}, ax)
    assert dots(ax)[:, 0] == pytest.approx([0.08, -0.01])
    ends = sorted(round(float(x), 6) for c in ax.collections if type(c).__name__ == "LineCollection"
                  for segment in c.get_segments() for x in segment[:, 0])  # fmt: skip
    assert ends == [-0.03, 0.02, 0.05, 0.1]


def test_a_difference_is_in_colour_where_its_interval_excludes_0(ax):
    more = {"method": "ale", "reference": "focused", "difference": -0.04, "low": -0.06, "high": -0.02}
    paired = pd.concat([PAIRED, PAIRED[:1].assign(**more)])
    questions.against(paired, "focused", {"mean_of_seen": "illness", "bce": "cross-entropy", "ale": "ALE"}, ax)
    drawn = [to_hex(c.get_edgecolor()[0]) for c in ax.collections if type(c).__name__ == "PathCollection"]
    assert drawn == [questions.OWN, questions.OTHER, questions.OWN]


def test_nothing_to_show_is_said(ax):
    questions.levels(METHODS[:0], SHOWN, ax)
    questions.against(PAIRED[:0], "focused", SHOWN, ax)
    assert ax.texts


def test_variants_are_drawn_as_differences_on_the_same_cells(ax):
    cells = pd.DataFrame({"variant": ["base", "base", "a", "a"], "quadruple": [0, 1, 0, 1], "pseudo": ["x", "y"] * 2,
                          "pseudo_unseen": [0.5, 0.6, 0.55, 0.55]})  # fmt: skip
    questions.variants(cells, {"a": "first", "base": "own"}, ["a"], ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["first"]
    assert sorted(dots(ax)[:, 0]) == pytest.approx([-0.05, 0.05])
    (bar,) = [line for line in ax.lines if line.get_linewidth() > 2]
    assert bar.get_xdata() == pytest.approx([0, 0])
    assert bar.get_color() == questions.OWN


def test_variants_without_the_reference_are_nothing_to_draw(ax):
    cells = pd.DataFrame({"variant": ["a"], "quadruple": [0], "pseudo": ["x"], "pseudo_unseen": [0.5]})
    questions.variants(cells, {"a": "first"}, [], ax)
    assert not [c for c in ax.collections if len(c.get_offsets()) > 1]


def test_every_variant_has_its_own_line_first_one_on_top(ax):
    values = {"base": 0.5, "a": 0.6, "b": 0.4}
    rows = [(name, 0, "x", value) for name, value in values.items()]
    cells = pd.DataFrame(rows, columns=["variant", "quadruple", "pseudo", "pseudo_unseen"])
    questions.variants(cells, {"a": "first", "b": "last", "base": "own"}, [], ax)
    line = {label.get_text(): place for place, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)}
    assert line["first"] > line["last"]
    assert sorted(map(tuple, dots(ax).round(6))) == [(-0.1, line["last"]), (0.1, line["first"])]
