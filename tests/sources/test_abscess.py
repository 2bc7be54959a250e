"""The drawn lung abscess: an opt-in that leaves every other drawing alone, and lies where it says, in a lung."""

import numpy as np
import pytest

from cmdml.findings import KEYS
from cmdml.sources import abscess, phantom
from cmdml.sources.abscess import abscess_pairs, paint_abscess, place_discs
from cmdml.sources.phantom import counts
from cmdml.sources.phantom.anatomy import borders, draw_block
from cmdml.sources.phantom.signs import bend

PAIRS, SIZE = 40, 128
GRID = ((np.arange(SIZE) + 0.5) * (2 / SIZE) - 1).astype(np.float32)


@pytest.fixture(scope="module")
def drawn():
    return abscess_pairs(PAIRS, size=SIZE, seed=11)


@pytest.fixture(scope="module")
def scene():
    """Healthy films of ``drawn``'s patients, centred, without noise: pixels are where the formulas are."""
    table = phantom.sample_table(5 * PAIRS + 200, 11)
    first = np.flatnonzero(~table["patient"].duplicated())[:PAIRS]
    scene = {name: value[first] for name, value in phantom.sample_scene(table, 11).items()}
    scene["labels"] = np.zeros_like(scene["labels"])
    for name, value in (("zoom", 1.0), ("contrast", 1.0)):
        scene[name] = np.full(PAIRS, value)
    for name in ("shift_x", "shift_y", "tilt", "exposure", "noise", "shift_heart"):
        scene[name] = np.zeros(PAIRS)
    return scene


def with_label(scene, key):
    labels = scene["labels"].copy()
    labels[:, KEYS.index(key)] = 1
    return scene | {"labels": labels}


def lungs(scene):
    a = {name: (value[:, None] if value.ndim == 1 else value).astype(np.float32) for name, value in scene.items()}
    bend(a)
    return borders(a, SIZE).lung


def spots(films, discs, dx, dy, radius=0.02):
    """Mean brightness around (dx, dy) from the middle of each disc, in units of its cavity's radius."""
    cavity = discs["radius"] - discs["wall"]
    out = []
    for film, x, y in zip(films, discs["x"] + dx * cavity, discs["y"] + dy * cavity):
        near = (np.abs(GRID - y) < radius)[:, None] & (np.abs(GRID - x) < radius)[None]
        out.append(film[near].mean())
    return np.array(out)


def test_the_table_of_a_pair_is_the_phantom_s_and_where_the_disc_lies(drawn):
    own = [name for name in phantom.sample_table(10, 0).columns if name != "split"]
    assert list(drawn.table.columns) == [*own, "x", "y", "radius", "inside"]
    assert list(drawn.table.index) == list(range(PAIRS))


def test_films_without_it_are_the_phantom_s_own_bytes(drawn):
    table = phantom.sample_table(5 * PAIRS + 200, 11)
    first = np.flatnonzero(~table["patient"].duplicated())[:PAIRS]
    scene = {name: value[first] for name, value in phantom.sample_scene(table, 11).items()}
    np.testing.assert_array_equal(drawn.without, phantom.draw(scene, SIZE, 11))
    assert drawn.table["image"].tolist() == table["image"].iloc[first].tolist()
    np.testing.assert_array_equal(drawn.table[list(KEYS)], scene["labels"])
    assert drawn.table["patient"].is_unique and len(drawn.table) == PAIRS


def test_no_set_is_drawn_anew_for_it(monkeypatch):
    before, real = counts.drawing_sha256(), counts.reading.sha256
    read = []
    monkeypatch.setattr(counts.reading, "sha256", lambda path: read.append(path.name) or real(path))
    assert counts.drawing_sha256() == before and "abscess.py" not in read and "signs.py" in read


def test_films_with_it_differ_only_where_it_lies(drawn):
    differs = drawn.without != drawn.within
    assert not (differs & ~drawn.place).any()
    share = (differs & drawn.place).sum((1, 2)) / drawn.place.sum((1, 2))
    assert np.median(share) > 0.85 and share.min() > 0.5  # in a white lung the wall is as white as what was there


