"""What a training tells of itself: a record a step, its pace, and a log of both."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Record:
    """What one step did.

    Parameters
    ----------
    step, epoch : steps done, and the epoch they lie in, from 1.
    loss : training loss of the batch; not finite where the step was skipped.
    learning_rate : of this step.
    progress : fraction of the run that is done.
    elapsed, remaining : seconds spent, earlier runs included, and seconds to come at the present pace.
    validation : mean negative log density of the targets given the context alone, in nats per pixel and band;
        None at steps without validation.
    rmse : root mean squared error of the targets, in scaled units; None likewise.
    best : whether this is the best validation so far.
    tasks_per_second, pixels_per_second : fields of the batch, and their pixels, by the seconds of the step,
        all processes together; validation is left out.
    waiting : share of these seconds in which the first process waited for its batch to be drawn.
    """

    step: int
    epoch: int
    loss: float
    learning_rate: float
    progress: float
    elapsed: float
    remaining: float
    validation: float | None = None
    rmse: float | None = None
    best: bool = False
    tasks_per_second: float = 0.0
    pixels_per_second: float = 0.0
    waiting: float = 0.0


@dataclass(slots=True)
class Pace:
    """How fast a training goes: sums over steps.

    Parameters
    ----------
    tasks, pixels : fields trained on, and their pixels.
    seconds : that their steps took, validation left out.
    waited : seconds of these in which batches were waited for.
    """

    tasks: int = 0
    pixels: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def add(self, other: Pace) -> None:
        """Count what the other pace has counted."""
        self.tasks += other.tasks
        self.pixels += other.pixels
        self.seconds += other.seconds
        self.waited += other.waited

    @property
    def tasks_per_second(self) -> float:
        """Fields a second; 0 before the first step."""
        return self.tasks / self.seconds if self.seconds > 0 else 0.0

    @property
    def pixels_per_second(self) -> float:
        """Pixels a second; 0 before the first step."""
        return self.pixels / self.seconds if self.seconds > 0 else 0.0

    @property
    def waiting(self) -> float:
        """Share of the seconds spent waiting for batches; 0 before the first step."""
        return self.waited / self.seconds if self.seconds > 0 else 0.0


class CsvLog:
    """Writes records as rows of a CSV file, one a step, with the fields of `Record` as columns.

    Parameters
    ----------
    path : the file; replaced, or continued where `append` is true.
    """

    def __init__(self, path: str | Path, append: bool = False) -> None:
        path = Path(path)
        headed = append and path.is_file() and path.stat().st_size > 0
        self._file = path.open("a" if append else "w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        if not headed:
            self._rows.writerow(field.name for field in fields(Record))

    def write(self, record: Record) -> None:
        """Write one row; it is in the file at once where the record has a validation."""
        self._rows.writerow(getattr(record, field.name) for field in fields(Record))
        if record.validation is not None:
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
