"""Cells of chapters 1 to 3 on data small enough to count by hand: what they select, compute, pass on and write."""

import hashlib
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock, call

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from cells import CLOCK, NOW, cell, drawing, numbers, printed, titles
from scipy.stats import spearmanr

from cmdml.findings import KEYS, SeenUnseen, split_findings
from cmdml.plots import figures
from cmdml.semantics import SEMANTICS
from cmdml.study import run

FINDINGS = SeenUnseen(("Mass", "Hernia", "Edema"), ("Hernia",))
ROOT = run.ROOT


# 1. The data


@pytest.mark.parametrize("source, asked", [
    ("phantom", {"images": 5, "prevalence": 2.5, "seed": 7}),
    ("chestmnist", {"npz": str(ROOT / "chest.npz")}),
    ("nih", {"root": str(ROOT / "unpacked"), "splits": "hash", "min_source_pixels": 99, "exclude_sources": ["them"],
             "non_square": "pad", "seed": 7}),
    ("another", {}),
])  # fmt: skip
def test_a_source_is_given_its_own_parameters(source, asked):
    prepare = Mock()
    given = {"images": 5, "prevalence": 2.5, "seed": 7, "npz": "chest.npz", "nih_root": "unpacked", "splits": "hash"}
    given |= {"min_source_pixels": 99, "exclude_sources": ["them"], "non_square": "pad", "size": 32}
    here = cell("01_data", "data-prepare", source=source, prepare=prepare, run_folder=Path("/r"), **given)
    assert prepare.mock_calls == [call(source, Path("/r/radiographs"), size=32, **asked)]
    assert here["radiographs"] is prepare.return_value


@pytest.mark.parametrize("value", ["refuse", 0, "x"])
def test_what_a_source_is_given_is_not_read_on_the_way(value):
    names = ("images", "prevalence", "seed", "splits", "min_source_pixels", "exclude_sources", "non_square", "size")
    for source in ("phantom", "nih"):
        prepare = Mock()
        cell("01_data", "data-prepare", source=source, prepare=prepare, run_folder=Path("/r"), npz="", nih_root="",
             **dict.fromkeys(names, value))  # fmt: skip
        assert {v for name, v in prepare.call_args.kwargs.items() if name != "root"} == {value}


@pytest.mark.parametrize("source, asked", [("chestmnist", {"npz": None}), ("nih", {"root": ""})])
def test_a_source_without_a_place_is_given_none(source, asked):
    prepare = Mock()
    given = dict.fromkeys(("images", "prevalence", "seed", "splits", "min_source_pixels", "exclude_sources",
                           "non_square", "size"))  # fmt: skip
    cell("01_data", "data-prepare", source=source, prepare=prepare, run_folder=Path(), npz="", nih_root="", **given)
    assert prepare.call_args.kwargs | asked == prepare.call_args.kwargs


def test_a_run_lies_where_its_folder_says():
    before = time.time()
    with matplotlib.rc_context():
        here = cell("01_data", "data-setup", run_dir="runs/else")
    assert here["run_folder"] == ROOT / "runs/else" and before <= here["started"] <= time.time()


CARD = {"name": "tiny", "title": "A set", "source": "a place", "licence": "free", "citation": "a paper",
        "sha256": "0123456789abcdef" * 4}  # fmt: skip


class films:
    """A set of radiographs whose table is that, with the labels of its finding columns; film i is all 10 i."""

    def __init__(self, **columns):
        self.table, self.card, self.size = pd.DataFrame(columns), CARD, 4
        self.findings = tuple(key for key in KEYS if key in columns)
        self.labels = self.table[list(self.findings)].to_numpy(np.uint8)
        self.pixels = np.arange(len(self.table)) * 10

    def __len__(self):
        return len(self.table)


def test_the_card_is_the_set_s():
    radiographs = films(patient=list("aab"))
    said = cell("01_data", "data-card", radiographs=radiographs)["said"].iloc[:, 0]
    expected = {"title": "A set", "source": "a place", "licence": "free", "please cite": "a paper"}
    assert said.iloc[:4].to_dict() == expected
    assert numbers(said.iloc[4]) == ["3", "4", "4"] and said.iloc[5] == "2" and said.iloc[6] == "0123456789abcdef…"


