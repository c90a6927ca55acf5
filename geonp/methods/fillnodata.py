"""GDAL's filling of nodata regions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
import xarray as xr
from scipy.ndimage import distance_transform_edt

from geonp.errors import UsageError
from geonp.methods.base import Completed, Method, Place, Values
from geonp.methods.overview import Overview


@dataclass(frozen=True, kw_only=True)
class FillNodata(Method):
    """GDAL's `gdal_fillnodata`: inverse distances from the nearest observation in each of four quadrants.

    Meant for holes in dense rasters. Gives up: sparse points (the result is streaked: every pixel knows four
    observations only), the shape of pixels (distances are counted in pixels, along rows and columns alike),
    values outside the range of the observations, and any uncertainty. Beyond its search distance it fills
    nothing; there the nearest observation is taken, or, where a raster is read in windows, its coarse
    overview.

    Parameters
    ----------
    distance : pixels that are searched for observations.
    smoothing : passes of a 3 x 3 mean over the filled pixels.
    overview : the coarse picture of the raster; `prepare` makes it.
    """

    distance: int = 100
    smoothing: int = 0
    overview: Overview | None = field(default=None, repr=False, compare=False)

    name: ClassVar[str] = "fillnodata"
    has_variance: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.distance < 1:
            raise UsageError(f"a search distance of {self.distance} pixels finds nothing; give at least 1")
        if self.smoothing < 0:
            raise UsageError(f"{self.smoothing} smoothing passes are impossible; give 0 or more")

    @property
    def halo(self) -> int:
        """Pixels around a window that are read: the search distance, and one for each smoothing pass."""
        return self.distance + self.smoothing

    def prepare(self, field: xr.DataArray) -> Self:
        """Return the method with the overview of the raster."""
        return replace(self, overview=Overview.of(field))

    def describe(self) -> dict[str, str]:
        """Return the method's name and its parameters."""
        return {**super().describe(), "distance": str(self.distance), "smoothing": str(self.smoothing)}

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        """Fill the wanted pixels. Without `prepare`, what is out of reach in a window stays NaN."""
        whole = place.given.shape == place.raster
        picture = None if whole or self.overview is None else self.overview.at(place.wanted)
        mean = np.empty((len(values), *place.wanted.shape), np.float32)
        for band, given in enumerate(values):
            filled = self._fill(given)[place.inside]
            left = np.isnan(filled)
            if picture is not None:
                filled[left] = picture[band][left]
            elif whole and left.any() and not np.isnan(given).all():
                nearest = distance_transform_edt(
                    np.isnan(given), sampling=spacing, return_distances=False, return_indices=True
                )
                filled[left] = given[tuple(nearest)][place.inside][left]
            mean[band] = filled
        return Completed(mean)

    def _fill(self, values: Values) -> Values:
        from rasterio.fill import fillnodata

        known = ~np.isnan(values)
        if known.all() or not known.any():
            return values.copy()
        filled = fillnodata(
            values.copy(), known.astype(np.uint8), float(self.distance), smoothing_iterations=self.smoothing
        )
        return np.asarray(filled, np.float32)
