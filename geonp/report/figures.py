"""Figures of completed fields. Every function draws on axes, new ones where none are given, and returns them.

Nothing is shown or saved here. Colour maps are perceptually uniform and safe for colour-blind eyes; lines
differ in their dashes too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from scipy.special import ndtri

from geonp.errors import InputError, MethodError
from geonp.field import grid_shape
from geonp.methods.base import Status
from geonp.report.colour import (
    DEVIATION,
    ERROR,
    STATUS,
    VALUES,
    Scale,
    limits,
    paint_status,
    scale_of_deviations,
    scale_of_errors,
    scale_of_values,
    shade,
)
from geonp.report.hidden import Hidden
from geonp.report.view import View

__all__ = [
    "DEVIATION",
    "ERROR",
    "VALUES",
    "completion",
    "coverage",
    "error_by_distance",
    "methods",
    "pit",
    "qq",
    "raster",
    "scale_bar",
    "scatter",
    "status",
]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colours; one for each method, in the order given."""
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_POINTS = 2000
_MANY, _FEW = 2000, 300
_LEVELS = np.linspace(0.02, 0.98, 49)

Several = Hidden | Sequence[Hidden]


def raster(
    values: xr.DataArray,
    ax: Axes | None = None,
    *,
    cmap: str = VALUES,
    vmin: float | None = None,
    vmax: float | None = None,
    hillshade: bool = False,
    add_colorbar: bool = True,
    add_scale_bar: bool = True,
    title: str = "",
) -> Axes:
    """Draw a map of one band, north up, its pixels as wide and high as they are on the ground.

    Parameters
    ----------
    values : (y, x), NaN where there is none.
    ax : axes to draw on.
    cmap, vmin, vmax : colours and their limits, by default the percentiles 0.5 and 99.5. Give the same to
        several maps to compare them (`geonp.report.colour.limits`).
    hillshade : whether the surface is lit from the north-west, as that of a DEM is.
    add_colorbar, add_scale_bar : whether there is one.
    title : above the map.

    Raises
    ------
    InputError
        If there are other dimensions than two.
    """
    if values.ndim != 2:
        raise InputError(f"a map is of one band (y, x), got {values.dims}; choose one with .isel(band=0)")
    ax, view = _axes(ax), View.of(values.rename(dict(zip(values.dims, ("y", "x"), strict=True))))
    low, high = limits([values])
    scale = Scale(cmap, low if vmin is None else vmin, high if vmax is None else vmax)
    image = view.turn(values)
    ax.imshow(
        shade(image, scale, view.spacing) if hillshade else scale.paint(image),
        extent=(0, view.width, view.height, 0),
        interpolation="nearest",
    )
    _bare(ax, title)
    if add_colorbar:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        colours = ScalarMappable(Normalize(scale.low, scale.high), cmap)
        label = " ".join(str(v) for v in (values.name, _bracketed(values.attrs.get("units"))) if v)
        ax.figure.colorbar(colours, ax=ax, shrink=0.8, location="bottom", label=label, pad=0.03)
    if add_scale_bar:
        scale_bar(ax, view)
    return ax


def status(codes: xr.DataArray, ax: Axes | None = None, *, title: str = "") -> Axes:
    """Draw a map of status codes (y, x): masked, observed, interpolated, extrapolated, with a legend."""
    ax, view = _axes(ax), View.of(codes.rename(dict(zip(codes.dims, ("y", "x"), strict=True))))
    image = view.turn(codes)
    ax.imshow(paint_status(image), extent=(0, view.width, view.height, 0), interpolation="nearest")
    there = [s for s in Status if (image == s).any()]
    handles = [Patch(color=STATUS[s], label=s.name.lower()) for s in there]
    ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.03),
        ncols=2,
        frameon=False,
        fontsize="small",
    )
    _bare(ax, title)
    return ax


def scale_bar(ax: Axes, view: View) -> Axes:
    """Draw a bar of a round length at the lower left of a map whose axes are in metres (see `raster`)."""
    length, label = view.scale_bar()
    left, bottom = 0.03 * view.width, 0.97 * view.height
    thick = 0.012 * view.height
    ax.add_patch(Rectangle((left, bottom - thick), length, thick, fc="white", ec="black", lw=0.6, zorder=5))
    ax.text(
        left,
        bottom - 1.6 * thick,
        label,
        ha="left",
        va="bottom",
        fontsize="small",
        color="black",
        zorder=5,
        bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1},
    )
    return ax


