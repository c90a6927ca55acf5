"""From a survey to a completed raster, window by window.

`begin` looks at the field once and prepares the method. What it returns, a `Completion`, goes the rest of the way
step by step: `windows` (where), `completed` (read and fill each: `geonp.completer`), `assemble` (blend them and hand
on finished pieces: `geonp.blend`). Iterating over it takes all three, `collect` puts the pieces into arrays, and
commands give them to a writer of `geonp.io`. Whoever keeps windows (`geonp.journal`) or has them computed elsewhere
(`geonp.cluster`) takes the place of `completed`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import xarray as xr

from geonp import __version__
from geonp.blend import Layers, assemble, cover
from geonp.completer import Completer, prior_variance
from geonp.errors import GeonpWarning, InputError, MethodError, UsageError
from geonp.field import Summary, Window, as_field, check_spread, grid_shape, summarise, warn_without_crs
from geonp.heap import reuse
from geonp.memory import Budget, Work
from geonp.methods.base import Method
from geonp.pipeline import ahead

DEFAULT_TILE = 1024
"""Side in pixels of windows, where nothing is known of the memory that a method takes."""


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
    """Complete a field in memory, a dask array too; it is read window by window.

    Parameters, what is returned, errors: those of `geonp.chunked.complete`, which leaves a dask array one.
    """
    field = as_field(field)
    ready = begin(field, method, variance=variance, tile=tile, memory=memory, keep_observed=keep_observed)
    return collect(ready, ready, status=status)


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

    Parameters, errors: see `geonp.chunked.complete`. Two passes are made over the field: this one counts, the run
    reads.
    """
    check_request(method, variance=variance, tile=tile)
    reuse()
    budget = Budget.of(memory)
    warn_without_crs(field)
    summary = summarise(field)
    _report(summary, method.filters)
    if variance:
        check_spread(summary)
    if summary.constant.all() or ((summary.observed == summary.pixels).all() and not method.filters):
        return Completion(field, None, summary, variance, _work(field, None).choose(budget, tile), True)
    method = method if keep_observed else method.smoothed()
    learn_from = field
    if not method.joint:
        bands = np.flatnonzero(~summary.constant)
        learn_from, method = field.isel(band=bands), method.of_bands(bands.tolist(), len(summary.constant))
    prepared = method.prepare(learn_from)
    tile = _work(field, prepared).choose(budget, tile)
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

    `summary` is what a pass over the field found; `variance`, `tile` and `keep_observed` are those of `begin`.
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
        return _work(self.field, self.method).bytes_needed(self.tile)

    def windows(self) -> list[Window]:
        """Return the windows in which the field is completed, in the order in which `assemble` takes them."""
        return cover(grid_shape(self.field), self.tile, self._feather)

    def completer(self) -> Completer:
        """Return what completes any window of the field by itself."""
        return Completer(self.field, self.method, self.summary, self.variance, self.keep_observed)

    def completed(self, windows: Sequence[Window]) -> Iterator[Layers]:
        """Complete windows one after the other; the next one is read meanwhile."""
        completer = self.completer()
        if len(windows) < 2:  # no thread for nothing
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


def _work(field: xr.DataArray, method: Method | None) -> Work:
    return Work(method, grid_shape(field), field.sizes["band"])


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
        prior = prior_variance(summary, int(band))
        _note(
            f"band {band + 1} has {summary.observed[band]} observed pixel(s), too few to learn from: it is "
            f"filled with {summary.mean[band]:g} and a prior variance of {prior:g}"
        )


def _note(text: str) -> None:
    warnings.warn(text, GeonpWarning, stacklevel=5)
