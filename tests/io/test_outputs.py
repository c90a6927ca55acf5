"""Completed rasters written to files: what they say, and that they appear whole, together, or not at all."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
import warnings
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from geonp.errors import OutputError, UsageError
from geonp.field import Window, geobox, windows
from geonp.io import cf, open_field
from geonp.io.container import ContainerWriter
from geonp.io.geotiff import RasterWriter, creation_options, nodata_of
from geonp.io.grid import coordinates
from geonp.io.outputs import Staging, check_outputs

NAN = np.float32(np.nan)
NORTH_UP = Affine(30, 0, 500_000, 0, -30, 4_000_000)
GRIDS = {
    "north-up": NORTH_UP,
    "south-up": Affine(30, 0, 500_000, 0, 30, 4_000_000),
    "non-square": Affine(25, 0, 500_000, 0, -10, 4_000_000),
    "rotated": Affine.translation(500_000, 4_000_000) @ Affine.rotation(25) @ Affine.scale(20, -10),
}


def field_on(box, bands=1, **attrs):
    """Return a field of NaN on a geobox."""
    coords = {"band": np.arange(1, bands + 1), **coordinates(box)}
    values = np.full((bands, *box.shape), NAN)
    return xr.DataArray(values, dims=("band", "y", "x"), coords=coords, attrs=attrs)


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


def write_all(writer, layers, tile=32, seed=0):
    """Write windows in a random order and commit."""
    rows, cols = layers["mean"].shape[1:]
    order = windows((rows, cols), tile)
    np.random.default_rng(seed).shuffle(order)
    with writer:
        for w in order:
            at = (slice(None), slice(w.row, w.stop[0]), slice(w.col, w.stop[1]))
            writer.write(w, {name: values[at] for name, values in layers.items()})
        writer.commit()


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


WRITERS = {
    "tif": lambda folder, field, **k: RasterWriter(
        {"mean": folder / "m.tif", "variance": folder / "v.tif"}, field, **k
    ),
    "cog": lambda folder, field, **k: RasterWriter({"mean": folder / "m.tif"}, field, cog=True, **k),
    "nc": lambda folder, field, **k: ContainerWriter(folder / "a.nc", field, **k),
    "zarr": lambda folder, field, **k: ContainerWriter(folder / "a.zarr", field, **k),
}


@pytest.mark.parametrize("kind", WRITERS)
class TestAllOrNothing:
    @pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
    def test_a_failure_leaves_nothing(self, tmp_path, field, layers, kind, error):
        writer = WRITERS[kind](tmp_path, field)
        with pytest.raises(error), writer:  # noqa: PT012
            writer.write(Window(0, 0, 70, 90), layers)
            raise error
        assert os.listdir(tmp_path) == []

    def test_leaving_without_commit_leaves_nothing(self, tmp_path, field, layers, kind):
        with WRITERS[kind](tmp_path, field) as writer:
            writer.write(Window(0, 0, 70, 90), layers)
            assert all(name.startswith(".geonp-") for name in os.listdir(tmp_path))
        assert os.listdir(tmp_path) == []

    def test_a_failure_keeps_what_was_there(self, tmp_path, field, layers, kind):
        write_all(WRITERS[kind](tmp_path, field), layers)
        before = sorted(os.listdir(tmp_path))
        with pytest.raises(ZeroDivisionError), WRITERS[kind](tmp_path, field, overwrite=True):
            raise ZeroDivisionError
        assert sorted(os.listdir(tmp_path)) == before
        path = tmp_path / before[0]
        options = {} if path.suffix == ".tif" else {"variable": "mean"}
        np.testing.assert_array_equal(open_field(path, **options).values, layers["mean"])

    def test_replacing(self, tmp_path, field, layers, kind):
        write_all(WRITERS[kind](tmp_path, field), {k: np.zeros_like(v) for k, v in layers.items()})
        with pytest.raises(OutputError, match=r"exists already.*--overwrite"):
            WRITERS[kind](tmp_path, field)
        before = sorted(os.listdir(tmp_path))
        write_all(WRITERS[kind](tmp_path, field, overwrite=True), layers)
        assert sorted(os.listdir(tmp_path)) == before
        path = tmp_path / before[0]
        options = {} if path.suffix == ".tif" else {"variable": "mean"}
        np.testing.assert_array_equal(open_field(path, **options).values, layers["mean"])

    def test_wrong_windows_are_refused(self, tmp_path, field, layers, kind):
        with WRITERS[kind](tmp_path, field) as writer:
            with pytest.raises(UsageError, match="outside a raster of 70 x 90"):
                writer.write(Window(60, 0, 20, 90), layers)
            with pytest.raises(UsageError, match="mean is"):
                writer.write(Window(0, 0, 5, 5), layers)
            with pytest.raises(UsageError, match="has no mean"):
                writer.write(Window(0, 0, 70, 90), {"other": layers["mean"]})

    @pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
    def test_a_full_disk(self, tmp_path, kind):
        """A limit on file sizes stands in for a full disk: the kernel refuses the same writes."""
        script = f"""
            import resource, signal, numpy as np
            from tests.io.test_outputs import WRITERS, field_on, GeoBox, NORTH_UP, windows
            from geonp.errors import OutputError
            from pathlib import Path
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
            box = GeoBox((600, 600), NORTH_UP, "EPSG:32616")
            noise = np.random.default_rng(0).random((1, 600, 600), np.float32)
            try:
                with WRITERS["{kind}"](Path("{tmp_path}"), field_on(box)) as writer:
                    for w in windows(box.shape, 100):
                        part = noise[:, w.row:w.stop[0], w.col:w.stop[1]]
                        writer.write(w, {{"mean": part, "variance": part}})
                    writer.commit()
            except OutputError as error:
                assert "disk" in str(error) and "\\n" not in str(error), error
                print("refused")
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
        )
        assert done.stdout == "refused\n", done.stderr
        assert "Traceback" not in done.stderr
        assert os.listdir(tmp_path) == []


