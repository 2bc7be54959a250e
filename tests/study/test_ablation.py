"""Tables and sentences of the chapter on ablation, from a made sweep whose answers are known."""


import pandas as pd
import pytest
from conftest import vouch

from cmdml.study import ablation, ablation_text
from cmdml.study.wording import interval

METHODS = {"focused": {}, "euclidean": {"objective": "euclidean"}, "ranking": {"objective": "ranking", "lr": 0.1},
           "gamma0_alpha75": {"gamma": 0.0}, "gamma2_alpha50": {"alpha": 0.5, "only": ["random"]},
           "shuffled": {"semantics": "shuffled"}, "tau_half": {"tau": 0.5}}  # fmt: skip
H = {"focused": 0.7, "euclidean": 0.6, "ranking": 0.8, "gamma0_alpha75": 0.65, "gamma2_alpha50": 0.9, "shuffled": 0.5,
     "tau_half": 0.3, "random": 0.5}  # fmt: skip
PAIRED = {"euclidean": (0.1, 0.05, 0.15), "ranking": (-0.1, -0.2, -0.05), "gamma0_alpha75": (0.05, -0.1, 0.2),
          "gamma2_alpha50": (-0.2, -0.3, 0.1), "shuffled": (0.2, 0.1, 0.3), "tau_half": (0.4, 0.3, 0.5)}  # fmt: skip


def written(folder, name="toy", **about):
    """A sweep on random splits, with a method less on the default one; values differ by split and protocol."""
    folder.mkdir(parents=True)
    rows = []
    for split, less in (("random", 0), ("default", 1)):
        for protocol, lift in (("abnormal", 0.0), ("all", 0.05)):
            for method in list(H)[: len(H) - less]:
                base = H[method] + lift - 0.2 * less
                for metric, value in {"auroc_S": base + 0.05, "auroc_U": base - 0.05, "auroc_H": base, "ap_S": base,
                                      "ap_U": 0.1, "f1@2": 0.2, "f1@3": 0.3, "ausuc": base / 2}.items():  # fmt: skip
                    rows.append((method, split, protocol, metric, value, value - 0.02, value + 0.03, 3,
                                 value - 0.1, None if metric == "ausuc" else value + 0.1))  # fmt: skip
    for method, value in H.items():
        rows.append((method, "random", "validation", "val_seen_auroc", 1 - value, 0, 1, 3, None, None))
    columns = ["method", "split", "protocol", "metric", "value", "min", "max", "seeds", "low", "high"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "methods.csv", index=False)
    pairs = [("focused", other, split, protocol, metric, *(v + shift for v in values), 3)
             for other, values in PAIRED.items() for split, shift in (("random", 0), ("default", 1))
             for protocol in ("abnormal", "all") for metric in ("auroc_S", "auroc_U", "auroc_H")]  # fmt: skip
    columns = ["method", "reference", "split", "protocol", "metric", "difference", "low", "high", "seeds"]
    pd.DataFrame(pairs, columns=columns).to_csv(folder / "paired.csv", index=False)
    tuning = [("focused", 0.001, 0, 0.9, False), ("focused", 0.01, 0, 0.91, True), ("bce", 0.001, 0, 0.8, True)]
    pd.DataFrame(tuning, columns=["method", "lr", "seed", "val_seen_auroc", "used"]).to_csv(
        folder / "tuning.csv", index=False)  # fmt: skip
    curve = pd.DataFrame({"method": "focused", "split": ["random", "default"], "seen": [0.1, 0.2], "unseen": 0.3})
    curve.to_csv(folder / "stacking.csv", index=False)
    manifest = {"profile": name, "runs": 30, "seconds_per_run": 7.4, "images_test": 1234, "images_test_abnormal": 567,
                "name": "toys", "missing": [], "methods": METHODS,
                "parameters": {"gamma": 2.0, "alpha": 0.75}}  # fmt: skip
    vouch(folder, manifest | about)
    return folder


