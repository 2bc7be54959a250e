"""Small tables beside the rotation: the right rows under the right names."""

import pandas as pd
import pytest
from conftest import vouch

from cmdml.study import beyond

BAND = {"low": 0.4, "high": 0.6}


def test_the_default_split_names_films_and_scorer():
    values = pd.DataFrame(
        [{"set": "64 px", "sources": s, "method": m, "protocol": p, "metric": metric, "value": v, **BAND}
         for s, m, p, metric, v in (("all", "focused", "abnormal", "U", 0.5), ("all", "focused", "all", "U", 0.9),
                                    ("without two", "ceiling", "abnormal", "S", 0.55), ("all", "focused", "abnormal",
                                     "Edema", 0.1))])  # fmt: skip
    table = beyond.default_split(values)
    assert table.loc[("64 px, all sources", "CM-DML, told signs"), "U"] == "0.50 (0.40–0.60)"
    assert table.loc[("64 px, without the two one-sided sources", "ceiling (shown the labels)")].tolist() == [
        "–", "0.55 (0.40–0.60)"]  # fmt: skip
    assert len(table) == 2


def test_a_transfer_has_seen_and_unseen_side_by_side():
    rows = [("224 px", "focused", "unseen", "within pairs", 0.5), ("224 px", "focused", "seen", "within pairs", 0.55),
            ("224 px", "focused", "seen", "all", 0.9), ("64 px", "focused", "seen", "within pairs", 0.8),
            ("file", "bytes", "not told", "within pairs", 0.59)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["size", "method", "pneumonia", "films", "value"]).assign(**BAND)
    found = beyond.transfer(table)
    assert found.loc["CM-DML, told signs"].tolist() == ["0.50 (0.40–0.60)", "0.55 (0.40–0.60)"]
    assert found.loc["size of the file in bytes *"].tolist() == ["0.59 (0.40–0.60)", "–"]


def test_truths_read_gain_and_positives():
    where = {"protocol": "abnormal", "stratum": "none", **BAND}
    emphysema = pd.DataFrame([{"films": films, "method": m, "finding": "Emphysema", "value": v, "positives": n, **where}
                              for films, n in (("all", 100), ("not subcutaneous", 14))
                              for m, v in (("focused", 0.44), ("mean_of_seen", 0.5), ("ceiling", 0.55))])  # fmt: skip
    gains = pd.DataFrame([{"truth": t, "finding": f, "method": "focused", "gain": g, "gain_low": g - 0.02,
                           "gain_high": g + 0.02, "films": 672, **where}
                          for t, f, g in (("mined", "mean", 0.03), ("radiologists", "mean", -0.03),
                                          ("mined", "Mass", 0.2))])  # fmt: skip
    scores = [("focused", 0.58, "all"), ("focused", 0.1, "abnormal"), ("mean_of_seen", 0.6, "all")]
    never = pd.DataFrame(scores, columns=["method", "value", "protocol"])
    never = never.assign(finding="Fracture", positives=29, stratum="none", **BAND)
    lines = beyond.truths(emphysema, gains, never).splitlines()
    assert "all its films (100 positives): CM-DML, told signs 0.44" in lines[0] and "(14 positives)" in lines[1]
    assert (
        "mined from reports**, 672 PA films: signs minus illness +0.030 (+0.010 to +0.050); the interval is above 0"
        in lines[2]
    )
    assert "−0.030 (−0.050 to −0.010); the interval is below 0" in lines[3]
    assert (
        "Fracture**, never labelled (29 films, all films): told signs 0.58 (0.40–0.60); illness alone 0.60" in lines[4]
    )
    assert len(lines) == 5


def test_the_default_split_under_another_protocol_and_in_the_order_of_the_scorers():
    rows = [{"set": "224 px", "sources": "all", "method": m, "protocol": "all", "metric": x, "value": 0.5, **BAND}
            for m in ("ceiling", "odd", "eszsl", "focused") for x in "SUH"]  # fmt: skip
    table = beyond.default_split(pd.DataFrame(rows), "all")
    assert table.index.names == ["films", "scorer"] and list(table.columns) == ["S", "U", "H"]
    assert [name for _, name in table.index] == ["CM-DML, told signs", "closed form, told signs",
                                                 "ceiling (shown the labels)"]  # fmt: skip


