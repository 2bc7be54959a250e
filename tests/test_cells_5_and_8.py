"""Cells of chapters 5 and 8 on data small enough to count by hand: what they select, compute, pass on and write."""

import json
import re
from functools import partial
from types import SimpleNamespace
from unittest.mock import Mock, call

import numpy as np
import pandas as pd
import pytest
from cells import CLOCK, NOW, cell, drawing, numbers, titles

from cmdml.findings import SeenUnseen
from cmdml.study import run, traps

FINDINGS = SeenUnseen(("Mass", "Hernia", "Edema"), ("Hernia",))
LABELS = np.array([[1, 0, 0], [0, 0, 0], [0, 1, 1], [0, 0, 1], [1, 1, 0]])
five, eight = partial(cell, "05_embeddings"), partial(cell, "08_traps")


# 5. The joint space


def test_distances_are_those_of_the_test_films_to_the_anchors(tmp_path):
    claim = {"data_sha256": "these", "findings": list(FINDINGS.keys), "unseen": ["Hernia"]}
    (tmp_path / "config.json").write_text(json.dumps(claim))
    radiographs = SimpleNamespace(card={"sha256": "these", "name": "tiny"})
    testset = Mock(return_value=SimpleNamespace(radiographs=radiographs, rows=np.arange(3), labels=LABELS[:3]))
    places = SimpleNamespace(training_of=Mock(return_value=(tmp_path, "It.")))
    embedded = Mock(return_value={"visual": np.array([[0, 0], [3, 4], [0, 1]]), "semantic": np.array([[0, 0], [6, 8]])})
    load_run = Mock()
    here = five("emb-load", TestSet=testset, places=places, load_run=load_run, embedded=embedded, run_dir="runs/else",
                training="asked")  # fmt: skip
    assert testset.mock_calls == [call(run.ROOT / "runs/else/radiographs")]
    assert places.training_of.mock_calls == [call("runs/else", "asked")] and load_run.mock_calls == [call(tmp_path)]
    assert embedded.call_args.args[0] == tmp_path and embedded.call_args.args[1].tolist() == [0, 1, 2]
    assert here["distance"] == pytest.approx(np.array([[0, 10], [5, 5], [1, np.hypot(6, 7)]]))
    assert here["findings"] == FINDINGS and here["claim"] == claim and here["name"] == "tiny"
    assert numbers(here["said"]) == ["3", "2", "2"] and here["labels"].tolist() == LABELS[:3].tolist()


@pytest.mark.parametrize("points, seed", [(3, 1), (3, 2), (100, 1)])
def test_a_seeded_sample_of_the_films_is_projected(points, seed):
    space, rows, visual = Mock(), np.arange(50), np.random.default_rng(0).normal(size=(50, 2))
    labels = np.arange(50)[:, None]
    here = five("emb-projections", space=space, seed=seed, rows=rows, points=points, labels=labels, visual=visual,
                semantic="anchors", perplexity=7.0, neighbours=4, findings=FINDINGS)  # fmt: skip
    sample = sorted(np.random.default_rng(seed).permutation(50)[:points])
    assert here["sample"].tolist() == sample and len(sample) == min(points, 50)
    ((of, findings), _), ((films, anchors), options) = space.kinds.call_args, space.projections.call_args
    assert of.ravel().tolist() == sample and findings is FINDINGS
    assert films.tolist() == visual[sample].tolist() and anchors == "anchors"
    assert options == {"perplexity": 7.0, "neighbours": 4, "seed": seed}
    assert space.three_projections.mock_calls == [
        call(space.projections.return_value, space.kinds.return_value, FINDINGS)]  # fmt: skip


