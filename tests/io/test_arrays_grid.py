"""Where the variable of a NetCDF file or a Zarr store lies."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS

from geonp.errors import GeonpWarning, InputError
from geonp.field import geobox, grid_spacing
from geonp.io import open_field
from geonp.io.grid import exact_box
from tests.io.climates import EAST, LAT, LON, NORTH, climate, numbers


class TestGrids:
    def test_latitudes_are_degrees_on_wgs84(self, store):
        field = open_field(store(climate(t=(("lat", "lon"), numbers(10, 12)))))
        box = geobox(field)
        assert box.crs.epsg == 4326
        np.testing.assert_allclose(box.affine[:6], (1, 0, 4.5, 0, -1, 60.5))
        dy, dx = grid_spacing(box)
        assert 111_000 < dy < 111_500
        assert dx == pytest.approx(dy * np.cos(np.radians(55.5)), rel=0.01)

    @pytest.mark.parametrize(
        ("y", "x"),
        [
            (("COADSY", NORTH), ("COADSX", EAST)),
            (("j", {"standard_name": "latitude", "units": "degree_north"}), ("i", {"units": "degreeE"})),
            (("latitude", {}), ("longitude", {})),
        ],
    )
    def test_latitudes_are_recognised(self, store, y, x):
        data = xr.Dataset(
            {"t": ((x[0], y[0]), numbers(12, 10))},
            coords={y[0]: (y[0], LAT, y[1]), x[0]: (x[0], LON, x[1])},
        )
        field = open_field(store(data))
        assert field.shape == (1, 10, 12)
        assert geobox(field).crs.epsg == 4326

    def test_a_grid_mapping(self, store):
        data = xr.Dataset(
            {"z": (("yc", "xc"), numbers(5, 6), {"grid_mapping": "proj"})},
            coords={
                "yc": (
                    "yc",
                    np.arange(5) * 30.0 + 4e6,
                    {"standard_name": "projection_y_coordinate", "units": "m"},
                ),
                "xc": (
                    "xc",
                    np.arange(6) * 20.0 + 5e5,
                    {"standard_name": "projection_x_coordinate", "units": "m"},
                ),
            },
        )
        cf_only = {k: v for k, v in CRS.from_epsg(32633).to_cf().items() if k != "crs_wkt"}
        data["proj"] = xr.DataArray(0, attrs=cf_only)
        box = geobox(open_field(store(data)))
        assert box.affine == Affine(20, 0, 5e5 - 10, 0, 30, 4e6 - 15)
        assert CRS.from_wkt(box.crs.to_wkt()).to_dict()["zone"] == 33

    def test_the_only_grid_mapping_is_used_if_none_is_named(self, store):
        data = xr.Dataset(
            {"z": (("y", "x"), numbers(5, 6))}, coords={"y": np.arange(5.0), "x": np.arange(6.0)}
        )
        data["crs"] = xr.DataArray(0, attrs={"crs_wkt": CRS.from_epsg(25832).to_wkt()})
        assert geobox(open_field(store(data))).crs.epsg == 25832

    def test_a_rotated_pole(self, store):
        attrs = {
            "grid_mapping_name": "rotated_latitude_longitude",
            "grid_north_pole_latitude": 39.25,
            "grid_north_pole_longitude": -162.0,
        }
        y, x = {"standard_name": "grid_latitude", "units": "degrees"}, {"standard_name": "grid_longitude"}
        data = xr.Dataset(
            {"t": (("rlat", "rlon"), numbers(10, 12), {"grid_mapping": "pole"})},
            coords={
                "rlat": ("rlat", np.linspace(-5, 4, 10), y),
                "rlon": ("rlon", LON, x),
                "pole": ((), 0, attrs),
            },
        )
        dy, dx = grid_spacing(geobox(open_field(store(data))))
        assert dy == pytest.approx(111_000, rel=0.01)
        assert dx == pytest.approx(111_000, rel=0.01)

    def test_single_precision_coordinates_keep_the_far_edge(self, store):
        lon = (-124 + np.arange(1386) / 24).astype("f4")
        lat = (49 - np.arange(585) / 24).astype("f4")
        data = xr.Dataset(
            {"t": (("lat", "lon"), np.zeros((585, 1386), "f4"))},
            coords={"lat": ("lat", lat, NORTH), "lon": ("lon", lon, EAST)},
        )
        field = open_field(store(data))
        assert field.x.dtype == np.float32
        np.testing.assert_array_equal(field.x, lon)
        box = exact_box(field)
        col, row = ~box.affine * (-124 + 1385 / 24, 49 - 584 / 24)
        assert (col, row) == pytest.approx((1385.5, 584.5), abs=1e-3)
        part = exact_box(field.isel(x=slice(1000, 1386), y=slice(500, 585)))
        assert part.affine.a == pytest.approx(1 / 24, rel=1e-5)

    def test_without_coordinates_lengths_are_pixels(self, store):
        field = open_field(store(xr.Dataset({"z": (("a", "b"), numbers(5, 6))})))
        assert field.shape == (1, 5, 6)
        assert geobox(field) is None

    def test_one_row_of_a_gdal_grid(self, store):
        data = xr.Dataset(
            {"z": (("y", "x"), numbers(1, 6))}, coords={"y": [4e6], "x": 5e5 + 30.0 * np.arange(6)}
        )
        attrs = {"spatial_ref": CRS.from_epsg(32633).to_wkt(), "GeoTransform": "499985 30 0 4000015 0 -30"}
        data["crs"] = xr.DataArray(0, attrs=attrs)
        assert geobox(open_field(store(data))) == GeoBox(
            (1, 6), Affine(30, 0, 499985, 0, -30, 4000015), "EPSG:32633"
        )

    def test_uneven_coordinates_are_reported(self, store):
        data = climate(t=(("lat", "lon"), numbers(10, 12)))
        uneven = data.assign_coords(lat=("lat", LAT + 0.1 * (np.arange(10) == 4), NORTH))
        with pytest.warns(GeonpWarning, match=r"'lat' is unevenly spaced \(up to 0.1 of a step of -1 off\)"):
            open_field(store(uneven))

    def test_coordinates_that_turn_back_are_refused(self, store):
        data = climate(t=(("lat", "lon"), numbers(10, 12)))
        with pytest.raises(InputError, match=r"'lon'.*neither rises nor falls"):
            open_field(store(data.assign_coords(lon=("lon", LON[[0, 2, 1, *range(3, 12)]], EAST))))

    def test_curvilinear_coordinates_ride_along(self, store):
        lat2, lon2 = np.meshgrid(LAT, LON, indexing="ij")
        coords = {"lat": (("y", "x"), lat2), "lon": (("y", "x"), lon2)}
        field = open_field(store(xr.Dataset({"t": (("y", "x"), numbers(10, 12))}, coords=coords)))
        np.testing.assert_array_equal(field["lat"], lat2)
        assert field["lat"].dims == ("y", "x")

    def test_bounds_crop(self, store):
        field = open_field(store(climate(t=(("lat", "lon"), numbers(10, 12)))), bounds=(6.5, 54.5, 9.5, 57.5))
        np.testing.assert_array_equal(field.values[0], numbers(10, 12)[3:6, 2:5])
        np.testing.assert_array_equal(field.y, [57, 56, 55])
