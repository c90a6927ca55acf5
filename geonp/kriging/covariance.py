r"""Covariance functions: families, nested sums, geometric anisotropy, nugget; one scaling, stated here.

With h the distance and r the range of a structure of sill s, the covariance is s times

=============  ====================================================================================
family         correlation
=============  ====================================================================================
exponential    exp(-h/r)
matern12       the same
matern32       (1 + t) exp(-t), t = sqrt(3) h/r
matern52       (1 + t + t^2/3) exp(-t), t = sqrt(5) h/r
matern         2^(1-nu)/Gamma(nu) t^nu K_nu(t), t = sqrt(2 nu) h/r
gaussian       exp(-(h/r)^2 / 2), the limit of matern for large nu
spherical      1 - 1.5 h/r + 0.5 (h/r)^3 for h < r, else 0
power          no correlation: the variogram is s h^exponent, s a slope, 0 < exponent < 2
=============  ====================================================================================

These are the length scales of scikit-learn (Rasmussen and Williams 2006, eq. 4.14-4.17). GSTools writes
sqrt(nu) h/len (len = r / sqrt(2) for Matern) and exp(-pi/4 (h/len)^2) (len = r sqrt(pi/2)); PyKrige's
range is practical: 3 r for exponential, and r sqrt(2) 7/4 for gaussian.

A power variogram has no covariance. What is returned for it is a locally equivalent one,
s ((1 + 1/(2 - exponent)) r^exponent - h^exponent), positive definite among points that lie within r of
each other: r is the reach, the largest distance in use. Weights that sum to one (ordinary and universal
kriging) do not depend on its constant (Chiles and Delfiner 2012, section 4.6).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from geonp.errors import UsageError
from geonp.kriging.arrays import Array, namespace
from geonp.kriging.distance import on_sphere, pairwise, stretch

METRICS = ("euclidean", "great-circle")
_MAX_NU = 50.0
_TINY = 1e-12
_CACHED = 65_536
_HALF_INTEGER = {"exponential": 0.5, "matern12": 0.5, "matern32": 1.5, "matern52": 2.5}


@dataclass(frozen=True, slots=True)
class Structure:
    """One term of a covariance.

    Parameters
    ----------
    family : a name of `FAMILIES`; its formula is in the module's docstring.
    sill : variance of the term, in squared units of the data (power: slope, squared units / length^exponent).
    range : length scale along the major axis, in metres or the unit of the coordinates (power: the reach).
    nu : smoothness, for family "matern" only.
    angle : direction of the major axis, degrees counter-clockwise from +x in the plane of the coordinates.
    ratio : range across the major axis over the range along it, in (0, 1].
    exponent : for family "power" only, in (0, 2); 1 is the linear variogram.

    Raises
    ------
    UsageError
        If a parameter is outside its domain or belongs to another family.
    """

    family: str
    sill: float
    range: float
    nu: float | None = None
    angle: float = 0.0
    ratio: float = 1.0
    exponent: float | None = None

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise UsageError(f"unknown covariance family {self.family!r}; known are {', '.join(FAMILIES)}")
        for name in ("sill", "range", "angle", "ratio"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise UsageError(f"{name} of a {self.family} structure is a finite number, got {value!r}")
        if self.sill < 0:
            raise UsageError(f"the sill of a {self.family} structure cannot be negative, got {self.sill}")
        if self.range <= 0:
            raise UsageError(f"the range of a {self.family} structure must be positive, got {self.range}")
        if not 0 < self.ratio <= 1:
            raise UsageError(
                f"ratio is minor over major range, within (0, 1], got {self.ratio}; "
                "to swap the axes turn the angle by 90"
            )
        self._only("nu", "matern", _MAX_NU)
        self._only("exponent", "power", 2.0)

    def _only(self, name: str, family: str, below: float) -> None:
        value = getattr(self, name)
        if self.family != family:
            if value is not None:
                raise UsageError(f"{name} belongs to family {family}; a {self.family} structure takes none")
        elif not isinstance(value, (int, float)) or not 0 < value < below:
            raise UsageError(f"a {family} structure needs {name} between 0 and {below:g}, got {value!r}")

    @property
    def variance(self) -> float:
        """Covariance at distance zero: the sill, or the constant that stands for it (power)."""
        if self.exponent is None:
            return self.sill
        return float(self.sill * (1 + 1 / (2 - self.exponent)) * self.range**self.exponent)

    def of_distance(self, h: Array) -> Array:
        """Return the covariance at distances `h` >= 0 along the major axis, written over `h`."""
        return FAMILIES[self.family](h, self)


@dataclass(frozen=True, slots=True)
class Covariance:
    """A sum of structures and a nugget.

    Parameters
    ----------
    structures : at least one term.
    nugget : variance that no other observation shares: measurement error, and what varies below the spacing.
    metric : "euclidean", for (y, x) coordinates, or "great-circle", for (latitude, longitude) in degrees,
        where ranges are metres and distances are chords (see `geonp.kriging.distance`).

    Raises
    ------
    UsageError
        If there is no structure, the nugget is negative, the metric is unknown, or an anisotropy is asked for
        on the globe.
    """

    structures: tuple[Structure, ...]
    nugget: float
    metric: str = "euclidean"

    def __post_init__(self) -> None:
        if not self.structures:
            raise UsageError("a covariance needs at least one structure, got none")
        number = isinstance(self.nugget, (int, float)) and not isinstance(self.nugget, bool)
        if not number or not 0 <= self.nugget < math.inf:
            raise UsageError(f"the nugget must be a finite number >= 0, got {self.nugget!r}")
        if self.metric not in METRICS:
            raise UsageError(f"unknown metric {self.metric!r}; known are {', '.join(METRICS)}")
        if self.metric == "great-circle" and any(s.ratio != 1 for s in self.structures):
            raise UsageError(
                "an anisotropy has no fixed direction on the globe; use ratio 1, or project the coordinates"
            )

    def __call__(self, a: Array, b: Array) -> Array:
        """Return the covariance of the latent field between two sets of points, without the nugget.

        Parameters
        ----------
        a, b : (..., N, 2) and (..., M, 2) coordinates (y, x), or (latitude, longitude) on the globe. In
            float32, subtract a common origin first.

        Returns
        -------
        array
            (..., N, M), in the dtype and on the device of the points.
        """
        first, *others = self.structures
        shapes = {(s.angle, s.ratio) for s in self.structures}
        total = pairwise(self.embed(a, first), self.embed(b, first))
        if len(shapes) == 1:
            for h in _pieces(total):
                lags = [namespace(h).asarray(h, copy=True) for _ in others]
                first.of_distance(h)
                for s, lag in zip(others, lags, strict=True):
                    h += s.of_distance(lag)
            return total
        for h in _pieces(total):
            first.of_distance(h)
        for s in others:
            term = pairwise(self.embed(a, s), self.embed(b, s))
            for h in _pieces(term):
                s.of_distance(h)
            total += term
        return total

    def embed(self, points: Array, structure: Structure) -> Array:
        """Return coordinates whose Euclidean distance is the distance that `structure` is a function of."""
        if self.metric == "great-circle":
            return on_sphere(points)
        return stretch(points, structure.angle, structure.ratio)

    @property
    def sill(self) -> float:
        """Variance of the latent field: the covariance at distance zero."""
        return math.fsum(s.variance for s in self.structures)

    @property
    def total_sill(self) -> float:
        """Variance of an observation: `sill` plus the nugget."""
        return self.sill + self.nugget

    @property
    def bounded(self) -> bool:
        """Whether the variogram levels off; simple kriging and unconditional simulation need that it does."""
        return all(s.family != "power" for s in self.structures)

    def variogram(self, lag: Array, direction: float | None = None) -> Array:
        """Return the semivariance between two observations `lag` apart: 0 at lag 0, the nugget just beyond.

        Parameters
        ----------
        lag : distances >= 0, any shape.
        direction : degrees counter-clockwise from +x; None is along every structure's own major axis.
        """
        beyond = namespace(lag).astype(lag > 0, lag.dtype)
        gamma = beyond * self.nugget
        for s in self.structures:
            turn = math.radians(0.0 if direction is None else direction - s.angle)
            longer = math.hypot(math.cos(turn), math.sin(turn) / s.ratio)
            # Cancelled at the origin itself, where a long sum may leave a last digit.
            gamma = gamma + (s.variance - s.of_distance(lag * longer)) * beyond
        return gamma

    @property
    def effective_range(self) -> float:
        """Distance along the major axes at which the structures reach 95 % of the sill (power: the reach)."""
        reach = max(s.range for s in self.structures)
        if not self.bounded or self.sill == 0:
            return reach
        latent = dataclasses.replace(self, nugget=0.0)

        def short(h: float) -> bool:
            return float(latent.variogram(np.array([h]))[0]) < 0.95 * self.sill

        low, high = 0.0, reach
        while short(high):
            low, high = high, 2 * high
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if short(middle) else (low, middle)
        return high

    def scaled(self, variance_factor: float) -> Self:
        """Return this covariance with every variance multiplied by `variance_factor`."""
        structures = tuple(dataclasses.replace(s, sill=s.sill * variance_factor) for s in self.structures)
        return dataclasses.replace(self, structures=structures, nugget=self.nugget * variance_factor)

    def turned(self, angle: float, ratio: float) -> Self:
        """Return this covariance with every structure's major axis at `angle`, and its ranges in `ratio`."""
        structures = tuple(dataclasses.replace(s, angle=angle, ratio=ratio) for s in self.structures)
        return dataclasses.replace(self, structures=structures)

    def to_json(self) -> str:
        """Return one line of JSON from which `from_json` makes an equal covariance."""
        structures = [
            {k: v for k, v in dataclasses.asdict(s).items() if v is not None} for s in self.structures
        ]
        return json.dumps({"structures": structures, "nugget": self.nugget, "metric": self.metric})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the covariance that `text` describes.

        Raises
        ------
        UsageError
            If the text is not JSON, a key is unknown or missing, or a value is outside its domain.
        """
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(f"a covariance is JSON, but {text[:60]!r} is not: {error}") from None
        whole = _checked(raw, cls, "a covariance")
        terms = whole["structures"]
        if not isinstance(terms, list):
            raise UsageError(f"structures is a list of objects, got {terms!r}")
        whole["structures"] = tuple(Structure(**_checked(term, Structure, "a structure")) for term in terms)
        return cls(**whole)


def _checked(raw: object, kind: type[Covariance] | type[Structure], what: str) -> dict[str, Any]:
    known = [f.name for f in dataclasses.fields(kind)]
    needed = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING]
    if not isinstance(raw, dict):
        raise UsageError(f"{what} is an object with {', '.join(needed)}, got {raw!r}")
    for key in raw:
        if key not in known:
            raise UsageError(f"{what} has no {key!r}; it has {', '.join(known)}")
    missing = [name for name in needed if name not in raw]
    if missing:
        raise UsageError(f"{what} needs {', '.join(missing)}, got only {', '.join(raw) or 'nothing'}")
    return dict(raw)


def _pieces(h: Array) -> Iterable[Array]:
    """Return `h` in pieces that stay in a core's cache between passes (twice as fast); whole on a GPU."""
    if not isinstance(h, np.ndarray):
        return (h,)
    flat = h.reshape(-1)
    return (flat[start : start + _CACHED] for start in range(0, len(flat), _CACHED))


