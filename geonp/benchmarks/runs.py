"""Trainings and what came of them, kept in the output folder so that an interrupted benchmark goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from geonp.benchmarks.images import Images, ImageTasks
from geonp.benchmarks.plan import Plan
from geonp.benchmarks.systems import Sized
from geonp.errors import InputError, UsageError
from geonp.models import create
from geonp.models.base import Model
from geonp.training import Options, Record, Training

Tell = Callable[[str], None]
Found = Mapping[str, float]

_JOURNAL = "runs.jsonl"


class Workplace:
    """A folder for trainings under way and what finished ones scored.

    Parameters
    ----------
    folder : made if it is not there.
    identity : what a run that goes on must have in common with the one that began.
    device : where networks are trained.
    tell : called with a line of progress.

    Raises
    ------
    UsageError
        If the folder holds the runs of another benchmark, budget, or data set.
    InputError
        If the journal is damaged.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str], device: str, tell: Tell) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.device, self.tell = folder, device, tell
        self._journal = folder / _JOURNAL
        self._found: dict[str, Found] = {}
        if self._journal.exists():
            self._read(dict(identity))
        else:
            self._append({"identity": dict(identity)})

    def score(self, key: str, work: Callable[[], Found]) -> Found:
        """Return what `work` finds, done once for every key."""
        if key not in self._found:
            found = dict(work())
            self._append({"key": key, "found": found})
            self._found[key] = found
        return self._found[key]

    def state(self, key: str) -> Path:
        """Return the file of a training's state."""
        return self.folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', key)}.safetensors"

    def _append(self, entry: dict[str, object]) -> None:
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def _read(self, identity: dict[str, str]) -> None:
        *lines, cut_short = self._journal.read_text(encoding="utf-8").split("\n")
        if cut_short:  # the machine went down while it was written
            self._journal.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        try:
            first, *entries = [json.loads(line) for line in lines]
            theirs = first["identity"]
            self._found = {entry["key"]: entry["found"] for entry in entries}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self._journal}: is damaged; start anew in another folder") from error
        for name, mine in identity.items():
            if theirs.get(name) != mine:
                raise UsageError(
                    f"{self.folder} holds runs with {name} {theirs.get(name)}, and this one has {mine}; "
                    "give another folder (--output)"
                )


@dataclass(frozen=True, eq=False)
class Trained:
    """A network with its best weights, how fast it trained, and where it ended.

    Parameters
    ----------
    steps_per_second : of optimiser steps, validation left out; None of a training that was only restored.
    """

    model: Model
    steps_per_second: float | None


def train(
    key: str,
    size: Sized,
    images: Images,
    context: tuple[float, float],
    plan: Plan,
    seed: int,
    work: Workplace,
) -> Trained:
    """Train a network, or go on with its training where the workplace has one of that key."""
    tasks = ImageTasks(images, plan.batch, context, seed, plan.validated)
    options = Options(
        epochs=-(-plan.steps // plan.every),
        steps_per_epoch=plan.every,
        learning_rate=plan.learning_rate,
        patience=None,
        seed=seed,
        device=work.device,
    )
    training = Training(create(size.architecture, size.config, seed=seed), tasks, options)
    state = work.state(key)
    if state.exists():
        training.resume(state)
    steps, seconds, before = 0, 0.0, training.progress.elapsed
    for record in training.run():
        if record.validation is None:
            steps, seconds = steps + 1, seconds + record.elapsed - before
        else:
            training.save(state)
            work.tell(_line(key, record))
        before = record.elapsed
    training.use_best()
    return Trained(training.model.eval(), steps / seconds if seconds > 0 else None)


def _line(key: str, record: Record) -> str:
    return (
        f"{key}: step {record.step}, loss {record.loss:.4f}, validation {record.validation:.4f}, "
        f"{record.elapsed:.0f} s, {record.remaining:.0f} s left"
    )
