"""`geonp simulate` as it is typed."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from .conftest import Geonp, write

KRIGED = ("--method", "kriging", "--variogram", "matern32:range=600,sill=2000,nugget=4")


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(masked=True).astype(float).filled(np.nan)


def test_bands_of_a_geotiff(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    result = geonp("simulate", holey, "-n", 5, "-o", out, *KRIGED)
    assert result.exit_code == 0, result.stderr
    assert "5 realisations by kriging" in result.stderr
    assert result.stdout == ""
    values, survey = read(out), read(holey)[0]
    assert values.shape == (5, 64, 56)
    assert np.isfinite(values).all()
    seen = np.isfinite(survey)
    np.testing.assert_array_equal(values[:, seen], np.broadcast_to(survey[seen], (5, seen.sum())))
    assert (values.std(0)[~seen] > 0.1).all()
    with rasterio.open(out) as file, rasterio.open(holey) as source:
        assert file.crs == source.crs
        assert file.transform == source.transform
        assert file.descriptions[4] == "realisation 5"
        assert file.tags()["realisations_seed"] == "0"
        assert "covariance_1" in file.tags()


@pytest.mark.parametrize("suffix", ["zarr", "nc"])
def test_a_dimension_of_a_container(geonp: Geonp, holey: Path, tmp_path: Path, suffix: str) -> None:
    out, tif = tmp_path / f"out.{suffix}", tmp_path / "out.tif"
    result = geonp("simulate", holey, "-n", 3, "-o", out, *KRIGED, "--seed", 7, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["shape"] == [3, 1, 64, 56]
    with xr.open_dataset(out, engine="zarr" if suffix == "zarr" else None, decode_coords="all") as found:
        assert found["mean"].dims == ("realisation", "y", "x")
        assert found["realisation"].values.tolist() == [1, 2, 3]
        assert "grid_mapping" in {**found["mean"].attrs, **found["mean"].encoding}
        values = found["mean"].values
    geonp("simulate", holey, "-n", 3, "-o", tif, *KRIGED, "--seed", 7, "-q")
    np.testing.assert_array_equal(values, read(tif).astype("f4"))


def test_seed_tiles_and_number_of_realisations(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    def drawn(name: str, *more: object) -> np.ndarray:
        out = tmp_path / f"{name}.tif"
        assert geonp("simulate", holey, "-o", out, *KRIGED, "-q", *more).exit_code == 0
        return read(out)

    whole = drawn("whole", "-n", 3)
    np.testing.assert_array_equal(drawn("again", "-n", 3), whole)
    np.testing.assert_allclose(drawn("tiled", "-n", 5, "--tile", 24)[:3], whole, atol=1e-3)
    assert abs(drawn("other", "-n", 3, "--seed", 1) - whole).max() > 1


def test_several_bands(geonp: Geonp, jacksboro: np.ndarray, tmp_path: Path) -> None:
    values = np.stack([jacksboro[:40, :36], jacksboro[60:100, :36] + 7])
    values[:, np.random.default_rng(0).random((40, 36)) < 0.8] = np.nan
    survey = write(tmp_path / "two.tif", values, nodata=np.nan)
    tif, store = tmp_path / "out.tif", tmp_path / "out.zarr"
    assert geonp("simulate", survey, "-n", 2, "-o", tif, *KRIGED).exit_code == 0
    assert geonp("simulate", survey, "-n", 2, "-o", store, *KRIGED).exit_code == 0
    bands = read(tif)
    assert bands.shape == (4, 40, 36)
    with xr.open_zarr(store) as found:
        assert found["mean"].dims == ("realisation", "band", "y", "x")
        np.testing.assert_array_equal(found["mean"].values.reshape(4, 40, 36), bands.astype("f4"))
    seen = np.isfinite(values[0])
    np.testing.assert_array_equal(bands[2][seen], values[0][seen])
    assert np.corrcoef((bands[0] - bands[2])[~seen], (bands[1] - bands[3])[~seen])[0, 1] < 0.9


def test_the_bundled_method_realises(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    result = geonp("simulate", holey, "-n", 4, "-o", tmp_path / "out.tif", "-q")
    assert result.exit_code == 0, result.stderr
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.tags()["method"] == "bundled"


def test_bad_input(geonp: Geonp, holey: Path, dem: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    for count in (0, -3):
        result = geonp("simulate", holey, "-n", count, "-o", out)
        assert result.exit_code == 2
        assert "x>=1" in result.stderr
    assert geonp("simulate", holey).exit_code == 2
    result = geonp("simulate", holey, "-o", tmp_path / "out.png")
    assert result.exit_code == 2
    assert ".zarr" in result.stderr
    result = geonp("simulate", holey, "-o", out, "--method", "cubic")
    assert result.exit_code == 1
    assert "--method kriging" in result.stderr
    result = geonp("simulate", holey, "-o", out, *KRIGED, "--seed", -1)
    assert result.exit_code == 2
    assert "-1 is not in the range x>=0" in result.stderr
    power = "power:sill=1,exponent=1,range=2000"
    result = geonp("simulate", holey, "-o", out, "--method", "kriging", "--variogram", power)
    assert result.exit_code == 2
    assert "no sill" in result.stderr
    result = geonp("simulate", holey, "-o", tmp_path / "out.zarr", *KRIGED, "--co", "COMPRESS=LZW")
    assert result.exit_code == 2
    assert not list(tmp_path.glob("*out*"))
    out.write_bytes(b"mine")
    result = geonp("simulate", holey, "-o", out, *KRIGED)
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert out.read_bytes() == b"mine"


def test_a_full_raster_comes_back(geonp: Geonp, dem: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    result = geonp("simulate", dem, "-n", 2, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert "every pixel is observed" in result.stderr
    np.testing.assert_array_equal(read(out), np.broadcast_to(read(dem), (2, 64, 56)))


def test_tiny_rasters(geonp: Geonp, tmp_path: Path) -> None:
    nan = np.nan
    one = write(tmp_path / "one.tif", np.array([[nan, 5.0], [nan, nan]], "f4"), nodata=nan)
    result = geonp("simulate", one, "-n", 3, "-o", tmp_path / "o1.tif", "--method", "kriging")
    assert result.exit_code == 0, result.stderr
    assert "its realisations are all alike" in result.stderr
    assert (read(tmp_path / "o1.tif") == 5).all()
    three = write(tmp_path / "three.tif", np.array([[1.0, nan], [3.0, 4.0]], "f4"), nodata=nan)
    result = geonp("simulate", three, "-n", 3, "-o", tmp_path / "o3.tif", *KRIGED, "-q")
    assert result.exit_code == 0, result.stderr
    found = read(tmp_path / "o3.tif")
    np.testing.assert_array_equal(found[:, [0, 1, 1], [0, 0, 1]], [[1, 3, 4]] * 3)
    assert found[:, 0, 1].std() > 0
    pixel = write(tmp_path / "pixel.tif", np.array([[7.0]], "f4"), nodata=nan)
    result = geonp("simulate", pixel, "-n", 2, "-o", tmp_path / "o.tif")
    assert result.exit_code == 0
    assert (read(tmp_path / "o.tif") == 7).all()
    empty = write(tmp_path / "empty.tif", np.full((4, 4), nan, "f4"), nodata=nan)
    result = geonp("simulate", empty, "-n", 2, "-o", tmp_path / "oe.tif")
    assert result.exit_code == 1
    assert "no pixel of 16 is observed" in result.stderr
    assert not (tmp_path / "oe.tif").exists()
