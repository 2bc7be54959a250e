"""The ChestMNIST source, on small archives of the MedMNIST format."""

import os
import zipfile

import numpy as np
import pytest

from cmdml.findings import KEYS
from cmdml.sources import chestmnist

COUNTS = {"train": 50, "val": 7, "test": 13}


def an_archive(path, side=28, counts=COUNTS, **changes):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in counts.items():
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, side, side), dtype=np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 2, (n, 14))
    arrays |= changes
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return arrays


def prepare(tmp_path, size=28, **options):
    return chestmnist.prepare(tmp_path / "set", npz=tmp_path / "c.npz", size=size, progress=False, **options)


@pytest.mark.parametrize("rows", [3, 1024])
def test_the_set_is_the_archive(tmp_path, monkeypatch, capsys, rows):
    arrays = an_archive(tmp_path / "c.npz")
    monkeypatch.setattr(chestmnist, "_ROWS", rows)
    radiographs = prepare(tmp_path)
    np.testing.assert_array_equal(radiographs.pixels, np.concatenate([arrays[f"{s}_images"] for s in COUNTS]))
    np.testing.assert_array_equal(radiographs.labels, np.concatenate([arrays[f"{s}_labels"] for s in COUNTS]))
    assert radiographs.table["split"].tolist() == [s for s, n in COUNTS.items() for _ in range(n)]
    assert radiographs.table["patient"].is_unique
    for text in (capsys.readouterr().out, radiographs.card["note"]):  # said plainly, where people look
        assert "no patient ids" in text and "publishers' word" in text
    radiographs.verify()


def test_smaller_sizes_are_box_filtered(tmp_path):
    arrays = an_archive(tmp_path / "c.npz", side=64)
    small = prepare(tmp_path, size=16).pixels
    mean = arrays["train_images"].reshape(-1, 16, 4, 16, 4).mean((2, 4))
    np.testing.assert_array_equal(small[:50], np.floor(mean + 0.5))


@pytest.mark.parametrize("size", [0, 13, 56])
def test_a_size_that_does_not_divide_is_refused(tmp_path, size):
    an_archive(tmp_path / "c.npz")
    with pytest.raises(ValueError, match=f'28 px images, which size={size} does not divide; write SET="size=28"'):
        prepare(tmp_path, size=size)


def test_limit_keeps_the_proportion_of_the_splits(tmp_path):
    arrays = an_archive(tmp_path / "c.npz")
    radiographs = prepare(tmp_path, limit=35)
    assert radiographs.table["split"].value_counts().to_dict() == {"train": 25, "val": 4, "test": 7}
    np.testing.assert_array_equal(radiographs.pixels[25:29], arrays["val_images"][:4])
    np.testing.assert_array_equal(radiographs.labels[29:], arrays["test_labels"][:7])
    assert radiographs.card["counts"]["left_out_by_limit"] == 34


@pytest.mark.parametrize("start", [0, 3, 50, 53, 57, 69])
def test_an_interrupted_run_continues_at_any_row(tmp_path, start):
    arrays = an_archive(tmp_path / "c.npz")
    rest = np.concatenate(list(chestmnist._blocks(tmp_path / "c.npz", COUNTS, start, 28, False)))
    np.testing.assert_array_equal(rest, np.concatenate([arrays[f"{s}_images"] for s in COUNTS])[start:])


@pytest.mark.parametrize("start", [0, 24, 25, 27, 29, 30])
def test_so_does_one_under_a_limit(tmp_path, start):
    arrays, keep = an_archive(tmp_path / "c.npz"), {"train": 25, "val": 4, "test": 7}
    rest = np.concatenate(list(chestmnist._blocks(tmp_path / "c.npz", keep, start, 28, False)))
    np.testing.assert_array_equal(rest, np.concatenate([arrays[f"{s}_images"][:n] for s, n in keep.items()])[start:])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"val_labels": None}, "no array val_labels; found train_images.npy"),
        ({"val_labels": np.zeros((7, 13), int)}, r"val_labels must be \(7, 14\), got \(7, 13\)"),
        ({"val_labels": np.full((7, 14), 2)}, r"val_labels must be 0 or 1, found \[2\]"),
        ({"test_images": np.zeros((13, 28, 28, 3), np.uint8)}, r"test_images must be \(N, S, S\) uint8"),
        ({"test_images": np.zeros((13, 28, 28), np.float32)}, "uint8, got .* float32"),
        ({"test_images": np.zeros((13, 14, 14), np.uint8)}, "the splits differ in size"),
        ({"test_labels": np.full((13, 14), None)}, "test_labels must be plain numbers"),  # a pickle is never read
    ],
)
def test_an_archive_of_another_kind_is_refused_by_name(tmp_path, changes, message):
    an_archive(tmp_path / "c.npz", **changes)
    with pytest.raises(ValueError, match=rf"c\.npz.*{message}"):
        prepare(tmp_path)


