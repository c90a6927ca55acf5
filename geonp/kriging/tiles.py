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
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from geonp.kriging.arrays import Array, cast, fetch, look_up, namespace, places
from geonp.kriging.layout import Layout
from geonp.kriging.linalg import diagonals
from geonp.kriging.solver import Solver
from geonp.kriging.system import System
from geonp.kriging.threads import each
from geonp.kriging.trend import drift_columns, standardiser

Index = NDArray[np.int64]
Doubles = NDArray[np.float64]
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

    values: Array
    seen: Array
    margin: tuple[int, int]
    spacing: tuple[float, float]
    covariates: Array | None = None
    errors: Array | None = None

    def windows(self, array: Array, layout: Layout, rows: Array, cols: Array) -> Array:
        """Return the pixels (..., B, cells) of `array` (..., H, W) in tiles and their halos."""
        (wy, wx), (ty, tx) = layout.window, layout.tile
        top, left = self._corner(layout)
        array = array[..., top:, left:]
        if isinstance(array, np.ndarray):
            array = sliding_window_view(array, (wy, wx), (-2, -1))[..., ::ty, ::tx, :, :]
        else:
            array = array.unfold(-2, wy, ty).unfold(-2, wx, tx)
        found = array[..., rows, cols, :, :]
        return found.reshape(*found.shape[:-2], wy * wx)

    def pixels(self, layout: Layout, rows: Array, cols: Array, cell: Array) -> Array:
        """Return the flat index (B, n) of some cells (B, n) of tiles and their halos."""
        (ty, tx), (top, left), width = layout.tile, self._corner(layout), layout.window[1]
        y = (rows * ty + top)[:, None] + cell // width
        x = (cols * tx + left)[:, None] + cell % width
        return y * self.seen.shape[1] + x

    @staticmethod
    def at(array: Array, pixels: Array) -> Array:
        """Return the pixels (..., B, n) of `array` (..., H, W), by their flat index."""
        return array.reshape(*array.shape[:-2], -1)[..., pixels]

    def _corner(self, layout: Layout) -> tuple[int, int]:
        """Return where the window of the first tile begins."""
        return self.margin[0] - layout.halo[0], self.margin[1] - layout.halo[1]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some tiles with equally many rows: their factor, and where their observations are.

    Parameters
    ----------
    system : the factorised systems.
    cell : (B, n), index of every observation in its window; 0 in padding.
    pixels : (B, n), their flat index in the canvas.
    valid : (B, n), whether a row is an observation.
    centre : (B, 1), what was subtracted from the values.
    cross : (B, n, m), covariances with the pixels of the tile.
    drift : (B or 1, m, p), drift at the pixels of the tile.
    """

    system: System
    cell: Array
    pixels: Array
    valid: Array
    centre: Array
    cross: Array
    drift: Array


def krige_tiles(
    canvas: Canvas, layout: Layout, rows: Index, cols: Index, counts: Index, solver: Solver
) -> tuple[Array, Array]:
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
    tuple of array
        Mean and variance of the latent field, (N, tile rows, tile columns), float64.
    """
    mean = np.empty((len(rows), math.prod(layout.tile)))
    variance = np.empty_like(mean)
    sill = solver.covariance.sill

    def krige(batch: Batch) -> tuple[Doubles, Doubles]:
        m, v = batch.system.predict(batch.cross, batch.drift, sill)
        return fetch(cast(m, "float64") + batch.centre), fetch(v)

    for where, (m, v) in _batches(canvas, layout, rows, cols, counts, solver, krige):
        mean[where], variance[where] = m, v
    return mean.reshape(-1, *layout.tile), variance.reshape(-1, *layout.tile)


def leave_one_out_tiles(
    canvas: Canvas, layout: Layout, rows: Index, cols: Index, counts: Index, solver: Solver
) -> tuple[Array, Array]:
    """Return leave-one-out residuals and their variances (of an observation) at the pixels of some tiles.

    Parameters are those of `krige_tiles`. Both results are (N, tile rows, tile columns), NaN where nothing
    is observed.
    """
    (wy, wx), (hy, hx), (ty, tx) = layout.window, layout.halo, layout.tile
    both = np.full((2, len(rows), wy * wx), np.nan)

    def leave_out(batch: Batch) -> tuple[Index, Index, Doubles]:
        tile, place = np.nonzero(fetch(batch.valid))
        found = np.stack([fetch(a) for a in batch.system.leave_one_out()])
        return tile, fetch(batch.cell)[tile, place], found[:, tile, place]

    for where, (tile, cell, found) in _batches(canvas, layout, rows, cols, counts, solver, leave_out):
        both[:, where[tile], cell] = found
    inner = both.reshape(2, -1, wy, wx)[..., hy : hy + ty, hx : hx + tx]
    return inner[0], inner[1]


def _batches(
    canvas: Canvas,
    layout: Layout,
    rows: Index,
    cols: Index,
    counts: Index,
    solver: Solver,
    work: Callable[[Batch], Result],
) -> Iterator[tuple[Index, Result]]:
    """Yield what `work` makes of every batch of tiles, and which tiles those are."""
    lags = Lags.of(layout, canvas.spacing, solver)

    def run(job: tuple[int, Index]) -> tuple[Index, Result]:
        size, part = job
        return part, work(factorise(canvas, layout, lags, solver, size, rows[part], cols[part], counts[part]))

    yield from each(run, solver.batches(counts, math.prod(layout.tile)), solver.device)


