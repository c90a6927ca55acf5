"""NetCDF files and Zarr stores: variables found, steps stacked, numbers decoded."""

import pickle
import shutil

import netCDF4
import numpy as np
import pytest
import xarray as xr

from geonp.errors import InputError, UsageError
from geonp.field import geobox
from geonp.io import open_field
from geonp.io.arrays import StackedArray, open_array
from tests.io.climates import LAT, climate, numbers
from tests.io.grids import NAN


class TestStacking:
    def test_times_become_bands_and_keep_their_coordinate(self, store):
        values = numbers(4, 10, 12)
        field = open_field(store(climate(t=(("time", "lat", "lon"), values, {"units": "K"}))))
        assert field.dims == ("band", "y", "x")
        assert field.dtype == np.float32
        assert field.name == "t"
        assert field.attrs["units"] == "K"
        np.testing.assert_array_equal(field.values, values)
        np.testing.assert_array_equal(field.time, climate().time)
        np.testing.assert_array_equal(field.y, LAT)

    def test_several_dimensions_stack_in_order(self, store):
        values = numbers(4, 3, 10, 12)
        data = climate(t=(("time", "level", "lat", "lon"), values)).assign_coords(level=[1000, 850, 500])
        path = store(data)
        field = open_field(path)
        np.testing.assert_array_equal(field.values, values.reshape(12, 10, 12))
        np.testing.assert_array_equal(field.level, [1000, 850, 500] * 4)
        np.testing.assert_array_equal(
            open_field(path, band=[8, 3]).values, values.reshape(12, 10, 12)[[7, 2]]
        )
        np.testing.assert_array_equal(open_field(path, band=8)["level"], [850])

    @pytest.mark.parametrize("dims", [("lon", "lat"), ("lon", "time", "lat"), ("lat", "lon", "time")])
    def test_any_order_of_dimensions(self, store, dims):
        data = climate(t=(("time", "lat", "lon"), numbers(4, 10, 12)))
        data = data.isel(time=0, drop=True) if "time" not in dims else data
        field = open_field(store(data.transpose(*dims)))
        expected = data["t"].transpose(..., "lat", "lon").values
        np.testing.assert_array_equal(field.values, expected.reshape(-1, 10, 12))

    def test_steps_are_chosen_by_number(self, store):
        path = store(climate(t=(("time", "lat", "lon"), numbers(4, 10, 12))))
        field = open_field(path, band=[3, 1])
        np.testing.assert_array_equal(field.values, numbers(4, 10, 12)[[2, 0]])
        np.testing.assert_array_equal(field.time, climate().time[[2, 0]])
        with pytest.raises(UsageError, match=r"bands 1 to 4 \(time 4\), there is no band 5"):
            open_field(path, band=5)

    def test_indexing_is_that_of_numpy(self, store):
        values = numbers(4, 3, 10, 12)
        field = open_field(store(climate(t=(("time", "level", "lat", "lon"), values))))
        flat = values.reshape(12, 10, 12)
        for key in [
            (3, 4, 5), (slice(2, 9, 3), slice(None, None, -2), slice(3, 4)), (slice(None), 2, slice(None)),
            (slice(10, 2, -3), slice(1, 3), slice(9, 2, -1)), (slice(0, 0), slice(None), slice(None)),
        ]:  # fmt: skip
            np.testing.assert_array_equal(field[key].values, flat[key])
        np.testing.assert_array_equal(field[[5, 1], :, [0, 3, 2]].values, flat[[5, 1]][:, :, [0, 3, 2]])


