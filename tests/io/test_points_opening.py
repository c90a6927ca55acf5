"""Points opened as a field, from a file to a grid; their errors beside them."""

import os

import numpy as np
import pytest

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.field import geobox
from geonp.io import open_field, open_with_errors
from geonp.io.points import grid_points, read_points
from geonp.io.table import Columns
from tests.io.surveyed import BOX, UTM, blank


class TestOpening:
    def test_onto_another_raster(self, table, tmp_path):
        raster = tmp_path / "like.nc"
        blank(BOX).rename("z").to_netcdf(raster)
        path = table("x,y,z\n105,235,7\n145,205,9\n")
        field = open_field(path, like=raster)
        assert geobox(field) == BOX
        assert field.name == "z"
        assert field.dims == ("band", "y", "x")
        assert field.encoding["source"] == os.fspath(path)
        assert (field.values[0, 0, 0], field.values[0, 3, 4]) == (7, 9)

    def test_with_a_crs_and_a_value(self, table):
        path = table("x,y,lead,zinc\n105,235,7,8\n")
        field = open_field(path, res=10, crs=UTM, value="zinc")
        assert geobox(field).crs.epsg == 32616
        assert field.values[0, 0, 0] == 8

    def test_longitudes_are_on_wgs84_unless_told_otherwise(self, table):
        path = table("lon,lat,z\n5,50,1\n6,51,2\n")
        assert geobox(open_field(path, res=1)).crs.epsg == 4326
        assert geobox(open_field(path, res=1, crs="EPSG:4258")).crs.epsg == 4258

    def test_bounds_crop(self, table):
        path = table("x,y,z\n5,5,1\n15,5,2\n25,5,3\n")
        field = open_field(path, res=10, bounds=(10, 0, 20, 10))
        np.testing.assert_array_equal(field.values, [[[2]]])

    def test_a_grid_is_needed(self, table):
        path = table("x,y,z\n1,2,3\n")
        with pytest.raises(UsageError, match=r"points need a grid: .*--like.*--res"):
            open_field(path)
        with pytest.raises(UsageError, match="points need one grid"):
            open_field(path, res=1, like=blank(BOX))
        with pytest.raises(UsageError, match="single band"):
            open_field(path, res=1, band=2)
        with pytest.raises(UsageError, match="no CRS that PROJ knows"):
            open_field(path, res=1, crs="here")

    def test_plain_text_with_a_pixel_size_is_points(self, table):
        field = open_field(table("0.5 0.5 3\n1.5 0.5 4\n", "soundings.xyz"), res=1)
        np.testing.assert_array_equal(field.values, [[[3, 4]]])


def test_real_surveys(data):
    meuse = open_field(data / "points" / "meuse.csv", res=40, crs="EPSG:28992", value="zinc")
    assert meuse.shape == (1, 99, 70)
    assert np.isfinite(meuse.values).sum() == 155
    columns = Columns(value="precip", error="precipSE")
    rain = read_points(data / "points" / "north_american_rainfall.csv", columns=columns)
    with pytest.warns(GeonpWarning, match="387 points share 179 pixels"):
        done = grid_points(rain, res=0.5)
    assert done.used == 1720
    assert np.isfinite(done.error_variance.values).sum() == 1720 - 387 + 179


class TestErrors:
    LINES = "x,y,depth,off\n105,235,1.0,0.5\n106,236,4.0,1.0\n125,235,7.0,2.0\n145,205,9.0,0\n"

    def test_they_come_beside_the_field(self, table):
        with pytest.warns(GeonpWarning, match="share"):
            field, errors = open_with_errors(table(self.LINES), "off", like=blank(BOX), value="depth")
        value, off = field.to_numpy()[0], errors.to_numpy()[0]
        np.testing.assert_array_equal(np.isfinite(value), np.isfinite(off))
        # Two soundings of one pixel: weights 4 and 1.
        assert value[0, 0] == pytest.approx(1.6)
        assert off[0, 0] == pytest.approx(0.2**0.5)
        assert off[0, 2] == pytest.approx(2.0)
        assert off[3, 4] == 0
        assert geobox(errors) == geobox(field)

    def test_bounds_cut_both(self, table):
        with pytest.warns(GeonpWarning, match="share"):
            parts = open_with_errors(
                table(self.LINES), "off", like=blank(BOX), value="depth", bounds=(100, 230, 120, 240)
            )
        assert [part.shape for part in parts] == [(1, 1, 2), (1, 1, 2)]

    def test_an_error_that_is_endless_or_missing_drops_its_point(self, table):
        lines = "x,y,depth,off\n105,235,1.0,0.5\n115,235,4.0,inf\n125,235,7.0,\n"
        with pytest.warns(GeonpWarning, match="2 points lack a coordinate, value or error"):
            field, _ = open_with_errors(table(lines), "off", like=blank(BOX), value="depth")
        assert np.isfinite(field.to_numpy()).sum() == 1

    def test_a_negative_error_is_named(self, table):
        lines = "x,y,depth,off\n105,235,1.0,0.5\n115,235,4.0,-1\n125,235,7.0,-3\n"
        with pytest.raises(InputError, match=r"'off' of point 2 is -1 \(2 of 3 are negative\)"):
            open_with_errors(table(lines), "off", like=blank(BOX), value="depth")

    def test_rasters_have_no_columns(self, table):
        with pytest.raises(UsageError, match="has no columns"):
            open_with_errors("survey.tif", "off")
