"""What the book adds to its pages: folded parameters, mended bodies, formulas, terms."""

import json
import re
from types import SimpleNamespace
from unittest.mock import Mock

import check
import folding
import mathml
import mend
import pytest
from docutils import nodes
from sphinx.application import Sphinx


def cell(source, *tags):
    return {"cell_type": "code", "metadata": {"tags": list(tags)} if tags else {}, "source": source, "outputs": []}


def folded(tmp_path, *cells):
    path = tmp_path / "chapter.ipynb"
    path.write_text(json.dumps({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    folding.fold(path)
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def test_parameters_and_set_up_are_folded_and_what_was_injected_is_among_them(tmp_path):
    story = cell(["import time\n"])
    found = folded(tmp_path, cell(["gamma: float = 2.0  # focusing\n", "seed: int = 0"], "parameters"),
                   cell("# Parameters\ngamma = 3.0\n", "injected-parameters"), cell("import json\n", "remove-output"),
                   cell("print(gamma)"), story)  # fmt: skip
    assert len(found) == 4
    namespace = {}
    exec(found[0]["source"], namespace)
    assert namespace["gamma"] == 3.0 and namespace["seed"] == 0
    assert [sorted(one["metadata"].get("tags", [])) for one in found] == [
        ["hide-input", "parameters"], ["hide-input", "remove-output"], [], []]  # fmt: skip
    assert found[0]["metadata"]["mystnb"]["code_prompt_show"] == "Parameters"
    assert found[3] == story  # a later import is part of the story


def test_live_code_leaves_no_trace_in_a_page(tmp_path):
    (tmp_path / "index.rst").write_text("Title\n=====\n\nWords\n")
    app = Sphinx(tmp_path, None, tmp_path / "html", tmp_path / "trees", "html", {"extensions": "mend,sphinx_thebe"},
                 status=None, warning=None)  # fmt: skip
    assert "sphinx_thebe" in app.extensions
    app.build()
    assert "thebe" not in (tmp_path / "html/index.html").read_text(encoding="utf-8").lower()


def test_docstrings_reach_the_page_as_they_are_meant():
    long = "splits : ``auto`` (a list, if there is one, else as ``official``), ``official`` (test_list.txt; a seeded"
    rows = "One row per one-sided source, most films first: ``source``; ``train``, its films in train; normal or"
    lines = ["Decode.", "", "Parameters", "----------", long, "    hash takes 1/8), or a folder.", "size : int",
             "    Pixels.", "LastError : str", "    As it was said.",
             "", "Returns", "-------", rows, "abnormal; and the rest.", "", "Raises", "------",
             "ValueError, OSError : no film", "    that can be read.", "KeyError", "    No such name."]  # fmt: skip
    mend.prose(None, "function", "f", None, None, lines)
    assert lines == ["Decode.", "", "Parameters", "----------", long + " hash takes 1/8), or a folder.", "size : int",
                     "    Pixels.", "LastError : str", "    As it was said.",
             "", "Returns", "-------", rows + " abnormal; and the rest.", "", "Raises", "------",
                     "ValueError, OSError", "    no film", "    that can be read.", "KeyError",
                     "    No such name."]  # fmt: skip


def body(html, known=("notebooks/02", "book/plan")):
    app = SimpleNamespace(env=SimpleNamespace(found_docs=set(known)), builder=SimpleNamespace(format="html"))
    context = {"body": html}
    mend.mend(app, "notebooks/01", "page.html", context, None)
    return context["body"]


@pytest.mark.parametrize(
    ("given", "mended"),
    [
        ('href="02.ipynb"', 'href="02.html"'),
        ('href="../book/plan.md#aim"', 'href="../book/plan.html#aim"'),
        ('href="../_sources/notebooks/01.ipynb"', 'href="../_sources/notebooks/01.ipynb"'),
        ('href="https://example.org/a.md"', 'href="https://example.org/a.md"'),
    ],
)
def test_links_of_outputs_lead_to_pages(given, mended):
    assert body(f"<a {given}>x</a>") == f"<a {mended}>x</a>"


def test_code_keeps_its_text_line_by_line():
    code = 'def f():\n    <span class="k">return</span> 1\n<span class="w">  </span>y\n\nx = 2\n'
    found = body(f'<div class="highlight"><pre><span></span>{code}</pre></div>')
    assert found.count('<span class="line"') == 5 and found.count("--in:4ch") == found.count("--in:2ch") == 1
    plain = re.sub("<[^>]*>", "", found)
    assert plain == re.sub("<[^>]*>", "", code)


def test_table_headers_say_what_they_head():
    found = body('<table><thead><tr><th></th><th class="a">U</th></tr></thead><tbody><tr><th>CM-DML</th><td>1</td></tr>'
                 '<tr><th scope="colgroup">x</th></tr></tbody></table>')  # fmt: skip
    assert found.startswith('<table><thead><tr><td></td><th scope="col" class="a">U</th>')
    assert '<th scope="row">CM-DML</th>' in found and '<th scope="colgroup">x</th>' in found


def test_a_header_without_a_word_is_no_bar():
    empty = '<thead>\n<tr><th class="head"><p></p></th>\n<th class="head"><p></p></th></tr>\n</thead>'
    assert body(f"<table>{empty}<tbody><tr><td>x</td></tr></tbody></table>") == (
        "<table><tbody><tr><td>x</td></tr></tbody></table>")  # fmt: skip
    one = body(empty.replace("<p></p>", "<p>U</p>", 1))
    assert one.count("<td></td>") == 1 and '<th scope="col" class="head"><p>U</p></th>' in one


def test_what_unfolds_an_output_says_so():
    def fold(place, word):
        return (f'<details class="admonition hide {place}-input">\n<summary aria-label="Toggle hidden content">\n'
                f'<p class="collapsed admonition-title">Show {word}</p>\n'
                f'<p class="expanded admonition-title">Hide {word}</p>\n</summary>\nShow code</details>')  # fmt: skip

    assert body(fold("above", "code") + fold("below", "code")) == fold("above", "code") + fold("below", "output")


def test_the_name_of_the_rows_shares_the_line_of_the_headers():
    found = body('<thead>\n<tr style="text-align: right;"><th></th><th>U</th></tr>\n'
                 "<tr><th>scorer</th><th></th></tr></thead>")  # fmt: skip
    assert re.findall(r">(\w+)</th>", found) == ["scorer", "U"] and found.count("<tr>") == 1
    two = "<thead><tr><th></th><th>AUROC</th></tr><tr><th>scorer</th><th>U</th></tr></thead>"
    assert body(two).count("<tr>") == 2
    grouped = two.replace("<th>AUROC", '<th colspan="2">AUROC').replace("<th>scorer", "<th></th><th>")
    assert body(grouped).count("<tr>") == 2 and body(grouped).count("AUROC") == body(grouped).count(">U<") == 1


@pytest.mark.parametrize("interval", ["(0.52 to 0.57)", "[0.50, 0.61]", "(+0.003 to +0.021)", "(−0.1–0.2)"])
def test_intervals_of_a_table_stay_whole(interval):
    assert f'0.5 <span class="interval">{interval}</span>' in body(f"<tbody><tr><td>0.5 {interval}</td></tr></tbody>")
    assert "interval" not in body("<tbody><tr><td>two (a, b)</td></tr></tbody>") + body(f"<p>0.5 {interval}</p>")


@pytest.mark.parametrize(
    ("formula", "spaces"), [(r"\log p", 1), (r"\log(1-p)", 0), (r"\gamma\log(1-p)", 1), (r"2\log 2", 2), ("a + b", 0)]
)
def test_named_functions_keep_their_distance(formula, spaces):
    assert mathml.mathml(nodes.math(formula, formula), block=False).count('width="0.1667em"') == spaces


def test_brackets_of_a_given_size_keep_it_and_lone_ones_are_drawn_all_the_same():
    assert 'minsize="1.2em"' in mathml.mathml(nodes.math("", r"\bigl(x\bigr)"), block=True)
    assert mathml.mathml(nodes.math("", r"\Big[ x \\ y \Big]"), block=True).count("<mo") == 2


def test_a_formula_that_cannot_be_drawn_is_a_warning_which_stops_the_build(monkeypatch):
    log = Mock()
    monkeypatch.setattr(mathml.logging, "getLogger", lambda name: log)
    node = nodes.math("", r"\nosuchthing x")
    assert mathml.mathml(node, block=False) == ""
    (said,), about = log.warning.call_args
    assert said.startswith(r"\nosuchthing x: ") and about == {"location": node}
    assert len(log.mock_calls) == 1


def test_a_page_that_only_leads_on_is_told_from_one_to_look_at(tmp_path):
    (tmp_path / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=book/intro.html" />')
    (tmp_path / "intro.html").write_text('<!DOCTYPE html><html><head><meta charset="utf-8"></head></html>')
    assert check.leads_on(tmp_path / "index.html") and not check.leads_on(tmp_path / "intro.html")
