"""Leave-one-out: every observation predicted from the others, by the methods that offer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.errors import InputError, MethodError
from geonp.field import Window, grid_shape, spacing
from geonp.kriging.local import Groups, krige_groups
from geonp.kriging.raster import RasterKriging
from geonp.kriging.scattered import Options, PointKriging
from geonp.methods.base import Method, Place
from geonp.methods.kriging import Kriging
from geonp.methods.scattered import Scattered

MOST, MOST_KRIGED = 500, 4000
"""Pixels that are left out: where a method is run again for each, and where all are kriged."""

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the others say of every pixel left out, (band, y, x), NaN elsewhere; variance or None."""

    mean: Values
    variance: Values | None


def places_left_out(observed: Mask, methods: Sequence[Method], rng: np.random.Generator) -> Mask:
    """Return the pixels (y, x) to leave out in turn: up to 4,000 of those observed, drawn at random.

    Up to 500 where one of the methods has to be run again for each.
    """
    rows, cols = np.nonzero(observed)
    most = MOST_KRIGED if all(isinstance(method, Kriging) for method in methods) else MOST
    if rows.size > most:
        some = rng.choice(rows.size, most, replace=False)
        rows, cols = rows[some], cols[some]
    left_out = np.zeros(observed.shape, bool)
    left_out[rows, cols] = True
    return left_out


def leave_one_out(method: Method, field: xr.DataArray, places: Mask) -> LeftOut:
    """Predict each of some observed pixels, all bands together, from all other pixels.

    What a method learns from the raster as a whole (a covariance, a variogram) it learns once, from all
    observations.

    Parameters
    ----------
    field : (band, y, x), in memory, NaN where not observed.
    places : (y, x), True at the pixels to leave out in turn.

    Returns
    -------
    LeftOut
        Kriging answers from the inverse of one system up to 4,000 observations (Dubrule 1983), and from 64
        neighbours of each place beyond; the methods that interpolate between scattered pixels are run anew at
        each place.

    Raises
    ------
    MethodError
        If the method offers no leave-one-out: it would have to be prepared anew for each observation.
    InputError
        If a band has fewer than two observations.

    References
    ----------
    Dubrule (1983), Cross validation of kriging in a unique neighborhood.
    """
    if int(np.isfinite(field.values).sum((1, 2)).min()) < 2:
        raise InputError("leaving one out needs two observations or more in every band")
    if isinstance(method, Kriging):
        return _of_kriging(method.prepare(field), field, places)
    if isinstance(method, Scattered):
        return _again_and_again(method.prepare(field), field, places)
    raise MethodError(
        f"method '{method.name}' offers no leave-one-out; hide a part at a time instead "
        "(--holdout random --context 0.9)"
    )


def _of_kriging(ready: Kriging, field: xr.DataArray, places: Mask) -> LeftOut:
    mean, variance = np.full((2, *field.shape), np.nan)
    for number, band in enumerate(ready.bands):
        rows, cols = band.survey.rows, band.survey.cols
        chosen = np.flatnonzero(places[rows, cols])
        rows, cols = rows[chosen], cols[chosen]
        told = _kriged_without(_points(band, ready.seed), chosen)
        mean[number, rows, cols] = told[0]
        variance[number, rows, cols] = told[1] if ready.noise else told[1] - band.solver.covariance.nugget
    return LeftOut(mean, np.maximum(variance, 0))


def _kriged_without(kriging: PointKriging, chosen: NDArray[np.int64]) -> tuple[Values, Values]:
    """Return mean and variance of some observations, each kriged from the others."""
    known = kriging.observations
    if kriging.exact is not None:
        residual, variance = kriging.exact.leave_one_out()
        return (known.values - residual)[chosen], variance[chosen]
    assert kriging.search is not None
    search = replace(kriging.search, count=kriging.search.count + 1)
    near = search.near(search.places[chosen])
    near = np.where(near == chosen[:, None], -1, near)
    near = np.take_along_axis(near, np.argsort(near < 0, axis=1, kind="stable"), 1)[:, :-1]
    groups = Groups(known.coords[chosen][:, None], known.drift[chosen][:, None])
    mean, spread = krige_groups(known, near, groups, kriging.solver)
    return mean[:, 0], spread[:, 0] + known.noise[chosen]


def _points(band: RasterKriging, seed: int) -> PointKriging:
    """Return the band's observations as scattered points, to be kriged as the band is."""
    solver, known = band.solver, band.observations
    return PointKriging.of(
        known.coords,
        known.values,
        solver.covariance,
        kind=solver.kind,
        mean=solver.mean if solver.kind == "simple" else None,
        errors=band.survey.errors,
        drift=known.drift if known.drift.shape[1] else None,
        neighbours=band.neighbours,
        options=Options(solver.dtype, str(solver.device.torch or "cpu"), solver.memory, seed),
    )


def _again_and_again(ready: Scattered, field: xr.DataArray, places: Mask) -> LeftOut:
    # The overview is made of all observations: it would give away the one left out.
    method, shape, step = replace(ready, overview=None), grid_shape(field), spacing(field)
    values = np.asarray(field.values, np.float32)
    mean = np.full(values.shape, np.nan)
    variance = mean.copy() if method.has_variance else None
    for row, col in zip(*np.nonzero(places), strict=True):
        wanted = Window(int(row), int(col), 1, 1)
        place = Place(shape, wanted.grow(method.halo, shape), wanted)
        given = values[:, *place.given.within(Window.whole(shape))].copy()
        given[:, *place.inside] = np.nan
        done = method.complete(given, step, place)
        mean[:, row, col] = done.mean[:, 0, 0]
        if variance is not None and done.variance is not None:
            variance[:, row, col] = done.variance[:, 0, 0]
    return LeftOut(mean, variance)
