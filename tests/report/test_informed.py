"""Reports of surveys with covariates, and with errors of the observations."""

import numpy as np
import pytest
import xarray as xr

from geonp.errors import UsageError
from geonp.field import as_field
from geonp.methods.errors import with_errors
from geonp.methods.kriging import Kriging
from geonp.metrics import crps
from geonp.predict import complete
from geonp.report import page


@pytest.fixture(scope="module")
def off(little: xr.DataArray) -> xr.DataArray:
    """Errors of the observations: 2 m in the west, 30 m in the east."""
    return xr.where(little.x < little.x[12], 2.0, 30.0).broadcast_like(little).astype("f4")


def test_a_method_stands_beside_itself_without_its_covariates(
    little: xr.DataArray, truth: xr.DataArray
) -> None:
    rough = truth + 3 * np.sin(np.arange(truth.size)).reshape(truth.shape).astype("f4")
    made = page(little, methods=["kriging"], covariates=rough, covariate_policy="always")
    assert made.evaluation is not None
    rmse = {row.method: row.score("rmse") for row in made.evaluation.rows}
    assert list(rmse) == ["kriging + covariates", "kriging"]
    assert rmse["kriging + covariates"] < 0.8 * rmse["kriging"]
    assert made.study.overview.method == "kriging + covariates"
    assert "kriging + covariates" in made.html


def test_what_is_hidden_was_measured_with_its_error(little: xr.DataArray, off: xr.DataArray) -> None:
    made = page(little, methods=["kriging", "nearest"], errors=off)
    assert made.evaluation is not None
    assert made.study.folds is not None
    told = {row.method: row for row in made.evaluation.rows}
    assert list(told) == ["kriging + errors", "kriging", "nearest"]
    values, errors = little.values.astype(float), off.values.astype(float)
    means, variances = np.full_like(values, np.nan), np.full_like(values, np.nan)
    for mask in made.study.folds.masks:
        done = complete(as_field(little.where(~mask)), with_errors(Kriging(), off))
        means[mask] = done["mean"].values[0][mask]
        variances[mask] = (done["variance"].values[0] + errors**2)[mask]
    hidden = np.isfinite(means)
    by_hand = crps(values[hidden], means[hidden], variances[hidden])
    assert told["kriging + errors"].score("crps") == pytest.approx(by_hand, rel=1e-5)


def test_errors_need_a_method_that_takes_them(little: xr.DataArray) -> None:
    with pytest.raises(UsageError, match="add kriging or bundled"):
        page(little, methods=["nearest"], errors=3.0)
