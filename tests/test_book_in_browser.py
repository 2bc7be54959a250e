"""The check of the rendered book sees what it is for: each fault is planted in a small page and named."""

import importlib.util
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
from browser import NAMES, browser, chromium
from check import Look, broken_links, check, main, page_faults, pages_of

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
    code = f'<pre style="overflow: auto" tabindex="0" role="region" aria-label="Code">{"x = 1; " * 10}</pre>'
    link = '<p>Words, and a <a href="#top">link</a>.</p>'
    assert faults(look, tmp_path, link + reached + code) == []  # code may scroll on a phone


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
        ("<style>@media (max-width: 400px) { p { color: #aaa; background: #fff } }</style><p>faint on a phone</p>",
         "axe color-contrast (serious)"),
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
        ("//example.org/nothing", None),
        ("other.html#named", None),
        ("other.html#%C3%BCber", None),
        ("two%20words.html", None),
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
    (folder / "other.html").write_text(PAGE.format('<p id="here">Here</p><a name="named"></a><p id="über">There</p>'),
                                       encoding="utf-8")  # fmt: skip
    (folder / "two words.html").write_text(PAGE, encoding="utf-8")
    (folder / "page.html").write_text(PAGE.format(f'<a href="{link}">there</a>'), encoding="utf-8")
    found = broken_links(folder)
    assert (found == []) if named is None else (len(found) == 1 and named in found[0] and link in found[0])


def test_a_picture_that_is_not_there_is_a_broken_link(tmp_path):
    (tmp_path / "a.png").write_bytes(b"a picture")
    page = PAGE.format('<img alt="" src="a.png"><img alt="" src="b.png">')
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    assert broken_links(tmp_path) == ["page.html: the link b.png leads to no file"]


def test_a_book_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(OSError, match="holds no page of the book: `make book` renders it"):
        broken_links(tmp_path)


def test_without_a_browser_one_sentence_says_how_to_get_one(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(OSError, match="no Chromium on this machine: install it"):
        chromium()


def little(folder, *names):
    folder.mkdir()
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(PAGE.format('<a href="nothing.html">there</a>'), encoding="utf-8")
    return folder


def test_pages_are_those_of_the_book_and_not_what_comes_with_it(tmp_path):
    folder = little(tmp_path / "html", "a.html", "book/b.html", "_static/c.html", "_sources/d.html",
                    "_downloads/e.html", "_images/f.html", "reports/g.html", "book/_static/h.html")  # fmt: skip
    names = [str(page.relative_to(folder)) for page in pages_of(folder)]
    assert names == ["a.html", "book/_static/h.html", "book/b.html"]


def test_only_the_named_pages_are_looked_at_and_the_links_of_all(monkeypatch, tmp_path):
    folder, seen = little(tmp_path / "html", "a.html", "b.html", "index.html"), []
    (folder / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=a.html">')
    monkeypatch.setattr("check.browser", lambda: nullcontext("running"))
    monkeypatch.setattr("check.Look", lambda running, theme: (running, theme))
    monkeypatch.setattr("check.page_faults", lambda look, path, shots: seen.append((look, path.stem)) or [
        f"{path.stem} {look[1]} {shots}"])  # fmt: skip
    links = [f"{name}.html: the link nothing.html leads to no file" for name in "ab"]
    assert check(folder) == links + [f"{name} {theme} None" for theme in ("light", "dark") for name in "ab"]
    assert {look[0] for look, _ in seen} == {"running"}
    assert check(folder, ["b"], themes=("dark",)) == [*links, "b dark None"]
    assert check(folder, ["index"], themes=("dark",)) == [*links, "index dark None"]  # who names it gets it
    with pytest.raises(OSError, match="holds no page called c, d"):
        check(folder, ["d", "a", "c"])


@pytest.mark.parametrize(
    ("words", "found", "said", "code"),
    [
        ([], [], "2 pages, no fault.\n", 0),
        ([], ["a: x", "b: y", "b: z"], "a: x\nb: y\nb: z\n", "3 faults in 2 pages"),
        (["--only", "a"], ["a: x"], "a: x\n", "1 faults in 1 pages"),
        ([], OSError("no Chromium"), "", "The book was not checked: no Chromium"),
    ],
)
def test_faults_are_printed_and_counted(monkeypatch, tmp_path, capsys, words, found, said, code):
    folder, asked = little(tmp_path / "html", "a.html", "b.html"), []

    def look(*given):
        asked.append(given)
        if isinstance(found, OSError):
            raise found
        return found

    monkeypatch.setattr("check.check", look)
    monkeypatch.setattr("sys.argv", ["check.py", str(folder), *words, "--screenshots", "shots"])
    assert main() == code and capsys.readouterr().out == said
    assert asked == [(folder, words[1:], Path("shots"))]


@needs_chromium
def test_what_was_heard_of_one_page_is_not_said_of_the_next(look, tmp_path):
    assert faults(look, tmp_path, "<script>console.error('once')</script><script>console.error('once')</script>") == [
        "page.html, light: console: once"]  # fmt: skip
    assert faults(look, tmp_path, "<script>console.log('words')</script>") == []
