import math

import numpy as np
import pytest
import scoringrules
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from geonp import metrics
from geonp.errors import InputError, UsageError

seeds = st.integers(0, 2**32 - 1)
calm = settings(deadline=None)


def sample(seed: int = 0, shape: tuple[int, ...] = (400,)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    variance = rng.uniform(0.01, 9, shape)
    mean = rng.normal(100, 20, shape)
    return mean + rng.normal(0, 1.5, shape), mean, variance


@calm
@given(seeds)
def test_scores_of_a_normal_distribution_agree_with_scoringrules(seed):
    truth, mean, variance = sample(seed)
    std = np.sqrt(variance)
    assert metrics.crps(truth, mean, variance) == pytest.approx(
        scoringrules.crps_normal(truth, mean, std).mean()
    )
    # scoringrules.logs_normal takes the logarithm of a density that underflows beyond 38 deviations
    assert metrics.nll(truth, mean, variance) == pytest.approx(-stats.norm.logpdf(truth, mean, std).mean())
    for level in (0.5, 0.9, 0.95):
        low, high = stats.norm.interval(level, mean, std)
        reference = scoringrules.interval_score(truth, low, high, 1 - level).mean()
        assert metrics.interval_score(truth, mean, variance, level) == pytest.approx(reference)
        assert metrics.coverage(truth, mean, variance, level) == np.mean((low <= truth) & (truth <= high))


def test_the_crps_is_the_integral_that_defines_it():
    x = np.linspace(-40, 40, 400_001)
    truth, mean, std = 1.3, 0.4, 2.1
    integral = np.trapezoid((stats.norm.cdf(x, mean, std) - (x >= truth)) ** 2, x)
    assert metrics.crps([truth], [mean], [std**2]) == pytest.approx(integral, rel=1e-4)


def test_errors_are_what_they_are_called():
    truth, mean = np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 1.0])
    assert metrics.rmse(truth, mean) == pytest.approx(math.sqrt(10 / 3))
    assert metrics.mae(truth, mean) == pytest.approx(4 / 3)
    assert metrics.bias(truth, mean) == pytest.approx(-2 / 3)
    assert metrics.standardised_rmse(truth, mean, [1.0, 1.0, 9.0]) == pytest.approx(math.sqrt(2 / 3))


@calm
@given(seeds)
def test_errors_agree_with_scikit_learn(seed):
    truth, mean, variance = sample(seed)
    assert metrics.rmse(truth, mean) == pytest.approx(root_mean_squared_error(truth, mean), rel=1e-9)
    assert metrics.mae(truth, mean) == pytest.approx(mean_absolute_error(truth, mean), rel=1e-9)
    z = (truth - mean) / np.sqrt(variance)
    assert metrics.standardised_rmse(truth, mean, variance) == pytest.approx(
        root_mean_squared_error(z, np.zeros_like(z)), rel=1e-9
    )


def test_scores_far_in_the_tails_are_finite_and_right():
    """Where a density underflows, and where a deviation is a millionth of the error."""
    truth, mean, variance = np.array([0.0, 50.0, -1e6]), np.zeros(3), np.array([1.0, 1.0, 1.0])
    assert metrics.nll(truth, mean, variance) == pytest.approx(-stats.norm.logpdf(truth).mean(), rel=1e-12)
    # Far from the mean the CRPS is the absolute error less s / sqrt(pi).
    each = metrics.crps_of_each(truth, mean, variance)
    np.testing.assert_allclose(each[1:], np.abs(truth[1:]) - 1 / math.sqrt(math.pi), rtol=1e-12)
    assert metrics.crps(truth, mean, variance) == each.mean()


def test_values_known_for_certain_do_not_spoil_the_others():
    truth, mean, variance = np.array([1.0, 2.0, 3.0]), np.array([1.0, 5.0, 2.0]), np.array([0.0, 0.0, 4.0])
    lone = metrics.crps([3.0], [2.0], [4.0])
    np.testing.assert_allclose(metrics.crps_of_each(truth, mean, variance), [0, 3, lone])
    assert metrics.nll(truth[[0, 2]], mean[[0, 2]], variance[[0, 2]]) == -math.inf
    assert metrics.nll(truth[1:], mean[1:], variance[1:]) == math.inf


def test_float32_is_scored_in_float64():
    truth = np.full(10**6, 4000.1, np.float32)
    assert metrics.bias(truth, truth + np.float32(0.01)) == pytest.approx(
        float(truth.astype("f8")[0] * -1 + np.float64((truth + np.float32(0.01))[0])), rel=1e-12
    )


