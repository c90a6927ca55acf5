"""Searches that run at once find what one after the other finds, and leave torch as it was."""

import numpy as np
import pytest
import torch

from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.fit import fit_covariance, fit_grid
from geonp.kriging.threads import at_once, one_thread


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_and_every_worker_has_one_thread(three_threads):
    with one_thread() as workers:
        found = list(at_once(lambda job: (job, torch.get_num_threads()), range(7), workers))
    assert workers == 3
    assert found == [(job, 1) for job in range(7)]
    assert torch.get_num_threads() == 3


def test_an_error_in_a_job_is_raised(three_threads):
    with one_thread() as workers, pytest.raises(ZeroDivisionError):
        list(at_once(lambda job: 1 / job, [1, 0, 2], workers))
    assert torch.get_num_threads() == 3


def simulate(model: Covariance, coords: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(coords)
    matrix = model(x, x).numpy() + model.nugget * np.eye(len(coords))
    return np.linalg.cholesky(matrix) @ np.random.default_rng(0).standard_normal(len(coords))


def _fits() -> list[str]:
    """Return what is found among scattered data, and on a raster with gaps that are rehearsed."""
    rng = np.random.default_rng(4)
    truth = Covariance((Structure("matern32", 1.0, 8.0, angle=30.0, ratio=0.5),), 0.05)
    coords = rng.uniform(0, 60, (300, 2))
    grid = np.stack(np.meshgrid(np.arange(40.0), np.arange(40.0), indexing="ij"), -1).reshape(-1, 2)
    raster = simulate(truth, grid).reshape(40, 40)
    raster[rng.random(raster.shape) > 0.5] = np.nan
    raster[12:24, 14:27] = np.nan
    gaps = fit_grid(raster, (1.0, 1.0), seed=0)
    assert gaps.rehearsal is not None
    return [repr(fit_covariance(coords, simulate(truth, coords), seed=0)), repr(gaps)]


def test_the_fit_does_not_depend_on_how_many_searches_run_at_once(three_threads):
    several = _fits()
    with one_thread():
        alone = _fits()
    assert several == alone
