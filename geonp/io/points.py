"""Survey points, gridded: each pixel gets the mean of the points in it."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyogrio
import pyogrio.raw
import shapely
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from geonp.errors import GeonpError, GeonpWarning, InputError, UsageError
from geonp.io import grid
from geonp.io.lazy import LazyGrid, Values
from geonp.io.paths import StrPath, check_readable, reason
from geonp.io.table import Columns, checked_variance, choose_columns, read_table

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".xyz", ".dat")
_WGS84 = "EPSG:4326"
_LARGEST_SIDE = 1 << 22  # pixels: the coordinates of a side alone take 32 MB then
_EDGE = 1e-6  # of a pixel: rounding of coordinates that are multiples of the pixel size
_X, _Y, _Z = "\0x", "\0y", "z"

Column = NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """Survey points as they were read.

    Parameters
    ----------
    x, y, value : one entry a point; NaN where missing.
    variance : of each value's error, or None.
    crs : of the coordinates, or None where the file says nothing.
    name : of the value.
    source : the file.
    """

    x: Column
    y: Column
    value: Column
    variance: Column | None
    crs: CRS | None
    name: str
    source: str


@dataclass(frozen=True)
class GriddedPoints:
    """Points on a grid, and what became of them.

    Parameters
    ----------
    field : DataArray (1, y, x), lazy, NaN where no point lies.
    error_variance, error : on the same grid, the variance of the error of each pixel's mean, and its standard
        deviation; None if no errors were given.
    used : points that the field holds.
    merged : those among them that share their pixel with another.
    outside : points that lie off the grid.
    dropped : points without a coordinate, value or error.
    """

    field: xr.DataArray
    error_variance: xr.DataArray | None
    error: xr.DataArray | None
    used: int
    merged: int
    outside: int
    dropped: int


def read_points(
    path: StrPath, *, columns: Columns | None = None, crs: str | None = None, layer: str | None = None
) -> Points:
    """Read points from a CSV file or a vector file (GeoPackage, GeoJSON, Shapefile, ...).

    Columns called lon and lat are in WGS 84 unless `crs` says otherwise. The value of a vector layer is its
    only numeric attribute, the one named, or, where there is none, the height (z) of its points.

    Parameters
    ----------
    path : the file.
    columns : names of columns or attributes, where they do not tell by themselves.
    crs : of the coordinates, over what the file says.
    layer : of a vector file that has several.

    Raises
    ------
    InputError
        If the file is missing, damaged, holds something else than points, or a cell is not a number.
    UsageError
        If it is not clear which column, attribute or layer is meant, or the CRS is unknown.
    """
    name = os.fspath(path)
    known = None if crs is None else grid.parse_crs(crs)
    if os.path.splitext(name)[1].lower() in TABLE_SUFFIXES:
        table = read_table(path, columns)
        found = CRS.from_user_input(_WGS84) if table.geographic else None
        return Points(table.x, table.y, table.value, table.variance, known or found, table.name, name)
    return _read_vector(name, columns or Columns(), known, layer)


def _read_vector(path: str, columns: Columns, crs: CRS | None, layer: str | None) -> Points:
    check_readable(path, folder=True)  # a file geodatabase is a folder
    try:
        layers = [str(n) for n in pyogrio.list_layers(path)[:, 0]]
        if layer is None and len(layers) > 1:
            raise UsageError(f"{path}: has several layers, name one: {', '.join(layers)}")
        if not layers:
            raise InputError(f"{path}: holds no layer of points; check it with ogrinfo")
        if layer is not None and layer not in layers:
            raise UsageError(f"{path}: has no layer '{layer}'; it has: {', '.join(layers)}")
        meta, _, wkb, data = pyogrio.raw.read(path, layer=layer)
    except GeonpError:
        raise
    except Exception as error:  # each driver of a damaged file has errors of its own
        raise InputError(
            f"{path}: is no vector file that can be read, or is damaged ({reason(error)}); "
            "check it with ogrinfo"
        ) from None
    shapes = shapely.from_wkb(wkb if wkb is not None else [])
    shapes = np.asarray(shapes, object)
    kinds = set(shapely.get_type_id(shapes).tolist()) - {-1}  # -1: a row without a geometry
    if shapes.size == 0 or not kinds:
        raise InputError(f"{path}: holds no points")
    if not kinds <= {shapely.GeometryType.POINT, shapely.GeometryType.MULTIPOINT}:
        raise InputError(
            f"{path}: holds {meta['geometry_type']} geometries; points are needed (extract vertices first)"
        )
    xyz, row = shapely.get_coordinates(shapes, include_z=True, return_index=True)
    numeric = {str(n): v for n, v in zip(meta["fields"], data, strict=True) if v.dtype.kind in "fiub"}
    if not np.isnan(xyz[:, 2]).all() and (not numeric or columns.value == _Z):
        numeric.setdefault(_Z, np.full(shapes.size, np.nan))
        numeric[_Z][row] = xyz[:, 2]
    asked = replace(columns, x=_X, y=_Y)
    chosen = choose_columns([_X, _Y, *numeric], asked, path)
    if chosen.value is None or chosen.value not in numeric:
        raise InputError(f"{path}: its points have neither a numeric attribute nor a height")
    of_error = chosen.error or chosen.variance
    variance = None
    if of_error is not None:
        variance = checked_variance(np.asarray(numeric[of_error], float), chosen, path)
    found = None if meta["crs"] is None else CRS.from_user_input(meta["crs"])
    return Points(
        xyz[:, 0],
        xyz[:, 1],
        np.asarray(numeric[chosen.value], float)[row],
        None if variance is None else variance[row],
        crs or found,
        chosen.value,
        path,
    )


def grid_points(
    points: Points,
    *,
    like: xr.DataArray | None = None,
    res: float | Sequence[float] | None = None,
    nodata: float | None = None,
) -> GriddedPoints:
    """Put points on a grid: each pixel holds the mean of its points, weighted with the inverse of their
    error variance where errors are given (a pixel with exact points, of error 0, is the mean of those).

    Parameters
    ----------
    points : as read.
    like : field whose grid is taken. Points in another CRS are transformed to its; those without a CRS are
        taken to be in it.
    res : or the pixel size (or height and width), in units of the coordinates. The grid holds all points, and
        its edges are multiples of the pixel size.
    nodata : value that means "not observed".

    Returns
    -------
    GriddedPoints
        The field is lazy: memory is bounded by the points, not by the grid.

    Raises
    ------
    UsageError
        If not exactly one of `like` and `res` is given, or `res` is not positive.
    InputError
        If no point has a value or lies on the grid, or the grid of `like` is not georeferenced.

    Warns
    -----
    GeonpWarning
        If points are dropped, lie outside, or share a pixel: how many.
    """
    if (like is None) == (res is None):
        raise UsageError("points need one grid: that of a raster (--like FILE), or a pixel size (--res SIZE)")
    columns = [points.x, points.y, points.value, *([] if points.variance is None else [points.variance])]
    complete = np.logical_and.reduce([np.isfinite(c) for c in columns])
    if nodata is not None:
        complete &= points.value != nodata
    x, y, value, *errors = (c[complete] for c in columns)
    dropped = int((~complete).sum())
    if value.size == 0:
        raise InputError(f"{points.source}: none of {complete.size} points has a position and a value")
    if like is not None:
        box = grid.exact_box(like)
        if box is None:
            raise InputError("the grid to use (--like) is not georeferenced, so points have no place on it")
        x, y = _transformed(points, x, y, box)
    else:
        box = _box_around(x, y, _pixel(res), points)
    rows, cols = box.shape
    row, col = _pixels(box, x, y)
    inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
    if not inside.any():
        covers = ", ".join(f"{v:.8g}" for v in box.boundingbox.bbox)
        theirs = ", ".join(f"{v:.8g}" for v in (x.min(), y.min(), x.max(), y.max()))
        raise InputError(
            f"{points.source}: no point lies on the grid, which covers {covers}; they cover {theirs}: "
            "check the CRS (--crs)"
        )
    flat = row[inside] * cols + col[inside]
    variance = errors[0][inside] if errors else None
    pixel, mean, spread, shared = _merge(flat, value[inside], variance)
    crowded = shared[shared > 1]
    done = GriddedPoints(
        _field(pixel, mean, box, points, points.name),
        None if spread is None else _field(pixel, spread, box, points, f"{points.name}_error_variance"),
        None if spread is None else _field(pixel, np.sqrt(spread), box, points, f"{points.name}_error"),
        used=int(inside.sum()),
        merged=int(crowded.sum()),
        outside=int((~inside).sum()),
        dropped=dropped,
    )
    _report(points.source, done, crowded.size)
    return done


def _transformed(points: Points, x: Column, y: Column, box: GeoBox) -> tuple[Column, Column]:
    if points.crs is None or box.crs is None:
        return x, y
    target = CRS.from_wkt(box.crs.to_wkt())
    if points.crs == target:
        return x, y
    moved = Transformer.from_crs(points.crs, target, always_xy=True).transform(x, y)
    return np.asarray(moved[0]), np.asarray(moved[1])


def _pixel(res: float | Sequence[float] | None) -> tuple[float, float]:
    sizes = (res, res) if isinstance(res, int | float) else tuple(res or ())
    if len(sizes) != 2 or not all(math.isfinite(s) and s > 0 for s in sizes):
        raise UsageError(
            f"the pixel size (--res) is a positive number, in units of the coordinates; got {res}"
        )
    return float(sizes[0]), float(sizes[1])


def _box_around(x: Column, y: Column, pixel: tuple[float, float], points: Points) -> GeoBox:
    dy, dx = pixel
    left, top = math.floor(x.min() / dx + _EDGE), math.ceil(y.max() / dy - _EDGE)
    # Points on pixel edges get a pixel more than they span, so that a lattice of points is not merged.
    cols = math.floor(x.max() / dx + _EDGE) - left + 1
    rows = math.floor(top - y.min() / dy + _EDGE) + 1
    if max(rows, cols) > _LARGEST_SIDE:
        raise InputError(
            f"{points.source}: pixels of {dx:g} make a grid of {rows} x {cols} for points from "
            f"{x.min():.8g}, {y.min():.8g} to {x.max():.8g}, {y.max():.8g}; correct a coordinate that is far off, "
            "or give a larger size (--res), in units of the coordinates"
        )
    return GeoBox(
        (rows, cols), Affine(dx, 0, left * dx, 0, -dy, top * dy), points.crs and points.crs.to_wkt()
    )


def _pixels(box: GeoBox, x: Column, y: Column) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row and column of each point; -1 where it is off the grid."""
    cols, rows = grid.apply(~box.affine, x, y)
    out = []
    for at, size in zip((rows, cols), box.shape, strict=True):
        on_grid = (at >= -_EDGE) & (at <= size + _EDGE)  # infinite where a transformation failed
        index = np.floor(np.where(on_grid, at + _EDGE, -1)).astype(np.int64)
        out.append(np.where(on_grid, np.clip(index, 0, size - 1), -1))
    return out[0], out[1]


