"""The front page's figure: places and ticks are those of the scores."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from cmdml.findings import SeenUnseen
from cmdml.plots import hero

FINDINGS = SeenUnseen(("Mass", "Nodule", "Edema", "Hernia", "Effusion", "Fibrosis"), ("Edema",))
SCORES = np.array([0.5, 0.9, 0.1, 0.8, 0.7, 0.6])


def test_a_percentile_is_the_share_of_the_other_films_below():
    scores = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 1.0], [2.0, 9.0]])
    assert hero.percentiles(scores, 1).tolist() == [0.5, 0.5]  # one below, one tied, one above
    assert hero.percentiles(scores, 2).tolist() == [1.0, 0.0]


def test_the_nearest_finding_is_named_first():
    assert hero.places(SCORES).tolist() == [5, 1, 6, 2, 3, 4]
    assert hero.places(np.zeros(3)).tolist() == [1, 2, 3]


def test_the_film_s_own_finding_is_shown_however_late_it_comes():
    ax = hero.answer(SCORES, ["Edema"], FINDINGS, plt.figure().subplots(), first=3)
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["1. Nodule ✗", "2. Hernia ✗", "3. Effusion ✗", "6. Edema ✓"]
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.9, 0.8, 0.7, 0.1])
    assert ax.get_xlim() == (0, 1)
    heights = [text.get_position()[1] for text in ax.texts]
    assert heights == sorted(heights, reverse=True)
    plt.close("all")


def test_what_is_right_is_ticked_among_the_first():
    ax = hero.answer(SCORES, ["Nodule"], FINDINGS, plt.figure().subplots(), first=3)
    assert [text.get_text()[-1] for text in ax.texts] == ["✓", "✗", "✗"]
    plt.close("all")
