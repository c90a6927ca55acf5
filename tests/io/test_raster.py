"""Rasters that GDAL reads: what is observed, where it lies, and that pixels are read when asked for."""

import multiprocessing
import pickle
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from geonp.errors import GeonpWarning, InputError, MissingCRSWarning, UsageError
from geonp.field import geobox, load, spacing, summarise, warn_without_crs
from geonp.io import open_field
from geonp.io.grid import exact_box
from geonp.io.raster import RasterArray, open_raster

NAN = np.float32(np.nan)
NORTH_UP = Affine(30, 0, 500_000, 0, -30, 4_000_000)
GRIDS = {
    "north-up": NORTH_UP,
    "south-up": Affine(30, 0, 500_000, 0, 30, 4_000_000),
    "non-square": Affine(25, 0, 500_000, 0, -10, 4_000_000),
    "rotated": Affine.translation(500_000, 4_000_000) @ Affine.rotation(25) @ Affine.scale(20, -10),
    "sheared": Affine(20, 3, 500_000, -2, -10, 4_000_000),
}


def save(
    path,
    values,
    *,
    descriptions=None,
    units=None,
    scales=None,
    offsets=None,
    colours=None,
    tags=None,
    **profile,
):
    """Write (band, y, x) values to a GeoTIFF."""
    bands, rows, cols = values.shape
    mask = profile.pop("mask", None)
    profile = {"crs": "EPSG:32616", "transform": NORTH_UP, "dtype": values.dtype} | profile
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", count=bands, height=rows, width=cols, **profile
        ) as file:
            file.write(values)
            if mask is not None:
                file.write_mask(mask)
            for name, value in (("descriptions", descriptions), ("units", units), ("scales", scales)):
                if value is not None:
                    setattr(file, name, value)
            if offsets is not None:
                file.offsets = offsets
            if colours is not None:
                file.colorinterp = colours
            if tags:
                file.update_tags(**tags)
    return path


def ramp(bands, rows, cols, dtype="float32"):
    return np.arange(1, 1 + bands * rows * cols).reshape(bands, rows, cols).astype(dtype)


@pytest.fixture
def scene(tmp_path):
    """A tiled raster of 2 x 70 x 90 random numbers, and those numbers."""
    values = np.random.default_rng(0).normal(size=(2, 70, 90)).astype("f4")
    path = save(tmp_path / "scene.tif", values, tiled=True, blockxsize=16, blockysize=32, compress="deflate")
    return path, values


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", 0), ("uint8", 255), ("int8", -1), ("uint16", 65535), ("int16", -32768),
        ("uint32", 4294967295), ("int32", -2147483648),
        ("float32", -9999), ("float32", np.nan),
        ("float32", -3.4028234663852886e38),
        ("float64", -1.7976931348623157e308), ("float64", -9999.5), ("float32", np.inf),
    ],
)  # fmt: skip
def test_nodata_of_every_dtype_is_not_observed(tmp_path, dtype, nodata):
    stored = ramp(1, 3, 4, dtype)
    stored[0, 1, 2] = nodata
    field = open_field(save(tmp_path / "a.tif", stored, nodata=nodata))
    expected = ramp(1, 3, 4)
    expected[0, 1, 2] = NAN
    assert field.dtype == np.float32
    assert field.attrs["source_dtype"] == dtype
    np.testing.assert_array_equal(field.values, expected)


def test_a_truncated_sentinel_in_the_header_still_matches(tmp_path):
    lowest = np.finfo("f4").min
    stored = ramp(1, 2, 2)
    stored[0, 0, 0] = lowest
    path = save(tmp_path / "a.tif", stored, nodata=float(lowest))
    # As ESRI software writes it: with fewer digits than the pixels have.
    path.write_bytes(path.read_bytes().replace(b"-3.4028234663852886e+38", b"-3.40282346638529e+38\0\0"))
    assert np.isnan(open_field(path).values[0, 0, 0])
    assert np.isfinite(open_field(path).values).sum() == 3


def test_nodata_that_the_dtype_cannot_hold_matches_nothing(tmp_path):
    path = save(tmp_path / "a.tif", ramp(1, 2, 2, "uint8"))
    for impossible in (-9999, 1.5, 1e9):
        assert np.isfinite(open_field(path, nodata=impossible).values).all()


