"""Covariates: rasters that a field follows (terrain, another band, yesterday's scene), on the field's own grid."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, map_coordinates

from geonp.errors import GeonpWarning, InputError
from geonp.field import DIMS, Window, as_field, grid_shape, load, windows
from geonp.io.grid import agree, apply, exact_box
from geonp.io.lazy import LazyGrid

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pyproj import Transformer

Values = NDArray[np.float32]
Array = NDArray[np.float64]

_EDGE = 1e-6  # of a pixel
_READ = 2048
_HELD = 1 << 24
"""Values of all covariates together that are held in memory, and whose holes can be filled."""
_FEW, _TOO_MANY = 0.05, 0.5


@dataclass(frozen=True)
class _Source:
    """A raster, and how the pixels of the survey are found on it.

    Parameters
    ----------
    field : (band, y, x), perhaps larger than memory.
    name : what to call it in messages.
    survey, own : geoboxes of the survey and of this raster; None where its pixels are the survey's.
    between : from the survey's coordinates to its own; None where they are the same.
    cells : pixels (down, across) of this raster to a pixel of the survey: averaged where 2 or more.
    """

    field: xr.DataArray
    name: str
    survey: GeoBox | None = None
    own: GeoBox | None = None
    between: Transformer | None = None
    cells: tuple[int, int] = (1, 1)

    def window(self, window: Window) -> Values:
        """Return the raster (band, rows, columns) at the pixels of a window of the survey, NaN where unknown."""
        if self.survey is None or self.own is None:
            return np.asarray(load(self.field, window).to_numpy(), np.float32)
        rows, cols = _places(self.survey, self.own, self.between, window)
        height, width = grid_shape(self.field)
        out = np.full((self.field.sizes["band"], *window.shape), np.nan, np.float32)
        with np.errstate(invalid="ignore"):
            inside = (rows >= -0.5 - _EDGE) & (rows <= height - 0.5 + _EDGE)
            inside &= (cols >= -0.5 - _EDGE) & (cols <= width - 0.5 + _EDGE)
        if not inside.any():
            return out
        down, across = self.cells
        top, bottom = _span(rows[inside], down, height)
        left, right = _span(cols[inside], across, width)
        part = load(self.field, Window(top, left, bottom - top, right - left)).to_numpy()
        for band, values in enumerate(part):
            coarse = _averaged(values.astype(np.float64), down, across)
            at = [
                (rows[inside] - top - (down - 1) / 2) / down,
                (cols[inside] - left - (across - 1) / 2) / across,
            ]
            out[band][inside] = map_coordinates(coarse, at, order=1, mode="nearest")
        return out


@dataclass(frozen=True)
class Covariates:
    """Rasters on the grid of a survey, read window by window.

    Parameters
    ----------
    sources : the rasters; each band is one covariate.
    """

    word: ClassVar[str] = "covariate"

    sources: tuple[_Source, ...]

    @classmethod
    def of(cls, rasters: Sequence[xr.DataArray], survey: xr.DataArray) -> Self:
        """Find the survey's pixels on every raster.

        Rasters on another grid are interpolated bilinearly at the middles of the survey's pixels; finer ones
        are averaged to about its pixels first.

        Raises
        ------
        InputError
            If a raster is not georeferenced as the survey is.

        Warns
        -----
        GeonpWarning
            Where a raster is resampled.
        """
        return cls(tuple(_aligned(as_field(r), survey, i, cls.word) for i, r in enumerate(rasters, 1)))

    @property
    def count(self) -> int:
        """Covariates."""
        return sum(s.field.sizes["band"] for s in self.sources)

    @property
    def names(self) -> tuple[str, ...]:
        """What the rasters are called."""
        return tuple(s.name for s in self.sources)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the covariates are called: a raster's name, with the number of the band where it has several."""
        return tuple(
            s.name if s.field.sizes["band"] == 1 else f"{s.name}:{band + 1}"
            for s in self.sources
            for band in range(s.field.sizes["band"])
        )

    def window(self, window: Window) -> Values:
        """Return the covariates (q, rows, columns) at the pixels of a window, NaN where unknown."""
        return np.concatenate([source.window(window) for source in self.sources])


@dataclass(frozen=True)
class Laid:
    """Covariates laid on a survey's grid, looked at once.

    Parameters
    ----------
    labels : what they are called, (q,).
    field : (q, y, x) on the survey's pixels, NaN where unknown; lazy where it is large.
    unknown : share of the survey's pixels at which each is not known, (q,).
    mean : of the known pixels, (q,).
    """

    labels: tuple[str, ...]
    field: xr.DataArray
    unknown: tuple[float, ...]
    mean: tuple[float, ...]

    def only(self, chosen: Sequence[int]) -> Laid:
        """Return some of the covariates: those with the `chosen` numbers, from 0."""
        return Laid(
            tuple(self.labels[i] for i in chosen),
            self.field.isel(band=list(chosen)),
            tuple(self.unknown[i] for i in chosen),
            tuple(self.mean[i] for i in chosen),
        )

    @property
    def holey(self) -> bool:
        """Whether a covariate is unknown anywhere."""
        return any(self.unknown)

    def window(self, window: Window) -> Values:
        """Return the covariates (q, rows, columns) at the pixels of a window, NaN where unknown."""
        return np.asarray(load(self.field, window).to_numpy(), np.float32)

    def without_holes(self) -> xr.DataArray:
        """Return the field with each covariate's mean where it is unknown: for what is never looked at."""
        return _Plugged(self).like(self.field) if self.holey else self.field

    def where_known(self, survey: xr.DataArray) -> xr.DataArray:
        """Return the survey (band, y, x) without the observations at which a covariate is unknown."""
        return _Known(survey, self).like(survey) if self.holey else survey


