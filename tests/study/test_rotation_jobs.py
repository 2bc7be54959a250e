"""Some of a rotation's designs, and what the full set would take."""

from pathlib import Path

import pandas as pd
import pytest

from cmdml import features
from cmdml.files import sealed, sha256, write_json
from cmdml.sources import nih
from cmdml.study import anatomy, rotation_jobs, run


@pytest.fixture(scope="module")
def profile():
    return run.load_profile("nih-mini")


def test_the_first_designs(profile):
    designs = profile["rotation"]["designs"]
    assert rotation_jobs.first_designs(profile, "")["rotation"]["designs"] == designs
    for count in ("1", "2", "5", 3):
        assert rotation_jobs.first_designs(profile, count)["rotation"]["designs"] == designs[: int(count)]
    assert profile["rotation"]["designs"] == designs  # not changed in place
    for count in ("0", "6", "-1", "two", "1.5", "²", "٢"):
        with pytest.raises(ValueError, match=f"DESIGNS={count}: profile nih-mini has 5, so 1 to 5"):
            rotation_jobs.first_designs(profile, count)
    with pytest.raises(ValueError, match="profile smoke has no section `rotation`"):
        rotation_jobs.first_designs(run.load_profile("smoke"), "1")


def test_jobs(profile):
    one = rotation_jobs.first_designs(profile, 1)
    assert rotation_jobs.jobs(one, ["eszsl", "focused"]) == [(101, "eszsl"), (101, "focused")]
    every = rotation_jobs.jobs(profile)
    assert len(set(every)) == len(every) == 5 * len(rotation_jobs.jobs(one))
    with pytest.raises(ValueError, match="unknown method 'eszls': did you mean 'eszsl'"):
        rotation_jobs.jobs(profile, ["eszls"])


def results(folder, low, high, seconds=3600):
    row = {"method": "focused", "reference": "mean_of_seen", "metric": "U", "difference": 0.03}
    rows = [row | {"protocol": "abnormal", "stratum": "none", "low": low, "high": high},
            row | {"protocol": "abnormal", "stratum": "source_view", "low": 0.0, "high": 0.04},
            row | {"protocol": "all", "stratum": "none", "low": -9, "high": 9}]  # fmt: skip
    # What must not be read: another pair, another metric.
    odd = rows[0] | {"low": -9, "high": 9}
    rows += [odd | {"reference": "eszsl"}, odd | {"method": "eszsl"}, odd | {"metric": "H"}]
    pd.DataFrame(rows).to_csv(folder / "paired.csv", index=False)
    films = pd.DataFrame({"protocol": ["abnormal", "single", "all"], "films": [1000, 500, 2000]})
    films.to_csv(folder / "methods.csv", index=False)
    comparisons = {"primary": [["focused", "mean_of_seen"]], "strata": ["none", "source_view"]}
    about = {"rotation": {"comparisons": comparisons}, "seconds": {"a": seconds - 600, "b": 600}}
    about["files"] = {name: sha256(folder / name) for name in ("methods.csv", "paired.csv")}
    write_json(folder / "manifest.json", sealed(about))
    return folder


def test_films_needed_grow_with_the_square(tmp_path):
    paired = pd.read_csv(results(tmp_path, 0.01, 0.05) / "paired.csv")
    pair = ("focused", "mean_of_seen")
    assert rotation_jobs.films_needed(paired, 1000, 0.02, pair) == 1000
    assert rotation_jobs.films_needed(paired, 1000, 0.01, pair) == 4000
    assert rotation_jobs.films_needed(paired, 1000, 0.005, pair) == 16000
    with pytest.raises(ValueError, match="holds 0 rows of focused − ale, view"):
        rotation_jobs.films_needed(paired, 1000, 0.01, ("focused", "ale"), "view")
    assert rotation_jobs.films_needed(paired, 1000, 0.02, pair, "source_view") == 1000
    assert rotation_jobs.films_needed(paired, 1000, 0.0201, pair) == 991  # 990.07, and a film is whole


