"""A run for other programs: the whole network as one ONNX file, or the folder of its head."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from cmdml.files import SEAL, write_whole
from cmdml.heads import FILES, FORMAT, NOTICE, Head, load_head

OPSET = 18


def export_onnx(head: Head, out) -> Path:
    """Write ``images (B, 1, size, size) float32 in [0, 1] -> scores (B, C), visual (B, D), distance (B,)``.

    The frozen backbone, where there is one, is part of the file; the batch is dynamic. ``scores`` are in the order of
    the metadata ``findings``; ``visual`` is the film's place in the joint space, so that words of one's own can be
    scored without the network: their places come from :meth:`cmdml.network.FilmNetwork.semantic`. A ``distance`` above
    1 is an unfamiliar film. Metadata: ``findings``, ``unseen``, ``size``, ``run``, ``notice`` (JSON, or plain text).

    Parameters
    ----------
    head : Head
    out : path ending in ``.onnx``; written whole or not at all, weights inside.

    Raises
    ------
    ModuleNotFoundError : onnx or onnxscript is not installed.
    ValueError : ``out`` is no ``.onnx``.
    """
    out = Path(out)
    if out.suffix != ".onnx" or out.is_dir():
        raise ValueError(f"{out} must be the name of a file that ends in .onnx")
    try:
        import onnx
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    except ImportError as error:
        raise ModuleNotFoundError(f"ONNX needs {error.name}: pip install 'cmdml[onnx]'") from error
    module = _Exported(head).eval()
    program = torch.onnx.export(
        module, (torch.zeros(2, 1, head.size, head.size),), dynamo=True, external_data=False, opset_version=OPSET,
        input_names=["images"], output_names=["scores", "visual", "distance"], verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    model = program.model_proto
    about = {"findings": json.dumps(head.findings.keys), "unseen": json.dumps(head.findings.unseen),
             "size": str(head.size), "run": head.card["name"], "notice": NOTICE}  # fmt: skip
    onnx.helper.set_model_props(model, about)
    return write_whole(out, lambda beside: onnx.save(model, str(beside)))


def copy_head(head: Head, out) -> Path:
    """Copy the folder of a head, as it was sealed, to be handed on; returns the new folder.

    Raises
    ------
    ValueError : ``out`` holds something else.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(file.name not in (*FILES, SEAL) for file in out.iterdir())):
        raise ValueError(f"{out} holds something else than a head of {FORMAT!r}: give another folder")
    out.mkdir(parents=True, exist_ok=True)
    (out / SEAL).unlink(missing_ok=True)
    for name in (*FILES, SEAL):  # the seal is the last: a folder without it is not whole
        write_whole(out / name, lambda beside, name=name: shutil.copyfile(head.folder / name, beside))
    load_head(out)
    return out


class _Exported(torch.nn.Module):
    """Scores, place and distance of films, with the findings' places computed beforehand."""

    def __init__(self, head: Head):
        super().__init__()
        self.network, self.familiar, self.threshold = head.network, head.familiar, head.familiar.threshold
        with torch.no_grad():
            self.register_buffer("semantic", head.network.semantic())

    def forward(self, images: torch.Tensor):
        features = self.network.features(images)
        visual = self.network.visual(features)
        return self.network.score(visual, self.semantic), visual, self.familiar.distance(features) / self.threshold
