"""Completed rasters as one NetCDF file or Zarr store."""

from __future__ import annotations

import abc
import math
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from pyproj import CRS
from xarray.backends.locks import HDF5_LOCK, NETCDFC_LOCK, combine_locks

from geonp.errors import UsageError
from geonp.field import Window, grid_shape
from geonp.io import cf, grid
from geonp.io.arrays import SOURCE_DIMS, SOURCE_SHAPE, stacked_name
from geonp.io.outputs import CONTAINER_SUFFIXES, Staging, Writer, told_of_failure
from geonp.io.paths import StrPath

CHUNK = 512
_LEAST_CACHE, _LARGEST_CACHE = 1 << 24, 1 << 28
_FAILURES = (OSError, RuntimeError, ValueError)


class ContainerWriter(Writer):
    """Writes the layers of a completed field to one NetCDF file (`.nc`) or Zarr store (`.zarr`), by CF.

    A field that was read from such a file gets its own dimensions back (time, lat, lon), and its coordinates
    verbatim. The layers are called `mean`, `variance`, `std` and `status`; the mean names the others as its
    ancillary variables. Windows whose edges are multiples of 512 pixels are written fastest.

    Parameters
    ----------
    path : `.nc`, `.nc4` or `.zarr`.
    like : field (band, y, x) that was completed; not read.
    layers : which to write.
    tags : global attributes, such as the method, its version and the seed.
    overwrite : replace an output that exists.
    inputs : files that are read meanwhile, which the output must not be.

    Raises
    ------
    UsageError, OutputError
        See `check_outputs`.
    """

    def __init__(
        self,
        path: StrPath,
        like: xr.DataArray,
        layers: Sequence[str] = (cf.MEAN, cf.VARIANCE),
        *,
        tags: Mapping[str, str] | None = None,
        overwrite: bool = False,
        inputs: Sequence[StrPath] = (),
    ) -> None:
        unknown = [layer for layer in layers if layer not in cf.LAYERS]
        if unknown or not layers:
            raise UsageError(
                f"layers to write are {', '.join(cf.LAYERS)}; got {', '.join(unknown) or 'none'}"
            )
        staging = Staging([path], overwrite=overwrite, inputs=inputs, suffixes=CONTAINER_SUFFIXES)
        super().__init__(staging, (like.sizes["band"], *grid_shape(like)))
        self._path = Path(path)
        self._names = tuple(layers)
        self._layout = _Layout.of(like)
        self._store: _Store | None = None
        kind = _ZarrStore if self._path.suffix.lower() == ".zarr" else _NetCDFStore
        try:
            with told_of_failure(path, _FAILURES):
                skeleton = self._layout.skeleton(like, tags or {})
                self._store = kind(staging.temporary(path), skeleton)
                attrs = self._layout.attributes(like, skeleton, self._names)
                for layer in layers:
                    dtype = np.dtype(np.uint8 if layer == cf.STATUS else np.float32)
                    self._store.add(layer, dtype, self._layout, attrs[layer])
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def _layers(self) -> Sequence[str]:
        return self._names

    def _write(self, layer: str, window: Window, values: NDArray[Any]) -> None:
        assert self._store is not None
        shaped = values.reshape(*self._layout.leading_shape, *window.shape)
        rows, cols = slice(window.row, window.stop[0]), slice(window.col, window.stop[1])
        with told_of_failure(self._path, _FAILURES):
            self._store.write(layer, rows, cols, shaped)

    def _finish(self) -> None:
        with told_of_failure(self._path, _FAILURES):
            self._close()

    def _abandon(self) -> None:
        try:
            self._close()
        except _FAILURES:  # closing flushes to a disk that may be full; nothing of it is kept
            self._store = None

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


