"""Rasters that GDAL reads (GeoTIFF, COG, VRT, ...) as lazy fields."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError as RasterCRSError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterWindow
from xarray.backends import CachingFileManager

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.io import cf, grid
from geonp.io.lazy import LazyGrid, Values
from geonp.io.paths import StrPath, check_readable, is_address, reason
from geonp.io.remote import advice, patiently

GDAL_ERRORS = (RasterioError, CPLE_BaseError)
_CRS_ERRORS = (CRSError, RasterCRSError)
_STRIDED_PIXELS = 1 << 24
_HUGE = 1e30
_MOST_BANDS = 1 << 14

Mask = NDArray[np.bool_]


def open_raster(path: StrPath, *, band: Sequence[int] = (), nodata: float | None = None) -> xr.DataArray:
    """Open a raster as a lazy field; pixels are read when and where they are asked for.

    Not observed (NaN) is what equals the band's nodata value, what a mask band (`.msk`, internal) or an alpha
    of 0 leaves out, and NaN. Infinities are left for whoever reads to count. An alpha band is not a band of
    the field, unless it is asked for or described as something else ("NIR"): then it is data, and no mask.

    Parameters
    ----------
    path : file, or an address that GDAL understands (`/vsicurl/...`, `s3://...`, `NETCDF:...`).
    band : bands to read, 1-based, in the order wanted; all of them if empty.
    nodata : stored value that means "not observed", in place of what the file declares.

    Returns
    -------
    DataArray
        Dimensions (band, y, x), float32, scale and offset applied. Coordinates: `band` (1-based index in the
        file), `y`, `x`, `spatial_ref`, and `description` and `band_units` where bands differ in them.
        Attributes: `units`, `long_name`, `AREA_OR_POINT`, `source_dtype`, `source_nodata`, where known.

    Raises
    ------
    InputError
        If the file is missing, damaged, no raster, or complex; later, when pixels cannot be read.
    UsageError
        If there is no such band.

    Warns
    -----
    GeonpWarning
        If an alpha band is taken for a mask.
    """
    name = os.fspath(path)
    check_readable(name, folder=True)
    array = RasterArray(name)
    with array.reading() as source:
        try:
            array.choose(source, band, nodata)
            coords = _coordinates(source, array.bands)
            return array.field(coords, _attributes(source, array.bands, nodata), None, name)
        except (*GDAL_ERRORS, *_CRS_ERRORS) as error:
            raise InputError(
                f"{name}: what the file says of its bands or its grid is damaged ({reason(error)}); check it with "
                "gdalinfo, and fetch or export it again"
            ) from None


@contextmanager
def quiet_without_georeferencing() -> Iterator[None]:
    """Leave it to `geonp.field` to say that a grid has no CRS, once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _open(path: str) -> Any:
    with quiet_without_georeferencing():
        try:
            return rasterio.open(path)
        except GDAL_ERRORS as error:
            if os.path.isdir(path) and not is_address(path):
                raise InputError(f"{path}: is a folder; give one file in it, or a Zarr store") from None
            raise InputError(
                f"{path}: is no raster that GDAL can read, or is damaged ({reason(error)}); "
                + advice(path, "check it with gdalinfo, and fetch or export it again")
            ) from None


@dataclass(frozen=True)
class _Band:
    """How one band's stored numbers become values."""

    index: int
    nodata: float | None
    scale: float
    offset: float
    masked: bool  # a mask of the file applies, beyond nodata and alpha


