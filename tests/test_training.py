"""The training loop: what it learns, where it stops, how it goes on."""

import csv
import itertools
import math
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from geonp import training
from geonp.errors import ModelError, UsageError
from geonp.io.checkpoint import read_checkpoint
from geonp.methods.neural import as_checkpoint
from geonp.models import config_from, create, weights
from geonp.models.base import Gaussian, Model
from geonp.scaling import Standardise
from geonp.tasks import Task, coordinates
from geonp.training import CsvLog, Options, Record, Training, fit, schedule

SMALL = {"channels": 8, "latent": 4, "encoder_layers": 2, "decoder_layers": 2}


KRIGED = {"width": 8, "levels": 2, "code_window": 3, "attention_window": 3}


def small(name: str = "ifanp", seed: int = 0) -> Model:
    return create(name, config_from(name, KRIGED if name == "kriged-ifanp" else SMALL), seed)


def quick(**changes: object) -> Options:
    return replace(Options(epochs=3, steps_per_epoch=4, device="cpu"), **changes)


class Waves:
    """Plane waves, a third of their pixels seen; `spoilt` steps hold a NaN."""

    def __init__(self, size: int = 8, spoilt: tuple[int, ...] = ()) -> None:
        self.size = size
        self.spoilt = spoilt
        self.asked: list[int] = []
        self.threads: set[int] = set()

    def batch(self, step: int) -> Task:
        self.asked.append(step)
        self.threads.add(threading.get_ident())
        task = self.draw(step)
        return replace(task, values=task.values * math.nan) if step in self.spoilt else task

    def validation(self) -> list[Task]:
        return [self.draw(10**6), self.draw(10**6 + 1)]

    def draw(self, seed: int) -> Task:
        g = torch.Generator().manual_seed(seed)
        context = (torch.rand(4, 1, self.size, self.size, generator=g) < 0.33).float()
        blank = Task(torch.zeros_like(context), context, 1 - context, torch.ones(4, 2))
        y, x = coordinates(blank).unbind(1)
        a, b = (torch.rand(2, 4, 1, 1, generator=g) * 2).unbind()
        return replace(blank, values=torch.sin(a * y + b * x)[:, None])


@dataclass(frozen=True)
class Drift:
    """Settings of a `Drifting` model."""

    bands: int = 1


class Drifting(Model):
    """One number that training pushes up and validation wants at zero."""

    name: ClassVar[str] = "drifting"

    def __init__(self) -> None:
        super().__init__()
        self.config = Drift()
        self.number = nn.Parameter(torch.zeros(()))

    @property
    def bands(self) -> int:
        return 1

    @property
    def receptive_field(self) -> int:
        return 0

    def forward(self, task: Task) -> Gaussian:
        return Gaussian(self.number.expand_as(task.values), torch.ones_like(task.values))

    def loss(self, task: Task, generator: torch.Generator | None = None) -> Tensor:
        return -self.number


class Zeros(Waves):
    """Fields of zeros."""

    def draw(self, seed: int) -> Task:
        task = super().draw(seed)
        return replace(task, values=torch.zeros_like(task.values))


def test_it_learns_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    model = small()
    records = list(fit(model, Waves(), quick(epochs=4, steps_per_epoch=50, learning_rate=1e-2)))
    scores = [(r.validation, r.rmse) for r in records if r.validation is not None]
    assert len(records) == 200
    assert len(scores) == 4
    assert scores[-1][0] < scores[0][0] - 0.2
    assert scores[-1][1] < 0.3
    assert capfd.readouterr() == ("", "")


def test_the_validation_is_the_density_of_the_targets_given_the_context() -> None:
    model, waves = small(), Waves()
    *_, last = fit(model, waves, quick(epochs=1))
    density, squares, count = 0.0, 0.0, 0
    with torch.no_grad():
        for task in waves.validation():
            told, where = model(task), task.target > 0
            density += told.log_prob(task.values)[where].sum().item()
            squares += (told.mean - task.values)[where].square().sum().item()
            count += int(where.sum())
    assert last.best
    assert last.validation == pytest.approx(-density / count, rel=1e-5)
    assert last.rmse == pytest.approx(math.sqrt(squares / count), rel=1e-5)


