"""Look at the rendered book as a reader's browser does, and name what is wrong.

check.py [PAGES] [--only NAME ...] [--screenshots DIR]

Every page is opened as a file, without network, in the light and in the dark theme, 1,300 and 390 pixels wide. A fault
is a request that leaves the machine, an error in the console, a page that scrolls sideways, code that does not fit its
column on a wide screen, a box that scrolls and cannot be reached by keyboard, an issue that axe-core calls serious or
critical, and a link or an anchor that leads nowhere.
"""

import argparse
import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from browser import PATIENCE, browser

ROOT = Path(__file__).resolve().parents[1]
WIDTHS = (1300, 390)
THEMES = ("light", "dark")
NOT_PAGES = ("_static", "_sources", "_downloads", "_images", "reports")
# What a reader has unfolded: hidden text has faults, too.
UNFOLD = """() => {
  document.querySelectorAll('details').forEach(box => { box.open = true; });
  document.querySelectorAll('.toggle-hidden').forEach(box => box.classList.remove('toggle-hidden'));
}"""
TOO_WIDE = """() => {
  const room = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= room) return null;
  const clipped = e => e !== document.body && (getComputedStyle(e).overflowX !== 'visible' || clipped(e.parentElement));
  const out = [...document.querySelectorAll('main *')].filter(e =>
    e.getBoundingClientRect().right > room + 1 && !clipped(e.parentElement));
  const last = out.find(e => !out.some(other => other !== e && e.contains(other))) || document.body;
  return `${document.documentElement.scrollWidth} px, for one by ${last.outerHTML.slice(0, 100)}`;
}"""
CUT_OFF = """() => [...document.querySelectorAll('main pre')]
  .filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.textContent.trim().slice(0, 60))"""
UNREACHED = """() => [...document.querySelectorAll('main *')].filter(box =>
    box.scrollWidth > box.clientWidth + 1 && ['auto', 'scroll'].includes(getComputedStyle(box).overflowX)
    && !(box.tabIndex >= 0 && box.getAttribute('aria-label'))).map(box => box.outerHTML.slice(0, 100))"""


class Anchors(HTMLParser):
    """The ids of a page and what it links to."""

    def __init__(self, page: Path):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        self.links += [given[name] for name in ("href", "src") if given.get(name)]


def pages_of(folder: Path) -> list[Path]:
    """Every page of the book, not what its scripts bring along."""
    found = [p for p in sorted(folder.rglob("*.html")) if p.relative_to(folder).parts[0] not in NOT_PAGES]
    if not found:
        raise OSError(f"{folder} holds no page of the book: `make book` renders it.")
    return found


def leads_on(page: Path) -> bool:
    """Whether a page is nothing but the way to another."""
    return 'http-equiv="refresh"' in page.read_text(encoding="utf-8")[:200].lower()


def broken_links(folder: Path) -> list[str]:
    """Links, images and anchors of all pages that lead to nothing in ``folder``; other sites are not asked."""
    folder, read, faults = folder.resolve(), {}, []

    def anchors(page):
        if page not in read:
            read[page] = Anchors(page)
        return read[page]

    for page in pages_of(folder):
        for link in anchors(page).links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            named = f"{page.relative_to(folder)}: the link {link}"
            if not target.is_file() or not target.is_relative_to(folder):
                faults.append(f"{named} leads to no file")
            elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in anchors(target).ids:
                faults.append(f"{named} leads to no place of its page")
    return sorted(set(faults))


