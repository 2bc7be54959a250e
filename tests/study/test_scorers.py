"""Every method of a rotation against planted leaks: what it must not look at is changed, and nothing may change."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cmdml import closed_form
from cmdml.evaluation.controls import random_scores
from cmdml.findings import KEYS, findings_of
from cmdml.semantics import semantic_vectors
from cmdml.study import scorers
from cmdml.study.design import pseudo_unseen
from cmdml.study.scorers import CLOSED, PIXELLESS, PROPERTY, Scorer, mean_auroc

CEILINGS = ("ceiling", "ceiling_same_size")
METHODS = ("focused", *CLOSED, *PIXELLESS)
TOLD = (*CEILINGS, *PROPERTY, "label_count")  # labels of unseen findings, and their names say so
BLIND = [m for m in METHODS if m not in TOLD]
PIXELS = [m for m in METHODS if m not in PIXELLESS]
CHOOSING = [m for m in METHODS if m not in PIXELLESS]
QUADRUPLE = 4


def flipped(labels, rows, findings):
    out = labels.copy()
    out[np.ix_(rows, list(findings))] ^= 1
    return out


def chosen_and_scored(rotation, method, rows=None):
    """Choice, tried settings and the scores of fold 0's test films: what a leak would change."""
    scorer, cell = Scorer(rotation, method, QUADRUPLE), rotation.cell(QUADRUPLE, 0)
    setting, tried = scorer.choose()
    return setting, [row["auroc"] for row in tried], scorer(cell, setting, cell.test if rows is None else rows)


def same(one, other):
    assert one[0] == other[0] and one[1] == other[1]
    np.testing.assert_array_equal(one[2], other[2])


def test_the_methods_of_this_file_are_all_there_are(rotation_profile):
    assert list(METHODS) == scorers.methods(rotation_profile["rotation"])


@pytest.mark.parametrize("method", BLIND)
def test_no_unseen_label_of_validation_or_test_is_read(rotation, altered, method):
    cell = rotation.cell(QUADRUPLE, 0)
    held = np.concatenate([cell.val, cell.test])
    changed = altered(rotation, labels=flipped(rotation.films.labels, held, rotation.sets[QUADRUPLE]))
    same(chosen_and_scored(rotation, method), chosen_and_scored(changed, method))


@pytest.mark.parametrize("method", [m for m in METHODS if m != "label_count"])
def test_no_label_of_a_test_film_is_read(rotation, altered, method):
    """Settings chosen on test films, for one: their labels go to other films, of seen and unseen findings."""
    labels, test = rotation.films.labels.copy(), rotation.cell(QUADRUPLE, 0).test
    labels[test] = labels[np.random.default_rng(1).permutation(test)]
    assert (labels != rotation.films.labels).any(1).sum() > 50
    same(chosen_and_scored(rotation, method), chosen_and_scored(altered(rotation, labels=labels), method))


@pytest.mark.parametrize("method", PIXELS)
def test_no_other_test_film_is_looked_at(rotation, altered, method):
    """Scaling or a ridge fitted with test films, for one: all test films but five change, these five must not."""
    test = rotation.cell(QUADRUPLE, 0).test

    def brighter(pixels):
        pixels = pixels.copy()
        pixels[test[5:]] = 7 * pixels[test[5:]] + 3
        return pixels

    five = test[:5]
    same(chosen_and_scored(rotation, method, five), chosen_and_scored(altered(rotation, pixels=brighter), method, five))


@pytest.mark.parametrize("method", [m for m in CHOOSING if m not in CEILINGS])
def test_pseudo_unseen_findings_are_unseen_while_settings_are_chosen(rotation, altered, method):
    """Their labels judge a setting; no score that is judged may know them."""
    cell, setting = rotation.cell(QUADRUPLE, 0), Scorer(rotation, method, QUADRUPLE).settings()[0]
    pseudo = tuple(int(c) for c in cell.findings.seen_index[[1, 6]])
    inner = rotation.without(cell, pseudo)
    unseen, spare = [*rotation.sets[QUADRUPLE], *pseudo], np.setdiff1d(np.arange(len(rotation.films)), inner.train)
    changed = altered(rotation, labels=flipped(rotation.films.labels, np.setdiff1d(spare, inner.pool), unseen))
    after = changed.without(changed.cell(QUADRUPLE, 0), pseudo)
    before = Scorer(rotation, method, QUADRUPLE)(inner, setting, cell.val)
    np.testing.assert_array_equal(before, Scorer(changed, method, QUADRUPLE)(after, setting, cell.val))
    free = Scorer(rotation, method, QUADRUPLE)(cell, setting, cell.val)
    assert not np.array_equal(before, free)  # they were seen before


