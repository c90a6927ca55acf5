"""Vector layers of points."""

import numpy as np
import pyogrio.raw
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from geonp.errors import InputError, UsageError
from geonp.field import geobox
from geonp.io import open_field
from geonp.io.points import read_points
from geonp.io.table import Columns
from tests.io.surveyed import UTM


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
