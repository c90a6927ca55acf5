"""From values to colours: shared limits, perceptually uniform maps, hillshades.

Value maps are monotone in lightness and read the same with the common colour deficiencies (Smith and van der
Walt's viridis and magma); the map of errors is ColorBrewer's red-blue, which is safe for them too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LightSource, to_rgb
from numpy.typing import ArrayLike, NDArray

from geonp.methods.base import Status

VALUES, DEVIATION, ERROR = "viridis", "magma", "RdBu_r"
STATUS: Final = {
    Status.MASKED: "#9a9a9a",
    Status.OBSERVED: "#f0e442",
    Status.INTERPOLATED: "#56b4e9",
    Status.EXTRAPOLATED: "#d55e00",
}
"""Okabe and Ito's colours, which are told apart with every colour deficiency."""

Image = NDArray[np.uint8]
_STEEP = 0.9
_AZIMUTH, _ALTITUDE = 315, 45


@dataclass(frozen=True, slots=True)
class Scale:
    """A colour map between two values; what lies beyond has the colour of the end."""

    colours: str
    low: float
    high: float

    def paint(self, values: ArrayLike) -> Image:
        """Return RGBA, (..., 4); transparent where a value is not finite."""
        array = np.asarray(values, np.float64)
        known = np.isfinite(array)
        width = self.high - self.low
        share = (np.where(known, array, self.low) - self.low) / (width if width > 0 else 1.0)
        out = np.asarray(colormaps[self.colours](np.clip(share, 0, 1), bytes=True), np.uint8)
        out[..., 3] = np.where(known, 255, 0)
        return out

    def css(self, steps: int = 12) -> str:
        """Return the map as the colour stops of a CSS gradient."""
        stops = colormaps[self.colours](np.linspace(0, 1, steps), bytes=True)[:, :3]
        return ", ".join(f"rgb({r} {g} {b})" for r, g, b in stops)


def limits(arrays: Iterable[ArrayLike], beyond: float = 0.5) -> tuple[float, float]:
    """Return limits for several arrays together: their percentiles `beyond` and 100 - `beyond`.

    (0, 1) where nothing is finite; a single value lies in the middle of its limits.
    """
    known = [a[np.isfinite(a)] for a in (np.asarray(array, np.float64) for array in arrays)]
    together = np.concatenate([a.ravel() for a in known]) if known else np.empty(0)
    if not together.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(together, [beyond, 100 - beyond]))
    if high > low:
        return low, high
    half = abs(low) * 0.01 or 0.5
    return low - half, high + half


def scale_of_values(*arrays: ArrayLike) -> Scale:
    """Return one scale for several maps of values."""
    return Scale(VALUES, *limits(arrays))


def scale_of_deviations(*arrays: ArrayLike) -> Scale:
    """Return one scale for several maps of standard deviations; it begins at 0."""
    return Scale(DEVIATION, 0.0, max(limits(arrays)[1], float(np.finfo(np.float32).tiny)))


def scale_of_errors(*arrays: ArrayLike) -> Scale:
    """Return one scale for several maps of errors, white at 0 and as far to either side."""
    bound = max(abs(v) for v in limits(arrays, beyond=1))
    return Scale(ERROR, -bound, bound)


def paint_status(codes: ArrayLike) -> Image:
    """Return RGBA of status codes (see `geonp.methods.base.Status`)."""
    table = np.zeros((256, 4), np.uint8)
    for status, colour in STATUS.items():
        table[status] = [*(round(255 * c) for c in to_rgb(colour)), 255]
    return np.asarray(table[np.asarray(codes, np.uint8)])


def shade(values: ArrayLike, scale: Scale, spacing: tuple[float, float]) -> Image:
    """Return RGBA of a surface, coloured by `scale` and lit from the north-west.

    Heights are exaggerated so that 95 % of the slopes stay below 42 degrees, whatever the units. Where a value
    is missing its neighbours are lit as if the ground went on level.

    Parameters
    ----------
    values : (y, x), first row in the north.
    spacing : pixel size (dy, dx) in metres.
    """
    surface = np.asarray(values, np.float64)
    painted = scale.paint(surface)
    known = np.isfinite(surface)
    if min(surface.shape) < 2 or known.sum() < 2:
        return painted
    level = np.where(known, surface, float(surface[known].mean()))
    down, across = np.gradient(level, *spacing)
    # Beside a missing pixel the slope is that to the mean, which means nothing.
    down[~_inner(known)] = 0
    across[~_inner(known)] = 0
    slope = np.hypot(down, across)[known]
    steep = float(np.percentile(slope, 95))
    if not steep > 0:
        return painted
    factor = _STEEP / steep
    azimuth, altitude = math.radians(_AZIMUTH), math.radians(_ALTITUDE)
    light = np.array(
        [
            math.cos(altitude) * math.sin(azimuth),
            math.cos(altitude) * math.cos(azimuth),
            math.sin(altitude),
        ]
    )
    # The normal of z(east, north) is (-dz/deast, -dz/dnorth, 1), and rows run south.
    normal = np.stack([-across * factor, down * factor, np.ones_like(level)])
    lit = np.tensordot(light, normal, 1) / np.sqrt((normal**2).sum(0))
    intensity = np.clip(lit / (2 * math.sin(altitude)), 0, 1)  # level ground is in the middle
    colour = LightSource().blend_soft_light(painted[..., :3] / 255, intensity[..., None])
    painted[..., :3] = np.round(255 * np.clip(colour, 0, 1)).astype(np.uint8)
    return painted


def _inner(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the known pixels whose four neighbours are known too."""
    around = np.pad(known, 1, constant_values=True)
    beside = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return np.asarray(known & beside)
