"""The NIH source, on tiny trees of PNGs in the layout of the official download."""

import hashlib
import os
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cmdml.findings import KEYS
from cmdml.radiographs import RadiographSet
from cmdml.sources import nih, nih_tables
from cmdml.sources.decoding import decode, decode_blocks

HEAD_2017 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
HEAD_2020 = HEAD_2017.rstrip(",")
LABELS = ("No Finding", "Cardiomegaly|Effusion", "Pleural_Thickening", "Hernia")


def pixels(i, size=32):
    return np.random.default_rng(i).integers(0, 256, (size, size), dtype=np.uint8)


def a_tree(root: Path, images=12, *, head=HEAD_2020, end=None, flat=True, age="058Y", size=32):
    """Two images per patient, ids 1, 2, …; labels cycle through LABELS; official lists, the last third in test."""
    names = [f"{i // 2 + 1:08d}_{i % 2:03d}.png" for i in range(images)]
    end = ("," if head.endswith(",") else "") if end is None else end
    rows = [head]
    for i, name in enumerate(names):
        place = root / "images" if flat else root / f"images_{i % 2 + 1:03d}" / "images"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(i, size)).save(place / name)
        sex, view = "MF"[i % 2], ("PA", "AP")[i // 2 % 2]
        rows.append(f"{name},{LABELS[i % 4]},{i % 2},{i // 2 + 1},{age},{sex},{view},2500,2048,0.168,0.168{end}")
    version = "" if end else "_v2020"
    (root / f"Data_Entry_2017{version}.csv").write_text("\n".join(rows) + "\n")
    test = images * 2 // 3
    (root / "train_val_list.txt").write_text("\n".join(names[:test]) + "\n")
    (root / "test_list.txt").write_text("\n".join(names[test:]))
    return names


def prepare(tmp_path, size=16, **options):
    return nih.prepare(tmp_path / "set", root=tmp_path / "nih", size=size, progress=False, **options)


@pytest.mark.parametrize("flat", [True, False], ids=["flat", "images_0xx"])
@pytest.mark.parametrize(
    "head, end",
    [(HEAD_2017, None), (HEAD_2020, None), (HEAD_2020.replace("Gender", "Sex"), ",")],
    ids=["2017", "2020", "sex, rows with a comma too many"],
)
def test_both_layouts_and_both_tables_give_the_same_set(tmp_path, flat, head, end):
    names = a_tree(tmp_path / "nih", flat=flat, head=head, end=end)
    radiographs = prepare(tmp_path)
    table = radiographs.table
    assert table["image"].tolist() == names
    assert table["patient"].tolist() == [name[:8] for name in names]
    assert table["sex"].tolist() == ["M", "F"] * 6 and table["view"].tolist() == ["PA", "PA", "AP", "AP"] * 3
    assert (table["age"] == 58).all()
    for i, names_of in enumerate(LABELS):
        expected = [int(key in names_of.split("|")) for key in KEYS]
        assert radiographs.labels[i].tolist() == expected
    for i, image in enumerate(radiographs.pixels):
        box = pixels(i).reshape(16, 2, 16, 2).mean((1, 3))
        assert np.abs(image - box).max() <= 0.5  # the box filter, rounded
    radiographs.verify()


def test_box_filter_of_a_fractional_factor_keeps_the_mean(tmp_path):
    Image.fromarray(pixels(0, 1000)).save(tmp_path / "a.png")
    small = decode(tmp_path / "a.png", 64)
    weights = np.zeros((64, 1000))
    for row in range(64):  # overlap of output cell [row, row + 1) · 1000/64 with each input pixel
        low, high = row * 1000 / 64, (row + 1) * 1000 / 64
        weights[row] = np.clip(np.minimum(high, np.arange(1, 1001)) - np.maximum(low, np.arange(1000)), 0, 1)
    area = weights @ pixels(0, 1000) @ weights.T * (64 / 1000) ** 2
    assert np.abs(small - area).mean() < 1 and np.abs(small - area).max() <= 6


def test_official_split_takes_validation_patients_from_train_val(tmp_path):
    names = a_tree(tmp_path / "nih", 240)
    table = prepare(tmp_path, splits="official").table.set_index("image")
    assert (table["split"] == "test").to_numpy().nonzero()[0].tolist() == list(range(160, 240))
    assert table.groupby("patient")["split"].nunique().max() == 1
    for patient, split in table.loc[names[:160]].groupby("patient")["split"].first().items():
        eighth = hashlib.sha256(f"0:{patient}".encode()).digest()[0] < 32  # of 256
        assert split == ("val" if eighth else "train")
    assert table.loc[names[:160], "split"].eq("val").sum() == 22  # of 160
    again = nih.prepare(tmp_path / "other", root=tmp_path / "nih", size=16, seed=1, progress=False).table
    assert again["split"].tolist() != table["split"].tolist()


def test_hash_split_never_moves_a_patient_when_images_are_added(tmp_path):
    for images, folder in ((200, "few"), (300, "many")):
        a_tree(tmp_path / folder, images)
    few, many = (
        nih.prepare(tmp_path / f"{f}_set", root=tmp_path / f, size=16, splits="hash", progress=False).table
        for f in ("few", "many")
    )
    splits = many.groupby("patient")["split"].agg(set)
    assert all(splits[p] == {s} for p, s in zip(few["patient"], few["split"], strict=True))
    share = many["split"].value_counts(normalize=True)
    assert 0.5 < share["train"] < 0.85 and share["val"] > 0 and share["test"] > 0


def user_lists(folder, names, val=4, test=8):
    folder.mkdir(parents=True)
    for split, part in {"train": names[:val], "val": names[val:test], "test": names[test:]}.items():
        lines = [f"images_001/{name} 0 1 0 0" for name in part]
        (folder / f"{split}_list.txt").write_text("\n".join(lines) + "\n\n")


@pytest.mark.parametrize("place, splits", [("nih/splits", "auto"), ("mine", None)])
def test_lists_of_the_user_with_folders_and_labels_in_their_lines(tmp_path, place, splits):
    names = a_tree(tmp_path / "nih")
    user_lists(tmp_path / place, names)
    table = prepare(tmp_path, splits=splits or tmp_path / place).table
    assert table["split"].tolist() == ["train"] * 4 + ["val"] * 4 + ["test"] * 4


def test_nothing_is_left_out_in_silence(tmp_path, capsys):
    names = a_tree(tmp_path / "nih", 16)
    root = tmp_path / "nih"
    (root / "images" / names[0]).unlink()  # in the table and in a list, not on disk
    Image.fromarray(pixels(0)).save(root / "images" / "00009999_000.png")  # on disk only
    listed = (root / "train_val_list.txt").read_text().splitlines()
    (root / "train_val_list.txt").write_text("\n".join([n for n in listed if n != names[3]] + ["00007777_000.png"]))
    entries = root / "Data_Entry_2017_v2020.csv"
    lines = entries.read_text().splitlines()
    lines[2] = lines[2].replace("058Y", "414Y").replace(",F,", ",,")
    entries.write_text("\n".join(lines))
    card = prepare(tmp_path).card
    counted = {k: v for k, v in card["counts"].items() if isinstance(v, int)}
    assert counted == {
        "images": 14,
        "patients": 8,
        "without_label": 1,
        "without_image": 1,
        "listed_without_image": 2,
        "without_split": 1,
        "in_excluded_sources": 0,
        "below_min_source_pixels": 0,
        "non_square": 0,
        "view_unknown": 0,
        "age_unknown": 1,
        "sex_unknown": 1,
    }
    assert "1 without label, 1 without image, 2 listed without image, 1 without split" in capsys.readouterr().out


AGES = [("58", 58), ("058Y", 58), ("006M", 0.5), ("414", np.nan), ("120", 120), ("121", np.nan), ("old", np.nan)]


@pytest.mark.parametrize("age, years", AGES)
def test_ages(tmp_path, age, years):
    a_tree(tmp_path / "nih", age=age)
    np.testing.assert_array_equal(prepare(tmp_path).table["age"], [years] * 12)


def test_sources_are_carried_and_small_ones_can_be_left_out(tmp_path):
    names = a_tree(tmp_path / "nih")
    lines = [
        f"{name},{'far/away' if i == 5 else 'near/by'},{8 if i == 5 else 1024},x|y" for i, name in enumerate(names)
    ]
    (tmp_path / "nih" / "sources.csv").write_text("\n".join(["image,source_repo,source_pixels,all", *lines[:-1]]))
    with pytest.raises(ValueError, match=rf"{names[5]} was 8 px, smaller than size=16.*min_source_pixels=16"):
        prepare(tmp_path)
    radiographs = prepare(tmp_path, min_source_pixels=16)
    table = radiographs.table
    assert table["image"].tolist() == names[:5] + names[6:]
    assert table["source_repo"].tolist() == ["near/by"] * 10 + [""] and table["source_pixels"].tolist()[-1] == 32
    assert radiographs.card["counts"]["below_min_source_pixels"] == 1
    assert "source-only control" in radiographs.card["note"]


def test_nothing_is_enlarged(tmp_path):
    a_tree(tmp_path / "nih")
    with pytest.raises(ValueError, match=r"00000001_000\.png was 32 px, smaller than size=64, and so were 11 more"):
        prepare(tmp_path, size=64)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_images_in_colour_modes_are_the_same_radiograph(tmp_path, mode):
    Image.fromarray(pixels(3)).save(tmp_path / "l.png")
    Image.fromarray(pixels(3)).convert(mode).save(tmp_path / "m.png")
    assert Image.open(tmp_path / "m.png").mode == mode
    np.testing.assert_array_equal(decode(tmp_path / "m.png", 32), pixels(3))


def truncate(path):
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda p: p.write_text("<html>not found</html>"), "is not a PNG image; fetch it again"),
        (truncate, "cannot be read as an image"),
        (lambda p: Image.fromarray(np.dstack([pixels(i) for i in range(3)])).save(p), "is a colour image"),
        (
            lambda p: Image.fromarray(pixels(0).astype(np.uint16) * 256).save(p),
            "has 16 bits per channel, expected 8-bit grey",
        ),
    ],
)
def test_an_image_that_is_none_is_named(tmp_path, spoil, message):
    names = a_tree(tmp_path / "nih")
    spoil(tmp_path / "nih" / "images" / names[7])
    with pytest.raises(ValueError, match=f"{names[7]}.*{message}"):
        prepare(tmp_path)
    assert not (tmp_path / "set").exists()


