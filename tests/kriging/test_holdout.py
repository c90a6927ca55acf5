import numpy as np
import pytest
from scipy.spatial import KDTree

from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.holdout import (
    HoldOut,
    ball_holdout,
    crps,
    gap_holdout,
    gap_regions,
    merge,
    near_holdout,
    score,
    spacing_of,
)

MODEL = Covariance((Structure("matern32", 2.0, 6.0, angle=30.0, ratio=0.6),), 0.1)


def holdout(sets):
    return HoldOut(sets, np.arange(len(sets)), np.zeros(len(sets)), np.full(len(sets), 1 / len(sets)))


def test_score_is_ordinary_kriging_written_out():
    rng = np.random.default_rng(0)
    coords, values = rng.uniform(0, 30, (40, 2)), rng.standard_normal(40) + 50
    sets = np.array([[3, 9, 20, 31, -1, 0], [1, 2, 5, 7, 11, 4]])
    found = score(MODEL, coords, values, holdout(sets))
    for row, error, deviation in zip(sets, found.error, found.deviation, strict=True):
        near, own = row[:-1][row[:-1] >= 0], row[-1]
        x, q = coords[near], coords[[own]]
        n = len(near)
        system = np.ones((n + 1, n + 1))
        system[:n, :n] = MODEL(x, x) + 0.1 * np.eye(n)
        system[n, n] = 0
        right = np.append(MODEL(x, q)[:, 0], 1)
        weights = np.linalg.solve(system, right)
        assert error == pytest.approx(weights[:n] @ values[near] - values[own])
        assert deviation**2 == pytest.approx(2.1 - weights @ right)


def test_crps_against_its_integral():
    error, deviation = np.array([0.7, -2.0]), np.array([1.5, 0.4])
    grid = np.linspace(-20, 20, 400_001)
    from scipy.stats import norm

    for e, s, found in zip(error, deviation, crps(error, deviation), strict=True):
        step = (grid >= -e) - norm.cdf(grid / s)
        assert found == pytest.approx((step**2).sum() * (grid[1] - grid[0]), rel=1e-4)


def field(missing):
    observed = ~missing
    index = np.full(observed.shape, -1)
    index[observed] = np.arange(observed.sum())
    return observed, index, np.argwhere(observed).astype(float)


def circle(shape, centre, radius):
    return ((np.indices(shape) - np.array(centre)[:, None, None]) ** 2).sum(0) < radius**2


@pytest.fixture(scope="module")
def cloudy():
    shape = (120, 160)
    return field(circle(shape, (40, 50), 14) | circle(shape, (90, 120), 9))


def rehearsed(grid, tests=300):
    observed, index, points = grid
    return gap_holdout(observed, index, points, (1.0, 1.0), 1.0, tests, 24, np.random.default_rng(0))


def test_gaps_are_laid_over_data_and_nobody_tells_himself(cloudy):
    found = rehearsed(cloudy)
    assert len(found) >= 200
    assert found.weight.sum() == pytest.approx(1)
    for row in found.sets:
        assert row[-1] not in row[:-1]
        assert (row >= 0).all()
    hidden = {g: set(found.sets[found.group == g, -1]) for g in np.unique(found.group)}
    for row, group in zip(found.sets, found.group, strict=True):
        assert not hidden[group] & set(row[:-1])


def test_hidden_ones_are_as_far_from_data_as_targets_in_gaps(cloudy):
    observed, _, points = cloudy
    found = rehearsed(cloudy)
    targets = KDTree(points).query(np.argwhere(gap_regions(observed, (1.0, 1.0), 1.0)))[0]
    assert np.median(found.distance) == pytest.approx(np.median(targets), rel=0.3)
    assert found.distance.max() > 0.7 * targets.max()


def test_regions_are_gaps_and_not_the_pixels_between_scattered_data():
    scattered = np.random.default_rng(0).random((100, 100)) < 0.5
    assert gap_regions(~scattered, (1.0, 1.0), 1.0).mean() < 0.01
    hole = circle((100, 100), (50, 50), 12)
    found = gap_regions(~(scattered | hole), (1.0, 1.0), 1.0)
    assert found[hole].mean() > 0.9
    # Pixels of 3 m by 1 m: a gap three rows wide is nine metres wide.
    thin = np.zeros((30, 30), bool)
    thin[14:17] = True
    assert not gap_regions(~thin, (1.0, 1.0), 1.0).any()
    assert gap_regions(~thin, (3.0, 1.0), 1.0).any()


def test_survey_lines_are_hidden_without_hiding_most_of_the_data():
    lines = field(np.indices((60, 50))[0] % 12 != 0)
    found = rehearsed(lines, 100)
    assert len(found) > 30
    # Each gap was laid once a round, over half of the observations at most: all others tell.
    assert (found.sets[:, :-1] >= 0).all()
    assert np.median(found.distance) >= 3


def test_nobody_is_told_where_there_is_no_gap():
    assert len(rehearsed(field(np.zeros((20, 20), bool)))) == 0
    points = np.random.default_rng(0).uniform(0, 10, (30, 2))
    assert len(near_holdout(points, np.zeros(0, int), 5)) == 0


def test_circles_around_scattered_observations_have_the_targets_radii():
    points = np.random.default_rng(0).uniform(0, 100, (1500, 2))
    radii = np.array([5.0, 8.0, 12.0])
    found = ball_holdout(points, radii, 200, 16, np.random.default_rng(1))
    assert len(found) >= 100
    assert found.distance.min() > 0.7 * 5
    assert found.distance.max() < 12 + 5
    for row in found.sets:
        assert row[-1] not in row[:-1]


def test_near_holdout_leaves_one_out():
    points = np.random.default_rng(0).uniform(0, 10, (200, 2))
    points[7] = points[3]  # a repeated place
    found = near_holdout(points, np.array([3, 7, 50]), 10)
    for row in found.sets:
        others = np.delete(np.arange(200), row[-1])
        expected = others[np.argsort(np.linalg.norm(points[others] - points[row[-1]], axis=1))][:10]
        assert set(row[:-1]) == set(expected)
    assert found.distance[0] == 0


def test_merged_holdouts_weigh_their_shares_and_keep_their_groups():
    a, b = holdout(np.zeros((4, 3), int)), holdout(np.ones((10, 3), int))
    both = merge([a, b], [0.3, 0.7])
    assert both.weight[:4].sum() == pytest.approx(0.3)
    assert both.weight.sum() == pytest.approx(1)
    assert len(set(both.group)) == 14
    assert len(merge([a, b], [0.0, 1.0])) == 10


def test_spacing_looks_past_repeated_places():
    places = np.argwhere(np.ones((5, 5))) * 3.0
    points = np.repeat(places, 6, axis=0)
    assert np.median(spacing_of(KDTree(points), points)) == 3.0
