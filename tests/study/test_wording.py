"""One style of number in every chapter."""

import numpy as np
import pytest

from cmdml.study.wording import difference, interval, listed, minutes


def test_an_interval():
    assert interval(0.567, 0.5349, 0.611) == "0.57 (0.53–0.61)"
    assert interval(0.567, 0.5349, 0.611, 3) == "0.567 (0.535–0.611)"
    assert interval(np.nan, 0, 1) == "–" and interval(0.5, np.nan, 1) == "0.50"
    assert interval(0.01, -0.12, 0.2) == "0.01 (−0.12 to 0.20)"


def test_a_difference_shows_its_signs():
    assert difference(0.03, -0.01, 0.06) == "+0.03 (−0.01 to +0.06)"
    assert difference(-0.03, -0.012, 0.0) == "−0.03 (−0.01 to 0.00)"
    assert difference(-0.001, -0.012, 0.3, 3) == "−0.001 (−0.012 to +0.300)"
    assert difference(-0.001, -0.012, 0.3) == "0.00 (−0.01 to +0.30)"  # no negative zero
    assert difference(np.nan, 0, 0) == "–" and difference(0.2, np.nan, np.nan) == "+0.20"


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "less than a minute"), (50, "1 minute"), (61, "2 minutes"), (419, "7 minutes")]
)
def test_minutes_are_rounded_up(seconds, text):
    assert minutes(seconds) == text


def test_lists():
    assert [listed(words) for words in ([], "a", "ab", "abc")] == ["none", "a", "a and b", "a, b and c"]
