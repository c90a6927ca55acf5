"""What a field is: dimensions, spacing in metres, lazy loading, the summary."""

import math
import warnings

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import spatial_dims as of_odc_geo
from odc.geo.xr import wrap_xr
from pyproj import Geod

from geonp.errors import InputError, MissingCRSWarning
from geonp.field import (
    Window,
    as_field,
    geobox,
    grid_shape,
    load,
    plain,
    spacing,
    spatial_dims,
    steps,
    summarise,
    warn_without_crs,
    windows,
)


def grid(affine: Affine, crs: str | None, shape: tuple[int, int] = (20, 30)) -> xr.DataArray:
    return wrap_xr(np.zeros(shape, "f4"), GeoBox(shape, affine, crs))


@pytest.mark.parametrize("angle", [0, 30, 200])
@pytest.mark.parametrize("flip", [1, -1])
def test_spacing_of_projected_grids_is_measured_along_rows_and_columns(angle: float, flip: int) -> None:
    affine = Affine.translation(5e5, 4e6) @ Affine.rotation(angle) @ Affine.scale(30, flip * 20)
    assert spacing(grid(affine, "EPSG:32611")) == pytest.approx((20, 30))


def test_spacing_in_feet_becomes_metres() -> None:
    dy, dx = spacing(grid(Affine.translation(2e6, 7e5) @ Affine.scale(10, -10), "EPSG:2272"))
    assert (dy, dx) == pytest.approx((10 * 1200 / 3937, 10 * 1200 / 3937))


@pytest.mark.parametrize("lat", [0.0, 45.0, -70.0])
def test_spacing_of_geographic_grids_is_geodesic(lat: float) -> None:
    step = 1 / 1200
    affine = Affine.translation(10, lat + 10 * step) @ Affine.scale(step, -step)
    dy, dx = spacing(grid(affine, "EPSG:4326"))
    geod = Geod(ellps="WGS84")
    centre = 10 + 15 * step
    assert dx == pytest.approx(geod.line_length([centre - step / 2, centre + step / 2], [lat, lat]), rel=1e-6)
    assert dy == pytest.approx(geod.line_length([centre, centre], [lat - step / 2, lat + step / 2]), rel=1e-6)


def test_spacing_of_a_rotated_geographic_grid_is_not_in_degrees() -> None:
    dy, dx = spacing(
        grid(Affine.translation(10, 45) @ Affine.rotation(90) @ Affine.scale(0.001, -0.001), "EPSG:4326")
    )
    assert dx == pytest.approx(111.1, rel=0.01)  # columns now run along the meridian
    assert dy == pytest.approx(111.3 * math.cos(math.radians(45)), rel=0.01)


def test_without_crs_lengths_are_in_pixels_and_a_warning_says_so() -> None:
    bare = xr.DataArray(np.zeros((4, 5), "f4"), dims=("y", "x"))
    assert spacing(bare) == (1, 1)
    with pytest.warns(MissingCRSWarning, match="pixels"):
        warn_without_crs(bare)
    with warnings.catch_warnings():
        warnings.simplefilter("error", MissingCRSWarning)
        warn_without_crs(grid(Affine.scale(30, -30), "EPSG:32611"))


@pytest.mark.parametrize("dtype", ["f8", "f4", "i4"])
@pytest.mark.parametrize(("down", "across"), [(-30, 30), (30, 30), (-20, -10), (7, 3)])
def test_a_plain_grid_is_measured_as_odc_geo_does(down: int, across: int, dtype: str) -> None:
    coords = {
        "y": np.arange(4000, 4000 + 4 * down, down, dtype),
        "x": np.arange(500, 500 + 5 * across, across, dtype),
        "where": ("y", list("abcd")),
    }
    array = xr.DataArray(np.zeros((4, 5), "f4"), dims=("y", "x"), coords=coords)
    box = array.odc.geobox
    assert plain(array) is not None
    assert steps(array) == (box.affine.e, box.affine.a) == (down, across)
    assert spacing(array) == (abs(down), abs(across))
    with pytest.warns(MissingCRSWarning, match="units of its coordinates"):
        warn_without_crs(array)


def test_steps_follow_the_axes_of_a_grid_with_a_crs() -> None:
    assert steps(grid(Affine.scale(30, -20), "EPSG:32611")) == pytest.approx((-20, 30))
    assert steps(grid(Affine.scale(-30, 20), "EPSG:32611")) == pytest.approx((20, -30))


