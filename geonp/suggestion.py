"""Where to survey next: the pixels whose observation makes the map surest."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.field import as_field, geobox, grid_shape, load, summarise, warn_without_crs
from geonp.kriging.solver import Solver
from geonp.kriging.survey import Survey
from geonp.kriging.update import Gains, Lattice
from geonp.methods.kriging import Kriging, blocks

Mask = NDArray[np.bool_]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Site:
    """A pixel that is worth observing.

    Parameters
    ----------
    rank : from 1, the best first, each given that those before it are observed too.
    row, col : the pixel, from 0.
    x, y : its middle, in the field's coordinates.
    std : standard deviation of the observable there before it is observed.
    gain : share of the raster's integrated kriging variance that its observation takes away.
    left : share of the integrated variance that is left when it and those before it are observed.
    cost : of observing it; 1 where no cost was given.
    """

    rank: int
    row: int
    col: int
    x: float
    y: float
    std: float
    gain: float
    left: float
    cost: float


def suggest(
    field: xr.DataArray,
    n: int = 20,
    method: Kriging | None = None,
    *,
    mask: xr.DataArray | None = None,
    cost: xr.DataArray | None = None,
    min_distance: float = 0.0,
) -> list[Site]:
    """Return the pixels whose observation takes most from the integrated kriging variance, best first.

    Sites are chosen one after another, each with those before it taken for observed, so that a batch does not crowd
    where one would do. The gain of a site is exact (`geonp.kriging.update`): what an observation will say does not
    matter to the variance. It is followed on a lattice of a quarter of the distance between observations, and the best
    node refined to the pixel.

    Parameters
    ----------
    field : DataArray with two spatial dimensions and one band, NaN where not observed.
    n : how many sites.
    method : the kriging whose variance counts; a covariance is fitted where it has none.
    mask : on the field's grid; pixels that are not 0 cannot be surveyed. NaN is 0.
    cost : on the field's grid, positive; what counts is gain over cost. NaN cannot be surveyed.
    min_distance : least distance between sites, in metres (units of the coordinates without a CRS).

    Raises
    ------
    InputError
        If nothing was observed, there are fewer free pixels than sites, or mask or cost do not fit the field.
    UsageError
        If there is to be no site, or the field has several bands.

    Warns
    -----
    GeonpWarning
        If the distance leaves room for fewer sites.
    """
    whole = as_field(field)
    if n < 1:
        raise UsageError(f"{n} sites are none; ask for 1 or more (-n 20)")
    if whole.sizes["band"] != 1:
        raise UsageError(
            f"sites are suggested for one band, the field has {whole.sizes['band']}; choose one (--band 1)"
        )
    if min_distance < 0:
        raise UsageError(f"a distance of {min_distance:g} is impossible; give 0 or more (--min-distance 500)")
    shape = grid_shape(whole)
    warn_without_crs(whole)
    summary = summarise(whole)
    if not summary.observed[0]:
        raise InputError(
            "no pixel is observed: there is nothing to learn a covariance from; survey anywhere first"
        )
    if summary.constant[0]:
        raise InputError(
            f"{summary.observed[0]} observations of {summary.minimum[0]:g} to {summary.maximum[0]:g} are too few, or "
            "too alike, to learn a covariance from; observe at least three different values first"
        )
    free, price = _free(whole, mask, cost)
    if int(free.sum()) < n:
        raise InputError(
            f"{n} sites are asked for, and {int(free.sum())} of {free.size} pixels are neither observed nor "
            "masked; ask for fewer (-n)"
        )
    ready = (method or Kriging()).prepare(whole)
    band = ready.bands[0]
    solver = Solver(band.solver.covariance, band.solver.kind, band.solver.mean)
    gains = Gains(
        Lattice.of(shape, band.survey.density), band.spacing, solver, *_observed(whole, band.survey)
    )
    return _choose(gains, whole, n, free, price, min_distance)


def _choose(
    gains: Gains, field: xr.DataArray, n: int, free: Mask, price: Array | None, min_distance: float
) -> list[Site]:
    covariance = gains.solver.covariance
    before = float(gains.variance.sum())
    left, sites = before, list[Site]()
    dy, dx = map(abs, gains.spacing)
    rows, cols = np.ogrid[: free.shape[0], : free.shape[1]]
    while len(sites) < n:
        found = _best(gains, free, price)
        if found is None:
            warnings.warn(
                f"there is room for {len(sites)} sites of the {n}: lower the least distance ({min_distance:g}), or ask "
                "for fewer",
                GeonpWarning,
                stacklevel=3,
            )
            break
        row, col, gain, variance = found
        left -= gain
        x, y = _place(field, row, col)
        std = math.sqrt(variance + covariance.nugget)
        worth = 1.0 if price is None else float(price[row, col])
        share = gain / before if before > 0 else 0.0
        rest = max(left / before, 0.0) if before > 0 else 0.0
        sites.append(Site(len(sites) + 1, row, col, x, y, std, share, rest, worth))
        gains.take(row, col)
        free[row, col] = False
        if min_distance > 0:
            free &= ((rows - row) * dy) ** 2 + ((cols - col) * dx) ** 2 >= min_distance**2
    return sites


def _best(gains: Gains, free: Mask, price: Array | None) -> tuple[int, int, float, float] | None:
    """Return row, column, gain and variance of the free pixel with most gain over cost; None where none is free."""
    lattice, s = gains.lattice, gains.lattice.stride
    open_, cheapest = _cells(free, price, lattice)
    worth = np.where(open_, np.maximum(gains.gain, 1e-300) / cheapest, -1.0)
    top = int(np.argmax(worth))
    if worth.flat[top] < 0:
        return None
    node = np.unravel_index(top, worth.shape)
    row, col = (int(i) * s + lattice.first for i in node)
    start = max(row - lattice.first, 0), max(col - lattice.first, 0)
    cell = (slice(start[0], start[0] + s), slice(start[1], start[1] + s))
    places = np.argwhere(free[cell]) + np.array(start)
    gain, variance = gains.at(places[:, 0], places[:, 1])
    each = gain if price is None else gain / price[tuple(places.T)]
    best = int(np.argmax(each))
    return int(places[best, 0]), int(places[best, 1]), float(gain[best]), float(variance[best])


def _cells(free: Mask, price: Array | None, lattice: Lattice) -> tuple[Mask, Array | float]:
    """Return which nodes have a free pixel in their cell, and the least cost of one."""
    s, (rows, cols) = lattice.stride, lattice.nodes
    if s == 1:
        return free, 1.0 if price is None else np.where(free, price, 1.0)
    pad = ((0, max(rows * s - free.shape[0], 0)), (0, max(cols * s - free.shape[1], 0)))
    cut = (slice(0, rows * s), slice(0, cols * s))
    cells = np.pad(free, pad)[cut].reshape(rows, s, cols, s)
    some: Mask = np.any(cells, (1, 3))
    if price is None:
        return some, 1.0
    each = np.where(free, price, np.inf)
    least = np.pad(each, pad, constant_values=np.inf)[cut].reshape(rows, s, cols, s).min((1, 3))
    return some, np.where(some, least, 1.0)


def _observed(field: xr.DataArray, survey: Survey) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if survey.complete:
        return survey.rows, survey.cols
    every = Survey.of(blocks(field, 0), field.size)
    return every.rows, every.cols


def _free(
    field: xr.DataArray, mask: xr.DataArray | None, cost: xr.DataArray | None
) -> tuple[Mask, Array | None]:
    """Return which pixels may be surveyed, and what each costs."""
    free = np.isnan(load(field).to_numpy()[0])
    if mask is not None:
        barred = _fitting(field, mask, "mask")
        free &= ~(np.isfinite(barred) & (barred != 0))
    if cost is None:
        return free, None
    price = _fitting(field, cost, "cost")
    free &= np.isfinite(price)
    if free.any() and float(price[free].min()) <= 0:
        raise InputError(
            f"the cost raster has costs down to {float(price[free].min()):g}; costs are positive"
        )
    return free, price


def _fitting(field: xr.DataArray, other: xr.DataArray, what: str) -> Array:
    """Return a raster's values (rows, columns), if it lies on the field's grid."""
    raster = as_field(other)
    if grid_shape(raster) != grid_shape(field):
        raise InputError(
            f"the {what} raster has {grid_shape(raster)} rows and columns, the survey {grid_shape(field)}; warp it "
            "onto the survey first (rio warp --like survey.tif)"
        )
    own, theirs = geobox(field), geobox(raster)
    if own is not None and theirs is not None:
        same = own.crs == theirs.crs or own.crs is None or theirs.crs is None
        if not same or not np.allclose(tuple(own.affine), tuple(theirs.affine), rtol=1e-6, atol=1e-9):
            raise InputError(
                f"the {what} raster lies elsewhere than the survey; warp it onto the survey first "
                "(rio warp --like survey.tif)"
            )
    return np.asarray(load(raster).to_numpy()[0], np.float64)


def _place(field: xr.DataArray, row: int, col: int) -> tuple[float, float]:
    box = geobox(field)
    if box is None:
        return col + 0.5, row + 0.5
    x, y = box.affine * (col + 0.5, row + 0.5)
    return float(x), float(y)


def describe(sites: Sequence[Site]) -> list[dict[str, float | int]]:
    """Return sites as rows of a table."""
    return [asdict(site) for site in sites]
