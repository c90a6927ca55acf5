"""The rasters that train the bundled network: a data folder, less what `SPLIT.md` keeps for validation."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray

HELD = ("bigtujunga_30m", "srtm3_N54W003", "hawkes_bay_5m", "srtm3_N37W003")
"""Training rasters that are set aside to watch training by, and never trained on."""

_BLURRED = (2, 4)
_LEAST = 128


@dataclass(frozen=True)
class Source:
    """A raster (rows, columns), NaN where unknown, its pixels' dy / dx, and how much it counts."""

    name: str
    values: NDArray[np.float32]
    aspect: float
    weight: float

    @property
    def known(self) -> NDArray[np.bool_]:
        """Where it is known."""
        return np.isfinite(self.values)

    @property
    def share(self) -> float:
        """Its weight times the square root of its known area: a mosaic counts for more, but drowns nobody."""
        return self.weight * math.sqrt(float(self.known.sum()))


def read(data: Path, *, held: bool) -> list[Source]:
    """Return the rasters set aside (`held`), or those to train on with block means of 2 and 4 pixels of them.

    Parameters
    ----------
    data : folder with dem/, satellite/, fields/ and SPLIT.md, whose second paragraph names validation
    rasters.
    """
    validation = set(re.findall(r"\w+", (data / "SPLIT.md").read_text().split("\n\n")[2]))
    terrain = [p for p in sorted((data / "dem").glob("*.tif")) if p.stem not in validation]
    found = []
    for path in terrain:
        if (path.stem in HELD) != held:
            continue
        raster = _terrain(path)
        found.append(raster)
        if not held:
            found += [_coarser(raster, k) for k in _BLURRED if min(raster.values.shape) // k >= _LEAST]
    return found if held else found + _scenes(data / "satellite") + _climate(data / "fields")


def _terrain(path: Path) -> Source:
    with rasterio.open(path) as file:
        values = file.read(1, masked=True).astype("f4").filled(np.nan)
        aspect = 1.0
        if file.crs and file.crs.is_geographic:
            aspect = 1 / max(math.cos(math.radians((file.bounds.top + file.bounds.bottom) / 2)), 0.2)
    return Source(path.stem, values, aspect, 1.0)


def _coarser(raster: Source, factor: int) -> Source:
    rows, cols = (n // factor for n in raster.values.shape)
    blocks = raster.values[: rows * factor, : cols * factor].reshape(rows, factor, cols, factor)
    return Source(f"{raster.name}/{factor}", blocks.mean((1, 3)), raster.aspect, 0.8)


def _scenes(folder: Path) -> list[Source]:
    found = []
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as file:
            bands = file.read(masked=True).astype("f4").filled(np.nan)
        found += [Source(f"{path.stem}/{i}", band, 1.0, 0.6 / len(bands)) for i, band in enumerate(bands, 1)]
    return found


def _climate(folder: Path) -> list[Source]:
    wanted = (
        ("gridmet_tmmx_20190121.nc", ("air_temperature",), (0,), 1.0),
        ("coads_climatology.nc", ("SST", "AIRT", "SLP"), (0, 6), 0.15),
        ("eraint_uvz_500.nc", ("z", "u", "v"), (0, 1), 0.15),
    )
    found = []
    for name, variables, times, weight in wanted:
        with xr.open_dataset(folder / name, decode_times=False) as file:
            for variable in variables:
                layers = np.asarray(file[variable].values, "f4")
                layers = layers.reshape(-1, *layers.shape[-2:])
                found += [Source(f"{name}/{variable}/{t}", layers[t], 1.0, weight) for t in times]
    return found