def test_a_transfer_of_another_size_and_without_a_film_s_sharpness():
    rows = [("64 px", "normality", "seen", "within pairs", 0.1), ("64 px", "normality", "seen", "all", 0.7),
            ("64 px", "sharp", "not told", "all", 0.2), ("file", "sharp", "not told", "all", 0.6)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["size", "method", "pneumonia", "films", "value"]).assign(**BAND)
    found = beyond.transfer(table, "64 px", "all")
    assert found.index.name == "scorer" and found["Pneumonia seen"].to_dict() == {
        "normal against abnormal": "0.70 (0.40–0.60)", "sharpness of the film *": "–"}  # fmt: skip
    assert found.loc["sharpness of the film *", "Pneumonia unseen"] == "0.60 (0.40–0.60)"


def test_truths_that_nobody_measured_have_no_line():
    columns = ["protocol", "stratum", "films", "finding", "method", "truth", "value", "low", "high", "positives"]
    assert beyond.truths(*(pd.DataFrame(columns=columns),) * 3) == ""
    never = pd.DataFrame([{"finding": "Fracture", "method": "eszsl", "protocol": "all", "stratum": "none"}])
    assert beyond.truths(*(pd.DataFrame(columns=columns),) * 2, never) == ""


def test_tables_are_read_if_their_manifest_vouches_for_them(tmp_path):
    pd.DataFrame({"value": [1]}).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame({"value": [2]}).to_csv(tmp_path / "b.csv", index=False)
    vouch(tmp_path, {"profile": "made"})
    about, b, a = beyond.load(tmp_path, "b", "a")
    assert about["profile"] == "made" and (a.value.item(), b.value.item()) == (1, 2)
    (tmp_path / "a.csv").write_text("value\n3\n")
    with pytest.raises(ValueError, match="a.csv is not the table"):
        beyond.load(tmp_path, "b")


def test_own_networks_have_u_overall_and_within_a_stratum_and_the_gain_over_illness():
    values = {("U", "none"): 0.6, ("U", "view"): 0.55, ("S", "none"): 0.9, ("U", "source"): 0.1}
    methods = pd.DataFrame([{"method": m, "protocol": p, "metric": metric, "stratum": s, "value": v, **BAND}
                            for (metric, s), v in values.items() for m in beyond.SCORERS
                            for p in ("abnormal", "all")])  # fmt: skip
    methods.loc[methods.protocol == "all", "value"] = 0.99
    where = {"protocol": "abnormal", "metric": "U", "low": 0.01, "high": 0.09}
    paired = pd.DataFrame([
        {"method": "focused", "reference": "mean_of_seen", "stratum": "none", "difference": 0.05, **where},
        {"method": "focused", "reference": "eszsl", "stratum": "none", "difference": -0.05, **where},
        {"method": "focused", "reference": "mean_of_seen", "stratum": "view", "difference": 0.02, **where},
    ])  # fmt: skip
    table = beyond.own_networks({"methods": methods, "paired": paired})
    assert table.columns.tolist() == ["U", "over illness", "U within view", "S"]
    assert table.loc["CM-DML, told signs"].tolist() == [
        "0.60 (0.40–0.60)", "+0.05 (+0.01 to +0.09)", "0.55 (0.40–0.60)", "0.90 (0.40–0.60)"]  # fmt: skip
    assert table.loc["illness alone", "over illness"] == "–"
    methods["stratum"] = methods["stratum"].replace("source", "source_view")
    table = beyond.own_networks({"methods": methods, "paired": paired}, "source_view")
    assert table.loc["ceiling (shown the labels)", "U within source × view"] == "0.10 (0.40–0.60)"


def test_seeds_that_were_planned_and_not_run_are_named():
    assert beyond.seeds({"profile": "phantom", "designs": [1, 2, 3]}) == (
        "Seeds of network and heads: 1, 2, 3, all that were planned.")  # fmt: skip
    assert beyond.seeds({"profile": "nih-trained", "designs": [1], "missing_designs": [2]}) == (
        "Seeds of network and heads: 1 (planned, and without tables yet: 2, 3).")  # fmt: skip


