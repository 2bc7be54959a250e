"""The weighted focused Euclidean distance metric loss.

A radiograph and a finding are two points in one space; the closer they lie, the likelier the finding.
With ``x = d² / τ`` and the closeness ``p = exp(-x)``, the loss treats ``p`` as a probability: it asks
positive pairs for ``-log p = x`` and negative pairs for ``-log(1 - p)``, *focuses* each on the pairs
that are still wrong, and *weights* an image's few positive labels against its many negative ones.
"""

import math

import torch
from torch import Tensor, nn

# Below this d²/τ two points count as coincident: -log(1 - exp(-x)) is infinite at x = 0.
COINCIDENT = 1e-6


def squared_distance(visual: Tensor, semantic: Tensor) -> Tensor:
    """Squared Euclidean distance of every radiograph to every finding.

    ``d²_ic = ‖v_i − s_c‖² = ‖v_i‖² + ‖s_c‖² − 2 v_i·s_c``, by one matrix product, in float32 or wider.

    Parameters
    ----------
    visual : Tensor, shape (B, D)
    semantic : Tensor, shape (C, D)

    Returns
    -------
    Tensor, shape (B, C)
        In ``[0, 4]`` when both inputs are L2-normalised.

    Raises
    ------
    ValueError
        If the two do not share D.

    Examples
    --------
    >>> squared_distance(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    tensor([[0., 2., 4.]])
    """
    if visual.ndim != 2 or semantic.ndim != 2 or visual.shape[1] != semantic.shape[1]:
        raise ValueError(
            f"visual (B, D) and semantic (C, D) must share D, got {tuple(visual.shape)} and {tuple(semantic.shape)}"
        )
    with torch.autocast(visual.device.type, enabled=False):  # a bfloat16 product would cost 3 of the 4 digits of d²
        wide = torch.promote_types(torch.promote_types(visual.dtype, semantic.dtype), torch.float32)
        v, s = visual.to(wide), semantic.to(wide)
        squared = v.square().sum(1, keepdim=True) + s.square().sum(1) - 2 * v @ s.T  # (B, C)
        return squared.clamp_min(0)  # rounding may leave -1e-7


def log1mexp(x: Tensor) -> Tensor:
    """``-log(1 - exp(-x))`` for ``x > 0``, accurate at both ends (Mächler 2012).

    Near 0 it is ``-log(-expm1(-x))``, far from it ``-log1p(-exp(-x))``; the switch is at ``log 2``.

    >>> log1mexp(torch.tensor([math.log(2), 50.0])).tolist()  # 1 - exp(-50) would round to 1, and its logarithm to 0
    [0.6931471824645996, 1.9287498933537385e-22]
    """
    return -torch.where(x < math.log(2), torch.log(-torch.expm1(-x)), torch.log1p(-torch.exp(-x)))


def surprisals(squared_distance: Tensor, tau: float | Tensor) -> tuple[Tensor, Tensor]:
    """``x = -log p = d²/τ`` and ``n = -log(1 - p)`` of every pair: what a positive and a negative pair would like at 0.

    Parameters
    ----------
    squared_distance : Tensor, shape (B, C)
    tau : float or scalar Tensor, > 0

    Returns
    -------
    x, n : Tensor, shape (B, C)
        Both finite, and so are their gradients: pairs nearer than ``d²/τ = 1e-6`` count as that near in ``n``.
    """
    x = squared_distance / tau  # (B, C)
    return x, log1mexp(x.clamp_min(COINCIDENT))  # (B, C), (B, C)


