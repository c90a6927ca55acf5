"""Figures of completed fields, as matplotlib figures; nothing is shown or saved here."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LightSource
from matplotlib.figure import Figure
from numpy.typing import NDArray

VALUES, DEVIATION, ERROR = "viridis", "magma", "RdBu_r"


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
    known = context if truth is None else truth
    low, high = np.nanpercentile(known, [0.5, 99.5])
    std = prediction["variance"] ** 0.5
    rows, cols = context.shape
    panels = 3 if truth is None else 5
    axes: NDArray[np.object_]
    fig: Figure
    fig, axes = plt.subplots(
        1, panels, figsize=(3.4 * panels, 3.4 * rows / cols + 1.5), layout="constrained", squeeze=False
    )
    left = list(axes[0])
    if truth is not None:
        _draw(left.pop(0), truth, "truth", VALUES, low, high)
    seen = float(np.isfinite(context).mean())
    _draw(left.pop(0), context, f"observed ({seen:.1%})", VALUES, low, high)
    _draw(left.pop(0), prediction["mean"], "mean", VALUES, low, high)
    hidden = std.where(context.isnull())
    _draw(left.pop(0), std, "standard deviation", DEVIATION, 0, float(np.nanpercentile(hidden, 99)))
    if truth is not None:
        error = prediction["mean"] - truth
        bound = float(np.nanpercentile(abs(error), 99))
        rmse = float(np.sqrt((error.where(context.isnull()) ** 2).mean()))
        _draw(left.pop(0), error, f"error (RMSE {rmse:.1f})", ERROR, -bound, bound)
    return fig


def methods(truth: xr.DataArray, context: xr.DataArray, means: dict[str, xr.DataArray]) -> Figure:
    """Draw hillshades of several completions of one DEM beside the truth, with shared light and limits."""
    axes: NDArray[np.object_]
    fig: Figure
    fig, axes = plt.subplots(
        1, len(means) + 1, figsize=(3.4 * (len(means) + 1), 3.8), layout="constrained", squeeze=False
    )
    low, high = np.nanpercentile(truth, [0.5, 99.5])
    light = LightSource(azdeg=315, altdeg=40)
    for axis, (name, mean) in zip(axes[0], {"truth": truth, **means}.items(), strict=True):
        shaded = light.shade(
            np.asarray(mean),
            plt.get_cmap(VALUES),
            blend_mode="soft",
            vert_exag=0.05,
            vmin=float(low),
            vmax=float(high),
        )
        axis.imshow(shaded, interpolation="nearest")
        error = (mean - truth).where(context.isnull())
        score = "" if name == "truth" else f" (RMSE {float(np.sqrt((error**2).mean())):.1f})"
        axis.set_title(name + score)
        axis.set_axis_off()
    return fig


def _draw(axis: Axes, image: xr.DataArray, title: str, colours: str, low: float, high: float) -> None:
    drawn = axis.imshow(np.asarray(image), cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    axis.set_title(title)
    axis.set_axis_off()
    axis.figure.colorbar(drawn, ax=axis, shrink=0.8, location="bottom", label=image.attrs.get("units", ""))
