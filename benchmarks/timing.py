"""What every benchmark shares: interleaved repeats, medians with their spread, one table, one results file."""

import argparse
import json
import statistics
import time
from pathlib import Path

import pandas as pd

from cmdml.files import sealed, write_json
from cmdml.study.run import environment


def arguments(doc: str, **options) -> argparse.Namespace:
    """Parse ``--repeats``, ``--out`` and an option of the default's type for each keyword."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="folder for the results file")
    for name, default in options.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default)
    return parser.parse_args()


def measure(methods: dict, repeats: int, items: int = 1, clock=time.perf_counter) -> list[dict]:
    """Time every method ``repeats`` times, in turns so that a busy minute meets all of them; one unrecorded turn first.

    Returns one row per method: median, fastest and slowest seconds, items per second, and ``ratio``, the median over
    the last method's median (how many times faster than it). ``clock`` may be ``time.process_time``, for work of one
    core on a machine that others use, too.
    """
    times = {name: [] for name in methods}
    for turn in range(repeats + 1):
        for name, method in methods.items():
            start = clock()
            method()
            if turn:
                times[name].append(clock() - start)
    base = statistics.median(list(times.values())[-1])
    return [
        {
            "method": name,
            "seconds": statistics.median(t),
            "fastest": min(t),
            "slowest": max(t),
            "per_second": items / statistics.median(t),
            "ratio": base / statistics.median(t),
        }
        for name, t in times.items()
    ]


def report(benchmark: str, rows: list[dict], out: Path | None, **about) -> None:
    """Print the table; with ``out``, write ``<out>/<benchmark>.json`` with machine, versions and commit, sealed."""
    print(benchmark, json.dumps(about))
    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda x: f"{x:.4g}"), flush=True)
    if out:
        write_json(out / f"{benchmark}.json", sealed({"benchmark": benchmark, **about, "rows": rows, **environment()}))
