"""A finding of one's own: its words reach the space as they do elsewhere, and every number equals a naive count."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_tiny
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from cmdml.config import TrainConfig
from cmdml.evaluation.metrics import bootstrap_weights
from cmdml.findings import KEYS, findings_of, load_findings, split_findings
from cmdml.plots import own_finding as drawing
from cmdml.prediction import own_words
from cmdml.radiographs import partition
from cmdml.semantics import semantic_vectors, signs_vector
from cmdml.sources.abscess import AbscessPairs
from cmdml.study import beyond, own_finding, run
from cmdml.study.own_finding import CEILING, ILLNESS, Drawn, draw_and_score, found_by, leaning, measured, word_scores
from cmdml.training import fit

SIGNS = ("opacity", "lucency", "round", "air_fluid_level")
NAMES = (*KEYS, "Lung abscess", ILLNESS, CEILING)


@pytest.fixture(scope="module")
def own(head):
    return own_words(head, ["Lung abscess: " + ", ".join(SIGNS)])[0]


@pytest.fixture(scope="module")
def scored(head, own):
    return draw_and_score(head, own, 40, seed=3)


def made_up(n=60, seed=0):
    """Scores and labels of n patients, drawn by chance; ties among them."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, len(KEYS))) < 0.08).astype(np.uint8)
    order = rng.permutation(n)  # patients' names in no order
    table = pd.DataFrame({"patient": [f"p{i:03d}" for i in order]}).join(pd.DataFrame(labels, columns=list(KEYS)))
    without = rng.integers(0, 8, (n, len(NAMES))).astype(float)
    within = without + rng.integers(-1, 3, without.shape)
    blank = np.zeros((n, 2, 2), np.uint8)
    return Drawn(AbscessPairs(blank, blank, blank > 0, table), NAMES, without, within), labels


def test_the_printed_block_adds_one_finding(tmp_path):
    cells = json.loads((run.ROOT / "notebooks/09_own_finding.ipynb").read_text(encoding="utf-8"))["cells"]
    (cell,) = ["".join(cell["source"]) for cell in cells if cell["id"] == "own-words"]
    block = cell.split('"""')[1]
    (tmp_path / "my_findings.yaml").write_text(block, encoding="utf-8")
    found = load_findings(tmp_path / "my_findings.yaml")
    assert [one.key for one in found] == [*KEYS, "Lung_Abscess"] and found[-1].signs == SIGNS


def test_words_are_read_as_the_run_was_told_the_others(head):
    mass = replace(findings_of(["Mass"])[0], name="Mine")

    def told(semantics):
        return own_finding.words_of(replace(head, card=head.card | {"semantics": semantics}), mass)

    assert torch.allclose(told("signs_text").vector, signs_vector(mass.signs), atol=1e-6)
    expected = semantic_vectors([mass], "description")[0]
    assert torch.allclose(told("description").vector, expected, atol=1e-6)
    for nothing in ("one_hot", "shuffled"):
        mean = head.model.semantic_vectors[head.findings.seen_index].mean(0)
        assert torch.allclose(told(nothing).vector, mean / mean.norm(), atol=1e-6) and not told(nothing).signs


def test_leaning_names_all_seen_findings_and_the_nearest_as_predict_does(head, own):
    table = leaning(head, own)
    assert set(table.finding) == set(head.findings.seen) and table.joint.is_monotonic_decreasing
    for row, (finding, joint, words) in zip(table.itertuples(), own.leans_on):
        assert row.finding == finding and (row.joint, row.words) == pytest.approx((joint, words), abs=1e-6)


