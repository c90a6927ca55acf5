import numpy as np
import pytest

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.kriging.blocks import rectangles
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.points import Observations
from geonp.kriging.scattered import Options, PointKriging, krige

from .naive import exponential, matern32, naive_kriging

N, M = 60, 25


@pytest.fixture
def survey():
    rng = np.random.default_rng(3)
    coords, targets = rng.uniform(0, 100, (N, 2)), rng.uniform(-10, 110, (M, 2))
    slope = np.array([0.05, -0.02])
    values = 300 + coords @ slope + 2 * np.sin(coords[:, 0] / 9) + rng.normal(0, 0.3, N)
    return coords, values, targets


EXPONENTIAL = Covariance((Structure("exponential", 4.0, 30.0),), 0.1)
MATERN = Covariance((Structure("matern32", 4.0, 20.0),), 0.1)
NAIVE = {EXPONENTIAL: exponential(4.0, 30.0), MATERN: matern32(4.0, 20.0)}


@pytest.mark.parametrize("covariance", [EXPONENTIAL, MATERN], ids=["exponential", "matern32"])
@pytest.mark.parametrize("kind", ["simple", "ordinary", "universal", "external"])
def test_agrees_with_the_textbook_system(survey, covariance, kind):
    coords, values, targets = survey
    ones, elsewhere = np.ones((N, 1)), np.ones((M, 1))
    errors = np.linspace(0, 0.5, N)
    extra, extra_there = np.cos(coords[:, 1:] / 30), np.cos(targets[:, 1:] / 30)
    f = {
        "simple": (None, None),
        "ordinary": (ones, elsewhere),
        "universal": (np.hstack([ones, coords]), np.hstack([elsewhere, targets])),
        "external": (np.hstack([ones, extra]), np.hstack([elsewhere, extra_there])),
    }[kind]
    level = 300.0 if kind == "simple" else 0.0
    expected = naive_kriging(NAIVE[covariance], coords, values - level, 0.1 + errors, targets, *f)
    ready = PointKriging.of(
        coords,
        values,
        covariance,
        kind="ordinary" if kind == "external" else kind,
        mean=300.0 if kind == "simple" else None,
        errors=errors,
        drift=extra if kind == "external" else None,
    )
    mean, variance = ready.predict(targets, extra_there if kind == "external" else None)
    np.testing.assert_allclose(mean, expected[0] + level, rtol=1e-9)
    np.testing.assert_allclose(variance, expected[1], rtol=1e-6)


def test_observations_are_met_without_noise(survey):
    coords, values, _ = survey
    model = Covariance((Structure("exponential", 4.0, 30.0),), 0.0)
    mean, variance, _, _ = krige(coords, values, coords, model)
    np.testing.assert_allclose(mean, values, atol=1e-9)
    assert (variance >= 0).all()
    assert variance.max() < 1e-9


def test_far_away_the_mean_is_that_of_least_squares_and_the_variance_the_sill_and_more(survey):
    coords, values, _ = survey
    far = np.array([[1e6, 1e6]])
    k = NAIVE[EXPONENTIAL](coords, coords) + 0.1 * np.eye(N)
    weight = np.linalg.solve(k, np.ones(N))
    mean, variance, _, _ = krige(coords, values, far, EXPONENTIAL, noise=False)
    assert mean[0] == pytest.approx(weight @ values / weight.sum())
    assert variance[0] == pytest.approx(4.0 + 1 / weight.sum())


def test_noise_adds_the_nugget_alone(survey):
    coords, values, targets = survey
    latent = krige(coords, values, targets, EXPONENTIAL, noise=False)
    observable = krige(coords, values, targets, EXPONENTIAL)
    np.testing.assert_allclose(observable.variance - latent.variance, 0.1)
    np.testing.assert_array_equal(observable.mean, latent.mean)


def test_moving_or_scaling_everything_changes_nothing_else(survey):
    coords, values, targets = survey
    one = krige(coords, values, targets, EXPONENTIAL)
    shift = np.array([4_649_776.0, 431_000.0])
    two = krige(coords + shift, 10 * values + 7, targets + shift, EXPONENTIAL.scaled(100.0))
    np.testing.assert_allclose(two.mean, 10 * one.mean + 7, rtol=1e-8)
    np.testing.assert_allclose(two.variance, 100 * one.variance, rtol=1e-6)


