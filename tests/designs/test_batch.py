"""Batches: a site taken back and exchanged, against kriging's errors by plain linear algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

from geonp.designs import batch, sites
from geonp.designs.ground import Ground
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.criteria import Criterion, Misclassified, Variance
from geonp.kriging.gains import Gains
from geonp.kriging.lattice import Lattice
from geonp.kriging.solver import Solver
from geonp.kriging.update import Surveyed
from geonp.methods.kriging import Kriging
from geonp.suggestion import suggest

from .exact import errors

COVARIANCE = Covariance((Structure("matern32", 2500.0, 900.0, angle=20, ratio=0.6),), 4.0)
STEP = (-90.0, 80.0)
SHAPE = (13, 14)


@pytest.fixture
def seen() -> np.ndarray:
    return np.random.default_rng(7).random(SHAPE) < 0.06


def gains_of(seen: np.ndarray, stride: int = 1, threshold: bool = False) -> Gains:
    lattice = Lattice(seen.shape, stride, 24)
    surveyed = Surveyed(lattice, STEP, Solver(COVARIANCE), *np.nonzero(seen))
    prior = surveyed.variances()
    criterion: Criterion = Variance(1 + np.indices(lattice.nodes)[0] / 10)
    if threshold:
        criterion = Misclassified(0.1 + np.indices(lattice.nodes)[1] / 8, prior)
    return Gains(surveyed, criterion, prior)


def left(seen: np.ndarray, places: np.ndarray) -> float:
    """The integrated variance, weighted as above, with places observed; by one dense system."""
    more = seen.copy()
    more[tuple(places.T)] = True
    _, c = errors(more, np.zeros(SHAPE), STEP, COVARIANCE)
    variance = np.where(more, 0, c.diagonal().reshape(SHAPE))
    # What the nugget leaves of a site's own variance counts, as it does while it is imagined.
    for row, col in places:
        others = more.copy()
        others[row, col] = False
        _, c = errors(others, np.zeros(SHAPE), STEP, COVARIANCE)
        v = c.diagonal().reshape(SHAPE)[row, col]
        variance[row, col] = v * 4 / (v + 4)
    return float(((1 + np.indices(SHAPE)[0] / 10) * variance).sum())


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("threshold", [False, True])
def test_a_site_taken_back_leaves_the_gains_of_the_others(
    seen: np.ndarray, stride: int, threshold: bool
) -> None:
    gains = gains_of(seen, stride, threshold)
    before = gains.variance.copy(), gains.gain.copy()
    free = np.argwhere(~seen)
    places = free[[20, 60, 61, 110]]
    for place in places:
        gains.take(place[None])
    state = gains.release(places[1:3])
    expected = seen.copy()
    expected[tuple(places[[0, 3]].T)] = True
    anew = gains_of(expected, stride)
    np.testing.assert_allclose(gains.variance, anew.variance, rtol=1e-7, atol=1e-7)
    if not threshold:
        np.testing.assert_allclose(gains.gain, anew.gain, rtol=1e-7, atol=1e-6)
    gains.restore(places[1:3], state)
    assert gains.surveyed.observed[tuple(places.T)].all()
    gains.release(places)
    np.testing.assert_allclose(gains.variance, before[0], rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(gains.gain, before[1], rtol=1e-6, atol=1e-6)


def test_every_exchange_makes_the_batch_better(seen: np.ndarray) -> None:
    gains, ground = gains_of(seen), Ground(seen.copy(), np.ones(SHAPE, bool), None, STEP)
    start = np.argwhere(~seen)[[3, 4, 5, 40, 80]]  # a poor one
    for place in start:
        gains.take(place[None])
    found = batch.exchange(gains, ground, start, 0.0)
    assert left(seen, found) < left(seen, start)
    assert len(np.unique(found, axis=0)) == len(start)
    assert not seen[tuple(found.T)].any()
    # The last one was moved last: by brute force there is no better place for it given the others.
    best = min(
        (
            left(seen, np.vstack([found[:-1], at]))
            for at in np.argwhere(~seen)
            if not (at == found[:-1]).all(1).any()
        ),
    )
    assert left(seen, found) == pytest.approx(best, rel=1e-3)


def test_suggested_batches_beat_greedy_ones(survey: xr.DataArray, monkeypatch: pytest.MonkeyPatch) -> None:
    thin = survey[:40, :40].where(np.random.default_rng(3).random((40, 40)) < 0.08)
    method = Kriging(covariance=COVARIANCE)
    exchanged = suggest(thin, 8, method)
    monkeypatch.setattr(batch, "choose", sites.choose)
    greedy = suggest(thin, 8, method)
    assert exchanged[-1].left < greedy[-1].left
    assert [site.rank for site in exchanged] == list(range(1, 9))
    assert sum(site.gain for site in exchanged) == pytest.approx(1 - exchanged[-1].left)
    assert exchanged[0].gain == max(site.gain for site in exchanged)


def test_exchanged_sites_keep_off_the_mask_and_apart(survey: xr.DataArray) -> None:
    thin = survey[:40, :40].where(np.random.default_rng(3).random((40, 40)) < 0.05)
    mask = thin.copy(data=np.zeros(thin.shape, "f4"))
    mask[10:22, 8:30] = 1
    found = suggest(thin, 8, Kriging(covariance=COVARIANCE), mask=mask, min_distance=700.0)
    for one in found:
        assert not (10 <= one.row < 22 and 8 <= one.col < 30)
        assert np.isnan(thin.values[one.row, one.col])
        for other in found[: one.rank - 1]:
            assert math.hypot(one.row - other.row, one.col - other.col) * 90 >= 700


def test_a_dear_site_is_exchanged_for_a_cheap_one(seen: np.ndarray) -> None:
    gains, price = gains_of(seen), np.ones(SHAPE)
    price[:, 7:] = 1000.0
    ground = Ground(seen.copy(), np.ones(SHAPE, bool), price, STEP)
    start = np.argwhere(~seen & (price > 1))[[5, 30]]
    for place in start:
        gains.take(place[None])
    assert (batch.exchange(gains, ground, start, 0.0)[:, 1] < 7).all()
