"""Observations that err, each by its own: against other packages, textbook systems and limits."""

from dataclasses import replace

import gstools as gs
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from geonp.kriging.board import Pixels
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.evidence import _heard, leave_one_out
from geonp.kriging.exact import Exact
from geonp.kriging.fit import fit_grid
from geonp.kriging.layout import heard, plan
from geonp.kriging.local import Groups, krige_groups
from geonp.kriging.raster import RasterKriging
from geonp.kriging.remeasured import remeasure
from geonp.kriging.scattered import PointKriging
from geonp.kriging.simulate import Simulator
from geonp.kriging.solver import Solver
from geonp.kriging.survey import Block, Survey

from .naive import exponential, naive_kriging

STEP = (-1.0, 1.5)
SHAPE = (24, 21)
MODEL = Covariance((Structure("exponential", 2.0, 6.0),), 0.1)


def scene(shape=SHAPE, share=0.3, seed=0, least=0.0):
    """Return values and error variances; a quarter of the observations are ten times as far off."""
    rng = np.random.default_rng(seed)
    rows, cols = np.indices(shape)
    truth = np.sin(rows / 4) + np.cos(cols / 5)
    std = np.where(rng.random(shape) < 0.25, 2.0, 0.2)
    std[rng.random(shape) < 0.1] = least
    values = np.where(rng.random(shape) < share, truth + std * rng.normal(size=shape), np.nan)
    return values.astype("f4"), np.square(std).astype("f4")


def kriging_of(block, model=MODEL, limit=10**6, kind="ordinary", mean=0.0, **how):
    survey = Survey.of([block], limit)
    return RasterKriging(block.values.shape, STEP, survey, Solver(model, kind, mean), **how)


def everything(kriging, block):
    return kriging.complete(block, Pixels(0, 0, *block.values.shape))


def places(mask):
    return np.argwhere(mask) * np.array(STEP)


def told(values, errors):
    """Return coordinates, values and error variances of the observations."""
    seen = np.isfinite(values)
    return places(seen), values[seen].astype(float), errors[seen].astype(float)


def test_a_small_raster_agrees_with_scattered_points():
    values, errors = scene()
    mean, variance = everything(
        kriging_of(Block(0, 0, values, errors=errors), smooth=True), Block(0, 0, values)
    )
    coords, z, noise = told(values, errors)
    expected = PointKriging.of(coords, z, MODEL, errors=noise).predict(places(np.ones(SHAPE, bool)))
    np.testing.assert_allclose(mean.ravel(), expected[0], atol=1e-9)
    np.testing.assert_allclose(variance.ravel(), expected[1], atol=1e-9)


def test_tiles_agree_with_scattered_points():
    values, errors = scene((70, 60))
    block = Block(0, 0, values, errors=errors)
    kriging = kriging_of(block)
    mean, variance = kriging._fill_by_tiles(block, Pixels(0, 0, 70, 60), np.ones((70, 60), bool), STEP)
    coords, z, noise = told(values, errors)
    expected, spread = PointKriging.of(coords, z, MODEL, errors=noise, neighbours="all").predict(
        places(np.ones((70, 60), bool))
    )
    off = (mean.ravel() - expected) / np.sqrt(spread + MODEL.nugget)
    assert np.sqrt(np.mean(off**2)) < 0.02
    assert np.abs(variance.ravel() / spread - 1).mean() < 0.02
    unaware = kriging_of(Block(0, 0, values))
    other, _ = unaware._fill_by_tiles(
        Block(0, 0, values), Pixels(0, 0, 70, 60), np.ones((70, 60), bool), STEP
    )
    assert np.sqrt(np.mean((other.ravel() - expected) ** 2)) > 10 * np.sqrt(
        np.mean((mean.ravel() - expected) ** 2)
    )


def test_it_agrees_with_scikit_learn():
    values, errors = scene()
    block = Block(0, 0, values, errors=errors)
    mean, variance = everything(kriging_of(block, kind="simple", mean=0.5, smooth=True), block)
    coords, z, noise = told(values, errors)
    kernel = ConstantKernel(2.0) * Matern(length_scale=6.0, nu=0.5)
    theirs = GaussianProcessRegressor(kernel, alpha=noise + MODEL.nugget, optimizer=None).fit(coords, z - 0.5)
    expected, std = theirs.predict(places(np.ones(SHAPE, bool)), return_std=True)
    np.testing.assert_allclose(mean.ravel(), expected + 0.5, atol=1e-7)
    np.testing.assert_allclose(np.sqrt(variance.ravel()), std, atol=1e-6)


