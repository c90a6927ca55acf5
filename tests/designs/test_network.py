"""Sites by the network's own variance: what is imagined is what a survey with the sites added gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from geonp.designs.network import Believer, believer
from geonp.kriging.lattice import Lattice
from geonp.kriging.survey import Block, Survey
from geonp.methods.flagship import Flagship
from geonp.suggestion import suggest


@pytest.fixture(scope="module")
def field(jacksboro: np.ndarray) -> xr.DataArray:
    truth = jacksboro[100:140, 120:160]
    seen = np.random.default_rng(0).random(truth.shape) < 0.06
    seen[:20, :20] = False
    return xr.DataArray(np.where(seen, truth, np.float32(np.nan))[None], dims=("band", "y", "x"))


@pytest.fixture(scope="module")
def believed(field: xr.DataArray) -> Believer:
    ready = Flagship(insist=True, orientations=1).prepare(field)
    return believer(field, ready, Lattice.of((40, 40), 0.06), None)


def surveyed(believed: Believer, row: int, col: int, value: float) -> np.ndarray:
    """The network's variance when a pixel is observed, everything gathered anew."""
    values = believed.values.copy()
    values[0, row, col] = value
    (group,) = believed.method.groups
    known = Survey.of([Block(0, 0, values[0])], values.size)
    krigings = tuple(replace(k, survey=replace(known, density=k.survey.density)) for k in group.krigings)
    method = replace(believed.method, groups=(replace(group, krigings=krigings),))
    found = method.predict(xr.DataArray(values, dims=("band", "y", "x")))["variance"].values[0]
    return np.where(np.isfinite(values[0]), 0, found)


def test_a_gain_is_what_completing_again_says(believed: Believer) -> None:
    row, col = 9, 10
    mean, deviation = believed.mean[row, col], believed.variance[row, col] ** 0.5
    before = believed.variance.sum()
    assert before == pytest.approx(surveyed_now(believed), rel=1e-5)
    after = [surveyed(believed, row, col, mean + side * deviation).sum() for side in (-1, 1)]
    gain = believed.gain(row, col)
    assert believed.reach >= 40 or gain > 0
    assert gain == pytest.approx(before - np.mean(after), rel=0.02)
    assert believed.left == pytest.approx(before)  # nothing was kept
    assert np.isnan(believed.values[0, row, col])
    beside = np.argwhere(np.isfinite(believed.values[0]))[5] + [0, 1]
    if np.isnan(believed.values[0][tuple(beside)]):
        assert gain > believed.gain(*beside.tolist())


def surveyed_now(believed: Believer) -> float:
    field = xr.DataArray(believed.values, dims=("band", "y", "x"))
    found = believed.method.predict(field)["variance"].values
    return float(np.where(np.isfinite(believed.values), 0, found).sum())


def test_sites_that_the_network_suggests(field: xr.DataArray) -> None:
    mask = xr.zeros_like(field)
    mask[..., 30:] = 1
    with pytest.warns(match="coordinate reference"):
        sites = suggest(field, 2, Flagship(insist=True, orientations=1), mask=mask, min_distance=5.0)
    assert [site.rank for site in sites] == [1, 2]
    assert all(np.isnan(field.values[0, site.row, site.col]) and site.col < 30 for site in sites)
    assert sites[0].row < 24  # the gap
    assert 1 > sites[0].left > sites[1].left > 0
    assert sites[1].gain == pytest.approx(sites[0].left - sites[1].left)
    assert sites[0].std > 0


def test_a_threshold_asks_the_network_for_mistakes(field: xr.DataArray) -> None:
    level = float(np.nanmedian(field))
    with pytest.warns(match="coordinate reference"):
        (site,) = suggest(field, 1, Flagship(insist=True, orientations=1), threshold=level)
    assert 0 < site.gain < 1
