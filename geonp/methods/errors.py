"""Errors of measurement: how far off each observation may be, by a raster beside the survey or by one number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.errors import InputError, UsageError
from geonp.field import Window, as_field, grid_shape, window_index
from geonp.io.grid import apply, exact_box
from geonp.methods.base import Method
from geonp.methods.wrapped import Wrapped, innermost

Values = NDArray[np.float32]
Stated = xr.DataArray | float
"""Standard deviations of the errors, in the units of the survey: a raster, or one number for all observations."""

_SAME = 0.01  # of a pixel


@dataclass(frozen=True)
class Errors:
    """The errors of a survey's observations, on its own pixels, read window by window.

    Parameters
    ----------
    name : what to call them in messages.
    number : standard deviation of every error, where `field` is None.
    field : (band, y, x), standard deviations, perhaps larger than memory; one band for all, or one for each.
    row, col : where the survey's first pixel lies on the raster.
    """

    name: str
    number: float = 0.0
    field: xr.DataArray | None = None
    row: int = 0
    col: int = 0

    @classmethod
    def of(cls, stated: Stated, survey: xr.DataArray) -> Errors:
        """Lay the errors on the pixels of a survey (band, y, x).

        Errors belong to single observations and are never interpolated: a raster must have the survey's pixels, and
        may reach beyond them.

        Raises
        ------
        UsageError
            If a number is negative or not finite.
        InputError
            If a raster has other pixels than the survey, or another number of bands.
        """
        if not isinstance(stated, xr.DataArray):
            number = checked_number(stated)
            return cls(f"{number:g}", number)
        field = as_field(stated)
        name = str(field.encoding.get("source", "") or field.name or "given")
        _require_bands(field, survey.sizes["band"], name)
        return cls(name, 0.0, field, *_offset(field, survey, name))

    def variances(self, values: Values, window: Window) -> Values:
        """Return the error variances (band, rows, columns) of a window's observations, 0 where there is none.

        Parameters
        ----------
        values : (band, rows, columns) of the survey, NaN where not observed.
        window : where they lie.

        Raises
        ------
        InputError
            If the error of an observation is negative, infinite or not known: how many are, and where the first is.
        """
        return self._of_bands(values, window, range(len(values)))

    def variance(self, values: Values, window: Window, band: int) -> Values:
        """Return what `variances` does for one band, of the values (rows, columns)."""
        return np.asarray(self._of_bands(values[None], window, [band])[0])

    def _of_bands(self, values: Values, window: Window, bands: Sequence[int]) -> Values:
        seen = np.isfinite(values)
        if self.field is None:
            return np.where(seen, np.float32(self.number**2), np.float32(0))
        std = self._read(window, list(bands))
        with np.errstate(invalid="ignore"):
            wrong = seen & ~(np.isfinite(std) & (std >= 0))
        if wrong.any():
            band, row, col = np.argwhere(wrong)[0]
            which = f" of band {bands[band] + 1}" if self.field.sizes["band"] > 1 else ""
            first = float(np.broadcast_to(std, wrong.shape)[band, row, col])
            raise InputError(
                f"the errors {self.name} cannot be those of {int(wrong.sum())} of {int(seen.sum())} observations "
                f"looked at: the first{which}, in row {row + window.row}, column {col + window.col}, is "
                f"{'missing' if math.isnan(first) else f'{first:g}'}; an error is a standard deviation in the units "
                "of the survey, 0 or more, and is needed wherever there is an observation: correct it, or leave the "
                "observation out"
            )
        return np.square(std, where=seen, out=np.zeros(seen.shape, np.float32))

    def _read(self, window: Window, bands: list[int]) -> Values:
        """Return standard deviations (1 or as many as bands, rows, columns), NaN where the raster does not reach."""
        assert self.field is not None
        part = self.field if self.field.sizes["band"] == 1 else self.field.isel(band=bands)
        out = np.full((part.sizes["band"], *window.shape), np.nan, np.float32)
        place = Window(window.row + self.row, window.col + self.col, *window.shape)
        top, left = max(place.row, 0), max(place.col, 0)
        bottom, right = (min(a, b) for a, b in zip(place.stop, grid_shape(self.field), strict=True))
        if bottom > top and right > left:
            there = Window(top, left, bottom - top, right - left)
            found = part.isel(window_index(there)).to_numpy()
            out[:, *there.within(place)] = found
        return out


def with_errors(method: Method, stated: Stated) -> Method:
    """Return `method`, told how far off each observation may be.

    Parameters
    ----------
    method : kriging, or the bundled network, which corrects kriging; or one of them with covariates.
    stated : standard deviations of the errors, in the units of the survey: a raster on the survey's pixels (of one
        band, or as many as the survey), known wherever there is an observation; or one number for all. 0 is exact.

    Raises
    ------
    UsageError
        If the method takes no errors, or the number is negative or not finite.
    """
    if not isinstance(stated, xr.DataArray):
        stated = checked_number(stated)
    if isinstance(method, Wrapped):
        return replace(method, base=with_errors(method.base, stated))
    if not takes_errors(method):
        raise UsageError(
            f"method '{method.name}' takes no errors of observations; leave them out (--error), or use kriging or "
            "bundled"
        )
    return cast(Method, replace(cast(Any, method), errors=stated))


def takes_errors(method: Method) -> bool:
    """Return whether `method` can be told errors of the observations."""
    return "errors" in {f.name for f in fields(cast(Any, innermost(method)))}


def errors_of(method: Method) -> Stated | None:
    """Return the errors that `method` was told, None where it was told none."""
    found: Stated | None = getattr(innermost(method), "errors", None)
    return found


def checked_number(stated: Any) -> float:
    """Return the standard deviation that all errors have.

    Raises
    ------
    UsageError
        If it is no number, negative or not finite.
    """
    try:
        number = float(stated)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise UsageError(
            f"an error of {stated!r} is impossible: give a raster of standard deviations, or one for all "
            "observations, 0 or more, in the units of the survey"
        )
    return number


def of_bands(stated: Stated, bands: Sequence[int], count: int) -> Stated:
    """Return the errors of some bands of a survey of `count`; see `Errors.of`."""
    if not isinstance(stated, xr.DataArray):
        return stated
    field = as_field(stated)
    _require_bands(field, count, str(field.encoding.get("source", "") or field.name or "given"))
    return field if field.sizes["band"] == 1 else field.isel(band=list(bands))


def _require_bands(field: xr.DataArray, count: int, name: str) -> None:
    if field.sizes["band"] not in (1, count):
        raise InputError(
            f"the errors {name} have {field.sizes['band']} bands and the survey {count}; give one band for all of "
            "its bands, or one for each"
        )


def _offset(field: xr.DataArray, survey: xr.DataArray, name: str) -> tuple[int, int]:
    """Return row and column on `field` of the survey's first pixel."""
    own, box = exact_box(field), exact_box(survey)
    shapes = f"{grid_shape(field)} pixels and the survey {grid_shape(survey)}"
    if own is None or box is None:
        if own is None and box is None and grid_shape(field) == grid_shape(survey):
            return 0, 0
        raise InputError(
            f"the errors {name} have {shapes}: without coordinates on both, their pixels must be the same; "
            "georeference them"
        )
    rows, cols = box.shape
    x, y = np.array([0.0, cols, 0, cols]), np.array([0.0, 0, rows, rows])
    there = apply(~own.affine, *apply(box.affine, x, y))
    shift = np.stack([there[1] - y, there[0] - x])
    whole = np.round(shift[:, :1])
    alike = own.crs == box.crs and bool(np.isfinite(shift).all())
    if not (alike and np.abs(shift - whole).max() < _SAME):
        raise InputError(
            f"the errors {name} lie on another grid than the survey ({shapes}): errors belong to single observations "
            "and are not interpolated; bring them onto its pixels first: "
            f"rio warp {name} errors.tif --like SURVEY --resampling nearest"
        )
    return int(whole[0, 0]), int(whole[1, 0])