def test_it_agrees_with_gstools():
    values, errors = scene()
    block = Block(0, 0, values, errors=errors)
    mean, variance = everything(kriging_of(block, smooth=True), block)
    coords, z, noise = told(values, errors)
    model = gs.Exponential(dim=2, var=2.0, len_scale=6.0)
    theirs = gs.krige.Ordinary(model, coords.T, z, cond_err=noise + MODEL.nugget)
    expected, spread = theirs(places(np.ones(SHAPE, bool)).T)
    np.testing.assert_allclose(mean.ravel(), expected, atol=1e-7)
    np.testing.assert_allclose(variance.ravel(), spread, atol=1e-7)


@pytest.mark.parametrize("limit", [10**6, 300], ids=["complete", "thinned"])
def test_windows_leave_no_trace(limit):
    values, errors = scene((110, 120), 0.12)
    values[30:80, 40:100] = np.nan
    block = Block(0, 0, values, errors=errors)
    kriging = kriging_of(block, limit=limit, neighbours=40)
    assert not kriging.exact
    assert kriging.survey.complete == (limit > 300)
    whole = everything(kriging, block)
    for row, col in ((0, 0), (37, 74), (74, 37)):
        wanted = Pixels(row, col, 36, 37)
        top, left = max(0, row - kriging.halo), max(0, col - kriging.halo)
        near = np.s_[top : row + 36 + kriging.halo, left : col + 37 + kriging.halo]
        part = kriging.complete(Block(top, left, values[near], errors=errors[near]), wanted)
        for one, other in zip(part, whole, strict=True):
            np.testing.assert_array_equal(one, other[wanted.within(0, 0)])


def test_a_thinned_survey_keeps_the_errors_of_what_it_keeps():
    values, errors = scene((60, 60), 0.5)
    survey = Survey.of([Block(0, 0, values, errors=errors)], 200)
    assert not survey.complete
    np.testing.assert_array_equal(survey.errors, errors[survey.rows, survey.cols])
    assert Survey.of([Block(0, 0, values)], 200).errors is None


def test_observations_without_error_stay_and_the_others_are_estimated():
    values, errors = scene()
    block = Block(0, 0, values, errors=errors)
    mean, variance = everything(kriging_of(block), block)
    exact = np.isfinite(values) & (errors == 0)
    assert exact.any()
    np.testing.assert_array_equal(mean[exact], values[exact])
    assert (variance[exact] == 0).all()
    assert (variance[~exact] > 0).all()
    assert np.isfinite(mean).all()


def test_one_error_for_all_is_a_larger_nugget():
    values, _ = scene()
    block = Block(0, 0, values, errors=np.full(SHAPE, 0.5, "f4"))
    stated = everything(kriging_of(block, smooth=True), block)
    other = everything(
        kriging_of(Block(0, 0, values), replace(MODEL, nugget=0.6), smooth=True), Block(0, 0, values)
    )
    for one, two in zip(stated, other, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-7)


def test_no_error_at_all_is_as_if_none_were_stated():
    values, _ = scene((70, 60))
    block = Block(0, 0, values, errors=np.zeros((70, 60), "f4"))
    for one, two in zip(
        everything(kriging_of(block), block), everything(kriging_of(Block(0, 0, values)), block), strict=True
    ):
        np.testing.assert_array_equal(one, two)


def test_units_change_nothing():
    values, errors = scene()
    block = Block(0, 0, values, errors=errors)
    mean, variance = everything(kriging_of(block), block)
    feet = Block(0, 0, (1000 + 4 * values).astype("f4"), errors=(16 * errors).astype("f4"))
    scaled, spread = everything(kriging_of(feet, MODEL.scaled(16.0)), feet)
    np.testing.assert_allclose(scaled, 1000 + 4 * mean, atol=1e-3)
    np.testing.assert_allclose(spread, 16 * variance, rtol=1e-6, atol=1e-9)


def test_a_bad_sounding_weighs_less():
    values = np.full((9, 9), np.nan, "f4")
    values[4, 1], values[4, 7] = 0.0, 0.0
    errors = np.zeros((9, 9), "f4")
    errors[4, 7] = 4.0

    def middle(left, right):
        moved = values.copy()
        moved[4, 1], moved[4, 7] = left, right
        block = Block(0, 0, moved, errors=errors)
        return everything(kriging_of(block), block)[0][4, 4]

    good, bad = middle(1.0, 0.0), middle(0.0, 1.0)
    assert good + bad == pytest.approx(1.0)
    assert good > 1.5 * bad > 0
    # By hand: the weights of two observations, their noise unlike, with an unknown mean.
    near, far = 2.0 * np.exp(-4.5 / 6), 2.0 * np.exp(-9.0 / 6)
    k = np.array([[2.1, far, 1], [far, 6.1, 1], [1, 1, 0]])
    weights = np.linalg.solve(k, [near, near, 1])
    assert (good, bad) == pytest.approx(tuple(weights[:2]))


