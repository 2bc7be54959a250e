"""The teaching kit: the lab runs, the check says what is missing, the deck holds the results and loads nothing."""

import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from browser import NAMES, browser
from scripts import load

from cmdml.findings import KEYS, load_findings
from cmdml.study import report, run

ROOT = Path(__file__).resolve().parents[1]
LAB = ROOT / "teaching/lab.ipynb"


@pytest.fixture
def check():
    return load(ROOT / "teaching/check_install.py")


@pytest.fixture(scope="module")
def slides():
    return load(ROOT / "teaching/make_slides.py")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """{cell: its outputs as text} of the lab, run with four unseen findings of its own."""
    out = run.execute(LAB, tmp_path_factory.mktemp("lab") / "lab.ipynb", {"unseen": "Mass,Effusion,Edema,Infiltration"})
    told = {}
    for cell in json.loads(out.read_text())["cells"]:
        parts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.get("outputs", [])]
        told[cell["id"]] = "\n".join("".join(part) for part in parts)
    return told


def test_the_lab_runs_and_answers(lab):
    assert "unseen: Effusion, Infiltration, Mass, Edema" in lab["lab-setup"]
    assert len(re.search("highest: (.*)", lab["lab-scores"])[1].split(", ")) == 5
    assert "Edema" in lab["lab-truth"] and "test film" in lab["lab-truth"]
    by_hand, package = re.search(r"by hand ([\d.]+), by the package ([\d.]+)", lab["lab-by-hand"]).groups()
    assert by_hand == package
    for name in ("own signs", "another finding's signs", "illness alone"):
        assert name in lab["lab-swapped"]
    assert "seen" in lab["lab-own-scores"] and "ceiling" in lab["lab-anatomy"]
    assert not any("Traceback" in text for text in lab.values())


def test_the_lab_is_stripped_and_its_parameters_are_explained():
    cells = json.loads(LAB.read_text())["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
    (first,) = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    assert all("  # " in line for line in "".join(first["source"]).splitlines())
    assert set(run.declared_parameters(LAB)) == {"unseen", "film", "gamma", "my_findings", "seed"}


def test_the_lab_s_minutes_are_those_of_the_page():
    text = "\n".join("".join(cell["source"]) for cell in json.loads(LAB.read_text())["cells"])
    asked = re.findall(r"^## \d · .*\(minutes (\d+) to (\d+)\)", text, re.M)
    page = (ROOT / "book/teaching.md").read_text().partition("## Add your own")[0]
    planned = re.findall(r"^\| (\d+)–(\d+) \| (?:a vote|swap|γ by|your own|what is|exit)", page, re.M)
    assert asked == planned and asked[0][0] == "0" and asked[-1][1] == "90"
    assert all(a[1] == b[0] for a, b in zip(asked, asked[1:]))


def test_the_printed_finding_is_the_shipped_file_and_its_code_runs(tmp_path, monkeypatch, capsys):
    page = (ROOT / "book/teaching.md").read_text(encoding="utf-8")
    (block,), (code,) = (re.findall(rf"```{kind}\n(.*?)```", page, re.S) for kind in ("yaml", "python"))
    assert yaml.safe_load(block) == yaml.safe_load((ROOT / "teaching/my_findings.yaml").read_text())
    (tmp_path / "my_findings.yaml").write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "teaching", "exec"), space := {})
    assert [f.key for f in space["findings"]] == [*KEYS, "Lung_Abscess"] and space["vectors"].shape == (15, 384)
    assert capsys.readouterr().out.strip() in {finding.name for finding in load_findings()}


def test_tables_of_lessons_fill_ninety_minutes():
    page = (ROOT / "book/teaching.md").read_text()
    for lesson in re.split(r"^### ", page, flags=re.M)[1:]:
        spans = [tuple(map(int, span)) for span in re.findall(r"^\| (\d+)–(\d+) \|", lesson, re.M)]
        assert spans[0][0] == 0 and spans[-1][1] == 90 and all(a[1] == b[0] for a, b in zip(spans, spans[1:]))


