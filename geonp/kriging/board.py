"""The tiles that a window touches: their observations, their holes, and what was found for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geonp.kriging import arrays
from geonp.kriging.arrays import Device
from geonp.kriging.layout import Layout
from geonp.kriging.survey import Block
from geonp.kriging.tiles import Canvas

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pixels:
    """A rectangle of pixels: first row and column, rows and columns."""

    row: int
    col: int
    rows: int
    cols: int

    def within(self, row: int, col: int) -> tuple[slice, slice]:
        """Return the slices of these pixels in an array that begins at `row`, `col`."""
        return (
            slice(self.row - row, self.row - row + self.rows),
            slice(self.col - col, self.col - col + self.cols),
        )


@dataclass(frozen=True, slots=True)
class Tiles:
    """Some tiles of one size, counted in rows and columns of tiles from the board's first one."""

    layout: Layout
    rows: Index
    cols: Index

    def __len__(self) -> int:
        return len(self.rows)

    def pick(self, which: Mask) -> Tiles:
        """Return those tiles that `which` (N,) marks."""
        return Tiles(self.layout, self.rows[which], self.cols[which])

    def quarters(self) -> Tiles:
        """Return the four quarters of every tile."""
        rows = (2 * self.rows[:, None] + [0, 0, 1, 1]).ravel()
        cols = (2 * self.cols[:, None] + [0, 1, 0, 1]).ravel()
        return Tiles(self.layout.split(), np.asarray(rows, np.int64), np.asarray(cols, np.int64))


