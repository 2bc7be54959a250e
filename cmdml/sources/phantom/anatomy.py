"""Draw phantom radiographs: the anatomy. The 14 findings are in ``cmdml.sources.phantom.signs``.

Everything is a formula in film coordinates, x and y in [-1, 1], x to the viewer's right (the patient's left), y
downwards, one unit being about 18 cm. A pixel only decides where the formulas are sampled, so a 224 px phantom shows
the anatomy of the 64 px one. Bone and soft tissue are bright, air is dark.

Two rules keep it fast and its bytes the same everywhere: borders are functions of one coordinate and meet the other
only in a clip, and pixels see nothing but +, -, *, / and square roots, which every processor rounds alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmdml.sources.phantom.signs import bend, bump, edge, fluid_surface, paint
from cmdml.sources.phantom.textures import textures


@dataclass
class Canvas:
    """B films in the making. Planes are (B, H, W) float32; ``a`` holds the scene, one (B, 1) column per name."""

    a: dict
    size: int
    y: np.ndarray  # (B, H, 1)
    u: np.ndarray  # distance from the midline, towards the patient's left
    across: np.ndarray  # |u|
    wall: np.ndarray  # |u| of the inner chest wall (B, H, 1)
    lung: np.ndarray  # 1 in aerated lung
    air: np.ndarray  # what aerated lung takes from the film
    film: np.ndarray  # brightness
    tree: np.ndarray  # vessels
    net: np.ndarray  # reticulation
    cloud: np.ndarray  # smooth random field

    def rows(self, index) -> Canvas:
        """A copy of some of the films."""
        a = {name: value[index] for name, value in self.a.items()}
        planes = {name: value[index] for name, value in vars(self).items() if name not in ("a", "size")}
        return Canvas(a=a, size=self.size, **planes)


def outer_border(a, y):
    """|u| of the inner chest wall at height y."""
    t = 1 - np.clip((y - a["top"]) / 0.85, 0, 1)
    return a["half"] * (0.14 + 0.86 * np.sqrt(1 - t * t)) * (1 - 0.06 * a["taper"] * bump((y - 1.0) / 1.2))


def inner_border(a, y, side):
    """|u| of the border of mediastinum and heart at height y; side = +1 is the patient's left."""
    upper = 0.115 + 0.03 * bump((y + 0.85) / 0.35)
    t = y - a["heart_y"] - 0.06 * side  # the apex of the heart points down and to the left
    t = t / np.where(t < 0, 0.40 + 0.10 * side, 0.60)
    cardiac = np.sqrt(np.maximum(1 - t * t, 0))
    width = 2 * a["ctr"] * a["half"]
    if side < 0:
        return np.maximum(upper, 0.34 * width * cardiac)
    upper = (
        upper + a["knob"] * bump((y + 0.36) / 0.13) + 0.035 * bump((y + 0.12) / 0.16)
    )  # aortic knob, pulmonary trunk
    return np.maximum(upper, 0.66 * width * (cardiac - 0.08 * np.abs(t)))


def diaphragm(a, x):
    """y of the diaphragm at x: two domes, the right one higher, that fall to the costophrenic angle at the wall."""
    left = np.clip(x / 0.24 + 0.5, 0, 1)
    dome = a["dome"] + left * (0.05 + a["raise_left"]) + (1 - left) * a["raise_right"]
    out = np.abs(x) - 0.46 * a["half"]
    lateral, medial = np.maximum(out, 0) / (0.54 * a["half"]), np.maximum(-out, 0) / (0.46 * a["half"])
    return dome + a["arch"] * (lateral * lateral + 0.3 * medial * medial)


def column(values: np.ndarray) -> np.ndarray:
    """(B, W) -> (B, 1, W): what depends on x alone."""
    return values[:, None, :]


def row(values: np.ndarray) -> np.ndarray:
    """(B, H) -> (B, H, 1): what depends on y alone."""
    return values[:, :, None]


@dataclass
class Borders:
    """Where things end: film coordinates ``x`` (B, W), ``y`` (B, H), and planes (B, H, W) made of them."""

    x: np.ndarray
    y: np.ndarray
    u: np.ndarray  # distance from the midline, towards the patient's left
    across: np.ndarray  # |u|
    wall: np.ndarray  # |u| of the inner chest wall (B, H, 1)
    medial: np.ndarray  # |u| of the border of heart and mediastinum
    floor: np.ndarray  # y of the diaphragm (B, W)
    below: np.ndarray  # 1 in the belly
    lung: np.ndarray  # 1 in aerated lung
    from_top: np.ndarray  # y from the apex of the lungs on (B, H, 1)


def borders(a: dict, size: int) -> Borders:
    """By row for what stands upright, by column for what lies."""
    grid = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    x, y = (grid - a["shift_x"]) * a["zoom"], (grid - a["shift_y"]) * a["zoom"]
    soft = max(0.03, 2.0 / size)
    wall = row(outer_border(a, y))
    u = column(x) - row(a["shift_heart"] + a["tilt"] * y)
    across = np.abs(u)
    medial = np.where(u >= 0, row(inner_border(a, y, 1)), row(inner_border(a, y, -1)))
    floor = diaphragm(a, x)
    bottom = np.minimum(floor, fluid_surface(a, x))
    from_top = row(y - a["top"])
    thorax = edge(wall - across, soft)
    lung = thorax * edge(across - medial - soft / 4, soft)
    lung *= edge(column(bottom) - row(y), soft)
    lung *= edge(from_top, 2 * soft)
    below = edge(row(y) - column(floor), soft) * thorax
    return Borders(x, y, u, across, wall, medial, floor, below, lung, from_top)


