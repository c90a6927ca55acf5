"""What may be told to a fit: error variances, families with a number of their own, an anisotropy."""

import numpy as np
import pytest

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.fit import Settings, fit_covariance, fit_grid
from geonp.kriging.scattered import PointKriging, krige

QUICK = Settings(families=("exponential", "matern32"), nested=False, terms=300)


def simulated(model, count=500, extent=300.0, seed=4):
    rng = np.random.default_rng(seed)
    coords = rng.uniform(0, extent, (count, 2))
    root = np.linalg.cholesky(model(coords, coords) + 1e-9 * np.eye(count))
    return coords, root @ rng.standard_normal(count), rng


def test_error_variances_are_not_taken_for_the_nugget():
    model = Covariance((Structure("exponential", 4.0, 30.0),), 0.0)
    coords, values, rng = simulated(model)
    errors = rng.choice([0.01, 4.0], len(values))
    noisy = values + np.sqrt(errors) * rng.standard_normal(len(values))
    plain, told = (
        fit_covariance(coords, noisy, seed=0, errors=e, settings=QUICK).covariance for e in (None, errors)
    )
    assert plain.nugget > 1.2
    assert told.nugget < 0.3
    # Sill and range vary together from sample to sample; how steeply the variogram rises does not.
    assert told.sill / told.structures[0].range == pytest.approx(4 / 30, rel=0.25)
    even = fit_covariance(coords, noisy, seed=0, errors=np.full(len(values), 1.0), settings=QUICK).covariance
    assert even.nugget == pytest.approx(plain.nugget - 1.0, abs=0.15)


def test_error_variances_reach_the_rehearsal_and_krige():
    model = Covariance((Structure("exponential", 4.0, 30.0),), 0.0)
    coords, values, rng = simulated(model, 400)
    errors = rng.choice([0.01, 4.0], len(values))
    noisy = values + np.sqrt(errors) * rng.standard_normal(len(values))
    hole = np.hypot(*(coords - 150).T) < 60
    targets = np.random.default_rng(0).uniform(120, 180, (50, 2))
    some = coords[~hole], noisy[~hole]
    fit = fit_covariance(*some, seed=0, targets=targets, errors=errors[~hole], settings=QUICK)
    assert fit.rehearsal is not None
    assert 0.8 < fit.candidates[0].coverage < 0.98
    found = krige(*some, targets, errors=errors[~hole])
    assert found.covariance.nugget < 0.5
    with pytest.raises(InputError, match=r"error variances are \(N,\) with N = 400"):
        fit_covariance(coords, noisy, seed=0, errors=-errors)


@pytest.mark.parametrize(("nu", "bounds"), [(0.5, (0.35, 0.7)), (1.5, (1.0, 2.3))])
def test_smoothness_is_found(nu, bounds):
    coords, values, _ = simulated(Covariance((Structure("matern", 2.0, 25.0, nu=nu),), 0.0), 900)
    fit = fit_covariance(coords, values, seed=0, settings=Settings(("matern",), nested=False, terms=500))
    (structure,) = fit.covariance.structures
    assert bounds[0] < structure.nu < bounds[1]
    assert structure.range == pytest.approx(25.0, rel=0.6)


def test_exponent_of_a_power_variogram_is_found():
    truth = Covariance((Structure("power", 0.02, 2000.0, exponent=1.4),), 0.0)
    coords, values, _ = simulated(truth)
    fit = fit_covariance(coords, values, seed=0, settings=Settings(("power",), nested=False))
    (structure,) = fit.covariance.structures
    assert structure.exponent == pytest.approx(1.4, abs=0.15)
    lag = np.array([2.0, 10.0, 40.0])
    np.testing.assert_allclose(fit.covariance.variogram(lag), truth.variogram(lag), rtol=0.35)
    assert not fit.alarms


def test_an_anisotropy_that_is_given_is_held():
    model = Covariance((Structure("matern32", 2.0, 40.0, angle=60.0, ratio=0.4),), 0.01)
    coords, values, _ = simulated(model)
    held = fit_covariance(coords, values, seed=0, settings=Settings(terms=500, stretch=(60.0, 0.4)))
    assert {
        (round(s.angle, 9), round(s.ratio, 9)) for c in held.candidates for s in c.covariance.structures
    } == {(60.0, 0.4)}
    free = fit_covariance(coords, values, seed=0, settings=Settings(terms=500))
    assert held.log_likelihood == pytest.approx(free.log_likelihood, abs=6)
    wrong = fit_covariance(coords, values, seed=0, settings=Settings(terms=500, stretch=(150.0, 0.4)))
    assert wrong.log_likelihood < held.log_likelihood - 20
    few = fit_covariance(coords[:5], values[:5], seed=0, settings=Settings(stretch=(60.0, 0.4)))
    assert few.covariance.structures[0].ratio == 0.4
    with pytest.raises(UsageError, match="no fixed direction on the globe"):
        fit_covariance(
            coords / 10, values, seed=0, metric="great-circle", settings=Settings(stretch=(60.0, 0.4))
        )


def test_a_nested_sum_is_more_than_one_structure_and_a_nugget():
    coords, values, _ = simulated(Covariance((Structure("matern32", 2.0, 40.0),), 0.0))
    fit = fit_covariance(coords, values, seed=0)
    lag = np.geomspace(3, 300, 30)
    for c in fit.candidates:
        total = c.covariance.variogram(lag)
        for s in c.covariance.structures:
            part = Covariance((s,), 0.0).variogram(lag)
            assert float((part / total).max()) > 0.01


@pytest.mark.parametrize("corner", [(0, 0), (150, 200)])
def test_a_small_tile_of_terrain_raises_no_alarm(jacksboro, corner):
    row, col = corner
    tile = jacksboro[row : row + 64, col : col + 64].astype("f4")
    tile[np.random.default_rng(0).random(tile.shape) > 0.125] = np.nan
    assert not fit_grid(tile, (-30.0, 30.0), seed=0).alarms


def test_ranges_in_degrees_are_not_taken_for_metres():
    rng = np.random.default_rng(0)
    metres = rng.uniform([5_300_000, 600_000], [5_305_000, 605_000], (50, 2))
    degrees = rng.uniform([47.0, 11.0], [47.1, 11.1], (50, 2))
    near, far = (Covariance((Structure("exponential", 1.0, r),), 0.1) for r in (0.02, 2000.0))
    with pytest.warns(GeonpWarning, match=r"range of the covariance.*a degree of latitude is 111 km"):
        PointKriging.of(metres, metres[:, 0], near)
    with pytest.warns(GeonpWarning, match=r"look like degrees: give the covariance metric='great-circle'"):
        PointKriging.of(degrees, degrees[:, 0], far)
    for coords, model in ((metres, far), (degrees, near)):
        PointKriging.of(coords, coords[:, 0], model)