def test_a_calibrated_prediction_scores_as_theory_says():
    rng = np.random.default_rng(0)
    truth, zero, one = rng.normal(size=200_000), np.zeros(200_000), np.ones(200_000)
    assert metrics.coverage(truth, zero, one, 0.9) == pytest.approx(0.9, abs=0.003)
    assert metrics.standardised_rmse(truth, zero, one) == pytest.approx(1, abs=0.01)
    # E CRPS of N(0, 1) about itself is 1 / sqrt(pi); E NLL is its entropy.
    assert metrics.crps(truth, zero, one) == pytest.approx(1 / math.sqrt(math.pi), abs=0.005)
    assert metrics.nll(truth, zero, one) == pytest.approx(0.5 * math.log(2 * math.pi * math.e), abs=0.01)
    for wrong in (0.7, 1.4):
        assert metrics.crps(truth, zero, one * wrong**2) > metrics.crps(truth, zero, one)
        assert metrics.nll(truth, zero, one * wrong**2) > metrics.nll(truth, zero, one)
        assert metrics.interval_score(truth, zero, one * wrong**2, 0.9) > metrics.interval_score(
            truth, zero, one, 0.9
        )


@calm
@given(seeds, st.floats(0.01, 100))
def test_scores_follow_the_units(seed, factor):
    truth, mean, variance = sample(seed)
    scaled = truth * factor, mean * factor, variance * factor**2
    for name in ("rmse", "mae", "bias"):
        f = getattr(metrics, name)
        assert f(*scaled[:2]) == pytest.approx(factor * f(truth, mean), rel=1e-6, abs=1e-9 * factor)
    assert metrics.crps(*scaled) == pytest.approx(factor * metrics.crps(truth, mean, variance))
    assert metrics.nll(*scaled) == pytest.approx(metrics.nll(truth, mean, variance) + math.log(factor))
    assert metrics.standardised_rmse(*scaled) == pytest.approx(
        metrics.standardised_rmse(truth, mean, variance)
    )


def test_no_variance_at_all():
    right, wrong = ([1.0], [1.0], [0.0]), ([1.0], [3.0], [0.0])
    assert metrics.crps(*right) == 0
    assert metrics.crps(*wrong) == 2
    assert metrics.nll(*right) == -math.inf
    assert metrics.nll(*wrong) == math.inf
    assert metrics.standardised_rmse(*right) == 0
    assert metrics.standardised_rmse(*wrong) == math.inf
    assert metrics.coverage(*right, 0.9) == 1
    assert metrics.interval_score(*wrong, 0.9) == pytest.approx(40)


def test_impossible_arguments_are_refused():
    with pytest.raises(InputError, match=r"negative.*-1"):
        metrics.crps([0], [0], [-1.0])
    with pytest.raises(UsageError, match="90 %"):
        metrics.coverage([0], [0], [1], 90)


@pytest.mark.parametrize("shape", [(32, 40), (3, 24, 20), (1, 16, 16)])
def test_image_scores_agree_with_scikit_image(shape):
    rng = np.random.default_rng(0)
    truth = rng.random(shape)
    mean = np.clip(truth + rng.normal(0, 0.1, shape), 0, 1)
    axis = 0 if len(shape) == 3 else None
    reference = structural_similarity(truth, mean, data_range=1.0, channel_axis=axis)
    assert metrics.ssim(truth, mean, 1.0) == pytest.approx(reference)
    assert metrics.psnr(truth, mean, 1.0) == pytest.approx(
        peak_signal_noise_ratio(truth, mean, data_range=1.0)
    )


def test_structural_similarity_where_it_is_wanted():
    rng = np.random.default_rng(0)
    truth = rng.random((32, 32))
    mean = truth.copy()
    mean[:, 20:] = rng.random((32, 12))
    left = np.zeros((32, 32), bool)
    left[:, :12] = True
    assert metrics.ssim(truth, mean, 1.0, left) == pytest.approx(1)
    assert metrics.ssim(truth, mean, 1.0, ~left) < 0.6
    holey = np.where(rng.random((32, 32)) < 0.05, np.nan, truth)
    assert metrics.ssim(holey, mean, 1.0, left) == pytest.approx(1)
    unfinished = np.where(left, mean, np.nan)
    assert metrics.ssim(holey, unfinished, 1.0, left) == pytest.approx(1)
    assert metrics.ssim(truth[:6], mean[:6], 1.0) is None
    assert metrics.ssim(truth, mean, 0.0) is None
    assert metrics.ssim(truth, mean, 1.0, np.zeros((32, 32), bool)) is None
    assert metrics.psnr(truth, truth, 1.0) == math.inf


