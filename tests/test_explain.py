"""Heat maps: occlusion against a loop, Grad-CAM against its formula, and the picture of them."""

import numpy as np
import pytest
import torch
from film_files import phantoms
from PIL import Image

from cmdml import predict
from cmdml.explain import OneScore, heat, peak, write_heatmap
from cmdml.findings import KEYS

pytest.importorskip("captum")


@pytest.fixture(scope="module")
def film():
    return phantoms(2)[1]


def test_occlusion_is_the_mean_fall_of_the_score_over_the_squares_that_hold_a_place(head, film):
    vector = head.model.semantic_vectors[KEYS.index("Mass")]
    image = torch.from_numpy(film.astype(np.float32))[None, None] / 255
    normal = head.reference["normal_film"].float()[None, None]
    normal = (normal - normal.mean()) / normal.std() * image.std() + image.mean()
    score, falls, times = OneScore(head.network, vector), np.zeros((64, 64)), np.zeros((64, 64))
    with torch.no_grad():
        for y in range(0, 57, 4):
            for x in range(0, 57, 4):
                hidden = image.clone()
                hidden[..., y : y + 8, x : x + 8] = normal[..., y : y + 8, x : x + 8]
                falls[y : y + 8, x : x + 8] += (score(image) - score(hidden)).item()
                times[y : y + 8, x : x + 8] += 1
    found = heat(head, film, vector, "occlusion")
    assert np.abs(found - falls / times).max() < 1e-4
    assert found.max() > 1e-3


def test_gradcam_weighs_the_last_maps_by_their_mean_gradient(head, film):
    vector, kept = head.model.semantic_vectors[KEYS.index("Effusion")], []
    net = head.model.visual_extractor.net
    image = (torch.from_numpy(film.astype(np.float32))[None, None] / 255).requires_grad_()
    with net[14].register_forward_hook(lambda m, i, maps: kept.append(maps)):
        score = OneScore(head.network, vector)(image)
    weights = torch.autograd.grad(score.sum(), kept[0])[0].mean((2, 3), keepdim=True)
    cam = torch.relu((weights * kept[0]).sum(1, keepdim=True))
    expected = torch.nn.functional.interpolate(cam, (64, 64), mode="bilinear")[0, 0].detach().numpy()
    assert head.network.maps() is net[14]
    assert np.abs(heat(head, film, vector, "gradcam") - expected).max() < 1e-5


def test_the_peak_is_the_middle_of_the_highest_place():
    flat = np.zeros((9, 9), np.float32)
    flat[2:5, 4:7] = 1
    assert peak(flat) == (3, 5)
    flat[8, 8] = 2
    assert peak(flat) == (8, 8)


def test_the_picture_is_written_whole_and_names_are_checked(head, film, tmp_path):
    Image.fromarray(film).save(tmp_path / "a.png")
    found = predict(tmp_path / "a.png", head, findings=["Mine: round, opacity"])
    out = write_heatmap(found, tmp_path / "a.png", "Mine", tmp_path / "heat.png")
    with Image.open(out) as picture:
        assert picture.format == "PNG" and picture.width > 600
        colours = np.asarray(picture.convert("RGB")).astype(int)
    assert (np.ptp(colours, axis=2) > 60).sum() > 500  # something is warm or blue
    with pytest.raises(ValueError, match="did you mean 'Mass'"):
        write_heatmap(found, tmp_path / "a.png", "Masss", tmp_path / "b.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "heat.png"]
    with pytest.raises(ValueError, match="did you mean 'occlusion'"):
        heat(head, film, head.model.semantic_vectors[0], "oclusion")


@pytest.mark.parametrize("name", ["heat", "heat.pdf", "heat.svg"])
def test_whatever_its_name_the_picture_is_a_png(head, film, tmp_path, name):
    Image.fromarray(film).save(tmp_path / "a.png")
    found = predict(tmp_path / "a.png", head)
    out = write_heatmap(found, tmp_path / "a.png", "Mass", tmp_path / name, "gradcam")
    assert out == tmp_path / name
    with Image.open(out) as picture:
        assert picture.format == "PNG"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", name]
