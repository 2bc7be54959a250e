"""Where things lie: the repository, a run's parts, the training that a chapter reads and where its results go."""

from __future__ import annotations

import os
from pathlib import Path

from cmdml.files import read_json

ROOT = Path(__file__).resolve().parents[2]


def resolve(path: str | os.PathLike) -> Path:
    """Absolute path; a relative one counts from the repository root, wherever the notebook was started.

    papermill runs a kernel in its caller's directory, so the working directory means nothing here. Symbolic links stay
    as they are.
    """
    return Path(os.path.normpath(ROOT / Path(path).expanduser()))


def shown(path: str | os.PathLike) -> str:
    """A path for readers and manifests: relative to the repository if it lies inside."""
    path = resolve(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def training_of(run_dir, training: str = "", *, trials="runs/trials") -> tuple[Path, str]:
    """Which training a chapter reads, and a sentence that says so.

    The one asked for; else the study's, ``<run_dir>/training``; else, as in JupyterLab where nobody ran the study, the
    newest finished trial that chapter 3 made of this ``run_dir``.

    Parameters
    ----------
    run_dir, training : path
        The chapter's parameters; ``training`` may be empty.
    trials : path
        Folder of the trials.

    Returns
    -------
    folder : Path
    sentence : str

    Raises
    ------
    FileNotFoundError
        There is none yet.
    """
    if training:
        return resolve(training), f"This chapter reads the training that was asked for, `{training}`."
    own = resolve(run_dir) / "training"
    if (own / "embeddings.npz").is_file():
        return own, f"This chapter reads the study's training, `{shown(own)}`."
    found = []
    for manifest in resolve(trials).glob("*/manifest.json"):
        whole = manifest.with_name("embeddings.npz")
        about = read_json(manifest, "delete that trial")
        of = about["parameters"].get("run_dir") if isinstance(about, dict) and "parameters" in about else ""
        if whole.is_file() and of and resolve(of) == resolve(run_dir):
            found.append((whole.stat().st_mtime_ns, manifest.parent))
    if not found:
        raise FileNotFoundError(f"no training in {shown(own)}, no trial of {run_dir} in {trials}: run chapter 3 first.")
    newest = max(found)[1]
    text = f"The study has no training in `{shown(own)}` yet, so this chapter reads the newest trial"
    return newest, f"{text}, `{shown(newest)}`."


def results_of(run_dir, training: Path, what: str, out: str = "") -> Path:
    """Where a chapter writes ``what`` (``evaluation``, ``embeddings``) of a training: a trial's stay with the trial.

    ``out`` if it is given; else ``<run_dir>/<what>`` for the study's own training, ``<training>/<what>`` for any other.
    """
    if out:
        return resolve(out)
    own = resolve(run_dir)
    return own / what if resolve(training) == own / "training" else resolve(training) / what


def tau_of(training, config: dict) -> float | None:
    """The temperature that a training ended with, in which its scores become closeness.

    The learnt one, where ``objective.json`` beside the weights holds it; the configured one of an objective that learns
    none; None where it was learnt and is not kept.
    """
    file = Path(training) / "objective.json"
    if file.is_file():
        return read_json(file, "train again").get("tau", config["tau"])
    return None if config["objective"] == "focused_tau" else config["tau"]
