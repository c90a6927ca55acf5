"""Which parts of a raster a report looks at: all of a small one; of a large one some windows, and an overview."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geonp.align import Truth
from geonp.evaluation import WHOLE_UP_TO, WINDOW
from geonp.field import DIMS, Window, grid_shape, load, windows
from geonp.io.grid import coordinates, exact_box

_MOST = 2
_CELLS = 768
_LOOKED_AT = 40
_ENOUGH = 100
_READ = 2048


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """A raster, or a window of one, in memory.

    Parameters
    ----------
    window : in the raster; None where it is all of it.
    survey : (1, y, x), NaN where not observed.
    truth : (y, x) or None.
    """

    window: Window | None
    survey: xr.DataArray
    truth: NDArray[np.float32] | None

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the first pixel."""
        return (0, 0) if self.window is None else (self.window.row, self.window.col)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(y, x), True where observed."""
        return np.asarray(np.isfinite(self.survey.to_numpy()[0]))

    @property
    def hidden(self) -> NDArray[np.bool_]:
        """(y, x), True where nothing is observed and the truth is known."""
        return np.zeros_like(self.seen) if self.truth is None else ~self.seen & np.isfinite(self.truth)


def areas(field: xr.DataArray, truth: Truth | None, seed: int) -> list[Area]:
    """Return the areas of a field (1, y, x) that are completed at its own resolution.

    All of it where no side has more than 1024 pixels; else two windows of 512 x 512 pixels, drawn at random among
    those with 100 observations and something to fill, or the best of those drawn.
    """
    shape = grid_shape(field)
    if max(shape) <= WHOLE_UP_TO:
        known = None if truth is None else truth.load(Window.whole(shape))[0]
        return [Area(None, load(field), known)]
    cut = [w for w in windows(shape, WINDOW) if min(w.shape) >= min(WINDOW, *shape) // 2]
    drawn: list[tuple[int, Area]] = []
    for index in np.random.default_rng([seed, 0]).permutation(len(cut))[:_LOOKED_AT]:
        known = None if truth is None else truth.load(cut[index])[0]
        area = Area(cut[index], load(field, cut[index]), known)
        seen = int(area.seen.sum())
        to_fill = int(area.hidden.sum()) if truth is not None else area.seen.size - seen
        drawn.append((min(seen, _ENOUGH) + _ENOUGH * (to_fill > 0), area))
        drawn = sorted(drawn, key=lambda entry: -entry[0])[:_MOST]
        if len(drawn) == _MOST and drawn[-1][0] == 2 * _ENOUGH:
            break
    return [area for score, area in drawn if score > 0]


def overview(field: xr.DataArray, most: int = _CELLS) -> tuple[xr.DataArray, int]:
    """Return a field (1, y, x) of at most `most` pixels a side: the means of the pixels observed in each block.

    Returns
    -------
    field : on its own grid, float32, NaN where nothing was observed in a block.
    side : of a block, in pixels.
    """
    shape = grid_shape(field)
    side = math.ceil(max(shape) / most)
    rows, cols = (math.ceil(n / side) for n in shape)
    total, count = np.zeros((rows, cols)), np.zeros((rows, cols))
    for window in windows(shape, side * max(1, _READ // side)):
        values = load(field, window).to_numpy()[0]
        seen = np.isfinite(values)
        row = np.arange(window.row, window.stop[0]) // side
        col = np.arange(window.col, window.stop[1]) // side
        where = np.s_[row[0] : row[-1] + 1, col[0] : col[-1] + 1]
        total[where] += _block_sums(np.where(seen, values, 0).astype(np.float64), row, col)
        count[where] += _block_sums(seen.astype(np.float64), row, col)
    mean = np.divide(total, count, out=np.full((rows, cols), np.nan), where=count > 0)
    box = exact_box(field)
    affine, crs = (Affine.identity(), None) if box is None else (box.affine, box.crs)
    coarse = GeoBox((rows, cols), affine * Affine.scale(side), crs)
    out = xr.DataArray(
        mean[None].astype(np.float32),
        coords=coordinates(coarse),
        dims=DIMS,
        name=field.name,
        attrs=field.attrs,
    )
    return out, side


def _block_sums(
    values: NDArray[np.float64], row: NDArray[np.int64], col: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the sums of `values` over runs of equal `row` and equal `col`."""
    tops = np.flatnonzero(np.diff(row, prepend=row[0] - 1))
    lefts = np.flatnonzero(np.diff(col, prepend=col[0] - 1))
    return np.asarray(np.add.reduceat(np.add.reduceat(values, tops, 0), lefts, 1))
