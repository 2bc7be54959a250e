"""Some of a rotation's designs, and what the full set would take."""


import pandas as pd
import pytest

from cmdml.files import sealed, sha256, write_json
from cmdml.study import rotation_jobs, run


@pytest.fixture(scope="module")
def profile():
    return run.load_profile("nih-mini")


def test_the_first_designs(profile):
    designs = profile["rotation"]["designs"]
    assert rotation_jobs.first_designs(profile, "")["rotation"]["designs"] == designs
    assert rotation_jobs.first_designs(profile, "2")["rotation"]["designs"] == designs[:2]
    assert profile["rotation"]["designs"] == designs  # not changed in place
    for count in ("0", "6", "-1", "two", "1.5"):
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


def results(folder, low, high):
    row = {"method": "focused", "reference": "mean_of_seen", "metric": "U", "difference": 0.03}
    rows = [row | {"protocol": "abnormal", "stratum": "none", "low": low, "high": high},
            row | {"protocol": "abnormal", "stratum": "source_view", "low": 0.0, "high": 0.04},
            row | {"protocol": "all", "stratum": "none", "low": -9, "high": 9}]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "paired.csv", index=False)
    films = pd.DataFrame({"protocol": ["abnormal", "single", "all"], "films": [1000, 500, 2000]})
    films.to_csv(folder / "methods.csv", index=False)
    comparisons = {"primary": [["focused", "mean_of_seen"]], "strata": ["none", "source_view"]}
    about = {"rotation": {"comparisons": comparisons}, "seconds": {"a": 3000, "b": 600}}
    about["files"] = {name: sha256(folder / name) for name in ("methods.csv", "paired.csv")}
    write_json(folder / "manifest.json", sealed(about))
    return folder


def test_films_needed_grow_with_the_square(tmp_path):
    paired = pd.read_csv(results(tmp_path, 0.01, 0.05) / "paired.csv")
    pair = ("focused", "mean_of_seen")
    assert rotation_jobs.films_needed(paired, 1000, 0.02, pair) == 1000
    assert rotation_jobs.films_needed(paired, 1000, 0.01, pair) == 4000
    assert rotation_jobs.films_needed(paired, 1000, 0.005, pair) == 16000
    with pytest.raises(ValueError, match="holds 0 rows of focused − eszsl"):
        rotation_jobs.films_needed(paired, 1000, 0.01, ("focused", "eszsl"))


def test_what_the_full_set_takes(tmp_path):
    text = rotation_jobs.plan_nih(results(tmp_path, 0.01, 0.03))
    assert "make rotation PROFILE=nih-full" in text and "about 56 hours" in text  # 1 h x 112,120 / 2,000
    assert "focused − mean_of_seen: ±0.01: 1,000; ±0.005: 4,000 (now 1,000)." in text
    assert "focused − mean_of_seen, within source and view: ±0.01: 4,000; ±0.005: 16,000 (now 1,000)." in text


def test_before_there_are_results_it_says_so(tmp_path):
    text = rotation_jobs.plan_nih(tmp_path)
    assert "paired.csv is not there yet" in text.splitlines()[-1] and "make rotation PROFILE=nih-full" in text
