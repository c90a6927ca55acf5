"""Survey points: tables in any dialect, vector layers, what shares a pixel, and what is left out."""

import os

import numpy as np
import pyogrio.raw
import pytest
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.field import geobox, load
from geonp.io import open_field, open_with_errors
from geonp.io.grid import coordinates
from geonp.io.points import Points, grid_points, read_points
from geonp.io.table import Columns, read_table

UTM = "EPSG:32616"
BOX = GeoBox((4, 5), Affine(10, 0, 100, 0, -10, 240), UTM)


@pytest.fixture
def table(tmp_path):
    def save(text, name="a.csv"):
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return tmp_path / name

    return save


def blank(box):
    values = np.zeros((1, *box.shape), "f4")
    return xr.DataArray(values, dims=("band", "y", "x"), coords=coordinates(box))


def some(x, y, value, variance=None, crs=UTM):
    columns = (np.asarray(c, float) for c in (x, y, value))
    variance = None if variance is None else np.asarray(variance, float)
    return Points(*columns, variance, crs and CRS.from_user_input(crs), "z", "points.csv")


class TestTables:
    @pytest.mark.parametrize(
        "text",
        [
            "x,y,z\n1,2,3.5\n4,5,6\n",
            "x;y;z\n1;2;3,5\n4;5;6\n",
            "x\ty\tz\n1\t2\t3.5\n4\t5\t6\n",
            "x  y   z\n1 2  3.5\n  4 5 6\n",
            "1,2,3.5\n4,5,6\n",
            "1;2;3,5\n4;5;6",
            "\ufeffx, y, z\r\n1, 2, 3.5\r\n4, 5, 6\r\n",
            '# a survey\n"z","x","y"\n\n3.5,1,2\n# in between\n"6",4,5\n',
            "Easting [m],Northing [m],Elevation [m]\n1,2,3.5\n4,5,6\n",
            "x_km,y_km,value\n1,2,3.5\n4,5,6\n",
            "id,X,Y,Depth\n7,1,2,3.5\n8,4,5,6\n",
            "lat,lon,rain_mm\n2,1,3.5\n5,4,6\n",
        ],
    )
    def test_dialects(self, table, text):
        read = read_table(table(text))
        np.testing.assert_array_equal(read.x, [1, 4])
        np.testing.assert_array_equal(read.y, [2, 5])
        np.testing.assert_array_equal(read.value, [3.5, 6])
        assert read.variance is None
        assert read.geographic == text.startswith("lat")

    @pytest.mark.parametrize(
        ("header", "columns", "variance"),
        [
            ("x,y,z,error", None, 0.25),
            ("x,y,z,precip_sd", Columns(error="precip_sd", value="z"), 0.25),
            ("x,y,z,variance", None, 0.5),
            ("x,y,z,v2", Columns(variance="v2", value="z"), 0.5),
        ],
    )
    def test_errors(self, table, header, columns, variance):
        read = read_table(table(f"{header}\n1,2,3,0.5\n"), columns)
        np.testing.assert_array_equal(read.variance, [variance])
        assert read.name == "z"

    def test_a_fourth_column_without_a_header_is_the_error(self, table):
        np.testing.assert_array_equal(read_table(table("1,2,3,0.5\n")).variance, [0.25])

    def test_named_columns(self, table):
        path = table("ost,nord,zink,blei\n1,2,3,4\n")
        read = read_table(path, Columns(x="ost", y="nord", value="blei"))
        assert (read.x[0], read.y[0], read.value[0], read.name) == (1, 2, 4, "blei")

    @pytest.mark.parametrize("cell", ["", "NA", "nan", "NULL", "-", " n/a "])
    def test_missing_cells(self, table, cell):
        read = read_table(table(f"x,y,z\n1,2,3\n4,5,{cell}\n6,7\n"))
        np.testing.assert_array_equal(read.value, [3, np.nan, np.nan])

    def test_many_lines(self, table):
        rows = np.random.default_rng(0).normal(size=(70_000, 3)).round(3)
        text = "\n".join(",".join(map(str, row)) for row in rows)
        read = read_table(table(f"x,y,z\n{text}\n"))
        np.testing.assert_array_equal(np.stack([read.x, read.y, read.value], 1), rows)
        lines = text.split("\n")
        lines[69_000] = "1,2,oops"
        with pytest.raises(InputError, match="line 69002: 'z' is 'oops'"):
            read_table(table("x,y,z\n" + "\n".join(lines)))

    @pytest.mark.parametrize(
        ("text", "error", "match"),
        [
            ("x,y,z\n1,2,3\n\n4,five,6\n", InputError, "line 4: 'y' is 'five', not a number"),
            ("x,y,z\n", InputError, "a header and no points"),
            ("# nothing\n\n", InputError, "holds no points"),
            ("1,2\n", InputError, "2 columns and no header"),
            ("a,b,z\n1,2,3\n", UsageError, "which columns are x and y"),
            ("x,y,a,b\n1,2,3,4\n", UsageError, r"which column is the value\? .*: a, b$"),
            ("x,y,z,error\n1,2,3,4\n1,2,3,-4\n", InputError, "'error' of point 2 is -4"),
            (b"PK\x03\x04\0\0\0\0", InputError, "is no text"),
        ],
    )
    def test_bad_tables(self, table, text, error, match):
        with pytest.raises(error, match=match) as caught:
            read_table(table(text))
        assert "a.csv" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_column_that_is_not_there(self, table):
        with pytest.raises(UsageError, match="no column 'zinc'; there are: x, y, lead"):
            read_table(table("x,y,lead\n1,2,3\n"), Columns(value="zinc"))

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(InputError, match="no such file"):
            open_field(tmp_path / "none.csv", res=1)


