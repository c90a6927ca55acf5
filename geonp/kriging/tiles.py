"""Kriging of a raster in tiles that share a neighbourhood.

The grid is cut into tiles. All observations in a tile and its halo make one kriging system, whose factor
serves every pixel of the tile. Where pixels lie on a lattice a covariance depends on whole lags only, so
that it is evaluated once per lag and then looked up.

Tiles are anchored at the raster's origin, and a system's size depends on its own observations alone, so
that a raster gives the same bytes whichever windows it is read in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geonp.kriging.layout import Layout
from geonp.kriging.solver import Solver
from geonp.kriging.system import System
from geonp.kriging.threads import each
from geonp.kriging.trend import drift_columns, standardiser

Index = NDArray[np.int64]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Canvas:
    """Pixels of a raster from the corner of a tile on, with a margin on every side.

    Parameters
    ----------
    values : (H, W) float32, 0 where not observed.
    seen : (H, W) bool.
    margin : rows and columns before the first tile; at least the halo.
    spacing : step (down, across) from a pixel to the next; down is negative where y points up.
    covariates : (q, H, W), external drift, known everywhere, or None.
    errors : (H, W), error variance of every observation beside the nugget, or None.
    """

    values: Tensor
    seen: Tensor
    margin: tuple[int, int]
    spacing: tuple[float, float]
    covariates: Tensor | None = None
    errors: Tensor | None = None

    def windows(self, array: Tensor, layout: Layout, rows: Tensor, cols: Tensor) -> Tensor:
        """Return the pixels (..., B, cells) of `array` (..., H, W) in tiles and their halos."""
        (wy, wx), (ty, tx) = layout.window, layout.tile
        top, left = self.margin[0] - layout.halo[0], self.margin[1] - layout.halo[1]
        array = array[..., top:, left:].unfold(-2, wy, ty).unfold(-2, wx, tx)
        return array[..., rows, cols, :, :].flatten(-2)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some tiles with equally many rows: their factor, and where their observations are.

    Parameters
    ----------
    system : the factorised systems.
    cell : (B, n), index of every observation in its window; 0 in padding.
    valid : (B, n), whether a row is an observation.
    centre : (B, 1), what was subtracted from the values.
    cross : (B, n, m), covariances with the pixels of the tile.
    drift : (B or 1, m, p), drift at the pixels of the tile.
    """

    system: System
    cell: Tensor
    valid: Tensor
    centre: Tensor
    cross: Tensor
    drift: Tensor


def krige_tiles(
    canvas: Canvas, layout: Layout, rows: Index, cols: Index, counts: Index, solver: Solver
) -> tuple[Tensor, Tensor]:
    """Krige every pixel of some tiles.

    Parameters
    ----------
    canvas : the pixels, on the solver's device.
    layout : size of the tiles.
    rows, cols : (N,), which tiles, counted from the canvas's first one.
    counts : (N,), observations in each tile and its halo; at least one.
    solver : the covariance, and how it is solved.

    Returns
    -------
    tuple of Tensor
        Mean and variance of the latent field, (N, tile rows, tile columns), float64.
    """
    mean = torch.empty(len(rows), math.prod(layout.tile), dtype=torch.float64, device=solver.device)
    variance = torch.empty_like(mean)
    sill = solver.covariance.sill

    def krige(batch: Batch) -> tuple[Tensor, Tensor]:
        m, v = batch.system.predict(batch.cross, batch.drift, sill)
        return m.double() + batch.centre, v.double()

    for where, (m, v) in _batches(canvas, layout, rows, cols, counts, solver, krige):
        mean[where], variance[where] = m, v
    return mean.view(-1, *layout.tile), variance.view(-1, *layout.tile)


