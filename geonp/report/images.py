"""Pictures small enough for one page: WebP as data URIs, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Pillow
from scipy.ndimage import distance_transform_edt

from geonp.report.colour import Image

QUALITIES = (88, 75, 55, 35, 15)
_EXACT = 300_000
"""Pixels up to which a smooth picture keeps every colour, as single pixels are seen in it."""
_DOTS = 0.3
"""Share of a sparse picture that its dots should cover."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image (y, x, 4) of uint8, and whether it must keep every pixel as it is."""

    pixels: Image
    exact: bool = False


def encode(pictures: Mapping[str, Picture], budget: int) -> dict[str, str]:
    """Return data URIs that take `budget` characters together, as far as the lowest quality allows.

    Small pictures, and those marked as exact, lose nothing; the others share the best quality that fits.
    """
    fixed: dict[str, Picture] = {}
    free: dict[str, Picture] = {}
    for key, picture in pictures.items():
        small = picture.pixels.shape[0] * picture.pixels.shape[1] <= _EXACT
        (fixed if picture.exact or small else free)[key] = picture
    out = {key: data_uri(picture.pixels) for key, picture in fixed.items()}
    left = budget - sum(map(len, out.values()))
    tried: dict[str, str] = {}
    for quality in QUALITIES:
        tried = {key: data_uri(picture.pixels, quality) for key, picture in free.items()}
        if sum(map(len, tried.values())) <= left:
            break
    encoded = {**out, **tried}
    return {key: encoded[key] for key in pictures}


def data_uri(pixels: Image, quality: int | None = None) -> str:
    """Return an image (y, x, 4) as a WebP data URI; without loss where no quality (1 to 100) is given."""
    file = io.BytesIO()
    image = Pillow.fromarray(np.ascontiguousarray(pixels))
    if quality is None:
        image.save(file, "WEBP", lossless=True, quality=40, method=3)
    else:
        image.save(file, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def dots(values: ArrayLike) -> NDArray[np.float64]:
    """Return sparse values (y, x) with each grown to a dot that can be seen, NaN between them.

    The dots grow, up to nine pixels wide, until they cover about a third of the picture.
    """
    array = np.asarray(values, np.float64)
    known = np.isfinite(array)
    share = known.mean()
    if share in (0, 1):
        return array
    radius = min(round((np.sqrt(_DOTS / share) - 1) / 2), 4, min(array.shape) // 40)
    if radius < 1:
        return array
    away, (row, col) = distance_transform_edt(~known, return_indices=True)
    return np.where(away <= radius + 0.5, array[row, col], np.nan)
