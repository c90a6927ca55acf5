"""The weights that come with the package: small, readable, better than kriging on terrain they never saw."""

from __future__ import annotations

import matplotlib.cbook
import numpy as np
import pytest
import torch
import xarray as xr

from geonp.field import as_field
from geonp.io.checkpoint import read_checkpoint
from geonp.kriging.features import Kriged
from geonp.methods.correction import Correction
from geonp.methods.flagship import BUNDLED, Flagship, read_network
from geonp.methods.kriging import Kriging
from geonp.metrics import coverage, crps, rmse
from geonp.predict import complete


@pytest.fixture(scope="module")
def dem() -> np.ndarray:
    data = matplotlib.cbook.get_sample_data("jacksboro_fault_dem.npz")
    return np.asarray(data["elevation"], np.float64)


def test_the_file_is_small_and_says_what_it_is() -> None:
    assert BUNDLED.stat().st_size < 8_000_000
    kept = read_checkpoint(BUNDLED)
    assert kept.architecture == "kriged-ifanp"
    assert kept.trained.steps > 0
    halves = [array.astype(np.float16).astype(np.float32) for array in kept.tensors.values()]
    assert all(np.array_equal(a, b) for a, b in zip(halves, kept.tensors.values(), strict=True))
    assert (BUNDLED.parent / "MODEL_CARD.md").is_file()


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


@torch.no_grad()
def test_nothing_beyond_its_reach_matters() -> None:
    """What lies farther away than `reach` changes answers by less than a ten-thousandth of a deviation."""
    rng = np.random.default_rng(0)
    look = Correction(read_network(None), orientations=1)
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
