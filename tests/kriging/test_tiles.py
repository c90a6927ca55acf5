import numpy as np
import pytest

from geonp.errors import InputError
from geonp.kriging.board import Pixels
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.layout import Layout, plan
from geonp.kriging.raster import RasterKriging
from geonp.kriging.solver import Solver
from geonp.kriging.survey import Block, Survey
from geonp.kriging.tiles import Canvas, krige_tiles, leave_one_out_tiles

from .naive import exponential, matern32, naive_kriging

MODEL = Covariance((Structure("matern32", 4.0, 60.0),), 0.1)
SPACING = (-10.0, 12.0)
LAYOUT = Layout((4, 6), (5, 3))


def canvas_of(values, **extra):
    seen = np.isfinite(values)
    return Canvas(
        np.where(seen, values, 0).astype("f4"),
        seen,
        margin=(5, 3),
        spacing=SPACING,
        **extra,
    )


@pytest.fixture
def scene():
    """Two by two tiles of 4 x 6 pixels and their halos, 30 % observed, and every tile's observations."""
    rng = np.random.default_rng(0)
    values = rng.normal(50, 2, (18, 18)).astype("f4")
    values[rng.random(values.shape) > 0.3] = np.nan
    rows, cols = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    windows = [values[r * 4 : r * 4 + 14, c * 6 : c * 6 + 12] for r, c in zip(rows, cols, strict=True)]
    return values, rows, cols, windows, np.array([np.isfinite(w).sum() for w in windows])


def points_of(window):
    place = np.argwhere(np.isfinite(window)).astype(float)
    return place * SPACING, window[np.isfinite(window)].astype(float)


TARGETS = np.stack(np.meshgrid(np.arange(5, 9), np.arange(3, 9), indexing="ij"), -1).reshape(-1, 2) * SPACING


@pytest.mark.parametrize("kind", ["simple", "ordinary", "universal"])
def test_every_tile_agrees_with_the_textbook_system(scene, kind):
    values, rows, cols, windows, counts = scene
    level = 49.0 if kind == "simple" else 0.0
    solver = Solver(MODEL, kind, level)
    mean, variance = krige_tiles(canvas_of(values), LAYOUT, rows, cols, counts, solver)
    assert mean.shape == (4, 4, 6)
    for i, window in enumerate(windows):
        coords, z = points_of(window)
        f = {"simple": coords[:, :0], "ordinary": np.ones((len(z), 1))}.get(
            kind, np.c_[np.ones(len(z)), coords]
        )
        g = {"simple": TARGETS[:, :0], "ordinary": np.ones((24, 1))}.get(kind, np.c_[np.ones(24), TARGETS])
        expected = naive_kriging(matern32(4.0, 60.0), coords, z - level, np.full(len(z), 0.1), TARGETS, f, g)
        np.testing.assert_allclose(mean[i].ravel(), expected[0] + level, rtol=1e-8)
        np.testing.assert_allclose(variance[i].ravel(), expected[1], rtol=1e-6)


def test_errors_and_external_drift_in_tiles(scene):
    values, rows, cols, windows, counts = scene
    rng = np.random.default_rng(1)
    height, errors = rng.normal(800, 30, values.shape), rng.uniform(0, 1, values.shape)
    canvas = canvas_of(values, covariates=height[None], errors=errors)
    mean, variance = krige_tiles(canvas, LAYOUT, rows, cols, counts, Solver(MODEL))
    for i, window in enumerate(windows):
        coords, z = points_of(window)
        part = np.s_[rows[i] * 4 : rows[i] * 4 + 14, cols[i] * 6 : cols[i] * 6 + 12]
        h, e, seen = height[part], errors[part], np.isfinite(window)
        expected = naive_kriging(
            matern32(4.0, 60.0),
            coords,
            z,
            0.1 + e[seen],
            TARGETS,
            np.c_[np.ones(len(z)), h[seen]],
            np.c_[np.ones(24), h[5:9, 3:9].ravel()],
        )
        np.testing.assert_allclose(mean[i].ravel(), expected[0], rtol=1e-8)
        np.testing.assert_allclose(variance[i].ravel(), expected[1], rtol=1e-6)


