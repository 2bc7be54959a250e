"""Make the data of the live page (book/_static/live): weights, films and the numbers that its sentences use.

    python book/live/build.py [--phantom HEAD] [--real HEAD] [--runs FOLDER] [--out FOLDER] [--weigh]

Told signs, the page runs the two heads that the repository carries. Told descriptions, and signs that were shuffled
among the findings, it runs trainings that differ in nothing else: two of phantoms, a minute each, and two of committed
features; they stay in ``runs/live``. All of it comes from committed files and fixed seeds, in one thread, because the
last bit of a sum depends on how many share it. ``data/results/live/page.json`` names every training and every file that
was written by SHA-256: page and numbers are of one build.
"""

import argparse
import json
from pathlib import Path

import sentences
import torch
from streams import ROOT, TOLD, Stream, pack, pointing, trained, tray_films, tray_phantoms

from cmdml.feature_set import FeatureSet
from cmdml.files import sha256, write_json, write_text
from cmdml.findings import findings_of, load_attributes
from cmdml.heads import load_head
from cmdml.semantics import untaught
from cmdml.sources.phantom import prepare
from cmdml.study.run import environment

OUT, RESULTS = ROOT / "book/_static/live", ROOT / "data/results/live/page.json"
ABSCESS = ["opacity", "lucency", "focal", "round", "air_space", "air_fluid_level"]
MADE = ("films.js", "weights-*.js", "*.jpg")  # what this script writes there


def experiments(signs: Stream, streams: dict, findings) -> dict:
    """What the three experiments set, and what they say of all test films; the page adds what it finds on one."""
    about = {f.key: f for f in findings_of(findings.keys)}
    films = f"{signs.test['abnormal']:,} test phantoms with a finding"
    by_finding = {f.name: signs.words(ABSCESS, findings, key) for key, f in about.items()}
    hernia = signs.words(about["Hernia"].signs, findings, "Hernia")
    leans = [(about[key].name, cosine) for key, cosine in signs.leans(ABSCESS, findings)]
    auroc = {m: {told: streams["phantom", told].auroc[m][0] for told in TOLD} for m in "SU"}
    listed = list(about["Emphysema"].signs)
    new = list(untaught(listed, findings_of(findings.seen)))
    taught = [sign for sign in listed if sign not in new]
    steps = [taught, *([*taught, sign] for sign in new), listed]
    reached = [signs.words(step, findings, "Emphysema") for step in steps]
    return {
        "abscess": {
            "name": "Lung abscess", "signs": ABSCESS, "auroc": by_finding, "own": hernia, "leans": leans,
            "text": sentences.abscess(films, by_finding, hernia, leans),
        },
        "swap": {**auroc, "text": sentences.swap(films, auroc["S"], auroc["U"])},
        "untaught": {
            "name": "Emphysema in signs", "signs": listed, "untaught": new, "steps": steps, "auroc": reached,
            "text": sentences.untaught(films, "emphysema", steps, reached),
        },
    }  # fmt: skip


def content(streams: dict, heads: dict, tray: list[dict]) -> dict:
    """Everything of the page but the weights."""
    findings = heads["phantom"].findings
    seen = findings_of(findings.seen)
    about = [
        {"key": f.key, "name": f.name, "signs": f.signs, "synonyms": f.synonyms, "seen": f.key in findings.seen}
        for f in findings_of(findings.keys)
    ]
    signs = [
        {"name": name, "says": says, "taught": not untaught([name], seen)} for name, says in load_attributes().items()
    ]
    quality = [
        {"source": source, "told": told, **stream.test, **stream.auroc} for (source, told), stream in streams.items()
    ]
    return {
        "findings": about, "signs": signs, "tray": tray, "quality": quality,
        "experiments": experiments(streams["phantom", "signs"], streams, findings),
        "pointing": pointing(streams["phantom", "signs"], findings),
        "heads": {source: sha256(head.folder / "weights.safetensors") for source, head in heads.items()},
    }  # fmt: skip


