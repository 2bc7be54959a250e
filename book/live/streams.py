"""The networks of the live page: what it carries of them, what they were told, and how well they do."""

import base64
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import nn

from cmdml.evaluation.metrics import evaluate
from cmdml.feature_set import FeatureSet
from cmdml.files import write_whole
from cmdml.findings import findings_of
from cmdml.network import FilmNetwork
from cmdml.radiographs import partition
from cmdml.semantics import semantic_vectors, signs_vector
from cmdml.sources.phantom import draw, sample_scene, sample_table
from cmdml.study.places import ROOT
from cmdml.training import fit

TOLD = {"signs": "signs_text", "description": "description", "shuffled": "shuffled"}
TRAY_SEED, NORMALS = 2026, 60
# What the tray's phantoms show: every finding once, unseen ones alone, one film without any. Nobody looked first.
TRAY = (["Hernia"], ["Emphysema"], ["Edema"], ["Pneumonia"], ["Fibrosis"], ["Pneumothorax"], ["Mass"], ["Nodule"],
        ["Effusion", "Cardiomegaly"], ["Atelectasis"], ["Consolidation"], ["Infiltration", "Pleural_Thickening"],
        [])  # fmt: skip
CELLS, AROUND = 8, 8  # as in net.js


def pack(tensors: dict[str, np.ndarray]) -> dict:
    """A bundle of float16 numbers, as ``unpack`` of net.js reads it."""
    every = np.concatenate([np.ascontiguousarray(v, np.float16).ravel() for v in tensors.values()]).view(np.uint16)
    planes = (every >> 8).astype(np.uint8).tobytes() + (every & 255).astype(np.uint8).tobytes()
    data = base64.b64encode(gzip.compress(planes, 9, mtime=0)).decode()
    return {"shapes": {name: list(np.shape(values)) for name, values in tensors.items()}, "data": data}