def lay(rasters: Sequence[xr.DataArray], survey: xr.DataArray) -> Laid:
    """Lay rasters on the grid of a survey: reprojected, averaged or interpolated, small holes filled.

    Holes of up to 5 % of the pixels are filled linearly from the pixels around them, where they are surrounded
    by known ones and the survey has at most 2^24 pixels (all covariates together).

    Parameters
    ----------
    rasters : one or several; each band is a covariate.
    survey : (band, y, x).

    Raises
    ------
    InputError
        If a raster is not georeferenced as the survey is, or is unknown at more than half of its pixels.

    Warns
    -----
    GeonpWarning
        Where a raster is resampled or filled, or is unknown at some pixels.
    """
    found = Covariates.of(rasters, survey)
    field = _Aligned(found, grid_shape(survey)).like(survey.isel(band=[0] * found.count))
    if field.size <= _HELD:
        field = load(field)
        for label, values in zip(found.labels, field.values, strict=True):
            if filled := _fill(values):
                _note(f"the covariate {label} has holes: {filled} pixels are filled from those around them")
    known, total = np.zeros(found.count), np.zeros(found.count)
    for window in windows(grid_shape(survey), _READ):
        values = load(field, window).to_numpy()
        known += np.isfinite(values).sum((1, 2))
        total += np.where(np.isfinite(values), values, 0).sum((1, 2), dtype=np.float64)
    unknown = 1 - known / math.prod(grid_shape(survey))
    for label, share in zip(found.labels, unknown, strict=True):
        if share > _TOO_MANY:
            what = "covers none" if share == 1 else f"is not known at {share:.0%}"
            raise InputError(
                f"the covariate {label} {what} of the survey's pixels; give one that covers it, fill it first "
                "(geonp predict), crop the survey (--bounds), or leave it out"
            )
        if share:
            _note(
                f"the covariate {label} is not known at {share:.2%} of the survey's pixels: those are completed "
                "without covariates, and observations there are not used beside them"
            )
    return Laid(
        found.labels, field, tuple(map(float, unknown)), tuple(map(float, total / np.maximum(known, 1)))
    )


def beside(field: xr.DataArray, rasters: Sequence[xr.DataArray]) -> xr.DataArray:
    """Return a field (band, y, x) with rasters laid on its grid as further bands, unread.

    Raises
    ------
    InputError
        If a raster is not georeferenced as the field is.

    Warns
    -----
    GeonpWarning
        Where a raster is resampled.
    """
    return _Beside(field, Covariates.of(rasters, field)).like(field)


class Computed(LazyGrid):
    """Pixels computed window by window; subclasses say what a window holds."""

    def window(self, window: Window) -> Values:
        """Return the pixels (band, rows, columns) of a window."""
        raise NotImplementedError

    def read(self, bands: range, rows: range, cols: range) -> Values:
        """Return the pixels of these `bands`, `rows` and `cols` (columns)."""
        window = Window(rows.start, cols.start, rows[-1] + 1 - rows.start, cols[-1] + 1 - cols.start)
        return self.window(window)[bands.start : bands.stop : bands.step, :: rows.step, :: cols.step]

    def like(self, field: xr.DataArray) -> xr.DataArray:
        """Return the pixels, unread, as a field on the coordinates of another."""
        coords = {name: c for name, c in field.coords.items() if "band" not in c.dims}
        name = None if field.name is None else str(field.name)
        return self.field(coords, field.attrs, name, "").transpose(*DIMS)


class _Aligned(Computed):
    def __init__(self, covariates: Covariates, shape: tuple[int, int]) -> None:
        self.covariates = covariates
        self.shape = (covariates.count, *shape)

    def window(self, window: Window) -> Values:
        return self.covariates.window(window)


class _Beside(Computed):
    def __init__(self, whole: xr.DataArray, covariates: Covariates) -> None:
        self.whole, self.covariates = whole, covariates
        self.shape = (whole.sizes["band"] + covariates.count, *grid_shape(whole))

    def window(self, window: Window) -> Values:
        values = load(self.whole, window).to_numpy()
        return np.concatenate([values, self.covariates.window(window)])


class _Plugged(Computed):
    def __init__(self, laid: Laid) -> None:
        self.laid = laid
        self.shape = laid.field.shape

    def window(self, window: Window) -> Values:
        values = self.laid.window(window)
        mean = np.array(self.laid.mean, np.float32)[:, None, None]
        return np.where(np.isfinite(values), values, mean)


