"""Places in a vector file or a table: GeoPackage, GeoJSON, Shapefile, CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyogrio.errors
import pyogrio.raw
import shapely
import xarray as xr
from pyproj import CRS, Transformer

from geonp.errors import InputError
from geonp.field import geobox
from geonp.io.outputs import Staging, told_of_failure
from geonp.io.paths import StrPath

_DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".fgb": "FlatGeobuf"}
SUFFIXES = (*_DRIVERS, ".csv")


def write_sites(
    path: StrPath,
    rows: Sequence[Mapping[str, float | int]],
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
                _write_vector(temporary, rows, field, _DRIVERS[target.suffix.lower()])
        staging.commit()


def _write_vector(
    path: Path, rows: Sequence[Mapping[str, float | int]], field: xr.DataArray, driver: str
) -> None:
    box = geobox(field)
    crs = None if box is None or box.crs is None else box.crs.to_wkt()
    x, y = (np.array([row[name] for row in rows], np.float64) for name in ("x", "y"))
    if driver == "GeoJSON" and crs is not None:
        onto = Transformer.from_crs(CRS.from_wkt(crs), "EPSG:4326", always_xy=True)
        (x, y), crs = onto.transform(x, y), "EPSG:4326"
    names = list(rows[0])
    pyogrio.raw.write(
        path,
        np.asarray(shapely.to_wkb(shapely.points(x, y)), object),
        [np.array([row[name] for row in rows]) for name in names],
        names,
        geometry_type="Point",
        crs=crs,
        driver=driver,
    )
