"""Rows that an interrupted writer left: which are kept, and that a lock is held by one process at a time."""

import hashlib
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from cmdml import store, writing

SHAPE = (10, 4, 4)
ROW, HEAD = 16, 128
ROWS = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
LINES = [f"film {i}" for i in range(10)]


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def write(path, blocks=None, **options):
    """Append all rows in blocks of three; returns the rows at which a writer began."""
    starts = []

    def default(start):
        starts.append(start)
        yield from (ROWS[i : i + 3] for i in range(start, 10, 3))

    writing.append_rows(path, SHAPE, blocks or default, **options)
    return starts


def whole(path):
    return np.array_equal(np.load(path), ROWS)


def hashes(path):
    return path.with_name("pixels.npy.rows").read_bytes()


def naive_hashes(rows):
    return b"".join(hashlib.sha256(row.tobytes()).digest() for row in rows)


def test_rows_are_appended_and_their_hashes_noted(tmp_path):
    path = tmp_path / "pixels.npy"
    assert write(path) == [0] and whole(path)
    assert hashes(path) == naive_hashes(ROWS)
    assert path.stat().st_size == HEAD + 10 * ROW
    assert write(path) == [] and whole(path)  # there is nothing to ask a source for


def stop_after(rows):
    def blocks(start):
        yield ROWS[start:rows]
        raise KeyboardInterrupt

    return blocks


@pytest.mark.parametrize("torn", [0, 1, ROW - 1])
def test_an_interrupted_writer_goes_on_after_its_last_whole_row(tmp_path, torn):
    path = tmp_path / "pixels.npy"
    with pytest.raises(KeyboardInterrupt):
        write(path, stop_after(4))
    with open(path, "ab") as file:
        file.write(b"x" * torn)
    assert write(path) == [4] and whole(path)
    assert hashes(path) == naive_hashes(ROWS)


@pytest.mark.parametrize("most, start", [(None, 4), (3, 3), (0, 0), (9, 4)])
def test_no_more_rows_are_kept_than_may_be(tmp_path, most, start):
    path = tmp_path / "pixels.npy"
    with pytest.raises(KeyboardInterrupt):
        write(path, stop_after(4))
    assert write(path, most=most) == [start] and whole(path)


@pytest.mark.parametrize("damaged", [0, 2, 3])
def test_a_damaged_row_and_those_after_it_are_written_again(tmp_path, damaged):
    path = tmp_path / "pixels.npy"
    with pytest.raises(KeyboardInterrupt):
        write(path, stop_after(4))
    content = bytearray(path.read_bytes())
    content[HEAD + damaged * ROW + ROW - 1] ^= 1
    path.write_bytes(content)
    assert writing.intact_rows(path, HEAD, ROW, 10) == damaged
    assert write(path) == [damaged] and whole(path)


def test_rows_without_their_hashes_are_not_kept(tmp_path):
    path = tmp_path / "pixels.npy"
    assert writing.intact_rows(path, HEAD, ROW, 10) == 0
    write(path)
    assert [writing.intact_rows(path, HEAD, ROW, most) for most in (0, 1, 10, 11)] == [0, 1, 10, 10]
    path.with_name("pixels.npy.rows").write_bytes(naive_hashes(ROWS[:6]) + b"half")
    assert writing.intact_rows(path, HEAD, ROW, 10) == 6
    path.with_name("pixels.npy.rows").unlink()
    assert writing.intact_rows(path, HEAD, ROW, 10) == 0
    assert write(path) == [0] and whole(path)


def test_hashes_of_later_rows_go_when_earlier_ones_are_noted(tmp_path):
    path = tmp_path / "pixels.npy"
    writing.note_rows(path, 0, ROWS[:5])
    writing.note_rows(path, 2, ROWS[7:8])
    assert hashes(path) == naive_hashes([*ROWS[:2], ROWS[7]])
    writing.note_rows(path, 3, np.asfortranarray(ROWS[1:3]))
    assert hashes(path) == naive_hashes([*ROWS[:2], ROWS[7], *ROWS[1:3]])


def test_rows_that_do_not_lie_in_order_in_memory_are_written_in_order(tmp_path):
    write(tmp_path / "pixels.npy", lambda start: [np.asfortranarray(ROWS[start:])])
    assert whole(tmp_path / "pixels.npy") and hashes(tmp_path / "pixels.npy") == naive_hashes(ROWS)


