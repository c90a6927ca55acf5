"""NetCDF files and Zarr stores as lazy fields."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.io import cf, grid
from geonp.io.lazy import LazyGrid, Values, as_slice
from geonp.io.paths import StrPath, check_readable, is_address, is_zarr, reason
from geonp.io.remote import advice, storage_options

SOURCE_DIMS, SOURCE_SHAPE = "source_dims", "source_shape"
_UNEVEN = 0.01
_WGS84 = "EPSG:4326"


def open_array(
    path: StrPath, *, variable: str | None = None, band: Sequence[int] = (), nodata: float | None = None
) -> xr.DataArray:
    """Open one variable of a NetCDF file or Zarr store as a lazy field.

    Spatial dimensions are found by CF attributes, by name (y/x, lat/lon, ...), or are the last two. Every
    other dimension (time, level, ...) is stacked into `band`, in order, and keeps its coordinate there.
    `_FillValue`, `missing_value`, scale, offset and the valid range are applied.

    Parameters
    ----------
    path : file, folder of a Zarr store, or an address that xarray understands.
    variable : its name; may be left out where one floating variable lies on a grid.
    band : steps to read, 1-based, in the order of the stacked dimensions; all of them if empty.
    nodata : value, after scaling, that means "not observed", besides those that the file declares.

    Returns
    -------
    DataArray
        Dimensions (band, y, x), float32, with the file's own coordinates, verbatim. Latitudes and longitudes
        without a grid mapping are taken to be in WGS 84.

    Raises
    ------
    InputError
        If the file is missing, damaged, of another format, or has no numbers on a grid; later, when values
        cannot be read.
    UsageError
        If there is no such variable or step, or several variables and none was named.

    Warns
    -----
    GeonpWarning
        If coordinates are so unevenly spaced that lengths on the grid are approximate.
    """
    name = os.fspath(path)
    check_readable(name, folder=True)
    dataset = _open(name)
    chosen = _choose(dataset, variable, name)
    array = dataset.variables[chosen]
    y, x = _spatial(array, dataset)
    leading = [d for d in array.dims if d not in (y, x)]
    if 0 in array.shape:
        raise InputError(f"{name}: the grid of '{chosen}' is empty: {dict(array.sizes)}")
    count = math.prod(array.sizes[d] for d in leading)
    wrong = [b for b in band if not 1 <= b <= count]
    if wrong:
        steps = " x ".join(f"{d} {array.sizes[d]}" for d in leading) or "a single step"
        raise UsageError(f"{name}: '{chosen}' has bands 1 to {count} ({steps}), there is no band {wrong[0]}")
    chosen_steps = np.array(band, int) - 1 if band else np.arange(count)
    lazy = StackedArray(array.transpose(*leading, y, x), tuple(chosen_steps.tolist()), name, nodata)
    coords = _coordinates(dataset, array, leading, (y, x), chosen_steps)
    field = lazy.field(coords, _attributes(array, nodata), chosen, name)
    if len(leading) <= 1 or not band:
        shape = chosen_steps.shape if len(leading) == 1 else tuple(array.sizes[d] for d in leading)
        field.encoding |= {SOURCE_DIMS: (*map(str, leading), str(y), str(x)), SOURCE_SHAPE: shape}
    return _georeference(field, dataset, array, (y, x))


def _open(path: str) -> xr.Dataset:
    zarr = is_zarr(path) or path.rstrip("/").endswith(".zarr")
    if not zarr and os.path.isdir(path) and not is_address(path):
        raise InputError(f"{path}: is a folder and no Zarr store; give one file in it")
    engine: Literal["zarr", "netcdf4"] | None = "zarr" if zarr else None if is_address(path) else "netcdf4"
    kind = "Zarr store" if zarr else "NetCDF file"
    how: dict[str, Any] = {"storage_options": storage_options(path)} if zarr else {}
    error: Exception
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about consolidated metadata, odd calendars, missing grid mappings
        for decode_times in (True, False):  # units of time that nobody can decode must not hide the data
            try:
                return xr.open_dataset(
                    path, engine=engine, decode_times=decode_times, decode_timedelta=False, **how
                )
            except Exception as raised:  # each engine and each compressor has errors of its own
                error = raised
    raise InputError(
        f"{path}: is no {kind} that can be read, or is damaged ({reason(error)}); "
        + advice(path, "check it with ncdump -h, and fetch or export it again")
    ) from None


def _choose(dataset: xr.Dataset, wanted: str | None, path: str) -> str:
    """Return the name of the variable to read."""
    on_grid = {
        str(n): v
        for n, v in dataset.data_vars.items()
        if v.ndim >= 2 and v.dtype.kind in "fiub" and not str(n).endswith(("_bnds", "_bounds"))
    }
    if wanted is not None:
        if wanted in on_grid:
            return wanted
        why = "is not numbers on a grid" if wanted in dataset.variables else "is not there"
        raise UsageError(f"{path}: variable '{wanted}' {why}; on a grid are: {_listed(on_grid)}")
    if not on_grid:
        there = _listed(dataset.variables)
        raise InputError(f"{path}: has no variable of numbers with two dimensions; it has: {there}")
    floating = [n for n, v in on_grid.items() if v.dtype.kind == "f"]
    candidates = floating or list(on_grid)
    if len(candidates) > 1:
        raise UsageError(
            f"{path}: has several variables on a grid, name one (--variable): {_listed(candidates)}"
        )
    return candidates[0]


def _listed(names: Any) -> str:
    return ", ".join(sorted(map(str, names))) or "none"


def _spatial(array: xr.Variable, dataset: xr.Dataset) -> tuple[Hashable, Hashable]:
    return cf.spatial_dimensions(array, dataset) or (array.dims[-2], array.dims[-1])


class StackedArray(LazyGrid):
    """A lazy variable (..., y, x) seen as (band, y, x); stacking an xarray variable would load all of it."""

    def __init__(
        self, variable: xr.Variable, steps: tuple[int, ...], path: str, nodata: float | None
    ) -> None:
        self._variable = variable
        self._leading = variable.shape[:-2]
        self._steps = steps
        self._path = path
        self._nodata = nodata
        self._valid = cf.valid_range(variable)
        self.shape = (len(steps), *variable.shape[-2:])

    def read(self, bands: range, rows: range, cols: range) -> Values:
        """Return pixels, what the file declares invalid as NaN."""
        window = (as_slice(rows), as_slice(cols))
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is infinite, and counted so
                values = self._stacked(np.array(self._steps)[as_slice(bands)], window).astype(np.float32)
        except Exception as error:  # each engine and each compressor has errors of its own
            raise InputError(
                f"{self._path}: values cannot be read, the file is truncated or damaged ({reason(error)}); "
                "fetch or export it again"
            ) from None
        return self._without_invalid(values)

    def _stacked(self, steps: NDArray[np.int_], window: tuple[slice, slice]) -> NDArray[Any]:
        count = math.prod(self._leading)
        if np.array_equal(steps, np.arange(count)):
            # In one piece, so that chunks that hold several steps are unpacked once.
            whole = self._variable[(*[slice(None)] * len(self._leading), *window)].to_numpy()
            return whole.reshape(count, *whole.shape[len(self._leading) :])
        if len(self._leading) == 1:
            return self._variable[(steps, *window)].to_numpy()
        at = [np.unravel_index(s, self._leading) for s in steps]
        return np.asarray([self._variable[(*i, *window)].to_numpy() for i in at])

    def _without_invalid(self, values: Values) -> Values:
        # A bound is stated with its own digits; rounding to float32 must not exclude the bound itself.
        low, high = self._valid
        low -= 1e-6 * abs(low) if np.isfinite(low) else 0
        high += 1e-6 * abs(high) if np.isfinite(high) else 0
        if (low, high) != (-np.inf, np.inf):
            values = np.where((values < low) | (values > high), np.float32(np.nan), values)
        if self._nodata is not None:
            values = np.where(values == np.float32(self._nodata), np.float32(np.nan), values)
        return values


def _attributes(array: xr.Variable, nodata: float | None) -> dict[str, Any]:
    attrs = cf.described(array.attrs, cf.MEAN)
    attrs[cf.SOURCE_DTYPE] = str(array.encoding.get("dtype", array.dtype))
    declared = array.encoding.get("_FillValue", array.encoding.get("missing_value"))
    if nodata is not None:
        attrs[cf.SOURCE_NODATA] = nodata
    elif isinstance(declared, int | float | np.number):
        attrs[cf.SOURCE_NODATA] = float(declared)
    return attrs


def _coordinates(
    dataset: xr.Dataset,
    array: xr.Variable,
    leading: list[Hashable],
    spatial: tuple[Hashable, Hashable],
    steps: NDArray[np.int_],
) -> dict[Hashable, Any]:
    """Return the file's coordinates on the dimensions of a field, values and attributes as they are."""
    renamed = dict(zip(spatial, ("y", "x"), strict=True))
    at = np.unravel_index(steps, [array.sizes[d] for d in leading]) if leading else ()
    out: dict[Hashable, Any] = {}
    for name, coord in dataset.coords.items():
        if name in spatial and not set(coord.dims) <= set(spatial):
            raise InputError(
                f"{dataset.encoding.get('source', 'the file')}: coordinate '{name}' lies along {coord.dims}, which is "
                "no dimension of the grid; check it with ncdump -h"
            )
        if name in spatial or (set(coord.dims) <= set(spatial) and name not in ("y", "x", "band")):
            variable = coord.rename({d: renamed[d] for d in coord.dims}).variable
            out[renamed.get(name, name)] = variable.to_base_variable()
        elif len(coord.dims) == 1 and (name in leading or list(coord.dims) == leading):
            values = coord.values[at[leading.index(coord.dims[0])]]
            out[stacked_name(str(name), leading)] = ("band", values, coord.attrs, coord.encoding)
    return out


