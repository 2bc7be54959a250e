"""Training: one configuration in, one run folder out, or the same in memory."""

import math
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cmdml.batches import Batches
from cmdml.checkpoint import load_checkpoint, save_checkpoint
from cmdml.config import TrainConfig
from cmdml.distributed import ALONE, Team, fabric_of, join, over_the_whole_batch
from cmdml.files import SEAL, naming
from cmdml.model import CMDML
from cmdml.objectives import OBJECTIVES, USES
from cmdml.optimisation import optimizer_of, train_epoch, trained_parts
from cmdml.radiographs import Partition
from cmdml.run_folder import TrainedRun, build_model, claim, load_run, save_run
from cmdml.selection import NOTHING_TO_CHOOSE_BY, both_kinds, seen_validation_auroc
from cmdml.writing import only_writer

__all__ = ["TrainConfig", "TrainedRun", "build_model", "embed", "fit", "load_run", "seen_validation_auroc"]

LINE_EVERY = 20  # seconds between the lines that a long training prints
STD_FLOOR = 1e-6  # a feature that never varies is not blown up


@torch.no_grad()
def embed(module, objective, batches: Batches, batch_size: int = 256) -> dict[str, np.ndarray]:
    """``visual`` (M, D), ``semantic`` (C, D) and ``scores`` (M, C), float32, of all radiographs of ``batches``."""
    module.eval()
    visual = []
    for _, images in batches.iterate(torch.arange(len(batches)), batch_size):
        v, semantic = module(images)
        visual.append(v)
    visual = torch.cat(visual)
    scores = objective.score(visual, semantic)
    return {"visual": visual.cpu().numpy(), "semantic": semantic.cpu().numpy(), "scores": scores.cpu().numpy()}


def fit(
    partition: Partition,
    vectors: Tensor,
    config: TrainConfig,
    out: str | Path | None = None,
    *,
    progress: bool = True,
    accelerator="auto",
    start: Callable[[CMDML], object] | None = None,
) -> TrainedRun:
    """Train on the seen findings and embed the validation and test radiographs.

    AdamW, with decay on matrices only; the rate rises for ``warmup_epochs``, then falls as a cosine
    (``cmdml.optimisation``). Order, augmentation and dropout follow from seed and epoch alone.

    Parameters
    ----------
    partition : Partition
        The GZSL partition; only labels of seen findings are read, in train and val. With ``tune="frozen"`` its
        "radiographs" are features (N, F), scaled by mean and standard deviation of the training rows.
    vectors : Tensor, shape (C, E)
        The fixed semantic vector of every finding, in the order of ``partition.findings.keys``.
    config : TrainConfig
    out : path, optional
        Run folder. A finished run of the same configuration is loaded; an interrupted one continues after its last
        whole epoch and ends, on the CPU, bit-identical to one that was never interrupted. Without it, training stays in
        memory and shows no progress.
    progress : show a bar, if there is a folder.
    accelerator : Fabric's: "auto", "cpu", "cuda".
    start : gives the untrained model other weights, in place; in memory only, since no configuration tells it.

    Returns
    -------
    TrainedRun

    Raises
    ------
    ValueError
        If ``out`` holds a run of another configuration or a damaged one, ``config.tune`` does not fit the data, or
        the loss or a validation score is no longer finite, or validation has no seen finding to choose an epoch by.
    OSError
        No space, no permission, or another process trains in ``out``; the sentence names path and process.
    """
    _check_data(partition, config)
    if out is None:
        return _in_memory(_Training(partition, vectors, config, accelerator), start)
    if start:
        raise ValueError("start is for trainings in memory: leave `out` away")
    out, team = Path(out), join(accelerator)
    partition.radiographs.verify()  # nobody changed what is about to be learnt
    if (out / SEAL).exists():
        claim(out, partition, vectors, config)
        (out / "checkpoint.safetensors").unlink(missing_ok=True)  # of one that was killed just after its last write
        return load_run(out)
    with naming(out), nullcontext() if team.rank else only_writer(out):
        with team.first():  # one process claims the folder, the others see that it is theirs
            run = claim(out, partition, vectors, config)
        if not (out / SEAL).exists():  # else another finished it since we looked
            _train(out, run, _Training(partition, vectors, config, accelerator, team), team, progress)
    return load_run(out)