def scatter(
    hidden: Hidden,
    ax: Axes | None = None,
    *,
    most: int = _POINTS,
    label: str = "value",
    color: str = COLOURS[0],
) -> Axes:
    """Draw what was there against what was predicted; right predictions lie on the line.

    Parameters
    ----------
    hidden : what a method predicts, and the truth.
    most : points drawn, a sample where there are more.
    label : what is measured, with its unit.
    color : of the points.
    """
    ax = _axes(ax)
    some = hidden.sample(most)
    ends = limits([hidden.truth, hidden.mean], beyond=0)
    ax.plot(ends, ends, color="0.5", lw=1)
    ax.plot(
        hidden.mean[some],
        hidden.truth[some],
        "o",
        ms=2.2 if len(some) > _FEW else 4,
        mew=0,
        alpha=0.45,
        color=color,
        zorder=3,
    )
    ax.set(xlabel=f"predicted {label}", ylabel=f"true {label}", xlim=ends, ylim=ends)
    ax.set_box_aspect(1)
    rmse = float(np.sqrt((hidden.error**2).mean()))
    ax.set_title(f"{hidden.method}: RMSE {rmse:.4g}", fontsize="medium")
    return ax


def qq(hidden: Several, ax: Axes | None = None) -> Axes:
    """Draw the quantiles of standardised errors against those of the normal distribution.

    On the line where deviations are right; steeper where errors are larger than they say, bent at the ends
    where the tails are heavier.

    Raises
    ------
    MethodError
        If no method has a variance.
    """
    ax, told = _axes(ax), _with_variance(hidden)
    share = np.concatenate(
        [np.geomspace(5e-4, 0.02, 12)[:-1], _LEVELS, 1 - np.geomspace(5e-4, 0.02, 12)[-2::-1]]
    )
    reach = 3.3
    ax.plot([-reach, reach], [-reach, reach], color="0.5", lw=1)
    for number, one in told:
        shown = share[(share * len(one) >= 0.5) & ((1 - share) * len(one) >= 0.5)]
        z = np.clip(one.standardised, -1e3, 1e3)
        ax.plot(ndtri(shown), np.quantile(z, shown), **_line(number), label=one.method)
    ax.set(xlabel="normal quantile", ylabel="standardised error", xlim=(-reach, reach), ylim=(-5, 5))
    ax.set_box_aspect(1)
    _legend(ax, told)
    return ax


def pit(hidden: Several, ax: Axes | None = None, *, bins: int | None = None) -> Axes:
    """Draw histograms of the probability integral transform.

    Flat at 1 where the predictive distributions are right; high at both ends where deviations are too small,
    in the middle where they are too large.

    Parameters
    ----------
    hidden : what one or several methods predict, and the truth.
    bins : of the histograms; 20, or 10 of few values.

    Raises
    ------
    MethodError
        If no method has a variance.
    """
    ax, told = _axes(ax), _with_variance(hidden)
    ax.axhline(1, color="0.5", lw=1)
    edges = np.linspace(0, 1, 1 + (bins or (20 if min(len(one) for _, one in told) > _MANY else 10)))
    for number, one in told:
        density, _ = np.histogram(one.pit, edges, density=True)
        ax.stairs(density, edges, baseline=None, label=one.method, **_line(number))
    ax.set(xlabel="probability integral transform", ylabel="density", xlim=(0, 1))
    ax.set_ylim(bottom=0)
    ax.set_box_aspect(1)
    _legend(ax, told)
    return ax


def coverage(hidden: Several, ax: Axes | None = None) -> Axes:
    """Draw the share of the truth inside central intervals against their probability.

    Below the line intervals are too narrow, above it too wide.

    Raises
    ------
    MethodError
        If no method has a variance.
    """
    ax, told = _axes(ax), _with_variance(hidden)
    ax.plot([0, 1], [0, 1], color="0.5", lw=1)
    for number, one in told:
        ax.plot(_LEVELS, one.coverage(_LEVELS), label=one.method, **_line(number))
    ax.set(xlabel="probability of the interval", ylabel="share inside", xlim=(0, 1), ylim=(0, 1))
    ax.set_box_aspect(1)
    _legend(ax, told)
    return ax


def error_by_distance(
    hidden: Several, ax: Axes | None = None, *, classes: int = 10, unit: str = "m", label: str = "error"
) -> Axes:
    """Draw the root mean squared error against the distance to the nearest observation.

    Thin dotted lines are the deviations that a method predicts; they lie on its errors where they are right.

    Parameters
    ----------
    hidden : what one or several methods predict, and the truth.
    classes : of distance, with as many values each.
    unit, label : of distance, and what the error is called.
    """
    ax = _axes(ax)
    every = _several(hidden)
    for number, one in enumerate(every):
        found = one.by_distance(classes)
        style = _line(number)
        ax.plot(found.distance, found.rmse, marker="o", ms=3.5, label=one.method, **style)
        if found.std is not None:
            ax.plot(found.distance, found.std, **(style | {"ls": ":", "lw": 1}))
    ax.set(xlabel=f"distance to the nearest observation ({unit})", ylabel=label)
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    _legend(ax, list(enumerate(every)))
    return ax


