"""Facts on the pages about trust and comparing: mapped labels, the printed loss, the layout of another set, links."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from cmdml.findings import KEYS
from cmdml.sources import nih

ROOT = Path(__file__).resolve().parents[1]


def page(name):
    return (ROOT / f"book/{name}.md").read_text(encoding="utf-8")


def code(name):
    return re.findall(r"```python\n(.*?)```", page(name), re.S)


@pytest.fixture(scope="module")
def names():
    return pd.read_csv(ROOT / "data/label_names.csv", keep_default_na=False)


def test_labels_of_other_sets_are_mapped_onto_findings(names):
    assert set(names["set"]) == {"CheXpert", "MIMIC-CXR", "PadChest"}
    assert set(names["finding"]) - {""} <= set(KEYS)
    assert not names.duplicated(["set", "label"]).any()
    assert ((names["finding"] == "") == (names["note"] != "")).all()  # what is not mapped says why
    assert set(names.loc[names["set"] == "PadChest", "finding"]) - {""} == set(KEYS)
    chexpert, mimic = (names.loc[names["set"] == s, ["label", "finding"]].to_numpy() for s in ("CheXpert", "MIMIC-CXR"))
    assert (chexpert == mimic).all()
    emphysema = names.loc[names["finding"] == "Emphysema", "label"]
    assert list(emphysema) == ["emphysema"]


def test_the_printed_table_is_that_of_the_file(names):
    for key in KEYS:
        (row,) = re.findall(rf"^\| {key} \| (.*) \| (.*) \|$", page("other-sets"), re.M)
        for column, sets in zip(row, ("CheXpert", "PadChest"), strict=True):
            told = {label.strip() for label in re.sub(r"\(.*?\)", "", column).split(",")} - {"–"}
            assert told == set(names.loc[(names["set"] == sets) & (names["finding"] == key), "label"]), key


def test_the_counts_in_words_are_right(names):
    mapped = names[names["finding"] != ""].groupby("set")["finding"].nunique()
    assert mapped.to_dict() == {"CheXpert": 7, "MIMIC-CXR": 7, "PadChest": 14}
    assert page("other-sets").count("Seven of the 14") == 2


def test_the_printed_code_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (block,) = code("other-sets")
    exec(compile(block, "other-sets", "exec"), {})
    assert capsys.readouterr().out.strip() == "['Edema', 'Effusion']"


def test_a_folder_of_that_layout_is_read(tmp_path):
    """Four patients in the layout that the page prints; a sixteen-bit or a small file would be refused by name."""
    (tmp_path / "images").mkdir()
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    rows, listed = [head], {"train_val": [], "test": []}
    for patient in range(1, 5):
        name = f"{patient:08d}_000.png"
        Image.fromarray(np.arange(6400, dtype=np.uint8).reshape(80, 80) + patient).save(tmp_path / "images" / name)
        rows.append(f"{name},{'Edema|Effusion' if patient % 2 else 'No Finding'},0,{patient},60,F,PA")
        listed["test" if patient > 2 else "train_val"].append(name)
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text("\n".join(rows) + "\n")
    for name, lines in listed.items():
        (tmp_path / f"{name}_list.txt").write_text("\n".join(lines) + "\n")
    made = nih.prepare(tmp_path / "set", root=tmp_path, size=64, progress=False)
    assert len(made) == 4 and made.table["Edema"].sum() == 2 and (made.table["split"] == "test").sum() == 2
    for named in ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "View Position", "test_list.txt"):
        assert named in page("other-sets")


def test_the_printed_loss_is_an_objective():
    (block,) = code("compare")
    space = {}
    exec(compile(block, "compare", "exec"), space)
    loss, generator = space["LogisticDistance"](), torch.Generator().manual_seed(0)
    visual, semantic = (torch.randn(n, 8, generator=generator, dtype=torch.double) for n in (6, 5))
    labels = (torch.rand(6, 5, generator=generator) < 0.3).long()
    visual.requires_grad_()
    terms = loss(visual, semantic, labels)
    assert list(terms) == ["total", "positive", "negative"]
    assert torch.isclose(terms["total"], terms["positive"] + terms["negative"])
    d2 = ((visual[:, None] - semantic[None]) ** 2).sum(-1)
    p = torch.sigmoid(1 - d2)
    naive = -(labels * p.log() + (1 - labels) * (1 - p).log()).sum(1).mean()
    assert torch.allclose(terms["total"], naive)
    terms["total"].backward()
    assert visual.grad.isfinite().all() and torch.allclose(loss.score(visual, semantic), -d2)
    with pytest.raises(ValueError):
        loss(visual, semantic, labels[:, :4])


def test_commands_of_the_page_exist():
    from typer.testing import CliRunner

    from cmdml.study.compare import app

    for name in ("films", "scores"):
        shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
        for option in ("--unseen", "--design", "--quadruple", "--fold"):
            assert option in shown and option in page("compare")


def test_claim_has_every_item_once_and_an_answer():
    items = re.findall(r"^\| (\d+) \| (.+?) \| (yes|no|n/a) \| (.+?) \|$", page("claim"), re.M)
    assert [int(number) for number, *_ in items] == list(range(1, 45))


def test_every_page_of_the_toc_is_there_and_every_page_is_in_it():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    listed = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    assert len(set(listed)) == len(listed)
    for name in listed:
        assert (ROOT / f"{name}.md").is_file() or (ROOT / f"{name}.ipynb").is_file(), name
    written = {f"book/{path.stem}" for path in (ROOT / "book").glob("*.md")}
    assert not written - set(listed)


@pytest.mark.parametrize("name", ["model-card", "data-card", "claim", "cite", "other-sets", "compare", "teaching"])
def test_what_a_page_cites_and_links_is_there(name):
    text, bib = page(name), (ROOT / "book/references.bib").read_text(encoding="utf-8")
    entries = set(re.findall(r"^@\w+\{([^,\s]+),", bib, re.M))
    for cited in re.findall(r"\{cite:[pt]\}`([^`]+)`", text):
        assert {key.strip() for key in cited.split(",")} <= entries, cited
    for target in re.findall(r"\{doc\}`(?:[^`<]*<)?([^`>]+)>?`", text):
        place = ROOT / target.lstrip("/") if target.startswith("/") else ROOT / "book" / target
        assert place.with_suffix(".md").is_file() or place.with_suffix(".ipynb").is_file(), target


def test_licences_name_each_other():
    docs = (ROOT / "LICENSE-docs").read_text(encoding="utf-8")
    assert "CC BY 4.0" in docs and "teaching/" in docs and "LICENSE-docs" in page("cite")
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
