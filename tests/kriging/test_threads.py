"""Searches that run at once find what one after the other finds, and leave BLAS and torch as they were."""

import threading

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.fit import fit_covariance, fit_grid
from geonp.kriging.threads import at_once, available, one_thread


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    with threadpool_limits(3, user_api="blas"):
        yield
    torch.set_num_threads(before)


def of_blas() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_results_come_in_order_and_every_worker_has_one_thread(three_threads):
    with one_thread() as workers:
        found = list(at_once(lambda job: (job, available(), torch.get_num_threads()), range(7), workers))
        assert of_blas() == {1}
    assert workers == 3
    assert found == [(job, 1, 1) for job in range(7)]
    assert (available(), torch.get_num_threads(), of_blas()) == (3, 3, {3})


def test_an_error_in_a_job_is_raised(three_threads):
    with one_thread() as workers, pytest.raises(ZeroDivisionError):
        list(at_once(lambda job: 1 / job, [1, 0, 2], workers))
    assert (available(), torch.get_num_threads(), of_blas()) == (3, 3, {3})


def test_blas_has_one_thread_until_the_last_who_asked_for_it_is_done(three_threads):
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with one_thread():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with one_thread():
        thread.start()
        assert inside.wait(10)
    assert of_blas() == {1}
    assert available() == 3
    leave.set()
    thread.join(10)
    assert of_blas() == {3}


def test_another_thread_than_the_one_that_limited_blas_is_heard(three_threads):
    found = []

    def other() -> None:
        with one_thread():
            found.append(of_blas())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(10)
    assert found == [{1}]
    assert of_blas() == {3}


def simulate(model: Covariance, coords: np.ndarray) -> np.ndarray:
    matrix = model(coords, coords) + model.nugget * np.eye(len(coords))
    return np.linalg.cholesky(matrix) @ np.random.default_rng(0).standard_normal(len(coords))


def _fits(scattered: tuple[np.ndarray, np.ndarray], raster: np.ndarray) -> list[str]:
    """Return what is found among scattered data, and on a raster with gaps that are rehearsed."""
    gaps = fit_grid(raster, (1.0, 1.0), seed=0)
    assert gaps.rehearsal is not None
    return [repr(fit_covariance(*scattered, seed=0)), repr(gaps)]


def test_the_fit_does_not_depend_on_how_many_searches_run_at_once(three_threads):
    rng = np.random.default_rng(4)
    truth = Covariance((Structure("matern32", 1.0, 8.0, angle=30.0, ratio=0.5),), 0.05)
    coords = rng.uniform(0, 60, (300, 2))
    grid = np.stack(np.meshgrid(np.arange(40.0), np.arange(40.0), indexing="ij"), -1).reshape(-1, 2)
    raster = simulate(truth, grid).reshape(40, 40)
    raster[rng.random(raster.shape) > 0.5] = np.nan
    raster[12:24, 14:27] = np.nan
    data = (coords, simulate(truth, coords))
    several = _fits(data, raster)
    with one_thread():
        alone = _fits(data, raster)
    assert several == alone
