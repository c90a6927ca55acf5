"""Points on a grid: which pixel they fall into, what shares one, and what is left out."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.field import geobox, load
from geonp.io.points import grid_points
from tests.io.surveyed import BOX, UTM, blank, some


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
