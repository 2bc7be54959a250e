"""The two streams: shapes, fixed semantics, one-channel stems, directions and refusals."""

import pytest
import torch
from torchvision.models import get_model

from cmdml import CMDML
from cmdml.extractors import GREY_MEAN, GREY_STD, VisualExtractor
from cmdml.loss import squared_distance

VECTORS = torch.nn.functional.normalize(torch.randn(14, 20, generator=torch.Generator().manual_seed(0)))
LIGHT = "small_cnn"


def radiographs(n=3, size=64, seed=0):
    return torch.randint(0, 256, (n, 1, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_points_lie_on_the_unit_sphere_unless_somebody_says_otherwise():
    visual, semantic = CMDML(VECTORS, backbone=LIGHT, dim=32).eval()(radiographs())
    torch.testing.assert_close(visual.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(semantic.norm(dim=1), torch.ones(14))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(("direction", "d"), [("joint", 32), ("semantic_to_visual", 1536), ("visual_to_semantic", 20)])
def test_shapes_and_scores(direction, d, normalize):
    model = CMDML(VECTORS, backbone=LIGHT, direction=direction, dim=32, normalize=normalize).eval()
    visual, semantic = model(radiographs())
    assert visual.shape == (3, d) and semantic.shape == (14, d)
    if normalize:
        torch.testing.assert_close(visual.norm(dim=1), torch.ones(3))
        torch.testing.assert_close(semantic.norm(dim=1), torch.ones(14))
    torch.testing.assert_close(model.score(radiographs()), -squared_distance(visual, semantic))


def test_semantic_vectors_are_fixed():
    model = CMDML(VECTORS, backbone=LIGHT, direction="joint")
    assert "semantic_vectors" in model.state_dict()
    assert "semantic_vectors" not in dict(model.named_parameters())
    model(radiographs())[1].sum().backward()
    assert model.semantic_vectors.grad is None
    assert all(p.grad is not None for p in model.semantic_regression.parameters())


def test_bytes_and_unit_floats_are_the_same_radiograph():
    model = CMDML(VECTORS, backbone=LIGHT).eval()
    images = radiographs()
    torch.testing.assert_close(model.score(images), model.score(images.float() / 255))


@pytest.mark.parametrize("backbone", ["shufflenet_v2_x0_5", "resnet18", "densenet121", "mobilenet_v3_small"])
def test_one_channel_stem_sees_what_three_equal_channels_show(backbone):
    torch.manual_seed(0)
    colour = get_model(backbone, weights=None).eval()
    torch.manual_seed(0)
    grey = VisualExtractor(backbone).eval()
    head = [m for m in colour.modules() if isinstance(m, torch.nn.Linear)][-1]
    seen = {}
    head.register_forward_pre_hook(lambda _, inputs: seen.update(features=inputs[0]))
    images = radiographs(2)
    colour(((images.float() / 255 - GREY_MEAN) / GREY_STD).expand(-1, 3, -1, -1))
    features = grey(images)
    assert features.shape == (2, grey.features)
    torch.testing.assert_close(features, seen["features"], atol=2e-4, rtol=2e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "resnet81"}, "did you mean 'resnet18'"),
        ({"backbone": "squeezenet1_1"}, "no linear head"),
        ({"direction": "jiont"}, "did you mean 'joint'"),
        ({"weights": "imagenet"}, "no ImageNet weights"),
        ({"weights": "chexnet"}, "have seen the unseen findings|seen the unseen"),
    ],
)
def test_bad_choices_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        CMDML(VECTORS, **{"backbone": LIGHT, **arguments})


def test_auxiliary_heads_stay_silent():
    features = VisualExtractor("googlenet").train()(radiographs(2))
    assert features.shape == (2, 1024)


def test_colour_images_are_refused():
    with pytest.raises(ValueError, match="one channel"):
        CMDML(VECTORS, backbone=LIGHT)(torch.zeros(2, 3, 64, 64))


def test_vectors_with_nan_are_refused():
    with pytest.raises(ValueError, match="finite"):
        CMDML(torch.full((14, 4), float("nan")), backbone=LIGHT)
