"""The small files that the pages speak of: what a reader would have on disk."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import rasterio
import xarray as xr
from matplotlib.cbook import get_sample_data
from rasterio.transform import from_origin

from .blocks import PYTHON, Block

_SIDE = 56
_WEST, _NORTH, _STEP = 500_000, 4_000_000, 30
# A name that follows one of these is written by the command, not read.
_WRITTEN = re.compile(
    r"(?:-o|--output|--to|--mean|--std|--status|--model-out|--plot|--json-out|--log|>)\s+(?:\S+\.tif\s+)?$"
)


def _dem() -> np.ndarray:
    return get_sample_data("jacksboro_fault_dem.npz")["elevation"].astype("f4")


def _write(path: Path, values: np.ndarray) -> None:
    values = values if values.ndim == 3 else values[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    profile = {
        "driver": "GTiff",
        "dtype": "float32",
        "nodata": np.nan,
        "crs": "EPSG:32616",
        "transform": from_origin(_WEST, _NORTH, _STEP, _STEP),
    }
    with rasterio.open(path, "w", count=count, height=height, width=width, **profile) as file:
        file.write(values.astype("f4"))


def _truth() -> np.ndarray:
    return _dem()[100 : 100 + _SIDE, 120 : 120 + _SIDE]


def _sparse() -> np.ndarray:
    seen = np.random.default_rng(0).random((_SIDE, _SIDE)) < 0.125
    return np.where(seen, _truth(), np.float32(np.nan))


def _holey() -> np.ndarray:
    values = _truth().copy()
    values[20:34, 30:52] = np.nan
    return values


def _tiles(folder: Path) -> None:
    dem = _dem()
    _write(folder / "west.tif", dem[:96, :96])
    _write(folder / "east.tif", dem[:96, 240:336])


def _sst(path: Path) -> None:
    time = np.datetime64("2024-01-15", "ns") + 30 * np.arange(2) * np.timedelta64(1, "D")
    lat, lon = np.linspace(30, 36, 24), np.linspace(-30, -20, 40)
    rng = np.random.default_rng(1)
    values = 290 - 0.5 * lat[None, :, None] + 0.1 * lon + np.arange(2)[:, None, None]
    values += 0.1 * rng.standard_normal(values.shape)
    values[rng.random(values.shape) < 0.4] = np.nan
    coords = {
        "time": time,
        "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude"}),
    }
    sst = xr.DataArray(values.astype("f4"), coords, ("time", "lat", "lon"), attrs={"units": "K"})
    sst.to_dataset(name="sst").to_netcdf(path)


def _table(path: Path, header: str, rows: np.ndarray) -> None:
    np.savetxt(path, rows, delimiter=",", header=header, comments="", fmt="%.3f")


def _soundings(path: Path) -> None:
    rng = np.random.default_rng(2)
    row, col = rng.integers(0, _SIDE, (2, 300))
    x, y = _WEST + (col + rng.random(300)) * _STEP, _NORTH - (row + rng.random(300)) * _STEP
    _table(path, "x,y,depth", np.column_stack([x, y, _truth()[row, col]]))


def _meuse(path: Path) -> None:
    """Columns as in the table of the R package sp; the values are made up."""
    rng = np.random.default_rng(3)
    x, y = rng.uniform(178_600, 181_400, 120), rng.uniform(329_700, 333_600, 120)
    zinc = np.exp(6 + np.sin(x / 700) + np.cos(y / 900) + 0.2 * rng.standard_normal(120))
    rest = rng.uniform(1, 90, (120, 3))
    _table(path, "x,y,cadmium,copper,lead,zinc", np.column_stack([x, y, rest, zinc]))


def _model(path: Path) -> None:
    from geonp.cli import main

    folder = path.with_name(".tiles")
    _tiles(folder)
    words = f"fit {folder} --context 0.02:0.3 -o {path} --set channels=8 --set latent=4"
    short = "--steps-per-epoch 2 --epochs 1 --no-compare -q"
    main.main(shlex.split(f"{words} {short}"), standalone_mode=False)


MAKERS: Mapping[str, Callable[[Path], None]] = MappingProxyType(
    {
        "survey.tif": lambda path: _write(path, _sparse()),
        "dem.tif": lambda path: _write(path, _truth()),
        "truth.tif": lambda path: _write(path, _truth()),
        "holey.tif": lambda path: _write(path, _holey()),
        "scene.tif": lambda path: _write(path, np.stack([_holey(), _holey() + 5])),
        "a.tif": lambda path: _write(path, _dem()[:100, :100]),
        "b.tif": lambda path: _write(path, _dem()[100:200, :100]),
        "dem_tiles": _tiles,
        "tiles": _tiles,
        "sst.nc": _sst,
        "soundings.csv": _soundings,
        "meuse.csv": _meuse,
        "terrain.safetensors": _model,
        "model.safetensors": _model,
    }
)


def names(blocks: Iterable[Block]) -> dict[str, object]:
    """Return `ds`, a small Dataset, where a page begins with it: nothing else is there before a page."""
    first = next((block.text for block in blocks if block.language in PYTHON), "")
    if not first.startswith("ds."):
        return {}
    return {"ds": xr.Dataset({"height": (("y", "x"), _sparse()[:24, :24])})}


def populate(folder: Path, text: str) -> None:
    """Make the files that the commands in `text` read before anything in `text` writes them."""
    for name, make in MAKERS.items():
        first = re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w.-])", text)
        if first is not None and not _WRITTEN.search(text[: first.start()]):
            make(folder / name)
