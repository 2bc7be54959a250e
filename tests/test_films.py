"""Films of every kind become the pixels that the training's own decoder would give, or one sentence."""

import sys

import numpy as np
import pytest
from film_files import dicom, jpeg, phantoms
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cmdml.films import find_films, read_film
from cmdml.sources.decoding import decode


@pytest.fixture(scope="module")
def film():
    return phantoms(3, 128)[1]


def save(path, picture, **options):
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)
    return path


def test_a_png_is_read_as_the_training_reads_it(film, tmp_path):
    path = save(tmp_path / "a.png", film)
    read = read_film(path, 64)
    assert np.array_equal(read.pixels, decode(path, 64)) and read.notes == () == read.warnings


def test_a_film_that_is_not_square_gets_the_bars_of_the_training(film, tmp_path):
    path = save(tmp_path / "a.png", film[:100])
    read = read_film(path, 64)
    assert np.array_equal(read.pixels, decode(path, 64, "pad"))
    assert read.notes == ("128 x 100 px, made square with black bars",) and read.shown.shape == (128, 128)


def test_colour_that_is_grey_and_colour_that_is_none(film, tmp_path):
    plain = read_film(save(tmp_path / "a.png", film), 64)
    for mode in ("RGB", "RGBA", "LA"):
        same = read_film(save(tmp_path / f"{mode}.png", Image.fromarray(film).convert(mode)), 64)
        assert np.array_equal(same.pixels, plain.pixels) and not same.warnings
    (tmp_path / "b.jpg").write_bytes(jpeg(film, "RGB"))
    near = read_film(tmp_path / "b.jpg", 64)
    assert not near.warnings and np.abs(near.pixels.astype(int) - plain.pixels).max() <= 3
    colour = np.stack([film, film // 2, film], 2)
    assert "colour" in read_film(save(tmp_path / "c.png", colour), 64).warnings[0]
    half = Image.fromarray(film).convert("RGBA")
    half.putalpha(100)
    with pytest.raises(ValueError, match=r"d\.png has transparent parts"):
        read_film(save(tmp_path / "d.png", half), 64)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_sixteen_bits_are_scaled_by_the_depth_that_their_largest_value_needs(film, tmp_path, bits):
    deep = np.rint(film * (((1 << bits) - 1) / 255)).astype(np.uint16)
    deep[0, 0] = (1 << bits) - 1
    read = read_film(save(tmp_path / "a.png", deep), 128)
    assert np.array_equal(read.pixels[1:], film[1:])
    assert read.notes[0].endswith(f"read as {bits} bits") and f"{(1 << bits) - 1:,}" in read.notes[0]


@pytest.mark.parametrize("largest, bits", [(255, 8), (256, 10), (1024, 12), (4096, 14), (16384, 16)])
def test_a_value_that_a_depth_just_cannot_hold_needs_the_next(film, tmp_path, largest, bits):
    deep = np.minimum(film, 250).astype(np.uint16)
    deep[0, 0] = largest
    read = read_film(save(tmp_path / "a.png", deep), 128)
    assert read.notes == (f"largest grey value {largest:,}: read as {bits} bits",)
    assert read.pixels[0, 0] == round(largest * 255 / ((1 << bits) - 1)) == read.pixels.max()


def test_an_exif_turn_is_made(film, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(np.rot90(film), exif=exif))
    read = read_film(path, 64)
    assert np.abs(read.pixels.astype(int) - decode(save(tmp_path / "b.png", film), 64)).mean() < 2
    assert "EXIF" in read.notes[0]
    exif[0x0112] = 1  # as it is
    path.write_bytes(jpeg(film, exif=exif))
    assert read_film(path, 64).notes == ()


def test_what_makes_a_score_doubtful_is_a_warning(film, tmp_path):
    small = read_film(save(tmp_path / "a.png", film[::4, ::4]), 64)
    assert small.pixels.shape == (64, 64) and "32 px, smaller" in small.warnings[0]
    assert "scaled wrongly" in read_film(save(tmp_path / "b.png", film // 16), 64).warnings[0]


def test_dicom_windows_and_inverts(film, tmp_path):
    deep = film.astype(np.uint16) * 8 + 500  # 500 to 2,540 of 0 to 4,095
    low, high = 500, 500 + 255 * 8
    window = ((low + high + 1) / 2, high - low + 1)
    plain = read_film(dicom(tmp_path / "a.dcm", deep, window=window), 128)
    assert np.abs(plain.pixels.astype(int) - film).max() <= 1
    assert plain.notes[0].endswith("its window: grey values from 0 to 4095")
    named = dicom(tmp_path / "without a suffix", deep, window=window)
    assert np.array_equal(read_film(named, 128).pixels, plain.pixels)
    inverted = read_film(dicom(tmp_path / "b.dcm", high + low - deep, kind="MONOCHROME1", window=window), 128)
    assert np.abs(inverted.pixels.astype(int) - film).max() <= 1
    window = (high + low - 1000 + 1, 2 * (high - low) + 1)
    scaled = read_film(dicom(tmp_path / "c.dcm", deep, rescale=(2, -1000), window=window), 128)
    assert np.abs(scaled.pixels.astype(int) - film).max() <= 1
    assert scaled.notes[0].endswith("its window: grey values from -1000 to 7190")
    bare = read_film(dicom(tmp_path / "d.dcm", deep), 128)
    spread = (film.astype(float) - film.min()) / (film.max() - film.min()) * 255
    assert np.abs(bare.pixels - spread).max() <= 1 and "no window" in bare.notes[0]


def test_dicom_tags_that_say_it_is_no_frontal_film(film, tmp_path):
    assert "lateral" in read_film(dicom(tmp_path / "a.dcm", film, bits=8, ViewPosition="LL"), 64).warnings[0]
    assert "modality CT" in read_film(dicom(tmp_path / "b.dcm", film, bits=8, Modality="CT"), 64).warnings[0]
    assert not read_film(dicom(tmp_path / "c.dcm", film, bits=8, Modality="DX", ViewPosition="PA"), 64).warnings


@pytest.mark.parametrize(("tag", "value", "warned"), [
    *(("ViewPosition", view, True) for view in ("LL", "RL", "LATERAL", "LLD", "RLD", "ll")),
    *(("ViewPosition", view, False) for view in ("", "PA", "AP")),
    *(("Modality", kind, False) for kind in ("", "CR", "DX", "DR", "RG", "OT", "SC")),
    *(("Modality", kind, True) for kind in ("CT", "MR", "US", "MG")),
])  # fmt: skip
def test_each_tag_is_told_from_those_that_do_no_harm(film, tmp_path, tag, value, warned):
    read = read_film(dicom(tmp_path / "a.dcm", film, bits=8, **{tag: value}), 64)
    assert bool(read.warnings) == warned and all(value.upper() in sentence for sentence in read.warnings)


def test_dicom_without_pydicom_is_a_sentence(film, tmp_path, monkeypatch):
    path = dicom(tmp_path / "a.dcm", film, bits=8)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ModuleNotFoundError, match=r"a\.dcm is DICOM, which needs pydicom: pip install 'cmdml\[dicom\]"):
        read_film(path, 64)


def test_what_is_no_film_is_one_sentence(film, tmp_path):
    (tmp_path / "a.txt").write_text("no film")
    with pytest.raises(ValueError, match=r"a\.txt cannot be read as an image \(it is no image file\); give a PNG"):
        read_film(tmp_path / "a.txt", 64)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_film(tmp_path / "b.png", 64)
    whole = save(tmp_path / "c.png", film).read_bytes()
    (tmp_path / "c.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"c\.png cannot be read"):
        read_film(tmp_path / "c.png", 64)
    chunk = whole.index(b"IDAT")
    at = chunk + 4 + int.from_bytes(whole[chunk - 4 : chunk], "big")  # the checksum of its pixels
    (tmp_path / "c.png").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(ValueError, match=r"c\.png cannot be read as an image \(damaged or cut off"):
        read_film(tmp_path / "c.png", 64)
    with pytest.raises(ValueError, match="one grey value everywhere"):
        read_film(save(tmp_path / "d.png", np.full((80, 80), 7, np.uint8)), 64)
    frames = [Image.fromarray(film), Image.fromarray(film[::-1].copy())]
    frames[0].save(tmp_path / "e.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="2 frames"):
        read_film(tmp_path / "e.tif", 64)
    (tmp_path / "f.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"nonsense")
    with pytest.raises(ValueError, match=r"f\.dcm cannot be read as DICOM"):
        read_film(tmp_path / "f.dcm", 64)


def test_an_image_too_large_to_be_a_film_is_one_sentence(film, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 128 * 128 // 2 - 1)
    with pytest.raises(ValueError, match=r"a\.png cannot be read as an image"):
        read_film(save(tmp_path / "a.png", film), 64)


def test_a_folder_gives_its_films_by_name(film, tmp_path):
    for name in ("b.png", "a.png", "in/c.PNG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save(tmp_path / name, film)
    dicom(tmp_path / "d", film, bits=8)
    (tmp_path / "table.csv").write_text("x")
    (tmp_path / ".hidden.png").write_text("x")
    found, others = find_films([tmp_path, tmp_path / "b.png"])
    assert [p.name for p in found] == ["a.png", "b.png", "d", "c.PNG", "b.png"] and others == 1
    (tmp_path / "in/notes.txt").write_text("x")
    found, others = find_films([tmp_path, tmp_path / "in"])
    assert [p.name for p in found] == ["a.png", "b.png", "d", "c.PNG", "c.PNG"] and others == 3  # 2 and 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no film"):
        find_films([tmp_path / "empty"])


def lut(values, bits):
    """A look-up table as DICOM holds it: entry v is what v becomes."""
    table = Dataset()
    table.LUTDescriptor = [len(values), 0, bits]
    table.LUTData = np.asarray(values, "<u2").tobytes()
    table.ModalityLUTType = "US"
    return Sequence([table])


def test_dicom_with_a_modality_table_is_windowed_on_the_table_s_scale(film, tmp_path):
    """The window is given in what the table returns, 0 to 65,535, and so are black and white."""
    becomes = np.arange(256) * 120 + 9_000
    low, high = becomes[0], becomes[-1]
    tags = {"window": ((low + high + 1) / 2, high - low + 1), "bits": 8}
    read = read_film(dicom(tmp_path / "a.dcm", film, **tags, ModalityLUTSequence=lut(becomes, 16)), 128)
    assert np.abs(read.pixels.astype(int) - film).max() <= 1
    assert "its window: grey values from 0 to 65535" in read.notes[0]
    narrow = {"window": ((low + high + 1) / 2, (high - low) / 2 + 1), "bits": 8}
    half = read_film(dicom(tmp_path / "b.dcm", film, **narrow, ModalityLUTSequence=lut(becomes, 16)), 128)
    wanted = np.clip((film - 127.5) * 2 + 127.5, 0, 255)
    assert np.abs(half.pixels - wanted).max() <= 1


@pytest.mark.filterwarnings("error")
def test_dicom_with_a_table_of_its_own_for_display_is_read_through_it(film, tmp_path):
    becomes = np.sqrt(np.arange(256) / 255) * 1023
    path = dicom(tmp_path / "a.dcm", film, bits=8, VOILUTSequence=lut(np.rint(becomes), 10))
    read = read_film(path, 128)
    assert np.abs(read.pixels - becomes[film] / 1023 * 255).max() <= 1
    assert "its look-up table: grey values from 0 to 1023" in read.notes[0]
    tables = Sequence([lut(np.rint(becomes), 10)[0], lut(np.arange(256) * 16, 12)[0]])  # the first of several
    first = read_film(dicom(tmp_path / "b.dcm", film, bits=8, VOILUTSequence=tables), 128)
    assert np.array_equal(first.pixels, read.pixels) and first.notes == read.notes


def test_dicom_of_signed_values_has_black_below_zero(film, tmp_path):
    signed = (film.astype(np.int16) - 128) * 16  # -2,048 to 2,032 of -2,048 to 2,047
    window = (0.5 - 8, 255 * 16 + 1)
    read = read_film(dicom(tmp_path / "a.dcm", signed, window=window, PixelRepresentation=1), 128)
    assert np.abs(read.pixels.astype(int) - film).max() <= 1
    assert "grey values from -2048 to 2047" in read.notes[0]


def test_dicom_with_half_a_window_has_none(film, tmp_path):
    for name in ("WindowCenter", "WindowWidth"):
        read = read_film(dicom(tmp_path / f"{name}.dcm", film, bits=8, **{name: 40.0}), 128)
        assert "no window, from the smallest to the largest value" in read.notes[0]


def test_dicom_in_colour_is_grey_where_its_colours_are_equal(film, tmp_path):
    colour = np.stack([film] * 3, 2)
    tags = {"bits": 8, "kind": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0, "BitsAllocated": 8}
    path = dicom(tmp_path / "a.dcm", film, **tags, PixelData=colour.tobytes())
    assert np.array_equal(read_film(path, 128).pixels, film) and not read_film(path, 128).warnings


@pytest.mark.parametrize(("span", "warned"), [(31, True), (32, False)])
def test_grey_values_that_span_less_than_an_eighth_are_doubted(tmp_path, span, warned):
    grey = np.linspace(40, 40 + span, 64 * 64).round().astype(np.uint8).reshape(64, 64)
    assert bool(read_film(save(tmp_path / "a.png", grey), 64).warnings) == warned


def test_a_film_as_large_as_the_network_s_is_kept_as_it_is(film, tmp_path):
    read = read_film(save(tmp_path / "a.png", film), 128)
    assert np.array_equal(read.pixels, film) and not read.warnings


@pytest.mark.parametrize(("spread", "warned"), [(8, False), (9, True)])
def test_colours_may_differ_by_what_a_jpeg_does_to_grey(film, tmp_path, spread, warned):
    colour = np.stack([np.minimum(film, 200)] * 3, 2)
    colour[5, 5, 1] += spread
    read = read_film(save(tmp_path / "a.png", colour), 128)
    assert bool(read.warnings) == warned
    assert np.array_equal(read.pixels, np.asarray(Image.fromarray(colour).convert("L")))


def test_palettes_and_black_and_white_are_read(film, tmp_path):
    palette = Image.fromarray(film).convert("P")
    assert np.array_equal(read_film(save(tmp_path / "a.png", palette), 128).pixels, film)
    half = Image.fromarray(film).convert("1")
    assert np.array_equal(read_film(save(tmp_path / "b.png", half), 128).pixels, np.asarray(half.convert("L")))


def test_a_palette_with_a_transparent_colour_is_refused(film, tmp_path):
    palette = Image.fromarray(film).convert("P")
    path = save(tmp_path / "a.png", palette, transparency=palette.getpixel((64, 64)))
    with pytest.raises(ValueError, match=r"a\.png has transparent parts; save it in plain grey"):
        read_film(path, 64)


def test_negative_and_endless_grey_values_are_refused(film, tmp_path):
    for name, value in (("a", -1.0), ("b", np.nan), ("c", 65_536.0)):
        values = film.astype(np.float32)
        values[3, 3] = value
        with pytest.raises(ValueError, match=rf"{name}\.tif holds grey values from .*; save it with 8 or 16 bits"):
            read_film(save(tmp_path / f"{name}.tif", values), 64)


def test_a_dicom_of_another_kind_is_refused(film, tmp_path):
    path = dicom(tmp_path / "a.dcm", film, bits=8, kind="PALETTE COLOR")
    with pytest.raises(ValueError, match=r"a\.dcm is of the kind PALETTE COLOR; export it as MONOCHROME2"):
        read_film(path, 64)
