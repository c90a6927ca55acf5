"""What a field is: an `xarray.DataArray` with dimensions (band, y, x), NaN where nothing was observed.

Georeferencing is read and written by `odc.geo`, which takes longer to load than a small raster to complete: it is
imported where a field says more of its grid than coordinates do. A field may be lazy (a file, a dask array), and
only `load` brings pixels into memory.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.errors import InputError, MissingCRSWarning

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pyproj import CRS

DIMS = ("band", "y", "x")
_SPATIAL = (("y", "x"), ("yc", "xc"), ("latitude", "longitude"), ("lat", "lon"))
"""Names of spatial dimensions, those of odc-geo."""
_OF_GRIDS = frozenset({"grid_mapping", "spatial_ref", "crs", "crs_wkt"})
"""Attributes in which odc-geo looks for a CRS or a transform."""
_BEYOND_POLE = 1e-6  # degrees: rounding of a pixel's centre at the pole
# Squares of what float32 holds: a variance beyond is infinite, one below is rounded to 0.
_LARGEST_SPREAD, _SMALLEST_SPREAD = 1e18, 1e-18


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels: first row, first column, height and width, in the indices of a whole raster."""

    row: int
    col: int
    height: int
    width: int

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Window:
        """Return the window that covers a raster of `shape` (rows, columns)."""
        return cls(0, 0, *shape)

    @property
    def stop(self) -> tuple[int, int]:
        """One past the last row and column."""
        return self.row + self.height, self.col + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    def grow(self, margin: int, shape: tuple[int, int]) -> Window:
        """Return the window enlarged by `margin` pixels on every side, clipped to a raster of `shape`."""
        row, col = max(self.row - margin, 0), max(self.col - margin, 0)
        stop_row, stop_col = min(self.stop[0] + margin, shape[0]), min(self.stop[1] + margin, shape[1])
        return Window(row, col, stop_row - row, stop_col - col)

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Return row and column slices of this window in an array that covers `outer`."""
        row, col = self.row - outer.row, self.col - outer.col
        return slice(row, row + self.height), slice(col, col + self.width)


def as_field(array: xr.DataArray) -> xr.DataArray:
    """Return `array` as a field: dimensions (band, y, x), nothing loaded.

    Spatial dimensions are recognised by name (y/x, lat/lon, latitude/longitude) or are the last two; every
    other dimension (time, level, ...) is stacked, in order, into `band`.

    Raises
    ------
    InputError
        If there are fewer than two dimensions, none of the rows or columns has a length, or the values
        are not numbers.
    """
    if array.dtype.kind not in "fiub":
        raise InputError(f"values of type {array.dtype} cannot be completed; convert them to numbers first")
    if array.ndim < 2:
        raise InputError(f"a field needs two spatial dimensions, got {array.dims}; give a gridded variable")
    y, x = spatial_dims(array) or (str(array.dims[-2]), str(array.dims[-1]))
    leading = [d for d in array.dims if d not in (y, x)]
    if not leading:
        field = array.drop_vars("band", errors="ignore").expand_dims("band")
    elif leading == ["band"]:
        field = array
    else:
        apart = array.rename({"band": "_band"}) if "band" in leading else array
        field = apart.stack(band=["_band" if d == "band" else d for d in leading], create_index=False)
    field = field.transpose("band", y, x)
    if 0 in field.shape:
        raise InputError(f"the grid is empty: {dict(zip(DIMS, field.shape, strict=True))}")
    renamed = {old: new for old, new in ((y, "y"), (x, "x")) if old != new}
    return field.rename(renamed) if renamed else field


def spatial_dims(array: xr.DataArray) -> tuple[str, str] | None:
    """Return the dimensions along y and x where their names tell them, else None."""
    names = set(map(str, array.dims))
    return next((pair for pair in _SPATIAL if names.issuperset(pair)), None)


def load(field: xr.DataArray, window: Window | None = None) -> xr.DataArray:
    """Bring a field, or one window of it, into memory as float32, NaN where not observed (infinities too)."""
    part = field if window is None else field.isel(window_index(window))
    values = np.asarray(part.to_numpy(), dtype=np.float32)
    if not np.isfinite(values).all():
        values = np.where(np.isfinite(values), values, np.float32(np.nan))
    return part.copy(data=values)


def window_index(window: Window) -> dict[str, slice]:
    """Return the `isel` argument for `window`."""
    return {
        "y": slice(window.row, window.row + window.height),
        "x": slice(window.col, window.col + window.width),
    }


def grid_shape(field: xr.DataArray) -> tuple[int, int]:
    """Return rows and columns."""
    return field.sizes["y"], field.sizes["x"]


def geobox(field: xr.DataArray) -> GeoBox | None:
    """Return the geobox of `field`, or None where it has no usable coordinates.

    Raises
    ------
    InputError
        If its transform or coordinates give the pixels no area.
    """
    import odc.geo.xr  # noqa: F401  registers .odc
    from affine import TransformNotInvertibleError
    from odc.geo.geobox import GeoBox

    try:
        found = field.odc.geobox
    except TransformNotInvertibleError:
        raise InputError(
            "the grid's transform gives its pixels no area (a side of 0, or rows along columns): "
            "georeference the file anew (gdal_edit -a_ullr ...)"
        ) from None
    return found if isinstance(found, GeoBox) else None


class Plain(NamedTuple):
    """A grid of which its coordinates say all there is to know: no CRS, and rows along x.

    Parameters
    ----------
    steps : from a pixel to the next (down, across), in the units of the coordinates, finite and not 0; None where
        there are no coordinates.
    """

    steps: tuple[float, float] | None


def plain(field: xr.DataArray) -> Plain | None:
    """Return the grid of `field` if it is plain; None where it takes odc-geo to tell (`geobox`)."""
    if not {"y", "x"}.issubset(field.dims):
        return None
    stated = {*field.encoding, *field.attrs}
    along = []
    for name, coordinate in field.coords.items():
        stated |= set(coordinate.attrs)
        if not {"y", "x"}.isdisjoint(coordinate.dims):
            along.append(name)
    if not _OF_GRIDS.isdisjoint(stated):
        return None
    if not along:
        return Plain(None)
    if not {"y", "x"}.issubset(along):
        return None
    y, x = (field.coords[name].values for name in ("y", "x"))
    if min(y.size, x.size) < 2 or y.dtype.kind not in "fiu" or x.dtype.kind not in "fiu":
        return None
    steps = float(y[1]) - float(y[0]), float(x[1]) - float(x[0])
    return Plain(steps) if all(math.isfinite(step) and step != 0 for step in steps) else None


def spacing(field: xr.DataArray) -> tuple[float, float]:
    """Return the pixel size (dy, dx) in metres at the centre of `field`.

    Geographic grids are measured on their own ellipsoid, projected ones through their unit of length; rotated
    grids along their own rows and columns. Without a CRS the coordinates' own units are returned, and 1 where
    there are no coordinates.
    """
    down, across = steps(field)
    return abs(down), abs(across)


def steps(field: xr.DataArray) -> tuple[float, float]:
    """Return the signed steps (down, across) from a pixel to the next: down is negative where north is up.

    Their lengths are those of `spacing`; pixels without coordinates are taken to have north up.
    """
    if (grid := plain(field)) is not None:
        return grid.steps or (-1.0, 1.0)
    if (box := geobox(field)) is None:
        return -1.0, 1.0
    dy, dx = grid_spacing(box)
    return (dy if box.affine.e > 0 else -dy), (-dx if box.affine.a < 0 else dx)


def warn_without_crs(field: xr.DataArray) -> None:
    """Warn where `field` has no CRS, since its lengths are then not metres.

    Warns
    -----
    MissingCRSWarning
    """
    if (grid := plain(field)) is not None:
        located = grid.steps is not None
    else:
        box = geobox(field)
        if box is not None and box.crs is not None:
            return
        located = box is not None
    unit = "the units of its coordinates" if located else "pixels"
    warnings.warn(
        f"the grid has no coordinate reference system: distances are measured in {unit}; "
        "if that is wrong, assign one (--crs EPSG:...; in Python: import odc.geo.xr, "
        "then array.odc.assign_crs('EPSG:...'))",
        MissingCRSWarning,
        stacklevel=3,
    )


def grid_spacing(box: GeoBox) -> tuple[float, float]:
    """Return the pixel size (dy, dx) of `box` at its centre: metres, or its own units where it has no CRS.

    Raises
    ------
    InputError
        If a side is 0 or not finite, or a geographic grid lies beyond a pole.
    """
    sides = _grid_spacing(box)
    if not all(math.isfinite(side) and side > 0 for side in sides):
        raise InputError(
            f"the grid's pixels measure {sides[0]:g} x {sides[1]:g}: its transform and its CRS do not fit "
            "together; assign the right ones (--crs EPSG:...; gdal_edit -a_ullr ... -a_srs ...)"
        )
    return sides


def _grid_spacing(box: GeoBox) -> tuple[float, float]:
    a, b, c, d, e, f = tuple(box.affine)[:6]
    crs = None if box.crs is None else _crs(box.crs.to_wkt())
    if crs is None or not crs.is_geographic:
        unit = 1.0 if crs is None else crs.axis_info[0].unit_conversion_factor
        return math.hypot(b, e) * unit, math.hypot(a, d) * unit
    rows, cols = box.shape
    lon, lat = (a * cols + b * rows) / 2 + c, (d * cols + e * rows) / 2 + f
    to_degrees = math.degrees(crs.axis_info[0].unit_conversion_factor)
    if not abs(lat * to_degrees) <= 90 + _BEYOND_POLE:
        raise InputError(
            f"the grid's CRS is geographic, and its centre is at latitude {lat * to_degrees:.8g}: these are no "
            "degrees; assign the CRS of its coordinates (--crs EPSG:...; in Python: array.odc.assign_crs)"
        )
    geod = crs.get_geod()
    if geod is None:  # pragma: no cover - a geographic CRS always has an ellipsoid
        return math.hypot(b, e), math.hypot(a, d)

    def length(step_lon: float, step_lat: float) -> float:
        lons, lats = np.array([-0.5, 0.5]) * step_lon + lon, np.array([-0.5, 0.5]) * step_lat + lat
        lats = np.clip(lats * to_degrees, -89.9999, 89.9999)
        return float(geod.line_length(lons * to_degrees, lats))

    return length(b, e), length(a, d)


@lru_cache(maxsize=32)
def _crs(wkt: str) -> CRS:
    from pyproj import CRS

    return CRS.from_wkt(wkt)


@dataclass(frozen=True)
class Summary:
    """What one pass over a field finds in each band. Every array has one entry a band.

    Parameters
    ----------
    pixels : of the raster.
    observed, infinite : how many of them hold a finite value, and an infinite one, which counts as none.
    minimum, maximum, mean, variance : of the finite values; the variance is that of a population.
    """

    pixels: int
    observed: NDArray[np.int64]
    infinite: NDArray[np.int64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Bands with fewer than three observations or a single value, which no method can learn from."""
        return np.asarray((self.observed < 3) | (self.minimum == self.maximum), np.bool_)