@pytest.mark.parametrize("name", ["ifanp", "kriged-ifanp"])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(name: str, tmp_path: Path) -> None:
    def exact(records: list[Record]) -> list[tuple[object, ...]]:
        return [(r.step, r.epoch, r.loss, r.learning_rate, r.validation, r.rmse, r.best) for r in records]

    whole = Training(small(name), Waves(), quick())
    records = list(whole.run())

    first = Training(small(name), Waves(), quick())
    start = list(itertools.islice(first.run(), 6))
    first.save(tmp_path / "state")
    second = Training(small(name, seed=5), Waves(), quick())
    second.resume(tmp_path / "state")
    rest = list(second.run())

    assert exact(start + rest) == exact(records)
    assert len(records) == 12
    for run in (whole, second):
        run.save(tmp_path / "end")
        run.use_best()
    a, b = weights(whole.model), weights(second.model)
    assert all(a[k].tobytes() == b[k].tobytes() for k in a)


def test_a_finished_run_resumes_with_more_epochs_and_not_with_the_same(tmp_path: Path) -> None:
    run = Training(small(), Waves(), quick(epochs=1))
    assert len(list(run.run())) == 4
    run.save(tmp_path / "state")
    for epochs, steps in ((1, 0), (2, 4)):
        again = Training(small(), Waves(), quick(epochs=epochs))
        again.resume(tmp_path / "state")
        assert len(list(again.run())) == steps


def test_the_same_seed_gives_the_same_bytes_and_another_other_ones() -> None:
    def train(seed: int) -> bytes:
        model = small()
        list(fit(model, Waves(), quick(seed=seed)))
        return b"".join(v.tobytes() for v in weights(model).values())

    assert train(1) == train(1)
    assert train(1) != train(2)


def test_batches_come_in_order_from_one_thread_of_their_own() -> None:
    waves = Waves()
    list(fit(small(), waves, quick(epochs=2)))
    assert waves.asked[:8] == list(range(8))
    assert waves.threads != {threading.get_ident()}
    assert len(waves.threads) == 1


def test_an_error_in_a_batch_is_raised_and_no_thread_stays() -> None:
    class Broken(Waves):
        def batch(self, step: int) -> Task:
            if step == 3:
                raise OSError("the disk is gone")
            return super().batch(step)

    before = threading.active_count()
    with pytest.raises(OSError, match="the disk is gone"):
        list(fit(small(), Broken(), quick()))
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("progress", "rate"),
    [(0, 0), (0.05, 0.5), (0.1, 1), (0.55, 0.5), (0.325, 0.5 + 0.25 * 2**0.5), (1, 0), (1.5, 0)],
)
def test_the_schedule_rises_and_falls(progress: float, rate: float) -> None:
    assert schedule(progress, 0.1) == pytest.approx(rate)


def test_without_warm_up_the_schedule_starts_at_its_peak() -> None:
    assert schedule(0, 0) == 1


def test_a_run_measured_in_epochs_follows_its_steps() -> None:
    records = list(fit(small(), Waves(), quick(epochs=5, warmup=0.2, learning_rate=0.1, patience=None)))
    assert [r.learning_rate for r in records] == pytest.approx(
        [0.1 * schedule(k / 20, 0.2) for k in range(1, 21)]
    )
    assert [r.progress for r in records] == pytest.approx([k / 20 for k in range(1, 21)])
    assert records[-1].remaining == 0


def test_a_run_measured_in_seconds_follows_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(training.time, "monotonic", lambda: float(next(clock)))
    records = list(fit(small(), Waves(), quick(epochs=None, max_time=10, warmup=0.5, learning_rate=0.1)))
    assert [r.elapsed for r in records] == list(range(1, 11))
    assert [r.remaining for r in records] == pytest.approx(list(range(9, -1, -1)))
    assert [r.learning_rate for r in records] == pytest.approx(
        [0.1 * schedule(k / 10, 0.5) for k in range(10)]
    )
    assert records[-1].validation is not None  # a run that ends within an epoch is validated too


def test_a_resumed_run_has_its_time_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(training.time, "monotonic", lambda: float(next(clock)))
    first = Training(small(), Waves(), quick(epochs=None, max_time=10))
    list(itertools.islice(first.run(), 7))
    first.save(tmp_path / "state")
    second = Training(small(), Waves(), quick(epochs=None, max_time=10))
    second.resume(tmp_path / "state")
    assert [r.elapsed for r in second.run()] == [8, 9, 10]


def test_training_stops_when_validation_no_longer_improves_and_keeps_the_best() -> None:
    model = Drifting()
    records = list(fit(model, Zeros(), quick(epochs=50, patience=3, warmup=0, weight_decay=0)))
    scores = [r for r in records if r.validation is not None]
    assert [r.best for r in scores] == [True, False, False, False]
    assert records[-1].step == 16
    # Four steps of Adam with a gradient of constant sign move by the learning rate each.
    assert model.number.item() == pytest.approx(sum(r.learning_rate for r in records[:4]), rel=1e-3)


