"""From a survey to a completed raster, window by window: read, complete, blend, hand on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from geonp import __version__
from geonp.blend import Layers, assemble, cover
from geonp.errors import GeonpWarning, InputError, MethodError, UsageError
from geonp.field import (
    Summary,
    Window,
    as_field,
    check_spread,
    geobox,
    grid_shape,
    grid_spacing,
    load,
    spacing,
    summarise,
    warn_without_crs,
)
from geonp.memory import Budget, Work
from geonp.methods.base import Method, Place, Status, Values
from geonp.pipeline import ahead

DEFAULT_TILE = 1024
"""Side in pixels of windows, where nothing is known of the memory that a method takes."""

_LOCAL_SPACING_FROM = 1.1


def complete(
    field: xr.DataArray,
    method: Method,
    *,
    variance: bool = True,
    status: bool = False,
    tile: int | None = None,
    memory: int | None = None,
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
    tile : side in pixels of the windows; None takes what suits the method and fits into the memory.
    memory : bytes that the program may take in all, beside the result; None is what it has, and a quarter of what is
        free, 1.5 GB at most.
    keep_observed : return observed pixels as they were, with variance 0, or as the method predicts them. Those whose
        error is stated (`Kriging(errors=...)`) and not 0 are estimated in any case.

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
    UsageError
        If `memory` is given and is not enough.
    """
    field = as_field(field)
    ready = begin(field, method, variance=variance, tile=tile, memory=memory, keep_observed=keep_observed)
    return collect(ready, ready, status=status)


def collect(ready: Completion, pieces: Iterable[Layers], *, status: bool) -> xr.Dataset:
    """Return `mean`, and where wanted `variance` and `status`, put together from the pieces of a `ready` run."""
    field = ready.field
    mean = np.full(field.shape, np.nan, np.float32)
    spread = np.full(field.shape, np.nan, np.float32) if ready.variance else None
    codes = np.zeros(field.shape, np.uint8) if status else None
    for layers in pieces:
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
    tile: int | None = None,
    memory: int | None = None,
    keep_observed: bool = True,
) -> Completion:
    """Look at a field (band, y, x) once, prepare the method for it, and return what is ready to run.

    Parameters, errors: see `complete`. Two passes are made over the field: this one counts, the run reads.
    """
    check_request(method, variance=variance, tile=tile)
    budget = Budget.of(memory)
    warn_without_crs(field)
    summary = summarise(field)
    _report(summary, method.filters)
    if variance:
        check_spread(summary)
    if summary.constant.all() or ((summary.observed == summary.pixels).all() and not method.filters):
        tile = Work(None, grid_shape(field), field.sizes["band"]).choose(budget, tile)
        return Completion(field, None, summary, variance, tile, keep_observed=True)
    method = method if keep_observed else method.smoothed()
    learn_from = field
    if not method.joint:
        bands = np.flatnonzero(~summary.constant)
        learn_from, method = field.isel(band=bands), method.of_bands(bands.tolist(), len(summary.constant))
    prepared = method.prepare(learn_from)
    tile = Work(prepared, grid_shape(field), field.sizes["band"]).choose(budget, tile)
    return Completion(field, prepared, summary, variance, tile, keep_observed)


def check_request(method: Method, *, variance: bool, tile: int | None) -> None:
    """Raise UsageError for a tile without pixels, MethodError for the variance of a method without one."""
    if tile is not None and tile < 1:
        raise UsageError(f"a tile of {tile} pixels is impossible; give at least 1 (--tile 1024)")
    if variance and not method.has_variance:
        from geonp.methods import with_variance

        raise MethodError(
            f"method '{method.name}' gives no variance; ask for the mean alone (--mean FILE, variance=False) "
            f"or use one of: {', '.join(with_variance())}"
        )


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
        if self.keep_observed and self.method is not None and self.method.filters:
            observed = "estimated where their error is not 0, else kept, with variance 0"
        return {"geonp": __version__, "observed_pixels": observed, **made_by}

    def __iter__(self) -> Iterator[Layers]:
        return self.assemble(self.completed(self.windows()))

    def bytes_needed(self) -> int:
        """Return the memory in bytes that the run takes at its peak beside the program: an estimate."""
        return Work(self.method, grid_shape(self.field), self.field.sizes["band"]).bytes_needed(self.tile)

    def windows(self) -> list[Window]:
        """Return the windows in which the field is completed, in the order in which `assemble` takes them."""
        return cover(grid_shape(self.field), self.tile, self._feather)

    def completer(self) -> Completer:
        """Return what completes any window of the field by itself."""
        return Completer(self.field, self.method, self.summary, self.variance, self.keep_observed)

    def completed(self, windows: Sequence[Window]) -> Iterator[Layers]:
        """Complete windows one after the other; the next one is read meanwhile."""
        completer = self.completer()
        if len(windows) < 2:
            yield from map(completer, windows)
            return
        with closing(ahead(completer.read, windows)) as given:
            yield from map(completer.complete, given)

    def assemble(self, layers: Iterable[Layers]) -> Iterator[Layers]:
        """Yield finished pieces, every pixel once, from the `windows`, completed, in their order."""
        return assemble(grid_shape(self.field), self.tile, self._feather, layers)

    @property
    def _feather(self) -> int:
        return 0 if self.method is None else self.method.feather