def test_a_mended_image_lets_the_run_continue(tmp_path, monkeypatch):
    names = a_tree(tmp_path / "nih", 40)
    monkeypatch.setattr("cmdml.sources.decoding._BLOCK_BYTES", 1)
    damaged = tmp_path / "nih" / "images" / names[35]
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-60] + bytes(60))  # same size: the request stays the same
    with pytest.raises(ValueError, match=names[35]):
        prepare(tmp_path)
    damaged.write_bytes(whole)
    starts = []
    real = nih.decode_blocks
    monkeypatch.setattr(nih, "decode_blocks", lambda p, start, *a: starts.append(start) or real(p, start, *a))
    resumed = prepare(tmp_path)
    assert starts == [32]
    fresh = nih.prepare(tmp_path / "fresh", root=tmp_path / "nih", size=16, progress=False)
    assert resumed.card["sha256"] == fresh.card["sha256"]


def test_blocks_do_not_depend_on_workers(tmp_path):
    names = a_tree(tmp_path / "nih", 40)
    paths = [tmp_path / "nih" / "images" / name for name in names]
    one, many = (np.concatenate(list(decode_blocks(paths, 5, 16, n, False))) for n in (1, 7))
    np.testing.assert_array_equal(one, many)
    assert len(one) == 35


def another(path):
    """Replace an image in place: the new file has the size and the times of the old one, other pixels."""
    before = path.stat()
    grey = np.full((32, 32), 77, np.uint8)
    grey[0, 0] = 78
    Image.fromarray(grey).save(path)
    assert path.stat().st_size < before.st_size - 12
    room = before.st_size - path.stat().st_size - 12  # fill up with a text chunk, as an image tool might write one
    chunk = b"tEXt" + b"x" * room
    data = path.read_bytes()
    extra = room.to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    path.write_bytes(data[:33] + extra + data[33:])
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_prepared_set_is_not_decoded_again_until_the_images_change(tmp_path, monkeypatch):
    names = a_tree(tmp_path / "nih")
    prepare(tmp_path)
    calls = []
    real = nih.decode_blocks
    monkeypatch.setattr(nih, "decode_blocks", lambda *a: calls.append(1) or real(*a))
    prepare(tmp_path)
    assert not calls
    another(tmp_path / "nih" / "images" / names[0])
    assert abs(float(prepare(tmp_path).pixels[0].mean()) - 77) < 1
    assert calls and str(tmp_path) not in (tmp_path / "set" / "card.json").read_text()


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    "spoil, error, message",
    [
        (
            lambda r: edit(r / "Data_Entry_2017_v2020.csv", "Hernia", "Herna"),
            ValueError,
            "'Herna'.*did you mean 'Hernia'",
        ),
        (lambda r: edit(r / "Data_Entry_2017_v2020.csv", "Patient ID", "Pat"), ValueError, "no column 'Patient ID'"),
        (lambda r: (r / "Data_Entry_2017_v2020.csv").unlink(), FileNotFoundError, r"no Data_Entry_2017\*\.csv"),
        (lambda r: (r / "test_list.txt").unlink(), FileNotFoundError, "test_list.txt is missing.*splits='hash'"),
        (lambda r: (r / "test_list.txt").write_text("\n \n"), ValueError, "test_list.txt names no image"),
        (lambda r: (r / "test_list.txt").write_bytes(b"\xe9"), ValueError, "test_list.txt is not utf-8 text"),
        (
            lambda r: edit(r / "test_list.txt", "00000005_000.png", "00000001_000.png"),
            ValueError,
            "00000001_000.png is also in the train list",
        ),
        (
            lambda r: edit(r / "train_val_list.txt", "00000004_000.png", "00000005_000.png"),
            ValueError,
            "00000005_000.png is also in the train list",
        ),
        (lambda r: (r / "images").rename(r / "pictures"), FileNotFoundError, r"no images\*/\*\*/\*\.png; unpack"),
        (
            lambda r: [(r / "images_x").mkdir(), Image.fromarray(pixels(0)).save(r / "images_x" / "00000001_000.png")],
            ValueError,
            "00000001_000.png lies in .*images and in .*images_x",
        ),
    ],
)
def test_a_download_that_is_incomplete_says_what_is_wrong(tmp_path, spoil, error, message):
    a_tree(tmp_path / "nih")
    spoil(tmp_path / "nih")
    with pytest.raises(error, match=message):
        prepare(tmp_path)


