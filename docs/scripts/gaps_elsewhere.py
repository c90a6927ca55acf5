"""Rasters that are no terrain, with gaps: the default method beside kriging and fillnodata.

Run `GEONP_DATA=FOLDER python docs/scripts/gaps_elsewhere.py FOLDER`, with FOLDER holding `heaton/`,
`fields/gridmet_tmmx_20190121.nc`, `satellite/landsat7_olinda_6b.tif` and `satellite/landsat8_greenland_b2345.tif`.
Clouds hide two fifths of the temperatures; swaths of 12 pixels, as of a scanner that skips, hide a third of each scene;
the simulated set of Heaton et al. (2019) has gaps of its own. Ratios to kriging have 95 % intervals of a bootstrap that
draws blocks.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from geonp.datasets.heaton import load_heaton
from numpy.typing import NDArray

from geonp import metrics, open_field
from geonp.errors import GeonpWarning
from geonp.field import as_field
from geonp.masks import clouds
from geonp.methods.choose import choose
from geonp.predict import complete
from geonp.resampling import Blocks, block_side, ratio_of_blocks

METHODS = ("kriging", "auto", "fillnodata")  # kriging first: the others are compared with it
SWATH, PERIOD = 12, 36
SIDE = 320


def scenes(folder: Path) -> dict[str, tuple[xr.DataArray, NDArray[np.bool_]]]:
    """Return fields of one band and what is hidden of them."""
    found = {}
    air = as_field(xr.open_dataset(folder / "fields/gridmet_tmmx_20190121.nc")["air_temperature"])
    air = air.isel(y=slice(100, 100 + SIDE), x=slice(500, 500 + SIDE)).load()
    kept = clouds((SIDE, SIDE), 0.6, np.random.default_rng(0), scale=24.0)
    found["gridMET maximum temperature, clouds"] = air, ~kept
    rows, cols = np.indices((SIDE, SIDE))
    swaths = (rows + cols // 6) % PERIOD < SWATH
    for name, band in (("landsat7_olinda_6b", 1), ("landsat7_olinda_6b", 4), ("landsat8_greenland_b2345", 4)):
        scene = open_field(str(folder / f"satellite/{name}.tif"), band=(band,))
        scene = scene.isel(y=slice(0, SIDE), x=slice(0, SIDE)).load()
        found[f"{name}, band {band}, swaths"] = scene, swaths
    seen, truth = map(as_field, load_heaton())
    found["simulated set of Heaton et al."] = truth, ~np.isfinite(seen.values[0])
    return found


def ratio(ours: Blocks, kriging: Blocks, score: Literal["rmse", "crps"]) -> str:
    """Return the ratio of two scores with its interval."""
    found = ratio_of_blocks([ours], [kriging], score, np.random.default_rng(0))
    return "-" if found is None else f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def main() -> None:
    """Print a table."""
    warnings.simplefilter("ignore", GeonpWarning)
    print("| field | method | RMSE | to kriging's | CRPS | to kriging's | 90 % coverage | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (field, hidden) in scenes(Path(sys.argv[1])).items():
        survey = field.where(~hidden)
        scored = hidden & np.isfinite(field.values[0])
        truth = field.values[0][scored].astype(np.float64)
        side, kriging = block_side(np.isfinite(survey.values[0]), scored), None
        for method in METHODS:
            chosen, start = choose(method), time.perf_counter()
            done = complete(survey, chosen, variance=chosen.has_variance)
            seconds = time.perf_counter() - start
            mean = done["mean"].values[0][scored]
            spread = done["variance"].values if chosen.has_variance else None
            blocks = Blocks.of(field.values, done["mean"].values, spread, scored, side)
            kriging = blocks if kriging is None else kriging
            told = (
                f"| {name} | {method} | {metrics.rmse(truth, mean):.4g} | {ratio(blocks, kriging, 'rmse')} |"
            )
            if chosen.has_variance:
                variance = done["variance"].values[0][scored]
                told += f" {metrics.crps(truth, mean, variance):.4g} | {ratio(blocks, kriging, 'crps')} |"
                told += f" {metrics.coverage(truth, mean, variance, 0.9):.3f} |"
            else:
                told += " - | - | - |"
            print(f"{told} {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