def test_a_given_nodata_replaces_the_declared_one(tmp_path):
    path = save(tmp_path / "a.tif", np.array([[[0, 1], [2, 3]]], "i2"), nodata=0)
    np.testing.assert_array_equal(open_field(path, nodata=3).values, [[[0, 1], [2, NAN]]])


def test_infinities_are_left_to_be_counted(tmp_path):
    values = np.array([[[np.inf, 1], [-np.inf, np.nan]]], "f4")
    field = open_field(save(tmp_path / "a.tif", values))
    np.testing.assert_array_equal(field.values, values)
    assert summarise(field).infinite == [2]
    assert np.isfinite(load(field).values).sum() == 1


@pytest.mark.parametrize("internal", [False, True])
@pytest.mark.parametrize("nodata", [None, 7])
def test_masks_and_nodata_both_count(tmp_path, internal, nodata):
    mask = np.ones((3, 4), bool)
    mask[0] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        path = save(tmp_path / "a.tif", ramp(2, 3, 4, "uint8"), mask=mask, nodata=nodata)
    assert (tmp_path / "a.tif.msk").exists() is not internal
    expected = ramp(2, 3, 4)
    expected[:, 0] = NAN
    expected[expected == 7] = NAN if nodata else 7
    np.testing.assert_array_equal(open_field(path).values, expected)


class TestAlpha:
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)

    @pytest.fixture(params=["uint8", "uint16"])
    def rgba(self, tmp_path, request):
        values = ramp(4, 3, 4, request.param)
        values[3] = 255
        values[3, 1, 1] = 0
        return save(tmp_path / "a.tif", values, photometric="RGB", alpha="yes", colours=self.colours), values

    def test_it_masks_and_is_no_band(self, rgba):
        path, values = rgba
        expected = values[:3].astype("f4")
        expected[:, 1, 1] = NAN
        with pytest.warns(GeonpWarning, match="band 4 is an alpha band"):
            field = open_field(path)
        assert list(field.band) == [1, 2, 3]
        np.testing.assert_array_equal(field.values, expected)

    def test_it_masks_bands_that_were_chosen_too(self, rgba):
        field = open_field(rgba[0], band=2)
        assert np.isnan(field.values[0, 1, 1])
        assert np.isfinite(field.values).sum() == 11

    def test_asked_for_it_is_data(self, rgba):
        path, values = rgba
        np.testing.assert_array_equal(open_field(path, band=[4, 1]).values, values[[3, 0]].astype("f4"))

    def test_described_as_something_else_it_is_data(self, tmp_path):
        values = ramp(4, 3, 4, "uint8")
        values[3, 0, 0] = 0
        path = save(tmp_path / "a.tif", values, colours=self.colours, descriptions=("R", "G", "B", "NIR"))
        np.testing.assert_array_equal(open_field(path).values, values.astype("f4"))

    def test_beside_nodata_both_count(self, tmp_path):
        values = np.array([[[1, 2], [3, 4]], [[255, 0], [255, 255]]], "uint8")
        colours = (ColorInterp.gray, ColorInterp.alpha)
        path = save(tmp_path / "a.tif", values, nodata=4, alpha="yes", colours=colours)
        np.testing.assert_array_equal(open_field(path, band=1).values, [[[1, NAN], [3, NAN]]])


def test_scale_and_offset_apply_after_nodata(tmp_path):
    values = np.array([[[0, 100]], [[50, 300]]], "i2")
    path = save(tmp_path / "a.tif", values, nodata=300, scales=(0.1, 2), offsets=(-5, 1))
    np.testing.assert_allclose(open_field(path).values, np.array([[[-5, 5]], [[101, NAN]]], "f4"), rtol=1e-7)


def test_scaled_values_are_rounded_once(tmp_path):
    path = save(tmp_path / "a.tif", np.array([[[16_777_217]]], "i4"), scales=(1e-7,), offsets=(-1.6777216,))
    assert open_field(path).values[0, 0, 0] == pytest.approx(1e-7, rel=1e-6)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("crs", ["EPSG:32616", None])
