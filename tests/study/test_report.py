"""What the tables of a rotation say in words: the right rows, the right way round."""

import pandas as pd
import pytest
from conftest import vouch

from cmdml.study import report

U = {"focused": (0.60, 0.55, 0.65), "mean_of_seen": (0.52, 0.5, 0.54), "ceiling": (0.70, 0.68, 0.72)}


@pytest.fixture
def tables():
    where = {"protocol": "abnormal", "metric": "U"}
    rows = [{"method": m, "stratum": s, **where, "value": v + shift, "low": low, "high": high}
            for m, (v, low, high) in U.items() for s, shift in (("none", 0.0), ("source_view", -0.01))]  # fmt: skip
    rows += [{"method": "focused", "stratum": "none", "protocol": "abnormal", "metric": "share", "value": 0.44,
              "low": -0.1, "high": 0.6}]  # fmt: skip
    # What must not be read, and comes first: another protocol, metric, method, stratum.
    odd = {**where, "method": "focused", "stratum": "none", "value": 0.99, "low": 0.98, "high": 1.0}
    rows = [*({**row, "protocol": "all", "value": 0.99} for row in rows),
            *({**odd, "metric": "share", **other} for other in ({"method": "eszsl"}, {"stratum": "view"})),
            {**odd, "metric": "U20"}, {**odd, "metric": "S", "stratum": "view"}, *rows]  # fmt: skip
    gains = [("focused", "mean_of_seen", "none", 0.08, 0.02, 0.12),
             ("focused", "mean_of_seen", "source_view", 0.01, -0.02, 0.04),
             ("focused_shuffled", "focused", "none", -0.03, -0.05, -0.01)]  # fmt: skip
    paired = [{"method": m, "reference": r, "stratum": s, **where, "difference": d, "low": low, "high": high}
              for m, r, s, d, low, high in gains]  # fmt: skip
    odd = {**paired[0], "difference": 0.9, "low": 0.8, "high": 1.0}
    paired = [*paired, {**odd, "protocol": "all"}, {**odd, "reference": "eszsl"}, {**odd, "method": "focused_shuffled"},
              {**odd, "method": "focused_shuffled", "reference": "focused", "stratum": "view"},
              {**odd, "method": "focused_shuffled", "reference": "focused", "protocol": "all"}]  # fmt: skip
    each = {"Mass": (0.7, 0.5), "Edema": (0.5, 0.6), "Pleural_Thickening": (0.55, 0.5)}
    findings = [{"method": m, "finding": f, "protocol": "abnormal", "stratum": "none", "value": v}
                for f, pair in each.items() for m, v in zip(("focused", "mean_of_seen"), pair)]  # fmt: skip
    findings += [{**row, **other, "value": 0.0} for row in findings for other in ({"protocol": "all"},
                                                                                  {"stratum": "view"})]  # fmt: skip
    return {"methods": pd.DataFrame(rows), "paired": pd.DataFrame(paired), "findings": pd.DataFrame(findings)}


def test_the_answer_reads_the_right_rows(tables):
    first, illness, strata, words, each = report.answer(tables)
    assert "0.600 (0.550–0.650)" in first and "0.700 (0.680–0.720)" in first
    assert "0.520 (0.500–0.540)" in illness and "+0.080 (+0.020 to +0.120); the interval is above 0" in illness
    assert "0.44 (−0.10 to 0.60)" in illness
    assert "+0.010 (−0.020 to +0.040); the interval includes 0" in strata
    assert "+0.030 (+0.010 to +0.050); the interval is above 0" in words
    assert "2 of 3 gain" in each and "most mass (+0.200), least edema (−0.100)" in each


def test_a_finding_that_neither_gains_nor_loses_does_not_gain(tables):
    table = tables["findings"]
    table.loc[table.finding.eq("Edema"), "value"] = 0.5
    assert "2 of 3 gain" in report.answer(tables)[4]


def test_an_interval_that_touches_0_includes_it():
    for low, high, said in ((0.0, 0.1, "includes 0, so this may be nothing"), (1e-9, 0.1, "is above 0"),
                            (-0.1, 0.0, "includes 0, so this may be nothing"), (-0.1, -1e-9, "is below 0"),
                            (0.5, 1.5, "is above 0"), (-1.5, -0.5, "is below 0"), (-2, 0.5, "includes 0, so this may "
                            "be nothing"), (float("nan"), float("nan"), "has no interval")):  # fmt: skip
        assert report.verdict({"low": low, "high": high}) == said


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
    assert report.cell({"value": 0.5, "low": 0.4, "high": 0.6}) == "0.500 (0.400–0.600)"


