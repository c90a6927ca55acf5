"""How right what was written is: beside the truth, at pixels that were hidden."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geonp.benchmarks.speed.scene import Scene
from geonp.field import Window
from geonp.metrics import coverage, crps, mae, rmse

_MOST = 1_000_000
_STRIPS = 8


@dataclass(frozen=True, slots=True)
class Score:
    """Errors of the hidden pixels that have a value; see `Point`. All None where none has."""

    scored: int
    unfilled: float
    rmse: float | None = None
    mae: float | None = None
    crps: float | None = None
    coverage90: float | None = None


def score(scene: Scene, survey: Path, mean: Path, variance: Path | None) -> Score:
    """Score up to a million pixels: the whole raster, or strips over all of its height."""
    truth, told, spread = [], [], []
    unfilled = hidden = 0
    for strip in strips(scene):
        seen = np.isfinite(_read(survey, strip))
        true, found = scene.elevation(strip)[~seen], _read(mean, strip)[~seen]
        filled = np.isfinite(found)
        hidden, unfilled = hidden + found.size, unfilled + int((~filled).sum())
        truth.append(true[filled])
        told.append(found[filled])
        if variance is not None:
            spread.append(_read(variance, strip)[~seen][filled])
    t, m = np.concatenate(truth), np.concatenate(told)
    share = unfilled / hidden if hidden else 0.0
    if t.size == 0:
        return Score(hidden, share)
    error = mae(t, m)
    if variance is None:
        return Score(hidden, share, rmse(t, m), error, error)
    v = np.maximum(np.concatenate(spread), 0)
    return Score(hidden, share, rmse(t, m), error, crps(t, m, v), coverage(t, m, v, 0.9))


def strips(scene: Scene) -> list[Window]:
    """Return the windows that are scored: of at most a million pixels together."""
    side = scene.side
    rows = min(side, max(_MOST // (side * scene.bands), 1))
    if rows == side:
        return [Window.whole((side, side))]
    count = min(_STRIPS, rows)
    each = rows // count
    starts = np.linspace(0, side - each, count).round().astype(int)
    return [Window(int(start), 0, each, side) for start in starts]


def _read(path: Path, window: Window) -> NDArray[np.float32]:
    import rasterio
    from rasterio.windows import Window as Part

    with rasterio.open(path) as file:
        part = Part(window.col, window.row, window.width, window.height)
        values = np.asarray(file.read(window=part), np.float32)
        if file.nodata is not None:
            values[values == np.float32(file.nodata)] = np.nan
    return values
