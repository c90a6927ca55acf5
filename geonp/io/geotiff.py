"""Completed rasters as GeoTIFF files, one a layer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import xarray as xr
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from geonp.errors import OutputError, UsageError
from geonp.field import Window, grid_shape
from geonp.io import cf, grid
from geonp.io.outputs import RASTER_SUFFIXES, Staging, Writer, told_of_failure
from geonp.io.paths import StrPath
from geonp.io.raster import GDAL_ERRORS, quiet_without_georeferencing

DEFAULT_NODATA = -9999.0
BLOCK = 256
_PREDICTED = ("DEFLATE", "LZW", "ZSTD", "LZMA")
_COORDINATES_OF_GRID = {"band", "y", "x", "description", "band_units", cf.GRID_MAPPING}


def creation_options(pairs: Sequence[str]) -> dict[str, str]:
    """Return GDAL creation options given as `KEY=VALUE`.

    Raises
    ------
    UsageError
        If one is written otherwise.
    """
    out = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key or not value:
            raise UsageError(f"creation option '{pair}' is not KEY=VALUE; write for example COMPRESS=ZSTD")
        out[key.upper()] = value
    return out


def nodata_of(field: xr.DataArray) -> float:
    """Return the nodata value of completed rasters.

    That of the survey where it is NaN or a negative number that float32 holds exactly: neither a variance nor
    a count can then be mistaken for it. Otherwise -9999.
    """
    declared = field.attrs.get(cf.SOURCE_NODATA)
    if declared is None:
        return DEFAULT_NODATA
    value = float(declared)
    with np.errstate(over="ignore"):
        usable = np.isnan(value) or (value < 0 and np.isfinite(value) and float(np.float32(value)) == value)
    return value if usable else DEFAULT_NODATA


class RasterWriter(Writer):
    """Writes `mean`, `variance`, `std` or `status` to GeoTIFF files on the grid of the survey.

    Floating layers are float32 with an explicit nodata value (`nodata_of`); a value that happens to equal it
    is written as the next float32, which differs in the seventh digit. `status` is uint8 without nodata. CRS,
    transform, AREA_OR_POINT, band descriptions and units are those of the survey, the units of a variance
    squared. Files are tiled, deflated with a floating-point predictor, and BigTIFF where they could exceed
    4 GB. Windows whose edges are multiples of 256 pixels are written once; others may be compressed again.

    Parameters
    ----------
    paths : file of each layer to write.
    like : field (band, y, x) that was completed; not read.
    tags : written to every file, such as the method, its version and the seed.
    options : GDAL creation options, over the defaults; with `cog` those of the COG driver.
    cog : write cloud-optimised GeoTIFFs with overviews, at the end, from a temporary copy.
    overwrite : replace outputs that exist.
    inputs : files that are read meanwhile, which an output must not be.

    Raises
    ------
    UsageError, OutputError
        See `check_outputs`; and if GDAL refuses the options.
    """

    def __init__(
        self,
        paths: Mapping[str, StrPath],
        like: xr.DataArray,
        *,
        tags: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        cog: bool = False,
        overwrite: bool = False,
        inputs: Sequence[StrPath] = (),
    ) -> None:
        unknown = [layer for layer in paths if layer not in cf.LAYERS]
        if unknown or not paths:
            raise UsageError(
                f"layers to write are {', '.join(cf.LAYERS)}; got {', '.join(unknown) or 'none'}"
            )
        staging = Staging(list(paths.values()), overwrite=overwrite, inputs=inputs, suffixes=RASTER_SUFFIXES)
        super().__init__(staging, (like.sizes["band"], *grid_shape(like)))
        self._paths = {layer: Path(path) for layer, path in paths.items()}
        self._nodata = nodata_of(like)
        self._cog = cog
        self._options = {k.upper(): v for k, v in (options or {}).items()}
        self._open: dict[str, Any] = {}
        try:
            for layer in self._paths:
                failing = told_of_failure(self._paths[layer], (*GDAL_ERRORS, OSError, ValueError))
                with failing, quiet_without_georeferencing():
                    self._open[layer] = self._create(layer, like, tags or {})
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def _create(self, layer: str, like: xr.DataArray, tags: Mapping[str, str]) -> Any:
        bands, rows, cols = self._shape
        box = grid.exact_box(like)
        status = layer == cf.STATUS
        plain = {"COMPRESS": "DEFLATE", "ZLEVEL": "1"}  # of the copy that a COG is made from
        file = rasterio.open(
            self._working(layer),
            "w",
            driver="GTiff",
            dtype="uint8" if status else "float32",
            count=bands,
            height=rows,
            width=cols,
            nodata=None if status else self._nodata,
            crs=None if box is None or box.crs is None else box.crs.to_wkt(),
            transform=None if box is None else box.affine,
            **_layout(plain if self._cog else self._options, status),
        )
        texts = {str(k): str(v) for k, v in tags.items()}
        if "AREA_OR_POINT" in like.attrs:
            texts["AREA_OR_POINT"] = str(like.attrs["AREA_OR_POINT"])
        file.update_tags(**texts)
        if status:
            meanings = ", ".join(f"{code} {text}" for code, text in enumerate(cf.STATUS_MEANINGS))
            file.update_tags(status=meanings)
        for i, (label, unit) in enumerate(zip(_labels(like), _units(like), strict=True), 1):
            what = {cf.VARIANCE: "variance", cf.STD: "standard deviation"}.get(layer, layer)
            file.set_band_description(
                i, (label or what) if layer == cf.MEAN else f"{what} of {label}" if label else what
            )
            if unit and not status:
                file.set_band_unit(i, cf.squared(unit) if layer == cf.VARIANCE else unit)
        return file

    def _working(self, layer: str) -> Path:
        """Return the file that windows go to."""
        final = self._staging.temporary(self._paths[layer])
        return final.with_name(f".{layer}-before-cog.tif") if self._cog else final

    def _layers(self) -> Sequence[str]:
        return list(self._paths)

    def _write(self, layer: str, window: Window, values: NDArray[Any]) -> None:
        place = RasterWindow(window.col, window.row, window.width, window.height)
        if layer == cf.STATUS:
            out = values.astype(np.uint8, copy=False)
        else:
            out = values.astype(np.float32)
            if not np.isnan(self._nodata):
                nodata = np.float32(self._nodata)
                out[out == nodata] = np.nextafter(nodata, np.float32(np.inf))
                out[np.isnan(out)] = nodata
        with told_of_failure(self._paths[layer], (*GDAL_ERRORS, OSError)), rasterio.Env():  # of this thread
            self._open[layer].write(out, window=place)

    def _finish(self) -> None:
        for layer, path in self._paths.items():
            working = self._working(layer)
            failing = told_of_failure(path, (*GDAL_ERRORS, OSError))
            with failing, rasterio.Env(), quiet_without_georeferencing():
                self._open.pop(layer).close()
                _check_whole(working)
                if self._cog:
                    final = self._staging.temporary(path)
                    rasterio.shutil.copy(working, final, driver="COG", **self._cog_options(layer))
                    _check_whole(final)
                    working.unlink()

    def _cog_options(self, layer: str) -> dict[str, str]:
        # The mean of codes is no code.
        resampling = "NEAREST" if layer == cf.STATUS else "AVERAGE"
        defaults = {
            "COMPRESS": "DEFLATE",
            "BIGTIFF": "IF_SAFER",
            "NUM_THREADS": "ALL_CPUS",  # nothing else runs any more
            "OVERVIEW_RESAMPLING": resampling,
        }
        options = defaults | self._options
        if options["COMPRESS"].upper() in _PREDICTED:
            options.setdefault("PREDICTOR", "YES")
        return options

    def _abandon(self) -> None:
        while self._open:
            _, file = self._open.popitem()
            file.close()


def _layout(options: Mapping[str, str], status: bool) -> dict[str, str]:
    """Return creation options of the GTiff driver: the caller's over the defaults."""
    defaults = {"COMPRESS": "DEFLATE", "TILED": "YES", "INTERLEAVE": "BAND", "BIGTIFF": "IF_SAFER"}
    out = defaults | dict(options)
    if out["TILED"].upper() in ("YES", "TRUE", "ON", "1"):
        out = {"BLOCKXSIZE": str(BLOCK), "BLOCKYSIZE": str(BLOCK)} | out
    if out["COMPRESS"].upper() in _PREDICTED:
        out = {"PREDICTOR": "2" if status else "3"} | out
    return out