def test_scores_are_the_model_s_then_own_words_then_illness(head, own, scored):
    films = scored.pairs.within
    with torch.no_grad():
        expected = head.model.score(torch.from_numpy(films)[:, None]).numpy()
        normal = -(torch.cdist(head.reference["normal_visual"], head.network.semantic()) ** 2).numpy()
    features, places = own_finding.places_of(head, films)
    scores = word_scores(head, places, own)
    assert len(features) == len(films) and scores.shape == (len(films), len(KEYS) + 2)
    np.testing.assert_allclose(scores[:, : len(KEYS)], expected, atol=1e-4)
    mine = head.network.semantic(own.vector[None])[0].numpy()
    np.testing.assert_allclose(scores[:, -2], -((places - mine) ** 2).sum(1), atol=1e-4)
    seen = head.findings.seen_index
    z = (expected[:, seen] - normal[:, seen].mean(0)) / normal[:, seen].std(0)
    np.testing.assert_allclose(scores[:, -1], z.mean(1), atol=1e-2)
    np.testing.assert_array_equal(scored.within[:, :-1], scores)


def test_the_ceiling_is_shown_other_patients_and_is_high(head, own, scored):
    table = measured(scored, replicates=20).set_index(["protocol", "scorer"])
    assert table.value["all", CEILING] > 0.75 and table.value["same film", CEILING] > 0.8
    assert scored.names == NAMES and scored.within.shape == scored.without.shape == (40, len(NAMES))
    twice = own_finding.abscess_pairs(80, size=head.size, seed=3)
    for part in ("within", "without", "place"):
        np.testing.assert_array_equal(getattr(scored.pairs, part), getattr(twice, part)[40:], err_msg=part)
    assert scored.pairs.table["patient"].tolist() == twice.table["patient"].tolist()[40:]
    swapped = replace(scored, without=scored.within, within=scored.without)
    assert measured(swapped, replicates=5).set_index(["protocol", "scorer"]).value["all", CEILING] < 0.25


def test_the_ceiling_is_a_logistic_regression_on_the_first_half_of_the_pairs(head, scored):
    pairs = own_finding.abscess_pairs(80, size=head.size, seed=3)
    flat, flat_with = (own_finding.places_of(head, part)[0].astype(float) for part in (pairs.without, pairs.within))
    shown = np.concatenate([flat[:40], flat_with[:40]])
    middle, spread = shown.mean(0), np.where(shown.std(0) > 0, shown.std(0), 1)
    fitted = LogisticRegression(C=0.1, max_iter=2000).fit((shown - middle) / spread, np.repeat([0, 1], 40))
    for made, part in ((scored.without, flat), (scored.within, flat_with)):
        wanted = fitted.decision_function((part[40:] - middle) / spread)
        np.testing.assert_allclose(made[:, NAMES.index(CEILING)], wanted, atol=1e-2)


def test_every_protocol_counts_its_films():
    drawn, labels = made_up()
    table = measured(drawn, replicates=50, seed=1).set_index(["protocol", "scorer"])
    many = labels.sum(1)
    chosen = {"single": (many == 0, many == 1), "abnormal": (many >= 0, many > 0), "all": (many >= 0, many >= 0)}
    for protocol, (positive, negative) in chosen.items():
        for c, scorer in enumerate(NAMES):
            truth = np.repeat([1, 0], [positive.sum(), negative.sum()])
            both = np.concatenate([drawn.within[positive, c], drawn.without[negative, c]])
            row = table.loc[protocol, scorer]
            assert row.value == pytest.approx(roc_auc_score(truth, both))
            assert (row.positives, row.negatives) == (positive.sum(), negative.sum())
    for c, scorer in enumerate(NAMES):
        pairs = zip(drawn.within[:, c], drawn.without[:, c])
        assert table.loc["same film", scorer].value == pytest.approx(
            np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs])
        )


def test_gains_are_those_of_the_own_words_over_each_scorer():
    drawn, _ = made_up()
    table = measured(drawn, replicates=200, seed=1)
    for _, part in table.groupby("protocol"):
        rows = part.set_index("scorer")
        np.testing.assert_allclose(rows.gain, rows.value["Lung abscess"] - rows.value, atol=1e-12)
        assert (rows.low <= rows.high).all() and (rows.gain_low <= rows.gain).all()
        assert (rows.gain <= rows.gain_high).all()
        assert rows.loc["Lung abscess", ["gain", "gain_low", "gain_high"]].tolist() == [0, 0, 0]


