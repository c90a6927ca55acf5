"""Leave-one-out residuals of several fields that are observed at the same pixels: one factor, many right-hand sides.

As `geonp.kriging.several` krige them; the equations are those of `geonp.kriging.system` (Dubrule 1983, Mathematical
Geology 15(6)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geonp.kriging import arrays
from geonp.kriging.arrays import fetch, namespace
from geonp.kriging.board import Board, Pixels, Tiles
from geonp.kriging.exact import Exact
from geonp.kriging.linalg import back, forward, solve
from geonp.kriging.raster import RasterKriging
from geonp.kriging.survey import Block
from geonp.kriging.threads import each
from geonp.kriging.tiles import Batch, Lags, centred, factorise

Array = NDArray[np.float64]
Layers = NDArray[np.float32]

_LEAST = 24
"""Observations in a tile and its halo below which no leave-one-out residual is asked of it."""


def leave_out_all(
    kriging: RasterKriging, given: Block, layers: Layers, everywhere: Callable[[], Array], wanted: Pixels
) -> tuple[Array, Array]:
    """Return leave-one-out residuals (R, rows, columns) and their variance (of an observation), which all share.

    Parameters
    ----------
    kriging : of one of the fields.
    given, layers, everywhere, wanted : see `geonp.kriging.several.Several.complete_all`.

    Returns
    -------
    tuple of ndarray
        NaN where nothing is observed, and where too few observations lie around to judge.
    """
    if kriging.exact:
        return _exactly(kriging, everywhere(), wanted)
    observed = np.isfinite(given.values[wanted.within(given.row, given.col)])
    layout, device = kriging.layout, kriging.solver.device
    board = Board.of(given, wanted, observed, layout, kriging.shape, kriging.spacing, device)
    fields = board.fields(given, layers, device)
    found = np.full((len(layers) + 1, *board.holes.shape), np.nan)
    tiles = board.tiles(layout)
    while len(tiles):
        count, _ = board.count(tiles)
        crowded = (count > tiles.layout.crowded) & (min(tiles.layout.tile) >= 8)
        fit = ~crowded & (count >= _LEAST)
        if fit.any():
            _judge(board, fields, tiles.pick(fit), count[fit], kriging, found)
        tiles = board.with_holes(tiles.pick(crowded).quarters())
    inside = found[:, *wanted.within(board.row, board.col)]
    inside = np.where(observed, inside, np.nan)
    return inside[:-1], inside[-1]


def _judge(
    board: Board,
    fields: arrays.Array,
    tiles: Tiles,
    counts: NDArray[np.int64],
    kriging: RasterKriging,
    found: Array,
) -> None:
    """Note residuals and variance of the observations in some tiles in `found` (R + 1, rows, columns)."""
    layout, solver = tiles.layout, kriging.solver
    (wy, wx), (hy, hx), (ty, tx) = layout.window, layout.halo, layout.tile
    lags = Lags.of(layout, board.canvas.spacing, solver)

    def run(job: tuple[int, NDArray[np.int64]]) -> tuple[NDArray[np.int64], Array]:
        size, part = job
        rows, cols = tiles.rows[part], tiles.cols[part]
        batch = factorise(board.canvas, layout, lags, solver, size, rows, cols, counts[part])
        z, _ = centred(fields, batch.pixels, batch.valid, solver)
        told = fetch(left_out(batch, namespace(z).moveaxis(z, 0, -1)))
        here = np.full((len(told), len(rows), wy * wx), np.nan)
        tile, place = np.nonzero(fetch(batch.valid))
        here[:, tile, fetch(batch.cell)[tile, place]] = told[:, tile, place]
        inner = here.reshape(len(told), -1, wy, wx)[..., hy : hy + ty, hx : hx + tx]
        return part, inner

    for part, here in each(run, solver.batches(counts, ty * tx + len(fields)), solver.device):
        for store, values in zip(found, here, strict=True):
            Board.cells(store, layout)[tiles.rows[part], :, tiles.cols[part]] = values


def left_out(batch: Batch, z: arrays.Array) -> arrays.Array:
    """Return residuals of fields whose observations are `z` (B, n, R), and their variance, (R + 1, B, n)."""
    system = batch.system
    _, variance = system.leave_one_out()
    white = forward(system.lower, z)
    if system.drift.shape[-1]:
        white = white - system.drift @ solve(system.gram, system.drift.mT @ white)
    xp = namespace(white)
    told = xp.moveaxis(back(system.lower, white), -1, 0)
    return xp.concat([told * variance, variance[None]])


def _exactly(kriging: RasterKriging, values: Array, wanted: Pixels) -> tuple[Array, Array]:
    survey = kriging.survey
    both = np.full((len(values) + 1, *kriging.shape), np.nan)
    for number, one in enumerate(values):
        own = replace(kriging, survey=replace(survey, values=one.astype(np.float32)))
        residual, spread = Exact.of(own.observed(own.spacing), kriging.solver).leave_one_out()
        both[number, survey.rows, survey.cols] = residual
        both[-1, survey.rows, survey.cols] = spread
    inside = both[:, *wanted.within(0, 0)]
    return inside[:-1], inside[-1]
