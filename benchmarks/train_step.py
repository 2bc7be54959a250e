"""One training step: ours against a plain float32 NCHW loop with a per-image ranking loss; same backbone, same batch.

    python benchmarks/train_step.py --backbone densenet121 --size 224 --batch 16

Ours: uint8 in, augmentation on the device, one-channel stem, channels-last, fused AdamW, vectorised focused loss;
bfloat16 autocast on CUDA; on a CPU it is shown but not the default, because it pays only where the processor computes
in it. The plain loop: three equal channels, default memory format, float32, Adam, and a ranking loss that walks over
images and over pairs of a positive and a negative label, as the public code of the peers does.
"""

import torch
from lightning_fabric import Fabric
from timing import arguments, measure, report
from torch import nn
from torchvision.models import get_model

from cmdml.batches import augment
from cmdml.loss import WeightedFocusedEuclideanLoss
from cmdml.model import CMDML


class Plain(nn.Module):
    """The backbone with its head replaced by a projection to the space of the findings."""

    def __init__(self, backbone, vectors):
        super().__init__()
        self.net = get_model(backbone, weights=None, num_classes=128)
        self.text = nn.Linear(vectors.shape[1], 128)
        self.register_buffer("vectors", vectors)

    def forward(self, images):
        visual = nn.functional.normalize(self.net(images), dim=1)
        return visual @ nn.functional.normalize(self.text(self.vectors), dim=1).T


def ranking_per_image(scores, labels, margin=0.5):
    """Hinge of every positive against every negative label of an image, one image after the other."""
    total = scores.new_zeros(())
    for i in range(len(scores)):
        positive, negative = scores[i][labels[i] == 1], scores[i][labels[i] == 0]
        pairs = scores.new_zeros(())
        for p in positive:
            pairs = pairs + (margin - p + negative).clamp_min(0).sum()
        total = total + pairs / max(1, len(positive) * len(negative))
    return total / len(scores)


def main():
    args = arguments(__doc__, backbone="densenet121", size=224, batch=16, steps=1)
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    torch.manual_seed(0)
    images = torch.randint(0, 256, (args.batch, 1, args.size, args.size), dtype=torch.uint8, device=device)
    labels = (torch.rand(args.batch, 10, device=device) < 0.15).float()
    vectors = nn.functional.normalize(torch.randn(10, 384))

    def stepper(precision):
        fabric = Fabric(accelerator=device.type, devices=1, precision=precision)
        model = CMDML(vectors, backbone=args.backbone)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        model, optimizer = fabric.setup(model, optimizer)
        loss = WeightedFocusedEuclideanLoss()

        def steps():
            for _ in range(args.steps):
                fabric.backward(loss(*model(augment(images)), labels)["total"])
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            next(model.parameters()).sum().item()

        return steps

    plain = Plain(args.backbone, vectors).to(device)
    adam = torch.optim.Adam(plain.parameters(), lr=1e-4)

    def plain_steps():
        for _ in range(args.steps):
            colour = images.float().div(255).expand(-1, 3, -1, -1).contiguous()
            adam.zero_grad()
            ranking_per_image(plain(colour), labels).backward()
            adam.step()
        next(plain.parameters()).sum().item()

    methods = {"ours, bfloat16": stepper("bf16-mixed"), "ours, float32": stepper("32-true")}
    methods["plain float32 loop"] = plain_steps
    rows = measure(methods, args.repeats, args.batch * args.steps)
    if cuda:
        rows[0]["peak_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
    about = {name: getattr(args, name) for name in ("backbone", "size", "batch", "steps")}
    about |= {"repeats": args.repeats, "device": torch.cuda.get_device_name() if cuda else "cpu"}
    report(f"train_step_{device.type}", rows, args.out, **about)


if __name__ == "__main__":
    main()
