"""What files of others may not do: faults that the fuzzer found, and what must stay refused."""

import dataclasses
import time
import typing
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geonp.errors import InputError, ModelError
from geonp.field import geobox, spacing
from geonp.io import open_field
from geonp.io.points import read_points
from geonp.methods.classical import Linear, Nearest
from geonp.methods.kriging import Kriging
from geonp.models import ARCHITECTURES, restore
from geonp.predict import complete


def raster(path: Path, bands: int = 1, **profile: object) -> Path:
    values = np.random.default_rng(0).random((bands, 6, 5)).astype("f4")
    with rasterio.open(
        path, "w", driver="GTiff", width=5, height=6, count=bands, dtype="float32", **profile
    ) as file:
        file.write(values)
    return path


def on(transform: rasterio.Affine, crs: str | None) -> xr.DataArray:
    values = np.random.default_rng(0).random((20, 16)).astype("f4")
    values[::2, ::3] = np.nan
    return wrap_xr(values, GeoBox(values.shape, transform, crs))


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4979"])
def test_metres_called_degrees_are_refused(crs: str) -> None:
    field = on(rasterio.Affine(30, 0, 5e5, 0, -30, 5e6), crs)
    with pytest.raises(InputError, match=r"centre is at latitude 4999700: these are no degrees"):
        complete(field, Nearest(), variance=False)


def test_pixels_at_a_pole_are_measured() -> None:
    globe = GeoBox((181, 360), rasterio.Affine(1, 0, -180, 0, -1, 90.5), "EPSG:4326")
    field = xr.DataArray(np.zeros((181, 360), "f4"), dims=("y", "x"))
    field = wrap_xr(field.values, globe)
    assert spacing(field)[0] == pytest.approx(110_574, rel=1e-4)
    assert spacing(field[:1])[0] > 0


def test_a_transform_without_area_is_named(tmp_path: Path) -> None:
    path = raster(tmp_path / "a.tif", transform=rasterio.Affine(30, 30, 5e5, 30, 30, 4e6), crs="EPSG:32616")
    with pytest.raises(InputError, match="gives its pixels no area"):
        geobox(open_field(path))


@pytest.mark.parametrize("factor", [1e30, 1e-30])
def test_a_variance_beyond_float32_is_refused_and_the_mean_is_not(factor: float) -> None:
    values = np.random.default_rng(0).random((12, 10)) * factor
    values[::2, ::2] = np.nan
    field = xr.DataArray(values.astype("f4"), dims=("y", "x"))
    with (
        pytest.warns(match="no coordinate reference system"),
        pytest.raises(InputError, match="cannot be held"),
    ):
        complete(field, Kriging())
    with pytest.warns(match="no coordinate reference system"):
        done = complete(field, Linear(), variance=False)["mean"].values
    assert np.isfinite(done).all()
    assert done.max() <= np.nanmax(field.values)


def test_a_single_value_whose_prior_variance_is_beyond_float32() -> None:
    values = np.full((5, 5), np.nan, "f4")
    values[2, 2] = 1e25
    with pytest.warns(), pytest.raises(InputError, match="cannot be held"):
        complete(xr.DataArray(values, dims=("y", "x")), Kriging())


def test_thousands_of_bands_open_quickly_and_too_many_are_refused(tmp_path: Path) -> None:
    start = time.process_time()
    assert open_field(raster(tmp_path / "a.tif", 3000, interleave="pixel")).sizes["band"] == 3000
    assert time.process_time() - start < 5
    many = raster(tmp_path / "b.tif", 20_000, interleave="pixel")
    with pytest.raises(InputError, match="says that it has 20000 bands"):
        open_field(many)
    assert open_field(many, band=[2, 19_999]).sizes["band"] == 2


def test_metadata_that_gdal_chokes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from geonp.io import raster as module

    path = raster(tmp_path / "a.tif")

    def choke(*_: object) -> None:
        raise rasterio._err.CPLE_AppDefinedError(1, 1, "Key Unknown-1 has count=7")

    monkeypatch.setattr(module, "_is_alpha", choke)
    with pytest.raises(InputError, match=r"a\.tif: what the file says of its bands or its grid is damaged"):
        open_field(path)


def test_a_layer_file_without_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.gml"
    path.write_text("<x/>")
    monkeypatch.setattr(pyogrio, "list_layers", lambda _: np.empty((0, 2), object))
    with pytest.raises(InputError, match="holds no layer of points"):
        read_points(path)


def test_a_cell_is_quoted_in_one_line_without_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('x,y,z\n1,2,"3\n\x1b[2J4"\n')
    with pytest.raises(InputError) as refused:
        read_points(path)
    assert str(refused.value).isprintable()
    assert "'3 [2J4'" in str(refused.value)


def test_a_coordinate_that_is_far_off_does_not_make_a_giant_grid(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y,z\n1,2,3\n4,5,6\n7,80000000,9\n")
    with pytest.raises(InputError, match=r"make a grid of 79999999 x 7 for points from 1, 2 to 7, 80000000"):
        open_field(path, res=1.0)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_settings_of_a_model_file_cannot_make_a_giant(name: str) -> None:
    config = ARCHITECTURES[name].config
    usual, hints = dataclasses.asdict(config()), typing.get_type_hints(config)
    for key in (k for k, v in usual.items() if type(v) is int and hints[k] is int):
        start = time.process_time()
        for value in (10**9, 0, -1):
            with pytest.raises(ModelError):
                restore(name, {**usual, key: value}, {})
        assert time.process_time() - start < 3


def test_a_coordinate_along_another_dimension_is_named() -> None:
    from geonp.io.arrays import _coordinates

    data = xr.Dataset({"v": (("lat", "lon"), np.zeros((3, 4)))}, coords={"x": ("hat", [1.0, 2.0])})
    with pytest.raises(InputError, match=r"coordinate 'x' lies along \('hat',\)"):
        _coordinates(data, data["v"].variable, [], ("lat", "x"), np.zeros(1, int))


def test_pixels_a_million_times_as_long_as_wide(tmp_path: Path) -> None:
    from geonp.methods.classical import Rbf

    values = np.full((66, 42), np.nan, "f4")
    rng = np.random.default_rng(156)
    values.flat[rng.choice(values.size, 28, replace=False)] = rng.normal(size=28) * 10.0 ** rng.integers(
        -30, 30, 28
    )
    field = wrap_xr(values, GeoBox(values.shape, rasterio.Affine(0.1, 0, 10, 0, -1e7, 10), "EPSG:3413"))
    assert np.isfinite(complete(field, Rbf(), variance=False)["mean"].values).all()
