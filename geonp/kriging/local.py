"""Kriging of groups of targets, each from a neighbourhood of its own."""

from __future__ import annotations

from dataclasses import dataclass

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

_BUCKET = 8
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
    size = -(-(near >= 0).sum(1) // _BUCKET) * _BUCKET
    jobs: list[tuple[int, Index]] = []
    for n in np.unique(size[size > 0]).tolist():
        group = np.flatnonzero(size == n)
        step = solver.batch(n, targets.coords.shape[1])
        jobs.extend((n, group[start : start + step]) for start in range(0, len(group), step))

    def run(job: tuple[int, Index]) -> tuple[Index, Array, Array]:
        n, part = job
        index = np.pad(near[part, :n], ((0, 0), (0, max(0, n - near.shape[1]))), constant_values=-1)
        some = Groups(targets.coords[part], targets.drift[part], targets.averaged)
        m, v = _krige(observations, index, some, solver)
        return part, m.double().cpu().numpy(), v.double().cpu().numpy()

    for part, m, v in each(run, jobs, solver.device):
        mean[part], variance[part] = m, v
    return mean, variance


def _krige(
    observations: Observations, index: Index, targets: Groups, solver: Solver
) -> tuple[Tensor, Tensor]:
    def send(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(solver.device)

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(solver.dtype)

    covariance, valid = solver.covariance, send(index >= 0)
    inside, index = cast(valid), np.maximum(index, 0)
    weight = (valid / valid.sum(1, keepdim=True)).unsqueeze(-1)
    x, g = send(observations.coords[index]), send(targets.coords)
    origin = (x * weight).sum(1, keepdim=True)
    near, there = x - origin, g - origin
    if covariance.metric == "euclidean":
        # Subtracted before the cast: float32 then keeps short distances.
        x, g = cast(near), cast(there)

    z = send(observations.values[index]).unsqueeze(-1)
    centre = torch.full_like(z[:, :1], solver.mean)
    if solver.kind != "simple":
        centre = (z * weight).sum(1, keepdim=True)
    z, centre = cast((z - centre)[..., 0]) * inside, centre[:, 0]
    k = cast(covariance(x, x)).mul_(inside[:, :, None]).mul_(inside[:, None, :])
    noise = send(observations.noise[index])
    k.diagonal(dim1=1, dim2=2).add_(torch.where(valid, noise, covariance.total_sill or 1.0))
    cross = cast(covariance(x, g)).mul_(inside[:, :, None])

    scale = (near.abs() * valid.unsqueeze(-1)).amax((1, 2), keepdim=True).clamp_min(_TINY)
    seen, wanted = send(observations.drift[index]), send(targets.drift)
    shift, spread = standardiser(seen, valid.double())
    f = drift_columns(solver.kind, cast(near / scale), cast((seen - shift) / spread), inside)
    drift = drift_columns(solver.kind, cast(there / scale), cast((wanted - shift) / spread))
    sill: Tensor | float = covariance.sill
    if targets.averaged:
        cross, drift = cross.mean(2, keepdim=True), drift.mean(1, keepdim=True)
        sill = cast(covariance(g, g)).mean((1, 2)).unsqueeze(1)
    mean, variance = System.factorise(k, z, f).predict(cross, drift, sill)
    return mean.double() + centre, variance
