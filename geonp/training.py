"""The training loop: it yields records and prints nothing.

Every batch, and every random number of a loss, is a function of the seed and the step alone. What training
needs to go on is therefore weights, the optimiser's tensors and a few counters, and a resumed run on a CPU
gives the same bytes as one that was never interrupted.

A step is taken on one batch, however many processes share it and in however many parts each of them works on
its share: the gradient is that of the whole batch, up to the rounding of its sum.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from geonp.devices import fabric, resolve_precision
from geonp.errors import ModelError
from geonp.io.checkpoint import Tensors, read_tensors, write_tensors
from geonp.io.paths import reason
from geonp.models import weights
from geonp.models.base import Model
from geonp.nn.likelihood import normal_log_density
from geonp.optimisers import MOMENTS, optimiser
from geonp.records import CsvLog as CsvLog
from geonp.records import Pace
from geonp.records import Record as Record
from geonp.schedule import Options as Options
from geonp.schedule import schedule as schedule
from geonp.shares import Batches as Batches
from geonp.shares import share_out
from geonp.tasks import Share, Task

_STATE = "training state"
_MOST_SKIPPED = 5


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


class Training:
    """A run that can be stopped, saved and taken up again.

    Parameters
    ----------
    model : trained in place.
    batches : its tasks.
    options : how.

    Raises
    ------
    UsageError
        If a batch cannot be shared equally, or another number of processes was started.
    """

    def __init__(self, model: Model, batches: Batches, options: Options) -> None:
        self.model = model
        self.options = options
        self.progress = Progress()
        self.pace = Pace()
        self._best_weights = weights(model)
        self._fabric = fabric(options.device, options.devices, options.precision)
        parts, first = options.accumulate, options.accumulate * self._fabric.global_rank
        self._shares = share_out(batches, range(first, first + parts), parts * self.processes)
        half = self.precision == "bf16-mixed"
        made = optimiser(model, options.learning_rate, options.weight_decay, half)
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        # What it keeps of each weight, in its own order of them.
        self._kept = {
            names[id(p)]: MOMENTS[group["hidden"]] for group in made.param_groups for p in group["params"]
        }
        self._objective, self._optimiser = self._fabric.setup(_Objective(model), made)
        self._generator = torch.Generator(self._fabric.device)

    @property
    def processes(self) -> int:
        """Number of processes that train together."""
        return int(self._fabric.world_size)

    @property
    def precision(self) -> str:
        """What is computed in: `32-true` or `bf16-mixed`."""
        return resolve_precision(self.options.precision, self.options.device)

    @property
    def leads(self) -> bool:
        """Whether this is the first process: the one that writes files and tells how it goes."""
        return bool(self._fabric.is_global_zero)

    def join(self) -> None:
        """Wait until every process has come here."""
        self._fabric.barrier()

    def run(self) -> Iterator[Record]:
        """Train to the end of the run, one record a step; the model keeps its latest weights.

        Raises
        ------
        ModelError
            If the loss stays not finite.
        """
        started = time.monotonic() - self.progress.elapsed
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self._draw, self.progress.step)
            try:
                while not self._finished():
                    begun = time.perf_counter()
                    tasks = coming.result()
                    waited = time.perf_counter() - begun
                    coming = ahead.submit(self._draw, self.progress.step + 1)
                    rate = self.options.learning_rate * schedule(
                        self._share(self.progress.step + 1), self.options.warmup
                    )
                    loss = self._optimise(tasks, rate, started)
                    pace = self._paced(tasks, time.perf_counter() - begun, waited)
                    self.pace.add(pace)
                    yield self._record(loss, rate, pace)
            finally:
                coming.cancel()

    def use_best(self) -> None:
        """Give the model the weights of its best validation (the latest where nothing was validated)."""
        if self.progress.best is not None:
            _assign(self.model, self._best_weights)

    def save(self, path: str | Path) -> None:
        """Write what `resume` needs as one safetensors file, replacing the last one; the first process does."""
        if not self.leads:
            return
        tensors = {f"model/{name}": value for name, value in weights(self.model).items()}
        tensors |= {f"best/{name}": value for name, value in self._best_weights.items()}
        state, kept = self._optimiser.state_dict()["state"], list(self._kept.items())
        for index, moments in state.items():
            name, keys = kept[index]
            tensors |= {f"{key}/{name}": moments[key].cpu().numpy() for key in keys}
        write_tensors(path, _STATE, tensors, self._identity() | asdict(self.progress), overwrite=True)

    def resume(self, path: str | Path) -> None:
        """Go on from what `save` wrote, with this run's options, in as many processes as it has.

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
        groups: dict[str, Tensors] = {
            group: {} for group in {"model", "best", *MOMENTS[True], *MOMENTS[False]}
        }
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
        """Return the optimiser's tensors by its numbers of the weights."""
        state = {}
        for index, (name, keys) in enumerate(self._kept.items()):
            if name in groups[keys[0]]:
                parameter = self.model.get_parameter(name)
                state[index] = {key: _laid(torch.from_numpy(groups[key][name]), parameter) for key in keys}
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

    def _draw(self, step: int) -> list[Task]:
        return [share.batch(step) for share in self._shares]

    def _paced(self, tasks: Sequence[Task], seconds: float, waited: float) -> Pace:
        count = sum(len(task.values) for task in tasks) * self.processes
        rows, cols = tasks[0].values.shape[2:]
        return Pace(count, count * rows * cols, seconds, waited)

    def _record(self, loss: float, rate: float, pace: Pace) -> Record:
        """Tell of the step that was taken, and look at the validation tasks where an epoch or the run ends."""
        o, at = self.options, self.progress
        score = None
        if at.step % o.steps_per_epoch == 0 or self._finished():
            score = self._validate()
        best = score is not None and score[0] < (math.inf if at.best is None else at.best)
        if score is not None:
            at.stale = 0 if best else at.stale + 1
        if best and score is not None:
            at.best, self._best_weights = score[0], weights(self.model)
        share = min(self._share(), 1.0)
        validation, rmse = score or (None, None)
        return Record(
            step=at.step,
            epoch=-(-at.step // o.steps_per_epoch),
            loss=loss,
            learning_rate=rate,
            progress=share,
            elapsed=at.elapsed,
            remaining=at.elapsed * (1 - share) / share if share > 0 else math.inf,
            validation=validation,
            rmse=rmse,
            best=best,
            tasks_per_second=pace.tasks_per_second,
            pixels_per_second=pace.pixels_per_second,
            waiting=pace.waiting,
        )

    def _optimise(self, tasks: Sequence[Task], rate: float, started: float) -> float:
        """Take one step of the optimiser unless loss or gradient is not finite; return the loss.

        A loss is a mean over what the model weighs it with. That of the whole batch is the weighted mean of
        its parts, over all processes; the gradients of these are averaged, hence their number.
        """
        at, joined = self.progress, self._fabric
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        seed = int(np.random.SeedSequence([self.options.seed, at.step]).generate_state(1)[0])
        loads = [float(self.model.weight(task)) for task in tasks]
        (load,) = self._total(torch.tensor([sum(loads)], dtype=torch.float64))
        loss = torch.zeros((), dtype=torch.float64, device=joined.device)
        self._optimiser.zero_grad()
        for number, (task, part) in enumerate(zip(tasks, loads, strict=True), 1):
            self._generator.manual_seed(seed)
            # Backward even from a loss that is not finite: the other processes wait for it.
            with joined.no_backward_sync(self._objective, enabled=number < len(tasks)):
                told = self._objective(*_parts(task.to(joined.device)), self._generator)
                joined.backward(told * (part * self.processes / load))
            loss += told.detach().double() * (part / load)
        norm = joined.clip_gradients(
            self._objective, self._optimiser, max_norm=self.options.clip, error_if_nonfinite=False
        )
        spent = torch.tensor((time.monotonic() - started) if self.leads else 0.0, dtype=torch.float64)
        value, at.elapsed = self._total(torch.stack([loss, spent.to(joined.device)]))
        at.step += 1
        if math.isfinite(value) and math.isfinite(float(norm)):
            self._optimiser.step()
            at.skipped = 0
            return value
        at.skipped += 1
        if at.skipped >= _MOST_SKIPPED:
            raise ModelError(
                f"the loss was not finite in {at.skipped} steps in a row, up to step {at.step}; lower "
                f"learning_rate (it is {self.options.learning_rate:g}) or look for absurd values in the data"
            )
        return math.nan

    def _total(self, numbers: Tensor) -> list[float]:
        """Return the sums of numbers (N,) over all processes."""
        joined = self._fabric
        summed: list[float] = joined.all_reduce(numbers.to(joined.device), reduce_op="sum").tolist()
        return summed

    def _validate(self) -> tuple[float, float] | None:
        """Return negative log density and root mean squared error of the validation targets, or None."""
        sums = torch.zeros(3, dtype=torch.float64)
        with torch.inference_mode(), self._fabric.autocast():
            for given in (task for share in self._shares for task in share.validation()):
                task = given.to(self._fabric.device)
                told = self.model(task)
                surprise = -(normal_log_density(task.values, *told) * task.target).sum()
                error = ((told.mean - task.values).square() * task.target).sum()
                count = task.target.sum() * task.values.shape[1]
                sums += torch.stack([surprise, error, count]).double().cpu()
        surprises, errors, scored = self._total(sums)
        return (surprises / scored, math.sqrt(errors / scored)) if scored else None


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
        share: Share | None,
        generator: torch.Generator,
    ) -> Tensor:
        return self.model.loss(Task(values, context, target, spacing, covariates, share), generator)


def _parts(task: Task) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Share | None]:
    return task.values, task.context, task.target, task.spacing, task.covariates, task.share


def _laid(moment: Tensor, parameter: Tensor) -> Tensor:
    """Return an optimiser's tensor laid out in memory as its weight is, which is how the optimiser made it."""
    return torch.empty_like(parameter).copy_(moment).detach() if moment.ndim else moment


def _assign(model: Model, tensors: Tensors) -> None:
    """Copy tensors into a model, whatever device it is on."""
    model.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
