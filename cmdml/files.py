"""Files that are whole or not there, written beside, then renamed; and seals that tell when one was changed since."""

import hashlib
import json
import os
import re
import socket
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

_CHUNK = 1 << 18  # bytes read at a time when hashing: what fits a core's cache
SEAL = "seal.json"
_AGAIN = "; mend that and run again"


@contextmanager
def naming(path):
    """Turn what the system says (no space, no permission) into one sentence with the path."""
    try:
        yield
    except SafetensorError as error:  # its writer wraps the system's errors
        raise OSError(f"{path}: {' '.join(str(error).split())}{_AGAIN}") from error
    except OSError as error:
        if error.errno is None or str(error).endswith(_AGAIN):
            raise  # a sentence of ours
        named = type(error)(f"{error.filename or path}: {error.strerror or error}{_AGAIN}")
        named.errno = error.errno
        raise named from error


def write_whole(path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a file beside ``path`` and rename it: a killed process leaves the old file, or none.

    The file beside keeps the suffix of ``path``, because some writers add one that is missing. What killed processes of
    this machine left beside is removed.

    Raises
    ------
    OSError
        No space, no permission: one sentence that names the file.
    """
    path, host = Path(path), socket.gethostname()
    beside = path.with_name(f".{path.stem}.{host}-{os.getpid()}.partial{path.suffix}")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{path.stem}.{host}-*.partial{path.suffix}"):
            if not alive(re.search(r"-(\d+)\.partial", left.name)):
                left.unlink(missing_ok=True)
        try:
            write(beside)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    return path


def alive(found: re.Match | None) -> bool:
    """Whether the process whose number is the first group runs on this machine."""
    try:
        os.kill(int(found[1]), 0)
    except (ProcessLookupError, OverflowError, TypeError):
        return False
    except PermissionError:
        pass  # somebody else's
    return True


def write_text(path, text: str) -> Path:
    """A UTF-8 text, whole or not at all."""
    return write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_json(path, content) -> Path:
    """``content`` as JSON, whole or not at all; numpy scalars become numbers, anything else odd its ``str``."""
    return write_text(path, json.dumps(content, indent=1, ensure_ascii=False, default=_plain) + "\n")


def _plain(value):
    return value.item() if hasattr(value, "item") else str(value)


def sha256(path) -> str:
    """SHA-256 of a file's bytes, in bounded memory."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(_CHUNK))
    with open(path, "rb", buffering=0) as file:
        while n := file.readinto(buffer):
            digest.update(buffer[:n])
    return digest.hexdigest()


def seal(folder, names: Iterable[str], format: str, **extra) -> Path:
    """Write ``seal.json``: the SHA-256 of the files ``names`` of ``folder``, its format, and what else is to be kept.

    Write it last: it marks the folder as whole, and :func:`check_seal` refuses what was changed since.

    Parameters
    ----------
    folder : path
    names : iterable of str
        Files relative to ``folder``.
    format : str
        Kind and number of what lies there, such as ``"training 1"``; the number grows when older code would misread it.
    extra
        Plain JSON values that belong to the seal.
    """
    folder = Path(folder)
    names = list(names)
    content = {"format": format, **extra, "sha256": {name: sha256(folder / name) for name in names}}
    content["bytes"] = {name: (folder / name).stat().st_size for name in names}
    return write_json(folder / SEAL, sealed(content))


def check_seal(folder, format: str, names: Iterable[str] | None = None, *, way_out: str = "") -> dict:
    """The content of a folder's seal, once its files are found unchanged.

    Parameters
    ----------
    folder, format
        As in :func:`seal`.
    names : iterable of str, optional
        Check only these files, where the others are large and not about to be read; by default all are.
    way_out : str, optional
        How the sentence of an error ends; by default "delete that folder and make it again".

    Raises
    ------
    FileNotFoundError
        If there is no seal, or a sealed file is gone.
    ValueError
        If the seal is damaged, of another format, or a file is not the one that was sealed.
    """
    folder, way_out = Path(folder), way_out or "delete that folder and make it again"
    file = folder / SEAL
    if not file.is_file():
        raise FileNotFoundError(f"{folder} is not whole, {SEAL} is missing: {way_out}")
    content = read_json(file, way_out)
    if not is_sealed(content) or not isinstance(content.get("sha256"), dict):
        raise ValueError(f"{file} is damaged or was edited: {way_out}")
    if content.get("format") != format:
        raise ValueError(f"{file} is of format {content.get('format')!r}, this code reads {format!r}: {way_out}")
    for name in content["sha256"] if names is None else names:
        if name not in content["sha256"]:
            raise ValueError(f"{file} does not cover {name}: {way_out}")
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: {way_out}")
        length = content.get("bytes", {}).get(name)  # before hours of hashing something else
        if length not in (None, (folder / name).stat().st_size) or sha256(folder / name) != content["sha256"][name]:
            raise ValueError(f"{folder / name} is damaged or was edited since it was written: {way_out}")
    return content


def sealed(content: dict) -> dict:
    """``content`` as JSON will read it back, with a SHA-256 of itself under ``sealed``."""
    content = json.loads(json.dumps(content, default=_plain))
    content.pop("sealed", None)
    return content | {"sealed": _digest(content)}


def is_sealed(content) -> bool:
    """Whether a content is what :func:`sealed` made."""
    if not isinstance(content, dict):
        return False
    return content.get("sealed") == _digest({name: value for name, value in content.items() if name != "sealed"})


def read_json(path, way_out: str):
    """The JSON of a regular file; ValueError in one sentence where it is none, ended by ``way_out``."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing or no regular file: {way_out}")
    try:
        return json.loads(Path(path).read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{path} is damaged, no JSON in UTF-8 ({reason}): {way_out}") from None


def _digest(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode(errors="replace")).hexdigest()
