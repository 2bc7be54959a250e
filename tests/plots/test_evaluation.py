"""Figures of chapters 4 and 5: what is drawn is what was given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from cmdml.findings import SeenUnseen
from cmdml.plots import evaluation, figures

pytestmark = pytest.mark.usefixtures("in_the_book_s_style")
FINDINGS = SeenUnseen(("Mass", "Edema", "Hernia", "Fibrosis"), ("Edema", "Fibrosis"))


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_swapped_texts_are_panels_with_labels_in_rows():
    matrix = np.array([[0.9, 0.2], [0.4, 0.7]])
    fig = evaluation.swapped({"told signs": matrix, "told descriptions": matrix.T}, FINDINGS)
    assert all(ax.collections[0].get_clim() == (0, 1) for ax in fig.axes)  # one half is white in every panel
    assert [patch.get_width() * patch.get_height() for ax in fig.axes for patch in ax.patches] == [1] * 2 * len(matrix)
    left, right = fig.axes
    assert texts(left) == ["0.90", "0.20", "0.40", "0.70"] and texts(right) == ["0.90", "0.40", "0.20", "0.70"]
    assert [t.get_text() for t in left.get_yticklabels()] == ["Edema", "Fibrosis"] and left.get_ylabel() == "films with"
    frames = [patch.get_xy() for patch in left.patches]
    assert frames == [(0, 0), (1, 1)]
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["told signs", "told descriptions"]
    assert "nothing to swap" in texts(evaluation.swapped({}, FINDINGS).axes[0])[0]


def test_pairs_fill_the_own_texts():
    predicted, matrix = np.array([[1.0, 2], [3, 4]]), np.array([[5.0, 6], [7, 8]])
    (ax,) = evaluation.pairs({"told": (predicted, matrix)}, FINDINGS).axes
    others, own = ax.collections
    assert own.get_offsets().tolist() == [[1, 5], [4, 8]] and others.get_offsets().tolist() == [[2, 6], [3, 7]]
    assert texts(ax) == ["Edema", "Fibrosis"] and ax.get_xlabel() == "look-alikes predict"
    evaluation.pairs({}, FINDINGS)


def test_alarms_are_as_many_as_there_are_positives():
    labels = np.array([[1, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    scores = np.array([[0.9, 0.1, 0, 4], [0.1, 0.2, 0, 3], [0.8, 0.9, 0, 2], [0.0, 0.3, 0, 1], [0.0, 0.0, 0, 0]])
    table = evaluation.alarms(labels, scores, FINDINGS).set_index("finding")
    assert table.positives.tolist() == [2, 1, 0, 2]
    assert table.precision[["Mass", "Edema", "Fibrosis"]].tolist() == [0.5, 1.0, 0.5]
    assert table.prevalence["Mass"] == 2 / 5 and np.isnan(table.precision["Hernia"])
    fig, ax = plt.subplots()
    evaluation.alarm_figure(table.reset_index(), FINDINGS, ax)
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == ["Fibrosis (2)", "Edema (1)", "Mass (2)"]  # unseen below, each by precision
    assert to_hex(ax.get_yticklabels()[0].get_color()) == figures.UNSEEN
    assert ax.lines[0].get_xdata().tolist() == [0.4, 0.2, 0.4]  # of all films, normal ones, too


def test_groups_count_the_films_that_their_values_are_of():
    rng = np.random.default_rng(0)
    labels = np.zeros((40, 4), int)
    labels[:30] = rng.integers(0, 2, (30, 4))
    labels[:30, 0] |= ~labels[:30].any(1)  # ten films show nothing
    table = pd.DataFrame({"sex": ["F"] * 25 + ["M"] * 15, "age": [30.0] * 20 + [70.0] * 20, "view": ["PA"] * 40})
    patients = np.arange(40)
    fig, _ = evaluation.groups(table, labels, rng.random((40, 4)), patients, FINDINGS, "tiny", replicates=5)
    sex, age, view, _ = [[t.get_text() for t in ax.get_yticklabels()] for ax in fig.axes[:4]]
    assert sorted(sex) == ["men (5)", "women (25)"] and view == ["PA (30)"]
    assert sorted(text.rpartition(" ")[2] for text in age) == ["(10)", "(20)"]


def test_groups_of_scores_are_of_films_with_the_finding_with_others_only_and_with_none():
    labels, scores = np.zeros((9, 4), int), np.repeat(np.arange(9.0)[:, None], 4, axis=1)
    labels[:6, 0] = labels[:3, 1] = labels[5, 3] = 1  # Mass on six films, with Edema on three, with Fibrosis on one
    rows = [(protocol, key, value) for protocol, value in (("abnormal", 0.25), ("all", 0.5)) for key in FINDINGS.keys]
    per_finding = pd.DataFrame(rows, columns=["protocol", "finding", "auroc"])
    fig = evaluation.groups_of_scores(labels, scores, FINDINGS, per_finding, "tiny")
    medians = [[line.get_xdata()[0] for line in ax.lines[4::5]] for ax in fig.axes[:2]]  # after whiskers and caps
    assert medians == [[7, 4, 1], [7, 2, 5]]  # none, others only, the finding on top
    assert [ax.get_title(loc="left") for ax in fig.axes[:2]] == [
        f"{key}: 0.25 abnormal, 0.50 all" for key in FINDINGS.unseen]  # fmt: skip


def test_swapped_texts_name_their_columns_and_the_left_panel_its_rows():
    fig = evaluation.swapped({"a": np.eye(2), "b": np.eye(2)}, FINDINGS)
    for ax in fig.axes:
        assert [t.get_text() for t in ax.get_xticklabels()] == ["Edema", "Fibrosis"]
    left, right = fig.axes
    assert left.get_xlabel() == right.get_xlabel() == "searched for with the text of"
    assert right.get_ylabel() == "" and not right.get_yticks().size


def test_pairs_are_a_panel_per_training_and_own_texts_carry_their_colour():
    panels = {title: (np.array([[1.0, 2], [3, 4]]) * k, np.array([[5.0, 6], [7, 8]]) * k) for title, k in
              (("with words", 1), ("with codes", -2))}  # fmt: skip
    fig = evaluation.pairs(panels, FINDINGS)
    assert [ax.get_title(loc="left") for ax in fig.axes] == list(panels)
    for ax, (predicted, matrix) in zip(fig.axes, panels.values(), strict=True):
        others, own = ax.collections
        assert own.get_offsets().tolist() == np.transpose([predicted.diagonal(), matrix.diagonal()]).tolist()
        assert others.get_offsets().tolist() == [[predicted[0, 1], matrix[0, 1]], [predicted[1, 0], matrix[1, 0]]]
        assert to_hex(own.get_facecolor()[0]) == figures.UNSEEN and to_hex(others.get_facecolor()[0]) == "#ffffff"
        named = {t.get_text(): t.xy for t in ax.texts}
        assert named == {key: (predicted[j, j], matrix[j, j]) for j, key in enumerate(FINDINGS.unseen)}
        zeros = [(set(line.get_xdata()), set(line.get_ydata())) for line in ax.lines]
        assert any(y == {0} for _, y in zeros) and any(x == {0} for x, _ in zeros)


def test_the_names_of_pairs_stand_in_the_order_of_their_dots():
    predicted, matrix = np.diag([2.0, 3, 1]), np.diag([0.3, 0.1, 0.2])
    findings = SeenUnseen(("Mass", "Edema", "Hernia", "Fibrosis"), ("Edema", "Hernia", "Fibrosis"))
    (ax,) = evaluation.pairs({"told": (predicted, matrix)}, findings).axes
    above = {text.get_text(): text.get_position()[1] for text in ax.texts}  # of its dot, in points
    assert above["Edema"] > above["Fibrosis"] > above["Hernia"]


def test_alarms_are_dots_at_their_precision_and_lines_from_what_guessing_reaches():
    table = pd.DataFrame({"finding": ["Mass", "Edema", "Hernia", "Fibrosis"], "positives": [9, 8, 0, 1200],
                          "precision": [0.3, 0.7, np.nan, 0.4], "prevalence": [0.1, 0.2, np.nan, 0.05]})  # fmt: skip
    fig, ax = plt.subplots()
    evaluation.alarm_figure(table, FINDINGS, ax)
    spans, dots = ax.collections
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Fibrosis (1,200)", "Edema (8)", "Mass (9)"]
    assert dots.get_offsets().tolist() == [[0.4, 0], [0.7, 1], [0.3, 2]]
    assert [s.tolist() for s in spans.get_segments()] == [
        [[0.05, 0], [0.4, 0]], [[0.2, 1], [0.7, 1]], [[0.1, 2], [0.3, 2]]]  # fmt: skip
    tones = [figures.UNSEEN, figures.UNSEEN, figures.SEEN]
    assert [to_hex(c) for c in dots.get_facecolors()] == tones
    assert [to_hex(t.get_color()) for t in ax.get_yticklabels()] == tones
    assert ax.lines[0].get_xydata().tolist() == [[0.05, 0], [0.2, 1], [0.1, 2]] and ax.get_xlim() == (0, 1)


@pytest.fixture
def example_films():
    """Films 0 to 3 are normal, 4 to 11 have seen findings only, 12 to 19 an unseen one, some of them seen ones, too."""
    labels = np.zeros((20, 4), int)
    labels[4:12, 0] = labels[6:9, 2] = labels[12:16, 1] = labels[15:20, 3] = labels[13:18, 0] = 1
    return np.arange(20, dtype=np.uint8)[:, None, None] * np.ones((4, 4), np.uint8), labels


def shown_examples(films, labels, monkeypatch, **options):
    """Of every film that is drawn: its row in the set, its line and side in the figure."""
    scores = np.arange(20)[:, None] + np.random.default_rng(0).random((20, 4))
    drawn, ranked = {}, {}
    monkeypatch.setattr(figures, "radiograph", lambda ax, pixels: drawn.update({ax: int(pixels[0, 0])}))

    def ranking(ax, score, truth, findings):
        row = int(score[0])
        assert score.tolist() == scores[row].tolist() and truth.tolist() == labels[row].tolist()
        assert findings is FINDINGS
        ranked[ax] = row

    monkeypatch.setattr(figures, "ranking", ranking)
    fig = evaluation.examples(films, labels, scores, FINDINGS, "tiny", **options)
    axes = np.reshape(fig.axes, (3, 4))
    assert ranked == {
        axes[line, 2 * side + 1]: drawn[axes[line, 2 * side]]
        for line in range(3) for side in (0, 1) if axes[line, 2 * side] in drawn}  # fmt: skip
    return [[drawn[ax] for ax in axes[:, 2 * side] if ax in drawn] for side in (0, 1)]


def test_examples_are_three_films_of_seen_findings_left_and_three_with_an_unseen_one_right(example_films, monkeypatch):
    films, labels = example_films
    by_seed = []
    for seed in (0, 1, 2, 0):
        left, right = shown_examples(films, labels, monkeypatch, seed=seed)
        assert len(set(left)) == len(set(right)) == 3
        assert set(left) <= set(range(4, 12)) and set(right) <= set(range(12, 20))
        by_seed.append((left, right))
    assert by_seed[0] == by_seed[3] and by_seed[0] != by_seed[1] != by_seed[2]
    assert by_seed[0] == tuple(shown_examples(films, labels, monkeypatch))
    rng = np.random.default_rng(2)
    assert by_seed[2] == tuple(rng.choice(pool, 3, replace=False).tolist() for pool in
                               (np.arange(4, 12), np.arange(12, 20)))  # fmt: skip


def test_fewer_examples_leave_their_places_empty(example_films, monkeypatch):
    films, labels = example_films
    labels[5:12] = labels[14:] = 0
    assert [sorted(rows) for rows in shown_examples(films, labels, monkeypatch)] == [[4], [12, 13]]
    monkeypatch.undo()
    fig = evaluation.examples(films, labels, np.random.default_rng(0).random((20, 4)), FINDINGS, "tiny")
    axes = np.reshape(fig.axes, (3, 4))
    assert [[bool(ax.images) or bool(ax.patches) for ax in line] for line in axes] == [
        [True] * 4, [False, False, True, True], [False] * 4]  # fmt: skip
    assert not axes[2, 0].axison and axes[0, 0].axison
    assert [axes[0, i].get_title(loc="left") for i in (0, 2)] == ["seen findings only", "with an unseen finding"]
    assert fig.get_suptitle().startswith("tiny radiographs")


def test_groups_are_evaluated_by_what_the_table_says_of_each_film_and_drawn_youngest_first(monkeypatch):
    rng = np.random.default_rng(1)
    labels, scores = rng.integers(0, 2, (12, 4)), rng.random((12, 4))
    labels[3] = 0
    table = pd.DataFrame({"sex": ["F", "M", ""] * 4, "age": [30.0, 50, 70, np.nan] * 3, "view": ["PA", "AP"] * 6})
    asked, values = [], iter(rng.random(1000))

    def subgroups(*given, **options):
        asked.append((given, options))
        of = np.asarray(given[4], dtype=object)
        rows = [{"group": group or "unknown", "protocol": protocol, "metric": metric, "value": next(values),
                 "low": next(values), "high": next(values), "undefined": "Hernia" if group in ("M", "AP") else ""}
                for group in dict.fromkeys(of) for protocol in ("abnormal", "all")
                for metric in ("auroc_S", "auroc_U", "ap_U")]  # fmt: skip
        asked[-1] += (pd.DataFrame(rows),)
        return asked[-1][2].copy()

    monkeypatch.setattr(evaluation, "evaluate_subgroups", subgroups)
    patients = np.arange(12)
    fig, narrow = evaluation.groups(table, labels, scores, patients, FINDINGS, "tiny", replicates=7, seed=3)
    kinds = np.where(labels[:, [1, 3]].any(1), "with an unseen one", "other")
    for (given, options, found), ax, title in zip(asked, fig.axes, ("sex", "age", "view", "findings"), strict=True):
        assert given[0] is labels and given[1] is scores and given[2] is patients and given[3] is FINDINGS
        assert options == {"replicates": 7, "seed": 3} and ax.get_title(loc="left") == title
        kept = found[(found.protocol == "abnormal") & (found.group != "none")].set_index(["group", "metric"])
        names = [t.get_text().rpartition(" ")[0] for t in ax.get_yticklabels()]
        assert sorted(names) == sorted(set(kept.index.get_level_values(0)))
        for metric, (spans, dots) in zip(("auroc_S", "auroc_U"), np.reshape(ax.collections, (2, 2)), strict=True):
            rows = kept.loc[[(name, metric) for name in names]]
            assert dots.get_offsets()[:, 0].tolist() == rows["value"].tolist()
            ends = [segment[:, 0].tolist() for segment in spans.get_segments()]
            assert ends == rows[["low", "high"]].to_numpy().tolist()
            assert (np.abs(dots.get_offsets()[:, 1] - ax.get_yticks()) < 0.3).all()
    sex, age, view, of_findings = (asked[i][0][4] for i in range(4))
    assert list(sex[:3]) == ["women", "men", ""] and list(age[:4]) == ["<40", "40-59", "60+", "unknown"]
    assert list(view[:2]) == ["PA", "AP"] and of_findings[3] == "none"
    assert [("unseen" in kind or kind == "mixed") for kind in of_findings] == (kinds == "with an unseen one").tolist()
    ages = [t.get_text().rpartition(" ")[0] for t in fig.axes[1].get_yticklabels()]
    assert ages == ["<40", "40-59", "60+", "unknown"] and fig.axes[1].get_yticks()[0] > fig.axes[1].get_yticks()[1]
    ill = labels.any(1)
    unknown = next(t.get_text() for t in fig.axes[0].get_yticklabels() if t.get_text().startswith("unknown"))
    assert unknown == f"unknown ({ill[(table.sex == '').to_numpy()].sum()})"
    pa_less = ill[(table["view"] == "AP").to_numpy()].sum()
    assert narrow == [f"AP ({pa_less}), Hernia"] * 2  # seen and unseen, of the abnormal ones


def test_scores_are_shown_of_four_unseen_findings_at_most_and_of_seen_ones_where_there_is_no_other():
    keys = tuple("abcdef")
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, (30, 6)), rng.random((30, 6))
    per_finding = pd.DataFrame([(p, k, 0.5) for p in ("abnormal", "all") for k in keys],
                               columns=["protocol", "finding", "auroc"])  # fmt: skip
    for unseen, shown, tone in ((tuple("bcdef"), "BCDE", figures.UNSEEN), (("c",), "C", figures.UNSEEN),
                                ((), "ABCD", figures.SEEN)):  # fmt: skip
        fig = evaluation.groups_of_scores(labels, scores, SeenUnseen(keys, unseen), per_finding, "tiny")
        assert "".join(ax.get_title(loc="left")[:1] for ax in fig.axes) == shown
        assert [ax.axison for ax in fig.axes] == [True] * len(shown) + [False] * (4 - len(shown))
        assert {to_hex(ax.patches[-1].get_facecolor()) for ax in fig.axes[: len(shown)]} == {tone}


def test_closeness_is_checked_of_seen_left_and_unseen_right_in_their_colours():
    bins = pd.DataFrame({"predicted": [0.1], "observed": [0.2], "low": [0.1], "high": [0.4]})
    tables = {"seen": bins, "unseen": None}
    fig = evaluation.reliability(tables, "tiny")
    left, right = fig.axes
    (points,) = (line for line in left.lines if line.get_marker() == "o")
    assert points.get_xydata().tolist() == [[0.1, 0.2]] and points.get_color() == figures.SEEN
    assert texts(right) == ["no closeness to check"] and not right.lines
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["tiny: seen", "tiny: unseen"]
    other = {"validation": bins, "unseen": bins}
    colours = [ax.lines[1].get_color() for ax in evaluation.reliability(other, "tiny").axes]
    assert colours == [figures.OTHER, figures.UNSEEN]