def test_a_split_is_counted_film_by_film_and_the_unknown_are_left_out():
    given = {"split": ["test"] * 4 + ["val"] * 2 + ["train"] * 5, "patient": list("aabc" "dd" "eeeef"),
             "sex": ["F", "F", "M", ""] + ["", ""] + ["M", "M", "M", "F", "M"],
             "view": ["AP", "PA", "", ""] + ["AP", "AP"] + ["", "PA", "PA", "PA", "AP"],
             "age": [10, 20, 30, 90, 50, np.nan, 1, 2, 3, 4, 5], "Mass": [1, 0, 0, 0] + [0, 0] + [1, 1, 1, 1, 0],
             "Hernia": [1, 1, 0, 0] + [0, 0] + [0, 0, 0, 0, 0]}  # fmt: skip
    here = cell("01_data", "data-splits", radiographs=films(image=range(11), **given), findings=FINDINGS)
    assert list(here["by_split"].index) == ["training", "validation", "test"]
    assert list(here["by_split"]) == ["radiographs", "patients", "with a finding", "median age", "women", "AP view"]
    assert printed(here["final"]) == [
        ["5", "2", "80%", "3", "20%", "25%"], ["2", "1", "0%", "50", "unknown", "100%"],
        ["4", "3", "50%", "25", "67%", "50%"]]  # fmt: skip
    assert here["table"].any_finding.tolist() == [bool(a or b) for a, b in zip(given["Mass"], given["Hernia"])]


@pytest.mark.parametrize("unseen", ["random", "default", "none", "Mass,Edema"])
def test_the_unseen_findings_are_those_asked_for(unseen):
    here = cell("01_data", "data-seen-unseen", radiographs=SimpleNamespace(findings=KEYS), unseen=unseen, seed=3)
    found, asked = here["findings"], split_findings(KEYS, unseen, seed=3)
    assert found == asked and (unseen != "random" or asked != split_findings(KEYS, unseen, seed=0))
    (n, seen), (m, not_seen) = re.findall(r"\((\d+)\):\*\* ([^.]*)\.", here["said"])
    assert (int(n), int(m)) == (len(found.seen), len(found.unseen))
    assert seen.split(", ") == [figures.words(key) for key in found.seen]
    assert not_seen.split(", ") == ([figures.words(key) for key in found.unseen] or ["none"])


def test_the_gallery_prefers_films_with_little_else_and_taken_upright():
    table = {"Mass": [0, 1, 1, 1, 1, 1, 0, 0, 0, 0], "Effusion": [0] * 10, "Nodule": [0] * 7 + [1, 0, 0],
             "Pneumonia": [0] * 8 + [1, 0], "Edema": [0, 1, 0, 0, 0, 1, 0, 0, 0, 0],
             "Fibrosis": [0] * 9 + [1], "Hernia": [0, 0, 0, 0, 1, 1, 0, 0, 0, 0]}  # fmt: skip
    radiographs = films(**table, view=["PA", "PA", "AP", "PA", "AP", "PA", "PA", "AP", "PA", "PA"])
    findings, drawn = SeenUnseen(radiographs.findings, ("Hernia",)), drawing()
    # mass: 3 has no other and stands, 2 lies; hernia: 4 lies with one other, 5 stands with two; no film of an effusion
    cell("01_data", "data-gallery", radiographs=radiographs, findings=findings, seed=0, card=CARD, figures=drawn)
    (rows, title), kwargs = drawn.radiograph_grid.call_args
    first = {"Mass": 3, "Nodule": 7, "Pneumonia": 8, "Edema": 1, "Fibrosis": 9, "Hernia": 4}
    expected = [(10 * first[key], key, figures.UNSEEN if key == "Hernia" else figures.SEEN)
                for key in findings.keys if key in first] + [(0, "No finding", "black")]  # fmt: skip
    assert rows == [("", expected[:5]), ("", expected[5:])] and kwargs == {"columns": 5} and title.startswith("tiny ")