def stacked_name(dim: str, leading: Sequence[Hashable]) -> str:
    """Return what the coordinate of a stacked dimension is called; `band` itself is the stack's own name."""
    return "band_of_file" if dim == "band" and len(leading) > 1 else dim


def _georeference(
    field: xr.DataArray, dataset: xr.Dataset, array: xr.Variable, spatial: tuple[Hashable, Hashable]
) -> xr.DataArray:
    """Return the field with its grid mapping as `spatial_ref`, under which odc-geo finds it."""
    crs, stated = cf.read_crs(dataset, array)
    transform = None if stated is None else grid.parse(stated)
    if "y" in field.coords and "x" in field.coords:
        y, x = field.coords["y"], field.coords["x"]
        if crs is None and cf.is_geographic(y.variable, x.variable, spatial):
            crs = CRS.from_user_input(_WGS84)
        if y.dtype.kind not in "fiu" or x.dtype.kind not in "fiu":
            raise InputError(f"{field.encoding['source']}: coordinates {spatial} are not numbers")
        rotated = transform is not None and (transform.b != 0 or transform.d != 0)
        if min(y.size, x.size) > 1 and not rotated:
            _warn_if_uneven(field, spatial)
            measured = grid.transform_of(y.values, x.values)
            if transform is None or not grid.agree(transform, measured, (y.size, x.size)):
                transform = measured
    text = None if transform is None else grid.render(transform)
    mappings = [n for n, c in field.coords.items() if c.ndim == 0 and "grid_mapping_name" in c.attrs]
    field = field.drop_vars([*mappings, *([cf.GRID_MAPPING] if cf.GRID_MAPPING in field.coords else [])])
    if crs is None and text is None:
        return field
    return field.assign_coords({cf.GRID_MAPPING: cf.grid_mapping(crs, text)})


def _warn_if_uneven(field: xr.DataArray, spatial: tuple[Hashable, Hashable]) -> None:
    for name, dim in zip(spatial, ("y", "x"), strict=True):
        try:
            step, worst = grid.axis_step(field.coords[dim].values)
        except InputError as error:
            raise InputError(f"{field.encoding['source']}: coordinate '{name}': {error}") from None
        if worst > _UNEVEN:
            warnings.warn(
                f"coordinate '{name}' is unevenly spaced (up to {worst:.2g} of a step of {step:.6g} off): "
                "lengths are taken as if it were even; interpolate onto an even grid first if that matters",
                GeonpWarning,
                stacklevel=5,
            )
