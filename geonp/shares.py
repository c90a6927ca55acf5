"""One batch, shared out: among processes, and among the parts that a process works on one after the other.

A step is taken on one batch, however many processes and parts work on it. They all draw from the same list of
rasters, each its own tiles of the batch: which tiles make up a step then depends on the seed alone, and a file
is read by whoever needs a window of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import islice
from typing import Protocol, runtime_checkable

from geonp.errors import UsageError
from geonp.tasks import Share, Task


class Batches(Protocol):
    """Where training gets its tasks from; `geonp.tiles.TileSet` is one."""

    def batch(self, step: int) -> Task:
        """Return the training batch of a step, the same one whenever it is asked for, from any thread."""

    def validation(self) -> Iterable[Task]:
        """Return the validation tasks, always the same ones."""


@runtime_checkable
class Numbered(Protocol):
    """Batches whose tiles can be drawn by their number, without the rest; others are drawn whole, and cut.

    `batch_size` tiles make up a batch, `validation_tiles` are validated on.
    """

    batch_size: int
    validation_tiles: int

    def draw(self, step: int, numbers: range) -> Task:
        """Return the tiles of a step's batch that have these consecutive numbers."""

    def validated(self, numbers: range) -> Task:
        """Return the validation tiles that have these numbers."""


class Portion:
    """One of several equal parts of numbered batches.

    Parameters
    ----------
    tiles : the batches.
    part, parts : which part, of how many.

    Raises
    ------
    UsageError
        If a batch cannot be cut so.
    """

    def __init__(self, tiles: Numbered, part: int, parts: int) -> None:
        self.tiles = tiles
        self._numbers = portion(tiles.batch_size, part, parts)
        self._validated = range(part, tiles.validation_tiles, parts)

    def batch(self, step: int) -> Task:
        """Return this part of a step's batch."""
        return self.tiles.draw(step, self._numbers)

    def validation(self) -> list[Task]:
        """Return this part of the validation tiles in batches of its size; drawn once."""
        return list(self._validation)

    @cached_property
    def _validation(self) -> tuple[Task, ...]:
        size = len(self._numbers)
        starts = range(0, len(self._validated), size)
        return tuple(self.tiles.validated(self._validated[start : start + size]) for start in starts)


def share_out(batches: Batches, mine: Iterable[int], parts: int) -> list[Batches]:
    """Return those of `parts` shares of the batches that are `mine`.

    Raises
    ------
    UsageError
        If a batch cannot be cut into so many equal parts.
    """
    if parts == 1:
        return [batches]
    if isinstance(batches, Numbered):
        return [Portion(batches, part, parts) for part in mine]
    whole = lru_cache(maxsize=2)(batches.batch)
    return [_Cut(whole, batches, part, parts) for part in mine]


def portion(whole: int, part: int, parts: int, what: str = "tiles") -> range:
    """Return the numbers of the fields of one of `parts` equal parts of a batch of `whole`.

    What the fields are called in the error is `what`.

    Raises
    ------
    UsageError
        If they cannot be equal.
    """
    if whole % parts:
        raise UsageError(
            f"a batch of {whole} {what} cannot be cut into {parts} equal parts (processes times --accumulate); "
            f"give a batch of {-(-whole // parts) * parts} {what}, or other parts"
        )
    size = whole // parts
    return range(part * size, (part + 1) * size)


def pick(task: Task, numbers: range) -> Task:
    """Return the fields of these numbers as a share of the task."""
    at = slice(numbers.start, numbers.stop)
    return Task(
        task.values[at],
        task.context[at],
        task.target[at],
        task.spacing[at],
        None if task.covariates is None else task.covariates[at],
        Share(numbers.start, len(task.values)),
    )


class _Cut:
    """A share of batches that can only be drawn whole."""

    def __init__(self, whole: _Draw, batches: Batches, part: int, parts: int) -> None:
        self._whole, self._batches, self._part, self._parts = whole, batches, part, parts

    def batch(self, step: int) -> Task:
        task = self._whole(step)
        return pick(task, portion(len(task.values), self._part, self._parts))

    def validation(self) -> Sequence[Task]:
        return list(islice(self._batches.validation(), self._part, None, self._parts))


class _Draw(Protocol):
    def __call__(self, step: int, /) -> Task: ...
