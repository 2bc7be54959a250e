"""A tiny radiograph set that a small network can learn in seconds: finding c is a bright square in cell c of a grid."""

import numpy as np
import pandas as pd
import pytest
import torch

from cmdml.config import TrainConfig
from cmdml.files import sealed, sha256, write_json
from cmdml.findings import KEYS, split_findings
from cmdml.radiographs import partition, write_radiographs
from cmdml.run_folder import build_model, claim, save_run


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small tensors gain nothing from threads, and parallel tests would fight over cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """A cache of our own: tests neither read nor write the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CMDML_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def head():
    """The shipped head of the phantoms."""
    from cmdml.heads import HEADS, load_head

    return load_head(HEADS / "phantom")


def vouch(folder, about):
    """A manifest that vouches for the tables of a folder, as a run would write it."""
    files = {path.name: sha256(path) for path in sorted(folder.glob("*.csv"))}
    write_json(folder / "manifest.json", sealed(about | {"files": files}))


def make_tiny(folder, n=400, size=64, seed=0):
    """n radiographs, two per patient, written to ``folder``."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, len(KEYS))) < 0.12).astype(np.uint8)
    patient = np.arange(n) // 2
    table = pd.DataFrame(
        {
            "image": [f"{i:05d}.png" for i in range(n)],
            "patient": [f"{p:05d}" for p in patient],
            "split": np.array(["train", "train", "val", "test"])[patient % 4],
            "view": "PA",
            "age": 50.0,
            "sex": "F",
        }
    )
    table = pd.concat([table, pd.DataFrame(labels, columns=list(KEYS))], axis=1)

    def fill(pixels):
        pixels[:] = rng.integers(60, 100, pixels.shape, dtype=np.uint8)
        side = size // 4
        for c in range(len(KEYS)):
            y, x = divmod(c, 4)
            pixels[labels[:, c] == 1, y * side : (y + 1) * side, x * side : (x + 1) * side] += 120

    card = {"name": "tiny", "title": "tiny", "source": "test", "licence": "none", "citation": "none"}
    return write_radiographs(
        folder, table=table, size=size, fill=fill, card=card | {"findings": list(KEYS), "made_with": {}}
    )


def make_training(folder, data, vectors, **changes):
    """A finished training of ``data`` with random weights and embeddings; nothing is learnt."""
    parts, config = partition(data, split_findings(KEYS)), TrainConfig(
        **{"backbone": "small_cnn", "dim": 6, "hidden": 0, "epochs": 1} | changes)  # fmt: skip
    claim(folder, parts, vectors, config)
    torch.manual_seed(0)
    model = build_model(config, vectors, data.pixels.shape[1] if config.tune == "frozen" else None)
    index = np.concatenate([parts.val, parts.test])[::-1]
    visual = np.random.default_rng(0).normal(size=(len(index), 6)).astype(np.float32)
    embeddings = {"index": index, "visual": visual, "scores": np.zeros((len(index), len(KEYS)), np.float32)}
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_run(folder, weights, pd.DataFrame({"epoch": [1]}), embeddings, {})
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny") / "radiographs")


@pytest.fixture(scope="session")
def tiny_partition(tiny):
    return partition(tiny, split_findings(KEYS))


@pytest.fixture(scope="session")
def vectors():
    generator = torch.Generator().manual_seed(0)
    return torch.nn.functional.normalize(torch.randn(len(KEYS), 12, generator=generator))