def test_ready(check, capsys):
    check.main([])
    out = capsys.readouterr().out
    assert out.rstrip().endswith("ready") and "features of the films" in out and " through " in out


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda check, mp: mp.setattr(check.sys, "version_info", (3, 10, 1)), "is too old, 3.11 or newer"),
        (lambda check, mp: mp.setattr(check, "NEEDED", ("numpy", "no-such-package")), "no-such-package is missing"),
        (lambda check, mp: mp.setattr(check, "locked", lambda: {"torch": ["0.1"]}), "is not the 0.1 of requirements"),
        (lambda check, mp: mp.setattr(check, "ROOT", Path("/nowhere")), "data/features is missing"),
        (lambda check, mp: mp.setattr(check, "forward", lambda: check.sys.exit("Not ready: the forward pass stopped")),
         "the forward pass stopped"),
    ],
)  # fmt: skip
def test_not_ready_in_one_sentence(check, monkeypatch, break_it, says):
    break_it(check, monkeypatch)
    with pytest.raises(SystemExit, match=says) as stopped:
        check.main([])
    assert str(stopped.value).startswith("Not ready: ") and "\n" not in str(stopped.value)


def test_a_forward_pass_that_fails_is_not_ready(check, monkeypatch):
    monkeypatch.setattr(check, "ROOT", Path("/nowhere"))
    with pytest.raises(SystemExit, match="Not ready: the forward pass stopped"):
        check.forward()


def test_local_builds_are_the_same_version(check, monkeypatch):
    monkeypatch.setattr(check, "NEEDED", ("torch",))
    monkeypatch.setattr(check.metadata, "version", lambda name: "2.9.1+cpu")
    monkeypatch.setattr(check, "locked", lambda: {"torch": ["2.9.1"]})
    assert check.versions()["torch"] == "2.9.1+cpu"


def test_sizes_are_counted(check, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one").write_bytes(b"123")
    (tmp_path / "two").write_bytes(bytes(9000))
    (tmp_path / "link").symlink_to(tmp_path / "two")
    assert check.size(tmp_path / "a") == 3 and 9003 < check.size(tmp_path) < 9003 + 4096
    found = check.sizes()
    assert found["features of the films"] > 4e6 and "environment" not in found


def test_the_lock_is_read(check, tmp_path):
    lines = ["torch==2.9.1 \\", "    --hash=sha256:0", "numpy==2.3.5 ; python_version < '3.12' \\", "numpy==2.4.0 ; x"]
    (tmp_path / "lock").write_text("\n".join(lines))
    assert check.locked(tmp_path / "lock") == {"torch": ["2.9.1"], "numpy": ["2.3.5", "2.4.0"]}
    assert set(check.NEEDED) <= set(check.locked())


def test_the_deck_holds_the_results_and_loads_nothing(slides, tmp_path):
    page = slides.main(tmp_path / "deck/slides.html").read_text(encoding="utf-8")
    text = (ROOT / "teaching/slides.md").read_text(encoding="utf-8")
    assert page.count("<section>") == len(re.findall(r"^---$", text, re.M)) + 1 == len(re.findall(r"^# ", text, re.M))
    assert not re.findall(r'(?:src|href)="(?!data:)', page) and "@import" not in page and "url(" not in page
    assert page.count("<img") == page.count('src="data:image/svg+xml;base64,') == text.count("![")
    assert all(len(alt) > 15 for alt in re.findall(r'<img alt="(.*?)"', page))
    tables = report.load("data/results/rotation-nih-mini")
    row = report.pick(tables["methods"], method="focused", protocol="abnormal", stratum="none", metric="U").iloc[0]
    assert report.cell(row) in page and f"{tables['manifest']['films']:,}" in page
    assert not re.search(r"\{[a-z]+\}", re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.S))


def test_a_deck_that_asks_for_what_is_not_there(slides):
    with pytest.raises(ValueError, match=r"asks for \{flims\}"):
        slides.deck("# One\n\n{flims} films", {"films": "3"}, {})
    with pytest.raises(ValueError, match="asks for figure:anatmy"):
        slides.deck("# One\n\n![x](figure:anatmy)", {}, {"anatomy": "data:"})
    page = slides.deck("# A < B\n\n{n}\n\n---\n\n# Two\n\n| a |\n|---|\n| 1 |", {"n": "3,000"}, {})
    assert "<title>A &lt; B</title>" in page and "<p>3,000</p>" in page and "<td>1</td>" in page
    page = slides.deck('# One\n\n![a < b, "c"](figure:x)', {}, {"x": "data:"})
    assert '<img alt="a &lt; b, &quot;c&quot;" src="data:">' in page


