"""The tables of chapter 4, from made-up runs."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import vouch

from cmdml.evaluation.controls import swapped_text
from cmdml.evaluation.metrics import evaluate, paired_difference
from cmdml.evaluation.texts import illness_of_texts, lift_of_texts
from cmdml.files import seal
from cmdml.findings import SeenUnseen
from cmdml.run_folder import FORMAT
from cmdml.study import comparison

FINDINGS = SeenUnseen(("a", "b", "c", "d"), ("c", "d"))
RNG = np.random.default_rng(0)
LABELS = (RNG.random((200, 4)) < 0.3).astype(int)
SCORES = LABELS + RNG.normal(size=LABELS.shape)
PATIENTS = np.arange(200) // 2


class Testset:
    """As much of a TestSet as the tables read."""

    __test__ = False
    rows, labels, patients = np.arange(100, 200), LABELS[100:], PATIENTS[100:]

    class radiographs:
        table = pd.DataFrame({"split": ["val"] * 100 + ["test"] * 100})


def a_run(folder, profile="p", data="x", semantics="signs", trained=True):
    evaluation = evaluate(LABELS, SCORES, PATIENTS, FINDINGS, replicates=5)
    (folder / "evaluation").mkdir(parents=True)
    evaluation.summary.to_csv(folder / "evaluation/summary.csv", index=False)
    evaluation.per_finding.to_csv(folder / "evaluation/per_finding.csv", index=False)
    about = {"profile": profile, "semantics": semantics, "images_total": 1234}
    vouch(folder / "evaluation", about)
    if trained:
        (folder / "training").mkdir()
        semantic = np.random.default_rng(3).normal(size=(4, 5))
        np.savez(folder / "training/embeddings.npz", index=np.arange(200), visual=np.zeros((200, 5)),
                 semantic=semantic, scores=SCORES)  # fmt: skip
        (folder / "training/config.json").write_text(json.dumps({"data_sha256": data}))
        seal(folder / "training", ["embeddings.npz", "config.json"], FORMAT)
    return folder


def test_results_of_runs_of_trials_and_of_committed_tables(tmp_path):
    run, bare = a_run(tmp_path / "variants/description"), a_run(tmp_path / "bare", profile="nih", trained=False)
    given = [run, bare / "evaluation", tmp_path / "nowhere"]
    lines, rivals, missing = comparison.gathered(given)
    assert [line["results"] for line in lines] == ["p: description"] * 2 + ["nih: bare"] * 2
    assert [line["protocol"] for line in lines[:2]] == ["abnormal", "all"]
    assert lines[0]["radiographs"] == "1,234" and lines[0]["tested"] == f"{LABELS.any(1).sum():,}"
    assert lines[1]["tested"] == "200" and lines[0]["U"].count("–") == 1 and "(" in lines[0]["U"]
    assert rivals == {"description": run / "training"} and missing == [str(tmp_path / "nowhere")]
    assert comparison.same_radiographs(rivals, "x") == rivals and not comparison.same_radiographs(rivals, "y")


def test_a_trial_and_results_of_another_place(tmp_path):
    """A trial holds its training itself; tables elsewhere are called after their semantics, or their folder."""
    trial, plain, half = a_run(tmp_path / "mine"), a_run(tmp_path / "plain"), a_run(tmp_path / "half")
    for file in ("embeddings.npz", "config.json"):
        (trial / "training" / file).rename(trial / file)
    for name, about in (("texts", {"semantics": "name"}), ("bare", {})):
        (plain / "evaluation").rename(tmp_path / name) if name == "texts" else shutil.copytree(
            tmp_path / "texts", tmp_path / name)  # fmt: skip
        vouch(tmp_path / name, {"profile": "q", "images_total": 7} | about)
    (half / "evaluation/per_finding.csv").unlink()
    given = [half, trial, tmp_path / "texts", tmp_path / "bare"]
    lines, rivals, missing = comparison.gathered(given)
    assert [line["results"] for line in lines[::2]] == ["p: mine", "q: name", "q: bare"]
    assert rivals == {"mine": trial} and missing == [str(half)]
    (trial / "evaluation/summary.csv").write_text("edited")
    with pytest.raises(ValueError, match="summary.csv is not the table"):
        comparison.gathered([trial])


def test_the_headline_has_a_block_for_each_protocol():
    evaluation = evaluate(LABELS, SCORES, PATIENTS, FINDINGS, replicates=5)
    table = comparison.headline({"this model": evaluation, "again": evaluation})
    assert list(table.index) == [(p, s) for p in ("abnormal", "all") for s in ("this model", "again")]
    u = evaluation.summary.set_index(["protocol", "metric"]).loc[("all", "auroc_U")]
    assert table.loc[("all", "this model"), "U, unseen"] == f"{u.value:.2f} ({u.low:.2f}–{u.high:.2f})"


def test_the_first_places_and_a_reader_who_does_not_look():
    constant = comparison.always_the_most_frequent(LABELS, LABELS, FINDINGS, PATIENTS, replicates=5)
    table = comparison.first_places({"constant": constant})
    assert list(table) == [f"{m} at {k}" for k in (2, 3) for m in ("precision", "recall", "F1")]
    ill = LABELS[LABELS.any(1)]
    # Of four findings it names the two seen ones first, whatever the unseen ones' frequency.
    assert table["precision at 2"].iloc[0].startswith(f"{ill[:, :2].mean():.2f} ")
    often = LABELS.copy()
    often[:, 0] = 0  # a seen finding that training has not met is still named before the unseen ones
    met = comparison.always_the_most_frequent(LABELS, often, FINDINGS, PATIENTS, replicates=5)
    assert comparison.first_places({"met": met})["precision at 2"].iloc[0].startswith(f"{ill[:, :2].mean():.2f} ")
    table = comparison.first_places({"constant": constant}, protocol="all")
    assert table["precision at 2"].iloc[0].startswith(f"{LABELS[:, :2].mean():.2f} ")
    summary = constant.summary.set_index(["protocol", "metric"])
    assert summary.value[("all", "auroc_S")] == summary.value[("all", "auroc_U")] == 0.5


def test_differences_are_this_run_minus_the_other():
    table = comparison.paired(SCORES, {"noise": RNG.normal(size=SCORES.shape), "itself": SCORES}, LABELS, PATIENTS,
                              FINDINGS, replicates=20)  # fmt: skip
    assert list(table.columns) == ["this run minus", "protocol", *comparison.MEANS.values()]
    rows = table.set_index(["this run minus", "protocol"])
    assert rows.loc[("noise", "all"), "U, unseen"].startswith("+0.2")
    assert rows.loc[("itself", "all"), "U, unseen"] == "0.00 (0.00 to 0.00)"
    assert comparison.paired(SCORES, {}, LABELS, PATIENTS, FINDINGS).empty


def test_what_a_training_makes_of_its_texts(tmp_path):
    folder = a_run(tmp_path / "run") / "training"
    one = comparison.told("signs", folder, Testset(), FINDINGS, replicates=10)
    assert one.matrix.shape == (2, 2) and one.contrast[1] <= one.contrast[0] <= one.contrast[2]
    assert one.illness.shape == one.lift.shape == (4,) and -1 <= one.ill <= 1
    labels, scores = LABELS[100:], SCORES[100:]
    matrix, contrast = swapped_text(labels, scores, PATIENTS[100:], FINDINGS, replicates=10)
    np.testing.assert_array_equal(one.matrix, matrix)
    assert one.contrast == contrast
    np.testing.assert_array_equal(one.lift, lift_of_texts(labels, scores, FINDINGS))
    np.testing.assert_array_equal(one.illness, illness_of_texts(labels, scores))
    ill = comparison.illness(folder, Testset(), FINDINGS)
    abnormal = labels.any(1)
    each = [np.corrcoef(ill[abnormal, 0], scores[abnormal, c])[0, 1] for c in (2, 3)]
    assert one.ill == pytest.approx(np.mean(each))
    val, test = SCORES[:100, :2], SCORES[100:, :2]
    np.testing.assert_allclose(ill[:, 3], ((test - val.mean(0)) / val.std(0)).mean(1))
    table = comparison.contrasts([one])
    assert table.index.tolist() == ["signs"] and table["own minus swapped"].iloc[0].startswith("+")
    assert table["own text"].iloc[0] == f"{one.matrix.diagonal().mean():.2f}"
    assert table["swapped texts"].iloc[0] == f"{(one.matrix[0, 1] + one.matrix[1, 0]) / 2:.2f}"
    r = np.corrcoef(one.illness, one.lift)[0, 1]
    assert table["r of a text's illness with its lift"].iloc[0] == comparison.correlated(r)
    assert table["r of the scores with illness alone"].iloc[0] == comparison.correlated(one.ill)
    leaning = comparison.leaning(one, FINDINGS, str.upper)
    assert leaning["AUROC with its own text"].tolist() == [f"{one.matrix[i, i]:.2f}" for i in (0, 1)]
    assert leaning["its text points at"].tolist() == ["AB"[i] for i in one.pointing.text.argmax(1)]
    assert leaning["its films look like"].tolist() == ["AB"[i] for i in np.nan_to_num(one.pointing.films).argmax(1)]
    assert leaning.index.tolist() == ["C", "D"] and set(leaning["its text points at"]) <= {"A", "B"}
    assert leaning["with the best wrong text"].iloc[0] == f"{one.matrix[0, 1]:.2f}"
    same = (leaning["its text points at"] == leaning["its films look like"]).tolist()
    assert comparison.agrees(one).tolist() == same


@pytest.mark.parametrize(("r", "text"), [(0.914, "+0.91"), (-0.2, "−0.20"), (np.nan, "–")])
def test_a_correlation(r, text):
    assert comparison.correlated(r) == text


def test_every_cell_is_of_its_own_metric():
    evaluation = evaluate(LABELS, SCORES, PATIENTS, FINDINGS, replicates=5)
    summary = evaluation.summary.set_index(["protocol", "metric"])
    places = comparison.first_places({"a": evaluation}).loc["a"]
    assert len(set(places)) == 6
    for column, text in places.items():
        row = summary.loc[("abnormal", column.lower().replace(" at ", "@"))]
        assert text == f"{row.value:.2f} ({row.low:.2f}–{row.high:.2f})", column
    table = comparison.headline({"a": evaluation})
    lines = comparison.result_lines("a", evaluation.per_finding, evaluation.summary, 200)
    for protocol, line in zip(("abnormal", "all"), lines, strict=True):
        for mean, text in comparison.MEANS.items():
            row = summary.loc[(protocol, f"auroc_{mean}")]
            wanted = f"{row.value:.2f} ({row.low:.2f}–{row.high:.2f})"
            assert table.loc[(protocol, "a"), text] == line[mean] == wanted, (protocol, mean)


def test_differences_are_of_drawn_patients_and_of_the_draws_that_were_asked_for():
    other = np.random.default_rng(7).normal(size=SCORES.shape)
    table = comparison.paired(SCORES, {"noise": other}, LABELS, PATIENTS, FINDINGS, replicates=20, seed=4)
    naive = paired_difference(LABELS, SCORES, other, PATIENTS, FINDINGS, replicates=20, seed=4)
    naive = naive.set_index(["protocol", "metric"])
    for row in table.to_dict("records"):
        for mean, text in comparison.MEANS.items():
            wanted = naive.loc[(row["protocol"], f"auroc_{mean}")]
            assert row[text] == comparison.difference(wanted.difference, wanted.low, wanted.high)


def test_a_reader_who_does_not_look_is_evaluated_over_the_patients_and_draws_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(comparison, "evaluate", lambda *given, **options: asked.append((given, options)))
    train = np.array([[1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])  # the first shows an unseen finding
    comparison.always_the_most_frequent(LABELS, train, FINDINGS, PATIENTS, replicates=7, seed=3)
    (((labels, scores, patients, findings), options),) = asked
    assert labels is LABELS and patients is PATIENTS and findings is FINDINGS
    assert options == {"replicates": 7, "seed": 3}
    np.testing.assert_allclose(scores, np.tile([2 / 3, 1 / 3, -1, -1], (200, 1)))
