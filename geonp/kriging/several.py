"""Kriging of several fields that are observed at the same pixels: one factor, many right-hand sides.

Kriging weights depend on where observations are, not on what they say. Whatever number of fields shares the
places of its observations, each neighbourhood is factorised once; a further field costs a product of matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geonp.kriging import arrays
from geonp.kriging.arrays import fetch, namespace
from geonp.kriging.blend import Blend
from geonp.kriging.board import Board, Pixels, Tiles
from geonp.kriging.exact import Exact
from geonp.kriging.linalg import forward, solve
from geonp.kriging.local import Groups, Neighbourhoods, each_group
from geonp.kriging.neighbours import Index
from geonp.kriging.points import Observations
from geonp.kriging.raster import EXACT_LAYOUT, NUDGE, RasterKriging, Sorted, around
from geonp.kriging.solver import Solver
from geonp.kriging.survey import Block
from geonp.kriging.system import System
from geonp.kriging.threads import each
from geonp.kriging.tiles import Canvas, Lags, centred, factorise

Array = NDArray[np.float64]
Layers = NDArray[np.float32]
Mask = NDArray[np.bool_]
Everywhere = Callable[[], Array]


@dataclass(frozen=True)
class Several(RasterKriging):
    """A raster kriging that completes several fields at once.

    It solves the systems that `RasterKriging` solves, tile by tile in the same way, so that each field comes out
    as if it had been kriged alone.
    """

    @classmethod
    def of(cls, kriging: RasterKriging) -> Self:
        """Return `kriging` for several fields; observed pixels are left out of what it completes."""
        own = {f.name: getattr(kriging, f.name) for f in fields(RasterKriging)}
        return cls(**(own | {"smooth": False}))

    def complete_all(
        self, given: Block, layers: Layers, everywhere: Everywhere, wanted: Pixels
    ) -> tuple[Array, Array]:
        """Krige the holes of a window in every field, and the observations that are known to err.

        Parameters
        ----------
        given : the window with `halo` pixels around it, cut off at the edge of the raster; where it is finite,
            the fields are observed.
        layers : (R, H, W), the fields at the pixels of `given`; read where they are observed.
        everywhere : returns the fields (R, N) at the observations of the survey; called where a hole is kriged
            from afar.
        wanted : the window.

        Returns
        -------
        tuple of ndarray
            Means (R, rows, columns) of the latent field, and the variance (rows, columns), which all share.
            NaN at pixels that are observed without error.
        """
        inside = wanted.within(given.row, given.col)
        holes = np.isnan(given.values[inside]) | given.uncertain[inside]
        found = np.full((len(layers) + 1, *holes.shape), np.nan)
        if holes.any():
            fill = self._exactly if self.exact else self._by_tiles
            found[:, holes] = fill(given, layers, everywhere, wanted, holes)[:, holes]
        return found[:-1], found[-1]

    def _exactly(
        self, given: Block, layers: Layers, everywhere: Everywhere, wanted: Pixels, holes: Mask
    ) -> Array:
        system = Exact.of(self.observations, self.solver)
        board = Board.of(given, wanted, holes, EXACT_LAYOUT, self.shape, self.spacing, self.solver.device)
        tiles, frame = board.tiles(EXACT_LAYOUT), system.frame
        found = np.full((len(layers) + 1, *board.holes.shape), np.nan)
        values = everywhere()
        centre = values.mean(1) if self.solver.kind != "simple" else np.full(len(values), self.solver.mean)
        z = frame.send((values - centre[:, None]).T)[None]
        for i, place in enumerate(board.pixels(tiles)):
            covariates = given.covariates(*place.astype(np.int64).T)
            cross = frame.covariance(system.observations.coords, place * self.spacing)[None]
            columns = frame.columns(place * self.spacing, covariates)[None]
            means, variance = _predict(system.system, z, cross, columns, self.solver.covariance.sill)
            here = np.concatenate([fetch(means)[0] + centre[:, None], fetch(variance)])
            _put(found, tiles.pick(np.arange(len(tiles)) == i), here[:, None])
        return np.asarray(found[:, *wanted.within(board.row, board.col)])

    def _by_tiles(
        self, given: Block, layers: Layers, everywhere: Everywhere, wanted: Pixels, holes: Mask
    ) -> Array:
        board = Board.of(given, wanted, holes, self.layout, self.shape, self.spacing, self.solver.device)
        canvas = board.fields(given, layers, self.solver.device)
        found = np.full((len(layers) + 1, *board.holes.shape), np.nan)
        lonely = np.zeros_like(board.holes)
        for some in self._sorted(board, lonely):
            _krige_tiles(board.canvas, canvas, some, self.solver, found)
        if lonely.any():
            self._lonely(board, lonely, given, layers, everywhere(), found)
        return np.asarray(found[:, *wanted.within(board.row, board.col)])

    def _lonely(
        self, board: Board, lonely: Mask, given: Block, layers: Layers, everywhere: Array, found: Array
    ) -> None:
        """Krige the pixels `lonely` from neighbours wherever they are, as `RasterKriging` does."""
        total = np.zeros_like(found)
        for level, share in enumerate(self._shares(board.region, lonely)):
            tile = (self.layout.tile[0] << level, self.layout.tile[1] << level)
            blend = Blend.over(board.region, share > 0, tile)
            near = None if level or self.survey.complete else around(blend, given, self._reach)
            search, observations = self._search(near), self.observed(self.spacing, near)
            values = everywhere
            if near is not None:
                nearby = layers[:, near.rows - given.row, near.cols - given.col]
                values = np.concatenate([everywhere, nearby], 1)
            # A blend sums two layers at a time.
            blends = [replace(blend, sums=np.zeros_like(blend.sums)) for _ in range(0, len(found), 2)]
            for nodes in blend.colours():
                index = search.near(self._place(nodes.middles + NUDGE))
                covariates = given.covariates(*np.moveaxis(nodes.pixels.astype(np.int64), -1, 0))
                targets = Groups(nodes.pixels * self.spacing, covariates)
                told = _krige_groups(observations, values, index, targets, self.solver)
                for i, part in enumerate(blends):
                    part.add(nodes, told[2 * i], told[min(2 * i + 1, len(told) - 1)])
            for i, part in enumerate(blends):
                total[2 * i : 2 * i + 2] += share * part.result[: len(total) - 2 * i]
        found[:, lonely] = total[:, lonely]


def _put(found: Array, tiles: Tiles, here: Array) -> None:
    """Note what was found for some tiles, (R, N, m), in `found` (R, rows, columns)."""
    for store, value in zip(found, here, strict=True):
        Board.cells(store, tiles.layout)[tiles.rows, :, tiles.cols] = value.reshape(-1, *tiles.layout.tile)


def _predict(
    system: System, z: arrays.Array, cross: arrays.Array, f: arrays.Array, sill: float
) -> tuple[arrays.Array, arrays.Array]:
    """Return means (B, R, m) and variance (B, m) of fields whose observations are `z` (B, n, R).

    The equations are those of `geonp.kriging.system`; the drift's coefficients are estimated in every field.
    """
    white, weights = forward(system.lower, z), forward(system.lower, cross)
    variance = namespace(cross).clip(sill - (weights * weights).sum(-2), min=0)
    if not f.shape[-1]:
        return white.mT @ weights, variance
    trend = solve(system.gram, system.drift.mT @ white)
    means = (white - system.drift @ trend).mT @ weights + (f @ trend).mT
    missing = f.mT - system.drift.mT @ weights
    return means, variance + (forward(system.gram, missing) ** 2).sum(-2)


def _krige_tiles(canvas: Canvas, values: arrays.Array, some: Sorted, solver: Solver, found: Array) -> None:
    """Krige every pixel of some tiles in all fields `values` (R, H, W), into `found`."""
    tiles, counts = some
    layout, pixels = tiles.layout, math.prod(tiles.layout.tile)
    lags = Lags.of(layout, canvas.spacing, solver)
    jobs = solver.batches(counts, pixels + len(values))

    def run(job: tuple[int, Index]) -> tuple[Index, Array]:
        size, part = job
        batch = factorise(
            canvas, layout, lags, solver, size, tiles.rows[part], tiles.cols[part], counts[part]
        )
        z, centre = centred(values, batch.pixels, batch.valid, solver)
        means, variance = _predict(batch.system, _last(z), batch.cross, batch.drift, solver.covariance.sill)
        return part, _stacked(means, centre, variance)

    for part, here in each(run, jobs, solver.device):
        _put(found, tiles.pick(np.isin(np.arange(len(tiles)), part)), here)


def _last(z: arrays.Array) -> arrays.Array:
    """Return fields (R, B, n) as right-hand sides (B, n, R)."""
    return namespace(z).moveaxis(z, 0, -1)


def _stacked(means: arrays.Array, centre: arrays.Array, variance: arrays.Array) -> Array:
    """Return means (B, R, m) of fields centred at (R, B, 1), and last the variance (B, m): (R + 1, B, m)."""
    layers = np.moveaxis(fetch(means), 1, 0) + fetch(centre)
    return np.concatenate([layers, fetch(variance)[None]])


def _krige_groups(
    observations: Observations, values: Array, near: Index, targets: Groups, solver: Solver
) -> Array:
    """Return means and, last, the variance of every group of targets kriged from its neighbours.

    Parameters
    ----------
    observations : where; their own values are not read.
    values : (R, N), of every field.
    near : (M, k), neighbours of every group, -1 behind the last.
    targets : where to predict, M groups of m.

    Returns
    -------
    ndarray
        (R + 1, M, m).
    """
    found = np.full((len(values) + 1, *targets.coords.shape[:2]), np.nan)

    def krige(index: Index, some: Groups) -> Array:
        ready = Neighbourhoods.of(observations, index, some, solver)
        z, centre = ready.centred(values, solver)
        system = System.factorise(ready.k, z[0], ready.columns)
        means, variance = _predict(system, _last(z), ready.cross, ready.wanted, solver.covariance.sill)
        return _stacked(means, centre, variance)

    for part, here in each_group(near, targets, solver, len(values), krige):
        found[:, part] = here
    return found
