"""Draw phantom radiographs: the anatomy. The 14 findings are in ``cmdml.sources.phantom.signs``.

Everything is a formula in film coordinates, x and y in [-1, 1], x to the viewer's right (the patient's left), y
downwards, one unit being about 18 cm. A pixel only decides where the formulas are sampled, so a 224 px phantom shows
the anatomy of the 64 px one. Bone and soft tissue are bright, air is dark.

Two rules keep it fast and its bytes the same everywhere: borders are functions of one coordinate and meet the other
only in a clip, and pixels see nothing but +, -, *, / and square roots, which every processor rounds alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cmdml.sources.phantom.signs import bend, bump, edge, fluid_surface, paint

TEXTURES = 12  # vessel trees, reticular networks and clouds, shared among patients


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


def draw_block(scene: dict, size: int) -> np.ndarray:
    """Film brightness (B, size, size) float32, about 0 to 1, before noise.

    ``scene`` is that of ``cmdml.sources.phantom.sample_scene``.
    """
    a = {name: (value[:, None] if value.ndim == 1 else value).astype(np.float32) for name, value in scene.items()}
    bend(a)
    grid = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    x, y = (grid - a["shift_x"]) * a["zoom"], (grid - a["shift_y"]) * a["zoom"]  # (B, W), (B, H)
    column, row = (lambda v: v[:, None, :]), (lambda v: v[:, :, None])
    soft = max(0.03, 2.0 / size)

    # Borders: by row for what stands upright, by column for what lies.
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

    # Soft tissue: neck, shoulders that slope to the film's edge, trunk; belly below the domes; breasts.
    slope = np.clip((y + 1.02) / 0.42, 0, 1)
    body = a["neck"] + (0.98 - a["neck"]) * slope * slope * (3 - 2 * slope) - 0.05 * bump((y - 0.3) / 0.6)
    film = edge(row(body * a["girth"]) - across, 0.10)
    film *= row(0.60 + 0.08 * np.clip((y - 0.1) / 0.9, 0, 1)) - 0.5 * np.clip(across - 0.72, 0, 0.28)
    below = edge(row(y) - column(floor), soft) * thorax
    film += row(0.09 * a["abdomen"]) * below
    breast = row(0.10 * a["breast"] * bump((y - 0.42) / 0.30)) * column(bump((np.abs(x) - 0.46) / 0.36))
    film += breast

    # Heart and mediastinum, spine with its discs, trachea, gas in the stomach.
    film += row(0.14 * a["heart_mass"] * edge(y + 0.62, 0.3)) * bump(u / (1.25 * medial + 0.05)) * (1 - 0.7 * below)
    disc = (y + a["phase"] * 0.1) * 8.5
    disc = np.abs(disc - np.floor(disc) - 0.5)
    spine = (0.10 + 0.05 * edge(0.38 - disc, 0.2)) * a["bone"] * (1 - 0.4 * edge(y - a["dome"], 0.2))
    film += row(spine) * edge(0.085 - across, 0.05)
    film -= row(0.16 * edge(-0.20 - y, 0.1)) * bump(u / 0.055)
    gas = bump((x - 0.40) / 0.20) * (x > 0)
    film -= row(0.20 * a["bubble"]) * column(gas) * edge(0.085 - np.abs(row(y) - column(floor + 0.13)), 0.05) * below

    # Bones. Posterior ribs fall towards the side, anterior ribs towards the midline and fainter.
    reach = np.abs(x) / a["half"]
    pitch = 1 / a["rib_pitch"]
    bone = np.zeros_like(film)
    for curve, weight, width, offset in (
        (0.14 * reach - (a["rib_slope"] + 0.1) * reach * reach, 0.080, 0.24, a["phase"]),
        (1.1 * a["rib_slope"] * reach, 0.045, 0.22, a["phase"] + 0.4),
    ):
        t = row(y * pitch) + column(curve * pitch + offset)
        t -= np.floor(t)
        bone += weight * edge(width - np.abs(t - 0.5), 0.2)
    bone *= edge(wall + 0.05 - across, 0.06) * (0.45 + 0.55 * lung) * edge(from_top, 0.1)
    bone *= row(1 - 0.75 * edge(y - a["dome"] - 0.10, 0.1))
    collar = a["clavicle"] - 0.34 * reach + 0.20 * reach * reach
    span = 0.13 * edge(np.abs(x) - 0.10, 0.06) * edge(0.92 - np.abs(x), 0.1)
    bone += bump((row(y) - column(collar)) * 20) * column(span)
    bone += column(0.10 * edge(np.abs(x) - 0.80, 0.15)) * row(bump((y + 0.62) / 0.28))  # shoulder joint
    blade = row(a["scapula"] + 0.25 * (y + 0.2))
    bone += row(0.07 * bump((y + 0.25) / 0.45)) * bump((across - blade) * (1 / 0.06))
    film += bone * row(a["bone"])

    # Lungs: air takes away, hila and vessels give back.
    tree, net, cloud = (bank[a["texture"][:, 0].astype(int)] for bank in textures(size))
    hila = bump((across - 0.19) / 0.16) * row(0.12 * bump((y + 0.04) / 0.24))
    air = row(a["lucency"] - 0.05 * bump(y / 0.8) * a["girth"]) - row(a["vessels"]) * tree - hila
    film -= lung * air
    canvas = Canvas(a, size, row(y), u, across, wall, lung, air, film, tree, net, cloud)
    paint(canvas)
    return (canvas.film - 0.5) * row(a["contrast"]) + row(0.5 + a["exposure"])


@lru_cache(maxsize=2)
def textures(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vessel trees, reticular networks and clouds, each (TEXTURES, size, size) float32 in [0, 1]; always the same."""
    rng = np.random.default_rng(1895)  # the year of the first radiograph
    grid = (np.arange(size) + 0.5) * (2 / size) - 1
    kinds = (_vessel_tree, _network, _cloud)
    return tuple(np.stack([draw(rng, grid) for _ in range(TEXTURES)]).astype(np.float32) for draw in kinds)


