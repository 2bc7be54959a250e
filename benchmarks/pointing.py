"""Does a heat map point at what was drawn? Measured on phantoms, where the truth is known.

    python benchmarks/pointing.py [--films 100] [--out data/results/pointing]

For every finding that is not diffuse, test phantoms that show it are drawn with and without it. The truth is where a
grey value differs by at least half of the largest difference. A map hits if its maximum lies there, or within two
pixels. Beside the two methods stand chance (a place drawn at random), and the map of another film for the same finding,
which knows where such findings usually lie but not this film. One film per patient, so that films are independent;
95 % intervals of Wilson.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import binary_dilation
from scipy.stats import binomtest
from tqdm import tqdm

from cmdml.explain import METHODS, heat, peak
from cmdml.files import sha256
from cmdml.findings import findings_of
from cmdml.heads import HEADS, Head, load_head
from cmdml.sources.phantom import draw, sample_scene, sample_table
from cmdml.study.results import publish
from cmdml.study.run import manifest

IMAGES, SEED = 8000, 0  # the set of the shipped head: its test films are found again by these
SHARE, SLACK = 0.5, 2  # of the largest difference; pixels


def truth(with_it: np.ndarray, without: np.ndarray) -> np.ndarray:
    """(H, W) bool: where the finding was drawn, and a little around it."""
    change = np.abs(with_it.astype(int) - without)
    return binary_dilation(change >= max(1, SHARE * change.max()), iterations=SLACK)


def films_of(head: Head, key: str, films: int, table: pd.DataFrame, scene: dict):
    """Films (n, H, W) that show a finding, and where it was drawn, (n, H, W) bool."""
    rows = table[(table["split"] == "test") & (table[key] == 1)].drop_duplicates("patient").index[:films]
    part = {name: value[rows] for name, value in scene.items()}
    without = part | {"labels": part["labels"].copy()}
    without["labels"][:, head.findings.keys.index(key)] = 0
    shown, bare = draw(part, head.size, SEED), draw(without, head.size, SEED)
    return shown, np.stack([truth(a, b) for a, b in zip(shown, bare, strict=True)])


def measure(head: Head, films: int) -> pd.DataFrame:
    """A row per finding and method."""
    table = sample_table(IMAGES, SEED)
    scene, rows, seen = sample_scene(table, SEED), [], head.findings.seen
    local = [f.key for f in findings_of(head.findings.keys) if "diffuse" not in f.signs]
    for key in tqdm(local, desc="pointing"):
        shown, where = films_of(head, key, films, table, scene)
        vector = head.model.semantic_vectors[head.findings.keys.index(key)]
        about = {"finding": key, "seen": key in seen, "films": len(shown)}
        for method in METHODS:
            peaks = [peak(heat(head, film, vector, method)) for film in shown]
            rows.append(about | {"method": method} | _counted([w[p] for w, p in zip(where, peaks, strict=True)]))
            other = np.roll(np.array(peaks), 1, axis=0)
            hits = [w[tuple(p)] for w, p in zip(where, other, strict=True)]
            rows.append(about | {"method": f"{method}, another film's"} | _counted(hits))
        none = dict.fromkeys(("hits", "low", "high"), np.nan)
        rows.append(about | {"method": "chance", **none, "accuracy": where.mean()})
    return pd.DataFrame(rows)


def _counted(hits: list) -> dict:
    k, n = int(np.sum(hits)), len(hits)
    interval = binomtest(k, n).proportion_ci(method="wilson")
    return {"hits": k, "accuracy": k / n, "low": interval.low, "high": interval.high}


def overall(each: pd.DataFrame) -> pd.DataFrame:
    """Means over findings, of seen and of unseen ones."""
    kinds = {"all": each, "seen": each[each["seen"]], "unseen": each[~each["seen"]]}
    asked = {"findings": ("finding", "size"), "films": ("films", "sum"), "accuracy": ("accuracy", "mean")}
    means = [part.groupby("method", sort=False).agg(**asked).reset_index().assign(kind=kind)
             for kind, part in kinds.items() if len(part)]  # fmt: skip
    return pd.concat(means)[["kind", "method", *asked]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, default=100, help="per finding, at most")
    parser.add_argument("--out", type=Path, default=Path("data/results/pointing"))
    args = parser.parse_args()
    started, head = time.time(), load_head(HEADS / "phantom")
    torch.manual_seed(SEED)
    each = measure(head, args.films)
    tables = {"findings": each, "summary": overall(each)}
    print(tables["summary"].to_string(index=False))
    settings = {"films": args.films, "images": IMAGES, "seed": SEED, "share": SHARE, "slack": SLACK}

    def write(folder, **more):
        about = {"data_sha256": head.card["data"]["sha256"], "head_sha256": sha256(head.folder / "seal.json")}
        about |= {"script": "benchmarks/pointing.py"}
        manifest(folder, profile="phantom", parameters=settings, started=started, **about, **more)

    publish(args.out, tables, write)


if __name__ == "__main__":
    main()