@dataclass(frozen=True)
class _Layout:
    """The dimensions in which a field (band, y, x) is written."""

    leading: tuple[str, ...]
    leading_shape: tuple[int, ...]
    spatial: tuple[str, str]
    spatial_shape: tuple[int, int]

    @classmethod
    def of(cls, like: xr.DataArray) -> _Layout:
        """Return the dimensions of the file that a field came from, if all its steps are there."""
        dims = tuple(like.encoding.get(SOURCE_DIMS, ()))
        shape = tuple(like.encoding.get(SOURCE_SHAPE, ()))
        if len(dims) != len(shape) + 2 or math.prod(shape) != like.sizes["band"]:
            dims, shape = ("band", "y", "x"), (like.sizes["band"],)
        return cls(dims[:-2], shape, (dims[-2], dims[-1]), grid_shape(like))

    @property
    def dims(self) -> tuple[str, ...]:
        return (*self.leading, *self.spatial)

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.leading_shape, *self.spatial_shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        return (*(1 for _ in self.leading), *(min(CHUNK, n) for n in self.spatial_shape))

    def skeleton(self, like: xr.DataArray, tags: Mapping[str, str]) -> xr.Dataset:
        """Return a data set with the coordinates and global attributes, without data."""
        coords: dict[Hashable, xr.Variable] = {}
        renamed = {"y": self.spatial[0], "x": self.spatial[1]}
        for name, coord in like.coords.items():
            if name == cf.GRID_MAPPING:
                continue
            if "band" in coord.dims:
                written = self._unstacked(str(name), coord)
            else:
                written = (tuple(renamed[str(d)] for d in coord.dims), coord.values)
            if written is None:
                continue
            attrs = {k: v for k, v in coord.attrs.items() if k != "bounds"}  # whose variable is not written
            encoding = {k: v for k, v in coord.encoding.items() if k in ("units", "calendar", "dtype")}
            coords[renamed.get(str(name), name)] = xr.Variable(
                *written, attrs, {**encoding, "_FillValue": None}
            )
        out = xr.Dataset(coords=coords, attrs={**tags, "Conventions": cf.CONVENTIONS})
        box = grid.exact_box(like)
        if box is None:
            return out
        crs = None if box.crs is None else CRS.from_wkt(box.crs.to_wkt())
        mapping = cf.grid_mapping(crs, grid.render(box.affine))
        if crs is None:
            del mapping.attrs["spatial_ref"]
        return out.assign_coords({cf.GRID_MAPPING: mapping})

    def _unstacked(self, name: str, coord: xr.DataArray) -> tuple[tuple[str, ...], NDArray[Any]] | None:
        """Return dimensions and values of a coordinate along the bands, None where it fits no dimension."""
        if coord.dims != ("band",):
            return None
        stacked = {stacked_name(d, self.leading): i for i, d in enumerate(self.leading)}
        values = coord.values.reshape(self.leading_shape)
        if name in stacked:
            axis = stacked[name]
            first = tuple(slice(None) if i == axis else 0 for i in range(values.ndim))
            return (self.leading[axis],), values[first]
        return (self.leading, values) if len(self.leading) < 2 else None

    def attributes(
        self, like: xr.DataArray, skeleton: xr.Dataset, layers: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        """Return the attributes of every layer, those that link it to the others and to its grid included."""
        named = xr.Dataset({layer: xr.DataArray(np.float32(0)) for layer in layers})
        described = cf.describe(named, like.reset_coords(drop=True))
        auxiliary = [str(n) for n in skeleton.coords if n not in self.dims and n != cf.GRID_MAPPING]
        out = {}
        for layer in layers:
            attrs = {k: v for k, v in described[layer].attrs.items() if isinstance(v, _ATTRIBUTE_TYPES)}
            if cf.GRID_MAPPING in skeleton.coords:
                attrs["grid_mapping"] = cf.GRID_MAPPING
            if auxiliary:
                attrs["coordinates"] = " ".join(auxiliary)
            out[layer] = attrs
        return out


_ATTRIBUTE_TYPES = (str, int, float, np.number, np.ndarray)


class _Store(abc.ABC):
    @abc.abstractmethod
    def __init__(self, path: Path, skeleton: xr.Dataset) -> None:
        """Write the skeleton."""

    @abc.abstractmethod
    def add(self, name: str, dtype: np.dtype[Any], layout: _Layout, attrs: dict[str, Any]) -> None:
        """Add an empty variable."""

    @abc.abstractmethod
    def write(self, name: str, rows: slice, cols: slice, values: NDArray[Any]) -> None:
        """Write a window of a variable."""

    @abc.abstractmethod
    def close(self) -> None:
        """Flush; the store cannot be used afterwards."""


class _NetCDFStore(_Store):
    def __init__(self, path: Path, skeleton: xr.Dataset) -> None:
        skeleton.to_netcdf(path, engine="netcdf4", format="NETCDF4")
        # Lazy fields of other NetCDF files may be read by other threads meanwhile; HDF5 allows one at a time.
        self._lock = combine_locks([NETCDFC_LOCK, HDF5_LOCK])
        with self._lock:
            self._file = netCDF4.Dataset(path, "a")

    def add(self, name: str, dtype: np.dtype[Any], layout: _Layout, attrs: dict[str, Any]) -> None:
        with self._lock:
            for dim, size in zip(layout.dims, layout.shape, strict=True):
                if dim not in self._file.dimensions:
                    self._file.createDimension(dim, size)
            variable = self._file.createVariable(
                name,
                dtype,
                layout.dims,
                compression="zlib",
                complevel=4,
                chunksizes=layout.chunks,
                fill_value=np.float32(np.nan) if dtype.kind == "f" else False,
            )
            variable.set_auto_maskandscale(False)
            variable.setncatts(attrs)
            # A row of chunks that two strips of windows share is compressed once if it waits in the cache.
            row = 2 * layout.shape[-1] * CHUNK * dtype.itemsize * math.prod(layout.leading_shape)
            variable.set_var_chunk_cache(size=min(max(row, _LEAST_CACHE), _LARGEST_CACHE))

    def write(self, name: str, rows: slice, cols: slice, values: NDArray[Any]) -> None:
        with self._lock:
            variable = self._file.variables[name]
            variable[..., rows, cols] = values.astype(variable.dtype, copy=False)

    def close(self) -> None:
        with self._lock:
            if self._file.isopen():
                self._file.close()


class _ZarrStore(_Store):
    def __init__(self, path: Path, skeleton: xr.Dataset) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # text has no final specification in format 3 yet
            skeleton.to_zarr(path, mode="w-", consolidated=False, zarr_format=3)
        self._path = path
        self._group = zarr.open_group(path, mode="a")

    def add(self, name: str, dtype: np.dtype[Any], layout: _Layout, attrs: dict[str, Any]) -> None:
        self._group.create_array(
            name,
            shape=layout.shape,
            chunks=layout.chunks,
            dtype=dtype,
            fill_value=np.nan if dtype.kind == "f" else 0,
            dimension_names=layout.dims,
            attributes={
                k: v.tolist() if isinstance(v, np.generic | np.ndarray) else v for k, v in attrs.items()
            },
        )

    def write(self, name: str, rows: slice, cols: slice, values: NDArray[Any]) -> None:
        array = self._group[name]
        array[(..., rows, cols)] = values.astype(array.dtype, copy=False)

    def close(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # xarray looks for consolidated metadata, though format 3 has none yet
            zarr.consolidate_metadata(self._path)
