"""Block bootstrap on one raster: sums by hand, and intervals that hold what they promise."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from geonp import metrics
from geonp.metrics import Ratio
from geonp.resampling import Blocks, block_side, ratio_of_blocks

SHAPE = (96, 128)


def test_blocks_sum_up_to_the_scores() -> None:
    rng = np.random.default_rng(0)
    truth, mean = rng.normal(size=(2, 3, 20, 31)).astype("f4")
    variance = rng.uniform(0.5, 2, (3, 20, 31)).astype("f4")
    truth[0, 4, 5] = np.nan
    where = rng.random((20, 31)) < 0.7
    blocks = Blocks.of(truth, mean, variance, where, 8)
    chosen = np.broadcast_to(where, truth.shape) & np.isfinite(truth)
    t, m, v = truth[chosen], mean[chosen], variance[chosen]
    assert blocks.count.sum() == chosen.sum()
    assert len(blocks.count) == 3 * 4
    assert blocks.squared.sum() / chosen.sum() == pytest.approx(metrics.rmse(t, m) ** 2)
    assert blocks.crps.sum() / chosen.sum() == pytest.approx(metrics.crps(t, m, v))
    first = chosen[:, :8, :8]
    assert blocks.count[0] == first.sum()
    error = truth[:, :8, :8][first].astype("f8") - mean[:, :8, :8][first]
    assert blocks.squared[0] == pytest.approx((error**2).sum())
    assert Blocks.of(truth, mean, None, where, 8).crps is None


def test_the_interval_is_as_wide_as_ratios_vary_from_raster_to_raster() -> None:
    """Errors that are correlated over 9 pixels: against 200 rasters drawn anew, and single pixels far too sure."""
    rng = np.random.default_rng(1)

    def errors() -> tuple[np.ndarray, np.ndarray]:
        common, own = (gaussian_filter(rng.normal(size=SHAPE), 3) for _ in range(2))
        return common + 0.6 * own, common

    zero, everywhere = np.zeros((1, *SHAPE)), np.ones(SHAPE, bool)
    logs, widths, naive = [], [], []
    for number in range(200):
        ours, reference = errors()
        logs.append(math.log(np.sqrt((ours**2).mean() / (reference**2).mean())))
        if number < 25:
            for side, found in ((16, widths), (1, naive)):
                pair = [[Blocks.of(e[None], zero, None, everywhere, side)] for e in (ours, reference)]
                ratio = ratio_of_blocks(*pair, "rmse", np.random.default_rng(0), resamples=400)
                assert math.log(ratio.value) == pytest.approx(logs[-1])
                found.append(math.log(ratio.high / ratio.low))
    true = 2 * 1.96 * np.std(logs)
    assert np.mean(widths) == pytest.approx(true, rel=0.25)
    assert np.mean(naive) < 0.3 * true


def test_blocks_are_as_wide_as_the_widest_gap() -> None:
    seen = np.ones((100, 160), bool)
    hidden = np.zeros_like(seen)
    hidden[10:12, 10:40] = True
    assert block_side(seen & ~hidden, hidden) == 20  # an eighth of the longer side
    hidden[30:70, 30:70] = True
    assert block_side(seen & ~hidden, hidden) == 40
    hidden[:, :150] = True
    assert block_side(seen & ~hidden, hidden) == 80  # half the longer side
    assert block_side(np.ones((1, 1), bool), np.ones((1, 1), bool)) == 1


def test_ratios_without_a_value_or_an_interval() -> None:
    def blocks(squared: list[float]) -> list[Blocks]:
        values = np.array(squared)
        return [Blocks(4, np.ones(values.size, int), values, None)]

    rng = np.random.default_rng(0)
    one = ratio_of_blocks(blocks([4.0]), blocks([1.0]), "rmse", rng)
    assert one.value == 2
    assert math.isnan(one.low)
    tie = ratio_of_blocks(blocks([0, 0]), blocks([0, 0]), "rmse", rng)
    assert isinstance(tie, Ratio)
    assert tie.value == 1
    assert ratio_of_blocks(blocks([1.0]), blocks([0.0]), "rmse", rng) is None
    assert ratio_of_blocks(blocks([1.0]), blocks([1.0]), "crps", rng) is None
    same = [
        ratio_of_blocks(blocks([1, 2, 5]), blocks([2, 2, 2]), "rmse", np.random.default_rng(9)) for _ in "ab"
    ]
    assert same[0] == same[1]