class TestCommit:
    def test_stale_companions_of_a_replaced_raster_go(self, tmp_path, field, layers):
        for name in ("m.tif.aux.xml", "m.tif.ovr", "m.tif.msk", "m.tif.keep"):
            (tmp_path / name).write_text("stale")
        write_all(RasterWriter({"mean": tmp_path / "m.tif"}, field), layers)
        assert sorted(os.listdir(tmp_path)) == ["m.tif", "m.tif.keep"]

    def test_what_cannot_be_moved_is_put_back(self, tmp_path, monkeypatch):
        for name in "ab":
            (tmp_path / name).write_text(f"old {name}")
        real = os.rename

        def rename(source, destination):
            if destination == tmp_path / "b" and source.parent.name != ".replaced":
                raise OSError("no")
            real(source, destination)

        staging = Staging([tmp_path / "a", tmp_path / "b"], overwrite=True)
        for name in "ab":
            staging.temporary(tmp_path / name).write_text("new")
        monkeypatch.setattr("geonp.io.outputs.os.rename", rename)
        with pytest.raises(OutputError, match="cannot be moved into place"):
            staging.commit()
        assert sorted(os.listdir(tmp_path)) == ["a", "b"]
        assert (tmp_path / "a").read_text() == "old a"
        assert (tmp_path / "b").read_text() == "old b"

    def test_what_cannot_even_be_put_back_is_kept(self, tmp_path, monkeypatch):
        (tmp_path / "a").write_text("old")
        real = os.rename

        def rename(source, destination):
            if destination == tmp_path / "a":
                raise OSError("no")
            real(source, destination)

        with Staging([tmp_path / "a"], overwrite=True) as staging:
            staging.temporary(tmp_path / "a").write_text("new")
            monkeypatch.setattr("geonp.io.outputs.os.rename", rename)
            with pytest.raises(OutputError, match="kept as") as caught:
                staging.commit()
        kept = str(caught.value).split("kept as ")[1]
        with open(kept) as file:
            assert file.read() == "old"

    def test_what_appeared_meanwhile_is_not_replaced(self, tmp_path, field, layers):
        with RasterWriter({"mean": tmp_path / "m.tif"}, field) as writer:
            writer.write(Window(0, 0, 70, 90), layers)
            (tmp_path / "m.tif").write_text("mine")
            with pytest.raises(OutputError, match="appeared"):
                writer.commit()
        assert (tmp_path / "m.tif").read_text() == "mine"
        assert os.listdir(tmp_path) == ["m.tif"]

    def test_outputs_in_several_folders(self, tmp_path, field, layers):
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        paths = {"mean": tmp_path / "one" / "a.tif", "variance": tmp_path / "two" / "a.tif"}
        write_all(RasterWriter(paths, field), layers)
        for name, path in paths.items():
            np.testing.assert_array_equal(open_field(path).values, layers[name])
            assert os.listdir(path.parent) == ["a.tif"]

    def test_a_link_is_written_through(self, tmp_path, field, layers):
        (tmp_path / "real").mkdir()
        (tmp_path / "link.tif").symlink_to(tmp_path / "real" / "m.tif")
        write_all(RasterWriter({"mean": tmp_path / "link.tif"}, field), layers)
        assert (tmp_path / "link.tif").is_symlink()
        assert (tmp_path / "real" / "m.tif").is_file()

    def test_permissions_are_those_of_any_new_file(self, tmp_path, field, layers):
        (tmp_path / "plain").touch()
        write_all(RasterWriter({"mean": tmp_path / "m.tif"}, field), layers)
        assert (tmp_path / "m.tif").stat().st_mode == (tmp_path / "plain").stat().st_mode