@pytest.fixture
def sweeps(tmp_path):
    return ablation.load([written(tmp_path / "sweep")])[0]


def test_sweeps_are_found_and_those_that_are_not_are_named(tmp_path):
    first, second = written(tmp_path / "b", "b"), written(tmp_path / "a", "a", missing=["bce/0", "ale/0", "ale/1"])
    sweeps, absent = ablation.load([first, tmp_path / "none", second])
    assert list(sweeps) == ["b", "a"] and absent == [str(tmp_path / "none")]
    assert sweeps["b"]["split"] == "random"  # the one that most methods ran on
    lines = ablation_text.what_ran(sweeps, absent).splitlines()
    assert lines[0] == ("* **b**: 30 trainings of about 7 s; 1,234 test radiographs, 567 with a finding; unseen "
                        "findings: drawn anew for each seed; radiographs: toys.")  # fmt: skip
    assert lines[1].endswith("toys. Planned, but not run yet: `bce` (1), `ale` (2).")  # in the plan's order
    assert lines[2] == f"* No sweep yet in `{tmp_path / 'none'}`: `make sweep PROFILE=...` makes one."
    (second / "methods.csv").unlink()
    assert ablation.load([second]) == ({}, [str(second)])
    sweeps["b"]["split"] = "default"
    assert "unseen findings: the default four" in ablation_text.what_ran(sweeps)
    assert "unseen findings: drawn anew for each seed" in ablation_text.what_ran({"a": sweeps["a"]})  # on its own, too


def test_rows_and_differences_are_of_the_split_and_protocol_asked_for(sweeps):
    toy = sweeps["toy"]

    def value(**where):
        return ablation.rows(toy, metric="auroc_H", **where).set_index("method").value["focused"]

    assert value() == 0.7 and value(protocol="all") == 0.75 and value(split="default") == pytest.approx(0.5)
    assert ablation.difference(toy, "focused", "ranking").difference == -0.1
    assert ablation.difference(toy, "focused", "ranking", split="default").difference == 0.9
    assert ablation.difference(toy, "ranking", "focused") is None
    frame, shown = ablation.differences(toy, "euclidean")
    assert shown == ["focused", "euclidean", "ranking", "shuffled"]  # in the order of the chapter, chance left out
    assert frame.method.tolist() == ["focused"] and frame.difference.tolist() == [0.1]


def test_the_headline_has_a_row_per_protocol_method_and_set(sweeps):
    table = ablation.headline(sweeps)
    assert table.index.names == ["protocol", "method", "set"] and len(table) == 2 * 5
    row = table.loc[("abnormal", "CM-DML (focused)", "toy")]
    assert row.to_dict() == {"S": "0.75 (0.65–0.85)", "U": "0.65 (0.55–0.75)", "H": "0.70 (0.60–0.80)", "AP S": "0.70",
                             "AP U": "0.10", "F1@2": "0.20", "F1@3": "0.30", "seeds": "3"}  # fmt: skip
    assert table.loc[("all", "CM-DML (focused)", "toy"), "H"].startswith("0.75")
    assert ablation.headline({}).empty and interval(0.5, float("nan"), 1) == "0.50"


def test_learning_rates_are_ticked(sweeps):
    table = ablation.learning_rates(sweeps)["toy: learning rate"]
    assert table.loc["CM-DML (focused)"].tolist() == ["0.900", "0.910 ✓"]
    assert table.loc["cross-entropy"].tolist() == ["0.800 ✓", "–"] and list(table.columns) == ["0.001", "0.01"]
    assert ablation.learning_rates({"toy": {"tuning": sweeps["toy"]["tuning"][:0]}, "other": {}}) is None


