"""The generalized zero-shot partition of a set: which rows training, validation and test may use."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cmdml import store

if TYPE_CHECKING:
    from cmdml.findings import SeenUnseen
    from cmdml.radiographs import RadiographSet

SPLITS = store.SPLITS
ONE_SIDED = ("source", "train", "kind", "other_dropped", "other_val", "other_test")


@dataclass(frozen=True, eq=False)
class Partition:
    """Rows of a set for generalized zero-shot learning.

    ``train``, ``val`` and ``test`` are int64 row numbers. ``counts`` has one row per split and step (``in the set``,
    ``dropped: …``, ``kept``) with images and patients; a patient is dropped by the step that takes their last image, so
    dropped and kept add up.

    ``one_sided`` lists the sources that the filters leave one-sided, see :func:`one_sided_sources`; it is empty where
    there are none, or where the table has no ``source_repo``.

    However it is made, it refuses the two leaks that would spoil every number behind it: a patient in two splits, and a
    training image with an unseen finding.
    """

    radiographs: RadiographSet
    findings: SeenUnseen
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    counts: pd.DataFrame
    one_sided: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(ONE_SIDED)))

    def __post_init__(self):
        table, where = self.radiographs.table, self.radiographs.folder
        rows = {name: getattr(self, name) for name in SPLITS}
        used = pd.concat([table.iloc[chosen].assign(split=name) for name, chosen in rows.items()])
        store.assert_patient_disjoint(used, where)
        store.assert_unseen_left_out(table.iloc[self.train], self.findings.unseen, where)


def one_sided_sources(table: pd.DataFrame, findings, kept) -> pd.DataFrame:
    """The sources whose films in train are all of one kind, while other films of theirs are of the other kind.

    A film is *normal* or *abnormal* (at least one of all findings). Source r is one-sided if

    * at least one of its films is left in train, and these are all normal (or all abnormal), and
    * at least one of its other films (of train but dropped, of val or of test) is abnormal (or normal).

    A model that learns to tell such a source learns a kind that does not hold for it in test. Where training as a whole
    holds one kind only (``keep_no_finding=False`` leaves no normal film anywhere), the source says nothing about the
    kind, and no source is listed. Films without a source (``""``) count as one source of that name.

    Parameters
    ----------
    table : of a set, with a column ``source_repo``; without one the result is empty.
    findings : names of the label columns.
    kept : (N,) bool, the rows that stay in train.

    Returns
    -------
    One row per one-sided source, most films first: ``source``; ``train``, its films in train; ``kind``, normal or
    abnormal; ``other_dropped``, ``other_val``, ``other_test``, its films of the other kind in each place.
    """
    rows = []
    if "source_repo" in table.columns:
        abnormal, split = table[list(findings)].to_numpy().any(1), table["split"].to_numpy()
        dropped = (split == "train") & ~kept
        places = {"other_dropped": dropped, "other_val": split == "val", "other_test": split == "test"}
        source = table["source_repo"].to_numpy()
        mixed = len(np.unique(abnormal[kept])) == 2
        for name in np.unique(source[kept]) if mixed else ():
            here = source == name
            kinds = np.unique(abnormal[here & kept])
            others = {place: int((here & at & (abnormal != kinds[0])).sum()) for place, at in places.items()}
            if len(kinds) == 1 and any(others.values()):
                rows.append((name, int((here & kept).sum()), ("normal", "abnormal")[int(kinds[0])], *others.values()))
    found = pd.DataFrame(rows, columns=list(ONE_SIDED))
    return found.sort_values(["train", "source"], ascending=[False, True], ignore_index=True)


def _report_one_sided(found: pd.DataFrame, where, strict: bool) -> None:
    """One warning per source, or one error naming them all."""
    sentences = [
        f"source {row.source!r}: what is left of it in train ({row.train} films) is all {row.kind}, while "
        f"{row.other_dropped} dropped, {row.other_val} val and {row.other_test} test films of it are not"
        for row in found.itertuples()
    ]
    if strict and sentences:
        raise ValueError(
            f"{where}: the filters leave {len(sentences)} sources one-sided ({'; '.join(sentences)}); "
            "leave them out with exclude_sources, or allow them with strict_sources=False"
        )
    for sentence in sentences:
        warnings.warn(f"{where}: {sentence}", stacklevel=3)


def partition(
    radiographs: RadiographSet, findings: SeenUnseen, *, keep_no_finding: bool = True, strict_sources: bool = False
) -> Partition:
    """Drop the training images that carry an unseen finding; keep validation and test whole; print the counts.

    Parameters
    ----------
    radiographs : a set, or whatever has its ``table``, ``labels``, ``findings`` and ``folder`` (features of a set).
    keep_no_finding : False also drops training images without any finding.
    strict_sources : refuse, rather than warn of, a source that these filters leave one-sided
        (:func:`one_sided_sources`).

    Raises
    ------
    ValueError : the findings are not the set's; a patient is in two splits; a split is empty; a seen finding has no
        training image; with ``strict_sources``, a source is one-sided.
    """
    table, labels, where = radiographs.table, radiographs.labels, radiographs.folder
    if tuple(findings.keys) != radiographs.findings:
        odd = sorted(set(findings.keys) ^ set(radiographs.findings)) or ["their order"]
        raise ValueError(f"{where}: the findings to split are not the set's ({', '.join(odd)}); prepare it again")
    store.assert_patient_disjoint(table, where)

    split = table["split"].to_numpy()
    train = split == "train"
    drops = {"dropped: unseen finding": train & labels[:, findings.unseen_mask].any(1)}
    if not keep_no_finding:
        drops["dropped: no finding"] = train & ~labels.any(1)
    counts, left = _count_steps(split, table["patient"].to_numpy(), drops)

    index = {name: np.flatnonzero(left & (split == name)) for name in SPLITS}
    for name, chosen in index.items():
        if not len(chosen):
            raise ValueError(f"{where}: the {name} split is empty ({(split == name).sum()} images before the filters)")
    positives = labels[index["train"]].sum(0)
    bare = [key for key, n, seen in zip(findings.keys, positives, findings.seen_mask, strict=True) if seen and not n]
    if bare:
        raise ValueError(
            f"{where}: no training image shows {', '.join(bare)} once images with unseen findings are dropped; "
            "make it an unseen finding or use more images"
        )
    one_sided = one_sided_sources(table, findings.keys, left & train)
    _report_one_sided(one_sided, where, strict_sources)
    print(counts.pivot_table(["images", "patients"], "step", "split", sort=False).astype(int).to_string())
    return Partition(radiographs, findings, index["train"], index["val"], index["test"], counts, one_sided)


def _count_steps(split: np.ndarray, patient: np.ndarray, drops: dict) -> tuple[pd.DataFrame, np.ndarray]:
    """Apply ``drops`` ({step: (N,) bool}) in order: the counts of every step, and (N,) bool of what is left."""
    left, rows = np.ones(len(split), bool), []
    for step, drop in {"in the set": None, **drops, "kept": None}.items():
        after = left if drop is None else left & ~drop
        for name in SPLITS:
            before_here, after_here = left & (split == name), after & (split == name)
            images, patients = after_here.sum(), len(set(patient[after_here]))
            if drop is not None:
                images, patients = before_here.sum() - images, len(set(patient[before_here])) - patients
            rows.append((name, step, int(images), int(patients)))
        left = after
    return pd.DataFrame(rows, columns=["split", "step", "images", "patients"]), left
