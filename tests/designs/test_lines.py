"""Survey lines: gains by plain linear algebra, the best among all, masks, distances, costs."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr

from geonp.designs.lines import Track
from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.criteria import Variance
from geonp.kriging.gains import Gains
from geonp.kriging.lattice import Lattice
from geonp.kriging.solver import Solver
from geonp.kriging.update import Surveyed
from geonp.methods.kriging import Kriging
from geonp.suggestion import Line, suggest_lines

from .exact import errors

COVARIANCE = Covariance((Structure("matern32", 2500.0, 900.0, angle=20, ratio=0.6),), 9.0)
KRIGED = Kriging(covariance=COVARIANCE)
STEP = (-90.0, 90.0)


def block_gain(cov: np.ndarray, flat: np.ndarray, free: np.ndarray) -> float:
    """What observing pixels at once takes from the variance of the free ones."""
    k = cov[np.ix_(flat, flat)] + COVARIANCE.nugget * np.eye(len(flat))
    cross = cov[np.ix_(flat, np.flatnonzero(free))]
    return float((cross * np.linalg.solve(k, cross)).sum())


def pixels_of(line: Line, field: xr.DataArray, step: float = 90.0) -> np.ndarray:
    inverse = ~field.odc.geobox.affine
    ends = [inverse * (x, y) for x, y in ((line.x, line.y), (line.x_end, line.y_end))]
    a, b = (np.array([row - 0.5, col - 0.5]) for col, row in ends)
    assert np.allclose(a, np.rint(a))
    assert np.allclose(b, np.rint(b))
    count = max(math.ceil(line.length / step), 1) + 1
    return np.rint(a + np.linspace(0, 1, count)[:, None] * (b - a)).astype(int)


def test_the_gain_of_a_block_is_that_of_plain_algebra() -> None:
    seen = np.random.default_rng(0).random((20, 30)) < 0.08
    lattice = Lattice(seen.shape, 1, 24)
    surveyed = Surveyed(lattice, STEP, Solver(COVARIANCE), *np.nonzero(seen))
    gains = Gains(surveyed, Variance(np.ones(lattice.nodes)), np.zeros(lattice.nodes))
    _, cov = errors(seen, np.where(seen, 1.0, np.nan), STEP, COVARIANCE)
    for track in (Track((9, 7), 0.4, 900.0), Track((10, 15), 0.0, 2600.0)):  # the second is two tiles long
        pixels = track.pixels(STEP, 90.0)
        new = pixels[~seen[tuple(pixels.T)]]
        expected = block_gain(cov, new[:, 0] * 30 + new[:, 1], ~seen.ravel())
        assert gains.together(pixels) == pytest.approx(expected, rel=2e-3 if track.length > 2000 else 1e-9)
    before = gains.variance.copy()
    gains.take(new)
    after = before.sum() - gains.variance.sum()
    # Surveyed pixels count as known, where the block formula leaves them their nugget.
    assert after == pytest.approx(expected, rel=0.02)
    assert not gains.gain[tuple(new.T)].any()


def test_the_first_line_is_about_the_best_there_is(survey: xr.DataArray) -> None:
    field = survey[:24, :26].where(np.random.default_rng(2).random((24, 26)) < 0.4)
    (line,) = suggest_lines(field, 1, KRIGED, length=900.0, stationary=True)
    seen = np.isfinite(field.values)
    _, cov = errors(seen, field.values, STEP, COVARIANCE)
    total = cov.diagonal()[~seen.ravel()].sum()

    def gain(pixels: np.ndarray) -> float:
        new = pixels[~seen[tuple(pixels.T)]]
        return block_gain(cov, new[:, 0] * 26 + new[:, 1], ~seen.ravel()) / total

    every = [
        gain(pixels)
        for angle in np.arange(12) * math.pi / 12
        for row in range(0, 24, 2)
        for col in range(0, 26, 2)
        if np.all((pixels := Track((row, col), angle, 900.0).pixels(STEP, 90.0)) >= 0)
        and np.all(pixels < (24, 26))
    ]
    assert len(every) > 300
    assert line.length == 900
    assert line.observations >= 7
    assert line.gain == pytest.approx(gain(pixels_of(line, field)), rel=0.05)
    assert line.gain > 0.96 * max(every)
    assert line.left == pytest.approx(1 - line.gain)


def test_lines_keep_off_masks_and_each_other(survey: xr.DataArray) -> None:
    field = survey[:60, :60]
    mask = field.copy(data=np.zeros(field.shape, "f4"))
    mask[20:30, 20:60] = 1
    lines = suggest_lines(field, 4, KRIGED, length=1500.0, mask=mask, min_distance=600.0)
    tracks = [pixels_of(line, field) for line in lines]
    assert [line.rank for line in lines] == [1, 2, 3, 4]
    for i, track in enumerate(tracks):
        assert not mask.values[tuple(track.T)].any()
        for other in tracks[:i]:
            apart = np.linalg.norm(track[:, None] - other[None], axis=-1).min() * 90
            assert apart >= 600 - 130  # the pixels retraced here may lie a pixel beside those of the line
    assert all(a.left > b.left for a, b in pairwise(lines))
    with pytest.warns(GeonpWarning, match="there is room for"):
        assert len(suggest_lines(field, 9, KRIGED, length=3000.0, min_distance=3000.0)) < 9


def test_lines_from_edge_to_edge_and_what_they_cost(survey: xr.DataArray) -> None:
    field = survey[:40, :50]
    line = suggest_lines(field, 1, KRIGED)[0]
    ends = pixels_of(line, field)[[0, -1]]
    assert all(row in (0, 39) or col in (0, 49) for row, col in ends.tolist())
    assert line.cost == line.length
    price = field.copy(data=np.full(field.shape, 50.0, "f4"))
    price[:, 30:] = 1.0
    cheap = suggest_lines(field, 1, KRIGED, length=900.0, cost=price, fixed_cost=100.0)[0]
    assert pixels_of(cheap, field)[:, 1].min() >= 30
    assert cheap.cost == pytest.approx(100 + 900)
    # With a dear start a long line is the better bargain, with none a short one is.
    dear, free = (suggest_lines(field, 1, KRIGED, fixed_cost=fixed)[0] for fixed in (1e5, 0.0))
    assert dear.length > free.length


def test_spacing_along_a_line(survey: xr.DataArray) -> None:
    field = survey[:40, :40]
    sparse = suggest_lines(field, 1, KRIGED, length=1800.0, spacing=450.0)[0]
    dense = suggest_lines(field, 1, KRIGED, length=1800.0)[0]
    assert sparse.observations <= 5 < dense.observations
    assert sparse.gain < dense.gain


def test_lines_that_cannot_be(survey: xr.DataArray) -> None:
    field = survey[:24, :24]
    with pytest.raises(InputError, match="longer than the raster, which measures 2070 m by 2070 m"):
        suggest_lines(field, 1, KRIGED, length=1e5)
    with pytest.raises(InputError, match="shorter than a pixel"):
        suggest_lines(field, 1, KRIGED, length=5.0)
    with pytest.raises(UsageError, match="a length of -3 m"):
        suggest_lines(field, 1, KRIGED, length=-3.0)
    with pytest.raises(UsageError, match="a spacing of 0 m"):
        suggest_lines(field, 1, KRIGED, spacing=0.0)
    with pytest.raises(UsageError, match="a fixed cost of -1"):
        suggest_lines(field, 1, KRIGED, fixed_cost=-1.0)
    with pytest.raises(UsageError, match="0 lines"):
        suggest_lines(field, 0, KRIGED)
    mask = field.copy(data=np.ones(field.shape, "f4"))
    with pytest.raises(InputError, match="the mask leaves no pixel"):
        suggest_lines(field, 1, KRIGED, mask=mask)
    mask[::6, ::6] = 0
    with pytest.raises(InputError, match="no straight line of 1500 m lies on the raster"):
        suggest_lines(field, 1, KRIGED, length=1500.0, mask=mask)
