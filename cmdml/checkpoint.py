"""Checkpoints of a training: one safetensors file, sealed by a SHA-256 of everything in it."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cmdml.files import write_whole

FORMAT = "checkpoint 1"


def save_checkpoint(path, state: dict, parts: dict, run: str) -> None:
    """Write where a training stands, whole or not at all.

    Parameters
    ----------
    path : path
    state : dict
        ``weights``, the best model's tensors by name, and plain JSON values (floats come back as they were).
    parts : dict
        Model, objective and optimizer, under names of your choice: things with a ``state_dict()``.
    run : str
        What is trained, as a SHA-256: no other run takes this checkpoint for its own.
    """
    tensors = {f"weights/{name}": value for name, value in state["weights"].items()}
    for part, owner in parts.items():
        tensors |= {f"{part}/{name}": value for name, value in _tensors(owner).items()}
    # safetensors stores plain layouts only; the model's convolutions are channels-last
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    rest = {name: value for name, value in state.items() if name != "weights"}
    text = json.dumps({"format": FORMAT, "run": run, "state": rest})
    metadata = {"content": text, "sha256": _digest(text, tensors)}
    write_whole(path, lambda beside: save_file(tensors, beside, metadata))


def load_checkpoint(path, parts: dict, run: str) -> dict:
    """Put the parts back to where :func:`save_checkpoint` found them; returns its ``state``.

    Raises
    ------
    ValueError
        If the file is damaged, was edited, belongs to another run, or does not fit the parts, because the code has
        changed since; nothing was loaded then.
    """
    path = Path(path)
    text, tensors = _read(path)
    content = json.loads(text)
    if content["format"] != FORMAT or content["run"] != run:
        raise ValueError(f"{path} is the checkpoint of another run or version: delete that file and train again")
    by_part = {}
    for name, value in tensors.items():
        part, _, name = name.partition("/")
        by_part.setdefault(part, {})[name] = value
    for part, owner in parts.items():
        if not _fits(owner, by_part.get(part, {})):
            raise ValueError(f"{path} does not fit the {part}: its code has changed; delete that file and train again")
    for part, owner in parts.items():
        saved = by_part.get(part, {})
        if isinstance(owner, torch.nn.Module):
            owner.load_state_dict(saved)
        else:
            _load_optimizer(owner, saved)
    return content["state"] | {"weights": by_part["weights"]}


def _tensors(owner) -> dict[str, Tensor]:
    """A module's state as it is, an optimizer's as ``<parameter>.<quantity>``; its groups follow from the config."""
    state = owner.state_dict()
    if isinstance(owner, torch.nn.Module):
        return state
    return {f"{k}.{name}": value for k, values in state["state"].items() for name, value in values.items()}


def _fits(owner, saved: dict[str, Tensor]) -> bool:
    """Whether a part has the tensors that were saved: a module all of them; an optimizer its parameters' shapes."""
    if isinstance(owner, torch.nn.Module):
        return {k: v.shape for k, v in owner.state_dict().items()} == {k: v.shape for k, v in saved.items()}
    shapes = [p.shape for group in owner.param_groups for p in group["params"]]
    return all(int(k.partition(".")[0]) < len(shapes) and (v.ndim == 0 or v.shape == shapes[int(k.partition(".")[0])])
               for k, v in saved.items())  # fmt: skip


def _load_optimizer(optimizer, saved: dict[str, Tensor]) -> None:
    state = {}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, value in saved.items():
        k, _, name = key.partition(".")
        if value.shape == parameters[int(k)].shape:  # fused kernels read it in the memory order of its parameter
            value = torch.empty_like(parameters[int(k)], dtype=value.dtype, device="cpu").copy_(value)
        state.setdefault(int(k), {})[name] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _read(path: Path) -> tuple[str, dict[str, Tensor]]:
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ValueError
        with safe_open(path, framework="pt") as file:
            metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
        text = metadata["content"]
        if metadata["sha256"] == _digest(text, tensors):
            return text, tensors
    except (SafetensorError, KeyError, TypeError, ValueError):
        pass
    raise ValueError(f"{path} is damaged or was edited: delete that file and train again")


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"\0{name} {value.dtype} {tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
