"""Runs: parameters that are checked, notebooks that are executed, manifests that say how a result came to be."""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from cmdml.files import sealed, write_json
from cmdml.names import unknown
from cmdml.study import results
from cmdml.study.parameters import declared_parameters, parameters
from cmdml.study.places import ROOT, resolve
from cmdml.study.profiles import load_profile

__all__ = ["ROOT", "declared_parameters", "environment", "execute", "load_profile", "manifest", "notebook_parameters",
           "parameters", "publish", "resolve", "settings"]  # fmt: skip

PACKAGES = ("cmdml", "torch", "torchvision", "lightning-fabric", "numpy", "pandas", "scikit-learn", "safetensors",
            "sentence-transformers", "papermill")  # fmt: skip
# A notebook imports this module in its first cells, so this is when its work began.
IMPORTED = datetime.now(UTC)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def code() -> dict:
    """Commit of the checkout, and whether anything but results was changed since."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "dirty": None, "commit_note": "not run from a git checkout, so the commit is unknown"}
    # committed results are made by the code, they do not change it
    return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "--", ".", ":!data/results"))}


CODE = code()  # of the code that was loaded, whatever is committed while it works


def environment() -> dict:
    """Commit, versions and machine: what a result depends on besides its parameters and the device."""
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        **CODE,
        "python": platform.python_version(),
        "versions": versions,
        "machine": {
            "cpu": models[0] if models else platform.processor() or platform.machine(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "system": platform.system(),
        },
    }


def manifest(
    out, *, profile, parameters, radiographs=None, seed=None, started=None, file="manifest.json", **extra
) -> dict:
    """Write ``out/<file>``, whole or not at all, with a SHA-256 of itself (``sealed``), and return its content.

    Parameters
    ----------
    out : path
        Folder of the results that the manifest vouches for; created if need be.
    profile : str
    parameters : dict
        As returned by :func:`~cmdml.study.parameters.parameters`.
    radiographs : RadiographSet, optional
        Its card's SHA-256 becomes ``data_sha256``.
    seed : int, optional
        Default: ``parameters["seed"]``.
    started : datetime or float (seconds since 1970), optional
        When the work began; default: when the notebook imported this module.
    **extra
        Further fields, e.g. ``notebook="03_training"`` or ``device="cpu"`` (these win over what is found out).
    """
    import torch

    if started is None:
        started = IMPORTED
    elif not isinstance(started, datetime):
        started = datetime.fromtimestamp(started, UTC)
    content = {
        "profile": profile,
        "notebook": None,
        "parameters": parameters,
        "seed": parameters.get("seed") if seed is None else seed,
        "data_sha256": None if radiographs is None else radiographs.card["sha256"],
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        **environment(),
        "started": started.astimezone(UTC).isoformat(timespec="seconds"),
        "wall_seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
        **extra,
    }
    content = sealed(content)
    write_json(resolve(out) / file, content)
    return content


def publish(out, tables: dict, **about) -> Path:
    """Write tables and the manifest that vouches for them, whole or not at all; returns the folder.

    Parameters
    ----------
    out : path
    tables : {name: DataFrame}, each to become ``<name>.csv``.
    **about : what :func:`manifest` is told.
    """
    return results.publish(resolve(out), tables, lambda folder, **files: manifest(folder, **about, **files))


def settings(profile: dict) -> dict:
    """A profile's parameters as results carry them: without the folders of the machine that they were made on."""
    return {name: value for name, value in profile["parameters"].items() if name not in ("nih_root", "npz", "run_dir")}


def notebook_parameters(notebook, profile: dict) -> dict:
    """The parameters of a profile that this notebook declares."""
    declared = declared_parameters(notebook)
    return {name: value for name, value in profile["parameters"].items() if name in declared}


def _papermill(*arguments, **options):
    """papermill's ``execute_notebook``; a kernel that never answered, so that no cell ran, is started anew.

    Kernels that start at one time on one machine can be given the same port, and the second then dies
    (jupyter/jupyter_client#154); on a crowded one, it may take long to answer. Three starts; an error of a cell comes
    through at once.
    """
    import papermill

    for start in (1, 2, 3):
        try:
            return papermill.execute_notebook(*arguments, **options)
        except RuntimeError as error:
            if start == 3 or not str(error).startswith(("Kernel died before replying", "Kernel didn't respond")):
                raise
            print(f"The kernel of {arguments[0]} never answered: started again.", file=sys.stderr, flush=True)


def execute(notebook, out, parameters: dict) -> Path:
    """Run a notebook through papermill with checked parameters, from the repository root.

    `out` appears only when every cell has run. A notebook that failed is kept beside it as ``<name>.failed.ipynb``,
    outputs included. The executed notebook's metadata hold what :func:`environment` tells (the status page reads it).
    """
    import nbformat

    notebook, out = resolve(notebook), resolve(out)
    declared = declared_parameters(notebook)
    for name in parameters:
        if name not in declared:
            raise unknown(name, declared, f"parameter of {notebook.name}")
    out.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("papermill").setLevel(logging.ERROR)  # its warnings about names, which are checked above
    attempt = out.with_name(f"{out.stem}.failed.ipynb")  # the name it keeps, should it fail or be killed
    done = _papermill(
        str(notebook), str(attempt), parameters, cwd=str(ROOT), kernel_name="python3", start_timeout=120,
        extra_arguments=["--log-level=50"],  # the kernel's own remarks; errors of cells come through papermill
        progress_bar={"desc": f"{notebook.stem} ({out.parent.parent.name})"} if sys.stderr.isatty() else False,
        stdout_file=sys.stdout,  # what cells print: the epochs of a long training
    )  # fmt: skip
    for cell in done.cells:  # papermill's own cell repeats what the profile says; the manifest keeps it
        if "injected-parameters" in cell.metadata.get("tags", ()):
            cell.metadata["tags"] = [*cell.metadata["tags"], "remove-cell"]
    done.metadata["cmdml"] = environment()
    nbformat.write(done, attempt)
    os.replace(attempt, out)
    return out


if __name__ == "__main__":  # python -m cmdml.study.run NOTEBOOK OUT '{"parameter": value}'
    source, target, given = sys.argv[1:]
    print(f"{source} -> {target} ...", flush=True)
    try:
        execute(source, target, json.loads(given))
        print(f"{target} done, {(datetime.now(UTC) - IMPORTED).total_seconds():.0f} s", flush=True)
    except Exception as error:  # the traceback is in the failed notebook; the sentence is what a reader needs
        reason = f"{getattr(error, 'ename', type(error).__name__)}: {getattr(error, 'evalue', error)}"
        kept = resolve(target).with_name(f"{Path(target).stem}.failed.ipynb")
        sys.exit(f"\n{source} stopped. {reason}\n" + (f"What ran until then: {kept}" if kept.exists() else ""))
