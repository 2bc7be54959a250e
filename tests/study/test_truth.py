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
