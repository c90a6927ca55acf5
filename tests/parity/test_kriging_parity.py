"""Kriging against three independent implementations: PyKrige, GSTools and scikit-learn."""

import numpy as np
import pytest

from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.scattered import PointKriging, krige

N, M = 80, 40


@pytest.fixture(scope="module")
def survey():
    rng = np.random.default_rng(7)
    coords, targets = rng.uniform(0, 100, (N, 2)), rng.uniform(0, 100, (M, 2))
    values = 20 + np.sin(coords[:, 0] / 12) * 3 + 0.04 * coords[:, 1] + rng.normal(0, 0.2, N)
    return coords, values, targets


# PyKrige: parameters [sill, range, nugget]; its exponential range is practical (three of ours). Its
# variances are those of an observation, nugget included.
PYKRIGE = {
    "exponential": (Structure("exponential", 4.0, 25.0), [4.3, 75.0, 0.3]),
    "spherical": (Structure("spherical", 4.0, 60.0), [4.3, 60.0, 0.3]),
    "gaussian": (Structure("gaussian", 4.0, 30.0), [4.3, 30.0 * np.sqrt(2) * 7 / 4, 0.3]),
    "linear": (Structure("power", 0.1, 300.0, exponent=1.0), [0.1, 0.3]),
    "power": (Structure("power", 0.05, 300.0, exponent=1.4), [0.05, 1.4, 0.3]),
}


@pytest.mark.parametrize("family", PYKRIGE)
def test_ordinary_kriging_agrees_with_pykrige(survey, family):
    from pykrige.ok import OrdinaryKriging

    coords, values, targets = survey
    structure, parameters = PYKRIGE[family]
    theirs = OrdinaryKriging(
        coords[:, 1],
        coords[:, 0],
        values,
        variogram_model=family,
        variogram_parameters=parameters,
        exact_values=False,
    ).execute("points", targets[:, 1], targets[:, 0])
    ours = krige(coords, values, targets, Covariance((structure,), 0.3))
    np.testing.assert_allclose(ours.mean, np.asarray(theirs[0]), rtol=1e-6)
    np.testing.assert_allclose(ours.variance, np.asarray(theirs[1]), rtol=1e-5, atol=1e-7)


def test_anisotropy_agrees_with_pykrige(survey):
    from pykrige.ok import OrdinaryKriging

    coords, values, targets = survey
    # PyKrige stretches the axis across the direction given.
    theirs = OrdinaryKriging(
        coords[:, 1],
        coords[:, 0],
        values,
        variogram_model="exponential",
        variogram_parameters=[4.0, 75.0, 0.0],
        anisotropy_scaling=2.5,
        anisotropy_angle=35.0,
    ).execute("points", targets[:, 1], targets[:, 0])
    model = Covariance((Structure("exponential", 4.0, 25.0, angle=35.0, ratio=0.4),), 0.0)
    ours = krige(coords, values, targets, model)
    np.testing.assert_allclose(ours.mean, np.asarray(theirs[0]), rtol=1e-6)
    np.testing.assert_allclose(ours.variance, np.asarray(theirs[1]), rtol=1e-5)


def test_universal_kriging_agrees_with_pykrige(survey):
    from pykrige.uk import UniversalKriging

    coords, values, targets = survey
    theirs = UniversalKriging(
        coords[:, 1],
        coords[:, 0],
        values,
        variogram_model="exponential",
        variogram_parameters=[4.0, 75.0, 0.0],
        drift_terms=["regional_linear"],
    ).execute("points", targets[:, 1], targets[:, 0])
    ours = krige(
        coords, values, targets, Covariance((Structure("exponential", 4.0, 25.0),), 0.0), kind="universal"
    )
    np.testing.assert_allclose(ours.mean, np.asarray(theirs[0]), rtol=1e-6)
    np.testing.assert_allclose(ours.variance, np.asarray(theirs[1]), rtol=1e-5)


@pytest.mark.parametrize("family", ["exponential", "matern32", "gaussian"])
@pytest.mark.parametrize("kind", ["simple", "ordinary", "external"])
def test_kriging_agrees_with_gstools(survey, family, kind):
    import gstools as gs

    coords, values, targets = survey
    # Scales of GSTools: sqrt(nu) h / len for Matern, exp(-pi/4 (h/len)^2) for the Gaussian.
    model = {
        "exponential": gs.Exponential(dim=2, var=4.0, len_scale=25.0),
        "matern32": gs.Matern(dim=2, var=4.0, len_scale=25.0 / np.sqrt(2), nu=1.5),
        "gaussian": gs.Gaussian(dim=2, var=4.0, len_scale=25.0 * np.sqrt(np.pi / 2)),
    }[family]
    errors = np.linspace(0.1, 0.4, N)
    at, to = coords[:, ::-1].T, targets[:, ::-1].T
    height, there = np.cos(coords[:, 0] / 20), np.cos(targets[:, 0] / 20)
    ours = Covariance((Structure(family, 4.0, 25.0),), 0.0)
    if kind == "simple":
        theirs = gs.krige.Simple(model, at, values, mean=21.0, cond_err=errors)
        ready = PointKriging.of(coords, values, ours, kind="simple", mean=21.0, errors=errors)
    elif kind == "ordinary":
        theirs = gs.krige.Ordinary(model, at, values, cond_err=errors)
        ready = PointKriging.of(coords, values, ours, errors=errors)
    else:
        theirs = gs.krige.ExtDrift(model, at, values, height, cond_err=errors)
        ready = PointKriging.of(coords, values, ours, errors=errors, drift=height)
    extra = {"ext_drift": there} if kind == "external" else {}
    mean, variance = theirs(to, **extra)
    got = ready.predict(targets, there if kind == "external" else None)
    np.testing.assert_allclose(got[0], mean, rtol=1e-6)
    np.testing.assert_allclose(got[1], variance, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5, np.inf])
def test_simple_kriging_agrees_with_the_gaussian_process_of_scikit_learn(survey, nu):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    coords, values, targets = survey
    kernel = ConstantKernel(4.0, "fixed") * Matern(25.0, "fixed", nu=nu)
    theirs = GaussianProcessRegressor(kernel, alpha=0.3, optimizer=None).fit(coords, values - 21)
    mean, deviation = theirs.predict(targets, return_std=True)
    family = {0.5: "matern12", 1.5: "matern32", 2.5: "matern52", np.inf: "gaussian"}[nu]
    ready = PointKriging.of(
        coords, values, Covariance((Structure(family, 4.0, 25.0),), 0.3), kind="simple", mean=21.0
    )
    got = ready.predict(targets)
    np.testing.assert_allclose(got[0], mean + 21, rtol=1e-7)
    np.testing.assert_allclose(got[1], deviation**2, rtol=1e-5, atol=1e-8)