@pytest.mark.parametrize("method", ["eszsl", "dap", "ceiling"])
def test_the_setting_is_the_best_on_validation_films_that_show_a_seen_finding(rotation, method):
    setting, tried = Scorer(rotation, method, QUADRUPLE).choose()
    cell, labels = rotation.cell(QUADRUPLE, 0), rotation.films.labels
    seen = [c for c in range(len(KEYS)) if c not in rotation.sets[QUADRUPLE]]
    rows = np.array([i for i in cell.val if labels[i, seen].any()])
    (pseudo,) = pseudo_unseen(seen, 1000 + QUADRUPLE, draws=1, unseen=2) if method != "ceiling" else ((),)
    inner, asked, reached = rotation.without(cell, pseudo), pseudo or seen, []
    for row in tried:
        scores = Scorer(rotation, method, QUADRUPLE)(inner, json.loads(row["setting"]), rows)
        reached.append(np.mean([roc_auc_score(labels[rows, c], scores[:, c]) for c in asked]))
    np.testing.assert_allclose([row["auroc"] for row in tried], reached, atol=1e-9)
    assert [row["used"] for row in tried] == [i == int(np.argmax(reached)) for i in range(len(tried))]
    assert setting == json.loads(tried[int(np.argmax(reached))]["setting"])
    assert len({round(one, 6) for one in reached}) > 1


def test_several_draws_of_pseudo_unseen_findings_count_alike(rotation, monkeypatch):
    scorer = Scorer(rotation, "eszsl", QUADRUPLE)
    seen = rotation.cell(QUADRUPLE, 0).findings.seen_index
    draws = [tuple(map(int, seen[:2])), tuple(map(int, seen[2:6]))]
    reached = []
    for given in ([draws[0]], [draws[1]], draws):
        monkeypatch.setattr(scorers, "pseudo_unseen", lambda *a, given=given, **k: given)
        reached.append(np.array([row["auroc"] for row in scorer.choose()[1]]))
    np.testing.assert_allclose(reached[2], (reached[0] + reached[1]) / 2, atol=1e-12)


def test_every_method_tries_the_settings_of_the_plan_and_no_more(rotation):
    for method in METHODS:
        settings = Scorer(rotation, method, 0).settings()
        grid = {"focused": 2, "eszsl": 4, "eszsl_signs": 4, "eszsl_description": 4, "random_weights": 4}
        assert len(settings) == (1 if method in PIXELLESS else grid.get(method, 2)), method


def test_methods_look_at_what_their_names_say(rotation):
    cell, setting = rotation.cell(QUADRUPLE, 0), {"ridge": 10.0, "semantic_ridge": 1.0}
    scores = {m: Scorer(rotation, m, QUADRUPLE)(cell, setting, cell.test) for m in CLOSED}
    for i, one in enumerate(CLOSED):
        for other in CLOSED[:i]:
            assert not np.allclose(scores[one], scores[other]), (one, other)
    for method in ("mean_of_seen", "normality"):
        assert (scores[method] == scores[method][:, :1]).all()  # illness: one score for all findings
    labels, vectors = rotation.films.labels, Scorer(rotation, "eszsl", 0)._vectors("signs_text").numpy()
    aurocs = {m: mean_auroc(labels[cell.test][:, cell.findings.unseen_index],
                            scores[m][:, cell.findings.unseen_index]) for m in CLOSED}  # fmt: skip
    assert aurocs["eszsl"] > 0.7 and aurocs["ceiling"] > 0.8 and 0.3 < aurocs["random_weights"] < 0.7
    assert vectors.shape[1] == 384


