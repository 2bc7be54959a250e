"""Training objectives behind one call: the study's loss and what it is compared with.

Each entry of :data:`OBJECTIVES` is called as ``build(config, vectors)`` with a :class:`cmdml.training.TrainConfig` and the
semantic vectors (S, E) of the seen findings. It returns a module with ``forward(visual, semantic, labels) -> dict`` of named
terms, ``total`` first, and ``score(visual, semantic) -> (B, C)``, higher = more likely.
"""

from cmdml.loss import WeightedFocusedEuclideanLoss


def focused(config, vectors) -> WeightedFocusedEuclideanLoss:
    """The study's loss at the configured ``gamma``, ``alpha`` and ``tau``."""
    return WeightedFocusedEuclideanLoss(config.gamma, config.alpha, config.tau)


def euclidean(config, vectors) -> WeightedFocusedEuclideanLoss:
    """The plain Euclidean metric loss: no focusing (γ = 0), no weighting (α = ½); the ablation's zero point."""
    return WeightedFocusedEuclideanLoss(gamma=0.0, alpha=0.5, tau=config.tau)


OBJECTIVES = {"focused": focused, "euclidean": euclidean}
