"""A coarse picture of a whole raster: what a window falls back on where it sees no observation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from geonp.field import Window, grid_shape, load, spacing, windows

Array = NDArray[np.float64]

_CELLS = 256
_READ = 2048


@dataclass(frozen=True)
class Overview:
    """Block means of the observed pixels, gaps filled from the nearest block.

    Parameters
    ----------
    cells : (band, rows, columns), the mean of every cell. A band without any observation is NaN.
    side : pixels along the side of a cell.
    gap : greatest distance, in pixels of the shorter side, from a pixel to an observation of its band; exact
        where a cell is a pixel, otherwise an upper bound.
    """

    cells: Array
    side: int
    gap: float

    @classmethod
    def of(cls, field: xr.DataArray, most: int = _CELLS) -> Overview:
        """Read `field` once, window by window, and average it on at most `most` x `most` cells."""
        rows, cols = grid_shape(field)
        side = max(1, math.ceil(max(rows, cols) / most))
        shape = (field.sizes["band"], math.ceil(rows / side), math.ceil(cols / side))
        total, count = np.zeros(shape), np.zeros(shape)
        for window in windows((rows, cols), side * max(1, _READ // side)):
            part = _padded(load(field, window).to_numpy(), side)
            seen = np.isfinite(part)
            where = (
                slice(None),
                slice(window.row // side, math.ceil(window.stop[0] / side)),
                slice(window.col // side, math.ceil(window.stop[1] / side)),
            )
            total[where] = np.where(seen, part, 0).sum((2, 4), dtype=np.float64)
            count[where] = seen.sum((2, 4))
        cells = np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
        dy, dx = spacing(field)
        gap = max((_fill(band, (dy * side, dx * side)) for band in cells), default=0.0)
        return cls(cells, side, gap / min(dy, dx) + (side if side > 1 else 0))

    def at(self, window: Window) -> Array:
        """Return the picture at the pixels of `window`, (band, y, x): bilinear between the centres of cells.

        A pixel's value depends on its place in the raster alone.
        """
        top, bottom, down = self._between(window.row, window.height, self.cells.shape[1])
        left, right, across = self._between(window.col, window.width, self.cells.shape[2])
        rows = self.cells[:, top] * (1 - down[:, None]) + self.cells[:, bottom] * down[:, None]
        return np.asarray(rows[:, :, left] * (1 - across) + rows[:, :, right] * across)

    def _between(
        self, start: int, count: int, cells: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        position = np.clip((np.arange(start, start + count) + 0.5) / self.side - 0.5, 0, cells - 1)
        lower = np.floor(position).astype(np.int64)
        return lower, np.minimum(lower + 1, cells - 1), position - lower


def _padded(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return (band, y, x) as (band, y cell, y in cell, x cell, x in cell), NaN beyond the edge."""
    bands, rows, cols = values.shape
    down, across = math.ceil(rows / side), math.ceil(cols / side)
    if (down * side, across * side) != (rows, cols):
        pad = ((0, 0), (0, down * side - rows), (0, across * side - cols))
        values = np.pad(values, pad, constant_values=np.nan)
    return values.reshape(bands, down, side, across, side)


def _fill(band: Array, size: tuple[float, float]) -> float:
    """Fill the empty cells of a band in place from the nearest; return the greatest distance to one."""
    empty = np.isnan(band)
    if empty.all() or not empty.any():
        return 0.0
    distance, nearest = distance_transform_edt(empty, sampling=size, return_indices=True)
    band[empty] = band[tuple(nearest)][empty]
    return float(distance.max())
