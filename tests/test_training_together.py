"""One batch shared out: among parts and among processes, the network trained is the same up to rounding."""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from geonp.devices import Crew, fabric, resolve_precision
from geonp.errors import UsageError
from geonp.field import as_field
from geonp.kriged_tiles import FRESH, KrigedTiles
from geonp.masks import parse_context, parse_masks
from geonp.models import config_from, create, names, resolve, weights
from geonp.models.base import Model
from geonp.shares import Batches, Portion, pick, portion, share_out
from geonp.tasks import Share, Task
from geonp.tiles import TileSet
from geonp.training import Options, Training

pytestmark = pytest.mark.filterwarnings("ignore::geonp.errors.MissingCRSWarning")

SMALL: dict[str, dict[str, object]] = {
    "convcnp": {"channels": 8, "head_layers": 1, "head_width": 8, "depth": 1, "kernel": 3},
    "convnp": {"channels": 8, "head_layers": 1, "head_width": 8, "depth": 1, "kernel": 3, "latent": 4},
    "kriged-ifanp": {"width": 8, "levels": 2, "attention_window": 3},
}


def small(name: str) -> Model:
    architecture, settings = resolve(name, SMALL.get(name, {"channels": 8}))
    return create(architecture, config_from(architecture, settings), seed=0)


def relief(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(60, 70)).cumsum(0).cumsum(1)


def tiles(name: str, batch: int = 4) -> Batches:
    """Tiles of every density, some with holes: parts of a batch have different numbers of targets."""
    rasters = [relief(seed) for seed in range(4)]
    rasters[0][20:40, 20:40] = np.nan
    kriged = name == "kriged-ifanp"
    fields = [as_field(xr.DataArray(values, dims=("y", "x"))) for values in rasters]
    made = TileSet(
        fields,
        16,
        batch,
        parse_context("0.1:0.5"),
        parse_masks("random,blocks"),
        augment=not kriged,
        score_context=not kriged,
        validation_tiles=6,
    )
    return KrigedTiles(made, upright=False) if kriged else made


def options(**changes: object) -> Options:
    return replace(
        Options(epochs=2, steps_per_epoch=2, device="cpu", learning_rate=1e-3, warmup=0), **changes
    )


def train(name: str, **changes: object) -> tuple[list[float], dict[str, np.ndarray]]:
    """Return the losses, validations and last weights of four steps."""
    torch.set_num_threads(1)
    training = Training(small(name), tiles(name), options(**changes))
    records = list(training.run())
    scores = [r.validation for r in records if r.validation is not None]
    return [*(r.loss for r in records), *scores], weights(training.model)


def agree(
    one: tuple[list[float], dict[str, np.ndarray]], other: tuple[list[float], dict[str, np.ndarray]]
) -> None:
    assert other[0] == pytest.approx(one[0], rel=2e-6)
    for key, value in one[1].items():
        # Adam makes a step of what rounding leaves of a vanishing gradient: far below the rate of 1e-3.
        np.testing.assert_allclose(other[1][key], value, atol=2e-5, rtol=2e-5, err_msg=key)


@pytest.mark.parametrize("name", names())
def test_parts_added_up_are_the_whole_batch(name: str) -> None:
    agree(train(name), train(name, accumulate=4))


TOGETHER = """
import os, pathlib, pickle, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
from geonp.models import names
from tests.test_training_together import train
found = {name: train(name) for name in names()}
found["parts"] = train("ifanp", accumulate=2)
pathlib.Path(sys.argv[2], "rank" + os.environ["RANK"]).write_bytes(pickle.dumps(found))
"""


