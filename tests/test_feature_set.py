"""Features on disk: what they hold, where they may lie, and that nothing changed passes. No network is asked."""

import json
import shutil
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from cmdml import feature_set as module
from cmdml import store
from cmdml.feature_set import FeatureSet, csv_text
from cmdml.findings import KEYS

N, LAYERS = 12, {"blocks.6": 5, "blocks.4": 3, "stem": 2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Features in a folder, as an extraction leaves them."""
    folder, rng = tmp_path_factory.mktemp("whole") / "features", np.random.default_rng(0)
    about = pd.DataFrame({"image": [f"{i}.png" for i in range(N)], "patient": [f"{i // 2}" for i in range(N)],
                          "split": np.array(["train", "val", "test"])[np.arange(N) // 2 % 3], "view": "PA", "age": 50.0,
                          "sex": "F"})  # fmt: skip
    labels = pd.DataFrame((rng.random((N, len(KEYS))) < 0.3).astype(np.uint8), columns=list(KEYS))
    table = pd.concat([about, labels], axis=1)
    folder.mkdir()
    save_file({"features": rng.normal(size=(N, 10)).astype(np.float16)}, folder / "features.safetensors")
    (folder / "table.csv").write_text(csv_text(table), encoding="utf-8")
    card = {"name": "made", "findings": list(KEYS), "size": 64, "layers": LAYERS, "key": "k",
            "columns": store.column_kinds(table)}  # fmt: skip
    module.write_card(folder / "card.json", card, folder / "features.safetensors", folder / "table.csv")
    return FeatureSet.load(folder)


def copied(features, to):
    shutil.copytree(features.folder, to)
    return to


def test_a_set_is_what_lies_in_its_files(whole):
    stored = load_file(whole.folder / "features.safetensors")["features"]
    table = pd.read_csv(whole.folder / "table.csv")
    np.testing.assert_array_equal(whole.pixels, stored)
    assert len(whole) == N and whole.size == 64 and whole.findings == KEYS
    assert whole.labels.dtype == np.uint8 and whole.labels.tolist() == table[list(KEYS)].to_numpy().tolist()
    assert not whole.pixels.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        whole.pixels[0, 0] = 1


def test_layers_lie_side_by_side(whole):
    assert whole.layers == {"blocks.6": slice(0, 5), "blocks.4": slice(5, 8), "stem": slice(8, 10)}


def test_the_card_seals_both_files_and_itself(whole):
    card = json.loads((whole.folder / "card.json").read_text())
    hashes = [sha256((whole.folder / name).read_bytes()).hexdigest() for name in ("features.safetensors", "table.csv")]
    assert [card["files"][kind]["sha256"] for kind in ("features", "table")] == hashes
    assert card["sha256"] == sha256("".join(hashes).encode()).hexdigest() and card["format"] == 1
    rest = {name: value for name, value in card.items() if name != "seal"}
    assert card["seal"] == sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    assert card["created_by"].startswith("cmdml ") and whole.card == card


@pytest.mark.parametrize("name", ["features.safetensors", "table.csv", "card.json"])
@pytest.mark.parametrize("at", [0.5, -2])
def test_a_flipped_bit_is_refused(whole, tmp_path, name, at):
    folder = copied(whole, tmp_path / "features")
    data = bytearray((folder / name).read_bytes())
    data[int(at * len(data)) if at == 0.5 else at] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ValueError, match="changed after the features were extracted|not the card of|no JSON in UTF-8"):
        FeatureSet.load(folder)


def test_a_set_that_was_opened_is_read_again_to_verify_it(whole, tmp_path):
    opened = FeatureSet.load(copied(whole, tmp_path / "features"))
    opened.verify()
    (opened.folder / "table.csv").write_text("other\n")
    with pytest.raises(ValueError, match=r"table\.csv changed after the features were extracted"):
        opened.verify()


@pytest.mark.parametrize("name", ["features.safetensors", "table.csv", "card.json"])
def test_a_missing_file_is_named(whole, tmp_path, name):
    folder = copied(whole, tmp_path / "features")
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        FeatureSet.load(folder)
    with pytest.raises(FileNotFoundError, match=r"nothing\.json is missing; extract them first"):
        FeatureSet.load(tmp_path / "nothing")


def reseal(folder, **changes):
    card = json.loads((folder / "card.json").read_text()) | changes
    module.write_card(folder / "card.json", card, folder / "features.safetensors", folder / "table.csv")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"features": np.zeros((N - 1, 10), np.float16)}, r"expected \(12, 10\) float16, got \(11, 10\)"),
        ({"features": np.zeros((N, 9), np.float16)}, r"expected \(12, 10\) float16, got \(12, 9\)"),
        ({"features": np.zeros((N, 10), np.float32)}, "got .* float32"),
        ({"pixels": np.zeros((N, 10), np.float16)}, "holds no features"),
    ],
)
def test_features_of_another_shape_are_refused_though_sealed(whole, tmp_path, tensors, message):
    folder = copied(whole, tmp_path / "features")
    save_file(tensors, folder / "features.safetensors")
    reseal(folder)
    with pytest.raises(ValueError, match=message):
        FeatureSet.load(folder)


def test_a_file_that_is_no_safetensors_is_refused_though_sealed(whole, tmp_path):
    folder = copied(whole, tmp_path / "features")
    (folder / "features.safetensors").write_bytes(b"nonsense")
    reseal(folder)
    with pytest.raises(ValueError, match=r"features\.safetensors holds no features .*extract them again"):
        FeatureSet.load(folder)


def test_a_table_without_its_findings_is_refused_though_sealed(whole, tmp_path):
    folder = copied(whole, tmp_path / "features")
    table = whole.table.assign(Mass=2)
    (folder / "table.csv").write_text(csv_text(table))
    reseal(folder)
    with pytest.raises(ValueError, match=r"table\.csv.*Mass"):
        FeatureSet.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2, this version reads 1; extract"),
        ({"format": 0}, "has format 0, this version reads 1; extract"),
        (None, "is not the card of extracted features"),
    ],
)
def test_another_format_is_refused(whole, tmp_path, change, message):
    folder = copied(whole, tmp_path / "features")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | change if change else {"name": "other"}))
    with pytest.raises(ValueError, match=message):
        FeatureSet.load(folder)


def test_a_stem_carries_the_same_features_in_three_files(whole, tmp_path):
    saved = whole.save(tmp_path / "new" / "films-v1.5", terms="free", name="mine")
    names = [f"films-v1.5.{suffix}" for suffix in ("csv", "json", "safetensors")]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names
    assert saved.folder == tmp_path / "new" / "films-v1.5"
    assert np.array_equal(saved.pixels, whole.pixels) and saved.table.equals(whole.table)
    assert (tmp_path / "new" / names[0]).read_bytes() == (whole.folder / "table.csv").read_bytes()
    assert (saved.card["name"], whole.card["name"]) == ("mine", "made")
    assert saved.card["terms"] == "free" and saved.card["key"] == whole.card["key"]
    assert saved.card["sha256"] == whole.card["sha256"] and "terms" not in whole.card
    assert list(load_file(tmp_path / "new" / names[2])) == ["features"]


def test_two_stems_may_share_a_table(whole, tmp_path):
    saved = whole.save(tmp_path / "one")
    shared = saved.save(tmp_path / "two", table="one.csv")
    assert not (tmp_path / "two.csv").exists() and shared.card["files"]["table"]["name"] == "one.csv"
    assert np.array_equal(shared.pixels, whole.pixels) and shared.table.equals(whole.table)
    (tmp_path / "one.csv").write_text("other\n")
    with pytest.raises(ValueError, match=r"one\.csv is not the table of these features: give them one of their own"):
        whole.save(tmp_path / "three", table="one.csv")
    assert (tmp_path / "one.csv").read_text() == "other\n" and not (tmp_path / "three.json").exists()
    with pytest.raises(ValueError, match=r"one\.csv changed"):
        FeatureSet.load(tmp_path / "two")
    with pytest.raises(FileNotFoundError):
        whole.save(tmp_path / "three", table="none.csv")


def test_saved_again_a_table_of_its_own_is_replaced(whole, tmp_path):
    whole.save(tmp_path / "one")
    fewer = whole.table.assign(sex="M")
    saved = FeatureSet(whole.pixels, fewer, whole.card, whole.folder).save(tmp_path / "one")
    assert saved.table["sex"].tolist() == ["M"] * N
