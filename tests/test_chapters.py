"""Cells of the chapters, run alone: what they say is what the tables behind them say, counted here from the files."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from cells import cell

from cmdml.findings import SeenUnseen
from cmdml.study import beyond, own_finding, report, run


def test_a_neighbour_that_was_seen_is_a_gain_where_the_table_says_so():
    tables = report.load("data/results/rotation-nih-mini")
    table = pd.read_csv(run.ROOT / "data/results/rotation-nih-mini/coverage.csv")
    gaps = [part.gain[part.neighbour_seen].mean() - part.gain[~part.neighbour_seen].mean()
            for _, part in table.groupby("finding")]  # fmt: skip
    said = cell("07_anatomy", "anatomy-coverage-words", tables=tables)["said"]
    assert f"gains {np.mean(gaps):+.3f} more on average" in said
    assert f"{sum(gap > 0 for gap in gaps)} of {len(gaps)} findings gain more" in said


def test_who_names_the_most_frequent_counts_the_training_films():
    asked = []
    radiographs = SimpleNamespace(labels=np.eye(3, dtype=int), table=pd.DataFrame({"split": ["test", "train", "val"]}))
    evaluation = SimpleNamespace(summary=pd.DataFrame(columns=["protocol", "metric"]))
    stub = SimpleNamespace(illness=lambda *_: None, headline=lambda _: None,
                           always_the_most_frequent=lambda *given, **_: asked.append(given))  # fmt: skip
    cell("04_evaluation", "eval-evaluate", comparison=stub, radiographs=radiographs, labels="tested", scores=None,
         patients="patients", findings="findings", where=None, testset=None, draws={},
         metrics=SimpleNamespace(evaluate=lambda *_, **__: evaluation))  # fmt: skip
    ((labels, train, findings, patients),) = asked
    assert (labels, findings, patients) == ("tested", "findings", "patients") and train.tolist() == [[0, 1, 0]]


def test_a_gap_is_how_much_farther_negative_pairs_are():
    findings = SeenUnseen(("Mass", "Hernia"), ("Hernia",))
    labels = np.array([[1, 0], [1, 1], [0, 1], [0, 0]])  # the last film shows nothing and is not asked
    distance = np.array([[0.2, 0.5], [0.4, 0.9], [1.0, 0.7], [9.0, 9.0]])
    given = {"distance": distance, "labels": labels, "findings": findings, "name": "tiny"}
    gap = cell("05_embeddings", "emb-distances", **given)["gap"]
    assert gap == pytest.approx({"seen": 1.0 - 0.3, "unseen": 0.5 - 0.8})
    said = cell("05_embeddings", "emb-distances-reading", gap=gap)["said"]
    assert "apart by **0.70** for seen findings and **-0.30** for unseen findings" in said


@pytest.mark.parametrize("words", [("signs", "description"), ("signs", "signs"), ("unknown", "unknown")])
def test_a_second_training_stands_beside_the_first_whatever_it_was_told(tmp_path, words):
    first, second = tmp_path / "one", tmp_path / "two"
    second.mkdir()
    (second / "embeddings.npz").touch()
    (second / "config.json").write_text(json.dumps({"data_sha256": "films", "unseen": ["Hernia"]}))
    given = {"told": {first: words[0], second: words[1]}.get, "run_dir": "", "beside": str(second), "where": first}
    given |= {"claim": {"data_sha256": "films"}, "findings": SeenUnseen(("Mass", "Hernia"), ("Hernia",)), "rows": []}
    given |= {"distance": np.zeros((1, 2)), "embedded": lambda *_: {"visual": [[0.0]], "semantic": [[3.0], [4.0]]}}
    drawn = []
    space = SimpleNamespace(nearest=lambda shown, *_, title, **__: drawn.append((shown.tolist(), title)))
    found = cell("05_embeddings", "emb-beside", **given, name="tiny", labels=[], pixels=[], keys=[], nearest=3,
                 space=space)["distances"]  # fmt: skip
    (mine, mine_shown), (other, other_shown) = found.items()
    assert mine == words[0] != other and other.startswith(words[1])
    assert mine_shown.tolist() == [[0.0, 0.0]] and other_shown.tolist() == [[3.0, 4.0]]
    assert [shown for shown, _ in drawn] == [[[3.0, 4.0]]] and drawn[0][1].endswith(f"told: {other}")


def test_whom_own_words_find_is_asked_of_their_own_score():
    asked = []

    def found_by(score, labels, patients, findings, *, replicates, seed):
        asked.append((score, labels, patients, findings))

    stub = SimpleNamespace(found_by=found_by)
    testset = SimpleNamespace(labels="labels", patients="patients")
    cell("09_own_finding", "own-whom", own_finding=stub, drawing=SimpleNamespace(whom=lambda *_: None),
         own_score="own", illness="ill", testset=testset, findings="findings", replicates=3, seed=0, name="phantom",
         mine=SimpleNamespace(name="Lung abscess"))  # fmt: skip
    assert asked == [("own", "labels", "patients", "findings")]


def test_the_fracture_s_numbers_are_those_among_ill_films():
    _, every = beyond.load("data/results/truth-nih-mini", "never")
    table = pd.read_csv(run.ROOT / "data/results/truth-nih-mini/never.csv")
    rows = table[(table.finding == "Fracture") & (table.stratum == "none") & (table.protocol == "abnormal")]
    rows = rows.set_index("method")
    said = cell("09_own_finding", "own-real-reading", fracture=own_finding.never(every, "Fracture"))["said"]
    assert f"among {rows.films['focused']:,.0f} ill PA films, {rows.positives['focused']:.0f} of them" in said
    for method in ("focused", "mean_of_seen"):
        row = rows.loc[method]
        assert f"{row.value:.2f}" in said and f"{row.low:.2f}" in said and f"{row.high:.2f}" in said, method


def test_each_panel_of_the_rivals_has_its_own_reference():
    drawn = []
    stub = SimpleNamespace(REFERENCES={"a": "the first", "b": "the second"}, differences=lambda s, name: (s, name))

    def forest(sweep, reference, ax):
        drawn.append((sweep, reference, ax))

    here = cell("06_ablation", rivals_cell(), ablation=stub, sets={"one": 1, "two": 2},
                evidence=SimpleNamespace(forest=forest))  # fmt: skip
    titles = [ax.get_title("left") + ax.get_title() for *_, ax in drawn]  # the book puts them left
    assert [each[:2] for each in drawn] == [(1, "a"), (1, "b"), (2, "a"), (2, "b")] and here["axes"].shape == (2, 2)
    assert titles == [f"{name}: minus {called}" for name in ("one", "two") for called in ("the first", "the second")]


def rivals_cell():
    """The id of the cell that draws the differences from a reference."""
    cells = json.loads((run.ROOT / "notebooks/06_ablation.ipynb").read_text(encoding="utf-8"))["cells"]
    (found,) = [one["id"] for one in cells if "ablation.differences(" in "".join(one["source"])]
    return found
