"""Figures of the chapter on a finding of one's own: values, order and colours are those of the table."""

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from cmdml.findings import SeenUnseen
from cmdml.plots import own_finding
from cmdml.plots.figures import SEEN, UNSEEN

FINDINGS = SeenUnseen(("Mass", "Edema", "Hernia"), ("Edema",))


def test_whom_the_words_find_is_told_in_the_colour_of_its_kind(ax):
    table = pd.DataFrame({"finding": ["Hernia", "Edema", "Mass"], "positives": [3, 1200, 5], "value": [0.9, 0.6, 0.4]})
    table = table.assign(low=table.value - 0.1, high=table.value + 0.1)
    own_finding.whom(table, FINDINGS, ax)
    labels = ax.get_yticklabels()
    assert [label.get_text() for label in labels] == ["Hernia (3)", "Edema (1,200)", "Mass (5)"]
    assert [to_hex(label.get_color()) for label in labels] == [to_hex(tone) for tone in (SEEN, UNSEEN, SEEN)]
    (x, y), = [dots.get_offsets().T for dots in ax.collections if len(dots.get_offsets()) == 3]
    assert x.tolist() == pytest.approx([0.9, 0.6, 0.4]) and y.tolist() == ax.get_yticks().tolist()