def test_leaving_one_out_is_kriging_without_it(scene):
    values, rows, cols, windows, counts = scene
    residual, variance = leave_one_out_tiles(canvas_of(values), LAYOUT, rows, cols, counts, Solver(MODEL))
    for i, window in enumerate(windows):
        inner = window[5:9, 3:9]
        np.testing.assert_array_equal(np.isnan(residual[i]), np.isnan(inner))
        for y, x in np.argwhere(np.isfinite(inner)):
            rest = window.copy()
            rest[y + 5, x + 3] = np.nan
            coords, z = points_of(rest)
            one, here = np.ones((len(z), 1)), np.array([[y + 5, x + 3]]) * SPACING
            expected = naive_kriging(matern32(4.0, 60.0), coords, z, np.full(len(z), 0.1), here, one, one[:1])
            assert residual[i, y, x] == pytest.approx(inner[y, x] - expected[0][0], rel=1e-6, abs=1e-9)
            assert variance[i, y, x] == pytest.approx(expected[1][0] + 0.1, rel=1e-6)


def test_float32_in_tiles_agrees_to_its_precision(scene):
    values, rows, cols, _, counts = scene
    model = Covariance((Structure("matern32", 4.0, 300.0),), 0.04)
    shifted = values + 3000
    double = krige_tiles(canvas_of(shifted), LAYOUT, rows, cols, counts, Solver(model))
    single = krige_tiles(canvas_of(shifted), LAYOUT, rows, cols, counts, Solver(model, dtype="float32"))
    deviation = np.sqrt(double[1] + 0.04)
    assert (np.abs(single[0] - double[0]) < 0.01 * deviation).all()
    assert (single[1] >= 0).all()


def test_batches_do_not_show(scene):
    values, rows, cols, _, counts = scene
    one = krige_tiles(canvas_of(values), LAYOUT, rows, cols, counts, Solver(MODEL))
    many = krige_tiles(canvas_of(values), LAYOUT, rows, cols, counts, Solver(MODEL, memory=1))
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a, b)


# The layout.


@pytest.mark.parametrize("density", [0.01, 0.05, 0.125, 0.3, 0.7, 1.0])
def test_neighbourhoods_hold_a_well_chosen_number_of_observations(density):
    layout = plan(density, MODEL, (10.0, 10.0))
    assert 40 <= density * np.prod(layout.window) <= 200


@pytest.mark.parametrize("neighbours", [16, 150])
def test_neighbourhoods_hold_what_was_asked_for(neighbours):
    layout = plan(0.1, MODEL, (10.0, 10.0), neighbours)
    assert 0.5 * neighbours <= 0.1 * np.prod(layout.window) <= 2 * neighbours


def test_more_neighbours_come_closer_to_the_exact_system(holey):
    _, values = holey
    part = values[60:130, 40:110]
    exact, _ = whole(ready(part), part)
    off = []
    for neighbours in (8, 24, 120):
        kriging = ready(part, neighbours=neighbours)
        holes = np.isnan(part)
        found, _ = kriging._fill_by_tiles(Block(0, 0, part), Pixels(0, 0, *part.shape), holes, SPACING)
        off.append(np.sqrt(np.mean((found - exact)[holes] ** 2)))
    assert off[0] > 2 * off[1]
    assert off[1] > 1.4 * off[2]