def precise(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each tensor and, beside it, what float16 leaves of it: rounded convolutions alone would cost a score 0.001."""
    rest = {f"{name}.rest": values - values.astype(np.float16).astype(np.float32) for name, values in tensors.items()}
    return tensors | rest


def regression(module: nn.Sequential, name: str) -> dict[str, np.ndarray]:
    """The two linear maps of a regression module."""
    layers = [layer for layer in module if isinstance(layer, nn.Linear)]
    if len(layers) != 2:
        raise ValueError(f"{name} has {len(layers)} linear layers, the page computes two: train with one hidden width")
    return {
        f"{name}.{i}.{p}": getattr(layer, p).detach().numpy()
        for i, layer in enumerate(layers)
        for p in ("weight", "bias")
    }


def convolutions(net: nn.Module) -> dict[str, np.ndarray]:
    """The convolutions of ``small_cnn`` with BatchNorm folded in: w γ / σ, and β − μ γ / σ."""
    layers, out = list(net.modules()), {}
    pairs = zip(
        (m for m in layers if isinstance(m, nn.Conv2d)),
        (m for m in layers if isinstance(m, nn.BatchNorm2d)),
        strict=True,
    )
    for i, (conv, norm) in enumerate(pairs):
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        out[f"phantom.conv{i}.weight"] = (conv.weight * scale[:, None, None, None]).detach().numpy()
        out[f"phantom.conv{i}.bias"] = (norm.bias - norm.running_mean * scale).detach().numpy()
    return out


def plane(points: np.ndarray) -> np.ndarray:
    """(3, D): the mean of the points and the two directions in which they vary most."""
    mean = points.mean(0)
    _, _, axes = np.linalg.svd(points - mean, full_matrices=False)
    return np.stack([mean, *axes[:2]])


def trained(told: str, source: str, head, data, runs: Path):
    """A training that differs from the head's in nothing but what it is told; one that is in ``runs`` is opened."""
    vectors, out = semantic_vectors(findings_of(head.findings.keys), TOLD[told]), runs / f"{source}-{told}"
    return fit(partition(data, head.findings), vectors, head.config, out, accelerator="cpu")


@torch.inference_mode()
def places(network, pixels, rows) -> np.ndarray:
    """(M, D): films in the joint space."""
    parts = np.array_split(np.asarray(rows), -(-len(rows) // 250))
    show = (
        (lambda x: network.model.visual_extractor(x)) if pixels.ndim == 2 else (lambda x: network.features(x[:, None]))
    )
    return torch.cat([network.visual(show(torch.from_numpy(np.array(pixels[part])))) for part in parts]).numpy()


def distances(visual: np.ndarray, semantic: np.ndarray) -> np.ndarray:
    """Scores −d² (M, C)."""
    return -((visual[:, None].astype(float) - semantic[None].astype(float)) ** 2).sum(-1)


class Stream:
    """One source told one kind of words: model, anchors, test films, and what they say.

    ``embeddings`` are a training's own; without them the films are embedded here. What was ``measured`` of a head that
    carries it in its card is not measured again.
    """

    def __init__(self, source, told, model, head, data, embeddings=None, measured=None):
        self.source, self.told, self.model = source, told, model
        network = FilmNetwork(model, head.config) if source == "phantom" else _Embedder(model)
        self.embed = lambda pixels: places(network, pixels, np.arange(len(pixels)))
        split, labels = data.table["split"].to_numpy(), data.labels
        test, normal = np.flatnonzero(split == "test"), np.flatnonzero((split == "val") & ~labels.any(1))
        normal = normal[np.linspace(0, len(normal) - 1, NORMALS).round().astype(int)]
        if embeddings is None:
            embeddings = {"index": np.concatenate([normal, test])}
            embeddings["visual"] = places(network, data.pixels, embeddings["index"])
        at = {row: i for i, row in enumerate(embeddings["index"].tolist())}
        self.normal, self.visual = (embeddings["visual"][[at[row] for row in rows.tolist()]] for rows in (normal, test))
        self.labels, self.anchors = labels[test], self.anchor(model.semantic_vectors)
        if measured is None:
            patients, scores = data.table["patient"].to_numpy()[test], distances(self.visual, self.anchors)
            measured = evaluate(self.labels, scores, patients, head.findings).summary.to_dict("records")
        rows = {row["metric"]: row for row in measured if row["protocol"] == "abnormal"}
        self.auroc = {m: [round(float(rows[f"auroc_{m}"][c]), 3) for c in ("value", "low", "high")] for m in "SU"}
        self.test = {"films": len(test), "abnormal": int(self.labels.any(1).sum())}

    @torch.inference_mode()
    def anchor(self, vectors) -> np.ndarray:
        """Semantic vectors (C, E) -> their places (C, D)."""
        return nn.functional.normalize(self.model.semantic_regression(vectors).float(), dim=1).numpy()

    def words(self, signs, findings, key: str) -> float:
        """AUROC of a list of signs for the films of one finding, among test films with a finding."""
        ill, column = self.labels.any(1), findings.keys.index(key)
        scores = distances(self.visual[ill], self.anchor(signs_vector(signs)[None]))[:, 0]
        return round(float(roc_auc_score(self.labels[ill, column], scores)), 3)

    def leans(self, signs, findings) -> list[tuple[str, float]]:
        """The two seen findings nearest to a list of signs in the joint space, with their cosines."""
        cosine = self.anchors[findings.seen_index] @ self.anchor(signs_vector(signs)[None])[0]
        return [(findings.seen[i], round(float(cosine[i]), 5)) for i in np.argsort(-cosine)[:2]]

    def tensors(self, films) -> dict[str, np.ndarray]:
        """All that the page needs of it; ``films`` are the tray's, for a network too large for the page."""
        model, out = self.model, {}
        if self.source == "phantom":
            out |= precise(convolutions(model.visual_extractor.net)) | regression(
                model.visual_regression, "phantom.visual"
            )
        else:
            out["real.films"] = self.embed(films)
        if self.told != "description":  # signs have no meaning to a network that was told whole sentences
            out |= regression(model.semantic_regression, f"{self.source}.semantic")
        flat = plane(np.concatenate([self.anchors, self.normal, self.visual[self.labels.any(1)]]))
        return out | {
            f"{self.source}.anchors": self.anchors,
            f"{self.source}.normal": self.normal,
            f"{self.source}.plane": flat,
        }


class _Embedder:
    """A head on extracted features, without its backbone."""

    def __init__(self, model):
        self.model = model

    def visual(self, features):
        return nn.functional.normalize(self.model.visual_regression(features).float(), dim=1)


def tray_phantoms() -> tuple[np.ndarray, list[dict]]:
    """Pixels (N, 64, 64) and what they show: patients drawn with a seed of their own, each given its findings."""
    table = sample_table(60, TRAY_SEED).drop_duplicates("patient").head(len(TRAY)).reset_index(drop=True)
    scene, keys = sample_scene(table, TRAY_SEED), list(table.columns[6:])
    scene["labels"] = np.array([[key in shown for key in keys] for shown in TRAY], np.uint8)
    pixels = draw(scene, 64, TRAY_SEED)
    return pixels, [{"source": "phantom", "labels": shown, "pixels": base64.b64encode(film.tobytes()).decode()}
                    for film, shown in zip(pixels, TRAY, strict=True)]  # fmt: skip


def tray_films(real: FeatureSet, out: Path) -> tuple[np.ndarray, list[dict]]:
    """Features of real films and what they are: of ``data/films`` the first for each finding and two without any."""
    table = pd.read_csv(ROOT / "data/films/films.csv", dtype={"patient": str})
    table = table[table["split"] == "test"]
    first = table.groupby("chosen_for", sort=False).head(1)
    first = pd.concat([first, table[table["chosen_for"] == "none"].iloc[1:2]]).sort_values("image")
    row, items = real.table.reset_index().set_index("image")["index"], []
    for film in first.itertuples():
        small = Image.open(ROOT / "data/films" / film.image)
        write_whole(
            out / f"{film.image[:-4]}.jpg", lambda path, small=small: small.save(path, quality=80, optimize=True)
        )
        shown = [key for key in real.findings if getattr(film, key)]
        items.append({"source": "real", "labels": shown, "image": film.image[:-4], "view": film.view})
    return real.pixels[row.loc[first["image"]].to_numpy()], items


@torch.inference_mode()
def pointing(stream: Stream, findings, many: int = 80) -> dict:
    """How often the warmest square of the page's heat map lies on what was drawn, by films with one seen finding.

    The truth is where the film differs from the same film drawn without the finding. A square counts if at least a
    tenth of its pixels differ; ``chance`` is the share of such squares.
    """
    table = sample_table(4000, TRAY_SEED + 1)
    labels = table[list(findings.keys)].to_numpy()
    rows = np.flatnonzero((labels.sum(1) == 1) & (labels[:, findings.seen_index].sum(1) == 1))[:many]
    table, labels = table.iloc[rows].reset_index(drop=True), labels[rows]
    scene = sample_scene(table, TRAY_SEED)
    films, bare = draw(scene, 64, TRAY_SEED), draw(scene | {"labels": np.zeros_like(scene["labels"])}, 64, TRAY_SEED)
    hits, chance = [], []
    for film, without, label in zip(films, bare, labels, strict=True):
        covered, cell = np.repeat(film[None], CELLS**2 + 1, 0), 64 // CELLS
        for i in range(CELLS**2):
            y, x = (n * cell for n in divmod(i, CELLS))
            near = film[max(0, y - AROUND) : y + cell + AROUND, max(0, x - AROUND) : x + cell + AROUND]
            covered[i, y : y + cell, x : x + cell] = int(near.mean())
        scores = distances(stream.embed(covered), stream.anchors[[int(label.argmax())]])[:, 0]
        truth = (np.abs(film.astype(int) - without) > 5).reshape(CELLS, cell, CELLS, cell).mean((1, 3)).ravel() >= 0.1
        hits.append(truth[int(scores[:-1].argmin())])
        chance.append(truth.mean())
    return {"films": len(films), "hits": int(np.sum(hits)), "chance": round(float(np.mean(chance)), 3)}
