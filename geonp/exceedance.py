"""From a completed survey to probabilities, quantiles and totals: what is asked of a map before something is decided.

A pixel's value is normal about its mean, so its probabilities are exact. What is said of an area (its mean, its
volume, how much of it lies above a threshold) depends on how pixels vary together: it is counted in realisations.
Averaging variances would not do: the variance of an areal mean is the average *covariance* over all pairs of its
pixels (Journel and Huijbregts 1978, section II.D), far below the average variance where the area is wide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from geonp.errors import InputError, UsageError
from geonp.field import Window, as_field, geobox, grid_spacing, spacing, windows
from geonp.io.zones import Area
from geonp.methods.base import Method
from geonp.methods.choose import choose
from geonp.predict import DEFAULT_TILE, complete
from geonp.simulation import Realisations
from geonp.simulation import begin as begin_realisations
from geonp.thresholds import note_threshold

Array = NDArray[np.float64]

_CUT_ROWS = 65
_ENDS = (0.05, 0.95)
_MOST_ZONES = 100_000


def probability(
    mean: NDArray[np.generic], variance: NDArray[np.generic], threshold: float
) -> NDArray[np.float32]:
    """Return the probability that a normal value lies above `threshold`; 0 or 1 where the variance is 0.

    Parameters
    ----------
    mean, variance : any shape, the units of the field and their square; NaN gives NaN.
    """
    middle, spread = np.asarray(mean, np.float64), np.sqrt(np.asarray(variance, np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = ndtr((middle - threshold) / spread)
    known = np.where(np.isnan(middle), np.nan, middle > threshold)
    return np.asarray(np.where(spread == 0, known, p), np.float32)


def quantile(mean: NDArray[np.generic], variance: NDArray[np.generic], q: float) -> NDArray[np.float32]:
    """Return the value below which a normal value lies with probability `q`.

    Raises
    ------
    UsageError
        If `q` is not between 0 and 1.
    """
    if not 0 < q < 1:
        raise UsageError(
            f"a quantile lies between 0 and 1, got {q}; 0.9 is the value that nine in ten stay below"
        )
    middle, spread = np.asarray(mean, np.float64), np.sqrt(np.asarray(variance, np.float64))
    return np.asarray(middle + ndtri(q) * spread, np.float32)


def exceed(
    field: xr.DataArray, threshold: float, method: Method | str = "auto", *, tile: int = DEFAULT_TILE
) -> xr.DataArray:
    """Return the probability (band, y, x) that each pixel of a field lies above a threshold.

    Parameters
    ----------
    field : DataArray with two spatial dimensions, NaN where not observed.
    threshold : in the units of the field.
    method : how to complete it; one with a variance.
    tile : side in pixels of the windows.

    Raises
    ------
    InputError, MethodError
        See `geonp.predict.complete`.
    """
    done = complete(as_field(field), choose(method), tile=tile)
    p = probability(done["mean"].values, done["variance"].values, threshold)
    return done["mean"].copy(data=p).rename("probability").assign_attrs(units="1")


def blocks(shape: tuple[int, int], side: int) -> list[Area]:
    """Return the square blocks of `side` pixels that a raster is cut into, from its first row and column on.

    Raises
    ------
    UsageError
        If a block has no pixel, or there are too many blocks for a table.
    """
    if side < 1:
        raise UsageError(f"blocks of {side} pixels are impossible; give at least 1 (--blocks 16)")
    if math.prod(-(-n // side) for n in shape) > _MOST_ZONES:
        raise UsageError(f"blocks of {side} pixels are more than {_MOST_ZONES} here; make them larger")
    return [
        Area(f"{w.row // side + 1},{w.col // side + 1}", w, np.ones(w.shape, bool))
        for w in windows(shape, side)
    ]


@dataclass(frozen=True)
class Spread:
    """A quantity of an area over realisations.

    Parameters
    ----------
    mean, std : over the realisations.
    low, high : ends of the 90 % interval.
    """

    mean: float
    std: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Array) -> Spread:
        """Describe the values (R,) that realisations gave."""
        low, high = np.quantile(values, _ENDS)
        spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        return cls(float(values.mean()), spread, float(low), float(high))


@dataclass(frozen=True)
class AreaReport:
    """What realisations say of one area of one band.

    Parameters
    ----------
    zone, band : which; bands are counted from 1.
    pixels : in the area.
    area : in square metres (square units of the coordinates without a CRS).
    mean : of the field over the area.
    volume : the field's integral over the area: mean x area.
    above : area where the field lies above the threshold; None without one.
    volume_above : integral of what rises above the threshold.
    """

    zone: str
    band: int
    pixels: int
    area: float
    mean: Spread
    volume: Spread
    above: Spread | None
    volume_above: Spread | None

    def row(self) -> dict[str, str | int | float]:
        """Return the report as one row of a table."""
        out: dict[str, str | int | float] = {"zone": self.zone, "band": self.band, "pixels": self.pixels}
        out["area"] = self.area
        for name in ("mean", "volume", "above", "volume_above"):
            spread = getattr(self, name)
            if spread is not None:
                column = "area_above" if name == "above" else name
                ends = {
                    f"{column}_std": spread.std,
                    f"{column}_p05": spread.low,
                    f"{column}_p95": spread.high,
                }
                out |= {column: spread.mean} | ends
        return out


def areas(
    field: xr.DataArray,
    zones: Sequence[Area],
    method: Method | str = "auto",
    *,
    threshold: float | None = None,
    n: int = 100,
    seed: int = 0,
    tile: int = DEFAULT_TILE,
) -> list[AreaReport]:
    """Return the distribution of areal statistics over `n` realisations.

    Parameters
    ----------
    field : DataArray with two spatial dimensions, NaN where not observed.
    zones : the areas, from `blocks` or `geonp.io.zones.polygons`.
    method : `kriging`, `bundled`, or an object of one of their classes.
    threshold : in the units of the field; None for means and volumes alone.
    n, seed : of the realisations. The Monte Carlo error of a mean is its deviation over the root of n, that of a
        deviation about its 0.7 of that.
    tile : side in pixels of the windows.

    Raises
    ------
    InputError, MethodError, UsageError
        See `geonp.simulation.simulate`.

    Warns
    -----
    GeonpWarning
        If the threshold lies outside what was observed.
    """
    whole = as_field(field)
    ready = begin_realisations(whole, choose(method), n, seed=seed, tile=tile)
    return list(tally(ready, zones, threshold))


def tally(ready: Realisations, zones: Sequence[Area], threshold: float | None) -> Iterator[AreaReport]:
    """Count areal statistics in realisations as they come, window by window; see `areas`."""
    field = ready.completion.field
    if threshold is not None:
        note_threshold(threshold, ready.completion.summary)
    size = pixel_areas(field)
    bands = field.sizes["band"]
    sums = np.zeros((3, len(zones), bands, ready.n))
    for piece in ready:
        numbers = slice(piece.first, piece.first + len(piece.values))
        for i, zone in enumerate(zones):
            part = _overlap(zone.window, piece.window)
            if part is None:
                continue
            inside = zone.inside[part.within(zone.window)]
            weight = np.where(inside, size[part.row : part.stop[0], None], 0.0).ravel()
            rows, cols = part.within(piece.window)
            values = piece.values[:, :, rows, cols].reshape(len(piece.values), bands, -1).astype(np.float64)
            sums[0, i, :, numbers] += (values @ weight).T
            if threshold is not None:
                over = values > threshold
                sums[1, i, :, numbers] += (over @ weight).T
                sums[2, i, :, numbers] += (np.where(over, values - threshold, 0) @ weight).T
    for i, zone in enumerate(zones):
        rows = slice(zone.window.row, zone.window.stop[0])
        area = float((zone.inside.sum(1) * size[rows]).sum())
        for band in range(bands):
            total, over, above = sums[:, i, band]
            some = threshold is not None
            yield AreaReport(
                zone.name,
                band + 1,
                int(zone.inside.sum()),
                area,
                Spread.of(total / area),
                Spread.of(total),
                Spread.of(over) if some else None,
                Spread.of(above) if some else None,
            )


def pixel_areas(field: xr.DataArray) -> Array:
    """Return the area of a pixel of every row, (rows,): square metres, or square units without a CRS.

    On a geographic grid it shrinks towards the poles; it is measured at some rows and interpolated.
    """
    box, rows = geobox(field), field.sizes["y"]
    if box is None or box.crs is None or not box.crs.geographic:
        dy, dx = spacing(field)
        return np.full(rows, dy * dx)
    at = np.unique(np.linspace(0, rows - 1, min(rows, _CUT_ROWS)).round().astype(int))
    measured = [math.prod(grid_spacing(box[int(row) : int(row) + 1, :])) for row in at]
    return np.asarray(np.interp(np.arange(rows), at, measured))


def _overlap(a: Window, b: Window) -> Window | None:
    row, col = max(a.row, b.row), max(a.col, b.col)
    height, width = min(a.stop[0], b.stop[0]) - row, min(a.stop[1], b.stop[1]) - col
    return Window(row, col, height, width) if height > 0 and width > 0 else None


def table(reports: Sequence[AreaReport], form: str = "md") -> str:
    """Return reports as a table.

    Parameters
    ----------
    reports : what realisations say of each area.
    form : `md` (Markdown) or `csv`.

    Raises
    ------
    InputError
        If there is nothing to tell.
    """
    rows = [report.row() for report in reports]
    if not rows:
        raise InputError("there is no area to report on")
    head = list(rows[0])
    cells = [[_cell(row[name]) for name in head] for row in rows]
    if form == "csv":
        quoted = [[f'"{c}"' if "," in c else c for c in line] for line in cells]
        return "\n".join(",".join(line) for line in [head, *quoted]) + "\n"
    lines = [head, ["---", *("---:" for _ in head[1:])], *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(value: str | float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
