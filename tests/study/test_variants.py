"""Variants of the head: what each word does, what ranks them, and that neither unseen nor test labels are read."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from cmdml.closed_form import Ridge, cosine, eszsl
from cmdml.findings import KEYS, findings_of
from cmdml.semantics import semantic_vectors
from cmdml.study import variants, variants_tables
from cmdml.study.design import pseudo_unseen
from cmdml.study.scorers import mean_auroc
from cmdml.study.variants import LAMBDA, RIDGE, VariantScorer, cells_of, validated
from cmdml.study.variants_tables import compared, effects, ranked, tried

QUADRUPLE = 4
LINEAR = {"direction": "visual_to_semantic", "hidden": 0}
STILL = {"lr": 1e-9, "weight_decay": 0.0, "epochs": 1}  # the start, as good as untouched


@pytest.fixture(scope="module")
def profile(rotation_profile, tmp_path_factory):
    plan = {"design": 1, "quadruples": [QUADRUPLE, 9], "variants": {"base": {}, "linear": {"hidden": 0}}}
    where = {"run_dir": str(tmp_path_factory.mktemp("variants"))}
    return rotation_profile | {"parameters": rotation_profile["parameters"] | where,
                               "rotation": rotation_profile["rotation"] | {"improvements": plan}}  # fmt: skip


@pytest.fixture(scope="module")
def cell(rotation):
    return rotation.cell(QUADRUPLE, 0)


def scored(rotation, cell, changes):
    return VariantScorer(rotation, changes, QUADRUPLE)(cell, {}, cell.val)


@pytest.mark.parametrize("start", ["ridge", "eszsl"])
def test_a_closed_form_start_scores_as_the_closed_form(rotation, cell, start):
    """Before any step: the direction of each film in the semantic space is that of the closed form."""
    scores = scored(rotation, cell, LINEAR | STILL | {"start": start, "ridge": 10.0})
    films, seen = rotation.films, cell.findings.seen_index
    vectors = semantic_vectors(findings_of(KEYS), "signs_text").numpy().astype(float)
    ridge, labels = Ridge(films.pixels[cell.train].astype(float)), films.labels[cell.train][:, seen].astype(float)
    asked = films.pixels[cell.val].astype(float)
    if start == "ridge":
        wanted = 2 * cosine(ridge, labels, asked, vectors[seen], vectors, 10.0) - 2  # -d² of unit vectors
    else:
        length = ridge.transform(asked) @ ridge.solve(2 * labels - 1, 10.0)
        inner = vectors[seen] @ vectors[seen].T + LAMBDA * np.eye(len(seen))
        length = np.linalg.norm(length @ np.linalg.solve(inner, vectors[seen]), axis=1, keepdims=True)
        wanted = 2 * eszsl(ridge, labels, asked, vectors[seen], vectors, 10.0, LAMBDA) / length - 2
    np.testing.assert_allclose(scores, wanted, atol=2e-3)


def test_an_eszsl_start_is_the_closed_form_s_own_map(rotation, cell, monkeypatch):
    """Of labels of -1 and 1, not in its direction alone: its length decides how far the first steps turn it."""
    given = []
    monkeypatch.setattr(variants, "fit", lambda *_, start, **__: given.append(start) or fitted)
    fitted = SimpleNamespace(embeddings={"index": cell.val, "scores": np.zeros((len(cell.val), len(KEYS)))})
    scored(rotation, cell, LINEAR | {"start": "eszsl", "ridge": 10.0})
    films, seen = rotation.films, cell.findings.seen_index
    vectors = semantic_vectors(findings_of(KEYS), "signs_text").numpy().astype(float)
    model = torch.nn.Module()
    model.visual_regression = torch.nn.Sequential(torch.nn.Linear(films.pixels.shape[1], vectors.shape[1]))
    model.semantic_regression = torch.nn.Identity()
    given[0](model)
    ridge, labels = Ridge(films.pixels[cell.train].astype(float)), films.labels[cell.train][:, seen].astype(float)
    inner = vectors[seen] @ vectors[seen].T + LAMBDA * np.eye(len(seen))
    wanted = ridge.solve(2 * labels - 1, 10.0) @ np.linalg.solve(inner, vectors[seen])
    np.testing.assert_allclose(model.visual_regression[0].weight.detach().numpy(), wanted.T, atol=1e-6)
    assert (model.visual_regression[0].bias == 0).all()


def test_a_start_needs_one_linear_map(rotation, cell):
    for changes in ({"start": "ridge"}, {"start": "ridge", "hidden": 0}, LINEAR | {"hidden": 8, "start": "eszsl"}):
        with pytest.raises(ValueError, match="start needs direction visual_to_semantic and hidden 0"):
            scored(rotation, cell, changes)
    with pytest.raises(ValueError, match="unknown start 'rigde': did you mean 'ridge'"):
        scored(rotation, cell, LINEAR | {"start": "rigde"})
    with pytest.raises(ValueError, match="unknown change of a variant 'gama': did you mean 'gamma'"):
        scored(rotation, cell, {"gama": 1.0})


def test_what_a_head_may_see_instead(rotation, cell):
    scorer = VariantScorer(rotation, {"see": "ridge", "ridge": 10.0}, QUADRUPLE)
    films, seen = rotation.films, cell.findings.seen_index
    ridge = Ridge(films.pixels[cell.train].astype(float))
    labels = films.labels[cell.train][:, seen].astype(float)
    wanted = ridge.predict(labels, films.pixels.astype(float), 10.0)
    np.testing.assert_allclose(scorer._seen_by(cell).pixels, wanted, atol=1e-5)
    hidden = VariantScorer(rotation, {"see": "bce"}, QUADRUPLE)._seen_by(cell).pixels
    assert hidden.shape == (len(films), rotation.profile["parameters"]["hidden"]) and hidden.std() > 0
    assert hidden.min() > -0.171  # of the layer before the last, after its GELU, which goes no lower
    for see in ("ridge", "bce"):
        made = scored(rotation, cell, {"see": see})
        assert np.isfinite(made).all() and not np.allclose(made, scored(rotation, cell, {}))


def test_seeds_are_averaged(rotation, cell):
    each = [scored(rotation, cell, {"seeds": 1})]
    other = VariantScorer(rotation, {}, QUADRUPLE)
    films = other.films
    done = other._fit(films, cell, {"seed": rotation.design + 1}).embeddings
    place = {row: i for i, row in enumerate(done["index"])}
    each.append(np.stack([done["scores"][place[row]] for row in cell.val]))
    np.testing.assert_allclose(scored(rotation, cell, {"seeds": 2}), np.mean(each, axis=0), atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"see": "ridge"}, {"see": "bce"}, LINEAR | {"start": "eszsl"}])
def test_no_unseen_label_and_no_test_label_reaches_the_ranking(rotation, altered, changes):
    cell, labels = rotation.cell(QUADRUPLE, 0), rotation.films.labels.copy()
    pseudo = tuple(int(c) for c in cell.findings.seen_index[[1, 6]])
    held = np.concatenate([cell.val, cell.test])
    labels[np.ix_(held, list(rotation.sets[QUADRUPLE]))] ^= 1
    labels[cell.test] = labels[np.random.default_rng(1).permutation(cell.test)]
    one, other = (validated(r, changes, QUADRUPLE, pseudo) for r in (rotation, altered(rotation, labels=labels)))
    assert one == other


def test_a_row_is_the_auroc_of_the_findings_that_play_unseen(rotation, profile):
    made, cells = cells_of(profile)
    assert made.design == 1 and [quadruple for quadruple, _ in cells] == [QUADRUPLE, 9]
    quadruple, pseudo = cells[0]
    cell, labels = rotation.cell(quadruple, 0), rotation.films.labels
    assert len(pseudo) == 2 and not set(pseudo) & set(rotation.sets[quadruple])
    rows = np.array([i for i in cell.val if labels[i, cell.findings.seen_index].any()])
    scores = VariantScorer(rotation, {}, quadruple)(rotation.without(cell, pseudo), {}, rows)
    found = validated(rotation, {}, quadruple, pseudo)
    seen = [c for c in cell.findings.seen_index if c not in pseudo]
    assert found["pseudo_unseen"] == mean_auroc(labels[rows][:, list(pseudo)], scores[:, list(pseudo)])
    assert found["seen"] == mean_auroc(labels[rows][:, seen], scores[:, seen])


def test_what_was_tried_is_not_tried_again_unless_it_changed(profile, monkeypatch):
    first = tried(profile, "linear")
    asked = []
    monkeypatch.setattr(variants_tables, "validated", lambda r, changes, *a: asked.append(changes) or
                        {"pseudo_unseen": 0.5, "seen": 0.5})  # fmt: skip
    assert tried(profile, "linear") == first and not asked
    plan = profile["rotation"]["improvements"]
    other = plan | {"variants": plan["variants"] | {"linear": {"hidden": 0, "dim": 4}}}
    changed = profile | {"rotation": profile["rotation"] | {"improvements": other}}
    tried(changed, "linear")
    assert asked == [{"hidden": 0, "dim": 4}] * 2


def cells(values):
    rows = [{"variant": name, "quadruple": q, "pseudo": "", "pseudo_unseen": v, "seen": 0.6, "seconds": 1.0}
            for name, both in values.items() for q, v in enumerate(both)]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_best_by_pseudo_unseen_findings_comes_first():
    changes = {"base": {}, "gamma_0": {"gamma": 0.0}, "both": {"gamma": 0.0, "tau": 2.0}}
    table = ranked(cells({"base": [0.5, 0.6], "gamma_0": [0.6, 0.65], "both": [0.4, 0.8]}), changes)
    assert list(table["variant"]) == ["gamma_0", "both", "base"] and list(table["rank"]) == [1, 2, 3]
    row = table.set_index("variant").loc["gamma_0"]
    assert (row.pseudo_unseen, row.difference, row.cells_better) == pytest.approx((0.625, 0.075, 2))
    assert row.sd == pytest.approx(np.std([0.1, 0.05], ddof=1)) and json.loads(row.changes) == {"gamma": 0.0}
    parameters = {"gamma": 2.0, "alpha": 0.75, "tau": 1.0, "direction": "joint"}
    one = effects(table, changes, parameters)
    assert list(one[one.parameter == "gamma"]["value"]) == [2.0, 0.0]  # "both" changes two things
    assert list(one[one.parameter == "tau"]["variant"]) == ["base"]


def test_the_test_compares_within_folds(rotation, scored_eszsl):
    noise = np.random.default_rng(0).normal(size=scored_eszsl.shape)
    rows = pd.DataFrame(compared(rotation, {"mine": scored_eszsl, "noise": noise}, "mine", 50))
    here = rows[(rows.protocol == "abnormal") & (rows.stratum == "none") & (rows.metric == "U")].set_index("method")
    assert here.loc["mine", "value"] > 0.7 and 0.4 < here.loc["noise", "value"] < 0.6
    less = here.loc["noise"]
    assert less.variant_minus == pytest.approx(here.loc["mine", "value"] - less.value) and less.minus_low > 0
    ranks = scored_eszsl + 1000 * rotation.fold[None, :, None]  # folds apart: nothing may change
    other = pd.DataFrame(compared(rotation, {"mine": ranks, "noise": noise}, "mine", 50))
    np.testing.assert_allclose(rows["value"], other["value"])


@pytest.fixture(scope="module")
def scored_eszsl(rotation):
    return rotation.scores("eszsl")[0].astype(float)


def test_cells_that_rank_are_drawn_with_the_design_and_the_quadruple(profile):
    plan = profile["rotation"]
    other = plan | {"pseudo": {"draws": 2, "unseen": 3}, "improvements": plan["improvements"] | {"design": 2}}
    rotation, cells = cells_of(profile | {"rotation": other})
    assert rotation.design == 2
    wanted = []
    for q in (QUADRUPLE, 9):
        seen = [c for c in range(len(KEYS)) if c not in rotation.sets[q]]
        wanted += [(q, one) for one in pseudo_unseen(seen, 2000 + q, draws=2, unseen=3)]
    assert cells == wanted


def test_strengths_where_a_variant_names_none(rotation, cell):
    assert (RIDGE, LAMBDA) == (1000.0, 0.1)
    for changes in (LINEAR | STILL | {"start": "ridge"}, LINEAR | STILL | {"start": "eszsl"}, STILL | {"see": "ridge"}):
        silent, told, other = (scored(rotation, cell, changes | more)
                               for more in ({}, {"ridge": 1000.0}, {"ridge": 1.0}))  # fmt: skip
        np.testing.assert_array_equal(silent, told)
        assert not np.allclose(silent, other, atol=1e-4)


def test_a_training_gets_the_plan_s_parameters_then_the_changes_on_the_cpu(rotation, cell, monkeypatch):
    given = []

    def fit(parts, vectors, config, out, **how):
        given.append((parts, vectors, config, out, how))
        rows = np.concatenate([cell.val, cell.test])
        return SimpleNamespace(embeddings={"index": rows, "scores": np.full((len(rows), len(KEYS)), config.seed)})

    monkeypatch.setattr(variants, "fit", fit)
    plan = rotation.profile["rotation"]
    trained = plan["trained"] | {"parameters": {"epochs": 5, "lr": 0.5}}
    other = replace(rotation, profile=rotation.profile | {"rotation": plan | {"trained": trained}}, design=9)
    scores = VariantScorer(other, {"lr": 0.25, "semantics": "signs", "seeds": 3}, QUADRUPLE)(cell, {}, cell.val)
    assert [one[2].seed for one in given] == [9, 10, 11] and (scores == 10).all()
    parts, vectors, config, out, how = given[0]
    assert (config.lr, config.epochs, out) == (0.25, 5, None)
    assert how == {"progress": False, "accelerator": "cpu", "start": None}
    assert (vectors.numpy() == semantic_vectors(findings_of(KEYS), "signs").numpy()).all()
    assert (parts.train == cell.train).all() and (parts.test == cell.test).all()


def test_what_a_head_cannot_see_is_refused(rotation, cell):
    with pytest.raises(ValueError, match="unknown see 'rigde': did you mean 'ridge'"):
        scored(rotation, cell, {"see": "rigde"})
    with pytest.raises(ValueError, match="start needs direction visual_to_semantic"):
        scored(rotation, cell, {"direction": "joint", "hidden": 0, "start": "ridge"} | STILL)


def test_the_hidden_layer_of_a_plain_head_is_its_own_trained_with_cross_entropy(rotation, cell):
    scorer = VariantScorer(rotation, {"see": "bce", "lr": 0.5}, QUADRUPLE)
    model = VariantScorer(rotation, {}, QUADRUPLE)._fit(
        rotation.films, cell, {"objective": "bce", "seed": rotation.design}).model  # fmt: skip
    linear, act = [*model.visual_regression][:2]
    with torch.inference_mode():
        shown = model.visual_extractor(torch.from_numpy(np.array(rotation.films.pixels)))
        wanted = act(linear(shown)).numpy()
    np.testing.assert_allclose(scorer._seen_by(cell).pixels, wanted, atol=1e-5)
    assert scorer._seen_by(cell).pixels.dtype == np.float32
    assert VariantScorer(rotation, {"see": "ridge"}, QUADRUPLE)._seen_by(cell).pixels.dtype == np.float32


def test_a_change_without_effect_is_refused(rotation, cell):
    with pytest.raises(ValueError, match="objective bce does not use gamma"):
        scored(rotation, cell, {"objective": "bce", "gamma": 3.0})
