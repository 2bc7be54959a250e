"""How a book is laid out of a run: what is copied, folded and filled, and what stays behind."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from scripts import load

from cmdml.plots import figures


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """The script on a small repository of its own, with one chapter and one page."""
    module = load("book/stage.py")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    for name in ("intro.md", "stage.py", "check.py", "pdf.py", "folding.py", "browser.py", "terms.py", "_static/a.css",
                 "__pycache__/a.pyc", "figures/hero.png"):  # fmt: skip
        path = tmp_path / "book" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    parts = [{"chapters": [{"file": "notebooks/01_data"}, {"file": "book/intro"}]},
             {"chapters": [{"file": "notebooks/02_more"}]}]  # fmt: skip
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump({"parts": parts}))
    (tmp_path / "_config.yml").write_text("title: Über\nrepository: {url: ''}\n", encoding="utf-8")
    for name in ("data/README.md", "data/results/mine/summary.csv", "data/results/mine/variants/a/manifest.json",
                 "data/films/film.png"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for name in ("01_data", "02_more", "03_not_in_the_book"):
        (tmp_path / "runs/mine/notebooks").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"runs/mine/notebooks/{name}.ipynb").write_text(name)
    return module


@pytest.mark.parametrize("rotated", [False, True])
def test_a_book_is_laid_out_of_pages_results_and_its_run_s_chapters(stage, monkeypatch, tmp_path, rotated):
    told = []

    def note(name):
        return lambda *given: told.append((name, *given)) or name

    for name in ("benchmarks", "reliability", "cluster", "sizes", "fill", "drawn"):
        monkeypatch.setattr(stage, name, note(name))
    for name in ("status", "answer", "anatomy"):
        monkeypatch.setattr(stage, name, lambda *given, name=name: f"{name} of {given}")
    monkeypatch.setattr(stage.folding, "fold", note("fold"))
    monkeypatch.setattr(stage.film_tables, "texts", lambda folder: {f"of {folder.name}": "a table"})
    monkeypatch.setattr(figures, "loss_figure", lambda: SimpleNamespace(savefig=lambda path, **_: Path(path).touch()))
    if rotated:
        (tmp_path / stage.ROTATION).mkdir(parents=True)
        (tmp_path / stage.ROTATION / "manifest.json").touch()
    (tmp_path / "runs/mine/book/old").mkdir(parents=True)
    out, rotation = stage.stage("runs/mine"), tmp_path / stage.ROTATION
    assert out == tmp_path / "runs/mine/book"
    held = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert held == {
        "book/intro.md", "book/terms.py", "book/_static/a.css", "book/figures/hero.png", "book/figures/loss.svg",
        "book/status.md", "_toc.yml", "_config.yml", "data/README.md", "data/results/mine/summary.csv",
        "data/results/mine/variants/a/manifest.json", "notebooks/01_data.ipynb", "notebooks/02_more.ipynb",
        *([f"{stage.ROTATION}/manifest.json"] if rotated else [])}  # fmt: skip
    assert (out / "data/results/mine/summary.csv").read_text() == "data/results/mine/summary.csv"
    config = (out / "_config.yml").read_text(encoding="utf-8")
    assert config == "title: Über\n"
    run = tmp_path / "runs/mine"
    assert (out / "book/status.md").read_text() == f"status of {(run, ['01_data', '02_more'])}"
    assert [Path(entry[1]) for entry in told if entry[0] == "fold"] == [
        out / f"notebooks/{name}.ipynb" for name in ("01_data", "02_more")]  # fmt: skip
    assert (run / "notebooks/01_data.ipynb").read_text() == "01_data"
    page = out / "book"
    wanted = [("benchmarks", page / "performance.md"), ("reliability", page / "reliability.md"),
              ("cluster", page / "reproducing.md"), ("benchmarks", page / "reliability.md"),
              ("fill", page / "one-film.md", "of results", "a table"),
              ("sizes", page / "teaching.md", tmp_path / "teaching/sizes.json")]  # fmt: skip
    if rotated:
        wanted += [("fill", page / "intro.md", "answer", f"answer of {(rotation,)}"),
                   ("fill", page / "intro.md", "rotation", f"anatomy of {(rotation,)}"),
                   ("drawn", rotation, page / "figures/anatomy.png")]  # fmt: skip
    assert [entry for entry in told if entry[0] != "fold"] == wanted


def test_the_readme_has_the_answer_the_table_and_the_figure_of_the_rotation(stage, monkeypatch, tmp_path):
    told, rotation = [], tmp_path / stage.ROTATION
    monkeypatch.setattr(stage, "fill", lambda *given: told.append(given))
    monkeypatch.setattr(stage, "drawn", lambda *given: told.append(given))
    monkeypatch.setattr(stage, "answer", lambda folder: f"answer of {folder.name}")
    monkeypatch.setattr(stage, "anatomy", lambda folder: f"anatomy of {folder.name}")
    (tmp_path / "data/results/mine/summary.csv").write_text("finding,value\nMass,1\n")  # of another thing
    stage.readme()
    ((path, marker, text),) = told
    assert (path, marker) == (tmp_path / "README.md", "results") and len(text.splitlines()) == 2
    rotation.mkdir(parents=True)
    (rotation / "manifest.json").touch()
    told.clear()
    stage.readme()
    assert told[1:] == [(tmp_path / "README.md", "answer", "answer of rotation-nih-mini"),
                        (tmp_path / "README.md", "rotation", "anatomy of rotation-nih-mini"),
                        (rotation, tmp_path / "book/figures/anatomy.png")]  # fmt: skip


def test_a_page_is_filled_between_its_own_markers_and_one_of_another_benchmark_is_left(stage, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x -->\nold\n<!-- /x -->\nb\n<!-- xy -->\nkept\n<!-- /xy -->\n")
    stage.fill(page, "x", "\nnew\n")
    stage.fill(page, "x", "newer")
    assert page.read_text() == "a\n<!-- x -->\nnewer\n<!-- /x -->\nb\n<!-- xy -->\nkept\n<!-- /xy -->\n"
    folder = tmp_path / "data/results/benchmarks"
    folder.mkdir(parents=True)
    about = {"machine": {"cpu": "x", "cores": 2, "system": "Linux"}, "versions": {"torch": "2"}, "python": "3.11",
             "commit": "c" * 40, "dirty": False, "repeats": 5}  # fmt: skip
    rows = [{"method": "one", "ratio": 1.234, "unknown": 5, "seconds": 7.0}]
    for name, more in (("loss", {"device": "cuda"}), ("other", {})):
        growth = [{"films": 1000, "grown": 2.0}]
        (folder / f"{name}.json").write_text(json.dumps(about | {"rows": rows, "growth": growth} | more))
    places = "".join(f"<!-- loss {key} -->\nold\n<!-- /loss {key} -->\n" for key in ("rows", "growth"))
    page.write_text(places)
    stage.benchmarks(page)
    text = page.read_text()
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    lines = [[cell.strip() for cell in line] for line in lines]
    assert lines == [["", "seconds", "ratio"], ["one", "7", "1.23"], ["films", "processor time, times"], ["1,000", "2"]]
    said = f"*cuda; x, 2 cores, Linux; Python 3.11, torch 2; code `{'c' * 12}`; median of 5.*"
    assert text.count(said) == 2 and "old" not in text and "|:---" in text.replace(" ", "")


def test_the_figure_of_the_anatomy_is_of_its_findings_and_methods(stage, monkeypatch, tmp_path):
    from cmdml.plots import anatomy
    from cmdml.study import report

    told = []
    tables = {"findings": "f", "methods": "m"}
    monkeypatch.setattr(report, "load", lambda folder: tables if folder == tmp_path else None)
    monkeypatch.setattr(anatomy, "both", lambda *given: told.append(given) or SimpleNamespace(
        savefig=lambda path, **named: told.append((path, named["dpi"]))))  # fmt: skip
    stage.drawn(tmp_path, tmp_path / "a.png")
    assert told == [("f", "m"), (tmp_path / "a.png", 150)]


@pytest.mark.parametrize(("task", "given"), [("stage", ["runs/a"]), ("results", ["mine"]), ("readme", [])])
def test_results_fill_the_readme_and_a_book_does_not(monkeypatch, capsys, task, given):
    """The script's last lines, with functions of our own."""
    source = Path(load("book/stage.py").__file__).read_text(encoding="utf-8")
    last = source[source.index('if __name__ == "__main__":') :]
    told = []
    space = {"__name__": "__main__", "sys": sys}
    for name in ("stage", "results", "readme"):
        space[name] = lambda *given, name=name: told.append((name, *given)) or f"{name} done"
    monkeypatch.setattr(sys, "argv", ["stage.py", task, *given])
    exec(compile(last, "stage.py", "exec"), space)
    assert told == [(task, *given)] + ([("readme",)] if task == "results" else [])
    assert capsys.readouterr().out == ("" if task == "readme" else f"{task} done\n")
