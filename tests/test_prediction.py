"""Films scored by the shipped head of the phantoms, and by stand-ins: percentiles, ranks, batches, failures, words."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from film_files import phantoms
from PIL import Image

from cmdml import prediction
from cmdml.findings import KEYS, split_findings
from cmdml.prediction import FilmScores, Predictions, percentiles, predict


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for i, film in enumerate(phantoms(5)):
        Image.fromarray(film).save(folder / f"{i}.png")
    return folder


def test_percentiles_count_the_films_below_and_half_of_the_ties():
    scores, normal = np.array([[1.0, 5.0], [3.0, 0.0]]), np.array([[0.0, 5], [1, 5], [2, 6], [1, 4]])
    assert percentiles(scores, normal).tolist() == [[50.0, 50.0], [100.0, 0.0]]


def of(scores, own=(), **changed):
    """Predictions of one film with these scores."""
    film = FilmScores(Path("a.png"), np.array(scores), np.arange(len(scores)) * 1.0, 0.5, ("a note",), ("a", "b"))
    card = {"name": "n", "semantics": "signs", "size": 64, "normal_films": 7, "familiar": {"quantile": 0.99}}
    head = SimpleNamespace(findings=split_findings(KEYS), card=card, folder=Path("heads/n"))
    return Predictions(head, (replace(film, **changed),), tuple(own), ((Path("b.png"), "no film"),), 3)


def test_findings_are_ranked_and_equal_ones_stay_in_order():
    scores = [0.1, 0.9, 0.5, 0.9] + [0.0] * 10
    found = of(scores)
    rows = found.ranked(found.films[0])
    assert [row["finding"] for row in rows[:5]] == [KEYS[1], KEYS[3], KEYS[2], KEYS[0], KEYS[4]]
    assert [row["rank"] for row in rows] == list(range(1, 15))
    assert [row["score"] for row in rows[:3]] == [0.9, 0.9, 0.5] and [row["percentile"] for row in rows[:2]] == [1, 3]
    kinds = {key: "unseen" if key in found.head.findings.unseen else "seen" for key in KEYS}
    assert all(row["kind"] == kinds[row["finding"]] for row in rows)


@pytest.mark.parametrize("distance, unfamiliar", [(0.99, False), (1.0, False), (1.01, True)])
def test_a_film_beyond_the_threshold_is_unfamiliar(distance, unfamiliar):
    found = of([0.0] * 14, distance=distance)
    assert found.films[0].unfamiliar == unfamiliar
    table = found.table
    assert list(table) == ["film", "rank", "finding", "kind", "score", "percentile", "distance", "unfamiliar",
                           "warnings", "notice"]  # fmt: skip
    assert set(table.unfamiliar) == {unfamiliar} and set(table.warnings) == {"a; b"} and set(table.film) == {"a.png"}
    assert set(table.notice) == {"not a medical device"} and len(table) == 14


def test_words_of_one_s_own_come_last_and_all_is_plain():
    own = SimpleNamespace(name="mine", signs=("round", "focal"), text="", untaught=("round",),
                          leans_on=(("Mass", 0.5, 0.25),))  # fmt: skip
    found = of([0.0] * 14 + [1.0], [own])
    assert found.names == (*KEYS, "mine") and found.kinds[-1] == "own words" and len(found.kinds) == 15
    plain = found.to_dict()
    assert plain["films"][0]["findings"][0] == {"rank": 1, "finding": "mine", "kind": "own words", "score": 1.0,
                                                "percentile": 14.0}  # fmt: skip
    assert plain["own_words"] == [{"name": "mine", "signs": ["round", "focal"], "text": "", "untaught": ["round"],
                                   "leans_on": [{"finding": "Mass", "joint_space": 0.5, "words": 0.25}]}]  # fmt: skip
    assert plain["run"] == {"name": "n", "folder": "heads/n", "semantics": "signs", "size": 64,
                            "unseen": list(found.head.findings.unseen), "normal_films": 7,
                            "threshold_quantile": 0.99}  # fmt: skip
    assert plain["failed"] == [{"film": "b.png", "sentence": "no film"}]
    assert plain["films"][0]["warnings"] == ["a", "b"] and plain["films"][0]["notes"] == ["a note"]


def test_no_films_make_an_empty_table(head):
    assert len(Predictions(head, (), (), ()).table) == 0 and "notice" in Predictions(head, (), (), ()).table


@pytest.mark.parametrize("batch", [1, 2, 5, 16])
def test_scores_do_not_depend_on_the_batch(head, films, monkeypatch, batch):
    monkeypatch.setattr(prediction, "BATCH", batch)
    extra = [films / "1b.png", films / "notes.txt"]
    for path in extra:
        path.write_text("no film")
    try:
        found = predict(str(films), head)
    finally:
        for path in extra:
            path.unlink()
    assert [film.path.name for film in found.films] == [f"{i}.png" for i in range(5)]
    assert [path.name for path, _ in found.failed] == ["1b.png"] and found.set_aside == 1
    pixels = np.stack([np.asarray(Image.open(films / f"{i}.png")) for i in range(5)])
    with torch.inference_mode():
        expected, places = head.network(torch.from_numpy(pixels)[:, None])
        features = head.network.features(torch.from_numpy(pixels)[:, None])
        normal = head.network.score(head.reference["normal_visual"], head.network.semantic()).numpy()
    distances = head.familiar.distance(features) / head.familiar.threshold
    for film, mine, distance in zip(found.films, expected.numpy(), distances.tolist(), strict=True):
        np.testing.assert_allclose(film.scores, mine, atol=1e-5)
        assert film.distance == pytest.approx(distance, rel=1e-3)
        share = [100 * (normal[:, c] < mine[c]).mean() for c in range(14)]
        assert np.abs(film.percentiles - share).max() <= 100 / len(normal)


def test_films_are_scored_in_whole_batches(head, films, monkeypatch):
    scored, score = [], prediction._score
    monkeypatch.setattr(prediction, "BATCH", 2)
    monkeypatch.setattr(prediction, "_score", lambda head, films, *rest: scored.append(len(films)) or score(
        head, films, *rest))  # fmt: skip
    found = predict(films, head)
    assert scored == [2, 2, 1] and len(found.films) == 5
    with pytest.raises(AttributeError):
        found.films = ()


def test_an_unfamiliar_film_says_so_first(head, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "noise.png")
    film = predict([tmp_path / "noise.png"], head).films[0]
    assert film.distance > 1 and len(film.warnings) > 1
    said = f"unlike the films of the training, {film.distance:.1f} times the distance that 99 of 100 validation films"
    assert film.warnings[0] == f"{said} keep: do not read its scores"


def test_words_come_in_the_order_findings_signs_texts(head, monkeypatch):
    monkeypatch.setattr(prediction, "own_text", lambda head, text: text)
    monkeypatch.setattr(prediction, "own_signs", lambda head, name, typed: (name, list(typed)))
    assert prediction.own_words(head) == ()
    assert prediction.own_words(head, ["A: round, focal", "B: round"], " round, ,focal", ["a text", "b"]) == (
        ("A", ["round", "focal"]), ("B", ["round"]), ("signs: round, focal", [" round", "focal"]),
        "a text", "b")  # fmt: skip
    assert prediction.own_words(head, signs=("round", "focal"))[0] == ("signs: round, focal", ["round", "focal"])


def test_films_are_read_in_order_and_a_bounded_number_ahead(monkeypatch):
    begun = []

    def read_film(path, size):
        begun.append(path)
        if path % 7 == 0:
            raise (OSError, ValueError, ImportError)[path // 7 % 3](f"{path}")
        return path * size

    monkeypatch.setattr(prediction, "read_film", read_film)
    monkeypatch.setattr(prediction, "BATCH", 4)
    reading, found = prediction._read(list(range(50)), 10), []
    for path, film in reading:
        found.append((path, film))
        assert len(begun) <= path + 1 + 2 * 4
    assert [path for path, _ in found] == list(range(50)) and sorted(begun) == list(range(50))
    for path, film in found:
        assert str(film) == str(path) if path % 7 == 0 else film == 10 * path
