"""Scores of films: equal to the model's, ranked, set beside normal films; own words; the warning; damaged heads."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_tiny
from film_files import phantoms
from PIL import Image
from scipy.stats import percentileofscore

from cmdml import predict
from cmdml.config import TrainConfig
from cmdml.feature_set import FeatureSet
from cmdml.features import extract
from cmdml.files import check_seal, seal, sha256
from cmdml.findings import KEYS, findings_of, split_findings
from cmdml.heads import FILES, FORMAT, HEADS, load_head, make_head
from cmdml.radiographs import partition
from cmdml.runs import open_run
from cmdml.semantics import attribute_sentences, semantic_vectors, signs_vector, text_vectors
from cmdml.training import fit
from cmdml.words import own_signs, own_text, parse_finding, sign_names

ABSCESS = "Lung abscess: opacity, lucency, round, air-fluid level"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for i, film in enumerate(phantoms(20)):
        Image.fromarray(film).save(folder / f"{i:02d}.png")
    return folder


def test_scores_are_the_models_own(head, films):
    found = predict(films, head)
    pixels = np.stack([np.asarray(Image.open(path)) for path in sorted(films.glob("*.png"))])
    with torch.no_grad():
        expected = head.model.score(torch.from_numpy(pixels)[:, None]).numpy()
    assert np.abs(np.stack([film.scores for film in found.films]) - expected).max() < 1e-5
    assert [film.path.name for film in found.films] == [f"{i:02d}.png" for i in range(20)] and not found.failed


def test_the_table_is_ranked_and_every_row_says_what_it_is_not(head, films):
    table = predict(films / "03.png", head).table
    assert (table["score"].diff().dropna() <= 0).all() and table["rank"].tolist() == list(range(1, 15))
    assert set(table["notice"]) == {"not a medical device"} and set(table["finding"]) == set(KEYS)
    assert set(table["finding"][table["kind"] == "unseen"]) == set(head.findings.unseen)
    assert set(table["kind"]) == {"seen", "unseen"}


def test_percentiles_are_those_of_the_normal_validation_films(head, films):
    film, normal = predict(films / "03.png", head).films[0], head.reference["normal_visual"]
    with torch.no_grad():
        scores = -(torch.cdist(normal.double(), head.network.semantic().double()) ** 2).numpy()
    expected = [percentileofscore(scores[:, c], film.scores[c], "mean") for c in range(14)]
    assert np.abs(film.percentiles - expected).max() < 1.01 * 100 / len(normal) / 2
    assert len(normal) == head.card["normal_films"]


def test_a_finding_told_by_its_own_signs_scores_as_the_built_in_one(head, films):
    pneumonia = findings_of(["Pneumonia"])[0]
    told = "Mine: " + ", ".join(sign.replace("_", "-").upper() for sign in pneumonia.signs)
    found = predict(films, head, findings=[told])
    for film in found.films:
        assert film.scores[14] == pytest.approx(film.scores[KEYS.index("Pneumonia")], abs=1e-6)
        assert film.percentiles[14] == pytest.approx(film.percentiles[KEYS.index("Pneumonia")], abs=1)
    assert found.kinds[14] == "own words" and found.names[14] == "Mine"


def test_own_signs_are_the_vectors_of_the_semantics_module(head):
    name, typed = parse_finding(ABSCESS)
    words = own_signs(head, name, typed)
    assert words.name == "Lung abscess" and words.signs == ("opacity", "lucency", "round", "air_fluid_level")
    assert torch.allclose(words.vector, signs_vector(words.signs, "signs_text"), atol=1e-6)
    assert sign_names(["Air fluid_LEVEL"], head.card["attributes"]) == ("air_fluid_level",)


def test_own_words_say_what_they_lean_on_and_what_nobody_taught(head):
    words = own_signs(head, "mine", ["opacity", "hyperinflation"])
    assert words.untaught == ("hyperinflation",)
    seen = head.findings.seen_index
    with torch.no_grad():
        places = head.network.semantic(torch.stack([words.vector, *head.model.semantic_vectors[seen]]))
    joint = torch.nn.functional.cosine_similarity(places[:1], places[1:])
    best = joint.argsort(descending=True)[:3].tolist()
    assert [f for f, *_ in words.leans_on] == [head.findings.seen[i] for i in best]
    assert [j for _, j, _ in words.leans_on] == pytest.approx(joint[best].tolist(), abs=1e-5)
    own = signs_vector(findings_of(["Mass"])[0].signs)
    assert own_signs(head, "m", findings_of(["Mass"])[0].signs).leans_on[0][0] == "Mass" and own is not None


def test_a_text_is_centred_as_the_signs_are(head):
    sentence = attribute_sentences()["round"]  # committed, so no encoder is loaded
    told = text_vectors(list(attribute_sentences().values())).double()
    expected = torch.nn.functional.normalize(text_vectors([sentence])[0].double() - told.mean(0), dim=0).float()
    words = own_text(head, f" {sentence} ")
    assert torch.allclose(words.vector, expected, atol=1e-6)
    assert torch.allclose(words.vector, signs_vector(["round"]), atol=1e-6)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [("Mine: opaciti", "unknown sign 'opaciti': did you mean 'opacity'"), ("Mine", "must be a name, a colon and signs"),
     ("Mine: round, Round", "is given twice"), (": round", "must be a name"), ("Mine: ,", "must be a name")],
)  # fmt: skip
def test_words_that_mean_nothing_are_refused(head, films, typed, sentence):
    with pytest.raises(ValueError, match=sentence):
        predict(films, head, findings=[typed])


def test_what_is_no_film_of_its_kind_gets_a_warning(head, films, tmp_path):
    from skimage import data

    Image.fromarray(data.cat()).save(tmp_path / "cat.png")
    cat = predict(tmp_path / "cat.png", head).films[0]
    assert cat.unfamiliar and "unlike the films" in cat.warnings[0] and "colour" in cat.warnings[1]
    own = predict(films, head).films
    assert sum(film.unfamiliar for film in own) <= 2
    validation = head.familiar.validation
    assert (validation > head.familiar.threshold).float().mean() == pytest.approx(0.01, abs=0.005)


def test_the_distance_is_mahalanobis_under_the_fitted_covariance(head, films):
    familiar = head.familiar
    basis, noise = familiar.components.double(), familiar.noise.double()
    covariance = basis.T @ torch.diag(familiar.variances.double() - noise) @ basis
    covariance += noise * torch.eye(len(covariance), dtype=torch.float64)
    pixels = torch.from_numpy(np.asarray(Image.open(films / "00.png")))[None, None]
    with torch.no_grad():
        features = head.network.features(pixels)
    x = ((features - familiar.mean) / familiar.scale).double()
    expected = (x @ torch.linalg.solve(covariance, x.T)).item() / x.shape[1]
    assert familiar.distance(features).item() == pytest.approx(expected, rel=1e-3)


def test_one_bad_file_does_not_stop_the_others(head, films, tmp_path):
    (tmp_path / "a.png").write_text("no film")
    found = predict([tmp_path / "a.png", films / "00.png", tmp_path / "none.png"], head)
    assert len(found.films) == 1 and [path.name for path, _ in found.failed] == ["a.png", "none.png"]
    assert "a.png" in found.failed[0][1]


def test_the_json_is_plain(head, films):
    found = json.loads(json.dumps(predict(films / "00.png", head, findings=[ABSCESS]).to_dict()))
    assert found["notice"] == "not a medical device" and len(found["films"][0]["findings"]) == 15
    assert found["own_words"][0]["leans_on"][0]["finding"] in head.findings.seen
    assert found["run"]["unseen"] == list(head.findings.unseen)


def test_a_flipped_bit_in_a_head_is_refused(head, tmp_path):
    for name in (*FILES, "seal.json"):
        folder = tmp_path / name
        shutil.copytree(head.folder, folder)
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged or was edited|is of format"):
            load_head(folder)


def test_a_run_that_is_none_is_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no run 'phantm'.*did you mean 'phantom'"):
        open_run("phantm")
    with pytest.raises(FileNotFoundError, match="no finished training"):
        open_run(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What chapter 3 leaves behind, small."""
    folder = tmp_path_factory.mktemp("run")
    tiny = make_tiny(folder / "radiographs")
    vectors = semantic_vectors(findings_of(KEYS), "signs")
    config = TrainConfig(backbone="small_cnn", epochs=1, hidden=0, dim=8, augment=False, batch_size=100)
    fit(partition(tiny, split_findings(KEYS)), vectors, config, folder / "training", progress=False, accelerator="cpu")
    told = {"semantics": "signs", "semantic_model": "all-MiniLM-L6-v2", "run_dir": str(folder), "profile": "tiny"}
    (folder / "training" / "manifest.json").write_text(json.dumps({"parameters": told}))
    return folder


