"""Files that are whole or not there: written beside, then renamed."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

_CHUNK = 1 << 20  # bytes read at a time when hashing


def write_whole(path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a file beside ``path`` and rename it: a killed process leaves the old file, or none.

    The file beside keeps the suffix of ``path``, because some writers add one that is missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        write(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def write_text(path, text: str) -> Path:
    """A UTF-8 text, whole or not at all."""
    return write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_json(path, content) -> Path:
    """``content`` as JSON, whole or not at all; numpy scalars become numbers, anything else odd its ``str``."""

    def plain(value):
        return value.item() if hasattr(value, "item") else str(value)

    return write_text(path, json.dumps(content, indent=1, ensure_ascii=False, default=plain) + "\n")


def sha256(path) -> str:
    """SHA-256 of a file's bytes, in bounded memory."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
