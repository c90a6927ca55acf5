"""Factors on deviations: what hidden observations say, drawn to one where they are few, by distance in gaps."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from geonp.methods.calibration import UNCALIBRATED, Calibration

Array = NDArray[np.float64]


def sizes(count: int, wrong: float = 1.0, seed: int = 0) -> Array:
    """Errors over deviations that are `wrong` times too small."""
    return wrong * np.abs(np.random.default_rng(seed).normal(size=count))


def test_one_factor_is_the_ninetieth_percentile_shrunk() -> None:
    size, count = sizes(2000, 1.7), 2000
    found = Calibration.learnt(size, np.ones(count), np.arange(count), graded=False)
    wide = np.quantile(size, 0.9) / 1.6448536
    assert found.distances == (1.0,)
    assert found.factors[0] == pytest.approx(wide ** (count / (count + 300)), rel=2e-3)
    few = Calibration.learnt(size[:20], np.ones(20), np.arange(20), graded=False)
    assert abs(np.log(few.factors[0])) < 0.1 * np.log(1.7)


def test_far_from_data_has_a_factor_of_its_own() -> None:
    """Right near the data, twice too sure beyond 16 pixels, told by forty gaps."""
    rng = np.random.default_rng(1)
    distance = np.exp(rng.uniform(0, np.log(40), 8000))
    group = rng.integers(40, size=8000)
    size = np.where(distance > 16, 2.0, 1.0) * sizes(8000)
    found = Calibration.learnt(size, distance, group, graded=True)
    near, far = found.at(np.array([1.0, 40.0]))
    assert near == pytest.approx(1.0, abs=0.1)
    assert far == pytest.approx(2.0, abs=0.25)
    assert all(b >= 1.5 * a for a, b in zip(found.distances, found.distances[1:], strict=False))
    # Told by one gap alone, it is hardly news.
    one = Calibration.learnt(size, distance, np.zeros(8000, np.int64), graded=True)
    assert near < one.at(np.array([40.0]))[0] < far - 0.3


def test_factors_are_linear_in_the_logarithm_of_the_distance() -> None:
    found = Calibration((2.0, 8.0), (1.0, 4.0))
    np.testing.assert_allclose(found.at(np.array([0.0, 2.0, 4.0, 8.0, 90.0])), [1, 1, 2, 4, 4])
    observed = np.zeros((5, 30), bool)
    observed[2, 1] = observed[0, 0] = True
    rows, cols = np.indices(observed.shape)
    away = np.minimum(np.hypot(rows - 2, cols - 1), np.hypot(rows, cols))
    np.testing.assert_allclose(found.over(observed), found.at(away))
    np.testing.assert_allclose(found.over(np.zeros((3, 3), bool)), 4.0)


def test_a_window_with_its_surroundings_is_calibrated_as_the_whole() -> None:
    """Distances are told apart no farther than windows are read around them."""
    rng = np.random.default_rng(2)
    distance = np.linspace(1, 300, 3000)
    found = Calibration.learnt(
        sizes(3000) * distance**0.2, distance, rng.integers(50, size=3000), graded=True
    )
    assert found.distances[-1] <= 96
    observed = rng.random((40, 600)) < 0.3
    observed[:, 100:480] = False
    whole = found.over(observed)
    np.testing.assert_allclose(found.over(observed[:, 104:396])[:, 96:-96], whole[:, 200:300])


def test_factors_are_told_in_words() -> None:
    assert str(UNCALIBRATED) == "1.0000"
    assert str(Calibration((1.0, 12.5), (1.05, 1.2))) == "1.0500 at 1 pixels, 1.2000 at 12.5 pixels"
