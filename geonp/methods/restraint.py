"""Bounds for interpolators whose slopes the observations do not always tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEEWAY = 2.0
"""Ranges of the observations around by which an answer may lie beyond them.

Measured on four pieces of terrain of 80 x 80 (12.5 % and 1 % at random, blocks, survey lines, strips, an edge): among
observations and in gaps nothing changes, or a few pixels in ten thousand, for the better as often as not; to the side
of a strip or of a track, where radial basis functions extrapolate, their root mean square error falls by up to a half.
"""


def restrained(found: Array, low: Array, high: Array) -> Array:
    """Return `found` within the range from `low` to `high`, widened by `LEEWAY` times itself on both sides.

    Parameters
    ----------
    found, low, high : of one shape; NaN in `found` stays.
    """
    room = LEEWAY * (high - low)
    return np.asarray(np.clip(found, low - room, high + room))
