"""Input pipeline: our batches from the memory-mapped store against decoding PNG files in a DataLoader.

    python benchmarks/input_pipeline.py --root <folder of PNG files> --source-size 1024

The other way is the usual one: PIL decode, RandomResizedCrop(224), horizontal flip, ToTensor, Normalize, in a
DataLoader with 2 workers. Both end in the same thing: augmented, normalised float32 batches of the same radiographs on
the device. Without ``--root``, phantom radiographs of ``--source-size`` px are drawn and saved as PNG first. Preparing
the store (decode and shrink once) is not part of an epoch; benchmarks/prepare.py measures it.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timing import arguments, measure, report
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from cmdml.batches import Batches, augment
from cmdml.extractors import GREY_MEAN, GREY_STD
from cmdml.sources import phantom

SIZE, BATCH = 224, 32


class Files(Dataset):
    """One PNG file at a time, as most public training code reads them."""

    def __init__(self, files):
        self.files = files
        self.transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(SIZE, scale=(0.64, 1.0), ratio=(1.0, 1.0)),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([GREY_MEAN] * 3, [GREY_STD] * 3),
            ]
        )

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        return self.transform(Image.open(self.files[i]).convert("RGB"))


def main():
    args = arguments(__doc__, root="", source_size=1024, images=256)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        if not args.root:
            drawn = phantom.prepare(
                Path(folder) / "set", size=args.source_size, images=min(args.images, 64), progress=False
            )
            for i, pixels in enumerate(drawn.pixels):
                Image.fromarray(pixels).save(Path(folder) / f"{i:05d}.png")
        found = sorted(Path(args.root or folder).rglob("*.png"))
        files = [found[i % len(found)] for i in range(args.images)]  # the page cache is warm for both
        shrink = [np.asarray(Image.open(f).convert("L").resize((SIZE, SIZE), Image.Resampling.BOX)) for f in found]
        pixels = np.stack([shrink[i % len(found)] for i in range(args.images)])
        np.save(Path(folder) / "pixels.npy", pixels)
        batches = Batches(np.load(Path(folder) / "pixels.npy", mmap_mode="r"), np.arange(args.images), device)
        loader = DataLoader(Files(files), BATCH, shuffle=True, num_workers=2, persistent_workers=True)

        def store():
            for _, images in batches.iterate(torch.randperm(args.images), BATCH):
                last = (augment(images) - GREY_MEAN) / GREY_STD
            return last.sum().item()  # waits for the device

        def png():
            for images in loader:
                last = images.to(device)
            return last.sum().item()

        rows = measure({"memory-mapped store": store, "PNG, DataLoader, 2 workers": png}, args.repeats, args.images)
    about = {
        "repeats": args.repeats,
        "images": args.images,
        "files": len(found),
        "source": args.root and "folder" or "phantom",
    }
    report(
        f"input_pipeline_{args.source_size}px",
        rows,
        args.out,
        **about,
        source_size=args.source_size,
        device=device.type,
    )


if __name__ == "__main__":
    main()
