"""Realisations, probabilities and areas with covariates: against what is predicted with them, and against theory."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from scipy.ndimage import gaussian_filter

from geonp.covariates import lay
from geonp.errors import GeonpWarning, MethodError
from geonp.exceedance import areas, blocks, exceed
from geonp.field import as_field, steps
from geonp.kriging.covariance import Covariance, Structure
from geonp.methods.classical import Cubic
from geonp.methods.covaried import with_covariates
from geonp.methods.errors import with_errors
from geonp.methods.flagship import Flagship
from geonp.methods.kriging import Kriging, sampled
from geonp.methods.regression import Regression, Sample, Trend
from geonp.predict import complete
from geonp.simulation import simulate

MODEL = Covariance((Structure("matern32", 4.0, 400.0),), 0.1)
KRIGING = Kriging(covariance=MODEL)
SHAPE = (40, 36)


def smooth(width: float, seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), width, mode="wrap")
    return field / field.std()


def on_grid(values: np.ndarray, name: str | None = None) -> xr.DataArray:
    box = GeoBox(values.shape, Affine(30, 0, 500_000, 0, -30, 4_000_000), "EPSG:32616")
    return as_field(wrap_xr(values.astype("f4"), box)).rename(name)


TERRAIN = smooth(2.0, 1) * 10 + 500
TRUTH = 0.3 * TERRAIN + 2 * smooth(9.0, 2) + 0.3 * np.random.default_rng(3).standard_normal(SHAPE)
SEEN = np.random.default_rng(4).random(SHAPE) < 0.08
SURVEY, DEM = on_grid(np.where(SEEN, TRUTH, np.nan)), on_grid(TERRAIN, "dem")
PART = on_grid(np.where(np.arange(SHAPE[1]) < 26, TERRAIN, np.nan), "part")


@pytest.mark.parametrize(
    "method",
    [
        with_covariates(KRIGING, DEM, "always"),
        with_covariates(KRIGING, PART, "always"),
        with_covariates(Flagship(insist=True, orientations=1), DEM, "always"),
        with_errors(with_covariates(KRIGING, DEM, "always"), 1.5),
    ],
    ids=["kriging", "unknown in the east", "network", "errors too"],
)
@pytest.mark.filterwarnings("ignore:the covariate part is not known")
def test_realisations_have_the_mean_and_the_variance_that_are_predicted(method) -> None:
    n = 60
    told = complete(SURVEY, method)
    mean, variance = told["mean"].values[0], told["variance"].values[0]
    drawn = simulate(SURVEY, method, n, seed=1).values[:, 0]
    free = variance > 0
    assert free[~SEEN].all()
    score = (drawn.mean(0) - mean)[free] / np.sqrt(variance[free] / n)
    assert abs(score).max() < 5.5
    assert np.sqrt(np.mean(score**2)) == pytest.approx(1, abs=0.25)
    assert np.mean(drawn.var(0, ddof=1)[free] / variance[free]) == pytest.approx(1, abs=0.08)
    np.testing.assert_array_equal(
        drawn[:, ~free], np.broadcast_to(SURVEY.values[0][~free], (n, (~free).sum()))
    )
    tiled = simulate(SURVEY, method, 2, seed=1, tile=17).values[:, 0]
    np.testing.assert_allclose(tiled, drawn[:2], atol=2e-3)
    np.testing.assert_array_equal(simulate(SURVEY, method, 3, seed=1).values[:, 0], drawn[:3])


def test_areas_vary_as_universal_kriging_with_the_covariate_says() -> None:
    """The error covariance of all pixels, coefficients unknown, by one bordered system."""
    rows, n = 18, 500
    survey, dem = SURVEY[:, :rows, :rows], DEM[:, :rows, :rows]
    seen = np.isfinite(survey.values).ravel()
    places = np.stack(np.meshgrid(np.arange(rows), np.arange(rows), indexing="ij"), -1).reshape(-1, 2) * 30.0
    c = MODEL(places, places)
    f = np.column_stack([np.ones(rows**2), dem.values.ravel() - 500])
    own = f[seen]
    a = np.block([[c[np.ix_(seen, seen)] + 0.1 * np.eye(seen.sum()), own], [own.T, np.zeros((2, 2))]])
    b = np.vstack([c[seen], f.T])
    errors = c - b.T @ np.linalg.solve(a, b) + 0.1 * np.eye(rows**2)
    spread = math.sqrt(errors[np.ix_(~seen, ~seen)].sum()) / rows**2
    method = with_covariates(KRIGING, dem, "always")
    (found,) = areas(survey, blocks((rows, rows), rows), method, n=n, seed=3)
    assert found.mean.std == pytest.approx(spread, rel=4 / math.sqrt(2 * n))
    expected = float(complete(survey, method)["mean"].mean())
    assert found.mean.mean == pytest.approx(expected, abs=4 * spread / math.sqrt(n))


def test_a_regression_draws_its_coefficients_too() -> None:
    laid = lay([DEM], SURVEY)
    covariance = Trend.fit(Sample.of(sampled(SURVEY, 0, 0, laid), steps(SURVEY)), 0).covariance
    method = Regression(base=Kriging(covariance=covariance), covariates=laid)
    told = complete(SURVEY, method)["variance"].values[0]
    drawn = simulate(SURVEY, method, 200, seed=2).values[:, 0]
    # Where the terrain is extreme the slope's part of the variance is largest.
    extreme = ~SEEN & (abs(TERRAIN - 500) > 20)
    ratio = drawn.var(0, ddof=1)[extreme] / told[extreme]
    assert np.mean(ratio) == pytest.approx(1, abs=0.06)
    (trend,) = method.prepare(SURVEY).trends
    without = told - trend.variance_at(laid.field.values)
    assert (without < told)[extreme].all()


def test_latent_realisations_lack_the_nugget() -> None:
    method = with_covariates(replace(KRIGING, covariance=replace(MODEL, nugget=2.0)), DEM, "always")
    observable, latent = (
        simulate(SURVEY, method, 2, latent=on).values[:, 0][:, ~SEEN] for on in (False, True)
    )
    assert (observable - latent).std() == pytest.approx(math.sqrt(2), rel=0.06)


def test_what_does_not_help_changes_nothing() -> None:
    noise = on_grid(smooth(2.0, 9), "noise")
    with pytest.warns(GeonpWarning, match="noise is left out"):
        drawn = simulate(SURVEY, with_covariates(KRIGING, noise), 2)
    xr.testing.assert_identical(drawn, simulate(SURVEY, KRIGING, 2))


def test_probabilities_are_those_of_what_is_predicted() -> None:
    method, level = with_covariates(KRIGING, DEM, "always"), float(np.median(TRUTH))
    told = complete(SURVEY, method)
    found = exceed(SURVEY, level, method).values[0]
    deviation = np.sqrt(told["variance"].values[0][~SEEN].astype(float))
    z = (told["mean"].values[0][~SEEN].astype(float) - level) / deviation
    expected = [0.5 * math.erfc(-x / math.sqrt(2)) for x in z]
    np.testing.assert_allclose(found[~SEEN], expected, atol=1e-6)
    np.testing.assert_array_equal(found[SEEN], SURVEY.values[0][SEEN] > level)
    assert abs(found - exceed(SURVEY, level, KRIGING).values[0]).max() > 0.3


def test_a_method_without_a_covariance_is_named() -> None:
    with pytest.raises(MethodError, match=r"'cubic' has no covariance.*--method kriging"):
        simulate(SURVEY, with_covariates(Cubic(), DEM), 2)
