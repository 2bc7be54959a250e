"""Cells of chapters 6, 7 and 9, run alone: what they ask for, what they hand on, and whose numbers they say."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from cells import cell
from scipy.stats import spearmanr

from cmdml.findings import SeenUnseen, findings_of, load_findings
from cmdml.study import run
from cmdml.study.wording import difference, interval

TURNED = "data/results/rotation-nih-mini"
FINDINGS = SeenUnseen(("Mass", "Nodule", "Edema", "Hernia"), ("Hernia",))
MINE = SimpleNamespace(name="Lung abscess", signs=("opacity", "round"))


class Asked:
    """A module that answers every call with the name of what was called, or as told, and keeps what it was asked."""

    def __init__(self, **answers):
        self.answers, self.calls = answers, []

    def __getattr__(self, name):
        if name.isupper():
            return self.answers.get(name, name)

        def call(*given, **named):
            self.calls.append((name, given, named))
            answer = self.answers.get(name, name)
            return answer(*given, **named) if callable(answer) else answer

        return call

    def of(self, name):
        """What one of its functions was given: positional, then named."""
        return [(*given, *named.items()) for called, given, named in self.calls if called == name]


def in_order(text, *parts):
    """Whether all parts stand in a text, one after the other."""
    at = 0
    for part in parts:
        found = text.find(part, at)
        assert found >= 0, f"{part!r} is not in {text[at:]!r}"
        at = found + len(part)
    return True


def bold(text):
    return re.findall(r"\*\*(.+?)\*\*", text)


def bullets(text):
    return [line[2:] for line in text.splitlines() if line.startswith("* ")]


# Chapter 6

QUESTIONS = {
    "q-made-figure": ("levels", ("all methods", "MADE_OF")),
    "q-words-figure": ("against", ("paired", "focused", "WORDS")),
    "q-loss-figure": ("against", ("paired", "focused", "LOSSES")),
}


@pytest.mark.filterwarnings("ignore:No artists with labels")
@pytest.mark.parametrize("which", QUESTIONS)
def test_each_question_s_figure_shows_its_own_scorers(which):
    name, given = QUESTIONS[which]
    drawing, questions = Asked(), Asked()
    here = cell("06_ablation", which, drawn=drawing, questions=questions,
                tables={"methods": "all methods", "paired": "paired"})  # fmt: skip
    assert drawing.calls == [(name, (*given, here["ax"]), {})]


@pytest.mark.parametrize(
    ("which", "asked"),
    [
        ("q-made-answer", ("made_of", ("tables",))),
        ("q-words-answer", ("against", ("tables", "focused", "WORDS", "Told signs"))),
        ("q-loss-answer", ("against", ("tables", "focused", "LOSSES", "CM-DML"))),
    ],
)
def test_each_question_is_answered_about_its_own_scorers(which, asked):
    questions = Asked(made_of="the answer", against="the answer")
    here = cell("06_ablation", which, questions=questions, tables="tables")
    assert questions.calls == [(*asked, {})] and here["said"].endswith("the answer")


@pytest.mark.parametrize("notebook", ["06_ablation", "07_anatomy"])
def test_the_rotation_that_is_read_is_the_one_that_was_asked_for(notebook):
    report, here = Asked(load={"manifest": "about"}), {"run": Asked(), "figures": Asked(), "rotation": "a folder"}
    which = {"06_ablation": "abl-setup", "07_anatomy": "anatomy-setup"}[notebook]
    here = cell(notebook, which, report=report, **here)
    assert report.of("load") == [("a folder",)] and here["tables"] == {"manifest": "about"}
    assert here.get("about", "about") == "about" and here["parameters"] == "parameters"


@pytest.mark.parametrize("held", [True, False])
def test_variants_are_those_of_the_folder_that_was_asked_for(held):
    effects = pd.DataFrame({"variant": ["gamma_0", "gamma_0", "tau_half"]})
    tried = {"cells": "cells", "effects": effects} if held else None
    improvements, drawing, shown = Asked(load=tried), Asked(), []
    here = cell("06_ablation", "improve-figure", improvements=improvements, drawn=drawing, improved="a folder",
                display=shown.append)  # fmt: skip
    assert improvements.of("load") == [("a folder",)] and here["tried"] is tried and bool(shown) != held
    for cells, names, alone, ax in drawing.of("variants"):
        assert (cells, names, ax) == ("cells", "names", here["ax"]) and alone.tolist() == ["gamma_0", "tau_half"]
    assert len(drawing.calls) == held and (not held or improvements.of("names") == [(tried,)])
    said = []
    cell("06_ablation", "improve-answer", improvements=improvements, tried=tried,
         display=lambda text: said.append(text.data))  # fmt: skip
    assert len(said) == held and all(in_order(text, "ranked", "parameters", "tested") for text in said)
    asked = [(name, given) for name, given, _ in improvements.calls if name in ("ranked", "parameters", "tested")]
    assert asked == [(name, (tried,)) for name in ("ranked", "parameters", "tested")[: 3 * held]]


def test_sweeps_are_those_of_the_folders_and_say_what_ran():
    ablation, text = Asked(load=("sets", "absent")), Asked()
    here = cell("06_ablation", "abl-load", ablation=ablation, ablation_text=text, results=["a", "b"])
    assert ablation.of("load") == [(["a", "b"],)] and text.of("what_ran") == [("sets", "absent")]
    assert (here["sets"], here["said"]) == ("sets", "what_ran")


@pytest.mark.parametrize(("which", "name"), [("abl-verdict", "rivals"), ("abl-grid-reading", "focusing"),
                                             ("abl-told-reading", "told"), ("abl-sum", "in_short")])  # fmt: skip
def test_sentences_under_a_figure_are_about_it_and_all_sweeps(which, name):
    text = Asked()
    assert cell("06_ablation", which, ablation_text=text, sets="sets")["said"] == name
    assert text.calls == [(name, ("sets",), {})]


def test_tables_of_chapter_6_are_of_all_sweeps():
    ablation, text, shown = Asked(headline="table", others="others"), Asked(), []
    given = {"ablation": ablation, "ablation_text": text, "sets": "sets", "display": lambda *each: shown.extend(each)}
    assert cell("06_ablation", "abl-table", **given)["final"] == "table"
    assert cell("06_ablation", "abl-ausuc", **given)["final"] == "ausuc"
    cell("06_ablation", "abl-tuning", **given)
    assert cell("06_ablation", "abl-others", **given)["said"] == "readings"
    assert shown[1:] == ["learning_rates", "others"] and text.of("readings") == [("sets",)]
    asked = ["headline", "ausuc", "learning_rates", "others"]
    assert ablation.calls == [(name, ("sets",), {}) for name in asked]
    none = Asked(others=None, learning_rates=None)
    cell("06_ablation", "abl-tuning", **given | {"ablation": none})
    assert len(shown) == 4 and cell("06_ablation", "abl-others", **given | {"ablation": none})["said"] != "readings"


def title(ax):
    return ax.get_title() + ax.get_title("left")  # the book puts them left


def test_rivals_are_set_against_every_reference_a_line_per_sweep():
    sets, references = {"one": "first", "two": "second"}, {"focused": "ours", "illness": "illness alone"}
    ablation = Asked(REFERENCES=references, differences=lambda sweep, reference: (sweep, reference))
    evidence = Asked()
    axes = cell("06_ablation", "abl-forest", ablation=ablation, evidence=evidence, sets=sets)["axes"]
    asked = [(sweep, reference, ax) for sweep, line in zip(sets.values(), axes, strict=True)
             for reference, ax in zip(references, line, strict=True)]  # fmt: skip
    assert evidence.of("forest") == asked
    for name, line in zip(sets, axes, strict=True):
        for called, ax in zip(references.values(), line, strict=True):
            assert in_order(title(ax), name, f"minus {called}") and ax.get_xlabel() == "difference of H"
    left = cell("06_ablation", "abl-forest", ablation=ablation, evidence=evidence, sets={})["axes"]
    assert evidence.of("nothing") == [(ax,) for ax in left.flat]


def test_each_grid_has_a_panel_of_its_own():
    grids = {name: pd.DataFrame({"split": [split]}) for name, split in (("one", "random"), ("two", "default"))}
    ablation, evidence = Asked(grids=grids), Asked()
    here = cell("06_ablation", "abl-grid", ablation=ablation, evidence=evidence, sets="sets")
    drawn = evidence.of("loss_grid")
    assert ablation.of("grids") == [("sets",)] and [points for points, _ in drawn] == list(grids.values())
    assert [ax for _, ax in drawn] == list(here["axes"].flat) and len(evidence.calls) == 2
    for (name, points), ax in zip(grids.items(), here["axes"].flat, strict=True):
        assert in_order(title(ax), name, points.split[0])
    cell("06_ablation", "abl-grid", ablation=Asked(grids={}), evidence=evidence, sets="sets")
    assert len(evidence.of("nothing")) == 1


def test_what_was_told_is_left_and_the_direction_right_a_line_per_sweep():
    sets = {"one": {"split": "random"}, "two": {"split": "default"}}
    ablation, evidence = Asked(rows=lambda sweep: ("rows", sweep)), Asked()
    axes = cell("06_ablation", "abl-told", ablation=ablation, evidence=evidence, sets=sets)["axes"]
    asked = [(("rows", sweep), methods, ax) for sweep, line in zip(sets.values(), axes, strict=True)
             for methods, ax in zip(("TOLD", "WAYS"), line, strict=True)]  # fmt: skip
    assert evidence.of("seen_unseen") == asked
    for (name, sweep), line in zip(sets.items(), axes, strict=True):
        assert in_order(title(line[0]), name, "texts", sweep["split"]) and in_order(title(line[1]), name, "direction")


def test_the_legend_of_the_stacking_curves_names_every_curve_once():
    drawn = {"first": ["a", "b"], "second": ["b", "c"]}
    ablation, asked = Asked(stacking=lambda sweep: ("curves of", sweep)), []

    def tradeoff(curves, names, ax):
        asked.append((curves, names, ax))
        for name in drawn[curves[1]]:
            ax.plot([0, 1], label=name)

    sets = {"one": "first", "two": "second"}
    evidence = SimpleNamespace(tradeoff=tradeoff)
    here = cell("06_ablation", "abl-stacking", ablation=ablation, evidence=evidence, sets=sets)
    assert asked == [(("curves of", sweep), "CURVES", ax) for sweep, ax in zip(sets.values(), here["axes"].flat)]
    (legend,) = here["fig"].legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "c"]
    tones = {line.get_label(): line.get_color() for ax in here["axes"].flat for line in ax.get_lines()}
    assert [line.get_color() for line in legend.get_lines()] == [tones[name] for name in "abc"]


def test_what_chapter_6_writes_names_its_sweeps(tmp_path):
    told, table = Asked(resolve=run.resolve), pd.DataFrame({"U": [0.5]}, index=["focused"])
    sets = {"one": {"about": {"commit": "c1"}}, "two": {"about": {"commit": "c2"}}}
    cell("06_ablation", "abl-write", run=told, run_dir=str(tmp_path), headline=table, sets=sets, profile="tiny",
         parameters={"a": 1}, started=5.0)  # fmt: skip
    assert pd.read_csv(tmp_path / "ablation/headline.csv", index_col=0).equals(table)
    about = {"notebook": "06_ablation", "profile": "tiny", "parameters": {"a": 1}, "started": 5.0}
    about |= {"sweeps": {"one": "c1", "two": "c2"}, "at": tmp_path / "ablation"}
    assert [dict(one[1:]) | {"at": one[0]} for one in told.of("manifest")] == [about]


# Chapter 7


@pytest.fixture(scope="module")
def turned():
    """The tables of the committed rotation, as files, with nothing of the package between."""
    folder = run.ROOT / TURNED
    tables = {path.stem: pd.read_csv(path) for path in folder.glob("*.csv")}
    return tables | {"manifest": json.loads((folder / "manifest.json").read_text())}


@pytest.mark.parametrize("missing", [[], [104, 105]])
def test_films_and_designs_are_those_of_the_manifest(missing):
    about = {"films": 2591, "abnormal": 1667, "profile": "tiny", "designs": [101, 102], "missing_designs": missing}
    said = cell("07_anatomy", "anatomy-films", about=about)["said"]
    assert bold(said) == ["2,591", "1,667"] and in_order(said, "`tiny`", "101, 102", ", ".join(map(str, missing)))
    assert ("not run yet" in said) == bool(missing)
    at = about | {"films": 900}
    tables, beyond = Asked(planned=["first", "second"]), Asked(seeds="Seeds.")
    said = cell("07_anatomy", "anatomy-drawn-words", drawings={"manifest": at}, report=tables, beyond=beyond)["said"]
    assert in_order(said, "Seeds. 900 ") and bullets(said) == ["first", "second"] and beyond.of("seeds") == [(at,)]
    assert tables.of("planned") == [({"manifest": at}, ("tested", False))]  # the plan tests nothing on phantoms


def test_the_answer_and_the_plan_are_those_of_the_rotation(turned):
    report = Asked(answer=["one", "two"])
    assert bullets(cell("07_anatomy", "anatomy-table", report=report, tables=turned)["said"]) == ["one", "two"]
    glued = {}
    here = cell("07_anatomy", "anatomy-planned", tables=turned, glue=lambda name, text, **_: glued.update({name: text}))
    paired = turned["paired"][turned["paired"].planned == "primary"]
    assert len(paired) == 2 and glued == {f"primary_{row.stratum}": difference(row.difference, row.low, row.high, 3)
                                          for row in paired.itertuples()}  # fmt: skip
    lines = bullets(here["said"])
    assert len(lines) == turned["paired"].planned.notna().sum() and all(any(g in line for line in lines)
                                                                        for g in glued.values())  # fmt: skip


def test_tables_of_chapter_7_are_those_of_the_rotation(turned):
    names = {"none": "all pairs", "view": "within view", "source": "within source",
             "source_view": "within source × view"}  # fmt: skip
    table = pd.DataFrame(np.arange(8).reshape(2, 4), columns=names.keys())
    report = Asked(protocols=table, all_methods=table)
    here = cell("07_anatomy", "anatomy-protocols", report=report, tables=turned)
    every = cell("07_anatomy", "anatomy-all", report=report, tables=turned, compared_in=here["compared_in"])["final"]
    assert list(here["final"]) == list(every) == list(names.values())
    assert report.calls == [(name, (turned,), {}) for name in ("protocols", "all_methods")]
    shown = cell("07_anatomy", "anatomy-headline", tables=turned)["final"]
    assert list(shown) == ["U", "U, gain over illness", "U within source × view", "share of the ceiling"]
    rows = turned["methods"][(turned["methods"].method == "focused") & (turned["methods"].protocol == "abnormal")]
    (own,) = [row for row in rows.itertuples() if (row.metric, row.stratum) == ("U", "none")]
    assert interval(own.value, own.low, own.high, 3) in set(shown["U"])


def test_figures_of_chapter_7_show_their_own_tables(turned):
    for which, name, tables in (("anatomy-figure", "both", ("findings", "methods")),
                                ("anatomy-permutation", "permutation", ("permutation",)),
                                ("anatomy-coverage", "gain_by_coverage", ("coverage",))):  # fmt: skip
        drawing = Asked()
        cell("07_anatomy", which, anatomy=drawing, tables=turned)
        ((called, given, _),) = drawing.calls
        assert called == name and len(given) == len(tables) + (name != "both")
        assert all(one is turned[table] for one, table in zip(given, tables))


def test_permuted_signs_are_told_beside_the_own_ones(turned):
    lines = bullets(cell("07_anatomy", "anatomy-permutation-words", tables=turned)["said"])
    rows = turned["permutation"].to_dict("records")
    rows += pd.read_csv(run.ROOT / "data/results/retrained-nih-mini/permutation.csv").to_dict("records")
    assert len(lines) == len(rows) == 11
    for line, row in zip(lines, rows, strict=True):
        shown = [f"{row[name]:.3f}" for name in ("real", "mean", "sd", "largest", "p")]
        assert in_order(line, str(row["design"]), *shown, str(row["permutations"]))
        own = row["method"] == "focused"
        assert ("trained anew" in line) == own and ("all findings" in line) == (row["kind"] == "free" and not own)


def test_coverage_s_words_are_counted_per_finding(turned):
    said = cell("07_anatomy", "anatomy-coverage-words", tables=turned)["said"]
    each = {name: part for name, part in turned["coverage"].groupby("finding")}
    covered, gains = ([part[column].mean() for part in each.values()] for column in ("coverage", "gain"))
    rho = spearmanr(covered, gains).statistic
    whole = [gain for c, gain in zip(covered, gains, strict=True) if c == max(covered)]
    assert in_order(said, f"{len(each)} findings", f"{rho:+.2f} (")
    assert in_order(said, f"{max(covered):.2f}", f"{len(whole)} of", f"{np.mean(whole):+.3f}", f"{np.mean(gains):+.3f}")
    more = [part.gain[part.neighbour_seen].mean() - part.gain[~part.neighbour_seen].mean() for part in each.values()]
    assert in_order(said, f"gains {np.mean(more):+.3f} more", f"{sum(m > 0 for m in more)} of {len(more)} findings")


def test_other_truths_children_and_splits_are_read_from_their_own_folders():
    loaded = {"truth-nih-mini": ("about", "emphysema", "radiologists", "never"), "transfer-kermany": ("about", "moved"),
              "default-nih-mini": ("about", "split")}  # fmt: skip
    beyond = Asked(load=lambda folder, *names: loaded[folder.rpartition("/")[2]])
    assert cell("07_anatomy", "anatomy-truths", beyond=beyond)["said"].endswith("truths")
    assert cell("07_anatomy", "anatomy-transfer", beyond=beyond)["final"] == "transfer"
    assert cell("07_anatomy", "anatomy-default-table", beyond=beyond)["final"] == "default_split"
    asked = [("data/results/truth-nih-mini", "emphysema", "radiologists", "never"),
             ("data/results/transfer-kermany", "transfer"), ("data/results/default-nih-mini", "values")]  # fmt: skip
    assert beyond.of("load") == asked and beyond.of("truths") == [("emphysema", "radiologists", "never")]
    assert beyond.of("transfer") == [("moved",)] and beyond.of("default_split") == [("split",)]
    report = Asked(load="drawings")
    here = cell("07_anatomy", "anatomy-drawn", beyond=beyond, report=report, drawn="a folder")
    assert report.of("load") == [("a folder",)] and beyond.of("own_networks") == [("drawings",)]
    assert here["drawings"] == "drawings"
    report, beyond = Asked(load="trained"), Asked()
    here = cell("07_anatomy", "anatomy-learnt", beyond=beyond, report=report, learnt="a folder")
    assert report.of("load") == [("a folder",)] and here["learning"] == "trained"
    assert beyond.of("own_networks") == [("trained", "source_view")]


def test_what_networks_that_were_trained_say_is_their_own_and_stands_beside_the_frozen():
    at = {"tested": 1559, "abnormal": 351, "films": 2591, "designs": [1], "missing_designs": [2]}
    report, beyond = Asked(planned=["first", "second"]), Asked(seeds="Seeds.", beside_frozen="* both")
    given = {"learning": {"manifest": at}, "tables": "frozen", "report": report, "beyond": beyond}
    said = cell("07_anatomy", "anatomy-learnt-words", **given)["said"]
    assert in_order(said, "Seeds. 1,559 test films, 351 of them") and bullets(said) == ["first", "second", "both"]
    assert beyond.of("seeds") == [(at,)] and beyond.of("beside_frozen") == [({"manifest": at}, "frozen")]
    assert report.of("planned") == [({"manifest": at}, ("tested", False))]  # the plan tests nothing here


def test_what_chapter_7_writes_names_its_rotation(tmp_path):
    told, table = Asked(resolve=run.resolve), pd.DataFrame({"U": [0.5]}, index=["focused"])
    report = Asked(headline=table)
    cell("07_anatomy", "anatomy-write", run=told, run_dir=str(tmp_path), report=report, tables="tables", profile="tiny",
         parameters={"a": 1}, started=5.0, about={"commit": "c1"})  # fmt: skip
    assert pd.read_csv(tmp_path / "anatomy/headline.csv", index_col=0).equals(table)
    assert report.of("headline") == [("tables",)]
    about = {"notebook": "07_anatomy", "profile": "tiny", "parameters": {"a": 1}, "started": 5.0, "rotation": "c1"}
    assert [dict(one[1:]) | {"at": one[0]} for one in told.of("manifest")] == [about | {"at": tmp_path / "anatomy"}]


# Chapter 9


def test_own_words_are_the_last_of_the_findings_with_them():
    here = cell("09_own_finding", "own-words")
    assert (here["mine"].key, here["mine"].name) == ("Lung_Abscess", "Lung abscess")
    assert here["mine"] == load_findings(here["file"])[-1] and here["file"].read_text() == here["block"]


@pytest.mark.parametrize("semantics", ["signs_text", "signs", "description", "name", "shuffled"])
def test_own_words_are_scored_by_the_training_that_is_read(semantics):
    scores = np.arange(12.0).reshape(2, 6)
    folders, read = [], []
    held = SimpleNamespace(folder="the films", card={"name": "tiny"})
    head = SimpleNamespace(findings=FINDINGS, card={"semantics": semantics})
    own = SimpleNamespace(untaught=("air_fluid_level", "lucency"))
    stub = Asked(head_of=head, words_of=own, word_scores=scores)
    where = Asked(training_of=("the training", "This one."))

    def testset(folder):
        folders.append(folder)
        return SimpleNamespace(radiographs=held, rows=[3, 5])

    here = cell("09_own_finding", "own-scores", run_dir="runs/mine", training="asked", mine=MINE, own_finding=stub,
                places=where, TestSet=testset,
                embedded=lambda *given: read.append(given) or {"visual": "visual"})  # fmt: skip
    assert folders == [run.resolve("runs/mine/radiographs"), "the films"]
    assert where.of("training_of") == [("runs/mine", "asked")] and read == [("the training", [3, 5])]
    assert stub.of("head_of") == [("the training", held)] and stub.of("words_of") == [(head, MINE)]
    assert stub.of("word_scores") == [(head, "visual", own)]
    assert here["own_score"].tolist() == [4, 10] and here["illness"].tolist() == [5, 11]
    assert here["findings"] is FINDINGS and here["name"] == "tiny"
    whole = [key for key in FINDINGS.seen if set(MINE.signs) <= set(findings_of([key])[0].signs)]
    assert here["whole"] == whole == ["Mass", "Nodule"]
    assert bold(here["said"]) == ["2", "air fluid level and lucency", "Mass and Nodule"]
    told = {"signs_text": "signs, in words", "signs": "signs, as a list", "description": "its description",
            "name": "its name", "shuffled": "no words"}  # fmt: skip
    assert [key for key, words in told.items() if words in here["said"]] == [semantics]


def test_the_leaning_of_own_words_is_drawn():
    stub, drawing = Asked(leaning="lean"), Asked()
    here = cell("09_own_finding", "own-lean", own_finding=stub, drawing=drawing, head="head", own="own", mine=MINE)
    assert here["lean"] == "lean" and stub.of("leaning") == [("head", "own")]
    assert drawing.of("leaning") == [("lean", here["ax"])]


def test_whom_own_words_find_has_the_run_s_draws():
    stub, drawing = Asked(found_by="table"), Asked()
    testset = SimpleNamespace(labels="labels", patients="patients")
    here = cell("09_own_finding", "own-whom", own_finding=stub, drawing=drawing, own_score="own", illness="ill",
                testset=testset, findings="findings", replicates=3, seed=8, name="phantom", mine=MINE)  # fmt: skip
    asked = ("own", "labels", "patients", "findings", ("replicates", 3), ("seed", 8))
    assert stub.of("found_by") == [asked] and drawing.of("whom") == [("table", "findings", here["ax"])]


LEAN = pd.DataFrame({"finding": ["Nodule", "Mass", "Edema"], "joint": [0.91, 0.82, 0.13], "words": [0.71, 0.62, 0.33]})
WHOM = pd.DataFrame({"finding": ["Mass", "Nodule"], "value": [0.88, 0.77], "low": [0.84, 0.71], "high": [0.93, 0.79]})


@pytest.mark.parametrize("first", ["Mass", "Nodule"])
def test_the_films_that_own_words_put_first_are_counted(first):
    rng = np.random.default_rng(0)
    score, labels = rng.permutation(50).astype(float), np.zeros((50, 4), int)
    best = sorted(range(50), key=lambda row: -score[row])
    labels[best[:13], 3] = 1  # of the first twenty, thirteen
    labels[best[13:16], 1] = 1
    labels[best[20:], 0] = 1  # all others, and none of the first
    whom = WHOM.assign(finding=[first, "Edema"])
    said = cell("09_own_finding", "own-whom-reading", lean=LEAN, whom=whom, own_score=score, figures=FIGURES,
                testset=SimpleNamespace(labels=labels), findings=FINDINGS)["said"]  # fmt: skip
    assert in_order(said, "nodule", "0.91", "mass and edema", first.lower(), "0.88 (0.84–0.93)")
    assert in_order(said, "20 films", "13 show hernia")
    assert ("first of all" in said) == (first == "Nodule") and ("nearest, nodule" in said) == (first == "Mass")


FIGURES = SimpleNamespace(words=lambda key: key.replace("_", " "), WIDTH=7.0)


def a_drawing():
    """Scores of eight patients' films: of one finding, own words, illness and the ceiling."""
    rng = np.random.default_rng(1)
    without, within = (rng.integers(0, 9, (8, 4)).astype(float) for _ in range(2))
    pairs = SimpleNamespace(without=np.arange(8), within=10 + np.arange(8), place=20 + np.arange(8))
    return SimpleNamespace(names=("Mass", MINE.name, "illness", "ceiling"), without=without, within=within, pairs=pairs)


