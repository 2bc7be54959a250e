import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import papermill
import pytest

from cmdml.files import is_sealed
from cmdml.study import results, run

DECLARED = """gamma: float = 2.0  # focusing exponent; 0 = no focusing
epochs: int = 3
unseen: str = "default"
compare: list = []
deep: bool = False"""


def history(*cells, **values):
    """What a notebook's globals() look like while the cell after `cells` runs."""
    namespace = {}
    for cell in cells:
        exec(cell, namespace)
    return {**namespace, "In": ["", *cells, "parameters = run.parameters(globals())"], **values}


@pytest.fixture
def notebook(tmp_path):
    cells = [
        nbformat.v4.new_markdown_cell("# A small notebook"),
        nbformat.v4.new_code_cell(DECLARED, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("from cmdml.study import run\nparameters = run.parameters(globals())"),
        nbformat.v4.new_code_cell("import os\nprint(os.getcwd(), parameters, run.resolve('data').is_dir())"),
        nbformat.v4.new_code_cell("assert epochs > 0, 'no epochs, no training'"),
    ]
    content = nbformat.v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
    )
    path = tmp_path / "small.ipynb"
    nbformat.write(content, path)
    return path


def printed(path):
    return "".join(o.get("text", "") for c in nbformat.read(path, 4).cells for o in c.get("outputs", []))


def test_parameters_as_declared_and_as_injected():
    assert run.parameters(history(DECLARED)) == {
        "gamma": 2.0, "epochs": 3, "unseen": "default", "compare": [], "deep": False,
    }  # fmt: skip
    namespace = history(DECLARED, "# Parameters\ngamma = 3\ncompare = ['a']\n")
    values = run.parameters(namespace)
    assert (values["gamma"], values["compare"], values["epochs"]) == (3.0, ["a"], 3)
    assert isinstance(values["gamma"], float) and isinstance(namespace["gamma"], float)


def test_parameters_in_jupyterlab():
    with pytest.raises(ValueError, match="run the notebook's first code cell"):
        run.parameters({"In": ["", "import numpy", "parameters = run.parameters(globals())"]})
    # Cells run twice, out of order and with magics: the last parameters cell counts.
    cells = ["", DECLARED, "%matplotlib inline", DECLARED.replace("2.0", "0.5"), "print(1)", "now"]
    namespace = {**history(DECLARED), "gamma": 0.5, "In": cells}
    assert run.parameters(namespace)["gamma"] == 0.5


@pytest.mark.parametrize(
    ("injected", "sentence"),
    [
        ("gama = 3", "unknown parameter 'gama': did you mean 'gamma'?"),
        ("epoch = 3", "unknown parameter 'epoch': did you mean 'epochs'?"),
        ("gamma = 'high'", r"parameter gamma must be float, got 'high' \(str\)"),
        ("gamma = True", "parameter gamma must be float, got True"),
        ("epochs = 2.5", "parameter epochs must be int, got 2.5"),
        ("deep = 1", "parameter deep must be bool, got 1"),
        ("compare = 'a'", "parameter compare must be list, got 'a'"),
    ],
)
def test_parameters_that_do_not_fit(injected, sentence):
    with pytest.raises(ValueError, match=sentence):
        run.parameters(history(DECLARED, f"# Parameters\n{injected}\n"))


@pytest.mark.parametrize("kind", ["str | list[str] | None", "str or list[str] or None"])
@pytest.mark.parametrize("value", ["a", ["a", "b"], None])
def test_parameters_of_several_types(value, kind):
    cell = f"unseen: {kind} = 'default'"
    assert run.parameters(history(cell, f"# Parameters\nunseen = {value!r}"))["unseen"] == value
    with pytest.raises(ValueError, match="unseen must be str"):
        run.parameters(history(cell, "# Parameters\nunseen = 4"))


