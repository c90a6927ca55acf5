"""The method `kriging`: local kriging with a covariance fitted to the raster."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.covariates import Laid
from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.field import Window, grid_shape, load, steps, windows
from geonp.kriging.arrays import Device
from geonp.kriging.board import Pixels
from geonp.kriging.candidates import FAMILIES, Settings
from geonp.kriging.covariance import Covariance
from geonp.kriging.fit import Fit, fit_grid
from geonp.kriging.points import covering, warn_of_units
from geonp.kriging.raster import EXACT_LAYOUT, RasterKriging
from geonp.kriging.remeasured import remeasure
from geonp.kriging.scattered import known_mean
from geonp.kriging.solver import Solver
from geonp.kriging.survey import Block, Survey
from geonp.kriging.trend import KINDS, Kind, check_kind
from geonp.methods.base import Completed, Method, Place, Values
from geonp.methods.drift import Drift
from geonp.methods.errors import Errors, Stated, checked_number, of_bands

_READ = 2048
_KEPT, _LEAST_KEPT = 1 << 20, 1 << 14
"""Observations kept in memory of a whole raster, its bands together; and of one band at least."""
_FITTED = 1 << 20
"""Pixels of a raster up to which the covariance is fitted to all of it."""
_SAMPLED = 1024
_ENOUGH = 100_000
_MOST_SAMPLES = 6
_MOST_FITS = 6
_REPRESENTATIVES = 3


@dataclass(frozen=True, kw_only=True)
class Kriging(Method):
    """Local kriging in tiles that share a neighbourhood; a small survey is kriged exactly.

    Each band is kriged alone. Up to six bands are each fitted; of more, three are, and the others take the
    covariance of the nearest of those, scaled to their own variance.

    Parameters
    ----------
    covariance : of every band, or a tuple of one a band, in metres (or the raster's own units without a CRS);
        None fits one a band.
    families : covariance families that are tried where one is fitted (`geonp.kriging.correlation.FITTED`);
        None is three of them and sums of two.
    anisotropy : direction of the longest range, degrees counter-clockwise from +x, and the shortest range over
        the longest: held while a covariance is fitted, put into one that is given; None searches both.
    drift : one raster or several that the mean is a linear function of, with coefficients unknown in every
        neighbourhood (kriging with an external drift). They must cover the survey without holes; those on
        another grid are resampled (`geonp.methods.drift`). Each band is a covariate.
    kind : "ordinary" (unknown local mean), "universal" (unknown local plane) or "simple" (one mean, by
        generalised least squares).
    neighbours : observations from which a pixel is kriged: about so many among observations, just so many in
        gaps. None is 70 (more where the nugget is large) and 128.
    noise : whether the variance is that of an observation (nugget included) or of the latent field.
    smooth : whether observed pixels are estimated too, as they would be without their nugget; otherwise they
        keep their value, with variance 0.
    dtype : "float64", or "float32" for rough covariances with a nugget of 1 % of the sill or more, where it
        errs by some thousandths of a standard deviation (measured: Matern-3/2, range 30 pixels, nugget 1e-4
        of the sill: a tenth of one; smoother ones: useless).
    device : "auto" (a GPU where there is one), "cpu" or "cuda".
    memory : bytes that the systems solved together may take.
    seed : of the sampling while a covariance is fitted.
    fits : how the covariances came about; `prepare` makes them. None where one was given.
    bands : the bands, ready to be kriged; `prepare` makes them.
    trend : the drift on the raster's own grid; `prepare` makes it.
    errors : standard deviations of the errors of the observations, in the units of the raster: a raster on the same
        pixels, or one number for all of them. Observations weigh accordingly, and observed pixels whose error is not
        0 are estimated: what a measurement free of error would find there. The nugget comes on top.
    measured : the errors on the raster's own pixels; `prepare` makes them.
    """

    name: ClassVar[str] = "kriging"
    has_variance: ClassVar[bool] = True

    covariance: Covariance | tuple[Covariance, ...] | None = None
    families: tuple[str, ...] | None = None
    anisotropy: tuple[float, float] | None = None
    drift: xr.DataArray | tuple[xr.DataArray, ...] = field(default=(), repr=False, compare=False)
    kind: Kind = "ordinary"
    neighbours: int | None = None
    noise: bool = True
    smooth: bool = False
    dtype: Literal["float64", "float32"] = "float64"
    device: str = "auto"
    memory: int = 1 << 30
    seed: int = 0
    fits: tuple[Fit | None, ...] = field(default=(), repr=False, compare=False)
    bands: tuple[RasterKriging, ...] = field(default=(), repr=False, compare=False)
    trend: Drift | None = field(default=None, repr=False, compare=False)
    errors: Stated | None = field(default=None, repr=False, compare=False)
    measured: Errors | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.neighbours is not None and self.neighbours < 1:
            raise UsageError(f"kriging from {self.neighbours} neighbours is impossible; give at least 1")
        if self.dtype not in ("float64", "float32"):
            raise UsageError(f"dtype is 'float64' or 'float32', got {self.dtype!r}")
        if self.memory < 1 << 20:
            raise UsageError(f"{self.memory} bytes of memory are too few; give at least {1 << 20} (1 MiB)")
        if self.kind not in KINDS:
            raise UsageError(f"unknown kind of kriging {self.kind!r}; use one of {', '.join(KINDS)}")
        if self.errors is not None and not isinstance(self.errors, xr.DataArray):
            checked_number(self.errors)
        self._settings()  # refuses families and anisotropies that cannot be
        for covariance in self._given():
            check_kind(self.kind, covariance, len(self._rasters))
            if covariance.metric != "euclidean":
                raise UsageError(
                    "rasters are kriged in metres; give a covariance with metric='euclidean', or use "
                    "krige() for points on the globe"
                )
        if self.kind == "simple" and self._rasters:
            raise UsageError("simple kriging knows its mean and takes no drift; use kind='ordinary'")
        if self.covariance is not None and self.families is not None:
            raise UsageError("a covariance that is given is not fitted: give either it or families to try")

    @property
    def halo(self) -> int:
        """Pixels around a window that are read."""
        return max((band.halo for band in self.bands), default=0)

    @property
    def grain(self) -> int:
        """Half the side of the largest tiles: they are kriged as a whole, however little of them is wanted."""
        return max((max(EXACT_LAYOUT.tile if b.exact else b.layout.tile) // 2 for b in self.bands), default=1)

    @property
    def filters(self) -> bool:
        """Whether observed pixels are estimated too, since errors of theirs are stated."""
        return self.errors is not None

    def of_bands(self, bands: Sequence[int], count: int) -> Self:
        """Return the method with the errors of some bands alone."""
        return self if self.errors is None else replace(self, errors=of_bands(self.errors, bands, count))

    def smoothed(self) -> Self:
        """Return the method that filters the nugget out of observed pixels."""
        return replace(self, smooth=True)

    def prepare(self, field: xr.DataArray) -> Self:
        """Go through the field once, and fit a covariance to each band where none was given.

        Warns
        -----
        GeonpWarning
            Where a fit should not be trusted blindly (a pure nugget, a range at its bound), a covariance that
            is given has a range far below a pixel, or a drift is resampled.

        Raises
        ------
        InputError
            If a band has no observation, a drift does not cover the raster, has holes, or is constant, or errors do
            not fit the raster or are negative or unknown at an observation.
        UsageError
            If there are not as many covariances as bands.
        """
        measured = None if self.errors is None else Errors.of(self.errors, field)
        surveys = self._survey(field, measured)
        trend = Drift.of(self._rasters, field) if self._rasters else None
        columns = [None] * len(surveys) if trend is None else _covariates(trend, field, surveys)
        step = steps(field)
        fits: Sequence[Fit | None] = [None] * len(surveys)
        covariances = self._given(len(surveys))
        for covariance in set(covariances):
            warn_of_units(covariance, min(map(abs, step)), degrees=False)
        if not covariances:
            fits, covariances = self._fit(field, surveys, step, trend, measured)
        rows, cols = grid_shape(field)
        reach = math.hypot(rows * step[0], cols * step[1])
        bands = []
        for survey, covariance, column in zip(surveys, covariances, columns, strict=True):
            solver = self._solver(covering(covariance, reach))
            band = RasterKriging((rows, cols), step, survey, solver, self.neighbours, self.smooth, column)
            if self.kind == "simple":
                mean = known_mean(band.observations, solver, self.seed)
                band = replace(band, solver=replace(solver, mean=mean))
            bands.append(band)
        return replace(self, fits=tuple(fits), bands=tuple(bands), trend=trend, measured=measured)

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        """Complete the wanted pixels; see `Method.complete`.

        Raises
        ------
        UsageError
            If the method was not prepared for a raster with these bands.
        """
        if len(self.bands) != len(values):
            raise UsageError(
                f"kriging is prepared for {len(self.bands)} band(s) and was given {len(values)}; call "
                "prepare(field) with the raster that is to be completed"
            )
        wanted = Pixels(place.wanted.row, place.wanted.col, *place.wanted.shape)
        mean = np.empty((len(values), *place.wanted.shape), np.float32)
        variance = np.empty_like(mean)
        drift = None if self.trend is None else self.trend.window(place.given)
        errors = self.error_variances(values, place.given)
        for i, band in enumerate(self.bands):
            own = None if errors is None else errors[i]
            given = Block(place.given.row, place.given.col, values[i], drift, own)
            mean[i], variance[i] = self._observable(band, given, wanted, spacing)
        return Completed(mean, variance, None if errors is None else errors[:, *place.inside])

    def error_variances(self, values: Values, window: Window) -> Values | None:
        """Return the variances of the errors of observations (band, rows, columns), None where none are stated.

        Parameters
        ----------
        values : of a window of the raster that the method is prepared for, NaN where not observed.
        window : where they lie.
        """
        return None if self.measured is None else self.measured.variances(values, window)

    def _observable(
        self, band: RasterKriging, given: Block, wanted: Pixels, spacing: tuple[float, float]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and variance of a window of one band: of the observable, or of the latent field."""
        mean, variance = band.complete(given, wanted, spacing)
        if not self.noise:
            return mean, variance
        nugget, inside = band.solver.covariance.nugget, wanted.within(given.row, given.col)
        if self.smooth:
            return mean, variance + nugget
        observed, err = np.isfinite(given.values[inside]), given.uncertain[inside]
        if given.errors is not None and err.any():
            known = (
                given.values[inside][err].astype(np.float64),
                given.errors[inside][err].astype(np.float64),
            )
            mean[err], variance[err] = remeasure(mean[err], variance[err], *known, nugget)
        # Observed pixels are known, and stay so.
        return mean, variance + np.where(observed, 0, nugget)

    def describe(self) -> dict[str, str]:
        """Return what a user must know to repeat the result: kind, seed, and the covariance of every band."""
        told = {"method": self.name, "kind": self.kind, "nugget": "in" if self.noise else "out"}
        told["seed"] = str(self.seed)
        if self.trend is not None:
            told["drift"] = ", ".join(self.trend.names)
        if self.measured is not None:
            told["errors"] = self.measured.name
        for number, band in enumerate(self.bands, 1):
            told[f"covariance_{number}"] = band.solver.covariance.to_json()
        return told

    def bytes_needed(self, window: int = 1024) -> int:
        """Return the peak memory in bytes of completing the raster in windows of `window` pixels a side."""
        return max((band.bytes_needed(window) for band in self.bands), default=0)

    def _survey(self, field: xr.DataArray, measured: Errors | None) -> list[Survey]:
        limit = max(_KEPT // field.sizes["band"], _LEAST_KEPT)
        return [Survey.of(blocks(field, band, measured), limit) for band in range(field.sizes["band"])]

    def _given(self, bands: int = 0) -> tuple[Covariance, ...]:
        """Return the covariances that were given, turned as asked for; one for each of so many bands."""
        if self.covariance is None:
            return ()
        alone = isinstance(self.covariance, Covariance)
        given = (
            (self.covariance,) * (bands or 1) if isinstance(self.covariance, Covariance) else self.covariance
        )
        if bands and not alone and len(given) != bands:
            raise UsageError(
                f"{len(given)} covariances are given for {bands} band(s) to be completed; give one for each, "
                "or one for all"
            )
        return given if self.anisotropy is None else tuple(c.turned(*self.anisotropy) for c in given)

    @property
    def _rasters(self) -> tuple[xr.DataArray, ...]:
        return (self.drift,) if isinstance(self.drift, xr.DataArray) else self.drift

    def _settings(self) -> Settings:
        return Settings(self.families or FAMILIES, nested=self.families is None, stretch=self.anisotropy)

    def _fit(
        self,
        field: xr.DataArray,
        surveys: list[Survey],
        step: tuple[float, float],
        drift: Drift | None,
        measured: Errors | None,
    ) -> tuple[Sequence[Fit | None], tuple[Covariance, ...]]:
        count = len(surveys)
        chosen = range(count)
        if count > _MOST_FITS:
            chosen = np.linspace(0, count - 1, 2 * _REPRESENTATIVES + 1).round().astype(int)[1::2].tolist()
        fits = {band: self._fit_band(field, band, step, drift, measured) for band in chosen}
        covariances = []
        for band, survey in enumerate(surveys):
            nearest = min(fits, key=lambda other: abs(other - band))
            covariance = fits[nearest].covariance
            if band != nearest:
                spread, other = float(survey.values.var()), float(surveys[nearest].values.var())
                covariance = covariance.scaled(spread / other) if spread > 0 and other > 0 else covariance
            covariances.append(covariance)
        return [fits.get(band) for band in range(count)], tuple(covariances)

    def _fit_band(
        self,
        field: xr.DataArray,
        band: int,
        step: tuple[float, float],
        drift: Drift | None,
        measured: Errors | None,
    ) -> Fit:
        trend: Literal["constant", "linear"] = "linear" if self.kind == "universal" else "constant"
        sample = sampled(field, band, self.seed, drift, measured)
        fit = fit_grid(sample, step, seed=self.seed, trend=trend, settings=self._settings())
        for alarm in fit.alarms:
            warnings.warn(f"band {band + 1}: {alarm}", GeonpWarning, stacklevel=5)
        return fit

    def _solver(self, covariance: Covariance) -> Solver:
        kind = check_kind(self.kind, covariance)
        return Solver(covariance, kind, 0.0, self.dtype, Device.called(self.device), self.memory)


def blocks(field: xr.DataArray, band: int, measured: Errors | None = None) -> Iterator[Block]:
    """Yield one band of a field (band, y, x) piece by piece, with its errors where they are stated."""
    one = field.isel(band=[band])
    for window in windows(grid_shape(field), _READ):
        values = np.asarray(load(one, window).to_numpy()[0])
        errors = None if measured is None else measured.variance(values, window, band)
        yield Block(window.row, window.col, values, errors=errors)


def sampled(
    field: xr.DataArray,
    band: int,
    seed: int,
    drift: Drift | Laid | None,
    measured: Errors | None = None,
) -> list[Block]:
    """Return the band with its drift, or a few windows of a large one, drawn at random among those observed."""
    one = field.isel(band=[band])
    shape = grid_shape(field)

    def read(window: Window) -> Block:
        covariates = None if drift is None else drift.window(window)
        values = np.asarray(load(one, window).to_numpy()[0])
        errors = None if measured is None else measured.variance(values, window, band)
        return Block(window.row, window.col, values, covariates, errors)

    if math.prod(shape) <= _FITTED:
        return [read(Window.whole(shape))]
    found: list[Block] = []
    observed = 0
    cells = windows(shape, _SAMPLED)
    for index in np.random.default_rng([seed, band]).permutation(len(cells)):
        block = read(cells[index])
        if (seen := int(np.isfinite(block.values).sum())) > 0:
            found.append(block)
            observed += seen
        if observed >= _ENOUGH or len(found) == _MOST_SAMPLES:
            break
    if not found:
        raise InputError(f"band {band + 1} has no observed pixel: there is nothing to krige from")
    return found


def _covariates(drift: Drift, field: xr.DataArray, surveys: list[Survey]) -> list[NDArray[np.float64]]:
    """Return the drift (N, q) at the observations of every survey; it is looked at all over the raster."""
    found = [np.full((len(s.values), drift.count), np.nan) for s in surveys]
    for window in windows(grid_shape(field), _READ):
        block = Block(window.row, window.col, np.empty(window.shape, np.float32), drift.window(window))
        for survey, columns in zip(surveys, found, strict=True):
            here = (survey.rows >= window.row) & (survey.rows < window.stop[0])
            here &= (survey.cols >= window.col) & (survey.cols < window.stop[1])
            columns[here] = block.covariates(survey.rows[here], survey.cols[here])
    for columns in found:
        flat = np.ptp(columns, axis=0) <= 1e-6 * np.abs(columns).max(0)
        if flat.any():
            which = int(np.argmax(flat)) + 1
            raise InputError(
                f"drift {which} of {drift.count} ({', '.join(drift.names)}) is constant at the observations, as the "
                "mean already is: nothing can be learnt from it; leave it out"
            )
    return found