class TestChoosing:
    def test_the_only_floating_variable_on_a_grid(self, store):
        data = climate(
            t=(("time", "lat", "lon"), numbers(4, 10, 12)),
            flag=(("lat", "lon"), np.zeros((10, 12), "i2")),
            series=("time", np.zeros(4)),
            lat_bnds=(("lat", "two"), np.zeros((10, 2))),
        )
        assert open_field(store(data)).name == "t"

    def test_integers_if_there_is_nothing_else(self, store):
        assert open_field(store(climate(flag=(("lat", "lon"), np.zeros((10, 12), "i2"))))).name == "flag"

    def test_several_are_listed(self, store):
        grid = (("lat", "lon"), numbers(10, 12))
        path = store(climate(b=grid, a=grid, series=("time", np.zeros(4))))
        with pytest.raises(UsageError, match=r"several variables on a grid, name one.*: a, b$"):
            open_field(path)
        assert open_field(path, variable="b").name == "b"
        with pytest.raises(UsageError, match="'c' is not there; on a grid are: a, b"):
            open_field(path, variable="c")
        with pytest.raises(UsageError, match="'series' is not numbers on a grid"):
            open_field(path, variable="series")

    def test_none(self, store):
        with pytest.raises(InputError, match="no variable of numbers with two dimensions; it has: "):
            open_field(store(climate(series=("time", np.zeros(4)))))

    def test_values_in_days_are_not_times(self, store):
        data = climate(snow=(("lat", "lon"), numbers(10, 12), {"units": "days"}))
        np.testing.assert_array_equal(open_field(store(data)).values[0], numbers(10, 12))

    def test_units_of_time_that_nobody_decodes(self, tmp_path):
        data = climate(t=(("time", "lat", "lon"), numbers(4, 10, 12)))
        data = data.assign_coords(time=("time", np.arange(4.0), {"units": "moons since the flood"}))
        data.to_netcdf(tmp_path / "a.nc")
        np.testing.assert_array_equal(open_field(tmp_path / "a.nc").time, np.arange(4))


class TestDecoding:
    def test_packed_numbers(self, store):
        values = numbers(10, 12)
        values[2, 3] = NAN
        data = climate(t=(("lat", "lon"), values))
        packing = {"dtype": "i2", "scale_factor": 0.5, "add_offset": 20.0, "_FillValue": -32768}
        field = open_field(store(data, encoding={"t": packing}))
        np.testing.assert_array_equal(field.values[0], values)
        assert field.attrs["source_dtype"] == "int16"
        assert field.attrs["source_nodata"] == -32768

    def test_missing_value(self, store):
        values = numbers(10, 12)
        data = climate(t=(("lat", "lon"), values, {"missing_value": np.float32(7)}))
        expected = np.where(values == 7, NAN, values)
        np.testing.assert_array_equal(open_field(store(data)).values[0], expected)

    def test_a_given_nodata(self, store):
        values = numbers(10, 12)
        field = open_field(store(climate(t=(("lat", "lon"), values))), nodata=7)
        np.testing.assert_array_equal(field.values[0], np.where(values == 7, NAN, values))

    @pytest.mark.parametrize(
        "limits",
        [{"valid_min": 3.0, "valid_max": 50.0}, {"valid_range": np.array([3.0, 50.0])}],
    )
    def test_the_valid_range(self, store, limits):
        values = numbers(10, 12)
        field = open_field(store(climate(t=(("lat", "lon"), values, limits))))
        np.testing.assert_array_equal(field.values[0], np.where((values < 3) | (values > 50), NAN, values))

    def test_the_valid_range_of_packed_numbers_is_packed(self, tmp_path):
        with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
            file.createDimension("y", 2)
            file.createDimension("x", 2)
            t = file.createVariable("t", "i2", ("y", "x"))
            t.setncatts({"scale_factor": 0.1, "add_offset": -3.0, "valid_range": np.array([10, 20], "i2")})
            t.set_auto_maskandscale(False)
            t[:] = [[9, 10], [20, 21]]
        expected = np.array([[NAN, -2], [-1, NAN]], "f4")
        np.testing.assert_allclose(open_field(tmp_path / "a.nc").values[0], expected, rtol=1e-6)

    def test_a_range_from_zero_to_huge(self, store):
        values = numbers(10, 12) - 2
        field = open_field(store(climate(t=(("lat", "lon"), values, {"valid_range": np.array([0, 1e20])}))))
        assert np.isnan(field.values).sum() == 1

    def test_doubles_beyond_float32_are_infinite(self, store):
        values = numbers(10, 12).astype("f8")
        values[0, 0] = 1e300
        assert np.isinf(open_field(store(climate(t=(("lat", "lon"), values)))).values[0, 0, 0])


