"""Draw phantom radiographs: the 14 findings, each as its textbook sign on a frontal film.

A finding has five numbers in [0, 1) per film: side, x, y and size, which a patient keeps (so the follow-up films of a
nodule show it in one place), and severity. They exist whether or not the finding is present, so that one scene can be
drawn with and without it. The signs are those of ``data/findings.yaml``, which cites its sources.
"""

from __future__ import annotations

import numpy as np

from cmdml.findings import KEYS


def bump(t):
    """(1 - t²)₊²: a bell that ends at |t| = 1."""
    t = np.maximum(1 - t * t, 0)
    return t * t


def edge(distance, softness):
    """0 outside, 1 inside, linear over `softness` around distance = 0."""
    return np.clip(distance * (1 / softness) + 0.5, 0, 1)


def _has(a, key):
    return a["labels"][:, KEYS.index(key)] > 0


def _luck(a, key):
    """side, x, y, size, severity, each (B, 1)."""
    return a["luck"][:, KEYS.index(key)].T[:, :, None]


def _sides(side, both=0.0):
    """Is the patient's left, and right, lung affected? A share `both` is bilateral."""
    return (side < 0.5 + both / 2).astype(np.float32), (side >= 0.5 - both / 2).astype(np.float32)


def _sign(side):
    """+1 = the patient's left (x > 0), -1 = right."""
    return np.where(side < 0.5, np.float32(1), np.float32(-1))


def bend(a: dict) -> None:
    """Change the anatomy where a finding does: heart width, domes, lucency, place of the mediastinum. In place."""

    def where(key, **changes):
        for name, value in changes.items():
            a[name] = np.where(_has(a, key)[:, None], value, a[name]).astype(np.float32)

    *_, severity = _luck(a, "Emphysema")
    where(
        "Emphysema",
        arch=a["arch"] * (0.40 - 0.22 * severity),
        dome=a["dome"] + 0.08 + 0.08 * severity,
        ctr=a["ctr"] * (0.84 - 0.10 * severity),
        lucency=a["lucency"] + 0.05 + 0.06 * severity,
        vessels=a["vessels"] * (0.55 - 0.25 * severity),
        rib_pitch=a["rib_pitch"] * 1.12,
        rib_slope=a["rib_slope"] * 0.7,
    )
    *_, severity = _luck(a, "Cardiomegaly")
    where("Cardiomegaly", ctr=0.545 + 0.125 * severity)
    *_, severity = _luck(a, "Fibrosis")
    where("Fibrosis", dome=a["dome"] - 0.05 - 0.08 * severity, half=a["half"] * 0.95)
    where("Edema", vessels=a["vessels"] * 1.8)
    side, *_, severity = _luck(a, "Atelectasis")
    left, right = _sides(side)
    where(
        "Atelectasis",
        raise_left=-left * (0.06 + 0.09 * severity),
        raise_right=-right * (0.06 + 0.09 * severity),
        shift_heart=a["shift_heart"] + (left - right) * (0.02 + 0.04 * severity),
    )
    side, *_, severity = _luck(a, "Pneumothorax")
    left, right = _sides(side)
    where("Pneumothorax", shift_heart=a["shift_heart"] - (left - right) * 0.06 * severity)


def fluid_surface(a: dict, x: np.ndarray) -> np.ndarray:
    """y (B, W) of the top of a pleural effusion at x: a meniscus, high along the wall; far below the film if none."""
    side, *_, severity = _luck(a, "Effusion")
    left, right = _sides(side, both=0.4)
    height = 0.18 + 0.45 * severity * np.sqrt(severity)
    out = np.clip(np.abs(x) / a["half"], 0, 1)
    surface = a["dome"] + 0.24 - height + 0.30 * (1 - out * out)
    here = _has(a, "Effusion")[:, None] & (np.where(x >= 0, left, right) > 0)
    return np.where(here, surface, np.float32(9))


# Painters. k is the canvas of the films that show the finding; the five numbers are (B, 1, 1).


def _opacity(k, shape):
    """Fill lung with water: shape 1 = as white as soft tissue."""
    k.film += np.clip(shape, 0, 1) * k.lung * (k.air + 0.04)


def _disc(k, x, y, rx, ry=None):
    """Distance from (x, y) in units of the radii."""
    dx, dy = (k.u - x) / rx, (k.y - y) / (rx if ry is None else ry)
    return np.sqrt(dx * dx + dy * dy)


