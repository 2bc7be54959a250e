"""What the tables of a rotation say in words: the right rows, the right way round."""

import pandas as pd
import pytest

from cmdml.study import report

U = {"focused": (0.60, 0.55, 0.65), "mean_of_seen": (0.52, 0.5, 0.54), "ceiling": (0.70, 0.68, 0.72)}


@pytest.fixture
def tables():
    where = {"protocol": "abnormal", "metric": "U"}
    rows = [{"method": m, "stratum": s, **where, "value": v + shift, "low": low, "high": high}
            for m, (v, low, high) in U.items() for s, shift in (("none", 0.0), ("source_view", -0.01))]  # fmt: skip
    rows += [{"method": "focused", "stratum": "none", "protocol": "abnormal", "metric": "share", "value": 0.44,
              "low": -0.1, "high": 0.6}]  # fmt: skip
    # What must not be read: another protocol.
    rows += [{**row, "protocol": "all", "value": 0.99} for row in rows]
    gains = [("focused", "mean_of_seen", "none", 0.08, 0.02, 0.12),
             ("focused", "mean_of_seen", "source_view", 0.01, -0.02, 0.04),
             ("focused_shuffled", "focused", "none", -0.03, -0.05, -0.01)]  # fmt: skip
    paired = [{"method": m, "reference": r, "stratum": s, **where, "difference": d, "low": low, "high": high}
              for m, r, s, d, low, high in gains]  # fmt: skip
    each = {"Mass": (0.7, 0.5), "Edema": (0.5, 0.6), "Pleural_Thickening": (0.55, 0.5)}
    findings = [{"method": m, "finding": f, "protocol": "abnormal", "stratum": "none", "value": v}
                for f, pair in each.items() for m, v in zip(("focused", "mean_of_seen"), pair)]  # fmt: skip
    return {"methods": pd.DataFrame(rows), "paired": pd.DataFrame(paired), "findings": pd.DataFrame(findings)}


def test_the_answer_reads_the_right_rows(tables):
    first, illness, strata, words, each = report.answer(tables)
    assert "0.600 (0.550–0.650)" in first and "0.700 (0.680–0.720)" in first
    assert "0.520 (0.500–0.540)" in illness and "+0.080 (+0.020 to +0.120); the interval is above 0" in illness
    assert "0.44 (−0.10 to 0.60)" in illness
    assert "+0.010 (−0.020 to +0.040); the interval includes 0" in strata
    assert "+0.030 (+0.010 to +0.050); the interval is above 0" in words
    assert "2 of 3 gain" in each and "most mass (+0.200), least edema (−0.100)" in each


def test_the_answer_says_when_it_is_worse(tables):
    tables["paired"].loc[0, ["difference", "low", "high"]] = -0.08, -0.12, -0.02
    tables["paired"].loc[2, ["difference", "low", "high"]] = 0.03, 0.01, 0.05
    lines = report.answer(tables)
    assert "−0.080 (−0.120 to −0.020); the interval is below 0" in lines[1]
    assert "−0.030 (−0.050 to −0.010); the interval is below 0" in lines[3]


def test_a_cell_without_a_value_is_a_dash():
    assert report.cell({"value": float("nan"), "low": 0, "high": 1}) == "–"
    assert report.cell({"value": 0.5, "low": 0.4, "high": 0.6}, 2) == "0.50 (0.40–0.60)"
    assert report.cell({"difference": -0.5, "low": -0.6, "high": 0.1}, 1, "+") == "−0.5 (−0.6 to +0.1)"
