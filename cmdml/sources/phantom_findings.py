"""Draw phantom radiographs: the 14 findings, each as its textbook sign on a frontal film.

A finding has five numbers in [0, 1) per image, ``luck[:, finding]``: side, x, y, size (a patient keeps these, so the
follow-up films of a nodule show the nodule in one place) and severity. They exist whether or not the finding is present:
the same scene can be drawn with and without it.
"""

from __future__ import annotations

import numpy as np

KEYS = (
    "Atelectasis Cardiomegaly Effusion Infiltration Mass Nodule Pneumonia Pneumothorax "
    "Consolidation Edema Emphysema Fibrosis Pleural_Thickening Hernia"
).split()
SIDE, X, Y, SIZE, SEVERITY = range(5)


def _has(a, key):
    return a["labels"][:, KEYS.index(key)] > 0


def _luck(a, key):
    return a["luck"][:, KEYS.index(key)].T[:, :, None]  # 5 x (B, 1)


def _sides(side, both):
    """(B, 1) masks of left and right involvement; a share `both` is bilateral."""
    return (side < 0.5 + both / 2) * 1.0, (side >= 0.5 - both / 2) * 1.0


def bend(a: dict) -> None:
    """Change the anatomy where a finding does: heart width, domes, shape of the thorax, shift of the mediastinum."""

    def where(key, name, value):
        a[name] = np.where(_has(a, key)[:, None], value, a[name]).astype(np.float32)

    a["lost_left"], a["lost_right"] = np.zeros_like(a["top"]), np.zeros_like(a["top"])
    *_, severity = _luck(a, "Emphysema")
    where("Emphysema", "arch", a["arch"] * (0.30 - 0.15 * severity))
    where("Emphysema", "dome", a["dome"] + 0.11 + 0.05 * severity)
    where("Emphysema", "ctr", a["ctr"] * (0.80 - 0.08 * severity))
    where("Emphysema", "lucency", a["lucency"] + 0.07 + 0.05 * severity)
    where("Emphysema", "vessels", a["vessels"] * 0.4)
    where("Emphysema", "rib_pitch", a["rib_pitch"] * 1.15)
    where("Emphysema", "rib_slope", a["rib_slope"] * 0.6)
    *_, size, severity = _luck(a, "Cardiomegaly")
    where("Cardiomegaly", "ctr", 0.56 + 0.12 * severity)
    *_, severity = _luck(a, "Fibrosis")
    where("Fibrosis", "dome", a["dome"] - 0.07 - 0.06 * severity)
    where("Fibrosis", "half", a["half"] * 0.95)
    where("Edema", "vessels", a["vessels"] * 1.7)
    side, *_, severity = _luck(a, "Atelectasis")
    left, right = _sides(side, 0)
    where("Atelectasis", "raise_left", -left * (0.07 + 0.09 * severity))
    where("Atelectasis", "raise_right", -right * (0.07 + 0.09 * severity))
    where("Atelectasis", "shift_heart", a["shift_heart"] + (left - right) * (0.02 + 0.04 * severity))
    side, *_, severity = _luck(a, "Pneumothorax")
    left, right = _sides(side, 0)
    where("Pneumothorax", "shift_heart", a["shift_heart"] - (left - right) * 0.06 * severity)


def fluid_surface(a: dict, x: np.ndarray) -> np.ndarray:
    """y of the top of a pleural effusion at x (B, W): a meniscus, high along the wall; far below the film without one."""
    side, *_, size, severity = _luck(a, "Effusion")
    left, right = _sides(side, 0.45)
    height = 0.17 + 0.50 * severity * severity
    out = np.clip(np.abs(x) / a["half"], 0, 1)
    surface = a["dome"] + 0.24 - height + 0.34 * (1 - out * out)
    there = _has(a, "Effusion")[:, None] & (np.where(x >= 0, left, right) > 0)
    return np.where(there, surface, 9.0).astype(np.float32)


