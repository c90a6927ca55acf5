"""Shared fixtures: the data folder, a real DEM that an installed dependency ships, and the command line."""

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import settings

# Examples are timed by the whole run, not one by one: the first may compile or load something. The same examples
# are tried everywhere, so that a commit passes or fails for what it changed; `--hypothesis-profile default` explores.
settings.register_profile("geonp", deadline=None, derandomize=True)
settings.load_profile("geonp")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of public rasters named by GEONP_DATA."""
    folder = os.environ.get("GEONP_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("GEONP_DATA names no folder of public rasters")
    return Path(folder)


@pytest.fixture(scope="session")
def jacksboro() -> np.ndarray:
    """The Jacksboro fault DEM that matplotlib ships: (344, 403), metres."""
    from matplotlib.cbook import get_sample_data

    return get_sample_data("jacksboro_fault_dem.npz")["elevation"].astype("f4")


@pytest.fixture
def survey(jacksboro: np.ndarray) -> xr.DataArray:
    """A 96 x 80 window of the DEM on a 90 m UTM grid, 12.5 % observed; `.attrs` empty."""
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import wrap_xr

    truth = jacksboro[100:196, 120:200]
    seen = np.random.default_rng(0).random(truth.shape) < 0.125
    box = GeoBox.from_bbox(
        (500_000, 4_000_000, 500_000 + 80 * 90, 4_000_000 + 96 * 90), "EPSG:32616", shape=(96, 80)
    )
    return wrap_xr(np.where(seen, truth, np.float32(np.nan)), box)
