"""What is committed and printed: results of this run and no other, intervals the right way round."""

import json
from pathlib import Path

import pandas as pd
import pytest
from scripts import load

from cmdml.files import sealed, write_json
from cmdml.study import report, results, run

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    module = load("book/stage.py")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "resolve", lambda path: tmp_path / path)
    return module


def evaluation(root, at, run="runs/mine", profile="mine", training=None, **about):
    """Results of one evaluation in ``<at>/evaluation``."""
    values = {"S": (0.9, 0.8, 0.95), "U": (0.61, 0.52, 0.7), "H": (0.73, 0.64, 0.81)}
    rows = [{"protocol": protocol, "metric": f"auroc_{m}", "value": v, "low": low, "high": high}
            for protocol in ("abnormal", "all") for m, (v, low, high) in values.items()]  # fmt: skip
    content = {"profile": profile, "semantics": "signs", "images_total": 5000, "images_test": 1200,
               "images_test_abnormal": 700,
               "parameters": {"run_dir": run, "training": training or f"{at}/training"}} | about  # fmt: skip

    def write_manifest(folder, file, files):
        write_json(folder / file, sealed(content | {"files": files}))

    return results.publish(root / at / "evaluation", {"summary": pd.DataFrame(rows)}, write_manifest)


def test_results_are_copied_with_their_variants(stage, tmp_path):
    evaluation(tmp_path, "runs/mine")
    evaluation(tmp_path, "runs/mine/variants/signs")
    out = stage.results("mine")
    found = {str(p.relative_to(out)) for p in out.rglob("*.*")}
    assert found == {"summary.csv", "manifest.json", "variants/signs/summary.csv", "variants/signs/manifest.json"}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"training": "runs/trials/x"}, "is of another training"),
        ({"trained_in": "runs/trials/x"}, "is of another training"),
        ({"run": "runs/other"}, "is of another run"),
        ({"profile": "other"}, "is of another profile, other"),
    ],
)
@pytest.mark.parametrize("at", ["runs/mine", "runs/mine/variants/signs"])
def test_what_is_not_the_run_s_own_is_refused_and_nothing_touched(stage, tmp_path, at, changed, sentence):
    old = tmp_path / "data/results/mine/summary.csv"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    evaluation(tmp_path, "runs/mine")
    evaluation(tmp_path, at, **changed)
    with pytest.raises(SystemExit, match=f"no results copied: .*{sentence}"):
        stage.results("mine")
    assert old.read_text() == "old"


def test_a_changed_table_is_refused(stage, tmp_path):
    (evaluation(tmp_path, "runs/mine") / "summary.csv").write_text("made up")
    with pytest.raises(SystemExit, match="no results copied: .*summary.csv is not the table"):
        stage.results("mine")
    with pytest.raises(SystemExit, match="runs/other holds no evaluation"):
        stage.results("other")


def test_the_readme_s_table(stage, tmp_path):
    evaluation(tmp_path, "runs/mine")
    stage.results("mine")
    (tmp_path / "README.md").write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    stage.readme()
    lines = (tmp_path / "README.md").read_text().splitlines()
    assert lines[:2] == ["before", "<!-- results -->"] and lines[-2:] == ["<!-- /results -->", "after"]
    numbers = "0.90 (0.80–0.95) | 0.61 (0.52–0.70) | 0.73 (0.64–0.81) |"
    assert lines[4:6] == [f"| mine, 5,000 | signs | abnormal | 700 | {numbers}",
                          f"| mine, 5,000 | signs | all | 1,200 | {numbers}"]  # fmt: skip
    (tmp_path / "README.md").write_text("no markers")
    with pytest.raises(ValueError, match="markers .* are missing"):
        stage.readme()


