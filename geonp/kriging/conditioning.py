"""Which observations a conditional density is conditioned on: earlier ones, or those on every side of a gap.

A set is a row of indices: the neighbours that tell, then the observation that is told; -1 is nobody.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_SPARSER = 8


def conditioning_sets(points: Array, neighbours: int, terms: int, generator: np.random.Generator) -> Index:
    """Return who conditions whom: (n, neighbours + 1) indices, each row's own observation last.

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


def surrounding_sets(
    points: Array, told: Index, tellers: Index, neighbours: int, generator: np.random.Generator
) -> Index:
    """Return (n, neighbours + 1) sets of the nearest `tellers` of every `told` point, on every side of it.

    Each quadrant offers its nearest neighbours / 4 first; what a quadrant lacks is made up for by the nearest
    of the rest. So that the far side of a gap is seen past a crowded near side, ever sparser random selections
    of the tellers are searched as well.
    """
    layers: list[Index] = []
    members = tellers
    while True:
        tree = KDTree(points[members], balanced_tree=False, compact_nodes=False)
        width = min(4 * neighbours, len(members))
        layers.append(members[tree.query(points[told], k=width)[1].reshape(len(told), -1)])
        if len(members) <= width:
            break
        members = generator.permutation(members)[: len(members) // _SPARSER]
    found = np.concatenate(layers, 1)
    offset = points[found] - points[told][:, None]
    distance = (offset**2).sum(-1)
    distance[_repeated(found)] = np.inf
    nearest = np.argsort(distance, axis=1, kind="stable")
    found, distance = (np.take_along_axis(a, nearest, 1) for a in (found, distance))
    offset = np.take_along_axis(offset, nearest[..., None], 1)
    quadrant = (offset[..., 0] > 0) * 2 + (offset[..., 1] > 0)
    late = np.ones(found.shape, np.int64)
    for q in range(4):
        inside = quadrant == q
        late[inside & (np.cumsum(inside, 1) <= max(neighbours // 4, 1))] = 0
    late[np.isinf(distance)] = 2
    best = np.argsort(late, axis=1, kind="stable")[:, :neighbours]
    sets = np.full((len(told), neighbours + 1), -1, np.int64)
    chosen = np.where(np.take_along_axis(late, best, 1) < 2, np.take_along_axis(found, best, 1), -1)
    sets[:, : best.shape[1]] = chosen
    sets[:, -1] = told
    return sets


def _repeated(found: Index) -> NDArray[np.bool_]:
    """Return which entries stand further left in their row already."""
    order = np.argsort(found, axis=1, kind="stable")
    ordered = np.take_along_axis(found, order, 1)
    again = np.zeros(found.shape, bool)
    np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], 1)
    return again