def pair_costs(
    x: Tensor, n: Tensor, labels: Tensor, *, gamma: float, alpha: float, costs: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Focused and weighted cost of every pair, before any sum.

    ``α (1 - p)^γ e⁺`` of a positive pair and ``(1 - α) p^γ e⁻`` of a negative one, where ``e⁺ = x`` and ``e⁻ = n``
    unless others are given.

    Parameters
    ----------
    x, n : Tensor, shape (B, C)
        Of :func:`surprisals`.
    labels : Tensor, shape (B, C)
        0 and 1.
    gamma, alpha : float
        As in :func:`weighted_focused_euclidean`.
    costs : pair of Tensors, shape (B, C), optional
        ``e⁺`` and ``e⁻``, for other readings of the loss (:class:`~cmdml.objectives.FocusedReading`).

    Returns
    -------
    positive, negative : Tensor, shape (B, C)
        Each is 0 where the pair is of the other kind.

    Raises
    ------
    ValueError
        If shapes differ or the batch is empty.

    Examples
    --------
    >>> x, n = surprisals(torch.tensor([[0.0, 1.0]]), tau=1.0)  # one radiograph: on a finding, and off another
    >>> positive, negative = pair_costs(x, n, torch.tensor([[1, 0]]), gamma=0.0, alpha=0.5)
    >>> [[round(cost, 3) for cost in kind[0].tolist()] for kind in (positive, negative)]
    [[0.0, 0.0], [0.0, 0.229]]
    """
    check_pairs(x, labels)
    labels = labels.to(x.dtype)
    cost_positive, cost_negative = costs or (x, n)
    positive = alpha * torch.exp(-gamma * n) * cost_positive * labels  # (1 - p)^γ = exp(-γ n)
    negative = (1 - alpha) * torch.exp(-gamma * x) * cost_negative * (1 - labels)  # p^γ = exp(-γ x)
    return positive, negative


def weighted_focused_euclidean(
    squared_distance: Tensor, labels: Tensor, *, gamma: float = 2.0, alpha: float = 0.75, tau: float = 1.0
) -> dict[str, Tensor]:
    r"""Weighted focused Euclidean distance metric loss of a batch.

    With :math:`x_{ic} = d_{ic}^2/\tau`, closeness :math:`p_{ic} = e^{-x_{ic}}`:

    .. math::

        L = \frac{1}{B} \sum_i \Big[ \sum_{c \in +} \alpha\,(1-p_{ic})^\gamma\, x_{ic}
            \;+\; \sum_{c \in -} (1-\alpha)\,p_{ic}^\gamma\,\big(-\log(1-p_{ic})\big) \Big]

    Parameters
    ----------
    squared_distance : Tensor, shape (B, C)
        Squared Euclidean distances of B radiographs to the C seen findings.
    labels : Tensor, shape (B, C)
        1 where the finding is present, 0 where not. A row of zeros (No Finding) is legal.
    gamma : float, >= 0
        Focusing exponent. 0 = every pair weighs the same; 2 = a pair that is right by far weighs almost nothing.
    alpha : float, in [0, 1]
        Weight of positive pairs; negative pairs get ``1 - alpha``.
    tau : float, > 0
        Temperature: the squared distance at which the closeness has dropped to 1/e.

    Returns
    -------
    dict of scalar Tensors
        ``total`` and its two summands ``positive`` and ``negative``: sums over findings, means over images.

    Raises
    ------
    ValueError
        If shapes differ, the batch is empty, or a hyper-parameter is out of its range.

    Notes
    -----
    ``gamma = 0, alpha = 0.5`` is half the plain Euclidean metric loss, the ablation's zero point. The abstract of Jin
    et al. (2023) states the two ideas but no formula; this reading borrows the focusing factor of the focal
    loss (Lin et al. 2017) and differentiates through it as they do. Values and gradients are finite everywhere: pairs
    nearer than ``d²/τ = 1e-6`` count as that near.

    Examples
    --------
    >>> d2 = torch.tensor([[0.1, 1.0]])  # one radiograph, near the first of two findings
    >>> right = weighted_focused_euclidean(d2, torch.tensor([[1, 0]]))
    >>> wrong = weighted_focused_euclidean(d2, torch.tensor([[0, 1]]))
    >>> list(right), round(right["total"].item(), 3), round(wrong["total"].item(), 3)
    (['total', 'positive', 'negative'], 0.016, 0.781)
    """
    if gamma < 0 or not 0 <= alpha <= 1 or tau <= 0:
        raise ValueError(f"need gamma >= 0, 0 <= alpha <= 1 and tau > 0, got gamma={gamma}, alpha={alpha}, tau={tau}")
    x, n = surprisals(squared_distance, tau)  # (B, C) each
    positive, negative = pair_costs(x, n, labels, gamma=gamma, alpha=alpha)  # (B, C) each
    positive, negative = positive.sum(1).mean(), negative.sum(1).mean()  # (B, C) -> (B,) -> scalar
    return {"total": positive + negative, "positive": positive, "negative": negative}


def check_pairs(pairs: Tensor, labels: Tensor) -> None:
    """Raise ``ValueError`` unless both are (B, C) with B > 0."""
    if pairs.ndim != 2 or pairs.shape != labels.shape or len(pairs) == 0:
        shapes = f"{tuple(pairs.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"need distances and labels of one shape (B, C) with B > 0, got {shapes}")


class WeightedFocusedEuclideanLoss(nn.Module):
    """:func:`weighted_focused_euclidean` of two sets of embeddings.

    Parameters
    ----------
    gamma, alpha, tau : float
        Focusing exponent, weight of positive pairs, temperature.

    Examples
    --------
    >>> import torch
    >>> v, s = torch.eye(3)[:2], torch.eye(3)                  # two radiographs lie on findings 0 and 1 of three
    >>> loss = WeightedFocusedEuclideanLoss(gamma=2, alpha=0.75, tau=1)
    >>> right, wrong = loss(v, s, torch.eye(3)[:2]), loss(v, s, 1 - torch.eye(3)[:2])
    >>> bool(right["total"] < wrong["total"])              # OBJECTIVES["focused"]
    True
    >>> plain = WeightedFocusedEuclideanLoss(gamma=0, alpha=0.5)  # OBJECTIVES["euclidean"]
    >>> plain(v, s, 1 - torch.eye(3)[:2])["positive"].item()      # two wrong positives, each at d² = 2, halved
    2.0
    """

    def __init__(self, gamma: float = 2.0, alpha: float = 0.75, tau: float = 1.0):
        super().__init__()
        self.gamma, self.alpha, self.tau = gamma, alpha, tau

    def forward(self, visual: Tensor, semantic: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``visual`` (B, D), ``semantic`` (C, D), ``labels`` (B, C) -> ``total``, ``positive``, ``negative``."""
        d2 = squared_distance(visual, semantic)
        return weighted_focused_euclidean(d2, labels, gamma=self.gamma, alpha=self.alpha, tau=self.tau)

    def score(self, visual: Tensor, semantic: Tensor) -> Tensor:
        """Score of every finding for every radiograph, (B, C): ``-d²``, higher = more likely."""
        return -squared_distance(visual, semantic)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, alpha={self.alpha}, tau={self.tau}"
