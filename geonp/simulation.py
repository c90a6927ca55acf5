"""Realisations of a survey's field, window by window: what the ground could be, given what was seen of it.

A mean and a variance say how uncertain each pixel is, not how pixels vary together. A realisation is a whole raster
that honours the observations and has the field's own roughness; what differs between realisations is what is not
known.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from geonp.draws import Drawing, Drawn, Given, Source
from geonp.errors import GeonpWarning, MethodError, UsageError
from geonp.field import Window, as_field, grid_shape, load, spacing, windows
from geonp.methods.base import Method, Place, Values
from geonp.methods.choose import choose
from geonp.methods.flagship import Flagship
from geonp.methods.kriging import Kriging
from geonp.methods.wrapped import Wrapped, innermost
from geonp.predict import DEFAULT_TILE, Completion
from geonp.predict import begin as complete_later

MEMORY = 1 << 30
"""Bytes that the realisations drawn together may take, and that an embedding may."""


def simulate(
    field: xr.DataArray,
    method: Method | str = "auto",
    n: int = 20,
    *,
    seed: int = 0,
    tile: int = DEFAULT_TILE,
    latent: bool = False,
) -> xr.DataArray:
    """Return realisations of a field, in memory.

    Parameters
    ----------
    field : DataArray with two spatial dimensions, NaN where not observed; other dimensions are bands.
    method : how to complete it: `kriging`, `bundled`, an object of one of their classes, or one of them with covariates
        (`geonp.with_covariates`).
    n : how many realisations.
    seed : of the realisations; number k of a seed is the same whatever `n` and `tile` are.
    tile : side in pixels of the windows.
    latent : realisations of the underlying surface, without the nugget.

    Returns
    -------
    DataArray
        (realisation, band, y, x) float32, in the units of the field, on its own coordinates. Observed pixels hold
        their observation in every realisation, unless its error is stated (`geonp.with_errors`): then realisations are
        of what a measurement free of error might find.

    Raises
    ------
    InputError
        If nothing was observed.
    MethodError
        If the method has no covariance to draw fields with.
    UsageError
        If there is to be no realisation, the seed is negative, or the covariance has no sill.

    Warns
    -----
    GeonpWarning
        If a band has too few observations to tell how it varies.

    Notes
    -----
    Kriging: u + K (z - u), with u an unconditional field and K the kriging operator, which is exact in mean, variance
    and covariance (`geonp.kriging.simulate`). Bundled: mean + deviation x (r - k) / s, with r a realisation, k the mean
    and s the deviation of the kriging that the network corrects: mean and variance are the network's, correlations
    kriging's. With covariates, kriging estimates their coefficients anew in every realisation, with the field; the
    network's come from a regression, drawn from what is known of them, and shared by all pixels of a realisation.
    """
    field = as_field(field)
    out = np.empty((n if n > 0 else 0, *field.shape), np.float32)
    for piece in begin(field, choose(method), n, seed=seed, tile=tile, latent=latent):
        rows, cols = piece.window.within(Window.whole(grid_shape(field)))
        out[piece.first : piece.first + len(piece.values), :, rows, cols] = piece.values
    whole = xr.DataArray(out, dims=("realisation", *field.dims), coords=field.coords, attrs=field.attrs)
    return whole.assign_coords(realisation=np.arange(1, n + 1))


def begin(
    field: xr.DataArray,
    method: Method,
    n: int,
    *,
    seed: int = 0,
    tile: int = DEFAULT_TILE,
    latent: bool = False,
    memory: int = MEMORY,
) -> Realisations:
    """Prepare the method for a field (band, y, x) and return its realisations, ready to run.

    Parameters, errors: see `simulate`. `memory` bounds what is drawn together; fields too large for it are summed
    from waves.
    """
    if n < 1:
        raise UsageError(f"{n} realisations are none; ask for 1 or more (-n 50)")
    if not isinstance(innermost(method), Kriging | Flagship):
        raise MethodError(
            f"method '{method.name}' has no covariance to draw realisations with; use --method kriging or bundled"
        )
    if seed < 0:
        raise UsageError(f"a seed is a whole number of 0 or more, got {seed} (--seed 1)")
    completion = complete_later(field, _latent(method) if latent else method, variance=True, tile=tile)
    few = np.flatnonzero((completion.summary.observed > 0) & (completion.summary.observed < 3))
    if len(few) and completion.summary.pixels > 2:
        warnings.warn(
            f"band {few[0] + 1} has too few observations to tell how it varies: its realisations are all alike",
            GeonpWarning,
            stacklevel=3,
        )
    ready = completion.method
    if ready is None:
        return Realisations(completion, n, seed, (), None, memory)
    constant = completion.summary.constant
    numbers = tuple(np.flatnonzero(np.ones_like(constant) if ready.joint else ~constant).tolist())
    source = Drawing(numbers, seed, latent, memory).source(ready)
    return Realisations(completion, n, seed, numbers, source, memory)


def _latent(method: Method) -> Method:
    """Return `method` without the nugget in its variance, where it can leave it out."""
    if isinstance(method, Wrapped):
        return replace(method, base=_latent(method.base))
    return replace(method, noise=False) if isinstance(method, Kriging) else method


@dataclass(frozen=True)
class Piece:
    """A finished window of some realisations: values (R, band, y, x) float32, from number `first` (0 is the first)."""

    window: Window
    first: int
    values: Values


@dataclass(frozen=True)
class Realisations:
    """Realisations of a field; iterating draws them and yields finished pieces, every pixel of each once.

    Parameters
    ----------
    completion : the field, and the method prepared for it.
    n, seed : how many, and from which seed.
    numbers : of the bands that the method completes, from 0.
    source : what draws them; None where nothing is to be drawn.
    memory : bytes that what is drawn together may take.
    """

    completion: Completion
    n: int
    seed: int
    numbers: tuple[int, ...]
    source: Source | None
    memory: int = MEMORY

    def describe(self) -> dict[str, str]:
        """Return how they were made, for the outputs' tags."""
        drawn = {True: "circulant embedding", False: "waves"}
        told = self.completion.describe() | {"realisations": str(self.n), "realisations_seed": str(self.seed)}
        drawn_too = self.completion.method is not None and self.completion.method.filters
        told["observed_pixels"] = "drawn where their error is not 0, else kept" if drawn_too else "kept"
        simulators = () if self.source is None else self.source.simulators[: len(self.numbers)]
        for number, simulator in enumerate(simulators, 1):
            told[f"fields_{number}"] = drawn[simulator.embedding is not None]
            told["nugget"] = "in" if simulator.noise else "out"
        return told

    def __iter__(self) -> Iterator[Piece]:
        together = self._together()
        for first in range(0, self.n, together):
            numbers = range(first, min(first + together, self.n))
            drawn = None if self.source is None else self.source.draw(numbers)
            for window in windows(grid_shape(self.completion.field), self.completion.tile):
                yield Piece(window, first, self._window(window, drawn, len(numbers)))

    def _together(self) -> int:
        """Return how many realisations are drawn at a time: an even number, since fields come in pairs."""
        rows, cols = grid_shape(self.completion.field)
        halo = 0 if self.completion.method is None else self.completion.method.halo
        side = self.completion.tile + 2 * halo
        pixels = min(rows, side) * min(cols, side) * 6
        simulators = () if self.source is None else self.source.simulators
        if any(simulator.embedding is not None for simulator in simulators):
            pixels += rows * cols
        fit = self.memory // (4 * pixels * max(len(simulators), 1))
        return max(2, fit - fit % 2)

    def _window(self, window: Window, drawn: Drawn | None, count: int) -> Values:
        completion, shape = self.completion, grid_shape(self.completion.field)
        halo = 0 if completion.method is None else completion.method.halo
        place = Place(shape, window.grow(halo, shape), window)
        values = np.asarray(load(completion.field, place.given).values, np.float32)
        inside = values[:, *place.inside]
        out = np.full((count, *inside.shape), np.nan, np.float32)
        for i in np.flatnonzero(completion.summary.constant):
            out[:, i] = completion.summary.mean[i]
        method, known = completion.method, np.isfinite(inside)
        if method is None or self.source is None or drawn is None:
            return np.where(known, inside, out)
        own = values[list(self.numbers)]
        if method.filters or np.isnan(own[:, *place.inside]).any():
            errors = self.source.error_variances(own, place.given)
            if errors is not None:
                known[list(self.numbers)] &= ~(errors[:, *place.inside] > 0)
            out[:, list(self.numbers)] = drawn(Given(own, errors, spacing(completion.field), place))
        return np.where(known, inside, out)
