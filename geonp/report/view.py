"""How a raster lies on a page: north up, its pixels as wide and high as they are on the ground."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from geonp.field import geobox, grid_shape, spacing

_STEPS = (5, 2, 1)


@dataclass(frozen=True, slots=True)
class View:
    """The grid of a picture.

    Parameters
    ----------
    shape : rows and columns.
    spacing : pixel size (dy, dx) in metres (coordinate units without a CRS, pixels without coordinates).
    flip : whether rows, and whether columns, are turned round so that north is up and east is right.
    unit : of the spacing: "m", "units" or "px".
    rotated : whether the grid is turned against its CRS; it is then shown as it is stored.
    """

    shape: tuple[int, int]
    spacing: tuple[float, float]
    flip: tuple[bool, bool] = (False, False)
    unit: str = "m"
    rotated: bool = False

    @classmethod
    def of(cls, field: xr.DataArray) -> Self:
        """Return the view of a field (..., y, x)."""
        box = geobox(field)
        shape, step = grid_shape(field), spacing(field)
        if box is None:
            return cls(shape, step, unit="px")
        a, b, _, d, e, _ = tuple(box.affine)[:6]
        rotated = b != 0 or d != 0
        flip = (False, False) if rotated else (e > 0, a < 0)
        return cls(shape, step, flip, "units" if box.crs is None else "m", rotated)

    def turn(self, image: ArrayLike) -> NDArray[Any]:
        """Return an array (y, x, ...) as it is shown."""
        array = np.asarray(image)
        return array[:: -1 if self.flip[0] else 1, :: -1 if self.flip[1] else 1]

    @property
    def width(self) -> float:
        """Metres from the left edge to the right."""
        return self.shape[1] * self.spacing[1]

    @property
    def height(self) -> float:
        """Metres from the top edge to the bottom."""
        return self.shape[0] * self.spacing[0]

    @property
    def aspect(self) -> float:
        """Width over height on the ground."""
        return self.width / self.height

    def scale_bar(self, share: float = 0.3) -> tuple[float, str]:
        """Return the length in metres of a round scale bar, `share` of the width at most, and its label."""
        length = round_length(share * self.width)
        return length, length_label(length, self.unit)


def round_length(most: float) -> float:
    """Return the largest of 1, 2, 5 x 10^k that is not above `most`."""
    power = 10.0 ** math.floor(math.log10(most))
    return next((step * power for step in _STEPS if step * power <= most * (1 + 1e-9)), power)


def length_label(length: float, unit: str) -> str:
    """Return a length with its unit; thousands of metres as kilometres."""
    if unit == "m" and length >= 1000:
        return f"{length / 1000:g} km"
    return f"{length:g} {unit}"
