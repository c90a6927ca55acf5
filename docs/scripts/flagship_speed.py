"""How fast the default method completes 1,000 x 1,000 pixels, an eighth of them observed.

Run `python docs/scripts/flagship_speed.py`: one small raster to warm up, then three runs, fit and trial included.
"""

from __future__ import annotations

import time

import numpy as np
import xarray as xr
from matplotlib.cbook import get_sample_data

from geonp.field import as_field
from geonp.methods.choose import choose
from geonp.predict import complete

SIDE, WARM, RUNS = 1000, 128, 3


def main() -> None:
    """Print pixels per second of each run."""
    elevation = np.tile(get_sample_data("jacksboro_fault_dem.npz")["elevation"], (3, 3))[:SIDE, :SIDE]
    seen = np.random.default_rng(0).random(elevation.shape) < 0.125
    step = 30.0 * np.arange(SIDE)
    survey = xr.DataArray(
        np.where(seen, elevation, np.nan).astype("f4"), {"y": step[::-1], "x": step}, dims=("y", "x")
    )
    complete(as_field(survey[:WARM, :WARM]), choose())
    for _ in range(RUNS):
        start = time.perf_counter()
        complete(as_field(survey), choose())
        seconds = time.perf_counter() - start
        print(f"{survey.size / seconds:,.0f} pixels/s ({seconds:.1f} s)")


if __name__ == "__main__":
    main()
