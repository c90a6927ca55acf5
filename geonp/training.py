"""The training loop: it yields records and prints nothing.

Every batch, and every random number of a loss, is a function of the seed and the step alone. What training
needs to go on is therefore weights, the optimiser's tensors and a few counters, and a resumed run on a CPU
gives the same bytes as one that was never interrupted.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from geonp.errors import ModelError, UsageError
from geonp.io.checkpoint import Tensors, read_tensors, write_tensors
from geonp.io.paths import reason
from geonp.models import weights
from geonp.models.base import Model
from geonp.nn.likelihood import normal_log_density
from geonp.tasks import Task

_STATE = "training state"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_MOST_SKIPPED = 5
_DEVICES = ("auto", "cpu", "cuda")
_PRECISIONS = ("32-true", "bf16-mixed")


class Batches(Protocol):
    """Where training gets its tasks from; `geonp.tiles.TileSet` is one."""

    def batch(self, step: int) -> Task:
        """Return the training batch of a step, the same one whenever it is asked for, from any thread."""

    def validation(self) -> Iterable[Task]:
        """Return the validation tasks, always the same ones."""


@dataclass(frozen=True)
class Options:
    """How to train.

    Parameters
    ----------
    epochs : number of epochs; None for as many as `max_time` allows.
    max_time : seconds; None for as long as `epochs` take. With both, what ends first.
    steps_per_epoch : steps between two looks at the validation tasks.
    learning_rate : its peak. It rises linearly over the first `warmup` of the run, and falls to zero along a
        cosine; the run is measured in steps, or in seconds where `max_time` sets its end.
    weight_decay : of AdamW.
    warmup : fraction of the run.
    clip : largest norm of the gradient.
    patience : epochs without a better validation loss after which training ends; None never ends it.
    seed : of batches and losses.
    device : `auto` (a GPU where there is one), `cpu` or `cuda`.
    devices : processes, one a device; each works on batches of its own.
    precision : `32-true`, or `bf16-mixed` where the hardware has it.

    Raises
    ------
    UsageError
        If a value is out of its range, or neither `epochs` nor `max_time` is given.
    """

    epochs: int | None = None
    max_time: float | None = None
    steps_per_epoch: int = 100
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    clip: float = 1.0
    patience: int | None = 30
    seed: int = 0
    device: str = "auto"
    devices: int = 1
    precision: str = "32-true"

    def __post_init__(self) -> None:
        if self.epochs is None and self.max_time is None:
            raise UsageError("training has no end; give a number of epochs or a time (--epochs, --max-time)")
        for name in ("epochs", "max_time", "steps_per_epoch", "learning_rate", "clip", "patience", "devices"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} is {value}; it must be positive")
        if not 0 <= self.warmup < 1:
            raise UsageError(f"warmup is {self.warmup}; it must be a fraction of the run, from 0 to below 1")
        if not 0 <= self.weight_decay < math.inf:
            raise UsageError(f"weight_decay is {self.weight_decay}; it must not be negative")
        if self.device not in _DEVICES:
            raise UsageError(f"device is {self.device!r}; choose one of {', '.join(_DEVICES)}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("device is 'cuda', and torch sees no GPU here; use 'cpu', or 'auto'")
        if self.precision not in _PRECISIONS:
            raise UsageError(f"precision is {self.precision!r}; choose one of {', '.join(_PRECISIONS)}")


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


def fit(model: Model, batches: Batches, options: Options) -> Iterator[Record]:
    """Train `model` in place, one record a step; at the end, however it comes, it has its best weights.

    Parameters
    ----------
    model : the network.
    batches : where its tasks come from, such as `geonp.tiles.TileSet`.
    options : how long, how fast, where.

    Raises
    ------
    ModelError
        If the loss stays not finite.
    """
    training = Training(model, batches, options)
    try:
        yield from training.run()
    finally:
        training.use_best()


@dataclass(slots=True)
class Progress:
    """How far a run has come.

    Parameters
    ----------
    step : steps taken.
    elapsed : seconds they took.
    best : best validation so far; None before the first.
    stale : validations since then.
    skipped : steps skipped in a row.
    """

    step: int = 0
    elapsed: float = 0.0
    best: float | None = None
    stale: int = 0
    skipped: int = 0


def schedule(progress: float, warmup: float) -> float:
    """Return the learning rate at `progress` (0 to 1) as a fraction of its peak.

    It rises linearly over `warmup`, a fraction of the run, then falls along half a cosine.
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * min((progress - warmup) / (1 - warmup), 1.0)))


