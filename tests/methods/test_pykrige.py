"""PyKrige through our wrapper against PyKrige itself, and where it has to say no."""

import numpy as np
import pytest
import xarray as xr
from pykrige.ok import OrdinaryKriging

from geonp.errors import MethodError, UsageError
from geonp.methods.base import Place
from geonp.methods.pykrige import Fit, PyKrige
from geonp.methods.scattered import generic_position
from geonp.predict import complete

DY = DX = 90.0
PARAMETERS = {
    "linear": ("slope", "nugget"),
    "power": ("scale", "exponent", "nugget"),
    "exponential": ("psill", "range", "nugget"),
    "spherical": ("psill", "range", "nugget"),
    "gaussian": ("psill", "range", "nugget"),
}


def observed(survey: xr.DataArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates (y, x) in metres and values of what is observed, and the mask of what is not."""
    values = survey.values
    hole = np.isnan(values)
    return np.argwhere(~hole) * np.array([DY, DX]), values[~hole].astype("f8"), hole


def test_the_fit_is_pykriges_own(survey: xr.DataArray) -> None:
    at, values, _ = observed(survey)
    assert values.size <= 1500
    theirs = OrdinaryKriging(at[:, 1], at[:, 0], values, variogram_model="spherical", nlags=9, weight=True)
    ready = PyKrige(variogram="spherical", lags=9, weight=True).prepare(survey.expand_dims("band"))
    # The order of the observations enters the sums of a lag bin.
    assert ready.fits[0].parameters == pytest.approx(theirs.variogram_model_parameters, rel=1e-6)
    assert ready.fits[0].variance == pytest.approx(values.var())


def test_kriging_from_all_observations_is_pykriges_own(survey: xr.DataArray) -> None:
    survey = survey[:40, :50]
    at, values, hole = observed(survey)
    theirs = OrdinaryKriging(at[:, 1], at[:, 0], values, variogram_model="exponential")
    targets = np.argwhere(hole) * np.array([DY, DX])
    mean, variance = theirs.execute("points", targets[:, 1], targets[:, 0], backend="vectorized")
    ours = complete(survey, PyKrige(neighbours=None))
    np.testing.assert_allclose(ours["mean"].values[0][hole], mean, atol=2e-4 * values.std())
    np.testing.assert_allclose(ours["variance"].values[0][hole], variance, rtol=2e-4)


@pytest.mark.parametrize("model", PARAMETERS)
def test_kriging_from_neighbours_is_pykriges_own(survey: xr.DataArray, model: str) -> None:
    """PyKrige alone, on all pixels at once, gives what our groups of them give: nugget and all."""
    rough = survey + np.random.default_rng(0).normal(0, 60, survey.shape).astype("f4")
    _, values, hole = observed(rough)
    at, targets = (generic_position(*np.nonzero(mask), DY / DX) * DX for mask in (~hole, hole))
    targets += np.array([1.7e-6, 2.9e-6]) * DX
    method = PyKrige(variogram=model, neighbours=12)
    fitted = dict(
        zip(PARAMETERS[model], method.prepare(rough.expand_dims("band")).fits[0].parameters, strict=True)
    )
    assert fitted["nugget"] > (100 if model != "exponential" else -1)
    direct = OrdinaryKriging(at[:, 1], at[:, 0], values, variogram_model=model, variogram_parameters=fitted)
    mean, variance = direct.execute(
        "points", targets[:, 1], targets[:, 0], backend="loop", n_closest_points=12
    )
    ours = complete(rough, method)
    np.testing.assert_allclose(ours["mean"].values[0][hole], mean, rtol=1e-6)
    np.testing.assert_allclose(ours["variance"].values[0][hole], variance, rtol=1e-5)


def test_observed_pixels_come_back_with_no_variance(survey: xr.DataArray) -> None:
    ours = complete(survey, PyKrige(), keep_observed=False)
    seen = np.isfinite(survey.values)
    np.testing.assert_array_equal(ours["mean"].values[0][seen], survey.values[seen])
    assert (ours["variance"].values[0][seen] == 0).all()
    assert (ours["variance"].values[0][~seen] > 0).all()


def test_far_from_data_the_variance_is_that_of_the_data(survey: xr.DataArray) -> None:
    wide = survey.pad(y=(0, 300), mode="constant", constant_values=np.nan)
    wide = wide.assign_coords(y=survey.y.values[0] - DY * np.arange(wide.sizes["y"]))
    far = complete(wide, PyKrige(reach=64), tile=60).isel(band=0, y=-1)
    np.testing.assert_allclose(far["variance"], np.nanvar(survey.values.astype("f8")), rtol=1e-5)
    assert np.nanmin(survey) <= far["mean"].min() <= far["mean"].max() <= np.nanmax(survey)


def test_bands_have_variograms_of_their_own(survey: xr.DataArray) -> None:
    steep = survey * np.float32(10)
    both = complete(xr.concat([survey, steep], "band"), PyKrige(variogram="linear", lags=5))
    alone = complete(steep, PyKrige(variogram="linear", lags=5))
    np.testing.assert_allclose(both["variance"][1], alone["variance"][0], rtol=1e-5)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_few_observations(count: int) -> None:
    values = np.full((1, 20, 20), np.nan, "f4")
    values[0, range(count), range(3, 3 + count)] = np.arange(count) + 1.0
    done = PyKrige().complete(values, (30.0, 30.0), Place.whole((20, 20)))
    assert np.isfinite(done.mean).all()
    assert (done.variance >= 0).all()


def test_kriging_from_too_many_observations_is_refused_before_it_starts(survey: xr.DataArray) -> None:
    with pytest.raises(UsageError, match=r"all \d+ observations.*GiB.*neighbours=16.*'kriging'"):
        PyKrige(neighbours=None, memory=10_000_000).prepare(survey.expand_dims("band"))
    PyKrige(neighbours=16, memory=10_000_000).prepare(survey.expand_dims("band"))


def test_a_system_that_cannot_be_solved_names_the_way_out() -> None:
    values = np.full((1, 20, 20), np.nan, "f4")
    values[0, ::3, ::3] = np.arange(49).reshape(7, 7)
    useless = PyKrige(variogram="spherical", neighbours=None, fits=(Fit((0.0, 100.0, 0.0), 1.0),))
    with pytest.raises(MethodError, match="method 'kriging'"):
        useless.complete(values, (30.0, 30.0), Place.whole((20, 20)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PyKrige(neighbours=1), "got 1"),
        (lambda: PyKrige(variogram="cubic"), "'cubic'.*exponential"),
        (lambda: PyKrige(lags=1), "1 lag bins"),
    ],
)
def test_impossible_parameters_are_refused(build, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build()


def test_the_same_seed_gives_the_same_bytes() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random((80, 80)) < 0.4, rng.normal(size=(80, 80)), np.nan).astype("f4")
    coords = {"y": np.arange(80) * -30.0, "x": np.arange(80) * 30.0}
    field = xr.DataArray(values[None], dims=("band", "y", "x"), coords=coords)
    fits = [PyKrige(seed=seed).prepare(field).fits for seed in (0, 0, 1)]
    assert fits[0] == fits[1] != fits[2]
