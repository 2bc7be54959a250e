"""Starts a training (:mod:`cmdml.distributed`), or the extraction of features, in several processes; runs in each."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

from cmdml import features
from cmdml.config import TrainConfig
from cmdml.distributed import join
from cmdml.feature_set import FeatureSet
from cmdml.findings import SeenUnseen, findings_of
from cmdml.radiographs import RadiographSet, partition
from cmdml.semantics import semantic_vectors
from cmdml.training import fit


def launch(job: dict, devices: int = 2, nodes: int = 1) -> Path:
    """Train in ``devices`` processes on each of ``nodes`` machines, from a notebook or a script; their lines are shown.

    Parameters
    ----------
    job : dict
        ``radiographs`` (folder), ``unseen`` (keys), ``keep_no_finding``, ``semantics``, ``semantic_model``, ``seed``,
        ``config`` (:class:`~cmdml.config.TrainConfig` or its values), ``out`` (run folder), ``accelerator``.
    devices, nodes : int
        More than one node needs ``MASTER_ADDR`` and the same call on each, with ``NODE_RANK`` set.

    Returns
    -------
    Path
        The run folder. The processes die with the one that started them.

    Raises
    ------
    ValueError
        If a process failed, in the words of the first that did.
    """
    config = job["config"]
    job = job | {"config": asdict(config) if isinstance(config, TrainConfig) else config}
    _run(job, devices, nodes)
    return Path(job["out"])


def extract(radiographs, folder, *, devices: int = 2, nodes: int = 1, **options) -> FeatureSet:
    """Extract features in ``devices`` processes on each of ``nodes`` machines that share the folder, a part each.

    Parameters
    ----------
    radiographs : path
        Folder of a set.
    folder : path
        As in :func:`cmdml.features.extract`, as are ``options``; with ``device="cuda"`` every process takes a GPU.
    devices, nodes : int
        As in :func:`launch`.

    Returns
    -------
    FeatureSet
        Bit-identical with one that a single process wrote. Killed, the same call goes on where each part was.

    Raises
    ------
    ValueError
        If a process failed, in the words of the first that did.
    """
    _run({"radiographs": str(radiographs), "features": str(folder), "options": options}, devices, nodes)
    return FeatureSet.load(folder)


def _run(job: dict, devices: int, nodes: int) -> None:
    """One process of :func:`main` for each device; ValueError in the words of the first that failed."""
    what = _kind(job)
    where = ["--standalone"] if nodes == 1 else [
        f"--nnodes={nodes}", f"--node-rank={os.environ['NODE_RANK']}", f"--master-addr={os.environ['MASTER_ADDR']}"
    ]  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", *where, f"--nproc-per-node={devices}",
               "-m", "cmdml.launch", json.dumps(job)]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
                          preexec_fn=_die_with_parent) as child:  # fmt: skip
        said = []
        try:
            for line in child.stdout:
                said.append(line.rstrip())
                if line.startswith(("epoch", "part")):
                    print(line.rstrip(), flush=True)
        finally:
            if child.poll() is None:
                child.terminate()
    if child.returncode:
        reasons = [line for line in said if line.startswith(f"{what} stopped. ")]
        raise ValueError(reasons[0] if reasons else f"a process of the {what} ended: " + " / ".join(said[-3:]))


def _die_with_parent() -> None:
    """A child that outlives a killed notebook would train on, unseen (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def main(text: str) -> None:
    """One process of a training or an extraction: ``job`` as JSON."""
    job = json.loads(text)
    {"training": _train, "extraction": _extract_part}[_kind(job)](job)


def _kind(job: dict) -> str:
    return "extraction" if "features" in job else "training"


def _extract_part(job: dict) -> None:
    team = join("cpu", timedelta(days=7))  # parts of slow machines are waited for
    options = {"progress": False, **job["options"]}
    if options.get("device") == "cuda":
        options["device"] = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    features.extract(RadiographSet.load(job["radiographs"]), job["features"], **options, shard=(team.rank, team.size))
    print(f"part {team.rank} of {team.size} is done", flush=True)
    team.wait()  # whoever wrote the last part has put them together


def _train(job: dict) -> None:
    radiographs = RadiographSet.load(job["radiographs"])
    findings = SeenUnseen(radiographs.findings, tuple(job["unseen"]))
    told = {"model": job["semantic_model"]} if job.get("semantic_model") else {}
    vectors = semantic_vectors(findings_of(findings.keys), job["semantics"], seed=job.get("seed", 0), **told)
    parts = partition(radiographs, findings, keep_no_finding=job.get("keep_no_finding", True))
    done = fit(parts, vectors, TrainConfig.from_dict(job["config"]), job["out"], progress=False,
               accelerator=job.get("accelerator", "auto"))  # fmt: skip
    if int(os.environ.get("RANK", 0)) == 0:
        for row in done.history.itertuples():
            print(f"epoch {row.epoch}: loss {row.loss:.4f}, seen validation AUROC {row.val_seen_auroc:.4f}", flush=True)


if __name__ == "__main__":
    _die_with_parent()  # torchrun's own death does not end what it started
    try:
        main(sys.argv[1])
    except (ValueError, OSError) as error:
        print(f"{_kind(json.loads(sys.argv[1]))} stopped. {error}", flush=True)
        sys.exit(1)
