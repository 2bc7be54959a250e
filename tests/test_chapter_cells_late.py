"""Cells of chapters 6, 7 and 9, run alone: what they ask for, what they hand on, and whose numbers they say."""

import ast
import json
import re
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from cmdml.findings import SeenUnseen, findings_of, load_findings
from cmdml.study import run
from cmdml.study.wording import difference, interval

TURNED = "data/results/rotation-nih-mini"
FINDINGS = SeenUnseen(("Mass", "Nodule", "Edema", "Hernia"), ("Hernia",))
MINE = SimpleNamespace(name="Lung abscess", signs=("opacity", "round"))


def cell(notebook, which, /, **given):
    """What a cell of a notebook leaves behind; ``value``: its last expression, ``said``: the text of that."""
    cells = json.loads((run.ROOT / f"notebooks/{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [ast.parse("".join(one["source"])).body for one in cells if one["cell_type"] == "code"]
    imports = [line for body in code for line in body if isinstance(line, ast.Import | ast.ImportFrom)]
    here = {}
    exec(compile(ast.Module(imports, []), notebook, "exec"), here)
    here |= given
    (body,) = [ast.parse("".join(one["source"])).body for one in cells if one["id"] == which]
    body = [line for line in body if not isinstance(line, ast.Import | ast.ImportFrom)]  # what is given stays
    if isinstance(body[-1], ast.Expr):
        body[-1] = ast.copy_location(ast.Assign([ast.Name("value", ast.Store())], body[-1].value), body[-1])
    exec(compile(ast.fix_missing_locations(ast.Module(body, [])), which, "exec"), here)
    here["said"] = getattr(here.get("value"), "data", None)
    plt.close("all")
    return here


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
