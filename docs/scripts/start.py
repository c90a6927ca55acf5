"""What the first call of kriging in a fresh process costs: packages that load, the fit, the rest.

Run `python docs/scripts/start.py`. Seconds are the processor's, all threads together, of a completion of 256 x 256
pixels of the DEM that matplotlib ships, 12.5 % of them observed, through the accessor; the clock stands beside them.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from importlib import import_module

from geonp._loading import undisturbed

PACKAGES = {
    "numpy": ("numpy",),
    "xarray, with pandas": ("xarray",),
    "dask.array, which xarray loads where it is installed": ("dask.array",),
    "SciPy's spatial, ndimage and linalg": ("scipy.spatial", "scipy.ndimage", "scipy.linalg"),
    "geonp": ("geonp.accessor", "geonp.chunked", "geonp.methods.kriging"),
}


def main() -> None:
    """Print one line a step."""
    warnings.simplefilter("ignore")
    print("| | CPU s | s |\n|---|---:|---:|")
    for what, names in PACKAGES.items():

        def load(names: tuple[str, ...] = names) -> None:
            with undisturbed():
                for name in names:
                    import_module(name)

        told(what, load)
    import numpy as np
    import xarray as xr
    from matplotlib.cbook import get_sample_data

    with get_sample_data("jacksboro_fault_dem.npz") as kept:
        truth = kept["elevation"][:256, :256]
    seen = np.random.default_rng(0).random(truth.shape) < 0.125
    step = 30.0 * np.arange(256)
    survey = xr.DataArray(
        np.where(seen, truth, np.nan).astype(np.float32), {"y": step[::-1], "x": step}, ("y", "x")
    )
    told("the first completion", lambda: survey.geonp.complete(method="kriging"))
    told("the second", lambda: survey.geonp.complete(method="kriging"))


def told(what: str, work: Callable[[], object]) -> None:
    """Print what some work took."""
    clock, spent = time.perf_counter(), time.process_time()
    work()
    print(f"| {what} | {time.process_time() - spent:.2f} | {time.perf_counter() - clock:.2f} |", flush=True)


if __name__ == "__main__":
    main()