def test_percentiles_of_drawn_films_are_among_normal_films_by_the_own_words():
    made, rng = a_drawing(), np.random.default_rng(2)
    normal = rng.integers(0, 9, (30, 3)).astype(float)  # a finding, own words, illness
    stub, drawing = Asked(draw_and_score=made, word_scores=normal), Asked()
    head = SimpleNamespace(reference={"normal_visual": "normal films"})
    here = cell("09_own_finding", "own-pairs", own_finding=stub, drawing=drawing, head=head, own="own", mine=MINE,
                name="phantom", pairs=9, seed=3)  # fmt: skip
    assert stub.of("draw_and_score") == [(head, "own", 9, ("seed", 1003))] and here["drawn"] is made
    assert stub.of("word_scores") == [(head, "normal films", "own")]
    ((without, within, place, among, name),) = drawing.of("pairs")
    assert (without.tolist(), within.tolist(), place.tolist()) == tuple(list(range(s, s + 6)) for s in (0, 10, 20))
    assert name == "phantom" and among.shape == (6, 2) and not drawing.of("needs_the_phantom")
    for patient in range(6):
        for side, scores in enumerate((made.without, made.within)):
            mine = scores[patient, 1]
            below = np.mean([(other < mine) + 0.5 * (other == mine) for other in normal[:, 1]])
            assert among[patient, side] == pytest.approx(100 * below)


