"""What explains the AUROC of a text, against naive loops and made-up models in which the answer is known."""

import numpy as np
import pytest

from cmdml.evaluation import texts
from cmdml.evaluation.controls import illness_alone, swapped_text
from cmdml.findings import SeenUnseen

FINDINGS = SeenUnseen(("a", "b", "c", "d", "e"), ("d", "e"))


def naive_auroc(label, score):
    pairs = [(p, n) for p in score[label == 1] for n in score[label == 0]]
    return np.mean([(p > n) + 0.5 * (p == n) for p, n in pairs]) if pairs else np.nan


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    labels = (rng.random((120, 5)) < 0.3).astype(int)
    return labels, np.round(rng.normal(size=(120, 5)), 1)  # rounded: with ties


def test_auroc_is_that_of_counted_pairs(made):
    labels, scores = made
    labels[:, 1] = 0
    found = texts.auroc(labels, scores)
    for a in range(5):
        for b in range(5):
            np.testing.assert_allclose(found[a, b], naive_auroc(labels[:, a], scores[:, b]))
    assert np.isnan(found[1]).all()


def test_illness_and_lift(made):
    labels, scores = made
    ill = labels.any(1)
    np.testing.assert_allclose(texts.illness_of_texts(labels, scores), [naive_auroc(ill, s) for s in scores.T])
    lift = texts.lift_of_texts(labels, scores, FINDINGS)
    table = np.array([[naive_auroc(labels[ill][:, a], scores[ill][:, b]) for b in range(5)] for a in (3, 4)])
    table -= table.mean(1, keepdims=True)
    np.testing.assert_allclose(lift, [*table[:, :3].mean(0), table[1, 3], table[0, 4]])  # never by its own text


def looking(text, films, n=4000):
    """Scores of a model that knows unseen texts only by the seen ones near them.

    A film of an unseen finding looks like a mixture ``films`` (U, S) of the seen ones; ``text`` (U, S) are the anchors.
    """
    rng = np.random.default_rng(1)
    labels = np.zeros((n, 5), int)
    labels[np.arange(n), rng.integers(0, 5, n)] = 1
    looks = np.concatenate([np.eye(3), films])[labels.argmax(1)] + 0.6 * rng.normal(size=(n, 3))
    semantic = np.concatenate([np.eye(3), text])
    return labels, looks @ semantic.T, semantic


def test_a_text_that_points_at_its_look_alikes_finds_its_films_and_another_does_not():
    films = np.array([[0.9, 0.1, 0.0], [0.0, 0.1, 0.9]])
    for text, sign in ((films, 1), (films[::-1], -1)):  # right, and told of each other
        labels, scores, semantic = looking(text, films)
        found = texts.pointing(labels, scores, semantic, FINDINGS)
        contrast = swapped_text(labels, scores, np.arange(len(labels)), FINDINGS, replicates=20)[1]
        assert sign * contrast[0] > 0.1 and found.r > 0.9
        own = np.eye(2, dtype=bool)
        assert sign * found.predicted[own].mean() > 0.1
        assert (found.text.argmax(1) == found.films.argmax(1)).all() == (sign == 1)


def test_a_text_points_as_seen_from_the_middle_of_the_seen_anchors(made):
    semantic = np.random.default_rng(3).normal(2, 1, (5, 4))  # the unseen ones have no part in the middle
    found = texts.pointing(*made, semantic, FINDINGS)
    middle = (semantic[0] + semantic[1] + semantic[2]) / 3
    for row, a in zip(found.text, (3, 4), strict=True):
        for cosine, c in zip(row, range(3), strict=True):
            u, v = semantic[a] - middle, semantic[c] - middle
            assert cosine == pytest.approx(u @ v / (np.linalg.norm(u) * np.linalg.norm(v)))


