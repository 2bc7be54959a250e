"""Training objectives behind one call: the study's loss and what it is compared with.

Each entry of :data:`OBJECTIVES` is called as ``build(config, vectors)`` with a :class:`cmdml.config.TrainConfig` and
the semantic vectors (S, E) of the seen findings. It returns a module with ``forward(visual, semantic, labels) -> dict``
of named terms, ``total`` first and the sum of the others, and ``score(visual, semantic) -> (B, C)``, higher = more
likely. No score depends on a learnt parameter of its objective, so embeddings alone reproduce it.

Shapes everywhere: ``visual`` (B, D), ``semantic`` (C, D), ``labels`` (B, C) of 0 and 1; sums over findings, means over
images.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmdml.loss import COINCIDENT, WeightedFocusedEuclideanLoss, check_pairs, pair_costs, squared_distance, surprisals
from cmdml.ranking import LabelEmbeddingLoss, RankingLoss


class FocusedReading(nn.Module):
    r"""Other readings of the weighted focused Euclidean distance metric loss, each one step from the study's own.

    With :math:`p = e^{-d^2/\tau}`, a positive pair costs :math:`\alpha (1-p)^\gamma e^+` and a negative one
    :math:`(1-\alpha) p^\gamma e^-`:

    * as in the study's loss, :math:`e^+ = d^2/\tau` and :math:`e^- = -\log(1-p)`;
    * ``on_distance``: the weights act on the distance itself, :math:`e^+ = d^2` and :math:`e^- = \max(0, m - d)^2`;
    * ``balanced``: costs are divided by the image's number of positives or of negatives, so that
      :math:`\alpha = \frac{1}{2}` already balances the two;
    * ``learn_tau``: :math:`\tau` is trained, as :math:`\log\tau`, from its configured value.

    Where from: ours, from the abstract of Jin et al. (2023), which gives no formula; the margin is the contrastive
    loss's (Hadsell, Chopra and LeCun 2006). Relations: with no option it is
    :func:`~cmdml.loss.weighted_focused_euclidean`; a negative pair beyond the margin costs nothing, where the
    study's loss goes on pushing. Degenerate images: no positives (or no negatives) = an exact 0 of that term.
    Score: ``-d²``.

    Examples
    --------
    A radiograph on the first of two findings, at d² = 0.8 from the second; labelled with the first, then the second:

    >>> visual, semantic = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    >>> def cost(loss):
    ...     labels = (torch.tensor([[1, 0]]), torch.tensor([[0, 1]]))
    ...     return [round(loss(visual, semantic, one)["total"].item(), 2) for one in labels]
    >>> cost(FocusedReading(on_distance=True, margin=1.0))  # OBJECTIVES["focused_distance"]
    [0.0, 0.43]
    >>> cost(FocusedReading(balanced=True))  # OBJECTIVES["focused_balanced"]
    [0.03, 3.64]
    >>> loss = FocusedReading(learn_tau=True)  # OBJECTIVES["focused_tau"]
    >>> cost(loss), [name for name, _ in loss.named_parameters()]
    ([0.03, 3.64], ['log_tau'])
    """

    def __init__(
        self, gamma=2.0, alpha=0.75, tau=1.0, *, on_distance=False, balanced=False, learn_tau=False, margin=1.0
    ):
        super().__init__()
        if gamma < 0 or not 0 <= alpha <= 1 or tau <= 0 or margin < 0:
            given = f"gamma={gamma}, alpha={alpha}, tau={tau}, margin={margin}"
            raise ValueError(f"need gamma >= 0, 0 <= alpha <= 1, tau > 0 and margin >= 0, got {given}")
        self.gamma, self.alpha, self.margin = gamma, alpha, margin
        self.on_distance, self.balanced = on_distance, balanced
        log_tau = torch.tensor(math.log(tau))
        if learn_tau:
            self.log_tau = nn.Parameter(log_tau)
        else:
            self.register_buffer("log_tau", log_tau)

    def forward(self, visual: Tensor, semantic: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``total``, ``positive``, ``negative``."""
        d2 = squared_distance(visual, semantic)  # (B, C)
        x, n = surprisals(d2, self.log_tau.exp())  # (B, C) each
        costs = None
        if self.on_distance:
            distance = d2.clamp_min(COINCIDENT).sqrt()  # the root has no slope at 0
            costs = d2, (self.margin - distance).clamp_min(0).square()
        positive, negative = pair_costs(x, n, labels, gamma=self.gamma, alpha=self.alpha, costs=costs)
        positive, negative = positive.sum(1), negative.sum(1)  # (B, C) -> (B,)
        if self.balanced:
            labels = labels.to(d2.dtype)
            positive, negative = positive / labels.sum(1).clamp_min(1), negative / (1 - labels).sum(1).clamp_min(1)
        positive, negative = positive.mean(), negative.mean()
        return {"total": positive + negative, "positive": positive, "negative": negative}

    score = WeightedFocusedEuclideanLoss.score

    def learnt(self) -> dict[str, float]:
        """``{"tau": τ}`` as it stands, where it is trained."""
        return {"tau": self.log_tau.exp().item()} if isinstance(self.log_tau, nn.Parameter) else {}


