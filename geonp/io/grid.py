"""The grid of a field: coordinates from a geobox and back, cropping, giving it a CRS."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.errors import InputError, UsageError
from geonp.field import geobox, grid_shape
from geonp.io import cf

if TYPE_CHECKING:
    from affine import Affine
    from odc.geo.geobox import GeoBox
    from pyproj import CRS

_SAME = 0.01  # of a pixel: float32 degrees are no better
_EDGE = 1e-6  # of a pixel: rounding of bounds that lie on pixel edges


def coordinates(box: GeoBox) -> dict[Hashable, xr.DataArray]:
    """Return the coordinates `y`, `x` and `spatial_ref` of a field on `box`.

    An axis-aligned grid has the centres of its pixels. A rotated one has pixel numbers, from which and the
    GeoTransform of `spatial_ref` the geobox of any window follows.
    """
    from pyproj import CRS

    rows, cols = box.shape
    crs = None if box.crs is None else CRS.from_wkt(box.crs.to_wkt())
    a, b, c, d, e, f = tuple(box.affine)[:6]
    out: dict[Hashable, xr.DataArray] = {cf.GRID_MAPPING: cf.grid_mapping(crs, render(box.affine))}
    if b == 0 and d == 0:
        y_attrs, x_attrs = cf.axis_attributes(crs)
        out["y"] = _axis("y", f + (np.arange(rows) + 0.5) * e, y_attrs)
        out["x"] = _axis("x", c + (np.arange(cols) + 0.5) * a, x_attrs)
    elif rows > 1 and cols > 1:
        # With a single row or column odc-geo cannot tell a pixel number's step: the GeoTransform alone then
        # says where the grid lies.
        out["y"] = _axis("y", np.arange(rows) + 0.5, {"units": "pixel"})
        out["x"] = _axis("x", np.arange(cols) + 0.5, {"units": "pixel"})
    return out


def _axis(name: str, values: NDArray[np.float64], attrs: dict[str, str]) -> xr.DataArray:
    return xr.DataArray(values, dims=(name,), attrs=attrs)


def render(affine: Affine) -> str:
    """Return GDAL's GeoTransform as text that reads back to the same doubles."""
    return " ".join(repr(float(v)) for v in affine.to_gdal())


def parse(transform: str) -> Affine | None:
    """Return the affine of a GeoTransform written as text, None where it is not one."""
    from affine import Affine

    try:
        values = [float(v) for v in transform.split()]
    except ValueError:
        return None
    return Affine.from_gdal(*values) if len(values) == 6 else None


