r"""Vecchia likelihood of a covariance, its exact gradient, and its maximum.

The density of N observations is a product of conditional densities; each is approximated by conditioning on
the m nearest among those that come before it in a random order (Vecchia 1988, JRSS B 50(2); Guinness 2018,
Technometrics 60(4)). Early observations are far apart, so long distances are heard too. Where N is large a
random sample of the N factors is taken: every factor keeps neighbours of the full density, which a sample of
the observations would not.

The mean (by generalised least squares) and the sill are profiled out; what is searched are the ranges, the
nugget and the weights of nested structures relative to the first, and a geometric anisotropy, which is
written as the exponential of a symmetric matrix without trace so that nothing is singular at isotropy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from geonp.errors import UsageError
from geonp.kriging.conditioning import Array, Index
from geonp.kriging.correlation import FITTED
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.minimise import minimise
from geonp.kriging.terms import Parameters, Terms
from geonp.kriging.threads import at_once
from geonp.kriging.triangles import Triangles, spread

LEAST_NUGGET = 1e-6
"""Smallest nugget, as a fraction of the first sill; it keeps every factorisation safe in double precision."""

_MOST_NUGGET = 1e3
_LEAST_WEIGHT, _MOST_WEIGHT = 1e-3, 1e4
_MOST_STRETCH = 2.5
_MOST_SILL = 1e5
_CACHED = 60_000
_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Shape:
    """Which parameters of a covariance are searched.

    Parameters
    ----------
    families : one name of `FITTED` for every structure.
    anisotropic : whether all structures share a geometric anisotropy (else they have none).
    ranges : per structure a fixed range, or None to search it; empty to search all.
    """

    families: tuple[str, ...]
    anisotropic: bool = False
    ranges: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        for family in self.families:
            if family not in FITTED:
                raise UsageError(f"{family!r} cannot be fitted by likelihood; {', '.join(FITTED)} can")
        if self.ranges and len(self.ranges) != len(self.families):
            raise UsageError(f"{len(self.families)} families need as many ranges, got {len(self.ranges)}")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The likelihood at one point.

    Parameters
    ----------
    value : negative log likelihood; infinite where a covariance matrix could not be factorised.
    sill : of the first structure: profiled out, or as given.
    trend : (P,) coefficients, profiled out.
    gradient : (2 S + 4,) by the logarithms of ranges, weights and nugget, by the bends, by the logarithm of a
        sill that is not profiled out.
    """

    value: float
    sill: float
    trend: Array
    gradient: Array


@dataclass(frozen=True, slots=True)
class Maximum:
    """Where a likelihood is largest.

    Parameters
    ----------
    covariance : with the sill that maximises it.
    log_likelihood : of the terms used (natural logarithm).
    parameters : number of parameters searched, the sill and the trend included.
    trend : coefficients of the trend's columns, by generalised least squares.
    at_bound : names of parameters that ended at a bound of the search.
    inverse : (free, free) inverse Hessian by the parameters searched, of the value per term; None if unknown.
    """

    covariance: Covariance
    log_likelihood: float
    parameters: int
    trend: Array
    at_bound: tuple[str, ...]
    inverse: Array | None = None


