"""Which pixels are observed: how many (`Context`), and where (one function a pattern).

A mask is a boolean array of rows x columns. In a *context* mask True is a pixel that is seen; in a *hold-out*
True is an observed pixel that is set aside. Every function is pure: the same generator state, the same mask.
Headings are in degrees, clockwise from the grid's first row (0 runs up the columns, 90 along the rows).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from geonp.errors import InputError, UsageError

Mask = NDArray[np.bool_]
Shape = tuple[int, int]

_FORMS = "a fraction 0 < x < 1 (0.125), a count, an integer >= 1 (200), or a range of fractions (0.02:0.3)"
_INTEGER = re.compile(r"[0-9]+")
_DECIMAL = re.compile(r"[0-9]*\.?[0-9]+(?:[eE]-?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Context:
    """How many pixels are seen: a count, or a fraction drawn from `low` to `high` (equal where there is one).

    `str(context)` is the text that `parse_context` reads back.
    """

    low: float
    high: float
    count: int | None = None

    def draw(self, rng: np.random.Generator, pixels: int) -> int:
        """Return how many of `pixels` are seen, from 1 to `pixels` (0 where there are none).

        A range is drawn log-uniformly, so that twice as dense is met as often from 0.02 as from 0.1: uniform
        draws would hardly ever show a model the sparse end.
        """
        if self.count is not None:
            return min(self.count, pixels)
        fraction = self.low
        if self.high > self.low:
            fraction = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return min(max(round(fraction * pixels), 1), pixels)

    def fractions(self, pixels: int) -> tuple[float, float]:
        """Return the smallest and largest fraction seen of `pixels`."""
        if self.count is not None:
            fraction = min(self.count / pixels, 1.0)
            return fraction, fraction
        return self.low, self.high

    def __str__(self) -> str:
        if self.count is not None:
            return str(self.count)
        return f"{self.low!r}:{self.high!r}" if self.high > self.low else repr(self.low)


def parse_context(text: str | float) -> Context:
    """Read a context as text or as a number.

    `0 < x < 1` is a fraction, an integer >= 1 a count, `0.02:0.3` a range of fractions.

    Raises
    ------
    UsageError
        On anything else; the message shows the three forms.
    """
    given = str(text).strip()
    if _INTEGER.fullmatch(given) and int(given) >= 1:
        return Context(0.0, 0.0, int(given))
    parts = given.split(":")
    if len(parts) <= 2 and all(_DECIMAL.fullmatch(part.strip()) for part in parts):
        low, high = float(parts[0]), float(parts[-1])
        if 0 < low <= high < 1:
            return Context(low, high)
    raise UsageError(f"a context of {given!r} is not understood; give {_FORMS}")


# --- patterns: (shape, fraction or count, ..., rng) -> context mask ---


def transects(shape: Shape, fraction: float, rng: np.random.Generator, heading: float | None = None) -> Mask:
    """Return parallel survey lines, one pixel wide, at a random `heading` unless one is given.

    Lines are 1 / `fraction` pixels apart along the grid's axis that they cross, so a share `fraction` of the
    pixels is seen; at least one line crosses the grid, even if that is more than was asked for.
    """
    _check_fraction(fraction)
    offset, _ = _across(shape, _heading(heading, rng))
    start = offset.flat[rng.integers(offset.size)]
    apart = 1 / fraction
    beyond = np.round((offset - start) % apart, 6)
    # A remainder that rounds to the distance itself is 0, and on the next line.
    return np.asarray((beyond < 1) | (beyond == np.round(apart, 6)))


def swaths(
    shape: Shape, fraction: float, rng: np.random.Generator, width: float, heading: float | None = None
) -> Mask:
    """Return everything but parallel gaps, `width` pixels wide, spaced so that a share `fraction` is seen.

    With narrow gaps this is a scan-line failure, with wide ones the space between two swaths. At least one
    pixel lies in a gap.
    """
    _check_fraction(fraction)
    offset, foreshortening = _across(shape, _heading(heading, rng))
    gap = width / foreshortening
    start = offset.flat[rng.integers(offset.size)] - rng.uniform(0, gap)
    return np.asarray((offset - start) % (gap / (1 - fraction)) >= gap)


def blocks(shape: Shape, fraction: float, rng: np.random.Generator, side: tuple[int, int]) -> Mask:
    """Return everything but rectangular holes whose sides lie in `side` (least, most), in pixels.

    Holes fall on pixels still seen until no more than `fraction` is; the last one is cut where it would
    hide more than a row too many.
    """
    _check_fraction(fraction)
    rows, cols = shape
    seen = np.ones(shape, bool)
    surplus = rows * cols - round(fraction * rows * cols)
    while surplus > 0:
        row, col = int(rng.integers(rows)), int(rng.integers(cols))
        if not seen[row, col]:
            continue
        height, width = (int(n) for n in rng.integers(side[0], side[1] + 1, 2))
        top, left = max(row - int(rng.integers(height)), 0), max(col - int(rng.integers(width)), 0)
        hole = seen[top : top + height, left : left + width]
        per_row = hole.sum(1)
        keep = int(np.searchsorted(np.cumsum(per_row), surplus)) + 1
        surplus -= int(per_row[:keep].sum())
        hole[:keep] = False
    return seen


def clouds(shape: Shape, fraction: float, rng: np.random.Generator, scale: float) -> Mask:
    """Return everything but clouds: thresholded smooth noise with features of about `scale` pixels.

    Exactly round(`fraction` x pixels) are seen. The noise has two octaves, so that the edges are ragged.
    """
    _check_fraction(fraction)
    noise = _smooth_noise(shape, scale, rng) + 0.4 * _smooth_noise(shape, scale / 4, rng)
    seen = np.zeros(shape, bool)
    count = round(fraction * noise.size)
    seen.flat[np.argpartition(noise, min(count, noise.size - 1), axis=None)[:count]] = True
    return seen


def borrowed_gaps(shape: Shape, donor: Mask, rng: np.random.Generator) -> Mask:
    """Return a window of another raster's observed mask, flipped and turned at random.

    Parameters
    ----------
    donor : True where the other raster was observed. Where it is smaller than `shape` it is mirrored.

    Notes
    -----
    A window with no gap, or with nothing else, teaches nothing: up to 16 are drawn until one has both.
    """
    side = max(shape)
    short = [(0, max(side - n, 0)) for n in donor.shape]
    donor = np.pad(donor, short, mode="symmetric")
    window = np.ones(shape, bool)
    for _ in range(16):
        row, col = (int(rng.integers(n - side + 1)) for n in donor.shape)
        window = turned(donor[row : row + side, col : col + side], rng)[: shape[0], : shape[1]]
        if window.any() and not window.all():
            break
    return np.ascontiguousarray(window)


# --- training mixtures ---


class MaskKind(StrEnum):
    """Where the context of a training task lies; how many pixels it has is `Context`'s to say."""

    RANDOM = "random"
    TRANSECTS = "transects"
    SWATHS = "swaths"
    BLOCKS = "blocks"
    CLOUDS = "clouds"
    GAPS = "gaps"


