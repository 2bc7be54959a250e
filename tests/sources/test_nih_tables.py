"""The tables of an NIH download, read without its films."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from cmdml.findings import KEYS
from cmdml.sources import nih_tables

HEAD = "Image Index,Finding Labels,Patient ID,Patient Age,Patient Gender,View Position"


def entries(folder, *rows, name="Data_Entry_2017_v2020.csv", head=HEAD):
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / name
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def lists(folder, **names):
    folder.mkdir(exist_ok=True, parents=True)
    for name, lines in names.items():
        (folder / f"{name}_list.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_a_row_is_a_film_with_its_patient_and_a_column_for_every_finding(tmp_path):
    path = entries(tmp_path, "00000012_000.png,Mass| Pleural_Thickening,12,058Y,M,PA",
                   "scan.png,No Finding,00000003,7,F,AP", "other.png,Hernia,5,061Y,O,LL")  # fmt: skip
    table = nih_tables.read_entries(path)
    assert list(table) == ["image", "patient", "age", "view", "sex", *KEYS]
    assert table["image"].tolist() == ["00000012_000.png", "scan.png", "other.png"]
    assert table["patient"].tolist() == ["00000012", "00000003", "00000005"]
    assert table["age"].tolist() == [58, 7, 61]
    assert table["view"].tolist() == ["PA", "AP", ""] and table["sex"].tolist() == ["M", "F", ""]
    positive = [[key for key in KEYS if row[key]] for row in table.to_dict("records")]
    assert [set(keys) for keys in positive] == [{"Mass", "Pleural_Thickening"}, set(), {"Hernia"}]
    assert (table[list(KEYS)].dtypes == np.uint8).all()


@pytest.mark.parametrize(
    ("told", "years"),
    [("120", 120), ("121", np.nan), ("012M", 1), ("0", 0), ("1461D", 4), ("18W", np.nan), ("-3", np.nan), ("", np.nan)],
)
def test_an_age_is_in_years_and_unknown_where_it_cannot_be_one(tmp_path, told, years):
    table = nih_tables.read_entries(entries(tmp_path, f"a.png,Mass,1,{told},M,PA"))
    np.testing.assert_array_equal(table["age"], [years])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,Mas,1,58,M,PA", "image a.png has the label 'Mas' among .*did you mean 'Mass'"),
        ("a.png,No Finding|Mass,1,58,M,PA", "image a.png has the label 'No Finding' among"),
        ("a/b.png,Mass,1,58,M,PA", "has the Image Index 'a/b.png', which is none; mend or fetch it"),
        ("a.png,Mass,1x,58,M,PA", "image 'a.png' has the Patient ID '1x', which is none"),
        ("00000002_000.png,Mass,1,58,M,PA", "image 00000002_000.png has the Patient ID 00000001; one of the two"),
        ("first.png,Mass,1,58,M,PA", "image first.png is listed twice; keep one of its rows"),
    ],
)
def test_a_row_that_cannot_be_is_named(tmp_path, row, message):
    path = entries(tmp_path, "first.png,Mass,7,58,M,PA", row)
    with pytest.raises(ValueError, match=message):
        nih_tables.read_entries(path)


def test_a_name_that_is_not_nih_s_says_nothing_of_its_patient(tmp_path):
    table = nih_tables.read_entries(entries(tmp_path, "00000002_00.png,Mass,1,58,M,PA"))
    assert table["patient"].tolist() == ["00000001"]


def test_the_latest_table_is_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no Data_Entry_2017\*\.csv; download it"):
        nih_tables.latest_entries(tmp_path)
    old = entries(tmp_path, name="Data_Entry_2017.csv")
    assert nih_tables.latest_entries(tmp_path) == old
    new = entries(tmp_path)
    assert nih_tables.latest_entries(tmp_path) == new


def test_which_lists_a_rule_means(tmp_path):
    root = lists(tmp_path / "root", train_val=["a"], test=["b"])
    official = {"train": root / "train_val_list.txt", "test": root / "test_list.txt"}
    assert nih_tables.split_lists(root, "auto") == official == nih_tables.split_lists(root, "official")
    own = lists(root / "splits", train=["a"], val=["c"], test=["b"])
    three = {name: own / f"{name}_list.txt" for name in ("train", "val", "test")}
    assert nih_tables.split_lists(root, "auto") == three == nih_tables.split_lists(tmp_path, own)
    assert nih_tables.split_lists(root, "official") == official and nih_tables.split_lists(root, "hash") == {}
    (own / "val_list.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"splits/val_list\.txt is missing; add it, or use splits='hash'"):
        nih_tables.split_lists(root, "auto")
    with pytest.raises(ValueError, match="splits='hsh' is neither a folder with three lists nor a rule.*'hash'"):
        nih_tables.split_lists(root, "hsh")


def test_input_files_are_the_table_the_lists_and_the_sources(tmp_path):
    table = entries(lists(tmp_path, train_val=["a"], test=["b"]))
    read = [table, tmp_path / "train_val_list.txt", tmp_path / "test_list.txt"]
    assert nih_tables.input_files(tmp_path) == read
    (tmp_path / "sources.csv").write_text("image,source_repo,source_pixels\n")
    assert nih_tables.input_files(tmp_path) == [*read, tmp_path / "sources.csv"]
    assert nih_tables.input_files(tmp_path, "hash") == [table, tmp_path / "sources.csv"]


def share(patient, seed):
    return int.from_bytes(hashlib.sha256(f"{seed}:{patient}".encode()).digest()[:8], "big") / 2**64


def test_a_hash_split_is_the_patient_s_number_between_bounds():
    for i in range(200):
        patient, bounds = f"{i:08d}", {"test": 0.2, "val": 0.3}
        u = share(patient, 4)
        assert nih_tables.hash_split(patient, 4, bounds) == ("test" if u < 0.2 else "val" if u < 0.3 else "train")


def test_by_hash_every_patient_is_a_fifth_test_and_a_tenth_validation(tmp_path):
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(400)], "patient": [f"{i // 2:08d}" for i in range(400)]})
    found, named = nih_tables.assign(table, tmp_path, "hash", 9)
    bounds = [(share(patient, 9) >= 0.2) + (share(patient, 9) >= 0.3) for patient in table["patient"]]
    assert found == [("test", "val", "train")[n] for n in bounds] and named == set()
    assert min(found.count(name) for name in ("train", "val", "test")) > 0


def test_official_lists_give_an_eighth_of_the_training_patients_to_validation(tmp_path):
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(100)], "patient": [f"{i:08d}" for i in range(100)]})
    train = [f"some/where/{i}.png 0 1" for i in range(80)]
    lists(tmp_path, train_val=[*train, " ", "elsewhere.png"], test=[f"{i}.png" for i in range(80, 99)])
    found, named = nih_tables.assign(table, tmp_path, "auto", 3)
    eighth = ["val" if share(patient, 3) < 1 / 8 else "train" for patient in table["patient"][:80]]
    assert found == [*eighth, *["test"] * 19, ""] and {"val", "train"} == set(eighth)
    assert named == {*(f"{i}.png" for i in range(99)), "elsewhere.png"}


def test_three_lists_are_taken_at_their_word(tmp_path):
    table = pd.DataFrame({"image": ["a.png", "b.png", "c.png"], "patient": ["1", "2", "3"]})
    lists(tmp_path, train=["c.png", "c.png"], val=["a.png"], test=["b.png"])
    assert nih_tables.assign(table, tmp_path, tmp_path, 0) == (["val", "test", "train"], {"a.png", "b.png", "c.png"})
    lists(tmp_path, val=["a.png", "c.png"])
    with pytest.raises(ValueError, match=r"val_list\.txt: c\.png is also in the train list; an image has one split"):
        nih_tables.assign(table, tmp_path, tmp_path, 0)
    lists(tmp_path, val=[" "])
    with pytest.raises(ValueError, match=r"val_list\.txt names no image; fetch it again"):
        nih_tables.assign(table, tmp_path, tmp_path, 0)


def test_sources_are_by_image_with_whole_pixels(tmp_path):
    path = tmp_path / "sources.csv"
    path.write_text("image,source_repo,source_pixels,note\na.png,x/y,1024,n\nb.png,z,64,n\n")
    table = nih_tables.read_sources(path)
    assert table.loc[["b.png", "a.png"], "source_repo"].tolist() == ["z", "x/y"]
    assert table["source_pixels"].tolist() == [1024, 64] and list(table) == ["source_repo", "source_pixels"]
    path.write_text("image,source_repo,source_pixels\na.png,x,1\na.png,x,1\n")
    with pytest.raises(ValueError, match=r"image a\.png is listed twice; keep one of its rows"):
        nih_tables.read_sources(path)
    path.write_text("image,source_repo,source_pixels\na.png,x,1.5\n")
    with pytest.raises(ValueError, match=r"sources\.csv.*source_pixels"):
        nih_tables.read_sources(path)
