"""Predictions from neighbouring neighbourhoods, averaged so that no seam is left between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from geonp.kriging.board import Pixels, offsets

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Nodes:
    """The middles of some tiles, counted in rows and columns of tiles from the raster's origin."""

    tile: tuple[int, int]
    rows: Index
    cols: Index

    @property
    def middles(self) -> Array:
        """Their places (N, 2), in rows and columns of pixels of the raster."""
        (ty, tx) = self.tile
        return np.stack([self.rows * ty + (ty - 1) / 2, self.cols * tx + (tx - 1) / 2], 1)

    @property
    def pixels(self) -> Array:
        """The pixels (N, m, 2) for which each holds: those as far as the middles of the next tiles."""
        (ty, tx) = self.tile
        return self.middles[:, None] + offsets(2 * ty, 2 * tx)


@dataclass(frozen=True, slots=True)
class Blend:
    """Weighted sums over the pixels of a region.

    What is said at a node holds for twice its tile, with a weight that falls linearly from 1 at the node to 0
    at the next ones, in both directions; weights add up to 1 everywhere. The variance of an average of
    predictions is at most the average of their variances, which is what is given.

    Parameters
    ----------
    region : the pixels.
    tile : rows and columns of a tile.
    first : row and column of the first node.
    needed : whether each node, from the first on, is wanted.
    sums : (2, rows, columns), mean and variance, from half a tile before the first node's tile on.
    """

    region: Pixels
    tile: tuple[int, int]
    first: tuple[int, int]
    needed: Mask
    sums: Array

    @classmethod
    def over(cls, region: Pixels, wanted: Mask, tile: tuple[int, int]) -> Blend:
        """Return an empty blend that will cover the pixels `wanted` of the region."""
        starts, stops = (region.row, region.col), (region.row + region.rows, region.col + region.cols)
        first = (starts[0] // tile[0] - 1, starts[1] // tile[1] - 1)
        count = [-(-stop // t) + 1 - f for stop, t, f in zip(stops, tile, first, strict=True)]
        shape = [(n + 1) * t for n, t in zip(count, tile, strict=True)]
        blend = cls(region, tile, first, np.zeros(count, bool), np.zeros((2, *shape)))
        padded = np.zeros(shape, bool)
        padded[blend._inside] = wanted
        np.any(_supports(padded, tile), (2, 3), out=blend.needed)
        return blend

    def colours(self) -> Iterator[Nodes]:
        """Yield the needed nodes in four sets, in each of which no two overlap.

        Sets go by the node's place in the raster: a pixel adds up the same terms in the same order in every
        window.
        """
        rows, cols = (i + f for i, f in zip(np.nonzero(self.needed), self.first, strict=True))
        colour = rows % 2 * 2 + cols % 2
        for c in range(4):
            if (colour == c).any():
                yield Nodes(self.tile, rows[colour == c], cols[colour == c])

    def add(self, nodes: Nodes, mean: Array, variance: Array) -> None:
        """Add what one set of nodes says of its pixels, each (N, m) or (N, 1)."""
        down, across = (1 - np.abs(np.arange(2 * t) - t + 0.5) / t for t in self.tile)
        weight = down[:, None] * across
        for total, value in zip(self.sums, (mean, variance), strict=True):
            each = np.broadcast_to(value, (len(value), weight.size)).reshape(-1, *weight.shape)
            _supports(total, self.tile)[nodes.rows - self.first[0], nodes.cols - self.first[1]] += (
                weight * each
            )

    @property
    def result(self) -> Array:
        """Mean and variance (2, rows, columns) at the pixels of the region."""
        return self.sums[:, *self._inside]

    @property
    def _inside(self) -> tuple[slice, slice]:
        row, col = (f * t - t // 2 for f, t in zip(self.first, self.tile, strict=True))
        return self.region.within(row, col)


def _supports(array: NDArray[Any], tile: tuple[int, int]) -> NDArray[Any]:
    """Return a writable view (node row, node column, 2 rows, 2 columns) of the pixels of every node."""
    return sliding_window_view(array, (2 * tile[0], 2 * tile[1]), writeable=True)[:: tile[0], :: tile[1]]
