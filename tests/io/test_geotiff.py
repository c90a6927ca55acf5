"""GeoTIFFs of a completed raster: what is written is read, and says what it is."""

import os
import tracemalloc
import warnings

import numpy as np
import pytest
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox

from geonp.errors import OutputError, UsageError
from geonp.field import geobox, windows
from geonp.io import open_field
from geonp.io.geotiff import RasterWriter, creation_options, nodata_of
from geonp.io.grid import coordinates
from tests.io.grids import GRIDS, NAN, NORTH_UP
from tests.io.written import field_on, write_all


class TestGeoTiff:
    @pytest.mark.parametrize("cog", [False, True])
    def test_what_is_written_is_read(self, tmp_path, field, layers, cog):
        paths = {name: tmp_path / f"{name}.tif" for name in layers}
        write_all(RasterWriter(paths, field, cog=cog), layers)
        for name, values in layers.items():
            np.testing.assert_array_equal(open_field(paths[name]).values, values.astype("f4"))
        assert sorted(os.listdir(tmp_path)) == ["mean.tif", "status.tif", "variance.tif"]
        with rasterio.open(paths["status"]) as file:
            assert file.dtypes == ("uint8", "uint8")
            assert file.nodata is None
            assert "2 interpolated" in file.tags()["status"]

    @pytest.mark.parametrize("grid", GRIDS)
    @pytest.mark.parametrize("crs", ["EPSG:32616", "EPSG:2263", None])
    @pytest.mark.parametrize("shape", [(8, 9), (1, 1)])
    def test_the_grid_is_that_of_the_survey(self, tmp_path, grid, crs, shape):
        box = GeoBox(shape, GRIDS[grid], crs)
        values = np.zeros((1, *shape), "f4")
        write_all(RasterWriter({"mean": tmp_path / "a.tif"}, field_on(box)), {"mean": values})
        with rasterio.open(tmp_path / "a.tif") as file:
            assert file.transform == GRIDS[grid]
            assert file.crs == (None if crs is None else rasterio.CRS.from_string(crs))
        assert geobox(open_field(tmp_path / "a.tif")) == box

    def test_without_georeferencing(self, tmp_path, layers):
        bare = xr.DataArray(np.zeros((2, 70, 90), "f4"), dims=("band", "y", "x"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            write_all(RasterWriter({"mean": tmp_path / "a.tif"}, bare), layers)
        assert geobox(open_field(tmp_path / "a.tif")) is None
        np.testing.assert_array_equal(open_field(tmp_path / "a.tif").values, layers["mean"])

    @pytest.mark.parametrize("cog", [False, True])
    def test_metadata(self, tmp_path, field, layers, cog):
        field = field.assign_coords(description=("band", ["elevation", "slope"]))
        paths = {name: tmp_path / f"{name}.tif" for name in layers}
        write_all(RasterWriter(paths, field, tags={"geonp_method": "kriging"}, cog=cog), layers)
        with rasterio.open(paths["mean"]) as file:
            assert file.dtypes == ("float32", "float32")
            assert file.nodata == -32768
            assert file.descriptions == ("elevation", "slope")
            assert file.units == ("m", "m")
            assert file.tags()["geonp_method"] == "kriging"
            assert file.tags()["AREA_OR_POINT"] == "Point"
            assert file.transform == NORTH_UP
            assert file.compression.name == "deflate"
            assert file.profile["tiled"]
        with rasterio.open(paths["variance"]) as file:
            assert file.descriptions == ("variance of elevation", "variance of slope")
            assert file.units == ("m2", "m2")

    def test_bands_of_different_units(self, tmp_path, field, layers):
        field = field.drop_attrs().assign_coords(band_units=("band", ["m", "m s-1"]))
        write_all(RasterWriter({"variance": tmp_path / "v.tif"}, field), layers)
        with rasterio.open(tmp_path / "v.tif") as file:
            assert file.units == ("m2", "m2 s-2")

    def test_steps_are_named_by_their_time(self, tmp_path, field, layers):
        times = np.array(["1999-01-31", "1999-02-28T06:00"], "M8[ns]")
        field = field.drop_vars("band").assign_coords(time=("band", times)).rename("tas")
        write_all(RasterWriter({"mean": tmp_path / "a.tif"}, field), layers)
        with rasterio.open(tmp_path / "a.tif") as file:
            assert file.descriptions == ("tas time=1999-01-31", "tas time=1999-02-28T06:00:00")

    def test_a_cog_has_overviews(self, tmp_path):
        box = GeoBox((1100, 1200), NORTH_UP, "EPSG:32616")
        values = np.arange(1100 * 1200, dtype="f4").reshape(1, 1100, 1200)
        values[0, :2, :2] = [[1, NAN], [NAN, 3]]
        paths = {"mean": tmp_path / "a.tif"}
        write_all(RasterWriter(paths, field_on(box), cog=True), {"mean": values}, tile=512)
        with rasterio.open(tmp_path / "a.tif") as file:
            assert file.overviews(1) == [2, 4]
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        with rasterio.open(tmp_path / "a.tif", overview_level=0) as file:
            assert file.read(1)[0, 0] == 2  # nodata takes no part in the average

    def test_creation_options(self, tmp_path, field, layers):
        options = creation_options(["compress=lzw", "TILED=NO"])
        write_all(RasterWriter({"mean": tmp_path / "a.tif"}, field, options=options), layers)
        with rasterio.open(tmp_path / "a.tif") as file:
            assert file.compression.name == "lzw"
            assert not file.profile["tiled"]
        write_all(
            RasterWriter({"mean": tmp_path / "b.tif"}, field, cog=True, options={"blocksize": "128"}), layers
        )
        with rasterio.open(tmp_path / "b.tif") as file:
            assert file.block_shapes[0] == (128, 128)
        for wrong in ("COMPRESS", "=LZW", "COMPRESS="):
            with pytest.raises(UsageError, match="not KEY=VALUE"):
                creation_options([wrong])

    def test_options_that_gdal_refuses_leave_nothing(self, tmp_path, field):
        with pytest.raises(OutputError, match="creation options"):
            RasterWriter({"mean": tmp_path / "a.tif"}, field, options={"BLOCKXSIZE": "7"})
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize(
        ("declared", "written"),
        [
            (None, -9999), (-32768, -32768), (-9999.0, -9999),
            (float(np.finfo("f4").min), np.finfo("f4").min),
            (np.nan, np.nan), (0, -9999), (255, -9999), (1e20, -9999), (-1.7976931348623157e308, -9999),
            (-0.1, -9999), (-np.inf, -9999),
        ],
    )  # fmt: skip
    def test_nodata_is_never_a_variance(self, field, declared, written):
        attrs = {} if declared is None else {"source_nodata": declared}
        np.testing.assert_equal(nodata_of(field.drop_attrs().assign_attrs(attrs)), written)

    @pytest.mark.parametrize("nodata", [-9999.0, np.nan])
    def test_a_value_equal_to_nodata_stays_a_value(self, tmp_path, nodata):
        box = GeoBox((1, 3), NORTH_UP, "EPSG:32616")
        values = np.array([[[-9999, NAN, 5]]], "f4")
        write_all(
            RasterWriter({"mean": tmp_path / "a.tif"}, field_on(box, source_nodata=nodata)), {"mean": values}
        )
        read = open_field(tmp_path / "a.tif").values
        np.testing.assert_allclose(read, values, rtol=2e-7)
        with rasterio.open(tmp_path / "a.tif") as file:
            np.testing.assert_equal(file.nodata, nodata)

    def test_same_input_same_bytes(self, tmp_path, field, layers):
        for name in "ab":
            write_all(RasterWriter({"mean": tmp_path / f"{name}.tif"}, field, tags={"seed": "0"}), layers)
        assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()

    def test_memory_is_that_of_a_window(self, tmp_path):
        box = GeoBox((6000, 5000), NORTH_UP, "EPSG:32616")
        field = field_on(GeoBox((1, 1), NORTH_UP, "EPSG:32616"))
        field = xr.DataArray(
            np.broadcast_to(NAN, (1, *box.shape)), dims=field.dims, coords={"band": [1], **coordinates(box)}
        )
        tracemalloc.start()
        with RasterWriter({"mean": tmp_path / "a.tif"}, field) as writer:
            for w in windows(box.shape, 1024):
                writer.write(w, {"mean": np.zeros((1, *w.shape), "f4")})
            writer.commit()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20e6  # the raster has 120e6 bytes


def test_real_rasters_keep_their_georeferencing(data, tmp_path):
    for name in ("dem/whitney_30m.tif", "dem/gredos_25m.tif", "satellite/landsat7_olinda_6b.tif"):
        field = open_field(data / name)
        values = field.values
        write_all(
            RasterWriter({"mean": tmp_path / "m.tif"}, field, overwrite=True), {"mean": values}, tile=256
        )
        with rasterio.open(data / name) as source, rasterio.open(tmp_path / "m.tif") as copy:
            assert (copy.crs, copy.transform) == (source.crs, source.transform)
            assert copy.tags()["AREA_OR_POINT"] == source.tags()["AREA_OR_POINT"]
        np.testing.assert_array_equal(open_field(tmp_path / "m.tif").values, values)
