"""What stating the errors of soundings is worth, on real terrain.

Run `python docs/scripts/errors.py`. 12.5 % of the pixels are sounded, a quarter of the soundings ten times as badly as
the rest. Every method completes them twice: taking the soundings for alike, and told the error of each. Scored are the
pixels that were not sounded, and those that were. The Jacksboro fault DEM (SRTM) comes with matplotlib; the floor of
the Celtic Sea is read where GEONP_DATA names the folder of public rasters.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from affine import Affine
from matplotlib.cbook import get_sample_data
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geonp.errors import GeonpWarning
from geonp.io import open_field
from geonp.methods.base import Method
from geonp.methods.choose import choose
from geonp.methods.errors import with_errors
from geonp.metrics import score
from geonp.predict import complete

SHARE, BAD, TIMES = 0.125, 0.25, 10.0
SEA = "dem/bathy_celt.tif"


def terrains(side: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield names and elevations."""
    whole = get_sample_data("jacksboro_fault_dem.npz")["elevation"].astype("f4")
    yield "Jacksboro fault", whole[60 : 60 + side, 100 : 100 + side]
    folder = os.environ.get("GEONP_DATA")
    if folder:
        sea = open_field(Path(folder) / SEA)
        rows, cols = (size // 2 - side // 2 for size in sea.shape[1:])
        yield "Celtic Sea", sea[0, rows : rows + side, cols : cols + side].to_numpy().astype("f4")


def main() -> None:
    """Print a table of scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=256, help="rows and columns of each terrain")
    parser.add_argument("--methods", default="kriging,bundled", help="methods, with commas between them")
    given = parser.parse_args()
    warnings.simplefilter("ignore", GeonpWarning)
    print("| terrain | soundings err by | method | errors | RMSE | CRPS | 90 % | RMSE, sounded | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, truth in terrains(given.side):
        rng = np.random.default_rng(0)
        # A third of what neighbouring pixels differ by.
        good = float(np.abs(np.diff(truth)).mean()) / 3
        std = np.where(rng.random(truth.shape) < BAD, TIMES * good, good).astype("f4")
        seen = rng.random(truth.shape) < SHARE
        sounded = np.where(seen, truth + std * rng.standard_normal(truth.shape), np.nan).astype("f4")
        box = GeoBox(truth.shape, Affine(90, 0, 740_000, 0, -90, 4_050_000), "EPSG:32616")
        survey, errors = wrap_xr(sounded, box), wrap_xr(np.where(seen, std, np.nan).astype("f4"), box)
        for label in given.methods.split(","):
            method = choose(label)
            for told, one in (("not stated", method), ("stated", with_errors(method, errors))):
                row = _scored(one, survey, truth, seen)
                print(
                    f"| {name} | {good:.2g}, a quarter {TIMES * good:.2g} | {label} | {told} | {row} |",
                    flush=True,
                )


def _scored(method: Method, survey: object, truth: NDArray[np.float32], seen: NDArray[np.bool_]) -> str:
    start = time.process_time()
    done = complete(survey, method)  # type: ignore[arg-type]
    seconds = time.process_time() - start
    mean, variance = done["mean"].values, done["variance"].values
    hidden = score(truth[None], mean, variance, ~seen[None])
    there = float(np.sqrt(np.mean((mean[0] - truth)[seen] ** 2)))
    return f"{hidden.rmse:.3g} | {hidden.crps:.3g} | {hidden.coverage90:.3f} | {there:.3g} | {seconds:.1f}"


if __name__ == "__main__":
    main()
