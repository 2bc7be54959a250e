"""The front page's figure: which film is shown is decided by a rule, and by test films alone."""

from types import SimpleNamespace

import hero
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from cmdml.findings import KEYS, SeenUnseen, split_findings
from cmdml.study.places import ROOT

FINDINGS = SeenUnseen(("Mass", "Edema", "Hernia"), ("Edema", "Hernia"))


def test_the_film_is_the_median_of_those_with_one_unseen_finding():
    labels = np.array([[0, 1, 0], [1, 0, 0], [0, 1, 1], [0, 1, 0], [0, 1, 0], [0, 0, 1]])
    scores = np.array([[0, 0.9, 0], [0, 0.0, 0.0], [0, 0.1, 0.2], [0, 0.8, 0.1], [0, 0.2, 0.3], [0, 0.3, 0.4]])
    every = np.ones(6, bool)
    # percentiles of the film's own finding: film 0 1.0, 3 0.8, 4 0.4, 5 1.0; of four, the lower of the middle two
    assert hero.typical(labels, FINDINGS, scores, every) == 3
    assert hero.typical(labels, FINDINGS, scores, np.arange(6) >= 4) == 4
    assert hero.typical(labels[::-1], FINDINGS, scores[::-1], every) == 2  # whatever their order
    with pytest.raises(ValueError, match="exactly one finding, an unseen one: draw more films"):
        hero.typical(labels, FINDINGS, scores, np.arange(6) < 0)


def test_the_real_film_and_its_places_are_those_that_were_committed():
    _, labels, percentiles, name = hero.real(split_findings(KEYS, "default"))
    places = pd.read_csv(ROOT / "data/results/hero/places.csv").query("kind == 'real film'")
    table = pd.read_csv(ROOT / "data/films/films.csv").set_index("image")
    assert set(places.film) == {name} and table.split[name] == "test"
    assert [key for key, shown in zip(KEYS, labels, strict=True) if shown] == list(places[places.labelled].finding[:1])
    for told, part in places.groupby("told"):
        np.testing.assert_allclose(part.percentile, percentiles[told], atol=0.01)


def test_a_real_film_is_asked_of_trainings_with_seed_0_whatever_the_profile_says(monkeypatch):
    given, asked = hero.run.load_profile("nih-mini")["parameters"], []

    def fit(parts, vectors, config, *_, **__):
        asked.append(config)
        n = len(parts.radiographs)
        scores = np.random.default_rng(0).random((n, len(KEYS)))
        return SimpleNamespace(embeddings={"index": np.arange(n), "scores": scores})

    monkeypatch.setattr(hero, "fit", fit)
    monkeypatch.setattr(hero.run, "load_profile", lambda name: {"parameters": given | {"seed": 5}})
    _, _, _, name = hero.real(split_findings(KEYS))
    assert [config.seed for config in asked] == [0] * 3 and {config.epochs for config in asked} == {given["epochs"]}
    assert (ROOT / "data/films" / name).is_file()


def test_a_phantom_is_placed_among_ill_test_films_by_each_training_of_its_run(monkeypatch, tmp_path):
    rng, read = np.random.default_rng(0), []
    labels = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [1, 1, 0]])
    ill, scores = [1, 2, 4, 5], {}
    images = pd.DataFrame({"image": [f"{i}.png" for i in range(20)]})
    held = SimpleNamespace(pixels=np.arange(20) * 10, table=images)
    test = SimpleNamespace(labels=labels, rows=np.array([3, 5, 7, 9, 11, 13]), radiographs=held)

    def embedded(folder, rows):
        read.append((folder, rows.tolist()))
        return {"scores": scores.setdefault(folder, rng.random((4, 3)))}

    monkeypatch.setattr(hero, "embedded", embedded)
    monkeypatch.setattr(hero, "TestSet", lambda folder: test if folder == tmp_path / "radiographs" else None)
    pixels, shown, told, name = hero.drawn(tmp_path, FINDINGS)
    folders = {"signs_text": tmp_path / "training", "description": tmp_path / "variants/description/training",
               "shuffled": tmp_path / "variants/shuffled/training"}  # fmt: skip
    assert sorted(read) == sorted((folder, [5, 7, 11, 13]) for folder in folders.values())
    at = hero.typical(labels[ill], FINDINGS, scores[folders["signs_text"]], np.ones(4, bool))
    row = test.rows[ill[at]]
    assert (pixels, name, shown.tolist()) == (10 * row, f"{row}.png", [0, 1, 0]) and list(told) == list(hero.TOLD)
    for words, folder in folders.items():
        others = np.delete(scores[folder], at, axis=0)
        np.testing.assert_allclose(told[words], (others < scores[folder][at]).mean(0))


def test_the_table_beside_the_figure_has_every_place(monkeypatch):
    rng, saved, written = np.random.default_rng(1), [], []
    found = {kind: (np.zeros((4, 4), np.uint8), np.eye(14)[KEYS.index(key)],
                    {told: rng.permutation(14) / 14 for told in hero.TOLD}, f"{kind}.png")
             for kind, key in (("phantom", "Edema"), ("real film", "Fibrosis"))}  # fmt: skip
    monkeypatch.setattr(hero, "drawn", lambda folder, _: found["phantom"] if folder == ROOT / "runs/mine" else None)
    monkeypatch.setattr(hero, "real", lambda _: found["real film"])
    titles = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: saved.append(path) or titles.extend(
        ax.get_title("left") for ax in self.axes))  # fmt: skip
    monkeypatch.setattr(hero.run, "publish", lambda *given, **about: written.append((*given, about)))
    hero.main("runs/mine")
    ((folder, tables, about),) = written
    assert saved == [ROOT / "book/figures/hero.png"] and folder == "data/results/hero"
    assert [title for title in titles if title.startswith("told")] == [*hero.TOLD.values()] * 2
    assert about["trained_in"] == "runs/mine" and about["asked"] == {
        "phantom": {"film": "phantom.png", "finding": "Edema"},
        "real film": {"film": "real film.png", "finding": "Fibrosis"}}  # fmt: skip
    rows, unseen = tables["places"], split_findings(KEYS).unseen
    assert len(rows) == 2 * 3 * 14
    for row in rows.itertuples():
        _, labels, told, name = found[row.kind]
        score = told[row.told][KEYS.index(row.finding)]
        assert row.percentile == score and row.place == 1 + (told[row.told] > score).sum() and row.film == name
        assert row.labelled == bool(labels[KEYS.index(row.finding)]) and row.unseen == (row.finding in unseen)
