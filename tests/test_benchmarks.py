"""What benchmarks share and count, on a few made-up numbers: medians, rates, hits, and loops that agree with ours."""

import importlib
import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from cmdml.evaluation.bootstrap import weighted_auroc_ap
from cmdml.files import is_sealed
from cmdml.loss import squared_distance, weighted_focused_euclidean
from cmdml.study.places import ROOT


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    yield lambda name: importlib.import_module(name)
    for name in ("bootstrap", "loss", "out_of_distribution", "pointing", "timing"):
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
    row = module._row("phantom", "kind", np.array([0.5, 1.0, 1.5, 3.0]), True)
    assert (row["films"], row["warned"], row["rate"], row["median_distance"]) == (4, 2, 0.5, 1.25)
    assert row["should_warn"] is True and row["low"] < 0.5 < row["high"]
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
    found = module._counted([True, False, True, True])
    assert (found["hits"], found["accuracy"]) == (3, 0.75) and found["low"] < 0.75 < found["high"]


def test_pointing_is_averaged_over_findings(benchmark):
    each = pd.DataFrame({"finding": ["a", "b", "c"], "seen": [True, True, False], "films": [10, 20, 40],
                         "method": "one", "accuracy": [0.2, 0.4, 0.9]})  # fmt: skip
    found = benchmark("pointing").overall(each).set_index("kind")
    assert found.accuracy.to_dict() == pytest.approx({"all": 0.5, "seen": 0.3, "unseen": 0.9})
    assert found.films.to_dict() == {"all": 70, "seen": 30, "unseen": 40} and found.findings["seen"] == 2
