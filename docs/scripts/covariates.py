"""What covariates are worth on real data, beside external drift as gstat does it: the tables of docs/covariates.md.

Run `GEONP_DATA=... python docs/scripts/covariates.py [NAME...]` (about ten minutes on one core); names are colorado,
america, switzerland and landsat.

Stations lie on a grid, one a pixel. Their elevation is the covariate; between stations, where nothing is scored, it is
that of the nearest station. Every method sees the same stations and is scored on the same others.

The peers: ordinary kriging and kriging with an external drift whose spherical variogram is fitted, as gstat does it, by
weighted least squares to the residuals of an ordinary regression (15 classes as far as a third of the diagonal); and
PyKrige's UniversalKriging with a specified drift and its own spherical fit.
"""

from __future__ import annotations

import argparse
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from pykrige.uk import UniversalKriging
from scipy.spatial import KDTree

from geonp.covariates import Laid, lay
from geonp.errors import GeonpWarning
from geonp.evaluation import evaluate
from geonp.field import as_field, steps
from geonp.io import open_field
from geonp.kriging.survey import Block
from geonp.kriging.variogram import empirical_variogram, fit_variogram
from geonp.masks import HoldOut, hold_out
from geonp.methods.base import Completed, Method, Place, Values
from geonp.methods.choose import choose
from geonp.methods.kriging import Kriging, sampled
from geonp.methods.regression import Sample
from geonp.scoreboard import Row

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Gstat(Method):
    """Kriging with a variogram by weighted least squares; with an external drift where there are covariates."""

    name = "gstat-style"
    has_variance = True
    covariates: Laid | None = field(default=None, compare=False)
    ready: Kriging | None = None

    @property
    def halo(self) -> int:
        """That of kriging."""
        return 0 if self.ready is None else self.ready.halo

    def prepare(self, field: xr.DataArray) -> Self:
        """Fit the variogram of the residuals."""
        known = self.covariates or lay([field.copy(data=np.zeros(field.shape, "f4"))], field)
        sample = Sample.of(sampled(field, 0, 0, known), steps(field))
        columns = np.column_stack([np.ones(len(sample)), sample.columns])
        rest = sample.values - columns @ np.linalg.lstsq(columns, sample.values, rcond=None)[0]
        reach = math.hypot(*np.ptp(sample.coords, axis=0)) / 3
        found = fit_variogram(
            empirical_variogram(sample.coords, rest, seed=0, classes=15, reach=reach), "spherical"
        )
        drift = () if self.covariates is None else (self.covariates.field,)
        return replace(self, ready=Kriging(covariance=found, drift=drift).prepare(field))

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        """Krige."""
        assert self.ready is not None
        return self.ready.complete(values, spacing, place)


@dataclass(frozen=True)
class PyKrige(Method):
    """PyKrige's universal kriging with a specified drift, at some pixels."""

    name = "PyKrige UK"
    has_variance = True
    covariates: Laid = field(compare=False)
    places: Mask = field(compare=False)
    halo = 0

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        """Krige the stations that are not observed."""
        known = self.covariates.window(place.given).astype(np.float64)
        block = Block(0, 0, values[0], known.astype("f4"))
        sample = Sample.of([block], (-spacing[0], spacing[1]))
        rows, cols = np.nonzero(self.places & np.isnan(values[0]))
        kriging = UniversalKriging(
            sample.coords[:, 1],
            sample.coords[:, 0],
            sample.values,
            variogram_model="spherical",
            drift_terms=["specified"],
            specified_drift=list(sample.columns.T),
        )
        mean, variance = kriging.execute(
            "points",
            cols * spacing[1],
            -rows * spacing[0],
            specified_drift_arrays=[layer[rows, cols] for layer in known],
        )
        out = np.full((2, *values.shape), np.nan, np.float32)
        out[:, 0, rows, cols] = mean, variance
        return Completed(*out)


@dataclass(frozen=True)
class Case:
    """A field, its covariates, and what is hidden of it, several times."""

    title: str
    truth: xr.DataArray
    covariates: xr.DataArray
    hidden: Sequence[Mask]
    peer: bool = True


def stations(
    path: Path, columns: Sequence[str], step: float, crs: str | None, unit: float = 1.0
) -> tuple[xr.DataArray, xr.DataArray, NDArray[np.float64], Mask]:
    """Return values and elevations of stations on a grid, the table on the pixels, and where they are."""
    table = np.genfromtxt(path, delimiter=",", names=True)
    x, y, value, height = (np.asarray(table[name], np.float64) for name in columns[:4])
    good = np.isfinite(value) & np.isfinite(height)
    x, y, value, height = x[good] * unit, y[good] * unit, value[good], height[good]
    left, top = x.min() - step, y.max() + step
    cols, rows = ((x - left) / step).astype(int), ((top - y) / step).astype(int)
    shape = (int(rows.max()) + 2, int(cols.max()) + 2)
    count = np.zeros(shape)
    np.add.at(count, (rows, cols), 1)
    grids = []
    flag = np.asarray(table[columns[4]], np.float64)[good] if len(columns) > 4 else np.zeros(len(x))
    for each in (value, height, flag):
        total = np.zeros(shape)
        np.add.at(total, (rows, cols), each)
        grids.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    seen = count > 0
    everywhere = np.argwhere(np.ones(shape, bool))
    nearest = KDTree(np.argwhere(seen)).query(everywhere)[1]
    grids[1] = grids[1][seen][nearest].reshape(shape)
    box = GeoBox(shape, Affine(step, 0, left, 0, -step, top), crs)
    values, heights = (as_field(wrap_xr(g.astype("f4"), box)) for g in grids[:2])
    return values, heights, grids[2], seen