def test_leaving_one_out_agrees_with_leaving_it_out():
    values, errors = scene()
    block = Block(0, 0, values, errors=errors)
    residual, spread = leave_one_out(kriging_of(block), block, Pixels(0, 0, *SHAPE), STEP)
    coords, z, noise = told(values, errors)
    for i in range(0, len(z), len(z) // 7):
        rest = np.arange(len(z)) != i
        mean, variance = naive_kriging(
            exponential(2.0, 6.0),
            coords[rest],
            z[rest],
            noise[rest] + MODEL.nugget,
            coords[i : i + 1],
            np.ones((rest.sum(), 1)),
            np.ones((1, 1)),
        )
        where = tuple(np.argwhere(np.isfinite(values))[i])
        # What the others must tell has its own error too.
        assert residual[where] == pytest.approx(z[i] - mean[0])
        assert spread[where] == pytest.approx(variance[0] + MODEL.nugget + noise[i])


def test_leaving_one_out_in_tiles_comes_close_to_the_exact_system():
    values, errors = scene((64, 64), 0.5)
    block = Block(0, 0, values, errors=errors)
    kriging = kriging_of(block)
    assert not kriging.exact
    residual, spread = leave_one_out(kriging, block, Pixels(0, 0, 64, 64), STEP)
    expected, variance = Exact.of(kriging.observations, kriging.solver).leave_one_out()
    seen = np.isfinite(values)
    assert np.sqrt(np.mean((residual[seen] - expected) ** 2 / variance)) < 0.02
    assert np.abs(spread[seen] / variance - 1).mean() < 0.01


def test_a_measurement_made_anew_agrees_with_the_joint_system():
    values, errors = scene()
    block = Block(0, 0, values, errors=errors)
    mean, variance = everything(kriging_of(block, kind="simple", smooth=True), block)
    coords, z, noise = told(values, errors)
    seen = np.isfinite(values)
    found = remeasure(mean[seen], variance[seen], z, noise, MODEL.nugget)
    # The observable has the nugget, which the observation at its own place shares.
    latent = exponential(2.0, 6.0)(coords, coords)
    observable = latent + MODEL.nugget * np.eye(len(z))
    weights = np.linalg.solve(observable + np.diag(noise), observable)
    np.testing.assert_allclose(found[0], weights.T @ z, atol=1e-9)
    np.testing.assert_allclose(found[1], np.diag(observable - weights.T @ observable), atol=1e-9)
    exact = noise == 0
    np.testing.assert_array_equal(found[0][exact], z[exact])
    assert (found[1][exact] == 0).all()


def test_an_endless_error_is_no_observation():
    values, errors = scene()
    seen = np.isfinite(values)
    bad = seen & (errors > 1)
    endless = Block(0, 0, values, errors=np.where(bad, np.float32(1e12), errors))
    without = Block(0, 0, np.where(bad, np.float32(np.nan), values), errors=errors)
    mean, variance = everything(kriging_of(endless), endless)
    mean[bad], variance[bad] = remeasure(
        mean[bad], variance[bad], values[bad].astype(float), np.full(bad.sum(), 1e12), MODEL.nugget
    )
    expected, spread = everything(kriging_of(without), without)
    spread[bad] += MODEL.nugget
    np.testing.assert_allclose(mean, expected, atol=1e-6)
    np.testing.assert_allclose(variance, spread, atol=1e-6)


def test_groups_without_a_neighbour_are_left_out():
    observations = PointKriging.of(
        [[0.0, 0.0], [3.0, 0.0]], [1.0, 2.0], MODEL, errors=[0.0, 4.0]
    ).observations
    near = np.array([[0, 1], [-1, -1], [1, -1]])
    groups = Groups(np.array([[[1.0, 0.0]]] * 3), np.zeros((3, 1, 0)))
    mean, variance = krige_groups(observations, near, groups, Solver(MODEL))
    assert np.isnan([mean[1, 0], variance[1, 0]]).all()
    assert mean[2, 0] == pytest.approx(2.0)
    assert 1 < mean[0, 0] < 1.5


def test_the_fit_takes_no_error_for_nugget():
    rng = np.random.default_rng(3)
    rows, cols = np.indices((70, 70))
    truth = np.sin(rows / 6) * np.cos(cols / 7)
    std = np.where(rng.random(truth.shape) < 0.5, 0.5, 0.05)
    values = np.where(rng.random(truth.shape) < 0.3, truth + std * rng.normal(size=truth.shape), np.nan)
    block = Block(0, 0, values.astype("f4"), errors=np.square(std).astype("f4"))
    stated = fit_grid([block], (1.0, 1.0), seed=0).covariance
    unaware = fit_grid([replace(block, errors=None)], (1.0, 1.0), seed=0).covariance
    assert stated.nugget < 0.01
    assert unaware.nugget == pytest.approx(np.mean(std**2), rel=0.4)


def test_halos_widen_where_few_observations_tell():
    even, mixed = np.full(1000, 4.0, "f4"), np.where(np.arange(1000) % 4 == 0, 0.0, 400.0).astype("f4")
    none = heard(MODEL, np.zeros(1000, "f4"), 2.0)
    assert none == pytest.approx((MODEL.nugget, 1.0))
    assert heard(MODEL, even, 2.0) == pytest.approx((4.0 + MODEL.nugget, 1.0))
    noise, useful = heard(MODEL, mixed, 2.0)
    assert noise == pytest.approx(MODEL.nugget)
    assert 0.25 <= useful < 0.27
    wide, usual = plan(0.2, MODEL, STEP, None, useful), plan(0.2, MODEL, STEP)
    assert wide.halo[0] > 1.8 * usual.halo[0]
    assert wide.tile == usual.tile
    assert wide.crowded > usual.crowded


def test_the_network_hears_what_tells_more_than_is_unknown_without_it():
    values, errors = scene()
    seen = np.isfinite(values)
    for row, col in np.argwhere(seen & (errors > 0))[:12]:
        block = Block(0, 0, values, errors=errors)
        _, variance = everything(kriging_of(block, kind="simple", smooth=True), block)
        alone = values.copy()
        alone[row, col] = np.nan
        left = Block(0, 0, alone, errors=errors)
        _, without = everything(kriging_of(left, kind="simple", smooth=True), left)
        expected = errors[row, col] <= without[row, col] + MODEL.nugget
        assert _heard(variance[row, col], errors[row, col].astype(float), MODEL.nugget) == expected


@pytest.mark.parametrize("noise", [True, False], ids=["observable", "latent"])
def test_realisations_have_the_mean_and_covariance_of_the_joint_system(noise):
    values, errors = scene((12, 13), 0.4)
    block, n = Block(0, 0, values, errors=errors), 800
    kriging = kriging_of(block, replace(MODEL, nugget=0.3))
    simulator = Simulator.of(kriging, seed=3, noise=noise)
    done = simulator.draw(range(n)).condition(block, Pixels(0, 0, 12, 13))
    exact = (np.isfinite(values) & (errors == 0)).ravel()
    drawn = done.values.reshape(n, -1)
    np.testing.assert_array_equal(drawn[:, exact], np.broadcast_to(values.ravel()[exact], (n, exact.sum())))

    _, z, off = told(values, errors)
    every, seen = places(np.ones(values.shape, bool)), np.isfinite(values).ravel()
    c = exponential(2.0, 6.0)(every, every)
    # The observable shares its nugget with the observation of the same pixel; the latent field has none.
    share = 0.3 * np.eye(len(c)) if noise else np.zeros_like(c)
    left = np.ones((len(z) + 1, len(z) + 1))
    left[:-1, :-1], left[-1, -1] = c[np.ix_(seen, seen)] + np.diag(0.3 + off), 0
    right = np.vstack([(c + share)[seen], np.ones(len(c))])
    weights = np.linalg.solve(left, right)
    free = ~exact
    mean, theory = (weights[:-1].T @ z)[free], (c + share - right.T @ weights)[np.ix_(free, free)]
    np.testing.assert_allclose(done.mean.ravel()[free], mean, atol=1e-5)
    np.testing.assert_allclose(done.variance.ravel()[free], theory.diagonal(), atol=1e-6)
    score = (drawn[:, free].mean(0) - mean) / np.sqrt(theory.diagonal() / n)
    assert np.sqrt((score**2).mean()) == pytest.approx(1, abs=0.35)
    left_over = drawn[:, free] - mean
    sigma = np.sqrt((theory**2 + np.outer(theory.diagonal(), theory.diagonal())) / n)
    assert np.sqrt((((left_over.T @ left_over / n - theory) / sigma) ** 2).mean()) == pytest.approx(
        1, abs=0.15
    )


@pytest.mark.parametrize("limit", [10**6, 60], ids=["complete", "thinned"])
def test_realisations_leave_no_trace_of_windows(limit):
    values, errors = scene((60, 70), 0.1)
    values[20:50, 25:60] = np.nan
    block = Block(0, 0, values, errors=errors)
    kriging = kriging_of(block, limit=limit, neighbours=24)
    draw = Simulator.of(kriging, seed=1).draw(range(2))
    whole = draw.condition(block, Pixels(0, 0, 60, 70)).values
    wanted = Pixels(16, 20, 30, 33)
    top, left = max(0, 16 - kriging.halo), max(0, 20 - kriging.halo)
    near = np.s_[top : 46 + kriging.halo, left : 53 + kriging.halo]
    part = draw.condition(Block(top, left, values[near], errors=errors[near]), wanted).values
    np.testing.assert_array_equal(part, whole[:, *wanted.within(0, 0)])