def test_intervals_draw_patients_with_both_of_their_films():
    """A scorer that is right within every pair has no spread there, and one of pairs of its own in `all`."""
    drawn, _ = made_up(80)
    drawn = replace(drawn, within=drawn.without + 0.5)
    rows = measured(drawn, replicates=100).set_index(["protocol", "scorer"])
    assert (rows.loc["same film", ["value", "low", "high"]] == 1).all(axis=None)
    assert (rows.loc["all"].high - rows.loc["all"].low < 0.06).all()  # small: the same patients on both sides


def test_a_draw_of_patients_weighs_the_pairs_it_names(monkeypatch):
    drawn, _ = made_up(6)
    patients = drawn.pairs.table["patient"].to_numpy()
    chosen = np.argsort(patients)  # column k of the weights is the patient whose name is k-th
    weights = np.ones((2, 6), int)
    weights[1] = [6, 0, 0, 0, 0, 0]
    monkeypatch.setattr(own_finding, "bootstrap_weights", lambda *_: (weights, np.argsort(chosen)))
    row = measured(drawn).set_index(["protocol", "scorer"]).loc["same film", "Mass"]
    first, c = chosen[0], NAMES.index("Mass")
    higher, same = drawn.within[first, c] > drawn.without[first, c], drawn.within[first, c] == drawn.without[first, c]
    assert row.low == row.high == higher + same / 2


def test_found_by_is_an_auroc_among_ill_films():
    rng = np.random.default_rng(2)
    labels = (rng.random((200, len(KEYS))) < 0.1).astype(np.uint8)
    labels[:, 3] = 0
    score, patients = rng.random(200) + labels[:, 5], np.arange(200) // 2
    findings = split_findings(KEYS)
    table = found_by(score, labels, patients, findings, replicates=100)
    ill = labels.any(1)
    assert set(table.finding) == set(KEYS) - {KEYS[3]} and table.value.is_monotonic_decreasing
    for row in table.itertuples():
        truth = labels[ill, KEYS.index(row.finding)]
        assert row.value == pytest.approx(roc_auc_score(truth, score[ill])) and row.positives == truth.sum()
        assert row.low <= row.value <= row.high
    assert table.finding[0] == KEYS[5]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    radiographs = make_tiny(folder / "radiographs", n=160)
    findings = split_findings(KEYS)
    config = TrainConfig(backbone="small_cnn", dim=16, hidden=16, epochs=1, batch_size=32)
    training = folder / "training"
    fit(partition(radiographs, findings), semantic_vectors(findings_of(KEYS)), config, training, progress=False)
    told = {"semantics": "signs_text", "semantic_model": "all-MiniLM-L6-v2"}
    run.manifest(training, profile="tiny", parameters=told, seed=0)
    return training, radiographs


def test_a_head_of_a_training_scores_as_the_training_did(trained):
    training, radiographs = trained
    before = sorted(path.name for path in training.iterdir())
    head = own_finding.head_of(training, radiographs)
    assert sorted(path.name for path in training.iterdir()) == before  # nothing is written
    with np.load(training / "embeddings.npz") as file:
        rows, scores = file["index"], file["scores"]
    own = own_finding.words_of(head, replace(findings_of(["Mass"])[0], name="Mine"))
    features, places = own_finding.places_of(head, radiographs.pixels[rows])
    found = word_scores(head, places, own)
    np.testing.assert_allclose(found[:, : len(KEYS)], scores, atol=1e-4)
    np.testing.assert_allclose(found[:, len(KEYS)], scores[:, KEYS.index("Mass")], atol=1e-4)
    normal = (radiographs.table["split"] == "val") & ~radiographs.labels.any(1)
    assert len(head.reference["normal_visual"]) == normal.sum() > 0
    at = [rows.tolist().index(row) for row in np.flatnonzero(normal)]
    np.testing.assert_allclose(head.reference["normal_visual"], places[at], atol=1e-4)