class TestChecks:
    def test_what_can_be_written_passes(self, tmp_path):
        check_outputs(
            [tmp_path / "a.tif", tmp_path / "b.tif"], inputs=["/vsicurl/http://x/a.tif", tmp_path / "c"]
        )
        assert os.listdir(tmp_path) == []

    def test_existing_outputs(self, tmp_path):
        (tmp_path / "a.tif").touch()
        with pytest.raises(OutputError, match="exists already"):
            check_outputs([tmp_path / "a.tif"])
        check_outputs([tmp_path / "a.tif"], overwrite=True)

    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(OutputError, match=r"no folder.*mkdir"):
            check_outputs([tmp_path / "none" / "a.tif"])

    def test_a_folder_that_cannot_be_written_to(self, tmp_path, monkeypatch):
        monkeypatch.setattr("os.access", lambda *_: False)
        with pytest.raises(OutputError, match="cannot be written to"):
            check_outputs([tmp_path / "a.tif"])

    def test_the_same_path_twice(self, tmp_path):
        with pytest.raises(UsageError, match="twice"):
            check_outputs([tmp_path / "a.tif", tmp_path / "." / "a.tif"])

    def test_an_input(self, tmp_path):
        (tmp_path / "a.tif").touch()
        with pytest.raises(UsageError, match="is an input too"):
            check_outputs([tmp_path / "a.tif"], inputs=[tmp_path / "a.tif"], overwrite=True)

    def test_an_unknown_format(self, tmp_path, field):
        with pytest.raises(UsageError, match=r"'\.jpg' cannot be written; use \.tif or \.tiff"):
            RasterWriter({"mean": tmp_path / "a.jpg"}, field)
        with pytest.raises(UsageError, match=r"'\.tif' cannot be written"):
            ContainerWriter(tmp_path / "a.tif", field)

    def test_unknown_layers(self, tmp_path, field):
        with pytest.raises(UsageError, match="got median"):
            RasterWriter({"median": tmp_path / "a.tif"}, field)
        with pytest.raises(UsageError, match="got none"):
            ContainerWriter(tmp_path / "a.nc", field, [])

    def test_folders_are_not_replaced(self, tmp_path):
        for name in ("a.tif", "a.zarr"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "precious").touch()
            with pytest.raises(OutputError, match="no Zarr store"):
                check_outputs([tmp_path / name], overwrite=True)

    def test_a_remote_address(self):
        with pytest.raises(OutputError, match="local folder"):
            check_outputs(["s3://bucket/a.tif"])


