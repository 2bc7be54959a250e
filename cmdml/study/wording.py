"""How numbers read in every chapter: a value with its interval, a difference, a number of minutes."""

from __future__ import annotations

import math

MINUS, NOTHING = "\N{MINUS SIGN}", "\N{EN DASH}"


def interval(value: float, low: float, high: float, digits: int = 2) -> str:
    """``0.57 (0.53–0.61)``; a dash where there is no value, the value alone where there is no interval."""
    if math.isnan(value):
        return NOTHING
    if math.isnan(low) or math.isnan(high):
        return _signed(value, digits)
    if min(low, high) < 0:  # a range of negative numbers cannot be read with a dash
        return f"{_signed(value, digits)} ({_signed(low, digits)} to {_signed(high, digits)})"
    return f"{value:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def difference(value: float, low: float, high: float, digits: int = 2) -> str:
    """``+0.03 (−0.01 to +0.06)``, every number with its sign; a dash where there is no value."""
    if math.isnan(value):
        return NOTHING
    number = _signed(value, digits, plus=True)
    if math.isnan(low) or math.isnan(high):
        return number
    return f"{number} ({_signed(low, digits, plus=True)} to {_signed(high, digits, plus=True)})"


def minutes(seconds: float) -> str:
    """``less than a minute``, ``1 minute``, ``7 minutes``: rounded up, for somebody who plans an evening."""
    whole = math.ceil(seconds / 60)
    return "less than a minute" if seconds < 45 else f"{whole} minute{'s' * (whole > 1)}"


def listed(words) -> str:
    """``a``, ``a and b``, ``a, b and c``; ``none`` for nothing."""
    *first, last = words = list(words) or ["none"]
    return f"{', '.join(first)} and {last}" if len(words) > 1 else last


def _signed(value: float, digits: int, plus: bool = False) -> str:
    text = f"{value:{'+' if plus else ''}.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")  # neither side of zero
    return text.replace("-", MINUS)