@pytest.mark.parametrize("seed", range(4))
def test_among_equal_films_of_the_gallery_the_seed_decides(seed):
    drawn, radiographs = drawing(), films(Mass=[0, 1, 1, 1, 1, 1], view=[""] * 6)
    cell("01_data", "data-gallery", radiographs=radiographs, findings=SeenUnseen(("Mass",), ()), seed=seed,
         card=CARD, figures=drawn)  # fmt: skip
    chosen = drawn.radiograph_grid.call_args.args[0][0][1][0][0]
    assert chosen == 10 * (1 + np.random.default_rng(seed).random(5).argmin())


def test_findings_are_counted_over_all_films():
    radiographs, drawn = films(Mass=[1, 1, 0], Hernia=[0, 0, 1], Edema=[0, 0, 0]), drawing()
    here = cell("01_data", "data-imbalance", radiographs=radiographs, labels="labels", findings=FINDINGS, card=CARD,
                figures=drawn)  # fmt: skip
    assert drawn.finding_counts.mock_calls == [call("labels", FINDINGS, here["ax"])]
    assert titles(here["fig"])[0].startswith("tiny:") and numbers(titles(here["fig"])[0]) == ["3"]


@pytest.mark.parametrize("rare, times", [(2, "4"), (0, "8")])
def test_the_most_and_the_least_frequent_finding_are_named(rare, times):
    labels = np.zeros((25, 3), int)
    labels[:8, 0], labels[:rare, 1], labels[5:10, 2] = 1, 1, 1
    said = cell("01_data", "data-imbalance-reading", labels=labels, number=labels.sum(1), findings=FINDINGS)["said"]
    assert numbers(said) == ["8", times, str(rare), "60%"] and said.index("Mass") < said.index("hernia")


LABELS = np.array([[1, 1, 0]] * 2 + [[1, 0, 0]] * 6 + [[0, 1, 0]] * 2 + [[0, 1, 1]])


def test_a_share_of_the_co_occurrence_is_of_the_row_s_films():
    drawn = drawing()
    here = cell("01_data", "data-cooccurrence", labels=LABELS.astype(np.uint8), findings=FINDINGS, card=CARD,
                figures=drawn)  # fmt: skip
    (matrix, findings, ax), options = drawn.heatmap.call_args
    # 8 films with a mass, 5 with a hernia, 2 with both; one of an edema, with a hernia
    expected = np.array([[np.nan, 25, 0], [40, np.nan, 20], [0, 100, np.nan]])
    assert matrix == pytest.approx(expected, nan_ok=True) and titles(here["fig"])[0].startswith("tiny:")
    assert findings is FINDINGS and ax is here["ax"] and options == {"fmt": ".0f", "vmin": 0}


def test_a_finding_without_films_shares_nothing():
    drawn = drawing()
    cell("01_data", "data-cooccurrence", labels=LABELS * [1, 1, 0], findings=FINDINGS, card=CARD, figures=drawn)
    assert drawn.heatmap.call_args.args[0][2, :2].tolist() == [0, 0]


def test_patients_are_counted_by_how_many_films_they_have():
    drawn, radiographs = drawing(), films(patient=list("abacca"))
    here = cell("01_data", "data-patients", radiographs=radiographs, card=CARD, figures=drawn)
    (counts, ax), options = drawn.counts_bar.call_args
    assert sorted(counts) == [1, 2, 3] and ax is here["ax"] and options["most"] == 10
    assert "radiographs" in options["xlabel"] and options["ylabel"] == "patients"
    assert titles(here["fig"])[0].startswith("tiny:")