def test_a_run_that_is_left_early_has_its_best_weights() -> None:
    model = Drifting()
    records = fit(model, Zeros(), quick(epochs=50, warmup=0))
    early = list(itertools.islice(records, 10))
    drifted = model.number.item()
    records.close()
    assert 0 < model.number.item() < drifted
    assert early[3].best


def test_without_validation_the_last_weights_are_kept() -> None:
    class Unvalidated(Waves):
        def validation(self) -> list[Task]:
            return []

    model = small()
    records = list(fit(model, Unvalidated(), quick(epochs=1)))
    assert all(r.validation is None for r in records)
    fresh = weights(small())
    assert any(not np.array_equal(v, fresh[k]) for k, v in weights(model).items())


def test_a_step_with_a_nan_is_skipped() -> None:
    model = small()
    run = Training(model, Waves(spoilt=(2,)), quick(epochs=1)).run()
    list(itertools.islice(run, 2))
    before = weights(model)
    record = next(run)
    assert math.isnan(record.loss)
    assert all(np.array_equal(v, before[k]) for k, v in weights(model).items())
    assert math.isfinite(next(run).loss)
    assert all(np.isfinite(v).all() for v in weights(model).values())


def test_nans_in_a_row_end_the_run_with_advice() -> None:
    seen = []
    with pytest.raises(
        ModelError, match=r"not finite in 5 steps in a row, up to step 7; lower learning_rate"
    ):
        seen.extend(fit(small(), Waves(spoilt=(2, 3, 4, 5, 6)), quick()))


def test_gradients_are_clipped() -> None:
    class Steep(Drifting):
        def loss(self, task: Task, generator: torch.Generator | None = None) -> Tensor:
            return -1e6 * self.number

    model = Steep()
    run = Training(model, Zeros(), quick(clip=0.5, patience=None))
    next(run.run())
    assert model.number.grad is not None
    assert model.number.grad.item() == pytest.approx(-0.5, rel=1e-4)


def test_half_precision_stays_close_to_full() -> None:
    losses = {
        p: next(Training(small(), Waves(), quick(precision=p)).run()).loss for p in ("32-true", "bf16-mixed")
    }
    assert losses["bf16-mixed"] == pytest.approx(losses["32-true"], rel=0.05)
    assert losses["bf16-mixed"] != losses["32-true"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": None}, "no end"),
        ({"epochs": 0}, "epochs is 0"),
        ({"max_time": -1.0}, "max_time is -1"),
        ({"max_time": math.nan}, "max_time is nan"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"warmup": 1.0}, "warmup is 1"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"clip": 0.0}, "clip is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"device": "tpu"}, "auto, cpu, cuda"),
        ({"precision": "8"}, "32-true, bf16-mixed"),
    ],
)
def test_options_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        quick(**changes)


def test_a_state_of_another_network_is_refused(tmp_path: Path) -> None:
    Training(small("ifnp"), Waves(), quick()).save(tmp_path / "state")
    with pytest.raises(ModelError, match="of a run with architecture ifnp, and this one has ifanp"):
        Training(small(), Waves(), quick()).resume(tmp_path / "state")
    other = create("ifnp", config_from("ifnp", {**SMALL, "channels": 16}))
    with pytest.raises(ModelError, match=r"with config .*'channels': 8.* this one has .*'channels': 16"):
        Training(other, Waves(), quick()).resume(tmp_path / "state")
    with pytest.raises(ModelError, match="with seed 0, and this one has 4"):
        Training(small("ifnp"), Waves(), quick(seed=4)).resume(tmp_path / "state")


def test_a_model_is_no_state_and_a_state_no_model(tmp_path: Path) -> None:
    from geonp.io.checkpoint import Trained, write_checkpoint

    write_checkpoint(tmp_path / "model", as_checkpoint(small(), Standardise(), Trained((0.1, 0.1), (8, 8))))
    run = Training(small(), Waves(), quick())
    with pytest.raises(ModelError, match="is a geonp model file; a training state file is needed"):
        run.resume(tmp_path / "model")
    run.save(tmp_path / "state")
    with pytest.raises(ModelError, match="is a geonp training state file; a model file is needed"):
        read_checkpoint(tmp_path / "state")


def test_the_log_has_a_row_a_step_and_can_be_continued(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for append in (False, True):
        with CsvLog(path, append) as log:
            for record in fit(small(), Waves(), quick(epochs=1)):
                log.write(record)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == [1, 2, 3, 4] * 2
    assert rows[0]["validation"] == ""
    assert float(rows[3]["validation"]) == record.validation
