"""What the network stands on: kriging fitted to a survey, and the windows of it on which the network is tried."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.field import Window, grid_shape, load, steps, windows
from geonp.kriging import quick
from geonp.kriging.arrays import Device
from geonp.kriging.candidates import Settings
from geonp.kriging.fit import fit_covariance
from geonp.kriging.raster import RasterKriging
from geonp.kriging.solver import Solver
from geonp.kriging.survey import Survey
from geonp.kriging.threads import one_thread
from geonp.methods.base import Values
from geonp.methods.errors import Errors
from geonp.methods.kriging import blocks

Array = NDArray[np.float64]

_TRIED = 3
_SMALL, _LARGE = 256, 192
_FEWEST = 40
# The network learnt to correct one structure of greatest likelihood; among observations, nested sums do worse under
# its hands.
_SEARCHED = Settings(nested=False)
_KEPT, _FITTED, _ENOUGH = 1 << 20, 1024, 100_000


@dataclass(frozen=True)
class Ground:
    """Bands of a survey that are completed together, and what kriging was fitted to them.

    Parameters
    ----------
    krigings, centres : of each band.
    samples : windows (band, rows, columns) of the survey, NaN where not observed.
    errors : error variances of the observations in every window; empty where none are stated.
    """

    krigings: tuple[RasterKriging, ...]
    centres: tuple[float, ...]
    samples: tuple[Values, ...]
    errors: tuple[Values, ...] = ()


def fitted(
    field: xr.DataArray, seed: int, device: Device, measured: Errors | None
) -> tuple[tuple[RasterKriging, ...], tuple[float, ...]]:
    """Fit kriging to the bands of a raster that are completed together; return with it a value near each mean."""
    shape, step = grid_shape(field), steps(field)
    places, values, errors = _observed(field, seed, measured)
    with one_thread():
        if values.shape[1] == 1 or errors is not None:
            covariances = [
                fit_covariance(
                    places * np.array(step),
                    values[:, band],
                    seed=seed,
                    errors=None if errors is None else errors[:, band],
                    settings=_SEARCHED,
                ).covariance
                for band in range(values.shape[1])
            ]
        else:
            pixel = abs(step[1])
            correlation, sills = quick.fit(
                places * [abs(step[0]) / pixel, 1.0], values, np.random.default_rng([seed, 4])
            )
            covariances = [correlation.covariance(float(sill), pixel) for sill in sills]
    krigings = tuple(
        RasterKriging(
            shape,
            step,
            Survey.of(blocks(field, band, measured), _KEPT),
            Solver(c, device=device),
            smooth=True,
        )
        for band, c in enumerate(covariances)
    )
    return krigings, tuple(values.mean(0).tolist())


def _observed(field: xr.DataArray, seed: int, measured: Errors | None) -> tuple[Array, Array, Array | None]:
    """Return rows and columns (N, 2), values and error variances (N, C); of a large raster, of some windows."""
    rows, cols = grid_shape(field)
    cells = windows((rows, cols), _FITTED if rows * cols > _FITTED**2 else max(rows, cols))
    places, values, errors, count = [], [], [], 0
    for index in np.random.default_rng([seed, 3]).permutation(len(cells)):
        block, cell = load(field, cells[index]).to_numpy(), cells[index]
        seen = np.argwhere(np.isfinite(block).all(0))
        places.append(seen + np.array([cell.row, cell.col]))
        values.append(block[:, seen[:, 0], seen[:, 1]].T.astype(np.float64))
        if measured is not None:
            off = measured.variances(block, cell)
            errors.append(off[:, seen[:, 0], seen[:, 1]].T.astype(np.float64))
        count += len(seen)
        if count >= _ENOUGH:
            break
    stated = np.concatenate(errors) if errors else None
    return np.concatenate(places).astype(np.float64), np.concatenate(values), stated


def samples_of(
    field: xr.DataArray, seed: int, measured: Errors | None
) -> tuple[tuple[Values, ...], tuple[Values, ...]]:
    """Return the windows (band, rows, columns) on which the network is tried: the whole of a small raster.

    With them, where errors are stated, the error variances of their observations.
    """
    chosen = tried(field, seed)
    found = tuple(load(field, window).to_numpy() for window in chosen)
    if measured is None:
        return found, ()
    return found, tuple(measured.variances(v, w) for v, w in zip(found, chosen, strict=True))


def tried(field: xr.DataArray, seed: int) -> list[Window]:
    """Return where the network is tried: the whole of a small raster, some windows of a large one."""
    shape = grid_shape(field)
    return [Window.whole(shape)] if max(shape) <= _SMALL else _drawn(field, shape, seed)


def _drawn(field: xr.DataArray, shape: tuple[int, int], seed: int) -> list[Window]:
    """Return a few windows of a large raster, drawn among those with observations enough."""
    rng = np.random.default_rng([seed, 1])
    cells = windows(shape, _LARGE)
    found: list[Window] = []
    for index in rng.permutation(len(cells))[: 8 * _TRIED]:
        values = load(field, cells[index]).to_numpy()
        if np.isfinite(values).all(0).sum() >= _FEWEST and min(values.shape[1:]) >= _LARGE // 4:
            found.append(cells[index])
        if len(found) == _TRIED:
            break
    return found
