"""Steps of the study on tiny inputs, killed at a line of our code or at a moment, run again, and compared bit by bit.

A step runs in a fork, so that a kill costs no import. The fork counts the lines of the package that it passes and kills
itself (SIGKILL) at the one that was drawn: every line is as likely as any other, however often it is passed.
"""

import hashlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from reliability import made

import cmdml
from cmdml.evaluation.metrics import evaluate
from cmdml.evaluation.testset import TestSet
from cmdml.feature_set import FeatureSet
from cmdml.features import extract
from cmdml.findings import split_findings
from cmdml.radiographs import RadiographSet
from cmdml.sources import chestmnist, kermany, nih, phantom
from cmdml.study import anatomy, plan, results, rotation, run, sweep, tables

PACKAGE = str(Path(cmdml.__file__).parent)
# Where files come to be; the rest is met by kills at a moment.
WATCHED = ("batches", "checkpoint", "feature_set", "features", "files", "optimisation", "partitioning", "radiographs",
           "run_folder", "semantics", "sources/chestmnist", "sources/decoding", "sources/kermany",
           "sources/nih", "sources/nih_tables", "sources/phantom/sampling", "sources/reading", "store",
           "study/anatomy", "study/plan", "study/results", "study/rotation", "study/run", "study/sweep",
           "study/tables", "training", "writing")  # fmt: skip
WRITERS = ("checkpoint", "feature_set", "features", "files", "run_folder", "study/results", "training", "writing")
SECONDS = 300
TIMES = ("started", "wall_seconds", "seconds_per_run", "train_seconds", "seconds", "sealed", "sha256", "bytes")
REFUSALS = ("ValueError", "OSError", "PermissionError", "FileNotFoundError")
NOBODY = 65534
LEFT = ("partial", ".new.", ".rows")


@dataclass(frozen=True)
class Step:
    """``make(root)`` lays out the inputs, ``work(root)`` does the step, into ``root``."""

    make: object
    work: object


def evaluation(root):
    """What chapter 4 writes."""
    test, findings = TestSet(root / "radiographs"), split_findings(made.KEYS)
    found = evaluate(test.labels, test.scores(root / "training"), test.patients, findings, replicates=5)

    def manifest(folder, file, files):
        run.manifest(folder, file=file, files=files, profile="toy", parameters={"seed": 0},
                     radiographs=test.radiographs)  # fmt: skip

    results.publish(root / "evaluation", {"per_finding": found.per_finding, "summary": found.summary}, manifest)


def swept(root):
    profile = made.sweep_profile(root)
    made.a_set(plan.radiographs_of(profile), n=96)
    for method in profile["sweep"]["methods"]:
        sweep.train(profile, method, "default", 0)


FEW = ["focused", "eszsl", "mean_of_seen", "ceiling"]  # of the methods of a rotation


def rotated(root):
    profile = made.rotation_profile(root)
    for method in FEW:
        rotation.score(profile, 1, method)


def grown(root):
    """Tables of two methods, where those of one were."""
    profile = made.sweep_profile(root)
    one = profile | {"sweep": profile["sweep"] | {"methods": {"focused": {}}}}
    if not (root / "results/manifest.json").exists() and not list((root / "results").glob(".new.*")):
        tables.collect(one, root / "results", replicates=3)
    tables.collect(profile, root / "results", replicates=3)


def a_rotation(root, work):
    """Its profile without laying out the features again."""
    less = {"methods": lambda plan: FEW, "PROTOCOLS3": ("abnormal",), "STRATA": ("none",)}
    with mock.patch.object(made, "features"), mock.patch.multiple(anatomy, **less):
        return work(made.rotation_profile(root))


STEPS = {
    "draw": Step(lambda root: root.mkdir(), lambda root: phantom.prepare(root / "set", images=50, progress=False)),
    "decode": Step(lambda root: made.nih_folder(root / "films"), lambda root: nih.prepare(
        root / "set", root=root / "films", size=8, workers=1, progress=False)),
    "children": Step(lambda root: made.kermany_folder(root / "films"), lambda root: kermany.prepare(
        root / "set", root=root / "films", size=8, workers=1, progress=False)),
    "reduce": Step(made.archive, lambda root: chestmnist.prepare(
        root / "set", npz=root / "c.npz", size=14, progress=False)),
    "extract": Step(lambda root: made.a_set(root / "set", n=24), lambda root: extract(
        RadiographSet.load(root / "set"), root / "f", backbone="small_cnn", weights="", batch_size=4, progress=False)),
    "save features": Step(lambda root: made.features(root / "f", n=24), lambda root: FeatureSet.load(
        root / "f").save(root / "out/g")),
    "train": Step(lambda root: made.a_set(root / "set"), lambda root: made.quiet_fit(
        made.parts_of(root / "set"), made.VECTORS, made.CONFIG, root / "training")),
    "evaluate": Step(made.training, evaluation),
    "sweep run": Step(lambda root: made.a_set(plan.radiographs_of(made.sweep_profile(root)), n=96),
                      lambda root: sweep.train(made.sweep_profile(root), "focused", "default", 0)),
    "sweep collect": Step(swept, grown),
    "rotation run": Step(lambda root: made.rotation_profile(root), lambda root: a_rotation(
        root, lambda profile: rotation.score(profile, 1, "cosine"))),
    "rotation collect": Step(rotated, lambda root: a_rotation(
        root, lambda profile: anatomy.collect(profile, root / "results"))),
}  # fmt: skip


