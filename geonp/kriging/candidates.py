"""The covariances that are considered for a set of observations, and how their parameters are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch

from geonp.errors import InputError, UsageError
from geonp.kriging.conditioning import Array, Index, conditioning_sets
from geonp.kriging.covariance import METRICS, Covariance, Structure
from geonp.kriging.distance import on_sphere
from geonp.kriging.likelihood import FITTED, Maximum, Parameters, Shape, VecchiaLikelihood
from geonp.kriging.variogram import empirical_variogram, fit_variogram

Trend = Literal["constant", "linear"]
Origin = Literal["likelihood", "gap likelihood", "fixed range", "variogram", "fallback"]

FAMILIES = ("exponential", "matern32", "matern52")
"""Families tried by default."""

FARTHEST = 20
"""Largest range that is considered, in extents of the data."""

FEWEST = 10
"""Observations below which nothing is fitted."""

_NESTED = (("matern32", "matern32"), ("matern32", "exponential"))
_NESTED_FROM, _ANISOTROPIC_FROM = 100, 40
_STRETCH_GAIN = 4.0
"""Log likelihood that an anisotropy must gain: 1.8 % of isotropic samples gain as much by chance."""
_NEIGHBOURS, _QUICK_NEIGHBOURS, _QUICK_TERMS = 16, 12, 350


@dataclass(frozen=True, slots=True)
class Settings:
    """What is tried, and how much of the data is used.

    Parameters
    ----------
    families : one-structure candidates, names of `geonp.kriging.likelihood.FITTED`.
    nested : whether sums of two structures are tried (from 100 observations on).
    anisotropic : whether a geometric anisotropy is tried (from 40 observations on, not on the globe).
    terms : factors of the likelihood to use, at most.
    """

    families: tuple[str, ...] = FAMILIES
    nested: bool = True
    anisotropic: bool = True
    terms: int = 1500

    def __post_init__(self) -> None:
        if not self.families or any(f not in FITTED for f in self.families):
            raise UsageError(f"families must be some of {', '.join(FITTED)}, got {self.families!r}")
        if self.terms < FEWEST:
            raise UsageError(f"terms must be at least {FEWEST}, got {self.terms}")


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

    @classmethod
    def checked(
        cls, coords: Array, values: Array, trend: Trend, covariates: Array | None, metric: str
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
        extra = np.concatenate([coords, drift], 1) if trend == "linear" else drift
        means, spreads = extra.mean(0), extra.std(0)
        spreads = np.where(spreads > 0, spreads, 1.0)
        columns = np.concatenate([np.ones((len(values), 1)), (extra - means) / spreads], 1)
        location, scale = float(values.mean()), float(values.std()) or 1.0
        standard = (values - location) / scale
        points = positions(coords, metric)
        return cls(coords, points, standard, columns, location, scale, means, spreads, metric)

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


@dataclass(frozen=True, slots=True)
class Found:
    """A covariance of the standardised values, and how it was found.

    Parameters
    ----------
    covariance : of the standardised values.
    origin : how its parameters were found.
    parameters : number of parameters that were fitted, trend included.
    trend : coefficients of the standardised columns.
    """

    covariance: Covariance
    origin: Origin
    parameters: int
    trend: Array

    @classmethod
    def of(cls, maximum: Maximum, origin: Origin) -> Found:
        """Return a maximum as a candidate."""
        return cls(maximum.covariance, origin, maximum.parameters, maximum.trend)

    @property
    def families(self) -> tuple[str, ...]:
        """Families of the structures."""
        return tuple(s.family for s in self.covariance.structures)


@dataclass(frozen=True, slots=True)
class Search:
    """Finds candidates for one sample.

    Parameters
    ----------
    sample : the observations.
    settings : what is tried.
    usual : usual distance between neighbouring observations.
    sets : who conditions whom in the likelihood.
    likelihood : prepared.
    quick : the likelihood of fewer terms and neighbours, where a search begins.
    anisotropic : whether candidates have an anisotropy.
    """

    sample: Sample
    settings: Settings
    usual: float
    sets: Index
    likelihood: VecchiaLikelihood
    quick: VecchiaLikelihood
    anisotropic: bool = False

    @classmethod
    def of(cls, sample: Sample, settings: Settings, usual: float, generator: np.random.Generator) -> Search:
        """Prepare the likelihood."""
        sets = conditioning_sets(sample.points, _NEIGHBOURS, settings.terms, generator)
        few = sets[:: max(1, round(len(sets) / _QUICK_TERMS))]
        few = few[:, [*range(min(_QUICK_NEIGHBOURS, few.shape[1] - 1)), -1]]
        data = (sample.points, sample.values, sample.columns)
        likelihood, quick = (VecchiaLikelihood(*data, [s], sample.metric) for s in (sets, few))
        return cls(sample, settings, usual, sets, likelihood, quick)

    @property
    def span(self) -> tuple[float, float]:
        """Smallest and largest range to consider."""
        return 0.3 * self.usual, FARTHEST * self.sample.extent

    def by_likelihood(self) -> tuple[Search, list[Found]]:
        """Return the most likely covariance of every family and of the nested sums.

        All have an anisotropy if the best family is clearly more likely with one; the search that is returned
        with them goes on accordingly.
        """
        best = {f: self._maximum((f,), s) for f, s in self._starts().items()}
        search = self
        if self._may_stretch:
            top = max(best, key=lambda f: best[f].log_likelihood)
            turned = replace(self, anisotropic=True)
            stretched = turned.likelihood.maximise(Shape((top,), True), best[top].covariance, self.span)
            if stretched.log_likelihood - best[top].log_likelihood > _STRETCH_GAIN:
                search = turned
                like = stretched.covariance.structures[0]
                best = {
                    f: stretched if f == top else turned._maximum((f,), _turned(m.covariance, like))
                    for f, m in best.items()
                }
        found = [Found.of(m, "likelihood") for m in best.values()]
        if self.settings.nested and len(self.sample.values) >= _NESTED_FROM:
            short = best.get("matern32") or max(best.values(), key=lambda m: m.log_likelihood)
            for families in _NESTED:
                nested = search._maximum(families, self._split(short.covariance, families))
                found.append(Found.of(nested, "likelihood"))
        return search, found

    @property
    def of_noise(self) -> float:
        """Log likelihood of independent values about the trend."""
        noise = Parameters(("exponential",), np.array([self.usual]), np.ones(1), 1e9, np.zeros(2))
        return -self.likelihood.evaluate(noise, gradient=False).value

    @property
    def _may_stretch(self) -> bool:
        s = self.sample
        enough = len(s.values) >= _ANISOTROPIC_FROM and s.metric == "euclidean"
        return self.settings.anisotropic and enough and not s.flat

    def of_longer_range(self, gap: float, known: Sequence[Found]) -> list[Found]:
        """Return exponentials whose range is several times the widest gaps, and one from the variogram."""
        single = next((f for f in known if f.families == ("exponential",)), known[0])
        s = single.covariance.structures[0]
        structure = Structure("exponential", 1.0, s.range, angle=s.angle, ratio=s.ratio)
        start = Covariance((structure,), 1e-3, self.sample.metric)
        found = []
        for factor in (4, 16):
            reach = factor * gap
            if max(reach / s.range, s.range / reach) > 1.5:
                found.append(Found.of(self._maximum(("exponential",), start, (reach,)), "fixed range"))
        residual = self.sample.values - self.sample.columns @ single.trend
        empirical = empirical_variogram(
            self.sample.coords, residual, seed=0, metric=self.sample.metric, sample=1000
        )
        if len(empirical.lag) >= 3 and (empirical.semivariance > 0).any():
            fitted = fit_variogram(empirical, "exponential")
            found.append(Found(fitted, "variogram", 3 + self.sample.columns.shape[1], single.trend))
        return found

    def for_gaps(self, found: Found, sets: Index) -> Found:
        """Return `found` fitted once more, to its likelihood and to that of hidden observations together."""
        s = self.sample
        both = VecchiaLikelihood(s.points, s.values, s.columns, [self.sets, sets], s.metric)
        shape = Shape(found.families, self.anisotropic)
        return Found.of(both.maximise(shape, found.covariance, self.span), "gap likelihood")

    def _starts(self) -> dict[str, Covariance]:
        """Return the best of a coarse grid of ranges and nuggets for every family."""
        s = self.sample
        ranges = np.geomspace(2 * self.usual, max(2 * s.extent, 4 * self.usual), 6)
        one, straight = np.ones(1), np.zeros(2)
        starts = {}
        for family in self.settings.families:
            tried = [
                (
                    self.quick.evaluate(
                        Parameters((family,), np.array([r]), one, g, straight), gradient=False
                    ).value,
                    r,
                    g,
                )
                for r in ranges
                for g in (1e-5, 1e-3, 3e-2, 1.0)
            ]
            _, reach, nugget = min(tried)
            starts[family] = Covariance((Structure(family, 1.0, float(reach)),), nugget, s.metric)
        return starts

    def _split(self, single: Covariance, families: tuple[str, ...]) -> Covariance:
        """Return a short and a long structure about a single one, to begin from."""
        s = single.structures[0]
        short = max(s.range / 2, min(2 * self.usual, s.range))
        long = min(3 * s.range, max(2 * self.sample.extent, s.range))
        parts = (
            Structure(families[0], 0.3 * s.sill, short, angle=s.angle, ratio=s.ratio),
            Structure(families[1], s.sill, long, angle=s.angle, ratio=s.ratio),
        )
        return Covariance(parts, 0.3 * single.nugget, single.metric)

    def _maximum(
        self, families: tuple[str, ...], start: Covariance, ranges: tuple[float | None, ...] = ()
    ) -> Maximum:
        shape = Shape(families, self.anisotropic, ranges)
        near = self.quick.maximise(shape, start, self.span)
        return self.likelihood.maximise(shape, near.covariance, self.span)


def _turned(covariance: Covariance, like: Structure) -> Covariance:
    """Return an isotropic covariance stretched like a structure, the geometric mean of its ranges kept."""
    wider = like.ratio**-0.5
    return replace(
        covariance,
        structures=tuple(
            replace(s, range=s.range * wider, angle=like.angle, ratio=like.ratio)
            for s in covariance.structures
        ),
    )


def positions(coords: Array, metric: str) -> Array:
    """Return positions whose Euclidean distance is meant: the coordinates, or points of the sphere in space."""
    return on_sphere(torch.from_numpy(coords)).numpy() if metric == "great-circle" else coords