class TestLayers:
    @pytest.fixture(params=["gpkg", "geojson", "shp", "fgb"])
    def layer(self, tmp_path, request):
        """Save points with attributes and return the path of the layer."""

        def save(geometry, kind="Point", crs="EPSG:4326", **fields):
            path = tmp_path / f"a.{request.param}"
            pyogrio.raw.write(
                str(path), shapely.to_wkb(np.array(geometry)), [np.asarray(v) for v in fields.values()],
                list(fields), geometry_type=kind, crs=crs,
            )  # fmt: skip
            return path

        return save

    def test_the_only_numeric_attribute(self, layer):
        points = [shapely.Point(5, 50), shapely.Point(6, 51)]
        path = layer(points, name=np.array(["a", "b"], object), rain=[1.5, 2.5])
        read = read_points(path)
        rows = sorted(zip(read.x, read.y, read.value, strict=True))  # some formats sort them in space
        assert rows == [(5, 50, 1.5), (6, 51, 2.5)]
        assert read.name == "rain"
        assert read.crs.to_epsg() == 4326

    def test_named_attributes(self, layer):
        path = layer([shapely.Point(5, 50)], rain=[1.5], wind=[3.0], se=[2.0])
        with pytest.raises(UsageError, match="which column is the value"):
            read_points(path)
        read = read_points(path, columns=Columns(value="wind"))
        assert (read.value[0], read.variance[0]) == (3, 4)
        with pytest.raises(UsageError, match=r"no column 'sun'; there are: .*rain, wind, se"):
            read_points(path, columns=Columns(value="sun"))

    def test_heights(self, layer):
        path = layer(
            [shapely.Point(5, 50, 7), shapely.Point(6, 51, 8)], "Point Z", name=np.array(["a", "b"], object)
        )
        assert sorted(read_points(path).value) == [7, 8]

    def test_several_points_in_a_row(self, layer):
        both = shapely.MultiPoint([(5, 50), (6, 51)])
        read = read_points(layer([both], "MultiPoint", rain=[2.5]))
        np.testing.assert_array_equal(read.x, [5, 6])
        np.testing.assert_array_equal(read.value, [2.5, 2.5])

    def test_other_shapes_are_refused(self, layer):
        with pytest.raises(InputError, match=r"holds LineString geometries; points are needed"):
            read_points(layer([shapely.LineString([(5, 50), (6, 51)])], "LineString", rain=[2.5]))

    def test_it_becomes_a_field(self, layer):
        path = layer([shapely.Point(5, 50), shapely.Point(6, 51)], rain=[1.5, 2.5])
        field = open_field(path, res=1)
        assert geobox(field) == GeoBox((2, 2), Affine(1, 0, 5, 0, -1, 51), "EPSG:4326")
        np.testing.assert_array_equal(field.values, [[[np.nan, 2.5], [1.5, np.nan]]])

    def test_several_layers_are_listed(self, tmp_path):
        wkb = shapely.to_wkb(np.array([shapely.Point(1, 2)]))
        for i, name in enumerate(("north", "south")):
            path = str(tmp_path / "a.gpkg")
            pyogrio.raw.write(
                path, wkb, [np.array([1.0])], ["z"], geometry_type="Point", crs=UTM, layer=name, append=i > 0
            )
        with pytest.raises(UsageError, match="several layers, name one: north, south"):
            read_points(path)
        assert read_points(path, layer="south").value == [1]
        with pytest.raises(UsageError, match="no layer 'east'; it has: north, south"):
            read_points(path, layer="east")

    @pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.geojson"])
    def test_damaged_files(self, tmp_path, name):
        (tmp_path / name).write_text("no layer at all")
        with pytest.raises(InputError, match="no vector file that can be read") as caught:
            open_field(tmp_path / name, res=1)
        assert "\n" not in str(caught.value)


