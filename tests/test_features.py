"""Extracted features: what they hold, that they resume, that nothing changed passes, and what they are keyed by."""

import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_tiny

from cmdml import features as module
from cmdml.efficientnet import WEIGHTS_SHA256, state_sha256
from cmdml.extractors import VisualExtractor
from cmdml.features import extract
from cmdml.findings import KEYS
from cmdml.writing import note_rows

QUIET = {"batch_size": 8, "progress": False}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CMDML_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("films") / "radiographs", n=28)


@pytest.fixture(scope="module")
def whole(films, tmp_path_factory):
    return extract(films, tmp_path_factory.mktemp("whole") / "features", **QUIET)


def copied(features, to):
    shutil.copytree(features.folder, to)
    return to


def test_the_two_layers_are_pooled_from_the_network(films, whole):
    from cmdml.efficientnet import efficientnet_lite0

    net = efficientnet_lite0().eval()
    assert whole.pixels.shape == (28, 432) and whole.pixels.dtype == np.float16 and whole.size == 64
    assert whole.layers == {"blocks.6": slice(0, 320), "blocks.4": slice(320, 432)}
    shown = (torch.from_numpy(films.pixels[5:9].copy())[:, None].float() / 127.5 - 1).expand(-1, 3, -1, -1)
    with torch.no_grad():
        maps = net.bn1(net.conv_stem(shown))
        for k, block in enumerate(net.blocks):
            maps = block(maps)
            name = f"blocks.{k}"
            if name in whole.layers:
                wanted = maps.mean((2, 3)).numpy()
                np.testing.assert_allclose(whole.pixels[5:9, whole.layers[name]], wanted, atol=5e-3, rtol=2e-3)
        # the earlier layer is the last block with 112 channels
        assert net.blocks[4][-1].conv_pwl.out_channels == 112 != net.blocks[5][0].conv_pwl.out_channels


def test_a_feature_set_has_what_radiographs_have(films, whole):
    assert whole.findings == films.findings == KEYS and len(whole) == 28
    assert whole.table.equals(films.table) and np.array_equal(whole.labels, films.labels)
    assert not whole.pixels.flags.writeable
    assert whole.card["radiographs_sha256"] == films.card["sha256"] != whole.card["sha256"]
    whole.verify()


def test_features_do_not_depend_on_the_batch(films, whole, tmp_path):
    other = extract(films, tmp_path / "features", batch_size=5, progress=False)
    np.testing.assert_allclose(other.pixels.astype(float), whole.pixels.astype(float), atol=4e-3, rtol=2e-3)
    assert other.card["key"] == whole.card["key"]


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_a_killed_extraction_continues_and_ends_bit_identical(films, whole, tmp_path, monkeypatch, batches):
    """Killed inside a write: whole batches before it are kept, the torn one is made again."""
    folder, made = tmp_path / "features", []

    def reader(*args):
        read = original(*args)

        def dying(pixels):
            if len(made) == batches and not resumed:
                raise KeyboardInterrupt
            made.append(len(pixels))
            return read(pixels)

        return dying

    original, resumed = module._reader, False
    monkeypatch.setattr(module, "_reader", reader)
    with pytest.raises(KeyboardInterrupt):
        extract(films, folder, **QUIET)
    assert not folder.exists()
    with open(tmp_path / "features.partial" / "features.safetensors", "ab") as file:
        file.write(b"\1" * (3 * 864 + 7))  # three rows and a half of the next batch
    resumed, before = True, list(made)
    again = extract(films, folder, **QUIET)
    assert made == before + [8, 8, 8, 4][batches:]
    assert (folder / "features.safetensors").read_bytes() == (whole.folder / "features.safetensors").read_bytes()
    assert again.card == whole.card and not (tmp_path / "features.partial").exists()


def test_rows_of_other_batches_are_not_continued(films, tmp_path, monkeypatch):
    made = []

    def reader(*args, original=module._reader):
        read = original(*args)

        def counting(pixels):
            if made == [8]:
                made.append("killed")
                raise KeyboardInterrupt
            made.append(len(pixels))
            return read(pixels)

        return counting

    monkeypatch.setattr(module, "_reader", reader)
    with pytest.raises(KeyboardInterrupt):
        extract(films, tmp_path / "features", **QUIET)
    extract(films, tmp_path / "features", batch_size=4, progress=False)
    assert made == [8, "killed"] + [4] * 7


