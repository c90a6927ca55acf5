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

from geonp.errors import GeonpWarning, MethodError, UsageError
from geonp.field import Window, as_field, grid_shape, load, spacing, windows
from geonp.kriging.board import Pixels
from geonp.kriging.raster import RasterKriging
from geonp.kriging.simulate import Draw, Simulator
from geonp.kriging.survey import Block
from geonp.methods.base import Method, Place, Values
from geonp.methods.choose import choose
from geonp.methods.flagship import Flagship
from geonp.methods.kriging import Kriging
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
    method : how to complete it: `kriging`, `bundled`, or an object of one of their classes.
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
    kriging's.
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
    if not isinstance(method, Kriging | Flagship):
        raise MethodError(
            f"method '{method.name}' has no covariance to draw realisations with; use --method kriging or bundled"
        )
    if seed < 0:
        raise UsageError(f"a seed is a whole number of 0 or more, got {seed} (--seed 1)")
    if isinstance(method, Kriging) and latent:
        method = replace(method, noise=False)
    completion = complete_later(field, method, variance=True, tile=tile)
    few = np.flatnonzero((completion.summary.observed > 0) & (completion.summary.observed < 3))
    if len(few) and completion.summary.pixels > 2:
        warnings.warn(
            f"band {few[0] + 1} has too few observations to tell how it varies: its realisations are all alike",
            GeonpWarning,
            stacklevel=3,
        )
    bands = _bands(completion, seed, latent, memory)
    return Realisations(completion, n, seed, bands, memory)


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
    bands : what simulates each band that the method completes.
    memory : bytes that what is drawn together may take.
    """

    completion: Completion
    n: int
    seed: int
    bands: tuple[Band, ...]
    memory: int = MEMORY

    def describe(self) -> dict[str, str]:
        """Return how they were made, for the outputs' tags."""
        drawn = {True: "circulant embedding", False: "waves"}
        told = self.completion.describe() | {"realisations": str(self.n), "realisations_seed": str(self.seed)}
        drawn_too = self.completion.method is not None and self.completion.method.filters
        told["observed_pixels"] = "drawn where their error is not 0, else kept" if drawn_too else "kept"
        for number, band in enumerate(self.bands, 1):
            told[f"fields_{number}"] = drawn[band.simulator.embedding is not None]
            told["nugget"] = "in" if band.simulator.noise else "out"
        return told

    def __iter__(self) -> Iterator[Piece]:
        together = self._together()
        for first in range(0, self.n, together):
            numbers = range(first, min(first + together, self.n))
            draws = [band.simulator.draw(numbers) for band in self.bands]
            for window in windows(grid_shape(self.completion.field), self.completion.tile):
                yield Piece(window, first, self._window(window, draws, len(numbers)))

    def _together(self) -> int:
        """Return how many realisations are drawn at a time: an even number, since fields come in pairs."""
        rows, cols = grid_shape(self.completion.field)
        halo = 0 if self.completion.method is None else self.completion.method.halo
        side = self.completion.tile + 2 * halo
        pixels = min(rows, side) * min(cols, side) * 6
        if any(band.simulator.embedding is not None for band in self.bands):
            pixels += rows * cols
        fit = self.memory // (4 * pixels * max(len(self.bands), 1))
        return max(2, fit - fit % 2)

    def _window(self, window: Window, draws: list[Draw], count: int) -> Values:
        completion, shape = self.completion, grid_shape(self.completion.field)
        halo = 0 if completion.method is None else completion.method.halo
        place = Place(shape, window.grow(halo, shape), window)
        values = np.asarray(load(completion.field, place.given).values, np.float32)
        inside = values[:, *place.inside]
        out = np.full((count, *inside.shape), np.nan, np.float32)
        for i in np.flatnonzero(completion.summary.constant):
            out[:, i] = completion.summary.mean[i]
        method = completion.method
        own = values[[band.number for band in self.bands]]
        known = np.isfinite(inside)
        if method is not None and self.bands and (method.filters or np.isnan(own[:, *place.inside]).any()):
            errors = _error_variances(method, own, place.given)
            if errors is not None:
                known[[band.number for band in self.bands]] &= ~(errors[:, *place.inside] > 0)
            self._fill(out, values, errors, place, draws, method)
        return np.where(known, inside, out)

    def _fill(
        self,
        out: Values,
        values: Values,
        errors: Values | None,
        place: Place,
        draws: list[Draw],
        method: Method,
    ) -> None:
        """Put the realisations of every band that the method completes into `out` (R, band, y, x)."""
        step = spacing(self.completion.field)
        done = None
        wanted = Pixels(place.wanted.row, place.wanted.col, *place.wanted.shape)
        for band, draw in zip(self.bands, draws, strict=True):
            seen = np.isfinite(values[list(band.together)]).all(0)
            known = np.where(seen, values[band.number], np.float32(np.nan))
            drift = None
            if isinstance(method, Kriging) and method.trend is not None:
                drift = method.trend.window(place.given)
            off = None if errors is None else errors[self.bands.index(band)]
            found = draw.condition(Block(place.given.row, place.given.col, known, drift, off), wanted)
            if not band.corrected:
                out[:, band.number] = found.values
                continue
            if done is None:
                done = method.complete(values[[b.number for b in self.bands]], step, place)
            assert done.variance is not None
            index = self.bands.index(band)
            deviation = np.sqrt(found.variance + (0 if draw.simulator.noise else band.nugget))
            factor = np.sqrt(np.maximum(done.variance[index], 0)) / np.where(deviation > 0, deviation, 1)
            out[:, band.number] = done.mean[index] + factor * (found.values - found.mean)