def _spot(k, side, fx, fy):
    """A place in the aerated part of one lung: x, y."""
    return _sign(side) * k.a["half"][:, :, None] * (0.50 + 0.30 * fx), -0.42 + 0.75 * fy


def _emphysema(k, side, fx, fy, size, severity):
    d = _disc(k, _sign(side) * 0.42, -0.42 + 0.1 * fy, 0.20 + 0.06 * size, 0.17 + 0.06 * fy)
    bulla = severity > 0.5
    k.film -= k.lung * bulla * edge(1 - d, 0.2) * (0.05 + 0.8 * k.tree * k.a["vessels"][:, :, None])
    k.film += k.lung * bulla * 0.06 * bump((d - 1) / 0.15)


def _fibrosis(k, side, fx, fy, size, severity):
    rim = np.clip(1 - (k.wall - k.across) / 0.45, 0, 1)
    low = np.clip((k.y + 0.35) / 0.6, 0, 1)
    dense = np.clip(0.55 * rim + 0.60 * low - 0.05, 0, 1)
    _opacity(k, dense * (k.net * (0.45 + 0.25 * severity + 0.35 * k.cloud) + 0.08 + 0.10 * size))


def _edema(k, side, fx, fy, size, severity):
    tall, wide = 0.44 + 0.1 * severity, 0.30 + 0.06 * size
    wings = bump((k.across - 0.30) / wide) * bump((k.y - 0.02 - 0.06 * fy) / tall)
    rung = k.y * 14 - np.floor(k.y * 14)
    septal = edge(0.16 - np.abs(rung - 0.5), 0.2) * bump((k.wall - k.across - 0.05) / 0.12) * bump((k.y - 0.36) / 0.26)
    _opacity(k, (0.55 + 0.40 * severity) * wings * (0.70 + 0.45 * k.cloud) + 0.10 * severity + 0.35 * septal)


def _infiltration(k, side, fx, fy, size, severity):
    x, y = _spot(k, side, fx, fy)
    one = bump(np.minimum(_disc(k, x, y, 0.30 + 0.1 * size, 0.36), 1))
    other = bump(np.minimum(_disc(k, -x * (0.8 + 0.3 * fx), y + 0.25 * (size - 0.4), 0.28, 0.34), 1))
    both = (side > 0.3) & (side < 0.7)
    _opacity(k, (0.58 + 0.30 * severity) * np.maximum(one, other * (0.85 * both)) * (0.40 + 0.85 * k.cloud))


def _pneumonia(k, side, fx, fy, size, severity):
    x, y = _spot(k, side, 0.8 * fx, fy)
    d = _disc(k, x, y + 0.08, 0.25 + 0.08 * size, 0.23 + 0.06 * severity) - 0.5 * (k.cloud - 0.5)
    _opacity(k, (0.76 + 0.24 * severity) * edge(1 - d, 0.8) * (0.60 + 0.6 * k.cloud) - 0.3 * k.tree)


def _consolidation(k, side, fx, fy, size, severity):
    s = _sign(side) * k.u
    fissure = -0.16 + 0.10 * size + 0.12 * s
    upper = edge(fissure - k.y, 0.05) * edge(k.y + 0.72 - 0.2 * severity, 0.2)
    middle = edge(k.y - fissure, 0.05) * edge(fissure + 0.30 + 0.12 * severity - k.y, 0.12)
    lower = edge(k.y - fissure - 0.20 + 0.15 * severity, 0.14)
    lobe = np.where(fy < 0.34, upper, np.where(fy < 0.67, middle, lower))
    lobe *= edge(s - 0.02, 0.05) * edge(0.58 + 0.25 * fx - s, 0.2)
    bronchi = np.clip(k.tree * 1.3, 0, 0.45) * edge(0.45 - s, 0.2)
    _opacity(k, lobe * (0.94 - bronchi))


def _atelectasis(k, side, fx, fy, size, severity):
    s = _sign(side) * k.u
    tilt = 0.35 * (fx - 0.5) * s
    plate = edge(0.028 - np.abs(k.y - 0.18 - 0.22 * fy - tilt), 0.03) * bump((s - 0.42) / 0.36)
    second = edge(0.024 - np.abs(k.y - 0.02 - 0.22 * fy - 1.2 * tilt), 0.03) * bump((s - 0.42) / 0.26)
    wedge = edge(0.10 + 0.85 * (k.y - 0.02) * (0.5 + 0.4 * size) - s, 0.05) * edge(k.y, 0.08) * (s > 0)
    _opacity(k, (0.78 + 0.2 * severity) * np.maximum(plate, np.where(size > 0.5, wedge, second)))


