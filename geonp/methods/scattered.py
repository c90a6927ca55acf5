"""What the methods that interpolate between scattered observed pixels share."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, minimum_filter

from geonp.errors import UsageError
from geonp.methods.base import Completed, Method, Place, Values
from geonp.methods.overview import Overview

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEAST_REACH, MOST_REACH = 64, 256
_FADE_FROM = 0.75

# Rows are stretched and columns sheared by a few parts in a million. Multiples of 2**-37 keep the coordinates
# of a window exact in float64, so that collinear pixels stay collinear.
_SHEAR = 648055 * 2.0**-37
_STRETCH = 1 + 431719 * 2.0**-37
# Millionths of a pixel by which targets are moved where neighbours are counted.
_NUDGE = np.array([1.7e-6, 2.9e-6])


def generic_position(rows: NDArray[np.intp], cols: NDArray[np.intp], aspect: float) -> Array:
    """Return coordinates (n, 2) of pixels, in units of their width, without the ties of a grid.

    Four pixels of a grid often lie on one circle, and a pixel often has several neighbours at one distance;
    which triangulation or which neighbours a library then takes is an accident of its input order, so that a
    window and the raster that it was cut from would be completed differently. A fixed affine map, too small
    to matter (5e-6), makes such choices unique, and the same wherever a window lies.

    Parameters
    ----------
    aspect : height of a pixel over its width.
    """
    height = round(aspect * _STRETCH * 2**32) / 2**32
    return np.stack([rows * height, cols + rows * _SHEAR], 1)


@dataclass(frozen=True, slots=True)
class Scene:
    """The observed pixels around a window and the pixels to complete, for bands observed at the same pixels.

    Parameters
    ----------
    points, targets : coordinates (n, 2) and (m, 2) in pixel widths, in generic position.
    values : (n, bands), what was observed.
    bands : which bands of the raster these are.
    width : width of a pixel in metres.
    reach : distance, in pixel widths, within which every observation of the raster is among the points.
    """

    points: Array
    values: Array
    targets: Array
    bands: tuple[int, ...]
    width: float
    reach: float

    @property
    def nudged(self) -> Array:
        """Targets moved by millionths of a pixel, so that no two observations are equally near."""
        return np.asarray(self.targets + _NUDGE)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean and variance (or None) at the targets, (m, bands); NaN where the method does not reach."""

    mean: Array
    variance: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Scattered(Method):
    """Completes each band from its observed pixels, in metric pixel coordinates.

    Windows agree wherever observations lie within `reach`. A pixel that the method does not reach (outside
    the convex hull, say) takes the value of the nearest observation. Where a raster is read in windows and no
    observation is within `reach`, the coarse overview of the raster stands in, blended over the last quarter
    of the way; a raster that fits in one window has no such limit.

    Parameters
    ----------
    reach : pixels around a window that are read. By default twice the widest distance to an observation, as
        `prepare` finds it, between 64 and 256.
    overview : the coarse picture of the raster; `prepare` makes it.
    """

    reach: int | None = None
    overview: Overview | None = field(default=None, repr=False, compare=False)

    has_variance: ClassVar[bool] = False
    # Observed pixels farther than this from any hole cannot matter; None keeps them all.
    rim: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        if self.reach is not None and self.reach < 1:
            raise UsageError(
                f"a reach of {self.reach} pixels is impossible; give at least 1, or None to measure it"
            )

    @property
    def halo(self) -> int:
        """Pixels around a window that are read: `reach`."""
        return LEAST_REACH if self.reach is None else self.reach

    def prepare(self, field: xr.DataArray) -> Self:
        """Return the method with the overview and, where none was given, the reach of this raster."""
        overview = Overview.of(field)
        wide = min(max(math.ceil(2 * overview.gap) + 4, LEAST_REACH), MOST_REACH)
        return replace(self, overview=overview, reach=self.reach or wide)

    def describe(self) -> dict[str, str]:
        """Return the method's name and its parameters."""
        shown = {f.name: str(getattr(self, f.name)) for f in fields(self) if f.repr}
        return {**super().describe(), **shown}

    @abc.abstractmethod
    def interpolate(self, scene: Scene) -> Estimate:
        """Return the estimate at the targets of `scene`, which has at least one point and one target."""

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        """Complete the wanted pixels; observed ones are returned as they are, with variance 0.

        Without `prepare`, a window of a larger raster in which nothing is observed stays NaN.
        """
        mean = values[(slice(None), *place.inside)].astype(np.float64)
        variance = np.zeros_like(mean) if self.has_variance else None
        overview = None if place.given.shape == place.raster else self.overview
        picture = None if overview is None else overview.at(place.wanted)
        for bands in _observed_alike(values):
            holes = _Holes.of(~np.isnan(values[bands[0]]), spacing, place)
            if not holes.count:
                continue
            far = np.zeros(holes.count)
            if picture is not None:
                steps = holes.distance / (self.halo * min(spacing))
                far = np.clip((steps - _FADE_FROM) / (1 - _FADE_FROM), 0, 1)
            own = self._estimate(values[list(bands)], holes, far < 1, bands, spacing, place)
            for column, band in enumerate(bands):
                coarse = None if picture is None else picture[band][holes.wanted]
                mean[band][holes.wanted] = _blend(own.mean[:, column], coarse, far)
                if variance is not None and own.variance is not None:
                    prior = np.full(holes.count, self.prior_variance(band))
                    variance[band][holes.wanted] = _blend(own.variance[:, column], prior, far)
        return Completed(mean.astype(np.float32), None if variance is None else variance.astype(np.float32))

    def prior_variance(self, band: int) -> float:
        """Return the variance of `band` far from every observation; NaN where it is not known."""
        return math.nan

    def _estimate(
        self,
        values: Values,
        holes: _Holes,
        near: Mask,
        bands: tuple[int, ...],
        spacing: tuple[float, float],
        place: Place,
    ) -> Estimate:
        """Return the estimate at every hole: the method's own where `near`, else the nearest observation."""
        if not holes.seen.any():
            unknown = np.full((holes.count, len(bands)), np.nan)
            return Estimate(unknown, unknown)
        mean = values[:, holes.nearest[0], holes.nearest[1]].T.astype(np.float64)
        variance = np.tile([self.prior_variance(band) for band in bands], (holes.count, 1))
        if not near.any():
            return Estimate(mean, variance)
        (dy, dx), least = spacing, min(spacing)
        # Twice the distance holds every circle through a hole that is empty of observations.
        margin = min(math.ceil(2 * holes.distance[near].max() / least) + 4, self.halo)
        rows, cols = holes.points(place, max(margin, LEAST_REACH), self.rim)
        got = self.interpolate(
            Scene(
                points=generic_position(rows, cols, dy / dx),
                values=values[:, rows, cols].T.astype(np.float64),
                targets=generic_position(holes.rows[near], holes.cols[near], dy / dx),
                bands=bands,
                width=dx,
                reach=self.halo * least / dx,
            )
        )
        mean[near] = np.where(np.isnan(got.mean), mean[near], got.mean)
        if got.variance is not None:
            variance[near] = np.where(np.isnan(got.variance), variance[near], got.variance)
        return Estimate(mean, variance)


