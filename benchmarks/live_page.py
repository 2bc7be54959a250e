"""How long the live page takes in a browser: to load, for a film, for a heat map, for a turn of the switch.

    python benchmarks/live_page.py [--out FOLDER]

Medians over the phantoms of the tray, in headless Chromium, from a file. Nothing else should run meanwhile; the load of
the machine stands beside the numbers.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from statistics import median

from cmdml.files import write_json
from cmdml.study.run import ROOT, environment

sys.path.insert(0, str(ROOT / "book"))
from browser import browser  # noqa: E402

FILM = """(film) => {
    const start = performance.now();
    read(film, "signs", [0, 2]);
    return performance.now() - start;
}"""
HEAT = """async (film) => {
    const start = performance.now();
    await occlude(tray[film].pixels, nets.signs, () => false, () => {});
    return performance.now() - start;
}"""
SWITCH = """async () => {
    const start = performance.now();
    await load("shuffled");
    return performance.now() - start;
}"""


def measure() -> dict:
    """Milliseconds, by what is done."""
    with browser() as running:
        page = running.new_page()
        page.set_default_timeout(0)
        start = time.perf_counter()
        page.goto((ROOT / "book/_static/live/index.html").as_uri())
        page.uncheck("#heat")
        page.evaluate("ready")
        loaded = 1000 * (time.perf_counter() - start)
        films = page.evaluate("tray.filter((film) => film.pixels).length")
        page.evaluate(FILM, 0)  # compiled by now
        return {
            "load_ms": loaded,
            "film_ms": median(page.evaluate(FILM, film) for film in range(films)),
            "heat_map_ms": median(page.evaluate(HEAT, film) for film in range(3)),
            "switch_ms": page.evaluate(SWITCH),
            "films": films,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "data/results/live")
    out = parser.parse_args().out
    before = os.getloadavg()[0]
    found = measure()
    write_json(out / "speed.json", found | {"load_average": before} | environment())
    print(", ".join(f"{name} {value:.0f}" for name, value in found.items()), f"(load of the machine {before:.1f})")


if __name__ == "__main__":
    main()
