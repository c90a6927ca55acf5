"""The covariances that are considered for a set of observations, and how their parameters are found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from geonp.errors import UsageError
from geonp.kriging.conditioning import Array, Index, conditioning_sets
from geonp.kriging.correlation import FITTED, SHAPED
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.likelihood import Maximum, Shape, VecchiaLikelihood
from geonp.kriging.sample import FEWEST, Sample
from geonp.kriging.terms import Parameters
from geonp.kriging.threads import at_once
from geonp.kriging.variogram import empirical_variogram, fit_variogram

Job = TypeVar("Job")
Result = TypeVar("Result")
Origin = Literal["likelihood", "gap likelihood", "fixed range", "variogram", "fallback"]

FAMILIES = ("exponential", "matern32", "matern52")
"""Families tried by default."""

FARTHEST = 20
"""Largest range that is considered, in extents of the data."""

_NESTED = (("matern32", "matern32"), ("matern32", "exponential"))
_NESTED_FROM, _ANISOTROPIC_FROM = 100, 40
_STRETCH_GAIN = 4.0
"""Log likelihood that an anisotropy must gain: 1.8 % of isotropic samples gain as much by chance."""
_LEAST_SHARE = 0.01
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
    stretch : direction of the longest range (degrees counter-clockwise from +x) and shortest over longest
        range, held fixed; None where they are searched.

    Notes
    -----
    Of the families "matern" and "power" nu and the exponent are searched as well.
    """

    families: tuple[str, ...] = FAMILIES
    nested: bool = True
    anisotropic: bool = True
    terms: int = 1500
    stretch: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.families or any(f not in FITTED for f in self.families):
            raise UsageError(f"families must be some of {', '.join(FITTED)}, got {self.families!r}")
        if self.terms < FEWEST:
            raise UsageError(f"terms must be at least {FEWEST}, got {self.terms}")
        if self.stretch is not None:
            # Says what is wrong with an angle or a ratio.
            Structure("exponential", 1.0, 1.0, angle=self.stretch[0], ratio=self.stretch[1])


