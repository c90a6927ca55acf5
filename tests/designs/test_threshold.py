"""Sites for a threshold: against a brute-force count of mistakes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.criteria import Misclassified, mistaken
from geonp.kriging.gains import Gains
from geonp.kriging.lattice import Lattice
from geonp.kriging.solver import Solver
from geonp.kriging.update import Surveyed
from geonp.methods.kriging import Kriging
from geonp.suggestion import suggest

from .exact import errors

COVARIANCE = Covariance((Structure("matern32", 2500.0, 900.0, angle=20, ratio=0.6),), 4.0)
STEP = (-90.0, 80.0)


def test_mistakes_of_one_pixel() -> None:
    assert mistaken(1.3, 1.0) == pytest.approx(0.5 * math.erfc(1.3 / math.sqrt(2)))  # nothing observed
    assert mistaken(1.3, 0.0) == 0  # all is known
    assert mistaken(0.0, 0.36) == pytest.approx(math.acos(0.8) / math.pi)  # the angle between two normals
    rng = np.random.default_rng(0)
    for distance, share in ((0.4, 0.5), (1.2, 0.2), (0.9, 0.9)):
        told, rest = rng.standard_normal((2, 400_000)) * np.sqrt([[1 - share], [share]])
        wrong = np.mean((distance + told > 0) != (distance + told + rest > 0))
        assert mistaken(distance, share) == pytest.approx(wrong, abs=4 * math.sqrt(wrong / 400_000))


def test_a_batch_saves_as_many_mistakes_as_brute_force_counts() -> None:
    rng = np.random.default_rng(3)
    shape, threshold, n = (11, 12), 40.0, 30_000
    seen = rng.random(shape) < 0.1
    values = np.where(seen, 40 + 40 * rng.standard_normal(shape), np.nan)
    mean, cov = errors(seen, values, STEP, COVARIANCE)
    lattice = Lattice(shape, 1, 24)
    surveyed = Surveyed(lattice, STEP, Solver(COVARIANCE), *np.nonzero(seen))
    prior = surveyed.variances()
    free = ~seen.ravel()
    np.testing.assert_allclose(prior.ravel()[free], cov.diagonal()[free], rtol=1e-8)
    distance = np.where(free, abs(mean - threshold) / np.sqrt(np.maximum(cov.diagonal(), 1e-12)), np.inf)
    gains = Gains(surveyed, Misclassified(distance.reshape(shape), prior), prior)
    before = gains.total
    assert before == pytest.approx(sum(0.5 * math.erfc(d / math.sqrt(2)) for d in distance[free]))

    # The surface, what three sites say of it, and how it is then kriged and classified.
    batch = [(2, 3), (3, 4), (8, 7)]
    assert not seen[tuple(np.array(batch).T)].any()
    saved, flat = 0.0, []
    root = np.linalg.cholesky(cov + 1e-6 * np.eye(len(cov)))
    truth = mean + rng.standard_normal((n, len(mean))) @ root.T
    for row, col in batch:
        saved += gains.gain[row, col]
        gains.take(np.array([[row, col]]))
        flat.append(row * shape[1] + col)
        told = truth[:, flat] + 2.0 * rng.standard_normal((n, len(flat)))
        k = cov[np.ix_(flat, flat)] + 4.0 * np.eye(len(flat))
        anew = mean + (told - mean[flat]) @ np.linalg.solve(k, cov[flat])
        rest = free.copy()
        rest[flat] = False  # a site that was surveyed is known, whatever little noise it has
        wrong = ((anew > threshold) != (truth > threshold))[:, rest].sum(1)
        assert before - saved == pytest.approx(wrong.mean(), abs=4 * wrong.std() / math.sqrt(n) + 0.02)


def test_sites_crowd_about_the_threshold(survey: xr.DataArray) -> None:
    field = survey[:60, :60].where(np.random.default_rng(1).random((60, 60)) < 0.3)
    method = Kriging(covariance=COVARIANCE)
    level = float(np.nanquantile(field, 0.75))
    sites = suggest(field, 8, method, threshold=level, stationary=True)
    assert sites[0].left > sites[-1].left > 0
    done = method.prepare(field.expand_dims("band")).predict(field.expand_dims("band"))
    free = np.isnan(field.values)
    doubt = abs(done["mean"].values[0] - level) / np.sqrt(np.where(free, done["variance"].values[0], 1))
    chosen = [doubt[site.row, site.col] for site in sites]
    assert np.mean(chosen) < 0.6 * np.median(doubt[free])


def test_thresholds_that_cannot_be_asked_about(survey: xr.DataArray) -> None:
    field, method = survey[:24, :24], Kriging(covariance=COVARIANCE)
    with (
        pytest.warns(GeonpWarning, match="above everything that was observed"),
        pytest.raises(InputError, match=r"every pixel is on its side of 1e\+06 beyond doubt"),
    ):
        suggest(field, 2, method, threshold=1e6)
    with pytest.warns(GeonpWarning, match="above everything"):
        assert suggest(field, 1, method, threshold=float(field.max()) + 5, stationary=True)
    with pytest.raises(UsageError, match="a threshold is a number"):
        suggest(field, 2, method, threshold=math.nan)
