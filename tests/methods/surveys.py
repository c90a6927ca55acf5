"""Surveys of synthetic terrain for tests of interpolation, and a method at work on them."""

import numpy as np
import odc.geo.xr  # noqa: F401 - the accessor
import xarray as xr

from geonp.methods.base import Method, Place
from geonp.methods.scattered import generic_position

SPACING = (30.0, 20.0)


def terrain(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A smooth random surface, metres."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = [rng.normal() * np.sin(y * a + x * b + c) for a, b, c in rng.normal(0, 0.15, (12, 3))]
    return (500 + 40 * np.sum(waves, 0)).astype("f4")


def holey(truth: np.ndarray, fraction: float, seed: int = 1) -> np.ndarray:
    seen = np.random.default_rng(seed).random(truth.shape[-2:]) < fraction
    return np.where(seen, truth, np.float32(np.nan))


def as_field(values: np.ndarray, dy: float = 30.0, dx: float = 20.0) -> xr.DataArray:
    values = values.reshape(-1, *values.shape[-2:])
    coords = {"y": 4e6 - np.arange(values.shape[1]) * dy, "x": 5e5 + np.arange(values.shape[2]) * dx}
    return xr.DataArray(values, dims=("band", "y", "x"), coords=coords).odc.assign_crs("EPSG:32616")


def done(method: Method, values: np.ndarray, spacing: tuple[float, float] = SPACING) -> np.ndarray:
    values = values.reshape(-1, *values.shape[-2:]).astype("f4")
    return method.complete(values, spacing, Place.whole(values.shape[1:])).mean


def points_and_targets(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates in pixel widths of what is observed and what is not, in generic position; values; holes."""
    hole = np.isnan(values)
    aspect = SPACING[0] / SPACING[1]
    points, targets = (generic_position(*np.nonzero(mask), aspect) for mask in (~hole, hole))
    return points, targets, values[~hole].astype("f8"), hole
