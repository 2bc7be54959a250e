"""Tables and their manifest: all new or all old, whenever the writer is killed."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from cmdml import files, writing
from cmdml.files import sealed, write_json
from cmdml.study import results
from cmdml.study.places import ROOT


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def tables(value):
    return {name: pd.DataFrame({"value": [value]}) for name in ("a", "b", "c")}


def write_manifest(value):
    def write(folder, file, files):
        write_json(Path(folder) / file, sealed({"value": value, "files": files}))

    return write


def state(folder):
    """The one value that all files hold, as a reader finds them."""
    about = results.manifest_of(folder)
    values = {about["value"], *(pd.read_csv(folder / f"{name}.csv").value.item() for name in "abc")}
    there = {p.name for p in folder.iterdir() if not p.name.startswith(".")}  # the next writer clears the rest away
    assert len(values) == 1 and there == {"a.csv", "b.csv", "c.csv", "manifest.json"}
    return values.pop()


def test_publish_writes_all_and_leaves_nothing_else(tmp_path):
    assert results.publish(tmp_path / "out", tables(1), write_manifest(1)) == tmp_path / "out"
    assert state(tmp_path / "out") == 1
    about = json.loads((tmp_path / "out/manifest.json").read_text())
    assert about["files"] == {f"{name}.csv": files.sha256(tmp_path / f"out/{name}.csv") for name in "abc"}


def killed_at(step, out, value, monkeypatch):
    """Whether a writer got as far as its change number ``step`` of the disk, at which it is killed."""
    count, replace, write = iter(range(100)), os.replace, results.write_whole

    def counted(do):
        def wrapped(*given, **named):
            if next(count) == step:
                raise Killed
            return do(*given, **named)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted(replace))
        patch.setattr(results, "write_whole", counted(write))
        try:
            results.publish(out, tables(value), counted(write_manifest(value)))
        except Killed:
            return True
    return False


def test_killed_at_any_step_it_is_the_old_state_or_the_new(tmp_path, monkeypatch):
    """The writer is killed before its first, second, … change of the disk until it is not killed any more."""
    seen = []
    for step in range(40):
        out = results.publish(tmp_path / str(step), tables(1), write_manifest(1))
        killed = killed_at(step, out, 2, monkeypatch)
        seen.append(state(out))
        if not killed:
            break
    assert not killed and seen == sorted(seen) and seen[0] == 1 and seen[-1] == 2
    assert seen.count(1) >= 4 and seen.count(2) >= 5  # before the manifest; at each renaming after it


def test_a_second_killed_writer_spoils_nothing_of_what_the_first_had_vouched_for(tmp_path, monkeypatch):
    seen = []
    for step in range(40):
        out = results.publish(tmp_path / str(step), tables(1), write_manifest(1))
        for path in list(results.publish(tmp_path / f"other {step}", tables(2), write_manifest(2)).glob("*.*")):
            path.rename(out / f".new.{path.name}")  # the first was killed before its first renaming
        killed = killed_at(step, out, 3, monkeypatch)
        seen.append(state(out))
        if not killed:
            break
    assert not killed and seen == sorted(seen) and set(seen) == {2, 3}


def test_a_publish_after_a_killed_one_is_whole(tmp_path):
    results.publish(tmp_path, tables(1), write_manifest(1))
    (tmp_path / ".new.a.csv").write_text("half")
    results.publish(tmp_path, tables(3), write_manifest(3))
    assert state(tmp_path) == 3


def test_a_table_that_was_changed_is_refused(tmp_path):
    results.publish(tmp_path, tables(1), write_manifest(1))
    (tmp_path / "b.csv").write_text("value\n2\n")
    with pytest.raises(ValueError, match="b.csv is not the table that manifest.json beside it vouches for"):
        results.manifest_of(tmp_path)
    (tmp_path / "b.csv").unlink()
    with pytest.raises(ValueError, match="b.csv"):
        results.manifest_of(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="manifest.json is damaged, no JSON"):
        results.manifest_of(tmp_path)


@pytest.mark.parametrize("file", sorted(ROOT.glob("data/results/**/manifest.json")), ids=lambda p: str(p.parent.name))
def test_committed_results_are_those_that_their_manifests_vouch_for(file):
    assert results.manifest_of(file.parent)["files"].keys() == {path.name for path in file.parent.glob("*.csv")}


def test_an_edited_manifest_and_a_table_that_it_does_not_name_are_refused(tmp_path):
    results.publish(tmp_path, tables(1), write_manifest(1))
    (tmp_path / "d.csv").write_text("value\n1\n")
    with pytest.raises(ValueError, match="d.csv is not the table"):
        results.read_tables(tmp_path, ["a", "d"])
    assert results.read_tables(tmp_path, ["a"])["a"].value.item() == 1
    about = json.loads((tmp_path / "manifest.json").read_text())
    for changed in (about | {"value": 2}, about | {"files": {}}, {k: v for k, v in about.items() if k != "sealed"}, []):
        (tmp_path / "manifest.json").write_text(json.dumps(changed))
        with pytest.raises(ValueError, match="manifest.json is damaged or was edited"):
            results.manifest_of(tmp_path)


def test_a_reader_leaves_alone_what_a_writer_has_not_vouched_for(tmp_path):
    results.publish(tmp_path, tables(1), write_manifest(1))
    (tmp_path / ".new.a.csv").write_text("half")
    assert results.manifest_of(tmp_path)["value"] == 1 and (tmp_path / ".new.a.csv").exists()


def test_a_second_writer_is_told_who_is_at_work(tmp_path):
    sentence = f"is being written by process {os.getpid()} on"
    with writing.only_writer(tmp_path / "out"), pytest.raises(OSError, match=sentence):
        results.publish(tmp_path / "out", tables(1), write_manifest(1))


def test_numbers_have_six_digits_unless_told_otherwise_and_rows_have_none(tmp_path):
    table = {"a": pd.DataFrame({"value": [1 / 3, 1234567.0]}, index=[5, 6])}
    results.publish(tmp_path / "deep/er", table, write_manifest(1))
    assert (tmp_path / "deep/er/a.csv").read_text() == "value\n0.333333\n1.23457e+06\n"
    results.publish(tmp_path, table, write_manifest(1), float_format="%.2f")
    assert (tmp_path / "a.csv").read_text() == "value\n0.33\n1234567.00\n"


def test_a_manifest_without_files_vouches_for_nothing(tmp_path):
    for about in ({"value": 1}, {"files": ["a.csv"]}):
        write_json(tmp_path / "manifest.json", sealed(about))
        with pytest.raises(ValueError, match="manifest.json vouches for no table: restore it, or delete"):
            results.manifest_of(tmp_path)
    with pytest.raises(FileNotFoundError):
        results.manifest_of(tmp_path / "nowhere")


def test_what_a_killed_writer_had_vouched_for_is_finished_by_a_reader(tmp_path):
    results.publish(tmp_path, tables(1), write_manifest(1))
    other = results.publish(tmp_path / "other", tables(2), write_manifest(2))
    for path in list(other.glob("*.*")):
        path.rename(tmp_path / f".new.{path.name}")
    (tmp_path / ".new.d.csv").write_text("of a writer before")
    read = results.read_tables(tmp_path, ["a", "b"])
    assert {name: table.value.item() for name, table in read.items()} == {"a": 2, "b": 2}
    assert results.manifest_of(tmp_path)["value"] == 2 and not list(tmp_path.glob(".new.*"))


def test_a_table_is_read_only_if_the_manifest_names_it(tmp_path):
    results.publish(tmp_path, tables(1), write_manifest(1))
    (tmp_path / "d.csv").write_text("value\n1\n")
    assert results.manifest_of(tmp_path, ["a.csv"])["value"] == 1
    for name in ("d.csv", "e.csv"):
        with pytest.raises(ValueError, match=f"{name} is not the table that manifest.json beside it vouches for"):
            results.manifest_of(tmp_path, [name])
