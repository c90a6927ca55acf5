"""Survey lines: straight ones, observed pixel by pixel, one line after another.

The gain of a line is that of all its pixels together, exactly. It is computed for a few dozen candidates only: those on
which the gains of single pixels add up to most, some in every direction. The best of them is then turned and shifted as
long as it gets better.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.designs.aim import Aim
from geonp.designs.ground import Ground, place
from geonp.kriging.gains import Gains

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

_DIRECTIONS = 12
_TRIED_A_DIRECTION = 4
_POLISHED = 3
_APART = 2
"""Nodes between the middles of candidates."""
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Line:
    """A straight line that is worth surveying.

    Parameters
    ----------
    rank : from 1, the best first, each given that those before it are surveyed too.
    x, y, x_end, y_end : the middles of its first and last pixel, in the field's coordinates.
    length : in metres (units of the coordinates without a CRS).
    observations : pixels along it that were not observed before.
    gain : share of the criterion that it takes away.
    left : share of the criterion that is left when it and those before it are surveyed.
    cost : of surveying it: the fixed cost and that of every metre; the length alone where no cost was given.
    """

    rank: int
    x: float
    y: float
    x_end: float
    y_end: float
    length: float
    observations: int
    gain: float
    left: float
    cost: float


@dataclass(frozen=True)
class Track:
    """A straight line on the grid.

    Parameters
    ----------
    middle : row and column, fractions too.
    angle : of its direction in metres, radians from across towards down.
    length : in metres, from the middle of its first pixel to that of its last.
    """

    middle: tuple[float, float]
    angle: float
    length: float

    def pixels(self, spacing: tuple[float, float], step: float) -> Index:
        """Return its pixels (M, 2) in order, one every `step` metres or fewer, each once."""
        along = _along(self.length, step)
        offset = _direction(self.angle, spacing) * along[:, None]
        found = np.rint(np.array(self.middle) + offset).astype(np.int64)
        keep: Mask = np.concatenate([[True], np.any(np.diff(found, axis=0) != 0, 1)])
        return np.asarray(found[keep])


@dataclass(frozen=True)
class Plan:
    """How lines are to be laid.

    Parameters
    ----------
    length : of every line in metres; None: from edge to edge.
    step : metres between observations along a line.
    distance : least distance in metres between lines.
    fixed : cost of a line beside that of its metres.
    priced : whether gain over cost counts, and not gain alone.
    """

    length: float | None
    step: float
    distance: float
    fixed: float
    priced: bool


def choose(field: xr.DataArray, aim: Aim, ground: Ground, n: int, plan: Plan) -> list[Line]:
    """Return up to `n` lines; fewer where there is no room.

    Parameters
    ----------
    field : that is surveyed.
    aim : what their gains are measured in; lines that are taken are observed in it.
    ground : where one can go; lines that are taken are barred in it.
    plan : how they are to be laid.
    """
    left, lines = aim.before, list[Line]()
    while len(lines) < n:
        track = _best(aim.gains, ground, plan)
        if track is None:
            break
        pixels = track.pixels(ground.spacing, plan.step)
        new = pixels[~ground.seen[tuple(pixels.T)]]
        gain = aim.gains.together(new)
        left -= gain
        ends = [place(field, row, col) for row, col in pixels[[0, -1]].tolist()]
        share = (gain / aim.before, max(left / aim.before, 0.0)) if aim.before > 0 else (0.0, 0.0)
        cost = _cost(pixels, track.length, ground, plan)
        lines.append(Line(len(lines) + 1, *ends[0], *ends[1], track.length, len(new), *share, cost))
        aim.gains.take(new)
        ground.seen[tuple(new.T)] = True
        ground.close(pixels[:, 0], pixels[:, 1], plan.distance)
    return lines


def _best(gains: Gains, ground: Ground, plan: Plan) -> Track | None:
    """Return the best line that lies on open ground, or None."""
    tried = [track for angle in _angles() for track in _promising(gains, ground, plan, angle)]
    scored = sorted(((_score(gains, ground, plan, t), i) for i, t in enumerate(tried)), reverse=True)
    best = [(score, tried[i]) for score, i in scored[:_POLISHED] if score > -math.inf]
    if not best:
        return None
    polished = [_polished(gains, ground, plan, score, track) for score, track in best]
    return max(polished, key=lambda found: found[0])[1]


def _angles() -> Array:
    return np.asarray(np.arange(_DIRECTIONS) * math.pi / _DIRECTIONS)


def _polished(gains: Gains, ground: Ground, plan: Plan, score: float, track: Track) -> tuple[float, Track]:
    """Turn and shift a line by ever smaller steps while it gets better."""
    shift, turn = float(_APART * gains.lattice.stride), math.pi / _DIRECTIONS / 2
    for _ in range(2):
        shift, turn = shift / 2, turn / 1.5
        (row, col), angle = track.middle, track.angle
        others = [
            ((row + dr, col + dc), angle) for dr, dc in ((shift, 0), (-shift, 0), (0, shift), (0, -shift))
        ]
        others += [((row, col), angle + turn), ((row, col), angle - turn)]
        for middle, turned in others:
            other = _laid(middle, turned, ground, plan)
            if other is not None and (better := _score(gains, ground, plan, other)) > score:
                score, track = better, other
    return score, track


def _score(gains: Gains, ground: Ground, plan: Plan, track: Track) -> float:
    """Return the gain of a line, over its cost where that counts; minus infinity where it cannot be surveyed."""
    pixels = track.pixels(ground.spacing, plan.step)
    if not _feasible(pixels, ground):
        return -math.inf
    gain = gains.together(pixels)
    return gain / _cost(pixels, track.length, ground, plan) if plan.priced else gain


def _feasible(pixels: Index, ground: Ground) -> bool:
    inside = np.all((pixels >= 0) & (pixels < ground.open.shape), 1)
    return bool(
        inside.all() and ground.open[tuple(pixels.T)].all() and not ground.seen[tuple(pixels.T)].all()
    )


def _cost(pixels: Index, length: float, ground: Ground, plan: Plan) -> float:
    metre = 1.0 if ground.price is None else float(ground.price[tuple(pixels.T)].mean())
    return plan.fixed + metre * length


def _laid(middle: tuple[float, float], angle: float, ground: Ground, plan: Plan) -> Track | None:
    """Return the line through a pixel in a direction; None where it leaves the raster."""
    if plan.length is not None:
        return Track(middle, angle, plan.length)
    direction, at = _direction(angle, ground.spacing), np.array(middle)
    low, high = -math.inf, math.inf
    for i, size in enumerate(ground.open.shape):
        if abs(direction[i]) < 1e-12:
            continue
        ends = sorted(((0 - at[i]) / direction[i], (size - 1 - at[i]) / direction[i]))
        low, high = max(low, ends[0]), min(high, ends[1])
    if not high - low > 0 or not np.all((at >= 0) & (at <= np.array(ground.open.shape) - 1)):
        return None
    row, col = (at + direction * (low + high) / 2).tolist()
    return Track((row, col), angle, float(high - low))


def _promising(gains: Gains, ground: Ground, plan: Plan, angle: float) -> list[Track]:
    """Return the lines of a direction on which the gains of single pixels add up to most."""
    tracks, scores = list[Track](), list[float]()
    for middles in _middles(gains, ground, plan, angle):
        if plan.length is None:
            for middle in middles.tolist():
                track = _laid((middle[0], middle[1]), angle, ground, plan)
                if track is not None:
                    pixels = track.pixels(ground.spacing, plan.step)
                    found = _sums(gains, ground, plan, pixels[None], track.length)
                    tracks.append(track)
                    scores.append(float(found[0]))
            continue
        offset = _direction(angle, ground.spacing) * _along(plan.length, plan.step)[:, None]
        found = _sums(gains, ground, plan, np.rint(middles[:, None] + offset).astype(np.int64), plan.length)
        for at in np.argsort(-found, kind="stable")[:_TRIED_A_DIRECTION]:
            tracks.append(Track((float(middles[at, 0]), float(middles[at, 1])), angle, plan.length))
            scores.append(float(found[at]))
    order = np.argsort(-np.array(scores), kind="stable")[:_TRIED_A_DIRECTION]
    return [tracks[i] for i in order if scores[i] > -math.inf]


def _middles(gains: Gains, ground: Ground, plan: Plan, angle: float) -> Iterator[Array]:
    """Yield middles (N, 2) of candidates: some nodes, or, edge to edge, some on the two diagonals."""
    shape, apart = ground.open.shape, _APART * gains.lattice.stride
    if plan.length is None:
        count = max(max(shape) // apart, 2)
        along = (np.arange(count) + 0.5) / count
        rows, cols = along * (shape[0] - 1), along * (shape[1] - 1)
        # Lines that fall like one diagonal are told apart by where they cross the other.
        falls = _direction(angle, ground.spacing).prod() >= 0
        yield np.stack([rows, cols[::-1] if falls else cols], 1)
        return
    rows, cols = (np.arange(gains.lattice.first, size, apart, dtype=np.float64) for size in shape)
    every = np.stack(np.meshgrid(rows, cols, indexing="ij"), -1).reshape(-1, 2)
    chunk = max(_CHUNK // len(_along(plan.length, plan.step)), 1)
    yield from (every[start : start + chunk] for start in range(0, len(every), chunk))


def _sums(gains: Gains, ground: Ground, plan: Plan, pixels: Index, length: float) -> Array:
    """Return the summed gains of pixels along N lines (N, M, 2), over cost where that counts."""
    rows, cols = pixels[..., 0], pixels[..., 1]
    inside = (rows >= 0) & (rows < ground.open.shape[0]) & (cols >= 0) & (cols < ground.open.shape[1])
    possible = inside.all(1)
    rows, cols = rows[possible], cols[possible]
    out = np.full(len(pixels), -math.inf)
    node = gains.lattice.node_of(rows, cols)
    found = gains.gain[node].mean(1) * length
    if plan.priced:
        metre = 1.0 if ground.price is None else ground.price[rows, cols].mean(1)
        found = found / (plan.fixed + metre * length)
    open_ = ground.open[rows, cols].all(1) & ~ground.seen[rows, cols].all(1)
    out[possible] = np.where(open_, found, -math.inf)
    return out


def _along(length: float, step: float) -> Array:
    """Return metres from the middle at which a line is observed: both ends, and no gap wider than `step`."""
    return np.linspace(-length / 2, length / 2, max(math.ceil(length / step - 1e-9), 1) + 1)


def _direction(angle: float, spacing: tuple[float, float]) -> Array:
    """Return rows and columns a metre in a direction."""
    return np.array([math.sin(angle) / abs(spacing[0]), math.cos(angle) / abs(spacing[1])])
