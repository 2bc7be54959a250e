"""The design of a rotation: every finding takes its turn, patients stay whole, neighbours are both seen and unseen."""

import numpy as np
import pytest

from cmdml.findings import KEYS, findings_of
from cmdml.semantics import semantic_vectors
from cmdml.study.design import nearest_neighbours, patient_folds, pseudo_unseen, quadruples


@pytest.fixture(scope="module")
def similarity():
    vectors = semantic_vectors(findings_of(KEYS), "signs").numpy()
    return vectors @ vectors.T


@pytest.mark.parametrize("seed", [101, 102, 103, 104, 105])
def test_every_finding_is_unseen_four_times_with_and_without_its_neighbour(similarity, seed):
    sets = quadruples(similarity, seed)
    assert len(sets) == len(set(sets)) == len(KEYS) and sets == sorted(sets)
    for c in range(len(KEYS)):
        holding = [one for one in sets if c in one]
        others = [k for k in range(len(KEYS)) if k != c]
        neighbour = max(others, key=lambda k: similarity[c, k])
        assert len(holding) == 4 and all(len(set(one)) == 4 for one in sets)
        assert 0 < sum(neighbour in one for one in holding) < 4


def test_a_design_follows_from_its_seed(similarity):
    assert quadruples(similarity, 7) == quadruples(similarity, 7) != quadruples(similarity, 8)


def test_no_finding_is_its_own_neighbour():
    assert nearest_neighbours(np.array([[9.0, 1, 2], [1, 9, 3], [2, 3, 9]])).tolist() == [2, 2, 1]


def test_impossible_designs_are_refused():
    with pytest.raises(ValueError, match="needs 1 to 2 unseen"):
        quadruples(np.eye(3), 0, size=3)


def test_folds_keep_patients_whole_and_spread_the_rare():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(400), 3)
    labels = (rng.random((1200, 3)) < [0.3, 0.1, 0.02]).astype(int)
    folds = patient_folds(patients, labels, 5, seed=1)
    assert (folds.reshape(400, 3) == folds[::3, None]).all() and set(folds) == set(range(5))
    rare = [labels[folds == k, 2].reshape(-1, 3).any(1).sum() for k in range(5)]
    assert max(rare) - min(rare) <= 1  # patients who show the rarest finding are dealt out evenly
    assert (folds != patient_folds(patients, labels, 5, seed=2)).any()


def test_pseudo_unseen_are_seen_findings_and_disjoint_where_they_fit():
    seen = [0, 2, 3, 5, 7, 8, 9, 10, 12, 13]
    draws = pseudo_unseen(seen, 3, draws=3, unseen=3)
    assert len(draws) == 3 and all(set(one) <= set(seen) and len(set(one)) == 3 for one in draws)
    assert len(set().union(*draws)) == 9 and draws == pseudo_unseen(seen, 3, draws=3, unseen=3)
    assert draws != pseudo_unseen(seen, 4, draws=3, unseen=3)