class CrossEntropyLoss(nn.Module):
    r"""Binary cross-entropy of dot products: each finding of each image is one yes-or-no question.

    .. math:: L = -\frac{1}{B} \sum_i \Big[ \sum_{c \in +} \log σ(z_{ic}) + \sum_{c \in -} \log(1 - σ(z_{ic})) \Big],
              \qquad z_{ic} = e^a\, v_i^\top s_c + b

    Scale :math:`e^a` and bias :math:`b` are learnt and shared by all findings, so that they hold for unseen ones; they
    start at 10 (as in SigLIP, Zhai et al. 2023) and at -3, near the logit of a 5 % prevalence.

    Where from: the standard multi-label loss on a dot-product compatibility, ours in this form. Relations: with unit
    vectors :math:`v^\top s = 1 - d²/2`, so that it differs from ``euclidean`` in the link from distance to probability
    only; with ``one_hot`` semantics it is an ordinary classifier, the one that ``nearest_seen`` and the ceiling
    ``supervised`` stand on. Degenerate batches: exact 0 of the missing term. Score: dot product, which has
    the order of z within an image and across images.

    Examples
    --------
    >>> visual, semantic = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    >>> loss = CrossEntropyLoss()  # OBJECTIVES["bce"]: logits 10 · 1 - 3 = 7 and 10 · 0.6 - 3 = 3
    >>> terms = loss(visual, semantic, torch.tensor([[1, 0]]))
    >>> {name: round(term.item(), 2) for name, term in terms.items()}
    {'total': 3.05, 'positive': 0.0, 'negative': 3.05}
    """

    def __init__(self, scale: float = 10.0, bias: float = -3.0):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, visual: Tensor, semantic: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``total``, ``positive``, ``negative``."""
        logits = self.log_scale.exp() * self.score(visual, semantic) + self.bias  # (B, C)
        check_pairs(logits, labels)
        labels = labels.to(logits.dtype)
        positive = (F.softplus(-logits) * labels).sum(1).mean()  # -log σ(z) = softplus(-z)
        negative = (F.softplus(logits) * (1 - labels)).sum(1).mean()
        return {"total": positive + negative, "positive": positive, "negative": negative}

    score = LabelEmbeddingLoss.score


def _focused(config, cls=FocusedReading, **reading):
    return cls(config.gamma, config.alpha, config.tau, **reading)


def _margin(config, own: float) -> float:
    return own if config.margin is None else config.margin


#: Name -> ``build(config, vectors)``.
OBJECTIVES = {
    "focused": lambda config, vectors: _focused(config, WeightedFocusedEuclideanLoss),
    "focused_distance": lambda config, vectors: _focused(config, on_distance=True, margin=_margin(config, 1.0)),
    "focused_balanced": lambda config, vectors: _focused(config, balanced=True),
    "focused_tau": lambda config, vectors: _focused(config, learn_tau=True),
    # The plain Euclidean metric loss, no focusing and no weighting: the ablation's zero point.
    "euclidean": lambda config, vectors: WeightedFocusedEuclideanLoss(gamma=0.0, alpha=0.5, tau=config.tau),
    "ranking": lambda config, vectors: RankingLoss(vectors, _margin(config, 0.2)),
    "ale": lambda config, vectors: LabelEmbeddingLoss(_margin(config, 1.0)),
    "bce": lambda config, vectors: CrossEntropyLoss(),
}
HYPERPARAMETERS = ("gamma", "alpha", "tau", "margin")
#: Which of them an objective reads; the others would be without effect.
USES = {
    "focused": ("gamma", "alpha", "tau"),
    "focused_distance": ("gamma", "alpha", "tau", "margin"),
    "focused_balanced": ("gamma", "alpha", "tau"),
    "focused_tau": ("gamma", "alpha", "tau"),
    "euclidean": ("tau",),
    "ranking": ("margin",),
    "ale": ("margin",),
    "bce": (),
}
