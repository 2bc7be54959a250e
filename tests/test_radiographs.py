"""The store and the partition: what is written is what is read, whole or not at all, and no patient is shared."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from cmdml import store
from cmdml.findings import KEYS, split_findings
from cmdml.radiographs import Partition, RadiographSet, partition, write_radiographs

SIZE = 8


def a_table(n=60):
    """n images, two per patient; splits in thirds; every finding once in each third, unseen ones twice in train."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "image": [f"{i:08d}_000.png" for i in range(n)],
            "patient": [f"{i // 2:08d}" for i in range(n)],
            "split": np.repeat(["train", "val", "test"], n // 3),
            "view": rng.choice(["PA", "AP", ""], n),
            "age": np.where(np.arange(n) % 7 == 0, np.nan, np.arange(n) + 0.25),
            "sex": rng.choice(["M", "F", ""], n),
            "source_repo": "NA",  # a word that pandas would read as missing
        }
    )
    for c, key in enumerate(KEYS):
        table[key] = (np.arange(n) % (n // 3) == c).astype(np.uint8)
    return table


def a_card(**extra):
    return {"name": "toy", "findings": KEYS, "made_with": {"source": "toy"}, **extra}


def noise(n=60, size=SIZE):
    return np.random.default_rng(1).integers(0, 256, (n, size, size), dtype=np.uint8)


def write(folder, table=None, **options):
    table = a_table() if table is None else table
    pixels = noise(len(table))
    options = {"fill": lambda out: np.copyto(out, pixels)} | options
    return write_radiographs(folder, table=table, size=SIZE, card=a_card(), **options)


def test_what_is_written_is_what_is_read(tmp_path):
    write(tmp_path / "set")
    radiographs = RadiographSet.load(tmp_path / "set")
    table = a_table()
    assert isinstance(radiographs.pixels, np.memmap) and not radiographs.pixels.flags.writeable
    np.testing.assert_array_equal(radiographs.pixels, noise())
    assert radiographs.table["patient"].tolist() == table["patient"].tolist()  # leading zeros stay
    for name in ("view", "sex", "source_repo", "split", "image"):
        assert radiographs.table[name].tolist() == table[name].tolist()
    np.testing.assert_array_equal(radiographs.table["age"], table["age"])
    np.testing.assert_array_equal(radiographs.labels, table[list(KEYS)])
    assert radiographs.labels.dtype == np.uint8 and radiographs.findings == KEYS
    assert len(radiographs) == 60 and radiographs.size == SIZE
    assert radiographs.card["counts"]["val"] == {"images": 20, "patients": 10}


def test_sha256_covers_pixels_and_table_and_nothing_else(tmp_path):
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    text = (tmp_path / "one" / "table.csv").read_bytes()
    assert one.card["sha256"] == hashlib.sha256(noise().tobytes() + text).hexdigest() == two.card["sha256"]
    one.verify()
    with open(tmp_path / "one" / "pixels.npy", "r+b") as file:
        file.seek(-1, 2)
        file.write(bytes([noise()[-1, -1, -1] ^ 1]))
    with pytest.raises(ValueError, match="changed after it was prepared"):
        one.verify()
    (tmp_path / "two" / "table.csv").write_bytes(text.replace(b",M,", b",F,", 1))
    with pytest.raises(ValueError, match="changed after it was prepared"):
        two.verify()


def test_a_failed_write_leaves_no_set(tmp_path):
    def fail(pixels):
        pixels[0] = 1
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="disk is full"):
        write(tmp_path / "set", fill=fail)
    assert not (tmp_path / "set").exists()
    with pytest.raises(FileNotFoundError, match=r"card\.json is missing; prepare a source first"):
        RadiographSet.load(tmp_path / "set")
    assert len(write(tmp_path / "set")) == 60
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("torn", [0, 5])
@pytest.mark.parametrize("done", [21, 60])
def test_an_interrupted_write_continues_after_the_last_whole_row(tmp_path, done, torn):
    starts = []

    def blocks(start, stop_at=None):
        starts.append(start)
        for i in range(start, stop_at or 60, 7):
            yield noise()[i : i + 7]
        if stop_at is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "set", fill=None, blocks=lambda start: blocks(start, done))
    assert not (tmp_path / "set").exists()
    with open(tmp_path / "set.partial" / "pixels.npy", "ab") as file:
        file.write(b"x" * torn)  # a kill in the middle of a row
    resumed = write(tmp_path / "set", fill=None, blocks=blocks)
    assert starts == ([0, 21] if done < 60 else [0])
    assert resumed.card["sha256"] == write(tmp_path / "whole").card["sha256"]
    assert not (tmp_path / "set.partial").exists()


