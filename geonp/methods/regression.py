"""Regression kriging, and regression with any other method: a trend on covariates, and the rest completed.

The field is split into a linear function of its covariates, whose coefficients are found by generalised least
squares, and a rest, which a method completes that knows nothing of covariates. Hengl, Heuvelink and Rossiter
(2007), About regression-kriging, Computers & Geosciences 33(10), eq. 6-8; Goovaerts (1997), Geostatistics for
Natural Resources Evaluation, section 6.1.2.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from geonp.covariates import Computed, Laid
from geonp.field import Window, load, steps
from geonp.kriging.covariance import Covariance
from geonp.kriging.fit import Settings, fit_covariance
from geonp.kriging.survey import Block
from geonp.kriging.threads import one_thread
from geonp.methods.base import Completed, Place, Values
from geonp.methods.errors import Errors, errors_of
from geonp.methods.kriging import sampled
from geonp.methods.wrapped import Wrapped

Array = NDArray[np.float64]

SEARCHED = Settings(("exponential", "matern32"), nested=False, anisotropic=False, terms=600)
"""A coefficient hardly depends on the shape of the covariance; its variance depends on the range."""
_MOST = 2048
"""Observations from which coefficients are found: more hardly sharpen them, and would cost their cube."""


@dataclass(frozen=True)
class Sample:
    """Observations.

    Parameters
    ----------
    coords, values, columns : positions (N, 2) in metres, values (N,), and covariates (N, q).
    errors : (N,), variances of the observations' errors beside the nugget; None where none are stated.
    """

    coords: Array
    values: Array
    columns: Array
    errors: Array | None = None

    @classmethod
    def of(cls, blocks: Sequence[Block], step: tuple[float, float]) -> Sample:
        """Return what is observed in some pieces of a raster, which carry their covariates."""
        places, values, columns, errors = [], [], [], []
        for block in blocks:
            rows, cols = np.nonzero(np.isfinite(block.values))
            errors += [] if block.errors is None else [block.errors[rows, cols].astype(np.float64)]
            places.append(np.stack([rows + block.row, cols + block.col], 1) * np.array(step))
            values.append(block.values[rows, cols].astype(np.float64))
            columns.append(block.covariates(rows + block.row, cols + block.col))
        off = np.concatenate(errors) if errors else None
        return cls(np.concatenate(places), np.concatenate(values), np.concatenate(columns), off)

    def __len__(self) -> int:
        return len(self.values)

    def only(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> Sample:
        """Return some of the observations."""
        errors = None if self.errors is None else self.errors[chosen]
        return Sample(self.coords[chosen], self.values[chosen], self.columns[chosen], errors)

    def covariance(self, seed: int) -> Covariance:
        """Return the covariance of what the covariates leave, fitted to the observations."""
        with one_thread():
            return fit_covariance(
                self.coords,
                self.values,
                covariates=self.columns,
                errors=self.errors,
                seed=seed,
                settings=SEARCHED,
            ).covariance


@dataclass(frozen=True)
class Trend:
    """A linear function of covariates, without its constant.

    Parameters
    ----------
    centre : (q,), where it is 0.
    slopes : (q,), by units of the covariates.
    variance : (q, q), of the slopes.
    covariance : of the rest.
    """

    centre: Array
    slopes: Array
    variance: Array
    covariance: Covariance

    @classmethod
    def fit(cls, sample: Sample, seed: int) -> Trend:
        """Fit covariance and slopes to observations.

        Parameters
        ----------
        sample : more observations than covariates by two; no covariate is constant or told by the others.
        seed : of the sampling.

        Notes
        -----
        With F the columns (ones, covariates) and K the covariance of the observations, nugget and errors included, the
        coefficients are (F' K^-1 F)^-1 F' K^-1 z, and (F' K^-1 F)^-1 is their variance (Cressie 1993,
        Statistics for Spatial Data, eq. 1.3.3).
        """
        some = np.random.default_rng([seed, 5]).permutation(len(sample))[:_MOST]
        return cls.given(sample.covariance(seed), sample.only(some))

    @classmethod
    def given(cls, covariance: Covariance, sample: Sample) -> Trend:
        """Return the slopes that all observations of a sample give with a known covariance; see `fit`."""
        centre, spread = sample.columns.mean(0), sample.columns.std(0)
        spread = np.where(spread > 0, spread, 1.0)
        F = np.concatenate([np.ones((len(sample), 1)), (sample.columns - centre) / spread], 1)
        place = sample.coords - sample.coords.mean(0)
        K = covariance(place, place)
        K[np.diag_indices_from(K)] += max(covariance.nugget, 1e-8 * covariance.sill)
        if sample.errors is not None:
            K[np.diag_indices_from(K)] += sample.errors
        right = np.column_stack([F, sample.values - sample.values.mean()])
        whitened = solve_triangular(cholesky(K, lower=True), right, lower=True)
        A, y = whitened[:, :-1], whitened[:, -1]
        variance = np.linalg.pinv(A.T @ A)
        slopes = (variance @ A.T @ y)[1:] / spread
        return cls(centre, slopes, variance[1:, 1:] / np.outer(spread, spread), covariance)

    def at(self, covariates: NDArray[np.floating]) -> Array:
        """Return the trend (H, W) of covariates (q, H, W)."""
        return np.tensordot(self.slopes, covariates - self.centre[:, None, None], 1)

    def variance_at(self, covariates: NDArray[np.floating]) -> Array:
        """Return the trend's variance (H, W): x' V x, with x the covariates less their centre."""
        x = covariates - self.centre[:, None, None]
        return np.asarray(np.einsum("ihw,ij,jhw->hw", x, self.variance, x))


@dataclass(frozen=True, kw_only=True)
class Regression(Wrapped):
    """A trend on covariates, and a method that completes what it leaves.

    The variance is the method's own, and that of the trend's coefficients. It counts the coefficients in full
    at every pixel, which is a little too much near observations, where they hardly matter.

    Parameters
    ----------
    base : completes the rest, and is told the errors of the observations, where they are stated.
    covariates : on the raster's grid; where one is unknown nothing is answered.
    seed : of the sampling.
    trends : of the bands; `prepare` finds them.
    """

    name = "regression"

    covariates: Laid = field(repr=False, compare=False)
    seed: int = 0
    trends: tuple[Trend, ...] = field(default=(), repr=False, compare=False)

    def prepare(self, field: xr.DataArray) -> Self:
        """Fit a trend to every band of `field`, observed only where the covariates are known."""
        trends = []
        stated = errors_of(self.base)
        measured = None if stated is None else Errors.of(stated, field)
        for band in range(field.sizes["band"]):
            blocks = sampled(field, band, self.seed, self.covariates, measured)
            trends.append(Trend.fit(Sample.of(blocks, steps(field)), self.seed))
        ready = replace(self, trends=tuple(trends))
        return replace(ready, base=self.base.prepare(_Rest(field, ready).like(field)))

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        """Complete the wanted pixels; see `Method.complete`. NaN where a covariate is unknown."""
        known = self.covariates.window(place.given)
        done = self.base.complete(self.rest(values, known), spacing, place)
        here = known[:, *place.inside]
        mean = np.stack([m + t.at(here) for m, t in zip(done.mean, self.trends, strict=True)])
        if done.variance is None:
            return Completed(mean.astype(np.float32), None, done.errors)
        spread = [v + t.variance_at(here) for v, t in zip(done.variance, self.trends, strict=True)]
        return Completed(mean.astype(np.float32), np.stack(spread).astype(np.float32), done.errors)

    def rest(self, values: Values, covariates: Values) -> Values:
        """Return what the trends leave of values (band, H, W)."""
        left = [v - t.at(covariates) for v, t in zip(values, self.trends, strict=True)]
        return np.stack(left).astype(np.float32)

    def describe(self) -> dict[str, str]:
        """Return what the base says, and the slope of every covariate with its standard error, by band."""
        told = self.base.describe()
        for number, trend in enumerate(self.trends, 1):
            errors = np.sqrt(np.diag(trend.variance))
            told[f"band_{number}_slopes"] = json.dumps(
                {
                    label: [float(f"{slope:.6g}"), float(f"{error:.3g}")]
                    for label, slope, error in zip(self.covariates.labels, trend.slopes, errors, strict=True)
                }
            )
        return told


class _Rest(Computed):
    """What the trends leave of a field, computed where it is read."""

    def __init__(self, whole: xr.DataArray, method: Regression) -> None:
        self.whole, self.method = whole, method
        self.shape = whole.shape

    def window(self, window: Window) -> Values:
        values = load(self.whole, window).to_numpy()
        return self.method.rest(values, self.method.covariates.window(window))
