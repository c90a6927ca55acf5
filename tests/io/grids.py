"""Grids of every kind."""

import numpy as np
from affine import Affine

NAN = np.float32(np.nan)
NORTH_UP = Affine(30, 0, 500_000, 0, -30, 4_000_000)
GRIDS = {
    "north-up": NORTH_UP,
    "south-up": Affine(30, 0, 500_000, 0, 30, 4_000_000),
    "non-square": Affine(25, 0, 500_000, 0, -10, 4_000_000),
    "rotated": Affine.translation(500_000, 4_000_000) @ Affine.rotation(25) @ Affine.scale(20, -10),
}
ALL_GRIDS = {**GRIDS, "sheared": Affine(20, 3, 500_000, -2, -10, 4_000_000)}
"""Tests of reading have one more than tests of writing."""
