"""What the live page says of its networks: of test films that carry a finding, told words of one's own."""

import base64
import gzip
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scripts import load
from sklearn.metrics import roc_auc_score
from torch import nn

from cmdml.feature_set import FeatureSet
from cmdml.files import sha256
from cmdml.findings import KEYS, SeenUnseen, findings_of, split_findings
from cmdml.semantics import signs_vector
from cmdml.study.places import ROOT

FINDINGS = SeenUnseen(("Mass", "Nodule", "Edema", "Hernia"), ("Hernia",))


@pytest.fixture(scope="module")
def streams():
    return load("book/live/streams.py")


@pytest.fixture
def stream(streams):
    """Forty films anywhere in a joint space of 6 dimensions, ten of them without a finding."""
    rng = np.random.default_rng(1)
    made = object.__new__(streams.Stream)
    made.labels = np.zeros((40, 4), np.uint8)
    made.labels[:30] = rng.integers(0, 2, (30, 4))
    made.labels[:30, 0] |= ~made.labels[:30].any(1)
    made.visual = rng.normal(size=(40, 6)).astype(np.float32)
    weight = torch.from_numpy(rng.normal(size=(6, len(signs_vector(["opacity"])))).astype(np.float32))
    made.model = SimpleNamespace(semantic_regression=lambda vectors: vectors @ weight.T)
    made.anchors = made.anchor(torch.stack([signs_vector(s) for s in (["opacity"], ["focal"], ["round"], ["lucency"])]))
    return made


def test_words_are_judged_among_films_with_a_finding(stream):
    anchor, ill = stream.anchor(signs_vector(["opacity", "round"])[None])[0], stream.labels.any(1)
    far = ((stream.visual - anchor) ** 2).sum(1)
    wanted, among_all = (roc_auc_score(stream.labels[rows, 3], -far[rows]) for rows in (ill, ill | True))
    assert stream.words(["opacity", "round"], FINDINGS, "Hernia") == round(wanted, 3) != round(among_all, 3)


def test_words_lean_on_seen_findings_alone_nearest_first(stream):
    anchor = stream.anchor(signs_vector(["lucency"])[None])[0]  # Hernia's own sign here, which is unseen
    cosine = dict(zip(FINDINGS.keys, stream.anchors @ anchor, strict=True))
    first, second = stream.leans(["lucency"], FINDINGS)
    seen = sorted((value, key) for key, value in cosine.items() if key != "Hernia")
    assert [first[0], second[0]] == [seen[-1][1], seen[-2][1]] and first[1] == pytest.approx(seen[-1][0], abs=1e-5)


@pytest.fixture(scope="module")
def page():
    """The data that the committed page holds."""
    text = (ROOT / "book/_static/live/films.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("window.LIVE = ").removesuffix(";\n"))


def test_numbers_are_packed_high_bytes_first_with_what_float16_leaves_beside_them(streams):
    rng = np.random.default_rng(0)
    given = {"a": rng.normal(size=(3, 2)).astype(np.float32), "b": rng.normal(size=4).astype(np.float32)}
    bundle = streams.pack(streams.precise(given))
    assert bundle["shapes"] == {"a": [3, 2], "b": [4], "a.rest": [3, 2], "b.rest": [4]}
    high, low = np.frombuffer(gzip.decompress(base64.b64decode(bundle["data"])), np.uint8).reshape(2, -1)
    values = (high.astype(np.uint16) * 256 + low).view(np.float16).astype(float)
    np.testing.assert_allclose(values[:6] + values[10:16], given["a"].ravel(), atol=2e-6)
    np.testing.assert_array_equal(values[6:10], given["b"].astype(np.float16))


def test_folded_convolutions_are_those_with_their_normalisation(streams):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3, eps=0.1), nn.Conv2d(3, 2, 3, bias=False),
                        nn.BatchNorm2d(2)).eval()  # fmt: skip
    for norm in (net[1], net[3]):
        for values in (norm.weight.data, norm.running_var, norm.bias.data, norm.running_mean):
            values.uniform_(0.5, 2)
    folded = {name: torch.from_numpy(values) for name, values in streams.convolutions(net).items()}
    found = films = torch.randn(2, 1, 9, 9)
    for i in range(2):
        found = nn.functional.conv2d(found, folded[f"phantom.conv{i}.weight"], folded[f"phantom.conv{i}.bias"])
    with torch.no_grad():
        torch.testing.assert_close(found, net(films), atol=1e-5, rtol=1e-5)


