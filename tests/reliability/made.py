"""Small whole things of every kind that the study reads: sets, trainings, features, tables, YAML files, films."""

import json
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.numpy import save_file

from cmdml import store
from cmdml.feature_set import FeatureSet, csv_text, write_card
from cmdml.findings import FINDINGS_FILE, KEYS, split_findings
from cmdml.radiographs import RadiographSet, partition, write_radiographs
from cmdml.semantics import write_committed
from cmdml.study import plan, results, run
from cmdml.training import TrainConfig, fit

FILMS, SIZE = 12, 16
CONFIG = TrainConfig(backbone="small_cnn", dim=4, hidden=4, epochs=2, batch_size=16, lr=3e-3, seed=5)
VECTORS = torch.nn.functional.normalize(torch.arange(1.0, 1 + 14 * 6).reshape(14, 6).sin(), dim=1)


def quiet_fit(*given, **named):
    return fit(*given, progress=False, accelerator="cpu", **named)


def table(n, seed=0, rate=0.25, **own):
    """n films of n / 2 patients; every finding is on some film of every split."""
    rng, patient = np.random.default_rng(seed), np.arange(n) // 2
    about = pd.DataFrame({
        "image": [f"{i:05d}.png" for i in range(n)], "patient": [f"p{p:04d}" for p in patient],
        "split": np.array(["train", "train", "val", "test"])[patient % 4], "view": rng.choice(["PA", "AP", ""], n),
        "age": rng.integers(20, 80, n).astype(float), "sex": rng.choice(["F", "M", ""], n),
    }).assign(**own)  # fmt: skip
    labels = (rng.random((n, len(KEYS))) < rate).astype(np.uint8)
    return pd.concat([about, pd.DataFrame(labels, columns=list(KEYS))], axis=1)


def a_set(folder, n=64, size=SIZE):
    """A set that one can train on."""
    films, pixels = table(n), np.random.default_rng(1).integers(0, 256, (n, size, size), dtype=np.uint8)
    card = {"name": "toy", "title": "toy", "findings": list(KEYS), "made_with": {"source": "toy"}}
    return write_radiographs(folder, table=films, size=size, card=card, fill=lambda out: np.copyto(out, pixels))


def parts_of(folder):
    return partition(RadiographSet.load(folder), split_findings(KEYS))


