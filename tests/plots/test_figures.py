"""The figures say what the data say: numbers are read back from what was drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from cmdml.findings import SeenUnseen
from cmdml.loss import weighted_focused_euclidean
from cmdml.plots import figures

FINDINGS = SeenUnseen(("Effusion", "Edema", "Pleural_Thickening", "Hernia"), ("Edema",))


@pytest.fixture
def ax(in_the_book_s_style, ax):
    return ax


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def test_seen_and_unseen_keep_their_colours():
    assert figures.colours(FINDINGS) == [figures.SEEN, figures.UNSEEN, figures.SEEN, figures.SEEN]
    assert figures.colours(FINDINGS, ["Edema", "Hernia"]) == [figures.UNSEEN, figures.SEEN]
    assert figures.words("Pleural_Thickening") == "Pleural thickening"


def test_style_makes_figures_that_fit_the_column_and_stay_sharp():
    figures.style()
    width = plt.rcParams["figure.figsize"][0]
    assert width == figures.WIDTH and plt.rcParams["savefig.dpi"] * width >= 1000
    # shown 700 px wide, a letter must be at least 11 px high
    assert (
        min(plt.rcParams[k] for k in ("xtick.labelsize", "legend.fontsize", "axes.labelsize")) / 72 * 700 / width >= 11
    )


def test_finding_counts_sorts_counts_and_colours(ax):
    labels = np.repeat([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]], [5, 2, 4], axis=0)  # counts 7, 2, 4, 0
    figures.finding_counts(labels, FINDINGS, ax)
    assert [bar.get_width() for bar in ax.patches] == [0, 2, 4, 7]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Hernia", "Edema", "Pleural thickening", "Effusion"]
    assert (
        [to_hex(t.get_color()) for t in ax.get_yticklabels()][1]
        == to_hex(ax.patches[1].get_facecolor())
        == figures.UNSEEN
    )


def test_counts_bar_gathers_the_tail(ax):
    figures.counts_bar([1, 1, 2, 7, 9], ax, xlabel="films", ylabel="patients", most=4)
    assert [bar.get_height() for bar in ax.patches] == [2, 1, 0, 2]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "2", "3", "4+"]


def test_heatmap_writes_its_numbers_and_leaves_the_blank_blank(ax):
    matrix = np.full((4, 4), 0.25)
    np.fill_diagonal(matrix, np.nan)
    figures.heatmap(matrix, FINDINGS, ax)
    assert [t.get_text() for t in ax.texts] == ["0.25"] * 12
    assert to_hex(ax.get_xticklabels()[1].get_color()) == figures.UNSEEN


def test_radiograph_keeps_the_grey_scale(ax, generator):
    pixels = generator.integers(40, 200, (64, 64), np.uint8)
    figures.radiograph(ax, pixels, "Edema", colour=figures.UNSEEN)
    assert ax.images[0].get_clim() == (0, 255)  # no stretching: a dark film stays dark
    assert np.array_equal(ax.images[0].get_array(), pixels) and to_hex(ax.title.get_color()) == figures.UNSEEN


def test_radiograph_grid_places_rows_and_leaves_gaps_empty(generator):
    pixels = generator.integers(0, 255, (64, 64), np.uint8)
    fig = figures.radiograph_grid(
        [("Edema", [(pixels, "a", "red")] * 3), ("Hernia", [(pixels, "b", "red")])], "phantom", columns=3
    )
    assert [len(ax.images) for ax in fig.axes] == [1, 1, 1, 1, 0, 0]
    assert [fig.axes[i].get_ylabel() for i in (0, 3)] == ["Edema", "Hernia"] and fig.get_suptitle() == "phantom"
    assert not fig.axes[4].axison
    plt.close(fig)


@pytest.mark.parametrize(("alpha", "tau"), [(0.75, 1.0), (0.5, 0.5), (1.0, 2.0)])
def test_loss_figure_draws_the_loss_of_the_package(alpha, tau):
    import torch

    fig = figures.loss_figure((0, 2), alpha=alpha, tau=tau)
    for ax, term, label in zip(fig.axes, ("positive", "negative"), (1.0, 0.0), strict=True):
        for line, gamma in zip(ax.lines, (0, 2), strict=True):
            d, drawn = line.get_data()
            k = len(d) // 3
            d2, y = torch.tensor([[float(d[k]) ** 2]]), torch.tensor([[label]])
            expected = weighted_focused_euclidean(d2, y, gamma=gamma, alpha=alpha, tau=tau)[term]
            assert drawn[k] == pytest.approx(float(expected), rel=1e-4)
    plt.close(fig)


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("alpha", [0.25, 0.75])
def test_the_highest_curve_of_a_positive_pair_fits_and_fills_its_panel(alpha, tau):
    fig = figures.loss_figure((0, 2), alpha=alpha, tau=tau)
    positive = fig.axes[0]
    highest = max(line.get_ydata().max() for line in positive.lines)
    assert highest == pytest.approx(alpha * 4 / tau, rel=1e-4)  # d = 2 is the largest distance on the unit sphere
    assert positive.get_ylim()[0] == 0
    assert highest <= positive.get_ylim()[1] <= 1.1 * highest
    plt.close(fig)


def test_history_marks_the_epoch_that_is_kept():
    table = pd.DataFrame({"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "loss_positive": [1.0, 0.5, 0.2],
                          "loss_negative": [2.0, 1.5, 0.8], "val_seen_auroc": [0.6, 0.8, 0.7]})  # fmt: skip
    fig = figures.history(table)
    left, right = fig.axes
    assert [t.get_text() for t in left.get_legend().texts] == ["total", "positive", "negative"]
    assert (
        right.lines[-1].get_xydata().tolist() == [[2, 0.8]]
        and "epoch 2, 0.800" in right.get_legend().texts[0].get_text()
    )
    plt.close(fig)


def per_finding_table():
    rows = []
    for protocol, lift in (("abnormal", 0.0), ("all", 0.1)):
        for i, key in enumerate(FINDINGS.keys):
            value = np.nan if key == "Hernia" else 0.6 + 0.05 * i + lift
            rows.append((protocol, key, key != "Edema", 10 * i + 1, value, value - 0.1, value + 0.1))
    return pd.DataFrame(rows, columns="protocol finding seen positives auroc auroc_low auroc_high".split())


def test_per_finding_draws_both_protocols_unseen_below_and_undefined_empty(ax):
    figures.per_finding(per_finding_table(), FINDINGS, ax)
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        "Edema (11)",
        "Hernia (31)",
        "Effusion (1)",
        "Pleural thickening (21)",
    ]
    dots = [c.get_offsets().filled(np.nan)[:, 0] for c in ax.collections if len(c.get_offsets()) == 4]
    assert np.allclose(dots[0], [0.65, np.nan, 0.6, 0.7], equal_nan=True)
    assert np.allclose(dots[1] - dots[0], [0.1, np.nan, 0.1, 0.1], equal_nan=True)
    ends = [segment[:, 0] for segment in ax.collections[0].get_segments() if len(segment)]
    assert np.allclose(ends[0], [0.55, 0.75])


def test_protocol_scores_puts_the_finding_on_top(ax):
    figures.protocol_scores(np.array([3.0, 4.0]), np.array([1.0, 2.0]), np.array([0.0]), ax, colour=figures.UNSEEN)
    assert [t.get_text() for t in ax.get_yticklabels()][-1] == "has the finding"
    assert to_hex(ax.patches[-1].get_facecolor()) == figures.UNSEEN


def test_ranking_orders_ticks_and_names_what_is_missed(ax):
    scores, truth = np.array([-1.0, -0.2, -3.0, -2.0]), np.array([0, 1, 1, 0])
    figures.ranking(ax, scores, truth, FINDINGS, k=2)
    assert [t.get_text() for t in ax.texts] == ["Edema  ✓", "Effusion"]
    assert ax.get_xlabel() == "missed: Pleural thickening"
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([1, 2 / 2.8])


def test_ranking_survives_equal_scores(ax):
    figures.ranking(ax, np.zeros(4), np.zeros(4), FINDINGS, k=3)
    assert len(ax.texts) == 3 and ax.get_xlabel() == ""


def test_distances_mark_the_medians(ax, generator):
    distance, positive = generator.random((30, 2)), np.zeros((30, 2), bool)
    positive[:5] = True
    figures.distances(distance, positive, ax, colour=figures.SEEN)
    marks = [segment[0, 0] for c in ax.collections for segment in c.get_segments()]
    assert marks == pytest.approx([np.median(distance[~positive]), np.median(distance[positive])])
    assert [t.get_text() for t in ax.get_legend().texts] == ["negative pairs (50)", "positive pairs (10)"]


def test_distances_without_a_positive_pair(ax, generator):
    figures.distances(generator.random((9, 1)), np.zeros((9, 1), bool), ax, colour=figures.UNSEEN)
    assert [t.get_text() for t in ax.get_legend().texts][1] == "positive pairs (0)"
