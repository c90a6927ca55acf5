"""From a survey to a completed raster, window by window: read, complete, blend, hand on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from geonp import __version__
from geonp.blend import Layers, join
from geonp.errors import GeonpWarning, InputError, MethodError, UsageError
from geonp.field import (
    Summary,
    Window,
    as_field,
    geobox,
    grid_shape,
    grid_spacing,
    load,
    spacing,
    summarise,
    warn_without_crs,
)
from geonp.methods.base import Method, Place, Status, Values

DEFAULT_TILE = 1024
_LOCAL_SPACING_FROM = 1.1


def complete(
    field: xr.DataArray,
    method: Method,
    *,
    variance: bool = True,
    status: bool = False,
    tile: int = DEFAULT_TILE,
    keep_observed: bool = True,
) -> xr.Dataset:
    """Complete a field in memory.

    Parameters
    ----------
    field : DataArray with two spatial dimensions, NaN where not observed; other dimensions are bands. It may
        be lazy; it is read window by window.
    method : how to complete it (`geonp.methods.choose.choose`, or an object of one of the classes).
    variance : whether the variance is wanted.
    status : whether to add `status` (uint8: 0 masked, 1 observed, 2 interpolated, 3 extrapolated).
    tile : side in pixels of the windows.
    keep_observed : return observed pixels as they were, with variance 0, or as the method predicts them.

    Returns
    -------
    Dataset
        `mean` in the units of the field and `variance` in their square, dimensions (band, y, x), on the
        field's own coordinates.

    Raises
    ------
    InputError
        If nothing was observed.
    MethodError
        If a variance is wanted of a method without one.
    """
    field = as_field(field)
    mean = np.full(field.shape, np.nan, np.float32)
    spread = np.full(field.shape, np.nan, np.float32) if variance else None
    codes = np.zeros(field.shape, np.uint8) if status else None
    for layers in begin(field, method, variance=variance, tile=tile, keep_observed=keep_observed):
        where = (slice(None), *layers.window.within(Window.whole(grid_shape(field))))
        mean[where] = layers.mean
        if spread is not None and layers.variance is not None:
            spread[where] = layers.variance
        if codes is not None:
            codes[where] = layers.status
    bare = xr.DataArray(mean, coords=field.coords, dims=field.dims)
    out = {"mean": bare}
    if spread is not None:
        out["variance"] = bare.copy(data=spread)
    if codes is not None:
        out["status"] = bare.copy(data=codes)
    return xr.Dataset(out)


def begin(
    field: xr.DataArray,
    method: Method,
    *,
    variance: bool = True,
    tile: int = DEFAULT_TILE,
    keep_observed: bool = True,
) -> Completion:
    """Look at a field (band, y, x) once, prepare the method for it, and return what is ready to run.

    Parameters, errors: see `complete`. Two passes are made over the field: this one counts, the run reads.
    """
    if tile < 1:
        raise UsageError(f"a tile of {tile} pixels is impossible; give at least 1 (--tile 1024)")
    if variance and not method.has_variance:
        from geonp.methods import with_variance

        raise MethodError(
            f"method '{method.name}' gives no variance; ask for the mean alone (--mean FILE, variance=False) "
            f"or use one of: {', '.join(with_variance())}"
        )
    warn_without_crs(field)
    summary = summarise(field)
    _report(summary)
    if summary.constant.all() or (summary.observed == summary.pixels).all():
        return Completion(field, None, summary, variance, tile, keep_observed=True)
    method = method if keep_observed else method.smoothed()
    learn_from = field if method.joint else field.isel(band=np.flatnonzero(~summary.constant))
    return Completion(field, method.prepare(learn_from), summary, variance, tile, keep_observed)


@dataclass(frozen=True)
class Completion:
    """A field and the method prepared for it (None where nothing can be learnt, or nothing is to be filled).

    `summary` is what a pass over the field found; `variance`, `tile` and `keep_observed` are those of `complete`.
    Iterating completes the field and yields finished pieces in raster order, every pixel once; memory is
    bounded by a strip of windows, not by the raster.
    """

    field: xr.DataArray
    method: Method | None
    summary: Summary
    variance: bool
    tile: int
    keep_observed: bool

    def describe(self) -> dict[str, str]:
        """Return how the result was made, for the outputs' tags."""
        made_by = {"method": "none"} if self.method is None else self.method.describe()
        observed = "predicted too" if not self.keep_observed else "kept, with variance 0"
        return {"geonp": __version__, "observed_pixels": observed, **made_by}

    def __iter__(self) -> Iterator[Layers]:
        feather = 0 if self.method is None else self.method.feather
        completer = _Completer(self.field, self.method, self.summary, self.variance, self.keep_observed)
        return join(grid_shape(self.field), self.tile, feather, completer)


