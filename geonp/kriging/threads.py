"""Small systems on many cores: one batch a thread, instead of all threads on every small operation.

An operation on systems of some dozens of observations is over before several threads have agreed on it; where
cores are shared with other work, waiting for each other costs many times the work itself.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import OpenBLASController, ThreadpoolController

from geonp.kriging.arrays import Device
from geonp.machine import cores

Job = TypeVar("Job")
Result = TypeVar("Result")

_here = threading.local()
"""`alone` is set in threads that must not start others."""


class _LinearAlgebra:
    """The threads of BLAS, which all threads of the process share: one while anybody has asked for one.

    Whoever asks first takes them, and whoever leaves last gives them back, whichever thread limited them before:
    threadpoolctl would pass over all threads but that one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = 0
        self._pools: ThreadpoolController | None = None
        self._count = 1

    def count(self) -> int:
        """Return the threads that BLAS uses when nobody asks for one."""
        with self._lock:
            if not self._asked:
                self._look()
            return self._count

    @contextmanager
    def single(self) -> Iterator[None]:
        """Within it, BLAS uses one thread."""
        with self._lock:
            if not self._asked:
                OpenBLASController.clear_controlling_thread(force=True)
                self._limits = self._look().limit(limits=1, user_api="blas")
            self._asked += 1
        try:
            yield
        finally:
            with self._lock:
                self._asked -= 1
                if not self._asked:
                    OpenBLASController.clear_controlling_thread(force=True)
                    self._limits.restore_original_limits()
                    OpenBLASController.clear_controlling_thread(force=True)

    def _look(self) -> ThreadpoolController:
        if self._pools is None:
            import scipy.linalg.blas  # noqa: F401  its library must be there to be found

            self._pools = ThreadpoolController().select(user_api="blas")
        # Apple's says nothing of its threads.
        self._count = min((pool.num_threads for pool in self._pools.lib_controllers), default=cores())
        return self._pools


_blas = _LinearAlgebra()


def available() -> int:
    """Return how many threads may work at a time here: as many as BLAS, and torch if it is loaded, may use."""
    if getattr(_here, "alone", False):
        return 1
    torch = sys.modules.get("torch")
    return _blas.count() if torch is None else min(_blas.count(), torch.get_num_threads())


@contextmanager
def one_thread() -> Iterator[int]:
    """Within it, an operation uses one thread; how many threads there were to use is yielded."""
    before = available()
    torch, alone = sys.modules.get("torch"), getattr(_here, "alone", False)
    threads = torch.get_num_threads() if torch else 1
    with _blas.single():
        _alone()
        try:
            yield before
        finally:
            _here.alone = alone
            if torch is not None:
                torch.set_num_threads(threads)


def each(work: Callable[[Job], Result], jobs: Iterable[Job], device: Device) -> Iterator[Result]:
    """Yield the result of every job, in order; on the processor so many at a time as there are threads.

    Each job runs in one thread, so that results do not depend on how many there are.
    """
    if not device.processor:
        yield from map(work, jobs)
        return
    with one_thread() as workers:
        yield from at_once(work, jobs, workers)


def at_once(work: Callable[[Job], Result], jobs: Iterable[Job], workers: int) -> Iterator[Result]:
    """Yield the result of every job, in order, of `workers` at a time; to be used within `one_thread`."""
    if workers == 1:
        yield from map(work, jobs)
        return
    with ThreadPoolExecutor(workers, initializer=_alone) as pool:
        yield from pool.map(work, jobs)


def _alone() -> None:
    _here.alone = True
    if "torch" in sys.modules:
        # torch counts threads for each calling thread: every worker must be told.
        sys.modules["torch"].set_num_threads(1)
