"""Covariates: what they are worth, who uses them how, and what happens where they are not known."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from scipy.ndimage import gaussian_filter

import geonp
from geonp.covariates import lay
from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.field import as_field, load, steps
from geonp.kriging.covariance import Covariance, Structure
from geonp.methods.choose import choose
from geonp.methods.classical import Cubic
from geonp.methods.covaried import Covaried, with_covariates
from geonp.methods.kriging import Kriging, sampled
from geonp.methods.regression import Regression, Sample, Trend
from geonp.methods.selection import select
from geonp.predict import complete

MODEL = Covariance((Structure("matern32", 4.0, 400.0),), 0.1)
CRS = "EPSG:32616"
KRIGING = Kriging(covariance=MODEL)


def smooth(shape: tuple[int, int], width: float, seed: int) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), width, mode="wrap")
    return field / field.std()


def on_grid(
    values: np.ndarray, name: str = "", spacing: float = 30.0, left: float = 500_000.0
) -> xr.DataArray:
    box = GeoBox(values.shape[-2:], Affine(spacing, 0, left, 0, -spacing, 4_000_000), CRS)
    bands = values.astype("f4").reshape(-1, *values.shape[-2:])
    return as_field(xr.concat([wrap_xr(band, box) for band in bands], "band")).rename(name or None)


SHAPE = (72, 60)
TERRAIN = smooth(SHAPE, 2.0, 1) * 10 + 500
TRUTH = 0.3 * TERRAIN + 2 * smooth(SHAPE, 12.0, 2) + 0.3 * np.random.default_rng(3).standard_normal(SHAPE)
SEEN = np.where(np.random.default_rng(4).random(SHAPE) < 0.07, TRUTH, np.nan)
DEM, NOISE = on_grid(TERRAIN, "dem"), on_grid(smooth(SHAPE, 2.0, 9), "noise")
SURVEY = on_grid(SEEN)
HOLES = np.isnan(SEEN)


def rmse(done: xr.Dataset) -> float:
    return float(np.sqrt(np.mean((done["mean"].values[0] - TRUTH)[HOLES] ** 2)))


@pytest.mark.parametrize("method", [KRIGING, choose("bundled"), Cubic()], ids=lambda m: m.name)
def test_every_method_gains_from_a_covariate_that_the_field_follows(method) -> None:
    variance = method.has_variance
    with pytest.warns(GeonpWarning, match="kriging is used") if method.name == "bundled" else nullcontext():
        plain = complete(SURVEY, method, variance=variance)
        informed = complete(SURVEY, with_covariates(method, DEM), variance=variance)
    assert rmse(informed) < 0.3 * rmse(plain)
    if variance:
        error = (informed["mean"].values[0] - TRUTH)[HOLES] / np.sqrt(informed["variance"].values[0][HOLES])
        assert 0.7 < np.sqrt(np.mean(error**2)) < 1.2


def test_what_helps_in_gaps_more_than_it_harms_beside_them_is_used() -> None:
    surface = 10 * smooth(SHAPE, 3.0, 5)
    coarse = on_grid(surface + np.random.default_rng(6).standard_normal(SHAPE), "coarse")
    swaths = np.broadcast_to(np.arange(SHAPE[0])[:, None] % 24 < 16, SHAPE)
    survey = on_grid(np.where(swaths, np.nan, surface))
    found = select(survey, lay([coarse], survey), "auto", seed=0)
    assert found.used == (0,)
    assert found.gain > 0


def test_what_does_not_help_is_dropped_and_said() -> None:
    with pytest.warns(GeonpWarning, match="covariate noise is left out: it does not help on hidden obs"):
        ready = with_covariates(KRIGING, (DEM, NOISE)).prepare(SURVEY)
    told = ready.describe()
    assert (told["covariates"], told["covariates_dropped"]) == ("dem", "noise")
    assert 0.5 < float(told["covariates_gain"]) < 1
    trial = json.loads(told["covariates_trial"])
    assert float(told["covariates_gain"]) == pytest.approx(
        1 - trial["crps_with"] / trial["crps_without"], abs=1e-4
    )
    with pytest.warns(GeonpWarning, match="noise is left out"):
        alone = complete(SURVEY, with_covariates(KRIGING, NOISE))
    xr.testing.assert_identical(alone, complete(SURVEY, KRIGING))


def test_noise_is_rarely_kept() -> None:
    """Chance keeps a useless covariate once in twenty times; four of eight would be a fault (p < 0.001)."""
    kept = 0
    for seed in range(8):
        noise = on_grid(smooth(SHAPE, 2.0, 100 + seed))
        kept += bool(select(SURVEY, lay([noise], SURVEY), "auto", 0).used)
    assert kept < 4


def test_policies() -> None:
    method = with_covariates(KRIGING, (DEM, NOISE), "always")
    assert isinstance(method, Covaried)
    assert method.prepare(SURVEY).describe()["covariates"] == "dem, noise"
    assert with_covariates(KRIGING, DEM, "never") is KRIGING
    assert with_covariates(KRIGING, ()) is KRIGING
    with pytest.raises(UsageError, match="no covariate policy 'often'; use one of auto, always, never"):
        with_covariates(KRIGING, DEM, "often")


def test_coefficients_are_those_of_generalised_least_squares() -> None:
    laid = lay([DEM, NOISE], SURVEY)
    sample = Sample.of(sampled(SURVEY, 0, 0, laid), steps(SURVEY))
    trend = Trend.fit(sample, 0)
    place = sample.coords
    K = trend.covariance(place, place) + trend.covariance.nugget * np.eye(len(sample))
    F = np.column_stack([np.ones(len(sample)), sample.columns])
    V = np.linalg.inv(F.T @ np.linalg.inv(K) @ F)
    beta = V @ F.T @ np.linalg.inv(K) @ sample.values
    np.testing.assert_allclose(trend.slopes, beta[1:], rtol=1e-6)
    np.testing.assert_allclose(trend.variance, V[1:, 1:], rtol=1e-5)
    x = np.array([[[510.0]], [[1.0]]])
    off = x[:, 0, 0] - sample.columns.mean(0)
    assert trend.variance_at(x)[0, 0] == pytest.approx(off @ V[1:, 1:] @ off, rel=1e-5)
    assert abs(trend.slopes[0] - 0.3) < 4 * np.sqrt(trend.variance[0, 0])


def test_regression_kriging_is_kriging_with_an_external_drift() -> None:
    """With the same covariance their means are the same (Hengl et al. 2007), and their variances nearly so."""
    laid = lay([DEM], SURVEY)
    covariance = Trend.fit(Sample.of(sampled(SURVEY, 0, 0, laid), steps(SURVEY)), 0).covariance
    base = Kriging(covariance=covariance)
    apart = complete(SURVEY, Regression(base=base, covariates=laid))
    together = complete(SURVEY, Kriging(covariance=covariance, drift=DEM))
    np.testing.assert_allclose(apart["mean"], together["mean"], atol=2e-4)
    ratio = (apart["variance"] / together["variance"]).values[0][HOLES]
    assert ratio.min() > 0.95
    assert ratio.max() < 1.1


def test_units_of_a_covariate_do_not_matter() -> None:
    one, two = (
        complete(SURVEY, with_covariates(Cubic(), raster), variance=False) for raster in (DEM, DEM * 1e-3 - 7)
    )
    np.testing.assert_allclose(one["mean"], two["mean"], atol=1e-2)


def test_bands_have_coefficients_of_their_own() -> None:
    both = on_grid(np.stack([SEEN, 5 - SEEN]))
    told = with_covariates(Cubic(), DEM).prepare(both).describe()
    one, two = (json.loads(told[f"band_{n}_slopes"])["dem"][0] for n in (1, 2))
    assert one == pytest.approx(-two, rel=1e-3)


def test_small_holes_of_a_covariate_are_filled() -> None:
    plane = np.add.outer(np.arange(72.0), 2 * np.arange(60.0))
    holey = plane.copy()
    holey[20:25, 30:36] = np.nan
    with pytest.warns(GeonpWarning, match="has holes: 30 pixels are filled"):
        laid = lay([on_grid(holey)], SURVEY)
    np.testing.assert_allclose(laid.field.values[0], plane, atol=1e-4)
    assert not laid.holey


@pytest.mark.parametrize("base", [KRIGING, Cubic()], ids=lambda m: m.name)
def test_where_a_covariate_is_unknown_pixels_are_completed_without(base) -> None:
    west = np.arange(60) < 40
    part = on_grid(np.where(west, TERRAIN, np.nan), "part")
    method = with_covariates(base, part, "always")
    variance = base.has_variance
    with pytest.warns(GeonpWarning, match=r"covariate part is not known at 33\.33% of the survey's pixels"):
        done = complete(SURVEY, method, variance=variance)
    plain = complete(SURVEY, base, variance=variance)
    known = on_grid(np.where(west, SEEN, np.nan))
    informed = complete(known, with_covariates(base, DEM, "always"), variance=variance)
    unseen = HOLES & west
    for layer in done:
        np.testing.assert_array_equal(done[layer].values[0][:, ~west], plain[layer].values[0][:, ~west])
        np.testing.assert_allclose(
            done[layer].values[0][unseen], informed[layer].values[0][unseen], atol=1e-3
        )
    with pytest.warns(GeonpWarning, match="not known"):
        tiled = complete(SURVEY, method, variance=variance, tile=25)
    xr.testing.assert_allclose(done, tiled, atol=1e-4)


def test_a_covariate_in_degrees_is_reprojected() -> None:
    from pyproj import Transformer

    rows, cols = np.mgrid[:200, :200]
    lon, lat = -87.005 + (cols + 0.5) * 2e-4, 36.16 - (rows + 0.5) * 2e-4
    x, y = Transformer.from_crs("EPSG:4326", CRS, always_xy=True).transform(lon, lat)
    box = GeoBox((200, 200), Affine(2e-4, 0, -87.005, 0, -2e-4, 36.16), "EPSG:4326")
    with pytest.warns(
        GeonpWarning, match="the covariate raster 1 is averaged and interpolated on the survey's grid"
    ):
        laid = lay([as_field(wrap_xr((x - 5e5 + 2 * (y - 4e6)).astype("f4"), box))], SURVEY)
    expected = 30 * (np.arange(60) + 0.5) - 2 * 30 * (np.arange(72)[:, None] + 0.5)
    np.testing.assert_allclose(laid.field.values[0], expected, atol=1.0)


def test_a_raster_too_large_for_memory_is_laid_lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    held = complete(SURVEY, with_covariates(KRIGING, DEM))
    monkeypatch.setattr("geonp.covariates._HELD", 100)
    laid = lay([DEM], SURVEY)
    assert not isinstance(laid.field.variable._data, np.ndarray)
    xr.testing.assert_identical(load(laid.field), load(DEM).rename(laid.field.name))
    xr.testing.assert_identical(held, complete(SURVEY, with_covariates(KRIGING, DEM)))


def test_what_cannot_be_used_is_explained() -> None:
    half = on_grid(np.where(np.arange(60) < 25, TERRAIN, np.nan), "half")
    with pytest.raises(
        InputError, match="covariate half is not known at 58% of the survey's pixels; give one that"
    ):
        complete(SURVEY, with_covariates(KRIGING, half))
    away = on_grid(TERRAIN, "away", left=900_000.0)
    with pytest.raises(InputError, match="covers none of the survey's pixels"), pytest.warns(GeonpWarning):
        complete(SURVEY, with_covariates(KRIGING, away))
    flat = on_grid(np.full(SHAPE, 7.1), "flat")
    with pytest.raises(InputError, match="flat is constant at the observations; leave it out"):
        complete(SURVEY, with_covariates(KRIGING, flat, "always"))
    with pytest.raises(InputError, match="dem follows from the other covariates"):
        complete(SURVEY, with_covariates(KRIGING, (2 * DEM, DEM), "always"))
    with pytest.warns(GeonpWarning, match="flat is left out: it is constant"):
        complete(SURVEY, with_covariates(KRIGING, (flat, DEM)))
    few = SEEN.copy()
    few[np.cumsum(~HOLES).reshape(SHAPE) > 9] = np.nan
    with pytest.warns(GeonpWarning, match="left out: it cannot be tried on 9 observations"):
        complete(on_grid(few), with_covariates(KRIGING, DEM))
    few[np.cumsum(~HOLES).reshape(SHAPE) > 3] = np.nan
    rasters = (DEM, NOISE)
    with pytest.raises(InputError, match="3 observations where the covariates are known are too few"):
        complete(on_grid(few), with_covariates(KRIGING, rasters, "always"))
    with pytest.raises(UsageError, match="simple kriging"):
        complete(SURVEY, with_covariates(Kriging(kind="simple"), DEM))
    with pytest.raises(InputError, match="without coordinates both must have the same pixels"):
        complete(SURVEY, with_covariates(KRIGING, xr.DataArray(np.ones((5, 5)), dims=("y", "x"))))


def test_methods_are_compared_without_and_with() -> None:
    done = geonp.evaluate(SURVEY, [KRIGING, Cubic()], context=0.7, covariates=DEM)
    names = [row.method for row in done.rows]
    assert names == ["kriging", "kriging + covariates", "cubic", "cubic + covariates"]
    scores = [row.score("rmse") for row in done.rows]
    assert scores[1] < 0.4 * scores[0]
    assert scores[3] < 0.5 * scores[2]


def test_one_at_a_time() -> None:
    rows = geonp.evaluate(SURVEY, [KRIGING], holdout="leave-one-out", covariates=DEM).rows
    assert rows[1].score("rmse") < 0.4 * rows[0].score("rmse")
    part = on_grid(np.where(np.arange(60) < 40, TERRAIN, np.nan))
    rows = geonp.evaluate(SURVEY, [KRIGING], holdout="leave-one-out", covariates=part).rows
    assert "two methods would answer" in rows[1].failure


def test_the_accessor_takes_covariates() -> None:
    done = SURVEY[0].geonp.complete("cubic", variance=False, covariates=DEM[0])
    expected = complete(SURVEY, with_covariates(Cubic(), DEM[0]), variance=False)
    np.testing.assert_array_equal(done["mean"], expected["mean"][0])
    both = xr.Dataset({"a": SURVEY[0], "b": 2 * SURVEY[0]}).geonp.complete(
        "cubic", variance=False, covariates=DEM[0], covariate_policy="always"
    )
    np.testing.assert_allclose(both["b"], 2 * both["a"], rtol=1e-4)
