"""Suggested sites against random and space-filling ones on real terrain: the table of docs/suggest.md.

Run `python docs/scripts/suggest_designs.py DEM...`; without a DEM, on two crops of the one that matplotlib ships. Of a
crop, 50 random pixels are observed, and a covariance is fitted to them; then 50 more are observed at the sites of each
design, the map is kriged with that covariance, and compared with the truth. Space-filling is maximin: each site is the
pixel farthest from all before it.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from matplotlib.cbook import get_sample_data
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from geonp.errors import GeonpWarning
from geonp.field import load, spacing
from geonp.io import open_field
from geonp.methods.kriging import Kriging
from geonp.predict import complete
from geonp.suggestion import suggest

SIDE, FIRST, MORE, SURVEYS, DRAWS = 128, 50, 50, 3, 5
Places = NDArray[np.int64]


def crops(paths: list[Path]) -> Iterator[tuple[str, xr.DataArray]]:
    """Yield a crop (y, x) without holes of every DEM, in pixels."""
    if not paths:
        whole = get_sample_data("jacksboro_fault_dem.npz")["elevation"].astype("f4")
        for name, corner in (("Jacksboro, west", (20, 20)), ("Jacksboro, east", (180, 250))):
            rows, cols = (slice(start, start + SIDE) for start in corner)
            yield name, xr.DataArray(whole[rows, cols], dims=("y", "x"))
        return
    for path in paths:
        field = open_field(path)
        rows, cols = ((field.sizes[d] - SIDE) // 2 for d in ("y", "x"))
        crop = load(field.isel(y=slice(rows, rows + SIDE), x=slice(cols, cols + SIDE)))[0]
        dy, dx = spacing(crop)
        y, x = np.arange(SIDE) * -dy, np.arange(SIDE) * dx
        yield path.stem, xr.DataArray(crop.values, {"y": y, "x": x}, ("y", "x"))


def maximin(seen: NDArray[np.bool_], step: tuple[float, float]) -> Places:
    """Return the sites that are farthest from all before them, one after another."""
    seen, out = seen.copy(), []
    for _ in range(MORE):
        far = distance_transform_edt(~seen, sampling=step)
        row, col = np.unravel_index(np.argmax(far), seen.shape)
        seen[row, col] = True
        out.append((row, col))
    return np.array(out)


def main() -> None:
    """Measure every design on every crop, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dem", nargs="*", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", GeonpWarning)
    print(
        "| terrain | RMSE, suggested | space-filling | random | suggested / space-filling | suggested / random |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    ratios = []
    for name, truth in crops(given.dem):
        found = np.array([errors(truth, seed) for seed in range(SURVEYS)])
        chosen, filling, chance = np.sqrt((found**2).mean(0))
        ratios.append((chosen / filling, chosen / chance))
        cells = [f"{v:.2f}" for v in (chosen, filling, chance)] + [f"{v:.3f}" for v in ratios[-1]]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    both = np.exp(np.log(ratios).mean(0))
    print(f"| geometric mean | | | | {both[0]:.3f} | {both[1]:.3f} |")


def errors(truth: xr.DataArray, seed: int) -> tuple[float, float, float]:
    """Return the RMSE (m) after surveying suggested, space-filling and random sites."""
    rng = np.random.default_rng(seed)
    seen = np.zeros(truth.shape, bool)
    seen.flat[rng.permutation(seen.size)[:FIRST]] = True
    survey = truth.where(seen)
    fitted = Kriging(seed=seed).prepare(survey.expand_dims("band"))
    method = Kriging(covariance=fitted.bands[0].solver.covariance)

    def rmse(sites: Places) -> float:
        more = seen.copy()
        more[tuple(sites.T)] = True
        done = complete(truth.where(more), method, variance=False)["mean"].values[0]
        return float(np.sqrt(((done - truth.values) ** 2).mean()))

    chosen = np.array([(site.row, site.col) for site in suggest(survey, MORE, method)])
    free = np.argwhere(~seen)
    chance = [rmse(free[rng.permutation(len(free))[:MORE]]) for _ in range(DRAWS)]
    return rmse(chosen), rmse(maximin(seen, spacing(truth))), float(np.sqrt(np.mean(np.square(chance))))


if __name__ == "__main__":
    main()
