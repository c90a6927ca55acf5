"""The implicit neural representation beyond what every method keeps to."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from geonp.errors import InputError, UsageError
from geonp.methods.inr import Inr
from geonp.predict import complete

QUICK = Inr(frequencies=48, width=48, steps=150)


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    y, x = np.mgrid[:40, :50]
    return (100 + 10 * np.sin(x / 6) * np.cos(y / 8)).astype("f4")


@pytest.fixture(scope="module")
def survey(wave: np.ndarray) -> xr.DataArray:
    rng = np.random.default_rng(0)
    noisy = wave + rng.normal(0, 0.5, wave.shape)
    return xr.DataArray(
        np.where(rng.random(wave.shape) < 0.2, noisy, np.nan).astype("f4")[None], dims=("band", "y", "x")
    )


@pytest.fixture(scope="module")
def fitted(survey: xr.DataArray) -> Inr:
    return QUICK.prepare(survey)


def test_it_finds_the_wave_and_says_how_well(fitted: Inr, survey: xr.DataArray, wave: np.ndarray) -> None:
    done = fitted.predict(survey)
    error = (done["mean"].values[0] - wave)[np.isnan(survey.values[0])]
    assert np.sqrt(np.mean(error**2)) < 0.15 * wave.std()
    spread = np.sqrt(done["variance"].values[0][np.isnan(survey.values[0])])
    assert 0.8 < np.mean(np.abs(error) < 1.645 * spread) <= 1


def test_the_noise_is_in_the_variance_unless_it_is_left_out(fitted: Inr, survey: xr.DataArray) -> None:
    whole, latent = (m.predict(survey)["variance"].values for m in (fitted, replace(fitted, noise=False)))
    layer, surface = fitted.surfaces[0].layer, fitted.surfaces[0]
    np.testing.assert_allclose(whole - latent, surface.factor * surface.scale**2 / layer.beta, rtol=1e-3)
    assert fitted.describe()["nugget"] == "in"
    assert replace(fitted, noise=False).describe()["nugget"] == "out"


def test_the_variance_grows_away_from_observations(fitted: Inr, survey: xr.DataArray) -> None:
    hole = survey.copy(data=survey.values.copy())
    hole[:, 10:30, 15:40] = np.nan
    surface = replace(QUICK.prepare(hole), noise=False).predict(hole)["variance"].values[0]
    assert surface[15:25, 20:35].mean() > 2 * surface[:8].mean()


def test_a_seed_makes_it_and_another_makes_another(survey: xr.DataArray, fitted: Inr) -> None:
    again, other = QUICK.prepare(survey), replace(QUICK, seed=1).prepare(survey)
    first = fitted.predict(survey)["mean"]
    np.testing.assert_array_equal(first, again.predict(survey)["mean"])
    assert not np.array_equal(first, other.predict(survey)["mean"])


def test_of_many_observations_a_share_is_fitted(survey: xr.DataArray) -> None:
    few = replace(QUICK, most=100, steps=20).prepare(survey)
    assert few.spread == pytest.approx(QUICK.prepare(survey).spread)
    assert np.isfinite(few.predict(survey)["mean"]).all()


@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (3, 3)])
def test_odd_shapes(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype("f4")
    values.flat[::3] = np.nan
    field = xr.DataArray(values[None], dims=("band", "y", "x"))
    done = QUICK.prepare(field).predict(field)
    assert np.isfinite(done["mean"]).all()
    assert (done["variance"] >= 0).all()


def test_what_it_was_not_prepared_for(survey: xr.DataArray) -> None:
    with pytest.raises(UsageError, match=r"prepare\(field\)"):
        QUICK.predict(survey)
    with pytest.raises(InputError, match="nothing to fit"):
        QUICK.prepare(survey * np.float32(np.nan))


@pytest.mark.parametrize(
    "wrong",
    [{"width": 0}, {"layers": 0}, {"steps": 0}, {"frequencies": 0}, {"most": 0}, {"learning_rate": -1.0}],
)
def test_parameters_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Inr(**wrong)


@pytest.mark.filterwarnings("ignore::geonp.errors.MissingCRSWarning")
def test_status_tells_how_far_it_can_see(fitted: Inr, survey: xr.DataArray) -> None:
    assert 3 <= fitted.halo <= 8
    assert "status" in complete(survey[0], QUICK, status=True)