class VecchiaLikelihood:
    """The likelihood of one set of observations, prepared for many covariances.

    Parameters
    ----------
    points : (N, 2) coordinates (y, x), or (N, 3) positions on the sphere (isotropic only).
    values : (N,).
    trend : (N, P) columns of the mean; a column of ones is ordinary kriging's constant.
    sets : arrays (n, m + 1) of indices, as from `conditioning_sets`; each may have an m of its own.
    metric : the metric of the covariances that are made.
    errors : (N,) error variance of each observation beside the nugget; None where there is none.
    """

    def __init__(
        self,
        points: Array,
        values: Array,
        trend: Array,
        sets: Sequence[Index],
        metric: str = "euclidean",
        errors: Array | None = None,
    ) -> None:
        self._blocks: list[Triangles] = []
        for group in sets:
            step = max(1, 2 * _CACHED // group.shape[1] ** 2)
            places = None
            for start in range(0, len(group), step):
                some = group[start : start + step]
                places = spread(len(some), group.shape[1]) if places is None else places
                self._blocks.append(Triangles.of(points, values, trend, errors, some, places))
        self._terms = sum(len(group) for group in sets)
        self._columns = trend.shape[1]
        self._forms = 3 if points.shape[1] == 2 else 1
        self._noisy = errors is not None
        self.metric = metric

    @property
    def terms(self) -> int:
        """Factors n in the product."""
        return self._terms

    def log_likelihood(self, covariance: Covariance) -> float:
        """Return the log likelihood of a covariance whose structures share an anisotropy."""
        at = _parameters(_families(covariance), _shapes(covariance), _pack(covariance))
        here = self.evaluate(at, gradient=False)
        if self._noisy:
            return -here.value
        ratio = here.sill / at.sill
        return -here.value - 0.5 * self._terms * (ratio - 1 - math.log(ratio))

    def profile(self, covariance: Covariance) -> float:
        """Return the log likelihood at a covariance's shape, its sill replaced by the most likely one.

        Where observations have error variances of their own, the sill is taken as it is.
        """
        at = _parameters(_families(covariance), _shapes(covariance), _pack(covariance))
        return -self.evaluate(at, gradient=False).value

    def _metric_form(self, bend: Array) -> tuple[Array, Array]:
        """Return the quadratic form of the squared distance, and its derivatives by the two bends, (2, 3)."""
        if self._forms == 1:
            return np.ones(1), np.zeros((2, 1))
        a, b = float(bend[0]), float(bend[1])
        s = math.hypot(a, b)
        c = math.cosh(s)
        sh, curl = (math.sinh(s) / s, (c - math.sinh(s) / s) / s**2) if s > 1e-4 else (1 + s * s / 6, 1 / 3)
        form = np.array([c + sh * a, sh * b, c - sh * a])
        slopes = [
            [sh * a + curl * a * a + sh, curl * a * b, sh * a - curl * a * a - sh],
            [sh * b + curl * a * b, curl * b * b + sh, sh * b - curl * a * b],
        ]
        return form, np.array(slopes)

    def evaluate(self, at: Parameters, gradient: bool = True, workers: int = 1) -> Evaluation:
        """Return the negative log likelihood at `at`, with the trend profiled out, and its gradient.

        The sill is profiled out too unless there are error variances, which do not grow with it.

        Parameters
        ----------
        at : where.
        gradient : whether it is wanted.
        workers : threads that share the terms; to be used within `geonp.kriging.threads.one_thread`.
        """
        n = self._terms
        nothing = np.zeros(2 * len(at.families) + 4)
        form, slopes = self._metric_form(at.bend)
        done = list(at_once(lambda block: Terms.of(block, at, form, gradient), self._blocks, workers))
        terms = [part for part in done if part is not None]
        if len(terms) < len(done):
            return Evaluation(math.inf, math.nan, np.zeros(self._columns), nothing)
        predictions = [part.prediction for part in terms]
        deviation = np.concatenate([p.deviation for p in predictions])
        last = np.concatenate([p.error for p in predictions]) / deviation[:, None]
        beta = np.linalg.lstsq(last[:, 1:], last[:, 0])[0]
        residual = last[:, 0] - last[:, 1:] @ beta
        square = float(residual @ residual)
        sill = at.sill if self._noisy else square / n
        if not sill > 0:
            return Evaluation(math.inf, sill, beta, nothing)
        value = 0.5 * (n * math.log(2 * math.pi * sill) + square / sill) + float(np.log(deviation).sum())
        if not gradient:
            return Evaluation(value, sill, beta, nothing)
        by_variance = (1 - residual**2 / sill) / (2 * deviation**2)
        by_error = residual / (deviation * sill)
        ends = np.cumsum([len(p.deviation) for p in predictions])

        def pull(number: int) -> Array:
            rows = slice(ends[number - 1] if number else 0, ends[number])
            return terms[number].gradient(slopes, by_variance[rows], by_error[rows], beta)

        out = sum(at_once(pull, range(len(terms)), workers), nothing)
        out[-1] += 0.5 * (n - square / sill)
        return Evaluation(value, sill, beta, out)

    def maximise(
        self,
        shape: Shape,
        start: Covariance,
        span: tuple[float, float],
        rounds: int = 40,
        inverse: Array | None = None,
        workers: int = 1,
    ) -> Maximum:
        """Return the covariance of `shape` that maximises the likelihood.

        Parameters
        ----------
        shape : what is searched.
        start : where to begin; as many structures as `shape` has families, of one anisotropy, which is kept
            where it is not searched, as are nu and exponent.
        span : smallest and largest range to consider.
        rounds : most steps of the quasi-Newton search.
        inverse : `Maximum.inverse` of a search of the same shape on other terms, to begin with.
        workers : see `evaluate`.
        """
        count = len(shape.families)
        begin = _pack(start)
        low, high = (np.full(2 * count + 4, math.log(bound)) for bound in span)
        low[count : 2 * count], high[count : 2 * count] = math.log(_LEAST_WEIGHT), math.log(_MOST_WEIGHT)
        low[2 * count], high[2 * count] = math.log(LEAST_NUGGET), math.log(_MOST_NUGGET)
        low[2 * count + 1 : -1], high[2 * count + 1 : -1] = -_MOST_STRETCH, _MOST_STRETCH
        low[-1], high[-1] = -math.log(_MOST_SILL), math.log(_MOST_SILL)
        ranges = [r is None for r in shape.ranges] or [True] * count
        free = np.array([*ranges, False, *[True] * count, *[shape.anisotropic] * 2, self._noisy])
        for i, fixed in enumerate(shape.ranges):
            begin[i] = begin[i] if fixed is None else math.log(fixed)
        begin[free] = np.clip(begin[free], low[free], high[free])
        known: dict[bytes, Evaluation] = {}

        def at(x: Array) -> Parameters:
            full = begin.copy()
            full[free] = x
            return _parameters(shape.families, _shapes(start), full)

        def objective(x: Array) -> tuple[float, Array]:
            here = known[x.tobytes()] = self.evaluate(at(x), workers=workers)
            return here.value / self._terms, here.gradient[free] / self._terms

        # A hundredth of a unit in a thousand terms: far below what a sample of them can tell.
        end = minimise(
            objective,
            begin[free],
            low[free],
            high[free],
            rounds=rounds,
            tolerance=_TOLERANCE,
            inverse=inverse,
        )
        here = known[end.x.tobytes()]
        names = [*["range"] * count, *["weight"] * count, "nugget", *["anisotropy"] * 2, "sill"]
        edge = (end.x - low[free] < 1e-3) | (high[free] - end.x < 1e-3)
        return Maximum(
            _unpack(at(end.x), here.sill, self.metric),
            -here.value,
            int(free.sum()) + (not self._noisy) + self._columns,
            here.trend,
            tuple(dict.fromkeys(np.array(names)[free][edge].tolist())),
            end.inverse,
        )


def _families(covariance: Covariance) -> tuple[str, ...]:
    return tuple(s.family for s in covariance.structures)


def _shapes(covariance: Covariance) -> tuple[float, ...]:
    return tuple(s.nu or s.exponent or 0.0 for s in covariance.structures)


def _parameters(families: tuple[str, ...], shapes: tuple[float, ...], packed: Array) -> Parameters:
    count = len(families)
    size = np.exp(packed[: 2 * count + 1])
    bend, sill = packed[2 * count + 1 : -1], math.exp(packed[-1])
    return Parameters(families, size[:count], size[count:-1], float(size[-1]), bend, sill, shapes)


def _pack(covariance: Covariance) -> Array:
    """Return log ranges, weights and nugget, bends and log sill; structures share the first's anisotropy."""
    first = covariance.structures[0]
    turn = math.radians(2 * (first.angle + 90))
    stretch = -math.log(first.ratio)
    return np.array(
        [
            *(math.log(s.range * math.sqrt(s.ratio)) for s in covariance.structures),
            *(math.log(s.variance / first.variance) for s in covariance.structures),
            math.log(max(covariance.nugget / first.variance, LEAST_NUGGET)),
            stretch * math.cos(turn),
            stretch * math.sin(turn),
            math.log(first.variance),
        ]
    )


def _unpack(at: Parameters, sill: float, metric: str) -> Covariance:
    s = float(np.hypot(*at.bend))
    angle = (math.degrees(math.atan2(at.bend[1], at.bend[0])) / 2 + 90) % 180 if s > 0 else 0.0
    shapes = at.shapes or (0.0,) * len(at.families)
    structures = []
    for family, shape, reach, weight in zip(at.families, shapes, at.ranges, at.weights, strict=True):
        unit = Structure(
            family,
            1.0,
            float(reach * math.exp(s / 2)),
            shape if family == "matern" else None,
            angle,
            math.exp(-s),
            shape if family == "power" else None,
        )
        structures.append(replace(unit, sill=float(sill * weight / unit.variance)))
    return Covariance(tuple(structures), sill * at.nugget, metric)