class RasterArray(LazyGrid):
    """Pixels (band, y, x) of a raster file, float32, NaN where not observed; picklable, safe between threads.

    The file is kept open by xarray's cache of file handles, reopened when that has closed it, and opened anew
    after a fork, because a handle's position in its file is shared with the parent.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.bands: tuple[int, ...] = ()
        self._how: tuple[_Band, ...] = ()
        self._alpha: int | None = None
        self._renew()

    def _renew(self) -> None:
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._files = CachingFileManager(_open, self.path, lock=self._lock)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_process", "_lock", "_files")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._renew()

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Give the open file to this thread alone."""
        if self._process != os.getpid():
            self._renew()
        with self._lock, patiently(self.path):
            yield self._files.acquire(needs_lock=False)

    def choose(self, source: Any, wanted: Sequence[int], nodata: float | None) -> None:
        """Settle, from the open file, which bands are read and how."""
        if source.count == 0:
            names = ", ".join(source.subdatasets[:8])
            held = (
                f"it holds the rasters {names}: give one of these instead" if names else "it holds no raster"
            )
            raise InputError(f"{self.path}: has no band of its own; {held}")
        # Each of a file's lists is made anew for all its bands whenever it is asked for.
        described, colours, kinds = source.descriptions, source.colorinterp, source.dtypes
        alpha = [i for i in source.indexes if _is_alpha(colours[i - 1], described[i - 1])]
        data = [i for i in source.indexes if i not in alpha] or list(source.indexes)
        wrong = [b for b in wanted if b not in source.indexes]
        if wrong:
            raise UsageError(f"{self.path}: has bands 1 to {source.count}, there is no band {wrong[0]}")
        self.bands = tuple(wanted) or tuple(data)
        if len(self.bands) > _MOST_BANDS:
            raise InputError(
                f"{self.path}: says that it has {len(self.bands)} bands; more than {_MOST_BANDS} are not read at "
                "once: if the file is not damaged, name those you want (--band)"
            )
        self._alpha = next((i for i in alpha if i not in self.bands), None)
        if self._alpha is not None and not wanted:
            warnings.warn(
                f"{self.path}: band {self._alpha} is an alpha band: it is not completed, and pixels where it "
                "is 0 count as not observed; if it is data, name the bands you want (--band, band=)",
                GeonpWarning,
                stacklevel=4,
            )
        for b in self.bands:
            kind = kinds[b - 1]
            if kind.startswith("complex"):
                raise InputError(
                    f"{self.path}: band {b} is {kind}; complex numbers cannot be completed: "
                    "export amplitude and phase as bands of their own"
                )
        lists = source.mask_flag_enums, source.nodatavals, source.scales, source.offsets
        self._how = tuple(_how(b, nodata, *(each[b - 1] for each in lists)) for b in self.bands)
        self.shape = (len(self.bands), source.height, source.width)

    def read(self, bands: range, rows: range, cols: range) -> Values:
        """Return pixels; with a step, without holding all that lies between them."""
        at_once = max(_STRIDED_PIXELS // (rows.step * self.shape[2]), 1) if rows.step > 1 else len(rows)
        parts = []
        for first in range(0, len(rows), at_once):
            some = rows[first : first + at_once]
            window = RasterWindow(cols[0], some[0], cols[-1] - cols[0] + 1, some[-1] - some[0] + 1)
            parts.append(self._window(bands, window)[:, :: rows.step, :: cols.step])
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _window(self, bands: range, window: RasterWindow) -> Values:
        how = [self._how[b] for b in bands]
        try:
            with self.reading() as source:
                stored = _stored(source, [h.index for h in how], window)
                masks = _masks(source, how, self._alpha, window)
        except GDAL_ERRORS as error:
            raise InputError(
                f"{self.path}: rows {window.row_off} to {window.row_off + window.height} cannot be read, the "
                f"file is truncated or damaged ({reason(error)}); fetch or export it again"
            ) from None
        out = np.empty((len(how), window.height, window.width), np.float32)
        for i, (h, raw) in enumerate(zip(how, stored, strict=True)):
            missing = _is_nodata(raw, h.nodata)
            with np.errstate(
                over="ignore", invalid="ignore"
            ):  # beyond float32 is infinite, and counted as such
                out[i] = raw if (h.scale, h.offset) == (1, 0) else raw * np.float64(h.scale) + h.offset
            for mask in (missing, masks[i]):
                if mask is not None:
                    out[i][mask] = np.nan
        return out


def _is_alpha(colour: ColorInterp, description: str | None) -> bool:
    """Return whether a band is transparency. Writers call the fourth band of any 8-bit scene alpha; one that
    is described as something else is data.
    """
    described = (description or "alpha").lower()
    named = any(word in described for word in ("alpha", "mask", "transparen", "opacity"))
    return named and colour == ColorInterp.alpha


def _how(
    band: int, nodata: float | None, flags: Any, declared: float | None, scale: float, offset: float
) -> _Band:
    plain = MaskFlags.all_valid in flags or MaskFlags.alpha in flags or flags == [MaskFlags.nodata]
    return _Band(band, declared if nodata is None else nodata, scale, offset, not plain)


def _stored(source: Any, indexes: list[int], window: RasterWindow) -> Sequence[NDArray[Any]]:
    kinds = source.dtypes
    if len({kinds[i - 1] for i in indexes}) == 1:
        read: Sequence[NDArray[Any]] = source.read(indexes, window=window)
        return read
    return [source.read(i, window=window) for i in indexes]


def _masks(source: Any, how: Sequence[_Band], alpha: int | None, window: RasterWindow) -> list[Mask | None]:
    """Return what masks and alpha leave out of each band."""
    clear = None if alpha is None else source.read(alpha, window=window) == 0
    out: list[Mask | None] = []
    for h in how:
        mask = source.read_masks(h.index, window=window) == 0 if h.masked else None
        out.append(clear if mask is None else mask if clear is None else mask | clear)
    return out


def _is_nodata(raw: NDArray[Any], nodata: float | None) -> Mask | None:
    """Return where stored numbers are the nodata value; None where none can be. NaN needs no mask."""
    if nodata is None or np.isnan(nodata):
        return None
    if raw.dtype.kind in "iub":
        info = np.iinfo(np.uint8) if raw.dtype.kind == "b" else np.iinfo(raw.dtype)
        if nodata != np.floor(nodata) or not info.min <= nodata <= info.max:
            return None
        return np.asarray(raw == int(nodata))
    if np.isfinite(nodata) and abs(nodata) > _HUGE:
        # Such as -3.4e38: written into headers with fewer digits than the pixels have.
        return np.asarray(raw * np.sign(nodata) >= abs(nodata) * (1 - 1e-6))
    with np.errstate(over="ignore"):
        return np.asarray(raw == raw.dtype.type(nodata))


def _coordinates(source: Any, bands: tuple[int, ...]) -> dict[Hashable, Any]:
    out: dict[Hashable, Any] = {"band": np.array(bands)}
    described = source.descriptions
    descriptions = [described[b - 1] or "" for b in bands]
    units = _units(source, bands)
    if len(bands) > 1 and any(descriptions):
        out["description"] = ("band", descriptions)
    if len(set(units)) > 1:
        out["band_units"] = ("band", units)
    # A file without a geotransform (ground control points, RPCs, nothing at all) reports the identity.
    if not source.transform.is_identity:
        crs = None if source.crs is None else source.crs.to_wkt()
        out |= grid.coordinates(GeoBox((source.height, source.width), source.transform, crs))
    return out


def _units(source: Any, bands: tuple[int, ...]) -> list[str]:
    units = source.units
    return [units[b - 1] or "" for b in bands]


def _attributes(source: Any, bands: tuple[int, ...], nodata: float | None) -> dict[str, Any]:
    attrs: dict[str, Any] = {}
    units = set(_units(source, bands))
    if len(units) == 1 and units != {""}:
        attrs["units"] = units.pop()
    if len(bands) == 1 and source.descriptions[bands[0] - 1]:
        attrs["long_name"] = source.descriptions[bands[0] - 1]
    area_or_point = source.tags().get("AREA_OR_POINT")
    if area_or_point:
        attrs["AREA_OR_POINT"] = area_or_point
    attrs[cf.SOURCE_DTYPE] = source.dtypes[bands[0] - 1]
    declared = source.nodatavals[bands[0] - 1] if nodata is None else nodata
    if declared is not None:
        attrs[cf.SOURCE_NODATA] = declared
    return attrs