def test_other_radiographs_are_refused(trained, tmp_path):
    with pytest.raises(ValueError, match="trained on other radiographs"):
        own_finding.head_of(trained[0], make_tiny(tmp_path / "radiographs", n=40, seed=1))


def test_the_real_finding_is_read_from_the_committed_table():
    _, table = beyond.load("data/results/truth-nih-mini", "never")
    rows = own_finding.never(table, "Fracture")
    assert set(rows.stratum) == {"none"} and set(rows.protocol) == {"abnormal", "all"}
    for protocol, part in rows.groupby("protocol"):
        assert part.finding.tolist() == list(own_finding.NEVER.values()), protocol
    told = rows[(rows.protocol == "abnormal") & (rows.finding == "CM-DML, told its signs")].iloc[0]
    raw = pd.read_csv(run.ROOT / "data/results/truth-nih-mini/never.csv")
    raw = raw[(raw.finding == "Fracture") & (raw.method == "focused") & (raw.stratum == "none")].set_index("protocol")
    assert (told.value, told.positives) == tuple(raw.loc["abnormal", ["value", "positives"]])


def test_figures_have_a_line_per_row_and_the_colours_of_the_book(head, own, scored):
    import matplotlib.pyplot as plt
    from matplotlib.colors import to_hex

    from cmdml.plots.figures import OTHER, SEEN, UNSEEN

    table = measured(scored, replicates=10)
    part = table[table.protocol == "abnormal"].sort_values("value", ascending=False, kind="stable")
    _, ax = plt.subplots()
    drawing.finders(part.sample(frac=1, random_state=0), head.findings, own.name, ax)
    dots = ax.collections[1]
    np.testing.assert_allclose(dots.get_offsets()[:, 0], part.value)
    tone = dict(zip(part.scorer, map(to_hex, dots.get_facecolors())))
    assert tone["Hernia"] == SEEN and tone["Edema"] == UNSEEN and tone[ILLNESS] == OTHER
    assert tone[own.name] == drawing.OWN and len(ax.get_yticklabels()) == len(NAMES)
    fig = drawing.pairs(*(p[:3] for p in (scored.pairs.without, scored.pairs.within, scored.pairs.place)),
                        np.array([[1, 2], [30, 40], [50, 60]]), "phantom")  # fmt: skip
    titles = [ax.get_title() for ax in fig.axes]
    assert titles == ["1 %", "30 %", "50 %", "2 %", "40 %", "60 %"] and fig._suptitle.get_text().startswith("phantom")
    assert [len(ax.patches) for ax in fig.axes] == [0, 0, 0, 1, 1, 1]
    for draw in (partial(drawing.leaning, leaning(head, own)), partial(drawing.never, own_finding.never(
            beyond.load("data/results/truth-nih-mini", "never")[1], "Fracture"))):  # fmt: skip
        _, ax = plt.subplots()
        draw(ax)
        assert len(ax.get_yticklabels()) > 6 and ax.get_xlabel()
    plt.close("all")


