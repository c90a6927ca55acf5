"""What a record says: tables, and sentences about what was wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from geonp.benchmarks.result import Cell, Column, Result, Table
from geonp.benchmarks.speed.growth import slope
from geonp.benchmarks.speed.peers import PEERS
from geonp.benchmarks.speed.pictures import pictures
from geonp.benchmarks.speed.record import Axis, Outcome, Point, Record
from geonp.benchmarks.speed.scene import SOURCE

PROBABILISTIC = ("bundled", "kriging")
EQUAL = 1.001
"""A CRPS of up to this many times another's counts as equal: a thousandth is chance."""

_MIB = 1024**2
_ORDER = (Axis.PIXELS, Axis.OBSERVATIONS, Axis.BANDS)
_TITLES = {
    Axis.PIXELS: "Seconds against pixels, 12.5 % of them observed",
    Axis.OBSERVATIONS: "Seconds against observations, on {pixels:,} pixels",
    Axis.BANDS: "Seconds against bands of {pixels:,} pixels, 12.5 % of them observed",
}
_BESIDE = (
    Column("method", "method"),
    Column("start", "start s", 2),
    Column("seconds", "seconds", 2),
    Column("cpu", "CPU s", 2),
    Column("rate", "pixels/s", 0),
    Column("peak", "peak MiB", 0),
    Column("rmse", "RMSE", 2),
    Column("mae", "MAE", 2),
    Column("crps", "CRPS", 2),
    Column("coverage90", "cov. 90 %", 3),
    Column("unfilled", "without value", 4),
)
DIFFERENCES = (
    "Every measurement is a process of its own. Its work is from file to file: reading the survey, all that the "
    "method learns from it, completing, and writing mean and, where there is one, variance. geonp runs as `geonp "
    "predict`; the others read the raster whole, complete the bands one by one, and write it whole. Imports are "
    "told apart, as start.",
    "The CRPS of a method without a variance is its MAE, as that of a forecast of a single value.",
    "Errors are those of up to a million pixels that have a value; the share left without one stands beside them.",
    "stopped: was not done within its part of the budget, or could not be; no larger size is tried then. "
    "failed: gave up, out of memory at 8 GiB among other things.",
)


def result(record: Record, *, figures: bool = True) -> Result:
    """Return a record as the outcome of a benchmark."""
    hows = [f"{name}: {PEERS[name].how}" for name in record.methods() if name in PEERS]
    return Result(
        benchmark="speed",
        budget=f"{record.budget:g} s",
        data=(SOURCE,),
        seeds=(0,),
        settings=(("made", record.made), ("took", f"{record.took:.0f} s"), *record.machine),
        differences=(*DIFFERENCES, *hows),
        findings=findings(record),
        tables=tables(record),
        pictures=pictures(record) if figures else (),
    )


def tables(record: Record) -> tuple[Table, ...]:
    """Return the seconds against everything that grew, the memory, and times beside errors."""
    out = [_seconds(record, axis) for axis in _ORDER if record.of(axis)]
    if record.of(Axis.PIXELS):
        out.append(_memory(record))
        out += [beside(record, size) for size in _compared_sizes(record)]
    return tuple(out)


def beside(record: Record, pixels: int) -> Table:
    """Return times beside errors at a number of pixels, the smallest CRPS first."""
    points = [p for p in record.of(Axis.PIXELS) if p.pixels == pixels and p.outcome is Outcome.DONE]
    points.sort(key=lambda p: (p.crps is None, p.crps or 0.0))
    rows: list[tuple[Cell, ...]] = [
        (
            label(p),
            p.start,
            p.seconds,
            p.cpu,
            pixels / p.seconds if p.seconds else None,
            _peak(p),
            p.rmse,
            p.mae,
            p.crps,
            p.coverage90,
            p.unfilled,
        )
        for p in points
    ]
    seen = points[0].observations if points else 0
    return Table(f"{pixels:,} pixels, {seen:,} observed: time beside error", _BESIDE, tuple(rows))


def ahead(record: Record, method: str) -> tuple[tuple[str, int], ...]:
    """Return the peers, and the pixels, that are faster than a method of geonp at an equal or better CRPS."""
    return tuple(
        (p.method, p.pixels)
        for ours in record.of(Axis.PIXELS, method)
        for p in record.of(Axis.PIXELS)
        if p.peer and p.pixels == ours.pixels and _beats(p, ours)
    )


