"""Tiles in the units of kriging: what kriging says, the same from every side, and learnt from."""

import numpy as np
import pytest
import torch
import xarray as xr

from geonp.errors import MissingCRSWarning
from geonp.field import as_field
from geonp.fitting import Fitting, Recipe
from geonp.kriged_tiles import (
    KrigedTiles,
    assemble,
    example,
    krige_tiles,
    krige_together,
    turned_back,
    varied,
)
from geonp.kriging import quick
from geonp.kriging.covariance import Covariance, Structure
from geonp.masks import parse_context
from geonp.models.kriged import COVARIATES
from geonp.tasks import Task
from geonp.tiles import TileSet
from geonp.training import Options

pytestmark = pytest.mark.filterwarnings("ignore::geonp.errors.MissingCRSWarning")


def fields(jacksboro: np.ndarray, bands: int = 1) -> list[xr.DataArray]:
    whole = np.stack([jacksboro[:128, 100 * band : 100 * band + 96] for band in range(bands)])
    return [as_field(xr.DataArray(whole, dims=("band", "y", "x")))]


def tiles(jacksboro: np.ndarray, bands: int = 1, size: int = 32) -> TileSet:
    return TileSet(fields(jacksboro, bands), size, 2, parse_context("0.2"), augment=False, validation_tiles=4)


def dense(values: np.ndarray, observed: np.ndarray, covariance: Covariance) -> tuple[np.ndarray, np.ndarray]:
    """Ordinary kriging by one dense system: mean and deviation of an observation at every pixel."""
    places = torch.from_numpy(np.argwhere(observed).astype(float))
    targets = torch.from_numpy(np.argwhere(np.ones_like(observed)).astype(float))
    n = len(places)
    k = (covariance(places, places) + covariance.nugget * torch.eye(n, dtype=torch.float64)).numpy()
    system = np.block([[k, np.ones((n, 1))], [np.ones((1, n)), np.zeros((1, 1))]])
    right = np.vstack([covariance(places, targets).numpy(), np.ones((1, targets.shape[0]))])
    weights = np.linalg.solve(system, right)
    mean = weights[:n].T @ values[observed]
    variance = covariance.total_sill - (weights * right).sum(0)
    return mean.reshape(values.shape), np.sqrt(np.maximum(variance, 0)).reshape(values.shape)


def test_quick_kriging_is_kriging(jacksboro: np.ndarray) -> None:
    """With few observations every tile has them all: the mean is that of one dense system, on any shape."""
    values = jacksboro[50:90, 60:87].astype(float)
    observed = np.random.default_rng(0).random(values.shape) < 0.1
    covariance = Covariance((Structure("matern32", 40.0, 9.0),), 0.8)
    found = quick.krige(values[None], observed, (1.0, 1.0), covariance)
    mean, std = dense(values, observed, covariance)
    np.testing.assert_allclose(found.mean[0], mean, atol=1e-3)
    # The sill is estimated anew: deviations agree up to one factor.
    ratio = (found.std[0] / std)[~observed]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-3)


def test_bands_share_a_correlation_and_have_sills_of_their_own() -> None:
    rng = np.random.default_rng(1)
    places = rng.uniform(0, 60, (300, 2))
    truth = Covariance((Structure("matern12", 1.0, 12.0),), 0.0)
    points = torch.from_numpy(places)
    lower = torch.linalg.cholesky(truth(points, points) + 1e-9 * torch.eye(300, dtype=torch.float64)).numpy()
    values = lower @ rng.standard_normal((300, 8)) * [1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0]
    found, sills = quick.fit(places, values, rng)
    assert found.family == "matern12"
    assert 8 < found.range < 18
    assert sills[1::2].mean() / sills[::2].mean() == pytest.approx(9, rel=0.4)


def test_tasks_are_residuals_in_units_of_kriging(jacksboro: np.ndarray) -> None:
    base = tiles(jacksboro)
    plain = base.batch(0)
    examples = krige_tiles(plain, np.random.default_rng(0))
    task = assemble(examples)
    assert task.covariates is not None
    assert task.covariates.shape == (2, COVARIATES, 32, 32)
    for number, one in enumerate(examples):
        values = plain.values[number].numpy()
        np.testing.assert_allclose(one.mean + one.residual * one.std, values, atol=2e-3)
    assert torch.equal(task.context, plain.context)
    assert not (task.target * task.context).any()
    spread = task.values[task.target > 0].std()
    assert 0.5 < spread < 2, "kriging knows how wrong it is"


