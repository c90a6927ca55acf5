"""Kriging of three classical surveys by geonp, PyKrige and the covariances that others have published.

Run `python docs/scripts/kriging_points.py FOLDER`; the folder holds meuse.csv (R package sp), coalash.csv
(gstat) and sic97_swiss_rainfall.csv (geoR). It prints the table of docs/kriging.md.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pykrige.ok import OrdinaryKriging

from geonp.errors import GeonpWarning
from geonp.kriging import Covariance, PointKriging, Structure, Validation, fit_covariance, leave_one_out
from geonp.kriging.trend import Kind

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Survey:
    """Observations (y, x), and those held out; where there are none, each is left out once."""

    name: str
    coords: Array
    values: Array
    hidden_coords: Array | None = None
    hidden_values: Array | None = None


@dataclass(frozen=True)
class Published:
    """A covariance that somebody fitted, and where it stands."""

    survey: str
    source: str
    covariance: Covariance
    kind: Kind = "ordinary"


# gstat's fit: Pebesma, "Fitting variogram models in gstat", r-spatial.org, 2016. fields' fit: its web manual,
# "Coal Ash Data Example" (Krig with exp.cov, theta 2.5, and a linear trend).
PUBLISHED = (
    Published(
        "meuse", "gstat's fit", Covariance((Structure("spherical", 0.59060511, 897.0011),), 0.05065971)
    ),
    Published(
        "coal ash",
        "fields' fit, plane",
        Covariance((Structure("exponential", 0.2829, 2.5),), 1.04),
        "universal",
    ),
)


def surveys(folder: Path) -> Iterator[Survey]:
    """Yield the three surveys."""
    meuse = _table(folder / "meuse.csv")
    yield Survey("meuse", _columns(meuse, "y", "x"), np.log(meuse["zinc"]))
    rain = _table(folder / "sic97_swiss_rainfall.csv")
    place = _columns(rain, "y_km", "x_km")
    given = rain["train100"] == 1
    yield Survey("Swiss rainfall", place[given], rain["rain"][given], place[~given], rain["rain"][~given])
    coal = _table(folder / "coalash.csv")
    yield Survey("coal ash", _columns(coal, "y", "x"), coal["coalash"])


def by_geonp(survey: Survey) -> tuple[str, Validation]:
    """Fit by likelihood, to what is not held out."""
    fit = fit_covariance(survey.coords, survey.values, seed=0, targets=survey.hidden_coords)
    return f"geonp ({fit.candidates[0].name})", by_covariance(survey, fit.covariance, "ordinary")


def by_covariance(survey: Survey, covariance: Covariance, kind: Kind) -> Validation:
    """Krige exactly, with a covariance that is given."""
    ready = PointKriging.of(survey.coords, survey.values, covariance, kind=kind, neighbours="all")
    if survey.hidden_coords is None or survey.hidden_values is None:
        return leave_one_out(ready)
    mean, variance = ready.predict(survey.hidden_coords)
    return Validation(survey.hidden_values - mean, np.sqrt(variance + covariance.nugget))


def by_pykrige(survey: Survey, model: str) -> Validation:
    """Krige with PyKrige's automatic fit, made once, to what is not held out."""
    y, x = survey.coords.T
    fitted = OrdinaryKriging(x, y, survey.values, variogram_model=model)
    if survey.hidden_coords is not None and survey.hidden_values is not None:
        mean, variance = fitted.execute("points", *survey.hidden_coords.T[::-1])
        return Validation(survey.hidden_values - np.asarray(mean), np.sqrt(np.maximum(variance, 0)))
    found = np.array([_left_out(survey, i, model, fitted) for i in range(len(y))])
    return Validation(survey.values - found[:, 0], np.sqrt(np.maximum(found[:, 1], 0)))


def _left_out(survey: Survey, i: int, model: str, fitted: OrdinaryKriging) -> tuple[float, float]:
    y, x = np.delete(survey.coords, i, 0).T
    # PyKrige reads its own list of parameters as sill, range, nugget for the models used here.
    slope, reach, nugget = fitted.variogram_model_parameters
    given = {"psill": slope, "range": reach, "nugget": nugget}
    rest = OrdinaryKriging(
        x, y, np.delete(survey.values, i), variogram_model=model, variogram_parameters=given
    )
    mean, variance = rest.execute("points", survey.coords[i, 1], survey.coords[i, 0])
    return float(mean[0]), float(variance[0])


def _table(path: Path) -> NDArray[np.void]:
    return np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf-8")


def _columns(table: NDArray[np.void], *names: str) -> Array:
    return np.stack([table[name] for name in names], 1).astype(np.float64)


def _row(survey: str, method: str, found: Validation) -> str:
    figures = (found.rmse, found.standardised_rmse, found.crps, found.coverage(0.9))
    told = " | ".join(f"{v:#.3g}" for v in figures)
    return f"| {survey} | {method} | {found.me:.1g} | {told} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    warnings.simplefilter("ignore", GeonpWarning)
    print("| survey | covariance | ME | RMSE | standardised RMSE | CRPS | 90 % coverage |")
    print("|---|---|---|---|---|---|---|")
    for survey in surveys(folder):
        name, found = by_geonp(survey)
        print(_row(survey.name, name, found))
        for model in ("spherical", "exponential"):
            found = by_pykrige(survey, model)
            print(_row(survey.name, f"PyKrige, {model}", found))
        for other in PUBLISHED:
            if other.survey == survey.name:
                found = by_covariance(survey, other.covariance, other.kind)
                print(_row(survey.name, other.source, found))


if __name__ == "__main__":
    main()
