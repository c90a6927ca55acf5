"""Pictures of a survey's variogram and of its cross-validation, as matplotlib figures."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from geonp.kriging.validation import Validation
from geonp.kriging.variogram import EmpiricalVariogram
from geonp.report.variography import Variography, lengths

Array = NDArray[np.float64]

_ALL, _ALONG, _ACROSS = "black", "tab:blue", "tab:orange"
_LARGEST, _LEAST = 110.0, 8.0
_SHOWN = 4000


def figure(
    found: Variography, *, unit: str, name: str = "", validated: tuple[Array, Validation] | None = None
) -> Figure:
    """Draw the variogram, its map where there is one, and observed against predicted where it was validated.

    Parameters
    ----------
    found : the variography.
    unit : of length.
    name : of what was measured.
    validated : what `Variography.validate` returns.
    """
    panels = 1 + (found.map is not None) + (validated is not None)
    fig: Figure = plt.figure(figsize=(5.2 + 4.2 * (panels - 1), 4.3), layout="constrained")
    grid = fig.add_gridspec(1, panels, width_ratios=[1.25] + [1.0] * (panels - 1))
    curves(fig.add_subplot(grid[0]), found, unit=unit)
    if found.map is not None:
        separation(fig.add_subplot(grid[1]), found, unit=unit)
    if validated is not None:
        scatter(fig.add_subplot(grid[panels - 1]), *validated, name=name)
    return fig


def curves(axes: Axes, found: Variography, *, unit: str) -> None:
    """Draw empirical points, larger where more pairs stand behind them, and the fitted curves."""
    top = float(found.pooled.lag.max()) * 1.05
    lag = np.linspace(0, top, 400)[1:]
    if found.along is None or found.across is None:
        _points(axes, found.pooled, _ALL, "observed")
        axes.plot(lag, found.curve(lag), color=_ALL, lw=1.5, label="fitted")
    else:
        angle = found.main.angle
        for side, turn, colour in ((found.along, angle, _ALONG), (found.across, angle + 90, _ACROSS)):
            _points(axes, side, colour, f"observed at {turn % 180:.0f}°")
            axes.plot(lag, found.curve(lag, turn), color=colour, lw=1.5, label="fitted")
    covariance = found.fit.covariance
    if covariance.bounded:
        axes.axhline(covariance.total_sill, color="grey", lw=0.8, ls="--")
        axes.annotate("sill", (top, covariance.total_sill), (-2, 2), textcoords="offset points", ha="right")
    axes.set(xlim=(0, top), xlabel=f"distance ({unit})", ylabel="semivariance")
    axes.set_ylim(bottom=0)
    axes.set_title(
        f"{found.fit.candidates[0].name}, {found.fit.observations} observations", fontsize="medium"
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize="small", frameon=False)


def separation(axes: Axes, found: Variography, *, unit: str) -> None:
    """Draw the variogram map, with the ellipse at which the fitted variogram reaches 95 % of its sill.

    Where the range is longer than the map, the ellipse is drawn smaller, in the same shape.
    """
    assert found.map is not None
    half = found.map.step * (found.map.semivariance.shape[0] / 2)
    drawn = axes.imshow(
        found.map.semivariance, origin="lower", extent=(-half, half, -half, half), cmap="viridis"
    )
    axes.figure.colorbar(drawn, ax=axes, shrink=0.8, label="semivariance")
    major, minor = lengths(found.fit.covariance)
    shrink = min(1.0, 0.9 * half / major)
    colour = "white"
    outlined = [withStroke(linewidth=2.5, foreground="black", alpha=0.4)]
    axes.add_patch(
        Ellipse(
            (0, 0),
            2 * major * shrink,
            2 * minor * shrink,
            angle=found.main.angle,
            fill=False,
            ec=colour,
            lw=1.5,
            ls="-" if shrink == 1 else "--",
            path_effects=outlined,
        )
    )
    turn = math.radians(found.main.angle)
    if found.main.ratio < 1:
        reach = major * shrink
        x, y = reach * math.cos(turn), reach * math.sin(turn)
        axes.plot([-x, x], [-y, y], color=colour, lw=0.8)
    axes.set(xlabel=f"separation in x ({unit})", ylabel=f"separation in y ({unit})")
    ratio = (
        f"ratio {found.main.ratio:.2f} at {found.main.angle:.0f}°" if found.main.ratio < 1 else "isotropic"
    )
    axes.set_title(f"by direction, and the fit's ellipse: {ratio}", fontsize="medium")


def scatter(axes: Axes, observed: Array, validation: Validation, *, name: str = "") -> None:
    """Draw observed against predicted values of a leave-one-out, with the predictions' 90 % intervals."""
    some = np.random.default_rng(0).permutation(len(observed))[:_SHOWN]
    seen, predicted = observed[some], (observed - validation.residual)[some]
    half = 1.645 * validation.std[some]
    axes.errorbar(
        predicted, seen, xerr=half, fmt="o", ms=2.5, color=_ALL, ecolor="lightgrey", elinewidth=0.6, zorder=1
    )
    ends = [float(seen.min()), float(seen.max())]
    axes.plot(ends, ends, color=_ACROSS, lw=1.2, zorder=3)
    axes.set(
        xlabel=f"predicted {name} and 90 % interval".replace("  ", " "), ylabel=f"observed {name}".strip()
    )
    axes.set_title(
        f"leave-one-out: RMSE {validation.rmse:.3g}, {validation.coverage(0.9):.0%} inside", fontsize="medium"
    )


def _points(axes: Axes, empirical: EmpiricalVariogram, colour: str, label: str) -> None:
    size = np.maximum(_LARGEST * empirical.pairs / empirical.pairs.max(), _LEAST)
    axes.scatter(empirical.lag, empirical.semivariance, size, color=colour, alpha=0.55, lw=0, label=label)
