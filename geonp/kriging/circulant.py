"""Gaussian fields on a grid by circulant embedding.

The covariances of a stationary field on a regular grid become those of a torus, whose eigenvectors are waves: two
independent fields cost one fast Fourier transform, and their covariance is exact (Dietrich and Newsam 1997, SIAM
Journal on Scientific Computing 18(4); Wood and Chan 1994, Journal of Computational and Graphical Statistics 3(4)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from geonp.kriging.covariance import Covariance
from geonp.kriging.threads import available

Layers = NDArray[np.float32]

MOST_LOST = 1e-3
"""Share of the variance that may be lost to negative eigenvalues; beyond it another method is taken."""
_FAINT = 1e-4
_NEGLIGIBLE = 1e-6
_BYTES_A_CELL = 48
_STRIP = 256


@dataclass(frozen=True)
class Circulant:
    """Zero-mean fields with a covariance, nugget left out, on all pixels of a raster.

    Parameters
    ----------
    shape : rows and columns of the raster.
    roots : (L, K) float32, square roots of the torus's eigenvalues over its number of cells.
    lost : share of the variance in negative eigenvalues, which are set to 0; the rest is scaled up.
    """

    shape: tuple[int, int]
    roots: Layers
    lost: float

    @classmethod
    def of(
        cls,
        covariance: Covariance,
        shape: tuple[int, int],
        spacing: tuple[float, float],
        memory: int = 1 << 30,
    ) -> Circulant | None:
        """Return the smallest embedding that loses next to nothing; None where none is good enough.

        Parameters
        ----------
        covariance : bounded.
        shape : rows and columns of the raster.
        spacing : metres (down, across) from a pixel to the next.
        memory : bytes that it may take.
        """
        if covariance.sill <= 0:
            return cls(shape, np.zeros((1, 1), np.float32), 0.0)
        pads = [min(_reach(covariance, spacing, axis), n) for axis, n in enumerate(shape)]
        best: Circulant | None = None
        for growth in (1.0, 1.5, 2.5, 4.0, 8.0):
            torus = [
                scipy.fft.next_fast_len(math.ceil(n + growth * pad))
                for n, pad in zip(shape, pads, strict=True)
            ]
            if math.prod(torus) * _BYTES_A_CELL > memory:
                break
            roots, lost = _roots(covariance, (torus[0], torus[1]), spacing)
            if best is None or lost < best.lost:
                best = cls(shape, roots, lost)
            if lost <= _NEGLIGIBLE:
                break
        return best if best is not None and best.lost <= MOST_LOST else None

    def pair(self, rng: np.random.Generator) -> Layers:
        """Return two independent fields, (2, rows, columns)."""
        torus = self.roots.shape
        if torus == (1, 1):
            return np.zeros((2, *self.shape), np.float32)
        waves = np.empty(torus, np.complex64)
        # Strip by strip: what is drawn never stands twice in memory.
        for start in range(0, torus[0], _STRIP):
            part = slice(start, start + _STRIP)
            drawn = rng.standard_normal((2, *self.roots[part].shape), np.float32)
            waves.real[part] = drawn[0] * self.roots[part]
            waves.imag[part] = drawn[1] * self.roots[part]
        field = scipy.fft.fft2(waves, overwrite_x=True, workers=available())
        rows, cols = self.shape
        return np.stack([field.real[:rows, :cols], field.imag[:rows, :cols]])


def _reach(covariance: Covariance, spacing: tuple[float, float], axis: int) -> int:
    """Return the pixels along an axis beyond which the covariance is next to nothing."""
    step = np.zeros((64, 2))
    step[:, axis] = np.arange(64)
    length = abs(spacing[axis])
    span = 1.0
    while span < 1e7:
        values = np.abs(covariance(step * (span / 63 * length), np.zeros((1, 2)))[:, 0])
        near = np.flatnonzero(values > _FAINT * covariance.sill)
        if int(near.max()) < 63:
            return math.ceil((int(near.max()) + 1) * span / 63) + 1
        span *= 2
    return int(span)


@lru_cache(maxsize=4)
def _roots(
    covariance: Covariance, torus: tuple[int, int], spacing: tuple[float, float]
) -> tuple[Layers, float]:
    """Return roots of eigenvalues over the number of cells, and the share of negative ones."""
    lags = [_lags(n) * abs(step) * math.copysign(1, step) for n, step in zip(torus, spacing, strict=True)]
    table, origin = np.empty(torus), np.zeros((1, 2))
    for start in range(0, torus[0], _STRIP):
        down = lags[0][start : start + _STRIP]
        places = np.stack(np.meshgrid(down, lags[1], indexing="ij"), -1).reshape(-1, 2)
        table[start : start + _STRIP] = covariance(places, origin)[:, 0].reshape(len(down), -1)
    # Where a lag and its opposite fall on one cell, an oblique anisotropy gives them two covariances.
    opposite = np.roll(table[::-1, ::-1], (1, 1), (0, 1))
    eigen = scipy.fft.fft2((table + opposite) / 2, workers=available()).real
    positive = float(eigen[eigen > 0].sum())
    lost = float(-eigen[eigen < 0].sum()) / positive
    np.maximum(eigen, 0, out=eigen)
    # What is cut off is given back to all waves alike, so that the variance is right.
    eigen *= covariance.sill / positive
    return np.sqrt(eigen, out=eigen).astype(np.float32), lost


def _lags(n: int) -> NDArray[np.float64]:
    """Return the lags of the cells of a circle of `n`: the shorter way round."""
    lag = np.arange(n, dtype=np.float64)
    return np.where(lag > n // 2, lag - n, lag)