def test_it_is_a_disc_of_its_radius_in_the_lung_of_one_side(drawn):
    table = phantom.sample_table(5 * PAIRS + 200, 11)
    first = np.flatnonzero(~table["patient"].duplicated())[:PAIRS]
    scene = {name: value[first] for name, value in phantom.sample_scene(table, 11).items()}
    lung = lungs(scene)
    assert (lung[drawn.place] > 0).all()
    assert all(lung[i][place].mean() > 0.95 for i, place in enumerate(drawn.place))
    area = drawn.place.sum((1, 2)) * (2 / SIZE * scene["zoom"]) ** 2
    np.testing.assert_allclose(area, np.pi * drawn.table["radius"] ** 2, rtol=0.15)
    tall, wide = (np.array([np.ptp(np.nonzero(place)[axis]) for place in drawn.place]) for axis in (0, 1))
    assert (np.abs(tall - wide) <= 3).all()
    left = np.array([place[:, : SIZE // 2].any() for place in drawn.place])
    right = np.array([place[:, SIZE // 2 :].any() for place in drawn.place])
    assert (left != right).all() and left.any() and right.any()
    assert (left == (drawn.table["x"] < 0)).all()
    assert drawn.table["radius"].between(0.13, 0.20).all() and (drawn.table["inside"] >= abscess.FITS).all()


def test_gas_is_black_above_a_level_and_fluid_white_below_within_a_thick_wall(scene):
    discs = place_discs(scene, 3).assign(level=0.0)
    healthy = draw_block(scene, SIZE)
    films, _ = paint_abscess(healthy, scene, discs)
    change = films - healthy
    gas, fluid = spots(change, discs, 0, -0.5), spots(change, discs, 0, 0.5)
    assert (gas < -0.04).all() and (fluid > 0.15).all()
    outer = (discs["radius"] - discs["wall"] / 2) / (discs["radius"] - discs["wall"])  # the middle of the wall
    for dx, dy in ((-outer, 0), (outer, 0), (0, -outer)):
        assert (spots(change, discs, dx, dy, 0.01) > 0.03).all() and np.median(spots(change, discs, dx, dy, 0.01)) > 0.2
    for dx in (-0.5, 0.5):  # the level is a level
        np.testing.assert_array_less(spots(change, discs, dx, -0.35), -0.03)
        assert (spots(change, discs, dx, 0.35) > 0.12).all()
    low, _ = paint_abscess(healthy, scene, discs.assign(level=0.3))
    assert (low.sum((1, 2)) < films.sum((1, 2))).all()  # a lower level: more gas


def test_what_lay_there_gives_way(scene):
    discs = place_discs(scene, 3)
    healthy, full = scene, with_label(scene, "Infiltration")
    (one, place), (other, _) = (paint_abscess(draw_block(s, SIZE), s, discs) for s in (healthy, full))
    a = lungs(healthy)
    whole = np.array([np.hypot(GRID[None] - x, GRID[:, None] - y) < r - 0.03
                      for x, y, r in zip(discs["x"], discs["y"], discs["radius"])]) & (a > 0.999)  # fmt: skip
    assert whole.any((1, 2)).all() and (place & whole).sum() == whole.sum()
    np.testing.assert_allclose(one[whole], other[whole], atol=1e-5)
    assert np.abs(one - other).max() > 0.1  # the infiltration is there


def test_exposure_and_contrast_of_the_film_are_the_abscess_s_too(scene):
    discs = place_discs(scene, 3)
    dull = scene | {"contrast": np.full(PAIRS, 0.8), "exposure": np.linspace(-0.05, 0.05, PAIRS)}
    (one, place), (other, _) = (paint_abscess(draw_block(s, SIZE), s, discs) for s in (scene, dull))
    wanted = (one - 0.5) * 0.8 + 0.5 + dull["exposure"][:, None, None]
    np.testing.assert_allclose(other[place], wanted[place], atol=1e-4)


def test_a_film_s_abscess_depends_on_its_own_row(scene):
    whole = place_discs(scene, 3)
    part = place_discs({name: value[7:12] for name, value in scene.items()}, 3)
    np.testing.assert_array_equal(whole.iloc[7:12].to_numpy(), part.to_numpy())
    other = place_discs(scene, 4)
    assert (other[["x", "y", "radius", "wall", "level"]] != whole[["x", "y", "radius", "wall", "level"]]).all(axis=None)


def test_places_follow_the_seed_that_was_asked_for(drawn):
    table = phantom.sample_table(5 * PAIRS + 200, 11)
    first = np.flatnonzero(~table["patient"].duplicated())[:PAIRS]
    discs = place_discs({name: value[first] for name, value in phantom.sample_scene(table, 11).items()}, 11)
    for name in ("x", "y", "radius", "inside"):
        np.testing.assert_array_equal(drawn.table[name], discs[name])


def test_a_seed_fixes_all_of_it(drawn):
    again, other = abscess_pairs(6, seed=2), abscess_pairs(6, seed=3)
    same = abscess_pairs(6, seed=2)
    np.testing.assert_array_equal(again.within, same.within)
    np.testing.assert_array_equal(again.place, same.place)
    assert (again.within != other.within).any() and (again.place != other.place).any()
    assert again.within.shape == again.without.shape == again.place.shape == (6, 64, 64)
    assert again.within.dtype == again.without.dtype == np.uint8 and again.place.dtype == bool


def test_sizes_share_geometry():
    small, large = (abscess_pairs(12, size=size, seed=4) for size in (64, 128))
    np.testing.assert_array_equal(small.table.to_numpy(), large.table.to_numpy())
    for one, other in zip(small.place, large.place.reshape(12, 64, 2, 64, 2).mean((2, 4))):
        assert (one ^ (other > 0.5)).sum() <= 0.35 * one.sum()


@pytest.mark.parametrize(("options", "words"), [((0, 64), "pairs = 0 must"), ((3, 32), "size = 32 px is too small")])
def test_requests_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        abscess_pairs(options[0], size=options[1])
