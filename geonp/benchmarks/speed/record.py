"""What a run of the suite found, as it is kept: one JSON file."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path

from geonp.benchmarks.result import machine
from geonp.errors import InputError

FORMAT = 1


class Outcome(StrEnum):
    """How a measurement ended."""

    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    ABSENT = "not installed"


class Axis(StrEnum):
    """What grows."""

    PIXELS = "pixels"
    OBSERVATIONS = "observations"
    BANDS = "bands"


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement.

    Parameters
    ----------
    axis : what grew; `pixels` (of a band), `observations` (of a band) and `bands` say how far.
    method, peer : what was measured, and whether it is another package's.
    outcome : how it ended; `note` says why it failed.
    limit : seconds that it was given, start included.
    start, seconds, cpu : of the imports, and of the work, by the clock and of all processors.
    loaded, peak : bytes in memory after the imports, and at most.
    scored : pixels that were hidden and compared with the truth; `unfilled` is the share left without a value.
    rmse, mae, crps : of those that have a value; the CRPS of a method without a variance is its MAE.
    coverage90 : of its intervals of 90 %.
    """

    axis: Axis
    method: str
    peer: bool
    pixels: int
    observations: int
    bands: int
    outcome: Outcome
    note: str | None = None
    limit: float | None = None
    start: float | None = None
    seconds: float | None = None
    cpu: float | None = None
    loaded: int | None = None
    peak: int | None = None
    scored: int | None = None
    unfilled: float | None = None
    rmse: float | None = None
    mae: float | None = None
    crps: float | None = None
    coverage90: float | None = None

    @property
    def size(self) -> int:
        """How far what grows has grown."""
        return {
            Axis.PIXELS: self.pixels,
            Axis.OBSERVATIONS: self.observations,
            Axis.BANDS: self.bands,
        }[self.axis]


@dataclass(frozen=True)
class Record:
    """A run: its points, and what their times depend on."""

    made: str
    budget: float
    took: float
    machine: tuple[tuple[str, str], ...]
    points: tuple[Point, ...]

    def of(self, axis: Axis, method: str | None = None) -> tuple[Point, ...]:
        """Return the points of an axis, of one method or of all."""
        return tuple(p for p in self.points if p.axis == axis and method in (None, p.method))

    def methods(self, axis: Axis | None = None) -> tuple[str, ...]:
        """Return the names of the methods, in the order of the run."""
        return tuple(dict.fromkeys(p.method for p in self.points if axis in (None, p.axis)))

    def to_json(self) -> str:
        """Return the record as JSON, a line for each point; numbers have four significant digits."""
        head = {"benchmark": "speed", "format": FORMAT, "made": self.made}
        head |= {"budget": self.budget, "took": _short(self.took), "machine": dict(self.machine)}
        lines = [json.dumps(_row(point), allow_nan=False, ensure_ascii=False) for point in self.points]
        start = json.dumps(head, indent=2, ensure_ascii=False).removesuffix("\n}")
        return start + ',\n  "points": [\n    ' + ",\n    ".join(lines) + "\n  ]\n}\n"

    @classmethod
    def read(cls, path: Path) -> Record:
        """Return the record in a file that `to_json` made.

        Raises
        ------
        InputError
            If there is no such file or it is none of those.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as a record of speed: {error}") from error
        if (
            not isinstance(content, dict)
            or content.get("benchmark") != "speed"
            or content.get("format") != FORMAT
        ):
            raise InputError(
                f"{path}: is no record of speed of format {FORMAT}; `geonp benchmark speed` writes one (speed.json)"
            )
        try:
            points = tuple(_point(row) for row in content["points"])
            known = tuple((str(k), str(v)) for k, v in content["machine"].items())
            return cls(content["made"], float(content["budget"]), float(content["took"]), known, points)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: is a damaged record of speed: {error!r}; measure again") from error


def this_machine(versions: Sequence[tuple[str, str]], load: str) -> tuple[tuple[str, str], ...]:
    """Return what times depend on here: the versions of packages, and the load before the run, among it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return (
        *machine(),
        ("processor", _processor()),
        ("cores", str(os.cpu_count())),
        ("memory", f"{memory:.0f} GiB"),
        ("load", load),
        ("python", platform.python_version()),
        *versions,
    )


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _row(point: Point) -> dict[str, object]:
    return {name: _short(value) for name, value in asdict(point).items() if value is not None}


def _point(row: dict[str, object]) -> Point:
    unknown = set(row) - {f.name for f in fields(Point)}
    if unknown:
        raise ValueError(f"unknown entries {sorted(unknown)}")
    given = dict(row) | {"axis": Axis(str(row["axis"])), "outcome": Outcome(str(row["outcome"]))}
    return Point(**given)  # type: ignore[arg-type]


def _short(value: object) -> object:
    """Return a float with four significant digits, None where it is not finite, and all else as it is."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if math.isfinite(value) else None
