"""Errors of observations in an evaluation: who is told of them, and what hidden ones are scored against."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scoringrules import crps_normal

from geonp.errors import InputError, MissingCRSWarning, UsageError
from geonp.evaluation import evaluate
from geonp.field import as_field
from geonp.heldout import Seen, begin, how_of
from geonp.kriging.covariance import Covariance, Structure
from geonp.methods.classical import Nearest
from geonp.methods.errors import with_errors
from geonp.methods.kriging import Kriging
from geonp.predict import complete

MODEL = Covariance((Structure("matern32", 2000.0, 600.0),), 4.0)
KRIGED = Kriging(covariance=MODEL)


@pytest.fixture
def sounded(survey: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """A survey of a field that has the model's covariance, a third off by 40 m, the rest by 2 m; errors and truth."""
    survey = survey[:40, :36]
    rng = np.random.default_rng(5)
    places = torch.from_numpy(np.stack(np.indices(survey.shape), -1).reshape(-1, 2) * 90.0)
    root = np.linalg.cholesky(MODEL(places, places).numpy() + MODEL.nugget * np.eye(survey.size))
    truth = survey.copy(data=(root @ rng.standard_normal(survey.size)).reshape(survey.shape).astype("f4"))
    std = np.where(rng.random(survey.shape) < 1 / 3, 40.0, 2.0).astype("f4")
    seen = rng.random(survey.shape) < 0.3
    noisy = truth.values + std * rng.standard_normal(survey.shape)
    field = survey.copy(data=np.where(seen, noisy, np.nan).astype("f4"))
    return field, survey.copy(data=np.where(seen, std, np.nan)), truth


def test_the_error_of_what_is_hidden_is_added_to_what_is_scored(sounded) -> None:
    field, errors, _ = sounded
    rows = evaluate(field, [KRIGED, Nearest()], errors=errors, context=0.7, seed=3).rows
    assert [row.method for row in rows] == ["kriging", "kriging + errors", "nearest"]
    seen = Seen.of(as_field(field), None, None)
    trial = begin(seen, None, how_of("random", 0.7, 16, False), {}, np.random.default_rng([3, 0]))
    done = complete(trial.given, with_errors(KRIGED, errors))
    hidden = trial.hidden & np.isfinite(trial.truth.values[0])
    mean, variance = (done[name].values[0][hidden].astype(float) for name in ("mean", "variance"))
    deviation = np.sqrt(variance + errors.values[hidden] ** 2)
    expected = crps_normal(trial.truth.values[0][hidden], mean, deviation)
    assert rows[1].score("crps") == pytest.approx(float(np.mean(expected)), rel=1e-5)
    assert rows[1].score("standardised_rmse") == pytest.approx(1, abs=0.15)
    # Kriging that is given a covariance without the errors' share in its nugget does not expect them.
    assert rows[0].score("standardised_rmse") > 1.5
    assert rows[1].score("crps") < 0.9 * rows[0].score("crps")


def test_a_truth_has_no_errors(sounded) -> None:
    field, errors, truth = sounded
    told = evaluate(field, [KRIGED], truth=truth, errors=errors).rows[1]
    done = complete(field, with_errors(KRIGED, errors))
    free = np.isnan(field.values)
    z = (done["mean"].values[0] - truth.values)[free] / np.sqrt(done["variance"].values[0][free])
    assert told.score("standardised_rmse") == pytest.approx(
        float(np.sqrt(np.mean(z.astype(float) ** 2))), rel=1e-5
    )


def test_methods_that_were_told_before_are_scored_alike(sounded) -> None:
    field, errors, _ = sounded
    for holdout in ("random", "leave-one-out"):
        one = evaluate(field, [KRIGED], errors=errors, holdout=holdout).rows[1]
        (other,) = evaluate(field, [with_errors(KRIGED, errors)], holdout=holdout).rows
        assert one.scores == other.scores
        assert one.score("standardised_rmse") == pytest.approx(1, abs=0.15)


def test_covariates_and_errors_together(sounded) -> None:
    field, errors, truth = sounded
    cloudy = truth.copy(data=truth.values + 9 * np.random.default_rng(1).standard_normal(truth.shape)).rename(
        "dem"
    )
    rows = evaluate(
        field, [KRIGED, "cubic"], errors=errors, covariates=cloudy, covariate_policy="always"
    ).rows
    names = [
        "kriging",
        "kriging + covariates",
        "kriging + covariates + errors",
        "cubic",
        "cubic + covariates",
    ]
    assert [row.method for row in rows] == names
    assert rows[2].score("crps") < 0.8 * rows[1].score("crps")


def test_windows_of_a_large_raster_find_their_own_errors(sounded, monkeypatch: pytest.MonkeyPatch) -> None:
    field, errors, _ = sounded
    bare, off = (xr.DataArray(a.values, dims=("y", "x")) for a in (field, errors))
    monkeypatch.setattr("geonp.evaluation.WHOLE_UP_TO", 30)
    monkeypatch.setattr("geonp.evaluation.WINDOW", 24)
    rows = evaluate(field, [KRIGED], errors=errors).rows
    assert {row.window for row in rows} - {None}
    assert not any(row.failure for row in rows)
    with pytest.warns(MissingCRSWarning):
        rows = evaluate(
            bare, [Kriging(covariance=Covariance((Structure("matern32", 2e3, 7.0),), 4.0))], errors=off
        ).rows
    assert not any(row.failure for row in rows)


def test_errors_of_several_rasters(sounded) -> None:
    field, errors, _ = sounded
    fields = {"a": field, "b": field + 7}
    by_name = evaluate(fields, [KRIGED], errors={"b": 2 * errors, "a": errors})
    in_order = evaluate(fields, [KRIGED], errors=[errors, 2 * errors])
    for one, other in zip(by_name.rows, in_order.rows, strict=True):
        assert one.scores == other.scores
    assert by_name.rows[1].score("crps") != by_name.rows[3].score("crps")
    with pytest.raises(UsageError, match="no errors for b; name errors like their surveys"):
        evaluate(fields, [KRIGED], errors={"a": errors})
    with pytest.raises(UsageError, match=r"1 error\(s\) for 2 raster\(s\)"):
        evaluate(fields, [KRIGED], errors=[errors])


def test_refusals(sounded) -> None:
    field, errors, _ = sounded
    with pytest.raises(UsageError, match="none of the methods takes errors"):
        evaluate(field, ["nearest"], errors=1.0)
    with pytest.raises(UsageError, match=r"an error of -1\.0 is impossible"):
        evaluate(field, [KRIGED], errors=-1.0)
    with pytest.raises(InputError, match="lie on another grid than the survey"):
        evaluate(field, [KRIGED], errors=errors.assign_coords(x=errors.x + 11))
    wrong = errors.copy(data=np.where(np.isfinite(errors), -errors, np.nan))
    for row in evaluate(field, [KRIGED, Nearest()], errors=wrong).rows:
        assert "an error is a standard deviation" in row.failure
