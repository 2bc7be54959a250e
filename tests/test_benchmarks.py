"""What benchmarks share and count, on a few made-up numbers: medians, rates, hits, and loops that agree with ours."""

import importlib
import json
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from cmdml.evaluation.bootstrap import weighted_auroc_ap
from cmdml.files import is_sealed
from cmdml.findings import KEYS
from cmdml.loss import squared_distance, weighted_focused_euclidean
from cmdml.study.places import ROOT


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    yield lambda name: importlib.import_module(name)
    for name in ("bootstrap", "live_page", "loss", "out_of_distribution", "pointing", "timing"):
        if name not in before:
            sys.modules.pop(name, None)


def test_times_are_medians_and_the_first_turn_is_not_counted(benchmark):
    spent = iter([100, 1, 2, 3, 8, 9, 4, 5])  # first turn, then three turns of two methods
    now = [0.0]
    rows = benchmark("timing").measure(
        {name: lambda: now.__setitem__(0, now[0] + next(spent)) for name in ("a", "b")}, 3, 10, clock=lambda: now[0]
    )
    a, b = rows
    assert (a["method"], a["seconds"], a["fastest"], a["slowest"]) == ("a", 4, 2, 8)
    assert (b["seconds"], b["fastest"], b["slowest"]) == (5, 3, 9)
    assert (a["per_second"], a["ratio"], b["ratio"]) == (10 / 4, 5 / 4, 1)


def test_what_was_measured_is_kept_sealed(benchmark, tmp_path, capsys):
    benchmark("timing").report("tiny", [{"method": "a", "seconds": 1.5}], tmp_path, repeats=3)
    found = json.loads((tmp_path / "tiny.json").read_text())
    assert is_sealed(found) and found["rows"] == [{"method": "a", "seconds": 1.5}] and found["repeats"] == 3
    assert found["benchmark"] == "tiny" and "versions" in found and "1.5" in capsys.readouterr().out


def test_the_plain_loops_of_the_bootstrap_give_our_numbers(benchmark):
    module = benchmark("bootstrap")
    labels, scores, patients = module.cohort(300)
    keep = labels.sum(0) > 5
    labels, scores = labels[:, keep][:, :2], scores[:, keep][:, :2]
    _, unit = np.unique(patients, return_inverse=True)
    drawn = np.random.default_rng(0).integers(1, 3, (2, unit.max() + 1))
    ours = np.stack(weighted_auroc_ap(labels, scores, drawn, unit))
    assert len(unit) == 300 and unit.max() < 299  # some patients have several films
    for loop in (module.loop_resampled, module.loop_weighted):
        np.testing.assert_allclose(loop(labels, scores, drawn, unit), ours, atol=1e-9)


def test_a_single_number_of_the_loops_that_differs_is_printed_as_it_is(benchmark, monkeypatch, tmp_path):
    module = benchmark("bootstrap")

    def ours(labels, scores, drawn, unit):
        return np.zeros((2, len(drawn), labels.shape[1]))

    def one_off(labels, scores, drawn, unit):
        found = ours(labels, scores, drawn, unit)
        found[1, -1, 3] = -0.25
        return found

    monkeypatch.setattr(module, "weighted_auroc_ap", ours)
    monkeypatch.setattr(module, "loop_resampled", one_off)
    monkeypatch.setattr(module, "loop_weighted", ours)
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "--images", "60", "--replicates", "20", "--loop-replicates", "2",
                                      "--repeats", "3", "--out", str(tmp_path / "a/b")])  # fmt: skip
    module.main()
    found = json.loads((tmp_path / "a/b/bootstrap.json").read_text())
    assert [row["max_difference"] for row in found["rows"]] == [0, 0.25, 0]
    assert [row["replicates_run"] for row in found["rows"]] == [20, 2, 2]
    assert found["rows"][0]["ratio"] == 1 and found["replicates"] == 20 and found["images"] == 60
    for row in found["rows"]:
        assert row["fastest"] <= row["seconds"] <= row["slowest"]


