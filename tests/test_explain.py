"""Heat maps: occlusion against a loop, Grad-CAM against its formula, and the picture of them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from film_files import phantoms
from PIL import Image

from cmdml import explain, predict
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


def test_the_score_of_a_map_is_that_of_the_film(head, film):
    image = torch.from_numpy(film.astype(np.float32))[None, None] / 255
    scores, _ = head.network(torch.from_numpy(film)[None, None])
    for c in (KEYS.index("Mass"), KEYS.index("Hernia")):
        found = OneScore(head.network, head.model.semantic_vectors[c])(image)
        assert found.tolist() == pytest.approx([scores[0, c].item()], abs=1e-5)


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
    flat[3, 6] = 1.0005
    assert peak(flat) == (3, 6)  # a little higher is higher
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


def test_a_head_without_a_normal_film_hides_places_by_the_mean_of_their_neighbourhood(head, film, monkeypatch):
    image = torch.from_numpy(film.astype(np.float32))[None, None] / 255
    bare = replace(head, reference={k: v for k, v in head.reference.items() if k != "normal_film"})
    found = explain._unremarkable(bare, image)[0, 0].numpy()
    assert found.shape == (64, 64)
    for y, x in ((0, 0), (30, 5), (63, 40)):  # 17 px wide, cut off at the edges
        near = film[max(y - 8, 0) : y + 9, max(x - 8, 0) : x + 9] / 255
        assert found[y, x] == pytest.approx(near.mean(), abs=1e-5)


def test_a_picture_is_of_the_film_the_finding_and_the_method_that_were_asked(head, tmp_path, monkeypatch):
    large, asked = phantoms(2, 128)[1], []
    Image.fromarray(large[:100]).save(tmp_path / "a.png")
    found = predict(tmp_path / "a.png", head, findings=["Mine: round, opacity"])
    monkeypatch.setattr(explain, "heat", lambda *given: asked.append(given) or np.zeros((64, 64), np.float32))
    drawn, blank = [], SimpleNamespace(savefig=lambda beside, **options: beside.write_bytes(b"a picture"))
    monkeypatch.setattr(explain, "_figure", lambda *given: drawn.append(given) or blank)
    vectors = {"Pleural_Thickening": head.model.semantic_vectors[KEYS.index("Pleural_Thickening")],
               "Mine": found.own[0].vector}  # fmt: skip
    for (finding, vector), method in zip(vectors.items(), ("gradcam", "occlusion"), strict=True):
        write_heatmap(found, tmp_path / "a.png", finding, tmp_path / "b.png", method)
        used, pixels, told, how = asked[-1]
        assert used is head and torch.equal(told, vector) and how == method
        np.testing.assert_array_equal(pixels, explain.read_film(tmp_path / "a.png", 64).pixels)
        shown, heat_map, title, means = drawn[-1]
        assert shown.shape == (128, 128) and np.array_equal(shown[14:114], large[:100]) and heat_map.shape == (64, 64)
        assert title.startswith(finding.replace("_", " ")) and f"({method})" in title and means == explain.MEANS[method]
    write_heatmap(found, tmp_path / "a.png", "Mass", tmp_path / "b.png")
    assert asked[-1][3] == "occlusion"


def test_the_film_lies_under_a_map_that_is_warm_where_the_score_is_raised():
    film, found = np.full((8, 8), 90, np.uint8), np.zeros((8, 8), np.float32)
    found[1, 2], found[5, 6] = 0.25, -0.5
    figure = explain._figure(film, found, "a title", "what it means")
    left, right, bar = figure.axes
    assert figure.get_suptitle() == "a title" and bar.get_ylabel() == "what it means"
    assert figure.get_supxlabel().startswith("not a medical device: ")
    assert len(left.images) == 1 and len(right.images) == 2
    for ax in (left, right):
        assert ax.images[0].get_clim() == (0, 255) and np.array_equal(ax.images[0].get_array(), film)
    warm = right.images[1]
    assert warm.get_clim() == (-0.5, 0.5) and warm.get_cmap().name == "RdBu_r"
    np.testing.assert_array_equal(warm.get_array(), found)
    np.testing.assert_allclose(warm.get_alpha(), np.abs(found) / 0.5 * 0.6, atol=1e-6)
