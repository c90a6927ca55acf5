import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from geonp.errors import UsageError
from geonp.kriging.conditioning import conditioning_sets, surrounding_sets
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.distance import on_sphere
from geonp.kriging.likelihood import Shape, VecchiaLikelihood
from geonp.kriging.minimise import minimise
from geonp.kriging.terms import Parameters

RNG = np.random.default_rng(0)
COORDS = RNG.uniform(0, 40, (60, 2))
VALUES = np.sin(COORDS[:, 0] / 9) + np.cos(COORDS[:, 1] / 14) + 0.1 * RNG.standard_normal(60)
ONES = np.ones((60, 1))


def prepared(neighbours=10, trend=ONES, terms=60, errors=None):
    sets = conditioning_sets(COORDS, neighbours, terms, np.random.default_rng(1))
    return VecchiaLikelihood(COORDS, VALUES, trend, [sets], errors=errors)


def test_conditioning_sets_are_the_nearest_among_earlier_ones():
    points = np.random.default_rng(2).uniform(0, 1, (700, 2))
    sets = conditioning_sets(points, 6, 300, np.random.default_rng(3))
    order = np.random.default_rng(3).permutation(700)
    rank = np.argsort(order)
    assert len(set(sets[:, -1])) == 300
    for row in sets:
        own = row[-1]
        earlier = order[: rank[own]]
        nearest = earlier[np.argsort(np.linalg.norm(points[earlier] - points[own], axis=1))][:6]
        assert set(row[:-1][row[:-1] >= 0]) == set(nearest)


def test_surrounding_sets_look_to_every_side_past_a_crowd():
    rng = np.random.default_rng(0)
    crowd = rng.uniform([-20, 5], [20, 40], (5000, 2))
    far = rng.uniform([-20, -90], [20, -50], (5000, 2))
    points = np.concatenate([crowd, far, [[0.5, 0.0]]])
    sets = surrounding_sets(points, np.array([10_000]), np.arange(10_000), 16, rng)
    beyond = sets[0][(sets[0] >= 5000) & (sets[0] < 10_000)]
    assert len(beyond) == 8
    assert len(set(sets[0])) == 17


def test_surrounding_sets_of_few_are_filled_up_with_nobody():
    points = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [9.0, 9.0]])
    sets = surrounding_sets(points, np.array([0]), np.array([1, 2, 3]), 8, np.random.default_rng(0))
    assert sorted(sets[0].tolist()) == [-1, -1, -1, -1, -1, 0, 1, 2, 3]


@pytest.mark.parametrize("angle", [0.0, 35.0, 150.0])
def test_all_neighbours_make_the_exact_likelihood(angle):
    model = Covariance((Structure("matern32", 1.3, 8.0, angle=angle, ratio=0.5),), 0.05)
    matrix = model(COORDS, COORDS) + 0.05 * np.eye(60)
    weights = np.linalg.solve(matrix, np.ones(60))
    mean = weights @ VALUES / weights.sum()
    expected = multivariate_normal(np.full(60, mean), matrix).logpdf(VALUES)
    assert prepared(59).log_likelihood(model) == pytest.approx(expected, rel=1e-9)


def test_profiled_sill_and_trend_are_those_of_generalised_least_squares():
    trend = np.concatenate([ONES, COORDS / 30 - 1], 1)
    at = Parameters(("exponential",), np.array([9.0]), np.ones(1), 0.2, np.zeros(2))
    found = prepared(59, trend).evaluate(at)
    matrix = Covariance((Structure("exponential", 1.0, 9.0),), 0.0)(COORDS, COORDS) + 0.2 * np.eye(60)
    inverse = np.linalg.inv(matrix)
    beta = np.linalg.solve(trend.T @ inverse @ trend, trend.T @ inverse @ VALUES)
    residual = VALUES - trend @ beta
    np.testing.assert_allclose(found.trend, beta, rtol=1e-8)
    assert found.sill == pytest.approx(residual @ inverse @ residual / 60)


@pytest.mark.parametrize(
    ("families", "shapes"),
    [
        (("exponential",), ()),
        (("matern32",), ()),
        (("matern52",), ()),
        (("gaussian",), ()),
        (("spherical",), ()),
        (("matern",), (0.8,)),
        (("power",), (1.3,)),
        (("matern52", "exponential"), ()),
        (("exponential", "matern"), (0.0, 2.2)),
    ],
)
@pytest.mark.parametrize("bend", [(0.3, -0.5), (0.0, 0.0)])
@pytest.mark.parametrize("noisy", [False, True])
def test_gradient_is_that_of_differences(families, shapes, bend, noisy):
    errors = RNG.uniform(0, 0.5, 60) if noisy else None
    likelihood = prepared(errors=errors)
    count = len(families)
    reach = [200.0] if families == ("power",) else [8.0, 30.0][:count]
    x = np.array([*np.log(reach), *np.log([1.0, 0.5][:count]), math.log(0.05), *bend, 0.4])

    def at(x):
        size = np.exp(x[:-3])
        return Parameters(families, size[:count], size[count:-1], size[-1], x[-3:-1], math.exp(x[-1]), shapes)

    expected = []
    for i in range(len(x)):
        step = np.zeros(len(x))
        step[i] = 1e-5
        expected.append(
            (likelihood.evaluate(at(x + step)).value - likelihood.evaluate(at(x - step)).value) / 2e-5
        )
    found = likelihood.evaluate(at(x)).gradient
    found[count] = expected[count]  # the first weight is one by definition
    np.testing.assert_allclose(found, expected, atol=4e-6 * np.abs(expected).max())


