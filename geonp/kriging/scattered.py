"""Kriging of scattered points: from all observations, or from the neighbours of every target."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.kriging.arrays import Device
from geonp.kriging.covariance import Covariance
from geonp.kriging.exact import Exact, Frame, require_rank
from geonp.kriging.fit import fit_covariance
from geonp.kriging.local import Groups, krige_groups
from geonp.kriging.neighbours import Neighbourhoods, embed, layers_of
from geonp.kriging.points import (
    Observations,
    check_coords,
    check_drift,
    covering,
    error_variances,
    warn_of_units,
)
from geonp.kriging.solver import Solver
from geonp.kriging.trend import Kind, check_kind

Array = NDArray[np.float64]
Neighbours = int | Literal["all"] | None

_ALL_UP_TO = 4000
_NEIGHBOURS = 64
_SECTORS = 8


@dataclass(frozen=True, slots=True)
class Options:
    """How kriging is computed.

    Parameters
    ----------
    dtype : "float64", or "float32": half the memory, see `Solver` for its errors.
    device : "cpu", "cuda", or "auto" for a GPU where there is one.
    memory : bytes that may be taken.
    seed : of what is drawn while a covariance is fitted.
    """

    dtype: Literal["float64", "float32"] = "float64"
    device: str = "cpu"
    memory: int = 2 << 30
    seed: int = 0

    def solver(self, covariance: Covariance, kind: Kind, mean: float = 0.0) -> Solver:
        """Return the solver of these options.

        Raises
        ------
        UsageError
            If the device is not there, or the type is unknown.
        """
        if self.dtype not in ("float64", "float32"):
            raise UsageError(f"dtype is 'float64' or 'float32', got {self.dtype!r}")
        return Solver(covariance, kind, mean, self.dtype, Device.called(self.device), self.memory)


class Kriged(NamedTuple):
    """What kriging says at M targets.

    Parameters
    ----------
    mean, variance : (M,), in units of the values and their square.
    covariance : what was used; fitted, where none was given.
    merged : observations that were merged into another at their place.
    """

    mean: Array
    variance: Array
    covariance: Covariance
    merged: int


@dataclass(frozen=True)
class PointKriging:
    """Observations at scattered points, ready to be kriged.

    Parameters
    ----------
    observations : the data.
    solver : the covariance, and how it is solved.
    exact : the system of all observations, or None where neighbours are used.
    search : finds neighbours, or None where the system is exact.
    """

    observations: Observations
    solver: Solver
    exact: Exact | None
    search: Neighbourhoods | None

    @classmethod
    def of(
        cls,
        coords: ArrayLike,
        values: ArrayLike,
        covariance: Covariance,
        *,
        kind: Kind = "ordinary",
        mean: float | None = None,
        errors: ArrayLike | None = None,
        drift: ArrayLike | None = None,
        neighbours: Neighbours = None,
        options: Options | None = None,
    ) -> PointKriging:
        """Check the observations and make them ready.

        Parameters
        ----------
        coords : (N, 2), (y, x) in metres, or (latitude, longitude) in degrees for a great-circle covariance.
        values : (N,); NaN are left out.
        covariance : of the field; its nugget is the error variance that all observations share.
        kind : "simple" (known mean), "ordinary" (unknown mean) or "universal" (unknown plane).
        mean : the known mean, for simple kriging; None estimates it by generalised least squares.
        errors : (N,) or a number, error variances of the observations beside the nugget.
        drift : (N,) or (N, q), external drift at the observations.
        neighbours : observations from which each target is kriged, taken from eight sectors; "all" for one
            exact system; None is all up to 4,000 and 64 beyond.
        options : precision, device and memory.

        Raises
        ------
        InputError
            If the observations cannot be used (see `Observations.of`), or do not determine the drift.
        UsageError
            If the kind, the number of neighbours or an option is impossible, or memory does not suffice.

        Warns
        -----
        GeonpWarning
            If the covariance cannot be meant in the unit of the coordinates (degrees taken for metres).
        """
        options = options or Options()
        good = neighbours is None or neighbours == "all" or (isinstance(neighbours, int) and neighbours >= 1)
        if not good:
            raise UsageError(f"neighbours is a count >= 1, 'all', or None to choose, got {neighbours!r}")
        observations = Observations.of(coords, values, covariance, errors, drift)
        kind = check_kind(kind, covariance, observations.drift.shape[1])
        if mean is not None and kind != "simple":
            raise UsageError(f"a known mean belongs to kind='simple'; {kind} kriging estimates it")
        extent = float(np.linalg.norm(np.ptp(observations.coords, axis=0)))
        far = np.abs(observations.coords).max(0)
        warn_of_units(covariance, extent / len(observations) ** 0.5, bool(far[0] <= 90 and far[1] <= 360))
        reach = 2 * extent
        solver = options.solver(covering(covariance, reach), kind)
        if kind == "simple":
            solver = replace(
                solver, mean=known_mean(observations, solver, options.seed) if mean is None else mean
            )
        if neighbours == "all" or (neighbours is None and len(observations) <= _ALL_UP_TO):
            return cls(observations, solver, Exact.of(observations, solver), None)
        require_rank(Frame.of(observations, solver).columns(observations.coords, observations.drift), kind)
        places = embed(observations.coords, covariance)
        count = _NEIGHBOURS if neighbours is None else int(neighbours)
        sectors = min(_SECTORS, count)
        return cls(observations, solver, None, Neighbourhoods(places, layers_of(places), count, sectors))

    def predict(self, targets: ArrayLike, drift: ArrayLike | None = None) -> tuple[Array, Array]:
        """Return mean and variance (M,) of the latent field at targets (M, 2).

        Raises
        ------
        InputError
            If targets or their external drift are not finite, or do not match.
        """
        places, covariates = self._check(targets, drift)
        if self.exact is not None:
            return self.exact.predict(places, covariates)
        near = self._search().near(embed(places, self.solver.covariance))
        groups = Groups(places[:, None], covariates[:, None])
        mean, variance = krige_groups(self.observations, near, groups, self.solver)
        return mean[:, 0], variance[:, 0]

    def average(self, areas: ArrayLike, drift: ArrayLike | None = None) -> tuple[Array, Array]:
        """Return mean and variance (M,) of the latent field's average over areas.

        Parameters
        ----------
        areas : (M, Q, 2), points that stand for each area with equal weight (see `blocks.rectangles`).
        drift : (M, Q) or (M, Q, q), external drift at them.

        Raises
        ------
        InputError
            If areas or their external drift are not finite, or do not match.
        """
        points = np.asarray(areas, np.float64)
        if points.ndim != 3 or 0 in points.shape:
            raise InputError(
                f"areas are points (M, Q, 2), M areas of Q points each, got shape {points.shape}"
            )
        m, q, _ = points.shape
        flat = None if drift is None else np.asarray(drift, np.float64).reshape(m * q, -1)
        places, covariates = self._check(points.reshape(m * q, -1), flat)
        groups = Groups(places.reshape(m, q, 2), covariates.reshape(m, q, -1), averaged=True)
        if self.exact is not None:
            found = [self.exact.average(p, d) for p, d in zip(groups.coords, groups.drift, strict=True)]
            return np.array([f[0] for f in found]), np.array([f[1] for f in found])
        middle = embed(places, self.solver.covariance).reshape(m, q, -1).mean(1)
        near = self._search().near(middle)
        mean, variance = krige_groups(self.observations, near, groups, self.solver)
        return mean[:, 0], variance[:, 0]

    def leave_one_out(self) -> tuple[Array, Array]:
        """Return residuals z_i - prediction without i, and their variances (of observation i), each (N,).

        One per place: merged observations count as one.

        Raises
        ------
        InputError
            If there is only one observation.
        """
        if len(self.observations) < 2:
            raise InputError("leaving one out needs at least two observations at different places, got 1")
        if self.exact is not None:
            return self.exact.leave_one_out()
        places, own = self._search().places, np.arange(len(self.observations))
        near = replace(self._search(), count=self._search().count + 1).near(places)
        near = np.where(near == own[:, None], -1, near)
        near = np.take_along_axis(near, np.argsort(near < 0, axis=1, kind="stable"), 1)[:, :-1]
        groups = Groups(self.observations.coords[:, None], self.observations.drift[:, None])
        mean, variance = krige_groups(self.observations, near, groups, self.solver)
        return self.observations.values - mean[:, 0], variance[:, 0] + self.observations.noise

    def _check(self, targets: ArrayLike, drift: ArrayLike | None) -> tuple[Array, Array]:
        places = check_coords(targets, self.solver.covariance, "targets")
        covariates = check_drift(drift, len(places), "the drift of the targets")
        have, given = self.observations.drift.shape[1], covariates.shape[1]
        if have != given:
            raise InputError(
                f"the observations have {have} external drift(s) and the targets {given}; give the same "
                "covariates, in the same order, for both"
            )
        return places, covariates

    def _search(self) -> Neighbourhoods:
        assert self.search is not None
        return self.search


def krige(
    coords: ArrayLike,
    values: ArrayLike,
    targets: ArrayLike,
    covariance: Covariance | None = None,
    *,
    kind: Kind = "ordinary",
    errors: ArrayLike | None = None,
    drift: ArrayLike | None = None,
    target_drift: ArrayLike | None = None,
    neighbours: Neighbours = None,
    noise: bool = True,
    metric: Literal["euclidean", "great-circle"] = "euclidean",
    options: Options | None = None,
) -> Kriged:
    """Krige scattered observations at scattered targets.

    Parameters
    ----------
    coords, values, errors, drift, kind, neighbours, options : see `PointKriging.of`.
    targets : (M, 2), in the coordinates of the observations.
    covariance : of the field; None fits one for these targets (`geonp.kriging.fit`).
    target_drift : (M,) or (M, q), external drift at the targets.
    noise : whether the variance is that of another observation (nugget included) or of the latent field.
    metric : of a covariance that is fitted; one that is given has its own.

    Returns
    -------
    Kriged
        Mean, variance, the covariance, and how many observations were merged.

    Raises
    ------
    InputError, UsageError
        See `PointKriging.of` and `PointKriging.predict`.

    Examples
    --------
    >>> import numpy as np
    >>> from geonp.kriging import Covariance, Structure, krige
    >>> model = Covariance((Structure("exponential", 1.0, 10.0),), nugget=0.0)
    >>> coords = np.array([[0.0, 0.0], [0.0, 10.0]])
    >>> krige(coords, [1.0, 3.0], [[0.0, 5.0]], model).mean.round(6)
    array([2.])
    """
    options = options or Options()
    if covariance is None:
        covariance = _fitted(coords, values, targets, kind, drift, errors, metric, options.seed)
    ready = PointKriging.of(
        coords,
        values,
        covariance,
        kind=kind,
        errors=errors,
        drift=drift,
        neighbours=neighbours,
        options=options,
    )
    mean, variance = ready.predict(targets, target_drift)
    return Kriged(mean, variance + covariance.nugget * noise, covariance, ready.observations.merged)


def _fitted(
    coords: ArrayLike,
    values: ArrayLike,
    targets: ArrayLike,
    kind: Kind,
    drift: ArrayLike | None,
    errors: ArrayLike | None,
    metric: str,
    seed: int,
) -> Covariance:
    """Return a covariance fitted to the observations; its alarms become warnings."""
    z, place = np.asarray(values, np.float64), np.asarray(coords, np.float64)
    covariates = None if drift is None else check_drift(drift, len(z), "drift")
    seen = ~np.isnan(z)
    if place.ndim == 2 and len(place) == len(z):
        place, z = place[seen], z[seen]
        covariates = None if covariates is None else covariates[seen]
    noise = None if errors is None else error_variances(errors, np.asarray(values, np.float64))[seen]
    fit = fit_covariance(
        place,
        z,
        seed=seed,
        targets=np.asarray(targets, np.float64),
        trend="linear" if kind == "universal" else "constant",
        covariates=covariates,
        errors=noise,
        metric=metric,
    )
    for alarm in fit.alarms:
        warnings.warn(alarm, GeonpWarning, stacklevel=4)
    return fit.covariance


def known_mean(observations: Observations, solver: Solver, seed: int) -> float:
    """Return the mean by generalised least squares, from a sample of many observations."""
    order = np.random.default_rng(seed).permutation(len(observations))[:_ALL_UP_TO]
    sample = Observations(
        observations.coords[order],
        observations.values[order],
        observations.noise[order],
        observations.drift[order],
        0,
    )
    return Exact.of(sample, replace(solver, kind="ordinary")).level
