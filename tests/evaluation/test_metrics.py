"""Generalized zero-shot metrics against naive loops, and what must happen when something is missing or leaks."""

import math

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from cmdml.evaluation.bootstrap import patient_multiplicities
from cmdml.evaluation.calibration import calibrated_stacking, reliability
from cmdml.evaluation.metrics import (
    PROTOCOLS,
    age_bands,
    evaluate,
    evaluate_subgroups,
    image_kinds,
    paired_difference,
    top_k,
)
from cmdml.findings import SeenUnseen

FINDINGS = SeenUnseen(keys=("Mass", "Edema", "Nodule", "Fibrosis", "Hernia"), unseen=("Edema", "Fibrosis"))
EXACT = 1e-12


def cohort(seed=0, images=150, signal=0.8):
    rng = np.random.default_rng(seed)
    labels = (rng.random((images, 5)) < [0.3, 0.2, 0.25, 0.15, 0.1]).astype(np.uint8)
    scores = np.round(rng.normal(size=labels.shape) + signal * labels, 1)  # rounded: ties
    return labels, scores, rng.integers(0, images // 2, images).astype(str)


def value(table, protocol, metric, column="value"):
    row = table[(table.protocol == protocol) & (table.metric == metric)]
    assert len(row) == 1
    return row[column].item()


def test_intervals_come_from_a_thousand_draws_unless_another_number_is_asked_for():
    labels, scores, patients = cohort()
    assert evaluate(labels, scores, patients, FINDINGS).replicates == 1000


def test_every_number_equals_the_loops_and_scikit_learn():
    labels, scores, patients = cohort()
    result = evaluate(labels, scores, patients, FINDINGS, replicates=50)
    assert list(result.per_finding.protocol.unique()) == list(PROTOCOLS) == ["abnormal", "all"]
    for protocol in PROTOCOLS:
        keep = labels.any(axis=1) if protocol == "abnormal" else np.ones(len(labels), bool)
        y, s = labels[keep], scores[keep]
        table = result.per_finding[result.per_finding.protocol == protocol].set_index("finding")
        aurocs, aps = {}, {}
        for c, key in enumerate(FINDINGS.keys):
            row = table.loc[key]
            aurocs[key] = reference.auroc(y[:, c].tolist(), s[:, c].tolist())
            aps[key] = reference.average_precision(y[:, c].tolist(), s[:, c].tolist())
            assert abs(row.auroc - aurocs[key]) < EXACT
            assert abs(row.auroc - roc_auc_score(y[:, c], s[:, c])) < EXACT
            assert abs(row.ap - aps[key]) < EXACT
            assert abs(row.ap - average_precision_score(y[:, c], s[:, c])) < EXACT
            assert (row.images, row.positives, row.seen) == (len(y), y[:, c].sum(), key not in FINDINGS.unseen)
            assert abs(row.prevalence - y[:, c].mean()) < EXACT
            assert row.auroc_low < row.auroc < row.auroc_high
            assert row.ap_low < row.ap_high
        for name, values in (("auroc", aurocs), ("ap", aps)):
            seen = sum(values[key] for key in FINDINGS.seen) / 3
            unseen = sum(values[key] for key in FINDINGS.unseen) / 2
            assert abs(value(result.summary, protocol, f"{name}_S") - seen) < EXACT
            assert abs(value(result.summary, protocol, f"{name}_U") - unseen) < EXACT
            harmonic = reference.harmonic_mean(seen, unseen)
            assert abs(value(result.summary, protocol, f"{name}_H") - harmonic) < EXACT
        for k in (2, 3):
            want = reference.precision_recall_f1_at_k(y.tolist(), s.tolist(), k)
            got = [value(result.summary, protocol, f"{m}@{k}") for m in ("precision", "recall", "f1")]
            np.testing.assert_allclose(got, want, rtol=0, atol=EXACT)
        assert value(result.summary, protocol, "n_findings_undefined") == 0


def test_intervals_equal_a_loop_that_evaluates_each_resample():
    labels, scores, patients = cohort(3, images=60)
    result = evaluate(labels, scores, patients, FINDINGS, replicates=12, seed=5)
    drawn, _ = patient_multiplicities(patients, 12, np.random.default_rng(5))
    replicates = {"auroc_S": [], "auroc_U": [], "ap_H": [], "f1@2": []}
    each = {"auroc": [], "ap": []}
    for row in drawn.tolist():
        rows = reference.resample(patients.tolist(), np.unique(patients).tolist(), row)
        y, s = labels[rows], scores[rows]
        columns = [(y[:, c].tolist(), s[:, c].tolist()) for c in range(5)]
        auroc = np.array([reference.auroc(*column) for column in columns])
        ap = np.array([reference.average_precision(*column) for column in columns])
        each["auroc"].append(auroc)
        each["ap"].append(ap)
        seen, unseen = FINDINGS.seen_index, FINDINGS.unseen_index
        replicates["auroc_S"].append(auroc[seen].mean())
        replicates["auroc_U"].append(auroc[unseen].mean())
        replicates["ap_H"].append(reference.harmonic_mean(ap[seen].mean(), ap[unseen].mean()))
        replicates["f1@2"].append(reference.precision_recall_f1_at_k(y.tolist(), s.tolist(), 2)[2])
    for metric, values in replicates.items():
        got = [value(result.summary, "all", metric, side) for side in ("low", "high")]
        np.testing.assert_allclose(got, np.nanquantile(values, [0.025, 0.975]), rtol=0, atol=EXACT)
        assert value(result.summary, "all", metric, "undefined_replicates") == np.isnan(values).sum()
    rows = result.per_finding[result.per_finding.protocol == "all"]
    for metric, values in each.items():  # finding by finding
        got = rows[[f"{metric}_low", f"{metric}_high"]].to_numpy().T
        np.testing.assert_allclose(got, np.nanquantile(values, [0.025, 0.975], axis=0), rtol=0, atol=EXACT)


def test_same_seed_same_numbers_and_other_seed_other_intervals():
    data = cohort()
    a, b, c = (evaluate(*data, FINDINGS, replicates=40, seed=seed) for seed in (1, 1, 2))
    assert a.summary.equals(b.summary)
    assert a.summary.value.equals(c.summary.value)
    assert not a.summary.low.equals(c.summary.low)


def test_undefined_finding_is_named_and_counted_never_averaged_in_silence():
    labels, scores, patients = cohort()
    labels[:, 4] = 0  # no Hernia
    result = evaluate(labels, scores, patients, FINDINGS, replicates=20)
    assert result.undefined == {"abnormal": ("Hernia",), "all": ("Hernia",)}
    assert value(result.summary, "all", "n_findings_undefined") == 1
    assert value(result.summary, "all", "auroc_S", "undefined") == "Hernia"
    assert value(result.summary, "all", "auroc_H", "undefined") == "Hernia"
    assert value(result.summary, "all", "auroc_U", "undefined") == ""
    hernia = result.per_finding[result.per_finding.finding == "Hernia"]
    assert hernia[["auroc", "auroc_low", "auroc_high", "ap"]].isna().all(axis=None)
    others = result.per_finding.query("protocol == 'all' and seen and finding != 'Hernia'").auroc
    assert abs(value(result.summary, "all", "auroc_S") - others.mean()) < EXACT


def test_replicates_that_lose_a_finding_are_left_out_and_counted():
    labels, scores, patients = cohort()
    labels[:, 4] = 0
    labels[0, 4] = 1  # one positive patient: absent from about 37 % of the resamples
    result = evaluate(labels, scores, patients, FINDINGS, replicates=400)
    lost = value(result.summary, "all", "auroc_S", "undefined_replicates")
    assert 100 < lost < 200
    assert value(result.summary, "all", "auroc_H", "undefined_replicates") == lost
    assert value(result.summary, "all", "auroc_U", "undefined_replicates") == 0
    assert math.isfinite(value(result.summary, "all", "auroc_S", "low"))


def test_no_abnormal_image_gives_nan_not_an_exception():
    labels, scores, patients = cohort()
    result = evaluate(np.zeros_like(labels), scores, patients, FINDINGS, replicates=5)
    assert result.undefined["abnormal"] == FINDINGS.keys
    assert math.isnan(value(result.summary, "abnormal", "auroc_U"))
    assert math.isnan(value(result.summary, "all", "recall@2"))
    assert value(result.summary, "all", "precision@2") == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([np.exp, np.arctan, lambda s: 3 * s - 2]))
