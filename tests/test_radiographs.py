"""The store and the partition: what is written is what is read, whole or not at all, and no patient is shared."""

import errno
import hashlib
import json
import os
import socket
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from cmdml import radiographs, store, writing
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


def card_of(folder):
    return json.loads((folder / "card.json").read_text())


def reseal(folder, **changes):
    """A card that vouches for whatever lies in the folder now: what is behind the seals must hold by itself."""
    card = card_of(folder) | changes
    card["table_sha256"] = hashlib.sha256((folder / "table.csv").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card | {"seal": store.seal(card)}))


def replace(path, old, new, count=-1):
    text = path.read_bytes()
    assert old in text
    path.write_bytes(text.replace(old, new, count))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda f: reseal(f, size=9), r"pixels\.npy: expected \(60, 9, 9\) uint8"),
        (lambda f: reseal(f, size="8"), r"card\.json is not what was written"),
        (lambda f: reseal(f, columns=None), r"card\.json is not what was written"),
        (lambda f: reseal(f, format=9), r"card\.json has format 9, this cmdml reads format 2; prepare the set again"),
        (lambda f: reseal(f, format=None), r"card\.json has format None"),
        (lambda f: replace(f / "card.json", b'"format": 2,', b""), r"card\.json has format 1"),
        (lambda f: (f / "card.json").write_text("{"), r"card\.json is not the card"),
        (lambda f: (f / "card.json").write_text("[" * 100_000), r"card\.json is not the card"),
        (lambda f: (f / "card.json").write_bytes(b"\xff\xfe{}"), r"card\.json is not the card"),
        (lambda f: (f / "card.json").write_text("[]"), r"card\.json is not the card"),
        (lambda f: replace(f / "card.json", b'"toy"', b'"tot"', 1), r"card\.json is not what was written"),
        (lambda f: replace(f / "card.json", b'"seal"', b'"soul"'), r"card\.json is not what was written"),
        (lambda f: np.save(f / "pixels.npy", noise().astype(np.int16)), "expected .* uint8 .*its header"),
        (lambda f: np.save(f / "pixels.npy", np.asfortranarray(noise())), "expected .* uint8 .*its header"),
        (lambda f: replace(f / "pixels.npy", b"(60, 8, 8)", b"(60, 4, 16)"[:10]), "expected .* uint8 .*its header"),
        (lambda f: replace(f / "pixels.npy", b"), }  ", b"), } #"), "expected .* uint8 .*its header"),
        (lambda f: (f / "pixels.npy").write_bytes(b"no array"), r"pixels\.npy: expected"),
        (lambda f: np.save(f / "pixels.npy", np.array([{}]), allow_pickle=True), r"pixels\.npy: expected"),
        (lambda f: (f / "pixels.npy").write_bytes((f / "pixels.npy").read_bytes()[:-1]), r"it has 3,967 bytes"),
        (lambda f: (f / "pixels.npy").write_bytes((f / "pixels.npy").read_bytes() + b"x"), r"it has 3,969 bytes"),
        (lambda f: replace(f / "table.csv", b",train,", b",test,", 1), r"table\.csv cannot be used \(its SHA-256"),
        (lambda f: replace(f / "table.csv", b",M,", b",F,", 1), r"table\.csv cannot be used \(its SHA-256"),
        (lambda f: [replace(f / "table.csv", b"Hernia", b"Hernias"), reseal(f)], "Hernias"),
        (lambda f: [replace(f / "table.csv", b",1.25,", b",young,"), reseal(f)], "column age"),
        (lambda f: [replace(f / "table.csv", b",0,1\n", b",0,257\n", 1), reseal(f)], "Hernia must hold uint8 .* 257"),
        (lambda f: [replace(f / "table.csv", b",0,0\n", b",0,256\n", 1), reseal(f)], "Hernia must hold uint8 .* 256"),
        (lambda f: [replace(f / "table.csv", b",0,0\n", b",0,-1\n", 1), reseal(f)], "Hernia must hold uint8 .* -1"),
        (lambda f: [replace(f / "table.csv", b",0,0\n", b",0,2\n", 1), reseal(f)], "has Hernia '2'"),
        (lambda f: [replace(f / "table.csv", b",0,0\n", b",0," + b"9" * 30 + b"\n", 1), reseal(f)], "column Hernia"),
        (lambda f: [replace(f / "table.csv", b",0,0\n", b",0,0,0,0\n", 1), reseal(f)], r"table\.csv"),
    ],
)
def test_files_that_are_not_what_was_written_are_refused_by_name(tmp_path, spoil, message):
    write(tmp_path / "set")
    spoil(tmp_path / "set")
    with pytest.raises(ValueError, match=message) as caught:
        RadiographSet.load(tmp_path / "set")
    assert str(tmp_path / "set") in str(caught.value)
    assert len(write(tmp_path / "set")) == 60  # and is made again


