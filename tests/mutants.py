"""Plant bugs in the package, one at a time, and see whether the tests notice: ``make mutants``.

Every mutant changes one place: a comparison, an operator, a constant, a condition, a keyword argument, a statement
that is left out. They are drawn with a seed, as evenly over the files as their number of places allows. Docstrings,
type hints, error sentences, `__all__`, what is printed or logged and the looks of figures are left alone.

The test files that are called after a module run first (``tests/test_loss*.py`` for ``cmdml/loss.py``,
``tests/sources/test_phantom*.py`` for the folder ``cmdml/sources/phantom``), then those that import it, fastest first;
the first failure kills the mutant. ``--all`` asks the slow and the unrelated ones, too. Every test file is timed once
on the package as it is: one that fails there is not asked, and a mutant that takes five times as long is killed.

All runs in copies of the tracked files, so that work in the checkout may go on. Results go to a file of JSON lines,
one a mutant, and the table to a Markdown file beside it, so that an interrupted run goes on where it stopped; a mutant
whose file has changed since is run again.

    python tests/mutants.py --count 200 --seed 0 --jobs 2 --out runs/mutants/0.jsonl
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMPARE = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
           ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}  # fmt: skip
OPERATE = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
           ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}  # fmt: skip
# What a test cannot or need not notice: words for people, looks of figures, type hints, progress bars.
QUIET = {"desc", "unit", "postfix", "title", "label", "fontsize", "color", "colour", "lw", "ls", "alpha", "pad",
         "disable", "progress", "refresh", "stacklevel", "figsize", "encoding", "ensure_ascii", "indent"}  # fmt: skip
# How a figure looks, as numbers: sizes, order of drawing, margins. What it shows is not among them.
LOOKS = {"s", "ms", "zorder", "width", "height", "markersize", "linewidth", "capsize", "dpi", "rotation", "ncols",
         "loc", "va", "ha", "xytext", "pad_inches", "handlelength", "fraction", "shrink", "aspect", "xlabel", "ylabel",
         "borderaxespad", "columnspacing", "height_ratios", "width_ratios", "hspace", "wspace", "layout"}  # fmt: skip
SAID = {"print", "warn", "warning", "info", "debug", "log", "set_postfix", "tick_params", "set_title", "set_xlabel",
        "grid"}  # fmt: skip
SLOW = 60  # seconds: a test file that takes longer is asked only if it is called after the module
PATIENT = 5  # times what a test file takes on the package as it is


def places(tree: ast.AST) -> list[tuple[ast.AST, str]]:
    """(node, kind of change) of everything that can be mutated."""
    found, skip = [], set()
    for node in ast.walk(tree):
        for child in _unseen(node):
            skip.update(map(id, ast.walk(child)))
    for node in ast.walk(tree):
        if id(node) in skip:
            continue
        if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARE:
            found.append((node, "compare"))
        elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATE and not _text(node):
            found.append((node, "operator"))
        elif isinstance(node, ast.BoolOp):
            found.append((node, "and-or"))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert | ast.USub):
            found.append((node, "unary"))
        elif isinstance(node, ast.If | ast.IfExp | ast.While):
            found.append((node, "condition"))
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
            found.append((node, "constant"))
        elif isinstance(node, ast.Call) and any(k.arg and k.arg not in QUIET for k in node.keywords):
            found.append((node, "keyword"))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _called(node.value) not in SAID:
            found.append((node, "statement"))
    return found


def _unseen(node) -> list[ast.AST]:
    """Children that are not mutated."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
        return [node]
    if isinstance(node, ast.keyword) and node.arg in QUIET:
        return [node]
    if isinstance(node, ast.Call) and _called(node) in SAID:
        return [node]
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
        return [node]
    if isinstance(node, ast.AnnAssign):
        return [node.annotation]
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return [node]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        hints = [a.annotation for a in given if a and a.annotation]
        return [*hints, *([node.returns] if node.returns else [])]
    return []


def _looks(tree: ast.AST) -> set[int]:
    """All that stands in a keyword that says how a figure looks."""
    keywords = (node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg in LOOKS)
    return {id(part) for keyword in keywords for part in ast.walk(keyword)}