@pytest.mark.parametrize("which", ["own-pairs", "own-finders"])
def test_nothing_is_drawn_into_films_of_patients(which):
    stub, drawing = Asked(), Asked()
    here = cell("09_own_finding", which, own_finding=stub, drawing=drawing, name="nih", drawn=None)
    assert here["drawn"] is None and stub.calls == []
    assert [called for called, *_ in drawing.calls] == ["needs_the_phantom"]


def scorers():
    """A table of every protocol and scorer, with another number in each place; the own words are weaker than some."""
    names, rows = ("Mass", "Nodule", "Edema", "Hernia", MINE.name, "illness alone", "shown the labels"), []
    gains = {"Mass": -0.2, "Nodule": 0.1, "Edema": -0.15, "Hernia": 0.05}
    for p, protocol in enumerate(("all", "single", "abnormal", "same film")):
        for s, scorer in enumerate(names):
            value, gain = 0.31 + 0.07 * s + 0.01 * p, gains.get(scorer, 0.02) + 0.01 * p
            rows.append({"protocol": protocol, "scorer": scorer, "value": value, "low": value - 0.03,
                         "high": value + 0.04, "gain": gain, "gain_low": gain - 0.02, "gain_high": gain + 0.03,
                         "positives": 5, "negatives": 6})  # fmt: skip
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def test_who_finds_the_drawn_films_is_shown_among_ill_films():
    table = scorers()
    stub, drawing = Asked(measured=table), Asked()
    here = cell("09_own_finding", "own-finders", own_finding=stub, drawing=drawing, drawn="drawn", replicates=3, seed=8,
                findings=FINDINGS, mine=MINE, name="phantom")  # fmt: skip
    assert stub.of("measured") == [("drawn", ("replicates", 3), ("seed", 8))] and here["table"] is table
    ((shown, findings, own, ax),) = drawing.of("finders")
    assert set(shown.protocol) == {"abnormal"} and len(shown) == 7
    assert findings is FINDINGS and own == MINE.name and ax is here["ax"]


