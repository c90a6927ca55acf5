"""The weights that come with the package: small, readable, better than kriging on terrain they never saw."""

from __future__ import annotations

import matplotlib.cbook
import numpy as np
import odc.geo.xr  # noqa: F401 - the accessor
import pytest
import torch
import xarray as xr
from geonp.datasets.images import load_images

from geonp.field import as_field
from geonp.io.checkpoint import read_checkpoint
from geonp.kriging.features import Kriged
from geonp.methods.correction import Correction
from geonp.methods.flagship import BUNDLED, Flagship, read_network
from geonp.methods.imagery import IMAGERY, Imagery
from geonp.methods.kriging import Kriging
from geonp.metrics import coverage, crps, rmse
from geonp.predict import complete


@pytest.fixture(scope="module")
def dem() -> np.ndarray:
    data = matplotlib.cbook.get_sample_data("jacksboro_fault_dem.npz")
    return np.asarray(data["elevation"], np.float64)


def test_the_files_are_small_and_say_what_they_are() -> None:
    assert sum(path.stat().st_size for path in BUNDLED.parent.glob("*.safetensors")) < 8_000_000
    for path in (BUNDLED, IMAGERY):
        kept = read_checkpoint(path)
        assert kept.architecture == "kriged-ifanp"
        assert kept.trained.steps > 0
        numbers = sum(array.size for array in kept.tensors.values())
        assert path.stat().st_size < 2 * numbers + 20_000  # float16
        assert path.name in (BUNDLED.parent / "MODEL_CARD.md").read_text()


def test_better_than_kriging_with_the_right_uncertainty(dem: np.ndarray) -> None:
    ratios, covered = [], []
    for row, col in ((30, 40), (200, 60), (110, 250)):
        truth = dem[row : row + 96, col : col + 96]
        seen = np.random.default_rng(row).random(truth.shape) < 0.125
        coords = {"y": 90.0 * np.arange(96)[::-1], "x": 90.0 * np.arange(96)}
        array = xr.DataArray(np.where(seen, truth, np.nan).astype("f4"), coords, dims=("y", "x"))
        field = as_field(array.odc.assign_crs("EPSG:32616"))
        scores = []
        for method in (Flagship(), Kriging()):
            done = complete(field, method)
            mean, variance = (done[name].values[0][~seen].astype(float) for name in ("mean", "variance"))
            scores.append((rmse(truth[~seen], mean), crps(truth[~seen], mean, variance)))
            covered.append(coverage(truth[~seen], mean, variance, 0.9))
        ratios.append(np.log(np.array(scores[0]) / scores[1]))
    gain = np.exp(np.mean(ratios, 0))
    assert gain[0] < 0.98
    assert gain[1] < 0.95
    assert 0.84 < np.mean(covered[::2]) < 0.95


def test_the_method_imagery_is_the_same_with_another_network(dem: np.ndarray) -> None:
    seen = np.random.default_rng(0).random((48, 48)) < 0.2
    coords = {"y": 90.0 * np.arange(48)[::-1], "x": 90.0 * np.arange(48)}
    array = xr.DataArray(np.where(seen, dem[30:78, 40:88], np.nan).astype("f4"), coords, dims=("y", "x"))
    field = as_field(array.odc.assign_crs("EPSG:32616"))
    ready = [
        kind(insist=True, orientations=1, calibrate=False).prepare(field) for kind in (Flagship, Imagery)
    ]
    bundled, imagery = (one.describe() for one in ready)
    assert {key for key in bundled if bundled[key] != imagery[key]} == {"method", "model"}
    assert imagery["model"] == "imagery"
    named = Flagship(model=str(IMAGERY), insist=True, orientations=1, calibrate=False).prepare(field)
    means = [one.predict(field)["mean"].values for one in (*ready, named)]
    np.testing.assert_array_equal(means[1], means[2])
    assert np.abs(means[0] - means[1]).max() > 0


@pytest.mark.data
def test_imagery_does_better_on_images_it_never_saw() -> None:
    """EuroSAT's images set aside, a sixth of the pixels seen."""
    gain = []
    for number, image in enumerate(load_images("eurosat").test[::50]):
        truth = image[number % 3].astype(np.float32)
        seen = np.random.default_rng(number).random(truth.shape) < 1 / 6
        coords = {"y": 10.0 * np.arange(64)[::-1], "x": 10.0 * np.arange(64)}
        array = xr.DataArray(np.where(seen, truth, np.float32(np.nan)), coords, dims=("y", "x"))
        field = as_field(array.odc.assign_crs("EPSG:32632"))
        errors = [
            rmse(truth[~seen], complete(field, method)["mean"].values[0][~seen])
            for method in (Imagery(insist=True), Flagship(insist=True))
        ]
        gain.append(np.log(errors[0] / errors[1]))
    assert np.exp(np.mean(gain)) < 0.995


@torch.no_grad()
def test_nothing_beyond_its_reach_matters() -> None:
    """What lies farther away than `reach` changes answers by less than a ten-thousandth of a deviation."""
    rng = np.random.default_rng(0)
    look = Correction(read_network(), orientations=1)
    side = 2 * (look.reach // 16 + 2) * 16
    observed = torch.from_numpy((rng.random((side, side)) < 0.1).astype("f4"))[None, None]
    rough = torch.from_numpy(rng.standard_normal((side, side)).astype("f4"))[None, None]
    layers = [
        observed,
        rough.cumsum(3),
        0.5 + rough.abs(),
        rough * observed,
        observed,
        0.0 * rough,
        torch.ones_like(observed),
    ]
    near = [a[0] for a in look(Kriged(*layers), [0.1], (30.0, 30.0))]
    middle = side // 2
    far = torch.ones(side, side, dtype=torch.bool)
    kept = slice(middle - look.reach - 1, middle + look.reach + 1)
    far[kept, kept] = False
    layers[1] = torch.where(far, 3 * layers[1].flip(2), layers[1])
    layers[3] = torch.where(far, -layers[3], layers[3])
    changed = [a[0] for a in look(Kriged(*layers), [0.1], (30.0, 30.0))]
    for before, after in zip(near, changed, strict=True):
        assert abs(float(before[middle, middle] - after[middle, middle])) < 1e-4
