"""The joint space: what lies near what, counted by hand, and drawn as it was given."""

import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from cmdml.findings import SeenUnseen
from cmdml.plots import figures, space

pytestmark = pytest.mark.usefixtures("in_the_book_s_style")
FINDINGS = SeenUnseen(("Mass", "Edema", "Hernia", "Fibrosis"), ("Edema", "Fibrosis"))


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_hits_and_hubs_count_the_nearest():
    distance = np.array([[0.1, 0.9, 1, 1], [0.2, 0.1, 1, 1], [0.3, 0.2, 1, 1], [0.9, 0.3, 1, 1]])
    labels = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]])
    table = space.hits({"signs": distance, "other": -distance}, labels, FINDINGS, ["Edema"], k=2)
    assert table.loc["Edema"].tolist() == ["50%", "50%", "50%"] and list(table) == ["signs", "other", "by chance"]
    assert space.mean_hits(distance, labels, FINDINGS, ["Mass", "Edema"], k=1) == 1.0
    assert space.mean_hits(distance, labels, FINDINGS, ["Mass", "Edema"], k=2) == 0.5


def test_nearest_films_say_what_they_have():
    distance = np.array([[3.0, 1, 0, 0], [1.0, 2, 0, 0], [2.0, 3, 0, 0]])
    labels = np.array([[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])
    films = np.zeros((3, 8, 8), np.uint8)
    fig = space.nearest(distance, labels, films, FINDINGS, ["Edema", "Mass"], columns=3, title="phantom radiographs")
    titles = [ax.get_title() for ax in fig.axes]
    assert titles == ["✓", "Mass +1", "no finding", "✓", "no finding", "Edema"]
    assert "second training" in texts(space.no_second_training().axes[0])[0]


def test_what_a_film_carries_and_whether_illness_dominates():
    labels = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]])
    assert space.kinds(labels, FINDINGS).tolist() == [0, 1, 2]
    rng = np.random.default_rng(0)
    kind = np.arange(90) % 3
    ill = np.where(kind > 0, 5.0, 0)[:, None] * [1, 0, 0] + rng.normal(size=(90, 3))
    assert space.separation(ill, kind) > 0.99 and space.separation(-ill, kind) > 0.99
    assert space.separation(rng.normal(size=(90, 3)), kind) < 0.7


def test_the_company_of_unseen_films_leaves_out_the_normal_ones():
    visual = np.array([[0.0], [0.1], [5.0], [5.1], [9.0], [0.05]])
    kind = np.array([2, 2, 1, 1, 2, 0])
    assert space.company(visual, kind, 1) == pytest.approx(2 / 3)  # the third one's nearest has none
    assert np.isnan(space.company(visual, np.zeros(6, int)))


def test_three_projections_are_three_panels_with_every_anchor():
    rng = np.random.default_rng(0)
    flat = {title: rng.normal(size=(30 + 4, 2)) for title in ("PCA", "t-SNE", "UMAP")}
    fig = space.three_projections(flat, np.arange(30) % 3, FINDINGS)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["PCA", "t-SNE", "UMAP"]
    for ax, points in zip(fig.axes, flat.values(), strict=True):
        dots, stars = ax.collections[:2]
        assert len(dots.get_offsets()) == 30
        np.testing.assert_allclose(stars.get_offsets(), points[30:])


def test_an_anchor_stands_amid_its_nearest():
    dots = np.array([[0.0, 0], [1, 0], [2, 0], [50, 50]])
    near = np.array([[0, 3], [1, 3], [2, 3]])  # (k, C)
    assert space.amid(dots, near).tolist() == [[1, 0], [50, 50]]


def test_projections_put_an_anchor_amid_its_radiographs_and_pca_carries_it_along(monkeypatch):
    """Three heaps far apart, an anchor in each: it lands on a dot of its own heap. UMAP is replaced: it takes long."""
    asked = []

    class Flat:
        def __init__(self, **options):
            asked.append(options)

        def fit_transform(self, visual):
            return np.asarray(visual)[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Flat))
    rng = np.random.default_rng(0)
    centres = 20 * np.eye(3, 5)
    visual, semantic = np.repeat(centres, 12, axis=0) + rng.normal(size=(36, 5)), centres[[2, 0, 1]]
    flat = space.projections(visual, semantic, neighbours=5, seed=1)
    assert list(flat) == ["PCA", "t-SNE", "UMAP"]
    assert {points.shape for points in flat.values()} == {(39, 2)}
    centred = visual - visual.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    wanted = np.concatenate([centred, semantic - visual.mean(0)]) @ axes.T
    np.testing.assert_allclose(np.abs(flat["PCA"]), np.abs(wanted), atol=1e-6)
    for title in ("t-SNE", "UMAP"):
        dots, anchors = flat[title][:36], flat[title][36:]
        for heap, anchor in zip((2, 0, 1), anchors, strict=True):
            at = np.flatnonzero((dots == anchor).all(1))
            assert len(at) == 1 and at[0] // 12 == heap
    np.testing.assert_array_equal(flat["UMAP"][:36], visual[:, :2])
    again = space.projections(visual, semantic, neighbours=5, seed=1)
    space.projections(visual[:8], semantic)
    assert asked == [{"n_neighbors": n, "random_state": seed} for n, seed in ((5, 1), (5, 1), (7, 0))]
    for title, points in flat.items():
        np.testing.assert_array_equal(points, again[title])