def soft_tissue(a: dict, b: Borders) -> np.ndarray:
    """Neck, shoulders that slope to the film's edge, trunk; belly below the domes; breasts."""
    x, y = b.x, b.y
    slope = np.clip((y + 1.02) / 0.42, 0, 1)
    body = a["neck"] + (0.98 - a["neck"]) * slope * slope * (3 - 2 * slope) - 0.05 * bump((y - 0.3) / 0.6)
    film = edge(row(body * a["girth"]) - b.across, 0.10)
    film *= row(0.60 + 0.08 * np.clip((y - 0.1) / 0.9, 0, 1)) - 0.5 * np.clip(b.across - 0.72, 0, 0.28)
    film += row(0.09 * a["abdomen"]) * b.below
    film += row(0.10 * a["breast"] * bump((y - 0.42) / 0.30)) * column(bump((np.abs(x) - 0.46) / 0.36))
    return film


def add_mediastinum(film: np.ndarray, a: dict, b: Borders) -> None:
    """Heart and mediastinum, spine with its discs, trachea, gas in the stomach."""
    x, y = b.x, b.y
    heart = row(0.14 * a["heart_mass"] * edge(y + 0.62, 0.3))
    film += heart * bump(b.u / (1.25 * b.medial + 0.05)) * (1 - 0.7 * b.below)
    disc = (y + a["phase"] * 0.1) * 8.5
    disc = np.abs(disc - np.floor(disc) - 0.5)
    spine = (0.10 + 0.05 * edge(0.38 - disc, 0.2)) * a["bone"] * (1 - 0.4 * edge(y - a["dome"], 0.2))
    film += row(spine) * edge(0.085 - b.across, 0.05)
    film -= row(0.16 * edge(-0.20 - y, 0.1)) * bump(b.u / 0.055)
    gas = bump((x - 0.40) / 0.20) * (x > 0)
    bubble = row(0.20 * a["bubble"]) * column(gas)
    film -= bubble * edge(0.085 - np.abs(row(y) - column(b.floor + 0.13)), 0.05) * b.below


def bones(a: dict, b: Borders) -> np.ndarray:
    """Posterior ribs fall towards the side, anterior ribs towards the midline and fainter; collar bones, blades."""
    x, y = b.x, b.y
    reach = np.abs(x) / a["half"]
    pitch = 1 / a["rib_pitch"]
    bone = np.zeros_like(b.across)
    for curve, weight, width, offset in (
        (0.14 * reach - (a["rib_slope"] + 0.1) * reach * reach, 0.080, 0.24, a["phase"]),
        (1.1 * a["rib_slope"] * reach, 0.045, 0.22, a["phase"] + 0.4),
    ):
        t = row(y * pitch) + column(curve * pitch + offset)
        t -= np.floor(t)
        bone += weight * edge(width - np.abs(t - 0.5), 0.2)
    bone *= edge(b.wall + 0.05 - b.across, 0.06) * (0.45 + 0.55 * b.lung) * edge(b.from_top, 0.1)
    bone *= row(1 - 0.75 * edge(y - a["dome"] - 0.10, 0.1))
    collar = a["clavicle"] - 0.34 * reach + 0.20 * reach * reach
    span = 0.13 * edge(np.abs(x) - 0.10, 0.06) * edge(0.92 - np.abs(x), 0.1)
    bone += bump((row(y) - column(collar)) * 20) * column(span)
    bone += column(0.10 * edge(np.abs(x) - 0.80, 0.15)) * row(bump((y + 0.62) / 0.28))  # shoulder joint
    blade = row(a["scapula"] + 0.25 * (y + 0.2))
    bone += row(0.07 * bump((y + 0.25) / 0.45)) * bump((b.across - blade) * (1 / 0.06))
    return bone


def draw_block(scene: dict, size: int) -> np.ndarray:
    """Film brightness (B, size, size) float32, about 0 to 1, before noise.

    ``scene`` is that of ``cmdml.sources.phantom.sample_scene``.
    """
    a = {name: (value[:, None] if value.ndim == 1 else value).astype(np.float32) for name, value in scene.items()}
    bend(a)
    b = borders(a, size)
    film = soft_tissue(a, b)
    add_mediastinum(film, a, b)
    film += bones(a, b) * row(a["bone"])
    # Lungs: air takes away, hila and vessels give back.
    tree, net, cloud = (bank[a["texture"][:, 0].astype(int)] for bank in textures(size))
    hila = bump((b.across - 0.19) / 0.16) * row(0.12 * bump((b.y + 0.04) / 0.24))
    air = row(a["lucency"] - 0.05 * bump(b.y / 0.8) * a["girth"]) - row(a["vessels"]) * tree - hila
    film -= b.lung * air
    canvas = Canvas(a, size, row(b.y), b.u, b.across, b.wall, b.lung, air, film, tree, net, cloud)
    paint(canvas)
    return (canvas.film - 0.5) * row(a["contrast"]) + row(0.5 + a["exposure"])
