"""Bicubic interpolation of observations that form a lattice."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from geonp.errors import GeonpWarning
from geonp.field import grid_shape, load, windows
from geonp.methods.base import Completed, Method, Place, Values
from geonp.methods.classical import Cubic

_READ = 2048


@dataclass(frozen=True, slots=True)
class Lines:
    """Equally spaced rows (or columns) of a raster: the first, their step and their count."""

    first: int
    step: int
    count: int

    @classmethod
    def of(cls, any_observed: NDArray[np.bool_]) -> Lines | None:
        """Return the lines that have observations; None where they are fewer than two, their steps differ, or
        they leave more than a step uncovered at either edge.
        """
        found = np.flatnonzero(any_observed)
        steps = np.unique(np.diff(found))
        if steps.size != 1 or found[0] >= steps[0] or found[-1] + steps[0] < len(any_observed):
            return None
        return cls(int(found[0]), int(steps[0]), int(found.size))

    def within(
        self, given: int, given_count: int, wanted: int, wanted_count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return which of the given indices are lines, and where the wanted indices lie between the first
        (-1) and the last (1) of those, clipped.
        """
        lines = self.first + self.step * np.arange(self.count)
        lines = lines[(lines >= given) & (lines < given + given_count)]
        position = 2 * (np.arange(wanted, wanted + wanted_count) - lines[0]) / (lines[-1] - lines[0]) - 1
        return lines - given, np.clip(position, -1, 1)


@dataclass(frozen=True, slots=True)
class Lattice:
    """Observations at every crossing of equally spaced rows and columns, all over a raster."""

    down: Lines
    across: Lines

    @classmethod
    def of(cls, rows: NDArray[np.bool_], cols: NDArray[np.bool_], count: int) -> Lattice | None:
        """Return the lattice of `count` observations, given the rows and columns that have any; else None.

        As many observations as there are crossings means that every crossing is observed.
        """
        if count != int(rows.sum()) * int(cols.sum()):
            return None
        down, across = Lines.of(rows), Lines.of(cols)
        return None if down is None or across is None else cls(down, across)


@dataclass(frozen=True, kw_only=True)
class Bicubic(Method):
    """Bicubic convolution where the observed pixels form a lattice, as when a coarse grid is refined.

    It is torch's bicubic (Keys 1981, with a = -0.75). A band whose observed pixels are no lattice all over
    the raster is completed by `Cubic` (Clough-Tocher), with a warning that says so. Gives up: any
    uncertainty, extrapolation (beyond the lattice its edge is repeated), and restraint at steps, where it
    rings.

    Parameters
    ----------
    cubic : what completes bands without a lattice.
    lattices : the lattice of each band, or None; `prepare` finds them.

    References
    ----------
    Keys (1981), Cubic convolution interpolation for digital image processing.
    """

    cubic: Cubic = field(default_factory=Cubic)
    lattices: tuple[Lattice | None, ...] | None = field(default=None, repr=False)

    name: ClassVar[str] = "bicubic"
    has_variance: ClassVar[bool] = False

    @property
    def halo(self) -> int:
        """Pixels around a window that are read: two steps of the lattice, or what `cubic` reads."""
        steps = [2 * max(x.down.step, x.across.step) for x in self.lattices or () if x is not None]
        without = self.lattices is None or None in self.lattices
        return max([*steps, self.cubic.halo if without else 0])

    @property
    def feather(self) -> int:
        """Pixels of blending: none, where every band has a lattice."""
        return self.cubic.feather if self.lattices is None or None in self.lattices else 0

    def prepare(self, field: xr.DataArray) -> Self:
        """Return the method with the lattices of `field`, read once, window by window.

        Warns
        -----
        GeonpWarning
            For bands whose observed pixels are no lattice.
        """
        lattices = _lattices(field)
        without = [str(band + 1) for band, lattice in enumerate(lattices) if lattice is None]
        if not without:
            return replace(self, lattices=lattices)
        warnings.warn(
            f"bicubic needs observed pixels that form a lattice, and those of band {', '.join(without)} do "
            "not: they are completed by Clough-Tocher (the method 'cubic')",
            GeonpWarning,
            stacklevel=2,
        )
        return replace(self, lattices=lattices, cubic=self.cubic.prepare(field))

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        """Complete the wanted pixels; without `prepare`, by Clough-Tocher."""
        lattices = self.lattices or (None,) * len(values)
        inside = place.inside
        mean = np.empty((len(values), *place.wanted.shape), np.float32)
        without = [band for band, lattice in enumerate(lattices) if lattice is None]
        if len(without) == len(values):
            return self.cubic.complete(values, spacing, place)
        if without:
            mean[without] = self.cubic.complete(values, spacing, place).mean[without]
        for band, lattice in enumerate(lattices):
            if lattice is not None:
                filled = _refine(values[band], lattice, place)
                given = values[band][inside]
                mean[band] = np.where(np.isnan(given), filled, given)
        return Completed(mean)


def _lattices(field: xr.DataArray) -> tuple[Lattice | None, ...]:
    rows, cols = grid_shape(field)
    bands = field.sizes["band"]
    in_row, in_col = np.zeros((bands, rows), bool), np.zeros((bands, cols), bool)
    count = np.zeros(bands, np.int64)
    for window in windows((rows, cols), _READ):
        seen = ~np.isnan(load(field, window).to_numpy())
        in_row[:, window.row : window.stop[0]] |= seen.any(2)
        in_col[:, window.col : window.stop[1]] |= seen.any(1)
        count += seen.sum((1, 2))
    return tuple(Lattice.of(r, c, int(n)) for r, c, n in zip(in_row, in_col, count, strict=True))


def _refine(values: Values, lattice: Lattice, place: Place) -> Values:
    """Return the wanted pixels (rows, columns), sampled between the lattice points that are given.

    Sampling positions are clipped to the lattice, whose edge is thereby repeated.
    """
    rows, y = lattice.down.within(place.given.row, place.given.height, place.wanted.row, place.wanted.height)
    cols, x = lattice.across.within(place.given.col, place.given.width, place.wanted.col, place.wanted.width)
    coarse = torch.from_numpy(values[np.ix_(rows, cols)].astype(np.float64))
    at = torch.stack(torch.meshgrid(torch.from_numpy(y), torch.from_numpy(x), indexing="ij")[::-1], -1)
    centre = coarse.mean()
    fine = torch.nn.functional.grid_sample(
        (coarse - centre)[None, None], at[None], mode="bicubic", padding_mode="border", align_corners=True
    )
    return np.asarray((fine[0, 0] + centre).numpy(), np.float32)
