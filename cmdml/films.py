"""One film of any kind to the pixels that a network reads, and every decision on the way said.

The training's own rules (``cmdml.sources.decoding``) refuse what needs a decision about grey values. A user has one
film and no choice, so here the decision is taken, and said in a note; what makes a score doubtful is said in a warning.

* DICOM: modality rescale, then the file's first window or look-up table, else from the smallest to the largest value;
  MONOCHROME1 is inverted. One frame.
* More than 8 bits: the fewest of 8, 10, 12, 14 or 16 bits that hold the largest value are the full scale.
* Colours that are equal are grey. A colour picture is turned to grey, with a warning.
* A turn that EXIF asks for is made. Black bars make it square. The box filter reduces it.
* A film smaller than the network's is enlarged, with a warning.
* Damaged, transparent in part, of one grey value everywhere, or several frames: refused.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from cmdml.sources.decoding import check_png, padded, reduced
from cmdml.sources.reading import read_bytes
from cmdml.store import brief

SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".tif", ".tiff", ".bmp")
DEPTHS = (8, 10, 12, 14, 16)
GREY = 8  # a JPEG of a grey film may differ by so much between its colours, of 255
NARROW = 32  # of 255: a film whose grey values span less was probably scaled wrongly
_UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, zlib.error, Image.DecompressionBombError)


@dataclass(frozen=True, eq=False)
class Film:
    """A film as a network reads it.

    Parameters
    ----------
    path : Path
    pixels : (size, size) uint8; bone bright, air dark.
    shown : (side, side) uint8, the padded film before it was reduced.
    notes : what was done to it.
    warnings : what makes its scores doubtful.
    """

    path: Path
    pixels: np.ndarray
    shown: np.ndarray
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def read_film(path, size: int) -> Film:
    """Read one PNG, JPEG, TIFF, BMP or DICOM file.

    Parameters
    ----------
    size : height and width in pixels that the network reads.

    Raises
    ------
    FileNotFoundError, ValueError : one sentence that names the file and the way out.
    ModuleNotFoundError : a DICOM file, and pydicom is not installed.
    """
    path, notes, warnings = Path(path), [], []
    data = read_bytes(path)
    if data[128:132] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom"):
        grey = _dicom(path, data, notes, warnings)
    else:
        grey = _image(path, data, notes, warnings)
    low, high = int(grey.min()), int(grey.max())
    if low == high:
        raise ValueError(f"{path} is one grey value everywhere, no radiograph; fetch it again or take it away")
    if high - low < NARROW:
        warnings.append(f"its grey values span {low} to {high} of 0 to 255: probably scaled wrongly")
    image = Image.fromarray(grey)
    if image.width != image.height:
        notes.append(f"{image.width} x {image.height} px, made square with black bars")
    image = padded(image)
    if image.width < size:
        warnings.append(f"{image.width} px, smaller than the training's {size} px: enlarged, fine signs are missing")
        pixels = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
    else:
        pixels = reduced(image, size)
    return Film(path, pixels, np.asarray(image), tuple(notes), tuple(warnings))


def find_films(paths: Iterable) -> tuple[list[Path], int]:
    """The files that are named, and those of the folders that are named, by name; how many files there are no images.

    In a folder, and the folders in it, files with one of ``SUFFIXES``, and DICOM files without a suffix, are taken.
    A folder without any is an error: FileNotFoundError.
    """
    found, others = [], 0
    for path in map(Path, paths):
        if not path.is_dir():
            found.append(path)
            continue
        files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        taken = [p for p in files if p.suffix.lower() in SUFFIXES or (not p.suffix and _is_dicom(p))]
        if not taken:
            raise FileNotFoundError(f"{path} holds no film ({', '.join(SUFFIXES)}); name another folder or the files")
        found, others = found + taken, others + len(files) - len(taken)
    return found, others


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def _image(path: Path, data: bytes, notes: list, warnings: list) -> np.ndarray:
    """(H, W) uint8 of what Pillow reads."""
    if data[:4] == b"\x89PNG":
        check_png(path, data)
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
        frames = getattr(image, "n_frames", 1)
        turned = ImageOps.exif_transpose(image)
    except _UNREADABLE as error:
        why = "it is no image file" if isinstance(error, Image.UnidentifiedImageError) else brief(error)
        way_out = "give a PNG, JPEG, TIFF, BMP or DICOM file"
        raise ValueError(f"{path} cannot be read as an image ({why}); {way_out}") from error
    if frames != 1:
        raise ValueError(f"{path} has {frames} frames; save the one to be scored as an image of its own")
    if image.getexif().get(0x0112, 1) != 1:
        notes.append("turned upright as its EXIF tag asks")
    return _one_channel(path, turned, notes, warnings)


def _one_channel(path: Path, image: Image.Image, notes: list, warnings: list) -> np.ndarray:
    """(H, W) uint8."""
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("LA", "RGBA", "PA") and image.getchannel("A").getextrema() != (255, 255):
        raise ValueError(f"{path} has transparent parts; save it in plain grey")
    if image.mode in ("L", "LA"):
        return np.asarray(image.getchannel(0))
    if image.mode.startswith(("I", "F")):
        return _depth(path, np.asarray(image), notes)
    colours = np.asarray(image.convert("RGB"))
    spread = int((colours.max(2).astype(int) - colours.min(2)).max())
    if spread > GREY:
        warnings.append("a colour picture, and a radiograph is grey: its colours were left out")
    return np.asarray(image.convert("RGB").convert("L")) if spread else colours[..., 0]


def _depth(path: Path, values: np.ndarray, notes: list) -> np.ndarray:
    """Grey values of more than 8 bits -> uint8."""
    values = values.astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() >= 1 << DEPTHS[-1]:
        span = f"{values.min():g} to {values.max():g}"
        raise ValueError(f"{path} holds grey values from {span}; save it with 8 or 16 bits")
    bits = next(bits for bits in DEPTHS if values.max() < 1 << bits)
    notes.append(f"largest grey value {values.max():,.0f}: read as {bits} bits")
    return np.rint(values * (255 / ((1 << bits) - 1))).astype(np.uint8)


def _dicom(path: Path, data: bytes, notes: list, warnings: list) -> np.ndarray:
    """(H, W) uint8 of a DICOM file."""
    try:
        import pydicom
        from pydicom.pixels import apply_modality_lut, apply_voi_lut
    except ImportError as error:
        raise ModuleNotFoundError(f"{path} is DICOM, which needs pydicom: pip install 'cmdml[dicom]'") from error
    try:
        film = pydicom.dcmread(io.BytesIO(data))
        stored, kind = film.pixel_array, str(film.PhotometricInterpretation)
        values = np.asarray(apply_modality_lut(stored, film), np.float64)
        whole = values.astype(np.int64) if np.array_equal(values, np.rint(values)) else values  # a table is of integers
        windowed = np.asarray(apply_voi_lut(whole if values.ndim == 2 else stored, film), np.float64)
    except Exception as error:  # pydicom raises what its many decoders raise
        raise ValueError(f"{path} cannot be read as DICOM ({brief(error)}); export it again, uncompressed") from error
    if int(getattr(film, "NumberOfFrames", 1) or 1) != 1:
        raise ValueError(f"{path} has {film.NumberOfFrames} frames; export the one to be scored")
    if kind == "RGB" and stored.dtype == np.uint8:
        return _one_channel(path, Image.fromarray(stored), notes, warnings)
    if not kind.startswith("MONOCHROME"):
        raise ValueError(f"{path} is of the kind {kind}; export it as MONOCHROME2")
    how, low, high = _scale(film, values)
    notes.append(f"DICOM {kind}, {how}: grey values from {low:g} to {high:g}")
    grey = np.clip((windowed - low) / max(high - low, 1e-9), 0, 1)
    if kind == "MONOCHROME1":
        grey = 1 - grey
    view = str(getattr(film, "ViewPosition", "") or "").upper()
    if view in ("LL", "RL", "LATERAL", "LLD", "RLD"):
        warnings.append(f"a lateral view by its tag ({view}): the training holds frontal films only")
    modality = str(getattr(film, "Modality", "") or "")
    if modality not in ("", "CR", "DX", "DR", "RG", "OT", "SC"):
        warnings.append(f"of the modality {modality} by its tag, no radiograph")
    return np.rint(255 * grey).astype(np.uint8)


def _scale(film, values: np.ndarray) -> tuple[str, float, float]:
    """Where black and white come from, and the values that become black and white, as pydicom's windows return them."""
    if film.get("VOILUTSequence"):
        return "its look-up table", 0.0, float((1 << int(film.VOILUTSequence[0].LUTDescriptor[2])) - 1)
    if film.get("WindowCenter") is None or film.get("WindowWidth") is None:
        return "no window, from the smallest to the largest value", float(values.min()), float(values.max())
    if film.get("ModalityLUTSequence"):
        return "its window", 0.0, float((1 << int(film.ModalityLUTSequence[0].LUTDescriptor[2])) - 1)
    bits = int(film.BitsStored)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if film.PixelRepresentation else (0, (1 << bits) - 1)
    slope, intercept = float(film.get("RescaleSlope") or 1), float(film.get("RescaleIntercept") or 0)
    return "its window", low * slope + intercept, high * slope + intercept
