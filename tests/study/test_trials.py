"""Trials are listed by what differs, with their AUROC once they were evaluated."""


import pandas as pd
import pytest
from conftest import vouch

from cmdml.study import trials
from cmdml.study.parameters import default_parameters


def trial(folder, name, started, evaluated=False, **changed):
    out = folder / name
    out.mkdir(parents=True)
    parameters = default_parameters(trials.TRAINING) | changed | {"profile": "phantom", "out": str(out)}
    about = {"parameters": parameters, "started": started, "val_seen_auroc": 0.91234, "train_seconds": 90.0}
    vouch(out, about)
    if evaluated:
        (out / "evaluation").mkdir()
        rows = [{"protocol": p, "metric": f"auroc_{m}", "value": v, "low": v - 0.1, "high": v + 0.1}
                for p, base in (("all", 0.8), ("abnormal", 0.5))
                for m, v in zip("SUH", (base, base + 0.1, base + 0.05))]
        pd.DataFrame(rows).to_csv(out / "evaluation/summary.csv", index=False)
        vouch(out / "evaluation", {"profile": "phantom"})


def test_each_trial_by_what_it_changes_the_newest_first(tmp_path):
    trial(tmp_path, "a", "2026-01-01T10:00:00+00:00", gamma=3.0)
    trial(tmp_path, "b", "2026-01-03T10:00:00+00:00", evaluated=True, semantics="description", tau=0.5)
    trial(tmp_path, "c", "2026-01-02T10:00:00+00:00")
    table = trials.trials(tmp_path)
    assert list(table.index) == ["b", "c", "a"]
    assert table.changed.to_dict() == {"a": "gamma=3.0", "b": "semantics=description tau=0.5", "c": "nothing"}
    assert table.loc["b", ["S", "U", "H"]].tolist() == ["0.50 (0.40–0.60)", "0.60 (0.50–0.70)", "0.55 (0.45–0.65)"]
    assert table.loc["a", ["S", "U", "H"]].tolist() == ["–"] * 3
    assert table.val["a"] == "0.912" and table.minutes["a"] == "1.5" and table.started["b"] == "2026-01-03 10:00"
    shown = trials.main(tmp_path)
    assert "semantics=description tau=0.5" in shown and shown.index("| b ") < shown.index("| c ") < shown.index("| a ")


def test_an_unfinished_trial_is_no_trial(tmp_path):
    (tmp_path / "half").mkdir()
    assert "No trial in" in trials.main(tmp_path) and "-p gamma 3" in trials.main(tmp_path)
    assert "No trial in" in trials.main(tmp_path / "nowhere")


def test_a_broken_manifest_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/manifest.json").write_text("{")
    with pytest.raises(ValueError, match="a/manifest.json is damaged, no JSON"):
        trials.trials(tmp_path)


def test_what_a_trial_does_not_tell_is_a_dash_and_what_the_chapter_does_not_declare_is_changed(tmp_path):
    (tmp_path / "a").mkdir()
    parameters = default_parameters(trials.TRAINING) | {"new": 3, "out": "x"}
    vouch(tmp_path / "a", {"parameters": parameters, "started": "2026-01-01T10:00:00+00:00"})
    row = trials.trials(tmp_path).loc["a"]
    assert row.to_dict() == {"changed": "new=3", "val": "–", "S": "–", "U": "–", "H": "–", "minutes": "–",
                             "started": "2026-01-01 10:00"}  # fmt: skip


def test_trials_of_one_minute_stay_in_the_order_of_their_names(tmp_path):
    for name in "bdac":
        trial(tmp_path, name, "2026-01-01T10:00:00+00:00")
    assert list(trials.trials(tmp_path).index) == list("abcd")
    assert trials.trials(tmp_path / "nowhere").columns.tolist() == [
        "changed", "val", "S", "U", "H", "minutes", "started"]  # fmt: skip


def test_numbers_are_printed_as_they_stand_and_rows_have_no_number(tmp_path):
    trial(tmp_path, "001", "2026-01-01T10:00:00+00:00", gamma=3.0)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in trials.main(tmp_path).splitlines()]
    assert lines[0][:2] == ["trial", "changed"]
    assert lines[2] == ["001", "gamma=3.0", "0.912", "–", "–", "–", "1.5", "2026-01-01 10:00"]


def test_the_command_prints_the_table_or_one_sentence(tmp_path, as_command, capsys):
    assert as_command("cmdml.study.trials", tmp_path) is None
    assert capsys.readouterr().out.startswith(f"No trial in {tmp_path} yet.")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/manifest.json").write_text("{")
    assert "a/manifest.json is damaged" in as_command("cmdml.study.trials", tmp_path, "more")
