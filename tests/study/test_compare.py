"""A file of scores gets the full evaluation: against naive counting, and bad files end in one sentence."""

import subprocess
import sys
from io import StringIO
from itertools import product

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from cmdml.evaluation.metrics import bootstrap_weights
from cmdml.evaluation.strata import stratified_auroc
from cmdml.findings import KEYS
from cmdml.study import compare, run
from cmdml.study.compare import Question


@pytest.fixture(scope="module")
def asked(rotation):
    """The first quadruple of the made rotation, all folds."""
    return Question(rotation, 0, (0, 1, 2))


@pytest.fixture(scope="module")
def table(asked):
    scores = np.random.default_rng(3).normal(size=(len(asked.rows), len(KEYS)))
    return compare.compare(scores, asked, replicates=30), scores


def naive_auroc(positive, score, group):
    """Pairs of one group, counted one by one; None without a pair."""
    right = pairs = 0
    for i, j in product(np.flatnonzero(positive), np.flatnonzero(~positive)):
        if group[i] == group[j]:
            pairs += 1
            right += 1.0 * (score[i] > score[j]) + 0.5 * (score[i] == score[j])
    return right / pairs if pairs else None


def of(table, metric, scorer, protocol="abnormal", stratum="none"):
    here = (table.metric == metric) & (table.scorer == scorer) & (table.protocol == protocol)
    return table[here & (table.stratum == stratum)].iloc[0]


@pytest.mark.parametrize(("protocol", "stratum"), [("abnormal", "none"), ("single", "none"), ("all", "none"),
                                                   ("abnormal", "source_view"), ("abnormal", "view")])  # fmt: skip
def test_s_u_and_h_are_those_of_counting_pairs(asked, table, protocol, stratum):
    found, scores = table
    films, fold = asked.films, asked.rotation.fold
    count = films.labels.sum(1)
    keep = {"abnormal": count > 0, "single": count == 1, "all": count >= 0}[protocol]
    groups = [tuple(row) for row in films.table[{"none": [], "view": ["view"],
              "source_view": ["source_repo", "view"]}[stratum]].astype(str).to_numpy()]  # fmt: skip
    group = np.array([f"{f} {g}" for f, g in zip(fold, groups)])[keep]
    each = {key: naive_auroc(films.labels[keep, c] == 1, scores[keep, c], group) for c, key in enumerate(KEYS)}
    unseen = asked.findings.unseen
    u = np.mean([value for key, value in each.items() if key in unseen and value is not None])
    s = np.mean([value for key, value in each.items() if key not in unseen and value is not None])
    for metric, value in (("U", u), ("S", s), ("H", 2 * s * u / (s + u))):
        row = of(found, metric, compare.OWN, protocol, stratum)
        assert row.value == pytest.approx(value, abs=1e-6) and row.low < row.value < row.high
    assert row.left_out == " ".join(key for key, value in each.items() if value is None)


def test_the_study_s_scorers_stand_beside_and_gains_are_differences(table):
    found, _ = table
    assert set(found.scorer) == {compare.OWN, "illness alone", "ESZSL, told signs", "ceiling, shown the labels"}
    ceiling, illness = (of(found, "U", name).value for name in ("ceiling, shown the labels", "illness alone"))
    assert ceiling > illness + 0.05  # on features that show the signs
    for name in ("illness alone", "ceiling, shown the labels"):
        gain = of(found, f"U minus {name}", compare.OWN)
        assert gain.value == pytest.approx(of(found, "U", compare.OWN).value - of(found, "U", name).value)
        assert gain.low < gain.value < gain.high and 0 < gain.p <= 1


def test_the_references_are_those_of_the_rotation(asked, rotation):
    for method in ("mean_of_seen", "eszsl", "ceiling"):
        kept = rotation.scores(method)[0][0]
        assert np.allclose(asked.reference(method), kept[asked.rows], atol=1e-5), method


def test_intervals_are_of_draws_of_patients_with_a_film(asked, table):
    """S, U and each gain from the same draws, by hand."""
    found, scores = table
    films = asked.films
    keep = films.labels.any(1)
    weights, unit = bootstrap_weights(films.table["patient"].to_numpy()[keep], 30, 0)
    each = {}
    for name, values in (("own", scores), ("ill", asked.reference("mean_of_seen"))):
        each[name] = np.mean([stratified_auroc(films.labels[keep, c], values[keep, c][:, None],
                                               asked.rotation.fold[keep], weights, unit)[0][:, 0]
                              for c in asked.findings.unseen_index], axis=0)  # fmt: skip
    for metric, draws in (("U", each["own"]), ("U minus illness alone", each["own"] - each["ill"])):
        row = of(found, metric, compare.OWN)
        np.testing.assert_allclose([row.low, row.high], np.quantile(draws[1:], [0.025, 0.975]), atol=1e-9)
    assert np.isnan(of(found, "U", compare.OWN).p)


