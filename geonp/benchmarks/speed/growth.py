"""How time grows: the slope of its logarithm against that of the size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geonp.benchmarks.speed.record import Outcome, Point

_DECADE = 10


@dataclass(frozen=True, slots=True)
class Slope:
    """A straight line through logarithms: its slope, and the sizes that it goes through."""

    value: float
    points: int
    first: int
    last: int


def slope(points: Sequence[Point], *, last_decade: bool = False) -> Slope | None:
    """Return the least-squares slope of log seconds against log size; None of fewer than two sizes.

    Parameters
    ----------
    points : of one method and axis; those without a time are left out.
    last_decade : take the largest size, and those down to a tenth of it, alone: what every run pays, however
        small, flattens the line through all of them.
    """
    done = [p for p in points if p.outcome is Outcome.DONE and p.seconds]
    largest = max((p.size for p in done), default=0)
    # Sides of rasters are whole numbers, so a decade is a little more or less than a factor of ten.
    chosen = [p for p in done if not last_decade or p.size * _DECADE * 1.02 >= largest]
    if len({p.size for p in chosen}) < 2:
        return None
    x, y = np.log([p.size for p in chosen]), np.log([p.seconds or np.nan for p in chosen])
    x = x - x.mean()
    value = float((x @ (y - y.mean())) / (x @ x))
    return Slope(value, len(chosen), min(p.size for p in chosen), largest)
