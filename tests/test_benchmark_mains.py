"""What benchmarks run and print of it: each ``main`` on a little, with times that are given and sums done by hand."""

import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cmdml.findings import KEYS
from cmdml.heads import HEADS, load_head
from cmdml.study.places import ROOT

SECONDS = {"seconds": 2.0, "fastest": 1.0, "slowest": 4.0, "per_second": 10.0, "ratio": 3.0}


@pytest.fixture
def benchmark(monkeypatch):
    """A benchmark by its name: its methods run once each, all with the same times, and its report is kept."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)

    def load(name, *words):
        module = importlib.import_module(name)
        told = SimpleNamespace(module=module, measured=[], answers=[], reports=[])

        def measure(methods, repeats, items=1, clock=None):
            told.measured.append((list(methods), repeats, items, clock))
            told.answers.append([method() for method in methods.values()])
            return [{"method": name, **SECONDS} for name in methods]

        monkeypatch.setattr(module, "measure", measure)
        monkeypatch.setattr(module, "report", lambda *given, **about: told.reports.append((*given, about)))
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
        return told

    threads = torch.get_num_threads()
    yield load
    torch.set_num_threads(threads)
    for name in ("features", "input_pipeline", "loss", "sealing", "timing", "train_step"):
        if name not in before:
            sys.modules.pop(name, None)


def test_options_have_the_type_of_their_default(benchmark, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    timing = importlib.import_module("timing")
    monkeypatch.setattr(sys, "argv", ["a.py"])
    assert vars(timing.arguments("Doc.", walk_pairs=7, root="")) == {
        "repeats": 5, "out": None, "walk_pairs": 7, "root": ""}  # fmt: skip
    words = ["--walk-pairs", "9", "--root", "12", "--repeats", "3", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["a.py", *words])
    assert vars(timing.arguments("Doc.", walk_pairs=7, root="")) == {
        "repeats": 3, "out": tmp_path, "walk_pairs": 9, "root": "12"}  # fmt: skip


def test_a_walk_over_few_images_is_scaled_to_the_batch(benchmark, monkeypatch, tmp_path):
    told = benchmark("loss", "--batch", "32", "--repeats", "2", "--out", str(tmp_path))
    module, walked, whole = told.module, [], []

    def walk(visual, semantic, labels):
        walked.append((len(visual), len(semantic), tuple(labels.shape)))
        for points in (visual, semantic):
            torch.testing.assert_close(points.norm(dim=1), torch.ones(len(points)))
        return visual.sum() + semantic.sum()

    ours = module.weighted_focused_euclidean
    monkeypatch.setattr(module, "walk", walk)
    monkeypatch.setattr(module, "weighted_focused_euclidean",
                        lambda far, labels: whole.append((far.shape, labels.mean())) or ours(far, labels))  # fmt: skip
    module.main()
    few = {14: 32, 200: 20, 5000: 1}  # 4,096 pairs at most, one image at least, and no more than there are
    assert walked == [(n, count, (n, count)) for count, n in few.items()]
    assert [shape for shape, _ in whole] == [(32, count) for count in few]
    assert all(0.03 < share < 0.2 for _, share in whole)
    assert [entry[1:3] for entry in told.measured] == [(2, 1)] * 3
    ((name, rows, out, about),) = told.reports
    assert (name, out, about) == ("loss", tmp_path, {"repeats": 2, "batch": 32, "dim": 128, "device": "cpu"})
    for (count, n), fast, slow in zip(few.items(), rows[::2], rows[1::2]):
        assert (fast["findings"], fast["method"]) == (count, "vectorised")
        assert (slow["findings"], slow["method"]) == (count, "walk")
        assert [slow[key] for key in ("seconds", "fastest", "slowest")] == pytest.approx([64 / n, 32 / n, 128 / n])
        assert slow["per_second"] == pytest.approx(10 * n / 32) and slow["walked_images"] == n
        assert fast["seconds"] == 2 and fast["ratio"] == pytest.approx(96 / n) and slow["ratio"] == 3
        # scores and two gradients: three products of (32, 128) and (128, count), two operations for each number
        assert fast["gflops"] == pytest.approx(3 * 2 * 32 * 128 * count / 2 / 1e9)


def test_a_time_of_the_loss_ends_when_a_gradient_is_there(benchmark, monkeypatch):
    """A GPU works on after ``backward`` has returned: reading a number of the gradient waits for it."""
    module, item, read, waited = benchmark("loss", "--batch", "4", "--repeats", "1").module, torch.Tensor.item, [], []

    def measure(methods, repeats):
        for name, method in methods.items():
            read.clear()
            method()
            waited.append((name, len(read)))
        return [{"method": name, **SECONDS} for name in methods]

    monkeypatch.setattr(module, "walk", lambda visual, semantic, labels: visual.sum() + semantic.sum())
    monkeypatch.setattr(module, "measure", measure)
    monkeypatch.setattr(torch.Tensor, "item", lambda self: read.append(self) or item(self))
    module.main()
    assert waited == [("vectorised", 1), ("walk", 1)] * 3


def test_the_plain_ranking_loss_walks_over_all_pairs_of_an_image(benchmark):
    module = benchmark("train_step").module
    scores = torch.tensor([[0.9, 0.1, 0.6], [0.2, 0.3, 0.4], [0.5, 0.5, 0.5]])
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 0, 0]])
    # 0.9 and 0.6 against 0.1: 0 and 0; none; 0.5 twice against 0.5: 0.5 + 0.5, the mean of two
    assert float(module.ranking_per_image(scores, labels)) == pytest.approx((0 + 0 + 0.5) / 3)
    assert float(module.ranking_per_image(scores, labels, margin=1)) == pytest.approx(((0.2 + 0.5) / 2 + 1) / 3)


def test_both_training_steps_are_steps_of_the_same_batch(benchmark, monkeypatch, tmp_path):
    words = ["--backbone", "resnet18", "--size", "32", "--batch", "3", "--steps", "2", "--repeats", "4"]
    told = benchmark("train_step", *words, "--out", str(tmp_path))
    module, shown, stepped, made = told.module, [], [], []
    augment, model = module.augment, module.CMDML

    class Small(module.Plain):
        def forward(self, images):
            found = super().forward(images)
            shown.append(("plain", images, found))
            return found

    monkeypatch.setattr(module, "Plain", Small)
    monkeypatch.setattr(module, "CMDML", lambda vectors, **named: made.append(named) or model(vectors, **named))
    monkeypatch.setattr(module, "augment", lambda images: shown.append(("ours", images)) or augment(images))
    for kind in (torch.optim.AdamW, torch.optim.Adam):
        step = kind.step

        def counted(self, *given, step=step, **named):
            stepped.append((type(self).__name__, self.param_groups[0]["lr"],
                            any(p.grad is not None and p.grad.any() for p in self.param_groups[0]["params"])))
            return step(self, *given, **named)  # fmt: skip

        monkeypatch.setattr(kind, "step", counted)
    module.main()
    assert made == [{"backbone": "resnet18"}] * 2
    ours, plain = ([entry for entry in shown if entry[0] == who] for who in ("ours", "plain"))
    assert len(ours) == 4 and len(plain) == 2  # two precisions of ours, two steps each
    images = ours[0][1]
    assert images.dtype == torch.uint8 and images.shape == (3, 1, 32, 32)
    for _, colour, found in plain:
        torch.testing.assert_close(colour, (images.float() / 255).repeat(1, 3, 1, 1))
        assert colour.is_contiguous() and found.shape == (3, 10) and found.abs().max() <= 1 + 1e-5
    adam = [entry for entry in stepped if entry[0] == "Adam"]
    assert len(adam) == 2 and all(lr == 1e-4 and learnt for _, lr, learnt in stepped)
    ((methods, repeats, items, _),) = told.measured
    assert methods == ["ours, bfloat16", "ours, float32", "plain float32 loop"] and (repeats, items) == (4, 6)
    ((name, rows, out, about),) = told.reports
    assert (name, out) == ("train_step_cpu", tmp_path) and [row["method"] for row in rows] == methods
    assert about == {"backbone": "resnet18", "size": 32, "batch": 3, "steps": 2, "repeats": 4, "device": "cpu"}


@pytest.fixture
def films(tmp_path):
    """Three PNG files of 20 px, told apart by their grey values; one lies in a folder of its own."""
    folder = tmp_path / "films"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i, name in enumerate(("a.png", "b.png", "more/c.png")):
        Image.fromarray(rng.integers(60 * i, 60 * i + 50, (20, 20), dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no film")
    return folder


def test_store_and_png_files_hold_the_same_films(benchmark, monkeypatch, films, tmp_path):
    words = ["--root", str(films), "--images", "7", "--source-size", "20", "--repeats", "2", "--out", str(tmp_path)]
    told, asked = benchmark("input_pipeline", *words), []
    module = told.module
    monkeypatch.setattr(module, "SIZE", 10)
    monkeypatch.setattr(module, "BATCH", 3)
    seen, augmented = [], []
    batches, augment = module.Batches, module.augment

    def loader(data, batch, **how):
        asked.append((data, batch, how))
        return [torch.stack([data[i] for i in range(len(data))])]

    def drawn(images):
        seen.append(images)
        augmented.append(augment(images))
        return augmented[-1]

    monkeypatch.setattr(module, "DataLoader", loader)
    monkeypatch.setattr(module, "augment", drawn)
    stores = []
    monkeypatch.setattr(module, "Batches", lambda *given: stores.append(given) or batches(*given))
    module.main()
    ((data, batch, how),) = asked
    assert [path.name for path in data.files] == ["a.png", "b.png", "c.png", "a.png", "b.png", "c.png", "a.png"]
    assert batch == 3 and how == {"shuffle": True, "num_workers": 2, "persistent_workers": True}
    ((pixels, rows, _),) = stores
    assert isinstance(pixels, np.memmap) and rows.tolist() == list(range(7))
    for row, path in zip(pixels, data.files):
        whole = np.asarray(Image.open(path), float)
        assert np.abs(row - whole.reshape(10, 2, 10, 2).mean((1, 3))).max() <= 1  # rounded along each axis
    assert sorted(int(film.float().mean() // 60) for part in seen for film in part) == [0, 0, 0, 1, 1, 2, 2]
    assert max(len(part) for part in seen) == 3
    assert told.answers[0][0] == pytest.approx(float(((augmented[-1] - 0.449) / 0.226).sum()), rel=1e-5)  # normalised
    assert told.measured[0][:3] == (["memory-mapped store", "PNG, DataLoader, 2 workers"], 2, 7)
    ((name, _, out, about),) = told.reports
    assert (name, out) == ("input_pipeline_20px", tmp_path)
    assert about == {"repeats": 2, "images": 7, "files": 3, "source": "folder", "source_size": 20, "device": "cpu"}


def test_without_a_folder_phantoms_are_drawn_at_the_asked_size(benchmark, monkeypatch):
    told, drawn = benchmark("input_pipeline", "--images", "60", "--source-size", "64", "--repeats", "1"), []
    module = told.module
    prepare = module.phantom.prepare

    def noted(folder, **named):
        drawn.append(named)
        return prepare(folder, **named)

    monkeypatch.setattr(module.phantom, "prepare", noted)
    monkeypatch.setattr(module, "DataLoader", lambda data, *_, **__: [torch.stack([data[i] for i in range(len(data))])])
    monkeypatch.setattr(module, "SIZE", 12)
    module.main()
    assert drawn == [{"size": 64, "images": 60, "progress": False}]
    ((name, _, out, about),) = told.reports
    assert (name, out, about["source"], about["files"]) == ("input_pipeline_64px", None, "phantom", 60)


def test_a_file_is_augmented_and_normalised_as_most_code_does_it(benchmark, tmp_path):
    module = benchmark("input_pipeline").module
    Image.fromarray(np.full((300, 300), 51, np.uint8)).save(tmp_path / "a.png")
    found = module.Files([tmp_path / "a.png"])[0]
    assert found.shape == (3, 224, 224)
    torch.testing.assert_close(found, torch.full_like(found, (0.2 - 0.449) / 0.226))


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def spend(self, seconds, answer=None):
        def spent(*given, **named):
            self.now += seconds
            return answer

        return spent


def test_checks_and_seals_are_a_share_of_a_training(benchmark, monkeypatch, tiny, tmp_path):
    module, clock, asked = benchmark("sealing").module, Clock(), []
    monkeypatch.setattr(module, "time", clock)
    counted = ((module.RadiographSet, "verify"), (module.run_folder, "seal"), (module.run_folder, "check_seal"),
               (module.checkpoint, "_digest"))  # fmt: skip
    for seconds, (owner, name) in zip((1, 2, 4, 8), counted):
        monkeypatch.setattr(owner, name, clock.spend(seconds, name))

    def fit(parts, vectors, config, out, **named):
        assert parts.radiographs is tiny and (config.backbone, config.epochs, out) == ("small_cnn", 7, tmp_path / "run")
        assert named == {"progress": False, "accelerator": "cpu"} and len(vectors) == len(KEYS)
        assert tiny.verify() == "verify" and module.run_folder.seal(out) == "seal"
        assert module.run_folder.check_seal(out) == "check_seal" and module.checkpoint._digest(out) == "_digest"
        asked.append(clock.spend(45)())

    monkeypatch.setattr(module, "fit", fit)
    row = module.share_of_training(tiny, tmp_path / "run", 7)
    assert len(asked) == 1 and row == {"method": "training, 400 films, 7 epochs", "seconds": 60, "share": 15 / 60}
    assert module.RadiographSet.verify(tiny) == "verify" and clock.now == 61  # and no longer counted


def test_what_is_hashed_has_the_same_bytes_everywhere(benchmark, monkeypatch, tmp_path):
    told = benchmark("sealing", "--mib", "1", "--films", "64", "--epochs", "9", "--repeats", "2")
    module, hashed, opened = told.module, [], []
    monkeypatch.setattr(module, "share_of_training", lambda data, out, epochs: {"share": (len(data), epochs)})
    sha256, verify, load = module.files.sha256, module.RadiographSet.verify, module.RadiographSet.load
    whole = module.hashlib.sha256
    monkeypatch.setattr(module.files, "sha256", lambda path: hashed.append(path.stat().st_size) or sha256(path))
    monkeypatch.setattr(module.RadiographSet, "verify", lambda self: hashed.append(self.pixels.size) or verify(self))
    monkeypatch.setattr(module, "hashlib", SimpleNamespace(sha256=lambda b: hashed.append(len(b)) or whole(b)))

    def noted(folder):
        found = load(folder)
        opened.append(found.pixels.shape)
        return found

    monkeypatch.setattr(module, "RadiographSet", SimpleNamespace(load=noted))
    module.main()
    assert hashed[0] == hashed[2] == 1 << 20 and hashed[1] == 64 * 128 * 128 == 1 << 20
    assert opened == [(64, 181, 181), (64, 64, 64)] and 181**2 / 64**2 == pytest.approx(8, rel=1e-3)
    files, sets = told.measured
    assert files[0] == ["a file", "a set", "hashlib.sha256, from memory"]
    assert sets[0] == ["open a set of 8 times the pixels", "open a set"]
    assert all(entry[1:] == (2, 1, module.time.process_time) for entry in told.measured)
    ((name, rows, _, about),) = told.reports
    assert name == "sealing" and rows[-1] == {"share": (64, 9)} and len(rows) == 6
    assert about == {"repeats": 2, "mib": 1, "films": 64, "device": "cpu"}


def test_films_of_three_sizes_are_read_on_all_cores_and_then_by_one_thread(benchmark, monkeypatch):
    told, made, read = benchmark("features"), [], []
    module = told.module

    def extractor(backbone, weights):
        made.append((backbone, weights))
        return nn.Identity().train()

    def reader(extractor, layers, size, device):
        assert not extractor.training and device == "cpu"
        return lambda batch: read.append((size, batch.shape, torch.get_num_threads(), tuple(layers)))

    monkeypatch.setattr(module, "VisualExtractor", extractor)
    monkeypatch.setattr(module, "_reader", reader)
    monkeypatch.setattr(module, "SIZES", (8, 12))
    monkeypatch.setattr(module, "FILMS", 20)
    torch.set_num_threads(2)
    rows, threads = module.speed(SimpleNamespace(backbone="efficientnet_lite0", batch=16, repeats=3))
    assert made == [("efficientnet_lite0", "imagenet")] * 2
    assert [(size, shape) for size, shape, *_ in read] == [
        (size, (n, size, size)) for size in (8, 12) for n in (16, 4)] * 2  # fmt: skip
    layers = [*module.LAYERS["efficientnet_lite0"]]
    assert all(entry[3] == tuple(layers[1:]) for entry in read)
    assert [entry[2] for entry in read] == [threads] * 4 + [1] * 4
    every, alone = told.measured
    assert every[0] == [f"8 px, {threads} threads", f"12 px, {threads} threads"] and every[1:] == (3, 20, None)
    assert alone[0] == [f"{n} px, one thread, processor time" for n in (8, 12)]
    assert alone[1:] == (3, 20, module.time.process_time)
    assert [row["method"] for row in rows] == every[0] + alone[0]


def test_a_head_is_trained_each_time_anew_on_the_committed_films(benchmark, monkeypatch):
    told, trained = benchmark("features"), []
    module = told.module
    monkeypatch.setattr(module, "fit", lambda *given, **named: trained.append((given, named)))
    config = load_head(HEADS / "nih-mini").config
    (row,) = module.heads(4)
    ((names, repeats, items, clock),) = told.measured
    assert names == [f"a head on 2,591 films, {config.epochs} epochs, one thread, processor time"]
    assert (repeats, items, clock) == (4, 1, module.time.process_time) and row["method"] == names[0]
    ((parts, vectors, given, out), named) = trained[0]
    assert given == config and len(parts.radiographs) == 2591 and vectors.shape[0] == len(KEYS) and out.name == "0"
    assert named == {"progress": False, "accelerator": "cpu"}


def test_the_table_of_features_compares_films_with_films(benchmark, monkeypatch, tmp_path):
    told = benchmark("features", "--repeats", "3", "--batch", "8", "--out", str(tmp_path))
    monkeypatch.setattr(told.module, "speed", lambda args: ([{"method": "films", "ratio": 2.0, "n": args.batch}], 5))
    monkeypatch.setattr(told.module, "heads", lambda repeats: [{"method": "head", "ratio": 1.0, "n": repeats}])
    loads = iter([(1.0, 1.0, 1.0), (2.0, 2.0, 2.0)])
    monkeypatch.setattr(told.module.os, "getloadavg", lambda: next(loads))
    monkeypatch.setattr(told.module.os, "cpu_count", lambda: 6)
    told.module.main()
    ((name, rows, out, about),) = told.reports
    assert rows == [{"method": "films", "ratio": 2.0, "n": 8}, {"method": "head", "ratio": None, "n": 3}]
    assert (name, out) == ("features", tmp_path) and about == {
        "backbone": "efficientnet_lite0", "batch": 8, "repeats": 3, "threads": 5, "cores": 6,
        "load": [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0)]}  # fmt: skip
