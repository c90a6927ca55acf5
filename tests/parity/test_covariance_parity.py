"""Covariances and variograms against GSTools, PyKrige and scikit-learn, scalings converted as documented."""

import math

import gstools
import numpy as np
import pytest
from pykrige import core, variogram_models
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

from geonp.kriging.conditioning import conditioning_sets
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.distance import EARTH_RADIUS
from geonp.kriging.likelihood import VecchiaLikelihood
from geonp.kriging.variogram import empirical_variogram, fit_variogram

R, SILL, NUGGET = 7.0, 2.5, 0.4
LAG = np.linspace(0.01, 30, 80)
ANGLE, RATIO = 25.0, 0.4


def model(family, reach=R, angle=0.0, ratio=1.0, **more):
    return Covariance((Structure(family, SILL, reach, angle=angle, ratio=ratio, **more),), NUGGET)


def ours(covariance, direction=None):
    return covariance.variogram(LAG, direction)


GSTOOLS = [
    (model("exponential"), gstools.Exponential, {"len_scale": R}),
    (model("spherical"), gstools.Spherical, {"len_scale": R}),
    (model("gaussian"), gstools.Gaussian, {"len_scale": R * math.sqrt(math.pi / 2)}),
    (model("matern32"), gstools.Matern, {"len_scale": R / math.sqrt(2), "nu": 1.5}),
    (model("matern52"), gstools.Matern, {"len_scale": R / math.sqrt(2), "nu": 2.5}),
    (model("matern", nu=0.8), gstools.Matern, {"len_scale": R / math.sqrt(2), "nu": 0.8}),
]


@pytest.mark.parametrize(("covariance", "theirs", "arguments"), GSTOOLS)
def test_variograms_of_gstools(covariance, theirs, arguments):
    expected = theirs(dim=2, var=SILL, nugget=NUGGET, **arguments).variogram(LAG)
    np.testing.assert_allclose(ours(covariance), expected, rtol=1e-9)


@pytest.mark.parametrize("direction", [0.0, 25.0, 70.0, 115.0, -40.0])
def test_anisotropy_of_gstools(direction):
    covariance = model("exponential", angle=ANGLE, ratio=RATIO)
    theirs = gstools.Exponential(
        dim=2, var=SILL, nugget=NUGGET, len_scale=R, anis=RATIO, angles=math.radians(ANGLE)
    )
    turn = math.radians(direction)
    expected = theirs.vario_spatial([LAG * math.cos(turn), LAG * math.sin(turn)])
    np.testing.assert_allclose(ours(covariance, direction), expected, rtol=1e-9)


def test_the_globe_of_gstools():
    lat, lon = np.array([[10.0, 20.0], [12.0, 24.0], [60.0, -170.0], [-45.0, 100.0]]).T
    theirs = gstools.Exponential(latlon=True, var=SILL, len_scale=1e6, geo_scale=EARTH_RADIUS)
    points = np.stack([lat, lon], 1)
    covariance = Covariance((Structure("exponential", SILL, 1e6),), 0.0, "great-circle")
    arc = core.great_circle_distance(lon[:, None], lat[:, None], lon[None], lat[None])
    expected = theirs.cov_yadrenko(np.radians(arc) * EARTH_RADIUS)
    np.testing.assert_allclose(covariance(points, points), expected, rtol=1e-7)


PYKRIGE = [
    (model("exponential"), variogram_models.exponential_variogram_model, [SILL, 3 * R, NUGGET]),
    (model("gaussian"), variogram_models.gaussian_variogram_model, [SILL, R * math.sqrt(2) * 7 / 4, NUGGET]),
    (model("spherical"), variogram_models.spherical_variogram_model, [SILL, R, NUGGET]),
    (model("power", 100.0, exponent=1.4), variogram_models.power_variogram_model, [SILL, 1.4, NUGGET]),
    (model("power", 100.0, exponent=1.0), variogram_models.linear_variogram_model, [SILL, NUGGET]),
]


@pytest.mark.parametrize(("covariance", "theirs", "arguments"), PYKRIGE)
def test_variograms_of_pykrige(covariance, theirs, arguments):
    np.testing.assert_allclose(ours(covariance), theirs(arguments, LAG), rtol=1e-9)


