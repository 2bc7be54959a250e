"""What checking costs: hashing beside plain SHA-256, its share of a training, opening a set of 8 times the pixels.

    python benchmarks/sealing.py
"""

import hashlib
import tempfile
import time
from contextlib import ExitStack, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from timing import arguments, measure, report

from cmdml import checkpoint, files, run_folder
from cmdml.findings import KEYS, findings_of, split_findings
from cmdml.radiographs import RadiographSet, partition, write_radiographs
from cmdml.semantics import semantic_vectors
from cmdml.sources import phantom
from cmdml.training import TrainConfig, fit


def copy_of(radiographs, folder, size):
    """The same table with other pixels."""
    rng = np.random.default_rng(0)

    def fill(pixels):
        pixels[:] = rng.integers(0, 256, pixels.shape, dtype=np.uint8)

    card = {"name": "noise", "findings": list(KEYS), "made_with": {"size": size}}
    return write_radiographs(folder, table=radiographs.table, size=size, card=card, fill=fill)


def share_of_training(radiographs, out, epochs) -> dict:
    """Seconds of a small training, and the share of them in checks and seals."""
    parts, spent = partition(radiographs, split_findings(KEYS)), []

    def timed(function):
        def wrapped(*given, **named):
            start = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                spent.append(time.perf_counter() - start)

        return wrapped

    config = TrainConfig(backbone="small_cnn", epochs=epochs, batch_size=64)
    with ExitStack() as stack:
        for owner, name in ((RadiographSet, "verify"), (run_folder, "seal"), (run_folder, "check_seal"),
                            (checkpoint, "_digest")):  # fmt: skip
            stack.enter_context(mock.patch.object(owner, name, timed(getattr(owner, name))))
        start = time.perf_counter()
        fit(parts, semantic_vectors(findings_of(KEYS)), config, out, progress=False, accelerator="cpu")
        whole = time.perf_counter() - start
    return {"method": f"training, {len(radiographs)} films, {epochs} epochs", "seconds": whole,
            "share": sum(spent) / whole}  # fmt: skip


def main():
    args = arguments(__doc__, mib=64, films=1000, epochs=3)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place, redirect_stdout(StringIO()):
        place = Path(place)
        content = np.random.default_rng(0).bytes(args.mib << 20)
        (place / "file").write_bytes(content)
        radiographs = phantom.prepare(place / "phantom", images=args.films, size=64, progress=False)
        n = (args.mib << 20) // args.films
        large = copy_of(radiographs, place / "large", int(n**0.5))
        rows = measure({"a file": lambda: files.sha256(place / "file"), "a set": large.verify,
                        "hashlib.sha256, from memory": lambda: hashlib.sha256(content)},
                       args.repeats, clock=time.process_time)  # fmt: skip
        eight, one = (copy_of(radiographs, place / f"{side}", side) for side in (181, 64))
        rows += measure({"open a set of 8 times the pixels": lambda: RadiographSet.load(eight.folder),
                         "open a set": lambda: RadiographSet.load(one.folder)}, args.repeats,
                        clock=time.process_time)  # fmt: skip
        rows.append(share_of_training(radiographs, place / "training", args.epochs))
    report("sealing", rows, args.out, repeats=args.repeats, mib=args.mib, films=args.films, device="cpu")


if __name__ == "__main__":
    main()
