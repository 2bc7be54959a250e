"""What a table, a card and pixels on disk must be, rule by rule, and in which words they are refused."""

import hashlib
import json
import os

import numpy as np
import pandas as pd
import pytest

from cmdml import store

FINDINGS = ("Mass", "Hernia")


def a_table(**columns):
    """Four films of three patients."""
    made = {"image": ["a.png", "b.png", "c.png", "d.png"], "patient": ["01", "01", "02", "03"],
            "split": ["train", "train", "val", "test"], "view": ["PA", "AP", "", "PA"],
            "age": [50.0, np.nan, 1.5, 90.0], "sex": ["M", "M", "F", ""],
            "Mass": np.array([0, 1, 0, 1], np.uint8), "Hernia": np.array([1, 0, 0, 1], np.uint8)}  # fmt: skip
    return pd.DataFrame(made).assign(**columns)


def test_a_good_table_passes_with_and_without_columns_of_a_source():
    store.check_table(a_table(), FINDINGS)
    table = a_table()
    table.insert(6, "source_repo", ["", "x", "y", "z"])
    store.check_table(table, FINDINGS)
    store.check_table(a_table(Mass=np.array([0, 1, 1, 1], np.int64)), list(FINDINGS))


@pytest.mark.parametrize("change, said", [
    (lambda t: t.drop(columns=["age", "Mass"]), "^here: missing column age, Mass; found image, patient, split, view, "),
    (lambda t: t[["patient", "image", *t.columns[2:]]], r"order image, patient, split, view, age, sex, \(a source's"),
    (lambda t: t[[*t.columns[:6], "Hernia", "Mass"]], "columns must come in the order"),
    (lambda t: t.assign(last=1), "columns must come in the order"),
    (lambda t: t[:0], "^here: no radiographs are left; check the folder and the filters asked for$"),
    (lambda t: t.assign(split=["train", "dev", "tune", "test"]), "image b.png has split 'dev'; expected one of"),
    (lambda t: t.assign(view=["PA", "", "LL", "L"]), "image c.png has view 'LL'; expected one of 'PA', 'AP', ''$"),
    (lambda t: t.assign(sex=["M", "F", "", "f"]), "image d.png has sex 'f'; expected one of 'M', 'F', ''$"),
    (lambda t: t.assign(Hernia=[0, 1, 2, 3]), "image c.png has Hernia '2'; expected one of '0', '1'$"),
    (lambda t: t.assign(age=[1, 2, 3, 4]), "age must be float years, NaN where unknown, got int64"),
    (lambda t: t.assign(Mass=[0.0, 1.0, 0.0, 1.0]), "column Mass must hold the integers 0 and 1, got float64"),
    (lambda t: t.assign(Mass=[False, True, False, True]), "column Mass must hold the integers 0 and 1, got bool"),
    (lambda t: t.assign(image=["a.png", "b\n.png", "c", "d"]), r"image 'b\\n.png' must be text without control"),
    (lambda t: t.assign(patient=["1", "2", 3, "4"]), "patient 3 must be text without control characters"),
    (lambda t: t.assign(image=["a.png", "b.png", "", "d.png"]), "row 2 has no image name"),
    (lambda t: t.assign(image=["a.png", "b.png", "b.png", "a.png"]), "image b.png is listed twice"),
    (lambda t: t.assign(patient=["01", "01", "nan", "nan"]), "image c.png has the patient 'nan', which is no id"),
    (lambda t: t.assign(patient=["01", " ", "02", "03"]), "image b.png has no patient; give every patient an id"),
])  # fmt: skip
def test_the_first_thing_that_is_wrong_with_a_table_is_named(change, said):
    with pytest.raises(ValueError, match=said):
        store.check_table(change(a_table()), FINDINGS, where="here")


def test_a_table_without_findings_is_none():
    with pytest.raises(ValueError, match="columns must come in the order"):
        store.check_table(a_table().drop(columns=list(FINDINGS)), ())


def test_long_values_are_cut_in_a_sentence():
    with pytest.raises(ValueError) as caught:
        store.check_table(a_table(image=["i" * 500, "b", "c", "d"], split=["s" * 500, *["test"] * 3]), FINDINGS)
    assert "s" * 59 in str(caught.value) and "s" * 61 not in str(caught.value) and "i" * 61 not in str(caught.value)


@pytest.mark.parametrize("patient", ["", "nan", "NULL", "n/a", "NA", "NaT", "13.0", ".5", "1e5", "2.5E-3", "-1", "+3x"])
def test_what_is_no_patient(patient):
    assert store._NO_PATIENT.fullmatch(patient)