@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (1, 6)])
def test_the_grid_is_that_of_the_file(tmp_path, grid, crs, shape):
    field = open_field(save(tmp_path / "a.tif", ramp(1, *shape), transform=GRIDS[grid], crs=crs))
    for box in (geobox(field), exact_box(field)):
        assert box == GeoBox(shape, GRIDS[grid], crs)


@pytest.mark.parametrize("grid", GRIDS)
def test_windows_know_where_they_lie(tmp_path, grid):
    field = open_field(save(tmp_path / "a.tif", ramp(1, 8, 9), transform=GRIDS[grid]))
    part = geobox(field.isel(y=slice(2, 6), x=slice(3, 8)))
    whole = GeoBox((8, 9), GRIDS[grid], "EPSG:32616")
    assert part.shape == (4, 5)
    np.testing.assert_allclose(part.affine[:6], whole[2:6, 3:8].affine[:6], rtol=1e-12)


def test_spacing_is_metric_on_every_grid(tmp_path):
    for name, affine in GRIDS.items():
        field = open_field(save(tmp_path / f"{name}.tif", ramp(1, 4, 4), transform=affine))
        a, b, _, d, e, _ = affine[:6]
        assert spacing(field) == pytest.approx((np.hypot(b, e), np.hypot(a, d)))


@pytest.mark.parametrize(
    "crs",
    [
        "EPSG:4326", "EPSG:25832", "EPSG:2263", "EPSG:3031", "EPSG:27700", "EPSG:5698",
        "+proj=tmerc +lat_0=1 +lon_0=2 +k=0.9 +x_0=3 +y_0=4 +ellps=bessel +towgs84=1,2,3 +units=m +no_defs",
        'LOCAL_CS["site",UNIT["metre",1]]',
    ],
)  # fmt: skip
def test_any_crs_opens(tmp_path, crs):
    path = save(tmp_path / "a.tif", ramp(1, 3, 3), crs=crs, transform=Affine(0.1, 0, 2, 0, -0.1, 3))
    with rasterio.open(path) as file:
        assert rasterio.CRS.from_wkt(geobox(open_field(path)).crs.to_wkt()) == file.crs


def test_without_georeferencing_lengths_are_pixels(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        field = open_field(save(tmp_path / "a.tif", ramp(1, 3, 3), crs=None, transform=Affine.identity()))
        field.load()
    assert geobox(field) is None
    assert spacing(field) == (1, 1)
    with pytest.warns(MissingCRSWarning):
        warn_without_crs(field)


def test_ground_control_points_alone_are_no_grid(tmp_path):
    points = [rasterio.control.GroundControlPoint(r, c, c * 2.0, r * 3.0) for r in (0, 9) for c in (0, 9)]
    path = tmp_path / "a.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", count=1, height=3, width=3, dtype="float32") as file:
            file.write(ramp(1, 3, 3))
            file.gcps = (points, rasterio.CRS.from_epsg(32616))
    assert geobox(open_field(path)) is None


def test_metadata_is_kept(tmp_path):
    path = save(
        tmp_path / "a.tif", ramp(2, 3, 3), descriptions=("depth", "slope"), units=("m", "degree"),
        tags={"AREA_OR_POINT": "Point"}, nodata=-1,
    )  # fmt: skip
    field = open_field(path)
    assert field.attrs == {"AREA_OR_POINT": "Point", "source_dtype": "float32", "source_nodata": -1}
    assert list(field.description.values) == ["depth", "slope"]
    assert list(field.band_units.values) == ["m", "degree"]
    assert field.encoding["source"] == str(path)
    single = open_field(path, band=2)
    assert single.attrs["units"] == "degree"
    assert single.attrs["long_name"] == "slope"


def test_a_lazy_field_written_by_xarray_is_not_rounded(tmp_path):
    # An encoding with the file's integer dtype would make to_netcdf round what was predicted.
    field = open_field(save(tmp_path / "a.tif", ramp(1, 3, 3, "i2"), nodata=-1)) + 0.25
    field.name = "a"
    field.to_netcdf(tmp_path / "a.nc")
    np.testing.assert_array_equal(xr.open_dataarray(tmp_path / "a.nc").values, field.values)


