"""What it is worth that pixels become surer: the variance that is gone, or the mistakes that are not made.

Imagine sites observed, and kriging anew. What the sites will say is not known, but how far they will move the mean m at
a pixel is: by a normal amount of variance v - w, with v and w the variances there before and after. With a threshold T
one then calls the pixel high or low by its new mean, and is wrong with the probability

    P(z > T, new mean < T) + P(z < T, new mean > T) = 2 O(h, sqrt(w / (v - w))),   h = |m - T| / sqrt(v),

O being Owen's (1956) T function, since z and its new mean are normal together with the correlation sqrt(1 - w / v).
With nothing observed it is Phi(-h). Summed over the map this is the expected volume of misclassified pixels, the
criterion of stepwise uncertainty reduction for excursion sets (Bect et al. 2012, Statistics and Computing 22(3),
section 3; Chevalier et al. 2014, Technometrics 56(4), section 3, who observe several sites at once). It depends on the
batch through w alone, so that a batch chosen one by one is followed exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import owens_t

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_DEAF = 25.0
"""A word that leaves more than 1 - distance^2 / 25 of the variance changes a mind less than once in 10^6."""


class Criterion(Protocol):
    """What the variances at the nodes of a lattice are worth."""

    def total(self, variance: Array) -> float:
        """Return what is left to be gained where the variances are `variance` (node rows, node columns)."""

    def worth(self, nodes: Index, variance: Array, fall: Array) -> Array:
        """Return what N changes gain, (N,).

        Parameters
        ----------
        nodes : (W,), flat indices of nodes.
        variance : (W,), there, at present.
        fall : (N, W), by how much each change lowers it.
        """


@dataclass(frozen=True)
class Variance:
    """The integrated variance.

    Parameters
    ----------
    weight : (node rows, node columns), how much a node's variance counts: the square of the local scale.
    """

    weight: Array

    def total(self, variance: Array) -> float:
        """Return the weighted sum of the variances; see `Criterion.total`."""
        return float((self.weight * variance).sum())

    def worth(self, nodes: Index, variance: Array, fall: Array) -> Array:
        """Return the weighted sums of the falls; see `Criterion.worth`."""
        return np.asarray(fall @ self.weight.ravel()[nodes])


@dataclass(frozen=True)
class Misclassified:
    """The expected number of nodes that are taken for higher than a threshold and are not, or the reverse.

    Parameters
    ----------
    distance : (node rows, node columns), |mean - threshold| in deviations, before anything is imagined.
    prior : (node rows, node columns), the variances then.
    """

    distance: Array
    prior: Array

    def total(self, variance: Array) -> float:
        """Return the expected number of mistakes; see `Criterion.total`."""
        return float(mistaken(self.distance, _share(self.prior, variance)).sum())

    def worth(self, nodes: Index, variance: Array, fall: Array) -> Array:
        """Return how many mistakes fewer there will be; see `Criterion.worth`."""
        distance, prior = self.distance.ravel()[nodes], self.prior.ravel()[nodes]
        share = _share(prior, variance - fall)
        heard = _DEAF * (1 - share) > distance**2
        out = np.zeros_like(fall)
        before = np.broadcast_to(mistaken(distance, _share(prior, variance)), fall.shape)
        after = mistaken(np.broadcast_to(distance, fall.shape)[heard], share[heard])
        out[heard] = before[heard] - after
        return np.asarray(out.sum(1))


def _share(prior: Array, variance: Array) -> Array:
    left = np.divide(
        variance, prior, out=np.zeros(np.broadcast_shapes(variance.shape, prior.shape)), where=prior > 0
    )
    return np.asarray(np.clip(left, 0, 1))


def mistaken(distance: Array | float, share: Array | float) -> Array:
    """Return the probability that a pixel will be taken for the wrong side of a threshold.

    Parameters
    ----------
    distance : |mean - threshold| over the deviation, before.
    share : of the variance that the observations to be made will leave, 0 to 1.

    Notes
    -----
    Nothing observed: Phi(-distance). On the threshold: arccos(sqrt(1 - share)) / pi.
    """
    with np.errstate(divide="ignore"):
        left = np.asarray(share, np.float64)
        return np.asarray(2 * owens_t(distance, np.sqrt(left / (1 - left))))


def local_scale(squares: Array, counts: Array, width: float, prior: float) -> Array:
    """Return the square of the local scale at every node: how much rougher the ground is than the covariance says.

    A mean of squared standardised leave-one-out residuals around the node, weighted with a normal curve, and of `prior`
    imagined ones of size 1: where nothing is known the covariance is believed.

    Parameters
    ----------
    squares, counts : (node rows, node columns), sum and number of the squares in the cell of every node.
    width : standard deviation of the curve, in nodes.
    """
    peak = 2 * math.pi * width**2
    above, below = (
        gaussian_filter(a, width, mode="constant", truncate=3.0) * peak for a in (squares, counts)
    )
    return np.asarray((above + prior) / (below + prior))