def features(stem, n=160, width=8, seed=0):
    """Features that show the labels a little."""
    rng = np.random.default_rng(seed)
    films = table(n, rate=0.1, source_repo=np.where(np.arange(n) // 2 % 3 == 0, "a", "b"))
    films = films[[*store.COLUMNS, "source_repo", *KEYS]]
    shown = films[list(KEYS)].to_numpy(float) @ rng.normal(size=(len(KEYS), width)) + rng.normal(size=(n, width))
    stem.parent.mkdir(parents=True, exist_ok=True)
    file, rows = stem.with_suffix(".safetensors"), stem.with_suffix(".csv")
    save_file({"features": shown.astype(np.float16)}, file)
    rows.write_text(csv_text(films), encoding="utf-8")
    card = {"name": stem.name, "findings": list(KEYS), "size": 64, "layers": {"last": width}}
    write_card(stem.with_suffix(".json"), card | {"columns": store.column_kinds(films)}, file, rows)
    return FeatureSet.load(stem)


def films(folder):
    """PNG files as NIH names them."""
    folder.mkdir(parents=True)
    names = [f"{i // 2 + 1:08d}_{i % 2:03d}.png" for i in range(FILMS)]
    for i, name in enumerate(names):
        pixels = np.random.default_rng(i).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return names


def nih_folder(root):
    names = films(root / "images")
    rows = ["Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,Width,Height"]
    labels = ("No Finding", "Mass|Hernia", "Edema")
    rows += [f"{n},{labels[i % 3]},0,{i // 2 + 1},05{i % 9}Y,{'MF'[i % 2]},PA,9,9" for i, n in enumerate(names)]
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join(rows) + "\n")
    (root / "splits").mkdir()
    for name, part in zip(("train", "val", "test"), (names[:6], names[6:8], names[8:])):
        (root / "splits" / f"{name}_list.txt").write_text("\n".join(part) + "\n")
    sources = [f"{name},a/{i % 2},{64 + i}" for i, name in enumerate(names)]
    (root / "sources.csv").write_text("\n".join(["image,source_repo,source_pixels", *sources]) + "\n")


def kermany_folder(root):
    names, rows = films(root / "images"), []
    rows.append("image,patient,view,sex,Pneumonia,No Finding,bacterial_pneumonia,viral_pneumonia,source_repo,"
                "original_width,original_height,original_bytes,sharp,mean_grey,matched_pair")  # fmt: skip
    for i, name in enumerate(names):
        rows.append(f"{name},P{i},AP,,{i % 2},{1 - i % 2},{i % 2},0,a/b,{900 + i},800,77,1.5,90.25,p{i // 2}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")


def archive(root):
    rng, arrays = np.random.default_rng(0), {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = rng.integers(0, 256, (4, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 2, (4, 14))
    root.mkdir(parents=True)
    np.savez(root / "c.npz", **arrays)


def training(root):
    """A set and a finished training on it."""
    a_set(root / "radiographs")
    quiet_fit(parts_of(root / "radiographs"), VECTORS, CONFIG, root / "training")


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def interrupted(root):
    """A set and a training that was killed after its first epoch."""
    a_set(root / "radiographs")
    from cmdml import training as module

    save, calls = module.save_checkpoint, iter(range(99))

    def once(*given):
        if next(calls) == 1:
            raise Killed
        save(*given)

    with mock.patch.object(module, "save_checkpoint", once):
        try:
            quiet_fit(parts_of(root / "radiographs"), VECTORS, CONFIG, root / "training")
        except Killed:
            pass


def vectors(root):
    """The committed semantic vectors, elsewhere."""
    from cmdml import semantics

    root.mkdir(parents=True)
    shutil.copy(semantics.SEMANTICS_DIR / f"{semantics.DEFAULT_MODEL}.safetensors", root)
    with mock.patch.object(semantics, "SEMANTICS_DIR", root):
        write_committed()


def tables(root):
    """A folder of results."""
    numbers = pd.DataFrame({"method": ["a", "b"], "value": [0.5, 0.625], "low": [0.25, 0.5], "high": [0.75, 0.875]})

    def manifest(folder, file, files):
        run.manifest(folder, file=file, files=files, profile="toy", parameters={"seed": 0}, images_test=321)

    results.publish(root / "out", {"methods": numbers, "paired": numbers[::-1]}, manifest)


def findings_file(root):
    root.mkdir(parents=True)
    shutil.copy(FINDINGS_FILE, root / "findings.yaml")


def profile_file(root):
    root.mkdir(parents=True)
    shutil.copy(run.ROOT / "profiles/smoke.yaml", root / "mine.yaml")


def rotation_profile(root, **changed):
    """A small rotation over made features."""
    for name, seed in (("seeing", 0), ("blind", 9)):
        features(root / name, seed=seed)
    parameters = {"objective": "focused", "semantics": "signs_text", "tune": "frozen", "backbone": "efficientnet_lite0",
                  "epochs": 1, "batch_size": 64, "lr": 0.01, "dim": 4, "hidden": 0, "weight_decay": 0.05,
                  "run_dir": str(root / "run")}  # fmt: skip
    rotation = {
        "features": str(root / "seeing"), "random_features": str(root / "blind"), "designs": [1], "folds": 3,
        "replicates": 3, "permutations": 2, "pseudo": {"draws": 1, "unseen": 2},
        "trained": {"settings": {"hidden": [0]}, "methods": {"focused": {}}},
        "closed": {"ridge": [1.0], "semantic_ridge": [0.1]},
        "comparisons": {"primary": [["focused", "mean_of_seen"]], "secondary": [["focused", "eszsl"]],
                        "strata": ["none"]},
    }  # fmt: skip
    return {"name": "made", "parameters": parameters, "rotation": rotation | changed}


def sweep_profile(root):
    """Two methods of one seed on a small set."""
    profile = run.load_profile("smoke", {"epochs": 1, "dim": 4, "hidden": 4, "batch_size": 32})
    profile["parameters"]["run_dir"] = str(root)
    methods = {"focused": {}, "bce": {"objective": "bce"}}
    return profile | {"sweep": {"seeds": [0], "splits": ["default"], "methods": methods}}


def a_run(root):
    """One run of a sweep, its table and its manifest."""
    from cmdml.study import sweep

    a_set(plan.radiographs_of(sweep_profile(root)), n=96)
    sweep.train(sweep_profile(root), "focused", "default", 0)


def scores(root):
    """Scores of one method of a rotation."""
    from cmdml.study import rotation

    rotation.score(rotation_profile(root), 1, "cosine")


def counts(root):
    """The published counts that the phantom follows."""
    from cmdml.sources.phantom.counts import COUNTS

    root.mkdir(parents=True)
    for file in (COUNTS, COUNTS.with_suffix(".json")):
        shutil.copy(file, root)


def partial_set(root):
    """A set whose films are half decoded."""
    nih_folder(root / "films")
    from cmdml.sources import nih

    def some(paths, start, *given):
        for path in paths[start : start + 5]:
            yield np.asarray(Image.open(path).reduce(2))[None]
        raise Killed

    with mock.patch.object(nih, "decode_blocks", some):
        try:
            nih.prepare(root / "set", root=root / "films", size=8, workers=1, progress=False)
        except Killed:
            pass


def plain(content) -> str:
    """For comparing."""
    return json.dumps(content, sort_keys=True, default=str)


def all_files(root: Path) -> list[Path]:
    """Files that may be damaged, relative to ``root``."""
    return sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file() and not path.is_symlink())
