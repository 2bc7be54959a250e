"""One cell of a notebook, run alone with what it is given; and what tests of cells read off."""

import ast
import json
import re
from types import SimpleNamespace
from unittest.mock import Mock

import matplotlib.pyplot as plt

from cmdml.plots import figures
from cmdml.study import run

# A clock that stands still, for cells that say how long they took.
NOW = 1_000_000.0
CLOCK = SimpleNamespace(time=lambda: NOW)


def cell(notebook, which, /, **given):
    """What a cell of a notebook leaves behind; ``final`` is its last expression, ``said`` the text or table of that."""
    cells = json.loads((run.ROOT / f"notebooks/{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [ast.parse("".join(one["source"])).body for one in cells if one["cell_type"] == "code"]
    imports = [line for body in code for line in body if isinstance(line, ast.Import | ast.ImportFrom)]
    here = {}
    exec(compile(ast.Module(imports, []), notebook, "exec"), here)
    here |= given
    (body,) = [ast.parse("".join(one["source"])).body for one in cells if one["id"] == which]
    body = [line for line in body if not isinstance(line, ast.Import | ast.ImportFrom)]  # what is given stays
    if body and isinstance(body[-1], ast.Expr):
        body[-1] = ast.copy_location(ast.Assign([ast.Name("final", ast.Store())], body[-1].value), body[-1])
    exec(compile(ast.fix_missing_locations(ast.Module(body, [])), which, "exec"), here)
    here["said"] = getattr(here.get("final"), "data", None)
    plt.close("all")
    return here


def drawing():
    """``cmdml.plots.figures`` that writes down what it is asked to draw."""
    drawn = Mock(WIDTH=7.2, SEEN=figures.SEEN, UNSEEN=figures.UNSEEN)
    drawn.words, drawn.colours = figures.words, figures.colours
    return drawn


def numbers(text):
    """The numbers of a sentence, as they are printed."""
    return re.findall(r"[+−-]?\d[\d,.]*(?:\.\d+)?%?(?<![.,])", text)


def printed(styler):
    """The cells of a styled table as a reader sees them, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", styler.to_html(), re.S)
    cells = [[" ".join(one.split()) for one in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)] for row in rows]
    return [row for row in cells if row]


def titles(fig):
    """The titles of a figure's axes; the book puts them left."""
    return [ax.get_title("left") + ax.get_title() + ax.get_title("right") for ax in fig.axes]
