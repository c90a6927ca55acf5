"""Work in threads that are always waited for.

SciPy's own `workers` are not, when a signal interrupts the wait: what they write to is freed meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

T = TypeVar("T")
_CHUNK = 8192


def each(function: Callable[[int], T], items: Iterable[int]) -> list[T]:
    """Return `function` of every item, in order, in as many threads as torch uses."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(function, items))


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
