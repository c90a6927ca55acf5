"""Realisations of a field by kriging and by the bundled method, in windows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from geonp.errors import GeonpWarning, MethodError, UsageError
from geonp.kriging.covariance import Covariance, Structure
from geonp.methods.classical import Cubic
from geonp.methods.flagship import Flagship
from geonp.methods.kriging import Kriging
from geonp.predict import complete
from geonp.simulation import begin, simulate

COVARIANCE = Covariance((Structure("matern32", 2500.0, 900.0),), 9.0)
KRIGED = Kriging(covariance=COVARIANCE)


def test_shape_coordinates_and_observations(survey: xr.DataArray) -> None:
    done = simulate(survey, KRIGED, 3, seed=4)
    assert done.dims == ("realisation", "band", "y", "x")
    assert done.realisation.values.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(done.x, survey.x)
    seen = np.isfinite(survey.values)
    np.testing.assert_array_equal(done.values[1, 0][seen], survey.values[seen])
    assert np.isfinite(done.values).all()


def test_number_tiles_and_memory_leave_no_trace(survey: xr.DataArray) -> None:
    whole = simulate(survey, KRIGED, 4).values
    np.testing.assert_array_equal(simulate(survey, KRIGED, 4).values, whole)
    np.testing.assert_allclose(simulate(survey, KRIGED, 2, tile=33).values, whole[:2], atol=1e-3)
    pieces = list(replace(begin(survey.expand_dims("band"), KRIGED, 4, tile=64), memory=600_000))
    assert {piece.first for piece in pieces} == {0, 2}
    for piece in pieces:
        rows, cols = (
            slice(piece.window.row, piece.window.stop[0]),
            slice(piece.window.col, piece.window.stop[1]),
        )
        expected = whole[piece.first : piece.first + 2, :, rows, cols]
        np.testing.assert_allclose(piece.values, expected, atol=1e-3)


def test_fields_too_large_for_an_embedding_are_one_field_too(survey: xr.DataArray) -> None:
    field = survey.expand_dims("band")

    def drawn(tile: int) -> np.ndarray:
        out = np.empty((2, *field.shape), np.float32)
        ready = begin(field, KRIGED, 2, tile=tile, memory=1 << 18)
        assert ready.describe()["fields_1"] == "waves"
        for piece in ready:
            rows = slice(piece.window.row, piece.window.stop[0])
            cols = slice(piece.window.col, piece.window.stop[1])
            out[piece.first : piece.first + 2, :, rows, cols] = piece.values
        return out

    np.testing.assert_allclose(drawn(40), drawn(96), atol=2e-2)


def test_latent_realisations_lack_the_nugget(survey: xr.DataArray) -> None:
    observable = simulate(survey, KRIGED, 2).values
    latent = simulate(survey, KRIGED, 2, latent=True).values
    free = np.isnan(survey.values)
    noise = (observable - latent)[:, 0][:, free]
    assert noise.std() == pytest.approx(3.0, rel=0.03)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.05


def test_the_bundled_method_keeps_its_mean_and_variance(survey: xr.DataArray) -> None:
    field, n = survey[:48, :48], 80
    method = Flagship(insist=True, orientations=1)
    expected = complete(field, method)
    done = simulate(field, method, n, seed=1).values[:, 0]
    mean, variance = expected["mean"].values[0], expected["variance"].values[0]
    free = np.isnan(field.values)
    score = (done.mean(0) - mean)[free] / np.sqrt(variance[free] / n)
    assert abs(score).max() < 5
    assert (score**2).mean() ** 0.5 == pytest.approx(1, abs=0.4)
    assert (done.var(0, ddof=1)[free] / variance[free]).mean() == pytest.approx(1, abs=0.08)
    np.testing.assert_array_equal(done[3][~free], field.values[~free])


def test_the_bundled_method_draws_one_realisation_in_any_windows(survey: xr.DataArray) -> None:
    method = Flagship(insist=True, orientations=1)
    field = survey[:70, :60]
    whole = simulate(field, method, 4, seed=3).values[:, 0]
    spread = np.sqrt(complete(field, method)["variance"].values[0])
    assert whole.std(0)[np.isnan(field.values)].min() > 0
    for tile in (33, 24):
        tiled = simulate(field, method, 2, seed=3, tile=tile).values[:, 0]
        assert (abs(tiled - whole[:2]) <= 1e-3 * spread + 1e-3).all()


def test_a_drift_is_followed(survey: xr.DataArray, jacksboro: np.ndarray) -> None:
    hill = survey.copy(data=jacksboro[100:196, 120:200] / 100 + np.indices(survey.shape)[0] / 9)
    method = Kriging(covariance=COVARIANCE, drift=hill)
    n = 60
    expected = complete(survey, method)
    done = simulate(survey, method, n).values[:, 0]
    free = np.isnan(survey.values)
    variance = expected["variance"].values[0][free]
    score = (done.mean(0) - expected["mean"].values[0])[free] / np.sqrt(variance / n)
    assert (score**2).mean() ** 0.5 == pytest.approx(1, abs=0.3)
    assert (done.var(0, ddof=1)[free] / variance).mean() == pytest.approx(1, abs=0.05)


def test_constant_and_empty_bands() -> None:
    values = np.full((3, 20, 20), np.nan, np.float32)
    values[0, ::3, ::3] = np.random.default_rng(0).standard_normal((7, 7))
    values[1, 4, 4] = 5.0
    field = xr.DataArray(values, dims=("band", "y", "x"))
    with pytest.warns(GeonpWarning):
        done = simulate(
            field, Kriging(covariance=Covariance((Structure("matern32", 1.0, 5.0),), 0.0)), 2
        ).values
    assert (done[:, 1] == 5).all()
    assert np.isnan(done[:, 2]).all()
    assert done[:, 0].std() > 0


def test_realisations_have_the_roughness_that_the_mean_lacks(survey: xr.DataArray) -> None:
    done = simulate(survey, KRIGED, 2).values[0, 0]
    mean = complete(survey, KRIGED)["mean"].values[0]
    lag = 90.0
    rough = COVARIANCE.total_sill - 2500 * (1 + math.sqrt(3) * lag / 900) * math.exp(
        -math.sqrt(3) * lag / 900
    )
    free = np.isnan(survey.values[:, 1:]) & np.isnan(survey.values[:, :-1])
    assert (np.diff(done) ** 2)[free].mean() / 2 > (np.diff(mean) ** 2)[free].mean() / 2 + 0.5 * 9
    assert rough > 0


def test_realisations_are_free_of_errors_that_are_stated(survey: xr.DataArray) -> None:
    field = survey[:40, :36]
    seen = np.isfinite(field.values)
    off = field.copy(data=np.where(np.indices(seen.shape)[1] < 18, 0.0, 30.0))
    for method in (KRIGED, Flagship(insist=True, orientations=1, calibrate=False)):
        method = replace(method, errors=off)
        done = simulate(field, method, 60, seed=2)
        values, told = done.values[:, 0], complete(field, method)
        exact = seen & (off.values == 0)
        np.testing.assert_array_equal(
            values[:, exact], np.broadcast_to(field.values[exact], (60, exact.sum()))
        )
        mean, spread = told["mean"].values[0], np.sqrt(told["variance"].values[0])
        drawn = seen & (off.values > 0)
        assert (values[:, drawn].std(0) > 0.3 * spread[drawn]).all()
        score = (values.mean(0) - mean)[~exact] / spread[~exact] * np.sqrt(60)
        assert np.sqrt((score**2).mean()) == pytest.approx(1, abs=0.3)
        tiled = simulate(field, method, 2, seed=2, tile=17).values[:, 0]
        np.testing.assert_allclose(tiled, values[:2], atol=1e-2)


def test_refusals(survey: xr.DataArray) -> None:
    with pytest.raises(UsageError, match="0 realisations"):
        simulate(survey, KRIGED, 0)
    with pytest.raises(MethodError, match="--method kriging"):
        simulate(survey, Cubic(), 2)
    with pytest.raises(UsageError, match="0 or more, got -4"):
        simulate(survey, KRIGED, 2, seed=-4)
