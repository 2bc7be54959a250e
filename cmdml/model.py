"""CM-DML: a visual stream and a semantic stream that meet in one space."""

from collections.abc import Sequence
from itertools import chain, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmdml.extractors import FrozenFeatures, VisualExtractor
from cmdml.loss import squared_distance
from cmdml.names import check

DIRECTIONS = ("joint", "semantic_to_visual", "visual_to_semantic")


class DeepRegressionModule(nn.Sequential):
    """The map that carries one stream into the other's space, or both into a joint one.

    ``linear(n_in → hidden) · GELU · dropout · linear(hidden → n_out)``; ``hidden`` may list several widths, one such
    layer each; 0 or an empty list leaves a single linear map.

    >>> layers = list(DeepRegressionModule(300, 128, hidden=[64, 32]))
    >>> [(linear.in_features, linear.out_features) for linear in layers[::3]]
    [(300, 64), (64, 32), (32, 128)]
    """

    def __init__(self, n_in: int, n_out: int, hidden: int | Sequence[int] = 256, dropout: float = 0.0):
        if isinstance(hidden, int):
            hidden = [hidden] if hidden else []
        widths = [n_in, *hidden]
        layers = [(nn.Linear(a, b), nn.GELU(), nn.Dropout(dropout)) for a, b in pairwise(widths)]
        super().__init__(*chain(*layers), nn.Linear(widths[-1], n_out))


class CMDML(nn.Module):
    """Two streams, one space: radiographs near the findings that they show.

    Parameters
    ----------
    semantic_vectors : Tensor, shape (C, E)
        One *fixed* vector per finding, seen and unseen; kept as a buffer, never trained.
    backbone, weights
        See :class:`~cmdml.extractors.VisualExtractor`.
    direction : {"joint", "semantic_to_visual", "visual_to_semantic"}
        ``joint``: both streams are regressed into R^dim. ``semantic_to_visual``: findings are regressed into the space
        of visual features, which counters hubness (Zhang et al. 2017). ``visual_to_semantic``: the reverse (Frome et
        al. 2013).
    dim : int
        Dimension D of the joint space; the other two directions inherit theirs.
    hidden, dropout
        See :class:`DeepRegressionModule`.
    normalize : bool
        Project both embeddings on the unit sphere, so that ``d ∈ [0, 2]``.
    features : None or int
        Length F of features that were extracted before (``cmdml.features.FeatureSet``): the extractor is then
        ``cmdml.extractors.FrozenFeatures``, "images" are (B, F), and ``backbone`` and ``weights`` play no part.

    Examples
    --------
    Fourteen findings with signs of length 20, two radiographs of 64 px:

    >>> model = CMDML(torch.randn(14, 20), backbone="small_cnn", dim=8).eval()
    >>> visual, semantic = model(torch.zeros(2, 1, 64, 64, dtype=torch.uint8))
    >>> visual.shape, semantic.shape
    (torch.Size([2, 8]), torch.Size([14, 8]))
    >>> model.score(torch.zeros(2, 1, 64, 64, dtype=torch.uint8)).shape
    torch.Size([2, 14])
    """

    def __init__(
        self,
        semantic_vectors: Tensor,
        *,
        backbone: str = "densenet121",
        weights: str | None = None,
        direction: str = "joint",
        dim: int = 128,
        hidden: int | Sequence[int] = 256,
        dropout: float = 0.0,
        normalize: bool = True,
        features: int | None = None,
    ):
        super().__init__()
        check(direction, DIRECTIONS, "direction")
        if semantic_vectors.ndim != 2 or not torch.isfinite(semantic_vectors).all():
            raise ValueError(f"semantic_vectors must be finite and (C, E), got {tuple(semantic_vectors.shape)}")
        self.normalize = normalize
        self.register_buffer("semantic_vectors", semantic_vectors.detach().clone().float())
        self.visual_extractor = VisualExtractor(backbone, weights) if features is None else FrozenFeatures(features)
        n_visual, n_semantic = self.visual_extractor.features, semantic_vectors.shape[1]
        n_out = {"joint": dim, "semantic_to_visual": n_visual, "visual_to_semantic": n_semantic}[direction]
        stays = nn.Identity()
        self.visual_regression = (
            stays if direction == "semantic_to_visual" else DeepRegressionModule(n_visual, n_out, hidden, dropout)
        )
        self.semantic_regression = (
            stays if direction == "visual_to_semantic" else DeepRegressionModule(n_semantic, n_out, hidden, dropout)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``images`` (B, 1, H, W), or features (B, F), -> ``visual`` (B, D) and ``semantic`` (C, D), both float32.

        C counts all findings, seen or not. One more finding is one more row of ``semantic_vectors``; no weight changes.
        """
        visual = self.visual_regression(self.visual_extractor(images))  # (B, F) -> (B, D)
        semantic = self.semantic_regression(self.semantic_vectors)  # (C, E) -> (C, D)
        visual, semantic = visual.float(), semantic.float()
        if self.normalize:
            visual, semantic = F.normalize(visual, dim=1), F.normalize(semantic, dim=1)
        return visual, semantic

    def score(self, images: Tensor) -> Tensor:
        """Score of every finding, (B, C): ``-d²``, higher = more likely."""
        return -squared_distance(*self(images))
