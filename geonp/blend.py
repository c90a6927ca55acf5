"""Joins completed windows into one raster: as they are, or feathered where a method's windows disagree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geonp.field import Window, windows
from geonp.methods.base import Status, Values


@dataclass(frozen=True, slots=True)
class Layers:
    """Completed pixels of one window: float32 mean and variance, uint8 status, each (band, y, x)."""

    window: Window
    mean: Values
    variance: Values | None
    status: NDArray[np.uint8]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the layers by name, the standard deviation among them."""
        out: dict[str, NDArray[Any]] = {"mean": self.mean, "status": self.status}
        if self.variance is not None:
            out |= {"variance": self.variance, "std": np.sqrt(self.variance)}
        return out


def cover(shape: tuple[int, int], tile: int, feather: int) -> list[Window]:
    """Return the windows that `assemble` wants completed, in its order: of `tile` pixels, and the feather around."""
    grid, feather = windows(shape, tile), _shared(tile, feather)
    return grid if feather == 0 or len(grid) == 1 else [window.grow(feather, shape) for window in grid]


def assemble(
    shape: tuple[int, int], tile: int, feather: int, completed: Iterable[Layers]
) -> Iterator[Layers]:
    """Yield a raster of `shape` in finished pieces, top to bottom, every pixel once.

    `completed` are the windows of `cover` for this `tile` and `feather`, in its order. With a feather, they are that
    much larger on every side and are averaged with linear ramps; one strip of them is held in memory.
    """
    grid, feather = windows(shape, tile), _shared(tile, feather)
    if feather == 0 or len(grid) == 1:
        yield from completed
        return
    above: _Strip | None = None
    strip: _Strip | None = None
    for window, layers in zip(grid, completed, strict=True):
        if strip is None:
            strip = _Strip.like(layers, shape[1], above)
        strip.add(layers, ramp(window, layers.window, feather))
        if window.stop[1] == shape[1]:  # the last of its strip
            last = window.stop[0] == shape[0]
            yield strip.finish(shape[0] if last else window.stop[0] - feather)
            above, strip = strip.rest(), None


def _shared(tile: int, feather: int) -> int:
    """Return the feather with which a pixel is shared by two windows a direction, never three."""
    return min(feather, tile // 2)


def ramp(window: Window, wide: Window, feather: int) -> NDArray[np.float64]:
    """Return weights over `wide` that fall linearly across the borders it shares with other windows, from `feather`
    pixels within to as many beyond.
    """

    def side(start: int, stop: int, wide_start: int, wide_stop: int) -> NDArray[np.float64]:
        centre = np.arange(wide_start, wide_stop) + 0.5
        rising = (centre - start + feather) / (2 * feather) if wide_start < start else 1.0
        falling = (stop + feather - centre) / (2 * feather) if wide_stop > stop else 1.0
        # The raster's last window may be narrower than the feather; its pixels still need a weight.
        return np.asarray(np.clip(np.minimum(rising, falling) * np.ones_like(centre), 1e-6, 1))

    rows = side(window.row, window.stop[0], wide.row, wide.stop[0])
    cols = side(window.col, window.stop[1], wide.col, wide.stop[1])
    return np.asarray(rows[:, None] * cols[None, :])


@dataclass
class _Strip:
    """Weighted sums over some rows, full width; rows before `done` were handed on already."""

    row: int
    done: int
    mean: NDArray[np.float64]
    variance: NDArray[np.float64] | None
    status: NDArray[np.uint8]
    weight: NDArray[np.float64]

    @classmethod
    def like(cls, layers: Layers, width: int, above: _Strip | None) -> _Strip:
        """Return a strip for windows like `layers`, begun with what the strip above left unfinished."""
        sums = (layers.mean.shape[0], layers.window.height, width)
        row = layers.window.row
        variance = None if layers.variance is None else np.zeros(sums)
        strip = cls(row, row, np.zeros(sums), variance, np.zeros(sums, np.uint8), np.zeros(sums[1:]))
        if above is not None:
            left = slice(above.done - above.row, None)
            here = slice(above.done - row, above.row + len(above.weight) - row)
            strip.done = above.done
            strip.weight[here] = above.weight[left]
            strip.mean[:, here] = above.mean[:, left]
            strip.status[:, here] = above.status[:, left]
            if strip.variance is not None and above.variance is not None:
                strip.variance[:, here] = above.variance[:, left]
        return strip

    def add(self, layers: Layers, ramp: NDArray[np.float64]) -> None:
        """Add one window's pixels with their weights; status needs no blend, windows agree on it."""
        here = layers.window.within(Window(self.row, 0, *self.weight.shape))
        self.weight[here] += ramp
        self.mean[:, *here] += ramp * layers.mean
        self.status[:, *here] = layers.status
        if self.variance is not None and layers.variance is not None:
            self.variance[:, *here] += ramp * layers.variance

    def rest(self) -> _Strip:
        """Return the rows that were not handed on yet; the others need not be kept."""
        rows = slice(self.done - self.row, None)
        variance = None if self.variance is None else self.variance[:, rows].copy()
        mean, status = self.mean[:, rows].copy(), self.status[:, rows].copy()
        return _Strip(self.done, self.done, mean, variance, status, self.weight[rows].copy())

    def finish(self, stop: int) -> Layers:
        """Hand on the rows before `stop`, which no later window touches."""
        rows = slice(self.done - self.row, stop - self.row)
        window = Window(self.done, 0, stop - self.done, self.weight.shape[1])
        weight = self.weight[rows]
        mean = (self.mean[:, rows] / weight).astype(np.float32)
        variance = None if self.variance is None else (self.variance[:, rows] / weight).astype(np.float32)
        self.done = stop
        # A window that could not be completed takes the pixels that it shares along.
        status = np.where(np.isnan(mean), np.uint8(Status.MASKED), self.status[:, rows])
        return Layers(window, mean, variance, status)