def test_two_linear_maps_of_a_module_are_named_in_their_order(streams):
    module = nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.Dropout(), nn.Linear(4, 3))
    found = streams.regression(module, "phantom.visual")
    assert {name: values.shape for name, values in found.items()} == {
        "phantom.visual.0.weight": (4, 5), "phantom.visual.0.bias": (4,), "phantom.visual.1.weight": (3, 4),
        "phantom.visual.1.bias": (3,)}  # fmt: skip
    assert np.array_equal(found["phantom.visual.1.bias"], module[3].bias.detach().numpy())
    with pytest.raises(ValueError, match="x has 1 linear layers"):
        streams.regression(nn.Sequential(nn.Linear(5, 4)), "x")


def test_the_plane_is_where_points_vary_most(streams):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 4)) * [0.1, 9.0, 0.2, 3.0] + [1, 2, 3, 4]
    mean, first, second = streams.plane(points)
    np.testing.assert_allclose(mean, points.mean(0))
    assert abs(first[1]) > 0.99 and abs(second[3]) > 0.99


def test_a_training_of_the_page_differs_from_the_head_in_its_words_alone(streams, monkeypatch, tmp_path):
    head = SimpleNamespace(findings=split_findings(KEYS), config="config")
    monkeypatch.setattr(streams, "fit", lambda *given, **named: (given, named))
    monkeypatch.setattr(streams, "partition", lambda *given: given)
    monkeypatch.setattr(streams, "semantic_vectors", lambda findings, told: ([f.key for f in findings], told))
    for told, words in {"signs": "signs_text", "description": "description", "shuffled": "shuffled"}.items():
        given, named = streams.trained(told, "real", head, "films", tmp_path)
        assert given == (("films", head.findings), ([*KEYS], words), "config", tmp_path / f"real-{told}")
        assert named == {"accelerator": "cpu"}