def test_the_ceilings_train_on_all_films_and_on_as_many_as_the_others(rotation, monkeypatch):
    cell, asked = rotation.cell(QUADRUPLE, 1), []
    fitted = Scorer._ridge
    monkeypatch.setattr(Scorer, "_ridge", lambda self, films, train: asked.append(train) or fitted(self, films, train))
    for method in (*CEILINGS, "eszsl"):
        Scorer(rotation, method, QUADRUPLE)(cell, {"ridge": 1.0, "semantic_ridge": 1.0}, cell.test)
    whole, sized, plain = asked
    assert (whole == cell.pool).all() and (plain == cell.train).all()
    assert len(sized) == len(cell.train) and set(sized) <= set(cell.pool) and not set(sized) <= set(cell.train)
    assert rotation.films.labels[sized][:, cell.findings.unseen_index].any(1).sum() > 3


@pytest.mark.parametrize("method", [*CEILINGS, *PROPERTY])
def test_who_is_told_unseen_labels_uses_those_of_training_films(rotation, altered, method):
    cell, setting = rotation.cell(QUADRUPLE, 0), {"ridge": 1.0}
    changed = altered(rotation, labels=flipped(rotation.films.labels, cell.pool[::2], rotation.sets[QUADRUPLE]))
    before, after = (Scorer(r, method, QUADRUPLE)(c, setting, cell.test) for r, c in
                     ((rotation, cell), (changed, changed.cell(QUADRUPLE, 0))))  # fmt: skip
    assert not np.allclose(before[:, cell.findings.unseen_index], after[:, cell.findings.unseen_index])


def test_a_property_scores_the_share_of_training_films_that_share_it(rotation):
    cell, table, labels = rotation.cell(QUADRUPLE, 2), rotation.films.table, rotation.films.labels
    scores = Scorer(rotation, "view", QUADRUPLE)(cell, {}, cell.test)
    views, prior = table["view"].to_numpy(), labels[cell.pool].mean(0)
    for i, row in enumerate(cell.test[:20]):
        alike = labels[[p for p in cell.pool if views[p] == views[row]]]
        np.testing.assert_allclose(scores[i], (alike.sum(0) + prior) / (len(alike) + 1))
    ages = Scorer(rotation, "age", QUADRUPLE)(cell, {}, cell.test)
    assert len(np.unique(ages.round(9), axis=0)) == 3  # three bands


def test_label_count_counts_the_films_other_findings(rotation):
    cell = rotation.cell(QUADRUPLE, 0)
    scores = Scorer(rotation, "label_count", QUADRUPLE)(cell, {}, cell.test)
    for c in range(len(KEYS)):
        others = [k for k in range(len(KEYS)) if k != c]
        np.testing.assert_array_equal(scores[:, c], rotation.films.labels[cell.test][:, others].sum(1))


def test_random_scores_differ_from_cell_to_cell_and_come_back(rotation):
    one, again, other = (Scorer(rotation, "random", q)(rotation.cell(q, at), {}, np.arange(9))
                         for q, at in ((0, 0), (0, 0), (0, 1)))  # fmt: skip
    assert (one == again).all() and not (one == other).any()


def test_one_decomposition_serves_all_settings_and_never_other_films(rotation):
    scorer, cell = Scorer(rotation, "eszsl", QUADRUPLE), rotation.cell(QUADRUPLE, 0)
    films = rotation.films
    first = scorer._ridge(films, cell.train)
    assert scorer._ridge(films, cell.train.copy()) is first
    assert scorer._ridge(films, cell.pool) is not first
    assert scorer._ridge(rotation.random, cell.pool) is not scorer._ridge(films, cell.pool)


def test_mean_auroc_leaves_out_what_has_one_class():
    labels, scores = np.array([[0, 1], [1, 1], [1, 1]]), np.array([[0.1, 0], [0.1, 0], [0.3, 0]])
    assert mean_auroc(labels, scores) == 0.75 and np.isnan(mean_auroc(labels[1:], scores[1:]))


def test_what_a_plan_is_without_is_no_method(rotation_profile):
    plan = rotation_profile["rotation"]
    assert scorers.methods(plan | {"without": ["source", "dap"]}) == [m for m in METHODS if m not in ("source", "dap")]