@pytest.mark.skipif(
    not any(map(shutil.which, NAMES)) or importlib.util.find_spec("playwright") is None,
    reason="no Chromium on this machine, or no Playwright for Python",
)
def test_the_deck_is_walked_by_keys_and_clicks(slides, tmp_path):
    (tmp_path / "deck.html").write_text(slides.deck("# One\n\n---\n\n# Two\n\n---\n\n# Three", {}, {}))
    numbers = {"One": "1 / 3", "Two": "2 / 3", "Three": "3 / 3"}
    with browser() as running:
        page = running.new_page(viewport={"width": 900, "height": 600})
        page.goto((tmp_path / "deck.html").as_uri())

        def shown():
            (title,) = page.locator("section:visible h1").all_inner_texts()
            assert page.inner_text("footer") == numbers[title]
            return title

        assert shown() == "One"
        for key, title in (("ArrowRight", "Two"), ("Space", "Three"), ("PageDown", "Three"), ("Home", "One"),
                           ("PageUp", "One"), ("End", "Three"), ("ArrowLeft", "Two"), ("a", "Two")):  # fmt: skip
            page.keyboard.press(key)
            assert shown() == title, key
        for x, title in ((800, "Three"), (400, "Three"), (200, "Two"), (400, "Three"), (200, "Two")):
            page.mouse.click(x, 500)
            assert shown() == title, x
        page.reload()
        assert shown() == "Two"  # where it was
        page.evaluate("window.print = () => { window.printed = true; }")
        page.keyboard.press("p")
        assert page.evaluate("window.printed")
        page.emulate_media(media="print")
        assert page.locator("section:visible").count() == 3 and page.locator("footer:visible").count() == 0


def test_sizes_reach_the_page(tmp_path):
    stage, page = load(ROOT / "book/stage.py"), tmp_path / "page.md"
    page.write_text("before\n<!-- sizes -->\nnothing\n<!-- /sizes -->\nafter")
    stage.sizes(page, tmp_path / "absent.json")
    assert "nothing" in page.read_text()
    about = {"bytes": {"wheels": 2_500_000_000, "films": 90_000}, "system": "Linux", "python": "3.12.1"}
    (tmp_path / "sizes.json").write_text(json.dumps(about))
    stage.sizes(page, tmp_path / "sizes.json")
    text = page.read_text()
    assert "2,500.0" in text and "0.1" in text and "Linux, Python 3.12.1" in text and text.startswith("before")
    assert "<!-- sizes -->" in (ROOT / "book/teaching.md").read_text()


def test_commands_of_the_page_are_targets():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"^make ([a-z-]+)", (ROOT / "book/teaching.md").read_text(), re.M))
    assert {"slides", "wheels", "check-install"} <= named <= targets