def _merge(
    flat: NDArray[np.int64], value: Column, variance: Column | None
) -> tuple[NDArray[np.int64], Column, Column | None, NDArray[np.int64]]:
    """Return pixels in order, the mean and error variance of each, and how many points it has."""
    pixel, which, shared = np.unique(flat, return_inverse=True, return_counts=True)
    if variance is None:
        weight = np.ones_like(value)
    else:
        exact = variance == 0
        has_exact = np.bincount(which, exact) > 0
        weight = np.where(has_exact[which], exact, 1 / np.where(exact, 1, variance))
    total = np.bincount(which, weight)
    # Around the pixel's first value, so that a mean of equal values is that value to the last digit.
    first = np.empty(pixel.size)
    first[which[::-1]] = value[::-1]
    mean = first + np.bincount(which, weight * (value - first[which])) / total
    if variance is None:
        return pixel, mean, None, shared
    return pixel, mean, np.where(has_exact, 0, 1 / total), shared


def _report(source: str, done: GriddedPoints, pixels: int) -> None:
    notes = [
        (done.dropped, "points lack a coordinate, value or error and are left out"),
        (done.outside, "points lie outside the grid and are left out"),
        (done.merged, f"points share {pixels} pixels with others and are averaged"),
    ]
    for count, text in notes:
        if count:
            warnings.warn(f"{source}: {count} {text}", GeonpWarning, stacklevel=3)


