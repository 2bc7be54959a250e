"""The measurements of the chapter on traps, against counting by hand; and the solutions of its exercises, run."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest
from conftest import vouch
from sklearn.metrics import roc_auc_score

from cmdml.evaluation.metrics import bootstrap_weights
from cmdml.findings import KEYS
from cmdml.study import run, traps

NOTEBOOK = run.ROOT / "notebooks/08_traps.ipynb"
SLUGS = ["protocol", "illness", "view", "source", "label", "treatment", "split", "seed", "budget", "chosen"]


@pytest.fixture(scope="module")
def films():
    return pd.read_csv(run.ROOT / "data/features/nih-mini-efficientnet_lite0.csv", dtype={"patient": str})


@pytest.fixture
def made():
    """Six films of five patients and two findings."""
    return pd.DataFrame({"patient": list("aabcde"), "view": ["AP", "AP", "PA", "PA", "AP", "PA"],
                         "a": [1, 1, 0, 1, 0, 0], "b": [0, 1, 1, 0, 1, 0], "source_repo": list("xxxyyy")})  # fmt: skip


def test_a_number_alone_is_scored_among_abnormal_films(made, films):
    found = traps.alone(made, ["a", "b"], made["view"] == "AP", replicates=50)
    ill = made[:5]
    for key in "ab":
        assert found.value[key] == pytest.approx(roc_auc_score(ill[key], ill["view"] == "AP"))
    assert found.positives.to_dict() == {"a": 3, "b": 3} and list(found.value) == sorted(found.value, reverse=True)
    bedside = traps.alone(films, KEYS, films["view"] == "AP", replicates=100)
    abnormal = films[films[list(KEYS)].any(axis=1)]
    assert bedside.value["Edema"] == pytest.approx(roc_auc_score(abnormal["Edema"], abnormal["view"] == "AP"))
    assert bedside.index[0] == "Edema" and bedside.low["Edema"] > 0.65
    assert (bedside.low <= bedside.value).all() and (bedside.value <= bedside.high).all()


def test_films_without_the_number_are_left_out(made):
    values = made["view"].eq("AP").astype(float).where(made.index != 1)
    found, rest = traps.alone(made, ["a", "b"], values, replicates=5), made.drop(index=[1, 5])
    assert found.positives["a"] == 2
    assert found.value["b"] == pytest.approx(roc_auc_score(rest["b"], rest["view"] == "AP"))


def test_numbers_of_films_are_read_from_their_names():
    assert traps.follow_up(["00000013_005.png", "00030805_000.png"]).tolist() == [5, 0]


def test_sources_count_their_films(made):
    table = traps.sources(made, ["a", "b"], least=3)
    assert table.loc["x"].tolist() == [3, 1, 2 / 3] and table.loc["y"].tolist() == [3, 2 / 3, 1 / 3]
    assert len(traps.sources(made, ["a", "b"], least=4)) == 0


def test_findings_that_come_together(made):
    row = traps.together(made, ["a", "b"], "a").loc["b"]
    assert row["with"] == pytest.approx(1 / 3) and row["without"] == 1 and row["ratio"] == pytest.approx(1 / 3)


def test_gains_of_a_quadruple_are_means_over_its_findings():
    cover = pd.DataFrame({"design": [1, 1, 1, 1], "quadruple": [0, 0, 1, 1], "finding": ["b", "a", "a", "c"],
                          "gain": [0.2, 0.0, -0.1, 0.0]})  # fmt: skip
    gains = traps.quadruple_gains(cover)
    assert gains.gain.tolist() == [-0.05, 0.1] and gains.unseen.tolist() == ["a, c", "a, b"]


@pytest.fixture
def metrics():
    reached = {"one": (0.5, 0.6), "two": (0.7, 0.4), "shuffled": (0.4, 0.5), "random": (0.9, 0.9), "supervised": (1, 1)}
    rows = [(name, seed, value) for name, values in reached.items() for seed, value in enumerate(values)]
    table = pd.DataFrame(rows, columns=["method", "seed", "value"])
    return table.assign(split="default", metric="auroc_U", protocol="abnormal")


def test_winners_of_a_seed_are_zero_shot_and_meet_the_others(metrics):
    seeds = traps.by_seed(metrics)
    assert set(seeds.index) == {"one", "two", "shuffled"}
    assert set(traps.by_seed(metrics, controls=False).index) == {"one", "two"}
    won = traps.winners(seeds)
    assert won.winner.tolist() == ["two", "one"] and won.printed.tolist() == [0.7, 0.6]
    assert won.again.tolist() == [0.4, 0.5]
    with pytest.raises(ValueError, match="2 splits"):
        traps.by_seed(pd.concat([metrics, metrics.assign(split="random")]))


def test_pairs_turn_round_when_the_better_method_is_not_tuned():
    tuning = pd.DataFrame({"method": list("aabbcc"), "val_seen_auroc": [0.9, 0.5, 0.8, 0.75, 0.7, 0.1]})
    table = traps.budgets(tuning)
    assert table.index.tolist() == ["a", "b", "c"] and table.width.round(2).tolist() == [0.4, 0.05, 0.6]
    assert traps.reversed_pairs(table) == (2, 3)  # a below b and c; b stays above c


def test_illness_s_share_of_what_is_above_chance():
    methods = pd.DataFrame({"method": ["focused", "mean_of_seen"] * 2, "protocol": ["all"] * 2 + ["abnormal"] * 2,
                            "value": [0.6, 0.55, 0.49, 0.52]}).assign(stratum="none", metric="U")  # fmt: skip
    assert traps.above_chance(methods)["share"] == pytest.approx(0.5)
    assert math.isnan(traps.above_chance(methods, protocol="abnormal")["share"])


def test_tables_as_text():
    table = traps.shown(pd.DataFrame({"n": [3], "x": [0.12345], "p": [0.5]}), 2, percent=["p"])
    assert table.loc[0].tolist() == [3, "0.12", "50%"]


@pytest.mark.parametrize("profile", ["nih", "nih-mini"])
def test_no_sweep_ends_in_one_sentence(tmp_path, profile):
    with pytest.raises(FileNotFoundError, match=f"sweep-{profile} holds no sweep: make sweep PROFILE={profile}$"):
        traps.load_sweep(tmp_path / f"sweep-{profile}")


def cells():
    return ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"]]


def test_every_trap_has_its_four_parts():
    text = "\n".join(cells())
    assert text.count("{admonition} The trap") == text.count("{admonition} The remedy") == 10
    assert re.findall(r":label: ex-trap-(\w+)", text) == re.findall(r"\{solution\} ex-trap-(\w+)", text) == SLUGS
    assert text.count("*What to see:*") == 10


def test_what_the_texts_of_the_solutions_say_is_so(films):
    """The code of the solutions is run, with what it claims, in tests/test_exercises.py; these are the texts below."""
    ill = films[list(KEYS)].any(axis=1)
    for key in ("Hernia", "Edema"):  # 0.5 and half the share of normal films among the negatives
        negatives = films[films[key] == 0]
        normal = (~negatives[list(KEYS)].any(axis=1)).mean()
        assert roc_auc_score(films[key], ill) == pytest.approx(0.5 + normal / 2)
    ages = traps.alone(films, KEYS, films["age"], replicates=200)
    assert (ages.high - ages.low).idxmax() == ages.positives.idxmin() == "Hernia"
    first = films.assign(number=traps.follow_up(films["image"])).sort_values(["number", "image"])
    assert (first.drop_duplicates("patient")["number"] > 0).mean() > 0.5


def test_the_chapter_runs_on_the_committed_tables(tmp_path):
    run.execute(NOTEBOOK, tmp_path / "out.ipynb", {"run_dir": str(tmp_path / "run")})
    found = json.loads((tmp_path / "run/traps/manifest.json").read_text())["measured"]
    assert set(found) == {"illness", "view", "emphysema", "follow_up", "split", "budget", "chosen"}
    assert max(found["view"], key=found["view"].get) == "Edema" and found["split"]["lowest"] < found["split"]["mean"]
    assert found["chosen"]["again"] < found["chosen"]["printed"]


def test_sources_of_forty_films_count_and_the_largest_comes_first():
    table = pd.DataFrame({"source_repo": ["a"] * 40 + ["b"] * 39 + ["c"] * 41, "view": "AP", "Mass": 0})
    assert traps.sources(table, ["Mass"]).films.to_dict() == {"c": 41, "a": 40}
    assert list(traps.sources(table, ["Mass"]).index) == ["c", "a"]


def test_normal_films_and_the_finding_itself_are_not_compared(made):
    """c occurs on a normal film of neither a nor b only if c is asked for: then that film is no normal one."""
    table = made.assign(c=[1, 0, 1, 0, 0, 1], d=0)
    found = traps.together(table, ["a", "b", "c"], "a")
    assert sorted(found.index) == ["b", "c"]
    assert found.loc["c"].tolist() == pytest.approx([1 / 3, 2 / 3, 0.5])
    assert found.loc["b"].tolist() == pytest.approx([1 / 3, 2 / 3, 0.5])
    found = traps.together(table.assign(b=[1, 1, 0, 1, 0, 0]), ["a", "b", "c"], "a")
    assert found.loc["b"].tolist() == [1, 0, math.inf] and list(found.index) == ["b", "c"]


def test_intervals_are_over_patients_with_a_thousand_draws(films):
    some = films.iloc[:400]
    keep = some[some[list(KEYS)].any(axis=1)]
    weights, unit = bootstrap_weights(keep["patient"].to_numpy(), 1000, 0)
    y, x = keep["Effusion"], keep["view"] == "AP"
    draws = [roc_auc_score(y, x, sample_weight=w[unit]) for w in weights[1:]]
    row = traps.alone(some, ["Effusion", *(k for k in KEYS if k != "Effusion")], some["view"] == "AP").loc["Effusion"]
    assert [row.low, row.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]))


def test_protocols_side_by_side_and_the_default_of_what_is_above_chance():
    rows = [(m, p, "none", "U", base + shift) for m, base in (("mean_of_seen", 0.55), ("focused_description", 0.6),
            ("focused", 0.65), ("ceiling", 0.7)) for p, shift in (("all", 0.05), ("single", 0), ("abnormal", 0.02))]
    rows += [("focused", "single", "view", "U", 0.1), ("focused", "single", "none", "S", 0.2)]
    methods = pd.DataFrame(rows, columns=["method", "protocol", "stratum", "metric", "value"])
    methods = methods.assign(low=methods.value - 0.01, high=methods.value + 0.01)
    table = traps.by_protocol(methods)
    assert list(table.index) == ["illness alone", "CM-DML, told descriptions", "CM-DML, told signs",
                                 "ceiling (shown the labels)"]  # fmt: skip
    assert table.loc["CM-DML, told signs"].tolist() == ["0.650 (0.640–0.660)", "0.670 (0.660–0.680)",
                                                        "0.700 (0.690–0.710)"]  # fmt: skip
    found = traps.above_chance(methods)
    assert [found[k] for k in ("scorer", "illness", "share")] == pytest.approx([0.2, 0.1, 0.5])
    assert traps.above_chance(methods, "ceiling", "single")["share"] == pytest.approx(0.25)
    methods.loc[(methods.method == "focused") & (methods.protocol == "all"), "value"] = 0.5
    assert math.isnan(traps.above_chance(methods)["share"])


def test_text_has_three_digits_and_only_floats_change():
    table = pd.DataFrame({"x": [0.12345, 1.0], "n": [1, 2], "t": ["a", "b"]})
    assert traps.shown(table).to_numpy().tolist() == [["0.123", 1, "a"], ["1.000", 2, "b"]]
    assert table.x[0] == 0.12345


def test_a_sweep_is_read_if_its_manifest_vouches_for_it(tmp_path):
    for i, name in enumerate(("metrics", "methods", "tuning")):
        pd.DataFrame({"value": [i]}).to_csv(tmp_path / f"{name}.csv", index=False)
    vouch(tmp_path, {"profile": "made"})
    found = traps.load_sweep(tmp_path)
    assert found["manifest"]["profile"] == "made"
    assert [found[name].value.item() for name in ("metrics", "methods", "tuning")] == [0, 1, 2]
    (tmp_path / "tuning.csv").unlink()
    with pytest.raises(ValueError, match="tuning.csv is not the table"):
        traps.load_sweep(tmp_path)


def test_another_metric_protocol_and_a_method_without_every_seed(metrics):
    more = metrics.assign(metric="auroc_S", protocol="all", value=metrics.value / 2)
    more = more[~((more.method == "two") & (more.seed == 1))]
    table = pd.concat([more, metrics])
    assert traps.by_seed(table).loc["one"].tolist() == [0.5, 0.6]
    found = traps.by_seed(table, "auroc_S", "all")
    assert found.loc["one"].tolist() == [0.25, 0.3] and set(found.index) == {"one", "shuffled"}
    with pytest.raises(ValueError, match="metrics of 0 splits"):
        traps.by_seed(table, "auroc_S", "abnormal")


def test_the_winner_s_other_seeds_are_averaged():
    seeds = pd.DataFrame({0: [0.9, 0.1], 1: [0.5, 0.2], 2: [0.3, 0.8]}, index=["a", "b"])
    won = traps.winners(seeds)
    assert won.winner.tolist() == ["a", "a", "b"] and won.index.tolist() == [0, 1, 2]
    assert won.again.tolist() == pytest.approx([0.4, 0.6, 0.15])


def test_the_order_of_the_budgets_plays_no_part_in_the_pairs():
    table = pd.DataFrame({"best": [0.7, 0.9, 0.8, 0.6], "worst": [0.65, 0.5, 0.75, 0.6]}, index=list("cabd"))
    assert traps.reversed_pairs(table) == (3, 6)  # a below b, c and d; equal does not turn round
    tuning = pd.DataFrame({"method": list("aabbb"), "val_seen_auroc": [0.5, 0.6, 0.9, 0.2, 0.3]})
    table = traps.budgets(tuning)
    assert table.index.tolist() == ["b", "a"] and table.rates.tolist() == [3, 2] and table.best.tolist() == [0.9, 0.6]
    assert table.worst.tolist() == [0.2, 0.5]
