"""The front page's figure: places and ticks are those of the scores."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from cmdml.findings import SeenUnseen
from cmdml.plots import figures, hero

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


def test_bars_are_in_colour_where_they_are_right_and_stand_on_their_line():
    ax = hero.answer(SCORES, ["Edema", "Hernia"], FINDINGS, plt.figure().subplots(), first=3)
    tones = [figures.OTHER, figures.SEEN, figures.OTHER, figures.UNSEEN]
    assert [to_hex(bar.get_facecolor()) for bar in ax.patches] == tones
    assert [text.get_weight() for text in ax.texts] == ["normal", "bold", "normal", "bold"]
    middles = [bar.get_y() + bar.get_height() / 2 for bar in ax.patches]
    assert middles == pytest.approx([text.get_position()[1] for text in ax.texts])
    assert middles[2] - middles[3] > middles[1] - middles[2]  # what comes later stands apart
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "50", "100"]
    plt.close("all")


def test_a_film_keeps_its_grey_values_and_has_no_axes():
    pixels = np.arange(64, 128, dtype=np.uint8).reshape(8, 8)
    ax = hero.film(pixels, "a film", plt.figure().subplots())
    assert ax.images[0].get_clim() == (0, 255) and "a film" in (ax.get_title(), ax.get_title(loc="left"))
    np.testing.assert_array_equal(ax.images[0].get_array(), pixels)
    assert not ax.get_xticks().size and not ax.get_yticks().size
    plt.close("all")


def test_percentiles_are_those_of_each_finding_s_own_column():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, (12, 3)).astype(float)
    for at in range(12):
        others = [i for i in range(12) if i != at]
        wanted = [sum((scores[i, c] < scores[at, c]) + (scores[i, c] == scores[at, c]) / 2 for i in others) / 11
                  for c in range(3)]  # fmt: skip
        np.testing.assert_allclose(hero.percentiles(scores, at), wanted)
