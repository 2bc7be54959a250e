"""The phantom: its signs can be measured, its films can be drawn again, its label sets are NIH's."""

import inspect
import json

import numpy as np
import pandas as pd
import pytest

from cmdml import sources
from cmdml.findings import KEYS
from cmdml.radiographs import RadiographSet
from cmdml.sources import phantom
from cmdml.sources.phantom import counts, sampling
from cmdml.sources.phantom.anatomy import borders, diaphragm, draw_block, outer_border, soft_tissue
from cmdml.sources.phantom.signs import PAINTERS, bend

FILMS = 32


def still_scene(**labels):
    """Healthy films of different patients, centred, without noise; keywords set findings."""
    scene = phantom.sample_scene(phantom.sample_table(FILMS, seed=5).assign(**dict.fromkeys(KEYS, 0)), seed=5)
    for name, value in (("zoom", 1), ("contrast", 1)):
        scene[name] = np.full(FILMS, value)
    for name in ("shift_x", "shift_y", "tilt", "exposure", "noise"):
        scene[name] = np.zeros(FILMS)
    for key, value in labels.items():
        scene["labels"][:, KEYS.index(key)] = value
    return scene


def luck(scene, key, **numbers):
    names = ("side", "x", "y", "size", "severity")
    for name, value in numbers.items():
        scene["luck"][:, KEYS.index(key), names.index(name)] = value
    return scene


def films(scene, size=128):
    return draw_block(scene, size)


def at(pixels, x, y, radius=0.04):
    """Mean brightness of each film around film coordinates x, y (numbers or one per film)."""
    grid = (np.arange(pixels.shape[1]) + 0.5) * 2 / pixels.shape[1] - 1
    x, y = (np.broadcast_to(v, len(pixels))[:, None] for v in (x, y))
    near = (np.abs(grid - y) < radius)[:, :, None] & (np.abs(grid - x) < radius)[:, None, :]
    return np.array([film[mask].mean() for film, mask in zip(pixels, near)])


def bent(scene):
    a = {name: (value[:, None] if value.ndim == 1 else value).astype(np.float32) for name, value in scene.items()}
    bend(a)
    return a


