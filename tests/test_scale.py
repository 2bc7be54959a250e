"""The benchmark of scale: no two films alike, what it says of the whole set, and that it runs from end to end."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cmdml.files import is_sealed, sealed, write_json
from cmdml.radiographs import RadiographSet

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def scale():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("scale")
    sys.path.remove(str(ROOT / "benchmarks"))


def test_no_two_films_are_alike(scale, tmp_path):
    drawn = np.random.default_rng(0).integers(0, 256, (3, scale.SIZE, scale.SIZE), dtype=np.uint8)
    np.save(tmp_path / "drawn.npy", drawn)
    (tmp_path / "200").mkdir()
    scale.write(tmp_path / "200", 200)  # film 192 is the first of a block, and drawn as film 0 is
    films = RadiographSet.load(tmp_path / "200/films")
    films.verify()
    assert films.pixels.shape == (200, 224, 224) and films.table["image"].is_unique
    assert len({film.tobytes() for film in films.pixels}) == 200
    for row in (0, 1, 2, 65, 192):
        away = np.abs(films.pixels[row].astype(int) - drawn[row % 3])
        assert 0 < away.max() <= scale.NOISE


def test_the_whole_set_is_told_from_the_growth_between_two_sizes(scale):
    """10 s, and 2 ms a film: 112,120 films take 234.24 s."""
    rows = [{"method": name, "films": n, "seconds": 10 + 0.002 * n, "cpu_s": 0.001 * n, "own_mib": 100 + n / 1000}
            for n in (2000, 1000) for name in scale.STEPS.values()]  # fmt: skip
    found = {row["method"]: row for row in scale.growth(rows)}
    assert list(found) == [*scale.STEPS.values(), "all steps"]
    for row in found.values():
        many = 4 if row["method"] == "all steps" else 1
        assert row["grown"] == pytest.approx(2.0)
        assert row["full_minutes"] == pytest.approx(many * 234.24 / 60)
        assert row["full_cpu_minutes"] == pytest.approx(many * 112.12 / 60)
        assert row["full_own_mib"] == pytest.approx(212.12)


def test_memory_that_does_not_grow_is_not_said_to_shrink(scale):
    rows = [{"method": name, "films": n, "seconds": n, "cpu_s": n, "own_mib": 1900.0 - n / 100}
            for n in (1000, 2000) for name in scale.STEPS.values()]  # fmt: skip
    assert {row["full_own_mib"] for row in scale.growth(rows)} == {1880.0}


def size(scale, folder, n, **about):
    rows = [{"method": name, "films": n, "seconds": n / 10, "cpu_s": n / 20, "own_mib": 100.0}
            for name in scale.STEPS.values()]  # fmt: skip
    content = {"benchmark": "scale", "films": [n], "drawn": 9, "size": 224, "rows": rows, "load": [[n, 0, 0]],
               "machine": {"cores": 2}, "versions": {"torch": "2"}, "commit": f"{n}", "dirty": False}  # fmt: skip
    content |= about
    return str(write_json(folder / f"{n}.json", sealed(content)))


def test_sizes_that_were_run_apart_are_joined(scale, tmp_path, monkeypatch):
    files = [size(scale, tmp_path, 2000, films=[2000, 4000]), size(scale, tmp_path, 1000)]  # one was stopped
    monkeypatch.setattr(sys, "argv", ["scale.py", "--join", " ".join(files), "--out", str(tmp_path / "out")])
    scale.main()
    found = json.loads((tmp_path / "out/scale.json").read_text())
    assert is_sealed(found) and found["films"] == [1000, 2000] and found["load"] == [[1000, 0, 0], [2000, 0, 0]]
    assert [one["commit"] for one in found["measured"]] == ["1000", "2000"]
    assert [row["films"] for row in found["rows"]] == [1000] * 4 + [2000] * 4
    assert {row["grown"] for row in found["growth"]} == {2.0}


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ({"machine": {"cores": 16}}, "has another machine than"),
        ({"versions": {"torch": "3"}}, "another versions"),
        ({"drawn": 8}, "another drawn"),
    ],
)
def test_what_was_measured_otherwise_is_not_joined(scale, tmp_path, about, sentence):
    files = [size(scale, tmp_path, 1000), size(scale, tmp_path, 2000, **about)]
    with pytest.raises(SystemExit, match=sentence):
        scale.join(files)
    edited = Path(files[1])
    edited.write_text(edited.read_text().replace("2000", "2001"))
    with pytest.raises(SystemExit, match="2000.json was edited since it was measured"):
        scale.join(files)


def test_memory_counts_the_processes_below(scale):
    before = scale.memory()
    code = "import sys; held = bytearray(b'x') * (100 << 20); print('ready', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as child:
        child.stdout.readline()
        own, resident = scale.memory() - before
        child.stdin.close()
    assert own > 100 and resident > own
    assert (scale.memory() - before < 50).all()


def test_every_step_reads_what_the_one_before_wrote(scale, tmp_path, monkeypatch):
    """All of it on few films, with a smaller backbone."""
    from cmdml import features

    def extract(radiographs, folder, devices, backbone, weights):
        assert devices >= 1 and (backbone, weights) == ("efficientnet_lite0", "imagenet")
        return features.extract(RadiographSet.load(radiographs), folder, backbone="small_cnn", weights="", size=32,
                                progress=False)  # fmt: skip

    monkeypatch.setattr(scale, "extract", extract)
    np.save(tmp_path / "drawn.npy", np.random.default_rng(0).integers(0, 256, (9, 224, 224), dtype=np.uint8))
    place = tmp_path / "600"
    place.mkdir()
    for step in scale.STEPS:
        found = scale.child(step, place, 600)
        assert found["seconds"] > 0 and found["per_second"] == pytest.approx(600 / found["seconds"])
        assert {"cpu_s", "own_mib", "resident_mib"} < found.keys()
    assert (place / "training/seal.json").is_file()


def test_make_bench_runs_it_and_the_page_has_its_places():
    made = (ROOT / "Makefile").read_text()
    page = (ROOT / "book/performance.md").read_text()
    for name, keys in {"scale": ("rows", "growth"), "features": ("rows",)}.items():
        assert f"benchmarks/{name}.py --out runs/benchmarks" in made
        for key in keys:
            assert f"<!-- {name} {key} -->" in page and f"<!-- /{name} {key} -->" in page
    assert re.search(r"<!-- scale_whole rows -->\nNot run", page)


@pytest.mark.parametrize("name", ["scale", "features"])
def test_the_committed_numbers_are_sealed(name):
    file = ROOT / f"data/results/benchmarks/{name}.json"
    if not file.exists():
        pytest.skip("not measured yet")
    found = json.loads(file.read_text())
    assert is_sealed(found) and not found["dirty"] and found["load"]
    if name == "scale":
        assert {row["films"] for row in found["rows"]} == set(found["films"])