def test_a_patient_in_two_lists_is_named_before_anything_is_decoded(tmp_path, monkeypatch):
    names = a_tree(tmp_path / "nih")
    user_lists(tmp_path / "mine", names, val=5)
    monkeypatch.setattr(nih, "decode_blocks", None)
    with pytest.raises(ValueError, match="patient 00000003 is in train and val"):
        prepare(tmp_path, splits=tmp_path / "mine")


@pytest.mark.parametrize(
    "splits, message",
    [("offical", "did you mean 'official'"), ("/no/such/folder", "neither a folder with three lists nor a rule")],
)
def test_an_unknown_split_rule_is_an_error(tmp_path, splits, message):
    a_tree(tmp_path / "nih")
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path, splits=splits)


@pytest.mark.parametrize("root", ["", None, "no/such/place"])
def test_a_missing_root_says_how_to_give_one(tmp_path, root):
    with pytest.raises(FileNotFoundError, match="nih_root"):
        nih.prepare(tmp_path / "set", root=root)


def with_sources(root, names):
    repos = ["a/one", "b/two", "c/three"]
    lines = [f"{name},{repos[i % 3]},{(64, 32, 24)[i // 4]}" for i, name in enumerate(names)]
    (root / "sources.csv").write_text("\n".join(["image,source_repo,source_pixels", *lines]))


