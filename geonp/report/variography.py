"""What there is to know of how a survey varies: its empirical variogram, and the covariance fitted to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.errors import InputError
from geonp.kriging.candidates import FAMILIES, Settings
from geonp.kriging.choice import Fit
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.fit import fit_covariance
from geonp.kriging.scattered import PointKriging
from geonp.kriging.threads import one_thread
from geonp.kriging.trend import Kind
from geonp.kriging.validation import Validation, leave_one_out
from geonp.kriging.variogram import (
    EmpiricalVariogram,
    Estimator,
    VariogramMap,
    empirical_variogram,
    variogram_map,
)
from geonp.methods.kriging import Kriging

Array = NDArray[np.float64]

_DIRECTIONS = 36
_RANGES_SHOWN = 2.0
_MAP_SHARE = 0.5
_EXACT = 2000
_FEW = 10
"""Observations up to which all pairs are shown, and none by direction."""


@dataclass(frozen=True, slots=True)
class Variography:
    """A survey's variogram.

    Parameters
    ----------
    coords : (N, 2) positions (y, x) in metres (the survey's own unit without a CRS), or (latitude, longitude)
        where the covariance's metric is the great circle.
    values : (N,) observations.
    fit : the covariance, the candidates it was chosen among, alarms.
    kind : of kriging that the fit is for.
    pooled : variogram of all pairs.
    along, across : of the pairs along the major and the minor axis; None where the fit has no anisotropy.
    map : variogram by separation in y and x; None on the globe, or of too few observations.
    """

    coords: Array
    values: Array
    fit: Fit
    kind: Kind
    pooled: EmpiricalVariogram
    along: EmpiricalVariogram | None
    across: EmpiricalVariogram | None
    map: VariogramMap | None

    @property
    def main(self) -> Structure:
        """The structure with the largest sill, whose axes are shown."""
        return max(self.fit.covariance.structures, key=lambda s: s.variance)

    def curve(self, lag: Array, direction: float | None = None) -> Array:
        """Return the fitted variogram at distances `lag`, in a direction or averaged over all of them."""
        at = np.asarray(lag, np.float64)
        covariance = self.fit.covariance
        if direction is not None:
            return np.asarray(covariance.variogram(at, direction))
        if self.along is None:
            return np.asarray(covariance.variogram(at))
        turns = np.arange(_DIRECTIONS) * (180 / _DIRECTIONS)
        return np.asarray(np.mean([np.asarray(covariance.variogram(at, float(t))) for t in turns], axis=0))

    def validate(self) -> tuple[Array, Validation]:
        """Return the observations, one a place, and how each is predicted from the others.

        Raises
        ------
        InputError
            If there is only one.
        """
        neighbours: Literal["all"] | None = "all" if len(self.values) <= _EXACT else None
        ready = PointKriging.of(
            self.coords, self.values, self.fit.covariance, kind=self.kind, neighbours=neighbours
        )
        return ready.observations.values, leave_one_out(ready)


def of_raster(
    field: xr.DataArray,
    *,
    kind: Kind = "ordinary",
    families: tuple[str, ...] | None = None,
    anisotropy: tuple[float, float] | None = None,
    estimator: Estimator = "matheron",
    classes: int = 15,
    reach: float | None = None,
    seed: int = 0,
) -> Variography:
    """Return the variography of a field of one band, fitted as the method `kriging` fits it.

    Parameters
    ----------
    field : (1, y, x), may be larger than memory.
    kind : of kriging; "universal" subtracts a plane.
    families, anisotropy : see `geonp.methods.kriging.Kriging`.
    estimator, classes, reach : of the empirical variogram; `reach` is twice the effective range by default,
        and at most half the extent.
    seed : of everything drawn.

    Raises
    ------
    InputError
        If the field has several bands, or fewer than two observations.
    """
    if field.sizes["band"] != 1:
        raise InputError(
            f"a variogram is of one band, and here are {field.sizes['band']}; name one (--band 1)"
        )
    ready = Kriging(kind=kind, families=families, anisotropy=anisotropy, seed=seed, device="cpu").prepare(
        field
    )
    (fit,), observed = ready.fits, ready.bands[0].observations
    assert fit is not None
    return _look(observed.coords, observed.values, fit, kind, estimator, classes, reach, seed)


def of_points(
    coords: Array,
    values: Array,
    *,
    metric: str = "euclidean",
    kind: Kind = "ordinary",
    families: tuple[str, ...] | None = None,
    anisotropy: tuple[float, float] | None = None,
    estimator: Estimator = "matheron",
    classes: int = 15,
    reach: float | None = None,
    seed: int = 0,
) -> Variography:
    """Return the variography of scattered observations.

    Parameters
    ----------
    coords : (N, 2) positions (y, x) in metres, or (latitude, longitude) for the great-circle metric.
    values : (N,), finite.
    kind, families, anisotropy, estimator, classes, reach, seed : see `of_raster`.

    Raises
    ------
    InputError
        If there are fewer than two observations.
    """
    with one_thread():
        fit = fit_covariance(
            coords,
            values,
            seed=seed,
            trend="linear" if kind == "universal" else "constant",
            metric=metric,
            settings=Settings(families or FAMILIES, nested=families is None, stretch=anisotropy),
        )
    return _look(coords, values, fit, kind, estimator, classes, reach, seed)


def _look(
    coords: Array,
    values: Array,
    fit: Fit,
    kind: Kind,
    estimator: Estimator,
    classes: int,
    reach: float | None,
    seed: int,
) -> Variography:
    covariance = fit.covariance
    plane = fit.trend[1:3] if kind == "universal" else ()
    rest = values - coords[:, : len(plane)] @ np.array(plane) if plane else values
    if reach is None and covariance.metric == "euclidean":
        extent = float(np.linalg.norm(np.ptp(coords, axis=0)))
        half = extent / 2 if len(values) > _FEW else 1.001 * extent
        wanted = _RANGES_SHOWN * covariance.effective_range
        reach = wanted if half > wanted > half / classes and len(values) > _FEW else half
    pooled = empirical_variogram(
        coords,
        rest,
        seed=seed,
        classes=classes,
        reach=reach or None,
        estimator=estimator,
        metric=covariance.metric,
    )
    found = Variography(coords, values, fit, kind, pooled, None, None, None)
    if covariance.metric != "euclidean" or len(values) <= _FEW:
        return found
    axes = (found.main.angle, found.main.angle + 90)
    if found.main.ratio < 1:
        sides = [
            empirical_variogram(
                coords, rest, seed=seed, classes=classes, reach=reach, estimator=estimator, direction=axis
            )
            for axis in axes
        ]
        found = replace(found, along=sides[0], across=sides[1])
    width = _MAP_SHARE * (reach or 0)
    return replace(found, map=variogram_map(coords, rest, seed=seed, reach=width, estimator=estimator))


def lengths(covariance: Covariance) -> tuple[float, float]:
    """Return the effective range (95 % of the sill) along the major axis, and across it."""
    longest = covariance.effective_range
    ratio = max(covariance.structures, key=lambda s: s.variance).ratio
    return longest, longest * ratio
