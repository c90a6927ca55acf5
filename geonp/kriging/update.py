"""How much surer a raster becomes when more pixels are observed.

An observation at s changes the covariance of the kriging errors by a matrix of rank one,

    c(a, b | s) = c(a, b) - c(a, s) c(s, b) / (c(s, s) + nugget),

whatever it says (Chiles and Delfiner 2012, section 3.4.4; it holds with an unknown mean too), and several at once, S,
by the block c(a, S) [c(S, S) + nugget I]^-1 c(S, b). By how much the variance falls everywhere is therefore known
before anything is observed, and no system is solved again to tell. What the fall is worth a criterion says
(`geonp.kriging.criteria`).

Errors of pixels that have observations between them are next to uncorrelated. They are followed in tiles and a halo
around them, as wide as kriging's own neighbourhoods.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geonp import parallel
from geonp.kriging.coefficients import Coefficients
from geonp.kriging.lattice import TILE, Lattice, put
from geonp.kriging.linalg import cholesky, diagonals, forward
from geonp.kriging.solver import Solver
from geonp.kriging.system import System
from geonp.kriging.trend import drift_columns

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

_MOST_OBSERVATIONS = 320


class Errors(NamedTuple):
    """Kriging errors at M places and at the unobserved nodes around them.

    Parameters
    ----------
    nodes : (W,), flat indices of the nodes.
    cross : (M, W), covariances between places and nodes.
    variance : (M,), at the places.
    out : (M,), whether a place is observed or outside the raster.
    """

    nodes: Index
    cross: Array
    variance: Array
    out: Mask


@dataclass
class Surveyed:
    """The errors of kriging from the pixels that are observed, and from those that are imagined to be.

    Parameters
    ----------
    lattice : the nodes.
    spacing : metres (down, across) from a pixel to the next.
    solver : the covariance, and the kind of kriging.
    rows, cols : (N,), pixels that are observed.
    stated : (N,), variances of their errors beside the nugget; None where none are stated.
    drift : (q, rows, columns), covariates that the mean follows, known everywhere; None where it follows none.
    observed : (rows, columns), which pixels are observed, those included that are imagined to be.
    """

    lattice: Lattice
    spacing: tuple[float, float]
    solver: Solver
    rows: Index
    cols: Index
    stated: NDArray[np.float32] | None = None
    drift: NDArray[np.float32] | None = None
    observed: Mask = field(init=False)

    def __post_init__(self) -> None:
        self.observed = np.zeros(self.lattice.shape, bool)
        self.observed[self.rows, self.cols] = True
        self._side = (TILE + 2 * self.lattice.halo) * self.lattice.stride
        self._lags = self._table(self._side)
        self._coefficients = None if self.drift is None else Coefficients(self, self.drift)
        self._errors: NDArray[np.float32] | None = None
        if self.stated is not None:
            self._errors = np.zeros(self.lattice.shape, np.float32)
            self._errors[self.rows, self.cols] = self.stated

    @property
    def noise(self) -> float:
        """Variance of an observation that is still to be made."""
        covariance = self.solver.covariance
        return covariance.nugget or 1e-9 * covariance.sill

    def places(self, tile: tuple[int, int]) -> Index:
        """Return the pixels (tile x tile, 2) of a tile's nodes, those beyond the raster too."""
        lattice = self.lattice
        rows, cols = ((start + np.arange(TILE)) * lattice.stride + lattice.first for start in tile)
        return np.stack(np.meshgrid(rows, cols, indexing="ij"), -1).reshape(-1, 2)

    def variances(self) -> Array:
        """Return the variance of the latent field at every node, (node rows, node columns); 0 where observed."""
        out, tiles = np.zeros(self.lattice.nodes), self.lattice.tiles

        def variance(i: int) -> Array:
            found = self.errors(tiles[i], self.places(tiles[i]), alone=True)
            return np.where(found.out, 0, found.variance)

        for tile, found in zip(tiles, parallel.each(variance, range(len(tiles))), strict=True):
            put(out, tile, found)
        return out

    def errors(self, tile: tuple[int, int], places: Index, *, alone: bool = False) -> Errors:
        """Return the errors at pixels `places` (M, 2) in a tile and at the nodes around it; `alone`: at no nodes."""
        top, left = ((start - self.lattice.halo) * self.lattice.stride for start in tile)
        nodes, flat = self._nodes_around(top, left)
        if alone:
            nodes, flat = nodes[:0], flat[:0]
        out = self._out(places)
        known = self._around(top, left)
        cross = self._between(places, nodes)
        sill = self.solver.covariance.sill
        if not len(known):
            return Errors(flat, cross, np.full(len(places), sill), out)
        system = self._system(known, top, left)
        white, drift = self._whitened(system, known, np.concatenate([places, nodes]), top, left)
        n = len(places)
        cross -= white[:, :n].mT @ white[:, n:]
        cross += drift[:, :n].mT @ drift[:, n:]
        variance = np.maximum(sill - (white[:, :n] ** 2).sum(0), 0) + (drift[:, :n] ** 2).sum(0)
        return Errors(flat, cross, variance, out)

    def together(self, tile: tuple[int, int], places: Index) -> tuple[Index, Array]:
        """Return the nodes (W,) around a tile, and how far their variance falls (W,) when pixels (M, 2) near it are all
        observed.
        """
        top, left = ((start - self.lattice.halo) * self.lattice.stride for start in tile)
        nodes, flat = self._nodes_around(top, left)
        known = self._around(top, left)
        own, cross = self._between(places, places), self._between(places, nodes)
        if len(known):
            system = self._system(known, top, left)
            white, drift = self._whitened(system, known, np.concatenate([places, nodes]), top, left)
            n = len(places)
            own += drift[:, :n].mT @ drift[:, :n] - white[:, :n].mT @ white[:, :n]
            cross += drift[:, :n].mT @ drift[:, n:] - white[:, :n].mT @ white[:, n:]
        diagonal = diagonals(own)
        diagonal += self.noise
        fall = (forward(cholesky(own[None]), cross[None])[0] ** 2).sum(0)
        return flat, fall

    def _nodes_around(self, top: int, left: int) -> tuple[Index, Index]:
        """Return the unobserved nodes around a tile: pixels (W, 2), and flat indices (W,)."""
        lattice, s = self.lattice, self.lattice.stride
        node = np.arange(TILE + 2 * lattice.halo)
        rows, cols = (
            start // s + node[(start // s + node >= 0) & (start // s + node < most)]
            for start, most in zip((top, left), lattice.nodes, strict=True)
        )
        where = np.stack(np.meshgrid(rows, cols, indexing="ij"), -1).reshape(-1, 2)
        pixels = where * s + lattice.first
        open_ = ~self.observed[tuple(pixels.T)]
        where = where[open_]
        return pixels[open_], where[:, 0] * lattice.nodes[1] + where[:, 1]

    def _out(self, places: Index) -> Mask:
        out: Mask = ~np.all((places >= 0) & (places < self.lattice.shape), 1)
        out[~out] = self.observed[tuple(places[~out].T)]
        return out

    def covariances(self, known: Index) -> Array:
        """Return the covariances (n, n) of observations at pixels (n, 2), wherever they are."""
        places = known * np.array(self.spacing)
        k: Array = self.solver.covariance(places, places)
        return self._noisy(k, known)

    def _noisy(self, k: Array, known: Index) -> Array:
        """Return the covariances of the latent field with those of nugget and errors, in place."""
        own = diagonals(k)
        own += self.solver.covariance.nugget
        if self._errors is not None:
            own += self._errors[tuple(known.T)]
        return k

    def _system(self, known: Index, top: int, left: int) -> System:
        k = self._noisy(self._between(known, known), known)
        zero = np.zeros(len(known))
        return System.factorise(k[None], zero[None], self._columns(known, top, left)[None])

    def _whitened(
        self, system: System, known: Index, places: Index, top: int, left: int
    ) -> tuple[Array, Array]:
        """Return what the observations (n, N) and the drift (p, N) leave of places (N, 2)."""
        white = forward(system.lower, self._between(known, places)[None])[0]
        lost = self._columns(places, top, left).mT - system.drift[0].mT @ white
        drift = forward(system.gram, lost[None])[0]
        if self._coefficients is None:
            return white, drift
        # Covariates less what kriging makes of them; their coefficients are those of the whole survey.
        left_over = forward(system.lower, self._coefficients.at(known)[None])[0]
        mean = forward(system.gram, (system.drift[0].mT @ left_over)[None])[0]
        away = self._coefficients.at(places).mT - left_over.mT @ white - mean.mT @ drift
        return white, np.concatenate([drift, self._coefficients.root().mT @ away])

    def _around(self, top: int, left: int) -> Index:
        """Return observed pixels (n, 2) in a window; of a crowd, one in every cell of a few pixels."""
        rows, cols = self.lattice.shape
        start = max(top, 0), max(left, 0)
        stop = min(top + self._side, rows), min(left + self._side, cols)
        known = np.argwhere(self.observed[start[0] : stop[0], start[1] : stop[1]]) + np.array(start)
        cell, kept = self.lattice.stride, known
        while len(kept) > _MOST_OBSERVATIONS:
            cell *= 2
            kept = known[np.unique(known // cell, axis=0, return_index=True)[1]]
        return np.asarray(kept, np.int64)

    def _columns(self, places: Index, top: int, left: int) -> Array:
        offsets = (places - np.array([top, left])) / self._side - 0.5
        return np.asarray(drift_columns(self.solver.kind, offsets, offsets[:, :0]))

    def _table(self, side: int) -> Array:
        """Return the covariance at every lag of pixels in a window, (2 side + 1) squared of them."""
        lag = np.arange(-side, side + 1, dtype=np.float64)
        down, across, origin = lag * self.spacing[0], lag * self.spacing[1], np.zeros((1, 2))
        strips = [
            self.solver.covariance(
                np.stack(np.meshgrid(down[at : at + 256], across, indexing="ij"), -1).reshape(-1, 2), origin
            )
            for at in range(0, len(down), 256)
        ]
        return np.concatenate(strips)[:, 0]

    def _between(self, a: Index, b: Index) -> Array:
        """Return covariances (N, M) of the latent field between pixels (N, 2) and (M, 2) of one window."""
        width = 2 * self._side + 1
        flat = [p[:, 0] * width + p[:, 1] for p in (a, b)]
        middle = self._side * width + self._side
        index = flat[0][:, None] - (flat[1] - middle)[None, :]
        return np.asarray(self._lags.take(index))