def check_spread(summary: Summary) -> None:
    """Refuse a field with a band whose variance is beyond float32, or below it.

    Parameters
    ----------
    summary : what a pass over the field found.

    Raises
    ------
    InputError
        If there is such a band.
    """
    low, high = summary.minimum, summary.maximum
    # Of one or two equal values nothing but their size is known.
    spread = np.where((summary.observed < 3) & (low == high), np.abs(high), high - low)
    for band in np.flatnonzero(summary.observed):
        if spread[band] > _LARGEST_SPREAD or 0 < spread[band] < _SMALLEST_SPREAD:
            raise InputError(
                f"band {band + 1} ranges from {low[band]:g} to {high[band]:g}: its variance cannot be held as a "
                "float32 number; check the nodata value (--nodata), change the units, or ask for the mean alone "
                "(--mean FILE, variance=False)"
            )


def summarise(field: xr.DataArray, tile: int = 2048) -> Summary:
    """Read `field` once, window by window, and describe what was observed (variances are population ones)."""
    bands = field.sizes["band"]
    count = np.zeros(bands, np.int64)
    infinite = np.zeros(bands, np.int64)
    low, high = np.full(bands, np.inf), np.full(bands, -np.inf)
    mean, spread = np.zeros(bands), np.zeros(bands)
    for window in windows(grid_shape(field), tile):
        raw = np.asarray(field.isel(window_index(window)).to_numpy(), np.float32).reshape(bands, -1)
        infinite += np.isinf(raw).sum(1)
        seen = np.isfinite(raw)
        for band in np.flatnonzero(seen.any(1)):
            values = raw[band, seen[band]].astype(np.float64)
            n, m = values.size, values.mean()
            # Chan's pairwise update: the sum of squares never cancels against a large mean.
            total, shift = count[band] + n, m - mean[band]
            spread[band] += ((values - m) ** 2).sum() + shift**2 * count[band] * n / total
            mean[band] += shift * n / total
            count[band] = total
            low[band], high[band] = min(low[band], values.min()), max(high[band], values.max())
    empty = count == 0
    low[empty], high[empty], mean[empty] = np.nan, np.nan, np.nan
    rows, cols = grid_shape(field)
    return Summary(rows * cols, count, infinite, low, high, mean, spread / np.maximum(count, 1))


def windows(shape: tuple[int, int], tile: int) -> list[Window]:
    """Cut a raster of `shape` into windows of at most `tile` x `tile`, row by row, anchored at its origin."""
    rows, cols = shape
    return [
        Window(row, col, min(tile, rows - row), min(tile, cols - col))
        for row in range(0, rows, tile)
        for col in range(0, cols, tile)
    ]