@pytest.mark.parametrize("request_of", ["", "{key} 7 cpu", "0123 8 cpu"])
def test_other_settings_do_not_continue_from_old_rows(films, whole, tmp_path, request_of):
    """Rows of another set, or in other batches, are not ours, though the file looks like it."""
    partial = tmp_path / "features.partial"
    partial.mkdir()
    data = bytearray((whole.folder / "features.safetensors").read_bytes()[:-9000])
    data[2000] ^= 1
    (partial / "features.safetensors").write_bytes(data)
    rows = whole.pixels[: len(whole) - 9000 // whole.pixels[0].nbytes - 1].copy()
    start = (whole.folder / "features.safetensors").stat().st_size - whole.pixels.nbytes
    rows.reshape(-1).view(np.uint8)[2000 - start] ^= 1
    note_rows(partial / "features.safetensors", 0, rows)
    (partial / "request").write_text(request_of.format(key=whole.card["key"]))
    assert np.array_equal(extract(films, tmp_path / "features", **QUIET).pixels, whole.pixels)


def test_the_same_key_is_loaded_and_another_is_extracted(films, whole, tmp_path, monkeypatch):
    folder, count = copied(whole, tmp_path / "features"), []

    def reader(*args, original=module._reader):
        count.append(1)
        return original(*args)

    monkeypatch.setattr(module, "_reader", reader)
    assert extract(films, folder, **QUIET).card == whole.card and not count
    (folder / "figure.png").touch()
    smaller = extract(films, folder, size=48, **QUIET)
    assert smaller.size == 48 and len(count) == 1 and (folder / "figure.png").exists()
    assert not np.array_equal(smaller.pixels, whole.pixels)
    others = make_tiny(tmp_path / "others", n=28, seed=1)
    changed = extract(others, folder, **QUIET)
    assert len(count) == 2 and changed.card["key"] != whole.card["key"]
    assert changed.table.equals(others.table)
    data = bytearray((folder / "features.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "features.safetensors").write_bytes(data)
    assert np.array_equal(extract(others, folder, **QUIET).pixels, changed.pixels) and len(count) == 3


def test_smaller_sizes_are_box_means_and_nothing_is_enlarged(films, whole, tmp_path):
    half = extract(films, tmp_path / "half", size=32, **QUIET)
    boxes = films.pixels[:4].reshape(4, 32, 2, 32, 2).mean((2, 4), dtype=np.float64)
    from cmdml.extractors import VisualExtractor

    with torch.no_grad():
        wanted = VisualExtractor("efficientnet_lite0", "imagenet").eval()(torch.from_numpy(boxes)[:, None] / 255)
    np.testing.assert_allclose(half.pixels[:4, :320], wanted.numpy(), atol=5e-3, rtol=2e-3)
    with pytest.raises(ValueError, match="size 65 is above the radiographs' 64 px"):
        extract(films, tmp_path / "big", size=65)


def test_the_control_has_random_weights_that_follow_the_seed(films, whole, tmp_path):
    state = torch.get_rng_state()
    control = extract(films, tmp_path / "a", weights="", **QUIET)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    again = extract(films, tmp_path / "b", weights="", **QUIET)
    other = extract(films, tmp_path / "c", weights="", seed=1, **QUIET)
    assert np.array_equal(control.pixels, again.pixels) and control.card["key"] == again.card["key"]
    assert not np.array_equal(control.pixels, whole.pixels) and not np.array_equal(control.pixels, other.pixels)
    assert len({s.card["weights_sha256"] for s in (control, other, whole)}) == 3
    assert len({s.card["key"] for s in (control, other, whole)}) == 3
    spread = control.pixels.astype(float).std(0)
    assert np.isfinite(spread).all() and (spread > 0).mean() > 0.9


def test_other_backbones_give_their_own_vector(films, tmp_path):
    features = extract(films, tmp_path / "features", backbone="small_cnn", weights="", **QUIET)
    assert features.pixels.shape == (28, 1536) and features.layers == {"last": slice(0, 1536)}


def test_radiographs_that_changed_are_refused_before_they_are_read(tmp_path):
    films = make_tiny(tmp_path / "films", n=8)
    data = bytearray((tmp_path / "films" / "pixels.npy").read_bytes())
    data[-1] ^= 1
    (tmp_path / "films" / "pixels.npy").write_bytes(data)
    with pytest.raises(ValueError, match="content changed after it was prepared"):
        extract(films, tmp_path / "features", **QUIET)
    assert not (tmp_path / "features").exists() and not (tmp_path / "features.partial").exists()


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
def test_features_that_are_not_finite_are_refused(films, tmp_path, monkeypatch, odd):
    def reader(*args):
        return lambda pixels: np.where(np.arange(432) == 300, odd, np.zeros((len(pixels), 1))).astype(np.float16)

    monkeypatch.setattr(module, "_reader", reader)
    with pytest.raises(ValueError, match="films 0 to 8 is not finite"):
        extract(films, tmp_path / "features", **QUIET)


def test_a_network_of_one_s_own_is_told_by_its_weights(films, tmp_path):
    class Mean(torch.nn.Module):
        features = 2

        def __init__(self, factor):
            super().__init__()
            self.factor, self.net = torch.nn.Parameter(torch.tensor(factor)), torch.nn.Identity()

        def forward(self, images):
            mean = images.float().mean((1, 2, 3)) / 255
            return torch.stack([self.factor * mean, mean], 1)

    one = extract(films, tmp_path / "own", extractor=Mean(3.0), backbone="mine", **QUIET)
    mean = films.pixels.reshape(28, -1).mean(1) / 255
    np.testing.assert_allclose(one.pixels, np.stack([3 * mean, mean], 1), rtol=2e-3)
    assert (one.card["backbone"], one.card["weights"], one.card["seed"]) == ("mine", "", None)
    again = extract(films, tmp_path / "own", extractor=Mean(3.0), backbone="mine", **QUIET)
    other = extract(films, tmp_path / "own", extractor=Mean(4.0), backbone="mine", **QUIET)
    assert again.card["key"] == one.card["key"] != other.card["key"]


def test_only_a_frozen_backbone_trains_on_features(films, tmp_path, monkeypatch):
    from cmdml.config import TrainConfig

    asked = []

    def extract(radiographs, folder, **options):
        asked.append((radiographs, folder, options))
        return "features"

    monkeypatch.setattr(module, "extract", extract)
    assert module.of_config(films, TrainConfig(tune="all"), tmp_path) is films and not asked
    config = TrainConfig(tune="frozen", backbone="efficientnet_lite0", weights="imagenet", augment=False)
    assert module.of_config(films, config, tmp_path, batch_size=4) == "features"
    options = {"backbone": "efficientnet_lite0", "weights": "imagenet", "batch_size": 4}
    assert asked == [(films, tmp_path / "efficientnet_lite0-imagenet", options)]
    assert module.place(tmp_path, "efficientnet_lite0", "") == tmp_path / "efficientnet_lite0-random"


def test_a_training_on_features_names_the_radiographs_and_the_features(films, whole, tmp_path):
    from cmdml.config import TrainConfig
    from cmdml.findings import findings_of, split_findings
    from cmdml.run_folder import claim
    from cmdml.semantics import semantic_vectors

    vectors, findings = semantic_vectors(findings_of(KEYS), "signs"), split_findings(KEYS, "default")
    for name, data in (("features", whole), ("films", films)):
        config = TrainConfig(tune="frozen" if name == "features" else "all", augment=name == "films")
        parts = SimpleNamespace(radiographs=data, findings=findings, train=[0], val=[1], test=[2])
        (tmp_path / name).mkdir()
        claim(tmp_path / name, parts, vectors, config)
        held = json.loads((tmp_path / name / "config.json").read_text())
        assert held["data_sha256"] == films.card["sha256"]
        assert held.get("features_sha256") == (whole.card["sha256"] if name == "features" else None)


def test_the_provenance_tells_weights_and_seed(films):
    extractor = VisualExtractor("small_cnn", "")
    about = module.provenance(extractor, "small_cnn", "", 7)
    assert about == {"backbone": "small_cnn", "weights": "", "seed": 7, "layers": {"last": extractor.features},
                     "weights_sha256": state_sha256(extractor.state_dict())}  # fmt: skip
    about = module.provenance(extractor, "resnet18", "imagenet", 7)
    assert about["weights"] == "imagenet" and about["seed"] is None
    assert about["weights_sha256"] == state_sha256(extractor.state_dict())  # pinned for one backbone only
    assert module.provenance(extractor, "efficientnet_lite0", "imagenet", 0)["weights_sha256"] == WEIGHTS_SHA256


def test_a_job_of_its_own_is_told_all_it_needs(films, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "extract", lambda radiographs, folder, **options: asked.append(
        (radiographs.folder, folder, options)))  # fmt: skip
    module.main(str(films.folder), str(tmp_path), "efficientnet_lite0", "imagenet", "1/4")
    module.main(str(films.folder), str(tmp_path), "resnet18")
    options = {"backbone": "efficientnet_lite0", "weights": "imagenet", "shard": (1, 4)}
    assert asked == [(films.folder, tmp_path / "efficientnet_lite0-imagenet", options),
                     (films.folder, tmp_path / "resnet18-random", {"backbone": "resnet18", "weights": "",
                                                                   "shard": None})]  # fmt: skip
    for shard in ("1", "a/4", "1/4/2", "-1/4"):
        with pytest.raises(ValueError, match="expected part and number of parts, such as 0/4"):
            module.main(str(films.folder), str(tmp_path), "small_cnn", "", shard)


def test_an_extraction_takes_all_cores_unless_told_otherwise_and_gives_them_back(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(before + 2)), raising=False)
    for told, threads in ((None, before + 2), ("1", before)):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if told:
            monkeypatch.setenv("OMP_NUM_THREADS", told)
        with pytest.raises(KeyboardInterrupt), module._all_cores():
            assert torch.get_num_threads() == threads
            raise KeyboardInterrupt
        assert torch.get_num_threads() == before