def apply(
    affine: Affine, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the points (x, y) transformed by `affine`."""
    a, b, c, d, e, f = tuple(affine)[:6]
    return a * x + b * y + c, d * x + e * y + f


def axis_step(values: NDArray[np.floating]) -> tuple[float, float]:
    """Return the mean step of a coordinate of two or more values, and how far it is from even, in steps.

    Raises
    ------
    InputError
        If the values neither rise nor fall throughout.
    """
    wide = np.asarray(values, np.float64)
    steps = np.diff(wide)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise InputError(
            "a spatial coordinate neither rises nor falls throughout (or is not a number somewhere); "
            "sort the data along it and drop duplicates"
        )
    step = float((wide[-1] - wide[0]) / (wide.size - 1))
    even = wide[0] + step * np.arange(wide.size)
    return step, float(np.abs(wide - even).max() / abs(step))


def transform_of(y: NDArray[np.floating], x: NDArray[np.floating]) -> Affine:
    """Return the affine of a grid with these pixel centres, from their whole span."""
    from affine import Affine

    dy, dx = axis_step(y)[0], axis_step(x)[0]
    return Affine(dx, 0, float(x[0]) - dx / 2, 0, dy, float(y[0]) - dy / 2)


def agree(one: Affine, other: Affine, shape: tuple[int, int]) -> bool:
    """Return whether two affines place the corners of a grid of `shape` within a hundredth of a pixel."""
    rows, cols = np.array([0.0, 0, *shape[:1] * 2]), np.array([0.0, shape[1], 0, shape[1]])
    x, y = apply(~one, *apply(other, cols, rows))
    return bool(max(np.abs(x - cols).max(), np.abs(y - rows).max()) < _SAME)


def exact_box(field: xr.DataArray) -> GeoBox | None:
    """Return the geobox of `field`, None where it has none.

    odc-geo measures a pixel between the first two coordinates; where they are float32 that is off by up to a
    thousandth, and the far edge of a wide grid by pixels. Here the GeoTransform of the file is used if the
    coordinates agree with it, else their whole span.
    """
    from odc.geo.geobox import GeoBox

    box = geobox(field)
    if box is None or field.coords["y"].dtype != np.float32 or min(box.shape) < 2:
        return box
    if box.affine.b != 0 or box.affine.d != 0:
        return box
    measured = transform_of(field.coords["y"].values, field.coords["x"].values)
    stated = None
    if cf.GRID_MAPPING in field.coords:
        stated = parse(str(field.coords[cf.GRID_MAPPING].attrs.get("GeoTransform", "")))
    best = stated if stated is not None and agree(stated, measured, box.shape) else measured
    return GeoBox(box.shape, best, box.crs)


def crop(field: xr.DataArray, bounds: Sequence[float]) -> xr.DataArray:
    """Return the pixels of `field` that touch `bounds` (left, bottom, right, top) in its own CRS.

    On a rotated grid: the smallest block of rows and columns that holds them. Coordinates are kept verbatim.

    Raises
    ------
    UsageError
        If the bounds are not four numbers in the order left < right, bottom < top.
    InputError
        If the field is not georeferenced, or lies elsewhere.
    """
    if len(bounds) != 4 or not all(map(math.isfinite, bounds)):
        raise UsageError(f"bounds are four numbers, left bottom right top; got {tuple(bounds)}")
    left, bottom, right, top = bounds
    if left >= right or bottom >= top:
        raise UsageError(f"bounds are left < right and bottom < top; got {tuple(bounds)}: swap them")
    box = exact_box(field)
    if box is None:
        raise InputError(
            "the grid is not georeferenced, so bounds mean nothing on it; select pixels with .isel()"
        )
    cols, rows = apply(
        ~box.affine, np.array([left, left, right, right]), np.array([bottom, top, bottom, top])
    )
    window = []
    for low, high, size in ((min(rows), max(rows), box.shape[0]), (min(cols), max(cols), box.shape[1])):
        start, stop = max(math.floor(low + _EDGE), 0), min(math.ceil(high - _EDGE), size)
        window.append(slice(start, stop))
    if any(s.start >= s.stop for s in window):
        found = tuple(float(f"{v:.8g}") for v in box.boundingbox.bbox)
        raise InputError(f"bounds {tuple(bounds)} lie outside the grid, which covers {found} in its own CRS")
    part = field.isel(y=window[0], x=window[1])
    return place(part, box[window[0], window[1]])


def place(field: xr.DataArray, box: GeoBox) -> xr.DataArray:
    """Return `field` with the grid mapping of `box`; centres of pixels that it has already stay verbatim."""
    new = coordinates(box)
    if box.affine.b == 0 and box.affine.d == 0 and "y" in field.coords and "x" in field.coords:
        new = {cf.GRID_MAPPING: new[cf.GRID_MAPPING]}
    stale = [n for n in ("y", "x") if n in new and n in field.coords]
    return field.drop_vars(stale).assign_coords(new)


def with_crs(field: xr.DataArray, crs: str) -> xr.DataArray:
    """Return `field` on the same grid, said to be in `crs`.

    Raises
    ------
    InputError
        If the field has no coordinates.
    UsageError
        If there is no such CRS.
    """
    from odc.geo.geobox import GeoBox

    known = parse_crs(crs)
    box = exact_box(field)
    if box is None:
        raise InputError(
            f"a grid without coordinates cannot be in a CRS ({crs}); georeference the file first "
            "(gdal_translate -a_ullr ... -a_srs ...)"
        )
    return place(field, GeoBox(grid_shape(field), box.affine, known.to_wkt()))


def parse_crs(crs: str) -> CRS:
    """Return the CRS that a user named.

    Raises
    ------
    UsageError
        If PROJ does not know it.
    """
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        raise UsageError(f"'{crs}' is no CRS that PROJ knows; give one such as EPSG:25832") from error