def _train(out: Path, run: str, kept: "_Training", team: Team, progress: bool) -> None:
    """From the checkpoint, if there is one, to the sealed folder; only the first process writes."""
    checkpoint = out / "checkpoint.safetensors"
    if checkpoint.exists():
        kept.state = load_checkpoint(checkpoint, kept.parts, run)
    team.wait()  # all have read it before the first writes the next
    try:
        kept.run(lambda: team.rank or save_checkpoint(checkpoint, kept.state, kept.parts, run),
                 progress and not team.rank)  # fmt: skip
    except ValueError:  # it diverged: a checkpoint of it would only diverge again
        checkpoint.unlink(missing_ok=True)
        raise
    made = pd.DataFrame(kept.state["history"]), kept.embeddings(), kept.state["learnt"]
    if not team.rank:
        save_run(out, kept.state["weights"], *made)
        checkpoint.unlink(missing_ok=True)
    team.wait()


def _in_memory(kept: "_Training", start) -> TrainedRun:
    if start:
        start(kept.model)
    kept.run(lambda: None)
    return TrainedRun(kept.model.eval(), pd.DataFrame(kept.state["history"]), kept.embeddings(), None)


class _Training:
    """Everything that one training holds while it runs; ``state`` and ``parts`` are what a checkpoint keeps."""

    def __init__(self, partition: Partition, vectors: Tensor, config: TrainConfig, accelerator: str, team=ALONE):
        self.partition, self.config, self.seen, self.team = partition, config, partition.findings.seen_index, team
        data, auto = partition.radiographs, "32-true"
        if accelerator != "cpu" and torch.cuda.is_available():
            auto = "bf16-mixed"
        precision = auto if config.precision == "auto" else config.precision
        self.fabric = fabric_of(accelerator, precision, team)
        self.train = Batches(data.pixels, partition.train, self.fabric.device)
        self.val = Batches(data.pixels, partition.val, self.fabric.device)
        torch.manual_seed(config.seed)
        frozen = config.tune == "frozen"
        self.model = build_model(config, vectors, data.pixels.shape[1] if frozen else None)
        if frozen:
            _standardize(self.model.visual_extractor, self.train.store)
        trained_parts(self.model, config.tune)
        if team.size > 1:
            over_the_whole_batch(self.model)
        self.objective = OBJECTIVES[config.objective](config, vectors[self.seen]).to(self.fabric.device)
        optimizer = optimizer_of(self.model, self.objective, config)
        compiled = torch.compile(self.model) if config.compile else self.model
        self.module, self.optimizer = self.fabric.setup(compiled, optimizer)
        self.parts = {"model": self.model, "objective": self.objective, "optimizer": self.optimizer}
        labels = torch.from_numpy(data.labels[:, self.seen].astype(np.float32))
        self.labels, self.val_labels = labels[partition.train].to(self.fabric.device), labels[partition.val].numpy()
        self.state = {"epoch": 0, "history": [], "best": -1.0, "best_epoch": -1, "weights": None, "learnt": {}}

    def run(self, save, progress: bool = False) -> None:
        """The epochs that are left; ``save()`` after each. The best weights are in the model at the end."""
        config, state, steps = self.config, self.state, math.ceil(len(self.train) / self.config.batch_size)
        bar = tqdm(total=config.epochs * steps, initial=state["epoch"] * steps, unit="step", desc="training",
                   disable=not progress)  # fmt: skip

        def tick(done, loss):
            bar.update(done - bar.n)
            bar.set_postfix(epoch=state["epoch"] + 1, loss=f"{loss:.3f}", refresh=False)

        said = time.monotonic()
        for epoch in range(state["epoch"], config.epochs):
            if config.patience and epoch - 1 - state["best_epoch"] >= config.patience:
                break  # asked before an epoch, not after: a resumed run that had stopped stays stopped
            self.epoch(epoch, steps, tick if progress else None)
            save()
            if progress and time.monotonic() - said >= LINE_EVERY:
                said = time.monotonic()
                tqdm.write(self.line(), sys.stdout)  # not the bar's stream: `make study` shows it
                sys.stdout.flush()
        bar.close()
        self.model.load_state_dict(state["weights"])  # the objective stays as it is: no score reads what it learnt

    def line(self) -> str:
        """Where the training stands, in a line."""
        last = self.state["history"][-1]
        return (f"epoch {last['epoch']} of {self.config.epochs}: loss {last['loss']:.3f}, seen validation AUROC "
                f"{last['val_seen_auroc']:.3f}, {last['seconds']:.0f} s")  # fmt: skip

    def epoch(self, epoch: int, steps: int, tick=None) -> None:
        """Train, validate on seen findings, and note both."""
        state, start = self.state, time.perf_counter()
        mean = train_epoch(self.module, self.objective, self.optimizer, self.train, self.labels, self.seen, epoch,
                           self.config, backward=self.fabric.backward, tick=tick, team=self.team)  # fmt: skip
        _check_loss(mean["total"], epoch, self.config)
        scores = embed(self.module, self.objective, self.val)["scores"][:, self.seen]
        auroc = seen_validation_auroc(self.val_labels, scores)
        if not math.isfinite(auroc):
            raise ValueError(
                f"after epoch {epoch + 1} some scores of validation films are no numbers: lower lr ({self.config.lr})"
            )
        row = {"epoch": epoch + 1, "step": (epoch + 1) * steps, "seconds": time.perf_counter() - start}
        row |= {"lr": mean.pop("lr"), "loss": mean.pop("total")} | {f"loss_{name}": mean[name] for name in mean}
        state["history"].append(row | {"val_seen_auroc": auroc})
        state["epoch"] = epoch + 1
        if auroc > state["best"]:
            learnt = self.objective.learnt() if hasattr(self.objective, "learnt") else {}
            state |= {"best": auroc, "best_epoch": epoch, "weights": _cpu_copy(self.model), "learnt": learnt}

    def embeddings(self) -> dict[str, np.ndarray]:
        """``index``, the rows of validation and test, and what :func:`embed` makes of them."""
        index = np.concatenate([self.partition.val, self.partition.test]).astype(np.int64)
        rows = Batches(self.partition.radiographs.pixels, index, self.fabric.device)
        return {"index": index} | embed(self.module, self.objective, rows)