@dataclass(frozen=True, slots=True)
class Mixture:
    """Kinds of masks and how often each is drawn (equally often where no weights are given)."""

    kinds: tuple[MaskKind, ...] = (MaskKind.RANDOM,)
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.kinds:
            raise UsageError(f"no kind of mask was given; choose from {', '.join(MaskKind)}")
        if self.weights and (len(self.weights) != len(self.kinds) or min(self.weights) <= 0):
            raise UsageError(
                f"weights {self.weights} do not fit {len(self.kinds)} kinds; give one > 0 for each"
            )

    def draw(self, rng: np.random.Generator) -> MaskKind:
        """Return a kind, drawn by weight."""
        weights = np.asarray(self.weights or np.ones(len(self.kinds)))
        return self.kinds[int(rng.choice(len(self.kinds), p=weights / weights.sum()))]

    def __str__(self) -> str:
        weights = self.weights or (1.0,) * len(self.kinds)
        return ",".join(k if w == 1 else f"{k}:{w:g}" for k, w in zip(self.kinds, weights, strict=True))


def parse_masks(text: str) -> Mixture:
    """Read a mixture from text: kinds separated by commas, each with an optional weight (`random:3,blocks,clouds`).

    Raises
    ------
    UsageError
        If a kind is unknown or a weight is not a number above 0.
    """
    kinds, weights = [], []
    for part in text.split(","):
        name, _, weight = part.strip().partition(":")
        if name not in list(MaskKind) or (weight and not _DECIMAL.fullmatch(weight)):
            raise UsageError(f"mask {part.strip()!r} is not understood; choose from {', '.join(MaskKind)}")
        kinds.append(MaskKind(name))
        weights.append(float(weight or 1))
    return Mixture(tuple(kinds), tuple(weights))


