"""Leave-one-out residuals of several fields that are observed at the same pixels: one factor, many right-hand sides.

As `geonp.kriging.several` krige them; the equations are those of `geonp.kriging.system` (Dubrule 1983, Mathematical
Geology 15(6)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geonp.kriging.board import Board, Pixels, Tiles
from geonp.kriging.exact import Exact
from geonp.kriging.raster import RasterKriging
from geonp.kriging.survey import Block
from geonp.kriging.threads import each
from geonp.kriging.tiles import Batch, Lags, factorise

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
    fields = board.fields(given, layers)
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
    fields: Tensor,
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
        row, col, count = (
            torch.from_numpy(a[part]).to(solver.device) for a in (tiles.rows, tiles.cols, counts)
        )
        batch = factorise(board.canvas, layout, lags, solver, size, row, col, count)
        z = board.canvas.windows(fields, layout, row, col)
        z = z.gather(2, batch.cell.expand(len(z), *batch.cell.shape)).double() * batch.valid
        if solver.kind == "simple":
            centre = torch.full_like(z[..., :1], solver.mean)
        else:
            centre = z.sum(2, keepdim=True) / count[:, None]
        told = left_out(batch, ((z - centre) * batch.valid).to(solver.dtype).permute(1, 2, 0))
        here = torch.full((len(told), len(row), wy * wx), torch.nan, dtype=torch.float64)
        tile, place = batch.valid.nonzero(as_tuple=True)
        here[:, tile.cpu(), batch.cell[tile, place].cpu()] = told[:, tile, place].double().cpu()
        inner = here.view(len(told), -1, wy, wx)[..., hy : hy + ty, hx : hx + tx]
        return part, inner.numpy()

    for part, here in each(run, solver.batches(counts, ty * tx + len(fields)), solver.device):
        for store, values in zip(found, here, strict=True):
            Board.cells(store, layout)[tiles.rows[part], :, tiles.cols[part]] = values


def left_out(batch: Batch, z: Tensor) -> Tensor:
    """Return residuals of fields whose observations are `z` (B, n, R), and their variance, (R + 1, B, n)."""
    system = batch.system
    _, variance = system.leave_one_out()
    white = torch.linalg.solve_triangular(system.lower, z, upper=False)
    if system.drift.shape[-1]:
        white = white - system.drift @ torch.cholesky_solve(system.drift.mT @ white, system.gram)
    back = torch.linalg.solve_triangular(system.lower.mT, white, upper=True)
    return torch.cat([back.permute(2, 0, 1) * variance, variance[None]])


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
