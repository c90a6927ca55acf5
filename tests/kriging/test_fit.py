import dataclasses
import math

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from geonp.errors import InputError, UsageError
from geonp.kriging.conditioning import surrounding_sets
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.fit import Settings, fit_covariance, fit_grid
from geonp.kriging.holdout import HoldOut, score
from geonp.kriging.survey import Block


def simulate(model, coords, seed=0):
    matrix = model(coords, coords) + (model.nugget + 1e-9) * np.eye(len(coords))
    return np.linalg.cholesky(matrix) @ np.random.default_rng(seed).standard_normal(len(coords))


def scattered(count=400, side=100.0, seed=0):
    return np.random.default_rng(seed).uniform(0, side, (count, 2))


QUICK = Settings(families=("exponential", "matern32"), nested=False, terms=300)


def told(fit_model, truth, seen, count=1000):
    """Krige missing pixels from their neighbours; return the score."""
    rng = np.random.default_rng(0)
    known, missing = np.argwhere(seen), np.argwhere(~seen & np.isfinite(truth))
    missing = missing[rng.permutation(len(missing))[:count]]
    places = np.concatenate([known, missing]).astype(float)
    values = truth[tuple(places.astype(int).T)]
    ends = np.arange(len(known), len(places))
    sets = surrounding_sets(places, ends, np.arange(len(known)), 40, rng)
    return score(
        fit_model, places, values, HoldOut(sets, ends, ends * 0.0, np.full(len(ends), 1 / len(ends)))
    )


def test_terrain_is_told_better_than_by_a_cubic_and_honestly(jacksboro):
    from scipy.interpolate import griddata

    truth = jacksboro[:200, :200].astype(float)
    seen = np.random.default_rng(0).random(truth.shape) < 0.125
    fit = fit_grid(np.where(seen, truth, np.nan), (1.0, 1.0), seed=0)
    assert fit.rehearsal is None
    assert any("matern32" in c.name for c in fit.candidates[:2])
    found = told(fit.covariance, truth, seen)
    cubic = griddata(np.argwhere(seen), truth[seen], np.argwhere(~seen), method="cubic")
    cubic_rmse = math.sqrt(np.nanmean((cubic - truth[~seen]) ** 2))
    assert math.sqrt((found.error**2).mean()) < 0.95 * cubic_rmse
    assert (np.abs(found.error) < 1.645 * found.deviation).mean() == pytest.approx(0.9, abs=0.03)


def clouds(shape, share, seed):
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 8)
    return noise > np.quantile(noise, 1 - share)


def test_temperature_under_clouds_is_told_better_than_by_the_smooth_likelihood(data):
    import netCDF4

    with netCDF4.Dataset(data / "fields" / "gridmet_tmmx_20190121.nc") as source:
        field = np.ma.filled(np.squeeze(source["air_temperature"][:]).astype(float), np.nan)
    truth = field[150:350, 300:600]
    assert np.isfinite(truth).all()
    seen = ~clouds(truth.shape, 0.35, 1)
    fit = fit_grid(np.where(seen, truth, np.nan), (1.0, 1.0), seed=0)
    assert fit.rehearsal is not None
    assert fit.rehearsal.gap_share > 0.4
    smooth = next(c for c in fit.candidates if c.name == "matern32" and c.origin == "likelihood")
    ours, theirs = (told(m, truth, seen).crps.mean() for m in (fit.covariance, smooth.covariance))
    assert ours < 0.95 * theirs
    assert fit.candidates[0].crps <= min(c.crps for c in fit.candidates) * 1.1
    assert fit.reason


