"""How much faster two workers of a dask cluster complete a raster than one, each with one thread.

Run `OMP_NUM_THREADS=1 python docs/scripts/workers.py` on two free cores: the default method is prepared once, and
completes 1,536 x 1,536 pixels, an eighth of them observed, on one worker and on two. Workers are started and warm
before the clock starts; what is measured includes reading, sending and putting together. `--side 256` tries it out.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import odc.geo.xr  # noqa: F401 - the accessor
import xarray as xr
from distributed import Client, LocalCluster
from matplotlib.cbook import get_sample_data

from geonp.cluster import Workers
from geonp.methods.choose import choose
from geonp.predict import begin, collect

SIDE, TILES_A_SIDE = 1536, 4


def main() -> None:
    """Print seconds on one worker and on two, and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=SIDE, help="pixels along a side")
    parser.add_argument("--method", default="bundled", help="how to complete")
    asked = parser.parse_args()
    elevation = get_sample_data("jacksboro_fault_dem.npz")["elevation"]
    times = -(-asked.side // min(elevation.shape))
    elevation = np.tile(elevation, (times, times))[: asked.side, : asked.side]
    seen = np.random.default_rng(0).random(elevation.shape) < 0.125
    step = 30.0 * np.arange(asked.side)
    survey = xr.DataArray(
        np.where(seen, elevation, np.nan).astype("f4")[None],
        {"y": step[::-1], "x": step},
        dims=("band", "y", "x"),
    )
    ready = begin(survey.odc.assign_crs("EPSG:32616"), choose(asked.method), tile=asked.side // TILES_A_SIDE)
    seconds, results = [], []
    for count in (1, 2):
        with (
            LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            client.wait_for_workers(count)
            workers = Workers(client)
            for _ in workers.completed(ready, ready.windows()[:count]):
                pass  # imports, and the first unpacking of the method
            start = time.perf_counter()
            results.append(
                collect(ready, ready.assemble(workers.completed(ready, ready.windows())), status=False)
            )
            seconds.append(time.perf_counter() - start)
        print(
            f"{count} worker(s): {seconds[-1]:.1f} s, {survey.size / seconds[-1]:,.0f} pixels/s", flush=True
        )
    xr.testing.assert_identical(*results)
    print(f"two workers are {seconds[0] / seconds[1]:.2f} times as fast as one, and give the same bytes")


if __name__ == "__main__":
    main()
