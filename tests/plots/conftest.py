"""What the tests of figures share: no window, an axes that is really drawn, the style of the book."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

from cmdml.plots import figures


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    fig.canvas.draw()  # what cannot be drawn fails here
    plt.close("all")


@pytest.fixture
def in_the_book_s_style():
    """Whatever an earlier test left: titles stand on the left, as in the book."""
    with plt.rc_context():
        figures.style()
        yield
    plt.close("all")
