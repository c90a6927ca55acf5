"""Where a raster lies: its grid, its CRS, the part of it that bounds cut out."""

import warnings

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning

from geonp.errors import InputError, MissingCRSWarning, UsageError
from geonp.field import geobox, spacing, warn_without_crs
from geonp.io import open_field
from geonp.io.grid import exact_box
from geonp.io.raster import RasterArray
from tests.io.grids import ALL_GRIDS, NORTH_UP
from tests.io.rasters import ramp, save


@pytest.mark.parametrize("grid", ALL_GRIDS)
@pytest.mark.parametrize("crs", ["EPSG:32616", None])
@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (1, 6)])
def test_the_grid_is_that_of_the_file(tmp_path, grid, crs, shape):
    field = open_field(save(tmp_path / "a.tif", ramp(1, *shape), transform=ALL_GRIDS[grid], crs=crs))
    for box in (geobox(field), exact_box(field)):
        assert box == GeoBox(shape, ALL_GRIDS[grid], crs)


@pytest.mark.parametrize("grid", ALL_GRIDS)
def test_windows_know_where_they_lie(tmp_path, grid):
    field = open_field(save(tmp_path / "a.tif", ramp(1, 8, 9), transform=ALL_GRIDS[grid]))
    part = geobox(field.isel(y=slice(2, 6), x=slice(3, 8)))
    whole = GeoBox((8, 9), ALL_GRIDS[grid], "EPSG:32616")
    assert part.shape == (4, 5)
    np.testing.assert_allclose(part.affine[:6], whole[2:6, 3:8].affine[:6], rtol=1e-12)


def test_spacing_is_metric_on_every_grid(tmp_path):
    for name, affine in ALL_GRIDS.items():
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


class TestBounds:
    @pytest.mark.parametrize("grid", ["north-up", "south-up", "non-square"])
    def test_pixels_that_touch_are_kept_and_no_other(self, tmp_path, grid):
        affine, values = ALL_GRIDS[grid], ramp(2, 9, 8)
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
        affine = ALL_GRIDS["rotated"]
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
