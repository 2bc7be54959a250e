"""Words of one's own: a list of signs, or a sentence, as a finding that nobody trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from cmdml.findings import findings_of
from cmdml.heads import Head
from cmdml.names import unknown
from cmdml.semantics import text_vectors, untaught

LEANS = 3  # seen findings that are named


@dataclass(frozen=True, eq=False)
class OwnWords:
    """A finding in a user's words.

    Parameters
    ----------
    name : str
    signs : the radiographic signs, or empty for a sentence.
    text : the sentence, or empty.
    vector : (E,) its semantic vector, of unit length.
    leans_on : (seen finding, cosine in the joint space, cosine of the semantic vectors), the nearest three first.
    untaught : those of the signs that no seen finding has.
    """

    name: str
    signs: tuple[str, ...]
    text: str
    vector: Tensor = field(repr=False)
    leans_on: tuple[tuple[str, float, float], ...]
    untaught: tuple[str, ...]


def parse_finding(text: str) -> tuple[str, list[str]]:
    """``"Lung abscess: opacity, round"`` -> its name and the signs as they were typed.

    Raises
    ------
    ValueError : no colon, no name or no signs.
    """
    name, colon, signs = text.partition(":")
    listed = [sign.strip() for sign in signs.split(",") if sign.strip()]
    if not colon or not name.strip() or not listed:
        raise ValueError(f"finding {text!r} must be a name, a colon and signs, such as 'Lung abscess: opacity, round'")
    return name.strip(), listed


def sign_names(typed: Sequence[str], attributes) -> tuple[str, ...]:
    """The attributes that are meant: case, spaces, hyphens and underscores do not matter.

    Raises
    ------
    ValueError : none of the attributes (the nearest is offered), or one of them twice.
    """
    found = []
    for word in typed:
        sign = "_".join(word.lower().replace("-", " ").replace("_", " ").split())
        if sign not in attributes:
            raise unknown(word, attributes, "sign")
        if sign in found:
            raise ValueError(f"the sign {word!r} is given twice; name each sign once")
        found.append(sign)
    return tuple(found)


def own_signs(head: Head, name: str, typed: Sequence[str]) -> OwnWords:
    """A finding of signs, as :func:`cmdml.semantics.signs_vector` makes one, from the vectors that the head carries.

    Raises
    ------
    ValueError : the run was told something else than signs, or a sign is unknown.
    """
    semantics, names = head.card["semantics"], list(head.card["attributes"])
    if semantics not in ("signs_text", "signs"):
        way_out = "give a text" if semantics in ("description", "name") else "no words of yours mean anything to it"
        raise ValueError(f"{head.folder} was told {semantics}, not signs: {way_out}")
    signs = sign_names(typed, names)
    rows = sorted(names.index(sign) for sign in signs)
    vector = F.normalize(head.reference["attributes"].double()[rows].mean(dim=0), dim=0).float()
    return _leaning(head, name, signs, "", vector)


def own_text(head: Head, text: str) -> OwnWords:
    """A finding of a sentence, through the run's sentence encoder.

    With ``signs_text`` its embedding is centred by the mean over the sentences of all attributes, as theirs are.

    Raises
    ------
    ValueError : the text is empty, or the run was not told texts.
    FileNotFoundError : the encoder is not installed.
    """
    semantics, text = head.card["semantics"], " ".join(text.split())
    if semantics not in ("signs_text", "description", "name"):
        way_out = "give signs" if semantics == "signs" else "no words of yours mean anything to it"
        raise ValueError(f"{head.folder} was told {semantics}, not texts: {way_out}")
    if not text:
        raise ValueError("the text is empty: describe what the finding looks like")
    vector = text_vectors([text], head.card["semantic_model"])[0].double()
    if semantics == "signs_text":
        vector = vector - head.reference["centre"].double()
    return _leaning(head, text if len(text) <= 40 else text[:39] + "…", (), text, F.normalize(vector, dim=0).float())


@torch.inference_mode()
def _leaning(head: Head, name: str, signs: tuple[str, ...], text: str, vector: Tensor) -> OwnWords:
    """With the seen findings that lie nearest in the joint space."""
    seen = torch.from_numpy(head.findings.seen_index)
    network, own = head.network, head.model.semantic_vectors
    mine, theirs = (F.normalize(network.semantic(v), dim=1) for v in (vector[None], own[seen]))
    joint, words = (theirs @ mine.T)[:, 0], F.cosine_similarity(own[seen], vector[None])
    order = joint.argsort(descending=True)[:LEANS].tolist()
    leans = tuple((head.findings.seen[i], float(joint[i]), float(words[i])) for i in order)
    return OwnWords(name, signs, text, vector, leans, untaught(signs, findings_of(head.findings.seen)))
