"""Print the book to one PDF, with its outline and with tags for screen readers: pdf.py [PROFILE] [--out FILE]

The pages are those that `make book` laid out in runs/PROFILE/book; Sphinx joins them and the system's Chromium prints.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from browser import PATIENCE, browser, chromium

from cmdml.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
FOOTER = '<div style="width: 100%; font-size: 8px; text-align: center"><span class="pageNumber"></span></div>'


def one_page(source: Path, folder: Path) -> Path:
    """Render the laid-out book as one page in ``folder``; OSError with Sphinx's last words if that fails."""
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "--path-output", str(folder), "-q"]
    done = subprocess.run([*command, "--builder", "custom", "--custom-builder", "singlehtml", str(source)],
                          capture_output=True, text=True)  # fmt: skip
    pages = sorted(folder.glob("_build/singlehtml/**/intro.html")) or sorted(folder.glob("_build/singlehtml/*.html"))
    if done.returncode or not pages:
        raise OSError(f"Sphinx could not join the pages of {source}: {(done.stdout + done.stderr)[-1500:]}")
    # Sphinx writes it into the folder of the first page, with links that start a folder higher.
    return Path(shutil.copy2(pages[0], folder / "_build/singlehtml/all-pages.html"))


def print_page(page: Path, out: Path) -> Path:
    """``page`` as a tagged PDF on A4 with an outline, whole or not at all."""
    with browser() as running:
        tab = running.new_page(color_scheme="light", reduced_motion="reduce")
        tab.set_default_timeout(PATIENCE)
        tab.goto(page.resolve().as_uri())
        tab.evaluate("() => document.fonts.ready.then(() => null)")
        tab.emulate_media(media="print")
        margin = {"top": "16mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
        return write_whole(out, lambda path: tab.pdf(
            path=path, format="A4", margin=margin, print_background=True, tagged=True, outline=True,
            display_header_footer=True, header_template="<span></span>", footer_template=FOOTER))  # fmt: skip


def main() -> str | None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("profile", nargs="?", default="phantom")
    options.add_argument("--out", type=Path, default=ROOT / "_build/cmdml.pdf")
    given = options.parse_args()
    source = ROOT / "runs" / given.profile / "book"
    try:
        chromium()  # before the minute that joining takes
        if not (source / "_toc.yml").is_file():
            raise OSError(f"{source} holds no book: `make book PROFILE={given.profile}` lays it out.")
        given.out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            out = print_page(one_page(source, Path(folder)), given.out)
    except OSError as error:
        return f"No PDF was printed: {error}"
    print(f"Printed: {out} ({out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    sys.exit(main())
