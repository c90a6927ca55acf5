"""Made-up records."""

from collections.abc import Sequence

from geonp.benchmarks.speed.against import REFERENCE
from geonp.benchmarks.speed.record import Axis, Outcome, Point, Record


def point(method: str, pixels: int, seconds: float | None, *, peer: bool = False, **rest: object) -> Point:
    given: dict[str, object] = {
        "axis": Axis.PIXELS,
        "observations": pixels // 8,
        "bands": 1,
        "outcome": Outcome.DONE if seconds is not None else Outcome.STOPPED,
        "start": 1.0,
        "cpu": seconds,
        "peak": 2**30,
        "loaded": 2**28,
        "limit": 60.0,
        **rest,
    }
    return Point(method=method, peer=peer, pixels=pixels, seconds=seconds, **given)  # type: ignore[arg-type]


def reference(pixels: int, seconds: float | None) -> Point:
    return point(REFERENCE, pixels, seconds, peer=True)


def record(points: Sequence[Point]) -> Record:
    return Record("2026-01-01 00:00 UTC", 60.0, 50.0, (("processor", "made up"),), tuple(points))
