"""The design of a rotation: every finding takes its turn, patients stay whole, neighbours are both seen and unseen."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedKFold

from cmdml.findings import KEYS, findings_of
from cmdml.semantics import semantic_vectors
from cmdml.study import design
from cmdml.study.design import nearest_neighbours, patient_folds, pseudo_unseen, quadruples
from cmdml.study.places import ROOT


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


@pytest.mark.parametrize("seed", [101, 102, 103, 104, 105])
def test_designs_are_those_that_the_committed_tables_were_made_with(similarity, seed):
    table = pd.read_csv(ROOT / "data/results/rotation-nih-mini/coverage.csv")
    committed = table[table.design == seed].groupby("quadruple").finding.apply(set)
    assert [{KEYS[c] for c in one} for one in quadruples(similarity, seed)] == committed.tolist()


def test_the_first_of_equal_neighbours_counts_and_whole_numbers_will_do():
    assert nearest_neighbours([[9, 2, 2], [1, 9, 1], [3, 3, 9]]).tolist() == [1, 0, 0]


def test_a_design_that_is_not_found_says_so(monkeypatch):
    monkeypatch.setattr(design, "TRIES", 3)
    with pytest.raises(ValueError, match="no design of 5 findings was found in 3 draws of seed 7: use another seed"):
        quadruples(np.eye(5), 7, size=1)  # alone, nobody is unseen with a neighbour
    for size in (0, 5):
        with pytest.raises(ValueError, match=f"a design of 5 findings needs 1 to 4 unseen at a time, got {size}"):
            quadruples(np.eye(5), 7, size=size)


def test_a_design_of_another_size():
    similarity = np.abs(np.subtract.outer(np.arange(8), np.arange(8))) * -1.0
    near = nearest_neighbours(similarity)
    sets = quadruples(similarity, 1, size=3)
    for c in range(8):
        holding = [one for one in sets if c in one]
        assert len(holding) == 3 and 0 < sum(near[c] in one for one in holding) < 3


def test_folds_are_stratified_by_the_rarest_finding_of_a_patient():
    rng = np.random.default_rng(3)
    patients = rng.permutation([f"p{i:03d}" for i in range(90)] * 2)
    labels = (rng.random((180, 3)) < [0.1, 0.4, 0.2]).astype(int) * 2  # anything but 0 is a label
    order = sorted(range(3), key=lambda c: (labels[:, c] > 0).sum())
    names, stratum = sorted(set(patients)), []
    for name in names:
        shown = {c for row in labels[patients == name] for c in np.flatnonzero(row)}
        stratum.append(next((i for i, c in enumerate(order) if c in shown), 3))
    assert set(stratum) == {0, 1, 2, 3}
    fold = {}
    splits = StratifiedKFold(3, shuffle=True, random_state=11).split(np.zeros(90), stratum)
    for at, (_, held) in enumerate(splits):
        fold |= {names[i]: at for i in held}
    assert patient_folds(patients, labels, 3, seed=11).tolist() == [fold[name] for name in patients]


def test_pseudo_unseen_go_round_where_they_do_not_fit():
    seen = [1, 3, 4, 6, 8]
    order = np.random.default_rng(2).permutation(seen)
    wanted = [tuple(sorted(order[[(2 * i + j) % 5 for j in range(2)]])) for i in range(4)]
    assert pseudo_unseen(seen, 2, draws=4, unseen=2) == wanted
