"""One epoch of a training: which parameters move, how fast, and in which order the radiographs come."""

import math

import torch
from torch import Tensor, nn

from cmdml.batches import augment
from cmdml.config import TrainConfig
from cmdml.distributed import ALONE


def learning_rate(step: int, steps_per_epoch: int, config: TrainConfig) -> float:
    """Learning rate of a step, counted from 0 over all epochs: a linear rise to ``config.lr``, then a cosine to 0.

    ``lr (t + 1) / w`` while ``t < w``, then ``lr (1 + cos(π (t - w) / (T - w))) / 2``, with w the steps of
    ``warmup_epochs`` (at least one) and T those of all epochs.
    """
    warmup = max(1, round(config.warmup_epochs * steps_per_epoch))
    after = (step - warmup) / max(1, config.epochs * steps_per_epoch - warmup)
    return config.lr * ((step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * min(after, 1))))


def trained_parts(model: nn.Module, tune: str) -> None:
    """Leave ``requires_grad`` only to what ``tune`` trains: ``all``, or the ``last`` block of the extractor and heads.

    ``frozen`` needs nothing: the extractor is then ``cmdml.model.FrozenFeatures``, without parameters.
    """
    if tune == "last":
        model.visual_extractor.requires_grad_(False)
        for block in _last(model):
            block.requires_grad_(True)


def optimizer_of(model: nn.Module, objective: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over what is trained, the objective's own parameters included; weight decay on matrices only.

    Those of the semantic regression module decay by ``semantic_decay``, if it is given. Biases, norms and scalars do
    not decay: nothing that they could overfit is pulled towards 0.
    """
    semantic = {id(p) for p in model.semantic_regression.parameters()}
    parameters = [p for m in (model, objective) for p in m.parameters() if p.requires_grad]
    matrices = [p for p in parameters if p.ndim > 1]
    decay = config.weight_decay if config.semantic_decay is None else config.semantic_decay
    groups = [
        {"params": [p for p in matrices if id(p) not in semantic], "weight_decay": config.weight_decay},
        {"params": [p for p in matrices if id(p) in semantic], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.lr, fused=True)


def train_epoch(
    module, objective, optimizer, batches, labels, seen, epoch, config, *, backward=None, tick=None, team=ALONE
):
    """One pass over the training rows.

    Parameters
    ----------
    module : callable, images (B, ...) -> visual (B, D), semantic (C, D)
        A :class:`~cmdml.model.CMDML`, bare or set up by Fabric.
    objective, optimizer
    batches : Batches
        The N training rows.
    labels : Tensor, shape (N, S)
        0 and 1, of the seen findings.
    seen : ndarray, shape (S,), int
        Which rows of ``semantic`` the columns of ``labels`` are.
    epoch : int
        From 0. All chance of an epoch follows from (seed, epoch), so that training can be resumed.
    config : TrainConfig
    backward : callable, optional
        Fabric's, where gradients are scaled.
    tick : callable, optional
        Told now and then how many steps are done, and the mean loss.
    team : Team
        The processes that share every batch; all draw the same order and the same augmentation.

    Returns
    -------
    dict
        ``lr`` of the last step and the mean of every term of the objective over the steps.
    """
    _seed(config.seed * 100_003 + epoch + 1, labels.device)
    module.train()
    if config.tune == "last":  # what is not trained stays as it is: its batch statistics, too
        module.visual_extractor.eval()
        for block in _last(module):
            block.train()
    augmented = config.augment and config.tune != "frozen"
    steps, sums = math.ceil(len(batches) / config.batch_size), None
    for k, (rows, images) in enumerate(batches.iterate(torch.randperm(len(batches)), config.batch_size)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(epoch * steps + k, steps, config)
        mine, weight = team.part(len(rows)), team.weight(len(rows))
        visual, semantic = module((augment(images) if augmented else images)[mine])
        terms = objective(visual, semantic[seen], labels[rows[mine]])
        (backward or Tensor.backward)(terms["total"] * weight)
        team.average_gradients(objective)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        values = torch.stack([terms[name].detach() for name in terms]) * weight
        sums = values if sums is None else sums + values  # stays on the device: no wait for it inside the loop
        if tick and (k % 20 == 19 or k == steps - 1):
            tick(epoch * steps + k + 1, sums[0].item() / (k + 1))
    return {"lr": group["lr"]} | dict(zip(terms, (team.mean(sums) / steps).tolist(), strict=True))


def _seed(number: int, device: torch.device) -> None:
    """As ``torch.manual_seed``, which prepares an accelerator, too, even one that is not used, and that takes time."""
    (torch.default_generator if device.type == "cpu" else torch).manual_seed(number)


def _last(model: nn.Module) -> list[nn.Module]:
    return model.visual_extractor.last_block()