def test_sources_can_be_left_out_by_name_and_are_counted(tmp_path):
    names = a_tree(tmp_path / "nih")
    with_sources(tmp_path / "nih", names)
    radiographs = prepare(tmp_path, exclude_sources=["c/three", "a/one"], min_source_pixels=32)
    assert radiographs.table["image"].tolist() == [names[i] for i in (1, 4, 7)]
    assert set(radiographs.table["source_repo"]) == {"b/two"}
    assert radiographs.card["excluded_sources"] == {"c/three": 4, "a/one": 4}
    assert radiographs.card["counts"]["in_excluded_sources"] == 8
    assert radiographs.card["counts"]["below_min_source_pixels"] == 1  # names[10]; what is excluded counts once
    assert len(prepare(tmp_path, exclude_sources=["c/three"])) == 8
    assert len(prepare(tmp_path)) == 12


@pytest.mark.parametrize(
    "exclude, message",
    [
        (["b/tow"], "unknown source of .*sources.csv 'b/tow': did you mean 'b/two'"),
        ("b/two", "exclude_sources must be a list of names"),
        ([3], "exclude_sources must be a list of names"),
    ],
)
def test_a_source_that_is_none_is_refused(tmp_path, exclude, message):
    with_sources(tmp_path / "nih", a_tree(tmp_path / "nih"))
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path, exclude_sources=exclude)
    (tmp_path / "nih" / "sources.csv").unlink()
    with pytest.raises(ValueError, match="there is no .*sources.csv|must be a list"):
        prepare(tmp_path, exclude_sources=exclude)