def findings(record: Record) -> tuple[str, ...]:
    """Return what the record says of how time grows, and of who is faster at equal or better CRPS."""
    lines = []
    for name in (m for m in PROBABILISTIC if record.of(Axis.PIXELS, m)):
        done = [p for p in record.of(Axis.PIXELS, name) if p.outcome is Outcome.DONE and p.seconds]
        if not done:
            continue
        last = done[-1]
        line = f"{name}: {last.pixels / (last.seconds or 1):,.0f} pixels/s at {last.pixels:,} pixels"
        line += f", peak memory {(last.peak or 0) / 1024**3:.2f} GiB"
        every, end = _slopes(done)
        if every is not None and end is not None:
            line += f"; slope of time against pixels {every:.2f}, of the last decade {end:.2f}"
        lines.append(f"{line}.")
    ours = [name for name in record.methods(Axis.PIXELS) if not _is_peer(record, name)]
    lines += [
        f"Peers faster than {name} at an equal or better CRPS: {grouped(ahead(record, name))}."
        for name in ours
    ]
    return tuple(lines)


def grouped(found: Sequence[tuple[str, int]]) -> str:
    """Return peers, each with the pixels at which it was found, or `none`."""
    told = []
    for peer in dict.fromkeys(name for name, _ in found):
        sizes = [size for name, size in found if name == peer]
        where = " and ".join(f"{s:,}" for s in sizes) if len(sizes) < 3 else f"{sizes[0]:,} to {sizes[-1]:,}"
        told.append(f"{peer} (at {where} pixels)")
    return "; ".join(told) or "none"


def label(point: Point) -> str:
    """Return a method's name in a table: another package's stands as it is, geonp's says so."""
    return point.method if point.peer else f"geonp {point.method}"


def _compared_sizes(record: Record) -> tuple[int, ...]:
    """Return the smallest number of pixels, and the largest that was completed with a variance."""
    done = [p for p in record.of(Axis.PIXELS) if p.outcome is Outcome.DONE]
    told = [p.pixels for p in done if p.method in PROBABILISTIC] or [p.pixels for p in done]
    return tuple(sorted({min(told), max(told)})) if told else ()


def _beats(peer: Point, ours: Point) -> bool:
    if peer.seconds is None or ours.seconds is None or peer.crps is None or ours.crps is None:
        return False
    return peer.seconds < ours.seconds and peer.crps <= ours.crps * EQUAL


def _is_peer(record: Record, method: str) -> bool:
    return any(p.peer for p in record.points if p.method == method)


def _seconds(record: Record, axis: Axis) -> Table:
    sizes = _sizes(record, axis)
    columns = (
        Column("method", "method"),
        *(Column(f"at_{size}", f"{size:,}", 2) for size in sizes),
        Column("slope", "slope", 2),
        Column("slope_last_decade", "last decade", 2),
    )
    rows: list[tuple[Cell, ...]] = []
    for name in record.methods(axis):
        points = record.of(axis, name)
        rows.append((label(points[0]), *_cells(points, sizes, lambda p: p.seconds), *_slopes(points)))
    return Table(_TITLES[axis].format(pixels=record.of(axis)[0].pixels), columns, tuple(rows))


def _memory(record: Record) -> Table:
    sizes = _sizes(record, Axis.PIXELS)
    columns = (
        Column("method", "method"),
        Column("loaded", "after imports", 0),
        *(Column(f"at_{size}", f"{size:,}", 0) for size in sizes),
    )
    rows: list[tuple[Cell, ...]] = []
    for name in record.methods(Axis.PIXELS):
        points = record.of(Axis.PIXELS, name)
        loaded = next((p.loaded / _MIB for p in points if p.loaded), None)
        rows.append((label(points[0]), loaded, *_cells(points, sizes, _peak)))
    return Table("Peak memory in MiB against pixels", columns, tuple(rows))


def _cells(
    points: Sequence[Point], sizes: Sequence[int], value: Callable[[Point], float | None]
) -> list[Cell]:
    at = {p.size: p for p in points}
    out: list[Cell] = []
    for size in sizes:
        p = at.get(size)
        out.append(None if p is None else value(p) if p.outcome is Outcome.DONE else _why(p))
    return out


def _peak(point: Point) -> float | None:
    return None if point.peak is None else point.peak / _MIB


def _slopes(points: Sequence[Point]) -> tuple[float | None, float | None]:
    """Return the slope of time over all sizes, and over the last decade of them."""
    every, end = slope(points), slope(points, last_decade=True)
    return None if every is None else every.value, None if end is None else end.value


def _why(point: Point) -> str:
    return "out of memory" if point.note == "out of memory" else str(point.outcome)


def _sizes(record: Record, axis: Axis) -> list[int]:
    """Return the sizes that anything was measured at, or stopped."""
    return sorted({p.size for p in record.of(axis) if p.outcome is not Outcome.ABSENT})
