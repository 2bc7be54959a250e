"""What a sweep's runs train on, whom their tables count as unseen, what untrained scorers may look at."""

import ast
import json
import shutil
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import make_tiny

from cmdml.evaluation.testset import TestSet
from cmdml.findings import DEFAULT_UNSEEN, KEYS, findings_of, split_findings
from cmdml.semantics import semantic_vectors
from cmdml.study import plan, run, sweep, tables

METHODS = {"focused": {}, "signs": {"semantics": "signs"}, "shuffled": {"semantics": "shuffled"},
           "ill_only": {"keep_no_finding": False}, "supervised": {"objective": "bce", "unseen": "none"}}  # fmt: skip


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    make_tiny(folder / "radiographs", n=240)
    profile = run.load_profile("smoke", {"epochs": 1, "dim": 8, "hidden": 8})
    profile["parameters"]["run_dir"] = str(folder)
    return profile | {"sweep": {"seeds": [1, 2], "splits": ["random"], "methods": METHODS}}


@pytest.fixture
def given(profile, monkeypatch):
    """What ``fit`` is given for one run."""

    class Stop(Exception):
        pass

    def given(method, split="default", seed=0, profile=profile):
        found = []

        def fit(parts, vectors, config, *_, **__):
            found.append((parts, vectors.numpy(), config))
            raise Stop

        monkeypatch.setattr(sweep, "fit", fit)
        with pytest.raises(Stop):
            sweep.train(profile, method, split, seed)
        return found[0]

    return given


@pytest.mark.parametrize(("method", "kind"), [("focused", "signs_text"), ("signs", "signs"), ("shuffled", "shuffled")])
@pytest.mark.parametrize("seed", [0, 3])
def test_the_semantics_of_the_method_and_the_seed_of_the_shuffle(given, method, kind, seed):
    vectors = semantic_vectors(findings_of(KEYS), kind, seed=seed).numpy()
    np.testing.assert_array_equal(given(method, seed=seed)[1], vectors)
    other = semantic_vectors(findings_of(KEYS), "shuffled", seed=seed + 1).numpy()
    assert kind != "shuffled" or (vectors != other).any()


def test_normal_films_are_kept_or_not(given):
    for method, kept in (("focused", True), ("ill_only", False)):
        parts = given(method)[0]
        assert (~parts.radiographs.labels[parts.train].any(1)).any() == kept


def test_the_supervised_ceiling_is_shown_every_finding(given):
    parts, _, config = given("supervised")
    assert parts.findings.unseen == () and config.objective == "bce"
    assert parts.radiographs.labels[parts.train][:, [KEYS.index(k) for k in DEFAULT_UNSEEN]].any()
    parts = given("focused")[0]
    assert parts.findings.unseen == DEFAULT_UNSEEN
    assert not parts.radiographs.labels[parts.train][:, [KEYS.index(k) for k in DEFAULT_UNSEEN]].any()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_random_split_and_a_training_are_drawn_with_the_run_s_seed(given, seed):
    parts, _, config = given("focused", "random", seed)
    assert parts.findings == split_findings(KEYS, "random", seed=seed) and config.seed == seed
    assert parts.findings != split_findings(KEYS, "random", seed=seed + 1)


def test_the_profile_s_unseen_findings_and_a_tuned_rate(given, profile):
    own = profile | {"parameters": profile["parameters"] | {"unseen": "Mass,Nodule"}}
    assert set(given("focused", profile=own)[0].findings.unseen) == {"Mass", "Nodule"}
    assert given("focused", "default@0.02")[2].lr == 0.02


def test_tables_count_as_unseen_what_the_seed_drew(profile, tmp_path):
    for method in ("focused", "supervised"):
        folder = sweep.train(profile, method, "random", 2)
        unseen = set(split_findings(KEYS, "random", seed=2).unseen)
        table = pd.read_csv(folder / "run.csv")
        assert set(table.finding[~table.seen]) == unseen and unseen != set(DEFAULT_UNSEEN)
        assert set(json.loads((folder / "manifest.json").read_text())["unseen"]) == unseen
    out = tables.collect(profile, tmp_path, replicates=5)
    rows = pd.read_csv(out / "runs.csv")
    assert set(rows.finding[~rows.seen]) == unseen and set(rows.seed) == {2}


def test_source_only_counts_no_film_with_an_unseen_finding(monkeypatch):
    rng, count = np.random.default_rng(0), 60
    labels = (rng.random((count, len(KEYS))) < 0.1).astype(np.uint8)
    table = pd.DataFrame({"source_repo": ["a", "b"] * 30, "source_pixels": 1, "split": ["train", "train", "test"] * 20})
    radiographs = SimpleNamespace(table=table, findings=KEYS, labels=labels)
    rows = np.flatnonzero(table.split == "test")
    test, asked = SimpleNamespace(radiographs=radiographs, rows=rows, labels=labels[rows]), []

    def source_only(_, keys, train, test_rows, columns):
        asked.append(train)
        return np.zeros((len(test_rows), len(keys)))

    monkeypatch.setattr(tables, "source_only", source_only)
    findings = split_findings(KEYS)
    tables._untrained(test, findings, {"focused": np.zeros((len(rows), len(KEYS)))}, 0)
    blind, informed = asked
    train = np.flatnonzero(table.split == "train")
    allowed = [row for row in train if not any(labels[row, KEYS.index(key)] for key in DEFAULT_UNSEEN)]
    assert blind.tolist() == allowed and informed.tolist() == train.tolist() and len(allowed) < len(train)


def test_chapter_4_scores_test_films(profile, tmp_path):
    """The cell that reads a training, run alone: its rows are the test films', its scores theirs."""
    folder = sweep.train(profile, "focused", "random", 1) / "training"
    cells = nbformat.read(run.ROOT / "notebooks/04_evaluation.ipynb", 4).cells
    reads = next(c.source for c in cells if "training_of(" in c.source and c.cell_type == "code")
    here = {}
    for cell in cells[: next(i for i, c in enumerate(cells) if c.source == reads)]:
        lines = ast.parse(cell.source).body if cell.cell_type == "code" else []
        imports = [line for line in lines if isinstance(line, ast.Import | ast.ImportFrom)]
        exec(compile(ast.Module(imports, []), "imports", "exec"), here)
    exec(reads, here | {"run_dir": profile["parameters"]["run_dir"], "training": str(folder)}, here)
    table = TestSet(plan.radiographs_of(profile)).radiographs.table
    rows = np.flatnonzero(table.split == "test")
    assert here["rows"].tolist() == rows.tolist()
    with np.load(folder / "embeddings.npz") as file:
        scores = dict(zip(file["index"].tolist(), file["scores"], strict=True))
    np.testing.assert_array_equal(here["scores"], np.stack([scores[row] for row in rows]))
    np.testing.assert_array_equal(here["labels"], table.loc[rows, list(KEYS)].to_numpy(int))
    shutil.rmtree(folder.parent)
