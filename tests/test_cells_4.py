"""Cells of chapter 4 on data small enough to count by hand: what they select, compute, pass on and write."""

import json
import re
from functools import partial
from itertools import count
from types import SimpleNamespace
from unittest.mock import Mock, call

import matplotlib
import numpy as np
import pandas as pd
import pytest
from cells import CLOCK, NOW, cell, drawing, numbers, titles

from cmdml.evaluation.metrics import PROTOCOLS
from cmdml.findings import SeenUnseen
from cmdml.study import comparison, run

FINDINGS = SeenUnseen(("Mass", "Hernia", "Edema"), ("Hernia", "Edema"))
LABELS = np.array([[1, 0, 0], [0, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0]])
SCORES = -np.arange(15.0).reshape(5, 3) / 4
DRAWS = {"replicates": 3, "seed": 9}
four = partial(cell, "04_evaluation")


def summary(first=0.1):
    """A summary with another number in every place, and {(protocol, metric): as it is printed}."""
    number = count(round(100 * first))
    metrics = [f"{kind}_{mean}" for kind in ("auroc", "ap") for mean in "SUH"]
    rows = [{"protocol": p, "metric": m, "value": (v := next(number) / 100), "low": v - 0.05, "high": v + 0.05}
            for p in PROTOCOLS for m in metrics]  # fmt: skip
    rows += [{"protocol": p, "metric": "n_findings_undefined", "value": n} for p, n in zip(PROTOCOLS, (2, 7))]
    table = pd.DataFrame(rows)
    cells = {(r.protocol, r.metric): f"{r.value:.2f} ({r.low:.2f}–{r.high:.2f})" for r in table.itertuples()}
    return table, cells


def a_told(name, *, contrast=(0.125, -0.05, 0.3), r=0.5, ill=0.2):
    """What one training makes of its texts."""
    pointing = SimpleNamespace(r=r, predicted=f"predicted of {name}", matrix=f"pairs of {name}")
    return SimpleNamespace(name=name, contrast=contrast, ill=ill, matrix=f"matrix of {name}", pointing=pointing)


def test_the_draws_are_the_parameters():
    with matplotlib.rc_context():
        assert four("eval-setup", replicates=12, seed=34)["draws"] == {"replicates": 12, "seed": 34}


@pytest.fixture
def loading(tmp_path):
    """What the first cell that reads is given, and the claim and the manifest of its training."""
    claim = {"data_sha256": "these", "findings": list(FINDINGS.keys), "unseen": list(FINDINGS.unseen),
             "config": {"objective": "ale"}}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(claim))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/manifest.json").write_text(json.dumps({"parameters": {"semantics": "name"}}))
    radiographs = SimpleNamespace(card={"sha256": "these", "name": "tiny"})
    testset = SimpleNamespace(radiographs=radiographs, rows=np.array([3, 5, 7, 8, 9]), labels=LABELS,
                              patients=np.array(list("aabca")))  # fmt: skip
    places = SimpleNamespace(training_of=Mock(return_value=(tmp_path, "It.")))
    return {"TestSet": Mock(return_value=testset), "places": places, "run_dir": "runs/else", "training": "asked",
            "load_run": Mock(return_value=SimpleNamespace(out=tmp_path / "weights")),
            "embedded": Mock(return_value={"scores": SCORES})}  # fmt: skip


def test_the_evaluation_reads_its_training_and_the_test(loading, tmp_path):
    here = four("eval-load", **loading)
    assert loading["TestSet"].mock_calls == [call(run.ROOT / "runs/else/radiographs")]
    assert loading["places"].training_of.mock_calls == [call("runs/else", "asked")]
    assert loading["load_run"].mock_calls == [call(tmp_path)]
    ((where, rows), _) = loading["embedded"].call_args
    assert where == tmp_path and rows.tolist() == [3, 5, 7, 8, 9] and here["scores"] is SCORES
    assert here["findings"] == FINDINGS and (here["semantics"], here["objective"]) == ("name", "ale")
    assert here["abnormal"].tolist() == [True, False, True, False, True] and here["name"] == "tiny"
    assert here["labels"] is LABELS and here["patients"].tolist() == list("aabca")
    assert numbers(here["said"]) == ["5", "3", "3"] and here["said"].startswith("It.")
    assert "hernia and edema" in here["said"] and "`name`" in here["said"]