def factorise(
    canvas: Canvas,
    layout: Layout,
    lags: Lags,
    solver: Solver,
    size: int,
    rows: Index,
    cols: Index,
    counts: Index,
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
    full = bool((counts == size).all())
    rows, cols, counts = (solver.device.send(a) for a in (rows, cols, counts))
    xp = namespace(counts)
    tile, at = xp.nonzero(canvas.windows(canvas.seen, layout, rows, cols))
    first = counts.cumsum(0) - counts
    rank = xp.arange(len(tile), device=counts.device) - first[tile]
    cell = xp.zeros((len(rows), size), dtype=xp.int64, device=counts.device)
    cell[tile, rank] = at
    valid = xp.arange(size, device=counts.device) < counts[:, None]

    pixels = canvas.pixels(layout, rows, cols, cell)
    z, centre = centred(canvas.values, pixels, valid, solver)
    k = lags.between(cell)
    cross = lags.towards(cell)
    noise = xp.full_like(z, solver.covariance.nugget)
    if canvas.errors is not None:
        noise += canvas.at(canvas.errors, pixels)
    if not full:
        inside = cast(valid, solver.dtype)
        k *= inside[:, :, None]
        k *= inside[:, None, :]
        cross *= inside[:, :, None]
        noise = noise * inside + (solver.covariance.total_sill or 1.0) * (1 - inside)
    diagonal = diagonals(k)
    diagonal += noise

    wanted = solver.device.send(layout.pixels)[None]
    f, drift = _drift(
        canvas, layout, solver, (cell, pixels, valid), (wanted, canvas.pixels(layout, rows, cols, wanted))
    )
    return Batch(System.factorise(k, z, f), cell, pixels, valid, centre, cross, drift)


def centred(values: Array, pixels: Array, valid: Array, solver: Solver) -> tuple[Array, Array]:
    """Return the observations (..., B, n) of fields less their means, and these means (..., B, 1).

    The mean of simple kriging is the known one.

    Parameters
    ----------
    values : (..., H, W), the fields on the canvas.
    pixels, valid : (B, n), see `Batch`.
    solver : says which kind of kriging it is, and how precise.
    """
    z = cast(Canvas.at(values, pixels), "float64")
    if solver.kind == "simple":
        centre = namespace(z).full_like(z[..., :1], solver.mean)
    else:
        centre = ((z * valid).sum(-1) / valid.sum(-1))[..., None]
    return cast((z - centre) * valid, solver.dtype), centre


def _drift(
    canvas: Canvas,
    layout: Layout,
    solver: Solver,
    seen: tuple[Array, Array, Array],
    wanted: tuple[Array, Array],
) -> tuple[Array, Array]:
    """Return the drift columns of the observations (B, n, p) and of the tile's pixels (B or 1, m, p).

    `seen` are cell, pixels and valid of the observations (`Batch`), `wanted` cell (1, m) and pixels (B, m) of the tile.
    """
    (cell, pixels, valid), (wy, wx) = seen, layout.window
    xp, inside = namespace(cell), cast(valid, solver.dtype)

    def offsets(cell: Array) -> Array:
        y, x = (cast(part, solver.dtype) for part in (cell // wx, cell % wx))
        return xp.stack([(y + 0.5) / (wy / 2) - 1, (x + 0.5) / (wx / 2) - 1], axis=-1)

    there, here = offsets(cell), offsets(wanted[0])
    if canvas.covariates is None:
        none = there[..., :0]
        return (
            drift_columns(solver.kind, there, none, inside),
            drift_columns(solver.kind, here, here[..., :0]),
        )
    known, asked = (
        cast(xp.moveaxis(canvas.at(canvas.covariates, where), 0, -1), "float64")
        for where in (pixels, wanted[1])
    )
    mean, spread = standardiser(known, cast(valid, "float64"))
    known, asked = (cast((a - mean) / spread, solver.dtype) for a in (known, asked))
    here = xp.broadcast_to(here, (len(cell), *here.shape[1:]))
    return drift_columns(solver.kind, there, known, inside), drift_columns(solver.kind, here, asked)


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

    table: Array
    width: int
    zero: int
    pixels: Array

    @classmethod
    def of(cls, layout: Layout, spacing: tuple[float, float], solver: Solver) -> Lags:
        """Return the table for windows of a layout."""
        wy, wx = layout.window
        y, x = np.arange(1 - wy, wy) * spacing[0], np.arange(1 - wx, wx) * spacing[1]
        lags = np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)
        table = solver.covariance(lags, np.zeros((1, 2)))[:, 0].astype(solver.dtype)
        zero = (wy - 1) * (2 * wx - 1) + wx - 1
        send = solver.device.send
        return cls(send(table), wx, zero, cls._place(send(layout.pixels), wx))

    @staticmethod
    def _place(cell: Array, width: int) -> Array:
        return places(cell // width * (2 * width - 1) + cell % width)

    def between(self, cell: Array) -> Array:
        """Return covariances (B, n, n) of the observations in cells (B, n)."""
        place = self._place(cell, self.width)
        return look_up(self.table, place[:, :, None] - (place - self.zero)[:, None, :])

    def towards(self, cell: Array) -> Array:
        """Return covariances (B, n, m) of the observations with the pixels of the tile."""
        place = self._place(cell, self.width)
        return look_up(self.table, self.pixels - (place - self.zero)[:, :, None])