@pytest.mark.parametrize(
    "options", [{"size": 0}, {"size": 16.0}, {"size": True}, {"min_source_pixels": -1}, {"workers": -1}]
)
def test_options_out_of_range_are_refused(tmp_path, options):
    a_tree(tmp_path / "nih")
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be a whole number"):
        prepare(tmp_path, **options)


@pytest.mark.parametrize("missing", ["train", "val", "test"])
def test_two_of_three_lists_are_an_error_not_the_official_split(tmp_path, missing):
    names = a_tree(tmp_path / "nih")
    user_lists(tmp_path / "nih" / "splits", names)
    (tmp_path / "nih" / "splits" / f"{missing}_list.txt").unlink()
    with pytest.raises(FileNotFoundError, match=f"splits/{missing}_list.txt is missing"):
        prepare(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: edit(r / "Data_Entry_2017_v2020.csv", ",2500,", ",2501,"),  # a column that the set does not use
        lambda r: edit(r / "test_list.txt", "00000006_001.png", "00000006_001.png\n00008888_000.png"),
        lambda r: edit(r / "sources.csv", "64", "65"),
        lambda r: os.utime(r / "images" / "00000003_000.png", (1, 1)),
        lambda r: another(r / "images" / "00000003_000.png"),
    ],
)
def test_an_edited_input_makes_the_set_anew(tmp_path, change):
    with_sources(tmp_path / "nih", a_tree(tmp_path / "nih"))
    before = prepare(tmp_path).card["request"]
    assert prepare(tmp_path).card["request"] == before
    change(tmp_path / "nih")
    assert prepare(tmp_path).card["request"] != before


def test_input_files_are_those_that_are_read(tmp_path):
    root = tmp_path / "nih"
    names = a_tree(root)
    found = nih_tables.input_files(root)
    assert [p.name for p in found] == ["Data_Entry_2017_v2020.csv", "train_val_list.txt", "test_list.txt"]
    with_sources(root, names)
    user_lists(root / "splits", names)
    found = [p.name for p in nih_tables.input_files(root)]
    assert found[1:] == ["train_list.txt", "val_list.txt", "test_list.txt", "sources.csv"]
    assert set(prepare(tmp_path).card["made_with"]["inputs"]) == set(found)


@pytest.mark.parametrize("patient", ["", "nan", "1.0", "-1", "0", "1e3", "٣", "123456789"])
def test_a_patient_id_that_is_none_is_refused(tmp_path, patient):
    a_tree(tmp_path / "nih")
    edit(tmp_path / "nih" / "Data_Entry_2017_v2020.csv", "No Finding,0,3,", f"No Finding,0,{patient},")
    with pytest.raises(ValueError, match=f"image '00000003_000.png' has the Patient ID '{patient}', which is none"):
        prepare(tmp_path)


def test_a_film_whose_name_is_of_another_patient_is_refused(tmp_path):
    a_tree(tmp_path / "nih")
    edit(tmp_path / "nih" / "Data_Entry_2017_v2020.csv", "No Finding,0,3,", "No Finding,0,4,")
    with pytest.raises(ValueError, match="image 00000003_000.png has the Patient ID 00000004; one of the two is wrong"):
        prepare(tmp_path)