@pytest.mark.parametrize("apart, so", [(0.8, True), (0.79, False)])
def test_how_ill_and_well_lie_apart_is_measured_on_the_sample(apart, so):
    space = Mock(separation=Mock(return_value=apart), company=Mock(return_value=0.375))
    visual, kind = np.arange(10.0).reshape(5, 2), np.array([0, 1, 2, 1])
    films, anchors = [[1.0, 1.0]] * 4, [[2.0, 3.0], [5.0, 6.0], [2.00001, 3.0]]  # two films share a place as well
    flat = {"PCA": np.zeros((7, 2)), "UMAP": np.array(films + anchors)}
    here = five("emb-projection-reading", space=space, visual=visual, sample=np.array([0, 2, 3, 4]), kind=kind,
                neighbours=4, flat=flat, semantic=anchors)  # fmt: skip
    assert [one.args[0].tolist() for one in space.mock_calls] == [visual[[0, 2, 3, 4]].tolist()] * 2
    assert [one.args[1] is kind for one in space.mock_calls] == [True] * 2 and space.company.call_args.args[2] == 4
    assert numbers(here["said"].replace("(0.5 is guessing)", "")) == [f"{apart:.2f}", "38%", "33%", "2", "3"]
    assert ("is the strongest" in here["said"]) == so != ("not what dominates" in here["said"])


def test_anchors_apart_are_said_to_be_so():
    space = Mock(separation=Mock(return_value=0.5), company=Mock(return_value=0.5))
    flat = {"UMAP": np.arange(8.0).reshape(4, 2)}
    said = five("emb-projection-reading", space=space, visual=np.zeros((2, 2)), sample=np.array([0, 1]), neighbours=4,
                kind=np.array([1, 2]), semantic=[1, 2], flat=flat)["said"]  # fmt: skip
    assert "No two anchors" in said


def test_distances_of_seen_and_unseen_pairs_are_drawn_apart():
    drawn, distance = drawing(), np.arange(15.0).reshape(5, 3)
    distance[4, 2] = 99
    here = five("emb-distances", figures=drawn, distance=distance, labels=LABELS, findings=FINDINGS, name="tiny")
    ill = [0, 2, 3, 4]
    for (args, options), columns, colour, ax in zip(drawn.distances.call_args_list, ([0, 2], [1]),
                                                    (drawn.SEEN, drawn.UNSEEN), here["axes"], strict=True):  # fmt: skip
        assert args[0].tolist() == distance[np.ix_(ill, columns)].tolist()
        assert args[1].tolist() == (LABELS[np.ix_(ill, columns)] == 1).tolist()
        assert args[2] is ax and options == {"colour": colour}
    assert [("tiny" in t, "unseen" in t) for t in titles(here["fig"])] == [(True, False), (True, True)]
    # seen: 0, 8, 11, 12 are positive and 2, 6, 9, 99 negative; unseen: 7, 13 and 1, 10
    assert here["gap"] == {"seen": 7.5 - 9.5, "unseen": 5.5 - 10}
    none = five("emb-distances", figures=drawn, distance=distance, labels=LABELS, name="tiny",
                findings=SeenUnseen(FINDINGS.keys, ()))  # fmt: skip
    assert list(none["gap"]) == ["seen"]


@pytest.mark.parametrize("unseen, keys", [(("Hernia",), ("Hernia",)), ((), ("Mass", "Hernia", "Edema"))])
def test_the_nearest_films_are_shown_of_unseen_findings(tmp_path, unseen, keys):
    (tmp_path / "manifest.json").write_text(json.dumps({"parameters": {"semantics": "signs"}}))
    space, radiographs = Mock(), SimpleNamespace(pixels=np.arange(6) * 10)
    findings = SeenUnseen(FINDINGS.keys, unseen)
    here = five("emb-nearest", space=space, findings=findings, radiographs=radiographs, rows=[5, 1], name="tiny",
                where=tmp_path, distance="distance", labels="labels", nearest=7)  # fmt: skip
    (args, options) = space.nearest.call_args
    assert args == ("distance", "labels", [50, 10], findings, keys) and options["columns"] == 7
    assert "tiny" in options["title"] and options["title"].endswith("signs")
    (tmp_path / "manifest.json").write_text(json.dumps({"parameters": {}}))
    assert here["told"](tmp_path) == here["told"](tmp_path / "none") == "unknown"


