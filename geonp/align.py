"""A truth beside a survey: on the same pixels, or an error that says how to bring it there."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS

from geonp.errors import GeonpWarning, InputError
from geonp.field import Window, as_field, grid_shape, load
from geonp.io.grid import exact_box

_SAME = 0.01
"""Of a pixel: how far the corners of two grids may lie apart."""


@dataclass(frozen=True)
class Truth:
    """A field (band, y, x) and where its first pixel lies: row and column of the survey, maybe negative."""

    field: xr.DataArray
    row: int = 0
    col: int = 0

    def load(self, window: Window) -> NDArray[np.float32]:
        """Return the values (band, rows, columns) in a window of the survey; NaN where it does not reach."""
        out = np.full((self.field.sizes["band"], *window.shape), np.nan, np.float32)
        rows, cols = grid_shape(self.field)
        top, left = max(window.row, self.row), max(window.col, self.col)
        bottom, right = min(window.stop[0], self.row + rows), min(window.stop[1], self.col + cols)
        if top < bottom and left < right:
            part = Window(top - self.row, left - self.col, bottom - top, right - left)
            inside = Window(top, left, bottom - top, right - left).within(window)
            out[:, *inside] = load(self.field, part).values
        return out


def beside(truth: xr.DataArray, survey: xr.DataArray) -> Truth:
    """Return the truth on the pixels of a survey.

    Nothing is resampled: a truth that was would be scored for its resampling too. One that covers more or less
    than the survey is shifted by whole pixels.

    Parameters
    ----------
    truth, survey : fields, lazy or not.

    Raises
    ------
    InputError
        If bands, CRS, pixel size or orientation differ, pixels do not fall onto each other, or the two do not
        overlap. The message has the command that warps the truth.

    Warns
    -----
    GeonpWarning
        If the truth is shifted, or placed by its shape alone.
    """
    truth, survey = as_field(truth), as_field(survey)
    theirs, ours = truth.sizes["band"], survey.sizes["band"]
    if theirs != ours:
        raise InputError(f"the truth has {theirs} band(s), the survey {ours}; choose bands with --band")
    there, here = exact_box(truth), exact_box(survey)
    if there is None or here is None:
        return _by_shape(truth, survey)
    _check_crs(there, here)
    a, b, col, d, e, row = tuple(~here.affine * there.affine)[:6]
    shape = np.array([grid_shape(truth), grid_shape(survey)]).max(0)
    stretched = max(abs(a - 1), abs(d)) * shape[1] > _SAME or max(abs(e - 1), abs(b)) * shape[0] > _SAME
    if stretched or max(abs(col - round(col)), abs(row - round(row))) > _SAME:
        raise InputError(
            f"the truth lies on another grid than the survey ({_grid(there)} against {_grid(here)}); {_WARP}"
        )
    placed = Truth(truth, round(row), round(col))
    _check_overlap(placed, grid_shape(survey))
    if (placed.row, placed.col) != (0, 0) or grid_shape(truth) != grid_shape(survey):
        warnings.warn(
            f"the truth ({_shape(truth)}) covers another area than the survey ({_shape(survey)}): it was moved "
            f"by {placed.row} rows and {placed.col} columns, and is scored where both are",
            GeonpWarning,
            stacklevel=2,
        )
    return placed


_WARP = (
    "bring it there first, and mind that this changes it: "
    "rio warp truth.tif aligned.tif --like survey.tif --resampling bilinear"
)


def _by_shape(truth: xr.DataArray, survey: xr.DataArray) -> Truth:
    if grid_shape(truth) != grid_shape(survey):
        raise InputError(
            f"the truth ({_shape(truth)}) and the survey ({_shape(survey)}) differ in size, and one of them has "
            "no coordinates to tell which pixels belong together; georeference both, or crop them alike"
        )
    if (exact_box(truth) is None) != (exact_box(survey) is None):
        warnings.warn(
            "only one of truth and survey has coordinates: they are compared pixel by pixel",
            GeonpWarning,
            stacklevel=3,
        )
    return Truth(truth)


def _check_crs(there: GeoBox, here: GeoBox) -> None:
    if there.crs is None or here.crs is None:
        if (there.crs is None) != (here.crs is None):
            lacking = "truth" if there.crs is None else "survey"
            warnings.warn(
                f"the {lacking} has no CRS and is taken to be in that of the other",
                GeonpWarning,
                stacklevel=3,
            )
        return
    theirs, ours = there.crs.proj, here.crs.proj
    # Written by different programs, the same system differs in its text.
    same = theirs.equals(ours, ignore_axis_order=True) or theirs.to_epsg() == ours.to_epsg() is not None
    if not same:
        raise InputError(f"the truth is in {_system(theirs)}, the survey in {_system(ours)}; {_WARP}")


def _check_overlap(placed: Truth, shape: tuple[int, int]) -> None:
    rows, cols = grid_shape(placed.field)
    if placed.row >= shape[0] or placed.col >= shape[1] or placed.row + rows <= 0 or placed.col + cols <= 0:
        raise InputError(
            f"the truth lies {placed.row} rows and {placed.col} columns away from the survey, and nowhere on it; "
            "give the truth of the same area"
        )


def _system(crs: CRS) -> str:
    code = crs.to_epsg()
    return f"EPSG:{code} ({crs.name})" if code else str(crs.name)


def _shape(field: xr.DataArray) -> str:
    return " x ".join(map(str, grid_shape(field)))


def _grid(box: GeoBox) -> str:
    a, b, c, d, e, f = tuple(box.affine)[:6]
    turned = "" if b == 0 and d == 0 else ", rotated"
    return f"pixels of {abs(e):.6g} x {abs(a):.6g}{turned}, the first at ({c:.10g}, {f:.10g})"
