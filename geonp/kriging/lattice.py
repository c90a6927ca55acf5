"""The nodes at which the errors of a raster are followed, and the tiles they are followed in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

TILE = 16
"""Side in nodes of a tile."""

_REACH = 2.8
_MOST_HALO = 24
_NODES_A_SPACING = 4


@dataclass(frozen=True)
class Lattice:
    """Every `stride`-th pixel of a raster: where errors are followed, and sites are looked for.

    Parameters
    ----------
    shape : rows and columns of the raster.
    stride : pixels from a node to the next, a fraction of the distance between observations.
    halo : nodes around a tile to which an observation is felt.
    """

    shape: tuple[int, int]
    stride: int
    halo: int

    @classmethod
    def of(cls, shape: tuple[int, int], density: float) -> Lattice:
        """Return the lattice for a raster of which the part `density` of the pixels is observed."""
        apart = 1 / math.sqrt(density)
        stride = max(1, int(apart / _NODES_A_SPACING))
        stride = min(stride, max(1, min(shape) // 8))
        return cls(shape, stride, min(max(math.ceil(_REACH * apart / stride), 4), _MOST_HALO))

    @property
    def nodes(self) -> tuple[int, int]:
        """Rows and columns of nodes."""
        rows, cols = (-(-(n - self.first) // self.stride) for n in self.shape)
        return rows, cols

    @property
    def first(self) -> int:
        """Row and column of the first node: cells have it in their middle."""
        return (self.stride - 1) // 2

    @property
    def tiles(self) -> list[tuple[int, int]]:
        """First node row and column of every tile."""
        rows, cols = self.nodes
        return [(row, col) for row in range(0, rows, TILE) for col in range(0, cols, TILE)]

    def node_of(self, rows: Index, cols: Index) -> tuple[Index, Index]:
        """Return node row and column of the cells that pixels lie in."""
        most = np.array(self.nodes) - 1
        return np.minimum(rows // self.stride, most[0]), np.minimum(cols // self.stride, most[1])

    def tile_of(self, row: int, col: int) -> tuple[int, int]:
        """Return first node row and column of the tile that a pixel lies in."""
        node = self.node_of(np.array(row), np.array(col))
        return int(node[0]) // TILE * TILE, int(node[1]) // TILE * TILE

    def is_node(self, row: int, col: int) -> bool:
        """Return whether a pixel is a node."""
        return (row - self.first) % self.stride == 0 and (col - self.first) % self.stride == 0

    def at_nodes(self, raster: NDArray[np.generic]) -> Array:
        """Return what a raster (rows, columns) has at the nodes."""
        return np.asarray(raster[self.first :: self.stride, self.first :: self.stride], np.float64)


def put(raster: Array, tile: tuple[int, int], found: Array) -> None:
    """Write a tile (tile * tile,) into a raster of nodes, cut off at its edge."""
    here = tuple(slice(start, start + TILE) for start in tile)
    rows, cols = raster[here].shape
    raster[here] = found.reshape(TILE, TILE)[:rows, :cols]