@dataclass(frozen=True, slots=True)
class Found:
    """A covariance of the standardised values, and how it was found.

    Parameters
    ----------
    covariance : of the standardised values.
    origin : how its parameters were found.
    parameters : number of parameters that were fitted, trend included.
    trend : coefficients of the standardised columns.
    log_likelihood : of the search's own terms, where it was maximised; None where it was found otherwise.
    """

    covariance: Covariance
    origin: Origin
    parameters: int
    trend: Array
    log_likelihood: float | None = None

    @classmethod
    def of(cls, maximum: Maximum, origin: Origin) -> Found:
        """Return a maximum as a candidate."""
        shaped = sum(s.family in SHAPED for s in maximum.covariance.structures)
        known = None if origin == "gap likelihood" else maximum.log_likelihood
        return cls(maximum.covariance, origin, maximum.parameters + shaped, maximum.trend, known)

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
    workers : searches that run at once; what they find does not depend on it.
    anisotropic : whether candidates have an anisotropy.
    """

    sample: Sample
    settings: Settings
    usual: float
    sets: Index
    likelihood: VecchiaLikelihood
    quick: VecchiaLikelihood
    workers: int
    anisotropic: bool = False

    @classmethod
    def of(
        cls, sample: Sample, settings: Settings, usual: float, generator: np.random.Generator, workers: int
    ) -> Search:
        """Prepare the likelihood."""
        sets = conditioning_sets(sample.points, _NEIGHBOURS, settings.terms, generator)
        few = sets[:: max(1, round(len(sets) / _QUICK_TERMS))]
        few = few[:, [*range(min(_QUICK_NEIGHBOURS, few.shape[1] - 1)), -1]]
        data = (sample.points, sample.values, sample.columns)
        likelihood, quick = (VecchiaLikelihood(*data, [s], sample.metric, sample.errors) for s in (sets, few))
        return cls(sample, settings, usual, sets, likelihood, quick, workers)

    @property
    def span(self) -> tuple[float, float]:
        """Smallest and largest range to consider."""
        return 0.3 * self.usual, FARTHEST * self.sample.extent

    def by_likelihood(self) -> tuple[Search, list[Found]]:
        """Return the most likely covariance of every family and of the nested sums.

        All have an anisotropy if the best family is clearly more likely with one; the search that is returned
        with them goes on accordingly.
        """
        families = self.settings.families
        near = self._of_each(families, self._near)
        likely = self._of_each(families, lambda f: self.likelihood.log_likelihood(near[f].covariance))
        top = max(likely, key=lambda f: likely[f])
        others = [f for f in families if f != top]
        best, search = {top: self._refined((top,), near[top], workers=self.workers)}, self
        if self._may_stretch:
            turned = replace(self, anisotropic=True)
            stretched = turned.likelihood.maximise(
                Shape((top,), True), best[top].covariance, self.span, workers=self.workers
            )
            if stretched.log_likelihood - best[top].log_likelihood > _STRETCH_GAIN:
                best, search = {top: stretched}, turned
                like = stretched.covariance.structures[0]
                near |= self._of_each(
                    others, lambda f: turned._quickly((f,), _turned(near[f].covariance, like))
                )
        best |= self._of_each(others, lambda f: search._refined((f,), near[f]))
        found = [Found.of(best[f], "likelihood") for f in self.settings.families]
        plain = [m for f, m in best.items() if f not in SHAPED]
        if self.settings.nested and len(self.sample.values) >= _NESTED_FROM and plain:
            short = best.get("matern32") or max(plain, key=lambda m: m.log_likelihood)
            nested = self.each(lambda f: search._maximum(f, self._split(short.covariance, f)), _NESTED)
            found += [Found.of(m, "likelihood") for m in nested if not self._degenerate(m.covariance)]
        return search, found

    def each(self, work: Callable[[Job], Result], jobs: Iterable[Job]) -> list[Result]:
        """Return the result of every job, in order; so many at once as there are workers."""
        return list(at_once(work, jobs, self.workers))

    def log_likelihood(self, found: Found) -> float:
        """Return the log likelihood of the search's own terms at a candidate."""
        if found.log_likelihood is not None:
            return found.log_likelihood
        return self.likelihood.log_likelihood(found.covariance)

    @property
    def of_noise(self) -> float:
        """Log likelihood of independent values about the trend."""
        one = np.ones(1)
        noise = Parameters(
            ("exponential",), self.usual * one, one, 1e9, np.zeros(2), 1e-9 * self.sample.signal
        )
        return -self.likelihood.evaluate(noise, gradient=False).value

    @property
    def _may_stretch(self) -> bool:
        s = self.sample
        enough = len(s.values) >= _ANISOTROPIC_FROM and s.metric == "euclidean"
        free = self.settings.anisotropic and self.settings.stretch is None
        return free and enough and not s.flat

    def of_longer_range(self, gap: float, known: Sequence[Found]) -> list[Found]:
        """Return exponentials whose range is several times the widest gaps, and one from the variogram."""
        single = next((f for f in known if f.families == ("exponential",)), known[0])
        s = single.covariance.structures[0]
        structure = Structure("exponential", 1.0, s.range, angle=s.angle, ratio=s.ratio)
        start = Covariance((structure,), 1e-3, self.sample.metric)
        other = [r for r in (4 * gap, 16 * gap) if max(r / s.range, s.range / r) > 1.5]
        fixed = self.each(lambda reach: self._maximum(("exponential",), start, (reach,)), other)
        found = [Found.of(m, "fixed range") for m in fixed]
        residual = self.sample.values - self.sample.columns @ single.trend
        empirical = empirical_variogram(
            self.sample.coords, residual, seed=0, metric=self.sample.metric, sample=1000
        )
        if len(empirical.lag) >= 3 and (empirical.semivariance > 0).any():
            fitted = fit_variogram(empirical, "exponential")
            if self.settings.stretch is not None:
                fitted = _turned(fitted, s)
            found.append(Found(fitted, "variogram", 3 + self.sample.columns.shape[1], single.trend))
        return found

    def for_gaps(self, found: Found, sets: Index) -> Found:
        """Return `found` fitted once more, to its likelihood and to that of hidden observations together."""
        s = self.sample
        both = VecchiaLikelihood(s.points, s.values, s.columns, [self.sets, sets], s.metric, s.errors)
        shape = self._shape(found.families, found.covariance, ())
        return Found.of(both.maximise(shape, found.covariance, self.span), "gap likelihood")

    def _of_each(self, families: Sequence[str], work: Callable[[str], Result]) -> dict[str, Result]:
        return dict(zip(families, self.each(work, families), strict=True))

    def _near(self, family: str) -> Maximum:
        """Return the quick likelihood's maximum for one family; nu or exponent by a parabola through three."""
        if family not in SHAPED:
            return self._quickly((family,), self._start(family))
        tried = {shape: self._quickly((family,), self._start(family, shape)) for shape in SHAPED[family]}
        at = sorted(tried)
        middle = max(range(len(at)), key=lambda i: tried[at[i]].log_likelihood)
        if 0 < middle < len(at) - 1:
            around = np.array(at[middle - 1 : middle + 2])
            heights = [tried[shape].log_likelihood for shape in around.tolist()]
            curve = np.polyfit(np.log(around), heights, 2)
            best = float(np.exp(np.clip(-curve[1] / (2 * curve[0]), *np.log(around[[0, 2]]))))
            tried[best] = self._quickly((family,), self._start(family, best))
        return max(tried.values(), key=lambda m: m.log_likelihood)

    def _start(self, family: str, shape: float | None = None) -> Covariance:
        """Return the best of a coarse grid of ranges and nuggets."""
        s = self.sample
        ranges = np.geomspace(2 * self.usual, max(2 * s.extent, 4 * self.usual), 6).tolist()
        like = family
        if family == "power":
            ranges = [4 * s.extent]
        elif family == "matern":
            like = "matern32"  # far cheaper, and its ranges are much the same
        angle, ratio = self.settings.stretch or (0.0, 1.0)

        def model(name: str, reach: float, nugget: float) -> Covariance:
            nu, exponent = (shape if name == which else None for which in ("matern", "power"))
            unit = Structure(name, 1.0, reach * ratio**-0.5, nu, angle, ratio, exponent)
            sill = s.signal / (1 + nugget)
            return Covariance((replace(unit, sill=sill / unit.variance),), nugget * sill, s.metric)

        grid = [model(like, r, g) for r in ranges for g in (1e-5, 1e-3, 3e-2, 1.0)]
        best = max(grid, key=self.quick.profile)
        return model(family, best.structures[0].range * ratio**0.5, best.nugget / best.sill)

    def _degenerate(self, covariance: Covariance) -> bool:
        """Return whether a structure of a nested sum adds nothing to the variogram that others do not."""
        lag = np.geomspace(self.usual, self.sample.extent, 16)
        gamma = [
            replace(covariance, structures=(s,), nugget=0.0).variogram(lag) for s in covariance.structures
        ]
        total = covariance.variogram(lag)
        return any(float((part / total).max()) < _LEAST_SHARE for part in gamma)

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
        return self._refined(families, self._quickly(families, start, ranges), ranges)

    def _quickly(
        self, families: tuple[str, ...], start: Covariance, ranges: tuple[float | None, ...] = ()
    ) -> Maximum:
        return self.quick.maximise(self._shape(families, start, ranges), start, self.span)

    def _refined(
        self,
        families: tuple[str, ...],
        near: Maximum,
        ranges: tuple[float | None, ...] = (),
        workers: int = 1,
    ) -> Maximum:
        shape = self._shape(families, near.covariance, ranges)
        return self.likelihood.maximise(
            shape, near.covariance, self.span, inverse=near.inverse, workers=workers
        )

    def _shape(self, families: tuple[str, ...], start: Covariance, ranges: tuple[float | None, ...]) -> Shape:
        if not ranges and "power" in families:
            ranges = tuple(s.range * s.ratio**0.5 if s.family == "power" else None for s in start.structures)
        return Shape(families, self.anisotropic, ranges)


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