def test_a_plane_is_reproduced_by_universal_kriging():
    rng = np.random.default_rng(0)
    coords, targets = rng.uniform(0, 1, (30, 2)), rng.uniform(-3, 3, (9, 2))
    plane = np.array([2.0, -5.0])
    got = krige(coords, coords @ plane + 1, targets, EXPONENTIAL, kind="universal")
    np.testing.assert_allclose(got.mean, targets @ plane + 1, atol=1e-8)


def test_a_drift_that_explains_everything_is_followed():
    rng = np.random.default_rng(0)
    coords, targets = rng.uniform(0, 1, (30, 2)), rng.uniform(0, 1, (9, 2))
    height, there = rng.normal(500, 50, 30), rng.normal(500, 50, 9)
    got = krige(coords, 3 - 0.01 * height, targets, EXPONENTIAL, drift=height, target_drift=there)
    np.testing.assert_allclose(got.mean, 3 - 0.01 * there, atol=1e-8)


def test_duplicates_count_as_one_without_changing_the_prediction(survey):
    coords, values, targets = survey
    errors = np.full(N, 0.2)
    again, new = np.vstack([coords, coords[:5]]), np.concatenate([values, values[:5] + 1])
    more = np.concatenate([errors, np.full(5, 0.7)])
    got = krige(again, new, targets, EXPONENTIAL, errors=more)
    ones = np.ones((N + 5, 1))
    expected = naive_kriging(NAIVE[EXPONENTIAL], again, new, 0.1 + more, targets, ones, np.ones((M, 1)))
    assert got.merged == 5
    np.testing.assert_allclose(got.mean, expected[0], rtol=1e-9)
    np.testing.assert_allclose(got.variance - 0.1, expected[1], rtol=1e-6)


def test_a_duplicate_without_error_settles_its_place():
    model = Covariance((Structure("exponential", 1.0, 10.0),), 0.0)
    coords = [[0.0, 0.0], [0.0, 0.0], [5.0, 5.0]]
    got = krige(coords, [1.0, 9.0, 2.0], [[0.0, 0.0]], model, errors=[0.0, 1.0, 0.0])
    assert got.merged == 1
    assert got.mean[0] == pytest.approx(1.0)


def test_contradicting_duplicates_without_nugget_are_averaged_with_a_warning():
    model = Covariance((Structure("exponential", 1.0, 10.0),), 0.0)
    coords = [[0.0, 0.0], [0.0, 0.0], [5.0, 5.0]]
    with pytest.warns(GeonpWarning, match="1 places have several error-free values"):
        got = krige(coords, [1.0, 3.0, 2.0], [[0.0, 0.0]], model)
    assert got.mean[0] == pytest.approx(2.0)


def test_equal_duplicates_without_nugget_are_merged_in_silence():
    model = Covariance((Structure("exponential", 1.0, 10.0),), 0.0)
    got = krige([[0.0, 0.0], [0.0, 0.0], [5.0, 5.0]], [1.0, 1.0, 2.0], [[0.0, 0.0]], model)
    assert got.merged == 1
    assert got.mean[0] == pytest.approx(1.0)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_points_give_ordinary_kriging(count):
    coords = np.array([[0.0, 0.0], [0.0, 3.0], [4.0, 0.0]])[:count]
    values = np.array([1.0, 5.0, 2.0])[:count]
    targets = np.array([[1.0, 1.0], [50.0, 50.0]])
    got = krige(coords, values, targets, EXPONENTIAL)
    ones = np.ones((count, 1))
    expected = naive_kriging(
        NAIVE[EXPONENTIAL], coords, values, np.full(count, 0.1), targets, ones, np.ones((2, 1))
    )
    np.testing.assert_allclose(got.mean, expected[0])
    np.testing.assert_allclose(got.variance, expected[1] + 0.1)


def test_constant_values_give_that_constant(survey):
    coords, _, targets = survey
    got = krige(coords, np.full(N, 7.0), targets, EXPONENTIAL)
    np.testing.assert_allclose(got.mean, 7.0)
    assert np.isfinite(got.variance).all()


def test_collinear_points_cannot_carry_a_plane_but_a_mean(survey):
    along = np.linspace(0, 100, 20)
    coords = np.stack([along, 2 * along + 5], 1)
    with pytest.raises(InputError, match=r"collinear.*kind='ordinary'"):
        krige(coords, along, [[1.0, 1.0]], EXPONENTIAL, kind="universal")
    with pytest.raises(InputError, match="collinear"):
        krige(coords, along, [[1.0, 1.0]], EXPONENTIAL, kind="universal", neighbours=8)
    assert np.isfinite(krige(coords, along, [[1.0, 1.0]], EXPONENTIAL).mean).all()


