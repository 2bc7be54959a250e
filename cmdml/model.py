"""CM-DML: a visual stream and a semantic stream that meet in one space."""

from collections.abc import Sequence
from itertools import chain, pairwise

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models import get_model, list_models

from cmdml.loss import squared_distance
from cmdml.names import check

DIRECTIONS = ("joint", "semantic_to_visual", "visual_to_semantic")
# Grey images see the mean of ImageNet's three channel statistics, so that pretrained filters meet what they know.
GREY_MEAN, GREY_STD = 0.449, 0.226


def small_cnn() -> nn.Module:
    """Five convolutions for 64 px radiographs on a CPU, some 14 times lighter than ``resnet18``.

    The last maps are pooled to 4 × 4 places, not to one: on a chest film, where a sign lies is half of what it means.
    """
    layers, n_in = [], 1
    for width, stride in ((16, 2), (32, 2), (48, 1), (64, 2), (96, 1)):
        layers += [nn.Conv2d(n_in, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        n_in = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * n_in, 1))


class VisualExtractor(nn.Module):
    """Any classifier of ``torchvision.models``, or `small_cnn`, as an extractor of features from one-channel images.

    The last linear layer is removed and the first convolution reduced to one input channel (its weights summed
    over the channels, which equals showing it the grey image three times).

    Parameters
    ----------
    backbone : str
        A name of ``torchvision.models.list_models``: ``densenet121`` (the reference), ``resnet18``, …; or
        ``small_cnn``, the light default of CPU runs.
    weights : None or "imagenet"
        Random initialisation, or ImageNet weights (downloaded by torchvision, if not in its cache).

    Raises
    ------
    ValueError
        For an unknown backbone, one without a linear head, or any other weights: weights trained on the 14 NIH labels
        have seen the findings that this study calls unseen.

    Attributes
    ----------
    features : int
        Length F of the feature vector.
    """

    def __init__(self, backbone: str = "densenet121", weights: str | None = None):
        super().__init__()
        check(backbone, ["small_cnn", *list_models(module=torchvision.models)], "backbone")
        if weights not in (None, "", "none", "imagenet"):
            raise ValueError(
                f"weights {weights!r} are refused: use none or 'imagenet'. Weights trained on chest X-ray labels have "
                "seen the unseen findings, which would make the zero-shot result meaningless"
            )
        if backbone == "small_cnn":
            if weights == "imagenet":
                raise ValueError("small_cnn has no ImageNet weights: use weights none, or another backbone")
            net = small_cnn()
        else:
            net = get_model(backbone, weights="DEFAULT" if weights == "imagenet" else None)
        net.aux_logits = False  # googlenet and inception_v3 would return a tuple while training
        heads = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)]
        if not heads:
            raise ValueError(
                f"backbone {backbone!r} has no linear head to remove: choose e.g. 'densenet121' or 'resnet18'"
            )
        self.features = net.get_submodule(heads[-1]).in_features
        _replace(net, heads[-1], nn.Identity())
        name, stem = next((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d))
        grey = nn.Conv2d(
            1, stem.out_channels, stem.kernel_size, stem.stride, stem.padding, stem.dilation, bias=stem.bias is not None
        )
        with torch.no_grad():
            grey.weight.copy_(stem.weight.sum(1, keepdim=True))
            if stem.bias is not None:
                grey.bias.copy_(stem.bias)
        _replace(net, name, grey)
        self.net = net.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """``images`` (B, 1, H, W), uint8 in [0, 255] or float in [0, 1] -> features (B, F)."""
        if images.ndim != 4 or images.shape[1] != 1:
            raise ValueError(f"expected images (B, 1, H, W) with one channel, got {tuple(images.shape)}")
        scale = 255.0 if images.dtype == torch.uint8 else 1.0
        images = images.float() / (scale * GREY_STD) - GREY_MEAN / GREY_STD
        return self.net(images.contiguous(memory_format=torch.channels_last))


class DeepRegressionModule(nn.Sequential):
    """The map that carries one stream into the other's space, or both into a joint one.

    ``linear(n_in → hidden) · GELU · dropout · linear(hidden → n_out)``; ``hidden`` may list several widths, one such
    layer each; 0 or an empty list leaves a single linear map.
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
        See :class:`VisualExtractor`.
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
    ):
        super().__init__()
        check(direction, DIRECTIONS, "direction")
        if semantic_vectors.ndim != 2 or not torch.isfinite(semantic_vectors).all():
            raise ValueError(f"semantic_vectors must be finite and (C, E), got {tuple(semantic_vectors.shape)}")
        self.normalize = normalize
        self.register_buffer("semantic_vectors", semantic_vectors.detach().clone().float())
        self.visual_extractor = VisualExtractor(backbone, weights)
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
        """``images`` (B, 1, H, W) -> ``visual`` (B, D) and ``semantic`` (C, D), both float32."""
        visual = self.visual_regression(self.visual_extractor(images))  # (B, F) -> (B, D)
        semantic = self.semantic_regression(self.semantic_vectors)  # (C, E) -> (C, D)
        visual, semantic = visual.float(), semantic.float()
        if self.normalize:
            visual, semantic = F.normalize(visual, dim=1), F.normalize(semantic, dim=1)
        return visual, semantic

    def score(self, images: Tensor) -> Tensor:
        """Score of every finding, (B, C): ``-d²``, higher = more likely."""
        return -squared_distance(*self(images))


def _replace(net: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, module)
