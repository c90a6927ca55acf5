"""Steepness: planes, slopes by hand, and what does not matter to it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from geonp.designs.aim import Aim
from geonp.designs.roughness import steepness
from geonp.field import as_field, summarise
from geonp.kriging.covariance import Covariance, Structure
from geonp.methods.kriging import Kriging


def test_a_plane_is_as_steep_everywhere() -> None:
    rows, cols = np.indices((9, 12))
    found = steepness(3.0 * rows - 2.0 * cols, (-30.0, 30.0), 1.5)
    np.testing.assert_allclose(found, 1.01 ** (1 / 3))
    np.testing.assert_array_equal(steepness(np.full((5, 4), 7.0), (30.0, 30.0), 1.0), 1.0)


def test_slopes_by_hand() -> None:
    mean = np.zeros((60, 40))
    mean[40:] = 8.0 * np.arange(20)[:, None]  # flat, then 8 a row
    found = steepness(mean, (-2.0, 5.0), 1.0)
    # Squared slopes: 16 on the incline, 4 on its edge (central differences), 0 on the flat.
    usual = (19 * 16 + 4) / 60
    assert found[55, 3] == pytest.approx((16 / usual + 0.01) ** (1 / 3), rel=1e-6)
    assert found[5, 30] == pytest.approx(0.01 ** (1 / 3), rel=1e-6)
    np.testing.assert_allclose(steepness(50 + 0.2 * mean, (-2.0, 5.0), 1.0), found)
    np.testing.assert_allclose(steepness(mean.T, (5.0, 2.0), 1.0), found.T)
    np.testing.assert_allclose(steepness(mean[:, :1], (-2.0, 5.0), 1.0), found[:, :1])


def test_the_scale_is_larger_where_the_map_is_steep_and_one_where_it_was_measured() -> None:
    rng = np.random.default_rng(5)
    rows, cols = np.indices((60, 60)) * 30.0
    truth = 400 / (1 + np.exp(-(cols - 900) / 90))  # a step between two plains
    seen = rng.random(truth.shape) < 0.04
    field = as_field(
        xr.DataArray(np.where(seen, truth, np.nan).astype("f4"), {"y": -rows[:, 0], "x": cols[0]}, ("y", "x"))
    )
    ready = Kriging(covariance=Covariance((Structure("matern32", 9000.0, 400.0),), 1.0)).prepare(field)
    aim = Aim.of(field, ready, None, False, summarise(field))
    square, stride = np.square(aim.scale), aim.gains.lattice.stride
    middle = slice(24 // stride, 36 // stride)
    assert square[:, middle].mean() > 3 * square[:, : 8 // stride].mean()
    even = Aim.of(field, ready, None, True, summarise(field))
    np.testing.assert_array_equal(even.scale, 1)
