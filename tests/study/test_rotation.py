"""Cells of a rotation: who trains, who is tested, and whose scores end up in the file."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from cmdml.feature_set import FeatureSet
from cmdml.findings import KEYS, findings_of
from cmdml.semantics import semantic_vectors
from cmdml.study import rotation as rotation_module
from cmdml.study import run
from cmdml.study.rotation import Rotation, about_scores, folder, load_scores, score
from cmdml.study.scorers import methods


def all_cells(rotation):
    return [rotation.cell(q, at) for q in range(len(rotation.sets)) for at in range(3)]


def test_no_patient_is_in_two_parts_of_a_cell(rotation):
    patients = rotation.films.table["patient"].to_numpy()
    assert len(np.unique(patients)) < len(patients) - 100  # most have several films
    for cell in all_cells(rotation):
        parts = [set(patients[rows]) for rows in (cell.pool, cell.val, cell.test)]
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
        assert sum(map(len, parts)) == len(set(patients))


def test_every_film_is_tested_once_for_each_quadruple(rotation):
    for q in range(len(rotation.sets)):
        tested = np.concatenate([rotation.cell(q, at).test for at in range(3)])
        assert sorted(tested) == list(range(len(rotation.films)))
        validated = np.concatenate([rotation.cell(q, at).val for at in range(3)])
        assert sorted(validated) == list(range(len(rotation.films)))


def test_training_films_show_no_unseen_finding_and_the_pool_is_them_with_those(rotation):
    labels = rotation.films.labels
    for q, unseen in enumerate(rotation.sets):
        for at in range(3):
            cell = rotation.cell(q, at)
            assert cell.findings.unseen == tuple(KEYS[c] for c in unseen)
            assert not labels[cell.train][:, list(unseen)].any()
            dropped = np.setdiff1d(cell.pool, cell.train)
            assert labels[dropped][:, list(unseen)].any(1).all() and len(dropped)
            assert set(cell.train) <= set(cell.pool)


def test_films_with_a_pseudo_unseen_finding_leave_training_too(rotation):
    cell, labels = rotation.cell(3, 1), rotation.films.labels
    pseudo = tuple(int(c) for c in cell.findings.seen_index[[2, 7]])
    inner = rotation.without(cell, pseudo)
    assert set(inner.findings.unseen_index) == {*rotation.sets[3], *pseudo}
    both = [*rotation.sets[3], *pseudo]
    assert not labels[inner.train][:, both].any() and 0 < len(inner.train) < len(cell.train)
    assert (inner.test == cell.test).all() and (inner.val == cell.val).all() and (inner.pool == cell.pool).all()
    assert cell.findings.unseen == tuple(KEYS[c] for c in rotation.sets[3])  # the cell itself stays as it was


def test_a_design_and_its_folds_follow_from_the_seed(rotation_profile, rotation):
    again, other = Rotation.of(rotation_profile, 1), Rotation.of(rotation_profile, 2)
    assert again.sets == rotation.sets != other.sets
    assert (again.fold == rotation.fold).all() and (again.fold != other.fold).any()


def test_every_method_scores_every_film(rotation, scored, rotation_profile):
    assert set(scored) == set(methods(rotation_profile["rotation"]))
    for method, path in scored.items():
        with safe_open(path, framework="np") as file:
            scores = file.get_tensor("scores")
        assert scores.shape == (len(rotation.sets), len(rotation.films), len(KEYS)) and scores.dtype == np.float32
        assert np.isfinite(scores).all(), method


def by_hand(rotation, quadruple, at, setting):
    """ESZSL as the paper writes it, on features scaled by the training films; (C, N) of all films."""
    labels, pixels, unseen = rotation.films.labels, rotation.films.pixels.astype(float), list(rotation.sets[quadruple])
    seen = [c for c in range(len(KEYS)) if c not in unseen]
    held = np.isin(rotation.fold, [at, (at + 1) % 3])
    train = ~held & ~labels[:, unseen].any(1)
    x = (pixels - pixels[train].mean(0)) / pixels[train].std(0)
    y = 2.0 * labels[train][:, seen] - 1
    a = semantic_vectors(findings_of(KEYS), "signs_text").numpy().astype(float)
    s, gamma, lam = a[seen], setting["ridge"], setting["semantic_ridge"]
    left = np.linalg.inv(x[train].T @ x[train] + gamma * np.eye(x.shape[1])) @ x[train].T @ (y - y.mean(0))
    return (x @ left @ s @ np.linalg.inv(s.T @ s + lam * np.eye(s.shape[1])) @ a.T).T


def test_a_film_is_scored_by_the_model_that_never_saw_its_fold(rotation, scored):
    with safe_open(scored["eszsl"], framework="np") as file:
        scores, about = file.get_tensor("scores"), json.loads(file.metadata()["about"])
    used = {row["quadruple"]: json.loads(row["setting"]) for row in about["tried"] if row["used"]}
    assert sorted(used) == list(range(14)) and len(about["tried"]) == 14 * 4
    for q in (0, 5, 13):
        for at in range(3):
            test = rotation.fold == at
            np.testing.assert_allclose(scores[q, test], by_hand(rotation, q, at, used[q])[:, test].T, atol=1e-4)


def test_the_file_says_how_it_was_made(rotation_profile, rotation, scored):
    assert scored["view"] == folder(rotation_profile, 1) / "view.safetensors"
    with safe_open(scored["view"], framework="np") as file:
        about = json.loads(file.metadata()["about"])
    assert (about["method"], about["design"], about["tried"]) == ("view", 1, [])
    assert about["films_sha256"] == rotation.films.card["sha256"] and about["plan"] == rotation_profile["rotation"]


def test_an_unknown_method_is_refused(rotation_profile):
    with pytest.raises(ValueError, match="unknown method 'eszls': did you mean 'eszsl'"):
        score(rotation_profile, 1, "eszls")


def test_validation_is_the_fold_after_and_the_last_fold_s_is_the_first(rotation):
    for at, after in ((0, 1), (1, 2), (2, 0)):
        assert (rotation.fold[rotation.cell(0, at).val] == after).all()
        assert (rotation.fold[rotation.cell(0, at).test] == at).all()


def test_every_quadruple_s_tries_are_kept_in_order(scored):
    tried = about_scores(scored["cosine"])["tried"]
    assert [row["quadruple"] for row in tried] == [q for q in range(14) for _ in range(2)]


def rewritten(path, out, **changed):
    """The file of scores with other metadata, or other scores."""
    with safe_open(path, framework="np") as file:
        scores, meta = file.get_tensor("scores"), file.metadata()
    scores = changed.pop("scores", scores)
    meta = {key: value for key, value in (meta | changed).items() if value is not None}
    save_file({"scores": scores}, out, metadata=meta)
    return out


def test_scores_come_back_as_they_were_and_tell_how_they_were_made(scored, rotation_profile, tmp_path):
    about = about_scores(scored["view"])
    assert about["parameters"] == rotation_profile["parameters"] and about["seconds"] >= 0
    assert about["commit"] == run.CODE["commit"] and about["dirty"] == run.CODE["dirty"]
    with safe_open(scored["view"], framework="np") as file:
        scores = file.get_tensor("scores")
    np.testing.assert_array_equal(load_scores(scored["view"]), scores)
    assert about_scores(rewritten(scored["view"], tmp_path / "same.safetensors")) == about


def test_a_file_of_scores_that_was_edited_is_refused(scored, tmp_path):
    path, out = scored["view"], tmp_path / "view.safetensors"
    with safe_open(path, framework="np") as file:
        scores, about = file.get_tensor("scores"), json.loads(file.metadata()["about"])
    other = scores.copy()
    other[0, 0, 0] += 1
    for changed in (other, scores.reshape(14, -1), scores.astype(np.float64), scores.view(np.int32)):
        rewritten(path, out, scores=changed)
        with pytest.raises(ValueError, match="view.safetensors is damaged or was edited: delete it and run again"):
            load_scores(out)
        assert about_scores(out) == about  # what it tells is still what was told
    for changed in ({"about": json.dumps(about | {"design": 2})}, {"sha256_about": "0"}, {"sha256_about": None}):
        rewritten(path, out, **changed)
        for read in (load_scores, about_scores):
            with pytest.raises(ValueError, match="damaged or was edited"):
                read(out)
    rewritten(path, out, sha256="0")
    with pytest.raises(ValueError, match="damaged or was edited"):
        load_scores(out)
    out.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged or was edited"):
        load_scores(out)
    save_file({"scores": scores}, out)
    with pytest.raises(ValueError, match="damaged or was edited"):
        load_scores(out)
    for missing in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(FileNotFoundError, match="is missing or no regular file"):
            about_scores(missing)


def test_scores_of_before_there_were_hashes_are_read_with_a_warning(scored, tmp_path):
    old = rewritten(scored["view"], tmp_path / "old.safetensors", sha256=None, sha256_about=None)
    with pytest.warns(UserWarning, match="old.safetensors is of a version that noted no hash"):
        scores = load_scores(old)
    np.testing.assert_array_equal(scores, load_scores(scored["view"]))
    with pytest.warns(UserWarning, match="cannot be checked"):
        assert about_scores(old)["method"] == "view"


def test_random_features_are_those_that_the_plan_names(rotation, rotation_profile):
    blind = FeatureSet.load(rotation_profile["rotation"]["random_features"])
    np.testing.assert_array_equal(rotation.random.pixels, blind.pixels)
    assert rotation.features(3) is rotation.films and rotation.tested.all()


def test_the_words_are_read_by_the_profile_s_model(rotation, monkeypatch):
    asked = []

    def read(findings, semantics, **named):
        asked.append(([f.key for f in findings], semantics, named))
        return "vectors"

    monkeypatch.setattr(rotation_module, "semantic_vectors", read)
    other = dataclasses.replace(rotation, profile=rotation.profile | {"parameters": {"semantic_model": "another"}})
    assert other.vectors("name") == "vectors" and rotation.vectors("signs_text") == "vectors"
    assert asked == [(list(KEYS), "name", {"model": "another", "seed": 1}),
                     (list(KEYS), "signs_text", {"model": "all-MiniLM-L6-v2", "seed": 1})]  # fmt: skip
