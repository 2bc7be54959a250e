"""Vessel trees, reticular networks and clouds of the phantom: a small bank of each, drawn once, shared by patients."""

from functools import lru_cache

import numpy as np

from cmdml.sources.phantom.signs import bump

TEXTURES = 12


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
