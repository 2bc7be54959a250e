"""The tables of the page on one film: their numbers are those of the results, their places are on the page."""

import json
from pathlib import Path

import pandas as pd

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
            for f, n, a in (("Mass", 10, 0.2), ("Hernia", 30, 0.6)) for m in ("occlusion", "gradcam")]  # fmt: skip
    about = {"commit": "c" * 40, "dirty": False, "script": "benchmarks/pointing.py"}

    def write(folder, file, files):
        from cmdml.files import sealed

        (folder / file).write_text(json.dumps(sealed(about | {"files": files})))

    results.publish(tmp_path / "pointing", {"findings": pd.DataFrame(rows)}, write)
    table = film_tables.texts(tmp_path)["pointing"]
    assert "| mean   |        | 40      | 0.40" in table and "0.20 (0.10–0.90)" in table
    assert "| Hernia | unseen | 30" in table and "`cccccccccccc`" in table
