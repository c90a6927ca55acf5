"""From rasters to a model file in Python: what is written down, what is refused, starting from a model."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import geonp
from geonp.errors import InputError, ModelError, OutputError
from geonp.fitting import Fitting, Recipe
from geonp.io.checkpoint import read_checkpoint
from geonp.training import Options

TINY = Recipe(config={"channels": 8, "latent": 4}, context="0.1:0.3", tile=16, batch=2)
SHORT = Options(epochs=2, steps_per_epoch=2)


@pytest.fixture
def rasters(jacksboro: np.ndarray) -> list[xr.DataArray]:
    """Two rasters of 100 m and 50 m pixels."""
    import odc.geo.xr  # noqa: F401  assigns the CRS

    out = []
    for start, step in ((0, 100.0), (200, 50.0)):
        values = jacksboro[:120, start : start + 140]
        coords = {"y": -np.arange(120) * step, "x": np.arange(140) * step}
        out.append(xr.DataArray(values, dims=("y", "x"), coords=coords).odc.assign_crs("EPSG:32616"))
    return out


def test_the_file_says_what_the_model_was_trained_on(rasters: list[xr.DataArray], tmp_path: Path) -> None:
    seen = []
    method = geonp.fit(rasters, tmp_path / "m.safetensors", recipe=TINY, options=SHORT, progress=seen.append)
    assert [record.step for record in seen] == [1, 2, 3, 4]
    trained = read_checkpoint(tmp_path / "m.safetensors").trained
    assert trained.context == pytest.approx((0.1, 0.3))
    assert trained.spacing_range == pytest.approx((50, 100))
    assert (trained.tile, trained.steps) == ((16, 16), 4)
    survey = rasters[0].where(np.random.default_rng(0).random((120, 140)) < 0.2)
    done = survey.geonp.complete(method)
    assert bool(done["mean"].notnull().all())
    again = survey.geonp.complete(model=str(tmp_path / "m.safetensors"))
    xr.testing.assert_equal(done["mean"], again["mean"])


def test_a_model_that_exists_is_not_replaced_unasked(rasters: list[xr.DataArray], tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_text("precious")
    with pytest.raises(OutputError, match="overwrite"):
        geonp.fit(rasters, path, recipe=TINY, options=SHORT)
    assert path.read_text() == "precious"


def test_training_can_start_from_a_model(rasters: list[xr.DataArray], tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    geonp.fit(rasters, path, recipe=TINY, options=SHORT)
    known = read_checkpoint(path)
    fitting = Fitting(rasters, TINY, SHORT, start=path)
    for name, tensor in fitting.checkpoint().tensors.items():
        np.testing.assert_array_equal(tensor, known.tensors[name])
    two = [xr.concat([raster, raster], "band") for raster in rasters]
    with pytest.raises(ModelError, match=r"trained on 1 band\(s\), the rasters have 2"):
        Fitting(two, TINY, SHORT, start=path)


def test_rasters_of_different_bands_are_refused(rasters: list[xr.DataArray]) -> None:
    with pytest.raises(InputError, match="band"):
        Fitting([rasters[0], xr.concat([rasters[1], rasters[1]], "band")], TINY, SHORT)


def test_an_unknown_setting_names_the_known_ones(rasters: list[xr.DataArray]) -> None:
    with pytest.raises(ModelError, match="channels"):
        Fitting(rasters, Recipe(config={"chanels": 8}), SHORT)
