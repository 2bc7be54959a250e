"""Benchmarks of films: warnings and heat maps as committed, and what preparing files is compared with."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cmdml.feature_set import FeatureSet
from cmdml.files import sha256
from cmdml.findings import findings_of
from cmdml.heads import HEADS
from cmdml.radiographs import RadiographSet
from cmdml.study.places import ROOT


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    yield lambda name: importlib.import_module(name)
    for name in ("out_of_distribution", "pointing", "prepare"):
        if name not in before:
            sys.modules.pop(name, None)


def test_warnings_of_the_head_of_phantoms_are_those_that_were_committed(benchmark, monkeypatch):
    """And of the head of real films those for its own; the others take its backbone too long."""
    module, asked, drawn = benchmark("out_of_distribution"), [], []
    distances, phantoms = module.distances, module.phantoms

    def large_are_not_drawn(size, own):
        drawn.append((size, own))
        return phantoms(size, own) if size == 64 else np.zeros((200, size, size), np.uint8)

    def quick(head, films):
        if head.folder.name == "phantom":
            return distances(head, films)
        asked.append((len(films), films.shape[1:], films.dtype))
        return np.array([0.5, 2.0])

    monkeypatch.setattr(module, "distances", quick)
    monkeypatch.setattr(module, "phantoms", large_are_not_drawn)
    table, held = module.measure(None), pd.read_csv(ROOT / "data/results/ood/rates.csv")
    assert table[["head", "kind", "should_warn"]].equals(held[["head", "kind", "should_warn"]])
    assert drawn == [(224, False), (64, True)]  # those of its own kind are those that its head was not shown
    assert [n for n, *_ in asked] == held[held["head"] == "nih-mini"].films.tolist()[1:]
    assert {tuple(rest) for _, *rest in asked} == {((224, 224), np.dtype("uint8"))}
    same = (table["head"] == "phantom") | (table.index == 0)
    assert same.sum() == 13 and table.films[same].equals(held.films[same])
    np.testing.assert_allclose(table.warned[same], held.warned[same], atol=1)
    np.testing.assert_allclose(table.median_distance[same], held.median_distance[same], rtol=1e-2)


def test_films_of_a_folder_are_its_test_films_two_hundred_at_most(benchmark, monkeypatch, tmp_path):
    module, read = benchmark("out_of_distribution"), []
    monkeypatch.setattr(module, "read_film", lambda path, size: read.append((path, size)) or
                        SimpleNamespace(pixels=np.zeros((size, size), np.uint8)))  # fmt: skip
    assert module.real_films(tmp_path, 32).shape == (200, 32, 32)
    table = FeatureSet.load(ROOT / "data/features/nih-mini-efficientnet_lite0").table.set_index("image")
    names = [path.name for path, _ in read]
    assert len(set(names)) == 200 and set(table.split[names]) == {"test"} and read[0] == (
        tmp_path / "images" / names[0], 32)  # fmt: skip
    read.clear()
    assert len(module.real_films(None, 32)) == 40 and {path.parent for path, _ in read} == {ROOT / "data/films"}


def test_other_phantoms_are_not_those_of_the_head(benchmark, monkeypatch):
    module, seeds = benchmark("out_of_distribution"), []
    for name in ("sample_table", "sample_scene"):
        sample = getattr(module, name)
        monkeypatch.setattr(module, name, lambda what, seed, sample=sample: seeds.append(seed) or sample(what, seed))
    own, other = module.phantoms(64, True), module.phantoms(64, False)
    assert own.shape == other.shape == (200, 64, 64) and not {f.tobytes() for f in own} & {f.tobytes() for f in other}
    assert seeds == [0, 0, 1, 1]  # of who is on a film and of how it looks


@pytest.mark.parametrize("root", [None, "films"])
def test_what_the_warnings_were_measured_on_is_kept(benchmark, monkeypatch, tmp_path, root):
    module, kept, asked = benchmark("out_of_distribution"), [], []
    table = pd.DataFrame({"a": [1]})
    monkeypatch.setattr(module, "measure", lambda given: asked.append(given) or table)
    monkeypatch.setattr(module, "manifest", lambda folder, **about: kept.append((folder, about)))
    monkeypatch.setattr(module, "publish", lambda out, tables, write: write("there", files=(out, tables)))
    monkeypatch.setattr(sys, "argv", ["a.py", "--out", str(tmp_path), *(["--root", root] if root else [])])
    module.main()
    ((folder, about),) = kept
    assert asked == [Path(root) if root else None] and folder == "there" and about.pop("started") > 0
    assert about.pop("files") == (tmp_path, {"rates": table})
    films = "NIH test films" if root else "data/films"
    assert about == {
        "profile": "nih-mini", "script": "benchmarks/out_of_distribution.py",
        "parameters": {"many": 200, "images": 8000, "seed": 0, "films": films},
        "head_sha256": {name: sha256(HEADS / name / "seal.json") for name in ("nih-mini", "phantom")}}  # fmt: skip


def test_where_findings_lie_is_as_it_was_committed(benchmark, head):
    module = benchmark("pointing")
    folder = ROOT / "data/results/pointing"
    held = pd.read_csv(folder / "findings.csv").query("method == 'chance'").set_index("finding")
    many = json.loads((folder / "manifest.json").read_text())["parameters"]["films"]
    table = module.sample_table(module.IMAGES, module.SEED)
    scene = module.sample_scene(table, module.SEED)
    for key in ("Atelectasis", "Mass"):
        shown, where = module.films_of(head, key, many, table, scene)
        assert len(shown) == len(where) == held.films[key]
        assert where.mean() == pytest.approx(held.accuracy[key], rel=1e-4)
    films, _ = module.films_of(head, "Mass", 3, table, scene)
    assert len(films) == 3 and np.array_equal(films, shown[:3])
    rows = table[(table["split"] == "test") & (table["Mass"] == 1)]
    assert len(rows) > rows["patient"].nunique() >= held.films["Mass"]


def test_a_map_is_set_beside_that_of_the_film_before_and_chance(benchmark, monkeypatch, head):
    module, asked = benchmark("pointing"), []
    where = np.zeros((3, 4, 4), bool)
    where[0, 0, 0] = where[0, 2, 2] = where[1, 1, 1] = True  # maps point at (0, 0), (1, 1) and (2, 2)

    def films_of(head, key, films, table, scene):
        assert films == 9 and len(table) == 8000 and len(scene["labels"]) == 8000
        return np.arange(3), where

    monkeypatch.setattr(module, "films_of", films_of)
    monkeypatch.setattr(module, "heat", lambda head, film, vector, method: asked.append((vector, method)) or film)
    monkeypatch.setattr(module, "peak", lambda film: (film, film))
    found = module.measure(head, 9)
    local = [f for f in findings_of(head.findings.keys) if "diffuse" not in f.signs]
    assert found.finding.unique().tolist() == [f.key for f in local] and 5 < len(local) < 14
    assert found.groupby("finding").seen.first().to_dict() == {f.key: f.key in head.findings.seen for f in local}
    first = found[found.finding == local[0].key].set_index("method")
    assert list(first.index) == [*(name for m in module.METHODS for name in (m, f"{m}, another film's")), "chance"]
    for method in module.METHODS:
        assert first.hits[method] == 2 and first.hits[f"{method}, another film's"] == 1
        assert first.accuracy[method] == 2 / 3 and first.films[method] == 3
    assert first.accuracy["chance"] == 3 / 48 and np.isnan(first.hits["chance"]) and np.isnan(first.low["chance"])
    vectors = dict(zip(head.findings.keys, head.model.semantic_vectors))
    assert [method for _, method in asked[::3]] == [*module.METHODS] * len(local)
    each = iter(asked)
    for finding in local:
        assert all(next(each)[0].equal(vectors[finding.key]) for _ in range(3 * len(module.METHODS)))


def test_what_maps_were_measured_on_is_kept(benchmark, monkeypatch, tmp_path, head):
    module, kept, asked = benchmark("pointing"), [], []
    each = pd.DataFrame({"finding": ["a"], "seen": [True], "films": [10], "method": ["one"], "accuracy": [0.2]})
    monkeypatch.setattr(module, "measure", lambda given, films: asked.append((given.folder, films)) or each)
    monkeypatch.setattr(module, "manifest", lambda folder, **about: kept.append((folder, about)))
    monkeypatch.setattr(module, "publish", lambda out, tables, write: write("there", files=(out, tables)))
    monkeypatch.setattr(sys, "argv", ["a.py", "--films", "7", "--out", str(tmp_path)])
    module.main()
    ((folder, about),) = kept
    out, tables = about.pop("files")
    assert asked == [(head.folder, 7)] and folder == "there" and about.pop("started") > 0 and out == tmp_path
    assert tables["findings"] is each and tables["summary"].equals(module.overall(each))
    assert about == {
        "profile": "phantom", "parameters": {"films": 7, "images": 8000, "seed": 0, "share": 0.5, "slack": 2},
        "data_sha256": head.card["data"]["sha256"], "head_sha256": sha256(head.folder / "seal.json"),
        "script": "benchmarks/pointing.py"}  # fmt: skip


@pytest.fixture
def files(tmp_path):
    """Three PNG files of 230 px, one of them below; another kind beside them."""
    folder, rng = tmp_path / "given", np.random.default_rng(0)
    (folder / "below").mkdir(parents=True)
    for i, name in enumerate(("a.png", "b.png", "below/c.png")):
        Image.fromarray(rng.integers(60 * i, 60 * i + 50, (230, 230), dtype=np.uint8)).save(folder / name)
    (folder / "d.jpg").write_text("no PNG")
    return sorted(folder.rglob("*.png"))


def test_a_download_is_made_of_links_two_to_a_patient(benchmark, files, tmp_path):
    module = benchmark("prepare")
    root = module.download_of(files, 5, tmp_path / "made")
    table = pd.read_csv(root / "Data_Entry_2017_v2020.csv")
    assert table["Patient ID"].tolist() == [1, 1, 2, 2, 3] and table["Follow-up #"].tolist() == [0, 1, 0, 1, 0]
    links = [root / "images" / name for name in table["Image Index"]]
    assert [link.resolve() for link in links] == [files[i % 3].resolve() for i in range(5)]
    pixels = module.plain(links, 23)
    for film, link in zip(pixels, links):
        whole = np.asarray(Image.open(link), float)
        assert np.abs(film - whole.reshape(23, 10, 23, 10).mean((1, 3))).max() <= 1  # rounded along each axis
    assert pixels.shape == (5, 23, 23)


def test_plain_loops_side_by_side_have_a_share_each(benchmark, files, tmp_path, monkeypatch):
    module, told = benchmark("prepare"), []
    root = module.download_of(files, 5, tmp_path / "made")
    child = "import sys; print('ready', flush=True); assert sys.stdin.readline(); print(int(sys.argv[3]) + 1)"
    monkeypatch.setattr(module, "ALONE", child)
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda words, **how: told.append(words) or start(words, **how))
    wall, processor = module.processes(root, 16, 3)
    assert processor == 1 + 2 + 3 and 0 < wall < 5
    assert [list(map(str, words[3:])) for words in told] == [
        [str(ROOT / "benchmarks"), str(root / "images"), str(k), "3", "16"] for k in range(3)]  # fmt: skip


def test_every_loop_reads_its_share_and_tells_its_processor_time(benchmark, files, tmp_path, monkeypatch, capsys):
    module, read, clock = benchmark("prepare"), [], iter([5.0, 7.5])
    root = module.download_of(files, 5, tmp_path / "made")
    monkeypatch.setattr(module, "plain", lambda paths, size: read.append(([p.name for p in paths], size)))
    monkeypatch.setattr(module.time, "process_time", lambda: next(clock))
    monkeypatch.setattr(sys, "argv", ["-c", str(ROOT / "benchmarks"), str(root / "images"), "1", "2", "16"])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(readline=lambda: "go\n"))
    exec(compile(module.ALONE, "alone", "exec"), {})
    assert read == [(["00000001_001.png", "00000002_001.png"], 16)]
    assert capsys.readouterr().out.split() == ["ready", "2.5"]


def test_a_size_of_the_growth_table_is_prepared_by_the_process_that_reports_it(benchmark, files, tmp_path, monkeypatch,
                                                                              capsys):  # fmt: skip
    module = benchmark("prepare")
    root = module.download_of(files, 5, tmp_path / "made")
    monkeypatch.setattr(sys, "argv", ["-c", str(tmp_path / "set"), str(root), "64", "1"])
    exec(compile(module.CHILD, "child", "exec"), {})
    word, seconds, before, peak = capsys.readouterr().out.splitlines()[-1].split()
    assert word == "result" and 0 < float(seconds) < 5 and 100 < float(before) <= float(peak)
    films = RadiographSet.load(tmp_path / "set")
    assert films.pixels.shape == (5, 64, 64)


def test_preparing_is_compared_by_medians_and_grows_from_one_to_eight(benchmark, files, tmp_path, monkeypatch, capsys):
    module, ran, children = benchmark("prepare"), [], []
    one, ours = iter([(8.0, 6.0), (10.0, 9.0), (20.0, 4.0)]), iter([(1.0, 2.0), (2.0, 3.0), (5.0, 20.0)])
    many = iter([(5.0, 8.0), (4.0, 7.9), (2.0, 3.9)])

    def timed(function, *given, **named):
        ran.append((function, given, named))
        return next(one if function is module.plain else ours)

    def run(words, **how):
        children.append(list(map(str, words[3:])))
        n = len(list((Path(words[4]) / "images").iterdir()))
        return SimpleNamespace(stdout=f"some words\nresult {n / 4} 100 {100 + n}\n")

    monkeypatch.setattr(module, "timed", timed)
    monkeypatch.setattr(module, "processes", lambda *given: ran.append(given) or next(many))
    monkeypatch.setattr(module, "environment", lambda: {"commit": "c"})
    monkeypatch.setattr(subprocess, "run", run)
    folder, out = files[0].parent, tmp_path / "out/here"
    words = ["--size", "16", "--images", "4", "--workers", "2", "--repeats", "3", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["prepare.py", str(folder), *words])
    module.main()
    kept = json.loads((out / "prepare.json").read_text())
    assert {name: kept[name] for name in ("benchmark", "files", "pixels", "size", "repeats", "images", "workers")} == {
        "benchmark": "prepare", "files": 3, "pixels": 230, "size": 16, "repeats": 3, "images": 4, "workers": 2}
    assert kept["commit"] == "c" and len(kept["rows"]) == 3
    plain, apart, own = kept["rows"]
    assert plain == {"method": "plain Pillow, one process", "images_per_s": 0.4, "slowest": 0.2, "fastest": 0.5,
                     "ratio": 1, "ratio_per_core": 1, "cpu_ms_per_image": 1500, "cores_busy": 0.75}  # fmt: skip
    assert apart == pytest.approx(
        {"method": "plain Pillow, a process per core", "images_per_s": 1, "slowest": 0.8, "fastest": 2, "ratio": 2.5,
         "ratio_per_core": 1.25, "cpu_ms_per_image": 1975, "cores_busy": 1.95})  # fmt: skip
    assert own == {"method": "ours", "images_per_s": 2, "slowest": 0.8, "fastest": 4, "ratio": 5, "ratio_per_core": 2.5,
                   "cpu_ms_per_image": 750, "cores_busy": 2}  # fmt: skip
    assert [row["images"] for row in kept["growth"]] == [4, 8, 16, 32]
    for row in kept["growth"]:
        n = row["images"]
        assert row == {"images": n, "seconds": n / 4, "ms_per_image": 250, "store_mib": n * 256 / 2**20,
                       "imports_mib": 100, "peak_above_imports_mib": n}  # fmt: skip
    assert [Path(words[0]).name for words in children] == [f"grown{n}" for n in (1, 2, 4, 8)]
    assert {tuple(words[2:]) for words in children} == {("16", "2")}
    sets = [(given[0].name, named) for function, given, named in (e for e in ran if len(e[1:]) == 2 and callable(e[0]))
            if function is module.nih.prepare]  # fmt: skip
    assert [name for name, _ in sets] == ["set0", "set1", "set2"]
    for _, named in sets:
        assert named.pop("root").name == "1x"
        assert named == {"size": 16, "splits": "hash", "workers": 2, "progress": False}
    assert "4 of 3 PNGs to 16 px, 2 threads, median of 3" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["prepare.py", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="out: no PNG files in it"):
        module.main()