@pytest.mark.parametrize("block, said", [
    (ROWS.astype(np.int16), r"row 0: expected at most 10 x 4 x 4 uint8, got \(10, 4, 4\) int16"),
    (ROWS[:, :3], r"got \(10, 3, 4\) uint8"),
    (ROWS[:, :, :3], r"got \(10, 4, 3\) uint8"),
    (np.concatenate([ROWS, ROWS[:1]]), r"row 0: expected at most 10 x 4 x 4 uint8, got \(11, 4, 4\)"),
    (ROWS[:9], "the source ended after 9 of 10 radiographs"),
])  # fmt: skip
def test_other_rows_than_announced_are_refused(tmp_path, block, said):
    with pytest.raises(ValueError, match=said):
        write(tmp_path / "pixels.npy", lambda start: [block])


def test_a_block_too_many_is_refused_where_it_begins(tmp_path):
    with pytest.raises(ValueError, match=r"row 8: expected at most 2 x 4 x 4 uint8, got \(8, 4, 4\)"):
        write(tmp_path / "pixels.npy", lambda start: [ROWS[:8], ROWS[:8]])


def test_rows_to_keep_are_those_before_the_first_other_line(tmp_path):
    partial = tmp_path / "set.partial"
    assert writing.rows_to_keep(partial, LINES, 4) == 0
    assert (partial / "request").read_text().splitlines() == [f"4 {line}" for line in LINES]
    pixels = partial / "pixels.npy"
    pixels.write_bytes(bytes(HEAD + 10 * ROW))
    assert writing.rows_to_keep(partial, LINES, 4) == 10 and pixels.stat().st_size == HEAD + 10 * ROW
    assert writing.rows_to_keep(partial, [*LINES[:7], "other", *LINES[8:]], 4) == 7
    assert pixels.stat().st_size == HEAD + 7 * ROW
    assert writing.rows_to_keep(partial, LINES[:5], 4) == 5 and pixels.stat().st_size == HEAD + 5 * ROW
    assert writing.rows_to_keep(partial, LINES[:6], 4) == 5 and pixels.stat().st_size == HEAD + 5 * ROW
    assert (partial / "request").read_text().splitlines() == [f"4 {line}" for line in LINES[:6]]
    assert writing.rows_to_keep(partial, LINES[:6], 8) == 0 and files(partial) == ["request"]  # another size


def test_fewer_rows_than_may_be_kept_are_not_made_longer(tmp_path):
    writing.rows_to_keep(tmp_path / "p", LINES, 4)
    (tmp_path / "p" / "pixels.npy").write_bytes(bytes(HEAD + 2 * ROW))
    assert writing.rows_to_keep(tmp_path / "p", [*LINES[:7], "other"], 4) == 7
    assert (tmp_path / "p" / "pixels.npy").stat().st_size == HEAD + 2 * ROW


def test_an_unreadable_request_keeps_nothing(tmp_path):
    writing.rows_to_keep(tmp_path / "p", LINES, 4)
    (tmp_path / "p" / "pixels.npy").write_bytes(b"old")
    (tmp_path / "p" / "request").write_bytes(b"\xff\xfe")
    assert writing.rows_to_keep(tmp_path / "p", LINES, 4) == 0 and files(tmp_path / "p") == ["request"]


@pytest.mark.parametrize("odd", ["pipe", "link", "folder"])
def test_a_folder_with_what_no_writer_makes_is_cleared(tmp_path, odd):
    partial = tmp_path / "set.partial"
    partial.mkdir()
    (partial / "pixels.npy").write_bytes(b"rows")
    writing.clear_unless_files(partial)
    assert files(partial) == ["pixels.npy"]
    if odd == "pipe":
        os.mkfifo(partial / "odd")
    elif odd == "link":
        (partial / "odd").symlink_to(partial / "pixels.npy")
    else:
        (partial / "odd").mkdir()
    writing.clear_unless_files(partial)
    assert not partial.exists()
    writing.clear_unless_files(partial)  # nor is it missed


def test_a_map_is_filled_to_its_last_pixel(tmp_path):
    path = tmp_path / "pixels.npy"
    path.write_bytes(b"an older, longer file" * 100)
    writing.fill_rows(path, SHAPE, lambda pixels: np.copyto(pixels, ROWS))
    assert whole(path) and path.stat().st_size == HEAD + 10 * ROW


def test_the_file_is_as_long_as_its_pixels_before_they_are_filled(tmp_path):
    def look(pixels):
        assert (tmp_path / "pixels.npy").stat().st_size == HEAD + 10 * ROW and pixels.shape == SHAPE
        assert (tmp_path / "pixels.npy").stat().st_blocks > 0

    writing.fill_rows(tmp_path / "pixels.npy", SHAPE, look)


