"""Kriging of a raster of any size, window by window.

Each tile is solved in the cheapest way that does it justice: on the lattice from all observations around it
(`tiles`); in quarters, where those are too many; from neighbours found on every side, where they are few or
lie on one side (`neighbours`), which reaches across gaps of any width; a small survey exactly (`exact`).
Which way depends on the raster alone, not on the windows in which it is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from geonp.kriging.blend import Blend
from geonp.kriging.board import Board, Pixels, Tiles
from geonp.kriging.exact import Exact, bytes_of_exact
from geonp.kriging.layout import LEAST_TILE, MOST_TILE, Layout, heard, plan
from geonp.kriging.local import Groups, krige_groups
from geonp.kriging.neighbours import Layer, Neighbourhoods, embed, layers_of
from geonp.kriging.points import Observations
from geonp.kriging.solver import Solver
from geonp.kriging.survey import Block, Survey
from geonp.kriging.system import bytes_needed
from geonp.kriging.tiles import krige_tiles

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

EXACT_LAYOUT = Layout((64, 64), (0, 0))
"""Blocks in which an exact system predicts."""

_LEAST = 24
"""Observations around a tile below which it is kriged from neighbours farther away."""
_LEAST_A_QUARTER = 2
_EXACT_OBSERVATIONS = 2048
_EXACT_WORK = 12e9
"""Largest square of the observations times pixels for which the exact system is solved (about a second)."""
_NEIGHBOURS, _SECTORS = 128, 16
_LEVELS, _DEEP, _DEEPER = 4, 3.0, 2.0
"""Sizes of tiles in gaps; tiles double from so many tiles' distance to the data on, all of them so many later."""
_BYTES_KEPT, _BYTES_A_PIXEL = 180, 120
NUDGE = np.array([1.7e-4, 2.9e-4])
"""Off the lattice, so that no two observations are equally far from the middle of a tile."""


