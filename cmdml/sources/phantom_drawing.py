"""Draw phantom radiographs: the anatomy. The 14 findings are in :mod:`cmdml.sources.phantom_findings`.

Everything is a formula in film coordinates, x and y in [-1, 1], x to the viewer's right (the patient's left) and y
downwards, one unit being about 18 cm. A pixel only decides where the formulas are sampled, so a 224 px phantom shows the
anatomy of the 64 px one. Bone and soft tissue are bright, air is dark.

Two rules keep it fast and its bytes the same everywhere: borders are functions of one coordinate and meet the other only
in a clip, and pixels see nothing but +, -, *, / and square roots, which every processor rounds alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from cmdml.sources import phantom_findings

BLOCK = 16  # images drawn together: a float32 plane of 64 px images then stays in the processor's cache
TEXTURES = 12  # vessel trees, reticular networks and clouds that patients share


def bump(t):
    """(1 - t²)₊²: a bell that ends at |t| = 1."""
    t = np.maximum(1 - t * t, 0)
    return t * t


def edge(distance, softness):
    """0 outside, 1 inside, linear over `softness` around distance = 0."""
    return np.clip(distance * (1 / softness) + 0.5, 0, 1)


@dataclass
class Canvas:
    """A block of B films in the making.

    ``a`` holds one (B, 1) column per name of the scene; x is (B, 1, W), y is (B, H, 1), the planes are (B, H, W).
    """

    a: dict
    size: int
    x: np.ndarray = None
    y: np.ndarray = None
    planes: dict = field(default_factory=dict)

    def rows(self, index) -> Canvas:
        """The canvas of some of its films (a copy)."""
        part = Canvas({k: v[index] for k, v in self.a.items()}, self.size, self.x[index], self.y[index])
        part.planes = {k: v[index] for k, v in self.planes.items()}
        return part


def outer_border(a, y):
    """|x| of the inner chest wall at height y."""
    t = 1 - np.clip((y - a["top"]) / 0.85, 0, 1)
    return a["half"] * (0.14 + 0.86 * np.sqrt(1 - t * t)) * (1 - 0.06 * a["taper"] * bump((y - 1.0) / 1.2))


def inner_border(a, y, side):
    """|x| of the mediastinal and cardiac border at height y; side = +1 is the patient's left."""
    width = 2 * a["ctr"] * a["half"]
    upper = 0.115 + 0.03 * bump((y + 0.85) / 0.35)
    t = y - a["heart_y"] - 0.06 * side  # the apex of the heart points down and to the left
    t = t / np.where(t < 0, 0.40 + 0.10 * side, 0.60)
    cardiac = np.sqrt(np.maximum(1 - t * t, 0)) - (0.08 * np.abs(t) if side > 0 else 0)
    if side > 0:
        upper = upper + a["knob"] * bump((y + 0.36) / 0.13) + 0.035 * bump((y + 0.12) / 0.16)
        return np.maximum(upper, 0.66 * width * cardiac)
    return np.maximum(upper, 0.34 * width * cardiac)


def diaphragm(a, x, side):
    """y of the dome of one side at x: high in the middle, down to the costophrenic angle at the wall."""
    dome = a["dome"] + (0.0 if side < 0 else 0.05) + a["raise_left" if side > 0 else "raise_right"]
    out = np.abs(x) - 0.46 * a["half"]
    lateral, medial = np.maximum(out, 0) / (0.54 * a["half"]), np.maximum(-out, 0) / (0.46 * a["half"])
    return dome + a["arch"] * (lateral * lateral + 0.3 * medial * medial)


def _place(a, size):
    """Film coordinates of the pixel centres after pose."""
    grid = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    return (grid - a["shift_x"]) * a["zoom"], (grid - a["shift_y"]) * a["zoom"]