def completion(truth: xr.DataArray | None, context: xr.DataArray, prediction: xr.Dataset) -> Figure:
    """Draw what was known, what was made of it and how uncertain it is; with the truth, also the error.

    Parameters
    ----------
    truth : (y, x) or None.
    context : (y, x), NaN where not observed.
    prediction : Dataset with `mean` and `variance`, (y, x), on the same grid.

    Returns
    -------
    Figure
        Values share their colour limits; the error's are symmetric.
    """
    shared = scale_of_values(context if truth is None else truth)
    values: dict[str, Any] = {"vmin": shared.low, "vmax": shared.high}
    std = prediction["variance"] ** 0.5
    gaps = context.isnull()
    fig, axes = _row(3 if truth is None else 5, grid_shape(context))
    left = list(axes)
    if truth is not None:
        raster(truth, left.pop(0), title="truth", **values)
    raster(context, left.pop(0), title=f"observed ({float(1 - gaps.mean()):.1%})", **values)
    raster(prediction["mean"].rename(None), left.pop(0), title="mean", **values)
    top = scale_of_deviations(std.where(gaps)).high
    raster(std.rename(None), left.pop(0), cmap=DEVIATION, vmin=0, vmax=top, title="standard deviation")
    if truth is not None:
        error = prediction["mean"] - truth
        bound = scale_of_errors(error).high
        rmse = float(np.sqrt((error.where(gaps) ** 2).mean()))
        title = f"error (RMSE {rmse:.1f})"
        raster(error.rename(None), left.pop(0), cmap=ERROR, vmin=-bound, vmax=bound, title=title)
    return fig


def methods(truth: xr.DataArray, context: xr.DataArray, means: Mapping[str, xr.DataArray]) -> Figure:
    """Draw hillshades of several completions of one DEM beside the truth, with shared light and limits."""
    shared = scale_of_values(truth)
    fig, axes = _row(len(means) + 1, grid_shape(context))
    for axis, (name, mean) in zip(axes, {"truth": truth, **means}.items(), strict=True):
        error = (mean - truth).where(context.isnull())
        score = "" if name == "truth" else f" (RMSE {float(np.sqrt((error**2).mean())):.1f})"
        raster(
            mean,
            axis,
            vmin=shared.low,
            vmax=shared.high,
            hillshade=True,
            add_colorbar=False,
            title=name + score,
        )
    return fig


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    drawn: Axes = plt.subplots(layout="constrained")[1]
    return drawn


def _row(panels: int, shape: tuple[int, int]) -> tuple[Figure, NDArray[np.object_]]:
    import matplotlib.pyplot as plt

    rows, cols = shape
    fig, axes = plt.subplots(
        1, panels, figsize=(3.4 * panels, 3.4 * rows / cols + 1.5), layout="constrained", squeeze=False
    )
    return fig, axes[0]


def _bare(ax: Axes, title: str) -> None:
    ax.set_axis_off()
    if title:
        ax.set_title(title)


def _bracketed(unit: object) -> str:
    return f"({unit})" if unit else ""


def _several(hidden: Several) -> list[Hidden]:
    return [hidden] if isinstance(hidden, Hidden) else list(hidden)


def _with_variance(hidden: Several) -> list[tuple[int, Hidden]]:
    """Return the methods that have a variance, each with its place among all, which is its colour's."""
    every = _several(hidden)
    told = [(number, one) for number, one in enumerate(every) if one.variance is not None]
    if not told:
        from geonp.methods import with_variance

        names = ", ".join(one.method for one in every) or "no method"
        raise MethodError(
            f"none of these gives a variance ({names}), so that there is no calibration to show; "
            f"add one of: {', '.join(with_variance())}"
        )
    return told


def colour_of(number: int) -> str:
    """Return the colour of a method by its place among those compared, from 0."""
    return COLOURS[number % len(COLOURS)]


def _line(number: int) -> dict[str, Any]:
    return {"color": colour_of(number), "ls": DASHES[number % len(DASHES)], "lw": 1.8}


def _legend(ax: Axes, shown: Sequence[tuple[int, Hidden]]) -> None:
    if len(shown) > 1:
        ax.legend(frameon=False, fontsize="small", handlelength=3)