def test_a_different_request_does_not_continue_from_old_rows(tmp_path):
    def stop(start):
        yield np.zeros((10, SIZE, SIZE), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "set", fill=None, blocks=stop)
    other = a_table()
    other.loc[0, "sex"] = "M" if other.loc[0, "sex"] != "M" else "F"
    written = write(tmp_path / "set", other, fill=None, blocks=lambda start: [noise()[start:]])
    np.testing.assert_array_equal(written.pixels, noise())


def test_the_same_request_is_loaded_and_another_replaces_it_beside_foreign_files(tmp_path):
    write(tmp_path / "set")
    (tmp_path / "set" / "figure.png").write_bytes(b"mine")

    def never(pixels):
        raise AssertionError("written twice")

    assert len(write(tmp_path / "set", fill=never)) == 60
    smaller = write(tmp_path / "set", a_table(45))
    assert len(smaller) == len(RadiographSet.load(tmp_path / "set")) == 45
    assert (tmp_path / "set" / "figure.png").read_bytes() == b"mine"
    smaller.verify()


@pytest.mark.parametrize(
    "blocks, message",
    [
        (lambda start: [noise()[:59]], "ended after 59 of 60"),
        (lambda start: [noise(61)], "row 0: expected at most 60 x 8 x 8 uint8, got"),
        (lambda start: [noise().astype(float)], "float64"),
        (lambda start: [noise(60, 9)], r"\(60, 9, 9\)"),
    ],
)
def test_blocks_of_the_wrong_shape_are_refused(tmp_path, blocks, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "set", fill=None, blocks=blocks)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.assign(split=["holdout", *t["split"][1:]]), "00000000_000.png has split 'holdout'"),
        (lambda t: t.assign(Mass=np.uint8(2)), "00000000_000.png has Mass '2'; expected one of '0', '1'"),
        (lambda t: t.assign(view="LL"), "has view 'LL'; expected one of 'PA', 'AP', ''"),
        (lambda t: t.assign(image=["00000001_000.png", *t["image"][1:]]), "image 00000001_000.png is listed twice"),
        (lambda t: t.assign(patient=["", *t["patient"][1:]]), "00000000_000.png has no patient"),
        (lambda t: t.assign(age="old"), "age must be float years"),
        (lambda t: t.drop(columns="Hernia"), "missing column Hernia"),
        (lambda t: t[["patient", *t.columns.drop("patient")]], "columns must come in the order image, patient"),
        (lambda t: t.assign(extra=1), "columns must come in the order"),
        (lambda t: t[:0], "no radiographs are left"),
    ],
)
def test_a_table_that_is_none_is_refused_by_name(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "set", change(a_table()))


def spoil_card(folder, **changes):
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda f: spoil_card(f, size=9), r"pixels\.npy: expected \(60, 9, 9\) uint8"),
        (lambda f: spoil_card(f, columns=None), r"card\.json is not the card"),
        (lambda f: (f / "card.json").write_text("{"), r"card\.json is not the card"),
        (lambda f: np.save(f / "pixels.npy", noise().astype(np.int16)), "int16"),
        (lambda f: (f / "pixels.npy").write_bytes(b"no array"), r"pixels\.npy cannot be read"),
        (lambda f: np.save(f / "pixels.npy", np.array([{}]), allow_pickle=True), r"pixels\.npy"),
        (lambda f: (f / "table.csv").write_text((f / "table.csv").read_text().replace("Hernia", "Hernias")), "Hernias"),
        (lambda f: (f / "table.csv").write_text((f / "table.csv").read_text().replace("1.25", "young")), "column age"),
    ],
)
def test_files_that_do_not_agree_are_refused_by_name(tmp_path, spoil, message):
    write(tmp_path / "set")
    spoil(tmp_path / "set")
    with pytest.raises(ValueError, match=message):
        RadiographSet.load(tmp_path / "set")


def test_fill_or_blocks_but_not_both(tmp_path):
    with pytest.raises(ValueError, match="either fill or blocks"):
        write(tmp_path / "set", blocks=lambda start: [])


