"""Where to survey next: gains against kriging with the site added, greedy order, masks, costs, distances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.criteria import Variance
from geonp.kriging.gains import Gains
from geonp.kriging.lattice import Lattice
from geonp.kriging.solver import Solver
from geonp.kriging.update import Surveyed
from geonp.methods.kriging import Kriging
from geonp.predict import complete
from geonp.suggestion import suggest

COVARIANCE = Covariance((Structure("matern32", 2500.0, 900.0, angle=20, ratio=0.6),), 9.0)
KRIGED = Kriging(covariance=COVARIANCE)


def variances(seen: np.ndarray, step: tuple[float, float], covariance: Covariance = COVARIANCE) -> np.ndarray:
    """Ordinary kriging variance of the latent field at all pixels, by one bordered system."""
    shape = seen.shape
    places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1).reshape(
        -1, 2
    ) * np.array(step)
    own = places[seen.ravel()]
    k = covariance(own, own) + covariance.nugget * np.eye(len(own))
    a = np.block([[k, np.ones((len(k), 1))], [np.ones((1, len(k))), np.zeros((1, 1))]])
    b = np.vstack([covariance(own, places), np.ones(len(places))])
    found = covariance.sill - (b * np.linalg.solve(a, b)).sum(0)
    return np.where(seen, 0, found.reshape(shape))


def sparse(shape: tuple[int, int], share: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < share


def gains_on(lattice: Lattice, seen: np.ndarray) -> Gains:
    surveyed = Surveyed(lattice, (-90.0, 80.0), Solver(COVARIANCE), *np.nonzero(seen))
    return Gains(surveyed, Variance(np.ones(lattice.nodes)), np.zeros(lattice.nodes))


def gains_of(seen: np.ndarray, stride: int, halo: int) -> Gains:
    return gains_on(Lattice(seen.shape, stride, halo), seen)


def test_gains_are_what_kriging_with_the_site_added_says() -> None:
    seen = sparse((20, 22), 0.08)
    gains = gains_of(seen, 1, 24)
    before = variances(seen, (-90.0, 80.0))
    np.testing.assert_allclose(gains.variance, before, atol=1e-6)
    rng = np.random.default_rng(1)
    for row, col in rng.permutation(np.argwhere(~seen))[:6]:
        added = seen.copy()
        added[row, col] = True
        after = variances(added, (-90.0, 80.0))
        # The site itself keeps an error as long as it has a nugget: count it as the formula does.
        v = before[row, col]
        expected = before.sum() - after.sum() - (v - v**2 / (v + 9.0))
        assert gains.gain[row, col] == pytest.approx(expected, rel=1e-6)


def test_taking_a_site_updates_as_kriging_anew_would() -> None:
    seen = sparse((20, 22), 0.08)
    gains = gains_of(seen, 1, 24)
    for row, col in ((3, 4), (10, 15), (11, 15)):
        seen[row, col] = True
        gains.take(np.array([[row, col]]))
    np.testing.assert_allclose(gains.variance, variances(seen, (-90.0, 80.0)), atol=1e-6)
    np.testing.assert_allclose(gains.gain, gains_of(seen, 1, 24).gain, rtol=1e-9)
    rows, cols = np.argwhere(~seen)[100:103].T
    at, variance = gains.at(rows, cols)
    np.testing.assert_allclose(at, gains.gain[rows, cols], rtol=1e-9)
    np.testing.assert_allclose(variance, gains.variance[rows, cols], rtol=1e-9)


def test_tiles_with_their_halo_come_close_to_the_whole() -> None:
    seen = sparse((96, 80), 0.1, 3)
    lattice = Lattice.of(seen.shape, 0.1)
    assert lattice.stride == 1
    assert lattice.halo == 9
    gains = gains_on(lattice, seen)
    exact = variances(seen, (-90.0, 80.0))
    free = ~seen
    assert np.abs(gains.variance[free] / exact[free] - 1).mean() < 0.01
    row, col = np.unravel_index(np.argmax(gains.gain), gains.gain.shape)
    added = seen.copy()
    added[row, col] = True
    v = exact[row, col]
    expected = exact.sum() - variances(added, (-90.0, 80.0)).sum() - (v - v**2 / (v + 9))
    assert gains.gain[row, col] == pytest.approx(expected, rel=0.03)


def test_a_coarse_lattice_covers_the_raster() -> None:
    lattice = Lattice.of((103, 97), 0.002)
    assert lattice.stride == 5
    assert lattice.nodes == (21, 19)
    seen = sparse((103, 97), 0.002, 1)
    gains = gains_on(lattice, seen)
    exact = variances(seen, (-90.0, 80.0))[lattice.first :: 5, lattice.first :: 5]
    np.testing.assert_allclose(gains.variance, exact, rtol=0.05, atol=1)


def test_the_first_sites_are_the_best_there_are(survey: xr.DataArray) -> None:
    field = survey[:24, :24]
    sites = suggest(field, 3, KRIGED, stationary=True)
    step = (-90.0, 90.0)
    seen = np.isfinite(field.values)

    def total(observed: np.ndarray) -> float:
        return float(variances(observed, step).sum())

    best = min(np.argwhere(~seen).tolist(), key=lambda at: total(seen | _one(seen.shape, at)))
    left = total(seen | _one(seen.shape, best))
    chosen = total(seen | _one(seen.shape, (sites[0].row, sites[0].col)))
    before = total(seen)
    assert before - chosen > 0.97 * (before - left)
    assert [site.rank for site in sites] == [1, 2, 3]
    assert sites[0].left > sites[1].left > sites[2].left > 0
    assert sites[1].gain == pytest.approx(sites[0].left - sites[1].left)
    assert sites[0].std ** 2 == pytest.approx(variances(seen, step)[sites[0].row, sites[0].col] + 9, rel=0.02)
    x, y = field.odc.geobox.affine * (sites[0].col + 0.5, sites[0].row + 0.5)
    assert (sites[0].x, sites[0].y) == (x, y)


def _one(shape: tuple[int, int], at: tuple[int, int]) -> np.ndarray:
    out = np.zeros(shape, bool)
    out[tuple(at)] = True
    return out


def test_a_batch_spreads_and_lowers_the_variance_more_than_chance(survey: xr.DataArray) -> None:
    thin = survey.where(np.random.default_rng(5).random(survey.shape) < 0.12)
    sites = suggest(thin, 25, KRIGED, stationary=True)
    places = {(site.row, site.col) for site in sites}
    assert len(places) == 25
    assert all(np.isnan(thin.values[place]) for place in places)

    def left(rows: list[int], cols: list[int]) -> float:
        more = thin.copy(deep=True)
        more.values[rows, cols] = 900.0
        return float(complete(more, KRIGED)["variance"].mean())

    chosen = left([s.row for s in sites], [s.col for s in sites])
    rng = np.random.default_rng(0)
    free = np.argwhere(np.isnan(thin.values))
    chance = np.mean([left(*free[rng.permutation(len(free))[:25]].T) for _ in range(3)])
    before = float(complete(thin, KRIGED)["variance"].mean())
    assert before - chosen > 1.4 * (before - chance)


def test_masks_costs_and_distances(survey: xr.DataArray) -> None:
    field = survey[:48, :48]
    mask = field.copy(data=np.ones(field.shape, "f4"))
    mask[:, 30:] = 0
    sites = suggest(field, 5, KRIGED, mask=mask)
    assert all(site.col >= 30 for site in sites)
    cost = field.copy(data=np.full(field.shape, 100.0, "f4"))
    cost[:, :10] = 1.0
    cost[20:, :] = np.nan
    sites = suggest(field, 5, KRIGED, cost=cost)
    assert all(site.col < 10 and site.row < 20 and site.cost == 1 for site in sites)
    sites = suggest(field, 6, KRIGED, min_distance=1000.0)
    for a in sites:
        for b in sites[: a.rank - 1]:
            assert math.hypot(a.row - b.row, a.col - b.col) * 90 >= 1000
    with pytest.warns(GeonpWarning, match="there is room for"):
        assert 1 <= len(suggest(field, 20, KRIGED, min_distance=3000.0)) < 20


def test_refusals(survey: xr.DataArray) -> None:
    field = survey[:16, :16]
    missing = int(np.isnan(field.values).sum())
    with pytest.raises(InputError, match=f"{missing} of 256 pixels"):
        suggest(field, missing + 1, KRIGED)
    with pytest.raises(UsageError, match="0 sites"):
        suggest(field, 0, KRIGED)
    with pytest.raises(UsageError, match="--min-distance"):
        suggest(field, 1, KRIGED, min_distance=-1)
    with pytest.raises(UsageError, match="--band 1"):
        suggest(xr.concat([field, field], "band"), 1, KRIGED)
    with pytest.raises(InputError, match="rio warp"):
        suggest(field, 1, KRIGED, mask=survey[:15, :16])
    with pytest.raises(InputError, match="lies elsewhere"):
        suggest(field, 1, KRIGED, cost=survey[16:32, :16])
    with pytest.raises(InputError, match="costs are positive"):
        suggest(field, 1, KRIGED, cost=field.copy(data=np.zeros(field.shape, "f4")))
    with pytest.raises(InputError, match="no pixel is observed"):
        suggest(field * np.nan, 1, KRIGED)
    with pytest.raises(InputError, match="at least three different"):
        suggest(field * 0 + 1, 1, KRIGED)