class Training:
    """A run that can be stopped, saved and taken up again.

    Parameters
    ----------
    model : trained in place.
    batches : its tasks.
    options : how.
    """

    def __init__(self, model: Model, batches: Batches, options: Options) -> None:
        self.model = model
        self.options = options
        self.progress = Progress()
        self._batches = batches
        self._best_weights = weights(model)
        gpu = options.device == "cuda" or (options.device == "auto" and torch.cuda.is_available())
        accelerator = "gpu" if gpu else "cpu"
        self._fabric = Fabric(accelerator=accelerator, devices=options.devices, precision=options.precision)
        if options.devices > 1:
            self._fabric.launch()
        optimiser = torch.optim.AdamW(
            model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self._objective, self._optimiser = self._fabric.setup(_Objective(model), optimiser)
        self._generator = torch.Generator(self._fabric.device)

    def run(self) -> Iterator[Record]:
        """Train to the end of the run, one record a step; the model keeps its latest weights.

        Raises
        ------
        ModelError
            If the loss stays not finite.
        """
        started = time.monotonic() - self.progress.elapsed
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self._batch, self.progress.step)
            try:
                while not self._finished():
                    task = coming.result()
                    coming = ahead.submit(self._batch, self.progress.step + 1)
                    yield self._advance(task, started)
            finally:
                coming.cancel()

    def use_best(self) -> None:
        """Give the model the weights of its best validation (the latest where nothing was validated)."""
        if self.progress.best is not None:
            _assign(self.model, self._best_weights)

    def save(self, path: str | Path) -> None:
        """Write what `resume` needs as one safetensors file, replacing the last one."""
        names = [name for name, _ in self.model.named_parameters()]
        tensors = {f"model/{name}": value for name, value in weights(self.model).items()}
        tensors |= {f"best/{name}": value for name, value in self._best_weights.items()}
        for index, moments in self._optimiser.state_dict()["state"].items():
            for key in _MOMENTS:
                tensors[f"{key}/{names[index]}"] = moments[key].cpu().numpy()
        if self._fabric.is_global_zero:
            write_tensors(path, _STATE, tensors, self._identity() | asdict(self.progress), overwrite=True)

    def resume(self, path: str | Path) -> None:
        """Go on from what `save` wrote, with this run's options.

        Raises
        ------
        ModelError
            If the file is not a training state, or that of another network or seed.
        """
        tensors, metadata = read_tensors(path, _STATE)
        for name, mine in self._identity().items():
            theirs = metadata.pop(name, None)
            if theirs != mine:
                raise ModelError(
                    f"{path} is of a run with {name} {theirs}, and this one has {mine}; start anew"
                )
        groups: dict[str, Tensors] = {group: {} for group in ("model", "best", *_MOMENTS)}
        try:
            for key, value in tensors.items():
                group, _, name = key.partition("/")
                groups[group][name] = value
            _assign(self.model, groups["model"])
            self._optimiser.load_state_dict(self._optimiser.state_dict() | {"state": self._moments(groups)})
            self._best_weights = groups["best"]
            self.progress = Progress(**metadata)
        except (KeyError, RuntimeError, TypeError) as error:
            raise ModelError(f"{path} does not fit this network ({reason(error)}); start anew") from error

    def _identity(self) -> dict[str, object]:
        """Return what a state and the run that goes on from it must have in common, as JSON gives it back."""
        config: object = json.loads(json.dumps(asdict(self.model.config)))
        return {"architecture": self.model.name, "config": config, "seed": self.options.seed}

    def _moments(self, groups: dict[str, Tensors]) -> dict[int, dict[str, Tensor]]:
        state = {}
        for index, (name, parameter) in enumerate(self.model.named_parameters()):
            if name in groups["step"]:
                step, first, second = (torch.from_numpy(groups[key][name]) for key in _MOMENTS)
                # Laid out in memory as the parameter is, which is how the optimiser made them.
                first, second = (torch.empty_like(parameter).copy_(value) for value in (first, second))
                state[index] = dict(zip(_MOMENTS, (step, first.detach(), second.detach()), strict=True))
        return state

    def _finished(self) -> bool:
        patience = self.options.patience
        return self._share() >= 1 or (patience is not None and self.progress.stale >= patience)

    def _share(self, step: int | None = None) -> float:
        """Return the fraction of the run that is done, in steps or in seconds, what is further on."""
        o, step = self.options, self.progress.step if step is None else step
        by_steps = 0.0 if o.epochs is None else step / (o.epochs * o.steps_per_epoch)
        by_time = 0.0 if o.max_time is None else self.progress.elapsed / o.max_time
        return max(by_steps, by_time)

    def _batch(self, step: int) -> Task:
        return self._batches.batch(step * self._fabric.world_size + self._fabric.global_rank)

    def _advance(self, task: Task, started: float) -> Record:
        """Take one step, and look at the validation tasks where an epoch or the run ends."""
        o, at = self.options, self.progress
        rate = o.learning_rate * schedule(self._share(at.step + 1), o.warmup)
        loss = self._optimise(task, rate)
        at.step += 1
        at.elapsed = self._fabric.broadcast(time.monotonic() - started)
        epoch = -(-at.step // o.steps_per_epoch)
        score = None
        if at.step % o.steps_per_epoch == 0 or self._finished():
            score = self._validate()
        best = score is not None and score[0] < (math.inf if at.best is None else at.best)
        if score is not None:
            at.stale = 0 if best else at.stale + 1
        if best and score is not None:
            at.best, self._best_weights = score[0], weights(self.model)
        share = min(self._share(), 1.0)
        remaining = at.elapsed * (1 - share) / share if share > 0 else math.inf
        validation, rmse = score or (None, None)
        return Record(at.step, epoch, loss, rate, share, at.elapsed, remaining, validation, rmse, best)

    def _optimise(self, task: Task, rate: float) -> float:
        """Take one step of the optimiser unless loss or gradient is not finite; return the loss."""
        at, fabric = self.progress, self._fabric
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        words = [self.options.seed, at.step, fabric.global_rank]
        self._generator.manual_seed(int(np.random.SeedSequence(words).generate_state(1)[0]))
        task = task.to(fabric.device)
        self._optimiser.zero_grad()
        loss = self._objective(
            task.values, task.context, task.target, task.spacing, task.covariates, self._generator
        )
        # Backward even from a loss that is not finite: the other processes wait for it.
        fabric.backward(loss)
        norm = fabric.clip_gradients(
            self._objective, self._optimiser, max_norm=self.options.clip, error_if_nonfinite=False
        )
        value = float(fabric.all_reduce(loss.detach(), reduce_op="mean"))
        if math.isfinite(value) and math.isfinite(float(norm)):
            self._optimiser.step()
            at.skipped = 0
            return value
        at.skipped += 1
        if at.skipped >= _MOST_SKIPPED:
            raise ModelError(
                f"the loss was not finite in {at.skipped} steps in a row, up to step {at.step + 1}; lower "
                f"learning_rate (it is {self.options.learning_rate:g}) or look for absurd values in the data"
            )
        return math.nan

    def _validate(self) -> tuple[float, float] | None:
        """Return negative log density and root mean squared error of the validation targets, or None."""
        fabric = self._fabric
        sums = torch.zeros(3, dtype=torch.float64)
        with torch.inference_mode(), fabric.autocast():
            for index, given in enumerate(self._batches.validation()):
                if index % fabric.world_size == fabric.global_rank:
                    task = given.to(fabric.device)
                    told = self.model(task)
                    surprise = -(normal_log_density(task.values, *told) * task.target).sum()
                    error = ((told.mean - task.values).square() * task.target).sum()
                    count = task.target.sum() * task.values.shape[1]
                    sums += torch.stack([surprise, error, count]).double().cpu()
        surprise, error, count = fabric.all_reduce(sums.to(fabric.device), reduce_op="sum").tolist()
        return (surprise / count, math.sqrt(error / count)) if count else None


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


class _Objective(nn.Module):
    """A model's loss as a forward pass over tensors, which is what wraps around processes and precision."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        values: Tensor,
        context: Tensor,
        target: Tensor,
        spacing: Tensor,
        covariates: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        return self.model.loss(Task(values, context, target, spacing, covariates), generator)


def _assign(model: Model, tensors: Tensors) -> None:
    """Copy tensors into a model, whatever device it is on."""
    model.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
