"""The local scale: a mean by hand, sites where the ground is rough, observations that err."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.criteria import Variance, local_scale
from geonp.kriging.lattice import Lattice
from geonp.kriging.solver import Solver
from geonp.kriging.update import Surveyed
from geonp.methods.kriging import Kriging
from geonp.suggestion import suggest

COVARIANCE = Covariance((Structure("matern32", 900.0, 900.0),), 4.0)


def test_the_scale_is_a_weighted_mean_of_squares() -> None:
    squares, counts = np.zeros((2, 40, 40))
    squares[18, 20], counts[18, 20] = 9.0, 1
    squares[22, 25], counts[22, 25] = 0.5, 2
    found = local_scale(squares, counts, 3.0, 4.0)
    near = [math.exp(-(down**2 + across**2) / 18) for down, across in ((0, 0), (4, 5))]
    expected = (near[0] * 9 + near[1] * 0.5 + 4) / (near[0] + 2 * near[1] + 4)
    assert found[18, 20] == pytest.approx(expected, rel=0.01)
    assert found[2, 2] == pytest.approx(1)  # far from everything the covariance is believed


def test_rough_ground_gets_more_sites() -> None:
    rng = np.random.default_rng(2)
    shape = (48, 48)
    rows, cols = np.indices(shape) * 30.0
    places = np.stack([rows.ravel(), cols.ravel()], 1)
    rough = Covariance((Structure("matern32", 900.0, 200.0),), 0.01)
    c = rough(places, places) + 1e-3 * np.eye(rows.size)
    truth = (np.linalg.cholesky(c) @ rng.standard_normal(rows.size)).reshape(shape)
    truth *= 0.15 + 1.35 / (1 + np.exp(-(cols - cols.mean()) / 90))  # flat in the west, rough in the east
    seen = rng.random(shape) < 0.05
    field = xr.DataArray(
        np.where(seen, truth, np.nan).astype("f4"), {"y": -rows[:, 0], "x": cols[0]}, ("y", "x")
    )
    method = Kriging(covariance=rough)
    with pytest.warns(match="coordinate reference"):
        scaled = suggest(field, 20, method)
    with pytest.warns(match="coordinate reference"):
        stationary = suggest(field, 20, method, stationary=True)
    east = [sum(site.col >= 24 for site in sites) for sites in (scaled, stationary)]
    assert east[0] >= 15
    assert east[0] > east[1] + 2
    deviations = {side: [s.std for s in scaled if (s.col >= 24) == side] for side in (True, False)}
    assert not deviations[False] or np.mean(deviations[True]) > np.mean(deviations[False])


def test_the_criterion_weighs_the_falls() -> None:
    criterion = Variance(np.array([[1.0, 2.0], [0.5, 0.0]]))
    assert criterion.total(np.array([[1.0, 1.0], [4.0, 9.0]])) == 5
    found = criterion.worth(np.array([1, 2]), np.array([1.0, 1.0]), np.array([[0.5, 0.5], [1.0, 0.0]]))
    np.testing.assert_allclose(found, [1.25, 2.0])


def test_observations_that_err_leave_more_to_be_gained(survey: xr.DataArray) -> None:
    seen = np.random.default_rng(0).random((14, 12)) < 0.1
    lattice, rows, cols = Lattice(seen.shape, 1, 24), *np.nonzero(seen)
    stated = np.linspace(0, 400, len(rows)).astype("f4")
    exact = Surveyed(lattice, (-90.0, 90.0), Solver(COVARIANCE), rows, cols).variances()
    found = Surveyed(lattice, (-90.0, 90.0), Solver(COVARIANCE), rows, cols, stated).variances()
    every = np.stack(np.meshgrid(np.arange(14), np.arange(12), indexing="ij"), -1).reshape(-1, 2) * 90.0
    c = COVARIANCE(every, every)
    own, n = seen.ravel(), len(rows)
    a = np.ones((n + 1, n + 1))
    a[:n, :n], a[n, n] = c[np.ix_(own, own)] + np.diag(4.0 + stated), 0
    b = np.vstack([c[own], np.ones(len(c))])
    expected = (c - b.T @ np.linalg.solve(a, b)).diagonal()
    np.testing.assert_allclose(found.ravel()[~own], expected[~own], rtol=1e-6)
    assert (found >= exact - 1e-9).all()
    sure, unsure = (
        suggest(survey[:24, :24], 1, Kriging(covariance=COVARIANCE, errors=e)) for e in (None, 30.0)
    )
    assert unsure[0].gain != sure[0].gain
