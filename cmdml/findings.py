"""The findings: names, texts, radiographic signs, and which of them training may see.

Everything here is read from ``data/findings.yaml``; adding a disease means adding lines there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml

from cmdml.names import nearest
from cmdml.strict_yaml import problem, read_yaml

FINDINGS_FILE = Path(__file__).resolve().parents[1] / "data" / "findings.yaml"
SECTIONS = ("attributes", "default_unseen", "findings", "extra_findings")
FIELDS = ("key", "name", "synonyms", "description", "signs", "source")


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes
    ----------
    key : str
        The column name in every table, e.g. ``"Pleural_Thickening"``.
    name : str
        For readers, and the text of the ``name`` semantics.
    synonyms : tuple of str
        Other words for it.
    description : str
        What it looks like on a frontal radiograph, in two sentences; the text of the ``description`` semantics.
    signs : tuple of str
        Radiographic attributes, a subset of :func:`load_attributes`; the ``signs`` semantics.
    source : str
        Citation keys of ``book/references.bib``, separated by commas.
    """

    key: str
    name: str
    synonyms: tuple[str, ...]
    description: str
    signs: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class SeenUnseen:
    """Which of ``keys`` training may see: keys, (C,) bool masks, int columns, all in the order of ``keys``."""

    keys: tuple[str, ...]
    unseen: tuple[str, ...]

    @property
    def seen(self) -> tuple[str, ...]:
        return tuple(key for key in self.keys if key not in self.unseen)

    @property
    def unseen_mask(self) -> np.ndarray:
        return np.array([key in self.unseen for key in self.keys], dtype=bool)

    @property
    def seen_mask(self) -> np.ndarray:
        return ~self.unseen_mask

    @property
    def unseen_index(self) -> np.ndarray:
        return np.flatnonzero(self.unseen_mask)

    @property
    def seen_index(self) -> np.ndarray:
        return np.flatnonzero(self.seen_mask)


@lru_cache(maxsize=8)
def _read(path: Path, _stamp: tuple[int, int]) -> dict:
    """The checked content of a findings file; ``_stamp`` makes an edited file a new entry of the cache."""
    content = _parse(path)
    for section in content:
        if section not in SECTIONS:
            raise ValueError(f"{path} has the unknown section {section}: {nearest(section, SECTIONS)}")
    if path == FINDINGS_FILE and not all(content.get(section) for section in SECTIONS[:3]):
        raise ValueError(f"{path} must hold `attributes`, `default_unseen` and `findings`.")
    own = content.get("attributes") or load_attributes()
    if not isinstance(own, dict) or not all(isinstance(v, str) and v.strip() for v in own.values()):
        raise ValueError(f"{path}: attributes must map every sign to its definition, such as `round: like a ball`.")
    study = {} if content.get("findings") else _content(FINDINGS_FILE)  # what a file of one's own adds to
    attributes = study.get("attributes", {}) | own
    entries = {section: content.get(section) or [] for section in SECTIONS[1:]}
    for section, listed in entries.items():
        if not isinstance(listed, list):
            raise ValueError(f"{path}: {section} must be a list, got {str(listed):.80}.")
    labelled, extra = ([_finding(entry, attributes, path) for entry in entries[s]] for s in SECTIONS[2:])
    if not labelled + extra:
        raise ValueError(f"{path} must hold at least one finding, under `findings` or `extra_findings`.")
    labelled = study.get("findings", labelled)
    for field in ("key", "name", "description"):
        said = [" ".join(getattr(finding, field).lower().split()) for finding in labelled + extra]
        twice = [getattr(f, field) for f, text in zip(labelled + extra, said, strict=True) if said.count(text) > 1]
        if twice:
            raise ValueError(f"{path} has the {field} {twice[0]} more than once; every {field} must be unique.")
    keys = tuple(f.key for f in labelled)
    for key in entries["default_unseen"]:
        if key not in keys:
            raise ValueError(f"{path}: default_unseen: {key} is not one of its findings: {nearest(key, keys)}")
    unseen = tuple(key for key in keys if key in entries["default_unseen"])
    return {"attributes": attributes, "findings": labelled, "extra": extra, "keys": keys, "unseen": unseen}


def _parse(path: Path) -> dict:
    """The sections of a file; a bare list of findings stands for ``extra_findings``."""
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 (byte {error.start}); save it again with that encoding.") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {problem(error)}") from error
    if isinstance(content, list):
        content = {"extra_findings": content}
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold `findings` or `extra_findings`, each a list.")
    return content


