"""The Kermany source, on a made folder of its layout."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from cmdml import sources
from cmdml.findings import KEYS, split_findings
from cmdml.radiographs import RadiographSet, partition
from cmdml.sources import kermany

HEAD = (
    "image,patient,view,sex,age,Pneumonia,No Finding,bacterial_pneumonia,viral_pneumonia,source_repo,commit,"
    "original_path,original_width,original_height,original_bytes,sharp,mean_grey,licence,matched_pair"
)


def a_folder(root, images=8, change=lambda i, row: row):
    """Every third film is normal; films 0 and 1, 3 and 4 are pairs; rows are listed backwards."""
    (root / "images").mkdir(parents=True)
    rows = []
    for i in reversed(range(images)):
        name, sick = f"P-{i:04d}.png", int(i % 3 > 0)
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / name)
        pair = {0: "p1", 1: "p1", 3: "p2", 4: "p2"}.get(i, "")
        kind = f"{int(i % 3 == 1)},{int(i % 3 == 2)}"
        file = f"{1000 + i},900,5{i},1{i}.25,9{i}.5"
        row = f"{name},P-{i:04d},AP,,1-5 years,{sick},{1 - sick},{kind},a/b,c0,x.jpeg,{file},CC,{pair}"
        rows.append(change(i, row))
    (root / "labels.csv").write_text("\n".join([HEAD, *rows]) + "\n")


def prepare(tmp_path, size=16, **options):
    return sources.prepare("kermany", tmp_path / "set", root=tmp_path / "k", size=size, progress=False, **options)


def test_the_set_is_the_folder(tmp_path):
    a_folder(tmp_path / "k")
    radiographs = prepare(tmp_path)
    table = radiographs.table
    assert table["image"].tolist() == [f"P-{i:04d}.png" for i in range(8)] and set(table["split"]) == {"test"}
    assert table["Pneumonia"].tolist() == [0, 1, 1, 0, 1, 1, 0, 1]
    assert not table[[key for key in KEYS if key != "Pneumonia"]].to_numpy().any()
    assert table["bacterial_pneumonia"].tolist() == [0, 1, 0, 0, 1, 0, 0, 1]
    assert table["viral_pneumonia"].tolist() == [0, 0, 1, 0, 0, 1, 0, 0]
    assert table["matched_pair"].tolist() == ["p1", "p1", "", "p2", "p2", "", "", ""]
    assert table["original_width"].tolist() == list(range(1000, 1008)) and table["sharp"].iloc[7] == 17.25
    assert table["original_bytes"].iloc[3] == 53 and table["mean_grey"].iloc[2] == 92.5
    assert table["age"].isna().all() and set(table["view"]) == {"AP"}
    for i, film in enumerate(radiographs.pixels):
        whole = np.random.default_rng(i).integers(0, 256, (32, 32), dtype=np.uint8)
        assert np.abs(film - whole.reshape(16, 2, 16, 2).mean((1, 3))).max() <= 0.5


def test_a_misspelt_choice_is_refused_by_name_before_any_film(tmp_path):
    with pytest.raises(ValueError, match="unknown non_square 'pda': did you mean 'pad'"):
        kermany.prepare(tmp_path / "set", root=tmp_path / "nowhere", non_square="pda")


def test_the_card_says_what_must_not_be_done(tmp_path, capsys):
    a_folder(tmp_path / "k")
    card = prepare(tmp_path).card
    assert card["licence"] == "CC BY 4.0" and card["known_findings"] == ["Pneumonia"] and len(card["warnings"]) == 3
    assert "must not be evaluated" in card["note"] and "must not be evaluated" in capsys.readouterr().out
    assert [card["counts"][name] for name in ("pneumonia", "normal", "matched_pairs")] == [5, 3, 2]
    with pytest.raises(ValueError, match="the train split is empty"):
        partition(RadiographSet.load(tmp_path / "set"), split_findings(KEYS))


def test_edited_labels_and_images_make_the_set_anew(tmp_path):
    a_folder(tmp_path / "k")
    requests = [prepare(tmp_path).card["request"], prepare(tmp_path).card["request"]]
    labels = tmp_path / "k" / "labels.csv"
    labels.write_text(labels.read_text().replace("1-5 years", "one to five years"))
    requests.append(prepare(tmp_path).card["request"])
    Image.fromarray(np.eye(32, dtype=np.uint8)).save(tmp_path / "k" / "images" / "P-0003.png")
    changed = prepare(tmp_path)
    requests.append(changed.card["request"])
    assert changed.pixels[3].max() == 1
    assert [requests.count(request) for request in requests] == [2, 2, 1, 1]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda i, row: row.replace(",1,0,1,0,", ",1,1,1,0,"), "must be either normal or"),
        (lambda i, row: row.replace(",1,0,1,0,", ",1,0,1,1,"), "must be either normal or"),
        (lambda i, row: row.replace(",1,0,1,0,", ",257,0,1,0,"), "has Pneumonia '257'; expected 0 or 1"),
        (lambda i, row: row.replace("p2", "p1"), "pair p1 must hold one normal and one pneumonia film, not 2 and 2;"),
        (lambda i, row: row.replace("p2", "") if i == 3 else row, "pair p2 must hold one normal"),
        (lambda i, row: {0: row.removesuffix("p1"), 2: row + "p1"}.get(i, row), "pair p1 .* film, not 0 and 2;"),
        (lambda i, row: {1: row.removesuffix("p1"), 6: row + "p1"}.get(i, row), "pair p1 must hold one normal"),
        (lambda i, row: row.replace(",900,", ",tall,"), "has original_height 'tall'; expected a whole number"),
        (lambda i, row: row.replace(".25", ".x"), "has sharp .*expected a number"),
        (lambda i, row: row.replace("P-0001.png", "../P-0001.png"), "is not the name of a PNG image"),
        (lambda i, row: row.replace("P-0001.png", "P-0000.png"), "image P-0000.png is listed twice"),
        (lambda i, row: row.replace(",P-0002,", ",nan,"), "has the patient 'nan', which is no id"),
        (lambda i, row: row.replace("P-0001.png", "P-9999.png"), "P-9999.png is listed in labels.csv and missing"),
    ],
)
def test_labels_that_contradict_themselves_are_refused(tmp_path, change, message):
    a_folder(tmp_path / "k", change=change)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        prepare(tmp_path)
    assert not (tmp_path / "set").exists()


def test_nothing_is_enlarged_and_a_root_is_needed(tmp_path):
    a_folder(tmp_path / "k")
    with pytest.raises(ValueError, match="is smaller than size=64, and so are 7 more"):
        prepare(tmp_path, size=64)
    with pytest.raises(FileNotFoundError, match="no folder of Kermany's radiographs at ''"):
        sources.prepare("kermany", tmp_path / "set", root="")


def test_patient_view_sex_source_and_height_are_those_of_the_table(tmp_path):
    def change(i, row):
        row = row.replace(f",P-{i:04d},AP,,", f",child{i // 2},{('AP', 'PA')[i % 2]},{('F', 'M', '')[i % 3]},")
        return row.replace(",a/b,", f",place{i % 4},").replace(",900,", f",{700 + i},")

    a_folder(tmp_path / "k", change=change)
    table = prepare(tmp_path).table
    assert table["patient"].tolist() == [f"child{i // 2}" for i in range(8)]
    assert table["view"].tolist() == ["AP", "PA"] * 4
    assert table["sex"].tolist() == ["F", "M", "", "F", "M", "", "F", "M"]
    assert table["source_repo"].tolist() == [f"place{i % 4}" for i in range(8)]
    assert table["original_height"].tolist() == list(range(700, 708))
    assert table["sharp"].tolist() == [10.25 + i for i in range(8)]


def test_films_that_are_not_square_are_refused_or_padded_and_counted(tmp_path):
    a_folder(tmp_path / "k")
    wide = np.random.default_rng(9).integers(1, 256, (32, 48), dtype=np.uint8)
    Image.fromarray(wide).save(tmp_path / "k" / "images" / "P-0002.png")
    Image.fromarray(wide[:, :32]).save(tmp_path / "k" / "images" / "unlisted.png")
    with pytest.raises(ValueError, match="P-0002.png is 48 x 32 px, not square"):
        prepare(tmp_path)
    padded = prepare(tmp_path, non_square="pad")
    square = np.zeros((48, 48))
    square[8:40] = wide
    assert np.abs(padded.pixels[2] - square.reshape(16, 3, 16, 3).mean((1, 3))).max() <= 1  # reduce() rounds on its own
    assert padded.card["counts"]["non_square"] == padded.card["counts"]["unlisted_images"] == 1


def test_the_card_says_how_the_set_was_made(tmp_path):
    a_folder(tmp_path / "k")
    card = prepare(tmp_path, size=8, non_square="pad").card
    labels = hashlib.sha256((tmp_path / "k" / "labels.csv").read_bytes()).hexdigest()
    assert card["made_with"] == {"source": "kermany", "size": 8, "non_square": "pad", "inputs": {"labels.csv": labels}}
    assert card["title"].startswith("Kermany, 8 radiographs") and card["findings"] == list(KEYS)
    counts = card["counts"]
    assert {name: counts[name] for name in ("images", "patients", "unlisted_images", "non_square")} == {
        "images": 8, "patients": 8, "unlisted_images": 0, "non_square": 0}  # fmt: skip


@pytest.mark.parametrize("size", [0, True, 16.0])
def test_a_size_that_is_none_is_refused(tmp_path, size):
    a_folder(tmp_path / "k")
    with pytest.raises(ValueError, match=f"size must be a whole number from 1 on, got {size!r}"):
        prepare(tmp_path, size=size)


def test_a_film_is_as_small_as_its_smaller_side(tmp_path):
    a_folder(tmp_path / "k")
    wide = np.random.default_rng(9).integers(1, 256, (12, 48), dtype=np.uint8)
    for name, film in (("P-0002.png", wide), ("P-0005.png", wide.T)):
        Image.fromarray(film).save(tmp_path / "k" / "images" / name)
    with pytest.raises(ValueError, match="P-0002.png is smaller than size=16, and so are 1 more; choose a smaller"):
        prepare(tmp_path, non_square="pad")


def test_properties_of_files_are_whole_numbers(tmp_path):
    a_folder(tmp_path / "k", change=lambda i, row: row.replace(",900,", ",900.5,"))
    with pytest.raises(ValueError, match="has original_height '900.5'; expected a whole number"):
        prepare(tmp_path)


def test_threads_and_the_way_to_decode_are_those_that_are_asked_for(tmp_path, monkeypatch):
    a_folder(tmp_path / "k")
    asked, blocks, heads = [], kermany.decode_blocks, kermany.headers
    monkeypatch.setattr(kermany, "decode_blocks", lambda *a: asked.append(a[1:]) or blocks(*a))
    monkeypatch.setattr(kermany, "headers", lambda paths, workers: asked.append(workers) or heads(paths, workers))
    monkeypatch.setattr(kermany, "cores", lambda: 5)
    prepare(tmp_path, workers=3, non_square="pad")
    assert asked == [3, (0, 16, 3, False, "pad")]
    kermany.prepare(tmp_path / "other", root=tmp_path / "k", size=16, progress=False)
    assert asked[2:] == [5, (0, 16, 5, False, "refuse")]