def draw_context(
    kind: MaskKind, known: Mask, count: int, rng: np.random.Generator, donor: Mask | None = None
) -> Mask:
    """Return a context of `kind` among the `known` pixels.

    Parameters
    ----------
    count : pixels to see. Random pixels, and those around holes, are exactly as many wherever so many are
        left; transects are as near as whole lines come.
    donor : the observed mask that `MaskKind.GAPS` borrows from.

    Notes
    -----
    Swaths, blocks, clouds and gaps are holes first (a third to nine tenths of the tile stays outside them, or
    what `count` needs); the count is then drawn at random from what lies outside, so that a hole can stand in
    a sparse survey as well as in a dense one. Hole sizes are drawn log-uniformly, up to half the tile.
    """
    shape = (known.shape[0], known.shape[1])
    count = min(count, int(known.sum()))
    if kind is MaskKind.RANDOM or count == 0:
        return choose(known, count, rng)
    fraction = count / max(int(known.sum()), 1)
    if kind is MaskKind.TRANSECTS:
        lines = known & transects(shape, min(fraction, 1.0), rng)
        return lines if lines.any() else choose(known, count, rng)
    outside = known & _holes(kind, shape, max(rng.uniform(1 / 3, 0.9), min(fraction, 0.95)), rng, donor)
    return choose(outside if outside.any() else known, count, rng)