def test_only_what_says_nothing_else_of_its_grid_is_plain() -> None:
    y, x = np.arange(4.0), np.arange(5.0)
    array = xr.DataArray(np.zeros((4, 5), "f4"), dims=("y", "x"), coords={"y": y, "x": x})
    stated = grid(Affine.translation(5e5, 4e6) @ Affine.scale(30, -30), "EPSG:32611", (4, 5))
    mapped = array.copy()
    mapped.encoding["grid_mapping"] = "spatial_ref"
    for other in (
        stated,
        mapped,
        array.assign_attrs(crs="EPSG:32611"),
        array.assign_coords(y=("y", y, {"crs_wkt": stated.odc.crs.to_wkt()})),
        array.assign_coords(crs=((), 0, {"spatial_ref": stated.odc.crs.to_wkt()})),
        array.isel(y=[0]),
        array.drop_vars("x"),
        array.assign_coords(x=np.zeros(5)),
        array.rename(y="lat", x="lon"),
    ):
        assert plain(other) is None
    assert plain(array.drop_vars(["x", "y"])) == (None,)
    assert array.drop_vars(["x", "y"]).odc.geobox is None


def test_spatial_dimensions_are_those_of_odc_geo() -> None:
    for dims in (
        ("x", "y"),
        ("time", "lat", "lon"),
        ("latitude", "longitude"),
        ("rows", "cols"),
        ("yc", "xc"),
    ):
        array = xr.DataArray(np.zeros([2] * len(dims)), dims=dims)
        assert spatial_dims(array) == of_odc_geo(array)


@pytest.mark.parametrize(
    ("dims", "shape", "bands"),
    [
        (("y", "x"), (4, 5), 1),
        (("lat", "lon"), (4, 5), 1),
        (("rows", "cols"), (4, 5), 1),
        (("time", "y", "x"), (3, 4, 5), 3),
        (("y", "x", "band"), (4, 5, 3), 3),
        (("time", "band", "y", "x"), (2, 3, 4, 5), 6),
        (("time", "level", "latitude", "longitude"), (2, 3, 4, 5), 6),
    ],
)
def test_as_field_orders_dimensions(dims: tuple[str, ...], shape: tuple[int, ...], bands: int) -> None:
    values = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    field = as_field(xr.DataArray(values, dims=dims))
    assert field.dims == ("band", "y", "x")
    assert field.shape == (bands, 4, 5)
    if dims == ("y", "x", "band"):
        np.testing.assert_array_equal(field.values, values.transpose(2, 0, 1))
    else:
        np.testing.assert_array_equal(field.values, values.reshape(bands, 4, 5))


def test_as_field_keeps_the_geobox_of_named_coordinates() -> None:
    array = grid(Affine.translation(10, 45) @ Affine.scale(0.01, -0.01), "EPSG:4326")
    assert array.dims == ("latitude", "longitude")
    assert geobox(as_field(array)) == array.odc.geobox


@pytest.mark.parametrize(
    "array", [xr.DataArray([1.0]), xr.DataArray(np.zeros((0, 3))), xr.DataArray([["a"]])]
)
def test_as_field_refuses_what_is_no_grid(array: xr.DataArray) -> None:
    with pytest.raises(InputError):
        as_field(array)


def test_load_reads_a_window_and_hides_infinities() -> None:
    values = np.arange(20.0).reshape(1, 4, 5)
    values[0, 1, 1] = np.inf
    part = load(as_field(xr.DataArray(values, dims=("band", "y", "x"))), Window(1, 1, 2, 3))
    assert part.dtype == np.float32
    np.testing.assert_array_equal(part.values[0], [[np.nan, 7, 8], [11, 12, 13]])


def test_windows_cover_every_pixel_once() -> None:
    count = np.zeros((37, 53), int)
    for window in windows((37, 53), 16):
        count[window.within(Window.whole((37, 53)))] += 1
    assert (count == 1).all()


def test_grown_windows_stay_inside_the_raster() -> None:
    assert Window(0, 10, 5, 5).grow(3, (20, 16)) == Window(0, 7, 8, 9)


@pytest.mark.parametrize("tile", [3, 7, 100])
def test_summary_equals_numpy_however_it_is_cut(tile: int) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(1e6, 1, (2, 13, 17)).astype("f4")
    values[0, rng.random((13, 17)) < 0.5] = np.nan
    values[1, 0, 0] = np.inf
    summary = summarise(as_field(xr.DataArray(values, dims=("band", "y", "x"))), tile)
    for band in range(2):
        seen = values[band][np.isfinite(values[band])].astype("f8")
        assert summary.observed[band] == seen.size
        assert summary.mean[band] == pytest.approx(seen.mean(), rel=1e-12)
        assert summary.variance[band] == pytest.approx(seen.var(), rel=1e-6)
        assert (summary.minimum[band], summary.maximum[band]) == (seen.min(), seen.max())
    assert summary.infinite.tolist() == [0, 1]
    assert grid_shape(xr.DataArray(values, dims=("band", "y", "x"))) == (13, 17)
