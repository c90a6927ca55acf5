"""What `geonp benchmark speed` does: measure for a given time, write the record, compare it with one that was kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .duration import Duration

if TYPE_CHECKING:
    from geonp.benchmarks.result import Result
    from geonp.benchmarks.speed.against import Comparison
    from geonp.benchmarks.speed.record import Record

COMMAND = "geonp.cli:main"
BUDGET = "15m"
RECORD = "speed.json"


def measured(budget: str, device: str, tell: Callable[[str], None]) -> Record:
    """Measure for as long as the budget says."""
    from geonp.benchmarks.speed.suite import Setting, run

    seconds = Duration().convert(budget, None, None)
    return run(Setting(seconds, COMMAND, device), tell)


def told(record: Record) -> Result:
    """Return the record as tables and figures."""
    from geonp.benchmarks.speed.tell import result

    return result(record)


def kept(path: Path) -> Record:
    """Read a record; it is asked for before anything is measured, so that a wrong name costs no time."""
    from geonp.benchmarks.speed.record import Record

    return Record.read(path)


def compared(now: Record, before: Record, factor: float) -> Comparison:
    """Return what became slower."""
    from geonp.benchmarks.speed.against import compare

    return compare(now, before, factor)
