"""Files are whole or the old ones; a seal notices every flipped bit of what it covers, and of itself."""

import errno
import hashlib
import json
import os
import socket

import numpy as np
import pytest

from cmdml.files import check_seal, is_sealed, naming, seal, sha256, write_json, write_text, write_whole
from cmdml.files import sealed as sealed_content


def test_a_failed_writer_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    def half(path):
        path.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "a.txt", half)
    assert (tmp_path / "a.txt").read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_the_file_is_not_there_before_it_is_whole(tmp_path):
    def writer(path):
        assert path.suffix == ".npz" and not (tmp_path / "deep" / "a.npz").exists()
        path.write_bytes(b"x")

    assert write_whole(tmp_path / "deep" / "a.npz", writer).read_bytes() == b"x"


def test_json_holds_plain_numbers_and_readable_letters(tmp_path):
    write_json(tmp_path / "a.json", {"n": np.int64(3), "x": np.float32(0.5), "path": tmp_path, "τ": "ü"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"n": 3, "x": 0.5, "path": str(tmp_path), "τ": "ü"} and "τ" in text


def test_sha256_is_hashlibs_beyond_one_chunk(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(range(40)))
    (tmp_path / "b.txt").write_text("labels")
    seal(tmp_path, ["a.bin", "b.txt"], "thing 1", rows=np.int64(3))
    return tmp_path


def test_a_whole_folder_gives_its_seal_back(sealed):
    content = check_seal(sealed, "thing 1")
    assert content["rows"] == 3 and content["format"] == "thing 1"
    assert content["sha256"] == {name: sha256(sealed / name) for name in ("a.bin", "b.txt")}


@pytest.mark.parametrize("name", ["a.bin", "b.txt"])
def test_every_flipped_bit_of_a_part_is_refused(sealed, name):
    content = (sealed / name).read_bytes()
    for at in range(len(content)):
        (sealed / name).write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        with pytest.raises(ValueError, match=f"{name} is damaged or was edited .*: train again"):
            check_seal(sealed, "thing 1", way_out="train again")
    (sealed / name).write_bytes(content)
    check_seal(sealed, "thing 1")


def test_every_flipped_bit_of_the_seal_is_refused(sealed):
    content = (sealed / "seal.json").read_bytes()
    plain = json.loads(content)
    for at in range(len(content)):
        flipped = content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :]
        (sealed / "seal.json").write_bytes(flipped)
        try:
            if json.loads(flipped) == plain:
                continue  # white space became other white space
        except ValueError:
            pass
        with pytest.raises(ValueError, match="delete that folder and make it again"):
            check_seal(sealed, "thing 1")


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"sealed": 1}', '{"format": "thing 1", "sha256": {}}'])
def test_a_seal_that_is_none_is_refused(sealed, content):
    (sealed / "seal.json").write_text(content)
    with pytest.raises(ValueError, match="seal.json is damaged"):
        check_seal(sealed, "thing 1")


def test_missing_and_foreign_parts_are_named(sealed):
    with pytest.raises(ValueError, match="format 'thing 1', this code reads 'thing 2'"):
        check_seal(sealed, "thing 2")
    with pytest.raises(ValueError, match="does not cover c.txt"):
        check_seal(sealed, "thing 1", ["c.txt"])
    (sealed / "b.txt").unlink()
    check_seal(sealed, "thing 1", ["a.bin"])  # the others are not about to be read
    with pytest.raises(FileNotFoundError, match="b.txt is missing"):
        check_seal(sealed, "thing 1")
    (sealed / "seal.json").unlink()
    with pytest.raises(FileNotFoundError, match="not whole, seal.json is missing"):
        check_seal(sealed, "thing 1")


def test_a_file_that_somebody_else_or_another_machine_writes_is_left_alone(tmp_path, monkeypatch):
    def kill(process, signal):
        raise PermissionError if process == 1 else ProcessLookupError

    monkeypatch.setattr(os, "kill", kill)
    host = socket.gethostname()
    names = {f".a.{host}-1.partial.txt", ".a.elsewhere-2.partial.txt", f".b.{host}-2.partial.txt"}
    for name in (*names, f".a.{host}-2.partial.txt"):
        (tmp_path / name).write_text("half")
    write_text(tmp_path / "a.txt", "whole")
    assert {path.name for path in tmp_path.iterdir()} == names | {"a.txt"}


def test_what_the_system_says_is_one_sentence_with_its_own_file_and_number(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, naming(tmp_path / "outer"), naming(tmp_path / "inner"):
        open(tmp_path / "gone")
    said = f"{tmp_path / 'gone'}: No such file or directory; mend that and run again"
    assert str(caught.value) == said and caught.value.errno == errno.ENOENT
    with pytest.raises(OSError) as caught, naming(tmp_path / "outer"), naming(tmp_path / "inner"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == f"{tmp_path / 'inner'}: No space left on device; mend that and run again"
    assert caught.value.errno == errno.ENOSPC


def test_what_is_sealed_again_is_sealed_as_the_first_time():
    content = sealed_content({"a": 1})
    assert sealed_content(content | {"a": 2}) == sealed_content({"a": 2}) and is_sealed(sealed_content(content))