class Look:
    """One page in one theme: opened, listened to, measured."""

    def __init__(self, running, theme: str):
        self.theme, self.heard = theme, []
        self.context = running.new_context(color_scheme=theme, viewport={"width": WIDTHS[0], "height": 900},
                                           reduced_motion="reduce")  # fmt: skip
        self.context.add_init_script(f"for (const key of ['mode', 'theme']) localStorage.setItem(key, '{theme}');")
        self.context.route("**/*", self.local)
        self.context.set_default_timeout(PATIENCE)
        self.page = self.context.new_page()
        self.page.on("console", lambda said: said.type == "error" and self.heard.append(f"console: {said.text[:300]}"))
        self.page.on("pageerror", lambda error: self.heard.append(f"script: {str(error)[:300]}"))

    def local(self, route):
        url = route.request.url
        if urlsplit(url).scheme in ("file", "data", "blob"):
            route.continue_()
        else:
            self.heard.append(f"request to the network: {url[:200]}")
            route.abort()

    def open(self, path: Path) -> None:
        self.heard.clear()
        self.page.set_viewport_size({"width": WIDTHS[0], "height": 900})
        self.page.goto(path.resolve().as_uri())
        self.page.evaluate(UNFOLD)

    def measure(self, width: int) -> list[str]:
        """What does not fit, and what scrolls but cannot be reached by keyboard."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
        wide = self.page.evaluate(TOO_WIDE)
        faults = [f"scrolls sideways at {width} px: {wide}"] if wide else []
        if width == WIDTHS[0]:
            faults += [f"code runs out of its column: {text}" for text in self.page.evaluate(CUT_OFF)]
        return faults + [f"scrolls out of the keyboard's reach at {width} px: {box}"
                         for box in self.page.evaluate(UNREACHED)]  # fmt: skip

    def axe(self) -> list[str]:
        """Issues that axe-core calls serious or critical."""
        from axe_playwright_python.base import AXE_SCRIPT

        self.page.evaluate(AXE_SCRIPT)
        asked = {"resultTypes": ["violations"], "preload": False, "iframes": False}
        found = self.page.evaluate("asked => axe.run(asked)", asked)["violations"]
        return [f"axe {issue['id']} ({issue['impact']}): {issue['help']}: {len(issue['nodes'])} of "
                f"{json.dumps(issue['nodes'][0]['target'])} {issue['nodes'][0]['html'][:120]}"
                for issue in found if issue["impact"] in ("serious", "critical")]  # fmt: skip


def page_faults(look: Look, path: Path, screenshots: Path | None = None) -> list[str]:
    """What is wrong with one page in one theme."""
    look.open(path)
    faults = []
    for width in WIDTHS:
        faults += look.measure(width)
        faults += look.axe()
        if screenshots is not None:
            name = f"{path.parent.name}-{path.stem}-{width}-{look.theme}.png"
            look.page.screenshot(path=screenshots / name, full_page=True)
    return [f"{path.name}, {look.theme}: {fault}" for fault in dict.fromkeys([*look.heard, *faults])]


def check(folder: Path, only: list[str] = (), screenshots: Path | None = None, themes=THEMES) -> list[str]:
    """All faults of the pages in ``folder``; of those named ``only`` (stems), if given."""
    # index.html only leads on to the front page, and may do so in the middle of a question: its links alone are checked
    chosen = [path for path in pages_of(folder) if path.stem in only or not only and not leads_on(path)]
    missing = set(only) - {path.stem for path in chosen}
    if missing:
        raise OSError(f"{folder} holds no page called {', '.join(sorted(missing))}.")
    if screenshots is not None:
        screenshots.mkdir(parents=True, exist_ok=True)
    faults = broken_links(folder)
    with browser() as running:
        for theme in themes:
            look = Look(running, theme)
            for path in chosen:
                faults += page_faults(look, path, screenshots)
    return faults


def main() -> str | int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("pages", nargs="?", type=Path, default=ROOT / "_build/html", help="the rendered book")
    options.add_argument("--only", nargs="*", default=[], help="names of some pages, such as methods 01_data")
    options.add_argument("--screenshots", type=Path, help="folder for a picture of every page, width and theme")
    given = options.parse_args()
    try:
        faults = check(given.pages, given.only, given.screenshots)
    except OSError as error:
        return f"The book was not checked: {error}"
    print(*faults, sep="\n", end="\n" if faults else "")
    count = len(given.only) or len(pages_of(given.pages))
    return f"{len(faults)} faults in {count} pages" if faults else print(f"{count} pages, no fault.") or 0


if __name__ == "__main__":
    sys.exit(main())