def test_monotone_map_and_row_order_change_no_point_estimate(seed, transform):
    labels, scores, patients = cohort(seed, images=40)
    order = np.random.default_rng(seed).permutation(40)
    a = evaluate(labels, scores, patients, FINDINGS, replicates=0)
    b = evaluate(labels[order], transform(scores[order]), patients[order], FINDINGS, replicates=0)
    np.testing.assert_allclose(a.summary.value, b.summary.value, rtol=0, atol=EXACT)


def test_planted_leak_of_an_unseen_label_shows_in_u_only():
    labels, scores, patients = cohort(signal=0.0)
    honest = evaluate(labels, scores, patients, FINDINGS, replicates=200)
    leaked = scores + 3 * labels * FINDINGS.unseen_mask
    caught = evaluate(labels, leaked, patients, FINDINGS, replicates=200)
    for protocol in PROTOCOLS:
        high = value(honest.summary, protocol, "auroc_U", "high")
        assert high < 0.75  # chance, within its interval
        assert value(caught.summary, protocol, "auroc_U", "low") > high
        assert value(caught.summary, protocol, "auroc_S") == value(honest.summary, protocol, "auroc_S")


def test_telling_normal_from_abnormal_lifts_u_under_all_but_not_under_abnormal():
    labels, _, patients = cohort(images=400)
    labels[::2] = 0
    scores = np.random.default_rng(0).normal(size=labels.shape) + 3 * labels.any(axis=1, keepdims=True)
    summary = evaluate(labels, scores, patients, FINDINGS, replicates=0).summary
    assert value(summary, "all", "auroc_U") > 0.7
    assert abs(value(summary, "abnormal", "auroc_U") - 0.5) < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros((150, 4))}, r"labels \(150, 4\) must be \(images, 5\)"),
        ({"scores": np.zeros((149, 5))}, r"scores \(149, 5\) must have the shape"),
        ({"patients": np.zeros(3)}, "one patient for each of 150"),
        ({"scores": (7, 1, np.nan)}, "scores of image row 7, Edema, is nan"),
        ({"scores": (7, 1, np.inf)}, "scores of image row 7, Edema, is inf"),
        ({"labels": (2, 4, 2)}, "label of image row 2, Hernia, is 2, not 0 or 1"),
        ({"patients": (3, "")}, "image row 3 has no patient"),
    ],
)
def test_bad_input_is_refused_by_name(change, message):
    data = dict(zip(("labels", "scores", "patients"), cohort(), strict=True))
    for name, new in change.items():
        if isinstance(new, tuple):
            data[name][new[:-1]] = new[-1]
        else:
            data[name] = new
    with pytest.raises(ValueError, match=message):
        evaluate(**data, findings=FINDINGS)