def test_score_gathers_every_score_of_the_pixels_chosen():
    truth, mean, variance = sample(1, (2, 20, 24))
    truth[0, 3, 3] = np.nan
    where = np.random.default_rng(0).random((20, 24)) < 0.5
    where[3, 3] = True
    chosen = np.broadcast_to(where, truth.shape) & np.isfinite(truth)
    t, m, v = truth[chosen], mean[chosen], variance[chosen]
    peak = np.nanmax(truth) - np.nanmin(truth)
    scores = metrics.score(truth, mean, variance, where)
    assert scores.as_dict() == {
        "count": 2 * where.sum() - 1,
        "rmse": metrics.rmse(t, m),
        "mae": metrics.mae(t, m),
        "bias": metrics.bias(t, m),
        "psnr": metrics.psnr(t, m, peak),
        "ssim": metrics.ssim(truth, mean, peak, chosen),
        "nll": metrics.nll(t, m, v),
        "crps": metrics.crps(t, m, v),
        "coverage50": metrics.coverage(t, m, v, 0.5),
        "coverage90": metrics.coverage(t, m, v, 0.9),
        "coverage95": metrics.coverage(t, m, v, 0.95),
        "interval_score90": metrics.interval_score(t, m, v, 0.9),
        "standardised_rmse": metrics.standardised_rmse(t, m, v),
    }
    bare = metrics.score(truth, mean, None, where, data_range=255)
    assert bare.psnr == metrics.psnr(t, m, 255)
    assert bare.rmse == scores.rmse
    assert {name for name, value in bare.as_dict().items() if value is None} == {
        "nll", "crps", "coverage50", "coverage90", "coverage95", "interval_score90", "standardised_rmse",
    }  # fmt: skip


def test_what_lies_outside_changes_no_error():
    truth, mean, variance = sample(2, (16, 16))
    where = np.zeros((16, 16), bool)
    where[4:9, 4:9] = True
    wild = np.where(where, mean, 1e9), np.where(where, variance, np.nan)
    plain, other = metrics.score(truth, mean, variance, where), metrics.score(truth, *wild, where)
    assert (plain.rmse, plain.crps, plain.psnr) == (other.rmse, other.crps, other.psnr)


def test_nothing_to_score_and_unfinished_predictions_are_refused():
    truth, mean, variance = sample(0, (8, 8))
    with pytest.raises(InputError, match="no known pixel"):
        metrics.score(truth, mean, variance, np.zeros((8, 8), bool))
    with pytest.raises(InputError, match="no known pixel"):
        metrics.score(truth * np.nan, mean, variance, np.ones((8, 8), bool))
    mean[0, 0] = np.nan
    with pytest.raises(InputError, match="1 of 64"):
        metrics.score(truth, mean, variance, np.ones((8, 8), bool))


def test_a_constant_truth_has_scores():
    scores = metrics.score(
        np.full((9, 9), 3.0), np.full((9, 9), 3.0), np.zeros((9, 9)), np.ones((9, 9), bool)
    )
    assert (scores.rmse, scores.crps, scores.ssim, scores.coverage90) == (0, 0, None, 1)


# --- ratios ---


def test_a_ratio_is_that_of_the_geometric_means():
    a, b = np.array([1.0, 2.0, 8.0]), np.array([2.0, 2.0, 2.0])
    ratio = metrics.geometric_ratio(a, b, np.random.default_rng(0))
    assert ratio.value == pytest.approx((16 / 8) ** (1 / 3))
    assert ratio.low <= ratio.value <= ratio.high
    assert ratio.pairs == 3


def test_the_interval_of_independent_crops_is_the_students_one():
    rng = np.random.default_rng(1)
    logs = rng.normal(-0.1, 0.3, 400)
    ratio = metrics.geometric_ratio(np.exp(logs), np.ones(400), rng)
    low, high = stats.t.interval(0.95, 399, logs.mean(), stats.sem(logs))
    assert (math.log(ratio.low), math.log(ratio.high)) == pytest.approx((low, high), abs=0.006)


def test_crops_of_one_block_count_as_one():
    rng = np.random.default_rng(1)
    blocks = np.repeat(np.arange(20), 30)
    logs = rng.normal(0, 0.3, 20)[blocks] + rng.normal(0, 0.01, 600)
    alone = metrics.geometric_ratio(np.exp(logs), np.ones(600), np.random.default_rng(0))
    together = metrics.geometric_ratio(np.exp(logs), np.ones(600), np.random.default_rng(0), blocks)
    assert together.value == alone.value
    # Thirty copies of each block: the honest interval is sqrt(30) times as wide.
    widened = math.log(together.high / together.low) / math.log(alone.high / alone.low)
    assert widened == pytest.approx(math.sqrt(30), rel=0.15)


def test_ties_of_zero_count_and_pairs_without_a_ratio_do_not():
    rng = np.random.default_rng(0)
    ratio = metrics.geometric_ratio([0, 4, 0, np.inf, 3], [0, 1, 1, 1, 0], rng)
    assert ratio.pairs == 2
    assert ratio.value == pytest.approx(2)
    with pytest.raises(InputError, match="compare"):
        metrics.geometric_ratio([0.0], [1.0], rng)


def test_one_block_has_no_interval_and_a_seed_has_one():
    one = metrics.geometric_ratio([1.0, 2.0], [1.0, 1.0], np.random.default_rng(0), blocks=["a", "a"])
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    first, second = (
        metrics.geometric_ratio([1.0, 2.0, 3.0], [1.0, 1.0, 2.0], np.random.default_rng(7)) for _ in range(2)
    )
    assert first == second