@pytest.mark.parametrize("at", [0, 2])
def test_the_ceiling_on_fewer_films_draws_them_by_design_quadruple_and_fold(rotation, monkeypatch, at):
    cell, asked = rotation.cell(QUADRUPLE, at), []
    fitted = Scorer._ridge
    monkeypatch.setattr(Scorer, "_ridge", lambda self, films, train: asked.append(train) or fitted(self, films, train))
    Scorer(rotation, "ceiling_same_size", QUADRUPLE)(cell, {"ridge": 1.0}, cell.test)
    seed = 10_000 * rotation.design + 100 * QUADRUPLE + at
    wanted = cell.pool[closed_form.same_size(len(cell.pool), len(cell.train), seed)]
    assert (asked[0] == wanted).all()


def test_random_scores_follow_from_design_quadruple_and_fold(rotation):
    scores = Scorer(rotation, "random", 3)(rotation.cell(3, 2), {}, np.arange(5))
    np.testing.assert_array_equal(scores, random_scores((5, len(KEYS)), [1, 3, 2]))


def test_pseudo_unseen_findings_are_drawn_with_the_design_and_the_quadruple(rotation, monkeypatch):
    asked = []
    monkeypatch.setattr(scorers, "pseudo_unseen", lambda seen, seed, **how: asked.append((tuple(seen), seed, how)) or
                        [tuple(seen[:2])])  # fmt: skip
    Scorer(replace(rotation, design=7), "eszsl", QUADRUPLE).choose()
    seen = tuple(c for c in range(len(KEYS)) if c not in rotation.sets[QUADRUPLE])
    assert asked == [(seen, 7000 + QUADRUPLE, {"draws": 1, "unseen": 2})]


@pytest.mark.parametrize("method, semantics", [("eszsl", "signs_text"), ("eszsl_description", "description")])
def test_words_are_those_that_the_rotation_reads(rotation, told, method, semantics):
    scorer, cell = Scorer(rotation, method, QUADRUPLE), rotation.cell(QUADRUPLE, 0)
    scorer(cell, {"ridge": 1.0, "semantic_ridge": 0.1}, cell.test)
    assert set(told) == {semantics}


def test_what_is_tried_says_whose_it_is(rotation):
    rows = Scorer(rotation, "cosine", QUADRUPLE).choose()[1]
    assert [{key: row[key] for key in ("method", "design", "quadruple")} for row in rows] == [
        {"method": "cosine", "design": 1, "quadruple": QUADRUPLE}] * 2  # fmt: skip
    assert [json.loads(row["setting"]) for row in rows] == [{"ridge": 1.0}, {"ridge": 100.0}]
    assert Scorer(rotation, "view", QUADRUPLE).choose() == ({}, [])


def test_a_training_has_the_profile_s_parameters_then_the_plan_s_the_method_s_and_the_setting(rotation, monkeypatch):
    given, cell = [], rotation.cell(QUADRUPLE, 0)

    def fit(parts, vectors, config, out, **how):
        given.append((parts, vectors, config, out, how))
        rows = np.concatenate([cell.test, cell.val])[::-1]  # in an order of its own
        return SimpleNamespace(embeddings={"index": rows, "scores": rows[:, None] + np.zeros(len(KEYS))})

    monkeypatch.setattr(scorers, "fit", fit)
    plan = rotation.profile["rotation"]
    trained = plan["trained"] | {"parameters": {"epochs": 5, "lr": 0.5, "dim": 3},
                                 "methods": {"focused": {"lr": 0.25, "dim": 4, "semantics": "signs"}}}  # fmt: skip
    other = replace(rotation, profile=rotation.profile | {"rotation": plan | {"trained": trained}}, design=9)
    scores = Scorer(other, "focused", QUADRUPLE)(cell, {"dim": 6}, cell.test)
    ((parts, vectors, config, out, how),) = given
    assert (config.epochs, config.lr, config.dim, config.seed, config.batch_size) == (5, 0.25, 6, 9, 32)
    assert out is None and how == {"progress": False, "accelerator": "cpu"}
    assert (vectors.numpy() == semantic_vectors(findings_of(KEYS), "signs").numpy()).all()
    assert (parts.train == cell.train).all() and (parts.val == cell.val).all() and (parts.test == cell.test).all()
    assert (scores == cell.test[:, None]).all()


