"""The figures of the chapter on evidence say what the tables say."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from cmdml.plots import evidence, figures


def test_labels():
    assert evidence.label("focused") == "CM-DML (focused)" and evidence.label("odd_one") == "odd one"
    assert evidence.label("gamma4_alpha75") == "γ = 4, α = 0.75"


def test_forest_keeps_the_order_and_fills_what_excludes_zero(ax):
    rows = pd.DataFrame({"method": ["ale", "focused"], "difference": [0.1, -0.2], "low": [0.05, -0.5]})
    evidence.forest(rows.assign(high=[0.2, 0.1]), ["focused", "ranking", "ale"], ax)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["CM-DML (focused)", "CXR-ML-GZSL ranking", "ALE"]
    dots = ax.collections[-1]
    placed = {y: x for x, y in np.ma.filled(dots.get_offsets(), np.nan) if not np.isnan(x)}
    assert placed == {2: -0.2, 0: 0.1}  # focused on top, the gap of ranking empty
    filled = [to_hex(colour) for colour in dots.get_facecolors()]
    assert filled[0] == "#ffffff" and filled[2] == "#000000"


def test_seen_unseen_reads_both_means_in_their_colours(ax):
    rows = pd.DataFrame({"method": ["focused", "focused", "name", "name"], "metric": ["auroc_S", "auroc_U"] * 2})
    rows = rows.assign(value=[0.8, 0.6, 0.7, 0.5], low=0.4, high=0.9)
    evidence.seen_unseen(rows, ["name", "focused", "absent"], ax)  # in this order, whatever the table's
    seen, unseen = ax.collections[1], ax.collections[3]
    assert list(seen.get_offsets()[:, 0]) == [0.7, 0.8] and list(unseen.get_offsets()[:, 0]) == [0.5, 0.6]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["names", "CM-DML (focused)"]
    assert to_hex(seen.get_facecolor()[0]) == figures.SEEN and to_hex(unseen.get_facecolor()[0]) == figures.UNSEEN


def test_loss_grid_writes_each_value_in_its_cell(ax):
    points = pd.DataFrame({"gamma": [0, 0, 2], "alpha": [0.5, 0.75, 0.75], "value": [0.5, 0.6, 0.7]})
    evidence.loss_grid(points, ax)
    written = [t.get_text() for t in ax.texts]
    assert written[0] == "0.500" and written[-1] == "0.700" and "0.600" in written
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.5", "0.75"] and "α" in ax.get_xlabel()
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0", "2"] and "γ" in ax.get_ylabel()
    assert ax.collections[0].get_array().tolist() == [[0.5, 0.6], [None, 0.7]]  # γ in rows; the fourth was not run


def test_tradeoff_draws_one_line_per_method(ax):
    curves = pd.DataFrame({"method": "focused", "seen": [0, 0.5, 1], "unseen": [0.4, 0.2, 0]})
    evidence.tradeoff(curves, ["ranking", "focused"], ax)
    (line,) = ax.lines
    assert list(line.get_ydata()) == [0.4, 0.2] and line.get_label() == "CM-DML (focused)"


def test_nothing_to_draw_is_said(ax):
    empty = pd.DataFrame(columns=["method", "metric", "value", "low", "high", "difference", "gamma", "alpha"])
    for draw in (lambda: evidence.forest(empty, [], ax), lambda: evidence.seen_unseen(empty, ["focused"], ax),
                 lambda: evidence.loss_grid(empty, ax), lambda: evidence.tradeoff(empty, ["focused"], ax)):  # fmt: skip
        draw()
    assert [t.get_text() for t in ax.texts] == ["no results yet", "no results yet", "no grid was run", "no results yet"]


def test_an_empty_panel_leaves_its_neighbour_the_labels():
    rows = pd.DataFrame({"method": ["focused"], "difference": [0.1], "low": [0.0], "high": [0.2]})
    fig, (left, right) = plt.subplots(1, 2, sharey="row")
    evidence.forest(rows, ["focused"], left)
    evidence.forest(rows.iloc[:0], ["focused"], right)
    fig.canvas.draw()
    assert [tick.get_text() for tick in left.get_yticklabels()] == [evidence.label("focused")]


def test_reliability_diagram_draws_the_bins_and_their_intervals(ax):
    table = pd.DataFrame({"predicted": [0.1, 0.6], "observed": [0.2, 0.5], "low": [0.1, 0.4], "high": [0.35, 0.7]})
    evidence.reliability_diagram(table, ax, colour="black")
    (points,) = (line for line in ax.lines if line.get_marker() == "o")
    assert points.get_xydata().tolist() == [[0.1, 0.2], [0.6, 0.5]]
    ends = [segment[:, 1].round(6).tolist() for segment in ax.collections[0].get_segments()]
    assert ends == [[0.1, 0.35], [0.4, 0.7]]


def test_the_diagonal_of_a_reliability_diagram_is_where_predicted_is_observed(ax):
    table = pd.DataFrame({"predicted": [0.1, 0.6], "observed": [0.2, 0.5], "low": [0.1, 0.4], "high": [0.35, 0.7]})
    evidence.reliability_diagram(table, ax, colour="black")
    (diagonal,) = (line for line in ax.lines if line.get_marker() != "o" and len(line.get_xydata()) == 2
                   and line.get_linestyle() == ":")  # fmt: skip
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 1), (0, 1))


def test_a_forest_s_lines_are_the_intervals_and_their_colour_is_the_method_s(ax):
    rows = pd.DataFrame([("ale", 0.1, 0.05, 0.2), ("focused", -0.2, -0.5, -0.1), ("bce", 0.01, -0.1, 0.3)],
                        columns=["method", "difference", "low", "high"])  # fmt: skip
    evidence.forest(rows, ["focused", "bce", "ale"], ax)
    spans, dots = ax.collections
    ends = [segment.tolist() for segment in spans.get_segments()]
    assert ends == [[[-0.5, 2], [-0.1, 2]], [[-0.1, 1], [0.3, 1]], [[0.05, 0], [0.2, 0]]]
    assert [to_hex(c) for c in spans.get_colors()] == [evidence.OWN, "#000000", "#000000"]
    assert [to_hex(c) for c in dots.get_edgecolors()] == [evidence.OWN, "#000000", "#000000"]
    assert [to_hex(c) for c in dots.get_facecolors()] == [evidence.OWN, "#ffffff", "#000000"]  # below 0 is clear, too
    assert list(ax.lines[0].get_xdata()) == [0, 0] and ax.get_yticks().tolist() == [2, 1, 0]
    assert ax.get_ylim()[0] < 0 and 2 < ax.get_ylim()[1]


def test_intervals_of_seen_and_unseen_means_lie_on_the_lines_of_their_method(ax):
    rows = pd.DataFrame([("name", "auroc_U", 0.5, 0.4, 0.55), ("focused", "auroc_S", 0.8, 0.7, 0.85),
                         ("name", "auroc_S", 0.7, 0.6, 0.9), ("focused", "auroc_U", 0.6, 0.5, 0.65),
                         ("focused", "ap_U", 0.1, 0.0, 0.2)],
                        columns=["method", "metric", "value", "low", "high"])  # fmt: skip
    evidence.seen_unseen(rows, ["name", "absent", "focused"], ax)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["names", "CM-DML (focused)"]
    top, below = ax.get_yticks()
    assert top > below
    wanted = {"auroc_S": ([0.7, 0.8], [[0.6, 0.9], [0.7, 0.85]]), "auroc_U": ([0.5, 0.6], [[0.4, 0.55], [0.5, 0.65]])}
    heights = []
    for (values, ends), colour, spans, dots in zip(wanted.values(), (figures.SEEN, figures.UNSEEN),
                                                   ax.collections[::2], ax.collections[1::2], strict=True):  # fmt: skip
        x, y = dots.get_offsets().T
        assert x.tolist() == values and np.abs(y - [top, below]).max() < 0.3
        assert [s[:, 0].tolist() for s in spans.get_segments()] == ends
        assert [s[:, 1].tolist() for s in spans.get_segments()] == [[at, at] for at in y]
        assert to_hex(spans.get_colors()[0]) == to_hex(dots.get_facecolor()[0]) == colour
        heights.append(y)
    assert (heights[0] > heights[1]).all()  # seen above unseen
    assert list(ax.lines[0].get_xdata()) == [0.5, 0.5]
    assert ax.get_legend_handles_labels()[1] == ["seen", "unseen"]


def test_every_method_of_a_tradeoff_has_its_own_curve_in_the_order_asked_for(ax):
    curves = pd.DataFrame([("ale", 0.9, 0.1), ("focused", 0.8, 0.3), ("ale", 0.6, 0.2), ("bce", 0.5, 0.5),
                           ("focused", 0.4, 0.6), ("focused", 0.85, 0.0)],
                          columns=["method", "seen", "unseen"])  # fmt: skip
    evidence.tradeoff(curves, ["focused", "ale"], ax)
    drawn = [(line.get_label(), line.get_xydata().tolist()) for line in ax.lines]
    assert drawn == [("CM-DML (focused)", [[0.8, 0.3], [0.4, 0.6]]), ("ALE", [[0.9, 0.1], [0.6, 0.2]])]
    looks = [(to_hex(line.get_color()), line.get_linestyle()) for line in ax.lines]
    assert looks[0][0] == evidence.OWN and looks[0][0] != looks[1][0] and looks[0][1] != looks[1][1]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("seen accuracy", "unseen accuracy")
    assert ax.get_xlim()[0] == ax.get_ylim()[0] == 0


def test_a_bin_whose_interval_ends_before_its_share_is_drawn_without_complaint(ax):
    table = pd.DataFrame({"predicted": [0.1], "observed": [0.0], "low": [1e-18], "high": [0.2]})
    evidence.reliability_diagram(table, ax, colour=figures.SEEN)
    (points,) = (line for line in ax.lines if line.get_marker() == "o")
    assert points.get_color() == figures.SEEN
    assert ax.collections[0].get_segments()[0][:, 1] == pytest.approx([0, 0.2], abs=1e-9)
