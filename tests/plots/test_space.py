"""The joint space: what lies near what, counted by hand, and drawn as it was given."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from cmdml.findings import SeenUnseen
from cmdml.plots import figures, space

FINDINGS = SeenUnseen(("Mass", "Edema", "Hernia", "Fibrosis"), ("Edema", "Fibrosis"))


@pytest.fixture(autouse=True)
def in_the_book_s_style():
    """Whatever an earlier test left: titles stand on the left, as in the book."""
    with plt.rc_context():
        figures.style()
        yield
    plt.close("all")


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