def test_no_images_and_impossible_k_are_refused():
    labels, scores, patients = cohort()
    with pytest.raises(ValueError, match="no images"):
        evaluate(labels[:0], scores[:0], patients[:0], FINDINGS)
    with pytest.raises(ValueError, match="k = 6"):
        evaluate(labels, scores, patients, FINDINGS, ks=(6,))


def test_top_k_breaks_ties_by_the_order_of_findings():
    scores = np.array([[1.0, 3.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert top_k(scores, 2).tolist() == [[1, 2], [0, 1]]
    assert [reference.top_k(row, 2) for row in scores.tolist()] == [[1, 2], [0, 1]]


# --- paired differences ----------------------------------------------------------------------------------------


def test_paired_difference_equals_two_evaluations_and_is_antisymmetric():
    labels, a, patients = cohort()
    b = a + np.random.default_rng(1).normal(scale=0.5, size=a.shape)
    table = paired_difference(labels, a, b, patients, FINDINGS, replicates=200)
    back = paired_difference(labels, b, a, patients, FINDINGS, replicates=200)
    summary = {name: evaluate(labels, s, patients, FINDINGS, replicates=0).summary for name, s in (("a", a), ("b", b))}
    for row in table.itertuples():
        assert abs(row.a - value(summary["a"], row.protocol, row.metric)) < EXACT
        assert abs(row.difference - (row.a - value(summary["b"], row.protocol, row.metric))) < EXACT
    np.testing.assert_allclose(table.low, -back.high, rtol=0, atol=EXACT)
    np.testing.assert_allclose(table.share_positive + back.share_positive, 1, rtol=0, atol=EXACT)


def test_pairing_narrows_the_interval_and_identical_methods_differ_by_nothing():
    labels, a, patients = cohort(images=300)
    b = a - 0.02 * labels
    paired = paired_difference(labels, a, b, patients, FINDINGS, replicates=300)
    alone = evaluate(labels, a, patients, FINDINGS, replicates=300).summary
    width = value(paired, "all", "auroc_H", "high") - value(paired, "all", "auroc_H", "low")
    assert width < 0.5 * (value(alone, "all", "auroc_H", "high") - value(alone, "all", "auroc_H", "low"))
    same = paired_difference(labels, a, a, patients, FINDINGS, replicates=30)
    assert (same[["difference", "low", "high"]] == 0).all(axis=None)
    assert (same.share_positive == 0.5).all()


# --- subgroups -------------------------------------------------------------------------------------------------


def test_subgroups_are_evaluations_of_their_rows():
    labels, scores, patients = cohort()
    sex = np.where(np.arange(150) % 3 == 0, "F", "M").astype(object)
    sex[:4] = ["", None, np.nan, ""]
    table = evaluate_subgroups(labels, scores, patients, FINDINGS, sex, replicates=0)
    assert table.groupby("group").images.first().to_dict() == {"F": 48, "M": 98, "unknown": 4}
    rows = sex == "F"
    want = evaluate(labels[rows], scores[rows], patients[rows], FINDINGS, replicates=0).summary
    np.testing.assert_array_equal(table[table.group == "F"].value, want.value)


def test_age_bands_and_image_kinds():
    assert age_bands([0, 39.9, 40, 59, 60, 99, np.nan]).tolist() == [
        "<40", "<40", "40-59", "40-59", "60+", "60+", "unknown",
    ]  # fmt: skip
    labels = np.array([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 0, 1, 0]])
    assert image_kinds(labels, FINDINGS).tolist() == ["none", "seen only", "unseen only", "mixed"]


# --- calibrated stacking ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_stacking_equals_the_loop_at_every_constant(seed, k):
    labels, scores, _ = cohort(seed, images=25)
    scores = scores + np.random.default_rng(seed).normal(size=scores.shape)  # no ties: midpoints decide
    curve = calibrated_stacking(labels, scores, FINDINGS, k=k)
    seen = FINDINGS.seen_mask.tolist()
    for offset in (-3.0, -0.7, 0.0, 0.4, 1.1, 5.0):
        want = reference.stacking_accuracy(labels.tolist(), scores.tolist(), seen, offset, k)
        np.testing.assert_allclose(curve.at(offset)[:2], want, rtol=0, atol=EXACT)
    assert abs(curve.ausuc - reference.ausuc(labels.tolist(), scores.tolist(), seen, k)) < EXACT


def test_stacking_at_its_two_extremes():
    labels, scores, _ = cohort()
    curve = calibrated_stacking(labels, scores, FINDINGS)
    seen_only, unseen_only = (top_k(scores[:, mask], 1)[:, 0] for mask in (FINDINGS.seen_mask, FINDINGS.unseen_mask))
    y_seen, y_unseen = labels[:, FINDINGS.seen_mask], labels[:, FINDINGS.unseen_mask]
    rows = np.arange(len(labels))
    assert curve.at(-np.inf)[:2] == (y_seen[rows, seen_only].sum() / y_seen.any(axis=1).sum(), 0.0)
    assert curve.at(np.inf)[:2] == (0.0, y_unseen[rows, unseen_only].sum() / y_unseen.any(axis=1).sum())
    assert (np.diff(curve.seen) <= 0).all()
    assert (np.diff(curve.unseen) >= 0).all()
    assert (curve.images_seen, curve.images_unseen) == (y_seen.any(axis=1).sum(), y_unseen.any(axis=1).sum())


def test_stacking_ignores_a_constant_bias_towards_seen_findings():
    labels, scores, _ = cohort()
    plain = calibrated_stacking(labels, scores, FINDINGS)
    biased = calibrated_stacking(labels, scores + 4 * FINDINGS.seen_mask, FINDINGS)
    assert biased.at(0)[1] == 0 < plain.at(0)[1]  # the bias hides every unseen finding
    assert abs(plain.ausuc - biased.ausuc) < 0.02  # and one constant brings them back
    np.testing.assert_allclose(biased.at(4.05)[:2], plain.at(0.05)[:2], rtol=0, atol=EXACT)


def test_perfect_scores_on_single_labels_fill_the_area():
    labels = np.eye(5, dtype=int).repeat(4, axis=0)
    assert calibrated_stacking(labels, labels.astype(float), FINDINGS).ausuc == 1
    assert calibrated_stacking(labels, -labels.astype(float), FINDINGS).ausuc == 0


def test_stacking_refuses_what_it_cannot_answer():
    labels, scores, _ = cohort()
    with pytest.raises(ValueError, match="k = 3"):
        calibrated_stacking(labels, scores, FINDINGS, k=3)
    with pytest.raises(ValueError, match="positive unseen"):
        calibrated_stacking(labels * FINDINGS.seen_mask, scores, FINDINGS)
    with pytest.raises(ValueError, match="row 1 "):
        calibrated_stacking(labels, np.where(np.arange(150)[:, None] == 1, np.nan, scores), FINDINGS)


# --- reliability -----------------------------------------------------------------------------------------------


def test_reliability_of_calibrated_and_overconfident_predictions():
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    y = rng.random(20_000) < p
    table = reliability(y, p)
    assert table.predictions.tolist() == [2000] * 10
    assert ((table.low < table.predicted) & (table.predicted < table.high)).sum() >= 8
    assert (table.predictions @ table.observed) == pytest.approx(y.sum())
    wrong = reliability(y, p**3)
    assert (wrong.observed - wrong.predicted).max() > 0.2


def test_reliability_keeps_ties_together_and_refuses_scores():
    table = reliability([1, 0, 0, 1], [0.5, 0.5, 0.5, 0.5])
    assert table.predictions.tolist() == [4]
    assert table.observed.tolist() == [0.5]
    with pytest.raises(ValueError, match="map scores first"):
        reliability([0, 1], [-1.0, 0.2])


def test_paired_differences_are_those_of_the_same_drawn_patients():
    labels, a, patients = cohort(4, images=60)
    b = np.round(a + np.random.default_rng(2).normal(scale=0.8, size=a.shape), 1)
    table = paired_difference(labels, a, b, patients, FINDINGS, ks=(1, 4), replicates=11, seed=6)
    assert {"precision@1", "f1@4"} <= set(table.metric) and "precision@2" not in set(table.metric)
    keep = labels.any(1)
    for protocol, rows in (("abnormal", keep), ("all", np.ones(60, bool))):
        y, drawn = labels[rows], patient_multiplicities(patients[rows], 11, np.random.default_rng(6))
        differences = []
        for weights in [np.ones(drawn[0].shape[1]), *drawn[0]]:
            w = weights[drawn[1]]
            each = [[roc_auc_score(y[:, c], s[rows][:, c], sample_weight=w) if 0 < y[:, c] @ w < w.sum() else np.nan
                     for c in FINDINGS.unseen_index] for s in (a, b)]  # fmt: skip
            differences.append(np.mean(each[0]) - np.mean(each[1]))
        found = {name: value(table, protocol, "auroc_U", name) for name in table.columns[2:]}
        assert found["difference"] == pytest.approx(differences[0]) == found["a"] - found["b"]
        known = np.array(differences[1:])[~np.isnan(differences[1:])]
        assert (found["low"], found["high"]) == pytest.approx(tuple(np.quantile(known, [0.025, 0.975])))
        assert found["share_positive"] == pytest.approx(np.mean((known > 0) + (known == 0) / 2))
        assert found["undefined_replicates"] == 11 - len(known)
        for column, s in (("a", a), ("b", b)):
            alone = evaluate(labels, s, patients, FINDINGS, ks=(1, 4), replicates=0).summary
            for metric in ("ap_U", "recall@4"):
                assert value(table, protocol, metric, column) == value(alone, protocol, metric)


def test_a_paired_difference_says_which_scores_are_wrong():
    labels, scores, patients = cohort()
    for name, pair in (("scores_a", (scores[:-1], scores)), ("scores_b", (scores, scores[:-1]))):
        with pytest.raises(ValueError, match=rf"^{name} \(149, 5\) must have the shape of labels"):
            paired_difference(labels, *pair, patients, FINDINGS)
    broken = scores.copy()
    broken[7, 1] = np.nan
    with pytest.raises(ValueError, match="^scores_b of image row 7, Edema, is nan"):
        paired_difference(labels, scores, broken, patients, FINDINGS)


def test_subgroups_are_evaluated_with_the_options_that_are_given_and_count_their_own_patients():
    labels, scores, patients = cohort(5)
    view = np.where(np.arange(150) < 60, "AP", "PA")
    options = {"ks": (1,), "replicates": 9, "seed": 4}
    table = evaluate_subgroups(labels, scores, patients, FINDINGS, view, **options)
    for name, rows in (("AP", view == "AP"), ("PA", view == "PA")):
        own = table[table.group == name].reset_index(drop=True)
        want = evaluate(labels[rows], scores[rows], patients[rows], FINDINGS, **options).summary
        assert own[list(want)].equals(want) and not want.low.isna().all()
        assert set(own.images) == {rows.sum()} and set(own.patients) == {len(set(patients[rows]))}
    assert table.groupby("group").patients.first().sum() > len(set(patients))  # some have films in both
    with pytest.raises(ValueError, match=r"groups \(3,\) must name one group for each of 150 images"):
        evaluate_subgroups(labels, scores, patients, FINDINGS, view[:3])


def test_an_evaluation_says_how_it_was_made():
    result = evaluate(*cohort(), FINDINGS, ks=(1,), replicates=3, seed=8)
    assert (result.ks, result.replicates, result.seed) == ((1,), 3, 8)
    assert {name for name in result.summary.metric if "@" in name} == {"precision@1", "recall@1", "f1@1"}


def test_each_finding_counts_the_replicates_that_it_lost_itself():
    labels, scores, patients = cohort(3, images=60)
    labels[:, 4] = 0
    labels[0, 4] = 1
    table = evaluate(labels, scores, patients, FINDINGS, replicates=40, seed=2).per_finding
    lost = table[table.protocol == "all"].set_index("finding").undefined_replicates
    drawn, unit = patient_multiplicities(patients, 40, np.random.default_rng(2))
    for c, key in enumerate(FINDINGS.keys):
        assert lost[key] == sum(not 0 < (w[unit] * labels[:, c]).sum() < w[unit].sum() for w in drawn)
    assert lost["Hernia"] > 5 > lost["Mass"]


def test_a_mean_names_what_it_leaves_out_and_no_other_metric_does():
    labels, scores, patients = cohort()
    labels[:, [3, 4]] = 0  # one unseen finding, one seen
    summary = evaluate(labels, scores, patients, FINDINGS, replicates=3).summary
    told = {metric: value(summary, "all", metric, "undefined") for metric in set(summary.metric)}
    assert (told.pop("auroc_S"), told.pop("ap_S"), told.pop("auroc_U"), told.pop("ap_U")) == (
        "Hernia", "Hernia", "Fibrosis", "Fibrosis")  # fmt: skip
    assert {told.pop(name) for name in ("auroc_H", "ap_H", "n_findings_undefined")} == {"Fibrosis Hernia"}
    assert len(told) == 6 and set(told.values()) == {""}  # precision, recall and F1 rank every finding


def test_what_is_not_told_is_a_thousand_draws_from_seed_0_and_the_two_and_three_highest():
    labels, a, patients = cohort(images=60)
    told = {"ks": (2, 3), "replicates": 1000, "seed": 0}
    plain = evaluate(labels, a, patients, FINDINGS)
    assert plain.summary.equals(evaluate(labels, a, patients, FINDINGS, **told).summary)
    b = np.round(a + np.random.default_rng(1).normal(size=a.shape), 1)
    plain = paired_difference(labels, a, b, patients, FINDINGS)
    assert plain.equals(paired_difference(labels, a, b, patients, FINDINGS, **told))


def test_without_a_film_there_is_no_prevalence_and_without_a_replicate_nobody_is_better():
    labels, scores, patients = cohort(images=40)
    table = evaluate(np.zeros_like(labels), scores, patients, FINDINGS, replicates=2).per_finding
    prevalence = table.groupby("protocol").prevalence
    assert prevalence.count().to_dict() == {"abnormal": 0, "all": 5} and prevalence.max()["all"] == 0
    share = paired_difference(labels, scores, scores, patients, FINDINGS, replicates=0).share_positive
    assert share.isna().all()


@pytest.mark.parametrize("nobody", [None, np.nan])
def test_a_missing_patient_is_refused(nobody):
    labels, scores, patients = cohort()
    patients = patients.astype(object)
    patients[7] = nobody
    with pytest.raises(ValueError, match="image row 7 has no patient"):
        evaluate(labels, scores, patients, FINDINGS)


def test_groups_come_sorted_and_bands_are_as_many_as_their_edges_make():
    labels, scores, patients = cohort(images=40)
    table = evaluate_subgroups(labels, scores, patients, FINDINGS, np.array(["c", "a", "d", "b"] * 10), replicates=0)
    assert table.group.unique().tolist() == ["a", "b", "c", "d"]
    bands = age_bands([17, 18, 64, 65, 79, 80], edges=(18, 65, 80))
    assert bands.tolist() == ["<18", "18-64", "18-64", "65-79", "65-79", "80+"]
