"""Patient bootstrap of AUROC and average precision: ours against the plain scikit-learn loop, in one run.

    python benchmarks/bootstrap.py --out data/results/benchmarks

The loop is what most studies write: for each replicate pick the rows of the drawn patients, then call scikit-learn
for each finding. It is too slow for all replicates, so it runs on a few and its time is scaled; each replicate costs
the same. Both use one thread. Labels are drawn from the published ChestX-ray14 label sets, images per patient likewise;
scores are random with ties. The largest difference on the replicates that both did is printed beside the times.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from cmdml.evaluation.bootstrap import patient_multiplicities, weighted_auroc_ap
from cmdml.findings import KEYS
from cmdml.study.run import ROOT, environment


def cohort(images, seed=0):
    """Labels (N, C), scores (N, C) and patients (N,) with ChestX-ray14's label sets and images per patient."""
    rng = np.random.default_rng(seed)
    sets = pd.read_csv(ROOT / "data/label_sets.csv")
    table = np.array([[key in names.split("|") for key in KEYS] for names in sets.findings])
    labels = table[rng.choice(len(sets), size=images, p=sets.images / sets.images.sum())].astype(np.uint8)
    films = json.loads((ROOT / "data/label_sets.json").read_text())["patients_by_images"]
    counts = rng.choice([int(n) for n in films], size=images, p=np.array([*films.values()]) / sum(films.values()))
    patients = np.repeat(np.arange(images), counts)[:images]
    scores = np.round(rng.normal(size=labels.shape) + 0.8 * labels, 3)
    return labels, scores, patients


def loop_resampled(labels, scores, drawn, unit):
    """Rows of the drawn patients, repeated; one call of scikit-learn per metric and finding."""
    out = np.empty((2, len(drawn), labels.shape[1]))
    for r, times in enumerate(drawn):
        rows = np.repeat(np.arange(len(labels)), times[unit])
        for c in range(labels.shape[1]):
            out[:, r, c] = [f(labels[rows, c], scores[rows, c]) for f in (roc_auc_score, average_precision_score)]
    return out


def loop_weighted(labels, scores, drawn, unit):
    """The same numbers through ``sample_weight``: no rows are copied, every call still sorts."""
    out = np.empty((2, len(drawn), labels.shape[1]))
    for r, times in enumerate(drawn):
        for c in range(labels.shape[1]):
            y, s, w = labels[:, c], scores[:, c], times[unit]
            out[:, r, c] = [f(y, s, sample_weight=w) for f in (roc_auc_score, average_precision_score)]
    return out


def seconds(function, *arguments, repeats):
    """(all times, last result)."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function(*arguments)
        times.append(time.perf_counter() - start)
    return times, result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=22_433, help="test images (the usual NIH test list has 22,433)")
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--loop-replicates", type=int, default=5, help="replicates the loops really run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="folder for the results file")
    args = parser.parse_args()

    labels, scores, patients = cohort(args.images)
    drawn, unit = patient_multiplicities(patients, args.replicates, np.random.default_rng(0))
    few = drawn[: args.loop_replicates]
    scale = len(drawn) / len(few)

    weighted_auroc_ap(labels, scores, few, unit)  # imports and allocations are not what we compare
    measured = {"ours": (*seconds(weighted_auroc_ap, labels, scores, drawn, unit, repeats=args.repeats), 1.0)}
    for name, loop in (("scikit-learn, resampled rows", loop_resampled), ("scikit-learn, weights", loop_weighted)):
        measured[name] = (*seconds(loop, labels, scores, few, unit, repeats=args.repeats), scale)

    ours = np.stack(measured["ours"][1])[:, : len(few)]
    base = statistics.median(measured["ours"][0])
    rows = []
    for name, (times, result, factor) in measured.items():
        low, middle, high = (factor * f(times) for f in (min, statistics.median, max))
        difference = np.abs(np.stack(result)[:, : len(few)] - ours).max()
        rows.append({"method": name, "seconds": middle, "fastest": low, "slowest": high, "ratio": middle / base,
                     "replicates_run": round(len(drawn) / factor), "max_difference": float(difference)})  # fmt: skip

    print(f"{args.replicates} replicates x {len(KEYS)} findings x {args.images} images, {drawn.shape[1]} patients; "
          f"median of {args.repeats}, loops run on {len(few)} replicates and scaled")  # fmt: skip
    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda x: f"{x:.3g}"))
    if args.out:
        about = {"replicates": args.replicates, "findings": len(KEYS), "images": args.images,
                 "patients": int(drawn.shape[1]), "repeats": args.repeats}  # fmt: skip
        args.out.mkdir(parents=True, exist_ok=True)
        found = {"benchmark": "bootstrap", **about, "rows": rows, **environment()}
        (args.out / "bootstrap.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
