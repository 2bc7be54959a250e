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


def ranking_hinges(scores: Tensor, labels: Tensor, margin: float) -> Tensor:
    """``max(0, margin - score_p + score_n)`` of an image's positive-negative pairs, (B, C, C); 0 for other pairs."""
    check_pairs(scores, labels)
    if margin < 0:
        raise ValueError(f"margin must not be negative, got {margin}")
    labels = labels.to(scores.dtype)
    pairs = labels[:, :, None] * (1 - labels)[:, None, :]  # (B, positive, negative)
    return (margin - scores[:, :, None] + scores[:, None, :]).clamp_min(0) * pairs


class RankingLoss(nn.Module):
    r"""CXR-ML-GZSL's objective: rank an image's positives above its negatives, align, keep the classes' geometry.

    .. math::

        L = \frac{1}{B} \sum_i \sum_{p \in +} \sum_{n \in -} \max(0, m - \cos(v_i, s_p) + \cos(v_i, s_n))
            + \lambda_a \operatorname{mean}_i \big(1 - \cos(v_i, \bar s_i)\big)
            + \lambda_c \operatorname{mean}_{c, c'} \big|\cos(s_c, s_{c'}) - \cos(w_c, w_{c'})\big|

    :math:`\bar s_i` is the mean of the image's positive :math:`s_p` (images with at least one), :math:`w_c` the fixed
    semantic vectors before regression.

    Where from: Hayat, Lashen and Shamout (MLHC 2021, arXiv:2107.06563). Form and constants (m = 0.2,
    :math:`\lambda_a = \lambda_c = 0.01`) follow their repository nyuad-cai/CXR-ML-GZSL, with three differences. Its
    released code multiplies the alignment term by zero; here it counts, as the paper says. Its consistency term covers
    all 14 vectors, here the seen ones, and stops the gradient on one of two equal factors, which halves it. It never
    trains on No Finding images (``keep_no_finding=False`` does the same); here they are legal, with no pair to rank.
    Their network is ``direction="joint", hidden=[512, 256], dim=128`` with ReLU where ours has GELU.

    Relations: unlike the distance losses it only compares findings within an image, so that no term asks for scores
    that are comparable between images, which is what an AUROC measures. Degenerate batches: without positives (or
    without negatives) ``ranking`` is an exact 0. Score: cosine.

    Raises
    ------
    ValueError
        If ``semantic`` in ``forward`` does not have one row for each of ``vectors`` (S, E).
    """

    def __init__(self, vectors: Tensor, margin: float = 0.2, alignment: float = 0.01, consistency: float = 0.01):
        super().__init__()
        self.margin, self.alignment, self.consistency = margin, alignment, consistency
        self.register_buffer("similarity", self.score(vectors, vectors).detach(), persistent=False)  # (S, S)

    def forward(self, visual: Tensor, semantic: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``total`` and its weighted summands ``ranking``, ``alignment``, ``consistency``."""
        if len(semantic) != len(self.similarity):
            raise ValueError(f"built for {len(self.similarity)} findings, got semantic {tuple(semantic.shape)}")
        ranking = ranking_hinges(self.score(visual, semantic), labels, self.margin).sum((1, 2)).mean()
        positives = labels.to(semantic.dtype)
        any_positive = positives.amax(1)  # (B,)
        mean_positive = positives @ semantic / positives.sum(1, keepdim=True).clamp_min(1)  # (B, D)
        away = 1 - F.cosine_similarity(visual, mean_positive)
        alignment = self.alignment * (away * any_positive).sum() / any_positive.sum().clamp_min(1)
        consistency = self.consistency * (self.score(semantic, semantic) - self.similarity).abs().mean()
        total = ranking + alignment + consistency
        return {"total": total, "ranking": ranking, "alignment": alignment, "consistency": consistency}

    def score(self, visual: Tensor, semantic: Tensor) -> Tensor:
        """Cosine of every pair, (B, C)."""
        return F.normalize(visual, dim=1) @ F.normalize(semantic, dim=1).T


class LabelEmbeddingLoss(nn.Module):
    r"""ALE's objective: rank by compatibility, and care most about the top of the ranking.

    .. math::

        L = \frac{1}{B} \sum_i \sum_{p \in +} \frac{\beta_{r_{ip}}}{r_{ip}}
            \sum_{n \in -} \max(0, m - v_i^\top s_p + v_i^\top s_n),
        \qquad \beta_r = \sum_{j=1}^{r} \frac1j

    :math:`r_{ip}` counts the negatives that violate the margin; the weight carries no gradient.

    Where from: Akata, Perronnin, Harchaoui and Schmid (TPAMI 2016), whose weighted ranking is that of Usunier et al.
    (2009) and WSABIE (Weston et al. 2011), m = 1. They have one label per image; in our multi-label reading every
    positive is ranked against the negatives only, and with ten findings all are summed, none sampled. The compatibility
    is bilinear, :math:`\theta(x)^\top W w_c`, with ``direction="visual_to_semantic", hidden=0, normalize=False``; our
    linear map adds a bias.

    Relations: the first term of :class:`RankingLoss` with dot products, and β_r / r <= 1 in place of 1, so that a
    positive low in the ranking does not drown the others. Degenerate batches: exact 0. Score: dot product.
    """

    def __init__(self, margin: float = 1.0):
        super().__init__()
        self.margin = margin

    def forward(self, visual: Tensor, semantic: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``total`` only."""
        hinges = ranking_hinges(self.score(visual, semantic), labels, self.margin)  # (B, C, C)
        rank = torch.arange(1, hinges.shape[2] + 1, device=hinges.device, dtype=hinges.dtype)
        weight = F.pad((1 / rank).cumsum(0) / rank, (1, 0))  # (C + 1,); no violation, no weight
        return {"total": (weight[(hinges > 0).sum(2)] * hinges.sum(2)).sum(1).mean()}

    def score(self, visual: Tensor, semantic: Tensor) -> Tensor:
        """Dot product of every pair, (B, C)."""
        return visual @ semantic.T


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
