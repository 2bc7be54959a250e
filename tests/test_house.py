"""The house stays small and its imports run one way: method, radiographs, training, evaluation, plots, study."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "cmdml").rglob("*.py"))
MODULES = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in FILES}
# What a student reads, and what lies below all else; other modules on top, where neither list has them, train and ask.
METHOD = {"names", "files", "strict_yaml", "loss", "model", "extractors", "efficientnet", "objectives", "ranking",
          "closed_form", "semantics", "findings"}  # fmt: skip
RADIOGRAPHS = {"radiographs", "partitioning", "store", "writing", "batches", "features", "feature_set",
               "feature_writing", "sources"}  # fmt: skip
LAYERS = ("method", "radiographs", "training", "evaluation", "plots", "study")


def layer(module: str) -> str:
    """The layer of a module of the package, such as ``cmdml.study.run``."""
    first = module.split(".")[1]
    known = {**dict.fromkeys(METHOD, "method"), **dict.fromkeys(RADIOGRAPHS, "radiographs")}
    return known.get(first, first if first in LAYERS else "training")


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports, inside functions, too; not what only a type checker reads."""
    tree, found = ast.parse(path.read_text(encoding="utf-8")), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import; the others are absolute"
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                found |= {name, node.module} & MODULES.keys() if name not in MODULES else {name}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES.keys()
    return found - {"cmdml"}


IMPORTS = {module: imported(path) for module, path in MODULES.items() if module not in ("cmdml", "cmdml.__main__")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 250, f"{path.name}: more than 250 lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= 60, f"{path.name}: {node.name} has {lines} lines"


@pytest.mark.parametrize("module", IMPORTS)
def test_imports_run_one_way(module):
    for other in IMPORTS[module]:
        back = LAYERS.index(layer(other)) > LAYERS.index(layer(module))
        assert not back, f"{module} ({layer(module)}) imports {other} ({layer(other)})"


def test_no_import_comes_round():
    left = {module: {other for other in others if other in IMPORTS} for module, others in IMPORTS.items()}
    while free := {module for module, others in left.items() if not others & left.keys() - {module}}:
        left = {module: others for module, others in left.items() if module not in free}
    assert not left, f"a circle of imports among {', '.join(sorted(left))}"


def test_there_is_one_did_you_mean():
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        asks = "difflib" in names or any("did you mean" in text for text in texts)
        assert asks == (module == "cmdml.names"), f"{module}: cmdml.names is the one place that guesses names"
