"""What a film may be: each rule of the module, on files made here."""

import os

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from cmdml.sources import decoding
from cmdml.sources.decoding import decode, padded, png_header


def film(size=32):
    return np.random.default_rng(3).integers(0, 256, (size, size), dtype=np.uint8)


def alpha(mode, value):
    image = Image.fromarray(film()).convert(mode)
    channel = Image.new("L", image.size, 255)
    channel.putpixel((5, 5), value)
    image.putalpha(channel)
    return image


def turned(path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(film()).save(path, exif=exif)


def transparent_grey(path):
    Image.fromarray(film()).save(path, transparency=3)


def animated(path):
    Image.fromarray(film()).save(path, save_all=True, append_images=[Image.fromarray(255 - film())])


def dicom(path):
    path.write_bytes(bytes(128) + b"DICM" + bytes(64))


def flipped(path, share):
    Image.fromarray(film()).save(path)
    data = bytearray(path.read_bytes())
    data[int(share * (len(data) - 13))] ^= 16
    path.write_bytes(data)


@pytest.mark.parametrize(
    "save, message",
    [
        (lambda p: Image.fromarray(film() > 99).save(p), "1 bits per channel, expected 8-bit grey"),
        (lambda p: Image.fromarray(film().astype(np.uint16) * 257).save(p), "16 bits per channel"),
        (lambda p: Image.fromarray(film() // 16).convert("P").save(p, bits=4), "4 bits per channel"),
        (lambda p: Image.fromarray(np.dstack([film(), film().T, film()])).save(p), "is a colour image"),
        (lambda p: Image.fromarray(np.dstack([film(), film(), film().T])).save(p), "is a colour image"),
        (lambda p: Image.fromarray(np.dstack([film().T, film(), film()])).save(p), "is a colour image"),
        (lambda p: alpha("LA", 254).save(p), "has transparent parts"),
        (lambda p: alpha("RGBA", 0).save(p), "has transparent parts"),
        (transparent_grey, "has transparent parts"),
        (lambda p: turned(p, 6), r"has an EXIF tag that turns it \(6\)"),
        (animated, "has 2 frames"),
        (lambda p: Image.new("L", (32, 32), 0).save(p), "is 0 everywhere"),
        (lambda p: Image.new("L", (32, 32), 200).save(p), "is 200 everywhere"),
        (lambda p: flipped(p, 0.1), "damaged or cut off"),
        (lambda p: flipped(p, 0.5), "damaged or cut off"),
        (lambda p: flipped(p, 0.99), "damaged or cut off"),
        (lambda p: p.write_bytes(b""), "cannot be read as an image"),
        (lambda p: p.mkdir(), "is not a regular file"),
        (os.mkfifo, "is not a regular file"),
        (dicom, "is a DICOM file; a set is made of PNG files: apply its window and save"),
        (lambda p: Image.fromarray(np.dstack([film(), film().T, film()])).save(p), "convert it if it is a grey film"),
    ],
)
def test_what_is_no_film_is_refused_in_one_sentence(tmp_path, save, message):
    path = tmp_path / "film.png"
    save(path)
    with pytest.raises(ValueError, match=message) as caught:
        decode(path, 16)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("save", [os.mkfifo, lambda p: p.mkdir(), lambda p: p.symlink_to("nowhere.png")])
def test_headers_are_read_from_regular_files_only(tmp_path, save):
    save(tmp_path / "film.png")
    with pytest.raises(ValueError, match="film.png is not a regular file"):
        png_header(tmp_path / "film.png")


def test_a_dicom_file_is_told_from_a_damaged_one(tmp_path):
    dicom(tmp_path / "film.png")
    with pytest.raises(ValueError, match="film.png is a DICOM file"):
        png_header(tmp_path / "film.png")
    (tmp_path / "film.png").write_bytes(bytes(300))
    with pytest.raises(ValueError, match="film.png is not a PNG image"):
        png_header(tmp_path / "film.png")


def test_another_depth_is_seen_in_the_header(tmp_path):
    Image.fromarray(film().astype(np.uint16) * 257).save(tmp_path / "film.png")
    with pytest.raises(ValueError, match="film.png has 16 bits per channel"):  # before hours of decoding
        png_header(tmp_path / "film.png")


@pytest.mark.parametrize("mode", ["RGB", "LA", "RGBA"])
def test_equal_channels_and_an_opaque_alpha_are_one_grey(tmp_path, mode):
    (alpha(mode, 255) if mode.endswith("A") else Image.fromarray(film()).convert(mode)).save(tmp_path / "film.png")
    np.testing.assert_array_equal(decode(tmp_path / "film.png", 32), film())


def test_upright_tags_and_text_do_no_harm(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "a film")
    turned(tmp_path / "film.png", 1)
    np.testing.assert_array_equal(decode(tmp_path / "film.png", 32), film())
    Image.fromarray(film()).save(tmp_path / "text.png", pnginfo=text)
    np.testing.assert_array_equal(decode(tmp_path / "text.png", 32), film())


def test_a_header_line_tells_images_apart(tmp_path):
    path = tmp_path / "film.png"
    lines = set()
    for i in range(20):
        pixels = film()
        pixels[i, 0] ^= 1
        Image.fromarray(pixels).save(path)
        os.utime(path, (1, 1))
        header = png_header(path)
        lines.add(header.line.split()[-1])
        assert (header.width, header.height, header.side) == (32, 32, 32) and "\n" not in header.line
    assert len(lines) == 20


@pytest.mark.parametrize("turned", [False, True])
def test_a_film_is_padded_to_a_square_around_its_middle(turned):
    film = np.arange(1, 25, dtype=np.uint8).reshape(4, 6)
    square = np.zeros((6, 6), np.uint8)
    square[1:5] = film
    film, square = (film.T, square.T) if turned else (film, square)
    assert np.array_equal(np.asarray(padded(Image.fromarray(film))), square)
    assert np.array_equal(np.asarray(padded(Image.fromarray(square))), square)


@pytest.mark.parametrize(("bits", "film_of"), [
    (1, lambda: Image.fromarray(film() > 99)), (4, lambda: Image.fromarray(film() // 16).convert("P")),
])  # fmt: skip
def test_fewer_bits_are_seen_in_the_header_too(tmp_path, bits, film_of):
    film_of().save(tmp_path / "film.png", bits=bits)
    with pytest.raises(ValueError, match=f"film.png has {bits} bits per channel, expected 8-bit grey"):
        png_header(tmp_path / "film.png")


def test_a_palette_of_colours_is_a_colour_image(tmp_path):
    image = Image.fromarray(film()).convert("P")
    image.putpalette([value for grey in range(256) for value in (grey, 255 - grey, grey)])
    image.save(tmp_path / "film.png")
    with pytest.raises(ValueError, match="is a colour image"):
        decode(tmp_path / "film.png", 16)


def test_a_header_tells_width_from_height_and_names_file_size_and_time(tmp_path):
    Image.fromarray(film()[:20]).save(tmp_path / "film.png")
    os.utime(tmp_path / "film.png", ns=(5, 123_456_789))
    header = png_header(tmp_path / "film.png")
    assert (header.width, header.height, header.side) == (32, 20, 20)
    size = (tmp_path / "film.png").stat().st_size
    assert header.line.split()[:3] == ["film.png", str(size), "123456789"]


def test_films_are_decoded_in_order_a_bounded_number_ahead_as_it_is_asked(tmp_path, monkeypatch):
    begun = []

    def one(path, size, non_square):
        assert (size, non_square) == (4, "pad")
        begun.append(path)
        return np.full((4, 4), path, np.uint8)

    monkeypatch.setattr(decoding, "decode", one)
    monkeypatch.setattr(decoding, "_CHUNK", 2)
    monkeypatch.setattr(decoding, "_BLOCK_BYTES", 3 * 16)  # two chunks
    found, ahead = [], []
    for block in decoding.decode_blocks(list(range(90)), 5, 4, 2, False, "pad"):
        found.append(block[:, 0, 0].tolist())
        ahead.append(len(begun) - sum(map(len, found)))
    assert found[0] == [5, 6, 7, 8] and [n for part in found for n in part] == list(range(5, 90))
    assert max(ahead) <= 2 * 4 * 2 and sorted(begun) == list(range(5, 90))  # four chunks for each of two threads


def test_headers_of_many_films_come_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "png_header", lambda path: path)
    assert decoding.headers(list(range(600)), 3) == list(range(600))


def test_as_many_cores_as_this_process_may_use(monkeypatch):
    monkeypatch.setattr(decoding.os, "sched_getaffinity", lambda process: {0, 3, 5}, raising=False)
    assert decoding.cores() == 3
    monkeypatch.delattr(decoding.os, "sched_getaffinity")
    monkeypatch.setattr(decoding.os, "cpu_count", lambda: 7)
    assert decoding.cores() == 7