def test_two_processes_train_the_network_that_one_trains(tmp_path: Path) -> None:
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    done = subprocess.run(
        [*launcher, str(script), str(Path(__file__).parents[1]), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = (pickle.loads((tmp_path / f"rank{rank}").read_bytes()) for rank in (0, 1))
    for name, (scores, tensors) in first.items():
        agree(train("ifanp" if name == "parts" else name), (scores, tensors))
        assert scores == second[name][0]
        assert all(value.tobytes() == second[name][1][key].tobytes() for key, value in tensors.items())


def same(one: Task, other: Task) -> bool:
    images = ("values", "context", "target", "spacing")
    if one.covariates is not None and other.covariates is not None:  # convolved batch by batch
        torch.testing.assert_close(one.covariates, other.covariates, atol=1e-5, rtol=1e-5)
    return all(torch.equal(getattr(one, image), getattr(other, image)) for image in images)


@pytest.mark.parametrize("name", ["ifanp", "kriged-ifanp"])
def test_shares_are_the_batch_in_order_and_say_where_they_lie(name: str) -> None:
    made = tiles(name)
    for step in (0, 7):
        whole = made.batch(step)
        shares = [share.batch(step) for share in share_out(made, range(4), 4)]
        size = len(shares[0].values)
        assert whole.share is None
        assert size == len(whole.values) // 4 == (FRESH if name == "kriged-ifanp" else 1)
        for number, share in enumerate(shares):
            cut = pick(whole, range(number * size, (number + 1) * size))
            assert same(share, cut)
            if name == "ifanp":
                assert share.share == cut.share == Share(number, 4)


@pytest.mark.parametrize("name", ["ifanp", "kriged-ifanp"])
def test_every_validation_tile_is_validated_once(name: str) -> None:
    made = tiles(name)
    whole = torch.cat([task.values for task in made.validation()])
    shares = [Portion(made, part, 2).validation() for part in range(2)]
    assert [len(task.values) for task in shares[0]] == [2, 1]
    apart = [torch.cat([task.values for task in share]) for share in shares]
    assert torch.equal(torch.stack(apart, 1).flatten(0, 1), whole)


def test_upright_tiles_share_a_context_however_they_are_shared() -> None:
    made = KrigedTiles(
        TileSet(
            [as_field(xr.DataArray(relief(0), dims=("y", "x")))],
            16,
            2,
            parse_context("0.2"),
            augment=False,
            validation_tiles=2,
        ),
        upright=True,
    )
    shares = [share.batch(3) for share in share_out(made, range(2), 2)]
    assert same(pick(made.batch(3), range(FRESH)), shares[0])
    assert same(pick(made.batch(3), range(FRESH, 2 * FRESH)), shares[1])


def test_a_share_reads_no_windows_but_its_own() -> None:
    made = tiles("ifanp")
    drawn: list[int] = []
    before = made._tile
    made._tile = lambda rng, draw, augment: drawn.append(1) or before(rng, draw, augment)
    share_out(made, range(1), 4)[0].batch(0)
    assert len(drawn) == 1


class Plain:
    """Batches that can only be drawn whole."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def batch(self, step: int) -> Task:
        self.asked.append(step)
        return self.draw_all(step)

    def draw_all(self, step: int) -> Task:
        g = torch.Generator().manual_seed(step)
        context = (torch.rand(6, 1, 8, 8, generator=g) < 0.3).float()
        values = torch.rand(6, 1, 8, 8, generator=g)
        return Task(values, context, 1 - context, torch.ones(6, 2))

    def validation(self) -> list[Task]:
        return [self.draw_all(step) for step in (1000, 1001, 1002)]


def test_batches_that_come_whole_are_cut_and_drawn_once() -> None:
    plain = Plain()
    shares = share_out(plain, range(3), 3)
    parts = [share.batch(5) for share in shares]
    assert plain.asked == [5]
    assert torch.equal(torch.cat([part.values for part in parts]), plain.draw_all(5).values)
    assert [part.share for part in parts] == [Share(0, 6), Share(2, 6), Share(4, 6)]
    assert [len(list(share.validation())) for share in shares] == [1, 1, 1]


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    assert [list(portion(6, part, 3)) for part in range(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(UsageError, match=r"a batch of 4 tiles cannot be cut into 3 .* batch of 6 tiles"):
        Training(small("cnp"), tiles("cnp"), options(accumulate=3))
    with pytest.raises(UsageError, match="a batch of 6 tiles cannot be cut into 4"):
        list(Training(small("cnp"), Plain(), options(accumulate=4)).run())


def test_a_part_without_targets_weighs_nothing_and_spoils_nothing() -> None:
    class Holey(Plain):
        def draw_all(self, step: int) -> Task:
            task = super().draw_all(step)
            target = task.target.clone()
            target[:3] = 0
            return replace(task, target=target)

    def losses(parts: int) -> list[float]:
        training = Training(small("cnp"), Holey(), options(accumulate=parts))
        return [record.loss for record in training.run()]

    # A part without a target counts as one pixel of 3 x 64, its loss is zero.
    assert losses(2) == pytest.approx(losses(1), rel=0.02)


def test_the_pace_is_that_of_whole_batches() -> None:
    training = Training(small("cnp"), tiles("cnp"), options(accumulate=2))
    records = list(training.run())
    assert training.pace.tasks == 4 * 4
    assert training.pace.pixels == 4 * 4 * 16 * 16
    assert 0 <= training.pace.waited <= training.pace.seconds
    for record in records:
        assert record.pixels_per_second == pytest.approx(256 * record.tasks_per_second)
        assert 0 <= record.waiting <= 1
    spent = sum(4 / record.tasks_per_second for record in records)
    assert training.pace.tasks_per_second == pytest.approx(16 / spent)


def test_a_launcher_says_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert Crew.started() == Crew(here=2, machines=2)
    with pytest.raises(UsageError, match=r"devices is 3, and 2 processes .* torchrun --nproc-per-node 3"):
        fabric("cpu", 3, "32-true")


def test_precision_is_chosen_for_the_device() -> None:
    assert resolve_precision("auto", "cpu") == "32-true"
    assert resolve_precision("bf16-mixed", "cpu") == "bf16-mixed"
