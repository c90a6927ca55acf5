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
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geonp.errors import UsageError
from geonp.kriging.conditioning import Array, Index
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.minimise import minimise

FITTED = ("exponential", "matern12", "matern32", "matern52", "gaussian", "spherical")
"""Families whose likelihood has a gradient here."""

LEAST_NUGGET = 1e-6
"""Smallest nugget, as a fraction of the first sill; it keeps every factorisation safe in double precision."""

_MOST_NUGGET = 1e3
_LEAST_WEIGHT, _MOST_WEIGHT = 1e-3, 1e4
_MOST_STRETCH = 2.5
_NOWHERE = 1e15
_CACHED = 100_000
_LEAST_SQUARE = 1e-200
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
class Parameters:
    """A point in the space that is searched.

    Parameters
    ----------
    families : one a structure.
    ranges : (S,) geometric means of the ranges along and across.
    weights : (S,) sills relative to the first structure's.
    nugget : relative to the first structure's sill.
    bend : (2,) anisotropy: -log(ratio) times (cos 2 phi, sin 2 phi), phi the direction of the minor axis.
    """

    families: tuple[str, ...]
    ranges: Array
    weights: Array
    nugget: float
    bend: Array


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The likelihood at one point.

    Parameters
    ----------
    value : negative log likelihood; infinite where a covariance matrix could not be factorised.
    sill : of the first structure, profiled out.
    trend : (P,) coefficients, profiled out.
    gradient : (2 S + 3,) by the logarithms of ranges, weights and nugget, then by the bends.
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
    """

    covariance: Covariance
    log_likelihood: float
    parameters: int
    trend: Array
    at_bound: tuple[str, ...]


class VecchiaLikelihood:
    """The likelihood of one set of observations, prepared for many covariances.

    Parameters
    ----------
    points : (N, 2) coordinates (y, x), or (N, 3) positions on the sphere (isotropic only).
    values : (N,).
    trend : (N, P) columns of the mean; a column of ones is ordinary kriging's constant.
    sets : arrays (n, m + 1) of indices, as from `conditioning_sets`; each may have an m of its own.
    metric : the metric of the covariances that are made.
    """

    def __init__(
        self, points: Array, values: Array, trend: Array, sets: Sequence[Index], metric: str = "euclidean"
    ) -> None:
        self._blocks: list[tuple[Tensor, Tensor]] = []
        for group in sets:
            step = max(1, _CACHED // group.shape[1] ** 2)
            for start in range(0, len(group), step):
                self._blocks.append(_block(points, values, trend, group[start : start + step]))
        self._terms = sum(len(group) for group in sets)
        self._columns = trend.shape[1]
        self._forms = 3 if points.shape[1] == 2 else 1
        self.metric = metric

    @property
    def terms(self) -> int:
        """Factors n in the product."""
        return self._terms

    def log_likelihood(self, covariance: Covariance) -> float:
        """Return the log likelihood of a covariance whose structures share an anisotropy."""
        at = _parameters(tuple(s.family for s in covariance.structures), _pack(covariance))
        here = self.evaluate(at, gradient=False)
        ratio = here.sill / covariance.structures[0].sill
        return -here.value - 0.5 * self._terms * (ratio - 1 - math.log(ratio))

    def _metric_form(self, bend: Array) -> tuple[Tensor, Tensor]:
        """Return the quadratic form of the squared distance, and its derivatives by the two bends, (2, 3)."""
        if self._forms == 1:
            return torch.ones(1, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64)
        a, b = float(bend[0]), float(bend[1])
        s = math.hypot(a, b)
        c = math.cosh(s)
        sh, curl = (math.sinh(s) / s, (c - math.sinh(s) / s) / s**2) if s > 1e-4 else (1 + s * s / 6, 1 / 3)
        form = torch.tensor([c + sh * a, sh * b, c - sh * a], dtype=torch.float64)
        slopes = [
            [sh * a + curl * a * a + sh, curl * a * b, sh * a - curl * a * a - sh],
            [sh * b + curl * a * b, curl * b * b + sh, sh * b - curl * a * b],
        ]
        return form, torch.tensor(slopes, dtype=torch.float64)

    def evaluate(self, at: Parameters, gradient: bool = True) -> Evaluation:
        """Return the negative log likelihood at `at`, with sill and trend profiled out, and its gradient."""
        families, ranges, weights = at.families, at.ranges, at.weights
        n, count = self._terms, len(families)
        nothing = np.zeros(2 * count + 3)
        form, slopes = self._metric_form(at.bend)
        done = []
        for squares, data in self._blocks:
            k = data.shape[1]
            parts = [
                _correlation(f, form / r**2, squares, gradient) for f, r in zip(families, ranges, strict=True)
            ]
            kernel = parts[0][0] * weights[0]
            for (rho, _), weight in zip(parts[1:], weights[1:], strict=True):
                kernel.add_(rho, alpha=weight)
            matrix = kernel.view(-1, k, k)
            matrix.diagonal(dim1=1, dim2=2).add_(at.nugget)
            factor, failed = torch.linalg.cholesky_ex(matrix)
            if bool(failed.any()):
                return Evaluation(math.inf, math.nan, np.zeros(self._columns), nothing)
            done.append((parts, factor, torch.linalg.solve_triangular(factor, data, upper=False)))
        last = torch.cat([white[:, -1] for _, _, white in done])
        beta = torch.linalg.lstsq(last[:, 1:], last[:, :1], driver="gelsd").solution[:, 0]
        residual = last[:, 0] - last[:, 1:] @ beta
        sill = float(residual.square().mean())
        deviation = torch.cat([factor[:, -1, -1] for _, factor, _ in done])
        if not sill > 0:
            return Evaluation(math.inf, sill, beta.numpy(), nothing)
        value = 0.5 * n * (math.log(2 * math.pi * sill) + 1) + float(deviation.log().sum())
        out = nothing
        if not gradient:
            return Evaluation(value, sill, beta.numpy(), out)
        by_variance = (1 - residual.square() / sill) / (2 * deviation.square())
        by_error = residual / (deviation * sill)
        start = 0
        for (squares, data), (parts, factor, white) in zip(self._blocks, done, strict=True):
            k = data.shape[1]
            rows = slice(start, start + len(factor))
            start = rows.stop
            # With g the prediction-error filter and h = (K_nn^-1 y_n, 0): d(s^2) = g' dK g, dr = -h' dK g.
            back = torch.zeros(len(factor), k, 2, dtype=torch.float64)
            back[:, -1, 0] = deviation[rows]
            back[:, :-1, 1] = white[:, :-1, 0] - white[:, :-1, 1:] @ beta
            g, h = torch.linalg.solve_triangular(factor.mT, back, upper=True).unbind(-1)
            left = by_variance[rows, None] * g - by_error[rows, None] * h
            adjoint = (left[:, :, None] * g[:, None, :]).view(-1)
            for i, (rho, slope) in enumerate(parts):
                pull = torch.mv(squares, slope * adjoint) * (weights[i] / ranges[i] ** 2)
                out[i] -= 2 * float(pull @ form)
                out[count + i] += weights[i] * float(rho @ adjoint)
                out[2 * count + 1 :] += (slopes @ pull).numpy()
            out[2 * count] += at.nugget * float((left * g).sum())
        return Evaluation(value, sill, beta.numpy(), out)

    def maximise(
        self, shape: Shape, start: Covariance, span: tuple[float, float], rounds: int = 40
    ) -> Maximum:
        """Return the covariance of `shape` that maximises the likelihood.

        Parameters
        ----------
        shape : what is searched.
        start : where to begin; as many structures as `shape` has families, of one anisotropy.
        span : smallest and largest range to consider.
        rounds : most steps of the quasi-Newton search.
        """
        count = len(shape.families)
        begin = _pack(start)
        low = np.full(2 * count + 3, math.log(span[0]))
        high = np.full(2 * count + 3, math.log(span[1]))
        low[count : 2 * count], high[count : 2 * count] = math.log(_LEAST_WEIGHT), math.log(_MOST_WEIGHT)
        low[2 * count], high[2 * count] = math.log(LEAST_NUGGET), math.log(_MOST_NUGGET)
        low[2 * count + 1 :], high[2 * count + 1 :] = -_MOST_STRETCH, _MOST_STRETCH
        ranges = [r is None for r in shape.ranges] or [True] * count
        free = np.array([*ranges, False, *[True] * count, shape.anisotropic, shape.anisotropic])
        for i, fixed in enumerate(shape.ranges):
            begin[i] = begin[i] if fixed is None else math.log(fixed)
        begin[free] = np.clip(begin[free], low[free], high[free])

        def at(x: Array) -> Parameters:
            full = begin.copy()
            full[free] = x
            return _parameters(shape.families, full)

        def objective(x: Array) -> tuple[float, Array]:
            here = self.evaluate(at(x))
            return here.value / self._terms, here.gradient[free] / self._terms

        # A hundredth of a unit in a thousand terms: far below what a sample of them can tell.
        found = minimise(objective, begin[free], low[free], high[free], rounds=rounds, tolerance=_TOLERANCE)
        best = at(found)
        here = self.evaluate(best, gradient=False)
        names = np.array([*["range"] * count, *["weight"] * count, "nugget", *["anisotropy"] * 2])[free]
        edge = (found - low[free] < 1e-3) | (high[free] - found < 1e-3)
        return Maximum(
            _unpack(best, here.sill, self.metric),
            -here.value,
            int(free.sum()) + 1 + self._columns,
            here.trend,
            tuple(dict.fromkeys(names[edge].tolist())),
        )


def _block(points: Array, values: Array, trend: Array, sets: Index) -> tuple[Tensor, Tensor]:
    """Return squared differences (3 or 1, n k k) and data (n, k, 1 + P) of some sets."""
    missing = sets < 0
    local = points[sets]
    # A missing neighbour lies nowhere: correlated with nothing, it says nothing.
    local = local + np.where(missing, _NOWHERE * (1.0 + np.arange(sets.shape[1])), 0.0)[..., None]
    difference = local[:, :, None, :] - local[:, None, :, :]
    if points.shape[1] == 2:
        dy, dx = difference[..., 0], difference[..., 1]
        squares = np.stack([dx * dx, 2 * dx * dy, dy * dy], -1)
    else:
        squares = (difference**2).sum(-1, keepdims=True)
    data = np.concatenate([values[sets][..., None], trend[sets]], -1) * ~missing[..., None]
    flat = np.ascontiguousarray(squares.reshape(-1, squares.shape[-1]).T)
    return torch.as_tensor(flat), torch.as_tensor(data)


def _parameters(families: tuple[str, ...], packed: Array) -> Parameters:
    count = len(families)
    size = np.exp(packed[: 2 * count + 1])
    return Parameters(families, size[:count], size[count:-1], float(size[-1]), packed[-2:])


def _pack(covariance: Covariance) -> Array:
    """Return log ranges, log weights, log nugget and bends; structures share the first's anisotropy."""
    first = covariance.structures[0]
    turn = math.radians(2 * (first.angle + 90))
    stretch = -math.log(first.ratio)
    return np.array(
        [
            *(math.log(s.range * math.sqrt(s.ratio)) for s in covariance.structures),
            *(math.log(s.sill / first.sill) for s in covariance.structures),
            math.log(max(covariance.nugget / first.sill, LEAST_NUGGET)),
            stretch * math.cos(turn),
            stretch * math.sin(turn),
        ]
    )


