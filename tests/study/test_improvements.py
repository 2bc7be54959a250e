"""The variants in words: what each changes, the ranking, the parameters of the loss, the test of the first."""

import json

import pandas as pd
import pytest
from conftest import vouch

from cmdml.study import improvements

CHANGES = {"a": {"see": "ridge", "hidden": 0}, "base": {}, "g": {"gamma": 0.0}, "d": {"direction": "joint", "lr": 3e-4}}


@pytest.fixture
def folder(tmp_path):
    ranking = pd.DataFrame({
        "variant": ["g", "a", "base", "d"], "changes": [json.dumps(CHANGES[v]) for v in ("g", "a", "base", "d")],
        "pseudo_unseen": [0.51, 0.55, 0.5, 0.45], "difference": [0.01, 0.05, 0, -0.05], "sd": [0.02, 0.03, 0, 0.01],
        "cells_better": [5, 7, 0, 1], "cells": 8, "rank": [2, 1, 3, 4],
    })  # fmt: skip
    effects = pd.DataFrame({
        "parameter": ["gamma", "gamma", "direction", "direction"],
        "value": ["2.0", "0.0", "joint", "visual_to_semantic"],
        "variant": ["base", "g", "base", "v"], "difference": [0, 0.01, 0, -0.02], "sd": [0, 0.02, 0, 0.03],
        "cells_better": [0, 5, 0, 2], "cells": 8,
    })  # fmt: skip
    rows = [(m, s, "U", p, v, gap) for p, off in (("all", 0.2), ("abnormal", 0)) for s in ("none", "source_view")
            for m, v, gap in (("a", 0.53, 0), ("mean_of_seen", 0.51, 0.02), ("eszsl", 0.52, 0.01),
                              ("nearest", 0.54, -0.01), ("ceiling", 0.67, -0.14))]  # fmt: skip
    test = pd.DataFrame(rows, columns=["method", "stratum", "metric", "protocol", "value", "variant_minus"])
    test.loc[test.protocol == "all", "value"] += 0.2
    test = pd.concat([test.assign(metric="S", value=0.99), test], ignore_index=True)
    test.loc[test.stratum == "source_view", "variant_minus"] -= 0.03
    test = test.assign(low=test.value - 0.01, high=test.value + 0.01, minus_low=test.variant_minus - 0.015,
                       minus_high=test.variant_minus + 0.015)  # fmt: skip
    for name, table in {"ranking": ranking, "cells": ranking, "effects": effects, "test": test}.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    vouch(tmp_path, {"first": "a", "seed": 101})
    return tmp_path


@pytest.fixture
def variants(folder):
    return improvements.load(folder)


def test_nothing_tried_is_no_error(tmp_path):
    assert improvements.load(tmp_path) is None


def test_an_edited_ranking_is_refused(folder):
    (folder / "ranking.csv").write_text((folder / "ranking.csv").read_text().replace("0.55", "0.56"))
    with pytest.raises(ValueError, match="ranking.csv"):
        improvements.load(folder)


def test_a_variant_is_called_after_what_it_changes(variants):
    assert improvements.called({}) == "the study's own"
    assert improvements.called({"start": "eszsl", "hidden": 0, "lr": 3e-4}) == "linear, starts from ESZSL, lr 0.0003"
    ordered = improvements.called({"see": "ridge", "direction": "joint", "hidden": 0})
    assert ordered == "linear, joint space, sees ridge scores"
    assert improvements.called({"see": "bce"}) == "sees a cross-entropy head"
    assert improvements.called({"hidden": 8, "tau": 2.0}) == "hidden 8, τ 2"
    assert list(improvements.names(variants)) == ["a", "g", "base", "d"]
    assert improvements.names(variants)["d"] == "joint space, lr 0.0003"


def test_the_ranking_says_where_the_own_head_stands(variants):
    text = improvements.ranked(variants)
    assert "Of 4 heads, the study's own is number 3 with 0.500. First is *linear, sees ridge scores* with 0.550" in text
    assert "+0.050 over the same 8 cells, better in 7" in text and "± 0.030" in text


def test_each_parameter_has_a_line_without_its_own_value(variants):
    gamma, direction = improvements.parameters(variants).splitlines()
    assert gamma == "* **γ** instead of 2: 0 gives +0.010 (± 0.020, better in 5 of 8)."
    assert direction.startswith("* **direction** instead of joint space: visual to semantic gives −0.020 (± 0.030")


def test_the_first_is_set_beside_its_references(variants):
    own, illness, eszsl, nearest, ceiling = improvements.tested(variants).splitlines()
    assert "test films of design 101, scored once: U 0.530 (0.520–0.540)." in own
    assert "illness alone: +0.020 (+0.005 to +0.035); the interval is above 0. Within source × view −0.010" in illness
    assert "ESZSL" in eszsl and "+0.010 (−0.005 to +0.025); the interval includes 0" in eszsl
    assert "nearest" in nearest and "the interval is below 0" in ceiling


def test_the_line_for_the_readme(variants):
    text = improvements.in_one_line(variants)
    assert text.startswith("Of 4 variants of the model") and "*linear, sees ridge scores* came first" in text
    assert "design 101 its U is 0.530 (0.520–0.540), +0.020 (+0.005 to +0.035) over illness alone" in text


def test_a_test_is_read_of_its_stratum_in_whatever_order_its_rows_stand(variants):
    """Within source × view the variant's U is another number, and its rows come first."""
    test = variants["test"].copy()
    test.loc[(test.method == "a") & (test.stratum == "source_view"), ["value", "low", "high"]] = 0.8, 0.7, 0.9
    variants["test"] = test.iloc[::-1].reset_index(drop=True)
    assert "its U is 0.530 (0.520–0.540), +0.020 (+0.005 to" in improvements.in_one_line(variants)
    own, illness, *_ = improvements.tested(variants).splitlines()
    assert "U 0.530 (0.520–0.540)." in own and "illness alone: +0.020 (" in illness
    assert "Within source × view −0.010 (−0.025 to +0.005); the interval includes 0" in illness
