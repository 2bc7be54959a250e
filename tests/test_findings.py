"""The findings file and its loader."""

import re

import numpy as np
import pytest
import yaml

from cmdml.findings import (
    DEFAULT_UNSEEN,
    FINDINGS_FILE,
    KEYS,
    findings_of,
    load_attributes,
    load_findings,
    split_findings,
)

# As the data set's own paper and every public loader list them.
CHESTXRAY14 = [
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
]


@pytest.fixture
def content():
    return yaml.safe_load(FINDINGS_FILE.read_text(encoding="utf-8"))


@pytest.fixture
def write(tmp_path, content):
    """Write the (changed) content to a file of its own and return the path."""

    def _write(changed=None):
        path = tmp_path / "findings.yaml"
        path.write_text(yaml.safe_dump(content if changed is None else changed, sort_keys=False), encoding="utf-8")
        return path

    return _write


def test_the_fourteen_in_the_order_of_the_data_set():
    assert list(KEYS) == CHESTXRAY14
    assert [finding.key for finding in load_findings()] == CHESTXRAY14


def test_every_finding_says_what_it_looks_like_in_two_sentences():
    findings = load_findings()
    for finding in findings:
        assert len(re.findall(r"\.(?:\s|$)", finding.description)) == 2, finding.key
        assert finding.synonyms and finding.signs
        assert "  " not in finding.description and "\n" not in finding.description
    assert len({finding.description for finding in findings}) == len({finding.name for finding in findings}) == 14


def test_sources_are_in_the_bibliography():
    entries = set(
        re.findall(r"^@\w+\{([^,\s]+),", (FINDINGS_FILE.parents[1] / "book/references.bib").read_text(), re.MULTILINE)
    )
    cited = {key.strip() for finding in load_findings() for key in finding.source.split(",")}
    assert cited <= entries


def test_signs_tell_all_findings_apart_and_none_is_idle():
    signs = [frozenset(finding.signs) for finding in load_findings()]
    assert len(set(signs)) == 14
    assert set().union(*signs) == set(load_attributes())
    assert all(len(finding.signs) == len(set(finding.signs)) for finding in load_findings())


def test_default_split_is_the_peers():
    split = split_findings(KEYS)
    assert set(split.unseen) == {"Edema", "Pneumonia", "Emphysema", "Fibrosis"}
    assert split.unseen == DEFAULT_UNSEEN == ("Pneumonia", "Edema", "Emphysema", "Fibrosis")


def test_masks_and_indices_agree():
    split = split_findings(KEYS, "Hernia, Mass")
    assert split.unseen == ("Mass", "Hernia")
    assert split.unseen_mask.dtype == bool and split.unseen_mask.sum() == 2
    assert (split.seen_mask ^ split.unseen_mask).all()
    assert [KEYS[i] for i in split.seen_index] == list(split.seen)
    assert [KEYS[i] for i in split.unseen_index] == list(split.unseen)
    assert sorted([*split.seen, *split.unseen]) == sorted(KEYS)


def test_random_splits_are_seeded():
    splits = [split_findings(KEYS, "random", seed=seed).unseen for seed in range(20)]
    assert splits[7] == split_findings(KEYS, "random", seed=7).unseen
    assert len(set(splits)) > 10
    assert all(len(set(unseen)) == 4 for unseen in splits)
    assert len(split_findings(KEYS, "random", n_unseen=2, seed=1).unseen) == 2


def test_none_makes_all_seen():
    split = split_findings(KEYS, "none")
    assert split.seen == KEYS and not split.unseen_mask.any() and np.array_equal(split.seen_index, np.arange(14))


@pytest.mark.parametrize(
    ("unseen", "says"),
    [
        ("pnuemonia", "did you mean 'Pneumonia'"),
        (["Edema", "Edema"], "none twice"),
        ("", "at least one"),
        (list(KEYS), "leave some to be seen"),
    ],
)
def test_bad_splits_are_refused(unseen, says):
    with pytest.raises(ValueError, match=says):
        split_findings(KEYS, unseen)


@pytest.mark.parametrize("n_unseen", [0, 14])
def test_random_split_needs_seen_and_unseen(n_unseen):
    with pytest.raises(ValueError, match="n_unseen"):
        split_findings(KEYS, "random", n_unseen=n_unseen)


def test_a_new_disease_is_a_few_lines(write, content):
    content["extra_findings"] = [
        {
            "key": "Lung_Abscess",
            "name": "Lung abscess",
            "synonyms": ["pulmonary abscess"],
            "description": "A cavity in consolidated lung. It holds an air-fluid level.",
            "signs": ["opacity", "focal", "air_fluid_level"],
            "source": "hansell2008",
        }
    ]
    path = write()
    findings = load_findings(path)
    assert [finding.key for finding in findings] == [*CHESTXRAY14, "Lung_Abscess"]
    assert findings_of(["Lung_Abscess", "Mass"], path)[0].signs == ("opacity", "focal", "air_fluid_level")
    assert len(load_findings()) == 14  # the study's own file is another one


def test_an_edited_file_is_read_again(write, content):
    path = write()
    assert load_findings(path)[0].name == "Atelectasis"
    content["findings"][0]["name"] = "Collapsed lung tissue"
    assert load_findings(write())[0].name == "Collapsed lung tissue"


def _unknown_sign(content):
    content["findings"][3]["signs"].append("opacitty")


def _twice(content):
    content["extra_findings"] = [dict(content["findings"][4])]


def _missing(content):
    del content["findings"][5]["description"]


def _unknown_field(content):
    content["findings"][6]["synonim"] = ["x"]


def _sign_as_text(content):
    content["findings"][7]["signs"] = "lucency"


