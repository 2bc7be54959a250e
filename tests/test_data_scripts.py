"""What the scripts of data/ keep, pick and count."""

import json
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from PIL import Image
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
    rows = [(1, 0, "Mass|Consolidation", "PA", 61, "F"), (1, 1, "Consolidation|Mass", "PA", 64, "F"),
            (2, 3, "No Finding", "AP", 4, "M"), (2, 2, "No Finding", "AP", 5, "M"), (3, 0, "Mass", "AP", 120, "F"),
            (4, 0, "Mass", "PA", 62, "F")]  # fmt: skip
    columns = ["Patient ID", "Follow-up #", "Finding Labels", "View Position", "Patient Age", "Patient Gender"]
    script = load("data/make_label_sets.py")
    assert tuple(script.ORDER) == KEYS
    sets, about = script.count(pd.DataFrame(rows, columns=columns))
    assert list(sets.itertuples(index=False, name=None)) == [
        ("AP", "No Finding", 2), ("PA", "Mass|Consolidation", 2), ("AP", "Mass", 1), ("PA", "Mass", 1)]  # fmt: skip
    assert (about["images"], about["patients"]) == (6, 4) and about["patients_by_images"] == {"1": 2, "2": 2}
    # by the age at the first film: 61, 5, 120 (at most 94), 62
    assert about["patients_by_sex_and_age"] == {"F": {"60": 2, "90": 1}, "M": {"5": 1}}


def test_features_of_two_backbones_and_the_picked_films_are_written_and_nothing_stays(monkeypatch, tmp_path):
    made, asked, saved = load("data/make_features.py"), [], []
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"image": ["b.png", "a.png", "c.png"]}, index=[0, 1, 2])
    films = SimpleNamespace(table=table, findings=KEYS, pixels=rng.integers(0, 256, (3, 8, 8), dtype=np.uint8))

    def extract(radiographs, folder, **named):
        asked.append((radiographs, folder.name, folder.parent, named))
        return SimpleNamespace(save=lambda path, **about: saved.append((folder.name, path, about)))

    monkeypatch.setattr(made, "DATA", tmp_path)
    monkeypatch.setattr(made, "prepare", lambda folder, root: asked.append((folder, root)) or films)
    monkeypatch.setattr(made, "extract", extract)
    monkeypatch.setattr(made, "pick", lambda table, findings: table.iloc[[1, 2]].assign(chosen_for=["Mass", "none"]))
    monkeypatch.setattr(sys, "argv", ["make_features.py", "NIH"])
    (tmp_path / "films").mkdir()
    (tmp_path / "films/old.png").touch()
    (tmp_path / "films/README.md").touch()
    made.main()
    (scratch, root), first, second = asked
    assert root == Path("NIH") and not scratch.exists()
    assert first == (films, "imagenet", scratch, {}) and second == (films, "random", scratch, {"weights": ""})
    (one, path, about), (other, also, control) = saved
    assert (one, path) == ("imagenet", tmp_path / "features/nih-mini-efficientnet_lite0")
    assert (other, also) == ("random", tmp_path / "features/nih-mini-random")
    assert control == about | {"table": "nih-mini-efficientnet_lite0.csv"}
    assert about["command"] == "python data/make_features.py NIH_ROOT" and about["terms"] == made.TERMS
    assert "NIH Clinical Center" in about["attribution"]
    assert {file.name for file in (tmp_path / "films").iterdir()} == {"README.md", "films.csv", "a.png", "c.png"}
    for row, name in ((1, "a.png"), (2, "c.png")):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "films" / name)), films.pixels[row])
    assert (tmp_path / "films/films.csv").read_text() == "image,chosen_for\na.png,Mass\nc.png,none\n"


def test_normal_films_fill_up_to_forty_of_both_views():
    made, n = load("data/make_features.py"), 60
    table = pd.DataFrame({"image": [f"{i:03d}" for i in range(n)], "split": ["test", "train"] * 30,
                          "view": ["PA"] * 31 + ["AP"] * 29, "Mass": 0, "Edema": 0})  # fmt: skip
    table.loc[[0, 1, 5, 40, 41], "Mass"] = 1
    table.loc[[0, 41, 43, 45], "Edema"] = 1
    found = made.pick(table, ["Mass", "Edema"]).set_index("image").chosen_for
    # Mass in PA: 001 and 005 alone, of training; 000 is of test; in AP 040. Edema then: none left in PA; 043
    assert found[found != "none"].to_dict() == {"000": "Mass", "040": "Mass", "043": "Edema"}
    views = table.set_index("image").view[found[found == "none"].index]
    assert len(found) == 40 and views.value_counts().to_dict() == {"PA": 19, "AP": 18}
    normal = table[(table.Mass == 0) & (table.Edema == 0)].set_index("image")
    of_test = normal[(normal.split == "test") & (normal.view == "PA")].index
    assert set(of_test) <= set(found.index)


def test_counts_are_written_beside_the_script(monkeypatch, tmp_path, capsys):
    script = shutil.copy(ROOT / "data/make_label_sets.py", tmp_path)
    rows = ["1,0,Mass,PA,61,F", "2,0,No Finding,AP,30,M", "3,0,No Finding,AP,30,M"]
    head = "Patient ID,Follow-up #,Finding Labels,View Position,Patient Age,Patient Gender"
    (tmp_path / "given.csv").write_text("\n".join([head, *rows]))
    monkeypatch.setattr(sys, "argv", [script, str(tmp_path / "given.csv")])
    runpy.run_path(script, run_name="__main__")
    sets = (tmp_path / "label_sets.csv").read_text()
    assert sets == "view,findings,images\nAP,No Finding,2\nPA,Mass,1\n"
    about = json.loads((tmp_path / "label_sets.json").read_text())
    assert about["images"] == 3 and about["patients_by_images"] == {"1": 3}
    assert capsys.readouterr().out == "2 label sets of 3 images\n"
