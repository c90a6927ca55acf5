"""Classical methods on the test tasks of a set of images."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.benchmarks.images import Images, Mask, held_out
from geonp.benchmarks.runs import Found, Workplace
from geonp.errors import GeonpWarning
from geonp.methods.base import Method
from geonp.methods.choose import choose
from geonp.metrics import psnr
from geonp.predict import complete


class Filled(NamedTuple):
    """A completed image: mean, and variance or None, both (C, H, W)."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64] | None


def fill(image: NDArray[Any], seen: Mask, method: Method) -> Filled:
    """Complete an image (C, H, W) from the pixels in `seen` (H, W), on square pixels of 1."""
    values = np.where(seen, np.asarray(image, np.float32), np.float32(np.nan))
    rows, cols = seen.shape
    where = {"y": np.arange(rows)[::-1] + 0.5, "x": np.arange(cols) + 0.5}
    field = xr.DataArray(values, coords=where, dims=("band", "y", "x"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeonpWarning)  # there is no CRS, and a constant image is one
        done = complete(field, method, variance=method.has_variance)
    mean = done["mean"].to_numpy().astype(np.float64)
    return Filled(mean, done["variance"].to_numpy().astype(np.float64) if "variance" in done else None)


class Tried(NamedTuple):
    """A test image (C, H, W), its pixels that were seen (H, W), what a method made of them, and in how many seconds."""

    image: NDArray[Any]
    seen: Mask
    done: Filled
    seconds: float


def tries(method: Method, images: Images, count: int, fraction: float) -> Iterator[Tried]:
    """Complete the test images one by one, each from the pixels that networks see of it."""
    for values, masks in held_out(images, count, fraction):
        for image, seen in zip(values, masks, strict=True):
            began = time.perf_counter()
            done = fill(image, seen, method)
            yield Tried(image, seen, done, time.perf_counter() - began)


def score_classical(
    name: str, images: Images, count: int, fractions: Sequence[float], work: Workplace
) -> Found:
    """Return PSNR over whole images and over hidden pixels, and pixels a second, of a method at some densities."""
    return work.score(f"{images.name} {name}", lambda: _scored(name, images, count, fractions))


def _scored(name: str, images: Images, count: int, fractions: Sequence[float]) -> Found:
    method = choose(name)
    peak = images.brightest
    out: dict[str, float] = {}
    seconds, pixels = 0.0, 0
    for fraction in fractions:
        whole, hidden = [], []
        for image, seen, done, took in tries(method, images, count, fraction):
            seconds, pixels = seconds + took, pixels + seen.size
            whole.append(psnr(image, done.mean, peak))
            hidden.append(psnr(image[:, ~seen], done.mean[:, ~seen], peak))
        label = f"psnr_{round(fraction * 100)}"
        # An image that comes out without any error has no PSNR; it stands out of the mean.
        out[label] = float(np.mean([v for v in whole if np.isfinite(v)]))
        out[f"hidden_{label}"] = float(np.mean([v for v in hidden if np.isfinite(v)]))
    out["pixels_per_second"] = pixels / seconds
    return out
