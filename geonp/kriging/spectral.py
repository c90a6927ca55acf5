"""Gaussian fields anywhere, as sums of waves with random frequencies.

A stationary field is a sum of waves whose frequencies follow its spectrum (Shinozuka and Jan 1972, Journal of Sound
and Vibration 25(1); Rahimi and Recht 2007 call them random Fourier features). It can be evaluated at any place without
its neighbours, so that every window of a raster of any size shows one and the same field. Its covariance is exact over
seeds whatever the number of waves; one field has normal values to within the limit theorem (the fourth moment errs by
1.5 over the number of waves).

On a grid cos(a + b) = cos a cos b - sin a sin b, which makes the sum one product of matrices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import itj0y0, jv

from geonp.errors import UsageError
from geonp.kriging.covariance import Covariance, Structure

Array = NDArray[np.float64]
Layers = NDArray[np.float32]

WAVES = 1024
"""Waves of each structure."""
_SMOOTHNESS = {"exponential": 0.5, "matern12": 0.5, "matern32": 1.5, "matern52": 2.5}


@dataclass(frozen=True)
class Spectral:
    """One zero-mean field, nugget left out, on an endless grid.

    Parameters
    ----------
    frequencies : (K, 2), radians a pixel (down, across).
    phases, amplitudes : (K,).
    """

    frequencies: Array
    phases: Array
    amplitudes: Array

    @classmethod
    def draw(cls, covariance: Covariance, spacing: tuple[float, float], rng: np.random.Generator) -> Spectral:
        """Draw a field.

        Radii and directions are drawn one in each of equal shares of their distributions, which makes the field's
        own covariance steadier.

        Raises
        ------
        UsageError
            If the covariance has no spectrum (a power variogram).
        """
        require_spectrum(covariance)
        places, phases, heights = [], [], []
        for structure in covariance.structures:
            share = (np.arange(WAVES) + rng.random(WAVES)) / WAVES
            radius = _radii(structure, share)
            turn = rng.permutation(np.arange(WAVES) + rng.random(WAVES)) * (2 * math.pi / WAVES)
            wave = radius[:, None] * np.stack([np.sin(turn), np.cos(turn)], 1)
            # The structure is isotropic in embedded coordinates e = p A, and e.w = p.(A w).
            places.append(wave @ covariance.embed(np.eye(2), structure).T * np.array(spacing))
            phases.append(rng.uniform(0, 2 * math.pi, WAVES))
            heights.append(np.full(WAVES, math.sqrt(2 * structure.variance / WAVES)))
        return cls(np.concatenate(places), np.concatenate(phases), np.concatenate(heights))

    def window(self, row: int, col: int, rows: int, cols: int) -> Layers:
        """Return the field at the pixels of a window, (rows, cols) float32."""
        down = np.outer(np.arange(row, row + rows), self.frequencies[:, 0]) + self.phases
        across = np.outer(self.frequencies[:, 1], np.arange(col, col + cols))
        # Angles are taken in double precision; far out they have many turns behind them.
        left = np.concatenate([np.cos(down), np.sin(down)], 1).astype(np.float32)
        right = np.concatenate([np.cos(across), -np.sin(across)]) * np.tile(self.amplitudes, 2)[:, None]
        return np.asarray(left @ right.astype(np.float32))


def require_spectrum(covariance: Covariance) -> None:
    """Raise UsageError unless fields with this covariance can be drawn."""
    if not covariance.bounded:
        raise UsageError(
            "a power variogram has no sill, so no field can be drawn from it: fit a covariance that levels off "
            "(--family matern32), or give one (--variogram)"
        )


def _radii(structure: Structure, share: Array) -> Array:
    """Return the frequencies beyond which a `share` of the spectrum of a structure lies in the plane.

    Matern: (1 + (r k)^2 / (2 nu))^-nu, from Rasmussen and Williams (2006), eq. 4.15; gaussian: exp(-(r k)^2 / 2).
    """
    if structure.family == "gaussian":
        return np.asarray(np.sqrt(-2 * np.log(share)) / structure.range)
    if structure.family == "spherical":
        return _spherical_radii(share) / structure.range
    nu = _SMOOTHNESS.get(structure.family, structure.nu)
    assert nu is not None
    return np.asarray(np.sqrt(2 * nu * (share ** (-1 / nu) - 1)) / structure.range)


def _spherical_radii(share: Array) -> Array:
    """Return the same for the spherical correlation of range 1."""
    beyond, k = _spherical_table()
    return np.asarray(np.exp(np.interp(-np.log(share), beyond, k)))


@lru_cache(maxsize=1)
def _spherical_table() -> tuple[Array, Array]:
    """Return minus the log of the share beyond k, rising, and the log of k.

    By Hankel's transform the share is 1.5 times the integral of (1 - h^2) J0(k h) over 0 < h < 1, in closed form by
    DLMF 10.22.
    """
    k = np.concatenate([[1e-4], np.geomspace(1e-3, 2e5, 40_000)])
    integral = itj0y0(k)[0]
    beyond = 1.5 * (integral / k - (k * k * jv(1, k) + k * jv(0, k) - integral) / k**3)
    # The spectrum is nowhere negative: what the table loses to rounding is taken back.
    beyond = np.minimum.accumulate(np.clip(beyond, 1e-12, 1.0))
    return -np.log(beyond), np.log(k)
