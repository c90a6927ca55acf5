"""What kriging must know of a whole raster: where it is observed, and a share of the values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geonp.errors import InputError

Index = NDArray[np.int64]
_Told = tuple[Index, Index, NDArray[np.float32]]
"""Rows, columns, and at each place the value and, where errors are stated, the error variance, (1 or 2, N)."""

_CELL = 32


@dataclass(frozen=True, slots=True)
class Block:
    """Some pixels of a raster.

    Parameters
    ----------
    row, col : of the first pixel.
    values : (H, W), NaN where not observed.
    drift : (q, H, W), covariates, known everywhere; None where the mean follows none.
    errors : (H, W), variance of the error of each observation beside the nugget, finite and not negative where
        there is one; None where none is stated.
    """

    row: int
    col: int
    values: NDArray[np.float32]
    drift: NDArray[np.float32] | None = None
    errors: NDArray[np.float32] | None = None

    @property
    def uncertain(self) -> NDArray[np.bool_]:
        """Where (H, W) an observation is known to err."""
        if self.errors is None:
            return np.zeros(self.values.shape, bool)
        with np.errstate(invalid="ignore"):
            return np.isfinite(self.values) & (self.errors > 0)

    def covariates(self, rows: Index, cols: Index) -> NDArray[np.float64]:
        """Return the drift (..., q) at rows and columns of the raster; beyond the block, that at its edge."""
        if self.drift is None:
            return np.zeros((*rows.shape, 0))
        height, width = self.values.shape
        inside = np.clip(rows - self.row, 0, height - 1), np.clip(cols - self.col, 0, width - 1)
        return np.moveaxis(self.drift[:, *inside], 0, -1).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Survey:
    """Observed pixels of a raster, all of them or one in every cell.

    Parameters
    ----------
    rows, cols : (N,), where.
    values : (N,), what was observed.
    side : side in pixels of the cells; 1 where every observation is here.
    observed : observations in the raster.
    density : part of the pixels that is observed, as seen from a typical pixel that is not.
    errors : (N,), variance of each observation's error beside the nugget; None where none is stated.
    """

    rows: Index
    cols: Index
    values: NDArray[np.float32]
    side: int
    observed: int
    density: float
    errors: NDArray[np.float32] | None = None

    @property
    def complete(self) -> bool:
        """Whether every observation of the raster is here."""
        return self.side == 1

    @classmethod
    def of(cls, blocks: Iterable[Block], limit: int) -> Survey:
        """Go through a raster once and keep at most about `limit` observations.

        Parameters
        ----------
        blocks : pieces of the raster that begin at multiples of 2048 pixels, or the whole of it, in any order
            that is always the same; all with errors, or none.
        limit : observations to keep.

        Raises
        ------
        InputError
            If nothing is observed.
        """
        side, observed = 1, 0
        missing = np.zeros(_CELL**2 + 1)
        kept: list[_Told] = []
        for block in blocks:
            seen = np.isfinite(block.values)
            observed += int(seen.sum())
            missing += _missing_by_count(seen)
            kept.append(_one_a_cell(block, seen, side))
            while sum(len(k[0]) for k in kept) > limit and side < 1024:
                side *= 2
                kept = [_thin(*k, side) for k in kept]
        if not observed:
            raise InputError("no pixel is observed: there is nothing to krige from")
        rows, cols = (np.concatenate([k[i] for k in kept]) for i in (0, 1))
        told = np.concatenate([k[2] for k in kept], 1)
        errors = told[1] if len(told) > 1 else None
        return cls(rows, cols, told[0], side, observed, _typical_density(missing), errors)


def _missing_by_count(seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how many pixels are missing in cells with 0, 1, 2, ... observations."""
    rows, cols = (-(-n // _CELL) for n in seen.shape)
    pad = ((0, rows * _CELL - seen.shape[0]), (0, cols * _CELL - seen.shape[1]))
    cells = (rows, _CELL, cols, _CELL)
    count = np.pad(seen, pad).reshape(cells).sum((1, 3)).ravel()
    size = np.pad(np.ones_like(seen), pad).reshape(cells).sum((1, 3)).ravel()
    # Cells at the edge are counted as if they were full.
    full = np.round(count * (_CELL**2 / size)).astype(np.int64)
    return np.asarray(np.bincount(full, size - count, _CELL**2 + 1), np.float64)


def _typical_density(missing: NDArray[np.float64]) -> float:
    """Return the median density of the observed cells, weighted by the pixels that they miss."""
    weight = missing[1:]
    if not weight.any():
        return 1.0
    middle = int(np.searchsorted(np.cumsum(weight), weight.sum() / 2))
    return min(middle + 1, _CELL**2) / _CELL**2


def _one_a_cell(block: Block, seen: NDArray[np.bool_], side: int) -> _Told:
    rows, cols = np.nonzero(seen)
    layers = [block.values] if block.errors is None else [block.values, block.errors]
    found = (rows + block.row, cols + block.col, np.stack([layer[seen] for layer in layers]))
    return found if side == 1 else _thin(*found, side)


def _thin(rows: Index, cols: Index, told: NDArray[np.float32], side: int) -> _Told:
    """Keep of every cell the observation nearest its middle."""
    middle = (side - 1) / 2
    off = (rows % side - middle) ** 2 + (cols % side - middle) ** 2
    cell = rows // side * (1 << 32) + cols // side
    order = np.lexsort((off, cell))
    first = np.concatenate([[True], np.diff(cell[order]) != 0])[: len(order)]
    best = order[first]
    return rows[best], cols[best], told[:, best]
