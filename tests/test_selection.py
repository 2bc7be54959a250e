"""The criterion that chooses an epoch, against counted pairs."""

import numpy as np
import pytest

from cmdml.selection import NOTHING_TO_CHOOSE_BY, both_kinds, seen_validation_auroc


def naive(labels, scores):
    """Of all pairs of a positive and a negative film that show something: how many are in order; ties count half."""
    films, aurocs = [i for i in range(len(labels)) if labels[i].any()], []
    for c in range(labels.shape[1]):
        pairs = [(scores[p, c], scores[n, c]) for p in films for n in films if labels[p, c] and not labels[n, c]]
        if pairs:
            aurocs.append(sum((p > n) + (p == n) / 2 for p, n in pairs) / len(pairs))
    return sum(aurocs) / len(aurocs)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", [np.uint8, bool, np.float32])
def test_it_is_the_mean_of_counted_pairs_among_films_with_a_seen_finding(seed, kind):
    rng = np.random.default_rng(seed)
    labels = (rng.random((40, 4)) < 0.3).astype(kind)
    labels[:, 3] = seed % 2  # a finding that all films have, or none
    scores = rng.integers(0, 6, (40, 4)).astype(float)  # many ties
    assert seen_validation_auroc(labels, scores) == pytest.approx(naive(labels, scores), abs=1e-12)


def test_its_ends_and_its_middle():
    labels = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
    assert seen_validation_auroc(labels, labels * 1.0) == 1.0
    assert seen_validation_auroc(labels, -labels * 1.0) == 0.0
    assert seen_validation_auroc(labels, np.zeros((4, 2))) == 0.5


def test_a_film_that_shows_nothing_has_no_say():
    labels, scores = np.array([[1, 0], [0, 1], [0, 0]]), np.array([[2.0, 0], [1, 1], [9, 9]])
    assert seen_validation_auroc(labels, scores) == 1.0


def test_findings_with_both_kinds():
    labels = np.array([[1, 0, 1, 0], [1, 0, 0, 1], [1, 0, 1, 1]])
    assert both_kinds(labels) == [2, 3] and both_kinds(labels[:1]) == [] and both_kinds(labels[:0]) == []


@pytest.mark.parametrize("labels", [np.zeros((3, 2)), np.array([[1, 1], [1, 1], [0, 0]]), np.ones((1, 2))])
def test_where_there_is_no_pair_nothing_is_chosen(labels):
    with pytest.raises(ValueError) as caught:
        seen_validation_auroc(labels, np.zeros(labels.shape))
    assert str(caught.value) == NOTHING_TO_CHOOSE_BY
