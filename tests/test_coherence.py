"""Block means of realisations vary as plain linear algebra says, and the measures of it know what is right."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scoringrules import crps_ensemble, es_ensemble

from geonp.field import spacing
from geonp.kriging.covariance import Covariance
from geonp.methods.base import Place
from geonp.methods.flagship import Flagship
from geonp.simulation import begin

Array = NDArray[np.float64]

SCRIPT = Path(__file__).parents[1] / "docs" / "scripts" / "coherence.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    found = importlib.util.spec_from_file_location("coherence", SCRIPT)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    # Dataclasses look their module up.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "coherence", module)
        found.loader.exec_module(module)
    return module


def error_covariance(covariance: Covariance, seen: NDArray[np.bool_], step: tuple[float, float]) -> Array:
    """Return the covariance of ordinary kriging's errors of the observable at the pixels that are not seen."""
    places = np.argwhere(np.ones_like(seen)) * np.array(step)
    c, known = covariance(places, places), seen.ravel()
    n = int(known.sum())
    a = np.ones((n + 1, n + 1))
    a[:n, :n] = c[np.ix_(known, known)] + covariance.nugget * np.eye(n)
    a[n, n] = 0
    b = np.vstack([c[np.ix_(known, ~known)], np.ones((~known).sum())])
    own = c[np.ix_(~known, ~known)] - b.T @ np.linalg.solve(a, b)
    return np.asarray(own + covariance.nugget * np.eye(len(own)))


def test_block_means_of_the_bundled_method_vary_as_its_deviations_and_krigings_correlation_say(
    survey: xr.DataArray, script: ModuleType
) -> None:
    field, n = survey[:40, :40].expand_dims("band"), 200
    ready = begin(field, Flagship(insist=True, orientations=1), n, seed=3)
    drawn = np.concatenate([piece.values[:, 0] for piece in ready]).astype(np.float64)
    method, seen = ready.completion.method, np.isfinite(field.values[0])
    assert isinstance(method, Flagship)
    done = method.complete(field.values, spacing(field), Place.whole((40, 40)))
    assert done.variance is not None
    exact = error_covariance(method.groups[0].krigings[0].solver.covariance, seen, spacing(field))
    deviation = np.sqrt(done.variance[0][~seen] / exact.diagonal())
    exact *= deviation[:, None] * deviation
    for side in (4, 8, 20):
        found = script.block_means(drawn, ~seen, side)
        weights = np.stack([script.block_means(unit, ~seen, side) for unit in _units(~seen)], 1)
        expected = weights @ exact @ weights.T
        middle = script.block_means(np.where(seen, 0, done.mean[0]).astype(np.float64), ~seen, side)
        score = (found.mean(0) - middle) / np.sqrt(expected.diagonal() / n)
        assert abs(score).max() < 4.5
        ratio = found.var(0, ddof=1) / expected.diagonal()
        assert ratio.mean() == pytest.approx(1, abs=0.12)
        alone = (weights**2) @ exact.diagonal()
        assert expected.diagonal().mean() > 2 * alone.mean()
        # Neighbouring blocks, too, vary together as they should.
        spread = np.sqrt(expected.diagonal())
        both = np.cov(found.T) / spread / spread[:, None]
        np.testing.assert_allclose(both, expected / spread / spread[:, None], atol=0.4)


def _units(where: NDArray[np.bool_]) -> list[Array]:
    """Return a layer for every pixel `where`, 1 there and 0 elsewhere."""
    layers = []
    for row, col in np.argwhere(where):
        layer = np.zeros(where.shape)
        layer[row, col] = 1
        layers.append(layer)
    return layers


def test_scores_are_those_of_scoringrules(script: ModuleType) -> None:
    rng = np.random.default_rng(0)
    truth, draws = rng.standard_normal((8, 8)), 1.3 * rng.standard_normal((100, 8, 8)) + 0.2
    every = np.ones((8, 8), bool)
    told = script.block_scores(truth.ravel(), draws.reshape(100, -1))
    fair = crps_ensemble(truth.ravel(), draws.reshape(100, -1).T, estimator="fair").mean()
    assert told[3] == pytest.approx(fair)
    energy = script.energy_score(truth, draws, every)
    biased = float(es_ensemble(truth.ravel(), draws.reshape(100, -1)))
    apart = np.linalg.norm(draws.reshape(100, 1, -1) - draws.reshape(1, 100, -1), axis=2).sum()
    assert energy == pytest.approx(biased - apart / 2 * (1 / 9900 - 1 / 10_000))


def test_a_calibrated_ensemble_measures_calibrated(script: ModuleType) -> None:
    rng = np.random.default_rng(1)
    draws = rng.standard_normal((101, 4000)) * 3 + 5
    fifty, ninety, squared, _ = script.block_scores(draws[0], draws[1:])
    assert fifty == pytest.approx(51 / 101, abs=0.025)
    assert ninety == pytest.approx(91 / 101, abs=0.015)
    assert squared == pytest.approx(1.01 * 99 / 97, abs=0.08)


def test_correlations_are_those_of_a_moving_average(script: ModuleType) -> None:
    white = np.random.default_rng(2).standard_normal((300, 41, 41))
    layers = white[:, 1:, 1:] + white[:, :-1, 1:] + white[:, 1:, :-1] + white[:, :-1, :-1]
    told = script.correlogram(layers, np.ones((40, 40), bool))
    assert told[0] == pytest.approx(0.5, abs=0.01)
    assert abs(told[1:]).max() < 0.02