def test_the_grid_is_of_gamma_and_alpha_alone(sweeps):
    points = ablation.grid(sweeps["toy"]).set_index("method")
    assert points[["gamma", "alpha", "value"]].T.to_dict("list") == {
        "focused": [2.0, 0.75, 0.7], "euclidean": [0.0, 0.5, 0.6], "gamma0_alpha75": [0.0, 0.75, 0.65],
        "gamma2_alpha50": [2.0, 0.5, 0.9]}  # fmt: skip
    sweeps["toy"]["about"]["methods"] = {"focused": {}, "euclidean": {"objective": "euclidean"}}
    assert ablation.grids(sweeps) == {}
    assert ablation_text.focusing({}) == "No grid of γ and α among these results."


def test_focusing_names_the_best_point_and_what_each_part_is_worth(sweeps):
    lines = ablation_text.focusing(sweeps).splitlines()[2:]
    assert lines[0].startswith("* **toy**: H spans 0.600 to 0.900 over 4 points; the highest is γ = 2, α = 0.5.")
    assert lines[0].endswith("cannot be told apart (the interval includes 0). H differs by −0.200 (−0.300 to +0.100, 3 "
                             "seeds).")  # fmt: skip
    assert "what focusing (γ = 2 against 0, the same α) is worth: S +0.050 (−0.100 to +0.200); U" in lines[1]
    assert "what weighting" in lines[2] and "H −0.200" in lines[2] and len(lines) == 3
    best = sweeps["toy"]["methods"].metric.eq("auroc_H") & sweeps["toy"]["methods"].method.eq("focused")
    sweeps["toy"]["methods"].loc[best, "value"] = 0.99
    assert "It is the study's own setting." in ablation_text.focusing(sweeps)


def test_verdicts(sweeps):
    toy = sweeps["toy"]
    assert ablation_text.verdict(toy, "focused", "euclidean") == (
        "CM-DML (focused) is better than plain Euclidean. H differs by +0.100 (+0.050 to +0.150, 3 seeds).")
    assert "is **worse** than CXR-ML-GZSL ranking" in ablation_text.verdict(toy, "focused", "ranking")
    assert "is better than CXR-ML" in ablation_text.verdict(toy, "focused", "ranking", split="default")
    assert "cannot be told apart" in ablation_text.verdict(toy, "focused", "gamma0_alpha75")
    assert ablation_text.verdict(toy, "ale", "bce") == "ALE and cross-entropy have no seed in common yet."


def test_rivals_are_asked_under_both_protocols(sweeps):
    lines = ablation_text.rivals(sweeps).splitlines()[2:]
    assert [line.partition(":")[0] for line in lines] == ["* **toy**, `abnormal`", "* **toy**, `all`"] * 2
    assert "ranking" in lines[0] and "Euclidean" in lines[2]
    assert ablation_text.rivals({}) == "*What to see:*\n\nnothing yet: there are no results."


def test_what_the_text_is_worth(sweeps):
    (line,) = ablation_text.told(sweeps).splitlines()[2:]
    assert line == ("* **toy**: U with `shuffled` is 0.45 (0.35–0.55); the interval includes 0.5. The true "
                    "descriptions differ from it by +0.200 (+0.100 to +0.300).")  # fmt: skip
    methods = sweeps["toy"]["methods"]
    methods.loc[methods.method.eq("shuffled"), "high"] = 0.49
    assert "the interval does **not** include 0.5" in ablation_text.told(sweeps)
    signs = sweeps["toy"]["paired"].assign(method="signs").replace("euclidean", "bce_signs")
    sweeps["toy"]["paired"] = pd.concat([sweeps["toy"]["paired"], signs])
    assert ablation_text.told(sweeps).splitlines()[-1] == (
        "* **toy**, all told signs: H of CM-DML minus H of cross-entropy told signs +0.100 (+0.050 to +0.150).")
    assert ablation_text.told({}).endswith("Nothing yet: no control was run.")


