"""The system's Chromium, driven by Playwright: what looks at the book and what prints it start it here."""

import shutil
from contextlib import contextmanager

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
PATIENCE = 180_000  # milliseconds: a busy machine is no fault


def chromium() -> str:
    """Path of the system's Chromium; OSError if there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise OSError(
            "no Chromium on this machine: install it (Debian and Ubuntu: `sudo apt-get install chromium`; "
            "macOS: `brew install --cask chromium`), or put one of " + ", ".join(NAMES) + " on the PATH."
        )
    return found


@contextmanager
def browser():
    """A Chromium without a window; it is closed at the end. OSError where there is none."""
    from playwright.sync_api import sync_playwright

    path = chromium()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()
