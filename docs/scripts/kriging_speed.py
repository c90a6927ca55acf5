"""Speed and accuracy of kriging a DEM, beside PyKrige's C backend: the figures in docs/kriging.md.

Run `OMP_NUM_THREADS=1 python docs/scripts/kriging_speed.py` in a fresh interpreter: the first call then takes the
loading of geonp and xarray too. Seconds are the processor's, so that other work does not count.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.cbook import get_sample_data
from numpy.typing import NDArray
from pykrige.ok import OrdinaryKriging

Array = NDArray[np.float64]

_SHARE = 16  # of the points are enough to time PyKrige


def by_geonp(seen: Array) -> Array:
    """Return the completed array."""
    import xarray as xr

    import geonp  # noqa: F401

    y, x = (30.0 * np.arange(n) for n in seen.shape)
    array = xr.DataArray(seen.astype("f4"), {"y": y[::-1], "x": x}, ("y", "x"))
    return np.asarray(array.geonp.complete(method="kriging")["mean"], np.float64)


def by_pykrige(seen: Array) -> tuple[float, float, Array]:
    """Return seconds of the set-up and of all the points, and what was found at one in `_SHARE` of them."""
    known, wanted = np.argwhere(np.isfinite(seen)), np.argwhere(np.isnan(seen))[::_SHARE]
    values = seen[tuple(known.T)]
    setup, kriging = timed(
        lambda: OrdinaryKriging(*known.T[::-1].astype(float), values, variogram_model="exponential")
    )
    points, found = timed(
        lambda: kriging.execute("points", *wanted.T[::-1].astype(float), backend="C", n_closest_points=16)
    )
    return setup, _SHARE * points, np.asarray(found[0])


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return processor seconds and the result of `work`."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def main() -> None:
    """Print the figures."""
    warnings.simplefilter("ignore")
    truth = get_sample_data("jacksboro_fault_dem.npz")["elevation"].astype(np.float64)
    crop = truth[:256, :256]
    holes = np.random.default_rng(0).random(crop.shape) >= 0.125
    seen = np.where(holes, np.nan, crop)
    first, done = timed(lambda: by_geonp(seen))
    again = min(timed(lambda: by_geonp(seen))[0] for _ in range(3))
    setup, points, theirs = by_pykrige(seen)
    count = int(holes.sum())
    ours, other = _rmse((done - crop)[holes]), _rmse(theirs - crop[holes][::_SHARE])
    print(
        f"geonp: RMSE {ours:.2f}, first call {first:.2f} s, later {again:.2f} s, {count / again:,.0f} points/s"
    )
    print(f"PyKrige: RMSE {other:.2f}, {setup + points:.0f} s, {count / (setup + points):,.0f} points/s")
    print(f"ratio: {(setup + points) / first:.0f} with the loading, {(setup + points) / again:.0f} without")
    for seed in range(3):
        holes = np.random.default_rng(seed).random(truth.shape) >= 0.125
        seconds, done = timed(lambda holes=holes: by_geonp(np.where(holes, np.nan, truth)))
        print(f"whole DEM, seed {seed}: RMSE {_rmse((done - truth)[holes]):.2f}, {seconds:.2f} s")


def _rmse(error: Array) -> float:
    return float(np.sqrt(np.mean(error**2)))


if __name__ == "__main__":
    main()
