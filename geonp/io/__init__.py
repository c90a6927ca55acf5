"""Reading fields from files, and writing completed ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from geonp.errors import UsageError
from geonp.io.paths import StrPath, is_address, is_zarr

if TYPE_CHECKING:
    import xarray as xr

    from geonp.io.points import GriddedPoints
    from geonp.io.table import Columns

__all__ = ["open_field", "open_with_errors"]

_ARRAYS = (".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".zarr")
_TABLES = (".csv", ".tsv")
_PERHAPS_TABLES = (".txt", ".xyz", ".dat")
_VECTORS = (".shp", ".geojson", ".json", ".geojsonl", ".fgb", ".gml", ".kml", ".gpx", ".parquet")
_EITHER = (".gpkg", ".sqlite", ".gdb")
_NETCDF_MAGIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF")


def open_field(
    path: StrPath,
    *,
    band: int | Sequence[int] | None = None,
    nodata: float | None = None,
    bounds: Sequence[float] | None = None,
    variable: str | None = None,
    crs: str | None = None,
    like: StrPath | xr.DataArray | None = None,
    res: float | Sequence[float] | None = None,
    value: str | None = None,
    columns: Columns | None = None,
    layer: str | None = None,
) -> xr.DataArray:
    """Open a raster, a variable of a NetCDF file or Zarr store, or gridded survey points, as a lazy field.

    Parameters
    ----------
    path : file, folder of a Zarr store, or an address that GDAL or xarray resolves (`/vsicurl/...`,
        `s3://...`). What it is follows from its extension, else from its first bytes.
    band : bands (or time steps) to read, 1-based; all by default.
    nodata : stored value that means "not observed", in place of what the file declares.
    bounds : left, bottom, right, top in the field's CRS; pixels that touch them are kept.
    variable : of a NetCDF file or Zarr store.
    crs : of the coordinates, over what the file says; nothing is reprojected.
    like : for points: a raster, or field, whose grid they are put on.
    res : for points: or the pixel size of a grid around them, in units of their coordinates.
    value : for points: the column or attribute that was measured.
    columns : for points: names of the other columns too.
    layer : for points: the layer of a vector file that has several.

    Returns
    -------
    DataArray
        Dimensions (band, y, x), float32, NaN where not observed; nothing is loaded.

    Raises
    ------
    InputError
        If the file is missing, damaged or of another kind; one line that names it and the fix.
    UsageError
        If the call does not fit the file: an unknown band, variable or column, points without a grid.

    Warns
    -----
    GeonpWarning
        If something had to be assumed or left out.
    """
    from geonp.io import grid

    name = os.fspath(path)
    bands = () if band is None else (band,) if isinstance(band, int) else tuple(band)
    kind = _kind(name, gridding=like is not None or res is not None)
    if kind == "points":
        if bands and bands != (1,):
            raise UsageError(f"{name}: points have a single band; drop --band")
        field = _open_points(path, like, res, value, columns, layer, crs, nodata).field
    else:
        if like is not None or res is not None:
            raise UsageError(
                f"{name}: --like and --res are for points, and this is on a grid already; warp it first "
                "(gdalwarp -tr ... or rio warp --like ...)"
            )
        if kind == "array":
            from geonp.io.arrays import open_array

            field = open_array(path, variable=variable, band=bands, nodata=nodata)
        else:
            from geonp.io.raster import open_raster

            if variable is not None:
                raise UsageError(
                    f"{name}: variables (--variable) are for NetCDF and Zarr; choose bands with --band"
                )
            field = open_raster(path, band=bands, nodata=nodata)
        if crs is not None:
            field = grid.with_crs(field, crs)
    return field if bounds is None else grid.crop(field, bounds)


def open_with_errors(
    path: StrPath,
    error: str,
    *,
    nodata: float | None = None,
    bounds: Sequence[float] | None = None,
    crs: str | None = None,
    like: StrPath | xr.DataArray | None = None,
    res: float | Sequence[float] | None = None,
    value: str | None = None,
    columns: Columns | None = None,
    layer: str | None = None,
) -> tuple[xr.DataArray, xr.DataArray]:
    """Open survey points with the standard deviations of their errors, both gridded, as lazy fields.

    Points that share a pixel are averaged, weighted with the inverse of their error variance, and the pixel's error
    is that of the mean.

    Parameters
    ----------
    path : CSV or vector file.
    error : the column or attribute that holds the standard deviation of each point's error, in the units of the
        value.
    nodata, bounds, crs, like, res, value, columns, layer : see `open_field`.

    Returns
    -------
    tuple of DataArray
        The field (1, y, x) and the standard deviations on the same pixels, NaN where there is no point.

    Raises
    ------
    InputError, UsageError
        See `open_field`; if the file holds no points, the column is not there, or an error is negative or infinite.
    """
    from dataclasses import replace

    from geonp.io import grid
    from geonp.io.table import Columns

    name = os.fspath(path)
    if _kind(name, gridding=like is not None or res is not None) != "points":
        raise UsageError(
            f"{name}: has no columns, so none holds errors; give the errors of a raster as a raster (--error FILE)"
        )
    named = replace(columns or Columns(), error=error, variance=None)
    points = _open_points(path, like, res, value, named, layer, crs, nodata)
    assert points.error is not None
    both = (points.field, points.error)
    return both if bounds is None else (grid.crop(both[0], bounds), grid.crop(both[1], bounds))


def _open_points(
    path: StrPath,
    like: StrPath | xr.DataArray | None,
    res: float | Sequence[float] | None,
    value: str | None,
    columns: Columns | None,
    layer: str | None,
    crs: str | None,
    nodata: float | None,
) -> GriddedPoints:
    from dataclasses import replace

    from geonp.io.points import grid_points, read_points
    from geonp.io.table import Columns

    if like is None and res is None:
        raise UsageError(
            f"{os.fspath(path)}: points need a grid: that of a raster (--like), or a pixel size (--res)"
        )
    columns = columns or Columns()
    if value is not None:
        columns = replace(columns, value=value)
    target = open_field(like) if isinstance(like, str | os.PathLike) else like
    points = read_points(path, columns=columns, crs=crs, layer=layer)
    return grid_points(points, like=target, res=res, nodata=nodata)


def _kind(name: str, *, gridding: bool) -> str:
    """Return whether a file holds a `raster`, an `array` or `points`."""
    suffix = os.path.splitext(name.rstrip("/"))[1].lower()
    if suffix in _TABLES or suffix in _VECTORS:
        return "points"
    if gridding and suffix in (*_PERHAPS_TABLES, *_EITHER):
        return "points"
    if (suffix in _ARRAYS and not name.startswith("/vsi")) or is_zarr(name):
        return "array"
    if is_address(name) or not os.path.isfile(name):
        return "raster"
    try:
        with open(name, "rb") as file:
            start = file.read(4)
    except OSError:
        return "raster"  # whose opening says why it cannot be read
    return "array" if start.startswith(_NETCDF_MAGIC) else "raster"
