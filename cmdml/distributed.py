"""One training over several processes, on one machine or many: each takes its part of every batch.

All processes draw the same order and the same augmentation; process r works on part r of the batch, gradients are
averaged, and batch normalisation sees the statistics of the whole batch. So losses and weights are those of one
process, to rounding, but for dropout, of which every process draws its own masks. ``python -m torch.distributed.run``
starts the processes (:mod:`cmdml.launch`); :func:`cmdml.training.fit` finds itself among them by their environment.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


@dataclass(frozen=True)
class Team:
    """The processes of one training: this one is number ``rank`` of ``size``; alone, it does everything."""

    rank: int = 0
    size: int = 1

    def part(self, n: int) -> slice:
        """Which of ``n`` images of a batch are this process's: the parts differ by one at most."""
        bounds = [n * r // self.size for r in (self.rank, self.rank + 1)]
        return slice(*bounds)

    def weight(self, n: int) -> float:
        """What a mean over this process's part counts for, so that the mean over processes is that of the batch."""
        mine = self.part(n)
        return (mine.stop - mine.start) * self.size / n

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.size
        return values

    def average_gradients(self, module: nn.Module) -> None:
        """The mean over processes of the gradients of a module that is not wrapped: the objective's own parameters."""
        for parameter in module.parameters() if self.size > 1 else ():
            if parameter.grad is not None:
                parameter.grad = self.mean(parameter.grad)

    def wait(self) -> None:
        """Until all processes have come this far."""
        if self.size > 1:
            dist.barrier()

    @contextmanager
    def first(self):
        """A block that the first process runs before the others."""
        if self.rank:
            self.wait()
        yield
        if not self.rank:
            self.wait()


ALONE = Team()


def join(accelerator: str = "auto", patience: timedelta | None = None) -> Team:
    """This process's place among those that ``torch.distributed.run`` started; it waits until all are there.

    ``patience`` : how long one waits for another before it gives up; None = torch's own, half an hour or less.
    """
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        return ALONE
    if not dist.is_initialized():
        dist.init_process_group(
            "nccl" if accelerator != "cpu" and torch.cuda.is_available() else "gloo", timeout=patience
        )
    return Team(dist.get_rank(), size)


def fabric_of(accelerator: str, precision: str, team: Team) -> Fabric:
    """Fabric for one process, or for this one of several."""
    if team.size == 1:
        # One for all trainings of a process, but where it holds a scaler that follows the gradients of one.
        return (_fabric if precision == "16-mixed" else _shared_fabric)(accelerator, precision)
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    places = {"devices": here, "num_nodes": team.size // here}
    fabric = Fabric(accelerator=accelerator, strategy="ddp", precision=precision, **places)
    fabric.launch()
    return fabric


def _fabric(accelerator: str, precision: str) -> Fabric:
    """Fabric reads what all installed packages offer, each time that it is made."""
    return Fabric(accelerator=accelerator, devices=1, precision=precision)


_shared_fabric = cache(_fabric)


class WholeBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the parts of all processes; alone or in evaluation, the ordinary one.

    With n images of H × W in all processes, mean = Σx / nHW and variance = Σx² / nHW - mean², per channel; sums travel,
    so parts may differ in size. ``torch.nn.SyncBatchNorm`` does the same, but refuses a CPU.
    """

    def forward(self, images: Tensor) -> Tensor:
        if not (self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(images)
        double = {"dtype": torch.float64}  # mean² is taken from Σx² / n
        count = images.new_tensor([images.numel() / images.shape[1]], **double)
        sums = torch.cat([images.sum((0, 2, 3), **double), images.square().sum((0, 2, 3), **double), count])
        total, squares, count = all_reduce(sums).tensor_split([images.shape[1], 2 * images.shape[1]])
        mean = total / count
        variance = squares / count - mean.square()
        with torch.no_grad():
            self.num_batches_tracked += 1
            unbiased = variance * count / (count - 1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return images * scale.to(images.dtype)[:, None, None] + shift.to(images.dtype)[:, None, None]


def over_the_whole_batch(model: nn.Module) -> nn.Module:
    """Turn every ``BatchNorm2d`` of a model into :class:`WholeBatchNorm2d`, in place; names and values stay."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = WholeBatchNorm2d
    return model