@pytest.fixture
def films():
    """Four hundred films, half of them ill, with places in three dimensions; their model maps words as they are."""
    rng, n = np.random.default_rng(3), 400
    labels = (rng.random((n, 4)) < 0.3).astype(np.uint8) * (rng.random((n, 1)) < 0.5)
    table = pd.DataFrame({"split": rng.choice(["train", "val", "test"], n), "patient": np.arange(n) // 2})
    made = {"index": rng.permutation(n), "visual": rng.normal(size=(n, 3)).astype(np.float32)}
    vectors = torch.from_numpy(rng.normal(size=(4, 3)).astype(np.float32))
    model = SimpleNamespace(semantic_vectors=vectors, semantic_regression=lambda v: v)
    return SimpleNamespace(table=table, labels=labels), made, model


@pytest.mark.parametrize("measured", [False, True])
def test_a_stream_s_normal_films_are_of_validation_and_its_numbers_of_ill_test_films(streams, films, measured):
    data, made, model = films
    head = SimpleNamespace(findings=FINDINGS, config=None)
    card = [
        {"protocol": protocol, "metric": f"auroc_{m}", "value": v, "low": v - 0.1, "high": v + 0.1}
        for protocol, values in (("all", (0.8, 0.75)), ("abnormal", (0.7, 0.6)))
        for m, v in zip("SU", values)
    ]
    found = streams.Stream("real", "signs", model, head, data, made, measured=card if measured else None)
    place = {row: made["visual"][i] for i, row in enumerate(made["index"].tolist())}
    test = [row for row in range(400) if data.table.split[row] == "test"]
    normal = [row for row in range(400) if data.table.split[row] == "val" and not data.labels[row].any()]
    np.testing.assert_array_equal(found.visual, [place[row] for row in test])
    assert len(found.normal) == streams.NORMALS == 60 and len(normal) > 60
    assert {tuple(v) for v in found.normal.tolist()} <= {tuple(place[row].tolist()) for row in normal}
    assert (
        found.normal[0].tolist() == place[normal[0]].tolist()
        and found.normal[-1].tolist() == place[normal[-1]].tolist()
    )
    np.testing.assert_allclose(found.anchors, nn.functional.normalize(model.semantic_vectors, dim=1), atol=1e-6)
    ill = [row for row in test if data.labels[row].any()]
    assert found.test == {"films": len(test), "abnormal": len(ill)}
    if measured:
        assert found.auroc == {"S": [0.7, 0.6, 0.8], "U": [0.6, 0.5, 0.7]}
        return
    each = [roc_auc_score(data.labels[ill, c], [-((place[row] - found.anchors[c]) ** 2).sum() for row in ill])
            for c in range(4)]  # fmt: skip
    assert found.auroc["S"][0] == pytest.approx(np.mean(each[:3]), abs=6e-4)
    assert found.auroc["U"][0] == pytest.approx(each[3], abs=6e-4)
    assert found.auroc["S"][1] < found.auroc["S"][0] < found.auroc["S"][2]


def test_what_the_page_carries_of_a_stream(stream, streams):
    rng = np.random.default_rng(5)
    stream.normal, stream.source, stream.told = rng.normal(size=(9, 6)), "real", "shuffled"
    stream.embed = lambda shown: ("embedded", shown)
    weights, module = stream.model.semantic_regression, nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 3))
    stream.model = SimpleNamespace(semantic_regression=module)
    found = stream.tensors("films")
    assert found["real.films"] == ("embedded", "films") and "real.semantic.1.weight" in found
    assert found["real.anchors"] is stream.anchors and found["real.normal"] is stream.normal
    shown = np.concatenate([stream.anchors, stream.normal, stream.visual[:30]])  # the last ten have no finding
    np.testing.assert_allclose(found["real.plane"][0], shown.mean(0), atol=1e-6)
    stream.told = "description"
    assert not [name for name in stream.tensors("films") if "semantic" in name] and weights


