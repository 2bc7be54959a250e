"""Is this a film like those of the training? A distance in feature space, with a threshold from validation films."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

COMPONENTS = 64
FLOOR = 1e-6  # a direction in which no training film varies makes any film strange, but no distance infinite
QUANTILE = 0.99  # of validation films that stay below the threshold: one film in a hundred is a false alarm


@dataclass(frozen=True, eq=False)
class Familiar:
    r"""Squared Mahalanobis distance under probabilistic PCA, per feature.

    Features are standardised, :math:`x = (f - \mu) / \sigma`; K principal components with variances
    :math:`\lambda_k` and one noise variance :math:`\varepsilon` for the rest describe their covariance, and

    .. math:: q = \frac1F \Big( \sum_k \frac{z_k^2}{\lambda_k} + \frac{\lVert x - V^\top z \rVert^2}{\varepsilon}
              \Big), \qquad z = V x.

    A film of the training has q near 1. A film is *unfamiliar* if q is above ``QUANTILE`` of the validation films.
    Where from: Tipping and Bishop (1999); as a detector of other inputs, Lee et al. (2018). Fitted by
    scikit-learn's ``PCA``.

    Parameters
    ----------
    mean, scale : (F,)
    components : (K, F)
    variances : (K,)
    noise : (1,)
    validation : (V,)
        q of the validation films, ascending.
    """

    mean: Tensor
    scale: Tensor
    components: Tensor
    variances: Tensor
    noise: Tensor
    validation: Tensor

    @classmethod
    def fit(cls, learnt: np.ndarray, validation: np.ndarray) -> Familiar:
        """Features (N, F) of the training films, and those (V, F) that give the threshold."""
        from sklearn.decomposition import PCA  # seconds to import, and only this fits anything

        mean, scale = learnt.mean(0, dtype=np.float64), learnt.std(0, dtype=np.float64)
        scale[scale < 1e-6] = 1.0  # a feature that never varies is not blown up
        k = min(COMPONENTS, learnt.shape[1] - 1, len(learnt) - 1)
        pca = PCA(k, svd_solver="covariance_eigh").fit((learnt - mean) / scale)
        # the mean of standardised features is 0, so PCA's own mean is left out
        spread = (np.maximum(pca.explained_variance_, FLOOR), np.array([max(float(pca.noise_variance_), FLOOR)]))
        parts = (mean, scale, pca.components_, *spread)
        parts = [torch.from_numpy(np.array(part, dtype=np.float32)) for part in parts]
        distance = cls(*parts, torch.zeros(1)).distance(torch.from_numpy(validation))
        return cls(*parts, distance.sort().values)

    @classmethod
    def of(cls, reference: dict[str, Tensor]) -> Familiar:
        """From the tensors of a head."""
        return cls(*(reference[f"film_{name}"] for name in cls.__dataclass_fields__))

    def tensors(self) -> dict[str, Tensor]:
        """For the file of a head."""
        return {f"film_{name}": getattr(self, name).contiguous() for name in self.__dataclass_fields__}

    @property
    def threshold(self) -> float:
        """q above which a film is unfamiliar."""
        return float(torch.quantile(self.validation, QUANTILE))

    @property
    def about(self) -> dict:
        """For a card."""
        return {"method": "probabilistic PCA on standardised features", "components": len(self.variances),
                "quantile": QUANTILE, "threshold": self.threshold,
                "validation_films": len(self.validation)}  # fmt: skip

    def distance(self, features: Tensor) -> Tensor:
        """q (B,) of features (B, F)."""
        x = (features.float() - self.mean) / self.scale
        z = x @ self.components.T
        rest = (x.square().sum(1) - z.square().sum(1)).clamp_min(0)
        return ((z.square() / self.variances).sum(1) + rest / self.noise) / x.shape[1]
