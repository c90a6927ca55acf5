"""Hidden values: against formulas written out, and against distributions whose answer is known."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from geonp import metrics
from geonp.errors import InputError, MethodError
from geonp.report.hidden import Hidden, distance_to_seen


def drawn(n: int = 20_000, std: float = 2.0, claimed: float = 2.0, seed: int = 0) -> Hidden:
    """Predictions that err by `std` and say that they err by `claimed`."""
    rng = np.random.default_rng(seed)
    truth, zero = rng.normal(size=n), np.zeros(n, np.int64)
    mean = truth + rng.normal(scale=std, size=n)
    return Hidden("drawn", truth, mean, np.full(n, claimed**2), rng.uniform(0, 100, n), zero, zero)


def test_hidden_pixels_are_picked_with_their_distance() -> None:
    truth = np.array([[1.0, 2.0, 3.0, np.nan]])
    mean, variance = np.array([[9.0, 2.5, 2.0, 7.0]]), np.array([[0.0, 4.0, 1.0, 1.0]])
    seen = np.array([[True, False, False, False]])
    one = Hidden.of("m", truth, mean, variance, seen, ~seen, (10.0, 30.0), origin=(5, 7))
    np.testing.assert_array_equal(one.error, [0.5, -1.0])
    np.testing.assert_array_equal(one.standardised, [-0.25, 1.0])
    np.testing.assert_array_equal(one.distance, [30.0, 60.0])
    np.testing.assert_array_equal([one.row, one.col], [[5, 5], [8, 9]])


def test_right_deviations_are_calibrated_and_wrong_ones_are_not() -> None:
    levels = np.array([0.5, 0.9, 0.95])
    np.testing.assert_allclose(drawn().coverage(levels), levels, atol=0.012)
    narrow = drawn(claimed=1.0)
    np.testing.assert_allclose(
        narrow.coverage(levels), 2 * norm.cdf(norm.ppf((1 + levels) / 2) / 2) - 1, atol=0.012
    )
    counts, _ = np.histogram(drawn().pit, 10, (0, 1))
    assert np.abs(counts / 2000 - 1).max() < 0.1
    assert (np.abs(narrow.pit - 0.5) > 0.45).mean() > 0.35


def test_coverage_is_that_of_the_metrics() -> None:
    one = drawn(500)
    assert one.variance is not None
    for level in (0.1, 0.5, 0.9):
        assert one.coverage([level])[0] == metrics.coverage(one.truth, one.mean, one.variance, level)


def test_errors_by_distance_are_root_mean_squares_of_equal_classes() -> None:
    one = drawn(1000)
    found = one.by_distance(4)
    order = np.argsort(one.distance)
    assert found.count.tolist() == [250] * 4
    for k, part in enumerate(np.split(order, 4)):
        assert found.rmse[k] == pytest.approx(math.sqrt(np.mean(one.error[part] ** 2)))
        assert found.distance[k] == pytest.approx(one.distance[part].mean())
    assert found.std == pytest.approx(np.full(4, 2.0))


def test_few_values_are_few_classes() -> None:
    assert drawn(45).by_distance().count.size == 2
    assert drawn(5).by_distance().count.tolist() == [5]


def test_one_distance_is_one_class_and_none_seen_is_no_class() -> None:
    one = drawn(50)
    same = Hidden("m", one.truth, one.mean, None, np.full(50, 30.0), one.row, one.col)
    assert same.by_distance().distance.tolist() == [30.0]
    assert same.by_distance().std is None
    nowhere = Hidden("m", one.truth, one.mean, None, np.full(50, np.inf), one.row, one.col)
    assert nowhere.by_distance().distance.size == 0
    assert np.isinf(distance_to_seen(np.zeros((2, 2), bool), (1, 1))).all()


def test_joined_parts_lose_their_variance_where_one_has_none() -> None:
    one = drawn(10)
    bare = Hidden("drawn", one.truth, one.mean, None, one.distance, one.row, one.col)
    assert len(Hidden.join([one, one])) == 20
    assert Hidden.join([one, one]).variance is not None
    assert Hidden.join([one, bare]).variance is None


def test_no_variance_and_nothing_hidden_are_errors() -> None:
    one = drawn(10)
    bare = Hidden("cubic", one.truth, one.mean, None, one.distance, one.row, one.col)
    with pytest.raises(MethodError, match="cubic"):
        _ = bare.pit
    image = np.ones((2, 2))
    with pytest.raises(InputError, match="nothing to compare"):
        Hidden.of("m", image, image, None, image > 0, image < 0, (1, 1))
    with pytest.raises(InputError, match="not finite"):
        Hidden.of("m", image, image * np.nan, None, image < 0, image > 0, (1, 1))