def _holes(
    kind: MaskKind, shape: Shape, fraction: float, rng: np.random.Generator, donor: Mask | None
) -> Mask:
    side = min(shape)
    if kind is MaskKind.SWATHS:
        return swaths(shape, fraction, rng, width=_log_uniform(rng, 1.0, max(side / 3, 1.0)))
    if kind is MaskKind.BLOCKS:
        most = math.ceil(_log_uniform(rng, max(side / 12, 1.0), max(side / 2, 1.0)))
        return blocks(shape, fraction, rng, side=(max(most // 2, 1), most))
    if kind is MaskKind.CLOUDS:
        return clouds(shape, fraction, rng, scale=_log_uniform(rng, max(side / 32, 0.5), max(side / 6, 1.0)))
    if donor is None:
        raise UsageError("masks of kind 'gaps' need a raster with gaps to borrow; give one, or another kind")
    return borrowed_gaps(shape, donor, rng)


# --- hold-outs: observed mask -> held-out observed pixels ---


class HoldOut(StrEnum):
    """How observed pixels are set aside to score a completion."""

    RANDOM = "random"
    BLOCKS = "blocks"
    SWATHS = "swaths"
    GAPS = "gaps"


def hold_out(
    kind: HoldOut, observed: Mask, fraction: float, rng: np.random.Generator, side: int = 16
) -> Mask:
    """Set aside a share `fraction` of the observed pixels.

    Parameters
    ----------
    kind : RANDOM, pixel by pixel (exact); BLOCKS, squares of `side` pixels; SWATHS, parallel stripes `side`
        pixels wide at a random heading; GAPS, shaped like the raster's own gaps, moved onto its data.
    observed : (rows, columns), True where observed.

    Returns
    -------
    (rows, columns), True at held-out pixels: a part of `observed`, never all of it. Blocks and swaths stop at
    the first that reaches the share; the other two are exact.

    Raises
    ------
    UsageError
        If `fraction` is not between 0 and 1.
    InputError
        If fewer than two pixels are observed, one block or swath holds them all, or there are no gaps.
    """
    _check_fraction(fraction)
    total = int(observed.sum())
    if total < 2:
        raise InputError(f"{total} observed pixels cannot be divided; a hold-out needs two at least")
    goal = min(max(round(fraction * total), 1), total - 1)
    if kind is HoldOut.RANDOM:
        return choose(observed, goal, rng)
    if kind is HoldOut.GAPS:
        return _own_gaps(observed, goal, rng)
    return _by_group(observed, goal, _groups(kind, observed, side, rng), side, rng)


def _groups(kind: HoldOut, observed: Mask, side: int, rng: np.random.Generator) -> NDArray[np.int64]:
    rows, cols = observed.shape
    if kind is HoldOut.BLOCKS:
        up, left = rng.integers(side, size=2)
        across = (cols - 1 + left) // side + 1
        row, col = np.ogrid[up : up + rows, left : left + cols]
        return np.asarray(row // side * across + col // side)
    offset, foreshortening = _across((rows, cols), _heading(None, rng))
    width = side / foreshortening
    stripe = np.floor((offset - offset.min() + rng.uniform(0, width)) / width)
    return np.asarray(stripe, np.int64)


def _by_group(
    observed: Mask, goal: int, group: NDArray[np.int64], side: int, rng: np.random.Generator
) -> Mask:
    counts = np.bincount(group[observed])
    filled = rng.permutation(np.flatnonzero(counts))
    if filled.size < 2:
        raise InputError(f"one block of {side} pixels holds every observed pixel; use a smaller one")
    taken = int(np.searchsorted(np.cumsum(counts[filled]), goal)) + 1
    return observed & np.isin(group, filled[: min(taken, filled.size - 1)])


def _own_gaps(observed: Mask, goal: int, rng: np.random.Generator) -> Mask:
    if observed.all():
        raise InputError("the raster has no gaps to take the shape of; hold out blocks or swaths instead")
    rows, cols = observed.shape
    gap_row, gap_col = np.nonzero(~observed)
    free = observed.copy()
    missing = goal
    # A shift lands on data with a chance of at least one pixel in all, so this ends.
    while missing > 0:
        row_sign, col_sign = (1 - 2 * rng.integers(2, size=2)).tolist()
        row = (gap_row * row_sign + rng.integers(rows)) % rows
        col = (gap_col * col_sign + rng.integers(cols)) % cols
        lands = free[row, col]
        row, col = row[lands], col[lands]
        if row.size > missing:
            # Too many: keep those nearest one of them, so that the shape is cut and not thinned.
            middle = rng.integers(row.size)
            away = (row - row[middle]) ** 2 + (col - col[middle]) ** 2
            nearest = np.argsort(away, kind="stable")[:missing]
            row, col = row[nearest], col[nearest]
        free[row, col] = False
        missing -= row.size
    return observed & ~free


# --- shared ---


def choose(mask: Mask, count: int, rng: np.random.Generator) -> Mask:
    """Return `count` of the True pixels of `mask` (all, where there are fewer), each with the same chance."""
    inside = np.flatnonzero(mask)
    chosen = np.zeros(mask.shape, bool)
    chosen.flat[rng.choice(inside, min(count, inside.size), replace=False, shuffle=False)] = True
    return chosen


def turned(window: Mask, rng: np.random.Generator) -> Mask:
    """Return a square `window` in one of its eight orientations, drawn at random."""
    window = np.rot90(window, int(rng.integers(4)))
    return np.flipud(window) if rng.random() < 0.5 else window


def _across(shape: Shape, heading: float) -> tuple[NDArray[np.float64], float]:
    """Return each pixel's offset, along the axis that lines of `heading` cross, and the cosine to that axis.

    An interval of length 1 holds exactly one pixel of every row (or column), which makes a line of it.
    """
    up, right = math.cos(math.radians(heading)), math.sin(math.radians(heading))
    row, col = np.ogrid[: shape[0], : shape[1]]
    steep = abs(up) >= abs(right)
    offset = col + row * (right / up) if steep else row + col * (up / right)
    # Rounded, so that at 45 degrees no pixel falls out of its line by the last bit of a tangent.
    return np.round(offset, 9), max(abs(up), abs(right))


def _heading(heading: float | None, rng: np.random.Generator) -> float:
    return rng.uniform(0, 180) if heading is None else heading


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _smooth_noise(shape: Shape, scale: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return standardised white noise smoothed with a Gaussian of `scale` pixels, without edge effects."""
    margin = math.ceil(3 * scale)
    noise = rng.standard_normal((shape[0] + 2 * margin, shape[1] + 2 * margin))
    smooth = gaussian_filter(noise, scale, truncate=3.0)[
        margin : margin + shape[0], margin : margin + shape[1]
    ]
    spread = smooth.std()
    return np.asarray((smooth - smooth.mean()) / (spread if spread > 0 else 1.0))


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise UsageError(f"a fraction of {fraction} is outside (0, 1]; give a share such as 0.125")