def _unpack(at: Parameters, sill: float, metric: str) -> Covariance:
    s = float(np.hypot(*at.bend))
    angle = (math.degrees(math.atan2(at.bend[1], at.bend[0])) / 2 + 90) % 180 if s > 0 else 0.0
    structures = tuple(
        Structure(
            family, float(sill * weight), float(reach * math.exp(s / 2)), angle=angle, ratio=math.exp(-s)
        )
        for family, reach, weight in zip(at.families, at.ranges, at.weights, strict=True)
    )
    return Covariance(structures, sill * at.nugget, metric)


def _correlation(family: str, form: Tensor, squares: Tensor, slope: bool) -> tuple[Tensor, Tensor]:
    """Return correlations, and their derivatives by the squared distance in ranges, form @ squares.

    Without `slope` the second is anything. Every pass over memory counts: constants ride along in `form`.
    """
    if family == "gaussian":
        rho = torch.mv(squares.T, form * -0.5).exp_()
        return rho, rho * -0.5 if slope else rho
    if family == "spherical":
        h = torch.mv(squares.T, form).clamp_(_LEAST_SQUARE, 1.0).sqrt_()
        rho = 1 - 1.5 * h + 0.5 * h**3
        return rho, 0.75 * (h - 1 / h) if slope else rho
    nu = {"matern32": 1.5, "matern52": 2.5}.get(family, 0.5)
    t = torch.mv(squares.T, form * (2 * nu))
    if nu == 0.5:
        rho = t.clamp_(min=_LEAST_SQUARE).sqrt_().neg().exp_()
        return rho, torch.div(rho, t, out=t).mul_(-0.5) if slope else rho
    decay = t.sqrt_().neg().exp_()
    if nu == 1.5:
        return torch.addcmul(decay, decay, t, out=t), decay.mul_(-1.5) if slope else decay
    linear = torch.addcmul(decay, decay, t)
    return torch.addcmul(linear, decay, t.square_(), value=1 / 3), linear.mul_(-5 / 6) if slope else linear
