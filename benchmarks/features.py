"""Features of a frozen backbone and heads on them: films per second at three sizes, heads per second.

    python benchmarks/features.py --out data/results/benchmarks

Films per second: 64 films in batches, as `cmdml.features.extract` reads them, on all cores, and per second of processor
time in one thread, which holds where others use the machine, too. ``ratio`` is to 224 px. A head is that of
``data/heads/nih-mini``, trained again on the committed features of 2,591 real films: what each of the hundreds of
trainings of a rotation costs, in processor time. How time and memory grow with the set: benchmarks/scale.py.
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from timing import arguments, measure, report

from cmdml.extractors import VisualExtractor
from cmdml.feature_set import FeatureSet
from cmdml.features import LAYERS, _all_cores, _reader
from cmdml.findings import findings_of, split_findings
from cmdml.heads import HEADS, load_head
from cmdml.radiographs import partition
from cmdml.semantics import semantic_vectors
from cmdml.training import fit

SIZES, FILMS = (64, 112, 224), 64


def speed(args):
    """Rows of films per second, one per size, largest last: on all cores, then in one thread by processor time."""
    rng, methods = np.random.default_rng(0), {}
    for size in SIZES:
        films = rng.integers(0, 256, (FILMS, size, size), dtype=np.uint8)
        extractor = VisualExtractor(args.backbone, "imagenet").eval()  # its own: a reader hooks into it
        read = _reader(extractor, [*LAYERS.get(args.backbone, {})][1:], size, "cpu")
        batches = [films[k : k + args.batch] for k in range(0, FILMS, args.batch)]
        methods[size] = lambda read=read, batches=batches: [read(batch) for batch in batches]
    with _all_cores():
        threads = torch.get_num_threads()
        rows = measure({f"{size} px, {threads} threads": m for size, m in methods.items()}, args.repeats, FILMS)
    torch.set_num_threads(1)
    alone = {f"{size} px, one thread, processor time": method for size, method in methods.items()}
    return rows + measure(alone, args.repeats, FILMS, clock=time.process_time), threads


def heads(repeats):
    """A row of heads per second, one thread."""
    data = FeatureSet.load(HEADS.parent / "features/nih-mini-efficientnet_lite0")
    parts, config = partition(data, split_findings(data.findings, "default")), load_head(HEADS / "nih-mini").config
    vectors, turn = semantic_vectors(findings_of(data.findings), "signs_text"), iter(range(repeats + 1))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:

        def train():
            fit(parts, vectors, config, Path(place) / str(next(turn)), progress=False, accelerator="cpu")

        name = f"a head on {len(data):,} films, {config.epochs} epochs, one thread, processor time"
        return measure({name: train}, repeats, clock=time.process_time)


def main():
    options = {"backbone": "efficientnet_lite0", "batch": 16}
    args, load = arguments(__doc__, **options), [os.getloadavg()]
    rows, threads = speed(args)
    rows += [row | {"ratio": None} for row in heads(args.repeats)]
    about = {name: getattr(args, name) for name in options} | {"repeats": args.repeats, "threads": threads}
    report("features", rows, args.out, **about, cores=os.cpu_count(), load=[*load, os.getloadavg()])


if __name__ == "__main__":
    main()