def test_two_points_cannot_carry_a_plane():
    with pytest.raises(InputError, match=r"2 observation\(s\) cannot tell 3 drift coefficients"):
        krige([[0.0, 0.0], [1.0, 2.0]], [1.0, 2.0], [[1.0, 1.0]], EXPONENTIAL, kind="universal")


def test_a_constant_drift_is_refused(survey):
    coords, values, targets = survey
    with pytest.raises(InputError, match="constant drift"):
        krige(coords, values, targets, EXPONENTIAL, drift=np.ones(N), target_drift=np.ones(M))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drift": "nan"}, "drift is not finite at 1 of 60 points"),
        ({"target_drift": "nan"}, "drift of the targets is not finite at 1 of 25"),
        ({"target_drift": None}, r"1 external drift\(s\) and the targets 0"),
        ({"drift": "short"}, r"shape \(59,\), but there are 60 points"),
    ],
)
def test_drift_that_does_not_cover_is_refused(survey, change, message):
    coords, values, targets = survey
    given = {"drift": np.arange(N, dtype=float), "target_drift": np.arange(M, dtype=float)}
    for name, what in change.items():
        if what == "nan":
            given[name][3] = np.nan
        else:
            given[name] = None if what is None else given[name][:-1]
    with pytest.raises(InputError, match=message):
        krige(coords, values, targets, EXPONENTIAL, **given)


@pytest.mark.parametrize(
    ("coords", "values", "errors", "message"),
    [
        ([[0.0, 0.0]], [np.nan], None, "none of 1 values is a number"),
        ([[0.0, 0.0]], [np.inf], None, "1 values are infinite"),
        ([[0.0, np.nan]], [1.0], None, "1 of 1 coords are not finite"),
        ([0.0, 1.0], [1.0, 2.0], None, r"array \(N, 2\).*got shape \(2,\)"),
        ([[0.0, 0.0], [1.0, 1.0]], [1.0], None, "2 coordinates need as many values"),
        ([[0.0, 0.0]], [1.0], [-1.0], "not negative"),
        ([[0.0, 0.0]], [1.0], [1.0, 2.0], "as many error variances"),
    ],
)
def test_unusable_observations_are_refused(coords, values, errors, message):
    with pytest.raises(InputError, match=message):
        krige(coords, values, [[0.0, 0.0]], EXPONENTIAL, errors=errors)


def test_missing_values_are_left_out(survey):
    coords, values, targets = survey
    holes = values.copy()
    holes[::2] = np.nan
    got = krige(coords, holes, targets, EXPONENTIAL)
    np.testing.assert_allclose(got.mean, krige(coords[1::2], values[1::2], targets, EXPONENTIAL).mean)


def test_wrong_usage_is_refused(survey):
    coords, values, targets = survey
    with pytest.raises(UsageError, match="unknown kind"):
        krige(coords, values, targets, EXPONENTIAL, kind="block")
    with pytest.raises(UsageError, match="takes no drift"):
        krige(coords, values, targets, EXPONENTIAL, kind="simple", drift=values, target_drift=targets[:, 0])
    with pytest.raises(UsageError, match="neighbours is a count"):
        krige(coords, values, targets, EXPONENTIAL, neighbours=0)
    with pytest.raises(UsageError, match=r"exact kriging of 60 observations takes .* GB.*neighbours=64"):
        krige(coords, values, targets, EXPONENTIAL, options=Options(memory=1000))
    with pytest.raises(UsageError, match="there is no device 'abacus'"):
        krige(coords, values, targets, EXPONENTIAL, options=Options(device="abacus"))
    with pytest.raises(UsageError, match="no sill"):
        krige(
            coords,
            values,
            targets,
            Covariance((Structure("power", 1.0, 10.0, exponent=1.0),), 0.0),
            kind="simple",
        )


def test_a_linear_variogram_agrees_with_the_system_written_in_variograms(survey):
    coords, values, targets = survey

    def gamma(a, b):
        return -np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)) * 0.3

    expected = naive_kriging(gamma, coords, values, np.zeros(N), targets, np.ones((N, 1)), np.ones((M, 1)))
    # The reach given is too small on purpose: it is widened to the extent of the points.
    model = Covariance((Structure("power", 0.3, 1.0, exponent=1.0),), 0.0)
    got = krige(coords, values, targets, model)
    np.testing.assert_allclose(got.mean, expected[0], rtol=1e-8)
    np.testing.assert_allclose(got.variance, expected[1], rtol=1e-6, atol=1e-9)