def test_a_run_of_the_study_becomes_a_head_once(run):
    head = open_run(run)
    assert head.folder == run / "training" / "head" and head.card["semantics"] == "signs"
    before = (head.folder / "seal.json").stat().st_mtime_ns
    assert open_run(run / "training").folder == head.folder
    assert (head.folder / "seal.json").stat().st_mtime_ns == before
    labels = pd.read_csv(run / "radiographs" / "table.csv")
    normal = labels[(labels["split"] == "val") & (labels[list(KEYS)].sum(axis=1) == 0)]
    assert head.card["normal_films"] == len(normal)
    with np.load(run / "training" / "embeddings.npz") as held:
        at = [held["index"].tolist().index(i) for i in normal.index]
        assert np.array_equal(head.reference["normal_visual"].numpy(), held["visual"][at])
    with pytest.raises(ValueError, match="was told signs, not texts: give signs"):
        own_text(head, "a text")


def test_a_run_on_frozen_features_finds_them_in_the_folder_of_their_backbone(tmp_path):
    """A study run keeps ``features/<backbone>-<weights>`` beside the radiographs they were made of."""
    images = make_tiny(tmp_path / "radiographs")
    data = extract(images, tmp_path / "features" / "small_cnn-random", backbone="small_cnn", weights="")
    config = TrainConfig(backbone="small_cnn", tune="frozen", dim=8, hidden=0, epochs=1, augment=False)
    vectors = semantic_vectors(findings_of(KEYS), "signs")
    fit(partition(data, split_findings(KEYS)), vectors, config, tmp_path / "training", progress=False)
    told = {"semantics": "signs", "semantic_model": "all-MiniLM-L6-v2", "run_dir": str(tmp_path), "profile": "frozen"}
    (tmp_path / "training" / "manifest.json").write_text(json.dumps({"parameters": told}))
    head = open_run(tmp_path)
    assert head.card["name"] == "frozen" and head.folder == tmp_path / "training" / "head"