def test_bands_are_chosen_by_number(tmp_path):
    values = ramp(4, 2, 3)
    path = save(tmp_path / "a.tif", values)
    field = open_field(path, band=[3, 1])
    np.testing.assert_array_equal(field.values, values[[2, 0]])
    np.testing.assert_array_equal(field.band, [3, 1])
    np.testing.assert_array_equal(field.isel(band=1).values, values[0])
    with pytest.raises(UsageError, match="bands 1 to 4, there is no band 5"):
        open_field(path, band=5)
    with pytest.raises(UsageError, match="no band 0"):
        open_field(path, band=0)


def test_bands_of_different_types(tmp_path):
    a = save(tmp_path / "a.tif", ramp(1, 2, 3, "uint8"), nodata=2)
    b = save(tmp_path / "b.tif", ramp(1, 2, 3, "float32") / 4, nodata=-1)
    source = (
        "<VRTRasterBand dataType='{}' band='{}'><NoDataValue>{}</NoDataValue><SimpleSource><SourceFilename>{}"
    )
    end = "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
    vrt = tmp_path / "both.vrt"
    vrt.write_text(
        "<VRTDataset rasterXSize='3' rasterYSize='2'>"
        + source.format("Byte", 1, 2, a) + end + source.format("Float32", 2, -1, b) + end + "</VRTDataset>"
    )  # fmt: skip
    values = open_field(vrt).values
    np.testing.assert_array_equal(values[1], ramp(1, 2, 3)[0] / 4)
    np.testing.assert_array_equal(np.isnan(values[0]), ramp(1, 2, 3)[0] == 2)


def test_complex_numbers_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"complex64.*amplitude"):
        open_field(save(tmp_path / "a.tif", ramp(1, 2, 2, "complex64")))


class TestLaziness:
    @pytest.fixture
    def big(self, tmp_path):
        """A sparse 20000 x 20000 raster whose last pixel is 5."""
        path = tmp_path / "big.tif"
        profile = {
            "count": 1,
            "height": 20_000,
            "width": 20_000,
            "dtype": "float32",
            "tiled": True,
            "nodata": -1,
        }
        with rasterio.open(
            path, "w", driver="GTiff", sparse_ok=True, crs="EPSG:32616", transform=NORTH_UP, **profile
        ) as file:
            file.write(np.full((1, 1, 1), 5, "f4"), window=rasterio.windows.Window(19_999, 19_999, 1, 1))
        return path

    @pytest.fixture
    def windows_read(self, monkeypatch):
        seen = []
        real = RasterArray._window
        monkeypatch.setattr(
            RasterArray, "_window", lambda self, bands, w: seen.append(w) or real(self, bands, w)
        )
        return seen

    def test_opening_reads_no_pixel(self, big, windows_read):
        open_field(big)  # what is loaded once for all is not counted
        tracemalloc.start()
        field = open_field(big)
        part = field.isel(y=slice(19_990, 20_000), x=slice(19_980, 20_000))
        assert windows_read == []
        values = part.to_numpy()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert [(w.row_off, w.col_off, w.height, w.width) for w in windows_read] == [(19_990, 19_980, 10, 20)]
        assert values[0, -1, -1] == 5
        assert np.isnan(values).sum() == 199
        assert peak < 4e6  # the raster has 1.6e9 bytes

    def test_a_step_does_not_load_what_lies_between(self, big):
        field = open_field(big)
        tracemalloc.start()
        assert field[0, ::500, ::500].to_numpy().shape == (40, 40)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3e8

    def test_values_are_not_kept(self, scene, windows_read):
        field = open_field(scene[0])
        field.to_numpy()
        field.to_numpy()
        assert len(windows_read) == 2


def slices(size):
    """Slices that select something; xarray itself fails on empty ones that run backwards."""
    return st.slices(size).filter(lambda s: len(range(size)[s]))


def indices(size):
    some = st.lists(st.integers(0, size - 1), min_size=1, max_size=4)
    return st.one_of(st.integers(0, size - 1), slices(size), some)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(band=st.one_of(st.integers(0, 1), slices(2)), y=indices(70), x=indices(90))
