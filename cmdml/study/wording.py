"""How numbers read in every chapter: a value with its interval, a difference, a number of minutes."""

from __future__ import annotations

import math

MINUS, NOTHING = "\N{MINUS SIGN}", "\N{EN DASH}"


def interval(value: float, low: float, high: float, digits: int = 2) -> str:
    """``0.57 (0.53–0.61)``; a dash where there is no value, the value alone where there is no interval."""
    if math.isnan(value):
        return NOTHING
    if math.isnan(low) or math.isnan(high):
        return signed(value, digits, plus=False)
    number, low_, high_ = (signed(x, digits, plus=False) for x in (value, low, high))
    # a range of negative numbers cannot be read with a dash
    return f"{number} ({low_} to {high_})" if min(low, high) < 0 else f"{number} ({low_}–{high_})"


def difference(value: float, low: float, high: float, digits: int = 2) -> str:
    """``+0.03 (−0.01 to +0.06)``, every number with its sign; a dash where there is no value."""
    if math.isnan(value):
        return NOTHING
    number = signed(value, digits)
    if math.isnan(low) or math.isnan(high):
        return number
    return f"{number} ({signed(low, digits)} to {signed(high, digits)})"


def minutes(seconds: float) -> str:
    """``less than a minute``, ``1 minute``, ``7 minutes``: rounded up, for somebody who plans an evening."""
    whole = math.ceil(seconds / 60)
    return "less than a minute" if seconds < 45 else f"{whole} minute{'s' * (whole > 1)}"


def listed(words) -> str:
    """``a``, ``a and b``, ``a, b and c``; ``none`` for nothing."""
    *first, last = words = list(words) or ["none"]
    return f"{', '.join(first)} and {last}" if len(words) > 1 else last


def signed(value: float, digits: int = 3, plus: bool = True) -> str:
    """``+0.03``, ``−0.01``; zero has no sign; without ``plus``, nor has what is above it."""
    text = f"{value:{'+' if plus else ''}.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")  # neither side of zero
    return text.replace("-", MINUS)