def draw_block(scene: dict, size: int) -> np.ndarray:
    """Film brightness (B, size, size) float32, about 0 to 1, without noise."""
    a = {name: value[:, None].astype(np.float32) for name, value in scene.items() if value.ndim == 1}
    a |= {name: value.astype(np.float32) for name, value in scene.items() if value.ndim > 1}
    phantom_findings.bend(a)  # findings that change the anatomy itself: the heart, the diaphragm, volumes
    x, y = _place(a, size)
    c = Canvas(a, size, x[:, None, :], y[:, :, None])
    soft = max(0.03, 2.0 / size)

    # One coordinate at a time: borders by row, domes by column.
    right, left = x < 0, x >= 0
    wall = outer_border(a, y)[:, :, None]
    u = c.x - (a["shift_heart"][:, :, None] + a["tilt"][:, :, None] * c.y)  # (B, H, W) distance from the midline
    on_left = u >= 0
    across = np.abs(u)
    medial = np.where(
        on_left,
        (inner_border(a, y, 1) + soft / 4)[:, :, None],
        (inner_border(a, y, -1) + soft / 4)[:, :, None],
    )
    floor = np.where(right, diaphragm(a, x, -1), diaphragm(a, x, 1))
    fluid = phantom_findings.fluid_surface(a, x)
    base = np.minimum(floor, fluid)[:, None, :]

    lung = edge(wall - across, soft)
    lung *= edge(across - medial, soft)
    thorax = edge(c.y - a["top"][:, :, None], 2 * soft) * edge(wall - across, soft)
    lung *= edge(base - c.y, soft)
    lung *= edge(c.y - a["top"][:, :, None], 2 * soft)

    # Soft tissue: a neck, shoulders that slope to the film's edge, the trunk.
    slope = np.clip((y + 1.02) / 0.42, 0, 1)
    body = a["neck"] + (0.98 - a["neck"]) * slope * slope * (3 - 2 * slope) - 0.05 * bump((y - 0.3) / 0.6)
    body = (body * a["girth"])[:, :, None]
    film = edge(body - across, 0.10)
    film *= 0.60 - 0.16 * np.clip(across - 0.72, 0, 1) / 0.28
    film += (0.10 * np.clip((y - 0.1) / 0.9, 0, 1))[:, :, None] * edge(body - across, 0.10)

    # Mediastinum, heart, abdomen: what is not lung inside the thorax, and the spine through it.
    film += (0.14 * a["heart_mass"])[:, :, None] * bump(u / (1.25 * medial + 0.05)) * edge(c.y + 0.62, 0.3)
    below = edge(c.y - floor[:, None, :], soft)
    film += (0.10 * a["abdomen"])[:, :, None] * below * thorax
    disc = (y + a["phase"] * 0.1) * 8.5
    disc = disc - np.floor(disc)
    spine = (0.10 + 0.05 * edge(np.abs(disc - 0.5) * -1 + 0.38, 0.2)) * a["bone"]
    film += (spine * (1 - 0.5 * edge(y - a["dome"], 0.2)))[:, :, None] * edge(0.085 - across, 0.05)
    film -= (0.16 * edge(-0.20 - y, 0.1))[:, :, None] * bump(u / 0.055)  # trachea
    film -= (
        (0.20 * a["bubble"])[:, :, None]
        * bump((c.x - 0.40) / 0.20)
        * edge(0.085 - np.abs(c.y - floor[:, None, :] - 0.13), 0.05)
        * below
        * (c.x > 0)
    )

    # Bones. Posterior ribs fall towards the side, anterior ones towards the midline, fainter.
    reach = np.abs(x) / a["half"]
    bone = np.zeros_like(film)
    for curve, weight, width, offset in (
        (0.10 * reach - a["rib_slope"] * reach * reach, 0.085, 0.30, a["phase"]),
        (0.95 * a["rib_slope"] * reach, 0.05, 0.33, a["phase"] + 0.4),
    ):
        pitch = 1 / a["rib_pitch"]
        t = c.y * pitch[:, :, None] + (curve * pitch + offset)[:, None, :]
        t -= np.floor(t)
        bone += weight * edge(width - np.abs(t - 0.5), 0.25)
    bone *= edge(wall + 0.05 - across, 0.06) * edge(across - 0.10, 0.08) * edge(c.y - a["top"][:, :, None], 0.1)
    bone *= (1 - 0.75 * edge(y - a["dome"] - 0.10, 0.1))[:, :, None]
    collar = a["clavicle"] - 0.34 * reach + 0.20 * reach * reach
    span = edge(np.abs(x) - 0.10, 0.06) * edge(0.92 - np.abs(x), 0.1)
    bone += 0.13 * bump((c.y - collar[:, None, :]) * (1 / 0.05)) * span[:, None, :]
    shoulder = edge(np.abs(x) - 0.80, 0.15)[:, None, :] * bump((c.y + 0.62) / 0.28)
    bone += 0.10 * shoulder
    scapula = a["scapula"][:, :, None] + 0.25 * (c.y + 0.2)
    bone += 0.06 * bump((across - scapula) * (1 / 0.06)) * bump((c.y + 0.25) / 0.45)
    film += bone * a["bone"][:, :, None]
    film += (0.10 * a["breast"])[:, :, None] * bump((np.abs(c.x) - 0.46) / 0.36) * bump((c.y - 0.42) / 0.30)

    # Lungs: air takes away, hila and vessels give back.
    tree, net, cloud = (bank[a["texture"][:, 0].astype(int)] for bank in textures(size))
    vessels = a["vessels"][:, :, None] * tree
    hila = bump((across - 0.19) / 0.16) * bump((c.y + 0.04) / 0.24)
    air = (a["lucency"] - 0.05 * bump(y / 0.8) * a["girth"])[:, :, None] - vessels - 0.12 * hila
    c.planes = {
        "film": film, "lung": lung, "air": air, "u": u, "across": across, "wall": np.broadcast_to(wall, u.shape),
        "medial": medial, "tree": tree, "net": net, "cloud": cloud,
        "floor": np.broadcast_to(floor[:, None, :], u.shape),
    }  # fmt: skip
    film -= lung * air
    phantom_findings.draw(c)
    film = (film - 0.5) * a["contrast"][:, :, None] + (0.5 + a["exposure"])[:, :, None]
    return film