@pytest.mark.parametrize("patient", ["0", "00000013", "p1", "nancy", "1-2", "e5", "1e", "A.1"])
def test_what_is_a_patient(patient):
    assert not store._NO_PATIENT.fullmatch(patient)


def test_brief_is_one_line_of_at_most_160_characters():
    assert store.brief(ValueError("one\ntwo")) == "ValueError: one two"
    assert store.brief(OSError(28, "No space left on device")) == "No space left on device"
    assert store.brief(ValueError("x" * 148)) == "ValueError: " + "x" * 148
    assert store.brief(ValueError("x" * 149)) == "ValueError: " + "x" * 147 + "…"


def a_card(**changes):
    card = {"format": store.FORMAT, "findings": list(FINDINGS), "columns": {"Mass": "uint8"}, "size": 8,
            "sha256": "ab", "table_sha256": "cd", "name": "é"} | changes  # fmt: skip
    return card | {"seal": store.seal(card)}


def test_a_card_is_read_back_and_its_seal_is_that_of_its_content(tmp_path):
    card, file = a_card(), tmp_path / "card.json"
    # order and white space do not count
    file.write_text(json.dumps(dict(reversed(card.items())), indent=7), encoding="utf-8")
    assert store.read_card(file) == card
    content = {name: value for name, value in card.items() if name != "seal"}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    assert card["seal"] == store.seal(card) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("changes, said", [
    ({"format": 1}, "has format 1, this cmdml reads format 2; prepare the set again"),
    ({"format": "2"}, "has format '2'"),
    ({"size": "8"}, "is not what was written when the set was prepared"),
    ({"columns": []}, "is not what was written"), ({"findings": {}}, "is not what was written"),
    ({"sha256": 5}, "is not what was written"), ({"table_sha256": None}, "is not what was written"),
])  # fmt: skip
def test_a_card_of_another_kind_is_refused_though_it_is_sealed(tmp_path, changes, said):
    (tmp_path / "card.json").write_text(json.dumps(a_card(**changes)))
    with pytest.raises(ValueError, match=rf"card\.json {said}"):
        store.read_card(tmp_path / "card.json")


def test_a_card_that_was_edited_or_is_none_is_refused(tmp_path):
    file = tmp_path / "card.json"
    file.write_text(json.dumps(a_card() | {"size": 16}))
    with pytest.raises(ValueError, match="is not what was written"):
        store.read_card(file)
    for text in ("{", "[]", "{}", '{"format": 2}', "[" * 100_000):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"card\.json is not the card of a radiograph set .*; prepare"):
            store.read_card(file)
    file.write_text('{"findings": []}')  # the first format had no number
    with pytest.raises(ValueError, match="has format 1,"):
        store.read_card(file)


KINDS = {"image": "str", "n": "int64", "age": "float64", "Mass": "uint8"}


def read(tmp_path, text, kinds=KINDS):
    file = tmp_path / "table.csv"
    file.write_text(text)
    return store.read_table(file, kinds, hashlib.sha256(text.encode()).hexdigest())


def test_a_table_is_read_as_its_card_says(tmp_path):
    table = read(tmp_path, "image,n,age,Mass\n0012,-5,,255\nNA,9007199254740993,1.5,0\n")
    assert table["image"].tolist() == ["0012", "NA"]
    assert table["n"].tolist() == [-5, 9007199254740993]  # not by way of a float
    assert np.isnan(table["age"][0]) and table["age"][1] == 1.5
    assert table["Mass"].tolist() == [255, 0]
    assert [str(table[name].dtype) for name in ("n", "age", "Mass")] == ["int64", "float64", "uint8"]