def test_every_protocol_has_a_column_with_the_own_words_and_their_rivals():
    table, shown = scorers(), []
    cell("09_own_finding", "own-protocols", drawn=True, table=table, near="Nodule", mine=MINE, figures=FIGURES,
         display=shown.append)  # fmt: skip
    (shown,) = shown
    rivals = dict(zip(shown.index, (MINE.name, "Nodule", "illness alone", "shown the labels"), strict=True))
    assert "own" in shown.index[0] and "nodule" in shown.index[1] and shown.shape == (4, 4)
    for label, scorer in rivals.items():
        for row in table[table.scorer == scorer].itertuples():
            assert shown.loc[label, row.protocol] == interval(row.value, row.low, row.high)


def test_what_drawn_films_say_is_about_ill_films_and_pairs():
    table = scorers()
    here = cell("09_own_finding", "own-drawn-reading", drawn=True, table=table, near="Nodule", mine=MINE,
                findings=FINDINGS, figures=FIGURES)  # fmt: skip
    ill, same = (table[table.protocol == p].set_index("scorer") for p in ("abnormal", "same film"))

    def gain(scorer):
        return difference(*ill.loc[scorer, ["gain", "gain_low", "gain_high"]])

    illness, near, best, ceiling, pairs = bullets(here["said"])
    assert bold(here["said"]) == [interval(*ill.loc[MINE.name, ["value", "low", "high"]])]
    assert gain("illness alone") in illness and in_order(near, "nodule", gain("Nodule"))
    assert in_order(best, "hernia", gain("Hernia"), "2 of 4")  # its value is the largest of the findings'
    assert here["better"] == ["Mass", "Edema"] and here["best"] == "Hernia"
    assert f"{ill.value['shown the labels']:.2f}" in ceiling
    assert in_order(pairs, f"{same.value[MINE.name]:.0%}", f"{same.value['illness alone']:.0%}")
    none = cell("09_own_finding", "own-drawn-reading", drawn=True, table=table.assign(gain_high=0.01), near="Nodule",
                mine=MINE, findings=FINDINGS, figures=FIGURES)  # fmt: skip
    assert none["better"] == [] and " no other" in bullets(none["said"])[2]
    assert "phantom" in cell("09_own_finding", "own-drawn-reading", drawn=None, name="nih")["said"]


