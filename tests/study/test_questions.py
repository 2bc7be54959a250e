"""Sentences of the three questions: the right rows, the right way round, nothing where nothing was measured."""

import pandas as pd

from cmdml.study import questions

WHERE = {"protocol": "abnormal", "metric": "U"}


def tables():
    values = {"view": 0.56, "source": 0.57, "age": 0.52, "sex": 0.5, "focused": 0.53}
    methods = [{"method": m, "stratum": "none", **WHERE, "value": v, "low": v - 0.01, "high": v + 0.01}
               for m, v in values.items()]  # fmt: skip
    methods += [{**row, "protocol": "all", "value": 0.9} for row in methods]
    paired = [("source", "focused", "none", 0.04, 0.01, 0.07), ("focused", "mean_of_seen", "none", 0.01, -0.02, 0.04),
              ("focused", "mean_of_seen", "source_view", -0.03, -0.05, -0.01),
              ("ceiling", "focused", "none", 0.14, 0.12, 0.16)]  # fmt: skip
    paired = [{"method": m, "reference": r, "stratum": s, **WHERE, "difference": d, "low": low, "high": high}
              for m, r, s, d, low, high in paired]  # fmt: skip
    return {"methods": pd.DataFrame(methods), "paired": pd.DataFrame(paired)}


def test_a_gap_is_turned_round():
    assert questions.gap(tables(), "focused", "source").tolist() == [-0.04, -0.07, -0.01]
    assert questions.gap(tables(), "focused", "mean_of_seen").tolist() == [0.01, -0.02, 0.04]
    assert questions.gap(tables(), "focused", "absent") is None
    assert questions.gap(tables(), "focused", "source", "source_view") is None


def test_what_a_score_is_made_of():
    text = questions.made_of(tables())
    assert "view 0.560 (0.550–0.570), source 0.570 (0.560–0.580), age" in text
    assert "Told signs minus source: −0.040 (−0.070 to −0.010); the interval is below 0" in text
    assert "minus illness alone: +0.010 (−0.020 to +0.040); the interval includes 0" in text
    assert "Within source × view −0.030 (−0.050 to −0.010)." in text
    assert "minus the ceiling: −0.140 (−0.160 to −0.120)" in text


def test_what_was_not_compared_has_no_line():
    assert questions.against(tables(), "focused", questions.LOSSES, "CM-DML") == ""


def test_other_strata_protocols_and_metrics_are_not_read():
    """What must not be read stands before what must."""
    wanted, mixed = tables(), tables()
    for name, column in (("methods", "value"), ("paired", "difference")):
        table = wanted[name]
        odd = [table.assign(**{key: value, column: 0.99, "low": 0.9, "high": 1.0})
               for key, value in (("stratum", "view"), ("protocol", "single"), ("metric", "S"))]
        mixed[name] = pd.concat([*odd, table], ignore_index=True)
    assert questions.made_of(mixed) == questions.made_of(wanted)
    assert questions.gap(mixed, "focused", "mean_of_seen", "view").difference == 0.99
    assert questions.gap(mixed, "source", "focused", protocol="single").difference == 0.99
