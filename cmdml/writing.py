"""How a set of radiographs comes to lie on disk: one writer, rows that an interrupted run left, the name at the end.

Low-level half of ``cmdml.radiographs.write_radiographs``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cmdml.files import alive, write_text
from cmdml.store import FILES, npy_header

ROWS = ".rows"  # beside a file that grows row by row: the SHA-256 of each, so that damage is not continued


@contextmanager
def only_writer(folder: Path):
    """Hold ``<folder>.lock``, which names process and host, or raise BlockingIOError naming who does.

    The kernel drops the lock of a process that dies, so a file that a killed one left is simply taken over.
    """
    path = folder.with_name(folder.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise BlockingIOError(
                f"{folder} is being written by {holder} ({path}); wait for it, then run again"
            ) from error
        try:
            if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
                break
        except FileNotFoundError:
            pass
        os.close(descriptor)  # its holder has just removed the file that we opened
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock is let go: nobody else may remove the next holder's
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    """Who holds a lock, as its file says; the holder may be about to write it, so a moment is waited."""
    here = re.escape(socket.gethostname())
    for _ in range(100):
        text = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        dead = (found := re.fullmatch(rf"process (\d+) on {here}", text)) and not alive(found)
        if text and not dead:
            return text
        time.sleep(0.01)
    return "another process"


def rows_to_keep(partial: Path, lines: list[str], size: int) -> int:
    """How many rows of an interrupted run's folder are those asked for now; ``lines`` says what each row depends on.

    The folder's file ``request`` holds these lines; afterwards it holds those of now, and no row that is not of now.
    """
    note, lines = partial / "request", [f"{size} {line}" for line in lines]
    clear_unless_files(partial)
    try:
        before = note.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        before = []
    same = next((i for i, (old, new) in enumerate(zip(before, lines)) if old != new), min(len(before), len(lines)))
    if not same:
        shutil.rmtree(partial, ignore_errors=True)
    if before != lines:
        pixels, keep = partial / "pixels.npy", len(npy_header((len(lines), size, size))) + same * size * size
        if pixels.exists() and pixels.stat().st_size > keep:
            os.truncate(pixels, keep)  # before the new lines are noted: a kill in between costs rows, no more
        write_text(note, "\n".join(lines))
    return same


def clear_unless_files(partial: Path) -> None:
    """Remove an interrupted run's folder that holds a pipe, a link or a folder: none is ours, a pipe would hang."""
    if any(path.is_symlink() or not path.is_file() for path in partial.glob("*")):
        shutil.rmtree(partial, ignore_errors=True)


def fill_rows(path: Path, shape: tuple[int, int, int], fill: Callable[[np.ndarray], object]) -> None:
    """Write an npy file through a memory map."""
    header = npy_header(shape)
    with open(path, "w+b") as file:
        file.write(header)
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and a bus error in the map
            os.posix_fallocate(file.fileno(), 0, len(header) + int(np.prod(shape)))
    pixels = np.memmap(path, np.uint8, "r+", len(header), shape)
    fill(pixels)
    pixels.flush()


def append_rows(
    path: Path, shape: tuple[int, int, int], blocks: Callable[[int], Iterable[np.ndarray]], most: int | None = None
) -> None:
    """Write an npy file row by row, from where an earlier, interrupted run stopped: its length says where.

    ``most``: how many of the rows that are there may be kept.

    Plain appends rather than a memory map: mapped pages count as ours until the kernel writes them back.
    """
    header = npy_header(shape)
    offset, row = len(header), shape[1] * shape[2]
    done = intact_rows(path, offset, row, shape[0] if most is None else most)
    with open(path, "r+b" if path.exists() else "w+b") as file:
        file.write(header)
        file.truncate(offset + done * row)  # a killed run may have left half a row
        file.seek(offset + done * row)
        for block in blocks(done) if done < shape[0] else ():
            if block.dtype != np.uint8 or block.shape[1:] != shape[1:] or done + len(block) > shape[0]:
                expected = f"at most {shape[0] - done} x {shape[1]} x {shape[2]} uint8"
                raise ValueError(f"{path}: row {done}: expected {expected}, got {block.shape} {block.dtype}")
            note_rows(path, done, block)
            file.write(np.ascontiguousarray(block).data)
            file.flush()
            os.fsync(file.fileno())  # so that the length never runs ahead of the pixels, even if the power fails
            done += len(block)
    if done != shape[0]:
        raise ValueError(f"{path}: the source ended after {done} of {shape[0]} radiographs")


def intact_rows(path: Path, offset: int, row: int, most: int) -> int:
    """How many rows of an interrupted run's file, ``most`` at most, are what was written: each has its SHA-256 noted.

    Parameters
    ----------
    offset, row : bytes before the first row, and of a row.
    """
    done, notes = 0, path.with_name(path.name + ROWS)
    if path.is_file() and notes.is_file():
        with open(path, "rb") as file, open(notes, "rb") as noted:
            file.seek(offset)
            while done < most and len(content := file.read(row)) == row:
                if hashlib.sha256(content).digest() != noted.read(32):
                    break
                done += 1
    return done


def note_rows(path: Path, first: int, block: np.ndarray) -> None:
    """Note the SHA-256 of rows that are about to be written from row ``first`` on."""
    notes = path.with_name(path.name + ROWS)
    with open(notes, "r+b" if notes.exists() else "w+b") as file:
        file.truncate(32 * first)
        file.seek(32 * first)
        file.write(b"".join(hashlib.sha256(np.ascontiguousarray(row).data).digest() for row in block))


def publish(partial: Path, folder: Path) -> None:
    """Give the finished folder its name."""
    if not folder.exists() or not any(folder.iterdir()):
        os.replace(partial, folder)
        return
    # The folder has files (an older set, a figure): only ours are replaced, the card last, since it makes the set.
    (folder / "card.json").unlink(missing_ok=True)
    for file in FILES:
        os.replace(partial / file, folder / file)
    partial.rmdir()