class TestAttributes:
    @pytest.mark.parametrize(
        ("units", "squared"),
        [
            ("m", "m2"), ("m s-1", "m2 s-2"), ("m2", "m4"), ("m**2 s**-2", "m**4 s**-4"),
            ("kg m-2 s-1", "kg2 m-4 s-2"),
            ("m/s", "(m/s)2"), ("mm/m", "(mm/m)2"), ("%", "(%)2"), ("degC", "K2"), ("degree_Celsius", "K2"),
            ("Deg C", "K2"), ("°C", "K2"), ("K", "K2"), ("1", "1"), ("", ""), ("-", "-"), ("W.m-2", "W2 m-4"),
        ],
    )  # fmt: skip
    def test_units_of_a_variance(self, units, squared):
        assert cf.squared(units) == squared

    def test_describing_a_prediction(self):
        source = xr.DataArray(
            np.zeros((2, 2)), attrs={"units": "m", "scale_factor": 2, "valid_max": 3}, name="dem"
        )
        source.encoding["grid_mapping"] = "crs"
        out = cf.describe(xr.Dataset({"mean": source.copy(), "variance": source.drop_attrs()}), source)
        assert out["mean"].attrs == {"units": "m", "ancillary_variables": "variance"}
        assert out["variance"].attrs == {"units": "m2", "long_name": "variance of dem"}
        assert out["variance"].encoding["grid_mapping"] == "crs"
        assert "ancillary_variables" not in source.attrs

    def test_linking_a_variance(self):
        dem = xr.DataArray(np.zeros(2), attrs={"units": "m", "ancillary_variables": "variance quality"})
        data = xr.Dataset({"dem": dem, "quality": dem, "dem_variance": dem})
        out = cf.link_variance(data, "dem")
        assert out["dem"].attrs["ancillary_variables"] == "quality dem_variance"
        assert out["dem_variance"].attrs == {"units": "m2", "long_name": "variance of dem"}
        assert data["dem"].attrs["ancillary_variables"] == "variance quality"


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


class TestMovingIntoPlace:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_waits_until_all_is_in_place(self, tmp_path, monkeypatch, number):
        targets = [tmp_path / "mean.tif", tmp_path / "var.tif"]
        for target in targets:
            target.write_text("old")
        rename, came = os.rename, []
        monkeypatch.setattr(os, "rename", lambda *a: (rename(*a), signal.raise_signal(number)))
        before = signal.signal(number, lambda *_: came.append([t.read_text() for t in targets]))
        try:
            with Staging(targets, overwrite=True) as staging:
                for target in targets:
                    staging.temporary(target).write_text("new")
                staging.commit()
        finally:
            handler = signal.signal(number, before)
        assert came == [["new", "new"]]
        assert callable(handler)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["mean.tif", "var.tif"]

    def test_runs_that_end_together_do_not_mix(self, tmp_path, monkeypatch):
        targets = [tmp_path / "mean.tif", tmp_path / "var.tif"]
        rename = os.rename
        monkeypatch.setattr(os, "rename", lambda *a: (time.sleep(0.005), rename(*a)))
        met = threading.Barrier(4)

        def run(name: str) -> None:
            with Staging(targets, overwrite=True) as staging:
                for target in targets:
                    staging.temporary(target).write_text(name)
                met.wait()
                staging.commit()

        runs = [threading.Thread(target=run, args=(name,)) for name in "abcd"]
        for one in runs:
            one.start()
        for one in runs:
            one.join()
        assert targets[0].read_text() == targets[1].read_text() in "abcd"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["mean.tif", "var.tif"]


def test_an_interruption_before_the_context_is_entered_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        Staging([tmp_path / "mean.tif", tmp_path / "var.tif"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    gc.collect()
    assert list(tmp_path.iterdir()) == []
