"""The measurements of the chapter on traps, against counting by hand; and the solutions of its exercises, run."""

import json
import math
import re

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

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


def test_no_sweep_ends_in_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="sweep-nih holds no sweep: make sweep PROFILE=nih"):
        traps.load_sweep(tmp_path / "sweep-nih")


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