def _default_unseen(content):
    content["default_unseen"] = ["Oedema"]


def _no_sign_defined(content):
    content["attributes"]["round"] = " "


def _blank(content):
    content["findings"][8]["description"] = "  "


def _twin(content):
    content["findings"][9]["description"] = content["findings"][10]["description"].upper()


def _unknown_section(content):
    content["extra_finding"] = []


def _sign_twice(content):
    content["findings"][4]["signs"].append("opacity")


def _yes(content):
    content["findings"][4]["key"] = True


def _no_list(content):
    content["extra_findings"] = {"key": "Abscess"}


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (_unknown_sign, r"Infiltration has the unknown sign opacitty: did you mean 'opacity'\?"),
        (_twice, "the key Mass more than once"),
        (_missing, "Nodule lacks description"),
        (_unknown_field, r"Pneumonia has the unknown field synonim: did you mean 'synonyms'\?"),
        (_sign_as_text, "Pneumothorax: signs must be a list"),
        (_default_unseen, r"Oedema is not one of its findings: did you mean 'Edema'\?"),
        (_blank, "Consolidation lacks description"),
        (_twin, "the description .* more than once"),
        (_unknown_section, r"unknown section extra_finding: did you mean 'extra_findings'\?"),
        (_sign_twice, "Mass has the sign opacity more than once"),
        (_yes, "key must be text, got True"),
        (_no_list, "extra_findings must be a list"),
        (_no_sign_defined, "attributes must map"),
    ],
)
def test_a_broken_file_is_refused_by_name(write, content, break_it, says):
    break_it(content)
    with pytest.raises(ValueError, match=says) as error:
        load_findings(write())
    assert "findings.yaml" in str(error.value)


def test_no_file_and_no_yaml(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.yaml"):
        load_findings(tmp_path / "nowhere.yaml")
    path = tmp_path / "bad.yaml"
    path.write_text("findings: [")
    with pytest.raises(ValueError, match="bad.yaml is not valid YAML"):
        load_findings(path)


def test_findings_of_offers_the_nearest_key():
    with pytest.raises(ValueError, match="did you mean 'Pleural_Thickening'"):
        findings_of(["Pleural_thickenin"])


OWN = """- key: Lung_Abscess
  name: Lung abscess
  synonyms: [pulmonary abscess]
  description: A cavity in consolidated lung. It holds an air-fluid level.
  signs: [opacity, focal, air_fluid_level]
  source: hansell2008
"""


@pytest.mark.parametrize("head", ["", "extra_findings:\n"])
def test_a_file_with_just_ones_own_findings_adds_to_the_fourteen(tmp_path, head):
    path = tmp_path / "my_findings.yaml"
    path.write_text(head + OWN, encoding="utf-8")
    *study, finding = load_findings(str(path))
    assert study == load_findings() and len(study) == 14
    assert finding.key == "Lung_Abscess" and finding.signs == ("opacity", "focal", "air_fluid_level")
    assert load_attributes(path) == load_attributes()
    assert findings_of(["Lung_Abscess", "Mass"], path)[1].key == "Mass"
    assert len(load_findings()) == 14


def test_a_file_with_the_section_findings_stands_alone(tmp_path):
    path = tmp_path / "my_findings.yaml"
    path.write_text("findings:\n" + OWN, encoding="utf-8")
    (finding,) = load_findings(path)
    assert finding.key == "Lung_Abscess"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Lung_Abscess", "Mass", "the key Mass more than once"),
        ("Lung abscess", "effusion", "the name .* more than once"),
    ],
)
def test_an_added_finding_is_none_of_the_fourteen(tmp_path, old, new, says):
    path = tmp_path / "my_findings.yaml"
    path.write_text(OWN.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=says):
        load_findings(path)


def test_a_sign_of_ones_own_is_added_to_the_study_s(tmp_path):
    path = tmp_path / "my_findings.yaml"
    own = OWN.replace("focal", "thick_wall")
    path.write_text(f"attributes: {{thick_wall: a wall of more than 4 mm}}\nextra_findings:\n{own}", encoding="utf-8")
    assert "thick_wall" not in load_attributes()
    assert set(load_attributes(path)) == {*load_attributes(), "thick_wall"}
    with pytest.raises(ValueError, match="unknown sign opacitty"):
        path.write_text(path.read_text().replace("opacity,", "opacitty,"), encoding="utf-8")
        load_findings(path)


def test_the_block_that_the_teaching_page_prints_is_enough(tmp_path):
    """Copied as it stands into a file of one's own, and used as the page's code uses it."""
    page = (FINDINGS_FILE.parents[1] / "book/teaching.md").read_text(encoding="utf-8")
    (block,) = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "Lung_Abscess" in block]
    path = tmp_path / "my_findings.yaml"
    path.write_text(block, encoding="utf-8")
    assert [finding.key for finding in load_findings(path)] == [*CHESTXRAY14, "Lung_Abscess"]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"extra_findings:\n- key: A\n  key: B\n", "the key .key. stands there twice"),
        ("- {key: \u00d6dem}".encode("latin-1"), "is not UTF-8"),
        (b"", "must hold `findings` or `extra_findings`"),
        (b"extra_findings: []", "at least one finding"),
        (b"- 3\n", "every finding needs the fields"),
    ],
)
def test_raw_files_are_refused_in_one_sentence(tmp_path, raw, says):
    path = tmp_path / "mine.yaml"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=says) as error:
        load_findings(path)
    assert "mine.yaml" in str(error.value) and "\n" not in str(error.value)


def test_a_folder_is_no_findings_file(tmp_path):
    with pytest.raises(ValueError, match="no regular file"):
        load_findings(tmp_path)
