"""One window of a field: read with what lies around it, completed, and the observed pixels put back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from geonp.blend import Layers
from geonp.field import Summary, Window, geobox, grid_shape, grid_spacing, load, plain, spacing
from geonp.methods.base import Method, Place, Status, Values

_LOCAL_SPACING_FROM = 1.1
"""Widest pixel of a geographic grid over its narrowest, from which every window is measured by itself."""


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
                variance[band] = prior_variance(self._summary, int(band))
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


def prior_variance(summary: Summary, band: int) -> float:
    """Return the variance that a summary tells of the unobserved pixels of a band (from 0), where no method can learn.

    It is what the data show, or, from one or two equal observations, which show nothing, the square of their size.
    """
    if summary.observed[band] == 0:
        return float("nan")
    if summary.minimum[band] == summary.maximum[band]:
        return 0.0 if summary.observed[band] > 2 else float(summary.mean[band] ** 2) or 1.0
    return float(2 * summary.variance[band])  # two values: the sample variance


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
    box, everywhere = geobox(field) if plain(field) is None else None, spacing(field)
    if box is not None and box.crs is not None and box.crs.geographic:
        widths = [grid_spacing(row)[1] for row in (box[:1, :], box[-1:, :])] + [everywhere[1]]
        if max(widths) > _LOCAL_SPACING_FROM * min(widths):
            return spacing
    return lambda window: everywhere
