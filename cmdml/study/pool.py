"""Worker processes for what needs every core."""

from __future__ import annotations

import ctypes
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from cmdml.sources.decoding import cores


@contextmanager
def workers():
    """A pool of processes, one a core, that end with this one; OSError in one sentence if one of them is killed."""
    try:
        with ProcessPoolExecutor(cores(), initializer=_alone) as pool:
            yield pool
    except BrokenProcessPool as error:
        raise ChildProcessError("a worker process was killed, perhaps for want of memory; run again") from error


def _alone() -> None:
    threadpool_limits(1)  # numpy's and scipy's; Snakemake gives a job that has all cores as many threads, too
    torch.set_num_threads(1)  # a fork has none of its parent's threads, and OpenMP would wait for them for ever
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: else it would wait for work for ever
