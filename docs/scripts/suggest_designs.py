"""Suggested sites against random and space-filling ones on real terrain: the tables of docs/suggest.md.

Run `python docs/scripts/suggest_designs.py DEM...`; without a DEM, on two crops of the one that matplotlib ships. Of a
crop, 50 random pixels are observed, and a covariance is fitted to them; then 50 more are observed at the sites of each
design, the map is kriged with that covariance, and compared with the truth: the root mean squared error, and the area
that is taken for higher than a threshold and is not, or the reverse. The threshold is what seven in ten of the first
observations stay below. Space-filling is maximin: each site is the pixel farthest from all before it. Lines are five of
half the crop's width, with ten observations each.

The first crop of a DEM is its middle; `--crops` adds others at random. `--brief` measures what is suggested alone,
beside its references. `--network N` measures the design by the bundled network's own variance instead: N more sites,
the map completed by the network. `--speed` times twenty sites on a smooth random field of 1000 x 1000 pixels, one in a
hundred observed.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from matplotlib.cbook import get_sample_data
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from geonp.errors import GeonpWarning
from geonp.field import load, spacing
from geonp.io import open_field
from geonp.kriging import Covariance, Structure
from geonp.methods.flagship import Flagship
from geonp.methods.kriging import Kriging
from geonp.predict import complete
from geonp.suggestion import Line, Site, suggest, suggest_lines

SIDE, FIRST, MORE, DRAWS = 128, 50, 50, 5
QUANTILE = 0.7
LINES, TRIES = 5, 200
REFERENCES = ("space-filling", "random")
DESIGNS = ("suggested", "--stationary", "--above", "--lines", *REFERENCES)
Places = NDArray[np.int64]
Table = NDArray[np.float64]


def crops(paths: list[Path], many: int) -> Iterator[tuple[str, list[xr.DataArray]]]:
    """Yield crops (y, x) without holes of every DEM, in metres without a CRS."""
    if not paths:
        whole = get_sample_data("jacksboro_fault_dem.npz")["elevation"].astype("f4")
        for name, corner in (("Jacksboro, west", (20, 20)), ("Jacksboro, east", (180, 250))):
            rows, cols = (slice(start, start + SIDE) for start in corner)
            yield name, [laid(whole[rows, cols], 1.0, 1.0)]
        return
    for path in paths:
        field, rng = open_field(path), np.random.default_rng(0)
        room = [field.sizes[d] - SIDE for d in ("y", "x")]
        found = [cropped(field, room[0] // 2, room[1] // 2)]
        for _ in range(TRIES):
            if len(found) >= many:
                break
            crop = cropped(field, *(int(rng.integers(0, most + 1)) for most in room))
            if np.isfinite(crop).all() and np.unique(crop).size > SIDE:
                found.append(crop)
        yield path.stem, found


def cropped(field: xr.DataArray, row: int, col: int) -> xr.DataArray:
    """Return the crop (y, x) that begins at a pixel."""
    crop = load(field.isel(y=slice(row, row + SIDE), x=slice(col, col + SIDE)))[0]
    return laid(crop.values, *spacing(crop))


def laid(values: NDArray[np.float32], dy: float, dx: float) -> xr.DataArray:
    """Return a crop (y, x) with pixels of dy by dx."""
    return xr.DataArray(values, {"y": np.arange(SIDE) * -dy, "x": np.arange(SIDE) * dx}, ("y", "x"))


def maximin(seen: NDArray[np.bool_], step: tuple[float, float], more: int) -> Places:
    """Return the sites that are farthest from all before them, one after another."""
    seen, out = seen.copy(), []
    for _ in range(more):
        far = distance_transform_edt(~seen, sampling=step)
        row, col = np.unravel_index(np.argmax(far), seen.shape)
        seen[row, col] = True
        out.append((row, col))
    return np.array(out)


def places(sites: list[Site]) -> Places:
    """Return the pixels (n, 2) of sites."""
    return np.array([(site.row, site.col) for site in sites])


def along(truth: xr.DataArray, lines: list[Line]) -> Places:
    """Return the pixels that are observed along lines, evenly between their ends."""
    dy, dx = spacing(truth)
    out = []
    for line in lines:
        part = np.linspace(0, 1, MORE // LINES)
        y, x = line.y + part * (line.y_end - line.y), line.x + part * (line.x_end - line.x)
        out.append(np.stack([y / -dy, x / dx], 1))
    return np.rint(np.concatenate(out)).astype(np.int64)


def first_survey(truth: xr.DataArray, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return the pixels that are observed at first."""
    seen = np.zeros(truth.shape, bool)
    seen.flat[rng.permutation(seen.size)[:FIRST]] = True
    return seen


def scores(
    truth: xr.DataArray, seen: NDArray[np.bool_], sites: Places, method: Kriging | Flagship, level: float
) -> Table:
    """Return the squared error and the misclassified share after surveying sites."""
    more = seen.copy()
    more[tuple(sites.T)] = True
    done = complete(truth.where(more), method, variance=False)["mean"].values[0]
    return np.array([((done - truth.values) ** 2).mean(), ((done > level) != (truth.values > level)).mean()])