@dataclass(frozen=True)
class Band:
    """What simulates one band.

    Parameters
    ----------
    number : of the band in the field, from 0.
    together : bands that a pixel must be observed in to count as observed.
    simulator : of its kriging.
    corrected : whether a network corrects that kriging.
    """

    number: int
    together: tuple[int, ...]
    simulator: Simulator
    corrected: bool

    @property
    def nugget(self) -> float:
        """Variance of the observable that the latent field has not."""
        return self.simulator.kriging.solver.covariance.nugget


def _error_variances(method: Method, values: Values, window: Window) -> Values | None:
    assert isinstance(method, Kriging | Flagship)
    return method.error_variances(values, window)


def krigings(method: Method) -> list[tuple[RasterKriging, bool, int]]:
    """Return the kriging of every band of a prepared method, whether a network corrects it, and its group's size.

    Raises
    ------
    MethodError
        If the method has no kriging.
    """
    if isinstance(method, Kriging):
        return [(band, False, 1) for band in method.bands]
    if isinstance(method, Flagship):
        found: list[tuple[RasterKriging, bool, int]] = []
        for group in method.groups:
            own = group.krigings if group.alone is None else group.alone.bands
            size = len(own) if group.alone is None else 1
            found += [(kriging, group.alone is None, size) for kriging in own]
        return found
    raise MethodError(f"method '{method.name}' has no covariance; use --method kriging or bundled")


def _bands(completion: Completion, seed: int, latent: bool, memory: int) -> tuple[Band, ...]:
    method = completion.method
    if method is None:
        return ()
    every = method.joint
    numbers = np.flatnonzero(
        np.ones_like(completion.summary.constant) if every else ~completion.summary.constant
    )
    noise = not latent and not (isinstance(method, Kriging) and not method.noise)
    out = []
    for index, (kriging, corrected, size) in enumerate(krigings(method)):
        first = index - index % size
        together = tuple(int(numbers[i]) for i in range(first, first + size))
        number = int(numbers[index])
        simulator = Simulator.of(kriging, seed=seed, band=number, noise=noise, memory=memory)
        out.append(Band(number, together, simulator, corrected))
    return tuple(out)
