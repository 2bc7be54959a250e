"""Worker processes: as many as cores, one thread each, and one sentence where one of them is killed."""

import os
import signal
import sys

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from cmdml.study import pool


def threads(_):
    return {torch.get_num_threads(), *(library["num_threads"] for library in threadpool_info())}


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def fail(number):
    raise KeyError(number)


def parent_signal(_):
    """The signal that this process gets when its parent dies (prctl 2)."""
    import ctypes

    found = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(found))
    return found.value


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(pool, "cores", lambda: 2)


def test_workers_have_one_thread_and_end_with_their_parent():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with threadpool_limits(2), pool.workers() as workers:
            assert workers._max_workers == 2
            assert list(workers.map(threads, range(3))) == [{1}, {1}, {1}]
            if sys.platform == "linux":
                assert list(workers.map(parent_signal, range(1))) == [signal.SIGKILL]
    finally:
        torch.set_num_threads(before)


def test_a_killed_worker_is_one_sentence():
    with pytest.raises(ChildProcessError) as caught:
        with pool.workers() as workers:
            list(workers.map(die, range(1)))
    assert str(caught.value) == "a worker process was killed, perhaps for want of memory; run again"


def test_what_work_raises_is_raised_as_it_is():
    with pytest.raises(KeyError, match="7"):
        with pool.workers() as workers:
            list(workers.map(fail, [7]))