def fracture(value=0.61, low=0.43):
    rows = [{"finding": finding, "protocol": protocol, "films": 400 + 1000 * p, "positives": 21.0 + p,
             "value": value + 0.02 * s + 0.1 * p, "low": low + 0.02 * s, "high": 0.81 + 0.02 * s}
            for p, protocol in enumerate(("abnormal", "all"))
            for s, finding in enumerate(("CM-DML, told its signs", "closed form, told its signs", "illness alone",
                                         "view *", "age *", "sex *"))]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_real_finding_is_the_fracture_of_the_table_that_is_asked_for():
    table = fracture()
    stub, drawing, beyond = Asked(never=table), Asked(), Asked(load=({}, "every"))
    here = cell("09_own_finding", "own-real", own_finding=stub, drawing=drawing, beyond=beyond, truth="a folder")
    assert beyond.of("load") == [("a folder", "never")] and stub.of("never") == [("every", "Fracture")]
    assert drawing.of("never") == [(table, here["ax"])] and here["fracture"] is table
    title = here["ax"].get_title() + here["ax"].get_title("left")
    assert re.findall(r"\d+", title) == ["22"]  # of all films


@pytest.mark.parametrize("low", [0.43, 0.52])
def test_the_real_finding_s_numbers_are_each_scorer_s_own(low):
    table = fracture(low=low)
    said = cell("09_own_finding", "own-real-reading", fracture=table)["said"]
    rows = table[table.protocol == "abnormal"].set_index("finding")[["value", "low", "high"]]
    told, illness, age, view = (interval(*rows.loc[name]) for name in ("CM-DML, told its signs", "illness alone",
                                                                      "age *", "view *"))  # fmt: skip
    assert in_order(said, "400 ill", "21 of them", told, "lness", illness, "age", age, "view", view)
    assert ("includes 0.5" in said) == ("nobody can say" in said) == (low < 0.5)