def test_what_a_training_without_a_manifest_was_told_is_unknown(loading, tmp_path):
    (tmp_path / "weights/manifest.json").unlink()
    assert four("eval-load", **loading)["semantics"] == "unknown"


@pytest.mark.parametrize("notebook, which", [("04_evaluation", "eval-load"), ("05_embeddings", "emb-load")])
def test_a_training_of_other_films_is_refused(loading, notebook, which):
    loading["TestSet"].return_value.radiographs.card["sha256"] = "others"
    with pytest.raises(ValueError, match="other radiographs"):
        cell(notebook, which, **loading)


def test_the_model_and_illness_alone_are_measured_in_the_same_way():
    found = {"scores": SimpleNamespace(summary=summary()[0]), "ill": SimpleNamespace(summary=summary(0.5)[0])}
    metrics = Mock(evaluate=Mock(side_effect=lambda labels, scores, *_, **__: found[scores]))
    compared = Mock(illness=Mock(return_value="ill"))
    split = pd.DataFrame({"split": ["train", "test", "train", "val", "val"]})
    radiographs = SimpleNamespace(labels=LABELS, table=split)
    here = four("eval-evaluate", metrics=metrics, comparison=compared, labels="labels", scores="scores",
                patients="patients", findings="findings", draws=DRAWS, where="where", testset="testset",
                radiographs=radiographs)  # fmt: skip
    asked = [call("labels", scores, "patients", "findings", **DRAWS) for scores in ("scores", "ill")]
    assert metrics.evaluate.mock_calls == asked
    assert compared.illness.mock_calls == [call("where", "testset", "findings")]
    (given, options) = compared.always_the_most_frequent.call_args
    assert given[1].tolist() == LABELS[[0, 2]].tolist() and options == DRAWS
    assert here["constant"] is compared.always_the_most_frequent.return_value
    assert compared.headline.mock_calls == [call({"this model": found["scores"], "illness alone": found["ill"]})]
    assert here["evaluation"] is found["scores"] and here["illness"] is found["ill"] and here["ill"] == "ill"
    assert here["summary"].loc[("all", "auroc_U")].value == pytest.approx(0.17)


def headline(low, high, undefined=2):
    table, cells = summary()
    table.loc[(table.protocol == "abnormal") & (table.metric == "n_findings_undefined"), "value"] = undefined
    rows = [{"protocol": p, "metric": f"auroc_{m}", "difference": d, "low": low, "high": high}
            for p, d in zip(PROTOCOLS, (0.01, 0.02)) for m in "SUH"]  # fmt: skip
    paired = pd.DataFrame(rows)
    paired.loc[~paired.metric.eq("auroc_U"), ["difference", "low", "high"]] = [0.9, 0.8, 0.99]
    paired.loc[paired.protocol == "all", ["low", "high"]] = [-0.5, 0.5]
    metrics, glue = Mock(PROTOCOLS=PROTOCOLS, paired_difference=Mock(return_value=paired)), Mock()
    here = four("eval-headline", metrics=metrics, glue=glue, summary=table.set_index(["protocol", "metric"]),
                name="tiny", radiographs=range(1234), rows=range(56), labels="labels", scores="scores", ill="ill",
                patients="patients", findings="findings", draws=DRAWS)  # fmt: skip
    assert metrics.paired_difference.mock_calls == [
        call("labels", "scores", "ill", "patients", "findings", **DRAWS)]  # fmt: skip
    assert all(one.kwargs == {"display": False} for one in glue.mock_calls)
    return here, cells, {one.args[0]: one.args[1] for one in glue.mock_calls}


def test_the_book_s_numbers_are_those_of_the_summary():
    here, cells, glued = headline(-0.02, 0.04)
    shown = {f"auroc_{mean}_{p}": cells[p, f"auroc_{mean}"] for p in PROTOCOLS for mean in "SUH"}
    shown |= {"set_name": "tiny", "images_total": "1,234", "images_test": "56"}
    assert glued == shown | {"gain_over_illness": "+0.01 (−0.02 to +0.04)"}
    said = re.findall(r"\d\.\d\d \(0\.\d\d–0\.\d\d\)", here["said"])
    assert said == [cells["abnormal", "auroc_S"], cells["abnormal", "auroc_U"], cells["all", "auroc_U"]]
    gains = re.findall(r"\+0\.\d\d \(−.*?\)", here["said"])
    assert gains == ["+0.01 (−0.02 to +0.04)", "+0.02 (−0.50 to +0.50)"] and "2 findings" in here["said"]


