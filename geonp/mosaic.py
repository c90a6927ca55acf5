"""A raster that is here in pieces: blocks of it, packed where few pixels are observed, the rest unknown."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.field import Window
from geonp.io.lazy import LazyGrid, Values

Cuts = tuple[int, ...]
"""Where chunks or windows begin along an axis, and where the last one ends."""

_PACKED_BELOW = 0.5


@dataclass(frozen=True, slots=True)
class Piece:
    """One block of a raster, all bands of it.

    Parameters
    ----------
    window : where it lies.
    bands : how many there are.
    values : float32; of every pixel, (band, y, x), or of those that are not NaN.
    index : where in the flattened block the latter are; None where every pixel is here.
    """

    window: Window
    bands: int
    values: Values
    index: NDArray[np.uint32] | None = None

    @classmethod
    def of(cls, window: Window, block: NDArray[Any]) -> Self:
        """Return a block (band, y, x) as it is."""
        return cls(window, len(block), np.asarray(block, np.float32))

    @classmethod
    def packed(cls, window: Window, block: NDArray[Any]) -> Self:
        """Return a block (band, y, x) without its NaN, where that is smaller."""
        whole = cls.of(window, block)
        flat = whole.values.reshape(-1)
        seen = ~np.isnan(flat)
        if seen.mean() >= _PACKED_BELOW or flat.size > np.iinfo(np.uint32).max:
            return whole
        index = np.flatnonzero(seen).astype(np.uint32)
        return cls(window, len(block), flat[index], index)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""
        return self.values.nbytes + (0 if self.index is None else self.index.nbytes)

    def unpacked(self) -> Values:
        """Return all pixels (band, y, x)."""
        if self.index is None:
            return self.values
        flat = np.full(self.bands * self.window.height * self.window.width, np.nan, np.float32)
        flat[self.index] = self.values
        return flat.reshape(self.bands, *self.window.shape)


class Mosaic(LazyGrid):
    """Pieces of a raster as one; NaN where there is none."""

    def __init__(self, shape: tuple[int, ...], pieces: Iterable[Piece]) -> None:
        self.shape = shape
        self.pieces: Sequence[Piece] = tuple(pieces)

    def read(self, bands: range, rows: range, cols: range) -> Values:
        """Return the pixels of these `bands`, `rows` and `cols`, from the pieces that they lie in."""
        asked = Window(rows[0], cols[0], rows[-1] - rows[0] + 1, cols[-1] - cols[0] + 1)
        out = np.full((len(bands), *asked.shape), np.nan, np.float32)
        for piece in self.pieces:
            common = overlap(piece.window, asked)
            if common is not None:
                inside = piece.unpacked()[:, *common.within(piece.window)]
                out[:, *common.within(asked)] = inside[bands.start : bands.stop : bands.step]
        return out[:, :: rows.step, :: cols.step]

    def on_grid_of(self, like: xr.DataArray) -> xr.DataArray:
        """Return the field (band, y, x) of these pixels on the coordinates of `like`, unread."""
        return self.field(like.coords, like.attrs, None, str(like.encoding.get("source", "")))


def overlap(a: Window, b: Window) -> Window | None:
    """Return the pixels that the windows `a` and `b` share; None where there are none."""
    row, col = max(a.row, b.row), max(a.col, b.col)
    stop_row, stop_col = min(a.stop[0], b.stop[0]), min(a.stop[1], b.stop[1])
    if stop_row <= row or stop_col <= col:
        return None
    return Window(row, col, stop_row - row, stop_col - col)


def cut(chunks: Cuts, tile: int) -> Cuts:
    """Return where windows of about `tile` pixels begin and end along an axis: chunks together, or parts of one.

    >>> cut((512, 512, 512), 1024), cut((2500,), 1024), cut((700, 700), 1024)
    ((0, 1024, 1536), (0, 1024, 2048, 2500), (0, 700, 1400))
    """
    edges, start = [0], 0
    for size in chunks:
        stop = start + size
        if stop - edges[-1] > tile and start > edges[-1]:
            edges.append(start)
        while stop - edges[-1] > tile:
            edges.append(edges[-1] + tile)
        start = stop
    return (*edges, start)


def edges_of(chunks: Cuts) -> Cuts:
    """Return where chunks begin and end along an axis."""
    return (0, *np.cumsum(chunks).tolist())


def cells(edges: tuple[Cuts, Cuts]) -> dict[tuple[int, int], Window]:
    """Return the windows between the edges, by their number down and across."""
    (rows, cols) = edges
    return {
        (i, j): Window(row, col, rows[i + 1] - row, cols[j + 1] - col)
        for i, row in enumerate(rows[:-1])
        for j, col in enumerate(cols[:-1])
    }


def between(window: Window, rows: Cuts, cols: Cuts) -> dict[tuple[int, int], Window]:
    """Return those windows between the edges `rows` and `cols` that overlap one, row by row."""
    down = range(bisect_right(rows, window.row) - 1, bisect_left(rows, window.stop[0]))
    across = range(bisect_right(cols, window.col) - 1, bisect_left(cols, window.stop[1]))
    return {
        (i, j): Window(rows[i], cols[j], rows[i + 1] - rows[i], cols[j + 1] - cols[j])
        for i in down
        for j in across
    }
