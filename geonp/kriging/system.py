r"""The kriging equations, solved for many neighbourhoods at once from one Cholesky factor each.

With K the covariance of n observations (noise on its diagonal), F their p drift columns, k and f those of a
target, and L L' = K, everything follows from the triangular solves A = L^-1 k, G = L^-1 F, b = L^-1 z
(Chiles and Delfiner 2012, section 3.4; Rasmussen and Williams 2006, section 2.7):

    beta     = (G'G)^-1 G'b
    mean     = f beta + A'(b - G beta)
    variance = C(0) - |A|^2 + u'(G'G)^-1 u,   u = f - G'A

No inverse of K is formed for them, so that no variance can come out as the difference of two large numbers.
Simple kriging has p = 0, ordinary kriging a column of ones, universal kriging and kriging with an external
drift further columns.

Leave-one-out residuals need no second factor (Dubrule 1983): with Q = K^-1 - K^-1 F (F'K^-1 F)^-1 F'K^-1,
e_i = [Q z]_i / Q_ii and its variance is 1 / Q_ii, the drift being estimated anew without observation i.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geonp.errors import InputError

_WEAK_PRIOR = 1e-9
"""Precision, against the data's own, of the prior on drift coefficients beyond the mean."""


@dataclass(frozen=True, slots=True)
class System:
    """B neighbourhoods of n observations, factorised. Rows of padding are those of the identity.

    Parameters
    ----------
    lower : (B, n, n), L.
    data : (B, n), L^-1 z - G beta.
    drift : (B, n, p), G.
    gram : (B, p, p), lower Cholesky factor of G'G.
    trend : (B, p), beta.
    """

    lower: Tensor
    data: Tensor
    drift: Tensor
    gram: Tensor
    trend: Tensor

    @classmethod
    def factorise(cls, k: Tensor, z: Tensor, f: Tensor) -> System:
        """Factorise covariances `k` (B, n, n) of the observations `z` (B, n) with drift `f` (B, n, p).

        A drift that the observations of a neighbourhood cannot tell (fewer of them than columns, points on a
        line) keeps a vague prior on the columns after the first: the mean stays finite, and the variance says
        how little is known. Columns should be of order one.

        Raises
        ------
        InputError
            If a covariance is not positive definite and stays so after jitter.
        """
        lower = cholesky(k)
        white = torch.linalg.solve_triangular(lower, torch.cat([z.unsqueeze(-1), f], -1), upper=False)
        data, drift = white[..., 0], white[..., 1:]
        square = drift.mT @ drift
        if f.shape[-1] > 1:
            vague = _WEAK_PRIOR * square[..., 0, 0].unsqueeze(-1).expand(square.shape[:-1]).clone()
            vague[..., 0] = 0
            square.diagonal(dim1=-2, dim2=-1).add_(vague)
        gram = cholesky(square) if f.shape[-1] else square
        trend = _solve(gram, drift.mT @ data.unsqueeze(-1)).squeeze(-1)
        return cls(lower, data - (drift @ trend.unsqueeze(-1)).squeeze(-1), drift, gram, trend)

    def predict(self, k: Tensor, f: Tensor, sill: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return mean and variance (B, m) of the latent field at m targets.

        Parameters
        ----------
        k : (B, n, m), covariance of observations and targets, 0 in rows of padding.
        f : (B, m, p) or (1, m, p), drift at the targets.
        sill : covariance of a target with itself, a number or (B, m).
        """
        weights = torch.linalg.solve_triangular(self.lower, k, upper=False)
        mean = (self.data.unsqueeze(-2) @ weights).squeeze(-2)
        explained = weights.square().sum(-2)
        if not self.trend.shape[-1]:
            return mean, (sill - explained).clamp_min(0)
        mean = mean + (f @ self.trend.unsqueeze(-1)).squeeze(-1)
        missing = f.mT - self.drift.mT @ weights
        unknown = torch.linalg.solve_triangular(self.gram, missing, upper=False).square().sum(-2)
        return mean, (sill - explained).clamp_min(0) + unknown

    def leave_one_out(self) -> tuple[Tensor, Tensor]:
        """Return residuals z_i - prediction without i, and their variances (as observations), (B, n)."""
        diagonal = torch.cholesky_inverse(self.lower).diagonal(dim1=-2, dim2=-1)
        back = torch.cat([self.data.unsqueeze(-1), self.drift], -1)
        back = torch.linalg.solve_triangular(self.lower.mT, back, upper=True)
        if self.trend.shape[-1]:
            spread = torch.linalg.solve_triangular(self.gram, back[..., 1:].mT, upper=False).square().sum(-2)
            diagonal = (diagonal - spread).clamp_min(torch.finfo(diagonal.dtype).eps * diagonal.amax())
        return back[..., 0] / diagonal, 1 / diagonal


def cholesky(k: Tensor) -> Tensor:
    """Return lower Cholesky factors of `k` (B, n, n); only those that fail are tried again with jitter.

    Raises
    ------
    InputError
        If a matrix fails with a jitter of 1 % of its largest diagonal element too.
    """
    lower: Tensor
    lower, info = torch.linalg.cholesky_ex(k)
    failed = torch.nonzero(info, as_tuple=True)
    jitter = torch.finfo(k.dtype).eps * 64
    while len(failed[0]):
        if jitter > 1e-2 or not bool(torch.isfinite(k[failed]).all()):
            raise InputError(
                f"the covariance of {len(failed[0])} neighbourhood(s) of {k.shape[-1]} points is not positive "
                "definite: check that coordinates and errors are finite, or give the covariance a nugget"
            )
        part = k[failed]
        diagonal = part.diagonal(dim1=-2, dim2=-1)
        diagonal.add_(jitter * diagonal.amax(-1, keepdim=True))
        fixed, info = torch.linalg.cholesky_ex(part)
        done = info == 0
        lower[tuple(axis[done] for axis in failed)] = fixed[done]
        failed = tuple(axis[~done] for axis in failed)
        jitter *= 10
    return lower


def _solve(gram: Tensor, right: Tensor) -> Tensor:
    if not gram.shape[-1]:
        return right
    return torch.cholesky_solve(right, gram)


def bytes_needed(observations: int, targets: int, itemsize: int) -> int:
    """Return the peak memory in bytes of one neighbourhood: K, its factor, k, its solution, work space."""
    return itemsize * (3 * observations**2 + 4 * observations * targets + 16 * (observations + targets))


def batch_size(observations: int, targets: int, itemsize: int, memory: int) -> int:
    """Return how many neighbourhoods fit into `memory` bytes, at least one."""
    return max(1, math.floor(memory / bytes_needed(observations, targets, itemsize)))