def test_the_verdict_on_the_model_is_that_of_the_interval():
    verdicts = [headline(*ends)[0]["verdict"] for ends in ((0.005, 0.02), (-0.03, -0.005), (-0.02, 0.0), (0.0, 0.04))]
    told_apart = [("knows more" in v, "alone does better" in v, "includes 0" in v) for v in verdicts]
    assert told_apart == [(True, False, False), (False, True, False), (False, False, True), (False, False, True)]


def test_no_finding_left_out_is_said():
    assert "none is left out" in headline(0.1, 0.2, undefined=0)[0]["said"]


def test_the_figures_of_single_findings_are_of_this_evaluation():
    drawn, plots, evaluation = drawing(), Mock(), SimpleNamespace(per_finding="per finding")
    here = four("eval-per-finding", figures=drawn, evaluation=evaluation, findings=FINDINGS, name="tiny")
    assert drawn.per_finding.mock_calls == [call("per finding", FINDINGS, here["ax"])]
    assert "tiny" in titles(here["fig"])[0]
    four("eval-two-protocols", plots=plots, labels="labels", scores="scores", findings=FINDINGS, evaluation=evaluation,
         name="tiny")  # fmt: skip
    assert plots.groups_of_scores.mock_calls == [call("labels", "scores", FINDINGS, "per finding", "tiny")]


def swapped(findings=FINDINGS, semantics="signs", rivals=("description", "name")):
    plots, compared = Mock(), Mock()
    compared.gathered.return_value = (["a line"], {"another set": "x"}, ["missing"])
    compared.same_radiographs.return_value = {rival: f"folder of {rival}" for rival in rivals}
    compared.told.side_effect = lambda name, *_, **__: a_told(name)
    here = four("eval-swapped", plots=plots, comparison=compared, compare=["some"], claim={"data_sha256": "these"},
                semantics=semantics, where="where", findings=findings, testset="testset", draws=DRAWS, name="tiny")
    assert compared.gathered.mock_calls == [call(["some"])]
    assert compared.same_radiographs.mock_calls == [call({"another set": "x"}, "these")]
    assert (here["lines"], here["missing"]) == (["a line"], ["missing"])
    ((panels, given), _) = plots.swapped.call_args
    assert given is findings
    return panels, compared.told.mock_calls, here


def test_texts_are_swapped_in_this_training_and_in_that_told_descriptions():
    panels, asked, here = swapped()
    assert asked == [call("signs", "where", "testset", FINDINGS, **DRAWS),
                     call("description", "folder of description", "testset", FINDINGS, **DRAWS)]  # fmt: skip
    assert panels == {f"tiny, told: {kind}": f"matrix of {kind}" for kind in ("signs", "description")}
    assert here["rivals"] == {kind: f"folder of {kind}" for kind in ("description", "name")}


def test_texts_are_swapped_once_where_there_is_no_other_training():
    for given in ({"semantics": "description"}, {"rivals": ["name"]}):
        panels, asked, _ = swapped(**given)
        assert [one.args[1] for one in asked] == ["where"] and len(panels) == 1
    panels, asked, here = swapped(SeenUnseen(("Mass", "Hernia"), ("Hernia",)))
    assert panels == {} and asked == [] == here["told"]


def test_the_contrast_of_this_training_is_the_book_s():
    table, shown, glue = pd.DataFrame({c: [c] for c in "abcdef"}), [], Mock()
    told = [a_told("signs", contrast=(0.125, 0.05, 0.25)), a_told("name", contrast=(-0.25, -0.5, -0.125)), a_told("x")]
    compared = Mock(contrasts=Mock(return_value=table))
    here = four("eval-swapped-reading", told=told, glue=glue, display=shown.append, comparison=compared)
    assert here["contrast"] == (0.125, 0.05, 0.25) and compared.contrasts.mock_calls == [call(told)]
    assert glue.mock_calls == [call("text_contrast", "+0.12 (+0.05 to +0.25)", display=False)]
    assert [list(each) for each in shown] == [["a", "b", "c"]]
    verdicts = [here["verdict_on"](one) for one in told]
    assert [("better" in v, "worse" in v, "cannot" in v) for v in verdicts] == [
        (True, False, False), (False, True, False), (False, False, True)]  # fmt: skip
    assert [f"`{one.name}`" in verdict for one, verdict in zip(told, verdicts)] == [True] * 3
    assert here["said"].endswith(" ".join(verdicts))
    for ends in ((0, 0.1), (-0.1, 0)):
        assert "cannot" in here["verdict_on"](a_told("x", contrast=(0.0, *ends)))


