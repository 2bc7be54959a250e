"""Damaged inputs, reader by reader, and what became of each.

refused
    One sentence of ours: a ValueError or OSError, one line, that names the path.
harmless
    The result is what the undamaged files give, bit for bit.
other input
    Of what people hand in: a well-formed file that says something else. It is another input, and is noticed as one:
    the set records other hashes, the value is what a plain parser reads.
silent, foreign, hang
    Faults: accepted although something differs; another library's words or class; no end within seconds.
"""

import shutil
import signal
import tempfile
import warnings
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import yaml
from reliability import made
from reliability.damage import PLACES, damage, ways
from reliability.kills import Fork

from cmdml import findings, semantics
from cmdml.evaluation.testset import embedded
from cmdml.feature_set import FeatureSet
from cmdml.radiographs import RadiographSet
from cmdml.run_folder import load_run
from cmdml.sources import chestmnist, kermany, nih
from cmdml.sources.decoding import decode
from cmdml.sources.phantom import counts
from cmdml.study import profiles, results, rotation, tables

REFUSED, HARMLESS, OTHER, SILENT, FOREIGN, HANG = "refused", "harmless", "other input", "silent", "foreign", "hang"
FAULTS = (SILENT, FOREIGN, HANG)
SECONDS = 60  # a case takes milliseconds; the machine may be busy


class Found(NamedTuple):
    """What a reader gave: ``content`` for comparing, ``noticed`` by what a set records of its inputs."""

    content: object
    noticed: object = None


@dataclass(frozen=True)
class Reader:
    """``make(root)`` makes a whole thing, ``read(root, out)`` reads it; ``inputs`` are files that people hand in."""

    make: object
    read: object
    inputs: bool = False
    only: str = "*"  # which files are damaged
    naive: object = None  # (root) -> content, by a plain parser: what an accepted other input must hold


def of_set(radiographs):
    radiographs.verify()
    content = radiographs.table.to_csv(), radiographs.pixels.tobytes(), radiographs.card["findings"]
    return Found(content, (radiographs.card.get("request"), len(radiographs), radiographs.card["counts"]))


def of_features(root, out):
    got = FeatureSet.load(root / "f")
    return Found((got.table.to_csv(), got.pixels.tobytes(), made.plain(got.card)))


def of_training(root, out):
    trained = load_run(root / "training")
    weights = [(name, value.numpy().tobytes()) for name, value in trained.model.state_dict().items()]
    kept = embedded(root / "training", trained.embeddings["index"])
    arrays = [(name, value.tobytes()) for name, value in {**trained.embeddings, **kept}.items()]
    return Found((weights, arrays, trained.history.drop(columns="seconds").to_csv()))


def resumed(root, out):
    return of_training_in(made.quiet_fit(made.parts_of(root / "radiographs"), made.VECTORS, made.CONFIG,
                                         root / "training"))  # fmt: skip


def of_training_in(trained):
    weights = [(name, value.numpy().tobytes()) for name, value in trained.model.state_dict().items()]
    return Found((weights, trained.embeddings["scores"].tobytes(), trained.history.drop(columns="seconds").to_csv()))


def of_vectors(root, out):
    with mock.patch.object(semantics, "SEMANTICS_DIR", root):
        vectors, about = semantics.committed()
        if not vectors:  # the file is gone: as in a clone without it, the texts would be encoded
            raise FileNotFoundError(f"{root}: no vectors")
        return Found(([(text, vector.numpy().tobytes()) for text, vector in vectors.items()], about))


def of_results(root, out):
    about = results.manifest_of(root / "out")
    got = results.read_tables(root / "out", ["methods", "paired"])
    return Found((made.plain(about), [table.to_csv() for table in got.values()]))


def of_run(root, out):
    """What `collect` takes of a run: its manifest and its scores."""
    profile = made.sweep_profile(root)
    radiographs = RadiographSet.load(root / "radiographs")
    place = root / "sweep/focused/default-0"
    about = tables._of_these_films(place, radiographs)
    rows = np.flatnonzero(radiographs.table["split"] == "test")
    kept = embedded(place / "training", rows)
    return Found((made.plain(about), kept["scores"].tobytes(), profile["name"]))