def leave_one_out_tiles(
    canvas: Canvas, layout: Layout, rows: Index, cols: Index, counts: Index, solver: Solver
) -> tuple[Tensor, Tensor]:
    """Return leave-one-out residuals and their variances (of an observation) at the pixels of some tiles.

    Parameters are those of `krige_tiles`. Both results are (N, tile rows, tile columns), NaN where nothing
    is observed.
    """
    (wy, wx), (hy, hx), (ty, tx) = layout.window, layout.halo, layout.tile
    both = torch.full((2, len(rows), wy * wx), torch.nan, dtype=torch.float64, device=solver.device)

    def leave_out(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        tile, place = batch.valid.nonzero(as_tuple=True)
        found = torch.stack(batch.system.leave_one_out()).double()
        return tile, batch.cell[tile, place], found[:, tile, place]

    for where, (tile, cell, found) in _batches(canvas, layout, rows, cols, counts, solver, leave_out):
        both[:, where[tile], cell] = found
    inner = both.view(2, -1, wy, wx)[..., hy : hy + ty, hx : hx + tx]
    return inner[0], inner[1]


def _batches(
    canvas: Canvas,
    layout: Layout,
    rows: Index,
    cols: Index,
    counts: Index,
    solver: Solver,
    work: Callable[[Batch], Result],
) -> Iterator[tuple[Tensor, Result]]:
    """Yield what `work` makes of every batch of tiles, and which tiles those are."""
    lags = Lags.of(layout, canvas.spacing, solver)

    def run(job: tuple[int, Index]) -> tuple[Tensor, Result]:
        size, part = job
        where, row, col, count = (
            torch.from_numpy(a).to(solver.device) for a in (part, rows[part], cols[part], counts[part])
        )
        return where, work(factorise(canvas, layout, lags, solver, size, row, col, count))

    yield from each(run, solver.batches(counts, math.prod(layout.tile)), solver.device)


def factorise(
    canvas: Canvas,
    layout: Layout,
    lags: Lags,
    solver: Solver,
    size: int,
    rows: Tensor,
    cols: Tensor,
    counts: Tensor,
) -> Batch:
    """Return tiles whose systems are padded to one size, factorised.

    Parameters
    ----------
    canvas, layout, solver : see `krige_tiles`.
    lags : covariances in a window of the layout.
    size : rows of each system.
    rows, cols : (B,), which tiles, counted from the canvas's first one.
    counts : (B,), observations in each tile and its halo, 1 to `size`.
    """
    tile, at = canvas.windows(canvas.seen, layout, rows, cols).nonzero(as_tuple=True)
    rank = torch.arange(len(tile), device=tile.device) - (counts.cumsum(0) - counts)[tile]
    cell = torch.zeros(len(rows), size, dtype=torch.int64, device=solver.device)
    cell[tile, rank] = at
    valid = torch.arange(size, device=solver.device) < counts[:, None]

    z = canvas.windows(canvas.values, layout, rows, cols).gather(1, cell).double()
    if solver.kind == "simple":
        centre = torch.full_like(z[:, :1], solver.mean)
    else:
        centre = (z * valid).sum(1, keepdim=True) / counts[:, None]
    z = ((z - centre) * valid).to(solver.dtype)

    k = lags.between(cell)
    cross = lags.towards(cell)
    noise = torch.full_like(z, solver.covariance.nugget)
    if canvas.errors is not None:
        noise += canvas.windows(canvas.errors, layout, rows, cols).gather(1, cell)
    if not bool(valid.all()):
        inside = valid.to(solver.dtype)
        k *= inside[:, :, None]
        k *= inside[:, None, :]
        cross *= inside[:, :, None]
        noise = torch.where(valid, noise, solver.covariance.total_sill or 1.0)
    k.diagonal(dim1=1, dim2=2).add_(noise)

    f, drift = _drift(canvas, layout, solver, rows, cols, cell, valid)
    return Batch(System.factorise(k, z, f), cell, valid, centre, cross, drift)


def _drift(
    canvas: Canvas, layout: Layout, solver: Solver, rows: Tensor, cols: Tensor, cell: Tensor, valid: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the drift columns of the observations (B, n, p) and of the tile's pixels (B or 1, m, p)."""
    (wy, wx) = layout.window
    inside, pixels = valid.to(solver.dtype), layout.pixels(cell.device)
    half = torch.tensor([wy / 2, wx / 2], dtype=solver.dtype, device=cell.device)
    there = (torch.stack([cell // wx, cell % wx], -1) + 0.5) / half - 1
    here = ((torch.stack([pixels // wx, pixels % wx], -1) + 0.5) / half - 1)[None]
    if canvas.covariates is None:
        none = there[..., :0]
        return (
            drift_columns(solver.kind, there, none, inside),
            drift_columns(solver.kind, here, here[..., :0]),
        )
    window = canvas.windows(canvas.covariates, layout, rows, cols).movedim(0, -1).double()
    seen = window.gather(1, cell[..., None].expand(-1, -1, window.shape[-1]))
    mean, spread = standardiser(seen, valid.double())
    seen, wanted = ((a - mean).div(spread).to(solver.dtype) for a in (seen, window[:, pixels]))
    here = here.expand(len(cell), -1, -1)
    return drift_columns(solver.kind, there, seen, inside), drift_columns(solver.kind, here, wanted)


@dataclass(frozen=True, slots=True)
class Lags:
    """Covariance of the latent field at every lag that a window holds.

    Parameters
    ----------
    table : (2 rows - 1) * (2 columns - 1) covariances.
    width : columns of a window.
    zero : index of lag 0.
    pixels : (m,), number of every pixel of the tile as a place in the table.
    """

    table: Tensor
    width: int
    zero: int
    pixels: Tensor

    @classmethod
    def of(cls, layout: Layout, spacing: tuple[float, float], solver: Solver) -> Lags:
        """Return the table for windows of a layout."""
        wy, wx = layout.window
        y = torch.arange(1 - wy, wy, device=solver.device).double() * spacing[0]
        x = torch.arange(1 - wx, wx, device=solver.device).double() * spacing[1]
        lags = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)
        table = solver.covariance(lags, torch.zeros_like(lags[:1]))[:, 0].to(solver.dtype)
        zero = (wy - 1) * (2 * wx - 1) + wx - 1
        return cls(table, wx, zero, cls._place(layout.pixels(solver.device), wx))

    @staticmethod
    def _place(cell: Tensor, width: int) -> Tensor:
        # 32-bit indices: look-ups are three times as fast.
        return (cell // width * (2 * width - 1) + cell % width).int()

    def between(self, cell: Tensor) -> Tensor:
        """Return covariances (B, n, n) of the observations in cells (B, n)."""
        place = self._place(cell, self.width)
        return self._look_up(place[:, :, None] - (place - self.zero)[:, None, :])

    def towards(self, cell: Tensor) -> Tensor:
        """Return covariances (B, n, m) of the observations with the pixels of the tile."""
        place = self._place(cell, self.width)
        return self._look_up(self.pixels - (place - self.zero)[:, :, None])

    def _look_up(self, index: Tensor) -> Tensor:
        return self.table.index_select(0, index.view(-1)).view(index.shape)