def test_tiles_kriged_together_are_tiles_kriged_alone(jacksboro: np.ndarray) -> None:
    """With one context and one correlation, a tile's kriging does not know of the others."""
    given = tiles(jacksboro, bands=2).batch(1)
    together = krige_together(given, np.random.default_rng(0))
    seen = given.context[0, 0].numpy() > 0
    joined = given.values.double().numpy()
    found, _ = quick.fit(
        np.argwhere(seen).astype(float), joined[:, :, seen].reshape(4, -1).T, np.random.default_rng(0)
    )
    for number, one in enumerate(together):
        alone = quick.krige(joined[number], seen, (1.0, 1.0), found.covariance())
        np.testing.assert_allclose(one.mean, alone.mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(one.surprise, alone.surprise, rtol=1e-3, atol=1e-4)
        assert (one.observed == seen).all()


def test_turning_an_example_turns_its_task(jacksboro: np.ndarray) -> None:
    """Kriged and then turned, or turned and then kriged: the same numbers."""
    given = tiles(jacksboro).batch(3)
    covariance = Covariance((Structure("matern32", 1.0, 8.0),), 0.01)

    def kriged(task: Task) -> Task:
        y, seen = task.values[0].double().numpy(), task.context[0, 0].numpy() > 0
        known = seen | (task.target[0, 0].numpy() > 0)
        return assemble([example(y, seen, known, (1.0, 1.0), quick.krige(y, seen, (1.0, 1.0), covariance))])

    def turn(image: torch.Tensor) -> torch.Tensor:
        return image.transpose(2, 3).flip(2)

    first = Task(*(a[:1] for a in (given.values, given.context, given.target, given.spacing)))
    turned = Task(-turn(first.values), turn(first.context), turn(first.target), first.spacing)
    y, seen = first.values[0].double().numpy(), first.context[0, 0].numpy() > 0
    plain = example(y, seen, np.ones_like(seen), (1.0, 1.0), quick.krige(y, seen, (1.0, 1.0), covariance))
    one, other = assemble([plain.turned(3, -1)]), kriged(turned)
    torch.testing.assert_close(one.values, other.values, atol=2e-2, rtol=1e-2)
    assert one.covariates is not None
    assert other.covariates is not None
    torch.testing.assert_close(one.covariates, other.covariates, atol=2e-2, rtol=2e-2)


def test_what_lies_off_the_raster_is_not_shown(jacksboro: np.ndarray) -> None:
    tile = krige_tiles(tiles(jacksboro).batch(0), np.random.default_rng(0))[0]
    task = assemble([tile.cut(5, 7)])
    assert task.covariates is not None
    for image in (task.context, task.target, task.covariates):
        assert not image[..., -5:, :].any()
        assert not image[..., -7:].any()


def test_a_batch_is_a_function_of_the_step(jacksboro: np.ndarray) -> None:
    straight, jumping = (KrigedTiles(tiles(jacksboro), upright=False) for _ in range(2))
    batches = [straight.batch(step) for step in range(4)]
    again = jumping.batch(3)
    assert torch.equal(batches[3].values, again.values)
    assert len(again.values) == 8
    assert not torch.equal(batches[2].values, batches[3].values)


def test_a_network_of_two_bands_learns_from_rasters(jacksboro: np.ndarray) -> None:
    recipe = Recipe(
        "kriged-ifanp",
        {"width": 16, "levels": 2, "attention_window": 3},
        context="0.2",
        tile=32,
        batch=8,
    )
    with pytest.warns(MissingCRSWarning):
        fitting = Fitting(fields(jacksboro, 2), recipe, Options(epochs=2, steps_per_epoch=15))
    scores = [record.validation for record in fitting.run() if record.validation is not None]
    assert fitting.model.bands == 2
    assert len(scores) == 2
    assert min(scores) < 1.45, "kriging itself scores about 1.42 nats where its deviations are right"


def test_the_bundled_network_can_be_trained_on(jacksboro: np.ndarray) -> None:
    with pytest.warns(MissingCRSWarning):
        fitting = Fitting(
            fields(jacksboro),
            Recipe(context="0.2", tile=32, batch=4),
            Options(epochs=1, steps_per_epoch=1, learning_rate=1e-6),
            start="bundled",
        )
    assert fitting.model.name == "kriged-ifanp"
    records = list(fitting.run())
    assert np.isfinite(records[-1].loss)
    assert fitting.checkpoint().architecture == "kriged-ifanp"


def pairs(jacksboro: np.ndarray, slope: float, covariates: int = 1) -> TileSet:
    """Tiles of a field that follows its first covariate, but for a part of its own; the others are noise."""
    own, told = jacksboro[:128, :96], jacksboro[120:248, 100:196]
    noise = np.random.default_rng(3).normal(size=(covariates - 1, *own.shape))
    whole = np.stack([0.2 * own + slope * told, 300 + 4 * told, *noise]).astype("f4")
    field = as_field(xr.DataArray(whole, dims=("band", "y", "x")))
    return TileSet([field], 32, 2, parse_context("0.2"), augment=False, covariates=covariates)


def test_kriging_misses_a_covariate_as_it_misses_the_field(jacksboro: np.ndarray) -> None:
    """Without regression, a field that is 3 c + 7 has the channel of c for its residual, and for its surprise."""
    field = np.stack([3 * jacksboro[:64, :64] + 7, jacksboro[:64, :64]])
    given = TileSet(
        [as_field(xr.DataArray(field.astype("f4"), dims=("band", "y", "x")))],
        32,
        2,
        parse_context("0.2"),
        augment=False,
        covariates=1,
    ).batch(0)
    for one in krige_tiles(given, np.random.default_rng(0), plain=1.0):
        missed = one.beside[1]
        size = np.sqrt(np.mean(one.surprise[0][one.observed] ** 2))
        hidden = ~one.observed
        np.testing.assert_allclose(missed[hidden] * size, one.residual[0][hidden], atol=2e-3)
        np.testing.assert_allclose(missed[one.observed] * size, one.surprise[0][one.observed], atol=2e-3)
        assert np.mean(missed[one.observed] ** 2) == pytest.approx(1, abs=1e-4)


def test_a_regression_takes_the_covariate_out(jacksboro: np.ndarray) -> None:
    """What is kriged does not depend on how steeply the field follows a covariate."""

    def residuals(slope: float) -> list[np.ndarray]:
        task = pairs(jacksboro, slope, 2).batch(0)
        unit = task.values.std((1, 2, 3))
        found = krige_tiles(task, np.random.default_rng(0))
        # Tiles are standardised: back to metres, up to one factor a tile.
        truth = [e.residual * e.std for e in found]
        return [t * float(u) for t, u in zip(truth, 1 / unit, strict=True)]

    for flat, steep in zip(residuals(0.0), residuals(2.0), strict=True):
        correlation = np.corrcoef(flat.ravel(), steep.ravel())[0, 1]
        assert correlation > 0.98
        assert np.isfinite(steep).all()


def test_covariates_are_turned_and_never_upside_down(jacksboro: np.ndarray) -> None:
    one = krige_tiles(pairs(jacksboro, 1.0, 2).batch(0), np.random.default_rng(0))[0]
    assert one.beside.shape == (4, 32, 32)
    for turn in range(8):
        task, before = assemble([one.turned(turn)]), assemble([one])
        back = turned_back(task.covariates[:, COVARIATES:], turn)
        assert torch.equal(back, before.covariates[:, COVARIATES:])
    rng = np.random.default_rng(1)
    for _ in range(20):
        shown = varied(one, rng)
        at = np.unravel_index(np.abs(one.residual[0]).argmax(), one.residual[0].shape)
        assert shown.residual[0].ravel()[np.abs(shown.residual[0]).argmax()] == one.residual[0][at]
    outside = assemble([one.cut(5, 7)]).covariates[:, COVARIATES:]
    assert outside[:, :2, -5:].isnan().all()
    assert not outside[:, 2:, :, -7:].any()


def test_some_examples_have_no_regression_and_some_covariates_a_hole(jacksboro: np.ndarray) -> None:
    task = pairs(jacksboro, 1.0).batch(0)
    rng = np.random.default_rng(0)
    holes = [np.isnan(e.beside[0]).mean() for _ in range(12) for e in krige_tiles(task, rng, plain=1.0)]
    assert 0.1 < np.mean(np.array(holes) > 0) < 0.5
    assert not any(np.isnan(e.beside).any() for e in krige_tiles(task, rng))


def test_batches_with_covariates_are_pure_functions_of_their_step(jacksboro: np.ndarray) -> None:
    made = [KrigedTiles(pairs(jacksboro, 1.0, 2), upright=upright) for upright in (False, False, True)]
    first, second = made[0].batch(3), made[1].batch(3)
    assert torch.equal(first.covariates.nan_to_num(-1), second.covariates.nan_to_num(-1))
    assert first.covariates.shape == (8, COVARIATES + 4, 32, 32)
    assert made[2].batch(0).covariates.shape == (8, COVARIATES + 4, 32, 32)
    assert torch.isfinite(made[0].validated(range(3)).covariates).all()
