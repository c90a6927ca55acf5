"""GeoTIFFs as others write them."""

import warnings

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from tests.io.grids import NORTH_UP


def save(
    path,
    values,
    *,
    descriptions=None,
    units=None,
    scales=None,
    offsets=None,
    colours=None,
    tags=None,
    **profile,
):
    """Write (band, y, x) values to a GeoTIFF."""
    bands, rows, cols = values.shape
    mask = profile.pop("mask", None)
    profile = {"crs": "EPSG:32616", "transform": NORTH_UP, "dtype": values.dtype} | profile
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", count=bands, height=rows, width=cols, **profile
        ) as file:
            file.write(values)
            if mask is not None:
                file.write_mask(mask)
            for name, value in (("descriptions", descriptions), ("units", units), ("scales", scales)):
                if value is not None:
                    setattr(file, name, value)
            if offsets is not None:
                file.offsets = offsets
            if colours is not None:
                file.colorinterp = colours
            if tags:
                file.update_tags(**tags)
    return path


def ramp(bands, rows, cols, dtype="float32"):
    return np.arange(1, 1 + bands * rows * cols).reshape(bands, rows, cols).astype(dtype)
