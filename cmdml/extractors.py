"""The visual stream's first half: radiographs to feature vectors, trained, pretrained or extracted before."""

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import get_model, list_models

from cmdml.efficientnet import efficientnet_lite0
from cmdml.names import check

# Grey images see the mean of ImageNet's three channel statistics, so that pretrained filters meet what they know.
GREY_MEAN, GREY_STD = 0.449, 0.226
# These three were trained on x/127.5 - 1 instead.
MEAN_STD = dict.fromkeys(("efficientnet_lite0", "googlenet", "inception_v3"), (0.5, 0.5))


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
    """Any classifier of ``torchvision.models``, `small_cnn` or `efficientnet_lite0`: one-channel images to features.

    The last linear layer is removed and the first convolution reduced to one input channel (its weights summed
    over the channels, which equals showing it the grey image three times).

    Parameters
    ----------
    backbone : str
        A name of ``torchvision.models.list_models``: ``densenet121`` (the reference), ``resnet18``, …; or
        ``small_cnn``, the light default of CPU runs; or ``efficientnet_lite0``, whose ImageNet weights come with an
        installed package and need no network. Its features are the 320 pooled channels of the last block.
    weights : None or "imagenet"
        Random initialisation, or ImageNet weights (those of torchvision are downloaded, if not in its cache).

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
        check(backbone, ["small_cnn", "efficientnet_lite0", *list_models(module=torchvision.models)], "backbone")
        if weights not in (None, "", "none", "imagenet"):
            raise ValueError(
                f"weights {weights!r} are refused: use none or 'imagenet'. Weights trained on chest X-ray labels have "
                "seen the unseen findings, which would make the zero-shot result meaningless"
            )
        self.mean_std = MEAN_STD.get(backbone, (GREY_MEAN, GREY_STD))
        if backbone == "efficientnet_lite0":
            net = efficientnet_lite0(weights == "imagenet")
            self.features = net.conv_head.in_channels
            net.conv_head, net.bn2, net.classifier = nn.Identity(), nn.Identity(), nn.Identity()
        else:
            net = _classifier(backbone, weights)
            heads = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)]
            if not heads:
                raise ValueError(
                    f"backbone {backbone!r} has no linear head to remove: choose e.g. 'densenet121' or 'resnet18'"
                )
            self.features = net.get_submodule(heads[-1]).in_features
            _replace(net, heads[-1], nn.Identity())
        _make_grey(net)
        self.net = net.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """``images`` (B, 1, H, W), uint8 in [0, 255] or float in [0, 1] -> features (B, F)."""
        if images.ndim != 4 or images.shape[1] != 1:
            raise ValueError(f"expected images (B, 1, H, W) with one channel, got {tuple(images.shape)}")
        scale = 255.0 if images.dtype == torch.uint8 else 1.0
        mean, std = self.mean_std
        images = images.float() / (scale * std) - mean / std
        return self.net(images.contiguous(memory_format=torch.channels_last))

    def last_block(self) -> list[nn.Module]:
        """What ``tune: last`` trains: the last block, with the normalisation that follows it.

        From the whole network inwards, the last part with weight matrices is taken, and opened as long as it holds
        more than half of all parameters. ``layer4[1]`` of resnet18, ``denseblock4`` and ``norm5`` of densenet121,
        ``blocks[6]`` of efficientnet_lite0, the last convolution of `small_cnn`.
        """
        half = sum(p.numel() for p in self.net.parameters()) / 2
        block = [self.net]
        while (inside := _tail(block[0])) and sum(p.numel() for p in block[0].parameters()) > half:
            block = inside + block[1:]
        return block


class FrozenFeatures(nn.Module):
    """Stands where the extractor was, when features were extracted before: only scales them, (x - mean) / std.

    Parameters
    ----------
    features : int
        Length F of the feature vector.

    Attributes
    ----------
    mean, std : buffers, shape (F,)
        0 and 1 until they are fitted on the training films; saved with the model.
    """

    def __init__(self, features: int):
        super().__init__()
        self.features = features
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    def forward(self, features: Tensor) -> Tensor:
        """Raw features (B, F) of any float type -> (B, F) float32."""
        if features.ndim != 2 or features.shape[1] != self.features:
            raise ValueError(f"expected extracted features (B, {self.features}), got {tuple(features.shape)}")
        return (features.float() - self.mean) / self.std


def _classifier(backbone: str, weights: str | None) -> nn.Module:
    if backbone == "small_cnn":
        if weights == "imagenet":
            raise ValueError("small_cnn has no ImageNet weights: use weights none, or another backbone")
        return small_cnn()
    net = get_model(backbone, weights="DEFAULT" if weights == "imagenet" else None)
    # googlenet and inception_v3 would return a tuple while training, and split three channels that are not there
    net.aux_logits = net.transform_input = False
    for name in {"aux1", "aux2", "AuxLogits"} & set(dict(net.named_children())):
        setattr(net, name, None)
    return net


def _make_grey(net: nn.Module) -> None:
    """Replace the first convolution by one of the same kind that takes one channel."""
    name, stem = next((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d))
    grey = type(stem)(
        1, stem.out_channels, stem.kernel_size, stem.stride, stem.padding, stem.dilation, bias=stem.bias is not None
    )
    with torch.no_grad():
        grey.weight.copy_(stem.weight.sum(1, keepdim=True))
        if stem.bias is not None:
            grey.bias.copy_(stem.bias)
    _replace(net, name, grey)


def _tail(module: nn.Module) -> list[nn.Module]:
    """The last child with a weight matrix and the children after it that have parameters."""
    children = [child for child in module.children() if any(True for _ in child.parameters())]
    for k in reversed(range(len(children))):
        if any(p.ndim > 1 for p in children[k].parameters()):
            return children[k:]
    return []


def _replace(net: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, module)