@pytest.mark.parametrize("keep, strict", [(True, False), (False, True)])
def test_the_parts_are_those_of_the_parameters_and_counted_by_step(keep, strict):
    counts = pd.DataFrame([("train", "in the set", 1000, 9), ("train", "kept", 80, 8), ("val", "in the set", 7, 6),
                           ("val", "kept", 5, 4), ("test", "in the set", 3, 2), ("test", "kept", 3, 1)],
                          columns=["split", "step", "images", "patients"])  # fmt: skip
    partition = Mock(return_value=SimpleNamespace(counts=counts))
    here = cell("01_data", "data-partition", radiographs="films", findings="findings", keep_no_finding=keep,
                strict_sources=strict, partition=partition)  # fmt: skip
    assert partition.mock_calls == [call("films", "findings", keep_no_finding=keep, strict_sources=strict)]
    assert here["parts"] is partition.return_value
    table = here["counted"].data
    assert list(table.index) == ["in the set", "kept"]
    columns = [("radiographs", "training"), ("radiographs", "validation"), ("radiographs", "test"),
               ("patients", "training"), ("patients", "validation"), ("patients", "test")]  # fmt: skip
    assert list(table.columns) == columns
    assert printed(here["counted"]) == [["1,000", "7", "3", "9", "6", "2"], ["80", "5", "3", "8", "4", "1"]]


def test_one_sided_sources_are_shown_where_there_are_any():
    row = {"source": "a", "train": 1, "kind": "normal", "other_dropped": 2, "other_val": 3, "other_test": 4}
    some, none = pd.DataFrame([row]), pd.DataFrame(columns=list(row))

    def shown(table, one_sided):
        parts = SimpleNamespace(one_sided=one_sided)
        return cell("01_data", "one-sided-sources", table=pd.DataFrame(table), parts=parts)["shown"]

    assert shown({"image": [1]}, some).data == shown({"source_repo": ["", ""]}, some).data  # no sources are named
    assert shown({"source_repo": ["", "a"]}, none).data != shown({"image": [1]}, none).data
    table = shown({"source_repo": ["", "a"]}, some).data
    parts = [("source", "a"), ("training", 1), ("all", "normal"), ("dropped", 2), ("validation", 3), ("test", 4)]
    for column, (word, value) in zip(table, parts, strict=True):
        assert word in column and table[column].tolist() == [value]


def test_positives_are_seen_findings_of_training_films():
    drawn, labels = drawing(), np.array([[1, 1, 1], [1, 0, 0], [0, 1, 0], [1, 0, 1]])
    here = cell("01_data", "data-positives", labels=labels, parts=SimpleNamespace(train=np.array([3, 1, 2])),
                findings=FINDINGS, card=CARD, figures=drawn)  # fmt: skip
    (counts, ax), options = drawn.counts_bar.call_args
    assert counts.tolist() == [2, 1, 0] and ax is here["ax"] and options["most"] == 5
    assert "findings" in options["xlabel"] and "radiographs" in options["ylabel"]
    assert titles(here["fig"])[0].startswith("tiny:")


def test_the_first_chapter_ends_with_what_was_counted():
    written, glue = Mock(), Mock()
    seen = np.array([[1, 0], [1, 1], [0, 0], [1, 0]])
    table, counts = pd.DataFrame({"split": ["train"] * 6 + ["val", "test"]}), {"Hernia": 3, "Edema": 4, "Mass": 1}
    started, findings = NOW - 100, SeenUnseen(("Hernia", "Edema", "Mass", "Nodule"), ("Hernia", "Edema"))
    here = cell("01_data", "data-manifest", profile="p", parameters={"a": 1}, seed=5, run=SimpleNamespace(
        manifest=written), run_folder=Path("/r"), radiographs="films", started=started, glue=glue, table=table,
        time=CLOCK, findings=findings, counts=counts, seen=seen, parts=SimpleNamespace(train=range(5)),
        run_dir="/r")  # fmt: skip
    assert written.mock_calls == [call(Path("/r/radiographs"), radiographs="films", started=started, profile="p",
                                       notebook="01_data", parameters={"a": 1}, seed=5)]  # fmt: skip
    assert glue.mock_calls == [call("minutes_01", "2 minutes", display=False)]
    said = here["said"]
    assert numbers(said.partition("Next")[0].replace("[chapter 3](03_training.ipynb)", "")) == [
        "1.00", "1.00", "50.0%", "5", "6", "50.0%", "3"]  # fmt: skip
    assert re.search(r"hernia and edema.*hernia has 3", said, re.S) and "`/r/radiographs`" in said


