"""How the live page is built: of which networks and films, what goes before, and what its sentences say."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from scripts import load

from cmdml.files import sha256
from cmdml.study.places import ROOT


@pytest.fixture
def build(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book/live"))
    return load("book/live/build.py")


@pytest.fixture
def made(build, monkeypatch, tmp_path):
    """``build`` with heads, films and trainings that are only told apart; what was asked and written."""
    noted = SimpleNamespace(out=tmp_path / "page", runs=tmp_path / "runs", streams={}, trained=[], packed=[])
    noted.out.mkdir()
    cards = {"phantom": {"data": {"sha256": "p"}, "measured": {"summary": "of the card"}},
             "real": {"data": {"sha256": "r"}}}  # fmt: skip
    told = torch.arange(3.0)
    noted.heads = {source: SimpleNamespace(card=card, folder=f"head {source}", model=f"model {source}", findings="f",
                                           reference={"attributes": told if source == "phantom" else None})
                   for source, card in cards.items()}  # fmt: skip
    noted.phantoms = SimpleNamespace(card={"sha256": "p"}, folder="phantoms")
    noted.films = SimpleNamespace(card={"sha256": "r"}, folder="films")

    class Stream:
        def __init__(self, source, told, *given, measured=None):
            self.name = f"{source}-{told}"
            noted.streams[source, told] = (*given, measured)

        def tensors(self, features):
            return {self.name: features}

    def trained(told, source, head, data, runs):
        assert head is noted.heads[source] and runs == noted.runs
        assert data is (noted.phantoms if source == "phantom" else noted.films)
        folder = tmp_path / f"{source}-{told}"
        folder.mkdir(exist_ok=True)
        (folder / "weights.safetensors").write_text(folder.name)
        noted.trained.append(folder.name)
        return SimpleNamespace(out=folder, model=f"{folder.name} model", embeddings=f"{folder.name} embeddings")

    for name, instead in {
        "load_head": lambda path: noted.heads[path], "prepare": lambda folder: noted.phantoms
        if folder == noted.runs / "phantom-radiographs" else None, "Stream": Stream, "trained": trained,
        "FeatureSet": SimpleNamespace(load=lambda path: noted.films if path.name.endswith("lite0") else None),
        "tray_phantoms": lambda: ("pixels", ["phantom film"]), "tray_films": lambda data, out: (
            "features" if data is noted.films and out == noted.out else None, ["real film"]),
        "content": lambda streams, heads, tray: {"tray": tray, "streams": [one.name for one in streams.values()]},
        "pack": lambda tensors: noted.packed.append(tensors) or {"packed": len(noted.packed)},
        "record": lambda page, trainings, out: noted.__dict__.update(recorded=(page, trainings, out)),
    }.items():  # fmt: skip
        monkeypatch.setattr(build, name, instead)
    threads = torch.get_num_threads()
    yield noted
    torch.set_num_threads(threads)


def test_the_page_is_built_of_six_networks_three_bundles_and_all_that_was_there_goes(build, made):
    for name in ("films.js", "weights-old.js", "old.jpg", "net.js"):
        (made.out / name).write_text("old")
    page = build.build("phantom", "real", made.runs, made.out)
    assert torch.get_num_threads() == 1
    names = [f"{source}-{told}" for source in ("phantom", "real") for told in ("signs", "description", "shuffled")]
    assert page["streams"] == names and page["tray"] == ["phantom film", "real film"]
    assert made.trained == [name for name in names if "signs" not in name]
    for source, films in (("phantom", made.phantoms), ("real", made.films)):
        head = made.heads[source]
        measured = "of the card" if source == "phantom" else None
        assert made.streams[source, "signs"] == (head.model, head, films, measured)
        for told in ("description", "shuffled"):
            name = f"{source}-{told}"
            assert made.streams[source, told] == (f"{name} model", head, films, f"{name} embeddings", None)
    assert made.packed[:3] == [{f"{source}-{told}": "features" for source in ("phantom", "real")}
                               for told in ("signs", "description", "shuffled")]  # fmt: skip
    assert made.packed[3]["told"].tolist() == [0, 1, 2] and page["told"] == {"packed": 4}
    for i, told in enumerate(("signs", "description", "shuffled"), 1):
        text = (made.out / f"weights-{told}.js").read_text()
        assert text == f'(window.LIVE_WEIGHTS ??= {{}}).{told} = {{"packed": {i}}};\n'
    assert {path.name for path in made.out.iterdir()} == {
        "films.js", "net.js", *(f"weights-{told}.js" for told in build.TOLD)}  # fmt: skip
    held, trainings, out = made.recorded
    assert held is page and out == made.out and '"told"' in (made.out / "films.js").read_text()
    assert trainings == {name: sha256(made.runs.parent / name / "weights.safetensors") for name in made.trained}


@pytest.mark.parametrize("source", ["phantom", "real"])
def test_a_head_of_other_films_is_not_shown_beside_these(build, made, source):
    (made.out / "old.jpg").touch()
    made.heads[source].card["data"]["sha256"] = "other"
    with pytest.raises(ValueError, match=f"head {source} was trained on other films than .* holds: make it again"):
        build.build("phantom", "real", made.runs, made.out)
    assert (made.out / "old.jpg").exists()


def test_the_command_builds_or_only_weighs_and_says_how_much_it_is(build, monkeypatch, tmp_path, capsys):
    asked = []
    monkeypatch.setattr(build, "build", lambda *given: asked.append(given))
    monkeypatch.setattr(build, "recount", lambda out: asked.append(out))
    (tmp_path / "weights-shuffled.js").write_bytes(b"x" * 1_230_000)
    (tmp_path / "films.js").write_bytes(b"x" * 2_000_000)
    words = ["build.py", "--out", str(tmp_path)]
    for more in ([], ["--weigh"], ["--phantom", "p", "--real", "r", "--runs", "runs"]):
        monkeypatch.setattr("sys.argv", words + more)
        build.main()
        assert capsys.readouterr().out == f"{tmp_path}/index.html: 2.00 MB at first, 3.23 MB in all\n"
    heads = ROOT / "data/heads"
    assert asked == [(heads / "phantom", heads / "nih-mini", ROOT / "runs/live", tmp_path), tmp_path,
                     (Path("p"), Path("r"), Path("runs"), tmp_path)]  # fmt: skip


def test_the_sentences_of_the_page_name_every_number_beside_what_it_is_of(build):
    told = build.sentences
    seen, unseen = ({"shuffled": a + 0.03, "signs": a + 0.01, "description": a + 0.02} for a in (0.8, 0.6))
    assert told.swap("9 films", seen, unseen).startswith(
        "Mean AUROC over 9 films: of seen findings 0.81 told signs, 0.82 told descriptions, 0.83 told shuffled signs; "
        "of unseen findings 0.61 told signs, 0.62 told descriptions, 0.63 told shuffled signs. ")  # fmt: skip
    auroc = {"Mass": 0.6, "Hernia": 0.72, "Edema": 0.9, "Nodule": 0.81, "Fibrosis": 0.3}
    text = told.abscess("9 films", auroc, 0.93, [("Mass", 0.51), ("Nodule", 0.4)])
    assert text.startswith(
        "Among 9 films, the signs of an abscess rank those with a hernia at AUROC 0.72, the hernia’s own signs at "
        "0.93. Of all findings they rank highest: Edema 0.90, Nodule 0.81, Hernia 0.72; in the joint space they lie "
        "nearest to Mass (cosine 0.51) and Nodule (cosine 0.40). None of these")  # fmt: skip
    steps = [["lucency"], ["lucency", "air_space"], ["lucency", "flat"]]
    text = told.untaught("9 films", "emphysema", steps, [0.5, 0.7, 0.52])
    assert text.startswith("Among 9 films, AUROC for emphysema: lucency 0.50; lucency + air space 0.70; lucency + "
                           "flat 0.52. The signs that nobody taught change little. The whole list does no")  # fmt: skip
    words = {a: told.compared(a, 0.5, "more", "less", "same") for a in (0.54, 0.529, 0.471, 0.46)}
    assert list(words.values()) == ["more", "same", "same", "less"]
