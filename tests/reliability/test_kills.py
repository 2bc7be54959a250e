"""Killed, out of space, not allowed, two at once: whatever happens, the next run ends bit-identical."""

import json
import os

import numpy as np
import pytest
from reliability import disk, kills, torture

QUICK = ("decode", "reduce", "extract", "train", "save features", "sweep run")


@pytest.fixture(scope="module")
def benches(tmp_path_factory):
    made = {}

    def bench(name):
        if name not in made:
            made[name] = kills.Bench(name, tmp_path_factory.mktemp("kills") / "bench")
        return made[name]

    return bench


@pytest.mark.parametrize("name", QUICK)
def test_killed_at_random_lines_it_ends_bit_identical(benches, name):
    bench, rng = benches(name), np.random.default_rng(3)
    ended = {at: bench.kill(at) for at in (bench.draw(rng) for _ in range(3))}
    assert {outcome for outcome, _ in ended.values()} == {"identical"}, ended


def test_a_kill_is_a_kill(benches):
    """At every line that puts a file in its place."""
    bench = benches("reduce")
    lines = [place for place in bench.lines if place[0] in ("files.py", "writing.py")]
    assert len(lines) > 20
    assert bench.kill((*max(lines), 1)) == ("identical", "killed")


@pytest.mark.parametrize("name", ["decode", "train"])
def test_a_full_disk_is_one_sentence(tmp_path, name):
    if why := disk.possible(tmp_path):
        pytest.skip(why)
    with disk.small_disk(tmp_path) as resize:
        bench = kills.Bench(name, tmp_path / "bench")
        outcome, said = bench.full_disk(resize, 1)
        assert outcome == "identical" and "No space left on device" in said and str(bench.root) in said, said


@pytest.mark.parametrize("name", ["extract", "sweep run"])
def test_a_folder_that_nobody_may_write_to_is_one_sentence(benches, name, tmp_path_factory):
    for folder in (tmp_path_factory.getbasetemp(), *tmp_path_factory.getbasetemp().parents[:1]):
        os.chmod(folder, 0o755)
    outcome, said = benches(name).not_allowed()
    assert outcome == "identical" and "Permission denied" in said, (outcome, said)


@pytest.mark.parametrize("name", ["train", "extract"])
def test_of_two_writers_one_wins_and_the_other_says_who(benches, name):
    outcomes = [benches(name).race() for _ in range(2)]
    assert {outcome for outcome, _ in outcomes} == {"identical"}, outcomes


def test_what_is_not_restored_is_reported(tmp_path):
    outcome, said = torture.unveil("the optimizer is not kept", np.random.default_rng(0), tmp_path)
    assert outcome == "seen", said


def test_the_trial_goes_on_where_it_was_and_counts_what_it_saw(tmp_path, monkeypatch):
    journal, tried = torture.Journal(tmp_path / "journal"), []

    def do(part, name, numbers, seed, note):
        tried.extend(numbers)
        for i in numbers:
            note(i, "silent" if i == 2 else "refused", "a.csv: flip", "")

    monkeypatch.setattr(torture, "do", do)
    torture.work([("input", "set", [0, 1, 2])], set(), journal, 1, float("inf"))
    (tmp_path / "journal/9.jsonl").write_text(json.dumps({"part": "input"})[:-3])  # killed while it wrote
    done = {(one["part"], one["name"], one["i"]) for one in journal.read()}
    torture.work([("input", "set", [1, 2, 3])], done, journal, 1, float("inf"))
    assert tried == [0, 1, 2, 3]
    table = torture.counted(journal.read())["input"].set_index("reader")
    assert table.loc["all", "tried"] == 4 and table.loc["set", "silent"] == 1 and table.loc["set", "refused"] == 3
