"""Score films with a trained run: ranked findings, words of one's own, and a warning where it should not be asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from cmdml.films import Film, find_films, read_film
from cmdml.heads import NOTICE, Head
from cmdml.runs import open_run
from cmdml.sources.decoding import cores
from cmdml.words import OwnWords, own_signs, own_text, parse_finding

BATCH = 16  # films scored together: a processor's cache holds their maps
OWN = "own words"


@dataclass(frozen=True, eq=False)
class FilmScores:
    """What a run says of one film.

    Parameters
    ----------
    path : Path
    scores : (C + O,) of the run's findings, then of the own words; higher = more likely.
    percentiles : (C + O,) per cent of the run's normal validation films that score lower; ties count half.
    distance : of the film from those of the training, in units of the threshold: above 1 it is unfamiliar.
    notes, warnings : what was done to the film, and what makes its scores doubtful.
    """

    path: Path
    scores: np.ndarray
    percentiles: np.ndarray
    distance: float
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def unfamiliar(self) -> bool:
        """Farther from the films of the training than 99 of 100 validation films."""
        return self.distance > 1


@dataclass(frozen=True, eq=False)
class Predictions:
    """Films, scored.

    Parameters
    ----------
    head : the run that was asked.
    films : one for each film that could be read, in the order given.
    own : words of one's own.
    failed : (path, sentence) of each that could not.
    set_aside : files of the folders that are no images.
    """

    head: Head
    films: tuple[FilmScores, ...]
    own: tuple[OwnWords, ...]
    failed: tuple[tuple[Path, str], ...]
    set_aside: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns of scores."""
        return (*self.head.findings.keys, *(words.name for words in self.own))

    @property
    def kinds(self) -> tuple[str, ...]:
        """``seen``, ``unseen`` or ``own words``, for each of the columns."""
        return (*np.where(self.head.findings.seen_mask, "seen", "unseen").tolist(), *([OWN] * len(self.own)))

    def ranked(self, film: FilmScores) -> list[dict]:
        """A row per finding, highest score first: rank, finding, kind, score, percentile."""
        order = np.argsort(-film.scores, kind="stable")
        return [{"rank": rank, "finding": self.names[c], "kind": self.kinds[c], "score": float(film.scores[c]),
                 "percentile": float(film.percentiles[c])} for rank, c in enumerate(order.tolist(), 1)]  # fmt: skip

    @property
    def table(self) -> pd.DataFrame:
        """A row per film and finding, with the film's warnings and the notice that belongs to every score."""
        columns = ["film", "rank", "finding", "kind", "score", "percentile", "distance", "unfamiliar", "warnings"]
        rows = [{"film": str(film.path), **row, "distance": film.distance, "unfamiliar": film.unfamiliar,
                 "warnings": "; ".join(film.warnings), "notice": NOTICE}
                for film in self.films for row in self.ranked(film)]  # fmt: skip
        return pd.DataFrame(rows, columns=[*columns, "notice"])

    def to_dict(self) -> dict:
        """All of it as plain values, for JSON."""
        card, familiar = self.head.card, self.head.card["familiar"]
        films = [{"film": str(film.path), "distance": film.distance, "unfamiliar": film.unfamiliar,
                  "warnings": list(film.warnings), "notes": list(film.notes), "findings": self.ranked(film)}
                 for film in self.films]  # fmt: skip
        own = [{"name": words.name, "signs": list(words.signs), "text": words.text, "untaught": list(words.untaught),
                "leans_on": [{"finding": f, "joint_space": j, "words": w} for f, j, w in words.leans_on]}
               for words in self.own]  # fmt: skip
        run = {"name": card["name"], "folder": str(self.head.folder), "semantics": card["semantics"],
               "size": card["size"], "unseen": list(self.head.findings.unseen), "normal_films": card["normal_films"],
               "threshold_quantile": familiar["quantile"]}  # fmt: skip
        failed = [{"film": str(path), "sentence": sentence} for path, sentence in self.failed]
        return {"notice": NOTICE, "run": run, "own_words": own, "films": films, "failed": failed}