def test_true_parameters_are_found_with_an_anisotropy():
    truth = Covariance((Structure("exponential", 3.0, 15.0, angle=40.0, ratio=0.35),), 0.1)
    coords = scattered(900)
    fit = fit_covariance(coords, 7 + simulate(truth, coords), seed=0)
    s = fit.covariance.structures[0]
    lag = np.array([2.0, 5.0, 10.0])
    for direction in (40.0, 130.0):
        found, expected = (m.variogram(lag, direction) for m in (fit.covariance, truth))
        np.testing.assert_allclose(found, expected, rtol=0.3)
    assert (s.angle - 40 + 90) % 180 - 90 == pytest.approx(0, abs=12)
    assert fit.trend[0] == pytest.approx(7, abs=2)


def test_isotropic_data_get_no_anisotropy():
    truth = Covariance((Structure("exponential", 3.0, 15.0),), 0.1)
    ratios = []
    for seed in range(4):
        coords = scattered(300, seed=seed)
        ratios.append(
            fit_covariance(coords, simulate(truth, coords, seed), seed=0, settings=QUICK)
            .covariance.structures[0]
            .ratio
        )
    assert ratios.count(1.0) >= 3


def test_trend_coefficients_are_in_units_of_the_data():
    coords = scattered(300) + 1000
    rng = np.random.default_rng(1)
    height = rng.uniform(100, 900, 300)
    noise = 0.05 * simulate(Covariance((Structure("exponential", 1.0, 8.0),), 0.1), coords)
    values = 20 - 0.3 * coords[:, 0] + 0.2 * coords[:, 1] - 0.0065 * height + noise
    fit = fit_covariance(coords, values, seed=0, trend="linear", covariates=height[:, None], settings=QUICK)
    np.testing.assert_allclose(fit.trend, [20, -0.3, 0.2, -0.0065], rtol=0.02)
    assert fit.covariance.total_sill < 0.05


@pytest.mark.parametrize("scale", [1e-6, 1e5])
def test_units_of_values_and_lengths_carry_over(scale):
    coords, model = scattered(200), Covariance((Structure("matern32", 2.0, 12.0),), 0.05)
    values = simulate(model, coords)
    plain = fit_covariance(coords, values, seed=0, settings=QUICK)
    units = fit_covariance(coords * 30 - 7e4, 5 * scale + scale * values, seed=0, settings=QUICK)
    a, b = plain.covariance.structures[0], units.covariance.structures[0]
    assert b.range == pytest.approx(30 * a.range, rel=1e-3)
    assert b.sill == pytest.approx(scale**2 * a.sill, rel=1e-3)
    assert units.covariance.nugget == pytest.approx(scale**2 * plain.covariance.nugget, rel=1e-2)
    assert units.log_likelihood == pytest.approx(plain.log_likelihood - 200 * math.log(scale), abs=0.1)


def test_turning_the_grid_turns_the_angle():
    truth = Covariance((Structure("exponential", 1.0, 12.0, angle=20.0, ratio=0.3),), 0.01)
    places = np.argwhere(np.ones((28, 28))).astype(float)
    field = simulate(truth, places).reshape(28, 28)
    seen = np.random.default_rng(0).random(field.shape) < 0.5
    values = np.where(seen, field, np.nan)
    down = fit_grid(values, (1.0, 1.0), seed=0, settings=QUICK).covariance.structures[0]
    up = fit_grid(values, (-1.0, 1.0), seed=0, settings=QUICK).covariance.structures[0]
    assert down.angle == pytest.approx(20, abs=10)
    assert up.angle == pytest.approx(180 - down.angle, abs=2)
    assert up.range == pytest.approx(down.range, rel=0.05)


def test_same_seed_same_bytes_and_threads_do_not_matter():
    coords = scattered(250)
    values = simulate(Covariance((Structure("exponential", 1.0, 9.0),), 0.1), coords)
    fits = []
    for count in (1, 2):
        with threadpool_limits(count, user_api="blas"):
            fits.append(fit_covariance(coords, values, seed=3, settings=QUICK).covariance.to_json())
    assert fits[0] == fits[1]


