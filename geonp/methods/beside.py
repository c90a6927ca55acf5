"""What a network that reads covariates is shown of them: their values, and by how much kriging misses them.

A covariate is kriged from the pixels where the field is observed, with the field's own correlation, and compared with
what it is. Where the field follows it, kriging misses both alike. All covariates share one factor in every
neighbourhood, so that the second costs hardly more than the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from geonp.covariates import Laid
from geonp.errors import InputError
from geonp.field import Window, grid_shape, load, windows
from geonp.kriged_tiles import missed_by
from geonp.kriging.board import Pixels
from geonp.kriging.leftout import leave_out_all
from geonp.kriging.raster import RasterKriging
from geonp.kriging.several import Several
from geonp.kriging.solver import Solver
from geonp.kriging.survey import Block, Survey
from geonp.masks import Mask
from geonp.methods.base import Values

_KEPT = 1 << 20
_READ = 2048


@dataclass(frozen=True)
class _Kriged:
    """Covariates known at the observations of a raster, ready to be kriged: fields that share their places.

    Parameters
    ----------
    kriging : of any of them.
    values : (K, N), at the observations of its survey.
    """

    kriging: Several
    values: NDArray[np.float64]

    def missed(
        self, seen: Block, values: Values, wanted: Pixels, scales: Sequence[float] | None
    ) -> tuple[Values, NDArray[np.float64]]:
        """Return by how much kriging misses covariates, and the standardised leave-one-out residuals.

        Parameters
        ----------
        seen : a window with the kriging's halo, finite where the field is observed.
        values : (K, H, W), the covariates there.
        wanted : the window.
        scales : root mean squares of the residuals; those of this window where None.
        """
        inside = wanted.within(seen.row, seen.col)
        known = np.nan_to_num(values)
        mean, variance = self.kriging.complete_all(seen, known, self._everywhere, wanted)
        residual, spread = leave_out_all(self.kriging, seen, known, self._everywhere, wanted)
        surprise = residual / np.sqrt(spread)
        std = np.sqrt(variance + self.kriging.solver.covariance.nugget)
        observed = np.isfinite(seen.values[inside])
        here = values[:, *inside]
        return missed_by(here, mean, std, np.nan_to_num(surprise), observed, scales), surprise

    def _everywhere(self) -> NDArray[np.float64]:
        return self.values


@dataclass(frozen=True)
class Rehearsal:
    """Covariates on a window in which observations are hidden.

    Parameters
    ----------
    values : (K, rows, columns), NaN where unknown.
    scales : (K,), see `Beside`; None where they are not known yet.
    """

    values: Values
    scales: tuple[float, ...] | None = None

    def shown(self, observed: Mask, solver: Solver, spacing: tuple[float, float], stride: int) -> Tensor:
        """Return what the network is shown, (1, 2 K, H, W), where the field is observed at (rows, columns).

        Parameters
        ----------
        observed : (rows, columns).
        solver : of the field's kriging.
        spacing : signed pixel size (dy, dx).
        stride : the canvas is a multiple of it.
        """
        rows, cols = observed.shape[0], observed.shape[1]
        missed, _ = self.missed(observed, solver, spacing)
        return _on_canvas(self.values, missed, (-(-rows // stride) * stride, -(-cols // stride) * stride))

    def missed(
        self, observed: Mask, solver: Solver, spacing: tuple[float, float]
    ) -> tuple[Values, NDArray[np.float64]]:
        """Return by how much kriging misses them, and the standardised leave-one-out residuals."""
        seen = _seen(observed, self.values, 0, 0)
        try:
            survey = Survey.of([seen], observed.size)
        except InputError:
            return np.zeros_like(self.values), np.full(self.values.shape, np.nan)
        kriging = Several((observed.shape[0], observed.shape[1]), spacing, survey, solver)
        at = self.values[:, survey.rows, survey.cols].astype(np.float64)
        return _Kriged(kriging, at).missed(
            seen, self.values, Pixels(0, 0, *kriging.shape), self.scales or [1.0] * len(self.values)
        )


@dataclass(frozen=True)
class Beside:
    """Covariates that a network reads, and kriging of them from where a field is observed.

    Parameters
    ----------
    covariates : on the raster's grid.
    kriged : None where they are known at no observation.
    scales : (K,), root mean squares of the standardised leave-one-out residuals of each.
    """

    covariates: Laid
    kriged: _Kriged | None
    scales: tuple[float, ...]

    @classmethod
    def of(
        cls, covariates: Laid, field: xr.DataArray, kriging: RasterKriging, tried: Sequence[Window]
    ) -> Self:
        """Krige covariates as a field is kriged.

        Parameters
        ----------
        covariates : on the raster's grid.
        field : (band, y, x), whose bands are completed together.
        kriging : of its first band.
        tried : windows from which the scales are learnt.
        """
        shape, spacing = grid_shape(field), kriging.spacing

        def seen(window: Window) -> Block:
            observed = np.isfinite(load(field, window).to_numpy()).all(0)
            return _seen(observed, covariates.window(window), window.row, window.col)

        unknown = (1.0,) * len(covariates.labels)
        try:
            survey = Survey.of(map(seen, windows(shape, _READ)), _KEPT)
        except InputError:
            return cls(covariates, None, unknown)
        several = Several(shape, spacing, survey, kriging.solver)
        squares = []
        for window in tried:
            observed = np.isfinite(load(field, window).to_numpy()).all(0)
            _, surprise = Rehearsal(covariates.window(window)).missed(observed, kriging.solver, spacing)
            squares.append(np.square(surprise[:, np.isfinite(surprise).all(0)]))
        every = np.concatenate([*squares, np.empty((len(unknown), 0))], 1)
        scales = unknown
        if every.shape[1]:
            scales = tuple(float(size) if size > 0 else 1.0 for size in np.sqrt(every.mean(1)))
        return cls(covariates, _Kriged(several, _at(covariates, survey, shape)), scales)

    @property
    def halo(self) -> int:
        """Pixels around a window that are read."""
        return 0 if self.kriged is None else self.kriged.kriging.halo

    def rehearsal(self, window: Window) -> Rehearsal:
        """Return the covariates of a window."""
        return Rehearsal(self.covariates.window(window), self.scales)

    def shown(self, observed: Mask, given: Window, wanted: Window, canvas: tuple[int, int]) -> Tensor:
        """Return what the network is shown on a canvas, (1, 2 K, H, W).

        Parameters
        ----------
        observed : where the field is, at the pixels of `given`.
        given : the window with the kriging's halo around it, cut off at the edge of the raster.
        wanted : the window that lies in the canvas's first corner.
        canvas : rows and columns.
        """
        values = self.covariates.window(given)
        here = values[:, *wanted.within(given)]
        if self.kriged is None:
            return _on_canvas(here, np.zeros_like(here), canvas)
        pixels = Pixels(wanted.row, wanted.col, wanted.height, wanted.width)
        seen = _seen(observed, values, given.row, given.col)
        missed, _ = self.kriged.missed(seen, values, pixels, self.scales)
        return _on_canvas(here, missed, canvas)


def _seen(observed: Mask, values: Values, row: int, col: int) -> Block:
    """Return where the field is observed and all covariates (K, H, W) are known: finite there."""
    known = observed & np.isfinite(values).all(0)
    return Block(row, col, np.where(known, values[0], np.float32(np.nan)))


def _at(covariates: Laid, survey: Survey, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the covariates (K, N) at the observations of a survey."""
    found = np.zeros((len(covariates.labels), len(survey.rows)))
    for window in windows(shape, _READ):
        row, col = survey.rows - window.row, survey.cols - window.col
        inside = (row >= 0) & (row < window.height) & (col >= 0) & (col < window.width)
        if inside.any():
            found[:, inside] = covariates.window(window)[:, row[inside], col[inside]]
    return found


def _on_canvas(values: Values, missed: Values, canvas: tuple[int, int]) -> Tensor:
    frame = ((0, 0), (0, canvas[0] - values.shape[1]), (0, canvas[1] - values.shape[2]))
    padded = np.pad(values, frame, constant_values=np.nan)
    return torch.from_numpy(np.concatenate([padded, np.pad(missed, frame)]))[None]