def weigh(out: Path) -> dict[str, int]:
    """Bytes of the page: all of it, and what loads at first (the rest when the switch is turned)."""
    files = {path.name: path.stat().st_size for path in out.iterdir() if path.is_file()}
    later = sum(size for name, size in files.items() if name in ("weights-description.js", "weights-shuffled.js"))
    return {"all": sum(files.values()), "first": sum(files.values()) - later}


def write(page: dict, out: Path) -> None:
    """The data, as a classic script: from file:// a browser reads no other kind. Their own bytes are weighed, too."""
    for _ in range(3):
        weight = weigh(out) if (out / "films.js").exists() else {"all": 0, "first": 0}
        text = json.dumps(page | {"weight": weight}, ensure_ascii=False)
        write_text(out / "films.js", f"window.LIVE = {text};\n")


def recount(out: Path) -> None:
    """Weigh again, after an edit of the page's own files."""
    text = (out / "films.js").read_text(encoding="utf-8")
    write(json.loads(text.removeprefix("window.LIVE = ").removesuffix(";\n")), out)


def record(page: dict, trainings: dict, out: Path) -> None:
    """What the page says, of which trainings, in which files; but for films.js, which is weighed again after edits."""
    files = sorted(path for pattern in MADE[1:] for path in out.glob(pattern))
    about = {name: page[name] for name in ("quality", "pointing", "experiments", "heads")} | {"trainings": trainings}
    write_json(RESULTS, about | {"files": {path.name: sha256(path) for path in files}} | environment())


def build(phantom: Path, real: Path, runs: Path, out: Path) -> dict:
    """Train what is missing, measure, write; returns the page's data."""
    torch.set_num_threads(1)
    heads = {"phantom": load_head(phantom), "real": load_head(real)}
    data = {
        "phantom": prepare(runs / "phantom-radiographs"),
        "real": FeatureSet.load(ROOT / "data/features/nih-mini-efficientnet_lite0"),
    }
    for source, head in heads.items():
        if head.card["data"]["sha256"] != data[source].card["sha256"]:
            raise ValueError(
                f"{head.folder} was trained on other films than {data[source].folder} holds: "
                "make it again (python data/make_heads.py)"
            )
    streams, trainings = {}, {}
    for source, head in heads.items():
        measured = head.card.get("measured", {}).get("summary")
        streams[source, "signs"] = Stream(source, "signs", head.model, head, data[source], measured=measured)
        for told in ("description", "shuffled"):
            done = trained(told, source, head, data[source], runs)
            trainings[f"{source}-{told}"] = sha256(done.out / "weights.safetensors")
            streams[source, told] = Stream(source, told, done.model, head, data[source], done.embeddings)
    for pattern in MADE:
        for old in out.glob(pattern):
            old.unlink()
    _, tray = tray_phantoms()
    features, films = tray_films(data["real"], out)
    page = content(streams, heads, tray + films)
    for told in TOLD:
        tensors = {k: v for source in heads for k, v in streams[source, told].tensors(features).items()}
        bundle = json.dumps(pack(tensors))
        write_text(out / f"weights-{told}.js", f"(window.LIVE_WEIGHTS ??= {{}}).{told} = {bundle};\n")
    page["told"] = pack({"told": heads["phantom"].reference["attributes"].numpy()})
    write(page, out)
    record(page, trainings, out)
    return page


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--phantom", type=Path, default=ROOT / "data/heads/phantom", help="head of the phantom, told signs in words"
    )
    parser.add_argument(
        "--real", type=Path, default=ROOT / "data/heads/nih-mini", help="head of real films, told signs in words"
    )
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/live", help="where phantoms and trainings stay")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the page")
    parser.add_argument("--weigh", action="store_true", help="only count the bytes again, after an edit of the page")
    given = parser.parse_args()
    if given.weigh:
        recount(given.out)
    else:
        build(given.phantom, given.real, given.runs, given.out)
    weight = weigh(given.out)
    print(f"{given.out}/index.html: {weight['first'] / 1e6:.2f} MB at first, {weight['all'] / 1e6:.2f} MB in all")


if __name__ == "__main__":
    main()