class Fork:
    """``work()`` in a fork, at once."""

    def __init__(self, work, before=None):
        self.reading, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.close(self.reading)
                os.setpgid(0, 0)
                os.environ["OMP_NUM_THREADS"] = "1"  # a fork lacks its parent's threads: OpenMP would wait
                torch.set_num_threads(1)
                signal.alarm(0)
                try:
                    with redirect_stdout(StringIO()):
                        if before:
                            before()
                        said = ["ok", work()]
                except BaseException as error:
                    said = ["error", f"{type(error).__name__}: {error}"]
                with os.fdopen(writing, "w") as out:
                    json.dump(said, out, default=str)
            finally:
                os._exit(0)
        os.close(writing)

    def end(self, seconds: float = SECONDS, kill_after: float | None = None) -> tuple[str, object]:
        """("ok", what it returned), ("error", "Type: text"), ("killed", None), ("hang", None), ("orphans", None)."""
        parts, end = [], time.monotonic() + seconds
        kill_at = None if kill_after is None else time.monotonic() + kill_after
        while True:
            now = time.monotonic()
            if kill_at is not None and now >= kill_at:
                os.kill(self.pid, signal.SIGKILL)
                kill_at = None
            if now >= end:
                return self._over() and ("hang", None)
            wait = min(0.2, *(at - now for at in (end, kill_at) if at is not None))
            if select.select([self.reading], [], [], max(0.0, wait))[0]:
                part = os.read(self.reading, 1 << 16)
                if not part:
                    break
                parts.append(part)
            elif os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break  # dead, while a child of its own keeps the pipe open
        orphans = self._over()
        text = b"".join(parts)
        return ("orphans", None) if orphans > 1 else tuple(json.loads(text)) if text else ("killed", None)

    def _over(self) -> int:
        """Wait for it, and end what it left running; 2 if there was something, else 1."""
        os.close(self.reading)
        group = self.pid
        if not os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            time.sleep(0.05)
            if not os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                os.kill(self.pid, signal.SIGKILL) if self._hangs() else None
        os.waitpid(self.pid, 0)
        for _ in range(100):
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return 1
            time.sleep(0.05)
        os.killpg(group, signal.SIGKILL)
        return 2

    def _hangs(self) -> bool:
        for _ in range(40):
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return False
            time.sleep(0.05)
        return True


def fork(work, seconds: float = SECONDS, kill_after: float | None = None) -> tuple[str, object]:
    """Run ``work()`` in a fork and wait for it, see :meth:`Fork.end`."""
    return Fork(work).end(seconds, kill_after)


def watched(at=None, seen: Counter | None = None):
    """Trace the package's lines: count them in ``seen``, or die at the ``at`` = (file, line, how manyth)."""
    here = Counter()

    def line(frame, event, _):
        if event == "line":
            place = frame.f_code.co_filename[len(PACKAGE) + 1 :], frame.f_lineno
            if seen is not None:
                seen[place] += 1
            elif place == at[:2]:
                here[place] += 1
                if here[place] == at[2]:
                    os.kill(os.getpid(), signal.SIGKILL)
        return line

    names = {f"{PACKAGE}/{name}.py" for name in WATCHED} if at is None else {f"{PACKAGE}/{at[0]}"}

    def enter(frame, event, _):
        return line if frame.f_code.co_filename in names else None

    threading.settrace(enter)
    sys.settrace(enter)


def state(root: Path) -> dict[str, str]:
    """Every file's content as a hash, without clock times; what should not be left lies under its own name."""
    out = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.suffix == ".lock":
            continue  # of a dead process: the next one takes it over, and nobody waits for it
        if path.is_file():
            out[name] = hashlib.sha256(_timeless(path)).hexdigest()
        if any(word in path.name for word in LEFT):
            out[name] = "left over"
    return out


def _timeless(path: Path) -> bytes:
    content = path.read_bytes()
    if path.name in ("history.csv",):
        return pd.read_csv(path).drop(columns="seconds").to_csv().encode()
    if path.name in ("seal.json", "manifest.json"):
        about = json.loads(content)
        return json.dumps({k: v for k, v in about.items() if k not in TIMES}, sort_keys=True).encode()
    if path.suffix == ".safetensors" and path.parent.parent.name == "rotation":
        about = rotation.about_scores(path)
        about.pop("seconds")
        return json.dumps(about, sort_keys=True).encode() + rotation.load_scores(path).tobytes()
    return content