def draw(c) -> None:
    """Add the findings of every film to ``c.planes["film"]``, in place."""
    from cmdml.sources.phantom_drawing import bump, edge

    def opacity(p, shape):
        """Fill lung with water: at most as white as soft tissue."""
        p["film"] += np.minimum(shape, 1) * p["lung"] * (p["air"] + 0.04)

    def spot(k, luck, spread=1.0):
        """A place inside a lung: (side, x, y), each (B, 1, 1)."""
        side, fx, fy = (luck[i][:, :, None] for i in (SIDE, X, Y))
        sign = np.where(side < 0.5, 1.0, -1.0)
        return sign * (0.34 + 0.26 * spread * fx) * k.a["half"][:, :, None] / 0.75, -0.40 + 0.75 * fy

    def circle(k, x, y, rx, ry=None):
        dx, dy = (k.planes["u"] - x) / rx, (k.y - y) / (ry if ry is not None else rx)
        return np.sqrt(dx * dx + dy * dy)

    def atelectasis(k, p, luck):
        side, fx, fy, size, severity = (v[:, :, None] for v in luck)
        sign = np.where(side < 0.5, 1.0, -1.0)
        s = sign * p["u"]
        plate = edge(0.026 - np.abs(k.y - (0.18 + 0.22 * fy) - 0.35 * (fx - 0.5) * s), 0.03) * bump((s - 0.42) / 0.36)
        second = edge(0.022 - np.abs(k.y - (0.02 + 0.22 * fy) - 0.35 * (fx - 0.3) * s), 0.03) * bump((s - 0.42) / 0.26)
        wedge = edge(0.07 + 0.85 * (k.y - 0.02) * (0.4 + 0.4 * size) - s, 0.05) * edge(k.y - 0.0, 0.08) * (s > 0)
        opacity(p, (0.75 + 0.2 * severity) * np.maximum(plate, np.where(size > 0.5, wedge, second)))

    def infiltration(k, p, luck):
        side, fx, fy, size, severity = (v[:, :, None] for v in luck)
        x, y = spot(k, luck)
        one = bump(np.minimum(circle(k, x, y, 0.30 + 0.1 * size, 0.36), 1))
        other = bump(np.minimum(circle(k, -x * (0.8 + 0.3 * fx), y + 0.25 * (size - 0.4), 0.28, 0.34), 1))
        shape = np.where((side > 0.3) & (side < 0.7), np.maximum(one, 0.85 * other), one)
        opacity(p, (0.55 + 0.30 * severity) * shape * (0.15 + 1.1 * p["cloud"]))

    def mass(k, p, luck):
        x, y = spot(k, luck)
        size, severity = (luck[i][:, :, None] for i in (SIZE, SEVERITY))
        radius = 0.115 + 0.07 * size + 0.03 * severity
        d = circle(k, x, y, radius) - 0.25 * (p["cloud"] - 0.5)
        opacity(p, 0.92 * edge(1 - d, 0.35))

    def nodule(k, p, luck):
        x, y = spot(k, luck)
        size, severity, fx = (luck[i][:, :, None] for i in (SIZE, SEVERITY, X))
        radius = 0.052 + 0.022 * size
        d = circle(k, x, y, radius)
        for dx, dy, share in ((-1.0, 0.30 * fx - 0.1, 0.45), (0.8, 0.28, 0.7)):
            more = circle(k, np.where(dx < 0, -x, x * dx), y + dy, radius * 0.9)
            d = np.where(severity > share, np.minimum(d, more), d)
        opacity(p, 0.9 * edge(1 - d, 0.5))

    def pneumonia(k, p, luck):
        size, severity = (luck[i][:, :, None] for i in (SIZE, SEVERITY))
        x, y = spot(k, luck, 0.8)
        y = y + 0.08
        d = circle(k, x, y, 0.25 + 0.08 * size, 0.23 + 0.06 * severity) - 0.5 * (p["cloud"] - 0.5)
        opacity(p, (0.70 + 0.25 * severity) * edge(1 - d, 0.8) * (0.55 + 0.6 * p["cloud"]) - 0.3 * p["tree"])

    def pneumothorax(k, p, luck):
        side, *_, size, severity = (v[:, :, None] for v in luck)
        s = np.where(side < 0.5, 1.0, -1.0) * p["u"]
        gap = 0.13 + 0.17 * severity
        line = p["wall"] - gap * (1 + 0.8 * bump((k.y + 0.75) / 0.7)) * edge(0.75 - k.y, 0.5)
        line = np.where(k.y < k.a["top"][:, :, None] + 0.10 + 0.3 * gap, 0.0, line)
        free = edge(s - line, 0.03) * (s > 0)
        p["film"] -= p["lung"] * free * (p["tree"] * k.a["vessels"][:, :, None] + 0.13)
        thin = max(0.016, 1.0 / k.size)
        mark = np.maximum(1 - np.abs(s - line) * (1 / (2 * thin)), 0) * (s > 0.02)
        p["film"] += p["lung"] * (0.20 * mark + 0.07 * (1 - free) * (s > 0))

    def consolidation(k, p, luck):
        side, fx, fy, size, severity = (v[:, :, None] for v in luck)
        s = np.where(side < 0.5, 1.0, -1.0) * p["u"]
        fissure = -0.16 + 0.10 * size + 0.12 * s
        upper = edge(fissure - k.y, 0.05) * edge(k.y + 0.72 - 0.2 * severity, 0.2)
        lower = edge(k.y - fissure - 0.20 + 0.15 * severity, 0.14)
        middle = edge(k.y - fissure, 0.05) * edge(fissure + 0.30 + 0.12 * severity - k.y, 0.12)
        lobe = np.where(fy < 0.34, upper, np.where(fy < 0.67, middle, lower)) * edge(s - 0.02, 0.05)
        lobe = lobe * edge(0.55 + 0.25 * fx - s, 0.2)
        bronchi = np.clip(p["tree"] * 1.3, 0, 0.65) * edge(0.45 - s, 0.2)
        opacity(p, lobe * (0.94 - bronchi))

    def edema(k, p, luck):
        fx, fy, size, severity = (luck[i][:, :, None] for i in (X, Y, SIZE, SEVERITY))
        wing = bump((p["across"] - 0.30) / (0.30 + 0.06 * size)) * bump((k.y - 0.02 - 0.06 * fy) / (0.46 + 0.1 * severity))
        haze = (0.62 + 0.33 * severity) * wing * (0.70 + 0.45 * p["cloud"])
        septal = (k.y * 14) - np.floor(k.y * 14)
        kerley = edge(0.16 - np.abs(septal - 0.5), 0.2) * bump((p["wall"] - p["across"] - 0.05) / 0.12)
        opacity(p, haze + 0.12 * severity + 0.35 * kerley * bump((k.y - 0.38) / 0.26))

    def emphysema(k, p, luck):
        fx, fy, size, severity = (luck[i][:, :, None] for i in (X, Y, SIZE, SEVERITY))
        d = circle(k, np.where(fx < 0.5, -0.42, 0.42), -0.42 + 0.1 * fy, 0.20 + 0.06 * size, 0.17 + 0.06 * fy)
        bulla = edge(1 - d, 0.2) * (severity > 0.5)
        p["film"] -= p["lung"] * bulla * (0.05 + 0.8 * p["tree"] * k.a["vessels"][:, :, None])
        p["film"] += p["lung"] * 0.06 * bump((d - 1) / 0.15) * (severity > 0.5)

    def fibrosis(k, p, luck):
        size, severity = (luck[i][:, :, None] for i in (SIZE, SEVERITY))
        rim = np.clip(1 - (p["wall"] - p["across"]) / 0.45, 0, 1)
        low = np.clip((k.y + 0.30) / 0.55, 0, 1)
        where = np.clip(0.25 + 0.55 * rim + 0.55 * low - 0.3, 0, 1)
        opacity(p, where * ((0.75 + 0.25 * severity) * p["net"] + 0.12 + 0.08 * size))

    def pleural_thickening(k, p, luck):
        side, fx, fy, size, severity = (v[:, :, None] for v in luck)
        left, right = _sides(side, 0.3)
        here = np.where(p["u"] >= 0, left, right)
        thick = (0.06 + 0.05 * severity) * (0.8 + 0.4 * p["cloud"])
        rim = edge(thick - (p["wall"] - p["across"]), 0.03) * edge(k.y + 0.45 - 0.35 * fy, 0.15)
        top = k.a["top"][:, :, None]
        cap = edge(top + 0.17 + 0.10 * severity - k.y + 0.25 * (p["across"] - 0.3), 0.04)
        opacity(p, 0.95 * here * np.where(fx < 0.35, cap, np.where(fx < 0.6, np.maximum(rim, cap), rim)))

    def hernia(k, p, luck):
        fx, fy, size, severity = (luck[i][:, :, None] for i in (X, Y, SIZE, SEVERITY))
        x, y, radius = 0.02 + 0.14 * fx, k.a["dome"][:, :, None] - 0.14 - 0.06 * fy, 0.17 + 0.07 * size
        d = circle(k, x, y, radius)
        inside, level = edge(1 - d, 0.15), y + radius * (0.3 * severity - 0.1)
        gas = edge(level - k.y, 0.02)
        opacity(p, inside * (1 - gas) * 0.9)
        p["film"] += inside * (0.08 * (1 - gas) - 0.24 * gas * (1 - 0.5 * p["lung"])) + 0.10 * bump((d - 1) / 0.16)

    painters = (
        ("Emphysema", emphysema), ("Fibrosis", fibrosis), ("Edema", edema), ("Infiltration", infiltration),
        ("Pneumonia", pneumonia), ("Consolidation", consolidation), ("Atelectasis", atelectasis), ("Mass", mass),
        ("Nodule", nodule), ("Pleural_Thickening", pleural_thickening), ("Pneumothorax", pneumothorax),
        ("Hernia", hernia),
    )  # fmt: skip
    for key, paint in painters:
        index = np.flatnonzero(_has(c.a, key))
        if len(index):
            part = c.rows(index)
            paint(part, part.planes, _luck(part.a, key).astype(np.float32))
            c.planes["film"][index] = part.planes["film"]