def predict(
    films, run=None, *, findings: Sequence[str] = (), signs="", texts: Sequence[str] = (), progress: bool = False
) -> Predictions:
    """Score films: every finding of a run, and words of one's own. Not a medical device.

    Parameters
    ----------
    films : path, or sequence of paths
        PNG, JPEG, TIFF, BMP or DICOM files, and folders of them; see :mod:`cmdml.films` for what is done to them.
    run : path or Head, optional
        A run, a training or a head; the name of one of ``data/heads``; by default that of real films (``nih-mini``).
    findings : sequence of str
        Findings of one's own, such as ``"Lung abscess: opacity, round, air-fluid level"``.
    signs : str or sequence of str
        Signs of one more, ``"opacity, focal"``.
    texts : sequence of str
        Sentences that describe findings.
    progress : bool
        Show a bar on stderr where there are many films.

    Returns
    -------
    Predictions
        A film that cannot be read does not stop the others: it stands in ``failed``.

    Raises
    ------
    FileNotFoundError, ValueError
        No such run, a damaged one, a folder without films, words that mean nothing to the run.
    """
    head = run if isinstance(run, Head) else open_run(run)
    paths, aside = find_films([films] if isinstance(films, str | Path) else films)
    own = own_words(head, findings, signs, texts)
    semantic, normal = _semantic(head, own), head.reference["normal_visual"]
    normal_scores = head.network.score(normal, semantic).double().numpy()
    done, failed, waiting = [], [], []
    with tqdm(total=len(paths), unit=" films", desc="predict", disable=not progress or len(paths) < 2) as bar:
        for path, film in _read(paths, head.size):
            if isinstance(film, Film):
                waiting.append(film)
            else:
                failed.append((path, str(film)))
            if len(waiting) == BATCH:
                done += _score(head, waiting, semantic, normal_scores)
                waiting = []
            bar.update()
        done += _score(head, waiting, semantic, normal_scores)
    return Predictions(head, tuple(done), own, tuple(failed), aside)


def own_words(head: Head, findings: Sequence[str] = (), signs="", texts: Sequence[str] = ()) -> tuple[OwnWords, ...]:
    """What a user described, in the order findings, signs, texts; arguments as those of :func:`predict`."""
    named = [own_signs(head, *parse_finding(text)) for text in findings]
    if signs:
        listed = [sign for sign in signs.split(",") if sign.strip()] if isinstance(signs, str) else list(signs)
        named.append(own_signs(head, "signs: " + ", ".join(sign.strip() for sign in listed), listed))
    return (*named, *(own_text(head, text) for text in texts))


def percentiles(scores: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Scores (B, C), normal films' (n, C) -> per cent (B, C) of normal films that score lower; ties count half."""
    below = (normal[None] < scores[:, None]).mean(1)
    return 100 * (below + (normal[None] == scores[:, None]).mean(1) / 2)


@torch.inference_mode()
def _semantic(head: Head, own: Sequence[OwnWords]) -> Tensor:
    """(C + O, D): the run's findings and the own words in the joint space."""
    return head.network.semantic(torch.stack([*head.model.semantic_vectors, *(words.vector for words in own)]))


@torch.inference_mode()
def _score(head: Head, films: list[Film], semantic: Tensor, normal: np.ndarray) -> Iterator[FilmScores]:
    if not films:
        return
    features = head.network.features(torch.from_numpy(np.stack([film.pixels for film in films])).unsqueeze(1))
    scores = head.network.score(head.network.visual(features), semantic).double().numpy()
    ranks = percentiles(scores, normal)
    distances = (head.familiar.distance(features) / head.familiar.threshold).tolist()
    for film, mine, rank, distance in zip(films, scores, ranks, distances, strict=True):
        warnings = list(film.warnings)
        if distance > 1:
            warnings.insert(0, f"unlike the films of the training, {distance:.1f} times the distance that 99 of 100 "
                               "validation films keep: do not read its scores")  # fmt: skip
        yield FilmScores(film.path, mine, rank, distance, film.notes, tuple(warnings))


def _read(paths: list[Path], size: int) -> Iterator[tuple[Path, Film | Exception]]:
    """Films, or why not, in order; decoded in threads, a bounded number ahead."""

    def read(path):
        try:
            return read_film(path, size)
        except (OSError, ValueError, ImportError) as error:
            return error

    todo: Iterable[Path] = iter(paths)
    with ThreadPoolExecutor(cores()) as pool:
        ahead = deque((path, pool.submit(read, path)) for path in islice(todo, 2 * BATCH))
        while ahead:
            path, future = ahead.popleft()
            yield path, future.result()
            ahead.extend((path, pool.submit(read, path)) for path in islice(todo, 1))