def beside(where, second, beside="", **claim):
    """The trainings whose distances are compared, where ``second`` is another's folder and that is its claim."""
    if second:
        second.mkdir(parents=True)
        (second / "embeddings.npz").touch()
        (second / "config.json").write_text(json.dumps({"data_sha256": "films", "unseen": ["Hernia"]} | claim))
    embedded, space = Mock(return_value={"visual": [[0.0]], "semantic": [[3.0], [4.0]]}), Mock()
    here = five("emb-beside", told=lambda folder: "mine" if folder == where else "theirs", run_dir=str(where.parent),
                beside=beside, where=where, distance="distance", claim={"data_sha256": "films"}, findings=FINDINGS,
                rows="rows", embedded=embedded, space=space, name="tiny", labels="labels", pixels="pixels",
                keys="keys", nearest=7)  # fmt: skip
    return here["distances"], embedded.mock_calls, space


def test_the_second_training_is_the_one_told_descriptions(tmp_path):
    second = tmp_path / "variants/description/training"
    distances, asked, space = beside(tmp_path / "training", second)
    assert list(distances) == ["mine", "theirs"] and asked == [call(second, "rows")]
    assert distances["mine"] == "distance" and distances["theirs"].tolist() == [[3.0, 4.0]]
    (args, options) = space.nearest.call_args
    assert args[0] is distances["theirs"] and args[1:] == ("labels", "pixels", FINDINGS, "keys")
    assert options["columns"] == 7 and options["title"].endswith("theirs") and not space.no_second_training.mock_calls


def test_a_second_training_of_other_films_or_findings_is_none(tmp_path):
    for i, claim in enumerate(({"data_sha256": "others"}, {"unseen": ["Mass"]})):
        where = tmp_path / str(i) / "training"
        distances, _, space = beside(where, where.parent / "variants/description/training", **claim)
        assert distances == {"mine": "distance"} and space.mock_calls == [call.no_second_training()]


def test_a_training_is_not_compared_with_itself(tmp_path):
    where = tmp_path / "training"
    assert list(beside(where, where, str(where))[0]) == ["mine"]
    assert list(beside(where, None)[0]) == ["mine"]
    assert list(beside(where, tmp_path / "other", str(tmp_path / "other"))[0]) == ["mine", "theirs"]


def test_hits_among_the_nearest_twenty_are_told_of_both_trainings():
    space, shown, distances = Mock(), [], {"signs": "a", "name": "b"}
    space.mean_hits.side_effect = lambda d, *_: {"a": 0.25, "b": 0.5}[d]
    here = five("emb-nearest-reading", space=space, distances=distances, labels=LABELS, findings=FINDINGS,
                keys=("Hernia", "Edema"), display=shown.append)  # fmt: skip
    (args, _) = space.hits.call_args
    assert args[0] is distances and args[1] is LABELS and args[2:] == (FINDINGS, ("Hernia", "Edema"), 20)
    assert [(one.args[0], *one.args[2:]) for one in space.mean_hits.call_args_list] == [
        (d, FINDINGS, ("Hernia", "Edema"), 20) for d in "ab"]  # fmt: skip
    assert here["overall"] == {"signs": 0.25, "name": 0.5} and shown == [space.hits.return_value]
    assert here["by_chance"] == pytest.approx(0.4) and numbers(here["said"]) == ["20", "25%", "50%", "40%"]


def test_an_anchor_is_counted_among_the_three_nearest_of_every_film():
    findings = SeenUnseen(("Mass", "Hernia", "Edema", "Nodule", "Fibrosis"), ("Hernia",))
    distance = np.array([[5, 1, 2, 3, 9], [3, 8, 1, 2, 9], [1, 2, 3, 8, 9], [7, 3, 1, 2, 9]])
    labels, space = np.array([[1, 1, 0, 0, 0], [0, 1, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 1]]), Mock()
    here = five("emb-hubness", space=space, distance=distance, labels=labels, findings=findings, rows=range(4),
                name="tiny")  # fmt: skip
    table = here["hubs"].set_index("finding")
    assert table.among_3_nearest.to_dict() == {"Mass": 2, "Hernia": 3, "Edema": 4, "Nodule": 3, "Fibrosis": 0}
    assert table.positives.to_dict() == {"Mass": 1, "Hernia": 3, "Edema": 0, "Nodule": 0, "Fibrosis": 2}
    assert table.among_3_nearest.is_monotonic_increasing
    ((hubs, *others), _) = space.hubs.call_args
    assert hubs is here["hubs"] and others == [findings, 4, here["ax"]] and "tiny" in titles(here["fig"])[0]


