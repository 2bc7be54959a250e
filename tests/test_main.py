"""The command line, as a user types it."""

import io
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from film_files import dicom, jpeg, phantoms
from PIL import Image
from typer.testing import CliRunner

from cmdml.__main__ import app
from cmdml.findings import KEYS

ABSCESS = "Lung abscess: opacity, lucency, round, air-fluid level"


def cmdml(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    pixels = phantoms(5)
    Image.fromarray(pixels[0]).save(folder / "a.png")
    (folder / "b.jpg").write_bytes(jpeg(pixels[1]))
    Image.fromarray(pixels[2].astype(np.uint16) * 257).save(folder / "c.png")
    dicom(folder / "d.dcm", 4095 - pixels[3].astype(np.uint16) * 16, kind="MONOCHROME1")
    dicom(folder / "e.dcm", pixels[4].astype(np.uint16) * 16)
    return folder


def test_a_film_of_each_kind_ranked(films):
    for name in ("a.png", "b.jpg", "c.png", "d.dcm", "e.dcm"):
        done = cmdml("predict", films / name, "--run", "phantom")
        assert done.exit_code == 0, done.output
        assert done.stdout.startswith("Not a medical device.") and "percentile" in done.stdout
        rows = [line for line in done.stdout.splitlines() if " seen " in line or " unseen " in line]
        assert len(rows) == 14


def test_a_folder_with_one_bad_file(films, tmp_path):
    (tmp_path / "bad.png").write_text("no film")
    done = cmdml("predict", films, tmp_path / "bad.png", "--run", "phantom", "--csv", "-")
    assert done.exit_code == 1
    table = pd.read_csv(io.StringIO(done.stdout))
    assert table["film"].nunique() == 5 and len(table) == 5 * 14 and set(table["notice"]) == {"not a medical device"}
    assert set(table["finding"]) == set(KEYS) and table["percentile"].between(0, 100).all()
    sentences = [line for line in done.stderr.splitlines() if "bad.png" in line]
    assert len(sentences) == 1 and "cannot be read as an image" in sentences[0]


def test_own_words_in_json(films):
    words = ("--finding", ABSCESS, "--signs", "opacity,focal")
    done = cmdml("predict", films / "a.png", "--run", "phantom", *words, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["notice"] == "not a medical device"
    assert [words["name"] for words in found["own_words"]] == ["Lung abscess", "signs: opacity, focal"]
    kinds = [row["kind"] for row in found["films"][0]["findings"]]
    assert kinds.count("own words") == 2 and len(kinds) == 16


def test_own_words_on_a_terminal(films):
    done = cmdml("predict", films / "a.png", "--run", "phantom", "--finding", "Mine: lucency, hyperinflation")
    assert "Mine: leans on" in done.stdout and "No seen finding has hyperinflation" in done.stdout


def test_without_a_run_the_real_head_scores_and_says_so(films):
    pytest.importorskip("timm")
    done = cmdml("predict", films / "a.png")
    assert "no --run given" in done.stderr and "nih-mini" in done.stderr
    assert "WARNING: unlike the films of the training" in done.stdout  # a phantom is no film


def test_a_csv_file_and_warnings_on_stderr(films, tmp_path):
    from skimage import data

    Image.fromarray(data.cat()).save(tmp_path / "cat.png")
    done = cmdml("predict", tmp_path / "cat.png", "--run", "phantom", "--csv", tmp_path / "scores.csv")
    assert done.exit_code == 0 and "unlike the films" in done.stderr and "Not a medical device" in done.stdout
    assert "unlike the films" in pd.read_csv(tmp_path / "scores.csv")["warnings"][0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["a.png", "--run", "phantm"], "did you mean 'phantom'"), (["none.png", "--run", "phantom"], "no such file"),
     (["a.png", "--run", "phantom", "--signs", "rund"], "did you mean 'round'"),
     (["a.png", "--run", "phantom", "--where", "Mas"], "did you mean 'Mass'"),
     (["a.png", "--run", "phantom", "--heatmap", "x.png", "--where", "Mas"], "did you mean 'Mass'")],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence(films, words, sentence):
    done = cmdml("predict", films / words[0], *words[1:])
    assert done.exit_code in (1, 2) and sentence in done.stderr and "Traceback" not in done.output
    assert len([line for line in done.stderr.splitlines() if line.startswith("cmdml:")]) == 1


def test_a_heat_map_is_of_one_film(films, tmp_path):
    pytest.importorskip("captum")
    words = ("--heatmap", tmp_path / "h.png", "--where", "pleural-thickening")
    done = cmdml("predict", films / "a.png", "--run", "phantom", *words)
    assert done.exit_code == 0 and (tmp_path / "h.png").is_file() and "Pleural_Thickening" in done.stderr
    assert cmdml("predict", films, "--heatmap", tmp_path / "i.png").exit_code == 2


def test_export_copies_a_head(tmp_path):
    done = cmdml("export", "phantom", tmp_path / "mine")
    assert done.exit_code == 0 and (tmp_path / "mine" / "seal.json").is_file() and "MB" in done.stdout
    assert cmdml("predict", tmp_path, "--run", tmp_path / "mine").exit_code == 2  # a folder without films


def test_the_module_is_the_command_and_calls_itself_so():
    done = subprocess.run([sys.executable, "-m", "cmdml", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "Usage: cmdml " in done.stdout


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What the scoring was asked, and an answer of two films with two warnings each."""
    given = SimpleNamespace(predict=[], heatmap=[], run=[])
    head = SimpleNamespace(card={"name": "made", "data": {"title": "Made films"}})
    films = tuple(SimpleNamespace(path=tmp_path / name, warnings=(f"{name} odd", f"{name} strange"))
                  for name in ("a.png", "b.png"))  # fmt: skip

    class Done(SimpleNamespace):
        def ranked(self, film):
            assert film is films[0]
            return [{"finding": "Hernia"}, {"finding": "Mass"}]

    done = Done(films=films, names=KEYS, failed=(), set_aside=4, table=pd.DataFrame({"film": ["x"], "score": [0.5]}),
                to_dict=lambda: {"plain": "ä"})  # fmt: skip
    monkeypatch.setattr("cmdml.runs.open_run", lambda run: given.run.append(run) or head)
    monkeypatch.setattr("cmdml.prediction.predict", lambda *words, **options: given.predict.append(
        (words, options)) or done)  # fmt: skip
    monkeypatch.setattr("cmdml.explain.write_heatmap", lambda *words: given.heatmap.append(words) or words[-1])
    given.done, given.head = done, head
    (tmp_path / "a.png").write_text("x")
    return given


def test_every_word_of_the_command_reaches_the_scoring(asked, tmp_path):
    words = ("--finding", "A: round", "--finding", "B: focal", "--signs", "opacity", "--text", "one", "--text", "two")
    done = cmdml("predict", tmp_path / "a.png", tmp_path / "b.png", "--run", "mine", *words, "--csv", "-")
    assert done.exit_code == 0 and done.stdout == "film,score\nx,0.5\n"
    assert cmdml("predict", tmp_path / "a.png", "--json").stdout == '{\n "plain": "ä"\n}\n'
    films = [tmp_path / "a.png", tmp_path / "b.png"]
    told = {"findings": ["A: round", "B: focal"], "signs": "opacity", "texts": ["one", "two"], "progress": True}
    none = {"findings": (), "signs": "", "texts": (), "progress": True}
    assert asked.predict == [((films, asked.head), told), ((films[:1], asked.head), none)]
    assert asked.run == ["mine", None]
    said = done.stderr.splitlines()
    for film in films:  # what makes a score doubtful is said beside the table, of every film
        for word in ("odd", "strange"):
            assert f"cmdml: {film}: {film.name} {word}" in said
    assert "cmdml: 4 files of the folders are no images and were left aside" in said
    assert len(said) == 5  # none more: a run was named


def test_the_heat_map_is_of_the_first_finding_or_of_the_one_that_is_named(asked, tmp_path):
    for where, finding in (((), "Hernia"), (("--where", "pleural thickening"), "Pleural_Thickening")):
        done = cmdml("predict", tmp_path / "a.png", "--heatmap", tmp_path / "h.png", *where, "--json")
        assert done.exit_code == 0 and finding in done.stderr
        assert asked.heatmap.pop() == (asked.done, tmp_path / "a.png", finding, tmp_path / "h.png")
    for films in ((tmp_path,), (tmp_path / "a.png", tmp_path / "b.png")):
        assert cmdml("predict", *films, "--heatmap", tmp_path / "h.png").exit_code == 2
    assert cmdml("predict", tmp_path / "a.png", "--json", "--csv", "-").exit_code == 2 and not asked.heatmap


@pytest.mark.parametrize("terminal", [False, True])
def test_predictions_are_drawn_on_a_terminal_alone(asked, monkeypatch, tmp_path, terminal):
    shown = []
    monkeypatch.setattr("cmdml.printing.print_predictions", lambda *given: shown.append(given))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: terminal))
    app(["predict", str(tmp_path / "a.png"), "--run", "mine"], standalone_mode=False)
    assert shown == [(asked.done, terminal)]


def test_a_film_that_could_not_be_read_is_said_and_the_others_are_scored(asked, tmp_path):
    asked.done.failed = ((tmp_path / "c.png", "no film"), (tmp_path / "d.png", f"{tmp_path / 'd.png'} is none"))
    done = cmdml("predict", tmp_path / "a.png", "--run", "mine", "--csv", tmp_path / "t.csv", "--json")
    assert done.exit_code == 1 and json.loads(done.stdout) == {"plain": "ä"}
    assert (tmp_path / "t.csv").read_text() == "film,score\nx,0.5\n"
    said = done.stderr.splitlines()
    assert f"cmdml: {tmp_path / 'c.png'}: no film" in said and f"cmdml: {tmp_path / 'd.png'} is none" in said
    assert f"cmdml: {tmp_path / 't.csv'}: 2 films" in said


def test_export_writes_one_file_or_the_folder(asked, tmp_path, monkeypatch):
    (tmp_path / "one.onnx").write_bytes(bytes(1_230_000))
    (tmp_path / "many").mkdir()
    for name in "ab":
        (tmp_path / "many" / name).write_bytes(bytes(500_000))
    called = []
    for kind in ("export_onnx", "copy_head"):
        monkeypatch.setattr(f"cmdml.export.{kind}", lambda head, out, kind=kind: called.append((kind, head)) or out)
    assert "1.23 MB" in cmdml("export", "mine", tmp_path / "one.onnx", "--onnx").stdout
    assert "1.00 MB" in cmdml("export", "other", tmp_path / "many").stdout
    assert called == [("export_onnx", asked.head), ("copy_head", asked.head)] and asked.run == ["mine", "other"]
