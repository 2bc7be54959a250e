"""Features of a frozen backbone: extracted once from a set of radiographs, trained on in seconds."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from cmdml.efficientnet import WEIGHTS_SHA256, state_sha256
from cmdml.extractors import VisualExtractor
from cmdml.feature_set import FORMAT, FeatureSet
from cmdml.feature_writing import all_there, merge, write_features, write_part
from cmdml.radiographs import RadiographSet

__all__ = ["LAYERS", "FeatureSet", "extract", "merge", "of_config"]

# Pooled channels that are kept, the backbone's last block first. Small signs are gone from its 7 x 7 maps: an earlier
# block, of 14 x 14, is kept beside it. Backbones that are not listed keep their own feature vector.
LAYERS = {"efficientnet_lite0": {"blocks.6": 320, "blocks.4": 112}}


def extract(
    radiographs,
    folder,
    *,
    backbone: str = "efficientnet_lite0",
    weights: str = "imagenet",
    size: int | None = None,
    batch_size: int = 16,
    progress: bool = True,
    device: str = "cpu",
    seed: int = 0,
    extractor: VisualExtractor | None = None,
    shard: tuple[int, int] | None = None,
) -> FeatureSet | None:
    """Raw features of every radiograph, in evaluation mode: the pooled channels of `LAYERS`.

    Batches are appended to ``<folder>.partial``, so memory does not grow with the set, and a run that was killed
    continues after its last whole batch and ends bit-identical to one that was not.

    Parameters
    ----------
    radiographs : RadiographSet
        Its pixels are verified before they are read.
    folder : path
        Features of the same radiographs, backbone, weights, size and layers are loaded; any others are replaced.
    weights : "imagenet" or ""
        "" is the control: random weights from ``seed``.
    batch_size : 16 is half as fast again as 64 on a processor, whose cache holds its maps; a GPU wants more.
    size : pixels; None = as the radiographs are; smaller ones are averaged down, nothing is enlarged.
    extractor : a network of one's own, in evaluation mode; ``backbone`` then only names it.
    shard : (k, n): only part k, from 0, of n, for one of n processes on one or several machines that share the folder.
        The process that writes the last part puts them together (:func:`merge`) and returns the set; the others return
        None. The set is bit-identical with one that a single process wrote.

    Raises
    ------
    ValueError
        If the radiographs changed after they were prepared, ``size`` is above theirs, or a feature is not finite.
    OSError
        No space, no permission, or another process is writing the folder; the sentence names path and process.
    """
    folder, size, own = Path(folder), size or radiographs.size, extractor is not None
    if size > radiographs.size:
        raise ValueError(f"size {size} is above the radiographs' {radiographs.size} px: nothing is enlarged")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        extractor = extractor if own else VisualExtractor(backbone, weights).eval()
    about = provenance(extractor, backbone, "" if own else weights, None if own else seed) | {"size": size}
    about = _keyed(about, radiographs, {"last": extractor.features} if own else about["layers"])
    if (present := _present(folder, about["key"])) is not None:
        return present
    radiographs.verify()
    read = _reader(extractor.to(device), [*about["layers"]][1:], size, device)
    job = (about, batch_size, torch.device(device).type, lambda rows: read(radiographs.pixels[rows]), progress)
    with _all_cores():
        if shard is None:
            write_features(radiographs, folder, *job)
            return FeatureSet.load(folder)
        write_part(radiographs, folder, shard, *job)
    return _last(radiographs, folder, shard[1], about["key"])


def _keyed(about: dict, radiographs, layers: dict) -> dict:
    """What is extracted from what, with a hash of it all."""
    about |= {"layers": layers, "radiographs_sha256": radiographs.card["sha256"]}
    return about | {"key": hashlib.sha256(json.dumps([FORMAT, about], sort_keys=True).encode()).hexdigest()}


def _last(radiographs, folder: Path, parts: int, key: str) -> FeatureSet | None:
    """The set, if this process wrote the last part or another has put them together; else None."""
    if all_there(folder, parts):
        try:
            return merge(radiographs, folder, parts)
        except (BlockingIOError, FileNotFoundError):
            pass  # another process saw them, too, and is putting them together or has just done so
    return _present(folder, key)


def of_config(radiographs, config, folder, **options):
    """What a training with this configuration reads: the radiographs, or with ``tune="frozen"`` their features.

    Parameters
    ----------
    config : TrainConfig, of which ``tune``, ``backbone`` and ``weights`` are read.
    folder : of all features of these radiographs, one folder inside for each backbone (:func:`place`); what is there
        is opened, not extracted again.
    **options : of :func:`extract`.
    """
    if config.tune != "frozen":
        return radiographs
    at = place(folder, config.backbone, config.weights)
    return extract(radiographs, at, backbone=config.backbone, weights=config.weights, **options)


def place(folder, backbone: str, weights: str) -> Path:
    """Where the features of one backbone lie: ``<folder>/efficientnet_lite0-imagenet``."""
    return Path(folder) / f"{backbone}-{weights or 'random'}"


def provenance(extractor: VisualExtractor, backbone: str, weights: str, seed: int | None) -> dict:
    """Where features come from: backbone, weights and their SHA-256, the seed of random ones, layers and widths."""
    pretrained = weights == "imagenet"
    pinned = pretrained and backbone == "efficientnet_lite0"
    return {
        "backbone": backbone,
        "weights": "imagenet" if pretrained else "",
        "seed": None if pretrained else seed,
        "weights_sha256": WEIGHTS_SHA256 if pinned else state_sha256(extractor.state_dict()),
        "layers": LAYERS.get(backbone, {"last": extractor.features}),
    }


def _present(folder: Path, key: str) -> FeatureSet | None:
    """The features that the folder holds, if they are those of ``key``."""
    try:
        present = FeatureSet.load(folder)
    except (FileNotFoundError, ValueError):
        return None  # nothing there, or nothing of use
    return present if present.card.get("key") == key else None


def _reader(extractor, earlier: list[str], size: int, device: str) -> Callable[[np.ndarray], np.ndarray]:
    """Pixels (B, H, W) uint8 -> features (B, F) float16."""
    kept = []
    for name in earlier:
        block = extractor.net.get_submodule(name)
        block.register_forward_hook(lambda module, inputs, maps: kept.append(maps.mean((2, 3))))

    @torch.inference_mode()
    def read(pixels):
        kept.clear()
        images = torch.from_numpy(np.array(pixels)).to(device)[:, None]
        if images.shape[-1] != size:
            images = F.interpolate(images.float() / 255, (size, size), mode="area")
        with torch.backends.cudnn.flags(allow_tf32=False):  # a GPU gives what a CPU gives, within float16
            last = extractor(images)
        return torch.cat([last, *kept], 1).half().cpu().numpy()

    return read


@contextmanager
def _all_cores():
    """As many torch threads as cores, unless the user said how many."""
    before = torch.get_num_threads()
    try:
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
        yield
    finally:
        torch.set_num_threads(before)


def main(radiographs: str, folder: str, backbone: str, weights: str = "", shard: str = "") -> None:
    """``python -m cmdml.features RADIOGRAPHS FOLDER BACKBONE [WEIGHTS [K/N]]``: one job, so trainings need not race.

    ``K/N``: part K, from 0, of N, for a job of its own; the last of them puts the parts together.
    """
    if shard and not re.fullmatch(r"\d+/\d+", shard):
        raise ValueError(f"shard {shard!r}: expected part and number of parts, such as 0/4 for the first of four")
    at = place(folder, backbone, weights)
    part = tuple(map(int, shard.split("/"))) if shard else None
    extract(RadiographSet.load(radiographs), at, backbone=backbone, weights=weights, shard=part)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"no features were extracted. {error}")
