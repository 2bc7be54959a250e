"""Other labels of the same films: which films count, by whose word, and that no model is told."""

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from sklearn.metrics import roc_auc_score

from cmdml.findings import KEYS
from cmdml.study import truth
from cmdml.study.anatomy import Scores
from cmdml.study.truth import emphysema, judged, radiologists

ONLY = ["focused", "eszsl", "mean_of_seen"]


@pytest.fixture(scope="module")
def scores(rotation_profile, scored):
    return Scores(rotation_profile, ONLY)


def by_hand(rotation, scored, method, labels, rows, c, protocol):
    """Mean over the quadruples of c, within folds, pooled by pairs."""
    with safe_open(scored[method], framework="np") as file:
        values = file.get_tensor("scores")
    keep, out = rows & (labels.any(1) if protocol == "abnormal" else True), []
    for q, unseen in enumerate(rotation.sets):
        above = pairs = 0.0
        for at in range(3) if c in unseen else ():
            here = keep & (rotation.fold == at)
            y = labels[here, c] == 1
            n = y.sum() * (~y).sum()
            above, pairs = above + (n * roc_auc_score(y, values[q, here, c]) if n else 0), pairs + n
        out += [above / pairs] if pairs else []
    return np.mean(out)


def test_emphysema_with_and_without_air_under_the_skin(scores, rotation, scored, root):
    table = emphysema(scores, root)
    skin, c = pd.read_csv(root / "labels_cxr_lt.csv")["Subcutaneous Emphysema"].to_numpy() == 1, KEYS.index("Emphysema")
    labels = rotation.films.labels
    shows = labels[:, c] == 1
    for films, out in (("all", shows & False), ("not subcutaneous", shows & skin), ("subcutaneous", shows & ~skin)):
        here = table[(table.films == films) & (table.protocol == "abnormal") & (table.stratum == "none")]
        row = here[(here.method == "eszsl") & (here.finding == "Emphysema")].iloc[0]
        assert row.value == pytest.approx(by_hand(rotation, scored, "eszsl", labels, ~out, c, "abnormal"), abs=1e-5)
        assert row.positives == (shows & ~out).sum() and row.low < row.high
    assert (scores.labels == labels).all() and scores.tested.all()  # as it was


def test_a_film_that_the_table_does_not_name_is_neither(scores, rotation, root, tmp_path):
    table, c = pd.read_csv(root / "labels_cxr_lt.csv"), KEYS.index("Emphysema")
    shows, skin = rotation.films.labels[:, c] == 1, table["Subcutaneous Emphysema"].to_numpy() == 1
    lost = np.isin(np.arange(len(table)), np.flatnonzero(shows)[::3])
    table[~lost].to_csv(tmp_path / "labels_cxr_lt.csv", index=False)
    found = emphysema(scores, tmp_path).query("protocol == 'all' and stratum == 'none' and finding == 'Emphysema'")
    known = shows & ~lost
    positives = found.groupby("films").positives.first().to_dict()
    assert positives == {
        "all": shows.sum(), "not subcutaneous": (known & ~skin).sum(), "subcutaneous": (known & skin).sum()
    }
    assert (shows & lost & ~skin).any() and (shows & lost & skin).any()


def test_films_that_no_fold_tests_are_not_judged(scores, monkeypatch):
    """Whatever rows are asked for, and the films that are tested stay those that they were."""
    tested, rows = np.arange(len(scores.films)) % 2 == 0, np.arange(len(scores.films)) % 3 > 0
    monkeypatch.setattr(scores, "tested", tested)
    monkeypatch.setattr(scores, "cells", lambda *_: used.append(scores.tested) or (values, counts))
    used, c = [], 3
    values, counts = np.zeros((len(ONLY), *scores.finding.shape, 2)), np.ones(scores.finding.shape)
    judged(scores, scores.labels, rows, [c], ("all",), ("none",))
    np.testing.assert_array_equal(used, [tested & rows])
    assert scores.tested is tested


