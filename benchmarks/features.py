"""Features of a frozen backbone: films per second at three sizes, and how time and memory grow with the set.

    python benchmarks/features.py --out data/results/benchmarks
    python benchmarks/features.py --images 10000 --out data/results/benchmarks

Films per second: 64 films in batches, as `cmdml.features.extract` reads them, on all cores. ``ratio`` is to the last
row. The growth table runs the whole of ``extract`` (verifying pixels, features, table, card, SHA-256) on 1x and 2x as
many phantoms; every size in a process of its own, which reports its peak resident memory and how much of it came after
imports and weights. ``full_minutes``: what the 112,120 films of ChestX-ray14 would take, from the growth between the
two. Drawing the phantoms is not counted.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from timing import arguments, measure, report

from cmdml.extractors import VisualExtractor
from cmdml.features import LAYERS, _all_cores, _reader
from cmdml.sources import nih, phantom

SIZES, FILMS = (64, 112, 224), 64
CHILD = """
import re, sys, time
from cmdml.extractors import VisualExtractor
from cmdml.features import extract
from cmdml.radiographs import RadiographSet
# not getrusage: its peak survives exec, so it would start at the parent's
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
VisualExtractor(sys.argv[3], "imagenet")
films = RadiographSet.load(sys.argv[1])
before, start = peak(), time.perf_counter()
extract(films, sys.argv[2], backbone=sys.argv[3], batch_size=int(sys.argv[4]), progress=False)
print("result", time.perf_counter() - start, before, peak())
"""


def speed(args):
    """Rows of films per second, one per size, largest last."""
    extractor = VisualExtractor(args.backbone, "imagenet").eval()
    rng, methods = np.random.default_rng(0), {}
    for size in SIZES:
        films = rng.integers(0, 256, (FILMS, size, size), dtype=np.uint8)
        read = _reader(extractor, [*LAYERS.get(args.backbone, {})][1:], size, "cpu")
        batches = [films[k : k + args.batch] for k in range(0, FILMS, args.batch)]
        methods[f"{size} px"] = lambda read=read, batches=batches: [read(batch) for batch in batches]
    with _all_cores():
        return measure(methods, args.repeats, FILMS), torch.get_num_threads()


def growth(args, scratch):
    """Seconds and peak memory of ``extract`` on 1x and 2x as many phantoms."""
    rows = []
    for images in (args.images, 2 * args.images):
        films, features = scratch / f"films{images}", scratch / f"features{images}"
        phantom.prepare(films, images=images, size=args.size, progress=False)
        command = [sys.executable, "-c", CHILD, films, features, args.backbone, str(args.batch)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds, before, peak = map(float, done.stdout.splitlines()[-1].split()[1:])
        row = {"images": images, "seconds": seconds, "films_per_s": images / seconds}
        row |= {"films_mib": images * args.size**2 / 2**20, "imports_mib": before}
        rows.append(row | {"peak_above_imports_mib": peak - before})
    return rows


def main():
    options = {"backbone": "efficientnet_lite0", "batch": 16, "images": 500, "size": 224}
    args = arguments(__doc__, **options)
    rows, threads = speed(args)
    with tempfile.TemporaryDirectory() as scratch:
        grown = growth(args, Path(scratch))
    small, large = grown
    each = (large["seconds"] - small["seconds"]) / (large["images"] - small["images"])
    full = (large["seconds"] + (nih.IMAGES - large["images"]) * each) / 60
    print(pd.DataFrame(grown).to_string(index=False, float_format=lambda x: f"{x:.4g}"))
    print(f"all {nih.IMAGES:,} films of ChestX-ray14: {full:.0f} minutes")
    about = {name: getattr(args, name) for name in options} | {"repeats": args.repeats, "threads": threads}
    report("features", rows, args.out, **about, cores=os.cpu_count(), growth=grown, full_minutes=full)


if __name__ == "__main__":
    main()