def test_no_training_to_swap_texts_in_is_said():
    glue, shown = Mock(), []
    here = four("eval-swapped-reading", told=[], glue=glue, display=shown.append, comparison=None)
    assert here["contrast"] is None and glue.mock_calls == [call("text_contrast", "undefined", display=False)]
    assert len(shown) == 1
    four("eval-why", told=[], display=None, comparison=None, findings=FINDINGS, figures=drawing())


def test_pairs_are_drawn_against_what_look_alikes_predict():
    plots = Mock()
    four("eval-pairs", plots=plots, told=[a_told("signs"), a_told("name")], name="tiny", findings=FINDINGS)
    panels = {f"tiny, told: {kind}": (f"predicted of {kind}", f"pairs of {kind}") for kind in ("signs", "name")}
    assert plots.pairs.mock_calls == [call(panels, FINDINGS)]


def test_why_texts_help_is_told_of_every_training():
    table, shown, drawn = pd.DataFrame({c: [c] for c in "abcdef"}), [], drawing()
    told = [a_told("signs", r=0.45, ill=-0.75), a_told("name", r=0.3, ill=np.nan)]
    compared = Mock(leaning=Mock(side_effect=lambda one, *_: one.name), contrasts=Mock(return_value=table),
                    correlated=comparison.correlated, agrees=lambda one: np.array([True, one.name == "signs"]))
    here = four("eval-why", comparison=compared, told=told, display=shown.append, findings=FINDINGS, figures=drawn)
    assert compared.leaning.mock_calls == [call(one, FINDINGS, drawn.words) for one in told]
    assert compared.contrasts.mock_calls == [call(told)]
    assert shown[:2] == ["signs", "name"] and list(shown[2]) == ["d", "e", "f"]
    first, second = here["sentences"]
    assert re.findall(r"(\w+ly) \((.*?)\)|(not measurably)", first) == [
        ("strongly", "−0.75", ""), ("moderately", "+0.45", "")] and "2 of 2" in first  # fmt: skip
    assert re.findall(r"not measurably|weakly \(\+0.30\)", second) == ["not measurably", "weakly (+0.30)"]
    assert "1 of 2" in second and "`name`" in second and "`signs`" in first
    assert first in here["said"] and second in here["said"]
    strength = here["strength"]
    assert [strength(r).split()[0] for r in (0.7, 0.69, 0.4, 0.39, 0, -0.4, -0.7)] == [
        "strongly", "moderately", "moderately", "weakly", "weakly", "moderately", "strongly"]  # fmt: skip


def test_alarms_are_counted_among_films_with_a_finding():
    plots, abnormal = Mock(), LABELS.any(1)
    here = four("eval-alarms", plots=plots, labels=LABELS, scores=SCORES, abnormal=abnormal, findings=FINDINGS,
                name="tiny")  # fmt: skip
    ((labels, scores, findings), _) = plots.alarms.call_args
    assert labels.tolist() == LABELS[[0, 2, 4]].tolist() and scores.tolist() == SCORES[[0, 2, 4]].tolist()
    assert findings is FINDINGS and here["alarms"] is plots.alarms.return_value
    assert plots.alarm_figure.mock_calls == [call(here["alarms"], FINDINGS, here["ax"])]
    assert "tiny" in titles(here["fig"])[0]


def test_right_alarms_of_unseen_findings_are_averaged():
    compared, shown = Mock(), []
    compared.first_places.return_value = pd.DataFrame([[1, 2], [3, 4]], ["m", "c"], ["x", "y"])
    alarms = pd.DataFrame({"finding": ["Mass", "Hernia", "Edema", "Fibrosis", "Nodule"],
                           "precision": [0.9, 0.2, 0.5, 0.23, np.nan],
                           "prevalence": [0.8, 0.1, 0.14, 0.3, np.nan]})  # fmt: skip
    given = {"comparison": compared, "evaluation": "model", "constant": "constant", "display": shown.append}
    findings = SeenUnseen(tuple(alarms.finding), ("Hernia", "Edema", "Fibrosis", "Nodule"))
    said = four("eval-constant", alarms=alarms, findings=findings, **given)["said"]
    assert re.findall(r"\d+%", said) == ["31%", "18%"]
    assert compared.first_places.mock_calls == [call({"this model": "model", "always the most frequent": "constant"})]
    assert shown[0].to_dict() == {"m": {"x": 1, "y": 2}, "c": {"x": 3, "y": 4}}
    without = four("eval-constant", alarms=alarms, findings=SeenUnseen(findings.keys, ()), **given)["said"]
    assert "%" not in without


