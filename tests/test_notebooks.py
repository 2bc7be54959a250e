"""The notebooks keep the promises of the study: checked parameters, no outputs in git, figures with captions."""

import ast
import dataclasses
import re
import subprocess
import sys

import nbformat
import papermill
import pytest
import yaml

from cmdml.objectives import OBJECTIVES
from cmdml.study import run
from cmdml.training import TrainConfig

NOTEBOOKS = sorted((run.ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
# Filled in by the Snakefile.
WIRING = {"profile", "run_dir", "training", "out", "compare", "results", "rotation", "sweep", "features", "beside",
          "improved", "drawn", "learnt", "truth"}  # fmt: skip
CHAPTERS = ("01_data", "02_semantics", "03_training", "04_evaluation", "05_embeddings", "09_own_finding")
DRAWS = re.compile(r"\bplt\.show\(\)|^draw\(", re.M)

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def parameters_cell(path):
    (cell,) = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    return cell


def defaults(path):
    return {node.target.id: ast.literal_eval(node.value) for node in ast.parse(parameters_cell(path).source).body}


def test_is_valid_short_and_stripped(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert len(code_cells(path)) <= 25
    for cell in code_cells(path):
        assert cell.outputs == [] and cell.execution_count is None
    assert not set(notebook.metadata) - {"kernelspec", "language_info"}


def test_names_a_kernel(path):
    metadata = read(path).metadata
    assert metadata.kernelspec.name == "python3" and metadata.language_info.name == "python"


def test_cell_ids_are_words(path):
    ids = [cell.id for cell in read(path).cells]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[a-z]+(-[a-z0-9]+)+", name) for name in ids)


def test_story_comes_first(path):
    notebook = read(path)
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    assert "?" in notebook.cells[0].source  # the question that the chapter answers
    assert "*What to see:*" in "".join(cell.source for cell in notebook.cells)
    assert "Written" in code_cells(path)[-1].source


def test_every_parameter_is_typed_and_explained(path):
    source = parameters_cell(path).source
    lines = source.splitlines()
    for node in ast.parse(source).body:
        line = lines[node.lineno - 1] + ("" if node.end_lineno == node.lineno else lines[node.end_lineno - 1])
        assert isinstance(node, ast.AnnAssign), f"{line}: write `name: type = value  # what it is`"
        assert len(line.partition("  # ")[2]) > 10, f"{line}: say what it is"
        # papermill reads no further than a second `=` in a line and then calls the parameter unknown
        assert line.count("=") == 1, line
    assert code_cells(path)[0].source == source
    assert "parameters = run.parameters(globals())" in code_cells(path)[1].source


def test_every_parameter_is_read(path):
    """By its name; or, in ``parameters``, by a training's configuration or, a seed, by the manifest."""
    nodes = [node for cell in code_cells(path)[1:] for node in ast.walk(ast.parse(cell.source))]
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert not defaults(path).keys() - read - {field.name for field in dataclasses.fields(TrainConfig)} - {"seed"}


def test_papermill_finds_the_parameters(path):
    assert set(papermill.inspect_notebook(str(path))) == set(defaults(path))


def test_the_help_of_the_objective_lists_them_all(path):
    if path.stem != "03_training":
        pytest.skip("only the training notebook has an objective")
    assert papermill.inspect_notebook(str(path))["objective"]["help"] == " | ".join(OBJECTIVES)


def test_a_typing_error_is_found_before_anything_heavy_is_loaded(path):
    if path.stem not in CHAPTERS:
        pytest.skip("its own chapter")
    check = code_cells(path)[1].source
    assert re.findall(r"^(?:from|import) .*", check, flags=re.M) == ["from cmdml.study import run"]
    loaded = "import sys\nfrom cmdml.study import run\nprint('torch' in sys.modules, 'matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], cwd=run.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_set_up_is_folded_away_and_code_fits_the_column(path):
    if path.stem not in CHAPTERS:
        pytest.skip("its own chapter")
    for cell in code_cells(path)[:3]:
        assert "hide-input" in cell.metadata.get("tags", ()), cell.id
    for cell in code_cells(path):
        assert not [line for line in cell.source.splitlines() if len(line) > 100], cell.id


def test_a_chapter_says_what_is_in_it_and_what_to_take_away(path):
    if path.stem not in CHAPTERS:
        pytest.skip("its own chapter")
    cells = read(path).cells
    box = re.search(r"```{admonition} In this chapter\n(.*?)```", cells[0].source, re.S)[1]
    number = path.stem[:2]
    assert len(re.findall(r"^\* ", box, re.M)) == 3 and f"{{glue:text}}`minutes_{number}` to run" in box
    assert re.search(r"^\w+ minutes to read\.", box, re.M) and cells[0].source.index("?") < cells[0].source.index("```")
    last = code_cells(path)[-1].source
    assert f'glue("minutes_{number}"' in "".join(c.source for c in code_cells(path))
    assert '"## Take-aways' in last and len(re.findall(r'"\* ', last.partition("Take-aways")[2])) == 3


def test_every_chapter_has_a_quiz_of_five(path):
    if path.stem == "08_traps":
        pytest.skip("a trap's question is its exercise")
    (quiz,) = [cell.source for cell in read(path).cells if cell.source.startswith("## Quiz")]
    questions = re.findall(r"^\*\*(\d)\.\*\* .*\?$", quiz, re.M)
    answers = re.findall(r"^```{admonition} Answer\n:class: dropdown\n(.{25,}?)^```$", quiz, re.M | re.S)
    assert questions == list("12345") and len(answers) == 5


def test_defaults_have_their_declared_type(path):
    from cmdml.study.parameters import checked

    for name, kind in run.declared_parameters(path).items():
        assert checked(name, defaults(path)[name], kind) == defaults(path)[name]


def test_one_name_has_one_default_and_one_type_everywhere(path):
    for other in NOTEBOOKS:
        ours, theirs = (run.declared_parameters(p) for p in (path, other))
        for name in (ours.keys() & theirs.keys()) - {"seed"}:
            assert ours[name] == theirs[name], f"{name} in {other.name}"
            assert defaults(path)[name] == defaults(other)[name], f"{name} in {other.name}"


def test_default_is_what_the_phantom_profile_says(path):
    """`papermill notebooks/03_training.ipynb out.ipynb -p gamma 3` must differ from the study in gamma alone."""
    profile = yaml.safe_load((run.ROOT / "profiles" / "phantom.yaml").read_text())["parameters"]
    ours = defaults(path)
    assert {name: ours[name] for name in ours.keys() & profile.keys()} == {
        name: profile[name] for name in ours.keys() & profile.keys()
    }


def test_every_parameter_is_known_to_a_profile(path):
    known = set()
    for file in (run.ROOT / "profiles").glob("*.yaml"):
        known |= run.load_profile(file.stem)["parameters"].keys()
    assert not defaults(path).keys() - known - WIRING


def test_training_offers_every_choice_of_a_run(path):
    if path.stem != "03_training":
        pytest.skip("only the training notebook trains")
    assert not {field.name for field in dataclasses.fields(TrainConfig)} - defaults(path).keys()


def test_every_figure_has_a_caption_and_an_alternative_text(path):
    names = []
    for cell in code_cells(path):
        about = cell.metadata.get("mystnb", {})
        shows = DRAWS.search(cell.source) and "def draw(" not in cell.source
        assert bool(shows) == bool(about), f"{cell.id}: a figure without caption, or a caption without figure"
        if shows:
            assert cell.source.rstrip().endswith(("plt.show()", ")")), f"{cell.id}: end with plt.show()"
            assert len(about["figure"]["caption"]) > 30 and len(about["image"]["alt"]) > 60, cell.id
            assert about["figure"]["caption"] != about["image"]["alt"], cell.id
            names.append(about["figure"]["name"])
    assert len(set(names)) == len(names) and (names or path.stem > "05")


def test_figures_of_all_notebooks_have_different_names(path):
    def names(p):
        return {cell.metadata.mystnb.figure.name for cell in code_cells(p) if "mystnb" in cell.metadata}

    for other in NOTEBOOKS:
        assert other == path or not names(path) & names(other)


def test_figures_name_their_source(path):
    """A phantom must never pass for a patient: no notebook that draws radiographs hides which set they are of."""
    for cell in code_cells(path):
        if re.search(r"plots\.(radiograph|radiograph_grid)\(", cell.source):
            assert re.search(r"\{(card\['name'\]|name)\} (test )?radiographs", cell.source), cell.id


def test_prose_types_no_result(path):
    """Numbers come from code; a decimal in prose is a result that nobody will update."""
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"^```python\n.*?^```$", "", cell.source, flags=re.S | re.M)  # a solution
            text = re.sub(r"\$.*?\$", "", text, flags=re.S)
            assert not [n for n in re.findall(r"\b\d+\.\d+", text) if n != "0.5"], cell.id  # 0.5 is chance


def test_code_is_formatted_like_the_package(path):
    for cell in code_cells(path):
        ast.parse(cell.source)
        assert "TODO" not in cell.source
        assert not re.search(r"""["']/\w+/""", cell.source)  # a path that exists on one machine only
