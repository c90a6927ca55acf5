"""What a network is told of a window of a raster: kriging's answer, and where kriging was surprised."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from geonp.kriging.board import Board, Pixels, Tiles
from geonp.kriging.exact import Exact
from geonp.kriging.features import Kriged
from geonp.kriging.raster import RasterKriging
from geonp.kriging.survey import Block
from geonp.kriging.tiles import leave_one_out_tiles

Array = NDArray[np.float64]

_TINY = 1e-300
_LEAST = 24
"""Observations in a tile and its halo below which no leave-one-out residual is asked of it."""


def gather(
    krigings: Sequence[RasterKriging],
    given: Sequence[Block],
    wanted: Pixels,
    spacing: tuple[float, float],
    centres: Sequence[float],
    canvas: tuple[int, int],
) -> Kriged:
    """Return what kriging says of a window, band by band, on a canvas that may be larger than the window.

    Parameters
    ----------
    krigings : of each band of the raster, estimating observed pixels too (`smooth`).
    given : of each band, the window with `kriging.halo` pixels around it, cut off at the edge of the raster.
    wanted : the window.
    spacing : of its pixels.
    centres : subtracted from every mean of a band before it becomes float32, in the units of the field.
    canvas : rows and columns; what lies below and to the right of the window is outside the raster.

    Returns
    -------
    Kriged
        The bands as a batch, (C, 1, rows, columns).
    """
    bands = zip(krigings, given, centres, strict=True)
    told = [_of_band(kriging, block, wanted, spacing, centre, canvas) for kriging, block, centre in bands]
    every = Kriged(*(torch.cat(layers) for layers in zip(*told, strict=True)))
    if all(block.errors is None for block in given):
        return every
    # What is observed is observed in all bands: a network takes them together.
    both = every.observed.amin(0, keepdim=True)
    layers = (every.observed, every.surprise, every.judged, every.misfit)
    observed, surprise, judged, misfit = (layer * both for layer in layers)
    return every._replace(observed=observed, surprise=surprise, judged=judged, misfit=misfit)


def _of_band(
    kriging: RasterKriging,
    given: Block,
    wanted: Pixels,
    spacing: tuple[float, float],
    centre: float,
    canvas: tuple[int, int],
) -> Kriged:
    # Lengths are the window's own, directions the raster's: angles of anisotropy are measured in them.
    spacing = math.copysign(spacing[0], kriging.spacing[0]), math.copysign(spacing[1], kriging.spacing[1])
    mean, variance = kriging.complete(given, wanted, spacing)
    residual, spread = leave_one_out(kriging, given, wanted, spacing)
    judged = np.isfinite(residual)
    surprise = np.divide(residual, np.sqrt(spread), out=np.zeros_like(residual), where=judged)
    values = given.values[wanted.within(given.row, given.col)]
    observed = np.isfinite(values)
    nugget = kriging.solver.covariance.nugget
    # Exact at the data with no nugget at all: kept positive, far below what any neighbour has.
    floor = 1e-4 * np.sqrt(kriging.solver.covariance.total_sill)
    std = np.maximum(np.sqrt(variance + nugget), floor)
    off = std
    if given.errors is not None:
        errors = given.errors[wanted.within(given.row, given.col)].astype(np.float64)
        observed &= _heard(variance, errors, nugget)
        judged &= observed
        surprise, off = np.where(judged, surprise, 0.0), np.sqrt(std**2 + errors)
    misfit = np.where(observed, (values - mean) / off, 0.0)
    layers = (observed, mean - centre, std, surprise, judged, misfit, np.ones_like(mean))
    pad = ((0, canvas[0] - wanted.rows), (0, canvas[1] - wanted.cols))
    return Kriged(*(torch.from_numpy(np.pad(a.astype(np.float32), pad))[None, None] for a in layers))


def _heard(variance: Array, errors: Array, nugget: float) -> NDArray[np.bool_]:
    """Return where the error of an observation is no larger than what is unknown there without it.

    Kriging weighs the others rightly, however bad they are; a network that learnt from good observations takes them
    at their word. It is told that nothing was observed there. Measured on terrain, a quarter of the observations ten
    times as bad as the rest, its CRPS between observations is 2 to 3 % lower for it.

    Parameters
    ----------
    variance : of the latent field, the observation included.
    errors : error variances.
    nugget : of the covariance.
    """
    noise = nugget + errors
    # 1 / variance = 1 / without + 1 / noise.
    without = variance * noise / np.maximum(noise - variance, np.finfo(np.float64).eps * noise + _TINY)
    return np.asarray(errors <= without + nugget, np.bool_)


def leave_one_out(
    kriging: RasterKriging, given: Block, wanted: Pixels, spacing: tuple[float, float]
) -> tuple[Array, Array]:
    """Return leave-one-out residuals and their variances (of an observation) at the pixels of a window.

    Parameters are those of `gather`, of one band. Both are (rows, columns), NaN where nothing is observed and where too
    few observations lie around to judge.
    """
    observed = np.isfinite(given.values[wanted.within(given.row, given.col)])
    if kriging.exact:
        return _exactly(kriging, wanted, spacing)
    layout, raster = kriging.layout, kriging.shape
    board = Board.of(given, wanted, observed, layout, raster, spacing, kriging.solver.device)
    tiles = board.tiles(layout)
    while len(tiles):
        count, _ = board.count(tiles)
        crowded = (count > tiles.layout.crowded) & (min(tiles.layout.tile) >= 8)
        fit = ~crowded & (count >= _LEAST)
        if fit.any():
            _judge(board, tiles.pick(fit), count[fit], kriging)
        tiles = board.with_holes(tiles.pick(crowded).quarters())
    return board.result(wanted)


def _judge(board: Board, tiles: Tiles, count: NDArray[np.int64], kriging: RasterKriging) -> None:
    found = leave_one_out_tiles(board.canvas, tiles.layout, tiles.rows, tiles.cols, count, kriging.solver)
    board.put(tiles, *found)


def _exactly(kriging: RasterKriging, wanted: Pixels, spacing: tuple[float, float]) -> tuple[Array, Array]:
    survey, known = kriging.survey, kriging.observed(spacing)
    both = np.full((2, *kriging.shape), np.nan)
    both[:, survey.rows, survey.cols] = Exact.of(known, kriging.solver).leave_one_out()
    residual, spread = both[:, *wanted.within(0, 0)]
    return residual, spread