def test_execute(notebook, tmp_path):
    out = run.execute(notebook, tmp_path / "deep" / "er" / "out.ipynb", {"gamma": 1, "compare": ["x", "y"]})
    assert "'gamma': 1.0" in printed(out) and "['x', 'y']" in printed(out)
    assert printed(out).startswith(str(run.ROOT)) and printed(out).strip().endswith("True")
    assert nbformat.read(out, 4).metadata["cmdml"]["versions"]["numpy"]
    assert [p.name for p in out.parent.iterdir()] == ["out.ipynb"]
    with pytest.raises(ValueError, match="did you mean 'gamma'"):
        run.execute(notebook, out, {"gama": 1})


def test_what_cells_print_is_seen_while_they_run_and_injected_values_are_hidden(notebook, tmp_path, capsys):
    out = run.execute(notebook, tmp_path / "out.ipynb", {"gamma": 1})
    assert "'gamma': 1.0" in capsys.readouterr().out
    tags = [cell.metadata.get("tags", []) for cell in nbformat.read(out, 4).cells]
    assert [t for t in tags if "remove-cell" in t] == [["injected-parameters", "remove-cell"]]
    assert tags[1] == ["parameters"]


def test_a_failing_notebook_is_kept_under_another_name(notebook, tmp_path):
    out = tmp_path / "out.ipynb"
    done = subprocess.run(
        [sys.executable, "-m", "cmdml.study.run", notebook, out, json.dumps({"epochs": 0})],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "AssertionError: no epochs, no training" in done.stderr and "out.failed.ipynb" in done.stderr
    assert not out.exists() and "'epochs': 0" in printed(tmp_path / "out.failed.ipynb")


def test_plain_papermill_from_another_directory(notebook, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-m", "papermill", notebook, "out.ipynb", "--no-progress-bar", "-k", "python3"]
    subprocess.run([*command, "-p", "gamma", "3"], cwd=elsewhere, check=True, capture_output=True)
    assert "'gamma': 3.0" in printed(elsewhere / "out.ipynb") and "True" in printed(elsewhere / "out.ipynb")
    done = subprocess.run([*command, "-p", "gama", "3"], cwd=elsewhere, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1].endswith("unknown parameter 'gama': did you mean 'gamma'?")


def test_resolve(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run.resolve("runs/phantom") == run.ROOT / "runs/phantom"
    assert run.resolve("../shared") == run.ROOT.parent / "shared"
    assert run.resolve(tmp_path / "x") == tmp_path / "x"


def test_manifest(tmp_path, monkeypatch):
    radiographs = SimpleNamespace(card={"sha256": "abc"})
    values = {"seed": 7, "gamma": 2.0}
    made = run.manifest(tmp_path / "out", profile="p", parameters=values, radiographs=radiographs, notebook="03")
    assert made == json.loads((tmp_path / "out/manifest.json").read_text())
    assert (made["profile"], made["notebook"], made["seed"], made["data_sha256"]) == ("p", "03", 7, "abc")
    assert made["parameters"] == values and made["versions"]["torch"] and made["machine"]["cores"] >= 1
    assert made["wall_seconds"] >= 0 and datetime.fromisoformat(made["started"]).utcoffset().total_seconds() == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["manifest.json"]
    started = datetime(2020, 1, 1, tzinfo=UTC)
    assert run.manifest(tmp_path, profile="p", parameters={}, started=started, device="tpu")["device"] == "tpu"
    assert json.loads((tmp_path / "manifest.json").read_text())["started"] == "2020-01-01T00:00:00+00:00"

    monkeypatch.setenv("PATH", str(tmp_path))  # no git to be found
    monkeypatch.setattr(run, "CODE", run.code())
    without = run.manifest(tmp_path, profile="p", parameters={}, seed=1)
    assert without["commit"] is None and without["dirty"] is None and "commit" in without["commit_note"]


def test_dirty_means_the_code_not_its_results(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "ROOT", tmp_path)
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "start"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    (tmp_path / "data/results").mkdir(parents=True)
    (tmp_path / "data/results/summary.csv").write_text("a")
    assert run.code()["dirty"] is False
    (tmp_path / "code.py").write_text("a")
    assert run.code()["dirty"] is True
    (tmp_path / "code.py").unlink()
    (tmp_path / "data/findings.yaml").write_text("a")  # what the code reads is as good as code
    assert run.code()["dirty"] is True


def test_the_commit_is_that_of_the_start(tmp_path):
    """Whoever commits while a training runs does not change which code it ran."""
    repo = tmp_path / "repo"
    shutil.copytree(run.ROOT / "cmdml", repo / "cmdml", ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", str(repo), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
        subprocess.run([*git, *command], check=True)
    before = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    script = f"""
import subprocess
from cmdml.study import run
subprocess.run({[*git, "commit", "-q", "--allow-empty", "-m", "later"]!r}, check=True)
print(run.manifest({str(tmp_path / "out")!r}, profile="p", parameters={{}})["commit"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=repo,
                          env=os.environ | {"PYTHONPATH": str(repo)})  # fmt: skip
    assert done.stdout.strip() == before


@pytest.mark.parametrize("path", sorted((run.ROOT / "profiles").glob("*.yaml")), ids=lambda p: p.stem)
def test_profiles_of_the_study(path):
    values = run.load_profile(path)["parameters"]
    assert values["run_dir"] == f"runs/{path.stem}"
    notebooks = (run.ROOT / "notebooks").glob("*.ipynb")
    declared = {name for notebook in notebooks for name in run.declared_parameters(notebook)}
    # set by the Snakefile
    wiring = {"out", "training", "compare", "results", "rotation", "sweep", "features", "beside", "improved", "drawn",
              "learnt", "truth"}  # fmt: skip
    of_one_source = {
        "non_square",
        "images",
        "prevalence",
        "npz",
        "nih_root",
        "splits",
        "min_source_pixels",
        "exclude_sources",
    }
    assert declared - set(values) <= wiring | of_one_source


@pytest.mark.parametrize("path", sorted((run.ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebooks_declare_typed_parameters_and_carry_no_output(path):
    cells = nbformat.read(path, 4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert "parameters" in code[0].metadata.get("tags", [])
    assert not any(cell.outputs or cell.execution_count for cell in code)
    declared = run.declared_parameters(path)
    assert {"profile", "run_dir", "seed"} <= set(declared)
    # papermill must read the cell too, or it warns about good names and `--help-notebook` is silent: no second "=" in a
    # line, and "or" between two types.
    readable = papermill.inspect_notebook(str(path))
    assert set(readable) == set(declared)
    assert all(about["help"] for about in readable.values())


def test_a_manifest_takes_what_it_is_told(tmp_path):
    made = run.manifest(tmp_path, profile="p", parameters={"seed": 7}, seed=0, started=0.0, file="other.json", more=3)
    assert (made["seed"], made["more"], made["started"]) == (0, 3, "1970-01-01T00:00:00+00:00")
    assert made["data_sha256"] is None and made["notebook"] is None and made["wall_seconds"] > 1e9
    assert [path.name for path in tmp_path.iterdir()] == ["other.json"] and is_sealed(made)
    assert run.manifest(tmp_path, profile="p", parameters={})["seed"] is None
    started = datetime.fromisoformat(run.manifest(tmp_path, profile="p", parameters={})["started"])
    assert started == run.IMPORTED.replace(microsecond=0)
    local = datetime(2020, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert run.manifest(tmp_path, profile="p", parameters={}, started=local)["started"] == "2020-01-01T00:00:00+00:00"


def test_tables_are_published_with_their_manifest(tmp_path):
    out = run.publish(tmp_path / "out", {"a": pd.DataFrame({"x": [1]})}, profile="p", parameters={"seed": 2})
    assert out == tmp_path / "out" and results.manifest_of(out)["files"].keys() == {"a.csv"}
    assert results.manifest_of(out)["seed"] == 2


def test_results_carry_no_folders_of_the_machine():
    values = {"nih_root": "/a", "npz": "/b", "run_dir": "/c", "gamma": 2.0, "size": 64}
    assert run.settings({"parameters": values}) == {"gamma": 2.0, "size": 64}


def test_a_notebook_is_given_what_it_declares(notebook):
    values = {"gamma": 1.0, "epochs": 2, "lr": 0.1}
    assert run.notebook_parameters(notebook, {"parameters": values}) == {"gamma": 1.0, "epochs": 2}


def test_versions_of_what_is_not_installed_are_none(monkeypatch):
    monkeypatch.setattr(run, "PACKAGES", ("numpy", "no-such-package"))
    found = run.environment()
    assert found["versions"]["no-such-package"] is None and found["versions"]["numpy"].count(".") == 2
    assert found["commit"] == run.CODE["commit"] and found["machine"]["cores"] >= 1
    assert ":" not in found["machine"]["cpu"][:1] and found["machine"]["cpu"] == found["machine"]["cpu"].strip()
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")] if Path("/proc/cpuinfo").exists() else []  # fmt: skip
    assert not names or found["machine"]["cpu"] == names[0]


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert run.environment()["machine"]["cores"] == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # not on every system
    assert run.environment()["machine"]["cores"] == 64


def test_papermill_is_told_where_and_how_to_run(notebook, tmp_path, monkeypatch):
    asked = []

    def execute_notebook(source, target, parameters, **how):
        asked.append((source, target, parameters, how))
        content = nbformat.read(source, 4)
        nbformat.write(content, target)
        return content

    monkeypatch.setattr(papermill, "execute_notebook", execute_notebook)
    out = run.execute(notebook, tmp_path / "run/notebooks/out.ipynb", {"gamma": 1})
    ((source, target, values, how),) = asked
    assert (source, target) == (str(notebook), str(out.with_name("out.failed.ipynb"))) and values == {"gamma": 1}
    assert how.pop("stdout_file") is sys.stdout and how.pop("progress_bar") is False
    assert how == {"cwd": str(run.ROOT), "kernel_name": "python3", "extra_arguments": ["--log-level=50"],
                   "start_timeout": 120}  # fmt: skip
    assert nbformat.read(out, 4).metadata["cmdml"]["python"] == run.environment()["python"]
    assert not out.with_name("out.failed.ipynb").exists()


@pytest.mark.parametrize(("sentence", "deaths", "starts", "made"), [
    ("Kernel died before replying to kernel_info", 2, 3, True),
    ("Kernel died before replying to kernel_info", 3, 3, False),  # not for ever
    ("Kernel didn't respond in 120 seconds", 1, 2, True),
    ("Kernel died", 1, 1, False),  # in a cell, perhaps after hours
    ("some other trouble", 1, 1, False),  # what a cell says is never run a second time
])  # fmt: skip
def test_a_kernel_that_never_answered_is_started_again(notebook, tmp_path, monkeypatch, capsys,
                                                       sentence, deaths, starts, made):  # fmt: skip
    asked = []

    def execute_notebook(source, target, parameters, **how):
        asked.append(source)
        if len(asked) <= deaths:
            raise RuntimeError(sentence)
        content = nbformat.read(source, 4)
        nbformat.write(content, target)
        return content

    monkeypatch.setattr(papermill, "execute_notebook", execute_notebook)
    if made:
        assert run.execute(notebook, tmp_path / "out.ipynb", {"gamma": 1}).exists()
    else:
        with pytest.raises(RuntimeError, match=sentence):
            run.execute(notebook, tmp_path / "out.ipynb", {"gamma": 1})
    assert len(asked) == starts and capsys.readouterr().err.count("started again") == starts - 1


def test_a_folder_without_a_repository_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert run.code()["commit"] is None and run.code()["dirty"] is None


def test_a_manifest_names_the_version_of_every_library_that_makes_its_numbers():
    import lightning_fabric
    import numpy as np
    import safetensors
    import sklearn
    import torch
    import torchvision

    found = run.environment()["versions"]
    modules = {"torch": torch, "torchvision": torchvision, "lightning-fabric": lightning_fabric, "numpy": np,
               "pandas": pd, "scikit-learn": sklearn, "safetensors": safetensors}  # fmt: skip
    # torch says +cpu or +cu130, too, which the distribution may leave out
    assert {name: found[name].split("+")[0] for name in modules} == {
        name: module.__version__.split("+")[0] for name, module in modules.items()}  # fmt: skip