def _mass(k, side, fx, fy, size, severity):
    radius = 0.115 + 0.07 * size + 0.03 * severity  # diameter 4 to 7.5 cm
    d = _disc(k, *_spot(k, side, fx, fy), radius) - 0.25 * (k.cloud - 0.5)
    _opacity(k, edge(1 - d, 0.35))


def _nodule(k, side, fx, fy, size, severity):
    radius = 0.056 + 0.022 * size  # diameter 2 to 2.8 cm
    x, y = _spot(k, side, fx, fy)
    d = _disc(k, x, y, radius)
    for reach, drop, share in ((-1.0, 0.30 * fx - 0.1, 0.45), (0.8, 0.28, 0.7)):
        d = np.where(severity > share, np.minimum(d, _disc(k, x * reach, y + drop, radius * 0.9)), d)
    k.film += 0.04 * k.lung * edge(1 - d, 0.4)  # granuloma: a little calcium
    _opacity(k, edge(1 - d, 0.4))


def _pleural_thickening(k, side, fx, fy, size, severity):
    left, right = _sides(side, both=0.3)
    thick = (0.06 + 0.05 * severity) * (0.8 + 0.4 * k.cloud)
    rim = edge(thick - (k.wall - k.across), 0.03) * edge(k.y + 0.45 - 0.35 * fy, 0.15)
    cap = edge(k.a["top"][:, :, None] + 0.17 + 0.10 * severity - k.y + 0.25 * (k.across - 0.3), 0.04)
    shape = np.where(fx < 0.35, cap, np.where(fx < 0.6, np.maximum(rim, cap), rim))
    _opacity(k, 0.95 * np.where(k.u >= 0, left, right) * shape)


def _pneumothorax(k, side, fx, fy, size, severity):
    s = _sign(side) * k.u
    gap = 0.11 + 0.19 * severity
    line = k.wall - gap * (1 + 0.8 * bump((k.y + 0.75) / 0.7)) * edge(0.75 - k.y, 0.5)
    line = np.where(k.y < k.a["top"][:, :, None] + 0.10 + 0.3 * gap, np.float32(0), line)
    free = edge(s - line, 0.03) * (s > 0)
    k.film -= k.lung * free * (k.tree * k.a["vessels"][:, :, None] + 0.12)
    thin = max(0.032, 2.0 / k.size)
    mark = np.maximum(1 - np.abs(s - line) * (1 / thin), 0) * (s > 0.02)
    k.film += k.lung * (0.20 * mark + 0.06 * (1 - free) * (s > 0))


def _hernia(k, side, fx, fy, size, severity):
    radius = 0.17 + 0.07 * size
    x, y = 0.0 + 0.16 * fx, k.a["dome"][:, :, None] - 0.12 - 0.06 * fy
    d = _disc(k, x, y, radius * (0.95 + 0.3 * fy), radius) - 0.25 * (k.cloud - 0.5)
    inside = edge(1 - d, 0.25)
    gas = edge(y + radius * (0.4 * severity - 0.15) - k.y, 0.02)
    _opacity(k, inside * (1 - gas))
    k.film += inside * (0.08 * (1 - gas) - 0.20 * gas * (1 - 0.6 * k.lung)) + 0.05 * bump((d - 1) / 0.16)


# Order matters where findings meet: what lies in the pleural space or the mediastinum covers what lies in the lung.
PAINTERS = {
    "Emphysema": _emphysema,
    "Fibrosis": _fibrosis,
    "Edema": _edema,
    "Infiltration": _infiltration,
    "Pneumonia": _pneumonia,
    "Consolidation": _consolidation,
    "Atelectasis": _atelectasis,
    "Mass": _mass,
    "Nodule": _nodule,
    "Pleural_Thickening": _pleural_thickening,
    "Pneumothorax": _pneumothorax,
    "Hernia": _hernia,
}


def paint(canvas) -> None:
    """Add the findings of every film to ``canvas.film``, in place."""
    for key, painter in PAINTERS.items():
        index = np.flatnonzero(_has(canvas.a, key))
        if len(index):
            part = canvas.rows(index)
            painter(part, *_luck(part.a, key)[:, :, :, None])
            canvas.film[index] = part.film
