"""A run beside one that was kept: what became slower, or takes more memory.

Times are compared as multiples of a reference's time at the same size in the same run, so that a faster machine
makes nothing look faster. The reference is another package's, which does not change with geonp.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from geonp.benchmarks.result import Cell, Column, Table
from geonp.benchmarks.speed.record import Axis, Outcome, Point, Record
from geonp.errors import InputError

REFERENCE = "SciPy griddata, cubic"
LEAST = 0.5
"""Seconds; what takes less in both runs is not compared, since it is mostly chance."""

_COLUMNS = (
    Column("axis", "against"),
    Column("method", "method"),
    Column("size", "size"),
    Column("quantity", "of"),
    Column("before", "before", 2),
    Column("now", "now", 2),
    Column("ratio", "ratio", 2),
    Column("verdict", "verdict"),
)


class Quantity(StrEnum):
    """What is compared."""

    TIME = "time"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Change:
    """One comparison: times in multiples of the reference's, memory in GiB.

    `at_least` says that the run was stopped, so that `now` is a bound.
    """

    axis: Axis
    method: str
    size: int
    quantity: Quantity
    before: float
    now: float
    at_least: bool = False

    @property
    def ratio(self) -> float:
        """How many times more than before."""
        return self.now / self.before


@dataclass(frozen=True)
class Comparison:
    """Every change, and the factor beyond which it counts."""

    changes: tuple[Change, ...]
    factor: float

    @property
    def worse(self) -> tuple[Change, ...]:
        """Return those that are beyond the factor, or failed."""
        return tuple(c for c in self.changes if c.ratio > self.factor)

    def table(self) -> Table:
        """Return the comparison as a table, the worst first."""
        ordered = sorted(self.changes, key=lambda c: c.ratio, reverse=True)
        return Table(
            f"Compared with the kept run: times in multiples of {REFERENCE}, memory in GiB; worse beyond "
            f"{self.factor:g} times",
            _COLUMNS,
            tuple(self._row(change) for change in ordered),
        )

    def _row(self, c: Change) -> tuple[Cell, ...]:
        verdict = "worse" if c.ratio > self.factor else "better" if c.ratio < 1 / self.factor else "same"
        if c.now == math.inf:
            verdict = "failed"
        elif c.at_least:
            verdict += ", stopped"
        return str(c.axis), c.method, c.size, str(c.quantity), c.before, c.now, c.ratio, verdict


def compare(now: Record, before: Record, factor: float) -> Comparison:
    """Compare geonp's methods at every size that both runs have.

    Raises
    ------
    InputError
        If the reference was not measured in both, or no size was.
    """
    for name, record in (("this run", now), ("the kept run", before)):
        if not any(_timed(p) for p in record.points if p.method == REFERENCE):
            raise InputError(f"{name} has no time of the reference, {REFERENCE}; give it a longer --budget")
    changes: list[Change] = []
    for old in before.points:
        new = next((p for p in now.points if _key(p) == _key(old)), None)
        if not old.peer and new is not None and _timed(old):
            changes += _changes(new, old, now, before)
    if not changes:
        raise InputError("the two runs have no size of a method in common; give this one a longer --budget")
    return Comparison(tuple(changes), factor)


def _changes(new: Point, old: Point, now: Record, before: Record) -> list[Change]:
    assert old.seconds is not None
    was = old.seconds / _reference(before.points, old)
    if new.outcome is Outcome.FAILED:
        return [Change(old.axis, old.method, old.size, Quantity.TIME, was, math.inf)]
    if new.outcome is Outcome.STOPPED:
        # Known only to take longer than it was given; that says something where it was given enough.
        bound = 0.0 if new.limit is None else new.limit / _reference(now.points, new)
        if bound <= was:
            return []
        return [Change(old.axis, old.method, old.size, Quantity.TIME, was, bound, at_least=True)]
    out = []
    if new.seconds is not None and max(new.seconds, old.seconds) >= LEAST:
        took = new.seconds / _reference(now.points, new)
        out.append(Change(old.axis, old.method, old.size, Quantity.TIME, was, took))
    if new.peak and old.peak:
        out.append(
            Change(old.axis, old.method, old.size, Quantity.MEMORY, old.peak / 1024**3, new.peak / 1024**3)
        )
    return out


def _reference(points: Sequence[Point], like: Point) -> float:
    """Return the reference's seconds at the size nearest to that of `like`, on the same axis where it has any."""
    timed = [p for p in points if p.method == REFERENCE and _timed(p)]
    near = [p for p in timed if p.axis == like.axis] or timed
    found = min(near, key=lambda p: abs(math.log(p.pixels * p.bands) - math.log(like.pixels * like.bands)))
    same = [p for p in near if p.size == like.size] or [found]
    assert same[0].seconds is not None
    return same[0].seconds


def _timed(point: Point) -> bool:
    return point.outcome is Outcome.DONE and bool(point.seconds)


def _key(point: Point) -> tuple[Axis, str, int, int, int]:
    # Observations are drawn: those of a size are as many in both runs, as the seed is the same.
    return point.axis, point.method, point.pixels, point.observations, point.bands
