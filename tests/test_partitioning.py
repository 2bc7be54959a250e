"""Which sources the filters leave one-sided; the other rules of the partition stand in test_radiographs."""

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cmdml.findings import KEYS, split_findings
from cmdml.partitioning import one_sided_sources, partition

UNSEEN, SEEN = "Pneumonia", "Mass"
# source: films of train, val and test, each "" (normal) or a finding
SOURCES = {
    "mixed": (["", SEEN, UNSEEN], ["", SEEN], [UNSEEN]),
    "upside_down": (["", "", UNSEEN, UNSEEN, UNSEEN], [UNSEEN], ["", UNSEEN]),
    "normal_everywhere": (["", "", ""], [""], [""]),
    "sick_in_test": ([""], [], [SEEN]),
    "well_in_val": ([SEEN, SEEN], [""], []),
    "all_dropped": ([UNSEEN], [""], [SEEN]),
    "test_only": ([], [], ["", SEEN]),
}


def a_set(sources=SOURCES, **changes):
    rows = [
        (source, split, finding)
        for source, places in sources.items()
        for split, films in zip(("train", "val", "test"), places)
        for finding in films
    ]
    table = pd.DataFrame(rows, columns=["source_repo", "split", "finding"])
    table.insert(0, "patient", [f"{i:08d}" for i in range(len(table))])
    table.insert(0, "image", table["patient"] + ".png")
    for key in KEYS:
        table[key] = (table["finding"] == key).astype(np.uint8)
    labels = table[list(KEYS)].to_numpy(np.uint8)
    features = np.zeros((len(table), 5), np.float32)  # looks like a set, and is none
    made = {"pixels": features, "table": table, "labels": labels, "findings": KEYS, "card": {}, "folder": "features"}
    return SimpleNamespace(**made | changes)


def split():
    """All but two findings are unseen, so that every seen one has a film in train."""
    return split_findings(KEYS, [key for key in KEYS if key != SEEN])


def cut(*args, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = partition(*args, **options)
    return parts, [str(warning.message) for warning in caught]


def test_every_one_sided_source_is_listed_counted_and_warned_of():
    parts, said = cut(a_set(), split())
    assert parts.one_sided.to_numpy().tolist() == [
        ["upside_down", 2, "normal", 3, 1, 1],
        ["well_in_val", 2, "abnormal", 0, 1, 0],
        ["sick_in_test", 1, "normal", 0, 0, 1],
    ]
    assert parts.one_sided.index.tolist() == [0, 1, 2]
    assert len(said) == 3 and not any("\n" in line for line in said)
    assert (
        "'upside_down': what is left of it in train (2 films) is all normal, while 3 dropped, 1 val and 1 test films"
        in said[0]
    )
    assert set(parts.radiographs.labels[parts.train].sum(1)) == {0, 1}


def test_counts_are_printed_step_by_step_and_split_by_split(capsys):
    partition(a_set({name: SOURCES[name] for name in ("mixed", "all_dropped")}), split(), keep_no_finding=False)
    head, splits, _, *lines = capsys.readouterr().out.splitlines()
    assert splits.split() == ["split", *["train", "val", "test"] * 2]
    assert [line.rstrip("0123456789 ") for line in lines] == [
        "in the set", "dropped: unseen finding", "dropped: no finding", "kept"]  # fmt: skip
    rows = {line.rstrip("0123456789 "): [int(n) for n in line.split()[-6:]] for line in lines}
    assert head.split() == ["images", "patients"] and rows["in the set"] == [4, 3, 2] * 2
    assert rows["kept"] == [1, 3, 2] * 2


def test_strict_sources_refuses_and_names_them_all():
    with pytest.raises(
        ValueError, match="3 sources one-sided .*upside_down.*well_in_val.*sick_in_test.*exclude_sources"
    ):
        partition(a_set(), split(), strict_sources=True)
    balanced = {name: SOURCES[name] for name in ("mixed", "normal_everywhere", "all_dropped", "test_only")}
    parts, said = cut(a_set(balanced), split(), strict_sources=True)
    assert parts.one_sided.empty and not said


def test_where_training_holds_one_kind_only_no_source_is_to_blame():
    parts, said = cut(a_set(), split(), keep_no_finding=False)
    assert parts.one_sided.empty and not said and parts.radiographs.labels[parts.train].any(1).all()


def test_a_set_without_sources_has_no_one_sided_ones():
    table = a_set().table.drop(columns="source_repo")
    parts, said = cut(a_set(table=table), split(), strict_sources=True)
    assert parts.one_sided.empty and not said


def test_against_a_naive_count():
    rng = np.random.default_rng(0)
    for _ in range(30):
        made = {f"s{i}": [list(rng.choice(["", SEEN, UNSEEN], rng.integers(0, 4))) for _ in range(3)] for i in range(6)}
        table = a_set({"base": (["", SEEN], [""], [""]), **made}).table
        kept = ((table["split"] == "train") & (table[UNSEEN] == 0)).to_numpy()
        expected = set()
        for name in table["source_repo"].unique():
            inside = {bool(f) for f, r, k in zip(table["finding"], table["source_repo"], kept) if r == name and k}
            outside = {bool(f) for f, r, k in zip(table["finding"], table["source_repo"], kept) if r == name and not k}
            if len(inside) == 1 and outside - inside:
                expected.add(name)
        assert set(one_sided_sources(table, KEYS, kept)["source"]) == expected
