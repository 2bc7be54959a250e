"""What the scripts of data/ keep, pick and count."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
from scripts import load

from cmdml.findings import KEYS
from cmdml.study.places import ROOT


def test_the_committed_films_are_those_that_would_be_picked():
    types = {"image": str, "patient": str}
    every = pd.read_csv(ROOT / "data/features/nih-mini-efficientnet_lite0.csv", dtype=types)
    films = pd.read_csv(ROOT / "data/films/films.csv", dtype=types)
    picked = load("data/make_features.py").pick(every, KEYS)
    assert dict(zip(picked.image, picked.chosen_for)) == dict(zip(films.image, films.chosen_for))


def test_films_of_excluded_sources_and_small_ones_are_left_out(monkeypatch, tmp_path):
    made, asked = load("data/make_features.py"), []
    sources = ["one", made.EXCLUDED[0], "two", made.EXCLUDED[1], "one", made.EXCLUDED[0]]
    card = {name: name for name in ("name", "source", "licence", "citation", "findings")}
    card |= {"made_with": {"size": 224}, "counts": {"images": 6, "patients": 5, "left": 2, "sources": {}}}
    every = SimpleNamespace(table=pd.DataFrame({"source_repo": sources, "image": list("abcdef")}), card=card,
                            pixels=np.arange(6))  # fmt: skip
    monkeypatch.setattr(made.nih, "prepare", lambda *given, **named: asked.append((given, named)) or every)
    monkeypatch.setattr(made, "write_radiographs", lambda folder, **named: (folder, named))
    folder, named = made.prepare(tmp_path, "root")
    assert asked == [((tmp_path / "every",), {"root": "root", "size": 224, "min_source_pixels": 224})]
    assert folder == tmp_path / "nih" and named["table"].image.tolist() == ["a", "c", "e"] and named["size"] == 224
    named["fill"](pixels := np.zeros(3))
    assert pixels.tolist() == [0, 2, 4]
    assert named["card"]["counts"] == {"left": 2, "excluded": {made.EXCLUDED[0]: 2, made.EXCLUDED[1]: 1}}
    assert named["card"]["made_with"] == {"size": 224, "exclude_sources": list(made.EXCLUDED)}
    assert named["card"]["title"].count(" 3 of ") == 1 and " 2 places" in named["card"]["note"]


def test_label_sets_and_patients_are_counted():
    rows = [(1, 0, "Mass|Atelectasis", "PA", 61, "F"), (1, 1, "Atelectasis|Mass", "PA", 64, "F"),
            (2, 3, "No Finding", "AP", 4, "M"), (2, 2, "No Finding", "AP", 5, "M"), (3, 0, "Mass", "AP", 120, "F"),
            (4, 0, "Mass", "PA", 62, "F")]  # fmt: skip
    columns = ["Patient ID", "Follow-up #", "Finding Labels", "View Position", "Patient Age", "Patient Gender"]
    script = load("data/make_label_sets.py")
    assert tuple(script.ORDER) == KEYS
    sets, about = script.count(pd.DataFrame(rows, columns=columns))
    assert list(sets.itertuples(index=False, name=None)) == [
        ("AP", "No Finding", 2), ("PA", "Atelectasis|Mass", 2), ("AP", "Mass", 1), ("PA", "Mass", 1)]  # fmt: skip
    assert (about["images"], about["patients"]) == (6, 4) and about["patients_by_images"] == {"1": 2, "2": 2}
    # by the age at the first film: 61, 5, 120 (at most 94), 62
    assert about["patients_by_sex_and_age"] == {"F": {"60": 2, "90": 1}, "M": {"5": 1}}
