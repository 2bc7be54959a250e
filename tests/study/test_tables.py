"""A sweep's tables, of runs whose scores are made by hand: every number against the scores it was made of."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import make_tiny

from cmdml.evaluation.calibration import calibrated_stacking
from cmdml.evaluation.controls import nearest_seen, random_scores, source_only
from cmdml.evaluation.metrics import evaluate
from cmdml.evaluation.testset import TestSet
from cmdml.files import seal, sealed, write_json
from cmdml.findings import KEYS, findings_of, split_findings
from cmdml.run_folder import FORMAT
from cmdml.semantics import semantic_vectors
from cmdml.study import plan, run, tables
from cmdml.study.tables import UNTRAINED, _pairs, collect, interval

METHODS = {"focused": {}, "signs": {"semantics": "signs"}, "bce": {"objective": "bce", "lr": 0.003},
           "ranking": {"objective": "ranking"}, "later": {"gamma": 1.0}}  # fmt: skip
RUNS = [("focused", "default", 0), ("focused", "default", 1), ("signs", "default", 0), ("bce", "default", 1),
        ("bce", "default", 0), ("focused", "random", 1)]  # fmt: skip
TRIED = [("bce", "default@0.003", 1), ("bce", "default@0.01", 1)]
TUNING = {"seed": 1, "lr": [0.003, 0.01], "methods": ["bce"]}


def a_score(one, rows):
    """Scores of a run: noise of its own."""
    return np.random.default_rng(sum(map(ord, str(one)))).normal(size=(rows, len(KEYS)))


def finish(profile, one, **about):
    """A run as a training would leave it: scores of the test films, and what its manifest says."""
    test, place = TestSet(plan.radiographs_of(profile)), plan.folder(profile, *one)
    (place / "training").mkdir(parents=True)
    index = np.concatenate([test.rows[::-1], [0]])
    scores = np.concatenate([a_score(one, len(test.rows))[::-1], np.zeros((1, len(KEYS)))])
    np.savez(place / "training/embeddings.npz", index=index, scores=scores)
    seal(place / "training", ["embeddings.npz"], FORMAT)
    method, split, seed = one
    content = {"method": method, "parameters": plan.settings(profile, method, seed, split), "seed": seed,
               "data_sha256": test.radiographs.card["sha256"], "wall_seconds": 10.0 + seed, "commit": f"c{seed}",
               "dirty": False, "val_seen_auroc": round(0.5 + sum(map(ord, str(one))) % 89 / 200, 4)}  # fmt: skip
    write_json(place / "manifest.json", sealed(content | about))
    return content


def profile_in(folder, **parameters):
    profile = run.load_profile("smoke", {"epochs": 1, **parameters})
    profile["parameters"] |= {"run_dir": str(folder), "nih_root": "/home/someone"}
    sweep = {"seeds": [0, 1], "splits": ["default", "random"], "methods": METHODS, "tuning": TUNING}
    return profile | {"sweep": sweep}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    make_tiny(folder / "radiographs", n=160, size=8)
    profile = profile_in(folder)
    return profile, {one: finish(profile, one) for one in RUNS + TRIED}


def read(out):
    return SimpleNamespace(**{file.stem: pd.read_csv(file) for file in out.glob("*.csv")},
                           about=json.loads((out / "manifest.json").read_text()))  # fmt: skip


@pytest.fixture(scope="module")
def made(ran, tmp_path_factory):
    return read(collect(ran[0], tmp_path_factory.mktemp("out"), replicates=20))


@pytest.fixture(scope="module")
def test_films(ran):
    return TestSet(plan.radiographs_of(ran[0]))


def findings_in(split, seed):
    return split_findings(KEYS, split, seed=seed)


def value_of(test, scores, findings, protocol, metric):
    found = evaluate(test.labels, scores, test.patients, findings, replicates=0).summary
    return found[(found.protocol == protocol) & (found.metric == metric)].value.item()


def test_a_method_is_the_mean_of_its_runs_with_lowest_highest_and_number(made, test_films):
    asked = (("focused", "default", (0, 1)), ("bce", "default", (0, 1)), ("focused", "random", (1,)))
    for method, split, seeds in asked:
        for protocol, metric in (("abnormal", "auroc_H"), ("all", "auroc_U"), ("abnormal", "f1@3")):
            values = [value_of(test_films, a_score((method, split, seed), len(test_films.rows)),
                               findings_in(split, seed), protocol, metric) for seed in seeds]  # fmt: skip
            rows = made.methods.query("method == @method and split == @split and protocol == @protocol")
            row = rows[rows.metric == metric]
            assert len(row) == 1 and row.seeds.item() == len(seeds)
            found = row[["value", "min", "max"]].to_numpy()[0]
            assert found == pytest.approx([np.mean(values), min(values), max(values)], rel=1e-4), (method, metric)
            assert row.low.item() < row.value.item() < row.high.item()
    assert made.methods[made.methods.metric.isin(["ausuc", "accuracy_U", "val_seen_auroc"])].low.isna().all()


def test_runs_carry_their_seed_and_the_validation_s_word(made, ran, test_films):
    rows = made.metrics[made.metrics.metric == "val_seen_auroc"]
    assert set(rows.protocol) == {"validation"}
    found = {(r.method, r.split, r.seed): r.value for r in rows.itertuples()}
    assert found == {one: ran[1][one]["val_seen_auroc"] for one in RUNS}
    one = made.runs.query("method == 'signs' and split == 'default' and seed == 0 and protocol == 'all'")
    naive = evaluate(test_films.labels, a_score(("signs", "default", 0), len(test_films.rows)), test_films.patients,
                     findings_in("default", 0), replicates=0).per_finding.query("protocol == 'all'")  # fmt: skip
    assert one.auroc.to_numpy() == pytest.approx(naive.auroc.to_numpy(), rel=1e-4)
    unseen = made.runs.query("method == 'focused' and split == 'random' and not seen").finding
    assert set(unseen) == set(findings_in("random", 1).unseen) != set(findings_in("default", 1).unseen)


def test_pairs_are_of_the_seeds_that_both_have(made, test_films):
    for method, reference, seeds in (("focused", "bce", (0, 1)), ("focused", "signs", (0,))):
        rows = made.paired.query("method == @method and reference == @reference and protocol == 'abnormal'")
        row = rows[(rows.metric == "auroc_U") & (rows.split == "default")].iloc[0]
        naive = [value_of(test_films, a_score((method, "default", s), len(test_films.rows)), findings_in("default", s),
                          "abnormal", "auroc_U")
                 - value_of(test_films, a_score((reference, "default", s), len(test_films.rows)),
                            findings_in("default", s), "abnormal", "auroc_U") for s in seeds]  # fmt: skip
        assert row.difference == pytest.approx(np.mean(naive), rel=1e-3, abs=1e-6) and row.seeds == len(seeds)
        assert row.low <= row.difference <= row.high
    assert not len(made.paired.query("split == 'random' and reference == 'bce'"))


def test_untrained_scorers_stand_on_the_runs(made, test_films):
    vectors, n = semantic_vectors(findings_of(KEYS), "description"), len(test_films.rows)
    findings, own = findings_in("default", 0), a_score(("focused", "default", 0), n)
    scores = {"focused_centred": own - own.mean(1)[:, None], "random": random_scores((n, len(KEYS)), 0),
              "nearest_seen": nearest_seen(a_score(("bce", "default", 0), n), vectors, findings)}  # fmt: skip
    rows = made.metrics.query("split == 'default' and seed == 0 and protocol == 'all' and metric == 'auroc_U'")
    for method, made_by_hand in scores.items():
        value = rows[rows.method == method].value.item()
        assert value == pytest.approx(value_of(test_films, made_by_hand, findings, "all", "auroc_U"), rel=1e-4)
    assert "nearest_seen" not in set(made.metrics[made.metrics.split == "random"].method)
    assert not {"source_only", "source_only_informed"} & set(made.metrics.method)  # the films name no source


def test_stacking_is_the_mean_curve_at_41_steps(made, test_films):
    part = made.stacking.query("method == 'focused' and split == 'default'")
    assert part.seen.to_numpy() == pytest.approx(np.arange(41) / 40)
    curves = []
    for seed in (0, 1):
        scores = a_score(("focused", "default", seed), len(test_films.rows))
        curve = calibrated_stacking(test_films.labels, scores, findings_in("default", seed))
        seen, unseen = curve.seen[::-1], curve.unseen[::-1]  # seen accuracy ascending
        for x in part.seen:
            if x > seen[-1]:
                curves.append(0.0)
            else:
                curves.append(np.interp(x, seen, unseen))
    assert part.unseen.to_numpy() == pytest.approx(np.reshape(curves, (2, 41)).mean(0), rel=1e-3, abs=1e-5)
    assert part.unseen.iloc[-1] == 0


def test_tuning_says_which_rate_is_used(made, ran):
    found = [tuple(row) for row in made.tuning[["method", "lr", "seed", "val_seen_auroc", "used"]].to_numpy()]
    expected = [("bce", 0.003, 1, ran[1][TRIED[0]]["val_seen_auroc"], True),
                ("bce", 0.01, 1, ran[1][TRIED[1]]["val_seen_auroc"], False)]  # fmt: skip
    assert found == expected


def test_rows_stand_in_the_order_of_the_profile(made):
    order = [method for method in [*METHODS, *UNTRAINED] if method in set(made.methods.method)]
    for table in (made.methods, made.runs, made.metrics, made.stacking):
        assert list(dict.fromkeys(table.method)) == order
    of_focused = made.paired[made.paired.method == "focused"].reference
    assert list(dict.fromkeys(of_focused)) == [method for method in order if method != "focused"]


def test_the_manifest_counts_what_is_there_and_names_what_is_not(made, test_films):
    about = made.about
    planned = plan.plan(profile_in("x"))
    assert about["runs"] == len(RUNS) + len(TRIED)
    assert about["missing"] == [f"{m}/{s}-{n}" for m, s, n in planned if (m, s, n) not in RUNS + TRIED]
    assert about["run_commits"] == ["c0", "c1"] and about["run_dirty"] is False
    assert about["seconds_per_run"] == round(np.mean([10.0 + seed for _, _, seed in RUNS + TRIED]), 1)
    assert about["images_test"] == len(test_films.rows)
    assert about["images_test_abnormal"] == sum(row.any() for row in test_films.labels) < len(test_films.rows)
    assert "nih_root" not in about["parameters"] and about["parameters"]["epochs"] == 1
    assert about["replicates"] == 20 and about["name"] == "tiny" and about["methods"] == METHODS


def test_a_method_alone_has_no_pairs_and_its_tables_are_read_again(ran, tmp_path):
    profile = copied(ran, tmp_path, [("signs", "default", 0)])
    for _ in range(2):
        after = read(collect(profile, tmp_path / "out", replicates=5))
        assert not len(after.paired) and list(after.paired) == [
            "method", "reference", "split", "protocol", "metric", "difference", "low", "high", "seeds"]  # fmt: skip
        assert set(after.methods.method) == {"signs"}


def copied(ran, folder, runs, **parameters):
    """The same films in another folder, with some of the runs."""
    shutil.copytree(plan.radiographs_of(ran[0]), folder / "radiographs", dirs_exist_ok=True)
    profile = profile_in(folder, **parameters)
    for one in runs:
        finish(profile, one)
    return profile


def test_tables_grow_and_give_no_row_away(ran, made, tmp_path, capsys):
    out = tmp_path / "out"
    collect(copied(ran, tmp_path / "a", [one for one in RUNS if one[0] == "focused"]), out, replicates=20)
    assert set(read(out).methods.method) == {"focused", "focused_centred", "random"} and not len(read(out).tuning)
    both = [one for one in RUNS if one[0] in ("focused", "bce")] + TRIED
    collect(copied(ran, tmp_path / "b", both), out, replicates=20)
    collect(copied(ran, tmp_path / "c", [one for one in RUNS if one[0] in ("focused", "signs")]), out, replicates=20)
    grown = read(out)
    for name in ("methods", "runs", "metrics", "stacking", "tuning"):
        pd.testing.assert_frame_equal(getattr(grown, name), getattr(made, name))
    assert grown.about["runs"] == made.about["runs"] and grown.about["missing"] == made.about["missing"]
    capsys.readouterr()
    manifest = (out / "manifest.json").read_bytes()
    collect(copied(ran, tmp_path / "d", [("focused", "default", 0)]), out, replicates=20)  # one seed, there are two
    assert f"fewer runs than in {out}, so the rows there stay: focused/default" in capsys.readouterr().out
    pd.testing.assert_frame_equal(read(out).methods, grown.methods)
    assert (out / "manifest.json").read_bytes() == manifest  # there was nothing to write


def test_a_run_that_was_made_again_replaces_its_rows(ran, tmp_path):
    for name, reached in (("a", 0.25), ("b", 0.75)):
        profile = copied(ran, tmp_path / name, [])
        finish(profile, ("focused", "default", 0), val_seen_auroc=reached)
        after = read(collect(profile, tmp_path / "out", replicates=5))
        assert after.metrics[after.metrics.metric == "val_seen_auroc"].value.tolist() == [reached]


def test_what_would_be_trained_otherwise_is_not_kept(ran, tmp_path, capsys):
    out = tmp_path / "out"
    collect(copied(ran, tmp_path / "a", RUNS + TRIED), out, replicates=5)
    other = copied(ran, tmp_path / "b", [("focused", "default", 0), ("focused", "default", 1)])
    other["sweep"] = other["sweep"] | {"methods": METHODS | {"bce": {"objective": "bce", "lr": 0.01}}}
    collect(other, out, replicates=5)
    said, after = capsys.readouterr().out, read(out)
    assert "runs.csv: trained otherwise, or on other radiographs, so not kept: bce, nearest_seen\n" in said
    assert set(after.methods.method) == {"focused", "focused_centred", "signs", "random"}
    assert not {"bce", "nearest_seen"} & {*after.paired.method, *after.paired.reference}
    assert after.tuning.used.tolist() == [False, True]  # the rate is what was tried, so tuning stays


@pytest.mark.parametrize("change", ["parameters", "films", "unseen"])
def test_nothing_is_kept_of_another_study(ran, tmp_path, change):
    out = tmp_path / "out"
    collect(copied(ran, tmp_path / "a", RUNS), out, replicates=5)
    given = {"parameters": {"dim": 8}, "unseen": {"unseen": "Mass,Nodule"}, "films": {}}[change]
    if change == "films":
        about = read(out).about | {"data_sha256": "other", "run_commits": ["of others"]}
        write_json(out / "manifest.json", sealed(about))
    runs = [("signs", "default", 0)]
    collect(copied(ran, tmp_path / "b", runs, **given), out, replicates=5)
    after = read(out)
    assert set(after.methods[after.methods.split == "default"].method) == {"signs"}
    # a random split does not ask whom the profile counts as unseen
    assert ("focused" in set(after.methods[after.methods.split == "random"].method)) == (change == "unseen")
    assert "of others" not in after.about["run_commits"]


def test_runs_on_other_films_or_no_runs_are_refused(ran, tmp_path):
    profile = copied(ran, tmp_path, [])
    with pytest.raises(FileNotFoundError) as caught:
        collect(profile, tmp_path / "out")
    assert str(caught.value) == f"no run in {tmp_path}/sweep: make sweep PROFILE=smoke"
    finish(profile, RUNS[0], data_sha256="other")
    with pytest.raises(ValueError, match=rf"sweep/focused/default-0 was trained on other radiographs than {tmp_path}/"):
        collect(profile, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tuning_alone_makes_a_table(ran, tmp_path):
    out = collect(copied(ran, tmp_path, TRIED[:1]), replicates=5)
    assert out == tmp_path / "results" and sorted(p.name for p in out.iterdir()) == ["manifest.json", "tuning.csv"]
    assert read(out).about["runs"] == 1


def test_sources_are_told_to_source_only_alone(test_films):
    table = test_films.radiographs.table.assign(source_repo="a", source_pixels=1)
    films = SimpleNamespace(table=table, findings=KEYS, labels=test_films.radiographs.labels)
    test, own = SimpleNamespace(radiographs=films, rows=test_films.rows, labels=test_films.labels), {}
    own["focused"] = a_score(("focused", "default", 0), len(test.rows))
    assert "source_only" not in tables._untrained(test, findings_in("default", 0), own, 0)
    assert tables._untrained(test, findings_in("default", 0), {}, 0) == {}
    films.table = table.assign(source_repo=np.where(np.arange(len(table)) % 3, "a", "b"))
    found = tables._untrained(test, findings_in("default", 0), own, 0)
    assert list(found) == ["focused_centred", "source_only", "source_only_informed", "random"]
    vectors, findings = semantic_vectors(findings_of(KEYS), "description"), findings_in("default", 0)
    train = np.flatnonzero(table.split == "train")
    for name, rows in (("source_only", [i for i in train if not films.labels[i, findings.unseen_mask].any()]),
                       ("source_only_informed", train)):  # fmt: skip
        told = source_only(films.table, list(KEYS), np.array(rows), test.rows, ["source_repo", "source_pixels"])
        if name == "source_only":
            told = nearest_seen(told, vectors, findings)
        np.testing.assert_array_equal(found[name], told)


def test_scorers_that_train_nothing_read_words_as_the_profile_says(ran, tmp_path, monkeypatch):
    asked = []

    def read_by(findings, kind, *, model):
        asked.append((kind, model))
        return semantic_vectors(findings, kind)

    monkeypatch.setattr(tables, "semantic_vectors", read_by)
    runs = [one for one in RUNS if one[0] in ("focused", "bce")]
    collect(copied(ran, tmp_path / "a", runs), tmp_path / "out", replicates=5)
    collect(copied(ran, tmp_path / "b", runs, semantic_model="another"), tmp_path / "other", replicates=5)
    assert set(asked) == {("description", "all-MiniLM-L6-v2"), ("description", "another")}


def test_an_interval_is_that_of_drawn_runs_and_their_draws_of_patients():
    values = np.random.default_rng(3).normal(size=(4, 51))
    drawn, means = np.random.default_rng(0).integers(4, size=(4, 50)), []
    for r in range(50):
        means.append(sum(values[drawn[i, r], 1 + r] for i in range(4)) / 4)
    low, high = np.quantile(means, [0.025, 0.975])
    assert interval(values) == pytest.approx((values[:, 0].mean(), low, high))
    assert interval(values, seed=1)[1:] != interval(values)[1:]


def test_pairs_have_the_studys_own_first():
    assert _pairs(["bce", "focused", "signs", "ranking", "euclidean"]) == [
        ("focused", "bce"), ("focused", "signs"), ("focused", "ranking"), ("focused", "euclidean"),
        ("signs", "bce"), ("signs", "ranking"), ("signs", "euclidean"),
        ("bce", "ranking"), ("euclidean", "ranking"), ("bce", "euclidean"), ("ranking", "euclidean"),
    ]  # fmt: skip
    assert _pairs(["bce", "ale"]) == [] and _pairs(["signs"]) == []


def test_a_run_of_changed_code_is_told_and_remembered(ran, tmp_path):
    """Dirty or not and by which commits: of the runs that are gathered, and of those whose rows stay."""
    out, profile = tmp_path / "out", copied(ran, tmp_path / "a", [])
    finish(profile, ("signs", "default", 0), dirty=True, commit="of before")
    for one in RUNS[:2]:
        finish(profile, one)
    about = read(collect(profile, out, replicates=5)).about
    assert about["run_dirty"] is True and about["run_commits"] == ["c0", "c1", "of before"]
    about = read(collect(copied(ran, tmp_path / "b", RUNS[:2]), out, replicates=5)).about
    assert about["run_dirty"] is True and about["run_commits"] == ["c0", "c1", "of before"]
    assert about["seconds_per_run"] == 10.5  # of the runs that are there


def test_guesses_are_drawn_with_the_run_s_seed(made, test_films):
    rows = made.metrics.query("method == 'random' and protocol == 'all' and metric == 'auroc_U' and split == 'default'")
    for seed in (0, 1):
        scores = random_scores((len(test_films.rows), len(KEYS)), seed)
        wanted = value_of(test_films, scores, findings_in("default", seed), "all", "auroc_U")
        assert rows[rows.seed == seed].value.item() == pytest.approx(wanted, rel=1e-4)


def test_folders_of_the_machine_are_no_parameters(ran, tmp_path):
    profile = copied(ran, tmp_path, RUNS[:1])
    profile["parameters"]["npz"] = "/home/someone/films.npz"
    assert not {"npz", "nih_root"} & set(read(collect(profile, tmp_path / "out", replicates=5)).about["parameters"])