def test_a_run_trained_again_gets_a_new_head(run):
    before = open_run(run).card["training_seal"]
    files = ("config.json", "weights.safetensors", "history.csv", "embeddings.npz")
    seal(run / "training", files, "training 1", note="another")
    head = open_run(run)
    assert head.card["training_seal"] == sha256(run / "training" / "seal.json") != before
    assert check_seal(head.folder, FORMAT, FILES)["format"] == FORMAT


def test_a_head_is_not_made_of_other_films(run, tmp_path):
    other = make_tiny(tmp_path / "radiographs", seed=1)
    with pytest.raises(ValueError, match="was trained on other films"):
        make_head(run / "training", other, tmp_path / "head", semantics="signs", semantic_model="", name="x")


@pytest.mark.skipif(not __import__("importlib.util").util.find_spec("timm"), reason="needs the extra study: timm")
def test_the_default_head_scores_films_as_their_committed_features():
    real, films = FeatureSet.load(HEADS.parent / "features" / "nih-mini-efficientnet_lite0"), HEADS.parent / "films"
    names = [path.name for path in sorted(films.glob("*.png"))[:3]]
    found = predict([films / name for name in names])
    assert found.head.card["name"] == "nih-mini"
    rows = [real.table["image"].tolist().index(name) for name in names]
    with torch.no_grad():
        expected = found.head.model.score(torch.from_numpy(real.pixels[rows].astype(np.float32))).numpy()
    assert np.abs(np.stack([film.scores for film in found.films]) - expected).max() < 2e-3


def test_the_shipped_heads_are_small_and_say_what_they_are():
    for name, limit in (("nih-mini", 2e6), ("phantom", 4e6)):
        folder = HEADS / name
        assert sum(path.stat().st_size for path in folder.iterdir()) < limit
        head, page = load_head(folder), (folder / "README.md").read_text(encoding="utf-8")
        assert head.card["semantics"] == "signs_text" and head.findings == split_findings(KEYS)
        assert "Not a medical device" in page and head.card["command"] in page
        expected = semantic_vectors(findings_of(KEYS), "signs_text")
        assert torch.allclose(head.model.semantic_vectors, expected, atol=1e-6)