class TestLaziness:
    def test_nothing_is_read_before_it_is_asked_for(self, store, monkeypatch):
        seen = []
        real = StackedArray._stacked
        monkeypatch.setattr(
            StackedArray, "_stacked", lambda self, s, w: seen.append((s, w)) or real(self, s, w)
        )
        path = store(climate(t=(("time", "lat", "lon"), numbers(4, 10, 12))))
        part = open_field(path, bounds=(6.5, 54.5, 9.5, 57.5)).isel(band=[1, 2])
        assert seen == []
        part.to_numpy()
        ((steps, (rows, cols)),) = seen
        assert list(steps) in ([1, 2], [1])
        assert (rows.start, rows.stop, cols.start, cols.stop) == (3, 6, 2, 5)

    def test_it_pickles_without_values(self, store):
        values = np.random.default_rng(0).normal(size=(300, 400)).astype("f4")
        field = open_field(store(xr.Dataset({"t": (("y", "x"), values)})))
        data = pickle.dumps(field)
        assert len(data) < 50_000
        np.testing.assert_array_equal(pickle.loads(data).values[0], values)


class TestBadFiles:
    def fails(self, path, match):
        with pytest.raises(InputError, match=match) as caught:
            open_field(path).load()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_missing(self, tmp_path):
        self.fails(tmp_path / "none.nc", "no such file")
        self.fails(tmp_path / "none.zarr", "no such file")

    def test_something_else(self, tmp_path):
        (tmp_path / "a.nc").write_text("not a file of arrays")
        self.fails(tmp_path / "a.nc", "no NetCDF file that can be read")
        (tmp_path / "a.zarr").mkdir()
        self.fails(tmp_path / "a.zarr", "no Zarr store that can be read")
        (tmp_path / "b.nc").mkdir()
        self.fails(tmp_path / "b.nc", "is a folder and no Zarr store")

    def test_truncated(self, tmp_path):
        climate(t=(("time", "lat", "lon"), numbers(4, 10, 12))).to_netcdf(tmp_path / "a.nc")
        whole = (tmp_path / "a.nc").read_bytes()
        (tmp_path / "a.nc").write_bytes(whole[: len(whole) // 2])
        self.fails(tmp_path / "a.nc", "is damaged")

    def test_damaged_chunks_of_a_store(self, tmp_path):
        path = tmp_path / "a.zarr"
        climate(t=(("time", "lat", "lon"), numbers(4, 10, 12))).to_zarr(path, consolidated=False)
        for chunk in (path / "t" / "c").rglob("0"):
            if chunk.is_file():
                chunk.write_bytes(b"no chunk of numbers")
        self.fails(path, "truncated or damaged")

    def test_damaged_pixels_of_a_file(self, tmp_path):
        noise = np.random.default_rng(0).normal(size=(200, 300)).astype("f4")
        packing = {"t": {"zlib": True, "fletcher32": True}}
        xr.Dataset({"t": (("y", "x"), noise)}).to_netcdf(tmp_path / "a.nc", encoding=packing)
        raw = bytearray((tmp_path / "a.nc").read_bytes())
        raw[len(raw) // 2 : len(raw) // 2 + 1000] = bytes(1000)
        (tmp_path / "a.nc").write_bytes(raw)
        self.fails(tmp_path / "a.nc", "truncated or damaged")

    def test_gone_meanwhile(self, tmp_path):
        climate(t=(("time", "lat", "lon"), numbers(4, 10, 12))).to_netcdf(tmp_path / "a.nc")
        field = pickle.loads(pickle.dumps(open_field(tmp_path / "a.nc")))
        (tmp_path / "a.nc").unlink()
        with pytest.raises(InputError, match=r"a\.nc: values cannot be read"):
            field.load()

    def test_an_unknown_extension_is_looked_into(self, tmp_path):
        climate(t=(("lat", "lon"), numbers(10, 12))).to_netcdf(tmp_path / "a.nc")
        shutil.move(tmp_path / "a.nc", tmp_path / "a.dat")
        np.testing.assert_array_equal(open_field(tmp_path / "a.dat").values[0], numbers(10, 12))


def test_real_files(data):
    folder = data / "fields"
    for name, variable, shape in [
        ("coads_climatology.nc", "SST", (12, 90, 180)),
        ("eraint_uvz_500.nc", "u", (2, 241, 480)),
        ("bcsd_obs_1999.nc", "tas", (12, 33, 81)),
        ("gridmet_tmmx_20190121.nc", None, (1, 585, 1386)),
    ]:
        field = open_array(folder / name, variable=variable)
        assert field.shape == shape
        assert geobox(field).crs.epsg == 4326
        with xr.open_dataset(folder / name, decode_times=False) as source:
            np.testing.assert_array_equal(field.values, source[field.name].values.reshape(shape))