def test_the_walk_of_the_loss_gives_our_loss(benchmark):
    generator = torch.Generator().manual_seed(0)
    v, s = (torch.nn.functional.normalize(torch.randn(n, 6, generator=generator)) for n in (5, 4))
    labels = (torch.rand(5, 4, generator=generator) < 0.4).float()
    ours = weighted_focused_euclidean(squared_distance(v, s), labels)["total"]
    assert float(benchmark("loss").walk(v, s, labels)) == pytest.approx(float(ours), rel=1e-4)


def test_warnings_are_counted_beyond_the_threshold(benchmark):
    module = benchmark("out_of_distribution")
    row = module._row("phantom", "kind", np.array([0.5, 1.0, 1.5, 3.0, 4.0]), True)
    assert (row["films"], row["warned"], row["rate"], row["median_distance"]) == (5, 3, 0.6, 1.5)
    assert row["should_warn"] is True and row["low"] < 0.6 < row["high"]
    film = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    found = module.changed(film)
    assert np.array_equal(found["inverted"], 255 - film) and np.array_equal(found["mirrored"], film[:, :, ::-1])
    assert np.array_equal(found["upside down"][0], np.rot90(film[0], 2)) and found["grey values / 4"].max() == 15
    film = np.zeros((1, 8, 8), np.uint8)
    film[0, 2:6, 2:6] = 200
    found = module.changed(film)
    assert (found["middle half"] == 200).all() and found["middle three quarters"].min() < 100


def test_a_hit_is_where_half_of_the_largest_change_is_or_near_it(benchmark):
    module, bare = benchmark("pointing"), np.zeros((20, 20), np.uint8)
    drawn = bare.copy()
    drawn[10, 10], drawn[10, 15] = 100, 40
    truth = module.truth(drawn, bare)
    near = np.abs(np.indices((20, 20)) - 10).sum(0) <= 2
    assert np.array_equal(truth, near) and np.array_equal(module.truth(bare, drawn), near)
    assert not module.truth(bare, bare).any()
    found = module._counted([True, False, True, True])
    assert (found["hits"], found["accuracy"]) == (3, 0.75) and found["low"] < 0.75 < found["high"]


def test_pointing_is_averaged_over_findings(benchmark):
    each = pd.DataFrame({"finding": ["a", "b", "c"], "seen": [True, True, False], "films": [10, 20, 40],
                         "method": "one", "accuracy": [0.2, 0.4, 0.9]})  # fmt: skip
    found = benchmark("pointing").overall(each).set_index("kind")
    assert found.accuracy.to_dict() == pytest.approx({"all": 0.5, "seen": 0.3, "unseen": 0.9})
    assert found.films.to_dict() == {"all": 70, "seen": 30, "unseen": 40} and found.findings["seen"] == 2


def test_loops_on_few_replicates_are_scaled_to_all(benchmark, monkeypatch, tmp_path, capsys):
    module, asked = benchmark("bootstrap"), []
    times = iter([[2.0, 4.0, 3.0], [1.0, 3.0, 1.5], [6.0, 9.0, 7.5]])

    def seconds(function, labels, scores, drawn, unit, repeats):
        asked.append((function, len(drawn), repeats, len(labels)))
        return next(times), np.zeros((2, len(drawn), 14))

    monkeypatch.setattr(module, "seconds", seconds)
    monkeypatch.setattr(module, "weighted_auroc_ap", lambda *given: None)
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "--images", "60", "--replicates", "20", "--loop-replicates", "4",
                                      "--repeats", "3", "--out", str(tmp_path)])  # fmt: skip
    module.main()
    assert [entry[1:] for entry in asked] == [(20, 3, 60), (4, 3, 60), (4, 3, 60)]
    assert [entry[0] for entry in asked[1:]] == [module.loop_resampled, module.loop_weighted]
    rows = json.loads((tmp_path / "bootstrap.json").read_text())["rows"]
    assert [[row[key] for key in ("seconds", "fastest", "slowest", "ratio")] for row in rows] == [
        [3, 2, 4, 1], [7.5, 5, 15, 2.5], [37.5, 30, 45, 12.5]]  # fmt: skip
    assert "loops run on 4 replicates and scaled" in capsys.readouterr().out


