"""How sure a ratio of two scores on one raster is: its blocks are drawn anew, with replacement.

Errors of neighbouring pixels resemble each other, so that pixels drawn one by one would make any interval far
too narrow. Blocks wider than the gaps are nearly independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from geonp.metrics import Ratio, crps_of_each

Array = NDArray[np.float64]

_ALONG = 8
"""Blocks along the longer side of a raster whose gaps are narrow."""


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """What a completion scores in each square block of a raster with anything scored in it.

    Parameters
    ----------
    side : of a block, in pixels; the first starts at the raster's first pixel.
    count, squared, crps : (B,), the values scored, their squared errors summed, their CRPS summed (None
        without a variance).
    """

    side: int
    count: NDArray[np.int64]
    squared: Array
    crps: Array | None

    @classmethod
    def of(
        cls,
        truth: NDArray[np.floating],
        mean: NDArray[np.floating],
        variance: NDArray[np.floating] | None,
        where: NDArray[np.bool_],
        side: int,
    ) -> Blocks:
        """Sum up scores by block.

        Parameters
        ----------
        truth, mean, variance : (band, y, x).
        where : (band, y, x) or (y, x), the pixels to score; unknown truth is never scored.
        side : of a block, in pixels.
        """
        chosen = np.broadcast_to(where, truth.shape) & np.isfinite(truth)
        _, rows, cols = np.nonzero(chosen)
        label = rows // side * (truth.shape[-1] // side + 1) + cols // side
        _, block = np.unique(label, return_inverse=True)
        t, m = truth[chosen].astype(np.float64), mean[chosen].astype(np.float64)
        crps = None if variance is None else crps_of_each(t, m, variance[chosen])
        return cls(
            side, np.bincount(block), _sum(block, (t - m) ** 2), None if crps is None else _sum(block, crps)
        )


def block_side(seen: NDArray[np.bool_], hidden: NDArray[np.bool_]) -> int:
    """Return the side in pixels of the blocks that are drawn together.

    An eighth of the longer side, or the width of the widest gap (twice the largest distance from a hidden
    pixel to a seen one) where that is more; half the longer side at most.

    Parameters
    ----------
    seen, hidden : (y, x), True at observed pixels and at those to be scored.
    """
    longest = max(seen.shape)
    widest = 0.0
    if seen.any() and hidden.any():
        widest = 2 * float(distance_transform_edt(~seen)[hidden].max())
    side: int = min(max(math.ceil(longest / _ALONG), math.ceil(widest)), math.ceil(longest / 2))
    return side


def ratio_of_blocks(
    ours: Sequence[Blocks],
    reference: Sequence[Blocks],
    score: Literal["rmse", "crps"],
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Ratio | None:
    """Return the ratio of two methods' scores over all values, with a block bootstrap interval.

    Parameters
    ----------
    ours, reference : of the same windows of a raster; blocks of all of them are drawn together.
    score : `rmse` (a ratio of roots of mean squares) or `crps` (of means).

    Returns
    -------
    Ratio
        Of `pairs` blocks; bounds are NaN where there is one alone. 1 where both scores are 0. None where a
        method has no such score, or the reference alone scores 0.

    References
    ----------
    Lahiri (2003), Resampling methods for dependent data, ch. 12 (blocks of a spatial sample); Efron and
    Tibshirani (1993), An introduction to the bootstrap, ch. 13 (percentile interval).
    """
    a, b = _sums(ours, score), _sums(reference, score)
    if a is None or b is None:
        return None
    power = 0.5 if score == "rmse" else 1.0
    if b.sum() == 0:
        return Ratio(1.0, math.nan, math.nan, a.size) if a.sum() == 0 else None
    value = float(a.sum() / b.sum()) ** power
    if a.size < 2:
        return Ratio(value, math.nan, math.nan, a.size)
    drawn = rng.integers(a.size, size=(resamples, a.size))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (a[drawn].sum(1) / b[drawn].sum(1)) ** power
    low, high = np.nanquantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return Ratio(value, float(low), float(high), a.size)


def _sum(block: NDArray[np.int64], scores: Array) -> Array:
    return np.asarray(np.bincount(block, scores), np.float64)


def _sums(parts: Sequence[Blocks], score: str) -> Array | None:
    found = [part.squared if score == "rmse" else part.crps for part in parts]
    known = [sums for sums in found if sums is not None]
    return np.concatenate(known) if known and len(known) == len(found) else None