def test_the_projections_are_written_beside_the_names_of_their_films():
    places, results, glue, manifest, started = Mock(), Mock(), Mock(), Mock(), NOW - 100
    places.shown = lambda path: f"<{path}>"
    hubs = pd.DataFrame({"finding": ["Edema", "Mass", "Pleural_Thickening"], "among_3_nearest": [0, 1, 8],
                         "positives": [4, 5, 6]})  # fmt: skip
    flat = {"PCA": np.arange(10.0).reshape(5, 2) + 0.123456, "UMAP": -np.arange(10.0).reshape(5, 2)}
    radiographs = SimpleNamespace(table=pd.DataFrame({"image": list("abcdef")}))
    here = five("emb-manifest", places=places, results=results, glue=glue, run=SimpleNamespace(manifest=manifest),
                run_dir="run dir", where="where", out="out", radiographs=radiographs, rows=np.array([5, 3, 1, 0]),
                sample=np.array([1, 2]), findings=FINDINGS, flat=flat, hubs=hubs, profile="p", parameters={"a": 1},
                seed=9, started=started, apart=0.625, overall={"signs": 0.25, "name": 0.5}, time=CLOCK)  # fmt: skip
    assert places.results_of.mock_calls == [call("run dir", "where", "embeddings", "out")]
    ((folder, tables, write), _) = results.publish.call_args
    assert folder is places.results_of.return_value and list(tables) == ["projections", "hubness"]
    assert tables["hubness"] is hubs
    written = tables["projections"]
    assert list(written) == ["image_or_finding", "PCA x", "PCA y", "UMAP x", "UMAP y"]
    assert written.image_or_finding.tolist() == ["d", "b", "Mass", "Hernia", "Edema"]
    assert written["PCA x"].tolist() == [0.1235, 2.1235, 4.1235, 6.1235, 8.1235]
    assert written["UMAP y"].tolist() == [-1, -3, -5, -7, -9]
    counts = np.array([0, 1, 8])
    skewness = ((counts - 3) ** 3).mean() / ((counts - 3) ** 2).mean() ** 1.5
    assert write.func is manifest and write.args == () and write.keywords == {
        "notebook": "05_embeddings", "profile": "p", "parameters": {"a": 1}, "radiographs": radiographs, "seed": 9,
        "started": started, "trained_in": "<where>", "hubness_skewness": pytest.approx(skewness)}  # fmt: skip
    assert glue.mock_calls == [call("minutes_05", "2 minutes", display=False)]
    assert numbers(here["said"]) == [f"{skewness:.2f}", "3", "0.62", "25%", "50%"]
    assert "25% are right told `signs`" in here["said"] and "Pleural thickening is named most often" in here["said"]
    assert "edema least" in here["said"]


# 8. Traps


KEYS = ("Mass", "Edema", "Emphysema", "Hernia")


def methods(**values):
    """Rows of a rotation's table of methods, U under ``abnormal`` over all pairs unless they say otherwise."""
    row = {"stratum": "none", "metric": "U", "protocol": "abnormal"}
    return pd.DataFrame([row | one for one in values["rows"]])


def test_the_traps_are_measured_on_the_results_asked_for():
    report, committed, features = Mock(), Mock(), Mock()
    features.load.return_value = SimpleNamespace(table="table", findings="findings")
    # the cell imports its names itself, so they are put where it looks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cmdml.study.report.load", report)
        patch.setattr("cmdml.study.traps.load_sweep", committed)
        patch.setattr("cmdml.feature_set.FeatureSet", features)
        patch.setattr("cmdml.study.run.parameters", lambda _: {"a": 1})
        patch.setattr("cmdml.plots.figures.style", Mock())
        here = eight("traps-setup", rotation="the rotation", sweep="the sweep", features="the/features")
    assert report.mock_calls == [call("the rotation")] and committed.mock_calls == [call("the sweep")]
    assert features.load.mock_calls == [call(run.ROOT / "the/features")]
    assert (here["rotated"], here["swept"]) == (report.return_value, committed.return_value)
    assert (here["table"], here["findings"], here["found"]) == ("table", "findings", {})


OTHERS = [{"method": "mean_of_seen", "metric": "S", "value": 0.9}, {"method": "focused", "value": 0.8},
          {"method": "mean_of_seen", "stratum": "view", "value": 0.7}]  # fmt: skip


