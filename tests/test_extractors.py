"""Extractors: pretrained weights that are what they claim, grey input, the last block, frozen features."""

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from cmdml import CMDML
from cmdml.efficientnet import efficientnet_lite0, state_sha256
from cmdml.extractors import FrozenFeatures, VisualExtractor

pytestmark = pytest.mark.usefixtures("own_cache")
VECTORS = nn.functional.normalize(torch.randn(14, 20, generator=torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def lite0(own_cache):
    return VisualExtractor("efficientnet_lite0", "imagenet").eval()


def radiographs(n=2, size=64, seed=0):
    return torch.randint(0, 256, (n, 1, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def colour(images):
    """What the weights' authors feed: x / 127.5 - 1, three equal channels."""
    return (images.double() / 127.5 - 1).float().expand(-1, 3, -1, -1)


def test_the_grey_stem_shows_what_three_equal_channels_show(lite0):
    """Down to the pooled last block: preprocessing, SAME padding and BatchNorm's eps included."""
    reference = efficientnet_lite0().eval()
    images = radiographs(2, 96)
    with torch.no_grad():
        wanted = reference.blocks(reference.bn1(reference.conv_stem(colour(images)))).mean((2, 3))
        torch.testing.assert_close(lite0(images), wanted, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(lite0(images.float() / 255), lite0(images), atol=1e-4, rtol=1e-4)
    assert lite0.features == 320 and wanted.shape == (2, 320)
    assert {m.eps for m in lite0.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    stem, full = lite0.net.conv_stem, reference.conv_stem
    assert type(stem) is type(full) and torch.equal(stem.weight, full.weight.sum(1, keepdim=True))


def test_padding_is_same_as_in_tensorflow(lite0):
    """An odd input: one more row below and to the right than above and to the left, never symmetric."""
    images = radiographs(1, 64).float() / 127.5 - 1
    padded = nn.functional.pad(images, (0, 1, 0, 1))
    wanted = nn.functional.conv2d(padded, lite0.net.conv_stem.weight, stride=2)
    torch.testing.assert_close(lite0.net.conv_stem(images), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "names"),
    [
        ("small_cnn", ["12", "13"]),
        ("resnet18", ["layer4.1"]),
        ("densenet121", ["features.denseblock4", "features.norm5"]),
        ("efficientnet_lite0", ["blocks.6"]),
        ("vit_b_16", ["encoder.layers.encoder_layer_11", "encoder.ln"]),
    ],
)
def test_the_last_block_of_any_backbone(backbone, names):
    extractor = VisualExtractor(backbone)
    known = {module: name for name, module in extractor.net.named_modules()}
    assert [known[module] for module in extractor.last_block()] == names


def test_the_last_block_is_the_end_of_what_forward_uses():
    """Trained alone it moves the features, and all of it gets a gradient."""
    extractor = VisualExtractor("googlenet")
    extractor(radiographs(2, 64)).sum().backward()
    parameters = [p for block in extractor.last_block() for p in block.parameters()]
    assert parameters and all(p.grad is not None for p in parameters)


@pytest.mark.parametrize(("backbone", "side"), [("googlenet", 64), ("inception_v3", 96)])
def test_imagenet_weights_of_the_inceptions_take_one_channel(backbone, side, monkeypatch):
    """With weights, torchvision turns on a transform of three channels; what it means is x / 127.5 - 1."""
    torch.manual_seed(0)
    reference = get_model(backbone, weights=None, transform_input=True, init_weights=False, aux_logits=False)
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        reference(torch.rand(4, 3, side, side))  # BatchNorm has met such inputs: the signal stays, another scale shows
    reference.eval()
    copy = get_model(backbone, weights=None, transform_input=True, init_weights=False)  # with its auxiliary heads
    copy.load_state_dict(reference.state_dict(), strict=False)
    monkeypatch.setattr("cmdml.extractors.get_model", lambda name, weights: copy)
    extractor = VisualExtractor(backbone, "imagenet")
    reference.fc = nn.Identity()
    images = radiographs(2, side)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    shown = (images.float() / 255 - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        wanted = reference(shown)
        torch.testing.assert_close(extractor.eval()(images), wanted, atol=1e-3 * wanted.std().item(), rtol=1e-3)
    assert extractor.train()(images).shape == (2, extractor.features)
    assert not any(name.lower().startswith("net.aux") for name in extractor.state_dict())


def test_torchvision_backbones_are_built_as_before():
    """The same draws and the same arithmetic as ever: runs of the past are repeated bit by bit."""
    torch.manual_seed(3)
    net = get_model("resnet18", weights=None)
    grey = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    grey.weight.data.copy_(net.conv1.weight.data.sum(1, keepdim=True))
    net.conv1, net.fc = grey, nn.Identity()
    after = torch.rand(1)
    torch.manual_seed(3)
    extractor = VisualExtractor("resnet18")
    assert torch.equal(torch.rand(1), after)
    images = radiographs(2)
    net = net.to(memory_format=torch.channels_last).eval()
    shown = (images.float() / (255.0 * 0.226) - 0.449 / 0.226).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert torch.equal(extractor.eval()(images), net(shown))


def test_random_weights_follow_the_seed():
    def built(seed):
        torch.manual_seed(seed)
        return state_sha256(VisualExtractor("efficientnet_lite0").state_dict())

    assert built(0) == built(0) != built(1)


def test_frozen_features_are_scaled_and_nothing_else():
    model = CMDML(VECTORS, backbone="no_such_net", features=6, dim=8)
    frozen = model.visual_extractor
    assert isinstance(frozen, FrozenFeatures) and frozen.features == 6 and not list(frozen.parameters())
    raw = torch.arange(12.0).view(2, 6).half()
    assert torch.equal(frozen(raw), raw.float()) and frozen(raw).dtype == torch.float32
    frozen.mean.copy_(torch.arange(6.0))
    frozen.std.copy_(torch.full((6,), 4.0))
    torch.testing.assert_close(frozen(raw), torch.tensor([[0.0] * 6, [1.5] * 6]))
    assert {"visual_extractor.mean", "visual_extractor.std"} <= set(model.state_dict())
    visual, semantic = model(raw)
    assert visual.shape == (2, 8) and semantic.shape == (14, 8)
    twin = CMDML(VECTORS, features=6, dim=8)
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin(raw)[0], visual)


@pytest.mark.parametrize("shape", [(2, 5), (6,), (2, 1, 6, 6)])
def test_frozen_features_of_another_length_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected extracted features \(B, 6\)"):
        FrozenFeatures(6)(torch.zeros(shape))


@pytest.mark.parametrize("backbone", ["alexnet", "mobilenet_v3_small"])
def test_of_several_linear_layers_the_last_is_the_head(backbone):
    extractor = VisualExtractor(backbone).eval()
    *_, last = (m for m in get_model(backbone, weights=None).modules() if isinstance(m, nn.Linear))
    with torch.no_grad():
        assert extractor(radiographs(1, 64)).shape == (1, last.in_features) == (1, extractor.features)
