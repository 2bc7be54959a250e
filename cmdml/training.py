"""Training: one configuration in, one run directory out."""

import dataclasses
import hashlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor
from tqdm.auto import tqdm

from cmdml.batches import Batches, augment
from cmdml.config import TrainConfig
from cmdml.files import write_whole
from cmdml.model import CMDML
from cmdml.objectives import OBJECTIVES
from cmdml.radiographs import Partition

__all__ = ["TrainConfig", "TrainedRun", "build_model", "embed", "fit", "load_run", "seen_validation_auroc"]


@dataclass(frozen=True)
class TrainedRun:
    """What :func:`fit` leaves behind: the best model, the history per epoch and the embeddings of val and test."""

    model: CMDML
    history: pd.DataFrame
    embeddings: dict[str, np.ndarray]
    out: Path


def build_model(config: TrainConfig, vectors: Tensor) -> CMDML:
    """The untrained model of a configuration."""
    names = ("backbone", "weights", "direction", "dim", "hidden", "dropout", "normalize")
    return CMDML(vectors, **{name: getattr(config, name) for name in names})


def seen_validation_auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean AUROC over the seen findings, among images that show at least one of them; the criterion of model selection.

    Parameters
    ----------
    labels, scores : ndarray, shape (N, S)
        Seen findings only: an unseen label never enters. A finding without positives or negatives is left out.
    """
    abnormal = labels.any(1)
    labels, scores = labels[abnormal], scores[abnormal]
    defined = [c for c in range(labels.shape[1]) if 0 < labels[:, c].sum() < len(labels)]
    if not defined:
        raise ValueError(
            "no seen finding has both positive and negative validation images: use a larger validation split"
        )
    return float(np.mean([roc_auc_score(labels[:, c], scores[:, c]) for c in defined]))


def fit(
    partition: Partition,
    vectors: Tensor,
    config: TrainConfig,
    out: str | Path,
    *,
    progress: bool = True,
    accelerator="auto",
) -> TrainedRun:
    """Train on the seen findings and embed the validation and test radiographs.

    Parameters
    ----------
    partition : Partition
        The GZSL partition; only labels of seen findings are read, in train and val.
    vectors : Tensor, shape (C, E)
        The fixed semantic vector of every finding, in the order of ``partition.findings.keys``.
    config : TrainConfig
    out : path
        Run directory. A finished run of the same configuration is loaded; an interrupted one continues after its last
        whole epoch and ends, on the CPU, bit-identical to one that was never interrupted.

    Returns
    -------
    TrainedRun

    Raises
    ------
    ValueError
        If ``out`` holds a run of another configuration.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, partition, vectors, config)
    if (out / "embeddings.npz").exists():
        return load_run(out)

    seen, data = partition.findings.seen_index, partition.radiographs
    precision = {"auto": "bf16-mixed" if accelerator != "cpu" and torch.cuda.is_available() else "32-true"}
    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision.get(config.precision, config.precision))
    torch.manual_seed(config.seed)
    model = build_model(config, vectors)
    objective = OBJECTIVES[config.objective](config, vectors[seen]).to(fabric.device)
    parameters = [p for m in (model, objective) for p in m.parameters()]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},  # biases, norms
        ],
        lr=config.lr,
        weight_decay=config.weight_decay,
        fused=True,
    )
    module, optimizer = fabric.setup(torch.compile(model) if config.compile else model, optimizer)
    train = Batches(data.pixels, partition.train, fabric.device)
    val = Batches(data.pixels, partition.val, fabric.device)
    labels = torch.from_numpy(data.labels[partition.train][:, seen].astype(np.float32)).to(fabric.device)
    val_labels = data.labels[partition.val][:, seen]
    steps = math.ceil(len(train) / config.batch_size)
    warmup = max(1, round(config.warmup_epochs * steps))

    def learning_rate(step: int) -> float:
        after = (step - warmup) / max(1, config.epochs * steps - warmup)
        return config.lr * ((step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * min(after, 1))))

    state = {"epoch": 0, "history": [], "best": -1.0, "best_epoch": -1, "weights": None}
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=fabric.device, weights_only=True)
        state = saved["state"]
        for name, part in {"model": model, "objective": objective, "optimizer": optimizer}.items():
            part.load_state_dict(saved[name])
    bar = tqdm(
        total=config.epochs * steps, initial=state["epoch"] * steps, unit="step", disable=not progress, desc="training"
    )
    for epoch in range(state["epoch"], config.epochs):
        if config.patience and epoch - 1 - state["best_epoch"] >= config.patience:
            break  # asked before an epoch, not after: a resumed run that had stopped stays stopped
        torch.manual_seed(
            config.seed * 100_003 + epoch + 1
        )  # all chance of an epoch follows from (seed, epoch): resumable
        start, sums = time.perf_counter(), None
        module.train()
        for k, (rows, images) in enumerate(train.iterate(torch.randperm(len(train)), config.batch_size)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(epoch * steps + k)
            visual, semantic = module(augment(images) if config.augment else images)
            terms = objective(visual, semantic[seen], labels[rows])
            fabric.backward(terms["total"])
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            values = torch.stack([terms[name].detach() for name in terms])
            sums = values if sums is None else sums + values  # stays on the device: no wait for it inside the loop
            if k % 20 == 19 or k == steps - 1:
                bar.update(epoch * steps + k + 1 - bar.n)
                bar.set_postfix(epoch=epoch + 1, loss=f"{sums[0].item() / (k + 1):.3f}", refresh=False)
        mean = dict(zip(terms, (sums / steps).tolist(), strict=True))
        if not math.isfinite(mean["total"]):
            way_out = f"lower lr ({config.lr}) or raise tau ({config.tau})"
            raise ValueError(f"the loss became {mean['total']} in epoch {epoch + 1}: {way_out}")
        auroc = seen_validation_auroc(val_labels, embed(module, objective, val)["scores"][:, seen])
        row = {"epoch": epoch + 1, "step": (epoch + 1) * steps, "seconds": time.perf_counter() - start}
        row |= {"lr": group["lr"], "loss": mean.pop("total")} | {f"loss_{name}": value for name, value in mean.items()}
        state["history"].append(row | {"val_seen_auroc": auroc})
        state["epoch"] = epoch + 1
        if auroc > state["best"]:
            state |= {"best": auroc, "best_epoch": epoch, "weights": _cpu_copy(model)}
        parts = {"model": model, "objective": objective, "optimizer": optimizer}
        whole = {"state": state} | {name: part.state_dict() for name, part in parts.items()}
        write_whole(checkpoint, lambda path, whole=whole: torch.save(whole, path))
    bar.close()

    model.load_state_dict(state["weights"])
    index = np.concatenate([partition.val, partition.test])
    embeddings = {"index": index.astype(np.int64)} | embed(
        module, objective, Batches(data.pixels, index, fabric.device)
    )
    write_whole(out / "weights.safetensors", lambda path: save_file(state["weights"], path))
    write_whole(out / "history.csv", lambda path: pd.DataFrame(state["history"]).to_csv(path, index=False))
    # written last: marks the run as whole
    write_whole(out / "embeddings.npz", lambda path: np.savez(path, **embeddings))
    checkpoint.unlink()
    return load_run(out)


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


def load_run(out: str | Path) -> TrainedRun:
    """Read a finished run directory; the model is on the CPU, in evaluation mode."""
    out = Path(out)
    if not (out / "embeddings.npz").exists():
        raise FileNotFoundError(
            f"no finished training in {out}: run notebooks/03_training.ipynb (it continues an interrupted run)"
        )
    weights = load_file(out / "weights.safetensors")
    config = TrainConfig.from_dict(json.loads((out / "config.json").read_text())["config"])
    model = build_model(dataclasses.replace(config, weights=""), weights["semantic_vectors"])
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{out} was trained by another version of the model: delete it and train again") from error
    with np.load(out / "embeddings.npz", allow_pickle=False) as file:
        embeddings = dict(file)
    return TrainedRun(model.eval(), pd.read_csv(out / "history.csv"), embeddings, out)


def _claim(out: Path, partition: Partition, vectors: Tensor, config: TrainConfig) -> None:
    """Write what this run is trained on, or refuse a directory that holds another run."""
    claim = {
        "config": dataclasses.asdict(config),
        "unseen": list(partition.findings.unseen),
        "findings": list(partition.findings.keys),
        "data_sha256": partition.radiographs.card["sha256"],
        "images": {name: len(getattr(partition, name)) for name in ("train", "val", "test")},
        "semantic_sha256": hashlib.sha256(vectors.float().numpy().tobytes()).hexdigest(),
    }
    file = out / "config.json"
    if not file.exists():
        write_whole(file, lambda path: path.write_text(json.dumps(claim, indent=1) + "\n"))
        return
    held = json.loads(file.read_text())
    if held != claim:
        flat = {**held, **held["config"]}, {**claim, **claim["config"]}
        differs = [k for k in flat[1] if k != "config" and flat[0].get(k) != flat[1][k]]
        what = ", ".join(f"{k} = {flat[0].get(k)!r} there, {flat[1][k]!r} now" for k in differs[:3])
        raise ValueError(
            f"{out} holds a run of another configuration ({what}): choose another `out` or delete that folder"
        )


def _cpu_copy(model) -> dict[str, Tensor]:
    # safetensors stores plain layouts only; the model's convolutions are channels-last
    return {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in model.state_dict().items()}


