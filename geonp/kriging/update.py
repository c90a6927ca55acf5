"""How much surer a raster becomes when one more pixel is observed.

An observation at s changes the covariance of the kriging errors by a matrix of rank one,

    c(a, b | s) = c(a, b) - c(a, s) c(s, b) / (c(s, s) + nugget),

whatever it says (Chiles and Delfiner 2012, section 3.4.4; it holds with an unknown mean too). The variance that it
takes from the whole raster is therefore known before it is made, and no system is solved again to tell:

    gain(s) = sum over t of c(t, s)^2 / (c(s, s) + nugget).

Errors of pixels that have observations between them are next to uncorrelated. They are followed in tiles and a halo
around them, as wide as kriging's own neighbourhoods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geonp import parallel
from geonp.kriging.solver import Solver
from geonp.kriging.system import System
from geonp.kriging.trend import drift_columns

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

_TILE = 16
_REACH = 2.8
_MOST_HALO = 24
_MOST_OBSERVATIONS = 320
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
        return [(row, col) for row in range(0, rows, _TILE) for col in range(0, cols, _TILE)]


@dataclass
class Gains:
    """What each node of a lattice would gain the raster, kept up to date as sites are taken.

    Parameters
    ----------
    lattice : the nodes.
    spacing : metres (down, across) from a pixel to the next.
    solver : the covariance, and the kind of kriging.
    rows, cols : pixels that are observed.
    gain : (node rows, node columns), in squared units times nodes.
    variance : of the kriging error of the latent field at every node; 0 where observed.
    """

    lattice: Lattice
    spacing: tuple[float, float]
    solver: Solver
    rows: Index
    cols: Index
    gain: Array = field(init=False)
    variance: Array = field(init=False)

    def __post_init__(self) -> None:
        self.gain, self.variance = np.zeros(self.lattice.nodes), np.zeros(self.lattice.nodes)
        self._observed = np.zeros(self.lattice.shape, bool)
        self._observed[self.rows, self.cols] = True
        side = (_TILE + 2 * self.lattice.halo) * self.lattice.stride
        self._side = side
        self._lags = self._table(side)
        tiles = self.lattice.tiles
        for at, found in enumerate(parallel.each(lambda i: self._tile(*tiles[i]), range(len(tiles)))):
            self._put(tiles[at], found)

    def take(self, row: int, col: int) -> None:
        """Observe a pixel, and update the nodes around it."""
        self._observed[row, col] = True
        h, s = self.lattice.halo, self.lattice.stride
        for tile in self.lattice.tiles:
            inside = [
                (start - h) * s <= at < (start + _TILE + h) * s
                for start, at in zip(tile, (row, col), strict=True)
            ]
            if all(inside):
                self._put(tile, self._tile(*tile))

    def at(self, rows: Index, cols: Index) -> tuple[Array, Array]:
        """Return gain and latent variance of pixels near each other, on nodes or between them."""
        lattice, s = self.lattice, self.lattice.stride
        middle = [int((a.mean() - lattice.first) / s) // _TILE * _TILE for a in (rows, cols)]
        cross, variance, weight, _ = self._errors(middle[0], middle[1], np.stack([rows, cols], 1))
        return (cross**2 @ weight) / (variance + self._noise), variance

    @property
    def _noise(self) -> float:
        covariance = self.solver.covariance
        return covariance.nugget or 1e-9 * covariance.sill

    def _put(self, tile: tuple[int, int], found: tuple[Array, Array]) -> None:
        here = tuple(slice(start, start + _TILE) for start in tile)
        rows, cols = self.gain[here].shape
        self.gain[here], self.variance[here] = (a[:rows, :cols] for a in found)

    def _tile(self, row: int, col: int) -> tuple[Array, Array]:
        """Return gain and variance at the nodes of a tile, (tile, tile)."""
        node = np.arange(_TILE) * self.lattice.stride + self.lattice.first
        places = np.stack(
            np.meshgrid(node + row * self.lattice.stride, node + col * self.lattice.stride, indexing="ij"), -1
        )
        places = places.reshape(-1, 2)
        cross, variance, weight, observed = self._errors(row, col, places)
        gain = (np.square(cross, out=cross) @ weight) / (variance + self._noise)
        gain[observed], variance[observed] = 0, 0
        return gain.reshape(_TILE, _TILE), variance.reshape(_TILE, _TILE)

    def _errors(self, row: int, col: int, places: Index) -> tuple[Array, Array, Array, Mask]:
        """Return covariances (N, W) of the errors at pixels `places` and at the nodes around a tile; the variances (N,)
        at `places`; the weight (W,) of the nodes, 1 or 0; and whether each place is observed or outside the raster.
        """
        lattice, solver = self.lattice, self.solver
        s, h, (rows, cols) = lattice.stride, lattice.halo, lattice.shape
        top, left = (row - h) * s, (col - h) * s
        node = np.arange(_TILE + 2 * h) * s + lattice.first
        nodes = np.stack(np.meshgrid(node + top, node + left, indexing="ij"), -1).reshape(-1, 2)
        weight: Mask = np.all((nodes >= 0) & (nodes < [rows, cols]), 1)
        weight[weight] = ~self._observed[tuple(nodes[weight].T)]
        out: Mask = ~np.all((places >= 0) & (places < [rows, cols]), 1)
        out[~out] = self._observed[tuple(places[~out].T)]
        known = self._around(top, left)
        sill = solver.covariance.sill
        cross = self._between(places, nodes)
        if not len(known):
            return cross.numpy(), np.full(len(places), sill), weight.astype(np.float64), out
        k = self._between(known, known)
        k.diagonal().add_(solver.covariance.nugget)
        zero = torch.zeros(len(known), dtype=torch.float64)
        system = System.factorise(k[None], zero[None], self._columns(known, top, left)[None])
        every = np.concatenate([places, nodes])
        white = torch.linalg.solve_triangular(system.lower[0], self._between(known, every), upper=False)
        lost = self._columns(every, top, left).mT - system.drift[0].mT @ white
        drift = torch.linalg.solve_triangular(system.gram[0], lost, upper=False)
        n = len(places)
        cross -= white[:, :n].mT @ white[:, n:]
        cross += drift[:, :n].mT @ drift[:, n:]
        variance = (sill - white[:, :n].square().sum(0)).clamp_min(0) + drift[:, :n].square().sum(0)
        return cross.numpy(), variance.numpy(), weight.astype(np.float64), out

    def _around(self, top: int, left: int) -> Index:
        """Return observed pixels (n, 2) in a window; of a crowd, one in every cell of a few pixels."""
        rows, cols = self.lattice.shape
        start = max(top, 0), max(left, 0)
        stop = min(top + self._side, rows), min(left + self._side, cols)
        known = np.argwhere(self._observed[start[0] : stop[0], start[1] : stop[1]]) + np.array(start)
        cell, kept = self.lattice.stride, known
        while len(kept) > _MOST_OBSERVATIONS:
            cell *= 2
            kept = known[np.unique(known // cell, axis=0, return_index=True)[1]]
        return np.asarray(kept, np.int64)

    def _columns(self, places: Index, top: int, left: int) -> Tensor:
        offsets = (torch.from_numpy(places - np.array([top, left])) / self._side - 0.5).double()
        return drift_columns(self.solver.kind, offsets, offsets[:, :0])

    def _table(self, side: int) -> Tensor:
        """Return the covariance at every lag of pixels in a window, (2 side + 1) squared of them."""
        lag = torch.arange(-side, side + 1, dtype=torch.float64)
        down, across = lag * self.spacing[0], lag * self.spacing[1]
        origin = torch.zeros(1, 2, dtype=torch.float64)
        strips = [
            self.solver.covariance(
                torch.stack(torch.meshgrid(part, across, indexing="ij"), -1).view(-1, 2), origin
            )
            for part in torch.split(down, 256)
        ]
        return torch.cat(strips)[:, 0]

    def _between(self, a: Index, b: Index) -> Tensor:
        """Return covariances (N, M) of the latent field between pixels (N, 2) and (M, 2) of one window."""
        width = 2 * self._side + 1
        flat = [torch.from_numpy(p[:, 0] * width + p[:, 1]).int() for p in (a, b)]
        middle = self._side * width + self._side
        index = flat[0][:, None] - (flat[1] - middle)[None, :]
        return self._lags.index_select(0, index.view(-1)).view(index.shape)