def test_what_else_was_tried(sweeps):
    table = ablation.others(sweeps)
    assert table.index.tolist() == [("toy", "γ = 0, α = 0.75"), ("toy", "γ = 2, α = 0.5"), ("toy", "τ halved")]
    row = table.loc[("toy", "τ halved")]
    assert row["U: own minus this"] == "+0.400 (+0.300 to +0.500)" and row.iloc[-1] == "+0.400"
    text = ablation_text.readings(sweeps)
    assert "of 5 readings and settings" in text
    assert "rank first τ halved (0.700), plain Euclidean (0.400), γ = 0" in text
    assert text.endswith("The study's own is number 4 (0.300), plain Euclidean number 2 (0.400).")
    sweeps["toy"]["paired"] = sweeps["toy"]["paired"][:0]
    assert ablation.others(sweeps) is None


def test_stacking_and_its_area(sweeps):
    assert ablation.stacking(sweeps["toy"]).seen.tolist() == [0.1]
    assert ablation.ausuc(sweeps)["toy"]["CM-DML (focused)"] == "0.350 (0.330–0.380)"
    assert list(ablation.ausuc(sweeps).index)[:2] == ["CM-DML (focused)", "plain Euclidean"]


def test_in_short(sweeps):
    text = ablation_text.in_short(sweeps)
    start = text.index("* **toy**, random split")
    assert text[start:].splitlines()[:4] == [
        "* **toy**, random split. CM-DML's H is", "  * better than: plain Euclidean; shuffled texts; τ halved.",
        "  * not told apart from: γ = 0, α = 0.75; γ = 2, α = 0.5.", "  * worse than: CXR-ML-GZSL ranking."]
    assert text.startswith("* **toy**, default split. CM-DML's H is\n  * better than: plain Euclidean; ")
    hardly = text[text.index("**Hardly trained"):]
    assert "shuffled texts (toy, random split, S = 0.55); τ halved (toy, random split, S = 0.35)." in hardly
    assert "random (toy" not in hardly and "γ = 0" not in hardly  # trains nothing; near enough
    assert ablation_text.in_short({}).startswith("No results yet.\n\nIntervals are not corrected")


def test_an_interval_that_touches_0_tells_nothing_apart(sweeps):
    toy = sweeps["toy"]
    pair = toy["paired"].reference.eq("euclidean") & toy["paired"].split.eq("random")
    for low, high, said in ((0.0, 0.2, "cannot be told apart"), (1e-9, 0.2, "is better than"), (-2.0, 1.5, "cannot be"),
                            (-0.2, 0.0, "cannot be told apart"), (-0.2, -1e-9, "is **worse** than")):  # fmt: skip
        toy["paired"].loc[pair, ["low", "high"]] = low, high
        assert said in ablation_text.verdict(toy, "focused", "euclidean")
        line = next(line for line in ablation_text.in_short(sweeps).split("random split.")[1].splitlines()
                    if "plain Euclidean" in line)  # fmt: skip
        word = {"cannot": "not told apart from", "is better": "better than", "is **wor": "worse than"}
        assert line.startswith(f"  * {next(v for k, v in word.items() if said.startswith(k))}: ")


def test_an_interval_that_touches_chance_includes_it(sweeps):
    methods = sweeps["toy"]["methods"]
    here = methods.method.eq("shuffled")
    for low, high, inside in ((0.5, 0.6, True), (0.4, 0.5, True), (0.51, 0.6, False), (0.4, 0.49, False)):
        methods.loc[here, ["low", "high"]] = low, high
        assert ("the interval includes 0.5" in ablation_text.told(sweeps)) == inside


def test_a_tenth_below_the_own_s_is_still_trained(sweeps):
    toy = sweeps["toy"]
    s = toy["methods"].metric.eq("auroc_S") & toy["methods"].protocol.eq("abnormal") & toy["methods"].split.eq("random")

    def hardly(value):
        toy["methods"].loc[s & toy["methods"].method.eq("ranking"), "value"] = value
        return any("ranking" in line for line in ablation_text.hardly_trained("toy", sweeps["toy"]))

    toy["methods"].loc[s & toy["methods"].method.eq("focused"), "value"] = 0.75
    assert not hardly(0.75 - 0.1) and hardly(0.75 - 0.1 - 1e-9)
    toy["methods"] = toy["methods"][toy["methods"].method != "focused"]
    assert ablation_text.hardly_trained("toy", toy) == []  # nothing to compare with
    assert "Hardly" not in ablation_text.in_short(sweeps)