def test_simple_kriging_without_a_mean_takes_that_of_least_squares(survey):
    coords, values, targets = survey
    level = krige(coords, values, [[1e7, 1e7]], EXPONENTIAL).mean[0]
    ready = PointKriging.of(coords, values, EXPONENTIAL, kind="simple")
    assert ready.solver.mean == pytest.approx(level)
    given = PointKriging.of(coords, values, EXPONENTIAL, kind="simple", mean=level)
    np.testing.assert_allclose(ready.predict(targets)[0], given.predict(targets)[0])


def test_float32_agrees_to_its_precision(survey):
    coords, values, targets = survey
    far = np.array([4_649_776.0, 431_000.0])
    for neighbours in ("all", 16):
        double = krige(coords + far, values, targets + far, EXPONENTIAL, neighbours=neighbours)
        single = krige(
            coords + far,
            values,
            targets + far,
            EXPONENTIAL,
            neighbours=neighbours,
            options=Options(dtype="float32"),
        )
        np.testing.assert_allclose(single.mean, double.mean, atol=2e-3)
        np.testing.assert_allclose(single.variance, double.variance, rtol=1e-3)


def test_an_area_is_the_average_of_its_points_with_their_joint_variance(survey):
    coords, values, _ = survey
    areas = rectangles([[30.0, 40.0], [70.0, 20.0]], (20.0, 10.0), per_side=3)
    assert areas.shape == (2, 9, 2)
    assert areas[0].mean(0) == pytest.approx([30.0, 40.0])
    covariance, ones = NAIVE[EXPONENTIAL], np.ones((N, 1))
    for kriging in (
        PointKriging.of(coords, values, EXPONENTIAL),
        PointKriging.of(coords, values, EXPONENTIAL, neighbours=N),
    ):
        mean, variance = kriging.average(areas)
        for area, m, v in zip(areas, mean, variance, strict=True):
            point = naive_kriging(covariance, coords, values, np.full(N, 0.1), area, ones, np.ones((9, 1)))[0]
            assert m == pytest.approx(point.mean())
            k, r = covariance(coords, coords) + 0.1 * np.eye(N), covariance(coords, area).mean(1)
            left = np.block([[k, ones], [ones.T, np.zeros((1, 1))]])
            solution = np.linalg.solve(left, np.append(r, 1.0))
            assert v == pytest.approx(covariance(area, area).mean() - solution @ np.append(r, 1.0))
            assert v < kriging.predict(area)[1].mean()


def test_areas_need_a_shape_and_a_size(survey):
    coords, values, _ = survey
    with pytest.raises(InputError, match=r"areas are points \(M, Q, 2\)"):
        PointKriging.of(coords, values, EXPONENTIAL).average([[1.0, 2.0]])
    with pytest.raises(UsageError, match="positive size"):
        rectangles([[0.0, 0.0]], (0.0, 1.0))


def test_on_the_globe_the_date_line_is_no_border():
    model = Covariance((Structure("exponential", 1.0, 500_000.0),), 0.01, metric="great-circle")
    rng = np.random.default_rng(1)
    coords = np.stack([rng.uniform(-30, 30, 80), rng.uniform(160, 200, 80)], 1)
    values = rng.normal(size=80)
    wrapped = np.where([[False, True]], (coords + 180) % 360 - 180, coords)
    targets = np.array([[0.0, 180.0], [10.0, -179.5]])
    for neighbours in ("all", 20):
        one = krige(coords, values, targets, model, neighbours=neighbours)
        two = krige(wrapped, values, targets, model, neighbours=neighbours)
        np.testing.assert_allclose(one.mean, two.mean, rtol=1e-7, atol=1e-9)


def test_metres_given_as_degrees_are_recognised():
    model = Covariance((Structure("exponential", 1.0, 500_000.0),), 0.01, metric="great-circle")
    with pytest.raises(InputError, match=r"\(latitude, longitude\) in degrees, but reach 500000"):
        Observations.of([[500_000.0, 4_000_000.0]], [1.0], model)
    with pytest.raises(UsageError, match="no meaning on the globe"):
        krige([[0.0, 0.0]], [1.0], [[0.0, 0.0]], model, kind="universal")