@pytest.mark.parametrize("drawn", [True, None])
def test_what_chapter_9_writes_is_what_it_found(drawn):
    table, rng = scorers(), np.random.default_rng(0)
    by = table[table.protocol == "abnormal"].set_index("scorer")
    other = pd.DataFrame({"finding": ["Nodule", "Edema", "Mass"], "value": rng.random(3), "low": 0.0})
    stub, where = Asked(found_by=other, ILLNESS="illness alone"), Asked(results_of="a folder")
    results, told = Asked(), Asked()
    own = SimpleNamespace(signs=("opacity", "round"), untaught=("round",))
    testset = SimpleNamespace(labels="labels", patients="patients")
    here = cell("09_own_finding", "own-manifest", own_finding=stub, places=where, results=results, run=told, own=own,
                run_dir="runs/mine", where="the training", out="out", profile="tiny", parameters={"a": 1}, seed=8,
                radiographs="films", started=0.0, mine=MINE, illness="illness", testset=testset, findings=FINDINGS,
                lean=LEAN, whom=WHOM, drawn=drawn, table=table, by=by, best="Hernia", near="Nodule", first=WHOM.iloc[0],
                signs=fracture().iloc[0], figures=FIGURES, glue=lambda *_, **__: None)  # fmt: skip
    assert where.of("results_of") == [("runs/mine", "the training", "own_finding", "out")]
    assert stub.of("found_by") == [("illness", "labels", "patients", FINDINGS, ("replicates", 0))]
    ((folder, written, manifest),) = results.of("publish")
    assert folder == "a folder" and written["leaning"] is LEAN and ("drawn" in written) == bool(drawn)
    assert not drawn or written["drawn"] is table
    alone = written["whom"].set_index("finding").illness_alone
    assert written["whom"].finding.tolist() == ["Mass", "Nodule"] and written["whom"].value.tolist() == [0.88, 0.77]
    assert alone.to_dict() == other.set_index("finding").value[["Mass", "Nodule"]].to_dict()
    manifest(folder, file="m", files={})
    ((_, _, about),) = told.calls
    assert (about["notebook"], about["profile"], about["seed"]) == ("09_own_finding", "tiny", 8)
    assert (about["radiographs"], about["parameters"], about["started"]) == ("films", {"a": 1}, 0.0)
    assert about["trained_in"] == "shown" and where.of("shown") == [("the training",)]
    assert about["own"] == {"name": MINE.name, "signs": ["opacity", "round"], "untaught": ["round"]}
    lean, found, real = bullets(here["said"])
    assert in_order(lean, "nodule", "mass", "0.88") and interval(0.61, 0.43, 0.81) in real
    three = [f"{by.value[name]:.2f}" for name in (MINE.name, "Hernia", "illness alone")]
    assert re.findall(r"\d\.\d+", found) == (three if drawn else [])