def _vessel_tree(rng, grid):
    """Branches from both hila, thinner and fainter at each fork."""
    image, pixel = np.zeros((len(grid), len(grid))), grid[1] - grid[0]
    twigs = [
        (side * 0.15, -0.05, side * np.pi * (0.07 + 0.12 * k + rng.uniform(-0.03, 0.03)), 0.19, 0.020)
        for side in (-1, 1)
        for k in range(8)
    ]
    while twigs:
        x0, y0, angle, length, width = twigs.pop()
        x1, y1 = x0 + length * np.sin(angle) * 0.9, y0 - length * np.cos(angle)
        wide = max(2 * width, 1.5 * pixel)
        near = [np.searchsorted(grid, (min(p, q) - wide, max(p, q) + wide)) for p, q in ((y0, y1), (x0, x1))]
        i, j = (slice(*ends) for ends in near)
        gx, gy = grid[None, j] - x0, grid[i, None] - y0
        t = np.clip((gx * (x1 - x0) + gy * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2), 0, 1)
        d = np.sqrt((gx - t * (x1 - x0)) ** 2 + (gy - t * (y1 - y0)) ** 2)
        dense = 2 * width / wide * min(1, width / 0.02 + 0.2)  # thinner than a pixel: fainter
        image[i, j] = np.maximum(image[i, j], dense * bump(np.minimum(d / wide, 1)))
        if width > 0.007:
            for turn in (-1, 1):
                fork = angle + turn * rng.uniform(0.15, 0.55)
                twigs.append((x1, y1, fork, length * rng.uniform(0.65, 0.95), width * 0.74))
    return image


def _network(rng, grid, mesh=0.10):
    """Walls between the cells around the sites of a jittered lattice."""
    n = int(2 / mesh) + 5
    corner = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1) - 2
    sites = (corner + rng.random((n, n, 2))) * mesh - 1
    home = np.floor((grid + 1) / mesh).astype(int) + 2
    nearest = np.full((2, len(grid), len(grid)), np.inf)
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            site = sites[home[:, None] + di, home[None, :] + dj]
            d = np.sqrt((grid[:, None] - site[..., 0]) ** 2 + (grid[None, :] - site[..., 1]) ** 2)
            nearest = np.sort(np.concatenate([nearest, d[None]]), 0)[:2]
    return bump(np.minimum((nearest[1] - nearest[0]) / max(0.030, 1.3 * (grid[1] - grid[0])), 1))


def _cloud(rng, grid):
    """Smooth random field of two octaves."""
    total = 0
    for cells, weight in ((9, 0.65), (19, 0.35)):
        values = rng.random((cells, cells))
        at = (grid + 1) / 2 * (cells - 1.001)
        low = np.floor(at).astype(int)
        t = at - low
        t = t * t * (3 - 2 * t)
        rows = values[low] * (1 - t)[:, None] + values[low + 1] * t[:, None]
        total = total + weight * (rows[:, low] * (1 - t) + rows[:, low + 1] * t)
    return np.clip((total - 0.2) / 0.6, 0, 1)
