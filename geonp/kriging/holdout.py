"""Observations hidden as the missing ones are: in gaps of the same shapes, at the same distances from data.

A covariance that tells its near neighbours well may say nonsense in the middle of a wide gap. What is wanted
there is therefore rehearsed: the raster's own gaps are laid over its observed parts (turned, flipped, moved),
or, for scattered points, the circle around a target that holds no data is emptied around an observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects, label
from scipy.spatial import KDTree
from scipy.special import ndtr

from geonp.kriging.conditioning import Array, Index, surrounding_sets
from geonp.kriging.covariance import Covariance
from geonp.kriging.linalg import cholesky, diagonals, forward
from geonp.kriging.threads import one_thread

Mask = NDArray[np.bool_]

WIDE = 2.0
"""A target further from the data than so many times their usual spacing lies in a gap."""

_HIDE, _HIDE_MOST = 0.2, 0.5
_BINS = 6


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Observations to be told from others, as targets will be.

    Parameters
    ----------
    sets : (n, k + 1) indices: the k that tell, then the one that is told; -1 is nobody.
    group : (n,) the gap that the told one was hidden by; errors in one gap are not independent.
    distance : (n,) from the told one to the nearest of those that tell.
    weight : (n,) adding up to one.
    """

    sets: Index
    group: Index
    distance: Array
    weight: Array

    def __len__(self) -> int:
        return len(self.sets)


@dataclass(frozen=True, slots=True)
class Score:
    """How well a covariance told a hold-out.

    Parameters
    ----------
    crps : (n,) continuous ranked probability score of each, lower is better, in units of the data.
    error : (n,) prediction minus truth.
    deviation : (n,) kriging standard deviation of an observation.
    """

    crps: Array
    error: Array
    deviation: Array


def score(
    covariance: Covariance, coords: Array, values: Array, holdout: HoldOut, errors: Array | None = None
) -> Score:
    """Krige every told observation of `holdout` from those that tell it (ordinary kriging), and score it.

    `errors` (N,) are error variances of the observations, the told one included, beside the nugget.
    """
    results = []
    noise = np.zeros(len(values)) if errors is None else errors
    with one_thread():
        for start in range(0, len(holdout), 256):
            sets = holdout.sets[start : start + 256]
            told, tellers, absent = sets[:, -1], np.maximum(sets[:, :-1], 0), sets[:, :-1] < 0
            mean, variance = _krige(
                covariance, coords[told], coords[tellers], values[tellers], noise[tellers], absent
            )
            results.append((mean, variance + noise[told]))
    mean, variance = (np.concatenate(part) for part in zip(*results, strict=True))
    error = mean - values[holdout.sets[:, -1]]
    deviation = np.sqrt(np.maximum(variance, 1e-300))
    return Score(crps(error, deviation), error, deviation)


def crps(error: Array, deviation: Array) -> Array:
    """Return the CRPS of normal predictions (Gneiting et al. 2005, Monthly Weather Review 133(5), eq. 5)."""
    z = error / deviation
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    return np.asarray(deviation * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi)))


def _krige(
    covariance: Covariance, at: Array, near: Array, values: Array, noise: Array, absent: Mask
) -> tuple[Array, Array]:
    origin = at[:, None] if covariance.metric == "euclidean" else 0.0
    x, q = near - origin, at[:, None] - origin
    there = (~absent).astype(np.float64)
    centre = (values * there).sum(1) / np.maximum(there.sum(1), 1)
    y = (values - centre[:, None]) * there
    matrix = covariance(x, x) * there[:, :, None] * there[:, None, :]
    # The jitter of a smooth covariance without nugget, and ones where nobody is.
    own = diagonals(matrix)
    own += max(covariance.nugget, 1e-9 * covariance.sill) * there + covariance.total_sill * (1 - there)
    own += noise * there
    right = np.stack([covariance(x, q)[..., 0] * there, y, there], -1)
    k, r, one = np.moveaxis(forward(cholesky(matrix), right), -1, 0)
    ones = (one**2).sum(1)
    mean = (r * one).sum(1) / ones
    guess = centre + mean + (k * (r - mean[:, None] * one)).sum(1)
    variance = covariance.total_sill - (k**2).sum(1) + (1 - (k * one).sum(1)) ** 2 / ones
    return guess, variance


