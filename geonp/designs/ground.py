"""Where one can survey, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.errors import InputError
from geonp.field import as_field, geobox, grid_shape, load

Mask = NDArray[np.bool_]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ground:
    """What of a raster is open to a survey. `close` takes pixels out.

    Parameters
    ----------
    seen : (rows, columns), pixels that are observed.
    open : pixels that one can go to, observed or not.
    price : of a site, or of a metre of a line, at every pixel; None where all cost the same.
    spacing : metres (down, across) from a pixel to the next.
    """

    seen: Mask
    open: Mask
    price: Array | None
    spacing: tuple[float, float]

    @classmethod
    def of(
        cls,
        field: xr.DataArray,
        spacing: tuple[float, float],
        mask: xr.DataArray | None,
        cost: xr.DataArray | None,
    ) -> Ground:
        """Read a field, and a mask and a cost raster on its grid.

        Raises
        ------
        InputError
            If a raster lies on another grid, has several bands, or a cost is 0 or less; if no pixel is left.
        """
        seen = np.isfinite(load(field).to_numpy()[0])
        open_ = np.ones_like(seen)
        if mask is not None:
            barred = _fitting(field, mask, "mask")
            open_ &= ~(np.isfinite(barred) & (barred != 0))
        price = None
        if cost is not None:
            price = _fitting(field, cost, "cost")
            open_ &= np.isfinite(price)
        if price is not None and open_.any() and float(price[open_].min()) <= 0:
            raise InputError(
                f"the cost raster has costs down to {float(price[open_].min()):g}; costs are positive (NaN or the "
                "mask says where one cannot go)"
            )
        if not open_.any():
            which = " and ".join(
                n for n, r in (("the mask", mask), ("the cost raster", cost)) if r is not None
            )
            raise InputError(
                f"{which} leave{'s' if ' and ' not in which else ''} no pixel to survey; in a mask pixels that are not "
                "0 are barred, in a cost raster those without a value"
            )
        return cls(seen, open_, price, spacing)

    @property
    def free(self) -> Mask:
        """Pixels that can be surveyed and have not been."""
        return self.open & ~self.seen

    def close(self, rows: NDArray[np.int64], cols: NDArray[np.int64], distance: float) -> None:
        """Bar everything nearer than `distance` metres to the pixels `rows`, `cols` (N,)."""
        if distance <= 0:
            return
        dy, dx = map(abs, self.spacing)
        reach = int(distance / dy) + 1, int(distance / dx) + 1
        down, across = np.ogrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
        near = (down * dy) ** 2 + (across * dx) ** 2 < distance**2
        shape = self.open.shape
        for row, col in zip(rows.tolist(), cols.tolist(), strict=True):
            top, left = max(row - reach[0], 0), max(col - reach[1], 0)
            bottom, right = min(row + reach[0] + 1, shape[0]), min(col + reach[1] + 1, shape[1])
            part = near[
                top - row + reach[0] : bottom - row + reach[0], left - col + reach[1] : right - col + reach[1]
            ]
            self.open[top:bottom, left:right] &= ~part


def _fitting(field: xr.DataArray, other: xr.DataArray, what: str) -> Array:
    """Return a raster's values (rows, columns), if it lies on the field's grid."""
    raster = as_field(other)
    if raster.sizes["band"] != 1:
        raise InputError(f"the {what} raster has {raster.sizes['band']} bands; give one of them")
    if grid_shape(raster) != grid_shape(field):
        raise InputError(
            f"the {what} raster has {grid_shape(raster)} rows and columns, the survey {grid_shape(field)}; warp it "
            "onto the survey first (rio warp --like survey.tif)"
        )
    own, theirs = geobox(field), geobox(raster)
    if own is not None and theirs is not None:
        same = own.crs == theirs.crs or own.crs is None or theirs.crs is None
        if not same or not np.allclose(tuple(own.affine), tuple(theirs.affine), rtol=1e-6, atol=1e-9):
            raise InputError(
                f"the {what} raster lies elsewhere than the survey; warp it onto the survey first "
                "(rio warp --like survey.tif)"
            )
    return np.asarray(load(raster).to_numpy()[0], np.float64)


def place(field: xr.DataArray, row: float, col: float) -> tuple[float, float]:
    """Return the coordinates of the middle of a pixel, in the field's own."""
    box = geobox(field)
    if box is None:
        return col + 0.5, row + 0.5
    x, y = box.affine * (col + 0.5, row + 0.5)
    return float(x), float(y)