def cardiothoracic_ratio(pixels, scene):
    """Widest run of soft tissue around the midline, over the inner width of the thorax, as on a light box."""
    size = pixels.shape[1]
    grid = (np.arange(size) + 0.5) * 2 / size - 1
    a = bent(scene)
    rows = [np.flatnonzero((grid > 0.0) & (grid < dome - 0.10)) for dome in a["dome"][:, 0]]
    ratios = []
    for film, row, half in zip(pixels, rows, a["half"][:, 0]):
        widest = 0
        for i in row:
            lung = film[i] < 0.5 * (film[i, size // 2 - 2 : size // 2 + 2].mean() + np.quantile(film[i], 0.15))
            lung[np.abs(grid) > half - 0.04] = True
            left = np.flatnonzero(lung & (grid > 0.1)).min()
            right = np.flatnonzero(lung & (grid < -0.1)).max()
            widest = max(widest, grid[left] - grid[right])
        ratios.append(widest / (2 * half))
    return np.array(ratios)


def test_borders_are_as_soft_in_a_larger_film_as_an_x_ray_draws_them():
    """Finer pixels sample the same borders: what a film gains over 18 cm at most does not grow with its size."""
    steepest = [np.abs(np.diff(films(still_scene(), size), axis=2)).max() * size / 2 for size in (128, 256, 512)]
    assert max(steepest) < 25 and steepest[2] < 1.2 * steepest[1]


def test_findings_without_a_painter_are_those_that_only_bend_the_anatomy():
    assert set(KEYS) - set(PAINTERS) == {"Cardiomegaly", "Effusion"}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("size", [64, 128])
def test_every_finding_shows_and_leaves_the_rest_of_the_set_alone(key, size):
    half = np.arange(FILMS) % 2 == 0
    plain, sick = films(still_scene(), size), films(still_scene(**{key: half}), size)
    np.testing.assert_array_equal(sick[~half], plain[~half])
    changed = np.abs(sick - plain)[half]
    seen = (changed > 0.06).reshape(half.sum(), -1).sum(1)  # well above the grain of the noisiest film (0.03, one SD)
    assert (seen >= 8 * (size / 64) ** 2).all(), f"{key} is hardly visible: {seen.min()} pixels at {size} px"


def test_cardiomegaly_is_a_cardiothoracic_ratio_above_one_half():
    scene = still_scene()
    healthy = cardiothoracic_ratio(films(scene, 128), scene)
    large = still_scene(Cardiomegaly=1)
    enlarged = cardiothoracic_ratio(films(large, 128), large)
    assert 0.33 < healthy.min() and healthy.max() < 0.5
    assert enlarged.min() > 0.5


def test_effusion_blunts_the_costophrenic_angle_and_rises_along_the_wall():
    healthy, scene = still_scene(), luck(still_scene(Effusion=1), "Effusion", side=0.0)
    a = bent(scene)
    x = a["half"][:, 0] * 0.90
    y = diaphragm(a, x[:, None].astype(np.float32))[:, 0] - 0.06
    before, after = films(healthy), films(scene)
    assert (at(after, x, y) - at(before, x, y) > 0.08).all()
    np.testing.assert_allclose(at(after, -x, y), at(before, -x, y), atol=1e-6)  # the other side stays free
    big = films(luck(scene, "Effusion", side=0.0, severity=0.9))
    y = bent(scene)["dome"][:, 0] - 0.215
    lateral, medial = (at(big, share * a["half"][:, 0], y, 0.03) for share in (0.90, 0.65))
    assert (lateral - medial > 0.05).all()  # a meniscus, not a level


def test_pneumothorax_is_lucent_without_markings_outside_a_bright_line():
    healthy, scene = still_scene(), luck(still_scene(Pneumothorax=1), "Pneumothorax", side=0.0, severity=0.6)
    scene["shift_heart"] = healthy["shift_heart"]
    before, after = films(healthy), films(scene)
    x = outer_border(bent(scene), np.float32(-0.2))[:, 0] - 0.09
    assert (at(before, x, -0.2) - at(after, x, -0.2) > 0.08).all()
    row = after[:, np.argmin(np.abs((np.arange(128) + 0.5) / 64 - 1 + 0.2)), 64:]
    assert (np.diff(row, axis=1).min(1) < -0.12).all()  # from line to free air


def test_emphysema_is_dark_lungs_a_low_flat_diaphragm_and_a_narrow_heart():
    healthy, scene = still_scene(), still_scene(Emphysema=1)
    before, after = films(healthy), films(scene)
    for side in (-1, 1):
        assert (at(before, side * 0.45, -0.2, 0.15) - at(after, side * 0.45, -0.2, 0.15) > 0.03).all()
    a, b = bent(healthy), bent(scene)
    assert (b["dome"] > a["dome"] + 0.05).all() and (b["arch"] < 0.5 * a["arch"]).all()
    assert (cardiothoracic_ratio(after, scene) < cardiothoracic_ratio(before, healthy)).all()


def test_edema_is_bilateral_and_perihilar():
    gain = films(still_scene(Edema=1)) - films(still_scene())
    for side in (-1, 1):
        central, peripheral = at(gain, side * 0.30, -0.02, 0.1), at(gain, side * 0.64, -0.02)
        assert (central > 0.04).all() and (central > peripheral).all()
        assert central.mean() > 0.08 and peripheral.mean() < 0.5 * central.mean()


def test_fibrosis_is_reticular_basal_and_takes_volume():
    scene = still_scene(Fibrosis=1)
    gain = films(scene, 128) - films(still_scene(), 128)
    grid = (np.arange(128) + 0.5) / 64 - 1
    base, apex = ((grid > lo) & (grid < hi) for lo, hi in ((0.0, 0.25), (-0.6, -0.35)))
    side = (np.abs(grid) > 0.5) & (np.abs(grid) < 0.65)
    rough = [np.abs(np.diff(gain[:, rows][:, :, side], axis=1)).mean((1, 2)) for rows in (base, apex)]
    assert (rough[0] > rough[1]).all() and rough[0].mean() > 1.5 * rough[1].mean()
    assert (bent(scene)["dome"] < bent(still_scene())["dome"] - 0.04).all()


def test_mass_is_larger_than_three_centimetres_and_nodule_smaller():
    areas = {}
    for key in ("Mass", "Nodule"):
        scene = luck(still_scene(**{key: 1}), key, x=0.6, y=0.3, severity=0.0, side=0.9)
        change = films(scene, 128) - films(luck(still_scene(), key), 128)
        half = 0.5 * np.quantile(change.reshape(FILMS, -1), 0.999, axis=1)
        areas[key] = (change > half[:, None, None]).sum((1, 2)) * (36 / 128) ** 2  # cm², a film being 36 cm wide
    three = np.pi * 1.5**2
    assert (areas["Mass"] > three).all() and (areas["Nodule"] < three).all() and (areas["Nodule"] > 0.8).all()


def test_consolidation_is_denser_than_infiltration_and_pneumonia_lies_between():
    rise = {}
    for key in ("Infiltration", "Pneumonia", "Consolidation"):
        gain = films(still_scene(**{key: 1})) - films(still_scene())
        rise[key] = np.quantile(gain.reshape(FILMS, -1), 0.98, axis=1).mean()
    assert rise["Infiltration"] < rise["Pneumonia"] < rise["Consolidation"]


def test_atelectasis_lifts_the_dome_and_pulls_the_mediastinum():
    scene = luck(still_scene(Atelectasis=1), "Atelectasis", side=0.0)
    a, healthy = bent(scene), bent(still_scene())
    x = np.full((FILMS, 1), 0.4, np.float32)
    assert (diaphragm(a, x) < diaphragm(healthy, x) - 0.04).all()
    np.testing.assert_allclose(diaphragm(a, -x), diaphragm(healthy, -x), atol=0.011)
    assert (a["shift_heart"] > healthy["shift_heart"]).all()


def test_pleural_thickening_is_a_bright_rim_along_the_wall():
    scene = luck(still_scene(Pleural_Thickening=1), "Pleural_Thickening", side=0.0, x=0.9, y=0.9)
    gain = films(scene) - films(still_scene())
    wall = outer_border(bent(scene), np.float32(0.1))[:, 0]
    assert (at(gain, wall - 0.04, 0.1, 0.03) > 0.08).all()
    assert (np.abs(at(gain, wall - 0.22, 0.1, 0.03)) < 0.02).all()


def test_hernia_is_gas_above_fluid_behind_the_heart():
    scene = luck(still_scene(Hernia=1), "Hernia", x=0.5, y=0.5, size=0.8, severity=0.5)
    gain = films(scene) - films(still_scene())
    x, y = 0.08, scene["dome"] - 0.15
    assert (at(gain, x, y - 0.09) < -0.05).all() and (at(gain, x, y + 0.07) > 0.04).all()


def test_ap_films_have_larger_hearts():
    table = phantom.sample_table(2000, seed=2)
    scene = phantom.sample_scene(table, seed=2)
    ap = (table["view"] == "AP").to_numpy()
    assert scene["ctr"][ap].mean() > scene["ctr"][~ap].mean() + 0.02
    assert table.loc[ap, list(KEYS)].any(axis=1).mean() > table.loc[~ap, list(KEYS)].any(axis=1).mean()


def test_sizes_share_geometry():
    small, large = films(still_scene(Mass=1), 64), films(still_scene(Mass=1), 128)
    shrunk = large.reshape(FILMS, 64, 2, 64, 2).mean((2, 4))
    for one, other in zip(small, shrunk):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98


def test_a_film_does_not_depend_on_the_films_drawn_with_it():
    table = phantom.sample_table(100, seed=3)
    scene = phantom.sample_scene(table, seed=3)
    whole = phantom.draw(scene, 64, seed=3)
    for rows in (slice(0, 1), slice(17, 50), slice(99, 100)):
        part = phantom.draw({name: value[rows] for name, value in scene.items()}, 64, seed=3)
        np.testing.assert_array_equal(part, whole[rows])
    assert (phantom.draw(scene, 64, seed=4) != whole).any()


def test_label_sets_follow_nih():
    table = phantom.sample_table(30_000, seed=0)
    sets = pd.read_csv(counts.COUNTS)
    weight = sets["images"] / sets["images"].sum()
    labels = table[list(KEYS)]
    for key in KEYS:
        expected = weight[sets["findings"].str.split("|").map(lambda names, key=key: key in names)].sum()
        expected = max(expected, sampling.FLOOR)
        assert labels[key].mean() == pytest.approx(expected, rel=0.12), key
    assert labels.any(axis=1).mean() == pytest.approx(1 - 60361 / 112120, abs=0.02)
    assert (table["view"] == "AP").mean() == pytest.approx(44810 / 112120, abs=0.02)
    both = (labels["Effusion"] & labels["Atelectasis"]).mean()
    assert both > 1.5 * labels["Effusion"].mean() * labels["Atelectasis"].mean()  # co-occurrence survives


def test_prevalence_scales_the_odds_of_a_finding():
    share = {p: phantom.sample_table(8000, 0, p)[list(KEYS)].any(axis=1).mean() for p in (0, 0.5, 2)}
    odds = (112120 - 60361) / 60361
    assert share[0] == 0
    for p in (0.5, 2):
        assert share[p] == pytest.approx(p * odds / (1 + p * odds), abs=0.03)


def test_patients_are_in_one_split_and_every_finding_is_in_each():
    table = phantom.sample_table(6000, seed=0)
    assert (table.groupby("patient")["split"].nunique() == 1).all()
    patients = table.drop_duplicates("patient")["split"].value_counts(normalize=True)
    assert [patients[s] for s in ("train", "val", "test")] == pytest.approx([0.5, 0.1, 0.4], abs=0.002)
    films_each = table.groupby("patient").size()
    assert films_each.max() == sampling.MOST_FILMS and films_each.median() == 1
    for split, rows in table.groupby("split"):
        assert (rows[list(KEYS)].sum() >= int(0.01 * len(rows))).all(), split


def test_a_patient_keeps_anatomy_and_the_place_of_a_nodule():
    table = phantom.sample_table(500, seed=1)
    scene = phantom.sample_scene(table, seed=1)
    for name in ("half", "top", "neck", "texture"):
        assert (pd.Series(scene[name]).groupby(table["patient"].to_numpy()).nunique() == 1).all()
    place = scene["luck"][:, KEYS.index("Nodule"), :4].sum(1)
    assert (pd.Series(place).groupby(table["patient"].to_numpy()).nunique() == 1).all()


def test_prepare_writes_the_same_bytes_again(tmp_path):
    one = phantom.prepare(tmp_path / "one", images=120, seed=9, progress=False)
    two = sources.prepare("phantom", tmp_path / "two", images=120, seed=9, progress=False)
    assert one.card["sha256"] == two.card["sha256"]
    two.verify()
    assert phantom.prepare(tmp_path / "other", images=120, seed=8, progress=False).card["sha256"] != one.card["sha256"]
    before = (tmp_path / "one" / "pixels.npy").stat().st_mtime_ns
    again = phantom.prepare(tmp_path / "one", images=120, seed=9, progress=False)
    assert (tmp_path / "one" / "pixels.npy").stat().st_mtime_ns == before and isinstance(again, RadiographSet)
    assert one.pixels.shape == (120, 64, 64) and one.findings == KEYS
    assert "not real" in one.card["title"] and "phantom" in one.card["note"]
    scene = phantom.sample_scene(phantom.sample_table(120, 9), 9)
    np.testing.assert_array_equal(one.pixels, phantom.draw(scene, 64, 9))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"size": 32}, "size = 32"), ({"images": 5}, "images = 5"), ({"prevalence": -1}, "prevalence")],
)
def test_requests_out_of_range_are_refused(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        phantom.prepare(tmp_path / "set", **options)
    assert not list(tmp_path.iterdir())


def test_unknown_source_or_option_names_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'phantom'"):
        sources.prepare("phantoms", tmp_path)
    with pytest.raises(ValueError, match="unknown option of source phantom 'image'.*did you mean 'images'"):
        sources.prepare("phantom", tmp_path, image=3)
    for prepare in sources.SOURCES.values():
        assert "folder" in inspect.signature(prepare).parameters


def redrawn(tmp_path, monkeypatch):
    """Whether preparing the same set again draws it again."""
    calls = []
    real = sampling.draw
    monkeypatch.setattr(sampling, "draw", lambda *args: calls.append(1) or real(*args))
    phantom.prepare(tmp_path / "set", images=60, progress=False)
    monkeypatch.setattr(sampling, "draw", real)
    return bool(calls)


@pytest.mark.parametrize("name", ["anatomy.py", "signs.py", "sampling.py", "label_sets.csv", "label_sets.json"])
def test_another_drawing_or_other_counts_draw_the_set_anew(tmp_path, monkeypatch, name):
    assert redrawn(tmp_path, monkeypatch) and not redrawn(tmp_path, monkeypatch)
    before, real = counts.drawing_sha256(), counts.reading.sha256
    monkeypatch.setattr(counts.reading, "sha256", lambda path: "edited" if path.name == name else real(path))
    assert counts.drawing_sha256() != before
    assert redrawn(tmp_path, monkeypatch) and not redrawn(tmp_path, monkeypatch)


PATIENTS = b'{"patients_by_images": %s, "patients_by_sex_and_age": {"F": {"40": 1}, "M": {"40": 1}}}'


def test_the_drawing_is_what_it_was():
    """Committed results are of these bytes: whoever changes the drawing must make them again."""
    table = phantom.sample_table(64, seed=0)
    films = phantom.draw(phantom.sample_scene(table, 0), 64, 0)
    assert films.mean(dtype=float) == pytest.approx(35061450 / films.size, rel=1e-5)  # processors round differently
    assert films[17, 20:23, 30].tolist() == pytest.approx([196, 196, 197], abs=1)


SIGNS = {  # what a finding adds to 32 healthy films of 64 px, in thousandths: its mean, its mean size, its mean square,
    # and how far it lies to the right and how far down
    "Atelectasis": (3.307, 41.581, 6.911, 594.94, 132.52),
    "Cardiomegaly": (11.441, 11.441, 2.568, 179.76, 174.88),
    "Effusion": (5.224, 5.224, 1.437, 85.29, 153.57),
    "Infiltration": (6.822, 6.822, 0.803, -10.306, -56.055),
    "Mass": (4.741, 4.741, 1.303, -75.42, 7.116),
    "Nodule": (1.901, 1.901, 0.5806, 22.185, 2.702),
    "Pneumonia": (9.664, 9.664, 1.861, -35.99, -7.9),
    "Pneumothorax": (-6.429, 39.35, 5.456, 98.281, 49.32),
    "Consolidation": (12.469, 12.469, 2.937, 153.845, -99.344),
    "Edema": (20.803, 20.803, 2.626, -75.921, -37.973),
    "Emphysema": (-39.967, 44.105, 9.179, -5.044, -305.11),
    "Fibrosis": (26.623, 31.579, 5.795, -53.923, 151.139),
    "Pleural_Thickening": (10.206, 10.206, 2.908, 50.742, -14.388),
    "Hernia": (-1.223, 3.738, 0.5214, -4.105, -4.844),
}


def test_every_sign_is_what_it_was():
    """Rare findings hardly show in the films above; here each is measured on its own."""
    grid = (np.arange(64) + 0.5) / 32 - 1
    scene = phantom.sample_scene(phantom.sample_table(FILMS, seed=5).assign(**dict.fromkeys(KEYS, 0)), seed=5)
    plain = films(scene, 64)
    assert SIGNS.keys() == set(KEYS)
    for key, expected in SIGNS.items():
        scene["labels"][:] = np.array(KEYS) == key
        added = (films(scene, 64) - plain).astype(float)
        right, down = (added @ grid).mean(), (added.transpose(0, 2, 1) @ grid).mean()
        found = 1000 * np.array([added.mean(), np.abs(added).mean(), (added**2).mean(), right, down])
        assert found == pytest.approx(expected, rel=1e-3, abs=2e-3), key


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("label_sets.csv", b"view,findings\n", "no column 'images'"),
        ("label_sets.csv", b"view,findings,images\nPA,Mass,many\n", "Mass has images 'many'; expected a whole number"),
        ("label_sets.csv", b"view,findings,images\nPA,Mas,3\n", "holds 'PA,Mas', no label set"),
        ("label_sets.csv", b"view,findings,images\nLL,Mass,3\n", "holds 'LL,Mass', no label set"),
        ("label_sets.csv", b"view,findings,images\n", "holds 'no images', no label set"),
        ("label_sets.csv", b"\xff\xff", "is not utf-8 text"),
        ("label_sets.csv", None, "no such file"),
        ("label_sets.json", b"{", "holds no patient counts"),
        ("label_sets.json", b"[]", "holds no patient counts"),
        ("label_sets.json", b'{"patients_by_images": {"1": 2}}', "holds no patient counts"),
        ("label_sets.json", b'{"patients_by_images": {"x": 2}, "patients_by_sex_and_age": {}}', "no patient counts"),
        ("label_sets.json", PATIENTS % b'{"-1": 2}', "must not be negative, nor all zero"),
        ("label_sets.json", PATIENTS % b'{"1": -2}', "must not be negative, nor all zero"),
        ("label_sets.json", PATIENTS % b'{"1": 0}', "must not be negative, nor all zero"),
        ("label_sets.json", None, "no such file"),
    ],
)
def test_damaged_counts_are_one_sentence(tmp_path, monkeypatch, file, content, words):
    for path in (counts.COUNTS, counts.COUNTS.with_suffix(".json")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(counts, "COUNTS", tmp_path / "label_sets.csv")
    phantom.sample_table(60)
    (tmp_path / file).unlink() if content is None else (tmp_path / file).write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        phantom.sample_table(60)
    assert str(tmp_path / file) in str(caught.value) and "\n" not in str(caught.value)


def test_borders_lie_where_the_lungs_end():
    a = bent(still_scene())
    b = borders({name: value[:1] for name, value in a.items()}, 64)
    assert b.lung.shape == b.below.shape == b.across.shape == (1, 64, 64) and b.lung.min() == 0 and b.lung.max() == 1
    inside = b.lung[0] > 0.5
    wall, top = (np.broadcast_to(plane[0], (64, 64)) for plane in (b.wall, b.from_top))
    assert (b.across[0][inside] < wall[inside]).all() and (top[inside] > 0).all()
    assert (b.across[0][inside] > b.medial[0][inside]).all()
    assert (b.lung * b.below)[0].max() < 0.3
    assert inside[:, :32].any() and inside[:, 32:].any()  # two lungs


def test_breasts_lie_on_both_sides_below_the_middle():
    a = {name: value[:1] for name, value in bent(still_scene()).items()}
    b = borders(a, 64)
    none, one = (soft_tissue(a | {"breast": np.full(1, weight, np.float32)}, b)[0] for weight in (0, 1))
    added = one - none
    x, y = b.x[0], b.y[0]
    assert added.min() >= -1e-6 and 0.05 < added.max() <= 0.1001
    assert 0.3 < (added.sum(1) @ y) / added.sum() < 0.5  # rows: their middle
    for side in (x < 0, x > 0):
        assert 0.35 < (added[:, side].sum(0) @ np.abs(x[side])) / added[:, side].sum() < 0.6


def test_every_option_of_a_set_reaches_its_films_and_its_card(tmp_path):
    asked = {"size": 128, "images": 60, "seed": 4, "prevalence": 2.0}
    made = phantom.prepare(tmp_path / "set", **asked, progress=False)
    table = phantom.sample_table(60, 4, 2.0)
    assert not table.equals(phantom.sample_table(60, 4))
    assert made.table["image"].tolist() == table["image"].tolist()
    np.testing.assert_array_equal(made.labels, table[list(KEYS)])
    np.testing.assert_array_equal(made.pixels, phantom.draw(phantom.sample_scene(table, 4), 128, 4))
    drawn_by = made.card["made_with"].pop("drawn_by")
    assert made.card["made_with"] == {"source": "phantom", **asked} and drawn_by == counts.drawing_sha256()


@pytest.mark.parametrize("start", [0, 1, 29, 30])
def test_an_interrupted_drawing_goes_on_at_any_row(monkeypatch, start):
    scene = phantom.sample_scene(phantom.sample_table(60, 3), 3)
    scene = {name: value[:31] for name, value in scene.items()}
    whole = phantom.draw(scene, 64, 5)
    monkeypatch.setattr(sampling, "PLANE", 256)  # four films at a time
    monkeypatch.setattr(sampling, "cores", lambda: 2)
    parts = list(sampling.drawing(scene, 64, 5)(start))
    np.testing.assert_array_equal(np.concatenate(parts), whole[start:])
    assert max(map(len, parts)) == min(4, 31 - start)


def test_a_patient_grows_a_year_older_with_every_third_film_and_keeps_its_sex():
    table = phantom.sample_table(3000, seed=2)
    number = table["image"].str[-7:-4].astype(int)
    assert (table["image"] == table["patient"] + "_" + table["image"].str[-7:]).all()
    for _, rows in table.groupby("patient"):
        own = number[rows.index].tolist()
        assert own == list(range(len(rows))) and rows["sex"].nunique() == 1
        assert (rows["age"] - rows["age"].iloc[0]).tolist() == [n // 3 for n in own]
    about = json.loads(counts.COUNTS.with_suffix(".json").read_text())["patients_by_sex_and_age"]
    people = table.drop_duplicates("patient")
    women = sum(about["F"].values()) / sum(sum(ages.values()) for ages in about.values())
    assert (people["sex"] == "F").mean() == pytest.approx(women, abs=0.06)
    mean = [sum((int(a) + 2) * n for a, n in about[sex].items()) / sum(about[sex].values()) for sex in "FM"]
    for sex, expected in zip("FM", mean, strict=True):
        assert people["age"][people["sex"] == sex].mean() == pytest.approx(expected, abs=2.5)


def test_progress_is_shown_unless_it_is_not_wanted(tmp_path, capsys):
    phantom.prepare(tmp_path / "loud", images=50)
    assert "drawing" in capsys.readouterr().err
    phantom.prepare(tmp_path / "quiet", images=50, progress=False)
    assert "drawing" not in capsys.readouterr().err