def test_without_any_pair_there_is_no_value(asked):
    """As where one film alone shows a finding, and a single seen finding has a pair."""
    each = np.full((len(KEYS), 4, 6), np.nan)
    seen = asked.findings.seen_index[0]
    each[seen] = 0.5
    rows = compare._rows(each, [compare.OWN, "a", "b", "c"], asked.findings, {})
    values = {(row["metric"], row["scorer"]): row["value"] for row in rows}
    assert values["S", "a"] == 0.5 and np.isnan(values["U", "a"]) and np.isnan(values["H", "a"])
    assert set(rows[0]["left_out"].split()) == set(KEYS) - {KEYS[seen]} and len(rows) == 12 + 3


def test_one_fold_needs_the_films_of_that_fold_alone(rotation):
    asked = Question(rotation, 2, (1,))
    assert np.array_equal(asked.rows, np.flatnonzero(rotation.fold == 1))
    assert asked.reference("mean_of_seen").shape == (len(asked.rows), len(KEYS))


def test_films_say_who_trains_and_hide_what_may_not_be_read(asked):
    part, cell = asked.part(1), asked.cell(1)
    for name in ("train", "val", "test"):
        assert np.array_equal(np.flatnonzero(part.part == name), getattr(cell, name))
    unseen = list(asked.findings.unseen)
    assert not set(unseen) & set(part.columns)
    out = part[part.part == "left out"]
    assert len(out) and (asked.films.table.loc[out.index, unseen].sum(axis=1) > 0).all()
    seen = part[list(asked.findings.seen)]
    assert (
        seen[part.part.isin(["test", "left out"])].isna().all().all() and seen[part.part == "train"].notna().all().all()
    )


@pytest.fixture
def write(asked, tmp_path):
    """A good file of scores, changed."""

    def _write(change=lambda table: table):
        rng = np.random.default_rng(0)
        table = pd.DataFrame(rng.normal(size=(len(asked.rows), len(KEYS))), columns=list(KEYS)).astype(object)
        table.insert(0, "image", asked.films.table["image"].to_numpy()[asked.rows])
        path = tmp_path / "mine.csv"
        change(table).to_csv(path, index=False)
        return path

    return _write


def test_rows_and_columns_in_any_order_and_more_of_them(asked, write):
    straight = compare.read_scores(write(), asked)
    turned = compare.read_scores(write(lambda t: t.iloc[::-1, ::-1].assign(fold=1, Lung_Abscess=2.0)), asked)
    assert straight.shape == (len(asked.rows), 14) and np.array_equal(straight, turned)
    one = Question(asked.rotation, 0, (1,))
    assert np.array_equal(compare.read_scores(write(), one), straight[np.isin(asked.rows, one.rows)])


def _first(column, value):
    def change(table):
        table.loc[0, column] = value
        return table

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.rename(columns={"Edema": "Oedema"}), "has no 'Edema': did you mean 'Oedema'"),
        (lambda t: t.drop(columns="image"), "has no 'image'"),
        (lambda t: t.iloc[1:], r"1 of 300 films have no score, first 00000.png"),
        (lambda t: pd.concat([t, t.iloc[[7]]]), "image 00007.png is given twice"),
        (_first("image", "00000.jpg"), "1 images are none of the films, first 00000.jpg: did you mean '00000.png'"),
        (_first("Mass", np.nan), "the score of 00000.png, Mass, is nan, not a finite number"),
        (_first("Mass", np.inf), "the score of 00000.png, Mass, is inf, not a finite number"),
        (_first("Hernia", "high"), "the score of 00000.png, Hernia, is high, not a finite number"),
    ],
)
def test_a_bad_file_ends_in_one_sentence(asked, write, change, says):
    with pytest.raises(ValueError, match=says) as error:
        compare.read_scores(write(change), asked)
    assert "mine.csv" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("raw", "says"), [(b"", "cannot be read as csv"), (b"\xff\xfe\x00", "cannot be read as csv"),
                                           (b'image\n"', "cannot be read as csv")])  # fmt: skip