def test_illness_alone_is_read_under_both_protocols():
    rows = [*OTHERS, {"method": "mean_of_seen", "value": 0.5125},
            {"method": "mean_of_seen", "protocol": "all", "value": 0.625}]  # fmt: skip
    table, shown = methods(rows=rows), []
    stub = Mock(by_protocol=Mock(return_value="by protocol"))
    said = eight("traps-protocol", traps=stub, display=shown.append, rotated={"methods": table})["said"]
    assert re.findall(r"0\.\d+", said) == ["0.512", "0.625"] and shown == ["by protocol"]
    assert stub.by_protocol.call_args.args[0] is table


@pytest.mark.parametrize("better", [True, False])
def test_what_illness_has_of_the_gain_is_told_under_both_protocols(better):
    shares = {"abnormal": {"scorer": 0.06, "illness": 0.02, "share": 0.3},
              "all": {"scorer": 0.11, "illness": 0.13 if better else 0.1, "share": 0.9}}  # fmt: skip
    stub = Mock(above_chance=Mock(side_effect=lambda _, protocol: shares[protocol]))
    report, shown, found, rotated = Mock(), [], {}, {"methods": "methods"}
    said = eight("traps-illness", traps=stub, report=report, display=shown.append, found=found, rotated=rotated)["said"]
    assert stub.above_chance.mock_calls == [call("methods", protocol=p) for p in ("abnormal", "all")]
    assert found == {"illness": {p: one["illness"] for p, one in shares.items()}}
    tables, scorers = report.headline.call_args.args
    assert tables is rotated and {"mean_of_seen", "focused"} < set(scorers)
    assert shown == [report.headline.return_value]
    for p, one in shares.items():
        assert f"{one['scorer']:+.3f} under `{p}`, where illness alone has {one['illness']:+.3f}" in said
    assert ("does better" in said) == better


ALONE = pd.DataFrame({"value": [0.91, 0.75, 0.25], "low": [0.88, 0.7, 0.2], "high": [0.95, 0.8, 0.3],
                      "positives": [1, 2, 3]}, ["Pleural_Thickening", "Mass", "Edema"])  # fmt: skip


def test_the_view_alone_is_that_of_bedside_films():
    stub, drawn, found = Mock(alone=Mock(return_value=ALONE)), Mock(), {}
    table = pd.DataFrame({"view": ["AP", "PA", "AP"]})
    here = eight("traps-view", traps=stub, drawn=drawn, found=found, table=table, findings=KEYS, seed=6)
    (args, options) = stub.alone.call_args
    assert args[0] is table and args[1] == KEYS and args[2].tolist() == [True, False, True] and options == {"seed": 6}
    assert found == {"view": ALONE.value.to_dict()} and drawn.alone.call_args.args[:2] == (ALONE, here["ax"])
    title = titles(here["fig"])[0]
    assert numbers(title.replace("–", " ")) == ["0.91", "0.88", "0.95", "0.25"]
    assert title.index("Pleural thickening") < title.index("Edema")


def test_the_number_in_a_series_alone_is_that_of_the_film_s_name():
    stub, drawn, found = Mock(alone=Mock(return_value=ALONE), follow_up=traps.follow_up), Mock(), {}
    table = pd.DataFrame({"image": ["00000007_005.png", "00000008_012.png"]})
    here = eight("traps-treatment", traps=stub, drawn=drawn, found=found, table=table, findings=KEYS, seed=6)
    (args, options) = stub.alone.call_args
    assert args[0] is table and args[1] == KEYS and args[2].tolist() == [5, 12] and options == {"seed": 6}
    assert found == {"follow_up": ALONE.value.to_dict()} and drawn.alone.call_args.args[:2] == (ALONE, here["ax"])
    title = titles(here["fig"])[0]
    assert numbers(title.replace("–", " ")) == ["0.91", "0.88", "0.95", "0.75", "0.70", "0.80"]
    assert title.index("Pleural thickening") < title.index("Mass")


