"""The distance of a film from those of the training, against the covariance that it stands for."""

import numpy as np
import pytest
import torch

from cmdml.familiar import COMPONENTS, QUANTILE, Familiar


def films(n, features=6, seed=0):
    """Correlated features of different scales."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 2)) @ np.random.default_rng(9).normal(size=(2, features))
    scale, place = np.arange(1, features + 1), 10 * np.arange(features)
    return ((shared + rng.normal(size=(n, features))) * scale + place).astype(np.float32)


def naive_distance(familiar, one):
    """Mahalanobis per feature under V^T diag(variances - noise) V + noise I."""
    x = ((one - familiar.mean.numpy()) / familiar.scale.numpy()).astype(float)
    basis, noise = familiar.components.numpy().astype(float), float(familiar.noise)
    covariance = basis.T @ np.diag(familiar.variances.numpy() - noise) @ basis + noise * np.eye(len(x))
    return x @ np.linalg.solve(covariance, x) / len(x)


def test_the_distance_is_that_of_the_covariance_it_stands_for():
    familiar, others = Familiar.fit(films(300), films(50, seed=1)), films(20, seed=2) + 3
    found = familiar.distance(torch.from_numpy(others))
    assert found.shape == (20,)
    assert found.numpy() == pytest.approx([naive_distance(familiar, one) for one in others], rel=1e-3)


def test_films_are_standardised_by_the_training_alone():
    learnt = films(300)
    familiar = Familiar.fit(learnt, films(50, seed=1) + 100)
    assert familiar.mean.numpy() == pytest.approx(learnt.astype(float).mean(0), rel=1e-6)
    assert familiar.scale.numpy() == pytest.approx(learnt.astype(float).std(0), rel=1e-6)


def test_a_feature_that_never_varies_is_not_blown_up():
    learnt = np.random.default_rng(0).normal(size=(300, 80)).astype(np.float32)
    learnt[:, 3], learnt[:, 4] = 7.0, 1e-4 * learnt[:, 4]
    familiar = Familiar.fit(learnt, learnt[:50])
    assert familiar.scale[3] == 1 and familiar.scale[4] == pytest.approx(1e-4, rel=0.2)
    moved = torch.from_numpy(learnt[:1]).clone()
    moved[0, 3] += 1e-3
    assert familiar.distance(moved) == pytest.approx(familiar.distance(torch.from_numpy(learnt[:1])), rel=1e-4)


def test_components_are_the_principal_ones_of_the_standardised_features():
    learnt = films(300)
    familiar = Familiar.fit(learnt, films(50, seed=1))
    x = (learnt - learnt.mean(0, dtype=float)) / familiar.scale.numpy()
    values, vectors = np.linalg.eigh(np.cov(x.T))
    values, vectors = values[::-1], vectors[:, ::-1].T
    k = 5  # one fewer than features
    assert familiar.components.shape == (k, 6)
    assert familiar.variances.numpy() == pytest.approx(values[:k], rel=1e-4)
    assert np.abs((familiar.components.numpy() * vectors[:k]).sum(1)) == pytest.approx(1, rel=1e-4)
    assert float(familiar.noise) == pytest.approx(values[k:].mean(), abs=1e-5)


@pytest.mark.parametrize("n, features, k", [(5, 20, 4), (300, 4, 3), (100, 90, COMPONENTS)])
def test_as_many_components_as_films_and_features_allow(n, features, k):
    learnt = np.random.default_rng(0).normal(size=(n, features)).astype(np.float32)
    assert Familiar.fit(learnt, learnt).about["components"] == k


def test_a_film_of_the_training_lies_near_one_and_a_far_one_far():
    learnt = np.random.default_rng(0).normal(size=(2000, 5)).astype(np.float32)
    familiar = Familiar.fit(learnt, learnt)
    distance = familiar.distance(torch.from_numpy(learnt))
    assert distance.mean().item() == pytest.approx(1, rel=0.02)
    assert familiar.distance(torch.full((1, 5), 10.0)).item() == pytest.approx(100, rel=0.1)
    assert familiar.distance(familiar.mean[None]).item() == pytest.approx(0, abs=1e-6)


def test_the_threshold_is_a_quantile_of_the_validation_films():
    familiar = Familiar.fit(films(300), films(200, seed=1))
    own = familiar.distance(torch.from_numpy(films(200, seed=1))).numpy()
    assert familiar.validation.numpy() == pytest.approx(np.sort(own))
    assert familiar.threshold == pytest.approx(np.quantile(own, QUANTILE), rel=1e-5)
    assert (own > familiar.threshold).sum() == 2  # one in a hundred
    assert familiar.about == {"method": "probabilistic PCA on standardised features", "components": 5,
                              "quantile": 0.99, "threshold": familiar.threshold, "validation_films": 200}  # fmt: skip


def test_it_is_kept_among_the_tensors_of_a_head():
    familiar = Familiar.fit(films(300), films(50, seed=1))
    tensors = familiar.tensors()
    assert sorted(tensors) == ["film_components", "film_mean", "film_noise", "film_scale", "film_validation",
                               "film_variances"]  # fmt: skip
    assert all(tensor.is_contiguous() and tensor.dtype == torch.float32 for tensor in tensors.values())
    again = Familiar.of(tensors | {"normal_visual": torch.zeros(1)})
    others = torch.from_numpy(films(9, seed=3))
    assert torch.equal(again.distance(others), familiar.distance(others)) and again.threshold == familiar.threshold


def test_half_precision_features_are_read_as_single():
    familiar, others = Familiar.fit(films(300), films(50, seed=1)), torch.from_numpy(films(9, seed=3)).half()
    assert torch.equal(familiar.distance(others), familiar.distance(others.float()))


def test_moments_of_many_films_are_not_lost_in_single_precision():
    learnt = (1000 + np.random.default_rng(0).normal(size=(20_000, 4))).astype(np.float32)
    familiar = Familiar.fit(learnt, learnt[:50])
    assert familiar.scale.numpy() == pytest.approx(learnt.astype(float).std(0), rel=1e-6)
    assert familiar.mean.numpy() == pytest.approx(learnt.astype(float).mean(0), rel=1e-7)


def test_a_fit_is_not_changed_afterwards():
    familiar = Familiar.fit(films(300), films(50, seed=1))
    with pytest.raises(AttributeError):
        familiar.noise = torch.zeros(1)


def test_directions_without_any_spread_still_warn():
    """As many components as directions leave no noise: a film off the plane is strange, not nan."""
    learnt = films(300, features=4)
    learnt[:, 3] = learnt[:, 0] + learnt[:, 1]  # one direction less than features
    learnt[:, 2] = 5.0
    familiar = Familiar.fit(learnt, learnt[:50])
    strange = learnt[:1].copy()
    strange[0, 3] += 100
    distance = familiar.distance(torch.from_numpy(np.concatenate([learnt[50:60], strange])))
    assert torch.isfinite(distance).all() and np.isfinite(familiar.threshold)
    assert distance[-1] > familiar.threshold and (distance[:-1] < 100 * max(familiar.threshold, 1)).all()


def test_no_distance_is_negative_where_features_repeat_each_other():
    learnt = films(300, features=1) * np.arange(1, 101, dtype=np.float32)
    familiar = Familiar.fit(learnt, learnt[:50])
    assert (familiar.distance(torch.from_numpy(learnt)) >= 0).all() and (familiar.validation >= 0).all()