def measured(root, **about):
    content = {"benchmark": "scale", "commit": "c" * 40, "dirty": False, "python": "3.11", "versions": {"torch": "2"},
               "machine": {"cpu": "x", "cores": 2, "system": "Linux"}, "repeats": 1, "films": [1000],
               "rows": [{"method": "features", "films": 1000, "seconds": 12.345, "cpu_s": 20.0, "own_mib": 1234.5}],
               "load": [[4.21, 3, 2], [5.06, 4, 3]]} | about  # fmt: skip
    write_json(root / "data/results/benchmarks/scale.json", sealed(content))
    page = root / "performance.md"
    page.write_text("<!-- scale rows -->\nnothing\n<!-- /scale rows -->\n")
    return page


def test_a_benchmark_s_table_says_how_busy_the_machine_was(stage, tmp_path):
    page = measured(tmp_path)
    stage.benchmarks(page)
    text = page.read_text()
    assert "films |" in text and "processor seconds |" in text and "memory of its own, MiB |" in text
    assert [cell.strip() for cell in text.splitlines()[3].strip("|").split("|")] == ["features", "1,000", "12.3", "20",
                                                                                     "1,234"]  # fmt: skip
    assert "Load of the machine: 4.2 → 5.1." in text and "nothing" not in text


@pytest.mark.parametrize(("dirty", "said"), [(False, ""), (True, ", with changes")])
def test_a_benchmark_of_uncommitted_code_says_so(stage, tmp_path, dirty, said):
    page = measured(tmp_path, dirty=dirty)
    stage.benchmarks(page)
    assert f"code `{'c' * 12}{said}`;" in page.read_text()
    assert stage.code_of({"commit": None, "dirty": dirty}) == "unknown" + said


def test_a_benchmark_that_was_edited_is_refused(stage, tmp_path):
    page = measured(tmp_path)
    file = tmp_path / "data/results/benchmarks/scale.json"
    file.write_text(file.read_text().replace("12.345", "2.345"))
    with pytest.raises(ValueError, match=r"scale.json was edited since it was measured: measure again \(make bench\)"):
        stage.benchmarks(page)
    assert "nothing" in page.read_text()


def test_a_try_on_a_cluster_says_what_was_disturbed_and_what_arrived(stage, tmp_path):
    page = tmp_path / "reproducing.md"
    page.write_text("<!-- cluster -->\nnothing\n<!-- /cluster -->\n")
    stage.cluster(page)  # not tried yet
    assert "nothing" in page.read_text()
    jobs = pd.DataFrame({"method": ["a", "b", "c"], "arrived": [True, True, False], "same": [True, False, False]})
    run.publish(tmp_path / "data/results/cluster", {"jobs": jobs}, profile="nih-mini", parameters={}, seed=103, jobs=3,
                    submitted=4, events=[{"event": "cancelled", "job": "7"}, {"event": "controller killed", "job": ""},
                                         {"event": "controller started", "job": ""}], seconds=432)  # fmt: skip
    stage.cluster(page)
    text = " ".join(page.read_text().split())
    assert "3 jobs of design 103." in text and "nothing" not in text and "7 minutes" in text
    assert "cancelled with `scancel`, the controller was killed, the controller was started again." in text
    assert "4 submissions, 2 of 3 results arrived, and 1 of 3 hold bit for bit the scores" in text


def executed(folder, name, seconds, started, **about):
    """An executed notebook, as far as the status page reads it."""
    file = folder / f"notebooks/{name}.ipynb"
    file.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"papermill": {"duration": seconds, "start_time": started}, "cmdml": about}
    file.write_text(json.dumps({"metadata": metadata}))


def test_the_status_page_has_every_notebook_and_its_variants(stage, tmp_path):
    about = {"commit": "c" * 40, "dirty": True, "python": "3.11", "versions": {"torch": "2.9"},
             "machine": {"cpu": "x", "cores": 2, "system": "Linux"}}  # fmt: skip
    run_dir = tmp_path / "mine"
    executed(run_dir, "01_data", 60.0, "2026-01-02T03:04:05.6", **about)
    executed(run_dir, "03_training", 180.0, "2026-01-03T03:04:05.6", **about)
    executed(run_dir / "variants/signs", "03_training", 360.0, "2026-01-04T03:04:05.6", **about)
    text = stage.status(run_dir, ["01_data", "03_training"])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "ipynb" in line]
    assert [row[1:3] for row in rows] == [["1.0", "10%"], ["3.0", "30%"], ["6.0", "60%"]]
    assert [row[3][9] for row in rows] == ["2", "3", "4"] and all(row[3].endswith("03:04") for row in rows)
    assert ["signs" in row[0] for row in rows] == [False, False, True]
    assert "**mine**" in text and "10.0 minutes" in text and f"`{'c' * 12}`, with changes" in text
    assert "| python | 3.11 |" in text and "| torch | 2.9 |" in text and "2 cores, Linux" in text


