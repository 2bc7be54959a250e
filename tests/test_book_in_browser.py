"""The check of the rendered book sees what it is for: each fault is planted in a small page and named."""

import importlib.util
import shutil
from contextlib import nullcontext

import pytest
from browser import NAMES, browser, chromium
from check import Look, broken_links, check, page_faults

needs_chromium = pytest.mark.skipif(
    not any(map(shutil.which, NAMES)) or importlib.util.find_spec("playwright") is None,
    reason="no Chromium on this machine, or no Playwright for Python",
)
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width"></head><body><main><h1 id="top">A page</h1>{}</main></body></html>"""
WIDE = '<div style="width: 800px">{}</div>'
SCROLLS = f'<div style="overflow-x: auto"{{}}>{WIDE.format("many words")}</div>'


@pytest.fixture(scope="module")
def running():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def look(running):
    return Look(running, "light")


def faults(look, folder, body):
    page = folder / "page.html"
    page.write_text(PAGE.format(body), encoding="utf-8")
    return page_faults(look, page)


@needs_chromium
def test_a_page_without_fault_has_none(look, tmp_path):
    reached = SCROLLS.format(' tabindex="0" role="region" aria-label="Table"')
    assert faults(look, tmp_path, f'<p>Words, and a <a href="#top">link</a>.</p>{reached}') == []


@needs_chromium
@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('<script src="https://example.org/script.js"></script>', "request to the network: https://example.org/script.js"),
        ('<img alt="A film" src="http://example.org/film.png">', "request to the network"),
        ('<script>fetch("https://example.org/")</script>', "request to the network"),
        ("<script>console.error('no such thing')</script>", "console: no such thing"),
        ("<script>missing()</script>", "script: missing is not defined"),
        (WIDE.format("a wide box"), "scrolls sideways at 390 px"),
        (f"<details><summary>More</summary>{WIDE.format('in a fold')}</details>", "scrolls sideways at 390 px"),
        (f'<style>.toggle-hidden {{ display: none }}</style><div class="toggle-hidden">{WIDE.format("a cell")}</div>',
         "scrolls sideways at 390 px"),
        (f'<pre style="overflow: auto">{"x = 1; " * 300}</pre>', "code runs out of its column: x = 1;"),
        (SCROLLS.format(""), "scrolls out of the keyboard's reach at 390 px"),
        (SCROLLS.format(' tabindex="0"'), "scrolls out of the keyboard's reach at 390 px"),
        ('<p style="color: #aaa; background: #fff">faint words</p>', "axe color-contrast (serious)"),
        ('<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">', "axe image-alt (critical)"),
        ("<button></button>", "axe button-name (critical)"),
    ],
)
def test_a_planted_fault_is_named(look, tmp_path, body, named):
    found = faults(look, tmp_path, body)
    assert any(named in fault for fault in found), found


@needs_chromium
def test_each_theme_is_looked_at(running, tmp_path, monkeypatch):
    monkeypatch.setattr("check.browser", lambda: nullcontext(running))  # one at a time
    style = "<style>@media (prefers-color-scheme: dark) { p { color: #333; background: #000 } }</style>"
    (tmp_path / "page.html").write_text(PAGE.format(f"{style}<p>words</p>"), encoding="utf-8")
    found = check(tmp_path, screenshots=tmp_path / "pictures")
    assert found and all(fault.startswith("page.html, dark: axe color-contrast") for fault in found)
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 4


@pytest.mark.parametrize(
    ("link", "named"),
    [
        ("other.html", None),
        ("other.html#here", None),
        ("#top", None),
        ("https://example.org/nothing", None),
        ("nothing.html", "leads to no file"),
        ("other.html#nothing", "leads to no place of its page"),
        ("#nothing", "leads to no place of its page"),
        ("../outside.html", "leads to no file"),
    ],
)
def test_links_are_followed_to_their_place(tmp_path, link, named):
    folder = tmp_path / "html"
    folder.mkdir()
    (tmp_path / "outside.html").write_text(PAGE, encoding="utf-8")
    (folder / "other.html").write_text(PAGE.format('<p id="here">Here</p>'), encoding="utf-8")
    (folder / "page.html").write_text(PAGE.format(f'<a href="{link}">there</a>'), encoding="utf-8")
    found = broken_links(folder)
    assert (found == []) if named is None else (len(found) == 1 and named in found[0] and link in found[0])


def test_a_book_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(OSError, match="holds no page of the book: `make book` renders it"):
        broken_links(tmp_path)


def test_without_a_browser_one_sentence_says_how_to_get_one(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(OSError, match="no Chromium on this machine: install it"):
        chromium()