@lru_cache(maxsize=2)
def textures(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vessel trees, reticular networks and clouds, each (TEXTURES, size, size) float32 in [0, 1]; always the same."""
    rng = np.random.default_rng(1895)
    grid = (np.arange(size) + 0.5) * (2 / size) - 1
    trees = np.stack([_vessel_tree(rng, grid) for _ in range(TEXTURES)])
    nets = np.stack([_network(rng, grid) for _ in range(TEXTURES)])
    clouds = np.stack([_cloud(rng, grid) for _ in range(TEXTURES)])
    return trees.astype(np.float32), nets.astype(np.float32), clouds.astype(np.float32)


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
        wide = max(width, 0.75 * pixel)
        i, j = (
            slice(*np.searchsorted(grid, (min(p, q) - 2 * wide, max(p, q) + 2 * wide)))
            for p, q in ((y0, y1), (x0, x1))
        )
        gx, gy = grid[None, j] - x0, grid[i, None] - y0
        t = np.clip((gx * (x1 - x0) + gy * (y1 - y0)) / (length * length), 0, 1)
        d = np.sqrt((gx - t * (x1 - x0)) ** 2 + (gy - t * (y1 - y0)) ** 2)
        image[i, j] = np.maximum(image[i, j], (width / wide) * min(1, width / 0.02 + 0.2) * bump(np.minimum(d / (2 * wide), 1)))
        if width > 0.007:
            for turn in (-1, 1):
                bend = turn * rng.uniform(0.15, 0.55)
                twigs.append((x1, y1, angle + bend, length * rng.uniform(0.65, 0.95), width * 0.74))
    return image


def _network(rng, grid, cell=0.11):
    """Walls between the cells of a jittered lattice: a reticulation with meshes of about `cell`."""
    n = int(2 / cell) + 5
    sites = (np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1) + rng.random((n, n, 2)) - 2) * cell - 1
    home = np.floor((grid + 1) / cell).astype(int) + 2
    nearest = np.full((2, len(grid), len(grid)), np.inf)
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            site = sites[home[:, None] + di, home[None, :] + dj]
            d = np.sqrt((grid[:, None] - site[..., 0]) ** 2 + (grid[None, :] - site[..., 1]) ** 2)
            nearest = np.sort(np.concatenate([nearest, d[None]]), 0)[:2]
    return bump(np.minimum((nearest[1] - nearest[0]) / max(0.035, 1.3 * (grid[1] - grid[0])), 1))


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