@pytest.mark.parametrize("width, height", [(48, 32), (32, 47)])
def test_films_that_are_not_square_are_refused_or_padded(tmp_path, width, height):
    names = a_tree(tmp_path / "nih")
    film = np.random.default_rng(0).integers(1, 256, (height, width), dtype=np.uint8)
    Image.fromarray(film).save(tmp_path / "nih" / "images" / names[2])
    with pytest.raises(ValueError, match=f"{names[2]} is {width} x {height} px, not square, and so are 0 more.*'pad'"):
        prepare(tmp_path)
    with pytest.raises(ValueError, match=f"{names[2]} is {width} x {height} px, not square.*'pad'"):
        decode(tmp_path / "nih" / "images" / names[2], 16)
    with pytest.raises(ValueError, match="unknown non_square 'pda': did you mean 'pad'"):
        prepare(tmp_path, non_square="pda")
    radiographs = prepare(tmp_path, non_square="pad")
    side = max(width, height)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = film
    expected = np.asarray(Image.fromarray(square).resize((16, 16), Image.Resampling.BOX), int)
    assert np.abs(radiographs.pixels[2] - expected).max() <= 1  # reduce() rounds on its own
    assert radiographs.card["counts"]["non_square"] == 1
    np.testing.assert_array_equal(radiographs.pixels[3], decode(tmp_path / "nih" / "images" / names[3], 16))


@pytest.mark.skipif("CMDML_NIH_ROOT" not in os.environ, reason="set CMDML_NIH_ROOT to a folder of the NIH download")
def test_real_files(tmp_path):
    radiographs = nih.prepare(tmp_path / "set", root=os.environ["CMDML_NIH_ROOT"], size=64, progress=False)
    RadiographSet.load(tmp_path / "set").verify()
    assert 5 < radiographs.pixels[: min(200, len(radiographs))].std() < 120


def test_the_card_says_how_the_set_was_made(tmp_path):
    root = tmp_path / "nih"
    names = a_tree(root)
    with_sources(root, names)
    user_lists(tmp_path / "mine", names)
    options = {"min_source_pixels": 32, "exclude_sources": ["c/three"], "non_square": "pad", "seed": 7}
    for splits, said in ((tmp_path / "mine", "lists"), ("hash", "hash"), ("auto", "auto")):
        card = prepare(tmp_path, splits=splits, **options).card
        files = [root / "Data_Entry_2017_v2020.csv", root / "sources.csv"]
        files += {"lists": sorted((tmp_path / "mine").iterdir()), "hash": [],
                  "auto": [root / "train_val_list.txt", root / "test_list.txt"]}[said]  # fmt: skip
        inputs = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        assert card["made_with"] == {"source": "nih", "size": 16, "splits": said, "labels": files[0].name,
                                     "inputs": inputs} | options  # fmt: skip
        assert card["title"] == f"NIH ChestX-ray14, {card['counts']['images']} of 112,120 radiographs"
        assert card["counts"]["images"] < 12
    assert "Assembled from 2 places" in card["note"]
    (root / "sources.csv").unlink()
    assert "Assembled" not in prepare(tmp_path).card["note"]


def test_every_thread_and_row_of_a_set_is_told_of(tmp_path, monkeypatch):
    names, asked = a_tree(tmp_path / "nih"), []
    real, heads = nih.decode_blocks, nih.headers
    monkeypatch.setattr(nih, "decode_blocks", lambda *a: asked.append(a) or real(*a))
    monkeypatch.setattr(nih, "headers", lambda paths, workers: asked.append((paths, workers)) or heads(paths, workers))
    prepare(tmp_path, workers=3, non_square="pad")
    paths = [tmp_path / "nih" / "images" / name for name in names]
    assert asked == [(paths, 3), (paths, 0, 16, 3, False, "pad")]


def test_filters_count_each_film_once():
    table = pd.DataFrame({"source_repo": ["a", "b", "a", "c"], "source_pixels": [64, 64, 512, 512]})
    kept, counts = nih.filter_films(table, 128, ["a"])
    assert kept.to_dict("list") == {"source_repo": ["c"], "source_pixels": [512]} and kept.index.tolist() == [0]
    assert counts == {"in_excluded_sources": 2, "below_min_source_pixels": 1}
    kept, counts = nih.filter_films(table, 64, [])
    assert len(kept) == 4 and set(counts.values()) == {0}


def test_what_is_unknown_is_counted_and_said():
    table = pd.DataFrame({"view": ["PA", "", ""], "age": [40.0, np.nan, 1.0], "sex": ["F", "M", "F"]})
    counts = nih.unknown_counts(table)
    assert counts == {"view_unknown": 2, "age_unknown": 1, "sex_unknown": 0}
    assert nih.notable(counts | {"without_label": 1200}) == "2 view unknown, 1 age unknown, 1,200 without label"
    assert nih.notable({"view_unknown": 0}) == "nothing left out"
