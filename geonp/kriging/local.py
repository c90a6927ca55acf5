"""Kriging of groups of targets, each from a neighbourhood of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
    inside: Tensor
    weight: Tensor
    k: Tensor
    cross: Tensor
    columns: Tensor
    wanted: Tensor
    sill: Tensor | float

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

        def cast(tensor: Tensor) -> Tensor:
            return tensor.to(solver.dtype)

        covariance, valid = solver.covariance, send(index >= 0, solver)
        inside, index = cast(valid), np.maximum(index, 0)
        weight = valid / valid.sum(1, keepdim=True)
        x, g = send(observations.coords[index], solver), send(targets.coords, solver)
        origin = (x * weight.unsqueeze(-1)).sum(1, keepdim=True)
        near, there = x - origin, g - origin
        if covariance.metric == "euclidean":
            # Subtracted before the cast: float32 then keeps short distances.
            x, g = cast(near), cast(there)
        k = cast(covariance(x, x)).mul_(inside[:, :, None]).mul_(inside[:, None, :])
        noise = send(observations.noise[index], solver)
        k.diagonal(dim1=1, dim2=2).add_(torch.where(valid, noise, covariance.total_sill or 1.0))
        cross = cast(covariance(x, g)).mul_(inside[:, :, None])

        scale = (near.abs() * valid.unsqueeze(-1)).amax((1, 2), keepdim=True).clamp_min(_TINY)
        seen, wanted = send(observations.drift[index], solver), send(targets.drift, solver)
        shift, spread = standardiser(seen, valid.double())
        f = drift_columns(solver.kind, cast(near / scale), cast((seen - shift) / spread), inside)
        columns = drift_columns(solver.kind, cast(there / scale), cast((wanted - shift) / spread))
        sill: Tensor | float = covariance.sill
        if targets.averaged:
            cross, columns = cross.mean(2, keepdim=True), columns.mean(1, keepdim=True)
            sill = cast(covariance(g, g)).mean((1, 2)).unsqueeze(1)
        return cls(index, inside, weight, k, cross, f, columns, sill)

    def centred(self, values: Array, solver: Solver) -> tuple[Tensor, Tensor]:
        """Return the values (..., N) of the neighbourhoods less their means, (..., B, n), and these (..., B, 1).

        The mean of simple kriging is the known one.
        """
        z = send(values[..., self.index], solver).double()
        centre = torch.full_like(z[..., :1], solver.mean)
        if solver.kind != "simple":
            centre = (z * self.weight).sum(-1, keepdim=True)
        return (z - centre).to(solver.dtype) * self.inside, centre


def send(array: NDArray[np.generic], solver: Solver) -> Tensor:
    """Return an array as a tensor on the solver's device."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(solver.device)


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
        return (m.double() + centre).cpu().numpy(), v.double().cpu().numpy()

    for part, (m, v) in each_group(near, targets, solver, 0, krige):
        mean[part], variance[part] = m, v
    return mean, variance
