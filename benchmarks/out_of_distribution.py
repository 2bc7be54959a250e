"""How often the warning "unlike the films of the training" is right, and how often it is a false alarm.

    python benchmarks/out_of_distribution.py [--root NIH_ROOT] [--out data/results/ood]

False alarms: the shipped heads' own test films, which gave neither the distance nor its threshold. Missed: pictures of
``skimage.data`` and pydicom's test CT; phantoms shown to the head of real films and real films shown to that of
phantoms; films that are inverted, turned, mirrored, cropped or wrongly scaled. The forty films of the repository serve
unless NIH_ROOT holds more: its test films then do. Lateral views are not measured: there are none.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.stats import binomtest

from cmdml.feature_set import FeatureSet
from cmdml.files import sha256
from cmdml.films import read_film
from cmdml.heads import HEADS, Head, load_head
from cmdml.sources.decoding import padded
from cmdml.sources.phantom import draw, sample_scene, sample_table
from cmdml.study.results import publish
from cmdml.study.run import manifest

IMAGES, SEED, MANY = 8000, 0, 200  # the phantom set of the shipped head; films of each kind at most
PICTURES = ("astronaut", "brick", "camera", "cat", "cell", "checkerboard", "clock", "coffee", "coins", "grass",
            "gravel", "horse", "hubble_deep_field", "immunohistochemistry", "microaneurysms", "moon", "page", "retina",
            "rocket", "text")  # fmt: skip


def pictures(size: int) -> np.ndarray:
    """The pictures of scikit-image that its package carries, as :mod:`cmdml.films` would read them."""
    from skimage import data

    found = []
    for name in PICTURES:
        picture = getattr(data, name)()
        picture = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture
        found.append(_resized(np.asarray(Image.fromarray(picture).convert("L")), size))
    return np.stack(found)


def _resized(picture: np.ndarray, size: int) -> np.ndarray:
    square = padded(Image.fromarray(picture))
    kind = Image.Resampling.BOX if square.width >= size else Image.Resampling.BICUBIC
    return np.asarray(square.resize((size, size), kind))


def real_films(root: Path | None, size: int) -> np.ndarray:
    """The repository's films, or test films of a folder in NIH's layout that the head of real films was not shown."""
    paths = sorted((HEADS.parent / "films").glob("*.png"))
    if root:
        table = FeatureSet.load(HEADS.parent / "features" / "nih-mini-efficientnet_lite0").table
        paths = [root / "images" / name for name in table["image"][table["split"] == "test"]][:MANY]
    return np.stack([read_film(path, size).pixels for path in paths])


def phantoms(size: int, head_own: bool) -> np.ndarray:
    """Test phantoms of the shipped set, or others."""
    table = sample_table(IMAGES, SEED if head_own else SEED + 1)
    rows = np.flatnonzero(table["split"] == "test")[:MANY]
    scene = sample_scene(table, SEED if head_own else SEED + 1)
    return draw({name: value[rows] for name, value in scene.items()}, size, SEED)


def changed(films: np.ndarray) -> dict[str, np.ndarray]:
    """What may happen to a film on its way."""
    size = films.shape[-1]

    def crop(share):
        edge = round(size * (1 - share) / 2)
        return np.stack([_resized(film[edge : size - edge, edge : size - edge], size) for film in films])

    return {
        "inverted": 255 - films, "turned by 90 degrees": np.rot90(films, axes=(1, 2)),
        "upside down": films[:, ::-1, ::-1], "mirrored": films[:, :, ::-1], "middle half": crop(0.5),
        "middle three quarters": crop(0.75), "grey values / 4": films // 4, "grey values / 16": films // 16,
    }  # fmt: skip


@torch.inference_mode()
def distances(head: Head, films: np.ndarray, batch: int = 32) -> np.ndarray:
    """In units of the threshold, (N,)."""
    parts = [torch.from_numpy(np.array(films[i : i + batch]))[:, None] for i in range(0, len(films), batch)]
    far = [head.familiar.distance(head.network.features(part)) for part in parts]
    return torch.cat(far).numpy() / head.familiar.threshold


def measure(root: Path | None) -> pd.DataFrame:
    """A row per head and kind of picture."""
    rows = []
    for name in ("nih-mini", "phantom"):
        head, real = load_head(HEADS / name), name == "nih-mini"
        own = real_films(root, head.size) if real else phantoms(head.size, True)
        if real:  # all test films, from their committed features
            features = FeatureSet.load(HEADS.parent / "features" / "nih-mini-efficientnet_lite0")
            test = features.pixels[np.flatnonzero(features.table["split"] == "test")].astype(np.float32)
            scaled = head.model.visual_extractor(torch.from_numpy(test))
            far = head.familiar.distance(scaled).numpy() / head.familiar.threshold
        else:
            far = distances(head, own)
        rows.append(_row(name, "test films of its own kind", far, False))
        others = {"pictures of skimage.data": pictures(head.size), "the test CT of pydicom": _ct(head.size)}
        other = phantoms(head.size, False)[:60] if real else real_films(root, head.size)
        others["phantoms" if real else "real films"] = other
        for kind, films in {**others, **changed(own[:60])}.items():
            rows.append(_row(name, kind, distances(head, films), True))
    return pd.DataFrame(rows)


def _ct(size: int) -> np.ndarray:
    from pydicom.data import get_testdata_file

    return read_film(get_testdata_file("CT_small.dcm"), size).pixels[None]


def _row(head: str, kind: str, far: np.ndarray, strange: bool) -> dict:
    warned, n = int((far > 1).sum()), len(far)
    interval = binomtest(warned, n).proportion_ci(method="wilson")
    return {"head": head, "kind": kind, "should_warn": strange, "films": n, "warned": warned, "rate": warned / n,
            "low": interval.low, "high": interval.high, "median_distance": float(np.median(far))}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, help="folder of NIH radiographs, never required")
    parser.add_argument("--out", type=Path, default=Path("data/results/ood"))
    args = parser.parse_args()
    started, table = time.time(), measure(args.root)
    print(table.to_string(index=False))
    heads = {name: sha256(HEADS / name / "seal.json") for name in ("nih-mini", "phantom")}
    settings = {"many": MANY, "images": IMAGES, "seed": SEED, "films": "NIH test films" if args.root else "data/films"}

    def write(folder, **more):
        manifest(folder, profile="nih-mini", parameters=settings, started=started, head_sha256=heads,
                 script="benchmarks/out_of_distribution.py", **more)  # fmt: skip

    publish(args.out, {"rates": table}, write)


if __name__ == "__main__":
    main()