@pytest.mark.parametrize("text, said", [
    ("image,n,age,Mas\na,1,1,1\n", r"table\.csv: Mas, Mass differs from card\.json; prepare the set again"),
    ("n,image,age,Mass\n1,a,1,1\n", "the order of columns differs from card"),
    ("image,n,age,Mass\na,1.5,1,1\n", "column n must hold int64 numbers"),
    ("image,n,age,Mass\na,,1,1\n", "column n must hold int64 numbers"),
    ("image,n,age,Mass\na,99999999999999999999,1,1\n", "column n must hold int64 numbers"),
    ("image,n,age,Mass\na,1,old,1\n", "column age must hold float64 numbers"),
    ("image,n,age,Mass\na,1,1,256\nb,1,1,0\n", "column Mass must hold uint8 numbers, found 256"),
    ("image,n,age,Mass\na,1,1,0\nb,1,1,-1\n", "column Mass must hold uint8 numbers, found -1"),
    ("image,n,age,Mass\na,1,1,0\nb,1,1,0,0,0\n", r"table\.csv cannot be used \(.*; delete the folder and prepare it"),
])  # fmt: skip
def test_a_table_that_its_card_does_not_describe_is_refused(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        read(tmp_path, text)


def test_a_table_with_another_hash_or_without_a_file_is_refused(tmp_path):
    read(tmp_path, "image,n,age,Mass\n")
    with pytest.raises(ValueError, match=r"its SHA-256 is not what card\.json says"):
        store.read_table(tmp_path / "table.csv", KINDS, "0" * 64)
    with pytest.raises(ValueError, match=r"gone\.csv cannot be used \(No such file or directory\)"):
        store.read_table(tmp_path / "gone.csv", KINDS, "0" * 64)


def test_pixels_are_those_that_numpy_wrote_and_are_not_writeable(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    assert (tmp_path / "pixels.npy").read_bytes() == store.npy_header(pixels.shape) + pixels.tobytes()
    read = store.read_pixels(tmp_path / "pixels.npy", (5, 4, 4))
    np.testing.assert_array_equal(read, pixels)
    assert isinstance(read, np.memmap) and not read.flags.writeable
    with pytest.raises(ValueError, match=r"expected \(4, 4, 4\) uint8 .*, but its header says something else; prepare"):
        store.read_pixels(tmp_path / "pixels.npy", (4, 4, 4))
    for length in (128 + 79, 128 + 81):
        os.truncate(tmp_path / "pixels.npy", length)
        with pytest.raises(ValueError, match=f"but it has {length} bytes"):
            store.read_pixels(tmp_path / "pixels.npy", (5, 4, 4))
    with pytest.raises(ValueError, match="No such file"):
        store.read_pixels(tmp_path / "gone.npy", (5, 4, 4))


@pytest.mark.parametrize("rows", [1, 3])
def test_the_hash_of_a_set_is_that_of_pixels_and_table(tmp_path, rows):
    pixels = np.random.default_rng(0).integers(0, 256, (rows, 512, 512), dtype=np.uint8)  # a chunk, and more than one
    np.save(tmp_path / "pixels.npy", pixels)
    (tmp_path / "table.csv").write_text("image\na\n")
    naive = hashlib.sha256(pixels.tobytes() + b"image\na\n").hexdigest()
    assert store.content_sha256(tmp_path, pixels.shape) == naive


def test_a_digest_is_of_all_its_parts_in_whatever_order_their_keys_are():
    assert store.digest({"a": 1, "b": 2}, [3]) == store.digest({"b": 2, "a": 1}, [3])
    assert store.digest(1, 2) != store.digest(2, 1) != store.digest([2, 1])
    assert store.digest(1) == hashlib.sha256(b"[1]").hexdigest()


def test_kinds_of_columns():
    table = pd.DataFrame({"i": [1], "u": np.array([1], np.uint8), "f": [1.0], "s": ["x"], "b": [True]})
    assert store.column_kinds(table) == {"i": "int64", "u": "uint8", "f": "float64", "s": "str", "b": "str"}


def test_a_leak_names_its_film_and_finding():
    table = a_table()
    store.assert_unseen_left_out(table[2:3], ["Hernia"], "here")
    store.assert_unseen_left_out(table[2:3], ["Mass", "Hernia"], "here")
    store.assert_unseen_left_out(table, [], "here")
    said = r"^here: 3 training images carry an unseen finding \(a.png: Hernia\); leave them out of train$"
    with pytest.raises(ValueError, match=said):
        store.assert_unseen_left_out(table, ["Mass", "Hernia"], "here")
    with pytest.raises(ValueError, match=r"2 training images .*\(b.png: Mass\)"):
        store.assert_unseen_left_out(table, ["Mass"], "here")


def test_patients_of_two_splits_are_named_five_at_most():
    store.assert_patient_disjoint(a_table(), "here")
    both = pd.DataFrame([(str(p), split) for p in range(7) for split in ("test", "train")],
                        columns=["patient", "split"])  # fmt: skip
    both.loc[len(both)] = ("another", "val")
    with pytest.raises(ValueError) as caught:
        store.assert_patient_disjoint(both, "here")
    said = str(caught.value)
    assert said.startswith("here: splits must not share patients, but patient 0 is in test and train; patient 1 is in")
    assert "patient 4" in said and "patient 5" not in said and said.endswith("; and 2 more; split by patient, prepare "
                                                                             "again")  # fmt: skip
    with pytest.raises(ValueError) as caught:
        store.assert_patient_disjoint(both[:10], "here")
    assert "patient 4 is in test and train; split by patient" in str(caught.value) and "more" not in str(caught.value)