def test_examples_and_groups_are_of_the_test_films():
    table = pd.DataFrame({"image": list("abcdef")})
    radiographs, plots = SimpleNamespace(table=table, pixels=np.arange(6) * 10), Mock()
    plots.groups.return_value = ("fig", ["narrow"])
    four("eval-examples", radiographs=radiographs, rows=np.array([5, 1]), plots=plots, labels="labels", scores="scores",
         findings=FINDINGS, name="tiny", seed=4)  # fmt: skip
    assert plots.examples.mock_calls == [call([50, 10], "labels", "scores", FINDINGS, "tiny", seed=4)]
    here = four("eval-groups", radiographs=radiographs, rows=np.array([5, 1]), plots=plots, labels="labels",
                scores="scores", patients="patients", findings=FINDINGS, name="tiny", draws=DRAWS)  # fmt: skip
    (films, *others), options = plots.groups.call_args
    assert films.image.tolist() == ["f", "b"] and options == DRAWS and here["narrow"] == ["narrow"]
    assert others == ["labels", "scores", "patients", FINDINGS, "tiny"]


def checked(scores=SCORES, findings=FINDINGS, tau=2.0):
    places, plots, calibration = Mock(tau_of=Mock(return_value=tau)), Mock(), Mock()
    here = four("eval-reliability", places=places, plots=plots, calibration=calibration, labels=LABELS, scores=scores,
                findings=findings, name="tiny", where="where", claim={"config": "config"})  # fmt: skip
    assert places.tau_of.mock_calls == [call("where", "config")]
    assert plots.reliability.mock_calls == [call(here["calibrated"], "tiny")]
    return here["calibrated"], [one.args for one in calibration.reliability.mock_calls]


def test_closeness_is_checked_of_seen_and_of_unseen_findings():
    calibrated, asked = checked()
    assert list(calibrated) == ["seen", "unseen"]
    for (labels, closeness), columns in zip(asked, ([0], [1, 2]), strict=True):
        assert labels.tolist() == LABELS[:, columns].tolist()
        assert closeness == pytest.approx(np.e ** (SCORES[:, columns] / 2))


def test_what_is_no_closeness_is_not_checked():
    for given in ({"tau": None}, {"scores": SCORES + 0.01}):
        assert checked(**given) == ({"seen": None, "unseen": None}, [])
    calibrated, asked = checked(findings=SeenUnseen(FINDINGS.keys, ()))
    assert calibrated["unseen"] is None and len(asked) == 1


def test_the_mean_gap_is_weighted_by_predictions():
    table = pd.DataFrame({"predictions": [3, 1], "observed": [0.5, 0.1], "predicted": [0.25, 0.9]})
    here = four("eval-groups-reading", calibrated={"seen": table, "unseen": None}, narrow=["one", "two"])
    assert here["mean_gap"](table) == pytest.approx((3 * 0.25 + 0.8) / 4)
    assert "0.39 for seen" in here["said"] and "unseen findings." not in here["said"] and "one; two" in here["said"]
    said = four("eval-groups-reading", calibrated={"seen": None, "unseen": None}, narrow=[])["said"]
    assert numbers(said) == []


def test_this_run_stands_above_the_others():
    evaluation, shown = SimpleNamespace(per_finding="per finding", summary="summary"), []
    compared = Mock(result_lines=Mock(return_value=[{"results": "own", "protocol": "all", "U": 1}]))
    given = {"comparison": compared, "evaluation": evaluation, "profile": "p", "semantics": "signs",
             "radiographs": range(7), "display": shown.append}  # fmt: skip
    lines = [{"results": "other", "protocol": "all", "U": 2}]
    said = four("eval-compare", lines=lines, missing=["x/y", "z"], **given)["said"]
    ((title, *others), _) = compared.result_lines.call_args
    assert "p" in title and "signs" in title and others == ["per finding", "summary", 7]
    assert shown[0].U.to_dict() == {("own", "all"): 1, ("other", "all"): 2} and "`x/y`, `z`" in said
    alone = four("eval-compare", lines=[], missing=[], **given)["said"]
    assert "No results" in said and "No results" not in alone and "`compare`" in alone and "`compare`" not in said