def test_positive_and_negative_labels_of_a_training_film_are_told_apart():
    given = {"profile": "p", "parameters": {}, "seed": 5, "run": Mock(), "run_folder": Path("/r"), "started": 0.0}
    given |= {"radiographs": None, "glue": Mock(), "table": pd.DataFrame({"split": ["train"]}), "counts": {}}
    given |= {"findings": SeenUnseen(("Mass", "Edema", "Nodule", "Hernia"), ()), "run_dir": "r"}
    said = cell("01_data", "data-manifest", seen=np.array([[1, 0, 0, 0], [1, 1, 0, 0]]),
                parts=SimpleNamespace(train=[0]), **given)["said"]  # fmt: skip
    assert numbers(said)[:3] == ["1.50", "2.50", "37.5%"] and "none" in said


# 2. The semantic space


@pytest.mark.parametrize("unseen, seed", [("random", 3), ("random", 4), ("Mass", 0)])
def test_the_second_chapter_s_unseen_findings_are_those_asked_for(unseen, seed):
    with matplotlib.rc_context():
        found = cell("02_semantics", "sem-setup", unseen=unseen, seed=seed)["findings"]
    assert found == split_findings(KEYS, unseen, seed=seed)


def test_the_texts_are_those_of_the_file():
    findings = split_findings(KEYS, "Mass")
    texts = cell("02_semantics", "sem-texts", findings=findings)["texts"].set_index("finding")
    for entry in yaml.safe_load((ROOT / "data/findings.yaml").read_text(encoding="utf-8"))["findings"]:
        row = texts.loc[entry["name"]]
        assert row["description"] == " ".join(entry["description"].split())
        assert row["signs"] == ", ".join(entry["signs"]).replace("_", " ")
        assert row["in training"] == ("unseen" if entry["key"] == "Mass" else "seen")
    assert len(texts) == len(KEYS)