def test_intervals_of_found_by_draw_patients_not_films():
    rng = np.random.default_rng(4)
    labels = np.repeat((rng.random((40, len(KEYS))) < 0.2).astype(np.uint8), 9, axis=0)  # nine equal films each
    labels[:, 0] |= labels.sum(1) == 0
    score = np.repeat(rng.random(40), 9)
    asked = {"replicates": 200, "seed": 0}
    by_patient = found_by(score, labels, np.arange(360) // 9, split_findings(KEYS), **asked).set_index("finding")
    by_film = found_by(score, labels, np.arange(360), split_findings(KEYS), **asked).set_index("finding")
    widths = [(table.high - table.low)["Mass"] for table in (by_patient, by_film)]
    assert widths[0] > 2 * widths[1]  # nine equal films are one observation: sqrt(9) times wider


def test_a_run_that_was_told_names_is_told_the_name(head, monkeypatch):
    asked = []
    monkeypatch.setattr(own_finding, "own_words", lambda _, *given, **named: asked.append((given, named)) or ("own",))
    mass = replace(findings_of(["Mass"])[0], name="Mine", description="A long text.")
    for semantics in ("name", "description", "signs", "signs_text"):
        assert own_finding.words_of(replace(head, card=head.card | {"semantics": semantics}), mass) == "own"
    signs = ((["Mine: " + ", ".join(mass.signs)],), {})
    assert asked == [((), {"texts": ["Mine"]}), ((), {"texts": ["A long text."]}), signs, signs]


def test_intervals_are_those_of_the_draws_of_the_seed(seed=5):
    """Value, interval and gain of one scorer under every protocol, by hand."""
    drawn, labels = made_up()
    table = measured(drawn, replicates=15, seed=seed).set_index(["protocol", "scorer"])
    weights, unit = bootstrap_weights(drawn.pairs.table["patient"].to_numpy(), 15, seed)
    many, c, own = labels.sum(1), NAMES.index("Edema"), NAMES.index("Lung abscess")
    for protocol, positive, negative in (("single", many == 0, many == 1), ("abnormal", many >= 0, many > 0),
                                         ("all", many >= 0, many >= 0)):  # fmt: skip
        truth, draws = np.repeat([1, 0], [positive.sum(), negative.sum()]), {c: [], own: []}
        for times in weights[1:, unit]:
            weight = np.concatenate([times[positive], times[negative]])
            for column, found in draws.items():
                score = np.concatenate([drawn.within[positive, column], drawn.without[negative, column]])
                found.append(roc_auc_score(truth, score, sample_weight=weight))
        row, gain = table.loc[(protocol, "Edema")], np.subtract(draws[own], draws[c])
        np.testing.assert_allclose([row.low, row.high], np.quantile(draws[c], [0.025, 0.975]), atol=1e-9)
        np.testing.assert_allclose([row.gain_low, row.gain_high], np.quantile(gain, [0.025, 0.975]), atol=1e-9)
    row, higher = table.loc[("same film", "Edema")], drawn.within[:, c] > drawn.without[:, c]
    wins = higher + 0.5 * (drawn.within[:, c] == drawn.without[:, c])
    draws = [np.average(wins, weights=times) for times in weights[1:, unit]]
    np.testing.assert_allclose([row.low, row.high], np.quantile(draws, [0.025, 0.975]), atol=1e-9)


def test_found_by_draws_ill_patients_with_the_seed(seed=5):
    rng = np.random.default_rng(2)
    labels, patients = (rng.random((120, len(KEYS))) < 0.1).astype(np.uint8), rng.permutation(120) // 2
    score, ill = rng.random(120), labels.any(1)
    table = found_by(score, labels, patients, split_findings(KEYS), replicates=30, seed=seed).set_index("finding")
    weights, unit = bootstrap_weights(patients[ill], 30, seed)
    truth = labels[ill, KEYS.index("Mass")]
    draws = [roc_auc_score(truth, score[ill], sample_weight=times[unit]) for times in weights[1:]]
    np.testing.assert_allclose(table.loc["Mass", ["low", "high"]].astype(float), np.quantile(draws, [0.025, 0.975]))


def test_never_picks_one_finding_and_keeps_the_order_of_the_scorers():
    rows = [{"finding": f, "stratum": s, "method": m, "protocol": "all", "value": 0.5}
            for f in ("Fracture", "Other") for s in ("source", "none")
            for m in ("age in years", *reversed(own_finding.NEVER))]  # fmt: skip
    found = own_finding.never(pd.DataFrame(rows), "Other")
    assert found.method.tolist() == list(own_finding.NEVER) and set(found.stratum) == {"none"}
    assert found.finding.tolist() == list(own_finding.NEVER.values())
