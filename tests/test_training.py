"""Training: it learns, never reads an unseen label, resumes bit-identically and refuses to mix runs."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score

from cmdml import run_folder, training
from cmdml.files import seal
from cmdml.radiographs import RadiographSet
from cmdml.training import TrainConfig, fit, load_run, seen_validation_auroc

CONFIG = TrainConfig(
    backbone="small_cnn", dim=16, hidden=16, dropout=0.1, epochs=3, batch_size=16, lr=3e-3, seed=5
)


def run(partition, vectors, out, config=CONFIG):
    return fit(partition, vectors, config, out, progress=False, accelerator="cpu")


@pytest.fixture(scope="module")
def whole(tiny_partition, vectors, tmp_path_factory):
    return run(tiny_partition, vectors, tmp_path_factory.mktemp("whole") / "training")


def test_run_directory_holds_what_later_steps_read(whole, tiny_partition):
    assert {f.name for f in whole.out.iterdir()} == {
        "config.json",
        "embeddings.npz",
        "history.csv",
        "seal.json",
        "weights.safetensors",
    }
    history, found = whole.history, whole.embeddings
    assert list(history["epoch"]) == [1, 2, 3]
    assert {"step", "seconds", "lr", "loss", "loss_positive", "loss_negative", "val_seen_auroc"} <= set(history)
    np.testing.assert_allclose(history["loss"], history["loss_positive"] + history["loss_negative"], rtol=1e-5)
    np.testing.assert_array_equal(found["index"], np.concatenate([tiny_partition.val, tiny_partition.test]))
    m = len(found["index"])
    assert found["visual"].shape == (m, 16) and found["semantic"].shape == (14, 16) and found["scores"].shape == (m, 14)


def test_saved_embeddings_are_those_of_the_saved_weights(whole, tiny):
    images = torch.from_numpy(tiny.pixels[whole.embeddings["index"][:8]]).unsqueeze(1)
    with torch.no_grad():
        scores = load_run(whole.out).model.score(images)
    np.testing.assert_allclose(scores.numpy(), whole.embeddings["scores"][:8], atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_it_learns_in_bfloat16_and_the_cpu_reads_the_result(tiny_partition, vectors, tmp_path):
    done = fit(tiny_partition, vectors, CONFIG, tmp_path / "training", progress=False)
    assert done.history["loss"].iloc[-1] < done.history["loss"].iloc[0]
    images = torch.from_numpy(tiny_partition.radiographs.pixels[done.embeddings["index"][:8]]).unsqueeze(1)
    with torch.no_grad():
        scores = done.model.score(images)  # on the CPU, in float32
    np.testing.assert_allclose(scores.numpy(), done.embeddings["scores"][:8], atol=0.1)


def test_best_seen_validation_epoch_is_kept(whole, tiny_partition):
    rows, seen = tiny_partition.val, tiny_partition.findings.seen_index
    labels = tiny_partition.radiographs.labels[rows][:, seen]
    kept = seen_validation_auroc(labels, whole.embeddings["scores"][: len(rows)][:, seen])
    assert kept == pytest.approx(whole.history["val_seen_auroc"].max(), abs=1e-6)


def test_it_learns_the_seen_findings(tiny_partition, vectors, tmp_path):
    config = dataclasses.replace(CONFIG, epochs=15, lr=6e-3, dim=32, augment=False, dropout=0.0)
    assert run(tiny_partition, vectors, tmp_path / "out", config).history["val_seen_auroc"].max() > 0.65


def test_an_interrupted_run_ends_bit_identical(whole, tiny_partition, vectors, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    calls = iter(range(99))

    def killed_in_the_second_epoch(labels, scores):
        if next(calls) == 1:
            raise Killed
        return seen_validation_auroc(labels, scores)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training, "seen_validation_auroc", killed_in_the_second_epoch)
        run(tiny_partition, vectors, tmp_path / "out")
    assert (tmp_path / "out" / "checkpoint.safetensors").exists()
    resumed = run(tiny_partition, vectors, tmp_path / "out")
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for name, value in whole.embeddings.items():
        np.testing.assert_array_equal(value, resumed.embeddings[name])
    pd.testing.assert_frame_equal(whole.history.drop(columns="seconds"), resumed.history.drop(columns="seconds"))


def test_a_run_that_had_stopped_early_stays_stopped(tiny_partition, vectors, tmp_path, monkeypatch):
    """Killed between the last epoch and the final files, it must not train on."""
    config = dataclasses.replace(CONFIG, epochs=6, patience=1)
    falling = iter([0.9, 0.8, 0.7, 0.6, 0.95, 0.99])

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "seen_validation_auroc", lambda *_: next(falling))
        patch.setattr(training, "save_run", killed)
        run(tiny_partition, vectors, tmp_path / "out", config)
    assert list(run(tiny_partition, vectors, tmp_path / "out", config).history["val_seen_auroc"]) == [0.9, 0.8]


def test_unseen_labels_never_enter(whole, tiny_partition, vectors, tmp_path):
    """Flip every unseen label of val and test: nothing that training produces may change."""
    data, findings = tiny_partition.radiographs, tiny_partition.findings
    table = data.table.copy()
    held_out = (table["split"] != "train").to_numpy()
    for key in findings.unseen:
        table.loc[held_out, key] = 1 - table.loc[held_out, key]
    flipped = dataclasses.replace(
        tiny_partition, radiographs=RadiographSet(pixels=data.pixels, table=table, card=data.card, folder=data.folder)
    )
    other = run(flipped, vectors, tmp_path / "out")
    for name, value in whole.embeddings.items():
        np.testing.assert_array_equal(value, other.embeddings[name])
    assert list(other.history["val_seen_auroc"]) == list(whole.history["val_seen_auroc"])


def test_finished_run_is_loaded_not_repeated(whole, tiny_partition, vectors, monkeypatch):
    monkeypatch.setattr(training, "build_model", lambda *a: pytest.fail("trained again") if a[0] == CONFIG else None)
    monkeypatch.setattr(training, "load_run", lambda out: "loaded")
    assert run(tiny_partition, vectors, whole.out) == "loaded"


@pytest.mark.parametrize("change", [{"gamma": 0.0}, {"seed": 6}])
def test_another_configuration_is_refused(whole, tiny_partition, vectors, change):
    (name, value), there = next(iter(change.items())), getattr(CONFIG, next(iter(change)))
    with pytest.raises(ValueError, match=f"another configuration .*{name} = {there!r} there, {value!r} now"):
        run(tiny_partition, vectors, whole.out, dataclasses.replace(CONFIG, **change))


def test_other_vectors_are_refused(whole, tiny_partition, vectors):
    with pytest.raises(ValueError, match="another configuration"):
        run(tiny_partition, vectors.flip(0), whole.out)


def test_selection_criterion_is_scikit_learns_mean_among_abnormal_images():
    rng = np.random.default_rng(0)
    labels, scores = (rng.random((80, 3)) < 0.3).astype(int), rng.normal(size=(80, 3))
    labels[:, 2] = 0  # never positive: left out
    rows = labels.any(1)
    expected = np.mean([roc_auc_score(labels[rows, c], scores[rows, c]) for c in (0, 1)])
    assert seen_validation_auroc(labels, scores) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match="no seen finding"):
        seen_validation_auroc(labels * 0, scores)


def test_a_diverged_run_says_what_to_change(tiny_partition, vectors, tmp_path):
    config = dataclasses.replace(CONFIG, normalize=False, augment=False, lr=1e12)
    with pytest.raises(ValueError, match="loss became .* lower lr"):
        run(tiny_partition, vectors, tmp_path / "out", config)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gama": 3}, "unknown training parameter 'gama': did you mean 'gamma'"),
        ({"objective": "focussed"}, "did you mean 'focused'"),
        ({"epochs": 0}, "epochs must be greater than or equal to 1, got 0"),
        ({"precision": "fp8"}, "unknown precision"),
    ],
)
def test_bad_configuration_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_dict(values)


def test_missing_run_names_the_way_out(tmp_path):
    with pytest.raises(FileNotFoundError, match="03_training"):
        load_run(tmp_path)


def test_weights_of_another_model_are_refused(whole, tmp_path):
    out = tmp_path / "old"
    shutil.copytree(whole.out, out)
    weights = load_file(out / "weights.safetensors")
    weights["visual_extractor.old"] = weights.pop("visual_extractor.net.0.weight")
    save_file(weights, out / "weights.safetensors")
    seal(out, run_folder.PARTS, run_folder.FORMAT)
    with pytest.raises(ValueError, match="another version of the model"):
        load_run(out)
