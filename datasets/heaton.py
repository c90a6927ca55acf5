"""Loader of the Heaton competition's simulated set."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geonp.errors import InputError

from .rdata import read_frame
from .registry import data_set
from .store import Store

_FRAME = "all.sim.data"
_COLUMNS = ("Lon", "Lat", "MaskTemp", "TrueTemp")


class Competition(NamedTuple):
    """What was seen and what is true, (y, x) in degrees Celsius on a grid in longitude and latitude."""

    seen: xr.DataArray
    truth: xr.DataArray


def load_heaton(store: Store | None = None) -> Competition:
    """Return the simulated set: 105,569 of 150,000 pixels seen, 44,431 to be told.

    Raises
    ------
    InputError
        If it is not on this machine (the message says how to get it) or damaged.
    """
    data = data_set("heaton")
    (file,) = data.files
    path = (store or Store.default()).need(data, file)
    lon, lat, seen, truth = _npz(path) if path.suffix == ".npz" else _rdata(path)
    return Competition(_field(lon, lat, seen, path), _field(lon, lat, truth, path))


Grid = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _npz(path: Path) -> Grid:
    """Read longitudes, latitudes (north first) and the two grids (latitude, longitude)."""
    try:
        with np.load(path, allow_pickle=False) as content:
            lon, lat, seen, truth = (
                np.asarray(content[k], np.float64) for k in ("lon", "lat", "train", "truth")
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise InputError(f"{path}: is not the archive of arrays lon, lat, train and truth") from None
    return lon, lat, seen, truth


def _rdata(path: Path) -> Grid:
    """Read the original file: a data frame with a row a pixel, NA where not seen."""
    frame = read_frame(path, _FRAME)
    missing = [name for name in _COLUMNS if name not in frame]
    if missing:
        raise InputError(
            f"{path}: the data frame {_FRAME} has no column {missing[0]}; is it the original file?"
        )
    x, y, seen, truth = (frame[name] for name in _COLUMNS)
    lon, column = np.unique(np.round(x, 9), return_inverse=True)
    north, row = np.unique(-np.round(y, 9), return_inverse=True)
    if lon.size * north.size != x.size:
        raise InputError(f"{path}: {x.size} pixels are no grid of {north.size} x {lon.size}; fetch it again")
    grids = np.full((2, north.size, lon.size), np.nan)
    grids[0, row, column], grids[1, row, column] = seen, truth
    return lon, -north, grids[0], grids[1]


def _field(
    lon: NDArray[np.float64], lat: NDArray[np.float64], values: NDArray[np.float64], path: Path
) -> xr.DataArray:
    rows, cols = values.shape
    dx, dy = (lon[-1] - lon[0]) / (cols - 1), (lat[0] - lat[-1]) / (rows - 1)
    if (lat.size, lon.size) != values.shape or not (dx > 0 and dy > 0):
        raise InputError(f"{path}: longitudes and latitudes do not fit a grid of {rows} x {cols}, north up")
    affine = Affine(dx, 0, lon[0] - dx / 2, 0, -dy, lat[0] + dy / 2)
    known = np.where(
        np.isfinite(values), values, np.nan
    )  # R's NA is a NaN that numpy warns of when it is cast
    field: xr.DataArray = wrap_xr(
        known.astype(np.float32), GeoBox((rows, cols), affine, "EPSG:4326"), nodata=np.nan
    )
    return field
