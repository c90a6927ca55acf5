"""Conditional realisations of a raster: geonp and GSTools in one run.

Run `python docs/scripts/simulate_speed.py`. Both are given the same covariance and the same survey. GSTools solves one
system of all observations and sums waves at every pixel, which takes it hours at this size: it is run on two small
corners of the same raster with a share of the observations, and its time is scaled, what a realisation takes whatever
its size apart from what each pixel adds. That flatters it, since fewer observations are cheaper for it.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings

import gstools
import numpy as np
import torch
import xarray as xr

from geonp.errors import GeonpWarning
from geonp.kriging import Covariance, Structure
from geonp.methods.kriging import Kriging
from geonp.simulation import begin

SILL, RANGE, NUGGET = 4.0, 20.0, 0.04
SHARE = 0.05


def main() -> None:
    """Run both and print their speeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=1000, help="rows and columns of the raster")
    parser.add_argument("-n", type=int, default=20, help="realisations")
    parser.add_argument("--sample", type=int, default=96, help="rows and columns that GSTools simulates")
    parser.add_argument("--observations", type=int, default=500, help="observations that GSTools is given")
    given = parser.parse_args()
    torch.set_num_threads(2)
    warnings.simplefilter("ignore", GeonpWarning)

    rng = np.random.default_rng(0)
    shape = (given.side, given.side)
    survey = np.where(rng.random(shape) < SHARE, rng.standard_normal(shape), np.nan).astype("f4")
    field = xr.DataArray(survey[None], dims=("band", "y", "x"), name="z")
    covariance = Covariance((Structure("exponential", SILL, RANGE),), NUGGET)

    start = time.perf_counter()
    pixels = sum(piece.values.size for piece in begin(field, Kriging(covariance=covariance), given.n))
    ours = time.perf_counter() - start
    print(
        f"geonp: {given.n} realisations of {shape[0]} x {shape[1]} in {ours:.1f} s, {pixels / ours:,.0f} pixels/s"
    )

    rows, cols = np.nonzero(np.isfinite(survey))
    some = rng.choice(len(rows), min(given.observations, len(rows)), replace=False)
    model = gstools.Exponential(dim=2, var=SILL, len_scale=RANGE, nugget=NUGGET)
    krige = gstools.krige.Ordinary(model, (rows[some], cols[some]), survey[rows[some], cols[some]])
    conditioned = gstools.CondSRF(krige)
    sizes, taken = (given.sample // 3, given.sample), []
    for side in sizes:
        start = time.perf_counter()
        conditioned([np.arange(side, dtype=float)] * 2, mesh_type="structured", seed=side)
        taken.append(time.perf_counter() - start)
    # What a realisation takes whatever its size is, and what each pixel adds.
    slope = (taken[1] - taken[0]) / (sizes[1] ** 2 - sizes[0] ** 2)
    fixed = max(taken[0] - slope * sizes[0] ** 2, 0.0)
    whole = given.n * (fixed + slope * math.prod(shape))
    print(
        f"GSTools {gstools.__version__}: {fixed:.2f} s and 1 s for {1 / slope:,.0f} pixels with {len(some)} of "
        f"{len(rows)} observations ({sizes[0]} x {sizes[0]} in {taken[0]:.2f} s, {sizes[1]} x {sizes[1]} in "
        f"{taken[1]:.2f} s); {whole:,.0f} s for all"
    )
    print(f"geonp is {whole / ours:.0f} times as fast")


if __name__ == "__main__":
    main()