def test_both_truths_on_the_films_that_were_read(scores, rotation, scored, root):
    table = radiologists(scores, root)
    theirs = pd.read_csv(root / "labels_radiologists_14.csv").set_index("image").reindex(rotation.films.table["image"])
    read = theirs["Mass"].notna().to_numpy()
    other, c = np.nan_to_num(theirs.to_numpy()).astype(int), KEYS.index("Mass")
    assert set(table["films"]) == {read.sum()} and 0 < read.sum() < len(read)
    for name, labels in (("mined", rotation.films.labels), ("radiologists", other)):
        for protocol in ("abnormal", "all"):
            row = table[(table.truth == name) & (table.method == "eszsl") & (table.finding == "Mass")
                        & (table.protocol == protocol) & (table.stratum == "none")].iloc[0]  # fmt: skip
            wanted = by_hand(rotation, scored, "eszsl", labels, read, c, protocol)
            assert row.value == pytest.approx(wanted, abs=1e-5), (name, protocol)
            assert row.both == (rotation.films.labels[read, c] & other[read, c]).sum()
            ill = by_hand(rotation, scored, "mean_of_seen", labels, read, c, protocol)
            assert row.gain == pytest.approx(wanted - ill, abs=1e-5) and row.gain_low <= row.gain <= row.gain_high
    least = table[table.finding != "mean"].groupby(["truth", "finding"]).first().reset_index()
    assert {KEYS.index(f) for f in least.finding} == {
        c for c in range(len(KEYS)) if min(rotation.films.labels[read, c].sum(), other[read, c].sum()) >= truth.LEAST
    }


def test_the_mean_is_that_of_the_findings_that_were_asked_for(scores):
    rows = pd.DataFrame(judged(scores, scores.labels, np.ones(len(scores.films), bool), [2, 5], ("all",), ("none",)))
    each = rows[rows.method == "focused"].set_index("finding")["value"]
    assert each["mean"] == pytest.approx((each[KEYS[2]] + each[KEYS[5]]) / 2, abs=1e-6)


def test_ten_positives_by_both_are_enough_and_nine_are_not(scores, rotation, tmp_path, monkeypatch):
    """All films were read; Mass has ten positives by both, Nodule ten by one and nine by the other."""
    mined, theirs = (np.zeros((len(scores.films), len(KEYS)), np.uint8) for _ in range(2))
    mass, nodule = KEYS.index("Mass"), KEYS.index("Nodule")
    mined[:10, mass] = theirs[5:15, mass] = mined[20:30, nodule] = theirs[20:29, nodule] = 1
    table = pd.DataFrame(theirs, columns=[key.replace("_", " ") for key in KEYS])
    table.insert(0, "image", rotation.films.table["image"])
    table.to_csv(tmp_path / "labels_radiologists_14.csv", index=False)
    monkeypatch.setattr(scores, "labels", mined)
    asked = []
    monkeypatch.setattr(truth, "judged", lambda _, labels, rows, findings, strata: asked.append(
        (labels.sum(), rows.sum(), findings, strata)) or [{"finding": "Mass"}])  # fmt: skip
    found = radiologists(scores, tmp_path)
    assert asked == [(20, 300, [mass], ("none", "source")), (19, 300, [mass], ("none", "source"))]
    assert list(found["truth"]) == ["mined", "radiologists"] and set(found["both"]) == {5}


