"""Small systems on many cores: one batch a thread, instead of all threads on every small operation.

An operation on systems of some dozens of observations is over before several threads have agreed on it; where
cores are shared with other work, waiting for each other costs a hundred times the work itself (measured).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Job = TypeVar("Job")
Result = TypeVar("Result")


@contextmanager
def one_thread() -> Iterator[int]:
    """Within it, torch uses one thread for each operation; how many it used before is yielded."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def each(work: Callable[[Job], Result], jobs: Iterable[Job], device: torch.device) -> Iterator[Result]:
    """Yield the result of every job, in order; on a CPU as many at a time as torch may use threads.

    Each job runs in one thread, so that results do not depend on how many there are.
    """
    if device.type != "cpu":
        yield from map(work, jobs)
        return
    with one_thread() as workers:
        yield from at_once(work, jobs, workers)


def at_once(work: Callable[[Job], Result], jobs: Iterable[Job], workers: int) -> Iterator[Result]:
    """Yield the result of every job, in order, of `workers` at a time; to be used within `one_thread`."""
    if workers == 1:
        yield from map(work, jobs)
        return
    # torch counts threads for each calling thread: every worker must be told.
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.map(work, jobs)
