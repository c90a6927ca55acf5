"""Reading, computing and writing at the same time: one thread reads ahead, one writes behind, both are waited for.

What a thread raises comes out where its work is next asked for. The order of the work never changes.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], depth: int = 1
) -> Generator[Result, None, None]:
    """Yield `function` of every item, in order; one thread is up to `depth` items ahead of who takes them.

    Whatever ends the iteration (an error, an interruption, or leaving it), the thread is waited for.
    """
    todo = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="geonp-reader") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in todo:
                waiting.append(pool.submit(function, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Behind(Generic[Item]):
    """Does work on items in one thread, in the order in which they were given.

    Used as a context: leaving it waits until everything is done; leaving it by an error drops what has not
    begun. What the work raises is raised by the next `put`, or on leaving; nothing is done after it.

    Parameters
    ----------
    work : done on every item.
    depth : items that may wait; who gives more waits too.
    """

    def __init__(self, work: Callable[[Item], None], depth: int = 1) -> None:
        self._work = work
        # Not queue.Queue: an interruption in its Python code can leave its lock taken, and everybody waiting for ever.
        self._waiting: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(depth):
            self._room.put(None)
        self._failed: BaseException | None = None
        self._dropped = False
        self._thread = threading.Thread(target=self._run, name="geonp-writer", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Hand an item over; wait while too many are under way."""
        self._raise()
        self._room.get()
        self._waiting.put(item)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            self._room.put(None)
            if self._failed is None and not self._dropped:
                try:
                    self._work(item)
                except BaseException as error:
                    self._failed = error

    def _raise(self) -> None:
        if self._failed is not None:
            raise self._failed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._dropped = error is not None
        self._waiting.put(None)
        self._thread.join()
        if error is None:
            self._raise()
