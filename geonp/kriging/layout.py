"""How large tiles and their halos are: in proportion to the spacing of the observations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geonp.kriging.covariance import Covariance
from geonp.kriging.neighbours import embed

_REACH = 2.8
"""Halo, and largest side of a tile, in mean spacings of the observations: errors of the mean are then within
0.1 % of those of exact kriging on terrain, with some 70 observations a system."""
LEAST_TILE, MOST_TILE = 4, 64
_MOST_HALO = 96
_FACTORS = (1.0, 1.2, 1.4, 1.6, 1.8, 2.1, 2.4)
_MOST_ASPECT = 4.0
_CROWDED = 160
_BEST, _LEAST_USEFUL = 0.95, 0.25


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes of a tile and its halo.

    Parameters
    ----------
    tile, halo : pixels (rows, columns).
    crowded : observations in a tile and its halo beyond which the tile is split.
    """

    tile: tuple[int, int]
    halo: tuple[int, int]
    crowded: int = _CROWDED

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of a tile with its halo."""
        return self.tile[0] + 2 * self.halo[0], self.tile[1] + 2 * self.halo[1]

    @property
    def pixels(self) -> NDArray[np.int64]:
        """The index of every pixel of the tile in the window, row by row."""
        cells = np.arange(math.prod(self.window)).reshape(self.window)
        (hy, hx), (ty, tx) = self.halo, self.tile
        return cells[hy : hy + ty, hx : hx + tx].ravel()

    def split(self) -> Layout:
        """Return the layout of the four quarters of a tile, with half the halo."""
        tile = (self.tile[0] // 2, self.tile[1] // 2)
        return Layout(tile, (max(2, self.halo[0] // 2), max(2, self.halo[1] // 2)), self.crowded)


def plan(
    density: float,
    covariance: Covariance,
    spacing: tuple[float, float],
    neighbours: int | None = None,
    useful: float = 1.0,
) -> Layout:
    """Return the layout for a raster of which the part `density` of the pixels is observed.

    Where the nugget hides the differences between neighbours, more of them are averaged and the halo widens.
    Tiles are longer along the direction of the longer range.

    Parameters
    ----------
    density : in (0, 1], where the raster is to be completed.
    covariance : of the field.
    spacing : metres (down, across) from a pixel to the next.
    neighbours : observations that a tile and its halo should hold; None chooses.
    useful : part of the observations from which the others, whose errors are large, hardly take; see `heard`.
    """
    steps = embed(np.array([[0.0, 0.0], [spacing[0], 0.0], [0.0, spacing[1]]]), covariance)
    down, across = (float(np.linalg.norm(step - steps[0])) for step in steps[1:])
    aspect = min(max(across / down, 1 / _MOST_ASPECT), _MOST_ASPECT) ** 0.5
    apart = (_REACH if neighbours is None else math.sqrt(neighbours) / 3) / math.sqrt(density)
    wide = apart
    if neighbours is None:
        wide *= _widening(covariance, math.sqrt(down * across / density)) / math.sqrt(useful)
    tile = [2 ** math.floor(math.log2(1.15 * apart * a)) for a in (aspect, 1 / aspect)]
    tile = [min(max(t, LEAST_TILE), MOST_TILE) for t in tile]
    halo = [min(max(math.ceil(wide * a), 2), _MOST_HALO) for a in (aspect, 1 / aspect)]
    window = (tile[0] + 2 * halo[0]) * (tile[1] + 2 * halo[1])
    return Layout((tile[0], tile[1]), (halo[0], halo[1]), max(_CROWDED, math.ceil(1.8 * density * window)))


def heard(covariance: Covariance, errors: NDArray[np.float32], apart: float) -> tuple[float, float]:
    """Return the noise variance of the better observations, and to what part of all the information amounts.

    Where their errors differ, observations weigh about as 1 / (nugget + error + g), g being by how much the field
    differs between neighbours. Those that weigh little are as good as missing: neighbourhoods must be wider.

    Parameters
    ----------
    covariance : of the field, nugget included.
    errors : (N,), error variances of the observations beside the nugget.
    apart : usual distance between them.
    """
    noise = covariance.nugget + errors.astype(np.float64)
    rough = float(covariance.variogram(np.array([apart]))[0]) - covariance.nugget
    weight = 1 / np.maximum(noise + rough, np.finfo(np.float64).tiny)
    best = float(np.quantile(weight, _BEST))
    useful = min(max(float(weight.mean()) / best, _LEAST_USEFUL), 1.0)
    return max(1 / best - rough, 0.0), useful


def _widening(covariance: Covariance, apart: float) -> float:
    """Return by how much to enlarge a neighbourhood whose observations are `apart`, for their noise.

    Averaging over a cell f times as wide leaves nugget / f^2 of noise; it pays until the field itself differs
    as much across the cell.
    """
    factors = np.array(_FACTORS)
    lag = apart * factors
    rough = covariance.variogram(lag) - covariance.nugget
    noisy = covariance.nugget / factors**2
    return _FACTORS[min(int((noisy > rough).sum()), len(_FACTORS) - 1)]
