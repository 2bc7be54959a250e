"""Training: it learns, never reads an unseen label, resumes bit-identically and refuses to mix runs."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_tiny
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score

from cmdml import run_folder, training
from cmdml.files import seal
from cmdml.findings import KEYS, split_findings
from cmdml.objectives import OBJECTIVES
from cmdml.radiographs import RadiographSet, partition
from cmdml.study.places import tau_of
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
    steps = -(-len(tiny_partition.train) // CONFIG.batch_size)
    assert history["step"].tolist() == [steps, 2 * steps, 3 * steps]
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


def test_a_checkpoint_that_outlived_its_training_is_swept_away(whole, tiny_partition, vectors, tmp_path):
    """Killed between the last write and the removal of the checkpoint."""
    shutil.copytree(whole.out, tmp_path / "out")
    (tmp_path / "out" / "checkpoint.safetensors").write_bytes(b"of the last epoch")
    run(tiny_partition, vectors, tmp_path / "out")
    names = [sorted(path.name for path in folder.iterdir()) for folder in (whole.out, tmp_path / "out")]
    assert names[0] == names[1]


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


def test_a_validation_that_cannot_choose_is_refused_before_anything_is_trained(tiny_partition, vectors, tmp_path):
    data, seen = tiny_partition.radiographs, list(tiny_partition.findings.seen)
    table = data.table.copy()
    table.loc[tiny_partition.val, seen] = 0
    blind = dataclasses.replace(tiny_partition, radiographs=dataclasses.replace(data, table=table))
    with pytest.raises(ValueError, match=r"^\S+: no seen finding has both .*, so no epoch can be chosen: use a larger"):
        run(blind, vectors, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_scores_that_are_no_numbers_choose_no_epoch(tiny_partition, vectors, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "seen_validation_auroc", lambda *_: float("nan"))
    with pytest.raises(ValueError, match="after epoch 1 some scores of validation films are no numbers: lower lr"):
        run(tiny_partition, vectors, tmp_path / "out")


TAU = dataclasses.replace(CONFIG, objective="focused_tau", tau=0.7, lr=0.02, epochs=4, augment=False)


def taus_of(partition, vectors, out, monkeypatch, aurocs, killed_after=99):
    """Train under these validation AUROCs; tau after each epoch that was trained."""
    taus, given = [], iter(aurocs)
    original = OBJECTIVES["focused_tau"]

    def kept(*args):
        taus.append(original(*args))
        return taus[0]

    def scripted(*_):
        if len(taus) > killed_after:
            raise KeyboardInterrupt
        taus.append(taus[0].log_tau.exp().item())
        return next(given)

    with monkeypatch.context() as patch:
        patch.setitem(training.OBJECTIVES, "focused_tau", kept)
        patch.setattr(training, "seen_validation_auroc", scripted)
        try:
            run(partition, vectors, out, TAU)
        except KeyboardInterrupt:
            pass
    return taus[1:]


def test_a_learnt_temperature_is_that_of_the_best_epoch(tiny_partition, vectors, tmp_path, monkeypatch):
    taus = taus_of(tiny_partition, vectors, tmp_path / "out", monkeypatch, [0.6, 0.9, 0.7, 0.8])
    assert len(set(taus)) == 4 and abs(taus[1] - 0.7) > 1e-4
    assert json.loads((tmp_path / "out/objective.json").read_text()) == {"tau": taus[1]}
    assert tau_of(tmp_path / "out", dataclasses.asdict(TAU)) == taus[1]
    assert load_run(tmp_path / "out").out == tmp_path / "out"
    for spoil in (lambda file: file.write_text('{"tau": 2.0}'), lambda file: file.unlink()):
        spoil(tmp_path / "out/objective.json")
        with pytest.raises((ValueError, FileNotFoundError), match="objective.json is (damaged|missing)"):
            load_run(tmp_path / "out")


def test_a_resumed_run_still_knows_the_best_temperature(tiny_partition, vectors, tmp_path, monkeypatch):
    whole = taus_of(tiny_partition, vectors, tmp_path / "whole", monkeypatch, [0.6, 0.9, 0.7, 0.8])
    first = taus_of(tiny_partition, vectors, tmp_path / "out", monkeypatch, [0.6, 0.9, 0.7], killed_after=3)
    rest = taus_of(tiny_partition, vectors, tmp_path / "out", monkeypatch, [0.8])
    assert first + rest == whole  # killed after the third epoch, whose best is the second
    for name in ("out", "whole"):
        assert json.loads((tmp_path / name / "objective.json").read_text()) == {"tau": whole[1]}


def test_what_learns_no_temperature_keeps_none(whole, tmp_path):
    shutil.copytree(whole.out, tmp_path / "out")
    (tmp_path / "out/objective.json").write_text('{"tau": 2.0}')  # slipped in beside the seal
    with pytest.raises(ValueError, match="seal.json does not cover objective.json"):
        load_run(tmp_path / "out")


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
    with pytest.raises(ValueError, match="another version of the model: delete that folder and train again$"):
        load_run(out)
    weights.pop("semantic_vectors")
    save_file(weights, out / "weights.safetensors")
    seal(out, run_folder.PARTS, run_folder.FORMAT)
    with pytest.raises(ValueError, match="another version of the model: delete"):
        load_run(out)


def test_a_parameter_that_this_code_has_not_is_named(whole, tmp_path):
    out = tmp_path / "old"
    shutil.copytree(whole.out, out)
    config = json.loads((out / "config.json").read_text())
    config["config"]["gamme"] = 2.0
    (out / "config.json").write_text(json.dumps(config))
    seal(out, run_folder.PARTS, run_folder.FORMAT)
    with pytest.raises(ValueError, match=r"old was trained by another version.*'gamme': did you mean 'gamma'"):
        load_run(out)


# Another value for every field. What changes nothing by design stands in UNCHANGED, with the reason.
OTHER = {
    "objective": "bce", "gamma": 0.5, "alpha": 0.3, "tau": 2.0, "direction": "visual_to_semantic",
    "backbone": "resnet18",
    "tune": "last", "dim": 8, "hidden": 8, "dropout": 0.5, "normalize": False, "epochs": 2, "batch_size": 8, "lr": 1e-3,
    "weight_decay": 5.0, "semantic_decay": 5.0, "warmup_epochs": 2.0, "patience": 1, "augment": False,
    "precision": "bf16-mixed", "seed": 6, "margin": 0.9,
}  # fmt: skip
UNCHANGED = {
    "weights": "refused for this backbone, tested with the extractors; the others need a download",
    "compile": "the same numbers, faster, on a GPU",
}


def test_every_field_is_accounted_for():
    assert {field.name for field in dataclasses.fields(TrainConfig)} == OTHER.keys() | UNCHANGED.keys()


@pytest.mark.parametrize("name", OTHER)
def test_changing_a_field_changes_the_result(name, tiny_partition, vectors, monkeypatch):
    base = dataclasses.replace(CONFIG, epochs=3, batch_size=32)
    if name == "margin":
        base = dataclasses.replace(base, objective="ranking")
    if name == "patience":  # it stops where validation does not improve
        falling = [0.9, 0.8, 0.7, 0.6]
        monkeypatch.setattr(training, "seen_validation_auroc", lambda *_: falling[0])
    results = []
    for config in (base, dataclasses.replace(base, **{name: OTHER[name]})):
        done = fit(tiny_partition, vectors, config, accelerator="cpu")
        assert done.out is None
        results.append(done)
    same_length = len(results[0].history) == len(results[1].history)
    assert not same_length or not np.array_equal(results[0].history["loss"], results[1].history["loss"])


def test_in_memory_is_what_a_folder_holds(whole, tiny_partition, vectors):
    done = fit(tiny_partition, vectors, CONFIG, accelerator="cpu")
    for name, value in whole.embeddings.items():
        np.testing.assert_array_equal(value, done.embeddings[name])


@pytest.fixture(scope="module")
def first_four_unseen(tiny):
    return partition(tiny, split_findings(KEYS, list(KEYS[:4])))


def test_the_seen_findings_own_vectors_are_trained_on(first_four_unseen, vectors, monkeypatch):
    """With the first four findings unseen, the first ten rows are the wrong ones."""
    given = {}

    def watched(config, some):
        objective = OBJECTIVES["bce"](config, some)
        given["vectors"], original = some, objective.forward

        def forward(visual, semantic, labels):
            given["semantic"] = semantic.detach().clone()
            return original(visual, semantic, labels)

        objective.forward = forward
        return objective

    monkeypatch.setitem(training.OBJECTIVES, "focused", watched)
    config = dataclasses.replace(CONFIG, direction="visual_to_semantic", epochs=1)  # then s_c is the vector itself
    fit(first_four_unseen, vectors, config, accelerator="cpu")
    for got in given.values():
        np.testing.assert_allclose(got.numpy(), vectors[4:].numpy(), atol=1e-6)


def test_it_learns_whichever_findings_are_unseen(first_four_unseen, vectors):
    config = dataclasses.replace(CONFIG, epochs=8, augment=False)
    done = fit(first_four_unseen, vectors, config, accelerator="cpu")
    seen, data = first_four_unseen.findings.seen_index, first_four_unseen.radiographs
    test = np.isin(done.embeddings["index"], first_four_unseen.test)
    scores, labels = done.embeddings["scores"][test][:, seen], data.labels[first_four_unseen.test][:, seen]
    assert seen_validation_auroc(labels, scores) > 0.7


def test_features_are_scaled_by_training_rows_alone(tiny_partition, vectors):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(len(tiny_partition.radiographs), 6)).astype(np.float16)
    features[tiny_partition.train, 0] += 3
    data = dataclasses.replace(tiny_partition.radiographs, pixels=features)
    frozen = dataclasses.replace(tiny_partition, radiographs=data)
    config = dataclasses.replace(CONFIG, tune="frozen", epochs=1)
    done = fit(frozen, vectors, config, accelerator="cpu")
    train = features[tiny_partition.train].astype(np.float64)
    np.testing.assert_allclose(done.model.visual_extractor.mean.numpy(), train.mean(0), rtol=1e-5)
    np.testing.assert_allclose(done.model.visual_extractor.std.numpy(), train.std(0), rtol=1e-5)
    with pytest.raises(ValueError, match="holds features, tune is 'all': set tune to frozen"):
        fit(frozen, vectors, dataclasses.replace(config, tune="all"), accelerator="cpu")
    with pytest.raises(ValueError, match="holds images, tune is 'frozen': extract features first"):
        fit(tiny_partition, vectors, config, accelerator="cpu")


@pytest.mark.parametrize("name", run_folder.PARTS)
def test_a_damaged_training_is_refused(name, whole, tmp_path):
    out = tmp_path / "damaged"
    shutil.copytree(whole.out, out)
    content = bytearray((out / name).read_bytes())
    content[len(content) // 2] ^= 1
    (out / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is damaged or was edited since"):
        load_run(out)


def test_a_training_of_other_unseen_findings_or_format_is_refused(whole, tmp_path):
    out = tmp_path / "edited"
    shutil.copytree(whole.out, out)
    text = (out / "config.json").read_text()
    (out / "config.json").write_text(text.replace('"Edema"', '"Hernia"', 1))
    with pytest.raises(ValueError, match="config.json is damaged or was edited"):
        load_run(out)
    seal(out, run_folder.PARTS, "training 9")
    with pytest.raises(ValueError, match="format 'training 9'"):
        load_run(out)


def test_changed_pixels_are_not_learnt_from(tmp_path, vectors):
    data = make_tiny(tmp_path / "set", n=120)
    parts = partition(data, split_findings(KEYS))
    path = data.folder / "pixels.npy"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="changed after it was prepared"):
        run(parts, vectors, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_start_changes_the_untrained_model_of_a_training_in_memory_alone(tiny_partition, vectors, tmp_path):
    config, asked = dataclasses.replace(CONFIG, epochs=1, lr=1e-9, weight_decay=0.0), []

    def start(model):
        asked.append(model)
        with torch.no_grad():
            model.visual_regression[-1].weight.zero_()
            model.visual_regression[-1].bias.copy_(torch.arange(16.0))

    done = fit(tiny_partition, vectors, config, None, progress=False, accelerator="cpu", start=start)
    assert len(asked) == 1 and np.ptp(done.embeddings["visual"], axis=0).max() < 1e-4  # one place for all films
    with pytest.raises(ValueError, match="in memory: leave `out` away"):
        fit(tiny_partition, vectors, config, tmp_path / "run", progress=False, accelerator="cpu", start=start)


def test_a_long_training_says_where_it_stands(tiny_partition, vectors, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "LINE_EVERY", 0)
    two = dataclasses.replace(CONFIG, epochs=2)
    history = fit(tiny_partition, vectors, two, tmp_path / "training", accelerator="cpu").history
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert [line.partition(":")[0] for line in lines] == ["epoch 1 of 2", "epoch 2 of 2"]
    assert f"loss {history.loss[1]:.3f}, seen validation AUROC {history.val_seen_auroc[1]:.3f}" in lines[1]
    monkeypatch.setattr(training, "LINE_EVERY", 1e9)
    fit(tiny_partition, vectors, two, tmp_path / "short", accelerator="cpu")
    assert "epoch 1" not in capsys.readouterr().out
