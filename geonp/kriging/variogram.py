"""The empirical variogram, its map, and models fitted to it by weighted least squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from geonp.errors import InputError, UsageError
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.distance import on_sphere

Array = NDArray[np.float64]
Estimator = Literal["matheron", "cressie"]

_LOCAL = 64


@dataclass(frozen=True, slots=True)
class EmpiricalVariogram:
    """Half the mean squared difference of observations, by distance.

    Parameters
    ----------
    lag : (L,) mean distance of the pairs of each class; classes without pairs are left out.
    semivariance : (L,) in squared units of the data.
    pairs : (L,) number of pairs behind it.
    direction : degrees counter-clockwise from +x of the pairs, or None where all directions are pooled.
    estimator : how the differences were averaged.
    metric : of the distances, as in `Covariance`.
    """

    lag: Array
    semivariance: Array
    pairs: NDArray[np.int64]
    direction: float | None
    estimator: Estimator
    metric: str


@dataclass(frozen=True, slots=True)
class VariogramMap:
    """Half the mean squared difference of observations, by separation in both directions.

    Parameters
    ----------
    step : side of a cell, in the unit of the coordinates.
    semivariance : (2 C + 1, 2 C + 1), rows by difference in y, columns by difference in x, both from -C to C
        cells; symmetric about the centre; NaN where there is no pair.
    pairs : number of pairs in each cell.
    """

    step: float
    semivariance: Array
    pairs: NDArray[np.int64]


def empirical_variogram(
    coords: Array,
    values: Array,
    *,
    seed: int,
    classes: int = 15,
    reach: float | None = None,
    estimator: Estimator = "matheron",
    direction: float | None = None,
    tolerance: float = 22.5,
    metric: str = "euclidean",
    sample: int = 3000,
) -> EmpiricalVariogram:
    r"""Return the empirical variogram of scattered observations.

    Parameters
    ----------
    coords : (N, 2) coordinates (y, x), or (latitude, longitude) for the great-circle metric.
    values : (N,), the trend already subtracted if there is one.
    seed : of the sample that is taken where there are more than `sample` observations. Short classes, which a
        sample would empty, are then filled from the nearest neighbours of the sampled ones among all.
    classes : number of distance classes, of equal width.
    reach : largest distance; by default half the diagonal of the bounding box.
    estimator : "matheron" (1962), the mean of squared differences, or "cressie", the robust one of Cressie and
        Hawkins (1980, Mathematical Geology 12(2)): (mean |d|^(1/2))^4 / (0.457 + 0.494/n), halved.
    direction, tolerance : use the pairs within `tolerance` degrees of this direction (counter-clockwise from
        +x) alone; None uses all.
    metric : "euclidean" or "great-circle" (distances in metres, no direction).
    sample : most observations to pair with each other.

    Raises
    ------
    InputError
        If there are fewer than two observations, or no two differ in place.
    UsageError
        If a parameter is outside its domain.
    """
    _check(coords, values, estimator)
    if direction is not None and metric != "euclidean":
        raise UsageError(
            f"a direction has no meaning in the {metric} metric; leave it out, or project the data"
        )
    if classes < 1 or (reach is not None and not reach > 0):
        raise UsageError(f"classes and reach must be positive, got {classes} and {reach}")
    points = _positions(coords, metric)
    reach = reach or _diagonal(points) / 2
    if reach == 0:
        raise InputError("all observations lie in one place; a variogram needs two places at least")
    separation, difference = _pairs(points, np.asarray(values, np.float64), reach, sample, seed)
    if direction is not None:
        bearing = np.degrees(np.arctan2(separation[:, 0], separation[:, 1]))
        off = np.abs((bearing - direction + 90) % 180 - 90)
        keep = off <= tolerance
        separation, difference = separation[keep], difference[keep]
    distance = np.sqrt((separation**2).sum(1))
    # Repeated places say what the nugget is, not how the field varies: they are not a distance class.
    keep = (distance > 0) & (distance <= reach)
    distance, difference = distance[keep], difference[keep]
    label = np.minimum((distance / reach * classes).astype(np.int64), classes - 1)
    count = np.bincount(label, minlength=classes)
    kept = count > 0
    if not kept.any():
        raise InputError(
            f"no pair of observations is within {reach:g}; raise reach or tolerance ({tolerance:g})"
        )
    lag = np.bincount(label, distance, classes)[kept] / count[kept]
    gamma = _average(label, difference, count, estimator)[kept]
    return EmpiricalVariogram(lag, gamma, count[kept], direction, estimator, metric)


def variogram_map(
    coords: Array,
    values: Array,
    *,
    seed: int,
    cells: int = 10,
    reach: float | None = None,
    estimator: Estimator = "matheron",
    sample: int = 3000,
) -> VariogramMap:
    """Return the variogram by separation in y and x, which shows an anisotropy as an ellipse.

    Parameters are those of `empirical_variogram`; `cells` is C, the cells from the centre to each side.
    """
    _check(coords, values, estimator)
    points = _positions(coords, "euclidean")
    reach = reach or _diagonal(points) / 4
    if reach == 0:
        raise InputError("all observations lie in one place; a variogram map needs two places at least")
    step = reach / (cells + 0.5)
    separation, difference = _pairs(
        points, np.asarray(values, np.float64), math.sqrt(2) * reach, sample, seed
    )
    separation = np.concatenate([separation, -separation])
    difference = np.concatenate([difference, difference])
    place = np.rint(separation / step).astype(np.int64)
    keep = (np.abs(place) <= cells).all(1) & (separation != 0).any(1)
    side = 2 * cells + 1
    label = (place[keep] + cells) @ np.array([side, 1])
    count = np.bincount(label, minlength=side**2)
    gamma = _average(label, difference[keep], count, estimator)
    return VariogramMap(step, gamma.reshape(side, side), count.reshape(side, side))


def fit_variogram(
    empirical: EmpiricalVariogram | Sequence[EmpiricalVariogram],
    family: str,
    *,
    nu: float | None = None,
    anisotropic: bool = False,
) -> Covariance:
    """Return the one-structure covariance whose variogram is nearest to empirical ones.

    Minimises the sum of pairs (empirical / model - 1)^2 (Cressie 1985, Mathematical Geology 17(5), eq. 11).

    Parameters
    ----------
    empirical : one variogram, or several in different directions.
    family : any of `geonp.kriging.covariance.FAMILIES`; "power" also finds its exponent.
    nu : smoothness where the family is "matern".
    anisotropic : also find angle and ratio; needs variograms in three directions or more.

    Raises
    ------
    InputError
        If there are fewer than three distance classes, or every semivariance is zero.
    UsageError
        If an anisotropy is asked for without the directions to tell it.
    """
    all_of = [empirical] if isinstance(empirical, EmpiricalVariogram) else list(empirical)
    directions = {e.direction for e in all_of}
    if anisotropic and (len(directions) < 3 or None in directions):
        raise UsageError(
            f"an anisotropy needs variograms in three directions or more, got {sorted(map(str, directions))}"
        )
    lag, gamma = np.concatenate([e.lag for e in all_of]), np.concatenate([e.semivariance for e in all_of])
    pairs = np.concatenate([e.pairs for e in all_of])
    if len(lag) < 3 or not (gamma > 0).any():
        raise InputError(
            f"{len(lag)} distance classes with a largest semivariance of {gamma.max(initial=0):g} do not determine "
            "a variogram; it takes three classes and values that differ"
        )
    top, far = float(gamma.max()), float(lag.max())
    metric = all_of[0].metric

    def model(x: Array) -> Covariance:
        bend = x[3:5] if anisotropic else np.zeros(2)
        s = float(np.hypot(*bend))
        angle = math.degrees(math.atan2(bend[1], bend[0])) / 2 % 180 if s > 0 else 0.0
        power = 2 / (1 + math.exp(-x[1])) if family == "power" else None
        reach = 4 * far if power else far * math.exp(x[1] + s / 2)
        sill = top * math.exp(x[0]) / (far**power if power else 1.0)
        structure = Structure(family, sill, reach, nu, angle, math.exp(-s), power)
        return Covariance((structure,), top * math.exp(x[2]), metric)

    def misfit(x: Array) -> Array:
        fitted = model(x)
        expected = [fitted.variogram(e.lag, e.direction) for e in all_of]
        return np.asarray(np.sqrt(pairs) * (gamma / np.concatenate(expected) - 1))

    low, high = [-12.0, -7.0, -16.0], [5.0, 3.0, 2.0]
    if anisotropic:
        low, high = [*low, -2.0, -2.0], [*high, 2.0, 2.0]
    starts = [
        np.array([sill, shape, nugget, *([0.05, 0.05] if anisotropic else [])])
        for shape in ((-1.0, 0.0, 1.0) if family == "power" else (-2.5, -1.5, -0.5, 0.5))
        for sill, nugget in ((0.0, -5.0), (-0.5, -1.0))
    ]
    from scipy.optimize import least_squares  # large, and needed where there are gaps alone

    found = min((least_squares(misfit, x, bounds=(low, high)) for x in starts), key=lambda r: float(r.cost))
    return model(found.x)


def _check(coords: Array, values: Array, estimator: str) -> None:
    if estimator not in get_args(Estimator):
        raise UsageError(f"unknown estimator {estimator!r}; use one of {', '.join(get_args(Estimator))}")
    if len(coords) != len(values):
        raise InputError(f"{len(coords)} coordinates but {len(values)} values; each observation needs both")
    if len(values) < 2:
        raise InputError(f"a variogram needs pairs of observations, got {len(values)} observation(s)")
    if not (np.isfinite(coords).all() and np.isfinite(values).all()):
        raise InputError("coordinates or values are not finite; leave out what was not observed")


def _positions(coords: Array, metric: str) -> Array:
    coords = np.asarray(coords, np.float64)
    return on_sphere(coords) if metric == "great-circle" else coords


def _diagonal(points: Array) -> float:
    return float(np.linalg.norm(np.ptp(points, axis=0)))


def _pairs(points: Array, values: Array, reach: float, sample: int, seed: int) -> tuple[Array, Array]:
    """Return separations (P, D) and absolute differences (P,) of pairs within `reach`, each pair once."""
    total = len(points)
    if total <= sample:
        return _all_pairs(points, values, 0.0, reach)
    chosen = np.random.default_rng(seed).permutation(total)[:sample]
    tree = KDTree(points, balanced_tree=False, compact_nodes=False)
    distance, near = tree.query(points[chosen], k=min(_LOCAL + 1, total))
    # Up to here nearly every chosen observation knows all its neighbours, so short pairs are not thinned out.
    known = min(float(np.quantile(distance[:, -1], 0.1)), reach)
    inside = (distance <= known) & (near != chosen[:, None])
    a, b = np.repeat(chosen, inside.sum(1)), near[inside]
    far = _all_pairs(points[chosen], values[chosen], known, reach)
    return (
        np.concatenate([points[b] - points[a], far[0]]),
        np.concatenate([np.abs(values[b] - values[a]), far[1]]),
    )


def _all_pairs(points: Array, values: Array, beyond: float, reach: float) -> tuple[Array, Array]:
    separations, differences = [], []
    for i in range(len(points) - 1):
        separation = points[i + 1 :] - points[i]
        square = (separation**2).sum(1)
        keep = (square <= reach**2) & ((square > beyond**2) | (beyond == 0))
        separations.append(separation[keep])
        differences.append(np.abs(values[i + 1 :][keep] - values[i]))
    return np.concatenate(separations), np.concatenate(differences)


def _average(
    label: NDArray[np.int64], difference: Array, count: NDArray[np.int64], estimator: Estimator
) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        if estimator == "matheron":
            return np.asarray(np.bincount(label, difference**2, len(count)) / (2 * count))
        root = np.bincount(label, np.sqrt(difference), len(count)) / count
        return np.asarray(root**4 / (2 * (0.457 + 0.494 / count)))