def test_a_grid_has_more_than_two_points(sweeps):
    toy = sweeps["toy"]
    for methods, there in ((["focused", "euclidean"], False), (["focused", "euclidean", "gamma0_alpha75"], True)):
        toy["about"]["methods"] = {name: METHODS[name] for name in methods}
        assert bool(ablation.grids(sweeps)) == there
    toy["about"]["methods"] = {"focused": {"lr": 0.5, "only": ["random"]}, "euclidean": {"objective": "euclidean"},
                               "absent": {"gamma": 1.0}, "tau_half": {"gamma": 1.0, "tau": 0.5},
                               "ranking": {"objective": "euclidean", "semantics": "signs_text"}}  # fmt: skip
    points = ablation.grid(toy)
    assert points.method.tolist() == ["focused", "euclidean"] and set(points.split) == {"random"}
    assert points[["gamma", "alpha"]].to_numpy().tolist() == [[2.0, 0.75], [0.0, 0.5]]
    assert ablation_text.focusing({}) == "No grid of γ and α among these results."


def test_a_gap_says_more_inside_its_brackets_if_it_has_some():
    row = pd.Series({"difference": 0.0474, "low": 0.025, "high": 0.076})
    assert ablation.gap(row) == "+0.047 (+0.025 to +0.076)"
    assert ablation.gap(row, ", 3 seeds") == "+0.047 (+0.025 to +0.076, 3 seeds)"
    assert ablation.gap(pd.Series({"difference": 0.0474, "low": None, "high": None}, dtype=float), ", x") == "+0.047"


def test_two_sweeps_side_by_side(tmp_path):
    sweeps, _ = ablation.load([written(tmp_path / "a", "a"), written(tmp_path / "b", "b")])
    del sweeps["b"]["tuning"]
    methods = sweeps["b"]["methods"]
    sweeps["b"]["methods"] = methods[methods.method != "euclidean"]
    table = ablation.ausuc(sweeps)
    assert list(table.columns) == ["a", "b"] and table.loc["plain Euclidean", "b"] == "–"
    assert table.index.name == "AUSUC (lowest–highest seed)"
    head = ablation.headline(sweeps)
    assert [name for _, method, name in head.index if method == "plain Euclidean"] == ["a", "a"]
    assert [one[2] for one in head.index[:2]] == ["a", "b"] and head.index[0][0] == "abnormal"
    assert list(ablation.learning_rates(sweeps).columns.get_level_values(0).unique()) == ["a: learning rate"]
    assert ablation.learning_rates(sweeps).index.name == "method"
    more = ablation.others(sweeps)
    assert more.index.names == ["set", "variant"] and [name for name, _ in more.index] == ["a"] * 3 + ["b"] * 3
    assert ablation.rows(sweeps["a"]).protocol.unique().tolist() == ["abnormal"]
    assert len(ablation.rows(sweeps["a"], metric="auroc_U")) == len(H)


def test_a_validation_that_is_missing_is_a_dash(sweeps):
    methods = sweeps["toy"]["methods"]
    sweeps["toy"]["methods"] = methods[~(methods.protocol.eq("validation") & methods.method.eq("tau_half"))]
    table = ablation.others(sweeps)
    assert table.loc[("toy", "τ halved"), "validation: this minus own"] == "–"
    assert table.loc[("toy", "γ = 0, α = 0.75"), "validation: this minus own"] == "+0.050"


