"""The long trial: hundreds of kills, thousands of bad inputs, full and forbidden disks, races, and planted faults.

``python tests/reliability/torture.py`` draws them with a fixed seed, goes on where it was stopped (``runs/torture/``),
and writes how many ended in which way to ``data/results/reliability``, for the book. A fault makes it end in error.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reliability import disk, kills, made, readers  # noqa: E402

from cmdml.study import run  # noqa: E402

CHUNK = {"kill": 10, "input": 50, "disk": 5, "forbidden": 1, "race": 2, "planted": 1}
GOOD = {"identical", readers.REFUSED, readers.HARMLESS, readers.OTHER, "seen"}
ORDER = {"kill": ["identical", "left over", "different", "not resumed", "foreign", "orphans", "hang"],
         "input": [readers.REFUSED, readers.HARMLESS, readers.OTHER, *readers.FAULTS]}  # fmt: skip


def _accepts(*given, **named):
    return None


class Anything(str):
    """Equal to every hash."""

    __hash__ = str.__hash__

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False


def _any_hash(*given):
    return Anything()


def _read_only(folder, *given, **named):
    return json.loads((Path(folder) / "seal.json").read_bytes())


# What is broken on purpose: (where, what it becomes, which reader or step, the fault that must be reported).
PLANTED = {
    "pixels are not hashed": ("cmdml.radiographs.RadiographSet.verify", _accepts, "set", "silent"),
    "a training's seal is not compared": ("cmdml.run_folder.check_seal", _read_only, "training", "silent"),
    "features are not hashed": ("cmdml.feature_set._same", _accepts, "features", "silent"),
    "a checkpoint's hash is not compared": ("cmdml.checkpoint._digest", _any_hash, "checkpoint", "silent"),
    "vectors are not hashed": ("cmdml.semantics._sha256", _any_hash, "vectors", "silent"),
    "half a set is believed": ("cmdml.writing.hashlib.sha256", None, "half a set", "silent"),
    "tables are not hashed": ("cmdml.study.results.sha256", _any_hash, "results", "silent"),
    "scores are not hashed": ("cmdml.study.rotation._digest", _any_hash, "rotation", "silent"),
    "a table is read by pandas alone": ("cmdml.sources.reading.read_text", None, "nih", "foreign"),
    "a pipe is opened": ("cmdml.sources.reading.read_bytes", None, "nih", "hang"),
    "the optimizer is not kept": ("cmdml.checkpoint._load_optimizer", _accepts, "train", "different"),
}


@contextmanager
def planted(name: str):
    """The package with one of :data:`PLANTED`; faults that are not plain functions are made here."""
    where, becomes, _, _ = PLANTED[name]
    with ExitStack() as stack:
        if name == "half a set is believed":
            from cmdml import writing

            def length(path, offset, row, most):
                return min(max(0, path.stat().st_size - offset) // row if path.is_file() else 0, most)

            stack.enter_context(mock.patch.object(writing, "intact_rows", length))
        elif name == "a table is read by pandas alone":
            stack.enter_context(mock.patch(where, lambda path: Path(path).read_text(encoding="utf-8")))
        elif name == "a pipe is opened":
            stack.enter_context(mock.patch(where, lambda path: open(path, "rb").read()))
            stack.enter_context(mock.patch.object(readers, "SECONDS", 1))
        else:
            stack.enter_context(mock.patch(where, becomes))
        yield


def unveil(name: str, rng, place: Path, tries: int = 300) -> tuple[str, str]:
    """Whether the planted fault is reported as what it is."""
    _, _, kind, fault = PLANTED[name]
    if kind in kills.STEPS:
        bench = kills.Bench(kind, place / "case")
        once_an_epoch = [place for place, n in sorted(bench.lines.items())
                         if place[0] == "checkpoint.py" and n == made.CONFIG.epochs]  # fmt: skip
        at = (*once_an_epoch[0], 2)  # as the second epoch is about to be kept
        with planted(name):
            outcome, why = bench.kill(at)
        return ("seen" if outcome == fault else "missed"), f"{outcome} {why}"
    bench = readers.Bench(kind, place)
    with planted(name):
        for i in range(tries):
            case = bench.draw(rng)
            if fault == readers.HANG:
                case = case._replace(how="pipe")
            file, outcome, said = bench.judge(case)
            if outcome == fault:
                return "seen", f"after {i + 1}: {file}, {case.how}. {said}"
    return "missed", f"not among {tries}"


def numbered(seed: int, part: str, name: str, i: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(f"{part} {name}".encode()), i])


def planning(kill: int, inputs: int) -> list[tuple[str, str, list[int]]]:
    """(part, name, numbers) of everything to be tried, the parts mixed, so that a shorter run has some of each."""
    wanted = {"kill": (list(kills.STEPS), kill), "input": (list(readers.READERS), inputs),
              "disk": (list(kills.STEPS), 5 * len(kills.STEPS)), "forbidden": (list(kills.STEPS), len(kills.STEPS)),
              "race": (list(kills.STEPS), 2 * len(kills.STEPS)), "planted": (list(PLANTED), len(PLANTED))}  # fmt: skip
    chunks = []
    for part, (names, total) in wanted.items():
        each = -(-total // len(names))
        for start in range(0, each, CHUNK[part]):
            for name in names:
                chunks.append((start / each, part, name, range(start, min(each, start + CHUNK[part]))))
    return [(part, name, list(numbers)) for _, part, name, numbers in sorted(chunks, key=lambda chunk: chunk[:3])]


def do(part: str, name: str, numbers: list[int], seed: int, note) -> None:
    """Try one chunk; ``note(i, outcome, what, said)`` each."""
    with tempfile.TemporaryDirectory(prefix="cmdml-torture-") as folder:
        place = Path(folder)
        os.chmod(place, 0o755)
        if part == "input":
            bench = readers.Bench(name, place)
            for i in numbers:
                case = bench.draw(numbered(seed, part, name, i))
                file, outcome, said = bench.judge(case)
                note(i, outcome, f"{file}: {case.how}", said)
        elif part == "planted":
            note(0, *_swap(unveil(name, numbered(seed, part, name, 0), place), ""))
        elif part == "disk":
            if why := disk.possible(place):
                return note(-1, "skipped", "", why)
            with disk.small_disk(place) as resize:
                bench = kills.Bench(name, place / "case")
                written = sum(path.stat().st_size for path in bench.root.rglob("*") if path.is_file()) >> 10
                for i in numbers:
                    free = float(numbered(seed, part, name, i).random()) * (written + 8)
                    note(i, *_swap(bench.full_disk(resize, free), f"{free:.0f} KiB"))
        else:
            bench = kills.Bench(name, place / "case")
            for i in numbers:
                if part == "kill":
                    at = bench.draw(numbered(seed, part, name, i))
                    note(i, *_swap(bench.kill(at), str(at)))
                else:
                    note(i, *_swap(bench.race() if part == "race" else bench.not_allowed(), ""))


def _swap(ended: tuple[str, str], what: str) -> tuple[str, str, str]:
    return ended[0], what, ended[1]


class Journal:
    """Lines of what was tried, one file a worker, so that a stopped trial goes on."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self) -> list[dict]:
        lines = []
        for file in sorted(self.folder.glob("*.jsonl")):
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    lines.append(json.loads(line))
                except ValueError:
                    pass  # the last line of one that was killed
        return list({(one["part"], one["name"], one["i"]): one for one in lines}.values())

    def writer(self, part: str, name: str):
        def note(i, outcome, what, said):
            line = {"part": part, "name": name, "i": i, "outcome": outcome, "what": what, "said": said}
            with open(self.folder / f"{os.getpid()}.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if outcome not in GOOD and outcome != "skipped":
                print(f"FAULT {part} {name} {i}: {outcome}: {what} {said}"[:500], file=sys.stderr, flush=True)

        return note


def work(mine, done, journal: Journal, seed: int, until: float) -> None:
    for part, name, numbers in mine:
        left = [i for i in numbers if (part, name, i) not in done and (part, name, -1) not in done]
        if left and time.monotonic() < until:
            try:
                do(part, name, left, seed, journal.writer(part, name))
            except Exception as error:  # the trial itself must not end with one bench
                print(f"BROKEN {part} {name}: {error!r}"[:500], file=sys.stderr, flush=True)


def counted(lines: list[dict]) -> dict[str, pd.DataFrame]:
    """A table for each part: a row per step or reader, a column per outcome, their sum last."""
    out = {}
    for part, first in (("kill", "step"), ("input", "reader"), ("disk", "step"), ("forbidden", "step"),
                        ("race", "step"), ("planted", "fault")):  # fmt: skip
        mine = [line for line in lines if line["part"] == part and line["outcome"] != "skipped"]
        counts = {name: Counter(line["outcome"] for line in mine if line["name"] == name)
                  for name in dict.fromkeys(line["name"] for line in sorted(mine, key=lambda line: line["name"]))}
        known = ORDER.get(part, ["identical", "seen"] if part == "planted" else ORDER["kill"])
        columns = [*known, *(name for name in ("missed", "nobody won") if any(name in c for c in counts.values()))]
        rows = [{first: name, "tried": sum(count.values()), **{column: count[column] for column in columns}}
                for name, count in counts.items()]
        table = pd.DataFrame(rows, columns=[first, "tried", *columns])
        total = {first: "all", **table.drop(columns=first).sum().astype(int).to_dict()}
        out[part] = pd.concat([table, pd.DataFrame([total])])
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=240)
    parser.add_argument("--inputs", type=int, default=4800)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=30, help="then it stops, and goes on when it is started again")
    parser.add_argument("--out", default="data/results/reliability")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of libraries, by the thousand
    started, until = datetime.now(UTC), time.monotonic() + 60 * given.minutes
    commit = str(run.CODE["commit"])[:12] + ("-dirty" if run.CODE["dirty"] else "")
    journal = Journal(run.resolve(f"runs/torture/{commit}-{given.seed}"))
    done = {(one["part"], one["name"], one["i"]) for one in journal.read()}
    tasks = planning(given.kills, given.inputs)
    workers = []
    for k in range(given.cores):
        if not (pid := os.fork()):
            work(tasks[k :: given.cores], done, journal, given.seed, until)
            os._exit(0)
        workers.append(pid)
    for pid in workers:
        os.waitpid(pid, 0)
    lines = journal.read()
    tables = counted(lines)
    faults = [one for one in lines if one["outcome"] not in GOOD and one["outcome"] != "skipped"]
    planned = Counter(part for part, _, numbers in tasks for _ in numbers)
    tried = Counter(one["part"] for one in lines if one["i"] >= 0)
    about = {"profile": "reliability", "parameters": vars(given), "seed": given.seed, "started": started,
             "planned": dict(planned), "tried": dict(tried), "faults": len(faults),
             "skipped": sorted({one["said"] for one in lines if one["outcome"] == "skipped"}),
             "cores_used": given.cores}  # fmt: skip
    run.publish(given.out, tables, **about)
    for name, table in tables.items():
        print(f"\n{name}\n{table.to_string(index=False)}")
    print(f"\n{sum(tried.values())} tried of {sum(planned.values())} planned, {len(faults)} faults: {given.out}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