class _Scattered(LazyGrid):
    """A grid of which few pixels have a value."""

    def __init__(self, pixel: NDArray[np.int64], value: Column, shape: tuple[int, int]) -> None:
        self._pixel = pixel
        self._value = value.astype(np.float32)
        self.shape = (1, *shape)

    def read(self, bands: range, rows: range, cols: range) -> Values:
        """Return pixels, those without a point as NaN."""
        width = self.shape[2]
        out = np.full((1, len(rows), len(cols)), np.nan, np.float32)
        some = slice(*np.searchsorted(self._pixel, [rows[0] * width, (rows[-1] + 1) * width]))
        row, col = np.divmod(self._pixel[some], width)
        i, between_rows = np.divmod(row - rows[0], rows.step)
        j, between_cols = np.divmod(col - cols[0], cols.step)
        hit = (between_rows == 0) & (between_cols == 0) & (i < len(rows)) & (j >= 0) & (j < len(cols))
        out[0, i[hit], j[hit]] = self._value[some][hit]
        return out


def _field(pixel: NDArray[np.int64], value: Column, box: GeoBox, points: Points, name: str) -> xr.DataArray:
    coords = {"band": np.array([1]), **grid.coordinates(box)}
    return _Scattered(pixel, value, box.shape).field(coords, {"AREA_OR_POINT": "Area"}, name, points.source)