@pytest.mark.parametrize(
    "structure",
    [
        Structure("matern32", 1.3, 8.0),
        Structure("matern", 1.3, 8.0, nu=0.7, angle=20.0, ratio=0.6),
        Structure("matern", 1.3, 8.0, nu=3.5),
        Structure("power", 0.02, 300.0, exponent=1.4),
    ],
)
def test_error_variances_join_the_exact_likelihood(structure):
    errors = RNG.uniform(0, 0.5, 60)
    model = Covariance((structure,), 0.05)
    matrix = model(COORDS, COORDS) + np.diag(0.05 + errors)
    found = prepared(59, np.zeros((60, 1)), errors=errors).log_likelihood(model)
    assert found == pytest.approx(multivariate_normal(cov=matrix).logpdf(VALUES), rel=1e-7)


def test_several_groups_add_up():
    both = conditioning_sets(COORDS, 10, 60, np.random.default_rng(1))
    wide = surrounding_sets(COORDS, np.arange(20), np.arange(20, 60), 16, np.random.default_rng(0))
    model = Covariance((Structure("exponential", 1.0, 9.0),), 0.1)
    trend = np.zeros((60, 1))  # no mean to share
    parts = [VecchiaLikelihood(COORDS, VALUES, trend, [g]).log_likelihood(model) for g in (both, wide)]
    together = VecchiaLikelihood(COORDS, VALUES, trend, [both, wide]).log_likelihood(model)
    assert together == pytest.approx(sum(parts))


def test_globe_is_isotropic_and_measured_by_chords():
    places = np.random.default_rng(0).uniform([-60, -180], [60, 180], (80, 2))
    values = np.random.default_rng(1).standard_normal(80)
    points = on_sphere(places)
    sets = conditioning_sets(points, 79, 80, np.random.default_rng(0))
    model = Covariance((Structure("exponential", 1.0, 2e6),), 0.2, "great-circle")
    likelihood = VecchiaLikelihood(points, values, np.zeros((80, 1)), [sets], "great-circle")
    matrix = model(places, places) + 0.2 * np.eye(80)
    assert likelihood.log_likelihood(model) == pytest.approx(multivariate_normal(cov=matrix).logpdf(values))


def simulated(model, count=1200, seed=1):
    rng = np.random.default_rng(seed)
    coords = rng.uniform(0, 300, (count, 2))
    matrix = model(coords, coords) + model.nugget * np.eye(count)
    return coords, 5 + np.linalg.cholesky(matrix) @ rng.standard_normal(count)


def test_maximum_is_near_the_truth():
    truth = Covariance((Structure("matern32", 4.0, 20.0, angle=60.0, ratio=0.5),), 0.2)
    coords, values = simulated(truth)
    sets = conditioning_sets(coords, 12, 1200, np.random.default_rng(0))
    likelihood = VecchiaLikelihood(coords, values, np.ones((1200, 1)), [sets])
    start = Covariance((Structure("matern32", 1.0, 50.0),), 0.01)
    found = likelihood.maximise(Shape(("matern32",), True), start, (1.0, 3000.0))
    s = found.covariance.structures[0]
    assert s.range == pytest.approx(20, rel=0.3)
    assert s.ratio == pytest.approx(0.5, abs=0.08)
    assert s.angle == pytest.approx(60, abs=6)
    assert s.sill == pytest.approx(4, rel=0.3)
    assert found.covariance.nugget == pytest.approx(0.2, rel=0.25)
    assert found.log_likelihood >= likelihood.log_likelihood(truth)
    assert likelihood.log_likelihood(found.covariance) == pytest.approx(found.log_likelihood)
    assert found.at_bound == ()
    assert found.parameters == 6


def test_fixed_range_stays_and_bounds_are_told():
    start = Covariance((Structure("exponential", 1.0, 10.0),), 0.1)
    likelihood = prepared()
    fixed = likelihood.maximise(Shape(("exponential",), False, (33.0,)), start, (1.0, 100.0))
    assert fixed.covariance.structures[0].range == pytest.approx(33.0)
    bounded = likelihood.maximise(Shape(("exponential",)), start, (1.0, 2.0))
    assert bounded.at_bound == ("range",)


def test_families_without_a_gradient_are_refused():
    with pytest.raises(UsageError, match=r"'cubic'.*matern32"):
        Shape(("cubic",))
    with pytest.raises(UsageError, match="as many ranges"):
        Shape(("exponential",), False, (1.0, 2.0))


def test_minimiser_on_a_curved_valley_and_at_a_bound():
    def valley(x):
        a, b = x
        value = (1 - a) ** 2 + 100 * (b - a * a) ** 2
        return value, np.array([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)])

    wide = np.full(2, 3.0)
    free = minimise(valley, np.array([-1.2, 1.0]), -wide, wide, rounds=200, tolerance=1e-12).x
    np.testing.assert_allclose(free, [1, 1], atol=1e-4)
    tight = minimise(
        valley, np.array([-1.2, 1.0]), -wide, np.array([0.5, 3.0]), rounds=200, tolerance=1e-12
    ).x
    np.testing.assert_allclose(tight, [0.5, 0.25], atol=1e-4)


def test_minimiser_steps_back_from_where_there_is_no_value():
    def wall(x):
        return (float("inf"), np.zeros(1)) if x[0] > 1 else ((x[0] - 0.9) ** 2, 2 * (x - 0.9))

    found = minimise(wall, np.array([-3.0]), np.array([-5.0]), np.array([5.0]), rounds=50, tolerance=1e-10).x
    np.testing.assert_allclose(found, 0.9, atol=1e-3)
