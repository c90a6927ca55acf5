"""The command line as a user types it, and a survey on disk."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result
from geonp.cli import main

Geonp = Callable[..., Result]


@pytest.fixture
def geonp() -> Iterator[Geonp]:
    """Run `geonp ARGS`; the result has exit_code, stdout and stderr. A traceback fails the test."""

    def run(*args: object) -> Result:
        result = CliRunner().invoke(main, [str(arg) for arg in args])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    with warnings.catch_warnings():
        yield run


def write(path: Path, values: np.ndarray, **profile: object) -> Path:
    """Write values (y, x) or (band, y, x) as a GeoTIFF on a 30 m UTM grid."""
    values = values if values.ndim == 3 else values[None]
    count, height, width = values.shape
    settings = {
        "driver": "GTiff",
        "dtype": values.dtype,
        "crs": "EPSG:32616",
        "transform": rasterio.transform.from_origin(500_000, 4_000_000, 30, 30),
        **profile,
    }
    with rasterio.open(path, "w", count=count, height=height, width=width, **settings) as file:
        file.write(values)
    return path


@pytest.fixture
def dem(tmp_path: Path, jacksboro: np.ndarray) -> Path:
    """A complete 64 x 56 DEM, int16."""
    return write(tmp_path / "dem.tif", jacksboro[100:164, 120:176].astype("i2"), nodata=-32768)


@pytest.fixture
def holey(tmp_path: Path, jacksboro: np.ndarray) -> Path:
    """The same DEM with one pixel in eight observed."""
    values = jacksboro[100:164, 120:176].astype("i2")
    hidden = np.random.default_rng(0).random(values.shape) > 0.125
    values[hidden] = -32768
    return write(tmp_path / "survey.tif", values, nodata=-32768)
