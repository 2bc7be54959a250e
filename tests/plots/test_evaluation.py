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
    labels = np.array([[1, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    scores = np.array([[0.9, 0.1, 0, 4], [0.1, 0.2, 0, 3], [0.8, 0.9, 0, 2], [0.0, 0.3, 0, 1]])
    table = evaluation.alarms(labels, scores, FINDINGS).set_index("finding")
    assert table.positives.tolist() == [2, 1, 0, 2]
    assert table.precision[["Mass", "Edema", "Fibrosis"]].tolist() == [0.5, 1.0, 0.5]
    assert table.prevalence["Mass"] == 0.5 and np.isnan(table.precision["Hernia"])
    fig, ax = plt.subplots()
    evaluation.alarm_figure(table.reset_index(), FINDINGS, ax)
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == ["Fibrosis (2)", "Edema (1)", "Mass (2)"]  # unseen below, each by precision
    assert to_hex(ax.get_yticklabels()[0].get_color()) == figures.UNSEEN
    assert ax.lines[0].get_xdata().tolist() == [0.5, 0.25, 0.5]


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