@pytest.mark.parametrize("name", ["card.json", "table.csv", "pixels.npy"])
def test_only_regular_files_are_opened(tmp_path, name):
    write(tmp_path / "set")
    (tmp_path / "set" / name).unlink()
    os.mkfifo(tmp_path / "set" / name)  # opening it would wait for a writer for ever
    with pytest.raises(FileNotFoundError, match=name):
        RadiographSet.load(tmp_path / "set")


@pytest.mark.parametrize("patient", ["nan", "NaN", "None", "<NA>", "1.0", "00000013.0", "-1", "1e5", " ", "+3"])
def test_a_patient_that_is_none_is_refused(tmp_path, patient):
    table = a_table()
    table.loc[7, "patient"] = patient
    with pytest.raises(ValueError, match="00000007_000.png has (the patient .*which is no id|no patient)"):
        write(tmp_path / "set", table)


def test_verify_reads_every_pixel_and_load_reads_none(tmp_path, monkeypatch):
    radiographs = write(tmp_path / "set")
    for at in (128, 128 + 60 * 64 // 2, 128 + 60 * 64 - 1):
        with open(tmp_path / "set" / "pixels.npy", "r+b") as file:
            file.seek(at)
            old = file.read(1)
            file.seek(at)
            file.write(bytes([old[0] ^ 128]))
        with pytest.raises(ValueError, match="changed after it was prepared"):
            RadiographSet.load(tmp_path / "set").verify()
        with open(tmp_path / "set" / "pixels.npy", "r+b") as file:
            file.seek(at)
            file.write(old)
    radiographs.verify()
    monkeypatch.setattr(store, "content_sha256", None)
    RadiographSet.load(tmp_path / "set")


def test_two_writers_of_one_folder(tmp_path):
    said = []

    def fill(pixels):
        with pytest.raises(BlockingIOError) as caught:
            write(tmp_path / "set")
        said.append(str(caught.value))
        np.copyto(pixels, noise())

    write(tmp_path / "set", fill=fill).verify()
    assert f"{tmp_path / 'set'} is being written by process {os.getpid()} on {socket.gethostname()}" in said[0]
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_a_set_that_another_finished_while_we_waited_is_not_written_again(tmp_path, monkeypatch):
    only_writer = writing.only_writer

    @contextmanager
    def late(folder):
        with monkeypatch.context() as patch:
            patch.setattr(writing, "only_writer", only_writer)
            write(folder)
        with only_writer(folder):
            yield

    def never(pixels):
        raise AssertionError("written twice")

    monkeypatch.setattr(writing, "only_writer", late)
    write(tmp_path / "set", fill=never).verify()


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    (tmp_path / "set.lock").write_text("process 1 on elsewhere\n")  # nobody holds it: whoever did is gone
    write(tmp_path / "set").verify()
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_a_lock_is_let_go_when_writing_fails(tmp_path):
    def fail(pixels):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(
        OSError, match=f"{tmp_path / 'set'}: No space left on device; mend that and run again"
    ) as caught:
        write(tmp_path / "set", fill=fail)
    assert caught.value.errno == errno.ENOSPC and "\n" not in str(caught.value)
    write(tmp_path / "set").verify()


def rows_of(starts, stop_at=60):
    def blocks(start):
        starts.append(start)
        for i in range(start, stop_at, 10):
            yield noise()[i : i + 10]
        if stop_at < 60:
            raise KeyboardInterrupt

    return blocks


def test_rows_of_another_request_are_gone_before_the_new_one_is_noted(tmp_path):
    lines = [f"film {i}" for i in range(10)]
    assert writing.rows_to_keep(tmp_path / "p", lines, 8) == 0
    (tmp_path / "p" / "pixels.npy").write_bytes(bytes(128 + 10 * 64))
    assert writing.rows_to_keep(tmp_path / "p", [*lines[:4], "new", *lines[5:]], 8) == 4
    assert (tmp_path / "p" / "pixels.npy").stat().st_size == 128 + 4 * 64  # else a kill now would keep the old ones
    assert writing.rows_to_keep(tmp_path / "p", ["other", *lines[1:]], 8) == 0
    assert not (tmp_path / "p" / "pixels.npy").exists()


@pytest.mark.parametrize("changed, start", [(None, 40), (50, 40), (40, 40), (39, 39), (15, 15), (0, 0)])
def test_an_interrupted_write_keeps_the_rows_whose_lines_are_the_same(tmp_path, changed, start):
    lines, starts = [f"film {i}" for i in range(60)], []
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "set", fill=None, blocks=rows_of(starts, 40), rows=lines)
    (tmp_path / "set.partial" / "pixels.npy").write_bytes(
        (tmp_path / "set.partial" / "pixels.npy").read_bytes()[: 128 + 40 * 64]
    )
    if changed is not None:
        lines[changed] = "another film"
    table = a_table()
    table.loc[59, "sex"] = "F"
    written = write(tmp_path / "set", table, fill=None, blocks=rows_of(starts), rows=lines)
    assert starts == [0, start]
    np.testing.assert_array_equal(written.pixels, noise())

    def never(start):
        raise AssertionError("written again")

    assert len(write(tmp_path / "set", table, fill=None, blocks=never, rows=lines)) == 60
    with pytest.raises(AssertionError, match="written again"):
        write(tmp_path / "set", table, fill=None, blocks=never, rows=["new", *lines[1:]])


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