def test_what_the_full_set_takes(tmp_path):
    text = rotation_jobs.plan_nih(results(tmp_path, 0.01, 0.03))
    assert "make rotation PROFILE=nih-full" in text and "about 56 hours" in text  # 1 h x 112,120 / 2,000
    assert "focused − mean_of_seen: ±0.01: 1,000; ±0.005: 4,000 (now 1,000)." in text
    assert "focused − mean_of_seen, within source and view: ±0.01: 4,000; ±0.005: 16,000 (now 1,000)." in text


def test_before_there_are_results_it_says_so(tmp_path):
    text = rotation_jobs.plan_nih(tmp_path)
    assert "paired.csv is not there yet" in text.splitlines()[-1] and "make rotation PROFILE=nih-full" in text
    assert "so time and sample size are unknown: make rotation PROFILE=nih-mini writes it." in text


def test_hours_grow_with_the_films_of_the_full_set(tmp_path):
    """7,200,000 s for 2,000 films are an hour a film: as many hours as ChestX-ray14 has films."""
    assert "about 112,120 hours of one core, the time of 2,000" in rotation_jobs.plan_nih(
        results(tmp_path, 0.01, 0.03, seconds=7_200_000))  # fmt: skip


@pytest.fixture
def asked(monkeypatch):
    """The work of the tasks replaced: what was asked for, in order."""
    found = []
    for name in ("plan_nih", "extract_features"):
        monkeypatch.setattr(rotation_jobs, name, lambda *given, name=name: found.append((name, *given)) or f"<{name}>")
    monkeypatch.setattr(anatomy, "collect", lambda *given: found.append(("collect", *given)) or "<collect>")
    return found


def test_a_task_does_its_work(asked, profile, capsys):
    rotation_jobs.main("plan")
    assert capsys.readouterr().out == "<plan_nih>\n"
    for given in ((), ("{}",), ('{"run_dir": "/aside"}',)):
        rotation_jobs.main("collect", "nih-mini", "2", *given)
        assert capsys.readouterr().out == "<collect> done\n"
    rotation_jobs.main("extract", "nih-mini", "/films")
    assert capsys.readouterr().out == ""
    two = profile | {"rotation": profile["rotation"] | {"designs": profile["rotation"]["designs"][:2]}}
    aside = run.load_profile("nih-mini", {"run_dir": "/aside"}) | {"rotation": two["rotation"]}
    assert asked == [("plan_nih",), ("collect", two), ("collect", two),
                     ("collect", aside),
                     ("extract_features", profile, "/films")]  # fmt: skip
    with pytest.raises(ValueError, match="unknown task 'plam': did you mean 'plan'"):
        rotation_jobs.main("plam")


def test_features_of_both_networks_are_kept_where_the_plan_names_them(tmp_path, monkeypatch, profile):
    values = profile["parameters"] | {"run_dir": str(tmp_path / "run")}
    stems = {"features": str(tmp_path / "a/b/seeing"), "random_features": str(tmp_path / "a/b/blind")}
    prepared, extracted, saved = [], [], []

    class Made:
        def save(self, stem):
            assert stem.parent.is_dir()
            saved.append(stem)

    monkeypatch.setattr(nih, "prepare", lambda *given, **named: prepared.append((given, named)) or "radiographs")
    monkeypatch.setattr(features, "extract", lambda *given, **named: extracted.append((given, named)) or Made())
    rotation_jobs.extract_features({"parameters": values, "rotation": profile["rotation"] | stems}, "/films")
    assert prepared == [((tmp_path / "run/radiographs",), {"root": Path("/films"), "size": values["size"]})]
    assert extracted == [
        (("radiographs", tmp_path / "run/features-imagenet"), {"weights": "imagenet"}),
        (("radiographs", tmp_path / "run/features-random"), {"weights": ""}),
    ]
    assert list(map(str, saved)) == list(stems.values())


def test_the_command_ends_in_one_sentence(as_command, capsys):
    assert as_command("cmdml.study.rotation_jobs", "plam") == (
        "rotation stopped. unknown task 'plam': did you mean 'plan'?")  # fmt: skip
    assert as_command("cmdml.study.rotation_jobs", "plan") is None
    assert "make rotation PROFILE=nih-full" in capsys.readouterr().out
