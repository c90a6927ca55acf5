"""Sites, one after another, each with those before it taken for observed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.designs.aim import Aim
from geonp.designs.ground import Ground, place
from geonp.kriging.gains import Gains
from geonp.kriging.lattice import Lattice

Mask = NDArray[np.bool_]
Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Site:
    """A pixel that is worth observing.

    Parameters
    ----------
    rank : from 1, the best first, each given that those before it are observed too.
    row, col : the pixel, from 0.
    x, y : its middle, in the field's coordinates.
    std : standard deviation of the observable there before it is observed.
    gain : share of the criterion (the raster's integrated variance, or its expected misclassified area) that its
        observation takes away.
    left : share of the criterion that is left when it and those before it are observed.
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


def choose(field: xr.DataArray, aim: Aim, ground: Ground, n: int, distance: float) -> list[Site]:
    """Return up to `n` sites at least `distance` metres apart; fewer where there is no room.

    Parameters
    ----------
    field : that is surveyed.
    aim : what their gains are measured in; sites that are taken are observed in it.
    ground : where one can go; sites that are taken are observed in it.
    """
    gains = aim.gains
    nugget = gains.surveyed.solver.covariance.nugget
    left, sites = aim.before, list[Site]()
    while len(sites) < n:
        found = best(gains, ground.free, ground.price)
        if found is None:
            break
        row, col, gain, variance = found
        left -= gain
        x, y = place(field, row, col)
        std = math.sqrt(variance + nugget) * aim.scale_at(row, col)
        worth = 1.0 if ground.price is None else float(ground.price[row, col])
        share, rest = _shares(gain, left, aim.before)
        sites.append(Site(len(sites) + 1, row, col, x, y, std, share, rest, worth))
        observe(aim, ground, row, col, distance)
    return sites


def observe(aim: Aim, ground: Ground, row: int, col: int, distance: float) -> None:
    """Take a pixel for observed in `aim` and `ground`, and bar what is nearer to it than `distance` metres."""
    aim.gains.take(np.array([[row, col]]))
    ground.seen[row, col] = True
    ground.close(np.array([row]), np.array([col]), distance)


def _shares(gain: float, left: float, before: float) -> tuple[float, float]:
    return (gain / before, max(left / before, 0.0)) if before > 0 else (0.0, 0.0)


def best(gains: Gains, free: Mask, price: Array | None) -> tuple[int, int, float, float] | None:
    """Return row, column, gain and variance of the free pixel with most gain over `price`; None where none is free."""
    worth = node_worth(gains, free, price)
    top = int(np.argmax(worth))
    if worth.flat[top] < 0:
        return None
    return refine(gains, free, price, top)


def node_worth(gains: Gains, free: Mask, price: Array | None) -> Array:
    """Return gain over least `price` at every node (node rows, node columns); -1 where no pixel of its cell is free."""
    open_, cheapest = _cells(free, price, gains.lattice)
    return np.where(open_, np.maximum(gains.gain, 1e-300) / cheapest, -1.0)


def refine(gains: Gains, free: Mask, price: Array | None, node: int) -> tuple[int, int, float, float]:
    """Return row, column, gain and variance of the best free pixel, its `price` heard, in the cell of a node."""
    lattice, s = gains.lattice, gains.lattice.stride
    start = [int(i) * s for i in np.unravel_index(node, lattice.nodes)]
    cell = (slice(start[0], start[0] + s), slice(start[1], start[1] + s))
    places = np.argwhere(free[cell]) + np.array(start)
    gain, variance = gains.at(places[:, 0], places[:, 1])
    each = gain if price is None else gain / price[tuple(places.T)]
    top = int(np.argmax(each))
    return int(places[top, 0]), int(places[top, 1]), float(gain[top]), float(variance[top])


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
