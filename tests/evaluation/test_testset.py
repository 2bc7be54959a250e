"""The test radiographs of a set: which rows they are, and what scores of them come to, against loops."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cmdml.evaluation.testset import TestSet, embedded
from cmdml.files import seal
from cmdml.findings import KEYS, split_findings
from cmdml.run_folder import FORMAT

FINDINGS = split_findings(KEYS)


@pytest.fixture(scope="module")
def testset(tiny):
    return TestSet(tiny.folder, replicates=6, seed=3)


@pytest.fixture(scope="module")
def scores(testset):
    """They know a little of every finding, and favour the seen ones."""
    noise = np.random.default_rng(1).normal(size=testset.labels.shape)
    return noise + 0.8 * testset.labels + 0.6 * FINDINGS.seen_mask


def training(folder, rows, n=3, seed=0):
    """The embeddings of a training that is finished."""
    rng = np.random.default_rng(seed)
    held = {"index": np.asarray(rows), "visual": rng.normal(size=(len(rows), n)), "semantic": rng.normal(size=(14, n)),
            "scores": rng.normal(size=(len(rows), 14))}  # fmt: skip
    folder.mkdir(parents=True)
    np.savez(folder / "embeddings.npz", **held)
    seal(folder, ["embeddings.npz"], FORMAT)
    return folder, held


def share_of_hits(labels, scores, mask):
    """Among the films with a positive finding of ``mask``, those whose highest score is one of these."""
    hit = [bool(y[mask][np.flatnonzero(mask) == s.argmax()].any()) for y, s in zip(labels, scores) if y[mask].any()]
    return sum(hit) / len(hit)


def value(summary, metric, protocol="abnormal"):
    (one,) = summary[(summary.metric == metric) & (summary.protocol == protocol)].value
    return one


def test_the_rows_are_those_of_the_test_split(testset, tiny):
    table = tiny.table
    assert testset.rows.tolist() == [i for i, split in enumerate(table["split"]) if split == "test"]
    np.testing.assert_array_equal(testset.labels, table[list(KEYS)].to_numpy()[testset.rows])
    assert testset.patients.tolist() == [table["patient"].iloc[i] for i in testset.rows]


def test_accuracies_are_those_without_a_constant_taken_from_seen_scores(testset, scores):
    summary = testset.tables(scores, FINDINGS, {})[1]
    seen, unseen = (share_of_hits(testset.labels, scores, mask) for mask in (FINDINGS.seen_mask, FINDINGS.unseen_mask))
    assert 0 < unseen < seen < 1
    assert value(summary, "accuracy_S") == pytest.approx(seen, abs=1e-12)
    assert value(summary, "accuracy_U") == pytest.approx(unseen, abs=1e-12)
    assert value(summary, "accuracy_H") == pytest.approx(2 * seen * unseen / (seen + unseen), abs=1e-12)
    shifted = testset.tables(scores - 1.0 * FINDINGS.seen_mask, FINDINGS, {})[1]
    assert value(shifted, "accuracy_U") > unseen + 0.05  # a constant would matter
    assert value(shifted, "ausuc") == pytest.approx(value(summary, "ausuc"))  # but not to the area


def test_the_area_is_that_of_accuracies_at_every_constant(testset, scores):
    points = []
    for offset in np.linspace(-8, 8, 641):
        moved = scores - offset * FINDINGS.seen_mask
        points.append([share_of_hits(testset.labels, moved, m) for m in (FINDINGS.seen_mask, FINDINGS.unseen_mask)])
    seen, unseen = np.array(points).T
    area = sum((a - b) * (u + v) / 2 for a, b, u, v in zip(seen, seen[1:], unseen, unseen[1:]))
    assert value(testset.tables(scores, FINDINGS, {})[1], "ausuc") == pytest.approx(area, abs=3e-3)


def test_own_text_is_the_diagonal_above_the_rest(testset, scores):
    ill, columns = testset.labels.any(1), FINDINGS.unseen_index
    matrix = np.array([[roc_auc_score(testset.labels[ill, a], scores[ill, b]) for b in columns] for a in columns])
    own = np.eye(len(columns), dtype=bool)
    wanted = matrix[own].mean() - matrix[~own].mean()
    assert value(testset.tables(scores, FINDINGS, {})[1], "own_text") == pytest.approx(wanted, abs=1e-12)


def test_a_row_per_finding_and_protocol_holds_scikit_learns_metrics(testset, scores):
    table = testset.tables(scores, FINDINGS, {"method": "made", "seed": 4})[0]
    assert list(table) == ["method", "seed", "protocol", "finding", "seen", "images", "positives", "auroc", "ap"]
    assert (table.method == "made").all() and (table.seed == 4).all() and len(table) == 2 * len(KEYS)
    for row in table.itertuples():
        keep = testset.labels.any(1) if row.protocol == "abnormal" else np.ones(len(testset.labels), bool)
        c = KEYS.index(row.finding)
        y, s = testset.labels[keep, c], scores[keep, c]
        assert (row.images, row.positives, row.seen) == (keep.sum(), y.sum(), row.finding in FINDINGS.seen)
        assert row.auroc == pytest.approx(roc_auc_score(y, s), abs=1e-12)
        assert row.ap == pytest.approx(average_precision_score(y, s), abs=1e-12)


def test_a_row_per_metric_and_protocol_begins_with_what_it_is_about(testset, scores):
    findings, summary = testset.tables(scores, FINDINGS, {"method": "made"})
    assert list(summary) == ["method", "protocol", "metric", "value"] and (summary.method == "made").all()
    assert not summary.duplicated(["protocol", "metric"]).any()
    for protocol in ("abnormal", "all"):
        unseen = findings[(findings.protocol == protocol) & ~findings.seen].auroc.mean()
        assert value(summary, "auroc_U", protocol) == pytest.approx(unseen, abs=1e-12)
    assert set(summary.metric[summary.protocol == "all"]) == set(summary.metric) - {
        "ausuc", "accuracy_S", "accuracy_U", "accuracy_H", "own_text"}  # fmt: skip


@pytest.mark.parametrize("protocol", ["abnormal", "all"])
def test_replicates_begin_with_the_point_and_weigh_every_method_alike(testset, scores, protocol):
    keep, weights, unit = testset.draws[protocol]
    np.testing.assert_array_equal(keep, testset.labels.any(1) if protocol == "abnormal" else True)
    got = testset.replicates(scores, FINDINGS, protocol)
    summary = testset.tables(scores, FINDINGS, {})[1]
    y, s, columns = testset.labels[keep], scores[keep], FINDINGS.unseen_index
    drawn = [np.mean([roc_auc_score(y[:, c], s[:, c], sample_weight=w[unit]) for c in columns]) for w in weights]
    np.testing.assert_allclose(got["auroc_U"], drawn, atol=1e-12)
    assert len(drawn) == 7 and len(set(drawn)) == 7
    assert {"precision@2", "precision@3"} <= got.keys() and "precision@1" not in got
    for metric in ("auroc_U", "auroc_S", "ap_U", "recall@3"):
        assert got[metric][0] == pytest.approx(value(summary, metric, protocol), abs=1e-12)


def test_without_replicates_there_is_the_point_only(tiny, scores):
    got = TestSet(tiny.folder).replicates(scores, FINDINGS, "all")
    assert {values.shape for values in got.values()} == {(1,)}


def test_embeddings_come_in_the_order_that_is_asked_for(tmp_path):
    folder, held = training(tmp_path / "training", [7, 3, 9, 4])
    got = embedded(folder, [9, 7, 4])
    assert got.keys() == {"visual", "scores", "semantic"}
    for name in ("visual", "scores"):
        np.testing.assert_array_equal(got[name], held[name][[2, 0, 3]])
    np.testing.assert_array_equal(got["semantic"], held["semantic"])


def test_scores_are_those_of_the_test_radiographs(testset, tmp_path):
    rows = np.random.default_rng(0).permutation(400)
    folder, held = training(tmp_path / "training", rows)
    wanted = [held["scores"][rows.tolist().index(row)] for row in testset.rows]
    np.testing.assert_array_equal(testset.scores(folder), wanted)


def test_other_radiographs_and_changed_embeddings_are_refused(tmp_path):
    folder, _ = training(tmp_path / "training", [7, 3])
    with pytest.raises(ValueError, match="trained on other radiographs .*holds no row 5.*delete it and train again"):
        embedded(folder, [3, 5, 6])
    with pytest.raises(FileNotFoundError):
        embedded(tmp_path / "nothing", [3])
    data = bytearray((folder / "embeddings.npz").read_bytes())
    data[60] ^= 1
    (folder / "embeddings.npz").write_bytes(data)
    with pytest.raises(ValueError, match="delete that folder and train again"):
        embedded(folder, [3])


def test_the_draws_are_as_many_as_asked_for_and_follow_the_seed(tiny):
    test = tiny.table[tiny.table["split"] == "test"]
    abnormal = test[test[list(KEYS)].any(axis=1)]
    for seed in (0, 3):
        made = TestSet(tiny.folder, replicates=5, seed=seed)
        for protocol, films in (("abnormal", abnormal), ("all", test)):
            names, unit = np.unique(films["patient"], return_inverse=True)
            n = len(names)
            drawn = np.random.default_rng(seed).multinomial(n, [1 / n] * n, size=5)
            _, weights, of = made.draws[protocol]
            np.testing.assert_array_equal(weights, [np.ones(n), *drawn])
            np.testing.assert_array_equal(of, unit)


def test_draws_are_from_seed_0_unless_another_is_told(tiny):
    plain, told = TestSet(tiny.folder, replicates=4), TestSet(tiny.folder, replicates=4, seed=0)
    np.testing.assert_array_equal(plain.draws["all"][1], told.draws["all"][1])
