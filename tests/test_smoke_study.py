"""The ``smoke`` study from its first job to a rendered book, warnings as errors: a minute and a half."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import browser
from check import Look, broken_links, page_faults
from sklearn.metrics import average_precision_score, roc_auc_score
from test_book_in_browser import needs_chromium

from cmdml.findings import DEFAULT_UNSEEN, KEYS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of the run and that of the pages."""
    folder = tmp_path_factory.mktemp("study")
    given = ["profile=smoke", f"run_dir={json.dumps(str(folder / 'smoke'))}"]
    made = [sys.executable, "-m", "snakemake", "--cores", "2", "--nolock", "--config", *given, "--", "stage"]
    done = subprocess.run(made, cwd=ROOT, capture_output=True, text=True)
    stopped = [line for line in (done.stdout + done.stderr).splitlines() if " stopped. " in line]
    assert done.returncode == 0, "\n".join([(done.stdout + done.stderr)[-4000:], *stopped])
    build = [str(Path(sys.executable).with_name("jupyter-book")), "build", "--path-output", str(folder)]
    done = subprocess.run([*build, "-n", "-W", "--keep-going", str(folder / "smoke/book")], cwd=folder,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return folder / "smoke", folder / "_build/html"


def naive(run, place=""):
    """{(protocol, metric): value} of S, U and H, from the training's embeddings and the table, finding by finding."""
    table = pd.read_csv(run / "radiographs/table.csv")
    with np.load(run / place / "training/embeddings.npz") as file:
        scores = dict(zip(file["index"].tolist(), file["scores"].astype(float), strict=True))
    found = {}
    for protocol in ("abnormal", "all"):
        rows = [row for row in table.index[table.split == "test"]
                if protocol == "all" or any(table.loc[row, key] for key in KEYS)]  # fmt: skip
        for name, measure in (("auroc", roc_auc_score), ("ap", average_precision_score)):
            each = {}
            for c, key in enumerate(KEYS):
                labels = table.loc[rows, key].to_numpy()
                if 0 < labels.sum() < len(labels):
                    each[key] = measure(labels, [scores[row][c] for row in rows])
            s = np.mean([value for key, value in each.items() if key not in DEFAULT_UNSEEN])
            u = np.mean([value for key, value in each.items() if key in DEFAULT_UNSEEN])
            found |= {(protocol, f"{name}_S"): s, (protocol, f"{name}_U"): u,
                      (protocol, f"{name}_H"): 2 * s * u / (s + u)}  # fmt: skip
    return found


@pytest.mark.parametrize("place", ["", "variants/shuffled"])
def test_chapter_4_s_numbers_are_those_of_the_training(study, place):
    summary = pd.read_csv(study[0] / place / "evaluation/summary.csv").set_index(["protocol", "metric"])
    for key, value in naive(study[0], place).items():
        row = summary.loc[key]
        assert row.value == pytest.approx(value, abs=1e-5), key
        assert row.low <= row.value <= row.high and row.low < row.high, key
    about = json.loads((study[0] / place / "evaluation/manifest.json").read_text())
    assert about["profile"] == "smoke" and about["unseen"] == list(DEFAULT_UNSEEN)
    assert about["semantics"] == ("shuffled" if place else "signs_text")


def test_the_variant_is_another_training(study):
    assert naive(study[0]) != naive(study[0], "variants/shuffled")


def test_the_book_shows_the_numbers_and_every_chapter(study):
    run, pages = study
    for name in ("01_data", "02_semantics", "03_training", "04_evaluation", "05_embeddings", "06_ablation",
                 "09_own_finding"):  # fmt: skip
        assert (pages / f"notebooks/{name}.html").is_file(), name
    row = pd.read_csv(run / "evaluation/summary.csv").set_index(["protocol", "metric"]).loc[("abnormal", "auroc_U")]
    shown = f"{row.value:.2f} ({row.low:.2f}–{row.high:.2f})"
    assert shown in (pages / "notebooks/04_evaluation.html").read_text(encoding="utf-8")


def test_no_link_of_the_book_is_broken(study):
    assert broken_links(study[1]) == []


@pytest.fixture(scope="module")
def look():
    with browser() as running:
        yield Look(running, "dark")


# Every page in both themes: `make check-book`.
@needs_chromium
@pytest.mark.parametrize("name", ["book/methods", "book/evidence", "notebooks/04_evaluation", "genindex"])
def test_a_page_has_no_fault_in_a_browser(study, look, name):
    assert page_faults(look, study[1] / f"{name}.html") == []


@needs_chromium
def test_a_term_is_explained_on_focus_and_on_hover(study, look):
    look.open(study[1] / "book/methods.html")
    term = look.page.locator("a.term", has_text="closeness").first
    tip = look.page.get_by_role("tooltip")
    term.focus()
    assert "between 0 and 1" in tip.inner_text() and tip.locator("math").count() == 1
    look.page.keyboard.press("Escape")
    assert tip.count() == 0
    term.hover()
    assert tip.is_visible()


@needs_chromium
def test_a_figure_is_enlarged_and_keeps_its_text(study, look):
    look.open(study[1] / "book/methods.html")
    figure = look.page.locator("main figure button.zoom").first
    alt = figure.locator("img").get_attribute("alt")
    assert len(alt) > 50
    figure.focus()
    look.page.keyboard.press("Enter")
    large = look.page.locator("dialog#zoom img")
    assert large.is_visible() and large.get_attribute("alt") == alt
    assert large.bounding_box()["width"] > figure.bounding_box()["width"]
    look.page.keyboard.press("Escape")
    assert not large.is_visible()


@needs_chromium
def test_formulas_have_their_font_and_brackets_grow(study, look):
    look.open(study[1] / "book/methods.html")
    assert look.page.evaluate("() => document.fonts.ready.then(() => document.fonts.check('16px \"STIX Two Math\"'))")
    tallest, letter = look.page.evaluate("""() => {
      const height = mark => mark.getBoundingClientRect().height;
      const marks = [...document.querySelectorAll('div.math mo')].filter(mark => mark.textContent === '(');
      return [Math.max(...marks.map(height)), Math.min(...marks.map(height))];
    }""")
    assert tallest > 1.5 * letter


def test_parameters_are_folded_and_what_was_injected_is_no_cell_of_its_own(study):
    page = (study[1] / "notebooks/04_evaluation.html").read_text(encoding="utf-8")
    assert "# The values of this run" in page and ">Parameters</p>" in page and ">Set-up</p>" in page
    assert "tag_injected-parameters" not in page
