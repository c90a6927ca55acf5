"""Classical methods against direct library calls, formulas by hand, analytic surfaces and awkward surveys."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.fill import fillnodata
from scipy.interpolate import CloughTocher2DInterpolator, LinearNDInterpolator, RBFInterpolator
from scipy.spatial import Delaunay

from geonp.errors import UsageError
from geonp.methods.base import Method
from geonp.methods.classical import (
    Cubic,
    Idw,
    Linear,
    Nearest,
    Rbf,
    barycentric_transform,
    range_around,
)
from geonp.methods.fillnodata import FillNodata
from geonp.methods.rbf import interpolate_cubic
from geonp.methods.restraint import LEEWAY, restrained
from geonp.methods.scattered import Scattered, generic_position
from tests.methods.surveys import SPACING, done, holey, points_and_targets, terrain

# --- generic position ---


def test_generic_position_is_where_the_pixels_are_but_for_millionths() -> None:
    rows, cols = np.mgrid[:50, :50].reshape(2, -1)
    np.testing.assert_allclose(generic_position(rows, cols, 1.5), np.stack([rows * 1.5, cols], 1), atol=3e-4)


def test_generic_position_moves_with_the_window() -> None:
    rows, cols = np.mgrid[:9, :9].reshape(2, -1)
    shift = generic_position(np.array([700]), np.array([31]), 0.7)
    moved = generic_position(rows + 700, cols + 31, 0.7)
    np.testing.assert_array_equal(moved, generic_position(rows, cols, 0.7) + shift)


def test_generic_position_leaves_no_four_pixels_of_a_grid_on_one_circle() -> None:
    """The in-circle determinant of the corners of every small rectangle is well away from zero."""
    for height, width in np.argwhere(np.ones((6, 6))) + 1:
        corner = generic_position(np.array([0, 0, height, height]), np.array([0, width, 0, width]), 1.0)
        lifted = np.column_stack([corner, (corner**2).sum(1), np.ones(4)])
        assert abs(np.linalg.det(lifted)) > 1e-6


# --- parity ---


@pytest.mark.parametrize(
    ("method", "library"), [(Linear(), LinearNDInterpolator), (Cubic(), CloughTocher2DInterpolator)]
)
@pytest.mark.parametrize("fraction", [0.03, 0.3, 0.9])
def test_triangulated_methods_are_scipys(method: Scattered, library: type, fraction: float) -> None:
    values = holey(terrain((60, 50)), fraction)
    points, targets, known, hole = points_and_targets(values)
    theirs = library(points, known)(targets)
    inside = np.isfinite(theirs)
    np.testing.assert_allclose(
        done(method, values)[0][hole][inside], theirs[inside], rtol=0, atol=2e-4 * np.std(known)
    )
    assert inside.mean() > 0.5


@pytest.mark.parametrize(
    ("method", "library"), [(Linear(), LinearNDInterpolator), (Cubic(), CloughTocher2DInterpolator)]
)
def test_without_ties_the_plain_grid_gives_the_same(method: Scattered, library: type) -> None:
    """Where scipy, on plain pixel coordinates, finds the same triangle, it finds the same value."""
    values = holey(terrain((60, 50)), 0.06)
    points, targets, known, hole = points_and_targets(values)
    plain = np.argwhere(~hole) * np.array(SPACING)
    at = np.argwhere(hole) * np.array(SPACING)
    ours, theirs = Delaunay(points), Delaunay(plain)
    same = np.sort(ours.simplices[ours.find_simplex(targets)]) == np.sort(
        theirs.simplices[theirs.find_simplex(at)]
    )
    # The slopes at the corners depend on the triangles around, so these have to be the same too.
    edges = [{tuple(sorted(t)) for t in mesh.simplices.tolist()} for mesh in (ours, theirs)]
    unsure = {corner for triangle in edges[0] ^ edges[1] for corner in triangle}
    clear = [not unsure.intersection(t) for t in ours.simplices[ours.find_simplex(targets)].tolist()]
    chosen = same.all(1) & np.array(clear) & (theirs.find_simplex(at) >= 0)
    assert chosen.mean() > 0.2
    result = done(method, values)[0][hole][chosen]
    # Two triangles off, an unlike slope still shows a little.
    tolerance = (1e-6 if library is LinearNDInterpolator else 0.02) * np.std(known)
    np.testing.assert_allclose(result, library(plain, known)(at)[chosen], rtol=1e-6, atol=tolerance)


def test_rbf_is_scipys() -> None:
    truth = np.stack([terrain((40, 45)), terrain((40, 45), 7)])
    values = holey(truth, 0.15)
    points, targets, _, hole = points_and_targets(values[0])
    theirs = RBFInterpolator(points, values[:, ~hole].T.astype("f8"), neighbors=32, kernel="cubic")(
        targets + np.array([1.7e-6, 2.9e-6])
    )
    np.testing.assert_allclose(done(Rbf(), values)[:, hole], theirs.T, rtol=2e-7, atol=1e-6 * truth.std())


@given(count=st.integers(3, 60), neighbours=st.integers(3, 40), seed=st.integers(0, 1000))
def test_local_cubic_rbf_is_scipys_for_scattered_points(count: int, neighbours: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, values, targets = (
        rng.random((count, 2)) * [50, 7],
        rng.normal(size=(count, 2)),
        rng.random((30, 2)) * [50, 7],
    )
    theirs = RBFInterpolator(points, values, neighbors=neighbours, kernel="cubic")(targets)
    size = np.abs(theirs).max()
    distance = np.hypot(*np.moveaxis(targets[:, None] - points, -1, 0))
    around = values[np.argsort(distance, 1)[:, :neighbours]]
    low, high = around.min(1), around.max(1)
    theirs = np.clip(theirs, low - LEEWAY * (high - low), high + LEEWAY * (high - low))
    np.testing.assert_allclose(
        interpolate_cubic(points, values, targets, neighbours), theirs, rtol=0, atol=1e-6 * size
    )


@pytest.mark.parametrize("method", [Rbf(), Cubic()], ids=lambda m: m.name)
def test_observations_along_two_edges_throw_nothing_far_off(method: Method) -> None:
    """Nearly in line, or in triangles hundreds of times as long as wide, they do not tell the slope across."""
    values = np.full((13, 71), np.nan, "f4")
    values[0] = values[:, 0] = 0
    values[0, 10::20] = values[11, 0] = 5
    result = done(method, values, (0.1, 30.0))[0]
    assert -10 <= result.min() < result.max() <= 15


def test_few_of_many_neighbours_beside_a_line_throw_nothing_far_off() -> None:
    values = np.full((76, 76), np.nan, "f4")
    values[0] = values[:, 0] = 3
    values[0, 39:] = 200
    result = done(Rbf(), values, (1.0, 1.0))[0]
    assert 3 - 2 * 197 <= result.min() < result.max() <= 200 + 2 * 197


def test_restraint_is_twice_the_range_around() -> None:
    found = restrained(np.array([-9.0, -1.0, 4.0, 9.0, np.nan]), np.full(5, 1.0), np.full(5, 3.0))
    np.testing.assert_array_equal(found, [-3, -1, 4, 7, np.nan])


def test_the_range_around_a_triangle_is_that_of_all_triangles_that_share_a_corner() -> None:
    rng = np.random.default_rng(0)
    mesh = Delaunay(rng.random((40, 2)))
    values = rng.normal(size=(40, 2))
    low, high = range_around(mesh, values)
    for one, least, greatest in zip(mesh.simplices, low, high, strict=True):
        shared = np.isin(mesh.simplices, one).any(1)
        around = values[np.unique(mesh.simplices[shared])]
        np.testing.assert_array_equal([least, greatest], [around.min(0), around.max(0)])


def test_barycentric_transform_is_scipys() -> None:
    mesh = Delaunay(np.random.default_rng(0).random((300, 2)) * [100, 3])
    np.testing.assert_allclose(barycentric_transform(mesh.points, mesh.simplices), mesh.transform, rtol=1e-9)


def test_nearest_takes_an_observation_at_the_least_metric_distance() -> None:
    values = holey(np.arange(30.0 * 26).reshape(30, 26), 0.05)
    where, result = np.argwhere(~np.isnan(values)), done(Nearest(), values)[0]
    offset = (np.argwhere(np.ones_like(values))[:, None] - where[None]) * np.array(SPACING)
    distance = np.hypot(offset[..., 0], offset[..., 1])
    taken = np.argwhere(result.reshape(-1, 1) == values[tuple(where.T)][None])[:, 1]
    np.testing.assert_allclose(distance[np.arange(values.size), taken], distance.min(1))


def test_idw_is_shepards_formula() -> None:
    values = holey(terrain((16, 14)), 0.3)
    result = done(Idw(neighbours=5, power=3.0), values)[0]
    where = np.argwhere(~np.isnan(values))
    for row, col in np.argwhere(np.isnan(values))[::17]:
        distance = np.hypot((where[:, 0] - row) * SPACING[0], (where[:, 1] - col) * SPACING[1])
        order = np.argsort(distance)
        if np.isclose(distance[order[4]], distance[order[5]], rtol=1e-4):
            continue  # which of the two is the fifth is a matter of taste
        weight = distance[order[:5]] ** -3.0
        by_hand = (weight * values[tuple(where[order[:5]].T)]).sum() / weight.sum()
        assert result[row, col] == pytest.approx(by_hand, rel=1e-5)


def test_fillnodata_is_gdals() -> None:
    values = holey(terrain((60, 50)), 0.5)
    values[20:30, 10:40] = np.nan
    theirs = fillnodata(
        np.nan_to_num(values), (~np.isnan(values)).astype("u1"), 100.0, smoothing_iterations=2
    )
    np.testing.assert_array_equal(done(FillNodata(smoothing=2), values)[0], theirs)


def test_fillnodata_beyond_its_search_takes_the_nearest() -> None:
    values = np.full((1, 40), np.nan, "f4")
    values[0, [0, 3]] = 5.0, 8.0
    assert (done(FillNodata(distance=6), np.repeat(values, 3, 0))[0, :, 20:] == 8).all()


# --- analytic surfaces and invariances ---


@pytest.mark.parametrize("method", [Linear(), Cubic(), Rbf()], ids=lambda m: m.name)
def test_a_plane_is_reproduced(method: Method) -> None:
    y, x = np.mgrid[:40, :44]
    plane = (3 + 0.2 * y - 0.1 * x).astype("f4")
    values = holey(plane, 0.2)
    values[[0, 0, -1, -1], [0, -1, 0, -1]] = plane[[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(done(method, values)[0], plane, atol=2e-4)


def test_rbf_reproduces_a_cubic_spline_along_a_line() -> None:
    """Observations in one line: the natural cubic spline along it, constant across it."""
    from scipy.interpolate import CubicSpline

    values = np.full((12, 61), np.nan, "f4")
    at = np.array([0, 7, 11, 20, 33, 42, 50, 60])
    values[5, at] = np.sin(at / 9)
    spline = CubicSpline(at, np.sin(at / 9), bc_type="natural")(np.arange(61))
    result = done(Rbf(), values, (20.0, 20.0))[0]
    np.testing.assert_allclose(result[5], spline, atol=1e-4)


@pytest.mark.parametrize(
    "method", [Linear(), Cubic(), Rbf(), Idw(), Nearest(), FillNodata()], ids=lambda m: m.name
)
def test_the_unit_of_the_field_does_not_matter(method: Method) -> None:
    values = holey(terrain((40, 40)) - 500, 0.15)
    result = done(method, values)
    np.testing.assert_allclose(
        done(method, values * np.float32(2**-30)), result * 2**-30, rtol=1e-5, atol=1e-5 * 2**-30
    )


@pytest.mark.parametrize("method", [Linear(), Cubic(), Rbf(), Idw(), Nearest()], ids=lambda m: m.name)
@pytest.mark.parametrize("survey", ["one", "two", "row", "column", "diagonal"])
def test_surveys_without_area_give_finite_values(method: Method, survey: str) -> None:
    values = np.full((30, 30), np.nan, "f4")
    along = np.arange(0, 30, 3)
    where = {
        "one": ([4], [9]),
        "two": ([4, 20], [9, 9]),
        "row": (along * 0 + 7, along),
        "column": (along, along * 0),
        "diagonal": (along, along),
    }
    values[where[survey]] = 10 + along[: len(where[survey][0])]
    result = done(method, values)
    assert np.isfinite(result).all()
    assert 0 < result.min() <= result.max() < 60


@pytest.mark.parametrize("method", [Linear(), Cubic()], ids=lambda m: m.name)
def test_outside_the_hull_the_nearest_observation_is_taken(method: Method) -> None:
    values = holey(terrain((40, 40)), 0.2)
    values[:12] = values[:, :9] = np.nan
    np.testing.assert_array_equal(done(method, values)[0, :11], done(Nearest(), values)[0, :11])


@pytest.mark.parametrize("method", [Linear, Cubic])
def test_observations_far_from_every_hole_are_rightly_left_out(method: type[Scattered]) -> None:
    class Everything(method):  # type: ignore[misc,valid-type]
        rim = None

    values = terrain((90, 80))
    values[40:52, 30:50] = values[:3, :7] = values[75:, 70:] = np.nan
    np.testing.assert_allclose(done(method(), values), done(Everything(), values), atol=1e-3)


@pytest.mark.parametrize("method", [Linear(), Cubic(), Rbf(), Idw(), Nearest()], ids=lambda m: m.name)
def test_empty_margins_change_nothing_inside(method: Method) -> None:
    values = holey(terrain((50, 44)), 0.1)
    framed = np.pad(values, ((11, 3), (6, 17)), constant_values=np.nan)
    np.testing.assert_allclose(done(method, framed)[0, 11:-3, 6:-17], done(method, values)[0], rtol=1e-5)


def test_bands_are_independent() -> None:
    first, second = holey(terrain((40, 40)), 0.1, 1), holey(terrain((40, 40), 5), 0.2, 2)
    for method in (Linear(), Cubic(), Rbf(), Idw(), Nearest(), FillNodata()):
        both = done(method, np.stack([first, second, first]))
        np.testing.assert_allclose(
            both, np.concatenate([done(method, b) for b in (first, second, first)]), rtol=1e-6
        )


# --- parameters ---


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Idw(neighbours=0), "0 neighbours"),
        (lambda: Idw(power=0.0), "power of 0.0"),
        (lambda: Rbf(neighbours=2), "got 2"),
        (lambda: Linear(reach=0), "reach of 0"),
        (lambda: FillNodata(distance=0), "distance of 0"),
        (lambda: FillNodata(smoothing=-1), "-1 smoothing"),
    ],
)
def test_impossible_parameters_are_refused(build, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build()


def test_a_method_says_what_it_was_made_with() -> None:
    assert Rbf(neighbours=20).describe() == {"method": "rbf", "reach": "None", "neighbours": "20"}
