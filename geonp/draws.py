"""What draws the realisations of a method: kriging, the network that corrects it, and either with covariates.

Randomness is told apart by seed, kind, band and number, never by window: a realisation is one field however it is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geonp.errors import MethodError
from geonp.field import Window
from geonp.kriging.board import Pixels
from geonp.kriging.raster import RasterKriging
from geonp.kriging.simulate import Draw, Simulator
from geonp.kriging.survey import Block
from geonp.methods.base import Method, Place, Values
from geonp.methods.covaried import Covaried
from geonp.methods.flagship import Flagship
from geonp.methods.kriging import Kriging
from geonp.methods.regression import Regression

_SLOPES = 14
"""Beside the kinds of `geonp.kriging.simulate`."""


@dataclass(frozen=True)
class Given:
    """A window of a survey, and what is asked of it.

    Parameters
    ----------
    values : (band, rows, columns) of `place.given`, NaN where not observed; the bands that the method completes.
    errors : variances of the observations' errors, shaped alike; None where none are stated.
    spacing : pixel size (dy, dx) in metres.
    place : where it lies.
    """

    values: Values
    errors: Values | None
    spacing: tuple[float, float]
    place: Place


Drawn = Callable[[Given], Values]
"""Some realisations, everywhere: of a window they give (R, band, rows, columns)."""


class Source(Protocol):
    """What draws the realisations of the bands that a prepared method completes."""

    @property
    def simulators(self) -> tuple[Simulator, ...]:
        """All that fields are drawn from, those of the bands first."""

    def draw(self, numbers: range) -> Drawn:
        """Draw the realisations with some `numbers`, which are counted from 0."""

    def error_variances(self, values: Values, window: Window) -> Values | None:
        """Return the variances of the errors of a window's observations; None where none are stated."""


@dataclass(frozen=True)
class Drawing:
    """What all realisations have in common.

    Parameters
    ----------
    numbers : of the field's bands that the method completes, from 0.
    seed : of the realisations.
    latent : whether they are of the underlying surface, without the nugget.
    memory : bytes that an embedding may take.
    """

    numbers: tuple[int, ...]
    seed: int
    latent: bool
    memory: int

    def source(self, method: Method) -> Source:
        """Return what draws the realisations of a prepared method.

        Raises
        ------
        MethodError
            If it has no kriging.
        UsageError
            If its covariance has no sill.
        """
        if isinstance(method, Covaried):
            parts = [self.source(one) for one in method.answering]
            return parts[0] if len(parts) == 1 else _Either(method, *parts)
        if isinstance(method, Regression):
            return _Trended(method, self.source(method.base), self)
        if isinstance(method, Kriging | Flagship):
            return _Kriged(method, self._bands(method))
        raise MethodError(
            f"method '{method.name}' has no covariance to draw realisations with; use --method kriging or bundled"
        )

    def _bands(self, method: Kriging | Flagship) -> tuple[_Band, ...]:
        noise = not self.latent and not (isinstance(method, Kriging) and not method.noise)
        out = []
        for index, (kriging, corrected, size) in enumerate(_krigings(method)):
            first = index - index % size
            number = self.numbers[index]
            simulator = Simulator.of(kriging, seed=self.seed, band=number, noise=noise, memory=self.memory)
            out.append(_Band(tuple(range(first, first + size)), simulator, corrected))
        return tuple(out)


def _krigings(method: Kriging | Flagship) -> list[tuple[RasterKriging, bool, int]]:
    """Return the kriging of every band of a prepared method, whether a network corrects it, and its group's size."""
    if isinstance(method, Kriging):
        return [(band, False, 1) for band in method.bands]
    found: list[tuple[RasterKriging, bool, int]] = []
    for group in method.groups:
        own = group.krigings if group.alone is None else group.alone.bands
        size = len(own) if group.alone is None else 1
        found += [(kriging, group.alone is None, size) for kriging in own]
    return found


@dataclass(frozen=True)
class _Band:
    """What simulates one band.

    Parameters
    ----------
    together : bands, of those completed, that a pixel must be observed in to count as observed.
    simulator : of its kriging.
    corrected : whether a network corrects that kriging.
    """

    together: tuple[int, ...]
    simulator: Simulator
    corrected: bool

    @property
    def nugget(self) -> float:
        """Variance of the observable that the latent field has not."""
        return self.simulator.kriging.solver.covariance.nugget