def test_a_partition_made_by_hand_refuses_a_shared_patient(tmp_path):
    radiographs = write(tmp_path / "set")
    with pytest.raises(ValueError, match="patient 00000000 is in train and test"):  # rows 0 and 1 are of one patient
        Partition(radiographs, split_findings(KEYS, ["Hernia"]), np.array([0]), np.array([20]), np.array([1]), None)


def test_partition_refuses_a_shared_patient_whose_training_film_is_dropped(tmp_path):
    table = a_table()
    table.loc[table.index[-1], "patient"] = table.loc[3, "patient"] = "99999999"
    table.loc[3, "Edema"] = 1  # unseen: this film leaves train, and the set is still not split by patient
    with pytest.raises(ValueError, match="patient 99999999 is in train and test"):
        partition(write(tmp_path / "set", table), split_findings(KEYS))


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


def test_counts_of_a_card_are_of_films_and_patients():
    table = pd.DataFrame({"patient": ["a", "a", "b", "c"], "split": ["train", "train", "train", "test"]})
    assert radiographs.split_counts(table) == {
        "images": 4, "patients": 3, "train": {"images": 3, "patients": 2}, "val": {"images": 0, "patients": 0},
        "test": {"images": 1, "patients": 1},
    }  # fmt: skip


def test_a_card_is_completed_and_sealed(tmp_path, tiny):
    given = {name: tiny.card[name] for name in ("name", "findings", "made_with")} | {"counts": {"lost": 2}}
    made = radiographs.whole_card(given, tiny.table, tiny.size, tiny.folder)
    for name in ("sha256", "table_sha256", "columns", "size", "format", "created_by"):
        assert made[name] == tiny.card[name], name
    assert made["counts"] == tiny.card["counts"] | {"lost": 2} and made["seal"] == store.seal(made)