def test_indexing_is_that_of_numpy(scene, band, y, x):
    path, values = scene
    expected = values[band][..., y, :][..., x]
    np.testing.assert_array_equal(open_raster(path).isel(band=band, y=y, x=x).values, expected)


class TestSharing:
    def test_it_pickles_and_copies_without_pixels(self, scene):
        field = open_field(scene[0])
        data = pickle.dumps(field)
        assert len(data) < 20_000
        np.testing.assert_array_equal(pickle.loads(data).values, scene[1])
        np.testing.assert_array_equal(field.copy(deep=True).values, scene[1])

    def test_threads_read_what_one_would(self, scene):
        field, values = open_field(scene[0]), scene[1]

        def read(seed):
            row, col = np.random.default_rng(seed).integers(0, 50, 2)
            got = field.isel(y=slice(row, row + 20), x=slice(col, col + 20)).to_numpy()
            return np.array_equal(got, values[:, row : row + 20, col : col + 20])

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(200)))

    @pytest.mark.skipif(
        "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system"
    )
    def test_a_forked_child_opens_its_own_handle(self, scene):
        field = open_field(scene[0])
        field[0, 0].load()
        handle = field.variable._data.array
        results = multiprocessing.get_context("fork").SimpleQueue()

        def child():
            ok = np.array_equal(field.values, scene[1])
            results.put((ok, handle._files._key))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads of other libraries
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
        ok, key = results.get()
        process.join()
        assert ok
        assert key != handle._files._key

    def test_handles_that_were_closed_are_opened_again(self, scene, tmp_path):
        other = save(tmp_path / "other.tif", ramp(1, 5, 5))
        with xr.set_options(file_cache_maxsize=1):
            one, two = open_field(scene[0]), open_field(other)
            for _ in range(3):
                np.testing.assert_array_equal(one.values, scene[1])
                np.testing.assert_array_equal(two.values, ramp(1, 5, 5))


class TestBadFiles:
    def fails(self, path, match, **options):
        with pytest.raises(InputError, match=match) as caught:
            open_field(path, **options).load()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_missing(self, tmp_path):
        self.fails(tmp_path / "none.tif", "no such file")

    def test_a_folder(self, tmp_path):
        self.fails(tmp_path, "is a folder")

    def test_empty(self, tmp_path):
        (tmp_path / "a.tif").write_bytes(b"")
        self.fails(tmp_path / "a.tif", "empty")

    def test_something_else(self, tmp_path):
        (tmp_path / "a.tif").write_text("not a raster at all")
        self.fails(tmp_path / "a.tif", "no raster that GDAL can read")

    def test_unreadable(self, tmp_path, monkeypatch):
        path = save(tmp_path / "a.tif", ramp(1, 2, 2))
        monkeypatch.setattr("os.access", lambda *_: False)  # root may read everything
        self.fails(path, "permission")

    def test_truncated_pixels(self, scene, capfd):
        path, _ = scene
        path.write_bytes(path.read_bytes()[:20_000])
        field = open_field(path)  # the header is whole
        with pytest.raises(InputError, match="truncated or damaged") as caught:
            field.load()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert capfd.readouterr().err == ""

    def test_gone_meanwhile(self, scene):
        path, _ = scene
        field = pickle.loads(pickle.dumps(open_field(path)))
        path.unlink()
        with pytest.raises(InputError, match=r"scene\.tif"):
            field.load()

    def test_a_container_names_its_parts(self, tmp_path):
        a = xr.DataArray(ramp(1, 4, 4)[0], dims=("y", "x"))
        xr.Dataset({"one": a, "two": a}).to_netcdf(tmp_path / "both.nc")
        with pytest.raises(InputError, match="one of these"):
            open_raster(tmp_path / "both.nc")

    def test_options_of_other_kinds(self, scene):
        with pytest.raises(UsageError, match="for NetCDF and Zarr"):
            open_field(scene[0], variable="z")
        with pytest.raises(UsageError, match="are for points"):
            open_field(scene[0], res=10)


