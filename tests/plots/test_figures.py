"""The figures say what the data say: numbers are read back from what was drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

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


def contrast(a, b):
    """WCAG 2.2: (L1 + 0.05) / (L2 + 0.05), of sRGB colours."""
    lum = []
    for colour in (a, b):
        rgb = np.array(to_rgb(colour))
        rgb = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        lum.append(rgb @ [0.2126, 0.7152, 0.0722])
    return (max(lum) + 0.05) / (min(lum) + 0.05)


@pytest.mark.parametrize("tones", ["Blues", "PuOr_r", "Greys"])
def test_the_numbers_of_a_heatmap_can_be_read_on_every_shade(ax, tones):
    matrix = np.linspace(0, 1, 16).reshape(4, 4)
    matrix[1, 2] = np.nan
    figures.heatmap(matrix, FINDINGS, ax, cmap=tones)
    cells = np.delete(ax.collections[0].get_facecolors(), 6, axis=0)
    assert len(ax.texts) == len(cells) == 15
    assert min(contrast(text.get_color(), cell[:3]) for text, cell in zip(ax.texts, cells, strict=True)) >= 4.5
    assert {text.get_color() for text in ax.texts} == {"black", "white"}


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


def test_ranking_names_all_findings_where_there_are_fewer_than_asked_for(ax):
    figures.ranking(ax, np.array([0.1, 0.4, 0.3, 0.2]), np.zeros(4), FINDINGS)
    assert [t.get_text() for t in ax.texts] == ["Edema", "Pleural thickening", "Hernia", "Effusion"]
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([1, 2 / 3, 1 / 3, 0])


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


def test_counts_are_written_at_the_end_of_their_bar_and_none_is_left_out_of_the_log(ax):
    labels = np.repeat([[1, 0, 0, 0], [1, 1, 0, 0]], [1200, 30], axis=0)
    figures.finding_counts(labels, FINDINGS, ax)
    assert [(t.get_text(), t.xy) for t in ax.texts] == [("0", (1, 0)), ("0", (1, 1)), ("30", (30, 2)),
                                                        ("1,230", (1230, 3))]  # fmt: skip
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Pleural thickening", "Hernia", "Edema", "Effusion"]
    assert ax.get_xscale() == "log" and ax.get_xlim()[0] == 1 and ax.get_xlim()[1] > 1230
    named = {t.get_text(): to_hex(h.get_color()) for t, h in zip(ax.get_legend().texts, ax.get_legend().legend_handles)}
    assert named == {"seen": figures.SEEN, "unseen": figures.UNSEEN}


@pytest.mark.parametrize(("values", "most", "names", "heights"), [
    ([3, 4, 4, 20], 8, ["3", "4", "5", "6", "7", "8+"], [1, 2, 0, 0, 0, 1]), ([0, 0, 2], 8, ["0", "1", "2"], [2, 0, 1]),
    ([8] * 1500, None, ["8+"], [1500]), ([], 8, ["0"], [0]),
])  # fmt: skip
def test_bars_begin_with_the_smallest_number_that_occurs_and_carry_their_counts(ax, values, most, names, heights):
    options = {} if most is None else {"most": most}
    figures.counts_bar(values, ax, xlabel="films", ylabel="patients", **options)
    assert [t.get_text() for t in ax.get_xticklabels()] == names
    assert [bar.get_height() for bar in ax.patches] == heights
    assert [t.get_text() for t in ax.texts] == [f"{n:,}" for n in heights]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("films", "patients")


def test_heatmap_keeps_labels_in_rows_and_takes_other_options(ax):
    matrix = np.arange(16.0).reshape(4, 4) / 16
    figures.heatmap(matrix, FINDINGS, ax, numbers=False, vmin=-1, vmax=2, cmap="PuOr_r")
    assert not ax.texts and ax.collections[0].get_clim() == (-1, 2) and ax.collections[0].get_cmap().name == "PuOr_r"
    assert ax.collections[0].get_array().tolist() == matrix.tolist()
    names = ["Effusion", "Edema", "Pleural thickening", "Hernia"]
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [t.get_text() for t in labels] == names
        assert [to_hex(t.get_color()) for t in labels] == figures.colours(FINDINGS)


def test_radiographs_of_a_grid_keep_title_and_colour(generator):
    films = generator.integers(0, 255, (4, 8, 8), np.uint8)
    rows = [("Edema", [(films[0], "a", figures.SEEN), (films[1], "b", figures.UNSEEN)]),
            ("Hernia", [(films[2], "c", figures.OTHER), (films[3], "d", "black")])]  # fmt: skip
    fig = figures.radiograph_grid(rows, columns=2)
    assert [ax.get_title() for ax in fig.axes] == list("abcd")
    tones = [figures.SEEN, figures.UNSEEN, figures.OTHER, "#000000"]
    assert [to_hex(ax.title.get_color()) for ax in fig.axes] == tones
    for ax, film in zip(fig.axes, films, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), film)
    plt.close(fig)


def test_history_draws_every_term_that_was_measured_by_epoch():
    table = pd.DataFrame({"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "loss_positive": [1.0, 0.5, 0.2],
                          "loss_never": [np.nan] * 3, "loss_mean_of_all": [2.0, 1.5, 0.8], "lr": [1.0, 1, 1],
                          "val_seen_auroc": [0.6, 0.8, 0.7]})  # fmt: skip
    fig = figures.history(table)
    left, right = fig.axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in left.lines}
    assert drawn == {"total": [[1, 3], [2, 2], [3, 1]], "positive": [[1, 1], [2, 0.5], [3, 0.2]],
                     "mean of all": [[1, 2], [2, 1.5], [3, 0.8]]}  # fmt: skip
    assert right.lines[0].get_xydata().tolist() == [[1, 0.6], [2, 0.8], [3, 0.7]]
    assert left.get_ylim()[0] == 0 and left.get_xlabel() == right.get_xlabel() == "epoch"
    plt.close(fig)


def test_per_finding_intervals_of_both_protocols_lie_beside_the_line_of_their_finding(ax):
    table = per_finding_table().rename(columns=lambda name: name.replace("auroc", "ap"))
    table.loc[table.protocol == "all", ["ap_low", "ap_high"]] += [0.02, 0.05]
    figures.per_finding(table.sample(frac=1, random_state=0), FINDINGS, ax, metric="ap")
    order = ["Edema", "Hernia", "Effusion", "Pleural_Thickening"]
    assert [t.get_text().rpartition(" ")[0] for t in ax.get_yticklabels()] == [figures.words(key) for key in order]
    tones = figures.colours(FINDINGS, order)
    assert [to_hex(t.get_color()) for t in ax.get_yticklabels()] == tones
    heights = []
    for protocol, spans, dots in zip(("abnormal", "all"), ax.collections[::2], ax.collections[1::2], strict=True):
        rows = table[table.protocol == protocol].set_index("finding").loc[order]
        x, y = dots.get_offsets().filled(np.nan).T
        np.testing.assert_allclose(x, rows.ap)
        known = [i for i in range(4) if order[i] != "Hernia"]
        segments = [segment for segment in spans.get_segments() if len(segment)]
        ends = np.array([s[:, 0] for s in segments if np.isfinite(s).all()])
        np.testing.assert_allclose(ends, rows[["ap_low", "ap_high"]].to_numpy()[known])
        assert [to_hex(c) for c in dots.get_edgecolors()] == tones
        faces = [to_hex(c) for c in dots.get_facecolors()]
        assert faces == (tones if protocol == "abnormal" else ["#ffffff"])
        assert np.nanmax(np.abs(y - ax.get_yticks())) < 0.3
        heights.append(y[known])
    assert (heights[0] > heights[1]).all()
    assert ax.get_xlabel().startswith("AP ") and not ax.texts  # one half is chance for AUROC alone
    assert [t.get_text() for t in ax.get_legend().texts] == ["abnormal", "all"]


def test_chance_is_one_half_of_an_auroc(ax):
    figures.per_finding(per_finding_table(), FINDINGS, ax)
    assert [list(line.get_xdata()) for line in ax.lines if len(line.get_xdata())] == [[0.5, 0.5]]
    assert [(t.get_text(), t.xy[0]) for t in ax.texts] == [("chance", 0.5)]


def test_boxes_are_quartiles_with_whiskers_at_the_twentieth_parts(ax, generator):
    groups = [generator.normal(size=n) + n for n in (30, 40, 50)]
    figures.protocol_scores(*groups, ax, colour=figures.SEEN)
    boxes = [patch.get_path().vertices for patch in ax.patches]
    names = dict(zip(["has the finding", "other findings only", "no finding at all"], groups, strict=True))
    ticks = {t.get_text(): y for y, t in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)}
    assert list(ticks) == list(names)[::-1]
    for box, whiskers, (name, y) in zip(boxes, np.reshape(ax.lines, (3, 5)), ticks.items(), strict=True):
        assert box[:, 1].min() < y < box[:, 1].max()
        assert (box[:, 0].min(), box[:, 0].max()) == pytest.approx(tuple(np.percentile(names[name], [25, 75])))
        low, high = (line.get_xdata() for line in whiskers[:2])
        inside = np.percentile(names[name], [5, 95])
        assert low.min() == pytest.approx(names[name][names[name] >= inside[0]].min())
        assert high.max() == pytest.approx(names[name][names[name] <= inside[1]].max())
        assert whiskers[4].get_xdata()[0] == pytest.approx(np.median(names[name]))
    assert [to_hex(p.get_facecolor()) for p in ax.patches[1:]] == [figures.OTHER, figures.SEEN]


def test_ranking_bars_have_the_colour_of_their_kind_and_only_true_ones_are_bold(ax):
    figures.ranking(ax, np.array([0.1, 0.4, 0.3, 0.2]), np.array([0, 0, 1, 0]), FINDINGS, k=3)
    assert [to_hex(bar.get_facecolor()) for bar in ax.patches] == [figures.UNSEEN, figures.SEEN, figures.SEEN]
    assert [t.get_weight() for t in ax.texts] == ["normal", "bold", "normal"] and ax.get_xlabel() == ""
    assert [t.get_position()[1] for t in ax.texts] == [0, 1, 2] and ax.yaxis_inverted()


def test_distances_are_densities_of_positive_and_negative_pairs(ax, generator):
    distance, positive = generator.random((40, 3)), generator.random((40, 3)) < 0.2
    figures.distances(distance, positive, ax, colour=figures.SEEN)
    bins = np.linspace(distance.min(), distance.max(), 45)
    wanted = [np.histogram(distance[mask], bins, density=True)[0] for mask in (~positive, positive)]
    heights = np.array([bar.get_height() for bar in ax.patches]).reshape(2, 44)
    np.testing.assert_allclose(heights, wanted)
    assert [to_hex(ax.patches[i].get_facecolor()) for i in (0, 44)] == [figures.OTHER, figures.SEEN]
    assert [to_hex(c.get_colors()[0]) for c in ax.collections] == [figures.OTHER, figures.SEEN]


def test_a_term_of_the_loss_that_was_not_measured_in_every_epoch_is_drawn_too():
    table = pd.DataFrame({"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "loss_late": [np.nan, 0.5, 0.25],
                          "val_seen_auroc": [0.6, 0.8, 0.7]})  # fmt: skip
    fig = figures.history(table)
    assert [line.get_label() for line in fig.axes[0].lines] == ["total", "late"]
    np.testing.assert_array_equal(fig.axes[0].lines[1].get_ydata(), table["loss_late"])
    plt.close(fig)
