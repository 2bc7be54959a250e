"""What people hand in as text: lists and CSV tables, read strictly. Every error is one sentence with the path."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cmdml.store import brief

MOST = 1 << 30  # bytes of a table or a film; the largest of ChestX-ray14 hold 10 million
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def read_bytes(path: Path) -> bytes:
    """The content of a regular file; a pipe or a device would let us wait for ever.

    Raises
    ------
    FileNotFoundError, ValueError : no such file, not a regular file, or the system refuses to read it.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file; add it, or check the path")
        if not path.is_file():
            raise ValueError(f"{path} is not a regular file; put a plain file there")
        if path.stat().st_size > MOST:
            raise ValueError(f"{path} holds {path.stat().st_size:,} bytes, no table or film; put a plain file there")
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {brief(error)}; mend that and run again") from error


def read_text(path: Path) -> str:
    """A text in UTF-8 (with or without byte order mark) or, with its mark, UTF-16; anything else is refused."""
    content = read_bytes(path)
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except UnicodeError as error:
        at = getattr(error, "start", 0)
        raise ValueError(f"{path} is not {encoding} text (byte {at}); save it as UTF-8") from error
    odd = _CONTROL.search(text)
    if odd:
        line = text.count("\n", 0, odd.start()) + 1
        raise ValueError(f"{path}: line {line} holds the control character {odd[0]!r:.60}; mend it or fetch it again")
    return text


def sha256(path: Path) -> str:
    """SHA-256 of a small file."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def read_csv(path: Path, columns: Sequence[str | tuple[str, ...]]) -> pd.DataFrame:
    """The wanted columns of a table with a header, as stripped text; a tuple gives other names of its first one.

    A row may end in one comma too many, as in the tables of NIH.

    Raises
    ------
    FileNotFoundError, ValueError : naming file, line and value: another encoding, a column missing or given twice, a
        row of another length, quotes that do not close.
    """
    lines = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    cells: list[list[str]] = []
    try:
        header = [name.strip() for name in next(lines, [])]
        twice = sorted({name for name in header if name and header.count(name) > 1})
        if twice:
            raise ValueError(f"{path}: column {twice[0]!r:.60} is there twice; keep one of them")
        where = [_place(path, wanted, header) for wanted in columns]
        for row in lines:
            if len(row) == len(header) + 1 and not row[-1].strip():
                row.pop()
            if not row:
                continue
            if len(row) != len(header):
                found = f"line {lines.line_num} has {len(row)} cells, the header {len(header)}"
                raise ValueError(f"{path}: {found}; mend it or fetch it again")
            cells.append([row[i].strip() for i in where])
    except csv.Error as error:
        raise ValueError(f"{path}: line {lines.line_num} is not CSV ({error}); mend it or fetch it again") from error
    names = [wanted if isinstance(wanted, str) else wanted[0] for wanted in columns]
    return pd.DataFrame(cells, columns=names, dtype=str)


def _place(path: Path, wanted: str | tuple[str, ...], header: list[str]) -> int:
    names = (wanted,) if isinstance(wanted, str) else wanted
    for name in names:
        if name in header:
            return header.index(name)
    raise ValueError(f"{path}: no column {names[0]!r}; found {', '.join(header) or 'nothing'}")


def numbers(table: pd.DataFrame, name: str, path: Path, *, whole: bool = False) -> pd.Series:
    """A column of plain, finite numbers (``whole``: integers, not negative) as float64 or int64."""
    pattern = r"[0-9]{1,15}" if whole else r"-?[0-9]{1,15}(\.[0-9]+)?"
    odd = table[~table[name].str.fullmatch(pattern)]
    if len(odd):
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{path}: {odd.iloc[0, 0]:.60} has {name} {odd[name].iloc[0]!r:.60}; expected {kind}")
    return table[name].astype("int64" if whole else "float64")
