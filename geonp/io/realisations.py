"""Realisations on disk: bands of a GeoTIFF, or a dimension `realisation` of a NetCDF file or Zarr store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from geonp.field import Window, grid_shape
from geonp.io import cf
from geonp.io.arrays import SOURCE_DIMS, SOURCE_SHAPE
from geonp.io.container import _FAILURES, ContainerWriter, _Layout, _NetCDFStore, _ZarrStore
from geonp.io.geotiff import RasterWriter, _labels
from geonp.io.outputs import CONTAINER_SUFFIXES, RASTER_SUFFIXES, told_of_failure
from geonp.io.paths import StrPath
from geonp.io.raster import GDAL_ERRORS

REALISATION = "realisation"
SUFFIXES = (*RASTER_SUFFIXES, *CONTAINER_SUFFIXES)

Values = NDArray[np.float32]


class RealisationRaster(RasterWriter):
    """Writes realisations as bands of a GeoTIFF: all bands of the first one, then of the second, and so on."""

    def write_some(self, window: Window, first: int, values: Values) -> None:
        """Write a window of some realisations, (R, band, y, x), from number `first` on (0 is the first)."""
        flat = values.reshape(-1, *window.shape).astype(np.float32)
        if not np.isnan(self._nodata):
            nodata = np.float32(self._nodata)
            flat[flat == nodata] = np.nextafter(nodata, np.float32(np.inf))
            flat[np.isnan(flat)] = nodata
        start = first * values.shape[1]
        place = RasterWindow(window.col, window.row, window.width, window.height)
        with told_of_failure(self._paths[cf.MEAN], (*GDAL_ERRORS, OSError)):
            indexes = list(range(start + 1, start + 1 + len(flat)))
            self._open[cf.MEAN].write(flat, indexes=indexes, window=place)


class RealisationContainer(ContainerWriter):
    """Writes realisations as the variable `mean` of a container, with a leading dimension `realisation`."""

    def write_some(self, window: Window, first: int, values: Values) -> None:
        """Write a window of some realisations, (R, band, y, x), from number `first` on (0 is the first)."""
        shaped = values.reshape(len(values), *self._layout.leading_shape[1:], *window.shape)
        rows, cols = slice(window.row, window.stop[0]), slice(window.col, window.stop[1])
        where = (slice(first, first + len(values)), ..., rows, cols)
        with told_of_failure(self._path, _FAILURES):
            if isinstance(self._store, _ZarrStore):
                self._store._group[cf.MEAN][where] = shaped
            elif isinstance(self._store, _NetCDFStore):
                with self._store._lock:
                    self._store._file.variables[cf.MEAN][where] = shaped


def realisation_writer(
    path: StrPath,
    field: xr.DataArray,
    n: int,
    *,
    tags: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    overwrite: bool = False,
    inputs: Sequence[StrPath] = (),
) -> RealisationRaster | RealisationContainer:
    """Return what writes `n` realisations of `field` to a GeoTIFF, a NetCDF file or a Zarr store.

    Raises
    ------
    UsageError, OutputError
        See `geonp.io.outputs.check_outputs`.
    """
    raster = Path(path).suffix.lower() in RASTER_SUFFIXES
    like = _stacked(field, n)
    if raster:
        return RealisationRaster(
            {cf.MEAN: path}, like, tags=tags, options=options, overwrite=overwrite, inputs=inputs
        )
    return RealisationContainer(path, like, [cf.MEAN], tags=tags, overwrite=overwrite, inputs=inputs)


def _stacked(field: xr.DataArray, n: int) -> xr.DataArray:
    """Return a field without data whose bands are all bands of all realisations."""
    bands = field.sizes["band"]
    layout = _Layout.of(field)
    alone = bands == 1 and len(layout.leading) == 1
    leading, sizes = ((), ()) if alone else (layout.leading, layout.leading_shape)
    labels = [label or (f"band {i}" if bands > 1 else "") for i, label in enumerate(_labels(field), 1)]
    described = [
        f"realisation {k}" + (f" of {label}" if label else "") for k in range(1, n + 1) for label in labels
    ]
    kept = {name: c for name, c in field.coords.items() if "band" not in c.dims}
    data = np.broadcast_to(np.float32(np.nan), (n * bands, *grid_shape(field)))
    like = xr.DataArray(data, coords=kept, dims=field.dims, attrs=field.attrs, name=field.name)
    coords: dict[str, NDArray[np.generic]] = {REALISATION: np.repeat(np.arange(1, n + 1), bands)}
    if len(leading) == 1 and leading[0] in field.coords and field.coords[leading[0]].dims == ("band",):
        own = "band_of_file" if leading[0] == "band" else leading[0]
        coords[own] = np.tile(field.coords[leading[0]].values, n)
    like = like.assign_coords({name: ("band", values) for name, values in coords.items()})
    if "band_units" in field.coords:
        like = like.assign_coords(band_units=("band", np.tile(field.coords["band_units"].values, n)))
    like = like.assign_coords(description=("band", np.array(described)))
    like.encoding |= {SOURCE_DIMS: (REALISATION, *leading, *layout.spatial), SOURCE_SHAPE: (n, *sizes)}
    return like
