"""Global kriging: one system of all observations, up to some ten thousand of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geonp.errors import InputError, UsageError
from geonp.kriging import arrays
from geonp.kriging.arrays import cast, fetch
from geonp.kriging.linalg import diagonals
from geonp.kriging.points import Observations
from geonp.kriging.solver import Solver
from geonp.kriging.system import System
from geonp.kriging.trend import Kind, drift_columns, standardiser

Array = NDArray[np.float64]

_SINGULAR = 1e-10
_TARGETS = 1 << 13


@dataclass(frozen=True, slots=True)
class Exact:
    """All observations in one factor.

    Parameters
    ----------
    observations : the data.
    solver : the covariance, and how it is solved.
    frame : how coordinates and covariates become drift columns.
    centre : what was subtracted from the values.
    system : the factorised system, a batch of one.
    """

    observations: Observations
    solver: Solver
    frame: Frame
    centre: float
    system: System

    @classmethod
    def of(cls, observations: Observations, solver: Solver) -> Exact:
        """Factorise the system of all observations.

        Raises
        ------
        UsageError
            If the system does not fit into the solver's memory.
        InputError
            If there are fewer observations than drift coefficients, or the drift is collinear among them, as
            a plane is over points on one line.
        """
        n = len(observations)
        needed = bytes_of_exact(n, solver.itemsize)
        if needed > solver.memory:
            raise UsageError(
                f"exact kriging of {n} observations takes {needed / 1e9:.2g} GB and {solver.memory / 1e9:.2g} GB "
                "are allowed; raise memory, or krige from neighbours (neighbours=64)"
            )
        frame = Frame.of(observations, solver)
        f = frame.columns(observations.coords, observations.drift)
        require_rank(f, solver.kind)
        k = frame.covariance(observations.coords, observations.coords)
        own = diagonals(k)
        own += solver.device.send(observations.noise)
        centre = solver.mean if solver.kind == "simple" else float(observations.values.mean())
        z = frame.send(observations.values - centre)
        return cls(observations, solver, frame, centre, System.factorise(k[None], z[None], f[None]))

    def predict(self, targets: Array, drift: Array) -> tuple[Array, Array]:
        """Return mean and variance (M,) of the latent field at targets (M, 2) with external drift (M, q)."""
        n, sill = len(self.observations), self.solver.covariance.sill
        step = max(64, min(self.solver.memory // (5 * n * self.solver.itemsize), _TARGETS))
        found = np.empty((2, len(targets)))
        for start in range(0, len(targets), step):
            part = slice(start, start + step)
            cross = self.frame.covariance(self.observations.coords, targets[part])
            both = self.system.predict(
                cross[None], self.frame.columns(targets[part], drift[part])[None], sill
            )
            found[:, part] = [fetch(a)[0] for a in both]
        return found[0] + self.centre, found[1]

    def average(self, points: Array, drift: Array) -> tuple[float, float]:
        """Return mean and variance of the latent field's average over `points` (Q, 2), drift (Q, q)."""
        cross = self.frame.covariance(self.observations.coords, points).mean(1)[:, None]
        columns = self.frame.columns(points, drift).mean(0)[None]
        within = self.frame.covariance(points, points).mean()
        mean, variance = self.system.predict(cross[None], columns[None], within)
        return float(mean[0, 0]) + self.centre, float(variance[0, 0])

    @property
    def level(self) -> float:
        """The mean of the field by generalised least squares (ordinary kriging)."""
        return float(self.system.trend[0, 0]) + self.centre

    def leave_one_out(self) -> tuple[Array, Array]:
        """Return residuals z_i - prediction without i, and their variances (of an observation), each (N,)."""
        residual, variance = self.system.leave_one_out()
        return fetch(residual)[0].astype(np.float64), fetch(variance)[0].astype(np.float64)


@dataclass(frozen=True, slots=True)
class Frame:
    """How points are seen by a global system: from the middle of the observations, in units of their extent.

    Parameters
    ----------
    solver : covariance, kind, precision and device.
    origin, scale : middle and half extent of the observations, (2,) and a number.
    shift, spread : (q,), mean and spread of the covariates.
    """

    solver: Solver
    origin: Array
    scale: float
    shift: Array
    spread: Array

    @classmethod
    def of(cls, observations: Observations, solver: Solver) -> Frame:
        """Return the frame of `observations`."""
        origin = observations.coords.mean(0)
        scale = float(np.abs(observations.coords - origin).max()) or 1.0
        shift, spread = standardiser(observations.drift, np.ones(len(observations.drift)))
        return cls(solver, origin, scale, shift[0], spread[0])

    def send(self, array: Array) -> arrays.Array:
        """Return `array` on the solver's device, in its precision."""
        return cast(self.solver.device.send(array), self.solver.dtype)

    def covariance(self, a: Array, b: Array) -> arrays.Array:
        """Return the covariance (N, M) between points (N, 2) and (M, 2)."""
        covariance, send = self.solver.covariance, self.solver.device.send
        if covariance.metric == "great-circle":
            return cast(covariance(send(a), send(b)), self.solver.dtype)
        return covariance(self.send(a - self.origin), self.send(b - self.origin))

    def columns(self, coords: Array, drift: Array) -> arrays.Array:
        """Return the drift columns (N, p) of points (N, 2) with covariates (N, q)."""
        offsets = self.send((coords - self.origin) / self.scale)
        covariates = self.send((drift - self.shift) / self.spread)
        return drift_columns(self.solver.kind, offsets, covariates)


def bytes_of_exact(observations: int, itemsize: int) -> int:
    """Return the peak memory in bytes of an exact system: the matrix, its factor, and the distances."""
    return 3 * itemsize * observations**2


def require_rank(columns: arrays.Array, kind: Kind) -> None:
    """Raise InputError unless observations determine the coefficients of their drift columns (N, p)."""
    n, p = columns.shape
    if n < p:
        raise InputError(
            f"{n} observation(s) cannot tell {p} drift coefficients; give more, or use "
            "kind='ordinary' without drift"
        )
    if p < 2:
        return
    strength = np.linalg.svd(fetch(columns).astype(np.float64), compute_uv=False)
    if float(strength[-1]) <= _SINGULAR * float(strength[0]):
        raise InputError(
            f"the {p} drift columns are collinear at the {n} observations (points on one line cannot carry a "
            f"plane, nor can a constant drift be told from the mean): use kind='ordinary' instead of "
            f"{kind!r}, or drop the drift"
        )