def test_each_closed_form_is_told_its_own_vectors(rotation):
    """Against the closed forms themselves: signs for the names that say so, else the text of the signs."""
    cell, films, setting = rotation.cell(QUADRUPLE, 1), rotation.films, {"ridge": 10.0, "semantic_ridge": 0.5}
    seen, labels = cell.findings.seen_index, films.labels[cell.train].astype(float)
    ridge, asked = closed_form.Ridge(films.pixels[cell.train].astype(float)), films.pixels[cell.test].astype(float)
    blind = closed_form.Ridge(rotation.random.pixels[cell.train].astype(float))
    vectors = {name: semantic_vectors(findings_of(KEYS), name).numpy().astype(float)
               for name in ("signs_text", "signs", "description")}  # fmt: skip
    for method, told in (("eszsl", "signs_text"), ("eszsl_signs", "signs"), ("eszsl_description", "description"),
                         ("random_weights", "signs_text"), ("nearest", "signs_text"),
                         ("nearest_description", "description"), ("cosine", "signs_text")):  # fmt: skip
        v, more = vectors[told], (0.5,) if method.startswith(("eszsl", "random")) else ()
        form = getattr(closed_form, method.partition("_")[0] if "random" not in method else "eszsl")
        base, here = (blind, rotation.random.pixels[cell.test].astype(float)) if "random" in method else (ridge, asked)
        wanted = form(base, labels[:, seen], here, v[seen], v, 10.0, *more)
        found = Scorer(rotation, method, QUADRUPLE)(cell, setting, cell.test)
        np.testing.assert_allclose(found, wanted, atol=1e-9, err_msg=method)
    signs = vectors["signs"] > 0
    wanted, _ = closed_form.dap(ridge, labels[:, seen], asked, signs[seen], signs, 10.0)
    found = Scorer(rotation, "dap", QUADRUPLE)(cell, setting, cell.test)
    np.testing.assert_allclose(found, np.where(np.isnan(wanted), 0, wanted), atol=1e-9)
    for method in ("mean_of_seen", "normality"):
        wanted = getattr(closed_form, method)(ridge, labels[:, seen], asked, len(KEYS), 10.0)
        found = Scorer(rotation, method, QUADRUPLE)(cell, setting, cell.test)
        np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_a_finding_without_a_taught_sign_has_the_same_score_for_all_films(rotation):
    """Only one finding is seen: most have no sign that was taught."""
    cell = rotation.without(rotation.cell(QUADRUPLE, 0), tuple(range(1, len(KEYS))))
    scores = Scorer(rotation, "dap", QUADRUPLE)(cell, {"ridge": 1.0}, cell.test)
    signs = [set(finding.signs) for finding in findings_of(KEYS)]
    alone = [c for c in range(len(KEYS)) if not signs[c] & set().union(*(signs[s] for s in cell.findings.seen_index))]
    assert alone and (scores[:, alone] == 0).all()


def test_mean_auroc_counts_a_finding_of_one_film_and_none_of_no_film():
    labels = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 1]])
    scores = np.array([[0.2, 0.1, 0.3], [0.1, 0.2, 0.2], [0.3, 0.3, 0.4]])
    assert mean_auroc(labels, scores) == 0.5 and mean_auroc(labels[:, :1], scores[:, :1]) == 0.5
    assert mean_auroc(labels[:, [0, 2]], scores[:, [0, 0]]) == (0.5 + 0.5) / 2
    assert mean_auroc(labels[:, [0]], -labels[:, [0]]) == 0


def test_what_a_method_sets_without_effect_is_refused_and_what_it_inherits_is_not(rotation, monkeypatch):
    cell, plan, given = rotation.cell(QUADRUPLE, 0), rotation.profile["rotation"], []
    rows = np.arange(len(rotation.films))
    done = SimpleNamespace(embeddings={"index": rows, "scores": np.zeros((len(rows), len(KEYS)))})
    monkeypatch.setattr(scorers, "fit", lambda parts, vectors, config, *_, **__: given.append(config) or done)
    methods = {"focused": {"objective": "bce"}, "odd": {"objective": "bce", "gamma": 3.0}}
    trained = plan["trained"] | {"methods": methods, "parameters": {"gamma": 3.0}}
    other = replace(rotation, profile=rotation.profile | {"rotation": plan | {"trained": trained}})
    Scorer(other, "focused", QUADRUPLE)(cell, {}, cell.test)
    assert given[0].objective == "bce"
    with pytest.raises(ValueError, match="objective bce does not use gamma"):
        Scorer(other, "odd", QUADRUPLE)(cell, {}, cell.test)
