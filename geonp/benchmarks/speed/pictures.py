"""Figures of a record: time and memory against size, and error against time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from geonp.benchmarks.result import Picture
from geonp.benchmarks.speed.record import Axis, Outcome, Point, Record

# One colour for one kind of method, geonp's drawn through, another package's dashed.
_STYLES = MappingProxyType(
    {
        "bundled": ("#d55e00", "-"),
        "kriging": ("#0072b2", "-"),
        "rbf": ("#009e73", "-"),
        "cubic": ("#cc79a7", "-"),
        "linear": ("#e69f00", "-"),
        "idw": ("#888888", "-"),
        "fillnodata": ("#56b4e9", "-"),
        "nearest": ("#000000", "-"),
        "DeepSensor's engine": ("#d55e00", "--"),
        "PyKrige": ("#0072b2", "--"),
        "GSTools": ("#0072b2", ":"),
        "SciPy RBFInterpolator": ("#009e73", "--"),
        "SciPy griddata, cubic": ("#cc79a7", "--"),
        "SciPy griddata, linear": ("#e69f00", "--"),
        "rasterio fillnodata": ("#56b4e9", "--"),
    }
)
_OTHER = ("#444444", "-.")
_HEADINGS = MappingProxyType({Axis.PIXELS: "pixels", Axis.OBSERVATIONS: "observations", Axis.BANDS: "bands"})


def pictures(record: Record) -> tuple[Picture, ...]:
    """Return time and memory against pixels, time against observations and bands, and CRPS against time."""
    out = []
    if record.of(Axis.PIXELS):
        out.append(Picture("pixels", _pair(record, Axis.PIXELS, Axis.PIXELS, (_seconds, _gib))))
        out.append(Picture("error", _error(record)))
    if record.of(Axis.OBSERVATIONS) and record.of(Axis.BANDS):
        out.append(Picture("growth", _pair(record, Axis.OBSERVATIONS, Axis.BANDS, (_seconds, _seconds))))
    return tuple(out)


def _seconds(point: Point) -> float | None:
    return point.seconds


def _gib(point: Point) -> float | None:
    return None if point.peak is None else point.peak / 1024**3


def _pair(
    record: Record, left: Axis, right: Axis, values: Sequence[Callable[[Point], float | None]]
) -> Figure:
    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    for axes, axis, value in zip(figure.subplots(1, 2), (left, right), values, strict=True):
        for name in record.methods(axis):
            done = [(p.size, value(p)) for p in record.of(axis, name) if p.outcome is Outcome.DONE]
            known = [(size, found) for size, found in done if found]
            if known:
                colour, dash = _STYLES.get(name, _OTHER)
                x, y = zip(*known, strict=True)
                face = "white" if record.of(axis, name)[0].peer else colour
                axes.loglog(
                    x,
                    y,
                    dash,
                    marker="o",
                    markersize=4,
                    color=colour,
                    mfc=face,
                    lw=1.5,
                    label=_name(record, name),
                )
        _finish(axes, _HEADINGS[axis], "seconds" if value is _seconds else "peak memory, GiB")
        if axis is Axis.BANDS:
            sizes = sorted({p.size for p in record.of(axis)})
            axes.set_xticks(sizes, map(str, sizes))
            axes.set_xticks([], minor=True)
    _legend(figure)
    return figure


def _error(record: Record) -> Figure:
    figure = Figure(figsize=(8.5, 4.6), layout="constrained")
    axes = figure.subplots()
    done = [p for p in record.of(Axis.PIXELS) if p.outcome is Outcome.DONE and p.crps and p.seconds]
    for name in record.methods(Axis.PIXELS):
        points = [p for p in done if p.method == name]
        if points:
            colour, dash = _STYLES.get(name, _OTHER)
            x = [1e6 * (p.seconds or 0) / p.pixels for p in points]
            y = [p.crps or 0 for p in points]
            axes.loglog(x, y, dash, color=colour, lw=1, alpha=0.6)
            face = "white" if points[0].peer else colour
            axes.loglog(
                x,
                y,
                "o",
                color=colour,
                markersize=6,
                markerfacecolor=face,
                label=_name(record, name),
                ls="none",
            )
    _finish(axes, "seconds for a million pixels", "CRPS, metres (MAE without a variance)")
    axes.yaxis.set_minor_formatter("{x:g}")
    _legend(figure)
    return figure


def _name(record: Record, method: str) -> str:
    peer = any(p.peer for p in record.points if p.method == method)
    return method if peer else f"geonp {method}"


def _finish(axes: Axes, x: str, y: str) -> None:
    axes.set(xlabel=x, ylabel=y)
    axes.grid(True, which="major", lw=0.5, color="#dddddd")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure) -> None:
    found: dict[str, Artist] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    figure.legend(list(found.values()), list(found), loc="outside right center", fontsize=8, frameon=False)
