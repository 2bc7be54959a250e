"""The tables of the page on one film: their numbers are those of the results, their places are on the page."""

import json
from pathlib import Path

import pandas as pd
import pytest

from cmdml.files import sealed
from cmdml.study import film_tables, results

ROOT = Path(__file__).resolve().parents[2]


def test_every_table_has_its_place_on_the_page():
    page = (ROOT / "book/one-film.md").read_text(encoding="utf-8")
    made = film_tables.texts(ROOT / "data/results")
    assert set(made) == {"ood", "pointing"}
    assert all(f"<!-- {name} -->" in page and f"<!-- /{name} -->" in page for name in made)
    rates = pd.read_csv(ROOT / "data/results/ood/rates.csv")
    assert all(kind in made["ood"] for kind in rates["kind"]) and made["ood"].count("\n| ") == len(rates)


def test_means_are_over_findings(tmp_path):
    shared = {"hits": 1, "low": 0.1, "high": 0.9}
    rows = [{"finding": f, "seen": f == "Mass", "films": n, "method": m, "accuracy": a, **shared}
            for f, n, a in (("Mass", 10, 0.2), ("Hernia", 30, 0.6), ("Edema", 5, 0.1))
            for m in ("occlusion", "gradcam")]  # fmt: skip
    about = {"commit": "c" * 40, "dirty": False, "script": "benchmarks/pointing.py"}

    def write(folder, file, files):
        (folder / file).write_text(json.dumps(sealed(about | {"files": files})))

    results.publish(tmp_path / "pointing", {"findings": pd.DataFrame(rows)}, write)
    table = film_tables.texts(tmp_path)["pointing"]
    assert "| mean   |        | 45      | 0.30" in table and "0.20 (0.10–0.90)" in table
    assert "| Hernia | unseen | 30" in table and "`cccccccccccc`" in table


def published(folder, about, **tables):
    def write(folder, file, files):
        (folder / file).write_text(json.dumps(sealed(about | {"files": files})))

    return results.publish(folder, {name: pd.DataFrame(table) for name, table in tables.items()}, write)


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_warnings_are_rates_with_their_intervals(tmp_path):
    rates = {"head": ["a", "b"], "kind": ["dog", "cat"], "films": [7, 12], "rate": [0.25, 1.0], "low": [0.1, None],
             "high": [0.4, None], "other": [3, 4]}  # fmt: skip
    about = {"commit": "0123456789abcdef", "dirty": True, "script": "benchmarks/ood.py"}
    table = film_tables.warnings_table(published(tmp_path / "ood", about, rates=rates))
    assert cells(table)[0] == ["network", "what it was shown", "pictures", "warned of (95 %)"]
    assert cells(table)[2:] == [["a", "dog", "7", "0.25 (0.10–0.40)"], ["b", "cat", "12", "1.00"]]
    assert table.endswith("|\n\n*`python benchmarks/ood.py`; code `0123456789ab, with changes`.*")
    assert set(film_tables.texts(tmp_path)) == {"ood"}
    published(tmp_path / "ood", about | {"commit": None, "dirty": False}, rates=rates)
    assert film_tables.warnings_table(tmp_path / "ood").endswith("code `unknown`.*")
    file = tmp_path / "ood/rates.csv"
    file.write_text(file.read_text().replace("0.25", "0.26"))
    with pytest.raises(ValueError, match="rates.csv is not the table"):
        film_tables.warnings_table(tmp_path / "ood")


def test_pointing_has_a_row_per_finding_and_a_column_per_method_in_their_order(tmp_path):
    hits = {"finding": ["Pleural_Effusion", "Pleural_Effusion", "Mass", "Mass"], "seen": [False, False, True, True],
            "films": [10, 10, 30, 30], "method": ["b", "a", "b", "a"], "accuracy": [0.5, 0.25, 1.0, 0.75],
            "low": [0.4, None, 0.9, 0.7], "high": [0.6, None, 1.0, 0.8]}  # fmt: skip
    about = {"commit": "c" * 40, "dirty": False, "script": "s.py"}
    table = film_tables.pointing_table(published(tmp_path, about, findings=hits))
    assert cells(table) == [
        ["", "kind", "films", "b", "a"], *cells(table)[1:2],
        ["Pleural Effusion", "unseen", "10", "0.50 (0.40–0.60)", "0.25"],
        ["Mass", "seen", "30", "1.00 (0.90–1.00)", "0.75 (0.70–0.80)"], ["mean", "", "40", "0.75", "0.50"]]


def test_rates_keep_their_digits(tmp_path):
    rates = {"head": ["a", "b"], "kind": ["x", "y"], "films": [7, 12], "rate": [0.5, 1.0], "low": [None] * 2,
             "high": [None] * 2}  # fmt: skip
    about = {"commit": "c" * 40, "dirty": False, "script": "s.py"}
    table = film_tables.warnings_table(published(tmp_path, about, rates=rates))
    assert [row[3] for row in cells(table)[2:]] == ["0.50", "1.00"]
    hits = {"finding": ["Mass"], "seen": [True], "films": [7], "method": ["m"], "accuracy": [0.5], "low": [None],
            "high": [None]}  # fmt: skip
    table = film_tables.pointing_table(published(tmp_path / "p", about, findings=hits))
    assert cells(table)[2:] == [["Mass", "seen", "7", "0.50"], ["mean", "", "7", "0.50"]]
