"""The phantom: procedural frontal chest radiographs. Drawn by formulas, from no patient, never to be taken for real.

Label sets, views, sexes, ages and numbers of follow-up films are drawn from the published counts of ChestX-ray14
(``data/label_sets.csv`` and ``.json``, made by ``data/make_label_sets.py``); the drawing itself is in
``cmdml.sources.phantom.anatomy`` and ``cmdml.sources.phantom.signs``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from cmdml.findings import KEYS
from cmdml.sources.decoding import cores
from cmdml.sources.phantom.anatomy import draw_block
from cmdml.sources.phantom.counts import drawing_sha256, read_counts
from cmdml.sources.phantom.textures import TEXTURES

SHARES = {"train": 0.5, "val": 0.1, "test": 0.4}  # films cost nothing to draw: a large test set narrows intervals
FLOOR = 0.01  # least share of each split that shows a finding: NIH's Hernia (0.2 %) would leave a test set with two
MOST_FILMS = 20  # a patient's films; NIH's busiest patient has 184, too many for a set of a few thousand
PLANE = 1 << 16  # pixels drawn together: a float32 plane of them stays in a core's cache
STAY = 0.4  # probability that a follow-up film repeats view and findings of the one before


def sample_table(images: int, seed: int = 0, prevalence: float = 1.0) -> pd.DataFrame:
    """Draw who is on each film: image, patient, split, view, age, sex, one 0/1 column per finding.

    A film's view and label set come jointly from the NIH counts; a follow-up film repeats those of the film before with
    probability ``STAY``, which leaves the frequencies as they are. Then, in each split, films without finding are given
    a set that holds a finding shown by less than ``FLOOR`` of the split (times prevalence if that is below 1).
    """
    rng = np.random.default_rng([seed, 1])
    sets, about = read_counts()
    matrix = sets["findings"].str.get_dummies("|").reindex(columns=KEYS, fill_value=0).to_numpy(np.uint8)
    sick = matrix.any(1)
    weight = sets["images"].to_numpy() * np.where(sick, prevalence, 1.0)

    follow_up = {min(int(n), MOST_FILMS): 0 for n in about["patients_by_images"]}
    for n, patients in about["patients_by_images"].items():
        follow_up[min(int(n), MOST_FILMS)] += patients
    share = np.array(list(follow_up.values())) / sum(follow_up.values())
    films = rng.choice(list(follow_up), size=images, p=share)
    films = films[: np.searchsorted(films.cumsum(), images) + 1]
    patient = np.repeat(np.arange(len(films)), films)[:images]
    number = np.arange(images) - np.searchsorted(patient, patient)

    drawn = rng.choice(len(sets), size=images, p=weight / weight.sum())
    stays = (rng.random(images) < STAY) & (number > 0)
    drawn = drawn[np.maximum.accumulate(np.where(stays, 0, np.arange(images)))]

    n_patients = patient[-1] + 1
    bounds = np.round(np.cumsum(list(SHARES.values())) * n_patients).astype(int)
    split_of = np.empty(n_patients, object)
    split_of[rng.permutation(n_patients)] = np.repeat(list(SHARES), np.diff(bounds, prepend=0))
    split = split_of[patient]
    for name in SHARES:
        here = split == name
        least = int(FLOOR * min(1.0, prevalence) * here.sum())
        for column in np.argsort(matrix[drawn[here]].sum(0), kind="stable"):
            lacking = least - int(matrix[drawn[here], column].sum())
            free = np.flatnonzero(here & ~sick[drawn])
            if lacking > 0 and len(free) >= lacking:
                chosen = rng.choice(free, size=lacking, replace=False)
                holds = np.where(matrix[:, column], weight, 0.0)
                drawn[chosen] = rng.choice(len(sets), size=lacking, p=holds / holds.sum())

    people = [(s, int(a), n) for s, ages in about["patients_by_sex_and_age"].items() for a, n in ages.items()]
    odds = np.array([n for *_, n in people], float)
    who = rng.choice(len(people), size=n_patients, p=odds / odds.sum())
    age = np.array([a for _, a, _ in people])[who] + rng.integers(0, 5, n_patients)
    table = pd.DataFrame(
        {
            "image": [f"phantom_{p:06d}_{n:03d}.png" for p, n in zip(patient, number, strict=True)],
            "patient": [f"phantom_{p:06d}" for p in patient],
            "split": split,
            "view": sets["view"].to_numpy()[drawn],
            "age": (age[patient] + number // 3).astype(float),
            "sex": np.array([s for s, *_ in people])[who][patient],
        }
    )
    table[list(KEYS)] = matrix[drawn]
    return table


def sample_scene(table: pd.DataFrame, seed: int = 0) -> dict[str, np.ndarray]:
    """Numbers that fix every film but its noise: (N,) arrays, ``labels`` (N, 14) and ``luck`` (N, 14, 5).

    Change ``labels`` and draw again to see the same patient on the same day with other findings.
    """
    rng = np.random.default_rng([seed, 2])
    n = len(table)
    patient = pd.factorize(table["patient"])[0]
    n_patients = patient.max() + 1
    ap, woman = (table["view"] == "AP").to_numpy(), (table["sex"] == "F").to_numpy()

    def person(low, high):
        return rng.uniform(low, high, n_patients)[patient]

    def film(low, high):
        return rng.uniform(low, high, n)

    scene = {
        "half": person(0.70, 0.78), "top": person(-0.78, -0.70), "dome": person(0.44, 0.54) + film(-0.02, 0.02),
        "arch": person(0.18, 0.26), "taper": person(0, 1), "ctr": person(0.395, 0.455) + film(-0.005, 0.005),
        "heart_y": person(0.20, 0.28), "knob": person(0.01, 0.05) + 0.0005 * table["age"].to_numpy(),
        "neck": person(0.26, 0.34), "girth": person(0.94, 1.10), "heart_mass": person(0.8, 1.2),
        "abdomen": person(0.8, 1.4), "bubble": person(0.2, 1.2), "phase": person(0, 1), "bone": person(0.75, 1.15),
        "rib_slope": person(0.16, 0.30), "rib_pitch": person(0.165, 0.19), "clavicle": person(-0.60, -0.54),
        "scapula": person(0.78, 0.86), "breast": person(0.3, 1.1) * woman, "vessels": person(0.09, 0.14),
        "texture": np.floor(person(0, TEXTURES)), "lucency": person(0.36, 0.40), "raise_left": film(-0.01, 0.01),
        "raise_right": film(-0.01, 0.01), "shift_heart": film(-0.01, 0.01), "shift_x": film(-0.03, 0.03),
        "shift_y": film(-0.03, 0.03), "zoom": film(0.97, 1.05), "tilt": film(-0.03, 0.03),
        "exposure": film(-0.05, 0.05), "contrast": film(0.9, 1.1), "noise": film(0.008, 0.02),
    }  # fmt: skip
    # An AP film is taken in bed: heart nearer the tube, shallower breath, shoulder blades over the lungs, flatter film.
    scene["ctr"] += 0.03 * ap
    scene["dome"] -= 0.05 * ap
    scene["scapula"] -= 0.12 * ap
    scene["clavicle"] -= 0.05 * ap
    scene["bubble"] *= 1 - 0.7 * ap
    scene["contrast"] *= 1 - 0.1 * ap
    scene["noise"] *= 1 + 0.5 * ap
    lasting = rng.random((n_patients, len(KEYS), 4))[patient]
    scene["luck"] = np.concatenate([lasting, rng.random((n, len(KEYS), 1))], 2)
    scene["labels"] = table[list(KEYS)].to_numpy(np.uint8)
    scene["number"] = np.arange(n)
    return scene


def draw(scene: dict[str, np.ndarray], size: int = 64, seed: int = 0) -> np.ndarray:
    """Draw the films of a scene: (N, size, size) uint8.

    A film's bytes depend on its own row and the seed only, not on the films drawn with it.
    """
    n = len(scene["number"])
    films = np.empty((n, size, size), np.uint8)
    together = max(1, PLANE // (size * size))
    for start in range(0, n, together):
        part = {name: value[start : start + together] for name, value in scene.items()}
        block = draw_block(part, size)
        for i, number in enumerate(part["number"]):
            grain = np.random.Generator(np.random.Philox(key=[seed, int(number)]))
            block[i] += np.float32(part["noise"][i]) * grain.standard_normal((size, size), np.float32)
        films[start : start + together] = np.rint(np.clip(block, 0, 1) * 255)
    return films


def prepare(
    folder, *, size: int = 64, images: int = 8000, seed: int = 0, prevalence: float = 1.0, progress: bool = True
):
    """Draw a phantom set into ``folder`` and return it as a :class:`~cmdml.radiographs.RadiographSet`.

    Parameters
    ----------
    size : height and width in pixels, at least 64.
    images : number of films, at least 50.
    prevalence : odds of a film with findings relative to NIH's, where 46 % of the films show one; 0 = all normal.

    Raises
    ------
    ValueError : size, images or prevalence out of range.
    """
    if size < 64:
        raise ValueError(f"phantom: size = {size} px is too small to show the findings; use 64 or more")
    if images < 50:
        raise ValueError(f"phantom: images = {images} is too few to split among patients; use 50 or more")
    if not 0 <= prevalence < float("inf"):
        raise ValueError(f"phantom: prevalence = {prevalence} must be 0 or a positive number (1 = as in ChestX-ray14)")
    from cmdml.radiographs import write_radiographs

    table = sample_table(images, seed, prevalence)
    asked = {"size": int(size), "images": int(images), "seed": int(seed), "prevalence": float(prevalence)}
    blocks = drawing(sample_scene(table, seed), size, seed, progress)
    return write_radiographs(folder, table=table, size=size, card=_card(asked), blocks=blocks)


def drawing(scene: dict[str, np.ndarray], size: int, seed: int, progress: bool = False):
    """``blocks(start)`` of :func:`~cmdml.radiographs.write_radiographs`: the films from ``start`` on, on all cores."""
    from tqdm import tqdm

    images, step, workers = len(scene["number"]), max(1, 64 * PLANE // (size * size)), cores()

    def draw_rows(start):
        return draw({name: value[start : start + step] for name, value in scene.items()}, size, seed)

    def blocks(start):
        with (
            tqdm(total=images, initial=start, unit=" images", desc="drawing", disable=not progress) as bar,
            ThreadPoolExecutor(workers) as pool,
        ):
            for first in range(start, images, step * workers):  # in rounds: memory stays flat if the disk is slow
                for films in pool.map(draw_rows, range(first, min(first + step * workers, images), step)):
                    yield films
                    bar.update(len(films))

    return blocks


def _card(asked: dict) -> dict:
    return {
        "name": "phantom",
        "title": "Phantom: procedural frontal chest radiographs (not real)",
        "source": "drawn by cmdml.sources.phantom; label sets follow the published counts of ChestX-ray14",
        "licence": "MIT",
        "citation": "Label statistics: Wang et al., ChestX-ray8, CVPR 2017, doi:10.1109/CVPR.2017.369",
        "note": (
            "A phantom: formulas, no patient, no clinical meaning; it must never be presented as real. Each finding is "
            f"drawn as its textbook sign, without label noise. At least {FLOOR:.0%} of each split shows each finding, "
            f"so Hernia (0.2 % in NIH) is over-represented; patients have at most {MOST_FILMS} films."
        ),
        "findings": list(KEYS),
        "made_with": {"source": "phantom", **asked, "drawn_by": drawing_sha256()},
    }
