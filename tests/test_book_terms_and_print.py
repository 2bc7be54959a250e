"""Terms that a page explains, formulas with their numbers, and the book on paper."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pdf
import pytest
import terms
from browser import NAMES
from sphinx.application import Sphinx

from cmdml.study.places import ROOT

needs_chromium = pytest.mark.skipif(
    not any(map(shutil.which, NAMES)) or importlib.util.find_spec("playwright") is None,
    reason="no Chromium on this machine, or no Playwright for Python",
)
GLOSSARY = """
Glossary
========

.. glossary::

   extractor
      What makes *features*, where 1 < 2.

   visual feature extractor
   eye
      With :math:`a + b`.

   hub
      A word of everyday, and no extractor.
"""
PAGE = """
Extractor
=========

=========  ====
extractor  here
=========  ====

``extractor`` and pre-extractor. A visual feature extractor, and Extractors, and extractors again; a hub, and an eye.

.. math::
   :label: first

   x = 1

A formula :math:`y` stands in a line.
"""


def built(folder, glossary=True):
    """The pages of a small book with terms, {name: HTML}, and its folder."""
    (folder / "notebooks").mkdir(parents=True)
    (folder / "book").mkdir()
    about = ".. toctree::\n   :hidden:\n\n   notebooks/page\n   notebooks/own\n   book/glossary\n"
    (folder / "index.rst").write_text(f"Start\n=====\n\nAn extractor.\n\n{about}")
    (folder / "notebooks/page.rst").write_text(PAGE)
    (folder / "notebooks/own.rst").write_text("Own\n===\n\nA :term:`hub` and the :term:`extractor`, an extractor.\n")
    (folder / "book/glossary.rst").write_text(GLOSSARY if glossary else "Other\n=====\n")
    if not glossary:
        (folder / "book/glossary.rst").rename(folder / "book/other.rst")
        (folder / "notebooks/own.rst").write_text("Own\n===\n\nAn extractor.\n")
    app = Sphinx(folder, None, folder / "html", folder / "trees", "html", status=None, warning=None,
                 confoverrides={"extensions": ["mathml", "terms"], "html_math_renderer": "mathml"})  # fmt: skip
    app.build()
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (folder / "html").rglob("*.html")}
    return pages, folder / "html"


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    return built(tmp_path_factory.mktemp("terms") / "book")


def links(page):
    """[(anchor, words)] of a page's links to the glossary."""
    body = page.partition('<div class="body"')[2].partition("sphinxsidebar")[0]
    found = re.findall(r'<a class="reference internal" href="([^"]*glossary\.html)#([^"]+)"[^>]*>(.*?)</a>', body)
    return [(path, anchor, re.sub("<[^>]*>", "", words)) for path, anchor, words in found]


def test_the_first_use_of_a_term_in_prose_leads_to_the_glossary_and_no_other(book):
    pages, _ = book
    assert links(pages["page"]) == [
        ("../book/glossary.html", "term-visual-feature-extractor", "visual feature extractor"),
        ("../book/glossary.html", "term-extractor", "Extractors"),
        ("../book/glossary.html", "term-eye", "eye"),
    ]
    assert links(pages["index"]) == [("book/glossary.html", "term-extractor", "extractor")]
    assert "and no extractor." in pages["glossary"]  # where the words are, they lead nowhere


def test_of_two_terms_that_begin_alike_the_longer_is_meant():
    names = {"deep regression": "a", "deep regression module": "b", "deep": "c"}
    for text, term in (("A Deep Regression modules", "deep regression module"), ("so deep", "deep"),
                       ("deep regression.", "deep regression"), ("deeper, deep-set", None), ("", None)):  # fmt: skip
        found = terms.first_of(names, text)
        assert (found and found[1].lower()) == term
    assert terms.first_of({}, "deep") is None


def test_a_writer_s_own_link_is_the_only_one(book):
    assert links(book[0]["own"]) == [("../book/glossary.html", "term-hub", "hub"),
                                     ("../book/glossary.html", "term-extractor", "extractor")]  # fmt: skip


def test_definitions_are_in_a_script_of_the_book_and_both_scripts_wait(book):
    pages, folder = book
    text = (folder / "_static/terms-data.js").read_text(encoding="utf-8")
    told = json.loads(text.removeprefix("window.TERMS = ").removesuffix(";\n"))
    assert list(told) == ["term-extractor", "term-visual-feature-extractor", "term-eye", "term-hub"]
    assert told["term-extractor"] == "What makes features, where 1 &lt; 2."
    assert told["term-eye"] == told["term-visual-feature-extractor"] and "<math" in told["term-eye"]
    for name in ("terms-data.js", "terms.js"):
        assert re.search(rf'<script defer="defer" src="_static/{name}[^"]*"></script>', pages["index"])
    assert (ROOT / "book/_static/terms.js").is_file()


def test_a_book_without_a_glossary_has_no_terms(tmp_path):
    pages, folder = built(tmp_path / "book", glossary=False)
    assert not links(pages["page"]) and not (folder / "_static/terms-data.js").exists()


def test_a_numbered_formula_has_its_number_and_one_in_a_line_has_none(book):
    body = book[0]["page"]
    numbered = r'<div class="math" id="equation-first">\s*<span class="eqno">\(1\)</span><math[^>]*display="block"'
    assert re.search(numbered, body) and body.count("eqno") == 1
    assert len(re.findall(r'<div class="math"', body)) == 1 and len(re.findall("<math", body)) == 2