def test_hits_are_counted_on_films_of_one_seen_finding_where_it_was_drawn(streams, monkeypatch):
    findings, drawn, shown = split_findings(KEYS), [], []
    table = streams.sample_table(4000, streams.TRAY_SEED + 1)
    labels = table[list(KEYS)].to_numpy()
    wanted = [row for row in labels if row.sum() == 1 and row[findings.seen_index].sum() == 1][:30]

    def draw(scene, size, seed):
        """A grey film; a finding is a white square at the top left, and a little of its two neighbours."""
        drawn.append(np.array(scene["labels"]))
        films = np.full((len(scene["labels"]), size, size), 100, np.uint8)
        films[:, 32:] = 40
        films[drawn[-1].any(1), :8, :9] = 250  # of the one 8 pixels of 64
        films[drawn[-1].any(1), 8, :6] = 250  # of the other 6
        return films

    monkeypatch.setattr(streams, "draw", draw)
    def embed(films):
        shown.append(films.copy())
        there = films[:, :8, :8].mean((1, 2)) > 249
        return np.stack([there, ~there], 1).astype(float)

    found = streams.pointing(SimpleNamespace(anchors=np.tile([1.0, 0.0], (14, 1)), embed=embed), findings, many=30)
    np.testing.assert_array_equal(drawn[0], wanted)
    assert not drawn[1].any()  # the same films without their finding
    assert found == {"films": 30, "hits": 30, "chance": round(2 / 64, 3)}  # from a tenth of a square on
    *covered, film = shown[0]
    for i, cover in enumerate(covered):  # by the mean of what lies up to 8 pixels around
        y, x = 8 * (i // 8), 8 * (i % 8)
        expected = film.copy()
        expected[y : y + 8, x : x + 8] = int(film[max(0, y - 8) : y + 16, max(0, x - 8) : x + 16].mean())
        np.testing.assert_array_equal(cover, expected)


def test_real_films_of_the_tray_are_those_of_the_page(streams, page, tmp_path):
    real = FeatureSet.load(ROOT / "data/features/nih-mini-efficientnet_lite0")
    features, items = streams.tray_films(real, tmp_path)
    assert items == [film for film in page["tray"] if film["source"] == "real"]
    rows = {image: row for row, image in enumerate(real.table["image"])}
    np.testing.assert_array_equal(features, [real.pixels[rows[f"{film['image']}.png"]] for film in items])
    assert {path.stem for path in tmp_path.iterdir()} == {film["image"] for film in items}


def test_a_film_of_the_tray_was_kept_from_training(streams, page, monkeypatch, tmp_path):
    real = FeatureSet.load(ROOT / "data/features/nih-mini-efficientnet_lite0")
    table = pd.read_csv(ROOT / "data/films/films.csv", dtype={"patient": str})
    shown = next(film["image"] for film in page["tray"] if film["source"] == "real" and film["labels"]) + ".png"
    table.loc[table["image"] == shown, "split"] = "train"
    monkeypatch.setattr(streams.pd, "read_csv", lambda *given, **named: table)
    _, items = streams.tray_films(real, tmp_path)
    split = table.set_index("image")["split"]
    assert items and {split[f"{film['image']}.png"] for film in items} == {"test"}


def test_phantoms_of_the_tray_are_those_of_the_page(streams, page):
    pixels, items = streams.tray_phantoms()
    held = [film for film in page["tray"] if film["source"] == "phantom"]
    assert items == held and len(pixels) == len(held) == 13
    assert [film.tobytes() for film in pixels] == [base64.b64decode(film["pixels"]) for film in held]


@pytest.fixture
def build(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book/live"))
    return load("book/live/build.py")


def told(number):
    """A stream that answers with numbers of its own."""
    return SimpleNamespace(
        words=lambda signs, findings, key: round(number + len(signs) / 100 + KEYS.index(key) / 1000, 5),
        leans=lambda signs, findings: [("Nodule", number), ("Pleural_Thickening", len(signs) / 100)],
        auroc={"S": [number, 0, 1], "U": [number / 2, 0, 1]},
        test={"films": 20, "abnormal": 1000 + round(100 * number)},
    )


def test_experiments_ask_the_network_of_phantoms_told_signs(build, monkeypatch):
    asked, findings = {}, split_findings(KEYS)
    for name in ("abscess", "swap", "untaught"):
        monkeypatch.setattr(build.sentences, name, lambda *given, name=name: asked.update({name: given}) or name)
    streams = {}
    for i, words in enumerate(("signs", "description", "shuffled"), 1):
        streams |= {("phantom", words): told(i / 10), ("real", words): told(i / 10 + 0.5)}
    signs, about = streams["phantom", "signs"], {f.key: f for f in findings_of(KEYS)}
    made = build.experiments(signs, streams, findings)
    films = "1,010 test phantoms with a finding"
    by_finding = {about[key].name: signs.words(build.ABSCESS, None, key) for key in KEYS}
    own = signs.words(about["Hernia"].signs, None, "Hernia")
    leans = [("Nodule", 0.1), ("Pleural thickening", 0.06)]
    assert made["abscess"]["auroc"] == by_finding and made["abscess"]["own"] == own
    assert made["abscess"]["leans"] == leans and asked["abscess"] == (films, by_finding, own, leans)
    means = {m: {words: streams["phantom", words].auroc[m][0] for words in ("signs", "description", "shuffled")}
             for m in "SU"}  # fmt: skip
    assert asked["swap"] == (films, means["S"], means["U"]) and made["swap"] == means | {"text": "swap"}
    listed = list(about["Emphysema"].signs)
    known = {sign for key in findings.seen for sign in about[key].signs}
    new, taught = [s for s in listed if s not in known], [s for s in listed if s in known]
    steps = [taught, *([*taught, sign] for sign in new), listed]
    reached = [signs.words(step, None, "Emphysema") for step in steps]
    found = made["untaught"]
    assert (found["signs"], found["untaught"], found["steps"], found["auroc"]) == (listed, new, steps, reached)
    assert asked["untaught"][2:] == (steps, reached)


def test_the_page_says_of_findings_signs_and_networks_what_they_are(build, monkeypatch, tmp_path):
    findings, asked = split_findings(KEYS), []
    monkeypatch.setattr(build, "experiments", lambda *given: "experiments")
    monkeypatch.setattr(build, "pointing", lambda *given: asked.append(given))
    heads = {}
    for source in ("phantom", "real"):
        (tmp_path / source).mkdir()
        (tmp_path / source / "weights.safetensors").write_text(source)
        heads[source] = SimpleNamespace(findings=findings, folder=tmp_path / source)
    streams = {("real", "shuffled"): told(0.2), ("phantom", "signs"): told(0.1)}
    made = build.content(streams, heads, ["tray"])
    assert [(f["key"], f["seen"]) for f in made["findings"]] == [(key, key in findings.seen) for key in KEYS]
    known = {sign for finding in findings_of(findings.seen) for sign in finding.signs}
    assert {sign["name"]: sign["taught"] for sign in made["signs"]} == {
        sign["name"]: sign["name"] in known for sign in made["signs"]}  # fmt: skip
    assert made["quality"] == [{"source": source, "told": words, **one.test, **one.auroc}
                               for (source, words), one in streams.items()]  # fmt: skip
    assert asked == [(streams["phantom", "signs"], findings)] and made["tray"] == ["tray"]
    assert made["heads"] == {name: sha256(tmp_path / name / "weights.safetensors") for name in heads}


def test_the_page_weighs_all_that_it_holds_and_at_first_what_it_loads_first(build, tmp_path):
    for name, size in {"net.js": 10, "weights-signs.js": 200, "weights-description.js": 3000,
                       "weights-shuffled.js": 40000}.items():  # fmt: skip
        (tmp_path / name).write_bytes(b"x" * size)
    build.write({"a": "é"}, tmp_path)
    text = (tmp_path / "films.js").read_text(encoding="utf-8")
    held, own = json.loads(text.removeprefix("window.LIVE = ").removesuffix(";\n")), len(text.encode())
    assert held == {"a": "é", "weight": {"all": 43210 + own, "first": 210 + own}}
    (tmp_path / "net.js").write_bytes(b"x" * 11)
    build.recount(tmp_path)
    assert build.weigh(tmp_path) == {"all": 43211 + own, "first": 211 + own}


def test_what_the_page_says_is_kept_with_its_files(build, monkeypatch, tmp_path):
    monkeypatch.setattr(build, "RESULTS", tmp_path / "page.json")
    for name in ("films.js", "weights-signs.js", "a.jpg", "net.js"):
        (tmp_path / name).write_text(name)
    page = {name: name for name in ("quality", "pointing", "experiments", "heads", "tray")}
    build.record(page, {"real-shuffled": "hash"}, tmp_path)
    kept = json.loads((tmp_path / "page.json").read_text())
    assert {name: kept[name] for name in page if name in kept} == {name: name for name in page if name != "tray"}
    assert kept["trainings"] == {"real-shuffled": "hash"} and "versions" in kept
    assert kept["files"] == {name: sha256(tmp_path / name) for name in ("a.jpg", "weights-signs.js")}
