"""Batches hold what was asked for, in order; augmentation is per image, bounded and seeded."""

import numpy as np
import pytest
import torch

from cmdml.batches import Batches, augment

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 16, 16), dtype=np.uint8)
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("resident", [0.0, 0.5])
def test_batches_are_the_rows_in_the_order_asked(device, resident):
    rows = np.array([3, 5, 8, 13, 1, 2, 7])
    batches = Batches(PIXELS, rows, torch.device(device), resident)
    order = torch.tensor([6, 0, 2, 4, 1])
    seen = list(batches.iterate(order, 2))
    assert [len(images) for _, images in seen] == [2, 2, 1]
    assert torch.cat([positions.cpu() for positions, _ in seen]).tolist() == order.tolist()
    images = torch.cat([images.cpu() for _, images in seen])
    assert images.dtype == torch.uint8 and images.shape == (5, 1, 16, 16)
    np.testing.assert_array_equal(images[:, 0].numpy(), PIXELS[rows[order.numpy()]])


def test_no_batch_of_one_is_left_over():
    sizes = [len(rows) for rows, _ in Batches(PIXELS, np.arange(17), torch.device("cpu")).iterate(torch.arange(17), 8)]
    assert sizes == [6, 6, 5]


def test_no_rows_no_batches():
    assert list(Batches(PIXELS, np.array([], dtype=int), torch.device("cpu")).iterate(torch.arange(0), 4)) == []


def test_augmentation_that_may_change_nothing_changes_nothing():
    images = torch.from_numpy(PIXELS).unsqueeze(1)
    torch.testing.assert_close(augment(images, crop=1.0, degrees=0.0, contrast=0.0), images / 255, atol=1e-5, rtol=0)


def test_augmentation_is_seeded_per_image_and_bounded():
    images = torch.from_numpy(PIXELS[:1]).unsqueeze(1).expand(8, -1, -1, -1)
    torch.manual_seed(1)
    first = augment(images)
    torch.manual_seed(1)
    assert torch.equal(first, augment(images))
    assert first.min() >= 0 and first.max() <= 1 and first.shape == (8, 1, 16, 16)
    assert len({float(x.sum()) for x in first}) == 8  # each of the eight copies was changed in its own way


def test_turned_and_shifted_like_the_affine_grid_of_torch():
    """The same draws through torch's own affine_grid and the plain formula of contrast."""
    images = torch.from_numpy(PIXELS).unsqueeze(1)
    torch.manual_seed(3)
    ours = augment(images, crop=0.7, degrees=20, contrast=0.3)
    torch.manual_seed(3)
    u = torch.rand(6, len(images))
    scale, angle = 0.7 + 0.3 * u[0], (2 * u[1] - 1) * np.deg2rad(20)
    shift = (2 * u[2:4] - 1) * (1 - scale)
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    theta = torch.stack([torch.stack([cos, -sin, shift[0]], 1), torch.stack([sin, cos, shift[1]], 1)], 1)
    grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    turned = torch.nn.functional.grid_sample(images / 255, grid, padding_mode="border", align_corners=False)
    factor, offset = (1 + 0.3 * (2 * u[4] - 1)).view(-1, 1, 1, 1), (0.15 * (2 * u[5] - 1)).view(-1, 1, 1, 1)
    torch.testing.assert_close(ours, ((turned - 0.5) * factor + 0.5 + offset).clamp(0, 1), atol=1e-5, rtol=0)


def test_left_stays_left():
    """A bright left half stays brighter than the right: the heart never changes sides."""
    images = torch.zeros(64, 1, 32, 32, dtype=torch.uint8)
    images[..., :16] = 255
    out = augment(images)
    assert (out[..., :16].mean((1, 2, 3)) > out[..., 16:].mean((1, 2, 3))).all()


def test_crop_magnifies_at_most_as_far_as_allowed():
    """A centred disc of known area grows by at most 1 / crop²."""
    y, x = np.mgrid[:64, :64] - 31.5
    images = torch.from_numpy(((y**2 + x**2 < 12**2) * 255).astype(np.uint8)).expand(64, 1, 64, 64)
    area = (augment(images, crop=0.7, degrees=0, contrast=0) > 0.5).float().sum((1, 2, 3)) / (images > 127).float().sum(
        (1, 2, 3)
    )
    assert area.max() <= 1.05 / 0.7**2 and area.min() >= 0.95 and area.std() > 0.05


@pytest.mark.parametrize("n, sizes", [(16, [8, 8]), (8, [8]), (7, [7]), (24, [8, 8, 8])])
def test_batches_are_as_large_as_asked_where_that_divides_the_films(n, sizes):
    batches = Batches(PIXELS, np.arange(n) % len(PIXELS), torch.device("cpu")).iterate(torch.arange(n), 8)
    assert [len(rows) for rows, _ in batches] == sizes