def spacing_of(tree: KDTree, points: Array) -> Array:
    """Return the distance (n,) from each of `points`, which are in `tree`, to the nearest in another place."""
    distance = tree.query(points, k=min(4, tree.n))[0].reshape(len(points), -1)
    nearest = np.where(distance > 0, distance, np.inf).min(1)
    apart = nearest[np.isfinite(nearest)]
    # More than three observations in every place: look at all of them.
    return apart if len(apart) else _spread_places(np.asarray(tree.data))


def _spread_places(points: Array) -> Array:
    places = np.unique(points, axis=0)
    return np.asarray(KDTree(places).query(places, k=2)[0][:, 1])


def near_holdout(points: Array, told: Index, neighbours: int) -> HoldOut:
    """Return the hold-out in which every `told` observation is told by all the others near it."""
    width = min(neighbours + 1, len(points))
    found = KDTree(points).query(points[told], k=width)[1].reshape(len(told), width)
    own = found == told[:, None]
    own[~own.any(1), -1] = True
    sets = np.full((len(told), neighbours + 1), -1, np.int64)
    sets[:, : width - 1] = found[~own].reshape(len(told), width - 1)
    sets[:, -1] = told
    return _holdout(points, sets, told)


def ball_holdout(
    points: Array, radii: Array, tests: int, neighbours: int, generator: np.random.Generator, rounds: int = 16
) -> HoldOut:
    """Return the hold-out that empties circles of `radii` (targets' distances from data) around observations.

    What is told lies in the middle quarter of its circle.
    """
    sets, groups = [], []
    total, each = len(points), max(1, tests // rounds)
    everything = KDTree(points)
    for turn in range(rounds):
        hidden = np.zeros(total, bool)
        told: list[int] = []
        owner: list[int] = []
        for ball, centre in enumerate(generator.permutation(total)):
            radius = float(generator.choice(radii))
            inside = np.array(everything.query_ball_point(points[centre], radius), np.int64)
            if (hidden[inside].sum() == 0) and hidden.sum() + len(inside) <= max(_HIDE_MOST * total, 1):
                hidden[inside] = True
                away = np.linalg.norm(points[inside] - points[centre], axis=1)
                middle = inside[np.argsort(away)][: max(1, min(4, int((away <= radius / 4).sum())))]
                told += middle.tolist()
                owner += [turn * total + ball] * len(middle)
            if len(told) >= each or hidden.sum() >= _HIDE * total or ball > 50 * each:
                break
        left = np.flatnonzero(~hidden)
        if told and len(left) > 2:
            sets.append(surrounding_sets(points, np.array(told), left, neighbours, generator))
            groups += owner
    return _stack(points, sets, groups, neighbours)


def gap_regions(observed: Mask, spacing: tuple[float, float], usual: float) -> Mask:
    """Return where a grid has gaps: the circles without data around every pixel far from data."""
    if not observed.any():
        return ~observed
    core = distance_transform_edt(~observed, sampling=spacing) > WIDE * usual
    if not core.any():
        return np.zeros_like(observed)
    grown = distance_transform_edt(~core, sampling=spacing) < WIDE * usual
    return np.asarray(grown & ~observed)


def gap_holdout(
    observed: Mask,
    index: Index,
    points: Array,
    spacing: tuple[float, float],
    usual: float,
    tests: int,
    neighbours: int,
    generator: np.random.Generator,
    rounds: int = 16,
) -> HoldOut:
    """Return the hold-out that lays the grid's own gaps over its observations.

    Parameters
    ----------
    observed : (H, W), True where there is a value.
    index : (H, W) of each observation in `points`.
    points : (N, D), positions whose Euclidean distance is meant.
    spacing : of the pixels (dy, dx), in the unit of the points.
    usual : `spacing_of` the observations.
    tests : observations to tell, as far from the rest as targets in gaps are from the data.
    neighbours : that tell each.
    generator : places the gaps.
    rounds : number of times that gaps are laid; each hides a fifth to a half of the observations.
    """
    regions = gap_regions(observed, spacing, usual)
    wanted = distance_transform_edt(~observed, sampling=spacing)[regions]
    if not len(wanted):
        return _stack(points, [], [], neighbours)
    gaps, sets, groups = Gaps(regions, spacing), [], []
    for turn in range(rounds):
        owner = gaps.lay(observed, _HIDE, generator)
        hidden = owner > 0
        left = observed & ~hidden
        if not hidden.any() or left.sum() < 3:
            continue
        away = distance_transform_edt(~left, sampling=spacing)[hidden]
        chosen = alike(away, wanted, max(1, tests // rounds), generator)
        sets.append(surrounding_sets(points, index[hidden][chosen], index[left], neighbours, generator))
        groups += (1000 * turn + owner[hidden][chosen]).tolist()
    return _stack(points, sets, groups, neighbours)


class Gaps:
    """The gaps of a grid, to be laid over its observations.

    Parameters
    ----------
    regions : (H, W), True in gaps (`gap_regions`).
    spacing : of the pixels (dy, dx).
    """

    def __init__(self, regions: Mask, spacing: tuple[float, float]) -> None:
        self._numbered, _ = label(regions, np.ones((3, 3)))
        self._boxes = find_objects(self._numbered)
        area = np.bincount(self._numbered.ravel())[1:]
        self._share = area / area.sum()
        self._square = abs(spacing[0] - spacing[1]) < 0.02 * spacing[0]

    def lay(self, observed: Mask, least: float, generator: np.random.Generator) -> Index:
        """Return, by number from 1, the gap that hides each observation (H, W); 0 where none does.

        A share `least` to a half of the observations are hidden, if the gaps allow it.
        """
        owner = np.zeros(observed.shape, np.int64)
        for attempt in range(30):
            which = int(generator.choice(len(self._share), p=self._share))
            shape = self._numbered[self._boxes[which]] == which + 1
            laid = _lay(shape, observed.shape, self._square, generator)
            hidden = ((owner > 0) | laid) & observed
            if hidden.sum() <= _HIDE_MOST * observed.sum():
                owner[laid & (owner == 0)] = 1 + attempt
                if hidden.sum() >= least * observed.sum():
                    break
        return np.where(observed, owner, 0)


def merge(parts: Sequence[HoldOut], shares: Sequence[float]) -> HoldOut:
    """Return several hold-outs as one, each weighing its share; empty ones are left out."""
    full = [(p, s) for p, s in zip(parts, shares, strict=True) if len(p) and s > 0]
    total = sum(s for _, s in full)
    highest = np.cumsum([0] + [int(p.group.max()) + 1 for p, _ in full])
    return HoldOut(
        np.concatenate([p.sets for p, _ in full]),
        np.concatenate([p.group + h for (p, _), h in zip(full, highest, strict=False)]),
        np.concatenate([p.distance for p, _ in full]),
        np.concatenate([p.weight * (s / total) for p, s in full]),
    )


def _lay(shape: Mask, grid: tuple[int, int], square: bool, generator: np.random.Generator) -> Mask:
    """Return `shape` turned, flipped and moved at random over an empty grid, cut off at its edges."""
    if square and generator.random() < 0.5:
        shape = shape.T
    shape = shape[:: generator.choice([-1, 1]), :: generator.choice([-1, 1])]
    out = np.zeros(grid, bool)
    place = []
    for size, extent in zip(shape.shape, grid, strict=True):
        room = extent - size
        # A shape about as large as the grid is pushed half way out, or it would always lie where it was.
        low, high = (0, room) if room > extent // 4 else (-size // 2, room + size // 2)
        place.append(int(generator.integers(min(low, high), max(low, high) + 1)))
    target = tuple(slice(max(p, 0), min(p + s, e)) for p, s, e in zip(place, shape.shape, grid, strict=True))
    source = tuple(
        slice(t.start - p, max(t.stop - p, t.start - p)) for t, p in zip(target, place, strict=True)
    )
    out[target] = shape[source]
    return out


def alike(away: Array, wanted: Array, count: int, generator: np.random.Generator) -> Index:
    """Return which of the distances `away` to take, about `count`, so that they are spread as `wanted` are."""
    edges = np.quantile(wanted, np.linspace(0, 1, _BINS + 1)[1:-1])
    order = generator.permutation(len(away))
    bins = np.searchsorted(edges, away[order])
    taken = [order[bins == b][: -(-count // _BINS)] for b in range(len(edges) + 1)]
    return np.concatenate(taken)


def _stack(points: Array, sets: list[Index], groups: list[int], neighbours: int) -> HoldOut:
    all_sets = np.concatenate(sets) if sets else np.zeros((0, neighbours + 1), np.int64)
    return _holdout(points, all_sets, np.array(groups, np.int64))


def _holdout(points: Array, sets: Index, group: Index) -> HoldOut:
    tellers = sets[:, :-1]
    away = np.linalg.norm(points[np.maximum(tellers, 0)] - points[sets[:, -1]][:, None], axis=-1)
    distance = np.where(tellers < 0, np.inf, away).min(1) if len(sets) else np.zeros(0)
    return HoldOut(sets, group, distance, np.full(len(sets), 1 / max(len(sets), 1)))
