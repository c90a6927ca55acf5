"""What observing more pixels would gain a raster, kept up to date as sites are taken; see `geonp.kriging.update`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geonp import parallel
from geonp.kriging.criteria import Criterion
from geonp.kriging.lattice import TILE, Lattice, put
from geonp.kriging.update import Errors, Surveyed

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


class State(NamedTuple):
    """Gains at a moment; see `Gains`."""

    variance: Array
    gain: Array


@dataclass
class Gains:
    """What each node of a lattice would gain the raster, kept up to date as sites are taken.

    Parameters
    ----------
    surveyed : what is observed, and the errors that are left.
    criterion : what a fall of the variance is worth.
    variance : of the latent field at every node, (node rows, node columns), 0 where observed; a criterion that looks at
        it must be given it (`Surveyed.variances`), for others it is found on the way.
    gain : (node rows, node columns), in the criterion's units; 0 where observed.
    """

    surveyed: Surveyed
    criterion: Criterion
    variance: Array
    gain: Array = field(init=False)

    def __post_init__(self) -> None:
        self.variance, self.gain = self.variance.copy(), np.zeros(self.lattice.nodes)
        self._renew(self.lattice.tiles)

    @property
    def lattice(self) -> Lattice:
        """The nodes."""
        return self.surveyed.lattice

    @property
    def total(self) -> float:
        """What is left to be gained."""
        return self.criterion.total(self.variance)

    def take(self, places: Index) -> None:
        """Observe pixels (M, 2), in the order along a line, and update the nodes around them."""
        self._observe(places, self.variance)
        self.surveyed.observed[tuple(places.T)] = True
        self._renew(self._felt(places))

    def release(self, places: Index) -> State:
        """Take pixels (M, 2) for not observed again, and update the nodes around them; return what was before."""
        before = State(self.variance.copy(), self.gain.copy())
        for place in places[:, None]:
            row, col = place[0].tolist()
            self.surveyed.observed[row, col] = False
            node = self.lattice.node_of(*place.T)
            nodes, fall = self.surveyed.together((int(node[0][0]), int(node[1][0])), place)
            self.variance.reshape(-1)[nodes] += fall
            if self.lattice.is_node(row, col):
                # Known a moment ago, it had none: what the nugget would have left is missing in its fall.
                tile = self.lattice.tile_of(row, col)
                self.variance[node] = self.surveyed.errors(tile, place, alone=True).variance
        self._renew(self._felt(places))
        return before

    def restore(self, places: Index, before: State) -> None:
        """Undo the `release` of pixels (M, 2)."""
        self.surveyed.observed[tuple(places.T)] = True
        self.variance, self.gain = before

    def at(self, rows: Index, cols: Index) -> tuple[Array, Array]:
        """Return gain and latent variance of pixels near each other, on nodes or between them."""
        tile = self.lattice.tile_of(int(rows.mean()), int(cols.mean()))
        found = self.surveyed.errors(tile, np.stack([rows, cols], 1))
        return self._worth(found), found.variance

    def together(self, places: Index) -> float:
        """Return the gain of observing pixels (M, 2) all at once, in the order along a line."""
        return self._observe(places, self.variance.copy())

    def _observe(self, places: Index, variance: Array) -> float:
        """Return the gain of observing pixels (M, 2), and lower `variance` by it.

        Of a line that is longer than a tile, pieces are observed one after another: the gain of each, given those
        before, adds up to that of the whole.
        """
        places = places[~self.surveyed.observed[tuple(places.T)]]
        node = np.stack(self.lattice.node_of(*places.T), 1)
        piece = np.zeros(len(places), np.int64) if not len(node) else np.abs(node - node[0]).max(1) // TILE
        total, flat = 0.0, variance.reshape(-1)
        for number in np.unique(piece):
            here = piece == number
            low = node[here].min(0)
            nodes, fall = self.surveyed.together((int(low[0]), int(low[1])), places[here])
            now = flat[nodes]
            fall = np.minimum(fall, now)
            total += float(self.criterion.worth(nodes, now, fall[None])[0])
            flat[nodes] -= fall
            self.surveyed.observed[tuple(places[here].T)] = True
        self.surveyed.observed[tuple(places.T)] = False
        return total

    def _felt(self, places: Index) -> list[tuple[int, int]]:
        """Return the tiles in whose halo one of the pixels (M, 2) lies."""
        h, s = self.lattice.halo, self.lattice.stride
        tiles = self.lattice.tiles
        low = (np.array(tiles) - h) * s
        reached = np.zeros(len(tiles), bool)
        for place in places:
            reached |= np.all((place >= low) & (place < low + (TILE + 2 * h) * s), 1)
        return [tiles[i] for i in np.flatnonzero(reached)]

    def _renew(self, tiles: list[tuple[int, int]]) -> None:
        def renewed(i: int) -> tuple[Array, Array]:
            found = self.surveyed.errors(tiles[i], self.surveyed.places(tiles[i]))
            gain = self._worth(found)
            return np.where(found.out, 0, gain), np.where(found.out, 0, found.variance)

        for tile, (gain, variance) in zip(tiles, parallel.each(renewed, range(len(tiles))), strict=True):
            put(self.gain, tile, gain)
            put(self.variance, tile, variance)

    def _worth(self, found: Errors) -> Array:
        fall = np.square(found.cross) / (found.variance + self.surveyed.noise)[:, None]
        return self.criterion.worth(found.nodes, self.variance.reshape(-1)[found.nodes], fall)
