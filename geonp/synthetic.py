"""An endless stream of synthetic fields: smooth and rough, streaked, patchy, fractal, ridged, terraced,
noisy.

Every field is a pure function of its generator's state. They widen what a network has met: a smoothness, an
anisotropy or a noise that no raster at hand happens to have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float64]


def matern(size: int, rng: np.random.Generator) -> Array:
    """Return a stationary field whose covariance is of the Matern family, at random smoothness, range and
    anisotropy.

    Its spectrum in two dimensions falls off as (2 nu / range^2 + |k|^2)^-(nu + 1) (Rasmussen and Williams
    2006, eq. 4.15); the range runs from 3 pixels to one and a half canvases, nu from 0.3 to 3.
    """
    nu = math.exp(rng.uniform(math.log(0.3), math.log(3.0)))
    reach = math.exp(rng.uniform(math.log(3.0), math.log(1.5 * size)))
    return spectral(size, lambda k2: (2 * nu / reach**2 + k2) ** (-(nu + 1) / 2), rng, streaked=True)


def fractal(size: int, rng: np.random.Generator) -> Array:
    """Return a self-affine surface: amplitude spectrum |k|^-(H + 1), Hurst exponent H from 0.2 to 1."""
    hurst = rng.uniform(0.2, 1.0)
    return spectral(size, lambda k2: np.maximum(k2, 1e-12) ** (-(hurst + 1) / 2), rng, streaked=True)


def ridged(size: int, rng: np.random.Generator) -> Array:
    """Return crests and valleys: folded fields of several octaves, higher ground the rougher.

    The folding |f| makes lines of sharp crests (Musgrave, in Ebert et al. 2003, Texturing and Modeling,
    chapter 16), which no Gaussian field has.
    """
    total, weight = np.zeros((size, size)), np.ones((size, size))
    reach, gain = math.exp(rng.uniform(math.log(6.0), math.log(size))), rng.uniform(0.35, 0.65)
    for octave in range(5):
        wave = spectral(size, _band(reach / 2**octave), rng)
        crest = (1 - np.minimum(np.abs(wave), 1.0)) ** 2
        total += gain**octave * weight * crest
        weight = np.minimum(crest * 2, 1.0)
        if reach / 2 ** (octave + 1) < 2:
            break
    return _standard(total if rng.random() < 0.5 else -total)


def patchy(size: int, rng: np.random.Generator) -> Array:
    """Return a non-stationary field: two others, mixed by a third that varies slowly, of uneven amplitude."""
    kinds = (matern, fractal, ridged)
    first, second = (kinds[int(rng.integers(3))](size, rng) for _ in range(2))
    where = 1 / (1 + np.exp(-3 * spectral(size, _band(size * rng.uniform(0.3, 1.0)), rng)))
    strength = np.exp(rng.uniform(0, 1.2) * spectral(size, _band(size * 0.5), rng))
    return _standard(strength * (where * first + (1 - where) * rng.uniform(0.05, 1) * second))


def terraced(size: int, rng: np.random.Generator) -> Array:
    """Return a field of steps, or of plains cut by cliffs."""
    base = patchy(size, rng) if rng.random() < 0.5 else fractal(size, rng)
    level = base * rng.uniform(1.0, 4.0)
    sharp = rng.uniform(0.0, 0.97)
    return _standard(level - sharp * np.sin(2 * np.pi * level) / (2 * np.pi))


KINDS: Mapping[str, Callable[[int, np.random.Generator], Array]] = MappingProxyType(
    {"matern": matern, "fractal": fractal, "ridged": ridged, "patchy": patchy, "terraced": terraced}
)
"""The kinds of fields that `draw` chooses from."""


def draw(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a field of a random kind, (size, size), standardised; one in four with white noise."""
    field = KINDS[list(KINDS)[int(rng.integers(len(KINDS)))]](size, rng)
    if rng.random() < 0.25:
        field = field + math.exp(rng.uniform(math.log(0.003), math.log(0.3))) * rng.standard_normal(
            field.shape
        )
    return _standard(field).astype(np.float32)


def spectral(
    size: int, amplitude: Callable[[Array], Array], rng: np.random.Generator, streaked: bool = False
) -> Array:
    """Return a Gaussian field whose Fourier amplitudes are `amplitude` of the squared wave number,
    standardised.

    It is cut from a canvas twice as wide, so that its opposite edges do not match. A streaked field is
    stretched up to fourfold along a random direction.
    """
    wide = 2 * size
    ky, kx = np.meshgrid(np.fft.fftfreq(wide), np.fft.rfftfreq(wide), indexing="ij")
    if streaked and rng.random() < 0.5:
        angle, ratio = rng.uniform(0, np.pi), math.exp(rng.uniform(0, math.log(4.0)))
        c, s = math.cos(angle), math.sin(angle)
        kx, ky = (c * kx + s * ky) * ratio, c * ky - s * kx
    level = amplitude((2 * np.pi) ** 2 * (kx**2 + ky**2))
    level[0, 0] = 0
    waves = np.fft.irfft2(level * np.fft.rfft2(rng.standard_normal((wide, wide))), s=(wide, wide))
    return _standard(waves[:size, :size])


def _band(reach: float) -> Callable[[Array], Array]:
    """Return the amplitudes of a smooth field with features of about `reach` pixels."""
    return lambda k2: np.exp(-k2 * reach**2 / 8)


def _standard(field: Array) -> Array:
    centred = field - field.mean()
    return np.asarray(centred / max(centred.std(), 1e-12))


def smoothed(field: Array, pixels: float) -> Array:
    """Return a field seen by an instrument that blurs it over so many pixels, standardised."""
    return _standard(gaussian_filter(field, pixels, mode="reflect"))
