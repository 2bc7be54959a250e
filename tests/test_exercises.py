"""Every solution of the book runs where a reader would type it, at the end of its chapter, on a small run."""

import ast
import re
from functools import partial

import matplotlib
import matplotlib.pyplot as plt
import myst_nb
import nbformat
import pytest

from cmdml.evaluation.metrics import evaluate
from cmdml.evaluation.testset import TestSet
from cmdml.findings import findings_of
from cmdml.semantics import semantic_vectors
from cmdml.study import results, run
from cmdml.study.parameters import default_parameters

NOTEBOOKS = sorted((run.ROOT / "notebooks").glob("0[1-79]_*.ipynb"))  # the traps have their own
EXERCISE = re.compile(r"^```{exercise} ([^\n]+)\n:label: ([^\n]+)\n\n(.+?)^```$", re.M | re.S)
SOLUTION = re.compile(r"^````{solution} (\S+)\n:class: dropdown\n\n(.+?)^````$", re.M | re.S)
PYTHON = re.compile(r"^```python\n(.+?)^```$", re.M | re.S)
SMALL = {"images": 600, "prevalence": 3.0, "epochs": 2, "dim": 32, "hidden": 64, "lr": 3e-3, "replicates": 30,
         "points": 120, "perplexity": 10.0, "pairs": 60, "profile": "small"}  # fmt: skip
ALONE = ("06", "07")  # their solutions read committed tables and need no variable of the chapter


def cells(path, kind):
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == kind]


def prose(path):
    return "\n\n".join(cells(path, "markdown"))


SOLUTIONS = {label: (path, text) for path in NOTEBOOKS for label, text in SOLUTION.findall(prose(path))}


class Chapters:
    """The chapters in order, each run when it is first asked for; what they leave is what a reader finds."""

    def __init__(self, folder):
        self.given, self.left, self.glued = SMALL | {"run_dir": str(folder)}, {}, {}

    def __call__(self, path):
        for chapter in NOTEBOOKS[: NOTEBOOKS.index(path) + 1]:
            if chapter.stem not in self.left and (chapter == path or chapter.stem[:2] not in ALONE):
                self.left[chapter.stem] = self.run(chapter)
                if chapter.stem == "03_training":
                    self.second_training(self.left[chapter.stem])
        return dict(self.left[path.stem])

    def run(self, path):
        first, *others = cells(path, "code")
        wiring = {"03_training": {"out": f"{self.given['run_dir']}/training"},
                  "04_evaluation": {"compare": [f"{self.given['run_dir']}/variants/description"]}}  # fmt: skip
        given = {name: value for name, value in (self.given | wiring.get(path.stem, {})).items()
                 if name in default_parameters(path)}  # fmt: skip
        injected = "# Parameters\n" + "\n".join(f"{name} = {value!r}" for name, value in given.items())
        namespace = {"In": [""], "__name__": "__main__"}
        for source in (first, injected, *others):
            namespace["In"].append(source)
            exec(compile(source, path.stem, "exec"), namespace)
            plt.close("all")
        return namespace

    def second_training(self, left):
        """One that was told descriptions, evaluated as far as chapter 4 looks."""
        folder = run.resolve(self.given["run_dir"]) / "variants/description/training"
        vectors = semantic_vectors(findings_of(left["findings"].keys), "description")
        left["fit"](left["parts"], vectors, left["config"], folder, progress=False)
        about = {"profile": "small", "parameters": left["parameters"] | {"semantics": "description"}}
        run.manifest(folder, **about)
        test = TestSet(folder.parents[2] / "radiographs")
        found = evaluate(test.labels, test.scores(folder), test.patients, left["findings"], replicates=0)
        tables = {"summary": found.summary, "per_finding": found.per_finding}
        results.publish(folder.with_name("evaluation"), tables, partial(run.manifest, images_total=600, **about))


@pytest.fixture(scope="module")
def chapters(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        made = Chapters(tmp_path_factory.mktemp("small"))
        patch.setattr(myst_nb, "glue", lambda name, value, display=True: made.glued.update({name: value}))
        before = matplotlib.get_backend()
        matplotlib.use("agg")
        yield made
        matplotlib.use(before)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_exercise_has_a_solution_that_claims_something(path):
    exercises = [label for _, label, _ in EXERCISE.findall(prose(path))]
    assert len(exercises) >= 3 and exercises == [label for label in SOLUTIONS if SOLUTIONS[label][0] == path]
    assert prose(path).count("{exercise}") == len(exercises) and prose(path).count("{solution}") == len(exercises)
    for label in exercises:
        (code,) = PYTHON.findall(SOLUTIONS[label][1])
        assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(code))), label
        assert max(map(len, code.splitlines())) <= 110, label


@pytest.mark.parametrize("label", SOLUTIONS)
def test_the_solution_holds(label, chapters):
    path, text = SOLUTIONS[label]
    namespace = {} if path.stem[:2] in ALONE else chapters(path)
    (code,) = PYTHON.findall(text)
    exec(compile(code, label, "exec"), namespace)


def test_chapters_4_and_5_show_signs_beside_descriptions(chapters):
    chapters(NOTEBOOKS[4])
    four, five = chapters.left["04_evaluation"], chapters.left["05_embeddings"]
    assert [one.name for one in four["told"]] == ["signs_text", "description"] == list(five["distances"])
    assert set(chapters.glued) >= {"text_contrast", "auroc_U_abnormal", "paired_U_description_all", "minutes_05"}