def a_partial(tmp_path, mark):
    partial = tmp_path / "set.partial"
    partial.mkdir()
    for name in store.FILES:
        (partial / name).write_text(mark)
    return partial


@pytest.mark.parametrize("there", [None, "empty", "older"])
def test_a_finished_folder_gets_its_name_and_leaves_foreign_files(tmp_path, there):
    folder = tmp_path / "set"
    if there:
        folder.mkdir()
    if there == "older":
        for name in (*store.FILES, "figure.png"):
            (folder / name).write_text("old")
    writing.publish(a_partial(tmp_path, "new"), folder)
    assert files(tmp_path) == ["set"]
    assert {name: (folder / name).read_text() for name in store.FILES} == dict.fromkeys(store.FILES, "new")
    assert files(folder) == sorted([*store.FILES, *(["figure.png"] if there == "older" else [])])


def test_the_old_card_goes_first_and_the_new_one_comes_last(tmp_path, monkeypatch):
    folder, replace, moved = tmp_path / "set", os.replace, []
    folder.mkdir()
    for name in store.FILES:
        (folder / name).write_text("old")

    def watched(source, target):
        assert not (folder / "card.json").exists()  # a kill here leaves no set, rather than half of two
        moved.append(target.name)
        replace(source, target)

    monkeypatch.setattr(writing.os, "replace", watched)
    writing.publish(a_partial(tmp_path, "new"), folder)
    assert moved[-1] == "card.json" and sorted(moved) == sorted(store.FILES)


def test_one_writer_at_a_time_who_is_named(tmp_path):
    folder, lock = tmp_path / "a" / "deep" / "set", tmp_path / "a" / "deep" / "set.lock"
    with writing.only_writer(folder):
        me = f"process {os.getpid()} on {socket.gethostname()}"
        assert lock.read_text() == f"{me}\n"
        with pytest.raises(BlockingIOError) as caught:
            with writing.only_writer(folder):
                raise AssertionError("two writers")
        assert str(caught.value) == f"{folder} is being written by {me} ({lock}); wait for it, then run again"
        assert lock.exists()  # he who was refused takes nothing away
        with writing.only_writer(tmp_path / "other"):
            pass
    assert not lock.exists()
    with pytest.raises(RuntimeError), writing.only_writer(folder):
        raise RuntimeError
    with writing.only_writer(folder):
        pass
    assert files(lock.parent) == []


def test_the_lock_of_the_dead_is_taken_over_and_its_longer_note_is_gone(tmp_path):
    (tmp_path / "set.lock").write_text("process 999999999 on a-host-with-a-long-name" + "!" * 300)
    with writing.only_writer(tmp_path / "set"):
        assert (tmp_path / "set.lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"


def test_a_lock_that_its_holder_removed_meanwhile_is_asked_for_again(tmp_path, monkeypatch):
    lock, flock, calls = tmp_path / "set.lock", writing.fcntl.flock, []

    def removed(descriptor, how):
        calls.append(how)
        if len(calls) == 1:
            lock.unlink()
        if len(calls) == 2:
            lock.unlink()
            lock.write_text("another's")
        return flock(descriptor, how)

    monkeypatch.setattr(writing.fcntl, "flock", removed)
    with writing.only_writer(tmp_path / "set"):
        assert len(calls) == 3 and lock.read_text().startswith("process")


def test_who_holds_a_lock_is_a_living_process_or_another(tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(writing.time, "sleep", waited.append)
    here, dead = socket.gethostname(), subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()

    def holder(text):
        (tmp_path / "lock").write_bytes(text.encode(errors="surrogateescape"))
        descriptor = os.open(tmp_path / "lock", os.O_RDONLY)
        try:
            return writing._holder(descriptor)
        finally:
            os.close(descriptor)

    assert holder(f"process {os.getpid()} on {here}\n") == f"process {os.getpid()} on {here}" and not waited
    assert holder(f"process {dead.pid} on elsewhere-{here}\n") == f"process {dead.pid} on elsewhere-{here}"
    assert not waited  # of another machine nobody knows
    assert holder(f"process {dead.pid} on {here}\n") == "another process" and 0.1 < sum(waited) < 5
    assert holder("") == "another process"
    assert holder("who \udcff") == "who \ufffd"  # bytes that are no text