def test_what_a_laptop_needs_is_measured_and_kept(check, monkeypatch, tmp_path, capsys):
    asked = []
    for name, place in check.SHIPPED.items():
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "file").write_bytes(b"x" * len(name))
    (tmp_path / "_build/wheels").mkdir(parents=True)
    (tmp_path / "_build/wheels/a.whl").write_bytes(b"x" * 1_540_000)
    (tmp_path / "prefix").mkdir()
    (tmp_path / "prefix/python").write_bytes(b"x" * 77)
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check.sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setattr(check, "versions", lambda: {"numpy": "2.0"})
    monkeypatch.setattr(check, "forward", lambda: asked.append("forward") or "a film through a head")
    monkeypatch.setattr(check.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(check.platform, "python_version", lambda: "3.13.1")
    check.main(["--sizes", str(tmp_path / "sizes.json")])
    kept = json.loads((tmp_path / "sizes.json").read_text())
    wanted = {name: len(name) for name in check.SHIPPED} | {"archive of wheels": 1_540_000, "environment": 77}
    assert kept == {"bytes": wanted, "system": "Darwin", "python": "3.13.1"} and asked == ["forward"]
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["numpy", "2.0"] and lines[-1] == ["ready"] and lines[-2] == "a film through a head".split()
    assert ["archive", "of", "wheels", "1.5", "MB"] in lines
    assert set(check.SHIPPED.values()) == {f"data/{name}" for name in ("features", "films", "semantics", "heads",
                                                                       "results")}  # fmt: skip
    (tmp_path / "data/semantics/file").unlink()
    (tmp_path / "data/semantics").rmdir()
    with pytest.raises(SystemExit, match="Not ready: data/semantics is missing; fetch the repository again."):
        check.main([])
    assert asked == ["forward"] and check.size(tmp_path / "sizes.json") == (tmp_path / "sizes.json").stat().st_size


def test_the_film_of_the_forward_pass_is_the_first_that_is_shipped(check, monkeypatch):
    import cmdml

    shown = []
    monkeypatch.setattr(cmdml, "predict", lambda films: shown.append(films) or SimpleNamespace(table=range(14)))
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(check.time, "perf_counter", lambda: next(clock))
    first = min((ROOT / "data/films").glob("*.png"))
    assert check.forward() == f"{first.name} through a trained head: 14 findings, 2.5 s" and shown == [[str(first)]]
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(cmdml, "predict", lambda films: (_ for _ in ()).throw(ValueError("no\n  film")))
    with pytest.raises(SystemExit, match=r"Not ready: the forward pass stopped \(no film\)\."):
        check.forward()


def test_without_heads_the_closed_form_scores_all_films_told_signs(check, monkeypatch, tmp_path):
    from cmdml import closed_form
    from cmdml.feature_set import FeatureSet
    from cmdml.findings import findings_of
    from cmdml.semantics import semantic_vectors

    asked, eszsl = [], closed_form.eszsl
    monkeypatch.setattr(closed_form, "eszsl", lambda *given: asked.append(given) or eszsl(*given))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/features").symlink_to(ROOT / "data/features")
    monkeypatch.setattr(check, "ROOT", tmp_path)
    assert check.forward().startswith("2,591 films through the closed form: 14 findings each, ")
    ((_, labels, x, seen, every, *_),) = asked
    films = FeatureSet.load(ROOT / "data/features/nih-mini-efficientnet_lite0")
    assert (labels == films.labels[:, :10]).all() and (x == films.pixels).all()
    vectors = semantic_vectors(findings_of(films.findings)).numpy()
    assert (every == vectors).all() and (seen == vectors[:10]).all()
    monkeypatch.setattr(closed_form, "eszsl", lambda *given: given[2] * float("nan"))
    with pytest.raises(SystemExit, match="scores are no numbers"):
        check.forward()


def test_the_numbers_of_the_deck_are_those_of_the_tables(slides):
    tables = report.load("data/results/rotation-nih-mini")
    told, about = slides.values(tables), tables["manifest"]
    assert (told["films"], told["abnormal"]) == (f"{about['films']:,}", f"{about['abnormal']:,}")
    assert told["designs"] == str(len(about["designs"])) and about["commit"][:12] in told["commit"]
    assert about["commit"][:13] not in told["commit"]
    told_of_none = slides.values(tables | {"manifest": about | {"commit": None}})
    assert told_of_none["commit"] == "From results of commit unknown"
    seeds = slides.traps.by_seed(slides.traps.load_sweep(ROOT / "data/results/sweep-nih")["metrics"])
    chosen = slides.traps.winners(seeds)
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in told["chosen"].splitlines()]
    at = {name: head.index(f"U in {words}") for name, words in (("printed", "the seed it won"),
                                                               ("again", "the other seeds"))}  # fmt: skip
    assert len(rows) == len(chosen)
    for row, found in zip(rows, chosen.itertuples()):
        for name, column in at.items():
            assert float(row[column]) == pytest.approx(getattr(found, name), abs=6e-3)
    assert "U, gain over illness" in told["headline"].splitlines()[0] and " S |" not in told["headline"]
    for row in report.pick(tables["methods"], method="focused", metric="U", stratum="none").itertuples():
        assert row.protocol not in ("abnormal", "all") or f"{row.value:.2f}" in told["protocols"]


def test_the_figures_of_the_deck_are_drawn_of_unseen_findings_among_films_with_one(slides, monkeypatch):
    tables, drawn = report.load("data/results/rotation-nih-mini"), {}
    films = slides.FeatureSet.load(ROOT / "data/features/nih-mini-efficientnet_lite0")
    monkeypatch.setattr(slides.anatomy, "anatomy", lambda *given: drawn.update(anatomy=given) or
                        given[2].plot(1, 1, label="a"))  # fmt: skip
    monkeypatch.setattr(slides.drawn, "alone", lambda *given: drawn.update(view=given))
    monkeypatch.setattr(slides.drawn, "quadruples", lambda *given: drawn.update(split=given))
    monkeypatch.setattr(slides.traps, "alone", lambda *given: given)
    monkeypatch.setattr(slides.traps, "quadruple_gains", lambda given: given)
    found = slides.pictures(tables, films)
    assert set(found) == {"loss", "anatomy", "view", "split"} and len(set(found.values())) == 4
    assert all(address.startswith("data:image/svg+xml;base64,") for address in found.values())
    findings, methods, _ = drawn["anatomy"]
    for table in (findings, methods):
        assert set(table.protocol) == {"abnormal"} and set(table.stratum) == {"none"} and len(table)
    assert set(methods.metric) == {"U"}
    table, keys, mask = drawn["view"][0]
    assert table is films.table and keys == films.findings and mask.equals(films.table["view"] == "AP")
    assert drawn["view"][2] == "AUROC of AP alone" and drawn["split"][0] is tables["coverage"]