@dataclass(frozen=True, slots=True)
class Board:
    """A window, enlarged to whole tiles.

    Parameters
    ----------
    row, col : of the first pixel of the first tile.
    raster : rows and columns of the raster.
    canvas : the pixels.
    total : observations above and left of every corner of a pixel of the canvas.
    holes : pixels to fill, of the tiles.
    found : (2, rows, columns), mean and variance at the pixels of the tiles.
    """

    row: int
    col: int
    raster: tuple[int, int]
    canvas: Canvas
    total: NDArray[np.int64]
    holes: Mask
    found: Array

    @classmethod
    def of(
        cls,
        given: Block,
        wanted: Pixels,
        holes: Mask,
        layout: Layout,
        raster: tuple[int, int],
        spacing: tuple[float, float],
        device: Device,
    ) -> Board:
        """Lay tiles of the largest size, anchored at the raster's origin, over the pixels `wanted`."""
        (ty, tx), (hy, hx) = layout.tile, layout.halo
        row, col = wanted.row // ty * ty, wanted.col // tx * tx
        shape = (
            -(-(wanted.row + wanted.rows - row) // ty) * ty,
            -(-(wanted.col + wanted.cols - col) // tx) * tx,
        )
        around = (row - hy, col - hx, (shape[0] + 2 * hy, shape[1] + 2 * hx))
        values = _crop(given, given.values, *around)
        seen = np.isfinite(values)
        canvas = Canvas(
            device.send(np.where(seen, values, np.float32(0))),
            device.send(seen),
            (hy, hx),
            spacing,
            _covariates(given, around, device),
            _errors(given, seen, around, device),
        )
        total = np.zeros((seen.shape[0] + 1, seen.shape[1] + 1), np.int64)
        np.cumsum(seen, 0, out=total[1:, 1:])
        np.cumsum(total, 1, out=total)
        to_fill = np.zeros(shape, bool)
        to_fill[wanted.within(row, col)] = holes
        return cls(row, col, raster, canvas, total, to_fill, np.full((2, *shape), np.nan))

    @property
    def region(self) -> Pixels:
        """The pixels of the tiles."""
        return Pixels(self.row, self.col, *self.holes.shape)

    def tiles(self, layout: Layout) -> Tiles:
        """Return all tiles with holes."""
        shape = [n // t for n, t in zip(self.holes.shape, layout.tile, strict=True)]
        rows, cols = np.indices(shape, np.int64).reshape(2, -1)
        return self.with_holes(Tiles(layout, rows, cols))

    def with_holes(self, tiles: Tiles) -> Tiles:
        """Return those of `tiles` that have holes."""
        some: Mask = np.any(self.cells(self.holes, tiles.layout), (1, 3))
        return tiles.pick(some[tiles.rows, tiles.cols])

    def count(self, tiles: Tiles) -> tuple[Index, NDArray[np.float64]]:
        """Return how many observations every tile and its halo hold, and the fewest in a quarter of it.

        Of a quarter that the raster's edge cuts, the count is scaled up to its full area.
        """
        (ty, tx), (hy, hx) = tiles.layout.tile, tiles.layout.halo
        my, mx = self.canvas.margin
        y = tiles.rows * ty + np.array([-hy, ty // 2, ty + hy])[:, None]
        x = tiles.cols * tx + np.array([-hx, tx // 2, tx + hx])[:, None]
        corner = self.total[(y + my)[:, None], (x + mx)[None]]
        quarter = np.diff(np.diff(corner, axis=0), axis=1)
        inside = [
            np.diff(np.clip(edge + start, 0, size), axis=0)
            for edge, start, size in zip((y, x), (self.row, self.col), self.raster, strict=True)
        ]
        area = inside[0][:, None] * inside[1][None]
        full = (ty / 2 + hy) * (tx / 2 + hx)
        return quarter.sum((0, 1)), (quarter * (full / np.maximum(area, 1))).min((0, 1))

    def middles(self, tiles: Tiles) -> Array:
        """Return the middle of every tile, (N, 2), in rows and columns of the raster."""
        (ty, tx) = tiles.layout.tile
        middle = np.stack([tiles.rows * ty + (ty - 1) / 2, tiles.cols * tx + (tx - 1) / 2], 1)
        return np.asarray(middle + np.array([self.row, self.col]))

    def pixels(self, tiles: Tiles) -> Array:
        """Return rows and columns (N, m, 2) in the raster of the pixels of every tile."""
        (ty, tx) = tiles.layout.tile
        return self.middles(tiles)[:, None] + offsets(ty, tx)

    def fields(self, given: Block, layers: NDArray[np.float32], device: Device) -> arrays.Array:
        """Return other fields (R, rows, columns) of `given` on the canvas, (R, H, W), 0 where nothing is observed."""
        seen, (top, left) = self.canvas.seen, self.canvas.margin
        around = (self.row - top, self.col - left, (seen.shape[0], seen.shape[1]))
        found = np.stack([_crop(given, layer, *around) for layer in layers])
        return device.send(np.where(arrays.fetch(seen), found, np.float32(0)))

    def put(self, tiles: Tiles, mean: Array, variance: Array) -> None:
        """Note what was found for some tiles, each (N, tile rows, tile columns)."""
        for store, value in zip(self.found, (mean, variance), strict=True):
            self.cells(store, tiles.layout)[tiles.rows, :, tiles.cols] = value

    def result(self, wanted: Pixels) -> tuple[Array, Array]:
        """Return mean and variance of the pixels `wanted`; NaN where no tile was put."""
        inside = wanted.within(self.row, self.col)
        return self.found[0][inside], self.found[1][inside]

    @staticmethod
    def cells(array: NDArray[Any], layout: Layout) -> NDArray[Any]:
        """Return a view (tile row, row, tile column, column) of an array (rows, columns) of pixels."""
        (ty, tx), (height, width) = layout.tile, array.shape
        return array.reshape(height // ty, ty, width // tx, tx)


def _covariates(
    given: Block, around: tuple[int, int, tuple[int, int]], device: Device
) -> arrays.Array | None:
    """Return the drift (q, H, W) of a rectangle, 0 where nothing is to be predicted or observed."""
    if given.drift is None:
        return None
    layers = [np.nan_to_num(_crop(given, layer, *around)) for layer in given.drift]
    return device.send(np.stack(layers))


def _errors(
    given: Block, seen: Mask, around: tuple[int, int, tuple[int, int]], device: Device
) -> arrays.Array | None:
    """Return the error variances (H, W) of a rectangle, 0 where nothing is observed."""
    if given.errors is None:
        return None
    return device.send(np.where(seen, _crop(given, given.errors, *around), np.float32(0)))


def _crop(
    given: Block, layer: NDArray[np.float32], row: int, col: int, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Return the pixels of a layer of `given` in a rectangle, NaN where it reaches beyond them."""
    out = np.full(shape, np.nan, np.float32)
    height, width = layer.shape
    top, left = max(row, given.row), max(col, given.col)
    bottom = min(row + shape[0], given.row + height)
    right = min(col + shape[1], given.col + width)
    if bottom > top and right > left:
        out[top - row : bottom - row, left - col : right - col] = layer[
            top - given.row : bottom - given.row, left - given.col : right - given.col
        ]
    return out


def offsets(rows: int, cols: int) -> Array:
    """Return rows and columns (m, 2) of a rectangle's pixels, from its middle."""
    y, x = np.meshgrid(np.arange(rows) - (rows - 1) / 2, np.arange(cols) - (cols - 1) / 2, indexing="ij")
    return np.stack([y.ravel(), x.ravel()], 1)