class TestGridding:
    def test_a_lattice_of_points_is_not_merged(self):
        x, y = np.meshgrid(np.arange(1, 6), np.arange(3, 7))
        for size in (1, 0.1, 1 / 3):
            done = grid_points(some(x.ravel() * size, y.ravel() * size, x.ravel() * 10 + y.ravel()), res=size)
            values = done.field.values[0]
            assert np.isfinite(values).sum() == 20
            assert done.merged == 0

    @pytest.mark.parametrize("res", [10, (5.0, 20.0), 0.7])
    def test_the_grid_holds_all_points_and_is_snapped(self, res):
        rng = np.random.default_rng(0)
        x, y = rng.uniform(-100, 300, 50), rng.uniform(1e6, 1e6 + 500, 50)
        done = grid_points(some(x, y, np.arange(50.0)), res=res)
        box = geobox(done.field)
        dy, dx = (res, res) if isinstance(res, int | float) else res
        assert (box.affine.a, box.affine.e) == (dx, -dy)
        assert box.affine.c / dx == pytest.approx(round(box.affine.c / dx), abs=1e-6)
        assert box.affine.f / dy == pytest.approx(round(box.affine.f / dy), abs=1e-6)
        left, bottom, right, top = box.boundingbox.bbox
        assert left <= x.min() < left + dx
        assert right - dx <= x.max() <= right
        assert top - dy <= y.max() <= top
        assert bottom <= y.min() <= bottom + dy
        assert (done.used, done.outside) == (50, 0)

    @pytest.mark.parametrize(
        "affine",
        [
            BOX.affine,
            Affine(10, 0, 100, 0, 10, 200),
            Affine.translation(100, 200) @ Affine.rotation(30) @ Affine.scale(10, -7),
        ],
    )
    def test_each_point_falls_into_its_pixel(self, affine):
        box = GeoBox((4, 5), affine, UTM)
        rows, cols = np.mgrid[:4, :5]
        rng = np.random.default_rng(0)
        pixel = np.stack(
            [cols.ravel() + rng.uniform(0.01, 0.99, 20), rows.ravel() + rng.uniform(0.01, 0.99, 20)]
        )
        x, y = zip(*[affine * (c, r) for c, r in pixel.T], strict=True)
        done = grid_points(some(x, y, np.arange(20.0)), like=blank(box))
        np.testing.assert_array_equal(done.field.values[0], np.arange(20).reshape(4, 5))
        assert geobox(done.field) == box

    def test_points_on_the_outer_edge_belong_to_it(self):
        field = grid_points(some([100, 150, 150], [240, 200, 240], [1, 2, 3]), like=blank(BOX)).field
        assert field.values[0, 0, 0] == 1
        assert field.values[0, 3, 4] == 2
        assert field.values[0, 0, 4] == 3

    def test_points_in_another_crs_are_transformed(self):
        x, y = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(123, 217)
        field = grid_points(some([x], [y], [7], crs="EPSG:4326"), like=blank(BOX)).field
        assert field.values[0, 2, 2] == 7
        unstated = grid_points(some([123], [217], [7], crs=None), like=blank(BOX)).field
        assert unstated.values[0, 2, 2] == 7

    def test_duplicates_get_their_mean(self):
        points = some([101, 102, 103, 141], [239, 238, 237, 201], [1, 2, 6, 5])
        with pytest.warns(GeonpWarning, match="3 points share 1 pixels with others and are averaged"):
            done = grid_points(points, like=blank(BOX))
        assert (done.used, done.merged, done.outside, done.dropped) == (4, 3, 0, 0)
        assert done.field.values[0, 0, 0] == 3
        assert done.field.values[0, 3, 4] == 5
        assert done.error_variance is None

    def test_duplicates_with_errors_get_the_inverse_variance_mean(self):
        points = some([101, 102, 141], [239, 238, 201], [1, 2, 5], [0.5, 2, 3])
        with pytest.warns(GeonpWarning, match="2 points share"):
            done = grid_points(points, like=blank(BOX))
        # By hand: weights 2 and 1/2.
        assert done.field.values[0, 0, 0] == pytest.approx((2 * 1 + 0.5 * 2) / 2.5)
        assert done.error_variance.values[0, 0, 0] == pytest.approx(1 / 2.5)
        assert done.error_variance.values[0, 3, 4] == 3
        assert np.isnan(done.error_variance.values).sum() == 18
        assert done.error_variance.name == "z_error_variance"

    def test_exact_points_outweigh_all_others(self):
        points = some([101, 102, 103], [239, 238, 237], [1, 3, 100], [0, 0, 1e-9])
        with pytest.warns(GeonpWarning):
            done = grid_points(points, like=blank(BOX))
        assert done.field.values[0, 0, 0] == 2
        assert done.error_variance.values[0, 0, 0] == 0

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(0, 19), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=30
        )
    )
    def test_merging_against_a_plain_loop(self, rows):
        pixel, value, variance = (np.array(c) for c in zip(*rows, strict=True))
        x, y = 105 + 10 * (pixel % 5), 235 - 10 * (pixel // 5)
        with np.errstate(divide="raise", invalid="raise"), pytest.MonkeyPatch.context() as patch:
            patch.setattr("geonp.io.points.warnings.warn", lambda *_, **__: None)
            done = grid_points(some(x, y, value, variance), like=blank(BOX))
        for p in range(20):
            here = pixel == p
            mean, spread = done.field.values.ravel()[p], done.error_variance.values.ravel()[p]
            if not here.any():
                assert np.isnan(mean)
                continue
            weight = 1 / variance[here]
            assert mean == pytest.approx((weight * value[here]).sum() / weight.sum(), rel=1e-5, abs=1e-4)
            assert spread == pytest.approx(1 / weight.sum(), rel=1e-5)

    def test_equal_values_stay_equal_to_the_last_digit(self):
        value = 0.1 + 0.2
        with pytest.warns(GeonpWarning):
            done = grid_points(some([101] * 7, [239] * 7, [value] * 7), like=blank(BOX))
        assert done.field.values[0, 0, 0] == np.float32(value)

    def test_what_is_left_out_is_counted(self):
        points = some(
            [101, 1000, np.nan, 110, 120, np.inf], [239, 239, 239, np.nan, 230, 230], [1, 2, 3, 4, np.nan, 5]
        )
        with pytest.warns(GeonpWarning) as caught:
            done = grid_points(points, like=blank(BOX))
        assert (done.used, done.outside, done.dropped) == (1, 1, 4)
        assert [str(w.message) for w in caught if w.category is GeonpWarning] == [
            "points.csv: 4 points lack a coordinate, value or error and are left out",
            "points.csv: 1 points lie outside the grid and are left out",
        ]

    def test_nodata_values_are_dropped(self):
        with pytest.warns(GeonpWarning, match="1 points lack"):
            done = grid_points(some([101, 111], [239, 239], [-999, 4]), like=blank(BOX), nodata=-999)
        assert done.used == 1

    def test_windows_of_a_huge_grid_cost_their_points(self):
        rng = np.random.default_rng(0)
        x, y = rng.uniform(0, 1e5, (2, 1000))
        done = grid_points(some(x, y, np.arange(1000.0)), res=0.1)
        rows, cols = done.field.sizes["y"], done.field.sizes["x"]
        assert rows * cols > 9e11  # 4 TB, if it were there
        col, row = ~geobox(done.field).affine * (x[7], y[7])
        part = done.field.isel(y=slice(int(row) - 2, int(row) + 3), x=slice(int(col) - 2, int(col) + 3))
        assert load(part).values[0, 2, 2] == 7
        assert np.isfinite(part.values).sum() == 1

    def test_indexing_is_that_of_numpy(self):
        rng = np.random.default_rng(0)
        field = grid_points(some(*rng.uniform(0, 30, (2, 60)), np.arange(60.0)), res=0.9).field
        dense = field.values
        for key in [
            (0, 4, 5), (slice(None), slice(2, 30, 3), slice(1, 20, 4)),
            (0, slice(None, None, -2), slice(9, 2, -1)),
            (slice(None), 2, slice(None)), (slice(None), slice(3, 3), slice(None)),
        ]:  # fmt: skip
            np.testing.assert_array_equal(field[key].values, dense[key])

    @pytest.mark.parametrize("res", [0, -1, np.nan, np.inf, (1, 2, 3), (1, -1)])
    def test_impossible_pixel_sizes(self, res):
        with pytest.raises(UsageError, match=r"pixel size .* is a positive number"):
            grid_points(some([1, 2], [1, 2], [1, 2]), res=res)

    def test_a_pixel_size_far_too_small(self):
        with pytest.raises(InputError, match="give a larger size"):
            grid_points(some([0, 1e6], [0, 1e6], [1, 2]), res=1e-5)

    def test_nothing_to_grid(self):
        with pytest.raises(InputError, match="none of 2 points has a position and a value"):
            grid_points(some([1, np.nan], [1, 2], [np.nan, 2]), res=1)
        with pytest.raises(InputError, match=r"no point lies .* covers 100, 200, 150, 240; they .*CRS"):
            grid_points(some([1], [2], [3]), like=blank(BOX))
        bare = xr.DataArray(np.zeros((1, 4, 5), "f4"), dims=("band", "y", "x"))
        with pytest.raises(InputError, match="not georeferenced"):
            grid_points(some([1], [2], [3]), like=bare)


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
