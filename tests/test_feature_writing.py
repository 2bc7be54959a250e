"""Features extracted in parts by several processes: bit for bit what one process writes, killed, resumed, mixed up."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import make_tiny

from cmdml import feature_writing, launch
from cmdml import features as module
from cmdml.feature_set import FeatureSet
from cmdml.features import extract, merge
from cmdml.files import SEAL, check_seal, seal
from cmdml.radiographs import RadiographSet
from cmdml.writing import only_writer

QUIET = {"batch_size": 4, "progress": False, "backbone": "small_cnn", "weights": ""}
NAMES = ("features.safetensors", "table.csv", "card.json")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("films") / "radiographs", n=30)  # seven batches and a half


@pytest.fixture(scope="module")
def whole(films, tmp_path_factory):
    return extract(films, tmp_path_factory.mktemp("whole") / "features", **QUIET)


def same_bytes(folder, whole):
    return [(folder / name).read_bytes() == (whole.folder / name).read_bytes() for name in NAMES] == [True] * 3


def part(folder, k, n):
    return folder.with_name("features.parts") / f"{k}-of-{n}"


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 8])
def test_the_parts_are_whole_batches_and_all_films_once(parts):
    rows = [feature_writing.part_rows(30, 4, (k, parts)) for k in range(parts)]
    assert [i for r in rows for i in range(r.start, r.stop)] == list(range(30))
    assert all(r.start % 4 == 0 for r in rows)
    batches = [-(-(r.stop - r.start) // 4) for r in rows]
    assert max(batches) - min(batches) <= 1 and min(batches) >= 1


@pytest.mark.parametrize(
    ("shard", "sentence"),
    [
        ((0, 9), "30 films are 8 batches of 4, too few for 9 parts"),
        ((2, 2), r"shard \(2, 2\): the parts are numbered from 0 to 1"),
        ((-1, 2), r"shard \(-1, 2\)"),
    ],
)
def test_a_part_that_cannot_be_is_refused(films, tmp_path, shard, sentence):
    with pytest.raises(ValueError, match=sentence):
        extract(films, tmp_path / "features", shard=shard, **QUIET)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_the_last_part_puts_them_together_bit_for_bit(films, whole, tmp_path, order):
    folder = tmp_path / "features"
    for k in order[:-1]:
        assert extract(films, folder, shard=(k, 3), **QUIET) is None
        assert not folder.exists() and part(folder, k, 3).is_dir()
    made = extract(films, folder, shard=(order[-1], 3), **QUIET)
    assert isinstance(made, FeatureSet) and np.array_equal(made.pixels, whole.pixels) and same_bytes(folder, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["features"]
    assert extract(films, folder, shard=(0, 3), **QUIET).card == whole.card  # there already
    assert [path.name for path in tmp_path.iterdir()] == ["features"]


def killed_after(batches, monkeypatch):
    """A reader that is killed before it reads more than so many batches; the list of what it read."""
    made = []

    def reader(*args, original=module._reader):
        read = original(*args)

        def dying(pixels):
            if len(made) == batches:
                raise KeyboardInterrupt
            made.append(len(pixels))
            return read(pixels)

        return dying

    monkeypatch.setattr(module, "_reader", reader)
    return made


@pytest.mark.parametrize("batches", [0, 2, 3])
def test_a_killed_part_continues_and_ends_bit_identical(films, whole, tmp_path, monkeypatch, batches):
    folder = tmp_path / "features"
    with monkeypatch.context() as patch:
        killed_after(batches, patch)
        with pytest.raises(KeyboardInterrupt):
            extract(films, folder, shard=(1, 2), **QUIET)
    assert not part(folder, 1, 2).exists()
    with open(folder.with_name("features.parts") / "1-of-2.partial" / "features.safetensors", "ab") as file:
        file.write(b"\1" * 3079)  # a row and a half
    made = killed_after(100, monkeypatch)
    assert extract(films, folder, shard=(1, 2), **QUIET) is None
    assert made == [4, 4, 4, 2][batches:]
    extract(films, folder, shard=(0, 2), **QUIET)
    assert made == [4, 4, 4, 2][batches:] + [4] * 4 and same_bytes(folder, whole)


def test_a_part_that_is_there_is_not_extracted_again_unless_it_changed(films, whole, tmp_path, monkeypatch):
    folder, made = tmp_path / "features", killed_after(100, monkeypatch)
    for _ in range(2):
        extract(films, folder, shard=(0, 2), **QUIET)
    assert len(made) == 4
    file = part(folder, 0, 2) / "features.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    extract(films, folder, shard=(0, 2), **QUIET)
    assert len(made) == 8
    extract(films, folder, shard=(0, 2), **QUIET | {"seed": 1})
    assert len(made) == 12  # other weights
    extract(films, folder, shard=(0, 2), **QUIET)
    extract(films, folder, shard=(1, 2), **QUIET)
    assert same_bytes(folder, whole)


def test_a_merge_that_was_killed_is_done_again(films, whole, tmp_path, monkeypatch):
    folder = tmp_path / "features"
    extract(films, folder, shard=(0, 2), **QUIET)
    with monkeypatch.context() as patch:
        patch.setattr(feature_writing, "_publish", lambda *args: exec("raise KeyboardInterrupt"))
        with pytest.raises(KeyboardInterrupt):
            extract(films, folder, shard=(1, 2), **QUIET)
    assert not folder.exists() and part(folder, 1, 2).is_dir()
    assert merge(films, folder, 2).card == whole.card and same_bytes(folder, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["features"]


def test_one_process_alone_writes_a_part(films, tmp_path):
    folder = tmp_path / "features"
    with only_writer(part(folder, 0, 2)):
        with pytest.raises(BlockingIOError, match=rf"0-of-2 is being written by process {os.getpid()}"):
            extract(films, folder, shard=(0, 2), **QUIET)
        assert extract(films, folder, shard=(1, 2), **QUIET) is None


def test_who_comes_while_another_puts_them_together_leaves_it_to_that_one(films, tmp_path):
    folder = tmp_path / "features"
    extract(films, folder, shard=(0, 2), **QUIET)
    with only_writer(folder):
        assert extract(films, folder, shard=(1, 2), **QUIET) is None
        with pytest.raises(BlockingIOError):
            merge(films, folder, 2)


def test_who_comes_when_another_has_just_put_them_together_returns_the_set(films, whole, tmp_path, monkeypatch):
    folder, put_together = tmp_path / "features", module.merge

    def late(*given):
        put_together(*given)
        return put_together(*given)  # the parts are gone by now

    extract(films, folder, shard=(0, 2), **QUIET)
    monkeypatch.setattr(module, "merge", late)
    assert extract(films, folder, shard=(1, 2), **QUIET).card == whole.card and same_bytes(folder, whole)


def test_a_batch_that_is_half_there_is_made_again_as_a_whole(films, whole, tmp_path, monkeypatch):
    folder, file = tmp_path / "features", tmp_path / "features.partial" / "features.safetensors"
    with monkeypatch.context() as patch:
        killed_after(3, patch)
        with pytest.raises(KeyboardInterrupt):
            extract(films, folder, **QUIET)
    os.truncate(file, file.stat().st_size - whole.pixels[0].nbytes)  # the last film of the third batch
    made = killed_after(100, monkeypatch)
    extract(films, folder, **QUIET)
    assert made == [4] * 5 + [2] and same_bytes(folder, whole)


def test_rows_of_another_device_are_made_again(films, whole, tmp_path):
    """A GPU's last bit may differ."""
    asked = []

    def read(rows):
        asked.append(rows.start)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return whole.pixels[rows]

    job = (films, tmp_path / "features", {name: whole.card[name] for name in ("key", "layers")}, 4)
    with pytest.raises(KeyboardInterrupt):
        feature_writing.write_features(*job, "cuda", read, False)
    feature_writing.write_features(*job, "cpu", read, False)
    assert asked == [0, 4, 8, *range(0, 30, 4)]


