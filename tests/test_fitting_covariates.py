"""Networks that read covariates: trained, kept and used."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from scipy.ndimage import gaussian_filter

from geonp.errors import InputError, ModelError, UsageError
from geonp.field import as_field
from geonp.fitting import Fitting, Recipe, fit
from geonp.io.checkpoint import read_checkpoint
from geonp.masks import parse_context
from geonp.methods.choose import load
from geonp.methods.covaried import with_covariates
from geonp.methods.neural import Neural
from geonp.models import create
from geonp.models.convcnp import ConvCNP, ConvConfig, covariates_of
from geonp.models.convnp import ConvLatentConfig
from geonp.predict import complete
from geonp.tasks import Task
from geonp.tiles import TileSet
from geonp.training import Options

SMALL = {"channels": 16, "depth": 1, "kernel": 3, "head_layers": 1, "head_width": 16, "reach": 3}
RECIPE = Recipe("convcnp", SMALL, "0.2", tile=16, batch=8)


def on_grid(values: np.ndarray, spacing: float = 30.0) -> xr.DataArray:
    box = GeoBox(values.shape, Affine(spacing, 0, 500_000, 0, -spacing, 4_000_000), "EPSG:32616")
    return as_field(wrap_xr(values.astype("f4"), box))


def pair(seed: int, size: int = 64) -> tuple[xr.DataArray, xr.DataArray]:
    """Return a field and the covariate, 300 m high, that explains nearly all of its short variation."""
    rng = np.random.default_rng(seed)
    rough, smooth = (gaussian_filter(rng.standard_normal((size, size)), w) for w in (1.0, 8.0))
    rough, smooth = rough / rough.std(), smooth / smooth.std()
    return on_grid(rough + 0.5 * smooth), on_grid(300 + 50 * rough)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Neural]:
    path = tmp_path_factory.mktemp("models") / "beside.safetensors"
    pairs = [pair(seed) for seed in range(4)]
    options = Options(epochs=2, steps_per_epoch=150, device="cpu", learning_rate=1e-2)
    fields, covariates = [f for f, _ in pairs], [[c] for _, c in pairs]
    method = fit(fields, path, recipe=RECIPE, options=options, covariates=covariates)
    assert isinstance(method, Neural)
    return path, method


def test_a_network_reads_what_it_was_trained_with(trained: tuple[Path, Neural]) -> None:
    _, method = trained
    field, covariate = pair(9)
    seen = np.random.default_rng(0).random((64, 64)) < 0.2
    survey = field.copy(data=np.where(seen, field.values, np.float32(np.nan)))
    done = complete(survey, with_covariates(method, covariate))
    error = (done["mean"].values - field.values)[0][~seen]
    assert error.std() < 0.5 * field.values[0][~seen].std()
    other = complete(survey, with_covariates(method, pair(10)[1]))
    assert (other["mean"].values - field.values)[0][~seen].std() > 1.5 * error.std()
    tiled = complete(survey, with_covariates(method, covariate), tile=23)
    xr.testing.assert_allclose(done, tiled, atol=1e-4)


def test_the_file_keeps_how_covariates_are_scaled(trained: tuple[Path, Neural]) -> None:
    path, method = trained
    kept = read_checkpoint(path)
    assert kept.config["covariates"] == 1
    assert kept.tensors["beside.offset"][0] == pytest.approx(300, abs=10)
    assert kept.tensors["beside.spread"][0] == pytest.approx(50, rel=0.2)
    task = Task(
        torch.zeros(1, 1, 8, 8),
        torch.ones(1, 1, 8, 8),
        torch.zeros(1, 1, 8, 8),
        torch.full((1, 2), 30.0),
        torch.full((1, 1, 8, 8), torch.nan),
    )
    assert isinstance(method.model, ConvCNP)
    assert not covariates_of(task, method.model.beside).any()


def test_covariates_must_be_those_it_was_trained_with(trained: tuple[Path, Neural]) -> None:
    path, method = trained
    survey, covariate = pair(9)
    survey[0, 5, 5] = np.nan
    with pytest.raises(ModelError, match=r"trained with 1 covariate\(s\), and 0 are given"):
        complete(survey, method)
    with pytest.raises(ModelError, match=r"trained with 1 covariate\(s\), and 2 are given"):
        complete(survey, with_covariates(load(path), (covariate, 2 * covariate)))
    with pytest.raises(ModelError, match=r"reads 1 covariate\(s\), and 0 are given"):
        Fitting([survey], RECIPE, Options(epochs=1, device="cpu"), path)


def test_a_tile_carries_its_covariates_turned_like_itself() -> None:
    field, _ = pair(0)
    both = xr.concat([field.isel(band=0), (2 * field + 7).isel(band=0)], "band").transpose("band", "y", "x")
    tiles = TileSet([as_field(both)], 16, 4, parse_context("0.3"), covariates=1)
    task = tiles.batch(3)
    assert task.values.shape == (4, 1, 16, 16)
    assert task.covariates is not None
    known, beside = task.values.flatten(1), task.covariates.flatten(1)
    for values, raw in zip(known, beside, strict=True):
        assert np.corrcoef(values, raw)[0, 1] == pytest.approx(1.0, abs=1e-5)


def test_what_cannot_be_trained_is_explained() -> None:
    field, covariate = pair(0)
    options = Options(epochs=1, device="cpu")
    with pytest.raises(UsageError, match="the network 'ifanp' reads no covariates; train a convcnp"):
        Fitting([field], Recipe(tile=16), options, covariates=[[covariate]])
    with pytest.raises(InputError, match="there are covariates of 1 rasters for 2; give some for each"):
        Fitting([field, field], RECIPE, options, covariates=[[covariate]])
    with pytest.raises(ModelError, match="convnp reads no covariates"):
        ConvLatentConfig(covariates=1)
    with pytest.raises(ModelError, match="covariates"):
        ConvConfig(covariates=-1)


def test_without_covariates_a_network_has_the_weights_it_had() -> None:
    plain = create("convcnp", ConvConfig(**SMALL), seed=3)
    assert not any("beside" in name for name in plain.state_dict())
    assert plain.covariates == 0
    assert create("ifanp").covariates == 0
