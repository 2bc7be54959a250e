"""The figures of the rotation: dots and intervals are those of the tables, and of the protocol that was asked."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex

from cmdml.plots import anatomy
from cmdml.plots.anatomy import INTERVALS, PARTS
from cmdml.plots.evidence import OWN

FINDINGS = {"Mass": 12, "Pleural_Thickening": 7, "Edema": 31}


def tables():
    """Every value another: by protocol, stratum, method, finding, and of the means by metric."""
    found, means, rng = [], [], np.random.default_rng(0)
    for protocol in ("abnormal", "all"):
        for stratum in ("none", "source", "source_view"):
            for method in PARTS:
                about = {"protocol": protocol, "stratum": stratum, "method": method}
                for finding, positives in FINDINGS.items():
                    value = rng.uniform(0.3, 0.9)
                    interval = {"low": value - rng.uniform(0.01, 0.1), "high": value + rng.uniform(0.01, 0.1)}
                    found.append(about | {"finding": finding, "positives": positives, "value": value} | interval)
                for metric in ("S", "U", "H"):
                    value = rng.uniform(0.3, 0.9)
                    interval = {"low": value - rng.uniform(0.01, 0.1), "high": value + rng.uniform(0.01, 0.1)}
                    means.append(about | {"metric": metric, "value": value} | interval)
    return pd.DataFrame(found).sample(frac=1, random_state=0), pd.DataFrame(means).sample(frac=1, random_state=0)


def part(table, protocol="abnormal", stratum="none"):
    table = table[(table.protocol == protocol) & (table.stratum == stratum)]
    return table[table.metric == "U"] if "metric" in table else table


def heights_of(ax, order):
    """Of the lines of these findings, and of the mean: by the names on the axis."""
    at = dict(zip([t.get_text() for t in ax.get_yticklabels()], ax.get_yticks(), strict=True))
    names = [*(f"{f.replace('_', ' ').capitalize()} ({FINDINGS[f]})" for f in order), "mean of all"]
    assert len(at) == len(names)
    return np.array([at[name] for name in names])


def check_panel(ax, found, mean, order, named=None):
    """Dots and intervals of every method, each nearest to the line of its finding, and all within the panel.

    ``named``: the panel whose axis holds the names, where two share them.
    """
    heights = heights_of(named or ax, order)
    assert (np.diff(heights[:-1]) < 0).all() and heights[-1] > heights[0]  # the first on top, the mean above all
    dots = {c.get_label(): c for c in ax.collections if isinstance(c, PathCollection)}
    spans = [c for c in ax.collections if isinstance(c, LineCollection)]
    assert len(spans) == len(INTERVALS)
    low, high = ax.get_ylim()
    for method, (name, _, _, _) in PARTS.items():
        rows = found[found.method == method].set_index("finding").loc[order]
        (top,) = mean[mean.method == method].itertuples()
        x, y = np.asarray(dots[name].get_offsets()).T
        np.testing.assert_allclose(x, [*rows.value, top.value])
        assert (np.abs(y[:, None] - heights).argmin(1) == np.arange(len(heights))).all()
        assert (np.abs(y - heights) < 0.25).all()  # as near to its line as to the middle between two, or nearer
        assert ((low < y) & (y < high)).all()
        if method in INTERVALS:
            ends = np.array(spans[INTERVALS.index(method)].get_segments())
            np.testing.assert_allclose(ends[:, :, 0], np.transpose([[*rows.low, top.low], [*rows.high, top.high]]))
            np.testing.assert_allclose(ends[:, :, 1], np.transpose([y, y]))


def by_gain(found):
    """The findings, the one that gains most over illness alone first."""
    value = {(r.method, r.finding): r.value for r in found.itertuples()}
    return sorted(FINDINGS, key=lambda f: value["mean_of_seen", f] - value["focused", f])


def test_a_panel_shows_every_method_the_most_gained_first(ax):
    found, mean = (part(table) for table in tables())
    order = anatomy.anatomy(found, mean, ax)
    assert order == by_gain(found)
    check_panel(ax, found, mean, order)
    assert 0.5 in [line.get_xdata()[0] for line in ax.lines]  # chance


def test_an_order_that_is_given_is_kept(ax):
    found, mean = (part(table) for table in tables())
    order = by_gain(found)[::-1]
    assert anatomy.anatomy(found, mean, ax, order=order) == order
    check_panel(ax, found, mean, order)


def test_a_finding_without_a_value_keeps_its_line(ax):
    found, mean = (part(table) for table in tables())
    order = by_gain(found)
    gone = found[~((found.method == "ceiling") & (found.finding == order[1]))]
    assert anatomy.anatomy(gone, mean, ax) == order
    (dots,) = (c for c in ax.collections if c.get_label() == PARTS["ceiling"][0])
    x = np.ma.filled(np.ma.masked_invalid(dots.get_offsets()), np.nan)[:, 0]
    assert np.isnan(x).tolist() == [False, True, False, False]


@pytest.mark.parametrize("protocol", ["abnormal", "all"])
def test_both_panels_are_of_the_protocol_and_their_strata(protocol):
    found, means = tables()
    found.loc[found.stratum == "source_view", "positives"] -= 2  # films that have no partner there
    fig = anatomy.both(found, means, protocol)
    fig.canvas.draw()
    order = by_gain(part(found, protocol, "none"))
    for ax, stratum in zip(fig.axes, ("none", "source_view"), strict=True):
        check_panel(ax, part(found, protocol, stratum), part(means, protocol, stratum), order, fig.axes[0])
    assert fig.axes[0].get_xlim() == fig.axes[1].get_xlim()
    names = [text.get_text() for text in fig.legends[0].texts]
    assert names == [name for name, _, _, _ in PARTS.values()]
    plt.close(fig)


def test_films_without_sources_leave_the_legend(in_the_book_s_style):
    found, means = (table[table.stratum != "source_view"] for table in tables())
    fig = anatomy.both(found, means)
    assert [text.get_text() for text in fig.legends[0].texts] == [name for name, _, _, _ in PARTS.values()]


def test_abnormal_is_the_protocol_unless_another_is_asked():
    found, means = tables()
    fig = anatomy.both(found, means)
    check_panel(fig.axes[0], part(found), part(means), by_gain(part(found)))
    plt.close(fig)


def test_what_was_not_run_is_said(ax):
    found, means = tables()
    assert anatomy.anatomy(found.iloc[:0], means, ax) == []
    assert anatomy.anatomy(found, means.iloc[:0], ax, order=["Mass"]) == ["Mass"]
    anatomy.gain_by_coverage(pd.DataFrame(columns=["finding", "coverage", "gain", "neighbour_seen"]), ax)
    anatomy.permutation(pd.DataFrame(columns=["kind", "design", "real", "mean", "sd", "largest"]), ax)
    assert [text.get_text() for text in ax.texts] == ["no results yet"] * 4 and not ax.collections


def test_gain_by_coverage_shows_the_mean_of_a_finding_apart_by_its_neighbour(ax):
    rows = pd.DataFrame([("Mass", True, 0.2, 0.1), ("Mass", True, 0.6, 0.3), ("Mass", False, 0.4, -0.2),
                         ("Edema", False, 1.0, 0.0), ("Edema", False, 0.5, 0.4)],
                        columns=["finding", "neighbour_seen", "coverage", "gain"])  # fmt: skip
    anatomy.gain_by_coverage(rows, ax)
    dots = {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections}
    np.testing.assert_allclose(dots["nearest neighbour seen"], [[0.4, 0.2]])
    np.testing.assert_allclose(dots["nearest neighbour unseen, too"], [[0.75, 0.2], [0.4, -0.2]])
    faces = {c.get_label(): to_hex(c.get_facecolor()[0]) for c in ax.collections}
    assert faces == {"nearest neighbour seen": OWN, "nearest neighbour unseen, too": "#ffffff"}
    assert list(ax.lines[0].get_ydata()) == [0, 0]  # no gain
    assert [text.get_text() for text in ax.get_legend().texts] == list(dots)


def test_permutations_are_a_line_per_kind_and_design(ax):
    rows = pd.DataFrame([("free", 0, 0.70, 0.50, 0.02, 0.56), ("opacities", 1, 0.61, 0.53, 0.03, 0.62),
                         ("free", 1, 0.72, 0.51, 0.01, 0.55), ("opacities", 0, 0.63, 0.52, 0.04, 0.60)],
                        columns=["kind", "design", "real", "mean", "sd", "largest"])  # fmt: skip
    anatomy.permutation(rows, ax)
    names = [t.get_text() for t in ax.get_yticklabels()]  # from the bottom: the first design of all findings on top
    assert names == ["opacities only, design 1", "opacities only, design 0", "all findings, design 1",
                     "all findings, design 0"]  # fmt: skip
    spans, largest, real = ax.collections
    np.testing.assert_allclose([s[:, 0] for s in spans.get_segments()],
                               [[0.47, 0.59], [0.44, 0.60], [0.49, 0.53], [0.46, 0.54]])  # fmt: skip
    np.testing.assert_allclose(largest.get_offsets(), np.transpose([[0.62, 0.60, 0.55, 0.56], ax.get_yticks()]))
    np.testing.assert_allclose(real.get_offsets(), np.transpose([[0.61, 0.63, 0.72, 0.70], ax.get_yticks()]))
    named = [text.get_text() for text in ax.get_legend().texts]
    assert named == ["largest of the permutations", "the findings' own signs"]
    low, high = ax.get_ylim()
    assert low < min(ax.get_yticks()) and max(ax.get_yticks()) < high


def test_the_study_s_two_methods_share_a_colour_and_only_the_learnt_one_is_filled(ax):
    found, mean = (part(table) for table in tables())
    anatomy.anatomy(found, mean, ax)
    dots = {c.get_label(): c for c in ax.collections if isinstance(c, PathCollection)}
    learnt, closed = dots["CM-DML, told signs"], dots["closed form, told signs"]
    assert to_hex(learnt.get_facecolor()[0]) == OWN and to_hex(closed.get_facecolor()[0]) == "#ffffff"
    assert to_hex(learnt.get_edgecolor()[0]) == to_hex(closed.get_edgecolor()[0]) == OWN
