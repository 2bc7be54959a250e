"""Preparing NIH files: ours against one process of plain Pillow, and how time and memory grow with the set.

    python benchmarks/prepare.py FOLDER_OF_PNGS --out data/results/benchmarks

FOLDER_OF_PNGS is searched for PNGs, best the original 1024 px files. A temporary NIH download is made of them, each
linked under as many names as the counts below need. ``ours`` is the whole of ``nih.prepare``: table, headers, decoding,
box filter, the store on disk and its SHA-256. The plain loop decodes and box-filters the same files into an array. So
do plain loops side by side, a process per core, each with its share of the files: they have nothing in common but the
machine, and show what it can give to anyone. The three take turns. ``cores_busy`` well below the number of cores means
that something else had the machine: then compare ``cpu_ms_per_image``, and repeat. Every size of the growth table runs
in a process of its own, which reports its peak resident memory and how much of it came after the imports.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cmdml.sources import nih
from cmdml.sources.decoding import cores
from cmdml.study.run import environment

GROWTH = (1, 2, 4, 8)
CHILD = """
import re, sys, time
from cmdml.sources import nih
# not getrusage: its peak survives exec, so it would start at the parent's
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
before, start = peak(), time.perf_counter()
size, workers = map(int, sys.argv[3:])
nih.prepare(sys.argv[1], root=sys.argv[2], size=size, splits="hash", workers=workers, progress=False)
print("result", time.perf_counter() - start, before, peak())
"""


ALONE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from prepare import plain
paths = sorted(Path(sys.argv[2]).glob("*.png"))[int(sys.argv[3]) :: int(sys.argv[4])]
print("ready", flush=True)
sys.stdin.readline()
start = time.process_time()
plain(paths, int(sys.argv[5]))
print(time.process_time() - start)
"""


def download_of(files, images, root):
    """A NIH download of ``images`` names that link to ``files`` in turn; two images per patient."""
    (root / "images").mkdir(parents=True)
    rows = []
    for i in range(images):
        name = f"{i // 2 + 1:08d}_{i % 2:03d}.png"
        (root / "images" / name).symlink_to(files[i % len(files)].resolve())
        rows.append((name, "No Finding", i % 2, i // 2 + 1, 50, "F", "PA"))
    columns = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position".split(",")
    pd.DataFrame(rows, columns=columns).to_csv(root / "Data_Entry_2017_v2020.csv", index=False)
    return root


def plain(paths, size):
    """What a script does: one image after the other."""
    pixels = np.empty((len(paths), size, size), np.uint8)
    for i, path in enumerate(paths):
        with Image.open(path) as image:
            pixels[i] = np.asarray(image.convert("L").resize((size, size), Image.Resampling.BOX))
    return pixels


def processes(root, size, count):
    """(wall seconds, processor seconds) of ``count`` plain loops side by side; their imports are not counted."""
    command = [sys.executable, "-c", ALONE, Path(__file__).parent, root / "images"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([*command, str(k), str(count), str(size)], **pipes) for k in range(count)]
    for child in children:
        child.stdout.readline()  # ready
    start = time.perf_counter()
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    cpu = sum(float(child.communicate()[0]) for child in children)
    return time.perf_counter() - start, cpu


def timed(function, *args, **kwargs):
    """(wall seconds, processor seconds of all threads)."""
    wall, cpu = time.perf_counter(), time.process_time()
    function(*args, **kwargs)
    return time.perf_counter() - wall, time.process_time() - cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of PNGs")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--images", type=int, default=800, help="images of the comparison, and 1x of the growth table")
    parser.add_argument("--workers", type=int, default=0, help="0 = one per core")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="folder for the results file")
    args = parser.parse_args()
    files = sorted(args.folder.rglob("*.png"))
    if not files:
        raise SystemExit(f"{args.folder}: no PNG files in it")
    workers = args.workers or cores()
    options = {"size": args.size, "splits": "hash", "workers": workers, "progress": False}

    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        root = download_of(files, args.images, scratch / "1x")
        paths = sorted((root / "images").glob("*.png"))
        plain(paths, args.size)  # from here on the files are in the page cache
        times = {"plain Pillow, one process": [], "plain Pillow, a process per core": [], "ours": []}
        for repeat in range(args.repeats):
            times["plain Pillow, one process"].append(timed(plain, paths, args.size))
            times["plain Pillow, a process per core"].append(processes(root, args.size, workers))
            times["ours"].append(timed(nih.prepare, scratch / f"set{repeat}", root=root, **options))
        base = statistics.median(wall for wall, _ in times["plain Pillow, one process"])
        rows = []
        for method, measured in times.items():
            walls = [wall for wall, _ in measured]
            middle = statistics.median(walls)
            rows.append(
                {
                    "method": method,
                    "images_per_s": args.images / middle,
                    "slowest": args.images / max(walls),
                    "fastest": args.images / min(walls),
                    "ratio": base / middle,
                    "ratio_per_core": base / middle / (1 if method.endswith("one process") else workers),
                    "cpu_ms_per_image": statistics.median(1000 * cpu / args.images for _, cpu in measured),
                    "cores_busy": statistics.median(cpu / wall for wall, cpu in measured),
                }
            )

        growth = []
        for factor in GROWTH:
            root = download_of(files, factor * args.images, scratch / f"grow{factor}")
            command = [sys.executable, "-c", CHILD, scratch / f"grown{factor}", root, str(args.size), str(workers)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, before, peak = map(float, done.stdout.splitlines()[-1].split()[1:])
            images = factor * args.images
            growth.append(
                {
                    "images": images,
                    "seconds": seconds,
                    "ms_per_image": 1000 * seconds / images,
                    "store_mib": images * args.size**2 / 2**20,
                    "imports_mib": before,
                    "peak_above_imports_mib": peak - before,
                }
            )

    print(f"{args.images} of {len(files)} PNGs to {args.size} px, {workers} threads, median of {args.repeats}")
    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda x: f"{x:.3g}"))
    print(pd.DataFrame(growth).to_string(index=False, float_format=lambda x: f"{x:.3g}"))
    if args.out:
        about = {"files": len(files), "pixels": Image.open(files[0]).width, "size": args.size, "repeats": args.repeats}
        about |= {"images": args.images, "workers": workers}
        args.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"benchmark": "prepare", **about, "rows": rows, "growth": growth, **environment()}, indent=1)
        (args.out / "prepare.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
