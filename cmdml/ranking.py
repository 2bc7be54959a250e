"""Objectives that compare the findings of one image with each other: CXR-ML-GZSL's and ALE's.

Shapes: ``visual`` (B, D), ``semantic`` (C, D), ``labels`` (B, C) of 0 and 1; sums over pairs of findings, means over
images.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmdml.loss import check_pairs


def ranking_hinges(scores: Tensor, labels: Tensor, margin: float) -> Tensor:
    """``max(0, margin - score_p + score_n)`` of an image's positive-negative pairs, (B, C, C); 0 for other pairs.

    >>> ranking_hinges(torch.tensor([[0.5, 1.0]]), torch.tensor([[1, 0]]), margin=0.25)
    tensor([[[0.0000, 0.7500],
             [0.0000, 0.0000]]])
    """
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

    Examples
    --------
    >>> visual, semantic = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    >>> loss = RankingLoss(vectors=semantic)  # OBJECTIVES["ranking"]: cosines 1 and 0.6, so 0.2 - 0.6 + 1 if wrong
    >>> {name: round(term.item(), 3) for name, term in loss(visual, semantic, torch.tensor([[0, 1]])).items()}
    {'total': 0.604, 'ranking': 0.6, 'alignment': 0.004, 'consistency': 0.0}
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

    Examples
    --------
    >>> visual, semantic = torch.tensor([[1.0, 0.0]]), torch.eye(4, 2)  # dot products 1, 0, 0, 0
    >>> loss = LabelEmbeddingLoss(margin=1.0)  # OBJECTIVES["ale"]
    >>> loss(visual, semantic, torch.tensor([[1, 0, 0, 0]]))["total"].item()  # the margin is kept
    0.0
    >>> wrong = loss(visual, semantic, torch.tensor([[0, 1, 0, 0]]))["total"]
    >>> round(wrong.item(), 3)  # three negatives violate it: (1 + 1/2 + 1/3) / 3 · (2 + 1 + 1)
    2.444
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
