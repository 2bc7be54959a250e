"""A fifteenth finding for the phantom: a lung abscess, drawn on request into films that are otherwise what they were.

It lies outside ``cmdml.sources.phantom``: every set names the hash of that package, and a finding that no set shows
must not make any of them be drawn again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cmdml.sources.phantom import sample_scene, sample_table
from cmdml.sources.phantom.anatomy import add_mediastinum, bones, borders, draw_block, row, soft_tissue
from cmdml.sources.phantom.sampling import PLANE
from cmdml.sources.phantom.signs import bend, edge

TRIES = 60  # places that are tried per film; the first that is all lung is taken
FITS = 0.97  # share of the disc that must be lung
COARSE = 64  # pixels of the grid on which places are tried, so that a large film has its abscess where a small one has


@dataclass(frozen=True, eq=False)
class AbscessPairs:
    """Films of one patient on one day, without and with a lung abscess; nothing else differs, nor does the noise.

    Parameters
    ----------
    without, within : (N, size, size) uint8
        The films without an abscess, as ``cmdml.sources.phantom.draw`` draws them, and the same films with one.
    place : (N, size, size) bool
        Where the abscess lies; outside of it the two films are equal.
    table : DataFrame
        N rows: image, patient, view, age, sex, a 0/1 column for each of the 14 findings, which both films show, and
        the disc in film coordinates (1 = half the film's width, about 18 cm): ``x``, ``y``, ``radius``, and ``inside``,
        the share of it that is aerated lung.
    """

    without: np.ndarray
    within: np.ndarray
    place: np.ndarray
    table: pd.DataFrame


def abscess_pairs(pairs: int, *, size: int = 64, seed: int = 0) -> AbscessPairs:
    """Draw films of as many patients, each without and with a lung abscess.

    With r the distance from the middle of the abscess, R its radius and w its wall, lung at r < R becomes as white as
    soft tissue, except for gas at r < R - w above a level: that is a little darker than lung without vessels. R is
    0.13 to 0.20 (4.7 to 7.2 cm across), w 0.035 to 0.05. Other findings are as frequent as in
    :func:`~cmdml.sources.phantom.prepare`; what lay where the abscess is drawn gives way to it.

    Parameters
    ----------
    pairs : N, number of patients, at least 1; each has one film.
    size : height and width in pixels, at least 64.
    seed : of patients, places and noise.

    Raises
    ------
    ValueError : pairs or size out of range.
    """
    if pairs < 1:
        raise ValueError(f"abscess: pairs = {pairs} must be at least 1")
    if size < 64:
        raise ValueError(f"abscess: size = {size} px is too small to show a level; use 64 or more")
    table = sample_table(5 * pairs + 200, seed)  # a patient has three films on average, and one of them is drawn
    scene = sample_scene(table, seed)
    first = np.flatnonzero(~table["patient"].duplicated())[:pairs]
    scene, table = {name: value[first] for name, value in scene.items()}, table.iloc[first].reset_index(drop=True)
    discs = place_discs(scene, seed)
    films = _draw(scene, discs, size, seed)
    return AbscessPairs(*films, pd.concat([table.drop(columns="split"), discs[["x", "y", "radius", "inside"]]], axis=1))


def place_discs(scene: dict[str, np.ndarray], seed: int = 0) -> pd.DataFrame:
    """An abscess for every film of a scene, at the first place tried that is all lung.

    Returns
    -------
    DataFrame : x, y, radius, wall, level, inside; lengths in film coordinates, ``level`` the height of the fluid in
        units of the cavity's radius, downwards from its middle. Where none of the places is all lung, the one with
        most lung is taken; ``inside`` says how much that is. A film's numbers depend on its own row and the seed only.
    """
    a = _columns(scene)
    b = borders(a, COARSE)
    rows = []
    for i, number in enumerate(scene["number"]):
        rng = np.random.Generator(np.random.Philox(key=[seed + (1 << 32), int(number)]))
        radius, wall, level = rng.uniform((0.13, 0.035, -0.30), (0.20, 0.050, 0.30))
        best = {"inside": -1.0}
        for side, fx, fy in rng.random((TRIES, 3)):
            x = np.where(side < 0.5, 1, -1) * scene["half"][i] * (0.35 + 0.45 * fx)
            y = -0.50 + 0.85 * fy
            disc = _distance(b.u[i], b.y[i], x, y) < radius
            inside = float((b.lung[i] > 0.5)[disc].mean())
            if inside > best["inside"]:
                best = {"x": float(x), "y": float(y), "inside": inside}
            if inside >= FITS:
                break
        rows.append({"radius": radius, "wall": wall, "level": level} | best)
    return pd.DataFrame(rows)[["x", "y", "radius", "wall", "level", "inside"]]


def paint_abscess(film: np.ndarray, scene: dict[str, np.ndarray], discs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Films (B, H, W) float32 of ``draw_block`` -> the same with an abscess each, and where it lies, (B, H, W) bool."""
    a, size = _columns(scene), film.shape[1]
    b = borders(a, size)
    x, y, radius, wall, level = (discs[name].to_numpy(np.float32)[:, None, None]
                                 for name in ("x", "y", "radius", "wall", "level"))  # fmt: skip
    r, soft, cavity = _distance(b.u, row(b.y), x, y), max(0.02, 1.5 / size), radius - wall
    here = edge(radius - soft / 2 - r, soft) * b.lung
    gas = edge(cavity - r, soft) * edge(y + level * cavity - row(b.y), soft / 2)
    airless = soft_tissue(a, b)
    add_mediastinum(airless, a, b)
    airless += bones(a, b) * row(a["bone"])
    target = airless + 0.04 - gas * (row(a["lucency"]) + 0.10)
    target = (target - 0.5) * row(a["contrast"]) + row(0.5 + a["exposure"])
    painted = np.where(here > 0, film + here * (target - film), film)  # elsewhere bit for bit what it was
    return painted.astype(np.float32), here > 0


def _distance(u, y, x0, y0):
    """From (x0, y0), over planes whose rows are at y and whose pixels are u from the midline."""
    if u.ndim == 2:
        y = y[:, None]
    return np.sqrt((u - x0) ** 2 + (y - y0) ** 2)


def _columns(scene):
    """A scene as the formulas read it, its anatomy bent by its findings."""
    a = {name: (value[:, None] if value.ndim == 1 else value).astype(np.float32) for name, value in scene.items()}
    bend(a)
    return a


def _draw(scene, discs, size, seed):
    """Films without, films with, places: with the noise that ``cmdml.sources.phantom.draw`` gives the first."""
    n, together = len(discs), max(1, PLANE // (size * size))
    films, place = np.empty((2, n, size, size), np.uint8), np.zeros((n, size, size), bool)
    for start in range(0, n, together):
        part = {name: value[start : start + together] for name, value in scene.items()}
        block = draw_block(part, size)
        painted, place[start : start + together] = paint_abscess(block, part, discs.iloc[start : start + together])
        for i, number in enumerate(part["number"]):
            grain = np.random.Generator(np.random.Philox(key=[seed, int(number)]))
            noise = np.float32(part["noise"][i]) * grain.standard_normal((size, size), np.float32)
            for which, plane in enumerate((block[i], painted[i])):
                films[which, start + i] = np.rint(np.clip(plane + noise, 0, 1) * 255)
    return *films, place