class Bench:
    """One step in a place of its own: the undisturbed result, and the lines that lead to it."""

    def __init__(self, name: str, place: Path):
        self.step, self.place, self.root = STEPS[name], place, place / "case"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        os.chmod(place, 0o755)
        # Made where it will be used: paths are part of some files.
        outcome = fork(lambda: self.step.make(self.root) and None)
        if outcome[0] != "ok":
            raise RuntimeError(f"{name}: {outcome}")
        shutil.copytree(self.root, place / "inputs")
        start = time.monotonic()
        outcome = fork(self._count)
        if outcome[0] != "ok":
            raise RuntimeError(f"{name}: {outcome}")
        self.seconds = time.monotonic() - start
        self.lines = {(file, int(line)): n for file, line, n in outcome[1]}
        self.whole = state(self.root)
        if "left over" in self.whole.values():
            raise RuntimeError(f"{name} leaves something over: {self.whole}")

    def _count(self):
        seen = Counter()
        watched(seen=seen)
        try:
            self.step.work(self.root)
        finally:
            sys.settrace(None)
        return [[*place, n] for place, n in sorted(seen.items())]

    def afresh(self):
        """The inputs alone."""
        shutil.rmtree(self.root)
        shutil.copytree(self.place / "inputs", self.root)

    def draw(self, rng: np.random.Generator) -> tuple:
        """A line and which passage of it, or a moment."""
        if rng.random() < 0.2:
            return "moment", float(rng.random())
        places = sorted(self.lines)
        if rng.random() < 0.6:
            places = [place for place in places if place[0].removesuffix(".py") in WRITERS] or places
        file, line = places[int(rng.integers(len(places)))]
        return file, line, 1 + int(rng.integers(self.lines[file, line]))

    def kill(self, at: tuple) -> tuple[str, str]:
        """What became of a killed and repeated step: identical, or what is wrong."""
        self.afresh()
        if at[0] == "moment":
            first = fork(self.work, kill_after=at[1] * self.seconds)
        else:
            first = Fork(self.work, before=lambda: watched(at=at)).end()
        worker = first[0] == "error" and str(first[1]).startswith("ChildProcessError")  # killed, and said so
        if first[0] not in ("killed", "ok") and not worker:
            return ("orphans" if first[0] == "orphans" else "foreign"), str(first)
        return self.again(first[0])

    def work(self) -> None:
        self.step.work(self.root)

    def full_disk(self, resize, free: float) -> tuple[str, str]:
        """The disk has room for ``free`` KiB; then for all."""
        self.afresh()
        resize(free)
        first = fork(self.work)
        resize(None)
        return self.refused(first)

    def refused(self, first: tuple) -> tuple[str, str]:
        """Whether a step ended in one sentence that names its folder, and ends as it should when it may."""
        ours = first[0] == "ok" or first[0] == "error" and str(first[1]).partition(":")[0] in REFUSALS
        if not ours or first[0] == "error" and (str(self.root) not in first[1] or "\n" in first[1]):
            return "foreign", str(first)
        outcome, why = self.again(first[0])
        return outcome, str(first[1])[:300] if outcome == "identical" and first[0] == "error" else why

    def not_allowed(self) -> tuple[str, str]:
        """Nobody may write here."""

        def before():
            self.work()  # it imports what it needs, which nobody may not
            self.afresh()
            os.chmod(self.root, 0o555)
            if not os.getuid():
                os.setresuid(NOBODY, NOBODY, NOBODY)

        self.afresh()
        first = Fork(self.work, before).end()
        os.chmod(self.root, 0o755)
        return self.refused(first)

    def race(self) -> tuple[str, str]:
        """Two at once: one wins, or both do the same; who loses says who is at work."""
        self.afresh()
        both = [Fork(self.work), Fork(self.work)]
        ends = [one.end() for one in both]
        for end, other in zip(ends, reversed(both)):
            told = end[0] == "error" and str(end[1]).startswith("BlockingIOError") and str(self.root) in end[1]
            if end[0] != "ok" and not (told and f"process {other.pid} on {socket.gethostname()}" in end[1]):
                return "foreign", str(ends)
        if all(end[0] == "error" for end in ends):
            return "nobody won", str(ends)
        now = state(self.root)
        same = now == self.whole
        return ("identical" if same else "different"), str(next((e[1] for e in ends if e[0] == "error"), "both"))

    def again(self, first: str) -> tuple[str, str]:
        """Run the step undisturbed and compare."""
        second = fork(self.work)
        if second[0] != "ok":
            return "not resumed", f"{second}"
        now = state(self.root)
        if now == self.whole:
            return "identical", first
        differ = sorted(name for name in now.keys() | self.whole.keys() if now.get(name) != self.whole.get(name))
        return ("left over" if all(now.get(name) == "left over" for name in differ) else "different"), ", ".join(differ)
