"""External drift: rasters that a field follows (terrain, distance to the coast), on the field's own grid."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from scipy.ndimage import map_coordinates

from geonp.errors import GeonpWarning, InputError
from geonp.field import Window, as_field, grid_shape, load
from geonp.io.grid import agree, apply, exact_box

Values = NDArray[np.float32]
Array = NDArray[np.float64]

_EDGE = 1e-6  # of a pixel


@dataclass(frozen=True)
class _Source:
    """A raster, and how the pixels of the survey are found on it.

    Parameters
    ----------
    field : (band, y, x), perhaps larger than memory.
    name : what to call it in messages.
    survey, own : geoboxes of the survey and of this raster; None where its pixels are the survey's.
    between : from the survey's coordinates to its own; None where they are the same.
    cells : pixels (down, across) of this raster to a pixel of the survey: averaged where 2 or more.
    """

    field: xr.DataArray
    name: str
    survey: GeoBox | None = None
    own: GeoBox | None = None
    between: Transformer | None = None
    cells: tuple[int, int] = (1, 1)

    def window(self, window: Window) -> Values:
        """Return the raster (band, rows, columns) at the pixels of a window of the survey, NaN where unknown."""
        if self.survey is None or self.own is None:
            return np.asarray(load(self.field, window).to_numpy(), np.float32)
        rows, cols = _places(self.survey, self.own, self.between, window)
        height, width = grid_shape(self.field)
        out = np.full((self.field.sizes["band"], *window.shape), np.nan, np.float32)
        with np.errstate(invalid="ignore"):
            inside = (rows >= -0.5 - _EDGE) & (rows <= height - 0.5 + _EDGE)
            inside &= (cols >= -0.5 - _EDGE) & (cols <= width - 0.5 + _EDGE)
        if not inside.any():
            return out
        down, across = self.cells
        top, bottom = _span(rows[inside], down, height)
        left, right = _span(cols[inside], across, width)
        part = load(self.field, Window(top, left, bottom - top, right - left)).to_numpy()
        for band, values in enumerate(part):
            coarse = _averaged(values.astype(np.float64), down, across)
            at = [
                (rows[inside] - top - (down - 1) / 2) / down,
                (cols[inside] - left - (across - 1) / 2) / across,
            ]
            out[band][inside] = map_coordinates(coarse, at, order=1, mode="nearest")
        return out


@dataclass(frozen=True)
class Drift:
    """Rasters on the grid of a survey, read window by window.

    Parameters
    ----------
    sources : the rasters; each band is one covariate.
    """

    sources: tuple[_Source, ...]

    @classmethod
    def of(cls, rasters: Sequence[xr.DataArray], survey: xr.DataArray) -> Drift:
        """Find the survey's pixels on every raster.

        Rasters on another grid are interpolated bilinearly at the middles of the survey's pixels; finer ones
        are averaged to about its pixels first.

        Raises
        ------
        InputError
            If a raster is not georeferenced as the survey is.

        Warns
        -----
        GeonpWarning
            Where a raster is resampled.
        """
        return cls(tuple(_aligned(as_field(r), survey, i) for i, r in enumerate(rasters, 1)))

    @property
    def count(self) -> int:
        """Covariates."""
        return sum(s.field.sizes["band"] for s in self.sources)

    @property
    def names(self) -> tuple[str, ...]:
        """What the rasters are called."""
        return tuple(s.name for s in self.sources)

    def window(self, window: Window) -> Values:
        """Return the covariates (q, rows, columns) at the pixels of a window.

        Raises
        ------
        InputError
            If a raster does not cover the window, or has holes there.
        """
        parts = []
        for source in self.sources:
            values = source.window(window)
            if (unknown := ~np.isfinite(values)).any():
                row, col = np.argwhere(unknown.any(0))[0] + [window.row, window.col]
                raise InputError(
                    f"the drift {source.name} is not known at {int(unknown.any(0).sum())} of "
                    f"{window.height * window.width} pixels looked at (the first in row {row}, column {col}): it "
                    "must cover the whole survey without holes; fill or extend it, or crop the survey (--bounds)"
                )
            parts.append(values)
        return np.concatenate(parts)


def _aligned(field: xr.DataArray, survey: xr.DataArray, number: int) -> _Source:
    name = str(field.encoding.get("source", "") or field.name or f"raster {number}")
    box, own = exact_box(survey), exact_box(field)
    same = grid_shape(field) == grid_shape(survey)
    if box is None or own is None:
        if same and box is None and own is None:
            return _Source(field, name)
        raise InputError(
            f"the drift {name} of {grid_shape(field)} pixels cannot be laid on the survey of {grid_shape(survey)}: "
            "without coordinates both must have the same pixels; georeference them"
        )
    alike = box.crs is None or own.crs is None or box.crs == own.crs
    if same and alike and agree(own.affine, box.affine, box.shape):
        return _Source(field, name)
    if (box.crs is None) != (own.crs is None):
        which = "survey" if box.crs is None else f"drift {name}"
        raise InputError(
            f"the {which} has no CRS, so that the two cannot be laid on each other; assign it one"
        )
    between = None
    if not alike:
        between = Transformer.from_crs(box.crs.to_wkt(), own.crs.to_wkt(), always_xy=True)
    cells = _cells(box, own, between)
    how = "averaged and interpolated" if max(cells) > 1 else "interpolated"
    warnings.warn(f"the drift {name} is {how} on the survey's grid", GeonpWarning, stacklevel=2)
    return _Source(field, name, box, own, between, cells)


def _places(survey: GeoBox, own: GeoBox, between: Transformer | None, window: Window) -> tuple[Array, Array]:
    """Return rows and columns (h, w) on a raster, 0 in the middle of its first pixel, of survey pixels."""
    col, row = np.meshgrid(
        window.col + np.arange(window.width) + 0.5, window.row + np.arange(window.height) + 0.5
    )
    x, y = apply(survey.affine, col, row)
    if between is not None:
        x, y = between.transform(x, y)
    cols, rows = apply(~Affine(*tuple(own.affine)[:6]), x, y)
    return np.asarray(rows - 0.5), np.asarray(cols - 0.5)


def _cells(survey: GeoBox, own: GeoBox, between: Transformer | None) -> tuple[int, int]:
    """Return how many pixels of a raster (down, across) make one of the survey, in its middle."""
    middle = Window(survey.shape[0] // 2, survey.shape[1] // 2, 2, 2)
    rows, cols = _places(survey, own, between, middle)
    if not (np.isfinite(rows).all() and np.isfinite(cols).all()):
        return 1, 1
    down = math.hypot(rows[1, 0] - rows[0, 0], rows[0, 1] - rows[0, 0])
    across = math.hypot(cols[1, 0] - cols[0, 0], cols[0, 1] - cols[0, 0])
    return max(1, round(down)), max(1, round(across))


def _span(places: Array, step: int, size: int) -> tuple[int, int]:
    """Return the first and last (exclusive) pixel to read, whole blocks of `step` from the raster's origin."""
    start = max(math.floor((places.min() - (step - 1) / 2) / step), 0) * step
    stop = (math.floor((places.max() - (step - 1) / 2) / step) + 2) * step
    return min(start, (size - 1) // step * step), min(stop, size)


def _averaged(values: Array, down: int, across: int) -> Array:
    """Return means over blocks of pixels; the last ones may be cut off by the edge."""
    if (down, across) == (1, 1):
        return values
    rows, cols = (np.arange(0, n, s) for n, s in zip(values.shape, (down, across), strict=True))
    total = np.add.reduceat(np.add.reduceat(values, rows, 0), cols, 1)
    size = np.add.reduceat(np.add.reduceat(np.ones_like(values), rows, 0), cols, 1)
    return np.asarray(total / size)
