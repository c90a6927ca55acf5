"""Classical methods on the test tasks of a set of images."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.benchmarks.images import Images, test_tasks
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


def fill(image: NDArray[Any], seen: NDArray[np.bool_], method: Method) -> Filled:
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
        start = 0
        for task, _ in test_tasks(images, count, fraction):
            seen = task.context[:, 0].numpy() > 0
            for image, where in zip(images.test[start : start + len(seen)], seen, strict=True):
                began = time.perf_counter()
                mean = fill(image, where, method).mean
                seconds, pixels = seconds + time.perf_counter() - began, pixels + where.size
                whole.append(psnr(image, mean, peak))
                hidden.append(psnr(image[:, ~where], mean[:, ~where], peak))
            start += len(seen)
        label = f"psnr_{round(fraction * 100)}"
        # An image that comes out without any error has no PSNR; it stands out of the mean.
        out[label] = float(np.mean([v for v in whole if np.isfinite(v)]))
        out[f"hidden_{label}"] = float(np.mean([v for v in hidden if np.isfinite(v)]))
    out["pixels_per_second"] = pixels / seconds
    return out