def test_numbers_of_benchmarks_have_three_digits(stage):
    assert [stage._number(value) for value in (0.012345, 12.345, 999.4, 1234.5, -1234.5, float("nan"), "word", 7)] == [
        "0.0123", "12.3", "999", "1,234", "-1,234", "", "word", "7"]  # fmt: skip


def test_trials_of_reliability_are_added_up(stage, tmp_path):
    page = tmp_path / "reliability.md"
    page.write_text("".join(f"<!-- reliability {name} -->\nnothing\n<!-- /reliability {name} -->\n"
                            for name in ("kill", "about")))  # fmt: skip
    kill = pd.DataFrame({"what": ["a", "b"], "tried": [3, 4], "faults": [0, 1]})
    run.publish(tmp_path / "data/results/reliability", {"kill": kill}, profile="smoke", parameters={}, seed=11,
                tried={"kill": 3000, "race": 7}, planned={"kill": 4000, "race": 9}, faults=1, cores_used=1,
                skipped=["no room"])  # fmt: skip
    stage.reliability(page)
    text = page.read_text()
    assert "nothing" not in text and "3,007 trials of 4,009 planned, 1 faults. Seed 11" in text
    assert "Not tried: no room." in text
    lines = [line.strip("|") for line in text.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    assert rows == [["what", "tried", "faults"], ["a", "3", "0"], ["b", "4", "1"]]


def test_the_short_answer_names_the_highest_scorer_that_was_shown_no_labels(stage, monkeypatch):
    monkeypatch.setattr(stage, "ROOT", ROOT)
    folder = ROOT / stage.ROTATION
    text, table = stage.anatomy(folder), pd.read_csv(folder / "methods.csv")
    about = json.loads((folder / "manifest.json").read_text())
    table = table[(table.protocol == "abnormal") & (table.stratum == "none") & (table.metric == "U")]
    told_labels = {"view", "age", "sex", "source", "label_count", "ceiling", "ceiling_same_size"}
    best = max((row for row in table.itertuples() if row.method not in told_labels), key=lambda row: row.value)
    (line,) = [line for line in text.splitlines() if line.startswith("Highest U")]
    assert f"**{report.NAMES[best.method]}**, {best.value:.3f} ({best.low:.3f}–{best.high:.3f})" in line
    assert f"{about['films']:,} films, {about['abnormal']:,} of them" in line
    assert f"{sum(about['seconds'].values()) / 60:.0f} minutes" in line
    assert all(f"| {report.NAMES[method]} " in text for method in report.SHORT)
    assert "not run yet" not in line and "101, 102, 103, 104, 105" in line


def test_readme_s_results_are_the_main_run_first_then_its_words(stage, tmp_path):
    for name in ("signs", "shuffled", "description"):
        evaluation(tmp_path, f"runs/mine/variants/{name}", semantics=name)
    evaluation(tmp_path, "runs/mine", semantics="main")
    stage.results("mine")
    evaluation(tmp_path, "runs/phantom", run="runs/phantom", profile="phantom")
    stage.results("phantom")
    (tmp_path / "README.md").write_text("<!-- results -->\n<!-- /results -->\n")
    stage.readme()
    rows = [line.split(" | ")[:3] for line in (tmp_path / "README.md").read_text().splitlines() if ", 5,000 |" in line]
    told = ["signs", "main", "description", "signs", "shuffled"]
    assert [row[1] for row in rows[::2]] == told and [row[2] for row in rows] == ["abnormal", "all"] * 5
    assert rows[0][0].startswith("| phantom")
