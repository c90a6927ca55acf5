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

from geonp.kriging.arrays import Array, namespace
from geonp.kriging.linalg import back, cholesky, diagonals, forward, inverse_diagonal, solve

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

    lower: Array
    data: Array
    drift: Array
    gram: Array
    trend: Array

    @classmethod
    def factorise(cls, k: Array, z: Array, f: Array) -> System:
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
        white = forward(lower, namespace(f).concat([z[..., None], f], axis=-1))
        data, drift = white[..., 0], white[..., 1:]
        square = drift.mT @ drift
        if f.shape[-1] > 1:
            extra = diagonals(square)[..., 1:]
            extra += _WEAK_PRIOR * square[..., 0, 0, None]
        gram = cholesky(square) if f.shape[-1] else square
        trend = solve(gram, drift.mT @ data[..., None])[..., 0]
        return cls(lower, data - (drift @ trend[..., None])[..., 0], drift, gram, trend)

    def predict(self, k: Array, f: Array, sill: Array | float) -> tuple[Array, Array]:
        """Return mean and variance (B, m) of the latent field at m targets.

        Parameters
        ----------
        k : (B, n, m), covariance of observations and targets, 0 in rows of padding.
        f : (B, m, p) or (1, m, p), drift at the targets.
        sill : covariance of a target with itself, a number or (B, m).
        """
        xp, weights = namespace(k), forward(self.lower, k)
        mean = (self.data[..., None, :] @ weights)[..., 0, :]
        left = xp.clip(sill - (weights * weights).sum(-2), min=0)
        if not self.trend.shape[-1]:
            return mean, left
        mean = mean + (f @ self.trend[..., None])[..., 0]
        missing = f.mT - self.drift.mT @ weights
        return mean, left + (forward(self.gram, missing) ** 2).sum(-2)

    def leave_one_out(self) -> tuple[Array, Array]:
        """Return residuals z_i - prediction without i, and their variances (as observations), (B, n)."""
        xp, diagonal = namespace(self.lower), inverse_diagonal(self.lower)
        both = back(self.lower, xp.concat([self.data[..., None], self.drift], axis=-1))
        if self.trend.shape[-1]:
            spread = (forward(self.gram, both[..., 1:].mT) ** 2).sum(-2)
            least = float(xp.finfo(diagonal.dtype).eps * diagonal.max())
            diagonal = xp.clip(diagonal - spread, min=least)
        return both[..., 0] / diagonal, 1 / diagonal


def bytes_needed(observations: int, targets: int, itemsize: int) -> int:
    """Return the peak memory in bytes of one neighbourhood: K, its factor, k, its solution, work space."""
    return itemsize * (3 * observations**2 + 4 * observations * targets + 16 * (observations + targets))


def batch_size(observations: int, targets: int, itemsize: int, memory: int) -> int:
    """Return how many neighbourhoods fit into `memory` bytes, at least one."""
    return max(1, math.floor(memory / bytes_needed(observations, targets, itemsize)))
