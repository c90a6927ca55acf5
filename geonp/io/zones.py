"""Polygons of a vector file as areas of a raster."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass

import numpy as np
import pyogrio
import pyogrio.raw
import shapely
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.features import rasterize

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.field import Window, geobox, grid_shape
from geonp.io.paths import StrPath, check_readable, reason

_NAMES = ("name", "id", "label")
_EDGE = 1e-6  # of a pixel: rounding of coordinates that lie on pixel edges


@dataclass(frozen=True)
class Area:
    """A polygon on a raster: the pixels `inside` (rows, columns) of a window."""

    name: str
    window: Window
    inside: NDArray[np.bool_]


def polygons(
    path: StrPath, field: xr.DataArray, *, label: str | None = None, layer: str | None = None
) -> list[Area]:
    """Read the polygons of a vector file as pixels of a field; those pixels whose centres lie inside.

    Parameters
    ----------
    path : GeoPackage, GeoJSON, Shapefile, ...; in any CRS.
    field : the raster; not read.
    label : attribute that names each polygon; by default `name`, `id` or `label`, else a number.
    layer : of a file that has several.

    Raises
    ------
    InputError
        If the file cannot be read, holds something else than polygons, or one of them lies outside the raster.
    UsageError
        If there is no such attribute, or the raster has no coordinates.

    Warns
    -----
    GeonpWarning
        If part of a polygon lies outside the raster, or a CRS had to be assumed.
    """
    name = os.fspath(path)
    check_readable(path, folder=True)
    box = geobox(field)
    if box is None:
        raise UsageError(
            f"{name}: the raster has no coordinates to lay polygons on; use blocks (--blocks 16)"
        )
    try:
        meta, _, wkb, data = pyogrio.raw.read(name, layer=layer)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{name}: is no vector file that can be read ({reason(error)}); check it with ogrinfo"
        ) from None
    shapes = np.asarray(shapely.from_wkb(wkb if wkb is not None else []), object)
    wanted = {shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON}
    if not shapes.size:
        raise InputError(f"{name}: holds no polygon; draw one, or use blocks (--blocks 16)")
    if not set(shapely.get_type_id(shapes).tolist()) <= wanted:
        raise InputError(f"{name}: holds {meta['geometry_type'] or 'no'} geometries; polygons are needed")
    names = _names(name, meta["fields"], data, len(shapes), label)
    shapes = _onto(name, shapes, meta["crs"], None if box.crs is None else box.crs.to_wkt())
    for called, shape in zip(names, shapes, strict=True):
        if not np.isfinite(shapely.get_coordinates(shape)).all():
            raise InputError(
                f"{name}: polygon '{called}' reaches to where the raster's CRS is not defined; check its CRS, or cut "
                "it to the raster"
            )
    inverse = ~box.affine
    rows, cols = grid_shape(field)

    def pixels(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = xy.T
        return np.stack(
            [inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f], 1
        )

    raster = shapely.box(0, 0, cols, rows)
    found = []
    for called, shape in zip(names, shapes, strict=True):
        here = shapely.transform(shape, pixels)
        inside = shapely.intersection(shapely.make_valid(here), raster)
        if shapely.area(inside) <= 0:
            raise InputError(
                f"{name}: polygon '{called}' lies outside the raster (its bounds, in pixels: "
                f"{', '.join(f'{v:.0f}' for v in shapely.bounds(here))}; the raster has {rows} rows and {cols} "
                "columns); check its CRS, or leave it out"
            )
        share = float(shapely.area(inside) / shapely.area(here))
        if share < 0.999:
            warnings.warn(
                f"{1 - share:.0%} of polygon '{called}' lie outside the raster", GeonpWarning, stacklevel=2
            )
        found.append(_area(called, inside))
    return found


def _area(name: str, shape: shapely.Geometry) -> Area:
    """Return the pixels whose centres lie in a shape (column, row); where there are none, those that it touches."""
    left, top, right, bottom = shapely.bounds(shape)
    row, col = math.floor(top + _EDGE), math.floor(left + _EDGE)
    window = Window(row, col, max(math.ceil(bottom - _EDGE) - row, 1), max(math.ceil(right - _EDGE) - col, 1))
    moved = shapely.transform(shape, lambda xy: xy - [col, row])
    inside = rasterize([(moved, 1)], window.shape, dtype="uint8") > 0
    if not inside.any():
        inside = rasterize([(moved, 1)], window.shape, dtype="uint8", all_touched=True) > 0
    return Area(name, window, inside)


def _names(
    path: str, fields: NDArray[np.object_], data: list[NDArray[np.generic]], count: int, label: str | None
) -> list[str]:
    columns = {str(f): values for f, values in zip(fields, data, strict=True)}
    if label is not None and label not in columns:
        raise UsageError(f"{path}: has no attribute '{label}'; it has {', '.join(columns) or 'none'}")
    chosen = label or next((n for n in columns if n.lower() in _NAMES), None)
    return [str(i + 1) if chosen is None else str(columns[chosen][i]) for i in range(count)]


def _onto(path: str, shapes: NDArray[np.object_], own: str | None, crs: str | None) -> NDArray[np.object_]:
    """Return shapes in the raster's CRS."""
    if own is None or crs is None:
        if own != crs:
            which = "polygons state" if own is None else "raster states"
            warnings.warn(
                f"{path}: the {which} no CRS; both are taken for the same", GeonpWarning, stacklevel=3
            )
        return shapes
    transform = Transformer.from_crs(CRS.from_user_input(own), CRS.from_wkt(crs), always_xy=True)
    moved = shapely.transform(shapes, lambda xy: np.stack(transform.transform(*xy.T), 1))
    return np.asarray(moved, object)
