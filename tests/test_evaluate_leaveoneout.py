"""Leave-one-out: equal to leaving each observation out by hand, and offered by those that can."""

import numpy as np
import pytest
import xarray as xr

from geonp.errors import InputError, MethodError
from geonp.evaluation import evaluate
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.scattered import PointKriging
from geonp.leaveoneout import MOST, MOST_KRIGED, leave_one_out, places_left_out
from geonp.methods.choose import choose
from geonp.methods.classical import Idw
from geonp.methods.kriging import Kriging
from geonp.predict import complete

KNOWN = Covariance((Structure("matern32", 9000.0, 900.0),), nugget=16.0)


def some(survey: xr.DataArray, count: int = 12) -> np.ndarray:
    observed = survey.notnull().values
    places = np.zeros(observed.shape, bool)
    rows, cols = np.nonzero(observed)
    chosen = np.random.default_rng(3).choice(rows.size, count, replace=False)
    places[rows[chosen], cols[chosen]] = True
    return places


@pytest.mark.parametrize("how", ["ordinary", "universal", "external drift"])
def test_kriging_from_one_factor_is_kriging_without_each(survey: xr.DataArray, how: str) -> None:
    """Against the exact system of the others, predicted by the method itself."""
    survey = survey[:40, :40]
    drift = survey.copy(data=np.add.outer(np.arange(40.0), np.cos(np.arange(40.0))).astype("f4"))
    more = {"drift": drift} if how == "external drift" else {"kind": how}
    method, places = Kriging(covariance=KNOWN, **more), some(survey)
    left = leave_one_out(method, survey.expand_dims("band"), places)
    for row, col in zip(*np.nonzero(places), strict=True):
        others = survey.copy()
        others[row, col] = np.nan
        done = complete(others, method)
        assert left.mean[0, row, col] == pytest.approx(float(done["mean"][0, row, col]), abs=2e-3)
        assert left.variance[0, row, col] == pytest.approx(float(done["variance"][0, row, col]), rel=2e-4)
    assert np.isfinite(left.mean).sum() == places.sum()


def test_from_neighbours_some_are_left_out_as_all_are(survey: xr.DataArray) -> None:
    """Against `PointKriging.leave_one_out`, which does all of them."""
    field, places = survey[:40, :40].expand_dims("band"), some(survey[:40, :40])
    method = Kriging(covariance=KNOWN, neighbours=20)
    left = leave_one_out(method, field, places)
    band = method.prepare(field).bands[0]
    known = band.observations
    every = PointKriging.of(known.coords, known.values, KNOWN, neighbours=20).leave_one_out()
    chosen = places[band.survey.rows, band.survey.cols]
    at = band.survey.rows[chosen], band.survey.cols[chosen]
    np.testing.assert_allclose(left.mean[0][at], (known.values - every[0])[chosen], rtol=1e-9)
    np.testing.assert_allclose(left.variance[0][at], every[1][chosen], rtol=1e-9)


def test_the_latent_field_has_no_nugget(survey: xr.DataArray) -> None:
    field, places = survey[:40, :40].expand_dims("band"), some(survey[:40, :40])
    noisy, latent = (leave_one_out(Kriging(covariance=KNOWN, noise=n), field, places) for n in (True, False))
    np.testing.assert_allclose((noisy.variance - latent.variance)[:, places], 16, rtol=1e-6)


@pytest.mark.parametrize("name", ["nearest", "linear", "idw", "pykrige"])
def test_other_methods_are_run_again_without_each(survey: xr.DataArray, name: str) -> None:
    survey = survey[:40, :40]
    cube = xr.concat([survey, survey * 2 + 5], "band")
    places = some(survey)
    method = choose(name).prepare(cube)
    left = leave_one_out(choose(name), cube, places)
    for row, col in zip(*np.nonzero(places), strict=True):
        others = cube.copy()
        others[:, row, col] = np.nan
        done = method.predict(others)
        np.testing.assert_allclose(left.mean[:, row, col], done["mean"][:, row, col], rtol=1e-5)
        if left.variance is not None:
            np.testing.assert_allclose(left.variance[:, row, col], done["variance"][:, row, col], rtol=1e-4)
    assert (left.variance is not None) == method.has_variance


def test_what_is_left_out_is_never_given_away_by_an_overview(survey: xr.DataArray) -> None:
    """A lone observation: only others can answer for it, and where none is in reach, nothing does."""
    field = survey.where(False)
    field[5:8, 5:8] = 10.0
    field[90, 70] = 1000.0
    places = np.zeros(field.shape, bool)
    places[90, 70] = True
    near, far = (leave_one_out(Idw(reach=n), field.expand_dims("band"), places) for n in (30, 120))
    assert np.isnan(near.mean[0, 90, 70])
    assert far.mean[0, 90, 70] == pytest.approx(10)


def test_all_are_left_out_where_that_is_free_and_a_sample_where_it_is_not() -> None:
    observed = np.random.default_rng(0).random((60, 60)) < 0.5
    dense = np.ones((90, 90), bool)
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(places_left_out(observed, [Kriging()], rng), observed)
    assert places_left_out(dense, [Kriging()], rng).sum() == MOST_KRIGED
    sample = places_left_out(observed, [Kriging(), Idw()], rng)
    assert sample.sum() == MOST
    assert not (sample & ~observed).any()


def test_methods_side_by_side_are_scored_on_the_same_observations(survey: xr.DataArray) -> None:
    done = evaluate(survey[:40, :40], [Kriging(covariance=KNOWN), "idw", "bundled"], holdout="leave-one-out")
    kriging, idw, bundled = done.rows
    assert kriging.scores.count == idw.scores.count == int(survey[:40, :40].notnull().sum())
    assert kriging.scores.rmse < idw.scores.rmse
    assert kriging.scores.coverage90 == pytest.approx(0.9, abs=0.1)
    assert "offers no leave-one-out" in bundled.failure
    assert "--context 0.9" in bundled.failure
    assert f"{kriging.scores.count} of {kriging.scores.count} observed pixels left out" in done.to_markdown()


def test_too_few_and_methods_that_cannot_say_so(survey: xr.DataArray) -> None:
    field = survey.where(False).expand_dims("band").copy()
    field[0, 3, 3] = 1.0
    places = np.isfinite(field.values[0])
    with pytest.raises(InputError, match="two observations"):
        leave_one_out(Idw(), field, places)
    field[0, 5, 5] = 2.0
    with pytest.raises(MethodError, match="'fillnodata' offers no leave-one-out"):
        leave_one_out(choose("fillnodata"), field, places)