def test_pages_are_joined_by_sphinx_into_one(monkeypatch, tmp_path):
    asked = []

    def run(words, **how):
        asked.append(words)
        folder = Path(words[words.index("--path-output") + 1])
        for name in made:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
        return SimpleNamespace(returncode=code, stdout="some words " * 200, stderr="and the last")

    monkeypatch.setattr(subprocess, "run", run)
    made, code = ("_build/singlehtml/a.html", "_build/singlehtml/book/intro.html"), 0
    page = pdf.one_page(Path("runs/mine/book"), tmp_path / "one")
    assert page == tmp_path / "one/_build/singlehtml/all-pages.html" and page.read_text() == made[1]
    (words,) = asked
    assert words[0] == str(Path(sys.executable).with_name("jupyter-book")) and words[1] == "build"
    assert words[words.index("--builder") + 1] == "custom"
    assert words[words.index("--custom-builder") + 1] == "singlehtml"
    assert words[-1] == "runs/mine/book"
    made = made[:1]
    assert pdf.one_page(Path("b"), tmp_path / "two").read_text() == made[0]
    for made, code in (((), 0), (("_build/singlehtml/book/intro.html",), 1)):  # noqa: B007 - run reads them
        with pytest.raises(OSError, match="could not join the pages of runs/b: .*and the last$") as stopped:
            pdf.one_page(Path("runs/b"), tmp_path / f"none{code}")
        assert len(str(stopped.value)) < 1600


@needs_chromium
def test_the_pdf_is_tagged_has_an_outline_and_numbers_a4_pages(tmp_path):
    (tmp_path / "page.html").write_text('<html lang="en"><title>T</title><h1>One</h1><p>a</p><h1 style="break-before: '
                                        'page">Two</h1><p>b</p></html>')  # fmt: skip
    out = pdf.print_page(tmp_path / "page.html", tmp_path / "there/book.pdf")
    content = out.read_bytes()
    assert out == tmp_path / "there/book.pdf" and content.startswith(b"%PDF")
    whole = content + b"".join(inflated(content))
    assert b"/StructTreeRoot" in whole and b"/Outlines" in whole and b"/Marked true" in whole
    assert len(re.findall(rb"/Type\s*/Page\b", whole)) == 2
    width, height = map(float, re.search(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", whole).groups())
    assert (width, height) == pytest.approx((595, 842), abs=1.5)


def inflated(content):
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", content, re.S):
        try:
            yield zlib.decompress(stream)
        except zlib.error:
            continue


def test_a_page_is_printed_in_light_colours_with_its_fonts_and_a_number_below(monkeypatch, tmp_path):
    done = []

    class Tab:
        def __getattr__(self, name):
            return lambda *given, **named: done.append((name, given, named))

        def pdf(self, path, **named):
            done.append(("pdf", named))
            Path(path).write_bytes(b"%PDF")

    @contextmanager
    def browser():
        yield SimpleNamespace(new_page=lambda **named: done.append(("new_page", named)) or Tab())

    monkeypatch.setattr(pdf, "browser", browser)
    pdf.print_page(tmp_path / "page.html", tmp_path / "book.pdf")
    names = [entry[0] for entry in done]
    assert done[0] == ("new_page", {"color_scheme": "light", "reduced_motion": "reduce"})
    assert names.index("goto") < names.index("evaluate") < names.index("pdf") and "fonts.ready" in str(done)
    assert done[names.index("goto")][1] == ((tmp_path / "page.html").as_uri(),)
    assert done[names.index("emulate_media")][2] == {"media": "print"}
    named = done[names.index("pdf")][1]
    assert 'class="pageNumber"' in named["footer_template"] and "Number" not in named["header_template"]
    assert named["display_header_footer"] and named["print_background"] and named["format"] == "A4"
    assert named["margin"]["bottom"] == "18mm"


def test_the_book_of_the_profile_is_printed_or_one_sentence_says_why_not(monkeypatch, tmp_path, capsys):
    asked = []
    monkeypatch.setattr(pdf, "ROOT", tmp_path)
    monkeypatch.setattr(pdf, "chromium", lambda: asked.append("chromium"))
    monkeypatch.setattr(pdf, "one_page", lambda source, folder: asked.append(source) or folder / "all.html")

    def print_page(page, out):
        asked.append((page.name, page.parent.is_dir()))
        out.write_bytes(b"x" * 2_340_000)
        return out

    monkeypatch.setattr(pdf, "print_page", print_page)
    monkeypatch.setattr(sys, "argv", ["pdf.py", "mine", "--out", str(tmp_path / "to/book.pdf")])
    assert pdf.main() == (f"No PDF was printed: {tmp_path}/runs/mine/book holds no book: "
                          "`make book PROFILE=mine` lays it out.")  # fmt: skip
    assert asked == ["chromium"] and not (tmp_path / "to").exists()
    (tmp_path / "runs/mine/book").mkdir(parents=True)
    (tmp_path / "runs/mine/book/_toc.yml").touch()
    assert pdf.main() is None
    assert asked[1:] == ["chromium", tmp_path / "runs/mine/book", ("all.html", True)]
    assert capsys.readouterr().out == f"Printed: {tmp_path / 'to/book.pdf'} (2.3 MB)\n"
    monkeypatch.setattr(sys, "argv", ["pdf.py"])
    assert "make book PROFILE=phantom" in pdf.main()

    def missing():
        raise OSError("no Chromium on this machine")

    monkeypatch.setattr(pdf, "chromium", missing)
    assert pdf.main() == "No PDF was printed: no Chromium on this machine"
