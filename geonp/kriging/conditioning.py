"""Which observations a conditional density is conditioned on: earlier ones, or those on every side of a gap.

A set is a row of indices: the observation that is told last, before it the neighbours that tell it; -1 is nobody.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def conditioning_sets(points: Array, neighbours: int, terms: int, generator: np.random.Generator) -> Index:
    """Return who conditions whom: (n, neighbours + 1) indices, each row's own observation last, -1 where none.

    Parameters
    ----------
    points : (N, D) positions whose Euclidean distance is meant.
    neighbours : m, the largest number of earlier observations to condition on.
    terms : n <= N, factors of the likelihood to keep, drawn at random.
    generator : draws the order and the factors.
    """
    total = len(points)
    order = generator.permutation(total)
    ranked = points[order]
    chosen = np.sort(generator.permutation(total)[: min(terms, total)])
    sets = np.full((len(chosen), neighbours + 1), -1, np.int64)
    sets[:, -1] = order[chosen]
    first = np.searchsorted(chosen, neighbours + 1)
    for row in range(first):
        sets[row, : chosen[row]] = order[: chosen[row]]
    # Ranks (stop/2, stop] are searched in a tree of the first `stop`: half of what it finds comes before.
    stop = total
    while first < len(chosen):
        low = max(stop // 2, chosen[first] if stop <= 2 * (neighbours + 1) else 0)
        rows = np.flatnonzero((chosen >= low) & (chosen < stop))
        rows = rows[rows >= first]
        if len(rows):
            tree = KDTree(ranked[:stop], balanced_tree=False, compact_nodes=False)
            width = min(stop, 3 * neighbours + 8)
            while len(rows):
                found = tree.query(ranked[chosen[rows]], k=width)[1].reshape(len(rows), -1)
                before = found < chosen[rows, None]
                enough = (before.sum(1) >= np.minimum(neighbours, chosen[rows])) | (width == stop)
                nearest = np.argsort(~before, axis=1, kind="stable")[:, :neighbours]
                near = np.take_along_axis(found, nearest, 1)
                kept = np.where(np.take_along_axis(before, nearest, 1), order[near], -1)
                sets[rows[enough], : kept.shape[1]] = kept[enough]
                rows, width = rows[~enough], min(stop, 2 * width)
        if low <= chosen[first]:
            break
        stop = low
    return sets


def surrounding_sets(points: Array, told: Index, tellers: Index, neighbours: int) -> Index:
    """Return (n, neighbours + 1) sets of the nearest `tellers` of every `told` point, on every side of it.

    Each quadrant offers its nearest neighbours / 4 first; what a quadrant lacks is made up for by the nearest
    of the rest.
    """
    tree = KDTree(points[tellers], balanced_tree=False, compact_nodes=False)
    width = min(4 * neighbours, len(tellers))
    found = tree.query(points[told], k=width)[1].reshape(len(told), -1)
    offset = points[tellers][found] - points[told][:, None]
    quadrant = (offset[..., 0] > 0) * 2 + (offset[..., 1] > 0)
    late = np.ones(found.shape, bool)
    for q in range(4):
        inside = quadrant == q
        late &= ~(inside & (np.cumsum(inside, 1) <= max(neighbours // 4, 1)))
    best = np.argsort(late, axis=1, kind="stable")[:, :neighbours]
    sets = np.full((len(told), neighbours + 1), -1, np.int64)
    sets[:, : best.shape[1]] = tellers[np.take_along_axis(found, best, 1)]
    sets[:, -1] = told
    return sets
