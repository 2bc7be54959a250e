"""Image files to pixels: one radiograph, or many in parallel.

What a film may be, and what becomes of it:

* 8 bits per channel. 16-bit, 1-bit and other depths are refused: to scale them is a decision about grey values.
* Grey, or colour channels (also a palette) that are all equal, of which one is taken. A colour image is refused.
* An alpha channel that is opaque everywhere is dropped. A film that is anywhere transparent is refused.
* Upright as stored. An EXIF tag that asks for a turn is refused: readers disagree about it.
* More than one grey value. A film that is black, or any one grey, is refused.
* Square, or with ``non_square="pad"`` made square by black bars on both sides; by default it is refused. Films are
  never squeezed, and nothing is enlarged.
"""

from __future__ import annotations

import io
import os
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from cmdml.names import check
from cmdml.sources.reading import read_bytes
from cmdml.store import brief

# Threads, not processes: Pillow releases the GIL while it decodes and resizes, and forking a notebook that has used
# torch is not safe.
_CHUNK, _BLOCK_BYTES = 16, 1 << 22  # images per task; bytes held before they are written
NON_SQUARE = ("refuse", "pad")
_PNG = b"\x89PNG\r\n\x1a\n"
_TURNED = 0x0112  # EXIF's orientation
# What a set cannot hold, and the way out.
_DICOM_HINT = "is a DICOM file; a set is made of PNG files: apply its window and save its pixels as 8-bit grey first"
_COLOUR_HINT = "is a colour image, not a radiograph; take it away, or convert it if it is a grey film saved in colour"


@dataclass(frozen=True, slots=True)
class PngHeader:
    """What can be told of a file without decoding it.

    ``line`` names the content: file name, size, time, and a CRC over both ends of the file. The end of a PNG holds the
    checksum of all its pixels, so another image never has the same line.
    """

    width: int
    height: int
    line: str

    @property
    def side(self) -> int:
        """The smaller side."""
        return min(self.width, self.height)


def png_header(path: Path) -> PngHeader:
    """Read both ends of a PNG: what is none, or of another depth, is found before hours of decoding."""
    try:
        if not path.is_file():
            raise ValueError(f"{path} is not a regular file; fetch it again or take it away")
        with open(path, "rb", buffering=0) as file:
            head, about = file.read(26), os.fstat(file.fileno())
            file.seek(max(26, about.st_size - 64))
            crc = zlib.crc32(file.read(64), zlib.crc32(head))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {brief(error)}; mend that and run again") from error
    if len(head) < 26 or head[:8] != _PNG or head[12:16] != b"IHDR":
        dicom = read_bytes(path)[128:132] == b"DICM"
        raise ValueError(f"{path} {_DICOM_HINT if dicom else 'is not a PNG image; fetch it again or take it away'}")
    if head[24] != 8:
        raise ValueError(f"{path} has {head[24]} bits per channel, expected 8-bit grey; convert it or take it away")
    width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    return PngHeader(width, height, f"{path.name} {about.st_size} {about.st_mtime_ns} {crc:08x}")


def decode(path: Path, size: int, non_square: str = "refuse") -> np.ndarray:
    """One radiograph as (size, size) uint8, box-filtered.

    Raises
    ------
    ValueError : naming the file, if it is damaged or not a film by the rules above.
    """
    check(non_square, NON_SQUARE, "non_square")
    path = Path(path)
    data = read_bytes(path)
    if data[128:132] == b"DICM" and data[:8] != _PNG:
        raise ValueError(f"{path} {_DICOM_HINT}")
    if data[:8] == _PNG:
        check_png(path, data)
        if data[24] != 8:
            raise ValueError(f"{path} has {data[24]} bits per channel, expected 8-bit grey; convert it or take it away")
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
        turned, frames = image.getexif().get(_TURNED, 1), getattr(image, "n_frames", 1)
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, zlib.error, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} cannot be read as an image ({brief(error)}); fetch it again or take it away"
        ) from error
    if turned != 1 or frames != 1:
        what = f"an EXIF tag that turns it ({turned})" if turned != 1 else f"{frames} frames"
        raise ValueError(f"{path} has {what}; save it upright as one image without tags, or take it away")
    image = _grey(path, image)
    low, high = image.getextrema()
    if low == high:
        raise ValueError(f"{path} is {low} everywhere, no radiograph; fetch it again or take it away")
    if image.width != image.height and non_square == "refuse":
        sides = f"{image.width} x {image.height} px"
        raise ValueError(f"{path} is {sides}, not square; take it away or use non_square='pad'")
    return reduced(padded(image), size)


