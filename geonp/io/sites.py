"""Places and lines in a vector file or a table: GeoPackage, GeoJSON, FlatGeobuf, CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyogrio.errors
import pyogrio.raw
import shapely
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from geonp.errors import InputError
from geonp.field import geobox
from geonp.io.outputs import Staging, told_of_failure
from geonp.io.paths import StrPath

_DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".fgb": "FlatGeobuf"}
SUFFIXES = (*_DRIVERS, ".csv")

_POINT, _LINE = (("x", "y"),), (("x", "y"), ("x_end", "y_end"))

Rows = Sequence[Mapping[str, float | int]]
_Ends = tuple[tuple[str, str], ...]


def write_sites(
    path: StrPath,
    rows: Rows,
    field: xr.DataArray,
    *,
    overwrite: bool = False,
    inputs: Sequence[StrPath] = (),
) -> None:
    """Write places with their attributes; each row has `x` and `y` in the field's coordinates.

    GeoJSON is in WGS 84, as it must be; everything else in the CRS of the field.

    Raises
    ------
    UsageError, OutputError
        See `geonp.io.outputs.check_outputs`.
    InputError
        If there is no place to write.
    """
    _write(path, rows, field, _POINT, overwrite, inputs)


def write_lines(
    path: StrPath,
    rows: Rows,
    field: xr.DataArray,
    *,
    overwrite: bool = False,
    inputs: Sequence[StrPath] = (),
) -> None:
    """Write straight lines with their attributes, from `x`, `y` to `x_end`, `y_end`; see `write_sites`."""
    _write(path, rows, field, _LINE, overwrite, inputs)


def _write(
    path: StrPath,
    rows: Rows,
    field: xr.DataArray,
    ends: _Ends,
    overwrite: bool,
    inputs: Sequence[StrPath],
) -> None:
    if not rows:
        raise InputError("there is no site to write")
    target = Path(path)
    with Staging([target], overwrite=overwrite, inputs=inputs, suffixes=SUFFIXES) as staging:
        temporary = staging.temporary(target)
        failures = (pyogrio.errors.DataSourceError, RuntimeError, OSError, ValueError)
        with told_of_failure(target, failures):
            if target.suffix.lower() == ".csv":
                lines = [",".join(rows[0]), *(",".join(repr(v) for v in row.values()) for row in rows)]
                temporary.write_text("\n".join(lines) + "\n")
            else:
                _write_vector(temporary, rows, field, ends, _DRIVERS[target.suffix.lower()])
        staging.commit()


def _write_vector(path: Path, rows: Rows, field: xr.DataArray, ends: _Ends, driver: str) -> None:
    box = geobox(field)
    crs = None if box is None or box.crs is None else box.crs.to_wkt()
    places = np.array([[[row[name] for name in end] for end in ends] for row in rows], np.float64)
    if driver == "GeoJSON" and crs is not None:
        onto = Transformer.from_crs(CRS.from_wkt(crs), "EPSG:4326", always_xy=True)
        places, crs = np.stack(onto.transform(places[..., 0], places[..., 1]), -1), "EPSG:4326"
    names = list(rows[0])
    pyogrio.raw.write(
        path,
        np.asarray(shapely.to_wkb(_shapes(places)), object),
        [np.array([row[name] for row in rows]) for name in names],
        names,
        geometry_type="Point" if len(ends) == 1 else "LineString",
        crs=crs,
        driver=driver,
    )


def _shapes(places: NDArray[np.float64]) -> NDArray[np.object_]:
    """Return points or lines (N,) from places (N, 1 or 2, 2)."""
    shapes = shapely.points(places[:, 0]) if places.shape[1] == 1 else shapely.linestrings(places)
    return np.asarray(shapes, object)
