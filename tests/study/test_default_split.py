"""The peers' split on frozen features: which films, which numbers, and the trap of a source that turns one-sided."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cmdml.evaluation.metrics import bootstrap_weights
from cmdml.feature_set import FeatureSet
from cmdml.findings import KEYS, split_findings
from cmdml.study import default_split, run
from cmdml.study.default_split import measured, rotation_of, rows_of, scored_by, source_illness, without


@pytest.fixture(scope="module")
def profile(rotation_profile):
    return rotation_profile | {"parameters": rotation_profile["parameters"] | {"unseen": "default", "epochs": 1}}


@pytest.fixture(scope="module")
def films(rotation):
    """The made films with a split by patient; source "c" holds Pneumonia or nothing: one-sided once that is gone."""
    table, keys = rotation.films.table.copy(), list(KEYS)
    of = np.unique(table["patient"], return_inverse=True)[1] % 5
    table["split"] = np.array(["train", "train", "train", "val", "test"])[of]
    here = (table["source_repo"] == "c").to_numpy()
    table.loc[here, keys] = 0
    table.loc[here & (np.arange(len(table)) % 2 == 0), "Pneumonia"] = 1
    return FeatureSet(rotation.films.pixels, table, rotation.films.card, rotation.films.folder)


def test_one_cell_with_the_default_findings_and_the_set_s_own_split(profile, films):
    rotation = rotation_of(profile, films, 5)
    cell, split = rotation.cell(0, 0), films.table["split"].to_numpy()
    assert cell.findings.unseen == split_findings(KEYS, "default").unseen and len(rotation.sets) == 1
    assert (cell.test == np.flatnonzero(split == "test")).all() and (cell.val == np.flatnonzero(split == "val")).all()
    assert (split[cell.train] == "train").all() and not films.labels[cell.train][:, cell.findings.unseen_mask].any()


def test_heads_have_seeds_and_closed_forms_have_one(profile, films):
    rotations = [rotation_of(profile, films, seed) for seed in (1, 2)]
    scores, setting = scored_by(rotations, "focused")
    test = (films.table["split"] == "test").sum()
    assert scores.shape == (2, test, len(KEYS)) and setting == {} and not np.allclose(scores[0], scores[1])
    scores, setting = scored_by(rotations, "eszsl")
    assert len(scores) == 1 and set(setting) == {"ridge", "semantic_ridge"}


def test_a_source_that_turns_one_sided_turns_the_finding_upside_down(profile, films):
    cell = rotation_of(profile, films, 1).cell(0, 0)
    scores = source_illness(films, cell.train, cell.test)
    source, ill = films.table["source_repo"].to_numpy(), films.labels.any(1)
    for row, value in zip(cell.test[:30], scores[:30, 0], strict=True):
        assert value == pytest.approx(ill[cell.train][source[cell.train] == source[row]].mean())
    c, rows = KEYS.index("Pneumonia"), ill[cell.test]
    assert roc_auc_score(films.labels[cell.test][rows, c], scores[rows, c]) < 0.35
    tables = measured(profile, films, {"set": "made"}, methods=("source_illness", "mean_of_seen"), seeds=[1])
    assert list(tables["sources"]["source"]) == ["c"] and set(tables["sources"]["kind"]) == {"normal"}
    less = without(films, ["c"])
    assert len(less) == (source != "c").sum() == len(less.pixels) and "c" not in set(less.table["source_repo"])
    assert (less.pixels == films.pixels[source != "c"]).all()
    assert not len(measured(profile, less, {}, methods=("mean_of_seen",), seeds=[1])["sources"])


def test_a_source_without_training_films_scores_the_overall_share(films):
    scores = source_illness(films, np.flatnonzero(films.table["source_repo"] == "a"), np.arange(len(films)))
    assert len(np.unique(scores)) == 1


def test_s_u_and_h_are_means_of_auroc_with_patient_intervals():
    rng, n = np.random.default_rng(0), 800
    labels = (rng.random((n, len(KEYS))) < 0.2).astype(np.uint8)
    labels[:, KEYS.index("Hernia")] = 0
    scores, patients = rng.normal(size=(2, n, len(KEYS))) + labels, np.arange(n) // 2
    findings = split_findings(KEYS, "default")
    table = pd.DataFrame(rows_of(labels, scores, patients, findings, 50)).set_index(["protocol", "metric"])
    for protocol, keep in (("abnormal", labels.any(1)), ("single", labels.sum(1) == 1), ("all", labels.sum(1) >= 0)):
        each = {key: np.mean([roc_auc_score(labels[keep, c], one[keep, c]) for one in scores])
                for c, key in enumerate(KEYS) if key != "Hernia"}  # fmt: skip
        s, u = (np.mean([v for k, v in each.items() if k in names]) for names in (findings.seen, findings.unseen))
        found = table.loc[protocol]["value"]
        assert found["S"] == pytest.approx(s) and found["U"] == pytest.approx(u)
        assert found["Mass"] == pytest.approx(each["Mass"]) and np.isnan(found["Hernia"])
        halves = [tuple(np.mean([roc_auc_score(labels[keep, c], one[keep, c]) for c, k in enumerate(KEYS)
                                 if k in names])
                   for names in (set(findings.seen) - {"Hernia"}, findings.unseen)) for one in scores]  # fmt: skip
        assert found["H"] == pytest.approx(np.mean([2 * a * b / (a + b) for a, b in halves]))
    row = table.loc["all", "Edema"]
    weights, unit = bootstrap_weights(patients, 50, 0)
    c = KEYS.index("Edema")
    draws = [np.mean([roc_auc_score(labels[:, c], one[:, c], sample_weight=w[unit]) for one in scores])
             for w in weights[1:]]  # fmt: skip
    np.testing.assert_allclose([row["low"], row["high"]], np.quantile(draws, [0.025, 0.975]), atol=1e-9)
    assert row["positives"] == labels[:, c].sum() and set(table.loc["all"]["left_out"]) == {"Hernia"}
    means = table.loc["all"]
    assert means["positives"][["S", "U", "H"]].isna().all() and set(means["films"]) == {n}
    assert set(table.loc["single"]["films"]) == {(labels.sum(1) == 1).sum()}
    each = [roc_auc_score(labels[:, c], one[:, c]) for one in scores]
    assert row["sd_seeds"] == pytest.approx(np.std(each, ddof=1))


def test_a_finding_of_one_patient_counts_though_some_draw_lacks_that_patient():
    """The films decide who is left out, not the draws of patients."""
    rng, n = np.random.default_rng(5), 60
    patients = np.arange(n) // 2
    weights, unit = bootstrap_weights(patients, 4, 0)
    labels, c = (rng.random((n, len(KEYS))) < 0.4).astype(np.uint8), KEYS.index("Mass")
    labels[:, c] = unit == np.flatnonzero(weights[-1] == 0)[0]  # not drawn the last time
    scores, findings = rng.normal(size=(2, n, len(KEYS))), split_findings(KEYS, "default")
    found = pd.DataFrame(rows_of(labels, scores, patients, findings, 4)).query("protocol == 'all'").set_index("metric")
    assert set(found["left_out"]) == {""}
    for metric, names in (("S", findings.seen), ("U", findings.unseen)):
        assert found["value"][metric] == pytest.approx(found["value"][list(names)].mean())


def test_the_first_three_designs_are_the_seeds_unless_others_are_given(profile, films, monkeypatch):
    five = profile | {"rotation": profile["rotation"] | {"designs": [4, 1, 7, 2, 9]}}
    asked, scored_by = [], default_split.scored_by
    monkeypatch.setattr(default_split, "scored_by", lambda rotations, method: asked.append(
        [rotation.design for rotation in rotations]) or scored_by(rotations, method))  # fmt: skip
    tables = measured(five, films, {"set": "made"}, methods=("view",))
    measured(five, films, {}, methods=("view",), seeds=[5, 6])
    assert asked == [[4, 1, 7], [5, 6]]
    (row,) = tables["settings"].to_dict("records")
    cell = rotation_of(five, films, 4).cell(0, 0)
    assert row == {"set": "made", "method": "view", "seeds": 1, "setting": "{}", "train": len(cell.train),
                   "test": len(cell.test)}  # fmt: skip
    assert set(tables["values"]["set"]) == {"made"} and set(tables["values"]["method"]) == {"view"}


def test_a_trained_method_of_measured_has_a_row_of_settings_without_a_choice(profile, films):
    (row,) = measured(profile, films, {}, methods=("focused",), seeds=[1, 2])["settings"].to_dict("records")
    assert (row["seeds"], row["setting"]) == (2, "{}")
    (row,) = measured(profile, films, {}, methods=("cosine",), seeds=[1, 2])["settings"].to_dict("records")
    assert row["seeds"] == 1 and row["setting"].startswith("{'ridge': ")


def test_patients_of_test_films_are_drawn(profile, films, monkeypatch):
    asked = []
    monkeypatch.setattr(default_split, "rows_of", lambda labels, scores, patients, findings, replicates: asked.append(
        (labels, patients, findings, replicates)) or [])  # fmt: skip
    measured(profile, films, {}, methods=("view",), seeds=[1])
    test = (films.table["split"] == "test").to_numpy()
    ((labels, patients, findings, replicates),) = asked
    assert (labels == films.labels[test]).all() and (patients == films.table["patient"][test]).all()
    assert findings.unseen == split_findings(KEYS, "default").unseen and replicates == 20


def test_what_is_measured_at_which_size():
    profile = {"parameters": {"size": 224}}
    all_four = [(224, "all"), (224, "without two"), (64, "all"), (64, "without two")]
    assert default_split.jobs(profile, (224, 64)) == all_four
    assert default_split.jobs(profile, [64]) == [(224, "without two"), (64, "all"), (64, "without two")]
    assert default_split.jobs(profile, [224]) == all_four[:2]


def test_films_of_a_download_are_at_least_as_large_as_asked(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(default_split.nih, "prepare", lambda *given, **named: asked.append((given, named)) or "films")
    monkeypatch.setattr(default_split, "extract", lambda *given, **named: asked.append((given, named)) or "features")
    values = {"run_dir": str(tmp_path), "splits": "patients", "seed": 3, "backbone": "b", "weights": "w", "size": 224}
    assert default_split.films_at({"parameters": values}, "/root", 64) == "features"
    out = tmp_path / "default"
    assert asked[0] == ((out / "radiographs-64",), {"root": run.resolve("/root"), "size": 64, "splits": "patients",
                                                    "min_source_pixels": 64, "seed": 3})  # fmt: skip
    assert asked[1] == (("films", out / "features-64"), {"backbone": "b", "weights": "w"})


@pytest.fixture
def parts(monkeypatch, profile, films, at_once):
    """Every part of a study of made films; (what was extracted, what was measured, what was published)."""
    extracted, seen, published = [], [], []
    values = profile["parameters"] | {"size": 224, "exclude_sources": ["c"], "nih_root": "/secret"}
    profile = profile | {"parameters": values, "rotation": profile["rotation"] | {"designs": [5, 6, 7, 8]}}
    own, every = (FeatureSet(films.pixels, films.table, films.card | {"sha256": name}, films.folder)
                  for name in ("own", "every"))  # fmt: skip
    monkeypatch.setattr(default_split, "films_of", lambda _: own)
    monkeypatch.setattr(default_split, "films_at", lambda _, root, size: extracted.append((root, size)) or every)
    monkeypatch.setattr(default_split, "measured", lambda _, given, about: seen.append((len(given), about)) or
                        {"values": pd.DataFrame([about])})  # fmt: skip
    monkeypatch.setattr(default_split, "workers", at_once)
    monkeypatch.setattr(run, "load_profile", lambda name: profile)
    monkeypatch.setattr(run, "publish", lambda out, tables, **about: published.append((out, tables, about)) or out)
    return extracted, seen, published


def test_every_part_is_of_its_films(parts, films):
    default_split.main("made", "/r")
    extracted, seen, ((out, tables, about),) = parts
    less = (films.table["source_repo"] != "c").sum()
    assert [n for n, _ in seen] == [len(films), len(films), len(films), less]  # own films are without two as they are
    assert [about for _, about in seen] == [{"set": f"{size} px", "sources": sources} for size in (224, 64)
                                            for sources in ("all", "without two")]  # fmt: skip
    assert sorted(extracted[:2]) == [("/r", 64), ("/r", 224)] and extracted[2:] == [("/r", 224), ("/r", 64), ("/r", 64)]
    assert out == "data/results/default-made" and len(tables["values"]) == 4
    assert about["features_sha256"] == {"224 px, all": "every", "224 px, without two": "own", "64 px, all": "every",
                                        "64 px, without two": "every"}  # fmt: skip
    assert about["seeds"] == [5, 6, 7] and about["methods"] == list(default_split.METHODS)
    assert "nih_root" not in about["parameters"] and about["profile"] == "made"
    assert about["command"] == "python -m cmdml.study.default_split made NIH_ROOT"


def test_at_one_size_alone(parts):
    default_split.main("made", "/r", "64")
    assert parts[0] == [("/r", 64)] * 3 and [about["set"] for _, about in parts[1]] == ["224 px", "64 px", "64 px"]
    assert parts[2][0][2]["command"].endswith("default_split made NIH_ROOT 64")


def test_the_command_ends_in_one_sentence(as_command):
    assert as_command("cmdml.study.default_split", "fantom", "/r").startswith(
        "default split stopped. unknown profile 'fantom'")


def test_every_seed_has_a_head_of_its_own_and_a_closed_form_the_setting_that_it_chose(profile, films, monkeypatch):
    asked = []

    class Made:
        def __init__(self, rotation, method, quadruple):
            assert quadruple == 0
            self.about = rotation.design, method

        def choose(self):
            asked.append((*self.about, "choose"))
            return {"ridge": self.about[0]}, []

        def __call__(self, cell, setting, rows):
            assert (rows == cell.test).all() and cell.at == 0
            asked.append((*self.about, setting))
            return np.full((len(rows), 2), self.about[0])

    monkeypatch.setattr(default_split, "Scorer", Made)
    rotations = [rotation_of(profile, films, seed) for seed in (4, 2)]
    scores, setting = scored_by(rotations, "focused")
    assert scores[:, 0, 0].tolist() == [4, 2] and setting == {}
    assert asked == [(4, "focused", {}), (2, "focused", {})]
    asked.clear()
    scores, setting = scored_by(rotations, "eszsl")
    assert scores[:, 0, 0].tolist() == [4] and setting == {"ridge": 4}
    assert asked == [(4, "eszsl", "choose"), (4, "eszsl", {"ridge": 4})]


def test_intervals_of_means_and_of_few_films_are_those_of_drawn_patients():
    """S and H of single films, over two seeds, by hand."""
    rng, n = np.random.default_rng(5), 900
    labels = np.eye(len(KEYS), dtype=np.uint8)[rng.integers(len(KEYS), size=n)] * (rng.random((n, 1)) < 0.8)
    labels = labels.astype(np.uint8)
    scores, patients, findings = rng.normal(size=(2, n, len(KEYS))) + labels, rng.permutation(n) // 2, split_findings(
        KEYS, "default")  # fmt: skip
    table = pd.DataFrame(rows_of(labels, scores, patients, findings, 6)).set_index(["protocol", "metric"])
    weights, unit = bootstrap_weights(patients, 6, 0)
    keep, draws = labels.sum(1) == 1, {"S": [], "U": [], "H": []}
    for times in weights[1:]:
        auroc = np.array([[roc_auc_score(labels[keep, c], one[keep, c], sample_weight=times[unit][keep])
                           for c in range(len(KEYS))] for one in scores])  # fmt: skip
        s, u = auroc[:, findings.seen_mask].mean(1), auroc[:, findings.unseen_mask].mean(1)
        for metric, value in {"S": s, "U": u, "H": 2 * s * u / (s + u)}.items():
            draws[metric].append(value.mean())
    for metric, values in draws.items():
        row = table.loc[("single", metric)]
        np.testing.assert_allclose([row.low, row.high], np.quantile(values, [0.025, 0.975]), atol=1e-9)