def padded(image: Image.Image) -> Image.Image:
    """An image of mode L between black bars, square."""
    side = max(image.size)
    if image.width == image.height:
        return image
    square = Image.new("L", (side, side), 0)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def reduced(image: Image.Image, size: int) -> np.ndarray:
    """A square image as (size, size) uint8, box-filtered."""
    if image.width % size == 0:
        return np.asarray(image.reduce(image.width // size))  # the same filter, without resampling arithmetic
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def _grey(path: Path, image: Image.Image) -> Image.Image:
    """The one channel of an 8-bit film."""
    if "transparency" in image.info:
        raise ValueError(f"{path} has transparent parts; save it in plain grey or take it away")
    if image.mode == "P":
        image = image.convert("RGB")
    if image.mode in ("LA", "RGBA"):
        if image.getchannel("A").getextrema() != (255, 255):
            raise ValueError(f"{path} has transparent parts; save it in plain grey or take it away")
    if image.mode in ("RGB", "RGBA", "LA"):  # some NIH files are RGBA with three equal channels
        grey, *others = image.split()
        if image.mode != "LA" and any(other.tobytes() != grey.tobytes() for other in others[:2]):
            raise ValueError(f"{path} {_COLOUR_HINT}")
        image = grey
    if image.mode != "L":
        raise ValueError(f"{path}: expected an 8-bit grey PNG, got Pillow mode {image.mode}; convert it to 8 bits")
    return image


def check_png(path: Path, data: bytes) -> None:
    """Compare the CRC of every chunk: Pillow skips that of the pixels."""
    at, kind, view = 8, b"", memoryview(data)
    while kind != b"IEND":
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 8 + length
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big") or end + 4 > len(data):
            raise ValueError(f"{path} cannot be read as an image (damaged or cut off at byte {at}); fetch it again")
        at = end + 4


def decode_blocks(
    paths: list[Path], start: int, size: int, workers: int, progress: bool, non_square: str = "refuse"
) -> Iterator[np.ndarray]:
    """Yield (n, size, size) uint8, paths[start:] in order, decoded in threads with a bounded number in flight."""
    chunks = (paths[i : i + _CHUNK] for i in range(start, len(paths), _CHUNK))

    def work(chunk):
        return np.stack([decode(path, size, non_square) for path in chunk])

    bar = tqdm(total=len(paths), initial=start, unit=" images", desc="decode", disable=not progress)
    with bar, ThreadPoolExecutor(workers) as pool:
        queue, block = deque(pool.submit(work, chunk) for chunk in islice(chunks, 4 * workers)), []
        while queue:
            block.append(queue.popleft().result())
            queue.extend(pool.submit(work, chunk) for chunk in islice(chunks, 1))
            bar.update(len(block[-1]))
            if sum(part.nbytes for part in block) >= _BLOCK_BYTES or not queue:
                yield np.concatenate(block)
                block = []


def headers(paths: list[Path], workers: int) -> list[PngHeader]:
    """The headers of many files, read in threads."""
    some = [paths[i : i + 256] for i in range(0, len(paths), 256)]  # a future per image would be most of the memory
    with ThreadPoolExecutor(workers) as pool:
        return [header for part in pool.map(lambda part: [png_header(path) for path in part], some) for header in part]


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
