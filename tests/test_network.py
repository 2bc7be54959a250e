"""From pixels to scores, step by step, with and without a frozen backbone."""

import pytest
import torch
from torch import nn

from cmdml.config import TrainConfig
from cmdml.network import FilmNetwork
from cmdml.run_folder import build_model

C, E, D = 5, 7, 6


def a_model(**changed):
    config = TrainConfig(**{"backbone": "small_cnn", "dim": D, "hidden": 0} | changed)
    torch.manual_seed(0)
    vectors = nn.functional.normalize(torch.randn(C, E), dim=1)
    model = build_model(config, vectors, 11 + 3 if config.tune == "frozen" else None)
    return model, config


class Backbone(nn.Module):
    """Two blocks; the features are the last one's means, as an extractor's."""

    def __init__(self):
        super().__init__()
        self.net = nn.Module()
        self.net.first, self.net.last = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 11, 3)
        self.drop = nn.Dropout(0.9)

    def forward(self, images):
        return self.drop(self.net.last(self.net.first(images.float())).mean((2, 3)))


@pytest.fixture
def images():
    return torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(1))


def test_without_a_backbone_scores_are_the_model_s(images):
    model, config = a_model()
    network = FilmNetwork(model.train(), config)
    assert not network.training and not model.training and not any(p.requires_grad for p in network.parameters())
    scores, places = network(images)
    features = model.visual_extractor(images)
    visual = nn.functional.normalize(model.visual_regression(features), dim=1)
    semantic = nn.functional.normalize(model.semantic_regression(model.semantic_vectors), dim=1)
    torch.testing.assert_close(network.features(images), features)
    torch.testing.assert_close(places, visual)
    torch.testing.assert_close(scores, -((visual[:, None] - semantic[None]) ** 2).sum(2), rtol=1e-4, atol=1e-5)


def test_a_model_that_does_not_normalise_is_not_normalised(images):
    model, config = a_model(normalize=False, objective="ale", margin=1.0)
    network = FilmNetwork(model, config)
    features = network.features(images)
    torch.testing.assert_close(network.visual(features), model.visual_regression(features))
    own = torch.randn(3, E)
    torch.testing.assert_close(network.semantic(own), model.semantic_regression(own))
    torch.testing.assert_close(network(images)[0], network.visual(features) @ network.semantic().T)


def test_a_frozen_backbone_s_layers_lie_side_by_side_last_first(images):
    model, config = a_model(tune="frozen", augment=False)
    network = FilmNetwork(model, config, backbone := Backbone().train(), {"last": 11, "first": 3})
    assert not backbone.training
    first = backbone.net.first(images)
    raw = torch.cat([backbone.net.last(first).mean((2, 3)), first.mean((2, 3))], 1)
    torch.testing.assert_close(network.features(images), model.visual_extractor(raw))
    torch.testing.assert_close(network.features(images), model.visual_extractor(raw))  # nothing is left of before
    backbone(images)  # somebody else's pass
    torch.testing.assert_close(network.features(images[:2]), model.visual_extractor(raw[:2]))
    assert not network._earlier


def test_a_backbone_is_given_where_one_is_needed_and_only_there():
    model, config = a_model()
    with pytest.raises(ValueError, match="needs their backbone, any other model none; got one$"):
        FilmNetwork(model, config, Backbone(), ["last"])
    model, config = a_model(tune="frozen", augment=False)
    with pytest.raises(ValueError, match="needs their backbone, any other model none; got none$"):
        FilmNetwork(model, config)


def network_of(net):
    """A network whose backbone is ``net``."""
    model, config = a_model(tune="frozen", augment=False)
    backbone = nn.Module()
    backbone.net = net
    return FilmNetwork(model, config, backbone, ["last"])


def test_the_last_maps_are_those_of_the_last_block_or_convolution():
    conv, norm, relu = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()
    last = nn.Conv2d(2, 2, 3)
    assert network_of(nn.Sequential(conv, norm, relu, nn.AdaptiveAvgPool2d(1))).maps() is relu
    assert network_of(nn.Sequential(conv, nn.MaxPool2d(2), relu)).maps() is conv
    assert network_of(nn.Sequential(conv, relu, last, nn.Flatten(), nn.ReLU())).maps() is last
    assert network_of(nn.Sequential(conv, relu, nn.Sequential(last, norm))).maps() is norm
    net = nn.Module()
    net.one, net.two = conv, last
    assert network_of(net).maps() is last
    net = nn.Module()
    net.blocks, net.head = nn.Sequential(conv, block := nn.Sequential(last)), nn.Conv2d(2, 2, 1)
    assert network_of(net).maps() is block
    model, config = a_model()
    own = FilmNetwork(model, config).maps()
    assert any(own is module for module in model.visual_extractor.net.modules())
