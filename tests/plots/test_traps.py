"""The figures of the chapter on traps say what their tables say."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from cmdml.plots import traps
from cmdml.plots.evidence import OWN
from cmdml.plots.figures import OTHER


def test_a_number_alone_is_a_line_per_finding_and_stands_out_where_its_interval_excludes_chance(ax):
    table = pd.DataFrame([(0.7, 0.6, 0.8, 1200), (0.55, 0.5, 0.6, 40), (0.52, 0.45, 0.6, 9), (0.4, 0.3, 0.5, 7),
                          (0.3, 0.2, 0.49, 3)], columns=["value", "low", "high", "positives"],
                         index=["Mass", "Edema", "Pleural_Thickening", "Hernia", "Nodule"])  # fmt: skip
    traps.alone(table, ax, "AUROC of the age")
    spans, dots = ax.collections
    heights = dict(zip([t.get_text() for t in ax.get_yticklabels()], ax.get_yticks(), strict=True))
    names = ["Mass (1,200)", "Edema (40)", "Pleural thickening (9)", "Hernia (7)", "Nodule (3)"]
    y = [heights[name] for name in names]
    assert y == sorted(y, reverse=True) and ax.get_ylim()[0] < y[-1] and y[0] < ax.get_ylim()[1]
    np.testing.assert_allclose(dots.get_offsets(), np.transpose([table.value, y]))
    ends = [segment.tolist() for segment in spans.get_segments()]
    assert ends == [[[row.low, at], [row.high, at]] for row, at in zip(table.itertuples(), y)]
    wanted = [OWN, OTHER, OTHER, OTHER, OWN]  # an interval that touches one half holds it
    assert [to_hex(colour) for colour in dots.get_facecolors()] == wanted
    assert [to_hex(colour) for colour in spans.get_colors()] == wanted
    assert list(ax.lines[0].get_xdata()) == [0.5, 0.5] and ax.get_xlabel() == "AUROC of the age"


def test_quadruples_are_dots_in_their_order_and_their_mean(ax):
    gains = pd.DataFrame({"gain": [-0.05, 0.01, 0.02, 0.1]})
    traps.quadruples(gains, ax)
    (dots,) = ax.collections
    np.testing.assert_allclose(dots.get_offsets(), [[1, -0.05], [2, 0.01], [3, 0.02], [4, 0.1]])
    levels = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert levels["mean of all choices"] == pytest.approx([0.02, 0.02])
    assert [0, 0] in levels.values()
    named = [text.get_text() for text in ax.get_legend().texts]
    assert named == ["one choice of four unseen findings", "mean of all choices"]


def test_nothing_to_draw_is_said(ax):
    traps.alone(pd.DataFrame(columns=["value", "low", "high", "positives"]), ax, "AUROC")
    traps.quadruples(pd.DataFrame(columns=["gain"]), ax)
    assert [text.get_text() for text in ax.texts] == ["no results yet"] * 2 and not ax.collections