def of_scores(root, out):
    file = root / "run/rotation/1/cosine.safetensors"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a file of before there were hashes is named in a warning
        try:
            return Found((rotation.load_scores(file).tobytes(), made.plain(rotation.about_scores(file))))
        except UserWarning as warning:
            raise ValueError(str(warning)) from None


def of_findings(root, out):
    found = findings.load_findings(root / "findings.yaml")
    return Found(([tuple(vars(one).items()) for one in found], findings.load_attributes(root / "findings.yaml")))


def plain_findings(root):
    content = yaml.safe_load((root / "findings.yaml").read_text(encoding="utf-8"))
    listed = content if isinstance(content, list) else [*(content.get("findings") or []),
                                                        *(content.get("extra_findings") or [])]  # fmt: skip
    text = ("key", "name", "description", "source")
    found = [tuple({name: " ".join(one[name].split()) if name in text else tuple(one[name])
                    for name in ("key", "name", "synonyms", "description", "signs", "source")}.items())
             for one in listed]  # fmt: skip
    own = content.get("attributes") if isinstance(content, dict) else None
    return found, own or findings.load_attributes()


def of_profile(root, out):
    return Found(made.plain(profiles.load_profile(root / "mine.yaml")))


def plain_profile(root):
    content = yaml.safe_load((root / "mine.yaml").read_text(encoding="utf-8"))
    whole = profiles.load_profile(root / "mine.yaml")
    told = {"title": content.get("title") or "mine", "description": content.get("description", ""),
            "variants": content.get("variants") or {}, "parameters": {**whole["parameters"], **content["parameters"]}}
    for name, value in whole["parameters"].items():  # an int that stands for a float is no other value
        if isinstance(value, float):
            told["parameters"][name] = float(told["parameters"][name])
    return made.plain(whole | told)


def of_counts(root, out):
    with mock.patch.object(counts, "COUNTS", root / "label_sets.csv"):
        sets, about = counts.read_counts()
        return Found((sets.to_csv(), made.plain(about)), counts.drawing_sha256())


def of_film(root, out):
    names = [f"{i // 2 + 1:08d}_{i % 2:03d}.png" for i in range(made.FILMS)]
    return Found([decode(root / "images" / name, 8).tobytes() for name in names])


READERS = {
    "set": Reader(lambda root: made.a_set(root / "set", n=24),
                  lambda root, out: of_set(RadiographSet.load(root / "set"))),
    "features": Reader(lambda root: made.features(root / "f", n=24), of_features),
    "training": Reader(made.training, of_training, only="training/*"),
    "checkpoint": Reader(made.interrupted, resumed, only="training/*"),
    "half a set": Reader(made.partial_set, lambda root, out: of_set(nih.prepare(
        root / "set", root=root / "films", size=8, workers=1, progress=False)), only="set.partial/*"),
    "vectors": Reader(made.vectors, of_vectors),
    "results": Reader(made.tables, of_results),
    "run": Reader(made.a_run, of_run, only="sweep/*"),
    "rotation": Reader(made.scores, of_scores, only="run/*"),
    "nih": Reader(made.nih_folder, lambda root, out: of_set(nih.prepare(
        out, root=root, size=8, workers=1, progress=False)), inputs=True),
    "kermany": Reader(made.kermany_folder, lambda root, out: of_set(kermany.prepare(
        out, root=root, size=8, workers=1, progress=False)), inputs=True),
    "npz": Reader(made.archive, lambda root, out: of_set(chestmnist.prepare(
        out, npz=root / "c.npz", size=14, progress=False))),
    "counts": Reader(made.counts, of_counts, inputs=True),
    "findings": Reader(made.findings_file, of_findings, inputs=True, naive=plain_findings),
    "profile": Reader(made.profile_file, of_profile, inputs=True, naive=plain_profile),
    "film": Reader(lambda root: made.films(root / "images"), of_film),
}  # fmt: skip


