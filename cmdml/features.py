"""Features of a frozen backbone: extracted once from a set of radiographs, trained on in seconds."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from cmdml import store
from cmdml.efficientnet import WEIGHTS_SHA256, state_sha256
from cmdml.extractors import VisualExtractor
from cmdml.feature_set import FORMAT, FeatureSet, csv_text, write_card
from cmdml.files import naming, write_text
from cmdml.radiographs import RadiographSet
from cmdml.writing import clear_unless_files, intact_rows, note_rows, only_writer

__all__ = ["LAYERS", "FeatureSet", "extract", "of_config"]

# Pooled channels that are kept, the backbone's last block first. Small signs are gone from its 7 x 7 maps: an earlier
# block, of 14 x 14, is kept beside it. Backbones that are not listed keep their own feature vector.
LAYERS = {"efficientnet_lite0": {"blocks.6": 320, "blocks.4": 112}}
_FROM_RADIOGRAPHS = ("name", "title", "source", "licence", "citation", "note", "counts", "made_with", "findings")


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
) -> FeatureSet:
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

    Raises
    ------
    ValueError
        If the radiographs changed after they were prepared, ``size`` is above theirs, or a feature is not finite.
    OSError
        No space, no permission, or another process is writing the folder; the sentence names path and process.
    """
    folder, size = Path(folder), size or radiographs.size
    if size > radiographs.size:
        raise ValueError(f"size {size} is above the radiographs' {radiographs.size} px: nothing is enlarged")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        extractor = VisualExtractor(backbone, weights).eval()
    about = provenance(extractor, backbone, weights, seed) | {"size": size}
    about |= {"radiographs_sha256": radiographs.card["sha256"]}
    layers, key = about["layers"], hashlib.sha256(json.dumps([FORMAT, about], sort_keys=True).encode()).hexdigest()
    if (present := _present(folder, key)) is not None:
        return present
    radiographs.verify()
    shape, read = (len(radiographs), sum(layers.values())), _reader(extractor.to(device), [*layers][1:], size, device)
    with naming(folder), only_writer(folder):
        partial = _continued(folder, f"{key} {batch_size} {device}")
        with _all_cores():
            _append(partial / "features.safetensors", shape, lambda rows: read(radiographs.pixels[rows]), batch_size,
                    progress)  # fmt: skip
        card = {name: radiographs.card[name] for name in _FROM_RADIOGRAPHS if name in radiographs.card}
        card |= {"columns": store.column_kinds(radiographs.table), **about, "key": key}
        _publish(partial, folder, csv_text(radiographs.table), card)
    return FeatureSet.load(folder)


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


def provenance(extractor: VisualExtractor, backbone: str, weights: str, seed: int) -> dict:
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


def _continued(folder: Path, request: str) -> Path:
    """``<folder>.partial``: what an interrupted run of the same request left there, or emptied."""
    partial = folder.with_name(folder.name + ".partial")
    clear_unless_files(partial)
    if not ((partial / "request").is_file() and (partial / "request").read_bytes() == request.encode()):
        shutil.rmtree(partial, ignore_errors=True)
        write_text(partial / "request", request)
    return partial


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


def _append(path: Path, shape: tuple[int, int], read, batch_size: int, progress: bool) -> None:
    """Write a safetensors file batch by batch, from the last whole batch of an interrupted run on."""
    header = {"features": {"dtype": "F16", "shape": shape, "data_offsets": [0, 2 * shape[0] * shape[1]]}}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    start, row = 8 + len(text), 2 * shape[1]
    done = intact_rows(path, start, row, shape[0])
    with open(path, "r+b" if path.exists() else "w+b") as file:
        done -= done % batch_size if done < shape[0] else 0  # the same batches as without interruption
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(start + done * row)
        file.seek(start + done * row)
        with tqdm(total=shape[0], initial=done, unit=" films", desc="features", disable=not progress) as bar:
            for first in range(done, shape[0], batch_size):
                features = read(slice(first, first + batch_size))
                if not np.isfinite(features).all():
                    raise ValueError(f"{path}: a feature of films {first} to {first + batch_size} is not finite")
                note_rows(path, first, features)
                file.write(features.tobytes())
                file.flush()
                os.fsync(file.fileno())  # so that the length never runs ahead of the features
                bar.update(len(features))


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


def _publish(partial: Path, folder: Path, table: str, card: dict) -> None:
    """Finish the set and give it its name; files of an older one are replaced, the card, which makes the set, last."""
    write_text(partial / "table.csv", table)
    write_card(partial / "card.json", card, partial / "features.safetensors", partial / "table.csv")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").unlink(missing_ok=True)
    for name in ("features.safetensors", "table.csv", "card.json"):
        os.replace(partial / name, folder / name)
    shutil.rmtree(partial)


def main(radiographs: str, folder: str, backbone: str, weights: str = "") -> None:
    """``python -m cmdml.features RADIOGRAPHS FOLDER BACKBONE [WEIGHTS]``: one job, so that trainings need not race."""
    extract(RadiographSet.load(radiographs), place(folder, backbone, weights), backbone=backbone, weights=weights)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"no features were extracted. {error}")
