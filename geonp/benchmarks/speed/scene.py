"""Real terrain of any size, and surveys of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geonp.field import Window, windows

STEP = 30.0
SOURCE = (
    "SRTM at the Jacksboro fault, 344 x 403 pixels, shipped with matplotlib; mirrored to size, relief varied"
)

_BLOCK = 512
# Relief is 0.75 to 1.25 of the DEM's and rests on long slopes, with periods that are no multiples of the DEM's.
_GAIN, _GAIN_PERIODS = 0.25, (1531.0, 1777.0)
_SLOPE, _SLOPE_PERIODS = 40.0, (4099.0, 3571.0)
_SHIFT = (37, 53)

Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scene:
    """A square raster of `bands` bands, of which the share `observed` of the pixels, drawn at random, was seen.

    Bands are the same terrain, shifted, seen at the same pixels.
    """

    side: int
    observed: float = 0.125
    bands: int = 1
    seed: int = 0

    @property
    def pixels(self) -> int:
        """Pixels of a band."""
        return self.side**2

    def elevation(self, window: Window) -> Values:
        """Return what is true in a window, in metres, (band, y, x)."""
        rows = np.arange(window.row, window.stop[0])
        cols = np.arange(window.col, window.stop[1])
        y, x = (2 * np.pi * n[:, None] / np.array(_GAIN_PERIODS + _SLOPE_PERIODS) for n in (rows, cols))
        gain = 1 + _GAIN * np.sin(y[:, :1]) * np.cos(x[:, 1])
        slope = _SLOPE * np.sin(y[:, 2:3] + x[:, 3])
        dem = _dem()
        out = np.empty((self.bands, *window.shape), np.float32)
        for band in range(self.bands):
            down, right = (
                _mirrored(n + band * s, m) for n, s, m in zip((rows, cols), _SHIFT, dem.shape, strict=True)
            )
            out[band] = gain * dem[np.ix_(down, right)] + slope
        return out

    def write(self, path: Path) -> int:
        """Write the survey as a tiled GeoTIFF, NaN where not seen; return how many pixels of a band were seen."""
        import rasterio
        from rasterio.windows import Window as Part

        count = 0
        profile = {
            "driver": "GTiff", "dtype": "float32", "nodata": np.nan, "count": self.bands,
            "width": self.side, "height": self.side, "crs": "EPSG:32616",
            "transform": rasterio.Affine(STEP, 0, 700_000, 0, -STEP, 4_000_000 + STEP * self.side),
            **({"tiled": True, "blockxsize": 256, "blockysize": 256} if self.side >= 256 else {}),
        }  # fmt: skip
        with rasterio.open(path, "w", **profile) as file:
            for number, window in enumerate(windows((self.side, self.side), _BLOCK)):
                rng = np.random.default_rng([self.seed, number])
                seen = rng.random(window.shape, np.float32) < self.observed
                count += int(seen.sum())
                values = np.where(seen, self.elevation(window), np.float32(np.nan))
                file.write(values, window=Part(window.col, window.row, window.width, window.height))
        return count


def side_of(pixels: float) -> int:
    """Return the side of the square raster of about that many pixels."""
    return round(math.sqrt(pixels))


@lru_cache(maxsize=1)
def _dem() -> Values:
    from matplotlib.cbook import get_sample_data

    file: Any = get_sample_data("jacksboro_fault_dem.npz")
    return np.asarray(file["elevation"], np.float32)


def _mirrored(index: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Return where an index without end lies in an axis that is mirrored at its ends."""
    inside = index % (2 * length)
    return np.asarray(np.where(inside < length, inside, 2 * length - 1 - inside), np.intp)
