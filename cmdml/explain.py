"""Where a score comes from: heat maps of one film and one finding, by captum (the extra ``study``)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmdml.films import read_film
from cmdml.heads import NOTICE, Head
from cmdml.names import check
from cmdml.network import FilmNetwork
from cmdml.prediction import Predictions

MEANS = {"occlusion": "how far the score falls without this place", "gradcam": "maps weighted by their gradient"}
METHODS = tuple(MEANS)
DEFAULT = "occlusion"
WINDOW, STRIDE = 8, 16  # the square that hides a part of the film is size / 8 wide and moves by size / 16


class OneScore(nn.Module):
    """The score of one finding, (B,) of images (B, 1, H, W); through the frozen backbone, if there is one."""

    def __init__(self, network: FilmNetwork, vector: Tensor):
        super().__init__()
        self.network = network
        with torch.no_grad():
            self.semantic = network.semantic(vector[None])

    def forward(self, images: Tensor) -> Tensor:
        """Higher = more likely."""
        return self.network.score(self.network.visual(self.network.features(images)), self.semantic)[:, 0]


def heat(head: Head, pixels, vector: Tensor, method: str = DEFAULT) -> np.ndarray:
    """How much each place of a film raises the score of a finding.

    Parameters
    ----------
    head : Head
    pixels : (size, size) uint8
        As :class:`cmdml.films.Film` holds them.
    vector : (E,)
        The semantic vector of the finding.
    method : "occlusion" or "gradcam"
        ``occlusion``: by how much the score falls when a square of the film is replaced by that of the mean normal film
        (of a blurred film, where the head carries no normal one), the mean over all squares that hold the place (after
        Zeiler and Fergus 2014, whose square was grey). ``gradcam``: the last maps of the extractor, weighted by the
        mean gradient of the score, positive part (Selvaraju et al. 2017).

    Returns
    -------
    ndarray, (size, size) float32; above 0 where the place speaks for the finding.

    Raises
    ------
    ModuleNotFoundError : captum is not installed.
    """
    check(method, METHODS, "method of a heat map")
    try:
        from captum.attr import LayerAttribution, LayerGradCam, Occlusion
    except ImportError as error:
        raise ModuleNotFoundError("a heat map needs captum: pip install 'cmdml[study]'") from error
    image = torch.from_numpy(np.array(pixels, np.float32))[None, None] / 255
    score, size = OneScore(head.network, vector).eval(), image.shape[-1]
    if method == "gradcam":
        maps = LayerGradCam(score, head.network.maps()).attribute(image, relu_attributions=True)
        found = LayerAttribution.interpolate(maps.detach(), (size, size), "bilinear")
    else:
        window, stride = max(1, size // WINDOW), max(1, size // STRIDE)
        with torch.inference_mode():
            found = Occlusion(score).attribute(
                image, (1, window, window), strides=(1, stride, stride), baselines=_unremarkable(head, image),
                perturbations_per_eval=32,
            )  # fmt: skip
    return found[0, 0].float().numpy()


def _unremarkable(head: Head, image: Tensor) -> Tensor:
    """What a hidden place shows instead: the mean normal film, at the brightness and contrast of this one."""
    if "normal_film" in head.reference:
        normal = head.reference["normal_film"][None, None].float()
        return (normal - normal.mean()) / normal.std() * image.std() + image.mean()
    width = 2 * (image.shape[-1] // 8) + 1
    return F.avg_pool2d(image, width, stride=1, padding=width // 2, count_include_pad=False)


def peak(heat_map: np.ndarray) -> tuple[int, int]:
    """Row and column of the maximum; the middle of its plateau, where a square left one."""
    rows, columns = np.nonzero(heat_map >= heat_map.max() - 1e-9 * max(1.0, abs(float(heat_map.max()))))
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return int(rows[nearest]), int(columns[nearest])


def write_heatmap(predictions: Predictions, path, finding: str, out, method: str = DEFAULT):
    """Draw a film beside its heat map for one of the scored findings or own words; returns ``out``.

    Parameters
    ----------
    predictions : Predictions
    path : the film.
    finding : one of ``predictions.names``.
    out : PNG, written whole or not at all.
    """
    from cmdml.files import write_whole

    check(finding, predictions.names, "finding")
    head, at = predictions.head, predictions.names.index(finding)
    vectors = [*head.model.semantic_vectors, *(words.vector for words in predictions.own)]
    film = read_film(path, head.size)
    found = heat(head, film.pixels, vectors[at], method)
    title, means = f"{finding.replace('_', ' ')}, scored by {head.card['name']} ({method})", MEANS[method]
    figure = _figure(film.shown, found, title, means)
    return write_whole(out, lambda beside: figure.savefig(beside, format="png", dpi=120))


def _figure(film: np.ndarray, found: np.ndarray, title: str, means: str):
    """The film, and the film under its heat map: warm where the place raises the score, blue where it lowers it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    limit = max(float(np.abs(found).max()), 1e-9)
    large = F.interpolate(torch.from_numpy(found)[None, None], film.shape, mode="bilinear")[0, 0].numpy()
    for axes in (left, right):
        axes.imshow(film, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
    shade = np.clip(np.abs(large) / limit, 0, 1) * 0.6
    drawn = right.imshow(large, cmap="RdBu_r", vmin=-limit, vmax=limit, alpha=shade)
    figure.colorbar(drawn, ax=right, shrink=0.8, label=means)
    figure.suptitle(title, fontsize=11)
    figure.supxlabel(f"{NOTICE}: a heat map shows what moved the score, not where the disease is", fontsize=8)
    return figure