def test_what_is_no_csv(asked, tmp_path, raw, says):
    (tmp_path / "mine.csv").write_bytes(raw)
    with pytest.raises(ValueError, match=says):
        compare.read_scores(tmp_path / "mine.csv", asked)
    with pytest.raises(ValueError, match="nowhere.csv is no file"):
        compare.read_scores(tmp_path / "nowhere.csv", asked)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"design": 99}, "unknown design 99"),
        ({"design": 101, "quadruple": -1}, "--quadruple must lie between 0 and 13, got -1"),
        ({"design": 101, "fold": -1}, "--fold must lie between 0 and 4, got -1"),
        ({"quadruple": 1}, "belong to a --design"),
        ({"fold": 0}, "belong to a --design"),
        ({"design": 101, "quadruple": 14}, "--quadruple must lie between 0 and 13, got 14"),
        ({"design": 101, "fold": 5}, "--fold must lie between 0 and 4, got 5"),
        ({"unseen": "Edma"}, "did you mean 'Edema'"),
        ({"unseen": "none"}, "some finding must be unseen"),
        ({"fold": 1}, "belong to a --design"),
    ],
)
def test_a_question_that_is_none(given, says):
    with pytest.raises(ValueError, match=says):
        compare.question(**given)


def test_a_turn_of_the_rotation_is_all_folds_or_one():
    whole, one = compare.question(design=101, quadruple=13), compare.question(design=101, fold=4)
    assert (whole.rotation.design, whole.quadruple, whole.folds) == (101, 13, (0, 1, 2, 3, 4))
    assert (one.quadruple, one.folds) == (0, (4,)) and len(whole.rows) == len(whole.films)
    assert compare.question(design=101, fold=0).folds == (0,)
    unseen = ", ".join(whole.findings.unseen)
    assert str(whole) == f"design 101, quadruple 13, folds 0, 1, 2, 3, 4; unseen: {unseen}; {len(whole.films):,} films"


def test_the_short_answer_reads_the_right_rows():
    def row(metric, scorer, value, protocol="abnormal", stratum="none", left_out=""):
        return {"metric": metric, "scorer": scorer, "value": value, "low": value - 0.1, "high": value + 0.1,
                "protocol": protocol, "stratum": stratum, "left_out": left_out}  # fmt: skip

    views = [("abnormal", "none"), ("abnormal", "source_view"), ("single", "none"), ("all", "none")]
    rows = [row(m, scorer, base + i / 100, *view) for scorer, base in ((compare.OWN, 0.6), ("illness alone", 0.5))
            for m in "SUH" for i, view in enumerate(views)]  # fmt: skip
    rows += [row("U minus illness alone", compare.OWN, 0.1 + i / 100, *view) for i, view in enumerate(views)]
    rows += [row("U", compare.OWN, 0.99, "all", "view", "Mass Hernia"), row("U", compare.OWN, 0.99, "all", "source")]
    lines = [[cell.strip() for cell in line.strip("|").split("|")]
             for line in compare.shown(pd.DataFrame(rows)).splitlines()]  # fmt: skip
    assert lines[0] == ["95 % over patients", compare.OWN, "illness alone", "U minus illness alone"]
    assert lines[2:8] == [
        ["S", "0.600 (0.500–0.700)", "0.500 (0.400–0.600)", ""],
        ["H", "0.600 (0.500–0.700)", "0.500 (0.400–0.600)", ""],
        ["U, abnormal", "0.600 (0.500–0.700)", "0.500 (0.400–0.600)", "+0.100 (0.000 to +0.200)"],
        ["U, within source × view", "0.610 (0.510–0.710)", "0.510 (0.410–0.610)", "+0.110 (+0.010 to +0.210)"],
        ["U, single", "0.620 (0.520–0.720)", "0.520 (0.420–0.620)", "+0.120 (+0.020 to +0.220)"],
        ["U, all", "0.630 (0.530–0.730)", "0.530 (0.430–0.630)", "+0.130 (+0.030 to +0.230)"]]  # fmt: skip
    assert lines[-1] == ["Left out where no two films can be compared: Hernia, Mass"]
    assert "Left out" not in compare.shown(pd.DataFrame(rows).assign(left_out=""))