@pytest.mark.parametrize(
    ("family", "kernel"),
    [
        ("matern12", Matern(R, nu=0.5)),
        ("matern32", Matern(R, nu=1.5)),
        ("matern52", Matern(R, nu=2.5)),
        ("gaussian", RBF(R)),
    ],
)
def test_kernels_of_scikit_learn(family, kernel):
    x = np.random.default_rng(0).uniform(0, 30, (40, 2))
    found = model(family)(x, x)
    np.testing.assert_allclose(found, SILL * kernel(x), rtol=1e-9)


def test_general_matern_of_scikit_learn():
    x = np.random.default_rng(0).uniform(0, 30, (40, 2))
    found = model("matern", nu=0.8)(x, x)
    np.testing.assert_allclose(found, SILL * Matern(R, nu=0.8)(x), rtol=1e-8)


def test_anisotropic_kernel_of_scikit_learn():
    x = np.random.default_rng(0).uniform(0, 30, (40, 2))  # (y, x), the major axis along y
    covariance = model("matern32", angle=90.0, ratio=RATIO)
    found = covariance(x, x)
    np.testing.assert_allclose(found, SILL * Matern([R, R * RATIO], nu=1.5)(x), rtol=1e-9)


def test_likelihood_of_scikit_learn():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 30, (50, 2)), rng.standard_normal(50)
    kernel = ConstantKernel(SILL) * Matern(R, nu=1.5) + WhiteKernel(NUGGET)
    theirs = GaussianProcessRegressor(kernel, optimizer=None, alpha=0.0).fit(x, y)
    sets = conditioning_sets(x, 49, 50, rng)
    likelihood = VecchiaLikelihood(x, y, np.zeros((50, 1)), [sets])
    found = likelihood.log_likelihood(model("matern32"))
    assert found == pytest.approx(theirs.log_marginal_likelihood_value_, rel=1e-9)


@pytest.fixture(scope="module")
def survey():
    rng = np.random.default_rng(3)
    coords = rng.uniform(0, 100, (300, 2))
    field = gstools.SRF(gstools.Exponential(dim=2, var=2.0, len_scale=12.0), seed=5)
    return coords, field([coords[:, 1], coords[:, 0]]) + 0.3 * rng.standard_normal(300)


@pytest.mark.parametrize("estimator", ["matheron", "cressie"])
def test_empirical_variogram_of_gstools(survey, estimator):
    coords, values = survey
    found = empirical_variogram(coords, values, seed=0, classes=10, reach=50.0, estimator=estimator)
    edges = np.linspace(0, 50, 11)
    _, gamma, count = gstools.vario_estimate(
        coords[:, ::-1].T, values, edges, estimator=estimator, return_counts=True
    )
    np.testing.assert_array_equal(found.pairs, count)
    # Cressie and Hawkins's correction is (0.457 + 0.494/n) there, and has a further 0.045/n^2 in later versions.
    np.testing.assert_allclose(found.semivariance, gamma, rtol=1e-4)


def test_directional_variogram_of_gstools(survey):
    coords, values = survey
    found = empirical_variogram(coords, values, seed=0, classes=6, reach=40.0, direction=30.0, tolerance=20.0)
    _, gamma, count = gstools.vario_estimate(
        coords[:, ::-1].T,
        values,
        np.linspace(0, 40, 7),
        angles=math.radians(30),
        angles_tol=math.radians(20),
        return_counts=True,
    )
    np.testing.assert_array_equal(found.pairs, count)
    np.testing.assert_allclose(found.semivariance, gamma, rtol=1e-9)


def test_fitted_variogram_agrees_with_gstools(survey):
    coords, values = survey
    empirical = empirical_variogram(coords, values, seed=0, classes=15, reach=60.0)
    found = fit_variogram(empirical, "exponential")
    theirs = gstools.Exponential(dim=2)
    theirs.fit_variogram(empirical.lag, empirical.semivariance, weights=np.sqrt(empirical.pairs))
    lag = empirical.lag
    np.testing.assert_allclose(found.variogram(lag), theirs.variogram(empirical.lag), rtol=0.15)