@dataclass(frozen=True)
class RasterKriging:
    """A raster whose covariance is known, ready to be kriged.

    Parameters
    ----------
    shape : rows and columns of the raster.
    spacing : metres (down, across) from a pixel to the next; down is negative where y points up.
    survey : what is known of the whole raster.
    solver : the covariance, and how it is solved.
    neighbours : observations from which a pixel is kriged: about so many among observations, just so many in
        gaps. None is 70 (more where the nugget is large) and 128.
    smooth : whether observed pixels are estimated too; otherwise they keep their value, with variance 0.
    drift : (N, q), covariates at the observations of the survey, which the mean follows; None for none.
    """

    shape: tuple[int, int]
    spacing: tuple[float, float]
    survey: Survey
    solver: Solver
    neighbours: int | None = None
    smooth: bool = False
    drift: Array | None = None

    def bytes_needed(self, window: int) -> int:
        """Return the memory in bytes that kriging takes at its peak in windows of `window` pixels a side."""
        kept = _BYTES_KEPT * len(self.survey.values)
        if self.exact:
            n, itemsize = self.survey.observed, self.solver.itemsize
            return (
                kept + bytes_of_exact(n, itemsize) + bytes_needed(n, math.prod(EXACT_LAYOUT.tile), itemsize)
            )
        rows, cols = (min(window, size) + 2 * self.halo for size in self.shape)
        return kept + _BYTES_A_PIXEL * rows * cols + self.solver.working_memory

    @cached_property
    def layout(self) -> Layout:
        """Tiles that suit the raster where it is observed."""
        covariance, useful = self.solver.covariance, 1.0
        if self.survey.errors is not None:
            apart = math.sqrt(abs(self.spacing[0] * self.spacing[1]) / self.survey.density)
            noise, useful = heard(covariance, self.survey.errors, apart)
            covariance = replace(covariance, nugget=noise)
        return plan(self.survey.density, covariance, self.spacing, self.neighbours, useful)

    @property
    def exact(self) -> bool:
        """Whether one system of all observations is solved."""
        n, pixels = self.survey.observed, self.shape[0] * self.shape[1]
        small = n <= _EXACT_OBSERVATIONS and n * n * pixels <= _EXACT_WORK
        fits = bytes_of_exact(n, self.solver.itemsize) <= self.solver.memory
        return self.survey.complete and small and fits

    @property
    def halo(self) -> int:
        """Pixels around a window that are read."""
        reach = max(self.layout.halo) if self.survey.complete else self._reach
        return reach + max(self.layout.tile)

    @property
    def _reach(self) -> int:
        """Pixels around the middle of a tile within which neighbours are not thinned out."""
        return max(self.layout.halo) + max(self.layout.tile)

    @property
    def _count(self) -> int:
        """Observations from which pixels in gaps are kriged: no fewer than elsewhere."""
        if self.neighbours is not None:
            return self.neighbours
        return max(_NEIGHBOURS, round(self.survey.density * math.prod(self.layout.window)))

    def complete(
        self, given: Block, wanted: Pixels, spacing: tuple[float, float] | None = None
    ) -> tuple[Array, Array]:
        """Krige a window.

        Parameters
        ----------
        given : the window with `halo` pixels around it, cut off at the edge of the raster; with its drift, where
            there is one.
        wanted : the window.
        spacing : lengths of this window's pixels, where they are not the raster's; directions are.

        Returns
        -------
        tuple of ndarray
            Mean and variance of the latent field, (rows, columns). Observed pixels have their value and
            variance 0 unless `smooth`, or they are known to err.
        """
        mean = given.values[wanted.within(given.row, given.col)].astype(np.float64)
        variance = np.zeros_like(mean)
        holes = np.ones(mean.shape, bool) if self.smooth else np.isnan(mean)
        holes |= given.uncertain[wanted.within(given.row, given.col)]
        if holes.any():
            down, across = map(math.copysign, spacing or self.spacing, self.spacing)
            fill = self._fill_exactly if self.exact else self._fill_by_tiles
            found = fill(given, wanted, holes, (down, across))
            mean[holes], variance[holes] = found[0][holes], found[1][holes]
        return mean, variance

    def _fill_exactly(
        self, given: Block, wanted: Pixels, holes: Mask, spacing: tuple[float, float]
    ) -> tuple[Array, Array]:
        """Predict in blocks anchored at the raster's origin, whole ones, so that windows leave no trace."""
        system = Exact.of(self.observed(spacing), self.solver)
        board = Board.of(given, wanted, holes, EXACT_LAYOUT, self.shape, spacing, self.solver.device)
        tiles = board.tiles(EXACT_LAYOUT)
        for i, place in enumerate(board.pixels(tiles)):
            covariates = given.covariates(*place.astype(np.int64).T)
            found = system.predict(place * spacing, covariates)
            one = tiles.pick(np.arange(len(tiles)) == i)
            board.put(one, *(a.reshape(1, *EXACT_LAYOUT.tile) for a in found))
        return board.result(wanted)

    def _fill_by_tiles(
        self, given: Block, wanted: Pixels, holes: Mask, spacing: tuple[float, float]
    ) -> tuple[Array, Array]:
        board = Board.of(given, wanted, holes, self.layout, self.shape, spacing, self.solver.device)
        lonely = np.zeros_like(board.holes)
        for here, counts in self._sorted(board, lonely):
            found = krige_tiles(board.canvas, here.layout, here.rows, here.cols, counts, self.solver)
            board.put(here, *found)
        if lonely.any():
            self._fill_lonely(board, lonely, given, spacing)
        return board.result(wanted)

    def _sorted(self, board: Board, lonely: Mask) -> Iterator[Sorted]:
        """Yield the tiles that are solved on the lattice, in quarters where they are crowded.

        When all are yielded, `lonely` (rows, columns of the board) marks the holes of the others.
        """
        tiles, least = board.tiles(self.layout), min(_LEAST, -(-self._count // 3))
        while len(tiles):
            count, fewest = board.count(tiles)
            crowded = count > tiles.layout.crowded
            plain = ~crowded & (count >= least) & (fewest >= _LEAST_A_QUARTER)
            split = crowded & (min(tiles.layout.tile) >= 2 * LEAST_TILE)
            if plain.any():
                yield Sorted(tiles.pick(plain), count[plain])
            rest = tiles.pick(~plain & ~split)
            board.cells(lonely, rest.layout)[rest.rows, :, rest.cols] = True
            tiles = board.with_holes(tiles.pick(split).quarters())
        lonely &= board.holes

    def _fill_lonely(self, board: Board, lonely: Mask, given: Block, spacing: tuple[float, float]) -> None:
        """Krige the pixels `lonely` from neighbours wherever they are.

        The neighbours around the middle of a tile serve all pixels as far as the middles of the next tiles;
        what the four middles around a pixel say is averaged, weighted bilinearly. The map is then continuous,
        as it would not be if each tile took its own neighbours' word. The deeper in a gap, the larger the
        tiles.
        """
        total = np.zeros_like(board.found)
        for level, share in enumerate(self._shares(board.region, lonely)):
            tile = (self.layout.tile[0] << level, self.layout.tile[1] << level)
            blend = Blend.over(board.region, share > 0, tile)
            # Deep in a gap nothing is near that the survey has not.
            near = None if level or self.survey.complete else around(blend, given, self._reach)
            search, observations = self._search(near), self.observed(spacing, near)
            for nodes in blend.colours():
                index = search.near(self._place(nodes.middles + NUDGE))
                pixels = nodes.pixels
                covariates = given.covariates(*np.moveaxis(pixels.astype(np.int64), -1, 0))
                targets = Groups(pixels * spacing, covariates)
                blend.add(nodes, *krige_groups(observations, index, targets, self.solver))
            total += share * blend.result
        board.found[:, lonely] = total[:, lonely]

    def _shares(self, region: Pixels, lonely: Mask) -> list[Array]:
        """Return how much each size of tiles (each twice the one before) has to say at every pixel.

        It goes by the distance to the nearest observation in tiles, known at their middles and interpolated.
        """
        blend, tree = Blend.over(region, lonely, self.layout.tile), self._layers[1][0].tree
        side = math.sqrt(abs(float(np.linalg.det(self._step))) * math.prod(self.layout.tile))
        for nodes in blend.colours():
            distance = tree.query(self._place(nodes.middles))[0][:, None] / side
            blend.add(nodes, distance, distance)
        shares: list[Array] = []
        rest = lonely.astype(np.float64)
        for level in range(_LEVELS):
            larger = np.clip((blend.result[0] / 2**level - _DEEP) / _DEEPER, 0, 1)
            if (
                (max(self.layout.tile) << level) >= MOST_TILE
                or level == _LEVELS - 1
                or not (rest * larger).any()
            ):
                return [*shares, rest]
            shares.append(rest * (1 - larger))
            rest = rest * larger
        return shares

    def _search(self, more: Some | None) -> Neighbourhoods:
        """Return the search among the observations of the survey, and `more` of them within reach."""
        places, layers = self._layers
        if more is not None and len(more.values):
            here = self._place(np.stack([more.rows, more.cols], 1))
            reach = self._reach * float(np.linalg.svd(self._step, compute_uv=False)[-1])
            layers = (Layer(len(places) + np.arange(len(here)), cKDTree(here), reach), *layers)
            places = np.concatenate([places, here])
        return Neighbourhoods(places, layers, self._count, min(_SECTORS, self._count))

    @cached_property
    def _layers(self) -> tuple[Array, tuple[Layer, ...]]:
        places = self._place(np.stack([self.survey.rows, self.survey.cols], 1))
        return places, layers_of(places)

    def _place(self, pixels: Array | Index) -> Array:
        """Return positions (N, 2) in which near is near, of pixels (rows, columns)."""
        return embed(pixels * np.array(self.spacing), self.solver.covariance)

    @property
    def _step(self) -> Array:
        """How a step down and a step across (rows) change positions."""
        steps = self._place(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        return np.asarray(steps[1:] - steps[0])

    @property
    def observations(self) -> Observations:
        """What the survey kept."""
        return self.observed(self.spacing)

    def observed(self, spacing: tuple[float, float], more: Some | None = None) -> Observations:
        """Return what the survey kept, and `more`, with pixels of another size (down, across)."""
        every: list[Survey | Some] = [self.survey] if more is None else [self.survey, more]
        rows, cols = (np.concatenate([getattr(s, name) for s in every]) for name in ("rows", "cols"))
        values = np.concatenate([s.values for s in every], dtype=np.float64)
        noise = np.full(len(values), self.solver.covariance.nugget)
        if self.survey.errors is not None:
            noise += np.concatenate(
                [np.zeros(len(s.values)) if s.errors is None else s.errors for s in every]
            )
        coords = np.stack([rows, cols], 1) * np.array(spacing)
        drift = np.zeros((len(self.survey.values), 0)) if self.drift is None else self.drift
        if more is not None:
            drift = np.concatenate([drift, more.drift])
        return Observations(coords, values, noise, drift, 0)


class Sorted(NamedTuple):
    """Some tiles that are solved in one way, and how many observations each has (N,)."""

    tiles: Tiles
    counts: Index


@dataclass(frozen=True, slots=True)
class Some:
    """Some observed pixels: where, what, the drift (N, q) there, and the error variances, where stated."""

    rows: Index
    cols: Index
    values: NDArray[np.float32]
    drift: Array
    errors: NDArray[np.float32] | None


def around(blend: Blend, given: Block, reach: int) -> Some:
    """Return the observations of a window within `reach` pixels of the nodes."""
    seen = np.isfinite(given.values)
    wanted = np.zeros(seen.shape, bool)
    for nodes in blend.colours():
        middle = np.round(nodes.middles).astype(np.int64) - [given.row, given.col]
        wanted[tuple(np.clip(middle, 0, np.array(seen.shape) - 1).T)] = True
    rows, cols = np.nonzero(seen & maximum_filter(wanted, size=2 * (reach + max(blend.tile)) + 1))
    values = given.values[rows, cols]
    errors = None if given.errors is None else given.errors[rows, cols]
    rows, cols = rows + given.row, cols + given.col
    return Some(rows, cols, values, given.covariates(rows, cols), errors)
