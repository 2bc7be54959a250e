"""Sweeps: what a run may look at, and that the tables say what the runs say."""

import hashlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import make_tiny

from cmdml import store
from cmdml.evaluation.metrics import evaluate, paired_difference
from cmdml.evaluation.testset import TestSet
from cmdml.files import sealed, write_json
from cmdml.findings import DEFAULT_UNSEEN, KEYS, split_findings
from cmdml.study import plan, run, sweep
from cmdml.study.tables import _pairs, collect, interval

METHODS = {"focused": {}, "twin": {}, "bce": {"objective": "bce"}, "supervised": {"unseen": "none", "only": "default"}}
TUNING = {"seed": 1, "lr": [0.001, 0.003], "methods": ["focused", "bce"]}
TRIED = [(method, f"default@{rate}", 1) for method in TUNING["methods"] for rate in TUNING["lr"]]
RUNS = [("focused", 0), ("focused", 1), ("twin", 0), ("twin", 1), ("bce", 0)]


def profile_in(folder, **changed):
    profile = run.load_profile("smoke", {"epochs": 1, "dim": 16, "hidden": 16, **changed})
    profile["parameters"]["run_dir"] = str(folder)
    return profile | {"sweep": {"seeds": [0, 1], "splits": ["default"], "methods": METHODS}}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Five tiny runs; three that the plan has are missing."""
    folder = tmp_path_factory.mktemp("sweep")
    make_tiny(folder / "radiographs", n=240)
    profile = profile_in(folder)
    for method, seed in RUNS:
        if method != "twin":
            sweep.train(profile, method, "default", seed)
    shutil.copytree(folder / "sweep/focused", folder / "sweep/twin")
    return profile


@pytest.fixture(scope="module")
def tables(ran, tmp_path_factory):
    out = collect(ran, tmp_path_factory.mktemp("results"), replicates=60)
    return {file.stem: pd.read_csv(file) for file in out.glob("*.csv")}, json.loads((out / "manifest.json").read_text())


def scores_of(profile, method, seed):
    test = TestSet(plan.radiographs_of(profile))
    findings = split_findings(KEYS, "default")
    return test.labels, test.scores(plan.folder(profile, method, "default", seed) / "training"), test.patients, findings


def test_plan_lists_every_run_and_names_what_it_does_not_know(tmp_path):
    profile = profile_in(tmp_path)
    profile["sweep"]["splits"] = ["default", "random"]
    assert len(plan.plan(profile)) == 3 * 2 * 2 + 2  # supervised on one split only
    assert plan.plan(profile | {"sweep": profile["sweep"] | {"tuning": TUNING}})[-4:] == TRIED
    assert plan.plan(profile, ["supervised"]) == [("supervised", "default", 0), ("supervised", "default", 1)]
    with pytest.raises(ValueError, match="unknown method 'focussed': did you mean 'focused'"):
        plan.plan(profile, ["focussed"])
    with pytest.raises(ValueError, match="unknown method 'bec': did you mean 'bce'"):
        sweep.train(profile, "bec", "default", 0)
    profile["sweep"]["splits"] = ["randon"]
    with pytest.raises(ValueError, match="unknown split 'randon': did you mean 'random'"):
        plan.plan(profile)


@pytest.mark.parametrize("name", ["phantom", "nih", "smoke"])
def test_sweeps_of_the_profiles(name):
    from dataclasses import fields

    from cmdml.config import TrainConfig
    from cmdml.objectives import OBJECTIVES

    profile = run.load_profile(name)
    planned = plan.plan(profile)
    assert len(planned) == len(set(planned)) and {"focused", "euclidean", "ranking"} <= {one[0] for one in planned}
    names = {field.name for field in fields(TrainConfig)}
    for method in profile["sweep"]["methods"]:
        values = plan.settings(profile, method, 3)
        assert values["objective"] in OBJECTIVES and values["seed"] == 3 and names <= values.keys()
        # one budget for all: only the objective, what it needs, what is asked and a tuned learning rate may differ
        free = {"objective", "gamma", "alpha", "tau", "margin", "direction", "hidden", "normalize", "dim"}
        free |= {"semantics", "keep_no_finding", "unseen", "lr"}
        free |= set() if values["keep_no_finding"] else {"epochs"}
        ours = plan.settings(profile, "focused", 3)
        assert {k: v for k, v in values.items() if k not in free} == {k: v for k, v in ours.items() if k not in free}


def test_a_misspelt_parameter_of_a_method_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("parameters: {gamma: 1}\nsweep: {methods: {odd: {gama: 2}}}")
    with pytest.raises(ValueError, match="profile mine.yaml, line 2: unknown parameter 'gama': did you mean 'gamma'"):
        run.load_profile(path)
    path.write_text("sweep: {methods: {odd: {gamma: 2, only: random}}}")
    assert run.load_profile(path)["sweep"]["methods"]["odd"] == {"gamma": 2.0, "only": "random"}


def test_unseen_labels_are_never_used(ran, tmp_path):
    """Every label of an unseen finding outside of the training images is turned over: the same model comes out."""
    folder, before = tmp_path / "radiographs", plan.folder(ran, "bce", "default", 0) / "training"
    shutil.copytree(run.resolve(ran["parameters"]["run_dir"]) / "radiographs", folder)
    table = pd.read_csv(folder / "table.csv", dtype=str, keep_default_na=False)
    other = table["split"] != "train"
    for key in DEFAULT_UNSEEN:
        table.loc[other, key] = (1 - table.loc[other, key].astype(int)).astype(str)
    table.to_csv(folder / "table.csv", index=False, lineterminator="\n")
    card = json.loads((folder / "card.json").read_text())  # must vouch for the turned labels, or they are refused
    shape = (len(table), card["size"], card["size"])
    card["table_sha256"] = hashlib.sha256((folder / "table.csv").read_bytes()).hexdigest()
    card["sha256"] = store.content_sha256(folder, shape)
    (folder / "card.json").write_text(json.dumps(card | {"seal": store.seal(card)}))
    after = sweep.train(profile_in(tmp_path), "bce", "default", 0) / "training"
    with np.load(before / "embeddings.npz") as old, np.load(after / "embeddings.npz") as new:
        np.testing.assert_array_equal(old["scores"], new["scores"])
    pd.testing.assert_frame_equal(*(pd.read_csv(f / "history.csv").drop(columns="seconds") for f in (before, after)))


def test_a_run_writes_what_the_evaluation_says(ran):
    labels, scores, patients, findings = scores_of(ran, "focused", 1)
    result = evaluate(labels, scores, patients, findings, replicates=0)
    folder = plan.folder(ran, "focused", "default", 1)
    table, summary = pd.read_csv(folder / "run.csv"), pd.read_csv(folder / "summary.csv")
    np.testing.assert_allclose(table.auroc, result.per_finding.auroc, rtol=1e-5)
    assert list(table.columns[:4]) == ["profile", "method", "split", "seed"] and set(table.seed) == {1}
    assert not set(table.finding[table.seen]) & set(DEFAULT_UNSEEN) and len(table) == 28
    values = summary[summary.protocol == "abnormal"].set_index("metric").value
    assert values["auroc_H"] == pytest.approx(2 * values.auroc_S * values.auroc_U / (values.auroc_S + values.auroc_U))
    assert {"f1@2", "f1@3", "ap_U", "ausuc", "own_text"} <= set(values.index)
    about = json.loads((folder / "manifest.json").read_text())
    assert about["method"] == "focused" and about["data_sha256"] and about["parameters"]["epochs"] == 1


def test_a_finished_run_is_not_trained_again(ran):
    weights = plan.folder(ran, "bce", "default", 0) / "training/weights.safetensors"
    before = weights.stat().st_mtime_ns
    sweep.train(ran, "bce", "default", 0)
    assert weights.stat().st_mtime_ns == before


def test_collect_is_the_mean_of_the_runs_and_names_the_missing(ran, tables):
    tables, about = tables
    assert about["runs"] == len(RUNS)
    assert about["missing"] == ["bce/default-1", "supervised/default-0", "supervised/default-1"]
    runs = [evaluate(*scores_of(ran, "focused", seed), replicates=0).summary for seed in (0, 1)]
    for protocol, metric in (("abnormal", "auroc_H"), ("all", "auroc_U"), ("abnormal", "f1@3")):
        naive = np.mean([r[(r.protocol == protocol) & (r.metric == metric)].value.item() for r in runs])
        row = tables["methods"].query("method == 'focused' and protocol == @protocol and metric == @metric").iloc[0]
        assert row.value == pytest.approx(naive, rel=1e-4) and row.seeds == 2
        assert row.low <= row.value <= row.high and row.low < row.high
    assert len(tables["runs"]) == 28 * (len(RUNS) + 2 + 2 + 1)  # random, centred; nearest_seen where bce is
    assert set(tables["methods"].method) == {"focused", "focused_centred", "twin", "bce", "nearest_seen", "random"}
    seen = tables["methods"].query("metric == 'auroc_S' and protocol == 'all'").set_index("method").value
    assert seen["nearest_seen"] == seen["bce"]


def test_collect_repeats_itself_and_replaces_what_it_collected_before(ran, tables, tmp_path):
    collect(ran, tmp_path, replicates=20)  # other intervals
    again = collect(ran, tmp_path, replicates=60)
    for name, table in tables[0].items():
        pd.testing.assert_frame_equal(table, pd.read_csv(again / f"{name}.csv"))


def test_tables_grow_by_a_method_at_a_time(ran, tables, tmp_path, capsys):
    """One collection of all runs, or several of some: the same rows. What would be trained otherwise is not kept."""

    def with_methods(*methods, **changed):
        own = {method: METHODS[method] | changed.get(method, {}) for method in METHODS}
        run_dir, files = tmp_path / "-".join(methods), run.resolve(ran["parameters"]["run_dir"])
        for part in ("radiographs", *(f"sweep/{method}" for method in methods)):
            shutil.copytree(files / part, run_dir / part, dirs_exist_ok=True)
        profile = profile_in(run_dir)
        return profile | {"sweep": profile["sweep"] | {"methods": own}}

    out = tmp_path / "out"
    collect(with_methods("focused"), out, replicates=60)
    collect(with_methods("focused", "twin"), out, replicates=60)
    collect(with_methods("focused", "bce"), out, replicates=60)
    about = json.loads((out / "manifest.json").read_text())
    assert about["runs"] == len(RUNS) and about["missing"] == tables[1]["missing"]
    for name, table in tables[0].items():
        grown = pd.read_csv(out / f"{name}.csv")
        if name == "paired":  # twin and bce never met: neither is a reference
            table = table[table.method == "focused"]
        by = [column for column in table.columns if column not in ("value", "unseen")]
        pd.testing.assert_frame_equal(*(t.sort_values(by, ignore_index=True) for t in (table, grown)))

    # fewer seeds than are there give no row away
    fewer = with_methods("twin")
    shutil.rmtree(plan.folder(fewer, "twin", "default", 1))
    before = (out / "methods.csv").read_text()
    collect(fewer, out, replicates=60)
    assert "the rows there stay: twin/default" in capsys.readouterr().out
    assert (out / "methods.csv").read_text() == before
    collect(with_methods("focused", twin={"gamma": 1.0}), out, replicates=60)
    assert "trained otherwise, or on other radiographs, so not kept: twin" in capsys.readouterr().out
    assert set(pd.read_csv(out / "runs.csv").method) == {"focused", "focused_centred", "bce", "nearest_seen", "random"}

    # nothing is kept of other radiographs, and their commits are not named either
    about = json.loads((out / "manifest.json").read_text())
    about |= {"data_sha256": "other", "run_commits": ["of other radiographs"]}
    write_json(out / "manifest.json", sealed(about))
    collect(with_methods("focused"), out, replicates=60)
    assert "bce" not in set(pd.read_csv(out / "runs.csv").method)
    assert "of other radiographs" not in json.loads((out / "manifest.json").read_text())["run_commits"]


def test_each_pair_has_the_study_s_own_first():
    pairs = _pairs(["focused", "ranking", "signs", "ranking_signs"])
    assert len(pairs) == len(set(pairs))
    assert {("focused", "signs"), ("signs", "ranking_signs"), ("ranking_signs", "ranking")} <= set(pairs)
    assert not [pair for pair in pairs if pair[1] == "focused" or pair == ("ranking", "signs")]


def test_paired_differences(ran, tables):
    paired = tables[0]["paired"]
    twin = paired.query("method == 'focused' and reference == 'twin'")
    assert len(twin) and (twin[["difference", "low", "high"]] == 0).all().all()
    row = paired.query("reference == 'bce' and metric == 'auroc_H' and protocol == 'abnormal'").iloc[0]
    # One seed in common: the patient bootstrap of evaluation, with its own draws.
    labels, own, patients, findings = scores_of(ran, "focused", 0)
    other = scores_of(ran, "bce", 0)[1]
    naive = paired_difference(labels, own, other, patients, findings, replicates=60, seed=0)
    naive = naive.query("protocol == 'abnormal' and metric == 'auroc_H'").iloc[0]
    assert row.seeds == 1
    np.testing.assert_allclose(
        row[["difference", "low", "high"]].astype(float), naive[["difference", "low", "high"]].astype(float), rtol=1e-4
    )


def test_stacking_ends_where_the_curve_does(ran, tables):
    part = tables[0]["stacking"].query("method == 'focused'")
    assert part.seen.iloc[[0, -1]].tolist() == [0, 1] and (part.unseen.diff().dropna() <= 1e-9).all()


def test_collect_without_a_run_says_how_to_make_one(ran, tmp_path):
    shutil.copytree(run.resolve(ran["parameters"]["run_dir"]) / "radiographs", tmp_path / "radiographs")
    with pytest.raises(FileNotFoundError, match="make sweep PROFILE=smoke"):
        collect(profile_in(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_interval_counts_runs_and_patients():
    generator = np.random.default_rng(0)
    patients = generator.normal(0, 0.1, 4001)  # what patients add, the same in every run
    patients[0] = 0
    alike = np.tile(patients, (5, 1))
    assert interval(alike)[0] == 0
    assert np.subtract(*interval(alike)[:0:-1]) == pytest.approx(2 * 1.96 * 0.1, rel=0.1)
    runs = np.array([-0.4, -0.2, 0.0, 0.2, 0.4])[:, None]
    both = interval(alike + runs)
    sd = np.sqrt(0.1**2 + runs.var() / 5)  # two independent parts
    assert both[0] == pytest.approx(0) and both[2] - both[1] == pytest.approx(2 * 1.96 * sd, rel=0.1)
    assert interval(np.zeros((3, 51))) == (0, 0, 0)


@pytest.mark.parametrize("name", ["phantom", "nih"])
def test_every_tuned_method_uses_the_learning_rate_that_seen_validation_labels_chose(name):
    profile, file = run.load_profile(name), run.ROOT / f"data/results/sweep-{name}/tuning.csv"
    table, rates = pd.read_csv(file), profile["sweep"]["tuning"]["lr"]
    assert set(table.method) == set(profile["sweep"]["tuning"]["methods"])
    for method, tried in table.groupby("method"):
        assert sorted(tried.lr) == sorted(rates)  # the same for all
        best = tried.lr[tried.val_seen_auroc.idxmax()]
        # what trains with the same objective inherits its rate
        for other in profile["sweep"]["methods"]:
            values = plan.settings(profile, other, 0)
            if values["objective"] == plan.settings(profile, method, 0)["objective"]:
                assert values["lr"] == best, other
        assert tried.used.tolist() == (tried.lr == best).tolist()
