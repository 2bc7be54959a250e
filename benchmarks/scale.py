"""How every step grows with the set: writing it, features, one head, evaluation, at 10,000 and 20,000 films of 224 px.

    python benchmarks/scale.py --out data/results/benchmarks
    python benchmarks/scale.py --films 112120 --out data/results/benchmarks    # as many as ChestX-ray14, an hour or two
    python benchmarks/scale.py --join "a/scale.json b/scale.json" --out data/results/benchmarks    # sizes run apart

The films are synthetic: ``--drawn`` phantoms, repeated with noise of their own, so that no two are alike; drawing them
all would take longer than all else. Labels, patients and splits are drawn as for a phantom of that many films and do
not fit the pixels: nothing here says how well anything ranks. ``write the set`` is noise, pixels, table and SHA-256;
benchmarks/prepare.py measures decoding. Features are those of a frozen ``efficientnet_lite0``; the head is trained on
them as ``profiles/nih-mini.yaml`` trains one; evaluation has 1,000 bootstrap replicates.

Every step of every size runs in a process of its own, with one thread; features in a process per core
(`cmdml.launch.extract`). ``cpu_s``: processor seconds of all of them, which say more than ``seconds`` where others use
the machine, too; ``load`` is that of the machine before, between and after. ``own_mib`` is the largest anonymous memory
of all processes together above that after imports, ``resident_mib`` adds the mapped pages of set and libraries, which
the kernel takes back when others need them; pages that two processes map count twice. Features start processes of
their own, whose imports count. ``grown``: how many times as much
processor time the larger set took. ``full_minutes``, ``full_cpu_minutes``: what 112,120 films would take, from the
growth between the two sizes.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
from timing import arguments, report

from cmdml.evaluation.metrics import evaluate
from cmdml.evaluation.testset import embedded
from cmdml.feature_set import FeatureSet
from cmdml.files import is_sealed, read_json
from cmdml.findings import findings_of, split_findings
from cmdml.heads import HEADS, load_head
from cmdml.launch import extract
from cmdml.radiographs import partition, write_radiographs
from cmdml.semantics import semantic_vectors
from cmdml.sources import nih, phantom
from cmdml.sources.decoding import cores
from cmdml.training import fit

SIZE, BLOCK, NOISE, SEED = 224, 64, 4, 0
STEPS = {"write": "write the set", "features": "features", "head": "train a head", "evaluate": "evaluate"}


def write(place: Path, films: int) -> None:
    """A set of ``films``: the drawn ones in turn, each with noise that its row seeds."""
    drawn, table = np.load(place.parent / "drawn.npy"), phantom.sample_table(films, SEED)
    card = {"name": "scale", "title": "Repeated phantoms with noise", "findings": list(table.columns[6:])}

    def blocks(start):
        for first in range(start, films, BLOCK):
            rows = np.arange(first, min(first + BLOCK, films))
            noise = np.random.default_rng([SEED, first]).integers(-NOISE, NOISE + 1, (len(rows), SIZE, SIZE), np.int16)
            yield (drawn[rows % len(drawn)] + noise).clip(0, 255).astype(np.uint8)

    write_radiographs(place / "films", table=table, size=SIZE, blocks=blocks,
                      card=card | {"made_with": {"films": films, "drawn": len(drawn)}})  # fmt: skip


def features(place: Path, films: int) -> None:
    extract(place / "films", place / "features", devices=cores(), backbone="efficientnet_lite0", weights="imagenet")


def head(place: Path, films: int) -> None:
    data = FeatureSet.load(place / "features")
    vectors = semantic_vectors(findings_of(data.findings), "signs_text")
    fit(partition(data, split_findings(data.findings, "default")), vectors, load_head(HEADS / "nih-mini").config,
        place / "training", progress=False, accelerator="cpu")  # fmt: skip


def evaluation(place: Path, films: int) -> None:
    data = FeatureSet.load(place / "features")
    rows = np.flatnonzero(data.table["split"] == "test")
    scores, patients = embedded(place / "training", rows)["scores"], data.table["patient"].to_numpy()[rows]
    evaluate(data.labels[rows], scores, patients, split_findings(data.findings, "default"), replicates=1000, seed=SEED)


def memory() -> np.ndarray:
    """Anonymous and resident MiB of this process and all below it."""
    total, todo = np.zeros(2), [os.getpid()]
    while todo:
        place = Path(f"/proc/{todo.pop()}")
        try:
            status = (place / "status").read_text()
            todo += [pid for task in place.glob("task/*/children") for pid in task.read_text().split()]
        except OSError:
            continue  # it has just ended
        found = [re.search(rf"{name}:\s+(\d+)", status) for name in ("RssAnon", "VmRSS")]
        total += [int(match[1]) / 1024 if match else 0 for match in found]  # one that has ended has none
    return total


def cpu() -> float:
    """Processor seconds of this process and of those it waited for."""
    return sum(os.times()[:4])


def child(step: str, place: Path, films: int) -> dict:
    """Run one step in this process; seconds, processor seconds, and memory above that of the imports."""
    before, most, done = memory(), [np.zeros(2)], threading.Event()

    def watch():
        while not done.wait(0.1):
            most[0] = np.maximum(most[0], memory())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    start, processor = time.perf_counter(), cpu()
    {"write": write, "features": features, "head": head, "evaluate": evaluation}[step](place, films)
    seconds, processor = time.perf_counter() - start, cpu() - processor
    done.set()
    thread.join()
    own, resident = np.maximum(most[0], memory()) - before
    about = {"seconds": seconds, "cpu_s": processor, "per_second": films / seconds}
    return about | {"own_mib": own, "resident_mib": resident}


def measured(films: int, place: Path) -> list[dict]:
    """A row for each step; what it wrote is read by the next."""
    rows = []
    for step, name in STEPS.items():
        command = [sys.executable, __file__, "step", step, str(place), str(films)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        rows.append({"method": name, "films": films} | json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    return rows


def growth(rows: list[dict]) -> list[dict]:
    """From the smallest to the largest size, step by step and in all, and on to the whole of ChestX-ray14."""
    sizes = sorted({row["films"] for row in rows})
    small, large = sizes[0], sizes[-1]
    found = []
    for name in STEPS.values():
        of = {row["films"]: row for row in rows if row["method"] == name}

        def whole(key, of=of):
            each = max(0.0, of[large][key] - of[small][key]) / (large - small)  # memory that does not grow scatters
            return of[large][key] + (nih.IMAGES - large) * each

        found.append({"method": name, "grown": of[large]["cpu_s"] / of[small]["cpu_s"],
                      "full_minutes": whole("seconds") / 60, "full_cpu_minutes": whole("cpu_s") / 60,
                      "full_own_mib": whole("own_mib")})  # fmt: skip
    every = {size: sum(row["cpu_s"] for row in rows if row["films"] == size) for size in sizes}
    total = {key: sum(row[key] for row in found) for key in ("full_minutes", "full_cpu_minutes")}
    return [*found, {"method": "all steps", "grown": every[large] / every[small], **total,
                     "full_own_mib": max(row["full_own_mib"] for row in found)}]  # fmt: skip


def join(files: list[str]) -> tuple[list[dict], dict]:
    """Rows of sizes that were measured apart, on one kind of machine with the same versions, and what is to be told."""
    found = [read_json(file, "measure again") for file in files]
    for file, one in zip(files, found, strict=True):
        if not is_sealed(one):
            raise SystemExit(f"{file} was edited since it was measured: measure again")
        for name in ("machine", "versions", "drawn", "size"):
            if one[name] != found[0][name]:
                raise SystemExit(f"{file} has another {name} than {files[0]}: what differs so does not show growth")
    for one in found:  # one that was stopped holds fewer sizes than it was asked for
        one["films"] = sorted({row["films"] for row in one["rows"]})
    found.sort(key=lambda one: one["films"])
    each = [{name: one[name] for name in ("films", "commit", "dirty", "load")} for one in found]
    about = {name: found[0][name] for name in ("drawn", "size")} | {"repeats": 1, "measured": each}
    about |= {
        "films": sorted(n for one in found for n in one["films"]),
        "load": [s for one in found for s in one["load"]],
    }
    return [row for one in found for row in one["rows"]], about


def main():
    args = arguments(__doc__, films="10000 20000", drawn=400, join="")
    if args.join:
        rows, about = join(args.join.split())
        report("scale", rows, args.out, **about, growth=growth(rows))
        return
    sizes, rows, load = sorted(map(int, args.films.split())), [], [os.getloadavg()]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        drawn = phantom.prepare(scratch / "phantom", images=args.drawn, size=SIZE, progress=False)
        np.save(scratch / "drawn.npy", drawn.pixels)
        for films in sizes:  # the file is there after the first, which may take hours
            place = scratch / str(films)
            place.mkdir()
            rows += measured(films, place)
            shutil.rmtree(place)
            load.append(os.getloadavg())
            about = {"films": sizes, "drawn": args.drawn, "size": SIZE, "repeats": 1, "load": load}
            about |= {"growth": growth(rows)} if len({row["films"] for row in rows}) > 1 else {}
            report("scale_whole" if sizes == [nih.IMAGES] else "scale", rows, args.out, **about)
    if "growth" in about:
        print(pd.DataFrame(about["growth"]).to_string(index=False, float_format=lambda x: f"{x:.4g}"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["step"]:
        print(json.dumps(child(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        main()