def by_kriging(truth: xr.DataArray, seed: int, brief: bool) -> Table:
    """Return squared error and misclassified share (designs, 2) after surveying the sites of each design."""
    rng = np.random.default_rng(seed)
    seen = first_survey(truth, rng)
    survey = truth.where(seen)
    level = float(np.nanquantile(survey, QUANTILE))
    fitted = Kriging(seed=seed).prepare(survey.expand_dims("band"))
    method = Kriging(covariance=fitted.bands[0].solver.covariance)
    free = np.argwhere(~seen)
    chance = [
        scores(truth, seen, free[rng.permutation(len(free))[:MORE]], method, level) for _ in range(DRAWS)
    ]
    chosen = [places(suggest(survey, MORE, method))]
    if not brief:
        length = SIDE / 2 * min(map(abs, spacing(truth)))
        tracks = suggest_lines(survey, LINES, method, length=length, spacing=length / (MORE // LINES - 1))
        chosen += [
            places(suggest(survey, MORE, method, stationary=True)),
            places(suggest(survey, MORE, method, threshold=level)),
            along(truth, tracks),
        ]
    chosen.append(maximin(seen, spacing(truth), MORE))
    return np.array([*(scores(truth, seen, sites, method, level) for sites in chosen), np.mean(chance, 0)])


def by_network(truth: xr.DataArray, seed: int, more: int) -> Table:
    """Return squared errors (network's choice, kriging's, space-filling) of the network's completion."""
    rng = np.random.default_rng(seed)
    seen = first_survey(truth, rng)
    survey = truth.where(seen)
    network = Flagship(seed=seed, insist=True, orientations=1)
    chosen = [
        places(suggest(survey, more, network)),
        places(suggest(survey, more, Kriging(seed=seed))),
        maximin(seen, spacing(truth), more),
    ]
    return np.array([scores(truth, seen, sites, network, 0.0)[:1] for sites in chosen])


def interval(logs: list[Table]) -> str:
    """Return the geometric mean of ratios and its 90 % bootstrap interval.

    Crops are drawn anew of every terrain, and then surveys of every crop.

    Parameters
    ----------
    logs : of each terrain, (crops, surveys).
    """
    rng = np.random.default_rng(0)

    def drawn(each: Table) -> float:
        crop = rng.integers(0, len(each), len(each))
        return float(np.take_along_axis(each[crop], rng.integers(0, each.shape[1], each.shape), 1).mean())

    means = [np.mean([drawn(each) for each in logs]) for _ in range(2000)]
    low, high = np.exp(np.quantile(means, (0.05, 0.95)))
    return f"{np.exp(np.mean([each.mean() for each in logs])):.3f} ({low:.3f} to {high:.3f})"


def measured(
    terrains: list[tuple[str, list[xr.DataArray]]],
    surveys: int,
    measure: Callable[[xr.DataArray, int], Table],
) -> list[Table]:
    """Return, of each terrain, (crops, surveys, designs, scores)."""
    out = []
    for name, each in terrains:
        out.append(np.array([[measure(truth, seed) for seed in range(surveys)] for truth in each]))
        print(name, np.sqrt(out[-1].mean((0, 1))[:, 0]).round(3), flush=True)
    return out


def report(names: list[str], found: list[Table], designs: tuple[str, ...], what: str) -> None:
    """Print a table of one score, each terrain's mean over crops and surveys, and ratios to the last designs."""
    print(f"\n| {what} | {' | '.join(designs)} |\n| --- |{' ---: |' * len(designs)}")
    for name, each in zip(names, found, strict=True):
        print(f"| {name} | {' | '.join(f'{v:.3g}' for v in each.mean((0, 1)))} |")
    logs = [np.log(np.maximum(each, 1e-12)) for each in found]
    for i, own in enumerate(designs[:-1]):
        for j in range(max(i + 1, len(designs) - 2), len(designs)):
            print(f"{own} / {designs[j]}: {interval([each[..., i] - each[..., j] for each in logs])}")


def speed(side: int = 1000) -> None:
    """Print the processor seconds that twenty sites take among a million."""
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.standard_normal((side, side)), 8)
    seen = rng.random((side, side)) < 0.01
    field = xr.DataArray(np.where(seen, smooth / smooth.std(), np.nan).astype("f4"), dims=("y", "x"))
    method = Kriging(covariance=Covariance((Structure("matern32", 1.0, 18.0),), 0.001))
    for name, threshold in (("variance", None), ("threshold", 0.7)):
        start = time.process_time()
        suggest(field, 20, method, threshold=threshold)
        print(f"{name}: {time.process_time() - start:.1f} s of a processor")


def main() -> None:
    """Measure every design on every crop, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dem", nargs="*", type=Path)
    parser.add_argument("--surveys", type=int, default=6, help="first surveys of every crop")
    parser.add_argument("--crops", type=int, default=1, help="of every DEM")
    parser.add_argument(
        "--brief", action="store_true", help="measure what is suggested, and its references, alone"
    )
    parser.add_argument("--network", type=int, default=0, metavar="N", help="the network's design of N sites")
    parser.add_argument("--speed", action="store_true", help="time a large raster instead")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", GeonpWarning)
    if given.speed:
        speed()
        return
    terrains = list(crops(given.dem, given.crops))
    names = [name for name, _ in terrains]
    if given.network:
        found = measured(terrains, given.surveys, lambda t, seed: by_network(t, seed, given.network))
        chosen = ("the network's choice", "kriging's choice", "space-filling")
        report(names, [np.sqrt(each[..., 0]) for each in found], chosen, "RMSE (m), completed by the network")
        return
    found = measured(terrains, given.surveys, lambda t, seed: by_kriging(t, seed, given.brief))
    designs = ("suggested", *REFERENCES) if given.brief else DESIGNS
    report(names, [np.sqrt(each[..., 0]) for each in found], designs, "RMSE (m)")
    report(names, [each[..., 0] for each in found], designs, "mean squared error (m2)")
    report(names, [100 * each[..., 1] for each in found], designs, "misclassified (%)")


if __name__ == "__main__":
    main()
