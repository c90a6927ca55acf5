"""Rasters that GDAL reads: what is observed, what is a band, and what is said of them."""

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.enums import ColorInterp

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.field import geobox, load, summarise
from geonp.io import open_field
from tests.io.grids import NAN
from tests.io.rasters import ramp, save


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


def test_real_rasters_read_as_rasterio_masks_them(data):
    paths = [data / "dem" / n for n in ("whitney_30m.tif", "gabilan_1m.tif", "bathy_celt.tif")]
    for path in [*paths, data / "satellite" / "rgb_byte_bahamas.tif"]:
        field = open_field(path)
        with rasterio.open(path) as file:
            expected = file.read(masked=True).astype("f4").filled(np.nan)
            assert geobox(field).affine == file.transform
        np.testing.assert_array_equal(field.values, expected)
