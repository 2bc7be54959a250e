"""Figures of the chapter on a finding of one's own: values, order and colours are those of the table."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex

from cmdml.findings import SeenUnseen
from cmdml.plots import own_finding
from cmdml.plots.evidence import OWN
from cmdml.plots.figures import OTHER, SEEN, UNSEEN

FINDINGS = SeenUnseen(("Mass", "Edema", "Hernia"), ("Edema",))


def drawn(ax):
    """(name, dot, low, high, colour, filled) of every line, from top to bottom; one dot of each."""
    names = {y: t.get_text() for y, t in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)}
    (dots,) = (c for c in ax.collections if isinstance(c, PathCollection))
    (spans,) = (c for c in ax.collections if isinstance(c, LineCollection))
    rows = []
    for (x, y), span, edge in zip(dots.get_offsets(), spans.get_segments(), dots.get_edgecolors(), strict=True):
        assert span[0, 1] == span[1, 1] == y
        rows.append((y, names[y], x, *span[:, 0], to_hex(edge)))
    assert [to_hex(c) for c in dots.get_facecolors()] == [row[-1] for row in rows] == [
        to_hex(c) for c in spans.get_colors()]  # fmt: skip
    return [row[1:] for row in sorted(rows, reverse=True)]


def test_whom_the_words_find_is_told_in_the_colour_of_its_kind(ax):
    table = pd.DataFrame({"finding": ["Hernia", "Edema", "Mass"], "positives": [3, 1200, 5], "value": [0.9, 0.6, 0.4]})
    table = table.assign(low=[0.8, 0.5, 0.1], high=[0.95, 0.65, 0.6])
    own_finding.whom(table, FINDINGS, ax)
    labels = ax.get_yticklabels()
    assert [label.get_text() for label in labels] == ["Hernia (3)", "Edema (1,200)", "Mass (5)"]
    assert [to_hex(label.get_color()) for label in labels] == [to_hex(tone) for tone in (SEEN, UNSEEN, SEEN)]
    (x, y), = [dots.get_offsets().T for dots in ax.collections if len(dots.get_offsets()) == 3]
    assert x.tolist() == pytest.approx([0.9, 0.6, 0.4]) and y.tolist() == ax.get_yticks().tolist()
    assert drawn(ax) == [("Hernia (3)", 0.9, 0.8, 0.95, SEEN), ("Edema (1,200)", 0.6, 0.5, 0.65, UNSEEN),
                         ("Mass (5)", 0.4, 0.1, 0.6, SEEN)]  # fmt: skip
    assert list(ax.lines[0].get_xdata()) == [0.5, 0.5]
    named = {t.get_text(): to_hex(h.get_color()) for t, h in zip(ax.get_legend().texts, ax.get_legend().legend_handles)}
    assert named == {"seen": SEEN, "unseen": UNSEEN}


def test_leaning_is_filled_in_the_joint_space_and_hollow_before_it(ax):
    table = pd.DataFrame({"finding": ["Hernia", "Pleural_Thickening"], "joint": [0.7, -0.2], "words": [0.1, 0.3]})
    own_finding.leaning(table, ax)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Hernia", "Pleural thickening"]
    top, below = ax.get_yticks()
    assert top > below
    spans, joint, told = ax.collections
    assert joint.get_offsets().tolist() == [[0.7, top], [-0.2, below]]
    assert told.get_offsets().tolist() == [[0.1, top], [0.3, below]]
    assert to_hex(joint.get_facecolor()[0]) == SEEN and to_hex(told.get_facecolor()[0]) == "#ffffff"
    assert [(joint.get_label(), told.get_label())] == [("in the joint space", "of the words")]
    assert [s[:, 0].tolist() for s in spans.get_segments()] == [[0.1, 0.7], [-0.2, 0.3]]
    assert list(ax.lines[0].get_xdata()) == [0, 0]


def test_finders_are_sorted_and_tell_own_seen_and_unseen_words_from_scorers_without(ax):
    table = pd.DataFrame({"scorer": ["Edema", "illness alone", "My abscess", "Mass", "shown labels"],
                          "value": [0.6, 0.55, 0.8, 0.55, 0.9]})  # fmt: skip
    table = table.assign(low=[0.5, 0.4, 0.7, 0.3, 0.85], high=[0.7, 0.65, 0.84, 0.6, 0.99])
    own_finding.finders(table, FINDINGS, "My abscess", ax)
    assert drawn(ax) == [
        ("shown labels", 0.9, 0.85, 0.99, OTHER), ("words of my abscess", 0.8, 0.7, 0.84, OWN),
        ("words of edema", 0.6, 0.5, 0.7, UNSEEN), ("illness alone", 0.55, 0.4, 0.65, OTHER),
        ("words of mass", 0.55, 0.3, 0.6, SEEN)]  # fmt: skip
    labels = ax.get_yticklabels()
    assert [to_hex(t.get_color()) for t in labels] == ["#000000", OWN, UNSEEN, "#000000", SEEN]
    assert [t.get_weight() for t in labels] == ["normal", "bold", "normal", "normal", "normal"]
    named = {t.get_text(): to_hex(h.get_color()) for t, h in zip(ax.get_legend().texts, ax.get_legend().legend_handles)}
    assert named == {"own words": OWN, "seen": SEEN, "unseen": UNSEEN, "no words": OTHER}


def test_a_finding_that_no_label_named_is_shown_under_both_protocols(ax):
    rows = [("told its signs", "abnormal", 0.6, 0.5, 0.7), ("illness", "abnormal", 0.4, 0.3, 0.45),
            ("told its signs", "all", 0.8, 0.75, 0.9), ("illness", "all", 0.55, 0.5, 0.56)]  # fmt: skip
    own_finding.never(pd.DataFrame(rows, columns=["finding", "protocol", "value", "low", "high"]), ax)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["told its signs", "illness"]
    top, below = ax.get_yticks()
    spans = [c for c in ax.collections if isinstance(c, LineCollection)]
    dots = [c for c in ax.collections if isinstance(c, PathCollection)]
    for some, line, wanted, filled in zip(dots, spans, (rows[:2], rows[2:]), (True, False), strict=True):
        assert some.get_offsets()[:, 0].tolist() == [value for _, _, value, _, _ in wanted]
        assert np.abs(some.get_offsets()[:, 1] - [top, below]).max() < 0.3 < top - below
        assert [s[:, 0].tolist() for s in line.get_segments()] == [[low, high] for *_, low, high in wanted]
        faces = [to_hex(c) for c in some.get_facecolors()]
        assert faces == ([OWN, OTHER] if filled else ["#ffffff"])
        assert [to_hex(c) for c in some.get_edgecolors()] == [OWN, OTHER]
    assert dots[0].get_offsets()[0, 1] > dots[1].get_offsets()[0, 1]  # abnormal above all, as the legend
    assert [t.get_text() for t in ax.get_legend().texts] == ["abnormal", "all"]
    assert [to_hex(h.get_markerfacecolor()) for h in ax.get_legend().legend_handles] == ["#000000", "#ffffff"]


def test_pairs_stand_one_above_the_other_with_a_ring_around_what_was_drawn():
    without = np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((32, 32), np.uint8)
    within, place = without + np.uint8(100), np.zeros((3, 32, 32), bool)
    place[0, 4:11, 20:27], place[1, 16:27, 2:13], place[2, 10:15, 12:17] = True, True, True
    shares = np.array([[10.4, 90.0], [20, 80], [30, 70.6]])
    fig = own_finding.pairs(without, within, place, shares, "phantom")
    axes = np.reshape(fig.axes, (2, 3))
    assert [[int(ax.images[0].get_array()[0, 0]) for ax in line] for line in axes] == [[0, 1, 2], [100, 101, 102]]
    assert [[ax.get_title() for ax in line] for line in axes] == [["10 %", "20 %", "30 %"], ["90 %", "80 %", "71 %"]]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["without", "with"] and "phantom" in fig.get_suptitle()
    assert not any(ax.patches for ax in axes[0])
    rings = [ax.patches[0] for ax in axes[1]]
    assert [ring.center for ring in rings] == [(23, 7), (7, 21), (14, 12)]  # x, y
    assert 4.3 < rings[0].radius < 9 and 7.1 < rings[1].radius < 15  # beyond the corners of what was drawn, not far
    plt.close(fig)


def test_films_that_cannot_be_drawn_into_leave_a_figure_that_says_so():
    fig = own_finding.needs_the_phantom()
    assert plt.fignum_exists(fig.number)  # the notebook shows what is open
    (ax,) = fig.axes
    assert [text.get_text() for text in ax.texts] == ["these films are not drawn: nothing can be drawn into them"]
    plt.close(fig)