def test_what_a_source_gives_away_is_read_with_and_without_the_two():
    table = pd.DataFrame({"source_repo": ["a"] * 60 + ["b"] * 45 + ["c"] * 39, "view": ["AP"] * 15 + ["PA"] * 129,
                          "Mass": [1] * 105 + [0] * 39, "Edema": [0] * 144})  # fmt: skip
    table.loc[0:11, "Mass"] = 0
    other = {"method": "source", "value": 0.9}
    rotation = methods(rows=[{"method": "source", "value": 0.64}, {"method": "source", "stratum": "source",
               "value": 0.53}, other | {"protocol": "all"}, other | {"metric": "S"}, other | {"method": "view"}])
    sweep = methods(rows=[{"method": m, "metric": "auroc_U", "value": v} for m, v in (
        ("source_only", 0.71), ("source_only_informed", 0.82), ("focused", 0.66))]
        + [{"method": "focused", "metric": "auroc_U", "protocol": "all", "value": 0.3},
           {"method": "focused", "metric": "auroc_S", "value": 0.2}])  # fmt: skip
    films, shown = SimpleNamespace(card={"counts": {"excluded": {"x/y": 1234, "z": 56}}}), []
    said = eight("traps-source", table=table, findings=("Mass", "Edema"), display=shown.append, films=films,
                 swept={"methods": sweep}, rotated={"methods": rotation})["said"]  # fmt: skip
    assert shown[0].to_numpy().tolist() == [[60, "80%", "25%"], [45, "100%", "0%"]]
    assert list(shown[0].index) == ["a", "b"]
    assert numbers(said) == ["1", "1,234", "56", "0.71", "0.82", "0.66", "0.64", "0.53"]


def test_what_comes_with_an_emphysema_is_counted_on_both_kinds_of_films():
    table = pd.DataFrame({"Emphysema": [1] * 4 + [0] * 11, "Mass": [1, 1, 0, 0] + [1] * 5 + [0] * 6,
                          "Edema": [1, 1, 1, 0] + [0] * 5 + [1] + [0] * 5, "Hernia": [0] * 9 + [1] * 4 + [0] * 2})
    found, shown = {}, []
    said = eight("traps-label", table=table, findings=KEYS, found=found, display=shown.append)["said"]
    # nine films with another finding and no emphysema: five masses, an edema, four hernias
    expected = {"Edema": 0.75 / (1 / 9), "Mass": 0.5 / (5 / 9), "Hernia": 0}
    assert found["emphysema"] == pytest.approx(expected) and list(found["emphysema"]) == list(expected)
    assert shown[0].to_numpy().tolist() == [["75%", "11%", "6.8"], ["50%", "56%", "0.9"], ["0%", "44%", "0.0"]]
    assert numbers(said) == ["75%", "6.8"] and "Edema" in said and "other" in shown[0].columns[1]


def test_only_five_companions_are_shown():
    table = pd.DataFrame([[1] * 8, [0] + [1] * 7], columns=["Emphysema", *"abcdefg"])
    shown = []
    eight("traps-label", table=table, findings=tuple(table), found={}, display=shown.append)
    assert len(shown[0]) == 5


def test_the_luckiest_and_the_least_lucky_choice_are_named():
    gains = pd.DataFrame({"gain": [-0.25, 0.0, 0.5, 0.75], "unseen": ["Mass", "Edema", "Hernia", "Pleural_Thickening"]})
    stub, drawn, found = Mock(quadruple_gains=Mock(return_value=gains)), Mock(), {}
    here = eight("traps-split", traps=stub, drawn=drawn, found=found, rotated={"coverage": "coverage"})
    assert stub.quadruple_gains.mock_calls == [call("coverage")]
    assert drawn.quadruples.call_args.args == (gains, here["ax"])
    assert found == {"split": {"lowest": -0.25, "highest": 0.75, "mean": 0.25, "choices": 4}}
    first, worst, best = titles(here["fig"])[0].splitlines()
    assert numbers(first) == ["4", "2", "0", "+0.250"]
    assert ("-0.250" in worst, "Mass" in worst, "+0.750" in best, "Pleural thickening" in best) == (True,) * 4


SEEDS = pd.DataFrame({0: [0.60, 0.58, 0.62, 0.55, 0.53, 0.51, 0.70], 1: [0.63, 0.50, 0.61, 0.65, 0.52, 0.59, 0.40],
                      2: [0.50, 0.52, 0.54, 0.59, 0.57, 0.55, 0.45]},
                     ["focused", "euclidean", "bce", "ranking", "ale", "shuffled", "one_hot"])  # fmt: skip