def test_three_projections_colour_what_a_film_carries_rare_ones_on_top():
    points = np.arange(2.0 * (5 + 4)).reshape(9, 2)
    kind = np.array([2, 0, 1, 0, 2])
    fig = space.three_projections({"PCA": points}, kind, FINDINGS)
    dots, stars = fig.axes[0].collections[:2]
    order = [1, 3, 2, 0, 4]
    np.testing.assert_allclose(dots.get_offsets(), points[order])
    tones = [space.PALE, space.PALE, figures.SEEN, figures.UNSEEN, figures.UNSEEN]
    assert [to_hex(colour) for colour in dots.get_facecolors()] == tones
    assert [to_hex(colour) for colour in stars.get_facecolors()] == figures.colours(FINDINGS)
    names = ["no finding", "seen findings only", "an unseen finding", "anchor of a finding"]
    assert [text.get_text() for text in fig.legends[0].texts] == names


def test_separation_is_the_auroc_along_the_widest_axis():
    rng = np.random.default_rng(2)
    kind = rng.integers(0, 3, 50)
    visual = rng.normal(size=(50, 3)) * [3, 1, 1] + 1.0 * (kind > 0)[:, None]
    centred = visual - visual.mean(0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    pairs = [(a > b) + (a == b) / 2 for a in along[kind > 0] for b in along[kind == 0]]
    value = sum(pairs) / len(pairs)
    assert space.separation(visual, kind) == pytest.approx(max(value, 1 - value), abs=1e-9)
    assert 0.5 < space.separation(visual, kind) < 0.95


def test_company_is_the_loop_over_ill_neighbours_but_itself():
    rng = np.random.default_rng(3)
    visual, kind = rng.normal(size=(40, 2)), rng.integers(0, 3, 40)
    for k in (1, 4, 100):
        shares = []
        for i in np.flatnonzero(kind == 2):
            others = [j for j in range(40) if j != i and kind[j] > 0]
            others.sort(key=lambda j, i=i: np.linalg.norm(visual[j] - visual[i]))
            shares.append(np.mean([kind[j] == 2 for j in others[:k]]))
        assert space.company(visual, kind, k) == pytest.approx(np.mean(shares))
    assert space.company(visual, kind) == pytest.approx(space.company(visual, kind, 15))


def test_hits_count_twenty_unless_told_otherwise_and_keep_the_order_of_ties():
    rng = np.random.default_rng(4)
    distance, labels = rng.random((60, 4)), (rng.random((60, 4)) < 0.4).astype(int)
    keys = ["Mass", "Fibrosis"]
    shares = [labels[sorted(range(60), key=lambda i, c=c: distance[i, c])[:20], c].mean() for c in (0, 3)]
    table = space.hits({"signs": distance}, labels, FINDINGS, keys)
    assert table["signs"].tolist() == [f"{share:.0%}" for share in shares]
    assert table["by chance"].tolist() == [f"{labels[:, c].mean():.0%}" for c in (0, 3)]
    assert table.index.tolist() == keys and table.index.name == "of the 20 nearest films, right"
    assert space.mean_hits(distance, labels, FINDINGS, keys) == pytest.approx(np.mean(shares))


def test_hubs_are_bars_by_how_often_an_anchor_is_near_with_a_stroke_where_its_finding_occurs():
    table = pd.DataFrame({"finding": ["Mass", "Edema", "Hernia"], "among_3_nearest": [40, 10, 25],
                          "positives": [12, 30, 2]})  # fmt: skip
    fig, ax = plt.subplots()
    space.hubs(table, FINDINGS, 1_200, ax)
    assert [bar.get_width() for bar in ax.patches] == [10, 25, 40]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Edema", "Hernia", "Mass"]
    assert to_hex(ax.get_yticklabels()[0].get_color()) == to_hex(ax.patches[0].get_facecolor()) == figures.UNSEEN
    assert ax.lines[0].get_xydata().tolist() == [[30, 0], [2, 1], [12, 2]]
    assert "of 1,200" in ax.get_xlabel()
