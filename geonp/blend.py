"""Joins completed windows into one raster: as they are, or feathered where a method's windows disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geonp.field import Window, windows
from geonp.methods.base import Values


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


def join(
    shape: tuple[int, int], tile: int, feather: int, compute: Callable[[Window], Layers]
) -> Iterator[Layers]:
    """Yield a raster of `shape` in finished pieces, top to bottom, every pixel once.

    `compute` completes a window. With a feather, windows are computed that much larger on every side and
    averaged with linear ramps; one strip of windows is held in memory.
    """
    grid = windows(shape, tile)
    feather = min(feather, tile // 2)  # a pixel is shared by two windows a direction, never three
    if feather == 0 or len(grid) == 1:
        yield from map(compute, grid)
        return
    above: _Strip | None = None
    for row in range(0, shape[0], tile):
        strip = None
        for window in (w for w in grid if w.row == row):
            wide = window.grow(feather, shape)
            layers = compute(wide)
            strip = strip or _Strip.like(layers, shape[1], above)
            strip.add(layers, _ramp(window, wide, feather))
        assert strip is not None
        last = row + tile >= shape[0]
        yield strip.finish(shape[0] if last else row + tile - feather)
        above = strip


def _ramp(window: Window, wide: Window, feather: int) -> NDArray[np.float64]:
    """Return weights over `wide` that fall linearly across the borders it shares with other windows."""

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

    def finish(self, stop: int) -> Layers:
        """Hand on the rows before `stop`, which no later window touches."""
        rows = slice(self.done - self.row, stop - self.row)
        window = Window(self.done, 0, stop - self.done, self.weight.shape[1])
        weight = self.weight[rows]
        mean = (self.mean[:, rows] / weight).astype(np.float32)
        variance = None if self.variance is None else (self.variance[:, rows] / weight).astype(np.float32)
        self.done = stop
        return Layers(window, mean, variance, self.status[:, rows])