def test_the_cohort_of_the_bootstrap_is_as_ill_and_as_often_filmed_as_nih_s(benchmark):
    module = benchmark("bootstrap")
    labels, scores, patients = module.cohort(20_000)
    # of the 112,120 films of the data set 60,361 have no finding, 19,894 an infiltration, 227 a hernia; 30,805 patients
    assert (labels.sum(1) == 0).mean() == pytest.approx(60_361 / 112_120, abs=0.015)
    assert labels[:, KEYS.index("Infiltration")].mean() == pytest.approx(19_894 / 112_120, abs=0.015)
    assert labels[:, KEYS.index("Hernia")].mean() == pytest.approx(227 / 112_120, abs=0.002)
    assert 20_000 / (patients[-1] + 1) == pytest.approx(112_120 / 30_805, rel=0.1) and (np.diff(patients) >= 0).all()
    assert scores[labels == 1].mean() - scores[labels == 0].mean() == pytest.approx(0.8, abs=0.03)
    assert len(np.unique(scores)) < scores.size / 10  # with ties


class Clock:
    """A clock that only moves when it is told to."""

    now = 0.0

    def perf_counter(self):
        return self.now

    def spend(self, seconds, answer=None):
        def spent(*given):
            self.now += seconds
            return answer

        return spent


def test_every_repeat_is_timed(benchmark, monkeypatch):
    module, clock = benchmark("bootstrap"), Clock()
    monkeypatch.setattr(module, "time", clock)
    assert module.seconds(clock.spend(3, "answer"), 1, repeats=4) == ([3] * 4, "answer")


class Page:
    """A page of a browser that says how long it took: a film ten times its number, a heat map a hundred times."""

    def __init__(self, module):
        self.module, self.done = module, []

    def __getattr__(self, name):
        return lambda *given: self.done.append((name, *given))

    def evaluate(self, script, film=None):
        self.done.append((script, film))
        known = {self.module.FILM: (film or 0) * 10, self.module.HEAT: (film or 0) * 100, self.module.SWITCH: 7.0}
        return known.get(script, 6 if "tray" in script else None)


def test_the_live_page_s_times_are_medians_and_kept_with_the_load(benchmark, monkeypatch, tmp_path, capsys):
    module, clock = benchmark("live_page"), Clock()
    page = Page(module)
    page.goto = lambda address: page.done.append(("goto", address)) or clock.spend(1.5)()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "browser", lambda: nullcontext(SimpleNamespace(new_page=lambda: page)))
    monkeypatch.setattr(module.os, "getloadavg", lambda: (0.3, 0.2, 0.1))
    monkeypatch.setattr(sys, "argv", ["live_page.py", "--out", str(tmp_path)])
    module.main()
    kept = json.loads((tmp_path / "speed.json").read_text())
    wanted = {"load_ms": 1500, "film_ms": 25, "heat_map_ms": 100, "switch_ms": 7, "films": 6, "load_average": 0.3}
    assert {name: kept[name] for name in wanted} == wanted and "versions" in kept
    assert [film for script, film in page.done if script == module.FILM] == [0, *range(6)]  # one to warm up
    assert ("uncheck", "#heat") in page.done and ("ready", None) in page.done
    assert page.done[page.done.index(("set_default_timeout", 0)) + 1] == (
        "goto", (ROOT / "book/_static/live/index.html").as_uri())  # fmt: skip
    assert "load_ms 1500, film_ms 25, heat_map_ms 100, switch_ms 7, films 6 (load of the machine 0.3)" in (
        capsys.readouterr().out)  # fmt: skip
