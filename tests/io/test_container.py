"""NetCDF files and Zarr stores of a completed raster: values, coordinates and CF."""

import os
import warnings

import netCDF4
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from geonp.field import geobox
from geonp.io import open_field
from geonp.io.container import ContainerWriter
from tests.io.grids import GRIDS, NORTH_UP
from tests.io.written import field_on, write_all


@pytest.fixture(params=["nc", "zarr"])
def suffix(request):
    return request.param


class TestContainer:
    @pytest.mark.parametrize("grid", GRIDS)
    @pytest.mark.parametrize("crs", ["EPSG:32616", "EPSG:4326", None])
    def test_what_is_written_is_read(self, tmp_path, suffix, grid, crs, layers):
        affine = Affine.scale(1e-5) @ GRIDS[grid] if crs == "EPSG:4326" else GRIDS[grid]
        field = field_on(GeoBox((70, 90), affine, crs), 2)
        path = tmp_path / f"a.{suffix}"
        write_all(ContainerWriter(path, field, list(layers)), layers)
        for name, values in layers.items():
            read = open_field(path, variable=name)
            np.testing.assert_array_equal(read.values, values.astype("f4"))
            assert geobox(read) == GeoBox((70, 90), affine, crs)
            for coord in ("band", "y", "x"):
                np.testing.assert_array_equal(read[coord], field[coord])
        assert os.listdir(tmp_path) == [f"a.{suffix}"]

    def test_it_follows_cf(self, tmp_path, suffix, field, layers):
        field = field.assign_attrs(standard_name="surface_altitude", long_name="elevation").rename("dem")
        layers["std"] = np.sqrt(layers["variance"])
        path = tmp_path / f"a.{suffix}"
        write_all(ContainerWriter(path, field, list(layers), tags={"geonp_method": "kriging"}), layers)
        with xr.open_dataset(path) as data:
            assert data.attrs == {"Conventions": "CF-1.10", "geonp_method": "kriging"}
            mean, variance, std, status = (data[n].attrs for n in ("mean", "variance", "std", "status"))
            assert mean["ancillary_variables"] == "variance std status"
            assert (mean["units"], variance["units"], std["units"]) == ("m", "m2", "m")
            assert mean["standard_name"] == "surface_altitude"
            assert std["standard_name"] == "surface_altitude standard_error"
            assert status["standard_name"] == "surface_altitude status_flag"
            assert status["flag_meanings"] == "masked observed interpolated extrapolated"
            assert list(status["flag_values"]) == [0, 1, 2, 3]
            assert "standard_name" not in variance
            assert variance["long_name"] == "variance of elevation"
            assert data["status"].dtype == np.uint8
            assert data["y"].attrs["standard_name"] == "projection_y_coordinate"
            for name in layers:
                mapping = data[name].attrs.get("grid_mapping") or data[name].encoding["grid_mapping"]
                assert data[mapping].attrs["grid_mapping_name"] == "transverse_mercator"

    def test_gdal_finds_the_grid_of_a_netcdf_file(self, tmp_path, field, layers):
        write_all(ContainerWriter(tmp_path / "a.nc", field), layers)
        with rasterio.open(f"netcdf:{tmp_path / 'a.nc'}:mean") as file:
            assert file.transform == NORTH_UP
            assert file.crs == rasterio.CRS.from_epsg(32616)
            np.testing.assert_array_equal(file.read(), layers["mean"])

    def test_dimensions_of_the_source_come_back(self, tmp_path, suffix):
        rng = np.random.default_rng(1)
        source = xr.Dataset(
            {
                "t": (
                    ("month", "level", "lat", "lon"),
                    rng.normal(size=(3, 2, 20, 30)).astype("f4"),
                    {"units": "K"},
                )
            },
            coords={
                "month": np.array(["2001-01-01", "2001-02-01", "2001-03-01"], "M8[ns]"),
                "level": ("level", [500.0, 850.0], {"units": "hPa"}),
                "lat": (
                    "lat",
                    np.linspace(60, 50.5, 20, dtype="f4"),
                    {"units": "degrees_north", "bounds": "b"},
                ),
                "lon": ("lon", np.linspace(5, 19.5, 30, dtype="f4"), {"units": "degrees_east"}),
                "run": "a",
            },
        )
        source.to_netcdf(tmp_path / "source.nc")
        field = open_field(tmp_path / "source.nc")
        path = tmp_path / f"a.{suffix}"
        values = field.values
        write_all(
            ContainerWriter(path, field, inputs=[tmp_path / "source.nc"]),
            {"mean": values, "variance": values**2},
        )
        with xr.open_dataset(path) as data:
            assert data["mean"].dims == ("month", "level", "lat", "lon")
            np.testing.assert_array_equal(data["mean"], source["t"])
            assert data["variance"].attrs["units"] == "K2"
            for name in ("month", "level", "lat", "lon", "run"):
                assert data[name].variable.equals(source[name].variable), name
                assert data[name].dtype == source[name].dtype, name
            assert data["lat"].attrs == {"units": "degrees_north"}  # the bounds are not written

    def test_a_chosen_step(self, tmp_path, suffix):
        source = xr.Dataset(
            {"t": (("time", "y", "x"), np.arange(24.0, dtype="f4").reshape(4, 2, 3))},
            coords={"time": [1, 2, 3, 4]},
        )
        source.to_netcdf(tmp_path / "source.nc")
        field = open_field(tmp_path / "source.nc", band=[4, 2])
        write_all(ContainerWriter(tmp_path / f"a.{suffix}", field, ["mean"]), {"mean": field.values})
        with xr.open_dataset(tmp_path / f"a.{suffix}") as data:
            np.testing.assert_array_equal(data["mean"], source["t"].sel(time=[4, 2]))
            np.testing.assert_array_equal(data["time"], [4, 2])

    def test_texts_survive(self, tmp_path, suffix, field, layers):
        field = field.assign_coords(description=("band", ["elevation", "höhe"]))
        path = tmp_path / f"a.{suffix}"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", PendingDeprecationWarning)  # of odc-geo with affine 3
            write_all(ContainerWriter(path, field), layers)
        assert list(open_field(path, variable="mean")["description"].values) == ["elevation", "höhe"]

    def test_same_input_same_bytes(self, tmp_path, field, layers):
        for name in "ab":
            write_all(ContainerWriter(tmp_path / f"{name}.nc", field), layers)
        assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()

    def test_values_are_packed(self, tmp_path, field, layers):
        write_all(ContainerWriter(tmp_path / "a.nc", field), layers)
        with netCDF4.Dataset(tmp_path / "a.nc") as file:
            assert file["mean"].filters()["zlib"]
            assert file["mean"].chunking() == [1, 70, 90]
            assert np.isnan(file["mean"]._FillValue)