def test_a_sweep_whose_tables_were_edited_is_refused(tmp_path):
    folder = written(tmp_path / "a")
    with (folder / "paired.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match="paired.csv is not the table"):
        ablation.load([folder])
    (folder / "manifest.json").unlink()
    assert ablation.load([folder]) == ({}, [str(folder)])


def test_every_number_is_of_its_own_mean_protocol_and_pair(sweeps):
    """Differences that are all unlike: S 0.1, U 0.2, H 0.3 under ``abnormal``, ten times as much under ``all``."""
    toy = sweeps["toy"]
    base = {"auroc_S": 0.1, "auroc_U": 0.2, "auroc_H": 0.3}
    table = toy["paired"].assign(difference=lambda t: t.metric.map(base).where(t.protocol == "abnormal", 9.0))
    table["low"], table["high"] = table.difference - 0.01, table.difference + 0.01
    toy["paired"] = table.sort_values("protocol", ascending=False, kind="stable")  # what is not asked for comes first
    for mean, value in zip("SUH", base.values()):
        assert ablation.difference(toy, "focused", "ranking", f"auroc_{mean}").difference == value
        assert ablation.others(sweeps)[f"{mean}: own minus this"].str.startswith(f"+{value:.3f}").all()
    assert ablation.difference(toy, "focused", "ranking", protocol="all").difference == 9
    abnormal, both = ablation_text.rivals(sweeps).splitlines()[2:4]
    assert "H differs by +0.300" in abnormal and "H differs by +9.000" in both
    assert "differ from it by +0.200 (+0.190 to +0.210)" in ablation_text.told(sweeps)
    worth = ablation_text.focusing(sweeps).splitlines()[-1]
    assert "S +0.100 (" in worth and "U +0.200 (" in worth and "H +0.300 (" in worth


def test_in_short_tells_apart_by_h_alone(sweeps):
    table = sweeps["toy"]["paired"]
    own = (table.split == "random") & (table.protocol == "abnormal") & (table.reference == "tau_half")
    for metric, (low, high) in {"auroc_S": (0.1, 0.2), "auroc_U": (0.1, 0.2), "auroc_H": (-0.2, -0.1)}.items():
        table.loc[own & (table.metric == metric), ["low", "high"]] = low, high
    text = ablation_text.in_short(sweeps).split("random split.")[1]
    (worse,) = (line for line in text.splitlines() if line.startswith("  * worse than"))
    assert worse == "  * worse than: CXR-ML-GZSL ranking; τ halved."


def test_readings_are_of_the_distance_loss_and_of_no_other_normals(sweeps):
    methods = sweeps["toy"]["methods"]
    odd = methods[methods.protocol == "validation"].head(1)
    more = [odd.assign(method=m, value=0.99) for m in ("focused_with_normals", "bce", "ale")]
    sweeps["toy"]["methods"] = pd.concat([methods, *more])
    assert "of 5 readings" in ablation_text.readings(sweeps) and "0.990" not in ablation_text.readings(sweeps)


def test_learning_rates_stand_in_the_order_in_which_methods_were_tuned(sweeps):
    assert list(ablation.learning_rates(sweeps).index) == ["CM-DML (focused)", "cross-entropy"]


def test_seeds_of_the_headline_are_those_that_have_h(sweeps):
    """A seed whose test films show no unseen finding has AP on seen ones and no H."""
    methods = sweeps["toy"]["methods"]
    methods.loc[methods.metric.eq("auroc_H"), "seeds"] = 2
    assert set(ablation.headline(sweeps).seeds) == {"2"}


def test_rivals_that_are_told_signs_are_not_among_what_else_was_tried(sweeps):
    paired = sweeps["toy"]["paired"]
    signs = [paired[paired.reference == "euclidean"].assign(reference=rival) for rival in ablation.RIVALS]
    before = ablation.others(sweeps)
    sweeps["toy"]["paired"] = pd.concat([paired, *signs])
    pd.testing.assert_frame_equal(ablation.others(sweeps), before)