def some(seen: Mask, share: float, times: int) -> list[Mask]:
    """Return hold-outs of a share of the observed pixels, drawn at random."""
    rngs = [np.random.default_rng(seed) for seed in range(times)]
    return [hold_out(HoldOut.RANDOM, seen, share, rng) for rng in rngs]


def colorado(data: Path) -> Case:
    """Mean daily maximum temperature of spring, 1/25 degree."""
    path = data / "points" / "colorado_spring_climate.csv"
    values, heights, _, seen = stations(path, ("lon", "lat", "tmax_MAM_C", "elev_m"), 0.04, "EPSG:4326")
    title = f"Colorado, spring maximum temperature (°C), {seen.sum()} stations, elevation"
    return Case(title, values, heights.rename("elevation"), some(seen, 0.25, 4))


def america(data: Path) -> Case:
    """Mean summer rainfall, 1/4 degree."""
    path = data / "points" / "north_american_rainfall.csv"
    columns = ("longitude", "latitude", "precip", "elevation")
    values, heights, _, seen = stations(path, columns, 0.25, "EPSG:4326")
    title = f"North America, summer rainfall (1/10 mm), {seen.sum()} stations, elevation"
    return Case(title, values, heights.rename("elevation"), some(seen, 0.25, 2))


def switzerland(data: Path) -> Case:
    """The spatial interpolation comparison of 1997: 100 stations tell the others, 1 km."""
    path = data / "points" / "sic97_swiss_rainfall.csv"
    columns = ("x_km", "y_km", "rain", "altitude_m", "train100")
    values, heights, train, seen = stations(path, columns, 1000.0, None, 1000.0)
    hidden = seen & ~(train > 0)
    title = (
        f"Switzerland, rainfall of 8 May 1986 (1/10 mm), SIC97: {(seen & ~hidden).sum()} stations, altitude"
    )
    return Case(title, values, heights.rename("altitude"), [hidden])


def landsat(data: Path) -> Case:
    """Band 4 of a Landsat 7 scene with swaths missing, from the five others."""
    scene = open_field(data / "satellite" / "landsat7_olinda_6b.tif").load().astype("f4")
    scene = scene.isel(y=slice(0, 256), x=slice(0, 256))
    seen = np.ones((256, 256), bool)
    rngs = [np.random.default_rng(seed) for seed in range(2)]
    hidden = [hold_out(HoldOut.SWATHS, seen, 0.3, rng, side=12) for rng in rngs]
    title = "Landsat 7, Olinda, near infrared (B4) with swaths of 12 pixels missing, from B1, B2, B3, B5, B7"
    return Case(
        title, scene.isel(band=[3]), scene.isel(band=[0, 1, 2, 4, 5]).rename("other bands"), hidden, False
    )


def compare(case: Case) -> None:
    """Print the table of one case."""
    laid = lay([case.covariates], case.truth)
    observed = np.isfinite(case.truth.values[0])
    rows: dict[str, list[Row]] = {}
    for mask in case.hidden:
        given = case.truth.copy(data=np.where(mask, np.float32(np.nan), case.truth.values))
        given.name = None
        known = case.truth.copy(data=np.where(mask, case.truth.values, np.float32(np.nan)))
        peers: list[tuple[str, Method]] = [("gstat-style OK", Gstat()), ("gstat-style KED", Gstat(laid))]
        if case.peer:
            peers.append(("PyKrige KED", PyKrige(laid, observed)))
        for name, method in peers:
            done = evaluate(given, [method], truth=known)
            rows.setdefault(name, []).append(done.rows[0])
        done = evaluate(
            given,
            [Kriging(), choose("bundled")],
            truth=known,
            covariates=laid.field.rename(case.covariates.name),
        )
        for row in done.rows:
            rows.setdefault(row.method, []).append(row)
    print(f"\n**{case.title}**; {sum(int(m.sum()) for m in case.hidden)} hidden values\n")
    print("| method | RMSE | CRPS | 90 % coverage | RMSE to gstat-style KED |\n|---|---:|---:|---:|---:|")
    base = _mean(rows["gstat-style KED"], "rmse")
    for name, found in rows.items():
        if found[0].failure:
            print(f"| {name} | {found[0].failure} | | | |")
            continue
        rmse, crps, cover = (_mean(found, s) for s in ("rmse", "crps", "coverage90"))
        print(f"| {name} | {rmse:.4g} | {crps:.4g} | {cover:.3f} | {rmse / base:.3f} |")
    notes = {row.note for name, found in rows.items() if "cov" in name for row in found if row.note}
    for note in sorted(notes):
        print(f"- {note}")


def _mean(rows: Sequence[Row], score: str) -> float:
    return float(np.mean([row.score(score) for row in rows]))


def main() -> None:
    """Print the tables."""
    cases = {f.__name__: f for f in (colorado, america, switzerland, landsat)}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*cases, []], help="which cases; all by default")
    parser.add_argument("--data", type=Path, default=os.environ.get("GEONP_DATA"))
    given = parser.parse_args()
    if given.data is None:
        parser.error("say where the data are: --data FOLDER, or GEONP_DATA")
    warnings.simplefilter("ignore", GeonpWarning)
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    warnings.filterwarnings("ignore", message="grid_mapping")
    for name in given.names or cases:
        compare(cases[name](Path(given.data)))


if __name__ == "__main__":
    main()
