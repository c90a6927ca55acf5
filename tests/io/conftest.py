"""A field to complete and its completed layers; a raster, a table and a store to read."""

import warnings

import numpy as np
import pytest
from odc.geo.geobox import GeoBox

from tests.io.grids import NAN, NORTH_UP
from tests.io.rasters import save
from tests.io.written import field_on


@pytest.fixture
def field():
    box = GeoBox((70, 90), NORTH_UP, "EPSG:32616")
    return field_on(box, 2, units="m", AREA_OR_POINT="Point", source_nodata=-32768.0)


@pytest.fixture
def layers():
    """Mean, variance and status of 2 x 70 x 90 pixels; a corner has no mean."""
    rng = np.random.default_rng(0)
    mean = rng.normal(100, 20, (2, 70, 90)).astype("f4")
    variance = rng.random((2, 70, 90)).astype("f4")
    mean[:, :3, :4] = variance[:, :3, :4] = NAN
    return {"mean": mean, "variance": variance, "status": rng.integers(0, 4, mean.shape).astype("u1")}


@pytest.fixture
def scene(tmp_path):
    """A tiled raster of 2 x 70 x 90 random numbers, and those numbers."""
    values = np.random.default_rng(0).normal(size=(2, 70, 90)).astype("f4")
    path = save(tmp_path / "scene.tif", values, tiled=True, blockxsize=16, blockysize=32, compress="deflate")
    return path, values


@pytest.fixture
def table(tmp_path):
    """Return what writes a table of points and returns its path."""

    def write(text, name="a.csv"):
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return tmp_path / name

    return write


@pytest.fixture(params=["nc", "zarr"])
def store(request, tmp_path):
    """Save a data set and return its path."""

    def write(dataset, **options):
        path = tmp_path / f"a.{request.param}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if request.param == "zarr":
                dataset.to_zarr(path, **options)
            else:
                dataset.to_netcdf(path, **options)
        return path

    return write
