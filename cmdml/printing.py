"""Predictions for people: as a table on a terminal, as plain text in a pipe."""

from __future__ import annotations

from cmdml.heads import NOTICE
from cmdml.prediction import FilmScores, Predictions
from cmdml.words import OwnWords

WHOLE = 3  # films that get a whole table each; of more, the first findings of each stand in one line
TOP = 3


def print_predictions(predictions: Predictions, terminal: bool) -> None:
    """Everything but what goes to stderr."""
    card, normal = predictions.head.card, predictions.head.card["normal_films"]
    print(f"{NOTICE.capitalize()}. Scored by {card['name']} ({card['data']['title']}).")
    print("Score: higher = more likely, comparable within a film. "
          f"Percentile: per cent of {normal} normal validation films that score lower.")  # fmt: skip
    for words in predictions.own:
        print("\n" + leaning(words))
    if len(predictions.films) > WHOLE:
        _summary(predictions, terminal)
    else:
        for film in predictions.films:
            _film(predictions, film, terminal)


def leaning(words: OwnWords) -> str:
    """Which seen findings own words lean on, and what nobody taught."""
    near = ", ".join(f"{finding.replace('_', ' ')} {joint:.2f} ({told:.2f})" for finding, joint, told in words.leans_on)
    lines = [f"{words.name}: leans on {near} (cosine in the joint space; of the words)."]
    if words.untaught:
        signs = ", ".join(sign.replace("_", " ") for sign in words.untaught)
        lines.append(f"  No seen finding has {signs}: no film taught what that looks like.")
    return "\n".join(lines)


def _film(predictions: Predictions, film: FilmScores, terminal: bool) -> None:
    rows = predictions.ranked(film)
    cells = [(str(row["rank"]), row["finding"].replace("_", " "), row["kind"], f"{row['score']:.3f}",
              f"{row['percentile']:.0f}") for row in rows]  # fmt: skip
    print(f"\n{film.path}")
    for note in film.notes:
        print(f"  {note}")
    for warning in film.warnings:
        print(f"  WARNING: {warning}")
    _table(("", "finding", "", "score", "percentile"), cells, "rllrr", terminal)


def _summary(predictions: Predictions, terminal: bool) -> None:
    cells = []
    for film in predictions.films:
        first = ", ".join(_brief(row) for row in predictions.ranked(film)[:TOP])
        cells.append((film.path.name, first, "UNFAMILIAR" if film.unfamiliar else "warning" if film.warnings else ""))
    print(f"\nFirst {TOP} findings, score, percentile in brackets; * = unseen. --csv and --json hold all.")
    _table(("film", "findings", ""), cells, "lll", terminal)


def _brief(row: dict) -> str:
    mark = "*" if row["kind"] == "unseen" else ""
    return f"{row['finding'].replace('_', ' ')}{mark} {row['score']:.2f} ({row['percentile']:.0f})"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]], align: str, terminal: bool) -> None:
    if terminal:
        from rich.console import Console
        from rich.table import Table

        table = Table(*header, box=None)
        for column, side in zip(table.columns, align, strict=True):
            column.justify = {"l": "left", "r": "right"}[side]
        for row in rows:
            table.add_row(*row)
        Console(highlight=False, markup=False).print(table)
        return
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = zip(row, widths, align, strict=True)
        print("  " + "  ".join(f"{cell:{'<' if side == 'l' else '>'}{width}}" for cell, width, side in cells).rstrip())
