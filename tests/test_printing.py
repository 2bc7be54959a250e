"""Predictions for people: every number where it belongs, warnings said, three films whole and of more the first."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cmdml.findings import KEYS, split_findings
from cmdml.prediction import FilmScores, Predictions
from cmdml.printing import leaning, print_predictions

MINE = SimpleNamespace(name="mine", leans_on=(("Pleural_Thickening", 0.5, 0.25), ("Mass", 0.125, -0.5)),
                       untaught=("air_fluid_level", "round"))  # fmt: skip


def predictions(count, own=(), **changed):
    scores = np.arange(14 + len(own)) / 10
    films = [FilmScores(**{"path": Path(f"folder/{i}.png"), "scores": scores, "percentiles": scores * 50, "distance":
                           0.5, "notes": ("a note",), "warnings": ()} | changed) for i in range(count)]  # fmt: skip
    card = {"name": "made", "normal_films": 123, "data": {"title": "Made films"}}
    head = SimpleNamespace(card=card, findings=split_findings(KEYS))
    return Predictions(head, tuple(films), tuple(own), ())


def test_own_words_say_on_what_they_lean():
    assert leaning(MINE) == ("mine: leans on Pleural Thickening 0.50 (0.25), Mass 0.12 (-0.50) (cosine in the joint "
                             "space; of the words).\n  No seen finding has air fluid level, round: no film taught what "
                             "that looks like.")  # fmt: skip
    assert "\n" not in leaning(SimpleNamespace(name="mine", leans_on=MINE.leans_on, untaught=()))


@pytest.mark.parametrize("terminal", [False, True])
def test_a_film_has_a_table_of_all_findings_highest_first(capsys, terminal):
    print_predictions(predictions(1, warnings=("beware",)), terminal)
    said = capsys.readouterr().out
    assert "Not a medical device. Scored by made (Made films)." in said and "of 123 normal validation films" in said
    assert "folder/0.png" in said and "a note" in said and "WARNING: beware" in said
    lines = [line.split() for line in said.splitlines() if line.split()[:1] and line.split()[0].isdigit()]
    assert len(lines) == 14
    for rank, line in enumerate(lines, 1):
        c = 14 - rank
        kind = "unseen" if KEYS[c] in split_findings(KEYS).unseen else "seen"
        assert line == [str(rank), *KEYS[c].split("_"), kind, f"{c / 10:.3f}", f"{c * 5}"]


def test_columns_of_a_plain_table_are_aligned(capsys):
    print_predictions(predictions(1), False)
    lines = capsys.readouterr().out.split("a note\n")[1].splitlines()
    assert len(lines) == 15 and lines[0].endswith("percentile") and len({len(line) for line in lines}) == 1
    assert lines[1].startswith("   1  ") and lines[14].startswith("  14  ")
    at = lines[0].index("finding")
    assert all(line[at - 1] == " " and line[at] != " " for line in lines)


def test_on_a_terminal_names_begin_and_numbers_end_below_each_other(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    print_predictions(predictions(1), True)
    lines = capsys.readouterr().out.split("a note\n")[1].splitlines()
    at, end = lines[0].index("finding"), lines[0].index("percentile") + len("percentile")
    assert all(line[at - 1] == " " != line[at] for line in lines)
    assert all(line[:end].strip() == line.strip() and line[end - 1] != " " for line in lines)


@pytest.mark.parametrize("terminal", [False, True])
def test_of_more_than_three_films_the_first_three_findings(capsys, terminal):
    print_predictions(predictions(3), terminal)
    assert capsys.readouterr().out.count("a note") == 3
    print_predictions(predictions(4, [MINE]), terminal)
    said = " ".join(capsys.readouterr().out.split())
    assert "mine: leans on" in said and "a note" not in said
    assert "First 3 findings, score, percentile in brackets; * = unseen." in said

    def brief(c):
        mark = "*" if KEYS[c] in split_findings(KEYS).unseen else ""
        return f"{KEYS[c].replace('_', ' ')}{mark} {c / 10:.2f} ({c * 5})"

    assert f"3.png mine 1.40 (70), {brief(13)}, {brief(12)}" in said and brief(11) not in said


@pytest.mark.parametrize("changed, word", [({"distance": 1.5, "warnings": ("a",)}, "UNFAMILIAR"),
                                           ({"warnings": ("a",)}, "warning"), ({}, "")])  # fmt: skip
def test_a_line_says_whether_its_film_is_doubtful(capsys, changed, word):
    print_predictions(predictions(4, **changed), False)
    lines = [line for line in capsys.readouterr().out.splitlines() if ".png" in line]
    assert len(lines) == 4 and all(line.endswith(word or ")") for line in lines)


def test_an_unseen_finding_is_marked(capsys):
    films = predictions(4)
    unseen = KEYS.index(films.head.findings.unseen[0])
    for film in films.films:
        film.scores[unseen] = 9.0
    print_predictions(films, False)
    assert f"{KEYS[unseen]}* 9.00 (" in capsys.readouterr().out
