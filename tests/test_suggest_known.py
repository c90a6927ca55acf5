"""Where to survey next, with covariates and with errors: against kriging with each site added, by linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.kriging.covariance import Covariance, Structure
from geonp.methods.covaried import with_covariates
from geonp.methods.errors import with_errors
from geonp.methods.flagship import Flagship
from geonp.methods.kriging import Kriging
from geonp.suggestion import suggest, suggest_lines

COVARIANCE = Covariance((Structure("matern32", 2500.0, 900.0, angle=20, ratio=0.6),), 9.0)
KRIGED = Kriging(covariance=COVARIANCE)
NUGGET = 9.0


def variances(
    seen: np.ndarray, errors: np.ndarray | None = None, covariate: np.ndarray | None = None
) -> np.ndarray:
    """Kriging variance of the latent field at all pixels, by one bordered system; 0 where observed."""
    places = np.stack(np.meshgrid(*map(np.arange, seen.shape), indexing="ij"), -1).reshape(-1, 2)
    every = places * np.array((-90.0, 90.0))
    c, own = COVARIANCE(every, every), seen.ravel()
    f = np.ones((seen.size, 1))
    if covariate is not None:
        f = np.column_stack([f, (covariate - covariate.mean()).ravel() / covariate.std()])
    noise = NUGGET + (np.zeros(seen.shape) if errors is None else errors**2)
    k = c[np.ix_(own, own)] + np.diag(noise[seen])
    a = np.block([[k, f[own]], [f[own].T, np.zeros((f.shape[1], f.shape[1]))]])
    b = np.vstack([c[own], f.T])
    return np.where(seen, 0, (COVARIANCE.sill - (b * np.linalg.solve(a, b)).sum(0)).reshape(seen.shape))


def gains(seen: np.ndarray, errors: np.ndarray | None, covariate: np.ndarray | None) -> np.ndarray:
    """What observing each pixel takes from the summed variance, 0 where it is observed."""
    before, out = variances(seen, errors, covariate), np.zeros(seen.shape)
    for row, col in np.argwhere(~seen):
        more = seen.copy()
        more[row, col] = True
        off = None if errors is None else np.where(seen, errors, 0)
        left = variances(more, off, covariate)
        # The site itself keeps what its nugget hides.
        left[row, col] = before[row, col] * NUGGET / (before[row, col] + NUGGET)
        out[row, col] = (before - left).sum()
    return out


@pytest.fixture
def field(survey: xr.DataArray) -> xr.DataArray:
    return survey[:12, :12]


def check(site, expected: np.ndarray, before: np.ndarray) -> None:
    assert expected[site.row, site.col] > 0.995 * expected.max()
    assert site.gain == pytest.approx(expected[site.row, site.col] / before.sum(), rel=1e-4)
    assert site.std**2 == pytest.approx(before[site.row, site.col] + NUGGET, rel=1e-4)


def test_errors_of_the_survey_move_the_best_site(field: xr.DataArray) -> None:
    seen = np.isfinite(field.values)
    off = np.where(np.arange(12)[:, None] < 6, 80.0, 1.0) * np.ones((12, 12))
    (site,) = suggest(field, 1, with_errors(KRIGED, field.copy(data=off)), stationary=True)
    check(site, gains(seen, off, None), variances(seen, off))
    exact = gains(seen, None, None)
    assert exact[site.row, site.col] < 0.9 * exact.max()


def test_a_site_tells_of_the_coefficient_too(field: xr.DataArray) -> None:
    seen = np.isfinite(field.values)
    hill = np.exp(-((np.arange(12)[:, None] - 8) ** 2 + (np.arange(12) - 3) ** 2) / 6.0) * 40 + 3
    method = with_covariates(KRIGED, field.copy(data=hill).rename("hill"), "always")
    (site,) = suggest(field, 1, method, stationary=True)
    check(site, gains(seen, None, hill), variances(seen, None, hill))
    sites = suggest(field, 2, method, stationary=True)
    direct = suggest(field, 2, Kriging(covariance=COVARIANCE, drift=field.copy(data=hill)), stationary=True)
    assert [(s.row, s.col, s.gain) for s in direct] == [(s.row, s.col, s.gain) for s in sites]
    (without,) = suggest(field, 1, KRIGED, stationary=True)
    assert without.gain != pytest.approx(site.gain, rel=0.01)


def test_both_together(field: xr.DataArray) -> None:
    seen = np.isfinite(field.values)
    off = np.where(np.arange(12) < 5, 60.0, 2.0) * np.ones((12, 12))
    ramp = np.add.outer(np.arange(12.0) ** 2, np.arange(12.0))
    method = with_covariates(with_errors(KRIGED, field.copy(data=off)), field.copy(data=ramp), "always")
    (site,) = suggest(field, 1, method, stationary=True)
    check(site, gains(seen, off, ramp), variances(seen, off, ramp))


def test_what_does_not_help_is_left_out(survey: xr.DataArray) -> None:
    part = survey[:40, :40]
    noise = part.copy(data=np.random.default_rng(0).random((40, 40))).rename("noise")
    with pytest.warns(GeonpWarning, match="noise is left out"):
        sites = suggest(part, 2, with_covariates(KRIGED, noise))
    assert sites == suggest(part, 2, KRIGED)


def test_lines_take_covariates(survey: xr.DataArray) -> None:
    part = survey[:24, :24]
    ramp = part.copy(data=np.add.outer(np.arange(24.0) ** 2, np.arange(24.0)))
    options = {"length": 900.0, "stationary": True}
    (one,) = suggest_lines(part, 1, with_covariates(KRIGED, ramp, "always"), **options)
    (same,) = suggest_lines(part, 1, Kriging(covariance=COVARIANCE, drift=ramp), **options)
    (without,) = suggest_lines(part, 1, KRIGED, **options)
    assert one == same
    assert one.gain != without.gain


def test_refusals(survey: xr.DataArray) -> None:
    part = survey[:32, :32]
    ramp = np.add.outer(np.arange(32.0) ** 2, np.arange(32.0))
    holey = part.copy(data=np.where(np.arange(32) < 22, ramp, np.nan)).rename("holey")
    with (
        pytest.raises(InputError, match=r"unknown at some pixels.*fill it, or leave it out"),
        pytest.warns(GeonpWarning),
    ):
        suggest(part, 1, with_covariates(KRIGED, holey, "always"))
    network = with_covariates(Flagship(insist=True), part.copy(data=ramp), "always")
    for ask in (suggest, suggest_lines):
        with pytest.raises(UsageError, match="leave --method bundled out, or --covariate"):
            ask(part, 1, network)
    with pytest.raises(InputError, match="errors given cannot be those of"):
        suggest(part, 1, with_errors(KRIGED, part.copy(data=np.full((32, 32), -1.0)).rename(None)))
