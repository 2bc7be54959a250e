"""Train and write the two heads that this repository carries.

    python data/make_heads.py [phantom] [nih-mini]
    make heads

``phantom``: the small network on 8,000 phantoms of 64 px, as ``profiles/phantom.yaml`` trains it. ``nih-mini``: a head
on the committed features of real films (``data/features``), as ``profiles/nih-mini.yaml`` trains it. Both are told
signs in words and see the findings of the default split. Seeds are fixed; the trainings stay in ``runs/heads``, and one
that is there is not repeated. The numbers of the model cards are those of the test films, scored once.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cmdml.evaluation.metrics import evaluate
from cmdml.evaluation.testset import embedded
from cmdml.feature_set import FeatureSet
from cmdml.findings import findings_of, split_findings
from cmdml.heads import HEADS, NOTICE, make_head
from cmdml.radiographs import partition
from cmdml.semantics import semantic_vectors
from cmdml.sources import prepare
from cmdml.study import plan, run
from cmdml.study.parameters import default_parameters
from cmdml.training import fit

NAMES = ("phantom", "nih-mini")
SEMANTICS, SEED = "signs_text", 0


def radiographs(name: str, parameters: dict, folder: Path):
    """What a head is trained on."""
    if name == "nih-mini":
        return FeatureSet.load(HEADS.parent / "features" / "nih-mini-efficientnet_lite0")
    asked = {key: parameters[key] for key in ("size", "images", "prevalence")}
    return prepare("phantom", folder / "radiographs", seed=SEED, **asked)


def normal_film():
    """The mean of the committed films without a finding: what a heat map of real films puts in place of a part."""
    table = pd.read_csv(HEADS.parent / "films" / "films.csv")
    images = table["image"][table["chosen_for"] == "none"]
    films = [np.asarray(Image.open(HEADS.parent / "films" / name)) for name in images]
    return np.mean(films, 0).round().astype(np.uint8)


def measured(training: Path, data, findings) -> dict:
    """Test AUROC of seen (S) and unseen findings (U), and of each, with 95 % intervals over patients."""
    rows = np.flatnonzero(data.table["split"] == "test")
    scores, patients = embedded(training, rows)["scores"], data.table["patient"].to_numpy()[rows]
    found = evaluate(data.labels[rows], scores, patients, findings, replicates=1000, seed=SEED)
    tables = {"summary": found.summary, "per_finding": found.per_finding}
    plain = {name: table.astype(object).where(table.notna(), None).to_dict("records") for name, table in tables.items()}
    return {"test_films": len(rows), **plain}  # None, not NaN: JSON has none


def readme(card: dict) -> str:
    """The model card, for people."""
    real, data, test = card["features"] is not None, card["data"], card["measured"]
    both = {p: {r["metric"]: r for r in test["summary"] if r["protocol"] == p} for p in ("abnormal", "all")}

    def cell(value, low, high):
        return f"{value:.2f} ({low:.2f}–{high:.2f})"

    def row(protocol):
        three = [both[protocol][f"auroc_{m}"] for m in "SUH"]
        return f"| {protocol} | " + " | ".join(cell(r["value"], r["low"], r["high"]) for r in three) + " |"

    rows = [row(protocol) for protocol in both]
    each = [r for r in test["per_finding"] if r["protocol"] == "abnormal"]
    each = [f"| {r['finding'].replace('_', ' ')} | {'seen' if r['seen'] else 'unseen'} | {r['positives']} | "
            + ("–" if r["auroc"] is None else cell(*(r[f"auroc{end}"] for end in ("", "_low", "_high")))) + " |"
            for r in each]  # fmt: skip
    where = "EfficientNet-Lite0 with ImageNet weights, frozen" if real else "`small_cnn`, trained from scratch"
    lines = [
        f"# Head `{card['name']}`", "",
        f"**{NOTICE.capitalize()}.** For teaching and for trying the method out: no decision may rest on it.",
        "", f"* **What it does**: ranks 14 findings, and any list of radiographic signs, on a frontal chest "
        f"{'film' if real else 'phantom'} of {card['size']} px.",
        f"* **Trained on** {data['title']}: {card['films']['learnt']:,} films, without those that show an unseen "
        f"finding. {data['note']}",
        f"* **Never seen**: {', '.join(card['unseen'])}. It knows them by their signs alone.",
        f"* **Network**: {where}" + (f" (weights sha256 `{card['features']['weights_sha256']}`)" if real else "")
        + "; CM-DML in a joint space of 128 dimensions, told signs in words (`signs_text`).",
        f"* **Percentiles** count the {card['normal_films']} validation films without a finding.",
        "* **A film is unfamiliar** above the distance that 1 in 100 validation films exceeds.",
        f"* **Made by** `{card['command']}`, seed {SEED}.",
        f"* **Source and terms**: {data['source']}; {data['licence']}. {data['citation']}.",
        "", f"## Test, {test['test_films']:,} films", "",
        "Mean AUROC over seen (S) and unseen findings (U), their harmonic mean (H), 95 % intervals over patients. "
        "`abnormal` counts films with at least one finding.", "",
        "| films | S | U | H |", "|---|---|---|---|", *rows, "",
        "| finding | | positives | AUROC, `abnormal` |", "|---|---|---:|---|", *each, "",
    ]  # fmt: skip
    return "\n".join(lines)


def command(name: str) -> str:
    """What makes one head, as its card and page print it; ``make heads`` runs it for both."""
    return f"python data/make_heads.py {name}"


def make(name: str) -> None:
    """Train (or open) and write ``data/heads/<name>``."""
    profile, folder = run.load_profile(name), run.resolve("runs/heads") / name
    parameters = {**default_parameters(plan.TRAINING), **profile["parameters"], "semantics": SEMANTICS, "seed": SEED}
    data = radiographs(name, parameters, folder)
    findings = split_findings(data.findings, "default")
    vectors = semantic_vectors(findings_of(findings.keys), SEMANTICS, model=parameters["semantic_model"])
    asked = run.notebook_parameters(plan.TRAINING, {"parameters": parameters})
    config, _ = plan.training_config({k: v for k, v in asked.items() if k != "out"} | {"precision": "32-true"})
    trained = fit(partition(data, findings), vectors, config, folder / "training", accelerator="cpu")
    about = {"command": command(name), "measured": measured(trained.out, data, findings)}
    about["val_seen_auroc"] = float(trained.history["val_seen_auroc"].max())
    head = make_head(trained.out, data, HEADS / name, semantics=SEMANTICS, semantic_model=parameters["semantic_model"],
                     name=name, about=about, readme=readme,
                     normal_film=normal_film() if name == "nih-mini" else None)  # fmt: skip
    total = sum(file.stat().st_size for file in head.folder.iterdir())
    print(f"{head.folder}: {total / 1e6:.2f} MB, seen validation AUROC {about['val_seen_auroc']:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="which of them; all by default")
    for name in parser.parse_args().names or NAMES:
        make(name)


if __name__ == "__main__":
    main()