def test_noise_widens_the_halo_and_anisotropy_bends_it():
    quiet = plan(0.125, MODEL, (10.0, 10.0))
    noisy = plan(0.125, Covariance(MODEL.structures, 4.0), (10.0, 10.0))
    assert noisy.halo > quiet.halo
    across = Covariance((Structure("matern32", 4.0, 60.0, angle=0.0, ratio=0.25),), 0.1)
    bent = plan(0.125, across, (10.0, 10.0))
    assert bent.halo[1] > 2 * bent.halo[0]
    flat = plan(0.125, MODEL, (10.0, 40.0))
    assert flat.halo[0] > flat.halo[1]


# The survey.


def test_a_survey_keeps_all_or_one_in_every_cell():
    rng = np.random.default_rng(2)
    values = np.where(rng.random((100, 90)) < 0.5, rng.normal(size=(100, 90)), np.nan).astype("f4")
    every = Survey.of([Block(0, 0, values)], 10_000)
    assert every.complete
    assert every.observed == len(every.values) == np.isfinite(values).sum()
    few = Survey.of([Block(0, 0, values)], 500)
    assert few.observed == every.observed
    assert few.side == 8
    assert (
        len(few.values) == len({(r // 8, c // 8) for r, c in zip(few.rows, few.cols, strict=True)}) == 13 * 12
    )
    np.testing.assert_array_equal(values[few.rows, few.cols], few.values)


def test_density_is_that_around_what_is_missing():
    rng = np.random.default_rng(3)
    values = np.ones((256, 256), "f4")
    values[:, 128:][rng.random((256, 128)) > 0.1] = np.nan
    assert Survey.of([Block(0, 0, values)], 10**6).density == pytest.approx(0.1, rel=0.15)


def test_an_empty_raster_has_nothing_to_krige_from():
    with pytest.raises(InputError, match="no pixel is observed"):
        Survey.of([Block(0, 0, np.full((5, 5), np.nan, "f4"))], 10)


# The raster.


def smooth(shape, seed=0):
    """A random field of range about 8 pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    wave = rng.normal(0, 0.15, (30, 2))
    phase = rng.uniform(0, 6.3, 30)
    return sum(np.cos(a * y + b * x + c) for (a, b), c in zip(wave, phase, strict=True)) / 4


def ready(values, limit=10**6, spacing=SPACING, model=MODEL, **options):
    survey = Survey.of([Block(0, 0, values)], limit)
    return RasterKriging(values.shape, spacing, survey, Solver(model), **options)


def whole(kriging, values):
    return kriging.complete(Block(0, 0, values), Pixels(0, 0, *values.shape))


def in_windows(kriging, values, size):
    mean, variance = np.empty(values.shape), np.empty(values.shape)
    for row in range(0, values.shape[0], size):
        for col in range(0, values.shape[1], size):
            wanted = Pixels(row, col, min(size, values.shape[0] - row), min(size, values.shape[1] - col))
            top, left = max(0, row - kriging.halo), max(0, col - kriging.halo)
            given = values[top : row + size + kriging.halo, left : col + size + kriging.halo]
            inside = wanted.within(0, 0)
            mean[inside], variance[inside] = kriging.complete(Block(top, left, given), wanted)
    return mean, variance


@pytest.fixture(scope="module")
def holey():
    """Dense, sparse, empty and crowded parts in one raster."""
    rng = np.random.default_rng(4)
    truth = smooth((150, 170)).astype("f4")
    density = np.full(truth.shape, 0.15)
    density[:, 110:] = 0.02
    density[20:60, 30:90] = 0
    density[100:, :40] = 0.95
    return truth, np.where(rng.random(truth.shape) < density, truth, np.float32(np.nan))


@pytest.mark.parametrize("limit", [10**6, 300], ids=["complete", "thinned"])
@pytest.mark.parametrize("size", [64, 37])
def test_windows_give_the_same_bytes_as_the_whole(holey, limit, size):
    _, values = holey
    model = Covariance((Structure("exponential", 1.0, 100.0, angle=30.0, ratio=0.6),), 0.001)
    kriging = ready(values, limit, model=model, neighbours=40)
    assert not kriging.exact
    assert kriging.survey.complete == (limit > 300)
    for one, many in zip(whole(kriging, values), in_windows(kriging, values, size), strict=True):
        np.testing.assert_array_equal(one, many)
        assert np.isfinite(one).all()


def test_windows_of_a_small_survey_give_the_same_bytes_too():
    rng = np.random.default_rng(5)
    values = np.where(rng.random((90, 100)) < 0.05, smooth((90, 100)), np.nan).astype("f4")
    kriging = ready(values)
    assert kriging.exact
    for one, many in zip(whole(kriging, values), in_windows(kriging, values, 33), strict=True):
        np.testing.assert_array_equal(one, many)


def test_a_small_survey_is_kriged_exactly():
    rng = np.random.default_rng(6)
    values = np.where(rng.random((30, 40)) < 0.1, smooth((30, 40)), np.nan).astype("f4")
    mean, variance = whole(ready(values), values)
    place = np.argwhere(np.isfinite(values))
    z, holes = values[tuple(place.T)].astype(float), np.argwhere(np.isnan(values))
    one, there = np.ones((len(z), 1)), np.ones((len(holes), 1))
    noise = np.full(len(z), 0.1)
    expected = naive_kriging(matern32(4.0, 60.0), place * SPACING, z, noise, holes * SPACING, one, there)
    np.testing.assert_allclose(mean[np.isnan(values)], expected[0], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(variance[np.isnan(values)], expected[1], rtol=1e-6)
    np.testing.assert_array_equal(mean[np.isfinite(values)], z)
    assert (variance[np.isfinite(values)] == 0).all()


def test_smoothing_estimates_observed_pixels_too():
    rng = np.random.default_rng(7)
    truth = smooth((120, 120))
    noisy = (truth + rng.normal(0, 0.5, truth.shape)).astype("f4")
    noisy[rng.random(truth.shape) > 0.5] = np.nan
    seen = np.isfinite(noisy)
    model = Covariance((Structure("gaussian", 1.0, 80.0),), 0.25)
    mean, variance = whole(ready(noisy, model=model, smooth=True), noisy)
    assert np.sqrt(np.mean((mean - truth)[seen] ** 2)) < 0.25
    assert (variance[seen] > 0).all()


def test_tiles_come_close_to_the_exact_system():
    rng = np.random.default_rng(8)
    shape = (96, 96)
    truth = smooth(shape, 1)
    values = np.where(rng.random(shape) < 0.15, truth, np.nan).astype("f4")
    kriging = ready(values, model=Covariance((Structure("matern32", 1.0, 120.0),), 1e-4))
    exact, _ = whole(kriging, values)
    tiled, _ = kriging._fill_by_tiles(Block(0, 0, values), Pixels(0, 0, *shape), np.isnan(values), SPACING)
    holes = np.isnan(values)
    error = np.sqrt(np.mean((exact - truth)[holes] ** 2))
    assert np.sqrt(np.mean((tiled - truth)[holes] ** 2)) < 1.005 * error
    assert np.sqrt(np.mean((tiled - exact)[holes] ** 2)) < 0.1 * error


def test_turning_the_raster_turns_the_result(holey):
    _, values = holey
    model = Covariance((Structure("matern32", 1.0, 60.0, angle=20.0, ratio=0.5),), 0.01)
    turned = Covariance((Structure("matern32", 1.0, 60.0, angle=-70.0, ratio=0.5),), 0.01)
    small = values[:60, :60]
    one = ready(small, spacing=(-10.0, 10.0), model=model)
    # A quarter turn clockwise: what was up is now right, and angles fall by 90 degrees.
    other = ready(np.rot90(small, -1).copy(), spacing=(-10.0, 10.0), model=turned)
    assert one.exact
    for a, b in zip(whole(one, small), whole(other, np.rot90(small, -1).copy()), strict=True):
        np.testing.assert_allclose(np.rot90(a, -1), b, rtol=1e-6, atol=1e-8)


def test_a_wide_gap_shows_no_seams():
    rng = np.random.default_rng(9)
    shape = (256, 256)
    values = smooth(shape, 2).astype("f4")
    values[rng.random(shape) > 0.4] = np.nan
    values[50:206, 50:206] = np.nan
    kriging = ready(
        values, spacing=(-1.0, 1.0), model=Covariance((Structure("exponential", 1.0, 40.0),), 1e-3)
    )
    mean, variance = whole(kriging, values)
    for field in (mean, variance):
        step = np.abs(np.diff(field[70:186, 70:186], axis=1)).mean(0)
        seam = (np.arange(71, 186) % kriging.layout.tile[1]) == 0
        assert step[seam].mean() < 1.3 * step[~seam].mean()
    # In the middle hardly anything is known.
    assert variance[128, 128] > 0.5


def test_a_gap_is_filled_from_all_sides():
    """The value in the middle of a gap between two levels lies between them."""
    values = np.full((200, 200), np.nan, "f4")
    rng = np.random.default_rng(10)
    values[:, :50] = 10 + 0.1 * rng.normal(size=(200, 50))
    values[:, 150:] = 20 + 0.1 * rng.normal(size=(200, 50))
    kriging = ready(
        values, spacing=(-1.0, 1.0), model=Covariance((Structure("exponential", 30.0, 80.0),), 0.01)
    )
    mean, _ = whole(kriging, values)
    assert 13.5 < mean[100, 100] < 16.5
    assert (np.diff(mean[100, 55:146:10]) > 0).all()


def test_a_linear_variogram_works_on_rasters(holey):
    truth, values = holey
    model = Covariance((Structure("power", 0.02, 3000.0, exponent=1.0),), 0.0)
    mean, variance = whole(ready(values, model=model), values)
    near = np.isnan(values) & (np.indices(values.shape)[1] < 100)
    assert np.sqrt(np.mean((mean - truth)[near] ** 2)) < truth.std()
    assert (variance >= 0).all()


def test_exponential_tiles_agree_with_neighbours_where_both_hold_everything():
    """One tile whose halo holds all observations, against the same system of scattered points."""
    rng = np.random.default_rng(11)
    values = np.full((40, 40), np.nan, "f4")
    where = rng.integers(8, 32, (60, 2))
    values[tuple(where.T)] = rng.normal(size=60)
    model = Covariance((Structure("exponential", 1.0, 50.0),), 0.05)
    layout = Layout((40, 40), (0, 0))
    count = np.array([np.isfinite(values).sum()])
    seen = np.isfinite(values)
    canvas = Canvas(np.where(seen, values, 0), seen, (0, 0), SPACING)
    zero = np.array([0])
    mean, _ = krige_tiles(canvas, layout, zero, zero, count, Solver(model))
    coords, z = np.argwhere(seen) * SPACING, values[seen].astype(float)
    pixels = np.argwhere(np.ones_like(seen)) * SPACING
    one = np.ones((len(z), 1))
    expected = naive_kriging(
        exponential(1.0, 50.0), coords, z, np.full(len(z), 0.05), pixels, one, np.ones((1600, 1))
    )
    np.testing.assert_allclose(mean[0].ravel(), expected[0], rtol=1e-7, atol=1e-9)


def test_batches_hold_every_system_once_and_no_more_than_fit():
    counts = np.random.default_rng(0).integers(0, 60, 500)
    solver = Solver(MODEL, memory=1 << 20)
    batches = solver.batches(counts, 36)
    every = np.concatenate([which for _, which in batches])
    np.testing.assert_array_equal(np.sort(every), np.flatnonzero(counts))
    for size, which in batches:
        assert size - 8 < counts[which].min() <= counts[which].max() <= size
        assert len(which) <= solver.batch(size, 36)
    assert max(len(which) for _, which in batches) > 1