def test_trained_networks_and_frozen_features_stand_side_by_side():
    def tables(u, s, ceiling, films):
        values = [("focused", "U", u), ("focused", "S", s), ("ceiling", "U", ceiling), ("ceiling", "S", 0.99),
                  ("eszsl", "U", 0.98)]  # fmt: skip
        rows = [{"method": m, "metric": k, "value": v, "protocol": "abnormal", "stratum": "none"} for m, k, v in values]
        wrong = [row | one | {"value": 0.97} for row in rows for one in ({"protocol": "all"}, {"stratum": "view"})]
        return {"methods": pd.DataFrame([*wrong, *rows]).assign(**BAND), "manifest": {"abnormal": films}}

    said = beyond.beside_frozen(tables(0.51, 0.62, 0.64, 351), tables(0.53, 0.63, 0.67, 1667))
    assert said.startswith("* CM-DML, told signs, on networks that were trained U 0.510 (0.400–0.600), S 0.620 ")
    assert "ceiling 0.640 (0.400–0.600) (351 abnormal test films); on frozen features U 0.530 " in said
    assert "S 0.630 (0.400–0.600), ceiling 0.670 (0.400–0.600) (1,667 abnormal test films). The" in said


def test_permuted_signs_in_one_bullet_tell_what_p_can_reach():
    row = {"method": "focused", "design": 101, "kind": "free", "real": 0.53, "mean": 0.51, "sd": 0.012,
           "largest": 0.54, "permutations": 20, "p": 3 / 21}  # fmt: skip
    assert beyond.retrained(pd.DataFrame([row])) == (
        "* The study's own head, trained anew each time (design 101, one setting for all): own signs 0.530, permuted "
        "0.510 ± 0.012, largest 0.540, p = 0.143 (20 permutations, so p is 0.048 at least).")  # fmt: skip


def test_truths_read_no_other_protocol_stratum_or_method():
    """Rows that must not be read come first in every table."""
    right, others = {"protocol": "abnormal", "stratum": "none", "value": 0.5, "gain": 0.03}, []
    for wrong in ({"protocol": "all"}, {"stratum": "source_view"}):
        others.append(right | wrong | {"value": 0.9, "gain": 0.9})
    rows = [row | {"films": films, "finding": f, "method": "focused", "positives": 7} for films in
            ("all", "not subcutaneous") for row in (*others, right) for f in ("mean", "Emphysema")]  # fmt: skip
    emphysema = pd.DataFrame([row | {"method": m} for row in rows for m in ("focused", "mean_of_seen", "ceiling")])
    emphysema.loc[emphysema.finding == "mean", "value"] = 0.9
    gains = pd.DataFrame([row | {"truth": t, "finding": "mean", "method": m, "films": 5, "gain_low": row["gain"] - 0.01,
                                 "gain_high": row["gain"] + 0.01, "gain": row["gain"] + (m != "focused")}
                          for t in ("mined", "radiologists") for m in ("eszsl", "focused")
                          for row in (*others, right)])  # fmt: skip
    right = right | {"protocol": "all"}
    never = pd.DataFrame([row | {"finding": "Fracture", "method": "focused", "positives": 3} for row in
                          (right | {"protocol": "abnormal", "value": 0.9}, right | {"stratum": "source", "value": 0.9},
                           right)])  # fmt: skip
    lines = beyond.truths(emphysema.assign(**BAND), gains, never.assign(**BAND)).splitlines()
    assert len(lines) == 5 and not any("0.90" in line for line in lines)
    assert all("signs minus illness +0.030 (+0.020 to +0.040)" in line for line in lines[2:4])
    assert "told signs 0.50 (0.40–0.60)." in lines[4]


def test_properties_of_the_file_are_of_the_films_that_are_compared():
    rows = [("file", method, "not told", films, value) for films, value in (("all", 0.9), ("within pairs", 0.6))
            for method in ("bytes", "sharp")]  # fmt: skip
    table = pd.DataFrame(rows, columns=["size", "method", "pneumonia", "films", "value"]).assign(**BAND)
    assert beyond.transfer(table)["Pneumonia unseen"].tolist() == ["0.60 (0.40–0.60)"] * 2
    assert beyond.transfer(table, films="all")["Pneumonia unseen"].tolist() == ["0.90 (0.40–0.60)"] * 2
