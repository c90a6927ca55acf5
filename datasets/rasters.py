"""Loaders of elevation: rasters to learn from, and rasters that nothing is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from geonp.errors import InputError, UsageError
from geonp.io import open_field

from .archive import unpack
from .registry import DataSet, data_set
from .store import Store

SETS = ("dem", "srtm", "copernicus", "tfasr")


class Rasters(NamedTuple):
    """Lazy fields (band, y, x) by name: to learn from, and to validate on."""

    name: str
    train: Mapping[str, xr.DataArray]
    validation: Mapping[str, xr.DataArray]
    source: str


def load_rasters(name: str, store: Store | None = None) -> Rasters:
    """Return a set of elevation rasters: `dem`, `srtm`, `copernicus` or `tfasr`.

    Which ones are for validation stands in the registry, or is the archive's own division (`tfasr`).

    Raises
    ------
    UsageError
        If there is no such set of rasters.
    InputError
        If nothing of it, or nothing of one part, is on this machine.
    """
    if name not in SETS:
        raise UsageError(f"{name!r} is no set of rasters; choose one of {', '.join(SETS)}")
    store, data = store or Store.default(), data_set(name)
    if name == "tfasr":
        return _divided(data, store)
    files = _files(data, store)
    fields = {stem: open_field(str(path)) for stem, path in files.items()}
    kept = {stem: field for stem, field in fields.items() if stem in data.validation}
    train = {stem: field for stem, field in fields.items() if stem not in data.validation}
    if not kept or not train:
        part = "validation" if not kept else "training"
        names = ", ".join(data.validation) if not kept else "others than those for validation"
        raise InputError(f"{name}: no raster for {part} is on this machine ({names}); {_how(data)}")
    return Rasters(name, train, kept, data.title)


def _files(data: DataSet, store: Store) -> dict[str, Path]:
    if data.tiles:
        packed = store.tiles(data)
        return {tile: unpack(path) if path.suffix == ".gz" else path for tile, path in packed.items()}
    folder = store.copy(data)
    if folder is None:
        raise InputError(f"{data.name} is not on this machine: {data.manual}")
    return {path.stem: path for path in sorted(folder.glob("*.tif"))}


def _divided(data: DataSet, store: Store) -> Rasters:
    (file,) = data.files
    folder = unpack(store.need(data, file))
    train, test = (
        {path.stem: open_field(str(path)) for path in sorted(folder.rglob(f"{part}/*.tif"))}
        for part in ("train", "test")
    )
    if not train or not test:
        raise InputError(
            f"{folder}: holds no GeoTIFFs in folders train/ and test/; pack the archive like that"
        )
    return Rasters(data.name, train, test, data.title)


def _how(data: DataSet) -> str:
    return f"run `geonp datasets fetch {data.name}`" if data.tiles else "look into its folder"
