"""Conditional simulation: fields that honour the observations and vary as kriging says they may.

An unconditional field u is drawn, observed where the survey is (with errors of its own), and kriged from those
observations. What kriging misses of it, added to what kriging makes of the survey, is a field that could have been
surveyed (Journel and Huijbregts 1978, section VII.A; Chiles and Delfiner 2012, section 7.3):

    z + (u - K u) = u + K (survey - u),

with K the kriging operator. Where errors of the observations are stated, what u is observed with has errors of the same
size, and observed pixels are estimated as the rest: a realisation is of what a measurement free of error would find
(`geonp.kriging.remeasured`). Its mean is the kriging mean and its covariance that of the kriging errors. K is linear,
so that one factor of each neighbourhood serves all realisations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geonp.kriging.board import Pixels
from geonp.kriging.circulant import Circulant
from geonp.kriging.raster import RasterKriging
from geonp.kriging.remeasured import remeasure
from geonp.kriging.several import Several
from geonp.kriging.spectral import Spectral, require_spectrum
from geonp.kriging.survey import Block

Array = NDArray[np.float64]
Layers = NDArray[np.float32]

_FIELD, _NOISE, _ERROR = 11, 12, 13
_BLOCK = 128
_READ = 1024


@dataclass(frozen=True)
class Simulator:
    """One band of a raster, ready to be simulated.

    Parameters
    ----------
    kriging : of the band.
    seed : of all realisations.
    band : a number that tells its randomness from that of other bands.
    noise : whether realisations of the observable are wanted, nugget included, or of the latent field.
    embedding : draws on the whole raster at once; None where it does not fit into memory, or where the covariance
        fits no torus: then fields are sums of waves.
    """

    kriging: Several
    seed: int
    band: int
    noise: bool
    embedding: Circulant | None

    @classmethod
    def of(
        cls,
        kriging: RasterKriging,
        *,
        seed: int = 0,
        band: int = 0,
        noise: bool = True,
        memory: int = 1 << 30,
    ) -> Simulator:
        """Return a simulator of the field that `kriging` completes.

        Raises
        ------
        UsageError
            If the covariance has no sill (a power variogram).
        """
        covariance = kriging.solver.covariance
        require_spectrum(covariance)
        embedding = Circulant.of(covariance, kriging.shape, kriging.spacing, memory)
        return cls(Several.of(kriging), seed, band, noise, embedding)

    def draw(self, numbers: Sequence[int]) -> Draw:
        """Draw the unconditional fields of some realisations, which are counted from 0."""
        if self.embedding is None:
            covariance, spacing = self.kriging.solver.covariance, self.kriging.spacing
            waves = tuple(
                Spectral.draw(covariance, spacing, np.random.default_rng([self.seed, _FIELD, self.band, n]))
                for n in numbers
            )
            return Draw(self, tuple(numbers), waves=waves)
        whole = np.empty((len(numbers), *self.kriging.shape), np.float32)
        for pair in sorted({n // 2 for n in numbers}):
            both = self.embedding.pair(np.random.default_rng([self.seed, _FIELD, self.band, pair]))
            for i, n in enumerate(numbers):
                if n // 2 == pair:
                    whole[i] = both[n % 2]
        return Draw(self, tuple(numbers), whole=whole)


@dataclass(frozen=True)
class Conditioned:
    """A window of some realisations.

    Parameters
    ----------
    mean, variance : (rows, columns), of kriging; the variance is that of the observable or of the latent field, as
        the realisations are.
    values : (R, rows, columns), the realisations. At pixels observed without error all three hold the
        observation, variance 0.
    """

    mean: Array
    variance: Array
    values: Array


@dataclass(frozen=True)
class Draw:
    """Unconditional fields of some realisations, on the whole raster (`whole`) or as `waves`."""

    simulator: Simulator
    numbers: tuple[int, ...]
    whole: Layers | None = field(default=None, repr=False)
    waves: tuple[Spectral, ...] = field(default=(), repr=False)

    def fields(self, pixels: Pixels) -> Layers:
        """Return the latent fields (R, rows, columns) at some pixels."""
        if self.whole is not None:
            return self.whole[:, *pixels.within(0, 0)]
        place = (pixels.row, pixels.col, pixels.rows, pixels.cols)
        return np.stack([wave.window(*place) for wave in self.waves])

    def noise(self, pixels: Pixels) -> Layers:
        """Return the nugget's share (R, rows, columns), independent from pixel to pixel."""
        nugget = self.simulator.kriging.solver.covariance.nugget
        if not nugget:
            return np.zeros((len(self.numbers), pixels.rows, pixels.cols), np.float32)
        return self._independent(pixels, _NOISE) * np.float32(math.sqrt(nugget))

    def errors(self, pixels: Pixels, variances: NDArray[np.float32] | None) -> Layers:
        """Return errors (R, rows, columns) of observations, given their variances (rows, columns) or None."""
        if variances is None:
            return np.zeros((len(self.numbers), 1, 1), np.float32)
        return self._independent(pixels, _ERROR) * np.sqrt(variances)

    def _independent(self, pixels: Pixels, kind: int) -> Layers:
        """Return standard normal numbers (R, rows, columns), independent from pixel to pixel."""
        top, left = pixels.row // _BLOCK, pixels.col // _BLOCK
        down = -(-(pixels.row + pixels.rows) // _BLOCK) - top
        across = -(-(pixels.col + pixels.cols) // _BLOCK) - left
        out = np.empty((len(self.numbers), down * _BLOCK, across * _BLOCK), np.float32)
        # Blocks are anchored at the raster's origin: a pixel's number is the same in every window.
        for i, number in enumerate(self.numbers):
            for row in range(down):
                for col in range(across):
                    key = [self.simulator.seed, kind, self.simulator.band, number, top + row, left + col]
                    drawn = np.random.default_rng(key).standard_normal((_BLOCK, _BLOCK), np.float32)
                    out[i, row * _BLOCK : (row + 1) * _BLOCK, col * _BLOCK : (col + 1) * _BLOCK] = drawn
        inside = pixels.within(top * _BLOCK, left * _BLOCK)
        return out[:, *inside]

    def condition(self, given: Block, wanted: Pixels) -> Conditioned:
        """Return a window of the realisations.

        Parameters
        ----------
        given : the window with the kriging's halo around it, cut off at the edge of the raster.
        wanted : the window.
        """
        kriging = self.simulator.kriging
        around = Pixels(given.row, given.col, *given.values.shape)
        latent, noise = self.fields(around), self.noise(around)
        # The survey itself comes first, then what each realisation leaves of it.
        left = given.values - latent - noise - self.errors(around, given.errors)
        layers = np.concatenate([given.values[None], left])
        means, variance = kriging.complete_all(given, layers, lambda: self._everywhere, wanted)
        inside = wanted.within(given.row, given.col)
        observed, err = given.values[inside].astype(np.float64), given.uncertain[inside]
        known = np.isfinite(observed) & ~err
        nugget = kriging.solver.covariance.nugget
        if self.simulator.noise and given.errors is not None and err.any():
            # What is kriged is linear in what is observed: so is what a measurement free of error finds.
            told, off = layers[:, *inside][:, err].astype(np.float64), given.errors[inside][err]
            means[:, err], variance[err] = remeasure(
                means[:, err], variance[err], told, off.astype(np.float64), nugget
            )
        values = means[1:] + latent[:, *inside]
        if self.simulator.noise:
            values += noise[:, *inside]
            variance = variance + np.where(err, 0.0, nugget)
        values[:, known] = observed[known]
        return Conditioned(np.where(known, observed, means[0]), np.where(known, 0.0, variance), values)

    @cached_property
    def _everywhere(self) -> Array:
        """The survey, and what each realisation leaves of it, (R + 1, N), at the observations that it kept."""
        survey, (rows, cols) = self.simulator.kriging.survey, self.simulator.kriging.shape
        found = np.empty((len(self.numbers) + 1, len(survey.values)))
        found[:] = survey.values
        for row in range(0, rows, _READ):
            for col in range(0, cols, _READ):
                window = Pixels(row, col, min(_READ, rows - row), min(_READ, cols - col))
                here = (survey.rows >= row) & (survey.rows < row + _READ)
                here &= (survey.cols >= col) & (survey.cols < col + _READ)
                if here.any():
                    at = (slice(None), survey.rows[here] - row, survey.cols[here] - col)
                    found[1:, here] -= (self.fields(window) + self.noise(window))[at]
                    if survey.errors is not None:
                        found[1:, here] -= self._independent(window, _ERROR)[at] * np.sqrt(
                            survey.errors[here]
                        )
        return found