@dataclass(frozen=True, slots=True)
class _Holes:
    """The wanted pixels that are not observed.

    `seen` covers the given pixels; `rows` and `cols` index them, `wanted` the wanted ones. `distance`
    (metres, inf where nothing is seen) and `nearest` (2, count) tell of the nearest observation.
    """

    seen: Mask
    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    wanted: tuple[NDArray[np.intp], ...]
    distance: Array
    nearest: NDArray[np.intp]

    @classmethod
    def of(cls, seen: Mask, spacing: tuple[float, float], place: Place) -> _Holes:
        inside = place.inside
        wanted = np.nonzero(~seen[inside])
        rows, cols = wanted[0] + (inside[0].start or 0), wanted[1] + (inside[1].start or 0)
        if not seen.any() or not rows.size:
            return cls(seen, rows, cols, wanted, np.full(rows.size, np.inf), np.stack([rows, cols]))
        distance, nearest = distance_transform_edt(~seen, sampling=spacing, return_indices=True)
        return cls(seen, rows, cols, wanted, distance[rows, cols], nearest[:, rows, cols])

    @property
    def count(self) -> int:
        return int(self.rows.size)

    def points(self, place: Place, margin: int, rim: int | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return rows and columns of the observed pixels that can matter: not beyond `margin` pixels from the
        wanted ones, nor (except along the edge, for the hull's sake) more than `rim` pixels from any hole.
        """
        use = self.seen
        if rim is not None:
            deep = minimum_filter(self.seen, size=2 * rim + 1, mode="nearest")
            deep[[0, -1]] = deep[:, [0, -1]] = False
            use = use & ~deep
        rows, cols = place.wanted.grow(margin, place.raster).within(place.given)
        top, left = max(rows.start, 0), max(cols.start, 0)
        found = np.nonzero(use[top : rows.stop, left : cols.stop])
        return found[0] + top, found[1] + left


def _blend(own: Array, coarse: Array | None, far: Array) -> Array:
    if coarse is None:
        return own
    return np.where(far == 0, own, np.where(far == 1, coarse, (1 - far) * own + far * coarse))


def _observed_alike(values: Values) -> Iterator[tuple[int, ...]]:
    """Yield the bands in groups that are observed at the same pixels, so that geometry is worked out once."""
    left = list(range(len(values)))
    while left:
        first = np.isnan(values[left[0]])
        group = [b for b in left if b == left[0] or np.array_equal(np.isnan(values[b]), first)]
        left = [b for b in left if b not in group]
        yield tuple(group)
