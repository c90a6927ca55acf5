"""Which observations a target or a tile is kriged from: the nearest ones, on every side.

The nearest observations alone may all lie on one side (a rim, a track, a swath). Directions are therefore
cut into sectors, each of which offers its nearest few (a quadrant search, with more than four quadrants).
Where a sector stays empty, the search widens to ever coarser selections of the observations, one a cell, so
that the far side of a wide gap is seen without visiting all that lies in between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geonp import parallel
from geonp.kriging.covariance import Covariance

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

_COARSER = 4
"""Cells of the next selection are so many times as wide."""
_CHUNK = 4096


def embed(coords: Array, covariance: Covariance) -> Array:
    """Return positions (N, 2 or 3) in which the strongest structure is isotropic: where near is near."""
    strongest = max(covariance.structures, key=lambda s: s.sill)
    return np.asarray(covariance.embed(coords, strongest))


@dataclass(frozen=True, slots=True)
class Layer:
    """Some of the points, to be searched for the nearest.

    Parameters
    ----------
    members : (n,) indices of the points.
    tree : their positions.
    reach : distance within which the layer holds all that should be found there.
    """

    members: Index
    tree: cKDTree
    reach: float = math.inf


def layers_of(places: Array, members: Index | None = None) -> tuple[Layer, ...]:
    """Return layers of all `members` of `places` (all points by default), then of ever sparser selections."""
    members = np.arange(len(places)) if members is None else members
    extent = np.sort(np.ptp(places[members], axis=0))[::-1]
    side = _COARSER * math.sqrt(max(extent[0] * extent[1], 1e-6 * extent[0] ** 2) / len(members))
    found = [Layer(members, cKDTree(places[members]))]
    while len(members) > _COARSER**2 and 0 < side < 2 * extent[0]:
        sparser = _one_a_cell(places, members, side)
        if len(sparser) < len(members):
            members = sparser
            found.append(Layer(members, cKDTree(places[members])))
        side *= _COARSER
    return tuple(found)


def _one_a_cell(places: Array, members: Index, side: float) -> Index:
    """Return of every cubic cell of `side` the member nearest its middle."""
    scaled = places[members] / side
    cell = np.floor(scaled).astype(np.int64)
    off_centre = ((scaled - cell - 0.5) ** 2).sum(1)
    order = np.lexsort((off_centre, *cell.T))
    changes = (np.diff(cell[order], axis=0) != 0).any(1)
    return np.asarray(members[order[np.concatenate([[True], changes])]])


@dataclass(frozen=True, slots=True)
class Neighbourhoods:
    """Finds the neighbours of any place.

    Parameters
    ----------
    places : (N, 2) positions in the plane, or (N, 3) on a sphere around the origin (`embed`).
    layers : where to search, the densest first.
    count : neighbours wanted.
    sectors : directions that each offer `count / sectors` first; what empty ones leave, the nearest of the
        rest fill.
    """

    places: Array
    layers: tuple[Layer, ...]
    count: int
    sectors: int = 8

    def near(self, centres: Array) -> Index:
        """Return the neighbours (M, count) of `centres` (M, 2 or 3), nearest first, -1 behind the last."""
        parts = [self._near(centres[start : start + _CHUNK]) for start in range(0, len(centres), _CHUNK)]
        return np.concatenate([np.zeros((0, self.count), np.int64), *parts])

    def _near(self, centres: Array) -> Index:
        share = max(1, self.count // self.sectors)
        widths = [min(2 * self.count, len(layer.members) + 1) for layer in self.layers]
        point = np.full((len(centres), sum(widths)), -1)
        distance, sector = np.full(point.shape, np.inf), np.zeros(point.shape, np.int64)
        complete_to, active = np.full(len(centres), -1.0), np.arange(len(centres))
        for layer, stop, width in zip(self.layers, np.cumsum(widths), widths, strict=True):
            here = np.ix_(active, np.arange(stop - width, stop))
            found, at, to = self._search(layer, width, centres[active], complete_to[active])
            point[here], distance[here], complete_to[active] = at, found, to
            sector[here] = self._sector(at, centres[active])
            there = point[active, :stop] >= 0
            offered = [(there & (sector[active, :stop] == s)).sum(1) for s in range(self.sectors)]
            active = active[(to < np.inf) & (np.stack(offered, 1) < share).any(1)]
            if not len(active):
                break
        return self._choose(point, distance, _rank(sector, point >= 0, self.sectors) < share)

    def _search(self, layer: Layer, width: int, centres: Array, beyond: Array) -> tuple[Array, Index, Array]:
        """Return the `width` nearest, `beyond` some distance: their distances (inf where none) and points
        (-1), and the distance up to which nothing is missing.
        """
        rank, reach = np.arange(1, width + 1), layer.reach
        distance, at = parallel.nearest(layer.tree, centres, rank, reach)
        complete_to = np.where(np.isfinite(distance[:, -1]), distance[:, -1], reach)
        fresh = np.isfinite(distance) & (distance > beyond[:, None])
        points = np.append(layer.members, -1)[at]
        return np.where(fresh, distance, np.inf), np.where(fresh, points, -1), complete_to

    def _sector(self, point: Index, centres: Array) -> Index:
        offset = self.places[point] - centres[:, None]
        if centres.shape[1] == 2:
            y, x = offset[..., 0], offset[..., 1]
        else:
            y, x = _tangent(centres, offset)
        turn = np.arctan2(y, x) * (self.sectors / (2 * np.pi)) + self.sectors
        return np.asarray(np.floor(turn), np.int64) % self.sectors

    def _choose(self, point: Index, distance: Array, first: NDArray[np.bool_]) -> Index:
        """Return the `count` best: what sectors offered first, then the nearest; sorted by distance."""
        # Distances are finite below the largest; a second term puts every offered point before the others.
        later = np.where(first, 0.0, distance[np.isfinite(distance)].max(initial=0.0) + 1.0)
        best = np.argsort(distance + later, axis=1, kind="stable")[:, : self.count]
        best = np.take_along_axis(
            best, np.argsort(np.take_along_axis(distance, best, 1), 1, kind="stable"), 1
        )
        chosen = np.take_along_axis(point, best, 1)
        return np.pad(chosen, ((0, 0), (0, self.count - chosen.shape[1])), constant_values=-1)


def _rank(sector: Index, there: NDArray[np.bool_], sectors: int) -> Index:
    """Return how many points of a row's own sector come before each point."""
    rank = np.zeros_like(sector)
    for s in range(sectors):
        mine = (sector == s) & there
        rank = np.where(mine, np.cumsum(mine, 1) - 1, rank)
    return rank


def _tangent(centres: Array, offset: Array) -> tuple[Array, Array]:
    """Return northing and easting (M, k) of offsets (M, k, 3) in the planes that touch at `centres`."""
    up = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    # At a pole every direction is as good as another.
    aside = np.where(np.abs(up[:, 2:]) > 1 - 1e-12, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]])
    east = np.cross(aside, up)
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    north = np.cross(up, east)
    return np.einsum("mkd,md->mk", offset, north), np.einsum("mkd,md->mk", offset, east)