def test_what_is_judged_has_every_protocol_stratum_and_method(scores):
    rows = pd.DataFrame(judged(scores, scores.labels, np.ones(len(scores.films), bool), [3]))
    assert list(rows[["protocol", "stratum"]].drop_duplicates().itertuples(index=False, name=None)) == [
        ("abnormal", "none"), ("abnormal", "source_view"), ("all", "none"), ("all", "source_view")]  # fmt: skip
    assert list(rows.method.unique()) == ONLY and list(rows.finding.unique()) == [KEYS[3], "mean"]
    ill = rows[rows.method == "mean_of_seen"]
    assert (ill.gain == 0).all() and (ill.gain_low == 0).all()
    assert rows[rows.finding == "mean"].positives.isna().all()
    here = rows[(rows.protocol == "all") & (rows.stratum == "none") & (rows.finding == KEYS[3])]
    assert set(here.positives) == {scores.labels[:, 3].sum()}


@pytest.fixture
def parts(monkeypatch, at_once, scores, rotation_profile):
    """Scores, tables and publishing replaced: (what was asked for, what was published)."""
    asked, published = [], []
    profile = rotation_profile | {"parameters": rotation_profile["parameters"] | {"nih_root": "/secret"}}
    for name in ("emphysema", "radiologists", "never_labelled"):
        monkeypatch.setattr(truth, name, lambda *given, name=name: asked.append((name, *given)) or f"<{name}>")
    monkeypatch.setattr(truth, "Scores", lambda given, methods: scores if methods == truth.METHODS else None)
    monkeypatch.setattr(truth, "workers", at_once)
    monkeypatch.setattr(truth.run, "load_profile", lambda name: profile)
    monkeypatch.setattr(truth.run, "publish", lambda out, tables, **about: published.append((out, tables, about)))
    return asked, published, profile


def test_tables_are_made_of_the_labels_that_are_there(parts, scores, tmp_path):
    asked, published, profile = parts
    with pytest.raises(FileNotFoundError, match="holds none of labels_cxr_lt, labels_radiologists_14, labels_radiolog"):
        truth.main("made", str(tmp_path))
    (tmp_path / "labels_cxr_lt.csv").write_text("")
    truth.main("made", str(tmp_path))
    (tmp_path / "labels_radiologists_14.csv").write_text("")
    truth.main("made", str(tmp_path))
    cxr = [("emphysema", scores, tmp_path), ("never_labelled", profile, tmp_path)]
    assert asked == [*cxr, cxr[0], ("radiologists", scores, tmp_path), cxr[1]]
    (out, tables, about), (_, more, then) = published
    assert out == "data/results/truth-made" and tables == {"emphysema": "<emphysema>", "never": "<never_labelled>"}
    assert list(more) == ["emphysema", "radiologists", "never"]
    assert about["missing_tables"] == ["labels_radiologists_14", "labels_radiologists_4"]
    assert then["missing_tables"] == ["labels_radiologists_4"]
    assert about["command"] == "python -m cmdml.study.truth made NIH_ROOT" and about["profile"] == "made"
    assert "nih_root" not in about["parameters"] and about["designs"] == about["seed"] == [1]
    assert about["run_commits"] == sorted({str(one["commit"]) for one in scores.about}) and about["methods"] == ONLY


def test_the_command_ends_in_one_sentence(as_command):
    assert as_command("cmdml.study.truth", "fantom", "/r").startswith("truth stopped. unknown profile 'fantom'")


def test_means_and_gains_are_over_the_draws_of_patients(scores):
    """The interval of a gain is that of the difference draw by draw, not of the two ends."""
    rows = pd.DataFrame(judged(scores, scores.labels, np.ones(len(scores.films), bool), [3], ("all",), ("none",)))
    row = rows[(rows.method == "eszsl") & (rows.finding == KEYS[3])].iloc[0]
    values, _ = scores.cells("all", "none")
    mine, ill = (values[ONLY.index(m)][scores.finding == 3].astype(float).mean(0) for m in ("eszsl", "mean_of_seen"))
    ends = [*np.quantile(mine[1:], [0.025, 0.975]), *np.quantile((mine - ill)[1:], [0.025, 0.975])]
    np.testing.assert_allclose(row[["low", "high", "gain_low", "gain_high"]].astype(float), ends, atol=1e-6)
