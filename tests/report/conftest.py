"""A report of a small survey, made once, by methods that take no time."""

import numpy as np
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geonp.report import Report, page


def on_grid(
    values: np.ndarray, *, name: str = "elevation", north_up: bool = True, epsg: int = 32616
) -> xr.DataArray:
    """Values (y, x) on a 90 m UTM grid, in metres."""
    rows, cols = values.shape
    box = GeoBox.from_bbox(
        (500_000, 4_000_000, 500_000 + cols * 90, 4_000_000 + rows * 90), f"EPSG:{epsg}", shape=values.shape
    )
    field = wrap_xr(values.astype("f4"), box if north_up else box.flipy())
    field.attrs["units"] = "m"
    return field.rename(name)


@pytest.fixture(scope="session")
def truth(jacksboro: np.ndarray) -> xr.DataArray:
    return on_grid(jacksboro[100:164, 120:200])


@pytest.fixture(scope="session")
def sparse(truth: xr.DataArray) -> xr.DataArray:
    """One pixel in five of the truth."""
    return truth.where(np.random.default_rng(0).random(truth.shape) < 0.2)


@pytest.fixture(scope="session")
def little(sparse: xr.DataArray) -> xr.DataArray:
    """A corner of it, 30 x 24."""
    return sparse[:30, :24]


@pytest.fixture(scope="session")
def report(sparse: xr.DataArray, truth: xr.DataArray) -> Report:
    """A report with a truth; kriging gives a variance, the others none."""
    return page(sparse, truth=truth, methods=["kriging", "cubic", "nearest"], title="Jacksboro <fault>")


@pytest.fixture(scope="session")
def blind(sparse: xr.DataArray) -> Report:
    """A report without a truth."""
    return page(sparse, methods=["kriging", "nearest"], hillshade=False)
