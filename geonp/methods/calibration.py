"""By how much deviations are too small or too large: where observations lie all around, and far out in gaps.

A correction that is rightly sure of itself between neighbouring observations may be too sure in the middle of a wide
gap. Where a trial has hidden observations at many distances from the rest, a factor is therefore found for a few of
them, and interpolated in between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from geonp.masks import Mask

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_NINETY = 1.6448536269514722  # the normal deviate that 90 % stay below, in size
_SHRINK = 300
"""Imagined observations that say the deviations are right."""
_MOST_A_GAP = 100.0
"""Observations for which those in one gap count at most: their errors are alike."""
_LEAST, _MOST = 0.2, 5.0
_QUANTILES = (0.05, 0.35, 0.65, 0.95)
_APART = 1.5
"""Least ratio of one distance to the one before."""
_FARTHEST = 96.0
"""Pixels beyond which distances are not told apart: windows are read with more around them."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Factors on deviations at some distances from the data.

    Parameters
    ----------
    distances : in pixels, ascending, at least 1; the factor is the same below the first and beyond the last.
    factors : at each; in between, linear in the logarithm of the distance.
    """

    distances: tuple[float, ...] = (1.0,)
    factors: tuple[float, ...] = (1.0,)

    def __str__(self) -> str:
        """Return the factors, and where each holds if there are several."""
        if len(self.factors) == 1:
            return f"{self.factors[0]:.4f}"
        pairs = zip(self.factors, self.distances, strict=True)
        return ", ".join(f"{factor:.4f} at {distance:.3g} pixels" for factor, distance in pairs)

    @classmethod
    def learnt(cls, size: Array, distance: Array, group: Index, graded: bool) -> Self:
        """Return what hidden observations say.

        Parameters
        ----------
        size : (n,), absolute errors of predictions over their deviations.
        distance : (n,), in pixels, from the data.
        group : (n,), from 0; errors in one group (a gap) are not independent.
        graded : whether the factor depends on the distance.

        Notes
        -----
        The factor of all distances together is the one that would make 90 % of the hidden values fall within the 90 %
        intervals, raised to the power n / (n + 300); the factor of a distance is drawn to that one by the same rule. A
        gap counts for a hundred observations at most.
        """
        overall = _factor(size, np.ones_like(size), np.arange(len(size)))
        if not graded:
            return cls(factors=(overall,))
        places = _places(distance)
        shares = _shares(distance, places)
        return cls(places, tuple(overall * _factor(size / overall, share, group) for share in shares))

    def at(self, distance: Array) -> Array:
        """Return the factors at distances in pixels, of any shape."""
        logs = np.interp(np.log(np.maximum(distance, 1.0)), np.log(self.distances), np.log(self.factors))
        return np.asarray(np.exp(logs))

    def over(self, observed: Mask) -> Array:
        """Return the factors on a window (rows, columns) of which some pixels are observed."""
        if len(self.factors) == 1 or not observed.any():
            return np.full(observed.shape, self.factors[-1])
        return self.at(distance_transform_edt(~observed))


UNCALIBRATED = Calibration()
"""Deviations as they are."""


def _places(distance: Array) -> tuple[float, ...]:
    """Return a few distances among those given."""
    found: list[float] = []
    for place in np.clip(np.quantile(distance, _QUANTILES), 1.0, _FARTHEST).tolist():
        if not found or place >= _APART * found[-1]:
            found.append(place)
    return tuple(found)


def _shares(distance: Array, places: tuple[float, ...]) -> list[Array]:
    """Return how much every place has to say at distances: linear in the logarithm, adding up to one."""
    at, logs = np.log(np.maximum(distance, 1.0)), np.log(places)
    return [np.interp(at, logs, unit) for unit in np.eye(len(places))]


def _factor(size: Array, share: Array, group: Index) -> float:
    order = np.argsort(size)
    below = np.cumsum(share[order]) - share[order] / 2
    wide = float(np.interp(0.9 * share.sum(), below, size[order])) / _NINETY
    count = float(np.minimum(np.bincount(group, share), _MOST_A_GAP).sum())
    return math.pow(min(max(wide, _LEAST), _MOST), count / (count + _SHRINK))
