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
    worse = {"method": "focused", "reference": "nearest", "difference": -0.05, "low": -0.08, "high": -0.01}
    paired = pd.concat([PAIRED, PAIRED[:1].assign(**more), PAIRED[:1].assign(**worse)])
    names = {"mean_of_seen": "illness", "bce": "cross-entropy", "ale": "ALE", "nearest": "nearest seen finding"}
    questions.against(paired, "focused", names, ax)
    drawn = [to_hex(c.get_edgecolor()[0]) for c in ax.collections if type(c).__name__ == "PathCollection"]
    assert drawn == [questions.OWN, questions.OTHER, questions.OWN, questions.OWN]


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


def test_levels_are_of_the_protocol_and_filled_among_all_pairs(ax):
    questions.levels(METHODS, {"focused": "told", "ceiling": "shown labels", "mean_of_seen": "illness"}, ax)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["told", "shown labels", "illness"]
    tones = [questions.OWN, questions.SEEN, questions.OTHER]
    (wide, near), (filled, hollow) = ax.collections[::2], ax.collections[1::2]
    for spans, some, values, faces in ((wide, filled, [0.6, 0.7, 0.52], tones),
                                       (near, hollow, [0.58, np.nan, np.nan], ["#ffffff"])):  # fmt: skip
        x, y = np.ma.filled(some.get_offsets(), np.nan).T
        np.testing.assert_allclose(x, values)
        assert np.nanmax(np.abs(y - ax.get_yticks())) < 0.3
        ends = np.array([s[:, 0] for s in spans.get_segments() if len(s) and np.isfinite(s).all()])
        known = np.array(values)[~np.isnan(values)]
        np.testing.assert_allclose(ends, np.transpose([known - 0.02, known + 0.02]))
        assert [to_hex(c) for c in some.get_facecolors()] == faces
        assert [to_hex(c) for c in some.get_edgecolors()] == tones
    assert ax.get_legend_handles_labels()[1] == ["all pairs", "within source × view"]
    assert list(ax.lines[0].get_xdata()) == [0.5, 0.5]


def test_levels_of_another_protocol_are_drawn_where_it_is_asked_for(ax):
    questions.levels(METHODS, {"focused": "told"}, ax, protocol="all")
    assert {x for x, _ in dots(ax)} == {0.9}


def test_a_stratum_without_values_is_not_in_the_legend(ax):
    questions.levels(METHODS[METHODS.stratum == "none"], {"focused": "told"}, ax)
    assert ax.get_legend_handles_labels()[1] == ["all pairs"] and len(dots(ax)) == 1


def test_differences_within_strata_are_hollow_on_the_line_of_the_other_and_of_the_protocol(ax):
    near = PAIRED.assign(stratum="source_view", difference=[0.03, -0.02], low=[-0.01, -0.04], high=[0.07, -0.005])
    other = PAIRED.assign(protocol="all", difference=0.9), PAIRED.assign(metric="S", difference=0.8)
    shown = {"bce": "cross-entropy", "absent": "not there", "mean_of_seen": "illness"}
    questions.against(pd.concat([*other, PAIRED, near]), "focused", shown, ax)
    top, _, below = ax.get_yticks()
    assert [t.get_text() for t in ax.get_yticklabels()] == list(shown.values()) and top > below
    found = {}
    for spans, some in zip(ax.collections[::2], ax.collections[1::2], strict=True):
        ((x, y),), (span,) = some.get_offsets().tolist(), spans.get_segments()
        line = min(ax.get_yticks(), key=lambda at, y=y: abs(at - y))
        filled = to_hex(some.get_facecolor()[0]) != "#ffffff"
        found[line, filled] = (round(x, 6), *np.round(span[:, 0], 6).tolist(), to_hex(some.get_edgecolor()[0]))
        assert span[0, 1] == span[1, 1] == y and abs(line - y) < 0.3
    assert found == {
        (top, True): (-0.01, -0.03, 0.02, questions.OTHER), (top, False): (0.02, 0.005, 0.04, questions.OWN),
        (below, True): (0.08, 0.05, 0.1, questions.OWN),
        (below, False): (0.03, -0.01, 0.07, questions.OTHER)}  # fmt: skip
    assert sorted(ax.get_legend_handles_labels()[1]) == ["all pairs", "within source × view"]
    assert list(ax.lines[0].get_xdata()) == [0, 0]


def test_a_legend_names_the_strata_whichever_others_were_compared(ax):
    shown = {"absent": "not there", "bce": "cross-entropy", "mean_of_seen": "illness"}
    questions.against(PAIRED, "focused", shown, ax)
    assert ax.get_legend_handles_labels()[1] == ["all pairs"]


def test_differences_that_are_all_undefined_are_no_result(ax):
    questions.against(PAIRED.assign(difference=np.nan), "focused", {"mean_of_seen": "i", "bce": "c"}, ax)
    assert [text.get_text() for text in ax.texts] == ["no results yet"]


def test_an_undefined_difference_is_left_out(ax):
    questions.against(PAIRED.assign(difference=[np.nan, 0.01]), "focused", {"mean_of_seen": "i", "bce": "c"}, ax)
    assert dots(ax)[:, 0].tolist() == [-0.01]


def test_variants_are_paired_cell_by_cell_whatever_the_order_of_the_rows(ax):
    rows = [("base", 0, "x", 0.5), ("a", 1, "y", 0.9), ("base", 1, "y", 0.6), ("a", 0, "x", 0.45), ("own", 0, "x", 0.7),
            ("own", 1, "y", 0.1), ("base", 1, "x", 0.3), ("own", 1, "x", 0.4), ("a", 1, "x", 0.5)]  # fmt: skip
    cells = pd.DataFrame(rows, columns=["variant", "quadruple", "pseudo", "pseudo_unseen"])
    questions.variants(cells, {"a": "first", "base": "base"}, ["a"], ax, reference="own")
    lines = dict(zip([t.get_text() for t in ax.get_yticklabels()], ax.get_yticks(), strict=True))
    assert list(lines) == ["first", "base"]
    found = {y: sorted(x for x, at in dots(ax) if at == y) for y in lines.values()}
    assert found[lines["first"]] == pytest.approx([-0.25, 0.1, 0.8])
    assert found[lines["base"]] == pytest.approx([-0.2, -0.1, 0.5])
    bars = {round(line.get_ydata().mean(), 6): line for line in ax.lines if line.get_linewidth() > 2}
    assert [bars[y].get_xdata()[0] for y in lines.values()] == pytest.approx([0.65 / 3, 0.2 / 3])
    assert [bars[y].get_color() for y in lines.values()] == [questions.OWN, questions.OTHER]
