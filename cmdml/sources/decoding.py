"""Image files to pixels: one radiograph, or many in parallel."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

# Threads, not processes: Pillow releases the GIL while it decodes and resizes, and forking a notebook that has used
# torch is not safe.
_CHUNK, _BLOCK_BYTES = 16, 1 << 22  # images per task; bytes held before they are written


def decode(path: Path, size: int) -> np.ndarray:
    """One radiograph as (size, size) uint8, box-filtered; ValueError naming the file if it is not a grey image."""
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image ({error}); fetch it again or take it away") from error
    if image.mode in ("1", "P"):
        image = image.convert("RGB")
    if image.mode in ("RGB", "RGBA", "LA"):  # some NIH files are RGBA with three equal channels
        grey, *others = image.split()
        if image.mode != "LA" and any(other.tobytes() != grey.tobytes() for other in others[:2]):
            raise ValueError(f"{path} is a colour image, not a radiograph; take it away or save it in grey")
        image = grey
    if image.mode != "L":
        raise ValueError(f"{path}: expected an 8-bit grey PNG, got Pillow mode {image.mode}; convert it to 8 bits")
    if image.width == image.height and image.width % size == 0:
        return np.asarray(image.reduce(image.width // size))  # the same filter, without resampling arithmetic
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def decode_blocks(paths: list[Path], start: int, size: int, workers: int, progress: bool) -> Iterator[np.ndarray]:
    """Yield (n, size, size) uint8, paths[start:] in order, decoded in threads with a bounded number in flight."""
    chunks = (paths[i : i + _CHUNK] for i in range(start, len(paths), _CHUNK))

    def work(chunk):
        return np.stack([decode(path, size) for path in chunk])

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


def png_pixels(path: Path) -> int:
    """The smaller side, from the header alone: what is no PNG is found before hours of decoding."""
    with open(path, "rb") as file:
        head = file.read(24)
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"{path} is not a PNG image; fetch it again or take it away")
    return min(int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"))


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
