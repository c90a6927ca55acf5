"""What a survey is to achieve: the criterion, and the errors that it is followed in, from a field and its kriging."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.designs.roughness import steepness
from geonp.errors import InputError
from geonp.field import Summary, Window, grid_shape, load, spacing, windows
from geonp.kriging.board import Pixels
from geonp.kriging.criteria import Misclassified, Variance, local_scale
from geonp.kriging.evidence import leave_one_out
from geonp.kriging.gains import Gains
from geonp.kriging.lattice import Lattice
from geonp.kriging.solver import Solver
from geonp.kriging.survey import Block, Survey
from geonp.kriging.update import Surveyed
from geonp.methods.base import Place
from geonp.methods.kriging import Kriging, blocks

Array = NDArray[np.float64]

_WINDOW = 1024
_WIDTH, _IMAGINED = 1.0, 2.0
"""Distances between observations over which residuals are averaged, and imagined residuals of size 1."""
_SLOPE_WIDTH = 0.5
"""Distances between observations over which slopes are averaged."""
_NOTHING = 1e-9
_SURPRISE = 100.0
"""Square of the standardised residual beyond which an observation says no more."""


@dataclass(frozen=True)
class Aim:
    """What the gains of sites are measured in.

    Parameters
    ----------
    gains : of every node, kept up to date.
    scale : (node rows, node columns), the deviations there over those of kriging.
    before : what was to be gained before anything was imagined.
    """

    gains: Gains
    scale: Array
    before: float

    @classmethod
    def of(
        cls, field: xr.DataArray, ready: Kriging, threshold: float | None, stationary: bool, summary: Summary
    ) -> Aim:
        """Take aim at a field (1, y, x).

        Parameters
        ----------
        ready : kriging that is prepared for the field.
        threshold : pixels are to be told apart at it; None: variance.
        stationary : whether kriging's deviations are believed as they are, or scaled by local residuals.

        Raises
        ------
        InputError
            If nothing is left to be gained.
        """
        band = ready.bands[0]
        solver = Solver(band.solver.covariance, band.solver.kind, band.solver.mean)
        every = band.survey
        if not every.complete:
            every = Survey.of(blocks(field, 0, ready.measured), field.size)
        lattice = Lattice.of(grid_shape(field), band.survey.density)
        drift = None if ready.trend is None else ready.trend.window(Window.whole(grid_shape(field)))
        surveyed = Surveyed(lattice, band.spacing, solver, every.rows, every.cols, every.errors, drift)
        flat = stationary and threshold is None
        mean = np.zeros(lattice.nodes) if flat else _mean(field, ready, lattice)
        square = np.ones(lattice.nodes) if stationary else _squares(field, ready, lattice, mean)
        if threshold is None:
            gains = Gains(surveyed, Variance(square), np.zeros(lattice.nodes))
        else:
            prior = surveyed.variances()
            distance = np.abs(mean - threshold)
            with np.errstate(divide="ignore", invalid="ignore"):
                # An observed node has no variance, and is on the side that it is on.
                distance = np.where(prior > 0, distance / np.sqrt(prior * square), np.inf)
            criterion = Misclassified(distance, prior)
            if criterion.total(prior) < _NOTHING * prior.size:
                raise InputError(
                    f"every pixel is on its side of {threshold:g} beyond doubt (observed: {summary.minimum[0]:g} to "
                    f"{summary.maximum[0]:g}): there is nothing to survey for; ask about another threshold"
                )
            gains = Gains(surveyed, criterion, prior)
        return cls(gains, np.sqrt(square), gains.total)

    def scale_at(self, row: int, col: int) -> float:
        """Return the scale at a pixel."""
        node = self.gains.lattice.node_of(np.array(row), np.array(col))
        return float(self.scale[node])

    def weighted(self, square: Array) -> Aim:
        """Return the aim at the integrated variance with other squared scales."""
        gains = replace(self.gains, criterion=Variance(square))
        return Aim(gains, np.sqrt(square), gains.total)


def _squares(field: xr.DataArray, ready: Kriging, lattice: Lattice, mean: Array) -> Array:
    """Return the square of the local scale at every node, from kriging's leave-one-out residuals and slopes."""
    band, step = ready.bands[0], spacing(field)
    sums, counts = np.zeros(lattice.nodes), np.zeros(lattice.nodes)
    for window in windows(grid_shape(field), _WINDOW):
        given = window.grow(band.halo, grid_shape(field))
        values = np.asarray(load(field, given).to_numpy()[0], np.float32)
        wanted = Pixels(window.row, window.col, *window.shape)
        residual, spread = leave_one_out(band, _block(ready, given, values), wanted, step)
        rows, cols = np.nonzero(np.isfinite(residual) & (spread > 0))
        square = np.minimum(residual[rows, cols] ** 2 / spread[rows, cols], _SURPRISE)
        node = lattice.node_of(rows + window.row, cols + window.col)
        np.add.at(sums, node, square)
        np.add.at(counts, node, 1)
    apart = 1 / math.sqrt(band.survey.density) / lattice.stride
    scale = local_scale(sums, counts, _WIDTH * apart, _IMAGINED)
    if ready.trend is not None:
        return scale  # the mean is as steep as its covariates are: that says nothing of what they leave
    between = step[0] * lattice.stride, step[1] * lattice.stride
    steep = steepness(mean, between, _SLOPE_WIDTH * apart)
    # Residuals are of size 1 where they were measured, in the mean: slopes add nothing to that.
    usual = np.exp(np.average(np.log(steep), weights=counts if counts.any() else None))
    return np.asarray(scale * steep / usual)


def _mean(field: xr.DataArray, ready: Kriging, lattice: Lattice) -> Array:
    """Return kriging's mean of the latent field at every node."""
    latent = replace(ready, smooth=True, bands=tuple(replace(band, smooth=True) for band in ready.bands))
    shape, out = grid_shape(field), np.empty(grid_shape(field), np.float32)
    for window in windows(shape, _WINDOW):
        place = Place(shape, window.grow(ready.halo, shape), window)
        values = np.asarray(load(field, place.given).to_numpy(), np.float32)
        out[window.within(Window.whole(shape))] = latent.complete(values, spacing(field), place).mean[0]
    return lattice.at_nodes(out)


def _block(ready: Kriging, given: Window, values: NDArray[np.float32]) -> Block:
    drift = None if ready.trend is None else ready.trend.window(given)
    errors = None if ready.measured is None else ready.measured.variance(values, given, 0)
    return Block(given.row, given.col, values, drift, errors)
