"""Loss, forward and backward: vectorised against a walk over images and findings, for 14, 200 and 5,000 findings.

    python benchmarks/loss.py

The walk costs the same for every pair, so above ``--walk-pairs`` pairs it runs on the first images of the batch only
and its time is scaled.
"""

import torch
from timing import arguments, measure, report

from cmdml.loss import log1mexp, squared_distance, weighted_focused_euclidean

DIM = 128


def walk(visual, semantic, labels, gamma=2.0, alpha=0.75, tau=1.0):
    """The loss of one image and one finding after the other."""
    total = visual.new_zeros(())
    for v, row in zip(visual, labels, strict=True):
        for s, present in zip(semantic, row.tolist(), strict=True):
            x = ((v - s) ** 2).sum() / tau
            p = torch.exp(-x)
            total = total + (alpha * (1 - p) ** gamma * x if present else (1 - alpha) * p**gamma * log1mexp(x))
    return total / len(visual)


def main():
    args = arguments(__doc__, batch=256, walk_pairs=4096)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = []
    for count in (14, 200, 5000):
        generator = torch.Generator().manual_seed(0)
        v = torch.nn.functional.normalize(torch.randn(args.batch, DIM, generator=generator)).to(device).requires_grad_()
        s = torch.nn.functional.normalize(torch.randn(count, DIM, generator=generator)).to(device).requires_grad_()
        labels = (torch.rand(args.batch, count, generator=generator) < 0.1).float().to(device)
        few = max(1, min(args.batch, args.walk_pairs // count))

        def ours(v=v, s=s, labels=labels):
            v.grad = s.grad = None
            weighted_focused_euclidean(squared_distance(v, s), labels)["total"].backward()
            v.grad.sum().item()

        def loop(v=v, s=s, labels=labels, few=few):
            v.grad = s.grad = None
            walk(v[:few], s, labels[:few]).backward()
            v.grad.sum().item()

        fast, slow = measure({"vectorised": ours, "walk": loop}, args.repeats)
        for key in ("seconds", "fastest", "slowest"):
            slow[key] *= args.batch / few
        slow["per_second"] /= args.batch / few
        fast["ratio"] *= args.batch / few
        # Least work of the product and its two gradients, and its share of what this machine's matrix product reaches.
        flops = 6 * args.batch * count * DIM
        rows += [
            {"findings": count, **fast, "gflops": flops / fast["seconds"] / 1e9},
            {"findings": count, **slow, "walked_images": few},
        ]
    report("loss", rows, args.out, repeats=args.repeats, batch=args.batch, dim=DIM, device=device.type)


if __name__ == "__main__":
    main()
