"""Work in threads that are always waited for.

SciPy's own `workers` are not, when a signal interrupts the wait: what they write to is freed meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geonp.kriging.threads import at_once, one_thread

T = TypeVar("T")
_CHUNK = 8192


def each(function: Callable[[int], T], items: Iterable[int]) -> list[T]:
    """Return `function` of every item, in order, in as many threads as there are to use."""
    with one_thread() as workers:
        return list(at_once(function, items, workers))


def nearest(
    tree: cKDTree, places: NDArray[np.float64], rank: int | NDArray[np.intp], reach: float = math.inf
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return distances and indices of the nearest points of `tree`, as `cKDTree.query` does.

    Parameters
    ----------
    places : (N, 2).
    rank : how many, or which ones (1 is the nearest).
    reach : points farther away are not found: distance infinite, index the number of points.
    """
    starts = range(0, max(len(places), 1), _CHUNK)
    found = each(lambda at: tree.query(places[at : at + _CHUNK], rank, distance_upper_bound=reach), starts)
    distance, index = zip(*found, strict=True)
    return np.concatenate(distance), np.concatenate(index)