def _report(summary: Summary, filters: bool) -> None:
    if not summary.observed.any():
        lost = f" ({summary.infinite.sum()} are infinite)" if summary.infinite.any() else ""
        raise InputError(
            f"no pixel of {summary.pixels} is observed{lost}: there is nothing to complete from; "
            "check the band (--band) and the nodata value (--nodata)"
        )
    if summary.infinite.any():
        _note(f"{summary.infinite.sum()} infinite values are treated as not observed")
    if (summary.observed == summary.pixels).all():
        if filters:
            return
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


@dataclass(frozen=True, slots=True)
class Given:
    """A window as it was read.

    Parameters
    ----------
    place : the window, and the pixels around it that the method reads.
    values : float32 (band, y, x) of `place.given`, NaN where not observed.
    spacing : pixel size (dy, dx) in metres (the raster's own units where it has no CRS).
    """

    place: Place
    values: Values
    spacing: tuple[float, float]


class Completer:
    """Completes windows of a field with a prepared method, or with none where nothing is left to fill.

    Reading and computing can be called from different threads.

    Parameters
    ----------
    field, method, summary, variance, keep_observed : those of a `Completion`.
    """

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
        """Read and complete one window."""
        return self.complete(self.read(wanted))

    def read(self, wanted: Window) -> Given:
        """Read the window `wanted`, and around it what the method needs."""
        shape = grid_shape(self._field)
        place = Place(shape, wanted.grow(self._halo, shape), wanted)
        given = load(self._field, place.given)
        return Given(place, np.asarray(given.values, np.float32), self._spacing(given))

    def complete(self, given: Given) -> Layers:
        """Complete a window as it was read: `given`."""
        values, place = given.values, given.place
        inside = values[:, *place.inside]
        mean = np.full(inside.shape, np.nan, np.float32)
        variance = np.full(inside.shape, np.nan, np.float32) if self._variance else None
        method, estimated = self._method, np.zeros(inside.shape, bool)
        if method is not None and (method.filters or np.isnan(inside[self._bands]).any()):
            errors = self._fill(method, given, mean, variance)
            estimated[self._bands] = False if errors is None else errors > 0
        for band in np.flatnonzero(self._summary.constant):
            mean[band] = self._summary.mean[band]
            if variance is not None:
                variance[band] = _prior_variance(self._summary, int(band))
        seen = np.isfinite(inside)
        returned = seen & ~estimated if self._keep_observed else seen & np.isnan(mean)
        mean[returned] = inside[returned]
        if variance is not None:
            variance[returned] = 0
        return Layers(place.wanted, mean, variance, self._status(values, mean, place))

    def _fill(self, method: Method, given: Given, mean: Values, variance: Values | None) -> Values | None:
        """Put the method's answer where it may be needed: around the holes, where windows leave no trace.

        Return the error variances of the observations, where they are stated.
        """
        place, values = given.place, given.values[self._bands]
        if self._keep_observed and method.feather == 0 and not method.filters:
            part = _around_holes(values[:, *place.inside], place, self._halo)
            values = values[:, *part.given.within(place.given)]
        else:
            part = place
        done = method.complete(values, given.spacing, part)
        where = (self._bands, *part.wanted.within(place.wanted))
        mean[where] = done.mean
        if variance is not None and done.variance is not None:
            variance[where] = np.maximum(done.variance, 0)
        return done.errors

    def _status(self, values: Values, mean: Values, place: Place) -> NDArray[np.uint8]:
        seen = np.isfinite(values)
        reach = 2 * self._halo + 1
        near = maximum_filter(seen.view(np.uint8), size=(1, reach, reach))[:, *place.inside] > 0
        status = np.where(near, np.uint8(Status.INTERPOLATED), np.uint8(Status.EXTRAPOLATED))
        status[seen[:, *place.inside]] = Status.OBSERVED
        status[np.isnan(mean)] = Status.MASKED
        return status


def _around_holes(inside: Values, place: Place, halo: int) -> Place:
    """Return the part of a place whose wanted pixels are the rectangle around all that is not observed."""
    holes = np.asarray(np.isnan(inside).any(0))
    rows, cols = np.flatnonzero(holes.any(1)), np.flatnonzero(holes.any(0))
    wanted = Window(
        place.wanted.row + int(rows[0]),
        place.wanted.col + int(cols[0]),
        int(rows[-1] - rows[0]) + 1,
        int(cols[-1] - cols[0]) + 1,
    )
    return Place(place.raster, wanted.grow(halo, place.raster), wanted)


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