def test_a_raster_in_blocks_is_fitted_like_the_whole():
    places = np.argwhere(np.ones((40, 40))).astype(float)
    field = simulate(Covariance((Structure("matern32", 1.0, 6.0),), 0.01), places).reshape(40, 40)
    values = np.where(np.random.default_rng(0).random(field.shape) < 0.3, field, np.nan)
    blocks = [Block(0, 0, values[:, :20]), Block(0, 20, values[:, 20:])]
    whole, parts = (fit_grid(v, (1.0, 1.0), seed=0, settings=QUICK).covariance for v in (values, blocks))
    assert parts.structures[0].range == pytest.approx(whole.structures[0].range, rel=0.25)


def test_targets_in_gaps_are_rehearsed_and_targets_among_data_are_not():
    rng = np.random.default_rng(0)
    coords = rng.uniform(0, 100, (500, 2))
    coords = coords[np.linalg.norm(coords - 50, axis=1) > 25]
    values = simulate(Covariance((Structure("exponential", 1.0, 20.0),), 0.01), coords)
    gap = fit_covariance(coords, values, seed=0, targets=rng.uniform(35, 65, (200, 2)), settings=QUICK)
    assert gap.rehearsal is not None
    assert gap.rehearsal.gap_share > 0.9
    assert gap.rehearsal.hidden_distance[0] == pytest.approx(gap.rehearsal.target_distance[0], rel=0.4)
    among = coords[:150] + rng.normal(0, 0.5, (150, 2))
    assert fit_covariance(coords, values, seed=0, targets=among, settings=QUICK).rehearsal is None


def test_gaps_wider_than_can_be_rehearsed_are_an_alarm():
    coords = scattered(150, side=10.0)
    values = simulate(Covariance((Structure("exponential", 1.0, 5.0),), 0.01), coords)
    fit = fit_covariance(coords, values, seed=0, targets=scattered(50, 10.0) + 500, settings=QUICK)
    assert any("rehearsed" in alarm for alarm in fit.alarms)


def test_globe():
    rng = np.random.default_rng(0)
    places = np.stack([rng.uniform(-60, 60, 300), rng.uniform(-180, 180, 300)], 1)
    truth = Covariance((Structure("exponential", 2.0, 2e6),), 0.1, "great-circle")
    fit = fit_covariance(places, simulate(truth, places), seed=0, metric="great-circle", settings=QUICK)
    assert fit.covariance.metric == "great-circle"
    assert fit.covariance.structures[0].ratio == 1
    lag = np.array([3e5, 1e6])
    np.testing.assert_allclose(fit.covariance.variogram(lag), truth.variogram(lag), rtol=0.4)


def test_alarm_for_pure_nugget():
    coords = scattered(200)
    values = np.random.default_rng(1).standard_normal(200)
    fit = fit_covariance(coords, values, seed=0, settings=QUICK)
    assert any(a.startswith("pure nugget") for a in fit.alarms)


def test_alarm_for_a_variogram_that_does_not_level_off():
    coords = scattered(300)
    endless = Covariance((Structure("power", 0.1, 1000.0, exponent=1.9),), 0.0)
    only = Settings(families=("exponential",), nested=False)
    fit = fit_covariance(coords, simulate(endless, coords), seed=0, settings=only)
    assert any(a.startswith("range at a bound") for a in fit.alarms)


def test_alarm_for_few_and_for_a_line():
    coords = np.stack([np.linspace(0, 60, 30), np.linspace(0, 30, 30)], 1)
    values = np.cumsum(np.random.default_rng(0).standard_normal(30))
    fit = fit_covariance(coords, values, seed=0, settings=QUICK)
    assert any(a.startswith("too few") for a in fit.alarms)
    assert any("one line" in a for a in fit.alarms)
    assert fit.covariance.structures[0].ratio == 1


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_too_few_get_a_documented_guess(count):
    coords = scattered(count)
    values = np.arange(count) * 2.0
    fit = fit_covariance(coords, values, seed=0)
    s = fit.covariance.structures[0]
    assert fit.candidates[0].origin == "fallback"
    assert "too few" in fit.reason
    if count > 1:
        assert s.sill == pytest.approx(values.var(ddof=1))
        assert s.range == pytest.approx(np.ptp(coords, axis=0).max() / 3)
    assert fit.trend == (pytest.approx(values.mean()),)