def test_whom_films_look_like_is_asked_among_the_ill_and_the_prediction_follows_from_it(made):
    labels, scores = made
    assert (~labels.any(1)).sum() > 5  # normal films, which would lift every cell
    found = texts.pointing(labels, scores, np.random.default_rng(3).normal(size=(5, 4)), FINDINGS)
    ill = labels.any(1)
    for i, a in enumerate((3, 4)):
        for c in range(3):
            assert found.films[i, c] == pytest.approx(naive_auroc(labels[ill, a], scores[ill, c]))
    raw = np.array([[sum(found.films[a, c] * found.text[b, c] for c in range(3)) for b in (0, 1)] for a in (0, 1)])
    wanted = raw - raw.mean(1, keepdims=True) - raw.mean(0) + raw.mean()
    np.testing.assert_allclose(found.predicted, wanted)
    pairs = np.array([[naive_auroc(labels[ill, a], scores[ill, b]) for b in (3, 4)] for a in (3, 4)])
    wanted = pairs - pairs.mean(1, keepdims=True) - pairs.mean(0) + pairs.mean()
    np.testing.assert_allclose(found.matrix, wanted, atol=1e-12)


def test_pointing_says_nothing_of_a_model_that_only_knows_illness():
    labels, scores, semantic = looking(np.eye(3)[:2], np.eye(3)[:2])
    flat = np.repeat(scores.sum(1, keepdims=True), 5, axis=1)
    found = texts.pointing(labels, flat, np.ones((5, 3)), FINDINGS)
    np.testing.assert_allclose(found.matrix, 0, atol=1e-12)
    assert np.isnan(found.r)
    with pytest.raises(ValueError, match="at least two unseen findings, got 1"):
        texts.pointing(labels, scores, semantic, SeenUnseen(FINDINGS.keys, ("e",)))


def test_margins_are_taken_out_and_unknown_rows_stay_unknown():
    matrix = np.array([[0.9, 0.5, 0.4], [np.nan] * 3, [0.6, 0.7, 0.2]])
    left = texts.without_margins(matrix)
    assert np.isnan(left[1]).all()
    np.testing.assert_allclose(np.nansum(left, axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(left[[0, 2]].sum(1), 0, atol=1e-12)


def test_correlation_needs_three_pairs_that_vary():
    assert texts.correlation([1, 2, np.nan, 4], [2, 4, 5, 8]) == pytest.approx(1)
    assert np.isnan(texts.correlation([1, 2], [1, 2])) and np.isnan(texts.correlation([1, 1, 1], [1, 2, 3]))


def test_illness_alone_is_one_score_in_units_of_films_that_are_not_tested(made):
    _, scores = made
    reference = np.random.default_rng(2).normal(3, [1, 2, 3, 4, 5], (50, 5))
    found = illness_alone(scores, reference, FINDINGS)
    mean, spread = reference.mean(0), reference.std(0)
    expected = [np.mean([(row[c] - mean[c]) / spread[c] for c in range(3)]) for row in scores]
    assert found.shape == (120, 5)
    for column in found.T:
        np.testing.assert_allclose(column, expected)
    changed = scores.copy()
    changed[:, 3:] = 99  # unseen scores are not read
    np.testing.assert_array_equal(illness_alone(changed, reference, FINDINGS), found)
    reference[:, 0] = 1
    assert np.isfinite(illness_alone(scores, reference, FINDINGS)).all()


def test_a_correlation_leaves_out_what_either_side_lacks_and_needs_both_to_vary():
    assert texts.correlation([1, 2, 3, 9, 4], [2, 4, 6, np.nan, 8]) == pytest.approx(1)
    assert texts.correlation([1, 2, 3, np.nan], [3, 2, 1, 5]) == pytest.approx(-1)
    rounded = [1, 1 + 4e-16, 1]  # no more than rounding apart
    for constant in ([5, 5, 5], rounded):
        assert np.isnan(texts.correlation(constant, [1, 3, 2])) and np.isnan(texts.correlation([1, 3, 2], constant))


def test_anchors_that_lie_close_together_point_as_far_ones_do(made):
    semantic = np.random.default_rng(3).normal(2, 1, (5, 4))
    far, near = (texts.pointing(*made, scale * semantic, FINDINGS) for scale in (1, 1e-6))
    np.testing.assert_allclose(near.text, far.text, rtol=1e-6)