@dataclass(frozen=True)
class _Kriged:
    """Realisations of kriging, or of the network that corrects it."""

    method: Kriging | Flagship
    bands: tuple[_Band, ...]

    @property
    def simulators(self) -> tuple[Simulator, ...]:
        return tuple(band.simulator for band in self.bands)

    def draw(self, numbers: range) -> Drawn:
        return partial(self._realise, [simulator.draw(numbers) for simulator in self.simulators])

    def error_variances(self, values: Values, window: Window) -> Values | None:
        return self.method.error_variances(values, window)

    def _realise(self, draws: Sequence[Draw], given: Given) -> Values:
        method, place = self.method, given.place
        wanted = Pixels(place.wanted.row, place.wanted.col, *place.wanted.shape)
        drift = None
        if isinstance(method, Kriging) and method.trend is not None:
            drift = method.trend.window(place.given)
        done, out = None, []
        for index, (band, draw) in enumerate(zip(self.bands, draws, strict=True)):
            seen = np.isfinite(given.values[list(band.together)]).all(0)
            known = np.where(seen, given.values[index], np.float32(np.nan))
            off = None if given.errors is None else given.errors[index]
            found = draw.condition(Block(place.given.row, place.given.col, known, drift, off), wanted)
            if not band.corrected:
                out.append(found.values)
                continue
            done = done or method.complete(given.values, given.spacing, place)
            assert done.variance is not None
            deviation = np.sqrt(found.variance + (0 if draw.simulator.noise else band.nugget))
            factor = np.sqrt(np.maximum(done.variance[index], 0)) / np.where(deviation > 0, deviation, 1)
            out.append(done.mean[index] + factor * (found.values - found.mean))
        return np.stack(out, 1).astype(np.float32)


@dataclass(frozen=True)
class _Trended:
    """Realisations of a regression: of its coefficients, and of what the trend leaves."""

    method: Regression
    rest: Source
    drawing: Drawing

    @property
    def simulators(self) -> tuple[Simulator, ...]:
        return self.rest.simulators

    def draw(self, numbers: range) -> Drawn:
        return partial(self._realise, self.rest.draw(numbers), self._off(numbers))

    def error_variances(self, values: Values, window: Window) -> Values | None:
        return self.rest.error_variances(values, window)

    def _off(self, numbers: range) -> NDArray[np.float64]:
        """Return how far the coefficients of each realisation are off, (R, band, q)."""
        trends = self.method.trends
        out = np.empty((len(numbers), len(trends), len(self.method.covariates.labels)))
        for i, number in enumerate(numbers):
            for index, (band, trend) in enumerate(zip(self.drawing.numbers, trends, strict=True)):
                rng = np.random.default_rng([self.drawing.seed, _SLOPES, band, number])
                nothing = np.zeros(len(trend.slopes))
                out[i, index] = rng.multivariate_normal(nothing, trend.variance, method="eigh")
        return out

    def _realise(self, rest: Drawn, off: NDArray[np.float64], given: Given) -> Values:
        covariates = self.method.covariates.window(given.place.given)
        left = self.method.rest(given.values, covariates)
        values = rest(Given(left, given.errors, given.spacing, given.place))
        here = covariates[:, *given.place.inside]
        for index, trend in enumerate(self.method.trends):
            away = here - trend.centre[:, None, None]
            values[:, index] += trend.at(here) + np.tensordot(off[:, index], away, 1)
        return values


@dataclass(frozen=True)
class _Either:
    """Realisations with covariates where all of them are known, and without elsewhere."""

    method: Covaried
    informed: Source
    plain: Source

    @property
    def simulators(self) -> tuple[Simulator, ...]:
        return self.informed.simulators + self.plain.simulators

    def draw(self, numbers: range) -> Drawn:
        return partial(self._realise, self.informed.draw(numbers), self.plain.draw(numbers))

    def error_variances(self, values: Values, window: Window) -> Values | None:
        return self.plain.error_variances(values, window)

    def _realise(self, informed: Drawn, plain: Drawn, given: Given) -> Values:
        known = self.method.known(given.place.given)
        here = known[given.place.inside]
        if not here.any():
            return plain(given)
        seen = np.where(known, given.values, np.float32(np.nan))
        told = informed(Given(seen, given.errors, given.spacing, given.place))
        return told if here.all() else np.where(here, told, plain(given))
