"""The contract of every way to complete a field."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.field import Window, grid_shape, spacing

Values = NDArray[np.float32]


class Status(IntEnum):
    """Codes of a prediction's `status`."""

    MASKED = 0
    OBSERVED = 1
    INTERPOLATED = 2
    EXTRAPOLATED = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a window of pixels lies in its raster, and which part of it is wanted.

    Methods anchor their own tiles at the raster's origin with it, so that the windows in which a raster is
    streamed leave no trace in the result.

    Parameters
    ----------
    raster : (rows, columns) of the whole raster.
    given : the pixels that are there to be read: `wanted` plus the method's halo, clipped to the raster.
    wanted : the pixels to complete.
    """

    raster: tuple[int, int]
    given: Window
    wanted: Window

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Place:
        """Return the place of a field that is its own raster."""
        window = Window.whole(shape)
        return cls(shape, window, window)

    @property
    def inside(self) -> tuple[slice, slice]:
        """Row and column slices of the wanted pixels in an array of the given ones."""
        return self.wanted.within(self.given)


@dataclass(frozen=True, slots=True)
class Completed:
    """The wanted pixels, completed, every array float32 of shape (band, y, x).

    Parameters
    ----------
    mean, variance : of the observable; the variance may be None.
    errors : variance of the error that is stated of each observation, 0 elsewhere; None where none is. Observed
        pixels with an error are estimated by the method.
    """

    mean: Values
    variance: Values | None = None
    errors: Values | None = None


class Method(abc.ABC):
    """One way to complete a field.

    `prepare` learns from a raster once and returns a method that is ready for it; `predict` then completes
    any window of it. Subclasses are frozen dataclasses whose fields are the method's parameters; they
    override `complete`, and `prepare` where there is something to learn.
    """

    name: ClassVar[str]
    has_variance: ClassVar[bool]
    bytes_a_pixel: ClassVar[int] = 200
    """Memory in bytes that completing takes at its peak by each pixel read, where `bytes_needed` does not tell."""

    @property
    @abc.abstractmethod
    def halo(self) -> int:
        """Pixels around a window that the method reads; beyond them a pixel counts as extrapolated."""

    @property
    def feather(self) -> int:
        """Pixels over which neighbouring windows are blended; 0 where windows agree exactly."""
        return 0

    @property
    def grain(self) -> int:
        """Side in pixels of the smallest windows worth completing: smaller ones repeat the work of their neighbours."""
        return max(1, self.halo // 8)

    @property
    def joint(self) -> bool:
        """Whether the bands are completed together, so that all of them must be given."""
        return False

    @property
    def filters(self) -> bool:
        """Whether errors of the observations are stated, so that observed pixels are estimated too."""
        return False

    def of_bands(self, bands: Sequence[int], count: int) -> Self:
        """Return the method for some bands (from 0) of a raster of `count` bands alone, before it is prepared."""
        return self

    def prepare(self, field: xr.DataArray) -> Self:
        """Return this method made ready for `field` (band, y, x), which may be larger than memory."""
        return self

    def smoothed(self) -> Self:
        """Return the method that estimates observed pixels too, where it can tell their noise; else itself."""
        return self

    def describe(self) -> dict[str, str]:
        """Return what a user must know to repeat the result; written into the outputs' tags."""
        return {"method": self.name}

    @property
    def reads_covariates(self) -> bool:
        """Whether it is a network that was trained with covariates; they go into its field `covariates`."""
        return False

    def bytes_needed(self, window: int) -> int | None:
        """Return the memory in bytes that completing takes at its peak, of a method that is prepared.

        Parameters
        ----------
        window : side in pixels of the windows.

        Returns
        -------
        int or None
            None where it is so many bytes by each pixel read: `bytes_a_pixel`.
        """
        return None

    @abc.abstractmethod
    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        """Complete the wanted pixels.

        Parameters
        ----------
        values : float32 (band, y, x) of `place.given`, NaN where not observed. A band may be all NaN.
        spacing : pixel size (dy, dx) in metres (the raster's own units where it has no CRS).
        place : where the values lie in their raster.

        Returns
        -------
        Completed
            Mean and variance of the observable at every wanted pixel, observed ones included.
        """

    def predict(self, field: xr.DataArray, place: Place | None = None) -> xr.Dataset:
        """Return `mean` and, where the method has one, `variance` of the wanted pixels of a loaded field.

        The result carries the field's own coordinates. `spacing` is that of the field given.
        """
        place = place or Place.whole(grid_shape(field))
        done = self.complete(np.asarray(field.values, np.float32), spacing(field), place)
        rows, cols = place.inside
        like = field.isel(y=rows, x=cols)
        out = {"mean": like.copy(data=done.mean)}
        if done.variance is not None:
            out["variance"] = like.copy(data=done.variance)
        return xr.Dataset(out)
