"""Ways to damage a file. Positions are shares of the file, so that a generator or hypothesis can draw them."""

import csv
import io
import json
import os
import zlib
from pathlib import Path

ODD = ("", "nan", "NaN", "-1", "1.0", "0.5", "2", "256", "257", "1e9", "inf", "-inf", "010", "1_0", "٣", "None", "yes",
       "x" * 3000, "a\tb", "=1+1", "00000001_000.png", "../x.png", '"', "'", "train", "Edema|Mass", "é")  # fmt: skip
JSON_ODD = (None, True, [], {}, "", "9", -1, 0, 1e308, float("nan"), float("inf"), 2**70, "x" * 3000, [[]], {"a": 1})


def flip(data, at, to, noise):
    """One bit."""
    place = int(at * len(data))
    return data[:place] + bytes([data[place] ^ 1 << int(to * 8)]) + data[place + 1 :]


def cut(data, at, to, noise):
    """The end is gone."""
    return data[: int(at * len(data))]


def without(data, at, to, noise):
    """A piece is gone."""
    start = int(at * len(data))
    return data[:start] + data[start + 1 + int(to * 40) :]


def zeros(data, at, to, noise):
    """A piece is zeros, as after a crash of the file system."""
    start, n = int(at * len(data)), 1 + int(to * 64)
    return data[:start] + bytes(n) + data[start + n :]


def overwrite(data, at, to, noise):
    """A piece is something else."""
    start = int(at * len(data))
    return data[:start] + noise + data[start + len(noise) :]


def insert(data, at, to, noise):
    start = int(at * len(data))
    return data[:start] + noise + data[start:]


def repeat(data, at, to, noise):
    """A piece stands there twice."""
    start, n = int(at * len(data)), 1 + int(to * 80)
    return data[: start + n] + data[start:]


def digit(data, at, to, noise):
    """The next digit is another one: a plausible number."""
    start = int(at * len(data))
    for i in [*range(start, len(data)), *range(start)]:
        if chr(data[i]) in "0123456789":
            return data[:i] + str(int(to * 10)).encode() + data[i + 1 :]
    return flip(data, at, to, noise)


def swap_lines(data, at, to, noise):
    lines = data.splitlines(keepends=True)
    i, j = (int(share * len(lines)) for share in (at, to)) if lines else (0, 0)
    if lines:
        lines[i], lines[j] = lines[j], lines[i]
    return b"".join(lines)


def encoded(data, at, to, noise):
    """The same text in another encoding."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return insert(data, at, to, b"\xef\xbb\xbf")
    encoding = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "utf-7")[int(at * 6)]
    return (text + ("é" if to < 0.5 else "")).encode(encoding, errors="replace")


def nothing(data, at, to, noise):
    return b""


def more(data, at, to, noise):
    """Something behind the end."""
    return data + (noise or b"\n")


def cell(data, at, to, noise):
    """A cell of a table is an odd value; ``noise`` says which."""
    rows = list(csv.reader(io.StringIO(data.decode("utf-8", errors="replace"))))
    if len(rows) < 2:
        return flip(data, at, to, noise)
    row = rows[int(at * len(rows))]
    if row:
        row[int(to * len(row))] = ODD[(noise[0] if noise else 0) % len(ODD)]
    return _csv(rows)


def swap_cells(data, at, to, noise):
    """Two cells of a column change places: labels of two patients, their splits."""
    rows = list(csv.reader(io.StringIO(data.decode("utf-8", errors="replace"))))
    if len(rows) < 3:
        return flip(data, at, to, noise)
    i, j = 1 + int(at * (len(rows) - 1)), 1 + (int(at * (len(rows) - 1)) + 1) % (len(rows) - 1)
    c = int(to * min(len(rows[i]), len(rows[j]))) if rows[i] and rows[j] else None
    if c is not None:
        rows[i][c], rows[j][c] = rows[j][c], rows[i][c]
    return _csv(rows)


def column(data, at, to, noise):
    """A column is gone, is there twice, or has another name."""
    rows = list(csv.reader(io.StringIO(data.decode("utf-8", errors="replace"))))
    if not rows or not rows[0]:
        return flip(data, at, to, noise)
    c = int(at * len(rows[0]))
    if to < 1 / 3:
        rows = [row[:c] + row[c + 1 :] for row in rows]
    elif to < 2 / 3:
        rows = [row[: c + 1] + row[c:] for row in rows]
    else:
        rows[0][c] += "x"
    return _csv(rows)


def _csv(rows):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def value(data, at, to, noise):
    """A value of a JSON file, at any depth, is another one or gone."""
    try:
        content = json.loads(data)
    except ValueError:
        return flip(data, at, to, noise)
    places = []

    def walk(node):
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(content)
    if not places:
        return b"[" * 3000 + b"]" * 3000
    node, key = places[int(at * len(places))]
    new = JSON_ODD[int(to * len(JSON_ODD))]
    if (noise[0] if noise else 0) % 4 == 0:
        del node[key]
    elif isinstance(node[key], (int, float)) and not isinstance(node[key], bool) and to < 0.5:
        node[key] += 1
    else:
        node[key] = new
    return json.dumps(content).encode()


def twice(data, at, to, noise):
    """A line stands there twice: a key of YAML or JSON given twice."""
    lines = data.splitlines(keepends=True)
    i = int(at * len(lines)) if lines else 0
    return b"".join([*lines[: i + 1], *lines[i : i + 1], *lines[i + 1 :]])


def header(data, at, to, noise):
    """The length that a safetensors file gives its header, or the sizes that an npy or PNG file states, are others."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        sides = (int(at * 2**32)).to_bytes(4, "big") + (1 + int(to * 100)).to_bytes(4, "big")
        head = data[12:16] + sides + data[24:29]
        return data[:12] + head + zlib.crc32(head).to_bytes(4, "big") + data[33:]
    length = (int(2 ** (at * 64)) - 1).to_bytes(8, "little")
    return length + data[8:] if to < 0.7 else data[:8] + noise + data[8 + len(noise) :]


CONTENT = {f.__name__: f for f in (flip, cut, without, zeros, overwrite, insert, repeat, digit, swap_lines, encoded,
                                   nothing, more, cell, swap_cells, column, value, twice, header)}  # fmt: skip
PLACES = ("gone", "pipe", "folder", "loop", "dangling", "null")
BY_SUFFIX = {".csv": ("cell", "swap_cells", "column"), ".json": ("value",), ".yaml": ("twice",)}


def ways(path: Path) -> list[str]:
    """What may be done to a file of this kind; what suits it most is there more often."""
    general = [way for way in CONTENT if way not in ("cell", "swap_cells", "column", "value", "twice", "header")]
    own = BY_SUFFIX.get(path.suffix, ("header",))
    return [*general, "flip", "flip", "flip", *own * 4, *PLACES]


def damage(path: Path, how: str, at: float, to: float, noise: bytes) -> bool:
    """Do it; whether anything changed."""
    if how in CONTENT:
        before = path.read_bytes()
        after = CONTENT[how](before, at, to, noise) if before else noise
        path.write_bytes(after)
        return after != before
    path.unlink()
    {"gone": lambda: None, "pipe": lambda: os.mkfifo(path), "folder": path.mkdir, "loop": lambda: path.symlink_to(path),
     "dangling": lambda: path.symlink_to(path.with_name("nowhere")),
     "null": lambda: path.symlink_to("/dev/zero" if to < 0.5 else "/dev/null")}[how]()  # fmt: skip
    return True