@pytest.mark.parametrize("odd", ["link", "pipe"])
def test_rows_are_not_written_through_what_no_run_leaves(films, whole, tmp_path, odd):
    partial, mine = tmp_path / "features.partial", tmp_path / "mine.txt"
    partial.mkdir()
    mine.write_text("of the user")
    (partial / "request").write_text(feature_writing._request(whole.card, 4, "cpu"))
    if odd == "link":
        (partial / "features.safetensors").symlink_to(mine)
    else:
        os.mkfifo(partial / "features.safetensors")
    extract(films, tmp_path / "features", **QUIET)
    assert same_bytes(tmp_path / "features", whole) and mine.read_text() == "of the user"


def test_a_kill_while_an_older_set_is_replaced_leaves_no_set(films, tmp_path, monkeypatch):
    folder, replace = tmp_path / "features", os.replace
    extract(films, folder, **QUIET)

    def killed(source, target):
        if target == folder / "table.csv":
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(feature_writing.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            extract(films, folder, **QUIET | {"seed": 1})
    with pytest.raises(FileNotFoundError, match=r"card\.json is missing; extract them first"):
        FeatureSet.load(folder)
    assert extract(films, folder, **QUIET | {"seed": 1}).card["seed"] == 1


def test_the_card_says_of_the_films_what_their_own_card_says(films, tmp_path):
    about = {name: f"the {name}" for name in ("title", "source", "licence", "citation", "note")}
    films = RadiographSet(films.pixels, films.table, films.card | about, films.folder)
    card = extract(films, tmp_path / "features", **QUIET).card
    for name in (*about, "name", "counts", "made_with", "findings"):
        assert card[name] == films.card[name]


def test_a_missing_part_is_named_with_the_way_out(films, tmp_path):
    folder = tmp_path / "features"
    extract(films, folder, shard=(0, 3), **QUIET)
    with pytest.raises(FileNotFoundError, match=r"part 1 of 3 is missing, .*1-of-3: extract it with shard=\(1, 3\)"):
        merge(films, folder, 3)
    (part(folder, 0, 3) / "features.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"delete it and extract it again with shard=\(0, 3\)"):
        merge(films, folder, 3)


def two_parts(films, tmp_path, others, **options):
    """Part 0 of these films, part 1 of others or made otherwise."""
    folder, other = tmp_path / "features", tmp_path / "elsewhere" / "features"
    extract(films, folder, shard=(0, 2), **QUIET)
    extract(others, other, shard=(1, 2), **QUIET | options)
    shutil.copytree(part(other, 1, 2), part(folder, 1, 2))
    return folder


def test_a_part_of_other_radiographs_is_refused(films, tmp_path):
    folder = two_parts(films, tmp_path, make_tiny(tmp_path / "others", n=30, seed=1))
    with pytest.raises(ValueError, match="part 1 of 2 in .*1-of-2 is of other radiographs than .*radiographs: delete"):
        merge(films, folder, 2)
    assert not folder.exists() and part(folder, 0, 2).is_dir()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"backbone": "resnet18"}, "has backbone 'resnet18', part 0 'small_cnn': delete the one that is wrong"),
        ({"seed": 1}, "has seed 1, part 0 0"),
        ({"size": 16}, "has size 16, part 0 64"),
        ({"batch_size": 8}, "has batch 8, part 0 4"),
    ],
)
def test_a_part_made_otherwise_is_refused(films, tmp_path, options, sentence):
    folder = two_parts(films, tmp_path, films, **options)
    with pytest.raises(ValueError, match=sentence):
        merge(films, folder, 2)


