"""Lists and tables as people hand them in."""

import os

import pytest

from cmdml.sources.reading import numbers, read_bytes, read_csv, read_text

TABLE = "image,Größe,note\na.png,12,x\nb.png,7,\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
def test_unicode_with_or_without_mark_is_read(tmp_path, encoding):
    content = b"\xff\xfe" + TABLE.encode("utf-16-le") if encoding.endswith("bom") else TABLE.encode(encoding)
    (tmp_path / "t.csv").write_bytes(content)
    table = read_csv(tmp_path / "t.csv", ["image", ("size", "Größe")])
    assert table.to_dict("list") == {"image": ["a.png", "b.png"], "size": ["12", "7"]}


@pytest.mark.parametrize(
    "content, message",
    [
        (TABLE.encode("latin-1"), r"is not utf-8 text \(byte 8\); save it as UTF-8"),
        (b"\xff\xfea", "is not utf-16 text"),
        (TABLE.encode("utf-32"), "control character"),
        (TABLE.replace("x", "\0").encode(), r"line 2 holds the control character '\\x00'"),
        (b"", "no column 'image'; found nothing"),
        (b"image,image,note\n", "column 'image' is there twice"),
        (b"picture,note\n", "no column 'image'; found picture, note"),
        (b"image,note\na,b\nc\n", "line 3 has 1 cells, the header 2"),
        (b"image,note\na,b,c\n", "line 2 has 3 cells, the header 2"),
        (b"image,note\na,b,,\n", "line 2 has 4 cells, the header 2"),
        (b'image,note\n"a,b\nc,d\n', "is not CSV"),
        (b'image,note\n"a"b,c\n', "is not CSV"),
        (b"image,note\n" + b"a" * 200_000 + b",b\n", "is not CSV"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_csv(tmp_path / "t.csv", ["image", "note"])
    assert str(tmp_path / "t.csv") in str(caught.value) and "\n" not in str(caught.value)


def test_one_comma_too_many_and_blank_lines_are_forgiven(tmp_path):
    (tmp_path / "t.csv").write_text("image, note \na, b ,\n\n c,d\n")
    assert read_csv(tmp_path / "t.csv", ["note", "image"]).to_numpy().tolist() == [["b", "a"], ["d", "c"]]


def test_only_regular_files_are_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="t.csv: no such file"):
        read_bytes(tmp_path / "t.csv")
    os.mkfifo(tmp_path / "t.csv")
    for read in (read_bytes, read_text):
        with pytest.raises(ValueError, match="t.csv is not a regular file"):
            read(tmp_path / "t.csv")


def test_what_the_system_says_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text(TABLE)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(ValueError, match="t.csv cannot be read: Permission denied"):
        read_text(tmp_path / "t.csv")


@pytest.mark.parametrize("value", ["", "nan", "inf", "1e3", "0x1", "1_0", "-1", "1.5", "٣", "1" * 16])
def test_numbers_are_plain(tmp_path, value):
    (tmp_path / "t.csv").write_text(f"image,n\na.png,3\nb.png,{value}\n")
    table = read_csv(tmp_path / "t.csv", ["image", "n"])
    with pytest.raises(ValueError, match=f"t.csv: b.png has n '{value}'; expected a whole number"):
        numbers(table, "n", tmp_path / "t.csv", whole=True)
    assert numbers(table[:1], "n", tmp_path / "t.csv", whole=True).tolist() == [3]
    if value in ("-1", "1.5"):
        assert numbers(table, "n", tmp_path / "t.csv").tolist() == [3, float(value)]


def test_a_file_that_is_too_large_for_a_table_or_a_film_is_refused_before_it_is_read(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"")
    os.truncate(tmp_path / "t.csv", 30_000_000)  # larger than the largest film
    assert len(read_bytes(tmp_path / "t.csv")) == 30_000_000
    os.truncate(tmp_path / "t.csv", (1 << 30) + 1)  # a hole: nothing is written
    with pytest.raises(ValueError, match=r"t\.csv holds 1,073,741,825 bytes, no table or film; put a plain file"):
        read_bytes(tmp_path / "t.csv")


def test_either_order_of_utf_16_and_columns_without_a_name_are_read(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xfe\xff" + TABLE.encode("utf-16-be"))
    assert read_csv(tmp_path / "t.csv", ["image"])["image"].tolist() == ["a.png", "b.png"]
    (tmp_path / "t.csv").write_text("image,,n,\na.png,x,-0.5,y\n")
    table = read_csv(tmp_path / "t.csv", ["n", "image"])
    assert table.to_numpy().tolist() == [["-0.5", "a.png"]]
    assert numbers(table, "n", tmp_path / "t.csv").tolist() == [-0.5]
    assert numbers(table.assign(n="9" * 15), "n", tmp_path / "t.csv", whole=True).tolist() == [10**15 - 1]


def test_a_line_with_a_cell_more_than_its_header_is_no_comma_too_many(tmp_path):
    (tmp_path / "t.csv").write_text("image,note\na,b,\nc,d,e\n")
    with pytest.raises(ValueError, match="line 3 has 3 cells, the header 2"):
        read_csv(tmp_path / "t.csv", ["image", "note"])