def test_the_spread_over_seeds_is_from_the_lowest_to_the_highest():
    stub, shown, metrics = Mock(by_seed=Mock(return_value=SEEDS), shown=traps.shown), [], "metrics"
    said = eight("traps-seed", traps=stub, swept={"metrics": metrics}, display=shown.append)["said"]
    assert stub.by_seed.mock_calls == [call("metrics")]
    expected = [[*row, sum(row) / 3, max(row) - min(row)] for row in SEEDS.to_numpy()[:6]]
    assert shown[0].astype(float).to_numpy() == pytest.approx(np.array(expected), abs=6e-4)
    assert list(shown[0].index) == list(SEEDS.index[:6]) and list(shown[0])[3:] == ["mean", "width"]
    assert "bce > focused > ranking; ranking > focused > bce; ranking > bce > focused" in said
    stub.by_seed.return_value = SEEDS.iloc[:, [0, 0, 1]].set_axis(SEEDS.columns, axis=1)
    said = eight("traps-seed", traps=stub, swept={"metrics": metrics}, display=shown.append)["said"]
    assert said.count("bce > focused > ranking; ") == 2  # a seed each, also where two agree


def test_pairs_that_turn_round_without_tuning_are_counted():
    tuned = pd.DataFrame({"best": [0.9], "worst": [0.7], "rates": [3], "width": [0.2]}, ["a"])
    stub, found, shown = Mock(shown=traps.shown), {}, []
    stub.budgets.return_value, stub.reversed_pairs.return_value = tuned, (5, 8)
    said = eight("traps-budget", traps=stub, swept={"tuning": "tuning"}, found=found, display=shown.append)["said"]
    assert stub.budgets.mock_calls == [call("tuning")] and stub.reversed_pairs.mock_calls == [call(tuned)]
    assert found == {"budget": {"turned": 5, "pairs": 8}} and numbers(said) == ["5", "8"]
    assert shown[0].to_numpy().tolist() == [["0.900", "0.700", 3, "0.200"]]
    assert "rates" in shown[0].columns[2] and "gained" in shown[0].columns[3]


@pytest.mark.parametrize("winner, control", [("one_hot", True), ("ale", False)])
def test_what_is_chosen_by_its_test_score_falls_back_in_the_other_seeds(winner, control):
    found, shown = {}, []
    seeds = SEEDS if control else SEEDS.drop("one_hot")
    here = eight("traps-chosen", seeds=seeds, found=found, display=shown.append)
    # the first seed is won by one_hot or, without it, by bce; the two others by ranking
    first = (0.70, (0.40 + 0.45) / 2) if control else (0.62, (0.61 + 0.54) / 2)
    printed, again = (first[0] + 0.65 + 0.59) / 3, (first[1] + (0.55 + 0.59) / 2 + (0.55 + 0.65) / 2) / 3
    assert found["chosen"] == pytest.approx({"printed": printed, "again": again, "methods": len(seeds)})
    means = [f"{mean:.3f}" for mean in (printed, again, seeds.to_numpy().mean())]
    assert numbers(here["said"]) == [str(len(seeds)), *means]
    assert ("wrong texts" in here["said"]) == control
    won, other = shown[0].columns[1:]
    assert "won" in won and "other" in other and shown[0].iloc[0, 1] == f"{seeds[0].max():.3f}"


def test_the_chapter_on_traps_writes_what_it_measured_and_of_what():
    manifest = Mock()
    eight("traps-write", run=SimpleNamespace(manifest=manifest, resolve=run.resolve), run_dir="runs/else", profile="p",
          parameters={"a": 1}, started=12.5, found={"b": 2}, rotated={"manifest": {"commit": "first"}},
          swept={"manifest": {"commit": "second"}})  # fmt: skip
    assert manifest.mock_calls == [call(
        run.ROOT / "runs/else/traps", notebook="08_traps", profile="p", parameters={"a": 1}, started=12.5,
        measured={"b": 2}, commits={"rotation": "first", "sweep": "second"})]  # fmt: skip
