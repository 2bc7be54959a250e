"""Permuted signs against the loop that tells ESZSL other vectors, one permutation at a time."""

import numpy as np
import pytest
import torch
from reference import pooled_u
from safetensors import safe_open
from sklearn.metrics import roc_auc_score

from cmdml.findings import KEYS, findings_of
from cmdml.semantics import semantic_vectors
from cmdml.study.permutations import jobs, orders, permuted, pooled_auroc, row
from cmdml.study.scorers import Scorer


class Told(Scorer):
    """ESZSL that takes one finding for another."""

    order = None

    def _vectors(self, semantics):
        return torch.from_numpy(semantic_vectors(findings_of(self.keys), semantics).numpy()[self.order])


def loop(rotation, order):
    scores = np.zeros((len(rotation.sets), len(rotation.films), len(KEYS)))
    for q in range(len(rotation.sets)):
        scorer = Told(rotation, "eszsl", q)
        scorer.order = order
        setting, _ = scorer.choose()
        for at in range(3):
            cell = rotation.cell(q, at)
            scores[q, cell.test] = scorer(cell, setting, cell.test)
    return pooled_u(rotation, scores)


@pytest.fixture(scope="module")
def real_and_free(rotation):
    return permuted(rotation, "free", 9)


def test_the_real_order_reaches_what_the_rotation_stored(rotation, scored, real_and_free):
    with safe_open(scored["eszsl"], framework="np") as file:
        assert real_and_free[0] == pytest.approx(pooled_u(rotation, file.get_tensor("scores")), abs=1e-5)


@pytest.mark.parametrize("kind", ["free", "opacities"])
def test_a_permutation_is_eszsl_told_other_signs_with_its_own_settings(rotation, kind):
    got, order = permuted(rotation, kind, 3), orders(KEYS, 3, kind, rotation.design)
    for value, one in zip(got[1:], order[1:], strict=True):
        assert value == pytest.approx(loop(rotation, one), abs=1e-9)


def test_planted_signs_are_found_and_permuted_ones_are_chance(rotation, real_and_free):
    assert real_and_free[0] > 0.75 and real_and_free[0] > real_and_free[1:].max() + 0.1
    assert abs(real_and_free[1:].mean() - 0.5) < 0.08
    asked = jobs({1: rotation}, {"permutations": 9})
    assert [kind for _, kind, _ in asked] == ["free", "opacities"]
    free = row(asked[0])
    assert (free["design"], free["kind"], free["permutations"]) == (1, "free", 9)
    assert free["p"] == pytest.approx(0.1) and free["real"] == real_and_free[0]
    assert (free["mean"], free["largest"]) == (real_and_free[1:].mean(), real_and_free[1:].max())
    assert free["sd"] == pytest.approx(np.std(real_and_free[1:], ddof=1))


def test_orders_permute_freely_or_among_the_opacities():
    free, opacities = orders(KEYS, 50, "free", 3), orders(KEYS, 50, "opacities", 3)
    opaque = np.array(["opacity" in finding.signs for finding in findings_of(KEYS)])
    for one in (free, opacities):
        assert (one[0] == np.arange(14)).all() and (np.sort(one, axis=1) == np.arange(14)).all()
        assert len({tuple(row) for row in one}) == 51
    assert (opacities[:, ~opaque] == np.flatnonzero(~opaque)).all() and (free[:, ~opaque] != free[0, ~opaque]).any()
    assert (orders(KEYS, 50, "free", 3) == free).all() and (orders(KEYS, 50, "free", 4) != free).any()


def test_pooled_auroc_is_scikit_learns_times_the_pairs_ties_half():
    rng = np.random.default_rng(0)
    positive, scores = rng.random(60) < 0.2, rng.integers(0, 6, (60, 4)).astype(float)
    above, pairs = pooled_auroc(positive, scores)
    assert pairs == positive.sum() * (~positive).sum()
    np.testing.assert_allclose(above / pairs, [roc_auc_score(positive, column) for column in scores.T])
    assert pooled_auroc(np.zeros(60), scores)[1] == 0


def test_a_finding_without_a_pair_adds_nothing_and_one_pair_is_one_pair():
    scores = np.array([[0.1, 0.5, 0.3], [0.2, 0.4, 0.3]])
    above, pairs = pooled_auroc([False, True], scores)
    assert above.tolist() == [1, 0, 0.5] and pairs == 1
    above, pairs = pooled_auroc([True, True], scores)
    assert above.tolist() == [0, 0, 0] and pairs == 0


def test_opacities_are_shuffled_by_the_seed_alone():
    opaque = [c for c, finding in enumerate(findings_of(KEYS)) if "opacity" in finding.signs]
    rng, wanted = np.random.default_rng(5), []
    for _ in range(4):
        wanted.append(np.arange(14))
        wanted[-1][opaque] = np.array(opaque)[rng.permutation(len(opaque))]
    assert orders(KEYS, 4, "opacities", 5)[1:].tolist() == np.array(wanted).tolist() and len(opaque) > 3


def test_words_are_those_that_the_rotation_reads(rotation, told):
    permuted(rotation, "free", 1)
    assert told == ["signs_text"]