def test_the_headline_has_gains_seen_findings_and_the_share(tables):
    more = {"method": "focused", "stratum": "none", "protocol": "abnormal", "metric": "S", "value": 0.65, "low": 0.6,
            "high": 0.7}  # fmt: skip
    tables["methods"] = pd.concat([tables["methods"], pd.DataFrame([more])])
    odd = {**tables["paired"].iloc[0], "metric": "H", "difference": 0.7}
    tables["paired"] = pd.concat([pd.DataFrame([odd]), tables["paired"]])
    table = report.headline(tables, ["focused", "ceiling", "new"])
    assert list(table.index) == ["CM-DML, told signs", "ceiling (shown the labels)", "new"]
    assert table.loc["CM-DML, told signs"].to_dict() == {
        "U": "0.600 (0.550–0.650)", "U, gain over illness": "+0.080 (+0.020 to +0.120)",
        "U within source × view": "0.590 (0.550–0.650)",
        "U within source × view, gain over illness": "+0.010 (−0.020 to +0.040)",
        "S": "0.650 (0.600–0.700)", "share of the ceiling": "0.44 (−0.10 to 0.60)"}  # fmt: skip
    assert table.loc["ceiling (shown the labels)", "S"] == table.loc["new", "U"] == "–"
    assert table.loc["ceiling (shown the labels)", "U, gain over illness"] == "–"


def test_a_planned_comparison_is_a_sentence_and_the_secondary_ones_have_p_after_holm(tables):
    numbers = {"p": 0.004, "p_holm": 0.2, "sd_designs": 0.0123, "findings_low": -0.01, "findings_high": 0.05,
               "findings_gaining": 9.0, "findings_findings": 14.0}  # fmt: skip
    row = {**tables["paired"].iloc[0], **numbers}
    tables["paired"] = pd.DataFrame([
        {**row, "planned": "secondary", "stratum": "source_view", "low": -0.2}, {**row, "planned": ""},
        {**row, "planned": "primary"}, {**row, "planned": "secondary", "stratum": "view"},
        {**row, "planned": "secondary", "stratum": "source"}])  # fmt: skip
    first, *others = report.planned(tables)
    assert first == (
        "**primary**, CM-DML, told signs minus illness alone, overall: +0.080 (+0.020 to +0.120), p 0.004; the "
        "interval is above 0. Over designs ± 0.012; over findings −0.010 to +0.050, 9 of 14 gain.")  # fmt: skip
    described, *_ = report.planned(tables, tested=False)
    assert described == first.replace(", p 0.004", "")
    assert others[0].startswith("**secondary**, CM-DML, told signs minus illness alone, within source × view: ")
    assert "p after Holm 0.200; the interval includes 0" in others[0]
    assert ", within view: " in others[1] and ", within source: " in others[2] and len(others) == 3


def test_protocols_are_rows_and_strata_are_columns(tables):
    more = [{**tables["paired"].iloc[0], "stratum": one, "difference": 0.05} for one in ("source", "view")]
    every = report.protocols({"paired": pd.concat([tables["paired"], pd.DataFrame(more)])})
    assert list(every.columns) == ["none", "view", "source", "source_view"]
    assert every.loc["abnormal", "view"].startswith("+0.050")
    tables["paired"] = tables["paired"][tables["paired"].stratum != "view"]
    table = report.protocols(tables)
    assert list(table.index) == ["abnormal", "single", "all"] and list(table.columns) == ["none", "source_view"]
    assert table.loc["abnormal"].tolist() == ["+0.080 (+0.020 to +0.120)", "+0.010 (−0.020 to +0.040)"]
    assert table.loc["all", "none"] == "+0.900 (+0.800 to +1.000)"
    assert report.protocols(tables, "focused_shuffled", "focused").loc["abnormal", "none"].startswith("−0.030")


def test_all_methods_stand_best_first_in_every_stratum(tables):
    more = {"method": "focused", "stratum": "none", "protocol": "abnormal", "metric": "S", "value": 0.65, "low": 0.6,
            "high": 0.7}  # fmt: skip
    table = tables["methods"]
    table = pd.concat([table[~((table.metric == "S") & (table.stratum == "view"))], pd.DataFrame([more])])
    found = report.all_methods({"methods": table})
    assert list(found.index) == ["ceiling (shown the labels)", "CM-DML, told signs", "illness alone"]
    assert found.loc["CM-DML, told signs"].to_dict() == {
        "none": "0.600 (0.550–0.650)", "source_view": "0.590 (0.550–0.650)", "S": "0.650 (0.600–0.700)"}
    assert found.loc["illness alone", "S"] == "–"
    assert report.all_methods({"methods": table}, "all").loc["CM-DML, told signs", "none"].startswith("0.990")


def test_tables_are_read_if_their_manifest_vouches_for_them(tables, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no rotation: make rotation PROFILE=nih-mini"):
        report.load(tmp_path)
    for name in report.TABLES:
        tables["methods"].to_csv(tmp_path / f"{name}.csv", index=False)
    vouch(tmp_path, {"profile": "made"})
    found = report.load(tmp_path)
    assert found["manifest"]["profile"] == "made" and set(found) == {"manifest", *report.TABLES}
    pd.testing.assert_frame_equal(found["paired"], tables["methods"])
    (tmp_path / "coverage.csv").unlink()
    with pytest.raises(ValueError, match="coverage.csv is not the table"):
        report.load(tmp_path)