@pytest.mark.parametrize("value", [0.0, 273.15, -1e7])
def test_constant_values_get_a_sill_near_zero(value):
    fit = fit_covariance(scattered(50), np.full(50, value), seed=0)
    assert 0 < fit.covariance.total_sill <= 1.1 * (1e-6 * max(1, abs(value))) ** 2
    assert "same value" in fit.reason


def test_one_place_gets_a_guess():
    fit = fit_covariance(np.zeros((20, 2)), np.arange(20.0), seed=0)
    assert "one place" in fit.reason


def test_repeated_places_are_fitted():
    coords = np.repeat(scattered(150), 2, axis=0)
    rng = np.random.default_rng(0)
    truth = Covariance((Structure("exponential", 2.0, 20.0),), 0.0)
    values = np.repeat(simulate(truth, coords[::2]), 2) + 0.5 * rng.standard_normal(300)
    fit = fit_covariance(coords, values, seed=0, settings=QUICK)
    assert fit.covariance.nugget == pytest.approx(0.25, rel=0.4)


def good():
    return {"coords": scattered(20), "values": np.arange(20.0), "seed": 0}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"coords": np.zeros((0, 2)), "values": np.zeros(0)}, InputError, "nothing is observed"),
        ({"values": np.full(20, np.inf)}, InputError, "not finite"),
        ({"coords": np.zeros((20, 3))}, InputError, r"\(20, 3\)"),
        ({"targets": np.zeros(4)}, InputError, "targets"),
        ({"covariates": np.ones((20, 1))}, InputError, "constant"),
        ({"covariates": np.full((20, 1), np.nan)}, InputError, "covariate is not finite"),
        ({"covariates": np.ones((19, 1))}, InputError, "N = 20"),
        ({"trend": "cubic"}, UsageError, "constant, linear"),
        ({"metric": "manhattan"}, UsageError, "great-circle"),
        ({"trend": "linear", "metric": "great-circle"}, UsageError, "project"),
    ],
)
def test_what_cannot_be_used_is_explained(change, error, words):
    with pytest.raises(error, match=words):
        fit_covariance(**{**good(), **change})


@pytest.mark.parametrize(
    ("values", "spacing", "error", "words"),
    [
        (np.full((5, 5), np.nan), (1.0, 1.0), InputError, "nothing is observed"),
        (np.zeros((2, 5, 5)), (1.0, 1.0), InputError, "one band"),
        ([], (1.0, 1.0), InputError, "raster"),
        (np.eye(5), (0.0, 1.0), UsageError, "spacing"),
    ],
)
def test_rasters_that_cannot_be_used_are_explained(values, spacing, error, words):
    with pytest.raises(error, match=words):
        fit_grid(values, spacing, seed=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"families": ()}, "families"),
        ({"families": ("cubic",)}, "cubic"),
        ({"stretch": (10.0, 2.0)}, "ratio"),
        ({"terms": 3}, "terms"),
    ],
)
def test_settings_outside_their_domain(change, words):
    with pytest.raises(UsageError, match=words):
        Settings(**change)


def test_every_observed_pixel_leaves_nothing_to_rehearse():
    field = simulate(
        Covariance((Structure("matern32", 1.0, 6.0),), 0.01), np.argwhere(np.ones((15, 15))).astype(float)
    )
    fit = fit_grid(field.reshape(15, 15), (1.0, 1.0), seed=0, settings=QUICK)
    assert fit.rehearsal is None
    assert dataclasses.asdict(fit)["observations"] == 225
