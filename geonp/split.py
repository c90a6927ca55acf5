"""Which parts of a set of rasters train a model, and which validate it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from geonp.errors import InputError
from geonp.field import Window

RASTERS_TO_SPLIT_WHOLE = 4
_MOST_CELLS = 256
_MOST_CELLS_A_SIDE = 32
_DRAWS = 64


@dataclass(frozen=True, slots=True)
class Cell:
    """A rectangle of one raster, given by its number."""

    raster: int
    window: Window


@dataclass(frozen=True, slots=True)
class Split:
    """Cells of every raster, told apart; a training crop may lie anywhere that meets no validation cell.

    Parameters
    ----------
    shapes : rows and columns of each raster.
    size : side of a crop, in pixels.
    training, validation : cells. A training cell has room for a crop (of the whole raster where that is
        smaller).
    """

    shapes: tuple[tuple[int, int], ...]
    size: int
    training: tuple[Cell, ...]
    validation: tuple[Cell, ...]

    def training_window(self, raster: int, rng: np.random.Generator) -> Window:
        """Draw a training crop of one raster, which must have a training cell."""
        held = [cell.window for cell in self.validation if cell.raster == raster]
        whole = Window.whole(self.shapes[raster])
        for _ in range(_DRAWS):
            window = crop(whole, self.size, rng)
            if not any(overlap(window, other) for other in held):
                return window
        free = [cell.window for cell in self.training if cell.raster == raster]
        return crop(free[int(rng.integers(len(free)))], self.size, rng)


def split_rasters(
    shapes: Sequence[tuple[int, int]],
    size: int,
    rng: np.random.Generator,
    usable: Callable[[Cell], bool],
    share: float = 0.1,
) -> Split:
    """Set a share of the rasters aside: whole ones where there are four or more, else blocks of them.

    Blocks are about two crops wide (one, where fewer than eight would come of it; a 32nd of the longest side,
    where that is more). No raster that holds more
    than half of all pixels is set aside whole. At most 256 cells validate, at least one, and one at least
    trains.

    Parameters
    ----------
    shapes : rows and columns of every raster.
    size : side of a crop in pixels.
    rng : decides which are set aside.
    share : of the pixels.
    usable : tells whether a cell has enough known pixels to be worth validating on; asked in random order
        until enough cells have been found. Where none is, the first ones drawn are taken.

    Raises
    ------
    InputError
        If the rasters have no room for two crops side by side.
    """
    if len(shapes) >= RASTERS_TO_SPLIT_WHOLE:
        cells = [Cell(i, Window.whole(shape)) for i, shape in enumerate(shapes)]
    else:
        longest = max(max(shape) for shape in shapes)
        cells = _blocks(shapes, max(2 * size, longest // _MOST_CELLS_A_SIDE))
        if len(cells) < 8:
            cells = _blocks(shapes, size)
        if len(cells) < 2:
            rows, cols = shapes[0]
            raise InputError(
                f"one raster of {rows} x {cols} pixels has no room for two tiles of {size}, one to train and "
                f"one to validate; give more rasters, or tiles of at most {max(rows, cols) // 2}"
            )
    wanted = min(max(round(share * len(cells)), 1), _MOST_CELLS)
    half = sum(cell.window.height * cell.window.width for cell in cells) / 2
    candidates = [
        index
        for index in rng.permutation(len(cells))
        if cells[index].window.height * cells[index].window.width <= half
    ]
    chosen: set[int] = set()
    for index in candidates:
        if len(chosen) == wanted:
            break
        if usable(cells[index]):
            chosen.add(int(index))
    chosen = chosen or {int(index) for index in candidates[:wanted]}
    training = tuple(cell for index, cell in enumerate(cells) if index not in chosen)
    validation = tuple(cell for index, cell in enumerate(cells) if index in chosen)
    return Split(tuple(shapes), size, training, validation)


def crop(window: Window, size: int, rng: np.random.Generator) -> Window:
    """Draw a crop of `size` inside `window`: all of a side that is no longer."""
    height, width = min(size, window.height), min(size, window.width)
    row = window.row + int(rng.integers(window.height - height + 1))
    col = window.col + int(rng.integers(window.width - width + 1))
    return Window(row, col, height, width)


def centre(window: Window, size: int) -> Window:
    """Return the crop of `size` in the middle of `window`."""
    height, width = min(size, window.height), min(size, window.width)
    row, col = window.row + (window.height - height) // 2, window.col + (window.width - width) // 2
    return Window(row, col, height, width)


def overlap(a: Window, b: Window) -> bool:
    """Return whether two windows `a` and `b` share a pixel."""
    return a.row < b.stop[0] and b.row < a.stop[0] and a.col < b.stop[1] and b.col < a.stop[1]


def _blocks(shapes: Sequence[tuple[int, int]], side: int) -> list[Cell]:
    """Cut each raster evenly into cells of `side` pixels or a little more."""
    cells = []
    for raster, (rows, cols) in enumerate(shapes):
        row_edges = np.linspace(0, rows, max(rows // side, 1) + 1).astype(int).tolist()
        col_edges = np.linspace(0, cols, max(cols // side, 1) + 1).astype(int).tolist()
        cells += [
            Cell(raster, Window(top, left, bottom - top, right - left))
            for top, bottom in pairwise(row_edges)
            for left, right in pairwise(col_edges)
        ]
    return cells
