"""Plant bugs in the package, one at a time, and see whether the tests notice: ``make mutants``.

Every mutant changes one place: a comparison, an operator, a constant, a condition, a keyword argument, a statement
that is left out. They are drawn with a seed, as evenly over the files as their number of places allows. The tests
that mirror the file run first, then those of its folder, then all; the first failure kills the mutant. Results go to
a file of JSON lines, one a mutant, so that an interrupted run goes on where it stopped; a mutant whose file has
changed since is run again.

    python tests/mutants.py --count 200 --seed 0 --out runs/mutants/0.jsonl
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMPARE = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
           ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}  # fmt: skip
OPERATE = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
           ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}  # fmt: skip
# What a test cannot or need not notice: words for people, looks of figures, type hints, progress bars.
QUIET = {"desc", "unit", "postfix", "title", "label", "fontsize", "color", "colour", "lw", "ls", "alpha", "pad",
         "disable", "progress", "refresh", "stacklevel", "figsize", "encoding", "ensure_ascii", "indent"}  # fmt: skip


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
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and "print" not in ast.dump(node)[:90]:
            found.append((node, "statement"))
    return found


def _unseen(node) -> list[ast.AST]:
    """Children that are not mutated."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
        return [node]
    if isinstance(node, ast.keyword) and node.arg in QUIET:
        return [node]
    if isinstance(node, ast.AnnAssign):
        return [node.annotation]
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return [node]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        hints = [a.annotation for a in [*node.args.args, *node.args.kwonlyargs] if a.annotation]
        return [*hints, *([node.returns] if node.returns else [])]
    return []


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
                line, what = node.lineno, mutate(node, kind, rng)
                changed = ast.unparse(ast.fix_missing_locations(tree))
                if changed == original:
                    continue
                name = str(path.relative_to(ROOT))
                digest = hashlib.sha256((source + what + str(line)).encode()).hexdigest()[:12]
                mutants.append({"id": digest, "file": name, "line": line, "what": what, "source": changed})
    return mutants


def rooms(file: str) -> list[list[str]]:
    """Which tests to ask, in turn: the file's own, its folder's, all."""
    inside = Path(file).relative_to("cmdml")
    own = Path("tests") / inside.parent / f"test_{inside.stem}.py"
    asked = [[str(own)]] if (ROOT / own).exists() else []
    if len(inside.parts) > 1 and (ROOT / "tests" / inside.parts[0]).is_dir():
        asked.append([str(Path("tests") / inside.parts[0])])
    return [*asked, []]


def run(mutant: dict, work: Path, python: str, limit: float) -> dict:
    """Kill a mutant in a copy of the tree; returns its row."""
    target, started = work / mutant["file"], time.monotonic()
    kept = target.read_text()
    target.write_text(mutant["source"])
    row = {key: mutant[key] for key in ("id", "file", "line", "what")} | {"killed": False, "by": ""}
    environment = os.environ | {"PYTHONPATH": str(work), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
                                "HYPOTHESIS_STORAGE_DIRECTORY": str(work / ".hypothesis")}  # fmt: skip
    try:
        for chosen in rooms(mutant["file"]):
            command = [python, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *chosen]
            process = subprocess.Popen(command, cwd=work, env=environment, stdout=subprocess.PIPE, text=True,
                                       stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
            try:
                said, _ = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                row |= {"killed": True, "by": "time"}
                break
            if process.returncode not in (0, 5):
                failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
                row |= {"killed": True, "by": failed[0][:160] if failed else "error"}
                break
    finally:
        target.write_text(kept)
    return row | {"seconds": round(time.monotonic() - started, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--only", default="", help="part of a path, e.g. cmdml/loss")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    parser.add_argument("--limit", type=float, default=300, help="seconds for one run of tests; more kills the mutant")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/mutants/results.jsonl")
    given = parser.parse_args()
    mutants = draw(given.count, given.seed, given.only)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    lines = given.out.read_text().splitlines() if given.out.exists() else []
    done = {row["id"]: row for row in map(json.loads, lines)}
    todo = [mutant for mutant in mutants if mutant["id"] not in done]
    print(f"{len(mutants)} mutants, {len(todo)} to run")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.jobs) as pool:
        copies = []
        for job in range(given.jobs):
            copies.append(Path(folder) / str(job))
            listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
            for name in listed.splitlines():
                if (ROOT / name).is_file():
                    (copies[-1] / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, copies[-1] / name)

        def work(mutant):
            place = copies.pop()
            try:
                return run(mutant, place, sys.executable, given.limit)
            finally:
                copies.append(place)

        with given.out.open("a") as file:
            for row in pool.map(work, todo):
                done[row["id"]] = row
                file.write(json.dumps(row) + "\n")
                file.flush()
                state = "killed  " if row["killed"] else "ALIVE   "
                print(f"{state}{row['file']}:{row['line']}  {row['what']}", flush=True)
    rows = [done[mutant["id"]] for mutant in mutants]
    print("\n| file | planted | survived |\n|---|---:|---:|")
    planted, alive = Counter(r["file"] for r in rows), Counter(r["file"] for r in rows if not r["killed"])
    for file in sorted(planted):
        print(f"| `{file}` | {planted[file]} | {alive[file]} |")
    print(f"| all | {len(rows)} | {sum(alive.values())} ({sum(alive.values()) / max(len(rows), 1):.1%}) |")
    for row in rows:
        if not row["killed"]:
            print(f"* {row['file']}:{row['line']} {row['what']}")


if __name__ == "__main__":
    main()