class TestBounds:
    @pytest.mark.parametrize("grid", ["north-up", "south-up", "non-square"])
    def test_pixels_that_touch_are_kept_and_no_other(self, tmp_path, grid):
        affine, values = GRIDS[grid], ramp(2, 9, 8)
        path = save(tmp_path / "a.tif", values, transform=affine)
        box = GeoBox((9, 8), affine, "EPSG:32616")
        whole = open_field(path)
        exact = open_field(path, bounds=box[2:5, 3:7].boundingbox.bbox)
        np.testing.assert_array_equal(exact.values, values[:, 2:5, 3:7])
        assert geobox(exact) == box[2:5, 3:7]
        np.testing.assert_array_equal(exact.y, whole.y[2:5])
        left, bottom, right, top = exact.odc.geobox.boundingbox.bbox
        wider = open_field(path, bounds=(left - 1, bottom + 1, right + 1, top - 1))
        np.testing.assert_array_equal(wider.values, values[:, 2:5, 2:8])

    def test_rotated(self, tmp_path):
        affine = GRIDS["rotated"]
        path = save(tmp_path / "a.tif", ramp(1, 30, 40), transform=affine)
        x, y = affine * (20.5, 10.5)
        field = open_field(path, bounds=(x - 15, y - 15, x + 15, y + 15))
        box = geobox(field)
        col, row = ~affine * (box.affine * (0, 0))
        row, col = round(row), round(col)
        assert (
            box == GeoBox((30, 40), affine, "EPSG:32616")[row : row + box.shape[0], col : col + box.shape[1]]
        )
        np.testing.assert_array_equal(
            field.values, ramp(1, 30, 40)[:, row : row + box.shape[0], col : col + box.shape[1]]
        )
        for corner in ((x - 15, y - 15), (x + 15, y + 15), (x - 15, y + 15), (x + 15, y - 15)):
            c, r = ~box.affine * corner
            assert 0 <= c <= box.shape[1]
            assert 0 <= r <= box.shape[0]

    def test_cropping_reads_nothing(self, scene, monkeypatch):
        monkeypatch.setattr(RasterArray, "_window", None)
        assert open_field(scene[0], bounds=(500_000, 3_999_000, 500_100, 4_000_000)).sizes["x"] == 4

    def test_bad_bounds(self, scene, tmp_path):
        with pytest.raises(InputError, match="outside the grid, which covers"):
            open_field(scene[0], bounds=(0, 0, 1, 1))
        with pytest.raises(UsageError, match="swap"):
            open_field(scene[0], bounds=(1, 0, 0, 1))
        with pytest.raises(UsageError, match="four numbers"):
            open_field(scene[0], bounds=(1, 0, 0))
        bare = save(tmp_path / "bare.tif", ramp(1, 3, 3), crs=None, transform=Affine.identity())
        with pytest.raises(InputError, match="not georeferenced"):
            open_field(bare, bounds=(0, 0, 1, 1))


class TestAssigningACrs:
    def test_it_says_where_the_same_grid_lies(self, tmp_path):
        path = save(tmp_path / "a.tif", ramp(1, 4, 5), crs=None)
        field = open_field(path, crs="EPSG:32616")
        assert geobox(field) == GeoBox((4, 5), NORTH_UP, "EPSG:32616")
        assert spacing(field) == (30, 30)

    def test_it_must_exist_and_have_a_grid(self, tmp_path, scene):
        with pytest.raises(UsageError, match="no CRS that PROJ knows"):
            open_field(scene[0], crs="EPSG:nowhere")
        bare = save(tmp_path / "bare.tif", ramp(1, 3, 3), crs=None, transform=Affine.identity())
        with pytest.raises(InputError, match="georeference the file first"):
            open_field(bare, crs="EPSG:32616")


def test_real_rasters_read_as_rasterio_masks_them(data):
    paths = [data / "dem" / n for n in ("whitney_30m.tif", "gabilan_1m.tif", "bathy_celt.tif")]
    for path in [*paths, data / "satellite" / "rgb_byte_bahamas.tif"]:
        field = open_field(path)
        with rasterio.open(path) as file:
            expected = file.read(masked=True).astype("f4").filled(np.nan)
            assert geobox(field).affine == file.transform
        np.testing.assert_array_equal(field.values, expected)