class _Known(Computed):
    def __init__(self, survey: xr.DataArray, laid: Laid) -> None:
        self.survey, self.laid = survey, laid
        self.shape = survey.shape

    def window(self, window: Window) -> Values:
        known = np.isfinite(self.laid.window(window)).all(0)
        return np.where(known, load(self.survey, window).to_numpy(), np.float32(np.nan))


def _fill(values: Values) -> int:
    """Fill small holes linearly, in place; return how many pixels were filled."""
    hole = ~np.isfinite(values)
    if not hole.any() or hole.mean() > _FEW:
        return 0
    from scipy.interpolate import LinearNDInterpolator  # large, and hardly ever needed
    from scipy.spatial import QhullError

    ring = binary_dilation(hole, np.ones((3, 3), bool)) & ~hole
    at, wanted = np.argwhere(ring), np.argwhere(hole)
    try:
        told = LinearNDInterpolator(at, values[ring])(wanted)
    except QhullError:  # fewer than three pixels around, or all of them on a line
        return 0
    good = np.isfinite(told)
    values[tuple(wanted[good].T)] = told[good]
    return int(good.sum())


def _aligned(field: xr.DataArray, survey: xr.DataArray, number: int, word: str) -> _Source:
    name = str(field.encoding.get("source", "") or field.name or f"raster {number}")
    box, own = exact_box(survey), exact_box(field)
    same = grid_shape(field) == grid_shape(survey)
    if box is None or own is None:
        if same and box is None and own is None:
            return _Source(field, name)
        raise InputError(
            f"the {word} {name} of {grid_shape(field)} pixels cannot be laid on the survey of "
            f"{grid_shape(survey)}: without coordinates both must have the same pixels; georeference them"
        )
    alike = box.crs is None or own.crs is None or box.crs == own.crs
    if same and alike and agree(own.affine, box.affine, box.shape):
        return _Source(field, name)
    if (box.crs is None) != (own.crs is None):
        which = "survey" if box.crs is None else f"{word} {name}"
        raise InputError(
            f"the {which} has no CRS, so that the two cannot be laid on each other; assign it one"
        )
    between = None
    if not alike:
        from pyproj import Transformer

        between = Transformer.from_crs(box.crs.to_wkt(), own.crs.to_wkt(), always_xy=True)
    cells = _cells(box, own, between)
    how = "averaged and interpolated" if max(cells) > 1 else "interpolated"
    _note(f"the {word} {name} is {how} on the survey's grid")
    return _Source(field, name, box, own, between, cells)


def _places(survey: GeoBox, own: GeoBox, between: Transformer | None, window: Window) -> tuple[Array, Array]:
    """Return rows and columns (h, w) on a raster, 0 in the middle of its first pixel, of survey pixels."""
    from affine import Affine

    col, row = np.meshgrid(
        window.col + np.arange(window.width) + 0.5, window.row + np.arange(window.height) + 0.5
    )
    x, y = apply(survey.affine, col, row)
    if between is not None:
        x, y = between.transform(x, y)
    cols, rows = apply(~Affine(*tuple(own.affine)[:6]), x, y)
    return np.asarray(rows - 0.5), np.asarray(cols - 0.5)


def _cells(survey: GeoBox, own: GeoBox, between: Transformer | None) -> tuple[int, int]:
    """Return how many pixels of a raster (down, across) make one of the survey, in its middle."""
    middle = Window(survey.shape[0] // 2, survey.shape[1] // 2, 2, 2)
    rows, cols = _places(survey, own, between, middle)
    if not (np.isfinite(rows).all() and np.isfinite(cols).all()):
        return 1, 1
    down = math.hypot(rows[1, 0] - rows[0, 0], rows[0, 1] - rows[0, 0])
    across = math.hypot(cols[1, 0] - cols[0, 0], cols[0, 1] - cols[0, 0])
    return max(1, round(down)), max(1, round(across))


def _span(places: Array, step: int, size: int) -> tuple[int, int]:
    """Return the first and last (exclusive) pixel to read, whole blocks of `step` from the raster's origin."""
    start = max(math.floor((places.min() - (step - 1) / 2) / step), 0) * step
    stop = (math.floor((places.max() - (step - 1) / 2) / step) + 2) * step
    return min(start, (size - 1) // step * step), min(stop, size)


def _averaged(values: Array, down: int, across: int) -> Array:
    """Return means over blocks of pixels; the last ones may be cut off by the edge."""
    if (down, across) == (1, 1):
        return values
    rows, cols = (np.arange(0, n, s) for n, s in zip(values.shape, (down, across), strict=True))
    total = np.add.reduceat(np.add.reduceat(values, rows, 0), cols, 1)
    size = np.add.reduceat(np.add.reduceat(np.ones_like(values), rows, 0), cols, 1)
    return np.asarray(total / size)


def _note(text: str) -> None:
    warnings.warn(text, GeonpWarning, stacklevel=3)