def _finding(entry: dict, attributes: dict, path: Path) -> Finding:
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: every finding needs the fields {', '.join(FIELDS)}, got {str(entry):.80}.")
    label = entry.get("key", "a finding without key")
    missing = [field for field in FIELDS if not entry.get(field) or not str(entry[field]).strip()]
    if missing:
        raise ValueError(f"{path}: {label} lacks {', '.join(missing)}; every finding needs {', '.join(FIELDS)}.")
    for field in entry:
        if field not in FIELDS:
            raise ValueError(f"{path}: {label} has the unknown field {field}: {nearest(field, FIELDS)}")
    for field in ("synonyms", "signs"):
        if not isinstance(entry[field], list):
            raise ValueError(f"{path}: {label}: {field} must be a list such as [a, b], got {str(entry[field]):.80}.")
        odd = [one for one in entry[field] if not isinstance(one, str) or not one.strip()]
        if odd:
            raise ValueError(f"{path}: {label}: {field} must hold texts, got {str(odd[0]):.80}; put it in quotes.")
    for field in ("key", "name", "description", "source"):
        if not isinstance(entry[field], str):
            raise ValueError(f"{path}: {label}: {field} must be text, got {str(entry[field]):.80}; put it in quotes.")
    for sign in entry["signs"]:
        if sign not in attributes:
            raise ValueError(f"{path}: {label} has the unknown sign {sign}: {nearest(sign, attributes)}")
        if entry["signs"].count(sign) > 1:
            raise ValueError(f"{path}: {label} has the sign {sign} more than once; name each sign once.")
    text = {field: " ".join(str(entry[field]).split()) for field in ("key", "name", "description", "source")}
    return Finding(synonyms=tuple(entry["synonyms"]), signs=tuple(entry["signs"]), **text)


def _content(path: str | Path) -> dict:
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no regular file; give the path of a findings file such as {FINDINGS_FILE}.")
    if not path.is_file():
        raise FileNotFoundError(f"No findings file at {path}; the study's own is {FINDINGS_FILE}.")
    stat = path.stat()
    return _read(path, (stat.st_mtime_ns, stat.st_size))


def load_findings(path: str | Path = FINDINGS_FILE) -> list[Finding]:
    """All findings of a file: the labelled ones in the data set's order, then its ``extra_findings``.

    An extra finding has no label column. It can be scored like any other, because a score needs only its text.
    A file without a section ``findings`` (nothing but ``extra_findings``, or a bare list) *adds* to the study's 14,
    and the study's attributes hold; a file with that section stands alone.

    Raises
    ------
    ValueError
        A missing, blank or unknown field, an unknown sign, a key, name or description given twice, no UTF-8 YAML
        (no such file: FileNotFoundError); the message names file and key.
    """
    return _content(path)["findings"] + _content(path)["extra"]


def load_attributes(path: str | Path = FINDINGS_FILE) -> dict[str, str]:
    """The radiographic attributes, name -> definition, in the file's order."""
    return dict(_content(path)["attributes"])


def findings_of(keys: Sequence[str], path: str | Path = FINDINGS_FILE) -> list[Finding]:
    """The findings with these keys, in this order. Raises ValueError with the nearest key for an unknown one."""
    by_key = {finding.key: finding for finding in load_findings(path)}
    for key in keys:
        if key not in by_key:
            raise ValueError(f"unknown finding {key!r}: {nearest(key, by_key)} (findings of {path})")
    return [by_key[key] for key in keys]


def split_findings(
    keys: Sequence[str], unseen: str | Sequence[str] = "default", *, n_unseen: int = 4, seed: int = 0
) -> SeenUnseen:
    """Choose the unseen findings.

    Parameters
    ----------
    keys : sequence of str
        All findings, in the order of the label columns.
    unseen : str or sequence of str
        ``"default"``: the file's ``default_unseen`` (the split of Hayat et al. 2021); ``"random"``: ``n_unseen`` of
        them, drawn with ``seed``; ``"none"``: all are seen (the supervised ceiling); otherwise keys, as a list or
        separated by commas.
    n_unseen, seed : int
        For ``"random"`` only.

    Raises
    ------
    ValueError
        An unknown or repeated key, or no finding left to be seen.
    """
    keys = tuple(keys)
    if isinstance(unseen, str):
        if unseen == "none":
            return SeenUnseen(keys, ())
        if unseen == "default":
            chosen = DEFAULT_UNSEEN
        elif unseen == "random":
            if not 0 < n_unseen < len(keys):
                raise ValueError(f"n_unseen must lie between 1 and {len(keys) - 1}, got {n_unseen}.")
            chosen = [keys[i] for i in np.random.default_rng(seed).choice(len(keys), n_unseen, replace=False)]
        else:
            chosen = [key.strip() for key in unseen.split(",") if key.strip()]
    else:
        chosen = list(unseen)
    for key in chosen:
        if key not in keys:
            raise ValueError(f"unknown unseen finding {key!r}: {nearest(key, keys)}")
    if not chosen or len(set(chosen)) < len(chosen) or len(chosen) == len(keys):
        raise ValueError(
            f"unseen = {unseen!r} must name at least one finding, none twice, and leave some to be seen "
            '("none" makes all of them seen).'
        )
    return SeenUnseen(keys, tuple(key for key in keys if key in chosen))


KEYS: tuple[str, ...] = _content(FINDINGS_FILE)["keys"]
DEFAULT_UNSEEN: tuple[str, ...] = _content(FINDINGS_FILE)["unseen"]