def _check_data(partition: Partition, config: TrainConfig) -> None:
    """Images for an extractor that is trained, features for one that is not; labels to choose an epoch by."""
    data, frozen = partition.radiographs, config.tune == "frozen"
    if frozen != (data.pixels.ndim == 2):
        held = "features" if data.pixels.ndim == 2 else "images"
        way_out = "extract features first (cmdml.features.extract)" if frozen else "set tune to frozen"
        raise ValueError(f"{data.folder} holds {held}, tune is {config.tune!r}: {way_out}")
    labels = data.labels[partition.val][:, partition.findings.seen_index]
    if not both_kinds(labels[labels.any(1)]):
        raise ValueError(f"{data.folder}: {NOTHING_TO_CHOOSE_BY}")


def _check_loss(loss: float, epoch: int, config: TrainConfig) -> None:
    if not math.isfinite(loss):
        way_out = f"lower lr ({config.lr})"
        if "tau" in USES[config.objective]:
            way_out += f" or raise tau ({config.tau})"
        raise ValueError(f"the loss became {loss} in epoch {epoch + 1}: {way_out}")


def _standardize(frozen: nn.Module, features: Tensor) -> None:
    """Scale by the training rows (N, F): nothing is learnt from validation or test."""
    features = features.double()
    frozen.mean.copy_(features.mean(0))
    frozen.std.copy_(features.std(0, correction=0).clamp_min(STD_FLOOR))


def _cpu_copy(model) -> dict[str, Tensor]:
    # safetensors stores plain layouts only; the model's convolutions are channels-last
    return {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in model.state_dict().items()}