def _called(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _text(node) -> bool:
    return any(isinstance(c, ast.JoinedStr) or isinstance(c, ast.Constant) and isinstance(c.value, str)
               for c in ast.walk(node))  # fmt: skip


def mutate(node: ast.AST, kind: str, rng: random.Random) -> str:
    """Change a node in place; returns what was done, in words."""
    before = ast.unparse(node).splitlines()[0]
    if kind == "compare":
        node.ops[0] = COMPARE[type(node.ops[0])]()
    elif kind == "operator":
        node.op = OPERATE[type(node.op)]()
    elif kind == "and-or":
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif kind == "unary":
        node.op = ast.UAdd() if not isinstance(node.op, ast.Not) else node.op
        if isinstance(node.op, ast.Not):
            node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
            node.operand = ast.UnaryOp(ast.Not(), node.operand)
    elif kind == "condition":
        node.test = ast.Constant(rng.random() < 0.5)
    elif kind == "constant":
        node.value = (not node.value) if isinstance(node.value, bool) else node.value + 1 if rng.random() < 0.5 else (
            node.value * 2 if node.value else 1)  # fmt: skip
    elif kind == "keyword":
        at = rng.choice([i for i, k in enumerate(node.keywords) if k.arg and k.arg not in QUIET])
        del node.keywords[at]
    elif kind == "statement":
        node.value = ast.Constant(None)
    return f"{kind}: {before[:90]}  ->  {ast.unparse(node).splitlines()[0][:90]}"


def draw(count: int, seed: int, only: str = "") -> list[dict]:
    """``count`` mutants, evenly over the files of the package: file, line, what, and the mutated source."""
    rng, mutants = random.Random(seed), []
    files = sorted(p for p in (ROOT / "cmdml").rglob("*.py") if only in str(p.relative_to(ROOT)))
    queues = {}
    for path in files:
        order = list(range(len(places(ast.parse(path.read_text())))))
        rng.shuffle(order)
        queues[path] = order
    while len(mutants) < count and any(queues.values()):
        for path, order in queues.items():
            if order and len(mutants) < count:
                source = path.read_text()
                tree = ast.parse(source)
                node, kind = places(tree)[order.pop()]
                original = ast.unparse(copy.deepcopy(tree))
                name, looks = str(path.relative_to(ROOT)), _looks(tree)
                line, what, hidden = node.lineno, mutate(node, kind, rng), id(node) in looks
                changed = ast.unparse(ast.fix_missing_locations(tree))
                draws = "/plots/" in name or "savefig" in source
                if changed == original or draws and (hidden or looks != _looks(tree)):
                    continue
                if changed.count("strict=True") < original.count("strict=True"):
                    continue  # a guard of zip that only another bug could trip
                digest = hashlib.sha256((source + what + str(line)).encode()).hexdigest()[:12]
                mutants.append({"id": digest, "file": name, "line": line, "what": what, "source": changed})
    return mutants


def rooms(file: str) -> tuple[list[str], list[str]]:
    """Test files called after a module or its folder, and the others that import it."""
    inside = Path(file).relative_to("cmdml").with_suffix("")
    patterns = [f"{inside.parent}/test_{inside.name}*.py"]
    if len(inside.parts) > 2:  # sources/phantom/signs: tests/sources/test_phantom.py
        patterns.append(f"{inside.parent.parent}/test_{inside.parent.name}*.py")
    own = sorted({path for pattern in patterns for path in (ROOT / "tests").glob(pattern)})
    name = ".".join(("cmdml", *inside.parts)).removesuffix(".__init__")
    last = name.rpartition(".")[2]
    asks = re.compile(rf"{re.escape(name)}\b|from {re.escape(name.rpartition('.')[0])} import .*\b{last}\b")
    others = [path for path in sorted((ROOT / "tests").rglob("test_*.py"))
              if path not in own and asks.search(path.read_text(encoding="utf-8"))]  # fmt: skip
    if not own and not others:  # nobody knows it by name: its whole room
        others = sorted((ROOT / "tests" / inside.parent).glob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in own], [str(path.relative_to(ROOT)) for path in others]


def ask(test: str, work: Path, limit: float) -> tuple[str, float]:
    """What a test file says of the tree in ``work``: "" if it passes, else the first failure; and its seconds."""
    environment = os.environ | {"PYTHONPATH": str(work), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
                                "HYPOTHESIS_STORAGE_DIRECTORY": str(work / ".hypothesis")}  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", test]
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=work, env=environment, stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
    try:
        said, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"{test}: no end after {limit:.0f} s", time.monotonic() - started
    failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
    fine = process.returncode in (0, 5)
    return "" if fine else (failed[0][:160] if failed else f"{test}: error"), time.monotonic() - started


class Times:
    """Seconds of every test file on the package as it is, kept beside the results; -1 for one that fails there."""

    def __init__(self, file: Path):
        self.file, self.lock = file, threading.Lock()
        self.seconds = json.loads(file.read_text()) if file.exists() else {}

    def of(self, test: str, work: Path) -> float:
        if test not in self.seconds:
            failed, seconds = ask(test, work, 1800)
            if failed:
                print(f"NOT ASKED {failed} (on the package as it is)", flush=True)
            with self.lock:
                self.seconds[test] = -1 if failed else round(seconds, 1)
                self.file.write_text(json.dumps(self.seconds, indent=1))
        return self.seconds[test]


def run(mutant: dict, work: Path, times: Times, everything: bool) -> dict:
    """Ask the tests about a mutant in a copy of the tree; returns its row."""
    own, others = rooms(mutant["file"])
    target, started = work / mutant["file"], time.monotonic()
    kept = target.read_text()
    row = {key: mutant[key] for key in ("id", "file", "line", "what")} | {"killed": False, "by": "", "asked": 0}
    try:
        for test in _in_order(own, others, work, times, everything):
            usual = times.of(test, work)
            if usual < 0:
                continue
            target.write_text(mutant["source"])
            row["asked"] += 1
            failed, _ = ask(test, work, max(120, PATIENT * usual))
            target.write_text(kept)
            if failed:
                row |= {"killed": True, "by": failed}
                break
    finally:
        target.write_text(kept)
    return row | {"seconds": round(time.monotonic() - started, 1)}


def _in_order(own, others, work, times, everything):
    """Test files, the module's own first, fastest first; the others are timed only when these have been asked."""
    yield from sorted(own, key=lambda test: times.of(test, work))
    known = {test: times.of(test, work) for test in others}
    yield from sorted((test for test in others if known[test] <= SLOW), key=known.get)
    if everything:
        chosen = {*own, *(test for test in others if known[test] <= SLOW)}
        every = (str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests").rglob("test_*.py")))
        yield from (test for test in every if test not in chosen)


def table(rows: list[dict]) -> str:
    """Planted and survived by file, and every survivor, in Markdown."""
    planted, alive = Counter(r["file"] for r in rows), Counter(r["file"] for r in rows if not r["killed"])
    lines = ["| file | planted | survived |", "|---|---:|---:|"]
    lines += [f"| `{file}` | {planted[file]} | {alive[file]} |" for file in sorted(planted)]
    lines += [f"| all | {len(rows)} | {sum(alive.values())} ({sum(alive.values()) / max(len(rows), 1):.1%}) |", ""]
    lines += [f"* `{r['file']}:{r['line']}` {r['what']}" + ("" if r["asked"] else " (no test was asked)")
              for r in rows if not r["killed"]]  # fmt: skip
    return "\n".join(lines) + "\n"


def copy_of_the_tree(to: Path) -> Path:
    """The tracked files, as they stand in the checkout, and those that git does not know yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--only", default="", help="part of a path, e.g. cmdml/loss")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    parser.add_argument("--all", action="store_true", help="ask all tests about a survivor, slow ones, too")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/mutants/results.jsonl")
    given = parser.parse_args()
    mutants = draw(given.count, given.seed, given.only)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    lines = given.out.read_text().splitlines() if given.out.exists() else []
    done = {row["id"]: row for row in map(json.loads, lines)}
    todo = [mutant for mutant in mutants if mutant["id"] not in done]
    times = Times(given.out.with_suffix(".times.json"))
    print(f"{len(mutants)} mutants, {len(todo)} to run", flush=True)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.jobs) as pool:
        copies = [copy_of_the_tree(Path(folder) / str(job)) for job in range(given.jobs)]

        def work(mutant):
            place = copies.pop()
            try:
                return run(mutant, place, times, given.all)
            finally:
                copies.append(place)

        with given.out.open("a") as file:
            for future in as_completed([pool.submit(work, mutant) for mutant in todo]):
                row = future.result()
                done[row["id"]] = row
                file.write(json.dumps(row) + "\n")
                file.flush()
                rows = [done[mutant["id"]] for mutant in mutants if mutant["id"] in done]
                given.out.with_suffix(".md").write_text(table(rows))
                state = "killed  " if row["killed"] else "ALIVE   "
                said = f"{row['file']}:{row['line']}  {row['what']}  [{row['by']}, {row['seconds']} s]"
                print(state + said, flush=True)
    print("\n" + table([done[mutant["id"]] for mutant in mutants]))


if __name__ == "__main__":
    main()