def _labels(field: xr.DataArray) -> list[str]:
    """Return what each band is called: its description, or the time, level, ... that was stacked into it."""
    if "description" in field.coords:
        return [str(v) for v in np.atleast_1d(field.coords["description"].values)]
    if field.sizes["band"] == 1 and field.attrs.get("long_name"):
        return [str(field.attrs["long_name"])]
    stacked = [c for n, c in field.coords.items() if c.dims == ("band",) and n not in _COORDINATES_OF_GRID]
    name = str(field.name or "") if stacked or field.name else ""
    parts = [[f"{c.name}={_text(v)}" for v in c.values] for c in stacked]
    return [" ".join([*([name] if name else []), *(p[i] for p in parts)]) for i in range(field.sizes["band"])]


def _text(value: object) -> str:
    if isinstance(value, np.datetime64):
        return np.datetime_as_string(value, unit="s").removesuffix("T00:00:00")
    return str(value)


def _units(field: xr.DataArray) -> list[str]:
    if "band_units" in field.coords:
        return [str(v) for v in np.atleast_1d(field.coords["band_units"].values)]
    return [str(field.attrs.get("units", ""))] * field.sizes["band"]


def _check_whole(path: Path) -> None:
    """Raise if a written file lacks part of its pixels: GDAL keeps silent when a disk is full at closing."""
    size = os.path.getsize(path)
    with rasterio.open(path) as file:
        for band, (height, width) in zip(file.indexes, file.block_shapes, strict=True):
            for row in range(-(-file.height // height)):
                for col in range(-(-file.width // width)):
                    tag = f"{col}_{row}"
                    start = file.get_tag_item(f"BLOCK_OFFSET_{tag}", "TIFF", bidx=band)
                    length = file.get_tag_item(f"BLOCK_SIZE_{tag}", "TIFF", bidx=band)
                    if start is not None and int(start) + int(length) > size:
                        raise OutputError(
                            f"{path.name}: was cut short while it was closed; is the disk full?"
                        )
