"""What a sweep writes of one run, and its commands: each does its own work, and an error is one sentence."""

import json
import sys
from types import SimpleNamespace

import pandas as pd
import pytest

from cmdml.files import sealed, write_json
from cmdml.study import plan, run, sweep, tables


@pytest.fixture
def made(monkeypatch, tmp_path):
    """A run of which nothing is trained: (profile, where, what `fit` and `partition` were given)."""
    given = []

    class TestSet:
        def __init__(self, radiographs):
            self.radiographs = SimpleNamespace(findings=tuple("abcdefgh"), card={"sha256": "x"})

        def scores(self, training):
            return training

        def tables(self, scores, findings, about):
            given.append((scores, findings, about))
            return pd.DataFrame({"value": [1 / 3]}), pd.DataFrame({"value": [2 / 3]})

    def fit(parts, vectors, config, out, progress):
        given.append((vectors, config, out, progress))
        print("told nobody")
        return SimpleNamespace(history=pd.DataFrame({"seconds": [2.0, 3.0], "val_seen_auroc": [0.7, 0.6]}))

    def partition(radiographs, findings, keep_no_finding):
        given.append((findings, keep_no_finding))
        print("counts")
        return SimpleNamespace(train=[1, 2, 3])

    def split_findings(keys, unseen, seed):
        return SimpleNamespace(unseen=(unseen, seed), keys=keys)

    monkeypatch.setattr(sweep, "TestSet", TestSet)
    monkeypatch.setattr(sweep, "fit", fit)
    monkeypatch.setattr(sweep, "partition", partition)
    monkeypatch.setattr(sweep, "split_findings", split_findings)
    monkeypatch.setattr(sweep, "findings_of", lambda keys: keys)
    monkeypatch.setattr(sweep, "radiographs_of", lambda profile: None)
    monkeypatch.setattr(sweep, "semantic_vectors", lambda *what, **how: (what, how))
    profile = run.load_profile("smoke", {"run_dir": str(tmp_path)})
    profile["sweep"] = {"seeds": [5], "splits": ["default", "random"],
                        "methods": {"focused": {}, "supervised": {"unseen": "none"}}}  # fmt: skip
    return profile, tmp_path, given


def test_a_run_s_tables_and_manifest(made, capsys):
    profile, where, given = made
    out = sweep.train(profile, "supervised", "random", 5)
    assert out == plan.folder(profile, "supervised", "random", 5) and "counts" not in capsys.readouterr().out
    (trained_on, keep), (vectors, config, training, progress), (scores, counted, about) = given
    values = plan.settings(profile, "supervised", 5, "random")
    assert trained_on.unseen == ("none", 5) and counted.unseen == ("random", 5)  # shown all, counted as drawn
    assert keep == values["keep_no_finding"] and config.seed == 5 and progress is False
    assert vectors == ((tuple("abcdefgh"), values["semantics"]), {"model": values["semantic_model"], "seed": 5})
    assert training == scores == out / "training"
    assert about == {"profile": "smoke", "method": "supervised", "split": "random", "seed": 5}
    assert (out / "run.csv").read_text() == "value\n0.333333\n"
    assert (out / "summary.csv").read_text() == "value\n0.666667\n"
    told = json.loads((out / "manifest.json").read_text())
    assert {name: told[name] for name in about} == about and told["data_sha256"] == "x"
    assert (told["train_seconds"], told["val_seen_auroc"], told["images_train"]) == (5.0, 0.7, 3)
    assert told["unseen"] == ["random", 5] and told["parameters"] == values


def test_a_run_that_chooses_a_rate_has_no_tables(made):
    profile, where, given = made
    out = sweep.train(profile, "focused", "default@0.25", 5)
    assert given[1][1].lr == 0.25 and len(given) == 2 and [path.name for path in out.iterdir()] == ["manifest.json"]


def test_what_a_method_and_a_person_set_is_held_against_its_objective(made):
    """Inherited parameters without effect are dropped and named; one that somebody set is refused."""
    profile, where, given = made
    profile["sweep"]["methods"]["bce"] = {"objective": "bce"}
    out = sweep.train(profile, "bce", "default", 5)
    _, dropped = plan.training_config(plan.settings(profile, "bce", 5))
    assert json.loads((out / "manifest.json").read_text())["dropped"] == dropped and "gamma" in dropped
    profile["sweep"]["methods"]["odd"] = {"objective": "bce", "gamma": 2.0}
    with pytest.raises(ValueError, match="objective bce does not use gamma"):
        sweep.train(profile, "odd", "default", 5)
    with pytest.raises(ValueError, match="objective bce does not use alpha"):
        sweep.train(profile | {"given": ["alpha"]}, "bce", "default", 5)


def test_the_commands_do_their_own_work(as_command, monkeypatch, capsys, tmp_path):
    write_json(tmp_path / "manifest.json", sealed({"missing": ["bce/default-1", "bce/random-0"], "files": {}}))
    profile, asked = run.load_profile("smoke"), []
    monkeypatch.setattr(run, "load_profile", lambda *given: asked.append(given) or profile)
    monkeypatch.setattr(tables, "collect", lambda given: tmp_path if given is profile else None)
    assert as_command("cmdml.study.sweep", "collect", "smoke", '{"gamma": 3}') is None
    assert asked == [("smoke", {"gamma": 3})]
    first, last = capsys.readouterr().out.splitlines()
    assert first == f"2 of {len(plan.plan(profile))} runs are missing: bce/default-1, bce/random-0"
    assert last.startswith(f"{tmp_path} done, ")
    write_json(tmp_path / "manifest.json", sealed({"missing": [], "files": {}}))
    as_command("cmdml.study.sweep", "collect", "smoke")
    assert asked[1] == ("smoke", {}) and "missing" not in capsys.readouterr().out

    def settings(*given):
        raise ValueError(f"asked for {given[1:]}")

    monkeypatch.setattr(plan, "settings", settings)
    sentence = as_command("cmdml.study.sweep", "run", "smoke", "bce", "random", "3", '{"gamma": 3}')
    assert sentence == "sweep stopped. asked for ('bce', 3, 'random')" and asked[2] == ("smoke", {"gamma": 3})
    assert as_command("cmdml.study.sweep", "runn", "smoke") == (
        "sweep stopped. unknown task 'runn': did you mean 'run'?")  # fmt: skip
    assert "cmdml.study.sweep" not in sys.argv[1:]