def test_a_missing_or_broken_file_is_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="c.npz: no such file"):
        prepare(tmp_path)
    (tmp_path / "c.npz").write_text("<html>")
    with pytest.raises(ValueError, match="c.npz is not an npz archive"):
        prepare(tmp_path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_flipped_pixels_and_labels_are_refused_before_a_row_is_written(tmp_path, save):
    arrays = an_archive(tmp_path / "c.npz")
    save(tmp_path / "c.npz", **arrays)
    whole = (tmp_path / "c.npz").read_bytes()
    for share in (0.05, 0.3, 0.6, 0.8):
        damaged = bytearray(whole)
        damaged[int(share * len(whole))] ^= 4
        (tmp_path / "c.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"c\.npz is not an npz archive, or a damaged one"):
            prepare(tmp_path, limit=0)
        partial = tmp_path / "set.partial" / "pixels.npy"
        assert not (tmp_path / "set").exists() and (not partial.exists() or partial.stat().st_size == 128)
    (tmp_path / "c.npz").write_bytes(whole)
    assert len(prepare(tmp_path)) == 70


def test_only_a_regular_file_is_an_archive(tmp_path):
    os.mkfifo(tmp_path / "c.npz")
    with pytest.raises(ValueError, match="c.npz is not a regular file"):
        prepare(tmp_path)


def test_a_local_file_never_touches_the_network(tmp_path, monkeypatch):
    an_archive(tmp_path / "c.npz")

    def refuse(*args, **kwargs):
        raise AssertionError("network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr(chestmnist, "download", refuse)
    assert len(prepare(tmp_path)) == 70


@pytest.mark.parametrize("size, name", [(28, "chestmnist.npz"), (64, "chestmnist_64.npz"), (224, "chestmnist_224.npz")])
def test_download_asks_for_the_published_file_and_its_checksum(tmp_path, monkeypatch, size, name):
    asked = []
    monkeypatch.setattr("torchvision.datasets.utils.download_url", lambda *args: asked.append(args))
    assert chestmnist.download(size, tmp_path) == tmp_path / name
    url, root, filename, md5 = asked[0]
    import medmnist

    suffix = "" if size == 28 else f"_{size}"
    info = medmnist.INFO["chestmnist"]
    assert (url, root, filename, md5) == (info[f"url{suffix}"], str(tmp_path), name, info[f"MD5{suffix}"])
    assert name in url and len(md5) == 32


def test_only_published_sizes_are_downloaded(tmp_path):
    with pytest.raises(ValueError, match="published at 28, 64, 128, 224 px, not size=96"):
        chestmnist.prepare(tmp_path / "set", size=96)


def test_label_order_is_the_publishers(monkeypatch):
    import medmnist

    info = chestmnist.published_info()
    assert info["license"] == "CC BY 4.0" and len(info["label"]) == len(KEYS)
    swapped = info["label"] | {"0": info["label"]["1"], "1": info["label"]["0"]}
    monkeypatch.setitem(medmnist.INFO, "chestmnist", info | {"label": swapped})
    with pytest.raises(ValueError, match="orders the labels"):
        chestmnist.published_info()


def test_the_fingerprint_follows_the_content_not_the_name(tmp_path):
    an_archive(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz") as old, zipfile.ZipFile(tmp_path / "b.npz", "w") as new:
        for name in reversed(old.namelist()):  # other order, no compression, same arrays
            new.writestr(name, old.read(name))
    an_archive(tmp_path / "c.npz", train_labels=np.zeros((50, 14), int))
    a, b, c = (chestmnist._digest(tmp_path / f"{name}.npz") for name in "abc")
    assert a == b != c


def test_a_limit_is_shared_by_the_splits():
    assert chestmnist.rows_kept(COUNTS, 0) == COUNTS == chestmnist.rows_kept(COUNTS, 700)
    assert chestmnist.rows_kept(COUNTS, 35) == {"train": 25, "val": 4, "test": 7}
    assert chestmnist.rows_kept(COUNTS, 1) == {"train": 1, "val": 1, "test": 1}


@pytest.mark.parametrize("rows", [49, 51])
def test_a_header_that_says_another_length_is_refused_though_the_checksum_is_right(tmp_path, rows):
    """What zip vouches for is not what the array says it holds."""
    an_archive(tmp_path / "right.npz")
    with zipfile.ZipFile(tmp_path / "right.npz") as right, zipfile.ZipFile(tmp_path / "c.npz", "w") as wrong:
        for name in right.namelist():
            content = right.read(name)
            if name == "train_images.npy":
                head = len(content) - 50 * 28 * 28
                content = content[:head] + (content[head:] * 2)[: rows * 28 * 28]
            wrong.writestr(name, content)
        assert wrong.testzip() is None
    with pytest.raises(ValueError, match=rf"train_images holds {rows * 784:,} bytes, not \(50, 28, 28\); fetch it"):
        prepare(tmp_path)
    assert not (tmp_path / "set").exists()


def test_without_a_file_one_is_downloaded_to_the_folder_that_is_asked_for(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("torchvision.datasets.utils.download_url", lambda url, root, name, md5: (
        asked.append((root, name)), an_archive(tmp_path / "mine" / name, side=64)))  # fmt: skip
    (tmp_path / "mine").mkdir()
    made = chestmnist.prepare(tmp_path / "set", size=64, root=tmp_path / "mine", progress=False)
    assert asked == [(str(tmp_path / "mine"), "chestmnist_64.npz")] and made.pixels.shape == (70, 64, 64)
    monkeypatch.setattr("torchvision.datasets.utils.download_url", lambda *args: None)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert chestmnist.download(128) == tmp_path / "home" / ".medmnist" / "chestmnist_128.npz"


def test_another_archive_or_limit_makes_the_set_anew(tmp_path):
    arrays = an_archive(tmp_path / "c.npz")
    card = prepare(tmp_path, limit=35).card
    assert card["made_with"] == {"source": "chestmnist", "size": 28, "limit": 35,
                                 "inputs": chestmnist._digest(tmp_path / "c.npz")}  # fmt: skip
    assert card["title"] == "ChestMNIST, 36 radiographs"
    an_archive(tmp_path / "c.npz", train_images=255 - arrays["train_images"])  # the same labels
    again = prepare(tmp_path, limit=35)
    np.testing.assert_array_equal(again.pixels[:25], 255 - arrays["train_images"][:25])
    assert again.card["request"] != card["request"]
    table = again.table
    assert set(table["view"]) == set(table["sex"]) == {""} and table["age"].isna().all()
    assert table["image"].tolist()[24:26] == ["train_000024", "val_000000"]


def test_the_sizes_that_fit_are_listed_from_16_on(tmp_path):
    an_archive(tmp_path / "c.npz", side=64)
    with pytest.raises(ValueError, match='write SET="size=64", or any of these: 16, 32, 64$'):
        prepare(tmp_path, size=48)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"train_labels": np.asfortranarray(np.zeros((50, 14), int))}, "train_labels must be plain numbers in C order"),
        ({"train_labels": np.zeros((50, 14), bool)}, "train_labels must be .* numbers, got 700 bytes of bool"),
        ({"train_images": np.zeros((50, 28, 14), np.uint8)}, r"train_images must be \(N, S, S\) uint8"),
    ],
)
def test_arrays_that_would_be_read_wrongly_are_refused(tmp_path, changes, message):
    an_archive(tmp_path / "c.npz", **changes)
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_an_array_that_is_there_twice_is_refused(tmp_path):
    an_archive(tmp_path / "c.npz")
    with zipfile.ZipFile(tmp_path / "c.npz", "a") as archive:
        archive.writestr("val_labels.npy", archive.read("val_labels.npy"))
    with pytest.raises(ValueError, match="more than one array val_labels"):
        prepare(tmp_path)


def test_the_fingerprint_knows_which_array_holds_what(tmp_path):
    arrays = an_archive(tmp_path / "a.npz", counts={"train": 9, "val": 9, "test": 9})
    swapped = {"val_images": arrays["test_images"], "test_images": arrays["val_images"]}
    an_archive(tmp_path / "b.npz", counts={"train": 9, "val": 9, "test": 9}, **swapped)
    an_archive(tmp_path / "c.npz", counts={"train": 9, "val": 9, "test": 9}, train_images=255 - arrays["train_images"])
    assert len({chestmnist._digest(tmp_path / f"{name}.npz") for name in "abc"}) == 3


def test_the_fingerprint_tells_whose_content_it_is(tmp_path):
    for name, member in {"a": "train_labels.npy", "b": "val_labels.npy"}.items():
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w") as archive:
            archive.writestr(member, "the same")
    assert chestmnist._digest(tmp_path / "a.npz") != chestmnist._digest(tmp_path / "b.npz")


def test_arrays_of_numpy_s_second_format_are_read_and_of_a_third_are_not(tmp_path):
    arrays = an_archive(tmp_path / "a.npz")
    for version in ((2, 0), (3, 0)):
        with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, array, version=version)
        if version == (2, 0):
            np.testing.assert_array_equal(prepare(tmp_path).pixels[:50], arrays["train_images"])
        else:
            with pytest.raises(ValueError, match="is no array"):
                prepare(tmp_path, limit=10)


def test_it_says_how_many_were_taken_of_how_many(tmp_path, capsys):
    an_archive(tmp_path / "c.npz")
    prepare(tmp_path, limit=35)
    assert "chestmnist: 36 of 70 radiographs." in capsys.readouterr().out


def test_means_of_large_boxes_do_not_run_over():
    white = np.full((1, 224, 224), 255, np.uint8)
    assert (chestmnist._reduce(white, 7) == 255).all() and (chestmnist._reduce(white, 1) == 255).all()