def test_the_commands_hand_their_options_on(asked, monkeypatch, capsys, write, tmp_path):
    given = []
    monkeypatch.setattr(compare, "question", lambda *options: given.append(options) or asked)
    compare.app(["films", "--unseen", "Mass", "--design", "101", "--quadruple", "3", "--fold", "2"],
                standalone_mode=False)  # fmt: skip
    table = pd.read_csv(StringIO(capsys.readouterr().out))
    assert list(table.columns[:4]) == ["image", "patient", "fold", "part"] and len(table) == 3 * len(asked.films)
    assert table.fold.unique().tolist() == [0, 1, 2]
    draws = []
    monkeypatch.setattr(compare, "compare", lambda scores, which, n: draws.append((scores.shape, which, n)) or
                        pd.DataFrame({"metric": [1 / 3]}))  # fmt: skip
    monkeypatch.setattr(compare, "shown", lambda table: "<short>")
    compare.app(["scores", str(write()), "--out", str(tmp_path / "out.csv")], standalone_mode=False)
    assert capsys.readouterr().out.startswith(f"{asked}\n\n<short>\n\nEvery protocol and stratum: ")
    assert (tmp_path / "out.csv").read_text() == "metric\n0.333333\n"
    compare.app(["scores", str(write()), "--replicates", "1"], standalone_mode=False)
    assert "Every protocol" not in capsys.readouterr().out
    assert draws == [((300, 14), asked, 1000), ((300, 14), asked, 1)]
    assert given == [("Mass", 101, 3, 2), ("default", None, 0, None), ("default", None, 0, None)]


def test_the_published_split_is_the_committed_films():
    asked = compare.question("Edema,Mass")
    films = asked.films
    assert asked.findings.unseen == ("Mass", "Edema")
    assert (films.table["split"].iloc[asked.rows] == "test").all() and len(asked.rows) == (
        films.table["split"] == "test"
    ).sum()
    assert (films.table["split"].iloc[asked.cell(0).train] == "train").all()
    assert not films.labels[asked.cell(0).train][:, asked.findings.unseen_index].any()


def test_the_command_from_a_file_to_a_table(tmp_path):
    films = compare.question().films
    test = films.table[films.table["split"] == "test"]
    own = pd.DataFrame(test[list(KEYS)].to_numpy(float), columns=list(KEYS))  # whoever looks at the labels is right
    own.insert(0, "image", test["image"].to_numpy())
    own.to_csv(tmp_path / "mine.csv", index=False)

    def command(*words):
        done = [sys.executable, "-m", "cmdml.study.compare", *words]
        return subprocess.run(done, cwd=run.ROOT, capture_output=True, text=True)

    done = command("scores", str(tmp_path / "mine.csv"), "--replicates", "5", "--out", str(tmp_path / "out.csv"))
    assert done.returncode == 0, done.stderr
    assert "published split; unseen: Pneumonia, Edema, Emphysema, Fibrosis" in done.stdout and "1.000" in done.stdout
    kept = pd.read_csv(tmp_path / "out.csv")
    assert of(kept, "U", compare.OWN).value == 1 and of(kept, "U", "illness alone").value < 0.9
    done = command("scores", str(tmp_path / "absent.csv"))
    assert done.returncode == 1 and done.stderr.startswith("Nothing was evaluated.") and "Traceback" not in done.stderr


def test_without_a_command_there_is_help_and_no_completion_to_install(capsys):
    with pytest.raises(SystemExit):
        compare.app([])
    said = capsys.readouterr()
    assert "films" in said.out + said.err and "--install-completion" not in said.out + said.err
    assert compare.app.pretty_exceptions_enable is False  # an error is one sentence, of this module's own


def test_every_option_says_what_it_takes():
    for command in ("films", "scores"):
        words = " ".join(CliRunner().invoke(compare.app, [command, "--help"], env={"COLUMNS": "200"}).output.split())
        for told in ("default, or keys with commas", "a design of the rotation, 101 to 105", "from 0", "all of them"):
            assert told in words, (command, told)


def test_labels_of_training_and_validation_films_are_those_of_the_table(asked):
    part, table = asked.part(1), asked.films.table
    seen = [key for key in KEYS if key not in asked.findings.unseen]
    told = part.part.isin(["train", "val"])
    assert list(part.columns) == ["image", "patient", "fold", "part", *seen] and part.part.eq("val").sum() > 20
    assert part.loc[told, seen].notna().all(axis=None) and part.loc[told, seen].sum().min() > 0
    assert (part.loc[told, seen] == table.loc[told, seen]).all(axis=None)
    assert (part.fold == 1).all() and part.image.equals(table.image) and part.patient.equals(table.patient)


def test_a_reference_of_another_quadruple_is_that_quadruple_s_own(rotation, monkeypatch):
    """Its choice, too: another quadruple has other pseudo-unseen findings, and perhaps an extractor of its own."""
    asked, scorer = [], compare.Scorer
    monkeypatch.setattr(compare, "Scorer", lambda of, method, quadruple: asked.append(quadruple) or
                        scorer(of, method, quadruple))  # fmt: skip
    found = Question(rotation, 2, (1,)).reference("eszsl")
    own, cell = scorer(rotation, "eszsl", 2), rotation.cell(2, 1)
    np.testing.assert_array_equal(found, own(cell, own.choose()[0], cell.test))
    assert asked == [2]
