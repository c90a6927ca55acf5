"""Observations that a covariance is fitted to: checked once, and standardised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from geonp.errors import InputError, UsageError
from geonp.kriging.conditioning import Array
from geonp.kriging.covariance import METRICS
from geonp.kriging.distance import on_sphere

Trend = Literal["constant", "linear"]

FEWEST = 10
"""Observations below which nothing is fitted."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Observations that have passed the gate, standardised.

    Parameters
    ----------
    coords : (N, 2), as given.
    points : (N, 2 or 3), positions whose Euclidean distance is meant.
    values : (N,), of mean 0 and variance 1.
    columns : (N, P) of the trend, the first of ones, the others of mean 0 and variance 1.
    location, scale : that were subtracted from the values, and divided by.
    means, spreads : of the columns after the first.
    metric : of the covariance.
    errors : (N,) error variances beside the nugget, of the standardised values; None where there are none.
    """

    coords: Array
    points: Array
    values: Array
    columns: Array
    location: float
    scale: float
    means: Array
    spreads: Array
    metric: str
    errors: Array | None = None

    @classmethod
    def checked(
        cls,
        coords: Array,
        values: Array,
        trend: Trend,
        covariates: Array | None,
        metric: str,
        errors: Array | None = None,
    ) -> Sample:
        """Return the sample, if it can be used; errors are those of `geonp.kriging.fit.fit_covariance`."""
        coords, values = np.asarray(coords, np.float64), np.asarray(values, np.float64)
        if not values.size:
            raise InputError("nothing is observed, so there is no covariance to fit; give at least one value")
        if values.ndim != 1 or coords.shape != (len(values), 2):
            raise InputError(f"coords are (N, 2) and values (N,), got {coords.shape} and {values.shape}")
        if not (np.isfinite(coords).all() and np.isfinite(values).all()):
            raise InputError("coordinates or values are not finite; leave out what was not observed")
        if trend not in get_args(Trend):
            raise UsageError(f"unknown trend {trend!r}; use one of {', '.join(get_args(Trend))}")
        if metric not in METRICS:
            raise UsageError(f"unknown metric {metric!r}; use one of {', '.join(METRICS)}")
        if trend == "linear" and metric == "great-circle":
            raise UsageError("a plane in latitude and longitude has no meaning; project the coordinates")
        drift = np.zeros((len(values), 0)) if covariates is None else np.asarray(covariates, np.float64)
        if drift.ndim != 2 or len(drift) != len(values):
            raise InputError(f"covariates are (N, K) with N = {len(values)}, got {drift.shape}")
        if not np.isfinite(drift).all():
            raise InputError(
                "a covariate is not finite where there is an observation; fill it or drop the point"
            )
        spread = drift.std(0)
        if len(values) >= FEWEST and (spread == 0).any():
            raise InputError(
                f"covariate {int(np.argmin(spread))} is constant, as the mean already is; drop it"
            )
        if errors is not None and (
            errors.shape != values.shape or not (np.isfinite(errors) & (errors >= 0)).all()
        ):
            raise InputError(
                f"error variances are (N,) with N = {len(values)}, finite and not negative, got an array of shape "
                f"{errors.shape}"
            )
        extra = np.concatenate([coords, drift], 1) if trend == "linear" else drift
        means, spreads = extra.mean(0), extra.std(0)
        spreads = np.where(spreads > 0, spreads, 1.0)
        columns = np.concatenate([np.ones((len(values), 1)), (extra - means) / spreads], 1)
        location, scale = float(values.mean()), float(values.std()) or 1.0
        standard = (values - location) / scale
        points = positions(coords, metric)
        noise = None if errors is None else errors / scale**2
        return cls(coords, points, standard, columns, location, scale, means, spreads, metric, noise)

    @property
    def signal(self) -> float:
        """Variance of the values that their errors do not explain, a twentieth of it at least."""
        return 1.0 if self.errors is None else max(1.0 - float(self.errors.mean()), 0.05)

    @property
    def extent(self) -> float:
        """Longest side of the box around the observations."""
        return float(np.ptp(self.points, axis=0).max())

    @property
    def flat(self) -> bool:
        """Whether the places all lie on one line."""
        _, sizes, _ = np.linalg.svd(self.points - self.points.mean(0), full_matrices=False)
        return bool(sizes[1] < 1e-6 * sizes[0])

    def coefficients(self, beta: Array) -> tuple[float, ...]:
        """Return the trend's coefficients in units of the data: constant, slopes by y and x, by covariates."""
        slopes = self.scale * beta[1:] / self.spreads
        return (float(self.location + self.scale * beta[0] - slopes @ self.means), *map(float, slopes))


def positions(coords: Array, metric: str) -> Array:
    """Return positions whose Euclidean distance is meant: the coordinates, or points of the sphere in space."""
    return on_sphere(coords) if metric == "great-circle" else coords
