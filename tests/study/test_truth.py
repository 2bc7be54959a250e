"""Other labels of the same films: which films count, by whose word, and that no model is told."""

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from sklearn.metrics import roc_auc_score

from cmdml.findings import KEYS, load_attributes
from cmdml.study import never_labelled, truth
from cmdml.study.anatomy import Scores
from cmdml.study.never_labelled import SIGNS, NeverScorer
from cmdml.study.never_labelled import never_labelled as never
from cmdml.study.rotation import Rotation
from cmdml.study.truth import emphysema, judged, radiologists

ONLY = ["focused", "eszsl", "mean_of_seen"]


@pytest.fixture(scope="module")
def scores(rotation_profile, scored):
    return Scores(rotation_profile, ONLY)


@pytest.fixture(scope="module")
def root(rotation, tmp_path_factory):
    """A download's label tables for the made films: some films, other labels."""
    folder, rng, images = tmp_path_factory.mktemp("tables"), np.random.default_rng(2), rotation.films.table["image"]
    n = len(images)
    cxr = pd.DataFrame({"image": images, "Subcutaneous Emphysema": rng.integers(0, 2, n)})
    cxr = cxr.assign(**{name: (rng.random(n) < 0.2).astype(int) for name in SIGNS if name != "Fracture"})
    cxr.to_csv(folder / "labels_cxr_lt.csv", index=False)
    read = rng.random(n) < 0.7
    labels = rotation.films.labels ^ (rng.random((n, len(KEYS))) < 0.1)
    theirs = pd.DataFrame(labels, columns=[key.replace("_", " ") for key in KEYS])
    theirs.insert(0, "image", images)
    theirs[read].to_csv(folder / "labels_radiologists_14.csv", index=False)
    fracture = (rng.random(n) < 0.3).astype(int)
    broken = pd.DataFrame({"image": images, "Fracture": fracture, "in_810_PA_set": read.astype(int)})
    broken.to_csv(folder / "labels_radiologists_4.csv", index=False)
    return folder


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


def test_never_labelled_findings_are_judged_on_films_that_somebody_looked_at(rotation_profile, rotation, root):
    table = never(rotation_profile, root, methods=("eszsl", "mean_of_seen"))
    broken = pd.read_csv(root / "labels_radiologists_4.csv")
    known, positive = broken["in_810_PA_set"] == 1, (broken["Fracture"] == 1).to_numpy()
    fold, ages = rotation.fold, rotation.films.table["age"].to_numpy()
    rows = table[(table.finding == "Fracture") & (table.protocol == "all") & (table.stratum == "none")]
    rows = rows.set_index("method")
    above = pairs = 0
    for at in range(3):
        here = known.to_numpy() & (fold == at)
        n = positive[here].sum() * (~positive[here]).sum()
        above, pairs = above + n * roc_auc_score(positive[here], ages[here]), pairs + n
    assert rows.loc["age in years", "value"] == pytest.approx(above / pairs)
    assert set(rows["films"]) == {known.sum()} and set(rows.index) >= {"eszsl", "mean_of_seen", "view", "source"}
    assert set(table["finding"]) == set(SIGNS)
    assert set(table[table.finding == "Tortuous Aorta"].query("protocol == 'all'")["films"]) == {len(fold)}


def test_a_never_labelled_finding_has_a_column_of_its_own_and_illness_has_one_for_all(rotation_profile, rotation):
    one = Rotation(rotation_profile, 1, rotation.films, ((),), rotation.fold)
    signs = NeverScorer(one, "eszsl", 0).scores()
    assert signs.shape == (len(rotation.films), len(SIGNS)) and np.isfinite(signs).all()
    assert not np.allclose(signs[:, 0], signs[:, 1])
    ill = NeverScorer(one, "mean_of_seen", 0).scores()
    assert (ill == ill[:, :1]).all() and np.isfinite(NeverScorer(one, "focused", 0).scores()).all()
    assert all(set(given) <= set(load_attributes()) for given in SIGNS.values())
    assert not set(SIGNS) & set(KEYS)


def test_a_property_is_told_labels_of_other_folds_alone(rotation_profile, rotation):
    positive = (np.arange(len(rotation.films)) % 3 == 0).astype(float)
    one = never_labelled.property_scores(rotation, positive)
    changed = positive.copy()
    test = rotation.fold == 0
    changed[test] = 1 - changed[test]
    other = never_labelled.property_scores(rotation, changed)
    for name in never_labelled.PROPERTIES:
        np.testing.assert_array_equal(one[name][test], other[name][test])
    assert not np.allclose(one["source"][~test], other["source"][~test])