@contextmanager
def at_most(seconds: int):
    def late(*_):
        raise TimeoutError("hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def sentence(error: BaseException, root: Path) -> bool:
    """Whether an error is one sentence of ours that names the path (or its folder, where the file is gone)."""
    ours = type(error) in (ValueError, OSError) or (isinstance(error, OSError) and type(error).__module__ == "builtins")
    text = str(error)
    return ours and "\n" not in text and len(text) < 700 and (str(root) in text or "mine.yaml" in text)


def verdict(reader: Reader, root: Path, out: Path, whole: Found) -> tuple[str, str]:
    """What became of a damaged folder, and what was said."""
    try:
        with at_most(SECONDS), redirect_stdout(StringIO()):
            found = reader.read(root, out)
    except TimeoutError as error:
        return HANG, str(error)
    except BaseException as error:
        return (REFUSED if sentence(error, root) else FOREIGN), f"{type(error).__name__}: {error}"[:600]
    if found.content == whole.content:
        return HARMLESS, ""
    if reader.naive:
        try:
            return (OTHER, "") if found.content == reader.naive(root) else (SILENT, "not what a plain parser reads")
        except Exception as error:
            return SILENT, f"a plain parser refuses it: {error!r}"[:600]
    if reader.inputs and isinstance(found.noticed, str):
        return (OTHER, "") if found.noticed != whole.noticed else (SILENT, "not noticed")
    if reader.inputs and found.content[1] == whole.content[1] or reader.inputs and found.noticed[1] != whole.noticed[1]:
        (request, films, counted), (before, expected, _) = found.noticed, whole.noticed
        left_out = sum(n for name, n in counted.items() if name.startswith(("without", "listed", "unlisted")))
        if request != before and (films == expected or left_out):
            return OTHER, ""
    return SILENT, "accepted, and something differs"


class Case(NamedTuple):
    """A file by its number, how it is damaged, where."""

    file: int
    how: str
    at: float
    to: float
    noise: bytes


class Bench:
    """One reader's whole folder and a place for its damaged copies."""

    def __init__(self, kind: str, place: Path):
        self.kind, self.reader, self.place = kind, READERS[kind], place
        with redirect_stdout(StringIO()):
            self.reader.make(place / "whole")
            self._copy()
            self.whole = self.reader.read(place / "copy", place / "out")
        files = made.all_files(place / "whole")
        self.files = [file for file in files if file.match(self.reader.only) or self.reader.only == "*"
                      or file.is_relative_to(Path(self.reader.only).parent)]  # fmt: skip

    def _copy(self):
        for name in ("copy", "out", "out.partial"):
            shutil.rmtree(self.place / name, ignore_errors=True)
        shutil.copytree(self.place / "whole", self.place / "copy", symlinks=True)

    def draw(self, rng: np.random.Generator) -> Case:
        file = int(rng.integers(len(self.files)))
        if self.reader.inputs and self.files[file].suffix == ".png" and rng.random() < 0.7:
            file = next(i for i in rng.permutation(len(self.files)).tolist() if self.files[i].suffix != ".png")
        how = str(rng.choice(ways(self.files[file])))
        return Case(file, how, *rng.random(2).tolist(), rng.bytes(int(rng.integers(1, 20))))

    def judge(self, case: Case) -> tuple[str, str, str]:
        """(file, verdict, what was said)."""
        self._copy()
        file = self.files[case.file % len(self.files)]
        damage(self.place / "copy" / file, case.how, case.at, case.to, case.noise)

        def judged():
            return verdict(self.reader, self.place / "copy", self.place / "out", self.whole)

        if case.how not in PLACES:
            return str(file), *judged()
        end, found = Fork(judged).end(SECONDS + 5)  # what waits for a pipe in foreign code cannot be interrupted
        return str(file), *(found if end == "ok" else (HANG if end == "hang" else FOREIGN, f"{end} {found}"))


@contextmanager
def bench(kind: str):
    with tempfile.TemporaryDirectory(prefix="cmdml-bad-") as place:
        yield Bench(kind, Path(place))