# Every family writes over the distances it is given: these few passes are the hot loop of kriging.


def _matern_half_integer(h: Array, s: Structure) -> Array:
    xp, nu = namespace(h), _HALF_INTEGER.get(s.family, s.nu)
    assert nu is not None
    # The sill rides along in the exponent: one pass less.
    log_sill = math.log(s.sill) if s.sill > 0 else -math.inf
    k = math.sqrt(2 * nu) / s.range
    if nu == 0.5:
        h *= -k
        h += log_sill
        return xp.exp(h, out=h)
    h *= k
    decay = log_sill - h
    xp.exp(decay, out=decay)
    if nu == 1.5:
        h += 1
    else:
        h += h * h / 3
        h += 1
    h *= decay
    return h


def _matern(h: Array, s: Structure) -> Array:
    r"""Any smoothness, through K_nu(t) = \int_0^\infty exp(-t cosh u) cosh(nu u) du (DLMF 10.32.9).

    The integrand falls off doubly exponentially, so the trapezoidal rule reaches double precision with a few
    dozen nodes (Trefethen and Weideman 2014, SIAM Review 56(3)), on any device, where the Bessel function is
    not to be had.
    """
    xp, nu = namespace(h), s.nu
    assert nu is not None
    if nu in (0.5, 1.5, 2.5):
        return _matern_half_integer(h, s)
    near = h <= 0
    t = xp.clip(h * (math.sqrt(2 * nu) / s.range), min=_TINY)
    smallest = float(xp.min(xp.where(near, xp.ones_like(t), t))) if math.prod(t.shape) else 1.0
    # A step well below the width nu^-1/2 of the integrand's peak.
    step = min(0.25, 0.5 / math.sqrt(nu))
    last = math.acosh(1 + (50 + 4 * nu * max(0.0, -math.log(smallest))) / smallest)
    log_scale = nu * xp.log(t) + (math.log(2) * (1 - nu) - math.lgamma(nu) + math.log(step))
    total = xp.zeros_like(t)
    for j in range(int(last / step) + 2):
        u = step * j
        log_cosh = nu * u + math.log1p(math.exp(-2 * nu * u)) - math.log(2)
        node = t * -math.cosh(u)
        node += log_scale
        node += log_cosh
        total += xp.exp(node, out=node) * (1.0 if j else 0.5)
    h[...] = xp.where(near, xp.ones_like(t), xp.clip(total, max=1.0)) * s.sill
    return h


def _gaussian(h: Array, s: Structure) -> Array:
    h *= h
    h *= -0.5 / s.range**2
    namespace(h).exp(h, out=h)
    h *= s.sill
    return h


def _spherical(h: Array, s: Structure) -> Array:
    h *= 1 / s.range
    h[...] = namespace(h).clip(h, max=1.0)
    factor = h * h
    factor *= 0.5 * s.sill
    factor -= 1.5 * s.sill
    h *= factor
    h += s.sill
    return h


def _power(h: Array, s: Structure) -> Array:
    if s.exponent != 1:
        h **= s.exponent or 1.0
    h *= -s.sill
    h += s.variance
    return h


FAMILIES: dict[str, Callable[[Array, Structure], Array]] = {
    "exponential": _matern_half_integer,
    "matern12": _matern_half_integer,
    "matern32": _matern_half_integer,
    "matern52": _matern_half_integer,
    "matern": _matern,
    "spherical": _spherical,
    "gaussian": _gaussian,
    "power": _power,
}