def test_partition_drops_unseen_findings_from_training_only_and_counts_it(tmp_path, capsys):
    radiographs, findings = write(tmp_path / "set"), split_findings(KEYS)
    parts = partition(radiographs, findings)
    labels, split = radiographs.labels, radiographs.table["split"].to_numpy()
    unseen = [KEYS.index(key) for key in findings.unseen]
    naive = [i for i in range(60) if split[i] == "train" and not any(labels[i][c] for c in unseen)]
    assert parts.train.tolist() == naive and len(naive) == 16
    assert parts.val.tolist() == list(range(20, 40)) and parts.test.tolist() == list(range(40, 60))
    count = parts.counts.set_index(["split", "step"])
    for name in ("train", "val", "test"):  # kept and dropped add up, in images and in patients
        assert (count.loc[(name, "in the set")] == count.loc[name].drop("in the set").sum()).all()
    patients = radiographs.table["patient"]
    assert count.loc[("train", "kept"), "patients"] == len({patients[i] for i in naive}) < 10
    assert count.loc[("train", "dropped: unseen finding"), "images"] == 4
    printed = capsys.readouterr().out
    assert "dropped: unseen finding" in printed and "16" in printed


def test_partition_can_leave_out_training_images_without_a_finding(tmp_path):
    parts = partition(write(tmp_path / "set"), split_findings(KEYS), keep_no_finding=False)
    assert parts.radiographs.labels[parts.train].any(1).all() and len(parts.train) == 10
    assert not parts.radiographs.labels[parts.test].any(1).all()
    count = parts.counts.set_index(["split", "step"])["images"]
    assert count["train", "dropped: no finding"] == 6 and count["test", "dropped: no finding"] == 0


def test_partition_names_patients_in_two_splits(tmp_path):
    table = a_table()
    table.loc[table.index[-1], "patient"] = "00000000"
    with pytest.raises(ValueError, match="patient 00000000 is in train and test"):
        partition(write(tmp_path / "set", table), split_findings(KEYS))


def test_partition_refuses_an_empty_split_and_a_seen_finding_without_an_image(tmp_path):
    table = a_table()
    with pytest.raises(ValueError, match=r"the val split is empty \(0 images"):
        partition(write(tmp_path / "no_val", table[table["split"] != "val"]), split_findings(KEYS))
    table.loc[table["split"] == "train", "Hernia"] = 0
    with pytest.raises(ValueError, match="no training image shows Hernia"):
        partition(write(tmp_path / "no_hernia", table), split_findings(KEYS))
    partition(write(tmp_path / "no_hernia", table), split_findings(KEYS, ["Hernia", "Edema"]))


def test_partition_refuses_findings_of_another_set(tmp_path):
    with pytest.raises(ValueError, match="not the set's .*Hernia"):
        partition(write(tmp_path / "set"), split_findings(KEYS[:-1]))


def leaks(tmp_path):
    """Two planted bugs, each a call that makes a partition no number should come from."""
    table = a_table()
    table.loc[table.index[-1], "patient"] = "00000000"  # of train, now of test as well
    shared = write(tmp_path / "shared", table)
    whole, findings = write(tmp_path / "whole"), split_findings(KEYS)
    rows = {name: np.flatnonzero(whole.table["split"] == name) for name in ("train", "val", "test")}  # nothing dropped
    return {
        "assert_patient_disjoint": (lambda: partition(shared, findings), "patient 00000000 is in train and test"),
        "assert_unseen_left_out": (
            lambda: Partition(whole, findings, **rows, counts=None),
            "4 training images carry an unseen finding",
        ),
    }


@pytest.mark.parametrize("assertion", ["assert_patient_disjoint", "assert_unseen_left_out"])
def test_a_planted_leak_passes_only_while_its_assertion_is_removed(tmp_path, monkeypatch, assertion):
    leak, message = leaks(tmp_path)[assertion]
    with pytest.raises(ValueError, match=message):
        leak()
    with monkeypatch.context() as removed:
        removed.setattr(store, assertion, lambda *_: None)
        parts = leak()  # nothing else notices, so it is this assertion that stands between the leak and a result
    table = parts.radiographs.table
    if assertion == "assert_patient_disjoint":
        assert set(table["patient"].iloc[parts.train]) & set(table["patient"].iloc[parts.test]) == {"00000000"}
    else:
        assert table[list(parts.findings.unseen)].iloc[parts.train].to_numpy().any(1).sum() == 4
    with pytest.raises(ValueError, match=message):
        leak()
