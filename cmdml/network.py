"""From pixels to scores in one module: the frozen backbone, where there is one, and the trained head behind it."""

import torch
from torch import Tensor, nn

from cmdml.config import TrainConfig
from cmdml.extractors import FrozenFeatures, VisualExtractor
from cmdml.model import CMDML
from cmdml.objectives import OBJECTIVES


class FilmNetwork(nn.Module):
    """What a run does to a film, in evaluation mode.

    Parameters
    ----------
    model : CMDML
        A trained model. If it was trained on extracted features, ``backbone`` is what extracted them.
    config : TrainConfig
        Of that training: it names the objective, whose score is used.
    backbone : VisualExtractor, optional
    layers : iterable of str
        The pooled layers whose channels lie side by side in the features, the backbone's last one first, as
        ``cmdml.features.LAYERS`` lists them; read only with ``backbone``.

    Notes
    -----
    Feature sets on disk are rounded to float16, this module rounds nothing: a score of the one differs from a score of
    the other in the fourth decimal.
    """

    def __init__(self, model: CMDML, config: TrainConfig, backbone: VisualExtractor | None = None, layers=()):
        super().__init__()
        if (backbone is None) == isinstance(model.visual_extractor, FrozenFeatures):
            has = "none" if backbone is None else "one"
            raise ValueError(f"a head on extracted features needs their backbone, any other model none; got {has}")
        self.model, self.backbone = model.eval(), None if backbone is None else backbone.eval()
        seen = model.semantic_vectors  # no score depends on what an objective learns, nor on its vectors
        self.objective, self._earlier = OBJECTIVES[config.objective](config, seen), []
        for name in list(layers)[1:] if backbone is not None else ():
            block = backbone.net.get_submodule(name)
            block.register_forward_hook(lambda module, inputs, maps: self._earlier.append(maps.mean((2, 3))))
        self.requires_grad_(False)
        self.train(False)

    def maps(self) -> nn.Module:
        """The layer whose maps are the last that still know places: the last block, or the last convolution."""
        net = self.model.visual_extractor.net if self.backbone is None else self.backbone.net
        if hasattr(net, "blocks"):
            return net.blocks[-1]
        name, layer = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d)][-1]
        parent = net.get_submodule(name.rpartition(".")[0])
        if not isinstance(parent, nn.Sequential):
            return layer
        inside = list(parent)
        after = inside[inside.index(layer) + 1 :]
        while after and isinstance(after[0], nn.BatchNorm2d | nn.ReLU):
            layer = after.pop(0)
        return layer

    def features(self, images: Tensor) -> Tensor:
        """``images`` (B, 1, H, W), uint8 or float in [0, 1] -> the features (B, F) that the regression module reads."""
        if self.backbone is None:
            return self.model.visual_extractor(images).float()
        self._earlier.clear()
        last = self.backbone(images)
        raw = torch.cat([last, *self._earlier], 1)
        self._earlier.clear()
        return self.model.visual_extractor(raw)

    def visual(self, features: Tensor) -> Tensor:
        """Features (B, F) -> places of the films in the joint space (B, D)."""
        visual = self.model.visual_regression(features).float()
        return nn.functional.normalize(visual, dim=1) if self.model.normalize else visual

    def semantic(self, vectors: Tensor | None = None) -> Tensor:
        """Semantic vectors (C, E), or the run's own -> their places in the joint space (C, D)."""
        vectors = self.model.semantic_vectors if vectors is None else vectors
        semantic = self.model.semantic_regression(vectors).float()
        return nn.functional.normalize(semantic, dim=1) if self.model.normalize else semantic

    def score(self, visual: Tensor, semantic: Tensor) -> Tensor:
        """Scores (B, C) of films (B, D) and findings (C, D), higher = more likely."""
        return self.objective.score(visual, semantic)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``images`` (B, 1, H, W) -> the scores of the run's findings (B, C) and the films' places (B, D)."""
        visual = self.visual(self.features(images))
        return self.score(visual, self.semantic()), visual
