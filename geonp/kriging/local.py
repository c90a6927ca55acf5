"""Kriging of groups of targets, each from a neighbourhood of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geonp.kriging import arrays
from geonp.kriging.arrays import cast, fetch, namespace
from geonp.kriging.linalg import diagonals
from geonp.kriging.neighbours import Index
from geonp.kriging.points import Observations
from geonp.kriging.solver import Solver
from geonp.kriging.system import System
from geonp.kriging.threads import each
from geonp.kriging.trend import drift_columns, standardiser

Array = NDArray[np.float64]
Result = TypeVar("Result")

_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Groups:
    """Targets that share a neighbourhood, M groups of m.

    Parameters
    ----------
    coords : (M, m, 2), as those of the observations.
    drift : (M, m, q), external drift.
    averaged : whether the average of the field over each group is wanted, not its value at each target.
    """

    coords: Array
    drift: Array
    averaged: bool = False


@dataclass(frozen=True, slots=True)
class Neighbourhoods:
    """B neighbourhoods of n observations and m targets, ready to be factorised.

    Parameters
    ----------
    index : (B, n), which observations; 0 in padding.
    inside : (B, n), 1 where a row is an observation, 0 in padding.
    weight : (B, n), of every observation in its neighbourhood's plain mean.
    k : (B, n, n), covariances of the observations, noise included; the identity's rows in padding.
    cross : (B, n, m), covariances with the targets.
    columns, wanted : (B, n, p) and (B, m, p), drift columns of the observations and the targets.
    sill : covariance of a target with itself.
    """

    index: Index
    inside: arrays.Array
    weight: arrays.Array
    k: arrays.Array
    cross: arrays.Array
    columns: arrays.Array
    wanted: arrays.Array
    sill: arrays.Array | float

    @classmethod
    def of(cls, observations: Observations, index: Index, targets: Groups, solver: Solver) -> Neighbourhoods:
        """Return the neighbourhoods of groups of targets.

        Parameters
        ----------
        observations : the data.
        index : (B, n), the neighbours of every group, -1 behind the last.
        targets : B groups of m.
        solver : the covariance, and how it is solved.
        """
        covariance, send = solver.covariance, solver.device.send

        def rounded(array: arrays.Array) -> arrays.Array:
            return cast(array, solver.dtype)

        there, index = send((index >= 0).astype(np.float64)), np.maximum(index, 0)
        xp, inside, valid = namespace(there), rounded(there), there[..., None]
        weight = there / there.sum(1)[:, None]
        x, g = send(observations.coords[index]), send(targets.coords)
        origin = (x * weight[..., None]).sum(1)[:, None]
        near, away = x - origin, g - origin
        if covariance.metric == "euclidean":
            # Subtracted before the rounding: float32 then keeps short distances.
            x, g = rounded(near), rounded(away)
        k = rounded(covariance(x, x))
        k *= inside[:, :, None]
        k *= inside[:, None, :]
        own = diagonals(k)
        own += send(observations.noise[index]) * there + (covariance.total_sill or 1.0) * (1 - there)
        cross = rounded(covariance(x, g))
        cross *= inside[:, :, None]

        scale = xp.clip(xp.max(xp.abs(near) * valid, axis=(1, 2), keepdims=True), min=_TINY)
        seen, wanted = send(observations.drift[index]), send(targets.drift)
        shift, spread = standardiser(seen, there)
        f = drift_columns(solver.kind, rounded(near / scale), rounded((seen - shift) / spread), inside)
        columns = drift_columns(solver.kind, rounded(away / scale), rounded((wanted - shift) / spread))
        sill: arrays.Array | float = covariance.sill
        if targets.averaged:
            cross, columns = cross.mean(2)[..., None], columns.mean(1)[:, None]
            sill = rounded(covariance(g, g)).mean((1, 2))[:, None]
        return cls(index, inside, weight, k, cross, f, columns, sill)

    def centred(self, values: Array, solver: Solver) -> tuple[arrays.Array, arrays.Array]:
        """Return the values (..., N) of the neighbourhoods less their means, (..., B, n), and these (..., B, 1).

        The mean of simple kriging is the known one.
        """
        z = solver.device.send(values[..., self.index].astype(np.float64))
        if solver.kind == "simple":
            centre = namespace(z).full_like(z[..., :1], solver.mean)
        else:
            centre = (z * self.weight).sum(-1)[..., None]
        return cast(z - centre, solver.dtype) * self.inside, centre


def each_group(
    near: Index,
    targets: Groups,
    solver: Solver,
    beside: int,
    work: Callable[[Index, Groups], Result],
) -> Iterator[tuple[Index, Result]]:
    """Yield what `work` makes of every batch of groups, and which groups those are.

    Parameters
    ----------
    near : (M, k), neighbours of every group, -1 behind the last; groups without any are left out.
    targets : where to predict.
    solver : says how many are solved together.
    beside : right-hand sides of a group beside its targets.
    work : given the neighbours (B, n) of equally large neighbourhoods, and their groups.
    """

    def run(job: tuple[int, Index]) -> tuple[Index, Result]:
        n, part = job
        index = np.pad(near[part, :n], ((0, 0), (0, max(0, n - near.shape[1]))), constant_values=-1)
        return part, work(index, Groups(targets.coords[part], targets.drift[part], targets.averaged))

    jobs = solver.batches((near >= 0).sum(1), targets.coords.shape[1] + beside)
    yield from each(run, jobs, solver.device)


def krige_groups(
    observations: Observations, near: Index, targets: Groups, solver: Solver
) -> tuple[Array, Array]:
    """Krige every group from its neighbours.

    Parameters
    ----------
    observations : the data.
    near : (M, k), neighbours of every group, -1 behind the last.
    targets : where to predict.
    solver : the covariance, and how it is solved.

    Returns
    -------
    tuple of ndarray
        Mean and variance of the latent field, (M, m), or (M, 1) of its averages. NaN where a group has no
        neighbour.
    """
    mean = np.full((len(near), 1 if targets.averaged else targets.coords.shape[1]), np.nan)
    variance = np.full_like(mean, np.nan)

    def krige(index: Index, some: Groups) -> tuple[Array, Array]:
        ready = Neighbourhoods.of(observations, index, some, solver)
        z, centre = ready.centred(observations.values, solver)
        m, v = System.factorise(ready.k, z, ready.columns).predict(ready.cross, ready.wanted, ready.sill)
        return fetch(cast(m, "float64") + centre), fetch(v)

    for part, (m, v) in each_group(near, targets, solver, 0, krige):
        mean[part], variance[part] = m, v
    return mean, variance