def test_rivals_are_compared_film_by_film():
    rows, glue, shown = [{"this run minus": "name", "protocol": p, "S, seen": f"S {p}", "U, unseen": f"U {p}"}
                         for p in PROTOCOLS], Mock(), []  # fmt: skip
    embedded = Mock(side_effect=lambda folder, rows: {"scores": (folder, rows), "visual": None})
    compared = Mock(paired=Mock(return_value=pd.DataFrame(rows)))
    given = {"comparison": compared, "embedded": embedded, "scores": "scores", "labels": "labels", "glue": glue,
             "patients": "patients", "findings": "findings", "draws": DRAWS, "display": shown.append, "rows": "rows"}
    said = four("eval-paired", rivals={"name": "there"}, **given)["said"]
    assert compared.paired.mock_calls == [call("scores", {"name": ("there", "rows")}, "labels", "patients", "findings",
                                               **DRAWS)]  # fmt: skip
    assert glue.mock_calls == [call(f"paired_U_name_{p}", f"U {p}", display=False) for p in PROTOCOLS]
    assert list(shown[0].index) == [("name", p) for p in PROTOCOLS]
    compared.paired.return_value = pd.DataFrame()
    assert four("eval-paired", rivals={}, **given)["said"] != said and len(shown) == 1


def ending(told):
    places, results, glue, manifest = Mock(), Mock(), Mock(), Mock()
    places.shown = lambda path: f"<{path}>"
    places.results_of.return_value = "folder"
    table, cells = summary()
    ill, of_ill = summary(0.5)
    started = NOW - 100
    here = four("eval-manifest", places=places, results=results, glue=glue, run=SimpleNamespace(manifest=manifest),
                run_dir="run dir", where="where", out="out", profile="p", parameters={"a": 1}, radiographs=range(70),
                seed=9, started=started, rows=range(5), abnormal=LABELS.any(1), patients=np.array(list("aabca")),
                findings=FINDINGS, semantics="signs", objective="ale", claim={"config": {"tau": 1}}, contrast=(1, 2, 3),
                evaluation=SimpleNamespace(per_finding="per finding", summary="summary"), told=told,
                summary=table.set_index(["protocol", "metric"]), illness=SimpleNamespace(summary=ill),
                shown_gain={"abnormal": "the gain", "all": "no"}, verdict="The verdict.", time=CLOCK)  # fmt: skip
    assert places.results_of.mock_calls == [call("run dir", "where", "evaluation", "out")]
    ((folder, tables, write), _) = results.publish.call_args
    assert folder == "folder" and tables == {"per_finding": "per finding", "summary": "summary"}
    assert write.func is manifest and write.args == () and write.keywords == {
        "notebook": "04_evaluation", "profile": "p", "parameters": {"a": 1}, "radiographs": range(70), "seed": 9,
        "started": started, "images_total": 70, "images_test": 5, "images_test_abnormal": 3, "patients_test": 3,
        "unseen": ["Hernia", "Edema"], "semantics": "signs", "objective": "ale", "trained_in": "<where>",
        "training": {"tau": 1}, "text_contrast": (1, 2, 3)}  # fmt: skip
    assert glue.mock_calls == [call("minutes_04", "2 minutes", display=False)]
    shown = re.findall(r"\d\.\d\d \(0\.\d\d–0\.\d\d\)", here["said"])
    assert shown == [c[p, "auroc_U"] for c in (cells, of_ill) for p in ("abnormal", "all")]
    assert "is the gain among" in here["said"] and "The verdict." in here["said"] and "`<folder>`" in here["said"]
    return here["said"]


def test_the_evaluation_ends_with_what_it_measured():
    said = ending([a_told("signs", r=0.4), a_told("name", contrast=(-0.25, -0.5, 0.125), r=0.9)])
    assert "+0.12 (−0.05 to +0.30) told `signs` and −0.25 (−0.50 to +0.12) told `name`. A text helped" in said
    for told in ([], [a_told("signs", r=0.9), a_told("name", r=0.39)]):
        assert "A text helped" not in ending(told)