def test_a_part_of_another_device_is_refused(films, tmp_path):
    folder = two_parts(films, tmp_path, films)
    place = part(folder, 1, 2)
    about = {name: check_seal(place, feature_writing.PART)[name] for name in ("about", "batch", "rows")}
    seal(place, [feature_writing.FILE], feature_writing.PART, **about, device="cuda")
    with pytest.raises(ValueError, match="part 1 of 2 .* has device 'cuda', part 0 'cpu': delete the one that"):
        merge(films, folder, 2)


def test_parts_that_are_all_of_other_radiographs_are_refused(films, tmp_path):
    folder = two_parts(films, tmp_path, films)
    with pytest.raises(ValueError, match="part 0 of 2 in .*0-of-2 is of other radiographs than"):
        merge(make_tiny(tmp_path / "others", n=30, seed=1), folder, 2)


def test_a_part_under_another_number_is_refused(films, tmp_path):
    folder = tmp_path / "features"
    extract(films, folder, shard=(0, 2), **QUIET)
    shutil.copytree(part(folder, 0, 2), part(folder, 1, 2))
    with pytest.raises(ValueError, match=r"1-of-2 holds the films \[0, 16\], not \[16, 30\]: delete it"):
        merge(films, folder, 2)


def test_an_edited_seal_is_refused(films, tmp_path):
    folder = tmp_path / "features"
    extract(films, folder, shard=(0, 1), **QUIET | {"batch_size": 32})
    shutil.rmtree(folder)
    extract(films, folder, shard=(0, 2), **QUIET)
    file = part(folder, 0, 2) / SEAL
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rows": [0, 4]}))
    with pytest.raises(ValueError, match="was edited: delete it and extract it again"):
        merge(films, folder, 2)


def test_jobs_of_a_cluster_take_a_part_each(films, whole, tmp_path):
    command = [sys.executable, "-m", "cmdml.features", str(films.folder), str(tmp_path), "small_cnn", ""]
    for given in ("0/2", "1/2"):
        subprocess.run([*command, given], check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    np.testing.assert_allclose(FeatureSet.load(tmp_path / "small_cnn-random").pixels, whole.pixels, atol=4e-3)
    wrong = subprocess.run([*command, "half"], capture_output=True, text=True)
    assert wrong.returncode == 1 and "no features were extracted. shard 'half': expected" in wrong.stderr


def test_the_launcher_starts_a_process_for_each_part(films, whole, tmp_path, capsys):
    made = launch.extract(films.folder, tmp_path / "features", devices=2, **QUIET)
    assert made.card == whole.card and same_bytes(tmp_path / "features", whole)
    assert sorted(line for line in capsys.readouterr().out.splitlines() if line.startswith("part")) == [
        "part 0 of 2 is done", "part 1 of 2 is done"]  # fmt: skip
    assert launch.extract(RadiographSet.load(films.folder).folder, tmp_path / "features", **QUIET).card == whole.card


def test_what_stops_the_launcher_arrives_in_one_sentence(films, tmp_path):
    with pytest.raises(ValueError, match="extraction stopped. size 65 is above the radiographs' 64 px"):
        launch.extract(films.folder, tmp_path / "features", **QUIET, size=65)
