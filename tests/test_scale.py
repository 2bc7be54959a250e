"""The benchmark of scale: no two films alike, what it says of the whole set, and that it runs from end to end."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

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


def test_a_step_s_memory_is_that_above_its_imports_at_its_largest(scale, tmp_path, monkeypatch):
    seen = iter([[100.0, 200.0]])  # before the step; then, while it runs and after it
    monkeypatch.setattr(scale, "memory", lambda: np.array(next(seen, [150.0, 275.0])))
    monkeypatch.setattr(scale, "write", lambda place, films: None)
    found = scale.child("write", tmp_path, 10)
    assert (found["own_mib"], found["resident_mib"]) == (50, 75)


def test_a_step_s_processor_time_counts_the_processes_that_it_waited_for(scale, tmp_path, monkeypatch):
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    monkeypatch.setattr(scale, "write", lambda place, films: subprocess.run([sys.executable, "-c", burn], check=True))
    assert scale.child("write", tmp_path, 10)["cpu_s"] >= 0.5


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


@pytest.fixture
def whole(scale, monkeypatch):
    """``main`` with steps that only take the time they are given: a second for ten films, and a load for each look."""
    told, load = SimpleNamespace(reports=[], places=[], drawn=[]), iter(range(1, 9))

    def prepare(folder, **named):
        told.drawn.append(named)
        return SimpleNamespace(pixels=np.full((named["images"], 2, 2), 7, np.uint8))

    def measured(films, place):
        assert place.is_dir() and place.name == str(films)
        assert np.load(place.parent / "drawn.npy").shape == (told.drawn[0]["images"], 2, 2)
        told.places.append(place)
        return [{"method": name, "films": films, "seconds": films / 10, "cpu_s": films / 10, "own_mib": 9.0}
                for name in scale.STEPS.values()]  # fmt: skip

    def report(*given, **about):
        assert not told.places[-1].exists()  # the disk has room for one
        told.reports.append((given[0], [dict(row) for row in given[1]], given[2], about | {"load": [*about["load"]]}))

    monkeypatch.setattr(scale.phantom, "prepare", prepare)
    monkeypatch.setattr(scale, "measured", measured)
    monkeypatch.setattr(scale, "report", report)
    monkeypatch.setattr(scale.os, "getloadavg", lambda: (next(load), 0, 0))
    return told


def test_a_size_is_reported_once_it_is_measured_and_growth_once_there_are_two(scale, whole, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["scale.py", "--films", "2000 1000", "--drawn", "60", "--out", str(tmp_path)])
    scale.main()
    assert whole.drawn == [{"images": 60, "size": 224, "progress": False}]
    assert [place.name for place in whole.places] == ["1000", "2000"]
    (first, rows, out, about), (second, all_rows, _, more) = whole.reports
    assert first == second == "scale" and out == tmp_path and "growth" not in about
    assert [row["films"] for row in rows] == [1000] * 4
    assert [row["films"] for row in all_rows] == [1000] * 4 + [2000] * 4
    assert about == {"films": [1000, 2000], "drawn": 60, "size": 224, "repeats": 1, "load": [(1, 0, 0), (2, 0, 0)]}
    assert more["load"] == [(1, 0, 0), (2, 0, 0), (3, 0, 0)] and {row["grown"] for row in more["growth"]} == {2.0}


def test_the_whole_of_chestx_ray14_has_a_file_of_its_own(scale, whole, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["scale.py", "--films", "112120"])
    scale.main()
    ((name, rows, out, about),) = whole.reports
    assert name == "scale_whole" and len(rows) == 4 and out is None and about["drawn"] == 400
    monkeypatch.setattr(sys, "argv", ["scale.py"])
    scale.main()
    assert [place.name for place in whole.places[1:]] == ["10000", "20000"] and whole.reports[-1][0] == "scale"


def test_each_step_has_a_process_of_its_own_with_one_thread(scale, monkeypatch, tmp_path):
    asked = []

    def run(words, **how):
        asked.append((words[1:], how["env"]["OMP_NUM_THREADS"], "PATH" in how["env"]))
        assert how["check"] and words[0] == sys.executable
        return SimpleNamespace(stdout=f'a warning\n{{"seconds": {len(asked)}}}\n')

    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setattr(subprocess, "run", run)
    rows = scale.measured(300, tmp_path)
    file = str(ROOT / "benchmarks/scale.py")
    assert asked == [([file, "step", step, str(tmp_path), "300"], "1", True) for step in scale.STEPS]
    assert rows == [{"method": name, "films": 300, "seconds": i} for i, name in enumerate(scale.STEPS.values(), 1)]


def test_the_head_is_that_of_the_films_and_evaluation_is_of_its_test_films(scale, monkeypatch, tmp_path):
    """On the committed films, with a training that is not done."""
    from cmdml.findings import DEFAULT_UNSEEN, KEYS
    from cmdml.heads import HEADS, load_head

    opened, fitted, judged = [], [], []
    films = scale.FeatureSet.load(ROOT / "data/features/nih-mini-efficientnet_lite0")
    monkeypatch.setattr(scale, "FeatureSet", SimpleNamespace(load=lambda path: opened.append(path) or films))
    monkeypatch.setattr(scale, "fit", lambda *given, **named: fitted.append((given, named)))
    monkeypatch.setattr(scale, "embedded", lambda folder, rows: {"scores": (folder, rows)})
    monkeypatch.setattr(scale, "evaluate", lambda *given, **named: judged.append((given, named)))
    scale.head(tmp_path, 5)
    scale.evaluation(tmp_path, 5)
    assert opened == [tmp_path / "features"] * 2
    ((parts, vectors, config, out), named), ((labels, scores, patients, findings), how) = fitted[0], judged[0]
    assert config == load_head(HEADS / "nih-mini").config and out == tmp_path / "training"
    assert named == {"progress": False, "accelerator": "cpu"}
    assert vectors.equal(scale.semantic_vectors(scale.findings_of(KEYS), "signs_text"))
    assert set(findings.unseen) == set(DEFAULT_UNSEEN) and len(parts.radiographs) == len(films)
    rows = [row for row, split in enumerate(films.table["split"]) if split == "test"]
    assert scores[0] == tmp_path / "training" and scores[1].tolist() == rows and len(rows) == 559
    assert labels.tolist() == films.labels[rows].tolist() and how == {"replicates": 1000, "seed": 0}
    assert patients.tolist() == films.table["patient"].iloc[rows].tolist()


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
