"""From the memory-mapped store to augmented batches on the device, without worker processes."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1024  # rows per copy when a set moves to the device: bounded memory on the way


class Batches:
    """Batches of uint8 radiographs on a device.

    On CUDA the chosen rows live on the device when they take less than ``resident`` of its free memory (112,120
    radiographs at 224 px are 5.6 GB); otherwise, and on the CPU, a thread reads the next batch from the memory map
    while the current one is in use, through pinned memory where that speeds the copy.

    Parameters
    ----------
    pixels : ndarray, shape (N, H, W), uint8, or (N, F), float
        As in :class:`cmdml.RadiographSet`, usually a memory map; or features, which always lie on the device.
    rows : ndarray, shape (M,), int
        The rows of ``pixels`` that batches may draw from; batches name them by position 0…M-1.
    device : torch.device
    resident : float, in [0, 1]
        Share of the free device memory the set may take; 0 = always stream.
    """

    def __init__(self, pixels: np.ndarray, rows: np.ndarray, device: torch.device, resident: float = 0.5):
        self.pixels, self.rows, self.device = pixels, np.asarray(rows), torch.device(device)
        self.store = None
        if pixels.ndim == 2:  # features: small enough to lie in memory
            self.store = torch.from_numpy(np.ascontiguousarray(pixels[self.rows])).to(self.device)
            return
        n_bytes = len(self.rows) * pixels[0].size
        if self.device.type == "cuda" and n_bytes < resident * torch.cuda.mem_get_info(self.device)[0]:
            self.store = torch.empty((len(self.rows), *pixels.shape[1:]), dtype=torch.uint8, device=self.device)
            for start in range(0, len(self.rows), CHUNK):
                chunk = pixels[self.rows[start : start + CHUNK]]
                self.store[start : start + len(chunk)] = torch.from_numpy(chunk)

    def __len__(self) -> int:
        return len(self.rows)

    def iterate(self, positions: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield ``(positions (B,), images (B, 1, H, W) uint8)`` on the device, in the order given.

        All batches are of nearly one size, at most ``batch_size``: a last batch of one would break batch normalisation.
        """
        if not len(positions):
            return
        if self.store is not None:
            positions = positions.to(self.device)  # once: a copy per batch would make the loop wait for it
        parts = positions.tensor_split(-(-len(positions) // batch_size))
        if self.store is not None:
            for part in parts:
                yield part, self.store[part] if self.store.ndim == 2 else self.store[part].unsqueeze(1)
            return
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._read, parts[0])
            for k, part in enumerate(parts):
                images = ahead.result()
                if k + 1 < len(parts):
                    ahead = reader.submit(self._read, parts[k + 1])
                yield part.to(self.device, non_blocking=True), images.to(self.device, non_blocking=True)

    def _read(self, part: Tensor) -> Tensor:
        images = torch.from_numpy(self.pixels[self.rows[part.numpy()]]).unsqueeze(1)
        return images.pin_memory() if self.device.type == "cuda" else images


def augment(images: Tensor, *, crop: float = 0.8, degrees: float = 7.0, contrast: float = 0.2) -> Tensor:
    """One random crop, rotation, brightness and contrast per radiograph, for a whole batch at once.

    A single affine resampling does crop, shift and rotation. There is no horizontal flip: it would move the heart to
    the right and the stomach bubble with it, anatomy that no radiograph of the data shows.

    Parameters
    ----------
    images : Tensor, shape (B, 1, H, W), uint8
    crop : float, in (0, 1]
        The crop keeps a side of ``crop``…1 of the film, drawn per image.
    degrees : float
        Rotations are drawn from ±degrees.
    contrast : float, in [0, 1)
        Contrast factors and brightness shifts are drawn from 1 ± contrast and ± contrast / 2.

    Returns
    -------
    Tensor, shape (B, 1, H, W), float32 in [0, 1]

    Notes
    -----
    Draws from torch's global generator of the device, which :func:`cmdml.training.fit` seeds per epoch.
    """
    n, _, height, width = images.shape
    uniform = torch.rand(6, n, device=images.device)
    scale = crop + (1 - crop) * uniform[0]
    angle = (2 * uniform[1] - 1) * math.radians(degrees)
    shift = (2 * uniform[2:4] - 1) * (1 - scale)  # (2, B); a crop of side `scale` may move this far
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)  # (B,)
    # An affine map of a grid is a term per column plus a term per row. F.affine_grid, which multiplies every pixel's
    # coordinates by a matrix, takes longer than all the rest of this function.
    x = (2 * torch.arange(width, device=images.device) + 1) / width - 1  # pixel centres in [-1, 1]
    y = (2 * torch.arange(height, device=images.device) + 1) / height - 1
    along = torch.stack([cos, sin])[..., None] * x + shift[..., None]  # (2, B, W)
    down = torch.stack([-sin, cos])[..., None] * y  # (2, B, H)
    grid = (along[:, :, None, :] + down[..., None]).permute(1, 2, 3, 0)  # (B, H, W, 2)
    images = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    factor = 1 + contrast * (2 * uniform[4] - 1)
    offset = 0.5 * contrast * (2 * uniform[5] - 1) + 0.5 - 0.5 * factor  # contrast turns about mid-grey
    return images.mul_((factor / 255).view(n, 1, 1, 1)).add_(offset.view(n, 1, 1, 1)).clamp_(0, 1)