def _report(summary: Summary) -> None:
    if not summary.observed.any():
        lost = f" ({summary.infinite.sum()} are infinite)" if summary.infinite.any() else ""
        raise InputError(
            f"no pixel of {summary.pixels} is observed{lost}: there is nothing to complete from; "
            "check the band (--band) and the nodata value (--nodata)"
        )
    if summary.infinite.any():
        _note(f"{summary.infinite.sum()} infinite values are treated as not observed")
    if (summary.observed == summary.pixels).all():
        _note("every pixel is observed: the raster is returned as it is, with variance 0")
        return
    for band in np.flatnonzero(summary.observed == 0):
        _note(f"band {band + 1} has no observed pixel and stays empty")
    for band in np.flatnonzero((summary.observed > 0) & (summary.observed < 3)):
        prior = _prior_variance(summary, int(band))
        _note(
            f"band {band + 1} has {summary.observed[band]} observed pixel(s), too few to learn from: it is "
            f"filled with {summary.mean[band]:g} and a prior variance of {prior:g}"
        )


def _note(text: str) -> None:
    warnings.warn(text, GeonpWarning, stacklevel=5)


def _prior_variance(summary: Summary, band: int) -> float:
    """Return the variance of a band's unobserved pixels where no method can tell: what the data show, or,
    from one or two equal observations, which show nothing, the square of their size.
    """
    if summary.observed[band] == 0:
        return float("nan")
    if summary.minimum[band] == summary.maximum[band]:
        return 0.0 if summary.observed[band] > 2 else float(summary.mean[band] ** 2) or 1.0
    return float(2 * summary.variance[band])  # two values: the sample variance


class _Completer:
    """Completes one window of a field with a prepared method, or with none where nothing is left to fill."""

    def __init__(
        self,
        field: xr.DataArray,
        method: Method | None,
        summary: Summary,
        variance: bool,
        keep_observed: bool,
    ) -> None:
        self._field = field
        self._method = method
        self._summary = summary
        self._variance = variance
        self._keep_observed = keep_observed
        self._spacing = _measure(field)
        self._halo = 0 if method is None else method.halo
        joint = method is not None and method.joint
        self._bands = np.flatnonzero(np.ones_like(summary.constant) if joint else ~summary.constant)

    def __call__(self, wanted: Window) -> Layers:
        shape = grid_shape(self._field)
        place = Place(shape, wanted.grow(self._halo, shape), wanted)
        given = load(self._field, place.given)
        values = np.asarray(given.values, np.float32)
        inside = values[:, *place.inside]
        mean = np.full(inside.shape, np.nan, np.float32)
        variance = np.full(inside.shape, np.nan, np.float32) if self._variance else None
        if self._method is not None and np.isnan(inside[self._bands]).any():
            done = self._method.complete(values[self._bands], self._spacing(given), place)
            mean[self._bands] = done.mean
            if variance is not None and done.variance is not None:
                variance[self._bands] = np.maximum(done.variance, 0)
        for band in np.flatnonzero(self._summary.constant):
            mean[band] = self._summary.mean[band]
            if variance is not None:
                variance[band] = _prior_variance(self._summary, int(band))
        seen = np.isfinite(inside)
        returned = seen if self._keep_observed else seen & np.isnan(mean)
        mean[returned] = inside[returned]
        if variance is not None:
            variance[returned] = 0
        return Layers(wanted, mean, variance, self._status(values, mean, place))

    def _status(self, values: Values, mean: Values, place: Place) -> NDArray[np.uint8]:
        seen = np.isfinite(values)
        reach = 2 * self._halo + 1
        near = maximum_filter(seen.view(np.uint8), size=(1, reach, reach))[:, *place.inside] > 0
        status = np.where(near, np.uint8(Status.INTERPOLATED), np.uint8(Status.EXTRAPOLATED))
        status[seen[:, *place.inside]] = Status.OBSERVED
        status[np.isnan(mean)] = Status.MASKED
        return status


def _measure(field: xr.DataArray) -> Callable[[xr.DataArray], tuple[float, float]]:
    """Return how to measure a window's pixels: as at the raster's centre, so that windows agree, unless the
    pixels of a geographic grid differ too much from top to bottom.
    """
    box, everywhere = geobox(field), spacing(field)
    if box is not None and box.crs is not None and box.crs.geographic:
        widths = [grid_spacing(row)[1] for row in (box[:1, :], box[-1:, :])] + [everywhere[1]]
        if max(widths) > _LOCAL_SPACING_FROM * min(widths):
            return spacing
    return lambda window: everywhere