def plane(*degrees):
    """Vectors of length 1 at these angles, float64."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1)


SIMILARITY = {kind: plane(0, 60 + 2 * i, 90 - i) @ plane(0, 60 + 2 * i, 90 - i).T for i, kind in enumerate(SEMANTICS)}
OFF = ~np.eye(3, dtype=bool)


def test_every_kind_of_words_has_its_own_vectors():
    asked = []

    def semantic_vectors(findings, kind, **options):
        asked.append(([f.key for f in findings], kind, options))
        i = SEMANTICS.index(kind)
        return torch.from_numpy(plane(0, 60 + 2 * i, 90 - i))

    here = cell("02_semantics", "sem-vectors", KEYS=FINDINGS.keys, semantic_vectors=semantic_vectors,
                semantic_model="encoder", seed=8)  # fmt: skip
    assert asked == [(list(FINDINGS.keys), kind, {"model": "encoder", "seed": 8}) for kind in SEMANTICS]
    assert here["off_diagonal"].tolist() == OFF.tolist()
    rows = {row[0]: row[1:] for row in printed(here["final"])}
    for i, kind in enumerate(SEMANTICS):
        assert here["similarity"][kind] == pytest.approx(SIMILARITY[kind])
        between = np.cos(np.deg2rad([60 + 2 * i, 90 - i, 30 - 3 * i]))
        least, mean, most = between.min(), between.mean(), between.max()
        found = [here["overview"][kind][f"{which} cosine"] for which in ("lowest", "mean", "highest")]
        assert found == pytest.approx([least, mean, most])
        assert rows[kind] == ["2", f"{least:.2f}", f"{mean:.2f}", f"{most:.2f}"]


def test_the_similarities_shown_are_those_of_the_training_s_words():
    drawn = drawing()
    here = cell("02_semantics", "sem-similarity", figures=drawn, findings=FINDINGS, semantics="name",
                similarity=SIMILARITY, off_diagonal=OFF)  # fmt: skip
    (matrix, findings, ax), _ = drawn.heatmap.call_args
    assert matrix == pytest.approx(np.where(OFF, SIMILARITY["name"], np.nan), nan_ok=True)
    assert findings is FINDINGS and ax is here["ax"] and "name" in titles(here["fig"])[0]


def test_the_closest_and_the_farthest_pair_are_named():
    cosines = {"name": np.eye(3), "signs": np.array([[1, 0.4, 0.1], [0.4, 1, 0.7], [0.1, 0.7, 1]])}
    said = cell("02_semantics", "sem-similarity-reading", KEYS=FINDINGS.keys, similarity=cosines,
                semantics="signs")["said"]  # fmt: skip
    assert numbers(said) == ["0.70", "0.10"]
    close, far = said.split("0.70")
    assert all(word in close for word in ("edema", "hernia")) and all(word in far for word in ("edema", "mass"))


def test_the_other_spaces_are_four_others():
    drawn = drawing()
    here = cell("02_semantics", "sem-other-spaces", figures=drawn, findings=FINDINGS, semantics="signs",
                similarity=SIMILARITY, off_diagonal=OFF)  # fmt: skip
    kinds = [kind for kind in SEMANTICS if kind != "signs"][:4]
    assert titles(here["fig"]) == kinds
    for (args, options), ax, kind in zip(drawn.heatmap.call_args_list, here["axes"].flat, kinds, strict=True):
        assert args[0] == pytest.approx(np.where(OFF, SIMILARITY[kind], np.nan), nan_ok=True)
        assert args[1:] == (FINDINGS, ax) and options == {"numbers": False, "vmin": 0, "vmax": 1}


def test_the_neighbours_of_an_unseen_finding_are_seen_ones():
    findings = SeenUnseen(("Mass", "Hernia", "Edema", "Nodule", "Fibrosis"), ("Hernia", "Nodule"))
    row = np.array([[0.1, 1.0, 0.3, 0.9, 0.2], [0.6, 0.9, 0.2, 1.0, 0.4]])
    similarity = dict.fromkeys(SEMANTICS, np.zeros((5, 5))) | {"signs": np.zeros((5, 5))}
    similarity["signs"][[1, 3]] = row
    here = cell("02_semantics", "sem-nearest", KEYS=findings.keys, findings=findings, similarity=similarity)
    assert here["nearest"]["signs"].to_dict() == {"Hernia": "edema (0.30), fibrosis (0.20)",
                                                  "Nodule": "mass (0.60), fibrosis (0.40)"}  # fmt: skip
    assert here["nearest"]["name"].str.startswith("none").all() and list(here["nearest"]) == list(SEMANTICS)


def similar(seed):
    """A symmetric matrix with a few large entries, so that ranks and values disagree."""
    half = np.exp(3 * np.random.default_rng(seed).normal(size=(5, 5)))
    return half + half.T


def test_two_kinds_of_words_agree_where_they_rank_pairs_alike():
    off = ~np.eye(5, dtype=bool)
    similarity = {kind: similar(i) for i, kind in enumerate(SEMANTICS)}
    found = cell("02_semantics", "sem-agreement", similarity=similarity, off_diagonal=off)["agreement"]
    assert list(found) == ["name", "description", "signs", "signs_text"]
    pairs = [(i, j) for i in range(5) for j in range(i)]
    for one in found:
        for two in found:
            x, y = ([similarity[kind][pair] for pair in pairs] for kind in (one, two))
            assert found.loc[one, two] == pytest.approx(spearmanr(x, y).statistic)


def test_the_second_chapter_writes_the_similarities_of_its_words(tmp_path):
    agreement = pd.DataFrame([[1, 0.2, 0.6], [0.2, 1, -0.3], [0.6, -0.3, 1]], list("abc"), list("abc"))
    vectors = {kind: plane(0, 60 + 2 * i, 90 - i) for i, kind in enumerate(SEMANTICS)}
    nearest = pd.DataFrame({kind: {"Hernia": f"by {kind}"} for kind in SEMANTICS})
    written, glue, started = Mock(), Mock(), NOW - 50
    overview = {kind: {"mean cosine": i / 8} for i, kind in enumerate(SEMANTICS)}
    here = cell("02_semantics", "sem-manifest", run=SimpleNamespace(manifest=written, resolve=run.resolve), glue=glue,
                run_dir=str(tmp_path), semantics="signs", semantic_model="encoder", vectors=vectors, KEYS=FINDINGS.keys,
                findings=FINDINGS, nearest=nearest, similarity=SIMILARITY, profile="p", parameters={"a": 1}, seed=5,
                time=CLOCK, started=started, agreement=agreement, overview=overview)  # fmt: skip
    out = tmp_path / "semantics"
    table = pd.read_csv(out / "similarity.csv", index_col=0)
    assert list(table) == list(table.index) == list(FINDINGS.keys)
    assert table.to_numpy() == pytest.approx(SIMILARITY["signs"], abs=6e-5)
    assert json.loads((out / "summary.json").read_text()) == {
        "semantics": "signs", "semantic_model": "encoder", "shape": [3, 2],
        "sha256": hashlib.sha256(vectors["signs"].tobytes()).hexdigest(), "seen": ["Mass", "Edema"],
        "unseen": ["Hernia"], "nearest_seen": {"Hernia": "by signs"}}  # fmt: skip
    assert written.mock_calls == [call(out, started=started, notebook="02_semantics", profile="p",
                                       parameters={"a": 1}, seed=5)]  # fmt: skip
    assert glue.mock_calls == [call("minutes_02", "1 minute", display=False)]
    means = [f"{overview[kind]['mean cosine']:.2f}" for kind in ("description", "signs_text")]
    assert re.findall(r"-?\d\.\d+", here["said"]) == ["-0.30", "-0.30", *means]
    assert re.findall(r"`([abc])`", here["said"]) == ["b", "c"] * 2


def test_no_unseen_finding_has_no_neighbours_to_write(tmp_path):
    agreement = pd.DataFrame([[1, 0.2], [0.2, 1]], list("ab"), list("ab"))
    vectors = dict.fromkeys(SEMANTICS, plane(0, 60, 90))
    cell("02_semantics", "sem-manifest", run=SimpleNamespace(manifest=Mock(), resolve=run.resolve), glue=Mock(),
         run_dir=str(tmp_path), semantics="signs", semantic_model="", vectors=vectors, KEYS=FINDINGS.keys,
         findings=SeenUnseen(FINDINGS.keys, ()), nearest=pd.DataFrame({kind: {} for kind in SEMANTICS}), profile="p",
         similarity=SIMILARITY, parameters={}, seed=5, started=0.0, agreement=agreement,
         overview=dict.fromkeys(SEMANTICS, {"mean cosine": 0.5}))  # fmt: skip
    assert json.loads((tmp_path / "semantics/summary.json").read_text())["nearest_seen"] == {}


# 3. Training


def test_training_is_given_what_its_parameters_say():
    asked = Mock()
    asked.split_findings.return_value = SeenUnseen(("Mass", "Hernia", "Edema"), ("Hernia",))
    asked.plan.training_config.return_value = ("config", ["margin"])
    asked.partition.return_value = SimpleNamespace(train=range(1234), val=range(56), test=range(7))
    asked.semantic_vectors.return_value = np.zeros((3, 99))
    asked.RadiographSet.load.return_value = radiographs = SimpleNamespace(findings=("Mass", "Hernia"), card=CARD)
    names = ("RadiographSet", "split_findings", "plan", "of_config", "partition", "findings_of", "semantic_vectors")
    here = cell("03_training", "train-data", **{name: getattr(asked, name) for name in names}, run_dir="runs/else",
                unseen="random", seed=6, parameters={"a": 1}, keep_no_finding=False, semantics="name",
                semantic_model="encoder")  # fmt: skip
    assert asked.mock_calls == [
        call.RadiographSet.load(ROOT / "runs/else/radiographs"),
        call.split_findings(("Mass", "Hernia"), "random", seed=6),
        call.plan.changed({"a": 1}),
        call.plan.training_config({"a": 1}, given=asked.plan.changed.return_value),
        call.of_config(radiographs, "config", ROOT / "runs/else/features"),
        call.partition(asked.of_config.return_value, here["findings"], keep_no_finding=False),
        call.findings_of(("Mass", "Hernia", "Edema")),
        call.semantic_vectors(asked.findings_of.return_value, "name", model="encoder", seed=6)]  # fmt: skip
    assert here["dropped"] == ["margin"] and here["config"] == "config"
    assert numbers(here["said"]) == ["1,234", "56", "7", "2", "1", "99"] and "hernia" in here["said"]


def test_the_loss_shown_is_the_training_s():
    drawn = drawing()
    cell("03_training", "train-loss", figures=drawn, alpha=0.3, tau=2.0)
    assert drawn.loss_figure.mock_calls == [call(alpha=0.3, tau=2.0)]


def test_a_trial_is_named_after_what_it_trains():
    def folder(out="", **parameters):
        return cell("03_training", "train-config", parameters=parameters, out=out, config=None)["folder"]

    recipe = {"a": 1, "b": [2, 3]}
    name = hashlib.sha256(b'{"a": 1, "b": [2, 3]}').hexdigest()[:10]
    assert folder(**recipe) == ROOT / "runs/trials" / name
    assert folder(b=[2, 3], profile="another", a=1) == folder(**recipe)
    assert folder(a=1, b=[2, 4]) != folder(**recipe)
    assert folder(seed=1, **recipe) != folder(seed=2, **recipe)
    assert folder(out="runs/mine", **recipe) == ROOT / "runs/mine"
    asked = cell("03_training", "train-config", parameters=recipe | {"out": "x"}, out="", config="c")
    assert asked["folder"] == folder(**recipe) and asked["final"] == "c"


def test_what_is_fitted_and_where():
    fit = Mock()
    here = cell("03_training", "train-fit", fit=fit, parts="parts", vectors="vectors", config="config", folder="out")
    assert fit.mock_calls == [call("parts", "vectors", "config", "out")]
    drawn = drawing()
    left = cell("03_training", "train-history", trained=SimpleNamespace(history="history"), figures=drawn)
    assert drawn.history.mock_calls == [call("history")] and left["history"] == "history"
    assert here["trained"] is fit.return_value


HISTORY = pd.DataFrame({"epoch": [1, 2, 3], "val_seen_auroc": [0.61, 0.87654, 0.7], "loss": [9.0, 5.0, 1.0]})


@pytest.mark.parametrize("since, seconds, minutes, training", [
    (600, [10, 20, 12], "10 minutes", "less than one"), (5, [100, 50, 182], "6 minutes", "6"),
    (1, [20, 20, 20], "1 minute", "1")])  # fmt: skip
def test_the_epoch_that_is_kept_is_written(since, seconds, minutes, training):
    written, glue, started = Mock(), Mock(), NOW - since
    history = HISTORY.assign(seconds=seconds)
    here = cell("03_training", "train-manifest", history=history, run=SimpleNamespace(manifest=written), glue=glue,
                folder="out", profile="p", parameters={"a": 1}, radiographs="films", seed=5, started=started,
                dropped=["margin"], time=CLOCK)  # fmt: skip
    assert written.mock_calls == [call("out", notebook="03_training", profile="p", parameters={"a": 1}, seed=5,
                                       radiographs="films", started=started, dropped=["margin"], best_epoch=2,
                                       train_seconds=sum(seconds), val_seen_auroc=0.87654)]  # fmt: skip
    assert here["manifest"] is written.return_value
    assert glue.mock_calls == [call("minutes_03", minutes, display=False),
                               call("minutes_training", training, display=False)]  # fmt: skip
    shown = ["2", "3", "0.877", f"{sum(seconds)}", f"{sum(seconds) / 3:.1f}"]
    assert numbers(here["said"]) == shown


def test_what_is_said_of_a_run_is_its_manifest_s():
    manifest = {"profile": "p", "data_sha256": "0123456789abcdef" * 4, "best_epoch": 2, "parameters": {"a": 1}}
    manifest |= {"versions": {}, "machine": {}, "commit": "fedcba9876543210" * 2 + "01234567", "note": "abc"}
    said = cell("03_training", "train-about", manifest=manifest)["final"]["this run"].to_dict()
    assert said == {"profile": "p", "data sha256": "0123456789ab…", "best epoch": "2", "commit": "fedcba987654…",
                    "note": "abc"}  # fmt: skip


def test_the_third_chapter_ends_with_the_epoch_that_is_kept():
    said = cell("03_training", "train-end", folder=ROOT / "runs/mine", best=HISTORY.loc[1], history=HISTORY)["said"]
    assert "`runs/mine`" in said and re.findall(r"epoch (\d) of (\d)", said) == [("2", "3")]
